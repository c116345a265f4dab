//! The whole database as a snapshot.
use super::name::schema_name;
use super::prune::now;
use super::survey::no_answer;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::kinds::Database;
use crate::object::Object;
use crate::sql::{Lit, Sql};

/// How [`Snapshots::copy_database`](super::Snapshots::copy_database) goes about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseCopyOptions {
    /// The name of the copy. None is the time and the database's name, `pgsteward_snapshot_20261121T120000Z_shop`.
    pub name: Option<String>,
    /// The largest database that is copied, in bytes; none for no limit.
    pub size_limit: Option<u64>,
}

impl DatabaseCopyOptions {
    /// A name with the time, and no limit.
    pub fn new() -> Self {
        Self::default()
    }
}

pub(super) fn copy(cluster: &Cluster, options: &DatabaseCopyOptions) -> Result<Object<Database>> {
    let source = cluster.current_database();
    check_size(cluster, source, options)?;
    let taken = now(cluster)?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => schema_name(taken, source, &cluster.databases().names()?),
    };
    let mut copy = Database::new(name);
    copy.template = Some(source.to_owned());
    copy.owner = cluster.databases().get(source)?.owner.clone();
    copy.allow_connections = false;
    copy.comment = Some(format!("A copy of database {source:?} as it was at {taken}"));
    cluster.databases().create(copy)
}

/// Refuses a database that is larger than the limit.
fn check_size(cluster: &Cluster, source: &str, options: &DatabaseCopyOptions) -> Result<()> {
    let Some(limit) = options.size_limit else { return Ok(()) };
    let answers = cluster.session().run("look at the database", &[size(source)])?;
    let size: u64 = answers.iter().flatten().next().ok_or_else(no_answer)?.number("size")?;
    match size > limit {
        false => Ok(()),
        true => Err(Error::invalid(
            format!("copy of database {source:?}"),
            format!("it has {size} bytes, and the limit is {limit}"),
        )),
    }
}

fn size(database: &str) -> Sql {
    sql!("SELECT pg_catalog.pg_database_size({}::pg_catalog.name)::text AS size", Lit(database))
}
