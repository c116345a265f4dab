//! What the catalogues say of the tables that a snapshot can hold.
use super::name::PREFIX;
use crate::error::{Error, Result};
use crate::kind::one_of;
use crate::name::Name;
use crate::row::Row;
use crate::session::Session;
use crate::sql::{Lit, Sql};
use std::collections::BTreeMap;

/// The tables and sequences of a database, but for the system's, the snapshots' and the temporary ones.
pub(super) struct Survey {
    pub(super) relations: Vec<Relation>,
    pub(super) sequences: Vec<SequenceEntry>,
}

/// A table of one sort or another.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) name: Name,
    pub(super) sort: Sort,
    /// The partitioned tables that it is a partition of, the nearest first.
    pub(super) ancestors: Vec<u32>,
    pub(super) of_extension: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Sort {
    /// Its rows are in its partitions.
    Partitioned,
    /// It has rows.
    Table,
    /// Its rows are on another server.
    Foreign,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct SequenceEntry {
    pub(super) oid: u32,
    pub(super) name: Name,
    /// The tables with a column that owns it, or takes its default from it.
    pub(super) tables: Vec<u32>,
    pub(super) of_extension: bool,
}

/// A column that is copied: all but generated ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredColumn {
    pub(super) name: String,
    /// The type without its modifier.
    pub(super) data_type: Name,
    /// The type as the server describes it: what tells two columns apart.
    pub(super) described: String,
    pub(super) collation: Option<Name>,
}

/// The columns of tables, by OID, in order.
pub(super) type Columns = BTreeMap<u32, Vec<StoredColumn>>;

impl Sort {
    fn read(code: &str) -> Self {
        match code {
            "p" => Self::Partitioned,
            "f" => Self::Foreign,
            _ => Self::Table,
        }
    }
}

impl Survey {
    pub(super) fn queries() -> [Sql; 2] {
        let relations = sql!(
            "SELECT c.oid::text, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind, \
             (ARRAY(SELECT a.relid::oid FROM pg_catalog.pg_partition_ancestors(c.oid) a \
             WHERE c.relispartition AND a.relid <> c.oid))::text AS ancestors, {} AS of_extension \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p', 'f') AND {} ORDER BY n.nspname, c.relname",
            OF_EXTENSION,
            eligible()
        );
        let sequences = sql!(
            "SELECT c.oid::text, n.nspname AS schema, c.relname AS name, (ARRAY(\
             SELECT d.refobjid FROM pg_catalog.pg_depend d WHERE d.classid = {} AND d.objid = c.oid \
             AND d.refclassid = {} AND d.deptype IN ('a', 'i') \
             UNION SELECT f.adrelid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef f ON f.oid = d.objid \
             WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.refclassid = {} \
             AND d.refobjid = c.oid))::text AS tables, {} AS of_extension \
             FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind = 'S' AND {} ORDER BY n.nspname, c.relname",
            PG_CLASS,
            PG_CLASS,
            PG_CLASS,
            OF_EXTENSION,
            eligible()
        );
        [relations, sequences]
    }

    fn read(answers: &[Vec<Row>]) -> Result<Self> {
        let [relations, sequences] = answers else { return Err(no_answer()) };
        Self::read_both(relations, sequences)
    }

    pub(super) fn read_both(relations: &[Row], sequences: &[Row]) -> Result<Self> {
        Ok(Self {
            relations: relations.iter().map(Relation::read).collect::<Result<_>>()?,
            sequences: sequences.iter().map(SequenceEntry::read).collect::<Result<_>>()?,
        })
    }

    pub(super) fn ask(session: &Session, action: &str) -> Result<Self> {
        Self::read(&session.run(action, &Self::queries())?)
    }
}

/// An answer has fewer parts than the question.
pub(super) fn no_answer() -> Error {
    Error::invalid("answer of the server", "it has fewer parts than the question")
}

pub(super) const PG_CLASS: &str = "'pg_catalog.pg_class'::pg_catalog.regclass";

const OF_EXTENSION: &str = "(EXISTS (SELECT FROM pg_catalog.pg_depend e \
    WHERE e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.objid = c.oid AND e.deptype = 'e'))::text";

/// Names that begin with `pg_` are the system's.
fn eligible() -> Sql {
    sql!(
        "c.relpersistence <> 't' AND n.nspname <> 'information_schema' \
         AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_') AND NOT pg_catalog.starts_with(n.nspname::text, {})",
        Lit(PREFIX)
    )
}

impl Relation {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            oid: row.number("oid")?,
            name: Name::new(row.text("schema")?, row.text("name")?),
            sort: Sort::read(&row.text("kind")?),
            ancestors: oids(row, "ancestors")?,
            of_extension: row.truth("of_extension")?,
        })
    }
}

impl SequenceEntry {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            oid: row.number("oid")?,
            name: Name::new(row.text("schema")?, row.text("name")?),
            tables: oids(row, "tables")?,
            of_extension: row.truth("of_extension")?,
        })
    }
}

fn oids(row: &Row, column: &str) -> Result<Vec<u32>> {
    let list = row.list(column)?;
    let number = |text: &String| text.parse().map_err(|_| Error::invalid(format!("OID {text:?}"), "it is no number"));
    list.iter().map(number).collect()
}

/// The columns that tables store, as they are asked for.
pub(super) fn columns_of(tables: &[u32]) -> Sql {
    sql!(
        "SELECT a.attrelid::text AS object, a.attname AS name, m.nspname AS type_schema, t.typname AS type_name, \
         pg_catalog.format_type(a.atttypid, a.atttypmod) AS described, s.nspname AS collation_schema, \
         o.collname AS collation_name FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid JOIN pg_catalog.pg_namespace m ON m.oid = t.typnamespace \
         LEFT JOIN pg_catalog.pg_collation o ON o.oid = a.attcollation \
         LEFT JOIN pg_catalog.pg_namespace s ON s.oid = o.collnamespace \
         WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' AND {} ORDER BY a.attrelid, a.attnum",
        one_of("a.attrelid", tables)
    )
}

pub(super) fn read_columns(rows: &[Row]) -> Result<Columns> {
    let mut columns = Columns::new();
    for row in rows {
        columns.entry(row.number("object")?).or_default().push(StoredColumn::read(row)?);
    }
    Ok(columns)
}

impl StoredColumn {
    pub(super) fn read(row: &Row) -> Result<Self> {
        let collation = row.optional("collation_schema")?.zip(row.optional("collation_name")?);
        Ok(Self {
            name: row.text("name")?,
            data_type: Name::new(row.text("type_schema")?, row.text("type_name")?),
            described: row.text("described")?,
            collation: collation.map(Name::from),
        })
    }
}
