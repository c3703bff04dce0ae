//! What encryption and logins cost, each against doing without, in one run.
//!
//! Producer and embedded broker share this process, so CPU is that of both ends: encrypted on one,
//! decrypted on the other. Every row is done in turns, and the median of the rounds counts.
//!
//! ```text
//! cargo bench --bench security
//! cargo bench --bench security --features ring    the same, and a second provider
//! ```
//!
//! Expected, on a processor with AES instructions: TLS costs less than 1 CPU-second per GB, and a
//! handshake less than a millisecond; a SCRAM login is its 4,096 iterations, some milliseconds, once.

#![expect(clippy::disallowed_methods, reason = "a bench reads the clock")]

use ottla::broker::{BrokerConfig, BrokerSasl, BrokerTls, EmbeddedBroker};
use ottla::producer::{
    Admin, CryptoProvider, Pem, Producer, ProducerConfig, Record, Roots, SaslConfig, TlsConfig,
};
use ottla::sasl::{SaslMechanism, Secret};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

type Fallible<T> = Result<T, Box<dyn Error>>;

/// Rounds of which the median counts.
const ROUNDS: usize = 5;

/// Bytes sent in one turn.
const TURN_BYTES: usize = 128 << 20;

const VALUE_SIZE: usize = 10_000;

/// Connections, or logins, of one turn.
const CONNECTIONS: usize = 100;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn main() -> Fallible<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        throughput().await?;
        handshakes().await?;
        logins().await
    })
}

fn providers() -> Vec<Option<CryptoProvider>> {
    let mut providers = vec![None, Some(CryptoProvider::Graviola)];
    if cfg!(feature = "ring") {
        providers.push(Some(CryptoProvider::Ring));
    }
    if cfg!(feature = "aws-lc-rs") {
        providers.push(Some(CryptoProvider::AwsLcRs));
    }
    providers
}

fn named(provider: Option<CryptoProvider>) -> String {
    provider.map_or_else(|| "plain text".to_owned(), |provider| format!("TLS, {provider}"))
}

async fn broker(provider: Option<CryptoProvider>) -> Fallible<EmbeddedBroker> {
    let mut config = BrokerConfig::default();
    if provider.is_some() {
        config = config.with_tls(BrokerTls::new(file("server.pem"), file("server.key")));
    }
    config.retention_bytes = 8 << 20;
    Ok(EmbeddedBroker::start(config).await?)
}

fn config(broker: &EmbeddedBroker, provider: Option<CryptoProvider>) -> Fallible<ProducerConfig> {
    let mut config = ProducerConfig::new(broker.bootstrap())?;
    config.tls = provider.map(|provider| {
        let mut tls = TlsConfig::default();
        tls.roots = Roots::These(vec![Pem::File(file("ca.pem"))]);
        tls.provider = provider;
        tls
    });
    Ok(config)
}

/// Median of the rounds of each, done in turns.
fn medians(mut rounds: Vec<Vec<f64>>) -> Vec<f64> {
    for round in &mut rounds {
        round.sort_by(f64::total_cmp);
    }
    rounds.iter().map(|round| round[round.len() / 2]).collect()
}

async fn throughput() -> Fallible<()> {
    println!("{:<24} {:>10} {:>12}", "records of 10 KB", "MB/s", "CPU-s/GB");
    let providers = providers();
    let (mut walls, mut cpus) =
        (vec![Vec::new(); providers.len()], vec![Vec::new(); providers.len()]);
    for _ in 0..ROUNDS {
        for (index, provider) in providers.iter().enumerate() {
            let broker = broker(*provider).await?;
            let producer = Producer::start(config(&broker, *provider)?)?;
            let value = vec![b'v'; VALUE_SIZE];
            producer.send(Record::to("t").value(&value)).await?;
            let (began, cpu) = (Instant::now(), cpu_seconds()?);
            let records = (0..TURN_BYTES / VALUE_SIZE).map(|_| Record::to("t").value(&value));
            let ends = producer.send_all(records).await;
            assert!(ends.failed.is_empty(), "{:?}", ends.failed);
            walls[index].push(began.elapsed().as_secs_f64());
            cpus[index].push(cpu_seconds()? - cpu);
            producer.close(Duration::from_secs(5)).await;
            broker.shutdown().await;
        }
    }
    let gigabytes = TURN_BYTES as f64 / 1e9;
    for ((provider, wall), cpu) in providers.iter().zip(medians(walls)).zip(medians(cpus)) {
        let (rate, cost) = (gigabytes * 1e3 / wall, cpu / gigabytes);
        println!("{:<24} {rate:>10.0} {cost:>12.2}", named(*provider));
    }
    println!();
    Ok(())
}

async fn handshakes() -> Fallible<()> {
    println!("{:<24} {:>10} {:>14}", "connections", "a second", "CPU-us each");
    let providers = providers();
    let (mut walls, mut cpus) =
        (vec![Vec::new(); providers.len()], vec![Vec::new(); providers.len()]);
    for _ in 0..ROUNDS {
        for (index, provider) in providers.iter().enumerate() {
            let broker = broker(*provider).await?;
            let config = config(&broker, *provider)?;
            let (began, cpu) = (Instant::now(), cpu_seconds()?);
            for _ in 0..CONNECTIONS {
                Admin::connect(&config).await?;
            }
            walls[index].push(began.elapsed().as_secs_f64());
            cpus[index].push(cpu_seconds()? - cpu);
            broker.shutdown().await;
        }
    }
    for ((provider, wall), cpu) in providers.iter().zip(medians(walls)).zip(medians(cpus)) {
        let (rate, cost) = (CONNECTIONS as f64 / wall, cpu * 1e6 / CONNECTIONS as f64);
        println!("{:<24} {rate:>10.0} {cost:>14.0}", named(*provider));
    }
    println!("\nEach is a new client: no session is resumed, certificates are read anew.\n");
    Ok(())
}

async fn logins() -> Fallible<()> {
    println!("{:<24} {:>12} {:>12}", "logins, plain text", "first, us", "again, us");
    let broker = BrokerConfig::default().with_sasl(BrokerSasl::new([("user", "pencil")]));
    let broker = EmbeddedBroker::start(broker).await?;
    for mechanism in SaslMechanism::ALL {
        let mut rounds = vec![Vec::new(); 2];
        for _ in 0..ROUNDS {
            let mut config = config(&broker, None)?;
            let (user, password) = (Secret::new("user"), Secret::new("pencil"));
            config.sasl = Some(SaslConfig::new(mechanism, user, password)?);
            for round in &mut rounds {
                let began = Instant::now();
                Admin::connect(&config).await?;
                round.push(began.elapsed().as_secs_f64() * 1e6);
            }
        }
        let medians = medians(rounds);
        println!("{:<24} {:>12.0} {:>12.0}", mechanism.name(), medians[0], medians[1]);
    }
    println!("\nA first login derives the key; those after it, on any connection, have it.");
    broker.shutdown().await;
    Ok(())
}

/// What all threads of this process have run, to the nanosecond (Linux).
fn cpu_seconds() -> Fallible<f64> {
    let mut nanos = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let text = fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += text.split(' ').next().unwrap_or_default().parse::<f64>()?;
    }
    Ok(nanos / 1e9)
}
