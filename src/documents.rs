//! The documents, as doctests: what their snippets say compiles.
macro_rules! documents {
    ($($(#[$when:meta])? $name:ident: $file:literal,)*) => { $(
        $(#[$when])?
        #[doc = include_str!(concat!("../", $file))]
        struct $name;
    )* };
}

documents! {
    Readme: "README.md",
    Backup: "docs/backup.md",
    Cli: "docs/cli.md",
    Cluster: "docs/cluster.md",
    Connecting: "docs/connecting.md",
    Database: "docs/database.md",
    Design: "docs/design.md",
    FromPgmob: "docs/from-pgmob.md",
    Hba: "docs/hba.md",
    LargeObject: "docs/large_object.md",
    MaterializedView: "docs/materialized_view.md",
    #[cfg(feature = "pool")]
    Module: "docs/module.md",
    Migrate: "docs/migrate.md",
    Monitor: "docs/monitor.md",
    #[cfg(feature = "pool")]
    Pool: "docs/pool.md",
    Procedure: "docs/procedure.md",
    Provision: "docs/provision.md",
    ReplicationSlot: "docs/replication_slot.md",
    Role: "docs/role.md",
    Schema: "docs/schema.md",
    Sequence: "docs/sequence.md",
    Snapshot: "docs/snapshot.md",
    Table: "docs/table.md",
    Tls: "docs/tls.md",
    Testing: "docs/testing.md",
    View: "docs/view.md",
}
