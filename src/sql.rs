//! SQL as text, composed so that nothing reaches a server unquoted.
use crate::error::{Error, Result};
use std::fmt::{self, Display};

/// A piece of SQL: a whole statement, or a part of one.
///
/// It is made by [`sql!`](crate::sql!), whose template is a literal and whose arguments are [`Fragment`]s.
/// `Display` and `Debug` print it with secrets as `'********'`. A piece that holds what no
/// server would take (an identifier longer than 63 bytes, a NUL) remembers that, and so does
/// everything made from it: [`check`](Sql::check) says why, and it is never sent.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sql {
    text: String,
    /// The text as it may be seen, where it differs from the text that is sent.
    shown: Option<String>,
    invalid: Option<Box<Invalid>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Invalid {
    what: String,
    why: &'static str,
}

impl Sql {
    /// SQL that a person wrote, taken as it stands: a default's expression, a view's query, a
    /// script's text. Never build its argument from parts; [`sql!`](crate::sql!) is for that.
    ///
    /// ```
    /// # use pgsteward::{Sql, sql};
    /// let query = Sql::trusted("SELECT 1");
    /// assert_eq!(sql!("CREATE VIEW v AS {}", query).to_string(), "CREATE VIEW v AS SELECT 1");
    /// ```
    pub fn trusted(text: impl Into<String>) -> Self {
        let mut sql = Self::default();
        sql.push(&text.into());
        sql
    }

    /// The pieces, with `separator` between each two.
    pub fn join(pieces: impl IntoIterator<Item = Sql>, separator: &'static str) -> Self {
        let mut joined = Self::default();
        for (position, piece) in pieces.into_iter().enumerate() {
            if position > 0 {
                joined.push(separator);
            }
            piece.write(&mut joined);
        }
        joined
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Refuses a piece that no server would take as it was meant.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the identifier or literal, and says what is wrong with it.
    pub fn check(&self) -> Result<()> {
        match &self.invalid {
            Some(invalid) => Err(Error::invalid(invalid.what.clone(), invalid.why)),
            None => Ok(()),
        }
    }

    /// What ends the statement: a comment in its last line would swallow a semicolon. Comments alone are no statement,
    /// and nothing ends them.
    pub(crate) fn end(&self) -> &'static str {
        if self.text.split(['\n', '\r']).all(|line| line.is_empty() || line.starts_with("--")) {
            return "";
        }
        match self.text.lines().next_back() {
            Some(last) if last.contains("--") => "\n;",
            _ => ";",
        }
    }

    /// What is sent, secrets in clear. Only the session asks for it, after [`check`](Sql::check).
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it holds a secret.
    pub(crate) fn is_secret(&self) -> bool {
        self.shown.is_some()
    }

    /// Adds code at the end.
    pub(crate) fn push(&mut self, text: &str) {
        if text.contains('\0') {
            self.refuse(format!("text {text:?}"), "it contains a NUL byte");
        }
        self.text.push_str(text);
        if let Some(shown) = &mut self.shown {
            shown.push_str(text);
        }
    }

    fn push_secret(&mut self, text: &str) {
        let shown = self.shown.get_or_insert_with(|| self.text.clone());
        shown.push_str("'********'");
        self.text.push_str(text);
    }

    pub(crate) fn refuse(&mut self, what: String, why: &'static str) {
        self.invalid.get_or_insert_with(|| Box::new(Invalid { what, why }));
    }

    #[doc(hidden)]
    pub fn __compose(template: &'static str, arguments: &[&dyn Fragment]) -> Self {
        let mut sql = Self::default();
        let mut arguments = arguments.iter();
        // `sql!` has counted the places at compile time.
        for (position, text) in template.split("{}").enumerate() {
            if let Some(fragment) = (position > 0).then(|| arguments.next()).flatten() {
                fragment.write(&mut sql);
            }
            sql.push(text);
        }
        sql
    }
}

impl Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.shown.as_deref().unwrap_or(&self.text))
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// What may stand in a statement: an identifier, a literal, a name, a number, a keyword, or SQL.
///
/// A `String` is none of these, so that no value can become code by mistake.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in SQL as it is",
    note = "wrap it: `Ident(&name)` for a name, `Lit(&text)` for a value, `Sql::trusted(text)` for code that a person wrote"
)]
pub trait Fragment: sealed::Sealed {
    #[doc(hidden)]
    fn write(&self, sql: &mut Sql);
}

mod sealed {
    pub trait Sealed {}
}

/// An identifier: `"name"`.
///
/// Refused when the statement is used: an empty one, one longer than 63 bytes (PostgreSQL would
/// cut it, and act on another object), one with a NUL, and one that could not be read from the
/// server because it is in another encoding
/// ([Identifiers and Key Words](https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS)).
#[derive(Clone, Copy, Debug)]
pub struct Ident<'a>(pub &'a str);

/// A text literal: `'text'`, right whatever `standard_conforming_strings` says.
#[derive(Clone, Copy, Debug)]
pub struct Lit<'a>(pub &'a str);

/// A text literal that is sent, and shows as `'********'` everywhere else.
#[derive(Clone, Copy)]
pub struct Secret<'a>(pub &'a str);

/// Bytes, as a value of type bytea. More than 64 of them are sent and not shown; what is shown in
/// their place is no bytea, so that SQL copied from there is refused instead of writing something else.
pub(crate) struct Data<'a>(pub(crate) &'a [u8]);

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl Fragment for Data<'_> {
    fn write(&self, sql: &mut Sql) {
        let whole = format!("pg_catalog.decode('{}', 'hex')", hex(self.0));
        match self.0.get(..64).filter(|_| self.0.len() > 64) {
            None => sql.push(&whole),
            Some(start) => {
                let shown = sql.shown.get_or_insert_with(|| sql.text.clone());
                shown.push_str(&format!("pg_catalog.decode('{}... ({} bytes)', 'hex')", hex(start), self.0.len()));
                sql.text.push_str(&whole);
            }
        }
    }
}

/// The longest identifier, in bytes (NAMEDATALEN - 1).
pub(crate) const LONGEST: usize = 63;

/// Stands for a text that the server sent in an encoding that is not the connection's.
pub(crate) const UNREADABLE: &str = "\u{FFFD}";

impl Fragment for Ident<'_> {
    fn write(&self, sql: &mut Sql) {
        let name = self.0;
        let why = match () {
            () if name.is_empty() => Some("it is empty"),
            () if name.len() > LONGEST => Some("it is longer than 63 bytes, and PostgreSQL would cut it"),
            () if name.contains('\0') => Some("it contains a NUL byte"),
            () if name == UNREADABLE => {
                Some("the server keeps it in another encoding; connect to the database in which it was made")
            }
            () => None,
        };
        if let Some(why) = why {
            sql.refuse(format!("name {name:?}"), why);
        }
        sql.push("\"");
        sql.push(&name.replace('"', "\"\""));
        sql.push("\"");
    }
}

/// `'text'`, or `E'text'` where a backslash would mean different things under different settings.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

impl Fragment for Lit<'_> {
    fn write(&self, sql: &mut Sql) {
        if self.0.contains('\0') {
            sql.refuse(format!("value {:?}", self.0), "it contains a NUL byte");
        }
        sql.push(&literal(self.0));
    }
}

impl Fragment for Secret<'_> {
    fn write(&self, sql: &mut Sql) {
        if self.0.contains('\0') {
            sql.refuse("secret".into(), "it contains a NUL byte");
        }
        sql.push_secret(&literal(self.0));
    }
}

impl fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'********'")
    }
}

impl Fragment for Sql {
    fn write(&self, sql: &mut Sql) {
        if let Some(shown) = &self.shown {
            let so_far = sql.shown.get_or_insert_with(|| sql.text.clone());
            so_far.push_str(shown);
            sql.text.push_str(&self.text);
        } else {
            sql.push(&self.text);
        }
        if sql.invalid.is_none() {
            sql.invalid.clone_from(&self.invalid);
        }
    }
}

/// A keyword, or other SQL known when the program was compiled.
impl Fragment for &'static str {
    fn write(&self, sql: &mut Sql) {
        sql.push(self);
    }
}

macro_rules! numbers {
    ($($number:ty)*) => { $(
        impl sealed::Sealed for $number {}
        impl Fragment for $number {
            fn write(&self, sql: &mut Sql) {
                let text = self.to_string();
                // Two minus signs would begin a comment.
                if text.starts_with('-') && sql.text.ends_with('-') {
                    sql.push(" ");
                }
                sql.push(&text);
            }
        }
    )* };
}
numbers!(i16 i32 i64 u16 u32 u64 usize);

impl Fragment for f32 {
    fn write(&self, sql: &mut Sql) {
        if !self.is_finite() {
            sql.refuse(format!("number {self}"), "it is not finite");
        }
        sql.push(&self.to_string());
    }
}

impl<T: Fragment> Fragment for &T {
    fn write(&self, sql: &mut Sql) {
        (*self).write(sql);
    }
}

impl sealed::Sealed for Ident<'_> {}
impl sealed::Sealed for Lit<'_> {}
impl sealed::Sealed for Secret<'_> {}
impl sealed::Sealed for Data<'_> {}
impl sealed::Sealed for Sql {}
impl sealed::Sealed for &'static str {}
impl sealed::Sealed for f32 {}
impl sealed::Sealed for crate::name::Name {}
impl sealed::Sealed for crate::parts::DataType {}
impl<T: sealed::Sealed> sealed::Sealed for &T {}

/// Composes [`Sql`]: `format!` for [`Fragment`]s only.
///
/// The template is a literal, each `{}` in it takes one fragment, and other braces stand as they are.
///
/// ```
/// use pgsteward::{Ident, Lit, sql};
/// let name = String::from("x; DROP TABLE t");
/// assert_eq!(sql!("DROP ROLE {}", Ident(&name)).to_string(), r#"DROP ROLE "x; DROP TABLE t""#);
/// assert_eq!(sql!("SELECT {}, {}", Lit("it's"), 7).to_string(), "SELECT 'it''s', 7");
/// ```
///
/// A `String` is not a fragment, and cannot be slipped in by capture:
///
/// ```compile_fail
/// let name = String::from("x; DROP TABLE t");
/// pgsteward::sql!("DROP ROLE {}", name);
/// ```
/// ```compile_fail
/// let name = String::from("x; DROP TABLE t");
/// pgsteward::sql!("DROP ROLE {}", name.as_str());
/// ```
/// ```compile_fail
/// let name = String::from("x; DROP TABLE t");
/// pgsteward::sql!("DROP ROLE {name}");
/// ```
/// ```compile_fail
/// let template = String::from("DROP ROLE x");
/// pgsteward::sql!(template);
/// ```
///
/// Places and arguments are counted when the program is compiled:
///
/// ```compile_fail
/// pgsteward::sql!("SELECT {}, {}", 1);
/// ```
#[macro_export]
macro_rules! sql {
    ($template:literal $(, $argument:expr)* $(,)?) => {{
        const { $crate::__places($template, 0 $(+ { let _ = stringify!($argument); 1 })*) };
        $crate::Sql::__compose($template, &[$(&$argument as &dyn $crate::Fragment),*])
    }};
}

/// Refuses, at compile time, a template whose places are not as many as its arguments, or that
/// looks as if it meant to capture a variable.
#[doc(hidden)]
pub const fn __places(template: &str, arguments: usize) {
    let bytes = template.as_bytes();
    let (mut position, mut places) = (0, 0);
    while position < bytes.len() {
        if bytes[position] == b'{' && position + 1 < bytes.len() {
            let next = bytes[position + 1];
            if next == b'}' {
                places += 1;
            }
            assert!(!next.is_ascii_alphabetic() && next != b'_', "sql! captures no variables: pass a fragment");
        }
        position += 1;
    }
    assert!(places == arguments, "sql! takes one fragment for each place of its template");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(sql: &Sql) -> String {
        sql.check().unwrap_err().to_string()
    }

    #[test]
    fn identifiers_are_quoted_and_their_quotes_doubled() {
        assert_eq!(sql!("{}", Ident("a")).to_string(), r#""a""#);
        assert_eq!(sql!("{}", Ident(r#"a"b"#)).to_string(), r#""a""b""#);
        assert_eq!(sql!("{}", Ident("Ünï.çode $$ {}")).to_string(), r#""Ünï.çode $$ {}""#);
    }

    #[test]
    fn identifiers_that_a_server_would_change_are_refused() {
        assert!(sql!("{}", Ident(&"x".repeat(63))).check().is_ok());
        assert!(why(&sql!("{}", Ident(&"x".repeat(64)))).contains("longer than 63 bytes"));
        assert!(why(&sql!("{}", Ident(&"é".repeat(32)))).contains("longer than 63 bytes"));
        assert!(why(&sql!("{}", Ident(""))).contains("empty"));
        assert!(why(&sql!("{}", Ident("a\0b"))).contains("NUL"));
        assert!(why(&sql!("{}", Ident(UNREADABLE))).contains("encoding"));
    }

    #[test]
    fn what_is_wrong_with_a_part_is_wrong_with_the_whole() {
        let part = sql!("OWNER TO {}", Ident(""));
        assert!(why(&sql!("ALTER TABLE t {}", part)).contains("empty"));
        assert!(Sql::join([part, sql!("x")], ", ").check().is_err());
        assert!(Sql::trusted("a\0b").check().is_err());
        assert!(sql!("{}", Lit("\0")).check().is_err());
        assert!(sql!("{}", f32::NAN).check().is_err());
    }

    #[test]
    fn literals_do_not_depend_on_settings() {
        assert_eq!(sql!("{}", Lit("it's")).to_string(), "'it''s'");
        assert_eq!(sql!("{}", Lit(r"a\b'")).to_string(), r" E'a\\b'''");
        assert_eq!(sql!("a -{}", -1).to_string(), "a - -1");
    }

    #[test]
    fn secrets_are_sent_and_not_shown() {
        let sql = sql!("{}", sql!("PASSWORD {} LOGIN", Secret("geheim")));
        assert_eq!(sql.to_string(), "PASSWORD '********' LOGIN");
        assert_eq!(format!("{sql:?}"), "\"PASSWORD '********' LOGIN\"");
        assert_eq!(sql.text(), "PASSWORD 'geheim' LOGIN");
        assert!(sql.is_secret() && !sql!("LOGIN").is_secret());
        let joined = Sql::join([sql!("a"), sql, sql!("b")], " ");
        assert_eq!(
            (joined.to_string().as_str(), joined.text()),
            ("a PASSWORD '********' LOGIN b", "a PASSWORD 'geheim' LOGIN b")
        );
        assert_eq!(format!("{:?}", Secret("geheim")), "'********'");
    }

    #[test]
    fn many_bytes_are_sent_and_not_shown() {
        assert_eq!(sql!("SELECT {}", Data(b"\0a")).to_string(), "SELECT pg_catalog.decode('0061', 'hex')");
        let sql = sql!("SELECT {}, {}", 1, Data(&[7; 65]));
        assert_eq!(sql.to_string(), format!("SELECT 1, pg_catalog.decode('{}... (65 bytes)', 'hex')", "07".repeat(64)));
        assert_eq!(sql.text(), format!("SELECT 1, pg_catalog.decode('{}', 'hex')", "07".repeat(65)));
    }

    #[test]
    fn braces_of_arguments_are_not_places() {
        assert_eq!(sql!("{} {}", Lit("{}"), Ident("{}")).to_string(), r#"'{}' "{}""#);
        assert_eq!(sql!("'{1,2}'::int[]").to_string(), "'{1,2}'::int[]");
    }
}
