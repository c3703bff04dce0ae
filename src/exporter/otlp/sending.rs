//! A request on its way: piece by piece into the sinks.
//!
//! Decides that a request is taken whole or not at all as far as room goes, and what its sender is
//! told: what was taken of it ([`Taken`]), how that ended ([`Ended`]), or why nothing was
//! ([`ExportError`]). A sender that has been told "later" may send the request again: nothing of it
//! was taken.

use super::config::Format;
use super::cut::{self, By, Cut, CutError, Key, Outcome, Oversized, Piece, Plan};
use super::exporter::OtlpExporter;
use super::fault::{Fault, Refused};
use super::json;
use super::route::Route;
use super::schema::Signal;
use crate::exporter::sink::Delivery;
use crate::producer::{Record, SendError, WhenFull};
use std::time::Duration;
use tokio::time::timeout;

/// What was taken of a request.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Taken {
    /// Items that are on their way to Kafka.
    pub items: u64,
    /// Items that are malformed.
    pub refused: Option<Refused>,
    /// Items that are too large, and are not sent.
    pub dropped: u64,
    /// What is to be said of the first of those.
    pub dropped_because: Option<String>,
    /// Why records behind the first were not accepted, if they were not: `Full` or `Closed`. The
    /// sender is to be told so, although it will then send again what was accepted.
    pub stopped: Option<ExportError>,
    /// Items in those records.
    pub left: u64,
    /// Records that were handed over.
    pub records: usize,
    /// Their ends, and how many items each has.
    pub deliveries: Vec<(u64, Delivery)>,
}

impl Taken {
    /// Ready when all of it has ended.
    pub(in crate::exporter) async fn end(self) -> Ended {
        let mut ended = Ended::default();
        if let Some(refused) = &self.refused {
            ended.lose(refused.items as u64, refused);
        }
        if let Some(because) = self.dropped_because {
            ended.lose(self.dropped, because);
        }
        if let Some(stopped) = self.stopped {
            ended.lose(self.left, stopped);
        }
        for (items, delivery) in self.deliveries {
            match delivery.await {
                Ok(_) => ended.delivered += items,
                Err(error) => ended.lose(items, error),
            }
        }
        ended
    }
}

/// How a request ended.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Ended {
    /// Items that Kafka has.
    pub delivered: u64,
    /// Items that it does not have, or perhaps not: malformed, too large or not delivered.
    pub lost: u64,
    /// Why the first of those is lost.
    pub because: Option<String>,
}

impl Ended {
    fn lose(&mut self, items: u64, because: impl ToString) {
        self.lost += items;
        self.because.get_or_insert_with(|| because.to_string());
    }
}

/// How long the first record of a request may wait for room. The others wait for theirs, as half a
/// request cannot be given back; without patience none does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    None,
    UpTo(Duration),
}

/// Why nothing of a request was taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// It is no request.
    #[error(transparent)]
    Malformed(#[from] Fault),
    /// It cannot be cut.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// It names a topic that it may not name.
    #[error("topic {topic:?} is not one that senders may name: add it to allowed-topics")]
    Topic {
        /// As it was named.
        topic: String,
    },
    /// There is no room for its first record: later.
    #[error("the queue is full: send the request again later")]
    Full,
    /// The exporter is closed.
    #[error("shutting down: send the request elsewhere, or again later")]
    Closed,
    /// Its first record cannot be sent, and no later one was tried.
    #[error(transparent)]
    Send(SendError),
}

/// A request on its way, piece by piece.
pub(super) struct Sending<'a> {
    pub(super) exporter: &'a OtlpExporter,
    pub(super) signal: Signal,
    pub(super) route: &'a Route<'a>,
    pub(super) patience: Patience,
    /// Whether something of it was handed over, so that it cannot be given back any more.
    pub(super) begun: bool,
    pub(super) taken: Taken,
}

impl Sending<'_> {
    pub(super) async fn cut(&mut self, cut: &Cut) -> Result<(), ExportError> {
        for piece in cut.pieces() {
            match self.exporter.config.format {
                _ if self.taken.stopped.is_some() => self.taken.left += u64::from(piece.items),
                Format::Protobuf => self.record(&piece, piece.key, &piece.value).await?,
                Format::Json => self.as_json(&piece).await?,
            }
        }
        self.oversized(cut).await;
        Ok(())
    }

    async fn as_json(&mut self, piece: &Piece<'_>) -> Result<(), ExportError> {
        let mut text = Vec::with_capacity(2 * piece.value.len());
        json::write(self.signal, &piece.value, &mut text);
        let size_max = self.exporter.value_size_max(self.route);
        if text.len() <= size_max {
            return self.record(piece, piece.key, &text).await;
        }
        let plan = self.exporter.plan(self.signal, piece.value.len(), size_max);
        let plan = Plan { by: By::Request, topic_attribute: None, ..plan };
        let cut = match cut::cut(&piece.value, &plan, &mut cut::Json::new(json::size)) {
            Ok(cut) => cut,
            Err(error) => return self.stop(ExportError::Cut(error), piece.items),
        };
        for part in cut.pieces() {
            if self.taken.stopped.is_some() {
                self.taken.left += u64::from(part.items);
                continue;
            }
            text.clear();
            json::write(self.signal, &part.value, &mut text);
            let part = Piece { topic: piece.topic, ..part };
            self.record(&part, piece.key, &text).await?;
        }
        self.oversized(&cut).await;
        Ok(())
    }

    async fn record(
        &mut self,
        piece: &Piece<'_>,
        key: Key,
        value: &[u8],
    ) -> Result<(), ExportError> {
        let exporter = self.exporter;
        let topic = self.route.topic(piece.topic);
        let mut buffer = cut::KeyBuffer::default();
        let mut record = Record::to(topic).value(value).headers(self.route.headers());
        record.key = key.write(&mut buffer);
        let items = u64::from(piece.items);
        let told = exporter.meters.of(self.signal).record(
            topic,
            value.len(),
            piece.items,
            &exporter.complaints,
        );
        let sink = exporter.sinks.of(self.signal);
        let sent = match self.patience {
            Patience::None => {
                sink.offer(record, items, told);
                Ok(None)
            }
            Patience::UpTo(patience) if !self.begun => {
                match timeout(patience, sink.send(record, items, told)).await {
                    Ok(sent) => sent.map(Some),
                    Err(_) => Err(SendError::QueueFull { waited: patience }),
                }
            }
            Patience::UpTo(_) => sink.send(record, items, told).await.map(Some),
        };
        match sent {
            Ok(delivery) => {
                self.taken.items += items;
                self.taken.records += 1;
                self.begun = true;
                self.taken.deliveries.extend(delivery.map(|delivery| (items, delivery)));
                Ok(())
            }
            Err(error) => {
                let error = match error {
                    SendError::QueueFull { .. } => ExportError::Full,
                    SendError::Closed => ExportError::Closed,
                    error => ExportError::Send(error),
                };
                self.stop(error, piece.items)
            }
        }
    }

    /// Ends the request with an error if nothing of it is on its way. Otherwise it goes on without
    /// these items, unless there is no room for others either.
    fn stop(&mut self, error: ExportError, items: u32) -> Result<(), ExportError> {
        if !self.begun {
            return Err(error);
        }
        let items = u64::from(items);
        let waits = self.exporter.config.producer.when_full == WhenFull::Block;
        match error {
            // Whoever chose to lose records rather than to wait shall not have some of them twice.
            ExportError::Full if !waits => {
                self.drop_items(items, || "the queue is full".to_owned())
            }
            ExportError::Full | ExportError::Closed => {
                self.taken.stopped = Some(error);
                self.taken.left += items;
            }
            error => self.drop_items(items, || error.to_string()),
        }
        Ok(())
    }

    fn drop_items(&mut self, items: u64, because: impl FnOnce() -> String) {
        self.taken.dropped += items;
        self.taken.dropped_because.get_or_insert_with(because);
    }

    /// Tells of items that were too large, and posts the dead letters; not of a request that will come
    /// again.
    async fn oversized(&mut self, cut: &Cut) {
        if self.taken.stopped.is_some() {
            return;
        }
        let exporter = self.exporter;
        let meter = exporter.meters.of(self.signal);
        for item in cut.oversized() {
            meter.on_oversized(item);
            exporter.oversized.remark(|| sentence(item));
            if item.outcome == Outcome::Dropped {
                exporter.ledger(self.signal).on_received(u64::from(item.items));
                exporter.ledger(self.signal).on_failed(u64::from(item.items), false);
                self.drop_items(u64::from(item.items), || sentence(item));
            }
        }
        let Some(office) = &exporter.dead_letters else { return };
        let waits = !matches!(self.patience, Patience::None);
        for letter in cut.dead_letters() {
            match office.post(self.signal, &letter, self.route, waits).await {
                Ok(delivery) => {
                    self.begun = true;
                    self.taken.items += u64::from(letter.items);
                    let delivery = delivery.map(|delivery| (u64::from(letter.items), delivery));
                    self.taken.deliveries.extend(delivery);
                }
                Err(error) => self.drop_items(u64::from(letter.items), || error),
            }
        }
    }
}

/// What happened to an item that was too large, in words.
fn sentence(item: &Oversized) -> String {
    let Oversized { path, name, item_size, record_size, .. } = item;
    let noun = match item.signal {
        Signal::Traces => "span",
        Signal::Metrics => "metric",
        Signal::Logs => "log record",
    };
    let end = match item.outcome {
        Outcome::Truncated { record_size } => format!("shortened to a record of {record_size}"),
        Outcome::DeadLetter => "sent to the dead letters".to_owned(),
        Outcome::Dropped => "dropped: raise max-message-bytes, or set oversize".to_owned(),
    };
    let point = path.point.map(|point| format!(", point {point}")).unwrap_or_default();
    format!(
        "{noun} {name:?} of {item_size} bytes (resource {}, scope {}, item {}{point}) needs a record \
         of {record_size}: {end}",
        path.resource, path.scope, path.item
    )
}
