//! `ottla tail`: a topic read back, decoded.

use super::connection::Connection;
use super::reader::{Read, TopicReader};
use super::terminal::{Style, harmless};
use super::{Exit, asked_to_stop, waterfall};
use crate::producer::topic_name_fault;
use clap::{Args, ValueEnum};
use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};
use std::time::Duration;

/// How long a fetch waits for news while following.
const FOLLOW_WAIT: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(super) struct Tail {
    /// The topic.
    topic: String,
    #[command(flatten)]
    connection: Connection,
    /// Show this many of the last records of each partition; "all" shows every one.
    #[arg(long, short = 'n', default_value = "10", value_parser = last, value_name = "N")]
    last: Last,
    /// Keep showing new records until interrupted.
    #[arg(long, short)]
    follow: bool,
    /// How to show a record.
    #[arg(long, default_value = "auto", value_name = "HOW")]
    format: Format,
}

#[derive(Debug, Clone, Copy)]
struct Last(Option<i64>);

fn last(text: &str) -> Result<Last, String> {
    match text {
        "all" => Ok(Last(None)),
        _ => match text.parse::<u32>() {
            Ok(count) => Ok(Last(Some(count.into()))),
            Err(_) => Err("give a number, or \"all\"".to_owned()),
        },
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Traces as a waterfall, anything else as key and value.
    Auto,
    /// Keys and values as they are, separated by a tab.
    Raw,
    /// Values alone, as they are, one a line.
    Value,
}

impl Tail {
    pub(super) async fn run(self) -> Result<(), Exit> {
        if let Some(fault) = topic_name_fault(&self.topic) {
            let topic = &self.topic;
            return Err(Exit::new(Exit::USAGE, format!("{topic:?} is not a topic name: {fault}")));
        }
        let config = self.connection.config()?;
        let mut reader = TopicReader::open(&config, &self.topic, self.last.0).await?;
        let reading = async {
            loop {
                let wait = if self.follow { FOLLOW_WAIT } else { Duration::ZERO };
                let records = reader.read(wait).await?;
                if !self.show(&records)? || !self.follow && reader.is_at_end() {
                    return Ok(());
                }
            }
        };
        tokio::select! {
            ended = reading => ended,
            () = asked_to_stop() => Ok(()),
        }
    }

    /// False when nobody reads the output any more.
    fn show(&self, records: &[Read]) -> Result<bool, Exit> {
        let mut text = Vec::new();
        for read in records {
            self.render(read, &mut text);
        }
        let mut output = std::io::stdout().lock();
        match output.write_all(&text).and_then(|()| output.flush()) {
            Ok(()) => Ok(true),
            // As in `ottla tail t | head`.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Exit::new(Exit::FAILED, format!("cannot write: {error}"))),
        }
    }

    fn render(&self, Read { partition, record }: &Read, text: &mut Vec<u8>) {
        let value = record.value.as_deref().unwrap_or_default();
        match self.format {
            Format::Value => text.extend_from_slice(value),
            Format::Raw => {
                text.extend_from_slice(record.key.as_deref().unwrap_or_default());
                text.push(b'\t');
                text.extend_from_slice(value);
            }
            Format::Auto => {
                let style = Style::of_stdout();
                let mut shown =
                    style.dim(&format!("partition {partition} offset {}", record.offset));
                shown.push('\n');
                match waterfall::render(value, style) {
                    Some(waterfall) => shown += &waterfall,
                    None => shown += &plain(record.key.as_deref(), record.value.as_deref()),
                }
                text.extend_from_slice(shown.as_bytes());
            }
        }
        text.push(b'\n');
    }
}

fn plain(key: Option<&[u8]>, value: Option<&[u8]>) -> String {
    let show = |bytes: Option<&[u8]>| match bytes {
        None => "null".to_owned(),
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => harmless(text),
            Err(_) => format!("{} bytes", bytes.len()),
        },
    };
    let mut shown = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(shown, "key {}\n{}", show(key), show(value));
    shown
}
