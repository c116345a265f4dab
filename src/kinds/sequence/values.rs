//! Where a sequence stands: what is asked of it and said to it at once.
use super::Sequence;
use crate::error::{Error, Result};
use crate::object::Object;
use crate::plan;
use crate::row::Row;
use crate::sql::{Lit, Sql};

/// Where a sequence is to stand: the last argument of
/// [`setval`](https://www.postgresql.org/docs/current/functions-sequence.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceValue {
    /// The value was used (`is_called` true): the next one is an increment further.
    Used(i64),
    /// The value is the next one (`is_called` false).
    Next(i64),
}

/// The name as a value: `'"app"."orders_id_seq"'::regclass`.
fn regclass(name: &Sql) -> Sql {
    sql!("{}::pg_catalog.regclass", Lit(&name.to_string()))
}

pub(super) fn setval(name: &Sql, value: SequenceValue) -> Sql {
    let (value, is_called) = match value {
        SequenceValue::Used(value) => (value, "true"),
        SequenceValue::Next(value) => (value, "false"),
    };
    sql!("pg_catalog.setval({}, {}, {})", regclass(name), value, is_called)
}

impl Object<Sequence> {
    /// Makes the [start](Sequence::start) that the server has the next value. Undone with its transaction.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it was dropped, replaced or renamed since it was read.
    pub fn restart(&mut self) -> Result<()> {
        let script = sql!("ALTER SEQUENCE {} RESTART", self.server().qualified());
        self.perform("restart", script.into())
    }

    /// Makes this the next value. Undone with its transaction, unlike [`setval`](Object::setval).
    ///
    /// # Errors
    /// [`Error::Server`] for a value out of range; [`Error::Conflict`] as for [`restart`](Object::restart).
    pub fn restart_with(&mut self, value: i64) -> Result<()> {
        let script = sql!("ALTER SEQUENCE {} RESTART WITH {}", self.server().qualified(), value);
        self.perform("restart", script.into())
    }

    /// Says where the sequence stands, at once: no transaction undoes it, and none of others waits for it
    /// ([`setval`](https://www.postgresql.org/docs/current/functions-sequence.html)).
    ///
    /// # Errors
    /// [`Error::Server`] for a value out of range; [`Error::Conflict`] as for [`restart`](Object::restart).
    pub fn setval(&mut self, value: SequenceValue) -> Result<()> {
        let name = sql!("{}", self.server().qualified());
        self.perform("set the value of", sql!("SELECT {}", setval(&name, value)).into())
    }

    /// The next value, which nobody else gets
    /// ([`nextval`](https://www.postgresql.org/docs/current/functions-sequence.html)).
    ///
    /// # Errors
    /// [`Error::NotFound`] if the sequence is gone, [`Error::Server`] at the end of its range,
    /// [`Error::Denied`] without `USAGE` or `UPDATE`, [`Error::Invalid`] in a plan, which has no values to give.
    pub fn nextval(&mut self) -> Result<i64> {
        if self.cluster().plan_in_progress()?.is_some() {
            return Err(plan::not_in_a_plan("the next value of a sequence"));
        }
        let value = self.ask("take the next value of", &sql!("pg_catalog.nextval(c.oid::pg_catalog.regclass)"))?;
        value.number("value")
    }

    /// The value that [`nextval`](Object::nextval), or a column's default, last took on this connection
    /// ([`currval`](https://www.postgresql.org/docs/current/functions-sequence.html)).
    ///
    /// # Errors
    /// [`Error::Server`] (55000) if none was taken on this connection; [`Error::NotFound`] if the sequence is gone.
    pub fn currval(&self) -> Result<i64> {
        let value = self.ask("read the current value of", &sql!("pg_catalog.currval(c.oid::pg_catalog.regclass)"))?;
        value.number("value")
    }

    /// The last value that any session took; none before the first. With a [cache](Sequence::cache)
    /// it is the last of those that were set aside.
    ///
    /// # Errors
    /// [`Error::Denied`] without `USAGE` or `SELECT`; [`Error::NotFound`] if the sequence is gone;
    /// [`Error::Unsupported`] for an unlogged one on a standby, which does not have its values.
    pub fn last_value(&self) -> Result<Option<i64>> {
        // A standby says NULL, as for a sequence that was never used, or fails.
        let lacking = "c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery()";
        let last = sql!("CASE WHEN {} THEN 'lacking' ELSE pg_catalog.pg_sequence_last_value(c.oid)::text END", lacking);
        let value = self.ask("read the last value of", &last)?;
        // Newer servers say NULL where older ones refuse.
        if !value.truth("allowed")? {
            return Err(Error::Denied {
                action: format!("read the last value of {}", self.title()),
                reason: "permission denied".into(),
                remedy: format!("GRANT SELECT ON SEQUENCE {} TO the current role", self.server().qualified()),
            });
        }
        if value.optional("value")?.as_deref() == Some("lacking") {
            let what = format!("the last value of the unlogged {} on a standby", self.title());
            return Err(Error::unsupported(what, "a connection to the primary"));
        }
        value.optional_number("value")
    }

    /// Asks the server for a number about the sequence, under whatever name it goes now.
    fn ask(&self, action: &str, value: &Sql) -> Result<Row> {
        let (title, oid) = (self.title(), self.server().oid);
        let question = sql!(
            "SELECT {} AS value, pg_catalog.has_sequence_privilege(c.oid, 'USAGE, SELECT') AS allowed \
             FROM pg_catalog.pg_class c WHERE c.oid = {} AND c.relkind = 'S'",
            value,
            oid
        );
        let answers = self.cluster().session().run(&format!("{action} {title}"), &[question])?;
        answers.into_iter().flatten().next().ok_or(Error::NotFound { what: title })
    }
}
