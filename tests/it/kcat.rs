//! The embedded broker, served to a client that is not ours.
//!
//! kcat is built on librdkafka. What it writes and reads here says that any client can; the tests
//! are skipped, and say so, where it is not installed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ottla::broker::{Api, BrokerConfig, EmbeddedBroker, Profile};
use ottla::protocol::Codec;

/// A broker of `brokers` nodes and the program, or `None` where that is not installed.
async fn start(brokers: usize) -> Option<EmbeddedBroker> {
    start_with(BrokerConfig::default().with_brokers(brokers)).await
}

async fn start_with(config: BrokerConfig) -> Option<EmbeddedBroker> {
    if !is_installed() {
        return None;
    }
    Some(EmbeddedBroker::start(config.with_partitions(3)).await.unwrap())
}

fn is_installed() -> bool {
    let found = Command::new("kcat").arg("-V").output().is_ok();
    if !found {
        println!("skipped: kcat is not installed");
    }
    found
}

/// Runs kcat with `input`; its standard output.
async fn kcat(broker: &EmbeddedBroker, arguments: &[&str], input: &str) -> String {
    let ran = run(broker, arguments, input).await;
    ran.unwrap_or_else(|errors| unreachable!("kcat {arguments:?} fails: {errors}"))
}

/// Runs kcat where it is installed; its standard output, or what it said to standard error.
pub(crate) async fn try_kcat(
    broker: &EmbeddedBroker,
    arguments: &[&str],
    input: &str,
) -> Option<Result<String, String>> {
    if is_installed() { Some(run(broker, arguments, input).await) } else { None }
}

/// Off the runtime's thread.
async fn run(broker: &EmbeddedBroker, arguments: &[&str], input: &str) -> Result<String, String> {
    let mut command = Command::new("kcat");
    command.args(["-b", &broker.bootstrap().join(",")]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let run = move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout).unwrap()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn lines(text: &str) -> Vec<&str> {
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn every_codec_is_written_as_such_and_read_back_from_each_profile() {
    for profile in Profile::ALL {
        let config = BrokerConfig::default().with_profile(profile);
        let Some(broker) = start_with(config).await else { return };
        for codec in Codec::ALL {
            write_and_read(&broker, codec).await;
        }
        let produced = broker.versions()[&Api::Produce];
        // librdkafka's own highest is 10, in older ones 7.
        assert!((7..=10).contains(&produced), "{profile}: Produce v{produced}");
    }
}

async fn write_and_read(broker: &EmbeddedBroker, codec: Codec) {
    let topic = format!("traces-{codec}");
    // Not every profile creates topics.
    broker.create_topic(&topic, 3).unwrap();
    let ask_versions = ["-t", &topic, "-X", "api.version.request=true"];
    // Long enough that a batch of one shrinks: librdkafka sends what does not as it is.
    let value = |index| format!("a trace, number {index}; ").repeat(20);
    let values: Vec<_> = (0..200).map(value).collect();
    let sent = values.join("\n");
    kcat(broker, &[&["-P", "-z", codec.name()], &ask_versions[..]].concat(), &sent).await;
    let accepted = broker.accepted(&topic);
    assert_eq!(accepted.len(), values.len());
    assert!(accepted.iter().all(|record| record.codec == codec), "{codec}");
    let consume = ["-C", "-o", "beginning", "-e", "-q", "-X", "fetch.wait.max.ms=20"];
    let read = kcat(broker, &[&consume[..], &ask_versions].concat(), "").await;
    assert_eq!(lines(&read), lines(&sent), "{codec}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_headers_arrive_and_unkeyed_is_null() {
    let Some(broker) = start(2).await else { return };
    let produce = ["-P", "-t", "a", "-K", ":", "-H", "tenant=acme", "-H", "tenant=other"];
    kcat(&broker, &produce, "k1:first\nk2:second\n").await;
    kcat(&broker, &["-P", "-t", "a"], "third\n").await;
    let mut accepted = broker.accepted("a");
    accepted.sort_by(|a, b| a.value.cmp(&b.value));
    let [first, _, third] = &accepted[..] else { panic!("{accepted:?}") };
    assert_eq!(first.key.as_deref(), Some(&b"k1"[..]));
    let header = |value: &'static [u8]| ("tenant".to_owned(), Some(value.into()));
    assert_eq!(first.headers, [header(b"acme"), header(b"other")]);
    assert_eq!((&third.key, &third.headers[..]), (&None, &[][..]));
    let format = "%k|%s|%h\n";
    let consume = ["-C", "-t", "a", "-o", "beginning", "-e", "-q", "-f", format];
    let read = kcat(&broker, &consume, "").await;
    let expected = ["k1|first|tenant=acme,tenant=other", "k2|second|tenant=acme,tenant=other"];
    assert_eq!(lines(&read), [expected[0], expected[1], "|third|"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_librdkafka_is_stamped_and_in_sequence() {
    let Some(broker) = start(1).await else { return };
    let input: String = (0..5000).map(|index| format!("{index}\n")).collect();
    let idempotent = ["-P", "-t", "a", "-p", "0", "-X", "enable.idempotence=true"];
    let small = ["-X", "batch.num.messages=100", "-X", "linger.ms=1"];
    kcat(&broker, &[&idempotent[..], &small].concat(), &input).await;
    let accepted = broker.accepted("a");
    let values: Vec<_> = accepted.iter().map(|record| record.value.clone().unwrap()).collect();
    assert_eq!(values, lines_in_order(&input));
    for record in &accepted {
        assert!(record.stamp.producer_id >= 0);
        assert_eq!(i64::from(record.stamp.base_sequence), record.batch_offset);
    }
    assert_eq!(broker.requests()[&Api::InitProducerId], 1);
}

fn lines_in_order(text: &str) -> Vec<&[u8]> {
    text.lines().map(str::as_bytes).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_listing_shows_brokers_topics_and_leaders() {
    let Some(broker) = start(2).await else { return };
    broker.create_topic("traces", 2).unwrap();
    let listing = kcat(&broker, &["-L"], "").await;
    for expected in ["2 brokers:", "topic \"traces\" with 2 partitions:", "partition 1, leader 2"] {
        assert!(listing.contains(expected), "{listing}");
    }
}
