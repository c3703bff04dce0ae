//! Frames: the length-prefixed units of a Kafka connection.
//!
//! Decides where one response ends and the next begins, and which length is absurd. Feeds on bytes,
//! not on a socket. Memory grows with the bytes that arrived, never with the length announced.

use bytes::{Buf, Bytes, BytesMut};
use std::fmt;

/// Bytes of the length in front of each frame.
pub const PREFIX_SIZE: usize = 4;

/// Splits a stream of bytes into frames.
///
/// ```
/// use ottla::protocol::frame::FrameDecoder;
///
/// let mut decoder = FrameDecoder::new(1024);
/// decoder.feed(&[0, 0, 0, 2, b'h']);
/// assert_eq!(decoder.next_frame(), Ok(None));
/// decoder.feed(b"i");
/// assert_eq!(decoder.next_frame().unwrap().unwrap(), "hi");
/// ```
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    size_max: usize,
}

impl FrameDecoder {
    /// A decoder that refuses frames of more than `size_max` bytes.
    pub fn new(size_max: usize) -> Self {
        Self { buffer: BytesMut::new(), size_max }
    }

    /// Appends bytes of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer's end, for reading a socket straight into it: what is appended is fed.
    pub fn buffer_mut(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Takes the next whole frame, without its length; `None` until more bytes have come.
    ///
    /// # Errors
    ///
    /// `FrameError` when the length cannot be that of a Kafka frame. The stream has lost its
    /// boundaries then, and the connection can only be closed.
    pub fn next_frame(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_SIZE>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes(*prefix);
        let size = usize::try_from(length)
            .ok()
            .filter(|size| *size <= self.size_max)
            .ok_or_else(|| FrameError::new(*prefix, self.size_max))?;
        if self.buffer.len() - PREFIX_SIZE < size {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_SIZE);
        Ok(Some(self.buffer.split_to(size).freeze()))
    }
}

/// A length that no Kafka frame has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError {
    /// The four bytes that stood where the length should be.
    pub prefix: [u8; PREFIX_SIZE],
    /// The largest size accepted, in bytes.
    pub size_max: usize,
    /// What seems to answer instead of a Kafka broker.
    pub peer: ForeignPeer,
}

/// What the first bytes of an answer give away about the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignPeer {
    /// An HTTP server.
    Http,
    /// A TLS listener that was spoken to in plaintext.
    Tls,
    /// An SSH server.
    Ssh,
    /// Nothing recognised.
    Unknown,
}

impl FrameError {
    fn new(prefix: [u8; PREFIX_SIZE], size_max: usize) -> Self {
        let peer = match &prefix {
            b"HTTP" => ForeignPeer::Http,
            b"SSH-" => ForeignPeer::Ssh,
            // a TLS record: alert (21) or handshake (22), version 3.x
            [0x15 | 0x16, 0x03, ..] => ForeignPeer::Tls,
            _ => ForeignPeer::Unknown,
        };
        Self { prefix, size_max, peer }
    }
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            ForeignPeer::Http => f.write_str("an HTTP server answered, not a Kafka broker"),
            ForeignPeer::Ssh => f.write_str("an SSH server answered, not a Kafka broker"),
            ForeignPeer::Tls => f.write_str("the peer speaks TLS on this port, we spoke plaintext"),
            ForeignPeer::Unknown => {
                let length = i32::from_be_bytes(self.prefix);
                write!(f, "not a Kafka broker: it announced a frame of {length} bytes")?;
                write!(f, ", the most accepted is {}", self.size_max)
            }
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_length_beyond_the_cap_or_below_zero_is_refused_without_waiting_for_it() {
        for prefix in [[0x7f, 0xff, 0xff, 0xff], [0xff; 4], [0, 0, 1, 1]] {
            let mut decoder = FrameDecoder::new(256);
            decoder.feed(&prefix);
            assert_eq!(decoder.next_frame().unwrap_err().peer, ForeignPeer::Unknown);
        }
    }

    #[test]
    fn other_protocols_are_named() {
        for (bytes, text) in [
            (&b"HTTP/1.1 400 Bad Request"[..], "an HTTP server answered, not a Kafka broker"),
            (b"\x15\x03\x03\0\x02\x02\x46", "the peer speaks TLS on this port, we spoke plaintext"),
            (b"SSH-2.0-OpenSSH", "an SSH server answered, not a Kafka broker"),
        ] {
            let mut decoder = FrameDecoder::new(100 << 20);
            decoder.feed(bytes);
            assert_eq!(decoder.next_frame().unwrap_err().to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn any_split_of_the_same_bytes_yields_the_same_frames(
            frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in proptest::collection::vec(1_usize..17, 1..60),
        ) {
            let mut stream = Vec::new();
            for frame in &frames {
                stream.extend_from_slice(&u32::try_from(frame.len()).unwrap().to_be_bytes());
                stream.extend_from_slice(frame);
            }
            let mut decoder = FrameDecoder::new(64);
            let mut decoded = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let (fed, left) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                decoder.feed(fed);
                rest = left;
                while let Some(frame) = decoder.next_frame().unwrap() {
                    decoded.push(frame.to_vec());
                }
            }
            prop_assert_eq!(decoded, frames);
        }
    }
}
