//! What pg_dumpall --globals-only is told.
use super::arguments::Arguments;
use crate::error::Result;
use crate::version::ServerVersion;

/// Which of the objects that belong to no database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum GlobalObjects {
    /// Roles and tablespaces, and what is set and granted for them.
    #[default]
    All,
    /// `--roles-only`.
    Roles,
    /// `--tablespaces-only`.
    Tablespaces,
}

/// The options of [pg_dumpall --globals-only](https://www.postgresql.org/docs/current/app-pg-dumpall.html), of PostgreSQL 12
/// to 18. The dump is a plain one, a script for psql, with the verifiers of passwords unless told otherwise.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlobalsOptions {
    /// Roles, tablespaces or both.
    pub objects: GlobalObjects,
    /// `--clean`: drop them before they are made.
    pub clean: bool,
    /// `--if-exists`: do so where they exist. Only with `clean`.
    pub if_exists: bool,
    /// `--no-role-passwords`. Without it, only a superuser can dump.
    pub no_role_passwords: bool,
    /// `--no-owner`: of tablespaces.
    pub no_owner: bool,
    /// `--no-privileges`: on tablespaces and parameters.
    pub no_privileges: bool,
    /// `--no-tablespaces`.
    pub no_tablespaces: bool,
    /// `--no-comments`.
    pub no_comments: bool,
    /// `--no-security-labels`.
    pub no_security_labels: bool,
    /// `--quote-all-identifiers`.
    pub quote_all_identifiers: bool,
    /// `--encoding`.
    pub encoding: Option<String>,
    /// `--restrict-key`: for two dumps that are to be compared. The minor releases of August 2025.
    pub restrict_key: Option<String>,
    /// `--role`: the role to become. None is the role of the cluster's connection, if it has one.
    pub role: Option<String>,
    /// `--verbose`: tell each step, for [`Progress`](super::Progress).
    pub verbose: bool,
}

impl GlobalsOptions {
    /// The defaults: roles and tablespaces, with all that belongs to them.
    pub fn new() -> Self {
        Self::default()
    }

    /// The arguments of a pg_dumpall of this version.
    ///
    /// # Errors
    /// As for [`DumpOptions::to_arguments`](super::DumpOptions::to_arguments).
    pub fn to_arguments(&self, version: &ServerVersion) -> Result<Vec<String>> {
        let mut arguments = Arguments::new("pg_dumpall", version);
        arguments.flag("--globals-only", self.objects == GlobalObjects::All);
        arguments.flag("--roles-only", self.objects == GlobalObjects::Roles);
        arguments.flag("--tablespaces-only", self.objects == GlobalObjects::Tablespaces);
        arguments.flag("--clean", self.clean);
        arguments.flag("--if-exists", self.if_exists);
        arguments.flag("--no-role-passwords", self.no_role_passwords);
        arguments.flag("--no-owner", self.no_owner);
        arguments.flag("--no-privileges", self.no_privileges);
        arguments.flag("--no-tablespaces", self.no_tablespaces);
        arguments.flag("--no-comments", self.no_comments);
        arguments.flag("--no-security-labels", self.no_security_labels);
        arguments.flag("--quote-all-identifiers", self.quote_all_identifiers);
        arguments.value("--encoding", self.encoding.as_ref());
        arguments.value("--restrict-key", self.restrict_key.as_ref());
        arguments.value("--role", self.role.as_ref());
        arguments.flag("--verbose", self.verbose);
        arguments.finish()
    }
}
