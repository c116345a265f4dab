//! The names of migrations' files: a number, and what it is for; pure.
use crate::error::{Error, Result};
use jiff::Timestamp;

/// What the name of a file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    pub(super) version: u64,
    pub(super) title: String,
    style: Style,
}

/// How a number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// `001_users.sql`, with so many digits at least.
    Plain(usize),
    /// `V1__users.sql`, the same.
    Prefixed(usize),
    /// `20260101_120000_users.sql`
    DateAndTime,
}

/// How many digits a moment has: `20260101120000`.
const MOMENT: usize = 14;
/// How many of them are its date.
const DATE: usize = 8;

/// Whether a file is no migration by its name: what is hidden, and what is no SQL.
pub(super) fn is_another(name: &str) -> bool {
    let ends_as_sql = name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("sql"));
    name.starts_with('.') || !ends_as_sql
}

impl FileName {
    pub(super) fn parse(name: &str) -> Result<Self> {
        let refused = || {
            Error::invalid(
                format!("name of migration {name:?}"),
                "it is none of 001_title.sql, V1__title.sql and 20260101120000_title.sql; the number is below \
                 9223372036854775808, and the title has letters, digits, _ and -",
            )
        };
        Self::read(name).ok_or_else(refused)
    }

    fn read(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".sql")?;
        let prefixed = stem.strip_prefix('V');
        let (digits, rest) = split_digits(prefixed.unwrap_or(stem));
        let (number, title, style) = match prefixed {
            Some(_) => (digits.to_owned(), rest.strip_prefix("__")?, Style::Prefixed(digits.len())),
            None => {
                let rest = rest.strip_prefix('_')?;
                match split_digits(rest) {
                    (time, title) if digits.len() == DATE && time.len() == MOMENT - DATE && title.starts_with('_') => {
                        (format!("{digits}{time}"), title.get(1..)?, Style::DateAndTime)
                    }
                    _ => (digits.to_owned(), rest, Style::Plain(digits.len())),
                }
            }
        };
        // The server keeps it as a bigint.
        let version = number.parse::<i64>().ok().and_then(|number| u64::try_from(number).ok())?;
        is_title(title).then(|| Self { version, title: title.to_owned(), style })
    }

    /// The name of the file that comes after this one, in the same style.
    pub(super) fn following(last: Option<&Self>, title: &str, now: Timestamp) -> Result<String> {
        let title = title.trim().replace(' ', "_");
        if !is_title(&title) {
            let why = "it is part of a file's name: letters, digits, blanks, _ and -";
            return Err(Error::invalid(format!("title of a migration {title:?}"), why));
        }
        let Some(last) = last else { return Ok(format!("001_{title}.sql")) };
        let next = last.version.saturating_add(1);
        if i64::try_from(next).is_err() {
            return Err(Error::invalid(format!("number of a migration {next}"), "the server keeps it as a bigint"));
        }
        let moment = || next.max(now.strftime("%Y%m%d%H%M%S").to_string().parse().unwrap_or_default());
        Ok(match last.style {
            Style::Plain(MOMENT) => format!("{}_{title}.sql", moment()),
            Style::Plain(width) => format!("{next:0width$}_{title}.sql"),
            Style::Prefixed(MOMENT) => format!("V{}__{title}.sql", moment()),
            Style::Prefixed(width) => format!("V{next:0width$}__{title}.sql"),
            Style::DateAndTime => {
                let (date, time) = (moment() / 1_000_000, moment() % 1_000_000);
                format!("{date}_{time:06}_{title}.sql")
            }
        })
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// A dot is not in it: `001_users.down.sql` undoes a migration elsewhere, and must not be run as one here.
fn is_title(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &str) -> (u64, String) {
        let name = FileName::parse(name).unwrap();
        (name.version, name.title)
    }

    #[test]
    fn p123_a_name_has_a_number_and_a_title() {
        assert_eq!(read("001_users.sql"), (1, "users".into()));
        assert_eq!(read("1_add-büro_2.sql"), (1, "add-büro_2".into()));
        assert_eq!(read("V10__users.sql"), (10, "users".into()));
        assert_eq!(read("20260101120000_users.sql"), (20_260_101_120_000, "users".into()));
        assert_eq!(read("20260101_120000_users.sql"), (20_260_101_120_000, "users".into()));
        assert_eq!(read("20260101_users.sql"), (20_260_101, "users".into()));
        assert_eq!(read("9223372036854775807_last.sql"), (i64::MAX as u64, "last".into()));
    }

    #[test]
    fn p123_other_names_are_refused() {
        for name in [
            "users.sql",
            "001.sql",
            "001_.sql",
            "_a.sql",
            "V1_a.sql",
            "v1__a.sql",
            "V__a.sql",
            "001-a.sql",
            "001_a.SQL",
            "001_a.down.sql",
            "001_a b.sql",
            "9223372036854775808_a.sql",
            "-1_a.sql",
            "R__a.sql",
            "001_a;b.sql",
        ] {
            let error = FileName::parse(name).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        assert!(is_another("README.md") && is_another(".001_a.sql") && is_another("sql") && !is_another("x.SQL"));
    }

    #[test]
    fn the_next_name_is_in_the_style_of_the_last() {
        let now: Timestamp = "2026-11-21T12:34:56Z".parse().unwrap();
        let next = |last: &str, title: &str| {
            let last = (!last.is_empty()).then(|| FileName::parse(last).unwrap());
            FileName::following(last.as_ref(), title, now).unwrap()
        };
        assert_eq!(next("", "first one"), "001_first_one.sql");
        assert_eq!(next("009_a.sql", "b"), "010_b.sql");
        assert_eq!(next("999_a.sql", "b"), "1000_b.sql");
        assert_eq!(next("1_a.sql", "b"), "2_b.sql");
        assert_eq!(next("V7__a.sql", "b"), "V8__b.sql");
        assert_eq!(next("20260101120000_a.sql", "b"), "20261121123456_b.sql");
        assert_eq!(next("V20260101120000__a.sql", "b"), "V20261121123456__b.sql");
        assert_eq!(next("20260101_120000_a.sql", "b"), "20261121_123456_b.sql");
        // Somebody's clock is ahead.
        assert_eq!(next("20991231_000000_a.sql", "b"), "20991231_000001_b.sql");
        let last = FileName::parse("9223372036854775807_a.sql").unwrap();
        assert!(FileName::following(Some(&last), "b", now).is_err());
        for title in ["", " ", "a/b", "a.b", "ä\n"] {
            assert!(FileName::following(None, title, now).is_err() || title == "ä\n", "{title:?}");
        }
    }
}
