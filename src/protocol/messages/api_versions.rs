//! ApiVersions: which APIs a broker serves, and in which versions.
//!
//! The first request on every connection. A broker that does not know the request's version answers
//! in version 0 with error UNSUPPORTED_VERSION (KIP-511), listing nothing, its versions of this API,
//! or, as Redpanda does, all that it serves. Which version to try next is decided in
//! `producer::handshake`.
//!
//! | version | change |
//! |---|---|
//! | 0 | |
//! | 1 | throttle time |
//! | 2 | the client, not the broker, waits out a throttle |
//! | 3 | flexible, all but the response's header; name and version of the client; features |
//! | 4 | features that start at version 0 |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_ApiVersions>.

use super::{RequestHeader, decode_control, encode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::wire::{DecodeError, Reader};
use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse as TheirResponse};
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 0..=4;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 3;

const SOFTWARE_NAME: &str = env!("CARGO_PKG_NAME");
const SOFTWARE_VERSION: &str = env!("CARGO_PKG_VERSION");

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(0, Layout::Fixed(2)), // error
        Field::since(
            0,
            Layout::Array(&[
                Field::since(0, Layout::Fixed(2)), // api key
                Field::since(0, Layout::Fixed(2)), // first version
                Field::since(0, Layout::Fixed(2)), // last version
            ]),
        ),
        Field::since(1, Layout::Fixed(4)), // throttle time
        Field::tagged(3, 0, Layout::Array(FEATURE)), // supported features
        Field::tagged(3, 1, Layout::Fixed(8)), // epoch of the finalized features
        Field::tagged(3, 2, Layout::Array(FEATURE)), // finalized features
        Field::tagged(3, 3, Layout::Fixed(1)), // ready to leave ZooKeeper
    ],
};

const FEATURE: &[Field] = &[
    Field::since(3, Layout::Text),     // name
    Field::since(3, Layout::Fixed(2)), // a version
    Field::since(3, Layout::Fixed(2)), // another
];

/// Asks for the broker's versions, and says who asks from version 3 on.
pub(crate) fn request(header: RequestHeader<'_>) -> Vec<Bytes> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(sanitized(SOFTWARE_NAME).into())
        .with_client_software_version(sanitized(SOFTWARE_VERSION).into());
    encode_control(header, &request)
}

/// `text` as KIP-511 wants it: letters, digits, `-` and `.`, the ends letters or digits. A broker
/// refuses the request otherwise, and a version may well carry a `+`.
fn sanitized(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let replaced: String = text.chars().map(allowed).collect();
    match replaced.trim_matches(['-', '.']) {
        "" => "unknown".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// What a broker serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiVersionsResponse {
    /// UNSUPPORTED_VERSION when the request's version was none of the broker's.
    pub(crate) error: ErrorCode,
    /// API keys with their versions, as listed, with APIs that ottla has no use for. A range may be
    /// empty: nothing is served then.
    pub(crate) ranges: Vec<(i16, RangeInclusive<i16>)>,
}

impl ApiVersionsResponse {
    /// Decodes the answer to a request of version `tried`.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is neither a response of that version nor a refusal in version 0.
    pub(crate) fn decode(tried: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let error = ErrorCode(Reader::new(body).i16("error code")?);
        let refused = error == ErrorCode::UNSUPPORTED_VERSION;
        let version = if refused { *VERSIONS.start() } else { tried };
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        let ranges = theirs.api_keys.iter();
        let ranges = ranges.map(|api| (api.api_key, api.min_version..=api.max_version)).collect();
        Ok(Self { error, ranges })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;
    use kafka_protocol::messages::api_versions_response::{
        ApiVersion, FinalizedFeatureKey, SupportedFeatureKey,
    };

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        for version in VERSIONS {
            let header = oracle::header(ApiKey::ApiVersions, version);
            let theirs: ApiVersionsRequest = oracle::read_request(header, &request(header));
            let (name, software_version) =
                if version >= 3 { ("ottla", env!("CARGO_PKG_VERSION")) } else { ("", "") };
            assert_eq!(theirs.client_software_name.as_str(), name);
            assert_eq!(theirs.client_software_version.as_str(), software_version);
        }
    }

    #[test]
    fn software_names_are_made_acceptable() {
        for (text, expected) in [
            ("ottla", "ottla"),
            ("1.0.0-rc.1+build_7", "1.0.0-rc.1-build-7"),
            (".-ottla é-.", "ottla"),
            ("é", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(sanitized(text), expected);
        }
    }

    fn their_response(version: i16, error: i16) -> TheirResponse {
        let api = |key: i16, min: i16, max: i16| {
            ApiVersion::default()
                .with_api_key(key)
                .with_min_version(min)
                .with_max_version(max)
                .with_unknown_tagged_fields(oracle::tags())
        };
        let theirs = TheirResponse::default()
            .with_error_code(error)
            .with_api_keys(vec![api(0, 3, 7), api(3, 0, 99), api(18, 0, 3), api(19, 9, 9)])
            .with_throttle_time_ms(9)
            .with_unknown_tagged_fields(oracle::tags());
        if version < FLEXIBLE_FROM {
            return theirs;
        }
        let supported = SupportedFeatureKey::default()
            .with_name("transaction.version".into())
            .with_max_version(2)
            .with_unknown_tagged_fields(oracle::tags());
        let finalized = FinalizedFeatureKey::default()
            .with_name("transaction.version".into())
            .with_max_version_level(2)
            .with_unknown_tagged_fields(oracle::tags());
        theirs
            .with_supported_features(vec![supported.clone(), supported])
            .with_finalized_features_epoch(4)
            .with_finalized_features(vec![finalized.clone(), finalized])
            .with_zk_migration_ready(true)
    }

    fn ranges() -> Vec<(i16, RangeInclusive<i16>)> {
        vec![(0, 3..=7), (3, 0..=99), (18, 0..=3), (19, 9..=9)]
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(version, 0), version);
            let ours = ApiVersionsResponse::decode(version, &body).unwrap();
            assert_eq!(ours, ApiVersionsResponse { error: ErrorCode::NONE, ranges: ranges() });
        }
    }

    #[test]
    fn a_refusal_is_read_in_version_0_whatever_was_tried_and_keeps_its_list() {
        let error = ErrorCode::UNSUPPORTED_VERSION;
        let full = oracle::write(&their_response(0, error.0), 0);
        let bare = oracle::write(&TheirResponse::default().with_error_code(error.0), 0);
        for tried in VERSIONS {
            let ours = ApiVersionsResponse::decode(tried, &full).unwrap();
            assert_eq!(ours, ApiVersionsResponse { error, ranges: ranges() });
            let ours = ApiVersionsResponse::decode(tried, &bare).unwrap();
            assert_eq!(ours, ApiVersionsResponse { error, ranges: Vec::new() });
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| ApiVersionsResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(version, 0), version), decode);
            decode(&oracle::huge_count(2, version >= FLEXIBLE_FROM)).unwrap_err();
        }
        oracle::survive_noise(VERSIONS, ApiVersionsResponse::decode);
    }
}
