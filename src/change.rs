//! Sending a change of an object, checked before and after: see docs/design.md, "The conflict check".
use crate::error::{Error, Result};
use crate::fate::Within;
use crate::kind::{Definition, Key, Kind, Which};
use crate::object::{Object, share_definition};
use crate::row::Row;
use crate::script::Script;
use crate::sql::Sql;
use crate::transaction::Atomic;
use crate::version::ServerVersion;
use std::sync::Arc;

impl<T: Kind> Object<T> {
    /// Sends a change, checked before and after. With `wanted` the object is there afterwards,
    /// without it it is gone.
    pub(crate) fn change(&self, action: &str, script: &Script, wanted: Option<&T>) -> Result<(Option<T>, Within)> {
        if T::DRAGS_CONNECTIONS {
            self.cluster().disconnect_others();
        }
        let session = self.cluster().session();
        if script.parts().iter().any(|statement| statement.alone) {
            return self.change_alone(action, script, wanted).map(|after| (after, None));
        }
        session.atomically(action, |transaction| self.change_in(transaction, script, wanted))
    }

    fn change_in(&self, transaction: &Atomic<'_>, script: &Script, wanted: Option<&T>) -> Result<Option<T>> {
        let now = self.answer(&transaction.send(&self.questions(self.server(), wanted))?)?;
        let now = self.check_before(now, script, wanted)?;
        if let Some(wanted) = wanted.filter(|wanted| self.server().is_replaced_by(wanted)) {
            return self.replace_in(transaction, script, wanted);
        }
        // What a plan made has had an identity only since it was applied.
        let look = self.questions(if self.server().oid() == 0 { &now } else { self.server() }, wanted);
        let mut statements: Vec<Sql> = script.statements().cloned().collect();
        statements.extend(look.iter().cloned());
        let mut answers = transaction.send(&statements)?;
        let after = self.answer(&answers.split_off(answers.len().saturating_sub(look.len())))?;
        self.check_after(after, script, wanted)
    }

    /// A change that makes another object, with another OID, in place of this one.
    fn replace_in(&self, transaction: &Atomic<'_>, script: &Script, wanted: &T) -> Result<Option<T>> {
        let version = self.cluster().version();
        let mut statements: Vec<Sql> = script.statements().cloned().collect();
        statements.push(T::query(Which::Oids(&[self.server().oid()]), version));
        statements.push(T::query(Which::Key(&wanted.key()), version));
        match transaction.send(&statements)?.as_slice() {
            [.., old, new] if old.is_empty() => new.first().map(T::read).transpose(),
            _ => Err(self.conflict(script, "another object under its name by now")),
        }
    }

    /// A change that PostgreSQL runs outside transactions only.
    fn change_alone(&self, action: &str, script: &Script, wanted: Option<&T>) -> Result<Option<T>> {
        let session = self.cluster().session();
        if script.len() > 1 {
            return Err(Error::invalid(
                format!("attempt to {action}"),
                "PostgreSQL cannot do these changes all or nothing; alter this by itself: ".to_owned()
                    + &script
                        .parts()
                        .iter()
                        .filter(|s| s.alone)
                        .map(|s| s.sql.to_string())
                        .collect::<Vec<_>>()
                        .join("; "),
            ));
        }
        let look = self.questions(self.server(), wanted);
        let now = self.answer(&session.run(action, &look)?)?;
        self.check_before(now, script, wanted)?;
        for statement in script.statements() {
            session.run(action, std::slice::from_ref(statement))?;
        }
        let after = self.answer(&session.run(action, &look)?)?;
        self.check_after(after, script, wanted)
    }

    /// What is asked before and after a change: the object, and its definition if that changes.
    fn questions(&self, object: &T, wanted: Option<&T>) -> Vec<Sql> {
        let version = self.cluster().version();
        let mut questions = vec![again(object, version)];
        if self.changes_definition(wanted) {
            questions.extend(T::Definition::queries(Some(object.oid()), version));
        }
        questions
    }

    fn changes_definition(&self, wanted: Option<&T>) -> bool {
        wanted.is_some_and(|wanted| crate::kind::definitions(&**self.server(), wanted).is_some())
    }

    fn answer(&self, answers: &[Vec<Row>]) -> Result<Option<T>> {
        let Some((objects, parts)) = answers.split_first() else { return Ok(None) };
        let Some(now) = objects.first().map(T::read).transpose()? else { return Ok(None) };
        if !parts.is_empty() {
            let definition = T::Definition::read(parts)?.remove(&now.oid());
            // The transaction of the value covers it.
            if let Some((cell, definition)) = now.definition_cell().zip(definition) {
                cell.set(Arc::new(definition), None);
            }
        }
        Ok(Some(now))
    }

    /// Refuses if the object on the server is not the one that was read.
    fn check_before(&self, now: Option<T>, script: &Script, wanted: Option<&T>) -> Result<T> {
        let (server, version) = (self.server(), self.cluster().version());
        let now =
            now.ok_or_else(|| self.conflict(script, "no such object: it was dropped, or what made it was undone"))?;
        if now.key() != server.key() {
            return Err(self.conflict(script, &format!("it under the name {}", now.key().title())));
        }
        if !server.is_same(&now) {
            return Err(self.conflict(script, "another object under its name"));
        }
        // What a plan made had, when it was planned, only what was asked for.
        let made_since = server.oid() == 0 && now.oid() != 0;
        let Some(wanted) = wanted.filter(|_| !made_since) else { return Ok(now) };
        let (theirs, still) = (server.to_alter(&now, version), now.to_alter(wanted, version));
        if server.is_replaced_by(wanted) {
            // Whatever somebody else changed, or added, would be lost.
            still.check()?;
            return match theirs.fields().next() {
                None => Ok(now),
                Some(_) => Err(self.conflict(script, &one_line(&theirs))),
            };
        }
        let both = script.fields().find(|field| {
            theirs.fields().any(|changed| changed == *field) && still.fields().any(|needed| needed == *field)
        });
        match both {
            None => Ok(now),
            Some(field) => {
                Err(Error::Conflict { what: self.title(), mine: about(script, field), theirs: about(&theirs, field) })
            }
        }
    }

    /// Refuses if the change hit another object: a statement that waited for a lock looks its
    /// name up again, and may find another object under it. Refuses too if the server did not do what it was told.
    fn check_after(&self, after: Option<T>, script: &Script, wanted: Option<&T>) -> Result<Option<T>> {
        match (&after, wanted) {
            (None, None) => Ok(None),
            (Some(after), Some(wanted)) if after.key() == wanted.key() => {
                self.server().check_taken(wanted, after)?;
                if !self.changes_definition(Some(wanted)) {
                    share_definition(wanted, after);
                }
                Ok(Some(after.clone()))
            }
            _ => Err(self.conflict(script, "another object under its name by now")),
        }
    }

    fn conflict(&self, script: &Script, theirs: &str) -> Error {
        Error::Conflict { what: self.title(), mine: one_line(script), theirs: theirs.into() }
    }
}

/// The query that finds an object again: by what stays, where it has that.
pub(crate) fn again<T: Kind>(object: &T, server: &ServerVersion) -> Sql {
    match object.oid() {
        0 => T::query(Which::Key(&object.key()), server),
        oid => T::query(Which::Oids(&[oid]), server),
    }
}

/// The statements, with semicolons between.
fn one_line(script: &Script) -> String {
    script.statements().map(Sql::to_string).collect::<Vec<_>>().join("; ")
}

/// The statements of a script that change a field.
fn about(script: &Script, field: &crate::script::Field) -> String {
    let statements = script.parts().iter().filter(|statement| statement.fields.contains(field));
    statements.map(|statement| statement.sql.to_string()).collect::<Vec<_>>().join("; ")
}
