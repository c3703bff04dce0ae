//! Logins: the first, those that renew it, and those that fail.

use super::guard::Guard;
use super::world::{World, ms};
use crate::producer::completion::DeliveryError;
use crate::producer::config::{Acks, SaslConfig};
use crate::producer::engine::Notice;
use crate::sasl::{CredentialProvider, Credentials, SaslMechanism, Secret};
use kafka_protocol::messages::ApiKey;
use std::sync::{Arc, Mutex};
use std::time::Duration;

fn plain(password: &str) -> Option<SaslConfig> {
    let (user, password) = (Secret::new("user"), Secret::new(password));
    Some(SaslConfig::new(SaslMechanism::Plain, user, password).unwrap())
}

/// A broker that wants a login, and a producer that has the password.
fn world(lifetime: Duration) -> World {
    guarded(lifetime, |config| config.sasl = plain("pencil"))
}

fn guarded(
    lifetime: Duration,
    change: impl FnOnce(&mut crate::producer::config::ProducerConfig),
) -> World {
    let mut world = World::one(|config| {
        config.batch_records_max = 1;
        change(config);
    });
    world.guard = Some(Guard::new(lifetime));
    world
}

fn causes(world: &World) -> Vec<String> {
    let cause = |notice: &Notice| match notice {
        Notice::Disconnected { cause, .. } => Some(cause.to_string()),
        _ => None,
    };
    world.notices.iter().filter_map(cause).collect()
}

fn guard(world: &mut World) -> &mut Guard {
    world.guard.as_mut().unwrap()
}

#[test]
fn every_connection_logs_in_before_anything_else() {
    let mut world = world(Duration::ZERO);
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0), ["a", "b"]);
    // One connection for questions, one to the leader.
    assert_eq!((guard(&mut world).logins, guard(&mut world).trespassers), (2, 0));
    assert_eq!(world.count(ApiKey::SaslHandshake), 2);
    world.run(Duration::from_secs(3600));
    assert_eq!(guard(&mut world).renewals, 0, "good for ever");
}

#[test]
fn a_login_is_renewed_in_time_on_the_same_connection() {
    let mut world = world(Duration::from_secs(10));
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    let (dials, logins) = (world.dials.len(), guard(&mut world).logins);
    world.run(Duration::from_millis(8_400));
    assert_eq!(guard(&mut world).logins, logins, "not before 85 % of its lifetime");
    world.run(Duration::from_millis(1_150));
    assert_eq!(guard(&mut world).renewals, 2, "both connections, before 95 % of its lifetime");
    world.run(Duration::from_secs(60));
    assert!((12..=16).contains(&guard(&mut world).renewals));
    let last = world.send(0, "last");
    world.end_of(&last).unwrap();
    assert_eq!((world.dials.len(), guard(&mut world).trespassers), (dials, 0));
}

/// F44: What is in flight is answered first, nothing new goes out meanwhile, and nothing is lost.
#[test]
fn renewing_under_load_loses_repeats_and_reorders_nothing() {
    for acks in [Acks::All, Acks::One, Acks::Zero] {
        let mut world = guarded(ms(100), |config| {
            config.sasl = plain("pencil");
            config.acks = acks;
            config.idempotence = acks == Acks::All;
        });
        let values: Vec<_> = (0..400).map(|number| number.to_string()).collect();
        let mut records = Vec::new();
        for value in &values {
            records.extend(world.send_batches(&[value]));
            world.run(ms(3));
        }
        world.all_delivered(&records);
        world.run(ms(10));
        assert_eq!(world.cluster.stored(0), values, "acks {acks}");
        let renewals = guard(&mut world).renewals;
        assert!(renewals >= 10, "acks {acks}: {renewals}");
        assert_eq!(guard(&mut world).trespassers, 0, "acks {acks}");
        assert_eq!(world.dials.len(), 2, "acks {acks}");
    }
}

#[test]
fn a_lifetime_shorter_than_a_round_trip_still_lets_records_through() {
    for lifetime in [1, 2, 5] {
        let mut world = world(ms(lifetime));
        world.latency = Duration::from_micros(100 * lifetime);
        let values: Vec<_> = (0..20).map(|number| number.to_string()).collect();
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        let records = world.send_batches(&values);
        world.all_delivered(&records);
        assert_eq!(world.cluster.stored(0), values);
    }
}

/// F45
#[test]
fn a_renewal_that_is_refused_costs_the_connection_and_no_record() {
    let mut world = world(ms(1000));
    let first = world.send(0, "first");
    world.end_of(&first).unwrap();
    guard(&mut world).refused = 2;
    world.run(ms(1000));
    let records = world.send_batches(&["a", "b"]);
    world.all_delivered(&records);
    assert_eq!(world.cluster.stored(0), ["first", "a", "b"]);
    assert_eq!(
        causes(&world)[0],
        "b1:9092: cannot log in with PLAIN: the broker refuses the user or the password: \
         who are you?; correct sasl.username or sasl.password, or make them known there"
    );
}

#[test]
fn a_wrong_password_is_what_records_expire_of_and_is_not_tried_in_a_hot_loop() {
    let mut world = guarded(Duration::ZERO, |config| {
        config.sasl = plain("hunter2");
        config.delivery_timeout = Duration::from_secs(30);
        config.request_timeout = Duration::from_secs(10);
    });
    let record = world.send(0, "a");
    let error = world.end_of(&record).unwrap_err();
    assert!(matches!(error, DeliveryError::Expired { .. }), "{error}");
    let told = format!("{error} {:?}", std::error::Error::source(&error));
    assert!(told.contains("the broker refuses the user or the password"), "{told}");
    assert!(!told.contains("hunter2"), "{told}");
    assert!((10..60).contains(&world.dials.len()), "{} logins tried", world.dials.len());
}

/// F43
#[test]
fn a_mechanism_that_is_not_offered_is_named_beside_those_that_are() {
    let mut world = guarded(Duration::ZERO, |config| config.sasl = plain("pencil"));
    guard(&mut world).mechanisms = vec!["GSSAPI", "SCRAM-SHA-512"];
    world.send(0, "a");
    world.run(ms(100));
    assert_eq!(
        causes(&world)[0],
        "b1:9092: cannot log in: the broker does not offer PLAIN, only GSSAPI, SCRAM-SHA-512: set \
         sasl.mechanism to one that it offers, or enable PLAIN there"
    );
}

#[test]
fn a_broker_without_sasl_is_named_as_such() {
    let mut world = World::one(|config| config.sasl = plain("pencil"));
    world.cluster.versions.remove(&17);
    world.send(0, "a");
    world.run(ms(100));
    assert!(causes(&world)[0].contains("the broker knows no SASL"), "{:?}", causes(&world));
}

/// Credentials that were rotated.
#[derive(Debug)]
struct Rotating(Mutex<Result<Credentials, String>>);

impl CredentialProvider for Rotating {
    fn credentials(&self) -> Result<Credentials, String> {
        self.0.lock().unwrap().clone()
    }
}

/// F43
#[test]
fn credentials_are_asked_for_at_every_login() {
    let provider = Arc::new(Rotating(Mutex::new(Err("the vault is sealed".to_owned()))));
    let shared: Arc<dyn CredentialProvider> = Arc::<Rotating>::clone(&provider);
    let mut world = guarded(ms(1000), |config| {
        config.sasl = Some(SaslConfig::with_provider(SaslMechanism::Plain, shared));
    });
    let record = world.send(0, "a");
    world.run(ms(200));
    assert!(causes(&world)[0].ends_with("no credentials: the vault is sealed"));
    let rotate = |password| {
        let made = Credentials::new(Secret::new("user"), Secret::new(password));
        *provider.0.lock().unwrap() = Ok(made.unwrap());
    };
    rotate("pencil");
    world.end_of(&record).unwrap();
    rotate("eraser");
    guard(&mut world).password = "eraser";
    world.run(ms(5000));
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    assert!(guard(&mut world).renewals > 4);
    assert_eq!(guard(&mut world).trespassers, 0);
}

/// A world whose broker answers SCRAM's first message with this, behind our nonce.
fn scram(challenge: &str) -> World {
    let mut world = guarded(Duration::ZERO, |config| {
        let (user, password) = (Secret::new("user"), Secret::new("pencil"));
        let sasl = SaslConfig::new(SaslMechanism::ScramSha256, user, password);
        config.sasl = Some(sasl.unwrap());
    });
    guard(&mut world).mechanisms = vec!["SCRAM-SHA-256"];
    challenge.clone_into(&mut guard(&mut world).challenge);
    world
}

/// F46
#[test]
fn a_broker_that_answers_another_nonce_is_not_told_a_proof() {
    let mut world = scram("r=somebody-elses,s=AAAA,i=4096");
    world.send(0, "a");
    world.run(ms(40));
    assert!(causes(&world)[0].ends_with("its nonce does not continue ours"));
    assert_eq!(world.count(ApiKey::SaslAuthenticate), world.count(ApiKey::SaslHandshake));
}

#[test]
fn a_connection_that_waits_too_long_for_a_key_ends_and_the_key_harms_nobody() {
    // The world's nonces are those of its seed, so that the broker can know the first.
    let mut world = scram("");
    let nonce = crate::producer::login::Nonces::new([0; 32]).next();
    guard(&mut world).challenge = format!("r={nonce}x,s=AAAA,i=4096");
    world.deriving = Duration::from_secs(15);
    world.send(0, "a");
    world.run(Duration::from_secs(14));
    assert!(causes(&world)[0].contains("did not let us log in within 10s"), "{:?}", causes(&world));
    world.run(Duration::from_secs(2));
    // Each connection greeted, and none proved anything.
    assert_eq!(world.count(ApiKey::SaslAuthenticate), world.count(ApiKey::SaslHandshake));
}

#[test]
fn a_broker_that_speaks_while_a_key_is_derived_loses_the_connection() {
    let nonce = crate::producer::login::Nonces::new([0; 32]).next();
    let mut world = scram(&format!("r={nonce}x,s=AAAA,i=4096"));
    world.deriving = Duration::from_secs(5);
    world.send(0, "a");
    world.run(Duration::from_secs(1));
    assert!(causes(&world).is_empty(), "{:?}", causes(&world));
    let [connection] = world.open_connections()[..] else { panic!("more than one connection") };
    // What answers the question that is yet to be asked.
    let unasked = bytes::Bytes::from_static(&[0, 0, 0, 3, 0, 0, 0, 0]);
    world.engine.handle_frame(world.now, connection, &unasked);
    world.perform();
    assert_eq!(causes(&world).len(), 1);
    world.run(Duration::from_millis(4_500));
    assert_eq!(world.count(ApiKey::SaslAuthenticate), world.count(ApiKey::SaslHandshake));
}

#[test]
fn a_connection_that_only_renews_its_login_is_closed_as_idle() {
    let mut world = guarded(Duration::from_secs(5), |config| {
        config.sasl = plain("pencil");
        config.connections_max_idle = Duration::from_secs(30);
    });
    let record = world.send(0, "a");
    world.end_of(&record).unwrap();
    world.run(Duration::from_secs(40));
    let renewals = guard(&mut world).renewals;
    assert!((2..=14).contains(&renewals), "{renewals}");
    assert_eq!(world.open_connections(), []);
    let record = world.send(0, "b");
    world.end_of(&record).unwrap();
    assert_eq!(guard(&mut world).trespassers, 0);
}
