//! The whole database as a snapshot.
use super::name::schema_name;
use super::prune::now;
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
    check(cluster, source, options)?;
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

/// PostgreSQL would wait five seconds for the sessions to end, and then name none of them.
fn check(cluster: &Cluster, source: &str, options: &DatabaseCopyOptions) -> Result<()> {
    let what = || format!("copy of database {source:?}");
    let answers = cluster.session().run("look at the database", &[size(source), in_the_way(source)])?;
    let mut rows = answers.iter().flatten();
    let size: u64 = rows.next().ok_or_else(super::survey::no_answer)?.number("size")?;
    if let Some(limit) = options.size_limit.filter(|limit| size > *limit) {
        return Err(Error::invalid(what(), format!("it has {size} bytes, and the limit is {limit}")));
    }
    let others: Vec<String> = rows.map(|row| row.text("what")).collect::<Result<_>>()?;
    match others.is_empty() {
        true => Ok(()),
        false => Err(Error::InUse {
            action: format!("copy database {source:?}"),
            what: format!("database {source:?}"),
            by: others.join(", "),
        }),
    }
}

fn size(database: &str) -> Sql {
    sql!("SELECT pg_catalog.pg_database_size({}::pg_catalog.name)::text AS size", Lit(database))
}

fn in_the_way(database: &str) -> Sql {
    sql!(
        "SELECT pg_catalog.concat('process ', a.pid, ' of role ', a.usename, ' (', a.application_name, ')') AS what \
         FROM pg_catalog.pg_stat_activity a WHERE a.datname = {} AND a.pid <> pg_catalog.pg_backend_pid() \
         AND a.backend_type IS DISTINCT FROM 'autovacuum worker' \
         UNION ALL SELECT pg_catalog.concat('prepared transaction ', x.gid) FROM pg_catalog.pg_prepared_xacts x \
         WHERE x.database = {}",
        Lit(database),
        Lit(database)
    )
}
