//! The options of pg_restore, under their own names.
use super::super::backup::content::{Content, SectionName};
use super::super::backup::work::hand_over;
use clap::Args;
use pgsteward::backup::{OnError, RestoreOptions, RestoreTransaction};
use std::path::PathBuf;

/// What is restored, and how.
#[derive(Args, Clone)]
#[command(next_help_heading = "Options of pg_restore")]
pub(crate) struct RestoreArguments {
    /// Go on after an error, and tell of all at the end
    #[arg(long)]
    continue_on_error: bool,
    /// All or nothing
    #[arg(long, conflicts_with = "transaction_size")]
    single_transaction: bool,
    /// So many objects in each transaction (PostgreSQL 17)
    #[arg(long, value_name = "N")]
    transaction_size: Option<u32>,
    #[command(flatten)]
    content: Content,
    /// Only this part; can be given many times
    #[arg(long = "section", value_enum, value_name = "SECTION")]
    sections: Vec<SectionName>,
    /// Only what is in these schemas
    #[arg(long = "schema", value_name = "NAME")]
    schemas: Vec<String>,
    /// Nothing of these schemas
    #[arg(long = "exclude-schema", value_name = "NAME")]
    exclude_schemas: Vec<String>,
    /// Only these tables, views and sequences
    #[arg(long = "table", value_name = "NAME")]
    tables: Vec<String>,
    /// Only these indexes
    #[arg(long = "index", value_name = "NAME")]
    indexes: Vec<String>,
    /// Only these functions
    #[arg(long = "function", value_name = "NAME(TYPES)")]
    functions: Vec<String>,
    /// Only these triggers
    #[arg(long = "trigger", value_name = "NAME")]
    triggers: Vec<String>,
    /// The entries to restore, in their order, on the machine where pg_restore runs
    #[arg(long = "use-list", value_name = "FILE")]
    list_file: Option<PathBuf>,
    /// A file of patterns, on the machine where pg_restore runs (PostgreSQL 17)
    #[arg(long, value_name = "FILE")]
    filter: Option<PathBuf>,
    /// Each name must be in the dump
    #[arg(long)]
    strict_names: bool,
    /// Drop objects before they are made
    #[arg(long)]
    clean: bool,
    /// Drop them where they exist
    #[arg(long)]
    if_exists: bool,
    /// Without triggers while rows are restored; for data alone
    #[arg(long)]
    disable_triggers: bool,
    /// Only the rows that the role may write
    #[arg(long)]
    enable_row_security: bool,
    /// No rows for a table that could not be made
    #[arg(long)]
    no_data_for_failed_tables: bool,
    /// All belongs to the role that restores
    #[arg(long)]
    no_owner: bool,
    /// Not who may do what
    #[arg(long)]
    no_privileges: bool,
    /// No comments
    #[arg(long)]
    no_comments: bool,
    /// No rows (PostgreSQL 18)
    #[arg(long)]
    no_data: bool,
    /// No policies of row security (PostgreSQL 18)
    #[arg(long)]
    no_policies: bool,
    /// No publications
    #[arg(long)]
    no_publications: bool,
    /// No definitions (PostgreSQL 18)
    #[arg(long)]
    no_schema: bool,
    /// No security labels
    #[arg(long)]
    no_security_labels: bool,
    /// Not what the planner knew (PostgreSQL 18)
    #[arg(long)]
    no_statistics: bool,
    /// No subscriptions
    #[arg(long)]
    no_subscriptions: bool,
    /// Not the access methods of tables (PostgreSQL 15)
    #[arg(long)]
    no_table_access_method: bool,
    /// Not which tablespace something is in
    #[arg(long)]
    no_tablespaces: bool,
    /// With what the planner knew (PostgreSQL 18)
    #[arg(long)]
    statistics: bool,
    /// The role that disables triggers
    #[arg(long, value_name = "ROLE")]
    superuser: Option<String>,
    /// Say who owns what by SET SESSION AUTHORIZATION
    #[arg(long)]
    use_set_session_authorization: bool,
}

impl RestoreArguments {
    pub(crate) fn options(&self) -> RestoreOptions {
        let mut options = RestoreOptions::new();
        hand_over!(self.clone() => options: schemas, exclude_schemas, tables, indexes, functions, triggers, list_file, filter, strict_names, clean, if_exists, disable_triggers, enable_row_security, no_data_for_failed_tables, no_owner, no_privileges, no_comments, no_data, no_policies, no_publications, no_schema, no_security_labels, no_statistics, no_subscriptions, no_table_access_method, no_tablespaces, statistics, superuser, use_set_session_authorization;
            continue_on_error, single_transaction, transaction_size, content, sections);
        if continue_on_error {
            options.on_error = OnError::Continue;
        }
        options.transaction = match transaction_size {
            _ if single_transaction => RestoreTransaction::Single,
            Some(objects) => RestoreTransaction::Of(objects),
            None => RestoreTransaction::None,
        };
        options.content = content.into();
        options.sections = sections.into_iter().map(Into::into).collect();
        options
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.clean
    }
}
