//! What exporters ask of Kafka before they start: topics that are there, or are created as they were
//! asked for, and that may be written to.

use std::time::Duration;

use ottla::broker::{
    Admission, Api, BrokerConfig, EmbeddedBroker, MetadataFault, Profile, RequestFault,
};
use ottla::exporter::bifrost::{BifrostConfig, BifrostExporter};
use ottla::exporter::otlp::{DeadLetters, OtlpConfig, OtlpExporter};
use ottla::exporter::tensorzero::{TensorZeroConfig, TensorZeroExporter};
use ottla::exporter::{Probe, TopicCreation};
use ottla::producer::{ProducerConfig, SaslConfig};
use ottla::protocol::ErrorCode;
use ottla::sasl::{SaslMechanism, Secret};

use crate::process::{Config, ottla, run, text};
use crate::security::users;

async fn start(config: BrokerConfig) -> EmbeddedBroker {
    EmbeddedBroker::start(config).await.unwrap()
}

fn bifrost(broker: &EmbeddedBroker) -> BifrostConfig {
    BifrostConfig::new(broker.bootstrap(), "t")
}

fn tensorzero(broker: &EmbeddedBroker) -> TensorZeroConfig {
    TensorZeroConfig::new(broker.bootstrap(), "tz")
}

fn otlp(broker: &EmbeddedBroker) -> OtlpConfig {
    OtlpConfig::new(ProducerConfig::new(broker.bootstrap()).unwrap())
}

async fn bifrost_error(config: &BifrostConfig) -> String {
    BifrostExporter::start(config).await.unwrap_err().to_string()
}

async fn tensorzero_error(config: &TensorZeroConfig) -> String {
    TensorZeroExporter::start(config).await.unwrap_err().to_string()
}

async fn otlp_error(config: &OtlpConfig) -> String {
    OtlpExporter::start(config.clone()).await.unwrap_err().to_string()
}

fn creation() -> TopicCreation {
    let mut creation =
        TopicCreation { partitions: Some(3), replication_factor: Some(2), ..Default::default() };
    creation.configs.insert("retention.ms".into(), "1000".into());
    creation
}

const TENSORZERO_TOPICS: [&str; 3] =
    ["tz_model_inference", "tz_chat_inference", "tz_json_inference"];

const OTLP_TOPICS: [&str; 4] = ["otlp_traces", "otlp_metrics", "otlp_logs", "letters"];

#[tokio::test]
async fn topics_are_created_as_they_are_asked_for() {
    let no = BrokerConfig::default().with_brokers(2).with_auto_create_topics(false);
    let broker = start(no).await;
    let mut config = bifrost(&broker);
    (config.auto_create_topic, config.topic_creation) = (true, creation());
    BifrostExporter::start(&config).await.unwrap();
    let mut config = tensorzero(&broker);
    (config.auto_create_topics, config.topic_creation) = (true, creation());
    TensorZeroExporter::start(&config).await.unwrap();
    let mut config = otlp(&broker);
    (config.create_topics, config.topic_creation) = (true, creation());
    config.oversize.dead_letters = Some(DeadLetters::Topic("letters".into()));
    config.allowed_topics = vec!["theirs".into()];
    OtlpExporter::start(config).await.unwrap();
    for topic in ["t"].iter().chain(&TENSORZERO_TOPICS).chain(&OTLP_TOPICS) {
        assert_eq!(broker.partition_count(topic), 3, "{topic}");
        assert_eq!(broker.topic_configs(topic), creation().configs, "{topic}");
    }
    assert_eq!(broker.partition_count("theirs"), 0, "what senders name is not ours to create");
}

#[tokio::test]
async fn what_is_left_open_is_the_brokers() {
    let broker = start(BrokerConfig::default().with_partitions(5)).await;
    let config = BifrostConfig { auto_create_topic: true, ..bifrost(&broker) };
    BifrostExporter::start(&config).await.unwrap();
    assert_eq!(broker.partition_count("t"), 5);
    assert!(broker.topic_configs("t").is_empty());
}

#[tokio::test]
async fn a_topic_that_somebody_else_creates_first_is_as_good() {
    let broker = start(BrokerConfig::default()).await;
    broker.create_topic("t", 1).unwrap();
    let unknown = MetadataFault::Refuse(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
    broker.inject_metadata("t", unknown);
    let config = BifrostConfig { auto_create_topic: true, ..bifrost(&broker) };
    BifrostExporter::start(&config).await.unwrap();
    assert_eq!(broker.requests()[&Api::CreateTopics], 1);
    assert_eq!(broker.partition_count("t"), 1);
}

#[tokio::test]
async fn what_a_broker_does_not_create_is_one_sentence_with_its_words() {
    let broker = start(BrokerConfig::default()).await;
    let mut config = tensorzero(&broker);
    config.auto_create_topics = true;
    config.topic_creation.configs.insert("retention.mss".into(), "1".into());
    assert_eq!(
        tensorzero_error(&config).await,
        "kafka: cannot create topic \"tz_model_inference\": INVALID_CONFIG (code 40): unknown topic \
         config name: retention.mss: write names and values as in Kafka's documentation of topic \
         configurations"
    );
    let mut config = otlp(&broker);
    config.create_topics = true;
    config.topic_creation.replication_factor = Some(2);
    let error = otlp_error(&config).await;
    assert!(error.starts_with("kafka exporter: cannot create topic \"otlp_traces\": INVALID_REPL"));
    assert!(error.ends_with("for no more than there are brokers"), "{error}");
}

#[tokio::test]
async fn a_topic_that_cannot_be_created_keeps_no_other_from_it() {
    let broker = start(BrokerConfig::default()).await;
    let mut config = otlp(&broker);
    (config.create_topics, config.probe) = (true, Probe::Warn);
    broker.set_topic_denied("otlp_traces", true);
    OtlpExporter::start(config).await.unwrap();
    assert_eq!(broker.partition_count("otlp_metrics"), 1);
    assert_eq!(broker.partition_count("otlp_logs"), 1);
}

#[tokio::test]
async fn brokers_without_defaults_are_not_asked_for_them() {
    let broker = start(BrokerConfig::default().with_profile(Profile::Kafka2)).await;
    let mut config = BifrostConfig { auto_create_topic: true, ..bifrost(&broker) };
    config.topic_creation.partitions = Some(3);
    assert_eq!(
        bifrost_error(&config).await,
        "kafka plugin: cannot create topic \"t\": the broker is older than Kafka 2.4 and has no \
         default for replicas: say how many"
    );
    config.topic_creation.replication_factor = Some(1);
    BifrostExporter::start(&config).await.unwrap();
    assert_eq!(broker.partition_count("t"), 3);
}

#[tokio::test]
async fn a_topic_that_may_not_be_written_to_or_looked_at_is_told_at_start() {
    let broker = start(BrokerConfig::default()).await;
    let grant = "may not be written to: grant our user WRITE on it (kafka-acls --add --operation \
                 Write --topic";
    let written = |topic: &str| {
        broker.create_topic(topic, 1).unwrap();
        broker.set_topic_read_only(topic, true);
        format!("topic {topic:?} {grant} {topic})")
    };
    let told = written("t");
    assert_eq!(bifrost_error(&bifrost(&broker)).await, format!("kafka plugin: {told}"));
    let told = TENSORZERO_TOPICS.map(written);
    assert_eq!(tensorzero_error(&tensorzero(&broker)).await, format!("kafka: {}", told[0]));
    let told = OTLP_TOPICS.map(written);
    let mut config = otlp(&broker);
    config.oversize.dead_letters = Some(DeadLetters::Topic("letters".into()));
    assert_eq!(otlp_error(&config).await, format!("kafka exporter: {}", told[0]));

    broker.set_topic_denied("otlp_traces", true);
    assert_eq!(
        otlp_error(&otlp(&broker)).await,
        "kafka exporter: cannot look at topic \"otlp_traces\": TOPIC_AUTHORIZATION_FAILED (code \
         29): grant our user DESCRIBE and WRITE on it, or use a topic that it may write to"
    );
    // One that is created first is looked at as well.
    broker.delete_topic("t").unwrap();
    let config = BifrostConfig { auto_create_topic: true, ..bifrost(&broker) };
    assert!(bifrost_error(&config).await.contains(grant));
}

#[tokio::test]
async fn one_topic_that_may_be_written_to_is_enough() {
    let broker = start(BrokerConfig::default()).await;
    for topic in TENSORZERO_TOPICS.iter().chain(&OTLP_TOPICS) {
        broker.create_topic(topic, 1).unwrap();
        broker.set_topic_read_only(topic, true);
    }
    broker.set_topic_read_only("tz_json_inference", false);
    TensorZeroExporter::start(&tensorzero(&broker)).await.unwrap();
    broker.set_topic_read_only("otlp_traces", false);
    broker.set_topic_denied("otlp_logs", true);
    OtlpExporter::start(otlp(&broker)).await.unwrap();
}

#[tokio::test]
async fn an_old_broker_that_tells_no_rights_is_believed() {
    let broker = start(BrokerConfig::default().with_profile(Profile::Kafka2)).await;
    broker.create_topic("t", 1).unwrap();
    broker.set_topic_read_only("t", true);
    BifrostExporter::start(&bifrost(&broker)).await.unwrap();
}

#[tokio::test]
async fn a_missing_topic_that_brokers_may_create_is_no_obstacle() {
    let broker = start(BrokerConfig::default().with_auto_create_topics(false)).await;
    TensorZeroExporter::start(&tensorzero(&broker)).await.unwrap();
    OtlpExporter::start(otlp(&broker)).await.unwrap();
    assert_eq!(broker.partition_count("otlp_traces"), 0, "nothing was asked for in passing");
    let mut config = otlp(&broker);
    config.producer.allow_auto_create_topics = false;
    assert_eq!(
        otlp_error(&config).await,
        "kafka exporter: topic \"otlp_traces\" does not exist: create it, or have it created"
    );
    let bifrost = bifrost(&broker);
    assert_eq!(bifrost_error(&bifrost).await, "kafka plugin: topic \"t\" does not exist");
}

#[tokio::test]
async fn a_login_that_is_refused_or_missing_says_what_to_correct() {
    let broker = start(BrokerConfig::default().with_sasl(users())).await;
    let address = &broker.bootstrap()[0];
    let mut config = otlp(&broker);
    let (user, password) = (Secret::new("user"), Secret::new("eraser"));
    let login = SaslConfig::new(SaslMechanism::ScramSha256, user, password).unwrap();
    config.producer.sasl = Some(login);
    let error = otlp_error(&config).await;
    let told = format!(
        "kafka exporter: failed to connect/authenticate with broker: {address}: cannot log in with \
         SCRAM-SHA-256: the broker refuses the user or the password"
    );
    assert!(error.starts_with(&told) && !error.contains("eraser"), "{error}");
    assert!(error.contains("correct sasl.username or sasl.password"), "{error}");
    let error = bifrost_error(&bifrost(&broker)).await;
    let told = "kafka plugin: failed to connect/authenticate with broker: ";
    assert!(error.starts_with(told) && error.contains("does it want a login"), "{error}");
}

#[tokio::test]
async fn where_a_probe_is_not_required_nothing_keeps_an_exporter_from_starting() {
    let broker = start(BrokerConfig::default()).await;
    broker.set_topic_denied("t", true);
    for topic in ["tz_chat_inference", "otlp_metrics"] {
        broker.create_topic(topic, 1).unwrap();
        broker.set_topic_read_only(topic, true);
    }
    let start = async |probe| {
        let config = BifrostConfig { probe, auto_create_topic: true, ..bifrost(&broker) };
        BifrostExporter::start(&config).await.unwrap();
        let config = TensorZeroConfig { probe, ..tensorzero(&broker) };
        TensorZeroExporter::start(&config).await.unwrap();
        let mut config = otlp(&broker);
        config.probe = probe;
        OtlpExporter::start(config).await.unwrap();
    };
    start(Probe::Off).await;
    assert_eq!(broker.requests().get(&Api::CreateTopics), None);
    start(Probe::Warn).await;
    broker.stop_node(1).await;
    start(Probe::Warn).await;
}

#[tokio::test]
async fn a_broker_that_says_nothing_is_waited_for_no_longer_than_for_a_request() {
    let broker = start(BrokerConfig::default()).await;
    let mut config = otlp(&broker);
    config.producer.request_timeout = Duration::from_millis(100);
    let soon = |config| tokio::time::timeout(Duration::from_secs(8), OtlpExporter::start(config));
    broker.inject_request(Api::Metadata, RequestFault::Silence);
    let error = soon(config.clone()).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("did not answer Metadata within 100ms"), "{error}");
    broker.admit(1, Admission::Hang);
    let error = soon(config).await.unwrap().unwrap_err().to_string();
    assert!(error.contains("did not answer ApiVersions within 100ms"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_says_what_it_creates_leaves_and_starts_in_spite_of() {
    let broker = start(BrokerConfig::default()).await;
    let log = |name: &str, more: &str| {
        let entry = format!(r#"{{"brokers": {:?}, "topic": "t"{more}}}"#, broker.bootstrap());
        let config = Config::new(name, &entry);
        let output = run(ottla(&["start", "--config", config.path(), "--stdin", "bifrost"]), "");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let create = r#", "auto_create_topic": true, "topic_partitions": "#;
    let told = log("startup-created", &format!("{create}3"));
    assert!(told.contains("kafka plugin: topic \"t\" created with 3 partitions"), "{told}");
    let told = log("startup-fewer", &format!("{create}12"));
    let fewer = "topic \"t\" has 3 of the 12 partitions that are asked for, and is left so";
    assert!(told.contains(fewer), "{told}");
    assert_eq!(told.matches("12 partitions").count(), 1, "{told}");
    assert_eq!(broker.partition_count("t"), 3);
    broker.set_topic_read_only("t", true);
    let told = log("startup-warned", r#", "probe": "warn""#);
    let warned = "kafka plugin: topic \"t\" may not be written to: grant our user WRITE on it";
    assert!(told.contains(warned), "{told}");
    assert!(told.contains("it is started all the same, as probe says"), "{told}");

    let mut command = ottla(&["start", "--kafka-exporter-brokers", &broker.bootstrap()[0]]);
    command.args(["--kafka-exporter-custom-config", "allow.auto.create.topics=false"]);
    let output = run(command, "");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_of_a_file_of_tensorzeros_are_created_and_missing_ones_are_told() {
    let broker = start(BrokerConfig::default()).await;
    let log = |name: &str, more: &str| {
        let config = Config::toml(
            name,
            &format!(
                "[gateway.observability.kafka]\nenabled = true\nbrokers = {:?}\n\
                 topic_prefix = \"tz\"\n{more}\n",
                broker.bootstrap().join(",")
            ),
        );
        let arguments = ["start", "--config", config.path(), "--stdin", "chat_inference"];
        let output = run(ottla(&arguments), "");
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        text(&output.stderr)
    };
    let told = log("startup-tz-missing", "");
    let missing = "kafka: topic \"tz_chat_inference\" does not exist: its first record creates it if \
                   the brokers are set to (auto.create.topics.enable), else create it";
    assert!(told.contains(missing), "{told}");
    let more = "auto_create_topics = true\ntopic_partitions = 2\ntopic_replication_factor = 1\n\
                [gateway.observability.kafka.topic_configs]\n\"cleanup.policy\" = \"compact,delete\"";
    let told = log("startup-tz-created", more);
    let created = "kafka: topic \"tz_chat_inference\" created with 2 partitions, 1 replica, \
                   cleanup.policy=compact,delete";
    assert!(told.contains(created), "{told}");
    for topic in TENSORZERO_TOPICS {
        assert_eq!(broker.partition_count(topic), 2);
        assert_eq!(broker.topic_configs(topic)["cleanup.policy"], "compact,delete");
    }
}
