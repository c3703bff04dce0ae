//! What properties do to each other, once all are known.
//!
//! Two rules of librdkafka run through all of it: a setting left at its default yields to one that
//! was given, and two that were given and exclude each other are an error that names both.

use super::super::config::{Acks, MAX_IN_FLIGHT_IDEMPOTENT, ProducerConfig};
use super::error::{NoteKind, PropertyError, PropertyNote};
use super::table::number;
use super::value::Value;
use super::{Given, Settings};
use crate::protocol::Compression;
use std::time::Duration;

const ACKS: &str = "request.required.acks";
const IDEMPOTENCE: &str = "enable.idempotence";
const IN_FLIGHT: &str = "max.in.flight.requests.per.connection";
const RETRIES: &str = "message.send.max.retries";
const STRATEGY: &str = "queuing.strategy";
const THRESHOLD: &str = "queue.buffering.backpressure.threshold";
const LINGER: &str = "queue.buffering.max.ms";
const TIMEOUT: &str = "message.timeout.ms";
const REQUEST_TIMEOUT: &str = "request.timeout.ms";
const MEMORY: &str = "queue.buffering.max.kbytes";
const RECORD_SIZE: &str = "message.max.bytes";
const BATCH_SIZE: &str = "batch.size";
const REFRESH: &str = "topic.metadata.refresh.interval.ms";
const MAX_AGE: &str = "metadata.max.age.ms";
const LEVEL: &str = "compression.level";
const RETRY: &str = "retry.backoff.ms";
const RETRY_MAX: &str = "retry.backoff.max.ms";
const RECONNECT: &str = "reconnect.backoff.ms";
const RECONNECT_MAX: &str = "reconnect.backoff.max.ms";

/// The longest duration that settings can say.
const LONGEST: Duration = Duration::from_millis(i32::MAX as u64);

const MILLISECOND: Duration = Duration::from_millis(1);

/// Settings on their way to go together.
pub(super) struct Draft<'a> {
    pub(super) config: ProducerConfig,
    pub(super) settings: &'a Settings,
    pub(super) notes: Vec<PropertyNote>,
}

impl Draft<'_> {
    /// Applies every rule.
    pub(super) fn settle(&mut self) -> Result<(), PropertyError> {
        self.settle_idempotence()?;
        self.settle_timeouts()?;
        self.settle_backoffs()?;
        self.settle_sizes();
        self.settle_metadata_age();
        self.settle_level();
        self.settle_security()
    }

    /// Idempotence that was asked for has its needs met; that of the default gives way.
    fn settle_idempotence(&mut self) -> Result<(), PropertyError> {
        if !self.config.idempotence {
            return Ok(());
        }
        let asked_for = self.explicit(IDEMPOTENCE);
        let needs = [
            (ACKS, self.config.acks != Acks::All, "set acks=all, or enable.idempotence=false"),
            (
                IN_FLIGHT,
                self.config.max_in_flight > MAX_IN_FLIGHT_IDEMPOTENT,
                "set it to at most 5, or enable.idempotence=false",
            ),
            (
                RETRIES,
                self.number(RETRIES) == Some(0),
                "set it to at least 1, or enable.idempotence=false",
            ),
        ];
        for (name, unmet, remedy) in needs {
            match self.explicit(name).filter(|_| unmet) {
                Some(given) if let Some(asked_for) = asked_for => {
                    return Err(conflict(given, asked_for, remedy));
                }
                Some(given) => {
                    let text = format!("off, because {} was given", given.pair());
                    self.config.idempotence = false;
                    self.adjusted(IDEMPOTENCE, text);
                    return Ok(());
                }
                None => {}
            }
        }
        if let Some(asked_for) = asked_for {
            self.check_harmless_needs(asked_for)?;
        }
        self.lower_to_idempotence(asked_for.is_some());
        Ok(())
    }

    /// Properties that do nothing here, but that librdkafka refuses beside idempotence.
    fn check_harmless_needs(&self, asked_for: &Given) -> Result<(), PropertyError> {
        let lifo = self.explicit(STRATEGY).filter(|given| given.value == Value::Choice("lifo"));
        if let Some(given) = lifo {
            return Err(conflict(given, asked_for, "set queuing.strategy=fifo"));
        }
        match self.explicit(THRESHOLD).filter(|given| number(&given.value) > 1) {
            Some(given) => Err(conflict(given, asked_for, "set the threshold to 1")),
            None => Ok(()),
        }
    }

    /// Defaults beside idempotence, of which none was given.
    fn lower_to_idempotence(&mut self, asked_for: bool) {
        if self.config.acks != Acks::All && !asked_for {
            self.config.idempotence = false;
            let text = format!("off, because acks is {} by default", self.config.acks);
            return self.adjusted(IDEMPOTENCE, text);
        }
        if self.config.acks != Acks::All {
            self.config.acks = Acks::All;
            self.adjusted(ACKS, "raised to all, as enable.idempotence=true needs it".to_owned());
        }
        self.config.max_in_flight = self.config.max_in_flight.min(MAX_IN_FLIGHT_IDEMPOTENT);
    }

    /// A record's time has room for its linger and one request.
    fn settle_timeouts(&mut self) -> Result<(), PropertyError> {
        let total = self.config.delivery_timeout;
        if total <= self.config.linger {
            if let Some(linger) = self.explicit(LINGER) {
                let timeout = self.shown(TIMEOUT, &total.as_millis());
                let remedy = "message.timeout.ms must be greater than linger.ms";
                return Err(PropertyError::Conflict {
                    first: timeout,
                    second: linger.pair(),
                    remedy,
                });
            }
            self.config.linger = total / 2;
            self.adjusted(LINGER, format!("lowered to half of {TIMEOUT}"));
        }
        let room = (total - self.config.linger).max(MILLISECOND);
        if self.config.request_timeout > room {
            self.config.request_timeout = room;
            self.config.linger = self.config.linger.min(total.saturating_sub(room));
            self.adjusted(REQUEST_TIMEOUT, format!("lowered to what {TIMEOUT} leaves, {room:?}"));
        }
        Ok(())
    }

    fn settle_backoffs(&mut self) -> Result<(), PropertyError> {
        if self.config.reconnect_backoff_max < self.config.reconnect_backoff {
            if let Some(max) = self.explicit(RECONNECT_MAX) {
                let base = self.shown(RECONNECT, &self.config.reconnect_backoff.as_millis());
                let remedy = "reconnect.backoff.max.ms must be at least reconnect.backoff.ms";
                return Err(PropertyError::Conflict { first: base, second: max.pair(), remedy });
            }
            self.config.reconnect_backoff_max = self.config.reconnect_backoff;
            self.adjusted(RECONNECT_MAX, format!("raised to {RECONNECT}"));
        }
        if self.config.retry_backoff_max < self.config.retry_backoff {
            self.adjusted(RETRY, format!("every wait is as long as {RETRY_MAX}, which is less"));
        }
        Ok(())
    }

    /// A record fits the buffer, and a batch is no larger than a record may be.
    fn settle_sizes(&mut self) {
        let config = &mut self.config;
        if config.buffer_memory < config.record_size_max {
            if self.settings.explicit(RECORD_SIZE).is_none() {
                config.record_size_max = config.buffer_memory;
                self.adjusted(RECORD_SIZE, format!("lowered to {MEMORY}"));
            } else if self.settings.explicit(MEMORY).is_none() {
                config.buffer_memory = config.record_size_max;
                self.adjusted(MEMORY, format!("raised to {RECORD_SIZE}"));
            }
        }
        if self.config.batch_size > self.config.record_size_max {
            self.config.batch_size = self.config.record_size_max;
            self.adjusted(BATCH_SIZE, format!("limited to {RECORD_SIZE}"));
        }
    }

    /// librdkafka asks at an interval, and forgets at an age; asking is what keeps it fresh here.
    fn settle_metadata_age(&mut self) {
        let refresh = self.number(REFRESH).map(|millis| match millis {
            1.. => Duration::from_millis(millis.unsigned_abs()),
            _ => LONGEST,
        });
        let max_age =
            self.number(MAX_AGE).map(|millis| Duration::from_millis(millis.unsigned_abs()));
        if let Some(age) = refresh.into_iter().chain(max_age).min() {
            self.config.metadata_max_age = age;
        }
    }

    fn settle_level(&mut self) {
        let Some(level) = self.number(LEVEL).filter(|level| *level >= 0) else { return };
        let codec = self.config.compression.codec();
        let Some(levels) = codec.levels() else {
            return self.note(LEVEL, NoteKind::NoEffect, format!("codec {codec} has no levels"));
        };
        let level = i32::try_from(level).unwrap_or(i32::MAX);
        if level > levels.max {
            self.adjusted(LEVEL, format!("lowered to {codec}'s highest, {}", levels.max));
        }
        if let Ok(compression) = Compression::with_level(codec, level.min(levels.max)) {
            self.config.compression = compression;
        }
    }

    fn explicit(&self, name: &str) -> Option<&Given> {
        self.settings.explicit(name)
    }

    /// The number set for a property, explicitly or as a default of the program.
    fn number(&self, name: &str) -> Option<i64> {
        self.settings.get(name).map(|given| number(&given.value))
    }

    /// `name=value`, as it was given if it was.
    fn shown(&self, name: &str, value: &u128) -> String {
        self.settings.get(name).map_or_else(|| format!("{name}={value}"), Given::pair)
    }

    fn adjusted(&mut self, name: &'static str, text: String) {
        self.note(name, NoteKind::Adjusted, text);
    }

    pub(super) fn note(&mut self, name: &'static str, kind: NoteKind, text: String) {
        let name = self.settings.get(name).map_or(name, |given| given.name);
        self.notes.push(PropertyNote { name, kind, text: text.into() });
    }
}

fn conflict(first: &Given, second: &Given, remedy: &'static str) -> PropertyError {
    PropertyError::Conflict { first: first.pair(), second: second.pair(), remedy }
}
