//! The schemas of rows, held against what reads and what writes them.
//!
//! Schemas: `docs/schemas/tensorzero-{model,chat,json}-inference.schema.json`, for
//! <https://json-schema.org/draft/2020-12/schema>.

use super::super::{KeyField, encode};
use super::tests::{CHAT, JSON, MODEL};
use super::*;
use serde_json::{Value, json};

/// Each kind, its schema and the documented row.
fn kinds() -> [(DataType, Value, &'static str); 3] {
    let schema = |text| serde_json::from_str(text).unwrap();
    let model = include_str!("../../../../docs/schemas/tensorzero-model-inference.schema.json");
    let chat = include_str!("../../../../docs/schemas/tensorzero-chat-inference.schema.json");
    let json = include_str!("../../../../docs/schemas/tensorzero-json-inference.schema.json");
    [
        (DataType::ModelInference, schema(model), MODEL),
        (DataType::ChatInference, schema(chat), CHAT),
        (DataType::JsonInference, schema(json), JSON),
    ]
}

/// What a schema says of a field, without words for people.
fn said_of(field: &Field) -> Value {
    let name = match field.shape {
        Shape::Text => "string",
        Shape::Count => "integer",
        Shape::Flag => "boolean",
        Shape::Object | Shape::Texts => "object",
        Shape::Array => "array",
    };
    let mut said =
        json!({ "type": if field.required { json!(name) } else { json!([name, "null"]) } });
    match field.shape {
        Shape::Count => {
            said["minimum"] = json!(0);
            said["maximum"] = json!(u32::MAX);
        }
        Shape::Texts => said["additionalProperties"] = json!({ "type": "string" }),
        Shape::Text | Shape::Flag | Shape::Object | Shape::Array => {}
    }
    said
}

fn is_read(data_type: DataType, row: &Value) -> bool {
    let row = row.to_string();
    let read: Vec<_> = rows(data_type, row.as_bytes()).collect();
    assert_eq!(read.len(), 1, "{row}");
    read[0].is_ok()
}

#[test]
fn the_schemas_have_the_fields_that_are_checked_and_say_of_each_what_is_checked() {
    for (data_type, mut schema, _) in kinds() {
        let required: Vec<_> = fields(data_type).iter().filter(|field| field.required).collect();
        let required: Vec<_> = required.iter().map(|field| field.name).collect();
        assert_eq!(schema["required"], json!(required), "{data_type}");
        assert_eq!(schema.get("additionalProperties"), None, "{data_type}: others are kept");
        let properties = schema["properties"].as_object_mut().unwrap();
        assert_eq!(properties.len(), fields(data_type).len(), "{data_type}");
        for field in fields(data_type) {
            let said = properties[field.name].as_object_mut().unwrap();
            assert!(said.remove("description").is_some(), "{data_type}: {}", field.name);
            said.remove("examples");
            assert_eq!(json!(said), said_of(field), "{data_type}: {}", field.name);
        }
    }
}

#[test]
fn what_is_published_is_what_the_schema_says() {
    for (data_type, schema, documented) in kinds() {
        let schema = jsonschema::validator_for(&schema).unwrap();
        let newer = documented.replacen('{', r#"{"snapshot_hash":[1],"cost":null,"#, 1);
        for row in [documented, &newer] {
            let row = rows(data_type, row.as_bytes()).next().unwrap().unwrap();
            let record = encode(&row, KeyField::Id);
            let published = serde_json::from_str(&record.value).unwrap();
            let errors: Vec<_> =
                schema.iter_errors(&published).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{data_type}: {errors:?}");
        }
    }
}

#[test]
fn the_schemas_accept_what_is_read_and_refuse_what_is_refused() {
    let values = [
        json!("a"),
        json!(7),
        json!(u32::MAX),
        json!(4_294_967_296_u64),
        json!(-1),
        json!(1.5),
        json!(true),
        json!(null),
        json!([]),
        json!(["a"]),
        json!({}),
        json!({ "a": "b" }),
        json!({ "a": 1 }),
    ];
    for (data_type, schema, documented) in kinds() {
        let schema = jsonschema::validator_for(&schema).unwrap();
        let documented: Value = serde_json::from_str(documented).unwrap();
        for field in fields(data_type) {
            let mut row = documented.clone();
            row.as_object_mut().unwrap().remove(field.name);
            assert_eq!(is_read(data_type, &row), !field.required, "{row}");
            assert_eq!(schema.is_valid(&row), !field.required, "{row}");
            for value in &values {
                row[field.name] = value.clone();
                assert_eq!(schema.is_valid(&row), is_read(data_type, &row), "{row}");
            }
        }
        for value in &values {
            assert!(!schema.is_valid(value), "{value}");
        }
    }
}
