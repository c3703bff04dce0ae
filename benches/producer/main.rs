//! The producer against the floor, as ratios.
//!
//! The floor is a loop that does only the unavoidable: it writes records into batches, computes the
//! CRC, compresses, makes one vectored write per request and reads the answers, on one thread that
//! knows beforehand where everything goes. Producer and floor talk to the same sink, which answers
//! at once and is a process of its own. Each run is a process, too, so that its CPU time and its
//! peak memory are its own. `README.md` in the parent folder says how to read what is printed.
//!
//! ```text
//! cargo bench --bench producer                 every table, a few minutes
//! cargo bench --bench producer -- throughput   records of three sizes, codecs, partitions
//! cargo bench --bench producer -- latency      send to acknowledgement at a fixed rate
//! cargo bench --bench producer -- pipelining   one partition behind 10 ms
//! ```

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock, and paces itself")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the numbers are the bench's own, and small"
)]

mod client;
mod floor;
mod process;
mod sink;
#[path = "../traces/mod.rs"]
mod traces;
mod watch;

use ottla::protocol::Codec;
use process::SinkProcess;
use std::error::Error;
use std::process::{Command, Stdio};
use std::time::Duration;

type Fallible<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rounds of which the median counts.
const ROUNDS: usize = 5;

/// Bytes of records sent in one run: half a gigabyte takes about a second without a codec.
const RUN_BYTES: u64 = 512 << 20;

/// What one run does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) record_size: usize,
    pub(crate) partitions: i32,
    pub(crate) codec: Codec,
    pub(crate) idempotent: bool,
    pub(crate) in_flight: usize,
    pub(crate) records: u64,
    /// Records per second; as fast as it goes, if zero.
    pub(crate) rate: u64,
    pub(crate) linger: Duration,
}

impl Task {
    const fn new(record_size: usize) -> Self {
        Self {
            record_size,
            partitions: 1,
            codec: Codec::None,
            idempotent: true,
            in_flight: 5,
            records: RUN_BYTES / record_size as u64,
            rate: 0,
            linger: Duration::from_millis(5),
        }
    }

    fn arguments(&self) -> Vec<String> {
        vec![
            self.record_size.to_string(),
            self.partitions.to_string(),
            self.codec.name().to_owned(),
            self.idempotent.to_string(),
            self.in_flight.to_string(),
            self.records.to_string(),
            self.rate.to_string(),
            self.linger.as_millis().to_string(),
        ]
    }

    fn parse(arguments: &[String]) -> Fallible<Self> {
        Ok(Self {
            record_size: arguments[0].parse()?,
            partitions: arguments[1].parse()?,
            codec: arguments[2].parse()?,
            idempotent: arguments[3].parse()?,
            in_flight: arguments[4].parse()?,
            records: arguments[5].parse()?,
            rate: arguments[6].parse()?,
            linger: Duration::from_millis(arguments[7].parse()?),
        })
    }
}

/// What one run cost.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Seconds of all threads.
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
    pub(crate) peak_mib: f64,
    pub(crate) allocations: f64,
    /// Microseconds from send to acknowledgement: p50, p99, p99.9.
    pub(crate) latency: [f64; 3],
}

impl From<watch::Used> for Cost {
    fn from(watch::Used { cpu, wall, peak_mib }: watch::Used) -> Self {
        Self { cpu, wall, peak_mib, ..Self::default() }
    }
}

impl Cost {
    pub(crate) fn print(&self) {
        let [p50, p99, p999] = self.latency;
        println!(
            "{} {} {} {} {p50} {p99} {p999}",
            self.cpu, self.wall, self.peak_mib, self.allocations
        );
    }

    fn parse(line: &str) -> Fallible<Self> {
        let words: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        match words?[..] {
            [cpu, wall, peak_mib, allocations, p50, p99, p999] => {
                Ok(Self { cpu, wall, peak_mib, allocations, latency: [p50, p99, p999] })
            }
            _ => Err(format!("not a cost: {line:?}").into()),
        }
    }

    /// The median of each figure by itself.
    fn median(rounds: &[Self]) -> Self {
        let middle = |figure: &dyn Fn(&Self) -> f64| {
            let mut figures: Vec<_> = rounds.iter().map(figure).collect();
            figures.sort_by(f64::total_cmp);
            figures[figures.len() / 2]
        };
        Self {
            cpu: middle(&|cost| cost.cpu),
            wall: middle(&|cost| cost.wall),
            peak_mib: middle(&|cost| cost.peak_mib),
            allocations: middle(&|cost| cost.allocations),
            latency: [0, 1, 2].map(|index| middle(&|cost| cost.latency[index])),
        }
    }
}

fn main() -> Fallible<()> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("sink") => Ok(sink::serve(Duration::from_millis(arguments[1].parse()?))?),
        Some("floor") => floor::run(&arguments[1], Task::parse(&arguments[2..])?),
        Some("tokio") => floor::run_on_tokio(&arguments[1], Task::parse(&arguments[2..])?),
        Some("ottla") => client::run(&arguments[1], Task::parse(&arguments[2..])?),
        Some("throughput") => throughput(),
        Some("latency") => latency(),
        Some("pipelining") => pipelining(),
        Some(other) => Err(format!("there is no table {other:?}").into()),
        None => {
            throughput()?;
            latency()?;
            pipelining()
        }
    }
}

fn throughput() -> Fallible<()> {
    let sink = Sink::start(Duration::ZERO)?;
    println!("CPU-seconds per million records, the floor's and the producer's times the floor's;");
    println!("records per second by the wall; allocations per record; peak MiB of the process\n");
    println!(
        "{:<34} {:>7} {:>7} {:>10} {:>10} {:>8} {:>6} {:>6}",
        "", "floor", "ottla", "floor/s", "ottla/s", "allocs", "floor", "ottla"
    );
    let mut tasks = Vec::new();
    for record_size in [100, 1_000, 10_000] {
        tasks.push(Task::new(record_size));
        tasks.push(Task { idempotent: false, ..Task::new(record_size) });
    }
    for partitions in [12, 100] {
        tasks.push(Task { partitions, ..Task::new(1_000) });
    }
    for codec in [Codec::Snappy, Codec::Lz4, Codec::Zstd, Codec::Gzip] {
        let slow = if codec == Codec::Gzip { 8 } else { 2 };
        tasks.push(Task { codec, records: Task::new(1_000).records / slow, ..Task::new(1_000) });
    }
    for task in tasks {
        let (floor, ottla) = compare(&sink, task)?;
        let Task { record_size, partitions, codec, idempotent, records, .. } = task;
        let acks = if idempotent { "idempotent" } else { "acks=1" };
        let millions = records as f64 / 1e6;
        println!(
            "{:<34} {:>7.3} {:>6.2}x {:>10.0} {:>10.0} {:>8.4} {:>6.0} {:>6.0}",
            format!("{record_size} B, {partitions} part., {codec}, {acks}"),
            floor.cpu / millions,
            ottla.cpu / floor.cpu,
            records as f64 / floor.wall,
            records as f64 / ottla.wall,
            ottla.allocations / records as f64,
            floor.peak_mib,
            ottla.peak_mib,
        );
    }
    println!();
    Ok(())
}

fn latency() -> Fallible<()> {
    let sink = Sink::start(Duration::ZERO)?;
    println!(
        "Microseconds from send to acknowledgement at 1,000 records/s of 1 KB; the floor is one"
    );
    println!("request after the other, each with one record\n");
    println!("{:<34} {:>10} {:>10} {:>10}", "", "p50", "p99", "p99.9");
    for linger in [0, 5] {
        let linger = Duration::from_millis(linger);
        let task = Task { rate: 1_000, records: 5_000, linger, ..Task::new(1_000) };
        let (floor, ottla) = compare(&sink, task)?;
        let bare: Fallible<Vec<_>> = (0..ROUNDS).map(|_| sink.run("tokio", task)).collect();
        let row = |name: String, [p50, p99, p999]: [f64; 3]| {
            println!("{name:<34} {p50:>10.0} {p99:>10.0} {p999:>10.0}");
        };
        row("floor".to_owned(), floor.latency);
        row("floor, on the producer's runtime".to_owned(), Cost::median(&bare?).latency);
        row(format!("ottla, linger {linger:?}"), ottla.latency);
    }
    println!();
    Ok(())
}

fn pipelining() -> Fallible<()> {
    let sink = Sink::start(Duration::from_millis(10))?;
    println!("Records/s of 1 KB to one partition, each answer 10 ms later\n");
    let mut walls = Vec::new();
    for in_flight in [1, 5] {
        let task = Task { in_flight, records: 200_000, ..Task::new(1_000) };
        let rounds: Fallible<Vec<_>> = (0..ROUNDS).map(|_| sink.run("ottla", task)).collect();
        let wall = Cost::median(&rounds?).wall;
        println!("{in_flight} in flight {:>12.0}/s", task.records as f64 / wall);
        walls.push(wall);
    }
    println!("ratio {:.2}\n", walls[0] / walls[1]);
    Ok(())
}

/// Both, in turns.
fn compare(sink: &Sink, task: Task) -> Fallible<(Cost, Cost)> {
    let (mut floor, mut ottla) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(sink.run("floor", task)?);
        ottla.push(sink.run("ottla", task)?);
    }
    Ok((Cost::median(&floor), Cost::median(&ottla)))
}

/// Who runs against a sink.
struct Sink(SinkProcess);

impl Sink {
    fn start(delay: Duration) -> Fallible<Self> {
        Ok(Self(SinkProcess::start(delay)?))
    }

    fn run(&self, who: &str, task: Task) -> Fallible<Cost> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([who, &self.0.address]).args(task.arguments()).stderr(Stdio::inherit());
        let output = command.output()?;
        if !output.status.success() {
            return Err(format!("{who} failed at {task:?}").into());
        }
        Cost::parse(String::from_utf8(output.stdout)?.trim())
    }
}
