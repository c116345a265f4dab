//! One statement of the user's, and no more.
use super::Session;
use crate::error::Result;
use postgres::Row;
use postgres::types::ToSql;

impl Session {
    /// Runs one statement under the user's own settings. It is prepared, and the server refuses to prepare several.
    pub(crate) fn single(&self, action: &str, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
        let mut state = self.ready(action)?;
        state.hand_over(action)?;
        let result = state.call(action, |client| client.query(sql, parameters));
        self.look_back(&mut state, sql);
        result
    }
}
