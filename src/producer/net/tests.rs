//! Sockets against real ones: dialling, writing, and TLS with every kind of certificate.

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

mod tls;
