//! Traces and rows over HTTP: `POST /v1/bifrost/traces`, `POST /v1/tensorzero/chat_inference` and its
//! like.
//!
//! | status | meaning |
//! |---|---|
//! | 200 | Kafka has every item (`--ack broker`) |
//! | 202 | every item is queued (`--ack queue`) |
//! | 400 | something of the body is none; the items counted as accepted are |
//! | 413, 415 | the body is too large, or in an encoding that is not read |
//! | 429 | the queue is full: send the items after the accepted ones again, later |
//! | 503 | not delivered in time (`--ack broker`), or shutting down |
//!
//! Every answer is JSON: `accepted`, `delivered` if that was waited for, and `errors`.

use super::body::{self, BodyError, Held, Room};
use super::intake::{Exporter, Intake, Receipt, Stopped};
use crate::exporter::ReceiveError;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Largest body, before and after decompression.
const BODY_SIZE_MAX: usize = 20 << 20;

/// Memory for all bodies at once.
const ROOM: usize = 4 * BODY_SIZE_MAX;

/// How long a sender is kept waiting for room before it is sent away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Adds the paths, each for one kind of items.
pub(super) fn routes<E: Exporter>(
    mut router: Router,
    intake: &Arc<Intake<E>>,
    paths: impl IntoIterator<Item = (String, E::Kind)>,
) -> Router {
    let room = Room::new(ROOM);
    for (path, kind) in paths {
        let (intake, room) = (Arc::clone(intake), room.clone());
        let take = move |request: Request| async move {
            let arrival = intake.arrive();
            let held = match held(request, &room).await {
                Ok(held) => held,
                Err(error) => return refuse(&error),
            };
            let word = ReceiveError::to_string;
            respond(&arrival.take(kind, &held.bytes, PATIENCE, word).await, E::NOUN)
        };
        router = router.route(&path, post(take));
    }
    router
}

async fn held(request: Request, room: &Room) -> Result<Held, BodyError> {
    let (head, body) = request.into_parts();
    let encoding = head.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
    let announced = body::content_length(&body);
    let held = body::read(body, BODY_SIZE_MAX, room, |_| announced).await?;
    held.decoded(encoding, BODY_SIZE_MAX, room)
}

fn refuse(error: &BodyError) -> Response {
    let status = error.status();
    let mut response = problem(status, &error.to_string());
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    }
    response
}

fn respond(receipt: &Receipt, noun: &str) -> Response {
    let status = match &receipt.stopped {
        Some(Stopped::Full) => StatusCode::TOO_MANY_REQUESTS,
        Some(Stopped::Refused(_)) => StatusCode::SERVICE_UNAVAILABLE,
        None if receipt.malformed.count > 0 => StatusCode::BAD_REQUEST,
        None if receipt.undelivered.count > 0 => StatusCode::SERVICE_UNAVAILABLE,
        None if receipt.delivered.is_some() => StatusCode::OK,
        None => StatusCode::ACCEPTED,
    };
    let mut errors = receipt.malformed.errors.clone();
    errors.extend_from_slice(&receipt.undelivered.errors);
    match &receipt.stopped {
        Some(Stopped::Full) => errors.push(match receipt.accepted + receipt.malformed.count {
            0 => format!("the queue is full: send the {noun} again later"),
            read => {
                format!("the queue is full: send the {noun} after the first {read} again later")
            }
        }),
        Some(Stopped::Refused(error)) => errors.push(error.to_string()),
        None => {}
    }
    let mut answer = json!({ "accepted": receipt.accepted });
    if let Some(delivered) = receipt.delivered {
        answer["delivered"] = delivered.into();
    }
    if !errors.is_empty() {
        answer["errors"] = errors.into();
    }
    let mut response =
        (status, [(CONTENT_TYPE, "application/json")], format!("{answer}\n")).into_response();
    if status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(1));
    }
    response
}

pub(super) fn problem(status: StatusCode, text: &str) -> Response {
    let answer = json!({ "accepted": 0, "errors": [text] });
    (status, [(CONTENT_TYPE, "application/json")], format!("{answer}\n")).into_response()
}
