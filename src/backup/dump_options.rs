//! What pg_dump is told.
use super::arguments::Arguments;
use crate::error::Result;
use crate::version::ServerVersion;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The form of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DumpFormat {
    /// One compressed file, from which pg_restore can choose what to restore, and restore with several jobs.
    #[default]
    Custom,
    /// A directory with a file for each table; the only one that is written with several jobs.
    Directory,
    /// A tar file of the directory form, not compressed.
    Tar,
    /// A script for psql.
    Plain,
}

impl DumpFormat {
    /// The name that pg_dump has for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Custom => "custom",
            Self::Directory => "directory",
            Self::Tar => "tar",
            Self::Plain => "plain",
        }
    }

    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Custom, Self::Directory, Self::Tar, Self::Plain].into_iter().find(|format| format.name() == name)
    }
}

/// Which of definitions, data and statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// Definitions and data.
    #[default]
    Everything,
    /// `--schema-only`: the definitions.
    SchemaOnly,
    /// `--data-only`: the data.
    DataOnly,
    /// `--statistics-only`: what the planner knows of the data. PostgreSQL 18.
    StatisticsOnly,
}

impl Content {
    pub(super) fn arguments(self, arguments: &mut Arguments<'_>) {
        arguments.flag("--schema-only", self == Self::SchemaOnly);
        arguments.flag("--data-only", self == Self::DataOnly);
        arguments.flag("--statistics-only", self == Self::StatisticsOnly);
    }
}

/// A third of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Section {
    /// All definitions but those of [`PostData`](Section::PostData).
    PreData,
    /// The data, large objects, and the values of sequences.
    Data,
    /// Indexes, triggers, rules, and constraints that are checked when the data is there.
    PostData,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PreData => "pre-data",
            Self::Data => "data",
            Self::PostData => "post-data",
        })
    }
}

/// Whether large objects are in a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LargeObjectData {
    /// Where data is, unless schemas or tables were chosen.
    #[default]
    AsUsual,
    /// Also where schemas or tables were chosen.
    Include,
    /// In no case.
    Exclude,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowForm {
    /// `COPY`, the fastest to restore.
    #[default]
    Copy,
    /// `--inserts`.
    Inserts,
    /// `--column-inserts`: with the names of the columns.
    ColumnInserts,
}

/// How a dump is compressed. What the server's or this machine's pg_dump was built without, it refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, from 1 (fast) to 9 (small).
    Gzip(u8),
    /// LZ4, from 1 to 12, or at its default level. PostgreSQL 16.
    Lz4(Option<u8>),
    /// Zstandard, or at its default level. PostgreSQL 16.
    Zstd(Option<i32>),
    /// Zstandard that looks for repetitions over long distances. PostgreSQL 16.
    ZstdLong(Option<i32>),
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("0"),
            Self::Gzip(level) => level.fmt(f),
            Self::Lz4(None) => f.write_str("lz4"),
            Self::Lz4(Some(level)) => write!(f, "lz4:level={level}"),
            Self::Zstd(None) => f.write_str("zstd"),
            Self::Zstd(Some(level)) => write!(f, "zstd:level={level}"),
            Self::ZstdLong(None) => f.write_str("zstd:long"),
            Self::ZstdLong(Some(level)) => write!(f, "zstd:level={level},long"),
        }
    }
}

/// How files are brought to the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sync {
    /// Each by itself.
    #[default]
    Fsync,
    /// By a call for the whole file system. Only for the directory form, PostgreSQL 17 on Linux.
    Syncfs,
    /// Whenever the operating system likes: a crash of the machine soon after may leave less than a dump.
    No,
}

/// The options of [pg_dump](https://www.postgresql.org/docs/current/app-pgdump.html), of PostgreSQL 12 to 18: all but those
/// of the connection and the output, which are the backup's, and `--binary-upgrade`, which is pg_upgrade's.
///
/// Patterns are those of psql: `app.*`, `"Mixed Case"`. Nothing in a value is ever code to a shell. An option that the
/// program at hand does not have is refused by name before anything runs.
///
/// ```
/// use pgsteward::backup::{Content, DumpOptions};
/// use pgsteward::ServerVersion;
///
/// let mut options = DumpOptions::new();
/// options.content = Content::SchemaOnly;
/// options.schemas = vec!["app; rm -rf /".into()];
/// let arguments = options.to_arguments(&ServerVersion::parse("15.3")?)?;
/// assert_eq!(arguments, ["--format=custom", "--schema-only", "--schema=app; rm -rf /"]);
/// # Ok::<(), pgsteward::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DumpOptions {
    /// The form of the dump; [`Custom`](DumpFormat::Custom) where nothing is said.
    pub format: DumpFormat,
    /// `--jobs`: how many tables are read at once. Only for [`Directory`](DumpFormat::Directory).
    pub jobs: Option<u32>,
    /// `--compress`. None is the program's default.
    pub compression: Option<Compression>,
    /// `--no-sync`, `--sync-method`.
    pub sync: Sync,
    /// `--lock-wait-timeout`: how long to wait for a table that somebody has locked, in milliseconds at the finest. None is
    /// for ever: pg_dump puts the server's `lock_timeout` off.
    pub lock_wait_timeout: Option<Duration>,
    /// Definitions, data, or both.
    pub content: Content,
    /// `--section`. None of them is all.
    pub sections: Vec<Section>,
    /// `--large-objects`, `--no-large-objects` (`--blobs` before PostgreSQL 16).
    pub large_objects: LargeObjectData,
    /// `--schema`: patterns of the schemas to dump. None is all.
    pub schemas: Vec<String>,
    /// `--exclude-schema`.
    pub exclude_schemas: Vec<String>,
    /// `--table`: patterns of the tables, views and sequences to dump. None is all.
    pub tables: Vec<String>,
    /// `--table-and-children`: with partitions and what inherits. PostgreSQL 16.
    pub tables_and_children: Vec<String>,
    /// `--exclude-table`.
    pub exclude_tables: Vec<String>,
    /// `--exclude-table-and-children`. PostgreSQL 16.
    pub exclude_tables_and_children: Vec<String>,
    /// `--exclude-table-data`: tables that are dumped empty.
    pub exclude_table_data: Vec<String>,
    /// `--exclude-table-data-and-children`. PostgreSQL 16.
    pub exclude_table_data_and_children: Vec<String>,
    /// `--extension`: the extensions to dump. PostgreSQL 14.
    pub extensions: Vec<String>,
    /// `--exclude-extension`. PostgreSQL 17.
    pub exclude_extensions: Vec<String>,
    /// `--include-foreign-data`: foreign servers whose tables are dumped with their data. PostgreSQL 13.
    pub include_foreign_data: Vec<String>,
    /// `--filter`: a file of patterns, on the machine where the program runs. PostgreSQL 17.
    pub filter: Option<PathBuf>,
    /// `--strict-names`: each pattern of schemas, tables and extensions must match something.
    pub strict_names: bool,
    /// `--clean`: drop the objects before they are made.
    pub clean: bool,
    /// `--if-exists`: do so where they exist. Only with `clean`.
    pub if_exists: bool,
    /// `--create`: with the database itself.
    pub create: bool,
    /// `--encoding`. None is the database's own.
    pub encoding: Option<String>,
    /// `--inserts`, `--column-inserts`.
    pub row_form: RowForm,
    /// `--rows-per-insert`; with [`Copy`](RowForm::Copy), it is as [`Inserts`](RowForm::Inserts).
    pub rows_per_insert: Option<u32>,
    /// `--on-conflict-do-nothing`. Only with inserts.
    pub on_conflict_do_nothing: bool,
    /// `--disable-dollar-quoting`.
    pub disable_dollar_quoting: bool,
    /// `--disable-triggers`: while data is restored into tables that exist. Only for the plain form and data alone.
    pub disable_triggers: bool,
    /// `--enable-row-security`: dump the rows that the role may see, where row security would else make it fail.
    pub enable_row_security: bool,
    /// `--extra-float-digits`.
    pub extra_float_digits: Option<i32>,
    /// `--load-via-partition-root`.
    pub load_via_partition_root: bool,
    /// `--no-owner`.
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
    /// `--no-toast-compression`. PostgreSQL 14.
    pub no_toast_compression: bool,
    /// `--no-unlogged-table-data`.
    pub no_unlogged_table_data: bool,
    /// `--sequence-data`: the values of sequences where there is else no data. PostgreSQL 18.
    pub sequence_data: bool,
    /// `--statistics`: with what the planner knows. PostgreSQL 18.
    pub statistics: bool,
    /// `--quote-all-identifiers`.
    pub quote_all_identifiers: bool,
    /// `--restrict-key`: for two plain dumps that are to be compared. The minor releases of August 2025.
    pub restrict_key: Option<String>,
    /// `--serializable-deferrable`: wait for a moment in which no serialization can fail.
    pub serializable_deferrable: bool,
    /// `--snapshot`: the snapshot that another session has exported.
    pub snapshot: Option<String>,
    /// `--superuser`: the role that disables triggers. Only for the plain form.
    pub superuser: Option<String>,
    /// `--use-set-session-authorization`.
    pub use_set_session_authorization: bool,
    /// `--role`: the role to become. None is the role of the cluster's connection
    /// ([`ConnectOptions::role`](crate::ConnectOptions)), if it has one.
    pub role: Option<String>,
    /// `--verbose`: tell each step, for [`Progress`](super::Progress).
    pub verbose: bool,
}

impl DumpOptions {
    /// The defaults of pg_dump, but for the form: [`Custom`](DumpFormat::Custom).
    pub fn new() -> Self {
        Self::default()
    }

    /// The arguments of a pg_dump of this version: one option each, with its value.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) names an option that it does not have;
    /// [`Error::Invalid`](crate::Error::Invalid) for values with a NUL byte, and jobs for a form that takes none.
    pub fn to_arguments(&self, version: &ServerVersion) -> Result<Vec<String>> {
        let mut arguments = Arguments::new("pg_dump", version);
        self.of_the_file(&mut arguments);
        self.of_the_content(&mut arguments);
        self.of_the_statements(&mut arguments);
        self.left_out(&mut arguments);
        let several = self.jobs.is_some_and(|jobs| jobs > 1) && self.format != DumpFormat::Directory;
        arguments.contradicts(several, "jobs", "only the directory format is written with several");
        arguments.finish()
    }

    fn of_the_file(&self, arguments: &mut Arguments<'_>) {
        arguments.value("--format", Some(self.format.name()));
        arguments.value("--jobs", self.jobs);
        arguments.value("--compress", self.compression);
        arguments.flag("--no-sync", self.sync == Sync::No);
        arguments.value("--sync-method", (self.sync == Sync::Syncfs).then_some("syncfs"));
        arguments.value("--lock-wait-timeout", self.lock_wait_timeout.map(|timeout| timeout.as_millis()));
        arguments.value("--role", self.role.as_ref());
        arguments.value("--snapshot", self.snapshot.as_ref());
        arguments.flag("--serializable-deferrable", self.serializable_deferrable);
        arguments.flag("--verbose", self.verbose);
    }

    fn of_the_content(&self, arguments: &mut Arguments<'_>) {
        self.content.arguments(arguments);
        arguments.each("--section", &self.sections);
        // The names of before PostgreSQL 16, which all versions take.
        arguments.flag("--blobs", self.large_objects == LargeObjectData::Include);
        arguments.flag("--no-blobs", self.large_objects == LargeObjectData::Exclude);
        arguments.each("--schema", &self.schemas);
        arguments.each("--exclude-schema", &self.exclude_schemas);
        arguments.each("--table", &self.tables);
        arguments.each("--table-and-children", &self.tables_and_children);
        arguments.each("--exclude-table", &self.exclude_tables);
        arguments.each("--exclude-table-and-children", &self.exclude_tables_and_children);
        arguments.each("--exclude-table-data", &self.exclude_table_data);
        arguments.each("--exclude-table-data-and-children", &self.exclude_table_data_and_children);
        arguments.each("--extension", &self.extensions);
        arguments.each("--exclude-extension", &self.exclude_extensions);
        arguments.each("--include-foreign-data", &self.include_foreign_data);
        arguments.path("--filter", self.filter.as_deref());
        arguments.flag("--strict-names", self.strict_names);
        arguments.flag("--sequence-data", self.sequence_data);
        arguments.flag("--statistics", self.statistics);
        arguments.flag("--enable-row-security", self.enable_row_security);
    }

    fn of_the_statements(&self, arguments: &mut Arguments<'_>) {
        arguments.flag("--clean", self.clean);
        arguments.flag("--if-exists", self.if_exists);
        arguments.flag("--create", self.create);
        arguments.value("--encoding", self.encoding.as_ref());
        arguments.flag("--inserts", self.row_form == RowForm::Inserts);
        arguments.flag("--column-inserts", self.row_form == RowForm::ColumnInserts);
        arguments.value("--rows-per-insert", self.rows_per_insert);
        arguments.flag("--on-conflict-do-nothing", self.on_conflict_do_nothing);
        arguments.flag("--disable-dollar-quoting", self.disable_dollar_quoting);
        arguments.flag("--disable-triggers", self.disable_triggers);
        arguments.value("--extra-float-digits", self.extra_float_digits);
        arguments.flag("--load-via-partition-root", self.load_via_partition_root);
        arguments.flag("--quote-all-identifiers", self.quote_all_identifiers);
        arguments.value("--restrict-key", self.restrict_key.as_ref());
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
        arguments.flag("--no-toast-compression", self.no_toast_compression);
        arguments.flag("--no-unlogged-table-data", self.no_unlogged_table_data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(version: &str, set: impl Fn(&mut DumpOptions)) -> Vec<String> {
        let mut options = DumpOptions::new();
        set(&mut options);
        options.to_arguments(&ServerVersion::parse(version).unwrap()).unwrap()
    }

    #[test]
    fn p061_options_are_arguments_in_a_fixed_order() {
        let made = arguments("12", |options| {
            (options.format, options.jobs, options.compression) =
                (DumpFormat::Directory, Some(4), Some(Compression::Gzip(9)));
            (options.sync, options.lock_wait_timeout) = (Sync::No, Some(Duration::from_millis(1500)));
            options.sections = vec![Section::PreData, Section::PostData];
            (options.schemas, options.exclude_schemas) = (vec!["a".into(), "b".into()], vec!["c".into()]);
            (options.tables, options.exclude_tables) = (vec!["t".into()], vec!["u".into()]);
            options.exclude_table_data = vec!["v".into()];
            (options.strict_names, options.large_objects) = (true, LargeObjectData::Exclude);
            (options.clean, options.if_exists, options.create) = (true, true, true);
            (options.row_form, options.rows_per_insert) = (RowForm::ColumnInserts, Some(7));
            (options.no_owner, options.no_privileges, options.no_publications) = (true, true, true);
            (options.no_subscriptions, options.no_tablespaces, options.verbose) = (true, true, true);
            (options.role, options.superuser) = (Some("r".into()), Some("s".into()));
        });
        let expected = "--format=directory --jobs=4 --compress=9 --no-sync --lock-wait-timeout=1500 --role=r --verbose \
            --section=pre-data --section=post-data --no-blobs --schema=a --schema=b --exclude-schema=c --table=t \
            --exclude-table=u --exclude-table-data=v --strict-names --clean --if-exists --create --column-inserts \
            --rows-per-insert=7 --superuser=s --no-owner --no-privileges --no-publications --no-subscriptions \
            --no-tablespaces";
        assert_eq!(made.join(" "), expected);
    }

    #[test]
    fn compression_is_said_as_each_version_takes_it() {
        let compress = |version: &str, compression| {
            arguments(version, |options| options.compression = Some(compression))[1].clone()
        };
        assert_eq!(compress("12", Compression::None), "--compress=0");
        assert_eq!(compress("18", Compression::Gzip(1)), "--compress=1");
        assert_eq!(compress("16", Compression::Lz4(Some(3))), "--compress=lz4:level=3");
        assert_eq!(compress("16", Compression::Zstd(None)), "--compress=zstd");
        assert_eq!(compress("16", Compression::ZstdLong(Some(-5))), "--compress=zstd:level=-5,long");
        for compression in [Compression::Lz4(None), Compression::Zstd(Some(1)), Compression::ZstdLong(None)] {
            let mut options = DumpOptions::new();
            options.compression = Some(compression);
            assert!(options.to_arguments(&ServerVersion::parse("15.3").unwrap()).is_err(), "{compression:?}");
        }
    }

    #[test]
    fn several_jobs_are_for_the_directory_form_alone() {
        let mut options = DumpOptions::new();
        options.jobs = Some(2);
        assert!(options.to_arguments(&ServerVersion::parse("15.3").unwrap()).is_err());
    }
}
