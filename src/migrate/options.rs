//! Whose migrations, and how they are treated.
#[cfg(doc)]
use super::Migrator;
use std::time::Duration;

/// Whose migrations these are, and how they are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MigrateOptions {
    /// Whose migrations they are: several modules may share a schema and the table. The default is `default`.
    pub module: String,
    /// The schema that they are for. What they name without a schema is in it, and so is the table in which they are
    /// recorded. The default is `public`.
    pub schema: String,
    /// What is done when there is no such schema.
    pub missing_schema: MissingSchema,
    /// More schemas in which names without one are looked for, behind that of the migrations: one with extensions, say.
    /// By default there are none, so that a name never means what belongs to somebody else.
    pub search_path: Vec<String>,
    /// The table in which it is recorded what was applied. The default is `pgsteward_migrations`.
    pub table: String,
    /// How long to wait, at most, while another migrator of the same module is at work. The default is 10 minutes.
    pub lock_wait: Duration,
}

/// What is done when the schema of migrations is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingSchema {
    /// It is an error: the schema may be misspelt.
    #[default]
    Refuse,
    /// It is made, and belongs to the current role.
    Create,
}

impl Default for MigrateOptions {
    fn default() -> Self {
        Self {
            module: "default".into(),
            schema: "public".into(),
            missing_schema: MissingSchema::default(),
            search_path: Vec::new(),
            table: "pgsteward_migrations".into(),
            lock_wait: Duration::from_secs(600),
        }
    }
}

impl MigrateOptions {
    /// The defaults: the module `default` in the schema `public`.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same for a module in the schema of its name.
    pub fn for_module(name: impl Into<String>) -> Self {
        let name = name.into();
        Self { module: name.clone(), schema: name, ..Self::default() }
    }
}

/// What is done about one migration that something is wrong with: [`Migrator::repair`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// One that was edited, or is incomplete, counts as applied with its file as it is now. So does one that came late, and
    /// is recorded like those of a [`baseline`](Migrator::baseline): somebody has run it by hand, or its record was
    /// removed.
    Accept,
    /// What is recorded of it is removed: one whose file is gone is no longer missed, and one with a file will be run
    /// from its beginning.
    Forget,
    /// An incomplete one goes on behind the statements that are recorded as done, with its file as it is now. What is set
    /// by those that are done (`SET`, `RESET`) is set again.
    Resume,
}
