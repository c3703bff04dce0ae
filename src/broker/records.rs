//! The records inside a batch, read independently of the producer that wrote them.
//!
//! Decides which bytes are a record, and says what is wrong with those that are not. Shares no code
//! with the producer's encoder on purpose, varints included: a mistake made in both would be seen
//! by nobody.
//!
//! Spec: <https://kafka.apache.org/documentation/#record>.

use bytes::Bytes;

use crate::protocol::Codec;
use crate::protocol::record_batch::ProducerStamp;

/// A record that the broker stored.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptedRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch, as its producer gave them.
    pub timestamp: i64,
    /// The key: null is not empty.
    pub key: Option<Bytes>,
    /// The value: null is not empty.
    pub value: Option<Bytes>,
    /// The headers, in order, duplicates included.
    pub headers: Vec<(String, Option<Bytes>)>,
    /// Offset of the first record of its batch.
    pub batch_offset: i64,
    /// How its batch is compressed.
    pub codec: Codec,
    /// Who sent its batch.
    pub stamp: ProducerStamp,
}

/// One record of a batch, its fields borrowed from the batch's inflated bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordView<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    header_count: u32,
    /// Exactly `header_count` headers, each checked.
    headers: &'a [u8],
}

/// What is wrong with a record, in words for whoever wrote the producer.
pub(crate) type Flaw = &'static str;

impl<'a> RecordView<'a> {
    /// The headers, in order.
    pub(crate) fn headers(&self) -> Vec<(String, Option<Bytes>)> {
        let mut cursor = Cursor(self.headers);
        (0..self.header_count)
            .map_while(|_| cursor.header().ok())
            .map(|(key, value)| (key.to_owned(), value.map(Bytes::copy_from_slice)))
            .collect()
    }

    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Flaw> {
        let length = usize::try_from(cursor.varint()?).map_err(|_| "negative record length")?;
        let mut body = Cursor(cursor.take(length)?);
        body.take(1)?;
        let timestamp_delta = body.varlong()?;
        let offset_delta = body.varint()?;
        let key = body.field()?;
        let value = body.field()?;
        let header_count = u32::try_from(body.varint()?).map_err(|_| "negative header count")?;
        let headers = body.0;
        for _ in 0..header_count {
            body.header()?;
        }
        if !body.0.is_empty() {
            return Err("record is shorter than its length");
        }
        Ok(Self { timestamp_delta, offset_delta, key, value, header_count, headers })
    }
}

/// Calls `each` for the next record of inflated `records`, again and again, until they end.
///
/// # Errors
///
/// The index of the first record that is malformed or that `each` refuses, and why.
pub(crate) fn walk<'a>(
    records: &'a [u8],
    mut each: impl FnMut(i32, RecordView<'a>) -> Result<(), Flaw>,
) -> Result<i32, (i32, Flaw)> {
    let mut cursor = Cursor(records);
    let mut index = 0;
    while !cursor.0.is_empty() {
        RecordView::read(&mut cursor)
            .and_then(|record| each(index, record))
            .map_err(|flaw| (index, flaw))?;
        index += 1;
    }
    Ok(index)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Flaw> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("record is cut off")?;
        self.0 = rest;
        Ok(taken)
    }

    /// Groups of seven bits, the low group first, at most `bits` of them.
    fn unsigned(&mut self, bits: u32) -> Result<u64, Flaw> {
        let mut value = 0_u128;
        for shift in (0..bits).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u128::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return match value >> bits {
                    0 => u64::try_from(value).map_err(|_| "varint is too large"),
                    _ => Err("varint is too large"),
                };
            }
        }
        Err("varint is too long")
    }

    fn varlong(&mut self) -> Result<i64, Flaw> {
        let raw = self.unsigned(64)?;
        let magnitude = i64::try_from(raw / 2).map_err(|_| "varint is too large")?;
        Ok(if raw % 2 == 0 { magnitude } else { !magnitude })
    }

    fn varint(&mut self) -> Result<i32, Flaw> {
        let raw = self.unsigned(32)?;
        let magnitude = i32::try_from(raw / 2).map_err(|_| "varint is too large")?;
        Ok(if raw % 2 == 0 { magnitude } else { !magnitude })
    }

    fn field(&mut self) -> Result<Option<&'a [u8]>, Flaw> {
        match self.varint()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| "negative field length")?;
                self.take(length).map(Some)
            }
        }
    }

    fn header(&mut self) -> Result<(&'a str, Option<&'a [u8]>), Flaw> {
        let key = self.field()?.ok_or("header key is null")?;
        let key = std::str::from_utf8(key).map_err(|_| "header key is not UTF-8")?;
        Ok((key, self.field()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_zigzag_and_bounded() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x01], -1),
            (&[0x7f], -64),
            (&[0x80, 0x01], 64),
            (&[0xff, 0xff, 0xff, 0xff, 0x0f], i32::MIN),
        ] {
            assert_eq!(Cursor(bytes).varint(), Ok(value));
            assert_eq!(Cursor(bytes).varlong(), Ok(i64::from(value)));
        }
        assert!(Cursor(&[0xff, 0xff, 0xff, 0xff, 0x1f]).varint().is_err());
        assert!(Cursor(&[0x80; 5]).varint().is_err());
        assert!(Cursor(&[0x80; 10]).varlong().is_err());
        let lowest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Cursor(&lowest).varlong(), Ok(i64::MIN));
    }

    #[test]
    fn each_flaw_of_a_record_is_told_with_its_index() {
        let good = [0x0e, 0, 0, 0, 1, 2, b'v', 0];
        assert_eq!(walk(&good, |_, _| Ok(())), Ok(1));
        for (bytes, flaw) in [
            (&[0x01][..], "negative record length"),
            (&[0x10, 0, 0, 0, 1, 2, b'v', 0], "record is cut off"),
            (&[0x10, 0, 0, 0, 1, 2, b'v', 0, 0], "record is shorter than its length"),
            (&[0x0e, 0, 0, 0, 1, 2, b'v', 1], "negative header count"),
            (&[0x12, 0, 0, 0, 1, 2, b'v', 2, 1, 0], "header key is null"),
            (&[0x14, 0, 0, 0, 1, 2, b'v', 2, 2, 0xff, 1], "header key is not UTF-8"),
            (&[0x0e, 0, 0, 0, 3, 2, b'v', 0], "negative field length"),
        ] {
            let bytes = [&good[..], bytes].concat();
            assert_eq!(walk(&bytes, |_, _| Ok(())), Err((1, flaw)));
        }
    }
}
