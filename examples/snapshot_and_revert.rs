//! Takes a snapshot, spoils the data, says what has changed, and brings everything back; then archives the snapshot.
//!
//!     cargo run --example snapshot_and_revert --features testing
use pgsteward::snapshot::{ArchiveOptions, RevertOptions, SnapshotDifference, SnapshotOptions, TablePattern};
use pgsteward::testing::TestServer;
use pgsteward::{Cluster, Result};

fn main() -> Result<()> {
    let server = TestServer::start()?;
    let cluster = Cluster::connect(&server.dsn())?;
    make_a_shop(&cluster)?;
    let snapshots = cluster.snapshots();

    let mut options = SnapshotOptions::new("before release 7");
    options.schemas = vec!["shop".into()];
    options.except = vec![TablePattern::parse("shop.audit_*")?];
    let snapshot = snapshots.take(&options)?;
    println!("{}: {} tables, {} rows, {} bytes", snapshot.name, snapshot.tables.len(), snapshot.rows(), snapshot.bytes);

    // The release goes wrong.
    cluster.execute("UPDATE shop.orders SET amount = 0 WHERE id > 90", &[])?;
    cluster.execute("DELETE FROM shop.customers WHERE id = 3", &[])?;
    cluster.execute("INSERT INTO shop.customers (name) VALUES ('nobody')", &[])?;
    print(&snapshots.compare(&snapshot.name)?);

    // What it would do, as SQL, and then doing it.
    let plan = cluster.plan(|c| c.snapshots().revert(&snapshot.name, &RevertOptions::new()).map(drop))?;
    println!("the revert has {} statements", plan.script().len());
    let report = snapshots.revert(&snapshot.name, &RevertOptions::new())?;
    println!("{} tables have their {} rows again", report.tables, report.rows);
    println!("what there was before is in {}", report.kept.as_deref().unwrap_or("no snapshot"));
    print(&snapshots.compare(&snapshot.name)?);

    let directory = std::env::temp_dir().join(format!("{}-{}", snapshot.name, std::process::id()));
    let archive = snapshots.archive(&snapshot.name, &directory, &ArchiveOptions::new())?;
    println!("{} rows in {} bytes are archived, and the snapshot is dropped", archive.rows, archive.bytes);
    let loaded = snapshots.load(&directory)?;
    println!("and loaded again: {}", loaded.name);
    std::fs::remove_dir_all(&directory)
        .map_err(|error| pgsteward::Error::Io { action: format!("remove {directory:?}"), cause: error.into() })
}

fn make_a_shop(cluster: &Cluster) -> Result<()> {
    let tables = "CREATE SCHEMA shop;
        CREATE TABLE shop.customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
        CREATE TABLE shop.orders (id serial PRIMARY KEY, amount numeric,
            customer int REFERENCES shop.customers ON DELETE CASCADE);
        CREATE TABLE shop.audit_log (line text);
        INSERT INTO shop.customers (name) SELECT 'customer ' || n FROM generate_series(1, 10) n;
        INSERT INTO shop.orders (amount, customer) SELECT n, n % 10 + 1 FROM generate_series(1, 100) n;
        INSERT INTO shop.audit_log SELECT 'line ' || n FROM generate_series(1, 1000) n;";
    cluster.execute(tables, &[]).map(drop)
}

fn print(difference: &SnapshotDifference) {
    if difference.is_empty() {
        println!("nothing differs from the snapshot");
    }
    for table in difference.tables.iter().filter(|table| !table.is_empty()) {
        let (added, removed, changed) = (table.rows_added, table.rows_removed, table.rows_changed);
        println!("{}: {added} rows more, {removed} less, {changed} changed", table.name);
        table.structure.iter().for_each(|change| println!("  it {change}"));
    }
    for sequence in &difference.sequences {
        let now = sequence.now.as_ref().map_or("gone".into(), |now| now.last_value.to_string());
        println!("{}: was at {}, is {now}", sequence.then.name, sequence.then.last_value);
    }
}
