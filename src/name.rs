//! Names of objects that live in schemas.
use crate::error::{Error, Result};
use crate::sql::{Fragment, Ident, Sql};
use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

/// The name of an object in a schema.
///
/// A text is parsed as SQL parses it, and prints so: `app.orders`, `"we.ird"."na""me"`; parts
/// without quotes are folded to lower case. A pair is taken as it stands. A name without a schema
/// means schema `public`, wherever it stands.
///
/// ```
/// use pgsteward::Name;
/// assert_eq!(Name::from("app.Orders"), Name::new("app", "orders"));
/// assert_eq!(Name::from(r#""d.e""#), Name::new("public", "d.e"));
/// assert_eq!(Name::from(("d", "e")).to_string(), "d.e");
/// assert_eq!(Name::new("we.ird", "na\"me").to_string(), r#""we.ird"."na""me""#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The schema.
    pub schema: String,
    /// The name within the schema.
    pub name: String,
}

impl Name {
    /// The two parts, as they stand.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self { schema: schema.into(), name: name.into() }
    }

    /// Parses a name as SQL does
    /// ([Identifiers and Key Words](https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS)).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a text that is not one or two identifiers with a dot between.
    pub fn parse(text: &str) -> Result<Self> {
        let mut parts = identifiers(text).ok_or_else(|| malformed(text))?;
        match (parts.pop(), parts.pop(), parts.pop()) {
            (Some(name), Some(schema), None) => Ok(Self { schema, name }),
            (Some(name), None, None) => Ok(Self::new("public", name)),
            _ => Err(malformed(text)),
        }
    }

    /// Refuses a name that no object can have.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub fn check(&self) -> Result<()> {
        // A text that is not a name was kept whole, without a schema: see `From<&str>`.
        if self.schema.is_empty() {
            return Err(malformed(&self.name));
        }
        sql!("{}", self).check()
    }
}

fn malformed(text: &str) -> Error {
    Error::invalid(
        format!("name {text:?}"),
        "it is neither name nor schema.name as SQL writes them; a pair (schema, name) is taken as it stands",
    )
}

/// Parses the text; what is not a name is refused as [`Error::Invalid`] when it is first used.
impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Self { schema: String::new(), name: text.to_owned() })
    }
}

/// Parses the text, as `From<&str>` does.
impl From<String> for Name {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Parses the text, as `From<&str>` does.
impl From<&String> for Name {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// The two parts, as they stand.
impl<S: Into<String>, N: Into<String>> From<(S, N)> for Name {
    fn from((schema, name): (S, N)) -> Self {
        Self::new(schema, name)
    }
}

impl From<&Name> for Name {
    fn from(name: &Name) -> Self {
        name.clone()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", Printed(&self.schema), Printed(&self.name))
    }
}

impl Fragment for Name {
    fn write(&self, sql: &mut Sql) {
        sql!("{}.{}", Ident(&self.schema), Ident(&self.name)).write(sql);
    }
}

/// An identifier for people: quoted where SQL would read it otherwise.
pub(crate) struct Printed<'a>(pub &'a str);

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_ascii_lowercase() || c == '_';
        let mut chars = self.0.chars();
        if chars.next().is_some_and(plain) && chars.all(|c| plain(c) || c.is_ascii_digit()) {
            f.write_str(self.0)
        } else {
            write!(f, "\"{}\"", self.0.replace('"', "\"\""))
        }
    }
}

/// The identifiers of a dotted name; none if the text is anything else.
pub(crate) fn identifiers(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = text.trim().chars().peekable();
    loop {
        parts.push(identifier(&mut chars)?);
        skip_blanks(&mut chars);
        match chars.next() {
            None => return Some(parts),
            Some('.') => skip_blanks(&mut chars),
            Some(_) => return None,
        }
    }
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(char::is_ascii_whitespace).is_some() {}
}

fn identifier(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    if chars.next_if_eq(&'"').is_some() {
        return quoted(chars);
    }
    let first = chars.next_if(|c| c.is_ascii_alphabetic() || *c == '_' || !c.is_ascii())?;
    let mut part = String::from(first.to_ascii_lowercase());
    while let Some(next) = chars.next_if(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii()) {
        part.push(next.to_ascii_lowercase());
    }
    Some(part)
}

/// The rest of a quoted identifier, after its first quote.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut part = String::new();
    loop {
        match chars.next()? {
            '"' if chars.next_if_eq(&'"').is_none() => return (!part.is_empty()).then_some(part),
            other => part.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_as_sql_does() {
        for (text, schema, name) in [
            ("orders", "public", "orders"),
            ("App.Orders", "app", "orders"),
            (r#""App"."Or.ders""#, "App", "Or.ders"),
            (r#" app . "x" "#, "app", "x"),
            (r#""a""b""#, "public", "a\"b"),
            ("t$1", "public", "t$1"),
            ("größe", "public", "größe"),
        ] {
            assert_eq!(Name::parse(text).unwrap(), Name::new(schema, name), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_not_a_name() {
        for text in ["", ".", "a.", ".a", "a.b.c", "\"a", "\"\"", "a b", "1a", "a-b", "a;b", "\"a\"b"] {
            assert!(Name::parse(text).is_err(), "{text}");
            assert!(Name::from(text).check().is_err(), "{text}");
            assert!(sql!("{}", Name::from(text)).check().is_err(), "{text}");
        }
    }

    #[test]
    fn prints_what_parses_to_the_same() {
        for name in [Name::new("a", "b"), Name::new("A.b", "c\"d"), Name::new("1", " "), Name::new("é", "select")] {
            assert_eq!(Name::parse(&name.to_string()).unwrap(), name);
        }
    }
}
