//! Ways to prove who one is.
use std::fmt;

/// What decides whether a client is let in
/// ([methods](https://www.postgresql.org/docs/current/client-authentication.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HbaMethod {
    /// Anybody, without proof.
    Trust,
    /// Nobody.
    Reject,
    /// A password, its md5 hash on the wire; SCRAM where the role has such a verifier.
    Md5,
    /// A password, in clear text.
    Password,
    /// A password, by SCRAM-SHA-256.
    ScramSha256,
    /// GSSAPI.
    Gss,
    /// SSPI, on Windows.
    Sspi,
    /// The client's ident server; on a Unix-domain socket the same as `peer`.
    Ident,
    /// The operating system's user, on a Unix-domain socket.
    Peer,
    /// PAM.
    Pam,
    /// BSD authentication.
    Bsd,
    /// An LDAP server.
    Ldap,
    /// A RADIUS server.
    Radius,
    /// A TLS client certificate.
    Cert,
    /// OAuth (PostgreSQL 18).
    Oauth,
}

impl HbaMethod {
    pub(crate) const ALL: [Self; 15] = [
        Self::Trust,
        Self::Reject,
        Self::Md5,
        Self::Password,
        Self::ScramSha256,
        Self::Gss,
        Self::Sspi,
        Self::Ident,
        Self::Peer,
        Self::Pam,
        Self::Bsd,
        Self::Ldap,
        Self::Radius,
        Self::Cert,
        Self::Oauth,
    ];

    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trust => "trust",
            Self::Reject => "reject",
            Self::Md5 => "md5",
            Self::Password => "password",
            Self::ScramSha256 => "scram-sha-256",
            Self::Gss => "gss",
            Self::Sspi => "sspi",
            Self::Ident => "ident",
            Self::Peer => "peer",
            Self::Pam => "pam",
            Self::Bsd => "bsd",
            Self::Ldap => "ldap",
            Self::Radius => "radius",
            Self::Cert => "cert",
            Self::Oauth => "oauth",
        }
    }

    /// Whether a client that passes this method surely passes another one, with what it has.
    pub(super) fn suffices_for(self, next: Self) -> bool {
        match (self, next) {
            (_, Self::Trust) => true,
            // It is the same password; but SCRAM also takes that the server keeps it as a SCRAM verifier.
            (Self::Md5 | Self::Password | Self::ScramSha256, Self::Md5 | Self::Password) => true,
            _ => self == next,
        }
    }
}

impl fmt::Display for HbaMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_one_method_may_not_suffice_for_another() {
        use HbaMethod::*;
        for method in HbaMethod::ALL {
            assert!(method.suffices_for(method) && method.suffices_for(Trust), "{method}");
            assert!(method == Trust || !Trust.suffices_for(method), "{method}");
            assert!(method == Cert || !method.suffices_for(Cert) && !Cert.suffices_for(Password), "{method}");
            assert!(method == ScramSha256 || !method.suffices_for(ScramSha256), "{method}");
        }
        for (first, next) in [(ScramSha256, Md5), (ScramSha256, Password), (Md5, Password), (Password, Md5)] {
            assert!(first.suffices_for(next), "{first} {next}");
        }
        assert!(!Ldap.suffices_for(Password) && !Password.suffices_for(Ldap) && !Peer.suffices_for(Md5));
    }
}
