//! Schemas.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::Result;
use crate::kind::{Alter, DropBehavior, Kind, Nothing, Sealed, Which, comment, one_of};
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Ident, Lit, Sql};
use crate::version::ServerVersion;

/// A schema ([CREATE SCHEMA](https://www.postgresql.org/docs/current/sql-createschema.html)).
///
/// The system's own are `pg_catalog`, `information_schema`, and those of temporary and TOAST tables.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Schema {
    /// The name.
    pub name: String,
    /// The owner; empty for the role that creates it.
    pub owner: String,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    uncovered: Vec<String>,
}

impl Schema {
    /// A schema as `CREATE SCHEMA name` would make it.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), owner: String::new(), comment: None, oid: 0, uncovered: Vec::new() }
    }
}

impl Cluster {
    /// The schemas of the current database.
    pub fn schemas(&self) -> Collection<Schema> {
        Collection::new(self)
    }
}

impl Object<Schema> {
    /// Drops the schema and all that is in it.
    ///
    /// # Errors
    /// As for [`drop`](Object::drop).
    pub fn drop_cascade(self) -> Result<()> {
        self.drop_with(DropBehavior::Cascade)
    }
}

fields! { Schema { name, owner, comment } but oid, uncovered }

impl Sealed for Schema {}

impl Kind for Schema {
    type Key = String;
    type Definition = Nothing;
    const KIND: &'static str = "schema";

    fn query(which: Which<'_, String>, _: &ServerVersion) -> Sql {
        let filter = match which {
            Which::All => sql!("n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'"),
            Which::WithSystem => sql!("true"),
            Which::Key(name) => sql!("n.nspname = {}", Lit(name)),
            Which::Oids(oids) => one_of("n.oid", oids),
        };
        sql!(
            "SELECT n.oid::text, n.nspname AS name, pg_catalog.pg_get_userbyid(n.nspowner) AS owner, \
             pg_catalog.obj_description(n.oid, 'pg_namespace') AS comment, \
             CASE WHEN n.nspacl IS NOT NULL THEN ARRAY['privileges']::text END AS uncovered \
             FROM pg_catalog.pg_namespace n WHERE {}",
            filter
        )
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            owner: row.text("owner")?,
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            uncovered: row.list("uncovered")?,
        })
    }

    fn key(&self) -> String {
        self.name.clone()
    }

    fn oid(&self) -> u32 {
        self.oid
    }

    fn is_system(&self) -> bool {
        self.name.starts_with("pg_") || self.name == "information_schema"
    }

    fn uncovered(&self) -> Vec<String> {
        self.uncovered.clone()
    }

    fn to_create(&self, _: &ServerVersion) -> Script {
        let Self { name, owner, comment: text, oid: _, uncovered: _ } = self;
        let owner = if owner.is_empty() { sql!("") } else { sql!(" AUTHORIZATION {}", Ident(owner)) };
        let mut script = Script::from(sql!("CREATE SCHEMA {}{}", Ident(name), owner));
        if text.is_some() {
            script.push(comment("COMMENT ON SCHEMA", Ident(name), text.as_deref()));
        }
        script
    }

    fn to_alter(&self, wanted: &Self, _: &ServerVersion) -> Script {
        let Self { name, owner, comment, oid: _, uncovered: _ } = wanted;
        let mut alter = Alter::new("ALTER SCHEMA", Ident(&self.name), "");
        alter.owner(&self.owner, owner);
        alter.comment("COMMENT ON SCHEMA", &self.comment, comment);
        if *name != self.name {
            alter.single("name", sql!("RENAME TO {}", Ident(name)));
        }
        alter.finish()
    }

    fn to_drop(&self, behavior: DropBehavior, _: &ServerVersion) -> Script {
        sql!("DROP SCHEMA {}{}", Ident(&self.name), behavior.clause()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p021_a_change_names_the_schema_as_the_server_knows_it() {
        let old = Schema { owner: "a".into(), ..Schema::new("old") };
        let new = Schema { name: "ne\"w".into(), owner: "b".into(), comment: Some("it's".into()), ..old.clone() };
        let version = ServerVersion::parse("15.3").unwrap();
        assert_eq!(
            old.to_alter(&new, &version).to_string(),
            "ALTER SCHEMA \"old\" OWNER TO \"b\";\nCOMMENT ON SCHEMA \"old\" IS 'it''s';\n\
             ALTER SCHEMA \"old\" RENAME TO \"ne\"\"w\";\n"
        );
        assert!(old.to_alter(&old, &version).is_empty());
    }
}
