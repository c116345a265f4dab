//! Indexes of a table or a materialized view.
use crate::error::{Error, Result};
use crate::kind::comment;
use crate::name::Name;
use crate::parts::{Origin, Part, PartAlter};
use crate::row::Row;
use crate::sql::{Ident, Sql};

/// An index that no constraint owns ([CREATE INDEX](https://www.postgresql.org/docs/current/sql-createindex.html)).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Index {
    /// The name; the schema is that of the table.
    pub name: String,
    /// Whether equal keys are refused.
    pub unique: bool,
    /// What follows `USING`: `btree (customer, created DESC) WHERE open`. The server prints it in
    /// its own words when it is read.
    pub definition: Sql,
    /// The tablespace, where it is not the database's own.
    pub tablespace: Option<String>,
    /// The comment.
    pub comment: Option<String>,
    origin: Origin,
}

impl Index {
    /// An index as `CREATE INDEX name ON table USING definition` would make it.
    pub fn new(name: impl Into<String>, definition: Sql) -> Self {
        Self { name: name.into(), unique: false, definition, tablespace: None, comment: None, origin: Origin::default() }
    }

    /// The OID; 0 for an index that is not on a server.
    pub fn oid(&self) -> u32 {
        self.origin.id
    }

    /// The indexes of one relation or of all: a row each.
    ///
    /// The server prints a whole statement, whose beginning is made of known words and names: its
    /// length tells where the definition starts.
    pub(crate) fn query() -> Sql {
        sql!(
            "SELECT x.indrelid AS object, x.indexrelid AS oid, i.relname AS name, x.indisunique AS is_unique, \
             CASE WHEN pg_catalog.strpos(s.whole, s.start) = 1 \
             THEN pg_catalog.substr(s.whole, pg_catalog.length(s.start) + 1) END AS definition, \
             t.spcname AS tablespace, pg_catalog.obj_description(x.indexrelid, 'pg_class') AS comment \
             FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
             JOIN pg_catalog.pg_class c ON c.oid = x.indrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = i.reltablespace, \
             LATERAL (SELECT pg_catalog.pg_get_indexdef(x.indexrelid) AS whole, pg_catalog.concat('CREATE ', \
             CASE WHEN x.indisunique THEN 'UNIQUE ' END, 'INDEX ', pg_catalog.quote_ident(i.relname), ' ON ', \
             CASE WHEN i.relkind = 'I' THEN 'ONLY ' END, pg_catalog.quote_ident(n.nspname), '.', \
             pg_catalog.quote_ident(c.relname), ' USING ') AS start) s \
             WHERE c.relkind IN ('r', 'p', 'm') AND NOT i.relispartition AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k \
             WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x'))"
        )
    }

    /// A row of [`query`](Index::query).
    pub(crate) fn read(row: &Row) -> Result<Self> {
        let name = row.text("name")?;
        let definition = row.optional("definition")?.ok_or_else(|| {
            Error::invalid(
                format!("answer of the server on index {name:?}"),
                "its definition does not begin as expected",
            )
        })?;
        Ok(Self {
            name,
            unique: row.truth("is_unique")?,
            definition: Sql::trusted(definition),
            tablespace: row.optional("tablespace")?,
            comment: row.optional("comment")?,
            origin: Origin::read(row, "oid")?,
        })
    }

    fn field(&self) -> String {
        match self.origin.id {
            0 => format!("index {:?}", self.name),
            oid => format!("index {oid}"),
        }
    }

    fn qualified(&self, alter: &PartAlter) -> Name {
        Name::new(alter.schema, &self.name)
    }

    fn set_comment(&self, alter: &mut PartAlter) {
        let statement = comment("COMMENT ON INDEX", self.qualified(alter), self.comment.as_deref());
        alter.alter.statement(self.field(), statement);
    }
}

impl super::sealed::Sealed for Index {}

impl Part for Index {
    fn id(&self) -> u32 {
        self.origin.id
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn origin(&self) -> Origin {
        self.origin
    }

    fn anew(self) -> Self {
        Self { origin: Origin::default(), ..self }
    }

    fn add(&self, alter: &mut PartAlter) {
        let Self { name, unique, definition, tablespace, comment, origin: _ } = self;
        let unique = if *unique { "UNIQUE " } else { "" };
        let mut statement =
            sql!("CREATE {}INDEX {} ON {} USING {}", unique, Ident(name), alter.alter.name(), definition);
        if let Some(tablespace) = tablespace {
            // `TABLESPACE` stands before `WHERE`, which is inside the definition; moving an empty index costs nothing.
            alter.alter.statement(self.field(), statement);
            let index = self.qualified(alter);
            statement = sql!("ALTER INDEX {} SET TABLESPACE {}", index, Ident(tablespace));
        }
        alter.alter.statement(self.field(), statement);
        if comment.is_some() {
            self.set_comment(alter);
        }
    }

    fn change(&self, wanted: &Self, alter: &mut PartAlter) {
        let Self { name: _, unique, definition, tablespace, comment, origin: _ } = wanted;
        if (unique, definition) != (&self.unique, &self.definition) {
            wanted.drop(alter);
            return wanted.add(alter);
        }
        if *tablespace != self.tablespace {
            let index = wanted.qualified(alter);
            // The name that stands for the database's own.
            let tablespace = tablespace.as_deref().unwrap_or("pg_default");
            let statement = sql!("ALTER INDEX {} SET TABLESPACE {}", index, Ident(tablespace));
            alter.alter.statement(self.field(), statement);
        }
        if *comment != self.comment {
            wanted.set_comment(alter);
        }
    }

    fn rename(&self, from: &str, to: &str, alter: &mut PartAlter) {
        let statement = sql!("ALTER INDEX {} RENAME TO {}", Name::new(alter.schema, from), Ident(to));
        alter.alter.statement(self.field(), statement);
    }

    fn drop(&self, alter: &mut PartAlter) {
        let statement = sql!("DROP INDEX {}", self.qualified(alter));
        alter.alter.statement(self.field(), statement);
    }
}
