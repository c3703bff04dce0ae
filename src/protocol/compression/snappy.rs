//! Snappy: raw blocks out, raw blocks or Java's framing (xerial) in.

use super::{Codec, DecompressError};
use crate::protocol::wire::Reader;
use snap::raw::{Decoder, decompress_len};

/// Java's framing: this magic, two version numbers, then blocks each behind its length.
const XERIAL_MAGIC: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_SIZE: usize = 16;

/// The densest element of a Snappy block copies 64 bytes and takes three.
const EXPANSION_MAX: usize = 22;

pub(super) fn decompress(input: &[u8], size_max: usize) -> Result<Vec<u8>, DecompressError> {
    let mut output = Vec::new();
    if !input.starts_with(XERIAL_MAGIC) {
        append_block(input, size_max, &mut output)?;
        return Ok(output);
    }
    let framing = |_| malformed("truncated framing");
    let mut blocks = Reader::new(input);
    blocks.take(XERIAL_HEADER_SIZE, "header").map_err(framing)?;
    while blocks.remaining() > 0 {
        let size = blocks.u32("block size").map_err(framing)? as usize;
        append_block(blocks.take(size, "block").map_err(framing)?, size_max, &mut output)?;
    }
    Ok(output)
}

fn append_block(
    block: &[u8],
    size_max: usize,
    output: &mut Vec<u8>,
) -> Result<(), DecompressError> {
    let size = decompress_len(block).map_err(malformed)?;
    if size > size_max.saturating_sub(output.len()) {
        return Err(DecompressError::TooLarge { codec: Codec::Snappy, size_max });
    }
    if size > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(malformed("announces more than the block can hold"));
    }
    let start = output.len();
    output.resize(start + size, 0);
    Decoder::new().decompress(block, &mut output[start..]).map_err(malformed)?;
    Ok(())
}

fn malformed(reason: impl ToString) -> DecompressError {
    DecompressError::Malformed { codec: Codec::Snappy, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_framing_of_java_is_read() {
        let mut framed = Vec::from(XERIAL_MAGIC);
        framed.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 1]);
        for part in [&b"first "[..], b"second"] {
            let block = snap::raw::Encoder::new().compress_vec(part).unwrap();
            framed.extend_from_slice(&u32::try_from(block.len()).unwrap().to_be_bytes());
            framed.extend_from_slice(&block);
        }
        assert_eq!(decompress(&framed, 100).unwrap(), b"first second");
        framed.truncate(framed.len() - 1);
        assert!(decompress(&framed, 100).is_err());
    }

    #[test]
    fn an_announced_size_is_not_believed() {
        // 64 MiB announced by a block of five bytes
        assert!(decompress(&[0x80, 0x80, 0x80, 0x20, 0], 1 << 30).is_err());
    }
}
