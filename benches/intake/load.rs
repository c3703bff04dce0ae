//! The client: requests made beforehand, sent on a few streams at once until all are taken.

use super::{Fallible, spans};
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Requests that take turns.
const DISTINCT: usize = 16;

/// Before anything is measured.
const WARM_UP: i64 = 20;

/// gRPC's RESOURCE_EXHAUSTED: send it again.
const EXHAUSTED: &[u8] = b"8";

/// Before a request is sent again.
const PAUSE: Duration = Duration::from_millis(20);

/// What one run sends.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Messages of gRPC, prefix and all.
    requests: Arc<Vec<Bytes>>,
    pub(crate) spans_each: usize,
    count: i64,
    connections: usize,
    /// Requests at once on each connection.
    streams: usize,
    /// As large as the server takes them, or no larger than this.
    frame_size_max: Option<usize>,
}

impl Load {
    pub(crate) fn new(spans_each: usize, bytes: usize) -> Self {
        let requests: Vec<_> =
            (0..DISTINCT).map(|n| message(&spans::request(n * spans_each, spans_each))).collect();
        let count = (bytes / requests[0].len()) as i64;
        Self {
            requests: Arc::new(requests),
            spans_each,
            count,
            connections: 1,
            streams: 4,
            frame_size_max: None,
        }
    }

    /// The same, on so many connections with so many requests at once on each.
    pub(crate) fn on(self, connections: usize, streams: usize) -> Self {
        Self { connections, streams, ..self }
    }

    /// The same, in frames of 16 KiB, as grpc-go sends them whatever the server takes.
    pub(crate) fn in_small_frames(self) -> Self {
        Self { frame_size_max: Some(16 << 10), ..self }
    }

    pub(crate) const fn is_in_small_frames(&self) -> bool {
        self.frame_size_max.is_some()
    }

    pub(crate) const fn spans(&self) -> u64 {
        self.count as u64 * self.spans_each as u64
    }

    pub(crate) fn request_size(&self) -> usize {
        self.requests[0].len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.count as usize * self.request_size()
    }

    /// The distinct requests, one behind the other, in pieces of about this size.
    pub(crate) fn batches(&self, size: usize) -> Vec<Vec<u8>> {
        self.requests.concat().chunks(size).map(<[u8]>::to_vec).collect()
    }

    pub(crate) fn warm_up(&self) -> Self {
        Self { count: WARM_UP, ..self.clone() }
    }

    /// Sends it all; how many times a request was refused, and sent again.
    pub(crate) async fn send(&self, address: &str) -> Fallible<u64> {
        let left = Arc::new(AtomicI64::new(self.count));
        let refused = Arc::new(AtomicU64::new(0));
        let mut streams = JoinSet::new();
        for _ in 0..self.connections {
            let connection = connect(address, self.frame_size_max).await?;
            for _ in 0..self.streams {
                let sender = Sender { connection: connection.clone(), address: address.to_owned() };
                let requests = Arc::clone(&self.requests);
                let (left, refused) = (Arc::clone(&left), Arc::clone(&refused));
                streams.spawn(async move { sender.send_all(&requests, &left, &refused).await });
            }
        }
        while let Some(ended) = streams.join_next().await {
            ended??;
        }
        Ok(refused.load(Ordering::Relaxed))
    }
}

struct Sender {
    connection: SendRequest<Full<Bytes>>,
    address: String,
}

impl Sender {
    async fn send_all(
        mut self,
        requests: &[Bytes],
        left: &AtomicI64,
        refused: &AtomicU64,
    ) -> Fallible<()> {
        loop {
            let number = left.fetch_sub(1, Ordering::Relaxed) - 1;
            if number < 0 {
                return Ok(());
            }
            while !self.send(requests[number as usize % requests.len()].clone()).await? {
                refused.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Whether it was taken.
    async fn send(&mut self, message: Bytes) -> Fallible<bool> {
        let uri = format!(
            "http://{}/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            self.address
        );
        let request = Request::post(uri)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(message))?;
        self.connection.ready().await?;
        let (head, body) = self.connection.send_request(request).await?.into_parts();
        let body = body.collect().await?;
        let status = head.headers.get("grpc-status");
        let status = status.or_else(|| body.trailers()?.get("grpc-status")).cloned();
        match status.as_ref().map(|status| status.as_bytes()) {
            // Nothing but the prefix: a partial success is none.
            Some(b"0") if body.to_bytes()[..] == [0; 5] => Ok(true),
            Some(EXHAUSTED) => Ok(false),
            _ => Err(format!("not taken: {head:?}").into()),
        }
    }
}

async fn connect(
    address: &str,
    frame_size_max: Option<usize>,
) -> Fallible<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut builder = http2::Builder::new(TokioExecutor::new());
    if let Some(size) = frame_size_max {
        // No frame holds more than a stream may have waiting to be written.
        builder.max_send_buf_size(size);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    // It ends with its last sender.
    tokio::spawn(connection);
    Ok(sender)
}

fn message(request: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(5 + request.len());
    message.put_u8(0);
    message.put_u32(request.len() as u32);
    message.put_slice(request);
    message.freeze()
}
