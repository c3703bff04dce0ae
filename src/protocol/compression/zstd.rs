//! Zstandard by `structured-zstd`, which holds no C. The only file that names that crate.

use std::io::{Empty, Read, Sink};
use structured_zstd::decoding::{FrameDecoder, StreamingDecoder};
use structured_zstd::encoding::{CompressionLevel, FrameCompressor};

/// Encoders announce windows of up to 8 MiB for small inputs too, so a small limit on the inflated
/// bytes is no limit for the window; above 128 MiB no encoder's default goes.
const WINDOW_SIZE_MIN: u64 = 8 << 20;
const WINDOW_SIZE_MAX: u64 = 128 << 20;

/// Writes one frame per batch and keeps its tables between them.
pub(super) struct Encoder {
    compressor: FrameCompressor<Empty, Sink>,
}

impl Encoder {
    pub(super) fn new(level: i32) -> Self {
        Self { compressor: FrameCompressor::new(CompressionLevel::from_level(level)) }
    }

    pub(super) fn compress(&mut self, input: &[u8]) -> Vec<u8> {
        let mut output = Vec::with_capacity(input.len() / 3);
        self.compressor.compress_independent_frame_into(input, &mut output);
        output
    }
}

/// Reads frames whose window is no larger than what the caller is ready to hold.
pub(super) fn reader(input: &[u8], size_max: usize) -> Result<impl Read + '_, String> {
    let mut decoder = FrameDecoder::new();
    let window = u64::try_from(size_max).unwrap_or(u64::MAX);
    let window = window.clamp(WINDOW_SIZE_MIN, WINDOW_SIZE_MAX);
    decoder.set_max_window_size(window).map_err(|error| error.to_string())?;
    Ok(StreamingDecoder::new_with_decoder(input, decoder))
}
