//! JSON text as protobuf bytes.
//!
//! Decides what is read as which field, and what is refused. The text is read once, front to back;
//! its values go straight into the protobuf bytes, and lengths are filled in when a message ends.
//!
//! * Unknown keys are passed over, whatever they hold. `null` is as good as not there; in a list of
//!   messages it is an empty one.
//! * An id that is none, a key given twice and a `null` in a list of numbers refuse the span, data
//!   point or log record that they are in: its bytes are taken back. Outside of one, they refuse the
//!   request.
//! * Any other wrong value refuses the request, by path, line and column.

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::exporter::otlp::fault::{Fault, Place, Reason, Refused};
use crate::exporter::otlp::protobuf::{self, DEPTH_MAX, Value};
use crate::exporter::otlp::schema::{Field, Kind, Label, Message, Role, Signal};

mod order;
use order::Order;

mod scalar;
use scalar::ScalarSeed;

/// Reads a request.
///
/// # Errors
///
/// The fault that refuses the request as a whole.
pub fn to_protobuf(signal: Signal, json: &[u8]) -> Result<Read, Fault> {
    let mut reader = Reader::default();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    // Nesting is bounded by messages, as in protobuf; what is passed over nests without recursion.
    deserializer.disable_recursion_limit();
    let read = MessageSeed { reader: &mut reader, message: signal.request() }
        .deserialize(&mut deserializer)
        .and_then(|given| match given {
            true => deserializer.end(),
            false => Err(Error::custom("null, expected an object")),
        });
    match read {
        Ok(()) => Ok(reader.finish()),
        Err(error) => Err(reader.fault(&error)),
    }
}

/// A request that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The accepted items as protobuf, valid and in the form that generated encoders write.
    pub protobuf: Vec<u8>,
    /// How many spans, data points or log records are accepted.
    pub items: usize,
    /// The items that are not, if any.
    pub refused: Option<Refused>,
}

#[derive(Default)]
struct Reader {
    out: Vec<u8>,
    /// Room for a message whose fields are put in order.
    scratch: Vec<u8>,
    /// The fields around the value that is being read, outermost first.
    path: Vec<Step>,
    /// Messages around the value that is being read, the request included.
    depth: usize,
    /// Whether an item is being read, and what refuses it.
    item: ItemState,
    items: usize,
    refused: Option<Refused>,
    /// What refuses the request, unless serde has a word for it.
    reason: Option<Reason>,
}

#[derive(Default)]
enum ItemState {
    #[default]
    Outside,
    Accepted,
    Refused,
}

struct Step {
    field: &'static Field,
    /// `None` for a field that is no list.
    index: Option<usize>,
}

impl Reader {
    fn finish(self) -> Read {
        Read { protobuf: self.out, items: self.items, refused: self.refused }
    }

    fn fault(mut self, error: &serde_json::Error) -> Fault {
        let place = Place::Line { line: error.line(), column: error.column() };
        let reason = self.reason.take().unwrap_or_else(|| Reason::Json(message_of(error)));
        Fault { path: self.path_text(), place: Some(place), reason }
    }

    fn path_text(&self) -> String {
        let mut text = String::new();
        for step in &self.path {
            let dot = if text.is_empty() { "" } else { "." };
            let _ = write!(text, "{dot}{}", step.field.json);
            if let Some(index) = step.index {
                let _ = write!(text, "[{index}]");
            }
        }
        text
    }

    /// Refuses the request.
    fn fail<E: Error>(&mut self, reason: Reason) -> E {
        self.reason = Some(reason);
        E::custom("")
    }

    /// Refuses the item that is being read, or the request if none is.
    fn refuse<E: Error>(&mut self, reason: Reason) -> Result<(), E> {
        match self.item {
            ItemState::Outside => return Err(self.fail(reason)),
            ItemState::Refused => return Ok(()),
            ItemState::Accepted => self.item = ItemState::Refused,
        }
        if let Some(refused) = &mut self.refused {
            refused.items += 1;
        } else {
            let first = Fault { path: self.path_text(), place: None, reason };
            self.refused = Some(Refused { items: 1, first });
        }
        Ok(())
    }

    /// Reads one message below a field, tag and length included. `false` if it is `null`.
    fn message<'de, D: Deserializer<'de>>(
        &mut self,
        field: &Field,
        message: &'static Message,
        deserializer: D,
    ) -> Result<bool, D::Error> {
        if self.depth > DEPTH_MAX {
            return Err(self.fail(Reason::TooDeep(DEPTH_MAX)));
        }
        let opened = protobuf::open(&mut self.out, field.number);
        let given = MessageSeed { reader: self, message }.deserialize(deserializer)?;
        protobuf::close(&mut self.out, opened);
        Ok(given)
    }

    /// Writes a field with one value, unless that is a default which is not written.
    fn put(&mut self, field: &Field, value: Value<'_>) {
        if field.label != Label::Implicit || !value.is_default() {
            protobuf::put_tag(&mut self.out, field.number, value.wire());
            protobuf::put_value(&mut self.out, value);
        }
    }
}

/// What serde_json has to say, without the place at its end.
fn message_of(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.truncate(text.strip_suffix(&place).unwrap_or(&text).len());
    text
}

/// Reads the fields of a message. `false` if it is `null`.
struct MessageSeed<'r> {
    reader: &'r mut Reader,
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Err(self.reader.fail(Reason::NotA { expected: "an object" }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let Self { reader, message } = self;
        reader.depth += 1;
        let mut order = Order::new(reader.out.len());
        let mut next = 0;
        while let Some(place) = map.next_key_seed(KeySeed { message, next })? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let field = &message.fields[place];
            next = place + 1;
            let start = reader.out.len();
            reader.path.push(Step { field, index: None });
            let given = map.next_value_seed(FieldSeed { reader, field })?;
            if !given {
                reader.out.truncate(start);
            } else if !order.add(message.rank(field), start, reader.out.len()) {
                reader.refuse(Reason::Twice)?;
            }
            reader.path.pop();
        }
        order.settle(&mut reader.out, &mut reader.scratch);
        reader.depth -= 1;
        Ok(true)
    }
}

/// Reads a key: the place of its field, if the message has one of that name.
struct KeySeed {
    message: &'static Message,
    /// The likeliest place: keys mostly come in the schema's order.
    next: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        let fields = self.message.fields;
        let is_named = |place: &usize| fields[*place].json == key || fields[*place].name == key;
        Ok((self.next..fields.len()).chain(0..self.next).find(is_named))
    }
}

/// Reads the value of a field, tags included. `false` if it is `null`.
struct FieldSeed<'r> {
    reader: &'r mut Reader,
    field: &'static Field,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let Self { reader, field } = self;
        match (field.label, field.kind) {
            (Label::Repeated, _) => deserializer.deserialize_any(ListVisitor { reader, field }),
            (_, Kind::Message(message)) => reader.message(field, message, deserializer),
            (_, kind) => {
                let put = |reader: &mut Reader, value: Value<'_>| reader.put(field, value);
                ScalarSeed { reader, kind, put }.deserialize(deserializer)
            }
        }
    }
}

struct ListVisitor<'r> {
    reader: &'r mut Reader,
    field: &'static Field,
}

impl<'de> Visitor<'de> for ListVisitor<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<bool, E> {
        Err(self.reader.fail(Reason::NotA { expected: "an array" }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        let Self { reader, field } = self;
        let start = reader.out.len();
        let packed = field.is_packed().then(|| protobuf::open(&mut reader.out, field.number));
        let content_start = reader.out.len();
        for index in 0.. {
            if let Some(step) = reader.path.last_mut() {
                step.index = Some(index);
            }
            if list.next_element_seed(ElementSeed { reader, field })?.is_none() {
                break;
            }
        }
        if let Some(step) = reader.path.last_mut() {
            step.index = None;
        }
        match packed {
            Some(_) if reader.out.len() == content_start => reader.out.truncate(start),
            Some(opened) => protobuf::close(&mut reader.out, opened),
            None => {}
        }
        Ok(true)
    }
}

/// Reads one element of a list.
struct ElementSeed<'r> {
    reader: &'r mut Reader,
    field: &'static Field,
}

impl<'de> DeserializeSeed<'de> for ElementSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { reader, field } = self;
        if let Kind::Message(message) = field.kind {
            let start = reader.out.len();
            let is_item = message.role == Role::Item;
            if is_item {
                reader.item = ItemState::Accepted;
            }
            // An element that is `null` is an empty message: to leave it out would move the others.
            reader.message(field, message, deserializer)?;
            match std::mem::take(&mut reader.item) {
                ItemState::Refused if is_item => reader.out.truncate(start),
                _ if is_item => reader.items += 1,
                state => reader.item = state,
            }
            return Ok(());
        }
        let put = |reader: &mut Reader, value: Value<'_>| {
            if !field.is_packed() {
                protobuf::put_tag(&mut reader.out, field.number, value.wire());
            }
            protobuf::put_value(&mut reader.out, value);
        };
        let seed = ScalarSeed { reader: &mut *reader, kind: field.kind, put };
        if seed.deserialize(deserializer)? { Ok(()) } else { reader.refuse(Reason::NullInList) }
    }
}
