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
            (' ', _) => words.push(String::new()),
            (c, Some(word)) if c.is_alphanumeric() || matches!(c, '_' | '$' | '.') => word.extend(c.to_lowercase()),
            _ => return false,
        }
    }
    words.retain(|word| !word.is_empty());
    depth == 0 && (words.len() == 1 || !words.is_empty() && words.iter().all(|word| WORDS.contains(&word.as_str())))
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
}
