//! The producer against each broker that the embedded one passes for.

use std::time::Duration;

use ottla::broker::{Api, BrokerConfig, EmbeddedBroker, Profile};
use ottla::producer::{Producer, ProducerConfig, Record};
use ottla::protocol::Codec;

const RECORDS: usize = 1000;

/// The versions of Produce, Metadata, InitProducerId and ApiVersions that the producer and a profile
/// must settle on. Kafka 2 lists nothing when asked in a version too new, so it is asked in v0 next;
/// Redpanda lists everything, and is not asked again.
const NEGOTIATED: [(Profile, [Option<i16>; 4]); 4] = [
    (Profile::Kafka4, [Some(13), Some(13), Some(5), Some(4)]),
    (Profile::Kafka39, [Some(11), Some(12), Some(5), Some(4)]),
    (Profile::Kafka2, [Some(7), Some(7), Some(1), Some(0)]),
    (Profile::Redpanda, [Some(7), Some(8), Some(3), None]),
];

const APIS: [Api; 4] = [Api::Produce, Api::Metadata, Api::InitProducerId, Api::ApiVersions];

async fn start(profile: Profile) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(BrokerConfig::default().with_profile(profile)).await;
    broker.unwrap()
}

fn producer(broker: &EmbeddedBroker, codec: Codec) -> Producer {
    let mut config = ProducerConfig::new(broker.bootstrap()).unwrap();
    config.compression = codec.into();
    config.retry_backoff = Duration::from_millis(5);
    // Several batches in flight, so that their order means something.
    config.batch_records_max = 50;
    Producer::start(config).unwrap()
}

fn value(index: usize) -> String {
    format!("{{\"trace\": {index}, \"model\": \"gpt\"}}")
}

/// Sends the records `range` to one partition, and sees that all are delivered.
async fn send(producer: &Producer, topic: &str, range: std::ops::Range<usize>) {
    let send = |index| producer.send(Record::to(topic).partition(0).value(value(index).as_bytes()));
    let sendings: Vec<_> = range.map(send).collect();
    for sending in sendings {
        sending.await.unwrap();
    }
}

/// What is stored are the records from 0 on, each once, in order.
fn assert_stored(broker: &EmbeddedBroker, topic: &str, count: usize, context: &str) {
    let stored = broker.accepted(topic);
    let values: Vec<_> = stored
        .iter()
        .map(|record| String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()))
        .collect();
    assert_eq!(values, (0..count).map(value).collect::<Vec<_>>(), "{context}");
}

/// F48, F49
#[tokio::test]
async fn every_codec_reaches_every_broker_in_order_and_in_the_highest_common_version() {
    for (profile, versions) in NEGOTIATED {
        let broker = start(profile).await;
        for codec in Codec::ALL {
            let (topic, context) = (codec.name(), format!("{codec} to {profile}"));
            broker.create_topic(topic, 1).unwrap();
            let producer = producer(&broker, codec);
            send(&producer, topic, 0..RECORDS).await;
            producer.close(Duration::from_secs(10)).await;
            assert_stored(&broker, topic, RECORDS, &context);
            let stored = broker.accepted(topic);
            assert!(stored.iter().all(|record| record.codec == codec), "{context}");
            assert!(stored.iter().all(|record| record.stamp.producer_id >= 0), "{context}");
        }
        let settled_on = broker.versions();
        assert_eq!(APIS.map(|api| settled_on.get(&api).copied()), versions, "{profile}");
    }
}

/// F37
#[tokio::test]
async fn a_broker_that_forgets_its_producers_loses_and_doubles_nothing() {
    for profile in Profile::ALL {
        let broker = start(profile).await;
        broker.create_topic("t", 1).unwrap();
        let producer = producer(&broker, Codec::None);
        for round in 0..3 {
            send(&producer, "t", round * 100..(round + 1) * 100).await;
            broker.forget_producers("t", 0).unwrap();
        }
        assert_stored(&broker, "t", 300, profile.name());
        // Only where it is told that it is unknown does the producer need another epoch.
        let epoch = broker.accepted("t")[299].stamp.epoch;
        assert_eq!(epoch, if profile == Profile::Kafka2 { 2 } else { 0 }, "{profile}");
    }
}

/// F27, F59
#[tokio::test]
async fn a_full_disk_holds_records_up_until_it_has_room() {
    for profile in Profile::ALL {
        let broker = start(profile).await;
        broker.create_topic("t", 1).unwrap();
        let producer = producer(&broker, Codec::None);
        send(&producer, "t", 0..10).await;
        broker.set_disk_full(true);
        let before = broker.requests()[&Api::Produce];
        let heal = async {
            while broker.requests()[&Api::Produce] < before + 3 {
                tokio::task::yield_now().await;
            }
            broker.set_disk_full(false);
        };
        tokio::join!(send(&producer, "t", 10..200), heal);
        assert_stored(&broker, "t", 200, profile.name());
    }
}
