//! Versions of PostgreSQL.
use crate::error::{Error, Result};
use std::fmt;

/// The version of a server.
///
/// `Display` prints what the server said, without a distribution's suffix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    major: u32,
    text: String,
}

/// The oldest major version that this crate works with.
pub(crate) const OLDEST: u32 = 12;

/// The newest major version that this crate knows.
const NEWEST: u32 = 18;

impl ServerVersion {
    pub(crate) fn newest() -> Self {
        Self { major: NEWEST, text: NEWEST.to_string() }
    }

    /// Reads `server_version`, also that of a beta (`18beta1`), a release candidate (`17rc1`), a
    /// development version (`19devel`), and with a distribution's suffix (`15.3 (Debian 15.3-1)`).
    ///
    /// # Errors
    /// [`Error::Invalid`] if the text does not begin with a number.
    ///
    /// ```
    /// use pgsteward::ServerVersion;
    /// let version = ServerVersion::parse("15.3 (Debian 15.3-1.pgdg120+1)")?;
    /// assert_eq!((version.major(), version.to_string().as_str()), (15, "15.3"));
    /// assert_eq!(ServerVersion::parse("18beta1")?.major(), 18);
    /// # Ok::<(), pgsteward::Error>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self> {
        let number: String = text.trim_start().chars().take_while(char::is_ascii_digit).collect();
        let major =
            number.parse().map_err(|_| Error::invalid(format!("server version {text:?}"), "it has no number"))?;
        Ok(Self { major, text: text.split_whitespace().next().unwrap_or_default().to_owned() })
    }

    /// The major version: 15 for 15.3, 9 for 9.6.24.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// Whether the server is of this major version or newer.
    pub fn at_least(&self, major: u32) -> bool {
        self.major >= major
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p003_reads_every_form_of_a_version() {
        for (text, major, printed) in [
            ("15.3", 15, "15.3"),
            ("18beta1", 18, "18beta1"),
            ("17rc1 (Ubuntu 17~rc1-1)", 17, "17rc1"),
            ("19devel", 19, "19devel"),
            ("14.2 (EnterpriseDB Advanced Server 14.2.1)", 14, "14.2"),
            ("9.6.24", 9, "9.6.24"),
        ] {
            let version = ServerVersion::parse(text).unwrap();
            assert_eq!((version.major(), version.to_string().as_str()), (major, printed));
        }
        assert!(ServerVersion::parse("CockroachDB").is_err());
    }
}
