//! A schema for each tenant of a service, over one pool: the same code for all, copied in and out, and one tenant taken away
//! without the others noticing.
//!
//!     cargo run --example multi_tenant --features testing,pool
use pgsteward::Result;
use pgsteward::module::{Module, ModuleOptions};
use pgsteward::pool::{Pool, PoolOptions};
use pgsteward::testing::TestServer;
use postgres::types::ToSql;

fn main() -> Result<()> {
    let server = TestServer::start()?;
    let pool = Pool::connect(&server.dsn(), PoolOptions::new())?;
    // Names as the tenants chose them: quoted, whatever they are.
    let tenants = ["acme", "Müller & Söhne", "select"];
    for name in tenants {
        let tenant = tenant(&pool, name)?;
        let notes = ["first", "second", name];
        let rows = notes.iter().map(|note| [note as &(dyn ToSql + Sync)]);
        let written = tenant.execute_many("INSERT INTO {{tables.notes}} (note) VALUES ($1)", rows)?;
        println!("{name}: {written} notes");
    }

    // One tenant's rows go to a file, and into another's table.
    let (acme, other) = (tenant(&pool, "acme")?, tenant(&pool, "Müller & Söhne")?);
    let mut file = Vec::new();
    let bytes = acme.copy_out("COPY (SELECT note FROM {{tables.notes}}) TO STDOUT", &mut file)?;
    let rows = other.copy_in("COPY {{tables.notes}} (note) FROM STDIN", file.as_slice())?;
    println!("{bytes} bytes out, {rows} rows in");

    // Nothing of a transfer that fails is kept, on either side.
    let moved = move_notes(&acme, "no such tenant");
    println!("{}", moved.err().map_or("moved".into(), |error| error.to_string()));

    // A tenant leaves: its schema is an object of the same pool's cluster.
    pool.cluster()?.schemas().get("select")?.drop_cascade()?;
    for name in tenants {
        println!(
            "{name}: {}",
            count(&Module::new(&pool, name)?)?.map_or("gone".into(), |count| format!("{count} notes"))
        );
    }
    Ok(())
}

fn tenant(pool: &Pool, name: &str) -> Result<Module> {
    let mut options = ModuleOptions::new();
    options.create_schema_if_missing = true;
    let tenant = Module::with_options(pool, name, options)?;
    let table = "CREATE TABLE IF NOT EXISTS {{tables.notes}} (id int GENERATED ALWAYS AS IDENTITY, note text)";
    tenant.batch_execute(table)?;
    Ok(tenant)
}

fn move_notes(from: &Module, to: &str) -> Result<u64> {
    let other = Module::new(from.pool(), to)?;
    from.transaction(|t| {
        let notes = t.query_as("DELETE FROM {{tables.notes}} RETURNING note", &[], |row| Ok(row.try_get(0)?))?;
        let notes: Vec<String> = notes;
        // The other's tables, in this transaction.
        let insert = other.templates().replace("INSERT INTO {{tables.notes}} (note) SELECT unnest($1::text[])")?;
        t.execute(&insert, &[&notes])
    })
}

fn count(tenant: &Module) -> Result<Option<i64>> {
    match tenant.value("SELECT count(*) FROM {{tables.notes}}", &[]) {
        Err(error) if error.is_not_found() => Ok(None),
        count => count.map(Some),
    }
}
