//! The other implementation: `kafka-protocol` reads what we wrote and writes what we read.
//!
//! A client's encoder and decoder share their author's mistakes. So the tests of this module's
//! messages meet a second reader and writer here, and the same hostile variations of what it wrote.

use super::{ApiKey, RequestHeader};
use crate::protocol::frame::PREFIX_SIZE;
use crate::protocol::wire::DecodeError;
use bytes::{BufMut, Bytes};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes, decode_request_header_from_buffer};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeInclusive;

/// A header for requests under test.
pub(super) const fn header(api: ApiKey, version: i16) -> RequestHeader<'static> {
    RequestHeader { api, version, correlation_id: 77, client_id: "me" }
}

/// Text in their type.
pub(super) fn name(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Tagged fields that no version knows. Non-flexible versions leave them out.
pub(super) fn tags() -> BTreeMap<i32, Bytes> {
    [(1000, Bytes::from_static(b"of the future")), (1001, Bytes::new())].into()
}

/// Reads a whole request frame: its length, its header, its body, and nothing behind.
pub(super) fn read_request<R: Decodable>(header: RequestHeader<'_>, pieces: &[Bytes]) -> R {
    let mut frame = Bytes::from(pieces.concat());
    let prefix = frame.split_to(PREFIX_SIZE);
    assert_eq!(prefix, u32::try_from(frame.len()).unwrap().to_be_bytes().as_slice());
    let theirs = decode_request_header_from_buffer(&mut frame).unwrap();
    assert_eq!(theirs.request_api_key, header.api as i16);
    assert_eq!(theirs.request_api_version, header.version);
    assert_eq!(theirs.correlation_id, header.correlation_id);
    assert_eq!(theirs.client_id.unwrap().as_str(), header.client_id);
    let request = R::decode(&mut frame, header.version).unwrap();
    assert!(frame.is_empty(), "{} bytes left in v{}", frame.len(), header.version);
    request
}

/// The body of a response.
pub(super) fn write(response: &impl Encodable, version: i16) -> Bytes {
    let mut body = Vec::new();
    response.encode(&mut body, version).unwrap();
    body.into()
}

/// Checks that `body` decodes as it is, that it does not when it is cut or continued, and that no
/// damage in it makes `decode` panic or reserve memory for what is not there.
pub(super) fn assert_exact<T: Debug>(
    body: &Bytes,
    decode: impl Fn(&Bytes) -> Result<T, DecodeError>,
) {
    decode(body).unwrap();
    for size in 0..body.len() {
        decode(&body.slice(..size)).unwrap_err();
    }
    decode(&[body, &b"\0"[..]].concat().into()).unwrap_err();
    for damage in [&[0xff][..], &[0], &[0x7f, 0xff, 0xff, 0xff], &[0xff, 0xff, 0xff, 0xff, 0x0f]] {
        for at in 0..=body.len() - damage.len() {
            let mut damaged = body.to_vec();
            damaged[at..at + damage.len()].copy_from_slice(damage);
            drop(decode(&damaged.into()));
        }
    }
}

/// A body whose first array, at byte `at`, claims two thousand million elements.
pub(super) fn huge_count(at: usize, flexible: bool) -> Bytes {
    let mut body = vec![0; at];
    body.put_slice(if flexible {
        &[0xff, 0xff, 0xff, 0xff, 0x07]
    } else {
        &[0x7f, 0xff, 0xff, 0xff]
    });
    body.put_bytes(0, 100);
    body.into()
}

/// Decodes random bytes in every version, and in the versions next to them.
pub(super) fn survive_noise<T>(
    versions: RangeInclusive<i16>,
    decode: impl Fn(i16, &Bytes) -> Result<T, DecodeError>,
) {
    let versions = versions.start() - 1..=versions.end() + 1;
    proptest!(|(version in versions, bytes in proptest::collection::vec(any::<u8>(), 0..200))| {
        drop(decode(version, &bytes.into()));
    });
}
