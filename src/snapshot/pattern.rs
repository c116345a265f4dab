//! Which tables are meant.
use crate::error::{Error, Result};
use crate::name::Name;
use std::fmt;
use std::iter;

/// A pattern for names of tables: `app.orders`, `app.log_*`, `*.tmp?`, `"My App".*`.
///
/// It is written as SQL writes names, with `*` for any characters and `?` for one; nothing else is a wildcard, least of
/// all `_` and `%`. Within double quotes every character stands for itself, and upper case is kept. Without a schema it
/// means schema `public`, as all names here do.
///
/// ```
/// # fn main() -> pgsteward::Result<()> {
/// use pgsteward::Name;
/// use pgsteward::snapshot::TablePattern;
/// let logs = TablePattern::parse("app.log_*")?;
/// assert!(logs.matches(&Name::new("app", "log_2026")));
/// assert!(!logs.matches(&Name::new("app", "logs_2026")) && !logs.matches(&Name::new("public", "log_2026")));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePattern {
    text: String,
    schema: Vec<Piece>,
    name: Vec<Piece>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    This(char),
    One,
    Any,
}

impl TablePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a text that is not one or two names with a dot between.
    pub fn parse(text: &str) -> Result<Self> {
        let malformed = || {
            let why =
                "it is neither name nor schema.name, with * and ? for wildcards and \"...\" around other characters";
            Error::invalid(format!("pattern {text:?}"), why)
        };
        let mut parts = pieces(text).filter(|parts| parts.iter().all(|part| !part.is_empty())).ok_or_else(malformed)?;
        let (name, schema, none) = (parts.pop(), parts.pop(), parts.pop());
        let schema = schema.unwrap_or_else(|| exactly("public"));
        match (name, none) {
            (Some(name), None) => Ok(Self { text: text.to_owned(), schema, name }),
            _ => Err(malformed()),
        }
    }

    /// The table of this name, and no other.
    pub fn table(name: impl Into<Name>) -> Self {
        let name = name.into();
        Self { text: name.to_string(), schema: exactly(&name.schema), name: exactly(&name.name) }
    }

    /// Whether a table of this name is meant.
    pub fn matches(&self, name: &Name) -> bool {
        fits(&self.schema, &name.schema) && fits(&self.name, &name.name)
    }
}

/// As it was given.
impl fmt::Display for TablePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn exactly(text: &str) -> Vec<Piece> {
    text.chars().map(Piece::This).collect()
}

/// The parts of a pattern between its dots; none for a text that is no pattern.
fn pieces(text: &str) -> Option<Vec<Vec<Piece>>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut quoted = false;
    let mut chars = text.trim().chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => part.push(Piece::This('"')),
            '"' => quoted = !quoted,
            other if quoted => part.push(Piece::This(other)),
            '*' => part.push(Piece::Any),
            '?' => part.push(Piece::One),
            '.' => parts.push(std::mem::take(&mut part)),
            plain if plain.is_ascii_alphanumeric() || matches!(plain, '_' | '$') || !plain.is_ascii() => {
                part.push(Piece::This(plain.to_ascii_lowercase()));
            }
            _ => return None,
        }
    }
    parts.push(part);
    (!quoted).then_some(parts)
}

/// Whether the pieces, from the first to the last, make up the text.
fn fits(pieces: &[Piece], text: &str) -> bool {
    // At which characters what was looked at so far may end: one more than there are characters.
    let mut ends: Vec<bool> = iter::once(true).chain(text.chars().map(|_| false)).collect();
    for piece in pieces {
        let steps = ends.iter().zip(text.chars());
        ends = match piece {
            Piece::Any => {
                let mut reached = false;
                let spread = ends.iter().map(|end| {
                    reached |= *end;
                    reached
                });
                spread.collect()
            }
            Piece::One => iter::once(false).chain(steps.map(|(end, _)| *end)).collect(),
            Piece::This(wanted) => {
                iter::once(false).chain(steps.map(|(end, found)| *end && found == *wanted)).collect()
            }
        };
    }
    ends.last() == Some(&true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, schema: &str, name: &str) -> bool {
        TablePattern::parse(pattern).unwrap().matches(&Name::new(schema, name))
    }

    #[test]
    fn p083_nothing_is_a_wildcard_but_star_and_question_mark() {
        assert!(matches("app.a_b", "app", "a_b") && !matches("app.a_b", "app", "axb"));
        assert!(!matches("app.a*", "apx", "a") && matches("ap?.a*", "apx", "a"));
        assert!(matches("a*b*c", "public", "axxbxbc") && !matches("a*b*c", "public", "axxbxb"));
        assert!(matches("*.*", "any", "thing") && matches("*", "public", "x") && !matches("*", "app", "x"));
        assert!(matches("?", "public", "é") && !matches("?", "public", "ab") && !matches("a?", "public", "a"));
        assert!(matches("App.ORDERS", "app", "orders") && !matches("\"App\".orders", "app", "orders"));
        assert!(matches(r#""A.b*"."c""?"*"#, "A.b*", "c\"?x") && !matches(r#""A.b*".c"#, "A.bx", "c"));
        assert!(matches(&"*a".repeat(30), "public", &"a".repeat(60)));
        assert!(!matches(&("*a".repeat(30) + "b"), "public", &"a".repeat(60)));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for text in ["", ".", "a.", ".b", "a.b.c", "\"a", "a b", "a;b", "a%", "\"\".a", "a-b"] {
            assert!(matches!(TablePattern::parse(text), Err(Error::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn a_table_by_its_name_is_that_one_alone() {
        let pattern = TablePattern::table(("a.b", "c*\""));
        assert!(pattern.matches(&Name::new("a.b", "c*\"")) && !pattern.matches(&Name::new("a.b", "cx\"")));
        assert_eq!(TablePattern::parse(&pattern.to_string()).unwrap(), pattern);
    }
}
