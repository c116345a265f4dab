//! Applies the migrations of a folder, which it makes for the purpose, as a program does when it starts; then has one fail.
//!
//!     cargo run --example migrate --features migrate,testing
use pgsteward::migrate::{MigrateOptions, Migrations, Migrator, MissingSchema};
use pgsteward::testing::TestServer;
use pgsteward::{Cluster, Error, Result};
use std::fs;
use std::path::Path;

const FILES: [(&str, &str); 3] = [
    ("001_users.sql", "CREATE TABLE users (id bigint PRIMARY KEY, name text NOT NULL);\n"),
    ("002_index.sql", "-- pgsteward:no-transaction\nCREATE INDEX CONCURRENTLY users_name ON users (name);\n"),
    (
        "003_first.sql",
        "INSERT INTO {{tables.users}} VALUES (1, 'one');\nINSERT INTO {{tables.users}} VALUES (1, 'two');\n",
    ),
];

fn main() -> Result<()> {
    let server = TestServer::start()?;
    let cluster = Cluster::connect(&server.dsn())?;
    let folder = server.data_directory().join("migrations");
    fs::create_dir(&folder).map_err(|error| failed(&folder, error))?;
    for (name, text) in FILES {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
    }

    let mut options = MigrateOptions::for_module("users");
    options.missing_schema = MissingSchema::Create;
    let migrator = Migrator::new(&cluster, Migrations::from_directory(&folder)?, options)?;
    println!("what would be sent:\n{}", migrator.plan()?);

    for migration in migrator.apply_to(2)?.applied {
        println!("{} applied, {} statements", migration.name, migration.statements);
    }
    // The second row has the key of the first.
    if let Err(error) = migrator.apply() {
        println!("{error}");
    }
    for status in migrator.status()? {
        println!("{} {}", status.name, status.state.word());
    }
    Ok(())
}

fn failed(path: &Path, error: std::io::Error) -> Error {
    Error::Io { action: format!("write {path:?}"), cause: error.into() }
}
