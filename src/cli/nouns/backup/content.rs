//! What pg_dump and pg_restore can both be told to leave out.
use clap::{Args, ValueEnum};
use pgsteward::backup::Section;

#[derive(Args, Clone)]
#[group(multiple = false)]
pub(crate) struct Content {
    /// Only definitions
    #[arg(long)]
    schema_only: bool,
    /// Only rows, large objects, and the values of sequences
    #[arg(long)]
    data_only: bool,
    /// Only what the planner knows (PostgreSQL 18)
    #[arg(long)]
    statistics_only: bool,
}

impl From<Content> for pgsteward::backup::Content {
    fn from(content: Content) -> Self {
        let Content { schema_only, data_only, statistics_only } = content;
        match (schema_only, data_only, statistics_only) {
            (true, ..) => Self::SchemaOnly,
            (_, true, _) => Self::DataOnly,
            (.., true) => Self::StatisticsOnly,
            _ => Self::Everything,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum SectionName {
    /// Definitions, but for those that wait for the data
    PreData,
    /// Rows, large objects, the values of sequences
    Data,
    /// Indexes, triggers, rules, constraints
    PostData,
}

impl From<SectionName> for Section {
    fn from(name: SectionName) -> Self {
        match name {
            SectionName::PreData => Self::PreData,
            SectionName::Data => Self::Data,
            SectionName::PostData => Self::PostData,
        }
    }
}
