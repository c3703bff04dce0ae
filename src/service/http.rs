//! Traces over HTTP: `POST /v1/bifrost/traces`.
//!
//! | status | meaning |
//! |---|---|
//! | 200 | Kafka has every trace (`--ack broker`) |
//! | 202 | every trace is queued (`--ack queue`) |
//! | 400 | something of the body is no trace; the traces counted as accepted are |
//! | 413, 415 | the body is too large, or in an encoding that is not read |
//! | 429 | the queue is full: send the traces after the accepted ones again, later |
//! | 503 | not delivered in time (`--ack broker`), or shutting down |
//!
//! Every answer is JSON: `accepted`, `delivered` if that was waited for, and `errors`.

use super::intake::{Intake, Receipt, Stopped};
use crate::exporter::bifrost::ReceiveError;
use crate::protocol::Codec;
use crate::protocol::compression::{DecompressError, decompress};
use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Largest body, before and after decompression.
const BODY_SIZE_MAX: usize = 20 << 20;

/// How long a sender is kept waiting for room before it is sent away.
const PATIENCE: Duration = Duration::from_secs(1);

/// Serves until `stopped` says so and the requests that had begun are answered.
pub(super) async fn serve(
    listener: TcpListener,
    intake: Arc<Intake>,
    mut stopped: watch::Receiver<bool>,
) {
    let routes = Router::new()
        .route("/v1/bifrost/traces", post(take_traces))
        .fallback(async || {
            problem(StatusCode::NOT_FOUND, "nothing here: POST traces to /v1/bifrost/traces")
        })
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "traces are sent with POST")
        })
        .layer(DefaultBodyLimit::max(BODY_SIZE_MAX))
        .with_state(intake);
    let stop = async move {
        // An error means that the service is gone: stopped, too.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    };
    if let Err(error) = axum::serve(listener, routes).with_graceful_shutdown(stop).await {
        tracing::error!("HTTP is served no longer: {error}");
    }
}

async fn take_traces(
    State(intake): State<Arc<Intake>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let body = match body {
        Ok(body) => body,
        Err(rejection) => return problem(rejection.status(), &too_large_or(&rejection)),
    };
    let body = match decoded(&headers, body) {
        Ok(body) => body,
        Err(response) => return *response,
    };
    respond(&intake.take(&body, PATIENCE, ReceiveError::to_string).await)
}

fn too_large_or(rejection: &BytesRejection) -> String {
    if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
        format!("the body is larger than {BODY_SIZE_MAX} bytes: send fewer traces at once")
    } else {
        rejection.body_text()
    }
}

/// The body without its `Content-Encoding`.
fn decoded(headers: &HeaderMap, body: Bytes) -> Result<Bytes, Box<Response>> {
    let refuse = |status, text: String| Err(Box::new(problem(status, &text)));
    let encoding = headers.get(CONTENT_ENCODING).map(|value| value.as_bytes());
    match encoding {
        None | Some(b"identity") => Ok(body),
        Some(b"gzip") => match decompress(Codec::Gzip, &body, BODY_SIZE_MAX) {
            Ok(inflated) => Ok(inflated.into()),
            Err(error @ DecompressError::TooLarge { .. }) => {
                refuse(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            Err(error) => refuse(StatusCode::BAD_REQUEST, error.to_string()),
        },
        Some(other) => {
            let name = String::from_utf8_lossy(other).into_owned();
            refuse(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("content encoding {name:?} is not read: use gzip, or none"),
            )
        }
    }
}

fn respond(receipt: &Receipt) -> Response {
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
            0 => "the queue is full: send the traces again later".to_owned(),
            read => {
                format!("the queue is full: send the traces after the first {read} again later")
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
        response.headers_mut().insert(RETRY_AFTER, "1".parse().expect("a header value"));
    }
    response
}

fn problem(status: StatusCode, text: &str) -> Response {
    let answer = json!({ "accepted": 0, "errors": [text] });
    (status, [(CONTENT_TYPE, "application/json")], format!("{answer}\n")).into_response()
}
