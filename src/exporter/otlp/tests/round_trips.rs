//! Bytes to JSON and back, and what bytes mean.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::generate::{Form, request};
use super::{canonical, json_of, read, sample};
use crate::exporter::otlp::protobuf::{Fields, Value};
use crate::exporter::otlp::schema::{Kind, Message, Signal};
use crate::exporter::otlp::validate;

/// Checks that the schema has every field of the message, and collects what it has seen.
fn all_known(message: &'static Message, bytes: &[u8], seen: &mut Vec<(&'static str, u32)>) {
    let mut fields = Fields::new(bytes);
    while let Some(entry) = fields.next().unwrap() {
        let field = message
            .field(entry.number)
            .unwrap_or_else(|| panic!("{} has no field {}", message.name, entry.number));
        seen.push((message.name, entry.number));
        if let (Kind::Message(inner), Value::Bytes(content)) = (field.kind, entry.value) {
            all_known(inner, content, seen);
        }
    }
}

/// Checks that the generated types have every field of the schema.
fn all_seen(message: &'static Message, seen: &[(&'static str, u32)], depth: usize) {
    for field in message.fields {
        assert!(seen.contains(&(message.name, field.number)), "{}.{}", message.name, field.name);
        if let Kind::Message(inner) = field.kind
            && depth < 12
        {
            all_seen(inner, seen, depth + 1);
        }
    }
}

#[test]
fn the_schema_has_the_fields_of_the_generated_types_and_no_others() {
    for signal in Signal::ALL {
        let bytes = sample::full(signal);
        validate(signal, &bytes).unwrap();
        let mut seen = Vec::new();
        all_known(signal.request(), &bytes, &mut seen);
        all_seen(signal.request(), &seen, 0);
    }
}

#[test]
fn a_request_with_every_field_comes_back_from_json_byte_for_byte() {
    for signal in Signal::ALL {
        let bytes = sample::full(signal);
        let json = json_of(signal, &bytes);
        assert_eq!(read(signal, &json), bytes, "{json}");
        assert!(!json.contains("null"), "{json}");
    }
}

/// The same JSON with the keys of every object in another order.
fn reversed(json: &Json) -> String {
    match json {
        Json::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .rev()
                .map(|(key, value)| format!("{}:{}", Json::from(key.as_str()), reversed(value)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
        Json::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(reversed).collect();
            format!("[{}]", elements.join(","))
        }
        scalar => scalar.to_string(),
    }
}

#[test]
fn the_order_of_keys_does_not_matter() {
    for signal in Signal::ALL {
        let bytes = sample::full(signal);
        let tree: Json = serde_json::from_str(&json_of(signal, &bytes)).unwrap();
        assert_eq!(read(signal, &reversed(&tree)), bytes);
    }
}

fn signal() -> impl Strategy<Value = Signal> {
    proptest::sample::select(Signal::ALL.to_vec())
}

proptest! {
    #[test]
    fn what_an_encoder_wrote_comes_back_from_json_byte_for_byte(
        signal in signal(), seed: u64
    ) {
        let bytes = request(signal, Form::Canonical, seed);
        prop_assert_eq!(&canonical(signal, &bytes).unwrap(), &bytes, "the generator is at fault");
        prop_assert_eq!(read(signal, &json_of(signal, &bytes)), bytes);
    }

    #[test]
    fn what_no_encoder_would_write_means_what_the_generated_types_say(
        signal in signal(), seed: u64
    ) {
        let bytes = request(signal, Form::Wild, seed);
        let meant = canonical(signal, &bytes).unwrap();
        let json = json_of(signal, &bytes);
        prop_assert_eq!(&json, &json_of(signal, &meant));
        prop_assert_eq!(read(signal, &json), meant);
    }
}
