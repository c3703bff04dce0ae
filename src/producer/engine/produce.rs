//! Which batches go into which request.
//!
//! A request to a broker carries the next batch of every partition that it leads and that has one
//! to send, so that many partitions cost one request. Batches are taken from callers only as far as
//! they can be sent: while a broker is busy they grow instead.

use super::super::cluster::{NodeId, TopicId};
use super::super::config::Acks;
use super::link::{ConnectionId, Request};
use super::partition::{BatchRef, Route};
use super::{Action, Engine};
use crate::protocol::messages::ApiKey;
use crate::protocol::messages::produce::{
    PartitionBatch, ProduceRequest, TOPIC_IDS_FROM, TopicBatches,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of batches that one request carries, unless a single batch is larger. Far below the
/// 100 MiB that brokers take (`socket.request.max.bytes`), and enough for many batches.
const REQUEST_SIZE_MAX: usize = 8 << 20;

/// A batch chosen for a request.
struct Chosen {
    batch: BatchRef,
    topic: Arc<str>,
    content: PartitionBatch,
}

impl Engine {
    /// Takes what could be sent, and has it sent when all other actions are performed: a driver may
    /// seal each batch as it takes the action, and if the first went out at once, each would get a
    /// request of its own.
    pub(super) fn produce(&mut self, now: Instant) {
        for node in self.leader_nodes() {
            self.take_ready(now, node);
        }
        self.send_due = true;
    }

    /// Sends what can be sent.
    pub(super) fn send_ready(&mut self, now: Instant) {
        for node in self.leader_nodes() {
            while self.send_to(now, node) {
                self.take_ready(now, node);
            }
        }
    }

    fn leader_nodes(&self) -> Vec<NodeId> {
        self.leaders.keys().copied().collect()
    }

    /// The connection to a leader, if it takes another request.
    fn open_way(&self, now: Instant, node: NodeId) -> Option<ConnectionId> {
        let link = self.leaders.get(&node)?;
        let (connection, _) = link.up()?;
        let room = link.takes_requests(now) && link.in_flight() < self.config.max_in_flight;
        room.then_some(connection)
    }

    /// Takes the batches from callers that this broker could be sent.
    fn take_ready(&mut self, now: Instant, node: NodeId) {
        let Some(connection) = self.open_way(now, node) else { return };
        // Who waits for room waits for these batches: none may linger then.
        let hurry = self.budget.is_exhausted() || self.closing.is_some();
        let linger = if hurry { Duration::ZERO } else { self.config.linger };
        let on = Route { now, connection, sequencer: &self.sequencer };
        let compression = self.compression_for(Some(node));
        for slot in &self.active {
            let partition = &mut self.partitions[*slot];
            if partition.leader != Some(node) {
                continue;
            }
            while partition.wants_next(on, linger) {
                let Some(open) = partition.queue.take_head() else { break };
                let (id, builder) = partition.take(open);
                let batch = BatchRef { slot: *slot, id };
                self.actions.push_back(Action::Seal { batch, builder, compression });
            }
        }
    }

    /// Sends one request, if there is something to send.
    fn send_to(&mut self, now: Instant, node: NodeId) -> bool {
        let Some(connection) = self.open_way(now, node) else { return false };
        let chosen = self.choose_batches(now, node, connection);
        if chosen.is_empty() {
            return false;
        }
        let ids_known =
            chosen.iter().all(|chosen| self.topic_id(&chosen.topic) != TopicId::default());
        let cap = if ids_known { i16::MAX } else { TOPIC_IDS_FROM - 1 };
        let versions = self.leaders.get(&node).and_then(|link| link.up()).map(|(_, known)| known);
        let version = versions.and_then(|known| known.choose_within(ApiKey::Produce, cap));
        let Some(version) = version else { return false };
        self.send(now, node, version, chosen);
        true
    }

    fn choose_batches(
        &mut self,
        now: Instant,
        node: NodeId,
        connection: ConnectionId,
    ) -> Vec<Chosen> {
        let mut chosen = Vec::new();
        let mut size = 0;
        let rotation = self.rotation;
        let on = Route { now, connection, sequencer: &self.sequencer };
        let turn = self.active.range(rotation..).chain(self.active.range(..rotation));
        for slot in turn.copied() {
            let partition = &mut self.partitions[slot];
            if partition.leader != Some(node) {
                continue;
            }
            let (topic, number) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
            let Some(batch) = partition.next_to_send(on) else {
                continue;
            };
            let (Some(sealed), Some(stamp)) = (batch.sealed(), batch.stamp) else { continue };
            size += sealed.size();
            if size > REQUEST_SIZE_MAX && !chosen.is_empty() {
                self.rotation = slot;
                break;
            }
            chosen.push(Chosen {
                batch: BatchRef { slot, id: batch.id() },
                topic,
                content: PartitionBatch {
                    partition: number,
                    header: sealed.header(stamp),
                    body: sealed.body().clone(),
                },
            });
        }
        chosen
    }

    fn send(&mut self, now: Instant, node: NodeId, version: i16, chosen: Vec<Chosen>) {
        let mut batches = Vec::with_capacity(chosen.len());
        let mut groups: Vec<(Arc<str>, Vec<PartitionBatch>)> = Vec::new();
        for Chosen { batch, topic, content } in chosen {
            batches.push(batch);
            match groups.iter_mut().find(|(name, _)| *name == topic) {
                Some((_, partitions)) => partitions.push(content),
                None => groups.push((topic, vec![content])),
            }
        }
        let topics: Vec<_> = groups
            .iter_mut()
            .map(|(name, partitions)| TopicBatches {
                name,
                id: self.topic_id(name),
                partitions: std::mem::take(partitions),
            })
            .collect();
        let request = ProduceRequest {
            acks: self.config.acks.wire(),
            timeout_ms: i32::try_from(self.config.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topics: &topics,
        };
        let expires_at = now + self.answer_timeout();
        let Some(link) = self.leaders.get_mut(&node) else { return };
        let Some((connection, _)) = link.up() else { return };
        let frame = request.encode(link.header(ApiKey::Produce, version, &self.config.client_id));
        for batch in &batches {
            if let Some(waited) = self.partitions[batch.slot].on_sent(now, *batch, connection) {
                self.meters.note(|counts| counts.queue_time.add(waited));
            }
        }
        self.meters.note(|counts| {
            counts.figures.requests += 1;
            counts.figures.request_batches += batches.len() as u64;
        });
        let correlation_id = link.sent(now, expires_at, Request::Produce { version, batches });
        let report = (self.config.acks == Acks::Zero).then_some(correlation_id);
        self.transmit(connection, frame, report);
    }

    fn topic_id(&self, topic: &str) -> TopicId {
        self.cluster.topic(topic).map_or_else(TopicId::default, |view| view.id)
    }
}
