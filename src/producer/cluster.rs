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
use std::collections::{BTreeMap, BTreeSet};
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
    /// When it was found out of use; `None` while it is in use.
    idle_since: Option<Instant>,
    /// Out of use for so long that it is not asked for.
    resting: bool,
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
        let watched = self.topics.iter().filter(|(_, view)| !view.resting);
        watched.map(|(name, _)| name.as_ref())
    }

    /// A topic was looked at, and was in use or not. After `idle_max` of the latter it is asked for
    /// no more; what is known of it stays.
    pub(super) fn look_at(&mut self, topic: &str, in_use: bool, now: Instant, idle_max: Duration) {
        let Some(view) = self.topics.get_mut(topic) else { return };
        if in_use {
            view.idle_since = None;
        } else {
            let since = *view.idle_since.get_or_insert(now);
            view.resting = now.saturating_duration_since(since) >= idle_max;
        }
    }

    /// A topic is used again: if it was not asked for any more, what is known of it may be old.
    pub(super) fn wake(&mut self, topic: &str) {
        if let Some(view) = self.topics.get_mut(topic).filter(|view| view.resting) {
            view.resting = false;
            view.idle_since = None;
            self.refresh.want_now();
        }
    }

    pub(super) fn topic(&self, name: &str) -> Option<&TopicView> {
        self.topics.get(name)
    }

    pub(super) fn address(&self, node: NodeId) -> Option<&Address> {
        self.brokers.get(&node)
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.brokers.values()
    }

    /// Takes in an answer to our question. Of a topic that it tells of twice, the first counts.
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
        let mut told_of = BTreeSet::new();
        for told in answer.topics {
            let known = told.name.as_deref().and_then(|name| self.topics.get_key_value(name));
            let Some(name) = known.map(|(name, _)| Arc::clone(name)) else { continue };
            // Every change has all partitions of its topic looked at.
            if !told_of.insert(Arc::clone(&name)) {
                continue;
            }
            let view = self.topics.entry(Arc::clone(&name)).or_default();
            changes.push((name, view.learn(told)));
        }
        let settled = self.topics.values().all(|view| view.resting || view.is_settled());
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
        // Numbers are dense: one beyond the end comes with those before it. Else a few bytes of an
        // answer could make room for any number of partitions.
        let count_max = self.partitions.len() + told.partitions.len();
        for partition in told.partitions {
            let Ok(index) = usize::try_from(partition.index) else { continue };
            if index >= count_max {
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

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(1);
    const AGE: Duration = Duration::from_secs(300);

    fn cluster() -> (Cluster, Instant) {
        let mut cluster = Cluster::new(Refresh::new(AGE, Backoff::new(BASE, MAX)));
        cluster.watch(&"t".into());
        #[expect(clippy::disallowed_methods, reason = "a starting point; virtual from here on")]
        (cluster, Instant::now())
    }

    /// Leader and epoch of each partition, as brokers 1 to 3 tell of topic `t`.
    fn answer(id: u8, error: ErrorCode, leaders: &[(NodeId, i32)]) -> MetadataResponse {
        let broker = |node_id| metadata::Broker {
            node_id,
            host: format!("b{node_id}"),
            port: 9092,
            rack: None,
        };
        let partition = |(index, (leader_id, leader_epoch)): (i32, &(NodeId, i32))| {
            let (leader_id, leader_epoch) = (*leader_id, *leader_epoch);
            let error = ErrorCode::NONE;
            let (replica_count, isr_count) = (1, 1);
            metadata::Partition { error, index, leader_id, leader_epoch, replica_count, isr_count }
        };
        MetadataResponse {
            throttle_ms: 0,
            brokers: (1..=3).map(broker).collect(),
            cluster_id: None,
            controller_id: 1,
            topics: vec![metadata::Topic {
                error,
                name: Some("t".to_owned()),
                id: [id; 16],
                is_internal: false,
                partitions: (0..).zip(leaders).map(partition).collect(),
                may_write: None,
            }],
            error: ErrorCode::NONE,
        }
    }

    fn learn(cluster: &mut Cluster, now: Instant, leaders: &[(NodeId, i32)]) {
        cluster.refresh.on_asked();
        cluster.learn(now, answer(1, ErrorCode::NONE, leaders));
    }

    fn leaders(cluster: &Cluster) -> Vec<Option<NodeId>> {
        cluster.topic("t").unwrap().partitions.iter().map(|view| view.leader).collect()
    }

    #[test]
    fn a_lower_epoch_is_believed_only_when_it_is_told_six_times_in_a_row() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(2, 7)]);
        for _ in 0..5 {
            learn(&mut cluster, now, &[(1, 6)]);
            assert_eq!(leaders(&cluster), [Some(2)]);
        }
        learn(&mut cluster, now, &[(2, 7)]);
        for _ in 0..5 {
            learn(&mut cluster, now, &[(1, 6)]);
        }
        assert_eq!(leaders(&cluster), [Some(2)], "the present epoch begins the count anew");
        learn(&mut cluster, now, &[(1, 6)]);
        assert_eq!(leaders(&cluster), [Some(1)]);
    }

    #[test]
    fn a_broker_that_tells_no_epochs_is_believed() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(2, 7)]);
        learn(&mut cluster, now, &[(1, -1)]);
        assert_eq!(leaders(&cluster), [Some(1)]);
    }

    #[test]
    fn errors_and_missing_partitions_take_nothing_back() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(1, 0), (2, 0)]);
        cluster.learn(now, answer(1, ErrorCode::LEADER_NOT_AVAILABLE, &[]));
        assert_eq!(leaders(&cluster), [Some(1), Some(2)]);
        assert_eq!(cluster.topic("t").unwrap().error, Some(ErrorCode::LEADER_NOT_AVAILABLE));
        learn(&mut cluster, now, &[(3, 1)]);
        assert_eq!(leaders(&cluster), [Some(3), Some(2)]);
        learn(&mut cluster, now, &[(3, 1), (-1, 1)]);
        assert_eq!(leaders(&cluster), [Some(3), None], "it has no leader now");
    }

    #[test]
    fn an_answer_without_brokers_or_about_other_topics_changes_nothing() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(1, 0)]);
        let mut other = answer(1, ErrorCode::NONE, &[(2, 5)]);
        other.brokers.clear();
        other.topics[0].name = Some("u".to_owned());
        assert!(cluster.learn(now, other).is_empty());
        assert_eq!(cluster.addresses().count(), 3);
        assert_eq!(leaders(&cluster), [Some(1)]);
        assert!(cluster.topic("u").is_none());
    }

    #[test]
    fn a_topic_with_another_id_is_another_topic_whose_epochs_begin_anew() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(1, 7), (2, 7)]);
        let changes = cluster.learn(now, answer(2, ErrorCode::NONE, &[(3, 0)]));
        assert_eq!(changes, [("t".into(), TopicChange::Recreated)]);
        assert_eq!(leaders(&cluster), [Some(3), None]);
        let changes = cluster.learn(now, answer(0, ErrorCode::NONE, &[(3, 0)]));
        assert_eq!(changes, [("t".into(), TopicChange::None)], "an older broker tells no ids");
    }

    #[test]
    fn an_index_far_beyond_the_known_ones_reserves_nothing() {
        let (mut cluster, now) = cluster();
        let mut hostile = answer(1, ErrorCode::NONE, &[(1, 0), (1, 0)]);
        hostile.topics[0].partitions[0].index = i32::MAX;
        hostile.topics[0].partitions[1].index = -1;
        cluster.learn(now, hostile);
        assert!(leaders(&cluster).is_empty());
    }

    #[test]
    fn an_answer_makes_room_for_no_more_partitions_than_it_tells_of() {
        let (mut cluster, now) = cluster();
        let mut hostile = answer(1, ErrorCode::NONE, &[(1, 0); 100]);
        for (partition, step) in hostile.topics[0].partitions.iter_mut().zip(1..) {
            partition.index = step * 50;
        }
        cluster.learn(now, hostile);
        assert_eq!(leaders(&cluster).len(), 51);
        learn(&mut cluster, now, &[(1, 0); 70]);
        assert_eq!(leaders(&cluster), [Some(1); 70]);
    }

    #[test]
    fn a_topic_that_is_told_of_twice_changes_once() {
        let (mut cluster, now) = cluster();
        let mut hostile = answer(1, ErrorCode::NONE, &[(1, 0)]);
        let mut again = hostile.topics[0].clone();
        again.partitions[0].leader_id = 2;
        hostile.topics.push(again);
        assert_eq!(cluster.learn(now, hostile).len(), 1);
        assert_eq!(leaders(&cluster), [Some(1)]);
    }

    #[test]
    fn a_hint_is_followed_if_it_is_newer_and_its_node_can_be_reached() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(1, 3)]);
        let address = || Some(Address { host: "b9".to_owned(), port: 1 });
        assert!(!cluster.on_leader_hint("t", 0, (9, 4), None), "nobody knows where 9 is");
        assert!(!cluster.on_leader_hint("t", 0, (2, 3), None), "no newer");
        assert!(!cluster.on_leader_hint("t", 1, (2, 4), None));
        assert!(!cluster.on_leader_hint("u", 0, (2, 4), None));
        assert!(cluster.on_leader_hint("t", 0, (9, 4), address()));
        assert_eq!(
            (cluster.topic("t").unwrap().partitions[0].leader, cluster.address(9)),
            (Some(9), address().as_ref())
        );
        learn(&mut cluster, now, &[(1, 3)]);
        assert_eq!(leaders(&cluster), [Some(9)], "metadata that is older");
    }

    #[test]
    fn metadata_is_asked_for_at_once_then_by_age() {
        let (mut cluster, now) = cluster();
        assert!(cluster.refresh.is_due(now));
        cluster.refresh.on_asked();
        assert!(!cluster.refresh.is_due(now));
        assert_eq!(cluster.refresh.next_at(), None);
        cluster.learn(now, answer(1, ErrorCode::NONE, &[(1, 0)]));
        assert_eq!(cluster.refresh.next_at(), Some(now + AGE));
        assert!(!cluster.refresh.is_due(now + AGE - Duration::from_nanos(1)));
        assert!(cluster.refresh.is_due(now + AGE));
    }

    #[test]
    fn wishes_are_answered_together_once_a_pause_is_over() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(1, 0)]);
        cluster.refresh.want(now);
        cluster.refresh.want(now + BASE / 2);
        assert!(!cluster.refresh.is_due(now + BASE / 2));
        assert_eq!(cluster.refresh.next_at(), Some(now + BASE));
        assert!(cluster.refresh.is_due(now + BASE));
        cluster.refresh.on_asked();
        cluster.refresh.want(now + BASE);
        cluster.learn(now + BASE, answer(1, ErrorCode::NONE, &[(1, 0)]));
        let again = cluster.refresh.next_at();
        assert_eq!(again, Some(now + 2 * BASE), "the answer may be older than the wish");
    }

    #[test]
    fn pauses_grow_while_answers_leave_something_open() {
        let (mut cluster, now) = cluster();
        for millis in [100, 200, 400, 800, 1000, 1000] {
            learn(&mut cluster, now, &[(-1, 0)]);
            assert_eq!(cluster.refresh.next_at(), Some(now + Duration::from_millis(millis)));
        }
        learn(&mut cluster, now, &[(1, 0)]);
        learn(&mut cluster, now, &[(-1, 1)]);
        assert_eq!(cluster.refresh.next_at(), Some(now + BASE), "all was well in between");
    }

    #[test]
    fn a_lost_question_is_asked_again_after_a_pause_even_if_the_news_is_old() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(1, 0)]);
        let later = now + 2 * AGE;
        assert!(cluster.refresh.is_due(later));
        for millis in [100, 200, 400] {
            cluster.refresh.on_asked();
            cluster.refresh.on_lost(later);
            let pause = Duration::from_millis(millis);
            assert_eq!(cluster.refresh.next_at(), Some(later + pause));
            assert!(!cluster.refresh.is_due(later) && cluster.refresh.is_due(later + pause));
        }
        cluster.refresh.on_lost(later);
        assert!(cluster.refresh.is_due(later + MAX), "nothing was out, so nothing was lost");
    }

    #[test]
    fn a_topic_named_for_the_first_time_waits_for_no_pause_and_only_once() {
        let (mut cluster, now) = cluster();
        learn(&mut cluster, now, &[(-1, 0)]);
        cluster.watch(&"u".into());
        assert!(cluster.refresh.is_due(now));
        cluster.refresh.on_asked();
        cluster.watch(&"u".into());
        cluster.watch(&"v".into());
        cluster.learn(now, answer(1, ErrorCode::NONE, &[(1, 0)]));
        assert!(cluster.refresh.is_due(now), "v was not among the questions");
        cluster.refresh.on_asked();
        cluster.refresh.on_lost(now);
        assert!(!cluster.refresh.is_due(now), "what was lost waits");
        assert_eq!(cluster.watched().collect::<Vec<_>>(), ["t", "u", "v"]);
    }

    #[test]
    fn a_topic_out_of_use_is_asked_for_no_more_until_it_is_used_again() {
        let (mut cluster, now) = cluster();
        let idle_max = Duration::from_secs(300);
        cluster.look_at("t", false, now, idle_max);
        cluster.look_at("t", false, now + idle_max / 2, idle_max);
        assert_eq!(cluster.watched().count(), 1);
        cluster.look_at("t", true, now + idle_max, idle_max);
        let later = now + 2 * idle_max;
        cluster.look_at("t", false, later, idle_max);
        cluster.look_at("t", false, later + idle_max, idle_max);
        assert_eq!(cluster.watched().count(), 0);
        cluster.refresh.on_asked();
        cluster.learn(later, answer(1, ErrorCode::NONE, &[]));
        assert!(!cluster.refresh.is_due(later), "a resting topic leaves nothing open");
        cluster.wake("t");
        assert!(cluster.refresh.is_due(later) && cluster.watched().count() == 1);
    }
}
