//! The messages of OTLP, as tables.
//!
//! Decides what each field is called, how it is numbered and what it holds. Validation, JSON out and
//! JSON in are walks along these tables, and no message has a Rust type. What a walk does with a
//! field is left to it.
//!
//! Fields stand in the order in which the Collector writes them as JSON, which is that of the
//! `.proto` files but for an exemplar's ids; on the protobuf side fields are written by number, as generated encoders do.
//! Profiles are left out: their schema is still in development.
//!
//! Schema: <https://github.com/open-telemetry/opentelemetry-proto/tree/v1.10.0/opentelemetry/proto>.

/// Declares messages: a name, a role, and one line for each field.
macro_rules! messages {
    ($($(#[$doc:meta])* $id:ident = $name:literal $role:ident {
        $($number:literal $field:literal $json:literal $label:ident $kind:expr;)*
    })*) => { $(
        $(#[$doc])*
        pub(crate) static $id: Message = {
            static FIELDS: &[Field] = &[$(Field {
                number: $number,
                name: $field,
                json: $json,
                kind: $kind,
                label: Label::$label,
            }),*];
            Message::new($name, Role::$role, FIELDS)
        };
    )* };
}

use std::fmt;

mod common;
mod logs;
mod metrics;
mod trace;

/// Fields that a message has at most.
pub(crate) const FIELDS_MAX: usize = 16;

/// One more than the highest field number.
pub(crate) const NUMBERS: usize = 17;

/// Bytes of a trace id.
pub(crate) const TRACE_ID: usize = 16;

/// Bytes of a span id.
pub(crate) const SPAN_ID: usize = 8;

/// The three kinds of telemetry, each with an export request of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// `ExportTraceServiceRequest`, whose items are spans.
    Traces,
    /// `ExportMetricsServiceRequest`, whose items are data points.
    Metrics,
    /// `ExportLogsServiceRequest`, whose items are log records.
    Logs,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// Its name as OpenTelemetry's configurations have it: `traces`, `metrics`, `logs`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }

    /// The message a sender exports with. `TracesData` and its like have the same fields.
    pub(crate) const fn request(self) -> &'static Message {
        match self {
            Self::Traces => &trace::EXPORT_TRACE_SERVICE_REQUEST,
            Self::Metrics => &metrics::EXPORT_METRICS_SERVICE_REQUEST,
            Self::Logs => &logs::EXPORT_LOGS_SERVICE_REQUEST,
        }
    }

    /// The message it is answered with.
    pub(crate) const fn response(self) -> &'static Message {
        match self {
            Self::Traces => &trace::EXPORT_TRACE_SERVICE_RESPONSE,
            Self::Metrics => &metrics::EXPORT_METRICS_SERVICE_RESPONSE,
            Self::Logs => &logs::EXPORT_LOGS_SERVICE_RESPONSE,
        }
    }
}

/// One message and its fields.
pub(crate) struct Message {
    /// Its name in the `.proto` file, without the package.
    pub name: &'static str,
    /// Its part in a request.
    pub role: Role,
    /// Its fields in the order of JSON. At most [`FIELDS_MAX`].
    pub fields: &'static [Field],
    /// For each field number its place in `fields`, or `NONE`.
    places: [u8; NUMBERS],
    /// The lowest number in the message's `oneof`.
    oneof: u32,
    /// What a field is to be checked for, by its first byte.
    looks: [Look; 256],
    /// The message that a field holds, by its number.
    inner: [Option<&'static Self>; NUMBERS_SHORT],
}

/// Its name alone: messages refer to each other in circles.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const NONE: u8 = u8::MAX;

/// One more than the highest field number whose tag is one byte.
const NUMBERS_SHORT: usize = 16;

impl Message {
    #[expect(clippy::cast_possible_truncation, reason = "there are at most sixteen fields")]
    const fn new(name: &'static str, role: Role, fields: &'static [Field]) -> Self {
        assert!(fields.len() <= FIELDS_MAX);
        let mut places = [NONE; NUMBERS];
        let mut looks = [Look::Closer; 256];
        let mut inner = [None; NUMBERS_SHORT];
        let mut oneof = u32::MAX;
        let mut place = 0;
        while place < fields.len() {
            let number = fields[place].number as usize;
            assert!(number != 0 && places[number] == NONE, "a field number given twice");
            places[number] = place as u8;
            if matches!(fields[place].label, Label::Oneof) && fields[place].number < oneof {
                oneof = fields[place].number;
            }
            if number < NUMBERS_SHORT {
                let kind = fields[place].kind;
                looks[number << 3 | kind.wire().number() as usize] = Look::at(&fields[place]);
                inner[number] = if let Kind::Message(inner) = kind { Some(inner) } else { None };
            }
            place += 1;
        }
        Self { name, role, fields, places, oneof, looks, inner }
    }

    /// What a field that begins with this byte is to be checked for.
    #[inline]
    pub(crate) const fn look(&self, tag: u8) -> Look {
        self.looks[tag as usize]
    }

    /// The message that a field that begins with this byte holds, if it is [`Look::Message`] or
    /// [`Look::Pair`].
    #[inline]
    pub(crate) fn inner(&self, tag: u8) -> Option<&'static Self> {
        *self.inner.get(usize::from(tag >> 3))?
    }

    /// Where in `fields` the field with that number is, if the schema knows it.
    pub(crate) fn place(&self, number: u32) -> Option<usize> {
        let place = *self.places.get(number as usize)?;
        (place != NONE).then_some(place as usize)
    }

    /// Whether it is the container of a resource and its items.
    pub(crate) fn is_resource(&self) -> bool {
        self.role == Role::Path && self.name.starts_with("Resource")
    }

    /// What fields are written by: their number, and for those of the `oneof` its lowest, as prost
    /// does. Two fields of one rank exclude each other.
    pub(crate) fn rank(&self, field: &Field) -> usize {
        let number = if field.label == Label::Oneof { self.oneof } else { field.number };
        number as usize
    }

    /// The field with that number, if the schema knows it.
    pub(crate) fn field(&self, number: u32) -> Option<&'static Field> {
        self.place(number).map(|place| &self.fields[place])
    }
}

/// What a message is to a request that is accepted in part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Lies between the request and its items.
    Path,
    /// A span, a data point or a log record: what is accepted, refused and counted as one.
    Item,
    /// Anything else. Holds no items.
    Part,
}

/// One field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its number on the wire.
    pub number: u32,
    /// Its name in the `.proto` file.
    pub name: &'static str,
    /// Its name in JSON.
    pub json: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// How often it is there.
    pub label: Label,
}

impl Field {
    /// Whether its elements are written in one run of bytes rather than one by one.
    pub(crate) fn is_packed(&self) -> bool {
        self.label == Label::Repeated && !matches!(self.kind.wire(), Wire::Length)
    }
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// `bool`.
    Bool,
    /// `int32`.
    Int32,
    /// `uint32`.
    Uint32,
    /// `sint32`, zigzag.
    Sint32,
    /// An enum: the names of its values, which count from zero.
    Enum(&'static [&'static str]),
    /// `int64`.
    Int64,
    /// `uint64`.
    Uint64,
    /// `fixed32`.
    Fixed32,
    /// `fixed64`.
    Fixed64,
    /// `sfixed64`.
    Sfixed64,
    /// `double`.
    Double,
    /// `string`.
    String,
    /// `bytes`, base64 in JSON.
    Bytes,
    /// `bytes` that are an id of so many bytes, or empty: hex in JSON.
    Id(usize),
    /// A message.
    Message(&'static Message),
}

impl Kind {
    /// How one such value is laid out on the wire.
    pub(crate) const fn wire(self) -> Wire {
        match self {
            Self::Bool | Self::Int32 | Self::Uint32 | Self::Sint32 => Wire::Varint,
            Self::Enum(_) | Self::Int64 | Self::Uint64 => Wire::Varint,
            Self::Fixed64 | Self::Sfixed64 | Self::Double => Wire::Fixed64,
            Self::Fixed32 => Wire::Fixed32,
            Self::String | Self::Bytes | Self::Id(_) | Self::Message(_) => Wire::Length,
        }
    }

    /// What a sender should have sent.
    pub(crate) const fn expected(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Int32 | Self::Sint32 => "a whole number of 32 bits",
            Self::Uint32 | Self::Fixed32 => "a whole number from 0 to 4294967295",
            Self::Enum(_) => "the name or number of an enum's value",
            Self::Int64 | Self::Sfixed64 => "a whole number of 64 bits",
            Self::Uint64 | Self::Fixed64 => "a whole number from 0 to 18446744073709551615",
            Self::Double => "a number, \"NaN\", \"Infinity\" or \"-Infinity\"",
            Self::String => "a string",
            Self::Bytes => "a string of base64",
            Self::Id(TRACE_ID) => "a trace id of 32 hex characters",
            Self::Id(_) => "a span id of 16 hex characters",
            Self::Message(_) => "an object",
        }
    }
}

/// What a field is to be checked for: a [`Kind`] as far as it matters to whether bytes are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is to be read as a field: its number is unknown, takes more than one byte, or comes with
    /// another wire type than its own.
    Closer,
    /// A number.
    Varint,
    /// So many bytes.
    Fixed(u8),
    /// Text.
    String,
    /// Any bytes.
    Bytes,
    /// An id of so many bytes.
    Id(u8),
    /// A `KeyValue`: a name and a value, of which there are more than of anything else.
    Pair,
    /// Any other message.
    Message,
}

impl Look {
    #[expect(clippy::cast_possible_truncation, reason = "ids have sixteen bytes at most")]
    const fn at(field: &Field) -> Self {
        match (field.kind, field.kind.wire()) {
            (_, Wire::Varint) => Self::Varint,
            (_, Wire::Fixed64) => Self::Fixed(8),
            (_, Wire::Fixed32) => Self::Fixed(4),
            (Kind::String, _) => Self::String,
            (Kind::Id(size), _) => Self::Id(size as u8),
            (Kind::Message(_), _) if is_attributes(field) => Self::Pair,
            (Kind::Message(_), _) => Self::Message,
            _ => Self::Bytes,
        }
    }
}

/// Told by the name: messages refer to each other in circles, so that tables cannot look into each
/// other while they are made.
const fn is_attributes(field: &Field) -> bool {
    matches!(field.name.as_bytes(), b"attributes")
}

/// The wire types that proto3 writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    /// Groups of seven bits.
    Varint,
    /// Eight bytes, little endian.
    Fixed64,
    /// A length, and so many bytes.
    Length,
    /// Four bytes, little endian.
    Fixed32,
}

impl Wire {
    /// Its number in a tag.
    pub(crate) const fn number(self) -> u32 {
        match self {
            Self::Varint => 0,
            Self::Fixed64 => 1,
            Self::Length => 2,
            Self::Fixed32 => 5,
        }
    }
}

/// How often a field is there, and whether a default is told from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// Once, and a default is as good as absent. Messages, whose presence always counts, too.
    Implicit,
    /// Once or not at all: a default is a value.
    Optional,
    /// One of the message's only `oneof`: a default is a value, and the last one given is it.
    Oneof,
    /// Any number of times, in order.
    Repeated,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every message below a signal's request and response.
    fn all() -> Vec<&'static Message> {
        let mut known = BTreeSet::new();
        let mut found = Vec::new();
        let mut next: Vec<_> =
            Signal::ALL.iter().flat_map(|s| [s.request(), s.response()]).collect();
        while let Some(message) = next.pop() {
            if known.insert(message.name) {
                found.push(message);
                next.extend(message.fields.iter().filter_map(|field| match field.kind {
                    Kind::Message(inner) => Some(inner),
                    _ => None,
                }));
            }
        }
        found
    }

    #[test]
    fn json_names_are_the_proto_names_in_camel_case() {
        for field in all().iter().flat_map(|message| message.fields) {
            let mut words = field.name.split('_');
            let mut camel = words.next().unwrap().to_owned();
            for word in words {
                camel.push_str(&word[..1].to_uppercase());
                camel.push_str(&word[1..]);
            }
            assert_eq!(field.json, camel);
        }
    }

    #[test]
    fn only_what_leads_to_items_is_a_path() {
        fn reaches_items(message: &'static Message) -> bool {
            message.fields.iter().any(|field| match field.kind {
                Kind::Message(inner) if inner.role == Role::Item => true,
                // The only cycle is that of attribute values, which hold no items.
                Kind::Message(inner) => inner.name != "AnyValue" && reaches_items(inner),
                _ => false,
            })
        }
        for message in all().into_iter().filter(|message| message.name != "AnyValue") {
            assert_eq!(message.role == Role::Path, reaches_items(message), "{}", message.name);
        }
    }

    #[test]
    fn items_are_elements_of_lists() {
        for field in all().iter().flat_map(|message| message.fields) {
            if let Kind::Message(Message { role: Role::Item, .. }) = field.kind {
                assert_eq!(field.label, Label::Repeated, "{}", field.name);
            }
        }
    }

    #[test]
    fn fields_are_known_by_their_first_byte() {
        for message in all() {
            for field in message.fields.iter().filter(|field| field.number < 16) {
                for wire in 0..8 {
                    let tag = u8::try_from(field.number << 3 | wire).unwrap();
                    let is_right = wire == field.kind.wire().number();
                    assert_eq!(message.look(tag) != Look::Closer, is_right, "{}", field.name);
                }
                let tag = u8::try_from(field.number << 3 | field.kind.wire().number()).unwrap();
                if message.look(tag) == Look::Pair {
                    assert_eq!(message.inner(tag).unwrap().name, "KeyValue");
                }
                let inner = message.inner(tag).map(|inner| inner.name);
                let expected = match field.kind {
                    Kind::Message(inner) => Some(inner.name),
                    _ => None,
                };
                assert_eq!(inner, expected, "{}", field.name);
            }
            assert!((0x80..=u8::MAX).all(|tag| message.look(tag) == Look::Closer));
        }
    }

    #[test]
    fn fields_are_found_by_number_and_unknown_ones_are_not() {
        let span = all().into_iter().find(|message| message.name == "Span").unwrap();
        assert_eq!(span.field(16).unwrap().name, "flags");
        assert_eq!(span.field(1).unwrap().name, "trace_id");
        for number in [0, 17, u32::MAX] {
            assert!(span.field(number).is_none());
        }
    }
}
