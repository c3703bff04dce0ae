//! A record as a caller hands it over, and what is checked before it is accepted.
//!
//! [`Record`] borrows, because `send` copies its bytes once, into the batch of its partition. Only
//! a record that must wait outside a batch, for room or for its topic's partitions, is kept whole
//! (`OwnedRecord`).

use crate::protocol::record::{Content, Header};
use bytes::Bytes;

/// Longest topic name, in bytes.
const TOPIC_NAME_SIZE_MAX: usize = 249;

/// A record to send.
///
/// ```
/// use ottla::producer::{Header, Record};
///
/// let headers = [Header { key: "tenant", value: Some(b"acme") }];
/// let record = Record::to("traces").key(b"0e8b9293").value(b"{}").headers(&headers);
/// assert_eq!(record.topic, "traces");
/// assert_eq!(record.partition, None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where to.
    pub topic: &'a str,
    /// The partition; chosen by the [`Partitioner`](super::Partitioner) if `None`.
    pub partition: Option<i32>,
    /// The key; records with equal keys go to the same partition. Null is not empty.
    pub key: Option<&'a [u8]>,
    /// The value. Null is not empty: it is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order; a key may occur several times.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since the Unix epoch; the time of `send`, if `None`.
    pub timestamp: Option<i64>,
}

impl<'a> Record<'a> {
    /// A record of nulls to this topic.
    pub const fn to(topic: &'a str) -> Self {
        Self { topic, partition: None, key: None, value: None, headers: &[], timestamp: None }
    }

    /// With this key.
    #[must_use]
    pub const fn key(self, key: &'a [u8]) -> Self {
        Self { key: Some(key), ..self }
    }

    /// With this value.
    #[must_use]
    pub const fn value(self, value: &'a [u8]) -> Self {
        Self { value: Some(value), ..self }
    }

    /// With these headers.
    #[must_use]
    pub const fn headers(self, headers: &'a [Header<'a>]) -> Self {
        Self { headers, ..self }
    }

    /// To this partition, whatever the key.
    #[must_use]
    pub const fn partition(self, partition: i32) -> Self {
        Self { partition: Some(partition), ..self }
    }

    /// With this timestamp, in milliseconds since the Unix epoch.
    #[must_use]
    pub const fn timestamp(self, timestamp: i64) -> Self {
        Self { timestamp: Some(timestamp), ..self }
    }

    pub(super) const fn content(&self) -> Content<'a> {
        Content { key: self.key, value: self.value, headers: self.headers }
    }
}

/// A record kept whole while it waits outside a batch.
#[derive(Debug, Clone)]
pub(super) struct OwnedRecord {
    topic: String,
    partition: Option<i32>,
    key: Option<Bytes>,
    value: Option<Bytes>,
    headers: Vec<(String, Option<Bytes>)>,
    timestamp: Option<i64>,
}

impl From<&Record<'_>> for OwnedRecord {
    fn from(record: &Record<'_>) -> Self {
        let header =
            |header: &Header<'_>| (header.key.to_owned(), header.value.map(Bytes::copy_from_slice));
        Self {
            topic: record.topic.to_owned(),
            partition: record.partition,
            key: record.key.map(Bytes::copy_from_slice),
            value: record.value.map(Bytes::copy_from_slice),
            headers: record.headers.iter().map(header).collect(),
            timestamp: record.timestamp,
        }
    }
}

impl OwnedRecord {
    /// Hands the record out in its borrowed form.
    pub(super) fn with<R>(&self, use_record: impl FnOnce(&Record<'_>) -> R) -> R {
        let headers: Vec<_> = self
            .headers
            .iter()
            .map(|(key, value)| Header { key, value: value.as_deref() })
            .collect();
        use_record(&Record {
            topic: &self.topic,
            partition: self.partition,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &headers,
            timestamp: self.timestamp,
        })
    }
}

/// Why Kafka refuses a topic of this name; `None` if it does not.
///
/// Rule: one to 249 of ASCII letters, digits, `.`, `_` and `-`, and neither `.` nor `..`
/// (`org.apache.kafka.common.internals.Topic`).
pub fn topic_name_fault(name: &str) -> Option<&'static str> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match name {
        "" => Some("it is empty"),
        "." | ".." => Some("\".\" and \"..\" are not allowed"),
        name if name.len() > TOPIC_NAME_SIZE_MAX => Some("it is longer than 249 bytes"),
        name if !name.bytes().all(legal) => {
            Some("only ASCII letters, digits, \".\", \"_\" and \"-\" are allowed")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owned_record_is_the_same_record() {
        let headers = [
            Header { key: "a", value: None },
            Header { key: "a", value: Some(b"") },
            Header { key: "b", value: Some(b"1") },
        ];
        let record = Record::to("t").key(b"").headers(&headers).partition(3).timestamp(-5);
        OwnedRecord::from(&record).with(|again| assert_eq!(again, &record));
    }

    #[test]
    fn topic_names_are_judged_as_kafka_judges_them() {
        let longest = "x".repeat(249);
        for name in ["bifrost-traces", "A.b_c-9", "...", &longest] {
            assert_eq!(topic_name_fault(name), None, "{name}");
        }
        let too_long = "x".repeat(250);
        for name in ["", ".", "..", "a b", "a/b", "a\0", "caf\u{e9}", &too_long] {
            assert!(topic_name_fault(name).is_some(), "{name}");
        }
    }
}
