//! Fetch, key 1: batches out of partitions.
//!
//! v5 log start offset; v7 sessions (KIP-227), which are answered without one, so that clients send
//! the whole request each time; v9 leader epochs; v11 rack; v12 flexible, and the current leader when
//! this node is none; v13 topics by id. A request that finds less than `min_bytes` waits for more
//! until `max_wait_ms` have passed.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::{
    FetchableTopicResponse, LeaderIdAndEpoch, PartitionData,
};
use kafka_protocol::messages::{BrokerId, FetchRequest, FetchResponse};

use super::{Outcome, Scope, Serve};
use crate::broker::State;
use crate::broker::cluster::{NO_LEADER, TopicRef};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

/// First version that names topics by id.
const IDS_SINCE: i16 = 13;

/// First version that tells who leads a partition instead.
const LEADERS_SINCE: i16 = 12;

/// Bytes of records in one response, whatever the client allows.
const RESPONSE_SIZE_MAX: usize = 50 << 20;

/// The longest wait, whatever the client allows: an early answer is always right.
const PATIENCE_MAX: Duration = Duration::from_secs(60);

/// The session epoch of a client that wants no session; 0 asks for a new one.
const NO_SESSION: i32 = -1;

impl Serve for FetchRequest {
    const SHAPE: Shape = Shape {
        versions: 4..=13,
        flexible_from: 12,
        fields: &[
            Field::tagged(12, 0, Layout::Text),
            Field::since(4, Layout::Fixed(4)),
            Field::since(4, Layout::Fixed(4)),
            Field::since(4, Layout::Fixed(4)),
            Field::since(4, Layout::Fixed(4)),
            Field::since(4, Layout::Fixed(1)),
            Field::since(7, Layout::Fixed(4)),
            Field::since(7, Layout::Fixed(4)),
            Field::since(
                4,
                Layout::Array(&[
                    Field::within(4, 12, Layout::Text),
                    Field::since(13, Layout::Fixed(16)),
                    Field::since(4, Layout::Array(PARTITION)),
                ]),
            ),
            Field::since(
                7,
                Layout::Array(&[
                    Field::within(7, 12, Layout::Text),
                    Field::since(13, Layout::Fixed(16)),
                    Field::since(7, Layout::Values(&Layout::Fixed(4))),
                ]),
            ),
            Field::since(11, Layout::Text),
        ],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<FetchResponse> {
        let code = match (self.session_id, self.session_epoch) {
            (0, NO_SESSION | 0) => ErrorCode::NONE,
            (0, _) => ErrorCode::INVALID_FETCH_SESSION_EPOCH,
            // A client may close the session that it thinks it has.
            (_, NO_SESSION) => ErrorCode::NONE,
            _ => ErrorCode::FETCH_SESSION_ID_NOT_FOUND,
        };
        if scope.version >= 7 && !code.is_none() {
            return Outcome::Answer(FetchResponse::default().with_error_code(code.0));
        }
        let mut reading = Reading::new(self, scope);
        let topics = self.topics.iter().map(|topic| reading.topic(topic)).collect();
        let min_bytes = usize::try_from(self.min_bytes).unwrap_or_default();
        if reading.size < min_bytes && !reading.has_error && !scope.is_last_call {
            return Outcome::NotYet;
        }
        Outcome::Answer(FetchResponse::default().with_responses(topics))
    }

    fn refuse(&self, scope: &Scope<'_>, code: ErrorCode) -> FetchResponse {
        let partition = |asked: &FetchPartition| refused(asked, code);
        let topic =
            |topic: &FetchTopic| answered(topic, topic.partitions.iter().map(partition).collect());
        let top_level = if scope.version >= 7 { code.0 } else { 0 };
        FetchResponse::default()
            .with_error_code(top_level)
            .with_responses(self.topics.iter().map(topic).collect())
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.max_wait_ms).unwrap_or_default()).min(PATIENCE_MAX)
    }
}

const PARTITION: &[Field] = &[
    Field::since(4, Layout::Fixed(4)),
    Field::since(9, Layout::Fixed(4)),
    Field::since(4, Layout::Fixed(8)),
    Field::since(12, Layout::Fixed(4)),
    Field::since(5, Layout::Fixed(8)),
    Field::since(4, Layout::Fixed(4)),
];

/// The reading of one response.
struct Reading<'a> {
    state: &'a State,
    node: i32,
    version: i16,
    /// Bytes of records read so far.
    size: usize,
    size_max: usize,
    has_error: bool,
}

impl<'a> Reading<'a> {
    fn new(request: &FetchRequest, scope: &'a Scope<'_>) -> Self {
        Self {
            state: scope.state,
            node: scope.node,
            version: scope.version,
            size: 0,
            size_max: usize::try_from(request.max_bytes).unwrap_or_default().min(RESPONSE_SIZE_MAX),
            has_error: false,
        }
    }

    fn topic(&mut self, topic: &FetchTopic) -> FetchableTopicResponse {
        let named = match self.version {
            IDS_SINCE.. => TopicRef::Id(topic.topic_id),
            _ => TopicRef::Name(&topic.topic),
        };
        let partitions = topic.partitions.iter().map(|asked| self.partition(named, asked));
        let partitions = partitions.collect();
        answered(topic, partitions)
    }

    fn partition(&mut self, topic: TopicRef<'_>, asked: &FetchPartition) -> PartitionData {
        match self.read(topic, asked) {
            Ok(data) => data,
            Err(code) => {
                self.has_error = true;
                let data = refused(asked, code);
                if self.version < LEADERS_SINCE || code != ErrorCode::NOT_LEADER_OR_FOLLOWER {
                    return data;
                }
                data.with_current_leader(self.current_leader(topic, asked.partition))
            }
        }
    }

    fn read(
        &mut self,
        topic: TopicRef<'_>,
        asked: &FetchPartition,
    ) -> Result<PartitionData, ErrorCode> {
        self.state.check_access(topic)?;
        let partition = self.state.cluster.partition(topic, asked.partition)?;
        partition.check_leader(self.node, asked.current_leader_epoch)?;
        let log = &partition.log;
        if !(log.start_offset()..=log.next_offset()).contains(&asked.fetch_offset) {
            return Err(ErrorCode::OFFSET_OUT_OF_RANGE);
        }
        let wanted = usize::try_from(asked.partition_max_bytes).unwrap_or_default();
        let room = self.size_max.saturating_sub(self.size);
        let records = log.read(asked.fetch_offset, wanted.min(room), self.size == 0);
        self.size += records.len();
        Ok(PartitionData::default()
            .with_partition_index(asked.partition)
            .with_high_watermark(log.next_offset())
            .with_last_stable_offset(log.next_offset())
            .with_log_start_offset(log.start_offset())
            .with_aborted_transactions(None)
            .with_records(Some(records)))
    }

    fn current_leader(&self, topic: TopicRef<'_>, partition: i32) -> LeaderIdAndEpoch {
        let leader = self.state.cluster.partition(topic, partition).ok();
        LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(leader.map_or(NO_LEADER, |partition| partition.leader)))
            .with_leader_epoch(leader.map_or(-1, |partition| partition.leader_epoch))
    }
}

fn answered(topic: &FetchTopic, partitions: Vec<PartitionData>) -> FetchableTopicResponse {
    FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_topic_id(topic.topic_id)
        .with_partitions(partitions)
}

fn refused(asked: &FetchPartition, code: ErrorCode) -> PartitionData {
    PartitionData::default()
        .with_partition_index(asked.partition)
        .with_error_code(code.0)
        .with_high_watermark(-1)
        .with_records(Some(Bytes::new()))
}
