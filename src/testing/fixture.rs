//! Rows for tests, from SQL and from JSON.
use crate::error::{Error, Result};
use crate::row::Row;
use crate::sql::{Ident, Lit, Sql};
use crate::{Cluster, DataType, Name, plan};
use postgres::types::Type;
use std::fs;
use std::path::Path;

/// Loads a file, all or nothing, over this connection, so that it may be inside [`with_rollback`](super::with_rollback):
/// one that is called `*.json` as [`insert_json`] does, any other as SQL statements.
///
/// For the data of `COPY ... FROM stdin` there is [`Cluster::load_files`].
///
/// # Errors
/// [`Error::Io`] for a file that cannot be read; [`Error::Server`]; [`Error::Invalid`] for SQL that ends the transaction
/// around it.
pub fn load_fixture(cluster: &Cluster, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let text = fs::read_to_string(path).map_err(|error| Error::io(format!("read {path:?}"), error))?;
    match path.extension().is_some_and(|extension| extension == "json") {
        true => insert_json(cluster, &text).map(drop).map_err(|error| error.and(&format!("in {path:?}"))),
        false => {
            refuse_plan(cluster)?;
            cluster.transaction(|| cluster.session().send_text(&format!("run {path:?}"), &text))
        }
    }
}

/// Inserts rows, all or nothing, and returns how many there were. The text is an object: the name of a table, as SQL
/// writes it (without a schema it is one in `public`), and its rows in the order in which they are inserted; a table that
/// others refer to comes before them.
///
/// A column that a row does not have gets its default, `null` is NULL. The server reads the values, as
/// [`json_to_recordset`](https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING)
/// does: numbers are exact, however long, strings are read as the column's type writes itself (`"2026-02-29"`,
/// `"\\x00ff"`, `"1 day"`), an array is an array. Identity columns take what is given
/// (`OVERRIDING SYSTEM VALUE`); their sequences do not hear of it.
///
/// ```
/// # let server = pgsteward::testing::TestServer::start()?;
/// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
/// cluster.execute("CREATE TABLE item (id int, price numeric DEFAULT 9.90, tags text[])", &[])?;
/// let rows = r#"{ "item": [ { "id": 1, "price": 0.10, "tags": ["a", "b"] }, { "id": 2 } ] }"#;
/// assert_eq!(pgsteward::testing::insert_json(&cluster, rows)?, 2);
/// # Ok::<(), pgsteward::Error>(())
/// ```
///
/// # Errors
/// [`Error::Server`] for what is no such JSON, for a table or column that does not exist, and for values that a column
/// does not take; [`Error::Invalid`] for a name that is none.
pub fn insert_json(cluster: &Cluster, json: &str) -> Result<u64> {
    refuse_plan(cluster)?;
    cluster.transaction(|| {
        let rows = read(cluster, json)?;
        for group in rows.chunk_by(|a, b| a.table == b.table && a.columns == b.columns) {
            insert(cluster, group)?;
        }
        Ok(rows.len().try_into().unwrap_or(u64::MAX))
    })
}

fn refuse_plan(cluster: &Cluster) -> Result<()> {
    match cluster.plan_in_progress()? {
        Some(_) => Err(plan::not_in_a_plan("fixtures")),
        None => Ok(()),
    }
}

/// A row, and what its text says of it.
struct FixtureRow {
    table: String,
    /// Those that it has, in the order of their names.
    columns: Vec<String>,
    json: String,
}

/// Takes JSON apart. The server does it, which changes no digit of a number.
fn read(cluster: &Cluster, json: &str) -> Result<Vec<FixtureRow>> {
    let question = sql!(
        "SELECT t.name, r.row::text AS row, ARRAY(SELECT c.name FROM pg_catalog.json_object_keys(r.row) c(name) \
         ORDER BY c.name COLLATE \"C\")::text AS columns \
         FROM pg_catalog.json_each($1::pg_catalog.json) WITH ORDINALITY t(name, rows, place), \
         pg_catalog.json_array_elements(t.rows) WITH ORDINALITY r(row, place) ORDER BY t.place, r.place"
    );
    let rows = cluster.session().typed("read rows from JSON", &question, &[(&json, Type::TEXT)])?;
    let read =
        |row: Row| Ok(FixtureRow { table: row.text("name")?, columns: row.list("columns")?, json: row.text("row")? });
    rows.into_iter().map(|row| read(row.into())).collect()
}

/// Inserts rows of one table that have the same columns.
fn insert(cluster: &Cluster, rows: &[FixtureRow]) -> Result<()> {
    let Some(FixtureRow { table, columns, .. }) = rows.first() else { return Ok(()) };
    let table = Name::parse(table)?;
    let texts: Vec<&str> = rows.iter().map(|row| row.json.as_str()).collect();
    let statement = statement(&table, &with_types(cluster, &table, columns)?);
    statement.check()?;
    let inserted = match columns.is_empty() {
        true => rows.iter().try_for_each(|_| cluster.execute(&statement.to_string(), &[]).map(drop)),
        false => cluster.execute(&statement.to_string(), &[&format!("[{}]", texts.join(","))]).map(drop),
    };
    inserted.map_err(|error| error.and(&format!("in a row for table {table}")))
}

/// Columns with their types. One that the table does not have is a text, until the server refuses it by its name.
fn with_types(cluster: &Cluster, table: &Name, columns: &[String]) -> Result<Vec<(String, DataType)>> {
    let question = sql!(
        "SELECT c.name, COALESCE((SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = pg_catalog.to_regclass({}) AND a.attname::text = c.name), 'text') AS type \
         FROM pg_catalog.unnest(ARRAY[{}]::text[]) WITH ORDINALITY c(name, place) ORDER BY c.place",
        Lit(&sql!("{}", table).to_string()),
        Sql::join(columns.iter().map(|name| sql!("{}", Lit(name))), ", ")
    );
    let answers = cluster.session().run("read the types of columns", &[question])?;
    let read = |row: &Row| Ok((row.text("name")?, row.text("type")?.into()));
    answers.iter().flatten().map(read).collect()
}

/// The statement that inserts rows with these columns; of none, one row. The columns that the rows do not have are not
/// read at all: a domain may take no NULL.
fn statement(table: &Name, columns: &[(String, DataType)]) -> Sql {
    if columns.is_empty() {
        return sql!("INSERT INTO {} DEFAULT VALUES", table);
    }
    let names = || Sql::join(columns.iter().map(|(name, _)| sql!("{}", Ident(name))), ", ");
    sql!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM \
         pg_catalog.json_to_recordset($1::pg_catalog.text::pg_catalog.json) r({})",
        table,
        names(),
        names(),
        Sql::join(columns.iter().map(|(name, data_type)| sql!("{} {}", Ident(name), data_type)), ", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_the_columns_that_rows_have_and_no_others() {
        let (table, column) = (Name::new("a\"b", "t"), |name: &str| (name.to_owned(), "app.\"Kind\"[]".into()));
        assert_eq!(
            statement(&table, &[column("x\"y"), column("id")]).to_string(),
            "INSERT INTO \"a\"\"b\".\"t\" (\"x\"\"y\", \"id\") OVERRIDING SYSTEM VALUE SELECT \"x\"\"y\", \"id\" FROM \
             pg_catalog.json_to_recordset($1::pg_catalog.text::pg_catalog.json) \
             r(\"x\"\"y\" app.\"Kind\"[], \"id\" app.\"Kind\"[])"
        );
        assert_eq!(statement(&table, &[]).to_string(), "INSERT INTO \"a\"\"b\".\"t\" DEFAULT VALUES");
        assert!(statement(&table, &[column("")]).check().is_err());
    }
}
