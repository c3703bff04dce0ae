//! The thread behind the exporters of an SDK.
//!
//! Decides where requests are sent from: a thread of ours with a runtime of ours. The SDK calls
//! exporters from threads without a runtime, or from the one thread of a runtime that stands still
//! meanwhile; clocks here go on in both cases, so that every wait ends by its timeout. What is sent
//! and what its end means is left to [`KafkaExporter`](super::KafkaExporter).
//!
//! Telemetry is suppressed on this thread and on those that its runtime starts: a client that logs
//! into its own exporter would never come to rest.

use super::SdkError;
use crate::exporter::otlp::{OtlpConfig, OtlpError, OtlpExporter};
use opentelemetry::Context;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// For what was accepted, if nobody shut down before the last exporter was dropped.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How much later than it should the thread may answer.
const GRACE: Duration = Duration::from_secs(1);

/// A way to the thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Client {
    exporter: Arc<OtlpExporter>,
    runtime: Handle,
    /// Whether nobody else sends by this exporter, so that it is closed with the client.
    owned: bool,
    /// Never sent on: the thread waits for its being dropped.
    _running: oneshot::Sender<()>,
}

impl Client {
    /// Starts a thread with an exporter of its own; `tell` is called on it.
    pub(super) fn start(
        config: OtlpConfig,
        tell: impl FnOnce(Result<Self, SdkError>) + Send + 'static,
    ) -> Result<(), SdkError> {
        let open = async { OtlpExporter::start(config).await.map(Arc::new) };
        spawn(move || run(true, open, tell))
    }

    /// Starts a thread over an exporter that is another's; `tell` is called on it.
    pub(super) fn over(
        exporter: Arc<OtlpExporter>,
        tell: impl FnOnce(Result<Self, SdkError>) + Send + 'static,
    ) -> Result<(), SdkError> {
        spawn(move || run(false, async { Ok(exporter) }, tell))
    }

    /// What is sent by.
    pub(super) const fn exporter(&self) -> &Arc<OtlpExporter> {
        &self.exporter
    }

    /// Runs something on the thread. The future that comes back may be awaited anywhere, and is ready
    /// with `None` if the thread ended first.
    pub(super) fn run<F>(
        &self,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + Send + use<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let running = self.runtime.spawn(future);
        async { running.await.ok() }
    }

    /// Blocks the present thread, whether it belongs to a runtime or not, until everything that was
    /// accepted has ended, or for up to `patience`.
    pub(super) fn flush(&self, patience: Duration) -> OTelSdkResult {
        let exporter = Arc::clone(&self.exporter);
        let flushed = async move { timeout(patience, exporter.flush()).await.is_ok() };
        run_blocking(&self.runtime, patience, flushed)
    }

    /// The same. What has not ended then is given up, if this was the last way to the thread and the
    /// exporter is its own.
    pub(super) fn shut_down(client: Arc<Self>, patience: Duration) -> OTelSdkResult {
        let exporter = Arc::clone(&client.exporter);
        let runtime = client.runtime.clone();
        // The thread lives for as long as this does.
        let last = Arc::into_inner(client);
        let closes = last.as_ref().is_some_and(|client| client.owned);
        let ended = async move {
            let flushed = timeout(patience, exporter.flush()).await.is_ok();
            if closes {
                exporter.close(Duration::ZERO).await;
            }
            flushed
        };
        run_blocking(&runtime, patience, ended)
    }
}

fn run_blocking(
    runtime: &Handle,
    patience: Duration,
    in_time: impl Future<Output = bool> + Send + 'static,
) -> OTelSdkResult {
    let (done, ended) = mpsc::sync_channel(1);
    drop(runtime.spawn(async move {
        // Whoever gave up does not listen.
        let _ = done.send(in_time.await);
    }));
    match ended.recv_timeout(patience.saturating_add(GRACE)) {
        Ok(true) => Ok(()),
        Ok(false) | Err(mpsc::RecvTimeoutError::Timeout) => Err(OTelSdkError::Timeout(patience)),
        // Another was the last, and has closed.
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(OTelSdkError::AlreadyShutdown),
    }
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Result<(), SdkError> {
    let spawned = thread::Builder::new().name("ottla-sdk".to_owned()).spawn(run);
    spawned.map(drop).map_err(SdkError::Thread)
}

/// The thread: opens an exporter, tells, and stands by until the client is dropped.
fn run(
    owned: bool,
    open: impl Future<Output = Result<Arc<OtlpExporter>, OtlpError>>,
    tell: impl FnOnce(Result<Client, SdkError>),
) {
    let _suppressed = Context::enter_telemetry_suppressed_scope();
    let built = Builder::new_current_thread().enable_all().on_thread_start(suppress).build();
    let runtime = match built {
        Ok(runtime) => runtime,
        Err(error) => return tell(Err(SdkError::Thread(error))),
    };
    let exporter = match runtime.block_on(open) {
        Ok(exporter) => exporter,
        Err(error) => return tell(Err(error.into())),
    };
    let (running, ended) = oneshot::channel();
    let handle = runtime.handle().clone();
    tell(Ok(Client { exporter: Arc::clone(&exporter), runtime: handle, owned, _running: running }));
    runtime.block_on(async {
        // An error is what the end looks like.
        let _ = ended.await;
        if owned {
            exporter.close(CLOSE_TIMEOUT).await;
        }
    });
}

/// For the life of a thread, so that the guard is never dropped.
fn suppress() {
    std::mem::forget(Context::enter_telemetry_suppressed_scope());
}

#[cfg(test)]
#[cfg(feature = "broker")]
mod tests {
    use super::*;
    use crate::broker::{BrokerConfig, EmbeddedBroker};
    use crate::producer::ProducerConfig;
    use tokio::task::spawn_blocking;

    #[tokio::test]
    async fn telemetry_is_suppressed_wherever_the_client_works() {
        let broker = EmbeddedBroker::start(BrokerConfig::default()).await.unwrap();
        let config = OtlpConfig::new(ProducerConfig::new(broker.bootstrap()).unwrap());
        let (tell, told) = oneshot::channel();
        Client::start(config, |started| drop(tell.send(started))).unwrap();
        let client = told.await.unwrap().unwrap();
        let suppressed = Context::is_current_telemetry_suppressed;
        assert!(!suppressed());
        assert_eq!(client.run(async move { suppressed() }).await, Some(true));
        let beside = client.run(async move { spawn_blocking(suppressed).await.unwrap() });
        assert_eq!(beside.await, Some(true));
        assert!(!suppressed());
    }
}
