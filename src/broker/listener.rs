//! The sockets of a node: connections, frames, and the order of answers.
//!
//! Decides nothing about a request's content. A connection serves one request after the other, as
//! Kafka does, so answers leave in the order of the requests however many are sent ahead. Bytes that
//! are no request end the connection. A fault may break any of that. This is the only file of the
//! broker that waits.

use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::Shared;
use super::dispatch::{Api, Call, Reply};
use super::faults::{Admission, AnswerFault, RequestFault};
use super::security::{Door, Passage};
use crate::protocol::ErrorCode;
use crate::protocol::frame::FrameDecoder;

/// Room made before each read of a socket.
const READ_SIZE: usize = 64 << 10;

/// Pause after the system refused a connection, of which it then mostly refuses the next too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A node that accepts connections until it is stopped or dropped.
#[derive(Debug)]
pub(crate) struct Node {
    acceptors: Vec<JoinHandle<()>>,
    connections: Connections,
}

type Connections = Arc<Mutex<JoinSet<()>>>;

impl Node {
    /// Serves the connections of `listeners` as node `id`.
    pub(crate) fn start(id: i32, listeners: Vec<TcpListener>, shared: &Arc<Shared>) -> Self {
        let connections = Connections::default();
        let accept = |listener| accept(id, listener, Arc::clone(&connections), Arc::clone(shared));
        #[expect(clippy::disallowed_methods, reason = "the handles are kept, and aborted on drop")]
        let acceptors = listeners.into_iter().map(|listener| tokio::spawn(accept(listener)));
        Self { acceptors: acceptors.collect(), connections }
    }

    /// Cuts every connection; new ones are accepted.
    pub(crate) fn disconnect(&self) {
        lock(&self.connections).abort_all();
    }

    /// Ends when the listeners and connections are closed.
    pub(crate) async fn stop(mut self) {
        for acceptor in self.acceptors.drain(..) {
            acceptor.abort();
            drop(acceptor.await);
        }
        let mut connections = std::mem::take(&mut *lock(&self.connections));
        connections.shutdown().await;
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.acceptors.iter().for_each(JoinHandle::abort);
        self.disconnect();
    }
}

/// Binds the first free port of `address` from its own on, or any free port if that is 0.
pub(crate) async fn bind_next(mut address: SocketAddr) -> io::Result<TcpListener> {
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && address.port() < u16::MAX => {
                address.set_port(address.port() + 1);
            }
            bound => return bound,
        }
    }
}

async fn accept(id: i32, listener: TcpListener, connections: Connections, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let shared = Arc::clone(&shared);
                let mut connections = lock(&connections);
                while connections.try_join_next().is_some() {}
                connections.spawn(async move {
                    if let Err(error) = admit(stream, id, &shared).await {
                        tracing::debug!(node = id, %peer, %error, "connection ends");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(node = id, %error, "embedded broker cannot accept a connection");
                pause(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn admit(mut stream: TcpStream, node: i32, shared: &Shared) -> io::Result<()> {
    let admission = shared.lock().faults.admission(node);
    match admission {
        Admission::Serve => {
            stream.set_nodelay(true)?;
            match &shared.tls {
                None => serve(stream, node, shared).await,
                Some(tls) => {
                    let stream = TlsAcceptor::from(Arc::clone(tls)).accept(stream).await?;
                    serve(stream, node, shared).await
                }
            }
        }
        Admission::Hang => discard(&mut stream).await,
        Admission::Close => Ok(()),
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    node: i32,
    shared: &Shared,
) -> io::Result<()> {
    let mut door = Door::new(shared.lock().sasl.is_some(), now());
    let mut held_back = Vec::new();
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut decoder = FrameDecoder::new(shared.request_size_max);
    loop {
        while let Some(frame) = decoder.next_frame().map_err(io::Error::other)? {
            let call = Call::decode(frame, shared.profile).map_err(invalid)?;
            match answer(&call, &mut door, node, shared).await {
                Action::Reply(Reply::Frame(bytes, delay)) => {
                    pause(delay).await;
                    let fault = shared.lock().faults.take_answer(call.api);
                    if send(&mut stream, bytes, fault, &mut held_back).await?.is_break() {
                        return Ok(());
                    }
                }
                Action::Reply(Reply::Silent | Reply::NotYet) => {}
                Action::Reply(Reply::Last(bytes)) => {
                    stream.write_all(&bytes).await?;
                    return stream.shutdown().await;
                }
                Action::Reply(Reply::Close) => return Ok(()),
                Action::FallSilent => return discard(&mut stream).await,
            }
        }
        decoder.buffer_mut().reserve(READ_SIZE);
        if stream.read_buf(decoder.buffer_mut()).await? == 0 {
            return Ok(());
        }
    }
}

enum Action {
    Reply(Reply),
    FallSilent,
}

async fn answer(call: &Call, door: &mut Door, node: i32, shared: &Shared) -> Action {
    match door.passage(call.api, now()) {
        Passage::Open => {}
        Passage::TurnedAway => {
            let refusal =
                call.refuse(&mut shared.lock(), door, node, ErrorCode::ILLEGAL_SASL_STATE);
            return Action::Reply(refusal.and_close());
        }
        Passage::Closed => return Action::Reply(Reply::Close),
    }
    let fault = {
        let mut state = shared.lock();
        *state.requests.entry(call.api).or_default() += 1;
        if let Some(version) = call.served_version {
            let highest = state.versions.entry(call.api).or_insert(version);
            *highest = version.max(*highest);
        }
        state.faults.take_request(call.api)
    };
    match fault {
        Some(RequestFault::Refuse(code)) => {
            return Action::Reply(call.refuse(&mut shared.lock(), door, node, code));
        }
        Some(RequestFault::Disconnect) => return Action::Reply(Reply::Close),
        Some(RequestFault::Silence) => return Action::FallSilent,
        Some(RequestFault::Delay(delay)) => pause(delay).await,
        None => {}
    }
    Action::Reply(patiently(call, door, node, shared).await)
}

/// Serves a request now, or as soon as there is enough for it, or when its patience ends.
async fn patiently(call: &Call, door: &mut Door, node: i32, shared: &Shared) -> Reply {
    // Subscribed before the first look, so that nothing stored after that look is missed.
    let mut changes = shared.changes.subscribe();
    let reply = call.answer(&mut shared.lock(), door, node, false);
    if call.api == Api::Produce {
        shared.changes.send_replace(());
    }
    if !matches!(reply, Reply::NotYet) {
        return reply;
    }
    let later = async {
        while changes.changed().await.is_ok() {
            let reply = call.answer(&mut shared.lock(), door, node, false);
            if !matches!(reply, Reply::NotYet) {
                return reply;
            }
        }
        Reply::Close
    };
    match timeout(call.patience(), later).await {
        Ok(reply) => reply,
        Err(_) => call.answer(&mut shared.lock(), door, node, true),
    }
}

/// Writes an answer, or what a fault makes of it, and behind it those that were held back for it.
/// A break ends the connection.
async fn send(
    stream: &mut (impl AsyncWrite + Unpin),
    answer: Bytes,
    fault: Option<AnswerFault>,
    held_back: &mut Vec<Bytes>,
) -> io::Result<ControlFlow<()>> {
    match fault {
        None => stream.write_all(&answer).await?,
        Some(AnswerFault::AfterNext) => {
            held_back.push(answer);
            return Ok(ControlFlow::Continue(()));
        }
        Some(AnswerFault::Trickle(size, interval)) => {
            for piece in answer.chunks(size.max(1)) {
                stream.write_all(piece).await?;
                pause(interval).await;
            }
        }
        Some(fault) => stream.write_all(&fault.applied_to(&answer)).await?,
    }
    for late in held_back.drain(..) {
        stream.write_all(&late).await?;
    }
    // Of TLS, what the socket did not take at once waits in its buffers.
    stream.flush().await?;
    Ok(match fault {
        Some(AnswerFault::Cut(_)) => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    })
}

/// Reads and forgets until the peer closes.
async fn discard(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    tokio::io::copy(stream, &mut tokio::io::sink()).await.map(drop)
}

#[expect(clippy::disallowed_methods, reason = "logins have an end in time")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "delays are what a test asked for")]
async fn pause(delay: Duration) {
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
}

fn lock(connections: &Connections) -> MutexGuard<'_, JoinSet<()>> {
    connections.lock().unwrap_or_else(PoisonError::into_inner)
}
