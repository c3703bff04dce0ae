//! The admin port: is it there, is it ready, and what has it done.
//!
//! `/healthz` answers while the process works, `/readyz` while it takes requests, `/metrics` in
//! Prometheus's text format.

use super::Intakes;
use crate::exporter::Counts;
use crate::exporter::otlp::Signal;
use crate::producer::ProducerMetrics;
use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::{Label, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::fmt;
use tokio::sync::watch;

/// Seconds, for the latency of writes: from a round trip in a rack to a broker that is away.
const LATENCIES: [f64; 12] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What is looked at when somebody asks, and in words.
const GAUGES: [(&str, &str); 8] = [
    (
        "ottla_ledger_items",
        "Items by what became of them: received is filtered, delivered, failed or pending",
    ),
    ("ottla_exporter_queue_records", "Records that have not ended"),
    ("ottla_exporter_queue_bytes", "Bytes set aside for records that have not ended"),
    ("ottla_exporter_queue_capacity_bytes", "Bytes that may be set aside for them"),
    ("ottla_producer_requests_in_flight", "Requests that wait for a broker's answer"),
    ("ottla_producer_retries", "Batches sent again since the start"),
    ("ottla_producer_throttled_seconds", "Pauses that brokers asked for since the start"),
    ("ottla_producer_disconnects", "Connections that failed or broke since the start"),
];

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
    let handle = builder.install_recorder().ok()?;
    for (name, words) in GAUGES {
        describe_gauge!(name, words);
    }
    Some(Recorder(handle))
}

/// The three paths.
pub(super) fn routes(
    recorder: Option<Recorder>,
    intakes: Intakes,
    stopping: watch::Receiver<bool>,
) -> Router {
    let metrics = move || {
        observe(&intakes);
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

/// What is not counted but looked at. Exporters go by the names of `--exporter`.
fn observe(intakes: &Intakes) {
    if let Some(intake) = &intakes.otlp {
        let exporter = intake.exporter();
        for signal in Signal::ALL {
            let signal_label = Label::new("signal", signal.name());
            observe_ledger("kafka", Some(signal_label), exporter.ledger(signal).counts());
        }
        observe_producer("kafka", &exporter.producer_metrics());
        if let Some(letters) = exporter.dead_letter_metrics() {
            observe_producer("kafka_dead_letters", &letters);
        }
    }
    if let Some(intake) = &intakes.bifrost {
        let exporter = intake.exporter();
        observe_ledger("bifrost", None, exporter.ledger().counts());
        observe_producer("bifrost", &exporter.producer_metrics());
    }
    if let Some(intake) = &intakes.tensorzero {
        let exporter = intake.exporter();
        observe_ledger("tensorzero", None, exporter.ledger().counts());
        observe_producer("tensorzero", &exporter.producer_metrics());
    }
}

fn observe_ledger(exporter: &'static str, signal: Option<Label>, counts: Counts) {
    let states = [
        ("received", counts.received),
        ("filtered", counts.filtered),
        ("delivered", counts.delivered),
        ("failed", counts.failed),
        ("unknown", counts.unknown),
        ("dropped", counts.dropped),
        ("pending", counts.pending),
        ("refused", counts.refused),
    ];
    for (state, count) in states {
        let labels = [Label::new("exporter", exporter)].into_iter().chain(signal.clone());
        let labels: Vec<_> = labels.chain([Label::new("state", state)]).collect();
        gauge!("ottla_ledger_items", labels).set(count as f64);
    }
}

fn observe_producer(exporter: &'static str, producer: &ProducerMetrics) {
    let figures = [
        ("ottla_exporter_queue_records", producer.buffered_records as f64),
        ("ottla_exporter_queue_bytes", producer.buffered_bytes as f64),
        ("ottla_exporter_queue_capacity_bytes", producer.buffer_limit_bytes as f64),
        ("ottla_producer_requests_in_flight", producer.in_flight as f64),
        ("ottla_producer_retries", producer.retries as f64),
        ("ottla_producer_throttled_seconds", producer.throttled.as_secs_f64()),
        ("ottla_producer_disconnects", producer.disconnects as f64),
    ];
    for (name, figure) in figures {
        gauge!(name, "exporter" => exporter).set(figure);
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, format!("{text}\n")).into_response()
}
