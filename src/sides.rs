//! The two sides of a connection: the settings for the crate's own statements, and those for the user's.
use crate::sql::{Lit, Sql};

/// The settings under which the crate's own statements run, so that nothing of a user's stands in
/// for a catalogue function and so that the server prints names and values in one form. Timeouts
/// are left as they are: they are the administrator's.
const OWN_SETTINGS: [(&str, &str); 10] = [
    // Temporary objects are searched last: first, they could stand in for types of the catalogue.
    ("search_path", "pg_catalog, pg_temp"),
    ("datestyle", "ISO"),
    ("intervalstyle", "postgres"),
    ("extra_float_digits", "3"),
    ("standard_conforming_strings", "on"),
    ("check_function_bodies", "off"),
    ("quote_all_identifiers", "off"),
    ("client_encoding", "UTF8"),
    ("default_tablespace", ""),
    ("default_table_access_method", "heap"),
];

/// Whose statements the connection is set for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    /// The crate's: [`OWN_SETTINGS`].
    Own,
    /// The user's: as the connection came.
    User,
    /// One or the other: a failed transaction was ended by a statement of the user's. The server knows.
    Unknown,
}

/// Whether a statement is inside a transaction block: the block began before the statement did.
pub(crate) const INSIDE: &str =
    "(pg_catalog.statement_timestamp() OPERATOR(pg_catalog.<>) pg_catalog.transaction_timestamp())";

/// One statement that puts one side's settings away and the other's in their place, and names the moment in which the
/// crate's own statements follow; it does nothing, and has no row, in another server process.
pub(crate) fn settings(from: Side, to: Side, moment: &str, pid: i32) -> Sql {
    let local = INSIDE;
    let put_away = |name: &'static str, value: &'static str| {
        let kept =
            sql!("pg_catalog.set_config('pgsteward.{}', pg_catalog.current_setting('{}'), {})", name, name, local);
        sql!("{}, pg_catalog.set_config('{}', '{}', {})", kept, name, value, local)
    };
    let bring_back = |name: &'static str| {
        sql!("pg_catalog.set_config('{}', pg_catalog.current_setting('pgsteward.{}'), {})", name, name, local)
    };
    let mut changes: Vec<Sql> = match to {
        _ if from == to => Vec::new(),
        Side::Own => OWN_SETTINGS.iter().map(|(name, value)| put_away(name, value)).collect(),
        Side::User | Side::Unknown => OWN_SETTINGS.iter().map(|(name, _)| bring_back(name)).collect(),
    };
    if to == Side::Own {
        changes.push(name_moment(moment));
    }
    // The server's own note of the side ends with a transaction as the settings do.
    let note = if to == Side::Own { "own" } else { "user" };
    sql!(
        "SELECT {} AS inside, {} AS transaction, pg_catalog.set_config('pgsteward.side', '{}', {}), {} WHERE pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) {}",
        local,
        current("transaction"),
        note,
        local,
        Sql::join(changes, ", "),
        pid
    )
}

/// What gives the moment its name on the server: see [`Moments`](crate::fate::Moments).
pub(crate) fn name_moment(moment: &str) -> Sql {
    sql!("pg_catalog.set_config('pgsteward.moment', {}, false)", Lit(moment))
}

/// Asks where the session is: which side, which moment, which transaction of this crate's, if it is in one at all.
pub(crate) fn whereabouts() -> Sql {
    sql!(
        "SELECT {} AS side, {} AS moment, {} AS transaction, {} AS inside",
        current("side"),
        current("moment"),
        current("transaction"),
        INSIDE
    )
}

fn current(name: &'static str) -> Sql {
    sql!("COALESCE(pg_catalog.current_setting('pgsteward.{}', true), '')", name)
}

/// What gives a transaction its name on the server, for as long as it is open.
pub(crate) fn name_transaction(name: &str) -> Sql {
    sql!("SET LOCAL pgsteward.transaction = {}", Lit(name))
}
