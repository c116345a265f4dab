//! The figures of a pool.
use crate::version::ServerVersion;
use std::fmt;
use std::time::Duration;

/// The figures of a [`Pool`](super::Pool) at one moment. `Display` prints the most telling ones on a line.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PoolMetrics {
    /// How many connections are kept open in any case.
    pub minimum: usize,
    /// How many connections there may be.
    pub maximum: usize,
    /// How many connections are open: `idle` and `in_use`.
    pub size: usize,
    /// How many nobody uses, those that are being made clean among them.
    pub idle: usize,
    /// How many are in somebody's hands.
    pub in_use: usize,
    /// How many are being made.
    pub connecting: usize,
    /// How many threads wait for one to come back.
    pub waiting: usize,
    /// How many were made since the pool was.
    pub created: u64,
    /// How many of them are gone: too old, idle for too long, dead, not clean.
    pub closed: u64,
    /// How many times one was handed out.
    pub checkouts: u64,
    /// How long all who had to wait for one to come back have waited together, in vain or not.
    pub wait: Duration,
    /// How long the one who waited longest has waited.
    pub longest_wait: Duration,
    /// How many have waited in vain.
    pub timeouts: u64,
    /// The name of the database.
    pub database: String,
    /// The version of the server, as the connection that was made last has said.
    pub server_version: ServerVersion,
    /// The server processes of the connections that are open and not being made clean at this moment, in ascending order.
    pub server_processes: Vec<i32>,
}

impl fmt::Display for PoolMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, maximum, in_use, idle, waiting, created, closed, checkouts, timeouts, database, .. } = self;
        write!(
            f,
            "{size} of {maximum} connections to database {database:?}: {in_use} in use, {idle} idle, {waiting} waiting; \
             {created} created, {closed} closed, {checkouts} checkouts, {timeouts} timeouts"
        )
    }
}
