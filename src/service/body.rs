//! Bodies of requests, bounded.
//!
//! Decides how large a body may be, before and after its decompression, how long it may take, and
//! how much all bodies may take together: a sender beyond that is told to come back.

use crate::protocol::Codec;
use crate::protocol::compression::{DecompressError, decompress};
use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Time for a whole body.
const BODY_TIME: Duration = Duration::from_secs(60);

/// What is counted at once.
const UNIT: usize = 1 << 10;

/// Memory is taken for so many times what is there, towards what was announced.
const AHEAD: usize = 8;

/// Memory for all bodies.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new(size: usize) -> Self {
        Self(Arc::new(Semaphore::new(size / UNIT)))
    }

    fn take(&self, size: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let units = u32::try_from(size.div_ceil(UNIT)).unwrap_or(u32::MAX);
        Arc::clone(&self.0).try_acquire_many_owned(units).map_err(|_| BodyError::NoRoom)
    }
}

/// A body, and the room that it takes until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

/// Why there is no body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("the body is larger than {max} bytes: send less at once")]
    TooLarge { max: usize },
    #[error("other requests take all the memory for bodies: send the request again later")]
    NoRoom,
    #[error("the body did not come within {} s", BODY_TIME.as_secs())]
    Late,
    #[error("the body broke off: {0}")]
    Broken(axum::Error),
    #[error("content encoding {0:?} is not read: use gzip, zstd, or none")]
    Encoding(String),
    #[error(transparent)]
    Inflate(#[from] DecompressError),
}

impl BodyError {
    /// The status that says so over HTTP.
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } | Self::Inflate(DecompressError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::NoRoom => StatusCode::TOO_MANY_REQUESTS,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Broken(_) | Self::Inflate(_) => StatusCode::BAD_REQUEST,
        }
    }
}

/// What HTTP announces of a body.
pub(super) fn content_length(body: &Body) -> usize {
    usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX)
}

/// Reads a body of at most `max` bytes. `announced` says by its first piece how long it will be; that
/// is a sender's claim, and taken for no more than [`AHEAD`] times what has come.
pub(super) async fn read(
    body: Body,
    max: usize,
    room: &Room,
    announced: impl Fn(&[u8]) -> usize,
) -> Result<Held, BodyError> {
    timeout(BODY_TIME, collect(body, max, room, announced)).await.unwrap_or(Err(BodyError::Late))
}

async fn collect(
    mut body: Body,
    max: usize,
    room: &Room,
    announced: impl Fn(&[u8]) -> usize,
) -> Result<Held, BodyError> {
    let mut permit = room.take(0)?;
    let (mut first, mut joined, mut size) = (Bytes::new(), BytesMut::new(), 0);
    let mut size_expected = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
        size += data.len();
        if size > max {
            return Err(BodyError::TooLarge { max });
        }
        if permit.num_permits() * UNIT < size {
            permit.merge(room.take(size - permit.num_permits() * UNIT)?);
        }
        // Short bodies come in one piece, which is then not copied.
        if first.is_empty() && joined.is_empty() {
            size_expected = announced(&data).min(max);
            first = data;
            continue;
        }
        if joined.capacity() < size {
            let wanted = size_expected.min(AHEAD * size).max(size);
            joined.reserve(wanted - joined.len());
        }
        if joined.is_empty() {
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&data);
    }
    let bytes = if joined.is_empty() { first } else { joined.freeze() };
    Ok(Held { bytes, _permit: permit })
}

impl Held {
    /// The body without its encoding, by the name that HTTP and gRPC have for it.
    pub(super) fn decoded(
        self,
        encoding: Option<&[u8]>,
        max: usize,
        room: &Room,
    ) -> Result<Self, BodyError> {
        let codec = match encoding {
            None | Some(b"identity") => return Ok(self),
            Some(b"gzip") => Codec::Gzip,
            Some(b"zstd") => Codec::Zstd,
            Some(other) => {
                return Err(BodyError::Encoding(String::from_utf8_lossy(other).into_owned()));
            }
        };
        let bytes: Bytes = decompress(codec, &self.bytes, max)?.into();
        let permit = room.take(bytes.len())?;
        Ok(Self { bytes, _permit: permit })
    }

    /// The same without its first bytes.
    pub(super) fn without(mut self, count: usize) -> Self {
        self.bytes = self.bytes.slice(count..);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(chunks: &[&'static [u8]]) -> Body {
        let chunks: Vec<_> =
            chunks.iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from_static(chunk))).collect();
        Body::from_stream(futures_util::stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_in_one_piece_stays_where_it_lies() {
        let bytes = Bytes::from_static(b"all of it");
        let held = read(bytes.clone().into(), 100, &Room::new(UNIT), |_| 0).await.unwrap();
        assert_eq!(held.bytes.as_ptr(), bytes.as_ptr());
        let held =
            read(body(&[b"all", b" of", b" it"]), 100, &Room::new(UNIT), |_| 0).await.unwrap();
        assert_eq!(held.bytes, bytes);
    }

    #[tokio::test]
    async fn what_is_announced_is_no_more_than_a_hint() {
        let room = Room::new(1 << 20);
        for announced in [0, 4, 9, usize::MAX] {
            let pieces = body(&[b"all", b" of", b" it"]);
            let held = read(pieces, 100, &room, |_| announced).await.unwrap();
            assert_eq!(held.bytes, "all of it");
        }
    }

    #[tokio::test]
    async fn bodies_take_room_until_they_are_dropped() {
        let room = Room::new(2 * UNIT);
        let first = read(body(&[&[0; UNIT]]), 10 * UNIT, &room, |_| 0).await.unwrap();
        let error =
            read(body(&[&[0; UNIT], b"one more"]), 10 * UNIT, &room, |_| 0).await.unwrap_err();
        assert!(matches!(error, BodyError::NoRoom));
        drop(first);
        assert!(read(body(&[&[0; UNIT], b"one more"]), 10 * UNIT, &room, |_| 0).await.is_ok());
        assert_eq!(room.0.available_permits(), 2);
    }

    #[tokio::test]
    async fn bodies_are_bounded_before_and_after_decompression() {
        let room = Room::new(1 << 20);
        let error = read(body(&[b"12345", b"6"]), 5, &room, |_| 0).await.unwrap_err();
        assert_eq!(error.to_string(), "the body is larger than 5 bytes: send less at once");
        let held = |bytes: &'static [u8]| read(body(&[bytes]), 1 << 20, &room, |_| 0);
        let error = held(b"text").await.unwrap().decoded(Some(b"br"), 9, &room).unwrap_err();
        assert!(error.to_string().contains("\"br\" is not read: use gzip, zstd, or none"));
        let error = held(b"text").await.unwrap().decoded(Some(b"gzip"), 9, &room).unwrap_err();
        assert!(matches!(error, BodyError::Inflate(DecompressError::Malformed { .. })));
    }
}
