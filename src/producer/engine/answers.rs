//! What an answer, or its absence, does to the batches of a request.

use super::super::cluster::NodeId;
use super::super::completion::{Acknowledged, Cause, DeliveryError};
use super::super::config::Address;
use super::super::sequencer::Identity;
use super::super::verdict::{Retry, Verdict};
use super::link::{Answer, Request};
use super::partition::{Batch, BatchRef, Place};
use super::{Engine, Notice, Target};
use crate::protocol::messages::produce::{
    NodeEndpoint, PartitionResult, ProduceResponse, RecordError, TopicRef,
};
use crate::protocol::record_batch::ProducerStamp;
use crate::protocol::text::may_be_host;
use crate::protocol::{DecodeError, ErrorCode};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// First version after whose answer the client, not the broker, keeps the pause it names (KIP-219).
const CLIENT_THROTTLES_FROM: i16 = 6;

/// The longest pause that is kept. Brokers name less: Kafka's quota windows are eleven seconds
/// together, Redpanda stops at thirty. Two billion milliseconds would be twenty-five days.
const THROTTLE_MAX: Duration = Duration::from_secs(60);

/// Results that nobody asked for, before the rest of an answer is not listened to: each costs a
/// look at every batch of the request, and an answer has room for millions.
const STRAYS_MAX: usize = 100;

/// Why a broker refused a batch.
struct Refusal {
    code: ErrorCode,
    message: Option<Arc<str>>,
    /// It may be in the log all the same.
    unsure: bool,
    /// The records that are to blame, where the broker says (KIP-467).
    records: Vec<RecordError>,
}

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
            Request::Handshake { .. } => Ok(()),
            Request::Metadata { version } => self
                .on_metadata(now, version, &answer.body)
                .inspect_err(|_| self.cluster.refresh.on_lost(now)),
            Request::InitProducerId { version } => self
                .on_identity(now, version, &answer.body)
                .inspect_err(|_| self.sequencer.on_refused()),
            Request::Produce { version, batches } => {
                let latency = now.saturating_duration_since(answer.sent_at);
                self.meters.note(|counts| counts.request_latency.add(latency));
                match ProduceResponse::decode(version, &answer.body) {
                    Ok(response) => {
                        if version >= CLIENT_THROTTLES_FROM {
                            self.throttle(now, target, response.throttle_ms);
                        }
                        self.on_produced(now, target, &batches, response);
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

    fn throttle(&mut self, now: Instant, target: Target, millis: i32) {
        let pause = Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(THROTTLE_MAX);
        if let Some(link) = self.link_mut(target)
            && !pause.is_zero()
        {
            link.throttle(now, pause);
            self.meters.note(|counts| counts.figures.throttled += pause);
        }
    }

    fn on_produced(
        &mut self,
        now: Instant,
        target: Target,
        batches: &[BatchRef],
        response: ProduceResponse,
    ) {
        let mut answered = vec![false; batches.len()];
        let refusal = ErrorCode::UNSUPPORTED_VERSION;
        let outdated = response.partitions.iter().any(|result| result.error == refusal);
        let endpoints = response.node_endpoints.into_iter().map(|node| (node.node_id, node));
        let endpoints = endpoints.collect();
        let mut strays = 0;
        for result in response.partitions {
            // Results mostly come in the order of the request.
            let first = answered.iter().position(|answered| !answered).unwrap_or(0);
            let order = (first..batches.len()).chain(0..first);
            let found = order
                .into_iter()
                .find(|index| !answered[*index] && self.is_about(&result, batches[*index]));
            #[cfg(test)]
            let found = self.mutant.answered(&answered).or(found);
            // A partition that was not asked for, or comes twice, is the broker's confusion.
            let Some(index) = found else {
                strays += 1;
                if strays > STRAYS_MAX {
                    break;
                }
                continue;
            };
            answered[index] = true;
            self.take_hint(&result, &endpoints);
            self.on_result(now, batches[index], result);
            let partition = &mut self.partitions[batches[index].slot];
            partition.spare_pause(target);
        }
        let silent: Vec<_> =
            batches.iter().zip(&answered).filter(|(_, told)| !**told).map(|(b, _)| *b).collect();
        if !silent.is_empty() {
            let cause = Cause::Connection("the answer leaves the partition out".into());
            self.on_unanswered(now, &silent, &cause);
        }
        if outdated {
            // The broker is not what it was when its versions were asked for.
            self.drop_link(now, target, "it refuses a version that it had offered");
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
    fn take_hint(&mut self, result: &PartitionResult, endpoints: &BTreeMap<NodeId, NodeEndpoint>) {
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
        let address = endpoints.get(&leader.node_id).and_then(|endpoint| {
            let port = u16::try_from(endpoint.port).ok()?;
            may_be_host(&endpoint.host).then_some(())?;
            Some(Address { host: endpoint.host.clone(), port })
        });
        let moved = (leader.node_id, leader.epoch);
        if self.cluster.on_leader_hint(&topic, result.partition, moved, address) {
            self.sync_topic(&topic);
        }
    }

    fn on_result(&mut self, now: Instant, batch: BatchRef, result: PartitionResult) {
        let Some(at) = self.partitions[batch.slot].on_returned(batch) else { return };
        let PartitionResult { error: code, base_offset, log_append_time, .. } = result;
        let message = result.message.map(Arc::from);
        let cause = Cause::Broker { code, message: message.clone() };
        if code != ErrorCode::NONE {
            self.meters.note(|counts| *counts.figures.errors.entry(code).or_default() += 1);
        }
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
                self.acknowledge(at, offset(base_offset), offset(log_append_time));
            }
            Verdict::Duplicate => self.acknowledge(at, None, None),
            Verdict::Retry(retry) => self.retry(now, at, retry, cause),
            Verdict::Renegotiate => {
                let once = Retry { attempts_max: Some(1), ..Retry::default() };
                self.retry(now, at, once, cause);
            }
            Verdict::Split if self.can_split(at) => self.split(at),
            Verdict::Renumber => self.renumber(now, at, true, cause),
            Verdict::NewProducerId => self.renumber(now, at, false, cause),
            Verdict::Split | Verdict::Fail { .. } => {
                let unsure = matches!(verdict, Verdict::Fail { unsure: true });
                self.fail(at, Refusal { code, message, unsure, records: result.record_errors });
            }
            Verdict::Fatal => self.fail_for_good(cause),
        }
        self.partitions[batch.slot].renumber_if_ordered();
    }

    /// The batch is in the log, and with it every earlier one of its partition that might have been.
    fn acknowledge(&mut self, at: Place, offset: Option<i64>, log_append_time: Option<i64>) {
        let partition = &mut self.partitions[at.slot];
        let batch = partition.remove(at.index);
        if let Some(stamp) = batch.stamp {
            partition.sequence.on_acked(stamp);
        }
        partition.on_acked();
        let (topic, number) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
        let acknowledged = |base_offset, log_append_time| {
            let topic = Arc::clone(&topic);
            Ok(Acknowledged { topic, partition: number, base_offset, log_append_time })
        };
        let stamp = batch.stamp;
        self.let_go(batch, acknowledged(offset, log_append_time));
        if !self.config.idempotence {
            return;
        }
        // A broker takes no batch before its predecessors, so those that were unsure are there.
        let implied = |earlier: &Batch| {
            earlier.unsure && !earlier.is_in_flight() && same_identity(earlier.stamp, stamp)
        };
        let mut index = 0;
        while index < at.index.min(self.partitions[at.slot].batches.len()) {
            if implied(&self.partitions[at.slot].batches[index]) {
                let earlier = self.partitions[at.slot].remove(index);
                self.let_go(earlier, acknowledged(None, None));
            } else {
                index += 1;
            }
        }
    }

    fn retry(&mut self, now: Instant, at: Place, retry: Retry, cause: Cause) {
        #[cfg(test)]
        if self.mutates_retry(at, retry.unsure) {
            return;
        }
        let pause = self.pause_after(at);
        let partition = &mut self.partitions[at.slot];
        let batch = &mut partition.batches[at.index];
        batch.unsure |= retry.unsure;
        batch.cause = Some(cause.clone());
        if batch.is_settled() {
            self.drop_settled(at);
            return;
        }
        batch.suspicions += u32::from(retry.attempts_max.is_some());
        let suspect = retry.attempts_max.is_some_and(|max| batch.suspicions > max);
        if suspect || batch.retries >= self.config.retries {
            let (code, message) = match cause {
                Cause::Broker { code, message } => (code, message),
                Cause::Connection(message) => (ErrorCode::NETWORK_EXCEPTION, Some(message)),
            };
            self.fail(at, Refusal { code, message, unsure: false, records: Vec::new() });
            return;
        }
        batch.retries += 1;
        let attempts = batch.attempts;
        let (topic, number) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
        partition.not_before = Some(now + pause);
        if retry.refresh {
            self.cluster.refresh.want(now);
        }
        self.meters.note(|counts| counts.figures.retries += 1);
        self.notice(Notice::Retrying { topic, partition: number, attempts, cause });
    }

    fn pause_after(&mut self, at: Place) -> Duration {
        let attempts = self.partitions[at.slot].batches[at.index].attempts;
        self.retry.jittered(attempts.saturating_sub(1), &mut self.random)
    }

    /// The broker misses what came before the batch, or does not know us any more.
    fn renumber(&mut self, now: Instant, at: Place, keep_id: bool, cause: Cause) {
        let pause = self.pause_after(at);
        let partition = &mut self.partitions[at.slot];
        let batch = &mut partition.batches[at.index];
        // The broker did look: it does not have the batch.
        batch.unsure = false;
        batch.cause = Some(cause.clone());
        let (stamp, settled) = (batch.stamp, batch.is_settled());
        // While an earlier batch is still to come, this one may only be refused for its absence.
        // That one may be in the log: its number must not change before it is known.
        if at.index == 0 {
            partition.order_renumbering();
            partition.not_before = Some(now + pause);
            let (topic, number) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
            if let Some(stamp) = stamp {
                let used = Identity { producer_id: stamp.producer_id, epoch: stamp.epoch };
                self.sequencer.leave(used, keep_id);
            }
            self.meters.note(|counts| counts.figures.renumberings += 1);
            self.notice(Notice::Renumbered { topic, partition: number, cause });
        }
        if settled {
            self.drop_settled(at);
        }
    }

    /// A batch that is too large for the broker, and could be smaller.
    fn can_split(&self, at: Place) -> bool {
        let batch = &self.partitions[at.slot].batches[at.index];
        batch.count() > 1 && !batch.unsure && !batch.is_settled()
    }

    /// Makes two batches of one (KIP-126). No retry is counted for that.
    fn split(&mut self, at: Place) {
        for (batch, builder) in self.partitions[at.slot].split(at.index) {
            self.seal(BatchRef { slot: at.slot, id: batch }, builder);
        }
    }

    fn fail(&mut self, at: Place, refusal: Refusal) {
        let partition = &mut self.partitions[at.slot];
        let mut batch = partition.remove(at.index);
        // What an earlier transmission did, this refusal does not undo.
        let unsure = refusal.unsure || batch.unsure;
        if let Some(stamp) = batch.stamp
            && !unsure
        {
            partition.sequence.on_rejected(stamp, batch.count());
        }
        if batch.is_settled() {
            self.budget.give_back(batch.reserved);
            return;
        }
        let (topic, partition) = (Arc::clone(&partition.queue.topic), partition.queue.partition);
        let Refusal { code, message, records, .. } = refusal;
        let rejected = |message| {
            let topic = Arc::clone(&topic);
            DeliveryError::Rejected { topic, partition, code, message }
        };
        let error = if unsure {
            DeliveryError::Unknown {
                topic: Arc::clone(&topic),
                partition,
                timeout: self.config.delivery_timeout,
                attempts: batch.attempts,
                cause: Some(Cause::Broker { code, message }),
            }
        } else {
            let guilty = guilty(&records, batch.count());
            if !guilty.is_empty() {
                for (run, said) in runs(&guilty, batch.count()) {
                    let error = match said {
                        Some(said) => rejected(said.map(Arc::from).or_else(|| message.clone())),
                        None => {
                            DeliveryError::Spoiled { topic: Arc::clone(&topic), partition, code }
                        }
                    };
                    batch.settle_part(run, Err(error));
                }
            }
            rejected(message)
        };
        self.notice(Notice::Failed(error.clone()));
        self.let_go(batch, Err(error));
    }

    /// Lets go of a batch whose records have heard of its end already.
    fn drop_settled(&mut self, at: Place) {
        let batch = self.partitions[at.slot].remove(at.index);
        #[cfg(test)]
        let batch = self.mutant.dropped(batch);
        self.budget.give_back(batch.reserved);
    }

    /// No answer will come: the batches may be in the log, and are sent again as they are.
    pub(super) fn on_unanswered(&mut self, now: Instant, batches: &[BatchRef], cause: &Cause) {
        let unsure = Retry { refresh: true, unsure: true, attempts_max: None };
        for batch in batches {
            if let Some(at) = self.partitions[batch.slot].on_returned(*batch) {
                self.retry(now, at, unsure, cause.clone());
                self.partitions[batch.slot].renumber_if_ordered();
            }
        }
    }

    /// Written, with `acks=0`: that is all there is to know.
    pub(super) fn on_written(&mut self, batches: &[BatchRef]) {
        for batch in batches {
            if let Some(at) = self.partitions[batch.slot].on_returned(*batch) {
                self.acknowledge(at, None, None);
            }
        }
    }
}

fn same_identity(one: Option<ProducerStamp>, other: Option<ProducerStamp>) -> bool {
    let identity = |stamp: ProducerStamp| (stamp.producer_id, stamp.epoch);
    one.map(identity) == other.map(identity)
}

/// What the broker says against single records of a batch of `count`.
fn guilty(records: &[RecordError], count: u32) -> BTreeMap<u32, Option<String>> {
    let told = |error: &RecordError| {
        let index = u32::try_from(error.batch_index).ok().filter(|index| *index < count)?;
        Some((index, error.message.clone()))
    };
    records.iter().filter_map(told).collect()
}

/// The records of a batch in runs: each guilty one by itself, with what is said against it, and
/// those between them.
fn runs(
    guilty: &BTreeMap<u32, Option<String>>,
    count: u32,
) -> Vec<(Range<u32>, Option<Option<String>>)> {
    let mut runs = Vec::new();
    let mut next = 0;
    for (index, said) in guilty {
        if next < *index {
            runs.push((next..*index, None));
        }
        runs.push((*index..index + 1, Some(said.clone())));
        next = index + 1;
    }
    if next < count {
        runs.push((next..count, None));
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_fall_into_the_guilty_and_the_runs_between_them() {
        let told = |batch_index, message: &str| RecordError {
            batch_index,
            message: Some(message.to_owned()),
        };
        let guilty =
            guilty(&[told(4, "b"), told(1, "a"), told(9, "beyond"), told(-1, "before")], 6);
        let said = |message: &str| Some(Some(message.to_owned()));
        assert_eq!(
            runs(&guilty, 6),
            [(0..1, None), (1..2, said("a")), (2..4, None), (4..5, said("b")), (5..6, None)]
        );
    }
}
