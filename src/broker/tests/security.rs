//! The door: who is let through, when, and what is said to the others.

use super::*;
use crate::broker::BrokerSasl;
use crate::sasl::{Credentials, Exchange, SaslMechanism, Secret, Step};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use sha2::{Digest, Sha256};
use std::time::Duration;

async fn start_guarded(sasl: BrokerSasl) -> (EmbeddedBroker, Client) {
    let broker = EmbeddedBroker::start(BrokerConfig::default().with_sasl(sasl)).await.unwrap();
    let client = Client::connect(&broker, 1).await;
    (broker, client)
}

fn users() -> BrokerSasl {
    BrokerSasl::new([("user", "pencil"), ("a,b=c", "comma")])
}

async fn propose(client: &mut Client, mechanism: &'static str) -> (i16, Vec<String>) {
    let request =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let response = client.ask(&request, 1).await.unwrap();
    (response.error_code, response.mechanisms.iter().map(ToString::to_string).collect())
}

async fn say(client: &mut Client, version: i16, message: &[u8]) -> SaslAuthenticateResponse {
    let request =
        SaslAuthenticateRequest::default().with_auth_bytes(Bytes::copy_from_slice(message));
    client.ask(&request, version).await.unwrap()
}

async fn is_closed(client: &mut Client) -> bool {
    client.receive::<SaslAuthenticateResponse>(2).await.is_none()
}

/// A login to its end; the last answer.
async fn log_in(
    client: &mut Client,
    mechanism: SaslMechanism,
    user: &str,
    password: &str,
) -> SaslAuthenticateResponse {
    assert_eq!(propose(client, mechanism.name()).await.0, 0);
    let credentials = Credentials::new(Secret::new(user), Secret::new(password)).unwrap();
    let mut exchange = Exchange::new(mechanism, credentials, "fyko+d2lbbFgONRv".to_owned());
    let mut message = exchange.start();
    loop {
        let answer = say(client, 2, message.expose()).await;
        if answer.error_code != 0 {
            return answer;
        }
        message = match exchange.step(&answer.auth_bytes).unwrap() {
            Step::Finished => return answer,
            Step::Respond(message) => message,
            Step::Derive(derivation) => exchange.derived(&derivation.run()).unwrap(),
        };
    }
}

#[tokio::test]
async fn every_mechanism_lets_in_who_has_the_password_and_nobody_else() {
    for mechanism in SaslMechanism::ALL {
        for (user, password, code) in
            [("user", "pencil", 0), ("a,b=c", "comma", 0), ("user", "eraser", 58), ("you", "x", 58)]
        {
            let (broker, mut client) = start_guarded(users()).await;
            let answer = log_in(&mut client, mechanism, user, password).await;
            assert_eq!(answer.error_code, code, "{mechanism} {user}");
            if code == 0 {
                client.ask(&InitProducerIdRequest::default(), 0).await.unwrap();
            } else {
                assert!(is_closed(&mut client).await, "{mechanism} {user}");
                let words = answer.error_message.unwrap();
                assert!(words.starts_with("Authentication failed"), "{words}");
            }
            assert_eq!(broker.logins(), u64::from(code == 0));
        }
    }
}

#[tokio::test]
async fn nothing_but_the_login_passes_before_there_is_one() {
    let (broker, mut client) = start_guarded(users()).await;
    assert!(client.ask(&InitProducerIdRequest::default(), 0).await.is_none());
    let mut client = Client::connect(&broker, 1).await;
    let early = SaslAuthenticateRequest::default();
    assert!(client.ask(&early, 1).await.is_none(), "a message without a mechanism");
    let mut client = Client::connect(&broker, 1).await;
    assert!(client.ask(&ApiVersionsRequest::default(), 0).await.is_some());
    assert!(client.ask(&ApiVersionsRequest::default(), 0).await.is_none(), "it has been told");
}

#[tokio::test]
async fn nothing_but_its_messages_passes_during_a_login() {
    let (broker, _) = start_guarded(users()).await;
    let mut client = Client::connect(&broker, 1).await;
    propose(&mut client, "PLAIN").await;
    let answer = client.ask(&InitProducerIdRequest::default(), 0).await.unwrap();
    assert_eq!(answer.error_code, ErrorCode::ILLEGAL_SASL_STATE.0);
    assert!(is_closed(&mut client).await);
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_answered_with_those_that_are_and_closes() {
    let scram = [SaslMechanism::ScramSha512];
    let (broker, _) = start_guarded(users().with_mechanisms(scram)).await;
    for mechanism in ["PLAIN", "GSSAPI", "scram-sha-512"] {
        let mut client = Client::connect(&broker, 1).await;
        let offered = vec!["SCRAM-SHA-512".to_owned()];
        assert_eq!(propose(&mut client, mechanism).await, (33, offered));
        assert!(is_closed(&mut client).await, "{mechanism}");
    }
}

#[tokio::test]
async fn who_need_not_log_in_is_told_so() {
    let open = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    let mut client = Client::connect(&open, 1).await;
    assert_eq!(propose(&mut client, "PLAIN").await, (34, Vec::new()));
    assert_eq!(say(&mut client, 1, b"").await.error_code, 34);
    let (_broker, mut client) = start_guarded(users()).await;
    log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    assert_eq!(propose(&mut client, "PLAIN").await.0, 34, "a login for ever is not renewed");
    assert_eq!(say(&mut client, 1, b"").await.error_code, 34);
    assert!(client.ask(&InitProducerIdRequest::default(), 0).await.is_some());
}

#[tokio::test]
async fn a_login_without_frames_is_not_served() {
    let (_broker, mut client) = start_guarded(users()).await;
    let request =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str("PLAIN"));
    assert!(client.ask(&request, 0).await.is_none());
}

/// Messages that the `sasl` crate alone would take.
#[tokio::test]
async fn nobody_passes_for_another() {
    let plain = SaslMechanism::Plain.name();
    let scram = SaslMechanism::ScramSha256.name();
    for (mechanism, message, words) in [
        (plain, &b"user\0user\0pencil"[..], None),
        (plain, b"root\0user\0pencil", Some("Client requested an authorization id that is diff")),
        (plain, b"user\0pencil", Some("with SASL mechanism PLAIN")),
        (plain, b"", Some("with SASL mechanism PLAIN")),
        (scram, b"n,a=user,n=user,r=nonce", None),
        (scram, b"n,a=root,n=user,r=nonce", Some("with SASL mechanism SCRAM-SHA-256")),
        (scram, b"y,,n=user,r=nonce", Some("with SASL mechanism SCRAM-SHA-256")),
        (scram, b"p=tls-unique,,n=user,r=nonce", Some("with SASL mechanism SCRAM-SHA-256")),
        (scram, b"n,,\xff", Some("with SASL mechanism SCRAM-SHA-256")),
        (scram, b"n,", Some("with SASL mechanism SCRAM-SHA-256")),
    ] {
        let (_broker, mut client) = start_guarded(users()).await;
        propose(&mut client, mechanism).await;
        let answer = say(&mut client, 1, message).await;
        let code = if words.is_some() { 58 } else { 0 };
        assert_eq!(answer.error_code, code, "{message:?}");
        let said = answer.error_message.unwrap_or_default();
        assert!(said.contains(words.unwrap_or_default()), "{message:?}: {said}");
    }
}

#[tokio::test]
async fn a_login_ends_and_is_renewed_by_its_user_and_mechanism_only() {
    let lifetime = Duration::from_secs(60);
    let (broker, mut client) = start_guarded(users().with_session_lifetime(lifetime)).await;
    let answer = log_in(&mut client, SaslMechanism::ScramSha256, "user", "pencil").await;
    assert_eq!(answer.session_lifetime_ms, 60_000);
    let renewed = log_in(&mut client, SaslMechanism::ScramSha256, "user", "pencil").await;
    assert_eq!((renewed.error_code, broker.logins(), broker.renewals()), (0, 2, 1));
    assert!(client.ask(&InitProducerIdRequest::default(), 0).await.is_some());

    let other = log_in(&mut client, SaslMechanism::ScramSha256, "a,b=c", "comma").await;
    assert_eq!(other.error_code, 58);
    let words = "Cannot change principals during re-authentication from User.user: User.a,b=c";
    assert_eq!(other.error_message.as_deref(), Some(words));
    assert!(is_closed(&mut client).await);

    let mut client = Client::connect(&broker, 1).await;
    log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    let wrong = log_in(&mut client, SaslMechanism::Plain, "user", "eraser").await;
    assert_eq!(wrong.error_code, 58);

    let mut client = Client::connect(&broker, 1).await;
    log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    assert_eq!(propose(&mut client, "SCRAM-SHA-256").await.0, 0);
    let message = SaslAuthenticateRequest::default();
    assert!(client.ask(&message, 1).await.is_none(), "another mechanism than the first");
}

#[tokio::test]
async fn a_login_that_is_over_lets_nothing_through_but_a_new_one() {
    let (broker, _) = start_guarded(users().with_session_lifetime(Duration::from_nanos(1))).await;
    let mut client = Client::connect(&broker, 1).await;
    log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    assert!(client.ask(&ApiVersionsRequest::default(), 0).await.is_none(), "it is over");
    let mut client = Client::connect(&broker, 1).await;
    log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    broker.set_session_lifetime(Duration::MAX);
    let renewed = log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    assert_eq!((renewed.error_code, renewed.session_lifetime_ms), (0, i64::MAX));
    assert!(client.ask(&InitProducerIdRequest::default(), 0).await.is_some());
}

/// The client's side by hand, as librdkafka had it before 2.6.1.
#[tokio::test]
async fn a_nonce_with_more_in_front_is_taken_by_the_brokers_that_do_not_compare() {
    for profile in Profile::ALL {
        for (password, knows) in [("pencil", true), ("eraser", false)] {
            let config = BrokerConfig::default().with_profile(profile).with_sasl(users());
            let broker = EmbeddedBroker::start(config).await.unwrap();
            let mut client = Client::connect(&broker, 1).await;
            propose(&mut client, "SCRAM-SHA-256").await;
            let challenge = say(&mut client, 0, b"n,,n=user,r=nonce").await.auth_bytes;
            let challenge = String::from_utf8(challenge.to_vec()).unwrap();
            let (last, signature) = doubled(&challenge, password);
            let answer = say(&mut client, 0, last.as_bytes()).await;
            let is_let_in = knows && profile != Profile::Kafka4;
            assert_eq!(answer.error_code, if is_let_in { 0 } else { 58 }, "{profile} {password}");
            if is_let_in {
                assert_eq!(answer.auth_bytes, signature, "{profile}");
            }
        }
    }
}

/// The last message, and the signature that the broker has to answer with.
fn doubled(challenge: &str, password: &str) -> (String, String) {
    let hmac = |key: &[u8], text: &str| {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.chain_update(text).finalize().into_bytes().to_vec()
    };
    let field = |name| challenge.split(',').find_map(|field| field.strip_prefix(name)).unwrap();
    let salt = BASE64.decode(field("s=")).unwrap();
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, 4096, &mut salted);
    let unproven = format!("c=biws,r=nonce{}", field("r="));
    let text = format!("n=user,r=nonce,{challenge},{unproven}");
    let key = hmac(&salted, "Client Key");
    let signature = hmac(&Sha256::digest(&key), &text);
    let proof: Vec<_> = key.iter().zip(signature).map(|(key, bit)| key ^ bit).collect();
    let answer = hmac(&hmac(&salted, "Server Key"), &text);
    (format!("{unproven},p={}", BASE64.encode(proof)), format!("v={}", BASE64.encode(answer)))
}

#[tokio::test]
async fn login_faults_come_up_once_and_in_order() {
    let (broker, _) = start_guarded(users()).await;
    for fault in
        [LoginFault::Refuse, LoginFault::ForeignNonce, LoginFault::Iterations(1_000_000_000)]
    {
        broker.inject_login(fault);
    }
    let begin = async |mechanism, message: &[u8]| {
        let mut client = Client::connect(&broker, 1).await;
        propose(&mut client, mechanism).await;
        let answer = say(&mut client, 1, message).await;
        (answer.error_code, String::from_utf8(answer.auth_bytes.to_vec()).unwrap())
    };
    assert_eq!(begin("PLAIN", b"\0user\0pencil").await.0, 58);
    let first = b"n,,n=user,r=nonce";
    assert!(begin("SCRAM-SHA-256", first).await.1.starts_with("r=foreign,s="));
    assert!(begin("SCRAM-SHA-512", first).await.1.ends_with(",i=1000000000"));
    assert!(begin("SCRAM-SHA-512", first).await.1.ends_with(",i=4096"));
    broker.inject_login(LoginFault::WrongSignature);
    broker.clear_faults();
    assert_eq!(begin("PLAIN", b"\0user\0pencil").await, (0, String::new()));
    assert_eq!((broker.logins(), broker.renewals()), (1, 0));
}

#[tokio::test]
async fn a_topic_that_is_denied_is_neither_shown_nor_written_read_or_created() {
    let broker = start(1).await;
    broker.create_topic("a", 1).unwrap();
    broker.set_topic_denied("a", true);
    broker.set_topic_denied("b", true);
    let denied = ErrorCode::TOPIC_AUTHORIZATION_FAILED.0;
    let mut client = Client::connect(&broker, 1).await;
    let asked = |name| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let named = MetadataRequest::default().with_topics(Some(vec![asked("a"), asked("b")]));
    let shown = client.ask(&named, 9).await.unwrap().topics;
    let shown: Vec<_> = shown.iter().map(|it| (it.error_code, it.partitions.len())).collect();
    assert_eq!(shown, [(denied, 0), (denied, 0)], "and it is not said which exists");
    let all = MetadataRequest::default().with_topics(None);
    assert!(client.ask(&all, 9).await.unwrap().topics.is_empty());
    assert_eq!(client.produce(&produce("a", b"v")).await.error_code, denied);
    let fetched = client.ask(&fetch("a", Uuid::nil(), 0), 12).await.unwrap();
    assert_eq!(fetched.responses[0].partitions[0].error_code, denied);
    let topic = CreatableTopic::default().with_name(topic_name("b")).with_num_partitions(1);
    let create = CreateTopicsRequest::default().with_topics(vec![topic.with_replication_factor(1)]);
    assert_eq!(client.ask(&create, 7).await.unwrap().topics[0].error_code, denied);
    broker.set_topic_denied("a", false);
    assert_eq!(client.produce(&produce("a", b"v")).await.error_code, 0);
    assert_eq!(values(&broker, "a").len(), 1);
}

#[tokio::test]
async fn a_cluster_that_is_denied_gives_no_identity() {
    let broker = start(1).await;
    broker.set_cluster_denied(true);
    let mut client = Client::connect(&broker, 1).await;
    let request = InitProducerIdRequest::default().with_transactional_id(None);
    let denied = client.ask(&request, 4).await.unwrap().error_code;
    assert_eq!(denied, ErrorCode::CLUSTER_AUTHORIZATION_FAILED.0);
    broker.clear_faults();
    assert_eq!(client.ask(&request, 4).await.unwrap().error_code, 0);
}
