//! CreateTopics: new topics, asked of the controller.
//!
//! | version | change |
//! |---|---|
//! | 2 | throttle time |
//! | 3 | the client, not the broker, waits out a throttle |
//! | 4 | partitions and replicas may be left to the broker (KIP-464) |
//! | 5 | flexible; the response tells the topic's configuration (KIP-525) |
//! | 6 | error THROTTLING_QUOTA_EXCEEDED (KIP-599) |
//! | 7 | topic id in the response |
//!
//! Spec: <https://kafka.apache.org/protocol#The_Messages_CreateTopics>.

use super::{RequestHeader, decode_control, encode_control};
use crate::protocol::ErrorCode;
use crate::protocol::shape::{Field, Layout, Shape};
use crate::protocol::text::{WORDS_MAX, printable};
use crate::protocol::wire::DecodeError;
use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse as TheirResponse};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Versions that ottla speaks.
pub(crate) const VERSIONS: RangeInclusive<i16> = 2..=7;

/// First version in which partitions and replicas may be left to the broker.
pub(crate) const DEFAULTS_FROM: i16 = 4;

/// First flexible version.
pub(crate) const FLEXIBLE_FROM: i16 = 5;

const RESPONSE: Shape = Shape {
    versions: VERSIONS,
    flexible_from: FLEXIBLE_FROM,
    fields: &[
        Field::since(2, Layout::Fixed(4)), // throttle time
        Field::since(
            2,
            Layout::Array(&[
                Field::since(2, Layout::Text),         // name
                Field::since(7, Layout::Fixed(16)),    // id
                Field::since(2, Layout::Fixed(2)),     // error
                Field::since(2, Layout::Text),         // error message
                Field::tagged(5, 0, Layout::Fixed(2)), // why there is no configuration
                Field::since(5, Layout::Fixed(4)),     // partitions
                Field::since(5, Layout::Fixed(2)),     // replication factor
                Field::since(5, Layout::Array(CONFIGURATION)),
            ]),
        ),
    ],
};

const CONFIGURATION: &[Field] = &[
    Field::since(5, Layout::Text),     // name
    Field::since(5, Layout::Text),     // value
    Field::since(5, Layout::Fixed(1)), // is read-only
    Field::since(5, Layout::Fixed(1)), // source
    Field::since(5, Layout::Fixed(1)), // is sensitive
];

/// A topic to create.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewTopic<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its partitions; −1, the broker's default, from [`DEFAULTS_FROM`] on.
    pub(crate) partitions: i32,
    /// Replicas of each partition; −1, the broker's default, from [`DEFAULTS_FROM`] on.
    pub(crate) replication_factor: i16,
    /// Its configuration, where that is not the broker's.
    pub(crate) configs: &'a BTreeMap<String, String>,
}

/// Asks for topics, or with `validate_only` whether they could be created. The broker waits
/// `timeout_ms` for them to be.
pub(crate) fn request(
    header: RequestHeader<'_>,
    topics: &[NewTopic<'_>],
    timeout_ms: i32,
    validate_only: bool,
) -> Vec<Bytes> {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let config = |(name, value): (&String, &String)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    };
    let creatable = |topic: &NewTopic<'_>| {
        CreatableTopic::default()
            .with_name(text(topic.name).into())
            .with_num_partitions(topic.partitions)
            .with_replication_factor(topic.replication_factor)
            .with_configs(topic.configs.iter().map(config).collect())
    };
    let request = CreateTopicsRequest::default()
        .with_topics(topics.iter().map(creatable).collect())
        .with_timeout_ms(timeout_ms)
        .with_validate_only(validate_only);
    encode_control(header, &request)
}

/// What became of each topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CreateTopicsResponse {
    /// How long the client shall send nothing more to this broker.
    pub(crate) throttle_ms: i32,
    /// The topics asked for, in any order.
    pub(crate) topics: Vec<TopicResult>,
}

/// What became of one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicResult {
    /// Its name.
    pub(crate) name: String,
    /// Why it was not created, or none.
    pub(crate) error: ErrorCode,
    /// The broker's words about the error, as far as they can be shown.
    pub(crate) message: Option<String>,
}

impl CreateTopicsResponse {
    /// Decodes the body of a response.
    ///
    /// # Errors
    ///
    /// `DecodeError` when it is not exactly one response of this version.
    pub(crate) fn decode(version: i16, body: &Bytes) -> Result<Self, DecodeError> {
        let theirs: TheirResponse = decode_control(&RESPONSE, version, body)?;
        let topics = theirs.topics.iter().map(TopicResult::read).collect();
        Ok(Self { throttle_ms: theirs.throttle_time_ms, topics })
    }
}

impl TopicResult {
    fn read(theirs: &CreatableTopicResult) -> Self {
        Self {
            name: theirs.name.to_string(),
            error: ErrorCode(theirs.error_code),
            message: theirs.error_message.as_ref().map(|words| printable(words, WORDS_MAX)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ApiKey, oracle};
    use super::*;
    use kafka_protocol::messages::create_topics_response::CreatableTopicConfigs;

    #[test]
    fn requests_are_read_by_an_independent_decoder_in_every_version() {
        let texts = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let configs = [("cleanup.policy", "compact,delete"), ("retention.ms", "-1")].map(texts);
        let configs = &BTreeMap::from(configs);
        let none = &BTreeMap::new();
        let topics = [
            NewTopic { name: "traces", partitions: 12, replication_factor: 3, configs },
            NewTopic { name: "métriques", partitions: -1, replication_factor: -1, configs: none },
        ];
        for version in VERSIONS {
            let header = oracle::header(ApiKey::CreateTopics, version);
            let pieces = request(header, &topics, 1234, true);
            let theirs: CreateTopicsRequest = oracle::read_request(header, &pieces);
            assert_eq!((theirs.timeout_ms, theirs.validate_only), (1234, true));
            assert_eq!(theirs.topics.len(), 2);
            for (theirs, ours) in theirs.topics.iter().zip(&topics) {
                assert_eq!(theirs.name.as_str(), ours.name);
                assert_eq!(theirs.num_partitions, ours.partitions);
                assert_eq!(theirs.replication_factor, ours.replication_factor);
                assert!(theirs.assignments.is_empty());
                let configs = theirs.configs.iter();
                let configs = configs.map(|config| (&*config.name, config.value.as_deref()));
                let given = ours.configs.iter().map(|(name, value)| (&**name, Some(&**value)));
                assert!(configs.eq(given));
            }
        }
    }

    fn their_response(version: i16) -> TheirResponse {
        let mut configuration = CreatableTopicConfigs::default();
        if version >= FLEXIBLE_FROM {
            configuration = configuration
                .with_name("cleanup.policy".into())
                .with_value(Some("delete".into()))
                .with_read_only(true)
                .with_is_sensitive(true)
                .with_unknown_tagged_fields(oracle::tags());
        }
        let topic = |name: &str, error, message: Option<&'static str>| {
            CreatableTopicResult::default()
                .with_name(oracle::name(name).into())
                .with_topic_id(vec![4; 16].try_into().unwrap())
                .with_error_code(error)
                .with_error_message(message.map(Into::into))
                .with_topic_config_error_code(29)
                .with_num_partitions(12)
                .with_replication_factor(3)
                .with_configs(Some(vec![configuration.clone(), configuration.clone()]))
                .with_unknown_tagged_fields(oracle::tags())
        };
        TheirResponse::default()
            .with_throttle_time_ms(3)
            .with_topics(vec![topic("traces", 0, None), topic("métriques", 36, Some("there"))])
            .with_unknown_tagged_fields(oracle::tags())
    }

    #[test]
    fn responses_of_an_independent_encoder_are_read_in_every_version() {
        let result = |name: &str, error, message: Option<&str>| TopicResult {
            name: name.to_owned(),
            error,
            message: message.map(ToOwned::to_owned),
        };
        let expected = CreateTopicsResponse {
            throttle_ms: 3,
            topics: vec![
                result("traces", ErrorCode::NONE, None),
                result("métriques", ErrorCode::TOPIC_ALREADY_EXISTS, Some("there")),
            ],
        };
        for version in VERSIONS {
            let body = oracle::write(&their_response(version), version);
            assert_eq!(CreateTopicsResponse::decode(version, &body).unwrap(), expected);
        }
    }

    #[test]
    fn hostile_responses_are_errors() {
        for version in VERSIONS {
            let decode = |body: &Bytes| CreateTopicsResponse::decode(version, body);
            oracle::assert_exact(&oracle::write(&their_response(version), version), decode);
            decode(&oracle::huge_count(4, version >= FLEXIBLE_FROM)).unwrap_err();
        }
        oracle::survive_noise(VERSIONS, CreateTopicsResponse::decode);
    }
}
