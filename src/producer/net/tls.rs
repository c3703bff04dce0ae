//! TLS connections: the library's settings out of ours, and handshakes.
//!
//! Decides whose certificates are believed, which provider computes, and when files are read
//! again. What goes wrong in a handshake is put into words by `fault`.

use super::super::tls::{CryptoProvider, Pem, Roots, TlsConfig, TlsError, TlsIdentity};
use super::pem;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    CryptoProvider as Provider, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedCipherSuite,
};

/// Makes TLS connections with settings that follow their files.
#[derive(Debug)]
pub(super) struct TlsConnector {
    config: TlsConfig,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    client: Arc<ClientConfig>,
    /// How the files looked when they were read, or last failed to be.
    stamps: Vec<Stamp>,
}

/// What changes when a file does, also when another takes its place; `None` for one that is not
/// there.
type Stamp = Option<(u64, SystemTime, u64)>;

impl TlsConnector {
    /// Reads everything that the settings name. Blocks meanwhile.
    pub(super) fn load(config: TlsConfig) -> Result<Self, TlsError> {
        if !config.verify_certificates {
            tracing::warn!(
                "brokers' certificates are not verified \
                 (enable.ssl.certificate.verification=false): anybody can pass for a broker and \
                 read or change every record"
            );
        } else if !config.verify_hostname {
            tracing::warn!(
                "brokers' host names are not verified \
                 (ssl.endpoint.identification.algorithm=none): whoever has a certificate of the \
                 same authority can pass for a broker"
            );
        }
        let stamps = stamps(&config);
        let client = Arc::new(client_config(&config)?);
        Ok(Self { config, loaded: Mutex::new(Loaded { client, stamps }) })
    }

    /// Shakes hands over a connection to `host`.
    pub(super) async fn connect(
        self: Arc<Self>,
        host: &str,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            let text = format!("{host:?} is no name that a certificate can be for");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        // Looks at files, which a slow disk may answer late.
        let current = tokio::task::spawn_blocking(move || self.current()).await;
        let current = current.map_err(io::Error::other)?;
        tokio_rustls::TlsConnector::from(current).connect(name, stream).await
    }

    /// The settings, read anew if a file has changed. If what is there now is of no use, those of
    /// before stay, and the log says so once.
    fn current(&self) -> Arc<ClientConfig> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let stamps = stamps(&self.config);
        if stamps != loaded.stamps {
            loaded.stamps = stamps;
            match client_config(&self.config) {
                Ok(client) => {
                    loaded.client = Arc::new(client);
                    tracing::info!("certificates have changed: new connections use the new ones");
                }
                Err(error) => {
                    tracing::error!("certificates have changed, and the old ones stay: {error}");
                }
            }
        }
        Arc::clone(&loaded.client)
    }
}

/// What a connection is encrypted with, as in `TLSv1.3, TLS13_AES_256_GCM_SHA384`.
pub(super) fn in_words(stream: &TlsStream<TcpStream>) -> String {
    let (_, session) = stream.get_ref();
    let version = session.protocol_version().and_then(|version| version.as_str());
    let suite = session.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    [version, suite]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
        .replace("TLSv1_", "TLS 1.")
}

/// The files that the settings name, as they are now.
fn stamps(config: &TlsConfig) -> Vec<Stamp> {
    let roots = match &config.roots {
        Roots::System => &[][..],
        Roots::These(roots) => roots,
    };
    let identity = config.identity.iter();
    let identity = identity.flat_map(|identity| [&identity.certificate, &identity.key]);
    let named = roots.iter().chain(identity);
    let path = |pem: &Pem| match pem {
        Pem::File(path) => Some(path.clone()),
        Pem::Text(_) => None,
    };
    named.filter_map(path).flat_map(|path| stamps_of(&path)).collect()
}

/// That of a file; of a folder, those of its files.
fn stamps_of(path: &Path) -> Vec<Stamp> {
    let mut stamps = vec![stamp(path).ok()];
    if let Ok(entries) = fs::read_dir(path) {
        let mut inner: Vec<_> = entries.flatten().map(|entry| stamp(&entry.path()).ok()).collect();
        inner.sort();
        stamps.append(&mut inner);
    }
    stamps
}

fn stamp(path: &Path) -> io::Result<(u64, SystemTime, u64)> {
    let seen = fs::metadata(path)?;
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&seen);
    #[cfg(not(unix))]
    let inode = 0;
    Ok((seen.len(), seen.modified()?, inode))
}

fn client_config(config: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let library = |error: Error| TlsError::Library(error.to_string());
    let provider = Arc::new(provider(config)?);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(library)?;
    let verifier: Arc<dyn ServerCertVerifier> = if config.verify_certificates {
        let roots = Arc::new(roots(&config.roots)?);
        let inner = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let inner = inner.map_err(|error| TlsError::Library(error.to_string()))?;
        if config.verify_hostname { inner } else { Arc::new(AnyName(inner)) }
    } else {
        Arc::new(Anybody(provider))
    };
    // The usual one among them: they differ in what they leave out.
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let Some(identity) = &config.identity else { return Ok(builder.with_no_client_auth()) };
    let TlsIdentity { certificate, key, key_password } = identity;
    let chain = pem::certificates("client certificate", certificate)?;
    let private = pem::key(key, key_password.as_ref())?;
    builder.with_client_auth_cert(chain, private).map_err(|error| TlsError::Identity {
        certificate: certificate.to_string(),
        key: key.to_string(),
        cause: error.to_string(),
    })
}

fn roots(config: &Roots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match config {
        Roots::System => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                tracing::info!("the system trusts nobody: Mozilla's list of authorities is used");
                store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            }
        }
        Roots::These(roots) => {
            for pem in roots {
                for certificate in pem::certificates("CA certificate", pem)? {
                    store.add(certificate).map_err(|error| TlsError::Broken {
                        what: "CA certificate",
                        from: pem.to_string(),
                        cause: error.to_string(),
                    })?;
                }
            }
        }
    }
    Ok(store)
}

/// The provider that was asked for, with the cipher suites that were.
fn provider(config: &TlsConfig) -> Result<Provider, TlsError> {
    let mut provider = match config.provider {
        CryptoProvider::Auto => graviola().or_else(|_| compiled_in())?,
        CryptoProvider::Graviola => graviola()?,
        CryptoProvider::Ring => ring()?,
        CryptoProvider::AwsLcRs => aws_lc_rs()?,
    };
    let wanted = &config.cipher_suites;
    if wanted.is_empty() {
        return Ok(provider);
    }
    let known: Vec<_> = provider.cipher_suites.iter().map(openssl_name).collect();
    provider.cipher_suites.retain(|suite| {
        let names = [openssl_name(suite), iana_name(suite)];
        wanted.iter().any(|wanted| names.iter().any(|name| name.eq_ignore_ascii_case(wanted)))
    });
    match provider.cipher_suites.is_empty() {
        true => Err(TlsError::CipherSuites { wanted: wanted.clone(), known }),
        false => Ok(provider),
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn graviola() -> Result<Provider, TlsError> {
    // Without this question the first computation would panic.
    match graviola::util::is_cpu_supported() {
        true => Ok(rustls_graviola::default_provider()),
        false => Err(TlsError::Processor),
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn graviola() -> Result<Provider, TlsError> {
    Err(TlsError::Processor)
}

/// One in C, if the build has one.
fn compiled_in() -> Result<Provider, TlsError> {
    ring().or_else(|_| aws_lc_rs()).map_err(|_| TlsError::Processor)
}

#[cfg(feature = "ring")]
#[expect(clippy::unnecessary_wraps, reason = "as without the feature")]
fn ring() -> Result<Provider, TlsError> {
    Ok(tokio_rustls::rustls::crypto::ring::default_provider())
}

#[cfg(not(feature = "ring"))]
const fn ring() -> Result<Provider, TlsError> {
    Err(TlsError::Provider { provider: CryptoProvider::Ring })
}

#[cfg(feature = "aws-lc-rs")]
#[expect(clippy::unnecessary_wraps, reason = "as without the feature")]
fn aws_lc_rs() -> Result<Provider, TlsError> {
    Ok(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(not(feature = "aws-lc-rs"))]
const fn aws_lc_rs() -> Result<Provider, TlsError> {
    Err(TlsError::Provider { provider: CryptoProvider::AwsLcRs })
}

/// As IANA has it: `TLS_AES_128_GCM_SHA256`, `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`.
fn iana_name(suite: &SupportedCipherSuite) -> String {
    let name = format!("{:?}", suite.suite());
    name.strip_prefix("TLS13_").map(|rest| format!("TLS_{rest}")).unwrap_or(name)
}

/// As OpenSSL has it: `TLS_AES_128_GCM_SHA256`, `ECDHE-RSA-AES128-GCM-SHA256`.
fn openssl_name(suite: &SupportedCipherSuite) -> String {
    let name = iana_name(suite);
    let Some((exchange, cipher)) = name.split_once("_WITH_") else { return name };
    let exchange = exchange.trim_start_matches("TLS_");
    let cipher = cipher.replace("AES_", "AES").replace("POLY1305_SHA256", "POLY1305");
    format!("{exchange}-{cipher}").replace('_', "-")
}

/// Believes any certificate; only who holds its key may use it.
#[derive(Debug)]
struct Anybody(Arc<Provider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Believes certificates of the right authorities, whoever they are for.
#[derive(Debug)]
struct AnyName(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // The name is looked at last: if it is all that is wrong, the rest is right.
        match self.0.verify_server_cert(certificate, between, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cipher_suites_are_known_by_either_name() {
        let config = |suites: &[&str]| TlsConfig {
            cipher_suites: suites.iter().map(ToString::to_string).collect(),
            ..TlsConfig::default()
        };
        for name in [
            "ECDHE-RSA-AES128-GCM-SHA256",
            "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "ECDHE-ECDSA-CHACHA20-POLY1305",
            "tls_aes_256_gcm_sha384",
        ] {
            assert_eq!(provider(&config(&[name, "ADH-DES"])).unwrap().cipher_suites.len(), 1);
        }
        let error = provider(&config(&["HIGH:!aNULL"])).unwrap_err().to_string();
        assert!(error.contains("ECDHE-RSA-AES256-GCM-SHA384"), "{error}");
    }

    #[test]
    fn a_provider_that_is_not_compiled_in_names_the_feature_that_would() {
        let config = |provider| TlsConfig { provider, ..TlsConfig::default() };
        if !cfg!(feature = "ring") {
            let error = provider(&config(CryptoProvider::Ring)).unwrap_err().to_string();
            assert!(error.ends_with("build ottla with --features ring"), "{error}");
        }
        if !cfg!(feature = "aws-lc-rs") {
            let error = provider(&config(CryptoProvider::AwsLcRs)).unwrap_err().to_string();
            assert!(error.ends_with("build ottla with --features aws-lc-rs"), "{error}");
        }
        let error = TlsError::Processor.to_string();
        assert!(error.contains("AVX2") && error.contains("--features ring"), "{error}");
    }
}
