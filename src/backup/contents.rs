//! The list of contents of an archive, as `pg_restore --list` prints it.
use std::collections::{BTreeMap, BTreeSet};

/// The kinds of entries with names of several words; all others have one.
const LONG_NAMES: [&str; 36] = [
    "ACCESS METHOD",
    "ACL LANGUAGE",
    "BLOB COMMENTS",
    "BLOB METADATA",
    "CHECK CONSTRAINT",
    "DATABASE PROPERTIES",
    "DEFAULT ACL",
    "EVENT TRIGGER",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN SERVER",
    "FOREIGN TABLE",
    "INDEX ATTACH",
    "LARGE OBJECT",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "PROCEDURAL LANGUAGE",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "ROW SECURITY",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS DATA",
    "SUBSCRIPTION TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TYPE SHELL",
    "USER MAPPING",
];

/// Those of them that are about no object of a catalogue: the first of their OIDs is 0.
const NOT_IN_CATALOG: [&str; 7] = [
    "INDEX ATTACH",
    "MATERIALIZED VIEW DATA",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS DATA",
    "TABLE ATTACH",
    "TABLE DATA",
];

/// The kinds of entries that hold data, which a dump of definitions does not have.
const DATA: [&str; 8] = [
    "BLOB",
    "BLOBS",
    "BLOB COMMENTS",
    "BLOB METADATA",
    "MATERIALIZED VIEW DATA",
    "SEQUENCE SET",
    "STATISTICS DATA",
    "TABLE DATA",
];

/// The entries of an archive.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    /// Whether it is about an object of a catalogue, and not about data or an attachment.
    in_catalog: bool,
    oid: u32,
    /// The kind, the schema (or `-`), the name and the owner: nothing separates them for certain.
    words: String,
}

impl Entry {
    fn kind(&self) -> &str {
        // A table in a schema DATA has the words of the data of a table.
        let may_be = |name: &str| !(self.in_catalog && NOT_IN_CATALOG.contains(&name));
        let is =
            |name: &&&str| may_be(name) && self.words.strip_prefix(**name).is_some_and(|rest| rest.starts_with(' '));
        let long = LONG_NAMES.iter().filter(is).max_by_key(|name| name.len());
        long.copied().unwrap_or_else(|| self.words.split(' ').next().unwrap_or_default())
    }

    fn is_definition(&self) -> bool {
        let kind = self.kind();
        let about = self.words.strip_prefix(kind).unwrap_or_default();
        !DATA.contains(&kind) && !about.starts_with(" - LARGE OBJECT") && !self.is_of_the_database()
    }

    /// Whether it is restored only with the database itself, or is left out of a trial.
    fn is_of_the_database(&self) -> bool {
        let kind = self.kind();
        let about = self.words.strip_prefix(kind).unwrap_or_default();
        kind.starts_with("DATABASE")
            || kind.starts_with("SUBSCRIPTION")
            || about.starts_with(" - DATABASE ")
            || about.starts_with(" - SUBSCRIPTION ")
    }
}

impl Contents {
    /// Reads the list. Lines that begin with a semicolon are comments.
    pub(super) fn read(list: &str) -> Self {
        let entry = |line: &str| {
            let (_, rest) = line.split_once("; ")?;
            let (catalog, rest) = rest.split_once(' ')?;
            let (oid, words) = rest.split_once(' ')?;
            Some(Entry { in_catalog: catalog != "0", oid: oid.parse().ok()?, words: words.to_owned() })
        };
        let lines = list.lines().filter(|line| !line.starts_with(';'));
        Self { entries: lines.filter_map(entry).collect() }
    }

    /// How many entries there are of each kind.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for entry in &self.entries {
            *counts.entry(entry.kind().to_owned()).or_default() += 1;
        }
        counts
    }

    /// The OIDs of the tables whose data is in the archive.
    pub(super) fn tables_with_data(&self) -> BTreeSet<u32> {
        self.entries.iter().filter(|entry| entry.kind() == "TABLE DATA").map(|entry| entry.oid).collect()
    }

    /// The entries of definitions, each as its words and how many there are of it.
    fn definitions(&self) -> BTreeMap<&str, usize> {
        let mut definitions = BTreeMap::new();
        for entry in self.entries.iter().filter(|entry| entry.is_definition()) {
            *definitions.entry(entry.words.as_str()).or_default() += 1;
        }
        definitions
    }

    /// The definitions that another list does not have, or not as often.
    pub(super) fn definitions_beyond(&self, other: &Self) -> Vec<String> {
        let theirs = other.definitions();
        let beyond =
            |(words, count): (&str, usize)| (theirs.get(words).copied().unwrap_or(0) < count).then(|| words.to_owned());
        self.definitions().into_iter().filter_map(beyond).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = ";\n; Archive created at 2026\n;     TOC Entries: 9\n;\n\
        215; 1259 16385 TABLE public my table po st\n3343; 0 16385 TABLE DATA public my table po st\n\
        3350; 0 0 SEQUENCE SET public s o\n3; 2615 2200 SCHEMA - public o\n3351; 0 0 ACL - TABLE DATA o\n\
        9; 2606 5 FK CONSTRAINT public a b o\n10; 1262 4 DATABASE - d o\n11; 0 0 COMMENT - DATABASE d o\n\
        12; 2613 16400 BLOB - 16400 o\n";

    #[test]
    fn entries_are_counted_by_kind() {
        let contents = Contents::read(LIST);
        let counts = contents.counts();
        let expected =
            ["ACL", "BLOB", "COMMENT", "DATABASE", "FK CONSTRAINT", "SCHEMA", "SEQUENCE SET", "TABLE", "TABLE DATA"];
        assert_eq!(counts.keys().collect::<Vec<_>>(), expected);
        assert!(counts.values().all(|count| *count == 1));
        assert_eq!(contents.tables_with_data(), [16385].into());
    }

    #[test]
    fn a_schema_that_is_called_as_half_a_kind_makes_no_other_kind() {
        let list = "1; 1259 7 TABLE DATA t o\n2; 0 7 TABLE DATA DATA t o\n3; 1259 8 SEQUENCE SET s o\n\
            4; 1259 9 MATERIALIZED VIEW DATA v o\n5; 1259 6 TABLE DATA u o\n6; 1259 5 TABLE ATTACH a o\n";
        let contents = Contents::read(list);
        let counts: Vec<_> = contents.counts().into_iter().collect();
        let expected = [("MATERIALIZED VIEW", 1), ("SEQUENCE", 1), ("TABLE", 3), ("TABLE DATA", 1)];
        assert_eq!(counts, expected.map(|(kind, count)| (kind.to_owned(), count)));
        assert_eq!(contents.tables_with_data(), [7].into());
        assert_eq!(contents.definitions_beyond(&Contents::default()).len(), 5);
    }

    #[test]
    fn lists_are_compared_by_their_definitions() {
        let (all, fewer) = (Contents::read(LIST), Contents::read(&LIST.replace("215; 1259 16385 TABLE", "; ")));
        assert!(all.definitions_beyond(&all).is_empty());
        assert_eq!(all.definitions_beyond(&fewer), ["TABLE public my table po st"]);
        assert!(fewer.definitions_beyond(&all).is_empty());
        let without_data = Contents::read(
            "215; 1259 1 TABLE public my table po st\n3; 0 1 SCHEMA - public o\n\
            4; 0 1 ACL - TABLE DATA o\n5; 0 1 FK CONSTRAINT public a b o\n",
        );
        assert!(all.definitions_beyond(&without_data).is_empty());
    }
}
