//! Protobuf bytes as JSON text.
//!
//! Decides how a message becomes an object: fields in the schema's order, defaults and what is
//! absent left out, unknown fields too. Protobuf's own rules hold for what came: fields in any
//! order, lists in pieces, the last of a scalar or of a `oneof`, messages given twice as one.
//!
//! Each message is read twice, once to find its fields and once to write them, and nothing is built
//! in between.

use super::text;
use crate::exporter::otlp::protobuf::{DEPTH_MAX, Fields, Value};
use crate::exporter::otlp::schema::{Field, Kind, Label, Message};

/// Writes a message as a JSON object. The bytes must have been validated; of others, what can be
/// read is written.
pub(crate) fn write_message(message: &'static Message, bytes: &[u8], out: &mut Vec<u8>) {
    Writer { out, found: Vec::new() }.object(message, &[bytes], 0);
}

struct Writer<'a, 'o> {
    out: &'o mut Vec<u8>,
    /// What was found of the fields of the messages that are being written, the outermost first.
    found: Vec<Found<'a>>,
}

/// What a message has of one field.
#[derive(Clone, Copy)]
struct Found<'a> {
    /// How often it stands there. Packed fields without elements do not count.
    count: usize,
    /// The part and the offset at which it stands first.
    from: (usize, usize),
    /// What stands there last.
    last: Value<'a>,
}

impl Found<'_> {
    const NOTHING: Self = Self { count: 0, from: (0, 0), last: Value::Varint(0) };
}

impl<'a> Writer<'a, '_> {
    /// Writes the message whose bytes are `parts`, one after the other.
    fn object(&mut self, message: &'static Message, parts: &[&'a [u8]], depth: usize) {
        // No message that was validated is so deep.
        if depth > DEPTH_MAX {
            self.out.extend_from_slice(b"{}");
            return;
        }
        let base = self.found.len();
        self.find(message, parts);
        let mut separator: &[u8] = b"{\"";
        for (place, field) in message.fields.iter().enumerate() {
            let found = self.found[base + place];
            if found.count == 0 || is_left_out(field, found.last) {
                continue;
            }
            self.out.extend_from_slice(separator);
            separator = b",\"";
            self.out.extend_from_slice(field.json.as_bytes());
            self.out.extend_from_slice(b"\":");
            match (field.label, field.kind, found.last) {
                (Label::Repeated, ..) => self.list(field, &found, parts, depth),
                (_, Kind::Message(inner), Value::Bytes(content)) => match found.count {
                    1 => self.object(inner, &[content], depth + 1),
                    _ => self.object(inner, &pieces(field, &found, parts), depth + 1),
                },
                (_, kind, value) => scalar(kind, value, self.out),
            }
        }
        self.out.extend_from_slice(if separator[0] == b'{' { b"{}" } else { b"}" });
        self.found.truncate(base);
    }

    /// Adds what the message has of each of its fields.
    fn find(&mut self, message: &Message, parts: &[&'a [u8]]) {
        let base = self.found.len();
        self.found.resize(base + message.fields.len(), Found::NOTHING);
        let all = &mut self.found[base..];
        let mut chosen = None;
        for (part, bytes) in parts.iter().enumerate() {
            let mut fields = Fields::new(bytes);
            while let Some(entry) = fields.next().ok().flatten() {
                let Some(place) = message.place(entry.number) else { continue };
                let field = &message.fields[place];
                if is_empty_run(field, entry.value) {
                    continue;
                }
                if field.label == Label::Oneof
                    && let Some(other) = chosen.replace(place)
                    && other != place
                {
                    all[other] = Found::NOTHING;
                }
                let found = &mut all[place];
                if found.count == 0 {
                    found.from = (part, entry.start);
                }
                found.count += 1;
                found.last = entry.value;
            }
        }
    }

    fn list(&mut self, field: &Field, found: &Found<'a>, parts: &[&'a [u8]], depth: usize) {
        self.out.push(b'[');
        for value in occurrences(field, found, parts) {
            match value {
                Value::Bytes(run) if field.is_packed() => {
                    let mut run = Fields::new(run);
                    while let Some(value) = run.next_packed(field.kind).ok().flatten() {
                        self.element(field, value, depth);
                    }
                }
                value => self.element(field, value, depth),
            }
        }
        self.out.push(b']');
    }

    fn element(&mut self, field: &Field, value: Value<'a>, depth: usize) {
        // No element ends so: it is the list's own bracket.
        if self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
        match (field.kind, value) {
            (Kind::Message(inner), Value::Bytes(content)) => {
                self.object(inner, &[content], depth + 1);
            }
            (kind, value) => scalar(kind, value, self.out),
        }
    }
}

fn is_left_out(field: &Field, last: Value<'_>) -> bool {
    field.label == Label::Implicit
        && match (field.kind, last) {
            (Kind::Message(_), _) => false,
            // Readers keep the low half of a varint, and some writers fill the high one.
            (Kind::Int32 | Kind::Uint32 | Kind::Sint32 | Kind::Enum(_), Value::Varint(value)) => {
                value & u64::from(u32::MAX) == 0
            }
            _ => last.is_default(),
        }
}

/// Whether these are packed numbers, and none of them.
fn is_empty_run(field: &Field, value: Value<'_>) -> bool {
    field.is_packed() && matches!(value, Value::Bytes([]))
}

/// Every value of a field, from where it was found first.
fn occurrences<'a, 'p>(
    field: &'p Field,
    found: &Found<'_>,
    parts: &'p [&'a [u8]],
) -> impl Iterator<Item = Value<'a>> + use<'a, 'p> {
    let number = field.number;
    let (part, offset) = found.from;
    let rest = parts[part..].iter().enumerate().flat_map(move |(index, bytes)| {
        let mut fields = Fields::from(bytes, if index == 0 { offset } else { 0 });
        std::iter::from_fn(move || fields.next().ok().flatten())
    });
    rest.filter(move |entry| entry.number == number)
        .map(|entry| entry.value)
        .filter(move |value| !is_empty_run(field, *value))
        .take(found.count)
}

/// The parts of a message that was given more than once.
fn pieces<'a>(field: &Field, found: &Found<'_>, parts: &[&'a [u8]]) -> Vec<&'a [u8]> {
    occurrences(field, found, parts)
        .filter_map(|value| match value {
            Value::Bytes(content) => Some(content),
            _ => None,
        })
        .collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the encoding is defined by these casts"
)]
fn scalar(kind: Kind, value: Value<'_>, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Bool, Value::Varint(value)) => {
            out.extend_from_slice(if value == 0 { b"false" } else { b"true" });
        }
        (Kind::Int32 | Kind::Enum(_), Value::Varint(value)) => {
            text::put_number(out, i64::from(value as i32));
        }
        (Kind::Uint32, Value::Varint(value)) => text::put_number(out, i64::from(value as u32)),
        (Kind::Sint32, Value::Varint(value)) => {
            let raw = value as u32;
            text::put_number(out, i64::from((raw >> 1) as i32 ^ -((raw & 1) as i32)));
        }
        (Kind::Fixed32, Value::Fixed32(value)) => text::put_number(out, i64::from(value)),
        (Kind::Int64, Value::Varint(value)) | (Kind::Sfixed64, Value::Fixed64(value)) => {
            text::put_long(out, value as i64);
        }
        (Kind::Uint64, Value::Varint(value)) | (Kind::Fixed64, Value::Fixed64(value)) => {
            text::put_long(out, value);
        }
        (Kind::Double, Value::Fixed64(bits)) => text::put_double(out, f64::from_bits(bits)),
        (Kind::Bytes, Value::Bytes(content)) => quoted(out, content, text::put_base64),
        (Kind::Id(_), Value::Bytes(content)) => quoted(out, content, text::put_hex),
        (_, Value::Bytes(content)) => text::put_string(out, content),
        // A wire type that validation refuses.
        _ => out.extend_from_slice(b"null"),
    }
}

fn quoted(out: &mut Vec<u8>, content: &[u8], put: impl FnOnce(&mut Vec<u8>, &[u8])) {
    out.push(b'"');
    put(out, content);
    out.push(b'"');
}
