//! From a body to accepted traces, whatever brought it.
//!
//! Decides what happens to the good traces of a body with bad ones (they are accepted), and when a
//! sender may forget a trace ([`Ack`]).

use crate::exporter::Delivery;
use crate::exporter::bifrost::{BifrostExporter, ReceiveError, traces};
use crate::producer::SendError;
use std::time::Duration;
use tokio::time::timeout;

/// Errors told to a sender; more of the same help nobody.
const ERRORS_TOLD_MAX: usize = 10;

/// When a sender is told that its traces are taken care of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// When they are queued: at once, as Bifrost's connector does.
    #[default]
    Queue,
    /// When Kafka has them.
    Broker,
}

#[derive(Debug)]
pub(super) struct Intake {
    exporter: BifrostExporter,
    ack: Ack,
}

/// What became of a body.
#[derive(Debug, Default)]
pub(super) struct Receipt {
    /// Traces that were accepted.
    pub(super) accepted: u64,
    /// Traces that Kafka has, if the sender waits for that.
    pub(super) delivered: Option<u64>,
    /// What was wrong with the body, first things first.
    pub(super) malformed: Told,
    /// Traces that were accepted, and then not delivered while the sender waited.
    pub(super) undelivered: Told,
    /// Why reading stopped before the end of the body.
    pub(super) stopped: Option<Stopped>,
}

/// Why no more of a body was accepted.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The buffer is full: later.
    Full,
    /// The trace cannot be sent, and those behind it were not tried.
    Refused(SendError),
}

/// Errors, as many as help.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) count: u64,
    pub(super) errors: Vec<String>,
}

impl Told {
    fn add(&mut self, error: &impl ToString) {
        self.count += 1;
        if self.errors.len() < ERRORS_TOLD_MAX {
            self.errors.push(error.to_string());
        }
    }
}

impl Intake {
    pub(super) const fn new(exporter: BifrostExporter, ack: Ack) -> Self {
        Self { exporter, ack }
    }

    pub(super) const fn exporter(&self) -> &BifrostExporter {
        &self.exporter
    }

    /// Accepts the traces of `body`, waiting up to `patience` for room for each. `word` puts what
    /// is no trace into words.
    pub(super) async fn take(
        &self,
        body: &[u8],
        patience: Duration,
        word: impl Fn(&ReceiveError) -> String,
    ) -> Receipt {
        let mut receipt = Receipt::default();
        let mut deliveries = Vec::new();
        for trace in traces(body) {
            match trace {
                Ok(trace) => match timeout(patience, self.exporter.export(trace)).await {
                    Ok(Ok(delivery)) => {
                        receipt.accepted += 1;
                        if self.ack == Ack::Broker {
                            deliveries.push(delivery);
                        }
                    }
                    Ok(Err(SendError::QueueFull { .. })) | Err(_) => {
                        receipt.stopped = Some(Stopped::Full);
                        break;
                    }
                    Ok(Err(error @ SendError::Closed)) => {
                        receipt.stopped = Some(Stopped::Refused(error));
                        break;
                    }
                    Ok(Err(error)) => receipt.malformed.add(&error),
                },
                Err(error) => receipt.malformed.add(&word(&error)),
            }
        }
        if self.ack == Ack::Broker {
            await_deliveries(deliveries, &mut receipt).await;
        }
        receipt
    }
}

async fn await_deliveries(deliveries: Vec<Delivery>, receipt: &mut Receipt) {
    let mut delivered = 0;
    for delivery in deliveries {
        match delivery.await {
            Ok(_) => delivered += 1,
            Err(error) => receipt.undelivered.add(&error),
        }
    }
    receipt.delivered = Some(delivered);
}
