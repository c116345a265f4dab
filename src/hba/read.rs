//! The bytes of files on the server.
use super::assemble::missing;
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
    allow(standing, &action, files, directories)?;
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

/// Refuses what the role may not read.
fn allow(standing: &Standing, action: &str, files: &[String], directories: &[String]) -> Result<()> {
    for path in files.iter().chain(directories) {
        standing.need(action, standing.to_read(path))?;
    }
    match directories {
        [] => Ok(()),
        _ => standing.need(action, &[Right::ListDirectories, Right::TellDirectories]),
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
    while let Some(wanted) = missing(path, &files, dialect) {
        let (mut paths, mut directories) = (Vec::new(), Vec::new());
        for wanted in wanted {
            match wanted {
                Wanted::File(path) => paths.push(path),
                Wanted::Directory(path) => directories.push(path),
            }
        }
        match fetch_safely(cluster, standing, &paths, &directories)? {
            Ok(fetched) => note(&mut files, paths, directories, fetched),
            Err(_) => fetch_one_by_one(cluster, standing, paths, directories, &mut files)?,
        }
    }
    Ok(files)
}

fn note(files: &mut Files, paths: Vec<String>, directories: Vec<String>, fetched: Fetched) {
    paths.into_iter().zip(fetched.files).for_each(|(path, bytes)| files.insert(path, bytes));
    directories.into_iter().zip(fetched.directories).for_each(|(path, names)| files.insert_directory(path, names));
}

/// Reads each by itself: what the server cannot read is a fault of the line that names it, and does not hide the rest.
fn fetch_one_by_one(
    cluster: &Cluster,
    standing: &Standing,
    paths: Vec<String>,
    directories: Vec<String>,
    files: &mut Files,
) -> Result<()> {
    for path in paths {
        match fetch_safely(cluster, standing, std::slice::from_ref(&path), &[])? {
            Ok(fetched) => note(files, vec![path], Vec::new(), fetched),
            Err(reason) => files.insert_unreadable(Wanted::File(path), reason),
        }
    }
    for path in directories {
        match fetch_safely(cluster, standing, &[], std::slice::from_ref(&path))? {
            Ok(fetched) => note(files, Vec::new(), vec![path], fetched),
            Err(reason) => files.insert_unreadable(Wanted::Directory(path), reason),
        }
    }
    Ok(())
}

/// Reads them; returns the server's words where it cannot read one of them. A transaction around it goes on.
fn fetch_safely(
    cluster: &Cluster,
    standing: &Standing,
    files: &[String],
    directories: &[String],
) -> Result<Result<Fetched, String>> {
    let action = "read the files that pg_hba.conf includes";
    allow(standing, action, files, directories)?;
    let read = || fetch(cluster, standing, files, directories);
    let fetched = match cluster.session().is_inside(action)? {
        true => cluster.session().transaction(action, read),
        false => read(),
    };
    match fetched {
        Err(error) if is_about_a_file(&error) => Ok(Err(match error {
            Error::Server { cause, .. } => cause.message,
            Error::Denied { reason, .. } => reason,
            other => other.to_string(),
        })),
        other => other.map(Ok),
    }
}

/// Whether the server could not read a file, and it is not the session or the machine that is at fault. What else is
/// denied was found before.
fn is_about_a_file(error: &Error) -> bool {
    // Connections, transactions, serialization, resources, operators.
    const OTHERS: [&str; 5] = ["08", "25", "40", "53", "57"];
    error.code().is_some_and(|code| !OTHERS.iter().any(|class| code.code().starts_with(class)))
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
