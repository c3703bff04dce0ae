//! What an answer, or its absence, does to the batches of a request.

use super::super::completion::{Acknowledged, Cause, DeliveryError};
use super::super::config::Address;
use super::super::sequencer::Identity;
use super::super::verdict::{Retry, Verdict};
use super::link::{Answer, Request};
use super::partition::{Batch, BatchRef};
use super::{Engine, Notice, Target};
use crate::protocol::messages::produce::{PartitionResult, ProduceResponse, TopicRef};
use crate::protocol::record_batch::ProducerStamp;
use crate::protocol::{DecodeError, ErrorCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// First version after whose answer the client, not the broker, keeps the pause it names (KIP-219).
const CLIENT_THROTTLES_FROM: i16 = 6;

impl Engine {
    /// # Errors
    ///
    /// When the answer makes no sense: the connection is of no use then.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        target: Target,
        answer: Answer,
    ) -> Result<(), DecodeError> {
        match answer.request {
            Request::ApiVersions => Ok(()),
            Request::Metadata { version } => self
                .on_metadata(now, version, &answer.body)
                .inspect_err(|_| self.cluster.refresh.on_lost(now)),
            Request::InitProducerId { version } => self
                .on_identity(now, version, &answer.body)
                .inspect_err(|_| self.sequencer.on_refused()),
            Request::Produce { version, batches } => {
                match ProduceResponse::decode(version, &answer.body) {
                    Ok(response) => {
                        self.on_produced(now, target, version, &batches, response);
                        Ok(())
                    }
                    Err(error) => {
                        let cause = Cause::Connection(format!("unreadable answer: {error}").into());
                        self.on_unanswered(now, &batches, &cause);
                        Err(error)
                    }
                }
            }
        }
    }

    fn on_produced(
        &mut self,
        now: Instant,
        target: Target,
        version: i16,
        batches: &[BatchRef],
        response: ProduceResponse,
    ) {
        if version >= CLIENT_THROTTLES_FROM
            && let Some(link) = self.link_mut(target)
        {
            let millis = u64::try_from(response.throttle_ms).unwrap_or(0);
            link.throttle(now, Duration::from_millis(millis));
        }
        let mut answered = vec![false; batches.len()];
        for result in response.partitions {
            self.take_hint(&result, &response.node_endpoints);
            // Results mostly come in the order of the request.
            let first = answered.iter().position(|answered| !answered).unwrap_or(0);
            let order = (first..batches.len()).chain(0..first);
            let found = order
                .into_iter()
                .find(|index| !answered[*index] && self.is_about(&result, batches[*index]));
            // A partition that was not asked for, or comes twice, is the broker's confusion.
            let Some(index) = found else { continue };
            answered[index] = true;
            self.on_result(now, batches[index], result);
            let partition = &mut self.partitions[batches[index].slot];
            if partition.leader.is_some_and(|leader| target != Target::Leader(leader)) {
                // The pause was for the old leader.
                partition.not_before = None;
            }
        }
        let silent: Vec<_> =
            batches.iter().zip(&answered).filter(|(_, told)| !**told).map(|(b, _)| *b).collect();
        if !silent.is_empty() {
            let cause = Cause::Connection("the answer leaves the partition out".into());
            self.on_unanswered(now, &silent, &cause);
        }
    }

    fn is_about(&self, result: &PartitionResult, batch: BatchRef) -> bool {
        let queue = &self.partitions[batch.slot].queue;
        let topic = match &result.topic {
            TopicRef::Name(name) => *name == queue.topic,
            TopicRef::Id(id) => self.cluster.topic(&queue.topic).is_some_and(|view| view.id == *id),
        };
        topic && result.partition == queue.partition
    }

    /// Follows a broker's word on who leads now, without waiting for metadata (KIP-951).
    fn take_hint(
        &mut self,
        result: &PartitionResult,
        endpoints: &[crate::protocol::messages::produce::NodeEndpoint],
    ) {
        let Some(leader) = &result.current_leader else { return };
        let topic = match &result.topic {
            TopicRef::Name(name) => Some(Arc::clone(name)),
            TopicRef::Id(id) => self
                .topics
                .keys()
                .find(|name| self.cluster.topic(name).is_some_and(|view| view.id == *id))
                .cloned(),
        };
        let Some(topic) = topic else { return };
        let endpoint = endpoints.iter().find(|endpoint| endpoint.node_id == leader.node_id);
        let address = endpoint.and_then(|endpoint| {
            let port = u16::try_from(endpoint.port).ok()?;
            Some(Address { host: endpoint.host.clone(), port })
        });
        let moved = (leader.node_id, leader.epoch);
        if self.cluster.on_leader_hint(&topic, result.partition, moved, address) {
            self.sync_topic(&topic);
        }
    }

    fn on_result(&mut self, now: Instant, batch: BatchRef, result: PartitionResult) {
        let partition = &mut self.partitions[batch.slot];
        let Some(index) = partition.on_returned(batch.id) else { return };
        let code = result.error;
        let cause = || Cause::Broker { code, message: result.message.as_deref().map(Into::into) };
        let verdict = match Verdict::on(code) {
            // Its stamp is not the reason then: without idempotence it carries none.
            Verdict::Renumber | Verdict::NewProducerId if !self.config.idempotence => {
                Verdict::Fail { unsure: false }
            }
            verdict => verdict,
        };
        match verdict {
            Verdict::Delivered => {
                let offset = |at: i64| (at >= 0).then_some(at);
                let ends = (offset(result.base_offset), offset(result.log_append_time));
                self.acknowledge(batch, index, ends);
            }
            Verdict::Duplicate => self.acknowledge(batch, index, (None, None)),
            Verdict::Retry(retry) => self.retry(now, batch, index, retry, cause()),
            Verdict::Renumber => self.renumber(now, batch, index, true, cause()),
            Verdict::NewProducerId => self.renumber(now, batch, index, false, cause()),
            Verdict::Fail { unsure } => {
                self.fail(batch, index, unsure, code, result.message.as_deref().map(Into::into));
            }
            Verdict::Fatal => self.fail_for_good(cause()),
        }
        self.partitions[batch.slot].renumber_if_ordered();
    }

    /// The batch is in the log, and with it every earlier one of its partition that might have been.
    fn acknowledge(&mut self, of: BatchRef, index: usize, ends: (Option<i64>, Option<i64>)) {
        let partition = &mut self.partitions[of.slot];
        let mut batch = partition.remove(index);
        if let Some(stamp) = batch.stamp {
            partition.sequence.on_acked(stamp);
        }
        let (topic, number) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
        let acknowledged = |base_offset, log_append_time| {
            let topic = Arc::clone(&topic);
            Ok(Acknowledged { topic, partition: number, base_offset, log_append_time })
        };
        self.budget.release(batch.reserved);
        batch.settle(acknowledged(ends.0, ends.1));
        if !self.config.idempotence {
            return;
        }
        // A broker takes no batch before its predecessors, so those that were unsure are there.
        let implied = |earlier: &Batch| {
            earlier.unsure && !earlier.is_in_flight() && same_identity(earlier.stamp, batch.stamp)
        };
        let partition = &mut self.partitions[of.slot];
        let mut position = 0;
        while position < index.min(partition.batches.len()) {
            if implied(&partition.batches[position]) {
                let mut earlier = partition.remove(position);
                self.budget.release(earlier.reserved);
                earlier.settle(acknowledged(None, None));
            } else {
                position += 1;
            }
        }
    }

    fn retry(&mut self, now: Instant, of: BatchRef, index: usize, retry: Retry, cause: Cause) {
        let pause = self.pause_after(of, index);
        let partition = &mut self.partitions[of.slot];
        let batch = &mut partition.batches[index];
        batch.unsure |= retry.unsure;
        batch.cause = Some(cause.clone());
        if batch.is_settled() {
            self.drop_settled(of, index);
            return;
        }
        if retry.attempts_max.is_some_and(|max| batch.attempts > max) {
            let (code, message) = match cause {
                Cause::Broker { code, message } => (code, message),
                Cause::Connection(message) => (ErrorCode::NETWORK_EXCEPTION, Some(message)),
            };
            self.fail(of, index, false, code, message);
            return;
        }
        let attempts = batch.attempts;
        let (topic, number) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
        partition.not_before = Some(now + pause);
        if retry.refresh {
            self.cluster.refresh.want(now);
        }
        self.notice(Notice::Retrying { topic, partition: number, attempts, cause });
    }

    fn pause_after(&mut self, of: BatchRef, index: usize) -> Duration {
        let attempts = self.partitions[of.slot].batches[index].attempts;
        self.retry.jittered(attempts.saturating_sub(1), &mut self.random)
    }

    /// The broker misses what came before the batch, or does not know us any more.
    fn renumber(&mut self, now: Instant, of: BatchRef, index: usize, keep_id: bool, cause: Cause) {
        let pause = self.pause_after(of, index);
        let partition = &mut self.partitions[of.slot];
        let batch = &mut partition.batches[index];
        // The broker did look: it does not have the batch.
        batch.unsure = false;
        batch.cause = Some(cause.clone());
        let stamp = batch.stamp;
        let settled = batch.is_settled();
        if index > 0 {
            // An earlier batch is still to come, and this one may only be refused for its absence.
            // That one may be in the log: its number must not change before it is known.
            if settled {
                self.drop_settled(of, index);
            }
            return;
        }
        partition.order_renumbering();
        partition.not_before = Some(now + pause);
        let (topic, number) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
        if let Some(stamp) = stamp {
            let used = Identity { producer_id: stamp.producer_id, epoch: stamp.epoch };
            self.sequencer.leave(used, keep_id);
        }
        if settled {
            self.drop_settled(of, index);
        }
        self.notice(Notice::Renumbered { topic, partition: number, cause });
    }

    pub(super) fn fail(
        &mut self,
        of: BatchRef,
        index: usize,
        unsure: bool,
        code: ErrorCode,
        message: Option<Arc<str>>,
    ) {
        let partition = &mut self.partitions[of.slot];
        let mut batch = partition.remove(index);
        // What an earlier transmission did, this refusal does not undo.
        let unsure = unsure || batch.unsure;
        if let Some(stamp) = batch.stamp
            && !unsure
        {
            partition.sequence.on_rejected(stamp, batch.count());
        }
        let (topic, partition) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
        let error = if unsure {
            DeliveryError::Unknown {
                topic,
                partition,
                timeout: self.config.delivery_timeout,
                attempts: batch.attempts,
                cause: Some(Cause::Broker { code, message }),
            }
        } else {
            DeliveryError::Rejected { topic, partition, code, message }
        };
        self.budget.release(batch.reserved);
        batch.settle(Err(error.clone()));
        self.notice(Notice::Failed(error));
    }

    /// Lets go of a batch whose records have heard of its end already.
    fn drop_settled(&mut self, of: BatchRef, index: usize) {
        let batch = self.partitions[of.slot].remove(index);
        self.budget.release(batch.reserved);
    }

    /// No answer will come: the batches may be in the log, and are sent again as they are.
    pub(super) fn on_unanswered(&mut self, now: Instant, batches: &[BatchRef], cause: &Cause) {
        let unsure = Retry { refresh: true, unsure: true, attempts_max: None };
        for batch in batches {
            if let Some(index) = self.partitions[batch.slot].on_returned(batch.id) {
                self.retry(now, *batch, index, unsure, cause.clone());
                self.partitions[batch.slot].renumber_if_ordered();
            }
        }
    }

    /// Written, with `acks=0`: that is all there is to know.
    pub(super) fn on_written(&mut self, _now: Instant, batches: &[BatchRef]) {
        for batch in batches {
            if let Some(index) = self.partitions[batch.slot].on_returned(batch.id) {
                self.acknowledge(*batch, index, (None, None));
            }
        }
    }
}

fn same_identity(one: Option<ProducerStamp>, other: Option<ProducerStamp>) -> bool {
    let identity = |stamp: ProducerStamp| (stamp.producer_id, stamp.epoch);
    one.map(identity) == other.map(identity)
}
