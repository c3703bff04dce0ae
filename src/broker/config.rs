//! What the embedded broker is started with.
//!
//! Decides the defaults, which are Apache Kafka's where Kafka has the setting. What a profile means
//! is its own file's.

use std::net::{Ipv4Addr, SocketAddr};

use super::{BrokerSasl, BrokerTls, Profile};

/// Configuration of an [`EmbeddedBroker`](super::EmbeddedBroker).
///
/// ```
/// use ottla::broker::BrokerConfig;
///
/// let config = BrokerConfig::default().with_brokers(3).with_partitions(6);
/// assert!(config.auto_create_topics);
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BrokerConfig {
    /// Which broker to pass for. Default: the newest Apache Kafka.
    pub profile: Profile,
    /// Addresses that the first broker listens on; clients are told the first of them. Default:
    /// `127.0.0.1:0`, a free port of the loopback interface. Without `sasl` or a CA for clients,
    /// whoever reaches the address can write.
    pub listen: Vec<SocketAddr>,
    /// Host name that clients are told instead of the address listened on.
    pub advertised_host: Option<String>,
    /// Brokers in this process, numbered from 1. Default: 1. Each further one listens on the first
    /// free port after the one before it.
    pub brokers: usize,
    /// Partitions of a topic that is created without a number. Default: 1.
    pub partitions: i32,
    /// Whether asking for an unknown topic creates it. Default: the profile's, true for Kafka and
    /// false for Redpanda.
    pub auto_create_topics: bool,
    /// Largest batch taken, compressed and with its header, in bytes: Kafka's `message.max.bytes`.
    /// Default: 1,048,588.
    pub batch_size_max: usize,
    /// Largest request taken, in bytes: Kafka's `socket.request.max.bytes`. Default: 100 MiB. A
    /// batch may inflate to as much.
    pub request_size_max: usize,
    /// Bytes of batches that a partition keeps in memory; beyond it the oldest are dropped.
    /// Default: 256 MiB.
    pub retention_bytes: usize,
    /// How closely compressed batches are looked at. Default: strict.
    pub validation: Validation,
    /// How connections are encrypted. Default: not at all.
    pub tls: Option<BrokerTls>,
    /// Who may log in. Default: nobody has to.
    pub sasl: Option<BrokerSasl>,
}

/// How closely compressed batches are looked at before they are stored. What consumers make of a
/// batch that was not looked at is another matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Validation {
    /// They are decompressed, and each record is checked, as Kafka does.
    #[default]
    Strict,
    /// Only their headers are checked, as Redpanda did before 25.2 and does in its mode of that
    /// name.
    Legacy,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            profile: Profile::default(),
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            advertised_host: None,
            brokers: 1,
            partitions: 1,
            auto_create_topics: Profile::default().auto_creates_topics(),
            batch_size_max: 1_048_588,
            request_size_max: 100 << 20,
            retention_bytes: 256 << 20,
            validation: Validation::default(),
            tls: None,
            sasl: None,
        }
    }
}

impl BrokerConfig {
    /// Sets the broker to pass for, and whether unknown topics are created to what is its default.
    #[must_use]
    pub const fn with_profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self.auto_create_topics = profile.auto_creates_topics();
        self
    }

    /// Sets the addresses of the first broker.
    #[must_use]
    pub fn with_listen(mut self, listen: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.listen = listen.into_iter().collect();
        self
    }

    /// Sets the host name that clients are told.
    #[must_use]
    pub fn with_advertised_host(mut self, host: impl Into<String>) -> Self {
        self.advertised_host = Some(host.into());
        self
    }

    /// Sets the number of brokers.
    #[must_use]
    pub const fn with_brokers(mut self, brokers: usize) -> Self {
        self.brokers = brokers;
        self
    }

    /// Sets the partitions of topics created without a number.
    #[must_use]
    pub const fn with_partitions(mut self, partitions: i32) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets whether asking for an unknown topic creates it.
    #[must_use]
    pub const fn with_auto_create_topics(mut self, auto_create_topics: bool) -> Self {
        self.auto_create_topics = auto_create_topics;
        self
    }

    /// Sets the largest batch taken, in bytes.
    #[must_use]
    pub const fn with_batch_size_max(mut self, batch_size_max: usize) -> Self {
        self.batch_size_max = batch_size_max;
        self
    }

    /// Sets how connections are encrypted.
    #[must_use]
    pub fn with_tls(mut self, tls: BrokerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets who may log in. Nobody else is served any more.
    #[must_use]
    pub fn with_sasl(mut self, sasl: BrokerSasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// Sets how closely compressed batches are looked at.
    #[must_use]
    pub const fn with_validation(mut self, validation: Validation) -> Self {
        self.validation = validation;
        self
    }
}
