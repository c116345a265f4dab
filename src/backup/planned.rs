//! What a plan prints of a backup or restore: no SQL could do it, so it is a comment that says what would be run.
use super::access::Access;
use super::archive_file::recognize;
use super::dump_options::DumpFormat;
use super::manifest::Manifest;
use super::program::Program;
use super::restore::{Restore, RestoreTarget};
use super::{Backup, Place};
use crate::cluster::Cluster;
use crate::error::Result;
use crate::script::Script;
use crate::sql::Sql;
use crate::version::{OLDEST, ServerVersion};
use std::path::Path;

/// A backup, with the arguments of its program.
pub(super) fn backup(cluster: &Cluster, backup: &Backup) -> Result<Script> {
    let (name, major) = (backup.dump.program(), cluster.version().major());
    let version = version(cluster, &backup.place, name, backup.programs.as_deref(), major)?;
    let arguments = backup.dump.as_role(role(cluster, &backup.place)?.as_deref()).to_arguments(&version)?;
    let title = format!("{} to {}", backup.title(cluster), backup.place.shown());
    Ok(comment(&title, name, &arguments, [&backup.before, &backup.after]))
}

/// A restore, with the arguments of its program. The dump need not be there yet.
pub(super) fn restore(cluster: &Cluster, restore: &Restore) -> Result<Script> {
    let (format, manifest) = match &restore.place {
        Place::Client(path) => (restore.format.or_else(|| recognize(path).ok()), Manifest::beside(path)?),
        Place::Program(_) | Place::Server(_) => (restore.format, None),
    };
    let plain = format == Some(DumpFormat::Plain);
    let name = if plain { "psql" } else { "pg_restore" };
    let least = manifest.as_ref().and_then(Manifest::written_by).unwrap_or(OLDEST);
    let version = version(cluster, &restore.place, name, restore.programs.as_deref(), least)?;
    let mut options = restore.options.clone();
    options.role = options.role.or(role(cluster, &restore.place)?);
    let arguments = if plain { options.to_psql_arguments(&version)? } else { options.to_arguments(&version)? };
    let target = match &restore.target {
        RestoreTarget::CurrentDatabase => format!("database {:?}", cluster.current_database()),
        RestoreTarget::NewDatabase(database) => format!("the new database {:?}", database.name),
    };
    let title = format!("restore of {} into {target}", restore.place.shown());
    Ok(comment(&title, name, &arguments, [&restore.before, &restore.after]))
}

/// The version of the program that would be run; of one on the server, nothing is known before it runs but that of the server.
fn version(
    cluster: &Cluster,
    place: &Place,
    name: &'static str,
    programs: Option<&Path>,
    least: u32,
) -> Result<ServerVersion> {
    match place {
        Place::Server(_) => Ok(cluster.version().clone()),
        _ => Ok(Program::find(name, programs, cluster.version().major(), least)?.version),
    }
}

fn role(cluster: &Cluster, place: &Place) -> Result<Option<String>> {
    match place {
        Place::Server(_) => Ok(cluster.session().role().map(str::to_owned)),
        _ => Ok(Access::of(cluster)?.role),
    }
}

/// The arguments of the programs before and after, and of one that takes or gives the dump, may hold secrets: they are not
/// in it.
fn comment(title: &str, program: &str, arguments: &[String], around: [&[String]; 2]) -> Script {
    let mut text = format!("{title}: {program}");
    for argument in arguments {
        text.push(' ');
        text.push_str(&readable(argument));
    }
    for (when, words) in ["before", "after"].into_iter().zip(around) {
        if let Some(program) = words.first() {
            text.push_str(&format!("; {when} it the program {program:?}"));
        }
    }
    let mut script = Script::new();
    // A line break would end the comment.
    let text = text.replace(|c: char| c.is_control(), "\u{FFFD}");
    script.add_alone(Sql::trusted(format!("-- {text}")), Vec::new());
    script
}

/// A word as a shell would take it.
fn readable(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c);
    match word.chars().all(plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::comment;

    #[test]
    fn a_comment_is_one_line_whatever_is_in_the_words() {
        let arguments = ["--schema=a b\nDROP TABLE x".to_owned(), "--no-owner".into(), "it's".into()];
        let (before, after) = (["mount".to_owned(), "the secret".into()], []);
        let text = comment("pg_dump of a", "pg_dump", &arguments, [&before, &after]).to_string();
        let expected = "-- pg_dump of a: pg_dump '--schema=a b\u{FFFD}DROP TABLE x' --no-owner 'it'\\''s'; before it the program \
            \"mount\"";
        assert_eq!(text.lines().next(), Some(expected));
        assert!(text.lines().skip(1).all(|line| line == ";"), "{text}");
    }
}
