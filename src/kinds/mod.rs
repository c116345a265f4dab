//! The kinds of object: one file each, and a line here.
mod database;
mod large_object;
mod materialized_view;
mod procedure;
pub(crate) mod relation;
mod replication_slot;
mod role;
mod schema;
mod sequence;
mod table;
mod view;

pub use database::{
    ConnectAccess, CopyOptions, CreateStrategy, Database, DatabaseDropPreview, Grantee, LocaleProvider, OpenSessions,
};
pub use large_object::{LargeObject, LargeObjectContents};
pub use materialized_view::{MaterializedView, MaterializedViewDefinition, Population, RefreshMode};
pub use procedure::{
    Body, Parallel, Procedure, ProcedureDefinition, Procedures, Routine, Security, Variations, Volatility,
};
pub use relation::Persistence;
pub use replication_slot::{ReplicationSlot, SlotSort, WalStatus};
pub(crate) use role::verifier;
pub use role::{Role, ValidUntil};
pub use schema::Schema;
pub use sequence::{Cycle, OwningColumn, Sequence, SequenceType, SequenceValue};
pub use table::{RelationKind, ReplicaIdentity, Table, TableDefinition};
pub use view::{View, ViewDefinition};
