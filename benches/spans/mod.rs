//! OTLP requests to measure with: spans of about 1 KB (16 attributes, an event, a link), from
//! [`RESOURCES`] resources, of a tenth as many traces whose spans come interleaved.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest as Traces;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

const RESOURCES: usize = 4;

/// A request of so many spans, numbered from `first`: other numbers are other spans.
pub(crate) fn request(first: usize, spans: usize) -> Bytes {
    let resource_spans = (0..RESOURCES)
        .map(|resource| {
            let attributes = ["service.name", "service.version", "host.name", "cloud.region"];
            let attributes = attributes.map(|name| text(name, &format!("{name} {resource}")));
            let scope =
                InstrumentationScope { name: "gateway.tracer".into(), ..Default::default() };
            let numbers = (first + resource..first + spans).step_by(RESOURCES);
            ResourceSpans {
                resource: Some(Resource { attributes: attributes.to_vec(), ..Default::default() }),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans: numbers.map(|number| span(number, spans.div_ceil(10))).collect(),
                    schema_url: "https://opentelemetry.io/schemas/1.37.0".into(),
                }],
                ..Default::default()
            }
        })
        .collect();
    Traces { resource_spans }.encode_to_vec().into()
}

fn span(number: usize, traces: usize) -> Span {
    let trace = (number * 7 % traces) as u128;
    let trace_id = (trace + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let trace_id = trace_id.to_be_bytes().to_vec();
    let span_id = (number as u64 + 1).to_be_bytes().to_vec();
    let texts = (0..10).map(|n| {
        text(&format!("gen_ai.request.attribute_{n}"), &format!("value {n} of span {number}, text"))
    });
    let integers =
        (0..6).map(|n| pair(&format!("gen_ai.usage.tokens_{n}"), Value::IntValue(n * 500)));
    Span {
        trace_id: trace_id.clone(),
        parent_span_id: span_id.clone(),
        span_id: span_id.clone(),
        name: "chat claude-sonnet-4-5".into(),
        kind: 3,
        start_time_unix_nano: 1_700_000_000_000_000_000 + number as u64,
        end_time_unix_nano: 1_700_000_000_900_000_000 + number as u64,
        attributes: texts.chain(integers).collect(),
        events: vec![Event {
            name: "gen_ai.first_token".into(),
            attributes: vec![text("finish_reason", "stop")],
            ..Default::default()
        }],
        links: vec![Link { trace_id, span_id, ..Default::default() }],
        ..Default::default()
    }
}

fn text(name: &str, text: &str) -> KeyValue {
    pair(name, Value::StringValue(text.into()))
}

fn pair(name: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: name.into(), value, ..Default::default() }
}
