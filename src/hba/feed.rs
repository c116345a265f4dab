//! The content of a file on its way to the server: it may hold passwords, so that neither the server's log nor
//! pg_stat_activity is to show it.
use super::rights::Standing;
use super::secret;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::sql::Sql;
use crate::transaction::Atomic;
use postgres::types::Type;

/// How the content gets there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Feed {
    /// By COPY FROM STDIN, whose data no log shows, into a temporary table.
    Table,
    /// As the parameter of a statement that puts it into a setting: where no table can be made, as on a standby.
    Setting { silenced: bool },
}

impl Feed {
    /// The way that there is. A superuser has the log leave it out.
    pub(super) fn choose(standing: &Standing) -> Self {
        match standing.temporary_tables {
            true => Self::Table,
            false => Self::Setting { silenced: standing.superuser },
        }
    }

    /// Refuses a content that the server's log would show.
    pub(super) fn check(self, standing: &Standing, content: &[u8], action: &str) -> Result<()> {
        match self == (Self::Setting { silenced: false }) && standing.logs_parameters && secret::is_in(content) {
            false => Ok(()),
            true => Err(Error::Denied {
                action: action.into(),
                reason: "the file has secrets in it, and the server logs the parameters of statements".into(),
                remedy: "connect as a superuser, or to a server where temporary tables can be made".into(),
            }),
        }
    }

    /// Brings the content to the server, for the rest of the transaction.
    pub(super) fn send(self, cluster: &Cluster, within: &Atomic<'_>, action: &str, content: &[u8]) -> Result<()> {
        let session = cluster.session();
        match self {
            Self::Table => {
                within.send(&[
                    // Where transactions only read unless they say otherwise.
                    sql!("SET TRANSACTION READ WRITE"),
                    sql!(
                        "CREATE TEMPORARY TABLE pgsteward_file (content pg_catalog.bytea, object pg_catalog.oid) \
                         ON COMMIT DROP"
                    ),
                ])?;
                let copy = sql!("COPY pg_temp.pgsteward_file (content) FROM STDIN (FORMAT binary)");
                session.copy_in(action, &copy, content)
            }
            Self::Setting { silenced } => {
                within.send(if silenced { silence(cluster.version().at_least(13)) } else { Vec::new() }.as_slice())?;
                let set = sql!(
                    "SELECT pg_catalog.length(pg_catalog.set_config('pgsteward.file', pg_catalog.encode($1, 'hex'), true))"
                );
                session.typed(action, &set, &[(&content, Type::BYTEA)]).map(drop)
            }
        }
    }

    /// The content, in a statement of the same transaction.
    pub(super) fn content(self) -> Sql {
        match self {
            Self::Table => sql!("(SELECT content FROM pg_temp.pgsteward_file)"),
            Self::Setting { .. } => {
                sql!("pg_catalog.decode(pg_catalog.current_setting('pgsteward.file'), 'hex')")
            }
        }
    }
}

/// Keeps the parameters of statements out of the log, until the end of the transaction.
fn silence(has_parameter_length: bool) -> Vec<Sql> {
    if has_parameter_length {
        return vec![sql!("SELECT pg_catalog.set_config('log_parameter_max_length', '0', true)")];
    }
    vec![sql!(
        "SELECT pg_catalog.set_config('log_statement', 'none', true), \
         pg_catalog.set_config('log_min_duration_statement', '-1', true)"
    )]
}
