//! The nouns: what each of their verbs does.
pub(crate) mod backup;
pub(crate) mod db;
pub(crate) mod hba;
pub(crate) mod info;
pub(crate) mod kinds;
pub(crate) mod migrate;
pub(crate) mod monitor;
pub(crate) mod object;
pub(crate) mod os;
mod provision;
pub(crate) mod reassign;
mod reload;
pub(crate) mod restore;
pub(crate) mod role;
pub(crate) mod script;
pub(crate) mod snapshot;
pub(crate) mod terminate;

use super::arguments::Noun;
use super::context::Context;
use super::exit::Failure;
use pgsteward::{LargeObject, MaterializedView, Procedure, ReplicationSlot, Schema, Sequence, Table, View};

pub(crate) fn run(context: &Context, noun: &Noun) -> Result<(), Failure> {
    match noun {
        Noun::Db(verb) => db::run(context, verb),
        Noun::Role(verb) => role::run(context, verb),
        Noun::Schema(verb) => object::run::<Schema>(context, verb),
        Noun::Table(verb) => object::run::<Table>(context, verb),
        Noun::View(verb) => object::run::<View>(context, verb),
        Noun::MaterializedView(verb) => object::run::<MaterializedView>(context, verb),
        Noun::Sequence(verb) => object::run::<Sequence>(context, verb),
        Noun::Procedure(verb) => object::run::<Procedure>(context, verb),
        Noun::Lo(verb) => object::run::<LargeObject>(context, verb),
        Noun::Slot(verb) => object::run::<ReplicationSlot>(context, verb),
        Noun::Hba(verb) => hba::run(context, verb),
        Noun::Backup(verb) => backup::run(context, verb),
        Noun::Restore(options) => restore::run(context, options),
        Noun::Monitor(options) => monitor::run(context, options),
        Noun::Script(options) => script::run(context, options),
        Noun::Snapshot(verb) => snapshot::run(context, verb),
        Noun::Migrate(options) => migrate::run(context, options),
        Noun::Terminate(options) => terminate::run(context, options),
        Noun::Reassign(options) => reassign::run(context, options),
        Noun::Os(options) => os::run(context, options),
        Noun::Reload => reload::run(context),
        Noun::Info(options) => info::run(context, options),
        // They need no connection.
        Noun::Completions { .. } | Noun::Man { .. } => Ok(()),
    }
}
