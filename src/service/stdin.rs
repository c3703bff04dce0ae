//! Traces or rows on standard input, one a line (NDJSON).
//!
//! Reads no faster than Kafka takes them: a full queue makes it wait.

use super::intake::{Exporter, Intake};
use crate::exporter::ReceiveError;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

/// Longest line, in bytes.
const LINE_SIZE_MAX: usize = 20 << 20;

/// Longer than the exporter itself waits for room.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Accepts items up to the end of input. Returns how many lines held something else.
///
/// # Errors
///
/// The system's error when standard input breaks.
pub(super) fn read<E: Exporter>(
    intake: &Intake<E>,
    kind: E::Kind,
) -> BoxFuture<'_, io::Result<u64>> {
    // Boxed where every exporter is meant: of a certain one, rustc cannot tell that it is `Send`
    // (<https://github.com/rust-lang/rust/issues/100013>).
    read_lines(intake, kind).boxed()
}

async fn read_lines<E: Exporter>(intake: &Intake<E>, kind: E::Kind) -> io::Result<u64> {
    let mut input = BufReader::with_capacity(64 << 10, tokio::io::stdin());
    let mut line = Vec::new();
    let mut refused = 0;
    for number in 1_u64.. {
        line.clear();
        let limit = u64::try_from(LINE_SIZE_MAX).unwrap_or(u64::MAX);
        if (&mut input).take(limit).read_until(b'\n', &mut line).await? == 0 {
            break;
        }
        if line.len() == LINE_SIZE_MAX && !line.ends_with(b"\n") {
            let message = format!("line {number} is longer than {LINE_SIZE_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        let body = line.strip_suffix(b"\n").unwrap_or(&line);
        let word = |error: &ReceiveError| {
            let (ReceiveError::Malformed { column, reason, .. }
            | ReceiveError::Invalid { column, reason, .. }) = error;
            format!("column {column}: {reason}")
        };
        let receipt = intake.arrive().take(kind, body, PATIENCE, word).await;
        refused += receipt.malformed.count;
        for error in receipt.malformed.errors.iter().chain(&receipt.undelivered.errors) {
            tracing::error!("standard input, line {number}, {error}");
        }
        if let Some(stopped) = receipt.stopped {
            return Err(io::Error::other(format!("line {number} was not accepted: {stopped:?}")));
        }
    }
    Ok(refused)
}
