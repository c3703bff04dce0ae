//! One file per API: its versions, what each changed, and the values that ottla needs of it.
//!
//! Produce, the hot path, is encoded and decoded here. Control messages go through
//! `kafka-protocol`, behind a walk along their [`Shape`], and leave this module as plain values.

pub(crate) mod api_versions;

pub(crate) mod metadata;

pub(crate) mod produce;

pub(crate) mod init_producer_id;

pub(crate) mod sasl_handshake;

pub(crate) mod sasl_authenticate;

pub(crate) mod create_topics;

#[cfg_attr(
    not(any(feature = "cli", test)),
    expect(dead_code, reason = "only the program reads topics back")
)]
pub(crate) mod list_offsets;

#[cfg_attr(
    not(any(feature = "cli", test)),
    expect(dead_code, reason = "only the program reads topics back")
)]
pub(crate) mod fetch;

#[cfg(test)]
mod oracle;

use super::frame::PREFIX_SIZE;
use super::shape::Shape;
use super::wire::{DecodeError, Reader, Writer, wire_length};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable};
use std::fmt;
use std::ops::RangeInclusive;

/// The APIs that ottla calls, by the key that the wire knows them by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(i16)]
pub(crate) enum ApiKey {
    Produce = 0,
    Fetch = 1,
    ListOffsets = 2,
    Metadata = 3,
    SaslHandshake = 17,
    ApiVersions = 18,
    CreateTopics = 19,
    InitProducerId = 22,
    SaslAuthenticate = 36,
}

impl ApiKey {
    /// Every one.
    pub(crate) const ALL: [Self; 9] = [
        Self::Produce,
        Self::Fetch,
        Self::ListOffsets,
        Self::Metadata,
        Self::SaslHandshake,
        Self::ApiVersions,
        Self::CreateTopics,
        Self::InitProducerId,
        Self::SaslAuthenticate,
    ];

    /// The versions that ottla speaks.
    pub(crate) const fn versions(self) -> RangeInclusive<i16> {
        match self {
            Self::Produce => produce::VERSIONS,
            Self::Fetch => fetch::VERSIONS,
            Self::ListOffsets => list_offsets::VERSIONS,
            Self::Metadata => metadata::VERSIONS,
            Self::SaslHandshake => sasl_handshake::VERSIONS,
            Self::ApiVersions => api_versions::VERSIONS,
            Self::CreateTopics => create_topics::VERSIONS,
            Self::InitProducerId => init_producer_id::VERSIONS,
            Self::SaslAuthenticate => sasl_authenticate::VERSIONS,
        }
    }

    /// Whether the version has compact fields and tags (KIP-482).
    pub(crate) const fn is_flexible(self, version: i16) -> bool {
        let from = match self {
            Self::Produce => produce::FLEXIBLE_FROM,
            Self::Fetch => fetch::FLEXIBLE_FROM,
            Self::ListOffsets => list_offsets::FLEXIBLE_FROM,
            Self::Metadata => metadata::FLEXIBLE_FROM,
            Self::SaslHandshake => sasl_handshake::FLEXIBLE_FROM,
            Self::ApiVersions => api_versions::FLEXIBLE_FROM,
            Self::CreateTopics => create_topics::FLEXIBLE_FROM,
            Self::InitProducerId => init_producer_id::FLEXIBLE_FROM,
            Self::SaslAuthenticate => sasl_authenticate::FLEXIBLE_FROM,
        };
        version >= from
    }

    /// Whether the response header ends in tags. That of ApiVersions never does, so that a client
    /// can read the answer of a broker older than its request (KIP-511).
    pub(crate) const fn has_response_tags(self, version: i16) -> bool {
        self.is_flexible(version) && !matches!(self, Self::ApiVersions)
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What stands in front of every request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHeader<'a> {
    /// The API called.
    pub(crate) api: ApiKey,
    /// The version that the body is in.
    pub(crate) version: i16,
    /// What the response will carry to be told from others.
    pub(crate) correlation_id: i32,
    /// Who calls, as the broker's logs and quotas name it.
    pub(crate) client_id: &'a str,
}

/// A request frame in pieces, so that batches are sent from where they lie.
#[derive(Debug)]
pub(crate) struct RequestFrame {
    head: BytesMut,
    /// Foreign bytes, each behind the first so many bytes of `head`.
    inserts: Vec<(usize, Bytes)>,
}

impl RequestFrame {
    /// A frame with its header written.
    pub(crate) fn new(header: RequestHeader<'_>) -> Self {
        let mut head = BytesMut::with_capacity(256);
        head.put_bytes(0, PREFIX_SIZE);
        head.put_i16(header.api as i16);
        head.put_i16(header.version);
        head.put_i32(header.correlation_id);
        // The client id stays a classic string in the flexible header (KIP-482).
        head.put_text(false, Some(header.client_id));
        head.put_no_tags(header.api.is_flexible(header.version));
        Self { head, inserts: Vec::new() }
    }

    /// Where the body is written.
    pub(crate) fn body_mut(&mut self) -> &mut BytesMut {
        &mut self.head
    }

    /// Makes room for so many calls of [`insert`](Self::insert).
    pub(crate) fn expect_inserts(&mut self, count: usize) {
        self.inserts.reserve(count);
    }

    /// Continues the body with bytes that are not copied.
    pub(crate) fn insert(&mut self, bytes: Bytes) {
        self.inserts.push((self.head.len(), bytes));
    }

    /// The frame's pieces in order, its length in front. None of them is empty: a vectored write
    /// of nothing but empty pieces would look like a closed socket.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        let inserted: usize = self.inserts.iter().map(|(_, bytes)| bytes.len()).sum();
        let length = wire_length(self.head.len() + inserted - PREFIX_SIZE);
        self.head[..PREFIX_SIZE].copy_from_slice(&length.to_be_bytes());
        let mut pieces = Vec::with_capacity(2 * self.inserts.len() + 1);
        let mut taken = 0;
        for (end, bytes) in self.inserts {
            pieces.push(self.head.split_to(end - taken).freeze());
            pieces.push(bytes);
            taken = end;
        }
        pieces.push(self.head.freeze());
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

/// Encodes a control request.
///
/// # Panics
///
/// When the request cannot be written in its version: it has a field that the version has not, or a
/// name too long for the wire. Requests are built for their version, and names are checked where
/// they come from.
pub(crate) fn encode_control(header: RequestHeader<'_>, request: &impl Encodable) -> Vec<Bytes> {
    let mut frame = RequestFrame::new(header);
    request
        .encode(frame.body_mut(), header.version)
        .expect("requests are built for the version they are sent in");
    frame.finish()
}

/// Decodes a control response, once its shape is known to be sound.
fn decode_control<R: Decodable>(
    shape: &Shape,
    version: i16,
    body: &Bytes,
) -> Result<R, DecodeError> {
    shape.check(version, body)?;
    // What a shape cannot see is left to the decoder: text that is not UTF-8, a null where there
    // may be none.
    R::decode(&mut body.clone(), version).map_err(|_| DecodeError { what: "response", offset: 0 })
}

/// The correlation id in front of a response.
pub(crate) fn correlation_id(frame: &[u8]) -> Result<i32, DecodeError> {
    Reader::new(frame).i32("correlation id")
}

/// The body of a response frame, behind its header.
pub(crate) fn response_body(
    api: ApiKey,
    version: i16,
    frame: &Bytes,
) -> Result<Bytes, DecodeError> {
    let mut reader = Reader::new(frame);
    reader.i32("correlation id")?;
    reader.skip_tags(api.has_response_tags(version))?;
    Ok(frame.slice(reader.offset()..))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::{
        ApiKey as TheirKey, RequestHeader as TheirHeader, ResponseHeader as TheirResponseHeader,
    };

    #[test]
    fn headers_are_read_by_an_independent_decoder_in_every_version() {
        for api in ApiKey::ALL {
            let theirs = TheirKey::try_from(api as i16).unwrap();
            for version in api.versions() {
                let header = RequestHeader { api, version, correlation_id: 77, client_id: "me" };
                let frame = RequestFrame::new(header).finish().concat();
                let mut bytes = Bytes::from(frame).slice(PREFIX_SIZE..);
                let header_version = theirs.request_header_version(version);
                let decoded = TheirHeader::decode(&mut bytes, header_version).unwrap();
                assert!(bytes.is_empty(), "{api} v{version}");
                assert_eq!(decoded.correlation_id, 77);
                assert_eq!(decoded.client_id.unwrap().as_str(), "me");
                assert_eq!(
                    theirs.response_header_version(version) >= 1,
                    api.has_response_tags(version),
                    "{api} v{version}"
                );
            }
        }
    }

    #[test]
    fn a_frame_in_pieces_announces_the_length_of_all_of_them() {
        let header =
            RequestHeader { api: ApiKey::Produce, version: 7, correlation_id: 1, client_id: "" };
        let mut frame = RequestFrame::new(header);
        frame.body_mut().put_slice(b"ab");
        frame.insert(Bytes::from_static(b"cd"));
        frame.insert(Bytes::from_static(b"ef"));
        frame.insert(Bytes::new());
        frame.body_mut().put_slice(b"gh");
        let pieces = frame.finish();
        assert!(pieces.iter().all(|piece| !piece.is_empty()));
        let whole = pieces.concat();
        assert_eq!(usize::from(whole[3]), whole.len() - PREFIX_SIZE);
        assert!(whole.ends_with(b"abcdefgh"));
    }

    #[test]
    fn the_body_of_a_response_begins_behind_its_header_in_every_version() {
        for api in ApiKey::ALL {
            let theirs = TheirKey::try_from(api as i16).unwrap();
            for version in api.versions() {
                let header = TheirResponseHeader::default()
                    .with_correlation_id(77)
                    .with_unknown_tagged_fields(oracle::tags());
                let header = oracle::write(&header, theirs.response_header_version(version));
                let frame: Bytes = [&header, &b"body"[..]].concat().into();
                assert_eq!(correlation_id(&frame), Ok(77));
                assert_eq!(response_body(api, version, &frame).unwrap(), "body");
                for size in 0..header.len() {
                    response_body(api, version, &frame.slice(..size)).unwrap_err();
                }
            }
        }
    }
}
