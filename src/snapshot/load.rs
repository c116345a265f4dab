//! Files as a snapshot again.
use super::archive::{AS_TEXT, Measured, SUMS};
use super::index::{self, Making, Snapshot, SnapshotTable, TABLES, copy, index, to_create};
use super::moment::{bring_back, default_grantees, other_names, put_away};
use super::name::{PREFIX, schema_name};
use super::survey::no_answer;
use super::take;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::plan;
use crate::session::Session;
use crate::sql::{Ident, Lit, Sql};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;

pub(super) fn load(cluster: &Cluster, directory: &Path) -> Result<Snapshot> {
    if cluster.plan_in_progress()?.is_some() {
        return Err(plan::not_in_a_plan("an archive of a snapshot"));
    }
    let action = format!("load the archive {directory:?}");
    let sums = read_sums(directory)?;
    let session = cluster.session();
    let snapshot = session.transaction(&action, || {
        let answers = session.run(&action, &[other_names(), default_grantees(), Making::ask(), put_away(AS_TEXT)])?;
        let [names, grantees, making, _] = answers.as_slice() else { return Err(no_answer()) };
        let names = names.iter().map(|row| row.text("name")).collect::<Result<Vec<_>>>()?;
        let grantees = grantees.iter().map(|row| row.text("name")).collect::<Result<Vec<_>>>()?;
        let making = Making::read(making)?;
        let archive = Archive { session, action: &action, directory, sums: &sums, making };
        // What it is called is only known when it is there.
        let meanwhile = format!("{PREFIX}loading");
        session.run(&action, &to_create(&meanwhile, &grantees, making))?;
        for table in TABLES {
            archive.fill(&index(&meanwhile, table), table)?;
        }
        let loaded = archive.tables(&meanwhile)?;
        let name = schema_name(loaded.taken, &loaded.label, &names);
        let rename = sql!("ALTER SCHEMA {} RENAME TO {}", Ident(&meanwhile), Ident(&name));
        let mut last = making.complete(loaded.everything());
        last.extend([rename, bring_back(AS_TEXT)]);
        session.run(&action, &last)?;
        take::get(cluster, &name)
    })?;
    cluster.refresh();
    Ok(snapshot)
}

struct Archive<'a> {
    session: &'a Session,
    action: &'a str,
    directory: &'a Path,
    sums: &'a BTreeMap<String, String>,
    making: Making,
}

impl Archive<'_> {
    /// Makes and fills the tables with rows.
    fn tables(&self, schema: &str) -> Result<Snapshot> {
        let mut questions = vec![sql!("{} AND n.nspname = {}", index::schemas(), Lit(schema))];
        questions.extend(index::queries(schema));
        let answers = self.session.run(self.action, &questions)?;
        let (found, answers) = answers.split_first().ok_or_else(no_answer)?;
        let snapshot = index::read(found.first().ok_or_else(no_answer)?, answers)?;
        for table in &snapshot.tables {
            self.session.run(self.action, &[to_make(schema, table, self.making)])?;
            let file = table.number.to_string();
            let rows = self.fill(&copy(schema, table.number), &file)?;
            if rows != table.rows {
                let why = format!("table {} has {} rows, and {rows} were read", table.name, table.rows);
                return Err(self.damaged(why));
            }
        }
        Ok(snapshot)
    }

    /// Reads a file into a table. A file that was changed is an error when all of it was read, and everything is
    /// undone.
    fn fill(&self, table: &Sql, file: &str) -> Result<u64> {
        let name = format!("{file}.copy");
        let Some(sum) = self.sums.get(&name) else { return Err(self.damaged(format!("{SUMS} has no {name}"))) };
        let path = self.directory.join(&name);
        let file = File::open(&path).map_err(|error| Error::io(format!("read {path:?}"), error))?;
        let mut reader = BufReader::with_capacity(1 << 16, Measured::new(file));
        let rows = self.session.copy_from(self.action, &sql!("COPY {} FROM STDIN", table), &mut reader)?;
        match reader.get_ref().content().hash == *sum {
            true => Ok(rows),
            false => Err(self.damaged(format!("{name} is not the file whose hash is in {SUMS}"))),
        }
    }

    fn damaged(&self, why: String) -> Error {
        Error::invalid(format!("archive {:?}", self.directory), why)
    }
}

/// Without modifiers of types: every value fits that did.
fn to_make(schema: &str, table: &SnapshotTable, making: Making) -> Sql {
    let columns = table.columns.iter().map(|column| {
        let made = sql!("{} {}", Ident(&column.name), column.data_type);
        match &column.collation {
            Some(collation) => sql!("{} COLLATE {}", made, collation),
            None => made,
        }
    });
    making.create_table(&copy(schema, table.number), &sql!("({})", Sql::join(columns, ", ")))
}

/// The hashes by file.
fn read_sums(directory: &Path) -> Result<BTreeMap<String, String>> {
    let path = directory.join(SUMS);
    let text = fs::read_to_string(&path).map_err(|error| Error::io(format!("read {path:?}"), error))?;
    let line = |line: &str| line.split_once("  ").map(|(hash, file)| (file.to_owned(), hash.to_owned()));
    let sums: Option<BTreeMap<_, _>> = text.lines().map(line).collect();
    sums.ok_or_else(|| Error::invalid(format!("file {path:?}"), "its lines are not each a hash and the name of a file"))
}
