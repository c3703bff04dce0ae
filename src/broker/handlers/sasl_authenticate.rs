//! SaslAuthenticate, key 36: a message of a login.
//!
//! v1 how long the login is good for (KIP-368); v2 flexible. A refusal is answered in Kafka's
//! words, and ends the connection.

use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Outcome, Scope, Serve};
use crate::broker::security::Said;
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::sasl::SaslMechanism;

impl Serve for SaslAuthenticateRequest {
    const SHAPE: Shape =
        Shape { versions: 0..=2, flexible_from: 2, fields: &[Field::since(0, Layout::Bytes)] };

    fn serve(&self, scope: &mut Scope<'_>) -> Outcome<SaslAuthenticateResponse> {
        let (Some(sasl), Some(login)) = (&mut scope.state.sasl, scope.door.asked_mut()) else {
            return Outcome::Close;
        };
        let mechanism = login.name();
        let said = match sasl.refusals.checked_sub(1) {
            Some(left) => {
                sasl.refusals = left;
                Said::Refused
            }
            None => login.respond(&self.auth_bytes),
        };
        let response = SaslAuthenticateResponse::default();
        match said {
            Said::Challenge(challenge) => {
                Outcome::Answer(response.with_auth_bytes(challenge.into()))
            }
            Said::Welcome(last) => {
                let lifetime = sasl.session_lifetime;
                sasl.logins += 1;
                scope.door.open(lifetime);
                let lifetime = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
                let lifetime = if scope.version >= 1 { lifetime } else { 0 };
                let response = response.with_auth_bytes(Bytes::from(last));
                Outcome::Answer(response.with_session_lifetime_ms(lifetime))
            }
            Said::Refused => {
                let words = match mechanism {
                    SaslMechanism::Plain => "Authentication failed: Invalid username or password",
                    SaslMechanism::ScramSha256 => {
                        "Authentication failed during authentication due to invalid credentials \
                         with SASL mechanism SCRAM-SHA-256"
                    }
                    SaslMechanism::ScramSha512 => {
                        "Authentication failed during authentication due to invalid credentials \
                         with SASL mechanism SCRAM-SHA-512"
                    }
                };
                let refusal = self.refuse(scope, ErrorCode::SASL_AUTHENTICATION_FAILED);
                let words = Some(StrBytes::from_static_str(words));
                Outcome::AnswerAndClose(refusal.with_error_message(words))
            }
        }
    }

    fn refuse(&self, _: &Scope<'_>, code: ErrorCode) -> SaslAuthenticateResponse {
        SaslAuthenticateResponse::default().with_error_code(code.0)
    }
}
