//! Sequences.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, DropBehavior, Kind, Nothing, Sealed, Which, is_system_schema};
use crate::kinds::relation::{self, Persistence, relation_filter};
use crate::name::{Name, Printed};
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Ident, Sql};
use crate::version::ServerVersion;
use std::fmt;
use std::ops::RangeInclusive;

mod values;

pub use values::SequenceValue;
use values::setval;

/// A sequence ([CREATE SEQUENCE](https://www.postgresql.org/docs/current/sql-createsequence.html)).
///
/// What PostgreSQL takes where nothing is said reads as none: a minimum, a maximum or a start that
/// is the default for its type and direction. [`range`](Sequence::range) and
/// [`first_value`](Sequence::first_value) say what they are. Where the sequence stands is no part of the
/// value: ask [`Object::last_value`].
///
/// The sequence of an identity column is a part of its table and counts as the system's own: it is
/// left out of the collection unless asked for, the server refuses to give it another owner, schema or column, and it has no script.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Sequence {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The owner; empty for the role that creates it.
    pub owner: String,
    /// Whether it survives a crash; unlogged ones need PostgreSQL 15.
    pub persistence: Persistence,
    /// The type of its values.
    pub data_type: SequenceType,
    /// The step from a value to the next, not 0; less than 0 counts down.
    pub increment: i64,
    /// The least value; none (`NO MINVALUE`) for 1, or the least of the type when it counts down.
    pub minimum: Option<i64>,
    /// The greatest value; none (`NO MAXVALUE`) for the greatest of the type, or -1 when it counts down.
    pub maximum: Option<i64>,
    /// The value that [`restart`](Object::restart) goes back to; none for the minimum, or the
    /// maximum when it counts down. A change does not move the sequence, unless it was never used
    /// and stands outside its new range: then it moves to its new start.
    pub start: Option<i64>,
    /// How many values a session takes at once, 1 or more.
    pub cache: i64,
    /// What comes after the last value.
    pub cycle: Cycle,
    /// The column with which it is dropped; its table must have the same owner and schema.
    pub owned_by: Option<OwningColumn>,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    tie: Tie,
    uncovered: Vec<String>,
}

/// How a sequence belongs to a column, where it does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tie {
    /// As `OWNED BY` says.
    Owned,
    /// It numbers an identity column.
    Identity,
}

/// The type of a sequence's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SequenceType {
    /// `smallint`, 16 bits.
    SmallInt,
    /// `integer`, 32 bits.
    Integer,
    /// `bigint`, 64 bits.
    BigInt,
}

/// What comes after the last value of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cycle {
    /// `NO CYCLE`: an error.
    Error,
    /// `CYCLE`: the other end of the range.
    Wrap,
}

/// A column that a sequence belongs to: `OWNED BY`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OwningColumn {
    /// The table.
    pub table: Name,
    /// The column.
    pub column: String,
}

impl SequenceType {
    fn read(name: &str) -> Result<Self> {
        match name {
            "smallint" => Ok(Self::SmallInt),
            "integer" => Ok(Self::Integer),
            "bigint" => Ok(Self::BigInt),
            other => Err(Error::invalid("answer of the server", format!("a sequence of {other:?} is not known"))),
        }
    }

    fn keyword(self) -> &'static str {
        match self {
            Self::SmallInt => "smallint",
            Self::Integer => "integer",
            Self::BigInt => "bigint",
        }
    }

    fn range(self) -> RangeInclusive<i64> {
        match self {
            Self::SmallInt => i16::MIN.into()..=i16::MAX.into(),
            Self::Integer => i32::MIN.into()..=i32::MAX.into(),
            Self::BigInt => i64::MIN..=i64::MAX,
        }
    }
}

/// `app.orders.id`, with quotes where SQL needs them.
impl fmt::Display for OwningColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, Printed(&self.column))
    }
}

impl OwningColumn {
    /// A column of a table.
    pub fn new(table: impl Into<Name>, column: impl Into<String>) -> Self {
        Self { table: table.into(), column: column.into() }
    }
}

impl Sequence {
    /// A sequence as `CREATE SEQUENCE name` would make it: of type bigint, from 1 upwards.
    pub fn new(name: impl Into<Name>) -> Self {
        let Name { schema, name } = name.into();
        Self {
            schema,
            name,
            owner: String::new(),
            persistence: Persistence::Permanent,
            data_type: SequenceType::BigInt,
            increment: 1,
            minimum: None,
            maximum: None,
            start: None,
            cache: 1,
            cycle: Cycle::Error,
            owned_by: None,
            comment: None,
            oid: 0,
            tie: Tie::Owned,
            uncovered: Vec::new(),
        }
    }

    /// The values between which it counts, whether they were said or are the defaults.
    pub fn range(&self) -> RangeInclusive<i64> {
        let default = self.default_range();
        self.minimum.unwrap_or(*default.start())..=self.maximum.unwrap_or(*default.end())
    }

    /// The value that it starts with, whether it was said or is the default.
    pub fn first_value(&self) -> i64 {
        self.start.unwrap_or_else(|| self.default_start())
    }

    fn default_range(&self) -> RangeInclusive<i64> {
        let all = self.data_type.range();
        if self.increment < 0 { *all.start()..=-1 } else { 1..=*all.end() }
    }

    fn default_start(&self) -> i64 {
        let range = self.range();
        if self.increment < 0 { *range.end() } else { *range.start() }
    }

    /// What the server takes for this type and direction where a clause is left out.
    fn unsaid(&self) -> Self {
        let range = self.default_range();
        Self {
            data_type: self.data_type,
            minimum: Some(*range.start()),
            maximum: Some(*range.end()),
            start: Some(self.default_start()),
            ..Self::new(self.qualified())
        }
    }

    /// Defaults that were said are as good as defaults that were not.
    fn without_defaults(mut self) -> Self {
        let default = self.default_range();
        self.minimum = self.minimum.filter(|minimum| minimum != default.start());
        self.maximum = self.maximum.filter(|maximum| maximum != default.end());
        let start = self.default_start();
        self.start = self.start.filter(|value| *value != start);
        self
    }

    fn qualified(&self) -> Name {
        Name::new(&self.schema, &self.name)
    }

    /// Refuses what no server takes.
    fn check(&self) -> Result<()> {
        let (range, all) = (self.range(), self.data_type.range());
        let (minimum, maximum) = (*range.start(), *range.end());
        let wrong = |what: &str, value: i64, why: String| Err(Error::invalid(format!("{what} {value}"), why));
        if self.increment == 0 {
            return wrong("increment", 0, "it must not be zero".into());
        }
        if self.cache < 1 {
            return wrong("cache", self.cache, "it is 1 or more".into());
        }
        for (what, value) in [("minimum", minimum), ("maximum", maximum)] {
            if !all.contains(&value) {
                return wrong(what, value, format!("it is out of range for type {}", self.data_type.keyword()));
            }
        }
        if minimum >= maximum {
            return wrong("minimum", minimum, format!("it must be less than the maximum, {maximum}"));
        }
        if !range.contains(&self.first_value()) {
            return wrong("start", self.first_value(), format!("it must be from {minimum} to {maximum}"));
        }
        Ok(())
    }

    /// The clauses that `CREATE` and `ALTER SEQUENCE` share, where they differ from another's, each with its field.
    fn clauses_unlike(&self, other: &Self) -> Vec<(&'static str, Sql)> {
        let Self { data_type, increment, minimum: _, maximum: _, start: _, cache, cycle, .. } = self;
        let Self {
            schema: _,
            name: _,
            owner: _,
            persistence: _,
            owned_by: _,
            comment: _,
            oid: _,
            tie: _,
            uncovered: _,
            ..
        } = self;
        let (range, default, was) = (self.range(), self.default_range(), other.range());
        // With the type the server changes limits that were the type's.
        let retyped = *data_type != other.data_type;
        let mut clauses = Vec::new();
        if retyped {
            clauses.push(("data_type", sql!("AS {}", data_type.keyword())));
        }
        if *increment != other.increment {
            clauses.push(("increment", sql!("INCREMENT BY {}", *increment)));
        }
        if range.start() != was.start() || retyped {
            let none = range.start() == default.start();
            let clause = if none { sql!("NO MINVALUE") } else { sql!("MINVALUE {}", *range.start()) };
            clauses.push(("minimum", clause));
        }
        if range.end() != was.end() || retyped {
            let none = range.end() == default.end();
            let clause = if none { sql!("NO MAXVALUE") } else { sql!("MAXVALUE {}", *range.end()) };
            clauses.push(("maximum", clause));
        }
        if self.first_value() != other.first_value() {
            clauses.push(("start", sql!("START WITH {}", self.first_value())));
        }
        if *cache != other.cache {
            clauses.push(("cache", sql!("CACHE {}", *cache)));
        }
        if *cycle != other.cycle {
            clauses.push(("cycle", sql!("{}", if *cycle == Cycle::Wrap { "CYCLE" } else { "NO CYCLE" })));
        }
        clauses
    }

    /// What `ALTER SEQUENCE` says in one statement.
    fn alter_settings(&self, wanted: &Self, alter: &mut Alter) {
        let clauses = wanted.clauses_unlike(self);
        if clauses.is_empty() {
            return;
        }
        if let Err(error) = wanted.check() {
            alter.refuse(error);
        }
        if wanted.range().contains(&self.first_value()) {
            return clauses.into_iter().for_each(|(field, clause)| alter.clause(field, clause));
        }
        // The server refuses a range that the sequence stands outside of, and one that was never
        // used stands at its old start. Whether it was used is seen under the lock that the first of
        // these takes; because the first writes the sequence anew, the second is undone with it.
        let (old, new) = (self.range(), wanted.range());
        let between = Self {
            data_type: self.data_type.max(wanted.data_type),
            minimum: Some(*old.start().min(new.start())),
            maximum: Some(*old.end().max(new.end())),
            start: Some(wanted.first_value()),
            ..wanted.clone()
        };
        between.clauses_unlike(self).into_iter().for_each(|(field, clause)| alter.clause(field, clause));
        let move_unused = sql!(
            "SELECT {} FROM {} WHERE NOT is_called AND last_value NOT BETWEEN {} AND {}",
            setval(alter.name(), SequenceValue::Next(wanted.first_value())),
            alter.name(),
            *new.start(),
            *new.end()
        );
        alter.statement("start", move_unused);
        wanted.clauses_unlike(&between).into_iter().for_each(|(field, clause)| alter.clause(field, clause));
    }
}

impl Cluster {
    /// The sequences of the current database. The system's own are those in `pg_catalog` and
    /// `information_schema`, and those of identity columns, which are a part of their tables.
    pub fn sequences(&self) -> Collection<Sequence> {
        Collection::new(self)
    }
}

impl Object<Sequence> {
    /// Drops the sequence and what depends on it, such as the defaults of columns.
    ///
    /// # Errors
    /// As for [`drop`](Object::drop).
    pub fn drop_cascade(self) -> Result<()> {
        self.drop_with(DropBehavior::Cascade)
    }
}

fields! { Sequence { schema, name, owner, persistence, data_type, increment, minimum, maximum, start, cache, cycle, owned_by, comment } but oid, tie, uncovered }
words! { SequenceType { SmallInt = "smallint", Integer = "integer", BigInt = "bigint" } }
words! { Cycle { Error = "error", Wrap = "wrap" } }

impl Sealed for Sequence {}

impl Kind for Sequence {
    type Key = Name;
    type Definition = Nothing;
    const KIND: &'static str = "sequence";

    fn query(which: Which<'_, Name>, _: &ServerVersion) -> Sql {
        let identity = if matches!(which, Which::All) { " AND own.deptype IS DISTINCT FROM 'i'" } else { "" };
        sql!(
            "SELECT {}, pg_catalog.format_type(s.seqtypid, NULL) AS data_type, s.seqincrement::text, \
             s.seqmin::text, s.seqmax::text, s.seqstart::text, s.seqcache::text, s.seqcycle::text, \
             tn.nspname AS table_schema, t.relname AS table_name, a.attname AS column_name, own.deptype::text AS tie, \
             pg_catalog.array_remove(ARRAY[CASE WHEN c.relacl IS NOT NULL THEN 'privileges' END, \
             CASE WHEN own.deptype = 'i' THEN 'identity column' END, \
             CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_depend e WHERE e.objid = c.oid AND e.deptype = 'e' \
             AND e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass) THEN 'extension' END, \
             CASE WHEN EXISTS (SELECT FROM pg_catalog.pg_seclabel l WHERE l.objoid = c.oid \
             AND l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass) THEN 'security label' END], NULL)::text AS uncovered \
             FROM {} JOIN pg_catalog.pg_sequence s ON s.seqrelid = c.oid \
             LEFT JOIN pg_catalog.pg_depend own ON own.objid = c.oid AND own.deptype IN ('a', 'i') AND own.refobjsubid > 0 \
             AND own.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
             AND own.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
             LEFT JOIN pg_catalog.pg_class t ON t.oid = own.refobjid \
             LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
             LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = own.refobjid AND a.attnum = own.refobjsubid \
             WHERE c.relkind = 'S' AND {}{}",
            relation::COLUMNS,
            relation::FROM,
            relation_filter(which),
            identity
        )
    }

    fn read(row: &Row) -> Result<Self> {
        let table = row.optional("table_schema")?.zip(row.optional("table_name")?).map(Name::from);
        let owned_by = table.zip(row.optional("column_name")?);
        let sequence = Self {
            schema: row.text("schema")?,
            name: row.text("name")?,
            owner: row.text("owner")?,
            persistence: Persistence::read(&row.text("relpersistence")?),
            data_type: SequenceType::read(&row.text("data_type")?)?,
            increment: row.number("seqincrement")?,
            minimum: Some(row.number("seqmin")?),
            maximum: Some(row.number("seqmax")?),
            start: Some(row.number("seqstart")?),
            cache: row.number("seqcache")?,
            cycle: if row.truth("seqcycle")? { Cycle::Wrap } else { Cycle::Error },
            owned_by: owned_by.map(|(table, column)| OwningColumn { table, column }),
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            tie: if row.optional("tie")?.as_deref() == Some("i") { Tie::Identity } else { Tie::Owned },
            uncovered: row.list("uncovered")?,
        };
        Ok(sequence.without_defaults())
    }

    fn key(&self) -> Name {
        self.qualified()
    }

    fn oid(&self) -> u32 {
        self.oid
    }

    fn is_system(&self) -> bool {
        is_system_schema(&self.schema) || self.tie == Tie::Identity
    }

    fn uncovered(&self) -> Vec<String> {
        self.uncovered.clone()
    }

    fn to_create(&self, server: &ServerVersion) -> Script {
        let mut alter = Alter::new("ALTER SEQUENCE", self.qualified(), " ");
        let unlogged = match self.persistence {
            Persistence::Permanent => "",
            Persistence::Unlogged => {
                alter.needs(15, "an unlogged sequence", server);
                "UNLOGGED "
            }
            Persistence::Temporary => {
                alter.refuse(Error::unsupported(
                    format!("making the temporary sequence {}", self.qualified()),
                    "SQL of your own, through Cluster::execute",
                ));
                "TEMPORARY "
            }
        };
        if let Err(error) = self.check() {
            alter.refuse(error);
        }
        let mut words = vec![sql!("CREATE {}SEQUENCE {}", unlogged, self.qualified())];
        if self.data_type != SequenceType::BigInt {
            words.push(sql!("AS {}", self.data_type.keyword()));
        }
        words.extend(self.clauses_unlike(&self.unsaid()).into_iter().map(|(_, clause)| clause));
        alter.statement("itself", Sql::join(words, " "));
        if !self.owner.is_empty() {
            alter.owner("", &self.owner);
        }
        alter.comment("COMMENT ON SEQUENCE", &None, &self.comment);
        if let Some(column) = &self.owned_by {
            alter.single("owned_by", owned_by(column));
        }
        alter.finish()
    }

    fn to_alter(&self, wanted: &Self, server: &ServerVersion) -> Script {
        let Self { schema, name, owner, persistence, owned_by: column, comment, oid: _, tie: _, uncovered: _, .. } =
            wanted;
        let mut alter = Alter::new("ALTER SEQUENCE", self.qualified(), " ");
        let moves = (schema, owner) != (&self.schema, &self.owner);
        let released = self.owned_by.is_some() && *column != self.owned_by && (column.is_none() || moves);
        if released {
            // An owned sequence goes where its table goes.
            alter.single("owned_by", sql!("OWNED BY NONE"));
        }
        self.alter_settings(wanted, &mut alter);
        if *persistence != self.persistence {
            alter.needs(15, "an unlogged sequence", server);
            match (self.persistence, persistence) {
                (Persistence::Unlogged, Persistence::Permanent) => alter.single("persistence", sql!("SET LOGGED")),
                (Persistence::Permanent, Persistence::Unlogged) => alter.single("persistence", sql!("SET UNLOGGED")),
                _ => alter.refuse(Error::unsupported(
                    "making a temporary sequence a lasting one, or the reverse",
                    "a new sequence",
                )),
            }
        }
        alter.owner(&self.owner, owner);
        alter.comment("COMMENT ON SEQUENCE", &self.comment, comment);
        alter.rename(&self.qualified(), &Name::new(schema, name));
        if let Some(column) = column.as_ref().filter(|_| *column != self.owned_by) {
            alter.single("owned_by", owned_by(column));
        }
        alter.finish()
    }

    fn to_drop(&self, behavior: DropBehavior, _: &ServerVersion) -> Script {
        sql!("DROP SEQUENCE {}{}", self.qualified(), behavior.clause()).into()
    }
}

fn owned_by(column: &OwningColumn) -> Sql {
    sql!("OWNED BY {}.{}", column.table, Ident(&column.column))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> ServerVersion {
        ServerVersion::parse("15.3").unwrap()
    }

    fn alter(old: &Sequence, change: impl FnOnce(&mut Sequence)) -> String {
        let mut wanted = old.clone();
        change(&mut wanted);
        old.to_alter(&wanted, &version()).to_string()
    }

    #[test]
    fn p039_all_settings_change_in_one_statement() {
        let sequence = Sequence::new("s");
        let sql = alter(&sequence, |s| {
            (s.start, s.minimum, s.maximum, s.increment) = (Some(101), Some(-11), Some(202), 2);
            (s.cache, s.cycle) = (5, Cycle::Wrap);
        });
        let expected =
            "ALTER SEQUENCE \"public\".\"s\" INCREMENT BY 2 MINVALUE -11 MAXVALUE 202 START WITH 101 CACHE 5 CYCLE;\n";
        assert_eq!(sql, expected);
        assert_eq!(alter(&sequence, |s| s.minimum = Some(1)), "");
    }

    #[test]
    fn p039_an_unused_sequence_moves_into_its_new_range() {
        let sql = alter(&Sequence::new("s"), |s| (s.minimum, s.start) = (Some(50), Some(60)));
        assert_eq!(
            sql,
            "ALTER SEQUENCE \"public\".\"s\" START WITH 60;\n\
             SELECT pg_catalog.setval('\"public\".\"s\"'::pg_catalog.regclass, 60, false) FROM \"public\".\"s\" \
             WHERE NOT is_called AND last_value NOT BETWEEN 50 AND 9223372036854775807;\n\
             ALTER SEQUENCE \"public\".\"s\" MINVALUE 50;\n"
        );
    }

    #[test]
    fn limits_are_said_anew_with_a_type_or_a_direction() {
        let sql =
            alter(&Sequence { minimum: Some(-5), ..Sequence::new("s") }, |s| s.data_type = SequenceType::SmallInt);
        assert_eq!(sql, "ALTER SEQUENCE \"public\".\"s\" AS smallint MINVALUE -5 NO MAXVALUE;\n");
        let down = Sequence { increment: -1, ..Sequence::new("s") };
        assert_eq!(down.to_create(&version()).to_string(), "CREATE SEQUENCE \"public\".\"s\" INCREMENT BY -1;\n");
        assert_eq!((down.range(), down.first_value()), (i64::MIN..=-1, -1));
        let sql = alter(&Sequence { start: Some(7), ..Sequence::new("s") }, |s| s.increment = -1);
        assert!(sql.starts_with("-- refused: invalid start 7: it must be from -9223372036854775808 to -1"), "{sql}");
    }

    #[test]
    fn p021_an_owned_sequence_is_released_first_and_owned_last() {
        let old = Sequence { owned_by: Some(OwningColumn::new("t", "a")), ..Sequence::new("s") };
        let sql = alter(&old, |s| {
            (s.schema, s.name, s.owner) = ("app".into(), "n".into(), "o".into());
            s.owned_by = Some(OwningColumn::new("app.t", "b"));
        });
        assert_eq!(
            sql,
            "ALTER SEQUENCE \"public\".\"s\" OWNED BY NONE;\nALTER SEQUENCE \"public\".\"s\" OWNER TO \"o\";\n\
             ALTER SEQUENCE \"public\".\"s\" SET SCHEMA \"app\";\nALTER SEQUENCE \"app\".\"s\" RENAME TO \"n\";\n\
             ALTER SEQUENCE \"app\".\"n\" OWNED BY \"app\".\"t\".\"b\";\n"
        );
    }

    #[test]
    fn what_no_server_takes_is_refused() {
        let refused = |sequence: Sequence| sequence.to_create(&version()).check().unwrap_err().to_string();
        let new = || Sequence::new("s");
        assert!(refused(Sequence { increment: 0, ..new() }).contains("increment 0"));
        assert!(refused(Sequence { cache: 0, ..new() }).contains("cache 0"));
        assert!(refused(Sequence { minimum: Some(9), maximum: Some(9), ..new() }).contains("less than the maximum"));
        assert!(refused(Sequence { start: Some(0), ..new() }).contains("start 0"));
        let long = Sequence { data_type: SequenceType::SmallInt, maximum: Some(40_000), ..new() };
        assert!(refused(long).contains("out of range for type smallint"));
        let old = ServerVersion::parse("14.1").unwrap();
        let unlogged = Sequence { persistence: Persistence::Unlogged, ..new() };
        assert!(matches!(unlogged.to_create(&old).check(), Err(Error::Unsupported { .. })));
    }
}
