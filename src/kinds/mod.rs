//! The kinds of object: one file each, and a line here.
mod large_object;
mod materialized_view;
mod replication_slot;
mod database;
mod procedure;
mod role;
mod schema;
mod sequence;
mod table;
mod view;

pub use large_object::{LargeObject, LargeObjectContents};
pub use materialized_view::{MaterializedView, MaterializedViewDefinition, Population, RefreshMode};
pub use replication_slot::{ReplicationSlot, SlotSort, WalStatus};
pub use database::{CreateStrategy, Database, LocaleProvider, OpenSessions};
pub use procedure::{Body, Parallel, Procedure, ProcedureDefinition, Routine, Security, Volatility};
pub use role::{Role, ValidUntil};
pub use schema::Schema;
pub use sequence::{Cycle, OwningColumn, Sequence, SequenceType, SequenceValue};
pub use table::{Persistence, RelationKind, ReplicaIdentity, Table, TableDefinition};
pub use view::{View, ViewDefinition};
