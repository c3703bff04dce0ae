//! What is left out of a trace before it is published.
//!
//! Decides, by the connector's four settings and in this order:
//!
//! 1. `disable_content_logging`, or `bifrost.content_logging.disabled` on the root span, strips
//!    message content: attributes named `gen_ai.input.*` and `gen_ai.output.*`, of every span, of
//!    their events, and of the trace. Other names that can hold prompts (`gen_ai.request.*`,
//!    `gen_ai.tool.*`) stay, as the connector's documentation says, and so do unknown fields.
//! 2. `request_headers` captures headers by pattern. Without a match `RequestHeaders` is `null`.
//!    Headers that carry credentials are captured with `[REDACTED]` for their value, whether `*`, a
//!    prefix or their own name asked for them: that one was sent is worth knowing, its value is not
//!    worth keeping in a topic.
//! 3. `plugin_span_filter` removes spans of plugins and hangs their children on the nearest
//!    ancestor that stays. Where there is none, or the removed spans form a ring, children become
//!    roots. If the root span itself is removed, the first span left without a parent is the new
//!    root span, and `RootSpan` is `null` if there is no such span.
//!
//! Nothing here fails, and the work grows with the size of the trace alone.

use std::borrow::Cow;
use std::collections::HashMap;

use super::config::{BifrostConfig, FilterMode, PluginSpanFilter};
use super::json::{Object, Value};
use super::model::{Span, Trace};

/// The value that a captured credential gets.
pub const REDACTED: &str = "[REDACTED]";

/// Headers that carry credentials or sessions.
const SENSITIVE_HEADERS: [&str; 16] = [
    "api-key",
    "authorization",
    "cf-access-jwt-assertion",
    "cookie",
    "proxy-authorization",
    "set-cookie",
    "x-amz-security-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-api-key",
    "x-auth-token",
    "x-bf-api-key",
    "x-bf-vk",
    "x-csrf-token",
    "x-forwarded-access-token",
    "x-goog-api-key",
];

/// The filters of one configuration, ready to apply to any number of traces.
#[derive(Debug, Clone)]
pub struct Filter {
    strip_content: bool,
    headers: Vec<HeaderPattern>,
    plugins: Option<PluginSpanFilter>,
}

impl Filter {
    /// The filters that `config` asks for.
    pub fn new(config: &BifrostConfig) -> Self {
        Self {
            strip_content: config.disable_content_logging,
            headers: config.request_headers.iter().filter_map(|p| HeaderPattern::new(p)).collect(),
            plugins: config.plugin_span_filter.clone(),
        }
    }

    /// Takes out of `trace` what must not be published.
    pub fn apply(&self, trace: &mut Trace<'_>) {
        // Asked before the plugin filter runs, which may remove the span that says so.
        if self.strip_content || forbids_content(trace) {
            strip_content(trace);
        }
        trace.request_headers = trace.request_headers.take().and_then(|h| self.capture(h));
        if let Some(plugins) = &self.plugins {
            remove_plugin_spans(trace, plugins);
        }
        trace.find_root();
    }

    fn capture<'a>(&self, headers: Object<'a>) -> Option<Object<'a>> {
        let captured = headers.into_members().into_iter().filter_map(|(name, value)| {
            let name = lower_case(name);
            let wanted = self.headers.iter().any(|pattern| pattern.matches(&name));
            let sensitive = SENSITIVE_HEADERS.contains(&&*name);
            wanted.then(|| (name, if sensitive { Value::from(REDACTED) } else { value }))
        });
        Some(captured.collect()).filter(|captured: &Object<'a>| !captured.is_empty())
    }
}

/// A header pattern, trimmed and in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum HeaderPattern {
    Prefix(String),
    Exact(String),
}

impl HeaderPattern {
    /// `None` for a blank pattern, which matches nothing.
    fn new(pattern: &str) -> Option<Self> {
        let pattern = pattern.trim().to_lowercase();
        match pattern.strip_suffix('*') {
            Some(prefix) => Some(Self::Prefix(prefix.to_owned())),
            None => Some(Self::Exact(pattern)).filter(|exact| *exact != Self::Exact(String::new())),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Prefix(prefix) => name.starts_with(&**prefix),
            Self::Exact(exact) => name == exact,
        }
    }
}

fn lower_case(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.chars().all(|c| c.is_ascii() && !c.is_ascii_uppercase()) {
        name
    } else {
        Cow::Owned(name.to_lowercase())
    }
}

/// Virtual keys and teams can switch content off for their requests; Bifrost then marks the root.
fn forbids_content(trace: &Trace<'_>) -> bool {
    let attributes = trace.root_span.as_ref().and_then(|root| root.attributes.as_ref());
    attributes.is_some_and(|attributes| {
        attributes.iter().any(|(name, value)| {
            name == "bifrost.content_logging.disabled"
                && matches!(value.as_json(), "true" | "\"true\"")
        })
    })
}

fn strip_content(trace: &mut Trace<'_>) {
    strip_attributes(&mut trace.attributes);
    for span in trace.root_span.iter_mut().chain(&mut trace.spans) {
        strip_attributes(&mut span.attributes);
        for event in span.events.iter_mut().flatten() {
            strip_attributes(&mut event.attributes);
        }
    }
}

fn strip_attributes(attributes: &mut Option<Object<'_>>) {
    if let Some(attributes) = attributes {
        attributes.retain(|name, _| {
            !name.starts_with("gen_ai.input.") && !name.starts_with("gen_ai.output.")
        });
    }
}

fn remove_plugin_spans(trace: &mut Trace<'_>, filter: &PluginSpanFilter) {
    let mut removed = Removed::default();
    if let Some(root) = trace.root_span.take_if(|root| !keeps(filter, root)) {
        removed.add(root);
    }
    for span in trace.spans.extract_if(.., |span| !keeps(filter, span)) {
        removed.add(span);
    }
    for span in trace.root_span.iter_mut().chain(&mut trace.spans) {
        if let Some(ancestor) = removed.nearest_kept(&span.parent_id) {
            span.parent_id = ancestor;
        }
    }
}

/// Only spans of kind `plugin` named `plugin.<name>.<hook>` are anyone's to remove.
fn keeps(filter: &PluginSpanFilter, span: &Span<'_>) -> bool {
    let mut parts = span.name.splitn(3, '.');
    let (Some("plugin"), Some(plugin), Some(_hook)) = (parts.next(), parts.next(), parts.next())
    else {
        return true;
    };
    let listed = filter.plugins.iter().any(|name| name == plugin);
    span.kind != "plugin" || listed == (filter.mode == FilterMode::Include)
}

/// The removed spans, by id, with their parents.
#[derive(Default)]
struct Removed<'a>(HashMap<Cow<'a, str>, Cow<'a, str>>);

impl<'a> Removed<'a> {
    fn add(&mut self, span: Span<'a>) {
        self.0.insert(span.span_id, span.parent_id);
    }

    /// The nearest ancestor that was not removed, empty if there is none; `None` if `parent` was
    /// not removed.
    ///
    /// Every span on the way is pointed at the answer, so that a long chain of removed spans with
    /// many children is walked once and not once per child.
    fn nearest_kept(&mut self, parent: &str) -> Option<Cow<'a, str>> {
        let mut next = self.0.get(parent)?.clone();
        let mut passed = vec![Cow::Owned(parent.to_owned())];
        while let Some(further) = self.0.get(&next) {
            if passed.len() > self.0.len() {
                // More steps than spans: they form a ring, and nothing outside is above it.
                next = Cow::Borrowed("");
                break;
            }
            passed.push(std::mem::replace(&mut next, further.clone()));
        }
        for id in passed {
            if let Some(parent) = self.0.get_mut(&id) {
                parent.clone_from(&next);
            }
        }
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::exporter::bifrost::model::Event;

    fn config() -> BifrostConfig {
        BifrostConfig::new(["localhost:9092"], "bifrost-traces")
    }

    fn apply(config: &BifrostConfig, trace: &mut Trace<'_>) {
        Filter::new(config).apply(trace);
    }

    fn attributes() -> Option<Object<'static>> {
        let mut attributes = Object::new();
        for name in [
            "gen_ai.input.messages",
            "gen_ai.input.",
            "gen_ai.inputs",
            "gen_ai.output.messages",
            "gen_ai.output.x.y",
            "gen_ai.request.prompt",
            "gen_ai.usage.cost",
        ] {
            attributes.push(name, true);
        }
        Some(attributes)
    }

    fn names(attributes: &Option<Object<'_>>) -> Vec<String> {
        attributes.iter().flat_map(Object::iter).map(|(name, _)| name.to_owned()).collect()
    }

    fn trace_with_content() -> Trace<'static> {
        let mut trace = Trace::new("t");
        let mut root = Span::new("r");
        let mut event = Event::new("e");
        event.attributes = attributes();
        root.attributes = attributes();
        root.events = Some(vec![event]);
        trace.attributes = attributes();
        trace.spans = vec![Span { parent_id: "r".into(), ..root.clone() }];
        trace.spans[0].span_id = "a".into();
        trace.root_span = Some(root);
        trace
    }

    const KEPT: [&str; 3] = ["gen_ai.inputs", "gen_ai.request.prompt", "gen_ai.usage.cost"];

    fn assert_stripped(trace: &Trace<'_>) {
        assert_eq!(names(&trace.attributes), KEPT);
        for span in trace.spans_in_order() {
            assert_eq!(names(&span.attributes)[..3], KEPT);
            assert_eq!(names(&span.events.as_ref().unwrap()[0].attributes), KEPT);
        }
    }

    #[test]
    fn content_stays_unless_it_is_switched_off() {
        let mut trace = trace_with_content();
        apply(&config(), &mut trace);
        assert_eq!(trace, trace_with_content());
    }

    #[test]
    fn content_is_stripped_from_spans_events_and_the_root() {
        let mut trace = trace_with_content();
        apply(&BifrostConfig { disable_content_logging: true, ..config() }, &mut trace);
        assert_stripped(&trace);
    }

    #[test]
    fn a_root_that_forbids_content_is_obeyed_even_if_it_is_removed() {
        for value in [Value::from(true), Value::from("true")] {
            let mut trace = trace_with_content();
            let root = trace.root_span.as_mut().unwrap();
            root.attributes.as_mut().unwrap().push("bifrost.content_logging.disabled", value);
            apply(&config(), &mut trace);
            assert_stripped(&trace);
        }
        let mut trace = trace_with_content();
        let root = trace.root_span.as_mut().unwrap();
        root.attributes.as_mut().unwrap().push("bifrost.content_logging.disabled", true);
        (root.kind, root.name) = ("plugin".into(), "plugin.x.prehook".into());
        apply(&excluding(&["x"]), &mut trace);
        assert_eq!(trace.root_span.as_ref().unwrap().span_id, "a");
        assert_stripped(&trace);
    }

    #[test]
    fn an_escaped_name_is_stripped_too() {
        let json = r#"{"TraceID":"t","RootSpan":{"SpanID":"a",
            "Attributes":{"gen\u005fai.input.messages":"hello"}}}"#;
        let mut trace = serde_json::from_str::<Trace<'_>>(json).unwrap();
        apply(&BifrostConfig { disable_content_logging: true, ..config() }, &mut trace);
        assert_eq!(trace.root_span.unwrap().attributes, Some(Object::new()));
    }

    fn captured(patterns: &[&str]) -> Option<Vec<(String, String)>> {
        let mut trace = Trace::new("t");
        let mut headers = Object::new();
        for (name, value) in [
            ("X-Tenant-Id", "acme"),
            ("x-custom-a", "1"),
            ("x-custom-b", "2"),
            ("Authorization", "Bearer sk-1"),
            ("X-BF-VK", "vk-1"),
        ] {
            headers.push(name, value);
        }
        trace.request_headers = Some(headers);
        let request_headers = patterns.iter().map(|&pattern| pattern.to_owned()).collect();
        apply(&BifrostConfig { request_headers, ..config() }, &mut trace);
        let to_text = |(name, value): (&str, &Value<'_>)| {
            (name.to_owned(), value.as_json().trim_matches('"').to_owned())
        };
        trace.request_headers.map(|headers| headers.iter().map(to_text).collect())
    }

    fn pairs(expected: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(expected.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn headers_are_captured_by_name_prefix_or_star() {
        assert_eq!(captured(&[" X-Tenant-ID "]), pairs(&[("x-tenant-id", "acme")]));
        assert_eq!(captured(&["x-Custom-*"]), pairs(&[("x-custom-a", "1"), ("x-custom-b", "2")]));
        assert_eq!(captured(&["*"]).unwrap().len(), 5);
    }

    #[test]
    fn no_captured_header_is_null() {
        for patterns in [&[][..], &[""], &["  "], &["x-tenant"], &["tenant-*"], &["x-*-id"]] {
            assert_eq!(captured(patterns), None, "{patterns:?}");
        }
    }

    #[test]
    fn credentials_are_captured_without_their_values() {
        for patterns in [&["authorization"][..], &["auth*"]] {
            assert_eq!(captured(patterns), pairs(&[("authorization", REDACTED)]));
        }
        let all = captured(&["*"]).unwrap();
        assert_eq!(all[3..], pairs(&[("authorization", REDACTED), ("x-bf-vk", REDACTED)]).unwrap());
    }

    #[test]
    fn sensitive_names_are_spelled_as_headers_are_compared() {
        assert!(SENSITIVE_HEADERS.is_sorted());
        assert!(SENSITIVE_HEADERS.iter().all(|name| *name == name.to_lowercase()));
    }

    fn filtering(mode: FilterMode, plugins: &[&str]) -> BifrostConfig {
        let plugins = plugins.iter().map(|&plugin| plugin.to_owned()).collect();
        BifrostConfig { plugin_span_filter: Some(PluginSpanFilter { mode, plugins }), ..config() }
    }

    fn excluding(plugins: &[&str]) -> BifrostConfig {
        filtering(FilterMode::Exclude, plugins)
    }

    fn span(id: &str, parent: &str, name: &str) -> Span<'static> {
        let mut span = Span::new(id.to_owned());
        span.parent_id = Cow::Owned(parent.to_owned());
        span.name = Cow::Owned(name.to_owned());
        span.kind = Cow::Borrowed(if name.starts_with("plugin") { "plugin" } else { "llm.call" });
        span
    }

    fn edges(config: &BifrostConfig, spans: Vec<Span<'static>>) -> Vec<(String, String)> {
        let mut trace = Trace::new("t");
        trace.root_span = Some(Span::new("root"));
        trace.spans = spans;
        apply(config, &mut trace);
        let edge = |span: &Span<'_>| (span.span_id.to_string(), span.parent_id.to_string());
        trace.spans.iter().map(edge).collect()
    }

    #[test]
    fn include_keeps_listed_plugins_and_exclude_the_others() {
        let spans = || {
            vec![
                span("1", "root", "plugin.logging.prehook"),
                span("2", "root", "plugin.telemetry.posthook"),
                span("3", "root", "chat gpt-4o-mini"),
            ]
        };
        let kept = |config| edges(&config, spans()).into_iter().map(|(id, _)| id);
        assert!(kept(excluding(&["logging"])).eq(["2", "3"]));
        assert!(kept(filtering(FilterMode::Include, &["logging"])).eq(["1", "3"]));
        assert!(kept(excluding(&[])).eq(["1", "2", "3"]));
        assert!(kept(filtering(FilterMode::Include, &[])).eq(["3"]));
    }

    #[test]
    fn malformed_names_and_other_kinds_pass() {
        let mut other_kind = span("4", "root", "plugin.x.prehook");
        other_kind.kind = Cow::Borrowed("internal");
        let spans = vec![
            span("1", "root", "plugin"),
            span("2", "root", "plugin.x"),
            span("3", "root", "plugins.x.prehook"),
            other_kind,
            span("5", "root", "plugin.X.prehook"),
            span("6", "root", "plugin.x.prehook.retry"),
        ];
        let kept = edges(&excluding(&["x"]), spans).into_iter().map(|(id, _)| id);
        assert!(kept.eq(["1", "2", "3", "4", "5"]));
    }

    #[test]
    fn children_of_a_removed_chain_hang_on_the_nearest_survivor() {
        let spans = vec![
            span("a", "root", "plugin.x.prerequesthook"),
            span("b", "a", "plugin.x.prehook"),
            span("c", "b", "plugin.y.prehook"),
            span("d", "c", "plugin.x.prehook"),
            span("e", "d", "chat"),
            span("f", "b", "chat"),
        ];
        let expected = [("c", "root"), ("e", "c"), ("f", "root")];
        assert_eq!(edges(&excluding(&["x"]), spans), pairs(&expected).unwrap());
    }

    #[test]
    fn rings_of_removed_spans_leave_roots() {
        let spans = vec![
            span("a", "b", "plugin.x.1"),
            span("b", "a", "plugin.x.2"),
            span("self", "self", "plugin.x.3"),
            span("in", "c", "plugin.x.4"),
            span("c", "in", "plugin.x.5"),
            span("1", "a", "chat"),
            span("2", "self", "chat"),
            span("3", "in", "chat"),
            span("4", "a", "chat"),
        ];
        let expected = [("1", ""), ("2", ""), ("3", ""), ("4", "")];
        assert_eq!(edges(&excluding(&["x"]), spans), pairs(&expected).unwrap());
    }

    #[test]
    fn a_parent_outside_the_trace_is_kept() {
        let spans = vec![span("a", "remote", "plugin.x.1"), span("b", "a", "chat")];
        assert_eq!(edges(&excluding(&["x"]), spans), pairs(&[("b", "remote")]).unwrap());
    }

    #[test]
    fn a_removed_root_gives_way_to_the_first_orphan() {
        let mut trace = Trace::new("t");
        trace.root_span = Some(span("r", "", "plugin.x.1"));
        trace.spans = vec![span("a", "other", "chat"), span("b", "r", "chat")];
        apply(&excluding(&["x"]), &mut trace);
        assert_eq!(trace.root_span.as_ref().unwrap().span_id, "b");

        trace.root_span = Some(span("r", "", "plugin.x.1"));
        apply(&excluding(&["x"]), &mut trace);
        assert_eq!(trace.root_span, None);
    }

    #[test]
    fn a_long_removed_chain_with_many_children_is_quick() {
        const LENGTH: usize = 30_000;
        let chain = (0..LENGTH).map(|n| span(&n.to_string(), &(n + 1).to_string(), "plugin.x.1"));
        let children = (0..LENGTH).map(|n| span(&format!("child{n}"), "0", "chat"));
        let edges = edges(&excluding(&["x"]), chain.chain(children).collect());
        assert_eq!(edges.len(), LENGTH);
        assert!(edges.iter().all(|(_, parent)| *parent == LENGTH.to_string()));
    }

    proptest! {
        #[test]
        fn no_kept_span_has_a_removed_parent(
            shape in prop::collection::vec((0_usize..12, 0_usize..12, any::<bool>()), 0..12),
        ) {
            let name = |plugin| if plugin { "plugin.x.hook" } else { "chat" };
            let spans = shape
                .iter()
                .enumerate()
                .map(|(id, (parent, _, plugin))| {
                    span(&id.to_string(), &parent.to_string(), name(*plugin))
                })
                .collect();
            for (_, parent) in edges(&excluding(&["x"]), spans) {
                let removed = parent.parse().ok().and_then(|id: usize| shape.get(id));
                prop_assert!(removed.is_none_or(|(_, _, plugin)| !plugin), "{parent}");
            }
        }
    }
}
