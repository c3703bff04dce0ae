//! OTLP over gRPC from grpc-go, with the clients of the Collector's own pdata: what most senders are.
//! Without the program that has them the tests are skipped, and say so.

use super::otlp::{Service, broker, span, traces, value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use ottla::broker::{Api, RequestFault};
use prost::Message;
use std::collections::BTreeMap;

#[path = "../otlp/program.rs"]
mod program;

use program::Program;

struct Sender(Program);

impl Sender {
    fn start() -> Option<Self> {
        Program::start().map(Self)
    }

    /// What the service answers, as grpc-go understands it.
    fn send(&mut self, service: &Service, compression: &str, signal: &str, body: &str) -> String {
        self.0.say(&format!("send {} {compression} {signal} {body}", service.grpc));
        self.0.hear().trim_end().to_owned()
    }

    /// How many items a request has, and what the Collector's code writes for it.
    fn read(&mut self, signal: &str, body: &str) -> (usize, String) {
        self.0.say(&format!("decode {signal} protobuf {body}"));
        let line = self.0.hear();
        let words: Vec<_> = line.split(' ').collect();
        (words[1].parse().unwrap(), words[2].to_owned())
    }

    /// Requests as the Collector's code makes them up: their signals, and their protobuf in base64.
    fn corpus(&mut self, count: usize) -> Vec<(String, String)> {
        self.0.say(&format!("corpus 1 {count}"));
        let line = |_| {
            let line = self.0.hear();
            let mut words = line.split(' ').skip(1).map(str::to_owned);
            (words.next().unwrap(), words.next().unwrap())
        };
        (0..count).map(line).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_collectors_client_sends_is_in_its_topic_byte_for_byte() {
    let Some(mut sender) = Sender::start() else { return };
    let broker = broker().await;
    let service = Service::start(&broker, &[]);
    // Of many frames, and of more than a stream may send ahead.
    let large = traces((1..=45).map(|id| span(id, &"x".repeat(20_000))).collect()).encode_to_vec();
    let large = ("traces".to_owned(), sender.read("traces", &BASE64.encode(large)).1);
    let requests = sender.corpus(60).into_iter().chain([large.clone(), large.clone(), large]);
    let mut sent = BTreeMap::<_, Vec<_>>::new();
    for (number, (signal, body)) in requests.enumerate() {
        let compression = ["none", "gzip", "zstd"][number % 3];
        assert_eq!(sender.send(&service, compression, &signal, &body), "sent 0", "{number}");
        // What has no items is taken, and need be no record.
        if sender.read(&signal, &body).0 > 0 {
            sent.entry(signal).or_default().push(BASE64.decode(body).unwrap());
        }
    }
    for signal in ["traces", "metrics", "logs"] {
        let records = broker.accepted(&format!("otlp_{signal}"));
        // A metric without points is kept, and is no item.
        let has_items = |body: &&[u8]| sender.read(signal, &BASE64.encode(body)).0 > 0;
        assert!(records.iter().map(value).filter(has_items).eq(&sent[signal]), "{signal}");
    }
    let (code, log) = service.terminate();
    assert_eq!(code, 0, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_collectors_client_hears_why_and_when_to_come_back() {
    let Some(mut sender) = Sender::start() else { return };
    let broker = broker().await;
    let dropping = ["--kafka-exporter-max-message-bytes=5000", "--kafka-exporter-oversize=drop"];
    let service = Service::start(&broker, &dropping);
    let request = traces(vec![span(1, "small"), span(2, &"x".repeat(9_000))]).encode_to_vec();
    let answer = sender.send(&service, "none", "traces", &BASE64.encode(&request));
    assert!(answer.starts_with("sent 1 span "), "{answer}");
    let request = traces(vec![span(1, &"x".repeat(22 << 20))]).encode_to_vec();
    let answer = sender.send(&service, "none", "traces", &BASE64.encode(&request));
    assert!(answer.starts_with("refused ResourceExhausted never the body is larger"), "{answer}");
    drop(service);

    // Nothing is acknowledged, so nothing makes room.
    broker.inject_request(Api::Produce, RequestFault::Silence);
    let kib = "--kafka-property=queue.buffering.max.kbytes=1100";
    let service = Service::start(&broker, &["--ack=queue", kib]);
    let request = traces(vec![span(1, &"x".repeat(700_000))]).encode_to_vec();
    let mut send = || sender.send(&service, "none", "traces", &BASE64.encode(&request));
    assert_eq!(send(), "sent 0");
    let answer = send();
    assert!(answer.starts_with("refused ResourceExhausted 1s the queue is full"), "{answer}");
}
