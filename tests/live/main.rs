//! Tests on a real server, which this binary starts by itself; a database each.
mod conflicts;
mod conformance;
mod objects;
mod ownership;
mod plans;
mod pooler;
mod round_trips;
mod safety;
mod sessions_and_transactions;
mod support;
