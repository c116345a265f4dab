//! What OpenSSL has to know before a handshake, from the parameters and the files that they name.
use crate::connect::tls_parameters::{RootCertificate, SslMode, TlsParameters, TlsVersion};
use crate::error::{Error, Result};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{self, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::store::X509Lookup;
use openssl::x509::verify::X509VerifyFlags;
use std::fs;
use std::io;
use std::path::Path;

/// The name of PostgreSQL's protocol within TLS, behind its length.
const PROTOCOL: &[u8] = b"\x0apostgresql";

/// Reads the files, each time anew: certificates are renewed.
///
/// # Errors
/// [`Error::Invalid`] for a file that is not what it should be, [`Error::Io`] for one that cannot be read.
pub(super) fn context(tls: &TlsParameters) -> Result<SslContext> {
    let mut context = SslContextBuilder::new(SslMethod::tls_client()).map_err(|error| failed(&error))?;
    configure(&mut context, tls).map_err(|error| failed(&error))?;
    trust(&mut context, tls)?;
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        identify(&mut context, certificate, key, tls.key_password.as_deref())?;
    }
    Ok(context.build())
}

fn configure(context: &mut SslContextBuilder, tls: &TlsParameters) -> Result<(), ErrorStack> {
    context.set_min_proto_version(Some(version(tls.minimum_version)))?;
    context.set_max_proto_version(tls.maximum_version.map(version))?;
    context.set_alpn_protos(PROTOCOL)?;
    // What is written again may have moved, and fewer calls read a record.
    context.set_mode(ssl::SslMode::ACCEPT_MOVING_WRITE_BUFFER | ssl::SslMode::ENABLE_PARTIAL_WRITE);
    context.set_read_ahead(true);
    Ok(())
}

fn version(version: TlsVersion) -> SslVersion {
    match version {
        TlsVersion::Tls1 => SslVersion::TLS1,
        TlsVersion::Tls1_1 => SslVersion::TLS1_1,
        TlsVersion::Tls1_2 => SslVersion::TLS1_2,
        TlsVersion::Tls1_3 => SslVersion::TLS1_3,
    }
}

/// Whose signature on the server's certificate is good.
fn trust(context: &mut SslContextBuilder, tls: &TlsParameters) -> Result<()> {
    match &tls.root_certificate {
        RootCertificate::None if tls.mode >= SslMode::VerifyCa => {
            return Err(Error::invalid("connection parameters", "this sslmode needs a root certificate (sslrootcert)"));
        }
        RootCertificate::None => {
            context.set_verify(SslVerifyMode::NONE);
            return Ok(());
        }
        RootCertificate::System => context.set_default_verify_paths().map_err(|error| failed(&error))?,
        RootCertificate::File(path) => {
            let path = readable("sslrootcert", path)?;
            context.set_ca_file(path).map_err(|error| wrong("sslrootcert", path, &error))?;
            revoke(context, tls)?;
        }
    }
    context.set_verify(SslVerifyMode::PEER);
    Ok(())
}

/// Which certificates are good no longer. If there are lists of them, each authority has to have one.
fn revoke(context: &mut SslContextBuilder, tls: &TlsParameters) -> Result<()> {
    if tls.crl.is_none() && tls.crl_directory.is_none() {
        return Ok(());
    }
    let store = context.cert_store_mut();
    if let Some(path) = &tls.crl {
        let path = readable("sslcrl", path)?;
        let lookup = store.add_lookup(X509Lookup::file());
        let read = lookup.and_then(|lookup| lookup.load_crl_file(path, SslFiletype::PEM));
        read.map_err(|error| wrong("sslcrl", path, &error))?;
    }
    if let Some(path) = &tls.crl_directory {
        let name = readable("sslcrldir", path)?.to_str().unwrap_or_default();
        let lookup = store.add_lookup(X509Lookup::hash_dir());
        let added = lookup.and_then(|lookup| lookup.add_dir(name, SslFiletype::PEM));
        added.map_err(|error| wrong("sslcrldir", path, &error))?;
    }
    let checks = X509VerifyFlags::CRL_CHECK | X509VerifyFlags::CRL_CHECK_ALL;
    store.set_flags(checks).map_err(|error| failed(&error))
}

/// What the client shows of itself.
fn identify(context: &mut SslContextBuilder, certificate: &Path, key: &Path, password: Option<&str>) -> Result<()> {
    let certificate = readable("sslcert", certificate)?;
    context.set_certificate_chain_file(certificate).map_err(|error| wrong("sslcert", certificate, &error))?;
    let private = private_key(key, password)?;
    let together = context.set_private_key(&private).and_then(|()| context.check_private_key());
    together.map_err(|_| Error::invalid(format!("sslkey {key:?}"), format!("it is not the key of {certificate:?}")))
}

fn private_key(path: &Path, password: Option<&str>) -> Result<PKey<Private>> {
    guarded(path)?;
    let bytes = fs::read(path).map_err(|error| unreadable("sslkey", path, error))?;
    // With no password OpenSSL would ask on the terminal.
    let give = |buffer: &mut [u8]| {
        let password = password.unwrap_or_default().as_bytes();
        match buffer.get_mut(..password.len()) {
            Some(place) => place.copy_from_slice(password),
            None => return Ok(0),
        }
        Ok(password.len())
    };
    PKey::private_key_from_pem_callback(&bytes, give).or_else(|error| {
        let encrypted = bytes.windows(9).any(|part| part == b"ENCRYPTED");
        PKey::private_key_from_der(&bytes).map_err(|_| match (encrypted, password) {
            (true, None) => Error::invalid(format!("sslkey {path:?}"), "it is encrypted: give sslpassword"),
            (true, Some(_)) => Error::invalid(format!("sslkey {path:?}"), "sslpassword does not decrypt it"),
            (false, _) => wrong("sslkey", path, &error),
        })
    })
}

/// Refuses a key that others may read: root's own may be read by a group.
#[cfg(unix)]
fn guarded(path: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let file = fs::metadata(path).map_err(|error| unreadable("sslkey", path, error))?;
    let why = match (file.is_file(), file.uid()) {
        (false, _) => "it is not a file",
        (true, 0) if file.mode() & 0o037 != 0 => {
            "more than root and a group that reads it have access: chmod 0640, or less"
        }
        (true, owner) if owner != 0 && file.mode() & 0o077 != 0 => {
            "others than its owner have access: chmod 0600, or less"
        }
        _ => return Ok(()),
    };
    Err(Error::invalid(format!("sslkey {path:?}"), why))
}

#[cfg(not(unix))]
fn guarded(path: &Path) -> Result<()> {
    readable("sslkey", path).map(|_| ())
}

/// A path that is there and that OpenSSL can be given: it takes text, without a zero byte.
fn readable<'p>(keyword: &str, path: &'p Path) -> Result<&'p Path> {
    fs::metadata(path).map_err(|error| unreadable(keyword, path, error))?;
    let text = path.to_str().ok_or_else(|| Error::invalid(format!("{keyword} {path:?}"), "its path is not UTF-8"))?;
    Ok(Path::new(text))
}

fn unreadable(keyword: &str, path: &Path, error: io::Error) -> Error {
    Error::io(format!("read {keyword} {path:?}"), error)
}

fn wrong(keyword: &str, path: &Path, error: &ErrorStack) -> Error {
    Error::invalid(format!("{keyword} {path:?}"), reasons(error))
}

fn failed(error: &ErrorStack) -> Error {
    Error::invalid("TLS parameters", reasons(error))
}

/// What OpenSSL says, without its sources' names and lines.
pub(super) fn reasons(error: &ErrorStack) -> String {
    let reasons: Vec<_> = error.errors().iter().filter_map(openssl::error::Error::reason).collect();
    if reasons.is_empty() { error.to_string() } else { reasons.join("; ") }
}
