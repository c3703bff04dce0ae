//! The schema of the settings, held against what reads them.
//!
//! Schema: `docs/schemas/bifrost-config.schema.json`, for
//! <https://json-schema.org/draft/2020-12/schema>.

use super::tests::{FULL, MINIMAL, environment, with};
use super::{FIELDS, FILTER_FIELDS, FLUSH_INTERVAL_MAX, KafkaEntry, SASL_FIELDS, SECRET_FIELDS};
use super::{PARTITIONS_MAX, REPLICAS_MAX};
use crate::exporter::bifrost::config::{BATCH_SIZE_MAX, BifrostConfig};

fn schema() -> serde_json::Value {
    let text = include_str!("../../../../../docs/schemas/bifrost-config.schema.json");
    serde_json::from_str(text).unwrap()
}

fn names(properties: &serde_json::Value) -> Vec<&str> {
    properties.as_object().unwrap().keys().map(String::as_str).collect()
}

fn sorted(fields: &[&'static str]) -> Vec<&'static str> {
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    fields
}

#[test]
fn the_schema_has_the_fields_that_are_read_and_their_defaults() {
    let schema = schema();
    let properties = &schema["properties"];
    assert_eq!(names(properties), sorted(FIELDS));
    assert_eq!(names(&schema["$defs"]["sasl"]["properties"]), sorted(SASL_FIELDS));
    assert_eq!(names(&schema["$defs"]["secret"]["properties"]), sorted(SECRET_FIELDS));
    assert_eq!(names(&properties["plugin_span_filter"]["properties"]), sorted(FILTER_FIELDS));

    let config = BifrostConfig::new(["a:1"], "t");
    let default = |field: &str| &properties[field]["default"];
    assert_eq!(*default("tls_enabled"), config.tls_enabled);
    assert_eq!(*default("sasl_enabled"), config.sasl_enabled);
    assert_eq!(*default("batch_size"), config.batch_size);
    assert_eq!(*default("flush_interval_ms"), 1000 * config.flush_interval.as_secs());
    assert_eq!(*default("auto_create_topic"), config.auto_create_topic);
    assert_eq!(*default("probe"), config.probe.name());
    assert_eq!(*default("when_full"), config.when_full.name());
    assert_eq!(properties["topic_partitions"]["maximum"], PARTITIONS_MAX);
    assert_eq!(properties["topic_replication_factor"]["maximum"], REPLICAS_MAX);
    assert_eq!(*default("content_logging"), config.content_logging.name());
    assert_eq!(properties["batch_size"]["maximum"], BATCH_SIZE_MAX);
    let longest = 1000 * FLUSH_INTERVAL_MAX.as_secs();
    assert_eq!(properties["flush_interval_ms"]["maximum"], longest);
}

#[test]
fn the_schema_accepts_what_is_read_and_refuses_what_is_refused() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for text in [MINIMAL, FULL] {
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let config = &file["plugins"][0]["config"];
        assert!(schema.is_valid(config), "{config}");
    }
    for (setting, is_good) in [
        (r#""compression":null"#, true),
        (r#""compression":"brotli""#, false),
        (r#""batch_size":1000000"#, true),
        (r#""batch_size":1000001"#, false),
        (r#""batch_size":0"#, false),
        (r#""flush_interval_ms":0"#, true),
        (r#""flush_interval_ms":-1"#, false),
        (r#""acks":"all""#, false),
        (r#""topic":"a b""#, false),
        (r#""topic":".""#, false),
        (r#""brokers":[]"#, false),
        (r#""brokers":["localhost"]"#, false),
        (r#""brokers":["[::1]:9092"]"#, true),
        (r#""tls_enabled":"true""#, false),
        (r#""ca_cert":7"#, true),
        (r#""tls_enabled":true,"ca_cert":7"#, false),
        (r#""tls_enabled":true,"ca_cert":null"#, true),
        (r#""tls_enabled":true,"ca_cert":"vault.a""#, false),
        (r#""tls_enabled":true,"ca_cert":{"value":"/ca.pem"}"#, true),
        (r#""tls_enabled":true,"ca_cert":{"values":"/ca.pem"}"#, false),
        (r#""sasl":7"#, true),
        (r#""sasl_enabled":true"#, false),
        (r#""sasl_enabled":true,"sasl":{"mechanism":"PLAIN","username":"u"}"#, false),
        (r#""sasl_enabled":true,"sasl":{"mechanism":"PLAIN","username":"u","password":""}"#, false),
        (r#""sasl_enabled":true,"sasl":{"mechanism":"PLAIN","username":"u","password":"p"}"#, true),
        (
            r#""sasl_enabled":true,"sasl":{"mechanism":"plain","username":"u","password":"p"}"#,
            false,
        ),
        (r#""plugin_span_filter":{"mode":"include"}"#, true),
        (r#""plugin_span_filter":{"mode":"exclude","plugins":["a"]}"#, true),
        (r#""plugin_span_filter":{"plugins":["a"]}"#, false),
        (r#""plugin_span_filter":{"mode":"only"}"#, false),
        (r#""topic_partitions":12,"topic_replication_factor":3"#, true),
        (r#""topic_partitions":0"#, false),
        (r#""topic_partitions":2147483648"#, false),
        (r#""topic_replication_factor":32768"#, false),
        (r#""topic_configs":{"retention.ms":"1","cleanup.policy":null}"#, true),
        (r#""topic_configs":{"retention.ms":1}"#, false),
        (r#""topic_configs":["retention.ms=1"]"#, false),
        (r#""probe":"warn""#, true),
        (r#""probe":"none""#, false),
        (r#""when_full":"drop_oldest""#, true),
        (r#""when_full":"drop""#, false),
        (r#""request_headers":["x-*"]"#, true),
        (r#""request_headers":"x-*""#, false),
        (r#""content_logging":"strict""#, true),
        (r#""content_logging":"none""#, false),
        (r#""disable_content_logging":true,"content_logging":"hash""#, true),
        (r#""disable_content_logging":true,"content_logging":"keep""#, false),
        (r#""disable_content_logging":false,"content_logging":"hash""#, false),
        (r#""disable_content_logging":null,"content_logging":"hash""#, true),
    ] {
        let text = with(setting);
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let config = &file["plugins"][0]["config"];
        assert_eq!(schema.is_valid(config), is_good, "schema: {setting}");
        let entry = KafkaEntry::from_json(&text, &environment);
        assert_eq!(entry.is_ok(), is_good, "{setting}: {entry:?}");
    }
}
