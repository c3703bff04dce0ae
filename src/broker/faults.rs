//! Faults: what a test lets the broker do wrong, one kind per stage of a request.
//!
//! ```text
//! connection    Admission       a node, until it is told otherwise
//! login         LoginFault      the next login, from its SaslHandshake on
//! request       RequestFault    the next request of an API
//!   batch       ProduceFault    the next batch for a partition
//!   topic       MetadataFault   the next description of a topic
//! answer        AnswerFault     the bytes of the next answer of an API
//! ```
//!
//! Decides the order in which faults come up: each is used once, first in, first out. What a fault
//! does is up to those who ask for it here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::time::Duration;

use super::dispatch::Api;
use crate::protocol::ErrorCode;

/// What a node does with connections. To have them refused, stop it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Admission {
    /// Serves them.
    #[default]
    Serve,
    /// Accepts them, and reads without a word.
    Hang,
    /// Accepts them, and closes them at once.
    Close,
}

/// What goes wrong with the next login. All but the first are lies of a broker that does not know
/// the password, and concern SCRAM alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoginFault {
    /// It is refused, whoever comes.
    Refuse,
    /// The broker's nonce does not go on from the client's.
    ForeignNonce,
    /// The broker wants so many iterations.
    Iterations(u32),
    /// The broker's signature is nobody's.
    WrongSignature,
}

impl LoginFault {
    /// What a message of the broker's looks like with this fault.
    pub(crate) fn applied_to(self, message: &[u8]) -> Vec<u8> {
        let attributes = String::from_utf8_lossy(message);
        let attributes = attributes.split(',').map(|attribute| match (self, attribute.get(..2)) {
            (Self::ForeignNonce, Some("r=")) => "r=foreign".to_owned(),
            (Self::Iterations(count), Some("i=")) => format!("i={count}"),
            // As long as before, and base64 still.
            (Self::WrongSignature, Some("v=")) => attribute
                .replace(|byte: char| byte.is_ascii_alphanumeric(), "A")
                .replacen('A', "v", 1),
            _ => attribute.to_owned(),
        });
        attributes.collect::<Vec<_>>().join(",").into_bytes()
    }
}

/// What goes wrong with the next request of an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestFault {
    /// It is not served, and this code is answered wherever the response has an error code.
    Refuse(ErrorCode),
    /// It is not served, and its connection is closed.
    Disconnect,
    /// It is not served, and its connection stays open without another answer.
    Silence,
    /// It is served so much later. The connection waits meanwhile.
    Delay(Duration),
}

/// What goes wrong with the next batch produced to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProduceFault {
    /// The batch is not stored, and this code is answered: `NOT_ENOUGH_REPLICAS` when too few
    /// replicas are in sync, for one.
    Refuse(ErrorCode),
    /// The batch is stored if it is valid, and this code is answered all the same:
    /// `NOT_ENOUGH_REPLICAS_AFTER_APPEND` when replicas are lost meanwhile, for one, or
    /// `REQUEST_TIMED_OUT`, with which Redpanda answers whatever it is not sure about.
    StoreAndAnswer(ErrorCode),
    /// Nothing of the request is stored, and the connection is closed.
    DisconnectBefore,
    /// The request is served, and the connection is closed instead of answering.
    DisconnectAfter,
    /// The request is served at once and answered so much later. The connection waits meanwhile.
    DelayAnswer(Duration),
    /// The batch is stored if it is valid, and the answer says nothing of its partition.
    OmitAnswer,
    /// The batch is stored if it is valid, and the answer names its partition twice.
    RepeatAnswer,
    /// The batch is stored if it is valid, and the answer also names a partition that nobody asked
    /// about: the one with the highest number there is.
    StrayAnswer,
}

/// What is wrong with the next description of a topic that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetadataFault {
    /// It has this code instead of partitions.
    Refuse(ErrorCode),
    /// It has no partitions, and no error either.
    NoPartitions,
    /// These partitions are missing.
    Omit(Vec<i32>),
    /// These partitions have no leader, and say `LEADER_NOT_AVAILABLE`.
    Leaderless(Vec<i32>),
    /// It is as old as this leader epoch: its partitions have the leaders of that time.
    Stale(i32),
}

/// What goes wrong with the bytes of the next answer of an API. Its request was served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnswerFault {
    /// So many of its bytes are written, its length included, and the connection is closed.
    Cut(usize),
    /// Every byte behind its correlation id is 0xff.
    Garble,
    /// It has this correlation id.
    CorrelationId(i32),
    /// It says that so many bytes follow, whatever does.
    Length(i32),
    /// It is written twice.
    Repeat,
    /// It is written behind the next answer of its connection.
    AfterNext,
    /// So many bytes are written at a time, with a pause behind each.
    Trickle(usize, Duration),
}

/// What every answer begins with: its length, and its correlation id.
const LENGTH_SIZE: usize = 4;
const BODY_FROM: usize = 8;

impl AnswerFault {
    /// What an answer looks like with this fault. Those of its timing do not show.
    pub(crate) fn applied_to(self, answer: &[u8]) -> Vec<u8> {
        let mut bytes = answer.to_vec();
        match self {
            Self::Cut(size) => bytes.truncate(size),
            Self::Garble => bytes[BODY_FROM..].fill(0xff),
            Self::CorrelationId(id) => {
                bytes[LENGTH_SIZE..BODY_FROM].copy_from_slice(&id.to_be_bytes());
            }
            Self::Length(length) => bytes[..LENGTH_SIZE].copy_from_slice(&length.to_be_bytes()),
            Self::Repeat => bytes.extend_from_slice(answer),
            Self::AfterNext | Self::Trickle(..) => {}
        }
        bytes
    }
}

/// The faults that wait for their turn, and the states that last until they are ended.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    logins: VecDeque<LoginFault>,
    requests: BTreeMap<Api, VecDeque<RequestFault>>,
    produce: HashMap<String, BTreeMap<i32, VecDeque<ProduceFault>>>,
    metadata: HashMap<String, VecDeque<MetadataFault>>,
    answers: BTreeMap<Api, VecDeque<AnswerFault>>,
    /// What each node does with connections, if it does not serve them.
    pub(crate) admissions: BTreeMap<i32, Admission>,
    /// The leader epoch that a topic's descriptions are as old as.
    pub(crate) stale_topics: HashMap<String, i32>,
    /// Told to every producer in milliseconds (KIP-219).
    pub(crate) throttle_ms: i32,
    pub(crate) is_disk_full: bool,
    /// Topics that no client may use.
    pub(crate) denied_topics: HashSet<String>,
    /// Topics that no client may write to.
    pub(crate) read_only_topics: HashSet<String>,
    /// Whether no client may write idempotently.
    pub(crate) is_cluster_denied: bool,
}

impl Faults {
    pub(crate) fn add_login(&mut self, fault: LoginFault) {
        self.logins.push_back(fault);
    }

    pub(crate) fn add_request(&mut self, api: Api, fault: RequestFault) {
        self.requests.entry(api).or_default().push_back(fault);
    }

    pub(crate) fn add_produce(&mut self, topic: &str, partition: i32, fault: ProduceFault) {
        let topic = self.produce.entry(topic.to_owned()).or_default();
        topic.entry(partition).or_default().push_back(fault);
    }

    pub(crate) fn add_metadata(&mut self, topic: &str, fault: MetadataFault) {
        self.metadata.entry(topic.to_owned()).or_default().push_back(fault);
    }

    pub(crate) fn add_answer(&mut self, api: Api, fault: AnswerFault) {
        self.answers.entry(api).or_default().push_back(fault);
    }

    /// The fault of the next login.
    pub(crate) fn take_login(&mut self) -> Option<LoginFault> {
        self.logins.pop_front()
    }

    /// The fault of the next request of an API.
    pub(crate) fn take_request(&mut self, api: Api) -> Option<RequestFault> {
        self.requests.get_mut(&api)?.pop_front()
    }

    /// The fault of the next batch for a partition.
    pub(crate) fn take_produce(&mut self, topic: &str, partition: i32) -> Option<ProduceFault> {
        self.produce.get_mut(topic)?.get_mut(&partition)?.pop_front()
    }

    /// The fault of the next description of a topic.
    pub(crate) fn take_metadata(&mut self, topic: &str) -> Option<MetadataFault> {
        let queued = self.metadata.get_mut(topic).and_then(VecDeque::pop_front);
        queued.or_else(|| self.stale_topics.get(topic).copied().map(MetadataFault::Stale))
    }

    /// The fault of the next answer of an API.
    pub(crate) fn take_answer(&mut self, api: Api) -> Option<AnswerFault> {
        self.answers.get_mut(&api)?.pop_front()
    }

    /// What `node` does with its connections.
    pub(crate) fn admission(&self, node: i32) -> Admission {
        self.admissions.get(&node).copied().unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_bytes_leave_the_others_as_they_are() {
        let answer = [0, 0, 0, 6, 0, 0, 0, 1, 7, 8];
        for (fault, expected) in [
            (AnswerFault::Cut(5), &[0, 0, 0, 6, 0][..]),
            (AnswerFault::Cut(99), &answer),
            (AnswerFault::Garble, &[0, 0, 0, 6, 0, 0, 0, 1, 255, 255]),
            (AnswerFault::CorrelationId(-2), &[0, 0, 0, 6, 255, 255, 255, 254, 7, 8]),
            (AnswerFault::Length(-1), &[255, 255, 255, 255, 0, 0, 0, 1, 7, 8]),
            (AnswerFault::Repeat, &[answer, answer].concat()),
            (AnswerFault::AfterNext, &answer),
        ] {
            assert_eq!(fault.applied_to(&answer), expected, "{fault:?}");
        }
    }

    #[test]
    fn lies_of_a_login_change_one_attribute_and_no_other() {
        let challenge = &b"r=abc,s=QSXC,i=4096"[..];
        for (fault, message, expected) in [
            (LoginFault::ForeignNonce, challenge, &b"r=foreign,s=QSXC,i=4096"[..]),
            (LoginFault::Iterations(1), challenge, b"r=abc,s=QSXC,i=1"),
            (LoginFault::WrongSignature, challenge, challenge),
            (LoginFault::WrongSignature, b"v=9/+x0Q==", b"v=A/+AAA=="),
            (LoginFault::Iterations(1), b"v=9/+x0Q==", b"v=9/+x0Q=="),
        ] {
            assert_eq!(fault.applied_to(message), expected, "{fault:?}");
        }
    }

    #[test]
    fn faults_come_up_once_and_in_order_and_a_stale_topic_behind_them() {
        let mut faults = Faults::default();
        faults.add_metadata("a", MetadataFault::NoPartitions);
        faults.stale_topics.insert("a".to_owned(), 3);
        assert_eq!(faults.take_metadata("a"), Some(MetadataFault::NoPartitions));
        assert_eq!(faults.take_metadata("a"), Some(MetadataFault::Stale(3)));
        assert_eq!(faults.take_metadata("a"), Some(MetadataFault::Stale(3)));
        assert_eq!(faults.take_metadata("b"), None);
        faults.add_produce("a", 1, ProduceFault::OmitAnswer);
        assert_eq!(faults.take_produce("a", 0), None);
        assert_eq!(faults.take_produce("a", 1), Some(ProduceFault::OmitAnswer));
        assert_eq!(faults.take_produce("a", 1), None);
    }
}
