//! The producer under load and at its end: full buffers, flushes, listeners that misbehave, runtimes
//! that go away. `F1` to `F60` are the rows of the fault matrix in `src/producer/semantics.md`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

use ottla::broker::{Admission, Api, BrokerConfig, EmbeddedBroker, ProduceFault, RequestFault};
use ottla::producer::{
    Delivered, DeliveryError, DeliveryListener, Producer, ProducerConfig, Record, SendError,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn broker() -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    broker.create_topic("t", 1).unwrap();
    broker
}

fn config(broker: &EmbeddedBroker) -> ProducerConfig {
    let mut config = ProducerConfig::new(broker.bootstrap()).unwrap();
    config.linger = Duration::ZERO;
    config.retry_backoff = Duration::from_millis(5);
    config.reconnect_backoff = Duration::from_millis(5);
    config
}

/// Waits for what must not take for ever.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it hangs")
}

fn stored(broker: &EmbeddedBroker) -> Vec<String> {
    let records = broker.accepted("t");
    let values = records.iter().map(|record| record.value.clone().unwrap_or_default());
    values.map(|value| String::from_utf8(value.to_vec()).unwrap()).collect()
}

/// F50
#[tokio::test]
async fn many_senders_to_a_full_buffer_are_all_served_and_those_that_leave_block_nobody() {
    let broker = broker().await;
    let mut config = config(&broker);
    config.buffer_memory = 2000;
    config.record_size_max = 1000;
    let producer = Producer::start(config).unwrap();
    for _ in 0..3 {
        broker.inject("t", 0, ProduceFault::DelayAnswer(Duration::from_millis(50)));
    }
    let mut senders = JoinSet::new();
    for number in 0..60_u32 {
        let producer = producer.clone();
        senders.spawn(async move {
            let value = format!("{number:0500}");
            let sending = producer.send(Record::to("t").value(value.as_bytes()));
            if number % 5 == 4 {
                // Gives up at once, whether it was accepted or not.
                drop(sending);
                return None;
            }
            Some(sending.await)
        });
    }
    let mut delivered = 0;
    while let Some(end) = soon(senders.join_next()).await {
        if let Some(end) = end.unwrap() {
            end.unwrap();
            delivered += 1;
        }
    }
    assert_eq!(delivered, 48);
    soon(producer.flush()).await;
    let metrics = producer.metrics();
    assert_eq!((metrics.buffered_bytes, metrics.waiting_sends), (0, 0));
    let mut values = stored(&broker);
    values.sort();
    values.dedup();
    assert_eq!(values.len(), broker.accepted("t").len(), "nothing twice");
}

/// F50
#[tokio::test]
async fn whoever_waits_for_room_in_vain_is_told_and_the_next_in_turn_is_served() {
    let broker = broker().await;
    let mut config = config(&broker);
    config.buffer_memory = 1000;
    config.record_size_max = 1000;
    config.max_block = Duration::from_millis(100);
    let producer = Producer::start(config).unwrap();
    broker.inject_request(Api::Metadata, RequestFault::Silence);
    let value = [b'x'; 900];
    let first = producer.send(Record::to("t").value(&value));
    let error = soon(producer.send(Record::to("t").value(&value))).await.unwrap_err();
    assert!(matches!(error, SendError::QueueFull { .. }), "{error}");
    broker.disconnect_all();
    soon(first).await.unwrap();
    soon(producer.send(Record::to("t").value(&value))).await.unwrap();
    assert_eq!(broker.accepted("t").len(), 2);
}

/// F51
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_return_while_others_send_and_brokers_go_and_come() {
    let broker = Arc::new(broker().await);
    let producer = Producer::start(config(&broker)).unwrap();
    let mut tasks = JoinSet::new();
    for sender in 0..3 {
        let producer = producer.clone();
        tasks.spawn(async move {
            for number in 0..200 {
                let value = format!("{sender}-{number}");
                producer.send(Record::to("t").value(value.as_bytes())).await.unwrap();
            }
        });
    }
    for _ in 0..3 {
        let producer = producer.clone();
        tasks.spawn(async move {
            for _ in 0..20 {
                producer.flush().await;
            }
        });
    }
    for _ in 0..10 {
        broker.disconnect_all();
        broker.inject_request(Api::Produce, RequestFault::Disconnect);
        soon(producer.flush()).await;
    }
    while let Some(ended) = soon(tasks.join_next()).await {
        ended.unwrap();
    }
    soon(producer.flush()).await;
    assert_eq!(broker.accepted("t").len(), 600);
}

/// F51
#[tokio::test]
async fn a_flush_and_a_close_at_once_both_return_without_a_broker() {
    let broker = broker().await;
    let producer = Producer::start(config(&broker)).unwrap();
    broker.admit(1, Admission::Close);
    broker.disconnect_all();
    let sendings: Vec<_> = (0..10).map(|_| producer.send(Record::to("t"))).collect();
    let flush = producer.flush();
    let close = producer.close(Duration::from_millis(50));
    soon(async { tokio::join!(flush, close) }).await;
    for sending in sendings {
        let error = soon(sending).await.unwrap_err();
        assert!(matches!(error, SendError::Delivery(_)), "{error}");
    }
    soon(producer.flush()).await;
}

/// F51, F52
#[tokio::test]
async fn a_listener_may_flush_and_close() {
    let broker = broker().await;
    let producer = Producer::start(config(&broker)).unwrap();
    let (tell, mut told) = unbounded_channel();
    let inner = producer.clone();
    producer.send(Record::to("t").value(b"a")).on_end(move |end| {
        end.unwrap();
        // It may not wait itself: it runs on the producer's task.
        let again = inner.send(Record::to("t").value(b"b"));
        let ends: std::pin::Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            inner.flush().await;
            again.await.unwrap();
            inner.close(Duration::ZERO).await;
        });
        tell.send(ends).ok().unwrap();
    });
    let ends = soon(told.recv()).await.unwrap();
    soon(ends).await;
    assert_eq!(stored(&broker), ["a", "b"]);
    assert!(matches!(soon(producer.send(Record::to("t"))).await, Err(SendError::Closed)));
}

/// F52
#[tokio::test]
async fn however_often_and_soon_it_is_closed_each_record_ends_once() {
    for timeout in [0, 1, 5, 10_000].map(Duration::from_millis) {
        let broker = broker().await;
        let producer = Producer::start(config(&broker)).unwrap();
        producer.send(Record::to("t").value(b"first")).await.unwrap();
        let ends = Arc::new(AtomicU64::new(0));
        let may_be_stored = Arc::new(AtomicU64::new(1));
        for _ in 0..500 {
            let (ends, may_be_stored) = (Arc::clone(&ends), Arc::clone(&may_be_stored));
            producer.send(Record::to("t").value(b"x")).on_end(move |end| {
                ends.fetch_add(1, Ordering::Relaxed);
                if end.is_ok() || end.is_err_and(|error| error.may_be_written()) {
                    may_be_stored.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let again = producer.clone();
        let closes = async { tokio::join!(producer.close(timeout), again.close(timeout)) };
        soon(closes).await;
        assert_eq!(ends.load(Ordering::Relaxed), 500);
        let stored = u64::try_from(broker.accepted("t").len()).unwrap();
        assert!(stored <= may_be_stored.load(Ordering::Relaxed), "what failed is not in the log");
        if timeout > Duration::from_secs(1) {
            assert_eq!(stored, 501);
        }
        assert_eq!(producer.metrics().buffered_bytes, 0);
    }
}

/// F53
#[tokio::test]
async fn a_listener_that_panics_harms_no_other() {
    let broker = broker().await;
    let producer = Producer::start(config(&broker)).unwrap();
    let (tell, mut told) = unbounded_channel();
    let listener: Arc<dyn DeliveryListener> =
        Arc::new(move |tag: u64, end: Result<Delivered, DeliveryError>| {
            assert!(!tag.is_multiple_of(3), "this listener panics on purpose");
            tell.send((tag, end.is_ok())).unwrap();
        });
    for tag in 0..30 {
        producer.try_send(Record::to("t").value(b"v"), tag, &listener).unwrap();
    }
    for tag in (0..30).filter(|tag: &u64| !tag.is_multiple_of(3)) {
        assert_eq!(soon(told.recv()).await, Some((tag, true)));
    }
    soon(producer.close(PATIENCE)).await;
    assert_eq!(broker.accepted("t").len(), 30);
}

/// F53
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_listener_that_blocks_holds_up_its_own_producer_and_no_other() {
    let broker = broker().await;
    let blocked = Producer::start(config(&broker)).unwrap();
    let free = Producer::start(config(&broker)).unwrap();
    let (release, wait) = mpsc::channel::<()>();
    let (tell, mut reached) = unbounded_channel();
    blocked.send(Record::to("t").value(b"a")).on_end(move |_| {
        tell.send(()).unwrap();
        wait.recv().unwrap();
    });
    soon(reached.recv()).await.unwrap();
    // Callers get on too: a record is accepted without its producer's task.
    let later = blocked.send(Record::to("t").value(b"c"));
    soon(free.send(Record::to("t").value(b"b"))).await.unwrap();
    release.send(()).unwrap();
    soon(later).await.unwrap();
    assert_eq!(stored(&broker), ["a", "b", "c"]);
}

/// F58
#[test]
fn a_runtime_that_is_shut_down_leaves_no_record_without_an_end() {
    for workers in [0, 2] {
        let other = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let broker = other.block_on(broker());
        let mut builder = match workers {
            0 => tokio::runtime::Builder::new_current_thread(),
            _ => tokio::runtime::Builder::new_multi_thread(),
        };
        let runtime = builder.enable_all().build().unwrap();
        let producer = {
            let _inside = runtime.enter();
            Producer::start(config(&broker)).unwrap()
        };
        runtime.block_on(producer.send(Record::to("t").value(b"first"))).unwrap();
        broker.inject("t", 0, ProduceFault::DelayAnswer(PATIENCE));
        let sendings: Vec<_> =
            (0..100).map(|_| producer.send(Record::to("t").value(b"x"))).collect();
        runtime.shutdown_background();
        for sending in sendings {
            let end = other.block_on(soon(sending));
            assert!(matches!(end, Ok(_) | Err(SendError::Delivery(_))), "{end:?}");
        }
        let late = other.block_on(soon(producer.send(Record::to("t"))));
        assert!(matches!(late, Err(SendError::Closed)), "{late:?}");
        other.block_on(soon(producer.flush()));
        other.block_on(soon(producer.close(PATIENCE)));
        producer.purge();
        assert_eq!(producer.metrics().buffered_bytes, 0);
    }
}
