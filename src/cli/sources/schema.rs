//! The schema of ottla's own file, held against what reads it.
//!
//! Names, words and descriptions of the service's options are the flags'; those of the Kafka
//! exporter are written from its table, which `exporter::otlp::options` sees to.
//!
//! Schema: `docs/schemas/ottla-config.schema.json`, for
//! <https://json-schema.org/draft/2020-12/schema>.

use super::*;
use crate::exporter::otlp::options::OPTIONS;
use serde_json::{Value, json};

fn schema() -> Value {
    let text = include_str!("../../../docs/schemas/ottla-config.schema.json");
    serde_json::from_str(text).unwrap()
}

fn names(properties: &Value) -> Vec<String> {
    properties.as_object().unwrap().keys().cloned().collect()
}

fn sorted(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort_unstable();
    names
}

/// Whether a file is one that a service could be started with.
fn read(text: &str) -> Result<(), String> {
    let file = ConfigFile::from_toml(text)?;
    let command = Sources::augment_args(Command::new("ottla"));
    let matches = command.try_get_matches_from(["ottla", "--dev"]).unwrap();
    let sources = Sources::from_arg_matches(&matches).unwrap();
    let exporters = sources.exporters(&file).map_err(|exit| exit.message)?;
    let service = sources.service(&file, exporters.otlp.is_some());
    service.map(drop).map_err(|exit| exit.message)
}

#[test]
fn the_schema_has_the_options_that_a_file_may_hold_in_the_words_of_the_flags() {
    let schema = schema();
    let properties = &schema["properties"];
    let of_service = OF_SERVICE.iter().chain(&["kafka_exporter"]).map(|&name| name.to_owned());
    assert_eq!(names(properties), sorted(of_service));
    let of_exporter = OPTIONS.iter().map(|row| row.name.replace('-', "_"));
    let of_exporter = sorted(of_exporter.chain(["properties".to_owned()]));
    assert_eq!(names(&properties["kafka_exporter"]["properties"]), of_exporter);

    let command = Flags::augment_args(Command::new("ottla"));
    for name in OF_SERVICE {
        let flag = command.get_arguments().find(|flag| flag.get_id() == name).unwrap();
        let described = properties[name]["description"].as_str().unwrap();
        let help = flag.get_help().unwrap().to_string();
        assert_eq!(described.trim_end_matches('.'), help.trim_end_matches('.'), "{name}");
        let words: Vec<_> = flag.get_possible_values();
        let words: Vec<_> = words.iter().map(|word| word.get_name()).collect();
        if !words.is_empty() {
            assert_eq!(properties[name]["anyOf"][0]["enum"], json!(words), "{name}");
        }
    }
    let defaults = ServiceConfig::default();
    assert_eq!(properties["otlp_max_message_mib"]["default"], defaults.message_size_max >> 20);
    let shutdown = duration(properties["shutdown_timeout"]["default"].as_str().unwrap());
    assert_eq!(shutdown, Ok(defaults.shutdown_timeout));
}

/// What README shows.
const DOCUMENTED: &str = r#"
otlp_grpc_endpoint = "0.0.0.0:4317"
admin_endpoint = "127.0.0.1:9464"

[kafka_exporter]
brokers = ["kafka-1:9092", "kafka-2:9092"]
acks = "all"
compression = "zstd"
partition_traces_by_id = true
security_protocol = "SASL_SSL"
sasl_mechanism = "SCRAM-SHA-512"
sasl_username = "ottla"
sasl_password = "secret"

[kafka_exporter.properties]
"queue.buffering.max.kbytes" = 65536
"#;

const CASES: &[(&str, bool)] = &[
    ("", true),
    ("exporter = \"Kafka\"", true),
    ("exporter = \"zipkin\"", false),
    ("exporter = 7", false),
    ("otlp_grpc_endpoint = \"[::]:0\"", true),
    ("otlp_grpc_endpoint = \"localhost:4317\"", false),
    ("otlp_grpc_endpoint = 4317", false),
    ("otlp_http_endpoint = \"127.0.0.1\"", false),
    ("admin_endpoint = true", false),
    ("otlp_max_message_mib = 64", true),
    ("otlp_max_message_mib = \"64\"", true),
    ("otlp_max_message_mib = -1", false),
    ("otlp_max_message_mib = 1.5", false),
    ("ack = \"broker\"", true),
    ("ack = \"all\"", false),
    ("shutdown_timeout = \"2m\"", true),
    ("shutdown_timeout = 2000", true),
    ("shutdown_timeout = \"2 h\"", true),
    ("shutdown_timeout = \"2 days\"", false),
    ("shutdown_timeout = -1", false),
    ("stdin = \"bifrost\"", false),
    ("kafka_exporter = \"a:1\"", false),
    ("[kafka_exporter]", true),
    ("[bifrost]\ntopic = \"t\"", false),
    ("[kafka_exporter]\nlinger = 5", false),
    ("[kafka_exporter]\nbrokers = []", false),
    ("[kafka_exporter]\nbrokers = \"a:1, b\"", true),
    ("[kafka_exporter]\nbrokers = { a = 1 }", false),
    ("[kafka_exporter]\ntraces_topic = \"\"", false),
    ("[kafka_exporter]\nformat = \"JSON\"", true),
    ("[kafka_exporter]\nformat = \"xml\"", false),
    ("[kafka_exporter]\ncompression = \"brotli\"", false),
    ("[kafka_exporter]\nacks = -1", true),
    ("[kafka_exporter]\nacks = \"One\"", true),
    ("[kafka_exporter]\nacks = 2", false),
    ("[kafka_exporter]\npartitioner = \"murmur2_random\"", true),
    ("[kafka_exporter]\npartitioner = \"sticky\"", false),
    ("[kafka_exporter]\nrequest_timeout = \"20 s\"", true),
    ("[kafka_exporter]\nrequest_timeout = \"soon\"", false),
    ("[kafka_exporter]\nlinger_ms = 0", true),
    ("[kafka_exporter]\nlinger_ms = 0.5", false),
    ("[kafka_exporter]\nlinger_ms = 900001", false),
    ("[kafka_exporter]\nlinger_ms = true", false),
    ("[kafka_exporter]\nmax_message_bytes = 999", false),
    ("[kafka_exporter]\nretries = \"many\"", false),
    ("[kafka_exporter]\npartition_logs_by_trace_id = true", true),
    ("[kafka_exporter]\npartition_logs_by_trace_id = \"TRUE\"", true),
    ("[kafka_exporter]\npartition_logs_by_trace_id = 1", false),
    ("[kafka_exporter]\npartition_logs_by_trace_id = \"yes\"", false),
    ("[kafka_exporter]\npartition_traces_by_attributes = [\"service.name\", \"user.id\"]", true),
    ("[kafka_exporter]\nclient_id = 7", true),
    ("[kafka_exporter]\nclient_id = 1.5", false),
    ("[kafka_exporter]\noversize = \"keep\"", false),
    ("[kafka_exporter]\ncreate_topics = true\ntopic_partitions = 12", true),
    ("[kafka_exporter]\ntopic_partitions = 0", false),
    ("[kafka_exporter]\ntopic_replication_factor = 32768", false),
    ("[kafka_exporter]\ntopic_configs = [\"cleanup.policy=compact\", \"retention.ms=1\"]", true),
    ("[kafka_exporter]\ntopic_configs = { \"retention.ms\" = 1 }", false),
    ("[kafka_exporter]\nwhen_full = \"drop_oldest\"", true),
    ("[kafka_exporter]\nwhen_full = \"drop\"", false),
    ("[kafka_exporter]\nprobe = \"off\"", true),
    ("[kafka_exporter]\nprobe = false", false),
    ("[kafka_exporter]\nsecurity_protocol = \"tls\"", false),
    ("[kafka_exporter]\nsecurity_protocol = \"ssl\"\ntls_verify = false", true),
    ("[kafka_exporter]\nsecurity_protocol = \"ssl\"\ntls_verify = \"no\"", false),
    ("[kafka_exporter.properties]\n\"enable.idempotence\" = true", true),
    ("[kafka_exporter.properties]\n\"linger.ms\" = \"5\"", true),
    ("[kafka_exporter.properties]\n\"linger.ms\" = 0.5", false),
    ("[kafka_exporter.properties]\n\"lingers.ms\" = 5", false),
    ("[kafka_exporter.properties]\n\"transactional.id\" = \"t\"", false),
    ("[kafka_exporter.properties]\nlinger.ms = 5", false),
];

#[test]
fn the_schema_accepts_what_is_read_and_refuses_what_is_refused() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for (text, is_good) in CASES.iter().copied().chain([(DOCUMENTED, true)]) {
        let file = serde_json::to_value(text.parse::<toml::Table>().unwrap()).unwrap();
        assert_eq!(schema.is_valid(&file), is_good, "schema: {text}");
        let found = read(text);
        assert_eq!(found.is_ok(), is_good, "{text}: {found:?}");
    }
}
