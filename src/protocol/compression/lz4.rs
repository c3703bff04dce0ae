//! LZ4 frames as Java reads them: independent blocks, no content size, no dictionary.
//!
//! Java refuses dependent blocks (`Lz4BlockOutputStream`, `FLG.validate`) and reserves one block of
//! the announced maximum, so the smallest class that takes the batch in one block is announced.
//!
//! Frames are written here, around blocks by the library: its own writer takes a copy of its input and
//! room for its output anew for each frame, whose page faults cost twice what compressing does.
//!
//! Format: <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>.

use lz4_flex::block::{CompressTable, compress_into_with_table, get_maximum_output_size};
use lz4_flex::frame::FrameDecoder;
use std::io::Read;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Version 1, independent blocks, no checksums but the header's.
const FLAGS: u8 = 0b0110_0000;

/// In a block's size: the block is stored as it is.
const STORED: u32 = 1 << 31;

/// How large a frame's blocks may be.
struct Class {
    size: usize,
    /// As the header has it.
    id: u8,
    /// The header's checksum: the second byte of its xxHash.
    checksum: u8,
}

const CLASSES: [Class; 4] = [
    Class { size: 64 << 10, id: 4 << 4, checksum: 0x82 },
    Class { size: 256 << 10, id: 5 << 4, checksum: 0xfb },
    Class { size: 1 << 20, id: 6 << 4, checksum: 0x51 },
    Class { size: 4 << 20, id: 7 << 4, checksum: 0x73 },
];

/// Writes frames, one after the other in the same memory.
pub(super) struct Encoder {
    table: CompressTable,
    block: Vec<u8>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { table: CompressTable::large(), block: Vec::new() }
    }

    pub(super) fn compress(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let fits = |class: &&Class| input.len() <= class.size;
        let class = CLASSES.iter().find(fits).unwrap_or(&CLASSES[CLASSES.len() - 1]);
        let mut frame = Vec::with_capacity(input.len() / 2);
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&[FLAGS, class.id, class.checksum]);
        for part in input.chunks(class.size) {
            let room = get_maximum_output_size(part.len());
            if self.block.len() < room {
                self.block.resize(room, 0);
            }
            let size = compress_into_with_table(part, &mut self.block, &mut self.table).ok()?;
            let (stored, block) =
                if size < part.len() { (0, &self.block[..size]) } else { (STORED, part) };
            let size = u32::try_from(block.len()).ok()?;
            frame.extend_from_slice(&(size | stored).to_le_bytes());
            frame.extend_from_slice(block);
        }
        frame.extend_from_slice(&[0; 4]);
        Some(frame)
    }
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
            let frame = Encoder::new().compress(&vec![b'x'; size]).unwrap();
            assert_eq!(&frame[..4], [0x04, 0x22, 0x4d, 0x18], "magic");
            let (flags, block) = (frame[4], frame[5]);
            assert_eq!(flags >> 6, 1, "version");
            assert_eq!(flags >> 5 & 1, 1, "independent blocks");
            assert_eq!(flags & 0b1011, 0, "no content size, no dictionary, reserved bit zero");
            assert_eq!(block >> 4 & 7, block_size_id);
            assert_eq!(block & 0b1000_1111, 0, "reserved bits");
        }
    }

    #[test]
    fn frames_of_every_class_and_of_several_blocks_are_read_by_the_library() {
        let mut encoder = Encoder::new();
        let noise: Vec<u8> = (0_u64..)
            .map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8)
            .take(9 << 20)
            .collect();
        for size in [0, 1, 64 << 10, (64 << 10) + 1, 256 << 10, 1 << 20, 4 << 20, 9 << 20] {
            let text: Vec<u8> = b"a trace, a span, ".iter().copied().cycle().take(size).collect();
            for input in [&text[..], &noise[..size]] {
                let frame = encoder.compress(input).unwrap();
                let mut read = Vec::new();
                reader(&frame).read_to_end(&mut read).unwrap();
                assert!(read == input, "{size}");
            }
        }
    }
}
