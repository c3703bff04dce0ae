//! Exporters as a library, over real TCP to the embedded broker: on a producer of their own or on one
//! that they share, waiting or not, with brokers that answer and brokers that do not.

use bytes::Bytes;
use ottla::broker::{Api, BrokerConfig, EmbeddedBroker, RequestFault};
use ottla::exporter::bifrost::{BifrostConfig, BifrostError, BifrostExporter, Trace, traces};
use ottla::exporter::otlp::{
    DeadLetters, Encoding, ExportError, Format, Grouping, Metadata, OtlpConfig, OtlpExporter,
    Oversize, Request, Signal,
};
use ottla::exporter::tensorzero::{DataType, Row, TensorZeroConfig, TensorZeroExporter, rows};
use ottla::exporter::{Counts, Ledger};
use ottla::producer::{Producer, ProducerConfig, Record, SendError, WhenFull};
use std::time::Duration;

async fn broker() -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    for topic in ["traces", "tz_chat_inference", "otlp_traces"] {
        broker.create_topic(topic, 1).unwrap();
    }
    broker
}

/// A producer with little room.
fn producer(broker: &EmbeddedBroker, when_full: WhenFull) -> (Producer, ProducerConfig) {
    let mut config = ProducerConfig::new(broker.bootstrap()).unwrap();
    config.buffer_memory = 20_000;
    config.record_size_max = 10_000;
    config.when_full = when_full;
    config.max_block = Duration::from_millis(50);
    (Producer::start(config.clone()).unwrap(), config)
}

fn bifrost(producer: &Producer) -> BifrostExporter {
    let config = BifrostConfig::new(Vec::<String>::new(), "traces");
    BifrostExporter::over(producer.clone(), &config).unwrap()
}

fn tensorzero(producer: &Producer) -> TensorZeroExporter {
    let config = TensorZeroConfig::new(Vec::<String>::new(), "tz");
    TensorZeroExporter::over(producer.clone(), &config).unwrap()
}

/// A trace of some 500 bytes.
fn trace(number: usize) -> String {
    format!(r#"{{"TraceID":"{number:032x}","Attributes":{{"text":"{}"}}}}"#, "x".repeat(400))
}

fn parsed(text: &str) -> Trace<'_> {
    traces(text.as_bytes()).next().unwrap().unwrap()
}

const ROW: &str = r#"{"id":"1","function_name":"f","variant_name":"v","episode_id":"2",
    "input":{},"output":[],"tags":{}}"#;

fn row() -> Row<'static> {
    rows(DataType::ChatInference, ROW.as_bytes()).next().unwrap().unwrap()
}

fn balanced(ledger: &Ledger) -> Counts {
    let counts = ledger.counts();
    let Counts { received, filtered, delivered, failed, pending, .. } = counts;
    assert_eq!(received, filtered + delivered + failed + pending);
    counts
}

fn keys(broker: &EmbeddedBroker) -> Vec<String> {
    let key = |key: Option<Bytes>| String::from_utf8(key.unwrap().to_vec()).unwrap();
    broker.accepted("traces").into_iter().map(|record| key(record.key)).collect()
}

#[tokio::test]
async fn export_returns_at_once_whatever_brokers_do_and_every_drop_is_counted() {
    let broker = broker().await;
    for when_full in WhenFull::ALL {
        let (producer, _) = producer(&broker, when_full);
        let exporter = bifrost(&producer);
        let before = broker.accepted("traces").len();
        for number in 0..200 {
            exporter.export(parsed(&trace(number)));
        }
        // Nothing else ran on this thread since the first.
        let counts = balanced(exporter.ledger());
        assert_eq!((counts.received, counts.delivered, counts.refused), (200, 0, 0));
        let buffered = producer.metrics().buffered_bytes;
        assert!(buffered > 15_000 && buffered <= 20_000, "{when_full:?}: {buffered}");
        exporter.flush().await;
        let counts = balanced(exporter.ledger());
        assert_eq!((counts.delivered + counts.dropped, counts.pending), (200, 0));
        assert!(counts.delivered > 20 && counts.delivered < 40, "{when_full:?}: {counts:?}");
        assert_eq!(counts.failed, counts.dropped);
        // The oldest were kept, or the newest, all in a row.
        let first = match when_full {
            WhenFull::DropOldest => counts.dropped,
            WhenFull::Block | WhenFull::DropNewest => 0,
        };
        let kept: Vec<_> =
            (first..first + counts.delivered).map(|number| format!("{number:032x}")).collect();
        assert_eq!(keys(&broker)[before..], kept, "{when_full:?}");
    }
}

#[tokio::test]
async fn whoever_accepts_waits_for_room_and_hears_that_there_is_none() {
    let broker = broker().await;
    broker.inject_request(Api::Metadata, RequestFault::Silence);
    let (producer, _) = producer(&broker, WhenFull::Block);
    let exporter = bifrost(&producer);
    let mut refused = None;
    for number in 0..200 {
        if let Err(error) = exporter.accept(parsed(&trace(number))).await {
            refused = Some(error);
            break;
        }
    }
    assert!(matches!(refused, Some(SendError::QueueFull { .. })), "{refused:?}");
    let counts = balanced(exporter.ledger());
    assert_eq!((counts.refused, counts.failed), (1, 0), "its sender still has it");
    broker.disconnect_all();
    exporter.flush().await;
    let delivered = exporter.export_and_wait(parsed(&trace(1000))).await.unwrap();
    assert_eq!(delivered.topic.as_ref(), "traces");
    assert_eq!(balanced(exporter.ledger()).delivered, counts.received + 1);
}

#[tokio::test]
async fn exporters_share_a_producer_and_each_is_closed_alone() {
    let broker = broker().await;
    let (producer, _) = producer(&broker, WhenFull::DropNewest);
    let (bifrost, tensorzero) = (bifrost(&producer), tensorzero(&producer));
    bifrost.export(parsed(&trace(1)));
    tensorzero.export(&row());
    bifrost.close(Duration::from_secs(10)).await;
    assert_eq!(balanced(bifrost.ledger()).delivered, 1);

    bifrost.export(parsed(&trace(2)));
    assert_eq!(balanced(bifrost.ledger()).failed, 1, "it is closed");
    let error = bifrost.accept(parsed(&trace(3))).await.unwrap_err();
    assert!(matches!(error, SendError::Closed), "{error}");
    assert_eq!(balanced(bifrost.ledger()).refused, 1);

    tensorzero.export_and_wait(&row()).await.unwrap();
    assert_eq!(balanced(tensorzero.ledger()).delivered, 2, "the other is not");
    producer.close(Duration::from_secs(10)).await;
    assert_eq!(broker.accepted("traces").len(), 1);
    assert_eq!(broker.accepted("tz_chat_inference").len(), 2);
}

#[tokio::test]
async fn a_shared_producer_still_needs_a_topic() {
    let broker = broker().await;
    let (producer, _) = producer(&broker, WhenFull::Block);
    let config = BifrostConfig::new(Vec::<String>::new(), "a b");
    let error = BifrostExporter::over(producer, &config).unwrap_err();
    assert!(matches!(error, BifrostError::Config(_)), "{error}");
    assert!(error.to_string().starts_with("kafka plugin: topic: \"a b\""), "{error}");
}

/// One span of this name, and of some 500 bytes.
fn otlp(name: &str) -> Request<'static> {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
    use prost::Message;
    let span = Span { name: format!("{name}{}", "x".repeat(450)), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec().into();
    let (signal, encoding) = (Signal::Traces, Encoding::Protobuf);
    Request { signal, encoding, body, metadata: Metadata::default() }
}

#[tokio::test]
async fn a_request_of_opentelemetry_is_exported_without_waiting_and_its_drops_are_counted() {
    let broker = broker().await;
    let (producer, config) = producer(&broker, WhenFull::DropOldest);
    let exporter = OtlpExporter::over(producer.clone(), OtlpConfig::new(config)).unwrap();
    for number in 0..200 {
        exporter.export(&otlp(&number.to_string()));
    }
    let malformed = Request { body: Bytes::from_static(b"\x08\x01"), ..otlp("") };
    exporter.export(&malformed);
    let last = exporter.export_and_wait(&otlp("last"), Duration::from_secs(10)).await.unwrap();
    assert_eq!((last.delivered, last.lost, last.because), (1, 0, None));
    let counts = balanced(exporter.ledger(Signal::Traces));
    assert_eq!(counts.received, 201);
    assert!(counts.delivered > 20 && counts.dropped > 150, "{counts:?}");
    assert_eq!(u64::try_from(broker.accepted("otlp_traces").len()).unwrap(), counts.delivered);

    exporter.close(Duration::from_secs(10)).await;
    for signal in Signal::ALL {
        // The same bytes are a request of each signal, with an item without a name.
        let body = Bytes::from_static(b"\x0a\x04\x12\x02\x12\x00");
        let late = Request { signal, body, ..otlp("") };
        let error = exporter.export_and_wait(&late, Duration::ZERO).await.unwrap_err();
        assert!(error.to_string().starts_with("shutting down"), "{signal:?}: {error}");
    }
    producer.close(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_request_whose_dead_letters_are_posted_is_not_given_back() {
    let broker = broker().await;
    let (producer, config) = producer(&broker, WhenFull::Block);
    let letters = std::env::temp_dir().join(format!("ottla-posted-{}", std::process::id()));
    let mut config = OtlpConfig::new(config);
    config.format = Format::Json;
    config.grouping.traces = Grouping::Resource;
    let dead_letters = Some(DeadLetters::File(letters.clone()));
    config.oversize = Oversize { truncate: false, dead_letters };
    let exporter = OtlpExporter::over(producer.clone(), config).unwrap();
    // No partition is known, so nothing makes room.
    broker.inject_request(Api::Metadata, RequestFault::Silence);
    let filled = |_| producer.try_accept(Record::to("traces").value(&[0; 100])).is_err();
    assert!((0..1_000).any(filled));
    let resources = [otlp(&"too long ".repeat(2_000)).body, otlp("fits").body];
    let request = Request { body: resources.concat().into(), ..otlp("") };
    let taken = exporter.accept(&request, Duration::ZERO).await.unwrap();
    assert!(matches!(taken.stopped, Some(ExportError::Full)), "{taken:?}");
    assert_eq!((taken.items, taken.left, taken.records), (1, 1, 0));
    assert_eq!(std::fs::read_to_string(&letters).unwrap().lines().count(), 1);
    let _ = std::fs::remove_file(letters);
}
