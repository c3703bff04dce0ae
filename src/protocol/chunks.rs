//! The memory of batches: chunks of one size, which go round.
//!
//! A batch that grew in one piece would be copied as it grows, would reserve more than it needs, and
//! would leave memory of any size behind. So records go into chunks, one behind the other, and a
//! record may lie across two. A batch that ends leaves its chunks to those that begin, the ones used
//! last first: they may still be cached, and fresh memory is cleared by the system, page by page.

use super::wire::VarintWriter;
use bytes::{Bytes, BytesMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes of a chunk: few beside a batch, of whose last chunk half is empty, and few enough to be
/// summed up while they are in a processor's first cache.
pub const CHUNK_SIZE: usize = 8 << 10;

/// Lists of chunks that are kept: those that end together.
const LISTS_MAX: usize = 128;

/// Chunks that nobody uses at the moment.
#[derive(Debug)]
pub struct ChunkPool {
    free: Mutex<Free>,
    count_max: usize,
}

#[derive(Debug)]
struct Free {
    chunks: Vec<BytesMut>,
    /// What chunks are listed in, empty.
    lists: Vec<Vec<Bytes>>,
}

impl ChunkPool {
    /// A pool that keeps so many bytes at most.
    pub const fn new(size_max: usize) -> Self {
        let free = Free { chunks: Vec::new(), lists: Vec::new() };
        Self { free: Mutex::new(free), count_max: size_max / CHUNK_SIZE }
    }

    /// A chunk, or memory that grows to one.
    fn take(&self) -> BytesMut {
        self.lock().chunks.pop().unwrap_or_default()
    }

    fn take_list(&self) -> Vec<Bytes> {
        self.lock().lists.pop().unwrap_or_default()
    }

    fn put_all(&self, mut pieces: Vec<Bytes>) {
        // A piece that someone else still holds is freed by them.
        let chunks = pieces.drain(..).filter_map(|piece| piece.try_into_mut().ok());
        for mut chunk in chunks.filter(|chunk| chunk.capacity() >= CHUNK_SIZE) {
            chunk.clear();
            let mut free = self.lock();
            if free.chunks.len() < self.count_max {
                free.chunks.push(chunk);
            }
        }
        let mut free = self.lock();
        if free.lists.len() < LISTS_MAX {
            free.lists.push(pieces);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Free> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are appended to, in chunks.
#[derive(Debug)]
pub(super) struct Chunks {
    full: Vec<Bytes>,
    /// `open.len() <= CHUNK_SIZE`
    open: BytesMut,
    /// Bytes of `full`.
    size: usize,
    /// The CRC-32C of `full`, if it is wanted: computed while the bytes are cached.
    sum: Option<u32>,
    pool: Option<Arc<ChunkPool>>,
}

impl Chunks {
    /// No bytes yet, in chunks from `pool`, if there is one.
    pub(super) fn new(pool: Option<Arc<ChunkPool>>) -> Self {
        let pooled = pool.as_ref().map(|pool| (pool.take_list(), pool.take()));
        let (full, open) = pooled.unwrap_or_default();
        Self { full, open, size: 0, sum: None, pool }
    }

    /// Sums the bytes up as they come.
    pub(super) fn summing(self) -> Self {
        Self { sum: Some(0), ..self }
    }

    pub(super) fn size(&self) -> usize {
        self.size + self.open.len()
    }

    /// Where so many bytes may be appended in a row; `None` if they do not fit into the chunk.
    pub(super) fn room_for(&mut self, size: usize) -> Option<&mut BytesMut> {
        let size = self.open.len() + size;
        if size > CHUNK_SIZE {
            return None;
        }
        if size > self.open.capacity() {
            self.grow(size);
        }
        Some(&mut self.open)
    }

    /// Small batches stay small, and those that have filled a chunk are none.
    fn grow(&mut self, size: usize) {
        let capacity = if self.full.is_empty() { size.next_power_of_two() } else { CHUNK_SIZE };
        self.open.reserve(capacity.min(CHUNK_SIZE) - self.open.len());
    }

    fn close(&mut self) {
        self.size += self.open.len();
        if let Some(sum) = &mut self.sum {
            *sum = crc32c::crc32c_append(*sum, &self.open);
        }
        self.full.push(self.open.split().freeze());
        self.open = self.pool.as_ref().map(|pool| pool.take()).unwrap_or_default();
    }

    /// All of the bytes, and their CRC-32C if they were summed up.
    pub(super) fn finish(mut self) -> (Body, Option<u32>) {
        let sum = self.sum.map(|sum| crc32c::crc32c_append(sum, &self.open));
        let size = self.size();
        self.full.push(self.open.split().freeze());
        (Body { pieces: self.full, size, pool: self.pool }, sum)
    }
}

impl VarintWriter for Chunks {
    /// In as many chunks as it takes.
    fn append(&mut self, mut bytes: &[u8]) {
        loop {
            let (fitting, rest) = bytes.split_at(bytes.len().min(CHUNK_SIZE - self.open.len()));
            if let Some(chunk) = self.room_for(fitting.len()) {
                chunk.extend_from_slice(fitting);
            }
            if rest.is_empty() {
                return;
            }
            self.close();
            bytes = rest;
        }
    }
}

/// Bytes that no longer change, in pieces. When it is dropped, its chunks go back to their pool.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pieces: Vec<Bytes>,
    size: usize,
    pool: Option<Arc<ChunkPool>>,
}

impl Body {
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) fn crc(&self) -> u32 {
        self.pieces.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { size: bytes.len(), pieces: vec![bytes.into()], pool: None }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if let Some(pool) = &self.pool {
            pool.put_all(std::mem::take(&mut self.pieces));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pool(chunks: usize) -> Arc<ChunkPool> {
        Arc::new(ChunkPool::new(chunks * CHUNK_SIZE))
    }

    fn free(pool: &ChunkPool) -> Vec<*const u8> {
        pool.lock().chunks.iter().map(|chunk| chunk.as_ptr()).collect()
    }

    fn body(pool: &Arc<ChunkPool>, size: usize) -> Body {
        let mut chunks = Chunks::new(Some(Arc::clone(pool)));
        chunks.append(&vec![b'x'; size]);
        chunks.finish().0
    }

    proptest! {
        #[test]
        fn what_is_put_in_comes_out_and_is_summed(
            parts in proptest::collection::vec(
                proptest::collection::vec(any::<u8>(), 0..3 * CHUNK_SIZE), 0..6),
        ) {
            let mut chunks = Chunks::new(None).summing();
            parts.iter().for_each(|part| chunks.append(part));
            let whole = parts.concat();
            prop_assert_eq!(chunks.size(), whole.len());
            let (body, sum) = chunks.finish();
            prop_assert_eq!(body.pieces().concat(), &whole[..]);
            prop_assert_eq!((sum, body.crc()), (Some(crc32c::crc32c(&whole)), sum.unwrap()));
            prop_assert!(body.pieces().iter().all(|piece| piece.len() <= CHUNK_SIZE));
        }
    }

    #[test]
    fn chunks_of_a_body_that_is_dropped_serve_the_next_and_the_last_comes_first() {
        let pool = pool(8);
        let first = body(&pool, 3 * CHUNK_SIZE);
        let chunks: Vec<_> = first.pieces().iter().map(|piece| piece.as_ptr()).collect();
        drop(first);
        assert_eq!(free(&pool), chunks);
        let second = body(&pool, 2 * CHUNK_SIZE);
        let reused: Vec<_> = second.pieces().iter().map(|piece| piece.as_ptr()).collect();
        assert_eq!(reused, [chunks[2], chunks[1]]);
    }

    #[test]
    fn a_pool_keeps_whole_chunks_that_nobody_else_holds_and_no_more_than_it_may() {
        let pool = pool(2);
        drop(body(&pool, 100));
        assert_eq!(free(&pool).len(), 0, "too small");
        let held = body(&pool, CHUNK_SIZE);
        let piece = held.pieces()[0].clone();
        drop(held);
        assert_eq!((free(&pool).len(), piece.len()), (0, CHUNK_SIZE));
        drop(body(&pool, 5 * CHUNK_SIZE));
        assert_eq!(free(&pool).len(), 2);
    }
}
