//! The bytes of files on the server.
use super::rights::{Right, Standing};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::sql::Sql;
use postgres::types::Type;

/// The largest file that is read, in bytes; the server sets so much memory aside for each.
pub(super) const LARGEST: usize = 64 << 20;

/// Files and directories in the order in which they were asked for; none for what does not exist.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Fetched {
    pub(crate) files: Vec<Option<Vec<u8>>>,
    /// The names in each directory, in no order.
    pub(crate) directories: Vec<Option<Vec<String>>>,
}

/// Reads files and lists directories: one round trip.
pub(crate) fn fetch(
    cluster: &Cluster,
    standing: &Standing,
    files: &[String],
    directories: &[String],
) -> Result<Fetched> {
    let action = match (files, directories) {
        ([path], []) => format!("read {path:?}"),
        _ => "read the files that pg_hba.conf includes".into(),
    };
    for path in files.iter().chain(directories) {
        standing.need(&action, standing.to_read(path))?;
    }
    if !directories.is_empty() {
        standing.need(&action, &[Right::ListDirectories])?;
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

/// Reads one file; none if there is none.
pub(crate) fn fetch_file(cluster: &Cluster, standing: &Standing, path: &str) -> Result<Option<Vec<u8>>> {
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
        *place = exists.then(|| names.into_iter().filter(|name| name != "." && name != "..").collect());
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

fn directories_query() -> Sql {
    sql!(
        "SELECT position - 1, false, NULL::pg_catalog.bytea, ARRAY(SELECT pg_catalog.pg_ls_dir(path, true, true)) \
         FROM pg_catalog.unnest($2) WITH ORDINALITY AS wanted(path, position)"
    )
}
