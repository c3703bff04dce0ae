//! InitProducerId, key 22: the identity of an idempotent producer.
//!
//! v2 flexible; v3 the producer may name its current id and epoch (KIP-360), which without a
//! transaction changes nothing: it is given a new id, as Kafka does; v4 PRODUCER_FENCED; v5
//! TRANSACTION_ABORTABLE. Transactions are not served, and a client is told so at once.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use super::{Outcome, Scope, Serve};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

impl Serve for InitProducerIdRequest {
    const SHAPE: Shape = Shape {
        versions: 0..=5,
        flexible_from: 2,
        fields: &[
            Field::since(0, Layout::Text),
            Field::since(0, Layout::Fixed(4)),
            Field::since(3, Layout::Fixed(8)),
            Field::since(3, Layout::Fixed(2)),
        ],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<InitProducerIdResponse> {
        let code = match self.transactional_id.as_deref() {
            None if scope.state.faults.is_cluster_denied => ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
            None => {
                let id = ProducerId(scope.state.cluster.take_producer_id());
                return Outcome::Answer(
                    InitProducerIdResponse::default().with_producer_id(id).with_producer_epoch(0),
                );
            }
            Some(id) if id.is_empty() => ErrorCode::INVALID_REQUEST,
            Some(_) => ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        };
        Outcome::Answer(self.refuse(scope, code))
    }

    fn refuse(&self, _: &Scope<'_>, code: ErrorCode) -> InitProducerIdResponse {
        InitProducerIdResponse::default()
            .with_error_code(code.0)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    }
}
