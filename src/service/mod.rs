//! The service: receivers in front of an exporter, until it is told to stop.
//!
//! ```text
//! http, stdin  bytes of a sender   --intake-->  traces  --exporter-->  Kafka
//! ```
//!
//! Decides what listens, when the service ends, and what is said about everything that it took.
//! Listeners stop first; what they accepted is then delivered within the shutdown's bound.

mod http;

mod intake;
pub use intake::Ack;

mod stdin;

use crate::exporter::Counts;
use crate::exporter::bifrost::{BifrostConfig, BifrostError, BifrostExporter};
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use intake::Intake;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

/// Time for the answers that are due when everything has ended.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// What a service does.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// Where traces are published.
    pub bifrost: BifrostConfig,
    /// Where `POST /v1/bifrost/traces` is served; nowhere, if `None`.
    pub http: Option<SocketAddr>,
    /// Whether standard input holds traces, one a line. The service ends with it.
    pub stdin: bool,
    /// When a sender is answered.
    pub ack: Ack,
    /// How long accepted traces may take to be delivered when the service is told to stop.
    pub shutdown_timeout: Duration,
}

/// Why a service does not start, or ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The exporter does not start.
    #[error(transparent)]
    Bifrost(#[from] BifrostError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        cause: io::Error,
    },
    /// Standard input cannot be read.
    #[error("cannot read standard input: {0}")]
    Stdin(io::Error),
}

/// What a service did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// What became of the traces.
    pub counts: Counts,
    /// What standard input held that was no trace. Senders over HTTP are told themselves.
    pub refused: u64,
}

impl Summary {
    /// Whether everything that came in is in Kafka.
    pub const fn is_clean(&self) -> bool {
        self.counts.failed == 0 && self.counts.pending == 0 && self.refused == 0
    }
}

/// A service that is ready.
#[derive(Debug)]
pub struct Service {
    intake: Arc<Intake>,
    listener: Option<TcpListener>,
    stdin: bool,
    shutdown_timeout: Duration,
}

impl Service {
    /// Starts the exporter, then the listeners: nobody is served before traces can go somewhere.
    ///
    /// # Errors
    ///
    /// `ServiceError`; see its variants.
    pub async fn start(config: ServiceConfig) -> Result<Self, ServiceError> {
        let exporter = BifrostExporter::start(&config.bifrost).await?;
        let listener = match config.http {
            Some(address) => {
                let bound = TcpListener::bind(address).await;
                Some(bound.map_err(|cause| ServiceError::Listen { address, cause })?)
            }
            None => None,
        };
        let ServiceConfig { ack, stdin, shutdown_timeout, .. } = config;
        let intake = Arc::new(Intake::new(exporter, ack));
        Ok(Self { intake, listener, stdin, shutdown_timeout })
    }

    /// Where HTTP is served, once the system has chosen a port.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Serves until `stop` is ready or standard input, if it is read, ends; then delivers what was
    /// accepted.
    ///
    /// # Errors
    ///
    /// `Stdin` when standard input breaks. What was accepted before is delivered all the same.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Summary, ServiceError> {
        let Self { intake, listener, stdin, shutdown_timeout } = self;
        let (stopping, stopped) = watch::channel(false);
        let serves = listener.is_some();
        let serving = async {
            match listener {
                Some(listener) => http::serve(listener, Arc::clone(&intake), stopped).await,
                None => std::future::pending().await,
            }
        };
        // It may end before anybody asks it to, and is asked again below.
        let serving = serving.fuse();
        tokio::pin!(serving);
        let reading =
            async { if stdin { stdin::read(&intake).await } else { std::future::pending().await } };
        let ended = tokio::select! {
            () = stop => Ok(0),
            refused = reading => refused,
            () = &mut serving => Ok(0),
        };
        stopping.send_replace(true);
        tokio::select! {
            () = intake.exporter().close(shutdown_timeout) => {}
            // Never without the traces that it accepted: they are delivered all the same.
            () = async { (&mut serving).await; std::future::pending().await } => {}
        }
        if serves && !serving.is_terminated() {
            // Senders that waited for their traces' end are told it now.
            let _ = timeout(ANSWER_TIME, serving).await;
        }
        let counts = intake.exporter().ledger().counts();
        ended.map(|refused| Summary { counts, refused }).map_err(ServiceError::Stdin)
    }
}
