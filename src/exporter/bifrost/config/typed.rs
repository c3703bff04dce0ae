//! Typed values out of a JSON text.
//!
//! Decides what is an object, an array, a string, and so on, and says where in the text a value of
//! another type stands. What the values mean is left to the caller. No error repeats a value, which
//! may be a secret.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::ConfigError;
use crate::exporter::bifrost::json::{Pairs, position, reason};

/// The members of an object, in order.
pub(super) type Fields<'a> = Vec<(Cow<'a, str>, &'a RawValue)>;

/// A text, to read values out of. Every `raw` given to it must be a part of it.
pub(super) struct Typed<'a> {
    text: &'a str,
}

impl<'a> Typed<'a> {
    /// Reads from `text`.
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text }
    }

    /// The text as one value.
    pub(super) fn whole(&self) -> Result<&'a RawValue, ConfigError> {
        serde_json::from_str(self.text).map_err(|error| malformed(&error))
    }

    /// The members that are not `null`.
    pub(super) fn object(&self, field: &str, raw: &'a RawValue) -> Result<Fields<'a>, ConfigError> {
        self.expect(field, raw, "an object")?;
        let Pairs(mut fields) = self.parse::<Pairs<'a, &'a RawValue>>(raw)?;
        fields.retain(|(_, value)| value.get() != "null");
        Ok(fields)
    }

    /// The elements.
    pub(super) fn array(
        &self,
        field: &str,
        raw: &'a RawValue,
    ) -> Result<Vec<&'a RawValue>, ConfigError> {
        self.expect(field, raw, "an array")?;
        self.parse(raw)
    }

    /// The elements, all strings.
    pub(super) fn strings(
        &self,
        field: &str,
        raw: &'a RawValue,
    ) -> Result<Vec<String>, ConfigError> {
        let items = self.array(field, raw)?.into_iter().enumerate();
        items.map(|(index, item)| self.string(&format!("{field}[{index}]"), item)).collect()
    }

    /// The string.
    pub(super) fn string(&self, field: &str, raw: &'a RawValue) -> Result<String, ConfigError> {
        self.expect(field, raw, "a string")?;
        self.parse(raw)
    }

    /// The boolean.
    pub(super) fn boolean(&self, field: &str, raw: &'a RawValue) -> Result<bool, ConfigError> {
        self.expect(field, raw, "true or false")?;
        Ok(raw.get() == "true")
    }

    /// The number as it is written.
    pub(super) fn number(&self, field: &str, raw: &'a RawValue) -> Result<&'a str, ConfigError> {
        self.expect(field, raw, "a number")?;
        Ok(raw.get())
    }

    fn expect(
        &self,
        field: &str,
        raw: &'a RawValue,
        expected: &'static str,
    ) -> Result<(), ConfigError> {
        let found = kind(raw);
        if found == expected {
            return Ok(());
        }
        let (line, column) = self.position(raw);
        Err(ConfigError::WrongType { field: field.to_owned(), expected, found, line, column })
    }

    /// Reads what was already found to be JSON of the right type. Escapes can still be wrong.
    fn parse<T: serde::Deserialize<'a>>(&self, raw: &'a RawValue) -> Result<T, ConfigError> {
        serde_json::from_str(raw.get()).map_err(|_| {
            let (line, column) = self.position(raw);
            let reason = "a string holds half of a surrogate pair".to_owned();
            ConfigError::Malformed { line, column, reason }
        })
    }

    fn position(&self, raw: &RawValue) -> (usize, usize) {
        let offset = raw.get().as_ptr().addr() - self.text.as_ptr().addr();
        position(self.text.as_bytes(), offset)
    }
}

/// Whether `raw` is an object.
pub(super) fn is_object(raw: &RawValue) -> bool {
    raw.get().starts_with('{')
}

fn kind(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "true or false",
        Some(b'n') => "null",
        _ => "a number",
    }
}

fn malformed(error: &serde_json::Error) -> ConfigError {
    ConfigError::Malformed { line: error.line(), column: error.column(), reason: reason(error) }
}
