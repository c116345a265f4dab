//! What the command line needs to know of each kind besides its fields.
use super::super::exit::Failure;
use super::super::output::{Record, value};
use pgsteward::{
    Cluster, Collection, Column, Database, Error, Fields, Kind, LargeObject, MaterializedView, Name, Object, Procedure,
    ReplicationSlot, Result, Role, Schema, Sequence, Signature, Sql, Table, View,
};
use serde_json::Value;

/// A kind of object on the command line.
pub(crate) trait Noun: Fields {
    /// The fields that a table of many shows.
    const SHOWN: &'static [&'static str];
    /// What the server alone decides, by name, besides the OID.
    const FACTS: &'static [&'static str] = &[];

    fn all(cluster: &Cluster) -> Collection<Self>;
    /// What finds the object that a text names.
    fn key_of(text: &str) -> Result<Self::Key>;
    /// A new one of that name; `query` is what follows `--query`, `columns` what follows `--column`.
    fn make(text: &str, query: Option<&str>, columns: &[String]) -> Result<Self, Failure>;
    /// The values of `FACTS`.
    fn facts(_object: &Object<Self>) -> Vec<Value> {
        Vec::new()
    }
    /// Drops it with what depends on it; an error for kinds on which nothing can.
    fn drop_cascade(object: Object<Self>) -> Result<()> {
        no_cascade(object)
    }
    /// What `drop_cascade` would take along.
    fn dependents(_object: &Object<Self>) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
    /// How many bytes it takes on the disk, for kinds that hold data, where that can be known.
    fn size(_object: &Object<Self>) -> Option<u64> {
        None
    }
    /// The database that it is in; none for what belongs to the cluster.
    fn database<'a>(_object: &'a Object<Self>, current: &'a str) -> Option<&'a str> {
        (![Database::KIND, Role::KIND].contains(&Self::KIND)).then_some(current)
    }
}

/// An object's fields and facts.
pub(crate) fn record<T: Noun>(object: &Object<T>) -> Record {
    let fields = object.fields().into_iter().map(|(name, field)| (name, value(field)));
    let facts = T::FACTS.iter().copied().zip(T::facts(object));
    let oid = has_oid::<T>().then(|| ("oid", object.oid().into()));
    fields.chain(facts).chain(oid).collect()
}

/// The names in a record.
pub(crate) fn names<T: Noun>() -> Vec<&'static str> {
    let oid = has_oid::<T>().then_some("oid");
    T::NAMES.iter().chain(T::FACTS).copied().chain(oid).collect()
}

/// Replication slots have none.
fn has_oid<T: Noun>() -> bool {
    T::KIND != ReplicationSlot::KIND
}

fn cannot<T: Noun>(option: &str, name: &str) -> Error {
    Error::Invalid {
        what: format!("option {option} for {} {name}", T::KIND),
        why: "this kind of object does not have it".into(),
    }
}

/// Refuses options for what this kind does not have.
fn nothing_else<T: Noun>(text: &str, query: Option<&str>, columns: &[String]) -> Result<(), Failure> {
    match (query, columns) {
        (None, []) => Ok(()),
        (Some(_), _) => Err(cannot::<T>("--query", text).into()),
        _ => Err(cannot::<T>("--column", text).into()),
    }
}

fn query_of<'q, T: Noun>(text: &str, query: Option<&'q str>, columns: &[String]) -> Result<&'q str, Failure> {
    nothing_else::<T>(text, None, columns)?;
    query.ok_or_else(|| Failure::invalid(format!("new {} {text}", T::KIND), "it needs --query 'SELECT ...'"))
}

macro_rules! nouns {
    ($($kind:ty: $all:ident, $key:expr, shown $shown:expr, cascade $cascade:expr, $dependents:expr, size $size:expr, $make:expr;)*) => { $(
        impl Noun for $kind {
            const SHOWN: &'static [&'static str] = &$shown;

            fn all(cluster: &Cluster) -> Collection<Self> {
                cluster.$all()
            }

            fn key_of(text: &str) -> Result<Self::Key> {
                $key(text)
            }

            fn make(text: &str, query: Option<&str>, columns: &[String]) -> Result<Self, Failure> {
                $make(text, query, columns)
            }

            fn drop_cascade(object: Object<Self>) -> Result<()> {
                $cascade(object)
            }

            fn dependents(object: &Object<Self>) -> Result<Vec<String>> {
                $dependents(object)
            }

            fn size(object: &Object<Self>) -> Option<u64> {
                $size(object)
            }
        }
    )* };
}

/// A name is a key as it is.
fn plain(text: &str) -> Result<String> {
    Ok(text.to_owned())
}

fn no_cascade<T: Noun>(object: Object<T>) -> Result<()> {
    Err(cannot::<T>("--cascade", &object.key().to_string()))
}

nouns! {
    Database: databases, plain, shown ["name", "owner", "encoding", "connection_limit", "connect_access", "comment"],
        cascade no_cascade, |_| Ok(Vec::new()), size |_| None,
        |text: &str, query, columns: &[String]| nothing_else::<Database>(text, query, columns).map(|()| Database::new(text));
    Role: roles, plain, shown ["name", "login", "superuser", "create_role", "create_database", "connection_limit", "comment"],
        cascade no_cascade, |_| Ok(Vec::new()), size |_| None,
        |text: &str, query, columns: &[String]| nothing_else::<Role>(text, query, columns).map(|()| Role::new(text));
    Schema: schemas, plain, shown ["name", "owner", "comment"],
        cascade |object: Object<Schema>| object.drop_cascade(), Object::dependents,
        size |schema: &Object<Schema>| schema.total_size().ok(),
        |text: &str, query, columns: &[String]| nothing_else::<Schema>(text, query, columns).map(|()| Schema::new(text));
    Sequence: sequences, name, shown ["schema", "name", "owner", "data_type", "increment", "owned_by", "comment"],
        cascade |object: Object<Sequence>| object.drop_cascade(), Object::dependents,
        size |_| None,
        |text: &str, query, columns: &[String]| {
            nothing_else::<Sequence>(text, query, columns)?;
            Ok(Sequence::new(name(text)?))
        };
    Table: tables, name, shown ["schema", "name", "owner", "persistence", "row_security", "comment"],
        cascade |object: Object<Table>| object.drop_cascade(), Object::dependents,
        size |table: &Object<Table>| table.total_size().ok(),
        |text: &str, query, columns: &[String]| {
            nothing_else::<Table>(text, query, &[])?;
            let mut table = Table::new(name(text)?);
            for column in columns {
                let (name, data_type) = column.split_once(' ').ok_or_else(|| {
                    Failure::invalid(format!("column {column:?}"), "a name, a blank and a data type were expected")
                })?;
                table.definition_mut().columns.push(Column::new(name, data_type.trim()));
            }
            Ok(table)
        };
    View: views, name, shown ["schema", "name", "owner", "comment"],
        cascade |object: Object<View>| object.drop_cascade(), Object::dependents,
        size |_| None,
        |text: &str, query, columns: &[String]| {
            Ok(View::new(name(text)?, Sql::trusted(query_of::<View>(text, query, columns)?)))
        };
    MaterializedView: materialized_views, name, shown ["schema", "name", "owner", "population", "comment"],
        cascade |object: Object<MaterializedView>| object.drop_cascade(), Object::dependents,
        size |view: &Object<MaterializedView>| view.total_size().ok(),
        |text: &str, query, columns: &[String]| {
            Ok(MaterializedView::new(name(text)?, Sql::trusted(query_of::<MaterializedView>(text, query, columns)?)))
        };
    LargeObject: large_objects, oid, shown ["owner", "comment", "oid"],
        cascade no_cascade, |_| Ok(Vec::new()), size |object: &Object<LargeObject>| object.size().ok(),
        |text: &str, query, columns: &[String]| {
            nothing_else::<LargeObject>(text, query, columns)?;
            Ok(LargeObject::new(oid(text)?))
        };
}

/// A name, and perhaps a schema, as SQL writes them.
fn name(text: &str) -> Result<Name> {
    Name::parse(text).map_err(|_| Error::Invalid {
        what: format!("name {text:?}"),
        why: "it is neither name nor schema.name; other than plain words stand in double quotes, as SQL has them, and \
              those in the shell's quotes: '\"My Schema\".orders'"
            .into(),
    })
}

fn oid(text: &str) -> Result<u32> {
    text.parse().ok().filter(|oid| *oid != 0).ok_or_else(|| Error::Invalid {
        what: format!("large object {text:?}"),
        why: "its OID, a number above 0, was expected".into(),
    })
}

impl Noun for Procedure {
    const SHOWN: &'static [&'static str] = &["schema", "name", "arguments", "routine", "owner", "comment"];
    const FACTS: &'static [&'static str] = &["arguments", "routine"];

    fn all(cluster: &Cluster) -> Collection<Self> {
        Collection::clone(&cluster.procedures())
    }

    fn key_of(text: &str) -> Result<Signature> {
        Signature::parse(text)
    }

    fn make(text: &str, _query: Option<&str>, _columns: &[String]) -> Result<Self, Failure> {
        let why = "a routine is made by its SQL: CREATE FUNCTION, or what `pgsteward script` prints";
        Err(Failure::invalid(format!("new routine {text}"), why))
    }

    fn facts(object: &Object<Self>) -> Vec<Value> {
        let arguments: Vec<String> = object.arguments().iter().map(ToString::to_string).collect();
        vec![arguments.into(), object.routine().to_string().into()]
    }

    fn drop_cascade(object: Object<Self>) -> Result<()> {
        object.drop_cascade()
    }

    fn dependents(object: &Object<Self>) -> Result<Vec<String>> {
        object.dependents()
    }
}

impl Noun for ReplicationSlot {
    const SHOWN: &'static [&'static str] = &["name", "sort", "database", "active", "restart_lsn", "wal_status"];
    const FACTS: &'static [&'static str] = &[
        "database",
        "active",
        "active_pid",
        "restart_lsn",
        "confirmed_flush_lsn",
        "wal_status",
        "invalidation_reason",
    ];

    fn all(cluster: &Cluster) -> Collection<Self> {
        cluster.replication_slots()
    }

    fn key_of(text: &str) -> Result<String> {
        plain(text)
    }

    /// A logical one is of one database.
    fn database<'a>(object: &'a Object<Self>, _current: &'a str) -> Option<&'a str> {
        object.database()
    }

    /// A physical one; `--set sort='logical pgoutput'` makes it a logical one.
    fn make(text: &str, query: Option<&str>, columns: &[String]) -> Result<Self, Failure> {
        nothing_else::<Self>(text, query, columns).map(|()| Self::physical(text))
    }

    fn facts(object: &Object<Self>) -> Vec<Value> {
        vec![
            object.database().into(),
            object.is_active().into(),
            object.active_pid().into(),
            object.restart_lsn().map(|lsn| lsn.to_string()).into(),
            object.confirmed_flush_lsn().map(|lsn| lsn.to_string()).into(),
            object.wal_status().map(|status| status.to_string()).into(),
            object.invalidation_reason().into(),
        ]
    }
}
