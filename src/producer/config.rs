//! The producer's settings: units, defaults, and which of them go together.
//!
//! Defaults follow the Java producer, except that a batch may hold 1 MB as in librdkafka: larger
//! batches compress better and cost every side less.

use super::partitioner::Partitioner;
use super::tls::TlsConfig;
use crate::protocol::Compression;
use crate::sasl::{
    CredentialProvider, Credentials, SaltedPasswords, SaslError, SaslMechanism, Secret,
};
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Requests that may be in flight per connection while keeping order: a broker remembers so many
/// batches of a producer.
pub const MAX_IN_FLIGHT_IDEMPOTENT: usize = 5;

/// Settings of a [`Producer`](super::Producer).
///
/// ```
/// use ottla::producer::ProducerConfig;
/// use ottla::protocol::Codec;
///
/// let mut config = ProducerConfig::new(["localhost:9092"])?;
/// config.compression = Codec::Zstd.into();
/// config.validate()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProducerConfig {
    /// Brokers to ask for the cluster's metadata, at least one (`bootstrap.servers`).
    pub bootstrap: Vec<Address>,
    /// Name sent with each request, for the broker's logs and quotas (`client.id`). Default
    /// `ottla`.
    pub client_id: String,
    /// Who must have a record before it counts as delivered (`acks`). Default all.
    pub acks: Acks,
    /// Whether retries may neither duplicate nor reorder (`enable.idempotence`). Default true.
    /// Needs `acks` all, and at most five requests in flight.
    pub idempotence: bool,
    /// How partitions are chosen for records that name none (`partitioner`). Default
    /// [`Partitioner::Murmur2Random`], as in Java. Writers of one topic must agree on it, or equal
    /// keys lose their order.
    pub partitioner: Partitioner,
    /// Whether unkeyed records stay on one partition for a batch's worth of bytes
    /// (`sticky.partitioning.linger.ms` above zero). Default true. Without, each goes to a random
    /// partition, and batches are small.
    pub sticky_partitioning: bool,
    /// Codec of the batches (`compression.type`). Default none.
    pub compression: Compression,
    /// How long a batch that is not full waits for more records (`linger.ms`). Default 5 ms. With
    /// zero, records still share a batch while earlier ones are on their way.
    pub linger: Duration,
    /// Bytes of a batch before compression (`batch.size`). Default 1,000,000, which the default
    /// `message.max.bytes` of brokers lets pass. A larger record gets a batch of its own.
    pub batch_size: usize,
    /// Records of a batch (`batch.num.messages`). Default 10,000.
    pub batch_records_max: u32,
    /// Largest record, in bytes before compression (`message.max.bytes`). Default 1,000,000. A
    /// larger one is refused by `send`.
    pub record_size_max: usize,
    /// Bytes of records that the producer may hold (`buffer.memory`). Default 32 MiB.
    pub buffer_memory: usize,
    /// What becomes of a record that finds them used up. Default [`WhenFull::Block`].
    pub when_full: WhenFull,
    /// How long `send` may wait for room (`max.block.ms`). Default 60 s.
    pub max_block: Duration,
    /// How long a broker may take for a request, and we wait for its answer
    /// (`request.timeout.ms`). Default 30 s.
    pub request_timeout: Duration,
    /// From `send` to the record's end, retries included (`delivery.timeout.ms`). Default 120 s.
    /// At least `linger` plus `request_timeout`.
    pub delivery_timeout: Duration,
    /// Times that a batch is sent again, at most (`retries`). Default unlimited: until
    /// `delivery_timeout`.
    pub retries: u32,
    /// Wait before the first retry; doubles with each (`retry.backoff.ms`). Default 100 ms.
    pub retry_backoff: Duration,
    /// Longest wait between retries (`retry.backoff.max.ms`). Default 1 s.
    pub retry_backoff_max: Duration,
    /// Wait before the first reconnect to a broker; doubles with each (`reconnect.backoff.ms`).
    /// Default 50 ms.
    pub reconnect_backoff: Duration,
    /// Longest wait between reconnects (`reconnect.backoff.max.ms`). Default 1 s.
    pub reconnect_backoff_max: Duration,
    /// Bound of a connection's set-up (`socket.connection.setup.timeout.ms`). Default 10 s.
    pub connection_setup_timeout: Duration,
    /// Time without a request after which a connection is closed (`connections.max.idle.ms`).
    /// Default 9 min, below the 10 min of brokers.
    pub connections_max_idle: Duration,
    /// Produce requests on their way to one broker
    /// (`max.in.flight.requests.per.connection`). Default 5. Above one, retries without
    /// `idempotence` can reorder records.
    pub max_in_flight: usize,
    /// Age at which metadata is asked for again (`metadata.max.age.ms`). Default 5 min.
    pub metadata_max_age: Duration,
    /// Time without a record after which a topic is not asked for any more (`metadata.max.idle.ms`
    /// of the Java producer). Default 5 min. Its next record asks again.
    pub metadata_max_idle: Duration,
    /// Whether asking for a topic may create it, where brokers allow that
    /// (`allow.auto.create.topics`). Default true.
    pub allow_auto_create_topics: bool,
    /// How connections are encrypted (`security.protocol`, `ssl.*`). Default: not at all.
    pub tls: Option<TlsConfig>,
    /// How to log in (`security.protocol`, `sasl.*`). Default: not at all.
    pub sasl: Option<SaslConfig>,
    /// Largest answer accepted, in bytes (`receive.message.max.bytes`). Default 100 MB.
    pub response_size_max: usize,
}

impl ProducerConfig {
    /// The defaults, for these brokers.
    ///
    /// # Errors
    ///
    /// `ConfigError` when there is no broker, or one has no valid address.
    pub fn new<A: AsRef<str>>(bootstrap: impl IntoIterator<Item = A>) -> Result<Self, ConfigError> {
        let bootstrap = bootstrap
            .into_iter()
            .map(|address| address.as_ref().parse())
            .collect::<Result<Vec<_>, _>>()?;
        if bootstrap.is_empty() {
            return Err(ConfigError::NoBrokers);
        }
        Ok(Self { bootstrap, ..Self::defaults() })
    }

    /// The defaults, without a broker.
    pub(super) fn defaults() -> Self {
        Self {
            bootstrap: Vec::new(),
            client_id: "ottla".to_owned(),
            acks: Acks::All,
            idempotence: true,
            partitioner: Partitioner::default(),
            sticky_partitioning: true,
            compression: Compression::default(),
            linger: Duration::from_millis(5),
            batch_size: 1_000_000,
            batch_records_max: 10_000,
            record_size_max: 1_000_000,
            buffer_memory: 32 << 20,
            when_full: WhenFull::default(),
            max_block: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            retries: u32::MAX,
            retry_backoff: Duration::from_millis(100),
            retry_backoff_max: Duration::from_secs(1),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            connection_setup_timeout: Duration::from_secs(10),
            connections_max_idle: Duration::from_secs(540),
            max_in_flight: MAX_IN_FLIGHT_IDEMPOTENT,
            metadata_max_age: Duration::from_secs(300),
            metadata_max_idle: Duration::from_secs(300),
            allow_auto_create_topics: true,
            tls: None,
            sasl: None,
            response_size_max: 100_000_000,
        }
    }

    /// Checks that the settings go together.
    ///
    /// # Errors
    ///
    /// `ConfigError` names the settings that do not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.bootstrap.is_empty() {
            return Err(ConfigError::NoBrokers);
        }
        self.validate_ranges()?;
        if self.idempotence && self.acks != Acks::All {
            return Err(ConfigError::IdempotenceNeedsAcks { acks: self.acks });
        }
        if self.idempotence && self.max_in_flight > MAX_IN_FLIGHT_IDEMPOTENT {
            return Err(ConfigError::IdempotenceNeedsOrder { max_in_flight: self.max_in_flight });
        }
        if self.idempotence && self.retries == 0 {
            return Err(ConfigError::IdempotenceNeedsRetries);
        }
        if self.delivery_timeout < self.linger.saturating_add(self.request_timeout) {
            return Err(ConfigError::DeliveryTimeout {
                delivery_timeout: self.delivery_timeout,
                linger: self.linger,
                request_timeout: self.request_timeout,
            });
        }
        if self.buffer_memory < self.record_size_max {
            return Err(ConfigError::BufferMemory {
                buffer_memory: self.buffer_memory,
                record_size_max: self.record_size_max,
            });
        }
        Ok(())
    }

    fn validate_ranges(&self) -> Result<(), ConfigError> {
        let count = |setting, value: usize, min, max| {
            let value = u64::try_from(value).unwrap_or(u64::MAX);
            in_range(setting, value, min, max)
        };
        let millis = |setting, value: Duration, min| {
            let value = u64::try_from(value.as_millis()).unwrap_or(u64::MAX);
            in_range(setting, value, min, MILLIS_MAX)
        };
        count("batch_size", self.batch_size, 1, BATCH_SIZE_MAX)?;
        count("batch_records_max", self.batch_records_max as usize, 1, 1_000_000)?;
        count("record_size_max", self.record_size_max, 1, BATCH_SIZE_MAX)?;
        count("buffer_memory", self.buffer_memory, 1, u64::MAX)?;
        count("max_in_flight", self.max_in_flight, 1, 1_000_000)?;
        count("response_size_max", self.response_size_max, 1_000, i32::MAX as u64)?;
        count("client_id", self.client_id.len(), 0, i16::MAX as u64)?;
        millis("linger", self.linger, 0)?;
        millis("max_block", self.max_block, 0)?;
        millis("request_timeout", self.request_timeout, 1)?;
        millis("delivery_timeout", self.delivery_timeout, 1)?;
        millis("retry_backoff", self.retry_backoff, 0)?;
        millis("retry_backoff_max", self.retry_backoff_max, 0)?;
        millis("reconnect_backoff", self.reconnect_backoff, 0)?;
        millis("reconnect_backoff_max", self.reconnect_backoff_max, 0)?;
        millis("connection_setup_timeout", self.connection_setup_timeout, 1)?;
        millis("connections_max_idle", self.connections_max_idle, 1)?;
        millis("metadata_max_idle", self.metadata_max_idle, 1)?;
        millis("metadata_max_age", self.metadata_max_age, 1)
    }
}

/// Far below the 2 GiB that the protocol's lengths can say.
const BATCH_SIZE_MAX: u64 = 1_000_000_000;

/// Durations go over the wire as milliseconds in 31 bits.
const MILLIS_MAX: u64 = i32::MAX as u64;

fn in_range(setting: &'static str, value: u64, min: u64, max: u64) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(ConfigError::OutOfRange { setting, value, min, max })
    }
}

/// What becomes of a record that finds the buffer full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It waits for room, up to `max_block`, and is refused then.
    #[default]
    Block,
    /// It is refused at once.
    DropNewest,
    /// It takes the room of the oldest records that are not yet prepared for sending, which end as
    /// [`DeliveryError::Displaced`](super::DeliveryError::Displaced), whole batches at a time. What
    /// is on its way, and up to two batches of a partition behind it, keeps its room: if nothing else
    /// is there, the new record is refused at once.
    DropOldest,
}

impl WhenFull {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Block, Self::DropNewest, Self::DropOldest];

    /// The word for it in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropNewest => "drop_newest",
            Self::DropOldest => "drop_oldest",
        }
    }
}

/// Who must have a record before it counts as delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acks {
    /// Nobody: delivered means written to the socket. Losses go unnoticed.
    Zero,
    /// The leader. A record is lost if the leader dies before a follower has it.
    One,
    /// Every in-sync replica.
    #[default]
    All,
}

impl Acks {
    /// As the Produce request says it.
    pub(super) const fn wire(self) -> i16 {
        match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::All => -1,
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "0",
            Self::One => "1",
            Self::All => "all",
        })
    }
}

/// How to log in to brokers.
///
/// ```
/// use ottla::producer::{ProducerConfig, SaslConfig};
/// use ottla::sasl::{SaslMechanism, Secret};
///
/// let password = Secret::new("pencil");
/// let mut config = ProducerConfig::new(["localhost:9092"])?;
/// config.sasl = Some(SaslConfig::new(SaslMechanism::ScramSha256, Secret::new("user"), password)?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SaslConfig {
    /// Which exchange (`sasl.mechanism`).
    pub mechanism: SaslMechanism,
    /// Who logs in (`sasl.username`, `sasl.password`). Asked at every login.
    pub credentials: Arc<dyn CredentialProvider>,
    /// Shared by the clones.
    pub(super) salted: SaltedPasswords,
}

impl SaslConfig {
    /// A login with this user and password, always.
    ///
    /// # Errors
    ///
    /// `EmptyCredential` or `NulInCredential`.
    pub fn new(
        mechanism: SaslMechanism,
        username: Secret,
        password: Secret,
    ) -> Result<Self, SaslError> {
        let credentials = Credentials::new(username, password)?;
        Ok(Self::with_provider(mechanism, Arc::new(credentials)))
    }

    /// A login with whatever the provider says at the time.
    pub fn with_provider(
        mechanism: SaslMechanism,
        credentials: Arc<dyn CredentialProvider>,
    ) -> Self {
        Self { mechanism, credentials, salted: SaltedPasswords::default() }
    }
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let fault = |fault| ConfigError::Address { address: clipped(text), fault };
        let (host, port) = text
            .trim()
            .rsplit_once(':')
            .ok_or_else(|| fault("the port is missing, write host:port"))?;
        let host = match host.strip_prefix('[').map(|rest| rest.strip_suffix(']')) {
            Some(Some(address)) if address.parse::<Ipv6Addr>().is_ok() => address,
            Some(Some(_)) => return Err(fault("what is in brackets is no IPv6 address")),
            Some(None) => return Err(fault("\"[\" is not closed, write [address]:port")),
            None if host.contains("://") => {
                return Err(fault("it is a URL, write host:port without a scheme"));
            }
            None if host.contains(':') => {
                return Err(fault("an IPv6 address needs brackets, write [address]:port"));
            }
            None => host,
        };
        let plain = |byte: u8| byte.is_ascii_graphic() && !b"/@,?#".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(fault("the host is missing or holds a character that no host has"));
        }
        match port.parse() {
            // `u16` would also read a port with a plus sign.
            Ok(port) if port > 0 && !text.contains('+') => Ok(Self { host: host.to_owned(), port }),
            _ => Err(fault("the port must be a number from 1 to 65535")),
        }
    }
}

/// As much of an address as an error should repeat.
fn clipped(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

/// Settings that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Nobody to ask.
    #[error("no brokers: give at least one as host:port")]
    NoBrokers,
    /// Not a broker's address.
    #[error("{address:?} is not a broker's address: {fault}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong, and what would be right.
        fault: &'static str,
    },
    /// A number beyond its range. Durations are in milliseconds.
    #[error("{setting} is {value}: it must be within {min} and {max}")]
    OutOfRange {
        /// Which.
        setting: &'static str,
        /// As it was given.
        value: u64,
        /// Least.
        min: u64,
        /// Most.
        max: u64,
    },
    /// Without all acknowledgements a broker cannot promise what idempotence needs.
    #[error("idempotence needs acks=all, but acks is {acks}: set acks=all, or idempotence=false")]
    IdempotenceNeedsAcks {
        /// As it was given.
        acks: Acks,
    },
    /// A broker remembers five batches.
    #[error(
        "idempotence needs max_in_flight of at most 5, but it is {max_in_flight}: lower it, or set \
         idempotence=false"
    )]
    IdempotenceNeedsOrder {
        /// As it was given.
        max_in_flight: usize,
    },
    /// A lost answer can only be found out by asking again.
    #[error(
        "idempotence needs retries of at least 1, but it is 0: raise it, or set idempotence=false"
    )]
    IdempotenceNeedsRetries,
    /// No time for one attempt.
    #[error(
        "delivery_timeout of {delivery_timeout:?} is less than linger of {linger:?} plus \
         request_timeout of {request_timeout:?}: raise it, or lower one of them"
    )]
    DeliveryTimeout {
        /// As it was given.
        delivery_timeout: Duration,
        /// As it was given.
        linger: Duration,
        /// As it was given.
        request_timeout: Duration,
    },
    /// No room for one record.
    #[error(
        "buffer_memory of {buffer_memory} bytes is less than record_size_max of {record_size_max}: \
         raise it, or lower record_size_max"
    )]
    BufferMemory {
        /// As it was given.
        buffer_memory: usize,
        /// As it was given.
        record_size_max: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_go_together() {
        ProducerConfig::new(["localhost:9092"]).unwrap().validate().unwrap();
    }

    #[test]
    fn addresses_are_read_as_people_write_them() {
        for (text, host, port) in [
            ("localhost:9092", "localhost", 9092),
            (" kafka.internal:1 ", "kafka.internal", 1),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[::1]:9092", "::1", 9092),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.host.as_str(), address.port), (host, port));
            assert_eq!(address.to_string(), text.trim());
        }
    }

    #[test]
    fn a_wrong_address_is_named_with_its_remedy() {
        for (text, remedy) in [
            ("localhost", "write host:port"),
            (":9092", "the host is missing"),
            ("localhost:", "from 1 to 65535"),
            ("localhost:0", "from 1 to 65535"),
            ("localhost:65536", "from 1 to 65535"),
            ("::1:9092", "needs brackets"),
            ("[::1:9092", "not closed"),
            ("[x]:9092", "no IPv6 address"),
            ("http://localhost:9092", "without a scheme"),
            ("a b:9092", "character that no host has"),
        ] {
            let error = text.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains(remedy) && error.contains(text), "{error}");
        }
        let error = "x".repeat(10_000).parse::<Address>().unwrap_err().to_string();
        assert!(error.len() < 400 && error.contains("xxx..."), "{error}");
    }

    #[test]
    fn settings_that_do_not_go_together_are_both_named() {
        let base = ProducerConfig::new(["a:1"]).unwrap();
        let error = ProducerConfig { acks: Acks::One, ..base.clone() }.validate().unwrap_err();
        assert_eq!(
            error.to_string(),
            "idempotence needs acks=all, but acks is 1: set acks=all, or idempotence=false"
        );
        let error = ProducerConfig { max_in_flight: 6, ..base.clone() }.validate().unwrap_err();
        assert!(error.to_string().contains("max_in_flight of at most 5, but it is 6"));
        let error = ProducerConfig { linger: Duration::from_secs(100), ..base.clone() };
        assert!(matches!(error.validate(), Err(ConfigError::DeliveryTimeout { .. })));
        let error = ProducerConfig { batch_size: 0, ..base.clone() }.validate().unwrap_err();
        assert_eq!(error.to_string(), "batch_size is 0: it must be within 1 and 1000000000");
        let error = ProducerConfig { buffer_memory: 10, ..base }.validate().unwrap_err();
        assert!(error.to_string().contains("record_size_max of 1000000"));
    }
}
