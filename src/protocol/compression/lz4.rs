//! LZ4 frames as Java reads them: independent blocks, no content size, no dictionary.
//!
//! Java refuses dependent blocks (`Lz4BlockOutputStream`, `FLG.validate`) and reserves one block of
//! the announced maximum, so the smallest class that takes the batch in one block is announced.

use lz4_flex::frame::{BlockMode, BlockSize, FrameDecoder, FrameEncoder, FrameInfo};
use std::io::{Read, Write};

pub(super) fn compress(input: &[u8]) -> Option<Vec<u8>> {
    let block_size = match input.len() {
        0..=0x1_0000 => BlockSize::Max64KB,
        0x1_0001..=0x4_0000 => BlockSize::Max256KB,
        0x4_0001..=0x10_0000 => BlockSize::Max1MB,
        _ => BlockSize::Max4MB,
    };
    let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(block_size);
    let mut encoder = FrameEncoder::with_frame_info(frame, Vec::with_capacity(input.len() / 2));
    encoder.write_all(input).ok()?;
    encoder.finish().ok()
}

pub(super) fn reader(input: &[u8]) -> impl Read + '_ {
    FrameDecoder::new(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_header_is_what_java_accepts() {
        for (size, block_size_id) in [(1_000, 4), (100_000, 5), (900_000, 6), (3_000_000, 7)] {
            let frame = compress(&vec![b'x'; size]).unwrap();
            assert_eq!(&frame[..4], [0x04, 0x22, 0x4d, 0x18], "magic");
            let (flags, block) = (frame[4], frame[5]);
            assert_eq!(flags >> 6, 1, "version");
            assert_eq!(flags >> 5 & 1, 1, "independent blocks");
            assert_eq!(flags & 0b1011, 0, "no content size, no dictionary, reserved bit zero");
            assert_eq!(block >> 4 & 7, block_size_id);
            assert_eq!(block & 0b1000_1111, 0, "reserved bits");
        }
    }
}
