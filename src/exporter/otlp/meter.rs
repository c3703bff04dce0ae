//! What is counted of a signal, beside its ledger.
//!
//! Names follow OpenTelemetry's Collector, whose dashboards are known: a receiver accepts and refuses
//! items, an exporter sends them or fails to. Whoever installs a recorder of the `metrics` crate
//! sees them; without one they cost next to nothing.

use super::cut::{Outcome, Oversized};
use super::fault::Refused;
use super::schema::Signal;
use super::sending::ExportError;
use crate::exporter::complaints::Complaints;
use crate::exporter::{DROPPED, DROPPED_HELP};
use crate::producer::{Delivered, SendError};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use std::sync::Arc;
use tokio::time::Instant;

const ACCEPTED: &str = "ottla_receiver_accepted_items";
const REFUSED: &str = "ottla_receiver_refused_items";
const REFUSED_REQUESTS: &str = "ottla_receiver_refused_requests";
const SPLIT: &str = "ottla_exporter_split_records";
const OVERSIZE: &str = "ottla_exporter_oversize_items";
const SENT: &str = "ottla_exporter_sent_items";
const SENT_RECORDS: &str = "ottla_exporter_sent_records";
const SENT_BYTES: &str = "ottla_exporter_sent_bytes";
const FAILED: &str = "ottla_exporter_send_failed_items";
const FAILED_RECORDS: &str = "ottla_exporter_send_failed_records";
const LATENCY: &str = "ottla_exporter_write_latency_seconds";

#[derive(Debug)]
pub(super) struct Meter {
    signal: &'static str,
    accepted: Counter,
    refused: Counter,
    split: Counter,
    latency: Histogram,
}

impl Meter {
    pub(super) fn new(signal: Signal) -> Self {
        describe();
        let signal = signal.name();
        Self {
            signal,
            accepted: counter!(ACCEPTED, "signal" => signal),
            refused: counter!(REFUSED, "signal" => signal),
            split: counter!(SPLIT, "signal" => signal),
            latency: histogram!(LATENCY, "signal" => signal),
        }
    }

    pub(super) fn on_refused_request(&self, error: &ExportError) {
        let reason = match error {
            ExportError::Malformed(_) => "malformed",
            ExportError::Cut(_) => "expands",
            ExportError::Topic { .. } => "topic",
            ExportError::Full => "full",
            ExportError::Closed => "closed",
            ExportError::Send(_) => "send",
        };
        counter!(REFUSED_REQUESTS, "signal" => self.signal, "reason" => reason).increment(1);
    }

    pub(super) fn on_taken(&self, items: u64, refused: Option<&Refused>, records: usize) {
        self.accepted.increment(items);
        self.refused.increment(refused.map_or(0, |refused| refused.items as u64));
        self.split.increment(records.saturating_sub(1) as u64);
    }

    pub(super) fn on_oversized(&self, item: &Oversized) {
        let outcome = match item.outcome {
            Outcome::Truncated { .. } => "truncated",
            Outcome::DeadLetter => "dead_letter",
            Outcome::Dropped => "dropped",
        };
        counter!(OVERSIZE, "signal" => self.signal, "outcome" => outcome)
            .increment(u64::from(item.items));
    }

    /// What is to be called when a record ends: counts it, and tells of its failure.
    #[expect(clippy::disallowed_methods, reason = "it is how long users wait, and rules nothing")]
    pub(super) fn record(
        &self,
        topic: &str,
        size: usize,
        items: u32,
        complaints: &Arc<Complaints>,
    ) -> impl FnOnce(&Result<Delivered, SendError>) + Send + use<> {
        let (signal, latency) = (self.signal, self.latency.clone());
        let complaints = Arc::clone(complaints);
        let topic = topic.to_owned();
        let started = Instant::now();
        move |result| match result {
            Ok(_) => {
                latency.record(started.elapsed());
                let labels = [("signal", signal.to_owned()), ("topic", topic)];
                counter!(SENT, &labels).increment(u64::from(items));
                counter!(SENT_RECORDS, &labels).increment(1);
                counter!(SENT_BYTES, &labels).increment(size as u64);
            }
            Err(error) => {
                complaints.tell(|| {
                    format!("failed to write {items} items of {signal} to {topic:?}: {error}")
                });
                let labels = [("signal", signal.to_owned()), ("topic", topic)];
                counter!(FAILED, &labels).increment(u64::from(items));
                counter!(FAILED_RECORDS, &labels).increment(1);
                if error.is_for_want_of_room() {
                    counter!(DROPPED, &labels).increment(u64::from(items));
                }
            }
        }
    }
}

fn describe() {
    describe_counter!(ACCEPTED, "Spans, data points or log records taken in");
    describe_counter!(REFUSED, "Items refused as malformed, each told to its sender");
    describe_counter!(REFUSED_REQUESTS, "Requests of which nothing was taken, by reason");
    describe_counter!(SPLIT, "Records beyond the first of their request");
    describe_counter!(OVERSIZE, "Items too large for a record, by what became of them");
    describe_counter!(SENT, "Items that Kafka has");
    describe_counter!(SENT_RECORDS, "Records that Kafka has");
    describe_counter!(SENT_BYTES, "Bytes of values that Kafka has, before compression");
    describe_counter!(FAILED, "Items that Kafka does not have, or perhaps not");
    describe_counter!(DROPPED, DROPPED_HELP);
    describe_counter!(FAILED_RECORDS, "Records that Kafka does not have, or perhaps not");
    describe_histogram!(
        LATENCY,
        metrics::Unit::Seconds,
        "From a record's being sent to Kafka's having it"
    );
}
