//! Certificates and keys out of PEM: from where they are to what the TLS library takes.
//!
//! Decides which forms are read, and what is said of those that are not. Reads files, and blocks
//! meanwhile.

use super::super::tls::{Pem, TlsError};
use crate::sasl::Secret;
use pkcs8::{EncryptedPrivateKeyInfo, SecretDocument};
use std::fs;
use std::path::Path;
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

/// Largest file that is read, in bytes. The lists of whole systems are some 200 KB.
const FILE_SIZE_MAX: u64 = 16 << 20;

const ENCRYPTED_BEGIN: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const ENCRYPTED_END: &str = "-----END ENCRYPTED PRIVATE KEY-----";

/// Every certificate in `pem`; of a folder, those of all its files.
pub(super) fn certificates(
    what: &'static str,
    pem: &Pem,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    if let Pem::File(folder) = pem
        && folder.is_dir()
    {
        return certificates_of_folder(what, folder);
    }
    let text = text(what, pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| broken(what, pem, &error))?;
    if found.is_empty() {
        return Err(TlsError::Missing { what, from: pem.to_string(), holds: contents(&text) });
    }
    Ok(found)
}

/// Files without a certificate are passed over: such folders hold other things, too.
fn certificates_of_folder(
    what: &'static str,
    folder: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |cause: std::io::Error| TlsError::Unreadable {
        what,
        from: folder.display().to_string(),
        cause: cause.to_string(),
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        paths.push(entry.map_err(unreadable)?.path());
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        if let Ok(certificates) = certificates(what, &Pem::File(path)) {
            found.extend(certificates);
        }
    }
    if found.is_empty() {
        let (from, holds) = (folder.display().to_string(), "no file with one");
        return Err(TlsError::Missing { what, from, holds });
    }
    Ok(found)
}

/// The private key in `pem`, decrypted if need be.
pub(super) fn key(
    pem: &Pem,
    password: Option<&Secret>,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    const WHAT: &str = "private key";
    let from = || pem.to_string();
    let text = text(WHAT, pem)?;
    let words = String::from_utf8_lossy(&text);
    if words.lines().any(|line| line.starts_with("Proc-Type:") && line.contains("ENCRYPTED")) {
        return Err(TlsError::LegacyEncryption { from: from() });
    }
    if let Some(section) = encrypted_section(&words) {
        let password = password.ok_or_else(|| TlsError::PasswordNeeded { from: from() })?;
        return decrypt(section, password, pem);
    }
    match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => Ok(key),
        Err(PemError::NoItemsFound) => {
            Err(TlsError::Missing { what: WHAT, from: from(), holds: contents(&text) })
        }
        Err(error) => Err(broken(WHAT, pem, &error)),
    }
}

fn encrypted_section(text: &str) -> Option<&str> {
    let begin = text.find(ENCRYPTED_BEGIN)?;
    let end = begin + text[begin..].find(ENCRYPTED_END)? + ENCRYPTED_END.len();
    Some(&text[begin..end])
}

fn decrypt(
    section: &str,
    password: &Secret,
    pem: &Pem,
) -> Result<PrivateKeyDer<'static>, TlsError> {
    let (_, document) = SecretDocument::from_pem(section).map_err(|error| TlsError::Broken {
        what: "private key",
        from: pem.to_string(),
        cause: error.to_string(),
    })?;
    let opened = EncryptedPrivateKeyInfo::try_from(document.as_bytes())
        .and_then(|sealed| sealed.decrypt(password.expose()));
    let opened = opened.map_err(|error| TlsError::WrongPassword {
        from: pem.to_string(),
        cause: error.to_string(),
    })?;
    Ok(PrivatePkcs8KeyDer::from(opened.as_bytes().to_vec()).into())
}

fn text(what: &'static str, pem: &Pem) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let path = match pem {
        Pem::Text(text) => return Ok(Zeroizing::new(text.expose().as_bytes().to_vec())),
        Pem::File(path) => path,
    };
    let unreadable =
        |cause: String| TlsError::Unreadable { what, from: path.display().to_string(), cause };
    let size = fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_SIZE_MAX {
        return Err(unreadable(format!("it is larger than {FILE_SIZE_MAX} bytes")));
    }
    fs::read(path).map(Zeroizing::new).map_err(|error| unreadable(error.to_string()))
}

fn broken(what: &'static str, pem: &Pem, error: &PemError) -> TlsError {
    // The library's words repeat lines of the file, which may be the key's.
    let cause = match error {
        PemError::MissingSectionEnd { .. } => "a section has no end",
        PemError::IllegalSectionStart { .. } => "a section begins in no way that is known",
        PemError::Base64Decode(_) => "a section is no base64",
        _ => "it cannot be read",
    };
    TlsError::Broken { what, from: pem.to_string(), cause: cause.to_owned() }
}

/// What a text holds, for people who expected something else.
fn contents(text: &[u8]) -> &'static str {
    let text = String::from_utf8_lossy(text);
    let holds = |label: &str| text.contains(label);
    match () {
        () if text.trim().is_empty() => "nothing",
        () if holds("PRIVATE KEY-----") => "a private key",
        () if holds("-----BEGIN CERTIFICATE-----") => "a certificate",
        () if holds("-----BEGIN") => "other PEM sections",
        () if text.starts_with(['\u{30}', '\u{fffd}']) => "binary data, perhaps DER or PKCS#12",
        () => "no PEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> Pem {
        Pem::File(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name))
    }

    fn read(name: &str) -> String {
        let Pem::File(path) = file(name) else { unreachable!() };
        fs::read_to_string(path).unwrap()
    }

    fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        super::certificates("CA certificate", pem)
    }

    #[test]
    fn certificates_are_read_from_texts_files_and_folders_however_many() {
        assert_eq!(certificates(&file("ca.pem")).unwrap().len(), 1);
        let both =
            format!("a comment\n{}{}{}", read("ca.pem"), read("client.key"), read("other-ca.pem"));
        assert_eq!(certificates(&Pem::Text(Secret::new(both))).unwrap().len(), 2);
        assert_eq!(certificates(&file("")).unwrap().len(), 7);
    }

    #[test]
    fn every_form_of_key_is_read() {
        for (name, password) in [
            ("client.key", None),
            ("client.sec1.key", None),
            ("client-rsa.key", None),
            ("client-rsa.pkcs1.key", None),
            ("client.encrypted.key", Some("ottla-test")),
            // What is not needed is not missed.
            ("client.key", Some("ottla-test")),
        ] {
            key(&file(name), password.map(Secret::new).as_ref()).unwrap();
        }
        let plain = key(&file("client.key"), None).unwrap();
        let opened = key(&file("client.encrypted.key"), Some(&Secret::new("ottla-test"))).unwrap();
        assert_eq!(plain.secret_der(), opened.secret_der());
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_remedy() {
        let text = |text: &str| Pem::Text(Secret::new(text));
        let said = |error: TlsError| error.to_string();
        let certificate = |pem: &Pem| said(certificates(pem).unwrap_err());
        assert!(certificate(&file("client.key")).contains("client.key: it holds a private key"));
        assert!(
            certificate(&text("")).contains("no CA certificate in the PEM text: it holds nothing")
        );
        assert!(certificate(&text("/etc/ca.pem")).contains("it holds no PEM; give PEM, from"));
        assert!(certificate(&file("none.pem")).contains("none.pem: No such file"));
        let cut = text(&read("ca.pem")[..200]);
        assert!(certificate(&cut).ends_with("is broken: a section has no end"));

        let key = |pem: &Pem, password: Option<&str>| {
            said(key(pem, password.map(Secret::new).as_ref()).unwrap_err())
        };
        assert!(key(&file("ca.pem"), None).contains("it holds a certificate"));
        let sealed = file("client.encrypted.key");
        assert!(key(&sealed, None).ends_with("give its password (ssl.key.password)"));
        assert!(key(&sealed, Some("hunter2")).contains("is the password right?"));
        assert!(!key(&sealed, Some("hunter2")).contains("hunter2"));
        let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n\
                      -----END RSA PRIVATE KEY-----\n";
        assert!(key(&text(legacy), Some("x")).contains("openssl pkcs8 -topk8"));
        let torn = read("client.key").replace('M', "%");
        assert!(key(&text(&torn), None).ends_with("is broken: a section is no base64"));
    }
}
