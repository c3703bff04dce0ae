//! What is counted of traces, beside their ledger.
//!
//! Names follow those of OpenTelemetry's signals. Whoever installs a recorder of the `metrics` crate
//! sees them; without one they cost next to nothing.

use crate::exporter::{DROPPED, DROPPED_HELP};
use crate::producer::{Delivered, SendError};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

const SENT: &str = "ottla_exporter_sent_records";
const SENT_BYTES: &str = "ottla_exporter_sent_bytes";
const FAILED: &str = "ottla_exporter_send_failed_records";
const LATENCY: &str = "ottla_exporter_write_latency_seconds";

/// Counts the traces of one exporter.
#[derive(Debug)]
pub(super) struct Meter {
    sent: Counter,
    sent_bytes: Counter,
    failed: Counter,
    dropped: Counter,
    latency: Histogram,
}

impl Meter {
    pub(super) fn new(topic: &str) -> Self {
        describe_counter!(SENT, "Records that Kafka has");
        describe_counter!(SENT_BYTES, "Bytes of values that Kafka has, before compression");
        describe_counter!(FAILED, "Records that Kafka does not have, or perhaps not");
        describe_counter!(DROPPED, DROPPED_HELP);
        let told = "From a record's being sent to Kafka's having it";
        describe_histogram!(LATENCY, metrics::Unit::Seconds, told);
        let labels = [("exporter", "bifrost".to_owned()), ("topic", topic.to_owned())];
        Self {
            sent: counter!(SENT, &labels),
            sent_bytes: counter!(SENT_BYTES, &labels),
            failed: counter!(FAILED, &labels),
            dropped: counter!(DROPPED, &labels),
            latency: histogram!(LATENCY, "exporter" => "bifrost"),
        }
    }

    /// What is to be called when a record of this many bytes ends.
    #[expect(clippy::disallowed_methods, reason = "it is how long users wait, and rules nothing")]
    pub(super) fn record(
        &self,
        size: usize,
    ) -> impl FnOnce(&Result<Delivered, SendError>) + Send + use<> {
        let (sent, sent_bytes) = (self.sent.clone(), self.sent_bytes.clone());
        let (failed, dropped) = (self.failed.clone(), self.dropped.clone());
        let latency = self.latency.clone();
        let started = Instant::now();
        move |result| match result {
            Ok(_) => {
                latency.record(started.elapsed());
                sent.increment(1);
                sent_bytes.increment(size as u64);
            }
            Err(error) => {
                failed.increment(1);
                dropped.increment(u64::from(error.is_for_want_of_room()));
            }
        }
    }
}
