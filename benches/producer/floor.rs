//! The floor: only what cannot be left out.
//!
//! One thread, one socket, records and their partitions known beforehand. Batches are made, sealed
//! and stamped by the same code as the producer's; what is missing is everything around it: no
//! lookup, no lock, no queue, no linger, no future, no retry.

use super::client::{Records, percentiles};
use super::watch::Watch;
use super::{Cost, Fallible, Task};
use bytes::Bytes;
use ottla::protocol::Codec;
use ottla::protocol::chunks::ChunkPool;
use ottla::protocol::compression::Compressor;
use ottla::protocol::record::Content;
use ottla::protocol::record_batch::{Appended, BatchBuilder, BatchLimits, ProducerStamp};
use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// As large as the producer's batches.
const BATCH_SIZE: usize = 1_000_000;

pub(crate) fn run(address: &str, task: Task) -> Fallible<()> {
    let records = Records::new(task.record_size);
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut line = Line { stream: &mut stream, unanswered: 0, in_flight: task.in_flight };
    let cost = if task.rate == 0 {
        flood(&mut line, &records, task)
    } else {
        pace(&mut line, &records, task)
    };
    cost?.print();
    Ok(())
}

fn flood(line: &mut Line<'_>, records: &Records, task: Task) -> Fallible<Cost> {
    let limits = BatchLimits {
        // A request holds a megabyte, however many partitions share it.
        bytes_max: BATCH_SIZE / task.partitions as usize,
        records_max: 10_000,
    };
    let mut compressor = Compressor::new(task.codec.into());
    let pool = Arc::new(ChunkPool::new(2 * BATCH_SIZE));
    let open = || {
        let builder = BatchBuilder::from_pool(limits, Arc::clone(&pool));
        if task.codec == Codec::None { builder.summing() } else { builder }
    };
    let watch = Watch::start()?;
    let mut sent = 0;
    while sent < task.records {
        let mut batches = Vec::new();
        for _ in 0..task.partitions {
            let mut builder = open();
            while sent < task.records {
                let (key, value) = records.at(sent);
                let content = Content { key: Some(key), value: Some(value), ..Content::default() };
                if builder.try_append(1_700_000_000_000, &content) == Appended::Full {
                    break;
                }
                sent += 1;
            }
            if builder.count() > 0 {
                batches.push(builder.seal(&mut compressor));
            }
        }
        let stamp = ProducerStamp { producer_id: 1, epoch: 0, base_sequence: 0 };
        let parts: Vec<_> =
            batches.iter().map(|batch| (batch.header(stamp), batch.body())).collect();
        line.send(&parts)?;
    }
    line.drain()?;
    Ok(watch.stop()?.into())
}

/// One request with one record after the other, at a rate.
fn pace(line: &mut Line<'_>, records: &Records, task: Task) -> Fallible<Cost> {
    let limits = BatchLimits { bytes_max: BATCH_SIZE, records_max: 1 };
    let mut compressor = Compressor::new(task.codec.into());
    let mut latencies = Vec::new();
    let watch = Watch::start()?;
    let start = Instant::now();
    for index in 0..task.records {
        let due = start + Duration::from_nanos(index * 1_000_000_000 / task.rate);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent_at = Instant::now();
        let (key, value) = records.at(index);
        let mut builder = BatchBuilder::new(limits);
        builder
            .try_append(0, &Content { key: Some(key), value: Some(value), ..Content::default() });
        let batch = builder.seal(&mut compressor);
        line.send(&[(batch.header(ProducerStamp::NONE), batch.body())])?;
        line.drain()?;
        latencies.push(sent_at.elapsed());
    }
    Ok(Cost { latency: percentiles(latencies), ..Cost::from(watch.stop()?) })
}

struct Line<'a> {
    stream: &'a mut TcpStream,
    unanswered: usize,
    in_flight: usize,
}

impl Line<'_> {
    /// One Produce v7 request, one write.
    fn send(&mut self, parts: &[([u8; 61], &[Bytes])]) -> Fallible<()> {
        if self.unanswered == self.in_flight {
            self.read_answer()?;
        }
        let (head, cuts) = frame(parts);
        let mut slices = Vec::with_capacity(64 + 2 * parts.len());
        let mut from = 0;
        for (cut, (_, body)) in cuts.into_iter().zip(parts) {
            slices.push(IoSlice::new(&head[from..cut]));
            slices.extend(body.iter().map(|piece| IoSlice::new(piece)));
            from = cut;
        }
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = self.stream.write_vectored(rest)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        self.unanswered += 1;
        Ok(())
    }

    fn drain(&mut self) -> Fallible<()> {
        while self.unanswered > 0 {
            self.read_answer()?;
        }
        Ok(())
    }

    fn read_answer(&mut self) -> Fallible<()> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer)?;
        self.unanswered -= 1;
        Ok(())
    }
}

/// One Produce v7 request but for the batches' bodies, and where those come in.
fn frame(parts: &[([u8; 61], &[Bytes])]) -> (Vec<u8>, Vec<usize>) {
    let mut head = Vec::with_capacity(128 + parts.len() * 80);
    head.extend_from_slice(&[0; 4]);
    head.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 5]);
    head.extend_from_slice(b"floor");
    head.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0x75, 0x30, 0, 0, 0, 1, 0, 1, b't']);
    head.extend_from_slice(&(parts.len() as u32).to_be_bytes());
    let mut cuts = Vec::with_capacity(parts.len());
    for (partition, (header, body)) in parts.iter().enumerate() {
        head.extend_from_slice(&(partition as u32).to_be_bytes());
        let size = header.len() + size(body);
        head.extend_from_slice(&(size as u32).to_be_bytes());
        head.extend_from_slice(header);
        cuts.push(head.len());
    }
    let size = head.len() - 4 + parts.iter().map(|(_, body)| size(body)).sum::<usize>();
    head[..4].copy_from_slice(&(size as u32).to_be_bytes());
    (head, cuts)
}

/// As [`run`] at a rate, on the runtime that the producer runs on: what waiting costs there.
pub(crate) fn run_on_tokio(address: &str, task: Task) -> Fallible<()> {
    let records = Records::new(task.record_size);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let cost = runtime.block_on(async {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let limits = BatchLimits { bytes_max: BATCH_SIZE, records_max: 1 };
        let mut compressor = Compressor::new(task.codec.into());
        let mut latencies = Vec::new();
        let watch = Watch::start()?;
        let start = Instant::now();
        for index in 0..task.records {
            let due = start + Duration::from_nanos(index * 1_000_000_000 / task.rate);
            tokio::time::sleep_until(due.into()).await;
            let sent_at = Instant::now();
            let (key, value) = records.at(index);
            let content = Content { key: Some(key), value: Some(value), ..Content::default() };
            let mut builder = BatchBuilder::new(limits);
            builder.try_append(0, &content);
            let batch = builder.seal(&mut compressor);
            let (mut request, _) = frame(&[(batch.header(ProducerStamp::NONE), batch.body())]);
            batch.body().iter().for_each(|piece| request.extend_from_slice(piece));
            stream.write_all(&request).await?;
            let size = stream.read_u32().await?;
            stream.read_exact(&mut vec![0; size as usize]).await?;
            latencies.push(sent_at.elapsed());
        }
        Fallible::Ok(Cost { latency: percentiles(latencies), ..Cost::from(watch.stop()?) })
    });
    cost?.print();
    Ok(())
}

fn size(body: &[Bytes]) -> usize {
    body.iter().map(Bytes::len).sum()
}
