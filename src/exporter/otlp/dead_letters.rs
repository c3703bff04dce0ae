//! Where items go that no record can hold.
//!
//! Decides how such an item is kept: a record of its own in a topic whose limit is larger, by a
//! producer that does not share the others' limit; or a line of OTLP/JSON at the end of a file.

use super::config::{DeadLetters, Format, OtlpConfig, PerSignal};
use super::cut::Piece;
use super::exporter::OtlpError;
use super::json;
use super::route::Route;
use super::schema::Signal;
use crate::exporter::complaints::Complaints;
use crate::exporter::ledger::Ledger;
use crate::exporter::sink::{Delivery, Sink};
use crate::producer::{Producer, ProducerMetrics, Record, SendError};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Largest dead letter.
const SIZE_MAX: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct DeadLetterOffice {
    keeper: Keeper,
    complaints: Arc<Complaints>,
}

#[derive(Debug)]
enum Keeper {
    Topic { topic: String, format: Format, sinks: PerSignal<Sink> },
    File { file: Mutex<File>, ledgers: PerSignal<Arc<Ledger>> },
}

impl DeadLetterOffice {
    pub(super) fn open(
        to: &DeadLetters,
        config: &OtlpConfig,
        ledgers: &PerSignal<Arc<Ledger>>,
        complaints: Arc<Complaints>,
    ) -> Result<Self, OtlpError> {
        let keeper = match to {
            DeadLetters::Topic(topic) => {
                let (topic, format) = (topic.clone(), config.format);
                let mut producer = config.producer.clone();
                producer.record_size_max = SIZE_MAX;
                producer.buffer_memory = producer.buffer_memory.max(SIZE_MAX);
                let producer = Producer::start(producer)?;
                let sink = |signal| Sink::booking(producer.clone(), Arc::clone(ledgers.of(signal)));
                Keeper::Topic { topic, format, sinks: PerSignal::from_fn(sink) }
            }
            DeadLetters::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                let file =
                    file.map_err(|cause| OtlpError::DeadLetterFile { path: path.clone(), cause })?;
                Keeper::File { file: Mutex::new(file), ledgers: ledgers.clone() }
            }
        };
        Ok(Self { keeper, complaints })
    }

    /// Keeps a letter; `None` when it is kept at once, or nobody waits. An error says why it is lost.
    pub(super) async fn post(
        &self,
        signal: Signal,
        letter: &Piece<'_>,
        route: &Route<'_>,
        waits: bool,
    ) -> Result<Option<Delivery>, String> {
        let items = u64::from(letter.items);
        match &self.keeper {
            Keeper::Topic { topic, format, sinks } => {
                let mut text = Vec::new();
                let value = match format {
                    Format::Protobuf => &letter.value[..],
                    Format::Json => {
                        json::write(signal, &letter.value, &mut text);
                        &text
                    }
                };
                let record = Record::to(topic).value(value).headers(route.headers());
                let (to, complaints) = (topic.clone(), Arc::clone(&self.complaints));
                let tell = move |result: &Result<_, SendError>| {
                    if let Err(error) = result {
                        complaints
                            .tell(|| format!("failed to write dead letter to {to:?}: {error}"));
                    }
                };
                let sink = sinks.of(signal);
                if !waits {
                    sink.offer(record, items, tell);
                    return Ok(None);
                }
                let sent = sink.send(record, items, tell).await;
                sent.map(Some).map_err(|error| error.to_string())
            }
            Keeper::File { file, ledgers } => {
                let mut line = Vec::new();
                json::write(signal, &letter.value, &mut line);
                line.push(b'\n');
                let written = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line);
                let ledger = ledgers.of(signal);
                ledger.on_received(items);
                match written {
                    Ok(()) => {
                        ledger.on_delivered(items);
                        Ok(None)
                    }
                    Err(error) => {
                        ledger.on_failed(items, false);
                        self.complaints.tell(|| format!("failed to write dead letter: {error}"));
                        Err(format!("the file of dead letters cannot be written: {error}"))
                    }
                }
            }
        }
    }

    pub(super) fn producer_metrics(&self) -> Option<ProducerMetrics> {
        match &self.keeper {
            Keeper::Topic { sinks, .. } => Some(sinks.traces.producer_metrics()),
            Keeper::File { .. } => None,
        }
    }

    pub(super) fn end_linger(&self) {
        if let Keeper::Topic { sinks, .. } = &self.keeper {
            sinks.traces.end_linger();
        }
    }

    pub(super) async fn flush(&self) {
        if let Keeper::Topic { sinks, .. } = &self.keeper {
            sinks.traces.flush().await;
        }
    }

    pub(super) async fn close(&self, timeout: Duration) {
        if let Keeper::Topic { sinks, .. } = &self.keeper {
            sinks.traces.close(timeout).await;
        }
    }
}
