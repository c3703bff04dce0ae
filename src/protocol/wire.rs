//! Primitive values of the Kafka wire format: a reader that never trusts a length, and a writer.
//!
//! Decides how integers, varints, strings and byte fields are laid out and when input is malformed.
//! Knows no message. Lengths and counts come from the peer, so nothing here allocates by one of
//! them before the bytes it promises are known to be there.
//!
//! Spec: <https://kafka.apache.org/protocol#protocol_types>, KIP-482 for the compact forms.

use bytes::BufMut;

/// Bytes from a peer that do not form the value expected at `offset`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what} at byte {offset}")]
pub struct DecodeError {
    /// The value that was being read.
    pub what: &'static str,
    /// Where it began, counted from the start of the reader's bytes.
    pub offset: usize,
}

/// Reads wire primitives from a byte slice.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    /// `offset <= bytes.len()`
    offset: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    /// The error for a malformed value that begins here.
    pub(crate) const fn malformed(&self, what: &'static str) -> DecodeError {
        DecodeError { what, offset: self.offset }
    }

    /// Bytes consumed so far.
    pub(crate) const fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes left.
    pub(crate) const fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// Insists that nothing is left over.
    pub(crate) const fn finish(&self, what: &'static str) -> Result<(), DecodeError> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed(what)) }
    }

    /// Takes exactly `count` bytes.
    pub(crate) fn take(
        &mut self,
        count: usize,
        what: &'static str,
    ) -> Result<&'a [u8], DecodeError> {
        if count > self.remaining() {
            return Err(self.malformed(what));
        }
        let taken = &self.bytes[self.offset..self.offset + count];
        self.offset += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N, what)?);
        Ok(out)
    }

    /// INT8.
    pub(crate) fn i8(&mut self, what: &'static str) -> Result<i8, DecodeError> {
        Ok(i8::from_be_bytes(self.array(what)?))
    }

    /// INT16, big endian.
    pub(crate) fn i16(&mut self, what: &'static str) -> Result<i16, DecodeError> {
        Ok(i16::from_be_bytes(self.array(what)?))
    }

    /// INT32, big endian.
    pub(crate) fn i32(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array(what)?))
    }

    /// UINT32, big endian.
    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// INT64, big endian.
    pub(crate) fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array(what)?))
    }

    /// UUID, as its 16 bytes.
    pub(crate) fn uuid(&mut self, what: &'static str) -> Result<[u8; 16], DecodeError> {
        self.array(what)
    }

    /// UNSIGNED_VARINT: at most five bytes, and no bits above the 32nd.
    pub(crate) fn uvarint(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let start = self.malformed(what);
        u32::try_from(self.base128(5, what)?).map_err(|_| start)
    }

    /// VARINT: zigzag, 32 bits.
    #[expect(clippy::cast_possible_wrap, reason = "zigzag is defined by this cast")]
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        let raw = self.uvarint(what)?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// VARLONG: zigzag, 64 bits.
    #[expect(clippy::cast_possible_wrap, reason = "zigzag is defined by this cast")]
    pub(crate) fn varlong(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        let raw = self.base128(10, what)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    fn base128(&mut self, bytes_max: u32, what: &'static str) -> Result<u64, DecodeError> {
        let start = self.malformed(what);
        let mut value = 0_u64;
        for index in 0..bytes_max {
            let [byte] = self.array(what)?;
            let group = u64::from(byte & 0x7f);
            let shifted = group << (7 * index);
            if shifted >> (7 * index) != group {
                return Err(start);
            }
            value |= shifted;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(start)
    }

    /// NULLABLE_STRING as bytes, in the compact form of flexible messages or the classic one.
    pub(crate) fn text(
        &mut self,
        flexible: bool,
        what: &'static str,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        if flexible {
            return self.compact_bytes(what);
        }
        let start = self.malformed(what);
        match self.i16(what)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| start)?;
                self.take(length, what).map(Some)
            }
        }
    }

    /// A string that must be present and must be UTF-8.
    pub(crate) fn string(
        &mut self,
        flexible: bool,
        what: &'static str,
    ) -> Result<&'a str, DecodeError> {
        let start = self.malformed(what);
        let bytes = self.text(flexible, what)?.ok_or_else(|| start.clone())?;
        std::str::from_utf8(bytes).map_err(|_| start)
    }

    /// NULLABLE_BYTES, compact or classic.
    pub(crate) fn bytes(
        &mut self,
        flexible: bool,
        what: &'static str,
    ) -> Result<Option<&'a [u8]>, DecodeError> {
        if flexible {
            return self.compact_bytes(what);
        }
        let start = self.malformed(what);
        match self.i32(what)? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| start)?;
                self.take(length, what).map(Some)
            }
        }
    }

    fn compact_bytes(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        match self.uvarint(what)? {
            0 => Ok(None),
            length => self.take(length as usize - 1, what).map(Some),
        }
    }

    /// An element count, compact or classic; null reads as zero. Never more than the bytes left,
    /// since no element of any message is empty: it is safe to reserve room by it.
    pub(crate) fn count(
        &mut self,
        flexible: bool,
        what: &'static str,
    ) -> Result<usize, DecodeError> {
        let start = self.malformed(what);
        let count = if flexible {
            (self.uvarint(what)? as usize).saturating_sub(1)
        } else {
            match self.i32(what)? {
                -1 => 0,
                count => usize::try_from(count).map_err(|_| start.clone())?,
            }
        };
        if count > self.remaining() { Err(start) } else { Ok(count) }
    }

    /// Reads tagged fields, handing each tag and its content to `field`.
    pub(crate) fn tags(
        &mut self,
        mut field: impl FnMut(u32, Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        for _ in 0..self.uvarint("tagged field count")? {
            let tag = self.uvarint("tag")?;
            let size = self.uvarint("tagged field size")? as usize;
            field(tag, Self::new(self.take(size, "tagged field")?))?;
        }
        Ok(())
    }

    /// Passes over tagged fields, where the message is flexible.
    pub(crate) fn skip_tags(&mut self, flexible: bool) -> Result<(), DecodeError> {
        if flexible { self.tags(|_, _| Ok(())) } else { Ok(()) }
    }
}

/// Writes the varints of records wherever bytes can be appended.
pub(crate) trait VarintWriter {
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]);

    /// VARINT: zigzag, 32 bits.
    fn put_varint(&mut self, value: i32) {
        self.put_base128(u64::from(zigzag32(value)));
    }

    /// VARLONG: zigzag, 64 bits.
    fn put_varlong(&mut self, value: i64) {
        self.put_base128(zigzag64(value));
    }

    /// An unsigned value in groups of seven bits, the low group first.
    #[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
    fn put_base128(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.append(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.append(&[value as u8]);
    }
}

impl<B: BufMut + ?Sized> VarintWriter for B {
    fn append(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

/// Writes wire primitives at the end of a buffer. Lengths that the protocol cannot hold are
/// refused earlier, where a caller can be told which of their values is too long.
pub(crate) trait Writer: BufMut + VarintWriter {
    /// UNSIGNED_VARINT.
    fn put_uvarint(&mut self, value: u32) {
        self.put_base128(u64::from(value));
    }

    /// NULLABLE_STRING, compact or classic.
    fn put_text(&mut self, flexible: bool, value: Option<&str>) {
        match (flexible, value) {
            (true, None) => self.put_u8(0),
            (true, Some(text)) => self.put_uvarint(wire_length(text.len()) + 1),
            (false, None) => self.put_i16(-1),
            (false, Some(text)) => {
                self.put_i16(i16::try_from(text.len()).expect("strings are at most 32,767 bytes"));
            }
        }
        self.put_slice(value.unwrap_or_default().as_bytes());
    }

    /// The count of an array's elements, or of a byte field's bytes, compact or classic.
    fn put_count(&mut self, flexible: bool, count: usize) {
        if flexible {
            self.put_uvarint(wire_length(count) + 1);
        } else {
            self.put_u32(wire_length(count));
        }
    }

    /// An empty tag buffer, where the message is flexible.
    fn put_no_tags(&mut self, flexible: bool) {
        if flexible {
            self.put_u8(0);
        }
    }
}

impl<B: BufMut + ?Sized> Writer for B {}

/// A length as the wire carries it.
///
/// # Panics
///
/// When it does not fit 31 bits: requests are capped far below that before they are encoded.
pub(crate) fn wire_length(length: usize) -> u32 {
    assert!(length < i32::MAX as usize, "a request part of {length} bytes");
    u32::try_from(length).expect("checked above")
}

/// Encoded size of a VARINT.
pub(crate) const fn varint_size(value: i32) -> usize {
    base128_size(zigzag32(value) as u64)
}

/// Encoded size of a VARLONG.
pub(crate) const fn varlong_size(value: i64) -> usize {
    base128_size(zigzag64(value))
}

const fn base128_size(value: u64) -> usize {
    // A seventh of the bits, rounded up, without a division: exact for 1 to 64 bits.
    ((64 - (value | 1).leading_zeros()) as usize * 9 + 64) / 64
}

#[expect(clippy::cast_sign_loss, reason = "zigzag is defined by this cast")]
const fn zigzag32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)) as u32
}

#[expect(clippy::cast_sign_loss, reason = "zigzag is defined by this cast")]
const fn zigzag64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn varints_match_the_vectors_of_the_protobuf_encoding() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            out.put_varint(value);
            assert_eq!(out, bytes, "{value}");
            assert_eq!(Reader::new(bytes).varint("v"), Ok(value));
        }
    }

    #[test]
    fn sizes_are_foretold_on_both_sides_of_every_power_of_two() {
        for value in (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit]).chain([u64::MAX]) {
            let mut out = Vec::new();
            out.put_base128(value);
            assert_eq!(out.len(), base128_size(value), "{value:#x}");
        }
    }

    #[test]
    fn a_varint_too_long_or_too_wide_is_malformed() {
        assert!(Reader::new(&[0x80; 6]).uvarint("v").is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x1f]).uvarint("v").is_err());
        assert!(Reader::new(&[0xff; 10]).varlong("v").is_err());
        assert!(Reader::new(&[0x80]).uvarint("v").is_err());
    }

    #[test]
    fn a_count_beyond_the_bytes_left_is_refused_before_anyone_reserves_by_it() {
        assert!(Reader::new(&[0x7f, 0xff, 0xff, 0xff]).count(false, "items").is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).count(true, "items").is_err());
        assert_eq!(Reader::new(&[0xff; 4]).count(false, "items"), Ok(0), "null");
    }

    proptest! {
        #[test]
        fn integers_round_trip_and_their_sizes_are_foretold(a: i32, b: i64, c: u32) {
            let mut out = Vec::new();
            out.put_varint(a);
            prop_assert_eq!(out.len(), varint_size(a));
            out.put_varlong(b);
            prop_assert_eq!(out.len(), varint_size(a) + varlong_size(b));
            out.put_uvarint(c);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varint("a"), Ok(a));
            prop_assert_eq!(reader.varlong("b"), Ok(b));
            prop_assert_eq!(reader.uvarint("c"), Ok(c));
            prop_assert!(reader.finish("end").is_ok());
        }

        #[test]
        fn strings_round_trip_and_null_is_not_empty(
            text in proptest::option::of(".{0,200}"), flexible: bool
        ) {
            let mut out = Vec::new();
            out.put_text(flexible, text.as_deref());
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.text(flexible, "t"), Ok(text.as_deref().map(str::as_bytes)));
            prop_assert!(reader.finish("end").is_ok());
        }
    }
}
