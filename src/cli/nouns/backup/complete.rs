//! Each option of the library can be given, and each that is given gets to the program under its own name.
use super::Verb;
use crate::cli::arguments::{Arguments, Noun};
use clap::{Arg, CommandFactory, Parser};
use pgsteward::ServerVersion;
use std::collections::BTreeSet;
use std::fmt::Debug;

/// The options under a heading, each with a value.
fn offered(verb: &[&str], heading: &str) -> Vec<(String, Option<String>)> {
    let mut command = Arguments::command();
    command.build();
    let command = verb.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
    let value = |argument: &Arg| {
        let last = argument.get_possible_values().last().map(|value| value.get_name().to_owned());
        argument.get_action().takes_values().then(|| last.unwrap_or("1".into()))
    };
    let under = command.get_arguments().filter(|argument| argument.get_help_heading() == Some(heading));
    under.map(|argument| (argument.get_long().unwrap().to_owned(), value(argument))).collect()
}

fn parsed(verb: &[&str], more: &[&str]) -> Noun {
    let words = ["pgsteward"].iter().chain(verb).chain(more);
    Arguments::try_parse_from(words).map(|arguments| arguments.noun).unwrap_or_else(|error| panic!("{error}"))
}

/// The fields of a structure that are not the same in another one, or all of them.
fn fields(value: &impl Debug, except_those_of: Option<&dyn Debug>) -> BTreeSet<String> {
    let blocks = |text: String| -> BTreeSet<String> {
        let blocks = text.split("\n    ").map(str::to_owned);
        // What is further in belongs to the field before it.
        blocks
            .skip(1)
            .fold(Vec::<String>::new(), |mut fields, block| {
                match fields.last_mut() {
                    Some(field) if block.starts_with([' ', ']', ')']) => field.push_str(&block),
                    _ => fields.push(block.trim_end_matches(['}', '\n']).to_owned()),
                }
                fields
            })
            .into_iter()
            .collect()
    };
    let same = except_those_of.map_or(BTreeSet::new(), |other| blocks(format!("{other:#?}")));
    let name = |block: &String| block.split(':').next().unwrap().to_owned();
    blocks(format!("{value:#?}")).difference(&same).map(name).collect()
}

/// Gives each option by itself; `read` makes of it what the library has, and the arguments of the program.
fn check<T: Debug>(
    (verb, path): (&[&str], &[&str]),
    heading: &str,
    default: T,
    elsewhere: &[&str],
    read: impl Fn(Noun) -> (T, pgsteward::Result<Vec<String>>),
) {
    let mut set: BTreeSet<String> = elsewhere.iter().map(|field| (*field).to_owned()).collect();
    for (name, value) in offered(verb, heading) {
        let word = value.as_ref().map_or(format!("--{name}"), |value| format!("--{name}={value}"));
        let (options, arguments) = read(parsed(verb, &[path, &[&word]].concat()));
        let passed = match name.as_str() {
            "dump-format" => word.replace("dump-format", "format"),
            // The names that all versions take.
            "large-objects" | "no-large-objects" => word.replace("large-objects", "blobs"),
            _ => word.clone(),
        };
        let arguments = arguments.unwrap();
        match name.as_str() {
            "continue-on-error" => assert!(!arguments.contains(&"--exit-on-error".into())),
            _ => assert!(arguments.contains(&passed), "{word}: {arguments:?}"),
        }
        let changed = fields(&options, Some(&default));
        assert_eq!(changed.len(), 1, "{word} sets {changed:?}");
        set.extend(changed);
    }
    assert_eq!(set, fields(&default, None));
}

fn newest() -> ServerVersion {
    ServerVersion::parse("18.0").unwrap()
}

#[test]
fn p061_every_option_of_a_dump_can_be_given_and_gets_to_pg_dump() {
    let default = pgsteward::backup::DumpOptions::new();
    check((&["backup", "create"], &["x"]), "Options of pg_dump", default, &["verbose"], |noun| match noun {
        Noun::Backup(Verb::Create(options)) => {
            let options = options.dump.options(false);
            (options.clone(), options.to_arguments(&newest()))
        }
        _ => panic!("another noun"),
    });
}

#[test]
fn p061_every_option_of_globals_can_be_given_and_gets_to_pg_dumpall() {
    let default = pgsteward::backup::GlobalsOptions::new();
    check((&["backup", "globals"], &["x"]), "Options of pg_dumpall", default, &["verbose"], |noun| match noun {
        Noun::Backup(Verb::Globals(options)) => {
            let options = options.dump.options(false);
            (options.clone(), options.to_arguments(&newest()))
        }
        _ => panic!("another noun"),
    });
}

#[test]
fn p061_every_option_of_a_restore_can_be_given_and_gets_to_pg_restore() {
    let default = pgsteward::backup::RestoreOptions::new();
    let elsewhere = ["create", "jobs", "role"];
    check((&["restore"], &["x", "--into=d"]), "Options of pg_restore", default, &elsewhere, |noun| match noun {
        Noun::Restore(options) => {
            let options = options.restore.options();
            (options.clone(), options.to_arguments(&newest()))
        }
        _ => panic!("another noun"),
    });
}
