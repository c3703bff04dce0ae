//! Texts that nobody may see, and where they are kept out of configurations: `env.NAME`.

use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What a text begins with that is the name of an environment variable.
const VARIABLE: &str = "env.";

/// A text that is shown to nobody: its `Debug` is `[redacted]`, no error repeats it, and its memory
/// is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text itself, or the value of the environment variable that `env.NAME` names, which `lookup`
    /// answers with.
    ///
    /// # Errors
    ///
    /// `VariableError` when the variable has no value.
    pub fn resolve(
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, VariableError> {
        match text.strip_prefix(VARIABLE) {
            Some(variable) => Self::of_variable(variable, lookup),
            None => Ok(Self::new(text)),
        }
    }

    /// The value of this environment variable.
    pub(crate) fn of_variable(
        variable: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, VariableError> {
        match lookup(variable) {
            Some(value) if !value.is_empty() => Ok(Self::new(value)),
            found => Err(VariableError { variable: variable.to_owned(), empty: found.is_some() }),
        }
    }

    /// The text, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An environment variable without a value, where a secret should be in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {variable:?} is {}", if *.empty { "empty" } else { "not set" })]
#[non_exhaustive]
pub struct VariableError {
    /// The variable.
    pub variable: String,
    /// Whether it is set, but to nothing.
    pub empty: bool,
}

/// Takes as long for texts that differ late as for those that differ early.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "[redacted]");
    }

    #[test]
    fn a_secret_may_be_in_the_environment() {
        let resolve = |text: &str| {
            let found = Secret::resolve(text, &|name| match name {
                "SET" => Some("hunter2".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            });
            found.map_err(|error| error.to_string())
        };
        assert_eq!(resolve("hunter2"), Ok(Secret::new("hunter2")));
        assert_eq!(resolve("env.SET"), Ok(Secret::new("hunter2")));
        assert_eq!(resolve("env.NOT").unwrap_err(), "the environment variable \"NOT\" is not set");
        let empty = resolve("env.EMPTY").unwrap_err();
        assert_eq!(empty, "the environment variable \"EMPTY\" is empty");
    }

    #[test]
    fn secrets_are_equal_when_their_texts_are() {
        assert_eq!(Secret::new("hunter2"), Secret::new("hunter2"));
        assert_ne!(Secret::new("hunter2"), Secret::new("hunter3"));
        assert_ne!(Secret::new("hunter2"), Secret::new(""));
    }
}
