//! Rows out of a request body or of standard input.
//!
//! Decides what a row is: an object with the fields that TensorZero always writes for its kind, each
//! of the right type, and any others of TensorZero's that there are of theirs. Fields that are not
//! known, now or in a later version, are kept, as is everything else: a row is the bytes that came.
//! How a body is cut into rows is [`exporter::receive`](crate::exporter::receive)'s to say.

use super::DataType;
use super::config::KeyField;
use crate::exporter::json::{Pairs, Text, VALUE_DEPTH_MAX, depth, unexpected_string};
use crate::exporter::receive::{Items, Reader, ReceiveError};
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The fields that a key may be, first things first.
const IDS: [&str; 4] = ["id", "inference_id", "episode_id", "target_id"];

/// The rows of `body`, each a row or the reason why it is none. A body without any is empty.
pub fn rows(data_type: DataType, body: &[u8]) -> Rows<'_> {
    Rows(Items::new(RowReader(data_type), body))
}

/// An iterator over the rows of a body. See [`rows`].
#[derive(Debug, Clone)]
pub struct Rows<'a>(Items<'a, RowReader>);

impl<'a> Iterator for Rows<'a> {
    type Item = Result<Row<'a>, ReceiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// One row, as its writer spelled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<'a> {
    data_type: DataType,
    json: &'a str,
    /// The strings of [`IDS`], empty where there is none.
    ids: [Cow<'a, str>; IDS.len()],
}

impl<'a> Row<'a> {
    /// What it is about.
    pub const fn data_type(&self) -> DataType {
        self.data_type
    }

    /// Its JSON, without the whitespace around it.
    pub const fn as_json(&self) -> &'a str {
        self.json
    }

    /// The id that it is keyed by.
    pub(super) fn key(&self, by: KeyField) -> Option<&str> {
        let chosen = match by {
            KeyField::Id => 0,
            KeyField::InferenceId => 1,
            KeyField::EpisodeId => 2,
        };
        let mut ids = std::iter::once(&self.ids[chosen]).chain(&self.ids);
        ids.find(|id| !id.is_empty()).map(|id| &**id)
    }

    fn read(data_type: DataType, json: &'a str) -> Result<Self, serde_json::Error> {
        let visitor = RowVisitor { fields: fields(data_type) };
        let ids = serde_json::Deserializer::from_str(json).deserialize_any(visitor)?;
        if depth(json) > VALUE_DEPTH_MAX {
            let told = format_args!("nested deeper than {VALUE_DEPTH_MAX} levels");
            return Err(serde_json::Error::custom(told));
        }
        Ok(Self { data_type, json, ids })
    }
}

#[derive(Debug, Clone)]
struct RowReader(DataType);

impl<'a> Reader<'a> for RowReader {
    type Item = Row<'a>;

    const NOUN: &'static str = "row";

    fn read(&self, json: &'a [u8]) -> Option<Result<(Row<'a>, usize), serde_json::Error>> {
        let mut stream = serde_json::Deserializer::from_slice(json).into_iter::<&'a RawValue>();
        let raw = stream.next()?;
        let end = stream.byte_offset();
        Some(raw.and_then(|raw| Ok((Row::read(self.0, raw.get())?, end))))
    }
}

/// A field of TensorZero's.
struct Field {
    name: &'static str,
    shape: Shape,
    /// Others may be missing, or `null`.
    required: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    Count,
    Flag,
    Object,
    Array,
    Texts,
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "a string",
            Self::Count => "a whole number below 4294967296",
            Self::Flag => "true or false",
            Self::Object => "an object",
            Self::Array => "an array",
            Self::Texts => "an object of strings",
        }
    }

    fn matches(self, json: &str) -> bool {
        match self {
            Self::Text => json.starts_with('"'),
            Self::Count => json.parse::<u32>().is_ok(),
            Self::Flag => matches!(json, "true" | "false"),
            Self::Object => json.starts_with('{'),
            Self::Array => json.starts_with('['),
            Self::Texts => serde_json::from_str::<Pairs<'_, &RawValue>>(json)
                .is_ok_and(|Pairs(texts)| texts.iter().all(|(_, text)| is_string(text))),
        }
    }
}

const fn required(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Field {
    Field { name, shape, required: false }
}

const MODEL_INFERENCE: &[Field] = &[
    required("id", Shape::Text),
    required("inference_id", Shape::Text),
    required("raw_request", Shape::Text),
    required("raw_response", Shape::Text),
    optional("system", Shape::Text),
    required("input_messages", Shape::Text),
    required("output", Shape::Text),
    optional("input_tokens", Shape::Count),
    optional("output_tokens", Shape::Count),
    optional("response_time_ms", Shape::Count),
    required("model_name", Shape::Text),
    required("model_provider_name", Shape::Text),
    optional("ttft_ms", Shape::Count),
    optional("cached", Shape::Flag),
    optional("finish_reason", Shape::Text),
];

const CHAT_INFERENCE: &[Field] = &[
    required("id", Shape::Text),
    required("function_name", Shape::Text),
    required("variant_name", Shape::Text),
    required("episode_id", Shape::Text),
    required("input", Shape::Object),
    required("output", Shape::Array),
    optional("tool_params", Shape::Object),
    optional("inference_params", Shape::Object),
    optional("processing_time_ms", Shape::Count),
    optional("ttft_ms", Shape::Count),
    optional("tags", Shape::Texts),
    optional("extra_body", Shape::Array),
];

const JSON_INFERENCE: &[Field] = &[
    required("id", Shape::Text),
    required("function_name", Shape::Text),
    required("variant_name", Shape::Text),
    required("episode_id", Shape::Text),
    required("input", Shape::Object),
    required("output", Shape::Object),
    optional("auxiliary_content", Shape::Array),
    optional("inference_params", Shape::Object),
    optional("processing_time_ms", Shape::Count),
    optional("ttft_ms", Shape::Count),
    optional("output_schema", Shape::Object),
    optional("tags", Shape::Texts),
    optional("extra_body", Shape::Array),
];

const fn fields(data_type: DataType) -> &'static [Field] {
    match data_type {
        DataType::ModelInference => MODEL_INFERENCE,
        DataType::ChatInference => CHAT_INFERENCE,
        DataType::JsonInference => JSON_INFERENCE,
    }
}

/// Checks a row's fields, and finds its ids.
struct RowVisitor {
    fields: &'static [Field],
}

impl<'de> Visitor<'de> for RowVisitor {
    type Value = [Cow<'de, str>; IDS.len()];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut ids = Self::Value::default();
        let mut missing: Vec<_> = self.fields.iter().filter(|field| field.required).collect();
        while let Some(Text(name)) = map.next_key()? {
            let value: &RawValue = map.next_value()?;
            if let Some(field) = self.fields.iter().find(|field| *field.name == *name) {
                check(field, value).map_err(A::Error::custom)?;
                missing.retain(|required| required.name != field.name);
            }
            if let Some(index) = IDS.iter().position(|id| *id == name) {
                ids[index] = id(&name, value).map_err(A::Error::custom)?;
            }
        }
        match missing.first() {
            None => Ok(ids),
            Some(Field { name, shape, .. }) => {
                Err(A::Error::custom(format_args!("{name}: missing; it is {}", shape.name())))
            }
        }
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(unexpected_string(&self))
    }
}

fn check(field: &Field, value: &RawValue) -> Result<(), String> {
    let json = value.get();
    let null_is_taken = !field.required && json == "null";
    if null_is_taken || field.shape.matches(json) {
        return Ok(());
    }
    let Field { name, shape, .. } = field;
    Err(format!("{name}: expected {}, found {}", shape.name(), kind(value)))
}

/// The id; empty, if it is no string.
fn id<'a>(name: &str, value: &'a RawValue) -> Result<Cow<'a, str>, String> {
    if !is_string(value) {
        return Ok(Cow::Borrowed(""));
    }
    let text = serde_json::from_str(value.get()).map(|Text(text)| text);
    text.map_err(|_| format!("{name}: it holds half of a surrogate pair"))
}

fn is_string(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

fn kind(value: &RawValue) -> &'static str {
    match value.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

#[cfg(test)]
mod schema;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// TensorZero's documentation, word for word.
    pub(super) const MODEL: &str =
        include_str!("../../../tests/golden/tensorzero-model-inference.json");

    pub(super) const CHAT: &str = r#"{"id":"a","function_name":"f","variant_name":"v","episode_id":"e","input":{"messages":[]},"output":[{"type":"text","text":"hi"}],"processing_time_ms":123,"tags":{"key":"value"}}"#;

    pub(super) const JSON: &str = r#"{"id":"a","function_name":"f","variant_name":"v","episode_id":"e","input":{},"output":{"raw":"{}","parsed":{}},"auxiliary_content":[],"inference_params":{},"output_schema":{},"tags":{},"extra_body":[]}"#;

    /// The rows as they are; errors as they are shown.
    fn read_all(data_type: DataType, body: &str) -> Vec<String> {
        rows(data_type, body.as_bytes())
            .map(|row| match row {
                Ok(row) => row.as_json().to_owned(),
                Err(error) => error.to_string(),
            })
            .collect()
    }

    fn refused(data_type: DataType, body: &str) -> String {
        let found = read_all(data_type, body);
        assert_eq!(found.len(), 1, "{body}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn documented_rows_are_read_as_they_are() {
        for (data_type, row) in [
            (DataType::ModelInference, MODEL),
            (DataType::ChatInference, CHAT),
            (DataType::JsonInference, JSON),
        ] {
            assert_eq!(read_all(data_type, &format!(" {row}\n")), [row]);
            assert_eq!(read_all(data_type, &format!("{row}\n{row}")), [row, row]);
            assert_eq!(read_all(data_type, &format!("[{row} , {row}]\n{row}")), [row, row, row]);
        }
    }

    #[test]
    fn what_is_not_known_is_kept() {
        let row =
            CHAT.replace(r#""tags""#, r#""snapshot_hash":[1e400,"\u0041"],"cost":0.10,"tags""#);
        assert_eq!(read_all(DataType::ChatInference, &row), [row]);
    }

    #[test]
    fn null_is_taken_where_tensorzero_writes_it() {
        for field in ["system", "input_tokens", "ttft_ms", "finish_reason"] {
            let row = MODEL.replace(r#""output":"#, &format!(r#""{field}": null, "output":"#));
            assert_eq!(read_all(DataType::ModelInference, &row), [row]);
        }
    }

    #[test]
    fn a_field_that_is_missing_is_named() {
        for (data_type, row) in [
            (DataType::ModelInference, MODEL),
            (DataType::ChatInference, CHAT),
            (DataType::JsonInference, JSON),
        ] {
            for field in fields(data_type).iter().filter(|field| field.required) {
                let name = field.name;
                let without = row.replacen(&format!("\"{name}\""), "\"other\"", 1);
                let error = refused(data_type, &without);
                let told = format!("{name}: missing; it is {}", field.shape.name());
                assert!(error.starts_with("row 0 is refused at line"), "{error}");
                assert!(error.ends_with(&told), "{error}");
            }
        }
    }

    #[test]
    fn a_value_of_another_type_is_told_by_type_and_place_and_not_repeated() {
        for (from, to, error) in [
            (r#""id":"a""#, r#""id":7"#, "column 7: id: expected a string, found a number"),
            (r#""id":"a""#, r#""id":null"#, "column 10: id: expected a string, found null"),
            (r#"{"messages":[]}"#, r#""my prompt""#, "input: expected an object, found a string"),
            (":[{", r#":{"a":{}},"b":[{"#, "output: expected an array, found an object"),
            (
                "123",
                "1.5",
                "processing_time_ms: expected a whole number below 4294967296, found a number",
            ),
            ("123", "4294967296", "processing_time_ms: expected a whole number below 4294967296"),
            (r#""value""#, "1", "tags: expected an object of strings, found an object"),
            (r#"{"key":"value"}"#, "[]", "tags: expected an object of strings, found an array"),
            (r#""id":"a""#, r#""id":"\ud800""#, "id: it holds half of a surrogate pair"),
        ] {
            let found = refused(DataType::ChatInference, &CHAT.replacen(from, to, 1));
            assert!(found.contains(error) && !found.contains("prompt"), "{found}\n{error}");
        }
        let found = refused(DataType::ModelInference, &MODEL.replace("500", "\"no\""));
        assert_eq!(
            found,
            "row 0 is refused at line 12 column 26: response_time_ms: expected a whole number below \
             4294967296, found a string"
        );
        let found = refused(DataType::ModelInference, "\"my prompt\"");
        assert!(found.ends_with("invalid type: a string, expected a row object"), "{found}");
    }

    #[test]
    fn a_refused_row_does_not_take_others_with_it() {
        let found = read_all(DataType::ChatInference, &format!("{CHAT}\n{{}}\n{{\"id\n{CHAT}"));
        assert_eq!((found.len(), &*found[0], &*found[3]), (4, CHAT, CHAT));
        assert_eq!(found[1], "row 1 is refused at line 2 column 2: id: missing; it is a string");
        assert!(found[2].starts_with("row 2 is not valid JSON at line 3 column"), "{}", found[2]);
    }

    #[test]
    fn depth_is_limited_and_costs_no_stack() {
        let nested = |depth| {
            CHAT.replace("123", &format!("1,\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)))
        };
        assert_eq!(read_all(DataType::ChatInference, &nested(119)), [nested(119)]);
        for depth in [120, 500_000] {
            let error = refused(DataType::ChatInference, &nested(depth));
            assert!(error.ends_with("nested deeper than 120 levels"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_neither_panic_nor_hang(body in any::<Vec<u8>>()) {
            prop_assert!(rows(DataType::ChatInference, &body).count() <= body.len() + 1);
        }

        #[test]
        fn arbitrary_json_punctuation_neither_panics_nor_hangs(
            body in "([\\[\\]{},:\n ]|\"id\"|\"tags\"|\"input\"|\"a\"|1|null){0,40}",
        ) {
            prop_assert!(rows(DataType::ChatInference, body.as_bytes()).count() <= body.len() + 1);
        }
    }
}
