//! A proxy between a producer and the embedded broker, which sees whole requests and breaks off where
//! it is told to.
//!
//! Reads frames in both directions. In answers it puts its own port in the place of the broker's, so
//! that whoever follows metadata comes back through it.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const PRODUCE: [u8; 2] = [0, 0];
const API_VERSIONS: [u8; 2] = [0, 18];

/// Ends with the value, and its connections with it.
pub(crate) struct Proxy {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct State {
    /// Bytes of the next Produce requests that are passed on; then their connection ends.
    cuts: VecDeque<usize>,
    /// Bytes of the last Produce request that was read, its length included.
    produce_size: usize,
    /// Whether all bytes are passed on one by one.
    trickles: bool,
    connections: usize,
}

impl Proxy {
    /// A proxy to a broker of one node.
    pub(crate) async fn start(bootstrap: &[String]) -> Self {
        let upstream: SocketAddr = bootstrap[0].parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, Arc::clone(&state)));
        Self { address: own.to_string(), state, _tasks: tasks }
    }

    /// Ends the connection of the next Produce request once so many of its bytes are passed on.
    pub(crate) fn cut(&self, size: usize) {
        self.state.lock().unwrap().cuts.push_back(size);
    }

    pub(crate) fn trickle(&self) {
        self.state.lock().unwrap().trickles = true;
    }

    pub(crate) fn produce_size(&self) -> usize {
        self.state.lock().unwrap().produce_size
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Cuts that have not come to pass.
    pub(crate) fn cuts_left(&self) -> usize {
        self.state.lock().unwrap().cuts.len()
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, state: Arc<Mutex<State>>) {
    let own = listener.local_addr().unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        client.set_nodelay(true).unwrap();
        state.lock().unwrap().connections += 1;
        let state = Arc::clone(&state);
        connections.spawn(async move {
            let Ok(broker) = TcpStream::connect(upstream).await else { return };
            broker.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_broker, to_broker) = broker.into_split();
            tokio::select! {
                () = pass_requests(from_client, to_broker, &state) => {}
                () = pass_answers(from_broker, to_client, [upstream, own], &state) => {}
            }
        });
    }
}

async fn pass_requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &Mutex<State>) {
    let mut is_first = true;
    while let Some(frame) = read_frame(&mut from).await {
        let api = [frame[4], frame[5]];
        assert!(!is_first || api == API_VERSIONS, "every connection begins with ApiVersions");
        is_first = false;
        let cut = if api == PRODUCE {
            let mut state = state.lock().unwrap();
            state.produce_size = frame.len();
            state.cuts.pop_front()
        } else {
            None
        };
        let part = &frame[..cut.unwrap_or(frame.len()).min(frame.len())];
        if write(&mut to, part, state).await.is_none() || cut.is_some() {
            return;
        }
    }
}

async fn pass_answers(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    [upstream, own]: [SocketAddr; 2],
    state: &Mutex<State>,
) {
    let endpoint = |address: SocketAddr| {
        let host = address.ip().to_string().into_bytes();
        [&host[..], &i32::from(address.port()).to_be_bytes()].concat()
    };
    let (theirs, ours) = (endpoint(upstream), endpoint(own));
    while let Some(mut frame) = read_frame(&mut from).await {
        let size = theirs.len();
        for at in 0..=frame.len().saturating_sub(size) {
            if frame[at..].starts_with(&theirs) {
                frame[at..at + size].copy_from_slice(&ours);
            }
        }
        if write(&mut to, &frame, state).await.is_none() {
            return;
        }
    }
}

/// A frame with its length; `None` at the end.
async fn read_frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).await.ok()?;
    let size = usize::try_from(i32::from_be_bytes(length)).expect("a length");
    assert!(size < 200_000_000, "{size} bytes");
    let mut frame = vec![0; 4 + size];
    frame[..4].copy_from_slice(&length);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

async fn write(to: &mut OwnedWriteHalf, bytes: &[u8], state: &Mutex<State>) -> Option<()> {
    let step = if state.lock().unwrap().trickles { 1 } else { bytes.len().max(1) };
    for piece in bytes.chunks(step) {
        to.write_all(piece).await.ok()?;
        tokio::task::yield_now().await;
    }
    Some(())
}
