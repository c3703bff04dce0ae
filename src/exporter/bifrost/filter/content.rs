//! Message content.
//!
//! Decides which names can hold content, and takes it out of a whole trace. When that is done is
//! decided by the filter.
//!
//! * [`ContentLogging::Seed`] takes attributes named `gen_ai.input.*` and `gen_ai.output.*` out of
//!   the trace, every span and their events.
//! * [`ContentLogging::Strict`] works by a list of what may stay: of the names of `gen_ai`, in any
//!   case, those below are metadata, and all others go, so that what a newer Bifrost adds is not
//!   published before it is known. Raw requests and responses go by any name. It looks into
//!   attributes, `PluginLogs` and unknown fields at any depth.
//! * [`ContentLogging::Hash`] replaces what the latter would remove by `sha256:` and the SHA-256, in
//!   lower-case hex, of the value's JSON as the record would hold it. The same text with other
//!   escapes is another value.
//!
//! What is text of Bifrost's or a plugin's own stays: names, `StatusMsg`, and messages in
//! `PluginLogs`. So does JSON within a string of another name.
//!
//! Names: Bifrost's `core/schemas/trace.go`, and
//! <https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/>.

use sha2::{Digest, Sha256};

use crate::exporter::bifrost::config::ContentLogging;
use crate::exporter::bifrost::json::{Object, Removal, Value};
use crate::exporter::bifrost::model::Trace;

/// What stays of `gen_ai.*` beside numbers of usage and cost: provider, models, ids and identities,
/// finish reasons, errors' kinds, and parameters that are no texts. Sorted.
const METADATA: [&str; 107] = [
    "agent.id",
    "agent.name",
    "batch.cancelled_at",
    "batch.completed_at",
    "batch.completion_window",
    "batch.created_at",
    "batch.endpoint",
    "batch.error_file_id",
    "batch.expires_at",
    "batch.failed_at",
    "batch.id",
    "batch.input_file_id",
    "batch.object",
    "batch.output_file_id",
    "batch.request_counts.completed",
    "batch.request_counts.failed",
    "batch.request_counts.total",
    "batch.status",
    "conversation.id",
    "customer_id",
    "customer_name",
    "data_source.id",
    "error.code",
    "error.type",
    "fallback_index",
    "file.bytes",
    "file.created_at",
    "file.id",
    "file.object",
    "file.purpose",
    "file.status",
    "number_of_retries",
    "operation.name",
    "provider.name",
    "request.best_of",
    "request.choice.count",
    "request.dimensions",
    "request.echo",
    "request.encoding_format",
    "request.encoding_formats",
    "request.format",
    "request.frequency_penalty",
    "request.language",
    "request.logprobs",
    "request.max_completion_tokens",
    "request.max_output_tokens",
    "request.max_tokens",
    "request.max_tool_calls",
    "request.message_count",
    "request.model",
    "request.n",
    "request.parallel_tool_calls",
    "request.presence_penalty",
    "request.previous_response_id",
    "request.prompt_cache_key",
    "request.reasoning_effort",
    "request.safety_identifier",
    "request.seed",
    "request.service_tier",
    "request.speed",
    "request.store",
    "request.stream",
    "request.temperature",
    "request.text_format_type",
    "request.text_verbosity",
    "request.top_k",
    "request.top_logprobs",
    "request.top_p",
    "request.truncation",
    "request.user",
    "request.voice",
    "response.created",
    "response.finish_reason",
    "response.finish_reasons",
    "response.id",
    "response.model",
    "response.object",
    "response.service_tier",
    "response.system_fingerprint",
    "response.time_to_first_chunk",
    "response.time_to_first_token",
    "response.total_chunks",
    "responses.max_output_tokens",
    "responses.max_tool_calls",
    "responses.previous_response_id",
    "responses.prompt_cache_key",
    "responses.reasoning_effort",
    "responses.safety_identifier",
    "responses.store",
    "responses.temperature",
    "responses.text_format_type",
    "responses.text_verbosity",
    "responses.top_logprobs",
    "responses.top_p",
    "responses.truncation",
    "routing_rule_id",
    "routing_rule_name",
    "selected_key_id",
    "selected_key_name",
    "system",
    "team_id",
    "team_name",
    "token.type",
    "user_id",
    "user_name",
    "virtual_key_id",
    "virtual_key_name",
];

/// Groups of numbers: tokens and money.
const METADATA_PREFIXES: [&str; 2] = ["cost.", "usage."];

/// Parts of the names of raw bodies, in lower case and without punctuation.
const RAW_BODIES: [&str; 4] = ["rawrequest", "rawresponse", "requestbody", "responsebody"];

/// Takes the content out of `trace`, in the way of `content`.
pub(super) fn take_out(trace: &mut Trace<'_>, content: ContentLogging) {
    match content {
        ContentLogging::Keep => {}
        ContentLogging::Seed => for_each_attributes(trace, |attributes| {
            attributes.retain(|name, _| {
                !name.starts_with("gen_ai.input.") && !name.starts_with("gen_ai.output.")
            });
        }),
        ContentLogging::Strict => remove(trace, &Removal { is_removed, substitute: None }),
        ContentLogging::Hash => remove(trace, &Removal { is_removed, substitute: Some(hash) }),
    }
}

fn remove(trace: &mut Trace<'_>, removal: &Removal) {
    for_each_attributes(trace, |attributes| attributes.remove(removal));
    trace.plugin_logs.remove(removal);
    trace.unknown.remove(removal);
    for span in trace.root_span.iter_mut().chain(&mut trace.spans) {
        span.unknown.remove(removal);
        for event in span.events.iter_mut().flatten() {
            event.unknown.remove(removal);
        }
    }
}

fn for_each_attributes<'a>(trace: &mut Trace<'a>, mut change: impl FnMut(&mut Object<'a>)) {
    trace.attributes.iter_mut().for_each(&mut change);
    for span in trace.root_span.iter_mut().chain(&mut trace.spans) {
        span.attributes.iter_mut().for_each(&mut change);
        for event in span.events.iter_mut().flatten() {
            event.attributes.iter_mut().for_each(&mut change);
        }
    }
}

/// Whether a member of that name can hold content.
fn is_removed(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("gen_ai") {
        Some(rest) => !rest.strip_prefix('.').is_some_and(is_metadata),
        None => is_raw_body(&name),
    }
}

fn is_metadata(name: &str) -> bool {
    METADATA.binary_search(&name).is_ok()
        || METADATA_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn is_raw_body(name: &str) -> bool {
    let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    !letters.ends_with("size") && RAW_BODIES.iter().any(|part| letters.contains(part))
}

fn hash(value: &Value<'_>) -> Value<'static> {
    use std::fmt::Write;

    let mut text = String::from("sha256:");
    for byte in Sha256::digest(value.as_json()) {
        // Writing to a string does not fail.
        _ = write!(text, "{byte:02x}");
    }
    Value::from(&*text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every name of content that Bifrost has, by its groups.
    const CONTENT: [&str; 27] = [
        "gen_ai.input.messages",
        "gen_ai.input.text",
        "gen_ai.input.speech",
        "gen_ai.input.embedding",
        "gen_ai.output.messages",
        "gen_ai.request.prompt",
        "gen_ai.request.instructions",
        "gen_ai.request.suffix",
        "gen_ai.request.tools",
        "gen_ai.request.tool_choice_type",
        "gen_ai.request.tool_choice_name",
        "gen_ai.responses.tools",
        "gen_ai.responses.tool_choice_type",
        "gen_ai.responses.tool_choice_name",
        "gen_ai.responses.reasoning",
        "gen_ai.tool.name",
        "gen_ai.tool.type",
        "gen_ai.tool.call.id",
        "gen_ai.tool.call.arguments",
        "gen_ai.tool.call.result",
        "gen_ai.raw_request",
        "gen_ai.raw_response",
        "bifrost.raw_request",
        "bifrost.raw.response",
        "RawRequest",
        "http.request.body",
        "http.response.body.content",
    ];

    /// Names of content that nobody has thought of yet.
    const UNKNOWN: [&str; 8] = [
        "gen_ai.prompt",
        "gen_ai.completion.0.content",
        "gen_ai.system_instructions",
        "gen_ai.request.extra_header.x-a",
        "GEN_AI.Input.Messages",
        "gen_ai",
        "gen_ai_input",
        "gen_ai.usage",
    ];

    /// Metadata: of the documented trace, and what is most like content among the rest.
    const KEPT: [&str; 26] = [
        "http.method",
        "http.url",
        "http.status_code",
        "http.user_agent",
        "http.request.body.size",
        "gen_ai.provider.name",
        "gen_ai.operation.name",
        "gen_ai.request.model",
        "gen_ai.request.temperature",
        "gen_ai.request.max_tokens",
        "gen_ai.request.user",
        "gen_ai.response.model",
        "gen_ai.response.id",
        "gen_ai.response.finish_reasons",
        "gen_ai.response.finish_reason",
        "gen_ai.usage.prompt_tokens",
        "gen_ai.usage.completion_tokens",
        "gen_ai.usage.total_tokens",
        "gen_ai.usage.prompt_token_details.cached_read_tokens",
        "gen_ai.usage.cost",
        "GEN_AI.Usage.Cost",
        "gen_ai.cost.total",
        "gen_ai.team_name",
        "bifrost.virtual_key.name",
        "bifrost.retries",
        "request_header_count",
    ];

    #[test]
    fn content_and_unknown_names_go_and_metadata_stays() {
        for name in CONTENT.iter().chain(&UNKNOWN) {
            assert!(is_removed(name), "{name}");
        }
        for name in KEPT {
            assert!(!is_removed(name), "{name}");
        }
    }

    #[test]
    fn metadata_can_be_searched() {
        assert!(METADATA.is_sorted());
        assert!(METADATA.iter().all(|name| *name == name.to_ascii_lowercase()));
    }

    /// A trace with `content` in every place where attributes or unknown fields are.
    fn trace(content: &str) -> String {
        let event = format!(r#"{{"Name":"e","Attributes":{content},"Weight":{content}}}"#);
        let span = |id: &str, parent: &str| {
            format!(
                r#"{{"SpanID":"{id}","ParentID":"{parent}","Attributes":{content},
                    "Events":[{event}],"Enrichment":[{content}]}}"#,
            )
        };
        format!(
            r#"{{"TraceID":"t","Attributes":{content},"PluginLogs":[{content}],"X":{content},
                "RootSpan":{},"Spans":[{},{}],"gen_ai.raw_request":{content}}}"#,
            span("r", ""),
            span("r", ""),
            span("a", "r"),
        )
    }

    fn record(json: &str, content: ContentLogging) -> String {
        let mut trace = serde_json::from_str::<Trace<'_>>(json).unwrap();
        take_out(&mut trace, content);
        String::from_utf8(crate::exporter::bifrost::encode(&trace).value.to_vec()).unwrap()
    }

    fn names_within(tree: &serde_json::Value, see: &mut impl FnMut(&str, &serde_json::Value)) {
        match tree {
            serde_json::Value::Object(members) => members.iter().for_each(|(name, value)| {
                see(name, value);
                names_within(value, see);
            }),
            serde_json::Value::Array(elements) => {
                elements.iter().for_each(|element| names_within(element, see));
            }
            _ => {}
        }
    }

    /// Every name above, once as it is and once within another attribute.
    fn everything() -> serde_json::Value {
        let members = CONTENT.iter().chain(&UNKNOWN).chain(&KEPT);
        let flat: serde_json::Map<_, _> =
            members.map(|name| ((*name).to_owned(), "a prompt".into())).collect();
        let mut members = flat.clone();
        members.insert("bifrost.extra".to_owned(), serde_json::json!([{ "deep": flat }]));
        members.into()
    }

    #[test]
    fn strict_leaves_no_content_anywhere() {
        let record = record(&trace(&everything().to_string()), ContentLogging::Strict);
        let tree: serde_json::Value = serde_json::from_str(&record).unwrap();
        let mut kept = 0;
        names_within(&tree, &mut |name, _| {
            assert!(!is_removed(name), "{name}");
            kept += usize::from(name == "gen_ai.usage.cost");
        });
        // Twice in each of: attributes, logs and field of the trace; attributes and field of three
        // written spans and of their events.
        assert_eq!(kept, 2 * (3 + 3 * 4));
    }

    #[test]
    fn hashes_stand_where_content_was() {
        let json = trace(&everything().to_string());
        let record = record(&json, ContentLogging::Hash);
        let tree: serde_json::Value = serde_json::from_str(&record).unwrap();
        let before: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = "sha256:f9f955148edb8b6fadacd5b63b74f536c7187dfd9b20c741da59b89544ad9749";
        let mut hashed = 0;
        names_within(&tree, &mut |name, value| {
            if is_removed(name) && name != "gen_ai.raw_request" {
                assert_eq!(value, expected, "{name}");
                hashed += 1;
            }
        });
        assert_eq!(hashed, (CONTENT.len() + UNKNOWN.len() - 1) * 2 * (3 + 3 * 4));
        let attributes = |tree: &serde_json::Value| {
            let names = tree["RootSpan"]["Attributes"].as_object().unwrap();
            names.keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(attributes(&tree), attributes(&before));
    }

    #[test]
    fn equal_content_has_equal_hashes() {
        // By `printf '"hello"' | sha256sum`, and likewise for the others.
        for (json, hex) in [
            (r#""hello""#, "5aa762ae383fbb727af3c7a36d4940a5b8c40a989452d2304fc958ff3f354e7a"),
            ("[1,2]", "49a64717d5d4cb19952e6eac2946415cf6879adacf9908e7d872332d32c6e684"),
            ("null", "74234e98afe7498fb5daf1f36ac2d78acc339464f950703b8c019892f982b90b"),
        ] {
            let value: Value<'_> = serde_json::from_str(json).unwrap();
            assert_eq!(hash(&value).as_json(), format!("\"sha256:{hex}\""));
        }
        let spaced: Value<'_> = serde_json::from_str("[ 1,\n2 ]").unwrap();
        assert_eq!(hash(&spaced), hash(&serde_json::from_str("[1,2]").unwrap()));
    }

    #[test]
    fn without_content_nothing_changes() {
        let json = trace(r#"{"gen_ai.usage.cost":160.0000054,"a":[{"b":"\u0041"},1e400]}"#);
        let json = json.replace(r#","gen_ai.raw_request""#, r#","InternalID""#);
        let kept = record(&json, ContentLogging::Keep);
        assert!(kept.contains(r#""InternalID":{"gen_ai.usage.cost":160.0000054,"#));
        for content in ContentLogging::ALL {
            assert_eq!(record(&json, content), kept, "{content:?}");
        }
    }

    #[test]
    fn seed_leaves_all_but_input_and_output() {
        let record = record(&trace(&everything().to_string()), ContentLogging::Seed);
        let tree: serde_json::Value = serde_json::from_str(&record).unwrap();
        let left = &tree["RootSpan"]["Events"][0]["Attributes"];
        for (name, is_left) in [
            ("gen_ai.input.messages", false),
            ("gen_ai.output.messages", false),
            ("gen_ai.request.prompt", true),
            ("gen_ai.raw_request", true),
            ("gen_ai.tool.call.arguments", true),
        ] {
            assert_eq!(left.get(name).is_some(), is_left, "{name}");
        }
    }
}
