//! A probe: whether a producer of some settings would work, a step at a time.
//!
//! Goes the way that the producer goes (name, socket, TLS, versions, login, topics, leaders) and tells
//! of each step what it found. Writes nothing and creates nothing. Decides what counts as failed:
//! what would keep records from being delivered. A broker of the list that cannot be used is a
//! warning while there is another behind it, since the producer would go on with that.
//!
//! Every wait is bounded by the shorter of `connection_setup_timeout` and `request_timeout`.
//!
//! Rights: KIP-430. A broker that does not tell them is not asked by writing.

use super::admin::{Admin, AdminError, GRANT_LOOK, MISSING, TopicCreation, may_not_write};
use super::config::{Address, ProducerConfig};
use super::driver;
use super::session::{self, Opening, Question, Session, SessionConfig, SessionError};
use super::tls::TlsError;
use crate::protocol::ErrorCode;
use crate::protocol::messages::init_producer_id::{self, InitProducerIdResponse};
use crate::protocol::messages::metadata::{self, Broker, MetadataResponse, Partition, Topic};
use crate::protocol::messages::{ApiKey, RequestHeader};
use crate::protocol::text::{WORDS_MAX, printable};
use futures_util::future::join_all;
use std::collections::BTreeSet;
use std::fmt::Display;

const DNS: &str = "DNS";
const TCP: &str = "TCP";
const TLS: &str = "TLS";
const VERSIONS: &str = "ApiVersions";
const LOGIN: &str = "SASL";
const CLUSTER: &str = "cluster";
const TOPIC: &str = "topic";
const LEADERS: &str = "leaders";
const WRITE: &str = "write";
const IDEMPOTENCE: &str = "idempotence";

/// The steps in their order.
const STEPS: [&str; 10] =
    [DNS, TCP, TLS, VERSIONS, LOGIN, CLUSTER, TOPIC, LEADERS, WRITE, IDEMPOTENCE];

/// Brokers that are dialled at their advertised addresses.
const LEADERS_MAX: usize = 32;

/// Things of a kind that one line names.
const NAMED_MAX: usize = 5;

/// What was found at one step.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeStep {
    /// Which: `DNS`, `TCP`, `TLS`, `ApiVersions`, `SASL`, `cluster`, `topic`, `leaders`, `write` or
    /// `idempotence`. `topic` and `write` come once for each topic.
    pub name: &'static str,
    /// How it ended.
    pub status: ProbeStatus,
    /// One sentence: what was found, or what is wrong and what to do about it.
    pub told: String,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeStatus {
    /// As it should be.
    Passed,
    /// The producer would go on, and perhaps not as its user thinks.
    Warned,
    /// Records would not be delivered.
    Failed,
    /// A topic is not there and nobody would create it.
    Missing,
    /// Nothing is known: not configured, not told, or not tried after something failed.
    Skipped,
}

impl ProbeStatus {
    /// Whether records would not be delivered.
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Missing)
    }
}

/// A topic that records will go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeTopic {
    /// Its name.
    pub name: String,
    /// What happens if it is not there.
    pub if_missing: IfMissing,
}

/// What happens when a topic is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IfMissing {
    /// Nobody creates it.
    Fails,
    /// It is created at start, as by [`Admin::create_topic`].
    IsCreated(TopicCreation),
    /// It is asked for, and a broker that is set to creates it then.
    BrokerDecides,
}

impl IfMissing {
    /// What is said of a topic that is not there, and perhaps comes to be.
    pub(crate) const TOLD_OF_BROKER: &str = "does not exist: its first record creates it if the \
        brokers are set to (auto.create.topics.enable), else create it";

    /// The partitions that a topic would have been created with, if they are more than it has.
    pub(crate) fn more_than(&self, partitions: usize) -> Option<u32> {
        let wanted = match self {
            Self::IsCreated(creation) => creation.partitions,
            Self::Fails | Self::BrokerDecides => None,
        };
        wanted.filter(|wanted| usize::try_from(*wanted).is_ok_and(|wanted| wanted > partitions))
    }
}

/// Tells of each step from these settings to these topics whether it works, as soon as that is known.
/// Needs a Tokio runtime. The steps behind one that failed are told as skipped.
///
/// ```no_run
/// use ottla::producer::{IfMissing, ProbeTopic, ProducerConfig, probe};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let config = ProducerConfig::new(["localhost:9092"])?;
/// let topic = ProbeTopic { name: "traces".into(), if_missing: IfMissing::Fails };
/// probe(&config, &[topic], |step| println!("{:?} {}: {}", step.status, step.name, step.told)).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// `TlsError` when the certificates cannot be used; nothing was told then.
pub async fn probe(
    config: &ProducerConfig,
    topics: &[ProbeTopic],
    report: impl FnMut(ProbeStep),
) -> Result<(), TlsError> {
    let sessions = SessionConfig::for_questions(config)?;
    let mut probe = Probe { config, sessions, topics, report, next: 0 };
    if let Err(failure) = probe.run().await {
        probe.fail(failure);
    }
    probe.skip_to(STEPS.len(), "not tried");
    Ok(())
}

/// What ends a probe, or the attempt at one broker.
struct Failure {
    step: &'static str,
    told: String,
}

impl Failure {
    fn of(step: &'static str) -> impl Fn(SessionError) -> Self {
        move |error| Self { step, told: error.to_string() }
    }
}

struct Probe<'a, R> {
    config: &'a ProducerConfig,
    sessions: SessionConfig,
    topics: &'a [ProbeTopic],
    report: R,
    /// The step that has not been told of yet, by its place in [`STEPS`].
    next: usize,
}

impl<R: FnMut(ProbeStep)> Probe<'_, R> {
    async fn run(&mut self) -> Result<(), Failure> {
        let session = self.connect().await?;
        let mut admin = Admin { session, config: self.sessions.clone() };
        let cluster = self.look_at_cluster(&mut admin).await?;
        let found = self.look_at_topics(&mut admin, &cluster).await?;
        self.dial_leaders(&cluster, &found).await;
        self.tell_rights(&found);
        self.ask_for_identity(&mut admin).await
    }

    /// A session with the first broker of the list that lets us in.
    async fn connect(&mut self) -> Result<Session, Failure> {
        let bootstrap = &self.config.bootstrap;
        let (last, others) = bootstrap.split_last().expect("a valid configuration names a broker");
        for address in others {
            match self.connect_to(address).await {
                Ok(session) => return Ok(session),
                Err(failure) => {
                    let told = format!("{}; the next broker is tried", failure.told);
                    self.tell(failure.step, ProbeStatus::Warned, told);
                    self.next = 0;
                }
            }
        }
        self.connect_to(last).await
    }

    async fn connect_to(&mut self, address: &Address) -> Result<Session, Failure> {
        let found = session::resolve(address, &self.sessions).await.map_err(Failure::of(DNS))?;
        let ips = found.iter().map(|found| found.ip().to_string()).collect::<BTreeSet<_>>();
        let host = &address.host;
        self.pass(
            DNS,
            match ips.contains(host) {
                true => format!("{host} is an address"),
                false => format!("{host} is {}", some_of(&ips, "address")),
            },
        );

        let before = driver::now();
        let stream = session::dial(address, found, &self.sessions).await;
        let stream = stream.map_err(Failure::of(TCP))?;
        let took = driver::now().duration_since(before).as_secs_f64() * 1e3;
        self.pass(TCP, format!("{address} in {took:.1} ms"));

        let secured = Opening::over(stream, address, &self.sessions).await;
        let (exchange, how) = secured.map_err(Failure::of(TLS))?;
        match (how, self.config.tls.as_ref().map(|tls| tls.verify_certificates)) {
            (Some(how), Some(true)) => self.pass(TLS, how),
            (Some(how), _) => {
                let told = format!("{how}; the broker's certificate was not verified");
                self.tell(TLS, ProbeStatus::Warned, told);
            }
            (None, _) => self.skip(TLS, "not configured"),
        }

        let opening = Opening::new(exchange, address, &self.sessions);
        let mut opening = opening.map_err(Failure::of(LOGIN))?;
        let versions = opening.learn_versions().await.map_err(Failure::of(VERSIONS))?;
        let produce = versions.choose(ApiKey::Produce).unwrap_or_default();
        let looks_like = versions.looks_like();
        self.pass(VERSIONS, format!("looks like {looks_like}; Produce v{produce} is used"));

        let (session, lifetime) = opening.log_in().await.map_err(Failure::of(LOGIN))?;
        if let Some(sasl) = &self.config.sasl {
            let mechanism = sasl.mechanism;
            self.pass(
                LOGIN,
                match lifetime {
                    Some(lifetime) => format!("{mechanism}, to be renewed within {lifetime:?}"),
                    None => mechanism.to_string(),
                },
            );
        }
        Ok(session)
    }

    /// Asks for brokers and topics. The first question after the handshake is also where a broker
    /// that wants a login hangs up on who has none.
    async fn look_at_cluster(&mut self, admin: &mut Admin) -> Result<MetadataResponse, Failure> {
        let names: Vec<_> = self.topics.iter().map(|topic| topic.name.as_str()).collect();
        let asked = admin
            .session
            .call(
                Question::of(ApiKey::Metadata),
                |header| metadata::request_with_rights(header, &names),
                MetadataResponse::decode,
            )
            .await;
        let answer = asked.map_err(|error| match &error {
            SessionError::LoginWanted(_) => Failure::of(LOGIN)(error),
            _ => Failure::of(CLUSTER)(error),
        })?;
        if self.config.sasl.is_none() {
            self.skip(LOGIN, "not configured");
        }
        if let Err(code) = answer.error.ok() {
            return Err(Failure { step: CLUSTER, told: format!("the broker answered {code}") });
        }
        let brokers = counted(answer.brokers.len(), "broker");
        let told = match &answer.cluster_id {
            Some(id) => format!("{:?} has {brokers}", printable(id, WORDS_MAX)),
            None => brokers,
        };
        self.pass(CLUSTER, told);
        Ok(answer)
    }

    /// Tells what there is of each topic, and returns those that are there.
    async fn look_at_topics<'c>(
        &mut self,
        admin: &mut Admin,
        cluster: &'c MetadataResponse,
    ) -> Result<Vec<&'c Topic>, Failure> {
        let mut found = Vec::new();
        for ProbeTopic { name, if_missing } in self.topics {
            let topic = cluster.topics.iter().find(|told| told.name.as_deref() == Some(name));
            match topic.map(|topic| (topic.error, topic)) {
                None | Some((ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, _)) => {
                    let (status, told) = missing(admin, name, if_missing).await?;
                    self.tell(TOPIC, status, told);
                }
                Some((ErrorCode::NONE | ErrorCode::LEADER_NOT_AVAILABLE, topic)) => {
                    let (status, mut told) = partitions(name, &topic.partitions);
                    if let Some(wanted) = if_missing.more_than(topic.partitions.len()) {
                        told += &format!("; it is left so, though {wanted} are asked for");
                    }
                    self.tell(TOPIC, status, told);
                    found.push(topic);
                }
                Some((ErrorCode::TOPIC_AUTHORIZATION_FAILED, _)) => {
                    let told = format!("{name:?} may not be looked at: {GRANT_LOOK}");
                    self.tell(TOPIC, ProbeStatus::Failed, told);
                }
                Some((code, _)) => {
                    self.tell(TOPIC, ProbeStatus::Failed, format!("{name:?}: {code}"));
                }
            }
        }
        if self.topics.is_empty() {
            self.skip(TOPIC, "none is configured");
        }
        Ok(found)
    }

    /// Connects to who leads the topics, or to everybody if nobody does yet, where they say that
    /// they are: an address that is only good inside the cluster is the commonest mistake there is.
    async fn dial_leaders(&mut self, cluster: &MetadataResponse, found: &[&Topic]) {
        let partitions = found.iter().flat_map(|topic| &topic.partitions);
        let leaders: BTreeSet<_> = partitions.map(|partition| partition.leader_id).collect();
        let wanted = |broker: &&Broker| leaders.contains(&broker.node_id);
        let mut brokers: Vec<_> = cluster.brokers.iter().filter(wanted).collect();
        if brokers.is_empty() {
            brokers.extend(&cluster.brokers);
        }
        brokers.truncate(LEADERS_MAX);
        let sessions = &self.sessions;
        let dials = brokers.iter().map(|broker| async move {
            let address = Address { host: broker.host.clone(), port: broker.port };
            let connected = Session::connect(&address, sessions).await;
            connected.map(drop).map_err(|error| (broker.node_id, error))
        });
        let failed: Vec<_> = join_all(dials).await.into_iter().filter_map(Result::err).collect();
        let Some((node, error)) = failed.first() else {
            let told = match brokers.len() {
                1 => "1 broker answers where it says that it is".to_owned(),
                count => format!("{count} brokers answer where they say that they are"),
            };
            return self.pass(LEADERS, told);
        };
        let others = match failed.len() - 1 {
            0 => String::new(),
            more => format!("; nor {more} more"),
        };
        let told = format!(
            "broker {node} cannot be used where it says that it is{others}: {error}: is \
             advertised.listeners right, and reachable from here?"
        );
        self.tell(LEADERS, ProbeStatus::Failed, told);
    }

    fn tell_rights(&mut self, found: &[&Topic]) {
        for ProbeTopic { name, .. } in self.topics {
            let topic = found.iter().find(|told| told.name.as_deref() == Some(name));
            match topic.map(|topic| topic.may_write) {
                Some(Some(true)) => self.pass(WRITE, format!("{name:?} may be written to")),
                Some(Some(false)) => {
                    let told = format!("{name:?} {}", may_not_write(name));
                    self.tell(WRITE, ProbeStatus::Failed, told);
                }
                Some(None) => {
                    let told =
                        format!("the broker does not tell whether {name:?} may be written to");
                    self.skip(WRITE, told);
                }
                None => self.skip(WRITE, format!("nothing is known of {name:?}")),
            }
        }
        if self.topics.is_empty() {
            self.skip(WRITE, "no topic is configured");
        }
    }

    /// An idempotent producer needs a right of its own, and finds out only here.
    async fn ask_for_identity(&mut self, admin: &mut Admin) -> Result<(), Failure> {
        if !self.config.idempotence {
            self.skip(IDEMPOTENCE, "not configured");
            return Ok(());
        }
        let asked = admin
            .session
            .call(
                Question::of(ApiKey::InitProducerId),
                |header: RequestHeader<'_>| init_producer_id::request(header, None),
                InitProducerIdResponse::decode,
            )
            .await;
        let answer = asked.map_err(Failure::of(IDEMPOTENCE))?;
        match answer.error {
            ErrorCode::NONE => self.pass(IDEMPOTENCE, "producers get an identity"),
            code if code.is_retriable() => {
                let told = format!("no identity for now, {code}: the producer would try again");
                self.tell(IDEMPOTENCE, ProbeStatus::Warned, told);
            }
            code => {
                let told = format!(
                    "no identity for a producer, {code}: grant our user IDEMPOTENT_WRITE on the \
                     cluster, or WRITE on a topic, or set enable.idempotence to false"
                );
                self.tell(IDEMPOTENCE, ProbeStatus::Failed, told);
            }
        }
        Ok(())
    }

    fn pass(&mut self, step: &'static str, told: impl Into<String>) {
        self.tell(step, ProbeStatus::Passed, told.into());
    }

    fn skip(&mut self, step: &'static str, told: impl Into<String>) {
        self.tell(step, ProbeStatus::Skipped, told.into());
    }

    fn fail(&mut self, Failure { step, told }: Failure) {
        self.tell(step, ProbeStatus::Failed, told);
    }

    fn tell(&mut self, name: &'static str, status: ProbeStatus, told: String) {
        let place = STEPS.iter().position(|step| *step == name).unwrap_or_default();
        self.skip_to(place, "not tried");
        self.next = place + 1;
        (self.report)(ProbeStep { name, status, told });
    }

    /// Tells of the steps before this place that nothing is known of them.
    fn skip_to(&mut self, place: usize, why: &str) {
        while self.next < place {
            let (name, status) = (STEPS[self.next], ProbeStatus::Skipped);
            self.next += 1;
            (self.report)(ProbeStep { name, status, told: why.to_owned() });
        }
    }
}

/// What a topic that is not there comes to.
async fn missing(
    admin: &mut Admin,
    name: &str,
    if_missing: &IfMissing,
) -> Result<(ProbeStatus, String), Failure> {
    match if_missing {
        IfMissing::Fails => Ok((ProbeStatus::Missing, format!("{name:?} {MISSING}"))),
        IfMissing::IsCreated(creation) => match admin.try_create_topic(name, creation).await {
            Ok(()) => {
                let told = format!("{name:?} does not exist, and is created{}", creation.with());
                Ok((ProbeStatus::Passed, told))
            }
            Err(error @ (AdminError::Refused { .. } | AdminError::NoDefaults { .. })) => {
                Ok((ProbeStatus::Failed, error.to_string()))
            }
            Err(error) => Err(Failure { step: TOPIC, told: error.to_string() }),
        },
        IfMissing::BrokerDecides => {
            Ok((ProbeStatus::Warned, format!("{name:?} {}", IfMissing::TOLD_OF_BROKER)))
        }
    }
}

/// What a topic's partitions are like.
fn partitions(name: &str, partitions: &[Partition]) -> (ProbeStatus, String) {
    let count = counted(partitions.len(), "partition");
    let led = |partition: &&Partition| partition.leader_id >= 0;
    let leaders: BTreeSet<_> = partitions.iter().filter(led).map(|it| it.leader_id).collect();
    let leaderless: BTreeSet<_> =
        partitions.iter().filter(|it| !led(it)).map(|it| it.index).collect();
    match (leaders.is_empty(), leaderless.is_empty()) {
        (false, true) => {
            let told = format!("{name:?} has {count}, led by {}", some_of(&leaders, "broker"));
            (ProbeStatus::Passed, told)
        }
        (false, false) => {
            let told = format!(
                "{name:?} has {count}, and nobody leads {}: records for them wait",
                some_of(&leaderless, "partition")
            );
            (ProbeStatus::Warned, told)
        }
        (true, _) => {
            let told = format!("{name:?} has {count}, and nobody leads any: are its brokers up?");
            (ProbeStatus::Failed, told)
        }
    }
}

/// `1 broker`, `2 brokers`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
}

fn plural(count: usize, noun: &str) -> impl Display {
    let ending = match (count, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{noun}{ending}")
}

/// `broker 1`, `brokers 1, 2 and 7 more`.
fn some_of<T: Display>(all: &BTreeSet<T>, noun: &str) -> String {
    let named: Vec<_> = all.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = match all.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{} {}{more}", plural(all.len(), noun), named.join(", "))
}
