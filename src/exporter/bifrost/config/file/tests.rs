//! Files as people write them, and what they come to.

use proptest::prelude::*;

use super::*;

pub(super) const MINIMAL: &str = r#"
    {
      "plugins": [
        {
          "enabled": true,
          "name": "kafka",
          "config": {
            "brokers": ["localhost:9092"],
            "topic": "bifrost-traces"
          }
        }
      ]
    }
    "#;

pub(super) const FULL: &str = r#"
    {
      "plugins": [
        {
          "enabled": true,
          "name": "kafka",
          "config": {
            "brokers": ["kafka.internal:9093"],
            "topic": "bifrost-traces",
            "tls_enabled": true,
            "ca_cert": "env.KAFKA_CA_CERT",
            "sasl_enabled": true,
            "sasl": {
              "mechanism": "SCRAM-SHA-256",
              "username": "env.KAFKA_USERNAME",
              "password": "env.KAFKA_PASSWORD"
            },
            "compression": "zstd",
            "batch_size": 100,
            "flush_interval_ms": 1000,
            "auto_create_topic": false,
            "disable_content_logging": false,
            "request_headers": ["x-tenant-id", "x-request-source"]
          }
        }
      ]
    }
    "#;

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";

pub(super) fn environment(name: &str) -> Option<String> {
    let value = match name {
        "KAFKA_CA_CERT" => CERTIFICATE,
        "KAFKA_USERNAME" => "alice",
        "KAFKA_PASSWORD" => "hunter2",
        "EMPTY" => "",
        _ => return None,
    };
    Some(value.to_owned())
}

fn enabled(text: &str) -> BifrostConfig {
    match KafkaEntry::from_json(text, &environment).unwrap() {
        KafkaEntry::Enabled(config) => *config,
        other => panic!("{other:?}"),
    }
}

fn refused(text: &str) -> String {
    KafkaEntry::from_json(text, &environment).unwrap_err().to_string()
}

/// A file whose Kafka entry has these fields beside brokers and topic.
pub(super) fn with(fields: &str) -> String {
    format!(
        "{{\"plugins\":[{{\"enabled\":true,\"name\":\"kafka\",\"config\":\n\
         {{\"brokers\":[\"localhost:9092\"],\"topic\":\"t\",\n{fields}}}}}]}}"
    )
}

/// A file whose Kafka entry has these fields only.
fn only(fields: &str) -> String {
    format!(r#"{{"plugins":[{{"enabled":true,"name":"kafka","config":{{{fields}}}}}]}}"#)
}

fn with_password(password: &str) -> String {
    with(&format!(
        r#""sasl_enabled":true,
               "sasl":{{"mechanism":"PLAIN","username":"u","password":{password}}}"#
    ))
}

#[test]
fn the_minimal_example_has_the_defaults() {
    let config = enabled(MINIMAL);
    let built = BifrostConfig::new(["localhost:9092"], "bifrost-traces");
    assert_eq!(format!("{config:?}"), format!("{built:?}"));
}

#[test]
fn the_full_example_is_read() {
    let config = enabled(FULL);
    assert_eq!(config.brokers, ["kafka.internal:9093"]);
    assert_eq!(config.topic, "bifrost-traces");
    assert!(config.tls_enabled && config.sasl_enabled);
    assert_eq!(config.ca_cert.as_ref().unwrap().expose(), CERTIFICATE);
    let sasl = config.sasl.as_ref().unwrap();
    assert_eq!(sasl.mechanism, SaslMechanism::ScramSha256);
    assert_eq!(sasl.username.expose(), "alice");
    assert_eq!(sasl.password.expose(), "hunter2");
    assert_eq!(config.compression, Codec::Zstd);
    assert_eq!(config.batch_size, 100);
    assert_eq!(config.flush_interval, Duration::from_secs(1));
    assert!(!config.auto_create_topic);
    assert_eq!(config.content_logging, ContentLogging::Keep);
    assert_eq!(config.request_headers, ["x-tenant-id", "x-request-source"]);
    assert!(config.tls().is_some() && config.login().unwrap().is_some());
}

#[test]
fn what_a_file_gives_is_told_from_defaults() {
    assert_eq!(KafkaEntry::given_fields(MINIMAL).unwrap(), ["brokers", "topic"]);
    assert!(KafkaEntry::given_fields("{}").unwrap().is_empty());
}

#[test]
fn every_field_has_its_effect() {
    let config = enabled(&with(
        r#""compression":"lz4","batch_size":7,"flush_interval_ms":0,"auto_create_topic":true,
               "disable_content_logging":true,
               "plugin_span_filter":{"mode":"exclude","plugins":["logging","kafka"]}"#,
    ));
    assert_eq!(config.compression, Codec::Lz4);
    assert_eq!(config.batch_size, 7);
    assert_eq!(config.flush_interval, Duration::ZERO);
    assert!(config.auto_create_topic);
    assert_eq!(config.content_logging, ContentLogging::Seed);
    let filter = config.plugin_span_filter.unwrap();
    assert_eq!(filter.mode, FilterMode::Exclude);
    assert_eq!(filter.plugins, ["logging", "kafka"]);
    let created = enabled(&with(
        r#""topic_partitions":12,"topic_replication_factor":3,"probe":"off","when_full":"drop_oldest",
               "topic_configs":{"retention.ms":"1000","cleanup.policy":"compact,delete"}"#,
    ));
    let told = "12 partitions, 3 replicas, cleanup.policy=compact,delete, retention.ms=1000";
    assert_eq!(created.topic_creation.to_string(), told);
    assert_eq!((created.probe, created.when_full), (Probe::Off, WhenFull::DropOldest));
    let include = enabled(&with(r#""plugin_span_filter":{"mode":"include"}"#));
    assert_eq!(include.plugin_span_filter.unwrap().mode, FilterMode::Include);
}

#[test]
fn a_program_has_the_object_among_its_own_settings() {
    let read = |text: &str| serde_json::from_str::<BifrostConfig>(text);
    let config = read(r#"{"brokers": ["a:1"], "topic": "t", "batch_size": 7}"#).unwrap();
    assert_eq!((config.batch_size, &*config.topic), (7, "t"));
    let error = read(r#"{"brokers": ["a:1"], "topic": "t", "batch_size": 0}"#).unwrap_err();
    assert!(error.to_string().starts_with("batch_size: 0 is out of range"), "{error}");
}

#[test]
fn null_is_the_default() {
    let nulls = FIELDS[2..].iter().map(|field| format!("\"{field}\":null"));
    let config = enabled(&with(&nulls.collect::<Vec<_>>().join(",")));
    let built = BifrostConfig::new(["localhost:9092"], "t");
    assert_eq!(format!("{config:?}"), format!("{built:?}"));
}

#[test]
fn what_is_bifrosts_own_is_not_looked_at() {
    let config = enabled(
        r#"{"providers":{"openai":{"keys":[1e400]}},"plugins":[{"name":"otel","config":7},
               {"path":"x","name":"kafka","enabled":true,"placement":3,
                "config":{"brokers":["a:1"],"topic":"t"}},{}]}"#,
    );
    assert_eq!(config.topic, "t");
}

#[test]
fn a_missing_entry_and_a_disabled_one_are_told_apart() {
    for text in ["{}", r#"{"plugins":null}"#, r#"{"plugins":[{"name":"otel"}]}"#] {
        assert!(matches!(KafkaEntry::from_json(text, &environment), Ok(KafkaEntry::Missing)));
    }
    for text in [
        r#"{"plugins":[{"name":"kafka","enabled":false,"config":{"topic":7}}]}"#,
        r#"{"plugins":[{"name":"kafka"}]}"#,
    ] {
        assert!(matches!(KafkaEntry::from_json(text, &environment), Ok(KafkaEntry::Disabled)));
    }
}

#[test]
fn malformed_json_is_located() {
    assert_eq!(
        refused("{\n  \"plugins\": [}\n"),
        "not valid JSON at line 2 column 15: expected value",
    );
    assert_eq!(refused(""), "not valid JSON at line 1 column 0: EOF while parsing a value");
    assert_eq!(
        refused(&with(r#""compression":"\ud800""#)),
        "not valid JSON at line 3 column 15: a string holds half of a surrogate pair",
    );
}

#[test]
fn wrong_types_are_located() {
    for (text, error) in [
        ("\n7".to_owned(), "config.json: expected an object and found a number at line 2 column 1"),
        (
            r#"{"plugins":{}}"#.to_owned(),
            "plugins: expected an array and found an object at line 1 column 12",
        ),
        (
            r#"{"plugins":["kafka"]}"#.to_owned(),
            "plugins[0]: expected an object and found a string at line 1 column 13",
        ),
        (
            only(r#""brokers":"localhost:9092""#),
            "brokers: expected an array and found a string at line 1 column 64",
        ),
        (
            only(r#""brokers":["a:1",9092]"#),
            "brokers[1]: expected a string and found a number at line 1 column 71",
        ),
        (
            with(r#""tls_enabled":"true""#),
            "tls_enabled: expected true or false and found a string at line 3 column 15",
        ),
        (
            with(r#""batch_size":"100""#),
            "batch_size: expected a number and found a string at line 3 column 14",
        ),
        (
            with(r#""plugin_span_filter":[]"#),
            "plugin_span_filter: expected an object and found an array at line 3 column 22",
        ),
        (
            with_password("true"),
            "sasl.password: expected a string and found true or false at line 4 column 70",
        ),
    ] {
        assert_eq!(refused(&text), error);
    }
}

#[test]
fn unknown_fields_are_named_with_the_nearest_known() {
    for (text, error) in [
        (
            with(r#""flush_interval":5"#),
            "flush_interval: unknown field; did you mean flush_interval_ms?",
        ),
        (with(r#""Topic":"x""#), "Topic: unknown field; did you mean topic?"),
        (with(r#""to\npic":"x""#), "to?pic: unknown field; did you mean topic?"),
        (
            with(r#""plugin_span_filter":{"mod":"include"}"#),
            "plugin_span_filter.mod: unknown field; did you mean mode?",
        ),
        (
            with(r#""sasl_enabled":true,"sasl":{"user":"x"}"#),
            "sasl.user: unknown field; remove it, or use one of mechanism, username, password",
        ),
        (
            with_password(r#"{"values":"secret"}"#),
            "sasl.password.values: unknown field; did you mean value?",
        ),
    ] {
        assert_eq!(refused(&text), error);
    }
    assert!(refused(&with(r#""acks":"all""#)).starts_with(
        "acks: unknown field; remove it, or use one of brokers, topic, tls_enabled, ca_cert,"
    ));
}

#[test]
fn values_that_cannot_work_are_named_with_a_remedy() {
    for (text, error) in [
        (
            only(""),
            "brokers: missing or empty; name at least one broker, such as [\"localhost:9092\"]",
        ),
        (only(r#""brokers":["a:1"]"#), "topic: missing or empty; name the topic to publish to"),
        (
            with(r#""compression":"brotli""#),
            "compression: \"brotli\" is unknown; use none, gzip, snappy, lz4 or zstd",
        ),
        (
            with(r#""batch_size":0"#),
            "batch_size: 0 is out of range; use a whole number from 1 to 1000000",
        ),
        (
            with(r#""batch_size":-5"#),
            "batch_size: -5 is out of range; use a whole number from 1 to 1000000",
        ),
        (
            with(r#""batch_size":1.5"#),
            "batch_size: 1.5 is out of range; use a whole number from 1 to 1000000",
        ),
        (
            with(r#""flush_interval_ms":-1"#),
            "flush_interval_ms: -1 is out of range; use a whole number from 0 to 3600000",
        ),
        (
            with(r#""flush_interval_ms":18446744073709551615"#),
            "flush_interval_ms: 18446744073709551615 is out of range; use a whole number from \
             0 to 3600000",
        ),
        (
            with(r#""sasl_enabled":true"#),
            "sasl_enabled: true but sasl is missing; add sasl with mechanism, username and \
             password, or set sasl_enabled to false",
        ),
        (
            with(r#""sasl_enabled":true,"sasl":{}"#),
            "sasl.mechanism: missing or empty; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        ),
        (
            with(r#""sasl_enabled":true,"sasl":{"mechanism":"GSSAPI"}"#),
            "sasl.mechanism: \"GSSAPI\" is unknown; use PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
        ),
        (
            with(r#""sasl_enabled":true,"sasl":{"mechanism":"PLAIN"}"#),
            "sasl.username: missing or empty; give it as text or as \"env.NAME\"",
        ),
        (
            with(r#""plugin_span_filter":{"mode":"only"}"#),
            "plugin_span_filter.mode: \"only\" is unknown; use include or exclude",
        ),
        (
            with(r#""plugin_span_filter":{"plugins":[]}"#),
            "plugin_span_filter.mode: missing or empty; use include or exclude",
        ),
        (
            r#"{"plugins":[{"name":"kafka"},{"name":"otel"},{"name":"kafka"}]}"#.to_owned(),
            "plugins[0] and plugins[2] are both named \"kafka\"; keep the one that is meant",
        ),
    ] {
        assert_eq!(refused(&text), error);
    }
}

#[test]
fn what_is_wrong_with_the_start_is_named_with_a_remedy() {
    for (text, error) in [
        (
            with(r#""topic_partitions":0"#),
            "topic_partitions: 0 is out of range; use a whole number from 1 to 2147483647",
        ),
        (
            with(r#""topic_replication_factor":-1"#),
            "topic_replication_factor: -1 is out of range; use a whole number from 1 to 32767",
        ),
        (
            with(r#""topic_configs":{"retention.ms":1000}"#),
            "topic_configs.retention.ms: expected a string and found a number at line 3 column 33",
        ),
        (with(r#""probe":"no""#), "probe: \"no\" is unknown; use require, warn or off"),
    ] {
        assert_eq!(refused(&text), error);
    }
}

#[test]
fn content_logging_and_bifrosts_own_switch_agree_or_are_refused() {
    use ContentLogging::{Hash, Keep, Seed, Strict};
    for (settings, content) in [
        (r#""topic":"t""#, Keep),
        (r#""disable_content_logging":false"#, Keep),
        (r#""disable_content_logging":true"#, Seed),
        (r#""content_logging":"keep""#, Keep),
        (r#""content_logging":"seed""#, Seed),
        (r#""content_logging":"strict""#, Strict),
        (r#""content_logging":"hash""#, Hash),
        (r#""disable_content_logging":true,"content_logging":null"#, Seed),
        (r#""disable_content_logging":null,"content_logging":"hash""#, Hash),
        (r#""disable_content_logging":false,"content_logging":"keep""#, Keep),
        (r#""content_logging":"strict","disable_content_logging":true"#, Strict),
    ] {
        assert_eq!(enabled(&with(settings)).content_logging, content, "{settings}");
    }
    for (settings, error) in [
        (
            r#""content_logging":"keep","disable_content_logging":true"#,
            "disable_content_logging: true and content_logging: \"keep\" contradict each \
             other; remove one of the two",
        ),
        (
            r#""disable_content_logging":false,"content_logging":"strict""#,
            "disable_content_logging: false and content_logging: \"strict\" contradict each \
             other; remove one of the two",
        ),
        (
            r#""content_logging":"none""#,
            "content_logging: \"none\" is unknown; use keep, seed, strict or hash",
        ),
        (
            r#""content_logging":true"#,
            "content_logging: expected a string and found true or false at line 3 column 19",
        ),
    ] {
        assert_eq!(refused(&with(settings)), error);
    }
}

#[test]
fn other_plugins_and_what_they_hold_are_bifrosts() {
    let kafka = r#"{"enabled":true,"name":"kafka","config":{"brokers":["a:1"],"topic":"t"}}"#;
    let others = r#"{"name":"otel","enabled":false,"config":{"topic":7}},
            {"name":"Kafka","enabled":true,"config":[]},{"config":null},
            {"name":"kafka-2","path":"./k.so","enabled":"yes"}"#;
    for text in [
        format!(r#"{{"plugins":[{others},{kafka}]}}"#),
        format!(r#"{{"providers":{{"kafka":1}},"plugins":[{kafka},{others}]}}"#),
    ] {
        assert_eq!(enabled(&text).topic, "t");
        let entry = KafkaEntry::from_json(&text.replace(kafka, "{}"), &environment);
        assert!(matches!(entry, Ok(KafkaEntry::Missing)));
        let off = kafka.replace("true", "false");
        let entry = KafkaEntry::from_json(&text.replace(kafka, &off), &environment);
        assert!(matches!(entry, Ok(KafkaEntry::Disabled)));
    }
}

#[test]
fn secrets_come_as_text_variable_or_object() {
    for (password, secret) in [
        (r#""plain""#, "plain"),
        (r#""env.KAFKA_PASSWORD""#, "hunter2"),
        (r#"{"value":"plain"}"#, "plain"),
        (r#"{"value":"plain","env_var":"","from_env":false}"#, "plain"),
        (r#"{"value":"plain","env_var":"env.UNSET","from_env":false}"#, "plain"),
        (r#"{"value":"env.KAFKA_PASSWORD"}"#, "hunter2"),
        (r#"{"value":"hun****","env_var":"env.KAFKA_PASSWORD","from_env":true}"#, "hunter2"),
        (r#"{"value":null,"env_var":"KAFKA_PASSWORD","from_env":true}"#, "hunter2"),
        (r#"{"env_var":"env.KAFKA_PASSWORD"}"#, "hunter2"),
        (r#"{"value":"","secret_ref":"env.KAFKA_PASSWORD","from_secret":true}"#, "hunter2"),
    ] {
        let config = enabled(&with_password(password));
        assert_eq!(config.sasl.unwrap().password.expose(), secret, "{password}");
    }
}

#[test]
fn variables_without_a_value_are_named() {
    for (text, error) in [
        (
            with_password(r#""env.UNSET""#),
            "sasl.password: the environment variable \"UNSET\" is not set; set it, or give \
             another",
        ),
        (
            with_password(r#"{"env_var":"env.EMPTY","from_env":true}"#),
            "sasl.password: the environment variable \"EMPTY\" is empty; set it, or give \
             another",
        ),
        (
            with(r#""tls_enabled":true,"ca_cert":"env.UNSET""#),
            "ca_cert: the environment variable \"UNSET\" is not set; set it, or give another",
        ),
        (
            with_password(r#""""#),
            "sasl.password: missing or empty; give it as text or as \"env.NAME\"",
        ),
        (
            with_password(r#""vault.kafka/password""#),
            "sasl.password: references to a vault are not supported; put the secret into an \
             environment variable and write \"env.NAME\"",
        ),
        (
            with_password(r#"{"value":"","vault_var":"vault.a","from_vault":true}"#),
            "sasl.password: references to a vault are not supported; put the secret into an \
             environment variable and write \"env.NAME\"",
        ),
    ] {
        assert_eq!(refused(&text), error);
    }
}

#[test]
fn an_empty_certificate_means_the_systems() {
    for ca_cert in [r#""""#, r#"{"value":"","env_var":"","from_env":false}"#] {
        let config = enabled(&with(&format!(r#""tls_enabled":true,"ca_cert":{ca_cert}"#)));
        assert!(config.ca_cert.is_none());
    }
}

#[test]
fn what_is_switched_off_is_not_read() {
    let config =
        enabled(&with(r#""ca_cert":"env.UNSET","sasl":{"mechanism":"","username":"env.UNSET"}"#));
    assert!(config.ca_cert.is_none() && config.sasl.is_none());
}

#[test]
fn no_error_and_no_debug_shows_a_secret() {
    for password in [
        r#"{"value":"hunter2","from_env":"hunter2"}"#,
        r#"{"value":["hunter2"]}"#,
        r#"["hunter2"]"#,
        r#""vault.hunter2""#,
    ] {
        let error = KafkaEntry::from_json(&with_password(password), &environment).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    assert!(!format!("{:?}", enabled(FULL)).contains("hunter2"));
}

#[test]
fn a_deep_file_costs_no_stack() {
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(500_000), "]".repeat(500_000));
    assert!(matches!(KafkaEntry::from_json(&deep, &environment), Ok(KafkaEntry::Missing)));
    assert!(refused(&"[".repeat(500_000)).starts_with("not valid JSON at line 1"));
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = KafkaEntry::from_json(&text, &environment);
    }

    #[test]
    fn arbitrary_settings_never_panic(
        field in prop::sample::select(FIELDS),
        value in "(\\[|\\]|\\{|\\}|,|:|\"[a-z:.0-9]{0,6}\"|-?[0-9]{1,25}|null|true){0,6}",
    ) {
        let _ = KafkaEntry::from_json(&with(&format!("\"{field}\":{value}")), &environment);
    }
}
