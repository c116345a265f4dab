//! What the options tell of each kind of object beyond what its verbs share: how its names are written, which
//! fields it has, and which options are for it.
use super::arguments::Arguments;
use super::nouns::kinds::Noun;
use clap::{Command, CommandFactory};
use pgsteward::{
    Database, LargeObject, MaterializedView, Procedure, ReplicationSlot, Role, Schema, Sequence, Table, View,
};

const PLAIN: &str = "Its name, as it is: without quotes";
const SQL: &str = "Its name as SQL writes it: orders, app.orders, 'app.\"Old Orders\"'";
const ROUTINE: &str = "Its name as SQL writes it, or with the types of its arguments: app.total, 'app.total(bigint)'";
const OID: &str = "Its OID";

/// All that can be given on the command line: for the parser, the completions and the manual pages.
pub(crate) fn command() -> Command {
    let command = Arguments::command();
    let command = tell::<Database>(command, "db", PLAIN, &[]);
    let command = tell::<Role>(command, "role", PLAIN, &[]);
    let command = tell::<Schema>(command, "schema", PLAIN, &[]);
    let command = tell::<Table>(command, "table", SQL, &["column"]);
    let command = tell::<View>(command, "view", SQL, &["query"]);
    let command = tell::<MaterializedView>(command, "materialized-view", SQL, &["query"]);
    let command = tell::<Sequence>(command, "sequence", SQL, &[]);
    let command = tell::<Procedure>(command, "procedure", ROUTINE, &[]);
    let command = tell::<LargeObject>(command, "lo", OID, &[]);
    tell::<ReplicationSlot>(command, "slot", PLAIN, &[])
}

fn tell<T: Noun>(command: Command, noun: &str, name: &'static str, taken: &[&str]) -> Command {
    command.mut_subcommand(noun, |noun| noun.mut_subcommands(|verb| tell_verb::<T>(verb, name, taken)))
}

fn tell_verb<T: Noun>(verb: Command, name: &'static str, taken: &[&str]) -> Command {
    // All at once: `mut_arg` would move one behind the others, and with it what is given by its place.
    let verb = verb.mut_args(|argument| match argument.get_id().as_str() {
        "name" => argument.help(name),
        "new_name" => argument.help("The new name"),
        option @ ("query" | "column") => {
            let hidden = !taken.contains(&option);
            argument.hide(hidden)
        }
        _ => argument,
    });
    match verb.get_name() {
        "create" | "alter" => verb.after_help(format!("Fields: {}", T::NAMES.join(", "))),
        _ => verb,
    }
}

#[cfg(test)]
mod tests {
    use super::command;

    fn help(noun: &str, verb: &str) -> String {
        let mut command = command();
        let noun = command.find_subcommand_mut(noun).unwrap();
        noun.find_subcommand_mut(verb).unwrap().render_long_help().to_string()
    }

    #[test]
    fn no_two_options_clash() {
        command().debug_assert();
    }

    #[test]
    fn the_help_of_a_kind_tells_its_fields_and_only_its_options() {
        assert!(help("role", "alter").contains("Fields: name, superuser, "));
        assert!(help("table", "create").contains("--column") && !help("table", "create").contains("--query"));
        assert!(help("view", "create").contains("--query") && !help("view", "create").contains("--column"));
        assert!(help("db", "rename").contains("<NAME> <NEW_NAME>"));
        assert!(help("table", "show").contains("app.orders") && help("role", "show").contains("without quotes"));
    }
}
