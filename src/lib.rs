//! Administer PostgreSQL clusters from Rust through an object model.
#[macro_use]
mod sql;
mod cluster;
mod collection;
mod connect;
#[cfg(doctest)]
mod documents;
mod error;
mod kind;
mod kinds;
mod name;
mod object;
mod ownership;
mod parts;
mod plan;
mod reload;
mod row;
mod script;
mod session;
mod sessions;
mod shell;
mod signature;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod version;

pub use crate::cluster::{Cluster, ConnectOptions};
pub use crate::collection::Collection;
pub use crate::error::{Error, Result, ServerMessage};
pub use crate::kind::{Defined, Definition, DropBehavior, Key, Kind, Nothing, Which};
pub use crate::kinds::*;
pub use crate::name::Name;
pub use crate::object::Object;
pub use crate::ownership::{Owned, Reach};
pub use crate::parts::{Column, Constraint, DataType, Generated, Identity, Index, Part, Parts, Storage};
pub use crate::plan::Plan;
pub use crate::reload::{ConfigurationFault, ReloadOutcome};
pub use crate::row::Row;
pub use crate::script::Script;
pub use crate::sessions::{SessionInfo, SessionState, Sessions, TerminateReport};
pub use crate::shell::{OsCommand, OsOutput};
pub use crate::signature::Signature;
#[doc(hidden)]
pub use crate::sql::__places;
pub use crate::sql::{Fragment, Ident, Lit, Secret, Sql};
pub use crate::version::ServerVersion;
pub use postgres::types::PgLsn;
