//! The producer over real TCP to the embedded broker. What counts is what the broker stored.

use ottla::broker::{
    AcceptedRecord, Api, BrokerConfig, EmbeddedBroker, ProduceFault, RequestFault,
};
use ottla::producer::{
    Acks, CustomPartitioner, Delivered, DeliveryError, DeliveryListener, Header, Partitioner,
    Placement, Producer, ProducerConfig, Properties, Record, SendError, Sending, WhenFull,
};
use ottla::protocol::{Codec, ErrorCode};
use std::sync::Arc;
use std::time::Duration;

async fn broker(brokers: usize, topic: &str, partitions: i32) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(BrokerConfig::default().with_brokers(brokers)).await;
    let broker = broker.unwrap();
    broker.create_topic(topic, partitions).unwrap();
    broker
}

fn config(broker: &EmbeddedBroker) -> ProducerConfig {
    ProducerConfig::new(broker.bootstrap()).unwrap()
}

fn values(records: &[AcceptedRecord]) -> Vec<String> {
    let value = |record: &AcceptedRecord| {
        String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned()
    };
    records.iter().map(value).collect()
}

/// Sends `range` as decimal values to one partition.
fn send_numbers(
    producer: &Producer,
    topic: &str,
    partition: i32,
    range: std::ops::Range<u32>,
) -> Vec<Sending> {
    let send = |number: u32| {
        let value = number.to_string();
        producer.send(Record::to(topic).partition(partition).value(value.as_bytes()))
    };
    range.map(send).collect()
}

async fn all_delivered(sendings: Vec<Sending>) {
    for sending in sendings {
        sending.await.unwrap();
    }
}

fn numbers(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

#[tokio::test]
async fn a_record_arrives_as_it_was_sent() {
    let broker = broker(1, "t", 1).await;
    let producer = Producer::start(config(&broker)).unwrap();
    let headers = [
        Header { key: "a", value: Some(b"1") },
        Header { key: "a", value: None },
        Header { key: "", value: Some(b"") },
    ];
    let record = Record::to("t").key(b"").value(b"v").headers(&headers).timestamp(12_345);
    let delivered = producer.send(record).await.unwrap();
    assert_eq!((delivered.partition, delivered.offset), (0, Some(0)));
    let nulls = producer.send(Record::to("t").timestamp(5)).await.unwrap();
    assert_eq!(nulls.offset, Some(1));

    let stored = broker.accepted("t");
    assert_eq!(stored[0].key.as_deref(), Some(&b""[..]));
    assert_eq!(stored[0].value.as_deref(), Some(&b"v"[..]));
    assert_eq!(stored[0].timestamp, 12_345);
    let stored_headers: Vec<_> =
        stored[0].headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    assert_eq!(
        stored_headers,
        [("a", Some(&b"1"[..])), ("a", None), ("", Some(&b""[..]))],
        "in order, with duplicates and nulls"
    );
    assert_eq!((&stored[1].key, &stored[1].value), (&None, &None));
    producer.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn every_codec_is_accepted_and_kept() {
    let broker = broker(1, "t", 1).await;
    for codec in Codec::ALL {
        let mut config = config(&broker);
        config.compression = codec.into();
        let producer = Producer::start(config).unwrap();
        let before = broker.accepted("t").len();
        let value = format!("{codec} ").repeat(4000);
        let sendings: Vec<_> =
            (0..10).map(|_| producer.send(Record::to("t").value(value.as_bytes()))).collect();
        all_delivered(sendings).await;
        let stored = broker.accepted("t").split_off(before);
        assert_eq!(stored.len(), 10);
        assert!(stored.iter().all(|record| record.codec == codec), "{codec}");
        assert!(stored.iter().all(|record| record.value.as_deref() == Some(value.as_bytes())));
    }
}

#[tokio::test]
async fn many_partitions_share_one_request_and_keep_their_order() {
    let broker = broker(1, "t", 50).await;
    let producer = Producer::start(config(&broker)).unwrap();
    // The first record brings the metadata and the identity.
    producer.send(Record::to("t").partition(0).value(b"0")).await.unwrap();
    let before = broker.requests()[&Api::Produce];
    let mut sendings = Vec::new();
    for partition in 1..50 {
        sendings.extend(send_numbers(&producer, "t", partition, 0..20));
    }
    all_delivered(sendings).await;
    let requests = broker.requests()[&Api::Produce] - before;
    assert!(requests <= 10, "{requests} requests for 49 partitions");
    for partition in 1..50 {
        let mut stored = broker.accepted("t");
        stored.retain(|record| record.partition == partition);
        assert_eq!(values(&stored), numbers(0..20));
    }
}

#[tokio::test]
async fn keys_decide_the_partition_and_unkeyed_records_make_few_batches() {
    let broker = broker(1, "t", 7).await;
    let producer = Producer::start(config(&broker)).unwrap();
    for (key, partition) in [("23456", 5), ("hejsan", 6), ("kafka", 3)] {
        let delivered = producer.send(Record::to("t").key(key.as_bytes())).await.unwrap();
        assert_eq!(delivered.partition, partition, "{key}");
    }
    let sendings: Vec<_> = (0..100).map(|_| producer.send(Record::to("t").value(b"x"))).collect();
    let mut partitions = std::collections::BTreeSet::new();
    for sending in sendings {
        partitions.insert(sending.await.unwrap().partition);
    }
    assert_eq!(partitions.len(), 1, "a hundred small records share a batch");
}

/// F3, F15
#[tokio::test]
async fn nothing_is_lost_or_doubled_when_connections_break_and_leaders_move() {
    let broker = broker(3, "t", 3).await;
    let mut config = config(&broker);
    config.batch_records_max = 10;
    config.retry_backoff = Duration::from_millis(5);
    config.reconnect_backoff = Duration::from_millis(5);
    let producer = Producer::start(config).unwrap();
    let mut sendings = Vec::new();
    for round in 0..20_u32 {
        for partition in 0..3 {
            let numbers = round * 50..(round + 1) * 50;
            sendings.extend(send_numbers(&producer, "t", partition, numbers));
        }
        match round % 4 {
            0 => broker.disconnect_all(),
            1 => broker.move_leader("t", 0, i32::try_from(round % 3).unwrap() + 1).unwrap(),
            2 => broker.inject("t", 1, ProduceFault::DisconnectAfter),
            _ => broker.inject("t", 2, ProduceFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT)),
        }
        tokio::task::yield_now().await;
    }
    all_delivered(sendings).await;
    for partition in 0..3 {
        let mut stored = broker.accepted("t");
        stored.retain(|record| record.partition == partition);
        assert_eq!(values(&stored), numbers(0..1000), "partition {partition}");
    }
}

#[tokio::test]
async fn a_refused_batch_fails_alone_and_those_behind_it_are_numbered_anew() {
    let broker = broker(1, "t", 1).await;
    let mut config = config(&broker);
    config.batch_records_max = 10;
    config.retry_backoff = Duration::from_millis(5);
    let producer = Producer::start(config).unwrap();
    producer.send(Record::to("t").value(b"first")).await.unwrap();
    broker.inject("t", 0, ProduceFault::Refuse(ErrorCode::TOPIC_AUTHORIZATION_FAILED));
    let sendings = send_numbers(&producer, "t", 0, 0..100);
    let mut refused = 0;
    for sending in sendings {
        match sending.await {
            Ok(_) => {}
            Err(SendError::Delivery(DeliveryError::Rejected { code, .. })) => {
                assert_eq!(code, ErrorCode::TOPIC_AUTHORIZATION_FAILED);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(refused, 10);
    assert_eq!(values(&broker.accepted("t"))[1..], numbers(10..100));
}

/// F21
#[tokio::test]
async fn a_topic_that_appears_later_gets_the_records_that_waited_for_it() {
    let config_of_broker = BrokerConfig::default().with_auto_create_topics(false);
    let broker = EmbeddedBroker::start(config_of_broker).await.unwrap();
    let mut config = config(&broker);
    config.retry_backoff = Duration::from_millis(5);
    let producer = Producer::start(config).unwrap();
    let sending = producer.send(Record::to("late").value(b"v"));
    while broker.requests().get(&Api::Metadata).is_none_or(|count| *count < 3) {
        tokio::task::yield_now().await;
    }
    broker.create_topic("late", 2).unwrap();
    assert_eq!(sending.await.unwrap().topic.as_ref(), "late");
}

/// F7
#[tokio::test]
async fn a_record_without_a_broker_ends_by_its_deadline_and_says_what_it_waited_for() {
    let mut config = ProducerConfig::new(["127.0.0.1:1"]).unwrap();
    config.linger = Duration::ZERO;
    config.request_timeout = Duration::from_millis(100);
    config.delivery_timeout = Duration::from_millis(200);
    let producer = Producer::start(config).unwrap();
    let error = producer.send(Record::to("t").value(b"v")).await.unwrap_err();
    assert!(!error.may_be_written());
    let SendError::Delivery(error) = error else { panic!("{error}") };
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.starts_with("cannot connect to 127.0.0.1:1: Connection refused"), "{cause}");
}

/// F50
#[tokio::test]
async fn a_full_buffer_makes_send_wait_in_turn_and_then_refuse() {
    let broker = broker(1, "t", 1).await;
    broker.inject_request(Api::Produce, RequestFault::Delay(Duration::from_millis(200)));
    let mut config = config(&broker);
    config.buffer_memory = 2000;
    config.record_size_max = 1000;
    config.max_block = Duration::from_secs(30);
    let producer = Producer::start(config.clone()).unwrap();
    let value = [b'x'; 500];
    let sendings: Vec<_> = (0..20).map(|_| producer.send(Record::to("t").value(&value))).collect();
    assert!(producer.metrics().buffered_bytes <= 2000);
    for (index, sending) in (0..).zip(sendings) {
        assert_eq!(sending.await.unwrap().offset, Some(index));
    }

    config.max_block = Duration::ZERO;
    let producer = Producer::start(config).unwrap();
    let _first = (0..3).map(|_| producer.send(Record::to("t").value(&value))).collect::<Vec<_>>();
    let error = producer.send(Record::to("t").value(&value)).await.unwrap_err();
    assert!(matches!(error, SendError::QueueFull { .. }), "{error}");
    let too_large = producer.send(Record::to("t").value(&[0; 2000])).await.unwrap_err();
    assert!(matches!(too_large, SendError::TooLarge { max: 1000, .. }));
}

/// F50
#[tokio::test]
async fn a_full_buffer_refuses_the_newest_at_once_if_it_is_told_to() {
    let broker = broker(1, "t", 1).await;
    broker.inject_request(Api::Produce, RequestFault::Delay(Duration::from_millis(200)));
    let mut config = config(&broker);
    config.buffer_memory = 2000;
    config.record_size_max = 1000;
    config.when_full = WhenFull::DropNewest;
    let producer = Producer::start(config).unwrap();
    let value = [b'x'; 500];
    let sendings: Vec<_> = (0..20).map(|_| producer.send(Record::to("t").value(&value))).collect();
    let ends = futures_util::future::join_all(sendings).await;
    assert_eq!(ends.iter().filter(|end| end.is_ok()).count(), 3);
    let error = ends[3].as_ref().unwrap_err();
    assert_eq!(error.to_string(), "the producer's buffer is full: brokers take records too slowly");
}

fn dropping_oldest(broker: &EmbeddedBroker) -> ProducerConfig {
    let mut config = config(broker);
    config.buffer_memory = 20_000;
    config.record_size_max = 1000;
    config.when_full = WhenFull::DropOldest;
    config
}

/// F50
#[tokio::test]
async fn the_oldest_give_way_while_no_broker_answers_and_the_newest_are_delivered_in_order() {
    let broker = broker(1, "t", 1).await;
    let producer = Producer::start(dropping_oldest(&broker)).unwrap();
    broker.inject_request(Api::Metadata, RequestFault::Silence);
    let send = |number: u32| {
        let value = format!("{number:0500}");
        producer.send(Record::to("t").value(value.as_bytes()))
    };
    let sendings: Vec<_> = (0..1000).map(send).collect();
    assert!(producer.metrics().buffered_bytes <= 20_000);
    broker.disconnect_all();
    let (mut displaced, mut delivered) = (0, Vec::new());
    for (number, end) in (0..).zip(futures_util::future::join_all(sendings).await) {
        match end {
            Ok(_) => delivered.push(format!("{number:0500}")),
            Err(SendError::Delivery(error @ DeliveryError::Displaced { .. })) => {
                assert!(!error.may_be_written());
                displaced += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let last = format!("{:0500}", 999);
    assert!(delivered.len() > 30 && delivered.last() == Some(&last), "{}", delivered.len());
    assert_eq!(values(&broker.accepted("t")), delivered);
    let metrics = producer.metrics();
    assert_eq!((metrics.records_displaced, metrics.records_failed), (displaced, displaced));
    assert_eq!((metrics.buffered_records, metrics.buffered_bytes), (0, 0));
}

/// F50
#[tokio::test]
async fn what_is_on_its_way_does_not_give_way() {
    let broker = broker(1, "t", 1).await;
    let producer = Producer::start(dropping_oldest(&broker)).unwrap();
    let value = [b'x'; 500];
    producer.send(Record::to("t").value(&value)).await.unwrap();
    broker.inject_request(Api::Produce, RequestFault::Delay(Duration::from_millis(200)));
    let first = producer.send(Record::to("t").value(&value));
    while producer.metrics().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let others: Vec<_> = (0..1000).map(|_| producer.send(Record::to("t").value(&value))).collect();
    assert_eq!(first.await.unwrap().offset, Some(1));
    let ends = futures_util::future::join_all(others).await;
    assert!(ends.last().is_some_and(Result::is_ok));
    assert!(ends.first().is_some_and(Result::is_err));
}

/// F50
#[tokio::test]
async fn accept_waits_in_turn_and_who_stops_waiting_loses_nothing_but_the_place() {
    let broker = broker(1, "t", 1).await;
    broker.inject_request(Api::Produce, RequestFault::Delay(Duration::from_millis(200)));
    let mut config = config(&broker);
    config.buffer_memory = 1000;
    config.record_size_max = 1000;
    let producer = Producer::start(config).unwrap();
    let value = [b'x'; 900];
    let accept = || producer.accept(Record::to("t").value(&value));
    let first = accept().await.unwrap();
    let given_up = tokio::time::timeout(Duration::from_millis(10), accept()).await;
    assert!(given_up.is_err());
    let second = accept().await.unwrap();
    assert_eq!(first.await.unwrap().offset, Some(0));
    assert_eq!(second.await.unwrap().offset, Some(1));
    producer.close(Duration::from_secs(5)).await;
    assert!(matches!(accept().await, Err(SendError::Closed)));
    assert_eq!(broker.accepted("t").len(), 2);
}

#[tokio::test]
async fn flush_waits_for_what_was_accepted_and_close_ends_everything() {
    let broker = broker(1, "t", 1).await;
    let mut config = config(&broker);
    config.linger = Duration::from_secs(60);
    let producer = Producer::start(config).unwrap();
    let sendings = send_numbers(&producer, "t", 0, 0..100);
    producer.flush().await;
    assert_eq!(broker.accepted("t").len(), 100, "linger ended early");
    all_delivered(sendings).await;

    let late = send_numbers(&producer, "t", 0, 100..150);
    producer.close(Duration::from_secs(10)).await;
    all_delivered(late).await;
    assert_eq!(values(&broker.accepted("t")), numbers(0..150));
    let error = producer.send(Record::to("t")).await.unwrap_err();
    assert!(matches!(error, SendError::Closed));
    producer.close(Duration::ZERO).await;
}

/// F52
#[tokio::test]
async fn closing_at_once_says_of_each_record_whether_it_may_be_written() {
    let broker = broker(1, "t", 1).await;
    let producer = Producer::start(config(&broker)).unwrap();
    producer.send(Record::to("t").value(b"first")).await.unwrap();
    broker.inject_request(Api::Produce, RequestFault::Delay(Duration::from_secs(60)));
    let sent = producer.send(Record::to("t").value(b"sent"));
    let before = broker.requests()[&Api::Produce];
    while broker.requests()[&Api::Produce] == before {
        tokio::task::yield_now().await;
    }
    producer.close(Duration::ZERO).await;
    let error = sent.await.unwrap_err();
    assert!(error.may_be_written(), "{error}");
}

#[tokio::test]
async fn acks_zero_completes_when_written_and_acks_one_without_idempotence_works() {
    let broker = broker(1, "t", 1).await;
    for acks in [Acks::Zero, Acks::One] {
        let mut config = config(&broker);
        config.acks = acks;
        config.idempotence = false;
        let producer = Producer::start(config).unwrap();
        let delivered = producer.send(Record::to("t").value(b"v")).await.unwrap();
        assert_eq!(delivered.offset.is_none(), acks == Acks::Zero);
        producer.close(Duration::from_secs(5)).await;
    }
    while broker.accepted("t").len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(broker.accepted("t").iter().all(|record| record.stamp.producer_id == -1));
}

/// F41, F52
#[tokio::test]
async fn a_dropped_future_recalls_nothing_and_a_dropped_producer_still_delivers() {
    let broker = broker(1, "t", 1).await;
    let producer = Producer::start(config(&broker)).unwrap();
    drop(send_numbers(&producer, "t", 0, 0..10));
    let last = producer.send(Record::to("t").partition(0).value(b"10"));
    drop(producer);
    last.await.unwrap();
    assert_eq!(values(&broker.accepted("t")), numbers(0..11));
}

#[tokio::test]
async fn an_explicit_partition_that_does_not_exist_is_named() {
    let broker = broker(1, "t", 2).await;
    let producer = Producer::start(config(&broker)).unwrap();
    let early = producer.send(Record::to("t").partition(7)).await.unwrap_err();
    assert!(early.to_string().contains("the topic has partitions 0 to 1"), "{early}");
    let late = producer.send(Record::to("t").partition(7)).await.unwrap_err();
    assert_eq!(late.to_string(), "topic \"t\" has no partition 7, only 0 to 1");
    let invalid = producer.send(Record::to("a b")).await.unwrap_err();
    assert!(invalid.to_string().starts_with("topic name \"a b\" is not valid"), "{invalid}");
}

#[tokio::test]
async fn many_records_are_sent_together_with_one_end_for_all() {
    let broker = broker(1, "t", 3).await;
    let mut config = config(&broker);
    config.buffer_memory = 20_000;
    config.record_size_max = 10_000;
    config.batch_records_max = 7;
    let producer = Producer::start(config).unwrap();
    let values = numbers(0..1000);
    let too_large = vec![0; 20_000];
    let records = values.iter().enumerate().map(|(index, value)| match index {
        500 => Record::to("t").value(&too_large),
        501 => Record::to("t").partition(9),
        _ => Record::to("t").partition(1).value(value.as_bytes()),
    });
    let ends = producer.send_all(records).await;
    assert_eq!(ends.delivered, 998);
    let failed: Vec<_> = ends.failed.iter().map(|(index, _)| *index).collect();
    assert_eq!(failed, [500, 501]);
    assert!(matches!(ends.failed[0].1, SendError::TooLarge { .. }));
    let mut expected = numbers(0..1000);
    expected.drain(500..502);
    assert_eq!(values_of(&broker), expected);
}

fn values_of(broker: &EmbeddedBroker) -> Vec<String> {
    values(&broker.accepted("t"))
}

#[tokio::test]
async fn a_listener_hears_the_end_of_each_record_by_its_tag_and_in_order() {
    let broker = broker(1, "t", 1).await;
    let mut config = config(&broker);
    config.buffer_memory = 50_000;
    config.record_size_max = 50_000;
    let producer = Producer::start(config).unwrap();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let listener: Arc<dyn DeliveryListener> =
        Arc::new(move |tag: u64, end: Result<Delivered, DeliveryError>| {
            tell.send((tag, end.unwrap().offset.unwrap())).unwrap();
        });
    for tag in 0..100 {
        producer.try_send(Record::to("t").value(b"v"), tag, &listener).unwrap();
    }
    for tag in 0..100 {
        assert_eq!(told.recv().await, Some((tag, i64::try_from(tag).unwrap())));
    }
    let value = vec![0; 30_000];
    producer.try_send(Record::to("t").value(&value), 100, &listener).unwrap();
    let full = producer.try_send(Record::to("t").value(&value), 101, &listener).unwrap_err();
    assert!(matches!(full, SendError::QueueFull { .. }), "{full}");
    assert_eq!(told.recv().await.unwrap().0, 100);
}

/// Keys are the numbers of partitions.
#[derive(Debug)]
struct ByKeyNumber;

impl CustomPartitioner for ByKeyNumber {
    fn partition(&self, record: &Placement<'_>) -> i32 {
        assert_eq!((record.topic, record.partition_count), ("t", 3));
        let key = record.key.and_then(|key| std::str::from_utf8(key).ok());
        key.and_then(|key| key.parse().ok()).expect("a number")
    }
}

#[tokio::test]
async fn a_custom_partitioner_places_records_and_what_it_misplaces_fails_alone() {
    let broker = broker(1, "t", 3).await;
    let mut config = config(&broker);
    config.partitioner = Partitioner::Custom(Arc::new(ByKeyNumber));
    let producer = Producer::start(config).unwrap();
    for partition in [2, 0, 1] {
        let key = partition.to_string();
        let delivered = producer.send(Record::to("t").key(key.as_bytes())).await.unwrap();
        assert_eq!(delivered.partition, partition);
    }
    for (key, chosen) in [("3", 3), ("-7", -7), ("x", -1)] {
        let error = producer.send(Record::to("t").key(key.as_bytes())).await.unwrap_err();
        let SendError::NoSuchPartition { partition, count, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((partition, count), (chosen, 3), "{key}");
    }
    assert_eq!(producer.metrics().buffered_bytes, 0);
    producer.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_producer_of_properties_delivers() {
    let broker = broker(1, "t", 17).await;
    let mut properties = Properties::librdkafka_defaults();
    properties.set("bootstrap.servers", &broker.bootstrap().join(",")).unwrap();
    properties.set("compression.type", "lz4").unwrap();
    let (config, notes) = properties.into_config().unwrap();
    assert_eq!(notes, []);
    let producer = Producer::start(config).unwrap();
    let value = b"a value that compresses ".repeat(100);
    let delivered = producer.send(Record::to("t").key(b"hejsan").value(&value)).await.unwrap();
    assert_eq!(delivered.partition, 14, "CRC-32 of the key, as librdkafka has it");
    assert_eq!(broker.accepted("t")[0].codec, Codec::Lz4);
    producer.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn the_figures_tell_a_starved_producer_from_a_throttled_one() {
    let broker = broker(1, "t", 2).await;
    let mut config = config(&broker);
    config.compression = Codec::Zstd.into();
    config.retry_backoff = Duration::from_millis(1);
    let producer = Producer::start(config).unwrap();
    assert_eq!(producer.metrics().batch_fill(), None);
    let value = b"a trace ".repeat(200);
    let waiting = producer.send(Record::to("t").partition(0).value(&value));
    assert_eq!(producer.metrics().buffered_records, 1);
    waiting.await.unwrap();
    broker.inject("t", 1, ProduceFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS));
    broker.throttle(Duration::from_millis(20));
    let values: Vec<_> = (0..100).map(|_| &value).collect();
    let records = values.iter().map(|value| Record::to("t").partition(1).value(value));
    assert_eq!(producer.send_all(records).await.delivered, 100);

    let metrics = producer.metrics();
    assert_eq!((metrics.records_delivered, metrics.records_failed), (101, 0));
    assert_eq!((metrics.buffered_records, metrics.buffered_bytes), (0, 0));
    assert_eq!((metrics.retries, metrics.errors[&ErrorCode::NOT_ENOUGH_REPLICAS]), (1, 1));
    assert!(metrics.compression_ratio().unwrap() > 10.0, "{metrics:?}");
    assert!(metrics.batch_fill().unwrap() > 0.0 && metrics.throttled >= Duration::from_millis(20));
    assert_eq!(metrics.request_latency.count, metrics.requests);
    assert!(metrics.queue_time.count == metrics.batches && metrics.metadata_age.is_some());
    assert!(metrics.connections >= 2 && metrics.disconnects == 0);
    producer.purge();
    producer.close(Duration::from_secs(5)).await;
}
