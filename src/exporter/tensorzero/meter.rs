//! What is counted of rows, beside their ledger.
//!
//! Names and labels are TensorZero's, whose dashboards are known; what is dropped is counted as by
//! the other exporters. Whoever installs a recorder of the `metrics` crate sees them; without one
//! they cost next to nothing.

use super::DataType;
use crate::exporter::{DROPPED, DROPPED_HELP};
use crate::producer::{Delivered, SendError};
use metrics::{Counter, Histogram, counter, describe_counter, describe_histogram, histogram};
use tokio::time::Instant;

const CONNECTIONS: &str = "kafka_connections_established";
const CONNECTION_ERRORS: &str = "kafka_connection_errors";
const SUCCESS: &str = "kafka_writes_success";
const FAILED: &str = "kafka_writes_failed";
const SERIALIZATION_ERRORS: &str = "kafka_serialization_errors";
const DURATION: &str = "kafka_write_duration_ms";

/// Counts that Kafka was reached at start, or was not.
pub(super) fn on_connected(reached: bool) {
    describe();
    let (established, errors) = (counter!(CONNECTIONS), counter!(CONNECTION_ERRORS));
    established.increment(u64::from(reached));
    errors.increment(u64::from(!reached));
}

/// Counts what was no row.
pub(super) fn on_refused() {
    counter!(SERIALIZATION_ERRORS).increment(1);
}

/// Counts the rows of one topic.
#[derive(Debug)]
pub(super) struct Meter {
    success: Counter,
    failed: Counter,
    dropped: Counter,
    duration: Histogram,
}

impl Meter {
    pub(super) fn new(data_type: DataType, topic: &str) -> Self {
        let labels = [("topic", topic.to_owned()), ("data_type", data_type.name().to_owned())];
        let of_ours = [("exporter", "tensorzero".to_owned()), ("topic", topic.to_owned())];
        Self {
            dropped: counter!(DROPPED, &of_ours),
            success: counter!(SUCCESS, &labels),
            failed: counter!(FAILED, &labels),
            duration: histogram!(DURATION, &labels),
        }
    }

    /// What is to be called when a row ends.
    #[expect(clippy::disallowed_methods, reason = "it is how long users wait, and rules nothing")]
    pub(super) fn row(&self) -> impl FnOnce(&Result<Delivered, SendError>) + Send + use<> {
        let (success, failed) = (self.success.clone(), self.failed.clone());
        let dropped = self.dropped.clone();
        let duration = self.duration.clone();
        let started = Instant::now();
        move |result| match result {
            Ok(_) => {
                duration.record(started.elapsed().as_secs_f64() * 1000.0);
                success.increment(1);
            }
            Err(error) => {
                failed.increment(1);
                dropped.increment(u64::from(error.is_for_want_of_room()));
            }
        }
    }
}

fn describe() {
    describe_counter!(CONNECTIONS, "Times that Kafka was reached at start");
    describe_counter!(CONNECTION_ERRORS, "Times that Kafka was not reached at start");
    describe_counter!(SUCCESS, "Rows that Kafka has");
    describe_counter!(DROPPED, DROPPED_HELP);
    describe_counter!(FAILED, "Rows that Kafka does not have, or perhaps not");
    describe_counter!(SERIALIZATION_ERRORS, "Rows refused as malformed, each told to its sender");
    describe_histogram!(
        DURATION,
        metrics::Unit::Milliseconds,
        "From a row's being sent to Kafka's having it"
    );
    // There from the start, so that a rate of it can be asked for.
    drop(counter!(SERIALIZATION_ERRORS));
}
