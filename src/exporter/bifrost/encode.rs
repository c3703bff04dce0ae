//! One trace to one Kafka record.
//!
//! Decides the bytes: the key is the `TraceID`, the value compact JSON with the fields in the order
//! of Bifrost's documentation, then the unknown ones. Every trace goes to the one topic of the
//! configuration, so there is nothing to route. What may be in the trace was the filter's to say.
//!
//! Format: <https://docs.getbifrost.ai>, Kafka, trace payload format.

use bytes::Bytes;

use super::json::{Object, Value, push_quoted};
use super::model::{Event, Span, Time, Trace};

/// What one trace becomes in Kafka.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceRecord {
    /// The `TraceID`: records of one trace share a partition.
    pub key: Bytes,
    /// The trace as one line of JSON.
    pub value: Bytes,
}

/// Encodes `trace` in one pass.
pub fn encode(trace: &Trace<'_>) -> TraceRecord {
    let mut out = String::with_capacity(trace_size(trace));
    push_trace(&mut out, trace);
    TraceRecord { key: Bytes::copy_from_slice(trace.trace_id.as_bytes()), value: out.into() }
}

fn push_trace(out: &mut String, trace: &Trace<'_>) {
    push_text(out, "{\"RequestID\":", &trace.request_id);
    push_text(out, ",\"TraceID\":", &trace.trace_id);
    push_text(out, ",\"ParentID\":", &trace.parent_id);
    push_time(out, ",\"StartTime\":", &trace.start_time);
    push_time(out, ",\"EndTime\":", &trace.end_time);
    push_object(out, ",\"Attributes\":", trace.attributes.as_ref());
    push_object(out, ",\"RequestHeaders\":", trace.request_headers.as_ref());
    push_value(out, ",\"PluginLogs\":", &trace.plugin_logs);
    out.push_str(",\"RootSpan\":");
    let root_start = out.len();
    match &trace.root_span {
        Some(root) => push_span(out, root),
        None => out.push_str("null"),
    }
    let root = root_start..out.len();
    out.push_str(",\"Spans\":[");
    for (index, span) in trace.spans_in_order().enumerate() {
        match (index, &trace.root_span) {
            (0, Some(_)) => out.extend_from_within(root.clone()),
            (0, None) => push_span(out, span),
            _ => {
                out.push(',');
                push_span(out, span);
            }
        }
    }
    out.push(']');
    push_unknown(out, &trace.unknown);
    out.push('}');
}

fn push_span(out: &mut String, span: &Span<'_>) {
    push_text(out, "{\"SpanID\":", &span.span_id);
    push_text(out, ",\"ParentID\":", &span.parent_id);
    if let Some(trace_id) = &span.trace_id {
        push_text(out, ",\"TraceID\":", trace_id);
    }
    push_text(out, ",\"Name\":", &span.name);
    push_text(out, ",\"Kind\":", &span.kind);
    push_time(out, ",\"StartTime\":", &span.start_time);
    push_time(out, ",\"EndTime\":", &span.end_time);
    push_text(out, ",\"Status\":", &span.status);
    push_text(out, ",\"StatusMsg\":", &span.status_message);
    push_object(out, ",\"Attributes\":", span.attributes.as_ref());
    push_events(out, span.events.as_deref());
    push_unknown(out, &span.unknown);
    out.push('}');
}

fn push_events(out: &mut String, events: Option<&[Event<'_>]>) {
    out.push_str(",\"Events\":");
    let Some(events) = events else {
        out.push_str("null");
        return;
    };
    out.push('[');
    for (index, event) in events.iter().enumerate() {
        push_text(out, if index == 0 { "{\"Name\":" } else { ",{\"Name\":" }, &event.name);
        push_time(out, ",\"Timestamp\":", &event.timestamp);
        push_object(out, ",\"Attributes\":", event.attributes.as_ref());
        push_unknown(out, &event.unknown);
        out.push('}');
    }
    out.push(']');
}

fn push_text(out: &mut String, name: &str, text: &str) {
    out.push_str(name);
    push_quoted(out, text);
}

fn push_time(out: &mut String, name: &str, time: &Time<'_>) {
    push_text(out, name, time.as_str());
}

fn push_value(out: &mut String, name: &str, value: &Value<'_>) {
    out.push_str(name);
    out.push_str(value.as_json());
}

fn push_object(out: &mut String, name: &str, object: Option<&Object<'_>>) {
    out.push_str(name);
    let Some(object) = object else {
        out.push_str("null");
        return;
    };
    out.push('{');
    for (index, (name, value)) in object.iter().enumerate() {
        push_text(out, if index == 0 { "" } else { "," }, name);
        push_value(out, ":", value);
    }
    out.push('}');
}

fn push_unknown(out: &mut String, unknown: &Object<'_>) {
    for (name, value) in unknown.iter() {
        push_text(out, ",", name);
        push_value(out, ":", value);
    }
}

/// About how many bytes the value takes, so that it is rarely moved while it grows: strings that
/// need many escapes take more.
fn trace_size(trace: &Trace<'_>) -> usize {
    const FIXED: usize = 256;
    let root = trace.root_span.as_ref().map_or(0, span_size);
    FIXED
        + trace.attributes.as_ref().map_or(0, object_size)
        + trace.request_headers.as_ref().map_or(0, object_size)
        + trace.plugin_logs.as_json().len()
        + root
        + trace.spans_in_order().map(span_size).sum::<usize>()
        + object_size(&trace.unknown)
}

fn span_size(span: &Span<'_>) -> usize {
    const FIXED: usize = 320;
    let events = span.events.iter().flatten().map(|event| {
        128 + event.name.len()
            + event.attributes.as_ref().map_or(0, object_size)
            + object_size(&event.unknown)
    });
    FIXED
        + span.name.len()
        + span.status_message.len()
        + span.attributes.as_ref().map_or(0, object_size)
        + events.sum::<usize>()
        + object_size(&span.unknown)
}

fn object_size(object: &Object<'_>) -> usize {
    object.iter().map(|(name, value)| name.len() + value.as_json().len() + 4).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Tree, json};

    use super::*;

    const INPUT: &str = include_str!("../../../tests/golden/bifrost-trace.json");
    const RECORD: &str = include_str!("../../../tests/golden/bifrost-record.json");
    const SCHEMA: &str = include_str!("../../../docs/schemas/bifrost-trace.schema.json");

    fn written(json: &str) -> String {
        let trace = serde_json::from_str::<Trace<'_>>(json).unwrap();
        String::from_utf8(encode(&trace).value.to_vec()).unwrap()
    }

    #[test]
    fn the_documented_trace_is_written_byte_for_byte() {
        let trace = serde_json::from_str::<Trace<'_>>(INPUT).unwrap();
        let record = encode(&trace);
        assert_eq!(record.key, "0e8b9293a69d4652804d2ab61121c1f2");
        assert_eq!(record.value, RECORD.trim_end());
    }

    #[test]
    fn the_documented_trace_means_the_same_before_and_after() {
        let tree = |json: &str| serde_json::from_str::<Tree>(json).unwrap();
        assert_eq!(tree(&written(INPUT)), tree(INPUT));
    }

    #[test]
    fn a_trace_of_nothing_has_every_field() {
        assert_eq!(
            written(r#"{"TraceID":"t"}"#),
            "{\"RequestID\":\"\",\"TraceID\":\"t\",\"ParentID\":\"\",\
             \"StartTime\":\"0001-01-01T00:00:00Z\",\"EndTime\":\"0001-01-01T00:00:00Z\",\
             \"Attributes\":null,\"RequestHeaders\":null,\"PluginLogs\":null,\"RootSpan\":null,\
             \"Spans\":[]}",
        );
    }

    #[test]
    fn the_root_is_written_as_root_and_as_first_span() {
        let json = written(
            r#"{"TraceID":"t","RootSpan":{"SpanID":"r","X":[160.0000054]},
                "Spans":[{"SpanID":"a","ParentID":"r"}]}"#,
        );
        let tree: Tree = serde_json::from_str(&json).unwrap();
        assert_eq!(tree["RootSpan"], tree["Spans"][0]);
        assert_eq!(tree["Spans"][0]["X"], json!([160.0000054]));
        assert_eq!(tree["Spans"][1]["SpanID"], "a");
    }

    #[test]
    fn spans_without_a_root_are_written_after_null() {
        let json = written(
            r#"{"TraceID":"t","Spans":[{"SpanID":"a","ParentID":"x"},
                {"SpanID":"b","ParentID":"x"}]}"#,
        );
        let tree: Tree = serde_json::from_str(&json).unwrap();
        assert_eq!(tree["RootSpan"], Tree::Null);
        assert_eq!(tree["Spans"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn newer_fields_survive_exactly_at_every_level() {
        let json = written(
            r#"{"InternalID":"i","TraceID":"t","RootSpan":{"SpanID":"r","Enrichment":{"n":1e400},
                "Events":[{"Name":"e","Weight":12345678901234567890123}]}}"#,
        );
        for kept in [
            r#","Spans":[{"SpanID":"r""#,
            r#","Enrichment":{"n":1e400}}"#,
            r#","Attributes":null,"Weight":12345678901234567890123}]"#,
            r#"}],"InternalID":"i"}"#,
        ] {
            assert!(json.contains(kept), "{kept} in {json}");
        }
    }

    #[test]
    fn the_size_is_guessed_well_enough_to_allocate_once() {
        let trace = serde_json::from_str::<Trace<'_>>(INPUT).unwrap();
        let size = encode(&trace).value.len();
        assert!((size..size * 2).contains(&trace_size(&trace)), "{size} {}", trace_size(&trace));
    }

    #[test]
    fn unknown_fields_are_kept_byte_for_byte() {
        let odd = r#"{"b":[1e400,-0,0.10],"a":"\u0041\/","b":null}"#;
        for (json, kept) in [
            (
                format!(r#"{{"InternalID":{odd},"TraceID":"t","Z":1,"A":2.0}}"#),
                format!(r#"[],"InternalID":{odd},"Z":1,"A":2.0}}"#),
            ),
            (
                format!(
                    r#"{{"TraceID":"t","Spans":[{{"Enrichment":{odd},"SpanID":"a","LLM":0}}]}}"#
                ),
                format!(r#","Events":null,"Enrichment":{odd},"LLM":0}}"#),
            ),
            (
                format!(
                    r#"{{"TraceID":"t","Spans":[{{"Events":[{{"Weight":{odd},"Name":"e"}}]}}]}}"#
                ),
                format!(r#","Attributes":null,"Weight":{odd}}}]"#),
            ),
            (
                format!(r#"{{"TraceID":"t","Attributes":{odd}}}"#),
                format!(r#","Attributes":{odd},"#),
            ),
        ] {
            let written = written(&json);
            assert!(written.contains(&kept), "{kept} in {written}");
        }
    }

    fn schema() -> jsonschema::Validator {
        jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
    }

    #[test]
    fn what_is_published_is_what_the_schema_says() {
        let schema = schema();
        let everything = r#"{"TraceID":"t","InternalID":"i","RequestHeaders":{"x-a":"1"},
            "PluginLogs":[{"plugin_name":"p","level":"info","message":"m","timestamp":1}],
            "RootSpan":{"SpanID":"r","Enrichment":{},"Events":[{"Name":"e","Weight":1}]},
            "Spans":[{"TraceID":"t","Attributes":{"a":[1]}}]}"#;
        let demo = include_str!("../../cli/demo/traces.ndjson");
        let traces = demo.lines().chain([INPUT, r#"{"TraceID":"t"}"#, everything]);
        for json in traces {
            let tree: Tree = serde_json::from_str(&written(json)).unwrap();
            let errors: Vec<_> = schema.iter_errors(&tree).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}");
        }
        assert!(schema.is_valid(&serde_json::from_str(INPUT).unwrap()));
    }

    #[test]
    fn the_schema_has_every_field_and_wants_them_all() {
        let json = r#"{"TraceID":"t","RootSpan":{"TraceID":"t","Events":[{}]}}"#;
        let trace: Tree = serde_json::from_str(&written(json)).unwrap();
        let known: Tree = serde_json::from_str(SCHEMA).unwrap();
        let schema = schema();
        for (at, definition) in
            [("", ""), ("/RootSpan", "/$defs/span"), ("/RootSpan/Events/0", "/$defs/event")]
        {
            let fields = trace.pointer(at).unwrap().as_object().unwrap();
            let properties = known.pointer(&format!("{definition}/properties")).unwrap();
            assert!(fields.keys().eq(properties.as_object().unwrap().keys()), "{definition}");
            for name in fields.keys() {
                let mut without = trace.clone();
                without.pointer_mut(at).unwrap().as_object_mut().unwrap().remove(name);
                let is_optional = at == "/RootSpan" && name == "TraceID";
                assert_eq!(schema.is_valid(&without), is_optional, "{at}/{name}");
            }
        }
    }

    #[test]
    fn the_schema_refuses_what_is_not_published() {
        let (schema, good) = (schema(), written(r#"{"TraceID":"t","RootSpan":{"SpanID":"r"}}"#));
        for (from, to) in [
            (r#""TraceID":"t""#, r#""TraceID":"""#),
            (r#""RequestHeaders":null"#, r#""RequestHeaders":{}"#),
            (r#""PluginLogs":null"#, r#""PluginLogs":{}"#),
            (r#""Attributes":null"#, r#""Attributes":[]"#),
            (r#""StartTime":"0001-01-01T00:00:00Z""#, r#""StartTime":"yesterday""#),
            (r#""Spans":["#, r#""Spans":[null,"#),
            (r#""SpanID":"r""#, r#""SpanID":7"#),
        ] {
            let tree: Tree = serde_json::from_str(&good.replacen(from, to, 1)).unwrap();
            assert!(good.contains(from) && !schema.is_valid(&tree), "{to}");
        }
    }

    fn any_json() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            Just(Tree::Null),
            any::<bool>().prop_map(Tree::from),
            any::<i64>().prop_map(Tree::from),
            any::<String>().prop_map(Tree::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Tree::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| members.into_iter().collect::<Tree>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn unknown_fields_and_attributes_survive(
            unknown in any_json(),
            name in "[a-z]{1,8}",
            attributes in prop::collection::btree_map(any::<String>(), any_json(), 0..6),
            id in any::<String>(),
        ) {
            let attributes = attributes.into_iter().collect::<Tree>();
            let span = json!({
                "SpanID": id, "ParentID": "", "TraceID": id, "Name": id, "Kind": "", "Status": "",
                "StatusMsg": id, "StartTime": "0001-01-01T00:00:00Z",
                "EndTime": "0001-01-01T00:00:00Z", "Attributes": attributes, name.clone(): unknown,
                "Events": [{"Name": id, "Timestamp": "0001-01-01T00:00:00Z",
                            "Attributes": attributes, name.clone(): unknown}],
            });
            let trace = json!({
                "RequestID": id, "TraceID": "t", "ParentID": id, "Attributes": attributes,
                "StartTime": "0001-01-01T00:00:00Z", "EndTime": "0001-01-01T00:00:00Z",
                "RequestHeaders": attributes, "PluginLogs": null, "RootSpan": span,
                "Spans": [span], name: unknown,
            });
            for text in [trace.to_string(), format!("{trace:#}")] {
                let json = written(&text);
                prop_assert!(!json.contains('\n'));
                prop_assert_eq!(serde_json::from_str::<Tree>(&json).unwrap(), trace.clone());
            }
        }
    }
}
