//! Bifrost's Kafka connector: each finished request's trace becomes one JSON record, keyed by its
//! trace id.
//!
//! The life of a trace: [`receive`] cuts a body into traces, which [`model`] reads without losing
//! what it does not know; [`filter`] takes out content, headers and plugin spans that must not be
//! published; [`encode()`] makes the record; [`BifrostExporter`] sends it. [`config`] reads Bifrost's
//! own `config.json`. All but the exporter and its meter is pure.
//!
//! ```
//! use ottla::exporter::bifrost::{BifrostConfig, Filter, encode, traces};
//!
//! let config = BifrostConfig::new(["localhost:9092"], "bifrost-traces");
//! let filter = Filter::new(&config);
//! for trace in traces(br#"{"TraceID": "0e8b9293a69d4652804d2ab61121c1f2"}"#) {
//!     let mut trace = trace?;
//!     filter.apply(&mut trace);
//!     let record = encode(&trace);
//!     assert_eq!(record.key, "0e8b9293a69d4652804d2ab61121c1f2");
//! }
//! # Ok::<(), ottla::exporter::bifrost::ReceiveError>(())
//! ```

pub mod config;
pub use config::{
    BifrostConfig, ConfigError, ContentLogging, FilterMode, KafkaEntry, PluginSpanFilter,
    SaslConfig,
};

use super::json;
pub use super::json::{Object, VALUE_DEPTH_MAX, Value, ValueError};

pub mod receive;
pub use receive::{ReceiveError, Traces, traces};

pub mod model;
pub use model::{Event, InvalidTime, Span, Time, Trace};

pub mod filter;
pub use filter::Filter;

pub mod encode;
pub use encode::{TraceRecord, encode};

mod meter;

mod exporter;
pub use exporter::{BifrostError, BifrostExporter, TRACE_SIZE_MAX};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_trace_is_filtered_as_documented() {
        let body = include_bytes!("../../../tests/golden/bifrost-trace.json");
        let mut trace = traces(body).next().unwrap().unwrap();
        trace.request_headers = Some(Object::from_iter([
            ("X-Tenant-Id".into(), "acme".into()),
            ("Authorization".into(), "Bearer sk-1".into()),
        ]));
        let mut config = BifrostConfig::new(["localhost:9092"], "bifrost-traces");
        config.content_logging = ContentLogging::Seed;
        config.request_headers = vec!["x-tenant-*".to_owned()];
        let plugins = vec!["logging".to_owned(), "telemetry".to_owned()];
        config.plugin_span_filter = Some(PluginSpanFilter { mode: FilterMode::Exclude, plugins });
        Filter::new(&config).apply(&mut trace);

        let record = encode(&trace);
        let tree: serde_json::Value = serde_json::from_slice(&record.value).unwrap();
        assert_eq!(tree["RequestHeaders"], serde_json::json!({"x-tenant-id": "acme"}));
        let spans = tree["Spans"].as_array().unwrap();
        assert_eq!(spans.len(), 2);
        assert_eq!(spans[0], tree["RootSpan"]);
        assert_eq!(spans[1]["Name"], "chat gpt-4o-mini");
        assert_eq!(spans[1]["ParentID"], spans[0]["SpanID"]);
        assert_eq!(spans[1]["Attributes"]["gen_ai.usage.cost"], 160.0000054);
        let json = std::str::from_utf8(&record.value).unwrap();
        assert!(!json.contains("hello") && !json.contains("assist") && !json.contains("sk-1"));
    }
}
