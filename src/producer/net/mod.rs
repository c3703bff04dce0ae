//! Sockets: bytes to and from one broker, in frames.
//!
//! Knows how to reach an address, where a frame ends and how to write one without copying it. Knows
//! no message: what the bytes mean is the caller's.

use super::config::Address;
use crate::protocol::frame::{FrameDecoder, FrameError};
use bytes::{Buf, Bytes};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Room made for each read.
const READ_SIZE: usize = 16 << 10;

/// Time for which an address is dialled alone while there is another (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// Pieces handed to the system in one write.
const PIECES_MAX: usize = 64;

/// What a connection reports.
#[derive(Debug)]
pub(super) enum NetEvent {
    /// It stands.
    Connected,
    /// The peer sent a frame.
    Frame(Bytes),
    /// The frame that was handed over with this id is with the system.
    Written(i32),
    /// It could not be made, or is gone; nothing follows.
    Closed(NetError),
}

/// A frame to write, in pieces.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) pieces: Vec<Bytes>,
    /// Report when it is written.
    pub(super) report: Option<i32>,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NetError {
    address: Address,
    fault: Fault,
}

#[derive(Debug)]
enum Fault {
    Resolve(io::Error),
    NoAddress,
    Connect(io::Error),
    Read(io::Error),
    Write(io::Error),
    /// The peer closed it, before it had sent anything or later.
    Eof {
        spoke: bool,
    },
    Frame(FrameError),
}

impl NetError {
    const fn new(address: Address, fault: Fault) -> Self {
        Self { address, fault }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.fault {
            Fault::Resolve(error) => write!(f, "cannot resolve {:?}: {error}", address.host),
            Fault::NoAddress => write!(f, "cannot resolve {:?}: it has no address", address.host),
            Fault::Connect(error) => write!(f, "cannot connect to {address}: {error}"),
            Fault::Read(error) => write!(f, "connection to {address} lost: {error}"),
            Fault::Write(error) => write!(f, "connection to {address} lost while writing: {error}"),
            Fault::Eof { spoke: true } => write!(f, "{address} closed the connection"),
            Fault::Eof { spoke: false } => write!(
                f,
                "{address} closed the connection without a word: is it a Kafka broker, and does it \
                 want TLS or SASL?"
            ),
            Fault::Frame(error) => write!(f, "{address}: {error}"),
        }
    }
}

impl std::error::Error for NetError {}

/// Connects to the first of its IP addresses that answers, trying each in turn (KIP-302). Its name is
/// resolved anew each time.
pub(super) async fn connect(address: &Address) -> Result<TcpStream, NetError> {
    let fault = |fault| NetError::new(address.clone(), fault);
    let found = tokio::net::lookup_host((address.host.as_str(), address.port))
        .await
        .map_err(|error| fault(Fault::Resolve(error)))?;
    dial_in_turn(found).await.map_err(fault)
}

/// Dials one after the other, each with a head start only: one that answers nothing at all would
/// else use up the time of those behind it.
async fn dial_in_turn(candidates: impl Iterator<Item = SocketAddr>) -> Result<TcpStream, Fault> {
    let mut dials = JoinSet::new();
    let mut last = Fault::NoAddress;
    let mut candidates = candidates.peekable();
    loop {
        if let Some(candidate) = candidates.next() {
            dials.spawn(dial(candidate));
        }
        let patience = if candidates.peek().is_some() { HEAD_START } else { Duration::MAX };
        match timeout(patience, dials.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => last = Fault::Connect(error),
            // Only of a runtime that ends.
            Ok(Some(Err(ended))) => last = Fault::Connect(ended.into()),
            Ok(None) => return Err(last),
            Err(_) => {}
        }
    }
}

async fn dial(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // A request must not wait for the acknowledgement of the one before it.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Carries one connection from dialling to its end, and reports all of it.
///
/// Ends when the peer closes or breaks it, and when `outgoing` is closed.
pub(super) async fn carry(
    address: Address,
    response_size_max: usize,
    outgoing: UnboundedReceiver<Outgoing>,
    report: impl Fn(NetEvent),
) {
    let stream = match connect(&address).await {
        Ok(stream) => stream,
        Err(error) => return report(NetEvent::Closed(error)),
    };
    report(NetEvent::Connected);
    let (reader, writer) = stream.into_split();
    let fault = tokio::select! {
        fault = read_frames(reader, response_size_max, &report) => fault,
        fault = write_frames(writer, outgoing, &report) => match fault {
            Some(fault) => fault,
            None => return,
        },
    };
    report(NetEvent::Closed(NetError::new(address, fault)));
}

async fn read_frames(
    mut reader: OwnedReadHalf,
    response_size_max: usize,
    report: &impl Fn(NetEvent),
) -> Fault {
    let mut decoder = FrameDecoder::new(response_size_max);
    let mut spoke = false;
    loop {
        decoder.buffer_mut().reserve(READ_SIZE);
        match reader.read_buf(decoder.buffer_mut()).await {
            Ok(0) => return Fault::Eof { spoke },
            Ok(_) => spoke = true,
            Err(error) => return Fault::Read(error),
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => report(NetEvent::Frame(frame)),
                Ok(None) => break,
                Err(error) => return Fault::Frame(error),
            }
        }
    }
}

/// `None` when there is nothing more to write.
async fn write_frames(
    mut writer: OwnedWriteHalf,
    mut outgoing: UnboundedReceiver<Outgoing>,
    report: &impl Fn(NetEvent),
) -> Option<Fault> {
    while let Some(Outgoing { pieces, report: id }) = outgoing.recv().await {
        if let Err(error) = write_pieces(&mut writer, pieces).await {
            return Some(Fault::Write(error));
        }
        if let Some(id) = id {
            report(NetEvent::Written(id));
        }
    }
    None
}

/// Writes all pieces, in order, from where they lie.
async fn write_pieces(
    writer: &mut (impl AsyncWrite + Unpin),
    pieces: Vec<Bytes>,
) -> io::Result<()> {
    let mut pieces = VecDeque::from(pieces);
    while !pieces.is_empty() {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut used = 0;
        for (slice, piece) in slices.iter_mut().zip(&pieces) {
            *slice = IoSlice::new(piece);
            used += 1;
        }
        let mut written = writer.write_vectored(&slices[..used]).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        while let Some(front) = pieces.front_mut() {
            if front.len() > written {
                front.advance(written);
                break;
            }
            written -= front.len();
            pieces.pop_front();
        }
    }
    Ok(())
}

/// A connection for one question at a time.
#[derive(Debug)]
pub(super) struct Exchange {
    address: Address,
    stream: TcpStream,
    decoder: FrameDecoder,
    spoke: bool,
}

impl Exchange {
    pub(super) async fn connect(
        address: &Address,
        response_size_max: usize,
    ) -> Result<Self, NetError> {
        let stream = connect(address).await?;
        let decoder = FrameDecoder::new(response_size_max);
        Ok(Self { address: address.clone(), stream, decoder, spoke: false })
    }

    /// Writes a frame and reads the next one.
    pub(super) async fn ask(&mut self, pieces: Vec<Bytes>) -> Result<Bytes, NetError> {
        self.exchange(pieces).await.map_err(|fault| NetError::new(self.address.clone(), fault))
    }

    async fn exchange(&mut self, pieces: Vec<Bytes>) -> Result<Bytes, Fault> {
        write_pieces(&mut self.stream, pieces).await.map_err(Fault::Write)?;
        loop {
            if let Some(frame) = self.decoder.next_frame().map_err(Fault::Frame)? {
                return Ok(frame);
            }
            self.decoder.buffer_mut().reserve(READ_SIZE);
            let read = self.stream.read_buf(self.decoder.buffer_mut()).await;
            match read.map_err(Fault::Read)? {
                0 => return Err(Fault::Eof { spoke: self.spoke }),
                _ => self.spoke = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    /// Takes a few bytes at a time.
    struct Trickle {
        written: Vec<u8>,
        step: usize,
    }

    impl AsyncWrite for Trickle {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.step);
            self.written.extend_from_slice(&bytes[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            let taken = all.len().min(self.step);
            self.written.extend_from_slice(&all[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// F13
    #[tokio::test]
    async fn addresses_that_refuse_or_do_not_answer_lead_to_the_next() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let open = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = open.local_addr().map(|address| (open, address)).unwrap();
        // Nobody is there (RFC 5737), and mostly nobody says so.
        let nobody: SocketAddr = "192.0.2.1:9092".parse().unwrap();
        for dead in [&[closed][..], &[nobody], &[nobody, closed], &[closed, nobody]] {
            let candidates = dead.iter().copied().chain([open.1]);
            let stream = dial_in_turn(candidates).await.unwrap();
            assert_eq!(stream.peer_addr().unwrap(), open.1);
        }
        let none = dial_in_turn([closed, closed].into_iter()).await.unwrap_err();
        assert!(matches!(none, Fault::Connect(_)), "{none:?}");
        assert!(matches!(dial_in_turn([].into_iter()).await, Err(Fault::NoAddress)));
    }

    #[tokio::test]
    async fn pieces_arrive_whole_and_in_order_however_little_the_socket_takes() {
        let pieces: Vec<_> =
            (0..200_u8).map(|byte| Bytes::from(vec![byte; usize::from(byte % 7) + 1])).collect();
        for step in [1, 3, 64, 10_000] {
            let mut writer = Trickle { written: Vec::new(), step };
            write_pieces(&mut writer, pieces.clone()).await.unwrap();
            assert_eq!(writer.written, pieces.concat());
        }
    }
}
