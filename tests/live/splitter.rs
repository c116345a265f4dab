//! Where statements end, beside psql: PostgreSQL's own regression files by both.
use crate::backups::{checksums, definitions};
use pgsteward::{__pieces as pieces, Cluster, Ident, sql};
use postgres::{Client, Config, NoTls};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A server that these files are made for, and the database that each begins with.
struct Stage {
    cluster: Cluster,
    dsn: String,
    programs: PathBuf,
    roles: Vec<String>,
}

/// What a file has made, and the SQLSTATE of each error on the way.
#[derive(PartialEq)]
struct Outcome {
    errors: Vec<String>,
    definitions: String,
    rows: BTreeMap<String, String>,
}

impl Outcome {
    /// The first thing that is different.
    fn difference(&self, other: &Self) -> Option<String> {
        if let Some((place, (one, two))) =
            self.errors.iter().zip(&other.errors).enumerate().find(|(_, (one, two))| one != two)
        {
            return Some(format!("error {place} is {one} and {two}"));
        }
        if self.errors.len() != other.errors.len() {
            return Some(format!("{} and {} errors", self.errors.len(), other.errors.len()));
        }
        let mut lines = self.definitions.lines().zip(other.definitions.lines());
        if let Some((one, two)) = lines.find(|(one, two)| one != two) {
            return Some(format!("definition {one:?} and {two:?}"));
        }
        let tables = self.rows.keys().chain(other.rows.keys());
        let table = tables.into_iter().find(|name| self.rows.get(*name) != other.rows.get(*name));
        table.map(|name| format!("the rows of {name}"))
    }
}

const DATABASE: &str = "splitter";

impl Stage {
    fn run(&self, by: impl FnOnce() -> Vec<String>) -> Outcome {
        let create = sql!("CREATE DATABASE {} TEMPLATE setup", Ident(DATABASE)).to_string();
        self.cluster.execute(&create, &[]).unwrap();
        let errors = by();
        let there = Cluster::connect(&format!("{} dbname={DATABASE}", self.dsn)).unwrap();
        let outcome = Outcome { errors, definitions: definitions(&there, &self.programs), rows: checksums(&there) };
        drop(there);
        self.cluster.databases().get(DATABASE).unwrap().drop_force().unwrap();
        // Roles that a file has left behind would be in the way of the next run.
        for role in self.roles().into_iter().filter(|role| !self.roles.contains(role)) {
            self.cluster.execute(&sql!("DROP ROLE {}", Ident(&role)).to_string(), &[]).unwrap();
        }
        outcome
    }

    fn roles(&self) -> Vec<String> {
        let rows = self.cluster.execute("SELECT rolname::text FROM pg_roles", &[]).unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    fn config(&self) -> Config {
        let mut config: Config = self.dsn.parse().unwrap();
        config.dbname(DATABASE);
        config
    }

    fn by_psql(&self, file: &Path) -> Vec<String> {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-X", "-q", "-v", "VERBOSITY=sqlstate", "-d"]).arg(format!("{} dbname={DATABASE}", self.dsn));
        psql.arg("-f").arg(file).env("PGCLIENTENCODING", "UTF8").stdout(Stdio::null());
        let output = psql.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = |line: &str| {
            let (_, rest) = line.split_once("ERROR:  ").or_else(|| line.split_once("FATAL:  "))?;
            Some(rest.get(..5)?.to_owned())
        };
        said.lines().filter_map(code).collect()
    }

    fn one_by_one(&self, text: &str) -> Vec<String> {
        let mut client = self.config().connect(NoTls).unwrap();
        let mut errors = Vec::new();
        send(&mut client, text, &mut errors);
        errors
    }
}

/// Sends the statements of a text, and takes note of the errors.
fn send(client: &mut Client, text: &str, errors: &mut Vec<String>) {
    let mut rest = pieces(text, text.len()).unwrap().into_iter().peekable();
    while let Some((kind, piece)) = rest.next() {
        if kind != "statement" {
            continue;
        }
        let data = rest.next_if(|(kind, _)| *kind == "data").map(|(_, data)| data);
        let result = match &data {
            None => client.batch_execute(&piece).map(|()| true),
            Some(data) => copy(client, &piece, data),
        };
        match result {
            Ok(true) => {}
            Ok(false) | Err(_) => {
                // What the driver says of COPY ... TO stdout is no error of the server's.
                let code = result.as_ref().err().and_then(|error| error.code());
                errors.extend(code.map(|code| code.code().to_owned()));
            }
        }
        if let (Err(_), Some(data)) = (result, data) {
            // psql reads what was to be data as statements then.
            let after: String = rest.by_ref().map(|(_, piece)| piece).collect();
            let data = data.trim_end().trim_end_matches("\\.");
            return send(client, &format!("{data}{after}"), errors);
        }
    }
}

/// Whether the data were taken; an error if they were not even asked for.
fn copy(client: &mut Client, statement: &str, data: &str) -> Result<bool, postgres::Error> {
    let mut writer = client.copy_in(statement)?;
    let lines = data.trim_end_matches(['\r', '\n']).trim_end_matches("\\.");
    let _ = writer.write_all(lines.as_bytes());
    writer.finish().map(|_| true)
}

#[test]
#[ignore = "needs the source of PostgreSQL; scripts/regression runs it"]
fn the_statements_of_postgresql_s_regression_files_one_by_one_do_what_psql_does() {
    let (dsn, folder) = match (std::env::var("PGSTEWARD_SPLITTER_DSN"), std::env::var("PGSTEWARD_SPLITTER_FILES")) {
        (Ok(dsn), Ok(folder)) => (dsn, folder),
        _ => return,
    };
    let cluster = Cluster::connect(&format!("{dsn} dbname=postgres")).unwrap();
    let bin = cluster.execute("SELECT setting FROM pg_config() WHERE name = 'BINDIR'", &[]).unwrap();
    let mut stage = Stage { cluster, dsn, programs: PathBuf::from(bin[0].get::<_, String>(0)), roles: Vec::new() };
    stage.roles = stage.roles();
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    let (mut same, mut different, mut left_out) = (Vec::new(), Vec::new(), BTreeMap::<String, Vec<String>>::new());
    let (mut statements, mut failed) = (0, 0);
    for file in &files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let mut leave_out = |why: String| left_out.entry(why).or_default().push(name.clone());
        let Ok(text) = fs::read_to_string(file) else {
            leave_out("it is not in UTF-8".into());
            continue;
        };
        let pieces = match pieces(&text, text.len()) {
            Ok(pieces) => pieces,
            Err(problem) => {
                let psql = problem.contains("a command of psql");
                leave_out(if psql { "it has commands of psql".into() } else { problem });
                continue;
            }
        };
        let by_psql = stage.run(|| stage.by_psql(file));
        let ours = stage.run(|| stage.one_by_one(&text));
        match ours.difference(&by_psql) {
            None => {
                statements += pieces.iter().filter(|(kind, _)| *kind == "statement").count();
                failed += ours.errors.len();
                same.push(name);
            }
            // Does psql do the same twice?
            Some(difference) => match by_psql.difference(&stage.run(|| stage.by_psql(file))) {
                Some(difference) => leave_out(format!("psql itself does not do the same twice: {difference}")),
                None => different.push(format!("{name}: {difference}")),
            },
        }
    }
    println!("{} files do the same, {statements} statements, of which {failed} fail: {}", same.len(), same.join(" "));
    left_out.iter().for_each(|(why, names)| println!("{} left out, {why}: {}", names.len(), names.join(" ")));
    assert_eq!(different, Vec::<String>::new());
    assert!(same.len() > 20);
}
