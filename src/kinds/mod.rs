//! The kinds of object: one file each, and a line here.
mod role;
mod schema;
mod table;

pub use role::{Role, ValidUntil};
pub use schema::Schema;
pub use table::{Persistence, RelationKind, ReplicaIdentity, Table, TableDefinition};
