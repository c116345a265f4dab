//! Tables.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, Defined, Definition, DropBehavior, Kind, Known, Sealed, Which, definitions, unread};
use crate::kinds::relation::{
    self, Persistence, Place, UNCOVERED, alter_options, defined_relation, option_list, read_options, relation_filter,
};
use crate::name::Name;
use crate::object::Object;
use crate::parts::{Column, Constraint, Index, Part, PartAlter, Parts};
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Ident, Sql};
use crate::version::ServerVersion;
use std::collections::BTreeMap;
use std::fmt;

/// A table ([CREATE TABLE](https://www.postgresql.org/docs/current/sql-createtable.html)): an
/// ordinary one, a partitioned one or a partition, or a foreign one.
///
/// What it is made of is its [definition](TableDefinition), read on demand.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Table {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The owner; empty for the role that creates it.
    pub owner: String,
    /// The tablespace; none for the database's own.
    pub tablespace: Option<String>,
    /// Whether policies decide who sees which rows.
    pub row_security: bool,
    /// Whether they decide it for the owner too.
    pub forced_row_security: bool,
    /// Whether it survives a crash, and a session.
    pub persistence: Persistence,
    /// Storage parameters by name; those of its TOAST table begin with `toast.`.
    pub options: BTreeMap<String, String>,
    /// The access method; none for the server's default.
    pub access_method: Option<String>,
    /// What logical replication tells of the old row.
    pub replica_identity: ReplicaIdentity,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    database_tablespace: Option<String>,
    relation: RelationKind,
    uncovered: Vec<String>,
    definition: Known<TableDefinition>,
}

/// What a table is made of. Lists of further sorts of part may join these.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct TableDefinition {
    /// The columns, in order.
    pub columns: Parts<Column>,
    /// The constraints, but for NOT NULL, which is a column's.
    pub constraints: Parts<Constraint>,
    /// The indexes that no constraint owns.
    pub indexes: Parts<Index>,
    /// What the table has that is in none of these lists.
    uncovered: Vec<String>,
}

/// What sort of table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelationKind {
    /// One that holds rows.
    Ordinary,
    /// One whose rows are in its partitions.
    Partitioned,
    /// One whose rows are on a foreign server.
    Foreign,
}

/// What logical replication tells of the old row of an update or delete
/// ([REPLICA IDENTITY](https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-REPLICA-IDENTITY)).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// The columns of this unique index.
    Index(String),
    /// All columns.
    Full,
    /// Nothing.
    Nothing,
}

/// As [`Fields`](crate::Fields) take it: `default`, `full`, `nothing`, `index orders_pkey`.
impl fmt::Display for ReplicaIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Full => f.write_str("full"),
            Self::Nothing => f.write_str("nothing"),
            Self::Index(name) => write!(f, "index {name}"),
        }
    }
}

impl Table {
    /// An ordinary table without columns, as `CREATE TABLE name ()` would make it.
    pub fn new(name: impl Into<Name>) -> Self {
        let Name { schema, name } = name.into();
        let mut definition = Known::default();
        *definition.to_mut() = TableDefinition::default();
        Self {
            schema,
            name,
            owner: String::new(),
            tablespace: None,
            row_security: false,
            forced_row_security: false,
            persistence: Persistence::Permanent,
            options: BTreeMap::new(),
            access_method: None,
            replica_identity: ReplicaIdentity::Default,
            comment: None,
            oid: 0,
            database_tablespace: None,
            relation: RelationKind::Ordinary,
            uncovered: Vec::new(),
            definition,
        }
    }

    /// What it is made of, if that was read.
    pub fn definition(&self) -> Option<&TableDefinition> {
        self.definition.get().map(|definition| &**definition)
    }

    /// What a new table is to be made of. For one on a server: [`Object::definition_mut`].
    pub fn definition_mut(&mut self) -> &mut TableDefinition {
        self.definition.to_mut()
    }

    /// What sort of table it is.
    pub fn relation(&self) -> RelationKind {
        self.relation
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

    /// The settings that stand in one `ALTER TABLE`, where they differ.
    fn alter_settings(&self, wanted: &Self, alter: &mut Alter, server: &ServerVersion) {
        let Self { owner, row_security, forced_row_security, persistence, options, .. } = wanted;
        if *owner != self.owner {
            alter.clause("owner", sql!("OWNER TO {}", Ident(owner)));
        }
        if *row_security != self.row_security {
            alter.clause(
                "row_security",
                sql!("{} ROW LEVEL SECURITY", if *row_security { "ENABLE" } else { "DISABLE" }),
            );
        }
        if *forced_row_security != self.forced_row_security {
            let force = if *forced_row_security { "FORCE" } else { "NO FORCE" };
            alter.clause("forced_row_security", sql!("{} ROW LEVEL SECURITY", force));
        }
        alter_options(&self.options, options, alter);
        if wanted.replica_identity != self.replica_identity {
            alter.clause("replica_identity", wanted.replica_identity.clause());
        }
        if *persistence != self.persistence {
            match (self.persistence, persistence) {
                (Persistence::Unlogged, Persistence::Permanent) => alter.clause("persistence", sql!("SET LOGGED")),
                (Persistence::Permanent, Persistence::Unlogged) => alter.clause("persistence", sql!("SET UNLOGGED")),
                _ => alter.refuse(Error::unsupported(
                    "making a temporary table a lasting one, or the reverse",
                    "a new table",
                )),
            }
        }
        self.place().alter(&wanted.place(), alter, server);
    }
}

impl ReplicaIdentity {
    fn read(code: &str, index: Option<String>) -> Self {
        match (code, index) {
            ("f", _) => Self::Full,
            ("n", _) => Self::Nothing,
            ("i", Some(index)) => Self::Index(index),
            _ => Self::Default,
        }
    }

    fn clause(&self) -> Sql {
        match self {
            Self::Default => sql!("REPLICA IDENTITY DEFAULT"),
            Self::Index(name) => sql!("REPLICA IDENTITY USING INDEX {}", Ident(name)),
            Self::Full => sql!("REPLICA IDENTITY FULL"),
            Self::Nothing => sql!("REPLICA IDENTITY NOTHING"),
        }
    }
}

impl Cluster {
    /// The tables of the current database: ordinary, partitioned and foreign ones. The system's own
    /// are those in `pg_catalog`, `information_schema` and the schemas of TOAST tables, and with them the
    /// temporary tables of all sessions, this one too.
    pub fn tables(&self) -> Collection<Table> {
        Collection::new(self)
    }
}

impl Object<Table> {
    /// Drops the table and what depends on it.
    ///
    /// # Errors
    /// As for [`drop`](Object::drop).
    pub fn drop_cascade(self) -> Result<()> {
        self.drop_with(DropBehavior::Cascade)
    }
}

fields! { Table { schema, name, owner, tablespace, row_security, forced_row_security, persistence, options, access_method, replica_identity, comment } but oid, database_tablespace, relation, uncovered, definition }

impl Sealed for Table {}
impl Defined for Table {}

impl Kind for Table {
    type Key = Name;
    type Definition = TableDefinition;
    const KIND: &'static str = "table";
    const DRAGS_OTHERS: bool = true;

    fn query(which: Which<'_, Name>, _: &ServerVersion) -> Sql {
        sql!(
            "SELECT {}, {}, {} AS database_tablespace, c.relrowsecurity::text, c.relforcerowsecurity::text, c.relreplident::text, \
             (SELECT i.relname FROM pg_catalog.pg_index x JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
             WHERE c.relreplident = 'i' AND x.indrelid = c.oid AND x.indisreplident) AS replica_index, c.relkind::text, \
             pg_catalog.array_remove(ARRAY[CASE WHEN c.relacl IS NOT NULL THEN 'privileges' END, \
             CASE WHEN c.relispartition THEN 'place among the partitions' END, \
             CASE WHEN c.relhassubclass AND c.relkind <> 'p' THEN 'children' END, \
             CASE WHEN c.reloftype <> 0 THEN 'row type' END], NULL)::text AS uncovered \
             FROM {} {} WHERE c.relkind IN ('r', 'p', 'f') AND {}",
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
            row_security: row.truth("relrowsecurity")?,
            forced_row_security: row.truth("relforcerowsecurity")?,
            persistence: Persistence::read(&row.text("relpersistence")?),
            options: read_options(row.list("options")?),
            access_method: row.optional("access_method")?,
            replica_identity: ReplicaIdentity::read(&row.text("relreplident")?, row.optional("replica_index")?),
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            database_tablespace: row.optional("database_tablespace")?,
            relation: match row.text("relkind")?.as_str() {
                "p" => RelationKind::Partitioned,
                "f" => RelationKind::Foreign,
                _ => RelationKind::Ordinary,
            },
            uncovered: row.list("uncovered")?,
            definition: Known::default(),
        })
    }

    defined_relation!();

    fn to_create(&self, server: &ServerVersion) -> Script {
        let blank = Self { owner: self.owner.clone(), ..Self::new(self.qualified()) };
        let mut alter = Alter::new("ALTER TABLE", self.qualified(), ", ");
        let Some(definition) = self.definition() else {
            alter.refuse(unread(Self::KIND, &self.qualified()));
            return alter.finish();
        };
        let columns = Sql::join(definition.columns.iter().map(Column::clause), ", ");
        let unlogged = if self.persistence == Persistence::Unlogged { "UNLOGGED " } else { "" };
        let mut words = vec![sql!("CREATE {}TABLE {} ({})", unlogged, self.qualified(), columns)];
        words.extend(self.access_method.as_ref().map(|method| sql!("USING {}", Ident(method))));
        if !self.options.is_empty() {
            words.push(sql!("WITH {}", option_list(&self.options)));
        }
        words.extend(self.tablespace.as_ref().map(|tablespace| sql!("TABLESPACE {}", Ident(tablespace))));
        alter.statement("itself", Sql::join(words, " "));
        let mut parts = PartAlter { alter: &mut alter, schema: &self.schema, object: self.oid, server };
        definition.columns.iter().for_each(|column| column.finish(&mut parts));
        definition.constraints.iter().for_each(|constraint| constraint.add(&mut parts));
        definition.indexes.iter().for_each(|index| index.add(&mut parts));
        if !self.owner.is_empty() {
            alter.clause("owner", sql!("OWNER TO {}", Ident(&self.owner)));
        }
        let made = Self {
            tablespace: self.tablespace.clone(),
            persistence: self.persistence,
            options: self.options.clone(),
            access_method: self.access_method.clone(),
            ..blank
        };
        made.alter_settings(self, &mut alter, server);
        alter.comment("COMMENT ON TABLE", &None, &self.comment);
        if self.relation != RelationKind::Ordinary || self.persistence == Persistence::Temporary {
            alter.refuse(Error::unsupported(
                format!("making the partitioned, foreign or temporary table {}", self.qualified()),
                "SQL of your own, through Cluster::execute",
            ));
        }
        alter.finish()
    }

    fn to_alter(&self, wanted: &Self, server: &ServerVersion) -> Script {
        let Self {
            schema,
            name,
            comment,
            uncovered: _,
            definition: _,
            oid: _,
            relation: _,
            database_tablespace: _,
            ..
        } = wanted;
        let mut alter = Alter::new("ALTER TABLE", self.qualified(), ", ");
        if let Some((old, new)) = definitions(self, wanted) {
            let TableDefinition { columns, constraints, indexes, uncovered: _ } = new;
            let parts = &mut PartAlter { alter: &mut alter, schema: &self.schema, object: self.oid, server };
            old.indexes.drop_gone(indexes, parts);
            old.constraints.drop_gone(constraints, parts);
            old.columns.drop_gone(columns, parts);
            old.columns.change_and_add(columns, parts);
            old.constraints.change_and_add(constraints, parts);
            old.indexes.change_and_add(indexes, parts);
        }
        self.alter_settings(wanted, &mut alter, server);
        let verb = if self.relation == RelationKind::Foreign { "COMMENT ON FOREIGN TABLE" } else { "COMMENT ON TABLE" };
        alter.comment(verb, &self.comment, comment);
        alter.rename(&self.qualified(), &Name::new(schema, name));
        alter.finish()
    }

    fn to_drop(&self, behavior: DropBehavior, _: &ServerVersion) -> Script {
        let foreign = if self.relation == RelationKind::Foreign { "FOREIGN " } else { "" };
        sql!("DROP {}TABLE {}{}", foreign, self.qualified(), behavior.clause()).into()
    }
}

impl Definition for TableDefinition {
    fn queries(table: Option<u32>, server: &ServerVersion) -> Vec<Sql> {
        let only = |column: &'static str| match table {
            Some(oid) => sql!(" AND {} = {}", column, oid),
            None => sql!(""),
        };
        let compressed = match server.at_least(14) {
            true => sql!(
                " UNION ALL SELECT a.attrelid, pg_catalog.concat('compression of column ', a.attname) \
                 FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attcompression <> ''"
            ),
            false => sql!(""),
        };
        vec![
            sql!(
                "SELECT c.oid AS object FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p', 'f'){}",
                only("c.oid")
            ),
            sql!(
                "SELECT u.object, u.what FROM ({}{}) u(object, what) WHERE true{} ORDER BY 1, 2",
                UNCOVERED,
                compressed,
                only("u.object")
            ),
            sql!("{}{} ORDER BY a.attrelid, a.attnum", Column::query(server), only("a.attrelid")),
            // A check constraint may use what a primary key promises; foreign keys come last.
            sql!("{}{} ORDER BY k.conrelid, k.contype = 'f', k.conname", Constraint::query(), only("k.conrelid")),
            sql!("{}{} ORDER BY x.indrelid, i.relname", Index::query(), only("x.indrelid")),
        ]
    }

    fn read(answers: &[Vec<Row>]) -> Result<BTreeMap<u32, Self>> {
        let mut tables = BTreeMap::<u32, Self>::new();
        let [found, uncovered, columns, constraints, indexes] = answers else {
            return Err(Error::invalid("answer of the server", "it is not as many results as there were queries"));
        };
        for row in found {
            tables.insert(row.number("object")?, Self::default());
        }
        let mut each = |rows: &[Row], add: &dyn Fn(&mut Self, &Row) -> Result<()>| {
            rows.iter().try_for_each(|row| match tables.get_mut(&row.number("object")?) {
                Some(table) => add(table, row),
                None => Ok(()),
            })
        };
        each(uncovered, &|table, row| row.text("what").map(|what| table.uncovered.push(what)))?;
        each(columns, &|table, row| Column::read(row).map(|column| table.columns.push_read(column)))?;
        each(constraints, &|table, row| {
            Constraint::read(row).map(|constraint| table.constraints.push_read(constraint))
        })?;
        each(indexes, &|table, row| {
            let index = Index::read(row)?;
            table.uncovered.extend(index.uncovered());
            table.indexes.push_read(index);
            Ok(())
        })?;
        Ok(tables)
    }
}
