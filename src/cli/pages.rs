//! Completions and manual pages, made from the same table as the parser.
use super::exit::Failure;
use super::help::command;
use super::output;
use clap_complete::Shell;
use std::path::Path;

pub(crate) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command(), "pgsteward", &mut text);
    output::print(&text)
}

pub(crate) fn man(directory: &Path) -> Result<(), Failure> {
    clap_mangen::generate_to(command(), directory)
        .map_err(|error| Failure::io(format!("write the manual pages to {directory:?}"), error))
}
