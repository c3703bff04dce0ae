//! Shortening one item that is too large.
//!
//! Decides what of an item may be cut off: first strings and bytes in the values of attributes, at
//! whatever depth, and a log's body; when all of those are gone, texts beside them (a span's name,
//! messages, events' names, a metric's description). What identifies is never touched: ids, names
//! of attributes, a metric's name and unit. The largest are shortened first: all of them to one
//! common length, strings at the end of a character. The item then tells its original size in the
//! attribute [`MARKER`] (a metric in its metadata, since attributes of a data point name a series).
//!
//! The bytes of all that stays are copied as they are.

use super::level::{Level, PointKind};
use crate::exporter::otlp::protobuf::{
    Entry, close, open, put_head, put_tag, put_varint, well_formed,
};
use crate::exporter::otlp::schema::{Signal, Wire};

/// The attribute of a shortened item: the bytes it had.
pub(super) const MARKER: &str = "ottla.truncated";

/// Values within values that are looked into; deeper ones are kept whole.
const DEPTH_MAX: u32 = 64;

/// Where strings may be.
#[derive(Debug, Clone, Copy)]
enum Part {
    Span,
    Event,
    Link,
    Status,
    Log,
    Metric,
    Data(PointKind),
    Point(PointKind),
    Exemplar,
    KeyValue,
    AnyValue,
    Array,
    List,
}

/// What a field is to this module.
#[derive(Debug, Clone, Copy)]
enum Content {
    Message(Part),
    /// A string, and whether it is one of those cut first.
    Text {
        first: bool,
    },
    Blob,
}

impl Part {
    fn of(level: Level) -> Option<Self> {
        match level {
            Level::Item(Signal::Traces) => Some(Self::Span),
            Level::Item(Signal::Logs) => Some(Self::Log),
            Level::Item(Signal::Metrics) => Some(Self::Metric),
            _ => None,
        }
    }

    fn content(self, number: u32) -> Option<Content> {
        use Content::{Blob, Message, Text};
        Some(match (self, number) {
            (Self::Span, 5) | (Self::Event | Self::Status | Self::Metric, 2) => {
                Text { first: false }
            }
            (Self::Log, 3 | 12) => Text { first: false },
            (Self::Span, 9) | (Self::Event, 3) | (Self::Link, 4) => Message(Self::KeyValue),
            (Self::Span, 11) => Message(Self::Event),
            (Self::Span, 13) => Message(Self::Link),
            (Self::Span, 15) => Message(Self::Status),
            (Self::Log, 5) => Message(Self::AnyValue),
            (Self::Log, 6) | (Self::Metric, 12) | (Self::Exemplar, 7) => Message(Self::KeyValue),
            (Self::Metric, _) => Message(Self::Data(PointKind::of_field(number)?)),
            (Self::Data(kind), 1) => Message(Self::Point(kind)),
            (Self::Point(kind), _) => return Self::of_point(kind, number),
            (Self::KeyValue, 2) | (Self::Array, 1) => Message(Self::AnyValue),
            (Self::AnyValue, 1) => Text { first: true },
            (Self::AnyValue, 5) => Message(Self::Array),
            (Self::AnyValue, 6) => Message(Self::List),
            (Self::AnyValue, 7) => Blob,
            (Self::List, 1) => Message(Self::KeyValue),
            _ => return None,
        })
    }

    fn of_point(kind: PointKind, number: u32) -> Option<Content> {
        if Level::Point(kind).attributes_field() == Some(number) {
            return Some(Content::Message(Self::KeyValue));
        }
        let exemplars = match kind {
            PointKind::Gauge | PointKind::Sum => 5,
            PointKind::Histogram => 8,
            PointKind::ExponentialHistogram => 11,
            PointKind::Summary => return None,
        };
        (number == exemplars).then_some(Content::Message(Self::Exemplar))
    }
}

/// The item without at least `remove` bytes of its strings, and with the marker; `None` if its
/// strings are not that long.
pub(super) fn truncate(level: Level, item: &[u8], remove: usize) -> Option<Vec<u8>> {
    let part = Part::of(level)?;
    let mut lengths = Lengths::default();
    lengths.add(part, item, DEPTH_MAX);
    let caps = lengths.caps(remove)?;
    let mut out = Vec::with_capacity(item.len());
    caps.rewrite(part, item, DEPTH_MAX, &mut out);
    put_marker(&mut out, level, item.len());
    Some(out)
}

/// The bytes of all strings of an item that may be shortened.
pub(super) fn removable(level: Level, item: &[u8]) -> usize {
    let mut lengths = Lengths::default();
    if let Some(part) = Part::of(level) {
        lengths.add(part, item, DEPTH_MAX);
    }
    lengths.first.iter().chain(&lengths.last).sum()
}

/// The content of a field, if this module has a part in it.
fn content<'a>(part: Part, field: &Entry<'a>, depth_left: u32) -> Option<(Content, &'a [u8])> {
    let content = part.content(field.number)?;
    let deeper = matches!(content, Content::Message(_));
    let bytes = field.bytes_of(field.number)?;
    (!deeper || depth_left > 0).then_some((content, bytes))
}

/// The lengths of the strings of an item.
#[derive(Debug, Default)]
struct Lengths {
    first: Vec<usize>,
    last: Vec<usize>,
}

impl Lengths {
    fn add(&mut self, part: Part, message: &[u8], depth_left: u32) {
        for field in well_formed(message) {
            match content(part, &field, depth_left) {
                Some((Content::Message(part), bytes)) => self.add(part, bytes, depth_left - 1),
                Some((Content::Text { first: false }, bytes)) => self.last.push(bytes.len()),
                Some((_, bytes)) => self.first.push(bytes.len()),
                None => {}
            }
        }
    }

    fn caps(mut self, remove: usize) -> Option<Caps> {
        if let Some(first) = cap(&mut self.first, remove) {
            return Some(Caps { first, last: usize::MAX });
        }
        let rest = remove - self.first.iter().sum::<usize>();
        Some(Caps { first: 0, last: cap(&mut self.last, rest)? })
    }
}

/// The greatest length to which all can be shortened so that `remove` bytes go.
fn cap(lengths: &mut [usize], remove: usize) -> Option<usize> {
    lengths.sort_unstable_by(|a, b| b.cmp(a));
    let mut above = 0;
    for (index, length) in lengths.iter().enumerate() {
        above += length;
        let count = index + 1;
        let next = lengths.get(count).copied().unwrap_or(0);
        // Shortened to the next one's length, the `count` largest give this much.
        if above - next * count >= remove {
            return Some((above - remove) / count);
        }
    }
    (remove == 0).then_some(usize::MAX)
}

/// The lengths that strings may have.
#[derive(Debug, Clone, Copy)]
struct Caps {
    first: usize,
    last: usize,
}

impl Caps {
    fn rewrite(self, part: Part, message: &[u8], depth_left: u32, out: &mut Vec<u8>) {
        for field in well_formed(message) {
            let shortened = match content(part, &field, depth_left) {
                Some((Content::Message(part), bytes)) => {
                    let opened = open(out, field.number);
                    self.rewrite(part, bytes, depth_left - 1, out);
                    close(out, opened);
                    continue;
                }
                Some((Content::Text { first }, text)) => {
                    let cap = if first { self.first } else { self.last };
                    (text.len() > cap).then(|| start_of_text(text, cap))
                }
                Some((Content::Blob, blob)) => blob.get(..self.first),
                None => None,
            };
            match shortened {
                Some(bytes) => {
                    put_head(out, field.number, bytes.len());
                    out.extend(bytes);
                }
                None => out.extend(&message[field.start..field.end]),
            }
        }
    }
}

/// The first bytes of a text, at most `length`, that end where a character does.
pub(super) fn start_of_text(text: &[u8], length: usize) -> &[u8] {
    let mut end = length.min(text.len());
    while end > 0 && text.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    &text[..end]
}

fn put_marker(out: &mut Vec<u8>, level: Level, size: usize) {
    let number = match level {
        Level::Item(Signal::Metrics) => 12,
        _ => level.attributes_field().expect("items that are shortened have attributes"),
    };
    let attribute = open(out, number);
    put_head(out, 1, MARKER.len());
    out.extend(MARKER.as_bytes());
    let value = open(out, 2);
    put_tag(out, 3, Wire::Varint);
    put_varint(out, size as u64);
    close(out, value);
    close(out, attribute);
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
    use opentelemetry_proto::tonic::logs::v1::LogRecord;
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    use opentelemetry_proto::tonic::trace::v1::{Span, Status};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    const SPAN: Level = Level::Item(Signal::Traces);
    const LOG: Level = Level::Item(Signal::Logs);

    fn string(text: &str) -> Option<AnyValue> {
        Some(AnyValue { value: Some(Any::StringValue(text.into())) })
    }

    fn pair(key: &str, value: Option<AnyValue>) -> KeyValue {
        KeyValue { key: key.into(), value, ..Default::default() }
    }

    fn shortened(span: &Span, remove: usize) -> Span {
        let bytes = truncate(SPAN, &span.encode_to_vec(), remove).unwrap();
        let mut span = Span::decode(&bytes[..]).unwrap();
        assert_eq!(span.attributes.pop().unwrap().key, MARKER);
        span
    }

    #[test]
    fn the_largest_values_are_shortened_to_one_length() {
        let lengths = [30, 100, 60].map(|length| pair("k", string(&"x".repeat(length))));
        let span = Span { name: "n".repeat(90), attributes: lengths.to_vec(), ..Span::default() };
        let left = |remove| {
            let span = shortened(&span, remove);
            assert_eq!(span.name.len(), 90);
            let values =
                span.attributes.iter().map(|pair| pair.value.clone().unwrap().encoded_len());
            values.map(|length| length - 2).collect::<Vec<_>>()
        };
        assert_eq!(left(10), [30, 90, 60]);
        assert_eq!(left(41), [30, 59, 59]);
        assert_eq!(left(60), [30, 50, 50]);
        assert_eq!(left(190), [0, 0, 0]);
    }

    #[test]
    fn names_go_last_and_identity_never() {
        let event = Event { name: "e".repeat(50), ..Event::default() };
        let status = Status { message: "m".repeat(50), ..Status::default() };
        let span = Span {
            trace_id: vec![1; 16],
            name: "n".repeat(50),
            attributes: vec![pair(&"k".repeat(500), string("value"))],
            events: vec![event],
            status: Some(status),
            ..Span::default()
        };
        let cut = shortened(&span, 5 + 30);
        assert_eq!(cut.attributes, [pair(&"k".repeat(500), string(""))]);
        assert_eq!((cut.name.len(), cut.events[0].name.len()), (40, 40));
        assert_eq!(cut.trace_id, span.trace_id);
        assert!(truncate(SPAN, &span.encode_to_vec(), 5 + 150).is_some());
        assert!(truncate(SPAN, &span.encode_to_vec(), 5 + 151).is_none());
    }

    #[test]
    fn values_within_values_and_bodies_are_reached() {
        let list = KeyValueList { values: vec![pair("in", string(&"x".repeat(100)))] };
        let kvlist = AnyValue { value: Some(Any::KvlistValue(list)) };
        let bytes = AnyValue { value: Some(Any::BytesValue(vec![0xff; 100])) };
        let body = ArrayValue { values: vec![kvlist, bytes] };
        let log = LogRecord {
            body: Some(AnyValue { value: Some(Any::ArrayValue(body)) }),
            ..LogRecord::default()
        };
        assert_eq!(removable(LOG, &log.encode_to_vec()), 200);
        let cut = truncate(LOG, &log.encode_to_vec(), 180).unwrap();
        assert_eq!(removable(LOG, &cut), 20);
        assert_eq!(LogRecord::decode(&cut[..]).unwrap().attributes[0].key, MARKER);
    }

    #[test]
    fn what_is_unknown_is_kept() {
        let mut bytes = Span { name: "name".into(), ..Span::default() }.encode_to_vec();
        bytes.extend([0xfa, 0x3f, 0x02, 7, 7]);
        let cut = truncate(SPAN, &bytes, 2).unwrap();
        assert_eq!(cut[..9], [0x2a, 2, b'n', b'a', 0xfa, 0x3f, 0x02, 7, 7]);
    }

    proptest! {
        #[test]
        fn texts_end_where_a_character_does(text in "\\PC{0,40}", remove in 0_usize..40) {
            let span = Span { attributes: vec![pair("k", string(&text))], ..Span::default() };
            let bytes = span.encode_to_vec();
            match truncate(SPAN, &bytes, remove) {
                None => prop_assert!(remove > text.len()),
                Some(cut) => {
                    let cut = Span::decode(&cut[..]).unwrap();
                    let Some(Any::StringValue(left)) = cut.attributes[0].value.clone().unwrap().value
                    else { panic!("no string") };
                    prop_assert!(text.starts_with(&left));
                    prop_assert!(left.len() <= text.len() - remove);
                    prop_assert!(left.len() + 3 >= text.len() - remove);
                }
            }
        }

        #[test]
        fn any_bytes_are_shortened_or_not(
            bytes in prop::collection::vec(any::<u8>(), 0..200), remove in 0_usize..300,
        ) {
            for signal in [Signal::Traces, Signal::Logs, Signal::Metrics] {
                let _ = truncate(Level::Item(signal), &bytes, remove);
            }
        }
    }
}
