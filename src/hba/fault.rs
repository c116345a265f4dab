//! What is wrong with a file, and where.
use super::secret;
use crate::error::Error;
use std::fmt;

/// Something in pg_hba.conf, or in a file that it includes, that the server refuses or that cannot work.
///
/// `Display` is one sentence. It never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HbaFault {
    /// The file, as the server names it.
    pub file: String,
    /// The number of the line in it, from 1.
    pub line: usize,
    /// Where in the line, in characters from 1; in a line that is continued, in all of it.
    pub column: usize,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl fmt::Display for HbaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}, column {}: {}", self.file, self.line, self.column, self.problem)
    }
}

impl From<HbaFault> for Error {
    fn from(fault: HbaFault) -> Self {
        let HbaFault { file, line, column, problem } = fault;
        Self::Hba { file, line, column, problem }
    }
}

/// What is wrong with a record, before it is known which it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trouble {
    pub(crate) column: usize,
    pub(crate) problem: String,
}

impl Trouble {
    pub(crate) fn new(column: usize, problem: String) -> Self {
        Self { column, problem }
    }

    /// Whoever sees it sees no secret.
    pub(crate) fn at(self, file: &str, line: usize) -> HbaFault {
        HbaFault { file: file.to_owned(), line, column: self.column, problem: secret::in_message(&self.problem) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Dialect;
    use super::super::list::HbaFile;
    use super::super::sample::world;

    #[test]
    fn secrets_in_the_wrong_place_show_nowhere() {
        for text in [
            "local all all ldap ldapserver=x \\\nldapbindpasswd=hunter2\n",
            "host all all all ldapbindpasswd=hunter2",
            "host all ldap ldapserver=x ldapbindpasswd=hunter2",
            "host all ldap ldapbindpasswd=my hunter2",
            "host all ldap ldapbindpasswd=my \"hunter\"\"2\"",
            "host all all all ldap ldapserver=x ldapprefix=y ldapbindpasswd=my hunter2",
            "host all all all radius radiusservers=x radiussecret=hunter2",
            "host ldapbindpasswd=hunter2 \"RADIUSSECRETS = hunter2\" ldapbindpasswd=hunter2 md5 ldapbindpasswd=hunter2",
            "host ldapbindpasswd=hunter2 \"RADIUSSECRETS = hunter2\" ldapbindpasswd=hunter2 md5",
            "host /ldapbindpasswd=hunter2 /(radiussecrets=hunter2 all md5",
            "include ldapbindpasswd=hunter2",
            "local @ldapbindpasswd=hunter2 all peer",
        ] {
            for major in [13, 18] {
                let mut world = world(major);
                world.databases = Some(Default::default());
                let dialect = Dialect::new(world.version.clone());
                let hba = HbaFile::from_bytes("pg_hba.conf", text, dialect.clone());
                let findings = hba.lint_in(&world);
                let shown: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
                assert!(!findings.is_empty() || text.contains('@'), "{text:?} on {major}");
                let faults = format!("{:?} {:?} {:?}", hba.check(), hba.faults(), hba.warnings());
                let debug = format!("{hba:?} {:?}", hba.iter().map(ToString::to_string).collect::<Vec<_>>());
                let given = format!("{:?}", HbaFile::from_bytes("pg_hba.conf", "", dialect).push(text));
                for shown in [shown, faults, debug, given] {
                    assert!(!shown.contains("hunter"), "{text:?} on {major}: {shown}");
                }
            }
        }
    }
}
