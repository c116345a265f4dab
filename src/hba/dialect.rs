//! What the meaning of a file depends on.
use super::token::Reading;
use crate::version::ServerVersion;

/// The server that a file is for, as far as the meaning of the file depends on it. What is not known is taken for what
/// accepts the most.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Dialect {
    /// The server's version.
    pub version: ServerVersion,
    /// The setting `ssl`.
    pub ssl: Option<bool>,
    /// Whether it was built with GSSAPI.
    pub gssapi: Option<bool>,
    /// Whether it was built with LDAP.
    pub ldap: Option<bool>,
    /// Whether it was built with PAM.
    pub pam: Option<bool>,
    /// Whether it was built with BSD authentication: on OpenBSD.
    pub bsd: Option<bool>,
    /// Whether it was built with SSPI: on Windows.
    pub sspi: Option<bool>,
    /// The libraries in the setting `oauth_validator_libraries` (PostgreSQL 18).
    pub oauth_validators: Option<Vec<String>>,
}

impl Dialect {
    /// A server of which nothing but the version is known.
    pub fn new(version: ServerVersion) -> Self {
        Self { version, ssl: None, gssapi: None, ldap: None, pam: None, bsd: None, sspi: None, oauth_validators: None }
    }

    /// How a file is taken into lines and words.
    pub(crate) fn reading(&self) -> Reading {
        let version = &self.version;
        let (longest_word, longest_line) = match version.major() {
            ..11 => (Some(255), Some(8_191)),
            11..14 => (Some(10_239), Some(20_479)),
            14..16 => (Some(10_239), None),
            _ => (None, None),
        };
        Reading { continues: version.at_least(14), longest_word, longest_line }
    }

    /// Whether a `/` begins a regular expression, and lines may include other files.
    pub(crate) fn has_patterns_and_includes(&self) -> bool {
        self.version.at_least(16)
    }
}
