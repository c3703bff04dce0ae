//! What a broker's answer means for a batch.
//!
//! One table, from the code to what the producer does about it. Where the reference producers
//! differ, the choice is the one that loses nothing and keeps the producer alive: leadership and
//! overload are retried until the delivery timeout, a broken sequence is numbered anew, and only
//! what cannot change by itself fails a batch. A code that is not in the table is not retried.
//!
//! Sources: Kafka's `Errors` and `Sender`, KIP-360, KIP-467, KIP-588, and Redpanda's `produce.cc`
//! for codes 7 and 8.

use crate::protocol::ErrorCode;

/// How many times a batch may be retried that a broker calls corrupt: a bit may flip on the wire,
/// but not for ever.
pub(super) const CORRUPT_RETRIES_MAX: u32 = 3;

/// What to do about one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is in the log.
    Delivered,
    /// It is in the log already; its offset is forgotten.
    Duplicate,
    /// Send the same bytes again.
    Retry(Retry),
    /// The broker does not know the sequence numbers before it: number anew under a new epoch,
    /// unless an earlier batch of the partition is still to come.
    Renumber,
    /// The producer id is of no use any more: get another.
    NewProducerId,
    /// The broker speaks another version than it said: ask it again which, and send the batch once
    /// more.
    Renegotiate,
    /// It is too large: make two of it, if it holds more than one record (KIP-126).
    Split,
    /// It will never be accepted.
    Fail {
        /// Whether it may be in the log all the same.
        unsure: bool,
    },
    /// Nothing of this producer will be accepted any more.
    Fatal,
}

/// How to send a batch again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Retry {
    /// Ask for the metadata first: the leader may be another.
    pub(super) refresh: bool,
    /// The batch may be in the log although the answer is an error.
    pub(super) unsure: bool,
    /// Retries after which it fails; unlimited if `None`.
    pub(super) attempts_max: Option<u32>,
}

const RETRY: Retry = Retry { refresh: false, unsure: false, attempts_max: None };
const UNSURE: Retry = Retry { unsure: true, ..RETRY };
const REFRESH: Retry = Retry { refresh: true, ..RETRY };

impl Verdict {
    /// The verdict on a batch that was answered with `code`.
    pub(super) const fn on(code: ErrorCode) -> Self {
        match code {
            ErrorCode::NONE => Self::Delivered,
            ErrorCode::DUPLICATE_SEQUENCE_NUMBER => Self::Duplicate,

            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            | ErrorCode::LEADER_NOT_AVAILABLE
            | ErrorCode::NOT_LEADER_OR_FOLLOWER
            | ErrorCode::REPLICA_NOT_AVAILABLE
            // Redpanda's word for a full disk: it passes, if someone makes room.
            | ErrorCode::BROKER_NOT_AVAILABLE
            | ErrorCode::KAFKA_STORAGE_ERROR
            | ErrorCode::LISTENER_NOT_FOUND
            | ErrorCode::FENCED_LEADER_EPOCH
            | ErrorCode::UNKNOWN_LEADER_EPOCH
            | ErrorCode::PREFERRED_LEADER_NOT_AVAILABLE
            | ErrorCode::ELIGIBLE_LEADERS_NOT_AVAILABLE
            | ErrorCode::ELECTION_NOT_NEEDED
            | ErrorCode::UNKNOWN_TOPIC_ID
            | ErrorCode::INCONSISTENT_TOPIC_ID => Self::Retry(REFRESH),

            ErrorCode::NETWORK_EXCEPTION => {
                Self::Retry(Retry { refresh: true, unsure: true, attempts_max: None })
            }
            ErrorCode::REQUEST_TIMED_OUT | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
                Self::Retry(UNSURE)
            }
            ErrorCode::CORRUPT_MESSAGE => {
                Self::Retry(Retry { attempts_max: Some(CORRUPT_RETRIES_MAX), ..RETRY })
            }
            ErrorCode::NOT_ENOUGH_REPLICAS
            | ErrorCode::COORDINATOR_LOAD_IN_PROGRESS
            | ErrorCode::COORDINATOR_NOT_AVAILABLE
            | ErrorCode::NOT_COORDINATOR
            | ErrorCode::NOT_CONTROLLER
            | ErrorCode::CONCURRENT_TRANSACTIONS
            | ErrorCode::OFFSET_NOT_AVAILABLE
            | ErrorCode::THROTTLING_QUOTA_EXCEEDED => Self::Retry(RETRY),

            ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => Self::Split,
            ErrorCode::UNSUPPORTED_VERSION => Self::Renegotiate,
            ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER | ErrorCode::UNKNOWN_PRODUCER_ID => {
                Self::Renumber
            }
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::INVALID_PRODUCER_ID_MAPPING => {
                Self::NewProducerId
            }
            ErrorCode::PRODUCER_FENCED | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED => {
                Self::Fatal
            }
            ErrorCode::UNKNOWN_SERVER_ERROR => Self::Fail { unsure: true },
            _ => Self::Fail { unsure: false },
        }
    }

    /// Whether an error of a metadata answer about a topic can pass by itself.
    pub(super) const fn topic_may_recover(code: ErrorCode) -> bool {
        matches!(Self::on(code), Self::Retry(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_are_not_retried() {
        assert_eq!(Verdict::on(ErrorCode(9999)), Verdict::Fail { unsure: false });
    }

    /// The codes that Kafka calls retriable, and the few on which we differ on purpose.
    #[test]
    fn what_kafka_calls_retriable_is_retried() {
        let not_for_produce = [
            ErrorCode::UNSTABLE_OFFSET_COMMIT,
            ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
            ErrorCode::INVALID_FETCH_SESSION_EPOCH,
            ErrorCode::FETCH_SESSION_TOPIC_ID_ERROR,
            ErrorCode::SHARE_SESSION_NOT_FOUND,
            ErrorCode::INVALID_SHARE_SESSION_EPOCH,
            ErrorCode::SHARE_SESSION_LIMIT_REACHED,
        ];
        let ours = [ErrorCode::BROKER_NOT_AVAILABLE, ErrorCode::CONCURRENT_TRANSACTIONS];
        for code in (1..=133).map(ErrorCode) {
            let retried = matches!(Verdict::on(code), Verdict::Retry(_));
            let expected =
                (code.is_retriable() && !not_for_produce.contains(&code)) || ours.contains(&code);
            assert_eq!(retried, expected, "{code}");
        }
    }
}
