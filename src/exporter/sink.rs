//! The end of every exporter: records into the producer, and each one's end into the ledger.
//!
//! Whoever hands a record over may wait for its delivery or not; its end is booked and its failure
//! told in either case.

use super::ledger::Ledger;
use crate::producer::{Delivered, Producer, Record, SendError};
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
        Self { producer, ledger: Arc::default() }
    }

    /// Hands over a record, waiting for room as long as the producer's `max_block` says. `tell` is
    /// called with the error if it fails then or later, on the producer's task.
    ///
    /// # Errors
    ///
    /// `SendError` when the record is not accepted. It is booked as failed.
    ///
    /// Dropping the future before it is ready refuses the record, and books that; dropping the
    /// [`Delivery`] changes nothing.
    pub async fn send(
        &self,
        record: Record<'_>,
        tell: impl Fn(&SendError) + Send + 'static,
    ) -> Result<Delivery, SendError> {
        self.ledger.on_received();
        let pending = Pending { ledger: Some(Arc::clone(&self.ledger)) };
        let mut sending = self.producer.send(record);
        if let Err(error) = sending.accepted().await {
            tell(&error);
            pending.end(&Err(error.clone()));
            return Err(error);
        }
        let (end, delivery) = oneshot::channel();
        sending.on_end(move |result| {
            if let Err(error) = &result {
                tell(error);
            }
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

    /// Delivers what was accepted for up to `timeout`, and ends the rest.
    pub async fn close(&self, timeout: Duration) {
        self.producer.close(timeout).await;
    }
}

/// A record that is booked as pending until it ends, however that comes about.
struct Pending {
    ledger: Option<Arc<Ledger>>,
}

impl Pending {
    fn end(mut self, result: &Result<Delivered, SendError>) {
        let Some(ledger) = self.ledger.take() else { return };
        match result {
            Ok(_) => ledger.on_delivered(),
            Err(error) => ledger.on_failed(error.may_be_written()),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Some(ledger) = self.ledger.take() {
            ledger.on_failed(false);
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
