//! Tests on a real server, which this binary starts by itself; a database each.
mod backups;
mod beside_psql;
mod conflicts;
mod conformance;
mod connect_access;
mod connecting;
mod connecting_texts;
mod copies;
mod databases;
mod definitions;
mod dependents;
mod drops;
mod hba_alter;
mod hba_decided;
mod hba_files;
mod hba_generated;
mod hba_judge;
mod hba_killed;
mod hba_view;
mod large_objects;
mod load;
mod migrations;
mod migrations_at_once;
#[cfg(feature = "pool")]
mod modules;
#[cfg(feature = "monitor")]
mod monitoring;
mod objects;
mod ownership;
mod plans;
#[cfg(feature = "pool")]
mod pool;
mod pooler;
mod procedures;
mod provision;
mod provision_plans;
mod reload;
mod replication_slots;
mod round_trips;
mod safety;
mod sequences;
mod sessions;
mod sessions_and_transactions;
mod shell;
mod snapshot_archives;
mod snapshots;
mod snapshots_generated;
mod snapshots_of_others;
mod splitter;
#[cfg(all(feature = "monitor", feature = "pool"))]
mod statistics;
mod support;
mod test_databases;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod tls_certificates;
#[cfg(feature = "tls")]
mod tls_world;
mod undone;
mod views;
