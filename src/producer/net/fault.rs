//! What goes wrong on a connection, in words that a person can act on.
//!
//! Each kind of trouble has a sentence of its own: what happened, at which address, and what to
//! look at. Settings are named as librdkafka names them, which is how most people know them.

use super::super::config::Address;
use crate::protocol::frame::{ForeignPeer, FrameError};
use crate::protocol::text::{WORDS_MAX, printable};
use std::fmt;
use std::io;
use std::time::Duration;
use tokio_rustls::rustls::pki_types::UnixTime;
use tokio_rustls::rustls::{AlertDescription, CertificateError, Error as TlsLibraryError};

/// Why there is no connection.
#[derive(Debug)]
pub(crate) struct NetError {
    address: Address,
    fault: Fault,
}

#[derive(Debug)]
pub(super) enum Fault {
    Resolve(io::Error),
    NoAddress,
    Connect(io::Error),
    Read(io::Error),
    Write(io::Error),
    /// The peer closed it, before it had sent anything or later.
    Eof {
        spoke: bool,
    },
    Frame(FrameError),
    /// There is no TLS connection, or no longer.
    Tls(TlsFault),
}

/// What is wrong with a TLS connection.
#[derive(Debug)]
pub(super) enum TlsFault {
    /// What came is not TLS.
    NotTls,
    /// The peer hung up during the handshake.
    HungUp(Option<io::Error>),
    UnknownAuthority,
    Expired {
        since: Option<UnixTime>,
    },
    NotYetValid {
        before: Option<UnixTime>,
    },
    WrongHost {
        /// Whom the certificate is for.
        names: Vec<String>,
    },
    /// The peer wants to know who we are.
    CertificateWanted,
    /// The peer does not like who we are.
    CertificateRefused(AlertDescription),
    /// No version or cipher in common.
    Incompatible(String),
    /// The certificate is wrong in another way.
    Certificate(String),
    Other(io::Error),
}

impl TlsFault {
    /// What an error of the TLS library means. `identified` says whether we have a certificate.
    pub(super) fn of(error: io::Error, identified: bool) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsLibraryError>());
        match inner {
            Some(TlsLibraryError::InvalidMessage(_)) => Self::NotTls,
            Some(TlsLibraryError::InvalidCertificate(fault)) => Self::of_certificate(fault),
            Some(TlsLibraryError::AlertReceived(alert)) => {
                Self::of_alert(*alert, identified, error)
            }
            Some(TlsLibraryError::PeerIncompatible(why)) => Self::Incompatible(format!("{why:?}")),
            Some(_) => Self::Other(error),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof => Self::HungUp(None),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                    Self::HungUp(Some(error))
                }
                _ => Self::Other(error),
            },
        }
    }

    fn of_certificate(fault: &CertificateError) -> Self {
        match fault {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::Expired => Self::Expired { since: None },
            CertificateError::ExpiredContext { not_after, .. } => {
                Self::Expired { since: Some(*not_after) }
            }
            CertificateError::NotValidYet => Self::NotYetValid { before: None },
            CertificateError::NotValidYetContext { not_before, .. } => {
                Self::NotYetValid { before: Some(*not_before) }
            }
            CertificateError::NotValidForName => Self::WrongHost { names: Vec::new() },
            CertificateError::NotValidForNameContext { presented, .. } => {
                let names = presented.iter().take(NAMED_MAX).map(|name| bare(name)).collect();
                Self::WrongHost { names }
            }
            other => Self::Certificate(other.to_string()),
        }
    }

    fn of_alert(alert: AlertDescription, identified: bool, error: io::Error) -> Self {
        use AlertDescription as Alert;
        match alert {
            Alert::CertificateRequired => Self::CertificateWanted,
            // How those who have no word for it in their version say the same.
            Alert::BadCertificate | Alert::HandshakeFailure | Alert::CertificateUnknown
                if !identified =>
            {
                Self::CertificateWanted
            }
            Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied => Self::CertificateRefused(alert),
            Alert::HandshakeFailure | Alert::ProtocolVersion | Alert::InsufficientSecurity => {
                Self::Incompatible(format!("{alert:?}"))
            }
            _ => Self::Other(error),
        }
    }
}

impl NetError {
    pub(super) const fn new(address: Address, fault: Fault) -> Self {
        Self { address, fault }
    }
}

impl fmt::Display for NetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = &self.address;
        match &self.fault {
            Fault::Resolve(error) => write!(f, "cannot resolve {:?}: {error}", address.host),
            Fault::NoAddress => write!(f, "cannot resolve {:?}: it has no address", address.host),
            Fault::Connect(error) => write!(f, "cannot connect to {address}: {error}"),
            Fault::Read(error) => write!(f, "connection to {address} lost: {error}"),
            Fault::Write(error) => write!(f, "connection to {address} lost while writing: {error}"),
            Fault::Eof { spoke: true } => write!(f, "{address} closed the connection"),
            Fault::Eof { spoke: false } => write!(
                f,
                "{address} closed the connection without a word: is it a Kafka broker, and does \
                 its port want TLS (security.protocol)?"
            ),
            Fault::Frame(error) if error.peer == ForeignPeer::Tls => write!(
                f,
                "{address} speaks TLS, and we do not: set security.protocol to ssl or sasl_ssl, \
                 or use the port of a plaintext listener"
            ),
            Fault::Frame(error) => write!(f, "{address}: {error}"),
            Fault::Tls(fault) => fault.write(f, address),
        }
    }
}

impl std::error::Error for NetError {}

impl TlsFault {
    fn write(&self, f: &mut fmt::Formatter<'_>, address: &Address) -> fmt::Result {
        match self {
            Self::NotTls => write!(
                f,
                "{address} does not speak TLS: is it the port of a plaintext listener, or should \
                 security.protocol be plaintext or sasl_plaintext?"
            ),
            Self::HungUp(cause) => {
                write!(f, "{address} closed the connection during the TLS handshake")?;
                if let Some(cause) = cause {
                    write!(f, " ({cause})")?;
                }
                f.write_str(": does its port speak TLS?")
            }
            Self::UnknownAuthority => write!(
                f,
                "the certificate of {address} is signed by an unknown authority: give its \
                 certificate as the CA (ssl.ca.location, ssl.ca.pem, ca_cert)"
            ),
            Self::Expired { since } => {
                write!(f, "the certificate of {address} has expired{}", When(" on ", *since))
            }
            Self::NotYetValid { before } => write!(
                f,
                "the certificate of {address} is not valid{}: is the clock right?",
                When(" before ", *before)
            ),
            Self::WrongHost { names } => {
                write!(f, "the certificate of {address} is not for {:?}", address.host)?;
                if !names.is_empty() {
                    write!(f, ", but for {}", names.join(", "))?;
                }
                f.write_str(
                    ": use one of its names as the broker's address, or have one made for it",
                )
            }
            Self::CertificateWanted => write!(
                f,
                "{address} wants a client certificate: give one and its key \
                 (ssl.certificate.location, ssl.key.location)"
            ),
            Self::CertificateRefused(alert) => write!(
                f,
                "{address} refuses our client certificate ({alert:?}): is it signed by an \
                 authority that the broker trusts, and still valid?"
            ),
            Self::Incompatible(why) => write!(
                f,
                "{address} and ottla have no TLS version or cipher suite in common ({why}): TLS \
                 1.2 with ECDHE, or TLS 1.3, is needed"
            ),
            Self::Certificate(why) => write!(f, "the certificate of {address} is not valid: {why}"),
            Self::Other(error) => write!(f, "TLS with {address} failed: {error}"),
        }
    }
}

/// Names of a stranger's certificate that are repeated.
const NAMED_MAX: usize = 10;

/// A name without what the library puts around it, as in `DnsName("kafka.internal")`, as far as it
/// can be shown.
fn bare(presented: &str) -> String {
    let inner = presented.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    printable(inner.unwrap_or(presented).trim_matches('"'), WORDS_MAX)
}

/// A date, behind these words; nothing, if there is none.
struct When(&'static str, Option<UnixTime>);

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(words, Some(time)) = self else { return Ok(()) };
        let since_epoch = Duration::from_secs(time.as_secs());
        match jiff::Timestamp::UNIX_EPOCH.checked_add(since_epoch) {
            Ok(date) => write!(f, "{words}{}", date.strftime("%Y-%m-%d")),
            Err(_) => Ok(()),
        }
    }
}
