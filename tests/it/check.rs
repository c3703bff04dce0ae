//! `ottla check`, as a person runs it: one line a step, the remedy, the exit code, and the options.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

use ottla::broker::{
    Admission, Api, BrokerConfig, EmbeddedBroker, MetadataFault, Profile, RequestFault,
};
use ottla::protocol::ErrorCode;

use crate::process::{Config, ottla, run, text};
use crate::security::{file, tls, users};

async fn start(config: BrokerConfig) -> EmbeddedBroker {
    EmbeddedBroker::start(config).await.unwrap()
}

/// What it shows for OpenTelemetry's exporter at these brokers, and its exit code.
fn check(brokers: &str, more: &[&str]) -> (String, Option<i32>, String) {
    let mut command = ottla(&["check", "--kafka-exporter-brokers", brokers]);
    command.args(more);
    shown(run(command, ""))
}

fn shown(output: Output) -> (String, Option<i32>, String) {
    (text(&output.stdout), output.status.code(), text(&output.stderr))
}

/// The first words of every step: how it ended, and its name.
fn steps(shown: &str) -> Vec<(&str, &str)> {
    let steps = shown.lines().take_while(|line| !line.is_empty());
    let words = steps.map(|line| line.split_whitespace());
    words.map(|mut words| (words.next().unwrap(), words.next().unwrap())).collect()
}

/// The first line of a step; empty, if there is none.
fn line<'a>(shown: &'a str, step: &str) -> &'a str {
    let is_it = |line: &&str| line.split_whitespace().nth(1) == Some(step);
    shown.lines().find(is_it).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_broker_that_is_well_is_shown_and_then_every_option() {
    let broker = start(BrokerConfig::default().with_brokers(2)).await;
    for topic in ["otlp_traces", "otlp_metrics", "otlp_logs"] {
        broker.create_topic(topic, 3).unwrap();
    }
    let brokers = broker.bootstrap().join(",");
    let (shown, code, log) = check(&brokers, &["--kafka-exporter-linger-ms", "7"]);
    assert_eq!(code, Some(0), "{shown}{log}");
    assert_eq!(
        steps(&shown),
        [
            ("ok", "DNS"),
            ("ok", "TCP"),
            ("-", "TLS"),
            ("ok", "ApiVersions"),
            ("-", "SASL"),
            ("ok", "cluster"),
            ("ok", "topic"),
            ("ok", "topic"),
            ("ok", "topic"),
            ("ok", "leaders"),
            ("ok", "write"),
            ("ok", "write"),
            ("ok", "write"),
            ("-", "idempotence"),
        ],
        "{shown}"
    );
    let tcp = line(&shown, "TCP");
    assert!(tcp.starts_with(&format!("ok    TCP         {} in ", broker.bootstrap()[0])), "{tcp}");
    assert!(tcp.ends_with(" ms"), "{tcp}");
    let versions = "ok    ApiVersions looks like Apache Kafka 4.1 or later; Produce v13 is used";
    assert_eq!(line(&shown, "ApiVersions"), versions);
    let topic = "ok    topic       \"otlp_traces\" has 3 partitions, led by brokers 1, 2";
    assert_eq!(line(&shown, "topic"), topic);
    assert!(line(&shown, "cluster").ends_with("\"ottla-embedded-cluster\" has 2 brokers"));
    assert!(line(&shown, "leaders").contains("2 brokers answer where they say"), "{shown}");
    assert!(line(&shown, "write").contains("\"otlp_traces\" may be written to"), "{shown}");

    let option = |name: &str| {
        let found = shown.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        found.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(option("kafka-exporter-brokers"), [brokers.as_str(), "flag"]);
    assert_eq!(option("kafka-exporter-linger-ms"), ["7", "flag"]);
    assert_eq!(option("kafka-exporter-acks"), ["one", "default"]);
    assert_eq!(option("kafka-exporter-sasl-username"), ["-", "default"]);
    assert_eq!(option("otlp-grpc-endpoint"), ["127.0.0.1:4317", "default"]);
    assert!(broker.accepted("otlp_traces").is_empty(), "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_come_from_flags_the_environment_and_a_file_and_secrets_are_not_shown() {
    let broker = start(BrokerConfig::default().with_sasl(users())).await;
    let path = std::env::temp_dir().join(format!("ottla-{}-check.toml", std::process::id()));
    let config = format!(
        "ack = \"queue\"\n[kafka_exporter]\nbrokers = {:?}\nsecurity_protocol = \"SASL_PLAINTEXT\"\n\
         sasl_mechanism = \"PLAIN\"\nsasl_username = \"user\"\nsasl_password = \"pencil\"\n\
         [kafka_exporter.properties]\n\"enable.idempotence\" = true\n",
        broker.bootstrap()
    );
    std::fs::write(&path, config).unwrap();
    let mut command = ottla(&["check", "--config", path.to_str().unwrap()]);
    command.args(["--kafka-exporter-traces-topic", "mine", "--shutdown-timeout", "3s"]);
    command.env("OTTLA_KAFKA_EXPORTER_FORMAT", "json").env("OTTLA_ADMIN_ENDPOINT", "127.0.0.1:1");
    let (shown, code, log) = shown(run(command, ""));
    std::fs::remove_file(path).unwrap();
    assert_eq!(code, Some(0), "{shown}{log}");
    assert!(!shown.contains("pencil") && !log.contains("pencil"), "{shown}{log}");
    let words: Vec<Vec<_>> = shown.lines().map(|line| line.split_whitespace().collect()).collect();
    for option in [
        ["ack", "queue", "file"],
        ["admin-endpoint", "127.0.0.1:1", "environment"],
        ["shutdown-timeout", "3s", "flag"],
        ["kafka-exporter-traces-topic", "mine", "flag"],
        ["kafka-exporter-format", "json", "environment"],
        ["kafka-exporter-sasl-mechanism", "PLAIN", "file"],
        ["kafka-exporter-sasl-password", "(set)", "file"],
        ["kafka-exporter-compression", "none", "default"],
        ["kafka-exporter-acks", "all", "default"],
    ] {
        assert!(words.iter().any(|words| words[..] == option), "{option:?} in\n{shown}");
    }
    assert_eq!(line(&shown, "SASL"), "ok    SASL        PLAIN");
    assert!(line(&shown, "idempotence").contains("producers get an identity"), "{shown}");
    assert!(shown.contains("note: acks: raised to all"), "{shown}");
    // None of the topics is there, and nobody can tell from here whether the broker creates them.
    assert_eq!(steps(&shown).iter().filter(|step| **step == ("warn", "topic")).count(), 3);
    assert!(line(&shown, "topic").contains("\"mine\" does not exist: its first record creates it"));
    assert!(line(&shown, "write").contains("nothing is known of \"mine\""), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_told_apart_from_what_is_wrong_with_it() {
    let broker = start(BrokerConfig::default().with_tls(tls())).await;
    broker.create_topic("otlp_traces", 1).unwrap();
    let brokers = broker.bootstrap().join(",");
    let (ca, other) = (file("ca.pem"), file("other-ca.pem"));
    let with = |ca: &std::path::Path| {
        let flags = ["--kafka-exporter-security-protocol", "SSL", "--kafka-exporter-tls-ca-file"];
        let flags: Vec<_> = flags.into_iter().chain(ca.to_str()).collect();
        check(&brokers, &flags)
    };
    let (shown, code, _) = with(&ca);
    assert_eq!(code, Some(0), "{shown}");
    assert!(line(&shown, "TLS").starts_with("ok    TLS         TLS 1.3, TLS13_"), "{shown}");

    let (shown, code, log) = with(&other);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "TLS").starts_with("FAIL  TLS         the certificate of "), "{shown}");
    assert!(line(&shown, "TLS").contains("is signed by an unknown authority: give its"), "{shown}");
    assert_eq!(steps(&shown)[..3], [("ok", "DNS"), ("ok", "TCP"), ("FAIL", "TLS")]);
    assert!(steps(&shown)[3..].iter().all(|(status, _)| *status == "-"), "{shown}");
    assert!(line(&shown, "SASL").ends_with("not tried"), "{shown}");
    assert_eq!(log, "ottla: it would not work: see TLS\n");

    let (shown, code, log) = with(&file("no-such.pem"));
    assert_eq!((code, shown.as_str()), (Some(2), ""), "{log}");
    assert!(log.contains("no-such.pem"), "{log}");

    let (shown, code, _) = check(&brokers, &[]);
    assert_eq!(code, Some(3), "{shown}");
    let versions = line(&shown, "ApiVersions");
    assert!(versions.contains("speaks TLS, and we do not: set security.protocol"), "{versions}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_fails_is_no_fault_of_the_steps_before_it() {
    let broker = start(BrokerConfig::default().with_sasl(users())).await;
    let brokers = broker.bootstrap().join(",");
    for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
        let (shown, code, _) = check(
            &brokers,
            &[
                "--kafka-exporter-security-protocol=SASL_PLAINTEXT",
                "--kafka-exporter-sasl-username=user",
                "--kafka-exporter-sasl-password=hunter2",
                &format!("--kafka-exporter-sasl-mechanism={mechanism}"),
            ],
        );
        assert_eq!(code, Some(3), "{shown}");
        assert_eq!(
            steps(&shown)[3..6],
            [("ok", "ApiVersions"), ("FAIL", "SASL"), ("-", "cluster")]
        );
        let login = line(&shown, "SASL");
        assert!(login.contains("the broker refuses the user or the password"), "{login}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let (shown, code, _) = check(&brokers, &[]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "SASL").starts_with("FAIL  SASL"), "{shown}");
    assert!(line(&shown, "SASL").contains("does it want a login"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_missing_is_a_matter_of_who_creates_it() {
    let broker = start(BrokerConfig::default()).await;
    let entry =
        |more: &str| format!(r#"{{"brokers": {:?}, "topic": "t"{more}}}"#, broker.bootstrap());
    let of = |name: &str, more: &str| {
        let config = Config::new(name, &entry(more));
        shown(run(ottla(&["check", "--config", config.path()]), ""))
    };
    let (shown, code, log) = of("check-missing", "");
    assert_eq!(code, Some(2), "{shown}");
    assert_eq!(
        line(&shown, "topic"),
        "FAIL  topic       \"t\" does not exist: create it, or have it created"
    );
    assert_eq!(log, "ottla: it would not work: see topic\n");
    let options: Vec<Vec<_>> =
        shown.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(options.contains(&vec!["topic", "t", "file"]), "{shown}");
    assert!(options.contains(&vec!["batch_size", "100", "default"]), "{shown}");

    let (shown, code, _) = of("check-created", r#", "auto_create_topic": true"#);
    assert_eq!(code, Some(0), "{shown}");
    assert!(line(&shown, "topic").contains("\"t\" does not exist, and is created"), "{shown}");
    assert_eq!(broker.leader("t", 0), None, "it was only asked whether it could be");

    let more = r#", "auto_create_topic": true, "topic_partitions": 3, "topic_configs":
                   {"retention.ms": "1000"}"#;
    let (shown, code, _) = of("check-created-with", more);
    assert_eq!(code, Some(0), "{shown}");
    let told = line(&shown, "topic");
    assert!(told.ends_with("and is created with 3 partitions, retention.ms=1000"), "{told}");
    assert!(shown.lines().any(|line| line.starts_with("topic_partitions") && line.contains(" 3 ")));
    let (shown, code, _) = of("check-cannot", &more.replace("retention.ms", "retention"));
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "topic").contains("INVALID_CONFIG"), "{shown}");
    assert_eq!(broker.partition_count("t"), 0, "it was only asked whether it could be");
    broker.create_topic("t", 2).unwrap();
    let (shown, code, _) = of("check-fewer", more);
    assert_eq!(code, Some(0), "{shown}");
    let told = line(&shown, "topic");
    assert!(told.ends_with("led by broker 1; it is left so, though 3 are asked for"), "{told}");

    broker.set_topic_denied("t", true);
    let (shown, code, _) = of("check-denied", r#", "auto_create_topic": true"#);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "topic").contains("may not be looked at: grant"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_to_write_is_asked_for_without_writing() {
    let entry = |broker: &EmbeddedBroker| {
        format!(r#"{{"brokers": {:?}, "topic": "t"}}"#, broker.bootstrap())
    };
    let broker = start(BrokerConfig::default()).await;
    broker.create_topic("t", 1).unwrap();
    let config = Config::new("check-rights", &entry(&broker));
    let check = |config: &Config| shown(run(ottla(&["check", "--config", config.path()]), ""));
    broker.set_topic_read_only("t", true);
    let (shown, code, _) = check(&config);
    assert_eq!(code, Some(3), "{shown}");
    assert!(
        line(&shown, "write").starts_with("FAIL  write       \"t\" may not be written to: grant"),
        "{shown}"
    );
    broker.clear_faults();
    broker.set_cluster_denied(true);
    let (shown, code, _) = check(&config);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "write").starts_with("ok"), "{shown}");
    let told = line(&shown, "idempotence");
    assert!(
        told.contains("CLUSTER_AUTHORIZATION_FAILED") && told.contains("IDEMPOTENT_WRITE"),
        "{told}"
    );
    assert!(broker.accepted("t").is_empty());

    let old = start(BrokerConfig::default().with_profile(Profile::Kafka2)).await;
    old.create_topic("t", 1).unwrap();
    let (shown, code, _) = check(&Config::new("check-old", &entry(&old)));
    assert_eq!(code, Some(0), "{shown}");
    assert!(line(&shown, "ApiVersions").contains("Apache Kafka 2.1 to 2.3; Produce v7"), "{shown}");
    assert_eq!(
        line(&shown, "write"),
        "-     write       the broker does not tell whether \"t\" may be written to"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_are_told_apart_by_what_they_speak() {
    for (profile, looks_like) in [
        (Profile::Kafka39, "looks like Apache Kafka 3.8 or 3.9; Produce v11 is used"),
        (Profile::Redpanda, "looks like Redpanda; Produce v7 is used"),
    ] {
        let broker = start(BrokerConfig::default().with_profile(profile)).await;
        let (shown, code, _) = check(&broker.bootstrap().join(","), &[]);
        assert_eq!(code, Some(0), "{shown}");
        assert!(line(&shown, "ApiVersions").ends_with(looks_like), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_without_a_leader_are_named() {
    let broker = start(BrokerConfig::default()).await;
    broker.create_topic("otlp_traces", 3).unwrap();
    let brokers = broker.bootstrap().join(",");
    broker.inject_metadata("otlp_traces", MetadataFault::Leaderless(vec![1]));
    let (shown, code, _) = check(&brokers, &[]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        line(&shown, "topic").contains("has 3 partitions, and nobody leads partition 1"),
        "{shown}"
    );
    broker.inject_metadata("otlp_traces", MetadataFault::Leaderless(vec![0, 1, 2]));
    let (shown, code, _) = check(&brokers, &[]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "topic").starts_with("FAIL"), "{shown}");
    broker.inject_metadata("otlp_traces", MetadataFault::Refuse(ErrorCode::UNKNOWN_SERVER_ERROR));
    let (shown, code, _) = check(&brokers, &[]);
    assert_eq!(
        (code, line(&shown, "topic")),
        (Some(3), "FAIL  topic       \"otlp_traces\": UNKNOWN_SERVER_ERROR (code -1)")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_not_where_it_says_is_found_before_a_record_is_sent_there() {
    let broker = start(BrokerConfig::default().with_brokers(2)).await;
    broker.create_topic("otlp_traces", 2).unwrap();
    broker.admit(2, Admission::Close);
    let (shown, code, _) = check(&broker.bootstrap()[0], &[]);
    assert_eq!(code, Some(3), "{shown}");
    let told = line(&shown, "leaders");
    assert!(told.starts_with("FAIL  leaders     broker 2 cannot be used where it says"), "{told}");
    assert!(told.contains(&broker.bootstrap()[1]), "{told}");
    assert!(told.ends_with("is advertised.listeners right, and reachable from here?"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_of_the_list_that_is_not_there_is_a_warning_while_another_is() {
    let broker = start(BrokerConfig::default()).await;
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let brokers = format!("{gone},{}", broker.bootstrap()[0]);
    let (shown, code, _) = check(&brokers, &[]);
    assert_eq!(code, Some(0), "{shown}");
    let expected = [("ok", "DNS"), ("warn", "TCP"), ("ok", "DNS"), ("ok", "TCP"), ("-", "TLS")];
    assert_eq!(steps(&shown)[..5], expected);
    assert!(line(&shown, "TCP").ends_with("; the next broker is tried"), "{shown}");
}

#[test]
fn nobody_at_an_address_and_no_address_for_a_name_are_told_apart() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (shown, code, _) = check(&gone.to_string(), &[]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "DNS").contains("127.0.0.1 is an address"), "{shown}");
    assert!(
        line(&shown, "TCP").starts_with(&format!("FAIL  TCP         cannot connect to {gone}: ")),
        "{shown}"
    );
    assert!(line(&shown, "ApiVersions").starts_with("-"), "{shown}");

    let (shown, code, _) = check("no-such-host.invalid:9092", &[]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "DNS").starts_with("FAIL  DNS         cannot resolve"), "{shown}");
    assert_eq!(line(&shown, "TCP"), "-     TCP         not tried");
}

/// A peer that answers whatever is asked with these bytes, and nothing if there are none.
fn peer(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 512]);
            let _ = stream.write_all(answer);
            kept.push(stream);
        }
    });
    address
}

#[test]
fn who_is_no_broker_is_named_and_who_says_nothing_is_not_waited_for_long() {
    let (shown, code, _) = check(&peer(b"HTTP/1.1 400 Bad Request\r\n\r\n"), &[]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "ApiVersions").starts_with("FAIL"), "{shown}");
    assert!(
        line(&shown, "ApiVersions").contains("an HTTP server answered, not a Kafka broker"),
        "{shown}"
    );

    let silent = peer(b"");
    let (shown, code, _) = check(&silent, &["--kafka-exporter-request-timeout", "200ms"]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(
        line(&shown, "ApiVersions").contains("did not answer ApiVersions within 200ms"),
        "{shown}"
    );
    let flags =
        ["--kafka-exporter-request-timeout=200ms", "--kafka-exporter-security-protocol=SSL"];
    let (shown, _, _) = check(&silent, &flags);
    assert!(
        line(&shown, "TLS").contains("did not answer the TLS handshake within 200ms"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_falls_silent_later_is_told_at_that_step() {
    let broker = start(BrokerConfig::default()).await;
    broker.inject_request(Api::Metadata, RequestFault::Silence);
    let brokers = broker.bootstrap().join(",");
    let (shown, code, _) = check(&brokers, &["--kafka-exporter-request-timeout", "200ms"]);
    assert_eq!(code, Some(3), "{shown}");
    assert!(line(&shown, "cluster").contains("did not answer Metadata within 200ms"), "{shown}");
    assert!(line(&shown, "leaders").ends_with("not tried"), "{shown}");
}

#[test]
fn what_cannot_be_configured_is_refused_before_anything_is_tried() {
    let (shown, code, log) = shown(run(ottla(&["check"]), ""));
    assert_eq!((code, shown.as_str()), (Some(2), ""), "{log}");
    assert!(log.starts_with("ottla: nowhere to publish to: give --config FILE"), "{log}");
    let (shown, code, log) = check("localhost:9092", &["--kafka-exporter-format", "xml"]);
    assert_eq!((code, shown.as_str()), (Some(2), ""), "{log}");
    assert!(log.contains("write protobuf or json"), "{log}");
}

#[test]
fn a_trial_needs_no_kafka() {
    let (shown, code, _) = shown(run(ottla(&["check", "--dev"]), ""));
    assert_eq!(code, Some(0), "{shown}");
    assert!(shown.starts_with("--dev: the embedded broker on 127.0.0.1:"), "{shown}");
    assert!(
        line(&shown, "topic").contains("\"bifrost-traces\" does not exist, and is created"),
        "{shown}"
    );
}
