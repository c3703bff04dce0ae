//! Bodies of requests, bounded.
//!
//! Decides how large a body may be, before and after its decompression, how long it may take, and
//! how much all bodies may take together: a sender beyond that is told to come back. A body that
//! comes in pieces is joined in memory that an earlier one has left: fresh memory is cleared by the
//! system, page by page.

use crate::protocol::Codec;
use crate::protocol::compression::{DecompressError, decompress};
use axum::body::{Body, HttpBody};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Time for a whole body.
const BODY_TIME: Duration = Duration::from_secs(60);

/// What is counted at once.
const UNIT: usize = 1 << 10;

/// Memory is taken for so many times what is there, towards what was announced.
const AHEAD: usize = 8;

/// Bytes that are kept while no body needs them.
const SPARE_SIZE_MAX: usize = 4 << 20;

/// Bytes that come in memory of their own before they are joined, about.
const FRESH_SIZE_MAX: usize = 1 << 20;

/// Memory for all bodies. One that is larger than that takes all of it, and is alone.
#[derive(Debug, Clone)]
pub(super) struct Room(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    size: usize,
    units: Arc<Semaphore>,
    /// What bodies were joined in, and is free; the last used comes last.
    spare: Mutex<Vec<BytesMut>>,
}

impl Room {
    pub(super) fn new(size: usize) -> Self {
        keep_memory();
        let units = Arc::new(Semaphore::new(size.div_ceil(UNIT)));
        Self(Arc::new(Shared { size, units, spare: Mutex::default() }))
    }

    /// Room for a body of so many bytes, beside what it has already.
    fn take(&self, size: usize, taken: usize) -> Result<OwnedSemaphorePermit, BodyError> {
        let units = size.min(self.0.size).div_ceil(UNIT).saturating_sub(taken);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        Arc::clone(&self.0.units).try_acquire_many_owned(units).map_err(|_| BodyError::NoRoom)
    }

    /// Memory that has been used before, for so many bytes.
    fn take_spare(&self, size: usize) -> Option<BytesMut> {
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = spare.iter().rposition(|memory| memory.capacity() >= size)?;
        Some(spare.remove(fitting))
    }

    fn put_spare(&self, mut memory: BytesMut) {
        memory.clear();
        let mut spare = self.0.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: usize = spare.iter().map(BytesMut::capacity).sum();
        if kept + memory.capacity() <= SPARE_SIZE_MAX {
            spare.push(memory);
        }
    }
}

/// Makes the system's allocator keep memory that bodies will need again.
///
/// glibc gives what is free at the end of its heap back to the system, 128 KiB of it to begin with,
/// and each frame of a body that is read then comes in memory that the system has to clear first. It
/// learns what a program frees in one piece, and keeps twice as much after that: `M_TRIM_THRESHOLD`
/// in mallopt(3). Others see a block that comes and goes.
fn keep_memory() {
    drop(std::hint::black_box(BytesMut::with_capacity(FRESH_SIZE_MAX)));
}

/// A body, and the room that it takes until it is dropped. Its memory serves others then, unless
/// someone still has it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    /// All of what it was joined in, if it was.
    joined: Bytes,
    room: Room,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bytes = Bytes::new();
        if let Ok(memory) = std::mem::take(&mut self.joined).try_into_mut() {
            self.room.put_spare(memory);
        }
    }
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
    let mut permit = room.take(0, 0)?;
    let (mut first, mut joined, mut size) = (Bytes::new(), BytesMut::new(), 0);
    let mut size_expected = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
        size += data.len();
        if size > max {
            return Err(BodyError::TooLarge { max });
        }
        permit.merge(room.take(size, permit.num_permits())?);
        // Short bodies come in one piece, which is then not copied.
        if first.is_empty() && joined.is_empty() {
            size_expected = announced(&data).min(max);
            first = data;
            continue;
        }
        if joined.is_empty() {
            // What is there already may be as large as it likes.
            joined = room.take_spare(size_expected.max(size)).unwrap_or_default();
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
    let joined = joined.freeze();
    let bytes = if joined.is_empty() { first } else { joined.clone() };
    Ok(Held { bytes, joined, room: room.clone(), _permit: permit })
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
        // The largest body has room, whatever it was compressed to.
        drop(self);
        let permit = room.take(bytes.len(), 0)?;
        Ok(Self { bytes, joined: Bytes::new(), room: room.clone(), _permit: permit })
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
    use crate::protocol::compression::Compressor;

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
        assert_eq!(room.0.units.available_permits(), 2);
    }

    #[tokio::test]
    async fn a_body_larger_than_all_the_room_is_read_when_it_is_alone() {
        let room = Room::new(2 * UNIT);
        let large = || read(body(&[&[0; 2 * UNIT], &[0; 5 * UNIT]]), 10 * UNIT, &room, |_| 0);
        let held = large().await.unwrap();
        assert_eq!(held.bytes.len(), 7 * UNIT);
        let error = read(body(&[b"text"]), UNIT, &room, |_| 0).await.unwrap_err();
        assert!(matches!(error, BodyError::NoRoom));
        drop(held);
        let small = read(body(&[b"text"]), UNIT, &room, |_| 0).await.unwrap();
        assert!(matches!(large().await.unwrap_err(), BodyError::NoRoom));
        drop(small);
        assert!(large().await.is_ok());
    }

    #[tokio::test]
    async fn a_body_is_joined_where_an_earlier_one_was_that_nobody_has_any_more() {
        let room = Room::new(1 << 20);
        let join = || read(body(&[&[1; 3_000], &[2; 3_000]]), 10_000, &room, |_| 6_000);
        let first = join().await.unwrap();
        let memory = first.bytes.as_ptr();
        drop(first.without(5));
        let second = join().await.unwrap();
        assert_eq!(second.bytes.as_ptr(), memory);
        assert_eq!(second.bytes, [[1; 3_000], [2; 3_000]].concat());
        let kept = second.bytes.clone();
        drop(second);
        assert_ne!(join().await.unwrap().bytes.as_ptr(), kept.as_ptr());
    }

    #[tokio::test]
    async fn memory_of_bodies_is_kept_up_to_a_bound() {
        let room = Room::new(64 << 20);
        for _ in 0..20 {
            room.put_spare(BytesMut::with_capacity(SPARE_SIZE_MAX / 8));
        }
        assert_eq!(room.0.spare.lock().unwrap().len(), 8);
        assert!(room.take_spare(SPARE_SIZE_MAX).is_none());
    }

    #[tokio::test]
    async fn a_body_that_fills_the_room_is_read_though_it_came_compressed() {
        let text = vec![b'x'; 4 * UNIT];
        let compressed = Compressor::new(Codec::Gzip.into()).compress(&text).unwrap();
        let room = Room::new(text.len());
        let held = read(compressed.into(), text.len(), &room, |_| 0).await.unwrap();
        assert_eq!(held.decoded(Some(b"gzip"), text.len(), &room).unwrap().bytes, text);
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
