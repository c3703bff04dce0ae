//! The five codecs of a record batch, behind one pair of functions.
//!
//! Decides which codec has which number, name and levels, and how much a peer's bytes may inflate
//! to. One file per codec holds what is peculiar to its framing. No codec here compiles C.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use bytes::Bytes;
use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Codec {
    /// As they are.
    #[default]
    None = 0,
    /// RFC 1952.
    Gzip = 1,
    /// A raw Snappy block; blocks framed as Java does are read too.
    Snappy = 2,
    /// An LZ4 frame of independent blocks.
    Lz4 = 3,
    /// A Zstandard frame. Needs Produce v7 (KIP-110).
    Zstd = 4,
}

impl Codec {
    /// Every codec, by number.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The codec of a batch's attribute bits 0 to 2.
    pub fn from_bits(bits: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| *codec as u8 == bits)
    }

    /// The name that configurations use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The levels that the codec takes, and the one that it uses when none is given. Codecs with
    /// one level have none.
    pub const fn levels(self) -> Option<Levels> {
        match self {
            Self::None | Self::Snappy | Self::Lz4 => None,
            Self::Gzip => Some(Levels { min: 0, max: 9, default: 6 }),
            // Level 1 halves the CPU of level 3 and gives up a twentieth to an eighth of the ratio.
            Self::Zstd => Some(Levels { min: -7, max: 22, default: 1 }),
        }
    }
}

/// A codec's range of levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Levels {
    /// The fastest.
    pub min: i32,
    /// The smallest.
    pub max: i32,
    /// What is used unless a level is given.
    pub default: i32,
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no codec has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression codec {0:?}: use none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCodec(pub String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownCodec(name.to_owned()))
    }
}

/// A codec and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compression {
    codec: Codec,
    level: Option<i32>,
}

impl Compression {
    /// The codec at its default level.
    pub const fn new(codec: Codec) -> Self {
        Self { codec, level: None }
    }

    /// The codec at `level`.
    ///
    /// # Errors
    ///
    /// `LevelError` when the codec has no such level.
    pub fn with_level(codec: Codec, level: i32) -> Result<Self, LevelError> {
        match codec.levels() {
            Some(levels) if (levels.min..=levels.max).contains(&level) => {
                Ok(Self { codec, level: Some(level) })
            }
            levels => Err(LevelError { codec, level, levels }),
        }
    }

    /// The codec.
    pub const fn codec(self) -> Codec {
        self.codec
    }

    fn level(self) -> i32 {
        let default = self.codec.levels().map_or(0, |levels| levels.default);
        self.level.unwrap_or(default)
    }
}

impl From<Codec> for Compression {
    fn from(codec: Codec) -> Self {
        Self::new(codec)
    }
}

/// A level that a codec does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelError {
    /// The codec.
    pub codec: Codec,
    /// The level asked for.
    pub level: i32,
    /// The levels it has, if any.
    pub levels: Option<Levels>,
}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { codec, level, levels } = self;
        match levels {
            Some(Levels { min, max, .. }) => {
                write!(f, "compression level {level} is outside {codec}'s range {min} to {max}")
            }
            None => write!(f, "compression level {level}: {codec} has no levels"),
        }
    }
}

impl std::error::Error for LevelError {}

/// Compresses one batch after the other, and keeps the codec's tables between them.
#[derive(Debug)]
pub struct Compressor {
    codec: Codec,
    encoder: Encoder,
    /// Where pieces are put together.
    whole: Vec<u8>,
}

enum Encoder {
    None,
    Gzip(gzip::Encoder),
    Snappy(Box<snap::raw::Encoder>),
    Lz4(Box<lz4::Encoder>),
    Zstd(Box<zstd::Encoder>),
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Encoder")
    }
}

impl Compressor {
    /// A compressor for batches of this codec and level.
    pub fn new(compression: Compression) -> Self {
        let codec = compression.codec();
        let encoder = match codec {
            Codec::None => Encoder::None,
            Codec::Gzip => Encoder::Gzip(gzip::Encoder::new(compression.level())),
            Codec::Snappy => Encoder::Snappy(Box::new(snap::raw::Encoder::new())),
            Codec::Lz4 => Encoder::Lz4(Box::new(lz4::Encoder::new())),
            Codec::Zstd => Encoder::Zstd(Box::new(zstd::Encoder::new(compression.level()))),
        };
        Self { codec, encoder, whole: Vec::new() }
    }

    /// The codec.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// `input` compressed; `None` if that is not smaller, or there is no codec: the batch is then
    /// sent as it is, as every client does.
    pub fn compress(&mut self, input: &[u8]) -> Option<Vec<u8>> {
        let output = match &mut self.encoder {
            Encoder::None => return None,
            Encoder::Gzip(encoder) => encoder.compress(input),
            Encoder::Snappy(encoder) => encoder.compress_vec(input).ok(),
            Encoder::Lz4(encoder) => encoder.compress(input),
            Encoder::Zstd(encoder) => Some(encoder.compress(input)),
        };
        output.filter(|output| output.len() < input.len())
    }

    /// The same of bytes in pieces. Most codecs want their input in a row; to copy it costs a
    /// hundredth of what they cost.
    pub(super) fn compress_pieces(&mut self, pieces: &[Bytes]) -> Option<Vec<u8>> {
        match pieces {
            _ if self.codec == Codec::None => None,
            [piece] => self.compress(piece),
            _ => {
                let mut whole = std::mem::take(&mut self.whole);
                whole.clear();
                pieces.iter().for_each(|piece| whole.extend_from_slice(piece));
                let output = self.compress(&whole);
                self.whole = whole;
                output
            }
        }
    }
}

/// Inflates `input`, which must become no more than `size_max` bytes.
///
/// # Errors
///
/// `DecompressError`, when it would become more, or is not what the codec writes.
pub fn decompress(codec: Codec, input: &[u8], size_max: usize) -> Result<Vec<u8>, DecompressError> {
    match codec {
        Codec::None if input.len() > size_max => Err(DecompressError::TooLarge { codec, size_max }),
        Codec::None => Ok(input.to_vec()),
        Codec::Gzip => read_bounded(codec, gzip::reader(input), size_max),
        Codec::Snappy => snappy::decompress(input, size_max),
        Codec::Lz4 => read_bounded(codec, lz4::reader(input), size_max),
        Codec::Zstd => {
            let reader = zstd::reader(input, size_max)
                .map_err(|reason| DecompressError::Malformed { codec, reason })?;
            read_bounded(codec, reader, size_max)
        }
    }
}

/// Compressed bytes that are not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// They would inflate beyond the limit.
    #[error("{codec} data inflates to more than {size_max} bytes")]
    TooLarge {
        /// The codec.
        codec: Codec,
        /// The limit, in bytes.
        size_max: usize,
    },
    /// They are not what the codec writes.
    #[error("malformed {codec} data: {reason}")]
    Malformed {
        /// The codec.
        codec: Codec,
        /// What its decoder says.
        reason: String,
    },
}

fn read_bounded(
    codec: Codec,
    reader: impl Read,
    size_max: usize,
) -> Result<Vec<u8>, DecompressError> {
    let mut output = Vec::new();
    let malformed =
        |error: io::Error| DecompressError::Malformed { codec, reason: error.to_string() };
    let limit = u64::try_from(size_max).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(limit).read_to_end(&mut output).map_err(malformed)?;
    if output.len() > size_max {
        return Err(DecompressError::TooLarge { codec, size_max });
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COMPRESSING: [Codec; 4] = [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    #[test]
    fn a_small_bomb_stops_at_the_limit() {
        let zeros = vec![0; 8 << 20];
        for codec in COMPRESSING {
            let small = Compressor::new(codec.into()).compress(&zeros).unwrap();
            assert_eq!(
                decompress(codec, &small, 1 << 20),
                Err(DecompressError::TooLarge { codec, size_max: 1 << 20 }),
            );
            assert_eq!(decompress(codec, &small, 8 << 20).unwrap().len(), zeros.len());
        }
    }

    #[test]
    fn what_does_not_shrink_is_left_alone() {
        for codec in Codec::ALL {
            assert_eq!(Compressor::new(codec.into()).compress(b"7f"), None, "{codec}");
        }
    }

    #[test]
    fn levels_outside_the_codecs_range_are_refused_by_name() {
        let error = Compression::with_level(Codec::Gzip, 12).unwrap_err();
        assert_eq!(error.to_string(), "compression level 12 is outside gzip's range 0 to 9");
        let error = Compression::with_level(Codec::Snappy, 1).unwrap_err();
        assert_eq!(error.to_string(), "compression level 1: snappy has no levels");
        let error = "brotli".parse::<Codec>().unwrap_err();
        assert!(error.to_string().contains("use none, gzip, snappy, lz4 or zstd"));
    }

    #[test]
    fn every_level_reads_back() {
        let input = b"level ".repeat(4000);
        for codec in COMPRESSING {
            let Some(levels) = codec.levels() else { continue };
            for level in levels.min..=levels.max {
                let compression = Compression::with_level(codec, level).unwrap();
                let Some(small) = Compressor::new(compression).compress(&input) else {
                    assert_eq!((codec, level), (Codec::Gzip, 0));
                    continue;
                };
                assert_eq!(decompress(codec, &small, input.len()).unwrap(), input, "{level}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_compressor_used_again_and_again_round_trips(
            inputs in proptest::collection::vec(
                (proptest::collection::vec(any::<u8>(), 0..300), 1_usize..60), 1..6),
            codec in proptest::sample::select(&COMPRESSING[..]),
        ) {
            let mut compressor = Compressor::new(codec.into());
            for (pattern, times) in inputs {
                let input = pattern.repeat(times);
                if let Some(small) = compressor.compress(&input) {
                    prop_assert_eq!(decompress(codec, &small, input.len()).unwrap(), input);
                }
            }
        }

        #[test]
        fn noise_is_an_error_and_never_a_panic(
            noise in proptest::collection::vec(any::<u8>(), 0..400),
            codec in proptest::sample::select(&COMPRESSING[..]),
        ) {
            if let Ok(output) = decompress(codec, &noise, 1 << 16) {
                prop_assert!(output.len() <= 1 << 16);
            }
        }

        #[test]
        fn a_flipped_byte_is_an_error_or_other_bytes_and_never_a_panic(
            pattern in proptest::collection::vec(any::<u8>(), 1..64),
            at: proptest::sample::Index,
            flip in 1_u8..,
            codec in proptest::sample::select(&COMPRESSING[..]),
        ) {
            let input = pattern.repeat(40);
            if let Some(mut small) = Compressor::new(codec.into()).compress(&input) {
                let at = at.index(small.len());
                small[at] ^= flip;
                drop(decompress(codec, &small, 1 << 16));
            }
        }
    }
}
