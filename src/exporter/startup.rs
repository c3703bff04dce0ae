//! What has to be true of Kafka before an exporter takes anything.
//!
//! Decides what is looked at (a broker answers and lets us in, each topic is there and may be written
//! to), which topics are created, and what of it keeps an exporter from starting: what no record
//! could be delivered with. How the failure is worded in the end is the exporter's.
//!
//! Every wait is bounded by the shorter of `connection_setup_timeout` and `request_timeout`; a
//! topic's creation may take 30 s more.
//!
//! Rights: KIP-430. A broker that does not tell them is not asked by writing.

use super::Probe;
use crate::producer::{
    Admin, AdminError, IfMissing, ProbeTopic, ProducerConfig, TlsError, TopicCreation, TopicState,
};
use crate::protocol::ErrorCode;
use std::fmt::Display;

/// The most of each that can be asked for.
pub(super) const PARTITIONS_MAX: u64 = TopicCreation::PARTITIONS_MAX as u64;
pub(super) const REPLICAS_MAX: u64 = TopicCreation::REPLICATION_FACTOR_MAX as u64;

/// An exporter that is to start.
#[derive(Debug)]
pub(super) struct Startup<'a> {
    /// What the exporter's sentences begin with, such as `kafka: `.
    pub(super) who: &'static str,
    /// Whether failures matter.
    pub(super) probe: Probe,
    /// Where the brokers are, and how they are talked to.
    pub(super) producer: &'a ProducerConfig,
    /// Where records will go.
    pub(super) topics: &'a [ProbeTopic],
}

/// Why an exporter should not start.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The certificates cannot be used.
    Tls(TlsError),
    /// No broker answers as one, or lets us in.
    Connect(AdminError),
    /// A topic is not there, or cannot be looked at, created or written to.
    Topic(AdminError),
}

impl From<AdminError> for Obstacle {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Tls(error) => Self::Tls(error),
            error @ AdminError::Unreachable(_) => Self::Connect(error),
            error => Self::Topic(error),
        }
    }
}

impl Startup<'_> {
    /// Looks at everything that `probe` says, and creates what may be. `name` makes the exporter's
    /// own error of an obstacle, which is logged instead if it does not matter. What no producer
    /// starts with always does.
    pub(super) async fn run<E: Display>(&self, name: impl FnOnce(Obstacle) -> E) -> Result<(), E> {
        if self.probe == Probe::Off {
            return Ok(());
        }
        match (self.look().await, self.probe) {
            (Ok(()), _) => Ok(()),
            (Err(obstacle), Probe::Warn) if !matches!(obstacle, Obstacle::Tls(_)) => {
                tracing::warn!("{}; it is started all the same, as probe says", name(obstacle));
                Ok(())
            }
            (Err(obstacle), _) => Err(name(obstacle)),
        }
    }

    /// Goes through all topics, so that those that can be are created. While there is one that records
    /// can be written to, the others are warned of: not everybody sends to each of them, or may.
    async fn look(&self) -> Result<(), Obstacle> {
        let mut admin = Admin::connect(self.producer).await?;
        let names: Vec<_> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
        let states = admin.look_at(&names).await?;
        let mut obstacles = Vec::new();
        for (ProbeTopic { name, if_missing }, state) in self.topics.iter().zip(states) {
            let outcome = match (state, if_missing) {
                (TopicState::Missing, IfMissing::IsCreated(creation)) => {
                    self.create(&mut admin, name, creation).await
                }
                (state, if_missing) => self.judge(name, state, if_missing),
            };
            match outcome {
                Ok(()) => {}
                Err(Obstacle::Topic(error)) => obstacles.push(error),
                // Nobody answers any more: the others would only be waited for.
                Err(obstacle) => return Err(obstacle),
            }
        }
        if obstacles.len() == self.topics.len() {
            return obstacles
                .into_iter()
                .next()
                .map_or(Ok(()), |first| Err(Obstacle::Topic(first)));
        }
        for error in obstacles {
            tracing::warn!("{}{error}; records for it will fail until then", self.who);
        }
        Ok(())
    }

    async fn create(
        &self,
        admin: &mut Admin,
        name: &str,
        creation: &TopicCreation,
    ) -> Result<(), Obstacle> {
        admin.create_topic(name, creation).await?;
        tracing::info!("{}topic {name:?} created{}", self.who, creation.with());
        // Who may create it need not be who may write to it. A broker that does not know of it yet
        // says nothing about that.
        match admin.look_at(&[name]).await?[..] {
            [TopicState::Present { may_write: Some(false), .. }] => Err(read_only(name)),
            _ => Ok(()),
        }
    }

    /// What there is of a topic, and what that means. One that is to be created is not asked about.
    fn judge(&self, name: &str, state: TopicState, if_missing: &IfMissing) -> Result<(), Obstacle> {
        match (state, if_missing) {
            (TopicState::Present { may_write: Some(false), .. }, _) => Err(read_only(name)),
            (TopicState::Present { partitions, .. }, _) => {
                if let Some(wanted) = if_missing.more_than(partitions) {
                    tracing::info!(
                        "{}topic {name:?} has {partitions} of the {wanted} partitions that are \
                         asked for, and is left so",
                        self.who
                    );
                }
                Ok(())
            }
            (TopicState::Missing, IfMissing::BrokerDecides) => {
                tracing::warn!("{}topic {name:?} {}", self.who, IfMissing::TOLD_OF_BROKER);
                Ok(())
            }
            (TopicState::Missing, _) => {
                Err(Obstacle::Topic(AdminError::Missing { topic: name.to_owned() }))
            }
            (TopicState::Refused(code), if_missing) => {
                let error = AdminError::cannot_look(name, code);
                if *if_missing == IfMissing::BrokerDecides && !is_certain(code) {
                    tracing::warn!("{}{error}", self.who);
                    return Ok(());
                }
                Err(Obstacle::Topic(error))
            }
        }
    }
}

/// The first number of a topic that no broker grants, by its name in the files of gateways, with the
/// most that it may be; the least is 1.
pub(super) fn out_of_range(creation: &TopicCreation) -> Option<(&'static str, u64, u64)> {
    let numbers = [
        ("topic_partitions", creation.partitions.map(u64::from), PARTITIONS_MAX),
        ("topic_replication_factor", creation.replication_factor.map(u64::from), REPLICAS_MAX),
    ];
    numbers.into_iter().find_map(|(field, number, max)| {
        let wrong = number.filter(|number| !(1..=max).contains(number))?;
        Some((field, wrong, max))
    })
}

fn read_only(topic: &str) -> Obstacle {
    Obstacle::Topic(AdminError::ReadOnly { topic: topic.to_owned() })
}

/// Whether no record can be delivered to a topic of which this is said, now or later.
const fn is_certain(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::TOPIC_AUTHORIZATION_FAILED | ErrorCode::INVALID_TOPIC_EXCEPTION)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(state: TopicState, if_missing: &IfMissing) -> Result<(), String> {
        let producer = ProducerConfig::new(["localhost:9092"]).unwrap();
        let startup =
            Startup { who: "kafka: ", probe: Probe::Require, producer: &producer, topics: &[] };
        startup.judge("t", state, if_missing).map_err(|obstacle| match obstacle {
            Obstacle::Topic(error) | Obstacle::Connect(error) => error.to_string(),
            Obstacle::Tls(error) => error.to_string(),
        })
    }

    #[test]
    fn a_missing_topic_is_an_obstacle_where_nobody_would_create_it() {
        assert_eq!(
            judge(TopicState::Missing, &IfMissing::Fails),
            Err("topic \"t\" does not exist: create it, or have it created".to_owned())
        );
        assert_eq!(judge(TopicState::Missing, &IfMissing::BrokerDecides), Ok(()));
    }

    #[test]
    fn numbers_that_no_topic_can_have_are_found() {
        let wrong = |partitions, replication_factor| {
            let configs = Default::default();
            out_of_range(&TopicCreation { partitions, replication_factor, configs })
        };
        assert_eq!(wrong(None, None), None);
        assert_eq!(wrong(Some(1), Some(32_767)), None);
        assert_eq!(wrong(Some(0), None), Some(("topic_partitions", 0, 2_147_483_647)));
        assert_eq!(wrong(Some(1 << 31), None), Some(("topic_partitions", 1 << 31, (1 << 31) - 1)));
        let replicas = Some(("topic_replication_factor", 32_768, 32_767));
        assert_eq!(wrong(Some(1), Some(32_768)), replicas);
    }

    #[test]
    fn what_may_pass_is_no_obstacle_where_the_topic_need_not_be_there() {
        let refused = TopicState::Refused;
        let decides = IfMissing::BrokerDecides;
        assert_eq!(judge(refused(ErrorCode::REQUEST_TIMED_OUT), &decides), Ok(()));
        assert_eq!(
            judge(refused(ErrorCode::REQUEST_TIMED_OUT), &IfMissing::Fails),
            Err("cannot look at topic \"t\": REQUEST_TIMED_OUT (code 7)".to_owned())
        );
        assert_eq!(
            judge(refused(ErrorCode::TOPIC_AUTHORIZATION_FAILED), &decides),
            Err(
                "cannot look at topic \"t\": TOPIC_AUTHORIZATION_FAILED (code 29): grant our user \
                 DESCRIBE and WRITE on it, or use a topic that it may write to"
                    .to_owned()
            )
        );
        judge(refused(ErrorCode::INVALID_TOPIC_EXCEPTION), &decides).unwrap_err();
    }
}
