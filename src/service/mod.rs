//! The service: receivers in front of exporters, until it is told to stop.
//!
//! ```text
//! listener     connections, bounded
//! body         a request's bytes, bounded
//! otlp         OpenTelemetry over gRPC and HTTP   --exporter-->  Kafka
//! http, stdin  traces, rows   --intake-->         --exporter-->  Kafka
//! admin        health, readiness, metrics
//! ```
//!
//! Decides what listens, when the service ends, and what is said about everything that it took.
//! Listeners stop first; what they accepted is then delivered within the shutdown's bound.

mod admin;
use admin::Recorder;

mod arrivals;

mod body;

mod http;

mod intake;
pub use intake::Ack;

mod listener;

mod otlp;

mod stdin;

use crate::exporter::Counts;
use crate::exporter::bifrost::{BifrostConfig, BifrostError, BifrostExporter};
use crate::exporter::otlp::{OtlpConfig, OtlpError, OtlpExporter};
use crate::exporter::tensorzero::{
    DataType, TensorZeroConfig, TensorZeroError, TensorZeroExporter,
};
use axum::Router;
use axum::http::StatusCode;
use futures_util::FutureExt;
use futures_util::future::{FusedFuture, join_all};
use intake::Intake;
use otlp::OtlpIntake;
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
    /// Where Bifrost's traces are published, if they are.
    pub bifrost: Option<BifrostConfig>,
    /// Where TensorZero's rows are published, if they are.
    pub tensorzero: Option<TensorZeroConfig>,
    /// Where OpenTelemetry's signals are published, if they are.
    pub otlp: Option<OtlpConfig>,
    /// Where OTLP over gRPC is served; nowhere, if `None`.
    pub grpc: Option<SocketAddr>,
    /// Where HTTP is served; nowhere, if `None`. The paths are those of the exporters that there
    /// are.
    pub http: Option<SocketAddr>,
    /// Where health and metrics are served; nowhere, if `None`.
    pub admin: Option<SocketAddr>,
    /// What standard input holds, one a line, if it is read. The service ends with it.
    pub stdin: Option<Stdin>,
    /// When a sender is answered. Default: for Bifrost when its traces are queued, for
    /// OpenTelemetry when Kafka has them, for TensorZero as its `async_writes` says.
    pub ack: Option<Ack>,
    /// Largest message of OTLP, in bytes after decompression. Default 20 MiB.
    pub message_size_max: usize,
    /// How long accepted traces may take to be delivered when the service is told to stop. Default
    /// 10 s.
    pub shutdown_timeout: Duration,
}

impl Default for ServiceConfig {
    /// Serves nothing, and publishes nothing.
    fn default() -> Self {
        Self {
            bifrost: None,
            tensorzero: None,
            otlp: None,
            grpc: None,
            http: None,
            admin: None,
            stdin: None,
            ack: None,
            message_size_max: 20 << 20,
            shutdown_timeout: Duration::from_secs(10),
        }
    }
}

/// What standard input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// Bifrost's traces.
    Bifrost,
    /// TensorZero's rows of one kind.
    TensorZero(DataType),
}

/// Why a service does not start, or ends early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The exporter does not start.
    #[error(transparent)]
    Bifrost(#[from] BifrostError),
    /// The exporter does not start.
    #[error(transparent)]
    TensorZero(#[from] TensorZeroError),
    /// The exporter does not start.
    #[error(transparent)]
    Otlp(#[from] OtlpError),
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
    /// What became of everything that was taken in.
    pub counts: Counts,
    /// What standard input held that could not be read. Senders over HTTP are told themselves.
    pub refused: u64,
}

impl Summary {
    /// Whether everything that came in is in Kafka.
    pub const fn is_clean(&self) -> bool {
        self.counts.failed == 0 && self.counts.pending == 0 && self.refused == 0
    }
}

/// A service that is ready.
///
/// ```no_run
/// use ottla::exporter::otlp::OtlpConfig;
/// use ottla::producer::ProducerConfig;
/// use ottla::service::{Service, ServiceConfig};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let service = Service::start(ServiceConfig {
///     otlp: Some(OtlpConfig::new(ProducerConfig::new(["localhost:9092"])?)),
///     grpc: Some(([127, 0, 0, 1], 4317).into()),
///     ..ServiceConfig::default()
/// })
/// .await?;
/// let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
/// let running = tokio::spawn(service.run(async { drop(stopped.await) }));
/// // Until the program ends.
/// drop(stop);
/// println!("{:?}", running.await??.counts);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Service {
    intakes: Intakes,
    grpc: Option<TcpListener>,
    http: Option<TcpListener>,
    admin: Option<TcpListener>,
    recorder: Option<Recorder>,
    stdin: Option<Stdin>,
    shutdown_timeout: Duration,
}

/// One for each exporter that there is.
#[derive(Debug, Clone)]
struct Intakes {
    bifrost: Option<Arc<Intake<BifrostExporter>>>,
    tensorzero: Option<Arc<Intake<TensorZeroExporter>>>,
    otlp: Option<Arc<OtlpIntake>>,
}

impl Service {
    /// Starts the exporters, then the listeners: nobody is served before traces can go somewhere.
    ///
    /// # Errors
    ///
    /// `ServiceError`; see its variants.
    pub async fn start(config: ServiceConfig) -> Result<Self, ServiceError> {
        // Before anything that counts.
        let recorder = config.admin.and_then(|_| admin::recorder());
        let intakes = Intakes::start(&config).await?;
        Ok(Self {
            intakes,
            grpc: bind(config.grpc).await?,
            http: bind(config.http).await?,
            admin: bind(config.admin).await?,
            recorder,
            stdin: config.stdin,
            shutdown_timeout: config.shutdown_timeout,
        })
    }

    /// Where gRPC is served, once the system has chosen a port.
    pub fn grpc_address(&self) -> Option<SocketAddr> {
        address(self.grpc.as_ref())
    }

    /// Where HTTP is served, once the system has chosen a port.
    pub fn http_address(&self) -> Option<SocketAddr> {
        address(self.http.as_ref())
    }

    /// Where health and metrics are served, once the system has chosen a port.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        address(self.admin.as_ref())
    }

    /// Serves until `stop` is ready or standard input, if it is read, ends; then delivers what was
    /// accepted.
    ///
    /// # Errors
    ///
    /// `Stdin` when standard input breaks. What was accepted before is delivered all the same.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Summary, ServiceError> {
        let intakes = self.intakes.clone();
        let (stdin, shutdown_timeout) = (self.stdin, self.shutdown_timeout);
        let (stopping, stopped) = watch::channel(false);
        // It may end before anybody asks it to, and is asked again below.
        let serving = self.serve(&stopped).fuse();
        tokio::pin!(serving);
        let reading = intakes.read(stdin);
        let ended = tokio::select! {
            () = stop => Ok(0),
            refused = reading => refused,
            () = &mut serving => Ok(0),
        };
        stopping.send_replace(true);
        tokio::select! {
            () = intakes.close(shutdown_timeout) => {}
            // Never without what it accepted: that is delivered all the same.
            () = async { (&mut serving).await; std::future::pending().await } => {}
        }
        // Every trace has ended by now, so that senders can be answered; those still at work on a
        // request of theirs have had their time.
        if !serving.is_terminated() {
            let _ = timeout(ANSWER_TIME, &mut serving).await;
        }
        let counts = intakes.counts();
        let refused = ended.map_err(ServiceError::Stdin)?;
        Ok(Summary { counts, refused })
    }

    /// Serves on every listener; for ever, if there is none.
    async fn serve(self, stopped: &watch::Receiver<bool>) {
        let mut served = Vec::new();
        let mut add = |listener: Option<TcpListener>, routes: Router| {
            served.extend(listener.map(|l| listener::serve(l, routes, stopped.clone())));
        };
        if let Some(otlp) = &self.intakes.otlp {
            add(self.grpc, otlp::grpc::routes(otlp));
        }
        add(self.http, http_routes(&self.intakes));
        add(self.admin, admin::routes(self.recorder, self.intakes, stopped.clone()));
        if served.is_empty() {
            std::future::pending::<()>().await;
        }
        join_all(served).await;
    }
}

impl Intakes {
    async fn start(config: &ServiceConfig) -> Result<Self, ServiceError> {
        let bifrost = match &config.bifrost {
            Some(bifrost) => {
                let exporter = BifrostExporter::start(bifrost).await?;
                Some(Arc::new(Intake::new(exporter, config.ack.unwrap_or(Ack::Queue))))
            }
            None => None,
        };
        let tensorzero = match &config.tensorzero {
            Some(tensorzero) => {
                let exporter = TensorZeroExporter::start(tensorzero).await?;
                let theirs = if tensorzero.async_writes { Ack::Queue } else { Ack::Broker };
                Some(Arc::new(Intake::new(exporter, config.ack.unwrap_or(theirs))))
            }
            None => None,
        };
        let otlp = match &config.otlp {
            Some(otlp) => {
                let exporter = OtlpExporter::start(otlp.clone()).await?;
                let ack = config.ack.unwrap_or(Ack::Broker);
                Some(Arc::new(OtlpIntake::new(exporter, ack, config.message_size_max)))
            }
            None => None,
        };
        Ok(Self { bifrost, tensorzero, otlp })
    }

    /// Reads standard input to its end; never ready, if it is not read.
    async fn read(&self, stdin: Option<Stdin>) -> io::Result<u64> {
        match (stdin, &self.bifrost, &self.tensorzero) {
            (Some(Stdin::Bifrost), Some(intake), _) => stdin::read(intake, ()).await,
            (Some(Stdin::TensorZero(data_type)), _, Some(intake)) => {
                stdin::read(intake, data_type).await
            }
            _ => std::future::pending().await,
        }
    }

    /// What became of everything.
    fn counts(&self) -> Counts {
        let bifrost = self.bifrost.iter().map(|intake| intake.exporter().ledger().counts());
        let tensorzero = self.tensorzero.iter().map(|intake| intake.exporter().ledger().counts());
        let otlp = self.otlp.iter().map(|intake| intake.exporter().counts());
        bifrost.chain(tensorzero).chain(otlp).sum()
    }

    async fn close(&self, within: Duration) {
        let bifrost = async {
            if let Some(intake) = &self.bifrost {
                intake.exporter().close(within).await;
            }
        };
        let tensorzero = async {
            if let Some(intake) = &self.tensorzero {
                intake.exporter().close(within).await;
            }
        };
        let otlp = async {
            if let Some(intake) = &self.otlp {
                intake.exporter().close(within).await;
            }
        };
        tokio::join!(bifrost, tensorzero, otlp);
    }
}

fn http_routes(intakes: &Intakes) -> Router {
    let mut router = Router::new();
    let mut paths = Vec::new();
    if let Some(otlp) = &intakes.otlp {
        router = otlp::http::routes(router, otlp);
        paths.push("OTLP to /v1/traces, /v1/metrics or /v1/logs");
    }
    if let Some(bifrost) = &intakes.bifrost {
        router = http::routes(router, bifrost, [("/v1/bifrost/traces".to_owned(), ())]);
        paths.push("traces to /v1/bifrost/traces");
    }
    if let Some(tensorzero) = &intakes.tensorzero {
        let kinds = DataType::ALL.map(|kind| (format!("/v1/tensorzero/{kind}"), kind));
        router = http::routes(router, tensorzero, kinds);
        paths.push(
            "rows to /v1/tensorzero/model_inference, /v1/tensorzero/chat_inference or \
             /v1/tensorzero/json_inference",
        );
    }
    let nothing = format!("nothing here: POST {}", paths.join(", or "));
    router
        .fallback(async move || http::problem(StatusCode::NOT_FOUND, &nothing))
        .method_not_allowed_fallback(async || {
            http::problem(StatusCode::METHOD_NOT_ALLOWED, "traces are sent with POST")
        })
}

async fn bind(address: Option<SocketAddr>) -> Result<Option<TcpListener>, ServiceError> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await;
    bound.map(Some).map_err(|cause| ServiceError::Listen { address, cause })
}

fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}
