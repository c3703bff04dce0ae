//! A connection for one question at a time, for everything beside the record path.
//!
//! The start-up probe, topic creation and reading back ask seldom and in turn; they share the
//! handshake and the sockets of the producer, and none of its queues.

use super::config::{Address, ProducerConfig, SaslConfig};
use super::driver;
use super::handshake::{Handshake, HandshakeError, Step};
use super::login::{LOGIN_HINT, Login, LoginError, Nonces, Progress};
use super::net::{self, Exchange, NetError, Transport};
use super::tls::TlsError;
use super::versions::Versions;
use crate::protocol::DecodeError;
use crate::protocol::messages::{self, ApiKey, RequestHeader};
use crate::sasl::{Derivation, SaltedPassword};
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A login is renewed after this part of its lifetime, in percent.
const RENEWED_AFTER: u32 = 90;

#[derive(Debug)]
pub(crate) struct Session {
    wire: Wire,
    versions: Versions,
    /// Whether anything was answered since the handshake.
    answered: bool,
    /// When the login is renewed, if it has an end.
    renew_at: Option<Instant>,
    config: SessionConfig,
}

/// How to open sessions.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    pub(crate) client_id: String,
    /// For the connection's set-up, and for each answer.
    pub(crate) patience: Duration,
    pub(crate) transport: Transport,
    pub(crate) sasl: Option<SaslConfig>,
}

impl SessionConfig {
    /// As a producer of these settings connects. Reads the files that they name.
    pub(crate) fn of(config: &ProducerConfig) -> Result<Self, TlsError> {
        Ok(Self {
            client_id: config.client_id.clone(),
            patience: config.connection_setup_timeout,
            transport: Transport::new(config)?,
            sasl: config.sasl.clone(),
        })
    }

    /// The same for questions that nobody should wait long for: as for a request, if that is less.
    pub(super) fn for_questions(config: &ProducerConfig) -> Result<Self, TlsError> {
        let sessions = Self::of(config)?;
        let patience = sessions.patience.min(config.request_timeout);
        Ok(Self { patience, ..sessions })
    }

    fn log_in(&self) -> Result<Option<Login>, LoginError> {
        let Some(sasl) = &self.sasl else { return Ok(None) };
        let seeds = driver::seeds();
        let seeds = seeds.map_err(|error| LoginError::NoRandomness(error.to_string()))?;
        Ok(Some(Login::new(sasl, &mut Nonces::new(seeds.nonces))?))
    }

    /// Runs a derivation where its time harms nobody.
    async fn derive(&self, derivation: Derivation) -> Result<SaltedPassword, LoginError> {
        let salted = self.sasl.as_ref().map(|sasl| sasl.salted.clone()).unwrap_or_default();
        let derived = tokio::task::spawn_blocking(move || salted.derive(&derivation)).await;
        // Only of a runtime that ends.
        derived.map_err(|_| LoginError::OutOfOrder)
    }
}

/// The IP addresses of a broker's name. Not empty.
pub(super) async fn resolve(
    address: &Address,
    config: &SessionConfig,
) -> Result<Vec<SocketAddr>, SessionError> {
    let patience = config.patience;
    let resolving = timeout(patience, net::resolve(address)).await;
    let timed_out = |_| SessionError::ResolveTimeout { host: address.host.clone(), patience };
    Ok(resolving.map_err(timed_out)??)
}

/// A connection to the first of these IP addresses of a broker that answers.
pub(super) async fn dial(
    address: &Address,
    found: Vec<SocketAddr>,
    config: &SessionConfig,
) -> Result<TcpStream, SessionError> {
    let patience = config.patience;
    let dialling = timeout(patience, net::dial_found(address, found)).await;
    let timed_out = |_| SessionError::ConnectTimeout { address: address.clone(), patience };
    Ok(dialling.map_err(timed_out)??)
}

/// A session that is being opened: a connection that stands, and the first words on it.
#[derive(Debug)]
pub(super) struct Opening {
    wire: Wire,
    config: SessionConfig,
    handshake: Handshake,
    /// What the handshake came to, if it is over.
    outcome: Option<(Versions, Option<Duration>)>,
}

impl Opening {
    /// Encrypts the connection if that is wanted, and says how. Nothing of Kafka's is said yet.
    pub(super) async fn over(
        stream: TcpStream,
        address: &Address,
        config: &SessionConfig,
    ) -> Result<(Exchange, Option<String>), SessionError> {
        let patience = config.patience;
        let securing = timeout(patience, Exchange::over(stream, address, &config.transport)).await;
        let timed_out = |_| SessionError::TlsTimeout { address: address.clone(), patience };
        Ok(securing.map_err(timed_out)??)
    }

    /// Takes the credentials, if there are any.
    pub(super) fn new(
        exchange: Exchange,
        address: &Address,
        config: &SessionConfig,
    ) -> Result<Self, SessionError> {
        let login = config.log_in().map_err(|cause| SessionError::Handshake {
            address: address.clone(),
            cause: cause.into(),
        })?;
        let wire = Wire { address: address.clone(), exchange, next_correlation_id: 0 };
        Ok(Self { wire, config: config.clone(), handshake: Handshake::new(login), outcome: None })
    }

    /// Asks the broker what it speaks, and nothing more.
    pub(super) async fn learn_versions(&mut self) -> Result<Versions, SessionError> {
        loop {
            let known = self.outcome.map(|(versions, _)| versions);
            if let Some(versions) = known.or_else(|| self.handshake.versions()) {
                return Ok(versions);
            }
            self.step().await?;
        }
    }

    /// Logs in if that is wanted. The login is good for so long; for ever, if `None`.
    pub(super) async fn log_in(mut self) -> Result<(Session, Option<Duration>), SessionError> {
        let (versions, lifetime) = loop {
            match self.outcome {
                Some(outcome) => break outcome,
                None => self.step().await?,
            }
        };
        let Self { wire, config, .. } = self;
        let renew_at = renew_at(lifetime);
        Ok((Session { wire, versions, answered: false, renew_at, config }, lifetime))
    }

    /// One request, and what its answer leads to.
    async fn step(&mut self) -> Result<(), SessionError> {
        let Self { wire, config, handshake, outcome } = self;
        let address = wire.address.clone();
        let refused = |cause| SessionError::Handshake { address: address.clone(), cause };
        let (api, version) = handshake.next().map_err(refused)?;
        let request = |header: RequestHeader<'_>| handshake.request(header).unwrap_or_default();
        let body = wire.ask((api, version), &config.client_id, config.patience, request).await?;
        match handshake.answered(version, &body).map_err(refused)? {
            Step::Ready(versions, lifetime) => *outcome = Some((versions, lifetime)),
            Step::Ask => {}
            Step::Derive(derivation) => {
                let salted = config.derive(derivation).await;
                let salted = salted.map_err(|cause| refused(cause.into()))?;
                handshake.derived(&salted).map_err(refused)?;
            }
        }
        Ok(())
    }
}

/// Requests and their answers, in turn.
#[derive(Debug)]
struct Wire {
    address: Address,
    exchange: Exchange,
    next_correlation_id: i32,
}

/// What is asked, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    api: ApiKey,
    /// No version above it.
    cap: i16,
    /// How long the broker may take on purpose.
    wait: Duration,
}

impl Question {
    pub(crate) const fn of(api: ApiKey) -> Self {
        Self { api, cap: i16::MAX, wait: Duration::ZERO }
    }

    #[cfg_attr(
        not(any(feature = "cli", test)),
        expect(dead_code, reason = "only reading topics back has a use for it")
    )]
    pub(crate) const fn up_to_version(self, cap: i16) -> Self {
        Self { cap, ..self }
    }

    pub(crate) const fn that_may_take(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

/// Why a broker cannot be asked, or does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("{0}{LOGIN_HINT}")]
    LoginWanted(NetError),
    #[error("{address} did not answer {api} within {patience:?}{}", hint(*.api))]
    Timeout { address: Address, api: ApiKey, patience: Duration },
    #[error("cannot resolve {host:?} within {patience:?}")]
    ResolveTimeout { host: String, patience: Duration },
    #[error("cannot connect to {address} within {patience:?}")]
    ConnectTimeout { address: Address, patience: Duration },
    #[error(
        "{address} did not answer the TLS handshake within {patience:?}: does its port speak TLS?"
    )]
    TlsTimeout { address: Address, patience: Duration },
    #[error("{address}: {cause}")]
    Handshake { address: Address, cause: HandshakeError },
    #[error("{address}: {cause}")]
    Login { address: Address, cause: LoginError },
    #[error("{address}: the answer to {api} makes no sense: {cause}")]
    Decode { address: Address, api: ApiKey, cause: DecodeError },
    #[error("{address} speaks no version of {api} that ottla speaks")]
    NoCommonVersion { address: Address, api: ApiKey },
}

const fn hint(api: ApiKey) -> &'static str {
    match api {
        ApiKey::ApiVersions => ": is it a Kafka broker, and one without TLS?",
        _ => "",
    }
}

impl Session {
    /// A session with the first broker that answers; the last one's error, if none does.
    pub(crate) async fn connect_any(
        bootstrap: &[Address],
        config: &SessionConfig,
    ) -> Result<Self, SessionError> {
        let (last, others) = bootstrap.split_last().expect("a valid configuration names a broker");
        for address in others {
            match Self::connect(address, config).await {
                Ok(session) => return Ok(session),
                Err(error) => tracing::warn!(%address, "broker cannot be used: {error}"),
            }
        }
        Self::connect(last, config).await
    }

    pub(crate) async fn connect(
        address: &Address,
        config: &SessionConfig,
    ) -> Result<Self, SessionError> {
        let patience = config.patience;
        let connecting = timeout(patience, Exchange::connect(address, &config.transport));
        let exchange = connecting
            .await
            .map_err(|_| SessionError::ConnectTimeout { address: address.clone(), patience })??;
        Opening::new(exchange, address, config)?.log_in().await.map(|(session, _)| session)
    }

    /// The highest version of an API that both sides speak.
    pub(super) fn version_of(&self, api: ApiKey) -> Option<i16> {
        self.versions.choose(api)
    }

    /// Sends the request that `encode` makes, in the highest version that both sides speak, and has
    /// its answer read by `decode`.
    pub(crate) async fn call<T>(
        &mut self,
        question: Question,
        encode: impl FnOnce(RequestHeader<'_>) -> Vec<Bytes>,
        decode: impl FnOnce(i16, &Bytes) -> Result<T, DecodeError>,
    ) -> Result<T, SessionError> {
        if self.renew_at.is_some_and(|at| at <= driver::now()) {
            let lifetime = renew_login(&mut self.wire, &self.config, self.versions).await?;
            self.renew_at = renew_at(lifetime);
        }
        let Question { api, cap, wait } = question;
        let address = &self.wire.address;
        let no_version = || SessionError::NoCommonVersion { address: address.clone(), api };
        let version = self.versions.choose_within(api, cap).ok_or_else(no_version)?;
        let patience = self.config.patience + wait;
        let asking = self.wire.ask((api, version), &self.config.client_id, patience, encode);
        let body = match asking.await {
            Err(SessionError::Net(cause)) if !self.answered && self.config.sasl.is_none() => {
                return Err(SessionError::LoginWanted(cause));
            }
            answer => answer?,
        };
        self.answered = true;
        decode(version, &body).map_err(|cause| self.wire.nonsense(api, cause))
    }
}

fn renew_at(lifetime: Option<Duration>) -> Option<Instant> {
    lifetime.map(|lifetime| driver::now() + lifetime * RENEWED_AFTER / 100)
}

impl Wire {
    /// Sends what `encode` makes, and returns the body of the answer.
    async fn ask(
        &mut self,
        (api, version): (ApiKey, i16),
        client_id: &str,
        patience: Duration,
        encode: impl FnOnce(RequestHeader<'_>) -> Vec<Bytes>,
    ) -> Result<Bytes, SessionError> {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(0);
        let header = RequestHeader { api, version, correlation_id, client_id };
        let answer = timeout(patience, self.exchange.ask(encode(header))).await;
        let timed_out = |_| SessionError::Timeout { address: self.address.clone(), api, patience };
        let frame = answer.map_err(timed_out)??;
        let due = messages::correlation_id(&frame).and_then(|id| match id == correlation_id {
            true => messages::response_body(api, version, &frame),
            false => Err(DecodeError { what: "correlation id", offset: 0 }),
        });
        due.map_err(|cause| self.nonsense(api, cause))
    }

    fn nonsense(&self, api: ApiKey, cause: DecodeError) -> SessionError {
        SessionError::Decode { address: self.address.clone(), api, cause }
    }
}

async fn renew_login(
    wire: &mut Wire,
    config: &SessionConfig,
    versions: Versions,
) -> Result<Option<Duration>, SessionError> {
    let address = wire.address.clone();
    let refused = |cause| SessionError::Login { address: address.clone(), cause };
    let Some(mut login) = config.log_in().map_err(refused)? else { return Ok(None) };
    loop {
        let (api, version) = login.next(&versions).map_err(refused)?;
        let request = |header: RequestHeader<'_>| login.request(header).unwrap_or_default();
        let body = wire.ask((api, version), &config.client_id, config.patience, request).await?;
        match login.answered(version, &body).map_err(refused)? {
            Progress::Done(lifetime) => return Ok(lifetime),
            Progress::Ask => {}
            Progress::Derive(derivation) => {
                let salted = config.derive(derivation).await.map_err(refused)?;
                login.derived(&salted).map_err(refused)?;
            }
        }
    }
}
