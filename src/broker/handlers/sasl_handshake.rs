//! SaslHandshake, key 17: which mechanism a login will use.
//!
//! v1 the login follows as SaslAuthenticate. v0, after which it would follow without frames, is
//! advertised as Kafka does, and not served. A mechanism that is not offered is answered with those
//! that are, and the connection goes on.

use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::security::Mechanism;
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::sasl::SaslMechanism;

impl Serve for SaslHandshakeRequest {
    const SHAPE: Shape = Shape {
        versions: 1..=1,
        flexible_from: i16::MAX,
        fields: &[Field::since(0, Layout::Text)],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<SaslHandshakeResponse> {
        let Some(sasl) = &scope.state.sasl else {
            return Outcome::Answer(self.refuse(scope, ErrorCode::ILLEGAL_SASL_STATE));
        };
        let wanted = SaslMechanism::ALL.into_iter().find(|it| it.name() == &*self.mechanism);
        let code = match wanted.filter(|wanted| sasl.mechanisms.contains(wanted)) {
            Some(mechanism) => {
                scope.door.ask(Mechanism::new(mechanism, sasl.users.clone()));
                ErrorCode::NONE
            }
            None => ErrorCode::UNSUPPORTED_SASL_MECHANISM,
        };
        Outcome::Answer(self.refuse(scope, code))
    }

    fn refuse(&self, scope: &Scope<'_>, code: ErrorCode) -> SaslHandshakeResponse {
        let offered = scope.state.sasl.iter().flat_map(|sasl| &sasl.mechanisms);
        let offered = offered.map(|mechanism| StrBytes::from_static_str(mechanism.name()));
        SaslHandshakeResponse::default().with_error_code(code.0).with_mechanisms(offered.collect())
    }
}
