//! Constraints of a table.
use crate::error::Result;
use crate::kind::comment;
use crate::parts::{Origin, Part, PartAlter};
use crate::row::Row;
use crate::sql::{Ident, Sql};

/// A primary key, a unique, check, exclusion or foreign key constraint of a table
/// ([Constraints](https://www.postgresql.org/docs/current/ddl-constraints.html)). NOT NULL is a field of [`Column`](crate::Column).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Constraint {
    /// The name.
    pub name: String,
    /// What follows the name in SQL: `PRIMARY KEY (id)`. The server prints it in its own words when it is read.
    pub definition: Sql,
    /// The comment.
    pub comment: Option<String>,
    origin: Origin,
}

impl Constraint {
    /// A constraint as `CONSTRAINT name definition` would make it.
    pub fn new(name: impl Into<String>, definition: Sql) -> Self {
        Self { name: name.into(), definition, comment: None, origin: Origin::default() }
    }

    /// The OID; 0 for a constraint that is not on a server.
    pub fn oid(&self) -> u32 {
        self.origin.id
    }

    /// The constraints of one table or of all: a row each. Those that a parent table imposes are the parent's.
    pub(crate) fn query() -> Sql {
        sql!(
            "SELECT k.conrelid AS object, k.oid, k.conname AS name, \
             pg_catalog.pg_get_constraintdef(k.oid) AS definition, \
             pg_catalog.obj_description(k.oid, 'pg_constraint') AS comment \
             FROM pg_catalog.pg_constraint k \
             WHERE k.contype IN ('p', 'u', 'c', 'f', 'x') AND k.conislocal AND k.conparentid = 0"
        )
    }

    /// A row of [`query`](Constraint::query).
    pub(crate) fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            definition: Sql::trusted(row.text("definition")?),
            comment: row.optional("comment")?,
            origin: Origin::read(row, "oid")?,
        })
    }

    fn field(&self) -> String {
        match self.origin.id {
            0 => format!("constraint {:?}", self.name),
            oid => format!("constraint {oid}"),
        }
    }

    fn set_comment(&self, alter: &mut PartAlter) {
        let name = sql!("{} ON {}", Ident(&self.name), alter.alter.name());
        alter.alter.statement(self.field(), comment("COMMENT ON CONSTRAINT", name, self.comment.as_deref()));
    }
}

impl super::sealed::Sealed for Constraint {}

impl Part for Constraint {
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
        alter.alter.clause(self.field(), sql!("ADD CONSTRAINT {} {}", Ident(&self.name), self.definition));
        if self.comment.is_some() {
            self.set_comment(alter);
        }
    }

    fn change(&self, wanted: &Self, alter: &mut PartAlter) {
        let Self { name, definition, comment, origin: _ } = wanted;
        if *definition == self.definition {
            if *comment != self.comment {
                wanted.set_comment(alter);
            }
        } else if sql!("{} NOT VALID", definition) == self.definition {
            alter.alter.clause(self.field(), sql!("VALIDATE CONSTRAINT {}", Ident(name)));
            if *comment != self.comment {
                wanted.set_comment(alter);
            }
        } else {
            alter.alter.clause(self.field(), sql!("DROP CONSTRAINT {}", Ident(name)));
            alter.alter.clause(self.field(), sql!("ADD CONSTRAINT {} {}", Ident(name), definition));
            if comment.is_some() {
                wanted.set_comment(alter);
            }
        }
    }

    fn rename(&self, from: &str, to: &str, alter: &mut PartAlter) {
        alter.alter.single(self.field(), sql!("RENAME CONSTRAINT {} TO {}", Ident(from), Ident(to)));
    }

    fn drop(&self, alter: &mut PartAlter) {
        alter.alter.clause(self.field(), sql!("DROP CONSTRAINT {}", Ident(&self.name)));
    }
}
