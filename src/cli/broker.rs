//! `ottla broker`: the embedded development broker alone.

use super::terminal::say;
use super::{Exit, asked_to_stop, resolved};
use crate::broker::{BrokerConfig, BrokerSasl, BrokerTls, EmbeddedBroker, Profile};
use crate::sasl::{SaslMechanism, Secret};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::convert::Infallible;
use std::fmt;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the development broker listens unless told otherwise: where every Kafka client looks.
pub(super) const DEFAULT_LISTEN: &str = "127.0.0.1:9092";

#[derive(Debug, Args)]
pub(super) struct Broker {
    /// Address of the first broker; further ones take the ports behind it.
    #[arg(long, env = "OTTLA_LISTEN", default_value = DEFAULT_LISTEN, value_name = "ADDR")]
    listen: SocketAddr,
    /// Brokers of the cluster.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    brokers: u16,
    /// Partitions of topics that are created by being used.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: i32,
    /// Broker to pass for: its versions, its error codes, its habits.
    #[arg(long, default_value_t, value_name = "NAME", value_parser = profiles())]
    profile: Profile,
    /// Create unknown topics. All profiles but redpanda do unless told otherwise.
    #[arg(long, overrides_with = "no_auto_create")]
    auto_create: bool,
    /// Do not create unknown topics.
    #[arg(long)]
    no_auto_create: bool,
    /// Encrypt connections with this certificate, a PEM file.
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The certificate's private key, a PEM file.
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Want a certificate of every client, signed by one of this PEM file's.
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,
    /// Let in who logs in with this name and password, and nobody else. The password may be
    /// env.NAME, which takes it from the environment. May be given often.
    #[arg(long, value_name = "NAME:PASSWORD")]
    sasl_user: Vec<User>,
    /// Offer this mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512. May be given often; without,
    /// all are offered.
    #[arg(long, requires = "sasl_user", value_name = "NAME", value_parser = mechanism)]
    sasl_mechanism: Vec<SaslMechanism>,
}

/// A name and a password, as they were given. Any text is taken at first: the parser of arguments
/// would repeat what it refuses.
#[derive(Clone)]
struct User(Secret);

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl FromStr for User {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(Secret::new(text)))
    }
}

impl User {
    fn split(&self) -> Result<(String, String), String> {
        let pair = self.0.expose().split_once(':');
        let pair = pair.filter(|(name, password)| !name.is_empty() && !password.is_empty());
        let (name, password) = pair.ok_or("write NAME:PASSWORD, neither of them empty")?;
        Ok((name.to_owned(), resolved(password)?))
    }
}

fn mechanism(text: &str) -> Result<SaslMechanism, String> {
    let names = SaslMechanism::ALL.map(SaslMechanism::name).join(", ");
    SaslMechanism::from_name(text).ok_or_else(|| format!("use one of {names}"))
}

fn profiles() -> impl TypedValueParser<Value = Profile> {
    let names = PossibleValuesParser::new(Profile::ALL.map(Profile::name));
    names.try_map(|name| name.parse::<Profile>())
}

impl Broker {
    pub(super) async fn run(self) -> Result<(), Exit> {
        let creates = self.profile.auto_creates_topics() || self.auto_create;
        let config = BrokerConfig::default()
            .with_profile(self.profile)
            .with_listen([self.listen])
            .with_brokers(usize::from(self.brokers))
            .with_partitions(self.partitions)
            .with_auto_create_topics(creates && !self.no_auto_create);
        let config = self.guard(config)?;
        let broker = EmbeddedBroker::start(config).await.map_err(|error| {
            let remedy = match error.kind() {
                ErrorKind::InvalidInput | ErrorKind::Other => return Exit::new(Exit::USAGE, error),
                _ => "choose another address with --listen",
            };
            Exit::new(Exit::USAGE, format!("cannot listen on {}: {error}; {remedy}", self.listen))
        })?;
        say(&format!("development broker on {}", broker.bootstrap().join(",")));
        if let Some(protocol) = self.protocol() {
            say(&format!("clients need security.protocol={protocol}"));
        }
        say("everything is kept in memory and ends with it; stop it with Ctrl-C");
        asked_to_stop().await;
        broker.shutdown().await;
        Ok(())
    }

    /// Lets in who may come in.
    fn guard(&self, mut config: BrokerConfig) -> Result<BrokerConfig, Exit> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            let tls = BrokerTls::new(certificate, key);
            config = config.with_tls(match &self.tls_client_ca {
                Some(client_ca) => tls.with_client_ca(client_ca),
                None => tls,
            });
        }
        if !self.sasl_user.is_empty() {
            let users: Result<Vec<_>, _> = self.sasl_user.iter().map(User::split).collect();
            let refuse = |fault| Exit::new(Exit::USAGE, format!("--sasl-user: {fault}"));
            let sasl = BrokerSasl::new(users.map_err(refuse)?);
            config = config.with_sasl(match self.sasl_mechanism.is_empty() {
                true => sasl,
                false => sasl.with_mechanisms(self.sasl_mechanism.iter().copied()),
            });
        }
        Ok(config)
    }

    /// What clients have to set to come in; nothing, if that is not needed.
    const fn protocol(&self) -> Option<&'static str> {
        match (self.tls_cert.is_some(), self.sasl_user.is_empty()) {
            (false, true) => None,
            (true, true) => Some("ssl"),
            (false, false) => Some("sasl_plaintext"),
            (true, false) => Some("sasl_ssl"),
        }
    }
}
