//! `ottla check`: whether `ottla start` with the same flags would work.
//!
//! Decides which topics are looked at, how the steps of a probe are shown, and the exit code. What is
//! tried, and what counts as failed, is the probe's.

use super::Exit;
use super::sources::{Settled, Sources, start_broker};
use super::terminal::{Style, harmless, say};
use crate::exporter::bifrost::{BifrostConfig, BifrostError};
use crate::exporter::otlp::{DeadLetters, Effective, Origin, OtlpConfig};
use crate::exporter::tensorzero::{ConfigError, DataType, TensorZeroConfig};
use crate::producer::{IfMissing, ProbeStatus, ProbeStep, ProbeTopic, ProducerConfig, probe};
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

fn of_otlp(config: &OtlpConfig) -> Target {
    let of_signals = [&config.topics.traces, &config.topics.metrics, &config.topics.logs];
    let of_dead_letters = config.oversize.dead_letters.iter().filter_map(|to| match to {
        DeadLetters::Topic(topic) => Some(topic),
        DeadLetters::File(_) => None,
    });
    let if_missing = match config.producer.allow_auto_create_topics {
        true => IfMissing::BrokerDecides,
        false => IfMissing::Fails,
    };
    let mut topics = Vec::<ProbeTopic>::new();
    for name in of_signals.into_iter().chain(&config.allowed_topics).chain(of_dead_letters) {
        if topics.iter().all(|topic| topic.name != *name) {
            topics.push(ProbeTopic { name: name.clone(), if_missing });
        }
    }
    Target { exporter: "kafka", producer: config.producer.clone(), topics }
}

fn of_bifrost(config: &BifrostConfig) -> Result<Target, BifrostError> {
    let if_missing = match config.auto_create_topic {
        true => IfMissing::IsCreated,
        false => IfMissing::Fails,
    };
    let topics = vec![ProbeTopic { name: config.topic.clone(), if_missing }];
    Ok(Target { exporter: "bifrost", producer: config.producer()?, topics })
}

fn of_tensorzero(config: &TensorZeroConfig) -> Result<Target, ConfigError> {
    let topics = DataType::ALL.map(|data_type| ProbeTopic {
        name: data_type.topic(&config.topic_prefix),
        if_missing: IfMissing::BrokerDecides,
    });
    let producer = config.producer()?;
    Ok(Target { exporter: "tensorzero", producer, topics: topics.into() })
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
