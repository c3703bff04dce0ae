//! Reading a topic back: as far as `tail` and `demo` need it.
//!
//! One partition after the other from its leader, without consumer groups or offsets kept in the
//! cluster. Every batch is checked (CRC, lengths, bounded inflation) before a record is shown.

use crate::producer::session::{Question, Session, SessionConfig, SessionError};
use crate::producer::{Address, ProducerConfig, TlsError};
use crate::protocol::ErrorCode;
use crate::protocol::messages::ApiKey;
use crate::protocol::messages::fetch::{self, FetchRequest, FetchResponse, FetchedPartition};
use crate::protocol::messages::list_offsets::{self, ListOffsetsResponse, LogEnd};
use crate::protocol::messages::metadata::{self, MetadataResponse, Topics};
use crate::protocol::record::ConsumedRecord;
use crate::protocol::record_batch::{BatchError, BatchReader};
use std::collections::BTreeMap;
use std::time::Duration;

/// Bytes asked for at once. A single larger batch comes whole all the same.
const FETCH_SIZE: i32 = 4 << 20;

/// What one batch may inflate to.
const INFLATED_MAX: usize = 256 << 20;

/// Patience for a connection and for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct TopicReader {
    topic: String,
    topic_id: [u8; 16],
    leaders: BTreeMap<i32, Session>,
    cursors: Vec<Cursor>,
}

/// Where reading a partition has come to.
#[derive(Debug)]
struct Cursor {
    partition: i32,
    leader: i32,
    /// Offset of the next record to show.
    next: i64,
    /// Offset behind the last record, as far as is known.
    end: i64,
}

/// A record and its partition.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) partition: i32,
    pub(super) record: ConsumedRecord,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("{0}")]
    Session(#[from] SessionError),
    #[error("topic {0:?} does not exist")]
    NoTopic(String),
    #[error("cannot read topic {topic:?}: {code}")]
    Refused { topic: String, code: ErrorCode },
    #[error("partition {partition} has no leader at the moment")]
    NoLeader { partition: i32 },
    #[error("partition {partition} cannot be read: {cause}")]
    Batch { partition: i32, cause: BatchError },
}

impl From<ReadError> for super::Exit {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Session(_) | ReadError::NoLeader { .. } => Self::UNREACHABLE,
            ReadError::NoTopic(_) | ReadError::Tls(_) => Self::USAGE,
            ReadError::Refused { .. } | ReadError::Batch { .. } => Self::FAILED,
        };
        Self::new(code, error)
    }
}

impl TopicReader {
    /// Opens a topic, with the last `last` records of each partition to show; all, if `None`.
    pub(super) async fn open(
        cluster: &ProducerConfig,
        topic: &str,
        last: Option<i64>,
    ) -> Result<Self, ReadError> {
        let config = SessionConfig {
            client_id: "ottla-tail".to_owned(),
            patience: PATIENCE,
            ..SessionConfig::of(cluster)?
        };
        let mut session = Session::connect_any(&cluster.bootstrap, &config).await?;
        let metadata = describe(&mut session, topic).await?;
        let told = metadata.topics.into_iter().next();
        let told = told.ok_or_else(|| ReadError::NoTopic(topic.to_owned()))?;
        match told.error {
            ErrorCode::NONE => {}
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => {
                return Err(ReadError::NoTopic(topic.to_owned()));
            }
            code => return Err(ReadError::Refused { topic: topic.to_owned(), code }),
        }
        let mut reader = Self {
            topic: topic.to_owned(),
            topic_id: told.id,
            leaders: BTreeMap::new(),
            cursors: Vec::new(),
        };
        for broker in metadata.brokers {
            if told.partitions.iter().any(|partition| partition.leader_id == broker.node_id) {
                let address = Address { host: broker.host, port: broker.port };
                let session = Session::connect(&address, &config).await?;
                reader.leaders.insert(broker.node_id, session);
            }
        }
        for partition in told.partitions {
            let (partition, leader) = (partition.index, partition.leader_id);
            let start = reader.log_end(partition, leader, LogEnd::Earliest).await?;
            let end = reader.log_end(partition, leader, LogEnd::Latest).await?;
            let next = last.map_or(start, |last| start.max(end.saturating_sub(last)));
            reader.cursors.push(Cursor { partition, leader, next, end });
        }
        reader.cursors.sort_by_key(|cursor| cursor.partition);
        Ok(reader)
    }

    async fn log_end(
        &mut self,
        partition: i32,
        leader: i32,
        end: LogEnd,
    ) -> Result<i64, ReadError> {
        let session = self.leaders.get_mut(&leader).ok_or(ReadError::NoLeader { partition })?;
        let topic = &self.topic;
        let answer = session
            .call(
                Question::of(ApiKey::ListOffsets),
                |header| list_offsets::request(header, topic, &[partition], end),
                ListOffsetsResponse::decode,
            )
            .await?;
        let told = answer.partitions.into_iter().find(|told| told.partition == partition);
        match told {
            Some(told) => self.judge(told.error).map(|()| told.offset),
            None => Err(ReadError::NoLeader { partition }),
        }
    }

    fn judge(&self, code: ErrorCode) -> Result<(), ReadError> {
        code.ok().map_err(|code| ReadError::Refused { topic: self.topic.clone(), code })
    }

    /// Whether everything that was there when it was last asked for has been read.
    pub(super) fn is_at_end(&self) -> bool {
        self.cursors.iter().all(|cursor| cursor.next >= cursor.end)
    }

    /// The next records, waiting up to `wait` for some at each leader.
    pub(super) async fn read(&mut self, wait: Duration) -> Result<Vec<Read>, ReadError> {
        let mut records = Vec::new();
        let leaders: Vec<_> = self.leaders.keys().copied().collect();
        for leader in leaders {
            for fetched in self.fetch(leader, wait).await? {
                self.judge(fetched.error)?;
                self.take(fetched, &mut records)?;
            }
        }
        Ok(records)
    }

    async fn fetch(
        &mut self,
        leader: i32,
        wait: Duration,
    ) -> Result<Vec<FetchedPartition>, ReadError> {
        let led = self.cursors.iter().filter(|cursor| cursor.leader == leader);
        let wanted: Vec<_> = led.map(|cursor| (cursor.partition, cursor.next)).collect();
        let Some(session) = self.leaders.get_mut(&leader) else { return Ok(Vec::new()) };
        let request = FetchRequest {
            topic: &self.topic,
            topic_id: self.topic_id,
            partitions: &wanted,
            min_bytes: 1,
            max_bytes: FETCH_SIZE,
            max_wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        };
        let cap = if self.topic_id == [0; 16] { fetch::TOPIC_IDS_FROM - 1 } else { i16::MAX };
        let answer = session
            .call(
                Question::of(ApiKey::Fetch).up_to_version(cap).that_may_take(wait),
                |header| request.encode(header),
                FetchResponse::decode,
            )
            .await?;
        self.judge(answer.error)?;
        Ok(answer.partitions)
    }

    fn take(
        &mut self,
        fetched: FetchedPartition,
        records: &mut Vec<Read>,
    ) -> Result<(), ReadError> {
        let partition = fetched.partition;
        let cursor = self.cursors.iter_mut().find(|cursor| cursor.partition == partition);
        let Some(cursor) = cursor else { return Ok(()) };
        cursor.end = cursor.end.max(fetched.high_watermark);
        let mut batches = BatchReader::new(fetched.records, INFLATED_MAX);
        let broken = |cause| ReadError::Batch { partition, cause };
        while let Some(batch) = batches.next_batch().map_err(broken)? {
            // The first batch may begin before what was asked for.
            let new = batch.records.into_iter().filter(|record| record.offset >= cursor.next);
            records.extend(new.map(|record| Read { partition, record }));
            cursor.next = cursor.next.max(batch.last_offset.saturating_add(1));
        }
        Ok(())
    }
}

async fn describe(session: &mut Session, topic: &str) -> Result<MetadataResponse, ReadError> {
    let names = [topic];
    let answer = session
        .call(
            Question::of(ApiKey::Metadata),
            |header| metadata::request(header, Topics::Named(&names), false),
            MetadataResponse::decode,
        )
        .await?;
    Ok(answer)
}
