//! `ottla check`: whether `ottla start` with the same flags would work.
//!
//! Decides which topics are looked at, how the steps of a probe are shown, and the exit code. What is
//! tried, and what counts as failed, is the probe's.

use super::Exit;
use super::sources::{Settled, Sources, start_broker};
use super::terminal::{Style, harmless, say};
use crate::exporter::bifrost::{BifrostConfig, BifrostError};
use crate::exporter::otlp::{Effective, Origin, OtlpConfig};
use crate::exporter::tensorzero::{ConfigError, TensorZeroConfig};
use crate::producer::{ProbeStatus, ProbeStep, ProbeTopic, ProducerConfig, probe};
use crate::service::{ServiceConfig, ServiceError};
use clap::Args;

#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    sources: Sources,
}

/// What is probed.
struct Target {
    /// Who publishes there.
    exporter: &'static str,
    producer: ProducerConfig,
    topics: Vec<ProbeTopic>,
}

impl Check {
    pub(super) async fn run(self) -> Result<(), Exit> {
        let Settled { mut service, effective, notes } = self.sources.settle()?;
        let broker = match self.sources.is_dev() {
            true => {
                let broker = start_broker(&mut service).await?;
                let address = broker.bootstrap().join(",");
                say(&format!(
                    "--dev: the embedded broker on {address} instead of the configured ones"
                ));
                Some(broker)
            }
            false => None,
        };
        let mut failed = Vec::new();
        let targets = targets(&service)?;
        for target in &targets {
            if targets.len() > 1 {
                say(&format!("exporter {}", target.exporter));
            }
            probe(&target.producer, &target.topics, |step| {
                show_step(&step);
                failed.extend(step.status.is_failure().then_some(step));
            })
            .await?;
        }
        if let Some(broker) = broker {
            broker.shutdown().await;
        }
        say("");
        show_options(&effective);
        for note in notes {
            say(&format!("note: {}", harmless(&note)));
        }
        conclude(&failed)
    }
}

fn targets(service: &ServiceConfig) -> Result<Vec<Target>, Exit> {
    let otlp = service.otlp.as_ref().map(of_otlp);
    let bifrost = service.bifrost.as_ref().map(of_bifrost).transpose();
    let bifrost = bifrost.map_err(|error| Exit::from(ServiceError::Bifrost(error)))?;
    let tensorzero = service.tensorzero.as_ref().map(of_tensorzero).transpose();
    let tensorzero = tensorzero.map_err(|error| Exit::new(Exit::USAGE, error))?;
    Ok(otlp.into_iter().chain(bifrost).chain(tensorzero).collect())
}

/// Those that senders may name are looked at too, which a start does not do.
fn of_otlp(config: &OtlpConfig) -> Target {
    let mut topics = config.probe_topics();
    topics.extend(config.probe_topics_of_senders());
    Target { exporter: "kafka", producer: config.producer.clone(), topics }
}

fn of_bifrost(config: &BifrostConfig) -> Result<Target, BifrostError> {
    let producer = config.producer()?;
    Ok(Target { exporter: "bifrost", producer, topics: config.probe_topics() })
}

fn of_tensorzero(config: &TensorZeroConfig) -> Result<Target, ConfigError> {
    let producer = config.producer()?;
    Ok(Target { exporter: "tensorzero", producer, topics: config.probe_topics() })
}

fn show_step(step: &ProbeStep) {
    let style = Style::of_stdout();
    let word = match step.status {
        ProbeStatus::Passed => style.green("ok   "),
        ProbeStatus::Warned => style.bold("warn "),
        ProbeStatus::Failed | ProbeStatus::Missing => style.red("FAIL "),
        ProbeStatus::Skipped => style.dim("-    "),
    };
    say(format!("{word} {:<11} {}", step.name, harmless(&step.told)).trim_end());
}

/// A line for each: name, value, origin.
fn show_options(options: &[Effective]) {
    const VALUE_WIDTH_MAX: usize = 40;
    let shown = |value: &str| match value {
        "" => "-".to_owned(),
        value => harmless(value),
    };
    let width = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or_default();
    let names = width(&mut options.iter().map(|option| option.name.chars().count()));
    let values = width(&mut options.iter().map(|option| shown(&option.value).chars().count()));
    let values = values.min(VALUE_WIDTH_MAX);
    for Effective { name, value, origin } in options {
        let origin = match origin {
            None => "default",
            Some(Origin::File) => "file",
            Some(Origin::Environment) => "environment",
            Some(Origin::Flag) => "flag",
        };
        say(&format!("{:<names$}  {:<values$}  {origin}", harmless(name), shown(value)));
    }
}

fn conclude(failed: &[ProbeStep]) -> Result<(), Exit> {
    if failed.is_empty() {
        return Ok(());
    }
    let only_missing = failed.iter().all(|step| step.status == ProbeStatus::Missing);
    let code = if only_missing { Exit::USAGE } else { Exit::UNREACHABLE };
    let mut names: Vec<_> = failed.iter().map(|step| step.name).collect();
    names.dedup();
    Err(Exit::new(code, format!("it would not work: see {}", names.join(", "))))
}
