//! Materialized views.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, Defined, Definition, DropBehavior, Kind, Known, Sealed, Which, definitions, unread};
use crate::kinds::relation::{
    self, Place, UNCOVERED, alter_options, defined_relation, option_list, read_options, relation_filter,
};
use crate::kinds::view::{COLUMNS_UNCOVERED, QUERY, as_query};
use crate::name::Name;
use crate::object::Object;
use crate::parts::{Index, Part, PartAlter, Parts};
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Ident, Sql};
use crate::version::ServerVersion;
use std::collections::BTreeMap;

/// A materialized view ([CREATE MATERIALIZED VIEW](https://www.postgresql.org/docs/current/sql-creatematerializedview.html)).
///
/// Its query and its indexes are its [definition](MaterializedViewDefinition), read on demand.
/// PostgreSQL cannot give it another query: [`Object::alter`] drops it then and makes it anew with
/// all that it had, in one transaction; refused where something depends on it, or where it has what a script would leave out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MaterializedView {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The owner; empty for the role that creates it. The query runs with the owner's rights.
    pub owner: String,
    /// The tablespace; none for the database's own.
    pub tablespace: Option<String>,
    /// The access method; none for the server's default.
    pub access_method: Option<String>,
    /// Storage parameters by name; those of its TOAST table begin with `toast.`.
    pub options: BTreeMap<String, String>,
    /// Whether it holds the rows of its query. A change refreshes it, or empties it
    /// ([REFRESH MATERIALIZED VIEW](https://www.postgresql.org/docs/current/sql-refreshmaterializedview.html)).
    pub population: Population,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    database_tablespace: Option<String>,
    uncovered: Vec<String>,
    definition: Known<MaterializedViewDefinition>,
}

/// What a materialized view is made of.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MaterializedViewDefinition {
    /// The query, without a semicolon at its end. It runs with an empty search path, so every name in it has its
    /// schema; the names of the columns are those that it gives them. The server prints it in its own words when it is read.
    pub query: Sql,
    /// The indexes.
    pub indexes: Parts<Index>,
    /// What it has besides.
    uncovered: Vec<String>,
}

/// Whether a materialized view holds the rows of its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Population {
    /// `WITH DATA`: those of its last refresh.
    Populated,
    /// `WITH NO DATA`: none, and reading it is an error.
    Unpopulated,
}

/// Whether those who read a materialized view wait while it is refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshMode {
    /// They wait.
    Blocking,
    /// They do not; slower, and it needs a unique index over plain columns.
    Concurrently,
}

impl MaterializedView {
    /// A materialized view as `CREATE MATERIALIZED VIEW name AS query` would make it.
    pub fn new(name: impl Into<Name>, query: Sql) -> Self {
        let Name { schema, name } = name.into();
        let mut definition = Known::default();
        *definition.to_mut() = MaterializedViewDefinition { query, ..MaterializedViewDefinition::default() };
        Self {
            schema,
            name,
            owner: String::new(),
            tablespace: None,
            access_method: None,
            options: BTreeMap::new(),
            population: Population::Populated,
            comment: None,
            oid: 0,
            database_tablespace: None,
            uncovered: Vec::new(),
            definition,
        }
    }

    /// What it is made of, if that was read.
    pub fn definition(&self) -> Option<&MaterializedViewDefinition> {
        self.definition.get().map(|definition| &**definition)
    }

    /// What a new one is to be made of. For one on a server: [`Object::definition_mut`].
    pub fn definition_mut(&mut self) -> &mut MaterializedViewDefinition {
        self.definition.to_mut()
    }

    fn qualified(&self) -> Name {
        Name::new(&self.schema, &self.name)
    }

    fn place(&self) -> Place<'_> {
        Place {
            access_method: &self.access_method,
            tablespace: &self.tablespace,
            database_tablespace: self.database_tablespace.as_deref(),
        }
    }

    /// The settings that stand in one `ALTER MATERIALIZED VIEW`, where they differ.
    fn alter_settings(&self, wanted: &Self, alter: &mut Alter, server: &ServerVersion) {
        let Self { owner, options, .. } = wanted;
        if *owner != self.owner {
            alter.clause("owner", sql!("OWNER TO {}", Ident(owner)));
        }
        alter_options(&self.options, options, alter);
        self.place().alter(&wanted.place(), alter, server);
    }

    /// Drops it and makes it anew.
    fn replace(&self, wanted: &Self, server: &ServerVersion) -> Script {
        let mut script = self.to_drop(DropBehavior::Restrict, server);
        script.append(wanted.to_create(server));
        let lost = self.uncovered();
        if !lost.is_empty() {
            let what = format!(
                "another query for materialized view {} with its {}, which would be lost",
                self.qualified(),
                lost.join(", ")
            );
            script.refuse(Error::unsupported(what, "dropping it and creating another"));
        }
        script
    }
}

impl Cluster {
    /// The materialized views of the current database.
    pub fn materialized_views(&self) -> Collection<MaterializedView> {
        Collection::new(self)
    }
}

impl Object<MaterializedView> {
    /// Drops the materialized view and what depends on it.
    ///
    /// # Errors
    /// As for [`drop`](Object::drop).
    pub fn drop_cascade(self) -> Result<()> {
        self.drop_with(DropBehavior::Cascade)
    }

    /// Runs the query and keeps its rows in place of the old ones, as the owner
    /// ([REFRESH MATERIALIZED VIEW](https://www.postgresql.org/docs/current/sql-refreshmaterializedview.html)).
    ///
    /// # Errors
    /// [`Error::Server`] for [`Concurrently`](RefreshMode::Concurrently) while it holds no rows or has no unique
    /// index; [`Error::Conflict`] when it was dropped, replaced or renamed since it was read.
    pub fn refresh_data(&mut self, mode: RefreshMode) -> Result<()> {
        let concurrently = if mode == RefreshMode::Concurrently { "CONCURRENTLY " } else { "" };
        let script = sql!("REFRESH MATERIALIZED VIEW {}{}", concurrently, self.server().qualified());
        self.perform("refresh the data of", script.into())
    }
}

fields! { MaterializedView { schema, name, owner, tablespace, access_method, options, population, comment } but oid, database_tablespace, uncovered, definition }
words! { Population { Populated = "populated", Unpopulated = "unpopulated" } }

impl Sealed for MaterializedView {}
impl Defined for MaterializedView {}

impl Kind for MaterializedView {
    type Key = Name;
    type Definition = MaterializedViewDefinition;
    const KIND: &'static str = "materialized view";

    fn query(which: Which<'_, Name>, _: &ServerVersion) -> Sql {
        sql!(
            "SELECT {}, {}, {} AS database_tablespace, c.relispopulated::text, \
             pg_catalog.array_remove(ARRAY[CASE WHEN c.relacl IS NOT NULL THEN 'privileges' END, \
             CASE WHEN c.relreplident <> 'd' THEN 'replica identity' END], NULL)::text AS uncovered \
             FROM {} {} WHERE c.relkind = 'm' AND {}",
            relation::COLUMNS,
            relation::COLUMNS_OF_PLACES,
            relation::DATABASE_TABLESPACE,
            relation::FROM,
            relation::FROM_PLACES,
            relation_filter(which)
        )
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            schema: row.text("schema")?,
            name: row.text("name")?,
            owner: row.text("owner")?,
            tablespace: row.optional("tablespace")?,
            access_method: row.optional("access_method")?,
            options: read_options(row.list("options")?),
            population: match row.truth("relispopulated")? {
                true => Population::Populated,
                false => Population::Unpopulated,
            },
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            database_tablespace: row.optional("database_tablespace")?,
            uncovered: row.list("uncovered")?,
            definition: Known::default(),
        })
    }

    defined_relation!();

    fn is_replaced_by(&self, wanted: &Self) -> bool {
        definitions(self, wanted).is_some_and(|(old, new)| old.query != new.query)
    }

    fn to_create(&self, server: &ServerVersion) -> Script {
        let Self { owner, tablespace, access_method, options, population, comment, .. } = self;
        let mut alter = Alter::new("ALTER MATERIALIZED VIEW", self.qualified(), ", ");
        let Some(definition) = self.definition() else {
            alter.refuse(unread(Self::KIND, &self.qualified()));
            return alter.finish();
        };
        let MaterializedViewDefinition { query, indexes, uncovered: _ } = definition;
        let mut words = vec![sql!("CREATE MATERIALIZED VIEW {}", self.qualified())];
        words.extend(access_method.as_ref().map(|method| sql!("USING {}", Ident(method))));
        if !options.is_empty() {
            words.push(sql!("WITH {}", option_list(options)));
        }
        words.extend(tablespace.as_ref().map(|tablespace| sql!("TABLESPACE {}", Ident(tablespace))));
        words.push(as_query(query));
        // With an owner given, the query runs as that owner, and never with the rights of who creates it.
        let fill_later = *population == Population::Populated && !owner.is_empty();
        if fill_later || *population == Population::Unpopulated {
            words.push(sql!("WITH NO DATA"));
        }
        alter.statement("itself", Sql::join(words, " "));
        let mut parts = PartAlter { alter: &mut alter, schema: &self.schema, object: self.oid, server };
        indexes.iter().for_each(|index| index.add(&mut parts));
        if !owner.is_empty() {
            alter.single("owner", sql!("OWNER TO {}", Ident(owner)));
        }
        alter.comment("COMMENT ON MATERIALIZED VIEW", &None, comment);
        if fill_later {
            alter.statement("population", sql!("REFRESH MATERIALIZED VIEW {}", self.qualified()));
        }
        alter.finish()
    }

    fn to_alter(&self, wanted: &Self, server: &ServerVersion) -> Script {
        let Self {
            schema, name, population, comment, oid: _, database_tablespace: _, uncovered: _, definition: _, ..
        } = wanted;
        if self.is_replaced_by(wanted) {
            return self.replace(wanted, server);
        }
        let mut alter = Alter::new("ALTER MATERIALIZED VIEW", self.qualified(), ", ");
        if let Some((old, new)) = definitions(self, wanted) {
            let MaterializedViewDefinition { query: _, indexes, uncovered: _ } = new;
            let parts = &mut PartAlter { alter: &mut alter, schema: &self.schema, object: self.oid, server };
            old.indexes.drop_gone(indexes, parts);
            old.indexes.change_and_add(indexes, parts);
        }
        self.alter_settings(wanted, &mut alter, server);
        alter.comment("COMMENT ON MATERIALIZED VIEW", &self.comment, comment);
        if *population != self.population {
            let no_data = if *population == Population::Unpopulated { " WITH NO DATA" } else { "" };
            let statement = sql!("REFRESH MATERIALIZED VIEW {}{}", alter.name(), no_data);
            alter.statement("population", statement);
        }
        alter.rename(&self.qualified(), &Name::new(schema, name));
        alter.finish()
    }

    fn to_drop(&self, behavior: DropBehavior, _: &ServerVersion) -> Script {
        sql!("DROP MATERIALIZED VIEW {}{}", self.qualified(), behavior.clause()).into()
    }
}

/// How columns are stored, where it is not as their types say.
fn storage_uncovered(server: &ServerVersion) -> Sql {
    let compression = if server.at_least(14) { " OR a.attcompression <> ''" } else { "" };
    sql!(
        " UNION ALL SELECT a.attrelid, pg_catalog.concat('storage of column ', a.attname) FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attnum > 0 AND NOT a.attisdropped \
         AND (a.attstorage <> t.typstorage{})",
        compression
    )
}

impl Definition for MaterializedViewDefinition {
    fn queries(view: Option<u32>, server: &ServerVersion) -> Vec<Sql> {
        let only = |column: &'static str| match view {
            Some(oid) => sql!(" AND {} = {}", column, oid),
            None => sql!(""),
        };
        vec![
            sql!(
                "SELECT c.oid AS object, {} AS query FROM pg_catalog.pg_class c WHERE c.relkind = 'm'{}",
                QUERY,
                only("c.oid")
            ),
            sql!(
                "SELECT u.object, u.what FROM ({}{}{}) u(object, what) JOIN pg_catalog.pg_class c ON c.oid = u.object \
                 WHERE c.relkind = 'm'{} ORDER BY 1, 2",
                UNCOVERED,
                COLUMNS_UNCOVERED,
                storage_uncovered(server),
                only("u.object")
            ),
            sql!("{} AND c.relkind = 'm'{} ORDER BY x.indrelid, i.relname", Index::query(), only("x.indrelid")),
        ]
    }

    fn read(answers: &[Vec<Row>]) -> Result<BTreeMap<u32, Self>> {
        let [found, uncovered, indexes] = answers else {
            return Err(Error::invalid("answer of the server", "it is not as many results as there were queries"));
        };
        let mut views = BTreeMap::<u32, Self>::new();
        for row in found {
            let query = Sql::trusted(row.text("query")?);
            views.insert(row.number("object")?, Self { query, ..Self::default() });
        }
        for row in uncovered {
            if let Some(view) = views.get_mut(&row.number("object")?) {
                view.uncovered.push(row.text("what")?);
            }
        }
        for row in indexes {
            if let Some(view) = views.get_mut(&row.number("object")?) {
                let index = Index::read(row)?;
                view.uncovered.extend(index.uncovered());
                view.indexes.push_read(index);
            }
        }
        Ok(views)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> ServerVersion {
        ServerVersion::parse("15.3").unwrap()
    }

    #[test]
    fn p021_a_change_names_the_view_as_the_server_knows_it() {
        let old = MaterializedView::new("v", sql!("SELECT 1 AS a"));
        let new = MaterializedView {
            schema: "app".into(),
            name: "n".into(),
            owner: "o".into(),
            tablespace: Some("fast".into()),
            options: [("fillfactor".to_owned(), "70".to_owned())].into(),
            population: Population::Unpopulated,
            comment: Some("c".into()),
            ..old.clone()
        };
        assert_eq!(
            old.to_alter(&new, &version()).to_string(),
            "ALTER MATERIALIZED VIEW \"public\".\"v\" OWNER TO \"o\", SET (\"fillfactor\" = '70'), SET TABLESPACE \"fast\";\n\
             COMMENT ON MATERIALIZED VIEW \"public\".\"v\" IS 'c';\n\
             REFRESH MATERIALIZED VIEW \"public\".\"v\" WITH NO DATA;\n\
             ALTER MATERIALIZED VIEW \"public\".\"v\" SET SCHEMA \"app\";\n\
             ALTER MATERIALIZED VIEW \"app\".\"v\" RENAME TO \"n\";\n"
        );
    }

    #[test]
    fn another_query_makes_it_anew_and_runs_as_the_owner() {
        let old = MaterializedView { owner: "o".into(), ..MaterializedView::new("v", sql!("SELECT 1 AS a")) };
        let mut new = old.clone();
        new.name = "n".into();
        let definition = new.definition_mut();
        definition.query = sql!("SELECT 2 AS a");
        definition.indexes.push(Index::new("i", sql!("btree (a)")));
        assert_eq!(
            old.to_alter(&new, &version()).to_string(),
            "DROP MATERIALIZED VIEW \"public\".\"v\";\n\
             CREATE MATERIALIZED VIEW \"public\".\"n\" AS SELECT 2 AS a WITH NO DATA;\n\
             CREATE INDEX \"i\" ON \"public\".\"n\" USING btree (a);\n\
             ALTER MATERIALIZED VIEW \"public\".\"n\" OWNER TO \"o\";\n\
             REFRESH MATERIALIZED VIEW \"public\".\"n\";\n"
        );
        let granted = MaterializedView { uncovered: vec!["privileges".into()], ..old };
        let refusal = granted.to_alter(&new, &version()).check().unwrap_err();
        assert!(matches!(&refusal, Error::Unsupported { what, .. } if what.contains("privileges")), "{refusal}");
    }
}
