//! Metadata, identity and connections: everything that has to be in place before a batch can go.

use super::super::cluster::{NodeId, TopicChange};
use super::super::completion::{Cause, DeliveryError};
use super::super::config::Address;
use super::super::sequencer::Identity;
use super::super::verdict::Verdict;
use super::link::{ConnectionId, Link, Request};
use super::{Action, Engine, Notice, Target};
use crate::protocol::messages::init_producer_id::{self, InitProducerIdResponse};
use crate::protocol::messages::metadata::{self, MetadataResponse, Topics};
use crate::protocol::messages::{ApiKey, RequestHeader};
use crate::protocol::{DecodeError, ErrorCode};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

impl Engine {
    /// Keeps a connection for questions, and asks them.
    pub(super) fn tend_control(&mut self, now: Instant) {
        if self.finished {
            return;
        }
        let identity_due = self.sequencer.is_identity_needed()
            && self.identity_not_before.is_none_or(|at| at <= now);
        let metadata_due = self.cluster.refresh.is_due(now);
        if !identity_due && !metadata_due {
            return;
        }
        if self.control.up().is_none() {
            if self.control.may_open(now) {
                self.control.address = self.next_control_address();
                self.open(now, Target::Control);
            }
            return;
        }
        if !self.control.takes_requests(now) {
            return;
        }
        if metadata_due {
            self.ask_for_metadata(now);
        }
        if identity_due {
            self.ask_for_identity(now);
        }
    }

    /// Known brokers first, then the bootstrap list: it may be the only one still right (KIP-899).
    fn next_control_address(&self) -> Address {
        let known = self.cluster.addresses().chain(&self.config.bootstrap);
        let known: Vec<_> = known.collect();
        known[self.control_cursor % known.len()].clone()
    }

    /// Sees which topics are still worth asking for.
    fn look_at_topics(&mut self, now: Instant) {
        let idle_max = self.config.metadata_max_idle;
        for (name, entry) in &self.topics {
            let in_use = entry.topic.waiting_since().is_some()
                || entry.slots.iter().any(|slot| self.active.contains(slot));
            self.cluster.look_at(name, in_use, now, idle_max);
        }
    }

    fn ask_for_metadata(&mut self, now: Instant) {
        self.look_at_topics(now);
        let Some((connection, versions)) = self.control.up() else { return };
        let Some(version) = versions.choose(ApiKey::Metadata) else { return };
        let watched: Vec<_> = self.cluster.watched().collect();
        let frame = metadata::request(
            self.control.header(ApiKey::Metadata, version, &self.config.client_id),
            if watched.is_empty() { Topics::None } else { Topics::Named(&watched) },
            self.config.allow_auto_create_topics,
        );
        self.cluster.refresh.on_asked();
        self.ask(now, connection, frame, Request::Metadata { version });
    }

    fn ask_for_identity(&mut self, now: Instant) {
        let Some((connection, versions)) = self.control.up() else { return };
        let Some(version) = versions.choose(ApiKey::InitProducerId) else {
            let message = "it has no InitProducerId: set idempotence to false for this broker";
            self.fail_for_good(Cause::Broker {
                code: ErrorCode::UNSUPPORTED_VERSION,
                message: Some(message.into()),
            });
            return;
        };
        let header: RequestHeader<'_> =
            self.control.header(ApiKey::InitProducerId, version, &self.config.client_id);
        let frame = init_producer_id::request(header, None);
        self.sequencer.on_asked();
        self.ask(now, connection, frame, Request::InitProducerId { version });
    }

    fn ask(&mut self, now: Instant, connection: ConnectionId, frame: Vec<Bytes>, what: Request) {
        let expires_at = now + self.answer_timeout();
        self.control.sent(now, expires_at, what);
        self.transmit(connection, frame, None);
    }

    pub(super) fn on_metadata(
        &mut self,
        now: Instant,
        version: i16,
        body: &Bytes,
    ) -> Result<(), DecodeError> {
        let answer = MetadataResponse::decode(version, body)?;
        if answer.error != ErrorCode::NONE {
            // REBOOTSTRAP_REQUIRED, or nothing that this broker can help with: ask another.
            self.cluster.refresh.on_lost(now);
            self.drop_link(now, Target::Control, &format!("Metadata failed: {}", answer.error));
            return Ok(());
        }
        let changes = self.cluster.learn(now, answer);
        self.meters.note(|counts| counts.metadata_at = Some(now));
        self.retire_leaders();
        for (topic, change) in changes {
            self.sync_topic(&topic);
            if change == TopicChange::Recreated {
                self.doubt_sequences(&topic);
            }
            self.judge_topic(&topic);
        }
        Ok(())
    }

    /// Closes the connections to brokers that moved or are gone, once nothing is in flight there.
    fn retire_leaders(&mut self) {
        let moved = |node: &NodeId, link: &Link| self.cluster.address(*node) != Some(&link.address);
        let retired: Vec<_> = self
            .leaders
            .iter()
            .filter(|(node, link)| link.in_flight() == 0 && moved(node, link))
            .map(|(node, link)| (*node, link.connection()))
            .collect();
        for (node, connection) in retired {
            self.leaders.remove(&node);
            if let Some(connection) = connection {
                self.connections.remove(&connection);
                self.actions.push_back(Action::Close { connection });
            }
        }
    }

    /// The topic's logs are new and know nothing of us. Numbers go on all the same, and the broker
    /// says if it wants others: if they began anew on the word of metadata, a broker that still
    /// shows the old topic would make them begin twice, and the second first batch would be taken
    /// for a repetition of the first.
    fn doubt_sequences(&mut self, topic: &Arc<str>) {
        let Some(entry) = self.topics.get(topic) else { return };
        for slot in &entry.slots {
            self.partitions[*slot].sequence.doubt();
        }
    }

    /// Fails what waits for a topic that will never be there.
    fn judge_topic(&mut self, name: &Arc<str>) {
        let Some(code) = self.cluster.topic(name).and_then(|view| view.error) else { return };
        let (topic, cause) = (Arc::clone(name), Cause::from(code));
        self.notice(Notice::TopicError { topic, cause });
        if Verdict::topic_may_recover(code) {
            return;
        }
        let Some(entry) = self.topics.get(name) else { return };
        for homeless in entry.topic.take_homeless(None) {
            let topic = Arc::clone(name);
            let error = DeliveryError::Rejected { topic, partition: -1, code, message: None };
            self.end_homeless(homeless, error);
        }
    }

    pub(super) fn on_identity(
        &mut self,
        now: Instant,
        version: i16,
        body: &Bytes,
    ) -> Result<(), DecodeError> {
        let answer = InitProducerIdResponse::decode(version, body)?;
        let code = answer.error;
        match Verdict::on(code) {
            Verdict::Delivered => {
                let (producer_id, epoch) = (answer.producer_id, answer.epoch);
                self.sequencer.adopt(Identity { producer_id, epoch });
                self.identity_not_before = None;
            }
            Verdict::Retry(_) => {
                self.sequencer.on_refused();
                self.identity_not_before = Some(now + self.config.retry_backoff);
            }
            _ => {
                let hint = "an idempotent producer needs the right IDEMPOTENT_WRITE on the cluster";
                let message =
                    (code == ErrorCode::CLUSTER_AUTHORIZATION_FAILED).then(|| hint.into());
                self.fail_for_good(Cause::Broker { code, message });
            }
        }
        Ok(())
    }

    /// Connects to the leaders of the partitions that hold something.
    pub(super) fn tend_leaders(&mut self, now: Instant) {
        let leaders = self.active.iter().filter_map(|slot| self.partitions[*slot].leader);
        // Mostly none: those that are connected are left alone.
        let untended: BTreeSet<NodeId> = leaders.filter(|node| !self.is_tended(*node)).collect();
        for node in untended {
            let Some(address) = self.cluster.address(node).cloned() else {
                self.cluster.refresh.want(now);
                continue;
            };
            let link = self.leaders.entry(node).or_insert_with(|| Link::new(address.clone()));
            if link.address != address && link.connection().is_none() {
                link.address = address;
                link.forgive();
            }
            if link.may_open(now) {
                self.open(now, Target::Leader(node));
            }
        }
    }

    fn is_tended(&self, node: NodeId) -> bool {
        let connected = |link: &Link| link.connection().is_some();
        self.leaders.get(&node).is_some_and(connected) && self.cluster.address(node).is_some()
    }

    fn open(&mut self, now: Instant, target: Target) {
        let connection = ConnectionId(self.next_connection);
        let deadline = now + self.config.connection_setup_timeout;
        self.next_connection += 1;
        let Some(link) = self.link_mut(target) else { return };
        link.open(connection, deadline);
        let address = link.address.clone();
        self.connections.insert(connection, target);
        self.actions.push_back(Action::Connect { connection, address });
    }

    /// Ends a connection from our side.
    pub(super) fn drop_link(&mut self, now: Instant, target: Target, reason: &str) {
        let Some(link) = self.link_mut(target) else { return };
        let cause = Cause::Connection(format!("{}: {reason}", link.address).into());
        self.cut(now, target, cause);
    }

    pub(super) fn cut(&mut self, now: Instant, target: Target, cause: Cause) {
        if let Some(connection) = self.link_mut(target).and_then(|link| link.connection()) {
            self.actions.push_back(Action::Close { connection });
        }
        self.lose_link(now, target, Some(cause));
    }

    /// A connection is gone: what it owed an answer for is asked for again elsewhere. Nothing
    /// failed, and `failure` is `None`, if the peer closed it while it was idle.
    pub(super) fn lose_link(&mut self, now: Instant, target: Target, failure: Option<Cause>) {
        let (reconnect, mut random) = (self.reconnect, self.random.clone());
        let Some(link) = self.link_mut(target) else { return };
        let Some(connection) = link.connection() else { return };
        let address = link.address.clone();
        let pause = link.pause(&reconnect, &mut random);
        let lost = link.on_lost(now + pause, failure.clone());
        self.random = random;
        self.connections.remove(&connection);
        let Some(cause) = failure else { return };
        if matches!(target, Target::Leader(_)) {
            self.cluster.refresh.want(now);
        }
        self.meters.note(|counts| counts.figures.disconnects += 1);
        if target == Target::Control {
            self.on_control_lost();
        }
        self.notice(Notice::Disconnected { address, cause: cause.clone() });
        for sent in lost {
            match sent.request {
                Request::Handshake { .. } => {}
                Request::Metadata { .. } => self.cluster.refresh.on_lost(now),
                Request::InitProducerId { .. } => self.sequencer.on_refused(),
                Request::Produce { batches, .. } => self.on_unanswered(now, &batches, &cause),
            }
        }
    }

    /// The next broker may be well: it is tried at once, and only a whole round of failures pauses.
    fn on_control_lost(&mut self) {
        self.control_cursor += 1;
        let known = self.cluster.addresses().count() + self.config.bootstrap.len();
        if !self.control_cursor.is_multiple_of(known) {
            self.control.forgive();
        }
    }
}
