//! What the server makes of its file, and whether it has taken it.
use super::entry::HbaEntry;
use super::list::HbaFile;
use super::secret;
use super::swap::hash;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::sql::{Lit, Sql};
use postgres::SimpleQueryMessage;
use std::thread;
use std::time::{Duration, Instant};

/// How long the server gets to read its file.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the server says of the file that is there now.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// It can be loaded.
    Accepted,
    /// It cannot: the first fault.
    Refused { file: String, line: Option<usize>, words: String },
    /// It has another content than the one in question.
    AnotherContent,
}

/// Asks what the server makes of its file, and whether it is still this one. It reads the file anew, and goes on with
/// the rules that it has.
pub(super) fn judge(cluster: &Cluster, written: &HbaFile) -> Result<Verdict> {
    let path = written.path();
    let action = format!("check {path:?}");
    let answers = cluster.session().run(&action, &[question(path, cluster.version().at_least(16))])?;
    match answers.iter().flatten().next() {
        Some(row) => verdict(row, written),
        None => Err(Error::invalid("answer of the server", "it has no row")),
    }
}

/// The file is loaded when there is a rule, and none that has no type; a row with a type and an error is a warning.
fn question(path: &str, has_file_name: bool) -> Sql {
    let file = if has_file_name { sql!("file_name") } else { sql!("{}", Lit(path)) };
    sql!(
        "SELECT {} AS hash, (SELECT pg_catalog.count(*) FROM pg_catalog.pg_hba_file_rules)::text AS rules, \
         fault.file, fault.line, fault.error \
         FROM (SELECT) AS one LEFT JOIN (SELECT {} AS file, line_number::text AS line, \
         COALESCE(error, 'it does not say why') AS error \
         FROM pg_catalog.pg_hba_file_rules WHERE type IS NULL LIMIT 1) AS fault ON true",
        hash_of(path),
        file
    )
}

fn hash_of(path: &str) -> Sql {
    sql!(
        "pg_catalog.encode(pg_catalog.sha256(pg_catalog.pg_read_binary_file({}, 0, {}, true)), 'hex')",
        Lit(path),
        super::read::LARGEST
    )
}

fn verdict(row: &Row, written: &HbaFile) -> Result<Verdict> {
    if row.optional("hash")? != Some(hash(written.old_bytes())) {
        return Ok(Verdict::AnotherContent);
    }
    if let Some(words) = row.optional("error")? {
        let file = row.optional("file")?.unwrap_or_else(|| written.path().to_owned());
        return Ok(refused(file, row.optional_number("line")?, &words, written));
    }
    Ok(match row.number::<u64>("rules")? {
        0 => Verdict::Refused { file: written.path().to_owned(), line: None, words: "there is no rule in it".into() },
        _ => Verdict::Accepted,
    })
}

/// The server's words quote the file: those of a line with a secret in it are left out.
fn refused(file: String, line: Option<usize>, words: &str, written: &HbaFile) -> Verdict {
    let has_secret = |entry: &HbaEntry| entry.effective().has_secret();
    let there = written.iter().find(|entry| entry.file() == file && Some(entry.line()) == line);
    let words = match there.map_or_else(|| written.iter().any(has_secret), has_secret) {
        true => secret::before_words(words),
        false => secret::until_secret(words),
    };
    Verdict::Refused { file, line, words }
}

/// Whether the file has this content.
pub(super) fn has_content(cluster: &Cluster, path: &str, content: &[u8]) -> Result<bool> {
    let query = sql!("SELECT {} AS hash", hash_of(path));
    let answers = cluster.session().run(&format!("check {path:?}"), &[query])?;
    let now = answers.iter().flatten().next().map(|row| row.optional("hash")).transpose()?.flatten();
    Ok(now == Some(hash(content)))
}

/// Refuses to go on where the server would not take its settings, as far as the role may see that: it reads pg_hba.conf
/// even so, and does not say when. A value that it leaves aside by itself does no harm.
pub(super) fn check_settings(cluster: &Cluster, action: &str) -> Result<()> {
    let run = |query: Sql| cluster.session().run(action, &[query]);
    let may_ask = sql!(
        "SELECT (pg_catalog.has_table_privilege('pg_catalog.pg_file_settings', 'SELECT') \
         AND pg_catalog.has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'EXECUTE'))::text AS may_ask"
    );
    if !run(may_ask)?.iter().flatten().next().map(|row| row.truth("may_ask")).transpose()?.unwrap_or_default() {
        return Ok(());
    }
    let faults = run(sql!(
        "SELECT COALESCE(sourcefile, 'postgresql.conf') AS file, COALESCE(sourceline, 0)::text AS line, error \
         FROM pg_catalog.pg_file_settings WHERE error <> 'setting could not be applied' AND NOT applied \
         ORDER BY seqno LIMIT 1"
    ))?;
    match faults.iter().flatten().next() {
        Some(row) => {
            let (file, line, words) = (row.text("file")?, row.text("line")?, row.text("error")?);
            let why = format!(
                "the server does not take its settings, and does not say then when it has read its files: \
                 {words}, at line {line} of {file:?}; repair that first"
            );
            Err(Error::invalid(format!("time to {action}"), why))
        }
        None => Ok(()),
    }
}

/// The moment on the server's clock at which it was told to read its files, in seconds.
pub(super) struct Reload(f64);

/// Has the server read its files.
pub(super) fn reload(cluster: &Cluster) -> Result<Reload> {
    let clock = sql!("SELECT pg_catalog.date_part('epoch', pg_catalog.clock_timestamp())::text AS moment");
    let statements = [clock, sql!("SELECT pg_catalog.pg_reload_conf()")];
    let answers = cluster.session().run("reload the configuration", &statements)?;
    match answers.iter().flatten().next() {
        Some(row) => Ok(Reload(row.number("moment")?)),
        None => Err(Error::invalid("answer of the server", "it has no row")),
    }
}

const LOADED: &str = "SELECT pg_catalog.date_part('epoch', pg_catalog.pg_conf_load_time())::pg_catalog.text AS loaded";

impl Reload {
    /// Waits until the server has read its files. Whether it has in time.
    ///
    /// A session reads them only after the server itself did. The moment that it tells is that at which it took its
    /// settings: with a fault in those it stays what it was, though pg_hba.conf is read.
    pub(super) fn wait(&self, cluster: &Cluster) -> Result<bool> {
        self.wait_for(|| {
            let answers = cluster.session().run("see when the configuration was read", &[Sql::trusted(LOADED)])?;
            answers.iter().flatten().next().map(|row| row.number("loaded")).transpose()
        })
    }

    /// Connects until a connection is let in that was made after the server had read its files: such a one knows
    /// when that was from the server itself. Whether there was one in time.
    pub(super) fn wait_by_connecting(&self, cluster: &Cluster) -> Result<bool> {
        self.wait_for(|| {
            let mut client = cluster.session().connect_again()?;
            let answer = client.simple_query(LOADED).map_err(|error| Error::driver("use a new connection", &error))?;
            let loaded = answer.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.try_get(0).ok().flatten(),
                _ => None,
            });
            Ok(loaded.and_then(|loaded| loaded.parse().ok()))
        })
    }

    fn wait_for(&self, mut loaded: impl FnMut() -> Result<Option<f64>>) -> Result<bool> {
        let (deadline, mut pause) = (Instant::now() + PATIENCE, Duration::from_millis(5));
        while !loaded()?.is_some_and(|loaded| loaded >= self.0) {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hba::dialect::Dialect;
    use crate::version::ServerVersion;

    #[test]
    fn the_words_of_the_server_show_no_secret() {
        let rules = "local all all peer\nhost all all all radius radiusservers=x radiussecrets=hunter2\n";
        let file = HbaFile::from_bytes("/x", rules, Dialect::new(ServerVersion::newest()));
        for (line, words, expected) in [
            (2, "could not translate RADIUS server name \"x\"", "could not translate RADIUS server name ********"),
            (2, "option not in form: hunter2", "option not in form ********"),
            (3, "« hunter2 » n'est rien", " ********"),
            (1, "role \"y\" is odd", "role \"y\" is odd"),
            (1, "invalid type \"ldapbindpasswd=hun\"ter2\"", "invalid type \"ldapbindpasswd=********"),
            (1, "not in form: ldapbindpasswd=my \"hunter2", "not in form: ldapbindpasswd=********"),
        ] {
            let expected = Verdict::Refused { file: "/x".into(), line: Some(line), words: expected.into() };
            assert_eq!(refused("/x".into(), Some(line), words, &file), expected);
        }
    }
}
