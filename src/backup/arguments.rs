//! The arguments of a client program, which no shell ever sees.
use crate::error::{Error, Result};
use crate::version::ServerVersion;
use std::fmt::Display;
use std::path::Path;

/// The options that came after PostgreSQL 12, and the major version that each came with. They are the same for all
/// programs that have them.
const NEWER: [(&str, u32); 21] = [
    ("--include-foreign-data", 13),
    ("--extension", 14),
    ("--no-toast-compression", 14),
    ("--no-table-access-method", 15),
    ("--table-and-children", 16),
    ("--exclude-table-and-children", 16),
    ("--exclude-table-data-and-children", 16),
    ("--exclude-extension", 17),
    ("--filter", 17),
    ("--sync-method", 17),
    ("--transaction-size", 17),
    ("--no-data", 18),
    ("--no-policies", 18),
    ("--no-schema", 18),
    ("--no-statistics", 18),
    ("--sequence-data", 18),
    ("--statistics", 18),
    ("--statistics-only", 18),
    // A method by name; a bare level is as old as the option.
    ("--compress=lz4", 16),
    ("--compress=zstd", 16),
    ("--compress=gzip", 16),
];

/// The minor releases that brought `--restrict-key` to the major versions before 18.
const RESTRICT_KEY: [(u32, u32); 5] = [(13, 22), (14, 19), (15, 14), (16, 10), (17, 6)];

/// Arguments in the making, for one program of one version. An option that it lacks is remembered, and refused at the end.
pub(super) struct Arguments<'a> {
    program: &'static str,
    version: &'a ServerVersion,
    words: Vec<String>,
    refusal: Option<Error>,
}

impl<'a> Arguments<'a> {
    pub(super) fn new(program: &'static str, version: &'a ServerVersion) -> Self {
        Self { program, version, words: Vec::new(), refusal: None }
    }

    /// An option without a value, if it is set.
    pub(super) fn flag(&mut self, name: &'static str, set: bool) {
        if set {
            self.check_version(name);
            self.words.push(name.into());
        }
    }

    /// An option with a value, if there is one. Both are one argument, so that no value can be taken for an option.
    pub(super) fn value(&mut self, name: &'static str, value: Option<impl Display>) {
        let Some(value) = value else { return };
        let word = format!("{name}={value}");
        self.check_version(name);
        self.check_version(word.split([':', ',']).next().unwrap_or_default());
        if word.contains('\0') {
            self.refuse(Error::invalid(format!("value {word:?} of {}", self.program), "it contains a NUL byte"));
        }
        self.words.push(word);
    }

    /// An option for each of the values.
    pub(super) fn each(&mut self, name: &'static str, values: &[impl Display]) {
        values.iter().for_each(|value| self.value(name, Some(value)));
    }

    /// An option with a path.
    pub(super) fn path(&mut self, name: &'static str, path: Option<&Path>) {
        let Some(path) = path else { return };
        match path.to_str() {
            Some(text) => self.value(name, Some(text)),
            None => self.refuse(Error::invalid(format!("path {path:?} for {name}"), "it is not UTF-8")),
        }
    }

    /// Refuses two options that contradict each other.
    pub(super) fn contradicts(&mut self, both: bool, what: &str, why: &str) {
        if both {
            self.refuse(Error::invalid(format!("options of {}: {what}", self.program), why));
        }
    }

    pub(super) fn finish(self) -> Result<Vec<String>> {
        self.refusal.map_or(Ok(self.words), Err)
    }

    fn refuse(&mut self, error: Error) {
        self.refusal.get_or_insert(error);
    }

    fn check_version(&mut self, name: &str) {
        let since = NEWER.iter().find(|(newer, _)| *newer == name).map(|(_, major)| *major);
        let missing = match name {
            "--restrict-key" if !has_restrict_key(self.version) => {
                Some("13.22, 14.19, 15.14, 16.10, 17.6 or 18".into())
            }
            _ => since.filter(|major| !self.version.at_least(*major)).map(|major| major.to_string()),
        };
        if let Some(versions) = missing {
            let (program, version) = (self.program, self.version);
            let what = format!("the option {name} with {program} {version}");
            self.refuse(Error::unsupported(what, format!("{program} {versions}")));
        }
    }
}

fn has_restrict_key(version: &ServerVersion) -> bool {
    let text = version.to_string();
    let minor = text.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok()).unwrap_or(0);
    let since = RESTRICT_KEY.iter().find(|(major, _)| *major == version.major());
    version.at_least(18) || since.is_some_and(|(_, first)| minor >= *first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(version: &str, fill: impl Fn(&mut Arguments<'_>)) -> Result<Vec<String>> {
        let version = ServerVersion::parse(version).unwrap();
        let mut arguments = Arguments::new("pg_dump", &version);
        fill(&mut arguments);
        arguments.finish()
    }

    #[test]
    fn p064_a_value_is_one_argument_whatever_is_in_it() {
        for value in ["a b", "a'b\"c", "; touch x", "$(touch x)", "`touch x`", "--file=x", "a\nb", ""] {
            let made = words("15.1", |arguments| arguments.each("--schema", &[value])).unwrap();
            assert_eq!(made, [format!("--schema={value}")]);
        }
        let error = words("15.1", |arguments| arguments.each("--schema", &["a\0b"])).unwrap_err();
        assert!(error.to_string().contains("NUL"), "{error}");
    }

    #[test]
    fn each_newer_option_is_refused_before_its_version_and_taken_from_it_on() {
        for (name, major) in NEWER {
            let set = |arguments: &mut Arguments<'_>| match name.split_once('=') {
                Some((_, method)) => arguments.value("--compress", Some(method)),
                None => arguments.flag(name, true),
            };
            assert!(words(&major.to_string(), set).is_ok(), "{name}");
            let error = words(&(major - 1).to_string(), set).unwrap_err();
            assert!(matches!(&error, Error::Unsupported { .. }) && error.to_string().contains(name), "{error}");
            assert!(error.to_string().ends_with(&format!("needs pg_dump {major}")), "{error}");
        }
    }

    #[test]
    fn a_restrict_key_came_with_minor_releases() {
        let set = |arguments: &mut Arguments<'_>| arguments.value("--restrict-key", Some("x"));
        for (version, taken) in [("12.22", false), ("13.21", false), ("15.14", true), ("17.5", false), ("18.0", true)] {
            assert_eq!(words(version, set).is_ok(), taken, "{version}");
        }
    }
}
