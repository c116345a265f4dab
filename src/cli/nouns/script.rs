//! The statements that make objects, of any kind, by pattern.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::tell;
use super::kinds::Noun;
use super::object::glob;
use clap::{Args, ValueEnum};
use pgsteward::{
    Database, LargeObject, MaterializedView, Procedure, ReplicationSlot, Role, Schema, Sequence, Table, View,
};

#[derive(Args)]
pub(crate) struct Options {
    /// The kinds
    #[arg(required = true)]
    kinds: Vec<KindOfObject>,
    /// * stands for any text, ? for any character
    #[arg(long, default_value = "*")]
    pattern: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum KindOfObject {
    Db,
    Role,
    Schema,
    Sequence,
    Table,
    View,
    MaterializedView,
    Procedure,
    Lo,
    Slot,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let mut failed = false;
    for kind in &options.kinds {
        failed |= match kind {
            KindOfObject::Db => print::<Database>(context, &options.pattern)?,
            KindOfObject::Role => print::<Role>(context, &options.pattern)?,
            KindOfObject::Schema => print::<Schema>(context, &options.pattern)?,
            KindOfObject::Sequence => print::<Sequence>(context, &options.pattern)?,
            KindOfObject::Table => print::<Table>(context, &options.pattern)?,
            KindOfObject::View => print::<View>(context, &options.pattern)?,
            KindOfObject::MaterializedView => print::<MaterializedView>(context, &options.pattern)?,
            KindOfObject::Procedure => print::<Procedure>(context, &options.pattern)?,
            KindOfObject::Lo => print::<LargeObject>(context, &options.pattern)?,
            KindOfObject::Slot => print::<ReplicationSlot>(context, &options.pattern)?,
        };
    }
    if failed { Err(Failure::Said) } else { Ok(()) }
}

/// Prints the scripts of a kind. Says on standard error which cannot be scripted, and returns whether there were any.
fn print<T: Noun>(context: &Context, pattern: &str) -> Result<bool, Failure> {
    let mut failed = false;
    for object in T::all(&context.cluster).matching(&glob(pattern)?)? {
        match object.script() {
            Ok(script) => context.output.text(&script.to_string())?,
            Err(error) => {
                failed = true;
                tell(&error.to_string());
            }
        }
    }
    Ok(failed)
}
