//! Roles.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::interrupt;
use super::object::{self, Verb as ObjectVerb};
use super::terminate::listed;
use clap::Subcommand;
use pgsteward::{Role, Sessions};
use std::io::{self, BufRead, IsTerminal};

#[derive(Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    Object(ObjectVerb),
    /// Set the password, asked for or read from standard input; an empty one takes it away
    Password { name: String },
    /// Drop a role and end its sessions
    DropTerminating { name: String },
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Object(verb) => object::run::<Role>(context, verb),
        Verb::Password { name } => {
            // Before anything is asked: whether there is such a role.
            object::find::<Role>(&context.cluster, name)?;
            let password = new_password(name)?;
            let password = Some(password.as_str()).filter(|password| !password.is_empty());
            let done = if password.is_some() { "set the password of" } else { "took away the password of" };
            context.change(&format!("{done} role {name}"), |cluster| {
                object::find::<Role>(cluster, name)?.set_password(password)
            })
        }
        Verb::DropTerminating { name } => drop_terminating(context, name),
    }
}

fn drop_terminating(context: &Context, name: &str) -> Result<(), Failure> {
    let asked = object::find::<Role>(&context.cluster, name)?;
    if context.asks() {
        let sessions = context.cluster.sessions(&Sessions::new().roles([name]).walsenders())?;
        let along = match sessions.is_empty() {
            true => String::new(),
            false => format!("these sessions will be ended:\n{}", listed(&sessions)),
        };
        context.ask(&format!("{along}drop role {name:?}?"))?;
    }
    context.change(&format!("dropped role {name}"), |cluster| {
        object::find_again(cluster, name, &asked)?.drop_after_terminating()
    })
}

/// From a terminal without an echo, twice; from a pipe the first line.
fn new_password(name: &str) -> Result<String, Failure> {
    let failed = |error| Failure::io("read the password", error);
    if !io::stdin().is_terminal() {
        let mut line = String::new();
        if interrupt::while_asking(|| io::stdin().lock().read_line(&mut line)).map_err(failed)? == 0 {
            return Err(Failure::Declined("nothing was done: there was no password (end of input)".into()));
        }
        return Ok(line.trim_end_matches(['\n', '\r']).to_owned());
    }
    let ask =
        |prompt: &str| interrupt::while_asking_for_a_secret(|| rpassword::prompt_password(prompt)).map_err(failed);
    let (first, second) = (ask(&format!("New password of role {name:?}: "))?, ask("Again: ")?);
    match first == second {
        true => Ok(first),
        false => Err(Failure::Declined("nothing was done: the two passwords are not the same".into())),
    }
}
