//! Rules as they are given to a list: as text, or typed.
use super::dialect::Dialect;
use super::entry::HbaEntry;
use super::fault::Trouble;
use super::parse;
use super::rule::HbaRule;
use super::token::{Piece, comment, pieces};
use super::write;
use crate::error::{Error, Result};

/// What a rule that was given is called in messages.
const NAME: &str = "the rule";

/// What a list takes for a rule: text (`"host shop app 10.0.0.0/8 scram-sha-256"`), which is read as the list's server
/// reads it, or an [`HbaRule`], or an [`HbaEntry`].
pub trait ToHbaRule: sealed::Sealed {
    /// The rule as it was given.
    #[doc(hidden)]
    fn given(&self) -> Given<'_>;
}

/// A rule as it was given.
#[doc(hidden)]
#[derive(Debug)]
pub enum Given<'a> {
    Text(&'a str),
    Typed(&'a HbaRule),
}

mod sealed {
    pub trait Sealed {}
}

macro_rules! given {
    ($($kind:ty: |$value:ident| $given:expr;)*) => {
        $(
            impl sealed::Sealed for $kind {}
            impl ToHbaRule for $kind {
                fn given(&self) -> Given<'_> {
                    let $value = self;
                    $given
                }
            }
        )*
    };
}

given! {
    &str: |text| Given::Text(text);
    String: |text| Given::Text(text);
    &String: |text| Given::Text(text);
    HbaRule: |rule| Given::Typed(rule);
    &HbaRule: |rule| Given::Typed(rule);
    HbaEntry: |entry| Given::Typed(&entry.rule);
    &HbaEntry: |entry| Given::Typed(&entry.rule);
}

/// A rule that a server takes, and how it is to be written.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) rule: HbaRule,
    /// As [`write::words`] gives them.
    pub(super) words: Vec<Vec<u8>>,
    /// The comment behind it, from its `#`.
    pub(super) comment: Option<Vec<u8>>,
}

/// The rule, in the form in which a file for this server has it.
///
/// # Errors
/// [`Error::Hba`] for text that is no rule, [`Error::Invalid`] and [`Error::Unsupported`] for what cannot be written.
pub(super) fn accept(given: &impl ToHbaRule, dialect: &Dialect) -> Result<Accepted> {
    let (rule, comment) = match given.given() {
        Given::Text(text) => {
            let given = rule_in_text(text.as_bytes(), dialect)?;
            (given.rule, given.comment)
        }
        Given::Typed(rule) => (rule.clone(), None),
    };
    let words = write::words(&rule, dialect)?;
    // What was typed may still break a rule of the server's, and a name may be a regular expression there.
    let written = rule_in_text(&words.join(&b' '), dialect);
    let rule = match (written, given.given()) {
        (Err(Error::Hba { problem, .. }), Given::Typed(rule)) => {
            return Err(Error::invalid(format!("rule \"{rule}\" of pg_hba.conf"), problem));
        }
        (written, _) => written?.rule,
    };
    Ok(Accepted { rule, words, comment })
}

/// A rule in a text.
pub(super) struct InText {
    pub(super) rule: HbaRule,
    /// The comment behind it, from its `#`.
    pub(super) comment: Option<Vec<u8>>,
}

/// The one rule in a text, as it is written: an `@file` in it stays one.
pub(super) fn rule_in_text(text: &[u8], dialect: &Dialect) -> Result<InText> {
    let reading = dialect.reading();
    let pieces: Vec<_> = pieces(text, reading).collect();
    let fault = |line, column, problem: &str| Error::from(Trouble::new(column, problem.into()).at(NAME, line));
    let mut records = pieces.iter().filter_map(|piece| Some((piece, piece.record.as_ref()?)));
    let Some((piece, record)) = records.next() else {
        return Err(fault(
            1,
            1,
            "a rule was expected, but there is none: connection type, database, user, address, method",
        ));
    };
    if let Some((second, _)) = records.next() {
        return Err(fault(second.line, 1, "one rule was expected, but here begins a second one"));
    }
    let bytes = |piece: &Piece| text.get(piece.range.clone()).unwrap_or_default();
    if let Some(other) = pieces.iter().find(|other| *other != piece && !bytes(other).trim_ascii().is_empty()) {
        return Err(fault(other.line, 1, "a rule alone was expected; a comment can stand behind it, in the same line"));
    }
    if bytes(piece).contains(&0) {
        return Err(fault(piece.line, 1, "a rule has no NUL byte"));
    }
    let verb = record.fields.first().and_then(|field| field.first()).map(|token| token.bytes.as_slice());
    if record.fields.len() == 2 && verb.is_some_and(|verb| verb.starts_with(b"include")) {
        return Err(fault(piece.line, 1, "a rule was expected; to include a file, edit pg_hba.conf itself"));
    }
    let parsed = parse::rule(record, &record.fields, dialect).map_err(|trouble| trouble.at(NAME, piece.line))?;
    let comment = comment(bytes(piece), reading)
        .and_then(|at| bytes(piece).get(at..))
        .map(|comment| comment.trim_ascii_end().to_vec());
    if comment.as_ref().is_some_and(|comment| comment.contains(&b'\n') || comment.ends_with(b"\\")) {
        return Err(fault(
            piece.line,
            record.end,
            "the comment behind a rule is one line, without a backslash at its end",
        ));
    }
    Ok(InText { rule: parsed.rule, comment })
}
