//! What the three signals share: resources, scopes, attributes and their values.
//!
//! Schema: `common/v1/common.proto` and `resource/v1/resource.proto`.

use super::{Field, Kind, Label, Message, Role};

messages! {
    /// `opentelemetry.proto.resource.v1.Resource`.
    RESOURCE = "Resource" Part {
        1 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        2 "dropped_attributes_count" "droppedAttributesCount" Implicit Kind::Uint32;
        3 "entity_refs" "entityRefs" Repeated Kind::Message(&ENTITY_REF);
    }

    /// `opentelemetry.proto.common.v1.EntityRef`.
    ENTITY_REF = "EntityRef" Part {
        1 "schema_url" "schemaUrl" Implicit Kind::String;
        2 "type" "type" Implicit Kind::String;
        3 "id_keys" "idKeys" Repeated Kind::String;
        4 "description_keys" "descriptionKeys" Repeated Kind::String;
    }

    /// `opentelemetry.proto.common.v1.InstrumentationScope`.
    INSTRUMENTATION_SCOPE = "InstrumentationScope" Part {
        1 "name" "name" Implicit Kind::String;
        2 "version" "version" Implicit Kind::String;
        3 "attributes" "attributes" Repeated Kind::Message(&KEY_VALUE);
        4 "dropped_attributes_count" "droppedAttributesCount" Implicit Kind::Uint32;
    }

    /// `opentelemetry.proto.common.v1.KeyValue`.
    KEY_VALUE = "KeyValue" Part {
        1 "key" "key" Implicit Kind::String;
        2 "value" "value" Implicit Kind::Message(&ANY_VALUE);
        3 "key_strindex" "keyStrindex" Implicit Kind::Int32;
    }

    /// `opentelemetry.proto.common.v1.AnyValue`.
    ANY_VALUE = "AnyValue" Part {
        1 "string_value" "stringValue" Oneof Kind::String;
        2 "bool_value" "boolValue" Oneof Kind::Bool;
        3 "int_value" "intValue" Oneof Kind::Int64;
        4 "double_value" "doubleValue" Oneof Kind::Double;
        5 "array_value" "arrayValue" Oneof Kind::Message(&ARRAY_VALUE);
        6 "kvlist_value" "kvlistValue" Oneof Kind::Message(&KEY_VALUE_LIST);
        7 "bytes_value" "bytesValue" Oneof Kind::Bytes;
        8 "string_value_strindex" "stringValueStrindex" Oneof Kind::Int32;
    }

    /// `opentelemetry.proto.common.v1.ArrayValue`.
    ARRAY_VALUE = "ArrayValue" Part {
        1 "values" "values" Repeated Kind::Message(&ANY_VALUE);
    }

    /// `opentelemetry.proto.common.v1.KeyValueList`.
    KEY_VALUE_LIST = "KeyValueList" Part {
        1 "values" "values" Repeated Kind::Message(&KEY_VALUE);
    }
}
