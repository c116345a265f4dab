//! Names as the server compares them: byte by byte.
use super::secret;
use std::fmt;

/// A name in pg_hba.conf. It is compared with the client's byte by byte, in whatever encoding; `Display` shows
/// what is no UTF-8 as U+FFFD. In a name that looks like an option with a secret, which stands in the wrong place then,
/// `Display` and `Debug` show `********` for the secret; [`as_bytes`](HbaName::as_bytes) has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct HbaName(Vec<u8>);

impl HbaName {
    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&secret::masked_word(&self.0)).into_owned()
    }
}

impl fmt::Display for HbaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

impl fmt::Debug for HbaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown(), f)
    }
}

impl From<&str> for HbaName {
    fn from(name: &str) -> Self {
        Self(name.as_bytes().to_vec())
    }
}

impl From<String> for HbaName {
    fn from(name: String) -> Self {
        Self(name.into_bytes())
    }
}

impl From<Vec<u8>> for HbaName {
    fn from(name: Vec<u8>) -> Self {
        Self(name)
    }
}

impl From<&[u8]> for HbaName {
    fn from(name: &[u8]) -> Self {
        Self(name.to_vec())
    }
}

impl PartialEq<str> for HbaName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for HbaName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}
