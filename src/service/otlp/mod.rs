//! OpenTelemetry's requests: from a body to an answer, whatever brought it.
//!
//! Decides when a sender may forget a request ([`Ack`]), and what it is told: all of it, all but some
//! items that will never be taken (partial success), or to send it again.

pub(super) mod grpc;

pub(super) mod http;

use super::arrivals::Arrivals;
use super::body::{Held, Room};
use super::intake::Ack;
use crate::exporter::otlp::{
    Encoding, ExportError, Metadata, OtlpExporter, Request, Response, Signal, Taken,
};
use crate::producer::{DeliveryError, SendError};
use std::time::Duration;

/// Memory for all bodies of requests at once. It is held for as long as records wait for their room
/// in the buffer, and no longer.
const ROOM: usize = 16 << 20;

/// How long a sender is kept waiting for room before it is sent away.
const PATIENCE: Duration = Duration::from_secs(1);

/// When a sender that was sent away should come back.
const COME_BACK: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct OtlpIntake {
    exporter: OtlpExporter,
    ack: Ack,
    /// Largest message, after decompression.
    message_size_max: usize,
    room: Room,
    arrivals: Arrivals,
}

/// Why a request was not taken.
#[derive(Debug)]
struct Refusal {
    kind: RefusalKind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RefusalKind {
    /// It will never be taken.
    Invalid,
    /// There is no room at the moment.
    Full,
    /// It was not delivered, or the service is stopping.
    Unavailable,
}

impl OtlpIntake {
    pub(super) fn new(exporter: OtlpExporter, ack: Ack, message_size_max: usize) -> Self {
        Self {
            exporter,
            ack,
            message_size_max,
            room: Room::new(ROOM),
            arrivals: Arrivals::default(),
        }
    }

    pub(super) const fn exporter(&self) -> &OtlpExporter {
        &self.exporter
    }

    /// A request begins to come in.
    fn arrive(&self) -> Arrival<'_> {
        self.arrivals.begin();
        Arrival(self)
    }
}

/// A request that comes in until it is taken, or this is dropped.
#[derive(Debug)]
struct Arrival<'a>(&'a OtlpIntake);

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        if self.0.arrivals.end() && self.0.ack == Ack::Broker {
            self.0.exporter.end_linger();
        }
    }
}

impl Arrival<'_> {
    /// Takes the request, whose body is `held`.
    async fn take(
        self,
        held: Held,
        signal: Signal,
        encoding: Encoding,
        metadata: Metadata<'_>,
    ) -> Result<Response, Refusal> {
        let request = Request { signal, encoding, body: held.bytes.clone(), metadata };
        let intake = self.0;
        let taken = intake.exporter.accept(&request, PATIENCE).await;
        // Records are copies of it. Others have its room and its memory while these are delivered.
        drop(request);
        drop(held);
        drop(self);
        let mut taken = taken.map_err(Refusal::from)?;
        if let Some(stopped) = taken.stopped.take() {
            return Err(stopped.into());
        }
        let mut response = Response::new(signal, taken.refused.as_ref());
        add(&mut response, taken.dropped, taken.dropped_because.take());
        if intake.ack == Ack::Broker {
            await_deliveries(taken, &mut response).await?;
        }
        Ok(response)
    }
}

/// Waits until Kafka has everything. What it refuses for good is part of the answer; anything else
/// makes the sender send the request again.
async fn await_deliveries(taken: Taken, response: &mut Response) -> Result<(), Refusal> {
    let mut undelivered = None;
    for (items, delivery) in taken.deliveries {
        match delivery.await {
            Ok(_) => {}
            Err(error @ SendError::Delivery(DeliveryError::Rejected { .. })) => {
                add(response, items, Some(error.to_string()));
            }
            Err(error) => {
                undelivered.get_or_insert(error);
            }
        }
    }
    match undelivered {
        None => Ok(()),
        Some(error) => Err(Refusal { kind: RefusalKind::Unavailable, message: error.to_string() }),
    }
}

fn add(response: &mut Response, rejected: u64, message: Option<String>) {
    response.rejected += rejected;
    if let Some(message) = message {
        if !response.message.is_empty() {
            response.message += "; ";
        }
        response.message += &message;
    }
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Self {
        let kind = match &error {
            ExportError::Full => RefusalKind::Full,
            ExportError::Closed => RefusalKind::Unavailable,
            _ => RefusalKind::Invalid,
        };
        Self { kind, message: error.to_string() }
    }
}
