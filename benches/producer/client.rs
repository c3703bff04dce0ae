//! The producer's side of the comparison, and the records of both.

use super::traces::Traces;
use super::watch::Watch;
use super::{Cost, Fallible, Task};
use ottla::producer::{Acks, Producer, ProducerConfig, Record};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Records that take turns.
const DISTINCT: u64 = 4_096;

/// Keys and values of one size, made beforehand.
pub(crate) struct Records {
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Records {
    pub(crate) fn new(size: usize) -> Self {
        let mut traces = Traces::new(7);
        let mut record = || {
            let trace = traces.next_trace();
            let mut value = trace.json.into_bytes();
            while value.len() < size {
                value.append(&mut traces.next_trace().json.into_bytes());
            }
            value.truncate(size);
            (trace.id.into_bytes(), value)
        };
        // Large records take fewer turns, so that memory stays in proportion.
        let distinct = DISTINCT.min((16 << 20) / size as u64);
        Self { records: (0..distinct).map(|_| record()).collect() }
    }

    pub(crate) fn at(&self, index: u64) -> (&[u8], &[u8]) {
        let (key, value) = &self.records[(index % self.records.len() as u64) as usize];
        (key, value)
    }
}

pub(crate) fn run(address: &str, task: Task) -> Fallible<()> {
    let records = Arc::new(Records::new(task.record_size));
    let mut config = ProducerConfig::new([address])?;
    config.compression = task.codec.into();
    config.idempotence = task.idempotent;
    config.acks = if task.idempotent { Acks::All } else { Acks::One };
    config.max_in_flight = task.in_flight;
    config.linger = task.linger;
    if let Ok(mib) = std::env::var("OTTLA_BENCH_BUFFER_MIB") {
        config.buffer_memory = mib.parse::<usize>()? << 20;
    }
    let mut runtime = match task.rate {
        0 => tokio::runtime::Builder::new_multi_thread(),
        // One record at a time is a matter of one thread, as on the floor.
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime.worker_threads(1).enable_all().build()?;
    let topic = format!("p{}", task.partitions);
    let cost = runtime.block_on(async {
        let producer = Producer::start(config)?;
        // Metadata and identity are not what is measured.
        producer.send(Record::to(&topic).partition(0)).await?;
        if task.rate == 0 {
            flood(&producer, &topic, &records, task).await
        } else {
            // In a task, as users send: the future that a runtime blocks on is woken by way of the
            // system.
            tokio::spawn(pace(producer, topic, records, task)).await?
        }
    });
    cost?.print();
    Ok(())
}

async fn flood(producer: &Producer, topic: &str, records: &Records, task: Task) -> Fallible<Cost> {
    let region = Region::new(ALLOCATOR);
    let watch = Watch::start()?;
    let all = (0..task.records).map(|index| {
        let (key, value) = records.at(index);
        let partition = (index % task.partitions as u64) as i32;
        Record::to(topic).partition(partition).key(key).value(value)
    });
    let ends = producer.send_all(all).await;
    let cost = Cost::from(watch.stop()?);
    let change = region.change();
    if ends.delivered != task.records {
        return Err(format!("{} of {} delivered", ends.delivered, task.records).into());
    }
    Ok(Cost { allocations: (change.allocations + change.reallocations) as f64, ..cost })
}

async fn pace(
    producer: Producer,
    topic: String,
    records: Arc<Records>,
    task: Task,
) -> Fallible<Cost> {
    let watch = Watch::start()?;
    let start = Instant::now();
    let mut waiting = Vec::new();
    for index in 0..task.records {
        let due = start + Duration::from_nanos(index * 1_000_000_000 / task.rate);
        tokio::time::sleep_until(due.into()).await;
        let (key, value) = records.at(index);
        let sent_at = Instant::now();
        let sending = producer.send(Record::to(&topic).key(key).value(value));
        waiting.push(tokio::spawn(async move { sending.await.map(|_| sent_at.elapsed()) }));
    }
    let mut latencies = Vec::new();
    for sending in waiting {
        latencies.push(sending.await??);
    }
    Ok(Cost { latency: percentiles(latencies), ..Cost::from(watch.stop()?) })
}

pub(crate) fn percentiles(mut latencies: Vec<Duration>) -> [f64; 3] {
    latencies.sort();
    let at = |share: f64| {
        let index = (latencies.len() as f64 * share) as usize;
        latencies[index.min(latencies.len() - 1)].as_secs_f64() * 1e6
    };
    [at(0.5), at(0.99), at(0.999)]
}
