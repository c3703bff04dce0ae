//! Against a real broker: what we write is read back, byte for byte, by clients that are not ours.
//!
//! Runs against the brokers of `OTTLA_TEST_BROKERS`, whichever they are, with `kcat` and, where
//! `OTTLA_TEST_KAFKA_LIBS` names its jars, Java's console consumer and topic tool.
//! `tests/kafka/run.sh` starts Apache Kafka and sets both. Without a broker the tests are skipped, and say so.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use ottla::exporter::bifrost::{BifrostConfig, BifrostExporter};
use ottla::producer::{
    Admin, Header, Pem, Producer, ProducerConfig, Record, Roots, SaslConfig, TlsConfig,
    TlsIdentity, TopicCreation,
};
use ottla::protocol::Codec;
use ottla::sasl::{SaslMechanism, Secret};

use crate::process::ottla;
use crate::security::file;

const CONSOLE_CONSUMER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/console-consumer.sh");
const DESCRIBE_TOPIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/describe-topic.sh");

/// The brokers, or `None`, said aloud, if there are none.
pub(crate) fn brokers() -> Option<String> {
    let brokers = std::env::var("OTTLA_TEST_BROKERS").ok().filter(|brokers| !brokers.is_empty());
    if brokers.is_none() {
        assert!(std::env::var_os("OTTLA_REQUIRE_KAFKA").is_none(), "no OTTLA_TEST_BROKERS");
        println!("skipped: OTTLA_TEST_BROKERS names no broker (tests/kafka/run.sh starts one)");
    }
    brokers
}

fn config(brokers: &str) -> ProducerConfig {
    ProducerConfig::new(brokers.split(',')).unwrap()
}

/// A name that no earlier run has used.
pub(crate) fn unique(name: &str) -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("ottla-{name}-{:016x}", RandomState::new().hash_one(name))
}

async fn create_topic(brokers: &str, topic: &str, partitions: u32) {
    let mut admin = Admin::connect(&config(brokers)).await.unwrap();
    let mut creation = TopicCreation { partitions: Some(partitions), ..TopicCreation::default() };
    creation.replication_factor = Some(1);
    admin.create_topic(topic, &creation).await.unwrap();
}

/// Runs a program to its end, off the runtime's threads.
async fn run(mut command: Command, input: Vec<u8>) -> Output {
    let child = move || {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(&input).unwrap();
        child.wait_with_output().unwrap()
    };
    tokio::task::spawn_blocking(child).await.unwrap()
}

async fn output_of(command: Command) -> Vec<u8> {
    let output = run(command, Vec::new()).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    output.stdout
}

/// A record as some client saw it.
type Seen = (i32, i64, Option<Vec<u8>>, Option<Vec<u8>>, String);

/// Everything in a topic, as kcat reads it, by partition and offset.
pub(crate) async fn kcat(brokers: &str, topic: &str) -> Vec<Seen> {
    let mut command = Command::new("kcat");
    command.args(["-b", brokers, "-C", "-t", topic, "-o", "beginning", "-e", "-q"]);
    // Sizes come before bytes, so that bytes may be any.
    command.args(["-X", "check.crcs=true", "-f", "%p %o %K %S %h\n%k%s"]);
    let bytes = output_of(command).await;
    let mut rest = &bytes[..];
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let line_end = rest.iter().position(|byte| *byte == b'\n').unwrap();
        let line = std::str::from_utf8(&rest[..line_end]).unwrap();
        rest = &rest[line_end + 1..];
        let mut words = line.splitn(5, ' ');
        let mut number = || words.next().unwrap().parse::<i64>().unwrap();
        let (partition, offset, key, value) = (number(), number(), number(), number());
        let mut field = |size: i64| {
            let taken = rest.split_off(..usize::try_from(size).ok()?).unwrap();
            Some(taken.to_vec())
        };
        let (key, value) = (field(key), field(value));
        let headers = words.next().unwrap_or_default().to_owned();
        seen.push((i32::try_from(partition).unwrap(), offset, key, value, headers));
    }
    seen.sort();
    seen
}

/// Lines of `key<tab>value` in a topic of one partition, as Java's console consumer reads them;
/// `None`, said aloud, where it is not installed.
async fn java(topic: &str, count: usize) -> Option<Vec<Vec<u8>>> {
    if std::env::var_os("OTTLA_TEST_KAFKA_LIBS").is_none() {
        println!("skipped: OTTLA_TEST_KAFKA_LIBS names no Kafka jars, so no Java consumer");
        return None;
    }
    let mut command = Command::new(CONSOLE_CONSUMER);
    command.args(["--topic", topic, "--from-beginning", "--timeout-ms", "60000"]);
    command.args(["--max-messages", &count.to_string(), "--property", "print.key=true"]);
    let bytes = output_of(command).await;
    Some(bytes.strip_suffix(b"\n")?.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

/// A topic as Kafka's own tool describes it; `None`, said aloud, where that is not installed.
async fn described(topic: &str) -> Option<String> {
    if std::env::var_os("OTTLA_TEST_KAFKA_LIBS").is_none() {
        println!("skipped: OTTLA_TEST_KAFKA_LIBS names no Kafka jars, so nothing describes topics");
        return None;
    }
    let mut command = Command::new(DESCRIBE_TOPIC);
    command.arg(topic);
    Some(String::from_utf8(output_of(command).await).unwrap())
}

/// Values of many sizes, without line ends.
fn values(count: usize) -> Vec<Vec<u8>> {
    let value = |index: usize| {
        let words = format!("trace {index} speaks \u{17e}lu\u{165}ou\u{10d}k\u{fd}; ");
        words.repeat(1 + index * index % 97).into_bytes()
    };
    (0..count).map(value).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_keyed_and_unkeyed_is_read_back_by_kcat_and_java() {
    let Some(brokers) = brokers() else { return };
    for codec in Codec::ALL {
        for keyed in [true, false] {
            let topic = unique(codec.name());
            create_topic(&brokers, &topic, 1).await;
            let mut config = config(&brokers);
            config.compression = codec.into();
            config.batch_records_max = 100;
            let producer = Producer::start(config).unwrap();
            let values = values(500);
            let keys: Vec<_> = (0..values.len()).map(|index| format!("key-{index}")).collect();
            let send = |(value, key): (&Vec<u8>, &String)| {
                let record = Record::to(&topic).value(value);
                producer.send(if keyed { record.key(key.as_bytes()) } else { record })
            };
            let sendings: Vec<_> = values.iter().zip(&keys).map(send).collect();
            for (index, sending) in (0..).zip(sendings) {
                assert_eq!(sending.await.unwrap().offset, Some(index), "{codec}");
            }
            producer.close(Duration::from_secs(10)).await;

            let key = |index: usize| keyed.then(|| keys[index].clone().into_bytes());
            let sent: Vec<Seen> = (0..values.len())
                .map(|index| {
                    let offset = i64::try_from(index).unwrap();
                    (0, offset, key(index), Some(values[index].clone()), String::new())
                })
                .collect();
            assert!(kcat(&brokers, &topic).await == sent, "{codec}: kcat reads other records");

            if let Some(lines) = java(&topic, values.len()).await {
                let line = |index: usize| {
                    let key = key(index).unwrap_or_else(|| b"null".to_vec());
                    [key, b"\t".to_vec(), values[index].clone()].concat()
                };
                let expected: Vec<_> = (0..values.len()).map(line).collect();
                assert!(lines == expected, "{codec}: Java reads other records");
            }
            println!("{codec}, keyed {keyed}: {} records, as sent", values.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_empties_binary_and_headers_survive() {
    let Some(brokers) = brokers() else { return };
    let topic = unique("edges");
    create_topic(&brokers, &topic, 1).await;
    let producer = Producer::start(config(&brokers)).unwrap();
    let all_bytes: Vec<u8> = (0..=255).collect();
    let headers = [
        Header { key: "k", value: Some(b"1") },
        Header { key: "k", value: None },
        Header { key: "k", value: Some(b"") },
    ];
    let records = [
        Record::to(&topic),
        Record::to(&topic).key(b"").value(b""),
        Record::to(&topic).key(&all_bytes).value(&all_bytes).headers(&headers),
        Record::to(&topic).key(b"tombstone").timestamp(1),
    ];
    let sendings: Vec<_> = records.iter().map(|record| producer.send(*record)).collect();
    for sending in sendings {
        sending.await.unwrap();
    }
    let some = |bytes: &[u8]| Some(bytes.to_vec());
    let expected: [Seen; 4] = [
        (0, 0, None, None, String::new()),
        (0, 1, some(b""), some(b""), String::new()),
        (0, 2, some(&all_bytes), some(&all_bytes), "k=1,k=NULL,k=".to_owned()),
        (0, 3, some(b"tombstone"), None, String::new()),
    ];
    assert_eq!(kcat(&brokers, &topic).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_spread_over_partitions_and_each_keeps_its_order() {
    let Some(brokers) = brokers() else { return };
    let topic = unique("spread");
    create_topic(&brokers, &topic, 12).await;
    let mut config = config(&brokers);
    config.batch_records_max = 50;
    let producer = Producer::start(config).unwrap();
    let mut sendings = Vec::new();
    for index in 0..20_000_u32 {
        let (key, value) = (format!("key-{}", index % 97), index.to_string());
        let record = Record::to(&topic).key(key.as_bytes());
        sendings.push(producer.send(record.value(value.as_bytes())));
    }
    for sending in sendings {
        sending.await.unwrap();
    }
    let seen = kcat(&brokers, &topic).await;
    assert_eq!(seen.len(), 20_000);
    let mut last = std::collections::BTreeMap::new();
    let number = |value: &Option<Vec<u8>>| -> u32 {
        std::str::from_utf8(value.as_deref().unwrap()).unwrap().parse().unwrap()
    };
    for (_, _, key, value, _) in &seen {
        let number = number(value);
        if let Some(before) = last.insert(key, number) {
            assert!(before < number, "{before} is behind {number}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_through_the_program_arrives_as_documented() {
    let Some(brokers) = brokers() else { return };
    let topic = unique("traces");
    let trace = include_str!("../golden/bifrost-trace.json").replace('\n', " ");
    let expected = include_str!("../golden/bifrost-record.json").trim_end();

    let missing = start(&brokers, &topic, false, &trace).await;
    assert_eq!(missing.status.code(), Some(2));
    let message = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(
        message.contains(&format!("kafka plugin: topic \"{topic}\" does not exist")),
        "{message}"
    );

    let started = start(&brokers, &topic, true, &trace).await;
    let message = String::from_utf8_lossy(&started.stderr).into_owned();
    assert_eq!(started.status.code(), Some(0), "{message}");
    let seen = kcat(&brokers, &topic).await;
    assert_eq!(seen.len(), 1);
    let key = b"0e8b9293a69d4652804d2ab61121c1f2";
    assert_eq!(seen[0].2.as_deref(), Some(&key[..]));
    assert_eq!(seen[0].3.as_deref(), Some(expected.as_bytes()));
    if let Some(lines) = java(&topic, 1).await {
        assert_eq!(lines, [[&key[..], b"\t", expected.as_bytes()].concat()]);
    }

    let mut tail = ottla(&[]);
    tail.args(["tail", &topic, "--brokers", &brokers, "--format", "value"]);
    assert_eq!(output_of(tail).await, [expected.as_bytes(), b"\n"].concat());
}

/// `ottla start` with one trace on standard input.
async fn start(brokers: &str, topic: &str, create: bool, trace: &str) -> Output {
    let config = serde_json::json!({"plugins": [{"enabled": true, "name": "kafka", "config": {
        "brokers": brokers.split(',').collect::<Vec<_>>(),
        "topic": topic,
        "auto_create_topic": create,
        "compression": "zstd",
        "flush_interval_ms": 5,
    }}]});
    let file = std::env::temp_dir().join(format!("{topic}-{create}.json"));
    std::fs::write(&file, config.to_string()).unwrap();
    let mut command = ottla(&[]);
    command.args(["start", "--stdin", "bifrost", "--config"]).arg(&file);
    let output = run(command, format!("{trace}\n").into_bytes()).await;
    std::fs::remove_file(&file).unwrap();
    output
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_created_as_it_was_asked_for_and_never_altered() {
    let Some(brokers) = brokers() else { return };
    let mut config = BifrostConfig::new(brokers.split(','), unique("created"));
    config.auto_create_topic = true;
    config.topic_creation.partitions = Some(3);
    config.topic_creation.configs.insert("retention.mss".into(), "1".into());
    let error = BifrostExporter::start(&config).await.unwrap_err().to_string();
    assert!(error.contains("INVALID_CONFIG (code 40)"), "{error}");
    assert!(error.contains("retention.mss"), "{error}");
    config.topic_creation.configs.clear();
    config.topic_creation.configs.insert("retention.ms".into(), "3600000".into());
    config.topic_creation.replication_factor = Some(100);
    let error = BifrostExporter::start(&config).await.unwrap_err().to_string();
    assert!(error.contains("INVALID_REPLICATION_FACTOR (code 38)"), "{error}");
    config.topic_creation.replication_factor = None;
    for partitions in [3, 5] {
        config.topic_creation.partitions = Some(partitions);
        BifrostExporter::start(&config).await.unwrap();
        let Some(told) = described(&config.topic).await else { return };
        assert!(told.contains("PartitionCount: 3"), "{told}");
        assert!(told.contains("retention.ms=3600000"), "{told}");
    }
}

/// The same broker at a port that lets nobody in without more; `None`, said aloud, if there is none.
fn guarded(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok();
    if address.is_none() {
        println!("skipped: {variable} names no port (tests/kafka/run.sh starts a broker with one)");
    }
    address
}

fn trusting() -> TlsConfig {
    let mut tls = TlsConfig::default();
    tls.roots = Roots::These(vec![Pem::File(file("ca.pem"))]);
    tls
}

fn login(mechanism: SaslMechanism, password: &str) -> Option<SaslConfig> {
    let (user, password) = (Secret::new("user"), Secret::new(password));
    Some(SaslConfig::new(mechanism, user, password).unwrap())
}

/// The numbers from zero on in a topic of one partition, in order, each once.
async fn assert_counts(brokers: &str, topic: &str, count: usize) {
    let seen = kcat(brokers, topic).await.into_iter().map(|(_, _, _, value, _)| value.unwrap());
    let expected = (0..count).map(|number| number.to_string().into_bytes());
    assert!(seen.eq(expected), "{topic}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_login_through_tls_is_accepted_by_kafka_and_a_wrong_password_is_not() {
    let Some(plaintext) = brokers() else { return };
    let Some(address) = guarded("OTTLA_TEST_SASL_SSL") else { return };
    for mechanism in SaslMechanism::ALL {
        let topic = unique(&format!("login-{mechanism}"));
        create_topic(&plaintext, &topic, 1).await;
        let mut config = config(&address);
        config.tls = Some(trusting());
        config.sasl = login(mechanism, "pencil");
        let producer = Producer::start(config.clone()).unwrap();
        for number in 0..10 {
            let value = number.to_string();
            producer.send(Record::to(&topic).value(value.as_bytes())).await.unwrap();
        }
        producer.close(Duration::from_secs(30)).await;
        assert_counts(&plaintext, &topic, 10).await;
        config.sasl = login(mechanism, "eraser");
        let error = Admin::connect(&config).await.unwrap_err().to_string();
        let refused = format!("cannot log in with {mechanism}: the broker refuses the user or the");
        assert!(error.contains(&refused), "{error}");
    }
}

/// The broker's logins are good for two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn logins_are_renewed_while_records_flow_and_none_is_lost_or_repeated() {
    let Some(plaintext) = brokers() else { return };
    let Some(address) = guarded("OTTLA_TEST_SASL_SSL") else { return };
    let topic = unique("renewed");
    create_topic(&plaintext, &topic, 1).await;
    let mut config = config(&address);
    config.tls = Some(trusting());
    config.sasl = login(SaslMechanism::ScramSha512, "pencil");
    config.linger = Duration::from_millis(1);
    let producer = Producer::start(config).unwrap();
    #[expect(clippy::disallowed_methods, reason = "logins end in real time here")]
    let began = std::time::Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(7) {
        let values: Vec<_> = (count..count + 50).map(|number: usize| number.to_string()).collect();
        let records = values.iter().map(|value| Record::to(&topic).value(value.as_bytes()));
        for end in records.map(|record| producer.send(record)).collect::<Vec<_>>() {
            end.await.unwrap();
        }
        count += 50;
    }
    // Nobody had to connect anew: once for questions, once to the leader.
    assert_eq!(producer.metrics().connections, 2);
    producer.close(Duration::from_secs(30)).await;
    assert_counts(&plaintext, &topic, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_accepted_by_kafka_and_none_is_not() {
    let Some(plaintext) = brokers() else { return };
    let Some(address) = guarded("OTTLA_TEST_SSL") else { return };
    let topic = unique("certificate");
    create_topic(&plaintext, &topic, 1).await;
    let mut config = config(&address);
    let mut tls = trusting();
    tls.identity = Some(TlsIdentity {
        certificate: Pem::File(file("client-rsa.pem")),
        key: Pem::File(file("client-rsa.pkcs1.key")),
        key_password: None,
    });
    config.tls = Some(tls);
    let producer = Producer::start(config.clone()).unwrap();
    producer.send(Record::to(&topic).value(b"0")).await.unwrap();
    producer.close(Duration::from_secs(30)).await;
    assert_counts(&plaintext, &topic, 1).await;
    config.tls = Some(trusting());
    let error = Admin::connect(&config).await.unwrap_err().to_string();
    assert!(error.contains("wants a client certificate"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_that_are_mixed_up_are_told_apart() {
    let Some(plaintext) = brokers() else { return };
    let Some(address) = guarded("OTTLA_TEST_SASL_SSL") else { return };
    let said = async |config| Admin::connect(&config).await.unwrap_err().to_string();
    let mut encrypted = config(&plaintext);
    encrypted.tls = Some(trusting());
    let error = said(encrypted).await;
    assert!(error.contains("TLS"), "{error}");
    let error = said(config(&address)).await;
    assert!(error.contains("TLS"), "{error}");
    let mut guarded = config(&plaintext);
    guarded.sasl = login(SaslMechanism::Plain, "pencil");
    let error = said(guarded).await;
    assert!(error.contains("knows no SASL"), "{error}");
}
