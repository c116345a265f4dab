//! What is wrong with a set of rules, or may be.
use super::entry::HbaEntry;
use super::fault::HbaFault;
use super::lockout::LockOut;
use super::secret;
use std::fmt;
use std::sync::Arc;

/// Something in pg_hba.conf that is wrong, dangerous, or not what it looks like. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Where it is; none for what no line of a file is the reason of.
    pub place: Option<Place>,
    /// What is wrong and what to do, in words.
    pub message: String,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as the server names it.
    pub file: Arc<str>,
    /// The number of the line, from 1.
    pub line: usize,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It may well be meant so.
    Notice,
    /// It is hardly meant so, or dangerous.
    Warning,
    /// Somebody who must get in cannot.
    Error,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident $severity:ident),* $(,)?) => {
        /// What a [`Finding`] is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum FindingKind { $($(#[$doc])* $kind,)* }

        impl FindingKind {
            /// How much it matters.
            pub fn severity(self) -> Severity {
                match self { $(Self::$kind => Severity::$severity,)* }
            }
        }
    };
}

kinds! {
    /// The server refuses the whole file for it.
    Fault Error,
    /// This program's session, or a replica, could not connect again.
    LockOut Error,
    /// Somebody else's session could not connect again.
    OtherLockOut Warning,
    /// Whether this program's session, or a replica, could connect again is not known.
    PerhapsLockOut Notice,
    /// To connect again, this program's session, or a replica, would have to prove itself otherwise than by the rules as
    /// they were read, and may not be able to.
    ChangedAuthentication Warning,
    /// An earlier rule matches all that this one matches.
    Unreachable Warning,
    /// No connection can match it.
    NeverMatches Warning,
    /// `trust` for addresses that are not the server's own.
    TrustFromElsewhere Warning,
    /// A password travels in clear text where the connection is not encrypted.
    ClearTextPassword Warning,
    /// `md5` where the connection may not be encrypted.
    Md5WithoutTls Warning,
    /// `md5`: SCRAM is better, and PostgreSQL 18 calls it deprecated.
    Md5 Notice,
    /// There is no such database.
    UnknownDatabase Warning,
    /// There is no such role.
    UnknownRole Warning,
    /// The role cannot log in; its members are not meant unless a `+` comes before it.
    NoLogin Warning,
    /// A role for replication may connect to `all` databases, which is not physical replication.
    AllIsNotReplication Notice,
    /// It looks like a keyword, but is quoted or not in lower case.
    NotAKeyword Warning,
    /// An option that is on for `1` only has another value, and is off.
    NotTrue Warning,
    /// A mask with gaps.
    NonContiguousMask Warning,
    /// An address with bits outside its mask, which do not count.
    HostBits Notice,
    /// A number of an address that is octal, or an address in parts of other sizes than usual.
    AddressForm Warning,
    /// The name of a host: the server asks name servers while a client waits.
    HostName Notice,
    /// A regular expression that matches more than it shows: it is not anchored at both ends.
    Unanchored Notice,
    /// A regular expression that a comma or `#` cuts, because it is not quoted.
    CutExpression Warning,
    /// It means another thing in another version of PostgreSQL.
    OtherVersion Notice,
    /// A comment goes on in the next line, because of a backslash at its end.
    ContinuedComment Warning,
    /// A blank before a comma ends a list.
    BlankBeforeComma Warning,
    /// A comma before a blank, or at the end of a line: the list goes on.
    BlankAfterComma Notice,
    /// A quote that nothing closes: it takes the rest of the line.
    OpenQuote Warning,
    /// An `@file` with no words in it.
    EmptyFile Warning,
    /// The file begins with a byte order mark, which spoils its first line.
    ByteOrderMark Warning,
    /// A NUL byte hides the rest of its line.
    NulByte Warning,
    /// A carriage return that does not end a line is a blank.
    CarriageReturn Warning,
}

impl FindingKind {
    /// Whether it is about who is connected now, and not about a line.
    pub(super) fn is_about_sessions(self) -> bool {
        matches!(self, Self::LockOut | Self::OtherLockOut | Self::PerhapsLockOut | Self::ChangedAuthentication)
    }

    /// Whether it is about how a line is taken for lists.
    pub(super) fn is_about_lists(self) -> bool {
        matches!(self, Self::BlankBeforeComma | Self::BlankAfterComma | Self::AddressForm)
    }
}

impl Finding {
    /// Whoever sees it sees no secret.
    pub(super) fn new(kind: FindingKind, place: Option<Place>, message: &str) -> Self {
        Self { kind, place, message: secret::in_message(message) }
    }

    /// Its words show no secret of the rules in them, and end with quotes that are not those of one word.
    pub(super) fn of_lock_out(kind: FindingKind, lock_out: &LockOut) -> Self {
        Self { kind, place: lock_out.outcome.place(), message: lock_out.to_string() }
    }

    pub(super) fn of_fault(kind: FindingKind, fault: HbaFault) -> Self {
        let place = Place { file: fault.file.as_str().into(), line: fault.line };
        Self::new(kind, Some(place), &fault.problem)
    }

    pub(super) fn at(kind: FindingKind, entry: &HbaEntry, message: impl Into<String>) -> Self {
        let place = Place { file: entry.file.clone(), line: entry.line() };
        Self::new(kind, Some(place), &message.into())
    }

    /// How much it matters.
    pub fn severity(&self) -> Severity {
        self.kind.severity()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.severity())?;
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} line {}", self.file, self.line)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}
