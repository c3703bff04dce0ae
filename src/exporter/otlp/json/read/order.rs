//! The order of a message's fields.
//!
//! Decides whether fields that were written as their keys came stand in the order of their ranks,
//! and puts them so: encoders write them so, and equal messages should be equal bytes. Which fields
//! are written is the reader's.

use crate::exporter::otlp::schema::NUMBERS;

/// Where the fields of one message were written, so that they can be put in order.
pub(super) struct Order {
    /// Where the message begins.
    start: usize,
    /// Of each rank its bytes, counted from there, if it was given.
    at: [Option<(usize, usize)>; NUMBERS],
    /// The highest rank so far.
    last: usize,
    is_ordered: bool,
}

impl Order {
    /// A message that begins at `start` of the output.
    pub(super) const fn new(start: usize) -> Self {
        Self { start, at: [None; NUMBERS], last: 0, is_ordered: true }
    }

    /// Notes the bytes of a field. `false` if there was one of its rank.
    pub(super) fn add(&mut self, rank: usize, start: usize, end: usize) -> bool {
        self.is_ordered &= rank > self.last;
        self.last = self.last.max(rank);
        self.at[rank].replace((start - self.start, end - self.start)).is_none()
    }

    /// Writes the fields again by rank, unless they came so.
    pub(super) fn settle(&self, out: &mut Vec<u8>, scratch: &mut Vec<u8>) {
        if self.is_ordered {
            return;
        }
        scratch.clear();
        scratch.extend_from_slice(&out[self.start..]);
        out.truncate(self.start);
        for (start, end) in self.at.iter().flatten() {
            out.extend_from_slice(&scratch[*start..*end]);
        }
    }
}
