//! The shape of a message: the check that stands in front of `kafka-protocol`.
//!
//! `kafka-protocol` 0.18 reserves memory by the element counts that a peer sends, before it looks
//! whether the elements are there. So every message that it decodes is first walked here, along a
//! table of its fields: each count, string and byte field must fit into the bytes that came, and
//! nothing may be left over. The walk allocates nothing and takes time linear in the bytes, and a
//! message that passes makes the decoder allocate no more than a constant times its size.

use super::wire::{DecodeError, Reader};
use std::ops::RangeInclusive;

/// How the bytes of one field are laid out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Layout {
    /// So many bytes, whatever they mean.
    Fixed(usize),
    /// A string, null or not: compact in flexible versions.
    Text,
    /// A byte field, null or not: compact in flexible versions.
    Bytes,
    /// Any number of structs with these fields, each closed by its tags in flexible versions.
    Array(&'static [Field]),
    /// Any number of bare values (an array of strings or integers), without tags of their own.
    Values(&'static Self),
    /// One struct with these fields, closed by its tags in flexible versions.
    Struct(&'static [Field]),
}

/// One field of a struct.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    /// First version that has it.
    pub from: i16,
    /// Last version that has it.
    pub to: i16,
    /// The number of its tag, if it is a tagged field: it then stands in the struct's tag buffer.
    pub tag: Option<u32>,
    /// Its bytes.
    pub layout: Layout,
}

impl Field {
    /// A field of every version from `from` on.
    pub(crate) const fn since(from: i16, layout: Layout) -> Self {
        Self { from, to: i16::MAX, tag: None, layout }
    }

    /// A field of the versions `from` to `to`.
    pub(crate) const fn within(from: i16, to: i16, layout: Layout) -> Self {
        Self { from, to, tag: None, layout }
    }

    /// A tagged field of every version from `from` on.
    pub(crate) const fn tagged(from: i16, tag: u32, layout: Layout) -> Self {
        Self { from, to: i16::MAX, tag: Some(tag), layout }
    }

    const fn has(&self, version: i16) -> bool {
        self.from <= version && version <= self.to
    }
}

/// The body of one request or response, in every version that ottla speaks.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Versions that the table describes.
    pub versions: RangeInclusive<i16>,
    /// First flexible version (KIP-482).
    pub flexible_from: i16,
    /// Fields of the body, in order.
    pub fields: &'static [Field],
}

impl Shape {
    /// Walks `body`, which must be exactly one message of this shape.
    ///
    /// # Errors
    ///
    /// `DecodeError` when a length or count does not fit the bytes, when bytes are left over, or
    /// when the version is none of this shape's.
    pub(crate) fn check(&self, version: i16, body: &[u8]) -> Result<(), DecodeError> {
        let mut reader = Reader::new(body);
        if !self.versions.contains(&version) {
            return Err(reader.malformed("version"));
        }
        let walk = Walk { version, flexible: version >= self.flexible_from };
        walk.record(self.fields, &mut reader)?;
        reader.finish("end of message")
    }
}

#[derive(Clone, Copy)]
struct Walk {
    version: i16,
    flexible: bool,
}

impl Walk {
    fn record(self, fields: &[Field], reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        let present = |field: &&Field| field.has(self.version);
        for field in fields.iter().filter(present).filter(|field| field.tag.is_none()) {
            self.value(&field.layout, reader)?;
        }
        if !self.flexible {
            return Ok(());
        }
        reader.tags(|tag, mut content| {
            match fields.iter().filter(present).find(|field| field.tag == Some(tag)) {
                Some(field) => {
                    self.value(&field.layout, &mut content)?;
                    content.finish("tagged field")
                }
                None => Ok(()),
            }
        })
    }

    fn value(self, layout: &Layout, reader: &mut Reader<'_>) -> Result<(), DecodeError> {
        match layout {
            Layout::Fixed(size) => reader.take(*size, "value").map(drop),
            Layout::Text => reader.text(self.flexible, "string").map(drop),
            Layout::Bytes => reader.bytes(self.flexible, "bytes").map(drop),
            Layout::Struct(fields) => self.record(fields, reader),
            Layout::Array(fields) => (0..reader.count(self.flexible, "array")?)
                .try_for_each(|_| self.record(fields, reader)),
            Layout::Values(layout) => (0..reader.count(self.flexible, "array")?)
                .try_for_each(|_| self.value(layout, reader)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        versions: 0..=2,
        flexible_from: 2,
        fields: &[
            Field::since(0, Layout::Fixed(2)),
            Field::within(0, 1, Layout::Text),
            Field::since(
                1,
                Layout::Array(&[
                    Field::since(1, Layout::Text),
                    Field::since(1, Layout::Values(&Layout::Fixed(4))),
                ]),
            ),
            Field::tagged(2, 7, Layout::Array(&[Field::since(2, Layout::Fixed(1))])),
        ],
    };

    #[test]
    fn each_version_is_walked_by_its_own_fields() {
        SHAPE.check(0, b"\0\x01\0\x02ab").unwrap();
        SHAPE.check(1, b"\0\x01\xff\xff\0\0\0\x01\0\x01a\0\0\0\x01\0\0\0\x09").unwrap();
        SHAPE.check(2, b"\0\x01\x02\x02a\x02\0\0\0\x09\0\x01\x07\x03\x02\x05\0").unwrap();
        assert!(SHAPE.check(3, b"").is_err());
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_refused() {
        assert!(SHAPE.check(1, b"\0\x01\xff\xff\x7f\xff\xff\xff").is_err());
        assert!(SHAPE.check(2, b"\0\x01\x01\x01\x07\x05\xff\xff\xff\xff\x0f").is_err(), "in a tag");
    }

    #[test]
    fn bytes_left_over_are_refused() {
        assert!(SHAPE.check(0, b"\0\x01\0\x02abc").is_err());
    }
}
