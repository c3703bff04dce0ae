//! gzip, RFC 1952, by `flate2` over zlib-rs.

use flate2::write::GzEncoder;
use flate2::{Compression, bufread::MultiGzDecoder};
use std::io::{Read, Write};

/// Writes one gzip member per batch.
pub(super) struct Encoder {
    level: Compression,
}

impl Encoder {
    /// `level` is within 0 to 9.
    pub(super) fn new(level: i32) -> Self {
        Self { level: Compression::new(level.unsigned_abs()) }
    }

    pub(super) fn compress(&self, input: &[u8]) -> Option<Vec<u8>> {
        let mut encoder = GzEncoder::new(Vec::with_capacity(input.len() / 3), self.level);
        encoder.write_all(input).ok()?;
        encoder.finish().ok()
    }
}

/// Several members in a row are one stream (RFC 1952, 2.2).
pub(super) fn reader(input: &[u8]) -> impl Read + '_ {
    MultiGzDecoder::new(input)
}
