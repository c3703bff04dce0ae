//! The door of a broker that wants a login: PLAIN, for a while or for ever.
//!
//! Says of each request whether it may pass, as Kafka does: nothing but the login before there is
//! one, and nothing but a new one when it is over.

use super::broker::{Body, Call, Reply, answer};
use crate::producer::engine::ConnectionId;
use crate::protocol::ErrorCode;
use bytes::Bytes;
use kafka_protocol::messages::{SaslAuthenticateResponse, SaslHandshakeResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) struct Guard {
    /// How long a login is good for; zero for ever.
    pub(super) lifetime: Duration,
    pub(super) mechanisms: Vec<&'static str>,
    /// What PLAIN has to say.
    pub(super) password: &'static str,
    /// What a mechanism other than PLAIN is answered first.
    pub(super) challenge: String,
    /// Logins that are refused from now on, whoever comes.
    pub(super) refused: u32,
    /// Whether the door ends the connection where it should answer.
    pub(super) slams: bool,
    /// Logins let in, and those of them that renewed one.
    pub(super) logins: usize,
    pub(super) renewals: usize,
    /// Requests that came without a login, or when it was over.
    pub(super) trespassers: usize,
    doors: BTreeMap<ConnectionId, Door>,
}

#[derive(Default)]
struct Door {
    proposed: Option<String>,
    /// When the login ends, once there is one.
    open_until: Option<Option<Duration>>,
}

impl Guard {
    pub(super) fn new(lifetime: Duration) -> Self {
        Self {
            lifetime,
            mechanisms: vec!["PLAIN"],
            password: "pencil",
            challenge: String::new(),
            refused: 0,
            slams: false,
            logins: 0,
            renewals: 0,
            trespassers: 0,
            doors: BTreeMap::new(),
        }
    }

    /// What is done about a request, if it may not pass.
    pub(super) fn stop(
        &mut self,
        elapsed: Duration,
        connection: ConnectionId,
        call: &Call,
    ) -> Option<Reply> {
        let door = self.doors.entry(connection).or_default();
        match &call.body {
            Body::ApiVersions => None,
            Body::SaslHandshake(mechanism) => {
                door.proposed = Some(mechanism.clone());
                Some(self.propose(call, mechanism))
            }
            Body::SaslAuthenticate(message) => {
                let Some(proposed) = door.proposed.clone() else { return Some(Reply::Close) };
                Some(self.authenticate(elapsed, connection, call, (&proposed, message)))
            }
            _ => match door.open_until {
                Some(until) if until.is_none_or(|until| elapsed < until) => None,
                _ => {
                    self.trespassers += 1;
                    Some(Reply::Close)
                }
            },
        }
    }

    fn propose(&self, call: &Call, mechanism: &str) -> Reply {
        let known = self.mechanisms.contains(&mechanism);
        let code = if known { ErrorCode::NONE } else { ErrorCode::UNSUPPORTED_SASL_MECHANISM };
        let names = self.mechanisms.iter().map(|name| StrBytes::from_static_str(name)).collect();
        let response = SaslHandshakeResponse::default().with_mechanisms(names);
        answer(call, &response.with_error_code(code.0))
    }

    fn authenticate(
        &mut self,
        elapsed: Duration,
        connection: ConnectionId,
        call: &Call,
        (mechanism, message): (&str, &[u8]),
    ) -> Reply {
        if self.slams {
            return Reply::Close;
        }
        let response = SaslAuthenticateResponse::default();
        if mechanism != "PLAIN" {
            return answer(call, &response.with_auth_bytes(self.challenge.clone().into()));
        }
        if self.refused > 0 || !message.ends_with(self.password.as_bytes()) {
            self.refused = self.refused.saturating_sub(1);
            let response = response
                .with_error_code(ErrorCode::SASL_AUTHENTICATION_FAILED.0)
                .with_error_message(Some(StrBytes::from_static_str("who are you?")));
            let Reply::Answer(frame) = answer(call, &response) else { unreachable!() };
            return Reply::AnswerAndClose(frame);
        }
        let until = (!self.lifetime.is_zero()).then(|| elapsed + self.lifetime);
        let door = self.doors.entry(connection).or_default();
        self.logins += 1;
        self.renewals += usize::from(door.open_until.is_some());
        door.open_until = Some(until);
        let lifetime = i64::try_from(self.lifetime.as_millis()).unwrap();
        let lifetime = if call.version >= 1 { lifetime } else { 0 };
        answer(call, &response.with_auth_bytes(Bytes::new()).with_session_lifetime_ms(lifetime))
    }
}
