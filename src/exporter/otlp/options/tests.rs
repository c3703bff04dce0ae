//! Options as people write them, and what they come to.

use super::*;
use crate::exporter::otlp::PerSignal;
use crate::producer::{Acks, IfMissing, ProducerConfig};
use crate::protocol::Codec;

fn given(pairs: &[(&str, &str)]) -> OtlpOptions {
    let mut options = OtlpOptions::new();
    for (name, value) in pairs {
        options.set(name, value, Origin::Flag).unwrap();
    }
    options
}

fn config(pairs: &[(&str, &str)]) -> OtlpConfig {
    given(pairs).into_config(&|_| None).unwrap().0
}

fn producer(pairs: &[(&str, &str)]) -> ProducerConfig {
    config(pairs).producer
}

fn error(pairs: &[(&str, &str)]) -> String {
    given(pairs).into_config(&|_| None).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let config = config(&[]);
    let producer = &config.producer;
    assert_eq!(producer.bootstrap[0].to_string(), "localhost:9092");
    assert_eq!(config.topics.traces, "otlp_traces");
    assert_eq!(config.topics.metrics, "otlp_metrics");
    assert_eq!(config.topics.logs, "otlp_logs");
    assert_eq!(config.format, Format::Protobuf);
    assert_eq!(producer.compression, Codec::None.into());
    assert_eq!(producer.request_timeout.as_secs(), 30);
    assert_eq!((producer.acks, producer.idempotence), (Acks::One, false));
    assert_eq!(&*producer.client_id, "rotel");
    assert_eq!(producer.record_size_max, 1_000_000);
    assert_eq!(producer.linger.as_millis(), 5);
    assert_eq!(producer.retries, u32::try_from(i32::MAX).unwrap());
    assert_eq!(producer.retry_backoff.as_millis(), 100);
    assert_eq!(producer.retry_backoff_max.as_millis(), 1000);
    assert_eq!(producer.delivery_timeout.as_secs(), 300);
    assert_eq!(producer.batch_size, 1_000_000);
    assert_eq!(producer.partitioner.name(), "consistent_random");
    assert!(producer.tls.is_none() && producer.sasl.is_none());
    assert_eq!(config.grouping, PerSignal::default());
}

#[test]
fn both_spellings_of_every_value_are_read() {
    for partitioner in
        ["consistent", "consistent-random", "murmur2-random", "murmur2", "fnv1a", "fnv1a-random"]
    {
        for spelled in
            [partitioner.to_owned(), partitioner.replace('-', "_"), partitioner.to_uppercase()]
        {
            let read = producer(&[("partitioner", &spelled)]);
            assert_eq!(read.partitioner.name(), partitioner.replace('-', "_"));
        }
    }
    for (spelled, acks) in
        [("none", Acks::Zero), ("One", Acks::One), ("all", Acks::All), ("-1", Acks::All)]
    {
        assert_eq!(producer(&[("acks", spelled)]).acks, acks);
    }
    for spelled in ["30s", "30000", "30000ms", "0.5m"] {
        match spelled {
            "0.5m" => {
                assert!(error(&[("request-timeout", spelled)]).contains("a duration such as"))
            }
            _ => {
                assert_eq!(producer(&[("request-timeout", spelled)]).request_timeout.as_secs(), 30)
            }
        }
    }
    for (mechanism, protocol) in [("SCRAM-SHA-256", "SASL_SSL"), ("scram-sha-256", "sasl-ssl")] {
        let read = producer(&[
            ("sasl-username", "user"),
            ("sasl-password", "pencil"),
            ("sasl-mechanism", mechanism),
            ("security-protocol", protocol),
        ]);
        assert!(read.tls.is_some());
        assert_eq!(read.sasl.unwrap().mechanism.name(), "SCRAM-SHA-256");
    }
}

#[test]
fn rotels_own_spelling_of_mechanisms_is_read() {
    for (spelled, name) in
        [("plain", "PLAIN"), ("scram-sha256", "SCRAM-SHA-256"), ("scram_sha512", "SCRAM-SHA-512")]
    {
        let read = producer(&[
            ("sasl-username", "user"),
            ("sasl-password", "pencil"),
            ("sasl-mechanism", spelled),
            ("security-protocol", "sasl-plaintext"),
        ]);
        assert_eq!(read.sasl.unwrap().mechanism.name(), name);
    }
}

#[test]
fn the_documentations_examples_run() {
    let secure = producer(&[
        ("brokers", "broker1:9092,broker2:9092"),
        ("sasl-username", "your-username"),
        ("sasl-password", "your-password"),
        ("sasl-mechanism", "SCRAM-SHA-256"),
        ("security-protocol", "SASL_SSL"),
        ("compression", "gzip"),
        ("acks", "all"),
    ]);
    assert_eq!((secure.bootstrap.len(), secure.acks), (2, Acks::All));
    assert_eq!(secure.compression, Codec::Gzip.into());
    let tuned = producer(&[
        ("custom-config", "enable.idempotence=true,max.in.flight.requests.per.connection=1"),
        ("brokers", "broker1:9092,broker2:9092"),
    ]);
    assert!(tuned.idempotence);
    assert_eq!((tuned.acks, tuned.max_in_flight), (Acks::All, 1));
    let size = [("batch-size", "500000"), ("custom-config", "batch.size=2000000")];
    let overridden = config(&size);
    // As in librdkafka, a batch is not larger than a message may be.
    assert_eq!(overridden.producer.batch_size, 1_000_000);
    let with_room = [("max-message-bytes", "2000000"), size[0], size[1]];
    assert_eq!(producer(&with_room).batch_size, 2_000_000);
}

#[test]
fn an_explicit_acks_beside_idempotence_is_one_error_that_names_both() {
    let error = error(&[("acks", "one"), ("custom-config", "enable.idempotence=true")]);
    assert!(error.contains("acks=1") && error.contains("enable.idempotence=true"), "{error}");
    assert!(error.contains("all"), "{error}");
}

#[test]
fn flags_win_over_the_environment_and_that_over_files_whatever_comes_first() {
    let mut options = OtlpOptions::new();
    options.set("linger_ms", "3", Origin::Flag).unwrap();
    options.set("linger-ms", "2", Origin::Environment).unwrap();
    options.set("client-id", "file", Origin::File).unwrap();
    options.set("client-id", "environment", Origin::Environment).unwrap();
    options.set_property("linger.ms", "7", Origin::Flag);
    options.set_property("linger.ms", "6", Origin::File);
    let (config, _) = options.into_config(&|_| None).unwrap();
    assert_eq!(config.producer.linger.as_millis(), 7);
    assert_eq!(&*config.producer.client_id, "environment");
}

#[test]
fn errors_name_the_option_as_it_was_given_and_the_remedy() {
    let of = |name: &str, value: &str, origin| {
        let mut options = OtlpOptions::new();
        options.set(name, value, origin).unwrap();
        options.into_config(&|_| None).unwrap_err().to_string()
    };
    assert_eq!(
        of("acks", "two", Origin::Flag),
        "--kafka-exporter-acks \"two\": write none, one or all"
    );
    assert_eq!(
        of("format", "xml", Origin::Environment),
        "OTTLA_KAFKA_EXPORTER_FORMAT \"xml\": write protobuf or json"
    );
    assert_eq!(
        of("linger_ms", "soon", Origin::File),
        "kafka_exporter.linger_ms \"soon\": write milliseconds, or a duration such as 250ms, 30s or 5m"
    );
    let unknown = OtlpOptions::new().set("trace-topic", "t", Origin::Flag).unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "no such option: \"trace-topic\": did you mean \"dead-letter-topic\"?"
    );
}

#[test]
fn a_login_is_whole_and_is_used() {
    let login =
        [("sasl-username", "user"), ("sasl-password", "pencil"), ("sasl-mechanism", "PLAIN")];
    assert_eq!(
        error(&login[..2]),
        "--kafka-exporter-sasl-username \"user\": a login needs --kafka-exporter-sasl-mechanism too"
    );
    let unused = error(&login);
    assert!(unused.contains("--kafka-exporter-security-protocol PLAINTEXT"), "{unused}");
    assert!(unused.contains("SASL_SSL") && !unused.contains("pencil"), "{unused}");
}

#[test]
fn a_login_may_be_completed_by_properties_whose_secrets_are_named_too() {
    let mut options =
        given(&[("sasl-username", "user"), ("custom-config", "sasl.mechanism=PLAIN")]);
    options.set_property("sasl.password", "env.PASSWORD", Origin::Flag);
    options.set_property("security.protocol", "sasl_plaintext", Origin::File);
    let known = |name: &str| (name == "PASSWORD").then(|| "pencil".to_owned());
    assert!(options.clone().into_config(&known).unwrap().0.producer.sasl.is_some());
    let error = options.into_config(&|_| None).unwrap_err().to_string();
    assert_eq!(error, "sasl.password: the environment variable \"PASSWORD\" is not set");
}

#[test]
fn secrets_are_named_rather_than_written() {
    let mut options = given(&[
        ("sasl-username", "user"),
        ("sasl-password", "env.PASSWORD"),
        ("sasl-mechanism", "PLAIN"),
        ("security-protocol", "SASL_PLAINTEXT"),
    ]);
    let known = |name: &str| (name == "PASSWORD").then(|| "pencil".to_owned());
    assert!(options.clone().into_config(&known).is_ok());
    let error = options.clone().into_config(&|_| None).unwrap_err().to_string();
    assert_eq!(
        error,
        "--kafka-exporter-sasl-password: the environment variable \"PASSWORD\" is not set"
    );
    assert!(!format!("{:?}", given(&[("sasl-password", "pencil")])).contains("pencil"));
    options.set("sasl-password", "file./nowhere/at/all", Origin::Flag).unwrap();
    let error = options.into_config(&|_| None).unwrap_err().to_string();
    assert!(error.contains("cannot read \"/nowhere/at/all\""), "{error}");
}

#[test]
fn a_record_has_one_key() {
    let traces = |pairs: &[(&str, &str)]| config(pairs).grouping.traces;
    assert_eq!(traces(&[("partition-traces-by-id", "true")]), Grouping::TraceId);
    assert_eq!(
        traces(&[("partition-traces-by-attributes", "service.name, user.id")]),
        Grouping::Attributes(vec!["service.name".into(), "user.id".into()])
    );
    let logs = config(&[("partition-logs-by-resource-attributes", "TRUE")]).grouping.logs;
    assert_eq!(logs, Grouping::Resource);
    let both = error(&[
        ("partition-logs-by-resource-attributes", "true"),
        ("partition-logs-by-trace-id", "true"),
    ]);
    assert!(both.contains("does not go with") && both.contains("one key"), "{both}");
}

#[test]
fn topics_of_senders_need_a_list() {
    let error = error(&[("topic-from-header", "X-Topic")]);
    assert!(error.ends_with("name the topics that it may choose with allowed-topics"), "{error}");
    let config = config(&[
        ("topic-from-header", "X-Topic"),
        ("allowed-topics", "a, b"),
        ("record-headers", "source=edge, zone=eu"),
        ("headers-from-metadata", "X-Tenant"),
        ("topic-preset", "otelcol"),
        ("logs-topic", "mine"),
    ]);
    assert_eq!(config.topic_from_header.as_deref(), Some("x-topic"));
    assert_eq!(config.allowed_topics, ["a", "b"]);
    assert_eq!(config.record_headers[1], ("zone".to_owned(), "eu".to_owned()));
    assert_eq!(config.headers_from_metadata, ["x-tenant"]);
    assert_eq!((&*config.topics.traces, &*config.topics.logs), ("otlp_spans", "mine"));
}

#[test]
fn what_is_too_large_goes_where_it_is_told() {
    let oversize = |pairs: &[(&str, &str)]| config(pairs).oversize;
    assert_eq!(oversize(&[]), Oversize { truncate: true, dead_letters: None });
    assert_eq!(
        oversize(&[("oversize", "dead_letter"), ("dead-letter-topic", "large")]),
        Oversize { truncate: false, dead_letters: Some(DeadLetters::Topic("large".into())) }
    );
    assert!(
        error(&[("oversize", "dead-letter")]).contains("dead-letter-topic or dead-letter-file")
    );
    assert!(error(&[("oversize", "keep")]).contains("write truncate, dead-letter or drop"));
    let both = error(&[("dead-letter-topic", "a"), ("dead-letter-file", "b")]);
    assert!(both.contains("choose one of them"), "{both}");
}

#[test]
fn one_setting_by_two_names_has_one_value() {
    assert_eq!(
        producer(&[("request-timeout", "20s"), ("request-timeout-ms", "20000")])
            .request_timeout
            .as_secs(),
        20
    );
    let both = error(&[("request-timeout", "20s"), ("request-timeout-ms", "10000")]);
    assert!(both.contains("they name one setting"), "{both}");
}

#[test]
fn topics_are_created_as_they_are_asked_for() {
    let read = |options: &[(&str, &str)]| given(options).into_config(&|_| None).unwrap().0;
    assert!(!read(&[]).create_topics);
    assert_eq!(read(&[]).topic_creation, TopicCreation::default());
    let config = read(&[
        ("create-topics", "true"),
        ("topic-partitions", "12"),
        ("topic-replication-factor", "3"),
        ("topic-configs", "cleanup.policy = compact, delete,retention.ms=1000"),
        ("allowed-topics", "otlp_logs,theirs"),
        ("topic-from-header", "topic"),
        ("dead-letter-topic", "letters"),
        ("metrics-topic", "otlp_logs"),
    ]);
    let told = "12 partitions, 3 replicas, cleanup.policy=compact,delete, retention.ms=1000";
    assert_eq!(config.topic_creation.to_string(), told);
    let topics = config.probe_topics();
    assert!(topics.iter().all(|topic| matches!(topic.if_missing, IfMissing::IsCreated(_))));
    let names: Vec<_> = topics.iter().map(|topic| &*topic.name).collect();
    assert_eq!(names, ["otlp_traces", "otlp_logs", "letters"]);
    let [theirs] = &config.probe_topics_of_senders()[..] else { panic!("one is not ours") };
    assert_eq!((&*theirs.name, &theirs.if_missing), ("theirs", &IfMissing::BrokerDecides));
    let config = read(&[("create-topics", "true"), ("probe", "off"), ("when-full", "Drop_Oldest")]);
    assert_eq!(config.producer.when_full, WhenFull::DropOldest);
    assert_eq!(config.probe_topics()[0].if_missing, IfMissing::BrokerDecides);
    let config = read(&[("custom-config", "allow.auto.create.topics=false")]);
    assert_eq!(config.probe_topics()[0].if_missing, IfMissing::Fails);

    for (option, value, fault) in [
        ("topic-partitions", "0", "\"0\": write a whole number from 1 to 2147483647"),
        ("topic-replication-factor", "many", "\"many\": write a whole number from 1 to 32767"),
        ("topic-configs", "compact", "\"compact\": write name=value, separated by commas"),
        ("topic-configs", "=compact", "\"=compact\": write name=value, separated by commas"),
    ] {
        let told = error(&[(option, value)]);
        assert_eq!(told, format!("--kafka-exporter-{option} {fault}"));
    }
}
