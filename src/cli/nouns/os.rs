//! Commands of the server's operating system.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::pass_on;
use clap::Args;
use pgsteward::OsCommand;
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Options {
    /// The command, as the server's /bin/sh takes it
    command: String,
    /// End it after this time
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<(), Failure> {
    let mut command = OsCommand::new(&options.command);
    if let Some(seconds) = options.timeout {
        command = command.timeout(Duration::from_secs(seconds));
    }
    if context.is_planning() {
        return context.change("", |cluster| cluster.run_os_command(command).map(drop));
    }
    let output = context.cluster.run_os_command(command)?;
    if context.output.is_json() {
        context.output.record(&vec![
            ("exit_code", output.exit_code.into()),
            ("stdout", output.stdout_text().into()),
            ("stderr", output.stderr_text().into()),
        ])?;
    } else {
        context.output.bytes(&output.stdout)?;
        pass_on(&output.stderr);
    }
    match output.exit_code {
        0 => Ok(()),
        code => {
            context.output.say(&format!("the command ended with exit code {code}"));
            Err(Failure::Said)
        }
    }
}
