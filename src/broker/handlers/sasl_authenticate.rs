//! SaslAuthenticate, key 36: a message of a login.
//!
//! v1 how long the login is good for (KIP-368); v2 flexible. A refusal is answered in Kafka's
//! words, and ends the connection.

use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::security::Said;
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};

/// First version that tells how long a login is good for.
const LIFETIME_SINCE: i16 = 1;

impl Serve for SaslAuthenticateRequest {
    const SHAPE: Shape =
        Shape { versions: 0..=2, flexible_from: 2, fields: &[Field::since(0, Layout::Bytes)] };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<SaslAuthenticateResponse> {
        let (Some(sasl), Some(said)) = (&mut scope.state.sasl, scope.door.hear(&self.auth_bytes))
        else {
            let refusal = self.refuse(scope, ErrorCode::ILLEGAL_SASL_STATE);
            return Outcome::Answer(refusal.with_error_message(Some(StrBytes::from_static_str(
                "SaslAuthenticate request received after successful authentication",
            ))));
        };
        match said {
            Said::Challenge(challenge) => Outcome::Answer(
                SaslAuthenticateResponse::default().with_auth_bytes(challenge.into()),
            ),
            Said::Welcome { user, last } => {
                sasl.logins += 1;
                sasl.renewals += u64::from(scope.door.is_open());
                let lifetime = sasl.session_lifetime;
                scope.door.open(user, lifetime);
                let told = if scope.version < LIFETIME_SINCE { 0 } else { lifetime.as_millis() };
                let response = SaslAuthenticateResponse::default().with_auth_bytes(last.into());
                let told = i64::try_from(told).unwrap_or(i64::MAX);
                Outcome::Answer(response.with_session_lifetime_ms(told))
            }
            Said::Refused(words) => {
                let refusal = self.refuse(scope, ErrorCode::SASL_AUTHENTICATION_FAILED);
                let words = Some(StrBytes::from_string(words));
                Outcome::AnswerAndClose(refusal.with_error_message(words))
            }
        }
    }

    fn refuse(&self, _: &Scope<'_>, code: ErrorCode) -> SaslAuthenticateResponse {
        SaslAuthenticateResponse::default().with_error_code(code.0)
    }
}
