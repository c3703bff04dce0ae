//! The program, as a person runs it: what it prints, answers and exits with.

use super::process::{Config, Running, free_address, get, http, ottla, run, text};
use ottla::broker::{Api, BrokerConfig, EmbeddedBroker, RequestFault};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::time::Duration;
use tokio::time::timeout;

pub(crate) const TRACE: &str = include_str!("../golden/bifrost-trace.json");
const RECORD: &str = include_str!("../golden/bifrost-record.json");

/// A service, and where it serves HTTP.
pub(crate) struct Service {
    running: Running,
    pub(crate) address: String,
}

impl Service {
    pub(crate) fn start(config: &Config, arguments: &[&str]) -> Self {
        let mut command = ottla(&["start", "--otlp-http-endpoint", "127.0.0.1:0"]);
        command.args(["--config", config.path()]).args(arguments);
        let mut running = Running::start(command);
        let address = running.address_after("http://");
        Self { running, address }
    }

    /// The status and the body of an answer.
    pub(crate) fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let head = format!("POST {path} HTTP/1.1\r\n{headers}");
        let (status, _, answer) = http(&self.address, &head, body);
        (status, text(&answer).trim_end().to_owned())
    }

    pub(crate) fn terminate(self) -> (i32, String) {
        self.running.terminate()
    }
}

async fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default()).await.unwrap()
}

fn entry(broker: &EmbeddedBroker, more: &str) -> String {
    format!(r#"{{"brokers": {:?}, "topic": "traces"{more}}}"#, broker.bootstrap())
}

#[test]
fn the_demo_shows_a_trace_read_back_and_what_to_try_next() {
    let output = run(ottla(&["demo"]), "");
    assert!(output.status.success());
    let shown = text(&output.stdout);
    for part in [
        "0e8b9293a69d4652804d2ab61121c1f2 is at partition 0 offset 0",
        "├─ plugin.telemetry.prehook",
        "├─ chat gpt-4o-mini",
        "error: rate limit exceeded",
        "start --dev",
        "tail bifrost-traces --follow",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    assert!(!shown.contains("plugin.logging"), "it was filtered");
    assert!(!shown.contains('\x1b'), "no colours in a pipe");
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_received_over_http_and_published_as_documented() {
    let broker = broker().await;
    let more = r#", "auto_create_topic": true, "flush_interval_ms": 60000"#;
    let config = Config::new("http", &entry(&broker, more));
    let service = Service::start(&config, &[]);
    let path = "/v1/bifrost/traces";
    assert_eq!(service.post(path, "", TRACE.as_bytes()), (202, r#"{"accepted":1}"#.into()));
    let array = br#"[{"TraceID": "a"}, {"TraceID": "b"}]"#;
    assert_eq!(service.post(path, "", array), (202, r#"{"accepted":2}"#.into()));
    let (status, answer) = service.post(path, "", b"{\"TraceID\":\"c\"}\n{\"TraceID\": nope}\n");
    assert_eq!(status, 400);
    assert_eq!(
        answer,
        r#"{"accepted":1,"errors":["trace 1 is not valid JSON at line 2 column 14: expected ident"]}"#
    );
    let (status, answer) = service.post(path, "", b"{}");
    assert_eq!(status, 400);
    assert!(answer.contains("TraceID: missing or empty"), "{answer}");
    assert_eq!(service.post("/v1/traces", "", b"{}").0, 404);
    let (status, answer) = service.post(path, "Content-Encoding: br\r\n", b"x");
    assert_eq!(status, 415);
    assert!(answer.contains("content encoding \\\"br\\\" is not read"), "{answer}");
    let (status, answer) = service.post(path, "", &vec![b' '; (20 << 20) + 1]);
    assert_eq!((status, answer.contains("larger than 20971520 bytes")), (413, true), "{answer}");

    let (code, log) = service.terminate();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("4 traces delivered, 0 not delivered"), "{log}");
    let stored = broker.accepted("traces");
    let keys: Vec<_> = stored.iter().map(|record| record.key.as_deref().unwrap()).collect();
    assert_eq!(keys, [&b"0e8b9293a69d4652804d2ab61121c1f2"[..], b"a", b"b", b"c"]);
    assert_eq!(stored[0].value.as_deref(), Some(RECORD.trim_end().as_bytes()));
    assert_eq!(
        stored[0].batch_offset, stored[3].batch_offset,
        "one batch: they waited for each other"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_waits_for_kafka_is_answered_after_it() {
    let broker = broker().await;
    let more = r#", "auto_create_topic": true, "flush_interval_ms": 80000"#;
    let config = Config::new("ack", &entry(&broker, more));
    let service = Service::start(&config, &["--ack", "broker"]);
    let post = move || service.post("/v1/bifrost/traces", "", b"{\"TraceID\": \"a\"}");
    let answer = timeout(Duration::from_secs(60), tokio::task::spawn_blocking(post)).await;
    let answer = answer.expect("it does not linger for others").unwrap();
    assert_eq!(answer, (200, r#"{"accepted":1,"delivered":1}"#.into()));
    assert_eq!(broker.accepted("traces").len(), 1, "it was there before the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_delivered_before_the_end_is_counted() {
    let broker = broker().await;
    let more = r#", "auto_create_topic": true, "flush_interval_ms": 60000"#;
    let config = Config::new("end", &entry(&broker, more));
    let service = Service::start(&config, &["--shutdown-timeout", "100ms"]);
    service.post("/v1/bifrost/traces", "", b"{\"TraceID\": \"a\"}");
    // Before flush_interval is over the broker is gone.
    broker.shutdown().await;
    let (code, log) = service.terminate();
    assert_eq!(code, 4, "{log}");
    assert!(log.contains("kafka plugin: failed to write trace a: "), "{log}");
    assert!(log.contains("ottla: 0 traces delivered, 1 not delivered"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_is_delivered_to_its_end_and_bad_lines_are_named() {
    let broker = broker().await;
    let config = Config::new("stdin", &entry(&broker, r#", "auto_create_topic": true"#));
    let arguments = ["start", "--stdin", "bifrost", "--config", config.path()];
    let one_line = TRACE.replace('\n', " ");
    let output = run(ottla(&arguments), &format!("{one_line}\n{{\"TraceID\":\n{one_line}\n\n"));
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{log}");
    assert!(log.contains("standard input, line 2, column 11: EOF while parsing a value"), "{log}");
    assert!(log.contains("ottla: 2 traces delivered, 0 not delivered; 1 line of input refused"));
    assert_eq!(broker.accepted("traces").len(), 2);

    let output = run(ottla(&arguments), &one_line);
    assert_eq!(output.status.code(), Some(0), "without a line end, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_back_decoded_or_as_it_is() {
    let broker = broker().await;
    let config = Config::new("tail", &entry(&broker, r#", "auto_create_topic": true"#));
    let start = ottla(&["start", "--stdin", "bifrost", "--config", config.path()]);
    let one_line = TRACE.replace('\n', " ");
    assert!(run(start, &format!("{one_line}\n{{\"TraceID\":\"b\"}}\n")).status.success());
    let brokers = broker.bootstrap().join(",");
    let tail = |more: &[&str]| {
        let mut command = ottla(&["tail", "traces", "--brokers", &brokers]);
        command.args(more);
        text(&run(command, "").stdout)
    };
    let shown = tail(&[]);
    assert!(shown.contains("trace 0e8b9293a69d4652804d2ab61121c1f2   1.12 s   5 spans"), "{shown}");
    assert!(shown.contains("partition 0 offset 1\nkey b\n"), "{shown}");
    assert_eq!(tail(&["--format", "value", "-n", "all"]).lines().next(), Some(RECORD.trim_end()));
    assert!(tail(&["--format", "raw", "--last", "1"]).starts_with("b\t{\"RequestID\":\"\""));
    let missing = run(ottla(&["tail", "nope", "--brokers", &brokers]), "");
    assert_eq!(missing.status.code(), Some(2));
    assert_eq!(text(&missing.stderr), "ottla: topic \"nope\" does not exist\n");
}

#[test]
fn the_development_broker_passes_for_the_broker_that_it_is_told_to() {
    let mut command = ottla(&["broker", "--listen", "127.0.0.1:0", "--profile", "redpanda"]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Held to the end: a program whose output nobody takes ends.
    let mut output = BufReader::new(child.stdout.take().unwrap());
    output.read_line(&mut line).unwrap();
    let mut stream = TcpStream::connect(line.trim_end().rsplit(' ').next().unwrap()).unwrap();
    // ApiVersions v99, which Redpanda answers with all of its ten APIs, Produce v0 to v7 first.
    stream.write_all(&[0, 0, 0, 8, 0, 18, 0, 99, 0, 0, 0, 1]).unwrap();
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer[8..], [0, 35, 0, 0, 0, 10, 0, 0, 0, 0, 0, 7]);

    let unknown = run(ottla(&["broker", "--profile", "kafka1"]), "");
    let message = text(&unknown.stderr);
    assert_eq!(unknown.status.code(), Some(2), "{message}");
    assert!(message.contains("invalid value 'kafka1' for '--profile <NAME>'"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_start_says_why_in_one_sentence() {
    let broker = broker().await;
    let nothing = free_address();
    let here = format!("{:?}", broker.bootstrap());
    let with = |more: &str| format!(r#"{{"brokers": {here}, "topic": "t"{more}}}"#);
    for (name, entry, code, message) in [
        ("topic", with(""), 2, "kafka plugin: topic \"t\" does not exist".to_owned()),
        (
            "field",
            with(r#", "topci": 1"#),
            2,
            "topci: unknown field; did you mean topic?".to_owned(),
        ),
        (
            "type",
            with(r#", "batch_size": "many""#),
            2,
            "batch_size: expected a number and found a string at line 1 column".to_owned(),
        ),
        ("brokers", r#"{"topic": "t"}"#.to_owned(), 2, "brokers: missing or empty".to_owned()),
        (
            "secret",
            with(
                r#", "sasl_enabled": true, "sasl": {"mechanism": "PLAIN", "username": "u", "password": "env.OTTLA_TEST_UNSET"}"#,
            ),
            2,
            "sasl.password: the environment variable \"OTTLA_TEST_UNSET\" is not set".to_owned(),
        ),
        (
            "name",
            format!(r#"{{"brokers": {here}, "topic": "a b"}}"#),
            2,
            "topic: \"a b\" is not a topic name: only ASCII letters".to_owned(),
        ),
        (
            "down",
            format!(r#"{{"brokers": ["{nothing}"], "topic": "t"}}"#),
            3,
            format!("failed to connect/authenticate with broker: cannot connect to {nothing}: "),
        ),
    ] {
        assert_start_fails(name, &entry, code, &message);
    }
    let output = run(ottla(&["start"]), "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("give --config FILE, --exporter kafka"));
}

fn assert_start_fails(name: &str, entry: &str, code: i32, message: &str) {
    let config = Config::new(name, entry);
    let output = run(ottla(&["start", "--config", config.path()]), "");
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{shown}");
    assert!(shown.contains(message), "{shown}");
    assert_eq!(shown.lines().count(), 1, "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn security_that_cannot_work_says_why_in_one_sentence() {
    let broker = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    let here = format!("{:?}", broker.bootstrap());
    let with = |more: &str| format!(r#"{{"brokers": {here}, "topic": "t"{more}}}"#);
    for (name, entry, code, message) in [
        (
            "tls",
            with(r#", "tls_enabled": true"#),
            3,
            "closed the connection during the TLS handshake: does its port speak TLS?".to_owned(),
        ),
        (
            "certificate",
            with(r#", "tls_enabled": true, "ca_cert": "/no/such/ca.pem""#),
            2,
            "ca_cert: cannot read the CA certificate from /no/such/ca.pem: No such file".to_owned(),
        ),
        (
            "login",
            with(
                r#", "sasl_enabled": true, "sasl": {"mechanism": "PLAIN", "username": "u", "password": "p"}"#,
            ),
            3,
            format!(
                "failed to connect/authenticate with broker: {}: cannot log in: the broker knows no SASL",
                broker.bootstrap()[0]
            ),
        ),
    ] {
        assert_start_fails(name, &entry, code, &message);
    }
}

#[test]
fn a_server_that_is_no_kafka_broker_is_recognised() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 64];
        let read = stream.read(&mut request).unwrap();
        assert!(read > 0);
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n").unwrap();
    });
    let config = Config::new("foreign", &format!(r#"{{"brokers": ["{address}"], "topic": "t"}}"#));
    let output = run(ottla(&["start", "--config", config.path()]), "");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        text(&output.stderr),
        format!(
            "ottla: kafka plugin: failed to connect/authenticate with broker: {address}: an HTTP \
             server answered, not a Kafka broker\n"
        )
    );
    server.join().unwrap();
}

fn assert_metrics(admin: &str, lines: &[&str]) {
    let shown = get(admin, "/metrics");
    for line in lines {
        assert!(shown.lines().any(|shown| shown == *line), "{line:?} is not in\n{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_sends_the_sender_away_with_a_time_to_come_back() {
    let broker = broker().await;
    let config = Config::new("full", &entry(&broker, r#", "auto_create_topic": true"#));
    let admin = free_address();
    let more = ["--shutdown-timeout", "0ms", "--admin-endpoint", &admin];
    let service = Service::start(&config, &more);
    // Nothing is acknowledged, so nothing makes room.
    broker.inject_request(Api::Produce, RequestFault::Silence);
    let large = format!(r#"{{"TraceID": "a", "Attributes": {{"x": "{}"}}}}"#, "x".repeat(18 << 20));
    let answers: Vec<_> =
        (0..6).map(|_| service.post("/v1/bifrost/traces", "", large.as_bytes())).collect();
    let accepted = answers.iter().filter(|(status, _)| *status == 202).count();
    let (status, answer) = answers.last().unwrap();
    assert_eq!((*status, accepted), (429, 4), "the queue holds 80 MiB");
    assert_eq!(
        answer,
        r#"{"accepted":0,"errors":["the queue is full: send the traces again later"]}"#
    );
    assert_metrics(
        &admin,
        &[
            r#"ottla_ledger_items{exporter="bifrost",state="received"} 4"#,
            r#"ottla_ledger_items{exporter="bifrost",state="pending"} 4"#,
            r#"ottla_ledger_items{exporter="bifrost",state="refused"} 2"#,
            r#"ottla_exporter_queue_records{exporter="bifrost"} 4"#,
            r#"ottla_exporter_queue_capacity_bytes{exporter="bifrost"} 83886080"#,
        ],
    );
    let (code, log) = service.terminate();
    assert_eq!(code, 4, "{log}");
    assert!(log.contains("0 traces delivered"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_in_kafka_are_counted_by_topic() {
    let broker = broker().await;
    let config = Config::new("counted", &entry(&broker, r#", "auto_create_topic": true"#));
    let admin = free_address();
    let service = Service::start(&config, &["--ack", "broker", "--admin-endpoint", &admin]);
    let (status, answer) = service.post("/v1/bifrost/traces", "", br#"{"TraceID": "a"}"#);
    assert_eq!(status, 200, "{answer}");
    assert_metrics(
        &admin,
        &[
            r#"ottla_exporter_sent_records{exporter="bifrost",topic="traces"} 1"#,
            r#"ottla_exporter_send_failed_records{exporter="bifrost",topic="traces"} 0"#,
            r#"ottla_exporter_dropped_items{exporter="bifrost",topic="traces"} 0"#,
            r#"ottla_exporter_write_latency_seconds_count{exporter="bifrost"} 1"#,
            r#"ottla_ledger_items{exporter="bifrost",state="delivered"} 1"#,
        ],
    );
    let (code, log) = service.terminate();
    assert_eq!(code, 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_waits_when_the_service_ends_is_told_how_its_trace_ended() {
    let broker = broker().await;
    let more = r#", "auto_create_topic": true, "flush_interval_ms": 0"#;
    let config = Config::new("told", &entry(&broker, more));
    let service = Service::start(&config, &["--ack", "broker"]);
    broker.inject_request(Api::Produce, RequestFault::Delay(Duration::from_millis(300)));
    let mut stream = TcpStream::connect(&service.address).unwrap();
    let request = "POST /v1/bifrost/traces HTTP/1.1\r\nHost: test\r\nContent-Length: 16\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    stream.write_all(b"{\"TraceID\": \"a\"}").unwrap();
    while !broker.requests().contains_key(&Api::Produce) {
        tokio::task::yield_now().await;
    }
    let (code, log) = service.terminate();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer:?} {log}");
    assert!(answer.contains(r#"{"accepted":1,"delivered":1}"#), "{answer:?} {log}");
    assert_eq!(code, 0, "{log}");
}
