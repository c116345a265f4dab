//! The kinds of object: one file each, and a line here.
mod large_object;
mod replication_slot;
mod role;
mod schema;
mod table;

pub use large_object::{LargeObject, LargeObjectContents};
pub use replication_slot::{ReplicationSlot, SlotSort, WalStatus};
pub use role::{Role, ValidUntil};
pub use schema::Schema;
pub use table::{Persistence, RelationKind, ReplicaIdentity, Table, TableDefinition};
