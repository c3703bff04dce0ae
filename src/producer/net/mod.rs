//! Sockets: bytes to and from one broker, in frames, plain or through TLS.
//!
//! Knows how to reach an address, where a frame ends and how to write one without copying it. Knows
//! no message: what the bytes mean is the caller's.
//!
//! | file | decides |
//! |---|---|
//! | `tls` | whom to believe, and who we are |
//! | `pem` | how certificates and keys are read |
//! | `fault` | what is said when it does not work |

mod fault;
pub(crate) use fault::NetError;

mod pem;

mod tls;

use super::config::{Address, ProducerConfig};
use super::tls::TlsError;
use crate::protocol::frame::FrameDecoder;
use bytes::{Buf, Bytes};
use fault::{Fault, TlsFault};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tls::TlsConnector;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

/// Room made for reads.
const READ_SIZE: usize = 16 << 10;

/// Room below which more is made: answers are small, and many fit into one buffer.
const READ_SIZE_MIN: usize = 4 << 10;

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

/// How brokers are reached.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    tls: Option<Arc<TlsConnector>>,
    /// Whether brokers are told who we are.
    identified: bool,
    response_size_max: usize,
}

impl Transport {
    /// As the settings have it. Reads the files that they name, and blocks meanwhile.
    pub(crate) fn new(config: &ProducerConfig) -> Result<Self, TlsError> {
        let tls = config.tls.clone().map(TlsConnector::load).transpose()?;
        Ok(Self {
            tls: tls.map(Arc::new),
            identified: config.tls.as_ref().is_some_and(|tls| tls.identity.is_some()),
            response_size_max: config.response_size_max,
        })
    }

    /// In plain text.
    #[cfg(test)]
    pub(crate) const fn plain(response_size_max: usize) -> Self {
        Self { tls: None, identified: false, response_size_max }
    }

    async fn connect(&self, address: &Address) -> Result<Stream, Fault> {
        let found = look_up(address).await?;
        self.secure(address, dial_in_turn(found.into_iter()).await?).await
    }

    async fn secure(&self, address: &Address, stream: TcpStream) -> Result<Stream, Fault> {
        let Some(tls) = &self.tls else { return Ok(Stream::Plain(stream)) };
        match Arc::clone(tls).connect(&address.host, stream).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) => Err(Fault::Tls(TlsFault::of(error, self.identified))),
        }
    }

    /// What an error of reading or writing means.
    fn fault(&self, error: io::Error, plain: fn(io::Error) -> Fault, spoke: bool) -> Fault {
        if self.tls.is_none() {
            return plain(error);
        }
        match TlsFault::of(error, self.identified) {
            // Frames say where they end: nobody can cut one short unnoticed, and many peers do not
            // say goodbye.
            TlsFault::HungUp(None) => Fault::Eof { spoke },
            TlsFault::HungUp(Some(error)) | TlsFault::Other(error) => plain(error),
            fault => Fault::Tls(fault),
        }
    }
}

/// A connection that stands.
#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// The IP addresses of its name, which is resolved anew each time. Not empty.
async fn look_up(address: &Address) -> Result<Vec<SocketAddr>, Fault> {
    let found = tokio::net::lookup_host((address.host.as_str(), address.port)).await;
    let found: Vec<_> = found.map_err(Fault::Resolve)?.collect();
    if found.is_empty() { Err(Fault::NoAddress) } else { Ok(found) }
}

/// [`look_up`], for who tells about each step of a connection.
pub(super) async fn resolve(address: &Address) -> Result<Vec<SocketAddr>, NetError> {
    look_up(address).await.map_err(|fault| NetError::new(address.clone(), fault))
}

/// Connects to the first of these IP addresses that answers, as [`Exchange::connect`] does.
pub(super) async fn dial_found(
    address: &Address,
    found: Vec<SocketAddr>,
) -> Result<TcpStream, NetError> {
    let dialled = dial_in_turn(found.into_iter()).await;
    dialled.map_err(|fault| NetError::new(address.clone(), fault))
}

/// Connects to the first of them that answers, trying each in turn (KIP-302): one after the other, each with a head start only: one that answers nothing at all would
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
    transport: Transport,
    address: Address,
    outgoing: UnboundedReceiver<Outgoing>,
    report: impl Fn(NetEvent),
) {
    let fault = match transport.connect(&address).await {
        Ok(Stream::Plain(stream)) => {
            report(NetEvent::Connected);
            let (reader, writer) = stream.into_split();
            converse(&transport, reader, writer, outgoing, &report).await
        }
        Ok(Stream::Tls(stream)) => {
            report(NetEvent::Connected);
            let (reader, writer) = tokio::io::split(stream);
            converse(&transport, reader, writer, outgoing, &report).await
        }
        Err(fault) => Some(fault),
    };
    if let Some(fault) = fault {
        report(NetEvent::Closed(NetError::new(address, fault)));
    }
}

/// Reads and writes until one of them ends. `None` when there is nothing more to write.
async fn converse(
    transport: &Transport,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    outgoing: UnboundedReceiver<Outgoing>,
    report: &impl Fn(NetEvent),
) -> Option<Fault> {
    tokio::select! {
        fault = read_frames(transport, reader, report) => Some(fault),
        fault = write_frames(transport, writer, outgoing, report) => fault,
    }
}

async fn read_frames(
    transport: &Transport,
    mut reader: impl AsyncRead + Unpin,
    report: &impl Fn(NetEvent),
) -> Fault {
    let mut incoming = Incoming::new(transport);
    loop {
        if let Err(fault) = incoming.read(transport, &mut reader).await {
            return fault;
        }
        loop {
            match incoming.decoder.next_frame() {
                Ok(Some(frame)) => report(NetEvent::Frame(frame)),
                Ok(None) => break,
                Err(error) => return Fault::Frame(error),
            }
        }
    }
}

/// What has come in, and is not taken out yet.
#[derive(Debug)]
struct Incoming {
    decoder: FrameDecoder,
    /// Whether anything came at all.
    spoke: bool,
}

impl Incoming {
    fn new(transport: &Transport) -> Self {
        Self { decoder: FrameDecoder::new(transport.response_size_max), spoke: false }
    }

    /// Reads more. An error when there is no more.
    async fn read(
        &mut self,
        transport: &Transport,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), Fault> {
        let buffer = self.decoder.buffer_mut();
        if buffer.spare_capacity_mut().len() < READ_SIZE_MIN {
            buffer.reserve(READ_SIZE);
        }
        match reader.read_buf(buffer).await {
            Ok(0) => return Err(Fault::Eof { spoke: self.spoke }),
            Ok(_) => {}
            // Who closes with bytes of ours unread resets.
            Err(error) if !self.spoke && error.kind() == io::ErrorKind::ConnectionReset => {
                return Err(Fault::Eof { spoke: false });
            }
            Err(error) => return Err(transport.fault(error, Fault::Read, self.spoke)),
        }
        self.spoke = true;
        Ok(())
    }
}

/// `None` when there is nothing more to write.
async fn write_frames(
    transport: &Transport,
    mut writer: impl AsyncWrite + Unpin,
    mut outgoing: UnboundedReceiver<Outgoing>,
    report: &impl Fn(NetEvent),
) -> Option<Fault> {
    while let Some(Outgoing { pieces, report: id }) = outgoing.recv().await {
        if let Err(error) = write_pieces(&mut writer, pieces).await {
            return Some(transport.fault(error, Fault::Write, true));
        }
        if let Some(id) = id {
            report(NetEvent::Written(id));
        }
    }
    None
}

/// Writes all pieces, in order, from where they lie, and has nothing of them stay behind.
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
    // Of TLS, what the socket did not take at once waits in its buffers.
    writer.flush().await
}

/// A connection for one question at a time.
pub(super) struct Exchange {
    transport: Transport,
    address: Address,
    stream: Box<dyn Duplex>,
    incoming: Incoming,
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Exchange {
    pub(super) async fn connect(
        address: &Address,
        transport: &Transport,
    ) -> Result<Self, NetError> {
        let connected = transport.connect(address).await;
        let stream = connected.map_err(|fault| NetError::new(address.clone(), fault))?;
        Ok(Self::new(address, transport, stream))
    }

    /// Over a connection that stands, encrypted if that is wanted; then also how, in words.
    pub(super) async fn over(
        stream: TcpStream,
        address: &Address,
        transport: &Transport,
    ) -> Result<(Self, Option<String>), NetError> {
        let secured = transport.secure(address, stream).await;
        let stream = secured.map_err(|fault| NetError::new(address.clone(), fault))?;
        let how = match &stream {
            Stream::Plain(_) => None,
            Stream::Tls(stream) => Some(tls::in_words(stream)),
        };
        Ok((Self::new(address, transport, stream), how))
    }

    fn new(address: &Address, transport: &Transport, stream: Stream) -> Self {
        let stream: Box<dyn Duplex> = match stream {
            Stream::Plain(stream) => Box::new(stream),
            Stream::Tls(stream) => stream,
        };
        let incoming = Incoming::new(transport);
        Self { transport: transport.clone(), address: address.clone(), stream, incoming }
    }

    /// Writes a frame and reads the next one.
    pub(super) async fn ask(&mut self, pieces: Vec<Bytes>) -> Result<Bytes, NetError> {
        self.exchange(pieces).await.map_err(|fault| NetError::new(self.address.clone(), fault))
    }

    async fn exchange(&mut self, pieces: Vec<Bytes>) -> Result<Bytes, Fault> {
        let written = write_pieces(&mut self.stream, pieces).await;
        written.map_err(|error| self.transport.fault(error, Fault::Write, true))?;
        loop {
            if let Some(frame) = self.incoming.decoder.next_frame().map_err(Fault::Frame)? {
                return Ok(frame);
            }
            self.incoming.read(&self.transport, &mut self.stream).await?;
        }
    }
}

#[cfg(test)]
mod tests;
