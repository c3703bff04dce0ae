//! The first words on a connection: which versions both sides speak.
//!
//! ApiVersions comes first on every connection, not once per broker: the broker may have been
//! upgraded since, or rolled back. One that does not know our version of it says so in version 0,
//! with or without its own list; what we try next only ever goes down, so the talk ends.
//!
//! Sources: KIP-35, KIP-511; Redpanda answers with its full list at once.

use crate::protocol::messages::api_versions::{self, ApiVersionsResponse};
use crate::protocol::messages::{ApiKey, RequestHeader};
use crate::protocol::{DecodeError, ErrorCode};
use bytes::Bytes;

/// A handshake under way.
#[derive(Debug)]
pub(super) struct Handshake {
    /// Version of the ApiVersions request that is out.
    tried: i16,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// Another request.
    Ask,
    /// The connection is ready for use.
    Ready(Versions),
}

/// A peer that cannot be talked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum HandshakeError {
    #[error("the answer to ApiVersions makes no sense: {0}")]
    Decode(#[from] DecodeError),
    #[error("the broker answered ApiVersions with {0}")]
    Refused(ErrorCode),
    #[error("the broker speaks no version of {0} that ottla speaks")]
    NoCommonVersion(ApiKey),
}

impl Handshake {
    pub(super) const fn new() -> Self {
        Self { tried: *api_versions::VERSIONS.end() }
    }

    /// A handshake that begins with the version that every broker knows: some hang up on a newer
    /// one instead of refusing it.
    pub(super) const fn humble() -> Self {
        Self { tried: 0 }
    }

    /// The request to send now.
    pub(super) fn request(&self, correlation_id: i32, client_id: &str) -> Vec<Bytes> {
        let api = ApiKey::ApiVersions;
        api_versions::request(RequestHeader { api, version: self.tried, correlation_id, client_id })
    }

    /// Takes in the body of the answer.
    pub(super) fn answered(&mut self, body: &Bytes) -> Result<Step, HandshakeError> {
        let answer = ApiVersionsResponse::decode(self.tried, body)?;
        let offered = answer.ranges.iter().find(|(key, _)| *key == ApiKey::ApiVersions as i16);
        match answer.error {
            ErrorCode::NONE => Ok(Step::Ready(Versions::new(answer)?)),
            // A list of everything needs no second question.
            ErrorCode::UNSUPPORTED_VERSION if answer.ranges.len() > 1 => {
                Ok(Step::Ready(Versions::new(answer)?))
            }
            ErrorCode::UNSUPPORTED_VERSION | ErrorCode::INVALID_REQUEST if self.tried > 0 => {
                let lower = offered.map_or(0, |(_, range)| *range.end());
                if lower >= self.tried || lower < 0 {
                    return Err(HandshakeError::Refused(answer.error));
                }
                self.tried = lower;
                Ok(Step::Ask)
            }
            code => Err(HandshakeError::Refused(code)),
        }
    }
}

/// What a broker speaks, of what ottla calls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Versions {
    /// By place in [`ApiKey::ALL`].
    ranges: [Option<(i16, i16)>; ApiKey::ALL.len()],
}

impl Versions {
    fn new(answer: ApiVersionsResponse) -> Result<Self, HandshakeError> {
        let mut ranges = [None; ApiKey::ALL.len()];
        for (key, range) in answer.ranges {
            if let Some(place) = ApiKey::ALL.iter().position(|api| *api as i16 == key) {
                ranges[place] = Some((*range.start(), *range.end()));
            }
        }
        let versions = Self { ranges };
        for api in [ApiKey::Metadata, ApiKey::Produce] {
            versions.choose(api).ok_or(HandshakeError::NoCommonVersion(api))?;
        }
        Ok(versions)
    }

    /// The highest version of `api` that both sides speak.
    pub(super) fn choose(&self, api: ApiKey) -> Option<i16> {
        self.choose_within(api, i16::MAX)
    }

    /// The highest version of `api` that both sides speak and that is not above `cap`.
    pub(super) fn choose_within(&self, api: ApiKey, cap: i16) -> Option<i16> {
        let place = ApiKey::ALL.iter().position(|known| *known == api)?;
        let (theirs_min, theirs_max) = self.ranges[place]?;
        let ours = api.versions();
        let version = theirs_max.min(*ours.end()).min(cap);
        (version >= *ours.start() && version >= theirs_min).then_some(version)
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
        let mut frame = Bytes::from(handshake.request(5, "me").concat()).slice(4..);
        let header = decode_request_header_from_buffer(&mut frame).unwrap();
        assert_eq!((header.request_api_key, header.correlation_id), (18, 5));
        let request = ApiVersionsRequest::decode(&mut frame, header.request_api_version).unwrap();
        let named = header.request_api_version >= 3;
        assert_eq!(request.client_software_name.as_str(), if named { "ottla" } else { "" });
        header.request_api_version
    }

    fn versions(step: Step) -> Versions {
        match step {
            Step::Ready(versions) => versions,
            Step::Ask => panic!("another question"),
        }
    }

    const UNSUPPORTED: ErrorCode = ErrorCode::UNSUPPORTED_VERSION;

    #[test]
    fn a_broker_that_knows_our_version_is_asked_once() {
        let mut handshake = Handshake::new();
        let version = asked(&handshake);
        assert_eq!(version, 4);
        let body = answer(version, ErrorCode::NONE, &everything(4));
        let versions = versions(handshake.answered(&body).unwrap());
        assert_eq!(versions.choose(ApiKey::Produce), Some(7));
        assert_eq!(versions.choose(ApiKey::Metadata), Some(8));
        assert_eq!(versions.choose(ApiKey::InitProducerId), None);
    }

    #[test]
    fn a_full_list_beside_the_refusal_needs_no_second_question() {
        let mut handshake = Handshake::new();
        let body = answer(0, UNSUPPORTED, &everything(3));
        let versions = versions(handshake.answered(&body).unwrap());
        assert_eq!(versions.choose(ApiKey::Produce), Some(7));
    }

    #[test]
    fn a_broker_that_lists_only_api_versions_is_asked_again_in_its_version() {
        let mut handshake = Handshake::new();
        let step = handshake.answered(&answer(0, UNSUPPORTED, &[(18, 0, 2)])).unwrap();
        assert!(matches!(step, Step::Ask));
        assert_eq!(asked(&handshake), 2);
        let body = answer(2, ErrorCode::NONE, &everything(2));
        versions(handshake.answered(&body).unwrap());
    }

    #[test]
    fn a_broker_that_lists_nothing_is_asked_again_in_version_0() {
        let mut handshake = Handshake::new();
        assert!(matches!(handshake.answered(&answer(0, UNSUPPORTED, &[])), Ok(Step::Ask)));
        assert_eq!(asked(&handshake), 0);
        versions(handshake.answered(&answer(0, ErrorCode::NONE, &everything(0))).unwrap());
    }

    #[test]
    fn a_broker_that_dislikes_our_name_is_asked_again_without_it() {
        let mut handshake = Handshake::new();
        let body = answer(4, ErrorCode::INVALID_REQUEST, &[]);
        assert!(matches!(handshake.answered(&body), Ok(Step::Ask)));
        assert_eq!(asked(&handshake), 0);
    }

    #[test]
    fn the_talk_ends_whatever_the_broker_says() {
        let lists =
            [&[][..], &[(18, 0, 4)], &[(18, 0, 3)], &[(18, 0, 1)], &[(18, 0, -1)], &[(3, 0, 9)]];
        for first in lists {
            for second in lists {
                let mut handshake = Handshake::new();
                let mut tried = asked(&handshake) + 1;
                let mut answers = [first, second].into_iter().cycle();
                loop {
                    assert!(asked(&handshake) < tried, "each question is lower than the last");
                    tried = asked(&handshake);
                    let body = answer(0, UNSUPPORTED, answers.next().unwrap());
                    match handshake.answered(&body) {
                        Ok(Step::Ask) => {}
                        Ok(Step::Ready(_)) => panic!("nothing was offered"),
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
        let mut handshake = Handshake { tried: 0 };
        let error = handshake.answered(&answer(0, UNSUPPORTED, &[])).unwrap_err();
        assert!(matches!(error, HandshakeError::Refused(UNSUPPORTED)));
        let mut handshake = Handshake::new();
        let body = answer(4, ErrorCode::CLUSTER_AUTHORIZATION_FAILED, &[]);
        let error = handshake.answered(&body).unwrap_err();
        assert!(error.to_string().contains("CLUSTER_AUTHORIZATION_FAILED"), "{error}");
        let error = Handshake::new().answered(&Bytes::from_static(b"HTTP/1.1")).unwrap_err();
        assert!(matches!(error, HandshakeError::Decode(_)));
    }

    #[test]
    fn a_broker_without_a_version_in_common_is_named_with_the_api() {
        for (ranges, api) in [
            (vec![(0, 3, 9)], ApiKey::Metadata),
            (vec![(0, 0, 2), (3, 0, 9)], ApiKey::Produce),
            (vec![(0, 99, 100), (3, 0, 9)], ApiKey::Produce),
            (vec![(0, 7, 3), (3, 0, 9)], ApiKey::Produce),
        ] {
            let mut handshake = Handshake::new();
            let error = handshake.answered(&answer(4, ErrorCode::NONE, &ranges)).unwrap_err();
            assert!(
                matches!(error, HandshakeError::NoCommonVersion(missing) if missing == api),
                "{ranges:?}: {error}"
            );
        }
    }

    #[test]
    fn the_highest_common_version_is_chosen_within_a_cap() {
        let body = answer(4, ErrorCode::NONE, &[(0, 3, 99), (3, 2, 2)]);
        let versions = versions(Handshake::new().answered(&body).unwrap());
        assert_eq!(versions.choose(ApiKey::Produce), Some(13));
        assert_eq!(versions.choose_within(ApiKey::Produce, 12), Some(12));
        assert_eq!(versions.choose_within(ApiKey::Produce, 2), None);
        assert_eq!(versions.choose(ApiKey::Metadata), Some(2));
    }
}
