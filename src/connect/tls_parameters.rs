//! What the connection parameters say about TLS, with libpq's defaults and its rules on what goes together
//! ([SSL Support](https://www.postgresql.org/docs/current/libpq-ssl.html)). Pure.
use super::conninfo::Parameters;
use crate::error::{Error, Result};
use std::fmt;
use std::path::{Path, PathBuf};

/// How much a connection is guarded (`sslmode`), from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SslMode {
    /// No TLS.
    Disable,
    /// Without TLS; with it if the server refuses that.
    Allow,
    /// With TLS; without it if the server has none or refuses.
    Prefer,
    /// With TLS.
    Require,
    /// The server's certificate is signed by a known authority.
    VerifyCa,
    /// And it is for the host that was named.
    VerifyFull,
}

/// Whose signatures are trusted (`sslrootcert`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RootCertificate {
    /// Nobody's: the server's certificate is not verified.
    None,
    /// The certificates in this file, which is there. The server's is verified, in every mode that uses TLS.
    File(PathBuf),
    /// Those that the system trusts.
    System,
}

/// Whether a client certificate is sent (`sslcertmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CertificateMode {
    /// Never.
    Disable,
    /// If the server asks and there is one.
    Allow,
    /// The server has to ask, and there has to be one.
    Require,
}

/// A version of the protocol (`ssl_min_protocol_version`, `ssl_max_protocol_version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TlsVersion {
    Tls1,
    Tls1_1,
    Tls1_2,
    Tls1_3,
}

/// How TLS begins (`sslnegotiation`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SslNegotiation {
    /// The server is asked first.
    Postgres,
    /// At once; from PostgreSQL 17 on.
    Direct,
}

/// Whether SCRAM proves which TLS connection it is in (`channel_binding`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// All that is said about TLS. Files that libpq goes on without when they are absent are named only if they are there.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TlsParameters {
    pub(crate) mode: SslMode,
    pub(crate) root_certificate: RootCertificate,
    /// The client's certificate (`sslcert`), which is there; None if it is not to be sent (`sslcertmode`).
    pub(crate) certificate: Option<PathBuf>,
    /// The key of the client's certificate (`sslkey`).
    pub(crate) key: Option<PathBuf>,
    /// What the key is encrypted with (`sslpassword`).
    pub(crate) key_password: Option<String>,
    /// Certificates that were revoked (`sslcrl`). They count only with a root certificate file.
    pub(crate) crl: Option<PathBuf>,
    /// A directory of such files (`sslcrldir`).
    pub(crate) crl_directory: Option<PathBuf>,
    pub(crate) minimum_version: TlsVersion,
    /// None is the newest there is.
    pub(crate) maximum_version: Option<TlsVersion>,
    /// Whether the host's name is told to the server in the clear (`sslsni`).
    pub(crate) server_name_indication: bool,
    pub(crate) negotiation: SslNegotiation,
    pub(crate) channel_binding: ChannelBinding,
}

impl TlsParameters {
    /// The same without TLS.
    pub(crate) fn without(&self) -> Self {
        Self { mode: SslMode::Disable, ..self.clone() }
    }

    /// Takes what concerns TLS out of connection parameters. The default files are in `.postgresql` of the home directory;
    /// `exists` says whether a file is there.
    ///
    /// # Errors
    /// [`Error::Invalid`] for values that libpq refuses, and for files that are missing where they must not.
    pub(crate) fn of(parameters: &Parameters, home: Option<&Path>, exists: &dyn Fn(&Path) -> bool) -> Result<Self> {
        let file = |keyword: &str, default: &str| {
            let given = text(parameters, keyword).map(PathBuf::from);
            given.or_else(|| home.map(|home| home.join(".postgresql").join(default)))
        };
        let present = |path: Option<PathBuf>| path.filter(|path| exists(path));
        let (mode, negotiation) = modes(parameters)?;
        let (minimum_version, maximum_version) = versions(parameters)?;
        let certificate_mode = word(parameters, "sslcertmode", CertificateMode::Allow, &CERTIFICATE_MODES)?;
        if certificate_mode == CertificateMode::Require {
            return Err(Error::unsupported(
                "sslcertmode=require",
                "to know whether the server asks for a certificate; the server's rule says that: clientcert=verify-full",
            ));
        }
        let root_certificate = match text(parameters, "sslrootcert") {
            Some("system") => RootCertificate::System,
            _ => root_file(file("sslrootcert", "root.crt"), mode, exists)?,
        };
        let certificate = present(file("sslcert", "postgresql.crt")).filter(|_| {
            // With no TLS at all nobody looks at them.
            mode != SslMode::Disable && certificate_mode != CertificateMode::Disable
        });
        let key = file("sslkey", "postgresql.key").filter(|_| certificate.is_some());
        let crl_directory = text(parameters, "sslcrldir").map(PathBuf::from);
        let crl = match (&crl_directory, text(parameters, "sslcrl")) {
            (Some(_), None) => None,
            _ => file("sslcrl", "root.crl"),
        };
        Ok(Self {
            mode,
            root_certificate,
            certificate,
            key,
            key_password: text(parameters, "sslpassword").map(str::to_owned),
            crl: present(crl),
            crl_directory,
            minimum_version,
            maximum_version,
            server_name_indication: text(parameters, "sslsni") != Some("0"),
            negotiation,
            channel_binding: word(parameters, "channel_binding", ChannelBinding::Prefer, &CHANNEL_BINDINGS)?,
        })
    }
}

const SSL_MODES: [(&str, SslMode); 6] = [
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];
const CERTIFICATE_MODES: [(&str, CertificateMode); 3] =
    [("disable", CertificateMode::Disable), ("allow", CertificateMode::Allow), ("require", CertificateMode::Require)];
const NEGOTIATIONS: [(&str, SslNegotiation); 2] =
    [("postgres", SslNegotiation::Postgres), ("direct", SslNegotiation::Direct)];
const CHANNEL_BINDINGS: [(&str, ChannelBinding); 3] =
    [("disable", ChannelBinding::Disable), ("prefer", ChannelBinding::Prefer), ("require", ChannelBinding::Require)];
const VERSIONS: [(&str, TlsVersion); 4] = [
    ("TLSv1", TlsVersion::Tls1),
    ("TLSv1.1", TlsVersion::Tls1_1),
    ("TLSv1.2", TlsVersion::Tls1_2),
    ("TLSv1.3", TlsVersion::Tls1_3),
];

/// The mode and the negotiation, of which a weak and a strong one do not go together.
fn modes(parameters: &Parameters) -> Result<(SslMode, SslNegotiation)> {
    let system = text(parameters, "sslrootcert") == Some("system");
    let default = if system { SslMode::VerifyFull } else { SslMode::Prefer };
    let mode = word(parameters, "sslmode", default, &SSL_MODES)?;
    let negotiation = word(parameters, "sslnegotiation", SslNegotiation::Postgres, &NEGOTIATIONS)?;
    let weak = |with: &str, instead: &str| {
        let name = SSL_MODES.iter().find(|(_, known)| *known == mode).map_or("", |(name, _)| name);
        let why = format!("the weak sslmode {name} may not be used with {with}: {instead}");
        Err(Error::invalid("connection parameters", why))
    };
    match (mode, negotiation) {
        (mode, _) if system && mode < SslMode::VerifyFull => weak("sslrootcert=system", "use verify-full"),
        (mode, SslNegotiation::Direct) if mode < SslMode::Require => {
            weak("sslnegotiation=direct", "use require, verify-ca or verify-full")
        }
        both => Ok(both),
    }
}

fn versions(parameters: &Parameters) -> Result<(TlsVersion, Option<TlsVersion>)> {
    let version = |keyword: &'static str| match text(parameters, keyword) {
        None => Ok(None),
        Some(value) => match VERSIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(value)) {
            Some((_, version)) => Ok(Some(*version)),
            None => Err(refused(keyword, VERSIONS.iter().map(|(name, _)| *name))),
        },
    };
    let minimum = version("ssl_min_protocol_version")?.unwrap_or(TlsVersion::Tls1_2);
    let maximum = version("ssl_max_protocol_version")?;
    match maximum {
        Some(maximum) if maximum < minimum => Err(Error::invalid(
            "connection parameters",
            "ssl_max_protocol_version is below ssl_min_protocol_version (TLSv1.2 where it is not given)",
        )),
        _ => Ok((minimum, maximum)),
    }
}

/// Without its file a server cannot be verified: an error only where that was asked for.
fn root_file(path: Option<PathBuf>, mode: SslMode, exists: &dyn Fn(&Path) -> bool) -> Result<RootCertificate> {
    match path {
        Some(path) if exists(&path) => Ok(RootCertificate::File(path)),
        path if mode >= SslMode::VerifyCa => Err(Error::invalid(
            "connection parameters",
            format!(
                "the root certificate file {:?} does not exist: give it as sslrootcert, take the system's with \
                 sslrootcert=system, or choose an sslmode that does not verify",
                path.unwrap_or_default()
            ),
        )),
        _ => Ok(RootCertificate::None),
    }
}

/// A parameter's value, if it is not empty.
pub(super) fn text<'p>(parameters: &'p Parameters, keyword: &str) -> Option<&'p str> {
    parameters.get(keyword).map(String::as_str).filter(|value| !value.is_empty())
}

/// What a parameter says in one of these words. An empty one is none of them, as with libpq.
pub(super) fn word<T: Copy>(
    parameters: &Parameters,
    keyword: &'static str,
    default: T,
    words: &[(&'static str, T)],
) -> Result<T> {
    let Some(value) = parameters.get(keyword) else { return Ok(default) };
    let known = words.iter().find(|(name, _)| name == value);
    known.map(|(_, word)| *word).ok_or_else(|| refused(keyword, words.iter().map(|(name, _)| *name)))
}

/// The value is not repeated: it may be a piece of a password.
fn refused(keyword: &str, words: impl Iterator<Item = &'static str>) -> Error {
    let words: Vec<_> = words.collect();
    Error::invalid(format!("connection parameter {keyword}"), format!("it is one of {}", words.join(", ")))
}

impl fmt::Debug for TlsParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mode, root_certificate, certificate, key, .. } = self;
        f.debug_struct("TlsParameters")
            .field("mode", mode)
            .field("root_certificate", root_certificate)
            .field("certificate", certificate)
            .field("key", key)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a connection string says, where these files are.
    fn of(text: &str, there: &[&str]) -> Result<TlsParameters> {
        let parameters = super::super::conninfo::parse(text)?;
        TlsParameters::of(&parameters, Some(Path::new("/home")), &|path| {
            there.iter().any(|file| path == Path::new(file))
        })
    }

    #[test]
    fn the_default_files_count_where_they_are() {
        let nothing = of("", &[]).unwrap();
        assert_eq!((nothing.mode, &nothing.root_certificate), (SslMode::Prefer, &RootCertificate::None));
        assert_eq!((&nothing.certificate, &nothing.key, &nothing.crl), (&None, &None, &None));
        let files = ["root.crt", "postgresql.crt", "postgresql.key", "root.crl"]
            .map(|file| format!("/home/.postgresql/{file}"));
        let files = files.each_ref().map(String::as_str);
        let all = of("", &files).unwrap();
        let [root, certificate, key, crl] = files.map(PathBuf::from);
        assert_eq!(all.root_certificate, RootCertificate::File(root));
        assert_eq!((all.certificate, all.key, all.crl), (Some(certificate), Some(key), Some(crl)));
        assert_eq!(of("sslcertmode=disable", &files).unwrap().certificate, None);
        assert_eq!(of("sslcrldir=/crls", &files).unwrap().crl, None);
        // A file of one's own that is not there is none, unless it is needed.
        assert_eq!(of("sslcert=/x sslrootcert=/x", &files).unwrap().root_certificate, RootCertificate::None);
        for wrong in ["sslmode=verify-ca sslrootcert=/x", "sslmode=verify-full sslrootcert=/x"] {
            assert!(matches!(of(wrong, &files), Err(Error::Invalid { .. })), "{wrong}");
        }
        // A key that is missing matters where it is needed.
        assert_eq!(of("sslkey=/x", &files).unwrap().key, Some(PathBuf::from("/x")));
        assert!(matches!(of("sslcertmode=require", &files), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn a_weak_mode_does_not_go_with_what_is_strong() {
        let mode = |text: &str| of(text, &[]).map(|tls| tls.mode).ok();
        assert_eq!(mode("sslrootcert=system"), Some(SslMode::VerifyFull));
        assert_eq!(mode("sslrootcert=system sslmode=verify-full"), Some(SslMode::VerifyFull));
        assert_eq!(mode("sslrootcert=system sslmode=verify-ca"), None);
        assert_eq!(mode("sslnegotiation=direct"), None);
        assert_eq!(mode("sslnegotiation=direct sslmode=require"), Some(SslMode::Require));
        assert_eq!(mode("sslmode=Require"), None);
        assert_eq!(mode("sslmode="), None);
    }

    #[test]
    fn versions_are_a_range() {
        let range = |text: &str| of(text, &[]).map(|tls| (tls.minimum_version, tls.maximum_version)).ok();
        assert_eq!(range(""), Some((TlsVersion::Tls1_2, None)));
        assert_eq!(range("ssl_min_protocol_version=tlsv1.3"), Some((TlsVersion::Tls1_3, None)));
        assert_eq!(range("ssl_max_protocol_version=TLSv1.1"), None);
        let old = range("ssl_min_protocol_version=TLSv1 ssl_max_protocol_version=TLSv1.1");
        assert_eq!(old, Some((TlsVersion::Tls1, Some(TlsVersion::Tls1_1))));
        assert_eq!(range("ssl_min_protocol_version=SSLv3"), None);
    }
}
