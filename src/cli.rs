//! The command line.
mod arguments;
mod confirm;
mod connection;
mod context;
mod exit;
mod help;
mod interrupt;
mod logging;
mod nouns;
mod output;
mod pages;
mod progress;
mod units;

use arguments::{Arguments, Noun};
use clap::FromArgMatches;
use context::Context;
use exit::Failure;
use nouns::{backup, migrate};
use output::Output;
use std::process::ExitCode;

pub(crate) fn run() -> ExitCode {
    let parsed = help::command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is there to be told that nobody reads.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::DONE });
        }
    };
    logging::start(&arguments.global);
    match dispatch(&arguments) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(failure) => failure.report(&arguments.global),
    }
}

fn dispatch(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.noun {
        Noun::Completions { shell } => return pages::completions(*shell),
        Noun::Man { directory } => return pages::man(directory),
        Noun::Backup(backup::Verb::Show(options)) => return backup::show(&Output::new(&arguments.global), options),
        Noun::Migrate(options) => {
            if let Some(done) = migrate::run_unconnected(&Output::new(&arguments.global), options) {
                return done;
            }
        }
        _ => {}
    }
    let context = Context::new(&arguments.connection, &arguments.global)?;
    nouns::run(&context, &arguments.noun)
}
