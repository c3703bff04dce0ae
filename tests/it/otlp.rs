//! OpenTelemetry through the program: by gRPC and HTTP, from clients that are not ours, into topics.

use super::process::{Running, get, http, ottla, text};
use super::real_kafka;
use futures_util::future::join_all;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use ottla::broker::{AcceptedRecord, BrokerConfig, EmbeddedBroker, ProduceFault};
use ottla::protocol::compression::Compressor;
use ottla::protocol::{Codec, ErrorCode};
use prost::Message;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::timeout;
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;

/// The program as a service, and where it listens.
pub(crate) struct Service {
    running: Running,
    pub(crate) grpc: String,
    http: String,
    admin: String,
}

impl Service {
    pub(crate) fn start(broker: &EmbeddedBroker, arguments: &[&str]) -> Self {
        Self::start_at(&broker.bootstrap().join(","), arguments)
    }

    fn start_at(brokers: &str, arguments: &[&str]) -> Self {
        let mut command = ottla(&["start", "--exporter", "kafka"]);
        command.args(["--kafka-exporter-brokers", brokers]);
        for endpoint in ["--otlp-grpc-endpoint", "--otlp-http-endpoint", "--admin-endpoint"] {
            command.args([endpoint, "127.0.0.1:0"]);
        }
        command.args(arguments);
        let mut running = Running::start(command);
        let grpc = running.address_after("gRPC at ");
        let http = running.address_after("http://");
        let admin = running.address_after("http://");
        Self { running, grpc, http, admin }
    }

    async fn channel(&self) -> Channel {
        Channel::from_shared(format!("http://{}", self.grpc)).unwrap().connect().await.unwrap()
    }

    /// The status, the head and the body of an answer.
    fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        http(&self.http, &format!("POST {path} HTTP/1.1\r\n{headers}"), body)
    }

    fn metrics(&self) -> String {
        get(&self.admin, "/metrics")
    }

    /// Received, and what became of it: filtered, delivered, failed, pending.
    fn ledger(&self, signal: &str) -> (u64, [u64; 4]) {
        let metrics = self.metrics();
        let count = |state: &str| {
            let name = format!(
                "ottla_ledger_items{{exporter=\"kafka\",signal=\"{signal}\",state=\"{state}\"}} "
            );
            let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
            line.unwrap().parse().unwrap()
        };
        (count("received"), ["filtered", "delivered", "failed", "pending"].map(count))
    }

    pub(crate) fn terminate(self) -> (i32, String) {
        self.running.terminate()
    }
}

pub(crate) async fn broker() -> EmbeddedBroker {
    EmbeddedBroker::start(BrokerConfig::default()).await.unwrap()
}

pub(crate) fn span(trace: u8, name: &str) -> Span {
    Span {
        trace_id: if trace == 0 { Vec::new() } else { vec![trace; 16] },
        span_id: vec![trace | 1; 8],
        name: name.to_owned(),
        ..Span::default()
    }
}

fn attribute(name: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: name.to_owned(), value, ..KeyValue::default() }
}

fn resource_spans(service: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![attribute("service.name", service)];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

pub(crate) fn traces(spans: Vec<Span>) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest { resource_spans: vec![resource_spans("api", spans)] }
}

fn logs(bodies: &[&str]) -> ExportLogsServiceRequest {
    let record = |body: &&str| LogRecord {
        body: Some(AnyValue { value: Some(Value::StringValue((*body).to_owned())) }),
        ..LogRecord::default()
    };
    let log_records = bodies.iter().map(record).collect();
    let scope_logs = vec![ScopeLogs { log_records, ..ScopeLogs::default() }];
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }],
    }
}

pub(crate) fn value(record: &AcceptedRecord) -> &[u8] {
    record.value.as_deref().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_by_grpc_is_in_its_topic_byte_for_byte_when_it_is_answered() {
    let broker = broker().await;
    let service = Service::start(&broker, &[]);
    let channel = service.channel().await;
    let mut client = TraceServiceClient::new(channel.clone());
    let request = traces(vec![span(1, "GET /"), span(2, "query")]);
    let answer = client.export(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer, ExportTraceServiceResponse::default());
    let records = broker.accepted("otlp_traces");
    assert_eq!(value(&records[0]), request.encode_to_vec());
    assert_eq!(records[0].key, None);

    let mut client = LogsServiceClient::new(channel).send_compressed(CompressionEncoding::Gzip);
    let request = logs(&["one", "two", "three"]);
    client.export(request.clone()).await.unwrap();
    assert_eq!(value(&broker.accepted("otlp_logs")[0]), request.encode_to_vec());

    let mut tail = ottla(&["tail", "otlp_traces", "--brokers", &broker.bootstrap().join(",")]);
    let shown = tokio::task::spawn_blocking(move || tail.output().unwrap()).await.unwrap();
    let shown = text(&shown.stdout);
    assert!(shown.contains("key null\n{\"resourceSpans\":[{\"resource\""), "{shown}");

    let metrics = service.metrics();
    for line in [
        "ottla_receiver_accepted_items{signal=\"traces\"} 2",
        "ottla_exporter_sent_items{signal=\"logs\",topic=\"otlp_logs\"} 3",
        "ottla_exporter_sent_records{signal=\"traces\",topic=\"otlp_traces\"} 1",
        "ottla_ledger_items{exporter=\"kafka\",signal=\"logs\",state=\"delivered\"} 3",
        "ottla_exporter_queue_records{exporter=\"kafka\"} 0",
        "ottla_exporter_write_latency_seconds_count{signal=\"traces\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let (code, log) = service.terminate();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("5 items delivered, 0 not delivered"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_that_wait_for_kafka_do_not_wait_for_company_that_is_not_coming() {
    let broker = broker().await;
    let service = Service::start(&broker, &["--kafka-exporter-linger-ms=200000"]);
    let channel = service.channel().await;
    let request = traces(vec![span(1, "alone")]);
    let export = |channel| {
        let request = request.clone();
        async move { TraceServiceClient::new(channel).export(request).await }
    };
    let many = (0..20).map(|_| export(channel.clone()));
    let answers = timeout(Duration::from_secs(60), join_all(many)).await.expect("nobody lingers");
    assert!(answers.iter().all(Result::is_ok));
    let form = "Content-Type: application/x-protobuf\r\n";
    assert_eq!(service.post("/v1/traces", form, &request.encode_to_vec()).0, 200);
    // The last to come in may bring something that is no request.
    let mut half = TcpStream::connect(&service.http).unwrap();
    let head = "POST /v1/traces HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n";
    half.write_all(format!("{head}Content-Type: application/json\r\n\r\n{{").as_bytes()).unwrap();
    let waiting = timeout(Duration::from_secs(60), export(channel));
    let (answer, rest) = tokio::join!(waiting, async { half.write_all(b"]") });
    rest.unwrap();
    answer.expect("nobody lingers").unwrap();
    assert_eq!(broker.accepted("otlp_traces").len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_of_http_are_read_and_answered_in_kind() {
    let broker = broker().await;
    let service = Service::start(&broker, &["--kafka-exporter-format", "json"]);
    let request = traces(vec![span(1, "by protobuf")]);
    let (status, head, body) = service.post(
        "/v1/traces",
        "Content-Type: application/x-protobuf\r\n",
        &request.encode_to_vec(),
    );
    assert_eq!((status, &*body), (200, &b""[..]), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    let json = br#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"body":{"stringValue":"by JSON"}}]}]}]}"#;
    let (status, head, body) =
        service.post("/v1/logs", "Content-Type: application/json; charset=utf-8\r\n", json);
    assert_eq!((status, &*body), (200, &b"{}"[..]), "{head}");
    assert_eq!(value(&broker.accepted("otlp_logs")[0]), json);
    let records = broker.accepted("otlp_traces");
    let record: serde_json::Value = serde_json::from_slice(value(&records[0])).unwrap();
    let span = &record["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "01010101010101010101010101010101");
    assert_eq!(span["name"], "by protobuf");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_is_refused_with_a_status_that_says_why() {
    let broker = broker().await;
    let service = Service::start(&broker, &["--otlp-max-message-mib", "1"]);
    let json = "Content-Type: application/json\r\n";
    let (status, _, body) =
        service.post("/v1/traces", json, br#"{"resourceSpans":[{"scopeSpans":7}]}"#);
    let body = text(&body);
    assert_eq!(status, 400);
    assert!(body.contains("\"code\":3") && body.contains("resourceSpans[0].scopeSpans"), "{body}");
    let (status, _, body) = service.post("/v1/traces", "Content-Type: text/plain\r\n", b"");
    assert_eq!(status, 415, "{}", text(&body));
    assert!(text(&body).contains("use application/x-protobuf or application/json"));
    let encoding = format!("{json}Content-Encoding: br\r\n");
    assert_eq!(service.post("/v1/traces", &encoding, b"{}").0, 415);
    assert_eq!(service.post("/v1/traces", json, &vec![b' '; (1 << 20) + 1]).0, 413);
    assert_eq!(service.post("/v1/spans", json, b"{}").0, 404);

    let mut client = TraceServiceClient::new(service.channel().await);
    let large = client.export(traces(vec![span(1, &"x".repeat(2 << 20))])).await.unwrap_err();
    assert_eq!(large.code(), Code::ResourceExhausted);
    assert!(large.message().contains("larger than"), "{large}");
    let wrong = Span { trace_id: vec![1; 3], ..span(1, "wrong id") };
    let answer = client.export(traces(vec![wrong, span(2, "right")])).await.unwrap().into_inner();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("spans[0].traceId"), "{partial:?}");
    let records = broker.accepted("otlp_traces");
    let kept = ExportTraceServiceRequest::decode(value(&records[0])).unwrap();
    assert_eq!(kept.resource_spans[0].scope_spans[0].spans, [span(2, "right")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_cut_by_trace_and_keyed_by_its_id() {
    let broker = broker().await;
    let arguments = [
        "--kafka-exporter-partition-traces-by-id",
        "--kafka-exporter-content-type-header",
        "--kafka-exporter-record-headers",
        "source=edge",
        "--kafka-exporter-headers-from-metadata",
        "x-tenant",
    ];
    let service = Service::start(&broker, &arguments);
    let mut client = TraceServiceClient::new(service.channel().await);
    let spans = vec![span(1, "a"), span(2, "b"), span(1, "c"), span(0, "d")];
    let mut request = tonic::Request::new(traces(spans));
    request.metadata_mut().insert("x-tenant", "acme".parse().unwrap());
    client.export(request).await.unwrap();
    let records = broker.accepted("otlp_traces");
    let mut found: Vec<_> = records
        .iter()
        .map(|record| {
            let request = ExportTraceServiceRequest::decode(value(record)).unwrap();
            let scope = &request.resource_spans[0].scope_spans[0];
            let names: Vec<_> = scope.spans.iter().map(|span| span.name.clone()).collect();
            let key = record.key.as_deref().map(text);
            (key, names.concat())
        })
        .collect();
    found.sort();
    let one = "01010101010101010101010101010101".to_owned();
    let two = "02020202020202020202020202020202".to_owned();
    assert_eq!(
        found,
        [(None, "d".to_owned()), (Some(one), "ac".to_owned()), (Some(two), "b".to_owned())]
    );
    let headers: Vec<_> = records[0]
        .headers
        .iter()
        .map(|(name, value)| format!("{name}={}", text(value.as_deref().unwrap())))
        .collect();
    assert_eq!(headers, ["source=edge", "x-tenant=acme", "content-type=application/x-protobuf"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn senders_name_topics_of_the_list_and_no_others() {
    let broker = broker().await;
    let arguments = [
        "--kafka-exporter-topic-from-header=x-topic",
        "--kafka-exporter-topic-from-attribute=service.name",
        "--kafka-exporter-allowed-topics=api,tenant-a",
    ];
    let service = Service::start(&broker, &arguments);
    let mut client = TraceServiceClient::new(service.channel().await);
    client.export(traces(vec![span(1, "by attribute")])).await.unwrap();
    let mut request = tonic::Request::new(traces(vec![span(1, "by header")]));
    request.metadata_mut().insert("x-topic", "tenant-a".parse().unwrap());
    client.export(request).await.unwrap();
    let mut request = tonic::Request::new(traces(vec![span(1, "by nobody")]));
    request.metadata_mut().insert("x-topic", "__consumer_offsets".parse().unwrap());
    let error = client.export(request).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("add it to allowed-topics"), "{error}");
    assert_eq!(broker.accepted("api").len(), 1);
    assert_eq!(broker.accepted("tenant-a").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_requests_are_split_and_large_items_shortened_or_put_aside() {
    let broker = broker().await;
    for format in ["protobuf", "json"] {
        let letters =
            std::env::temp_dir().join(format!("ottla-letters-{}-{format}", std::process::id()));
        let topic = format!("--kafka-exporter-traces-topic={format}");
        let format_flag = format!("--kafka-exporter-format={format}");
        let file = format!("--kafka-exporter-dead-letter-file={}", letters.display());
        let arguments = ["--kafka-exporter-max-message-bytes=10000", &topic, &format_flag, &file];
        let service = Service::start(&broker, &arguments);
        let mut client = TraceServiceClient::new(service.channel().await);
        let mut spans: Vec<_> = (1..=20).map(|id| span(id, &"n".repeat(1000))).collect();
        let text = attribute("prompt", &"é".repeat(20_000));
        spans.push(Span { attributes: vec![text], ..span(21, "long text") });
        // Names of attributes identify: they are never shortened.
        let name = attribute(&"k".repeat(20_000), "v");
        spans.push(Span { attributes: vec![name], ..span(22, "long name") });
        let answer = client.export(traces(spans)).await.unwrap().into_inner();
        assert_eq!(answer.partial_success, None);
        let records = broker.accepted(format);
        assert!(records.len() >= 3, "{} records", records.len());
        assert!(records.iter().all(|record| value(record).len() <= 10_000));
        let all = records.iter().map(|record| String::from_utf8_lossy(value(record)).into_owned());
        let all = all.collect::<String>();
        assert!(
            all.contains("ottla.truncated"),
            "{}\n{}",
            service.metrics(),
            service.terminate().1
        );
        let kept = std::fs::read_to_string(&letters).unwrap();
        assert_eq!((kept.lines().count(), kept.contains("long name")), (1, true));
        let metrics = service.metrics();
        for outcome in ["truncated", "dead_letter"] {
            let line = format!(
                "ottla_exporter_oversize_items{{signal=\"traces\",outcome=\"{outcome}\"}} 1"
            );
            assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
        }
        let (code, log) = service.terminate();
        assert_eq!(code, 0, "{log}");
        assert!(log.contains("22 items delivered, 0 not delivered"), "{log}");
        let _ = std::fs::remove_file(letters);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_record_holds_goes_to_a_topic_that_takes_more_or_is_a_partial_success() {
    let broker = broker().await;
    let limit = "--kafka-exporter-max-message-bytes=5000";
    let large = || traces(vec![span(1, "small"), span(2, &"x".repeat(9000))]);
    let letters =
        ["--kafka-exporter-oversize=dead-letter", "--kafka-exporter-dead-letter-topic=large"];
    let long = "--kafka-exporter-linger-ms=200000";
    let service = Service::start(&broker, &[limit, letters[0], letters[1], long]);
    let mut client = TraceServiceClient::new(service.channel().await);
    let answer = timeout(Duration::from_secs(60), client.export(large())).await;
    let answer = answer.expect("letters do not linger either").unwrap().into_inner();
    assert_eq!(answer.partial_success, None);
    let [letter] = &broker.accepted("large")[..] else { panic!() };
    let letter = ExportTraceServiceRequest::decode(value(letter)).unwrap();
    assert_eq!(letter, traces(vec![span(2, &"x".repeat(9000))]));
    let queue = "ottla_exporter_queue_records{exporter=\"kafka_dead_letters\"} 0";
    assert!(service.metrics().contains(queue));
    drop(service);

    let service = Service::start(&broker, &[limit, "--kafka-exporter-oversize=drop"]);
    let mut client = TraceServiceClient::new(service.channel().await);
    let answer = client.export(large()).await.unwrap().into_inner();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 1);
    assert!(partial.error_message.contains("of 90"), "{partial:?}");
    assert!(partial.error_message.contains("raise max-message-bytes"), "{partial:?}");
    assert_eq!(service.ledger("traces"), (2, [0, 1, 1, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_keyed_by_their_resource_and_read_in_either_compression() {
    let broker = broker().await;
    let service =
        Service::start(&broker, &["--kafka-exporter-partition-metrics-by-resource-attributes"]);
    let json = br#"{"resourceMetrics":[
        {"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}}]},
         "scopeMetrics":[{"metrics":[{"name":"m","gauge":{"dataPoints":[{"asDouble":"NaN"}]}}]}]},
        {"scopeMetrics":[{"metrics":[{"name":"n","sum":{"dataPoints":[{"asInt":"7"}]}}]}]}]}"#;
    for codec in [Codec::Gzip, Codec::Zstd] {
        let body = Compressor::new(codec.into()).compress(json).unwrap();
        let headers =
            format!("Content-Type: application/json\r\nContent-Encoding: {}\r\n", codec.name());
        let (status, _, body) = service.post("/v1/metrics", &headers, &body);
        assert_eq!(status, 200, "{}", text(&body));
    }
    let records = broker.accepted("otlp_metrics");
    let mut keys: Vec<_> = records.iter().map(|record| record.key.clone().unwrap()).collect();
    keys.sort();
    keys.dedup();
    // As the Collector's pdatautil.MapHash has them.
    assert_eq!(keys[0], [0; 16][..]);
    assert_eq!(keys[1], 0x13c6_781e_1075_2709_d91a_9cfd_c6c9_b1dc_u128.to_be_bytes()[..]);
    assert_eq!((records.len(), keys.len()), (4, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_hears_of_room_and_of_failure_and_the_account_balances() {
    let broker = broker().await;
    let arguments = [
        "--kafka-exporter-custom-config",
        "queue.buffering.max.kbytes=1100",
        "--kafka-exporter-message-timeout-ms=3000",
        "--kafka-exporter-request-timeout-ms=1000",
        "--shutdown-timeout=100ms",
        "--ack=queue",
    ];
    let service = Service::start(&broker, &arguments);
    let mut client = TraceServiceClient::new(service.channel().await);
    client.export(traces(vec![span(1, "first")])).await.unwrap();
    broker.stop_node(1).await;
    let large = traces(vec![span(1, &"x".repeat(900_000))]);
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(client.export(large.clone()).await);
    }
    let full = answers.into_iter().find_map(Result::err).unwrap();
    assert_eq!(full.code(), Code::ResourceExhausted);
    assert!(full.message().contains("queue is full"), "{full}");
    assert!(!full.details().is_empty(), "it says when to come back");
    let (status, head, _) = service.post(
        "/v1/traces",
        "Content-Type: application/x-protobuf\r\n",
        &large.encode_to_vec(),
    );
    assert!(status == 429 && head.contains("retry-after: 1") || status == 200, "{head}");
    let metrics = service.metrics();
    assert!(metrics.contains("ottla_receiver_refused_requests{signal=\"traces\",reason=\"full\"}"));
    let (code, log) = service.terminate();
    assert_eq!(code, 4, "{log}");
    assert!(log.contains("not delivered"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_account_balances_at_every_look_while_brokers_fail() {
    let broker = broker().await;
    let service = Service::start(&broker, &["--ack=queue", "--kafka-exporter-linger-ms=0"]);
    let mut client = TraceServiceClient::new(service.channel().await);
    for round in 0..30 {
        match round % 3 {
            0 => broker.disconnect_all(),
            1 => broker.inject(
                "otlp_traces",
                0,
                ProduceFault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER),
            ),
            _ => broker.inject("otlp_traces", 0, ProduceFault::Refuse(ErrorCode::INVALID_RECORD)),
        }
        client.export(traces(vec![span(1, "a"), span(2, "b")])).await.unwrap();
        let (received, ends) = service.ledger("traces");
        assert_eq!(received, ends.iter().sum::<u64>(), "{ends:?}");
    }
    let (code, log) = service.terminate();
    assert_eq!(code, 4, "{log}");
    let told = log.lines().find(|line| line.contains(" delivered, ")).unwrap();
    let numbers: Vec<u64> = told.split(' ').filter_map(|word| word.parse().ok()).take(2).collect();
    assert_eq!(numbers.iter().sum::<u64>(), 60, "{told}");
    assert!(numbers[1] > 0, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn real_kafka_has_what_it_was_sent_as_other_clients_read_it() {
    let Some(brokers) = real_kafka::brokers() else { return };
    let [traces_topic, logs_topic] = ["otlp-traces", "otlp-logs"].map(real_kafka::unique);
    let service = Service::start_at(
        &brokers,
        &[
            &format!("--kafka-exporter-traces-topic={traces_topic}"),
            &format!("--kafka-exporter-logs-topic={logs_topic}"),
            "--kafka-exporter-partition-traces-by-id",
            "--kafka-exporter-compression=zstd",
            "--kafka-exporter-acks=all",
            "--kafka-exporter-content-type-header",
        ],
    );
    let channel = service.channel().await;
    let request = traces(vec![span(7, "GET /"), span(7, "query")]);
    TraceServiceClient::new(channel.clone()).export(request.clone()).await.unwrap();
    let bodies = logs(&["one", "two"]);
    LogsServiceClient::new(channel).export(bodies.clone()).await.unwrap();
    let (code, log) = service.terminate();
    assert_eq!(code, 0, "{log}");
    let seen = real_kafka::kcat(&brokers, &traces_topic).await;
    let [(_, _, key, value, headers)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(key.as_deref(), Some(&b"07070707070707070707070707070707"[..]));
    assert_eq!(value.as_deref(), Some(&request.encode_to_vec()[..]));
    assert!(format!("{headers:?}").contains("content-type"), "{headers:?}");
    let seen = real_kafka::kcat(&brokers, &logs_topic).await;
    let [(_, _, key, value, _)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((key.as_deref(), value.as_deref()), (None, Some(&bodies.encode_to_vec()[..])));
}

#[test]
fn the_documentations_commands_run_up_to_the_brokers() {
    let examples: [&[&str]; 2] = [
        &[
            "--kafka-exporter-brokers",
            "127.0.0.1:1",
            "--kafka-exporter-sasl-username",
            "your-username",
            "--kafka-exporter-sasl-password",
            "your-password",
            "--kafka-exporter-sasl-mechanism",
            "SCRAM-SHA-256",
            "--kafka-exporter-security-protocol",
            "SASL_SSL",
            "--kafka-exporter-compression",
            "gzip",
            "--kafka-exporter-acks",
            "all",
        ],
        &[
            "--kafka-exporter-custom-config",
            "enable.idempotence=true,max.in.flight.requests.per.connection=1",
            "--kafka-exporter-brokers",
            "127.0.0.1:1",
        ],
    ];
    for example in examples {
        let mut command = ottla(&["start", "--exporter", "kafka"]);
        let output = command.args(example).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{told}");
        assert!(told.contains("failed to connect/authenticate with broker"), "{told}");
        assert!(!told.contains("your-password"), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_probe_it_starts_before_kafka_does() {
    let broker = broker().await;
    let brokers = broker.bootstrap().join(",");
    broker.shutdown().await;
    let service = Service::start_at(&brokers, &["--kafka-exporter-probe=warn", "--ack=queue"]);
    let mut client = TraceServiceClient::new(service.channel().await);
    client.export(traces(vec![span(1, "early")])).await.unwrap();
    let listen = brokers.parse().unwrap();
    let broker =
        EmbeddedBroker::start(BrokerConfig::default().with_listen([listen])).await.unwrap();
    let (code, log) = service.terminate();
    assert_eq!(code, 0, "{log}");
    assert_eq!(broker.accepted("otlp_traces").len(), 1);
}

#[test]
fn options_that_do_not_go_together_are_one_sentence() {
    let mut command = ottla(&["start", "--kafka-exporter-acks", "one"]);
    command.args(["--kafka-exporter-custom-config", "enable.idempotence=true"]);
    let output = command.output().unwrap();
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("acks=1") && told.contains("enable.idempotence=true"), "{told}");
    let mut command = ottla(&["start", "--exporter", "kafka"]);
    command.env("ROTEL_KAFKA_EXPORTER_FORMAT", "xml");
    let told = text(&command.output().unwrap().stderr);
    assert!(told.contains("write protobuf or json"), "{told}");
}
