//! One record inside a batch: its fields, written and read.
//!
//! Null and empty are different bytes for a key, a value and a header's value (a null value is a
//! tombstone). Headers are a list: order and duplicates are kept. Timestamps and offsets are
//! relative to the batch, so this file knows only deltas.
//!
//! Spec: <https://kafka.apache.org/documentation/#record>, KIP-82 for headers.

use super::chunks::Chunks;
use super::wire::{DecodeError, Reader, VarintWriter, varint_size, varlong_size};
use bytes::Bytes;

/// A record header. The same key may occur several times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its name.
    pub key: &'a str,
    /// Its value: null is not empty.
    pub value: Option<&'a [u8]>,
}

/// The content of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Content<'a> {
    /// The key: null is not empty.
    pub key: Option<&'a [u8]>,
    /// The value: null is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header<'a>],
}

/// What one record may occupy at most beside its key, value and headers: three varints, a
/// varlong and the attribute byte, with the length in front.
pub const OVERHEAD_MAX: usize = 5 + 1 + 10 + 5 + 5 + 5 + 5;

/// The least that one record occupies: its length, attributes, two deltas, two nulls, no headers.
pub(super) const SIZE_MIN: usize = 7;

/// The least that a header occupies: an empty name and a null.
const HEADER_SIZE_MIN: usize = 2;

impl Content<'_> {
    /// An upper bound of the encoded size, in bytes; `usize::MAX` if that cannot be counted.
    pub fn size_bound(&self) -> usize {
        let field = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len);
        let header = |header: &Header<'_>| 10 + header.key.len() + field(header.value);
        let headers: usize = self.headers.iter().map(header).sum();
        OVERHEAD_MAX + field(self.key) + field(self.value) + headers
    }

    /// Encoded size without the length in front.
    fn body_size(&self, timestamp_delta: i64, offset_delta: i32) -> usize {
        let header = |header: &Header<'_>| {
            field_size(Some(header.key.as_bytes())) + field_size(header.value)
        };
        1 + varlong_size(timestamp_delta)
            + varint_size(offset_delta)
            + field_size(self.key)
            + field_size(self.value)
            + varint_size(length(self.headers.len()))
            + self.headers.iter().map(header).sum::<usize>()
    }

    /// Appends the record to a batch.
    ///
    /// # Panics
    ///
    /// When the record exceeds 2 GiB: a batch never takes one that large.
    pub(super) fn encode(&self, timestamp_delta: i64, offset_delta: i32, out: &mut Chunks) {
        let size = self.body_size(timestamp_delta, offset_delta);
        let numbers = (size, timestamp_delta, offset_delta);
        // The length itself takes five bytes at most.
        match out.room_for(5 + size) {
            Some(chunk) => self.write(numbers, chunk),
            None => self.write(numbers, out),
        }
    }

    fn write(&self, numbers: (usize, i64, i32), out: &mut impl VarintWriter) {
        let (size, timestamp, offset) = numbers;
        out.put_varint(length(size));
        out.append(&[0]);
        out.put_varlong(timestamp);
        out.put_varint(offset);
        put_field(out, self.key);
        put_field(out, self.value);
        out.put_varint(length(self.headers.len()));
        for header in self.headers {
            put_field(out, Some(header.key.as_bytes()));
            put_field(out, header.value);
        }
    }
}

fn field_size(field: Option<&[u8]>) -> usize {
    field.map_or(1, |bytes| varint_size(length(bytes.len())) + bytes.len())
}

fn put_field(out: &mut impl VarintWriter, field: Option<&[u8]>) {
    match field {
        None => out.put_varint(-1),
        Some(bytes) => {
            out.put_varint(length(bytes.len()));
            out.append(bytes);
        }
    }
}

fn length(length: usize) -> i32 {
    i32::try_from(length).expect("records are bounded far below 2 GiB")
}

/// A record as read from a batch. Its bytes share the batch's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Its offset in the partition.
    pub offset: i64,
    /// Milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The headers, in order, duplicates included.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// What the deltas of a batch's records are relative to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base {
    pub(super) offset: i64,
    pub(super) timestamp: i64,
}

impl ConsumedRecord {
    /// Reads one record at `reader`, which runs over `records`.
    pub(super) fn decode(
        reader: &mut Reader<'_>,
        records: &Bytes,
        base: Base,
    ) -> Result<Self, DecodeError> {
        let start = reader.malformed("record");
        let size = usize::try_from(reader.varint("record length")?).map_err(|_| start.clone())?;
        let mut body = Reader::new(reader.take(size, "record")?);
        body.i8("record attributes")?;
        let timestamp = base.timestamp.checked_add(body.varlong("timestamp delta")?);
        let offset = base.offset.checked_add(i64::from(body.varint("offset delta")?));
        let key = take_field(&mut body, "key")?;
        let value = take_field(&mut body, "value")?;
        let count = usize::try_from(body.varint("header count")?).map_err(|_| start.clone())?;
        if count > body.remaining() / HEADER_SIZE_MIN {
            return Err(start);
        }
        let mut headers = Vec::with_capacity(count);
        for _ in 0..count {
            let name = take_field(&mut body, "header key")?.ok_or_else(|| start.clone())?;
            let name = std::str::from_utf8(name).map_err(|_| start.clone())?;
            let value = take_field(&mut body, "header value")?;
            headers.push((name.to_owned(), value.map(|value| records.slice_ref(value))));
        }
        body.finish("record")?;
        Ok(Self {
            offset: offset.ok_or_else(|| start.clone())?,
            timestamp: timestamp.ok_or(start)?,
            key: key.map(|key| records.slice_ref(key)),
            value: value.map(|value| records.slice_ref(value)),
            headers,
        })
    }
}

fn take_field<'a>(
    reader: &mut Reader<'a>,
    what: &'static str,
) -> Result<Option<&'a [u8]>, DecodeError> {
    let start = reader.malformed(what);
    match reader.varint(what)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| start)?;
            reader.take(length, what).map(Some)
        }
    }
}
