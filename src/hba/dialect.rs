//! What the meaning of a file depends on.
use super::token::Continuation;
use crate::version::ServerVersion;

/// The server that a file is for, as far as its meaning depends on it.
#[derive(Clone, Debug)]
pub(crate) struct Dialect {
    pub(crate) version: ServerVersion,
    /// The setting `ssl`; none if it is not known.
    pub(crate) tls: Option<bool>,
    /// Whether it was built with GSSAPI, LDAP, PAM, BSD authentication; none if that is not known.
    pub(crate) gssapi: Option<bool>,
    pub(crate) ldap: Option<bool>,
    pub(crate) pam: Option<bool>,
    /// Whether the setting `oauth_validator_libraries` names one; none if it is not known.
    pub(crate) oauth: Option<bool>,
}

impl Dialect {
    pub(crate) fn continuation(&self) -> Continuation {
        if self.version.at_least(14) { Continuation::Backslash } else { Continuation::None }
    }

    /// Whether a `/` begins a regular expression, and lines may include other files.
    pub(crate) fn has_patterns_and_includes(&self) -> bool {
        self.version.at_least(16)
    }
}
