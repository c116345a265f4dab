//! What holds for every kind: one generic test, one line per kind.
use crate::support::{connect, fresh, major, unique};
use pgsteward::testing::TestServer;
use pgsteward::{
    Body, Cluster, Collection, Column, Constraint, Cycle, Database, Error, Generated, Ident, Identity, Index, Kind,
    LargeObject, MaterializedView, Name, Object, OwningColumn, Parallel, Persistence, Population, Procedure,
    ReplicaIdentity, ReplicationSlot, Role, Schema, Security, Sequence, SequenceType, Storage, Table, ValidUntil, View,
    Volatility, sql,
};

/// Names that a careless program would get wrong.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "Upper",
        "we.ird",
        "qu\"ote",
        "apo'strophe",
        "sp ace",
        "$$",
        "$1",
        "new\nline",
        "tab\t",
        "back\\slash",
        "emoji 🐘",
        "select",
        "public",
        "app.orders",
        "\"app\".\"orders\"",
        "--",
        ";",
        "/*",
        "%s{}",
        "-",
    ]
    .map(String::from)
    .into();
    names.push("x".repeat(63));
    names.push("é".repeat(31));
    names
}

/// From 18 on NOT NULL has a name, which the server chose when the table had its first name.
fn without_names_of_not_null(script: &str) -> String {
    regex::Regex::new(" CONSTRAINT \"[^\"]*_not_null\" NOT NULL").unwrap().replace_all(script, " NOT NULL").into_owned()
}

/// Create, read back equal, change every field, alter, read back equal, listed, re-created by its
/// script, renamed and dropped by somebody else, dropped; and every name that can be hostile.
fn conforms<T: Kind>(
    cluster: &Cluster,
    all: &Collection<T>,
    value: T,
    change: impl Fn(&mut Object<T>),
    rename: impl Fn(&mut T, &str),
) {
    let object = lives(cluster, all, value, change);
    let object = keeps_its_identity(all, object, rename);
    goes(all, object);
}

// Compared by their scripts: parts that are new have no identity on the server yet.
fn script<T: Kind>(object: &Object<T>) -> String {
    without_names_of_not_null(&object.script().unwrap().to_string())
}

/// Create, read back equal, change every field, alter, read back equal, listed, dropped by somebody else,
/// re-created by its script.
fn lives<T: Kind>(cluster: &Cluster, all: &Collection<T>, value: T, change: impl Fn(&mut Object<T>)) -> Object<T> {
    let version = cluster.version();
    let made = is_made(all, value);
    let mut object = all.get(made.key()).unwrap();
    change(&mut object);
    assert!(object.is_changed());
    let (wanted, wanted_key) = (object.to_create(version).to_string(), object.key());
    object.alter().unwrap();
    assert!(!object.is_changed());
    assert_eq!(script(&object), wanted);
    object.refresh().unwrap();
    assert_eq!(script(&object), wanted);
    assert_eq!(script(&all.get(wanted_key).unwrap()), wanted);
    is_made_again(cluster, all, object)
}

fn is_made<T: Kind>(all: &Collection<T>, value: T) -> Object<T> {
    let key = value.key();
    let made = all.create(value.clone()).unwrap();
    assert_eq!(made.key(), key);
    assert!(made.changes().is_empty(), "{}", made.changes());
    assert!(matches!(all.create(value), Err(Error::AlreadyExists { .. })));
    all.refresh();
    assert_eq!(script(&made), script(&all.get(key.clone()).unwrap()));
    assert!(all.names().unwrap().contains(&key));
    made
}

fn is_made_again<T: Kind>(cluster: &Cluster, all: &Collection<T>, object: Object<T>) -> Object<T> {
    let (key, sql, wanted, mut stale) = (object.key(), object.script().unwrap(), script(&object), object.clone());
    object.drop().unwrap();
    assert!(!all.contains(key.clone()).unwrap());
    assert!(matches!(stale.refresh(), Err(Error::NotFound { .. })));
    assert!(stale.drop().unwrap_err().is_conflict());
    cluster.run(&sql).unwrap();
    all.refresh();
    let again = all.get(key).unwrap();
    assert_eq!(script(&again), wanted);
    again
}

/// Renamed, also by somebody else, to every name that can be hostile.
fn keeps_its_identity<T: Kind>(all: &Collection<T>, mut object: Object<T>, rename: impl Fn(&mut T, &str)) -> Object<T> {
    for name in hostile_names() {
        rename(&mut object, &name);
        object.alter().unwrap();
        let key = object.key();
        assert!(all.contains(key.clone()).unwrap());
        let mut theirs = all.get(key.clone()).unwrap();
        rename(&mut theirs, "renamed by somebody else");
        theirs.alter().unwrap();
        assert!(!all.contains(key).unwrap());
        rename(&mut object, "mine");
        assert!(object.alter().unwrap_err().is_conflict(), "{name}");
        assert!(object.clone().drop().unwrap_err().is_conflict(), "{name}");
        object.refresh().unwrap();
        assert_eq!(object.key(), theirs.key());
    }
    object
}

fn goes<T: Kind>(all: &Collection<T>, object: Object<T>) {
    let key = object.key();
    object.drop().unwrap();
    all.refresh();
    assert!(!all.contains(key).unwrap());
}

/// Who does it.
struct Actor {
    cluster: Cluster,
    superuser: bool,
    /// Who gets what is given away.
    owner: String,
}

impl Actor {
    fn superuser() -> Self {
        let cluster = fresh();
        let owner = cluster.roles().create(Role::new(unique("own\"er"))).unwrap().name.clone();
        cluster.schemas().create(Schema::new("we.ird")).unwrap();
        let grant = sql!("GRANT ALL ON SCHEMA public, {} TO {}", Ident("we.ird"), Ident(&owner));
        cluster.execute(&grant.to_string(), &[]).unwrap();
        Self { cluster, superuser: true, owner }
    }

    /// A role that is no superuser, and has the rights that it takes.
    fn ordinary_role() -> Self {
        let Self { cluster, owner, .. } = Self::superuser();
        let mut role = Role::new(unique("ordinary"));
        (role.login, role.create_role, role.create_database, role.replication) = (true, true, true, true);
        let role = cluster.roles().create(role).unwrap();
        let (role, database, owner_name) = (Ident(&role.name), Ident(cluster.current_database()), Ident(&owner));
        for grant in [
            sql!("GRANT {} TO {}", owner_name, role),
            sql!("GRANT ALL ON SCHEMA public, {} TO {}", Ident("we.ird"), role),
            sql!("GRANT CREATE ON DATABASE {} TO {}, {}", database, role, owner_name),
            // A database's script names its tablespace.
            sql!("GRANT CREATE ON TABLESPACE pg_default TO {}", role),
        ] {
            cluster.execute(&grant.to_string(), &[]).unwrap();
        }
        Self { cluster: connect(cluster.current_database(), role.0), superuser: false, owner }
    }
}

macro_rules! kinds {
    ($($kind:ident)*) => {
        mod as_a_superuser {
            $(#[test] fn $kind() { super::$kind(&super::Actor::superuser()) })*
        }
        mod as_an_ordinary_role {
            $(#[test] fn $kind() { super::$kind(&super::Actor::ordinary_role()) })*
        }
    };
}

kinds! {
    p033_role
    p044_schema
    database
    procedure
    table
    large_object
    replication_slot
    sequence
    view
    materialized_view
}

/// Lists every object, finds each again by its name, and scripts what can be scripted.
fn is_read<T: Kind>(all: &Collection<T>) {
    let objects: Vec<_> = all.iter().unwrap().collect();
    all.refresh();
    for object in &objects {
        assert_eq!(all.get(object.key()).unwrap().key(), object.key());
        match object.script() {
            Ok(script) => assert!(!script.is_empty()),
            Err(error) => assert!(matches!(error, Error::Unsupported { .. }), "{error}"),
        }
    }
    assert!(!objects.is_empty(), "there is no {}", T::KIND);
}

#[test]
fn p018_every_kind_is_read_on_a_standby() {
    // A server of its own: what other tests make and drop would come and go on the standby.
    let server = TestServer::start().unwrap();
    let primary = Cluster::connect(&server.dsn()).unwrap();
    primary
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, a text); CREATE INDEX i ON t (a); CREATE VIEW v AS SELECT 1 AS a; \
             CREATE MATERIALIZED VIEW m AS SELECT 1 AS a; CREATE SEQUENCE s; \
             CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; SELECT lo_from_bytea(0, 'x')",
            &[],
        )
        .unwrap();
    let standby = server.standby().unwrap();
    let there = Cluster::connect(&standby.dsn_for(primary.current_database(), "postgres")).unwrap();
    there.execute("SELECT pg_create_physical_replication_slot('here')", &[]).unwrap();
    is_read(&there.databases());
    is_read(&there.large_objects());
    is_read(&there.materialized_views());
    is_read(&there.procedures());
    is_read(&there.replication_slots());
    is_read(&there.roles());
    is_read(&there.schemas());
    is_read(&there.sequences());
    is_read(&there.tables());
    is_read(&there.views());
    there.tables().load_definitions().unwrap();
    assert_eq!(there.sequences().get("s").unwrap().last_value().unwrap(), None);
    let refused = there.schemas().create(Schema::new("x")).unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006", "{refused}");
}

fn p033_role(actor: &Actor) {
    let cluster = &actor.cluster;
    let role = Role::new(unique("role"));
    let change = |role: &mut Object<Role>| {
        role.name = unique("role");
        role.inherit = false;
        role.create_role = true;
        role.create_database = true;
        role.login = true;
        if actor.superuser {
            (role.superuser, role.replication, role.bypass_row_security) = (true, true, true);
        }
        role.connection_limit = 0;
        role.valid_until = Some(ValidUntil::Moment("2031-02-03T04:05:06.789Z".parse().unwrap()));
        role.comment = Some("it's".into());
    };
    conforms(cluster, &cluster.roles(), role, change, |role, name| {
        role.name = format!("{name}!").chars().take(63).collect()
    });
}

fn p044_schema(actor: &Actor) {
    let cluster = &actor.cluster;
    let change = |schema: &mut Object<Schema>| {
        schema.name = "changed".into();
        schema.owner = actor.owner.clone();
        schema.comment = Some("a\\b".into());
    };
    conforms(cluster, &cluster.schemas(), Schema::new("app"), change, |schema, name| {
        schema.name = format!("{name}!").chars().take(63).collect()
    });
}

fn database(actor: &Actor) {
    let cluster = &actor.cluster;
    let mut database = Database::new(unique("database"));
    (database.encoding, database.collate, database.ctype) = (Some("LATIN9".into()), Some("C".into()), Some("C".into()));
    let change = |database: &mut Object<Database>| {
        database.name = unique("data\"base");
        database.owner = actor.owner.clone();
        database.connection_limit = 0;
        database.connect_access.public = false;
        database.connect_access.roles.insert("pg_monitor".into());
        database.allow_connections = false;
        database.comment = Some("it's".into());
    };
    conforms(cluster, &cluster.databases(), database, change, |database, name| {
        database.name = format!("{name}!").chars().take(63).collect()
    });
}

fn procedure(actor: &Actor) {
    let cluster = &actor.cluster;
    let routine = Procedure::function("f(integer[], text)", sql!("SETOF integer"), "sql", "SELECT 1");
    let change = |routine: &mut Object<Procedure>| {
        routine.schema = "we.ird".into();
        routine.name = "fun\"ction".into();
        routine.owner = actor.owner.clone();
        routine.volatility = Volatility::Stable;
        (routine.strict, routine.leakproof) = (true, actor.superuser);
        (routine.security, routine.parallel) = (Security::Definer, Parallel::Safe);
        (routine.cost, routine.rows) = (0.5, 3.0);
        if actor.superuser {
            routine.support = Some(("pg_catalog", "array_unnest_support").into());
        }
        routine.settings.insert("search_path".into(), "\"we.ird\", pg_temp".into());
        routine.settings.insert("work_mem".into(), "1MB".into());
        routine.comment = Some("it's".into());
        routine.definition_mut().unwrap().body = Body::Text("SELECT '$body$'::text; SELECT 2".into());
    };
    conforms(cluster, &cluster.procedures(), routine, change, |routine, name| routine.name = name.into());
}

fn table(actor: &Actor) {
    let cluster = &actor.cluster;
    let mut table = Table::new("orders");
    let definition = table.definition_mut();
    definition.columns.push(Column::new("id", "bigint"));
    definition.columns.push(Column::new("customer", "text"));
    definition.columns.push(Column::new("amount", "numeric(10,2)"));
    definition.columns.push(Column::new("gone", "date"));
    definition.constraints.push(Constraint::new("orders_pk", sql!("PRIMARY KEY (id)")));
    definition.constraints.push(Constraint::new("positive", sql!("CHECK (id > 0) NOT VALID")));
    definition.indexes.push(Index::new("by_amount", sql!("btree (amount DESC) WHERE (amount > (0)::numeric)")));
    let change = |table: &mut Object<Table>| {
        table.schema = "we.ird".into();
        table.name = "or\"ders".into();
        table.owner = actor.owner.clone();
        table.row_security = true;
        table.forced_row_security = true;
        table.persistence = Persistence::Unlogged;
        table.options.insert("fillfactor".into(), "70".into());
        table.options.insert("toast.autovacuum_enabled".into(), "false".into());
        table.replica_identity = ReplicaIdentity::Full;
        table.comment = Some("it's".into());
        let definition = table.definition_mut().unwrap();
        definition.columns.remove("gone");
        let id = definition.columns.get_mut("id").unwrap();
        id.identity = Some(Identity::Always);
        id.comment = Some("the key".into());
        let customer = definition.columns.get_mut("customer").unwrap();
        customer.name = "client".into();
        customer.data_type = "character varying".into();
        customer.default = Some(sql!("'nobody'::character varying"));
        customer.not_null = true;
        customer.storage = Some(Storage::External);
        let mut total = Column::new("total", "numeric(10,2)");
        total.generated = Some(Generated::Stored(sql!("(amount * (2)::numeric)")));
        definition.columns.push(total);
        definition.constraints.remove("positive");
        definition.constraints.get_mut("orders_pk").unwrap().comment = Some("key".into());
        let index = definition.indexes.get_mut("by_amount").unwrap();
        (index.name, index.unique) = ("by amount".into(), true);
    };
    conforms(cluster, &cluster.tables(), table, change, |table, name| table.name = name.into());
}

fn large_object(actor: &Actor) {
    let cluster = &actor.cluster;
    let change = |object: &mut Object<LargeObject>| {
        object.owner = actor.owner.clone();
        object.comment = Some("it's".into());
    };
    let all = cluster.large_objects();
    // The largest number there is.
    let object = lives(cluster, &all, LargeObject::new(u32::MAX), change);
    goes(&all, object);
}

fn replication_slot(actor: &Actor) {
    let cluster = &actor.cluster;
    let all = cluster.replication_slots();
    let longest = format!("{:x<63}", unique("longest"));
    let mut physical = ReplicationSlot::physical(unique("physical"));
    physical.immediately_reserve = true;
    let mut logical = ReplicationSlot::logical(unique("logical"), "test_decoding");
    logical.two_phase = major() >= 14;
    logical.failover = major() >= 17;
    for slot in [physical, logical, ReplicationSlot::physical(longest)] {
        let made = is_made(&all, slot);
        goes(&all, is_made_again(cluster, &all, made));
    }
}

fn sequence(actor: &Actor) {
    let cluster = &actor.cluster;
    cluster.schemas().create(Schema::new("app")).unwrap();
    cluster.execute(&sql!("GRANT ALL ON SCHEMA app TO {}", Ident(&actor.owner)).to_string(), &[]).unwrap();
    let table = sql!("CREATE TABLE {} ({} int)", Name::new("we.ird", "t.t"), Ident("i\"d"));
    cluster.execute(&table.to_string(), &[]).unwrap();
    let mut table = cluster.tables().get(("we.ird", "t.t")).unwrap();
    table.owner = actor.owner.clone();
    table.alter().unwrap();
    let change = |sequence: &mut Object<Sequence>| {
        sequence.schema = "we.ird".into();
        sequence.name = "or\"ders".into();
        sequence.owner = actor.owner.clone();
        if major() >= 15 {
            sequence.persistence = Persistence::Unlogged;
        }
        sequence.data_type = SequenceType::Integer;
        sequence.increment = -2;
        sequence.minimum = Some(-11);
        sequence.maximum = Some(202);
        sequence.start = Some(101);
        sequence.cache = 7;
        sequence.cycle = Cycle::Wrap;
        sequence.owned_by = Some(OwningColumn::new(("we.ird", "t.t"), "i\"d"));
        sequence.comment = Some("it's".into());
    };
    let rename = |sequence: &mut Sequence, name: &str| sequence.name = name.into();
    conforms(cluster, &cluster.sequences(), Sequence::new("app.numbers"), change, rename);
}

fn view(actor: &Actor) {
    let cluster = &actor.cluster;
    cluster.execute("CREATE TABLE public.t (a int)", &[]).unwrap();
    let change = |view: &mut Object<View>| {
        view.schema = "we.ird".into();
        view.name = "or\"ders".into();
        view.owner = actor.owner.clone();
        view.options.insert("security_barrier".into(), "true".into());
        if major() >= 15 {
            view.options.insert("security_invoker".into(), "true".into());
        }
        view.comment = Some("it's".into());
        view.definition_mut().unwrap().query = sql!("SELECT 2 AS a,\n    'x'::text AS \"b;\"");
    };
    let view = View::new("v", sql!("SELECT 1 AS a"));
    conforms(cluster, &cluster.views(), view, change, |view, name| view.name = name.into());
}

fn materialized_view(actor: &Actor) {
    let cluster = &actor.cluster;
    let mut view = MaterializedView::new("v", sql!("SELECT 'x'::text AS a"));
    let definition = view.definition_mut();
    definition.indexes.push(Index::new("gone", sql!("btree (a)")));
    definition.indexes.push(Index::new("by_a", sql!("btree (a DESC)")));
    for query in [sql!("SELECT 'x'::text AS a"), sql!("SELECT 'y'::text AS a")] {
        let change = |view: &mut Object<MaterializedView>| {
            view.schema = "we.ird".into();
            view.name = "or\"ders".into();
            view.owner = actor.owner.clone();
            view.options.insert("fillfactor".into(), "70".into());
            view.options.insert("toast.autovacuum_enabled".into(), "false".into());
            view.population = Population::Unpopulated;
            view.comment = Some("it's".into());
            let definition = view.definition_mut().unwrap();
            definition.query = query.clone();
            definition.indexes.remove("gone");
            let index = definition.indexes.get_mut("by_a").unwrap();
            (index.name, index.unique, index.comment) = ("by a".into(), true, Some("in order".into()));
        };
        let all = cluster.materialized_views();
        conforms(cluster, &all, view.clone(), change, |view, name| view.name = name.into());
    }
}
