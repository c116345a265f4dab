//! The queries that a connection keeps prepared: their text takes one round trip less the next time.
use super::connection::Connection;
use postgres::error::SqlState;
use postgres::{Client, Error, Statement};
use std::collections::HashMap;

/// The longest text that is kept, in bytes: a server process may need some 40 times as much memory for it.
const LONGEST: usize = 8192;

/// The statements of one connection, by their texts.
pub(super) struct Statements {
    most: usize,
    kept: HashMap<String, Kept>,
    /// How often one was looked for.
    uses: u64,
}

struct Kept {
    statement: Statement,
    /// Its last use.
    used: u64,
}

impl Statements {
    pub(super) fn new(most: usize) -> Self {
        Self { most, kept: HashMap::new(), uses: 0 }
    }

    fn find(&mut self, text: &str) -> Option<Statement> {
        self.uses += 1;
        let kept = self.kept.get_mut(text)?;
        kept.used = self.uses;
        Some(kept.statement.clone())
    }

    /// Keeps none from now on.
    pub(super) fn end(&mut self) {
        self.most = 0;
        self.kept.clear();
    }

    /// Keeps one, in the place of the one that was not used for longest if there is no room.
    fn keep(&mut self, text: &str, statement: Statement) {
        if self.most == 0 || !may_be_kept(text) {
            return;
        }
        if self.kept.len() >= self.most {
            let oldest = self.kept.iter().min_by_key(|(_, kept)| kept.used).map(|(text, _)| text.clone());
            oldest.map(|text| self.kept.remove(&text));
        }
        self.kept.insert(text.to_owned(), Kept { statement, used: self.uses });
    }
}

impl Connection {
    /// Prepares a text, unless it is prepared already, and executes it by the closure; again if the server says that
    /// what was prepared before does not hold anymore.
    pub(super) fn prepared<R>(
        &mut self,
        text: &str,
        mut execute: impl FnMut(&mut Client, &Statement) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let (client, statements) = (&mut self.client, &mut self.known.statements);
        let mut first = None;
        if let Some(statement) = statements.find(text) {
            match execute(client, &statement) {
                Ok(result) => return Ok(result),
                Err(error) => {
                    // Whatever it was, the next one begins anew.
                    statements.kept.remove(text);
                    if !is_outdated(&error) {
                        return Err(error);
                    }
                    first = Some(error);
                }
            }
        }
        let result = client.prepare(text).and_then(|statement| {
            let result = execute(client, &statement)?;
            statements.keep(text, statement);
            Ok(result)
        });
        result.map_err(|error| match first {
            // The first error has ended the transaction.
            Some(first) if error.code() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION) => first,
            _ => error,
        })
    }
}

/// Whether a text may be kept: a query that says the same in every session. The settings of whoever prepared it have a say in
/// literals (`DateStyle`, `TimeZone`, `standard_conforming_strings`), which have quotation marks or dollars, and in `= NULL`
/// (`transform_null_equals`); the time has one in the types of parameters, which stay when those of columns change. A
/// `search_path` and a role are the server's to compare.
fn may_be_kept(text: &str) -> bool {
    let has = |word: &str| text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()));
    let begins = text.trim_start().get(..6).is_some_and(|word| word.eq_ignore_ascii_case("select"));
    begins && text.len() <= LONGEST && !text.contains(['\'', '$']) && !has("null")
}

/// Whether a prepared statement cannot be executed anymore: what it names has other columns now, or it was deallocated. Then
/// nothing of it was executed. The same from within a function or a procedure has a context, and comes after a part that
/// may have been committed.
fn is_outdated(error: &Error) -> bool {
    error.as_db_error().filter(|error| error.where_().is_none()).is_some_and(|error| {
        *error.code() == SqlState::INVALID_SQL_STATEMENT_NAME
            || (*error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.routine() == Some("RevalidateCachedQuery"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_kept_is_a_query_that_says_the_same_in_every_session() {
        for text in ["SELECT 1", "\n  select n, \"N\" FROM public.t WHERE n < 1.5"] {
            assert!(may_be_kept(text), "{text}");
        }
        for text in [
            "",
            "é",
            "DELETE FROM t",
            "CALL p()",
            "SELECT '1'",
            "SELECT date '01.02.2026'",
            "SELECT $$a$$",
            "SELECT $1::int",
            "SELECT n FROM t WHERE n = Null",
        ] {
            assert!(!may_be_kept(text), "{text}");
        }
        assert!(!may_be_kept(&format!("SELECT {}", "1 + ".repeat(LONGEST))));
    }
}
