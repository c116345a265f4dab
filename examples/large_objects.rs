//! Lists large objects with their sizes, copies one to a file, or a file to a new one.
//!
//!     cargo run --example large_objects -- DSN
//!     cargo run --example large_objects -- DSN export OID FILE
//!     cargo run --example large_objects -- DSN import FILE
use pgsteward::{Cluster, Error, Result};
use std::fs::File;
use std::io;
use std::process::ExitCode;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [dsn] => {
            for object in Cluster::connect(dsn)?.large_objects().iter()? {
                println!("{:>10} {:>15} bytes  {}", object.oid(), object.size()?, object.owner);
            }
        }
        [dsn, "export", oid, path] => {
            let oid: u32 = oid.parse().map_err(|_| Error::Invalid {
                what: format!("number {oid:?} of a large object"),
                why: "it is no number".into(),
            })?;
            let object = Cluster::connect(dsn)?.large_objects().get(oid)?;
            let file = File::create(path).map_err(|error| failed("create", path, error))?;
            println!("{} bytes", object.export(file)?);
        }
        [dsn, "import", path] => {
            let file = File::open(path).map_err(|error| failed("open", path, error))?;
            let object = Cluster::connect(dsn)?.large_objects().create_from(file)?;
            println!("{}", object.oid());
        }
        _ => {
            eprintln!("usage: large_objects DSN [export OID FILE | import FILE]");
            return Ok(ExitCode::from(2));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(what: &str, path: &str, error: io::Error) -> Error {
    Error::Io { action: format!("{what} {path:?}"), cause: error.into() }
}
