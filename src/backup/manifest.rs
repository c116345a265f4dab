//! What is known of a dump, in a file beside it.
use super::archive_file::{Digested, Existing, Unfinished};
use super::dump_options::DumpFormat;
use crate::error::{Error, Result};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The largest manifest that is read, in bytes.
const LARGEST: u64 = 256 * 1024 * 1024;

/// What is known of a dump: beside `shop.dump` it is `shop.dump.manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Manifest {
    /// The database; none for what belongs to no database.
    pub database: Option<String>,
    /// The form of the dump.
    pub format: DumpFormat,
    /// Its size in bytes; of a directory, that of all its files.
    pub size: u64,
    /// Its SHA-256, in hexadecimal digits; of a directory, that of what `sha256sum` prints for its files, in the order of
    /// their names' bytes.
    pub sha256: String,
    /// The server's version.
    pub server_version: String,
    /// The program that wrote it: `pg_dump`, `pg_dumpall`.
    pub program: String,
    /// The program's version.
    pub program_version: String,
    /// When it was begun.
    pub started: Timestamp,
    /// When it was whole.
    pub ended: Timestamp,
    /// How many entries of each kind are in its list of contents: `TABLE`, `TABLE DATA`, `INDEX`. Empty for a plain dump.
    pub objects: BTreeMap<String, u64>,
    /// The tables whose rows are in it, with their counts, where they were asked for.
    pub tables: Vec<TableRows>,
    /// How many large objects the database had, where rows were counted.
    pub large_objects: Option<u64>,
}

/// How many rows a table had at the moment of a dump.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct TableRows {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The rows, without those of tables that inherit from it.
    pub rows: u64,
}

impl Manifest {
    /// Where the manifest of a dump is.
    pub fn path_for(dump: &Path) -> PathBuf {
        let mut path = dump.as_os_str().to_owned();
        path.push(".manifest.json");
        path.into()
    }

    /// Reads the manifest beside a dump; none if there is no such file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read, [`Error::Invalid`] if it is none.
    pub fn beside(dump: &Path) -> Result<Option<Self>> {
        let path = Self::path_for(dump);
        let failed = |error| Error::io(format!("read {path:?}"), error);
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
            Ok(file) if file.len() > LARGEST => {
                return Err(Error::invalid(format!("manifest {path:?}"), "it is larger than 256 MB"));
            }
            Ok(_) => {}
        }
        Self::from_json(&fs::read_to_string(&path).map_err(failed)?)
            .map(Some)
            .map_err(|error| Error::invalid(format!("manifest {path:?}"), error.to_string()))
    }

    /// Reads what [`to_json`](Manifest::to_json) has written.
    ///
    /// # Errors
    /// [`Error::Invalid`] says what is missing.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| Error::invalid("manifest of a dump", error.to_string()))?;
        let text = |name: &str| value[name].as_str().ok_or_else(|| missing(name));
        let time = |name: &str| text(name)?.parse::<Timestamp>().map_err(|error| missing(name).and(&error.to_string()));
        let objects = value["objects"].as_object().ok_or_else(|| missing("objects"))?;
        let count = |(kind, count): (&String, &Value)| Some((kind.clone(), count.as_u64()?));
        let table = |table: &Value| {
            let text = |name: &str| table[name].as_str().map(str::to_owned);
            Some(TableRows { schema: text("schema")?, name: text("name")?, rows: table["rows"].as_u64()? })
        };
        let tables = value["tables"].as_array().ok_or_else(|| missing("tables"))?;
        Ok(Self {
            database: value["database"].as_str().map(str::to_owned),
            format: DumpFormat::named(text("format")?).ok_or_else(|| missing("format"))?,
            size: value["size"].as_u64().ok_or_else(|| missing("size"))?,
            sha256: text("sha256")?.to_owned(),
            server_version: text("server_version")?.to_owned(),
            program: text("program")?.to_owned(),
            program_version: text("program_version")?.to_owned(),
            started: time("started")?,
            ended: time("ended")?,
            objects: objects.iter().map(count).collect::<Option<_>>().ok_or_else(|| missing("objects"))?,
            tables: tables.iter().map(table).collect::<Option<_>>().ok_or_else(|| missing("tables"))?,
            large_objects: value["large_objects"].as_u64(),
        })
    }

    /// As JSON, an object with the names of the fields; times as in RFC 3339.
    pub fn to_json(&self) -> String {
        let table = |table: &TableRows| json!({"schema": table.schema, "name": table.name, "rows": table.rows});
        let objects: Map<String, Value> =
            self.objects.iter().map(|(kind, count)| (kind.clone(), json!(count))).collect();
        let value = json!({
            "database": self.database,
            "format": self.format.name(),
            "size": self.size,
            "sha256": self.sha256,
            "server_version": self.server_version,
            "program": self.program,
            "program_version": self.program_version,
            "started": self.started.to_string(),
            "ended": self.ended.to_string(),
            "objects": objects,
            "tables": self.tables.iter().map(table).collect::<Vec<_>>(),
            "large_objects": self.large_objects,
        });
        format!("{value:#}\n")
    }

    /// The major version of the program that wrote the dump.
    pub(super) fn written_by(&self) -> Option<u32> {
        self.program_version.split('.').next()?.parse().ok()
    }

    /// Writes it beside a dump that is to be, under a temporary name.
    pub(super) fn write_beside(&self, dump: &Path) -> Result<Unfinished> {
        let path = Self::path_for(dump);
        let unfinished = Unfinished::beside(&path, Existing::Replace, DumpFormat::Plain)?;
        let written = unfinished.create()?.write_all(self.to_json().as_bytes());
        written.map_err(|error| Error::io(format!("write {path:?}"), error))?;
        unfinished.complete(true)?;
        Ok(unfinished)
    }

    /// Refuses a dump that is not the one this tells of.
    pub(super) fn check(&self, what: &str, found: &Digested) -> Result<()> {
        if (self.size, self.sha256.as_str()) == (found.size, found.sha256.as_str()) {
            return Ok(());
        }
        let why = format!(
            "it is not what its manifest tells: {} bytes with the SHA-256 {}, instead of {} bytes with {}",
            found.size, found.sha256, self.size, self.sha256
        );
        Err(Error::invalid(format!("dump {what}"), why))
    }
}

fn missing(name: &str) -> Error {
    Error::invalid("manifest of a dump", format!("it has no {name} that can be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            database: Some("sh\"op\n".into()),
            format: DumpFormat::Directory,
            size: u64::MAX,
            sha256: "ab".into(),
            server_version: "15.3".into(),
            program: "pg_dump".into(),
            program_version: "15.3".into(),
            started: "2026-01-02T03:04:05Z".parse().unwrap(),
            ended: "2026-01-02T03:04:06.5Z".parse().unwrap(),
            objects: [("TABLE DATA".to_owned(), 2)].into(),
            tables: vec![TableRows { schema: "we.ird".into(), name: "é\\".into(), rows: 3 }],
            large_objects: Some(1),
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        for manifest in [manifest(), Manifest { database: None, large_objects: None, tables: Vec::new(), ..manifest() }]
        {
            assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        }
    }

    #[test]
    fn a_damaged_manifest_is_an_error_that_names_what_is_missing() {
        let text = manifest().to_json();
        for name in ["format", "size", "sha256", "started", "objects", "tables"] {
            let error = Manifest::from_json(&text.replace(&format!("\"{name}\""), "\"x\"")).unwrap_err();
            assert!(error.to_string().contains(&format!("no {name} ")), "{error}");
        }
        assert!(Manifest::from_json(&text[..40]).is_err());
    }
}
