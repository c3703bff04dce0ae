//! Traces and spans as Bifrost writes them.
//!
//! Decides which fields are known and what their values must be, and keeps everything else as it
//! came. What is left out or rewritten before publishing is the filter's, bytes are the encoder's.
//!
//! Reading follows Go's rules where Bifrost's own reader would, and loses nothing:
//!
//! * a known field given twice: the last wins; an unknown one or an attribute is kept twice;
//! * an absent or `null` string is empty and an absent or `null` time unset, as Go's zero values.
//!   Absent `Attributes`, `RequestHeaders`, `PluginLogs` and `Events` are `null`; `null` and empty
//!   ones stay what they are. A span without `TraceID` stays without;
//! * fields this version does not know follow the known ones, in their order;
//! * `RootSpan` is always the first of the written `Spans`. It wins over a span of the same
//!   `SpanID` in the input's `Spans`, which is not written a second time, wherever it stands. If
//!   there is no `RootSpan`, the first span whose `ParentID` is empty becomes it; if none is, it is
//!   `null`. `Spans` that are absent or `null` are empty.
//!
//! A trace borrows from the text that it was read from. Only serde_json over a string or a slice
//! can read one.
//!
//! Schema: `Trace` and `Span` of Bifrost's `core/schemas/trace.go`; times are
//! <https://www.rfc-editor.org/rfc/rfc3339>.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::json::{Object, Text, Value, clip, member, unexpected_string};

/// How many spans one trace may have. A record of the usual 1 MB holds a few thousand; the limit
/// keeps a body of `{},{},..` from growing a hundredfold in memory.
pub const SPANS_MAX: usize = 65_536;

/// How many events the spans of one trace may have together; for the same reason.
pub const EVENTS_MAX: usize = 65_536;

/// One finished request: the unit that becomes one Kafka record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace<'a> {
    /// `RequestID`: Bifrost's id of the request.
    pub request_id: Cow<'a, str>,
    /// `TraceID`, the record's key. Not empty. Requests under one W3C `traceparent` share it.
    pub trace_id: Cow<'a, str>,
    /// `ParentID`: the caller's span, or empty.
    pub parent_id: Cow<'a, str>,
    /// `StartTime`.
    pub start_time: Time<'a>,
    /// `EndTime`.
    pub end_time: Time<'a>,
    /// `Attributes`; `None` is written as `null`, here and below.
    pub attributes: Option<Object<'a>>,
    /// `RequestHeaders`: every header the gateway kept. The filter decides which are published.
    pub request_headers: Option<Object<'a>>,
    /// `PluginLogs`: an array of `{plugin_name, level, message, timestamp}`, or `null`.
    pub plugin_logs: Value<'a>,
    /// `RootSpan`: the inbound HTTP request. Written a second time as the first of `Spans`.
    pub root_span: Option<Span<'a>>,
    /// `Spans`. May hold the root span too; it is not written a third time.
    pub spans: Vec<Span<'a>>,
    /// Fields of newer Bifrosts, such as `InternalID`. Must not repeat those above.
    pub unknown: Object<'a>,
}

impl<'a> Trace<'a> {
    /// A trace with that `TraceID` and nothing else.
    pub fn new(trace_id: impl Into<Cow<'a, str>>) -> Self {
        Self {
            request_id: Cow::Borrowed(""),
            trace_id: trace_id.into(),
            parent_id: Cow::Borrowed(""),
            start_time: Time::UNSET,
            end_time: Time::UNSET,
            attributes: None,
            request_headers: None,
            plugin_logs: Value::NULL,
            root_span: None,
            spans: Vec::new(),
            unknown: Object::new(),
        }
    }

    /// Makes the first parentless span the root span if there is none.
    pub(super) fn find_root(&mut self) {
        if self.root_span.is_none()
            && let Some(at) = self.spans.iter().position(|span| span.parent_id.is_empty())
        {
            self.root_span = Some(self.spans.remove(at));
        }
    }

    /// The spans as they are written: each once, the root first.
    pub(super) fn spans_in_order(&self) -> impl Iterator<Item = &Span<'a>> {
        let root = self.root_span.as_ref();
        let others =
            self.spans.iter().filter(move |span| root.is_none_or(|r| r.span_id != span.span_id));
        root.into_iter().chain(others)
    }
}

/// One step of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span<'a> {
    /// `SpanID`: 16 hex characters.
    pub span_id: Cow<'a, str>,
    /// `ParentID`, or empty.
    pub parent_id: Cow<'a, str>,
    /// `TraceID`; not written when `None`.
    pub trace_id: Option<Cow<'a, str>>,
    /// `Name`, such as `plugin.telemetry.prehook` or `chat gpt-4o-mini`.
    pub name: Cow<'a, str>,
    /// `Kind`: `http.request`, `plugin`, `llm.call` and so on, or empty.
    pub kind: Cow<'a, str>,
    /// `StartTime`.
    pub start_time: Time<'a>,
    /// `EndTime`.
    pub end_time: Time<'a>,
    /// `Status`: `unset`, `ok` or `error`.
    pub status: Cow<'a, str>,
    /// `StatusMsg`.
    pub status_message: Cow<'a, str>,
    /// `Attributes`.
    pub attributes: Option<Object<'a>>,
    /// `Events`.
    pub events: Option<Vec<Event<'a>>>,
    /// Fields of newer Bifrosts, such as `Enrichment`. Must not repeat those above.
    pub unknown: Object<'a>,
}

impl<'a> Span<'a> {
    /// A span with that `SpanID` and nothing else; without a parent, it is a root.
    pub fn new(span_id: impl Into<Cow<'a, str>>) -> Self {
        Self {
            span_id: span_id.into(),
            parent_id: Cow::Borrowed(""),
            trace_id: None,
            name: Cow::Borrowed(""),
            kind: Cow::Borrowed(""),
            start_time: Time::UNSET,
            end_time: Time::UNSET,
            status: Cow::Borrowed(""),
            status_message: Cow::Borrowed(""),
            attributes: None,
            events: None,
            unknown: Object::new(),
        }
    }
}

/// Something that happened during a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// `Name`.
    pub name: Cow<'a, str>,
    /// `Timestamp`.
    pub timestamp: Time<'a>,
    /// `Attributes`.
    pub attributes: Option<Object<'a>>,
    /// Fields that this version does not know. Must not repeat those above.
    pub unknown: Object<'a>,
}

impl<'a> Event<'a> {
    /// An event of that name at an unset time.
    pub fn new(name: impl Into<Cow<'a, str>>) -> Self {
        Self { name: name.into(), timestamp: Time::UNSET, attributes: None, unknown: Object::new() }
    }
}

/// An RFC 3339 time with its offset and as many digits as it was given, such as
/// `2026-06-29T17:34:38.435383+05:30`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time<'a>(Cow<'a, str>);

impl<'a> Time<'a> {
    /// Go's zero time, which Bifrost writes where none was set.
    pub const UNSET: Time<'static> = Time(Cow::Borrowed("0001-01-01T00:00:00Z"));

    /// Checks `text` and keeps it as it is.
    ///
    /// # Errors
    ///
    /// `InvalidTime` unless it is RFC 3339 with `T`, `Z` in upper case and at most nine digits of
    /// a second, as Go reads it, and a day of the calendar.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Result<Self, InvalidTime> {
        let text = text.into();
        if has_rfc3339_shape(text.as_bytes()) && jiff::Timestamp::from_str(&text).is_ok() {
            Ok(Self(text))
        } else {
            Err(InvalidTime(clip(&text).into_owned()))
        }
    }

    /// The time as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// In UTC, with the digits that are needed.
impl TryFrom<SystemTime> for Time<'static> {
    type Error = InvalidTime;

    fn try_from(time: SystemTime) -> Result<Self, InvalidTime> {
        let time = jiff::Timestamp::try_from(time)
            .map_err(|_| InvalidTime("a year beyond 9999".to_owned()))?;
        Self::parse(time.to_string())
    }
}

/// A text that is no RFC 3339 time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an RFC 3339 time such as 2026-06-29T17:34:38.435383+05:30")]
pub struct InvalidTime(pub String);

/// Whether this is `dddd-dd-ddTdd:dd:dd[.d+](Z|+dd:dd|-dd:dd)`. The calendar library also takes
/// shorter forms, spaces and zone names, which other readers do not.
fn has_rfc3339_shape(text: &[u8]) -> bool {
    let Some((date_time, rest)) = text.split_at_checked("0001-01-01T00:00:00".len()) else {
        return false;
    };
    let fraction = match rest.split_first() {
        Some((b'.', digits)) => 1 + digits.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    fraction != 1
        && matches_shape(date_time, b"dddd-dd-ddTdd:dd:dd")
        && (&rest[fraction..] == b"Z"
            || matches_shape(&rest[fraction..], b"+dd:dd")
            || matches_shape(&rest[fraction..], b"-dd:dd"))
}

fn matches_shape(text: &[u8], shape: &[u8]) -> bool {
    text.len() == shape.len()
        && text.iter().zip(shape).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            literal => byte == literal,
        })
}

impl<'de> Deserialize<'de> for Time<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Option::<Text<'de>>::deserialize(deserializer)? {
            Some(Text(text)) => Time::parse(text).map_err(D::Error::custom),
            None => Ok(Time::UNSET),
        }
    }
}

impl<'de> Deserialize<'de> for Trace<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TraceVisitor)
    }
}

struct TraceVisitor;

impl<'de> Visitor<'de> for TraceVisitor {
    type Value = Trace<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a trace object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut trace = Trace::new("");
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "RequestID" => trace.request_id = text(&mut map, &name)?,
                "TraceID" => trace.trace_id = text(&mut map, &name)?,
                "ParentID" => trace.parent_id = text(&mut map, &name)?,
                "StartTime" => trace.start_time = member(&mut map, &name)?,
                "EndTime" => trace.end_time = member(&mut map, &name)?,
                "Attributes" => trace.attributes = member(&mut map, &name)?,
                "RequestHeaders" => trace.request_headers = member(&mut map, &name)?,
                "PluginLogs" => trace.plugin_logs = plugin_logs(&mut map)?,
                "RootSpan" => trace.root_span = member(&mut map, &name)?,
                "Spans" => trace.spans = map.next_value::<Spans<'de>>()?.0,
                _ => {
                    let value: Value<'de> = member(&mut map, &name)?;
                    trace.unknown.push(name, value);
                }
            }
        }
        if trace.trace_id.is_empty() {
            return Err(A::Error::custom("TraceID: missing or empty; it is the record's key"));
        }
        trace.find_root();
        Ok(trace)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(unexpected_string(&self))
    }
}

impl<'de> Deserialize<'de> for Span<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpanVisitor)
    }
}

struct SpanVisitor;

impl<'de> Visitor<'de> for SpanVisitor {
    type Value = Span<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a span object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut span = Span::new("");
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "SpanID" => span.span_id = text(&mut map, &name)?,
                "ParentID" => span.parent_id = text(&mut map, &name)?,
                "TraceID" => span.trace_id = Some(text(&mut map, &name)?),
                "Name" => span.name = text(&mut map, &name)?,
                "Kind" => span.kind = text(&mut map, &name)?,
                "StartTime" => span.start_time = member(&mut map, &name)?,
                "EndTime" => span.end_time = member(&mut map, &name)?,
                "Status" => span.status = text(&mut map, &name)?,
                "StatusMsg" => span.status_message = text(&mut map, &name)?,
                "Attributes" => span.attributes = member(&mut map, &name)?,
                "Events" => {
                    span.events = map.next_value::<Option<Events<'de>>>()?.map(|events| events.0);
                }
                _ => {
                    let value: Value<'de> = member(&mut map, &name)?;
                    span.unknown.push(name, value);
                }
            }
        }
        Ok(span)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(unexpected_string(&self))
    }
}

impl<'de> Deserialize<'de> for Event<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EventVisitor)
    }
}

struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = Event<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut event = Event::new("");
        while let Some(Text(name)) = map.next_key()? {
            match &*name {
                "Name" => event.name = text(&mut map, &name)?,
                "Timestamp" => event.timestamp = member(&mut map, &name)?,
                "Attributes" => event.attributes = member(&mut map, &name)?,
                _ => {
                    let value: Value<'de> = member(&mut map, &name)?;
                    event.unknown.push(name, value);
                }
            }
        }
        Ok(event)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(unexpected_string(&self))
    }
}

struct Spans<'a>(Vec<Span<'a>>);

impl<'de> Deserialize<'de> for Spans<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SpansVisitor)
    }
}

struct SpansVisitor;

impl<'de> Visitor<'de> for SpansVisitor {
    type Value = Spans<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spans to be an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let (mut spans, mut events) = (Vec::new(), 0);
        while let Some(span) = element::<_, Span<'de>>(&mut array, "Spans", spans.len())? {
            events += span.events.as_ref().map_or(0, Vec::len);
            spans.push(span);
            if spans.len() > SPANS_MAX {
                let error = format_args!("Spans: more than {SPANS_MAX} spans in one trace");
                return Err(A::Error::custom(error));
            }
            if events > EVENTS_MAX {
                return Err(too_many_events());
            }
        }
        Ok(Spans(spans))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Spans(Vec::new()))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(unexpected_string(&self))
    }
}

struct Events<'a>(Vec<Event<'a>>);

impl<'de> Deserialize<'de> for Events<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EventsVisitor)
    }
}

struct EventsVisitor;

impl<'de> Visitor<'de> for EventsVisitor {
    type Value = Events<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Events to be an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut events = Vec::new();
        while let Some(event) = element(&mut array, "Events", events.len())? {
            events.push(event);
            if events.len() > EVENTS_MAX {
                return Err(too_many_events());
            }
        }
        Ok(Events(events))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(unexpected_string(&self))
    }
}

fn too_many_events<E: Error>() -> E {
    E::custom(format_args!("Events: more than {EVENTS_MAX} events in one trace"))
}

fn element<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    array: &mut A,
    name: &str,
    index: usize,
) -> Result<Option<T>, A::Error> {
    array.next_element().map_err(|error| A::Error::custom(format_args!("{name}[{index}]: {error}")))
}

fn text<'de, A: MapAccess<'de>>(map: &mut A, name: &str) -> Result<Cow<'de, str>, A::Error> {
    member(map, name).map(|Text(text)| text)
}

fn plugin_logs<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Value<'de>, A::Error> {
    let logs: Value<'de> = member(map, "PluginLogs")?;
    if logs == Value::NULL || logs.as_json().starts_with('[') {
        Ok(logs)
    } else {
        Err(A::Error::custom("PluginLogs: expected an array or null"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn read(json: &str) -> Trace<'_> {
        serde_json::from_str(json).unwrap()
    }

    fn refused(json: &str) -> String {
        serde_json::from_str::<Trace<'_>>(json).unwrap_err().to_string()
    }

    fn ids<'a>(trace: &'a Trace<'_>) -> Vec<&'a str> {
        trace.spans_in_order().map(|span| &*span.span_id).collect()
    }

    #[test]
    fn absent_and_null_fields_are_the_zero_values_of_go() {
        for json in [
            r#"{"TraceID":"t"}"#,
            r#"{"TraceID":"t","RequestID":null,"ParentID":null,"StartTime":null,"EndTime":null,
                "Attributes":null,"RequestHeaders":null,"PluginLogs":null,"RootSpan":null,
                "Spans":null}"#,
        ] {
            assert_eq!(read(json), Trace::new("t"));
        }
    }

    #[test]
    fn null_and_empty_are_told_apart() {
        let trace = read(r#"{"TraceID":"t","Attributes":{},"RequestHeaders":{},"PluginLogs":[]}"#);
        assert_eq!(trace.attributes, Some(Object::new()));
        assert_eq!(trace.request_headers, Some(Object::new()));
        assert_eq!(trace.plugin_logs.as_json(), "[]");
    }

    #[test]
    fn the_last_of_a_known_field_wins_and_unknown_ones_stay() {
        let trace = read(r#"{"X":1,"TraceID":"a","X":2,"TraceID":"b","Y":{"Z":1e400}}"#);
        assert_eq!(trace.trace_id, "b");
        let unknown = trace.unknown.iter().map(|(n, v)| (n, v.as_json())).collect::<Vec<_>>();
        assert_eq!(unknown, [("X", "1"), ("X", "2"), ("Y", r#"{"Z":1e400}"#)]);
    }

    #[test]
    fn the_root_is_first_and_once_wherever_it_stands() {
        let root = r#""TraceID":"t","RootSpan":{"SpanID":"r","Name":"mine"}"#;
        for spans in [
            r#"[{"SpanID":"a","ParentID":"r"}]"#,
            r#"[{"SpanID":"r"},{"SpanID":"a","ParentID":"r"}]"#,
            r#"[{"SpanID":"a","ParentID":"r"},{"SpanID":"r","Name":"other"}]"#,
        ] {
            let json = format!(r#"{{{root},"Spans":{spans}}}"#);
            let trace = read(&json);
            assert_eq!(ids(&trace), ["r", "a"]);
            assert_eq!(trace.spans_in_order().next().unwrap().name, "mine");
        }
    }

    #[test]
    fn a_missing_root_is_the_first_span_without_a_parent() {
        let trace = read(
            r#"{"TraceID":"t","Spans":[{"SpanID":"a","ParentID":"r"},{"SpanID":"r"},
                {"SpanID":"s"}]}"#,
        );
        assert_eq!(trace.root_span.as_ref().unwrap().span_id, "r");
        assert_eq!(ids(&trace), ["r", "a", "s"]);

        let trace = read(r#"{"TraceID":"t","Spans":[{"SpanID":"a","ParentID":"r"}]}"#);
        assert_eq!(trace.root_span, None);
        assert_eq!(ids(&trace), ["a"]);
    }

    #[test]
    fn a_root_alone_is_also_the_only_span() {
        assert_eq!(ids(&read(r#"{"TraceID":"t","RootSpan":{"SpanID":"r"}}"#)), ["r"]);
    }

    #[test]
    fn errors_name_the_field_and_the_place() {
        for (json, error) in [
            ("{}", "TraceID: missing or empty; it is the record's key at line 1 column 2"),
            (
                r#"{"TraceID":null}"#,
                "TraceID: missing or empty; it is the record's key at line 1 column 16",
            ),
            (
                r#"{"TraceID":7}"#,
                "TraceID: invalid type: integer `7`, expected a string at line 1 column 12",
            ),
            (
                r#"{"Spans":[{},{"StartTime":"yesterday"}]}"#,
                "Spans[1]: StartTime: \"yesterday\" is not an RFC 3339 time such as \
                 2026-06-29T17:34:38.435383+05:30 at line 1 column 38",
            ),
            (
                r#"{"Spans":[{"Events":[{"Attributes":"my prompt"}]}]}"#,
                "Spans[0]: Events[0]: Attributes: invalid type: a string, expected an object \
                 at line 1 column 46",
            ),
            (
                r#"{"Spans":"my prompt"}"#,
                "invalid type: a string, expected Spans to be an array at line 1 column 20",
            ),
            (
                r#"{"Spans":[null]}"#,
                "Spans[0]: invalid type: null, expected a span object at line 1 column 14",
            ),
            (r#"{"PluginLogs":{}}"#, "PluginLogs: expected an array or null at line 1 column 17"),
            (
                r#""my prompt""#,
                "invalid type: a string, expected a trace object at line 1 column 11",
            ),
        ] {
            assert_eq!(refused(json), error, "{json}");
        }
    }

    #[test]
    fn a_crowd_of_spans_or_events_is_refused_early() {
        let spans = format!(r#"{{"Spans":[{}{{}}]}}"#, "{},".repeat(SPANS_MAX));
        assert!(refused(&spans).starts_with("Spans: more than 65536 spans in one trace"));
        let events = format!(r#"{{"Spans":[{{"Events":[{}{{}}]}}]}}"#, "{},".repeat(EVENTS_MAX));
        assert!(refused(&events).contains("Events: more than 65536 events in one trace"));
        let half = format!(r#"{{"Events":[{}{{}}]}}"#, "{},".repeat(EVENTS_MAX / 2));
        let spread = format!(r#"{{"Spans":[{half},{half}]}}"#);
        assert!(refused(&spread).starts_with("Events: more than 65536 events in one trace"));
    }

    #[test]
    fn times_are_rfc_3339_and_stay_as_written() {
        for text in [
            "0001-01-01T00:00:00Z",
            "2026-06-29T17:34:38.435383+05:30",
            "2024-02-29T23:59:59.123456789-00:00",
            "2026-06-29T17:34:38.10Z",
        ] {
            assert_eq!(Time::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            "2026-06-29",
            "2026-06-29T17:34:38",
            "2026-06-29 17:34:38Z",
            "2026-06-29t17:34:38z",
            "2026-06-29T17:34:38.Z",
            "2026-06-29T17:34Z",
            "2026-02-29T17:34:38Z",
            "2026-06-29T24:34:38Z",
            "2026-06-29T17:34:38+05:30[Asia/Kolkata]",
            "2026-06-29T17:34:38\u{e9}",
            "é026-06-29T17:34:38Z",
        ] {
            assert_eq!(Time::parse(text), Err(InvalidTime(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_time_of_the_system_is_written_in_utc() {
        let time = Time::try_from(UNIX_EPOCH + Duration::from_millis(1_500)).unwrap();
        assert_eq!(time.as_str(), "1970-01-01T00:00:01.5Z");
    }
}
