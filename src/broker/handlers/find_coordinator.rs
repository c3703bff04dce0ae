//! FindCoordinator, key 10.
//!
//! v1 key types; v3 flexible; v4 several keys at once (KIP-699). The node that leads the cluster
//! coordinates every group. Groups themselves are not served, but librdkafka compresses with lz4
//! only for a broker that knows this API.

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::cluster::{Endpoint, NO_LEADER};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

/// First version that asks for several keys.
const BATCHED_SINCE: i16 = 4;

/// Groups (0) and transactions (1).
const KEY_TYPES: std::ops::RangeInclusive<i8> = 0..=1;

impl Serve for FindCoordinatorRequest {
    const SHAPE: Shape = Shape {
        versions: 0..=6,
        flexible_from: 3,
        fields: &[
            Field::within(0, 3, Layout::Text),
            Field::since(1, Layout::Fixed(1)),
            Field::since(4, Layout::Values(&Layout::Text)),
        ],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<FindCoordinatorResponse> {
        if !KEY_TYPES.contains(&self.key_type) {
            return Outcome::Answer(self.refuse(scope, ErrorCode::INVALID_REQUEST));
        }
        let node = scope.state.cluster.running_nodes().next();
        let answer = match node {
            Some((id, endpoint)) => coordinated_by(self, scope.version, id, endpoint),
            None => self.refuse(scope, ErrorCode::COORDINATOR_NOT_AVAILABLE),
        };
        Outcome::Answer(answer)
    }

    fn refuse(&self, scope: &Scope<'_>, code: ErrorCode) -> FindCoordinatorResponse {
        if scope.version < BATCHED_SINCE {
            return FindCoordinatorResponse::default()
                .with_error_code(code.0)
                .with_node_id(BrokerId(NO_LEADER))
                .with_port(-1);
        }
        let refused = |key: &StrBytes| {
            Coordinator::default()
                .with_key(key.clone())
                .with_error_code(code.0)
                .with_node_id(BrokerId(NO_LEADER))
                .with_port(-1)
        };
        let coordinators = self.coordinator_keys.iter().map(refused).collect();
        FindCoordinatorResponse::default().with_coordinators(coordinators)
    }
}

fn coordinated_by(
    request: &FindCoordinatorRequest,
    version: i16,
    node: i32,
    at: &Endpoint,
) -> FindCoordinatorResponse {
    let host = StrBytes::from_string(at.host.clone());
    let port = i32::from(at.port);
    if version < BATCHED_SINCE {
        return FindCoordinatorResponse::default()
            .with_node_id(BrokerId(node))
            .with_host(host)
            .with_port(port);
    }
    let coordinator = |key: &StrBytes| {
        Coordinator::default()
            .with_key(key.clone())
            .with_node_id(BrokerId(node))
            .with_host(host.clone())
            .with_port(port)
    };
    let coordinators = request.coordinator_keys.iter().map(coordinator).collect();
    FindCoordinatorResponse::default().with_coordinators(coordinators)
}
