//! What a snapshot says of itself: four tables in its own schema.
use super::name::PREFIX;
use super::selection::Chosen;
use super::survey::{Columns, Sort, StoredColumn, no_answer};
use crate::error::{Error, Result};
use crate::name::Name;
use crate::row::Row;
use crate::sql::{Ident, Lit, Sql};
use jiff::Timestamp;

/// The form of the tables. A snapshot of a newer form is left alone.
const FORM: i32 = 1;

/// The tables, in the order in which they are read.
pub(super) const TABLES: [&str; 4] = ["about", "tables", "columns", "sequences"];

/// Their columns, the types as the server describes them.
const COLUMNS: [&str; 4] = [
    "form integer, label text, taken timestamp with time zone, database text, role text, server_version text",
    "number integer, schema text, name text, oid bigint, sort text, rows bigint",
    "number integer, position integer, name text, type_schema text, type_name text, described text, \
     collation_schema text, collation_name text",
    "schema text, name text, last_value bigint, is_called boolean",
];

/// A snapshot, as it says of itself.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The name of its schema, by which it is found.
    pub name: String,
    /// What it is for: the label, in full.
    pub label: String,
    /// The moment whose data it holds.
    pub taken: Timestamp,
    /// The database in which it was taken.
    pub database: String,
    /// The role that took it.
    pub role: String,
    /// The server's version then.
    pub server_version: String,
    /// The tables that it holds, by name.
    pub tables: Vec<SnapshotTable>,
    /// The sequences whose values it holds.
    pub sequences: Vec<SnapshotSequence>,
    /// Foreign tables that were chosen, whose rows it does not hold.
    pub skipped: Vec<Name>,
    /// How much room it takes, in bytes; 0 if it was only planned.
    pub bytes: u64,
    pub(super) owner: String,
    /// Partitioned tables of which it holds every partition.
    pub(super) partitioned: Vec<Name>,
}

/// A table in a snapshot.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SnapshotTable {
    /// The name that it had.
    pub name: Name,
    /// How many rows were copied; 0 if the snapshot was only planned.
    pub rows: u64,
    pub(super) oid: u32,
    pub(super) number: u32,
    pub(super) columns: Vec<StoredColumn>,
}

/// A sequence in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotSequence {
    /// The name that it had.
    pub name: Name,
    /// Its `last_value`.
    pub last_value: i64,
    /// Whether that value was handed out already.
    pub is_called: bool,
}

impl Snapshot {
    /// How many rows there are in all its tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    /// The table that holds the rows of one.
    pub(super) fn copy_of(&self, table: &SnapshotTable) -> Sql {
        copy(&self.name, table.number)
    }

    /// Every table in the schema.
    pub(super) fn everything(&self) -> Vec<Sql> {
        let copies = self.tables.iter().map(|table| self.copy_of(table));
        TABLES.iter().map(|table| index(&self.name, table)).chain(copies).collect()
    }

    pub(super) fn to_drop(&self) -> Vec<Sql> {
        // Not CASCADE: what somebody made on top of it has to be named.
        let tables = Sql::join(self.everything(), ", ");
        vec![sql!("DROP TABLE {}", tables), sql!("DROP SCHEMA {}", Ident(&self.name))]
    }
}

/// The table that holds rows.
pub(super) fn copy(schema: &str, number: u32) -> Sql {
    sql!("{}.{}", Ident(schema), Ident(&number.to_string()))
}

/// One of the tables about them.
pub(super) fn index(schema: &str, table: &'static str) -> Sql {
    sql!("{}.{}", Ident(schema), Ident(table))
}

/// The columns of a table, as a list in SQL.
pub(super) fn list(columns: &[StoredColumn]) -> Sql {
    Sql::join(columns.iter().map(|column| sql!("{}", Ident(&column.name))), ", ")
}

/// How the tables of a snapshot are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Making {
    #[default]
    Logged,
    /// Unlogged, until they are filled: a publication FOR ALL TABLES would send their rows, and a subscriber, who has no
    /// such tables, would stop. What a rewrite of a table writes is not sent.
    Unpublished,
}

impl Making {
    pub(super) fn ask() -> Sql {
        sql!("SELECT (EXISTS (SELECT FROM pg_catalog.pg_publication p WHERE p.puballtables))::text AS published")
    }

    pub(super) fn read(rows: &[Row]) -> Result<Self> {
        let published = rows.first().ok_or_else(no_answer)?.truth("published")?;
        Ok(if published { Self::Unpublished } else { Self::Logged })
    }

    pub(super) fn create_table(self, table: &Sql, rest: &Sql) -> Sql {
        let unlogged = if self == Self::Unpublished { "UNLOGGED " } else { "" };
        sql!("CREATE {}TABLE {} {}", unlogged, *table, *rest)
    }

    /// What makes them tables like all others, once they are filled.
    pub(super) fn complete(self, tables: impl IntoIterator<Item = Sql>) -> Vec<Sql> {
        match self {
            Self::Logged => Vec::new(),
            Self::Unpublished => tables.into_iter().map(|table| sql!("ALTER TABLE {} SET LOGGED", table)).collect(),
        }
    }
}

/// Makes the schema, and the tables about what is in it, which nobody but the owner can look into.
pub(super) fn to_create(schema: &str, grantees: &[String], making: Making) -> Vec<Sql> {
    let mut statements = vec![sql!("CREATE SCHEMA {}", Ident(schema))];
    if !grantees.is_empty() {
        let grantees = Sql::join(
            grantees.iter().map(|role| match role.is_empty() {
                true => sql!("PUBLIC"),
                false => sql!("{}", Ident(role)),
            }),
            ", ",
        );
        statements.push(sql!("REVOKE ALL ON SCHEMA {} FROM {}", Ident(schema), grantees));
    }
    let tables = TABLES.iter().zip(COLUMNS);
    statements
        .extend(tables.map(|(table, columns)| making.create_table(&index(schema, table), &sql!("({})", columns))));
    let comment = "A snapshot of tables: the table \"tables\" says which number is which.";
    statements.push(sql!("COMMENT ON SCHEMA {} IS {}", Ident(schema), Lit(comment)));
    statements
}

/// What is copied, and under which name.
pub(super) struct Contents<'a> {
    pub(super) schema: &'a str,
    pub(super) label: &'a str,
    pub(super) taken: Timestamp,
    pub(super) chosen: &'a Chosen,
    pub(super) columns: &'a Columns,
    pub(super) grantees: &'a [String],
    pub(super) making: Making,
}

impl Contents<'_> {
    /// Makes the snapshot: all statements, in order.
    pub(super) fn to_copy(&self) -> Vec<Sql> {
        let mut statements = to_create(self.schema, self.grantees, self.making);
        let none = Vec::new();
        for (number, table) in (1_u32..).zip(self.chosen.tables()) {
            let columns = list(self.columns.get(&table.oid).unwrap_or(&none));
            let rows = sql!("AS SELECT {} FROM ONLY {}", columns, table.name);
            statements.push(self.making.create_table(&copy(self.schema, number), &rows));
        }
        statements.push(self.about());
        statements.push(sql!("INSERT INTO {} VALUES {}", index(self.schema, "tables"), self.tables()));
        let columns = self.columns();
        if !columns.is_empty() {
            statements.push(sql!("INSERT INTO {} VALUES {}", index(self.schema, "columns"), columns));
        }
        let sequences = self.chosen.sequences.iter().map(|sequence| {
            let Name { schema, name } = &sequence.name;
            sql!("SELECT {}, {}, last_value, is_called FROM {}", Lit(schema), Lit(name), sequence.name)
        });
        let sequences = Sql::join(sequences, " UNION ALL ");
        if !sequences.is_empty() {
            statements.push(sql!("INSERT INTO {} {}", index(self.schema, "sequences"), sequences));
        }
        let copies = (1_u32..).zip(self.chosen.tables()).map(|(number, _)| copy(self.schema, number));
        let all = TABLES.iter().map(|table| index(self.schema, table)).chain(copies);
        statements.extend(self.making.complete(all));
        statements
    }

    fn about(&self) -> Sql {
        sql!(
            "INSERT INTO {} VALUES ({}, {}, {}, pg_catalog.current_database(), current_user, \
             pg_catalog.current_setting('server_version'))",
            index(self.schema, "about"),
            FORM,
            Lit(self.label),
            Lit(&self.taken.to_string())
        )
    }

    /// The rows of the table `tables`: those with rows by their number, the others with 0.
    fn tables(&self) -> Sql {
        let entry = |number: u32, name: &Name, oid: u32, sort: &'static str, rows: Sql| {
            sql!("({}, {}, {}, {}, '{}', {})", number, Lit(&name.schema), Lit(&name.name), oid, sort, rows)
        };
        let tables = (1_u32..).zip(self.chosen.tables()).map(|(number, table)| {
            let rows = sql!("(SELECT pg_catalog.count(*) FROM {})", copy(self.schema, number));
            entry(number, &table.name, table.oid, "table", rows)
        });
        let whole = self.chosen.relations.iter().filter(|relation| relation.sort == Sort::Partitioned);
        let whole = whole.map(|relation| entry(0, &relation.name, relation.oid, "partitioned", sql!("0")));
        let skipped = self.chosen.skipped.iter().map(|name| entry(0, name, 0, "foreign", sql!("0")));
        Sql::join(tables.chain(whole).chain(skipped), ", ")
    }

    fn columns(&self) -> Sql {
        let mut rows = Vec::new();
        for (number, table) in (1_u32..).zip(self.chosen.tables()) {
            let columns = self.columns.get(&table.oid).into_iter().flatten();
            for (position, column) in (1_u32..).zip(columns) {
                let StoredColumn { name, data_type, described, collation } = column;
                let collation = match collation {
                    Some(Name { schema, name }) => sql!("{}, {}", Lit(schema), Lit(name)),
                    None => sql!("NULL, NULL"),
                };
                let data_type = sql!("{}, {}", Lit(&data_type.schema), Lit(&data_type.name));
                let described = Lit(described);
                rows.push(sql!(
                    "({}, {}, {}, {}, {}, {})",
                    number,
                    position,
                    Lit(name),
                    data_type,
                    described,
                    collation
                ));
            }
        }
        Sql::join(rows, ", ")
    }

    /// The snapshot as it will be, as far as that is known before it is taken.
    pub(super) fn planned(&self, database: &str, server_version: &str) -> Snapshot {
        let table = |(number, table): (u32, &super::survey::Relation)| SnapshotTable {
            name: table.name.clone(),
            rows: 0,
            oid: table.oid,
            number,
            columns: self.columns.get(&table.oid).cloned().unwrap_or_default(),
        };
        Snapshot {
            name: self.schema.to_owned(),
            label: self.label.to_owned(),
            taken: self.taken,
            database: database.to_owned(),
            role: String::new(),
            server_version: server_version.to_owned(),
            tables: (1_u32..).zip(self.chosen.tables()).map(table).collect(),
            sequences: Vec::new(),
            skipped: self.chosen.skipped.clone(),
            bytes: 0,
            owner: String::new(),
            partitioned: Vec::new(),
        }
    }
}

/// The schemas that are snapshots, and which the current role may look into. One whose tables about itself are not
/// plain ones, with these columns first, is none: to read it could run code of somebody else's, or fail for all others.
pub(super) fn schemas() -> Sql {
    let tables = TABLES.iter().zip(COLUMNS).map(|(table, columns)| sql!("({}, {})", Lit(table), Lit(columns)));
    sql!(
        "SELECT n.nspname AS schema, pg_catalog.pg_get_userbyid(n.nspowner) AS owner, \
         (SELECT COALESCE(pg_catalog.sum(pg_catalog.pg_total_relation_size(c.oid)), 0) FROM pg_catalog.pg_class c \
         WHERE c.relnamespace = n.oid AND c.relkind = 'r')::text AS bytes FROM pg_catalog.pg_namespace n \
         WHERE pg_catalog.starts_with(n.nspname::text, {}) AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
         AND (SELECT pg_catalog.count(*) FROM (VALUES {}) own(name, columns) JOIN pg_catalog.pg_class c \
         ON c.relname = own.name WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND NOT c.relrowsecurity \
         AND NOT c.relhasrules AND pg_catalog.has_table_privilege(c.oid, 'SELECT') AND pg_catalog.starts_with((\
         SELECT pg_catalog.string_agg(pg_catalog.concat(a.attname, ' ', \
         pg_catalog.format_type(a.atttypid, a.atttypmod)), ', ' ORDER BY a.attnum) FROM pg_catalog.pg_attribute a \
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), own.columns)) = 4",
        Lit(PREFIX),
        Sql::join(tables, ", ")
    )
}

/// What the tables of a snapshot say.
pub(super) fn queries(schema: &str) -> [Sql; 4] {
    [
        sql!(
            "SELECT form::text, label, pg_catalog.to_char(taken AT TIME ZONE 'UTC', {}) AS taken, database, role, \
             server_version FROM ONLY {}",
            ISO,
            index(schema, "about")
        ),
        sql!(
            "SELECT number::text, schema, name, oid::text, sort, rows::text FROM ONLY {} t \
             ORDER BY t.number, t.schema, t.name",
            index(schema, "tables")
        ),
        sql!(
            "SELECT number::text, name, type_schema, type_name, described, collation_schema, collation_name \
             FROM ONLY {} c ORDER BY c.number, c.position",
            index(schema, "columns")
        ),
        sql!(
            "SELECT schema, name, last_value::text, is_called::text FROM ONLY {} ORDER BY schema, name",
            index(schema, "sequences")
        ),
    ]
}

/// The form of a moment that is read here, as a literal.
pub(super) const ISO: &str = "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'";

pub(super) fn moment(row: &Row, column: &str) -> Result<Timestamp> {
    let text = row.text(column)?;
    text.parse().map_err(|error| Error::invalid(format!("moment {text:?} of a snapshot"), format!("{error}")))
}

/// The answers to [`queries`].
pub(super) fn read(schema: &Row, answers: &[Vec<Row>]) -> Result<Snapshot> {
    let [about, tables, columns, sequences] = answers else { return Err(no_answer()) };
    let name = schema.text("schema")?;
    let damaged = |why: &str| Error::invalid(format!("snapshot {name:?}"), why);
    let about = about.first().ok_or_else(|| damaged("its table \"about\" is empty"))?;
    if about.number::<i32>("form")? > FORM {
        return Err(damaged("a newer version of this library made it"));
    }
    let mut snapshot = Snapshot {
        label: about.text("label")?,
        taken: moment(about, "taken")?,
        database: about.text("database")?,
        role: about.text("role")?,
        server_version: about.text("server_version")?,
        tables: Vec::new(),
        sequences: sequences.iter().map(SnapshotSequence::read).collect::<Result<_>>()?,
        skipped: Vec::new(),
        bytes: schema.number("bytes")?,
        owner: schema.text("owner")?,
        partitioned: Vec::new(),
        name: name.clone(),
    };
    for row in tables {
        let name = Name::new(row.text("schema")?, row.text("name")?);
        match row.text("sort")?.as_str() {
            "partitioned" => snapshot.partitioned.push(name),
            "foreign" => snapshot.skipped.push(name),
            _ => snapshot.tables.push(SnapshotTable {
                name,
                rows: row.number("rows")?,
                oid: row.number("oid")?,
                number: row.number("number")?,
                columns: Vec::new(),
            }),
        }
    }
    for row in columns {
        let number: u32 = row.number("number")?;
        let at = snapshot.tables.binary_search_by_key(&number, |table| table.number);
        let table = at.ok().and_then(|at| snapshot.tables.get_mut(at));
        table.ok_or_else(|| damaged("it has columns of no table"))?.columns.push(StoredColumn::read(row)?);
    }
    Ok(snapshot)
}

impl SnapshotSequence {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: Name::new(row.text("schema")?, row.text("name")?),
            last_value: row.number("last_value")?,
            is_called: row.truth("is_called")?,
        })
    }
}

#[cfg(test)]
pub(super) struct TestSnapshot;

#[cfg(test)]
impl TestSnapshot {
    /// An empty one.
    pub(super) fn taken(taken: Timestamp, label: &str) -> Snapshot {
        let (chosen, columns) = (Chosen::default(), Columns::new());
        let schema = super::name::schema_name(taken, label, &[]);
        let making = Making::Logged;
        let contents =
            Contents { schema: &schema, label, taken, chosen: &chosen, columns: &columns, grantees: &[], making };
        contents.planned("", "")
    }
}
