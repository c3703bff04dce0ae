//! `ottla broker`: the embedded development broker alone.

use super::terminal::say;
use super::{Exit, asked_to_stop};
use crate::broker::{BrokerConfig, EmbeddedBroker, Profile};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::net::SocketAddr;

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
        let broker = EmbeddedBroker::start(config).await.map_err(|error| {
            let remedy = "choose another address with --listen";
            Exit::new(Exit::USAGE, format!("cannot listen on {}: {error}; {remedy}", self.listen))
        })?;
        say(&format!("development broker on {}", broker.bootstrap().join(",")));
        say("everything is kept in memory and ends with it; stop it with Ctrl-C");
        asked_to_stop().await;
        broker.shutdown().await;
        Ok(())
    }
}
