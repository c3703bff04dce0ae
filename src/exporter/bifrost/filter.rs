//! What is left out of a trace before it is published.
//!
//! Decides, by the connector's settings and in this order:
//!
//! 1. `content_logging` takes out message content; `content` says what that is. A root span that
//!    carries `bifrost.content_logging.disabled`, or such a trace, is never kept whole: of it goes
//!    what `seed` removes, and where hashes are wanted what `strict` removes, because a hash tells
//!    something about content, too.
//! 2. `request_headers` captures headers by pattern. Without a match `RequestHeaders` is `null`.
//!    Headers that carry credentials, which are those of a list and whatever is named like them,
//!    are captured by `*` and by prefixes with `[REDACTED]` for their value: that one was sent is
//!    worth knowing, its value is not worth keeping in a topic. Only a pattern that is the header's
//!    very name publishes the value.
//! 3. `plugin_span_filter` removes spans of plugins and hangs their children on the nearest
//!    ancestor that stays. Where there is none, or the removed spans form a ring, children become
//!    roots; no span becomes its own parent. If the root span itself is removed, the first span left
//!    without a parent is the new root span, or else the first that hung below the old one, and
//!    `RootSpan` is `null` if there is no such span. A span whose `SpanID` another one has that
//!    stays, or that has none, is nobody's parent.
//!
//! Nothing here fails, and the work grows with the size of the trace alone.

use std::borrow::Cow;
use std::collections::HashMap;

use super::config::{BifrostConfig, ContentLogging, FilterMode, PluginSpanFilter};
use super::json::{Object, Value};
use super::model::{Span, Trace};

mod content;

/// The value that a captured credential gets.
pub const REDACTED: &str = "[REDACTED]";

/// Headers that carry credentials or sessions. Sorted.
const SENSITIVE_HEADERS: [&str; 19] = [
    "api-key",
    "authorization",
    "cookie",
    "ocp-apim-subscription-key",
    "private-token",
    "set-cookie",
    "set-cookie2",
    "x-amz-security-token",
    "x-amzn-oidc-accesstoken",
    "x-amzn-oidc-data",
    "x-amzn-oidc-identity",
    "x-auth-token",
    "x-bf-vk",
    "x-csrf-token",
    "x-forwarded-client-cert",
    "x-ms-client-principal",
    "x-session-token",
    "x-vault-token",
    "x-xsrf-token",
];

/// How further names of such headers end, gateways' own among them.
const SENSITIVE_ENDINGS: [&str; 7] = [
    "-access-token",
    "-api-key",
    "-authorization",
    "-id-token",
    "-jwt-assertion",
    "-password",
    "-secret",
];

/// The filters of one configuration, ready to apply to any number of traces.
#[derive(Debug, Clone)]
pub struct Filter {
    content: ContentLogging,
    headers: Vec<HeaderPattern>,
    plugins: Option<PluginSpanFilter>,
}

impl Filter {
    /// The filters that `config` asks for.
    pub fn new(config: &BifrostConfig) -> Self {
        Self {
            content: config.content_logging,
            headers: config.request_headers.iter().filter_map(|p| HeaderPattern::new(p)).collect(),
            plugins: config.plugin_span_filter.clone(),
        }
    }

    /// Takes out of `trace` what must not be published.
    pub fn apply(&self, trace: &mut Trace<'_>) {
        trace.find_root();
        // Asked before the plugin filter runs, which may remove the span that says so.
        let content = match self.content {
            ContentLogging::Keep if forbids_content(trace) => ContentLogging::Seed,
            ContentLogging::Hash if forbids_content(trace) => ContentLogging::Strict,
            content => content,
        };
        content::take_out(trace, content);
        trace.request_headers = trace.request_headers.take().and_then(|h| self.capture(h));
        if let Some(plugins) = &self.plugins {
            remove_plugin_spans(trace, plugins);
        }
    }

    fn capture<'a>(&self, headers: Object<'a>) -> Option<Object<'a>> {
        let captured = headers.into_members().into_iter().filter_map(|(name, value)| {
            let name = lower_case(name);
            let asking = || self.headers.iter().filter(|pattern| pattern.matches(&name));
            let is_redacted = is_sensitive(&name) && !asking().any(HeaderPattern::is_exact);
            let is_wanted = asking().next().is_some();
            is_wanted.then(|| (name, if is_redacted { Value::from(REDACTED) } else { value }))
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

    const fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }
}

/// Whether a header of that name, in lower case, carries a credential. Servers that read
/// `X_Api_Key` as `X-Api-Key` are common.
fn is_sensitive(name: &str) -> bool {
    let name = name.replace('_', "-");
    SENSITIVE_HEADERS.binary_search(&&*name).is_ok()
        || SENSITIVE_ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn lower_case(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.chars().all(|c| c.is_ascii() && !c.is_ascii_uppercase()) {
        name
    } else {
        Cow::Owned(name.to_lowercase())
    }
}

/// Virtual keys and teams can switch content off for their requests; Bifrost then marks the root.
/// A second copy of the root among the spans is not written, but heard.
fn forbids_content(trace: &Trace<'_>) -> bool {
    let root = trace.root_span.as_ref();
    let copies =
        trace.spans.iter().filter(|span| root.is_some_and(|root| root.span_id == span.span_id));
    let of_spans = root.into_iter().chain(copies).filter_map(|span| span.attributes.as_ref());
    trace.attributes.iter().chain(of_spans).any(|attributes| {
        attributes
            .iter()
            .any(|(name, value)| name == "bifrost.content_logging.disabled" && is_true(value))
    })
}

/// Whether this is true, or says so as Go's `strconv.ParseBool` reads it.
fn is_true(value: &Value<'_>) -> bool {
    let json = value.as_json();
    let text = serde_json::from_str::<String>(json);
    matches!(text.as_deref().unwrap_or(json).trim(), "true" | "TRUE" | "True" | "t" | "T" | "1")
}

fn remove_plugin_spans(trace: &mut Trace<'_>, filter: &PluginSpanFilter) {
    let mut removed = Removed::default();
    let old_root = trace.root_span.take_if(|root| !keeps(filter, root));
    let old_root_id = old_root.as_ref().map(|root| root.span_id.clone());
    if let Some(id) = old_root_id.as_ref().filter(|id| !id.is_empty()) {
        // Copies of a root span are not written, even if they differ and the root goes.
        trace.spans.retain(|span| span.span_id != *id);
    }
    for span in old_root.into_iter().chain(trace.spans.extract_if(.., |span| !keeps(filter, span)))
    {
        removed.add(span);
    }
    for span in trace.spans_in_order() {
        removed.0.remove(&span.span_id);
    }
    for span in trace.root_span.iter_mut().chain(&mut trace.spans) {
        if let Some(ancestor) = removed.nearest_kept(&span.parent_id) {
            span.parent_id = if ancestor == span.span_id { Cow::Borrowed("") } else { ancestor };
        }
    }
    trace.find_root();
    if let (None, Some(id)) = (&trace.root_span, old_root_id)
        && let Some(above) = removed.nearest_kept(&id)
        && let Some(at) = trace.spans.iter().position(|span| span.parent_id == above)
    {
        trace.root_span = Some(trace.spans.remove(at));
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
        // The parent of a root is no span without an id, though both are spelled alike.
        if !span.span_id.is_empty() {
            self.0.insert(span.span_id, span.parent_id);
        }
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
        apply(&BifrostConfig { content_logging: ContentLogging::Seed, ..config() }, &mut trace);
        assert_stripped(&trace);
    }

    #[test]
    fn a_root_that_forbids_content_is_obeyed_even_if_it_is_removed() {
        for value in [Value::from(true), Value::from("true"), Value::from("T"), Value::from(1_i64)]
        {
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

    /// What the filter leaves of a trace with one attribute of `seed` and one of `strict`.
    fn left(content_logging: ContentLogging, json: &str) -> String {
        let content = r#""Attributes":{"gen_ai.input.text":"a","gen_ai.request.prompt":"b"}"#;
        let json = json.replace("CONTENT", content);
        let mut trace = serde_json::from_str::<Trace<'_>>(&json).unwrap();
        apply(&BifrostConfig { content_logging, ..config() }, &mut trace);
        let span = trace.spans_in_order().last().unwrap();
        let values = span
            .attributes
            .iter()
            .flat_map(Object::iter)
            .map(|(_, value)| value.as_json().get(..8).unwrap_or(value.as_json()).to_owned());
        values.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_mark_that_forbids_content_is_heard_in_every_mode() {
        const MARK: &str = r#""Attributes":{"bifrost.content_logging.disabled":true}"#;
        let unmarked = r#"{"TraceID":"t","RootSpan":{"SpanID":"r"},
            "Spans":[{"SpanID":"a","ParentID":"r",CONTENT}]}"#;
        let on_trace = unmarked.replacen("{", &format!("{{{MARK},"), 1);
        let on_root = unmarked.replace(r#"{"SpanID":"r""#, &format!(r#"{{"SpanID":"r",{MARK}"#));
        let copy = format!(r#""Spans":[{{"SpanID":"r",{MARK}}},"#);
        let on_copy = unmarked.replace(r#""Spans":["#, &copy);
        let said_no = on_root.replace("true", "false");
        for (content, unforbidden, forbidden) in [
            (ContentLogging::Keep, r#""a" "b""#, r#""b""#),
            (ContentLogging::Seed, r#""b""#, r#""b""#),
            (ContentLogging::Strict, "", ""),
            (ContentLogging::Hash, r#""sha256: "sha256:"#, ""),
        ] {
            assert_eq!(left(content, unmarked), unforbidden);
            assert_eq!(left(content, &said_no), unforbidden);
            for json in [&on_trace, &on_root, &on_copy] {
                assert_eq!(left(content, json), forbidden, "{content:?} {json}");
            }
        }
    }

    #[test]
    fn an_escaped_name_is_stripped_too() {
        let json = r#"{"TraceID":"t","RootSpan":{"SpanID":"a",
            "Attributes":{"gen\u005fai.input.messages":"hello"}}}"#;
        let mut trace = serde_json::from_str::<Trace<'_>>(json).unwrap();
        apply(&BifrostConfig { content_logging: ContentLogging::Seed, ..config() }, &mut trace);
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
    fn a_credential_that_a_wildcard_or_prefix_captures_has_no_value() {
        for patterns in [&["auth*"][..], &["authorization*"], &[" Authorization* "]] {
            assert_eq!(captured(patterns), pairs(&[("authorization", REDACTED)]), "{patterns:?}");
        }
        let all = captured(&["*"]).unwrap();
        assert_eq!(all[3..], pairs(&[("authorization", REDACTED), ("x-bf-vk", REDACTED)]).unwrap());
    }

    #[test]
    fn only_a_credentials_own_name_publishes_its_value() {
        let published = pairs(&[("authorization", "Bearer sk-1")]);
        assert_eq!(captured(&[" Authorization "]), published);
        assert_eq!(captured(&["auth*", "AUTHORIZATION"]), published);
        let all = captured(&["*", "x-bf-vk"]).unwrap();
        let expected = [("authorization", REDACTED), ("x-bf-vk", "vk-1")];
        assert_eq!(all[3..], pairs(&expected).unwrap());
    }

    #[test]
    fn credentials_are_known_by_their_names() {
        for name in [
            "authorization",
            "proxy-authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "api-key",
            "x-bf-vk",
            "cf-access-jwt-assertion",
            "x-amzn-oidc-data",
            "x-goog-api-key",
            "x-amz-security-token",
            "x_api_key",
            "x-acme-api-key",
            "x-acme-secret",
        ] {
            assert!(is_sensitive(name), "{name}");
        }
        for name in ["x-tenant-id", "x-custom-a", "x-request-id", "traceparent", "user-agent"] {
            assert!(!is_sensitive(name), "{name}");
        }
    }

    #[test]
    fn sensitive_names_are_spelled_as_headers_are_compared() {
        assert!(SENSITIVE_HEADERS.is_sorted());
        for name in SENSITIVE_HEADERS.iter().chain(&SENSITIVE_ENDINGS) {
            assert!(*name == name.to_lowercase() && !name.contains('_'), "{name}");
        }
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
    fn no_span_becomes_its_own_parent() {
        let spans = vec![span("a", "b", "chat"), span("b", "a", "plugin.x.1")];
        assert_eq!(edges(&excluding(&["x"]), spans), pairs(&[("a", "")]).unwrap());
        // A ring of spans that stay is the sender's, and no concern of the filter.
        let ring = || vec![span("a", "b", "chat"), span("b", "a", "chat")];
        let expected = pairs(&[("a", "b"), ("b", "a")]).unwrap();
        assert_eq!(edges(&excluding(&["x"]), ring()), expected);
    }

    #[test]
    fn a_removed_span_without_an_id_or_with_anothers_is_nobodys_parent() {
        let spans = vec![
            span("", "a", "plugin.x.1"),
            span("a", "root", "plugin.x.2"),
            span("a", "", "chat"),
            span("b", "a", "chat"),
            span("c", "", "chat"),
            span("root", "elsewhere", "plugin.x.3"),
            span("d", "root", "chat"),
        ];
        let expected = [("a", ""), ("b", "a"), ("c", ""), ("d", "root")];
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
    fn a_removed_root_below_the_callers_span_gives_way_to_its_first_child() {
        let mut trace = Trace::new("t");
        trace.root_span = Some(span("r", "caller", "plugin.x.1"));
        trace.spans = vec![
            span("o", "other", "chat"),
            span("p", "r", "plugin.x.2"),
            span("b", "p", "chat"),
            span("c", "b", "chat"),
        ];
        apply(&excluding(&["x"]), &mut trace);
        let edges = trace.spans_in_order().map(|span| (&*span.span_id, &*span.parent_id));
        assert!(edges.eq([("b", "caller"), ("o", "other"), ("c", "b")]));
        assert_eq!(trace.root_span.as_ref().unwrap().span_id, "b");
    }

    #[test]
    fn a_root_among_the_spans_is_found_marked_and_removed() {
        let mut trace = Trace::new("t");
        let mut root = span("r", "", "plugin.x.1");
        root.attributes = Some(Object::new());
        root.attributes.as_mut().unwrap().push("bifrost.content_logging.disabled", true);
        let mut child = span("a", "r", "chat");
        child.attributes = attributes();
        trace.spans = vec![child, root];
        apply(&excluding(&["x"]), &mut trace);
        let root = trace.root_span.unwrap();
        assert_eq!((&*root.span_id, &*root.parent_id), ("a", ""));
        assert_eq!(names(&root.attributes), KEPT);
    }

    #[test]
    fn a_copy_of_a_removed_root_goes_with_it() {
        let mut trace = Trace::new("t");
        trace.root_span = Some(span("r", "", "plugin.x.1"));
        trace.spans = vec![span("r", "", "chat"), span("a", "r", "chat")];
        apply(&excluding(&["x"]), &mut trace);
        assert!(trace.spans_in_order().map(|span| &*span.span_id).eq(["a"]));
    }

    #[test]
    fn a_trace_of_nothing_but_removed_spans_is_empty() {
        let mut trace = Trace::new("t");
        trace.root_span = Some(span("r", "r", "plugin.x.1"));
        trace.spans = vec![span("r", "a", "plugin.x.1"), span("a", "r", "plugin.x.2")];
        apply(&excluding(&["x"]), &mut trace);
        assert_eq!((trace.root_span, trace.spans.len()), (None, 0));
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
