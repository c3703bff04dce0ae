//! SaslHandshake: which mechanism a login will use.
//!
//! Version 0, after which the login's messages travel without frames, is not spoken (KIP-152).
//!
//! | version | change |
//! |---|---|
//! | 1 | the login follows as SaslAuthenticate requests |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_SaslHandshake>.

use super::{RequestHeader, decode_control, encode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::wire::DecodeError;
use bytes::Bytes;
use kafka_protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse as TheirResponse};
use kafka_protocol::protocol::StrBytes;
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 1..=1;

/// No version is flexible.
pub(crate) const FLEXIBLE_FROM: i16 = i16::MAX;

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(0, Layout::Fixed(2)),              // error
        Field::since(0, Layout::Values(&Layout::Text)), // mechanisms
    ],
};

/// Asks for this mechanism.
pub(crate) fn request(header: RequestHeader<'_>, mechanism: &'static str) -> Vec<Bytes> {
    let mechanism = StrBytes::from_static_str(mechanism);
    encode_control(header, &SaslHandshakeRequest::default().with_mechanism(mechanism))
}

/// Whether the broker takes the mechanism, and what else it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaslHandshakeResponse {
    /// Why not, or none.
    pub(crate) error: ErrorCode,
    /// What the broker offers.
    pub(crate) mechanisms: Vec<String>,
}

impl SaslHandshakeResponse {
    /// Decodes the body of a response.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version.
    pub(crate) fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        Ok(Self {
            error: ErrorCode(theirs.error_code),
            mechanisms: theirs.mechanisms.iter().map(ToString::to_string).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        for version in VERSIONS {
            let header = oracle::header(ApiKey::SaslHandshake, version);
            let pieces = request(header, "SCRAM-SHA-256");
            let theirs: SaslHandshakeRequest = oracle::read_request(header, &pieces);
            assert_eq!(theirs.mechanism.as_str(), "SCRAM-SHA-256");
        }
    }

    fn their_response() -> TheirResponse {
        let mechanisms = ["PLAIN", "GSSAPI"].map(StrBytes::from_static_str).to_vec();
        TheirResponse::default().with_error_code(33).with_mechanisms(mechanisms)
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(), version);
            let expected = SaslHandshakeResponse {
                error: ErrorCode::UNSUPPORTED_SASL_MECHANISM,
                mechanisms: vec!["PLAIN".to_owned(), "GSSAPI".to_owned()],
            };
            assert_eq!(SaslHandshakeResponse::decode(version, &body), Ok(expected));
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| SaslHandshakeResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(), version), decode);
        }
        oracle::survive_noise(VERSIONS, SaslHandshakeResponse::decode);
    }
}
