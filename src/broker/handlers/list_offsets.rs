//! ListOffsets, key 2: the offset of a time, or of either end.
//!
//! v1 one offset per partition; v4 leader epochs; v6 flexible; v7 the latest timestamp (KIP-734).

use std::collections::HashSet;

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::{Outcome, Scope, Serve};
use crate::broker::cluster::TopicRef;
use crate::broker::log::Found;
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

/// First version with leader epochs.
const EPOCHS_SINCE: i16 = 4;

/// Timestamps that stand for a place.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;

impl Serve for ListOffsetsRequest {
    const SHAPE: Shape = Shape {
        versions: 1..=7,
        flexible_from: 6,
        fields: &[
            Field::since(1, Layout::Fixed(4)),
            Field::since(2, Layout::Fixed(1)),
            Field::since(
                1,
                Layout::Array(&[
                    Field::since(1, Layout::Text),
                    Field::since(
                        1,
                        Layout::Array(&[
                            Field::since(1, Layout::Fixed(4)),
                            Field::since(4, Layout::Fixed(4)),
                            Field::since(1, Layout::Fixed(8)),
                        ]),
                    ),
                ]),
            ),
        ],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<ListOffsetsResponse> {
        let mut seen = HashSet::new();
        Outcome::Answer(each_partition(self, |topic, asked| {
            // As in Kafka; a lookup by time is dear, so nobody gets a million of them at once.
            if !seen.insert((topic, asked.partition_index)) {
                return refused(asked, ErrorCode::INVALID_REQUEST);
            }
            find(topic, asked, scope).map_or_else(
                |code| refused(asked, code),
                |found| {
                    let knows_epochs = scope.version >= EPOCHS_SINCE;
                    ListOffsetsPartitionResponse::default()
                        .with_partition_index(asked.partition_index)
                        .with_timestamp(found.timestamp)
                        .with_offset(found.offset)
                        .with_leader_epoch(if knows_epochs { found.leader_epoch } else { -1 })
                },
            )
        }))
    }

    fn refuse(&self, _: &Scope<'_>, code: ErrorCode) -> ListOffsetsResponse {
        each_partition(self, |_, asked| refused(asked, code))
    }
}

/// A response with what `answer` makes of each partition asked for.
fn each_partition<'a>(
    request: &'a ListOffsetsRequest,
    mut answer: impl FnMut(&'a str, &ListOffsetsPartition) -> ListOffsetsPartitionResponse,
) -> ListOffsetsResponse {
    let mut topics = Vec::new();
    for topic in &request.topics {
        let partitions = topic.partitions.iter().map(|asked| answer(&topic.name, asked)).collect();
        topics.push(
            ListOffsetsTopicResponse::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions),
        );
    }
    ListOffsetsResponse::default().with_topics(topics)
}

fn find(topic: &str, asked: &ListOffsetsPartition, scope: &Scope<'_>) -> Result<Found, ErrorCode> {
    let topic = TopicRef::Name(topic);
    scope.state.check_access(topic)?;
    let partition = scope.state.cluster.partition(topic, asked.partition_index)?;
    partition.check_leader(scope.node, asked.current_leader_epoch)?;
    let log = &partition.log;
    let at = |offset| Found { offset, timestamp: -1, leader_epoch: partition.leader_epoch };
    Ok(match asked.timestamp {
        LATEST => at(log.next_offset()),
        EARLIEST => at(log.start_offset()),
        MAX_TIMESTAMP => log.find_latest_timestamp().unwrap_or_else(|| at(-1)),
        timestamp => log.find_by_timestamp(timestamp).unwrap_or_else(|| at(-1)),
    })
}

fn refused(asked: &ListOffsetsPartition, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_error_code(code.0)
        .with_timestamp(-1)
        .with_offset(-1)
}
