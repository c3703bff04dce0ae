//! What a record costs on its way into a batch, as ratios.
//!
//! Time is told in copies: how often the same bytes could have been copied, record by record, into
//! memory that is there already. Memory is told in allocations per record. `README.md` beside this
//! file says how it is measured and how to read it.
//!
//! The numbers expected, and why:
//!
//! * **encode**, 1 KB: 1.5 to 2.5. One copy is the floor; the rest is the batch's memory, which
//!   grows by doubling, so that a quiet partition does not hold a megabyte. 100 B: 4 to 6, since a
//!   record's eight varints are written one by one.
//! * **CRC, header**: 1 to 2 for both. CRC-32C reads about as fast as a copy writes; the other
//!   bytes of the header come once per batch.
//! * **codecs**: far above. By the peers' figures, snappy costs 20, lz4 30, zstd 50 and gzip 400
//!   times the encoding.
//! * **send**, 1 KB: 5 to 10. Encoding, two clocks, four uncontended locks, one reference counted.
//!   100 B: 30 to 60 for the same.
//! * **allocations**: encoding and sealing, 0.02 or less: a batch's growth, and a compressor's
//!   output. Sending, 0.1 or less for both sizes, as all else is per batch or per request, too.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

mod traces;

use ottla::broker::{BrokerConfig, EmbeddedBroker};
use ottla::producer::{Producer, ProducerConfig, Record};
use ottla::protocol::Codec;
use ottla::protocol::compression::Compressor;
use ottla::protocol::record::Content;
use ottla::protocol::record_batch::{BatchBuilder, BatchLimits, ProducerStamp};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::error::Error;
use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use traces::{Trace, Traces};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const BATCH_RECORDS: usize = 1_000;
const SMALL_BYTES: usize = 100;

/// Odd, so that one of them is the median.
const ROUNDS: usize = 21;

/// A turn goes on for this long at least, so that the clock and an interrupt cost little of it.
const TURN_MIN: Duration = Duration::from_millis(2);

/// Batches sent in one turn. They fit the producer's buffer, so that `send` never waits.
const SENT_BATCHES: u32 = 20;

const LIMITS: BatchLimits = BatchLimits { bytes_max: usize::MAX, records_max: u32::MAX };
const STAMP: ProducerStamp = ProducerStamp { producer_id: 7, epoch: 0, base_sequence: 0 };
const TOPIC: &str = "traces";
const SERVE: &str = "--serve";

fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().any(|argument| argument == SERVE) {
        return Ok(serve()?);
    }
    let broker = BrokerProcess::start()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let producer = {
        let _within = runtime.enter();
        Producer::start(ProducerConfig::new([&broker.address])?)?
    };
    let mut traces = Traces::new(7);
    let large: Vec<_> = (0..BATCH_RECORDS).map(|_| traces.next_trace()).collect();
    let mut small = large.clone();
    small.iter_mut().for_each(|trace| trace.json.truncate(SMALL_BYTES));
    for traces in [&large, &small] {
        let mut subjects = subjects(traces);
        subjects.push(sending(traces, &producer, &runtime));
        measure(traces, &mut subjects);
    }
    Ok(())
}

/// Something done to every record of a workload.
struct Subject<'a> {
    name: String,
    /// Does it, and says for how many batches and what of its time counts.
    turn: Box<dyn FnMut() -> (u32, Duration) + 'a>,
    /// Bytes of the batch for each byte of its records.
    size: Option<f64>,
}

impl<'a> Subject<'a> {
    fn new(name: &str, mut batch: impl FnMut() + 'a) -> Self {
        let turn = move || {
            let started = Instant::now();
            let mut batches = 0;
            while batches == 0 || started.elapsed() < TURN_MIN {
                batch();
                batches += 1;
            }
            (batches, started.elapsed())
        };
        Self { name: name.to_owned(), turn: Box::new(turn), size: None }
    }
}

/// Copying first: it is what the others are told in.
fn subjects(traces: &[Trace]) -> Vec<Subject<'_>> {
    let mut memory = Vec::with_capacity(traces.iter().map(size_of_trace).sum());
    let copy = move || {
        memory.clear();
        for trace in traces {
            memory.extend_from_slice(trace.id.as_bytes());
            memory.extend_from_slice(trace.json.as_bytes());
        }
        black_box(&memory);
    };
    let sealed = encode(traces).seal(&mut Compressor::new(Codec::None.into()));
    let mut subjects = vec![
        Subject::new("copy", copy),
        Subject::new("encode", || drop(black_box(encode(traces)))),
        Subject::new("CRC, header", move || {
            black_box(sealed.header(STAMP));
        }),
    ];
    for codec in Codec::ALL {
        let mut compressor = Compressor::new(codec.into());
        let sealed = encode(traces).seal(&mut compressor);
        let whole = move || {
            black_box(encode(traces).seal(&mut compressor).header(STAMP));
        };
        let mut subject = Subject::new(&format!("encode, {codec}, CRC"), whole);
        subject.size = Some(ratio(sealed.size(), sealed.uncompressed_size()));
        subjects.push(subject);
    }
    subjects
}

fn encode(traces: &[Trace]) -> BatchBuilder {
    let mut builder = BatchBuilder::new(LIMITS);
    for (timestamp, trace) in (1_700_000_000_000..).zip(traces) {
        let (key, value) = (Some(trace.id.as_bytes()), Some(trace.json.as_bytes()));
        builder.try_append(timestamp, &Content { key, value, headers: &[] });
    }
    builder
}

/// What counts is the time in `send`; the allocations are those until all is delivered.
fn sending<'a>(traces: &'a [Trace], producer: &'a Producer, runtime: &'a Runtime) -> Subject<'a> {
    let turn = move || {
        let mut sendings = Vec::with_capacity(traces.len() * SENT_BATCHES as usize);
        let started = Instant::now();
        for trace in (0..SENT_BATCHES).flat_map(|_| traces) {
            let record = Record::to(TOPIC).key(trace.id.as_bytes()).value(trace.json.as_bytes());
            sendings.push(producer.send(record));
        }
        let elapsed = started.elapsed();
        runtime.block_on(async {
            for sending in sendings {
                sending.await.expect("the broker takes every record");
            }
        });
        (SENT_BATCHES, elapsed)
    };
    Subject { name: "send".to_owned(), turn: Box::new(turn), size: None }
}

/// Gives every subject a turn, round by round, and prints the medians.
fn measure(traces: &[Trace], subjects: &mut [Subject<'_>]) {
    let mut copies = vec![Vec::new(); subjects.len()];
    let mut allocations = copies.clone();
    for _ in 0..=ROUNDS {
        let mut copy = None;
        for (index, subject) in subjects.iter_mut().enumerate() {
            let region = Region::new(ALLOCATOR);
            let (batches, elapsed) = (subject.turn)();
            let change = region.change();
            let time = elapsed.as_secs_f64() / f64::from(batches);
            copies[index].push(time / *copy.get_or_insert(time));
            let records = batches as usize * traces.len();
            allocations[index].push(ratio(change.allocations + change.reallocations, records));
        }
    }
    let bytes = traces.iter().map(size_of_trace).sum::<usize>() / traces.len();
    println!("\n{} records of {bytes} bytes, key included", traces.len());
    println!("{:24}{:>10}{:>22}{:>10}", "", "copies", "allocations/record", "size");
    for ((subject, copies), allocations) in subjects.iter().zip(copies).zip(allocations) {
        let size = subject.size.map_or_else(String::new, |size| format!("{size:.2}"));
        let (copies, allocations) = (median(copies), median(allocations));
        println!("{:24}{copies:>10.2}{allocations:>22.4}{size:>10}", subject.name);
    }
}

/// The first round warmed up; the middle of the others.
fn median(mut rounds: Vec<f64>) -> f64 {
    let rounds = &mut rounds[1..];
    rounds.sort_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

#[expect(clippy::cast_precision_loss, reason = "counts of megabytes at most")]
fn ratio(part: usize, whole: usize) -> f64 {
    part as f64 / whole as f64
}

/// The broker in a process of its own, so that its allocations are not counted.
struct BrokerProcess {
    process: Child,
    address: String,
}

impl BrokerProcess {
    fn start() -> io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().expect("it is piped");
        let mut address = String::new();
        BufReader::new(output).read_line(&mut address)?;
        Ok(Self { process, address: address.trim_end().to_owned() })
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

fn serve() -> io::Result<()> {
    let runtime = Runtime::new()?;
    let broker = runtime.block_on(EmbeddedBroker::start(BrokerConfig::default()))?;
    println!("{}", broker.bootstrap().join(","));
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Bytes of key and value.
const fn size_of_trace(trace: &Trace) -> usize {
    trace.id.len() + trace.json.len()
}
