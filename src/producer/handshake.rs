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
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

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

/// What a broker speaks.
#[derive(Debug, Clone)]
pub(super) struct Versions {
    ranges: BTreeMap<i16, RangeInclusive<i16>>,
}

impl Versions {
    fn new(answer: ApiVersionsResponse) -> Result<Self, HandshakeError> {
        let versions = Self { ranges: answer.ranges.into_iter().collect() };
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
        let theirs = self.ranges.get(&(api as i16))?;
        let ours = api.versions();
        let version = (*theirs.end()).min(*ours.end()).min(cap);
        (version >= *ours.start() && version >= *theirs.start()).then_some(version)
    }
}
