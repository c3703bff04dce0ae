//! What a row of the table says, how it is found, and how it acts on the settings.
//!
//! The rows themselves are in `rows`; what depends on several properties is in `rules`.

use super::super::config::{Acks, Address, ConfigError, ProducerConfig};
use super::super::partitioner::Partitioner;
use super::rows::{CONSUMER, GLOBAL, HIDDEN, TOPIC};
use super::value::{Kind, Value};
use crate::protocol::Codec;
use std::time::Duration;

/// The port of a broker whose address has none.
const PORT: u16 = 9092;

/// What may stand in front of a broker's address.
const SCHEMES: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];

/// A property.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// librdkafka's default for a producer, as text; empty if it has none.
    pub(super) default: &'static str,
    pub(super) effect: Effect,
}

/// What a property does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Effect {
    /// It is another name of this property.
    Alias(&'static str),
    /// It sets this field.
    Sets(&'static str, Set),
    /// It has its part in a rule that decides this field.
    Rule(&'static str),
    /// Nothing, for this reason. The default is what happens anyway.
    Inert(&'static str),
    /// Nothing, here as in librdkafka.
    Deprecated,
    /// Nothing: it is one of consumers.
    Consumer,
    /// It is refused for this reason, unless its value is the default.
    Refused(&'static str),
    /// It cannot be said in text.
    Callback,
    /// None: a property of the client has the same name, and is found first.
    Shadowed,
}

/// How a value becomes a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Set {
    Flag(fn(&mut ProducerConfig) -> &mut bool),
    Millis(fn(&mut ProducerConfig) -> &mut Duration),
    Size(fn(&mut ProducerConfig) -> &mut usize),
    /// Says what is wrong with the value, if there is something.
    Other(fn(&mut ProducerConfig, &Value) -> Result<(), String>),
}

/// The row of a name, and for an alias that of the property it stands for.
pub(super) fn find(name: &str) -> Option<(&'static Row, &'static Row)> {
    let spelled = find_row(name)?;
    match spelled.effect {
        Effect::Alias(canonical) => Some((spelled, find_row(canonical)?)),
        _ => Some((spelled, spelled)),
    }
}

fn find_row(name: &str) -> Option<&'static Row> {
    all().find(|row| row.name == name)
}

/// Every row, in the order in which names are looked up.
pub(super) fn all() -> impl Iterator<Item = &'static Row> {
    [GLOBAL, TOPIC, CONSUMER, HIDDEN].into_iter().flatten()
}

impl Row {
    /// librdkafka's default, if it has one.
    pub(super) fn default_value(&self) -> Option<Value> {
        match self.default {
            "" => None,
            text => self.kind.parse(self.name, text).ok(),
        }
    }
}

impl Set {
    /// Puts `value` where it belongs. Says what is wrong with it, if there is something.
    pub(super) fn apply(self, config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
        match self {
            Self::Flag(field) => *field(config) = matches!(value, Value::Flag(true)),
            Self::Millis(field) => *field(config) = millis(value),
            Self::Size(field) => *field(config) = size(value),
            Self::Other(apply) => apply(config, value)?,
        }
        Ok(())
    }
}

/// A number's duration in milliseconds.
pub(super) fn millis(value: &Value) -> Duration {
    match value {
        Value::Fraction(number) => Duration::from_secs_f64(number.max(0.0) / 1e3),
        value => Duration::from_millis(u64::try_from(number(value)).unwrap_or(0)),
    }
}

/// The number; zero for what is none.
pub(super) const fn number(value: &Value) -> i64 {
    match value {
        Value::Number(number) => *number,
        _ => 0,
    }
}

fn size(value: &Value) -> usize {
    usize::try_from(number(value)).unwrap_or(usize::MAX)
}

fn text(value: &Value) -> &str {
    match value {
        Value::Text(text) => text,
        Value::Choice(word) => word,
        _ => "",
    }
}

pub(super) fn client_id(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    text(value).clone_into(&mut config.client_id);
    Ok(())
}

/// A list of `host:port` as librdkafka takes it: with a default port, spaces, and schemes.
pub(super) fn bootstrap(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    let parts = text(value).split(',').map(str::trim).filter(|part| !part.is_empty());
    config.bootstrap = parts.map(broker).collect::<Result<_, _>>()?;
    Ok(())
}

fn broker(part: &str) -> Result<Address, String> {
    let bare = match part.split_once("://") {
        Some((scheme, rest)) if SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(scheme)) => rest,
        Some((scheme, _)) => {
            return Err(format!("{scheme}:// is none of {}", SCHEMES.join(", ")));
        }
        None => part,
    };
    let has_port = match bare.starts_with('[') {
        true => !bare.ends_with(']'),
        false => bare.contains(':'),
    };
    let address = if has_port { bare.parse() } else { format!("{bare}:{PORT}").parse() };
    address.map_err(|error: ConfigError| error.to_string())
}

pub(super) fn acks(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    config.acks = match number(value) {
        0 => Acks::Zero,
        1 => Acks::One,
        -1 => Acks::All,
        _ => return Err("brokers take 0, 1 and all (-1), and refuse other counts".to_owned()),
    };
    Ok(())
}

pub(super) fn partitioner(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    config.partitioner = text(value).parse::<Partitioner>().map_err(|_| {
        "expected one of random, consistent, consistent_random, murmur2, murmur2_random, \
             fnv1a, fnv1a_random, round_robin"
            .to_owned()
    })?;
    Ok(())
}

pub(super) fn codec(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    let codec: Codec = text(value).parse().map_err(|_| "expected a codec".to_owned())?;
    config.compression = codec.into();
    Ok(())
}

pub(super) fn buffer_memory(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    config.buffer_memory = size(value).saturating_mul(1024);
    Ok(())
}

pub(super) fn batch_records_max(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    config.batch_records_max = u32::try_from(number(value)).unwrap_or(u32::MAX);
    Ok(())
}

pub(super) fn retries(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    config.retries = u32::try_from(number(value)).unwrap_or(u32::MAX);
    Ok(())
}

pub(super) fn connections_max_idle(
    config: &mut ProducerConfig,
    value: &Value,
) -> Result<(), String> {
    config.connections_max_idle = zero_is_no_limit(value);
    Ok(())
}

/// Any time stands for a batch's worth of bytes, and none for none.
pub(super) fn sticky(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    config.sticky_partitioning = number(value) > 0;
    Ok(())
}

pub(super) fn delivery_timeout(config: &mut ProducerConfig, value: &Value) -> Result<(), String> {
    config.delivery_timeout = zero_is_no_limit(value);
    Ok(())
}

/// A time of which zero is no limit: the longest time that settings can say stands for that.
fn zero_is_no_limit(value: &Value) -> Duration {
    match number(value) {
        0 => Duration::from_millis(i32::MAX.unsigned_abs().into()),
        _ => millis(value),
    }
}
