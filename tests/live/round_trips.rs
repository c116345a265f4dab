//! Round trips, counted on the wire.
use crate::support::{fresh, server};
use pgsteward::{Cluster, Collection, Column, Index, Kind, Table, sql};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

/// Passes a connection on, and counts how often the server says that it is ready for the next message.
struct Counted {
    cluster: Cluster,
    ready: Arc<AtomicU32>,
}

impl Counted {
    fn connect(database: &str) -> Self {
        let (dsn, ready) = Self::way_to(database);
        Self { cluster: Cluster::connect(&dsn).unwrap(), ready }
    }

    /// A string that connects over this, and the count.
    fn way_to(database: &str) -> (String, Arc<AtomicU32>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let ready = Arc::new(AtomicU32::new(0));
        let count = ready.clone();
        // More than one: a server at another port than the one that was called may be behind a pooler.
        thread::spawn(move || {
            for client in listener.incoming() {
                let count = count.clone();
                thread::spawn(move || pass_on(&client.unwrap(), &count));
            }
        });
        (format!("host=127.0.0.1 port={port} user=postgres dbname={database} sslmode=disable"), ready)
    }

    /// How many round trips the closure makes.
    fn trips<R>(&self, f: impl FnOnce(&Cluster) -> R) -> (u32, R) {
        let before = self.ready.load(Ordering::SeqCst);
        let result = f(&self.cluster);
        (self.ready.load(Ordering::SeqCst) - before, result)
    }
}

fn pass_on(client: &TcpStream, ready: &AtomicU32) {
    let path = server().socket_directory().join(format!(".s.PGSQL.{}", server().port()));
    let mut upstream = UnixStream::connect(path).unwrap();
    let (mut from_client, mut to_client) = (client.try_clone().unwrap(), client.try_clone().unwrap());
    let mut to_server = upstream.try_clone().unwrap();
    thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    let mut head = [0; 5];
    while upstream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) - 4;
        let mut body = vec![0; length as usize];
        upstream.read_exact(&mut body).unwrap();
        // Counted before it is passed on, so that the client never sees it uncounted.
        if head[0] == b'Z' {
            ready.fetch_add(1, Ordering::SeqCst);
        }
        if to_client.write_all(&head).and_then(|()| to_client.write_all(&body)).is_err() {
            return;
        }
    }
}

fn one_query_loads_all<T: Kind>(counted: &Counted, all: fn(&Cluster) -> Collection<T>) {
    let (trips, count) = counted.trips(|cluster| all(cluster).len().unwrap());
    assert_eq!(trips, 1, "loading every {}", T::KIND);
    let (trips, listed) = counted.trips(|cluster| all(cluster).iter().unwrap().len());
    assert_eq!((trips, listed), (0, count), "what was read is kept");
}

#[test]
fn loading_any_collection_is_one_query_whatever_its_size() {
    let database = fresh();
    database.execute("DO $$ BEGIN FOR i IN 1..300 LOOP EXECUTE format('CREATE TABLE t%s (a int PRIMARY KEY)', i); END LOOP; END $$", &[]).unwrap();
    let counted = Counted::connect(database.current_database());
    // The first switches the session to the crate's own settings.
    counted.cluster.schemas().len().unwrap();
    counted.cluster.refresh();
    one_query_loads_all(&counted, Cluster::roles);
    one_query_loads_all(&counted, Cluster::schemas);
    one_query_loads_all(&counted, Cluster::tables);
    one_query_loads_all(&counted, Cluster::databases);
    one_query_loads_all(&counted, Cluster::views);
    one_query_loads_all(&counted, Cluster::materialized_views);
    one_query_loads_all(&counted, Cluster::sequences);
    one_query_loads_all(&counted, |cluster| Collection::clone(&cluster.procedures()));
    one_query_loads_all(&counted, Cluster::large_objects);
    one_query_loads_all(&counted, Cluster::replication_slots);
    let (trips, ()) = counted.trips(|cluster| cluster.tables().load_definitions().unwrap());
    assert_eq!(trips, 1, "the definitions of 300 tables");
    let (trips, columns) =
        counted.trips(|cluster| cluster.tables().get("t300").unwrap().definition().unwrap().columns.len());
    assert_eq!((trips, columns), (0, 1));
}

#[test]
fn p004_a_single_get_never_loads_the_whole() {
    let database = fresh();
    database.execute("CREATE TABLE a (); CREATE TABLE b ();", &[]).unwrap();
    let counted = Counted::connect(database.current_database());
    counted.cluster.roles().contains("postgres").unwrap();
    assert_eq!(counted.trips(|cluster| cluster.tables().get("a").unwrap()).0, 1);
    assert_eq!(counted.trips(|cluster| cluster.tables().get("b").unwrap()).0, 1, "the whole was not read");
    assert_eq!(counted.trips(|cluster| cluster.tables().len().unwrap()), (1, 2));
    assert_eq!(counted.trips(|cluster| cluster.tables().contains("none").unwrap()), (0, false));
    // Kept until refresh.
    database.execute("CREATE TABLE c ()", &[]).unwrap();
    assert!(!counted.cluster.tables().contains("c").unwrap());
    counted.cluster.tables().refresh();
    assert!(counted.cluster.tables().contains("c").unwrap());
}

#[test]
fn an_alter_is_at_most_four_and_none_when_nothing_changed() {
    let database = fresh();
    database.execute("CREATE TABLE a (id int)", &[]).unwrap();
    let counted = Counted::connect(database.current_database());
    let mut table = counted.cluster.tables().get("a").unwrap();
    assert_eq!(counted.trips(|_| table.alter().unwrap()).0, 0);
    table.comment = Some("x".into());
    table.comment = None;
    assert_eq!(counted.trips(|_| table.alter().unwrap()).0, 0);
    table.comment = Some("x".into());
    table.name = "b".into();
    assert_eq!(counted.trips(|_| table.alter().unwrap()).0, 3);
    let definition = table.definition_mut().unwrap();
    definition.columns.push(Column::new("more", "text"));
    definition.indexes.push(Index::new("i", sql!("btree (id)")));
    assert_eq!(counted.trips(|_| table.alter().unwrap()).0, 3);
    // After a statement of the user's, one more switches the settings.
    counted.cluster.with_client(|client| client.batch_execute("SELECT 1")).unwrap();
    table.comment = None;
    assert_eq!(counted.trips(|_| table.alter().unwrap()).0, 4);
    assert_eq!(counted.trips(|_| table.drop().unwrap()).0, 3);
    assert_eq!(counted.trips(|cluster| cluster.tables().create(Table::new("c")).unwrap()).0, 2);
}

#[cfg(feature = "pool")]
#[test]
fn p108_a_statement_of_a_module_is_one_round_trip_like_any_other() {
    use pgsteward::module::Module;
    use pgsteward::pool::{Pool, PoolOptions};
    let (dsn, ready) = Counted::way_to(fresh().current_database());
    let mut options = PoolOptions::new();
    options.maximum = 1;
    options.check_after = std::time::Duration::from_secs(60);
    let pool = Pool::connect(&dsn, options).unwrap();
    let module = Module::alone(&pool).unwrap();
    let trips = |f: &dyn Fn()| {
        let before = ready.load(Ordering::SeqCst);
        f();
        ready.load(Ordering::SeqCst) - before
    };
    let ten = |f: &dyn Fn()| trips(&|| (0..10).for_each(|_| f()));
    // What the connection has prepared is not prepared again, also not for the next user.
    let mut client = pool.get().unwrap();
    client.query_one("SELECT 1", &[]).unwrap();
    drop(client);
    let mut client = pool.get().unwrap();
    let before = ready.load(Ordering::SeqCst);
    client.query_one("SELECT 1", &[]).unwrap();
    assert_eq!(ready.load(Ordering::SeqCst) - before, 1);
    drop(client);
    let bare = ten(&|| pool.get().unwrap().batch_execute("SELECT 1").unwrap());
    // The first sets the session up, and the last one of each is made clean later.
    let modules = ten(&|| assert_eq!(module.execute("SELECT 1", &[]).unwrap(), 1));
    assert!(modules <= bare + 5, "{modules}, and {bare} without a module");
    module
        .transaction(|t| {
            let so_far = || ready.load(Ordering::SeqCst);
            let before = so_far();
            t.query("SELECT 2", &[])?;
            assert_eq!(so_far() - before, 2);
            t.value::<i32>("SELECT 2", &[])?;
            t.execute("SELECT 1", &[])?;
            t.batch_execute("SELECT 1; SELECT 2")?;
            assert_eq!(so_far() - before, 5);
            t.value::<i32>("SELECT $1::int", &[&1])?;
            // The statement that was prepared is closed, for which nobody waits.
            assert!((7..=8).contains(&(so_far() - before)));
            Ok(())
        })
        .unwrap();
}
