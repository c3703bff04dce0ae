//! What is known of the cluster: brokers, topics, leaders; and when to ask again.
//!
//! Believes a broker's metadata, with three reservations: a leader with a lower epoch than known is
//! old news (unless it is repeated, as after a restored cluster), an error about a topic does not
//! make its partitions vanish, and a topic in use is never forgotten.
//!
//! Sources: KIP-320 (leader epochs), KIP-516 (topic ids), KIP-951 (hints of new leaders).

use super::backoff::Backoff;
use super::config::Address;
use crate::protocol::ErrorCode;
use crate::protocol::messages::metadata::{self, MetadataResponse};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers in a row that must name a lower leader epoch before it is believed.
const EPOCH_REWINDS_MAX: u8 = 5;

/// A broker's number in the cluster.
pub(super) type NodeId = i32;

/// A topic's identity across deletion and recreation; zero where brokers do not tell (KIP-516).
pub(super) type TopicId = [u8; 16];

#[derive(Debug)]
pub(super) struct Cluster {
    brokers: BTreeMap<NodeId, Address>,
    topics: BTreeMap<Arc<str>, TopicView>,
    pub(super) refresh: Refresh,
}

/// What the cluster said of one topic last.
#[derive(Debug, Default, Clone)]
pub(super) struct TopicView {
    pub(super) id: TopicId,
    pub(super) partitions: Vec<PartitionView>,
    /// What the last answer said against the topic.
    pub(super) error: Option<ErrorCode>,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct PartitionView {
    pub(super) leader: Option<NodeId>,
    /// −1 where brokers do not tell.
    epoch: i32,
    rewinds: u8,
}

/// What an answer changed that cannot be seen from the views.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopicChange {
    None,
    /// The topic was deleted and created again: its logs start anew.
    Recreated,
}

impl Cluster {
    pub(super) fn new(refresh: Refresh) -> Self {
        Self { brokers: BTreeMap::new(), topics: BTreeMap::new(), refresh }
    }

    /// Begins to ask for this topic.
    pub(super) fn watch(&mut self, topic: &Arc<str>) {
        if !self.topics.contains_key(topic) {
            self.topics.insert(Arc::clone(topic), TopicView::default());
            self.refresh.want_now();
        }
    }

    /// Topics to ask for.
    pub(super) fn watched(&self) -> impl Iterator<Item = &str> {
        self.topics.keys().map(AsRef::as_ref)
    }

    pub(super) fn topic(&self, name: &str) -> Option<&TopicView> {
        self.topics.get(name)
    }

    pub(super) fn leader(&self, topic: &str, partition: i32) -> Option<NodeId> {
        self.partition(topic, partition)?.leader
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<&PartitionView> {
        self.topics.get(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    pub(super) fn address(&self, node: NodeId) -> Option<&Address> {
        self.brokers.get(&node)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.brokers.values()
    }

    /// Takes in an answer to our question.
    pub(super) fn learn(
        &mut self,
        now: Instant,
        answer: MetadataResponse,
    ) -> Vec<(Arc<str>, TopicChange)> {
        if !answer.brokers.is_empty() {
            let address = |b: metadata::Broker| (b.node_id, Address { host: b.host, port: b.port });
            self.brokers = answer.brokers.into_iter().map(address).collect();
        }
        let mut changes = Vec::new();
        for told in answer.topics {
            let known = told.name.as_deref().and_then(|name| self.topics.get_key_value(name));
            let Some(name) = known.map(|(name, _)| Arc::clone(name)) else { continue };
            let view = self.topics.entry(Arc::clone(&name)).or_default();
            changes.push((name, view.learn(told)));
        }
        let settled = self.topics.values().all(TopicView::is_settled);
        self.refresh.on_answer(now, settled);
        changes
    }

    /// A produce answer named the partition's new leader.
    pub(super) fn on_leader_hint(
        &mut self,
        topic: &str,
        partition: i32,
        leader: (NodeId, i32),
        address: Option<Address>,
    ) -> bool {
        let (node, epoch) = leader;
        if let Some(address) = address {
            self.brokers.insert(node, address);
        }
        let known = self.brokers.contains_key(&node);
        let view = self
            .topics
            .get_mut(topic)
            .and_then(|topic| topic.partitions.get_mut(usize::try_from(partition).ok()?));
        match view {
            Some(view) if known && node >= 0 && epoch > view.epoch => {
                *view = PartitionView { leader: Some(node), epoch, rewinds: 0 };
                true
            }
            _ => false,
        }
    }
}

impl TopicView {
    fn learn(&mut self, told: metadata::Topic) -> TopicChange {
        self.error = told.error.ok().err();
        if self.error.is_some() {
            // A passing error takes nothing back.
            return TopicChange::None;
        }
        let recreated =
            self.id != TopicId::default() && told.id != TopicId::default() && self.id != told.id;
        if recreated {
            self.partitions.fill(PartitionView { epoch: -1, ..PartitionView::default() });
        }
        self.id = told.id;
        for partition in told.partitions {
            let Ok(index) = usize::try_from(partition.index) else { continue };
            // Numbers are dense; one beyond the end only comes with those before it.
            if index > self.partitions.len() + usize::from(u16::MAX) {
                continue;
            }
            if index >= self.partitions.len() {
                let unknown = PartitionView { epoch: -1, ..PartitionView::default() };
                self.partitions.resize(index + 1, unknown);
            }
            self.partitions[index].learn(partition.leader_id, partition.leader_epoch);
        }
        if recreated { TopicChange::Recreated } else { TopicChange::None }
    }

    /// Whether there is nothing left to find out.
    fn is_settled(&self) -> bool {
        let led = self.partitions.iter().all(|partition| partition.leader.is_some());
        !self.partitions.is_empty() && self.error.is_none() && led
    }
}

impl PartitionView {
    fn learn(&mut self, leader: NodeId, epoch: i32) {
        if epoch >= 0 && epoch < self.epoch && self.rewinds < EPOCH_REWINDS_MAX {
            self.rewinds += 1;
            return;
        }
        *self = Self { leader: (leader >= 0).then_some(leader), epoch, rewinds: 0 };
    }
}

/// When metadata is asked for.
#[derive(Debug)]
pub(super) struct Refresh {
    max_age: Duration,
    backoff: Backoff,
    wanted: bool,
    /// There is something to ask that was never asked before: no pause is kept for it.
    urgent: bool,
    asking: bool,
    /// Questions in a row whose answer left something open.
    fruitless: u32,
    not_before: Option<Instant>,
    stale_at: Option<Instant>,
}

impl Refresh {
    /// Asks as soon as it can.
    pub(super) const fn new(max_age: Duration, backoff: Backoff) -> Self {
        Self {
            max_age,
            backoff,
            wanted: true,
            urgent: false,
            asking: false,
            fruitless: 0,
            not_before: None,
            stale_at: None,
        }
    }

    /// Someone misses something: ask when the pause since the last question is over.
    pub(super) fn want(&mut self, now: Instant) {
        self.wanted = true;
        self.not_before.get_or_insert(now);
    }

    /// A topic was named for the first time: ask as soon as the answer on its way, if any, is here.
    const fn want_now(&mut self) {
        self.wanted = true;
        self.urgent = true;
    }

    /// When to ask next, unless that is due already; `None` while a question is on its way.
    pub(super) fn next_at(&self) -> Option<Instant> {
        match (self.asking, self.wanted) {
            (true, _) => None,
            (false, true) => self.not_before,
            // The pause holds for old news too: nothing else keeps failed questions apart.
            (false, false) => self.stale_at.max(self.not_before),
        }
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        let over = self.next_at().map_or(self.wanted, |at| at <= now);
        !self.asking && (self.urgent || over)
    }

    pub(super) const fn on_asked(&mut self) {
        self.asking = true;
        self.wanted = false;
        self.urgent = false;
    }

    /// The question or its answer was lost.
    pub(super) fn on_lost(&mut self, now: Instant) {
        if self.asking {
            self.asking = false;
            self.urgent = false;
            self.pause(now);
        }
    }

    fn on_answer(&mut self, now: Instant, settled: bool) {
        self.asking = false;
        self.stale_at = Some(now + self.max_age);
        if settled {
            // Whoever still misses something (a leader that refuses) waits the shortest pause.
            self.fruitless = 0;
            self.not_before = Some(now + self.backoff.base());
        } else {
            self.pause(now);
        }
    }

    fn pause(&mut self, now: Instant) {
        self.wanted = true;
        self.not_before = Some(now + self.backoff.plain(self.fruitless));
        self.fruitless = self.fruitless.saturating_add(1);
    }
}
