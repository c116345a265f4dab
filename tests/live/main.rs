//! Tests on a real server, which this binary starts by itself; a database each.
mod conflicts;
mod conformance;
mod large_objects;
mod objects;
mod ownership;
mod plans;
mod pooler;
mod round_trips;
mod reload;
mod replication_slots;
mod safety;
mod sessions;
mod sequences;
mod sessions_and_transactions;
mod shell;
mod support;
mod views;
