//! The end of every exporter: records into the producer, and each one's end into the ledger.
//!
//! Whoever hands a record over may wait for its delivery or not; its end is booked and its failure
//! told in either case.

use super::ledger::Ledger;
use crate::producer::{Delivered, Producer, ProducerMetrics, Record, SendError};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// Where an exporter's records go.
#[derive(Debug, Clone)]
pub struct Sink {
    producer: Producer,
    ledger: Arc<Ledger>,
}

impl Sink {
    /// A sink into this producer, with an account of its own.
    pub fn new(producer: Producer) -> Self {
        Self::booking(producer, Arc::default())
    }

    /// A sink into this producer that books in an account that it shares with others.
    pub const fn booking(producer: Producer, ledger: Arc<Ledger>) -> Self {
        Self { producer, ledger }
    }

    /// Hands over a record with so many items, waiting for room as long as the producer's
    /// `max_block` says. `tell` is called with how it ended: here if it is not accepted, otherwise
    /// later, on the producer's task.
    ///
    /// # Errors
    ///
    /// `SendError` when the record is not accepted. It is booked as failed; if there is no room for
    /// it or the producer is closed, as refused.
    ///
    /// Dropping the future before it is ready refuses the record, and books that; dropping the
    /// [`Delivery`] changes nothing.
    pub async fn send(
        &self,
        record: Record<'_>,
        items: u64,
        tell: impl FnOnce(&Result<Delivered, SendError>) + Send + 'static,
    ) -> Result<Delivery, SendError> {
        self.ledger.on_received(items);
        let mut pending =
            Pending { ledger: Some(Arc::clone(&self.ledger)), items, accepted: false };
        let sending = match self.producer.accept(record).await {
            Ok(sending) => sending,
            Err(error) => {
                let result = Err(error.clone());
                tell(&result);
                if !matches!(error, SendError::QueueFull { .. } | SendError::Closed) {
                    pending.end(&result);
                }
                return Err(error);
            }
        };
        pending.accepted = true;
        let (end, delivery) = oneshot::channel();
        sending.on_end(move |result| {
            tell(&result);
            pending.end(&result);
            // Nobody has to wait for it.
            let _ = end.send(result);
        });
        Ok(Delivery(delivery))
    }

    /// The account of this sink.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The producer's figures.
    pub fn producer_metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }

    /// Sends what was accepted so far without lingering, and waits until all of it has ended.
    pub async fn flush(&self) {
        self.producer.flush().await;
    }

    /// Delivers what was accepted for up to `timeout`, and ends the rest.
    pub async fn close(&self, timeout: Duration) {
        self.producer.close(timeout).await;
    }
}

/// A record that is booked as pending until it ends, however that comes about.
struct Pending {
    ledger: Option<Arc<Ledger>>,
    items: u64,
    accepted: bool,
}

impl Pending {
    fn end(mut self, result: &Result<Delivered, SendError>) {
        let Some(ledger) = self.ledger.take() else { return };
        match result {
            Ok(_) => ledger.on_delivered(self.items),
            Err(error) => ledger.on_failed(self.items, error.may_be_written()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        match self.ledger.take() {
            Some(ledger) if self.accepted => ledger.on_failed(self.items, false),
            Some(ledger) => ledger.on_refused(self.items),
            None => {}
        }
    }
}

/// A record that was accepted: resolves when Kafka has it, or will not.
#[derive(Debug)]
pub struct Delivery(oneshot::Receiver<Result<Delivered, SendError>>);

impl Future for Delivery {
    type Output = Result<Delivered, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let end = Pin::new(&mut self.0).poll(context);
        end.map(|end| end.unwrap_or(Err(SendError::Closed)))
    }
}
