//! The bytes of files on the server.
use super::assemble::{Assembled, assemble};
use super::dialect::Dialect;
use super::files::{Files, Wanted};
use super::rights::{Right, Standing};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::sql::Sql;
use postgres::types::Type;

/// The largest file that is read, in bytes; the server sets so much memory aside for each.
pub(super) const LARGEST: usize = 64 << 20;

/// Files and directories in the order in which they were asked for; none for what does not exist.
#[derive(Debug, Default, PartialEq)]
struct Fetched {
    files: Vec<Option<Vec<u8>>>,
    /// The names of the files in each directory, in no order.
    directories: Vec<Option<Vec<String>>>,
}

/// Reads files and lists directories: one round trip.
fn fetch(cluster: &Cluster, standing: &Standing, files: &[String], directories: &[String]) -> Result<Fetched> {
    let action = match (files, directories) {
        ([path], []) => format!("read {path:?}"),
        _ => "read the files that pg_hba.conf includes".into(),
    };
    for path in files.iter().chain(directories) {
        standing.need(&action, standing.to_read(path))?;
    }
    if !directories.is_empty() {
        standing.need(&action, &[Right::ListDirectories, Right::TellDirectories])?;
    }
    let rows = match directories {
        [] => cluster.session().typed(&action, &files_query(), &[(&files, Type::TEXT_ARRAY)])?,
        _ => {
            let query = sql!("{} UNION ALL {}", files_query(), directories_query());
            cluster.session().typed(&action, &query, &[(&files, Type::TEXT_ARRAY), (&directories, Type::TEXT_ARRAY)])?
        }
    };
    let mut fetched = Fetched { files: vec![None; files.len()], directories: vec![None; directories.len()] };
    for row in &rows {
        take(row, &mut fetched).map_err(|error| Error::driver(&action, &error))?;
    }
    match files.iter().zip(&fetched.files).find(|(_, bytes)| bytes.as_ref().is_some_and(|b| b.len() >= LARGEST)) {
        Some((path, _)) => Err(Error::invalid(format!("file {path:?}"), "it is larger than 64 MB")),
        None => Ok(fetched),
    }
}

/// Reads all that a main file with this content includes, each level of it in one round trip.
pub(super) fn fetch_included(
    cluster: &Cluster,
    standing: &Standing,
    path: &str,
    content: Vec<u8>,
    dialect: &Dialect,
) -> Result<Files> {
    let mut files = Files::new();
    files.insert(path, Some(content));
    while let Assembled::Missing(wanted) = assemble(path, &files, dialect) {
        let (mut paths, mut directories) = (Vec::new(), Vec::new());
        for wanted in wanted {
            match wanted {
                Wanted::File(path) => paths.push(path),
                Wanted::Directory(path) => directories.push(path),
            }
        }
        let fetched = fetch(cluster, standing, &paths, &directories)?;
        paths.into_iter().zip(fetched.files).for_each(|(path, bytes)| files.insert(path, bytes));
        directories.into_iter().zip(fetched.directories).for_each(|(path, names)| files.insert_directory(path, names));
    }
    Ok(files)
}

/// The error for a file that has to be there.
pub(super) fn no_file(path: &str) -> Error {
    Error::NotFound { what: format!("the file {path:?} on the server") }
}

/// Reads one file; none if there is none.
pub(super) fn fetch_file(cluster: &Cluster, standing: &Standing, path: &str) -> Result<Option<Vec<u8>>> {
    let mut fetched = fetch(cluster, standing, &[path.to_owned()], &[])?;
    Ok(fetched.files.pop().flatten())
}

fn take(row: &postgres::Row, fetched: &mut Fetched) -> Result<(), postgres::Error> {
    let position = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
    if let (Some(place), true) = (fetched.files.get_mut(position), row.try_get(1)?) {
        *place = row.try_get(2)?;
    } else if let (Some(place), false) = (fetched.directories.get_mut(position), row.try_get(1)?) {
        let names: Vec<String> = row.try_get(3)?;
        // One that exists has itself in it.
        let exists = !names.is_empty();
        *place = exists.then(|| names.into_iter().filter(|name| name != ".").collect());
    }
    Ok(())
}

fn files_query() -> Sql {
    sql!(
        "SELECT position - 1, true, pg_catalog.pg_read_binary_file(path, 0, {}, true), NULL::pg_catalog.text[] \
         FROM pg_catalog.unnest($1) WITH ORDINALITY AS wanted(path, position)",
        LARGEST
    )
}

/// Directories in a directory are left out, as the server does; it is itself the sign that it exists.
fn directories_query() -> Sql {
    sql!(
        "SELECT position - 1, false, NULL::pg_catalog.bytea, \
         ARRAY(SELECT name FROM pg_catalog.pg_ls_dir(path, true, true) AS name \
         WHERE name = '.' OR NOT (pg_catalog.pg_stat_file(path || '/' || name, true)).isdir) \
         FROM pg_catalog.unnest($2) WITH ORDINALITY AS wanted(path, position)"
    )
}
