//! What a trace costs the gateway that exports it, and how long it keeps a request.
//!
//! The trace is the one of Bifrost's documentation, on one line. `README.md` in the parent folder says
//! how to read what is printed.
//!
//! ```text
//! cargo bench --bench gateway               both tables, two minutes
//! cargo bench --bench gateway -- cost       CPU and allocations per trace, in parses by serde_json
//! cargo bench --bench gateway -- latency    time in `export` at 10,000 traces a second
//! ```
//!
//! What is expected:
//!
//! * **cost**: a parse into a tree is what a gateway would do to look at a trace at all. Reading it
//!   in place costs less; all of it, to Kafka's acknowledgement, not much more than one.
//! * **latency**: no state of Kafka shows in it. A record that finds the buffer full costs as much as
//!   one that does not: the oldest batch is let go of, at most once for a batch's worth of new ones.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock, and paces itself")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the bench's own, and small"
)]

#[path = "../producer/process.rs"]
mod process;
#[path = "../producer/sink.rs"]
mod sink;
#[path = "../producer/watch.rs"]
mod watch;

use ottla::exporter::WhenFull;
use ottla::exporter::bifrost::{
    BifrostConfig, BifrostExporter, ContentLogging, Filter, Trace, encode, traces,
};
use ottla::producer::{Producer, ProducerConfig};
use process::SinkProcess;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::error::Error;
use std::hint::black_box;
use std::net::TcpListener;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use watch::Watch;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

const SAMPLE: &str = include_str!("../../tests/golden/bifrost-trace.json");

/// The sink names topics for their partitions.
const TOPIC: &str = "p12";

/// Rounds of which the median counts.
const ROUNDS: usize = 7;

/// Traces of a round.
const TRACES: usize = 20_000;

/// A second.
const RATE: u32 = 10_000;
const SECONDS: u32 = 8;

/// For what is accepted, at the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Small, so that it is full soon.
const BUFFER: usize = 8 << 20;

fn main() -> Fallible<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("sink") => Ok(sink::serve(Duration::from_millis(arguments[1].parse()?))?),
        Some("cost") => cost(),
        Some("latency") => latency(),
        Some(other) => Err(format!("there is no table {other:?}").into()),
        None => {
            cost()?;
            latency()
        }
    }
}

/// The sample on one line.
fn sample() -> Fallible<String> {
    let tree: serde_json::Value = serde_json::from_str(SAMPLE)?;
    Ok(tree.to_string())
}

fn parsed(text: &str) -> Trace<'_> {
    traces(text.as_bytes()).next().expect("a trace").expect("a good one")
}

fn cost() -> Fallible<()> {
    let text = sample()?;
    let sink = Sink::start(Duration::ZERO)?;
    let runtime = runtime()?;
    let exporter = sink.exporter(&runtime, WhenFull::Block, 32 << 20)?;
    let mut config = BifrostConfig::new(["localhost:9092"], TOPIC);
    config.request_headers = vec!["x-*".to_owned()];
    let keeping = Filter::new(&config);
    let stripping =
        Filter::new(&BifrostConfig { content_logging: ContentLogging::Strict, ..config });
    let filtered = |filter: &Filter| {
        let mut trace = parsed(&text);
        filter.apply(&mut trace);
        trace
    };
    let repeat = |once: &dyn Fn()| (0..TRACES).for_each(|_| once());
    let rows: [(&str, &dyn Fn()); 6] = [
        ("serde_json::Value", &|| {
            repeat(&|| drop(black_box(serde_json::from_str::<serde_json::Value>(&text))));
        }),
        ("parse", &|| repeat(&|| drop(black_box(parsed(&text))))),
        ("parse, filter", &|| repeat(&|| drop(black_box(filtered(&keeping))))),
        ("parse, filter (strict)", &|| repeat(&|| drop(black_box(filtered(&stripping))))),
        ("parse, filter, encode", &|| {
            repeat(&|| drop(black_box(encode(&filtered(&keeping)))));
        }),
        ("all, acknowledged", &|| runtime.block_on(send_all(&exporter, &text))),
    ];
    let mut rounds = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, row), figures) in rows.iter().zip(&mut rounds) {
            figures.push(measure(row)?);
        }
    }
    println!("A trace of {} bytes: CPU of all threads, in parses by serde_json", text.len());
    println!("into a tree; allocations; traces a second\n");
    let median = |of: &[[f64; 3]], figure: usize| {
        let mut figures: Vec<_> = of.iter().map(|figures| figures[figure]).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    for ((name, _), figures) in rows.iter().zip(&rounds) {
        let in_units = |(own, unit): (&[f64; 3], &[f64; 3])| [own[0] / unit[0], own[1], own[2]];
        let ratios: Vec<_> = figures.iter().zip(&rounds[0]).map(in_units).collect();
        let [cpu, allocations, wall] = [0, 1, 2].map(|figure| median(&ratios, figure));
        println!("{name:<24} {cpu:>6.2}x {allocations:>8.2} {:>10.0}/s", 1.0 / wall);
    }
    println!("{:<24} {:>6.2} us\n", "the unit", median(&rounds[0], 0) * 1e6);
    Ok(())
}

/// CPU-seconds, allocations and seconds, each for one trace.
fn measure(row: &dyn Fn()) -> Fallible<[f64; 3]> {
    let (watch, region) = (Watch::start()?, Region::new(ALLOCATOR));
    row();
    let allocated = region.change();
    let made = (allocated.allocations + allocated.reallocations) as f64;
    let used = watch.stop()?;
    Ok([used.cpu, made, used.wall].map(|figure| figure / TRACES as f64))
}

async fn send_all(exporter: &BifrostExporter, text: &str) {
    for _ in 0..TRACES {
        drop(exporter.accept(parsed(text)).await.expect("there will be room"));
    }
    exporter.flush().await;
}

fn latency() -> Fallible<()> {
    println!(
        "Microseconds in `export`, {RATE} traces a second for {SECONDS} s, a buffer of 8 MiB\n"
    );
    println!(
        "{:<30} {:>7} {:>7} {:>7} {:>9} {:>9} {:>9}",
        "", "p50", "p99", "p99.9", "delivered", "dropped", "waiting"
    );
    let text = sample()?;
    for (name, delay) in [
        ("up", Some(Duration::ZERO)),
        ("slow: 200 ms a request", Some(Duration::from_millis(200))),
        ("stuck: it never answers", Some(Duration::from_secs(3600))),
        ("down: nobody listens", None),
    ] {
        for when_full in [WhenFull::DropNewest, WhenFull::DropOldest] {
            let sink = match delay {
                Some(delay) => Sink::start(delay)?,
                None => Sink::nobody()?,
            };
            let runtime = runtime()?;
            let exporter = sink.exporter(&runtime, when_full, BUFFER)?;
            let mut times = export_at_rate(&exporter, &text);
            times.sort_unstable();
            let at =
                |share: f64| times[(times.len() as f64 * share) as usize].as_nanos() as f64 / 1e3;
            let flush = async { timeout(PATIENCE, exporter.flush()).await };
            // What is not there by then waits for its delivery timeout.
            let _ = runtime.block_on(flush);
            let counts = exporter.ledger().counts();
            println!(
                "{:<30} {:>7.1} {:>7.1} {:>7.1} {:>9} {:>9} {:>9}",
                format!("{name}, {}", when_full.name()),
                at(0.5),
                at(0.99),
                at(0.999),
                counts.delivered,
                counts.dropped,
                counts.pending
            );
        }
    }
    println!("\nMost memory that this process held: {:.0} MiB", Watch::start()?.stop()?.peak_mib);
    Ok(())
}

/// How long each call of `export` took.
fn export_at_rate(exporter: &BifrostExporter, text: &str) -> Vec<Duration> {
    let started = Instant::now();
    let export = |number: u32| {
        let due = started + Duration::from_secs(1) * number / RATE;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let trace = parsed(text);
        let before = Instant::now();
        exporter.export(trace);
        before.elapsed()
    };
    (0..RATE * SECONDS).map(export).collect()
}

fn runtime() -> Fallible<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// What takes the place of Kafka, and where it listens.
struct Sink {
    _process: Option<SinkProcess>,
    address: String,
}

impl Sink {
    fn start(delay: Duration) -> Fallible<Self> {
        let process = SinkProcess::start(delay)?;
        Ok(Self { address: process.address.clone(), _process: Some(process) })
    }

    /// Where nobody listens.
    fn nobody() -> Fallible<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        Ok(Self { _process: None, address })
    }

    fn exporter(
        &self,
        runtime: &Runtime,
        when_full: WhenFull,
        buffer: usize,
    ) -> Fallible<BifrostExporter> {
        let _within = runtime.enter();
        let mut config = ProducerConfig::new([&self.address])?;
        config.when_full = when_full;
        config.buffer_memory = buffer;
        let settings = BifrostConfig::new([&self.address], TOPIC);
        Ok(BifrostExporter::over(Producer::start(config)?, &settings)?)
    }
}
