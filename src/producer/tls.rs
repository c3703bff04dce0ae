//! TLS settings: whom to trust, and who we are.
//!
//! Decides names and defaults. Certificates and keys are read when a producer starts, and again
//! when their files change; how, and what a broker's certificate must be, is the sockets' to say.

use crate::sasl::Secret;
use std::fmt;
use std::path::PathBuf;

/// How connections are encrypted, and how each side is known to the other.
///
/// ```
/// use ottla::producer::{Pem, ProducerConfig, Roots, TlsConfig};
///
/// let mut tls = TlsConfig::default();
/// tls.roots = Roots::These(vec![Pem::File("/etc/kafka/ca.pem".into())]);
/// let mut config = ProducerConfig::new(["kafka.internal:9093"])?;
/// config.tls = Some(tls);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// TLS 1.3 and 1.2 are spoken. The name that a broker's certificate must be for is the host of its
/// address, as configured or as the cluster's metadata has it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsConfig {
    /// Who signs brokers' certificates (`ssl.ca.location`, `ssl.ca.pem`). Default: whom the system
    /// trusts, or Mozilla's list where the system has none.
    pub roots: Roots,
    /// Who we are, for brokers that want to know (`ssl.certificate.*`, `ssl.key.*`). Default:
    /// nobody.
    pub identity: Option<TlsIdentity>,
    /// Whether a broker's certificate is looked at (`enable.ssl.certificate.verification`). Default
    /// true. Without, anybody can pass for a broker and read everything; every start warns of it.
    pub verify_certificates: bool,
    /// Whether the certificate must be for the broker's host
    /// (`ssl.endpoint.identification.algorithm`). Default true. Without, whoever has a certificate
    /// of the same authority can pass for a broker.
    pub verify_hostname: bool,
    /// Cipher suites that may be used, by OpenSSL's or IANA's names (`ssl.cipher.suites`). Default:
    /// none named, which allows all that the provider has.
    pub cipher_suites: Vec<String>,
    /// Who computes. Default: whichever the processor can run, [`CryptoProvider::Graviola`] first.
    pub provider: CryptoProvider,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            roots: Roots::System,
            identity: None,
            verify_certificates: true,
            verify_hostname: true,
            cipher_suites: Vec::new(),
            provider: CryptoProvider::Auto,
        }
    }
}

/// Who may sign a broker's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// Whom the system trusts.
    System,
    /// These and no others. A folder stands for every file in it.
    These(Vec<Pem>),
}

/// Certificates or a key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pem {
    /// The text itself.
    Text(Secret),
    /// A file. It is read again when it changes, for the connections that come then.
    File(PathBuf),
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("the PEM text"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A certificate of ours, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// The certificate, and those between it and its root.
    pub certificate: Pem,
    /// The private key, as PKCS#8, SEC1 or PKCS#1; as PKCS#8 it may be encrypted.
    pub key: Pem,
    /// What an encrypted key is opened with (`ssl.key.password`).
    pub key_password: Option<Secret>,
}

/// Who computes signatures and ciphers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum CryptoProvider {
    /// The first of those below that is compiled in and that the processor can run.
    #[default]
    Auto,
    /// Rust and assembly, no C. Needs AES, PCLMULQDQ, AVX2, BMI2 and ADX on x86_64, or the crypto
    /// extensions on aarch64.
    Graviola,
    /// BoringSSL's primitives, in C. Needs the cargo feature `ring`.
    Ring,
    /// AWS's, in C. Needs the cargo feature `aws-lc-rs`.
    AwsLcRs,
}

impl fmt::Display for CryptoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Graviola => "graviola",
            Self::Ring => "ring",
            Self::AwsLcRs => "aws-lc-rs",
        })
    }
}

/// TLS settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read the {what} from {from}: {cause}")]
    Unreadable {
        /// Which of the settings.
        what: &'static str,
        /// The file.
        from: String,
        /// The system's reason.
        cause: String,
    },
    /// What should hold it does not.
    #[error("no {what} in {from}: it holds {holds}; give PEM, from \"-----BEGIN\" on")]
    Missing {
        /// Which of the settings.
        what: &'static str,
        /// The file, or the text.
        from: String,
        /// What is there instead.
        holds: &'static str,
    },
    /// The PEM or what is in it is broken.
    #[error("the {what} in {from} is broken: {cause}")]
    Broken {
        /// Which of the settings.
        what: &'static str,
        /// The file, or the text.
        from: String,
        /// How.
        cause: String,
    },
    /// The key is encrypted, and there is no password.
    #[error("the private key in {from} is encrypted: give its password (ssl.key.password)")]
    PasswordNeeded {
        /// The file, or the text.
        from: String,
    },
    /// The password does not open the key.
    #[error("the private key in {from} cannot be decrypted: is the password right? ({cause})")]
    WrongPassword {
        /// The file, or the text.
        from: String,
        /// The library's reason.
        cause: String,
    },
    /// OpenSSL's own encryption of old, which is not a safe one.
    #[error(
        "the private key in {from} is encrypted in a way that is no longer used: convert it with \
         \"openssl pkcs8 -topk8 -in KEY -out NEW\""
    )]
    LegacyEncryption {
        /// The file, or the text.
        from: String,
    },
    /// Certificate and key are no pair, or of a kind that the provider does not know.
    #[error("certificate {certificate} and private key {key} cannot be used together: {cause}")]
    Identity {
        /// The certificate's file, or text.
        certificate: String,
        /// The key's file, or text.
        key: String,
        /// Why.
        cause: String,
    },
    /// None of the suites that were asked for.
    #[error("none of the cipher suites {wanted:?} is known: there are {known:?}")]
    CipherSuites {
        /// As they were given.
        wanted: Vec<String>,
        /// Those of the provider.
        known: Vec<String>,
    },
    /// The processor lacks what the provider needs.
    #[error(
        "this processor cannot run the default crypto provider, which needs AES, PCLMULQDQ, AVX2, \
         BMI2 and ADX (or the Arm crypto extensions): build ottla with --features ring, or with \
         --features aws-lc-rs"
    )]
    Processor,
    /// The provider is not part of this build.
    #[error(
        "crypto provider {provider} is not part of this build: build ottla with --features {provider}"
    )]
    Provider {
        /// Which.
        provider: CryptoProvider,
    },
    /// The TLS library refuses the whole.
    #[error("TLS cannot be set up: {0}")]
    Library(String),
}
