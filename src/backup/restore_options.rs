//! What pg_restore is told.
use super::arguments::Arguments;
use super::dump_options::{Content, Section};
use crate::error::Result;
use crate::sql::Ident;
use crate::version::ServerVersion;
use std::path::PathBuf;

/// What becomes of a restore when a statement fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// It ends there (`--exit-on-error`), with an error.
    #[default]
    Stop,
    /// It goes on; what failed is in [`RestoreReport::errors`](super::RestoreReport).
    Continue,
}

/// How a restore is cut into transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreTransaction {
    /// Each statement is one.
    #[default]
    None,
    /// `--single-transaction`: all or nothing. Not with several jobs, nor with [`Continue`](OnError::Continue).
    Single,
    /// `--transaction-size`: so many objects each. PostgreSQL 17; not with several jobs, nor with
    /// [`Continue`](OnError::Continue).
    Of(u32),
}

/// The options of [pg_restore](https://www.postgresql.org/docs/current/app-pgrestore.html), of PostgreSQL 12 to 18: all but
/// those of the connection and the input, and `--verbose`, which is always given: without it pg_restore does not say which
/// object an error is about. Names here are names, not patterns.
///
/// For a plain dump, which psql restores, there are only `on_error`, `transaction` (not [`Of`](RestoreTransaction::Of)) and
/// `role`; another one is refused by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// What becomes of it when a statement fails.
    pub on_error: OnError,
    /// How it is cut into transactions.
    pub transaction: RestoreTransaction,
    /// `--jobs`: how many sessions load data and make indexes at once. Not for the tar form, and not from a program.
    pub jobs: Option<u32>,
    /// Definitions, data, or both.
    pub content: Content,
    /// `--section`. None of them is all.
    pub sections: Vec<Section>,
    /// `--schema`: only what is in these schemas.
    pub schemas: Vec<String>,
    /// `--exclude-schema`.
    pub exclude_schemas: Vec<String>,
    /// `--table`: only these tables, views and sequences, without what depends on them.
    pub tables: Vec<String>,
    /// `--index`.
    pub indexes: Vec<String>,
    /// `--function`, with the types of the arguments as the list of contents has them: `f(integer)`.
    pub functions: Vec<String>,
    /// `--trigger`.
    pub triggers: Vec<String>,
    /// `--use-list`: a file with the entries to restore, in their order, on the machine where the program runs.
    pub list_file: Option<PathBuf>,
    /// `--filter`: a file of patterns, on the machine where the program runs. PostgreSQL 17.
    pub filter: Option<PathBuf>,
    /// `--strict-names`: each name of a schema, table, and so on must be in the dump.
    pub strict_names: bool,
    /// `--clean`: drop the objects before they are made.
    pub clean: bool,
    /// `--if-exists`: do so where they exist. Only with `clean`.
    pub if_exists: bool,
    /// `--create`: make the database that the dump is of, and restore into it.
    pub create: bool,
    /// `--disable-triggers`: while data is restored into tables that exist. Only for data alone.
    pub disable_triggers: bool,
    /// `--enable-row-security`.
    pub enable_row_security: bool,
    /// `--no-data-for-failed-tables`: a table that could not be made, since it exists, gets no data.
    pub no_data_for_failed_tables: bool,
    /// `--no-owner`: everything belongs to the role that restores.
    pub no_owner: bool,
    /// `--no-privileges`.
    pub no_privileges: bool,
    /// `--no-comments`.
    pub no_comments: bool,
    /// `--no-data`. PostgreSQL 18.
    pub no_data: bool,
    /// `--no-policies`. PostgreSQL 18.
    pub no_policies: bool,
    /// `--no-publications`.
    pub no_publications: bool,
    /// `--no-schema`. PostgreSQL 18.
    pub no_schema: bool,
    /// `--no-security-labels`.
    pub no_security_labels: bool,
    /// `--no-statistics`. PostgreSQL 18.
    pub no_statistics: bool,
    /// `--no-subscriptions`.
    pub no_subscriptions: bool,
    /// `--no-table-access-method`. PostgreSQL 15.
    pub no_table_access_method: bool,
    /// `--no-tablespaces`.
    pub no_tablespaces: bool,
    /// `--statistics`: with what the planner knew. PostgreSQL 18.
    pub statistics: bool,
    /// `--superuser`: the role that disables triggers.
    pub superuser: Option<String>,
    /// `--use-set-session-authorization`.
    pub use_set_session_authorization: bool,
    /// `--role`: the role to become. None is the role of the cluster's connection, if it has one.
    pub role: Option<String>,
}

impl RestoreOptions {
    /// All of the dump, up to the first error.
    pub fn new() -> Self {
        Self::default()
    }

    /// The arguments of a pg_restore of this version.
    ///
    /// # Errors
    /// As for [`DumpOptions::to_arguments`](super::DumpOptions::to_arguments).
    pub fn to_arguments(&self, version: &ServerVersion) -> Result<Vec<String>> {
        let mut arguments = Arguments::new("pg_restore", version);
        self.of_the_run(&mut arguments);
        self.of_the_content(&mut arguments);
        self.left_out(&mut arguments);
        arguments.finish()
    }

    fn of_the_run(&self, arguments: &mut Arguments<'_>) {
        let (whole, continues) = (self.transaction != RestoreTransaction::None, self.on_error == OnError::Continue);
        arguments.contradicts(whole && continues, "transaction", "after an error a transaction does not go on");
        let several = self.jobs.is_some_and(|jobs| jobs > 1);
        arguments.contradicts(whole && several, "jobs", "several sessions share no transaction");
        arguments.flag("--exit-on-error", !continues);
        arguments.flag("--single-transaction", self.transaction == RestoreTransaction::Single);
        let size = match self.transaction {
            RestoreTransaction::Of(objects) => Some(objects),
            _ => None,
        };
        arguments.value("--transaction-size", size);
        arguments.value("--jobs", self.jobs);
        arguments.value("--role", self.role.as_ref());
        // Without it, pg_restore does not say which object an error is about.
        arguments.flag("--verbose", true);
    }

    fn of_the_content(&self, arguments: &mut Arguments<'_>) {
        self.content.arguments(arguments);
        arguments.each("--section", &self.sections);
        arguments.each("--schema", &self.schemas);
        arguments.each("--exclude-schema", &self.exclude_schemas);
        arguments.each("--table", &self.tables);
        arguments.each("--index", &self.indexes);
        arguments.each("--function", &self.functions);
        arguments.each("--trigger", &self.triggers);
        arguments.path("--use-list", self.list_file.as_deref());
        arguments.path("--filter", self.filter.as_deref());
        arguments.flag("--strict-names", self.strict_names);
        arguments.flag("--clean", self.clean);
        arguments.flag("--if-exists", self.if_exists);
        arguments.flag("--create", self.create);
        arguments.flag("--disable-triggers", self.disable_triggers);
        arguments.flag("--enable-row-security", self.enable_row_security);
        arguments.flag("--no-data-for-failed-tables", self.no_data_for_failed_tables);
        arguments.flag("--statistics", self.statistics);
        arguments.value("--superuser", self.superuser.as_ref());
        arguments.flag("--use-set-session-authorization", self.use_set_session_authorization);
    }

    fn left_out(&self, arguments: &mut Arguments<'_>) {
        arguments.flag("--no-owner", self.no_owner);
        arguments.flag("--no-privileges", self.no_privileges);
        arguments.flag("--no-comments", self.no_comments);
        arguments.flag("--no-data", self.no_data);
        arguments.flag("--no-policies", self.no_policies);
        arguments.flag("--no-publications", self.no_publications);
        arguments.flag("--no-schema", self.no_schema);
        arguments.flag("--no-security-labels", self.no_security_labels);
        arguments.flag("--no-statistics", self.no_statistics);
        arguments.flag("--no-subscriptions", self.no_subscriptions);
        arguments.flag("--no-table-access-method", self.no_table_access_method);
        arguments.flag("--no-tablespaces", self.no_tablespaces);
    }

    /// The arguments of a psql that restores a plain dump from its standard input.
    pub(super) fn to_psql_arguments(&self, version: &ServerVersion) -> Result<Vec<String>> {
        let mut arguments = Arguments::new("psql", version);
        let understood =
            Self { on_error: self.on_error, transaction: self.transaction, role: self.role.clone(), ..Self::default() };
        let why = "a plain dump is restored as a whole: only on_error, transaction and role are for it";
        arguments.contradicts(*self != understood, "those of pg_restore", why);
        let sized = matches!(self.transaction, RestoreTransaction::Of(_));
        arguments.contradicts(sized, "transaction", "a plain dump is restored in one transaction, or in none");
        let (single, continues) = (self.transaction == RestoreTransaction::Single, self.on_error == OnError::Continue);
        arguments.contradicts(single && continues, "transaction", "after an error a transaction does not go on");
        arguments.flag("--no-psqlrc", true);
        arguments.flag("--quiet", true);
        arguments.value("--set", Some(format!("ON_ERROR_STOP={}", u8::from(!continues))));
        arguments.flag("--single-transaction", single);
        let role = self.role.as_ref().map(|role| sql!("SET ROLE {}", Ident(role)));
        if let Some(role) = &role {
            role.check()?;
        }
        arguments.value("--command", role.as_ref());
        arguments.value("--file", Some("-"));
        arguments.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p061_options_are_arguments_in_a_fixed_order() {
        let mut options = RestoreOptions::new();
        (options.jobs, options.content) = (Some(2), Content::DataOnly);
        (options.schemas, options.tables, options.functions) =
            (vec!["a b".into()], vec!["t".into()], vec!["f(integer)".into()]);
        (options.indexes, options.triggers, options.list_file) =
            (vec!["i".into()], vec!["g".into()], Some("/l".into()));
        (options.disable_triggers, options.no_owner, options.role) = (true, true, Some("r".into()));
        let made = options.to_arguments(&ServerVersion::parse("12.1").unwrap()).unwrap();
        let expected = [
            "--exit-on-error",
            "--jobs=2",
            "--role=r",
            "--verbose",
            "--data-only",
            "--schema=a b",
            "--table=t",
            "--index=i",
            "--function=f(integer)",
            "--trigger=g",
            "--use-list=/l",
            "--disable-triggers",
            "--no-owner",
        ];
        assert_eq!(made, expected);
    }

    #[test]
    fn psql_gets_what_it_can_do_and_the_rest_is_refused() {
        let version = ServerVersion::parse("15.3").unwrap();
        let mut options = RestoreOptions::new();
        (options.transaction, options.role) = (RestoreTransaction::Single, Some("it's \"me\"".into()));
        let expected = [
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--single-transaction",
            "--command=SET ROLE \"it's \"\"me\"\"\"",
            "--file=-",
        ];
        assert_eq!(options.to_psql_arguments(&version).unwrap(), expected);
        options.clean = true;
        assert!(options.to_psql_arguments(&version).is_err());
    }

    #[test]
    fn a_transaction_goes_neither_over_errors_nor_over_several_jobs() {
        let version = ServerVersion::parse("17.0").unwrap();
        for transaction in [RestoreTransaction::Single, RestoreTransaction::Of(10)] {
            let options = RestoreOptions { transaction, ..RestoreOptions::new() };
            assert!(options.to_arguments(&version).is_ok());
            let over_errors = RestoreOptions { on_error: OnError::Continue, ..options.clone() };
            assert!(over_errors.to_arguments(&version).is_err());
            assert!(RestoreOptions { jobs: Some(2), ..options }.to_arguments(&version).is_err());
        }
    }
}
