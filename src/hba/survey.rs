//! Asking a server what decisions depend on.
use super::connection::{Connection, ConnectionKind, Replication};
use super::name::HbaName;
use super::resolver::SystemResolver;
use super::roles::{Attributes, Roles};
use super::world::{Peer, PeerKind, World};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::sql::{Lit, Sql};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

impl World {
    /// Asks a server for all that it says of itself: roles, databases, its address as this connection sees it, the setting
    /// `ssl`, and the sessions that there are. One round trip; an ordinary role may do it, but is not told where other
    /// roles' sessions come from. Hosts are looked up by this machine's resolver, [`SystemResolver`].
    ///
    /// # Errors
    /// [`Error::Server`], [`Error::Connection`].
    pub fn load(cluster: &Cluster) -> Result<Self> {
        let mut world = Self::new(cluster.version().clone());
        world.resolver = Arc::new(SystemResolver);
        let questions = [server(), roles(), databases(), fresh_statistics(), sessions()];
        let answers = cluster.session().run("read what access depends on", &questions)?;
        let [server, roles, databases, _, sessions] = answers.as_slice() else {
            return Err(Error::invalid("answer of the server", "it answered other questions than were asked"));
        };
        for row in server {
            world.ssl = Some(row.truth("ssl")?);
            if let Some(address) = row.optional_number("address")? {
                world.interfaces.add(address);
            }
        }
        world.roles = Some(read_roles(roles)?);
        world.databases = Some(databases.iter().map(|row| bytes(row, "name")).collect::<Result<BTreeSet<_>>>()?);
        let own: Vec<i32> = cluster.session().own_processes().into_iter().map(|(pid, _)| pid).collect();
        world.sessions = sessions.iter().map(|row| read_session(row, &own)).collect::<Result<_>>()?;
        Ok(world)
    }

    /// Asks the server about expressions that it alone understands: of each, and a name, whether it matches. What cannot be
    /// asked stays unknown. One round trip, or none if there is nothing to ask.
    ///
    /// # Errors
    /// [`Error::Connection`].
    pub(super) fn ask(&mut self, cluster: &Cluster, pairs: Vec<(HbaName, HbaName)>) -> Result<()> {
        if pairs.is_empty() {
            return Ok(());
        }
        match cluster.session().run("ask what regular expressions match", &[matching(&pairs)]) {
            Ok(answers) => {
                for row in answers.iter().flatten() {
                    let pair = pairs.get(row.number::<usize>("pair")?);
                    self.answers.extend(pair.cloned().zip(Some(row.truth("matches")?)));
                }
                Ok(())
            }
            Err(error @ Error::Connection { .. }) => Err(error),
            Err(error) => {
                log::warn!("{error}");
                Ok(())
            }
        }
    }
}

/// The bytes of a name, whatever its encoding, in hexadecimal. An escape in it is doubled, because bytea reads them.
macro_rules! name_bytes {
    ($column:literal) => {
        sql!(
            r"pg_catalog.encode(pg_catalog.replace({}::pg_catalog.text, E'\\', E'\\\\')::pg_catalog.bytea, 'hex')",
            $column
        )
    };
}

fn server() -> Sql {
    sql!(
        "SELECT (pg_catalog.current_setting('ssl') = 'on')::text AS ssl, pg_catalog.host(pg_catalog.inet_server_addr()) AS address"
    )
}

fn roles() -> Sql {
    sql!(
        "SELECT {} AS name, r.rolcanlogin::text AS login, \
         (r.rolreplication AND NOT r.rolsuper)::text AS replication, \
         (SELECT pg_catalog.array_agg(DISTINCT {})::text FROM pg_catalog.pg_auth_members m \
          JOIN pg_catalog.pg_roles g ON g.oid = m.roleid WHERE m.member = r.oid) AS groups \
         FROM pg_catalog.pg_roles r",
        name_bytes!("r.rolname"),
        name_bytes!("g.rolname")
    )
}

fn databases() -> Sql {
    sql!("SELECT {} AS name FROM pg_catalog.pg_database d", name_bytes!("d.datname"))
}

/// In a transaction, the sessions are shown as they were when they were first looked at.
fn fresh_statistics() -> Sql {
    sql!("SELECT pg_catalog.pg_stat_clear_snapshot()")
}

/// Clients' sessions. What the current role may not see of them is NULL, the type of their process first of all. That may
/// be so for this very session too, after SET ROLE; functions tell the rest about it.
fn sessions() -> Sql {
    sql!(
        "SELECT a.pid::text AS pid, {} AS database, {} AS role, a.backend_type, \
         pg_catalog.host(CASE WHEN own THEN pg_catalog.inet_client_addr() ELSE a.client_addr END) AS address, \
         CASE WHEN own THEN COALESCE(pg_catalog.inet_client_port(), -1) ELSE a.client_port END::text AS port, \
         COALESCE(s.ssl, false)::text AS ssl, COALESCE(g.encrypted, false)::text AS gss \
         FROM pg_catalog.pg_stat_activity a \
         CROSS JOIN LATERAL (SELECT a.pid = pg_catalog.pg_backend_pid() AS own) AS which \
         LEFT JOIN pg_catalog.pg_stat_ssl s ON s.pid = a.pid LEFT JOIN pg_catalog.pg_stat_gssapi g ON g.pid = a.pid \
         WHERE a.usename IS NOT NULL AND \
         (own OR a.backend_type IN ('client backend', 'walsender') AND a.client_port IS NOT NULL)",
        name_bytes!("a.datname"),
        name_bytes!("a.usename")
    )
}

/// Of each pair, by its place, whether the expression matches the name.
fn matching(pairs: &[(HbaName, HbaName)]) -> Sql {
    let rows = pairs.iter().enumerate().map(|(place, (expression, name))| {
        sql!("({}, {}, {})", place, Lit(&one_character_each(expression)), Lit(&one_character_each(name)))
    });
    sql!(
        "SELECT p.place::text AS pair, (p.name ~ p.expression COLLATE \"C\")::text AS matches \
         FROM (VALUES {}) AS p (place, expression, name)",
        Sql::join(rows, ", ")
    )
}

/// A text with a character for each byte: the server matches bytes here, before it knows of any encoding.
fn one_character_each(name: &HbaName) -> String {
    name.as_bytes().iter().map(|byte| char::from(*byte)).collect()
}

fn read_roles(rows: &[Row]) -> Result<Roles> {
    let mut roles = Roles::new();
    for row in rows {
        let groups = row.list("groups")?;
        let groups = groups.iter().map(|group| decode("groups", group)).collect::<Result<Vec<HbaName>>>()?;
        let attributes = Attributes { login: row.truth("login")?, replication: row.truth("replication")? };
        roles.insert(bytes(row, "name")?, groups, attributes);
    }
    Ok(roles)
}

fn read_session(row: &Row, own: &[i32]) -> Result<Peer> {
    let pid = row.number("pid")?;
    let walsender = row.optional("backend_type")?.as_deref() == Some("walsender");
    let database = row.optional("database")?.map(|hex| decode("database", &hex)).transpose()?;
    let replication = match (walsender, &database) {
        (false, _) => Replication::None,
        (true, None) => Replication::Physical,
        (true, Some(_)) => Replication::Logical,
    };
    let kind = match () {
        () if own.contains(&pid) => PeerKind::Own,
        () if walsender => PeerKind::Replica,
        () => PeerKind::Other,
    };
    let mut connection = Connection::local(database.unwrap_or_default(), bytes(row, "role")?);
    // A Unix-domain socket has port -1, and no address.
    if row.number::<i32>("port")? >= 0 {
        connection.kind = ConnectionKind::Tcp;
        connection.address = row.optional_number::<IpAddr>("address")?;
    }
    (connection.ssl, connection.gss) = (row.truth("ssl")?, row.truth("gss")?);
    connection.replication = replication;
    Ok(Peer::new(pid, kind, connection))
}

fn bytes(row: &Row, column: &str) -> Result<HbaName> {
    decode(column, &row.text(column)?)
}

fn decode(column: &str, hexadecimal: &str) -> Result<HbaName> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = hexadecimal.as_bytes().chunks(2).map(byte).collect();
    let unexpected = || Error::invalid(format!("answer of the server, column {column:?}"), "it is no hexadecimal");
    bytes.map(HbaName::from).ok_or_else(unexpected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_asked_about_byte_by_byte() {
        let pairs = [("a(?=b)".into(), "ab".into()), ("^.$".into(), HbaName::from(b"\xC3\xA9".as_slice()))];
        assert_eq!(
            matching(&pairs).to_string(),
            "SELECT p.place::text AS pair, (p.name ~ p.expression COLLATE \"C\")::text AS matches \
             FROM (VALUES (0, 'a(?=b)', 'ab'), (1, '^.$', '\u{C3}\u{A9}')) AS p (place, expression, name)"
        );
    }

    #[test]
    fn names_are_read_from_hexadecimal() {
        assert_eq!(decode("name", "636166e9").unwrap(), HbaName::from(b"caf\xE9".as_slice()));
        assert!(decode("name", "6x").is_err() && decode("name", "6\u{e9}").is_err());
    }
}
