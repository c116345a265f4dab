//! Administer PostgreSQL clusters from Rust through an object model.
//!
//! An object is two plain values: what the server has, and what you want. Its SQL is their difference. A [`Cluster`] is a
//! connection to one database; its [`Collection`]s hold [`Object`]s, whose fields are read and written directly;
//! [`Object::changes`] shows the statements and [`Object::alter`] sends them, all or nothing, unless somebody else changed
//! the same thing meanwhile.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use pgsteward::{Cluster, Role};
//!
//! let server = pgsteward::testing::TestServer::start()?; // a private, throw-away one
//! let cluster = Cluster::connect(&server.dsn())?;
//! let mut app = cluster.roles().create(Role::new("app"))?;
//! app.connection_limit = 20;
//! app.name = "app_rw".into();
//! assert_eq!(
//!     app.changes().to_string(),
//!     "ALTER ROLE \"app\" CONNECTION LIMIT 20;\nALTER ROLE \"app\" RENAME TO \"app_rw\";\n"
//! );
//! app.alter()?;
//! assert!(cluster.roles().contains("app_rw")?);
//! # }
//! # Ok::<(), pgsteward::Error>(())
//! ```
//!
//! The calls block; in an async program use them within `tokio::task::spawn_blocking`. Every error is one sentence: see
//! [`Error`]. What is logged goes to the `log` facade: notices of the server at level info, the crate's own statements at
//! level debug, with secrets as `'********'`.
#[macro_use]
mod sql;
#[macro_use]
mod fields;
pub mod backup;
mod cancel;
mod change;
mod cluster;
mod collection;
mod connect;
mod counter;
mod dependents;
#[cfg(doctest)]
mod documents;
mod error;
mod fate;
mod files;
pub mod hba;
mod kind;
mod kinds;
mod load;
#[cfg(feature = "migrate")]
pub mod migrate;
#[cfg(feature = "pool")]
pub mod module;
#[cfg(feature = "monitor")]
pub mod monitor;
mod name;
mod object;
mod ownership;
mod parts;
mod password;
mod plan;
#[cfg(feature = "pool")]
pub mod pool;
mod provision;
mod reload;
mod row;
mod script;
mod seen;
mod server_process;
mod session;
mod sessions;
mod setting;
mod shell;
mod sides;
mod signature;
mod size;
pub mod snapshot;
mod state;
mod statements;
#[cfg(feature = "monitor")]
mod statistics;
mod template;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
#[cfg(any(feature = "monitor", feature = "testing"))]
mod undone;
mod version;

pub use crate::cancel::Canceller;
pub use crate::cluster::Cluster;
pub use crate::collection::Collection;
pub use crate::connect::{ConnectOptions, ConnectionParameters, Retries};
pub use crate::dependents::Depended;
pub use crate::error::{Error, Result, ServerMessage};
pub use crate::fields::{FieldValue, Fields};
pub use crate::kind::{Defined, Definition, DropBehavior, Key, Kind, Nothing, Which};
pub use crate::kinds::*;
pub use crate::load::LoadReport;
pub use crate::name::Name;
pub use crate::object::Object;
pub use crate::ownership::{Owned, Reach};
pub use crate::parts::{Column, Constraint, DataType, Generated, Identity, Index, Part, Parts, Storage};
pub use crate::password::Password;
pub use crate::plan::Plan;
pub use crate::provision::{
    ClientDatabase, DeprovisionReport, LoadAs, Provision, ProvisionEvent, ProvisionReport, Provisioned,
};
pub use crate::reload::{ConfigurationFault, ReloadOutcome};
pub use crate::row::Row;
pub use crate::script::Script;
pub use crate::sessions::{SessionInfo, SessionState, Sessions, TerminateReport};
pub use crate::shell::{OsCommand, OsOutput};
pub use crate::signature::Signature;
#[doc(hidden)]
pub use crate::sql::__places;
pub use crate::sql::{Fragment, Ident, Lit, Secret, Sql};
#[doc(hidden)]
pub use crate::statements::pieces::__pieces;
pub use crate::template::Templates;
pub use crate::version::ServerVersion;
pub use postgres::types::PgLsn;
