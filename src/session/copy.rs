//! Bytes as they are: COPY of the crate's own.
use super::Session;
use crate::error::{Error, Result};
use crate::sides::Side;
use crate::sql::Sql;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::Type;
use std::io::{self, BufRead, Write};

impl Session {
    /// Runs a COPY FROM STDIN (FORMAT binary) of the crate's own into one column of type bytea, with one row.
    pub(crate) fn copy_in(&self, action: &str, sql: &Sql, value: &[u8]) -> Result<()> {
        sql.check()?;
        let mut state = self.ready(action)?;
        state.switch(Side::Own, action)?;
        log::debug!("{sql}");
        state.call(action, |client| {
            let mut writer = BinaryCopyInWriter::new(client.copy_in(sql.text())?, &[Type::BYTEA]);
            writer.write(&[&value])?;
            writer.finish().map(drop)
        })
    }

    /// Runs a COPY FROM STDIN of the crate's own with all that a reader gives, or none of it; returns how many rows
    /// there were.
    pub(crate) fn copy_from(&self, action: &str, sql: &Sql, reader: &mut impl BufRead) -> Result<u64> {
        sql.check()?;
        let mut state = self.ready(action)?;
        state.switch(Side::Own, action)?;
        log::debug!("{sql}");
        state.call(action, |client| {
            let mut writer = client.copy_in(sql.text())?;
            match io::copy(reader, &mut writer) {
                Ok(_) => writer.finish().map(Ok),
                Err(error) => Ok(Err(of_the_stream(action, error))),
            }
        })?
    }

    /// Runs a COPY TO STDOUT of the crate's own into a writer.
    pub(crate) fn copy_to(&self, action: &str, sql: &Sql, writer: &mut impl Write) -> Result<()> {
        sql.check()?;
        let mut state = self.ready(action)?;
        state.switch(Side::Own, action)?;
        log::debug!("{sql}");
        state.call(action, |client| {
            let mut reader = client.copy_out(sql.text())?;
            Ok(io::copy(&mut reader, writer).map(drop).map_err(|error| of_the_stream(action, error)))
        })?
    }
}

/// The driver's own errors travel inside those of streams.
fn of_the_stream(action: &str, error: io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<postgres::Error>()) {
        Some(driver) => Error::driver(action, driver),
        None => Error::io(action, error),
    }
}
