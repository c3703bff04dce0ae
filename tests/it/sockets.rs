//! The producer and its sockets: requests that are cut off anywhere, peers that are no brokers, names
//! that lead nowhere. `F1` to `F60` are the rows of the fault matrix in `src/producer/semantics.md`.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::proxy::Proxy;
use ottla::broker::{BrokerConfig, EmbeddedBroker, Profile};
use ottla::producer::{Producer, ProducerConfig, Record, SendError};
use ottla::protocol::{Codec, ErrorCode};

const PATIENCE: Duration = Duration::from_secs(30);

async fn broker(config: BrokerConfig) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(config).await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker
}

fn config(bootstrap: &[String]) -> ProducerConfig {
    let mut config = ProducerConfig::new(bootstrap).unwrap();
    config.linger = Duration::ZERO;
    config.retry_backoff = Duration::from_millis(1);
    config.reconnect_backoff = Duration::from_millis(1);
    config
}

async fn deliver(producer: &Producer, value: &str) {
    let sending = producer.send(Record::to("t").value(value.as_bytes()));
    tokio::time::timeout(PATIENCE, sending).await.expect("it hangs").unwrap();
}

fn stored(broker: &EmbeddedBroker) -> Vec<String> {
    let records = broker.accepted("t");
    let values = records.iter().map(|record| record.value.clone().unwrap_or_default());
    values.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
}

/// F1, F2, F3
#[tokio::test]
async fn a_request_that_is_cut_off_behind_any_byte_is_stored_once_and_its_connection_is_left() {
    for profile in [Profile::Kafka4, Profile::Redpanda] {
        let broker = broker(BrokerConfig::default().with_profile(profile)).await;
        let proxy = Proxy::start(&broker.bootstrap()).await;
        let producer = Producer::start(config(std::slice::from_ref(&proxy.address))).unwrap();
        deliver(&producer, "first").await;
        let mut expected = vec!["first".to_owned()];
        deliver(&producer, "00000").await;
        expected.push("00000".to_owned());
        let (size, connections) = (proxy.produce_size(), proxy.connections());
        // From none of its bytes to all of them.
        for cut in 0..=size {
            proxy.cut(cut);
            let value = format!("{cut:05}");
            deliver(&producer, &value).await;
            expected.push(value);
            assert_eq!(proxy.cuts_left(), 0, "it was cut");
        }
        assert_eq!(stored(&broker), expected, "{profile}");
        assert!(proxy.connections() > connections + size, "one more each time");
    }
}

/// F2
#[tokio::test]
async fn requests_that_are_cut_off_while_others_are_in_flight_are_stored_in_order() {
    let broker = broker(BrokerConfig::default()).await;
    let proxy = Proxy::start(&broker.bootstrap()).await;
    let mut config = config(std::slice::from_ref(&proxy.address));
    config.batch_records_max = 3;
    let producer = Producer::start(config).unwrap();
    deliver(&producer, "first").await;
    let mut expected = vec!["first".to_owned()];
    for round in 0..30 {
        proxy.cut(round * 7);
        let values: Vec<_> = (0..20).map(|number| format!("{round}-{number}")).collect();
        let send = |value: &String| producer.send(Record::to("t").value(value.as_bytes()));
        let sendings: Vec<_> = values.iter().map(send).collect();
        for sending in sendings {
            tokio::time::timeout(PATIENCE, sending).await.unwrap().unwrap();
        }
        expected.extend(values);
    }
    assert_eq!(stored(&broker), expected);
}

/// F8
#[tokio::test]
async fn a_connection_that_carries_one_byte_at_a_time_keeps_the_order() {
    let broker = broker(BrokerConfig::default().with_profile(Profile::Redpanda)).await;
    let proxy = Proxy::start(&broker.bootstrap()).await;
    proxy.trickle();
    let producer = Producer::start(config(std::slice::from_ref(&proxy.address))).unwrap();
    let values: Vec<_> = (0..300).map(|number: u32| number.to_string()).collect();
    let records = values.iter().map(|value| Record::to("t").value(value.as_bytes()));
    let ends = tokio::time::timeout(PATIENCE, producer.send_all(records)).await.unwrap();
    assert_eq!(ends.delivered, 300);
    assert_eq!(stored(&broker), values);
    assert_eq!(proxy.connections(), 2, "slow is not broken");
}

/// A peer that answers whatever it is sent with these bytes.
async fn foreign_peer(answer: &'static [u8], tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tasks.spawn(async move {
        let mut held = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
            held.push(stream);
        }
    });
    address
}

/// F10
#[tokio::test]
async fn a_peer_that_is_no_broker_is_named_and_nothing_is_reserved_for_its_length() {
    let cases: [(&[u8], &str); 6] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server answered, not a Kafka broker"),
        (
            &[0x15, 3, 3, 0, 2, 2, 22],
            "speaks TLS, and we do not: set security.protocol to ssl or sasl_ssl",
        ),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "an SSH server answered, not a Kafka broker"),
        (&[0xff; 8], "it announced a frame of -1 bytes"),
        (&[0x80, 0, 0, 0, 1], "it announced a frame of -2147483648 bytes"),
        (&[0x7f, 0xff, 0xff, 0xff, 1], "it announced a frame of 2147483647 bytes"),
    ];
    let mut tasks = JoinSet::new();
    for (answer, expected) in cases {
        let mut config = config(&[foreign_peer(answer, &mut tasks).await]);
        config.request_timeout = Duration::from_millis(100);
        config.delivery_timeout = Duration::from_millis(200);
        let producer = Producer::start(config).unwrap();
        let error = producer.send(Record::to("t")).await.unwrap_err();
        let SendError::Delivery(error) = error else { panic!("{error}") };
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains(expected), "{cause}");
    }
}

/// F7
#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_the_cause_of_the_end() {
    // No label is so long: nobody has to be asked.
    let host = "x".repeat(70);
    let mut config = config(&[format!("{host}:9092")]);
    config.request_timeout = Duration::from_millis(100);
    config.delivery_timeout = Duration::from_millis(200);
    let producer = Producer::start(config).unwrap();
    let SendError::Delivery(error) = producer.send(Record::to("t")).await.unwrap_err() else {
        panic!("accepted")
    };
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("cannot resolve"), "{cause}");
}

/// F12
#[tokio::test]
async fn connections_that_the_broker_closes_between_records_are_made_again() {
    let broker = broker(BrokerConfig::default()).await;
    let producer = Producer::start(config(&broker.bootstrap())).unwrap();
    for round in 0..20 {
        deliver(&producer, &round.to_string()).await;
        broker.disconnect_all();
    }
    assert_eq!(stored(&broker), (0..20).map(|round| round.to_string()).collect::<Vec<_>>());
}

/// Text of which every codec makes two thirds.
fn noise(seed: u64) -> String {
    let mut state = seed + 1;
    let mut letter = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'!' + u8::try_from((state >> 33) % 90).unwrap())
    };
    let noise: String = (0..100).map(|_| letter()).collect();
    noise + "a tail that all of the values have in common, so that it is worth while"
}

/// F29, F59
#[tokio::test]
async fn compressed_batches_that_are_too_large_are_split_and_arrive_as_they_were() {
    for codec in Codec::ALL {
        let broker = broker(BrokerConfig::default().with_batch_size_max(4000)).await;
        let mut config = config(&broker.bootstrap());
        config.linger = Duration::from_millis(20);
        config.compression = codec.into();
        let producer = Producer::start(config).unwrap();
        let values: Vec<_> = (0..500).map(noise).collect();
        let records = values.iter().map(|value| Record::to("t").value(value.as_bytes()));
        let ends = tokio::time::timeout(PATIENCE, producer.send_all(records)).await.unwrap();
        assert_eq!((ends.delivered, ends.failed.len()), (500, 0), "{codec}");
        assert_eq!(stored(&broker), values, "{codec}");
        let errors = producer.metrics().errors;
        assert!(errors[&ErrorCode::MESSAGE_TOO_LARGE] > 0, "{codec}: {errors:?}");
        let stamps = broker.accepted("t");
        assert!(stamps.iter().all(|record| record.stamp.epoch == 0), "{codec}: nothing anew");
        assert!(stamps.iter().all(|record| record.codec == codec), "{codec}");
        let single = "y".repeat(60_000);
        if codec == Codec::None {
            let error = producer.send(Record::to("t").value(single.as_bytes())).await.unwrap_err();
            assert!(error.to_string().contains("MESSAGE_TOO_LARGE"), "{error}");
        } else {
            // What counts is its size on the wire.
            deliver(&producer, &single).await;
        }
        assert_eq!(producer.metrics().buffered_bytes, 0);
    }
}

/// F10
#[tokio::test]
async fn a_peer_that_hangs_up_without_a_word_is_asked_about() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    let mut config = config(&[address]);
    config.request_timeout = Duration::from_millis(100);
    config.delivery_timeout = Duration::from_millis(200);
    let producer = Producer::start(config).unwrap();
    let SendError::Delivery(error) = producer.send(Record::to("t")).await.unwrap_err() else {
        panic!("accepted")
    };
    let cause = std::error::Error::source(&error).expect("a cause").to_string();
    assert!(cause.contains("does its port want TLS (security.protocol)?"), "{cause}");
}
