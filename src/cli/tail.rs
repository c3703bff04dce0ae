//! `ottla tail`: a topic read back, decoded.
//!
//! Decides how a record is shown, and when a topic has been read to its end.

use super::connection::Connection;
use super::reader::{Read, TopicReader};
use super::terminal::{Style, harmless};
use super::{Exit, asked_to_stop, waterfall};
use crate::exporter::otlp::json::from_protobuf;
use crate::exporter::otlp::{Signal, validate};
use crate::producer::topic_name_fault;
use crate::protocol::record::ConsumedRecord;
use clap::{Args, ValueEnum};
use std::io::{ErrorKind, Write};
use std::time::Duration;

/// How long a fetch waits for news while following.
const FOLLOW_WAIT: Duration = Duration::from_millis(500);

/// Fetches one after the other that may bring nothing, before the end that a broker names.
const EMPTY_READS_MAX: u32 = 20;

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
    /// LLM traces as a waterfall, OpenTelemetry as JSON, anything else as key and value.
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
            let mut empty_reads = 0;
            loop {
                let wait =
                    if self.follow || empty_reads > 0 { FOLLOW_WAIT } else { Duration::ZERO };
                let records = reader.read(wait).await?;
                empty_reads = if records.is_empty() { empty_reads + 1 } else { 0 };
                if !self.follow && empty_reads > EMPTY_READS_MAX {
                    let told = "the broker says that there is more, and returns nothing";
                    return Err(Exit::new(Exit::FAILED, told));
                }
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
                    None => shown += &plain(record),
                }
                text.extend_from_slice(shown.as_bytes());
            }
        }
        text.push(b'\n');
    }
}

fn plain(record: &ConsumedRecord) -> String {
    let key = match record.key.as_deref() {
        None => "null".to_owned(),
        Some(key) => match std::str::from_utf8(key) {
            Ok(text) => harmless(text),
            Err(_) => key.iter().map(|byte| format!("{byte:02x}")).collect(),
        },
    };
    let value = match record.value.as_deref() {
        None => "null".to_owned(),
        Some(value) => match (std::str::from_utf8(value), otlp(value)) {
            (_, Some(json)) => harmless(&json),
            (Ok(text), _) => harmless(text),
            (Err(_), _) => format!("{} bytes", value.len()),
        },
    };
    format!("key {key}\n{value}\n")
}

/// A request of OpenTelemetry as JSON, if these bytes are one. Nothing says which signal it is, but
/// hardly any request is a request of another, too.
fn otlp(value: &[u8]) -> Option<String> {
    let mut json = Vec::new();
    let request = Signal::ALL.into_iter().find_map(|signal| {
        let valid = validate(signal, value).ok()?;
        (valid.items() > 0 && valid.refused().is_none()).then_some(valid)
    })?;
    from_protobuf(&request, &mut json);
    String::from_utf8(json).ok()
}
