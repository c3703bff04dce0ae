//! The properties as a whole: every row behaves as its class, and the rules hold.

use super::super::config::{Acks, ConfigError};
use super::rows::{CONSUMER, GLOBAL, TOPIC};
use super::table::{Set, all, find};
use super::value::Kind;
use super::*;
use crate::producer::tls::{Pem, Roots, TlsIdentity};
use crate::protocol::{Codec, Compression};
use crate::sasl::Secret;
use std::time::Duration;

const BROKER: (&str, &str) = ("bootstrap.servers", "localhost:9092");

type Outcome = Result<(ProducerConfig, Vec<PropertyNote>), PropertyError>;

fn configure(pairs: &[(&str, &str)]) -> Outcome {
    Properties::from_pairs([BROKER].iter().chain(pairs).copied())?.into_config()
}

fn configured(pairs: &[(&str, &str)]) -> ProducerConfig {
    configure(pairs).unwrap().0
}

fn refused(pairs: &[(&str, &str)]) -> String {
    configure(pairs).unwrap_err().to_string()
}

fn notes(pairs: &[(&str, &str)]) -> Vec<String> {
    configure(pairs).unwrap().1.iter().map(ToString::to_string).collect()
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Values of a property that differ from its default.
fn samples(row: &Row) -> Vec<String> {
    let candidates: Vec<String> = match (row.name, row.kind) {
        ("metadata.broker.list", _) => vec!["a:1,b:2".to_owned()],
        ("partitioner", _) => vec!["fnv1a".to_owned()],
        ("request.required.acks", _) => vec!["0".to_owned(), "1".to_owned()],
        (_, Kind::Text | Kind::Secret) => vec!["something".to_owned()],
        (_, Kind::Flag) => vec!["true".to_owned(), "false".to_owned()],
        (_, Kind::Number { min, max, .. } | Kind::Fraction { min, max }) => {
            vec![min.to_string(), max.to_string()]
        }
        (_, Kind::Choice(words) | Kind::Flags(words)) => {
            words.iter().map(ToString::to_string).collect()
        }
        (_, Kind::Pointer) => Vec::new(),
    };
    candidates.into_iter().filter(|text| text != row.default).collect()
}

#[test]
fn every_property_of_a_producer_is_known() {
    assert_eq!((GLOBAL.len(), TOPIC.len()), (146, 14));
    for row in all() {
        let (spelled, canonical) = find(row.name).unwrap();
        assert_eq!(spelled.name, row.name);
        assert!(!matches!(canonical.effect, Effect::Alias(_)), "{}: an alias of one", row.name);
    }
}

#[test]
fn every_default_is_a_value_and_every_kind_fits_its_effect() {
    for row in all() {
        assert_eq!(row.default.is_empty(), row.default_value().is_none(), "{}", row.name);
        let Effect::Sets(_, set) = row.effect else { continue };
        let fits = match set {
            Set::Flag(_) => matches!(row.kind, Kind::Flag),
            Set::Millis(_) => matches!(row.kind, Kind::Number { .. } | Kind::Fraction { .. }),
            Set::Size(_) => matches!(row.kind, Kind::Number { .. }),
            Set::Other(_) => true,
        };
        assert!(fits, "{}", row.name);
    }
}

#[test]
fn every_property_behaves_as_its_class() {
    for row in all() {
        let mut properties = Properties::new();
        for text in samples(row) {
            let outcome = properties.set(row.name, &text);
            let known = match (row.effect, outcome) {
                (Effect::Refused(_), Err(PropertyError::Unsupported { .. })) => true,
                (Effect::Refused(_), _) => false,
                (Effect::Alias(_) | Effect::Shadowed, _) => true,
                (_, outcome) => outcome.is_ok(),
            };
            assert!(known, "{}={text}", row.name);
        }
        if let Effect::Callback = row.effect {
            let error = properties.set(row.name, "1").unwrap_err();
            assert!(matches!(error, PropertyError::Callback { .. }), "{error}");
        } else if !row.default.is_empty() {
            properties.set(row.name, row.default).unwrap();
        }
    }
}

#[test]
fn what_is_inert_or_out_of_use_says_so_unless_it_asks_for_what_happens_anyway() {
    for row in all() {
        let expected = match row.effect {
            Effect::Inert(_) => NoteKind::NoEffect,
            Effect::Deprecated => NoteKind::Deprecated,
            Effect::Consumer => NoteKind::Consumer,
            _ => continue,
        };
        // Some do something after all beside idempotence, which librdkafka's defaults lack.
        let told = |text: &str| {
            let mut properties = Properties::librdkafka_defaults();
            properties.set(BROKER.0, BROKER.1).unwrap();
            properties.set(row.name, text).unwrap();
            properties.into_config().unwrap().1
        };
        let notes = told(&samples(row)[0]);
        assert_eq!(notes.len(), 1, "{}: {notes:?}", row.name);
        assert_eq!((notes[0].name, notes[0].kind), (row.name, expected));
        if expected == NoteKind::NoEffect && !row.default.is_empty() {
            assert_eq!(told(row.default), [], "{}", row.name);
        }
    }
}

#[test]
fn numbers_beyond_their_range_are_refused_with_the_range() {
    for row in all() {
        let Kind::Number { min, max, .. } = row.kind else { continue };
        for number in [min - 1, max + 1] {
            let error = Properties::new().set(row.name, &number.to_string()).unwrap_err();
            let range = format!("value {number} is outside allowed range {min}..{max}");
            assert!(error.to_string().contains(&range), "{error}");
        }
    }
}

#[test]
fn a_consumers_properties_do_not_stop_a_producer() {
    assert_eq!(notes(&[("group.id", "x")]), ["group.id is a consumer property: it is ignored"]);
    assert!(CONSUMER.len() > 30);
}

#[test]
fn names_are_exact() {
    for name in ["Acks", " acks", "acks ", "", "message.timeout"] {
        let error = Properties::new().set(name, "1").unwrap_err();
        assert_eq!(error.to_string(), format!("no such configuration property: {name:?}"));
    }
}

#[test]
fn the_later_setting_wins_by_whichever_name() {
    let config = configured(&[("linger.ms", "7"), ("queue.buffering.max.ms", "8")]);
    assert_eq!(config.linger, millis(8));
    let both = [("queue.buffering.max.ms", "8"), ("linger.ms", "0.5")];
    assert_eq!(configured(&both).linger, Duration::from_micros(500));
    assert_eq!(
        notes(&both),
        ["linger.ms: replaces queue.buffering.max.ms, which is the same property"]
    );
    assert_eq!(notes(&[("linger.ms", "7"), ("linger.ms", "8")]), [""; 0]);
}

#[test]
fn properties_become_the_fields_that_they_name() {
    let config = configured(&[
        ("client.id", " gateway"),
        ("message.max.bytes", "2000000"),
        ("receive.message.max.bytes", "0x1000000"),
        ("max.in.flight", "3"),
        ("socket.connection.setup.timeout.ms", "5000"),
        ("reconnect.backoff.ms", "60"),
        ("reconnect.backoff.max.ms", "700ms"),
        ("allow.auto.create.topics", "f"),
        ("queue.buffering.max.kbytes", "4096"),
        ("retry.backoff.ms", "20"),
        ("retry.backoff.max.ms", "300"),
        ("compression.type", "GZIP"),
        ("compression.level", "4"),
        ("batch.num.messages", "500"),
        ("batch.size", "65536"),
        ("sticky.partitioning.linger.ms", "0"),
        ("request.timeout.ms", "4000"),
        ("delivery.timeout.ms", "60000"),
        ("partitioner", "fnv1a_random"),
        ("metadata.max.age.ms", "90000"),
        ("topic.metadata.refresh.interval.ms", "-1"),
    ]);
    assert_eq!(config.client_id, "gateway");
    assert_eq!((config.record_size_max, config.response_size_max), (2_000_000, 1 << 24));
    assert_eq!((config.max_in_flight, config.buffer_memory), (3, 4 << 20));
    assert_eq!(config.connection_setup_timeout, millis(5000));
    assert_eq!(config.reconnect_backoff, millis(60));
    assert_eq!(config.reconnect_backoff_max, millis(700));
    assert_eq!((config.retry_backoff, config.retry_backoff_max), (millis(20), millis(300)));
    assert!(!config.allow_auto_create_topics && !config.sticky_partitioning);
    assert_eq!(config.compression, Compression::with_level(Codec::Gzip, 4).unwrap());
    assert_eq!((config.batch_records_max, config.batch_size), (500, 65_536));
    assert_eq!((config.request_timeout, config.delivery_timeout), (millis(4000), millis(60_000)));
    assert_eq!(config.partitioner.name(), "fnv1a_random");
    assert_eq!(config.metadata_max_age, millis(90_000));
    assert!(config.idempotence);
}

#[test]
fn brokers_are_read_as_librdkafka_reads_them() {
    let config = configured(&[("metadata.broker.list", "a, b:1,,PLAINTEXT://c:2 ,[::1],[::1]:3")]);
    let addresses: Vec<_> = config.bootstrap.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["a:9092", "b:1", "c:2", "[::1]:9092", "[::1]:3"]);
    let error = refused(&[("bootstrap.servers", "http://a:1")]);
    assert!(error.contains("http:// is none of plaintext, ssl, sasl_plaintext"), "{error}");
    let error = refused(&[("bootstrap.servers", "ssl://a:1")]);
    assert_eq!(
        error,
        "bootstrap.servers=ssl://a:1 does not go with security.protocol=plaintext: leave the \
         scheme out, or set security.protocol to it"
    );
    configured(&[("bootstrap.servers", "SSL://a:1"), ("security.protocol", "ssl")]);
    assert!(refused(&[("bootstrap.servers", "a:x")]).contains("from 1 to 65535"));
    let error = Properties::new().into_config().unwrap_err();
    assert_eq!(error, PropertyError::Config(ConfigError::NoBrokers));
}

#[test]
fn acks_are_those_that_brokers_take() {
    for (text, acks) in [("all", Acks::All), ("-1", Acks::All), ("1", Acks::One), ("0", Acks::Zero)]
    {
        assert_eq!(configured(&[("acks", text)]).acks, acks);
    }
    assert!(refused(&[("acks", "2")]).contains("brokers take 0, 1 and all (-1)"));
    assert!(refused(&[("acks", "one")]).contains("expected a number"));
}

#[test]
fn librdkafkas_defaults_are_its_own() {
    let mut properties = Properties::librdkafka_defaults();
    properties.set(BROKER.0, BROKER.1).unwrap();
    let (config, notes) = properties.clone().into_config().unwrap();
    assert_eq!(notes, []);
    assert_eq!((config.client_id.as_str(), config.acks), ("rdkafka", Acks::All));
    assert!(!config.idempotence && config.allow_auto_create_topics);
    assert!(config.sticky_partitioning);
    assert_eq!((config.max_in_flight, config.buffer_memory), (1_000_000, 1 << 30));
    assert_eq!((config.linger, config.delivery_timeout), (millis(5), millis(300_000)));
    assert_eq!((config.batch_size, config.record_size_max), (1_000_000, 1_000_000));
    assert_eq!(config.reconnect_backoff_max, millis(10_000));
    assert_eq!(config.connection_setup_timeout, millis(30_000));
    assert_eq!(config.metadata_max_age, millis(300_000));
    assert_eq!(config.partitioner.name(), "consistent_random");

    properties.set("enable.idempotence", "true").unwrap();
    let (config, notes) = properties.into_config().unwrap();
    assert_eq!((config.max_in_flight, notes), (5, vec![]));
}

#[test]
fn idempotence_that_is_asked_for_refuses_what_excludes_it() {
    for (name, value, remedy) in [
        ("acks", "1", "set acks=all"),
        ("max.in.flight", "6", "set it to at most 5"),
        ("retries", "0", "set it to at least 1"),
        ("queuing.strategy", "lifo", "set queuing.strategy=fifo"),
        ("queue.buffering.backpressure.threshold", "2", "set the threshold to 1"),
    ] {
        let error = refused(&[("enable.idempotence", "true"), (name, value)]);
        let both = format!("{name}={value} does not go with enable.idempotence=true: {remedy}");
        assert!(error.starts_with(&both), "{error}");
        assert!(!configured(&[("enable.idempotence", "false"), (name, value)]).idempotence);
    }
}

#[test]
fn idempotence_of_the_default_gives_way() {
    for (name, value) in [("acks", "1"), ("max.in.flight", "6"), ("retries", "0")] {
        let (config, notes) = configure(&[(name, value)]).unwrap();
        assert!(!config.idempotence, "{name}");
        let said = notes.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let off = format!("enable.idempotence: off, because {name}={value} was given");
        assert!(said.contains(&off), "{said}");
    }
}

#[test]
fn acks_left_at_the_programs_default_are_raised_for_idempotence() {
    let mut properties = Properties::librdkafka_defaults();
    for (name, value) in [BROKER, ("acks", "1"), ("retries", "2147483647")] {
        properties.set_default(name, value).unwrap();
    }
    assert_eq!(properties.clone().into_config().unwrap().0.acks, Acks::One);
    properties.set("enable.idempotence", "true").unwrap();
    properties.set("max.in.flight.requests.per.connection", "1").unwrap();
    let (config, notes) = properties.clone().into_config().unwrap();
    assert!(config.idempotence);
    assert_eq!((config.acks, config.max_in_flight), (Acks::All, 1));
    assert_eq!(notes[0].to_string(), "acks: raised to all, as enable.idempotence=true needs it");
    properties.set("acks", "1").unwrap();
    assert!(matches!(properties.into_config(), Err(PropertyError::Conflict { .. })));
}

#[test]
fn a_records_time_has_room_for_its_linger_and_a_request() {
    let both = [("message.timeout.ms", "5"), ("linger.ms", "5")];
    let error = refused(&both);
    assert!(error.starts_with("message.timeout.ms=5 does not go with linger.ms=5"), "{error}");
    for text in ["1", "2", "5", "6", "5000", "2147483647"] {
        let (config, _) = configure(&[("message.timeout.ms", text)]).unwrap();
        assert_eq!(config.delivery_timeout.as_millis().to_string(), text);
    }
    assert_eq!(configured(&[("message.timeout.ms", "5000")]).request_timeout, millis(4995));
    assert_eq!(configured(&[("message.timeout.ms", "0")]).delivery_timeout, millis(2_147_483_647));
    assert_eq!(configured(&[("message.timeout.ms", "6"), ("linger.ms", "5.9")]).linger, millis(5));
}

#[test]
fn waits_that_contradict_each_other_are_settled_or_refused() {
    let error = refused(&[("reconnect.backoff.ms", "20000"), ("reconnect.backoff.max.ms", "100")]);
    assert!(error.contains("reconnect.backoff.max.ms must be at least reconnect.backoff.ms"));
    let config = configured(&[("reconnect.backoff.ms", "20000")]);
    assert_eq!(config.reconnect_backoff_max, millis(20_000));
    let told = notes(&[("retry.backoff.ms", "5000")]);
    assert_eq!(
        told,
        ["retry.backoff.ms: every wait is as long as retry.backoff.max.ms, which is less"]
    );
}

#[test]
fn sizes_are_brought_in_line() {
    assert_eq!(configured(&[("batch.size", "2000000")]).batch_size, 1_000_000);
    let larger = [("batch.size", "2000000"), ("message.max.bytes", "3000000")];
    assert_eq!(configured(&larger).batch_size, 2_000_000);
    let config = configured(&[("queue.buffering.max.kbytes", "10")]);
    assert_eq!((config.record_size_max, config.batch_size), (10_240, 10_240));
    let config = configured(&[("message.max.bytes", "100000000")]);
    assert_eq!((config.record_size_max, config.buffer_memory), (100_000_000, 100_000_000));
    let error = refused(&[("message.max.bytes", "20000"), ("queue.buffering.max.kbytes", "10")]);
    assert!(error.contains("buffer_memory of 10240 bytes"), "{error}");
}

#[test]
fn levels_beyond_a_codecs_highest_are_lowered_to_it() {
    let told = notes(&[("compression.codec", "gzip"), ("compression.level", "12")]);
    assert_eq!(told, ["compression.level: lowered to gzip's highest, 9"]);
    let told = notes(&[("compression.codec", "lz4"), ("compression.level", "3")]);
    assert_eq!(told, ["compression.level has no effect: codec lz4 has no levels"]);
    assert_eq!(configured(&[("compression.level", "-1")]).compression, Compression::default());
}

#[test]
fn security_protocol_decides_whether_there_is_tls_and_a_login() {
    let login = [("sasl.mechanism", "PLAIN"), ("sasl.username", "u"), ("sasl.password", "p")];
    for (protocol, tls, sasl) in [
        ("PLAINTEXT", false, false),
        ("ssl", true, false),
        ("SASL_PLAINTEXT", false, true),
        ("sasl_ssl", true, true),
    ] {
        let pairs = [&[("security.protocol", protocol)][..], &login].concat();
        let config = configured(&pairs);
        assert_eq!((config.tls.is_some(), config.sasl.is_some()), (tls, sasl), "{protocol}");
        let idle = notes(&pairs).iter().filter(|note| note.contains("has no effect")).count();
        assert_eq!(idle, if sasl { 0 } else { 3 }, "{protocol}");
    }
    let error = refused(&[("security.protocol", "tls")]);
    assert!(error.contains("expected one of plaintext, ssl"), "{error}");
}

#[test]
fn properties_of_tls_become_its_settings() {
    let ssl = ("security.protocol", "ssl");
    let tls = |pairs: &[(&str, &str)]| configured(&[&[ssl][..], pairs].concat()).tls.unwrap();
    let plain = tls(&[]);
    assert!(plain.verify_certificates && plain.verify_hostname && plain.identity.is_none());
    assert_eq!(plain.roots, Roots::System);
    assert_eq!(tls(&[("ssl.ca.location", "probe")]).roots, Roots::System);
    let all = tls(&[
        ("ssl.ca.location", "/ca.pem"),
        ("ssl.ca.pem", "-----BEGIN"),
        ("ssl.certificate.location", "/me.pem"),
        ("ssl.key.pem", "-----BEGIN"),
        ("ssl.key.password", "hunter2"),
        ("ssl.cipher.suites", "ECDHE-RSA-AES128-GCM-SHA256:TLS_AES_128_GCM_SHA256"),
        ("enable.ssl.certificate.verification", "false"),
        ("ssl.endpoint.identification.algorithm", "none"),
    ]);
    let text = || Pem::Text(Secret::new("-----BEGIN"));
    assert_eq!(all.roots, Roots::These(vec![Pem::File("/ca.pem".into()), text()]));
    let identity = TlsIdentity {
        certificate: Pem::File("/me.pem".into()),
        key: text(),
        key_password: Some(Secret::new("hunter2")),
    };
    assert_eq!(all.identity, Some(identity));
    assert_eq!(all.cipher_suites, ["ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"]);
    assert!(!all.verify_certificates && !all.verify_hostname);
    assert!(!format!("{all:?}").contains("hunter2"));
}

#[test]
fn half_an_identity_and_two_of_one_kind_are_refused() {
    let refused =
        |pairs: &[(&str, &str)]| refused(&[&[("security.protocol", "ssl")][..], pairs].concat());
    assert_eq!(
        refused(&[("ssl.certificate.location", "/me.pem")]),
        "configuration property \"ssl.key.location\" is missing: a client certificate is given"
    );
    assert!(refused(&[("ssl.key.pem", "x")]).contains("\"ssl.certificate.location\" is missing"));
    assert_eq!(
        refused(&[("ssl.key.location", "/me.key"), ("ssl.key.pem", "hunter2")]),
        "ssl.key.location=/me.key does not go with ssl.key.pem=[redacted]: give one of them"
    );
}

#[test]
fn a_login_needs_a_mechanism_that_is_spoken_and_who_logs_in() {
    let refused = |pairs: &[(&str, &str)]| {
        refused(&[&[("security.protocol", "sasl_ssl")][..], pairs].concat())
    };
    assert_eq!(
        refused(&[]),
        "configuration property \"sasl.mechanism\" is missing: security.protocol=sasl_ssl asks \
         for a login"
    );
    for name in ["GSSAPI", "OAUTHBEARER"] {
        let error = refused(&[("sasl.mechanism", name)]);
        assert!(error.ends_with("expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"), "{error}");
    }
    let scram = ("sasl.mechanisms", "scram-sha-512");
    assert!(refused(&[scram]).contains("\"sasl.username\" is missing: SCRAM-SHA-512 needs it"));
    assert!(refused(&[scram, ("sasl.username", "u")]).contains("\"sasl.password\" is missing"));
    let error = refused(&[scram, ("sasl.username", "u\0"), ("sasl.password", "hunter2")]);
    assert!(error.contains("the username holds a NUL") && !error.contains("hunter2"), "{error}");
}

#[test]
fn secrets_are_shown_nowhere() {
    for name in ["sasl.password", "sasl.username", "ssl.key.password", "ssl.key.pem"] {
        let properties = Properties::from_pairs([(name, "hunter2")]).unwrap();
        assert!(!format!("{properties:?}").contains("hunter2"), "{name}");
    }
    for name in ["sasl.oauthbearer.client.secret", "transactional.id", "ssl.keystore.password"] {
        let error = refused(&[(name, "hunter2")]);
        assert!(error.contains("is not supported") && !error.contains("hunter2"), "{error}");
    }
}

/// Prints the table when the documentation is not it.
#[test]
fn the_documented_table_is_the_real_one() {
    let (written, real) = (include_str!("properties.md"), Properties::table());
    assert!(written == real, "properties.md should be:\n{real}");
}
