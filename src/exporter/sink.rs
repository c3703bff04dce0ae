//! The end of every exporter: records into the producer, and each one's end into the ledger.
//!
//! Decides what a lack of room means. Whoever [sends](Sink::send) waits for room, and a record that
//! finds none is refused: its sender still has it, and knows. Whoever [offers](Sink::offer) a record
//! does not wait and is not told: one that finds no room is received, and has failed. Every end is
//! booked, and every failure that is not a refusal is told.

use super::ledger::Ledger;
use crate::producer::{Delivered, Producer, ProducerMetrics, Record, SendError, Sending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Where an exporter's records go.
#[derive(Debug, Clone)]
pub struct Sink {
    producer: Producer,
    ledger: Arc<Ledger>,
    /// `None` where the producer is the sink's own, and closed with it.
    closed: Option<Arc<AtomicBool>>,
}

impl Sink {
    /// A sink into a producer that is closed with it.
    pub const fn booking(producer: Producer, ledger: Arc<Ledger>) -> Self {
        Self { producer, ledger, closed: None }
    }

    /// A sink into a producer that others send by, too: closing the sink does not close that.
    pub fn sharing(producer: Producer, ledger: Arc<Ledger>) -> Self {
        Self { producer, ledger, closed: Some(Arc::default()) }
    }

    /// Hands over a record with so many items, waiting for room as the producer's `when_full` says.
    /// `tell` is called with how it ended, on the producer's task, or here if it cannot be sent.
    ///
    /// # Errors
    ///
    /// `SendError` when the record is not accepted. If there is no room for it or the producer is
    /// closed, it is booked as refused, and nobody else is told; otherwise as failed.
    ///
    /// Dropping the future before it is ready refuses the record, and books that; dropping the
    /// [`Delivery`] changes nothing.
    pub async fn send(
        &self,
        record: Record<'_>,
        items: u64,
        tell: impl FnOnce(&Result<Delivered, SendError>) + Send + 'static,
    ) -> Result<Delivery, SendError> {
        let pending = Pending::of(&self.ledger, items);
        let accepted = match self.is_closed() {
            true => Err(SendError::Closed),
            false => self.producer.accept(record).await,
        };
        match accepted {
            Ok(sending) => {
                let (end, delivery) = oneshot::channel();
                pending.end_with(sending, move |result| {
                    tell(&result);
                    // Nobody has to wait for it.
                    let _ = end.send(result);
                });
                Ok(Delivery(delivery))
            }
            Err(error @ (SendError::QueueFull { .. } | SendError::Closed)) => Err(error),
            Err(error) => {
                let result = Err(error.clone());
                pending.end(&result);
                tell(&result);
                Err(error)
            }
        }
    }

    /// Hands over a record with so many items, and waits for nothing. `tell` is called with how it
    /// ended, whatever that is: here if it is not accepted, otherwise on the producer's task.
    pub fn offer(
        &self,
        record: Record<'_>,
        items: u64,
        tell: impl FnOnce(&Result<Delivered, SendError>) + Send + 'static,
    ) {
        let pending = Pending::of(&self.ledger, items);
        let accepted = match self.is_closed() {
            true => Err(SendError::Closed),
            false => self.producer.try_accept(record),
        };
        match accepted {
            Ok(sending) => pending.end_with(sending, move |result| tell(&result)),
            Err(error) => {
                let result = Err(error);
                pending.end(&result);
                tell(&result);
            }
        }
    }

    /// The account of this sink.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The producer's figures.
    pub fn producer_metrics(&self) -> ProducerMetrics {
        self.producer.metrics()
    }

    /// Lets nothing linger that was accepted so far.
    pub fn end_linger(&self) {
        self.producer.end_linger();
    }

    /// Sends what was accepted so far without lingering, and waits until all of it has ended.
    pub async fn flush(&self) {
        self.producer.flush().await;
    }

    /// Takes no more records, and delivers what was accepted for up to `timeout`. A producer of its
    /// own then ends the rest; one that is shared goes on with it.
    pub async fn close(&self, within: Duration) {
        match &self.closed {
            None => self.producer.close(within).await,
            Some(closed) => {
                closed.store(true, Ordering::Release);
                // What is not delivered by then stays pending until it ends.
                let _ = timeout(within, self.producer.flush()).await;
            }
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.load(Ordering::Acquire))
    }
}

/// A record that is booked as pending until it ends, however that comes about.
struct Pending {
    /// `None` once it is booked otherwise.
    ledger: Option<Arc<Ledger>>,
    items: u64,
    accepted: bool,
}

impl Pending {
    fn of(ledger: &Arc<Ledger>, items: u64) -> Self {
        ledger.on_received(items);
        Self { ledger: Some(Arc::clone(ledger)), items, accepted: false }
    }

    /// Ends with an accepted record, and hands on how.
    fn end_with(
        mut self,
        sending: Sending,
        then: impl FnOnce(Result<Delivered, SendError>) + Send + 'static,
    ) {
        self.accepted = true;
        sending.on_end(move |result| {
            self.end(&result);
            then(result);
        });
    }

    fn end(mut self, result: &Result<Delivered, SendError>) {
        let Some(ledger) = self.ledger.take() else { return };
        match result {
            Ok(_) => ledger.on_delivered(self.items),
            Err(error) if error.is_for_want_of_room() => ledger.on_dropped(self.items),
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
