//! SaslAuthenticate: one message of a login and the broker's answer.
//!
//! | version | change |
//! |---|---|
//! | 0 | |
//! | 1 | how long the login is good for (KIP-368) |
//! | 2 | flexible |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_SaslAuthenticate>.

use super::{RequestFrame, RequestHeader, decode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::wire::{DecodeError, Writer};
use bytes::Bytes;
use kafka_protocol::messages::SaslAuthenticateResponse as TheirResponse;
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 0..=2;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 2;

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(0, Layout::Fixed(2)), // error
        Field::since(0, Layout::Text),     // message
        Field::since(0, Layout::Bytes),    // answer
        Field::since(1, Layout::Fixed(8)), // session lifetime
    ],
};

/// Sends `message`, without copying it: it may be secret, and whoever made it overwrites it.
pub(crate) fn request(header: RequestHeader<'_>, message: Bytes) -> Vec<Bytes> {
    let flexible = header.api.is_flexible(header.version);
    let mut frame = RequestFrame::new(header);
    frame.body_mut().put_count(flexible, message.len());
    frame.insert(message);
    frame.body_mut().put_no_tags(flexible);
    frame.finish()
}

/// The broker's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SaslAuthenticateResponse {
    /// Why the login is refused, or none.
    pub(crate) error: ErrorCode,
    /// The broker's words on that, if any.
    pub(crate) message: Option<String>,
    /// The mechanism's message.
    pub(crate) answer: Bytes,
    /// Milliseconds after which the broker wants a new login; zero for never.
    pub(crate) session_lifetime_ms: i64,
}

impl SaslAuthenticateResponse {
    /// Decodes the body of a response.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version.
    pub(crate) fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        Ok(Self {
            error: ErrorCode(theirs.error_code),
            message: theirs.error_message.map(|message| message.to_string()),
            answer: theirs.auth_bytes,
            session_lifetime_ms: theirs.session_lifetime_ms,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;
    use kafka_protocol::messages::SaslAuthenticateRequest;
    use kafka_protocol::protocol::StrBytes;

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        for version in VERSIONS {
            for message in [&b""[..], b"n,,n=user,r=fyko"] {
                let header = oracle::header(ApiKey::SaslAuthenticate, version);
                let pieces = request(header, Bytes::from_static(message));
                let theirs: SaslAuthenticateRequest = oracle::read_request(header, &pieces);
                assert_eq!(theirs.auth_bytes, message);
            }
        }
    }

    fn their_response(version: i16) -> TheirResponse {
        let response = TheirResponse::default()
            .with_error_code(58)
            .with_error_message(Some(StrBytes::from_static_str("who?")))
            .with_auth_bytes(Bytes::from_static(b"v=AAAA"))
            .with_session_lifetime_ms(if version >= 1 { 60_000 } else { 0 });
        match version {
            2.. => response.with_unknown_tagged_fields(oracle::tags()),
            _ => response,
        }
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(version), version);
            let expected = SaslAuthenticateResponse {
                error: ErrorCode::SASL_AUTHENTICATION_FAILED,
                message: Some("who?".to_owned()),
                answer: Bytes::from_static(b"v=AAAA"),
                session_lifetime_ms: if version >= 1 { 60_000 } else { 0 },
            };
            assert_eq!(SaslAuthenticateResponse::decode(version, &body), Ok(expected));
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| SaslAuthenticateResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(version), version), decode);
        }
        oracle::survive_noise(VERSIONS, SaslAuthenticateResponse::decode);
    }
}
