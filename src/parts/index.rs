//! Indexes of a table or a materialized view.
use crate::error::{Error, Result};
use crate::kind::comment;
use crate::kinds::relation::{DATABASE_TABLESPACE, destination};
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
    /// The database's own; none while the server was not asked.
    database_tablespace: Option<String>,
}

impl Index {
    /// An index as `CREATE INDEX name ON table USING definition` would make it.
    pub fn new(name: impl Into<String>, definition: Sql) -> Self {
        Self {
            name: name.into(),
            unique: false,
            definition,
            tablespace: None,
            comment: None,
            origin: Origin::default(),
            database_tablespace: None,
        }
    }

    /// The OID; 0 for an index that is not on a server.
    pub fn oid(&self) -> u32 {
        self.origin.id
    }

    /// The indexes of one relation or of all: a row each.
    ///
    /// The server prints a whole statement, whose beginning is made of known words and names: its
    /// length tells where the definition starts. The schema of the session's own temporary tables goes by `pg_temp` there on newer servers.
    pub(crate) fn query() -> Sql {
        sql!(
            "SELECT x.indrelid AS object, x.indexrelid AS oid, i.relname AS name, x.indisunique AS is_unique, \
             CASE WHEN pg_catalog.strpos(s.whole, s.start) = 1 \
             THEN pg_catalog.substr(s.whole, pg_catalog.length(s.start) + 1) END AS definition, \
             t.spcname AS tablespace, {} AS database_tablespace, \
             pg_catalog.obj_description(x.indexrelid, 'pg_class') AS comment \
             FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
             JOIN pg_catalog.pg_class c ON c.oid = x.indrelid \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = i.reltablespace, \
             LATERAL (SELECT pg_catalog.pg_get_indexdef(x.indexrelid) AS whole, pg_catalog.concat('CREATE ', \
             CASE WHEN x.indisunique THEN 'UNIQUE ' END, 'INDEX ', pg_catalog.quote_ident(i.relname), ' ON ', \
             CASE WHEN i.relkind = 'I' THEN 'ONLY ' END) AS head) h, \
             LATERAL (SELECT h.whole, pg_catalog.concat(h.head, CASE WHEN n.oid = pg_catalog.pg_my_temp_schema() \
             AND pg_catalog.strpos(h.whole, h.head || 'pg_temp.') = 1 THEN 'pg_temp' \
             ELSE pg_catalog.quote_ident(n.nspname) END, '.', pg_catalog.quote_ident(c.relname), ' USING ') AS start) s \
             WHERE c.relkind IN ('r', 'p', 'm') AND NOT i.relispartition AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k \
             WHERE k.conindid = x.indexrelid AND k.contype IN ('p', 'u', 'x'))",
            DATABASE_TABLESPACE
        )
    }

    /// A row of [`query`](Index::query).
    pub(crate) fn read(row: &Row) -> Result<Self> {
        // Without a definition it is there, but can be neither made nor changed.
        Ok(Self {
            name: row.text("name")?,
            unique: row.truth("is_unique")?,
            definition: row.optional("definition")?.map(Sql::trusted).unwrap_or_default(),
            tablespace: row.optional("tablespace")?,
            comment: row.optional("comment")?,
            origin: Origin::read(row, "oid")?,
            database_tablespace: row.optional("database_tablespace")?,
        })
    }

    /// What a script of its relation would leave out.
    pub(crate) fn uncovered(&self) -> Option<String> {
        self.definition.is_empty().then(|| format!("index {}", self.name))
    }

    fn refuse_if_unread(&self, alter: &mut PartAlter) {
        if self.definition.is_empty() {
            alter.alter.refuse(Error::invalid(format!("index {:?}", self.name), "its definition is not known"));
        }
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
        Self { origin: Origin::default(), database_tablespace: None, ..self }
    }

    fn add(&self, alter: &mut PartAlter) {
        let Self { name, unique, definition, tablespace, comment, origin: _, database_tablespace: _ } = self;
        self.refuse_if_unread(alter);
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
        let Self { name: _, unique, definition, tablespace, comment, origin: _, database_tablespace: _ } = wanted;
        self.refuse_if_unread(alter);
        if (unique, definition) != (&self.unique, &self.definition) {
            wanted.drop(alter);
            return wanted.add(alter);
        }
        if *tablespace != self.tablespace {
            let index = wanted.qualified(alter);
            let database = self.database_tablespace.as_deref();
            if let Some(tablespace) = destination(tablespace.as_deref(), database, alter.alter) {
                let statement = sql!("ALTER INDEX {} SET TABLESPACE {}", index, Ident(tablespace));
                alter.alter.statement(self.field(), statement);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::Alter;
    use crate::version::ServerVersion;

    #[test]
    fn an_index_whose_definition_is_not_known_is_neither_made_nor_changed() {
        let server = ServerVersion::parse("15.3").unwrap();
        let refused = |change: &dyn Fn(&mut PartAlter)| {
            let mut alter = Alter::new("ALTER TABLE", Name::from("t"), ", ");
            change(&mut PartAlter { alter: &mut alter, schema: "public", object: 0, server: &server });
            alter.finish().check().is_err()
        };
        let unread = Index::new("i", Sql::default());
        let known = Index::new("i", sql!("btree (a)"));
        assert_eq!(unread.uncovered().as_deref(), Some("index i"));
        assert_eq!(known.uncovered(), None);
        assert!(refused(&|alter| unread.add(alter)));
        assert!(refused(&|alter| unread.change(&known, alter)));
        assert!(!refused(&|alter| unread.drop(alter)));
        assert!(!refused(&|alter| known.add(alter)));
    }
}
