//! The program `pgsteward`: the library's operations on the command line. It parses and prints; all else is the library's.
mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
