//! Giving what a role owns to another.
use super::super::context::Context;
use super::super::exit::Failure;
use clap::Args;
use pgsteward::Reach;

#[derive(Args)]
pub(crate) struct Options {
    /// The owner that there is
    from: String,
    /// The new owner
    to: String,
    /// In every database that accepts connections, and not only in this one
    #[arg(long)]
    every_database: bool,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let Options { from, to, every_database } = options;
    let reach = if *every_database { Reach::EveryDatabase } else { Reach::CurrentDatabase };
    let done = format!("reassigned what role {from} owns to role {to}");
    context.change(&done, |cluster| cluster.reassign_owned(from, to, reach))
}
