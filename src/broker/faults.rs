//! Faults: what a test lets the broker do wrong.
//!
//! Decides the order in which faults come up: each is used once, first in, first out. What a fault
//! does is up to those who ask for it here.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use super::dispatch::Api;
use crate::protocol::ErrorCode;

/// What goes wrong with the next batch produced to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProduceFault {
    /// The batch is not stored, and this code is answered.
    Refuse(ErrorCode),
    /// The batch is stored if it is valid, and this code is answered all the same.
    StoreAndAnswer(ErrorCode),
    /// Nothing of the request is stored, and the connection is closed.
    DisconnectBefore,
    /// The request is served, and the connection is closed instead of answering.
    DisconnectAfter,
    /// The request is served at once and answered so much later. The connection waits meanwhile.
    DelayAnswer(Duration),
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

/// The faults that wait for their turn.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    produce: HashMap<(String, i32), VecDeque<ProduceFault>>,
    requests: BTreeMap<Api, VecDeque<RequestFault>>,
    /// Told to every producer in milliseconds (KIP-219).
    pub(crate) throttle_ms: i32,
}

impl Faults {
    pub(crate) fn add_produce(&mut self, topic: &str, partition: i32, fault: ProduceFault) {
        self.produce.entry((topic.to_owned(), partition)).or_default().push_back(fault);
    }

    pub(crate) fn add_request(&mut self, api: Api, fault: RequestFault) {
        self.requests.entry(api).or_default().push_back(fault);
    }

    /// The fault of the next batch for a partition.
    pub(crate) fn take_produce(&mut self, topic: &str, partition: i32) -> Option<ProduceFault> {
        if self.produce.is_empty() {
            return None;
        }
        self.produce.get_mut(&(topic.to_owned(), partition))?.pop_front()
    }

    /// The fault of the next request of an API.
    pub(crate) fn take_request(&mut self, api: Api) -> Option<RequestFault> {
        self.requests.get_mut(&api)?.pop_front()
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}
