//! Who may connect to what, from where, as a table.
use super::connection::Connection;
use super::decide::Judge;
use super::decision::Outcome;
use super::name::HbaName;
use serde_json::Value;
use std::fmt::{self, Write};
use std::net::IpAddr;

/// What connections meet: each user to each database, over a Unix-domain socket and from each address.
///
/// `Display` is a table to read: a line for each user and database, a column for each way to come. `no rule` and `reject`
/// are refused. Where TLS makes a difference, both are said.
///
/// ```text
/// user    database  local  127.0.0.1      10.1.2.3
/// alice   shop      peer   scram-sha-256  no rule, with TLS scram-sha-256
/// alice   stock     peer   scram-sha-256  no rule
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AccessMatrix {
    /// All of them: of a user, of a database, of a way to come.
    pub cells: Vec<AccessCell>,
    origins: Vec<Option<IpAddr>>,
}

/// What a user meets who connects to a database.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AccessCell {
    /// The user.
    pub user: HbaName,
    /// The database.
    pub database: HbaName,
    /// The client's address; none for a Unix-domain socket.
    pub address: Option<IpAddr>,
    /// What he meets; over TCP/IP, without encryption.
    pub plain: Outcome,
    /// What he meets over TCP/IP with TLS; none for a Unix-domain socket, and where the server has no TLS.
    pub tls: Option<Outcome>,
}

impl Judge<'_> {
    /// Says what each of these users meets who connects to each of these databases: over a Unix-domain socket, and from
    /// each of these addresses. It goes by the rules alone, also for a role or a database that does not exist. A database
    /// `replication` is the one of this name, not physical replication.
    pub fn access_matrix<U, D>(
        &self,
        users: impl IntoIterator<Item = U>,
        databases: impl IntoIterator<Item = D>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> AccessMatrix
    where
        U: Into<HbaName>,
        D: Into<HbaName>,
    {
        let origins: Vec<_> = [None].into_iter().chain(addresses.into_iter().map(Some)).collect();
        let databases: Vec<HbaName> = databases.into_iter().map(Into::into).collect();
        let mut cells = Vec::new();
        for user in users.into_iter().map(Into::into) {
            for database in &databases {
                cells.extend(origins.iter().map(|origin| self.cell(&user, database, *origin)));
            }
        }
        AccessMatrix { cells, origins }
    }

    fn cell(&self, user: &HbaName, database: &HbaName, address: Option<IpAddr>) -> AccessCell {
        let mut connection = match address {
            None => Connection::local(database.clone(), user.clone()),
            Some(address) => Connection::tcp(address, database.clone(), user.clone()),
        };
        let plain = self.outcome(&connection);
        connection.ssl = true;
        let tls = (address.is_some() && self.world().ssl != Some(false)).then(|| self.outcome(&connection));
        AccessCell { user: user.clone(), database: database.clone(), address, plain, tls }
    }
}

impl AccessMatrix {
    /// The cells as JSON: an array of objects with `user`, `database`, `address` (null for a Unix-domain socket), `tls` and
    /// `access`: a method, `reject`, `no rule` or `unknown`; and, where a rule decides, its `file` and `line`.
    ///
    /// ```
    /// # fn main() -> pgsteward::Result<()> {
    /// use pgsteward::hba::{Judge, World};
    /// use pgsteward::ServerVersion;
    /// let world = World::new(ServerVersion::parse("18.0")?);
    /// let matrix = Judge::new([], &world).access_matrix(["alice"], ["shop"], []);
    /// assert_eq!(
    ///     matrix.to_json(),
    ///     r#"[{"user":"alice","database":"shop","address":null,"tls":false,"access":"no rule"}]"#
    /// );
    /// # Ok(())
    /// # }
    /// ```
    pub fn to_json(&self) -> String {
        let objects = self.cells.iter().flat_map(|cell| {
            let plain = object(cell, &cell.plain, false);
            let tls = cell.tls.as_ref().map(|tls| object(cell, tls, true));
            [Some(plain), tls].into_iter().flatten()
        });
        format!("[{}]", objects.collect::<Vec<_>>().join(","))
    }

    /// The words of the table: the head, then the lines.
    fn table(&self) -> Vec<Vec<String>> {
        let head = ["user".to_owned(), "database".to_owned()].into_iter();
        let origins = self.origins.iter().map(|origin| origin.map_or("local".into(), |address| address.to_string()));
        let mut table = vec![head.chain(origins).collect()];
        for line in self.cells.chunks(self.origins.len().max(1)) {
            let names = line.first().into_iter().flat_map(|cell| [printable(&cell.user), printable(&cell.database)]);
            table.push(names.chain(line.iter().map(AccessCell::to_string)).collect());
        }
        table
    }
}

impl fmt::Display for AccessCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = self.plain.access();
        match self.tls.as_ref().map(Outcome::access) {
            Some(tls) if tls != plain => write!(f, "{plain}, with TLS {tls}"),
            _ => write!(f, "{plain}"),
        }
    }
}

impl fmt::Display for AccessMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = self.table();
        let columns = table.first().map_or(0, Vec::len);
        let width =
            |column| table.iter().filter_map(|line| line.get(column)).map(|word: &String| word.chars().count()).max();
        let widths: Vec<usize> = (0..columns).filter_map(width).collect();
        for line in &table {
            let mut text = String::new();
            for (word, width) in line.iter().zip(&widths) {
                write!(text, "{word:width$}  ")?;
            }
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

/// A name on one line, whatever is in it; it must not move a terminal's cursor.
fn printable(name: &HbaName) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    name.to_string().chars().map(escaped).collect()
}

fn object(cell: &AccessCell, outcome: &Outcome, tls: bool) -> String {
    let address = cell.address.map_or(Value::Null, |address| address.to_string().into());
    let mut text = format!(
        r#"{{"user":{},"database":{},"address":{address},"tls":{tls},"access":{}"#,
        Value::from(cell.user.to_string()),
        Value::from(cell.database.to_string()),
        Value::from(outcome.access().to_string())
    );
    if let Some(rule) = outcome.rule() {
        text.push_str(&format!(r#","file":{},"line":{}"#, Value::from(&*rule.file), rule.line));
    }
    text + "}"
}

#[cfg(test)]
mod tests {
    use super::super::sample::{entries, world};
    use super::*;

    #[test]
    fn a_table_and_json_say_what_everybody_meets() {
        let rules = entries(
            "local all all peer\nhostssl shop alice 10.0.0.0/8 scram-sha-256\nhost all \"/(?=b)\" 10.0.0.0/8 md5\n\
             host all all 127.0.0.1/32 trust\nhost all bob all reject\n",
        );
        let world = world(18);
        let judge = Judge::new(&rules, &world);
        let addresses = ["127.0.0.1", "10.1.2.3"].map(|address| address.parse().unwrap());
        let matrix = judge.access_matrix(["alice", "bob"], ["shop", "st\u{e9}\tck"], addresses);
        assert_eq!(
            matrix.to_string(),
            "\
user   database  local  127.0.0.1  10.1.2.3
alice  shop      peer   trust      unknown, with TLS scram-sha-256
alice  st\u{e9}\\tck   peer   trust      unknown
bob    shop      peer   trust      unknown
bob    st\u{e9}\\tck   peer   trust      unknown
"
        );
        let json = matrix.to_json();
        assert!(json.starts_with(
            r#"[{"user":"alice","database":"shop","address":null,"tls":false,"access":"peer","file":"pg_hba.conf","line":1},"#
        ));
        assert!(json.contains("\"st\u{e9}\\tck\""), "{json}");
        assert_eq!(json.matches("\"tls\":true").count(), 8);
    }
}
