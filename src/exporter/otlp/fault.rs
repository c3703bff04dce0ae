//! What is wrong with a request.
//!
//! Decides how a fault is told to the sender, whose mistake every one of them is: the path of the
//! field, where it stands, and what to send instead. Content is never repeated: it may be secret.
//! Whether the request is refused or only one of its items is the reader's decision.

use std::fmt;

/// A fault in a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// The field, such as `resourceSpans[2].scopeSpans[0].spans[13].traceId`; empty for the request.
    pub path: String,
    /// Where it stands, if that is known.
    pub place: Option<Place>,
    /// What is wrong with it.
    pub reason: Reason,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "request" } else { &self.path };
        write!(f, "{path}: {}", self.reason)?;
        match self.place {
            Some(Place::Byte(offset)) => write!(f, ", at byte {offset}"),
            Some(Place::Line { line, column }) => write!(f, ", at line {line} column {column}"),
            None => Ok(()),
        }
    }
}

/// A place in a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The offset at which a protobuf field begins.
    Byte(usize),
    /// A position in JSON text, both counted from 1, columns in bytes.
    Line {
        /// The line.
        line: usize,
        /// The column.
        column: usize,
    },
}

/// What is wrong with a field, and how to put it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// A length or value runs past the end of its message.
    #[error("cut short: send the whole request, as protobuf")]
    Truncated,
    /// Items lie where OTLP had them before version 0.15.
    #[error("instrumentation libraries are read no longer: use scopes, as OTLP 1.x does")]
    Deprecated,
    /// A number is longer or larger than its encoding may be.
    #[error("not a protobuf number: send the request as protobuf")]
    Number,
    /// A field number is zero.
    #[error("field number 0: send the request as protobuf")]
    FieldNumber,
    /// A wire type that proto3 does not have.
    #[error("wire type {0}: proto3 has no groups, send the request as protobuf")]
    WireType(u32),
    /// A known field with another wire type than its own.
    #[error("wire type {found} where {expected} belongs: use the schema of OTLP 1.x")]
    WrongWireType {
        /// The one that came.
        found: u32,
        /// That of the field.
        expected: u32,
    },
    /// A string that is not UTF-8.
    #[error("not UTF-8: send text that is, or bytesValue")]
    NotUtf8,
    /// Messages nested beyond protobuf's usual limit.
    #[error("nested deeper than {0} messages: send a flatter value")]
    TooDeep(usize),
    /// An id of a wrong length. Refuses its item only.
    #[error("an id of {found} bytes: send {expected}, or none")]
    IdSize {
        /// How long it is.
        found: usize,
        /// How long it should be.
        expected: usize,
    },
    /// A JSON value that is not what the field holds. Refuses its item only if it is an id.
    #[error("not {expected}")]
    NotA {
        /// What the field holds.
        expected: &'static str,
    },
    /// A `null` in a list of numbers, where leaving it out would shift the others. Refuses its item
    /// only.
    #[error("null in a list: send a number")]
    NullInList,
    /// A field, or two of one `oneof`, given twice in a JSON object. Refuses its item only.
    #[error("given twice, or beside another of its kind: send one")]
    Twice,
    /// Text that is not JSON, or not the JSON of this message.
    #[error("{0}")]
    Json(String),
}

/// Items that are refused while their request is accepted: OTLP's partial success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// How many spans, data points or log records.
    pub items: usize,
    /// Why the first of them is.
    pub first: Fault,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match self.items {
            0 | 1 => Ok(()),
            items => write!(f, "; and {} more items refused", items - 1),
        }
    }
}
