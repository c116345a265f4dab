//! A service of three modules, which know nothing of each other, over one pool: users, orders, and the log of what happens.
//! Each runs as well alone, in a database of its own.
//!
//!     cargo run --example service_shared_pool --features testing,pool
use pgsteward::Result;
use pgsteward::module::{Module, ModuleOptions};
use pgsteward::pool::{Pool, PoolOptions};
use pgsteward::testing::TestServer;
use std::thread;

fn main() -> Result<()> {
    let server = TestServer::start()?;
    let mut options = PoolOptions::new();
    options.maximum = 4;
    let pool = Pool::connect(&server.dsn(), options)?;
    let (users, orders, events) = (Users::on(&pool)?, Orders::on(&pool)?, Events::on(&pool)?);

    let ada = users.add("ada@example.com")?;
    users.add("bob@example.com")?;
    match users.add("ada@example.com") {
        Err(error) => println!("{error}"), // the statement and the constraint, and not whose address it is
        Ok(id) => println!("a second user {id}"),
    }

    // Threads share what each module has: a pool and the name of a schema.
    thread::scope(|scope| {
        for item in ["tea", "milk", "bread", "jam", "salt", "rice"] {
            let (orders, events) = (&orders, &events);
            scope.spawn(move || orders.place(ada, item).and_then(|id| events.write(&format!("order {id}: {item}"))));
        }
    });
    println!("orders: {}, events: {}", orders.of(ada)?.join(", "), events.count()?);

    // Each calls its table `items` or `log` as it likes; without its schema a name is nobody's.
    match orders.module.query("SELECT * FROM items", &[]) {
        Err(error) => println!("{error}"),
        Ok(rows) => println!("{} rows of whoever", rows.len()),
    }
    println!("{}", pool.metrics());
    Ok(())
}

fn module(pool: &Pool, schema: &str, tables: &str) -> Result<Module> {
    let mut options = ModuleOptions::new();
    options.create_schema_if_missing = true;
    let module = Module::with_options(pool, schema, options)?;
    module.batch_execute(tables)?;
    Ok(module)
}

struct Users {
    module: Module,
}

impl Users {
    fn on(pool: &Pool) -> Result<Self> {
        let tables =
            "CREATE TABLE IF NOT EXISTS {{tables.items}} (id int GENERATED ALWAYS AS IDENTITY, email text UNIQUE)";
        Ok(Self { module: module(pool, "users", tables)? })
    }

    fn add(&self, email: &str) -> Result<i32> {
        self.module.value("INSERT INTO {{tables.items}} (email) VALUES ($1) RETURNING id", &[&email])
    }
}

struct Orders {
    module: Module,
}

impl Orders {
    fn on(pool: &Pool) -> Result<Self> {
        let tables = "
            CREATE TABLE IF NOT EXISTS {{tables.items}} (id int GENERATED ALWAYS AS IDENTITY, buyer int, name text);
            CREATE TABLE IF NOT EXISTS {{tables.counts}} (buyer int PRIMARY KEY, items int);
            CREATE OR REPLACE FUNCTION {{tables.count}}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO {{tables.counts}} AS c VALUES (NEW.buyer, 1)
                    ON CONFLICT (buyer) DO UPDATE SET items = c.items + 1;
                RETURN NEW;
            END $$;
            CREATE TRIGGER count AFTER INSERT ON {{tables.items}} FOR EACH ROW EXECUTE FUNCTION {{tables.count}}()";
        Ok(Self { module: module(pool, "orders", tables)? })
    }

    fn place(&self, buyer: i32, item: &str) -> Result<i32> {
        self.module.transaction(|t| {
            let id =
                t.value("INSERT INTO {{tables.items}} (buyer, name) VALUES ($1, $2) RETURNING id", &[&buyer, &item])?;
            let items: i32 = t.value("SELECT items FROM {{tables.counts}} WHERE buyer = $1", &[&buyer])?;
            if items % 3 == 0 {
                t.execute("INSERT INTO {{tables.items}} (buyer, name) VALUES ($1, 'a gift')", &[&buyer])?;
            }
            Ok(id)
        })
    }

    fn of(&self, buyer: i32) -> Result<Vec<String>> {
        let names = "SELECT name FROM {{tables.items}} WHERE buyer = $1 ORDER BY name";
        self.module.query_as(names, &[&buyer], |row| Ok(row.try_get(0)?))
    }
}

struct Events {
    module: Module,
}

impl Events {
    fn on(pool: &Pool) -> Result<Self> {
        Ok(Self { module: module(pool, "Events", "CREATE TABLE IF NOT EXISTS {{tables.log}} (line text)")? })
    }

    fn write(&self, line: &str) -> Result<u64> {
        self.module.execute("INSERT INTO {{tables.log}} VALUES ($1)", &[&line])
    }

    fn count(&self) -> Result<i64> {
        self.module.value("SELECT count(*) FROM {{tables.log}}", &[])
    }
}
