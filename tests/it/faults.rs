//! The producer against a broker that does wrong: whatever it does, what was accepted is stored
//! once, in order, and nothing waits for ever.

use std::time::Duration;

use ottla::broker::{
    Admission, AnswerFault, Api, BrokerConfig, EmbeddedBroker, MetadataFault, ProduceFault, Profile,
};
use ottla::producer::{Producer, ProducerConfig, Record};
use ottla::protocol::ErrorCode;

const PATIENCE: Duration = Duration::from_secs(20);

async fn start(profile: Profile, brokers: usize) -> EmbeddedBroker {
    let config = BrokerConfig::default().with_profile(profile).with_brokers(brokers);
    let broker = EmbeddedBroker::start(config).await.unwrap();
    broker.create_topic("t", 2).unwrap();
    broker
}

fn producer(broker: &EmbeddedBroker) -> Producer {
    let mut config = ProducerConfig::new(broker.bootstrap()).unwrap();
    config.batch_records_max = 10;
    config.request_timeout = Duration::from_millis(300);
    config.connection_setup_timeout = Duration::from_millis(300);
    config.delivery_timeout = PATIENCE / 2;
    config.retry_backoff = Duration::from_millis(5);
    config.reconnect_backoff = Duration::from_millis(5);
    Producer::start(config).unwrap()
}

/// Sends numbers to both partitions, and sees that each is delivered.
async fn send(producer: &Producer, numbers: std::ops::Range<u32>, context: &str) {
    let send = |number: u32| {
        let value = number.to_string();
        [0, 1].map(|part| producer.send(Record::to("t").partition(part).value(value.as_bytes())))
    };
    let sendings: Vec<_> = numbers.flat_map(send).collect();
    for sending in sendings {
        let sent = tokio::time::timeout(PATIENCE, sending).await;
        sent.expect(context).expect(context);
    }
}

fn assert_stored(broker: &EmbeddedBroker, count: u32, context: &str) {
    let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
    for partition in [0, 1] {
        let mut stored = broker.accepted("t");
        stored.retain(|record| record.partition == partition);
        let values: Vec<_> = stored.iter().map(|record| record.value.clone().unwrap()).collect();
        assert_eq!(values, expected, "{context}: partition {partition}");
    }
}

/// Sends, breaks something, and sends on, to Kafka and to Redpanda.
async fn survives(context: &str, break_it: impl Fn(&EmbeddedBroker)) {
    for profile in [Profile::Kafka4, Profile::Redpanda] {
        let context = format!("{context} of {profile}");
        let broker = start(profile, 1).await;
        let producer = producer(&broker);
        send(&producer, 0..10, &context).await;
        break_it(&broker);
        send(&producer, 10..200, &context).await;
        assert_stored(&broker, 200, &context);
    }
}

/// F4, F8, F9, F10
#[tokio::test]
async fn answers_of_wrong_bytes_lose_and_double_nothing() {
    for fault in [
        AnswerFault::Cut(0),
        AnswerFault::Cut(3),
        AnswerFault::Cut(20),
        AnswerFault::Garble,
        AnswerFault::CorrelationId(i32::MIN),
        AnswerFault::CorrelationId(0),
        AnswerFault::Length(-1),
        AnswerFault::Length(3),
        AnswerFault::Length(20),
        AnswerFault::Length(1000),
        AnswerFault::Length(i32::MAX),
        AnswerFault::Repeat,
        AnswerFault::AfterNext,
        AnswerFault::Trickle(1, Duration::from_micros(50)),
    ] {
        survives(&format!("{fault:?}"), |broker| {
            for _ in 0..3 {
                broker.inject_answer(Api::Produce, fault);
            }
        })
        .await;
    }
}

/// F11, F47
#[tokio::test]
async fn handshakes_and_metadata_of_wrong_bytes_only_cost_time() {
    for fault in [
        AnswerFault::Cut(9),
        AnswerFault::Garble,
        AnswerFault::CorrelationId(77),
        AnswerFault::Length(1000),
        AnswerFault::Repeat,
    ] {
        for api in [Api::ApiVersions, Api::Metadata, Api::InitProducerId] {
            let context = format!("{fault:?} of {api:?}");
            let broker = start(Profile::Kafka4, 1).await;
            broker.inject_answer(api, fault);
            send(&producer(&broker), 0..20, &context).await;
            assert_stored(&broker, 20, &context);
        }
    }
}

/// F32
#[tokio::test]
async fn answers_that_miss_repeat_or_add_partitions_lose_and_double_nothing() {
    for fault in [
        ProduceFault::OmitAnswer,
        ProduceFault::RepeatAnswer,
        ProduceFault::StrayAnswer,
        ProduceFault::Refuse(ErrorCode::NOT_ENOUGH_REPLICAS),
        ProduceFault::StoreAndAnswer(ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        ProduceFault::StoreAndAnswer(ErrorCode::REQUEST_TIMED_OUT),
    ] {
        survives(&format!("{fault:?}"), |broker| {
            for _ in 0..3 {
                broker.inject("t", 0, fault);
            }
        })
        .await;
    }
}

/// F16, F18
#[tokio::test]
async fn descriptions_that_miss_partitions_or_leaders_keep_what_is_buffered() {
    for fault in [
        MetadataFault::NoPartitions,
        MetadataFault::Omit(vec![0]),
        MetadataFault::Leaderless(vec![0, 1]),
        MetadataFault::Refuse(ErrorCode::LEADER_NOT_AVAILABLE),
        MetadataFault::Refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION),
    ] {
        survives(&format!("{fault:?}"), |broker| {
            for _ in 0..2 {
                broker.inject_metadata("t", fault.clone());
            }
            // So that the topic is asked about.
            broker.inject("t", 0, ProduceFault::Refuse(ErrorCode::NOT_LEADER_OR_FOLLOWER));
            broker.disconnect_all();
        })
        .await;
    }
}

/// F17
#[tokio::test]
async fn stale_descriptions_do_not_send_records_back_to_the_old_leader_for_ever() {
    for profile in [Profile::Kafka4, Profile::Redpanda] {
        let broker = start(profile, 2).await;
        let producer = producer(&broker);
        send(&producer, 0..10, profile.name()).await;
        broker.move_leader("t", 0, 2).unwrap();
        for _ in 0..3 {
            broker.inject_metadata("t", MetadataFault::Stale(0));
        }
        send(&producer, 10..200, profile.name()).await;
        assert_stored(&broker, 200, profile.name());
    }
}

/// F6, F7, F23
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "an outage takes its time")]
async fn a_node_that_hangs_or_closes_is_waited_for() {
    for admission in [Admission::Hang, Admission::Close] {
        let context = format!("{admission:?}");
        let broker = start(Profile::Redpanda, 1).await;
        let producer = producer(&broker);
        send(&producer, 0..10, &context).await;
        broker.admit(1, admission);
        broker.disconnect_all();
        let heal = async {
            tokio::time::sleep(Duration::from_millis(400)).await;
            broker.clear_faults();
        };
        tokio::join!(send(&producer, 10..200, &context), heal);
        assert_stored(&broker, 200, &context);
    }
}
