//! What backups and restores have in common: where the dump is, what runs beside, and who hears of it.
use super::super::super::context::Context;
use super::super::super::exit::Failure;
use super::super::super::interrupt;
use super::super::super::output::{on_one_line, tell};
use super::super::super::progress;
use clap::Args;
use pgsteward::backup::{MessageKind, Place, ProgramMessage, Progress, ProgressCallback, ServerFile};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Takes all that was given apart: what the options have under the same name goes there, the rest stays.
macro_rules! hand_over {
    ($given:expr => $options:ident: $($same:ident),*; $($rest:ident),*) => {
        let Self { $($same,)* $($rest),* } = $given;
        $($options.$same = $same;)*
    };
}
pub(crate) use hand_over;

#[derive(Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct Work {
    /// The dump is on the server's machine, where the programs run too
    #[arg(long, conflicts_with = "words")]
    on_server: bool,
    /// Where a relative path on the server begins
    #[arg(long, requires = "on_server", value_name = "DIRECTORY")]
    base_path: Option<String>,
    /// The role that the programs connect as on the server; the server's own user if not told
    #[arg(long, requires = "on_server", value_name = "ROLE")]
    server_role: Option<String>,
    /// The directory of PostgreSQL's client programs
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) programs: Option<PathBuf>,
    /// A command to run before, its words up to ';'
    #[arg(long, num_args = 1.., value_terminator = ";", allow_hyphen_values = true, value_name = "WORD")]
    pub(crate) before: Vec<String>,
    /// A command to run after, in any case, its words up to ';'
    #[arg(long, num_args = 1.., value_terminator = ";", allow_hyphen_values = true, value_name = "WORD")]
    pub(crate) after: Vec<String>,
    /// How long it may take
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

impl Work {
    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }

    /// Where the dump is: there is a path, or the words of a program.
    pub(crate) fn place(&self, path: Option<&Path>, words: &[String]) -> Result<Place, Failure> {
        let Some(path) = path else { return Ok(Place::Program(words.to_vec())) };
        if path == Path::new("-") {
            return Err(Failure::invalid("path \"-\"", "a dump is a file, or goes to and from a program"));
        }
        if !self.on_server {
            return Ok(Place::Client(path.to_owned()));
        }
        let text = path.to_str().ok_or_else(|| Failure::invalid(format!("path {path:?}"), "it is not UTF-8"))?;
        let mut file = ServerFile::new(text);
        file.base_path.clone_from(&self.base_path);
        file.user.clone_from(&self.server_role);
        Ok(Place::Server(file))
    }
}

/// Where a dump is, in words. The arguments of a program may hold secrets.
pub(crate) fn named(place: &Place) -> String {
    match place {
        Place::Client(path) => path.display().to_string(),
        Place::Program(words) => words.first().cloned().unwrap_or_default(),
        Place::Server(file) => file.path.clone(),
        _ => String::new(),
    }
}

/// Does long work: its steps are on the line of progress, or one below the other with `-v`; Ctrl-C ends it.
pub(crate) fn watched<R>(
    context: &Context,
    work: impl FnOnce(&mut ProgressCallback<'_>) -> pgsteward::Result<R>,
) -> pgsteward::Result<R> {
    let line = progress::Progress::new(context, None);
    let (mut step, mut bytes) = (String::new(), 0);
    work(&mut |progress| {
        match progress {
            Progress::Message(message) if message.kind == MessageKind::Step => step.clone_from(&message.text),
            Progress::Bytes(written) => bytes = *written,
            _ => {}
        }
        if let (true, Progress::Message(message)) = (context.output.is_verbose(), progress) {
            line.aside(|| tell(&on_one_line(&message.to_string())));
        }
        line.at(bytes, &step);
        if interrupt::is_passed_on() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
}

/// Tells of warnings, unless it is to be quiet.
pub(crate) fn warn(context: &Context, warnings: &[ProgramMessage]) {
    if !context.output.is_verbose() {
        warnings
            .iter()
            .for_each(|warning| context.output.say(&format!("warning: {}", on_one_line(&warning.to_string()))));
    }
}

/// Messages for the output.
pub(crate) fn list(messages: &[ProgramMessage]) -> Value {
    let message = |message: &ProgramMessage| {
        json!({
            "object": message.object,
            "line": message.line,
            "text": message.text,
            "detail": message.detail,
            "hint": message.hint,
            "statement": message.statement,
        })
    };
    messages.iter().map(message).collect()
}
