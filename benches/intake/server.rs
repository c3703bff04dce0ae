//! The two servers, each a process of its own, and the handle that the client has of one.
//!
//! A server prints its address, begins to measure when a line comes on standard input, and prints
//! what it took when that ends.

use super::Fallible;
use super::load::Load;
use super::watch::{Used, Watch};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use ottla::exporter::otlp::OtlpConfig;
use ottla::producer::ProducerConfig;
use ottla::protocol::Codec;
use ottla::service::{Ack, Service, ServiceConfig};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, oneshot};

/// How the service is set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) codec: Codec,
    pub(crate) buffer_mib: usize,
    /// Whether requests are answered when they are queued; otherwise, when they are delivered.
    pub(crate) ack_queued: bool,
    /// The sink's, before it answers.
    pub(crate) delay_ms: u64,
}

impl Default for Setup {
    fn default() -> Self {
        Self { codec: Codec::None, buffer_mib: 32, ack_queued: false, delay_ms: 0 }
    }
}

impl Setup {
    fn arguments(&self) -> [String; 3] {
        [self.codec.name().to_owned(), self.buffer_mib.to_string(), self.ack_queued.to_string()]
    }

    pub(crate) fn parse(arguments: &[String]) -> Fallible<Self> {
        Ok(Self {
            codec: arguments[0].parse()?,
            buffer_mib: arguments[1].parse()?,
            ack_queued: arguments[2].parse()?,
            ..Self::default()
        })
    }

    fn service(self, sink: &str) -> Fallible<ServiceConfig> {
        let mut producer = ProducerConfig::new([sink])?;
        producer.compression = self.codec.into();
        producer.buffer_memory = self.buffer_mib << 20;
        let mut otlp = OtlpConfig::new(producer);
        otlp.topics.traces = "p1".to_owned();
        Ok(ServiceConfig {
            otlp: Some(otlp),
            grpc: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            ack: Some(if self.ack_queued { Ack::Queue } else { Ack::Broker }),
            ..ServiceConfig::default()
        })
    }
}

pub(crate) fn run_ottla(sink: &str, setup: Setup) -> Fallible<()> {
    let runtime = runtime()?;
    let service = runtime.block_on(Service::start(setup.service(sink)?))?;
    println!("{}", service.grpc_address().ok_or("no gRPC")?);
    let (stop, stopped) = oneshot::channel::<()>();
    let (ended, end) = std::sync::mpsc::channel();
    // Beside the runtime, which outlives it: threads that have ended are counted no more.
    let measuring = std::thread::spawn(move || {
        measure(|| {
            // What is queued costs as much as the rest.
            drop(stop);
            Ok(end.recv()?)
        })
    });
    let summary = runtime.block_on(service.run(async { drop(stopped.await) }))?;
    if !summary.is_clean() {
        return Err(format!("{summary:?}").into());
    }
    ended.send(())?;
    measuring.join().map_err(|_| "it panicked")?
}

/// Reads every request, and drops it; or first writes it to whoever listens at `onward`.
pub(crate) fn run_floor(onward: Option<&str>) -> Fallible<()> {
    let runtime = runtime()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let onward = match onward {
        Some(address) => Some(runtime.block_on(TcpStream::connect(address))?),
        None => None,
    };
    println!("{}", listener.local_addr()?);
    let onward = Arc::new(Mutex::new(onward));
    let routes = Router::new().fallback(move |request| drop_request(request, Arc::clone(&onward)));
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let service = TowerToHyperService::new(routes.clone());
            tokio::spawn(async move {
                Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            });
        }
    });
    measure(|| Ok(()))
}

/// Reads, and drops what it reads.
pub(crate) fn run_drain() -> Fallible<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::io::copy(&mut listener.accept()?.0, &mut std::io::sink())?;
    Ok(())
}

async fn drop_request(request: Request, onward: Arc<Mutex<Option<TcpStream>>>) -> Response {
    let Ok(body) = request.into_body().collect().await else { return ().into_response() };
    let body = std::hint::black_box(body.to_bytes());
    if let Some(stream) = &mut *onward.lock().await {
        stream.write_all(&body).await.expect("it reads as long as we write");
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async { Some(Ok(trailers)) });
    ([("content-type", "application/grpc")], Body::new(body)).into_response()
}

/// As the program's own, but that no thread ends before its time has been read.
fn runtime() -> Fallible<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    Ok(builder.enable_all().thread_keep_alive(Duration::from_secs(3600)).build()?)
}

fn measure(end: impl FnOnce() -> Fallible<()>) -> Fallible<()> {
    let mut lines = std::io::stdin().lines();
    lines.next().ok_or("nothing to measure")??;
    let watch = Watch::start()?;
    println!("begun");
    lines.try_for_each(|line| line.map(drop))?;
    end()?;
    let Used { cpu, wall, peak_mib } = watch.stop()?;
    println!("{cpu} {wall} {peak_mib}");
    Ok(())
}

/// A server, and the sink behind it.
pub(crate) struct Server {
    process: Process,
    sink: Option<Process>,
}

impl Server {
    pub(crate) fn floor() -> Fallible<Self> {
        Ok(Self { process: Process::start(&["floor".to_owned()])?, sink: None })
    }

    /// The floor, which writes what it has read to someone who drops it.
    pub(crate) fn relay() -> Fallible<Self> {
        let drain = Process::start(&["drain".to_owned()])?;
        let process = Process::start(&["floor".to_owned(), drain.address.clone()])?;
        Ok(Self { process, sink: Some(drain) })
    }

    pub(crate) fn ottla(setup: Setup) -> Fallible<Self> {
        let sink = Process::start(&["sink".to_owned(), setup.delay_ms.to_string()])?;
        let mut arguments = vec!["ottla".to_owned(), sink.address.clone()];
        arguments.extend(setup.arguments());
        Ok(Self { process: Process::start(&arguments)?, sink: Some(sink) })
    }

    /// What a run costs in which nothing may be refused.
    pub(crate) fn cost(self, load: &Load) -> Fallible<Used> {
        match self.run(load)? {
            (used, 0) => Ok(used),
            (_, refused) => Err(format!("{refused} requests were refused").into()),
        }
    }

    /// What a run costs, and how many times a request was refused.
    pub(crate) fn run(mut self, load: &Load) -> Fallible<(Used, u64)> {
        let runtime = runtime()?;
        let address = self.process.address.clone();
        runtime.block_on(load.warm_up().send(&address))?;
        self.process.say("begin\n")?;
        self.process.hear()?;
        let refused = runtime.block_on(load.send(&address))?;
        drop(self.process.child.stdin.take());
        let line = self.process.hear()?;
        let words: Result<Vec<f64>, _> = line.split(' ').map(str::parse).collect();
        let [cpu, wall, peak_mib] = words?[..] else {
            return Err(format!("not a cost: {line:?}").into());
        };
        drop(self.sink);
        Ok((Used { cpu, wall, peak_mib }, refused))
    }
}

/// This program again, as something else.
struct Process {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
    address: String,
}

impl Process {
    fn start(arguments: &[String]) -> Fallible<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut process = Self { child, output, address: String::new() };
        process.address = process.hear()?;
        Ok(process)
    }

    fn say(&mut self, line: &str) -> Fallible<()> {
        Ok(self.child.stdin.as_mut().ok_or("no input")?.write_all(line.as_bytes())?)
    }

    fn hear(&mut self) -> Fallible<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has nothing to lose, and may be gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
