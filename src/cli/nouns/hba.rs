//! pg_hba.conf.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::Record;
use clap::{Args, Subcommand};
use pgsteward::hba::{
    AccessCell, Connection, HbaAlterOptions, HbaBackup, HbaEntry, HbaOutcome, HbaProbe, HbaRules, OnLockOut, Outcome,
    Replication, Severity,
};
use pgsteward::{Database, Error, Role};
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// The rules, in the order in which the server looks at them
    Show,
    /// Add a rule: at the end, unless told where
    Add(AddOptions),
    /// Remove a rule
    Remove(RemoveOptions),
    /// What a file would change
    Diff { file: PathBuf },
    /// Bring a file to the server
    Apply {
        file: PathBuf,
        #[command(flatten)]
        writing: Writing,
    },
    /// Who would be let in by which rule, and why not by those before it
    Decide(DecideOptions),
    /// What is wrong, or may be; exit code 1 if there is an error
    Lint,
    /// Who would be let in where: all roles that can log in, and all databases, if not told
    Matrix(MatrixOptions),
    /// The copies of older files
    Backups,
    /// Bring back an older file: the newest copy of another content, if not told which
    Restore {
        /// As `backups` prints it
        path: Option<String>,
        #[command(flatten)]
        writing: Writing,
    },
}

#[derive(Args)]
pub(crate) struct Writing {
    /// Also if a replica, subscription or backup could not connect again, or may be asked for more than it has; a new
    /// connection of this program must be let in all the same, unless the probe is skipped
    #[arg(long)]
    allow_lock_out: bool,
    /// Do not try whether a new connection of this program is let in
    #[arg(long)]
    skip_probe: bool,
}

impl Writing {
    fn options(&self) -> HbaAlterOptions {
        let mut options = HbaAlterOptions::new();
        if self.allow_lock_out {
            options.lock_out = OnLockOut::Allow;
        }
        if self.skip_probe {
            options.probe = HbaProbe::Skip;
        }
        options
    }
}

#[derive(Args)]
pub(crate) struct AddOptions {
    /// The rule: 'host shop app 10.0.0.0/8 scram-sha-256'
    rule: String,
    /// At this place, counted from 0
    #[arg(long, conflicts_with_all = ["before", "after"])]
    at: Option<usize>,
    /// Before this rule
    #[arg(long, conflicts_with = "after")]
    before: Option<String>,
    /// After this rule
    #[arg(long)]
    after: Option<String>,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Args)]
pub(crate) struct RemoveOptions {
    /// The rule
    #[arg(required_unless_present = "index", conflicts_with = "index")]
    rule: Option<String>,
    /// The rule at this place, counted from 0
    #[arg(long)]
    index: Option<usize>,
    #[command(flatten)]
    writing: Writing,
}

#[derive(Args)]
pub(crate) struct DecideOptions {
    /// The role
    user: String,
    /// The database
    database: String,
    /// The client's address; a Unix-domain socket without it
    #[arg(long)]
    from: Option<IpAddr>,
    /// With TLS
    #[arg(long, requires = "from")]
    tls: bool,
    /// For physical replication
    #[arg(long)]
    replication: bool,
    /// Say of each rule why it does not match
    #[arg(long)]
    explain: bool,
}

#[derive(Args)]
pub(crate) struct MatrixOptions {
    /// A role; can be given many times
    #[arg(long)]
    user: Vec<String>,
    /// A database; can be given many times
    #[arg(long)]
    database: Vec<String>,
    /// An address of a client; can be given many times
    #[arg(long)]
    from: Vec<IpAddr>,
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Show => show(context),
        Verb::Add(options) => add(context, options),
        Verb::Remove(options) => remove(context, options),
        Verb::Diff { file } => {
            let difference = rules(context)?.changes_to(&content(file)?);
            context.output.text(&difference)
        }
        Verb::Apply { file, writing } => {
            let content = content(file)?;
            change(context, |rules| rules.alter_to(content, &writing.options()))
        }
        Verb::Decide(options) => decide(context, options),
        Verb::Lint => lint(context),
        Verb::Matrix(options) => matrix(context, options),
        Verb::Backups => {
            let records: Vec<_> = rules(context)?.backups()?.iter().map(backup).collect();
            context.output.records(&["path", "time", "size"], &[], &records)
        }
        Verb::Restore { path, writing } => restore(context, path.as_deref(), writing),
    }
}

fn rules(context: &Context) -> Result<HbaRules, Failure> {
    Ok(context.cluster.hba_rules()?)
}

fn content(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(|error| Failure::io(format!("read {file:?}"), error))
}

/// Makes a change and says what became of it.
fn change(
    context: &Context,
    change: impl FnOnce(&mut HbaRules) -> pgsteward::Result<HbaOutcome>,
) -> Result<(), Failure> {
    let mut done = None;
    context.change("", |cluster| {
        done = Some(change(&mut cluster.hba_rules()?)?);
        Ok(())
    })?;
    if let Some(outcome) = done.filter(|outcome| !outcome.planned) {
        let HbaOutcome { lines_added, lines_removed, backup, .. } = &outcome;
        let backup = backup.as_ref().map_or(String::new(), |path| format!("; the old file is {path}"));
        context.output.say(&match outcome.write {
            None => "there was nothing to change".to_owned(),
            Some(_) => format!("lines added: {lines_added}, removed: {lines_removed}{backup}"),
        });
    }
    Ok(())
}

const RULE: [&str; 6] = ["index", "file", "line", "rule", "effective", "method"];

fn show(context: &Context) -> Result<(), Failure> {
    let rules = rules(context)?;
    let record = |(index, entry): (usize, &HbaEntry)| -> Record {
        vec![
            ("index", index.into()),
            ("file", entry.file().into()),
            ("line", entry.line().into()),
            ("rule", entry.to_string().into()),
            ("effective", entry.effective_text().into()),
            ("method", entry.method.to_string().into()),
        ]
    };
    let records: Vec<_> = rules.iter().enumerate().map(record).collect();
    context.output.records(&RULE, &["index", "line", "rule"], &records)
}

fn add(context: &Context, options: &AddOptions) -> Result<(), Failure> {
    change(context, |rules| {
        let rule = options.rule.as_str();
        if let Some(entry) = rules.index(rule)?.and_then(|index| rules.get(index)) {
            // As an entry shows itself, without its passwords.
            let what = format!("the rule {:?} (line {} of {})", entry.to_string(), entry.line(), entry.file());
            return Err(Error::AlreadyExists { what });
        }
        match (options.at, options.before.as_deref(), options.after.as_deref()) {
            (Some(place), ..) => rules.insert(place, rule)?,
            (_, Some(before), _) => rules.insert_before(before, rule)?,
            (_, _, Some(after)) => rules.insert_after(after, rule)?,
            _ => rules.push(rule)?,
        }
        rules.alter_with(&options.writing.options())
    })
}

fn remove(context: &Context, options: &RemoveOptions) -> Result<(), Failure> {
    let found = rules(context)?;
    let index = match (options.index, options.rule.as_deref()) {
        (Some(index), _) => Some(index).filter(|index| found.get(*index).is_some()),
        (None, Some(rule)) => found.index(rule)?,
        (None, None) => None,
    };
    let entry = index.and_then(|index| found.get(index));
    let Some((index, entry)) = index.zip(entry) else {
        // The words that were given may have passwords in them.
        let what = options.index.map_or("such a rule".into(), |index| format!("a rule at place {index}"));
        return Err(Error::NotFound { what: format!("{what} in {}", found.path()) }.into());
    };
    let rule = (**entry).clone();
    context.ask(&format!("remove the rule {:?} (line {} of {})?", entry.to_string(), entry.line(), entry.file()))?;
    change(context, |rules| {
        // It is the same one still, or somebody else was at work meanwhile.
        match rules.get(index).is_some_and(|entry| **entry == rule) {
            true => rules.remove(index)?,
            false => {
                return Err(Error::Conflict {
                    what: format!("the rule at place {index}"),
                    mine: "its removal".into(),
                    theirs: "another rule there".into(),
                });
            }
        };
        rules.alter_with(&options.writing.options())
    })
}

fn decide(context: &Context, options: &DecideOptions) -> Result<(), Failure> {
    let (user, database) = (options.user.as_str(), options.database.as_str());
    let mut connection = match options.from {
        None => Connection::local(database, user),
        Some(address) => Connection::tcp(address, database, user),
    };
    connection.ssl = options.tls;
    if options.replication {
        connection.replication = Replication::Physical;
    }
    let rules = rules(context)?;
    if options.explain {
        return context.output.text(&format!("{}\n", rules.explain(&connection)?.trim_end()));
    }
    let decision = rules.decide(&connection)?;
    let (file, line) = match decision.rule() {
        None => (None, None),
        Some(place) => (Some(place.file.to_string()), Some(place.line)),
    };
    context.output.record(&vec![
        ("user", options.user.clone().into()),
        ("database", options.database.clone().into()),
        ("address", options.from.map(|address| address.to_string()).into()),
        ("tls", options.tls.into()),
        ("access", decision.access().to_string().into()),
        ("file", file.into()),
        ("line", line.into()),
        ("decision", decision.to_string().into()),
    ])
}

fn lint(context: &Context) -> Result<(), Failure> {
    let findings = rules(context)?.lint()?;
    let records: Vec<Record> = findings
        .iter()
        .map(|finding| {
            vec![
                ("severity", finding.severity().to_string().into()),
                ("kind", format!("{:?}", finding.kind).into()),
                ("file", finding.place.as_ref().map(|place| place.file.to_string()).into()),
                ("line", finding.place.as_ref().map(|place| place.line).into()),
                ("message", finding.message.clone().into()),
            ]
        })
        .collect();
    context.output.records(
        &["severity", "kind", "file", "line", "message"],
        &["severity", "line", "message"],
        &records,
    )?;
    match findings.iter().any(|finding| finding.severity() == Severity::Error) {
        true => Err(Failure::Said),
        false => Ok(()),
    }
}

fn matrix(context: &Context, options: &MatrixOptions) -> Result<(), Failure> {
    let rules = rules(context)?;
    let users = match options.user.as_slice() {
        [] => context.cluster.roles().iter()?.filter(|role| role.login).map(|role| Role::clone(&role).name).collect(),
        given => given.to_vec(),
    };
    let databases = match options.database.as_slice() {
        [] => {
            let open = context.cluster.databases().iter()?.filter(|database| database.allow_connections);
            open.map(|database| Database::clone(&database).name).collect()
        }
        given => given.to_vec(),
    };
    let matrix = rules.access_matrix(users, databases, options.from.iter().copied())?;
    if context.output.is_table() {
        return context.output.text(&matrix.to_string());
    }
    let outcomes = |cell: &AccessCell| {
        let tls = cell.tls.as_ref().map(|outcome| met(cell, outcome, true));
        [Some(met(cell, &cell.plain, false)), tls]
    };
    let records: Vec<Record> = matrix.cells.iter().flat_map(outcomes).flatten().collect();
    context.output.records(&["user", "database", "address", "tls", "access", "file", "line"], &[], &records)
}

fn met(cell: &AccessCell, outcome: &Outcome, tls: bool) -> Record {
    vec![
        ("user", cell.user.to_string().into()),
        ("database", cell.database.to_string().into()),
        ("address", cell.address.map(|address| address.to_string()).into()),
        ("tls", tls.into()),
        ("access", outcome.access().to_string().into()),
        ("file", outcome.rule().map(|rule| rule.file.to_string()).into()),
        ("line", outcome.rule().map(|rule| rule.line).into()),
    ]
}

fn backup(backup: &HbaBackup) -> Record {
    vec![("path", backup.path.clone().into()), ("time", backup.time.to_string().into()), ("size", backup.size.into())]
}

fn restore(context: &Context, path: Option<&str>, writing: &Writing) -> Result<(), Failure> {
    let rules = rules(context)?;
    let backups = rules.backups()?;
    let chosen = match path {
        Some(path) => backups.iter().find(|backup| backup.path == path),
        // A change that failed leaves a copy of what there is.
        None => backups.iter().find(|backup| !backup.is_of(rules.old_bytes())),
    };
    let Some(chosen) = chosen else {
        let what = path.map_or("a copy of an older file".to_owned(), |path| format!("the copy {path:?}"));
        return Err(Error::NotFound { what }.into());
    };
    context.ask(&format!("bring back {} ({})?", chosen.path, chosen.time))?;
    change(context, |rules| rules.restore_with(chosen, &writing.options()))
}
