//! The first words on a connection: which versions both sides speak, then the login, if there is one.
//!
//! ApiVersions comes first on every connection, not once per broker: the broker may have been
//! upgraded since, or rolled back. One that does not know our version of it says so in version 0,
//! with or without its own list; what we try next only ever goes down, so the talk ends.
//!
//! Sources: KIP-35, KIP-511; Redpanda answers with its full list at once.

use super::login::{Login, LoginError, Progress};
use super::versions::{NoCommonVersion, Versions};
use crate::protocol::messages::api_versions::{self, ApiVersionsResponse};
use crate::protocol::messages::{ApiKey, RequestHeader};
use crate::protocol::{DecodeError, ErrorCode};
use crate::sasl::{Derivation, SaltedPassword};
use bytes::Bytes;
use std::time::Duration;

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Handshake {
    phase: Phase,
    /// What follows when the versions are known.
    login: Option<Login>,
}

#[derive(Debug)]
enum Phase {
    /// An ApiVersions request of this version is out.
    Versions { tried: i16 },
    /// The login goes on.
    Login { versions: Versions, login: Login },
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// Another request.
    Ask,
    /// A key, for [`Handshake::derived`].
    Derive(Derivation),
    /// The connection is ready for use. The login is good for so long; for ever, if `None`.
    Ready(Versions, Option<Duration>),
}

/// A peer that cannot be talked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HandshakeError {
    #[error("the answer to ApiVersions makes no sense: {0}")]
    Decode(#[from] DecodeError),
    #[error("the broker answered ApiVersions with {0}")]
    Refused(ErrorCode),
    #[error(transparent)]
    NoCommonVersion(#[from] NoCommonVersion),
    #[error(transparent)]
    Login(#[from] LoginError),
}

impl Handshake {
    pub(super) const fn new(login: Option<Login>) -> Self {
        Self { phase: Phase::Versions { tried: *api_versions::VERSIONS.end() }, login }
    }

    /// A handshake that begins with the version that every broker knows: some hang up on a newer
    /// one instead of refusing it.
    pub(super) const fn humble(login: Option<Login>) -> Self {
        Self { phase: Phase::Versions { tried: 0 }, login }
    }

    /// Whether the first part of it is over.
    pub(super) const fn knows_versions(&self) -> bool {
        matches!(self.phase, Phase::Login { .. })
    }

    /// What the broker speaks, when the login is what is left.
    pub(super) const fn versions(&self) -> Option<Versions> {
        match &self.phase {
            Phase::Versions { .. } => None,
            Phase::Login { versions, .. } => Some(*versions),
        }
    }

    /// The API and the version of the request that is due.
    pub(super) fn next(&self) -> Result<(ApiKey, i16), HandshakeError> {
        match &self.phase {
            Phase::Versions { tried } => Ok((ApiKey::ApiVersions, *tried)),
            Phase::Login { versions, login } => Ok(login.next(versions)?),
        }
    }

    /// The request that is due, under a header for what [`next`](Self::next) says. `None` while a
    /// key is waited for.
    pub(super) fn request(&self, header: RequestHeader<'_>) -> Option<Vec<Bytes>> {
        match &self.phase {
            Phase::Versions { .. } => Some(api_versions::request(header)),
            Phase::Login { login, .. } => login.request(header),
        }
    }

    /// Takes in the body of the answer to a request of this version.
    pub(super) fn answered(&mut self, version: i16, body: &Bytes) -> Result<Step, HandshakeError> {
        match &mut self.phase {
            Phase::Versions { tried } => {
                debug_assert_eq!(*tried, version, "one request at a time");
                self.on_versions(version, body)
            }
            Phase::Login { versions, login } => Ok(match login.answered(version, body)? {
                Progress::Ask => Step::Ask,
                Progress::Derive(derivation) => Step::Derive(derivation),
                Progress::Done(lifetime) => Step::Ready(*versions, lifetime),
            }),
        }
    }

    fn on_versions(&mut self, tried: i16, body: &Bytes) -> Result<Step, HandshakeError> {
        let answer = ApiVersionsResponse::decode(tried, body)?;
        let offered = answer.ranges.iter().find(|(key, _)| *key == ApiKey::ApiVersions as i16);
        match answer.error {
            ErrorCode::NONE => self.on_common(answer),
            // A list of everything needs no second question.
            ErrorCode::UNSUPPORTED_VERSION if answer.ranges.len() > 1 => self.on_common(answer),
            ErrorCode::UNSUPPORTED_VERSION | ErrorCode::INVALID_REQUEST if tried > 0 => {
                let lower = offered.map_or(0, |(_, range)| *range.end());
                if lower >= tried || lower < 0 {
                    return Err(HandshakeError::Refused(answer.error));
                }
                self.phase = Phase::Versions { tried: lower };
                Ok(Step::Ask)
            }
            code => Err(HandshakeError::Refused(code)),
        }
    }

    fn on_common(&mut self, answer: ApiVersionsResponse) -> Result<Step, HandshakeError> {
        let versions = Versions::new(answer.ranges)?;
        match self.login.take() {
            Some(login) => {
                self.phase = Phase::Login { versions, login };
                Ok(Step::Ask)
            }
            None => Ok(Step::Ready(versions, None)),
        }
    }

    /// Takes in the key that was asked for: there is a request again.
    pub(super) fn derived(&mut self, salted: &SaltedPassword) -> Result<(), HandshakeError> {
        match &mut self.phase {
            Phase::Versions { .. } => Err(LoginError::OutOfOrder.into()),
            Phase::Login { login, .. } => Ok(login.derived(salted)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::api_versions_response::ApiVersion;
    use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse as TheirResponse};
    use kafka_protocol::protocol::{Decodable, Encodable, decode_request_header_from_buffer};

    /// Metadata and Produce, and ApiVersions up to `max`.
    fn everything(max: i16) -> Vec<(i16, i16, i16)> {
        vec![(0, 0, 7), (3, 0, 8), (18, 0, max), (77, 1, 2)]
    }

    /// An answer in `version`.
    fn answer(version: i16, code: ErrorCode, ranges: &[(i16, i16, i16)]) -> Bytes {
        let range = |(key, min, max): &(i16, i16, i16)| {
            let range = ApiVersion::default().with_api_key(*key);
            range.with_min_version(*min).with_max_version(*max)
        };
        let response = TheirResponse::default()
            .with_error_code(code.0)
            .with_api_keys(ranges.iter().map(range).collect());
        let mut body = Vec::new();
        response.encode(&mut body, version).unwrap();
        body.into()
    }

    /// The version that is asked with.
    fn asked(handshake: &Handshake) -> i16 {
        let (api, version) = handshake.next().unwrap();
        let header = RequestHeader { api, version, correlation_id: 5, client_id: "me" };
        let mut frame = Bytes::from(handshake.request(header).unwrap().concat()).slice(4..);
        let header = decode_request_header_from_buffer(&mut frame).unwrap();
        assert_eq!((header.request_api_key, header.correlation_id), (18, 5));
        let request = ApiVersionsRequest::decode(&mut frame, header.request_api_version).unwrap();
        let named = header.request_api_version >= 3;
        assert_eq!(request.client_software_name.as_str(), if named { "ottla" } else { "" });
        header.request_api_version
    }

    fn answered(handshake: &mut Handshake, body: &Bytes) -> Result<Step, HandshakeError> {
        let (_, version) = handshake.next().unwrap();
        handshake.answered(version, body)
    }

    fn versions(step: Step) -> Versions {
        match step {
            Step::Ready(versions, _) => versions,
            other => panic!("{other:?}"),
        }
    }

    const UNSUPPORTED: ErrorCode = ErrorCode::UNSUPPORTED_VERSION;

    #[test]
    fn a_broker_that_knows_our_version_is_asked_once() {
        let mut handshake = Handshake::new(None);
        let version = asked(&handshake);
        assert_eq!(version, 4);
        let body = answer(version, ErrorCode::NONE, &everything(4));
        let versions = versions(answered(&mut handshake, &body).unwrap());
        assert_eq!(versions.choose(ApiKey::Produce), Some(7));
        assert_eq!(versions.choose(ApiKey::Metadata), Some(8));
        assert_eq!(versions.choose(ApiKey::InitProducerId), None);
    }

    #[test]
    fn a_full_list_beside_the_refusal_needs_no_second_question() {
        let mut handshake = Handshake::new(None);
        let body = answer(0, UNSUPPORTED, &everything(3));
        let versions = versions(answered(&mut handshake, &body).unwrap());
        assert_eq!(versions.choose(ApiKey::Produce), Some(7));
    }

    #[test]
    fn a_broker_that_lists_only_api_versions_is_asked_again_in_its_version() {
        let mut handshake = Handshake::new(None);
        let step = answered(&mut handshake, &answer(0, UNSUPPORTED, &[(18, 0, 2)])).unwrap();
        assert!(matches!(step, Step::Ask));
        assert_eq!(asked(&handshake), 2);
        let body = answer(2, ErrorCode::NONE, &everything(2));
        versions(answered(&mut handshake, &body).unwrap());
    }

    #[test]
    fn a_broker_that_lists_nothing_is_asked_again_in_version_0() {
        let mut handshake = Handshake::new(None);
        assert!(matches!(answered(&mut handshake, &answer(0, UNSUPPORTED, &[])), Ok(Step::Ask)));
        assert_eq!(asked(&handshake), 0);
        versions(answered(&mut handshake, &answer(0, ErrorCode::NONE, &everything(0))).unwrap());
    }

    #[test]
    fn a_broker_that_dislikes_our_name_is_asked_again_without_it() {
        let mut handshake = Handshake::new(None);
        let body = answer(4, ErrorCode::INVALID_REQUEST, &[]);
        assert!(matches!(answered(&mut handshake, &body), Ok(Step::Ask)));
        assert_eq!(asked(&handshake), 0);
    }

    #[test]
    fn the_talk_ends_whatever_the_broker_says() {
        let lists =
            [&[][..], &[(18, 0, 4)], &[(18, 0, 3)], &[(18, 0, 1)], &[(18, 0, -1)], &[(3, 0, 9)]];
        for first in lists {
            for second in lists {
                let mut handshake = Handshake::new(None);
                let mut tried = asked(&handshake) + 1;
                let mut answers = [first, second].into_iter().cycle();
                loop {
                    assert!(asked(&handshake) < tried, "each question is lower than the last");
                    tried = asked(&handshake);
                    let body = answer(0, UNSUPPORTED, answers.next().unwrap());
                    match answered(&mut handshake, &body) {
                        Ok(Step::Ask) => {}
                        Ok(other) => panic!("{other:?}: nothing was offered"),
                        Err(error) => {
                            assert!(matches!(error, HandshakeError::Refused(UNSUPPORTED)));
                            break;
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_refusal_of_version_0_and_other_errors_are_final() {
        let mut handshake = Handshake::humble(None);
        let error = answered(&mut handshake, &answer(0, UNSUPPORTED, &[])).unwrap_err();
        assert!(matches!(error, HandshakeError::Refused(UNSUPPORTED)));
        let mut handshake = Handshake::new(None);
        let body = answer(4, ErrorCode::CLUSTER_AUTHORIZATION_FAILED, &[]);
        let error = answered(&mut handshake, &body).unwrap_err();
        assert!(error.to_string().contains("CLUSTER_AUTHORIZATION_FAILED"), "{error}");
        let error =
            answered(&mut Handshake::new(None), &Bytes::from_static(b"HTTP/1.1")).unwrap_err();
        assert!(matches!(error, HandshakeError::Decode(_)));
    }
}
