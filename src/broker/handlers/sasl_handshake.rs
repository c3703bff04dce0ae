//! SaslHandshake, key 17: which mechanism a login will use.
//!
//! v1 the login follows as SaslAuthenticate. v0, after which it would follow without frames, is
//! advertised as Kafka does, and not served. A mechanism that is not offered is answered with those
//! that are, and the connection is closed. Who needs no login, or has one without an end, is told so.

use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::State;
use crate::broker::security::Mechanism;
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

impl Serve for SaslHandshakeRequest {
    const SHAPE: Shape = Shape {
        versions: 1..=1,
        flexible_from: i16::MAX,
        fields: &[Field::since(0, Layout::Text)],
    };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<SaslHandshakeResponse> {
        let State { sasl: Some(sasl), faults, .. } = &mut *scope.state else {
            return Outcome::Answer(self.refuse(scope, ErrorCode::ILLEGAL_SASL_STATE));
        };
        if !scope.door.may_ask() {
            return Outcome::Answer(self.refuse(scope, ErrorCode::ILLEGAL_SASL_STATE));
        }
        // Brokers know the names in capitals only.
        let offered = sasl.mechanisms.iter().find(|offered| offered.name() == &*self.mechanism);
        let Some(name) = offered.copied() else {
            let refusal = self.refuse(scope, ErrorCode::UNSUPPORTED_SASL_MECHANISM);
            return Outcome::AnswerAndClose(refusal);
        };
        let is_strict = scope.profile.compares_nonces();
        let mechanism = Mechanism::new(name, sasl.users.clone(), is_strict);
        scope.door.ask(mechanism, faults.take_login());
        Outcome::Answer(self.refuse(scope, ErrorCode::NONE))
    }

    fn refuse(&self, scope: &Scope<'_>, code: ErrorCode) -> SaslHandshakeResponse {
        let offered = scope.state.sasl.iter().flat_map(|sasl| &sasl.mechanisms);
        let offered = offered.map(|mechanism| StrBytes::from_static_str(mechanism.name()));
        SaslHandshakeResponse::default().with_error_code(code.0).with_mechanisms(offered.collect())
    }
}
