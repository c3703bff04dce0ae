//! The door: who is let through, when, and what is said to the others.

use super::*;
use crate::broker::BrokerSasl;
use crate::sasl::{Credentials, Exchange, SaslMechanism, Secret, Step};
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
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
                let closed = client.receive::<SaslAuthenticateResponse>(2).await.is_none();
                assert!(closed, "{mechanism} {user}");
                let words = answer.error_message.unwrap();
                assert!(words.starts_with("Authentication failed"), "{words}");
            }
            assert_eq!(broker.logins(), u64::from(code == 0));
        }
    }
}

#[tokio::test]
async fn nothing_but_the_login_passes_before_there_is_one() {
    let (_broker, mut client) = start_guarded(users()).await;
    assert!(client.ask(&InitProducerIdRequest::default(), 0).await.is_none());
    let (broker, mut client) = start_guarded(users()).await;
    let early = SaslAuthenticateRequest::default();
    assert!(client.ask(&early, 1).await.is_none(), "a message without a mechanism");
    drop(broker);
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_answered_with_those_that_are() {
    let scram = [SaslMechanism::ScramSha512];
    let (_broker, mut client) = start_guarded(users().with_mechanisms(scram)).await;
    for mechanism in ["PLAIN", "GSSAPI", "scram-sha-512"] {
        let offered = vec!["SCRAM-SHA-512".to_owned()];
        assert_eq!(propose(&mut client, mechanism).await, (33, offered));
    }
    let answer = log_in(&mut client, SaslMechanism::ScramSha512, "user", "pencil").await;
    assert_eq!(answer.error_code, 0, "the connection went on");
    let open = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
    let mut client = Client::connect(&open, 1).await;
    assert_eq!(propose(&mut client, "PLAIN").await, (34, Vec::new()));
}

#[tokio::test]
async fn a_login_ends_and_can_be_renewed_before() {
    let lifetime = Duration::from_millis(300);
    let (broker, mut client) = start_guarded(users().with_session_lifetime(lifetime)).await;
    let answer = log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    assert_eq!(answer.session_lifetime_ms, 300);
    let renewed = log_in(&mut client, SaslMechanism::ScramSha256, "user", "pencil").await;
    assert_eq!((renewed.error_code, broker.logins()), (0, 2));
    assert!(client.ask(&InitProducerIdRequest::default(), 0).await.is_some());
    broker.set_session_lifetime(Duration::from_nanos(1));
    log_in(&mut client, SaslMechanism::Plain, "user", "pencil").await;
    assert!(client.ask(&InitProducerIdRequest::default(), 0).await.is_none(), "it is over");
}
