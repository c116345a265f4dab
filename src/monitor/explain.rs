//! Plans of statements.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::undone::undone;
use postgres::types::{FromSql, ToSql, Type};
use std::error::Error as StdError;

/// What [`Monitor::explain`](super::Monitor::explain) is to print
/// ([EXPLAIN](https://www.postgresql.org/docs/current/sql-explain.html)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExplainOptions {
    /// As text, or as JSON.
    pub format: ExplainFormat,
    /// Whether to print the columns of each step, and names with their schemas. False by default.
    pub verbose: bool,
    /// Whether to print settings that differ from their defaults. False by default.
    pub settings: bool,
}

/// How a plan is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExplainFormat {
    /// Lines for people.
    #[default]
    Text,
    /// JSON for programs.
    Json,
}

impl ExplainOptions {
    /// Text, and nothing that is not asked for.
    pub fn new() -> Self {
        Self::default()
    }
}

/// Whether a statement is run for its plan.
#[derive(Clone, Copy)]
enum Run {
    No,
    Yes,
}

/// The whole statement. Its options stand in brackets: behind them the server takes no others from the statement's text,
/// such as the word ANALYZE, which would have it run.
fn statement(statement: &str, options: &ExplainOptions, run: Run) -> String {
    let ExplainOptions { format, verbose, settings } = options;
    let run = match run {
        Run::No => "ANALYZE false",
        Run::Yes => "ANALYZE true, BUFFERS true",
    };
    let format = match format {
        ExplainFormat::Text => "TEXT",
        ExplainFormat::Json => "JSON",
    };
    format!("EXPLAIN ({run}, VERBOSE {verbose}, SETTINGS {settings}, FORMAT {format}) {statement}")
}

pub(super) fn explain(
    cluster: &Cluster,
    text: &str,
    parameters: &[&(dyn ToSql + Sync)],
    options: &ExplainOptions,
) -> Result<String> {
    print(cluster, &statement(text, options, Run::No), parameters)
}

pub(super) fn explain_analyze(
    cluster: &Cluster,
    text: &str,
    parameters: &[&(dyn ToSql + Sync)],
    options: &ExplainOptions,
) -> Result<String> {
    let text = statement(text, options, Run::Yes);
    undone(cluster, "EXPLAIN ANALYZE", |cluster| print(cluster, &text, parameters))
}

/// What the statement answers, which is one column.
fn print(cluster: &Cluster, statement: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<String> {
    let rows = cluster.session().single("explain a statement", statement, parameters)?;
    let line = |row: &postgres::Row| row.try_get::<_, Printed>(0).map(|line| line.0);
    let lines = rows.iter().map(line).collect::<Result<Vec<_>, _>>();
    Ok(lines.map_err(|error| Error::driver("explain a statement", &error))?.join("\n"))
}

/// Text, or JSON as text.
struct Printed(String);

impl<'a> FromSql<'a> for Printed {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn StdError + Sync + Send>> {
        Ok(Self(std::str::from_utf8(raw)?.to_owned()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TEXT | Type::JSON)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_run() {
        let mut options = ExplainOptions::new();
        assert_eq!(
            statement("DELETE FROM t", &options, Run::No),
            "EXPLAIN (ANALYZE false, VERBOSE false, SETTINGS false, FORMAT TEXT) DELETE FROM t"
        );
        (options.verbose, options.settings, options.format) = (true, true, ExplainFormat::Json);
        assert_eq!(
            statement("SELECT 1", &options, Run::Yes),
            "EXPLAIN (ANALYZE true, BUFFERS true, VERBOSE true, SETTINGS true, FORMAT JSON) SELECT 1"
        );
    }
}
