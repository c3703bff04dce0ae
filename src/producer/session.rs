//! A connection for one question at a time, for everything beside the record path.
//!
//! The start-up probe, topic creation and reading back ask seldom and in turn; they share the
//! handshake and the sockets of the producer, and none of its queues.

use super::config::Address;
use super::handshake::{Handshake, HandshakeError, Step, Versions};
use super::net::{Exchange, NetError};
use crate::protocol::DecodeError;
use crate::protocol::messages::{self, ApiKey, RequestHeader};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::timeout;

#[derive(Debug)]
pub(crate) struct Session {
    address: Address,
    exchange: Exchange,
    versions: Versions,
    client_id: String,
    next_correlation_id: i32,
    patience: Duration,
}

/// How to open sessions.
#[derive(Debug, Clone)]
pub(crate) struct SessionConfig {
    pub(crate) client_id: String,
    /// For the connection's set-up, and for each answer.
    pub(crate) patience: Duration,
    pub(crate) response_size_max: usize,
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
    #[error("{address} did not answer {api} within {patience:?}{}", hint(*.api))]
    Timeout { address: Address, api: ApiKey, patience: Duration },
    #[error("cannot connect to {address} within {patience:?}")]
    ConnectTimeout { address: Address, patience: Duration },
    #[error("{address}: {cause}")]
    Handshake { address: Address, cause: HandshakeError },
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
        let SessionConfig { client_id, patience, response_size_max } = config.clone();
        let connecting = timeout(patience, Exchange::connect(address, response_size_max));
        let mut exchange = connecting
            .await
            .map_err(|_| SessionError::ConnectTimeout { address: address.clone(), patience })??;
        let versions = timeout(patience, shake_hands(&mut exchange, address, &client_id))
            .await
            .map_err(|_| SessionError::Timeout {
            address: address.clone(),
            api: ApiKey::ApiVersions,
            patience,
        })??;
        let address = address.clone();
        Ok(Self { address, exchange, versions, client_id, next_correlation_id: 0, patience })
    }

    /// Sends the request that `encode` makes, in the highest version that both sides speak, and has
    /// its answer read by `decode`.
    pub(crate) async fn call<T>(
        &mut self,
        question: Question,
        encode: impl FnOnce(RequestHeader<'_>) -> Vec<Bytes>,
        decode: impl FnOnce(i16, &Bytes) -> Result<T, DecodeError>,
    ) -> Result<T, SessionError> {
        let Question { api, cap, wait } = question;
        let no_version = || SessionError::NoCommonVersion { address: self.address.clone(), api };
        let version = self.versions.choose_within(api, cap).ok_or_else(no_version)?;
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.checked_add(1).unwrap_or(0);
        let header = RequestHeader { api, version, correlation_id, client_id: &self.client_id };
        let patience = self.patience + wait;
        let answer = timeout(patience, self.exchange.ask(encode(header))).await;
        let frame = answer.map_err(|_| SessionError::Timeout {
            address: self.address.clone(),
            api,
            patience,
        })??;
        answer_body(&frame, api, version, correlation_id)
            .and_then(|body| decode(version, &body))
            .map_err(|cause| SessionError::Decode { address: self.address.clone(), api, cause })
    }
}

async fn shake_hands(
    exchange: &mut Exchange,
    address: &Address,
    client_id: &str,
) -> Result<Versions, SessionError> {
    let api = ApiKey::ApiVersions;
    let mut handshake = Handshake::new();
    loop {
        let frame = exchange.ask(handshake.request(0, client_id)).await?;
        let body = answer_body(&frame, api, 0, 0).map_err(|cause| SessionError::Decode {
            address: address.clone(),
            api,
            cause,
        })?;
        match handshake.answered(&body) {
            Ok(Step::Ready(versions)) => return Ok(versions),
            Ok(Step::Ask) => {}
            Err(cause) => return Err(SessionError::Handshake { address: address.clone(), cause }),
        }
    }
}

fn answer_body(
    frame: &Bytes,
    api: ApiKey,
    version: i16,
    correlation_id: i32,
) -> Result<Bytes, DecodeError> {
    if messages::correlation_id(frame)? != correlation_id {
        return Err(DecodeError { what: "correlation id", offset: 0 });
    }
    messages::response_body(api, version, frame)
}
