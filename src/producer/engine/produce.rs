//! Which batches go into which request.
//!
//! A request to a broker carries the next batch of every partition that it leads and that has one
//! to send, so that many partitions cost one request. Batches are taken from callers only as far as
//! they can be sent: while a broker is busy they grow instead.

use super::super::cluster::{NodeId, TopicId};
use super::super::config::Acks;
use super::link::{ConnectionId, Link, Request};
use super::partition::{BatchRef, Linger, Partition, Route};
use super::{Action, Engine};
use crate::protocol::messages::ApiKey;
use crate::protocol::messages::produce::{
    PartitionBatch, ProduceRequest, TOPIC_IDS_FROM, TopicBatches,
};
use crate::protocol::record_batch::SealedBatch;
use bytes::Bytes;
use std::ops::Bound;
use std::time::{Duration, Instant};

/// Bytes of batches that one request carries, unless a single batch is larger. Far below the
/// 100 MiB that brokers take (`socket.request.max.bytes`), and enough for many batches.
const REQUEST_SIZE_MAX: usize = 8 << 20;

impl Engine {
    /// Takes what could be sent, and has it sent when all other actions are performed: a driver may
    /// seal each batch as it takes the action, and if the first went out at once, each would get a
    /// request of its own.
    pub(super) fn produce(&mut self, now: Instant) {
        let mut next = self.leader_after(None);
        while let Some(node) = next {
            self.take_ready(now, node);
            next = self.leader_after(Some(node));
        }
        self.send_due = true;
    }

    /// Sends what can be sent.
    pub(super) fn send_ready(&mut self, now: Instant) {
        let mut next = self.leader_after(None);
        while let Some(node) = next {
            while self.send_to(now, node) {
                self.take_ready(now, node);
            }
            next = self.leader_after(Some(node));
        }
        self.count_in_flight();
    }

    fn count_in_flight(&mut self) {
        let in_flight = self.leaders.values().map(Link::in_flight).sum();
        if in_flight != self.in_flight {
            self.in_flight = in_flight;
            self.meters.note(|counts| counts.figures.in_flight = in_flight);
        }
    }

    /// The leaders in turn, while they may change.
    fn leader_after(&self, node: Option<NodeId>) -> Option<NodeId> {
        let after = node.map_or(Bound::Unbounded, Bound::Excluded);
        self.leaders.range((after, Bound::Unbounded)).next().map(|(node, _)| *node)
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
        let linger = if hurry { Linger::of(Duration::ZERO) } else { self.linger };
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
        let batches = self.choose_batches(now, node, connection);
        if batches.is_empty() {
            return false;
        }
        let Some((version, frame)) = self.frame(node, &batches) else { return false };
        self.send(now, node, Request::Produce { version, batches }, frame);
        true
    }

    /// The batches of one request, stamped.
    fn choose_batches(
        &mut self,
        now: Instant,
        node: NodeId,
        connection: ConnectionId,
    ) -> Vec<BatchRef> {
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
            let Some(batch) = partition.next_to_send(on) else {
                continue;
            };
            size += batch.sealed().map_or(0, SealedBatch::size);
            if size > REQUEST_SIZE_MAX && !chosen.is_empty() {
                self.rotation = slot;
                break;
            }
            chosen.push(BatchRef { slot, id: batch.id() });
        }
        chosen
    }

    /// The request that carries these batches, and its version.
    fn frame(&self, node: NodeId, batches: &[BatchRef]) -> Option<(i16, Vec<Bytes>)> {
        let topics = self.by_topic(batches);
        let ids_known = topics.iter().all(|topic| topic.id != TopicId::default());
        let cap = if ids_known { i16::MAX } else { TOPIC_IDS_FROM - 1 };
        let link = self.leaders.get(&node)?;
        let (_, versions) = link.up()?;
        let version = versions.choose_within(ApiKey::Produce, cap)?;
        let request = ProduceRequest {
            acks: self.config.acks.wire(),
            timeout_ms: i32::try_from(self.config.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topics: &topics,
        };
        let header = link.header(ApiKey::Produce, version, &self.config.client_id);
        Some((version, request.encode(header)))
    }

    fn by_topic(&self, batches: &[BatchRef]) -> Vec<TopicBatches<'_>> {
        let mut topics: Vec<TopicBatches<'_>> = Vec::new();
        for batch in batches {
            let Partition { queue, .. } = &self.partitions[batch.slot];
            let found = self.partitions[batch.slot].batch(batch.id);
            let Some((sealed, stamp)) = found.and_then(|it| it.sealed().zip(it.stamp)) else {
                continue;
            };
            let content = PartitionBatch {
                partition: queue.partition,
                header: sealed.header(stamp),
                body: sealed.body(),
            };
            match topics.iter_mut().find(|topic| *topic.name == *queue.topic) {
                Some(topic) => topic.partitions.push(content),
                None => topics.push(TopicBatches {
                    name: &queue.topic,
                    id: self.topic_id(&queue.topic),
                    partitions: vec![content],
                }),
            }
        }
        topics
    }

    fn send(&mut self, now: Instant, node: NodeId, request: Request, frame: Vec<Bytes>) {
        let expires_at = now + self.answer_timeout();
        let Some(link) = self.leaders.get_mut(&node) else { return };
        let Some((connection, _)) = link.up() else { return };
        if let Request::Produce { batches, .. } = &request {
            for batch in batches {
                if let Some(waited) = self.partitions[batch.slot].on_sent(now, *batch, connection) {
                    self.meters.note(|counts| counts.queue_time.add(waited));
                }
            }
            self.meters.note(|counts| {
                counts.figures.requests += 1;
                counts.figures.request_batches += batches.len() as u64;
            });
        }
        let correlation_id = link.sent(now, expires_at, request);
        let report = (self.config.acks == Acks::Zero).then_some(correlation_id);
        self.transmit(connection, frame, report);
    }

    fn topic_id(&self, topic: &str) -> TopicId {
        self.cluster.topic(topic).map_or_else(TopicId::default, |view| view.id)
    }
}
