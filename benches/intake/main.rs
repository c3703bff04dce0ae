//! OTLP through the service, against a bare loop, as ratios.
//!
//! The bare loop (`floor`) reads the same requests with the same server library, whole, drops them
//! and says that it has them; the `relay` writes them to a socket before, which is the least that
//! anything between a sender and Kafka does. The service (`ottla`) checks them, publishes them to a
//! sink that acknowledges at once, and answers when the sink has. Each is a process of its own, so
//! that its CPU time and its peak memory are its own; the client is here. `README.md` in the parent
//! folder says how to read what is printed.
//!
//! ```text
//! cargo bench --bench intake              both tables, a few minutes
//! cargo bench --bench intake -- cpu       CPU per span, without a codec and with lz4
//! cargo bench --bench intake -- memory    peak memory while the buffer is full
//! ```
//!
//! The numbers wanted:
//!
//! * **no codec**: at most 1.5. What the service adds to reading a span are a walk over its fields,
//!   a copy into a batch, a checksum and a write to a socket.
//! * **lz4**: at most that, and 1.15 times what the codec takes alone for the same bytes: 1 of both
//!   together.
//! * **memory**: at most 64 MiB above the configured buffer.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock, and paces itself")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the bench's own, and small"
)]

mod load;
mod server;
#[path = "../producer/sink.rs"]
mod sink;
#[path = "../spans/mod.rs"]
mod spans;
#[path = "../producer/watch.rs"]
mod watch;

use load::Load;
use ottla::protocol::Codec;
use ottla::protocol::compression::Compressor;
use server::{Server, Setup};
use std::error::Error;
use std::time::Duration;
use watch::{Used, Watch};

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rounds of which the median counts.
const ROUNDS: usize = 7;

/// What the service may cost, in floors, and what the codec may add, in its own cost.
const ALLOWED: f64 = 1.5;
const ALLOWED_LZ4: f64 = 1.15;

/// Bytes of requests sent in one run, about.
const RUN_BYTES: usize = 256 << 20;

/// As large as the producer's batches.
const BATCH_SIZE: usize = 1_000_000;

fn main() -> Fallible<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("sink") => Ok(sink::serve(Duration::from_millis(arguments[1].parse()?))?),
        Some("floor") => server::run_floor(arguments.get(1).map(String::as_str)),
        Some("drain") => server::run_drain(),
        Some("ottla") => server::run_ottla(&arguments[1], Setup::parse(&arguments[2..])?),
        Some("cpu") => cpu(),
        Some("memory") => memory(),
        Some(other) => Err(format!("there is no table {other:?}").into()),
        None => {
            cpu()?;
            memory()
        }
    }
}

fn cpu() -> Fallible<()> {
    println!("CPU-microseconds per span; the service's times the floor's; with lz4 times what is");
    println!("allowed, {ALLOWED} floors and {ALLOWED_LZ4} of the codec alone. Answered when");
    println!(
        "delivered, and when queued; by clients with large frames, and with frames of 16 KiB\n"
    );
    println!(
        "{:<30} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>7} {:>8}",
        "", "floor", "relay", "ottla", "", "lz4", "ottla", "", "spans/s"
    );
    for spans in [100, 1_000] {
        let load = Load::new(spans, RUN_BYTES);
        for load in [load.clone(), load.clone().in_small_frames()] {
            for ack_queued in [false, true] {
                compare(&load, Setup { ack_queued, ..Setup::default() })?;
            }
        }
        println!("  of {} bytes each", load.request_size() / spans);
    }
    println!();
    Ok(())
}

/// All four in turns.
fn compare(load: &Load, setup: Setup) -> Fallible<()> {
    let [mut floor, mut relay, mut plain, mut lz4, mut codec] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        floor.push(Server::floor()?.cost(load)?);
        relay.push(Server::relay()?.cost(load)?);
        plain.push(Server::ottla(setup)?.cost(load)?);
        codec.push(codec_alone(Codec::Lz4, load)?);
        lz4.push(Server::ottla(Setup { codec: Codec::Lz4, ..setup })?.cost(load)?);
    }
    let spans = load.spans() as f64;
    let [floor, relay, ottla, codec, with_lz4] = [&floor, &relay, &plain, &codec, &lz4]
        .map(|rounds| median(rounds, |used| used.cpu) * 1e6 / spans);
    println!(
        "{:<30} {floor:>7.3} {relay:>7.3} {ottla:>7.3} {:>6.2}x {codec:>7.3} {with_lz4:>7.3} {:>6.2}x {:>8.0}",
        format!(
            "{} spans, {}{}",
            load.spans_each,
            if setup.ack_queued { "queued" } else { "delivered" },
            if load.is_in_small_frames() { ", 16 KiB" } else { "" }
        ),
        ottla / floor,
        with_lz4 / (ALLOWED * floor + ALLOWED_LZ4 * codec),
        spans / median(&plain, |used| used.wall),
    );
    Ok(())
}

fn memory() -> Fallible<()> {
    println!("Peak MiB of the service while a slow sink keeps its buffer full; 128 requests at");
    println!("once on 8 connections, each sent again until it is taken\n");
    println!("{:<34} {:>8} {:>8} {:>8} {:>8}", "", "buffer", "peak", "above", "refused");
    for codec in [Codec::None, Codec::Lz4] {
        for (spans, buffer_mib) in [(100, 32), (1_000, 32), (1_000, 128)] {
            let load = Load::new(spans, RUN_BYTES).on(8, 16);
            let setup = Setup { codec, buffer_mib, ack_queued: true, delay_ms: 20 };
            let (used, refused) = Server::ottla(setup)?.run(&load)?;
            println!(
                "{:<34} {buffer_mib:>8} {:>8.0} {:>8.0} {refused:>8}",
                format!("{spans} spans, {codec}"),
                used.peak_mib,
                used.peak_mib - buffer_mib as f64,
            );
        }
    }
    Ok(())
}

/// Compresses what a run sends, by the batch.
fn codec_alone(codec: Codec, load: &Load) -> Fallible<Used> {
    let mut compressor = Compressor::new(codec.into());
    let batches = load.batches(BATCH_SIZE);
    let bytes: usize = batches.iter().map(Vec::len).sum();
    let runs = (load.bytes() / bytes).max(1);
    let watch = Watch::start()?;
    for _ in 0..runs {
        batches.iter().for_each(|batch| drop(std::hint::black_box(compressor.compress(batch))));
    }
    let used = watch.stop()?;
    // Whole batches are not quite what a run sends.
    Ok(Used { cpu: used.cpu * load.bytes() as f64 / (bytes * runs) as f64, ..used })
}

fn median(rounds: &[Used], figure: impl Fn(&Used) -> f64) -> f64 {
    let mut figures: Vec<_> = rounds.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
