//! Where items go that no record can hold.
//!
//! Decides how such an item is kept: a record of its own in a topic whose limit is larger, by a
//! producer that does not share the others' limit; or a line of OTLP/JSON at the end of a file.

use super::config::{DeadLetters, Format, PerSignal};
use super::cut::Piece;
use super::exporter::OtlpError;
use super::json;
use super::route::Route;
use super::schema::Signal;
use crate::exporter::ledger::Ledger;
use crate::exporter::sink::{Delivery, Sink};
use crate::producer::{Producer, ProducerConfig, Record, SendError};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Largest dead letter.
const SIZE_MAX: usize = 64 << 20;

#[derive(Debug)]
pub(super) enum DeadLetterOffice {
    Topic { topic: String, format: Format, sinks: PerSignal<Sink> },
    File { file: Mutex<File>, ledgers: PerSignal<Arc<Ledger>> },
}

impl DeadLetterOffice {
    pub(super) fn open(
        to: &DeadLetters,
        format: Format,
        producer: &ProducerConfig,
        ledgers: &PerSignal<Arc<Ledger>>,
    ) -> Result<Self, OtlpError> {
        match to {
            DeadLetters::Topic(topic) => {
                let mut config = producer.clone();
                config.record_size_max = SIZE_MAX;
                config.buffer_memory = config.buffer_memory.max(SIZE_MAX);
                let producer = Producer::start(config)?;
                let sink = |signal| Sink::booking(producer.clone(), Arc::clone(ledgers.of(signal)));
                Ok(Self::Topic { topic: topic.clone(), format, sinks: PerSignal::from_fn(sink) })
            }
            DeadLetters::File(path) => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                let file =
                    file.map_err(|cause| OtlpError::DeadLetterFile { path: path.clone(), cause })?;
                Ok(Self::File { file: Mutex::new(file), ledgers: ledgers.clone() })
            }
        }
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
        match self {
            Self::Topic { topic, format, sinks } => {
                let mut text = Vec::new();
                let value = match format {
                    Format::Protobuf => &letter.value[..],
                    Format::Json => {
                        json::write(signal, &letter.value, &mut text);
                        &text
                    }
                };
                let record = Record::to(topic).value(value).headers(route.headers());
                let to = topic.clone();
                let tell = move |result: &Result<_, SendError>| {
                    if let Err(error) = result {
                        tracing::error!(
                            "kafka exporter: failed to write dead letter to {to:?}: {error}"
                        );
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
            Self::File { file, ledgers } => {
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
                        tracing::error!("kafka exporter: failed to write dead letter: {error}");
                        Err(format!("the file of dead letters cannot be written: {error}"))
                    }
                }
            }
        }
    }

    pub(super) async fn flush(&self) {
        if let Self::Topic { sinks, .. } = self {
            sinks.traces.flush().await;
        }
    }

    pub(super) async fn close(&self, timeout: Duration) {
        if let Self::Topic { sinks, .. } = self {
            sinks.traces.close(timeout).await;
        }
    }
}
