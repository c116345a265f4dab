//! What is decided about a connection.
use super::entry::HbaEntry;
use super::finding::Place;
use super::method::HbaMethod;
use super::name::HbaName;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// Which rule decides about a connection, and why those before it do not. `Display` is one sentence; [`Judge::explain`]
/// has the rest in words.
///
/// [`Judge::explain`]: super::Judge::explain
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Decision {
    /// What decides.
    pub outcome: Outcome,
    mismatches: Vec<Mismatch>,
}

/// What decides about a connection. `Display` is one sentence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Outcome {
    /// This rule, the first that matches. Its method may be `reject`.
    Rule(RulePlace),
    /// No rule matches: the server refuses the connection.
    ImplicitReject,
    /// It hangs on something that is not known.
    Unknown {
        /// The rules that may match, in order; at least one.
        doubts: Vec<Doubt>,
        /// The rule that decides if none of them does; none if the connection is refused then.
        otherwise: Option<RulePlace>,
    },
}

/// A rule that matches or not, depending on something that is not known.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Doubt {
    /// The rule.
    pub rule: RulePlace,
    /// What is not known.
    pub unknown: Unknown,
}

/// A rule, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RulePlace {
    /// Its place in the list, from 0.
    pub index: usize,
    /// The file that it is in.
    pub file: Arc<str>,
    /// The number of its first line in that file, from 1.
    pub line: usize,
    /// What it asks for.
    pub method: HbaMethod,
}

/// Why a rule does not match: the first reason, in the order in which the server looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mismatch {
    /// It is for Unix-domain sockets and the connection comes over TCP/IP, or the other way round.
    ConnectionType,
    /// It is for connections with TLS and this one is without, or the other way round.
    Tls,
    /// It is for connections with GSSAPI encryption and this one is without, or the other way round.
    GssEncryption,
    /// The client's address is none of the rule's.
    Address,
    /// The database is none of the rule's.
    Database,
    /// The user is none of the rule's.
    User,
}

/// Something that would have to be known for a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unknown {
    /// The client's address.
    ClientAddress,
    /// The server's own addresses and networks.
    Interfaces,
    /// The name of this address, or the addresses of its name.
    HostName(IpAddr),
    /// Which roles are members of which.
    Roles,
    /// What this regular expression matches.
    Expression(HbaName),
}

/// What a connection meets, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Access {
    /// It is asked for what this method asks for; never [`HbaMethod::Reject`].
    Method(HbaMethod),
    /// A rule refuses it.
    Reject,
    /// No rule matches, and it is refused.
    NoRule,
    /// That hangs on something that is not known.
    Unknown,
}

impl Decision {
    pub(super) fn new(outcome: Outcome, mismatches: Vec<Mismatch>) -> Self {
        Self { outcome, mismatches }
    }

    /// Why each rule does not match that comes before the first that matches, or may match: the reasons are in the order of
    /// the rules.
    pub fn mismatches(&self) -> &[Mismatch] {
        &self.mismatches
    }

    /// The rule that decides; none if there is none, or it is not known.
    pub fn rule(&self) -> Option<&RulePlace> {
        self.outcome.rule()
    }

    /// What the connection meets.
    pub fn access(&self) -> Access {
        self.outcome.access()
    }

    /// Whether the connection is refused without being asked for anything; none if that is not known.
    pub fn is_refused(&self) -> Option<bool> {
        self.outcome.is_refused()
    }
}

impl Outcome {
    /// The rule that decides; none if there is none, or it is not known.
    pub fn rule(&self) -> Option<&RulePlace> {
        match self {
            Outcome::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    /// Where the rule stands that decides.
    pub(super) fn place(&self) -> Option<Place> {
        self.rule().map(|rule| Place { file: rule.file.clone(), line: rule.line })
    }

    /// What the connection meets.
    pub fn access(&self) -> Access {
        match self {
            Outcome::Rule(rule) => rule.access(),
            Outcome::ImplicitReject => Access::NoRule,
            Outcome::Unknown { .. } => Access::Unknown,
        }
    }

    /// Whether the connection is refused without being asked for anything; none if that is not known.
    pub fn is_refused(&self) -> Option<bool> {
        let refuses = |rule: &RulePlace| rule.method == HbaMethod::Reject;
        match self {
            Outcome::Rule(rule) => Some(refuses(rule)),
            Outcome::ImplicitReject => Some(true),
            Outcome::Unknown { doubts, otherwise } => {
                let last = otherwise.as_ref().is_none_or(refuses);
                doubts.iter().all(|doubt| refuses(&doubt.rule) == last).then_some(last)
            }
        }
    }
}

impl RulePlace {
    pub(super) fn new(index: usize, entry: &HbaEntry) -> Self {
        Self { index, file: entry.file.clone(), line: entry.line(), method: entry.effective().method }
    }

    fn access(&self) -> Access {
        match self.method {
            HbaMethod::Reject => Access::Reject,
            method => Access::Method(method),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(rule) => write!(f, "{rule} decides: {}", rule.method),
            Self::ImplicitReject => write!(f, "no rule matches: the connection is refused"),
            Self::Unknown { doubts, otherwise } => {
                for doubt in doubts {
                    write!(f, "{} may decide ({}), {}; ", doubt.rule, doubt.rule.method, doubt.unknown)?;
                }
                match otherwise {
                    Some(rule) => write!(f, "otherwise {rule} decides: {}", rule.method),
                    None => write!(f, "otherwise no rule matches: the connection is refused"),
                }
            }
        }
    }
}

impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rule in {} line {}", self.file, self.line)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConnectionType => "it is for another type of connection",
            Self::Tls => "it is for connections with TLS where this one has none, or the reverse",
            Self::GssEncryption => {
                "it is for connections with GSSAPI encryption where this one has none, or the reverse"
            }
            Self::Address => "it is for other addresses",
            Self::Database => "it is for other databases",
            Self::User => "it is for other users",
        })
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientAddress => write!(f, "the client's address is not known"),
            Self::Interfaces => write!(f, "the server's own addresses are not known"),
            Self::HostName(address) => write!(f, "the name of {address} is not known"),
            Self::Roles => write!(f, "the members of roles are not known"),
            Self::Expression(expression) => write!(f, "only the server knows what /{expression} matches"),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => method.fmt(f),
            Self::Reject => f.write_str("reject"),
            Self::NoRule => f.write_str("no rule"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}
