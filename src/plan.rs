//! See before doing.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::script::Script;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Changes that were collected and not made: [`Cluster::plan`].
///
/// `Display` prints the statements as SQL that can be run, secrets as `'********'`. What no SQL by itself can do as
/// safely, a change of pg_hba.conf, prints as a comment with the differences: only [`apply`](Plan::apply) makes it.
pub struct Plan {
    cluster: Cluster,
    steps: Vec<Step>,
}

struct Step {
    script: Script,
    /// The database that it is for, where that is not the plan's own.
    elsewhere: Option<String>,
    /// None where the step before does it too.
    apply: Option<Apply>,
}

type Apply = Box<dyn FnOnce(&Cluster) -> Result<()> + Send>;

/// Where the writes of a plan go.
#[derive(Default)]
pub(crate) struct Recorder {
    steps: Arc<Mutex<Vec<Step>>>,
    elsewhere: Option<String>,
}

impl Recorder {
    /// Keeps a write: what it would send, and how to do it.
    pub(crate) fn record(&self, script: Script, apply: impl FnOnce(&Cluster) -> Result<()> + Send + 'static) {
        self.keep(script, Some(Box::new(apply)));
    }

    /// Keeps what the write before this one would send besides: later, or in another database.
    pub(crate) fn record_rest(&self, script: Script) {
        self.keep(script, None);
    }

    fn keep(&self, script: Script, apply: Option<Apply>) {
        let step = Step { script, elsewhere: self.elsewhere.clone(), apply };
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }

    /// The same plan, for writes in another database.
    pub(crate) fn elsewhere(&self, database: &str) -> Self {
        Self { steps: self.steps.clone(), elsewhere: Some(database.to_owned()) }
    }

    pub(crate) fn finish(&self, cluster: &Cluster) -> Plan {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        Plan { cluster: cluster.clone(), steps: std::mem::take(&mut steps) }
    }
}

impl Plan {
    /// The statements, in order, for whatever database they are; `Display` says for which. A change of pg_hba.conf is a
    /// comment among them.
    pub fn script(&self) -> Script {
        let mut script = Script::new();
        for step in &self.steps {
            script.append(step.script.clone());
        }
        script
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Makes the changes, in order, with the same checks as if they were made one by one: what
    /// somebody else changed since the plan was made is a conflict. All or nothing, unless one of
    /// them cannot run in a transaction or is for another database; then the log says how many were
    /// made before the one that failed.
    ///
    /// # Errors
    /// Those of the single changes.
    pub fn apply(self) -> Result<()> {
        let cluster = self.cluster;
        if self.steps.iter().all(Step::is_transactional) {
            let mut steps = self.steps.into_iter();
            return cluster.transaction(|| steps.try_for_each(|step| step.apply(&cluster)));
        }
        let count = self.steps.len();
        for (done, step) in self.steps.into_iter().enumerate() {
            step.apply(&cluster).inspect_err(|_| log::warn!("{done} of {count} steps of the plan were made"))?;
        }
        Ok(())
    }
}

impl Step {
    fn is_transactional(&self) -> bool {
        self.elsewhere.is_none() && self.script.parts().iter().all(|statement| !statement.alone)
    }

    fn apply(self, cluster: &Cluster) -> Result<()> {
        let Some(apply) = self.apply else { return Ok(()) };
        match &self.elsewhere {
            Some(database) => apply(&cluster.database(database)?),
            None => apply(cluster),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut here = &None;
        for step in &self.steps {
            if step.elsewhere != *here {
                here = &step.elsewhere;
                let name = here.as_deref().unwrap_or(self.cluster.current_database());
                // A line break would end the comment, and make SQL of the rest of the name.
                writeln!(f, "-- in database {:?}", name.replace(['\n', '\r'], " "))?;
            }
            step.script.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.script(), f)
    }
}

/// The error for what cannot wait until a plan is applied.
pub(crate) fn not_in_a_plan(what: &str) -> Error {
    Error::invalid(format!("use of {what} in a plan"), "it cannot be collected; call it outside the plan")
}

/// What a statement in a plan does that a read-only transaction does not refuse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Effect {
    /// It begins or ends a transaction or a savepoint: also the one around the plan.
    Transaction,
    /// It sets or resets settings.
    Setting,
    /// Nothing, or what is refused.
    Other,
}

pub(crate) fn effect_of(statement: &str) -> Effect {
    let rest = without_comments(statement);
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (word, rest) = rest.split_at_checked(end).unwrap_or((rest, ""));
    match word.to_ascii_uppercase().as_str() {
        "BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT" | "SAVEPOINT" | "RELEASE" => Effect::Transaction,
        "PREPARE" if without_comments(rest).to_ascii_uppercase().starts_with("TRANSACTION") => Effect::Transaction,
        "SET" | "RESET" | "DISCARD" => Effect::Setting,
        _ => Effect::Other,
    }
}

/// A text from its first word on: blanks, comments, and statements without a word are skipped.
fn without_comments(text: &str) -> &str {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == ';' || c == '\u{b}');
        if let Some(comment) = rest.strip_prefix("--") {
            rest = comment.split_once(['\n', '\r']).map_or("", |(_, rest)| rest);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = after_comment(comment);
        } else {
            return rest;
        }
    }
}

/// What follows a comment that was opened; such comments nest.
fn after_comment(text: &str) -> &str {
    let (mut depth, mut rest) = (1, text);
    while depth > 0 {
        let Some(at) = rest.find(['*', '/']) else { return "" };
        rest = rest.get(at..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix("*/") {
            (depth, rest) = (depth - 1, after);
        } else if let Some(after) = rest.strip_prefix("/*") {
            (depth, rest) = (depth + 1, after);
        } else {
            rest = rest.get(1..).unwrap_or_default();
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_would_slip_through_a_plan_are_known() {
        for (statement, effect) in [
            ("COMMIT", Effect::Transaction),
            (" ;-- so\n /* a /* b */ * / */ rollback to a", Effect::Transaction),
            ("prepare /**/ transaction 'x'", Effect::Transaction),
            ("PREPARE p AS SELECT 1", Effect::Other),
            ("begin", Effect::Transaction),
            ("SET search_path = a", Effect::Setting),
            ("SETTLE", Effect::Other),
            ("SELECT 'COMMIT'", Effect::Other),
            ("/* open", Effect::Other),
            ("", Effect::Other),
            ("-- only", Effect::Other),
        ] {
            assert_eq!(effect_of(statement), effect, "{statement}");
        }
    }
}
