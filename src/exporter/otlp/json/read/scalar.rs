//! Values that are no messages.
//!
//! Decides which JSON value is a value of a field's kind, and how protobuf carries it. Where it is
//! written is left to whoever asks.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::text;
use super::Reader;
use crate::exporter::otlp::fault::Reason;
use crate::exporter::otlp::protobuf::Value;
use crate::exporter::otlp::schema::Kind;

/// Reads one value and puts it into the message. `false` if it is `null`.
pub(super) struct ScalarSeed<'r, P> {
    pub(super) reader: &'r mut Reader,
    /// What the field holds.
    pub(super) kind: Kind,
    /// Writes the value.
    pub(super) put: P,
}

impl<P: FnOnce(&mut Reader, Value<'_>)> ScalarSeed<'_, P> {
    /// Puts the value, if there was one of the kind.
    fn given<E: Error>(self, value: Option<Value<'_>>) -> Result<bool, E> {
        let Self { reader, kind, put } = self;
        let reason = Reason::NotA { expected: kind.expected() };
        match value {
            Some(value) => put(reader, value),
            None if matches!(kind, Kind::Id(_)) => reader.refuse(reason)?,
            None => return Err(reader.fail(reason)),
        }
        Ok(true)
    }

    fn whole<E: Error>(self, value: Option<i128>) -> Result<bool, E> {
        let value = value.and_then(|value| encoded(self.kind, value));
        self.given(value)
    }
}

impl<'de, P: FnOnce(&mut Reader, Value<'_>)> DeserializeSeed<'de> for ScalarSeed<'_, P> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, P: FnOnce(&mut Reader, Value<'_>)> Visitor<'de> for ScalarSeed<'_, P> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.expected())
    }

    fn visit_unit<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<bool, E> {
        let is_bool = matches!(self.kind, Kind::Bool);
        self.given(is_bool.then_some(Value::Varint(u64::from(value))))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<bool, E> {
        self.whole(Some(i128::from(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<bool, E> {
        self.whole(Some(i128::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<bool, E> {
        match self.kind {
            Kind::Double => self.given(Some(Value::Fixed64(value.to_bits()))),
            _ => self.whole(text::whole(value)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<bool, E> {
        match self.kind {
            Kind::String => self.given(Some(Value::Bytes(text.as_bytes()))),
            Kind::Bytes => self.given(text::read_base64(text).as_deref().map(Value::Bytes)),
            Kind::Id(_) if text.is_empty() => self.given(Some(Value::Bytes(&[]))),
            Kind::Id(size) => self.given(text::read_id(text, size).as_deref().map(Value::Bytes)),
            Kind::Double => {
                let value = text::read_double(text);
                self.given(value.map(|value| Value::Fixed64(value.to_bits())))
            }
            Kind::Enum(names) => match names.iter().position(|name| *name == text) {
                Some(value) => self.given(Some(Value::Varint(value as u64))),
                None => self.whole(text::read_whole(text)),
            },
            _ => self.whole(text::read_whole(text)),
        }
    }

    /// Ids have been sent as arrays of bytes; they refuse their item, as other wrong ids do.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<bool, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.given(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        self.given(None)
    }
}

/// A whole number as a field of that kind holds it, if it is within its bounds.
#[expect(
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the encoding is defined by these casts; a double holds the nearest it can"
)]
fn encoded(kind: Kind, value: i128) -> Option<Value<'static>> {
    Some(match kind {
        Kind::Int32 | Kind::Enum(_) => Value::Varint(i64::from(i32::try_from(value).ok()?) as u64),
        Kind::Uint32 => Value::Varint(u64::from(u32::try_from(value).ok()?)),
        Kind::Sint32 => {
            let value = i32::try_from(value).ok()?;
            Value::Varint(u64::from(((value << 1) ^ (value >> 31)) as u32))
        }
        Kind::Fixed32 => Value::Fixed32(u32::try_from(value).ok()?),
        Kind::Int64 => Value::Varint(i64::try_from(value).ok()? as u64),
        Kind::Sfixed64 => Value::Fixed64(i64::try_from(value).ok()? as u64),
        Kind::Uint64 => Value::Varint(u64::try_from(value).ok()?),
        Kind::Fixed64 => Value::Fixed64(u64::try_from(value).ok()?),
        Kind::Double => Value::Fixed64((value as f64).to_bits()),
        Kind::Bool | Kind::String | Kind::Bytes | Kind::Id(_) | Kind::Message(_) => return None,
    })
}
