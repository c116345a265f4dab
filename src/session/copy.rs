//! Bytes that no log of statements sees.
use super::Session;
use crate::error::Result;
use crate::sides::Side;
use crate::sql::Sql;
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::Type;

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
}
