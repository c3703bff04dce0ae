//! Questions about topics, and their creation: what an exporter asks before it starts.

use super::config::{Address, ProducerConfig};
use super::session::{Question, Session, SessionConfig, SessionError};
use super::tls::TlsError;
use crate::protocol::ErrorCode;
use crate::protocol::messages::ApiKey;
use crate::protocol::messages::create_topics::{self, CreateTopicsResponse, NewTopic};
use crate::protocol::messages::metadata::{self, MetadataResponse};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Time given to a broker for creating a topic.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// What is asked for.
const LOOK: &str = "cannot look at topic";
const CREATE: &str = "cannot create topic";

/// How a topic is created that is not there.
///
/// ```
/// use ottla::producer::TopicCreation;
///
/// let mut creation = TopicCreation { partitions: Some(12), ..TopicCreation::default() };
/// creation.configs.insert("retention.ms".into(), "86400000".into());
/// assert_eq!(creation.to_string(), "12 partitions, retention.ms=86400000");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicCreation {
    /// Its partitions, 1 to [`PARTITIONS_MAX`](Self::PARTITIONS_MAX). Default: the broker's
    /// `num.partitions`, for which it must be Kafka 2.4 or later.
    pub partitions: Option<u32>,
    /// Replicas of each partition, 1 to [`REPLICATION_FACTOR_MAX`](Self::REPLICATION_FACTOR_MAX),
    /// and no more than there are brokers. Default: the broker's `default.replication.factor`, for
    /// which it must be Kafka 2.4 or later.
    pub replication_factor: Option<u16>,
    /// The topic's own configuration, such as `retention.ms` or `cleanup.policy`. Default: the
    /// broker's. A name that the broker does not know keeps the topic from being created.
    pub configs: BTreeMap<String, String>,
}

impl TopicCreation {
    /// The most partitions that can be asked for.
    pub const PARTITIONS_MAX: u32 = i32::MAX as u32;

    /// The most replicas that can be asked for.
    pub const REPLICATION_FACTOR_MAX: u16 = i16::MAX as u16;

    /// ` with 12 partitions`, behind a word; nothing, if everything is left to the broker.
    pub(crate) fn with(&self) -> String {
        match self.to_string() {
            told if told.is_empty() => told,
            told => format!(" with {told}"),
        }
    }
}

/// What is not left to the broker; nothing, if everything is.
impl fmt::Display for TopicCreation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = |count: u64, one: &str, many: &str| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {many}"),
        };
        let partitions = self.partitions.map(|it| counted(it.into(), "partition", "partitions"));
        let replicas = self.replication_factor.map(|it| counted(it.into(), "replica", "replicas"));
        let configs = self.configs.iter().map(|(name, value)| format!("{name}={value}"));
        let told: Vec<_> = partitions.into_iter().chain(replicas).chain(configs).collect();
        f.write_str(&told.join(", "))
    }
}

/// What a cluster says of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicState {
    /// There is none.
    Missing,
    /// It is there.
    #[non_exhaustive]
    Present {
        /// How many partitions it has.
        partitions: usize,
        /// Whether we may write to it; `None` if the broker does not tell (before Kafka 2.3).
        may_write: Option<bool>,
    },
    /// It may not be looked at, or cannot be.
    Refused(ErrorCode),
}

/// A connection to a cluster, for questions about its topics.
///
/// ```no_run
/// use ottla::producer::{Admin, ProducerConfig, TopicCreation};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut admin = Admin::connect(&ProducerConfig::new(["localhost:9092"])?).await?;
/// if admin.partition_count("traces").await?.is_none() {
///     let creation = TopicCreation { partitions: Some(12), ..TopicCreation::default() };
///     admin.create_topic("traces", &creation).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Admin {
    pub(super) session: Session,
    pub(super) config: SessionConfig,
}

/// Why a question about a topic has no answer, or not the one that was hoped for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The TLS settings cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No broker could be talked to. The text names the last one and what it lacked.
    #[error("{0}")]
    Unreachable(String),
    /// The broker answered with an error.
    #[error("{what} {topic:?}: {code}{}{}", Words(message.as_deref()), remedy(what, *code))]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// About which topic.
        topic: String,
        /// The broker's reason.
        code: ErrorCode,
        /// The broker's words, if any.
        message: Option<String>,
    },
    /// The topic is not there, and nobody creates it.
    #[error("topic {topic:?} {MISSING}")]
    Missing {
        /// The topic.
        topic: String,
    },
    /// The topic is there, and the broker says that we may not write to it.
    #[error("topic {topic:?} {}", may_not_write(topic))]
    ReadOnly {
        /// The topic.
        topic: String,
    },
    /// A topic was to be created by defaults that the broker does not have.
    #[error(
        "cannot create topic {topic:?}: the broker is older than Kafka 2.4 and has no default for \
         {missing}: say how many"
    )]
    NoDefaults {
        /// The topic.
        topic: String,
        /// What was left to the broker.
        missing: &'static str,
    },
}

/// What to do about a topic that may not be written to, behind its name.
pub(super) fn may_not_write(topic: &str) -> String {
    format!(
        "may not be written to: grant our user WRITE on it (kafka-acls --add --operation Write \
         --topic {topic})"
    )
}

/// What to do about a topic that is not there, behind its name.
pub(super) const MISSING: &str = "does not exist: create it, or have it created";

/// What to do about a topic that may not be looked at.
pub(super) const GRANT_LOOK: &str =
    "grant our user DESCRIBE and WRITE on it, or use a topic that it may write to";

/// What to do about an error, where its name does not say.
fn remedy(what: &str, code: ErrorCode) -> String {
    let remedy = match (what, code) {
        (LOOK, ErrorCode::TOPIC_AUTHORIZATION_FAILED) => GRANT_LOOK,
        (
            CREATE,
            ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::CLUSTER_AUTHORIZATION_FAILED,
        ) => "grant our user CREATE on it or on the cluster, or create it",
        (CREATE, ErrorCode::INVALID_REPLICATION_FACTOR) => {
            "ask for at least one replica, and for no more than there are brokers"
        }
        (CREATE, ErrorCode::INVALID_CONFIG) => {
            "write names and values as in Kafka's documentation of topic configurations"
        }
        _ => return String::new(),
    };
    format!(": {remedy}")
}

struct Words<'a>(Option<&'a str>);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Brokers speak in sentences; ours goes on.
        self.0.map_or(Ok(()), |words| write!(f, ": {}", words.trim_end_matches('.')))
    }
}

impl From<SessionError> for AdminError {
    fn from(error: SessionError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl Admin {
    /// Connects to the first broker of the list that answers. Every wait, then and later, is bounded
    /// by the shorter of `connection_setup_timeout` and `request_timeout`.
    ///
    /// # Errors
    ///
    /// `Unreachable` when none does.
    pub async fn connect(config: &ProducerConfig) -> Result<Self, AdminError> {
        let session_config = SessionConfig::for_questions(config)?;
        let session = Session::connect_any(&config.bootstrap, &session_config).await?;
        Ok(Self { session, config: session_config })
    }

    /// How many partitions a topic has; `None` if there is no such topic. Does not create it.
    ///
    /// # Errors
    ///
    /// `Unreachable`, or `Refused` when the topic may not be looked at.
    pub async fn partition_count(&mut self, topic: &str) -> Result<Option<usize>, AdminError> {
        match self.look_at(&[topic]).await?[..] {
            [TopicState::Present { partitions, .. }] => Ok(Some(partitions)),
            [TopicState::Refused(code)] => Err(AdminError::cannot_look(topic, code)),
            _ => Ok(None),
        }
    }

    /// What there is of each of these topics, in their order. Creates none.
    ///
    /// # Errors
    ///
    /// `Unreachable`, or `Refused` when the broker answers nothing about any.
    pub async fn look_at(&mut self, topics: &[&str]) -> Result<Vec<TopicState>, AdminError> {
        let answer = self.describe(topics).await?;
        let state = |name: &&str| {
            let told = answer.topics.iter().find(|told| told.name.as_deref() == Some(name));
            told.map_or(TopicState::Missing, |told| match told.error {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => TopicState::Missing,
                // Leaders are being elected: it is there.
                ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE => TopicState::Present {
                    partitions: told.partitions.len(),
                    may_write: told.may_write,
                },
                code => TopicState::Refused(code),
            })
        };
        Ok(topics.iter().map(state).collect())
    }

    async fn describe(&mut self, topics: &[&str]) -> Result<MetadataResponse, AdminError> {
        let answer = self
            .session
            .call(
                Question::of(ApiKey::Metadata),
                |header| metadata::request_with_rights(header, topics),
                MetadataResponse::decode,
            )
            .await?;
        match answer.error.ok() {
            Ok(()) => Ok(answer),
            Err(code) => {
                let first = topics.first().copied().unwrap_or_default();
                Err(AdminError::cannot_look(first, code))
            }
        }
    }

    /// Creates a topic, with the broker's default for what is left open (Kafka 2.4 and later). One
    /// that exists already is no error, and is not altered. The broker has 30 s for it.
    ///
    /// # Errors
    ///
    /// `Unreachable`, `NoDefaults`, or `Refused` with the broker's reason.
    pub async fn create_topic(
        &mut self,
        topic: &str,
        creation: &TopicCreation,
    ) -> Result<(), AdminError> {
        self.create_unless_present(topic, creation, false).await
    }

    /// Whether [`create_topic`](Self::create_topic) would create a topic.
    pub(super) async fn try_create_topic(
        &mut self,
        topic: &str,
        creation: &TopicCreation,
    ) -> Result<(), AdminError> {
        self.create_unless_present(topic, creation, true).await
    }

    async fn create_unless_present(
        &mut self,
        topic: &str,
        creation: &TopicCreation,
        validate_only: bool,
    ) -> Result<(), AdminError> {
        let TopicCreation { partitions, replication_factor, configs } = creation;
        let missing = match (partitions, replication_factor) {
            (None, None) => "partitions and replicas",
            (None, Some(_)) => "partitions",
            (Some(_), None) => "replicas",
            (Some(_), Some(_)) => "",
        };
        if !missing.is_empty() && !self.has_defaults() {
            return Err(AdminError::NoDefaults { topic: topic.to_owned(), missing });
        }
        // What is more than fits is more than any broker grants.
        let new = NewTopic {
            name: topic,
            partitions: partitions.map_or(-1, |it| it.try_into().unwrap_or(i32::MAX)),
            replication_factor: replication_factor
                .map_or(-1, |it| it.try_into().unwrap_or(i16::MAX)),
            configs,
        };
        let (code, message) = self.create_by_controller(&new, validate_only).await?;
        match code {
            // Somebody else may have created it since we looked.
            ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS => Ok(()),
            code => {
                let topic = topic.to_owned();
                Err(AdminError::Refused { what: CREATE, topic, code, message })
            }
        }
    }

    /// Whether the broker takes a number that is left to it (KIP-464).
    fn has_defaults(&self) -> bool {
        let version = self.session.version_of(ApiKey::CreateTopics);
        // One that creates no topics at all says so itself.
        version.is_none_or(|version| version >= create_topics::DEFAULTS_FROM)
    }

    async fn create_by_controller(
        &mut self,
        new: &NewTopic<'_>,
        validate_only: bool,
    ) -> Result<(ErrorCode, Option<String>), AdminError> {
        let told = self.create(new, validate_only).await?;
        if told.0 != ErrorCode::NOT_CONTROLLER {
            return Ok(told);
        }
        // Only the controller of a ZooKeeper cluster creates topics; a KRaft broker forwards.
        self.session = self.controller_session(new.name).await?;
        self.create(new, validate_only).await
    }

    async fn create(
        &mut self,
        new: &NewTopic<'_>,
        validate_only: bool,
    ) -> Result<(ErrorCode, Option<String>), AdminError> {
        // What is only looked at is not worth a longer wait; a broker that is given none at all
        // answers that it was too slow.
        let wait = if validate_only { self.config.patience } else { CREATE_TIMEOUT };
        let timeout_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
        let answer = self
            .session
            .call(
                Question::of(ApiKey::CreateTopics).that_may_take(wait),
                |header| {
                    let new = std::slice::from_ref(new);
                    create_topics::request(header, new, timeout_ms, validate_only)
                },
                CreateTopicsResponse::decode,
            )
            .await?;
        let told = answer.topics.into_iter().next();
        Ok(told.map_or((ErrorCode::UNKNOWN_SERVER_ERROR, None), |told| (told.error, told.message)))
    }

    async fn controller_session(&mut self, topic: &str) -> Result<Session, AdminError> {
        let answer = self.describe(&[topic]).await?;
        let controller = answer.controller_id;
        let broker = answer.brokers.into_iter().find(|broker| broker.node_id == controller);
        let unknown = || AdminError::Unreachable("the cluster has no controller".to_owned());
        let broker = broker.ok_or_else(unknown)?;
        let address = Address { host: broker.host, port: broker.port };
        Ok(Session::connect(&address, &self.config).await?)
    }
}

impl AdminError {
    /// A topic may not be looked at, or cannot be.
    pub(crate) fn cannot_look(topic: &str, code: ErrorCode) -> Self {
        Self::Refused { what: LOOK, topic: topic.to_owned(), code, message: None }
    }
}
