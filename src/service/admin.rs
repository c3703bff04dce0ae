//! The admin port: is it there, is it ready, and what has it done.
//!
//! `/healthz` answers while the process works, `/readyz` while it takes requests, `/metrics` in
//! Prometheus's text format.

use super::otlp::OtlpIntake;
use crate::exporter::otlp::Signal;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::gauge;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;

/// Seconds, for the latency of writes: from a round trip in a rack to a broker that is away.
const LATENCIES: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What has been counted.
#[derive(Clone)]
pub(super) struct Recorder(PrometheusHandle);

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

/// Begins to count; what happened before is not counted. `None` if this process already counts
/// elsewhere.
pub(super) fn recorder() -> Option<Recorder> {
    let seconds = Matcher::Suffix("latency_seconds".to_owned());
    let millis = Matcher::Suffix("duration_ms".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &LATENCIES).ok()?;
    let in_millis = LATENCIES.map(|seconds| seconds * 1000.0);
    let builder = builder.set_buckets_for_metric(millis, &in_millis).ok()?;
    builder.install_recorder().ok().map(Recorder)
}

/// The three paths.
pub(super) fn routes(
    recorder: Option<Recorder>,
    otlp: Option<Arc<OtlpIntake>>,
    stopping: watch::Receiver<bool>,
) -> Router {
    let metrics = move || {
        if let Some(otlp) = &otlp {
            observe(otlp);
        }
        let rendered = recorder.as_ref().map(|Recorder(recorder)| {
            recorder.run_upkeep();
            recorder.render()
        });
        std::future::ready(match rendered {
            Some(text) => ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
            None => plain(StatusCode::NOT_FOUND, "metrics are counted elsewhere in this process"),
        })
    };
    let ready = move || {
        std::future::ready(match *stopping.borrow() {
            false => plain(StatusCode::OK, "ready"),
            true => plain(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        })
    };
    Router::new()
        .route("/healthz", get(async || plain(StatusCode::OK, "ok")))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
}

/// What is not counted but looked at.
fn observe(otlp: &OtlpIntake) {
    let exporter = otlp.exporter();
    for signal in Signal::ALL {
        let counts = exporter.ledger(signal).counts();
        let states = [
            ("received", counts.received),
            ("filtered", counts.filtered),
            ("delivered", counts.delivered),
            ("failed", counts.failed),
            ("unknown", counts.unknown),
            ("pending", counts.pending),
        ];
        for (state, count) in states {
            gauge!("ottla_ledger_items", "signal" => signal.name(), "state" => state)
                .set(count as f64);
        }
    }
    let producer = exporter.producer_metrics();
    gauge!("ottla_exporter_queue_records").set(producer.buffered_records as f64);
    gauge!("ottla_exporter_queue_bytes").set(producer.buffered_bytes as f64);
    gauge!("ottla_exporter_queue_capacity_bytes").set(producer.buffer_limit_bytes as f64);
    gauge!("ottla_producer_requests_in_flight").set(producer.in_flight as f64);
    gauge!("ottla_producer_retries").set(producer.retries as f64);
    gauge!("ottla_producer_throttled_seconds").set(producer.throttled.as_secs_f64());
    gauge!("ottla_producer_disconnects").set(producer.disconnects as f64);
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, format!("{text}\n")).into_response()
}
