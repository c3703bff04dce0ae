//! An engine among brokers that answer whatever bytes they are told to.
//!
//! They know one thing of Kafka: their answer to ApiVersions is sound, else nothing would be asked
//! of them. Everything else is a script. Whatever it says, every record ends, its memory is given
//! back, the engine closes in the end, and time never stands still.
//!
//! ```text
//! script = version* chunk*     a byte for each API: the newest version that is offered of it
//! chunk  = size kind body      two bytes, one byte, the rest of `size`
//! ```
//!
//! | kind | |
//! |---|---|
//! | 0 | the body answers the request that has waited longest |
//! | 1 | the connection of that request breaks |
//! | 2 | time passes, up to the engine's next timer |
//! | 3 | the body is a whole frame on that connection |

use super::{Action, ConnectionId, Engine, Seeds};
use crate::producer::accumulator::{Accumulator, Now};
use crate::producer::budget::Budget;
use crate::producer::completion::Completion;
use crate::producer::config::ProducerConfig;
use crate::producer::record::Record;
use crate::protocol::ErrorCode;
use crate::protocol::compression::Compressor;
use crate::protocol::messages::ApiKey;
use crate::protocol::record_batch::BatchLimits;
use crate::protocol::wire::Reader;
use bytes::{BufMut, Bytes};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// Events after which an engine that is left alone must have come to its end.
const STEPS_MAX: usize = 5_000;

/// Events of a script; a longer one ends there.
const ANSWERS_MAX: usize = 300;

/// What the engine may take to close.
const CLOSE_TIME: Duration = Duration::from_secs(30);

/// Has an engine talk to brokers that follow `script`. Returns how many records were delivered.
///
/// # Panics
///
/// When the engine does not do what it owes.
pub(crate) fn converse(script: &[u8]) -> usize {
    let mut script = Reader::new(script);
    let mut peer = Peer::new(&mut script);
    let completions = peer.send_all();
    for _ in 0..ANSWERS_MAX {
        let Some((kind, body)) = next_chunk(&mut script) else { break };
        peer.on_chunk(kind, body);
    }
    peer.end();
    let context = Context::from_waker(Waker::noop());
    let delivered = |completion: &&Completion| match completion.poll(&context) {
        Poll::Ready(end) => end.is_ok(),
        Poll::Pending => unreachable!("a record has no end"),
    };
    let delivered = completions.iter().filter(delivered).count();
    assert_eq!(peer.budget.used(), 0, "memory of records that have ended is held");
    delivered
}

fn next_chunk<'a>(script: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
    let size = usize::from(script.i16("size").ok()?.unsigned_abs());
    let chunk = script.take(size.min(script.remaining()), "chunk").ok()?;
    let (kind, body) = chunk.split_first()?;
    Some((*kind, body))
}

struct Peer {
    engine: Engine,
    accumulator: Arc<Accumulator>,
    budget: Arc<Budget>,
    now: Instant,
    /// Requests without an answer, as the engine wrote them.
    asked: VecDeque<(ConnectionId, Bytes)>,
    /// The answer to ApiVersions.
    offer: Bytes,
    /// Nobody takes a connection any more.
    gone: bool,
}

impl Peer {
    fn new(script: &mut Reader<'_>) -> Self {
        let mut config = ProducerConfig::new(["one:9092", "two:9092"]).expect("addresses");
        config.linger = Duration::ZERO;
        let limits =
            BatchLimits { bytes_max: config.batch_size, records_max: config.batch_records_max };
        let accumulator = Arc::new(Accumulator::new(limits, 7));
        let budget = Arc::new(Budget::new(config.buffer_memory));
        #[expect(clippy::disallowed_methods, reason = "a starting point; virtual from here on")]
        let now = Instant::now();
        let seeds = Seeds { random: 7, nonces: [7; 32] };
        let (shared, room) = (Arc::clone(&accumulator), Arc::clone(&budget));
        let engine = Engine::new(now, config, shared, room, seeds);
        let (asked, offer) = (VecDeque::new(), offer(script));
        let mut peer = Self { engine, accumulator, budget, now, asked, offer, gone: false };
        peer.perform();
        peer
    }

    /// Two records for partitions that need not exist, and one for any.
    fn send_all(&mut self) -> Vec<Completion> {
        let records = [
            Record::to("t").partition(0).value(b"one"),
            Record::to("t").partition(1).value(b"two"),
            Record::to("t").key(b"key").value(b"three"),
        ];
        let completions = records.map(|record| {
            let size = record.content().size_bound();
            self.budget.try_reserve(size).expect("there is room");
            let now = Now { instant: self.now, unix_millis: 1_700_000_000_000 };
            self.accumulator.push(now, &record, size).expect("it is open").completion
        });
        self.engine.handle_news(self.now);
        self.perform();
        completions.into()
    }

    fn on_chunk(&mut self, kind: u8, body: &[u8]) {
        let asked = if kind == 2 { None } else { self.asked.pop_front() };
        match asked {
            Some((connection, request)) => match kind {
                1 => self.break_off(connection),
                3 => self.answer(connection, Bytes::copy_from_slice(body)),
                _ => self.answer(connection, answer_to(&request, body)),
            },
            None => self.let_time_pass(),
        }
        self.perform();
    }

    fn answer(&mut self, connection: ConnectionId, frame: Bytes) {
        self.engine.handle_frame(self.now, connection, &frame);
    }

    fn break_off(&mut self, connection: ConnectionId) {
        self.asked.retain(|(asked, _)| *asked != connection);
        self.engine.handle_disconnected(self.now, connection, "broken".into());
    }

    fn let_time_pass(&mut self) {
        if let Some(at) = self.engine.poll_timeout() {
            assert!(at > self.now, "a timer that does not advance");
            self.now = at;
            self.engine.handle_timeout(at);
        }
    }

    /// All brokers are gone, and the engine is closed.
    fn end(&mut self) {
        self.gone = true;
        while let Some((connection, _)) = self.asked.pop_front() {
            self.break_off(connection);
            self.perform();
        }
        self.engine.handle_close(self.now, self.now + CLOSE_TIME);
        for _ in 0..STEPS_MAX {
            self.perform();
            if self.engine.is_finished() {
                return;
            }
            self.let_time_pass();
        }
        unreachable!("the engine does not come to an end");
    }

    fn perform(&mut self) {
        for _ in 0..STEPS_MAX {
            let Some(action) = self.engine.poll_action() else { return };
            match action {
                Action::Connect { connection, .. } if self.gone => {
                    self.engine.handle_disconnected(self.now, connection, "gone".into());
                }
                Action::Connect { connection, .. } => {
                    self.engine.handle_connected(self.now, connection);
                }
                Action::Transmit { connection, frame, .. } => {
                    self.on_request(connection, frame.concat().into());
                }
                Action::Close { connection } => {
                    self.asked.retain(|(asked, _)| *asked != connection);
                }
                Action::Seal { batch, builder, compression } => {
                    let sealed = builder.seal(&mut Compressor::new(compression));
                    self.engine.handle_sealed(self.now, batch, sealed);
                }
                Action::Derive { .. } | Action::Notice(_) => {}
            }
        }
        unreachable!("the engine asks for more and more at the same time");
    }

    fn on_request(&mut self, connection: ConnectionId, request: Bytes) {
        if api_of(&request) == ApiKey::ApiVersions as i16 {
            let answer = answer_to(&request, &self.offer);
            self.engine.handle_frame(self.now, connection, &answer);
        } else {
            self.asked.push_back((connection, request));
        }
    }
}

/// A refusal of ApiVersions in version 0 that lists every API that is spoken (KIP-511).
fn offer(script: &mut Reader<'_>) -> Bytes {
    let mut body = Vec::new();
    body.put_i16(ErrorCode::UNSUPPORTED_VERSION.0);
    body.put_i32(9);
    for api in ApiKey::ALL {
        let versions = api.versions();
        let spread = i16::from(script.i8("version").unwrap_or(0).unsigned_abs());
        let newest = versions.start() + spread % (versions.end() - versions.start() + 1);
        body.put_i16(api as i16);
        body.put_i16(*versions.start());
        body.put_i16(newest);
    }
    body.into()
}

/// Behind the length in front of `request`.
fn api_of(request: &[u8]) -> i16 {
    Reader::new(&request[4..]).i16("api key").expect("it begins with one")
}

/// `body` under the header that answers `request`.
fn answer_to(request: &[u8], body: &[u8]) -> Bytes {
    let mut header = Reader::new(&request[4..]);
    let sound = "the engine's requests are whole";
    let (api, version) = (header.i16("api").expect(sound), header.i16("version").expect(sound));
    let correlation_id = header.i32("correlation id").expect(sound);
    let api = ApiKey::ALL.into_iter().find(|known| *known as i16 == api).expect(sound);
    let mut answer = Vec::with_capacity(5 + body.len());
    answer.put_i32(correlation_id);
    if api.has_response_tags(version) {
        answer.put_u8(0);
    }
    answer.put_slice(body);
    answer.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };
    use kafka_protocol::messages::produce_response::{
        PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{
        InitProducerIdResponse, MetadataResponse, ProduceRequest, ProduceResponse,
    };
    use kafka_protocol::protocol::{Decodable, Encodable, decode_request_header_from_buffer};

    fn written(response: &impl Encodable, version: i16) -> Vec<u8> {
        let mut body = Vec::new();
        response.encode(&mut body, version).unwrap();
        body
    }

    fn metadata() -> MetadataResponse {
        let broker = |node: i32| {
            let broker = MetadataResponseBroker::default().with_node_id(node.into());
            broker.with_host("one".into()).with_port(9092)
        };
        let partition = |index: i32| {
            let partition = MetadataResponsePartition::default().with_partition_index(index);
            partition.with_leader_id((1 + index % 2).into()).with_replica_nodes(vec![1.into()])
        };
        let topic = MetadataResponseTopic::default()
            .with_name(Some(kafka_protocol::protocol::StrBytes::from_static_str("t").into()))
            .with_topic_id(vec![4; 16].try_into().unwrap())
            .with_partitions((0..3).map(partition).collect());
        MetadataResponse::default()
            .with_brokers(vec![broker(1), broker(2)])
            .with_topics(vec![topic])
    }

    /// Success for every batch, behind `strays` results that nobody asked for.
    fn produced(request: &ProduceRequest, strays: usize) -> ProduceResponse {
        let stray = PartitionProduceResponse::default().with_index(77);
        let strays = TopicProduceResponse::default()
            .with_name(kafka_protocol::protocol::StrBytes::from_static_str("u").into())
            .with_topic_id(vec![5; 16].try_into().unwrap())
            .with_partition_responses(vec![stray; strays]);
        let topics = request.topic_data.iter().map(|topic| {
            let partitions = topic.partition_data.iter().map(|partition| {
                PartitionProduceResponse::default().with_index(partition.index).with_base_offset(7)
            });
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions.collect())
        });
        let topics = std::iter::once(strays).chain(topics);
        ProduceResponse::default().with_responses(topics.collect())
    }

    /// What a broker answers that is honest, but for `strays`.
    fn sound(request: &Bytes, strays: usize) -> Vec<u8> {
        let mut frame = request.slice(4..);
        let header = decode_request_header_from_buffer(&mut frame).unwrap();
        let version = header.request_api_version;
        match header.request_api_key {
            0 => {
                let request = ProduceRequest::decode(&mut frame, version).unwrap();
                written(&produced(&request, strays), version)
            }
            3 => written(&metadata(), version),
            22 => written(&InitProducerIdResponse::default().with_producer_id(9.into()), version),
            key => panic!("nobody should ask for {key}"),
        }
    }

    /// The script of brokers that serve everything, up to these versions.
    fn sound_script(versions: [u8; 9], strays: usize) -> Vec<u8> {
        let mut script = versions.to_vec();
        let mut peer = Peer::new(&mut Reader::new(&versions));
        let completions = peer.send_all();
        for _ in 0..50 {
            let Some((_, request)) = peer.asked.front() else { break };
            let body = sound(request, strays);
            script.put_i16(i16::try_from(1 + body.len()).unwrap());
            script.put_u8(0);
            script.put_slice(&body);
            peer.on_chunk(0, &body);
        }
        drop(completions);
        script
    }

    #[test]
    fn brokers_whose_script_is_sound_get_every_record() {
        for spread in 0..13 {
            let script = sound_script([spread; 9], 0);
            if let Ok(folder) = std::env::var("OTTLA_SEEDS_TO") {
                std::fs::write(format!("{folder}/sound-{spread}"), &script).unwrap();
            }
            assert_eq!(converse(&script), 3, "{spread}");
            let cut_off = &script[..script.len() * 2 / 3];
            assert!(converse(cut_off) < 3, "{spread}");
        }
    }

    #[test]
    fn results_that_nobody_asked_for_are_passed_over_but_not_without_end() {
        assert_eq!(converse(&sound_script([0; 9], 1)), 3);
        assert_eq!(converse(&sound_script([0; 9], 200)), 0);
    }
}
