//! TensorZero's inferences through the program: its own TOML, its rows, its topics and metrics.

use super::process::{Config, free_address, get, ottla, run, text};
use super::program::Service;
use super::security::{file, tls};
use ottla::broker::{BrokerConfig, BrokerSasl, EmbeddedBroker, ProduceFault};
use ottla::protocol::{Codec, ErrorCode};
use std::process::Output;

/// TensorZero's documentation, word for word.
const DOCUMENTED: &str = include_str!("../golden/tensorzero.toml");

/// The documentation's, too.
const MODEL: &str = include_str!("../golden/tensorzero-model-inference.json");

/// The documentation's, with something in the places of its dots.
const CHAT: &str = r#"{
  "id": "inference-uuid",
  "function_name": "chat_function",
  "variant_name": "variant_a",
  "episode_id": "episode-uuid",
  "input": {"messages": [{"role": "user", "content": "a { b \" c"}]},
  "output": [{"type": "text", "text": "d\n  e"}],
  "processing_time_ms": 123,
  "tags": {"key": "value"}
}"#;

const JSON: &str = r#"{"id":"","function_name":"f","variant_name":"v","episode_id":"e", "input":{},"output":{"raw":"1"},"x":1e400}"#;

async fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default()).await.unwrap()
}

/// The documented file, without a login, for this broker.
fn open(broker: &EmbeddedBroker) -> String {
    let text = DOCUMENTED.replace("localhost:9092", &broker.bootstrap().join(","));
    text.split("# Optional SASL").next().unwrap().to_owned()
}

/// Keys and values of a topic.
fn records(broker: &EmbeddedBroker, topic: &str) -> Vec<(Option<String>, String)> {
    let accepted = broker.accepted(topic).into_iter();
    accepted
        .map(|record| (record.key.map(|key| text(&key)), text(&record.value.unwrap())))
        .collect()
}

/// What is on the topic when a row on many lines is.
fn on_one_line(row: &str) -> String {
    let lines = row.lines().map(|line| line.trim_start().replacen("\": ", "\":", 1));
    lines.collect::<String>().replace(": [", ":[").replace("\": \"", "\":\"").replace(", \"", ",\"")
}

fn keyed(key: &str, value: &str) -> (Option<String>, String) {
    (Some(key.to_owned()), value.to_owned())
}

fn start_on_stdin(config: &Config, kind: &str, more: &[&str], input: &str) -> Output {
    let mut command = ottla(&["start", "--config", config.path(), "--stdin", kind]);
    command.args(more);
    run(command, input)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_file_is_enough_word_for_word_but_for_the_broker() {
    let users = BrokerSasl::new([("your-username", "your-password")]);
    let secured = BrokerConfig::default().with_tls(tls()).with_sasl(users);
    let broker = EmbeddedBroker::start(secured).await.unwrap();
    let documented = DOCUMENTED.replace("localhost:9092", &broker.bootstrap().join(","));
    let config = Config::toml("tensorzero-documented", &documented);
    let mut command = ottla(&["start", "--config", config.path(), "--stdin", "model_inference"]);
    command.env("SSL_CERT_FILE", file("ca.pem"));
    let output = run(command, &MODEL.replace('\n', ""));
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("1 row delivered, 0 not delivered"), "{log}");
    let accepted = broker.accepted("tensorzero_model_inference");
    assert_eq!(accepted[0].key.as_deref(), Some(&b"inference-uuid"[..]));
    assert_eq!(text(accepted[0].value.as_ref().unwrap()), MODEL.replace('\n', ""));
    assert!(accepted[0].stamp.producer_id >= 0, "idempotent");
    assert!(broker.logins() > 0);

    let theirs = format!("tls_ca_file = {:?}\nrequest_timeout_ms", file("ca.pem"));
    let config = Config::toml(
        "tensorzero-wrong",
        &documented
            .replace("request_timeout_ms", &theirs)
            .replace("\"your-password\"", "\"env.OTTLA_TEST_PASSWORD\""),
    );
    let mut command = ottla(&["start", "--config", config.path(), "--stdin", "chat_inference"]);
    command.env("OTTLA_TEST_PASSWORD", "wrong");
    let output = run(command, "");
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{log}");
    assert!(log.starts_with("ottla: kafka: failed to connect: "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_received_over_http_and_published_to_the_topic_of_their_kind() {
    let broker = broker().await;
    let config = Config::toml("tensorzero-http", &open(&broker));
    let service = Service::start(&config, &[]);
    let post = |kind: &str, body: &str| {
        service.post(&format!("/v1/tensorzero/{kind}"), "", body.as_bytes())
    };
    assert_eq!(post("model_inference", MODEL), (202, r#"{"accepted":1}"#.to_owned()));
    let many = format!("[{CHAT}, {CHAT}]\n{CHAT}\n");
    assert_eq!(post("chat_inference", &many), (202, r#"{"accepted":3}"#.to_owned()));
    assert_eq!(post("json_inference", JSON), (202, r#"{"accepted":1}"#.to_owned()));
    let (status, answer) = post("chat_inference", &format!("{CHAT}\n{JSON}\n{{\"id\":7}}"));
    assert_eq!(status, 400);
    assert_eq!(
        answer,
        r#"{"accepted":1,"errors":["row 1 is refused at line 11 column 97: output: expected an array, found an object","row 2 is refused at line 12 column 8: id: expected a string, found a number"]}"#
    );
    let (status, answer) = post("feedback", MODEL);
    assert_eq!(status, 404);
    assert!(answer.contains("POST rows to /v1/tensorzero/model_inference,"), "{answer}");
    let (code, log) = service.terminate();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("6 rows delivered, 0 not delivered"), "{log}");

    let id = "inference-uuid";
    assert_eq!(records(&broker, "tensorzero_model_inference"), [keyed(id, &on_one_line(MODEL))]);
    let chats = records(&broker, "tensorzero_chat_inference");
    assert_eq!(chats, vec![keyed(id, &on_one_line(CHAT)); 4]);
    assert_eq!(records(&broker, "tensorzero_json_inference"), [keyed("e", JSON)]);
    assert_eq!(broker.accepted("tensorzero_chat_inference")[0].codec, Codec::Lz4);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_on_standard_input_are_rows_of_one_kind() {
    let broker = broker().await;
    let config =
        Config::toml("tensorzero-stdin", &format!("{}key = \"episode_id\"", open(&broker)));
    let line = CHAT.replace('\n', " ");
    let output = start_on_stdin(&config, "chat_inference", &[], &format!("{line}\n\n{line}"));
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("2 rows delivered, 0 not delivered"), "{log}");
    let written = keyed("episode-uuid", &line);
    assert_eq!(records(&broker, "tensorzero_chat_inference"), [written.clone(), written]);

    let output = start_on_stdin(&config, "chat_inference", &[], &format!("{{}}\n{line}\n"));
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{log}");
    let told = "standard input, line 1, column 2: id: missing; it is a string";
    assert!(log.contains(told), "{log}");
    assert!(log.contains("1 row delivered, 0 not delivered; 1 line of input refused"), "{log}");

    let output = run(ottla(&["start", "--dev", "--stdin", "chat_inference"]), &line);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let output = start_on_stdin(&config, "bifrost", &[], "");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_development_broker_takes_the_place_of_the_configured_ones() {
    let config = Config::toml("tensorzero-dev", DOCUMENTED);
    let output = start_on_stdin(&config, "model_inference", &["--dev"], &MODEL.replace('\n', ""));
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("1 row delivered"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn synchronous_writes_are_answered_when_kafka_has_them_and_counted_as_tensorzero_does() {
    let broker = broker().await;
    broker.create_topic("tensorzero_json_inference", 1).unwrap();
    let text = open(&broker).replace("async_writes = true", "async_writes = false");
    let config = Config::toml("tensorzero-sync", &text);
    let admin = free_address();
    let service = Service::start(&config, &["--admin-endpoint", &admin]);
    let path = "/v1/tensorzero/json_inference";
    let (status, answer) = service.post(path, "", JSON.as_bytes());
    assert_eq!((status, &*answer), (200, r#"{"accepted":1,"delivered":1}"#));
    let fault = ProduceFault::Refuse(ErrorCode::INVALID_RECORD);
    broker.inject("tensorzero_json_inference", 0, fault);
    let (status, answer) = service.post(path, "", JSON.as_bytes());
    assert_eq!(status, 503, "{answer}");
    assert_eq!(service.post(path, "", b"{}").0, 400);

    let shown = get(&admin, "/metrics");
    let labels = r#"{topic="tensorzero_json_inference",data_type="json_inference"}"#;
    for line in [
        "kafka_connections_established 1".to_owned(),
        "kafka_connection_errors 0".to_owned(),
        "kafka_serialization_errors 1".to_owned(),
        format!("kafka_writes_success{labels} 1"),
        format!("kafka_writes_failed{labels} 1"),
        format!("kafka_write_duration_ms_count{labels} 1"),
        r#"ottla_ledger_items{exporter="tensorzero",state="received"} 2"#.to_owned(),
        r#"ottla_ledger_items{exporter="tensorzero",state="delivered"} 1"#.to_owned(),
        r#"ottla_ledger_items{exporter="tensorzero",state="failed"} 1"#.to_owned(),
        r#"ottla_exporter_queue_records{exporter="tensorzero"} 0"#.to_owned(),
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line:?} is not in\n{shown}");
    }
    assert!(shown.contains("kafka_write_duration_ms_bucket"), "{shown}");
    let (code, log) = service.terminate();
    assert_eq!(code, 4, "{log}");
    let told = "kafka: failed to write row e to tensorzero_json_inference: ";
    assert!(log.contains(told), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_in_one_sentence() {
    let broker = broker().await;
    let open = open(&broker);
    let nowhere = open.replace(&broker.bootstrap().join(","), &free_address());
    for (name, text, code, message) in [
        ("down", nowhere.clone(), 3, "kafka: failed to connect: cannot connect to 127.0.0.1:"),
        (
            "key",
            format!("{open}linger = 5"),
            2,
            "unknown field `linger`, expected one of `enabled`",
        ),
        ("codec", open.replace("lz4\"", "br\""), 2, "kafka.compression_type: \"br\" is unknown;"),
        ("off", open.replace("enabled = true", "enabled = false"), 2, "Kafka is off; set enabled"),
        (
            "toml",
            "[gateway]\npassword = \"hunter2".to_owned(),
            2,
            "not TOML: line 2: invalid basic string",
        ),
    ] {
        let config = Config::toml(&format!("tensorzero-{name}"), &text);
        let output = run(ottla(&["start", "--config", config.path()]), "");
        let shown = super::process::text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{shown}");
        assert!(shown.contains(message) && !shown.contains("hunter2"), "{shown}");
        assert_eq!(shown.lines().count(), 1, "{shown}");
    }
    let config = Config::toml("tensorzero-warn", &format!("{nowhere}probe = \"warn\""));
    let more = ["--shutdown-timeout", "100ms"];
    let output = start_on_stdin(&config, "json_inference", &more, JSON);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{log}");
    assert!(log.contains("kafka: failed to connect: cannot connect to 127.0.0.1:"), "{log}");
    assert!(log.contains("; it is started all the same, as probe says"), "{log}");
    assert!(log.contains("0 rows delivered, 1 not delivered"), "{log}");
}
