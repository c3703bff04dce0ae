//! The broker's side of TLS.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::BrokerTls;

/// What accepts TLS connections, with these files.
///
/// # Errors
///
/// `InvalidInput` says which file is of no use, and why.
pub(crate) fn server_config(config: &BrokerTls) -> io::Result<Arc<ServerConfig>> {
    let provider = Arc::new(provider()?);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| useless(path, &error))?;
            }
            let roots = Arc::new(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| useless(path, &error))?)
        }
    };
    let chain = certificates(&config.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&config.key);
    let key = key.map_err(|error| useless(&config.key, &error))?;
    let server = builder.with_single_cert(chain, key);
    Ok(Arc::new(server.map_err(|error| useless(&config.key, &error))?))
}

/// The default one alone: a development broker needs no choice.
fn provider() -> io::Result<CryptoProvider> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    if graviola::util::is_cpu_supported() {
        return Ok(rustls_graviola::default_provider());
    }
    Err(io::Error::other("this processor cannot run the crypto provider of the embedded broker"))
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| useless(path, &error))?;
    match found.is_empty() {
        true => Err(useless(path, &"it holds no certificate")),
        false => Ok(found),
    }
}

fn useless(path: &Path, reason: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {reason}", path.display()))
}
