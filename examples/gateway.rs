//! A gateway of LLM requests on axum, whose traces go to Kafka in Bifrost's form.
//!
//! ```sh
//! ottla broker &
//! cargo run --example gateway -- localhost:9092 &
//! curl localhost:8080/v1/chat/completions -H 'content-type: application/json' \
//!   -H 'x-tenant-id: acme' \
//!   -d '{"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}'
//! ottla tail bifrost-traces
//! ```
//!
//! The exporter takes a trace and returns at once: whether Kafka is there, slow or away, the gateway
//! answers as fast. What Kafka did not get is counted, and told at the end.

#![expect(clippy::disallowed_methods, reason = "traces have the time of day")]

use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use axum::{Json, Router};
use ottla::exporter::bifrost::{
    BifrostConfig, BifrostExporter, ContentLogging, Object, Span, Time, Trace, Value,
};
use ottla::producer::WhenFull;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let brokers = std::env::args().nth(1).unwrap_or_else(|| "localhost:9092".to_owned());
    let mut config = BifrostConfig::new([brokers], "bifrost-traces");
    config.auto_create_topic = true;
    config.request_headers = vec!["x-tenant-id".to_owned()];
    config.content_logging = ContentLogging::Hash;
    // While Kafka is away, the latest traces are worth more than the oldest.
    config.when_full = WhenFull::DropOldest;
    let exporter = Arc::new(BifrostExporter::start(&config).await?);

    let routes = Router::new()
        .route("/v1/chat/completions", post(chat))
        .with_state(Gateway { exporter: Arc::clone(&exporter), requests: Arc::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}/v1/chat/completions", listener.local_addr()?);
    let stop = async { tokio::signal::ctrl_c().await.unwrap_or_default() };
    axum::serve(listener, routes).with_graceful_shutdown(stop).await?;

    exporter.close(Duration::from_secs(5)).await;
    let counts = exporter.ledger().counts();
    println!("{} traces are in Kafka, {} are not", counts.delivered, counts.failed);
    Ok(())
}

#[derive(Clone)]
struct Gateway {
    exporter: Arc<BifrostExporter>,
    requests: Arc<AtomicU64>,
}

async fn chat(
    State(gateway): State<Gateway>,
    headers: HeaderMap,
    Json(request): Json<serde_json::Value>,
) -> Json<serde_json::Value> {
    let number = gateway.requests.fetch_add(1, Ordering::Relaxed);
    let started = SystemTime::now();
    let answer = ask(&request).await;
    match trace(number, started, &headers, &request, &answer) {
        Ok(trace) => gateway.exporter.export(trace),
        Err(error) => eprintln!("request {number} has no trace: {error}"),
    }
    Json(answer)
}

/// Where a gateway would ask the model's provider.
async fn ask(request: &serde_json::Value) -> serde_json::Value {
    let message = serde_json::json!({"role": "assistant", "content": "Hello!"});
    serde_json::json!({"model": request["model"], "choices": [{"message": message}]})
}

/// The trace of a finished request: the request itself, and the call of the model within it.
fn trace(
    number: u64,
    started: SystemTime,
    headers: &HeaderMap,
    request: &serde_json::Value,
    answer: &serde_json::Value,
) -> Result<Trace<'static>, Box<dyn Error>> {
    let (start_time, end_time) = (Time::try_from(started)?, Time::try_from(SystemTime::now())?);
    let mut attributes = Object::new();
    attributes.push("gen_ai.request.model", Value::new(&request["model"])?);
    // Content: what becomes of it is the exporter's `content_logging`.
    attributes.push("gen_ai.input.messages", Value::new(&request["messages"])?);
    attributes.push("gen_ai.output.messages", Value::new(&answer["choices"])?);

    let mut root = Span::new(format!("{:016x}", 2 * number + 1));
    root.name = "/v1/chat/completions".into();
    root.kind = "http.request".into();
    root.status = "ok".into();
    (root.start_time, root.end_time) = (start_time.clone(), end_time.clone());
    let mut call = Span::new(format!("{:016x}", 2 * number + 2));
    call.parent_id = root.span_id.clone();
    call.name = "chat".into();
    call.kind = "llm.call".into();
    call.status = "ok".into();
    call.attributes = Some(attributes);
    (call.start_time, call.end_time) = (start_time.clone(), end_time.clone());

    let mut trace = Trace::new(format!("{number:032x}"));
    (trace.start_time, trace.end_time) = (start_time, end_time);
    // All of them: which are published is the exporter's `request_headers`.
    let kept = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().to_owned().into(), Value::from(value.to_str().ok()?)))
    });
    trace.request_headers = Some(kept.collect());
    (trace.root_span, trace.spans) = (Some(root), vec![call]);
    Ok(trace)
}
