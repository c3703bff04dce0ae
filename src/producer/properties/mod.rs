//! librdkafka's properties: its names and values for a producer's settings.
//!
//! Configurations of librdkafka are everywhere, so every property that concerns a producer is
//! known here, is read as librdkafka reads it, and does what it does there, or nothing with a note
//! that says so, or is refused with the reason. Nothing is half done: what would change where
//! records go, or who can read them, is refused rather than ignored.
//!
//! | file | decides |
//! |---|---|
//! | `value` | what a text means |
//! | `rows` | which properties there are: data |
//! | `table` | what a row does |
//! | `rules` | what properties do to each other |
//! | `security` | what those of TLS and SASL come to |
//! | `error`, `describe` | what is said about all that |
//!
//! Semantics: <https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md>
//!
#![doc = include_str!("properties.md")]

mod describe;
mod error;
mod rows;
mod rules;
mod security;
mod table;
mod value;

pub use error::{NoteKind, PropertyError, PropertyNote};

use super::config::ProducerConfig;
use rules::Draft;
use std::collections::BTreeMap;
use table::{Effect, Row, find};
use value::{Kind, Value};

/// Properties, on their way to a [`ProducerConfig`].
///
/// ```
/// use ottla::producer::Properties;
/// use ottla::producer::Acks;
///
/// let mut properties = Properties::from_pairs([
///     ("bootstrap.servers", "kafka-1:9092, kafka-2"),
///     ("linger.ms", "20"),
///     ("group.id", "shared-with-a-consumer"),
/// ])?;
/// properties.set("acks", "1")?;
/// let (config, notes) = properties.into_config()?;
/// assert_eq!(config.acks, Acks::One);
/// assert_eq!(config.bootstrap[1].to_string(), "kafka-2:9092");
/// let notes: Vec<_> = notes.iter().map(ToString::to_string).collect();
/// assert_eq!(notes, [
///     "group.id is a consumer property: it is ignored",
///     "enable.idempotence: off, because acks=1 was given",
/// ]);
/// # Ok::<(), ottla::producer::PropertyError>(())
/// ```
///
/// What is not set is as in [`ProducerConfig::new`], or as in librdkafka if it is made by
/// [`librdkafka_defaults`](Self::librdkafka_defaults).
#[derive(Debug, Clone, Default)]
pub struct Properties {
    settings: Settings,
    librdkafka: bool,
}

/// What was set, by the property's main name.
#[derive(Debug, Clone, Default)]
struct Settings(BTreeMap<&'static str, Given>);

/// A property that was set.
#[derive(Debug, Clone)]
struct Given {
    /// As it was spelled: its main name or another.
    name: &'static str,
    text: String,
    value: Value,
    /// Not merely a default of the program's.
    explicit: bool,
    /// It took the place of one that was given by this other name.
    replaces: Option<&'static str>,
}

impl Properties {
    /// None set, upon the defaults of [`ProducerConfig`].
    pub fn new() -> Self {
        Self::default()
    }

    /// None set, upon librdkafka's own defaults. They differ: no idempotence, any number of
    /// requests in flight, CRC-32 of keys, a buffer of 1 GiB, and more time for everything.
    ///
    /// ```
    /// use ottla::producer::Properties;
    ///
    /// let mut properties = Properties::librdkafka_defaults();
    /// properties.set("bootstrap.servers", "localhost")?;
    /// let (config, _) = properties.into_config()?;
    /// assert!(!config.idempotence);
    /// assert_eq!(config.partitioner.name(), "consistent_random");
    /// # Ok::<(), ottla::producer::PropertyError>(())
    /// ```
    pub fn librdkafka_defaults() -> Self {
        Self { librdkafka: true, ..Self::default() }
    }

    /// These, set one after the other.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set), for the first that is wrong.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, PropertyError> {
        let mut properties = Self::new();
        for (name, value) in pairs {
            properties.set(name.as_ref(), value.as_ref())?;
        }
        Ok(properties)
    }

    /// Sets a property. A later value of it wins, by whichever of its names it is given.
    ///
    /// # Errors
    ///
    /// `Unknown`, `Invalid`, `OutOfRange`, `Callback` or `Unsupported`; nothing is set then.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        self.put(name, value, true)
    }

    /// Sets a property as a default of the program's own: like [`set`](Self::set), but where two
    /// properties exclude each other it gives way to the one that someone set.
    ///
    /// ```
    /// use ottla::producer::Acks;
    /// use ottla::producer::Properties;
    ///
    /// let mut properties = Properties::from_pairs([("bootstrap.servers", "localhost")])?;
    /// properties.set_default("acks", "1")?;
    /// properties.set("enable.idempotence", "true")?;
    /// let (config, notes) = properties.into_config()?;
    /// assert_eq!(config.acks, Acks::All);
    /// assert_eq!(notes[0].to_string(), "acks: raised to all, as enable.idempotence=true needs it");
    /// # Ok::<(), ottla::producer::PropertyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As `set`.
    pub fn set_default(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        self.put(name, value, false)
    }

    /// Every property of a producer as a Markdown table: its values, librdkafka's default, and what
    /// it does here. The documentation of [this module](self) ends in it.
    ///
    /// ```
    /// let table = ottla::producer::Properties::table();
    /// assert!(table.contains("| `linger.ms` |  |  | as `queue.buffering.max.ms` |"));
    /// ```
    pub fn table() -> String {
        describe::markdown()
    }

    /// Whether a property's value must not be shown. Nothing is known of a name that is none.
    pub fn is_secret(name: &str) -> bool {
        find(name).is_none_or(|(_, row)| matches!(row.kind, Kind::Secret))
    }

    /// Whether two names are those of one property.
    pub fn are_one(first: &str, second: &str) -> bool {
        let canonical = |name| find(name).map(|(_, row)| row.name);
        first == second || canonical(first).is_some_and(|name| canonical(second) == Some(name))
    }

    fn put(&mut self, name: &str, text: &str, explicit: bool) -> Result<(), PropertyError> {
        let Some((spelled, row)) = find(name) else {
            return Err(PropertyError::Unknown { name: name.to_owned() });
        };
        let value = row.read(spelled.name, text)?;
        let before = self.settings.0.get(row.name);
        let replaces = before
            .filter(|before| before.explicit && explicit && before.name != spelled.name)
            .map(|before| before.name);
        let given = Given { name: spelled.name, text: row.shown(text), value, explicit, replaces };
        self.settings.0.insert(row.name, given);
        Ok(())
    }

    /// The settings that they come to, and what should be logged about them, once.
    ///
    /// # Errors
    ///
    /// `Conflict`, when two that were set exclude each other, or `Config`, when there is no broker.
    pub fn into_config(self) -> Result<(ProducerConfig, Vec<PropertyNote>), PropertyError> {
        let mut config = ProducerConfig::defaults();
        if self.librdkafka {
            for row in table::all() {
                if let Some(value) = row.default_value() {
                    row.apply(row.name, &mut config, &value, row.default)?;
                }
            }
        }
        let mut notes = Vec::new();
        for (name, given) in &self.settings.0 {
            let Some((_, row)) = find(name) else { continue };
            row.apply(given.name, &mut config, &given.value, &given.text)?;
            notes.extend(given.notes(row));
        }
        let mut draft = Draft { config, settings: &self.settings, notes };
        draft.settle()?;
        let Draft { config, notes, .. } = draft;
        config.validate()?;
        Ok((config, notes))
    }
}

impl Settings {
    fn get(&self, name: &str) -> Option<&Given> {
        self.0.get(name)
    }

    fn explicit(&self, name: &str) -> Option<&Given> {
        self.get(name).filter(|given| given.explicit)
    }
}

impl Given {
    /// `name=value`, as it was given.
    fn pair(&self) -> String {
        format!("{}={}", self.name, self.text)
    }

    /// Whether it asks for something else than what happens anyway.
    fn is_not_default(&self) -> bool {
        let default = find(self.name).and_then(|(_, row)| row.default_value());
        default.as_ref() != Some(&self.value) && self.value != Value::Text(String::new())
    }

    /// What is to be said of it alone.
    fn notes(&self, row: &Row) -> impl Iterator<Item = PropertyNote> + use<> {
        let note =
            |kind, text: &'static str| PropertyNote { name: self.name, kind, text: text.into() };
        let effect = match row.effect {
            Effect::Inert(reason) if row.default_value().as_ref() != Some(&self.value) => {
                Some(note(NoteKind::NoEffect, reason))
            }
            Effect::Deprecated => Some(note(NoteKind::Deprecated, "it is ignored")),
            Effect::Consumer => Some(note(NoteKind::Consumer, "it is ignored")),
            _ => None,
        };
        let replaced = self.replaces.map(|other| PropertyNote {
            name: self.name,
            kind: NoteKind::Replaced,
            text: format!("replaces {other}, which is the same property").into(),
        });
        replaced.into_iter().chain(effect.filter(|_| self.explicit))
    }
}

impl Row {
    /// A value as errors and notes may repeat it.
    fn shown(&self, text: &str) -> String {
        match self.kind {
            Kind::Secret => "[redacted]".to_owned(),
            _ => text.trim().to_owned(),
        }
    }

    /// Reads and checks a value given for the property by the name `spelled`.
    fn read(&self, spelled: &'static str, text: &str) -> Result<Value, PropertyError> {
        let value = self.kind.parse(spelled, text)?;
        if let Effect::Refused(reason) = self.effect {
            let default = text.eq_ignore_ascii_case(self.default)
                || self.default_value().as_ref() == Some(&value);
            // The value may be a secret: nothing is said of it.
            return match default {
                true => Ok(Value::Text(String::new())),
                false => Err(PropertyError::Unsupported { name: spelled, reason }),
            };
        }
        self.apply(spelled, &mut ProducerConfig::defaults(), &value, text)?;
        Ok(value)
    }

    /// Puts a value into its field, if it has one.
    fn apply(
        &self,
        spelled: &'static str,
        config: &mut ProducerConfig,
        value: &Value,
        text: &str,
    ) -> Result<(), PropertyError> {
        let Effect::Sets(_, set) = self.effect else { return Ok(()) };
        set.apply(config, value).map_err(|fault| PropertyError::Invalid {
            name: spelled,
            value: text.to_owned(),
            fault,
        })
    }
}

#[cfg(test)]
mod tests;
