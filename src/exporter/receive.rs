//! Items out of a request body or of standard input.
//!
//! Decides how a body is cut into items: one JSON object, an array of them, or NDJSON, which are
//! objects or arrays one a line. Whole bodies may also follow each other without newlines. What an
//! item is, each exporter's own `receive` decides. How many bytes a body may have is the service's to
//! limit, and what to do about a refused item the caller's.
//!
//! Valid JSON that is no valid item is refused alone. Broken JSON ends an array and everything after
//! it, because nothing says where the next item starts; outside arrays reading goes on at the next
//! line that starts with `{` or `[`. Either way the items before are good. Every byte is read a
//! bounded number of times.

use super::json::reason;
use serde_json::Deserializer;
use serde_json::value::RawValue;

/// How items of one kind are read.
pub(super) trait Reader<'a> {
    /// What they are.
    type Item;

    /// What errors call one.
    const NOUN: &'static str;

    /// Reads the item that `json` starts with, and says where it ends; `None` if nothing is there.
    /// Errors stand where they are in `json`.
    fn read(&self, json: &'a [u8]) -> Option<Result<(Self::Item, usize), serde_json::Error>>;
}

/// An item that was refused. Index from 0; line and column from 1, in the whole body, the column in
/// bytes. The reason names the field and does not repeat message content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Not JSON. What followed on that line, or in that array, was not read.
    #[error("{noun} {index} is not valid JSON at line {line} column {column}: {reason}")]
    Malformed {
        /// What was expected.
        noun: &'static str,
        /// Which one of the body.
        index: usize,
        /// The line of the body where the JSON breaks.
        line: usize,
        /// The column of that line.
        column: usize,
        /// What is wrong.
        reason: String,
    },
    /// JSON, but not what was expected. The items after it can be read.
    #[error("{noun} {index} is refused at line {line} column {column}: {reason}")]
    Invalid {
        /// What was expected.
        noun: &'static str,
        /// Which one of the body.
        index: usize,
        /// The line of the body where the offending value ends.
        line: usize,
        /// The column of that line.
        column: usize,
        /// What is wrong.
        reason: String,
    },
}

/// An iterator over the items of a body.
#[derive(Debug, Clone)]
pub(super) struct Items<'a, R> {
    reader: R,
    body: &'a [u8],
    offset: usize,
    line: Line,
    index: usize,
    place: Place,
    /// Broken JSON was met: values no longer span lines.
    line_by_line: bool,
}

/// The line that the offset is in. Kept, so that neither a body without newlines nor one full of
/// errors is searched for them again and again.
#[derive(Debug, Clone, Copy)]
struct Line {
    number: usize,
    start: usize,
    /// Of its newline, or of the body's end.
    end: usize,
}

/// What may come next in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An item, an array or the end.
    Between,
    /// An item or the end of the array, after `[`.
    ArrayStart,
    /// An item, after a comma.
    ArrayElement,
    /// A comma or the end of the array.
    ArrayComma,
    /// Nothing.
    Done,
}

/// What the bytes at the offset turned out to be. Ends are relative to it.
enum Found<T> {
    Item { item: T, end: usize },
    Invalid { error: serde_json::Error, end: usize },
    Malformed { error: serde_json::Error },
}

impl<'a, R: Reader<'a>> Iterator for Items<'a, R> {
    type Item = Result<R::Item, ReceiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.skip_spaces();
            let byte = self.body.get(self.offset).copied();
            let place = match (self.place, byte) {
                (Place::Done, _) | (Place::Between, None) => return None,
                (Place::Between, Some(b'[')) => Place::ArrayStart,
                (Place::Between, Some(_)) => return Some(self.take_between()),
                (Place::ArrayStart | Place::ArrayComma, Some(b']')) => Place::Between,
                (Place::ArrayComma, Some(b',')) => Place::ArrayElement,
                (Place::ArrayStart | Place::ArrayElement, Some(_)) => {
                    return Some(self.take_element());
                }
                (Place::ArrayComma, Some(_)) => return Some(self.end("expected `,` or `]`")),
                (_, None) => return Some(self.end("the array has no end")),
            };
            self.place = place;
            self.offset += 1;
        }
    }
}

impl<'a, R: Reader<'a>> Items<'a, R> {
    /// The items of `body`. A body without any is empty.
    pub(super) fn new(reader: R, body: &'a [u8]) -> Self {
        let line = Line { number: 1, start: 0, end: line_end(body, 0) };
        let place = Place::Between;
        Self { reader, body, offset: 0, line, index: 0, place, line_by_line: false }
    }

    fn skip_spaces(&mut self) {
        let rest = &self.body[self.offset..];
        self.offset +=
            rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        while self.line.end < self.offset {
            let start = self.line.end + 1;
            self.line =
                Line { number: self.line.number + 1, start, end: line_end(self.body, start) };
        }
    }

    fn take_element(&mut self) -> Result<R::Item, ReceiveError> {
        let found = self.read(&self.body[self.offset..]);
        self.place = match found {
            Found::Malformed { .. } => Place::Done,
            _ => Place::ArrayComma,
        };
        self.settle(found)
    }

    fn take_between(&mut self) -> Result<R::Item, ReceiveError> {
        let rest = &self.body[self.offset..];
        let mut found = self.read(&self.body[self.offset..self.line.end]);
        if let Found::Malformed { error } = &found
            && error.is_eof()
            && !self.line_by_line
        {
            found = self.read(rest);
        }
        let malformed = matches!(found, Found::Malformed { .. });
        let item = self.settle(found);
        if malformed {
            self.line_by_line = true;
            self.offset = next_start(self.body, self.line.end);
        }
        item
    }

    fn settle(&mut self, found: Found<R::Item>) -> Result<R::Item, ReceiveError> {
        let index = self.index;
        self.index += 1;
        match found {
            Found::Item { item, end } => {
                self.offset += end;
                Ok(item)
            }
            Found::Invalid { error, end } => {
                let (line, column, reason) = self.locate(&error);
                self.offset += end;
                Err(ReceiveError::Invalid { noun: R::NOUN, index, line, column, reason })
            }
            Found::Malformed { error } => {
                let (line, column, reason) = self.locate(&error);
                Err(ReceiveError::Malformed { noun: R::NOUN, index, line, column, reason })
            }
        }
    }

    /// Reads the item that `json` starts with. A refused one is read again, only to find its end.
    fn read(&self, json: &'a [u8]) -> Found<R::Item> {
        let error = match self.reader.read(json) {
            Some(Ok((item, end))) => return Found::Item { item, end },
            Some(Err(error)) => error,
            None => serde::de::Error::custom(format_args!("expected a {} object", R::NOUN)),
        };
        let mut stream = Deserializer::from_slice(json).into_iter::<&RawValue>();
        match stream.next() {
            Some(Err(error)) => Found::Malformed { error },
            _ => Found::Invalid { error, end: stream.byte_offset() },
        }
    }

    /// Where in the body an error is that was found in what starts at the offset, and its reason.
    fn locate(&self, error: &serde_json::Error) -> (usize, usize, String) {
        let reason = reason(error);
        match error.line() {
            0 | 1 => (self.line.number, self.offset - self.line.start + error.column(), reason),
            below => (self.line.number + below - 1, error.column(), reason),
        }
    }

    fn end(&mut self, reason: &str) -> Result<R::Item, ReceiveError> {
        self.place = Place::Done;
        Err(ReceiveError::Malformed {
            noun: R::NOUN,
            index: self.index,
            line: self.line.number,
            column: self.offset - self.line.start + 1,
            reason: reason.to_owned(),
        })
    }
}

/// The offset, from that of a newline on, of the next line that can start an item.
fn next_start(body: &[u8], newline: usize) -> usize {
    let starts = |pair: &[u8]| matches!(pair, b"\n{" | b"\n[");
    body[newline..].windows(2).position(starts).map_or(body.len(), |at| newline + at + 1)
}

/// The offset of the newline at or after `start`, or of the end.
fn line_end(body: &[u8], start: usize) -> usize {
    body[start..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |at| start + at)
}
