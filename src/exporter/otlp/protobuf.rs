//! Protobuf's wire format: fields out of bytes, fields into bytes.
//!
//! Decides what a field is, where it ends, and when bytes hold none. Knows no message: what a number
//! means is left to the schema. Nothing is allocated by a length, and no byte is read twice.
//!
//! Spec: <https://protobuf.dev/programming-guides/encoding/>.

use super::fault::Reason;
use super::schema::{Kind, Wire};
use bytes::BufMut;

/// How deep messages may nest below a request: protobuf's usual limit, in every direction.
pub(crate) const DEPTH_MAX: usize = 100;

/// One field as it stands in a message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// Its number.
    pub number: u32,
    /// Where its tag begins.
    pub start: usize,
    /// Where its value ends.
    pub end: usize,
    /// Its value.
    pub value: Value<'a>,
}

impl<'a> Entry<'a> {
    /// The content of a string, bytes or message field with this number.
    pub(crate) fn bytes_of(&self, number: u32) -> Option<&'a [u8]> {
        match self.value {
            Value::Bytes(bytes) if self.number == number => Some(bytes),
            _ => None,
        }
    }

    /// Where the content of a length-delimited value begins.
    pub(crate) const fn content_start(&self) -> usize {
        match self.value {
            Value::Bytes(content) => self.end - content.len(),
            _ => self.end,
        }
    }
}

/// The value of a field, by its wire type.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'a> {
    /// A varint.
    Varint(u64),
    /// Eight bytes.
    Fixed64(u64),
    /// A length's worth of bytes.
    Bytes(&'a [u8]),
    /// Four bytes.
    Fixed32(u32),
}

impl Value<'_> {
    /// Its wire type.
    pub(crate) const fn wire(&self) -> Wire {
        match self {
            Self::Varint(_) => Wire::Varint,
            Self::Fixed64(_) => Wire::Fixed64,
            Self::Bytes(_) => Wire::Length,
            Self::Fixed32(_) => Wire::Fixed32,
        }
    }

    /// Whether it is its field's default, which proto3 does not write. Minus zero is not.
    pub(crate) const fn is_default(&self) -> bool {
        match *self {
            Self::Varint(value) | Self::Fixed64(value) => value == 0,
            Self::Bytes(content) => content.is_empty(),
            Self::Fixed32(value) => value == 0,
        }
    }
}

/// The bytes at `offset` do not form what should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    /// Where the field or value began.
    pub offset: usize,
    /// What is wrong.
    pub reason: Reason,
}

impl Flaw {
    /// The flaw, seen from the start of what lies `base` bytes before.
    pub(crate) fn below(mut self, base: usize) -> Self {
        self.offset += base;
        self
    }
}

/// Reads the fields of a message, or the bare values of a packed field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a> {
    bytes: &'a [u8],
    /// `offset <= bytes.len()`
    offset: usize,
}

impl<'a> Fields<'a> {
    /// The fields of a message, from its first.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self::from(bytes, 0)
    }

    /// The fields of a message, from the one that begins at `offset`.
    pub(crate) const fn from(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset }
    }

    /// The next field, if the message has one more.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<Entry<'a>>, Flaw> {
        if self.offset == self.bytes.len() {
            return Ok(None);
        }
        let start = self.offset;
        match self.entry(start) {
            Ok(entry) => Ok(Some(entry)),
            Err(reason) => Err(Flaw { offset: start, reason }),
        }
    }

    /// The next value of a packed field, if it has one more.
    #[inline]
    pub(crate) fn next_packed(&mut self, kind: Kind) -> Result<Option<Value<'a>>, Flaw> {
        if self.offset == self.bytes.len() {
            return Ok(None);
        }
        let offset = self.offset;
        self.value(kind.wire()).map(Some).map_err(|reason| Flaw { offset, reason })
    }

    // Called for every field of every request: passing entries through memory would cost more than
    // reading them.
    #[inline(always)]
    fn entry(&mut self, start: usize) -> Result<Entry<'a>, Reason> {
        let tag = u32::try_from(self.varint()?).map_err(|_| Reason::Number)?;
        let number = tag >> 3;
        if number == 0 {
            return Err(Reason::FieldNumber);
        }
        let value = match tag & 7 {
            0 => self.value(Wire::Varint)?,
            1 => self.value(Wire::Fixed64)?,
            2 => self.value(Wire::Length)?,
            5 => self.value(Wire::Fixed32)?,
            wire => return Err(Reason::WireType(wire)),
        };
        Ok(Entry { number, start, end: self.offset, value })
    }

    #[inline(always)]
    fn value(&mut self, wire: Wire) -> Result<Value<'a>, Reason> {
        Ok(match wire {
            Wire::Varint => Value::Varint(self.varint()?),
            Wire::Fixed64 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            Wire::Fixed32 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            Wire::Length => {
                let length = usize::try_from(self.varint()?).map_err(|_| Reason::Truncated)?;
                Value::Bytes(self.take(length)?)
            }
        })
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Reason> {
        match self.bytes.get(self.offset) {
            Some(byte) if *byte < 0x80 => {
                self.offset += 1;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    #[inline(never)]
    fn long_varint(&mut self) -> Result<u64, Reason> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.bytes.get(self.offset).ok_or(Reason::Truncated)?;
            self.offset += 1;
            // The tenth byte has room for one bit.
            if shift == 63 && byte > 1 {
                return Err(Reason::Number);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Reason::Number)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'a [u8], Reason> {
        let taken = self.bytes[self.offset..].get(..length).ok_or(Reason::Truncated)?;
        self.offset += length;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Reason> {
        let taken = *self.bytes[self.offset..].first_chunk().ok_or(Reason::Truncated)?;
        self.offset += N;
        Ok(taken)
    }
}

/// The fields of a message that has been validated, or those before its first flaw.
pub(crate) fn well_formed(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut fields = Fields::new(bytes);
    std::iter::from_fn(move || fields.next().ok().flatten())
}

/// Encoded size of a varint.
pub(crate) const fn varint_size(value: usize) -> usize {
    // A seventh of the bits, rounded up, without a division: exact for 1 to 64 bits.
    ((usize::BITS - (value | 1).leading_zeros()) as usize * 9 + 64) / 64
}

/// Encoded size of a field with a tag of one byte and a content of this size.
pub(crate) const fn nested_size(content: usize) -> usize {
    1 + varint_size(content) + content
}

/// Writes a varint.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are what is wanted")]
pub(crate) fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes the tag of a string, bytes or message field, and its length.
pub(crate) fn put_head(out: &mut impl BufMut, number: u32, length: usize) {
    put_varint(out, u64::from(number << 3 | Wire::Length.number()));
    put_varint(out, length as u64);
}

/// Writes a field's tag.
pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, wire: Wire) {
    put_varint(out, u64::from(number << 3 | wire.number()));
}

/// Writes a value, without a tag.
pub(crate) fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    match value {
        Value::Varint(value) => put_varint(out, value),
        Value::Fixed64(value) => out.extend_from_slice(&value.to_le_bytes()),
        Value::Fixed32(value) => out.extend_from_slice(&value.to_le_bytes()),
        Value::Bytes(content) => {
            put_varint(out, content.len() as u64);
            out.extend_from_slice(content);
        }
    }
}

/// Begins a length-delimited field whose length is not yet known. To be closed by [`close`].
pub(crate) fn open(out: &mut Vec<u8>, number: u32) -> Opened {
    put_tag(out, number, Wire::Length);
    out.push(0);
    Opened { content_start: out.len() }
}

/// A length-delimited field that is being written.
#[derive(Debug)]
#[must_use]
pub(crate) struct Opened {
    content_start: usize,
}

/// Writes the length before the content. One byte was left for it: most messages are short, and
/// where a longer length is needed the content moves.
pub(crate) fn close(out: &mut Vec<u8>, opened: Opened) {
    let start = opened.content_start;
    let length = out.len() - start;
    let mut prefix = Vec::new();
    if let Ok(byte @ 0..0x80) = u8::try_from(length) {
        out[start - 1] = byte;
        return;
    }
    put_varint(&mut prefix, length as u64);
    let more = prefix.len() - 1;
    out.resize(out.len() + more, 0);
    out.copy_within(start..start + length, start + more);
    out[start - 1..start + more].copy_from_slice(&prefix);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<Entry<'_>>, Flaw> {
        Fields::new(bytes).next()
    }

    #[test]
    fn the_examples_of_the_specification_are_read() {
        let entry = first(&[0x08, 0x96, 0x01]).unwrap().unwrap();
        assert!(matches!((entry.number, entry.value), (1, Value::Varint(150))));
        let entry = first(b"\x12\x07testing").unwrap().unwrap();
        assert!(matches!((entry.number, entry.value), (2, Value::Bytes(b"testing"))));
        assert_eq!((entry.start, entry.content_start(), entry.end), (0, 2, 9));
    }

    #[test]
    fn bytes_that_are_no_field_are_refused_for_what_they_are() {
        for (bytes, reason) in [
            (&[0x0a, 0x02, 0x00][..], Reason::Truncated),
            (&[0x0a], Reason::Truncated),
            (&[0x80], Reason::Truncated),
            (&[0x09, 0, 0, 0, 0, 0, 0, 0], Reason::Truncated),
            (&[0x0d, 0, 0, 0], Reason::Truncated),
            (&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], Reason::Truncated),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], Reason::Number),
            (&[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80], Reason::Number),
            (&[0xff, 0xff, 0xff, 0xff, 0x1f, 0], Reason::Number),
            (&[0x02, 0x00], Reason::FieldNumber),
            (&[0x0b], Reason::WireType(3)),
            (&[0x0c], Reason::WireType(4)),
            (&[0x0e], Reason::WireType(6)),
            (&[0x0f], Reason::WireType(7)),
        ] {
            assert_eq!(first(bytes).unwrap_err(), Flaw { offset: 0, reason }, "{bytes:x?}");
        }
    }

    #[test]
    fn a_length_is_written_before_content_of_any_size() {
        for size in [0, 1, 127, 128, 16_383, 16_384, 2_097_152] {
            let mut out = b"before".to_vec();
            let opened = open(&mut out, 3);
            out.extend((0..=250).cycle().take(size));
            close(&mut out, opened);
            let entry = Fields::from(&out, 6).next().unwrap().unwrap();
            let Value::Bytes(content) = entry.value else { panic!("{entry:?}") };
            assert_eq!((entry.number, content.len(), entry.end), (3, size, out.len()));
            assert!(content.iter().copied().eq((0..=250).cycle().take(size)));
        }
    }

    #[test]
    fn sizes_are_foretold_on_both_sides_of_every_power_of_two() {
        for value in (0..63).flat_map(|bit| [(1_usize << bit) - 1, 1 << bit]).chain([usize::MAX]) {
            let mut out = Vec::new();
            put_varint(&mut out, value as u64);
            assert_eq!(out.len(), varint_size(value), "{value:#x}");
        }
        let mut out = Vec::new();
        put_head(&mut out, 2, 200);
        assert_eq!(out.len() + 200, nested_size(200));
    }

    proptest! {
        #[test]
        fn any_bytes_end_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut fields = Fields::new(&bytes);
            let mut end = 0;
            while let Ok(Some(entry)) = fields.next() {
                prop_assert_eq!(entry.start, end);
                prop_assert!(entry.end > end && entry.end <= bytes.len());
                end = entry.end;
            }
        }

        #[test]
        fn varints_round_trip(value: u64) {
            let mut out = vec![0x08];
            put_varint(&mut out, value);
            let read = first(&out).unwrap().unwrap().value;
            prop_assert!(matches!(read, Value::Varint(found) if found == value));
        }
    }
}
