//! Views.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, Defined, Definition, DropBehavior, Kind, Known, Sealed, Which, definitions, unread};
use crate::kinds::relation::{
    self, UNCOVERED, defined_relation, option_list, option_name, read_options, relation_filter,
};
use crate::name::Name;
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Ident, Sql};
use crate::statements;
use crate::version::ServerVersion;
use std::collections::BTreeMap;

/// A view ([CREATE VIEW](https://www.postgresql.org/docs/current/sql-createview.html)).
///
/// Its query is its [definition](ViewDefinition), read on demand.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct View {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The owner; empty for the role that creates it.
    pub owner: String,
    /// Options by name: `security_barrier`, `check_option` (`local` or `cascaded`), and from
    /// PostgreSQL 15 on `security_invoker`.
    pub options: BTreeMap<String, String>,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    lasting: Lasting,
    uncovered: Vec<String>,
    definition: Known<ViewDefinition>,
}

/// How long a view lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lasting {
    UntilDropped,
    Session,
}

/// What a view is made of.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ViewDefinition {
    /// The query, without a semicolon at its end. It runs with an empty search path, so every name in it has its
    /// schema; the names of the columns are those that it gives them. The server prints it in its own words when it is read.
    pub query: Sql,
    /// What the view has besides.
    uncovered: Vec<String>,
}

impl View {
    /// A view as `CREATE VIEW name AS query` would make it.
    pub fn new(name: impl Into<Name>, query: Sql) -> Self {
        let Name { schema, name } = name.into();
        let mut definition = Known::default();
        *definition.to_mut() = ViewDefinition { query, uncovered: Vec::new() };
        Self {
            schema,
            name,
            owner: String::new(),
            options: BTreeMap::new(),
            comment: None,
            oid: 0,
            lasting: Lasting::UntilDropped,
            uncovered: Vec::new(),
            definition,
        }
    }

    /// What it is made of, if that was read.
    pub fn definition(&self) -> Option<&ViewDefinition> {
        self.definition.get().map(|definition| &**definition)
    }

    /// What a new view is to be made of. For one on a server: [`Object::definition_mut`].
    pub fn definition_mut(&mut self) -> &mut ViewDefinition {
        self.definition.to_mut()
    }

    fn qualified(&self) -> Name {
        Name::new(&self.schema, &self.name)
    }

    /// `VIEW name WITH (...) AS query`
    fn statement(&self, create: &'static str, name: &Name) -> Sql {
        let mut words = vec![sql!("{} {}", create, name)];
        if !self.options.is_empty() {
            words.push(sql!("WITH {}", option_list(&self.options)));
        }
        let query = self.definition().map(|definition| &definition.query);
        words.extend(query.map(as_query));
        Sql::join(words, " ")
    }

    fn alter_options(&self, wanted: &Self, alter: &mut Alter) {
        let (old, new) = (&self.options, &wanted.options);
        let changed: Vec<_> = new.iter().filter(|(name, value)| old.get(*name) != Some(*value)).collect();
        if !changed.is_empty() {
            alter.single("options", sql!("SET {}", option_list(changed)));
        }
        let gone: Vec<_> = old.keys().filter(|name| !new.contains_key(*name)).map(|name| option_name(name)).collect();
        if !gone.is_empty() {
            alter.single("options", sql!("RESET ({})", Sql::join(gone, ", ")));
        }
    }

    fn check_options(&self, alter: &mut Alter, server: &ServerVersion) {
        if self.options.contains_key("security_invoker") {
            alter.needs(15, "a view with the rights of its user (security_invoker)", server);
        }
    }
}

impl Cluster {
    /// The views of the current database. The system's own are those in `pg_catalog` and `information_schema`,
    /// and the temporary ones of all sessions.
    pub fn views(&self) -> Collection<View> {
        Collection::new(self)
    }
}

impl Object<View> {
    /// Drops the view and what depends on it.
    ///
    /// # Errors
    /// As for [`drop`](Object::drop).
    pub fn drop_cascade(self) -> Result<()> {
        self.drop_with(DropBehavior::Cascade)
    }
}

fields! { View { schema, name, owner, options, comment } but oid, lasting, uncovered, definition }

impl Sealed for View {}
impl Defined for View {}

impl Kind for View {
    type Key = Name;
    type Definition = ViewDefinition;
    const KIND: &'static str = "view";

    fn query(which: Which<'_, Name>, _: &ServerVersion) -> Sql {
        sql!(
            "SELECT {}, c.reloptions::text AS options, \
             CASE WHEN c.relacl IS NOT NULL THEN ARRAY['privileges']::text END AS uncovered \
             FROM {} WHERE c.relkind = 'v' AND {}",
            relation::COLUMNS,
            relation::FROM,
            relation_filter(which)
        )
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            schema: row.text("schema")?,
            name: row.text("name")?,
            owner: row.text("owner")?,
            options: read_options(row.list("options")?),
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            lasting: if row.text("relpersistence")? == "t" { Lasting::Session } else { Lasting::UntilDropped },
            uncovered: row.list("uncovered")?,
            definition: Known::default(),
        })
    }

    defined_relation!();

    fn to_create(&self, server: &ServerVersion) -> Script {
        let mut alter = Alter::new("ALTER VIEW", self.qualified(), "");
        self.check_options(&mut alter, server);
        if self.definition().is_none() {
            alter.refuse(unread(Self::KIND, &self.qualified()));
        }
        if self.lasting == Lasting::Session {
            alter.refuse(Error::unsupported(
                format!("making the temporary view {}", self.qualified()),
                "SQL of your own, through Cluster::execute",
            ));
        }
        alter.statement("itself", self.statement("CREATE VIEW", &self.qualified()));
        if !self.owner.is_empty() {
            alter.single("owner", sql!("OWNER TO {}", Ident(&self.owner)));
        }
        alter.comment("COMMENT ON VIEW", &None, &self.comment);
        alter.finish()
    }

    fn to_alter(&self, wanted: &Self, server: &ServerVersion) -> Script {
        let Self { schema, name, owner, options, comment, oid: _, lasting: _, uncovered: _, definition: _ } = wanted;
        let mut alter = Alter::new("ALTER VIEW", self.qualified(), "");
        if *options != self.options {
            wanted.check_options(&mut alter, server);
        }
        match definitions(self, wanted) {
            Some((old, ViewDefinition { query, uncovered: _ })) if old.query != *query => {
                // It resets the options that it does not say.
                let replace = wanted.statement("CREATE OR REPLACE VIEW", &self.qualified());
                alter.statement_about(vec!["query".into(), "options".into()], replace);
            }
            _ => self.alter_options(wanted, &mut alter),
        }
        alter.owner(&self.owner, owner);
        alter.comment("COMMENT ON VIEW", &self.comment, comment);
        alter.rename(&self.qualified(), &Name::new(schema, name));
        alter.finish()
    }

    fn to_drop(&self, behavior: DropBehavior, _: &ServerVersion) -> Script {
        sql!("DROP VIEW {}{}", self.qualified(), behavior.clause()).into()
    }
}

/// `AS query`, where the query is one statement, and a comment at its end swallows nothing of what follows.
pub(crate) fn as_query(query: &Sql) -> Sql {
    let mut words = sql!("AS {}", query);
    if statements::count(query.text()) > 1 {
        words.refuse("query of a view".into(), "it is more than one statement");
    }
    if query.end() != ";" {
        words.push("\n");
    }
    words
}

/// The query of `pg_class c` as SQL takes it: the server prints a blank before it and a semicolon after it.
pub(crate) const QUERY: &str = "pg_catalog.rtrim(pg_catalog.ltrim(pg_catalog.pg_get_viewdef(c.oid)), ';')";

/// What the columns of views have that is in no value yet, besides what [`UNCOVERED`] finds.
pub(crate) const COLUMNS_UNCOVERED: &str = " UNION ALL SELECT f.adrelid, 'default of a column' FROM pg_catalog.pg_attrdef f \
    UNION ALL SELECT d.objoid, 'comment of a column' FROM pg_catalog.pg_description d WHERE d.objsubid > 0 \
    AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass";

impl Definition for ViewDefinition {
    fn queries(view: Option<u32>, _: &ServerVersion) -> Vec<Sql> {
        let only = |column: &'static str| match view {
            Some(oid) => sql!(" AND {} = {}", column, oid),
            None => sql!(""),
        };
        vec![
            sql!(
                "SELECT c.oid AS object, {} AS query FROM pg_catalog.pg_class c WHERE c.relkind = 'v'{}",
                QUERY,
                only("c.oid")
            ),
            sql!(
                "SELECT u.object, u.what FROM ({}{}) u(object, what) JOIN pg_catalog.pg_class c ON c.oid = u.object \
                 WHERE c.relkind = 'v'{} ORDER BY 1, 2",
                UNCOVERED,
                COLUMNS_UNCOVERED,
                only("u.object")
            ),
        ]
    }

    fn read(answers: &[Vec<Row>]) -> Result<BTreeMap<u32, Self>> {
        let [found, uncovered] = answers else {
            return Err(Error::invalid("answer of the server", "it is not as many results as there were queries"));
        };
        let mut views = BTreeMap::<u32, Self>::new();
        for row in found {
            let query = Sql::trusted(row.text("query")?);
            views.insert(row.number("object")?, Self { query, uncovered: Vec::new() });
        }
        for row in uncovered {
            if let Some(view) = views.get_mut(&row.number("object")?) {
                view.uncovered.push(row.text("what")?);
            }
        }
        Ok(views)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_one_statement_and_swallows_nothing_that_follows() {
        let version = ServerVersion::parse("15.3").unwrap();
        let script = |query: &str| View::new("v", Sql::trusted(query)).to_create(&version);
        for several in ["SELECT 1; DROP TABLE t", "SELECT ';' /* ; */;-- one\nDROP TABLE t;", "SELECT 1;;DROP TABLE t"]
        {
            assert!(matches!(script(several).check(), Err(Error::Invalid { .. })), "{several}");
        }
        for one in ["SELECT 1", "SELECT ';'", "SELECT 1;", "SELECT 1 -- a; b", "SELECT $$;$$ AS \"a;b\" ; /* ; */"] {
            assert!(script(one).check().is_ok(), "{one}");
        }
        let query = as_query(&Sql::trusted("SELECT 1 -- one"));
        assert_eq!(sql!("{} WITH NO DATA", query).to_string(), "AS SELECT 1 -- one\n WITH NO DATA");
    }

    #[test]
    fn p021_a_change_names_the_view_as_the_server_knows_it() {
        let version = ServerVersion::parse("15.3").unwrap();
        let mut old = View::new("v", sql!("SELECT 1 AS a"));
        old.options.insert("security_barrier".into(), "true".into());
        let new = View {
            schema: "app".into(),
            name: "n".into(),
            owner: "o".into(),
            options: [("check_option".to_owned(), "local".to_owned())].into(),
            comment: Some("c".into()),
            ..old.clone()
        };
        let rest = "ALTER VIEW \"public\".\"v\" OWNER TO \"o\";\nCOMMENT ON VIEW \"public\".\"v\" IS 'c';\n\
            ALTER VIEW \"public\".\"v\" SET SCHEMA \"app\";\nALTER VIEW \"app\".\"v\" RENAME TO \"n\";\n";
        assert_eq!(
            old.to_alter(&new, &version).to_string(),
            format!(
                "ALTER VIEW \"public\".\"v\" SET (\"check_option\" = 'local');\n\
                 ALTER VIEW \"public\".\"v\" RESET (\"security_barrier\");\n{rest}"
            )
        );
        let mut replaced = new.clone();
        replaced.definition_mut().query = sql!("SELECT 2 AS a");
        assert_eq!(
            old.to_alter(&replaced, &version).to_string(),
            format!(
                "CREATE OR REPLACE VIEW \"public\".\"v\" WITH (\"check_option\" = 'local') AS SELECT 2 AS a;\n{rest}"
            )
        );
    }

    #[test]
    fn an_option_that_the_server_lacks_is_refused() {
        let version = ServerVersion::parse("14.1").unwrap();
        let mut view = View::new("v", sql!("SELECT 1"));
        view.options.insert("security_invoker".into(), "true".into());
        assert!(matches!(view.to_create(&version).check(), Err(Error::Unsupported { .. })));
    }
}
