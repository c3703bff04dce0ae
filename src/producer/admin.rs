//! Questions about topics, and their creation: what an exporter asks before it starts.

use super::config::{Address, ProducerConfig};
use super::session::{Question, Session, SessionConfig, SessionError};
use super::tls::TlsError;
use crate::protocol::ErrorCode;
use crate::protocol::messages::ApiKey;
use crate::protocol::messages::create_topics::{self, CreateTopicsResponse, NewTopic};
use crate::protocol::messages::metadata::{self, MetadataResponse, Topics};
use std::fmt;
use std::time::Duration;

/// Time given to a broker for creating a topic.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to a cluster, for questions about its topics.
///
/// ```no_run
/// use ottla::producer::{Admin, ProducerConfig};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let mut admin = Admin::connect(&ProducerConfig::new(["localhost:9092"])?).await?;
/// if admin.partition_count("traces").await?.is_none() {
///     admin.create_topic("traces", None, None).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Admin {
    pub(super) session: Session,
    pub(super) config: SessionConfig,
}

/// Why a question about a topic has no answer.
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
    #[error("{what} {topic:?}: {code}{}", Words(message.as_deref()))]
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
}

struct Words<'a>(Option<&'a str>);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |words| write!(f, ": {words}"))
    }
}

impl From<SessionError> for AdminError {
    fn from(error: SessionError) -> Self {
        Self::Unreachable(error.to_string())
    }
}

impl Admin {
    /// Connects to the first broker of the list that answers.
    ///
    /// # Errors
    ///
    /// `Unreachable` when none does.
    pub async fn connect(config: &ProducerConfig) -> Result<Self, AdminError> {
        let session_config = SessionConfig::of(config)?;
        let session = Session::connect_any(&config.bootstrap, &session_config).await?;
        Ok(Self { session, config: session_config })
    }

    /// How many partitions a topic has; `None` if there is no such topic. Does not create it.
    ///
    /// # Errors
    ///
    /// `Unreachable`, or `Refused` when the topic may not be looked at.
    pub async fn partition_count(&mut self, topic: &str) -> Result<Option<usize>, AdminError> {
        let answer = self.describe(topic).await?;
        let told = answer.topics.into_iter().find(|told| told.name.as_deref() == Some(topic));
        let code = told.as_ref().map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |told| told.error);
        match (code, told) {
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _) => Ok(None),
            // Leaders are being elected: it is there.
            (ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE, Some(told)) => {
                Ok(Some(told.partitions.len()))
            }
            (code, _) => Err(refused("cannot look at topic", topic, code, None)),
        }
    }

    async fn describe(&mut self, topic: &str) -> Result<MetadataResponse, AdminError> {
        let names = [topic];
        let answer = self
            .session
            .call(
                Question::of(ApiKey::Metadata),
                |header| metadata::request(header, Topics::Named(&names), false),
                MetadataResponse::decode,
            )
            .await?;
        match answer.error.ok() {
            Ok(()) => Ok(answer),
            Err(code) => Err(refused("cannot look at topic", topic, code, None)),
        }
    }

    /// Creates a topic, with the broker's default for what is `None` (Kafka 2.4 and later). One
    /// that exists already is no error.
    ///
    /// # Errors
    ///
    /// `Unreachable`, or `Refused` with the broker's reason.
    pub async fn create_topic(
        &mut self,
        topic: &str,
        partitions: Option<i32>,
        replication_factor: Option<i16>,
    ) -> Result<(), AdminError> {
        let new = NewTopic {
            name: topic,
            partitions: partitions.unwrap_or(-1),
            replication_factor: replication_factor.unwrap_or(-1),
        };
        match self.create_by_controller(&new, false).await? {
            (ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS, _) => Ok(()),
            (code, message) => Err(refused("cannot create topic", topic, code, message)),
        }
    }

    /// Whether [`create_topic`](Self::create_topic) would create a topic, with all defaults.
    pub(super) async fn try_create_topic(&mut self, topic: &str) -> Result<(), AdminError> {
        let new = NewTopic { name: topic, partitions: -1, replication_factor: -1 };
        match self.create_by_controller(&new, true).await? {
            (ErrorCode::NONE | ErrorCode::TOPIC_ALREADY_EXISTS, _) => Ok(()),
            (code, message) => Err(refused("cannot create topic", topic, code, message)),
        }
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
        let answer = self.describe(topic).await?;
        let controller = answer.controller_id;
        let broker = answer.brokers.into_iter().find(|broker| broker.node_id == controller);
        let unknown = || AdminError::Unreachable("the cluster has no controller".to_owned());
        let broker = broker.ok_or_else(unknown)?;
        let address = Address { host: broker.host, port: broker.port };
        Ok(Session::connect(&address, &self.config).await?)
    }
}

fn refused(
    what: &'static str,
    topic: &str,
    code: ErrorCode,
    message: Option<String>,
) -> AdminError {
    AdminError::Refused { what, topic: topic.to_owned(), code, message }
}
