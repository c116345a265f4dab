//! The options of pg_dump, under their own names but for the format.
use super::compression::compression;
use super::content::{Content, SectionName};
use super::work::hand_over;
use clap::{Args, ValueEnum};
use pgsteward::backup::{Compression, DumpFormat, DumpOptions, LargeObjectData, RowForm, Sync};
use std::path::PathBuf;
use std::time::Duration;

/// What is dumped, and how.
#[derive(Args, Clone)]
#[command(next_help_heading = "Options of pg_dump")]
pub(crate) struct DumpArguments {
    /// The form of the dump
    #[arg(long, value_enum, default_value_t = FormatName::Custom, value_name = "FORMAT")]
    dump_format: FormatName,
    #[command(flatten)]
    content: Content,
    /// Only this part; can be given many times
    #[arg(long = "section", value_enum, value_name = "SECTION")]
    sections: Vec<SectionName>,
    /// Large objects also where schemas or tables are chosen
    #[arg(long, visible_alias = "blobs", conflicts_with = "no_large_objects")]
    large_objects: bool,
    /// No large objects
    #[arg(long, visible_alias = "no-blobs")]
    no_large_objects: bool,
    /// Rows as INSERTs
    #[arg(long)]
    inserts: bool,
    /// Rows as INSERTs with the names of the columns
    #[arg(long, conflicts_with = "inserts")]
    column_inserts: bool,
    /// Do not wait until the files are on the disk
    #[arg(long)]
    no_sync: bool,
    /// How the files are brought to the disk; syncfs for the directory format (PostgreSQL 17)
    #[arg(long, value_enum, value_name = "METHOD", conflicts_with = "no_sync")]
    sync_method: Option<SyncMethod>,
    /// How long to wait for a table that somebody has locked
    #[arg(long, value_name = "MILLISECONDS")]
    lock_wait_timeout: Option<u64>,
    /// How many tables are read at once; for the directory format
    #[arg(long, value_name = "N")]
    jobs: Option<u32>,
    /// none, 1 to 9, gzip:LEVEL, lz4, lz4:LEVEL, zstd, zstd:LEVEL, zstd:long, zstd:level=LEVEL,long
    #[arg(long = "compress", value_name = "METHOD", value_parser = compression)]
    compression: Option<Compression>,
    /// Only these schemas
    #[arg(long = "schema", value_name = "PATTERN")]
    schemas: Vec<String>,
    /// Not these schemas
    #[arg(long = "exclude-schema", value_name = "PATTERN")]
    exclude_schemas: Vec<String>,
    /// Only these tables, views and sequences
    #[arg(long = "table", value_name = "PATTERN")]
    tables: Vec<String>,
    /// The same, with partitions and what inherits (PostgreSQL 16)
    #[arg(long = "table-and-children", value_name = "PATTERN")]
    tables_and_children: Vec<String>,
    /// Not these tables
    #[arg(long = "exclude-table", value_name = "PATTERN")]
    exclude_tables: Vec<String>,
    /// The same, with partitions and what inherits (PostgreSQL 16)
    #[arg(long = "exclude-table-and-children", value_name = "PATTERN")]
    exclude_tables_and_children: Vec<String>,
    /// These tables without their rows
    #[arg(long, value_name = "PATTERN")]
    exclude_table_data: Vec<String>,
    /// The same, with partitions and what inherits (PostgreSQL 16)
    #[arg(long, value_name = "PATTERN")]
    exclude_table_data_and_children: Vec<String>,
    /// Only these extensions (PostgreSQL 14)
    #[arg(long = "extension", value_name = "PATTERN")]
    extensions: Vec<String>,
    /// Not these extensions (PostgreSQL 17)
    #[arg(long = "exclude-extension", value_name = "PATTERN")]
    exclude_extensions: Vec<String>,
    /// The rows of the foreign tables of these servers too (PostgreSQL 13)
    #[arg(long, value_name = "PATTERN")]
    include_foreign_data: Vec<String>,
    /// A file of patterns, on the machine where pg_dump runs (PostgreSQL 17)
    #[arg(long, value_name = "FILE")]
    filter: Option<PathBuf>,
    /// Each pattern must match something
    #[arg(long)]
    strict_names: bool,
    /// Drop objects before they are made
    #[arg(long)]
    clean: bool,
    /// Drop them where they exist
    #[arg(long)]
    if_exists: bool,
    /// With the database itself
    #[arg(long)]
    create: bool,
    /// The encoding of the dump
    #[arg(long, value_name = "ENCODING")]
    encoding: Option<String>,
    /// How many rows an INSERT has
    #[arg(long, value_name = "N")]
    rows_per_insert: Option<u32>,
    /// INSERTs pass over rows that are there
    #[arg(long)]
    on_conflict_do_nothing: bool,
    /// Quote the bodies of functions as strings
    #[arg(long)]
    disable_dollar_quoting: bool,
    /// Without triggers while rows are restored; for the plain format
    #[arg(long)]
    disable_triggers: bool,
    /// Only the rows that the role may see
    #[arg(long)]
    enable_row_security: bool,
    /// The value of that setting
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    extra_float_digits: Option<i32>,
    /// Rows of partitions go through their root
    #[arg(long)]
    load_via_partition_root: bool,
    /// Not who owns what
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
    /// Not what the planner knows (PostgreSQL 18)
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
    /// Not the compression of columns (PostgreSQL 14)
    #[arg(long)]
    no_toast_compression: bool,
    /// Unlogged tables without their rows
    #[arg(long)]
    no_unlogged_table_data: bool,
    /// The values of sequences also where there are no rows (PostgreSQL 18)
    #[arg(long)]
    sequence_data: bool,
    /// With what the planner knows (PostgreSQL 18)
    #[arg(long)]
    statistics: bool,
    /// Quote every name
    #[arg(long)]
    quote_all_identifiers: bool,
    /// The key of a plain dump that is to be compared with another
    #[arg(long, value_name = "KEY")]
    restrict_key: Option<String>,
    /// Wait for a moment in which no serialization can fail
    #[arg(long)]
    serializable_deferrable: bool,
    /// The snapshot that another session has exported
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// The role that disables triggers; for the plain format
    #[arg(long, value_name = "ROLE")]
    superuser: Option<String>,
    /// Say who owns what by SET SESSION AUTHORIZATION
    #[arg(long)]
    use_set_session_authorization: bool,
    /// The role to become
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum FormatName {
    /// One compressed file, of which parts can be restored
    Custom,
    /// A directory with a file for each table
    Directory,
    /// A tar file of that
    Tar,
    /// A script for psql
    Plain,
}

impl From<FormatName> for DumpFormat {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Custom => Self::Custom,
            FormatName::Directory => Self::Directory,
            FormatName::Tar => Self::Tar,
            FormatName::Plain => Self::Plain,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum SyncMethod {
    Fsync,
    Syncfs,
}

impl DumpArguments {
    pub(crate) fn options(&self, verbose: bool) -> DumpOptions {
        let mut options = DumpOptions::new();
        hand_over!(self.clone() => options: jobs, compression, schemas, exclude_schemas, tables, tables_and_children, exclude_tables, exclude_tables_and_children, exclude_table_data, exclude_table_data_and_children, extensions, exclude_extensions, include_foreign_data, filter, strict_names, clean, if_exists, create, encoding, rows_per_insert, on_conflict_do_nothing, disable_dollar_quoting, disable_triggers, enable_row_security, extra_float_digits, load_via_partition_root, no_owner, no_privileges, no_comments, no_data, no_policies, no_publications, no_schema, no_security_labels, no_statistics, no_subscriptions, no_table_access_method, no_tablespaces, no_toast_compression, no_unlogged_table_data, sequence_data, statistics, quote_all_identifiers, restrict_key, serializable_deferrable, snapshot, superuser, use_set_session_authorization, role;
            dump_format, content, sections, large_objects, no_large_objects, inserts, column_inserts, no_sync, sync_method,
            lock_wait_timeout);
        options.format = dump_format.into();
        options.content = content.into();
        options.sections = sections.into_iter().map(Into::into).collect();
        options.large_objects = match (large_objects, no_large_objects) {
            (true, _) => LargeObjectData::Include,
            (_, true) => LargeObjectData::Exclude,
            _ => LargeObjectData::AsUsual,
        };
        options.row_form = match (inserts, column_inserts) {
            (true, _) => RowForm::Inserts,
            (_, true) => RowForm::ColumnInserts,
            _ => RowForm::Copy,
        };
        options.sync = match sync_method {
            _ if no_sync => Sync::No,
            Some(SyncMethod::Syncfs) => Sync::Syncfs,
            Some(SyncMethod::Fsync) | None => Sync::Fsync,
        };
        options.lock_wait_timeout = lock_wait_timeout.map(Duration::from_millis);
        options.verbose = verbose;
        options
    }
}
