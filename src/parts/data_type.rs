//! Names of data types.
use crate::sql::{Fragment, Sql};
use std::fmt;

/// A data type as SQL writes it: `bigint`, `numeric(10,2)`, `timestamp(3) with time zone`,
/// `app."Mood"[]`. What the server reports is what `format_type` prints.
///
/// A text that is anything else than one type is refused when it is used
/// ([Data Types](https://www.postgresql.org/docs/current/datatype.html)).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataType(String);

impl DataType {
    /// Whether both are one type, as far as that can be told without the server: `int` is `integer`.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self == other || spelling(&self.0).is_some_and(|spelled| Some(spelled) == spelling(&other.0))
    }
}

impl<T: Into<String>> From<T> for DataType {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fragment for DataType {
    fn write(&self, sql: &mut Sql) {
        if !is_type(&self.0) {
            sql.refuse(format!("data type {:?}", self.0), "it is not the name of a type as SQL writes it");
        }
        sql.push(&self.0);
    }
}

/// The words of the types whose names are more than one
/// ([Data Types](https://www.postgresql.org/docs/current/datatype.html)).
const WORDS: [&str; 23] = [
    "bit",
    "char",
    "character",
    "day",
    "double",
    "hour",
    "interval",
    "local",
    "minute",
    "month",
    "national",
    "nchar",
    "precision",
    "second",
    "time",
    "timestamp",
    "to",
    "varying",
    "with",
    "without",
    "year",
    "zone",
    "array",
];

/// Whether a text is a name, perhaps with a schema, modifiers and bounds, or one of the types of
/// several words; it can be nothing but a type then.
fn is_type(text: &str) -> bool {
    let mut chars = text.chars().peekable();
    let (mut depth, mut words, mut inside) = (0u32, vec![String::new()], String::new());
    while let Some(c) = chars.next() {
        let word = if depth > 0 { Some(&mut inside) } else { words.last_mut() };
        match (c, word) {
            ('"', Some(word)) => loop {
                word.push('"');
                match chars.next() {
                    None => return false,
                    Some('"') if chars.next_if_eq(&'"').is_none() => break,
                    Some(_) => {}
                }
            },
            ('(' | '[', _) => depth += 1,
            (')' | ']', _) if depth > 0 => depth -= 1,
            (',' | ' ', _) if depth > 0 => {}
            // A sign; two of them would begin a comment.
            ('-', _) if depth > 0 && chars.peek().is_some_and(char::is_ascii_digit) => {}
            (' ', _) => words.push(String::new()),
            (c, Some(word)) if c.is_alphanumeric() || matches!(c, '_' | '$' | '.') => word.extend(c.to_lowercase()),
            _ => return false,
        }
    }
    words.retain(|word| !word.is_empty());
    depth == 0 && (words.len() == 1 || !words.is_empty() && words.iter().all(|word| WORDS.contains(&word.as_str())))
}

/// The names that SQL has for types besides those that the server prints
/// ([Data Types](https://www.postgresql.org/docs/current/datatype.html)).
const ALIASES: [(&str, &str); 25] = [
    ("bool", "boolean"),
    ("bpchar", "character"),
    ("char", "character"),
    ("char varying", "character varying"),
    ("dec", "numeric"),
    ("decimal", "numeric"),
    ("float", "double precision"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("int", "integer"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int8", "bigint"),
    ("national char", "character"),
    ("national char varying", "character varying"),
    ("national character", "character"),
    ("national character varying", "character varying"),
    ("nchar", "character"),
    ("nchar varying", "character varying"),
    ("time", "time without time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("timetz", "time with time zone"),
    ("varbit", "bit varying"),
    ("varchar", "character varying"),
];

/// What a type is, however it is spelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spelling {
    /// The name: folded, and as the server prints it.
    pub(crate) base: String,
    /// What the parentheses hold, without blanks.
    modifiers: String,
    /// Whether it is an array; the server does not keep the number of dimensions.
    pub(crate) bounds: bool,
}

/// A text as a type; none if its parentheses or quotes are not closed.
pub(crate) fn spelling(text: &str) -> Option<Spelling> {
    let (mut base, mut modifiers, mut bounds) = (String::new(), String::new(), false);
    let (mut quoted, mut open) = (false, Vec::new());
    for c in text.trim().chars() {
        match c {
            '"' if open.is_empty() => {
                quoted = !quoted;
                base.push(c);
            }
            c if quoted => base.push(c),
            '(' | '[' => {
                bounds |= c == '[';
                open.push(c);
            }
            ')' | ']' if !open.is_empty() => drop(open.pop()),
            c if open.contains(&'(') => modifiers.extend(c.to_lowercase().filter(|c| !c.is_whitespace())),
            _ if !open.is_empty() => {}
            c if c.is_ascii_whitespace() && (base.is_empty() || base.ends_with([' ', '.'])) => {}
            c if c.is_ascii_whitespace() => base.push(' '),
            c => base.push(c.to_ascii_lowercase()),
        }
    }
    if quoted || !open.is_empty() {
        return None;
    }
    let written = base.trim_end();
    let element = written.strip_suffix(" array");
    let written = element.unwrap_or(written);
    let first = ALIASES.iter().find(|(alias, _)| *alias == written).map_or(written, |(_, name)| name);
    let (base, modifiers) = match (written, first, modifiers.as_str()) {
        ("float", _, digits) => {
            (if digits.parse::<u8>().is_ok_and(|digits| digits < 25) { "real" } else { first }, String::new())
        }
        // Not `character`, which is one character long.
        ("bpchar", _, "") => (first, "any".to_owned()),
        (_, "character" | "bit", "") => (first, "1".to_owned()),
        (_, "numeric", precision) if !precision.is_empty() && !precision.contains(',') => {
            (first, format!("{precision},0"))
        }
        _ => (first, modifiers),
    };
    Some(Spelling { base: base.to_owned(), modifiers, bounds: bounds || element.is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_pass_and_code_does_not() {
        let check = |text: &str| sql!("{}", DataType::from(text)).check().is_ok();
        for good in [
            "bigint",
            "numeric(10,2)",
            "numeric(5,-2)",
            "timestamp(3) with time zone",
            "app.\"Mood;--\"[]",
            "int[3][]",
            "größe",
            "\"a b\"",
            "double precision",
        ] {
            assert!(check(good), "{good}");
        }
        for bad in [
            "",
            " ",
            "int; DROP TABLE t",
            "int'",
            "int--",
            "int-1",
            "numeric(5--2)",
            "numeric(5,-)",
            "numeric(5,- 2)",
            "int/*",
            "\"a",
            "int)",
            "(int",
            "int\0",
            "int DEFAULT 1",
            "int NOT NULL",
            "a b",
        ] {
            assert!(!check(bad), "{bad}");
        }
    }

    #[test]
    fn a_type_is_the_same_under_all_its_names() {
        let same = |one: &str, other: &str| DataType::from(one).is_same(&other.into());
        for (written, printed) in [
            ("int", "integer"),
            ("INT4", "integer"),
            ("int[3][]", "integer[]"),
            ("int array", "integer[]"),
            ("varchar(10)[]", "character varying(10)[]"),
            ("numeric(10, 2)", "numeric(10,2)"),
            ("dec(5)", "numeric(5,0)"),
            ("float(24)", "real"),
            ("float(25)", "double precision"),
            ("float", "double precision"),
            ("char", "character(1)"),
            ("bit", "bit(1)"),
            ("bpchar", "bpchar"),
            ("varbit(3)", "bit varying(3)"),
            ("timestamptz(3)", "timestamp(3) with time zone"),
            ("timestamp (3)", "timestamp(3) without time zone"),
            ("interval second(3)", "interval second(3)"),
        ] {
            assert!(same(written, printed), "{written}");
        }
        for (one, other) in [
            ("int", "bigint"),
            ("int", "integer[]"),
            ("int", "\"int\""),
            ("varchar", "character varying(10)"),
            ("numeric", "numeric(10,2)"),
            ("bpchar", "character(1)"),
            ("char", "\"char\""),
            ("timestamp", "timestamp with time zone"),
            ("timestamp(3)", "timestamp without time zone"),
            ("app.\"T\"", "app.t"),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }
}
