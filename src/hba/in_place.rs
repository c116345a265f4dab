//! A file overwritten by SQL alone: for roles that may write files and run no programs, and for servers without a shell.
use super::feed::Feed;
use super::read::fetch_file;
use super::secret;
use super::swap::{Failed, Swap, hash, is_torn, patiently};
use crate::error::{Error, Result};
use crate::session::process::Process;
use crate::sql::{Lit, Sql};

/// How bytes get into a file.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// `lo_export`: any bytes; a server that takes writes.
    LargeObject,
    /// `COPY ... TO` a file: lines of text, as long as nothing in them means something to it.
    Lines,
}

/// Refuses a content that would not arrive as it is.
pub(super) fn check(swap: &Swap<'_>, content: &[u8]) -> Result<()> {
    let is_plain = || {
        let text = std::str::from_utf8(content).is_ok_and(|text| text.lines().all(|line| line != "\\."));
        text && content.ends_with(b"\n") && !content.iter().any(|byte| matches!(byte, 0..=3 | b'\r'))
    };
    match Way::choose(swap) == Way::LargeObject || is_plain() {
        true => Ok(()),
        false => Err(Error::Denied {
            action: swap.action(),
            reason: "the file has bytes that COPY cannot write (no UTF-8, a carriage return, no final newline)".into(),
            remedy: "connect as a superuser, or to a role with EXECUTE on lo_export or with pg_execute_server_program"
                .into(),
        }),
    }
}

/// Writes the new content over the old one; returns the path of the copy.
pub(super) fn write(swap: &Swap<'_>) -> Result<Option<String>, Failed> {
    let action = swap.action();
    let way = Way::choose(swap);
    if way == Way::LargeObject && (secret::is_in(swap.new) || secret::is_in(swap.old)) {
        log::warn!("{:?} has passwords in it, which get into the server's write-ahead log now", swap.path);
    }
    if fetch_file(swap.cluster, swap.standing, swap.path)?.as_deref() != Some(swap.old) {
        return Err(swap.conflict().into());
    }
    let copy = copy_path(swap)?;
    if let Some(copy) = &copy {
        way.put(swap, copy, swap.old, &mut None)?;
    }
    let mut process = None;
    let written = way.put(swap, swap.path, swap.new, &mut process);
    let unknown = |error: Error| Failed::Unknown { error, copy: copy.clone() };
    if let (Err(error @ Error::Connection { .. }), Some(process)) = (&written, &process) {
        // The server process may go on without its connection: what is there counts when it has ended.
        let ended = patiently(|| swap.cluster.session().end(&action, process));
        ended.map_err(|next| {
            unknown(error.clone().and(&format!("the file may still be written, so look at it again ({next})")))
        })?;
    }
    let now = fetch_file(swap.cluster, swap.standing, swap.path).map_err(unknown)?.unwrap_or_default();
    if now == swap.new {
        return Ok(copy);
    }
    let error = written.err().unwrap_or_else(|| Error::OsCommand {
        command: action,
        failure: "failed: the file had another content afterwards".into(),
        exit_code: None,
        stderr: String::new(),
    });
    if now == swap.old {
        return Err(Failed::Unchanged(error));
    }
    match is_torn(&now, swap.new) {
        true => Err(unknown(error)),
        false => Err(Failed::Unchanged(name_copy(swap.conflict(), copy.as_deref()))),
    }
}

/// The same error, with where the old content is.
pub(super) fn name_copy(error: Error, copy: Option<&str>) -> Error {
    match copy {
        Some(copy) => error.and(&format!("the old content is in {copy:?}")),
        None => error,
    }
}

/// The path of a copy: in the data directory, since everybody on the server can read what is made this way elsewhere.
fn copy_path(swap: &Swap<'_>) -> Result<Option<String>> {
    let (Some(_), Some(directory)) = (swap.copies, &swap.standing.data_directory) else { return Ok(None) };
    let base = match swap.standing.is_inside(swap.path) {
        true => swap.path.to_owned(),
        false => format!("{directory}/{}", swap.path.rsplit('/').next().unwrap_or_default()),
    };
    // Nothing is locked here to count the copies of a second: the microseconds stand for the count.
    let now = sql!(
        "SELECT pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.clock_timestamp()), \
         'YYYYMMDD\"T\"HH24MISS\"Z\".US') AS now"
    );
    let answers = swap.cluster.session().run(&swap.action(), &[now])?;
    let now = answers.iter().flatten().next().map(|row| row.text("now")).transpose()?.unwrap_or_default();
    let start: String = hash(swap.old).chars().take(8).collect();
    Ok(Some(format!("{base}.{now}.{start}")))
}

impl Way {
    fn choose(swap: &Swap<'_>) -> Self {
        match swap.standing.may_export_files() {
            true => Self::LargeObject,
            false => Self::Lines,
        }
    }

    /// Writes a file, and notes which server process does it.
    fn put(self, swap: &Swap<'_>, path: &str, content: &[u8], process: &mut Option<Process>) -> Result<()> {
        let action = swap.action();
        let feed = match self {
            // The object stands in the table until it is exported.
            Self::LargeObject => Feed::Table,
            Self::Lines => Feed::choose(swap.standing),
        };
        let statements = match self {
            Self::LargeObject => export(path),
            Self::Lines => vec![copy_lines(feed.content(), path)],
        };
        let put = swap.cluster.session().atomically(&action, |within| {
            feed.send(swap.cluster, within, &action, content)?;
            *process = Some(Process::of(within)?);
            within.send(&statements)
        });
        put.map(drop)
    }
}

/// Statements of their own: an object is not seen by the one that makes it.
fn export(path: &str) -> Vec<Sql> {
    vec![
        sql!("UPDATE pg_temp.pgsteward_file SET object = pg_catalog.lo_from_bytea(0, content)"),
        sql!("SELECT pg_catalog.lo_export(object, {}) FROM pg_temp.pgsteward_file", Lit(path)),
        sql!("SELECT pg_catalog.lo_unlink(object) FROM pg_temp.pgsteward_file"),
    ]
}

/// Lines as they are: what would be quoted or escaped does not occur in them. Each gets its newline back.
fn copy_lines(content: Sql, path: &str) -> Sql {
    sql!(
        "COPY (SELECT line FROM pg_catalog.unnest(pg_catalog.regexp_split_to_array(\
         pg_catalog.left(pg_catalog.convert_from({}, 'UTF8'), -1), E'\\n')) WITH ORDINALITY AS lines(line, position) \
         ORDER BY position) \
         TO {} (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02', ESCAPE E'\\x02', NULL E'\\x03', ENCODING 'UTF8')",
        content,
        Lit(path)
    )
}
