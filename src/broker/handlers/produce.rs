//! Produce, key 0: batches into partitions.
//!
//! v5 log start offset; v7 zstd; v8 the record at fault and a message (KIP-467); v9 flexible; v10
//! the current leader when this node is none (KIP-951); v13 topics by id (KIP-516). The limits of a
//! batch are in `validate`, those of a producer's sequence in `log`. With acks=0 there is no answer,
//! and an error closes the connection.

use std::time::Duration;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::State;
use crate::broker::cluster::{ANY_EPOCH, TopicRef};
use crate::broker::faults::ProduceFault;
use crate::broker::validate::{self, Refusal, Rules};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

/// First version that names topics by id.
const IDS_SINCE: i16 = 13;

/// First version that tells who leads a partition instead.
const LEADERS_SINCE: i16 = 10;

impl Serve for ProduceRequest {
    const SHAPE: Shape = Shape {
        versions: 3..=13,
        flexible_from: 9,
        fields: &[
            Field::since(3, Layout::Text),
            Field::since(3, Layout::Fixed(2)),
            Field::since(3, Layout::Fixed(4)),
            Field::since(
                3,
                Layout::Array(&[
                    Field::within(3, 12, Layout::Text),
                    Field::since(13, Layout::Fixed(16)),
                    Field::since(
                        3,
                        Layout::Array(&[
                            Field::since(3, Layout::Fixed(4)),
                            Field::since(3, Layout::Bytes),
                        ]),
                    ),
                ]),
            ),
        ],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<ProduceResponse> {
        let refused = match self.transactional_id {
            _ if !(-1..=1).contains(&self.acks) => Some(ErrorCode::INVALID_REQUIRED_ACKS),
            Some(_) => Some(ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED),
            None => None,
        };
        if let Some(code) = refused {
            return acknowledge(self, self.refuse(scope, code), Duration::ZERO);
        }
        let faults = take_faults(self, scope);
        if faults.contains(&Some(ProduceFault::DisconnectBefore)) {
            return Outcome::Close;
        }
        let response = append_all(self, &faults, scope);
        if faults.contains(&Some(ProduceFault::DisconnectAfter)) {
            return Outcome::Close;
        }
        let delays = faults.iter().map(|fault| match fault {
            Some(ProduceFault::DelayAnswer(delay)) => *delay,
            _ => Duration::ZERO,
        });
        acknowledge(self, response, delays.fold(Duration::ZERO, Duration::saturating_add))
    }

    fn refuse(&self, _: &Scope<'_>, code: ErrorCode) -> ProduceResponse {
        let refusal = Refusal::new(code, code.to_string());
        each_partition(self, |_, data| [refused(data.index, &refusal)])
    }
}

/// With acks=0 the only answer there is, to an error, is the end of the connection.
fn acknowledge(
    request: &ProduceRequest,
    response: ProduceResponse,
    delay: Duration,
) -> Outcome<ProduceResponse> {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    match request.acks {
        0 if partitions.any(|partition| partition.error_code != 0) => Outcome::Close,
        0 => Outcome::Silent,
        _ if delay.is_zero() => Outcome::Answer(response),
        _ => Outcome::Late(response, delay),
    }
}

/// The fault of each batch, in the order of the request.
fn take_faults(request: &ProduceRequest, scope: &mut Scope<'_>) -> Vec<Option<ProduceFault>> {
    let State { cluster, faults, .. } = &mut *scope.state;
    let mut taken = Vec::new();
    for topic in &request.topic_data {
        let name = cluster.topic(topic_ref(topic, scope.version)).map(|(name, _)| name);
        let fault = |data: &PartitionProduceData| faults.take_produce(name.ok()?, data.index);
        taken.extend(topic.partition_data.iter().map(fault));
    }
    taken
}

fn append_all(
    request: &ProduceRequest,
    faults: &[Option<ProduceFault>],
    scope: &mut Scope<'_>,
) -> ProduceResponse {
    let mut faults = faults.iter().copied();
    let mut leaders = Vec::new();
    let mut response = each_partition(request, |topic, data| {
        let topic = topic_ref(topic, scope.version);
        let fault = faults.next().flatten();
        let mut answer = append(topic, data, fault, scope)
            .unwrap_or_else(|refusal| refused(data.index, &refusal));
        let is_elsewhere = answer.error_code == ErrorCode::NOT_LEADER_OR_FOLLOWER.0;
        if is_elsewhere
            && scope.version >= LEADERS_SINCE
            && let Some(leader) = current_leader(topic, data.index, scope)
        {
            leaders.push(leader.leader_id);
            answer.current_leader = leader;
        }
        distorted(answer, fault)
    });
    leaders.sort_unstable();
    leaders.dedup();
    response.throttle_time_ms = scope.state.faults.throttle_ms;
    response.node_endpoints = leaders.iter().filter_map(|id| endpoint(*id, scope)).collect();
    response
}

fn append(
    topic: TopicRef<'_>,
    data: &PartitionProduceData,
    fault: Option<ProduceFault>,
    scope: &mut Scope<'_>,
) -> Result<PartitionProduceResponse, Refusal> {
    let refuse = |code: ErrorCode| Refusal::new(code, code.to_string());
    scope.state.check_write(topic).map_err(refuse)?;
    if let Some(ProduceFault::Refuse(code)) = fault {
        return Err(refuse(code));
    }
    let rules = Rules {
        produce_version: scope.version,
        batch_size_max: scope.state.batch_size_max,
        inflated_size_max: scope.state.inflated_size_max,
        validation: scope.state.validation,
    };
    if scope.state.faults.is_disk_full {
        return Err(refuse(scope.profile.disk_full()));
    }
    let partition = scope.state.cluster.partition_mut(topic, data.index).map_err(refuse)?;
    partition.check_leader(scope.node, ANY_EPOCH).map_err(refuse)?;
    let batch = validate::check(data.records.as_ref(), &rules).map_err(|refusal| {
        let code = scope.profile.refusal(refusal.code);
        Refusal { code, ..refusal }
    })?;
    let base_offset = partition.log.append(&batch, partition.leader_epoch)?;
    if let Some(ProduceFault::StoreAndAnswer(code)) = fault {
        return Err(refuse(code));
    }
    let log_start = Some(partition.log.start_offset()).filter(|_| scope.profile.tells_log_start());
    Ok(PartitionProduceResponse::default()
        .with_index(data.index)
        .with_base_offset(base_offset)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(log_start.unwrap_or(-1)))
}

/// What the response has for a partition: its answer, unless a fault adds or omits.
fn distorted(
    answer: PartitionProduceResponse,
    fault: Option<ProduceFault>,
) -> Vec<PartitionProduceResponse> {
    match fault {
        Some(ProduceFault::OmitAnswer) => Vec::new(),
        Some(ProduceFault::RepeatAnswer) => vec![answer.clone(), answer],
        Some(ProduceFault::StrayAnswer) => vec![answer.clone().with_index(i32::MAX), answer],
        _ => vec![answer],
    }
}

/// A response with what `answer` makes of each partition, in the order of the request.
fn each_partition<A: IntoIterator<Item = PartitionProduceResponse>>(
    request: &ProduceRequest,
    mut answer: impl FnMut(&TopicProduceData, &PartitionProduceData) -> A,
) -> ProduceResponse {
    let mut topics = Vec::new();
    for topic in &request.topic_data {
        let partitions = topic.partition_data.iter().flat_map(|data| answer(topic, data)).collect();
        topics.push(
            TopicProduceResponse::default()
                .with_name(topic.name.clone())
                .with_topic_id(topic.topic_id)
                .with_partition_responses(partitions),
        );
    }
    ProduceResponse::default().with_responses(topics)
}

fn refused(index: i32, refusal: &Refusal) -> PartitionProduceResponse {
    let message = StrBytes::from_string(refusal.message.clone());
    let at_fault = |record| {
        BatchIndexAndErrorMessage::default()
            .with_batch_index(record)
            .with_batch_index_error_message(Some(message.clone()))
    };
    PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(refusal.code.0)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_record_errors(refusal.record.map(at_fault).into_iter().collect())
        .with_error_message(Some(message))
}

fn current_leader(
    topic: TopicRef<'_>,
    partition: i32,
    scope: &Scope<'_>,
) -> Option<LeaderIdAndEpoch> {
    let cluster = &scope.state.cluster;
    let partition = cluster.partition(topic, partition).ok()?;
    let leader = cluster.reachable_leader(partition)?;
    Some(
        LeaderIdAndEpoch::default()
            .with_leader_id(BrokerId(leader))
            .with_leader_epoch(partition.leader_epoch),
    )
}

fn endpoint(node: BrokerId, scope: &Scope<'_>) -> Option<NodeEndpoint> {
    let endpoint = scope.state.cluster.endpoint(node.0)?;
    Some(
        NodeEndpoint::default()
            .with_node_id(node)
            .with_host(StrBytes::from_string(endpoint.host.clone()))
            .with_port(i32::from(endpoint.port)),
    )
}

fn topic_ref(topic: &TopicProduceData, version: i16) -> TopicRef<'_> {
    if version >= IDS_SINCE { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(&topic.name) }
}
