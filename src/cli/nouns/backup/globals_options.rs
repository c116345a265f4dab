//! The options of pg_dumpall, under their own names.
use super::work::hand_over;
use clap::Args;
use pgsteward::backup::{GlobalObjects, GlobalsOptions};

/// What is dumped, and how.
#[derive(Args, Clone)]
#[command(next_help_heading = "Options of pg_dumpall")]
pub(crate) struct GlobalsArguments {
    /// Only roles
    #[arg(long, conflicts_with = "tablespaces_only")]
    roles_only: bool,
    /// Only tablespaces
    #[arg(long)]
    tablespaces_only: bool,
    /// Drop them before they are made
    #[arg(long)]
    clean: bool,
    /// Drop them where they exist
    #[arg(long)]
    if_exists: bool,
    /// Without the verifiers of passwords, for which one must be a superuser
    #[arg(long)]
    no_role_passwords: bool,
    /// Not who owns tablespaces
    #[arg(long)]
    no_owner: bool,
    /// Not who may do what with tablespaces and parameters
    #[arg(long)]
    no_privileges: bool,
    /// No tablespaces
    #[arg(long)]
    no_tablespaces: bool,
    /// No comments
    #[arg(long)]
    no_comments: bool,
    /// No security labels
    #[arg(long)]
    no_security_labels: bool,
    /// Quote every name
    #[arg(long)]
    quote_all_identifiers: bool,
    /// The encoding of the dump
    #[arg(long, value_name = "ENCODING")]
    encoding: Option<String>,
    /// The key of a dump that is to be compared with another
    #[arg(long, value_name = "KEY")]
    restrict_key: Option<String>,
    /// The role to become
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

impl GlobalsArguments {
    pub(crate) fn options(&self, verbose: bool) -> GlobalsOptions {
        let mut options = GlobalsOptions::new();
        hand_over!(self.clone() => options: clean, if_exists, no_role_passwords, no_owner, no_privileges, no_tablespaces, no_comments, no_security_labels, quote_all_identifiers, encoding, restrict_key, role; roles_only, tablespaces_only);
        options.objects = match (roles_only, tablespaces_only) {
            (true, _) => GlobalObjects::Roles,
            (_, true) => GlobalObjects::Tablespaces,
            _ => GlobalObjects::All,
        };
        options.verbose = verbose;
        options
    }
}
