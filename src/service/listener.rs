//! Connections: accepted, bounded, served by HTTP/1 or HTTP/2, whichever they speak.
//!
//! Decides how many there are, how long a sender may take for a request's head, and how they end:
//! when the service stops, idle ones are closed and the others answered first.

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 512;

/// Time for a request's head.
const HEAD_TIME: Duration = Duration::from_secs(30);

/// Requests at once on one connection of HTTP/2.
const STREAMS_MAX: u32 = 128;

/// What a connection of HTTP/2 may send ahead of being read, on one stream and in all.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// The largest frame of HTTP/2 that may come: as much as a stream may send ahead. From senders that
/// make use of it, most requests come in one then, are read in a few calls and need not be joined.
/// Memory is reserved for a frame when its head is there, for one on each connection.
const FRAME_SIZE_MAX: u32 = STREAM_WINDOW;

/// An HTTP/2 peer that says nothing for so long is asked whether it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// When the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopped` says so and the requests that had begun are answered.
pub(super) async fn serve(
    listener: TcpListener,
    routes: Router,
    mut stopped: watch::Receiver<bool>,
) {
    let (builder, graceful) = (builder(), GracefulShutdown::new());
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            // An error means that the service is gone: stopped, too.
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, permit)) = accepted else { continue };
        let service = TowerToHyperService::new(routes.clone());
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(permit);
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIME);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_SIZE_MAX)
        .keep_alive_interval(KEEP_ALIVE);
    builder
}

#[expect(clippy::disallowed_methods, reason = "there is nothing to wait for but time")]
async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Answers are small, and senders wait for them.
            let _ = stream.set_nodelay(true);
            Some((stream, permit))
        }
        Err(error) if is_of_one_connection(&error) => None,
        Err(error) => {
            tracing::error!("cannot accept a connection: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
