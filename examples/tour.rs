//! A tour of pgsteward: every step prints the Rust that it runs (after `>`), the SQL that this means, and what came of it.
//!
//!     scripts/demo          on a private, throw-away server
//!     scripts/demo DSN      on a server of yours, whose pg_hba.conf it reads and does not change
//!
//! Everything that it makes is in the database `pgsteward_tour_shop` or has a name that begins with
//! `pgsteward_tour_`, and is dropped at the end, as is what an earlier run left behind.
use pgsteward::hba::Connection;
use pgsteward::testing::TestServer;
use pgsteward::{
    Body, Cluster, Column, Constraint, Cycle, Database, Error, Identity, Index, Kind, MaterializedView, OsCommand,
    Procedure, RefreshMode, ReplicationSlot, Result, Role, Schema, Sequence, SequenceValue, Sessions, Table, View, sql,
};
use std::fmt::Display;
use std::time::Duration;

const SHOP: &str = "pgsteward_tour_shop";
const APP: &str = "pgsteward_tour_app";
const OWNER: &str = "pgsteward_tour_owner";
const SLOT: &str = "pgsteward_tour_standby";

/// Prints a line of Rust as it stands here, and runs it.
macro_rules! run {
    (let mut $name:ident = $code:expr) => {
        rust(concat!("let mut ", stringify!($name), " = ", stringify!($code)));
        let mut $name = $code;
    };
    (let $name:ident = $code:expr) => {
        rust(concat!("let ", stringify!($name), " = ", stringify!($code)));
        let $name = $code;
    };
    ($code:expr) => {{
        rust(stringify!($code));
        $code
    }};
}

fn main() -> Result<()> {
    let (private, dsn) = match std::env::args().nth(1) {
        Some(dsn) => (None, dsn),
        None => {
            let server = TestServer::start()?;
            let dsn = server.dsn();
            (Some(server), dsn)
        }
    };
    let cluster = Cluster::connect(&dsn)?;
    clean_up(&cluster)?;
    // Somebody else, who works on the same server.
    let other = Cluster::connect(&dsn)?;
    let toured = tour(&cluster, &other).and_then(|()| match &private {
        Some(_) => server_itself(&cluster),
        // The configuration of a server of yours is not for a demo to reload.
        None => Ok(()),
    });
    heading("The end: all of it is dropped");
    let cleaned = clean_up(&cluster);
    toured.and(cleaned)
}

fn tour(cluster: &Cluster, other: &Cluster) -> Result<()> {
    heading("Connected");
    came(format!("PostgreSQL {}, database {}", cluster.version(), cluster.current_database()));
    came(format!("below, APP is {APP:?}, OWNER {OWNER:?}, SHOP {SHOP:?}"));
    roles(cluster)?;
    let shop = databases(cluster)?;
    tables(&shop)?;
    views(&shop)?;
    sequences(&shop)?;
    procedures(&shop)?;
    large_objects(&shop)?;
    slots(cluster)?;
    conflicts(&shop, &other.database(SHOP)?)?;
    transactions(&shop)?;
    plans(&shop)?;
    owners(&shop)?;
    refusals(&shop)?;
    sessions(cluster, &shop)?;
    access(cluster)
}

fn roles(cluster: &Cluster) -> Result<()> {
    heading("Roles: an object is a value; its SQL is the difference to what the server has");
    cluster.roles().create(Role::new(OWNER))?;
    run!(let mut app = Role::new(APP));
    run!(app.login = true);
    run!(app.connection_limit = 20);
    sql_of("app.to_create(version)", app.to_create(cluster.version()));
    run!(let mut app = cluster.roles().create(app)?);
    came(format!("{APP} has the OID {}", app.oid()));

    run!(app.create_database = true);
    run!(app.connection_limit = 5);
    run!(app.connection_limit = 20);
    sql_of("app.changes()", app.changes());
    run!(app.alter()?);
    came("the limit was set back, so it was not sent; alter() read the role again and found it as wanted");

    sql_of("app.script()", app.script()?);
    let plan = cluster.plan(|c| c.roles().get(APP)?.set_password("s3cret"))?;
    sql_of("app.set_password(\"s3cret\")", plan);
    run!(app.set_password("s3cret")?);
    came("what travelled is a verifier, made here; it shows nowhere");
    Ok(())
}

fn databases(cluster: &Cluster) -> Result<Cluster> {
    heading("Databases");
    run!(let mut shop = Database::new(SHOP));
    run!(shop.encoding = Some("UTF8".into()));
    run!(shop.owner = OWNER.into());
    sql_of("shop.to_create(version)", shop.to_create(cluster.version()));
    run!(let mut shop = cluster.databases().create(shop)?);
    run!(shop.connection_limit = 100);
    run!(shop.comment = Some("orders and customers".into()));
    sql_of("shop.changes()", shop.changes());
    run!(shop.alter()?);
    sql_of("shop.script()", shop.script()?);
    run!(let inside = cluster.database(SHOP)?);
    came(format!("a cluster connected to {}", inside.current_database()));
    Ok(inside)
}

fn tables(shop: &Cluster) -> Result<()> {
    heading("Tables: columns, constraints and indexes are the table's definition");
    shop.schemas().create(Schema::new("app"))?;
    run!(let mut orders = Table::new("app.orders"));
    run!(let definition = orders.definition_mut());
    run!(let mut id = Column::new("id", "bigint"));
    run!(id.identity = Some(Identity::Always));
    run!(definition.columns.push(id));
    run!(definition.columns.push(Column::new("customer", "text")));
    run!(definition.columns.push(Column::new("amount", "numeric(10,2)")));
    run!(definition.constraints.push(Constraint::new("orders_pkey", sql!("PRIMARY KEY (id)"))));
    run!(definition.indexes.push(Index::new("orders_customer", sql!("btree (customer)"))));
    run!(let mut orders = shop.tables().create(orders)?);
    sql_of("orders.script()", orders.script()?);

    run!(let definition = orders.definition_mut()?);
    run!(let customer = definition.columns.get_mut("customer").expect("it was made above"));
    run!(customer.name = "client".into());
    run!(customer.not_null = true);
    run!(definition.constraints.push(Constraint::new("positive", sql!("CHECK (amount > 0)"))));
    run!(orders.row_security = true);
    run!(orders.comment = Some("what was sold".into()));
    sql_of("orders.changes()", orders.changes());
    run!(orders.alter()?);
    came("one transaction: read again, checked, changed, read back");
    shop.execute(
        "INSERT INTO app.orders (client, amount) SELECT 'client ' || n % 3, n FROM generate_series(1, 9) n",
        &[],
    )?;
    Ok(())
}

fn views(shop: &Cluster) -> Result<()> {
    heading("Views and materialized views");
    run!(let large = View::new("app.large_orders", sql!("SELECT id, client FROM app.orders WHERE amount > 5")));
    run!(let mut large = shop.views().create(large)?);
    run!(large.options.insert("security_barrier".into(), "true".into()));
    run!(large.name = "big_orders".into());
    sql_of("large.changes()", large.changes());
    run!(large.alter()?);
    came(format!(
        "app.large_orders: {}, app.big_orders: {}",
        shop.views().contains("app.large_orders")?,
        shop.views().contains("app.big_orders")?
    ));

    run!(let query = sql!("SELECT client, sum(amount) AS total FROM app.orders GROUP BY client"));
    run!(let totals = MaterializedView::new("app.totals", query));
    run!(let mut totals = shop.materialized_views().create(totals)?);
    run!(totals.refresh_data(RefreshMode::Blocking)?);
    run!(
        totals.definition_mut()?.query = sql!("SELECT client, max(amount) AS highest FROM app.orders GROUP BY client")
    );
    sql_of("totals.changes()", totals.changes());
    run!(totals.alter()?);
    came("PostgreSQL cannot give it another query: it was made anew, in one transaction");
    Ok(())
}

fn sequences(shop: &Cluster) -> Result<()> {
    heading("Sequences");
    run!(let mut invoices = shop.sequences().create(Sequence::new("app.invoices"))?);
    run!(invoices.minimum = Some(50));
    run!(invoices.start = Some(60));
    run!(invoices.maximum = Some(99));
    run!(invoices.cycle = Cycle::Wrap);
    sql_of("invoices.changes()", invoices.changes());
    run!(invoices.alter()?);
    came(format!("next value: {}", run!(invoices.nextval()?)));
    run!(invoices.setval(SequenceValue::Used(98))?);
    came(format!("next values: {}, {}", invoices.nextval()?, invoices.nextval()?));
    Ok(())
}

fn procedures(shop: &Cluster) -> Result<()> {
    heading("Routines: functions, procedures, aggregates and window functions");
    run!(let area = Procedure::function("app.area(int, int)", sql!("int"), "sql", "SELECT $1 * $2"));
    run!(let mut area = shop.procedures().create(area)?);
    run!(let square = Procedure::function("app.area(int)", sql!("int"), "sql", "SELECT $1 * $1"));
    run!(shop.procedures().create(square)?);
    came(format!("{} variations of app.area", run!(shop.procedures().get("app.area")?).len()));
    run!(area.strict = true);
    run!(area.settings.insert("search_path".into(), "app, pg_temp".into()));
    sql_of("area.changes()", area.changes());
    run!(area.alter()?);
    run!(area.definition_mut()?.body = Body::Text("SELECT abs($1 * $2)".into()));
    sql_of("area.changes()", area.changes());
    run!(area.alter()?);
    run!(shop.procedures().get("app.area(integer)")?.one()?.drop()?);
    came("the other variation is still there");
    Ok(())
}

fn large_objects(shop: &Cluster) -> Result<()> {
    heading("Large objects: streamed, never in memory as a whole");
    run!(let mut object = shop.large_objects().create_from("all of a reader".as_bytes())?);
    run!(object.write_at(7, b"that reader")?);
    came(format!("{:?}, {} bytes", run!(object.read_at(0, 100)?), object.size()?));
    run!(object.truncate(3)?);
    run!(let mut copy = Vec::new());
    came(format!("{} bytes exported", run!(object.export(&mut copy)?)));
    run!(object.drop()?);
    Ok(())
}

fn slots(cluster: &Cluster) -> Result<()> {
    heading("Replication slots");
    run!(let mut slot = ReplicationSlot::physical(SLOT));
    run!(slot.immediately_reserve = true);
    sql_of("slot.to_create(version)", slot.to_create(cluster.version()));
    match run!(cluster.replication_slots().create(slot)) {
        Ok(slot) => {
            came(format!("it keeps WAL from {} on", slot.restart_lsn().map(|lsn| lsn.to_string()).unwrap_or_default()));
            run!(slot.drop_after_disconnect(Duration::from_secs(10))?);
        }
        // A server of yours may have no slot to spare.
        Err(error) => came(error),
    }
    Ok(())
}

fn conflicts(shop: &Cluster, other: &Cluster) -> Result<()> {
    heading("Somebody else is at work: nothing of theirs is overwritten unseen");
    run!(let mut mine = shop.tables().get("app.orders")?);
    let mut theirs = other.tables().get("app.orders")?;
    theirs.comment = Some("changed by somebody else".into());
    theirs.owner = OWNER.into();
    sql_of("somebody else sends", theirs.changes());
    theirs.alter()?;

    run!(mine.comment = Some("mine".into()));
    run!(let refused = mine.alter());
    came(match refused {
        Err(error) => error.to_string(),
        Ok(()) => "altered".into(),
    });
    run!(mine.revert());
    run!(mine.name = "purchases".into());
    run!(mine.alter()?);
    came(format!("another field is no conflict; the owner that they gave it shows: {}", mine.owner));
    run!(mine.refresh()?);
    run!(mine.name = "orders".into());
    run!(mine.alter()?);
    Ok(())
}

fn transactions(shop: &Cluster) -> Result<()> {
    heading("Transactions");
    run!(let mut schema = shop.schemas().get("app")?);
    let failed = run!(shop.transaction(|| {
        schema.comment = Some("the shop".into());
        schema.alter()?;
        shop.tables().get("app.nothing")?.drop()
    }));
    came(failed.err().map(|error| error.to_string()).unwrap_or_default());
    came(format!("the schema's comment is undone, and the object knows: is_changed() is {}", schema.is_changed()));
    Ok(())
}

fn plans(shop: &Cluster) -> Result<()> {
    heading("Plans: see before doing");
    run!(let plan = shop.plan(|c| {
        let mut orders = c.tables().get("app.orders")?;
        orders.schema = "archive".into();
        c.schemas().create(Schema::new("archive"))?;
        orders.alter()?;
        c.views().get("app.big_orders")?.drop()
    })?);
    sql_of("plan", &plan);
    came(format!("archive.orders: {}", shop.tables().contains("archive.orders")?));
    run!(plan.apply()?);
    shop.refresh();
    came(format!("archive.orders: {}", shop.tables().contains("archive.orders")?));
    Ok(())
}

fn owners(shop: &Cluster) -> Result<()> {
    heading("Many objects at a time");
    for number in 1..=250 {
        let name = format!("t{number}");
        shop.execute(&sql!("CREATE TABLE archive.{} (a int)", pgsteward::Ident(&name)).to_string(), &[])?;
    }
    run!(shop.refresh());
    run!(let mut tables = shop.tables().iter()?.filter(|table| table.schema == "archive").collect::<Vec<_>>());
    run!(shop.reassign_owner(&mut tables, OWNER)?);
    let changed = tables.iter().filter(|table| table.owner == OWNER).count();
    came(format!("{changed} of {} tables belong to {OWNER}, in batches that fit the lock table", tables.len()));
    Ok(())
}

fn refusals(shop: &Cluster) -> Result<()> {
    heading("Refusals are sentences");
    let long = "x".repeat(64);
    came(run!(shop.roles().create(Role::new(&long))).unwrap_err());
    came(run!(shop.tables().get("app.orders")).unwrap_err());
    run!(let mut role = shop.roles().get(APP)?);
    run!(role.connection_limit = -5);
    came(run!(role.alter()).unwrap_err());
    shop.execute("GRANT SELECT ON archive.orders TO PUBLIC", &[])?;
    shop.refresh();
    came(run!(shop.tables().get("archive.orders")?.script()).unwrap_err());
    Ok(())
}

fn sessions(cluster: &Cluster, shop: &Cluster) -> Result<()> {
    heading("Ending sessions: here those in the tour's database; the cluster's own connections are spared");
    run!(let report = cluster.terminate(Sessions::new().databases([SHOP]))?);
    came(format!(
        "{} terminated, {} still there, {} not allowed",
        report.terminated.len(),
        report.remaining.len(),
        report.refused.len()
    ));
    came(run!(shop.schemas().names()).map_or_else(|error| error.to_string(), |names| format!("{names:?}")));
    Ok(())
}

fn access(cluster: &Cluster) -> Result<()> {
    heading("pg_hba.conf: a list of rules, changed here, and on the server by alter() alone");
    match judged(cluster) {
        // A server of yours may not let you see the file.
        Err(error @ (Error::Denied { .. } | Error::Unsupported { .. })) => came(error),
        result => return result,
    }
    Ok(())
}

fn judged(cluster: &Cluster) -> Result<()> {
    run!(let mut hba = cluster.hba_rules()?);
    came(format!("{} rules in {}", hba.len(), hba.path()));
    run!(let rule = format!("host {SHOP} {APP} 10.0.0.0/8 scram-sha-256"));
    run!(hba.insert(0, &rule)?);
    sql_of("hba.changes()", hba.changes());
    run!(let connection = Connection::tcp([10, 0, 0, 7], SHOP, APP));
    came(run!(hba.decide(&connection)?));
    run!(let addresses = [[10, 0, 0, 7], [127, 0, 0, 1], [192, 0, 2, 1]].map(Into::into));
    run!(let matrix = hba.access_matrix([APP, OWNER], [SHOP, "postgres"], addresses)?);
    sql_of("matrix", matrix);
    run!(hba.push("host all nobody 192.0.2.0/24 password")?);
    run!(let findings = hba.lint()?);
    findings.iter().for_each(came);
    came(run!(hba.push("host all all 10.0.0.0/33 md5")).unwrap_err());
    run!(hba.revert());
    Ok(())
}

fn access_changed(cluster: &Cluster) -> Result<()> {
    heading("pg_hba.conf on the server: replaced as a whole, checked, loaded, tried by a new connection, or put back");
    run!(let mut hba = cluster.hba_rules()?);
    run!(hba.insert(0, "local all all reject")?);
    came(run!(hba.alter()).unwrap_err());
    run!(hba.replace(0, "local all pgsteward_tour_app reject # closed")?);
    run!(let outcome = hba.alter()?);
    came(format!("lines added: {}, loaded: {}, tried: {}", outcome.lines_added, outcome.reloaded, outcome.probed));
    came(format!("the old file is {}", outcome.backup.unwrap_or_default()));
    run!(let backups = hba.backups()?);
    run!(hba.restore(&backups[0])?);
    came(format!("{} rules: the old file is back, by the same way", hba.len()));
    Ok(())
}

fn server_itself(cluster: &Cluster) -> Result<()> {
    access_changed(cluster)?;
    heading("The server itself");
    let output = run!(cluster.run_os_command(OsCommand::new("wc -l < pg_hba.conf; echo oops >&2; exit 3"))?);
    came(format!("exit code {}, {:?}, {:?}", output.exit_code, output.stdout_text(), output.stderr_text()));
    came(format!("{:?}", run!(cluster.reload()?)));
    Ok(())
}

/// Drops all that a tour makes.
fn clean_up(cluster: &Cluster) -> Result<()> {
    cluster.refresh();
    let plan = cluster.plan(|c| {
        if let Some(slot) = c.replication_slots().find(SLOT)? {
            slot.drop_after_disconnect(Duration::from_secs(10))?;
        }
        if let Some(database) = c.databases().find(SHOP)? {
            database.drop_force()?;
        }
        for role in [APP, OWNER] {
            if let Some(role) = c.roles().find(role)? {
                role.drop()?;
            }
        }
        Ok(())
    })?;
    if !plan.is_empty() {
        sql_of("plan", &plan);
        plan.apply()?;
    }
    Ok(())
}

fn heading(text: &str) {
    println!("\n== {text}");
}

/// A line of Rust, with only those line breaks that a closure needs.
fn rust(code: &str) {
    let code = code.split_whitespace().collect::<Vec<_>>().join(" ");
    let code = code.replace("( ", "(").replace(" )", ")").replace(" .", ".").replace(", )", ")");
    let code = match code.contains("| {") {
        true => code.replace("| { ", "| {\n        ").replace("; ", ";\n        ").replace(" })", "\n    })"),
        false => code,
    };
    println!("  > {code}");
}

/// The SQL that something means.
fn sql_of(what: &str, sql: impl Display) {
    println!("  {what}:");
    sql.to_string().lines().for_each(|line| println!("      {line}"));
}

/// What came of it.
fn came(result: impl Display) {
    println!("  = {result}");
}
