//! TLS against a server of the same library: what connects, and what is said when it does not.

use super::*;
use crate::producer::tls::{Pem, Roots, TlsConfig, TlsError, TlsIdentity};
use crate::sasl::Secret;
use std::fs;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

const RESPONSE_SIZE_MAX: usize = 64 << 20;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn file(name: &str) -> Pem {
    Pem::File(path(name))
}

#[expect(clippy::disallowed_methods, reason = "the other side of a test runs beside it")]
fn spawn<T: Send + 'static>(
    task: impl Future<Output = T> + Send + 'static,
) -> tokio::task::JoinHandle<T> {
    tokio::spawn(task)
}

/// What a server is like.
#[derive(Clone)]
struct Server {
    certificate: &'static str,
    versions: Vec<&'static SupportedProtocolVersion>,
    wants_client: bool,
}

impl Server {
    fn new(certificate: &'static str) -> Self {
        Self { certificate, versions: vec![&TLS13, &TLS12], wants_client: false }
    }

    fn acceptor(&self) -> TlsAcceptor {
        let read = |name: &str| CertificateDer::pem_file_iter(path(name)).unwrap();
        let chain = read(&format!("{}.pem", self.certificate)).map(Result::unwrap).collect();
        let key = path(&format!("{}.key", self.certificate));
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls_graviola::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_protocol_versions(&self.versions).unwrap();
        let builder = if self.wants_client {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(read("ca.pem").map(Result::unwrap));
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
    }

    /// Answers every byte with itself, on as many connections as come. Returns the port.
    async fn start(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = self.acceptor();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let (mut reader, mut writer) = tokio::io::split(stream);
                    // The client decides when it has seen enough.
                    let _ = tokio::io::copy(&mut reader, &mut writer).await;
                });
            }
        });
        port
    }
}

fn trusting(name: &str) -> TlsConfig {
    TlsConfig { roots: Roots::These(vec![file(name)]), ..TlsConfig::default() }
}

fn transport(tls: TlsConfig) -> Result<Transport, TlsError> {
    let mut config = ProducerConfig::new(["localhost:1"]).unwrap();
    config.response_size_max = RESPONSE_SIZE_MAX;
    config.tls = Some(tls);
    Transport::new(&config)
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.to_owned(), port }
}

fn frame(size: usize) -> Bytes {
    let mut frame = u32::try_from(size).unwrap().to_be_bytes().to_vec();
    frame.extend((0..size).map(|index| index.to_le_bytes()[0]));
    frame.into()
}

/// A frame there and back.
async fn echo(transport: &Transport, address: &Address) -> Result<(), NetError> {
    let mut exchange = Exchange::connect(address, transport).await?;
    let frame = frame(100);
    assert_eq!(exchange.ask(vec![frame.clone()]).await?, frame.slice(4..));
    Ok(())
}

/// What is said when that fails.
async fn told(transport: &Transport, address: &Address) -> String {
    echo(transport, address).await.unwrap_err().to_string()
}

#[tokio::test]
async fn frames_go_through_both_versions_of_tls_by_name_and_by_address() {
    for version in [&TLS13, &TLS12] {
        let port = Server { versions: vec![version], ..Server::new("server") }.start().await;
        for host in ["localhost", "127.0.0.1"] {
            echo(&transport(trusting("ca.pem")).unwrap(), &address(host, port)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn one_authority_of_several_is_enough() {
    let port = Server::new("server").start().await;
    let several = Roots::These(vec![file("other-ca.pem"), file("ca.pem")]);
    let tls = TlsConfig { roots: several, ..TlsConfig::default() };
    echo(&transport(tls).unwrap(), &address("localhost", port)).await.unwrap();
    let both = ["other-ca.pem", "ca.pem"].map(|name| fs::read_to_string(path(name)).unwrap());
    let text = Pem::Text(Secret::new(both.concat()));
    let tls = TlsConfig { roots: Roots::These(vec![text]), ..TlsConfig::default() };
    echo(&transport(tls).unwrap(), &address("localhost", port)).await.unwrap();
}

/// F14
#[tokio::test]
async fn a_certificate_that_proves_nothing_is_refused_with_the_reason() {
    let said = async |server: &'static str, ca: &str, host: &str| {
        let port = Server::new(server).start().await;
        let told = told(&transport(trusting(ca)).unwrap(), &address(host, port)).await;
        told.replace(&port.to_string(), "PORT")
    };
    assert_eq!(
        said("server", "other-ca.pem", "localhost").await,
        "the certificate of localhost:PORT is signed by an unknown authority: give its certificate \
         as the CA (ssl.ca.location, ssl.ca.pem, ca_cert)"
    );
    assert_eq!(
        said("expired", "ca.pem", "localhost").await,
        "the certificate of localhost:PORT has expired on 2001-01-01"
    );
    assert_eq!(
        said("wrong-host", "ca.pem", "localhost").await,
        "the certificate of localhost:PORT is not for \"localhost\", but for \
         elsewhere.test: use one of its names as the broker's address, or have one \
         made for it"
    );
    let system = TlsConfig::default();
    let port = Server::new("server").start().await;
    let told = told(&transport(system).unwrap(), &address("localhost", port)).await;
    assert!(told.contains("unknown authority"), "{told}");
}

#[tokio::test]
async fn checks_that_are_switched_off_are_not_made() {
    let port = Server::new("wrong-host").start().await;
    let tls = TlsConfig { verify_hostname: false, ..trusting("ca.pem") };
    echo(&transport(tls).unwrap(), &address("localhost", port)).await.unwrap();
    let tls = TlsConfig { verify_hostname: false, ..trusting("other-ca.pem") };
    let told = told(&transport(tls).unwrap(), &address("localhost", port)).await;
    assert!(told.contains("unknown authority"), "{told}");
    for server in ["wrong-host", "expired", "server"] {
        for version in [&TLS13, &TLS12] {
            let port = Server { versions: vec![version], ..Server::new(server) }.start().await;
            let tls = TlsConfig { verify_certificates: false, ..trusting("other-ca.pem") };
            echo(&transport(tls).unwrap(), &address("localhost", port)).await.unwrap();
        }
    }
}

fn identity(certificate: &str, key: &str, password: Option<&str>) -> Option<TlsIdentity> {
    Some(TlsIdentity {
        certificate: file(certificate),
        key: file(key),
        key_password: password.map(Secret::new),
    })
}

/// F14
#[tokio::test]
async fn brokers_that_want_to_know_are_shown_who_we_are_whatever_form_the_key_has() {
    for version in [&TLS13, &TLS12] {
        let server =
            Server { versions: vec![version], wants_client: true, ..Server::new("server") };
        let address = address("localhost", server.start().await);
        for (certificate, key, password) in [
            ("client.pem", "client.key", None),
            ("client.pem", "client.sec1.key", None),
            ("client.pem", "client.encrypted.key", Some("ottla-test")),
            ("client-rsa.pem", "client-rsa.key", None),
            ("client-rsa.pem", "client-rsa.pkcs1.key", None),
        ] {
            let identity = identity(certificate, key, password);
            let tls = TlsConfig { identity, ..trusting("ca.pem") };
            echo(&transport(tls).unwrap(), &address).await.unwrap();
        }
        let told = told(&transport(trusting("ca.pem")).unwrap(), &address).await;
        assert!(told.contains("wants a client certificate: give one and its key"), "{told}");
    }
}

#[tokio::test]
async fn an_identity_that_is_none_is_told_at_start() {
    let refused = |identity| {
        let tls = TlsConfig { identity, ..trusting("ca.pem") };
        transport(tls).unwrap_err().to_string()
    };
    let pair = refused(identity("client.pem", "server.key", None));
    assert!(pair.contains("client.pem and private key") && pair.contains("together"), "{pair}");
    let sealed = refused(identity("client.pem", "client.encrypted.key", None));
    assert!(sealed.contains("give its password (ssl.key.password)"), "{sealed}");
    let error = transport(trusting("none.pem")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the CA certificate from"), "{error}");
}

#[tokio::test]
async fn a_client_certificate_that_is_not_trusted_is_said_to_be_refused() {
    let server = Server { wants_client: true, ..Server::new("server") };
    let address = address("localhost", server.start().await);
    // Valid for servers only.
    let tls =
        TlsConfig { identity: identity("server.pem", "server.key", None), ..trusting("ca.pem") };
    let told = told(&transport(tls).unwrap(), &address).await;
    assert!(told.contains("refuses our client certificate"), "{told}");
}

/// A server that says this, whatever it hears, then closes.
async fn saying(words: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut heard = [0; 16];
            // Who is spoken to may have hung up.
            let _ = stream.read_exact(&mut heard).await;
            let _ = stream.write_all(words).await;
        }
    });
    port
}

#[tokio::test]
async fn whoever_does_not_speak_tls_is_named_as_such() {
    let transport = transport(trusting("ca.pem")).unwrap();
    for words in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0, 0, 0, 10, 0, 0, 0, 1, 0, 35]] {
        let told = told(&transport, &address("localhost", saying(words).await)).await;
        assert!(told.contains("does not speak TLS: is it the port of a plaintext"), "{told}");
    }
    let told = told(&transport, &address("localhost", saying(b"").await)).await;
    assert!(told.contains("during the TLS handshake") && told.contains("speak TLS?"), "{told}");
}

#[tokio::test]
async fn whoever_does_not_speak_kafka_in_plain_text_is_named_as_such() {
    let plain = Transport::plain(RESPONSE_SIZE_MAX);
    let port = Server::new("server").start().await;
    let said = told(&plain, &address("localhost", port)).await;
    assert!(said.contains("speaks TLS, and we do not: set security.protocol"), "{said}");
    let http = saying(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    let said = told(&plain, &address("localhost", http)).await;
    assert!(said.ends_with("an HTTP server answered, not a Kafka broker"), "{said}");
    let silent = told(&plain, &address("localhost", saying(b"").await)).await;
    assert!(silent.contains("closed the connection without a word"), "{silent}");
    let other = told(&plain, &address("localhost", saying(b"220 mail.test ESMTP\r\n").await)).await;
    assert!(other.contains("frame"), "{other}");
    let none = told(&plain, &address("none.invalid", 1)).await;
    assert!(none.starts_with("cannot resolve \"none.invalid\""), "{none}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let refused = told(&plain, &address("127.0.0.1", closed)).await;
    assert!(refused.contains("Connection refused"), "{refused}");
}

#[tokio::test]
async fn no_cipher_in_common_is_said() {
    let port = Server { versions: vec![&TLS12], ..Server::new("server") }.start().await;
    let suites = vec!["TLS_AES_128_GCM_SHA256".to_owned()];
    let tls = TlsConfig { cipher_suites: suites, ..trusting("ca.pem") };
    let told = told(&transport(tls).unwrap(), &address("localhost", port)).await;
    assert!(told.contains("no TLS version or cipher suite in common"), "{told}");
}

/// Both sides write more than sockets and buffers hold, at once.
#[tokio::test]
async fn large_frames_go_both_ways_at_once() {
    let port = Server::new("server").start().await;
    let (sender, outgoing) = tokio::sync::mpsc::unbounded_channel();
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let transport = transport(trusting("ca.pem")).unwrap();
    let carrying = carry(transport, address("localhost", port), outgoing, move |event| {
        report.send(event).unwrap();
    });
    let carrying = spawn(carrying);
    assert!(matches!(reports.recv().await, Some(NetEvent::Connected)));
    let frames: Vec<_> = [10, 9 << 20, 0, 5 << 20, 9 << 20].map(frame).into();
    for frame in &frames {
        let pieces = vec![frame.slice(..4), frame.slice(4..)];
        let pieces = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        sender.send(Outgoing { pieces, report: None }).unwrap();
    }
    for sent in &frames {
        let Some(NetEvent::Frame(frame)) = reports.recv().await else { panic!("no frame") };
        assert_eq!(frame, sent.slice(4..));
    }
    drop(sender);
    carrying.await.unwrap();
}

/// F14: A peer that closes without TLS's goodbye has closed, no more.
#[tokio::test]
async fn a_connection_that_ends_without_close_notify_has_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = Server::new("server").acceptor();
    let serving = spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        let mut heard = [0; 104];
        stream.read_exact(&mut heard).await.unwrap();
        stream.write_all(&heard).await.unwrap();
        stream.flush().await.unwrap();
        drop(stream.into_inner().0);
    });
    let transport = transport(trusting("ca.pem")).unwrap();
    let mut exchange = Exchange::connect(&address("localhost", port), &transport).await.unwrap();
    exchange.ask(vec![frame(100)]).await.unwrap();
    serving.await.unwrap();
    let error = exchange.ask(vec![frame(100)]).await.unwrap_err().to_string();
    assert!(error.ends_with("closed the connection") || error.contains("lost"), "{error}");
}

/// Files of a folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("ottla-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind harms nobody.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn files_that_change_are_read_again_and_bad_ones_change_nothing() {
    let port = Server::new("server").start().await;
    let address = address("localhost", port);
    let folder = Folder::new("reload");
    let ca = folder.0.join("ca.pem");
    fs::copy(path("other-ca.pem"), &ca).unwrap();
    let roots = Roots::These(vec![Pem::File(ca.clone())]);
    let transport = transport(TlsConfig { roots, ..TlsConfig::default() }).unwrap();
    told(&transport, &address).await;
    fs::copy(path("ca.pem"), &ca).unwrap();
    echo(&transport, &address).await.unwrap();
    fs::write(&ca, "nothing").unwrap();
    echo(&transport, &address).await.unwrap();
    fs::remove_file(&ca).unwrap();
    echo(&transport, &address).await.unwrap();
}
