//! What the properties of TLS and SASL come to.
//!
//! `security.protocol` decides whether there is TLS and whether there is a login; the others say how,
//! and have no effect without it.

use super::super::config::SaslConfig;
use super::super::tls::{Pem, Roots, TlsConfig, TlsIdentity};
use super::error::{NoteKind, PropertyError};
use super::rules::Draft;
use super::value::Value;
use super::{Given, Settings};
use crate::sasl::{SaslMechanism, Secret};

const PROTOCOL: &str = "security.protocol";
const BROKERS: &str = "metadata.broker.list";
const CA_FILE: &str = "ssl.ca.location";
const CA_TEXT: &str = "ssl.ca.pem";
const CERTIFICATE_FILE: &str = "ssl.certificate.location";
const CERTIFICATE_TEXT: &str = "ssl.certificate.pem";
const KEY_FILE: &str = "ssl.key.location";
const KEY_TEXT: &str = "ssl.key.pem";
const KEY_PASSWORD: &str = "ssl.key.password";
const SUITES: &str = "ssl.cipher.suites";
const VERIFY: &str = "enable.ssl.certificate.verification";
const IDENTIFICATION: &str = "ssl.endpoint.identification.algorithm";
const MECHANISM: &str = "sasl.mechanisms";
const USERNAME: &str = "sasl.username";
const PASSWORD: &str = "sasl.password";

/// Those that only mean something to TLS.
const OF_TLS: [&str; 10] = [
    CA_FILE,
    CA_TEXT,
    CERTIFICATE_FILE,
    CERTIFICATE_TEXT,
    KEY_FILE,
    KEY_TEXT,
    KEY_PASSWORD,
    SUITES,
    VERIFY,
    IDENTIFICATION,
];

/// Those that only mean something to a login.
const OF_SASL: [&str; 3] = [MECHANISM, USERNAME, PASSWORD];

/// What librdkafka takes for "wherever this system has them".
const PROBE: &str = "probe";

impl Draft<'_> {
    /// Decides `tls` and `sasl`.
    pub(super) fn settle_security(&mut self) -> Result<(), PropertyError> {
        let protocol = word(self.settings, PROTOCOL).unwrap_or("plaintext");
        check_schemes(self.settings, protocol)?;
        let (tls, sasl) = (protocol.ends_with("ssl"), protocol.starts_with("sasl"));
        if tls {
            self.config.tls = Some(tls_config(self.settings)?);
        } else {
            self.note_idle(&OF_TLS, "security.protocol is neither ssl nor sasl_ssl");
        }
        if sasl {
            self.config.sasl = Some(sasl_config(self.settings)?);
        } else {
            self.note_idle(&OF_SASL, "security.protocol is neither sasl_plaintext nor sasl_ssl");
        }
        Ok(())
    }

    fn note_idle(&mut self, names: &[&'static str], reason: &'static str) {
        for name in names {
            if self.settings.explicit(name).is_some_and(Given::is_not_default) {
                self.note(name, NoteKind::NoEffect, reason.to_owned());
            }
        }
    }
}

/// A scheme in front of a broker says what `security.protocol` says, or one of them is wrong.
fn check_schemes(settings: &Settings, protocol: &str) -> Result<(), PropertyError> {
    let Some(brokers) = settings.get(BROKERS) else { return Ok(()) };
    let parts = brokers.text.split(',').map(str::trim);
    let schemes = parts.filter_map(|part| part.split_once("://").map(|(scheme, _)| scheme));
    for scheme in schemes {
        if !scheme.eq_ignore_ascii_case(protocol) {
            return Err(PropertyError::Conflict {
                first: brokers.pair(),
                second: format!("{PROTOCOL}={protocol}"),
                remedy: "leave the scheme out, or set security.protocol to it",
            });
        }
    }
    Ok(())
}

fn tls_config(settings: &Settings) -> Result<TlsConfig, PropertyError> {
    let roots: Vec<_> = [CA_FILE, CA_TEXT]
        .into_iter()
        .filter_map(|name| pem(settings, name))
        .filter(|pem| *pem != Pem::File(PROBE.into()))
        .collect();
    let suites = text(settings, SUITES).unwrap_or_default().split(':');
    Ok(TlsConfig {
        roots: if roots.is_empty() { Roots::System } else { Roots::These(roots) },
        identity: identity(settings)?,
        verify_certificates: settings.get(VERIFY).is_none_or(|it| it.value == Value::Flag(true)),
        verify_hostname: word(settings, IDENTIFICATION) != Some("none"),
        cipher_suites: suites.filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        ..TlsConfig::default()
    })
}

fn identity(settings: &Settings) -> Result<Option<TlsIdentity>, PropertyError> {
    let certificate = one_of(settings, CERTIFICATE_FILE, CERTIFICATE_TEXT)?;
    let key = one_of(settings, KEY_FILE, KEY_TEXT)?;
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            Ok(Some(TlsIdentity { certificate, key, key_password: secret(settings, KEY_PASSWORD) }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(PropertyError::Missing {
            name: KEY_FILE,
            because: "a client certificate is given".to_owned(),
        }),
        (None, Some(_)) => Err(PropertyError::Missing {
            name: CERTIFICATE_FILE,
            because: "a client's private key is given".to_owned(),
        }),
    }
}

/// A file or a text, not both.
fn one_of(
    settings: &Settings,
    file: &'static str,
    text: &'static str,
) -> Result<Option<Pem>, PropertyError> {
    match (pem(settings, file), pem(settings, text)) {
        (Some(_), Some(_)) => {
            let pair = |name| settings.get(name).map(Given::pair).unwrap_or_default();
            let remedy = "give one of them";
            Err(PropertyError::Conflict { first: pair(file), second: pair(text), remedy })
        }
        (given, None) | (None, given) => Ok(given),
    }
}

fn sasl_config(settings: &Settings) -> Result<SaslConfig, PropertyError> {
    let wanted = settings.get(MECHANISM);
    let name = text(settings, MECHANISM).unwrap_or("GSSAPI");
    let Some(mechanism) = SaslMechanism::from_name(name) else {
        let asked = settings.get(PROTOCOL);
        return match (wanted, asked) {
            (None, Some(asked)) => Err(PropertyError::Missing {
                name: "sasl.mechanism",
                because: format!("{} asks for a login", asked.pair()),
            }),
            _ => Err(PropertyError::Invalid {
                name: wanted.map_or(MECHANISM, |given| given.name),
                value: name.to_owned(),
                fault: "expected one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512".to_owned(),
            }),
        };
    };
    let needed = |name: &'static str| {
        let given = secret(settings, name);
        given.ok_or_else(|| PropertyError::Missing {
            name,
            because: format!("{mechanism} needs it"),
        })
    };
    let (username, password) = (needed(USERNAME)?, needed(PASSWORD)?);
    SaslConfig::new(mechanism, username, password).map_err(|error| PropertyError::Invalid {
        name: MECHANISM,
        value: mechanism.to_string(),
        fault: error.to_string(),
    })
}

fn word(settings: &Settings, name: &str) -> Option<&'static str> {
    match settings.get(name)?.value {
        Value::Choice(word) => Some(word),
        _ => None,
    }
}

fn text<'a>(settings: &'a Settings, name: &str) -> Option<&'a str> {
    match &settings.get(name)?.value {
        Value::Text(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn secret(settings: &Settings, name: &str) -> Option<Secret> {
    match &settings.get(name)?.value {
        Value::Secret(secret) if !secret.is_empty() => Some(secret.clone()),
        _ => None,
    }
}

/// `*.location` names a file, `*.pem` is the text.
fn pem(settings: &Settings, name: &str) -> Option<Pem> {
    match name.ends_with(".location") {
        true => text(settings, name).map(|path| Pem::File(path.into())),
        false => {
            let text = text(settings, name).map(Secret::new).or_else(|| secret(settings, name));
            text.map(Pem::Text)
        }
    }
}
