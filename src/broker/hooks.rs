//! What a test arranges: faults, and states that a cluster gets into.
//!
//! Decides nothing: it tells the faults, the cluster and the logs. Which faults there are is in
//! `faults`.

use std::time::Duration;

use super::cluster::TopicRef;
use super::dispatch::Api;
use super::faults::{
    Admission, AnswerFault, LoginFault, MetadataFault, ProduceFault, RequestFault,
};
use super::{EmbeddedBroker, ErrorCode};

impl EmbeddedBroker {
    /// Lets something go wrong with the next batch for a partition that has no fault before it.
    /// Faults queue up; each is used once.
    pub fn inject(&self, topic: &str, partition: i32, fault: ProduceFault) {
        self.shared.lock().faults.add_produce(topic, partition, fault);
    }

    /// Lets something go wrong with the next request of an API that has no fault before it.
    pub fn inject_request(&self, api: Api, fault: RequestFault) {
        self.shared.lock().faults.add_request(api, fault);
    }

    /// Lets something be wrong with the next description of a topic that has no fault before it. A
    /// topic that does not exist is not described; its faults wait until it does.
    pub fn inject_metadata(&self, topic: &str, fault: MetadataFault) {
        self.shared.lock().faults.add_metadata(topic, fault);
    }

    /// Lets something go wrong with the bytes of the next answer of an API that has no fault before
    /// it.
    pub fn inject_answer(&self, api: Api, fault: AnswerFault) {
        self.shared.lock().faults.add_answer(api, fault);
    }

    /// Describes a topic, wherever no other fault is due, as it was at this leader epoch. Ends with
    /// [`clear_faults`](Self::clear_faults).
    pub fn serve_stale_metadata(&self, topic: &str, epoch: i32) {
        self.shared.lock().faults.stale_topics.insert(topic.to_owned(), epoch);
    }

    /// What a node does with connections from now on, those that it serves already excepted.
    pub fn admit(&self, node: i32, admission: Admission) {
        self.shared.lock().faults.admissions.insert(node, admission);
    }

    /// Asks producers to wait so long between requests, from the next answer on (KIP-219). Nothing
    /// is done to those that do not; zero ends it.
    pub fn throttle(&self, pause: Duration) {
        let pause_ms = i32::try_from(pause.as_millis()).unwrap_or(i32::MAX);
        self.shared.lock().faults.throttle_ms = pause_ms;
    }

    /// Whether every batch is refused because the disk is full: with `KAFKA_STORAGE_ERROR`, and by
    /// Redpanda with `BROKER_NOT_AVAILABLE`.
    pub fn set_disk_full(&self, is_full: bool) {
        self.shared.lock().faults.is_disk_full = is_full;
    }

    /// Forgets the producers of a partition, as a broker does whose records of them have expired.
    /// Most brokers then take any sequence from them; `Profile::Kafka2` answers
    /// `UNKNOWN_PRODUCER_ID` unless it is 0.
    ///
    /// # Errors
    ///
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn forget_producers(&self, topic: &str, partition: i32) -> Result<(), ErrorCode> {
        let mut state = self.shared.lock();
        state.cluster.partition_mut(TopicRef::Name(topic), partition)?.log.forget_producers();
        Ok(())
    }

    /// Lets something go wrong with the next login that has no fault before it.
    pub fn inject_login(&self, fault: LoginFault) {
        self.shared.lock().faults.add_login(fault);
    }

    /// Whether an ACL keeps clients from a topic: nobody may describe, create, write or read it, and
    /// `TOPIC_AUTHORIZATION_FAILED` says so, whether or not it exists.
    pub fn set_topic_denied(&self, topic: &str, is_denied: bool) {
        let denied = &mut self.shared.lock().faults.denied_topics;
        match is_denied {
            true => denied.insert(topic.to_owned()),
            false => denied.remove(topic),
        };
    }

    /// Whether an ACL lets clients describe and read a topic, and not write to it.
    pub fn set_topic_read_only(&self, topic: &str, is_read_only: bool) {
        let read_only = &mut self.shared.lock().faults.read_only_topics;
        match is_read_only {
            true => read_only.insert(topic.to_owned()),
            false => read_only.remove(topic),
        };
    }

    /// Whether an ACL keeps clients from the cluster: nobody may write idempotently, and
    /// InitProducerId is answered with `CLUSTER_AUTHORIZATION_FAILED`.
    pub fn set_cluster_denied(&self, is_denied: bool) {
        self.shared.lock().faults.is_cluster_denied = is_denied;
    }

    /// How long logins are good for from now on; zero is for ever.
    pub fn set_session_lifetime(&self, lifetime: Duration) {
        if let Some(sasl) = &mut self.shared.lock().sasl {
            sasl.session_lifetime = lifetime;
        }
    }

    /// Logins accepted so far, those that renewed another included.
    pub fn logins(&self) -> u64 {
        self.shared.lock().sasl.as_ref().map_or(0, |sasl| sasl.logins)
    }

    /// Those of them that renewed another on its connection.
    pub fn renewals(&self) -> u64 {
        self.shared.lock().sasl.as_ref().map_or(0, |sasl| sasl.renewals)
    }

    /// Forgets the faults that have not come up, and ends the states above.
    pub fn clear_faults(&self) {
        self.shared.lock().faults.clear();
    }
}
