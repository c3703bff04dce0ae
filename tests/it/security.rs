//! TLS and logins, all the way: our producer, and one that is not ours, at a broker that lets
//! nobody else in.
//!
//! The broker's logins are by the `sasl` crate, kcat's are librdkafka's: neither shares a line with
//! ours. `real_kafka` has the same with Kafka's own.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ottla::broker::{Api, BrokerConfig, BrokerSasl, BrokerTls, EmbeddedBroker, Profile};
use ottla::producer::{
    Acks, Admin, Pem, Producer, ProducerConfig, Record, Roots, SaslConfig, TlsConfig, TlsIdentity,
};
use ottla::sasl::{CredentialProvider, Credentials, SaslMechanism, Secret};

use crate::kcat::try_kcat;
use crate::process::{Config, ottla, run, text};
use crate::program::TRACE;

const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

pub(crate) fn tls() -> BrokerTls {
    BrokerTls::new(file("server.pem"), file("server.key"))
}

pub(crate) fn users() -> BrokerSasl {
    BrokerSasl::new([("user", "pencil"), ("a,b=c", "p\u{e4}nc\u{ee}l,=")])
}

async fn start(config: BrokerConfig) -> EmbeddedBroker {
    let broker = EmbeddedBroker::start(config).await.unwrap();
    broker.create_topic("t", 2).unwrap();
    broker
}

/// As a producer reaches this broker, without a login.
fn config(broker: &EmbeddedBroker) -> ProducerConfig {
    let mut config = ProducerConfig::new(broker.bootstrap()).unwrap();
    config.linger = Duration::ZERO;
    config.reconnect_backoff = Duration::from_millis(5);
    config.reconnect_backoff_max = Duration::from_millis(50);
    config
}

fn trusting() -> TlsConfig {
    let mut tls = TlsConfig::default();
    tls.roots = Roots::These(vec![Pem::File(file("ca.pem"))]);
    tls
}

fn login(mechanism: SaslMechanism, user: &str, password: &str) -> Option<SaslConfig> {
    Some(SaslConfig::new(mechanism, Secret::new(user), Secret::new(password)).unwrap())
}

async fn deliver(config: ProducerConfig, count: usize) {
    let producer = Producer::start(config).unwrap();
    let values: Vec<_> = (0..count).map(|index| format!("value {index}")).collect();
    for value in &values {
        let sending = producer.send(Record::to("t").partition(0).value(value.as_bytes()));
        tokio::time::timeout(PATIENCE, sending).await.expect("it hangs").unwrap();
    }
    producer.close(PATIENCE).await;
}

fn stored(broker: &EmbeddedBroker) -> usize {
    broker.accepted("t").len()
}

#[tokio::test]
async fn records_go_through_tls_and_every_login() {
    for mechanism in SaslMechanism::ALL {
        for (user, password) in [("user", "pencil"), ("a,b=c", "p\u{e4}nc\u{ee}l,=")] {
            let broker = start(BrokerConfig::default().with_tls(tls()).with_sasl(users())).await;
            let mut config = config(&broker);
            config.tls = Some(trusting());
            config.sasl = login(mechanism, user, password);
            deliver(config, 3).await;
            assert_eq!((stored(&broker), broker.logins()), (3, 2), "{mechanism} {user}");
        }
    }
}

#[tokio::test]
async fn records_go_through_mutual_tls() {
    let broker =
        start(BrokerConfig::default().with_tls(tls().with_client_ca(file("ca.pem")))).await;
    let mut config = config(&broker);
    let mut tls = trusting();
    tls.identity = Some(TlsIdentity {
        certificate: Pem::File(file("client.pem")),
        key: Pem::File(file("client.encrypted.key")),
        key_password: Some(Secret::new("ottla-test")),
    });
    config.tls = Some(tls);
    deliver(config.clone(), 3).await;
    assert_eq!(stored(&broker), 3);
    config.tls = Some(trusting());
    let error = Admin::connect(&config).await.unwrap_err().to_string();
    assert!(error.contains("wants a client certificate"), "{error}");
}

/// What the start-up probe says of a broker that cannot be used.
async fn probe(config: ProducerConfig) -> String {
    let connecting = async {
        let mut admin = Admin::connect(&config).await?;
        admin.partition_count("t").await.map(drop)
    };
    connecting.await.unwrap_err().to_string()
}

/// F43
#[tokio::test]
async fn logins_that_fail_say_why() {
    let broker = start(
        BrokerConfig::default()
            .with_sasl(users().with_mechanisms([SaslMechanism::Plain, SaslMechanism::ScramSha256])),
    )
    .await;
    let with = |sasl| {
        let mut config = config(&broker);
        config.connection_setup_timeout = Duration::from_secs(5);
        config.sasl = sasl;
        config
    };
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256] {
        let error = probe(with(login(mechanism, "user", "hunter2"))).await;
        let words = format!("cannot log in with {mechanism}: the broker refuses the user or the");
        assert!(error.contains(&words) && !error.contains("hunter2"), "{error}");
    }
    let error = probe(with(login(SaslMechanism::ScramSha512, "user", "pencil"))).await;
    assert!(
        error.contains("does not offer SCRAM-SHA-512, only PLAIN, SCRAM-SHA-256: set sasl.mech"),
        "{error}"
    );
    let error = probe(with(None)).await;
    assert!(error.contains("does it want a login (security.protocol, sasl.mechanism)?"), "{error}");
    let open = start(BrokerConfig::default()).await;
    let mut config = config(&open);
    config.sasl = login(SaslMechanism::Plain, "user", "pencil");
    let error = probe(config).await;
    assert!(error.contains("the broker knows no SASL: is this the port of a listener"), "{error}");
}

#[tokio::test]
async fn tls_and_plain_text_that_meet_are_told_apart() {
    let encrypted = start(BrokerConfig::default().with_tls(tls())).await;
    let error = probe(config(&encrypted)).await;
    assert!(
        error.contains("speaks TLS, and we do not: set security.protocol")
            || error.contains("does its port want TLS"),
        "{error}"
    );
    let plain = start(BrokerConfig::default()).await;
    let mut config = config(&plain);
    config.tls = Some(trusting());
    let error = probe(config).await;
    assert!(error.contains("does its port speak TLS?"), "{error}");
}

/// F44
#[tokio::test]
async fn logins_are_renewed_under_load_without_a_lost_or_repeated_record() {
    for acks in [Acks::All, Acks::Zero] {
        let lifetime = Duration::from_millis(60);
        let broker =
            start(BrokerConfig::default().with_sasl(users().with_session_lifetime(lifetime))).await;
        let mut config = config(&broker);
        config.sasl = login(SaslMechanism::ScramSha256, "user", "pencil");
        config.acks = acks;
        config.idempotence = acks == Acks::All;
        let producer = Producer::start(config).unwrap();
        let mut sent = 0_u64;
        // Until it has happened often enough, however slow the machine.
        while broker.logins() < 12 {
            let value = sent.to_string();
            let sending = producer.send(Record::to("t").partition(0).value(value.as_bytes()));
            tokio::time::timeout(PATIENCE, sending).await.expect("it hangs").unwrap();
            sent += 1;
        }
        producer.close(PATIENCE).await;
        if acks == Acks::All {
            let values = broker.accepted("t").into_iter().map(|record| record.value.unwrap());
            let expected = (0..sent).map(|number| number.to_string().into_bytes());
            assert!(values.eq(expected), "acks {acks}");
        }
        assert!(broker.requests()[&Api::SaslHandshake] >= 12);
    }
}

/// A password that is changed at the broker first, or here first.
#[derive(Debug)]
struct Vault(Mutex<&'static str>);

impl CredentialProvider for Vault {
    fn credentials(&self) -> Result<Credentials, String> {
        let password = *self.0.lock().unwrap();
        Credentials::new(Secret::new("user"), Secret::new(password)).map_err(|e| e.to_string())
    }
}

/// F43
#[tokio::test]
async fn a_rotated_password_is_used_without_a_restart() {
    let broker = start(BrokerConfig::default().with_sasl(users())).await;
    let vault = Arc::new(Vault(Mutex::new("not yet")));
    let provider: Arc<dyn CredentialProvider> = Arc::<Vault>::clone(&vault);
    let mut config = config(&broker);
    config.sasl = Some(SaslConfig::with_provider(SaslMechanism::ScramSha512, provider));
    let producer = Producer::start(config).unwrap();
    let sending = producer.send(Record::to("t").value(b"v"));
    while broker.requests().get(&Api::SaslAuthenticate).is_none_or(|count| *count < 2) {
        tokio::task::yield_now().await;
    }
    *vault.0.lock().unwrap() = "pencil";
    tokio::time::timeout(PATIENCE, sending).await.expect("it hangs").unwrap();
    producer.close(PATIENCE).await;
}

/// kcat's arguments for this broker, and a login.
fn arguments(mechanism: SaslMechanism, password: &str) -> Vec<String> {
    let settings = [
        "security.protocol=sasl_ssl".to_owned(),
        format!("ssl.ca.location={}", file("ca.pem").display()),
        format!("sasl.mechanism={mechanism}"),
        "sasl.username=user".to_owned(),
        format!("sasl.password={password}"),
    ];
    settings.into_iter().flat_map(|setting| ["-X".to_owned(), setting]).collect()
}

/// At a broker that passes for Kafka 3.9, which overlooks that librdkafka before 2.6.1 sends its own
/// nonce twice.
#[tokio::test(flavor = "multi_thread")]
async fn kcat_comes_in_by_every_mechanism_and_not_without_the_password() {
    let config = BrokerConfig::default().with_profile(Profile::Kafka39);
    let broker = start(config.with_tls(tls()).with_sasl(users())).await;
    for mechanism in SaslMechanism::ALL {
        let login = arguments(mechanism, "pencil");
        let login: Vec<_> = login.iter().map(String::as_str).collect();
        let before = stored(&broker);
        let produce = [&["-P", "-t", "t", "-p", "0"], &login[..]].concat();
        let Some(output) = try_kcat(&broker, &produce, "a record\n").await else { return };
        output.unwrap();
        assert_eq!(stored(&broker), before + 1, "{mechanism}");
        let consume = ["-C", "-t", "t", "-p", "0", "-o", "beginning", "-e", "-q"];
        let read = try_kcat(&broker, &[&consume, &login[..]].concat(), "").await.unwrap();
        assert_eq!(read.unwrap().lines().count(), before + 1, "{mechanism}");
    }
    let login = arguments(SaslMechanism::Plain, "eraser");
    let login: Vec<_> = login.iter().map(String::as_str).collect();
    let list = [&["-L", "-m", "2"], &login[..]].concat();
    let error = try_kcat(&broker, &list, "").await.unwrap().unwrap_err();
    assert!(error.contains("Invalid username or password"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kcat_comes_in_by_mutual_tls() {
    let config = BrokerConfig::default().with_tls(tls().with_client_ca(file("ca.pem")));
    let broker = start(config).await;
    let setting = |name: &str, path: &str| format!("{name}={}", file(path).display());
    let settings = [
        "security.protocol=ssl".to_owned(),
        setting("ssl.ca.location", "ca.pem"),
        setting("ssl.certificate.location", "client.pem"),
        setting("ssl.key.location", "client.key"),
    ];
    let settings: Vec<_> = settings.iter().flat_map(|setting| ["-X", setting]).collect();
    let produce = [&["-P", "-t", "t"], &settings[..]].concat();
    let Some(output) = try_kcat(&broker, &produce, "a record\n").await else { return };
    output.unwrap();
    assert_eq!(stored(&broker), 1);
}

/// Everything that a run says, at the most talkative level, searched for what nobody may see.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_in_the_output_of_a_whole_run() {
    const USER: &str = "gateway-user-7781";
    const PASSWORD: &str = "correct-horse-battery-staple";
    let user = BrokerSasl::new([(USER, PASSWORD)]);
    let broker = start(BrokerConfig::default().with_tls(tls()).with_sasl(user)).await;
    let brokers = format!("{:?}", broker.bootstrap());
    let trace = TRACE.replace('\n', " ");
    for mechanism in SaslMechanism::ALL {
        for (password, code) in [(PASSWORD, 0), ("wrong-horse-battery-staple", 3)] {
            let entry = format!(
                r#"{{"brokers": {brokers}, "topic": "t", "tls_enabled": true, "ca_cert": "{}",
                "sasl_enabled": true, "sasl": {{"mechanism": "{mechanism}",
                "username": "env.OTTLA_TEST_USER", "password": "env.OTTLA_TEST_PASSWORD"}}}}"#,
                file("ca.pem").display()
            );
            let config = Config::new(&format!("secret-{mechanism}-{code}"), &entry);
            let arguments =
                ["start", "--log", "trace", "--stdin", "bifrost", "--config", config.path()];
            let mut command = ottla(&arguments);
            command.env("OTTLA_TEST_USER", USER).env("OTTLA_TEST_PASSWORD", password);
            let trace = trace.clone();
            let output = tokio::task::spawn_blocking(move || run(command, &trace)).await.unwrap();
            let said = text(&output.stdout) + &text(&output.stderr);
            assert_eq!(output.status.code(), Some(code), "{said}");
            for secret in [USER, password, "horse-battery", "Y29ycmVjdC"] {
                assert!(!said.contains(secret), "{mechanism}: {secret} is in the output: {said}");
            }
        }
    }
    assert_eq!(stored(&broker), SaslMechanism::ALL.len());
}

/// As a person would: a broker that wants a login, and the topic read back through it.
#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_read_back_through_tls_and_a_login() {
    let broker = start(BrokerConfig::default().with_tls(tls()).with_sasl(users())).await;
    let mut producer = config(&broker);
    producer.tls = Some(trusting());
    producer.sasl = login(SaslMechanism::ScramSha256, "user", "pencil");
    deliver(producer, 1).await;
    let brokers = broker.bootstrap().join(",");
    let ca = format!("ssl.ca.location={}", file("ca.pem").display());
    let read = async |password: &str| {
        let mut command = ottla(&["tail", "t", "--format", "value", "--brokers", &brokers]);
        for property in [
            "security.protocol=sasl_ssl",
            &ca,
            "sasl.mechanism=SCRAM-SHA-256",
            "sasl.username=user",
            "sasl.password=env.OTTLA_TEST_PASSWORD",
        ] {
            command.args(["-X", property]);
        }
        command.env("OTTLA_TEST_PASSWORD", password);
        tokio::task::spawn_blocking(move || run(command, "")).await.unwrap()
    };
    let output = read("pencil").await;
    assert_eq!(text(&output.stdout), "value 0\n", "{}", text(&output.stderr));
    let output = read("eraser").await;
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(
        said.contains("cannot log in with SCRAM-SHA-256") && !said.contains("eraser"),
        "{said}"
    );
}

#[test]
fn a_user_that_cannot_be_read_is_not_repeated() {
    for user in ["gateway=hunter2", ":hunter2", "hunter2:"] {
        let output = run(ottla(&["broker", "--listen", "127.0.0.1:0", "--sasl-user", user]), "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said, "ottla: --sasl-user: write NAME:PASSWORD, neither of them empty\n");
    }
}
