//! From a body to accepted traces or rows, whatever brought it.
//!
//! Decides what happens to the good items of a body with bad ones (they are accepted), and when a
//! sender may forget an item ([`Ack`]).

use super::arrivals::Arrivals;
use crate::exporter::bifrost::{BifrostExporter, Trace, traces};
use crate::exporter::tensorzero::{DataType, Row, TensorZeroExporter};
use crate::exporter::{Delivery, ReceiveError};
use crate::producer::SendError;
use std::fmt::Debug;
use std::time::Duration;
use tokio::time::timeout;

/// Errors told to a sender; more of the same help nobody.
const ERRORS_TOLD_MAX: usize = 10;

/// When a sender is told that what it sent is taken care of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ack {
    /// When it is queued: at once, as Bifrost's connector does.
    #[default]
    Queue,
    /// When Kafka has it.
    Broker,
}

/// An exporter of items that come in bodies of JSON.
pub(super) trait Exporter: Debug + Send + Sync + 'static {
    /// What the items of a body can be.
    type Kind: Copy + Send + Sync + 'static;
    /// What is exported.
    type Item<'a>: Send;

    /// What people call several of them.
    const NOUN: &'static str;

    fn receive<'a>(
        &self,
        kind: Self::Kind,
        body: &'a [u8],
    ) -> impl Iterator<Item = Result<Self::Item<'a>, ReceiveError>> + Send;

    fn accept(
        &self,
        item: Self::Item<'_>,
    ) -> impl Future<Output = Result<Delivery, SendError>> + Send;

    /// Lets nothing linger that was accepted so far.
    fn end_linger(&self);
}

impl Exporter for BifrostExporter {
    type Kind = ();
    type Item<'a> = Trace<'a>;

    const NOUN: &'static str = "traces";

    fn receive<'a>(
        &self,
        (): (),
        body: &'a [u8],
    ) -> impl Iterator<Item = Result<Trace<'a>, ReceiveError>> + Send {
        traces(body)
    }

    async fn accept(&self, trace: Self::Item<'_>) -> Result<Delivery, SendError> {
        self.accept(trace).await
    }

    fn end_linger(&self) {
        self.end_linger();
    }
}

impl Exporter for TensorZeroExporter {
    type Kind = DataType;
    type Item<'a> = Row<'a>;

    const NOUN: &'static str = "rows";

    fn receive<'a>(
        &self,
        data_type: DataType,
        body: &'a [u8],
    ) -> impl Iterator<Item = Result<Row<'a>, ReceiveError>> + Send {
        self.receive(data_type, body)
    }

    async fn accept(&self, row: Self::Item<'_>) -> Result<Delivery, SendError> {
        self.accept(&row).await
    }

    fn end_linger(&self) {
        self.end_linger();
    }
}

#[derive(Debug)]
pub(super) struct Intake<E> {
    exporter: E,
    ack: Ack,
    arrivals: Arrivals,
}

/// What became of a body.
#[derive(Debug, Default)]
pub(super) struct Receipt {
    /// Items that were accepted.
    pub(super) accepted: u64,
    /// Items that Kafka has, if the sender waits for that.
    pub(super) delivered: Option<u64>,
    /// What was wrong with the body, first things first.
    pub(super) malformed: Told,
    /// Items that were accepted, and then not delivered while the sender waited.
    pub(super) undelivered: Told,
    /// Why reading stopped before the end of the body.
    pub(super) stopped: Option<Stopped>,
}

/// Why no more of a body was accepted.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The buffer is full: later.
    Full,
    /// The item cannot be sent, and those behind it were not tried.
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

impl<E: Exporter> Intake<E> {
    pub(super) fn new(exporter: E, ack: Ack) -> Self {
        Self { exporter, ack, arrivals: Arrivals::default() }
    }

    pub(super) const fn exporter(&self) -> &E {
        &self.exporter
    }

    /// A body begins to come in.
    pub(super) fn arrive(&self) -> Arrival<'_, E> {
        self.arrivals.begin();
        Arrival(self)
    }
}

/// A body that comes in until it is taken, or this is dropped.
#[derive(Debug)]
pub(super) struct Arrival<'a, E: Exporter>(&'a Intake<E>);

impl<E: Exporter> Drop for Arrival<'_, E> {
    fn drop(&mut self) {
        if self.0.arrivals.end() && self.0.ack == Ack::Broker {
            self.0.exporter.end_linger();
        }
    }
}

impl<E: Exporter> Arrival<'_, E> {
    /// Accepts the items of `body`, waiting up to `patience` for room for each. `word` puts what is
    /// none into words.
    pub(super) async fn take(
        self,
        kind: E::Kind,
        body: &[u8],
        patience: Duration,
        word: impl Fn(&ReceiveError) -> String,
    ) -> Receipt {
        let Intake { exporter, ack, .. } = self.0;
        let mut receipt = Receipt::default();
        let mut deliveries = Vec::new();
        for item in exporter.receive(kind, body) {
            match item {
                Ok(item) => match timeout(patience, exporter.accept(item)).await {
                    Ok(Ok(delivery)) => {
                        receipt.accepted += 1;
                        if *ack == Ack::Broker {
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
        drop(self);
        if *ack == Ack::Broker {
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
