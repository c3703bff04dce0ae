//! What is wrong with a property, and what was made of one.
//!
//! Errors end a start; notes are for the log. Neither repeats a value that may be a secret.

use super::super::config::ConfigError;
use std::borrow::Cow;
use std::fmt;

/// A property that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PropertyError {
    /// librdkafka has none of this name either. Names are told apart by case and white space.
    #[error("no such configuration property: {name:?}")]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// The value is none that the property takes.
    #[error("invalid value {value:?} for configuration property {name:?}: {fault}")]
    Invalid {
        /// Which.
        name: &'static str,
        /// As it was given.
        value: String,
        /// What is wrong, and what would be right.
        fault: String,
    },
    /// The value is too small or too large.
    #[error("configuration property {name:?} value {value} is outside allowed range {min}..{max}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// As it was read.
        value: String,
        /// Least.
        min: i64,
        /// Most.
        max: i64,
    },
    /// It is a function or an object of librdkafka's C interface, which no text can say.
    #[error("configuration property {name:?} is a callback or pointer, which no text can set")]
    Callback {
        /// Which.
        name: &'static str,
    },
    /// What it asks for is not to be had here, and without it something else would happen.
    #[error("configuration property {name:?} is not supported: {reason}")]
    Unsupported {
        /// Which.
        name: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// Another property makes no sense without it.
    #[error("configuration property {name:?} is missing: {because}")]
    Missing {
        /// Which.
        name: &'static str,
        /// What needs it.
        because: String,
    },
    /// Two properties exclude each other.
    #[error("{first} does not go with {second}: {remedy}")]
    Conflict {
        /// One, as `name=value`.
        first: String,
        /// The other, as `name=value`.
        second: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The settings that they come to do not go together.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Something to know about a property that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PropertyNote {
    /// Which, as it was spelled.
    pub name: &'static str,
    /// What kind of thing it is.
    pub kind: NoteKind,
    /// The thing itself, in words.
    pub text: Cow<'static, str>,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteKind {
    /// The value changes nothing here.
    NoEffect,
    /// The property is out of use, in librdkafka, too.
    Deprecated,
    /// The property is one of consumers.
    Consumer,
    /// The same property was given by another name before; this one holds.
    Replaced,
    /// A setting was changed to go with the others.
    Adjusted,
}

impl fmt::Display for PropertyNote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, kind, text } = self;
        match kind {
            NoteKind::NoEffect => write!(f, "{name} has no effect: {text}"),
            NoteKind::Deprecated => write!(f, "{name} is deprecated: {text}"),
            NoteKind::Consumer => write!(f, "{name} is a consumer property: {text}"),
            NoteKind::Replaced | NoteKind::Adjusted => write!(f, "{name}: {text}"),
        }
    }
}
