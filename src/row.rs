//! Rows of the catalogues, read as text.
use crate::error::{Error, Result};
use crate::sql::UNREADABLE;
use postgres::SimpleQueryRow;
use std::error::Error as StdError;
use std::str::{FromStr, Utf8Error};

/// A row of a catalogue query.
///
/// Every column of the crate's own queries is text, so that a row reads the same from a streamed
/// query as from a batch of statements, and so that a query can be pasted into psql as it is.
pub struct Row(Source);

enum Source {
    Streamed(postgres::Row),
    Batch(SimpleQueryRow),
}

impl From<postgres::Row> for Row {
    fn from(row: postgres::Row) -> Self {
        Self(Source::Streamed(row))
    }
}

impl From<SimpleQueryRow> for Row {
    fn from(row: SimpleQueryRow) -> Self {
        Self(Source::Batch(row))
    }
}

impl Row {
    /// The value of a column, none for NULL. A value in an encoding that is not the connection's
    /// is [`UNREADABLE`], so that it spoils its own field and nothing else.
    fn get(&self, column: &str) -> Result<Option<&str>> {
        let value = match &self.0 {
            Source::Streamed(row) => row.try_get::<_, Option<&str>>(column),
            Source::Batch(row) => row.try_get(column),
        };
        value.or_else(|error| match error.source() {
            Some(cause) if cause.is::<Utf8Error>() => Ok(Some(UNREADABLE)),
            _ => Err(unexpected(column, &error.to_string())),
        })
    }

    /// A text that is never NULL.
    pub(crate) fn text(&self, column: &str) -> Result<String> {
        self.optional(column)?.ok_or_else(|| unexpected(column, "it is NULL"))
    }

    /// A text or none.
    pub(crate) fn optional(&self, column: &str) -> Result<Option<String>> {
        Ok(self.get(column)?.map(str::to_owned))
    }

    /// A truth value; `true` and `t` are true.
    pub(crate) fn truth(&self, column: &str) -> Result<bool> {
        match self.get(column)? {
            Some("t" | "true") => Ok(true),
            Some("f" | "false") => Ok(false),
            other => Err(unexpected(column, &format!("{other:?} is no truth value"))),
        }
    }

    /// A number, or another type with the same text form here and on the server.
    pub(crate) fn number<N: FromStr>(&self, column: &str) -> Result<N> {
        self.optional_number(column)?.ok_or_else(|| unexpected(column, "it is NULL"))
    }

    /// A number or none.
    pub(crate) fn optional_number<N: FromStr>(&self, column: &str) -> Result<Option<N>> {
        let Some(text) = self.get(column)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| unexpected(column, &format!("{text:?} is no number")))
    }

    /// The elements of an array of one dimension; none for NULL.
    pub(crate) fn list(&self, column: &str) -> Result<Vec<String>> {
        let Some(text) = self.get(column)? else { return Ok(Vec::new()) };
        if text == UNREADABLE {
            return Ok(vec![UNREADABLE.into()]);
        }
        elements(text).ok_or_else(|| unexpected(column, &format!("{text:?} is no array")))
    }
}

fn unexpected(column: &str, why: &str) -> Error {
    Error::invalid(format!("answer of the server, column {column:?}"), why)
}

/// The elements of an array's text form
/// ([Array Input and Output Syntax](https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO)).
fn elements(text: &str) -> Option<Vec<String>> {
    let body = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    let mut chars = body.chars().peekable();
    while chars.peek().is_some() {
        let mut element = String::new();
        let mut inside = false;
        while let Some(c) = chars.next_if(|c| inside || *c != ',') {
            match c {
                '"' => inside = !inside,
                '\\' => element.push(chars.next()?),
                other => element.push(other),
            }
        }
        if inside {
            return None;
        }
        elements.push(element);
        if chars.next().is_some() && chars.peek().is_none() {
            return None;
        }
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn arrays_are_read_as_the_server_prints_them() {
        let read = |text| elements(text).unwrap();
        assert!(read("{}").is_empty());
        assert_eq!(read("{a,b}"), ["a", "b"]);
        assert_eq!(read(r#"{"a,b","c\"d","e\\f",""}"#), ["a,b", "c\"d", "e\\f", ""]);
        for broken in ["", "a", "{", r#"{"a}"#, "{a,}"] {
            assert_eq!(elements(broken), None, "{broken}");
        }
    }
}
