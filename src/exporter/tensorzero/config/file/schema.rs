//! The schema of the gateway's file, held against what reads it.
//!
//! Schema: `docs/schemas/tensorzero-config.schema.json`, for
//! <https://json-schema.org/draft/2020-12/schema>.

use super::super::{BATCH_SIZE_MAX, WAIT_MAX};
use super::tests::{DOCUMENTED, MINIMAL, read};
use super::*;
use serde_json::{Value, json};

fn schema() -> Value {
    let text = include_str!("../../../../../docs/schemas/tensorzero-config.schema.json");
    serde_json::from_str(text).unwrap()
}

fn as_json(text: &str) -> Value {
    serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap()
}

/// The fields that the reader knows in a table, by its own words about one that it does not.
fn known(table: &str) -> Vec<String> {
    let text = format!("{MINIMAL}[gateway.observability.{table}]\nno_such_field = 1");
    let text = text.replace("[gateway.observability.kafka]\nno_such", "no_such");
    let error = read(&text).unwrap_err().to_string();
    let (_, expected) = error.split_once("expected one of ").unwrap();
    let mut names: Vec<_> = expected.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    names.sort_unstable();
    names
}

fn names(properties: &Value) -> Vec<&str> {
    properties.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_schema_has_the_fields_that_are_read() {
    let schema = schema();
    let of_kafka = &schema["$defs"]["kafka"]["properties"];
    assert_eq!(names(of_kafka), known("kafka"));
    assert_eq!(names(&schema["$defs"]["sasl"]["properties"]), known("kafka.sasl"));
    let of_observability = names(&schema["$defs"]["observability"]["properties"]);
    assert_eq!(of_observability, ["async_writes", "enabled", "kafka"]);
    for name in of_observability {
        let wrong = format!("[gateway.observability]\n{name} = 7");
        assert!(read(&wrong).is_err(), "{name} is not read");
    }
}

#[test]
fn the_schema_has_the_defaults_and_limits() {
    let schema = schema();
    let field = |name: &str| &schema["$defs"]["kafka"]["properties"][name];
    let config = TensorZeroConfig::new(["a:1"], "t");
    let async_writes = &schema["$defs"]["observability"]["properties"]["async_writes"];
    assert_eq!(async_writes["default"], config.async_writes);
    assert_eq!(field("compression_type")["default"], config.compression.name());
    assert_eq!(field("batch_size")["default"], config.batch_size);
    assert_eq!(field("linger_ms")["default"], json!(config.linger.as_millis()));
    assert_eq!(field("request_timeout_ms")["default"], json!(config.request_timeout.as_millis()));
    assert_eq!(
        (&field("key")["default"], &field("probe")["default"]),
        (&json!("id"), &json!(config.probe.name()))
    );
    assert_eq!(field("batch_size")["maximum"], BATCH_SIZE_MAX);
    for name in ["linger_ms", "request_timeout_ms"] {
        assert_eq!(field(name)["maximum"], json!(WAIT_MAX.as_millis()), "{name}");
    }
    assert_eq!(field("auto_create_topics")["default"], config.auto_create_topics);
    assert_eq!(field("topic_partitions")["maximum"], TopicCreation::PARTITIONS_MAX);
    assert_eq!(field("topic_replication_factor")["maximum"], TopicCreation::REPLICATION_FACTOR_MAX);
    assert_eq!(field("probe")["enum"], json!(Probe::ALL.map(Probe::name)));
    assert_eq!(field("when_full")["enum"], json!(WhenFull::ALL.map(WhenFull::name)));
    assert_eq!(field("when_full")["default"], config.when_full.name());
    let words = |name: &str| field(name)["anyOf"][0]["enum"].clone();
    assert_eq!(words("compression_type"), json!(Codec::ALL.map(Codec::name)));
    assert_eq!(
        words("security_protocol"),
        json!(SecurityProtocol::ALL.map(SecurityProtocol::name))
    );
    let mechanism = &schema["$defs"]["sasl"]["properties"]["mechanism"]["anyOf"][0]["enum"];
    assert_eq!(*mechanism, json!(SaslMechanism::ALL.map(SaslMechanism::name)));
}

/// What is behind [`MINIMAL`] in a file that can be used, and whether it can.
const CASES: &[(&str, bool)] = &[
    ("", true),
    ("enabled_ = true", false),
    ("compression_type = \"ZSTD\"", true),
    ("compression_type = \"brotli\"", false),
    ("compression_type = 7", false),
    ("batch_size = 1000000", true),
    ("batch_size = 1000001", false),
    ("batch_size = 0", false),
    ("batch_size = -1", false),
    ("batch_size = \"7\"", false),
    ("linger_ms = 0", true),
    ("linger_ms = 3600000", true),
    ("linger_ms = 3600001", false),
    ("linger_ms = 0.5", false),
    ("request_timeout_ms = 0", false),
    ("request_timeout_ms = 3600001", false),
    ("acks = \"all\"", false),
    ("key = \"episode_id\"", true),
    ("key = \"target_id\"", false),
    ("key = \"Id\"", false),
    ("probe = \"off\"", true),
    ("probe = false", false),
    ("when_full = \"drop_oldest\"", true),
    ("when_full = \"drop-oldest\"", false),
    ("security_protocol = \"plaintext\"", true),
    ("security_protocol = \"ssl\"", true),
    ("security_protocol = \"TLS\"", false),
    ("security_protocol = \"SASL_SSL\"", false),
    ("tls_ca_file = \"/ca.pem\"", false),
    ("tls_ca_file = \"/ca.pem\"\nsecurity_protocol = \"PLAINTEXT\"", false),
    ("tls_ca_file = \"/ca.pem\"\nsecurity_protocol = \"SSL\"", true),
    ("tls_ca_file = 7\nsecurity_protocol = \"SSL\"", false),
    ("sasl = 7", false),
    ("sasl = {}", false),
    ("sasl = { mechanism = \"PLAIN\", username = \"u\" }", false),
    ("sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"\" }", false),
    ("sasl = { mechanism = \"PLAIN\", username = \"u\", password = 7 }", false),
    ("sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"\\u0000\" }", false),
    ("sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"env.PASSWORD\" }", true),
    ("sasl = { mechanism = \"scram_sha_512\", username = \"u\", password = \"p\" }", true),
    ("sasl = { mechanism = \"GSSAPI\", username = \"u\", password = \"p\" }", false),
    ("sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"p\", realm = \"r\" }", false),
    (
        "tls_ca_file = \"/ca.pem\"\nsasl = { mechanism = \"PLAIN\", username = \"u\", password = \"p\" }",
        true,
    ),
    (
        "security_protocol = \"SSL\"\nsasl = { mechanism = \"PLAIN\", username = \"u\", password = \"p\" }",
        false,
    ),
    (
        "security_protocol = \"sasl-plaintext\"\nsasl = { mechanism = \"PLAIN\", username = \"u\", password = \"p\" }",
        true,
    ),
    (
        "tls_ca_file = \"/ca.pem\"\nsecurity_protocol = \"sasl_plaintext\"\n\
         sasl = { mechanism = \"PLAIN\", username = \"u\", password = \"p\" }",
        false,
    ),
    ("auto_create_topics = true", true),
    ("auto_create_topics = \"true\"", false),
    ("topic_partitions = 2147483647\ntopic_replication_factor = 32767", true),
    ("topic_partitions = 0", false),
    ("topic_partitions = 2147483648", false),
    ("topic_replication_factor = 0", false),
    ("topic_replication_factor = 32768", false),
    ("topic_configs = { \"retention.ms\" = \"1000\" }", true),
    ("topic_configs = { \"retention.ms\" = 1000 }", false),
    ("topic_configs = \"retention.ms=1000\"", false),
    ("[gateway.observability]\nenabled = 1", false),
    ("[gateway.observability]\nasync_writes = \"yes\"", false),
    ("[gateway.observability]\nasync_writes = true\nbatch_writes.enabled = true", true),
    ("[models.gpt-4]\nrouting = [\"openai\"]", true),
];

#[test]
fn the_schema_accepts_what_is_read_and_refuses_what_is_refused() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    assert!(schema.is_valid(&as_json(DOCUMENTED)));
    let prefix = |size| MINIMAL.replace("\"t\"", &format!("\"{}\"", "t".repeat(size)));
    let changed = [
        (MINIMAL.replace("\"a:1\"", "\" a:1,, [::1]:9092 ,\""), true),
        (MINIMAL.replace("\"a:1\"", "\"a\""), false),
        (MINIMAL.replace("\"a:1\"", "\"a:1,b\""), false),
        (MINIMAL.replace("\"a:1\"", "\"http://a:1\""), false),
        (MINIMAL.replace("\"a:1\"", "\" ,\""), false),
        (MINIMAL.replace("\"a:1\"", "[\"a:1\"]"), false),
        (MINIMAL.replace("brokers = \"a:1\"\n", ""), false),
        (MINIMAL.replace("topic_prefix = \"t\"\n", ""), false),
        (MINIMAL.replace("\"t\"", "\"a b\""), false),
        (prefix(0), false),
        (prefix(233), true),
        (prefix(234), false),
    ];
    // A table may be opened once.
    let with = |more: &str| match more.strip_prefix("[gateway.observability]\n") {
        Some(fields) => format!("[gateway.observability]\n{fields}\n{MINIMAL}"),
        None => format!("{MINIMAL}{more}"),
    };
    let cases = CASES.iter().map(|(more, is_good)| (with(more), *is_good)).chain(changed);
    for (text, is_good) in cases {
        assert_eq!(schema.is_valid(&as_json(&text)), is_good, "schema: {text}");
        let found = read(&text);
        assert_eq!(found.is_ok(), is_good, "{text}: {found:?}");
        let off = text.replace("\nenabled = true", "\nenabled = false");
        let accepted_but_refused = schema.is_valid(&as_json(&off)) && read(&off).is_err();
        assert!(!accepted_but_refused, "{off}");
    }
}

#[test]
fn what_is_off_may_be_incomplete() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for text in [
        "",
        "[gateway]\nbind_address = \"0.0.0.0:3000\"",
        "[gateway.observability.kafka]",
        "[gateway.observability.kafka]\nenabled = false\nbrokers = \"\"\ntls_ca_file = \"\"",
        "[gateway.observability]\nenabled = false\n[gateway.observability.kafka]\nenabled = true",
    ] {
        assert!(schema.is_valid(&as_json(text)), "{text}");
        assert!(read(text).unwrap().is_none(), "{text}");
    }
}
