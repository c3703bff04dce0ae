//! InitProducerId: the identity under which a producer's sequences are counted.
//!
//! When one is needed, and when a new epoch does instead, is decided in `producer::sequencer`.
//!
//! | version | change |
//! |---|---|
//! | 0 | |
//! | 1 | the client, not the broker, waits out a throttle |
//! | 2 | flexible |
//! | 3 | the identity held so far, to have its epoch raised (KIP-360) |
//! | 4 | error PRODUCER_FENCED |
//! | 5 | error TRANSACTION_ABORTABLE (KIP-890) |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_InitProducerId>.

use super::{RequestHeader, decode_control, encode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::wire::DecodeError;
use bytes::Bytes;
use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse as TheirResponse};
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 0..=5;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 2;

/// First version that carries the identity held so far.
pub(crate) const CURRENT_IDENTITY_FROM: i16 = 3;

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(0, Layout::Fixed(4)), // throttle time
        Field::since(0, Layout::Fixed(2)), // error
        Field::since(0, Layout::Fixed(8)), // producer id
        Field::since(0, Layout::Fixed(2)), // epoch
    ],
};

/// Asks for an identity outside transactions. `current` is the producer id and epoch held so far;
/// below [`CURRENT_IDENTITY_FROM`] it is left out, and the answer is a new producer id.
pub(crate) fn request(header: RequestHeader<'_>, current: Option<(i64, i16)>) -> Vec<Bytes> {
    // The timeout bounds transactions; there are none here.
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX);
    let current = current.filter(|_| header.version >= CURRENT_IDENTITY_FROM);
    let (producer_id, epoch) = current.unwrap_or((-1, -1));
    let request = request.with_producer_id(producer_id.into()).with_producer_epoch(epoch);
    encode_control(header, &request)
}

/// An identity, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InitProducerIdResponse {
    /// How long the client shall send nothing more to this broker.
    pub(crate) throttle_ms: i32,
    /// Why there is no identity, or none.
    pub(crate) error: ErrorCode,
    /// The producer id, or −1.
    pub(crate) producer_id: i64,
    /// Its epoch, or −1.
    pub(crate) epoch: i16,
}

impl InitProducerIdResponse {
    /// Decodes the body of a response.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version.
    pub(crate) fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        Ok(Self {
            throttle_ms: theirs.throttle_time_ms,
            error: ErrorCode(theirs.error_code),
            producer_id: theirs.producer_id.0,
            epoch: theirs.producer_epoch,
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
            for current in [None, Some((1 << 40, 7))] {
                let header = oracle::header(ApiKey::InitProducerId, version);
                let pieces = request(header, current);
                let theirs: InitProducerIdRequest = oracle::read_request(header, &pieces);
                assert_eq!(theirs.transactional_id, None);
                assert_eq!(theirs.transaction_timeout_ms, i32::MAX);
                let carried = if version >= CURRENT_IDENTITY_FROM { current } else { None };
                let expected = carried.unwrap_or((-1, -1));
                assert_eq!((theirs.producer_id.0, theirs.producer_epoch), expected);
            }
        }
    }

    fn their_response() -> TheirResponse {
        TheirResponse::default()
            .with_throttle_time_ms(3)
            .with_error_code(90)
            .with_producer_id((1 << 40).into())
            .with_producer_epoch(7)
            .with_unknown_tagged_fields(oracle::tags())
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        for version in VERSIONS {
            let body = oracle::write(&their_response(), version);
            let expected = InitProducerIdResponse {
                throttle_ms: 3,
                error: ErrorCode::PRODUCER_FENCED,
                producer_id: 1 << 40,
                epoch: 7,
            };
            assert_eq!(InitProducerIdResponse::decode(version, &body), Ok(expected));
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| InitProducerIdResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(), version), decode);
        }
        oracle::survive_noise(VERSIONS, InitProducerIdResponse::decode);
    }
}
