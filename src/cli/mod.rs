//! The command line: one file per subcommand.
//!
//! Decides names, defaults and exit codes: 0 done, 2 usage or configuration, 3 Kafka cannot be
//! reached, 4 data was not delivered, 1 anything else.

mod broker;

mod check;

mod config_file;

mod connection;

mod demo;

mod kafka_exporter;

mod reader;

mod sources;

mod start;

mod tail;

mod terminal;

mod waterfall;

use crate::exporter::bifrost::BifrostError;
use crate::exporter::otlp::{OtlpError, options};
use crate::exporter::tensorzero::TensorZeroError;
use crate::producer::{AdminError, TlsError};
use crate::sasl::Secret;
use crate::service::ServiceError;
use clap::{Parser, Subcommand};
use std::fmt;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Traces to Kafka, without librdkafka and without C.
#[derive(Debug, Parser)]
#[command(name = "ottla", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter such as
    /// `ottla=debug`.
    #[arg(long, global = true, env = "OTTLA_LOG", default_value = "info", value_name = "LEVEL")]
    log: String,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it: sample traces through the producer into an embedded broker, and back out.
    Demo(demo::Demo),
    /// Receive traces and publish them.
    Start(start::Start),
    /// Try whether `ottla start` with these flags would reach Kafka, and show what they come to.
    Check(check::Check),
    /// Run the embedded development broker, for any Kafka client.
    Broker(broker::Broker),
    /// Read a topic back, traces as a waterfall.
    Tail(tail::Tail),
}

/// How the program ends when it does not end well.
#[derive(Debug)]
pub struct Exit {
    /// The process's exit code.
    pub code: u8,
    /// One sentence.
    pub message: String,
}

impl Exit {
    const FAILED: u8 = 1;
    const USAGE: u8 = 2;
    const UNREACHABLE: u8 = 3;
    const UNDELIVERED: u8 = 4;

    fn new(code: u8, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<ServiceError> for Exit {
    fn from(error: ServiceError) -> Self {
        let code = match &error {
            ServiceError::Otlp(OtlpError::Topic(AdminError::Missing { .. })) => Self::USAGE,
            ServiceError::Bifrost(BifrostError::Connect(_) | BifrostError::Topic(_))
            | ServiceError::TensorZero(TensorZeroError::Connect(_) | TensorZeroError::Topic(_))
            | ServiceError::Otlp(OtlpError::Connect(_) | OtlpError::Topic(_)) => Self::UNREACHABLE,
            ServiceError::Bifrost(_)
            | ServiceError::TensorZero(_)
            | ServiceError::Otlp(_)
            | ServiceError::Listen { .. } => Self::USAGE,
            ServiceError::Stdin(_) => Self::UNDELIVERED,
        };
        match error {
            ServiceError::Listen { .. } => {
                let remedy = "choose another address for that endpoint";
                Self::new(code, format!("{error}; {remedy}"))
            }
            _ => Self::new(code, error),
        }
    }
}

impl From<TlsError> for Exit {
    fn from(error: TlsError) -> Self {
        Self::new(Self::USAGE, error)
    }
}

impl From<AdminError> for Exit {
    fn from(error: AdminError) -> Self {
        Self::new(Self::UNREACHABLE, error)
    }
}

impl Cli {
    /// Runs the subcommand to its end.
    ///
    /// # Errors
    ///
    /// `Exit` says why it did not end well.
    pub fn run(self) -> Result<(), Exit> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|error| Exit::new(Exit::USAGE, format!("--log {:?}: {error}", self.log)))?;
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(terminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .init();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Exit::new(Exit::FAILED, format!("no runtime: {error}")))?;
        let ended = runtime.block_on(async {
            match self.command {
                Command::Demo(demo) => demo.run().await,
                Command::Start(start) => start.run().await,
                Command::Check(check) => check.run().await,
                Command::Broker(broker) => broker.run().await,
                Command::Tail(tail) => tail.run().await,
            }
        });
        // A read of standard input cannot be called off; it must not keep the process.
        runtime.shutdown_background();
        ended
    }
}

/// Ready when the process is asked to end: SIGTERM, SIGINT, or Ctrl-C.
async fn asked_to_stop() {
    let interrupted = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
            return;
        }
    }
    // Without a handler the process ends at once, which is what was asked for.
    let _ = interrupted.await;
}

/// `1 trace`, `2 traces`.
fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// A value as it is written, or what `env.NAME` names.
fn resolved(text: &str) -> Result<String, String> {
    let secret = Secret::resolve(text, &|name| std::env::var(name).ok());
    secret.map(|secret| secret.expose().to_owned()).map_err(|error| error.to_string())
}

/// A duration as people write it: `250ms`, `10s`, `2m`; a bare number counts milliseconds.
fn duration(text: &str) -> Result<Duration, String> {
    let time = options::milliseconds(text).map(Duration::from_millis);
    time.ok_or_else(|| "write milliseconds, or a duration such as 250ms, 10s or 2m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        assert_eq!(duration("250"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("soon").unwrap_err().contains("250ms, 10s or 2m"));
        assert!(duration("3 days").unwrap_err().contains("250ms, 10s or 2m"));
    }
}
