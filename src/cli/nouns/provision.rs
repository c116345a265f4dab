//! A database for each client, and its end.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::interrupt;
use super::super::output::Record;
use super::super::progress::Progress;
use super::super::units::{counted, readable};
use super::object::{assignment, set};
use clap::{ArgGroup, Args, ValueEnum};
use pgsteward::backup::{Backup, Existing};
use pgsteward::{
    ClientDatabase, Cluster, DatabaseDropPreview, DeprovisionReport, Error, LoadAs, Provision, ProvisionEvent,
    ProvisionReport, Provisioned,
};
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which clients.
#[derive(Args)]
struct Clients {
    /// Names of databases; 'client{1..50}_inventory' is fifty of them
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Names of their roles, in the same order; like the databases, if not given
    #[arg(long, value_name = "NAME")]
    roles: Vec<String>,
}

impl Clients {
    fn list(&self) -> Result<Vec<ClientDatabase>, Failure> {
        let databases = expanded(&self.names)?;
        if self.roles.is_empty() {
            return Ok(databases);
        }
        let roles = expanded(&self.roles)?;
        if roles.len() != databases.len() {
            let (roles, databases) = (counted(roles.len(), "role"), counted(databases.len(), "database"));
            return Err(Failure::invalid("names of roles", format!("{roles} for {databases}: each has one")));
        }
        // What stands for one name is a database and a role of that name.
        Ok(databases.into_iter().zip(roles).map(|(client, role)| client.role(role.role)).collect())
    }
}

fn expanded(patterns: &[String]) -> pgsteward::Result<Vec<ClientDatabase>> {
    let lists = patterns.iter().map(|pattern| ClientDatabase::by_pattern(pattern));
    Ok(lists.collect::<pgsteward::Result<Vec<_>>>()?.concat())
}

#[derive(Args)]
pub(crate) struct ProvisionOptions {
    #[command(flatten)]
    clients: Clients,
    /// Where the passwords go: a file to make, with mode 0600, in the form of .pgpass; - for the report
    #[arg(long, value_name = "FILE")]
    passwords: PathBuf,
    /// A SQL file to run in each, or a folder of them; can be given many times
    #[arg(long, value_name = "PATH")]
    schema: Vec<PathBuf>,
    /// As whom the files are run
    #[arg(long, value_enum, default_value_t = As::Client, value_name = "WHOM")]
    load_as: As,
    /// The encoding
    #[arg(long)]
    encoding: Option<String>,
    /// The database to copy
    #[arg(long)]
    template: Option<String>,
    /// A field of each database and its value; can be given many times
    #[arg(short, long, value_name = "FIELD=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// A field of each role and its value; can be given many times
    #[arg(long, value_name = "FIELD=VALUE", value_parser = assignment)]
    set_role: Vec<(String, String)>,
    /// A setting of each database and its value; given again for a list
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    setting: Vec<(String, String)>,
    /// How many are made at a time
    #[arg(long, default_value_t = 4, value_name = "NUMBER")]
    jobs: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum As {
    /// As the client's role, whose is then what they make
    Client,
    /// As the role that is connected
    Connected,
}

impl ProvisionOptions {
    fn provision(&self) -> Result<Provision, Failure> {
        let Self { clients, passwords, schema, load_as, encoding, template, set: fields, set_role, setting, jobs } =
            self;
        let mut provision = Provision::new(clients.list()?);
        refuse(fields, &["name", "owner"], "database")?;
        refuse(set_role, &["name", "login"], "role")?;
        set(&mut provision.database, fields)?;
        set(&mut provision.role, set_role)?;
        // What an option of its own says counts before a field.
        provision.database.encoding = encoding.clone().or(provision.database.encoding);
        provision.database.template = template.clone().or(provision.database.template);
        for (name, value) in setting {
            match provision.settings.iter_mut().find(|(known, _)| known == name) {
                Some((_, values)) => values.push(value.clone()),
                None => provision.settings.push((name.clone(), vec![value.clone()])),
            }
        }
        provision.files.clone_from(schema);
        provision.load_as = match load_as {
            As::Client => LoadAs::Client,
            As::Connected => LoadAs::Connected,
        };
        provision.password_file = Some(passwords.clone()).filter(|path| path != Path::new("-"));
        provision.jobs = *jobs;
        Ok(provision)
    }
}

/// Refuses fields that would not be looked at.
fn refuse(fields: &[(String, String)], names: &[&str], kind: &str) -> Result<(), Failure> {
    match fields.iter().find(|(field, _)| names.contains(&field.as_str())) {
        None => Ok(()),
        Some((field, _)) => {
            let why = "it follows from the names of the client; --roles has those of roles";
            Err(Failure::invalid(format!("field {field:?} of each {kind}"), why))
        }
    }
}

pub(crate) fn provision(context: &Context, options: &ProvisionOptions) -> Result<(), Failure> {
    let provision = options.provision()?;
    let progress = Progress::new(context, u64::try_from(provision.clients.len()).ok());
    let mut done = 0;
    let mut report = ProvisionReport::default();
    context.change("", |cluster| {
        report = cluster.provision(&provision, |event| {
            if !matches!(event, ProvisionEvent::Begun(_)) {
                done += 1;
            }
            match event {
                ProvisionEvent::Begun(client) => progress.at(done, &client.database),
                ProvisionEvent::Failed(client, error) => progress.aside(|| failed(context, client, error)),
                _ => progress.at(done, ""),
            }
            if interrupt::happened() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(())
    })?;
    drop(progress);
    if context.is_planning() {
        return planned(context, &report.failed);
    }
    let (is_complete, in_report) = (report.is_complete(), provision.password_file.is_none());
    print(context, &provision.clients, &outcomes(&report), in_report)?;
    if !report.made.is_empty() && !report.open_databases.is_empty() {
        let open = report.open_databases.join(", ");
        context.output.say(&format!("everybody may connect to these databases, the new roles too: {open}"));
    }
    if is_complete { Ok(()) } else { Err(Failure::said(report.failed.iter().map(|(_, error)| error))) }
}

/// Says what a plan leaves out because it would fail.
fn planned(context: &Context, errors: &[(ClientDatabase, Error)]) -> Result<(), Failure> {
    errors.iter().for_each(|(client, error)| failed(context, client, error));
    if errors.is_empty() { Ok(()) } else { Err(Failure::said(errors.iter().map(|(_, error)| error))) }
}

fn failed(context: &Context, client: &ClientDatabase, error: &Error) {
    context.output.complain(&format!("database {:?}: {error}", client.database));
}

/// What became of a client.
#[derive(Default)]
struct Outcome {
    word: &'static str,
    password: Option<String>,
    error: Option<String>,
}

impl Outcome {
    fn new(word: &'static str) -> Self {
        Self { word, ..Self::default() }
    }

    fn of(error: &Error) -> Self {
        Self { error: Some(error.to_string()), ..Self::new("failed") }
    }
}

type Outcomes<'r> = HashMap<&'r ClientDatabase, Outcome>;

fn outcomes(report: &ProvisionReport) -> Outcomes<'_> {
    let made = report.made.iter().map(|Provisioned { client, password, .. }| {
        let password = password.as_ref().map(|password| password.reveal().to_owned());
        (client, Outcome { password, ..Outcome::new("made") })
    });
    let skipped = report.skipped.iter().map(|client| (client, Outcome::new("skipped")));
    let failed = report.failed.iter().map(|(client, error)| (client, Outcome::of(error)));
    let not_tried = report.not_tried.iter().map(|client| (client, Outcome::new("not_tried")));
    made.chain(skipped).chain(failed).chain(not_tried).collect()
}

/// Prints a report in the order in which the clients were given. This is where passwords are handed out that are in no
/// file.
fn print(
    context: &Context,
    clients: &[ClientDatabase],
    outcomes: &Outcomes<'_>,
    passwords: bool,
) -> Result<(), Failure> {
    let record = |client: &ClientDatabase, outcome: &Outcome| -> Record {
        let mut record = vec![
            ("database", client.database.clone().into()),
            ("role", client.role.clone().into()),
            ("outcome", outcome.word.into()),
            ("error", outcome.error.clone().into()),
        ];
        if passwords {
            record.push(("password", outcome.password.clone().map_or(Value::Null, Value::from)));
        }
        record
    };
    let found = clients.iter().filter_map(|client| outcomes.get(client).map(|outcome| record(client, outcome)));
    let records: Vec<_> = found.collect();
    let names: &[&'static str] = match passwords {
        true => &["database", "role", "outcome", "error", "password"],
        false => &["database", "role", "outcome", "error"],
    };
    let printed = context.output.records(names, &["database", "role", "outcome", "password"], &records);
    match printed {
        // Also where nobody reads on: what was handed out did not arrive.
        Err(_) if passwords => {
            let action = "write the passwords; `pgsteward role password` sets others".into();
            Err(Error::Io { action, cause: Arc::new(io::Error::other("the output was closed")) }.into())
        }
        printed => printed,
    }
}

#[derive(Args)]
#[command(group(ArgGroup::new("what_is_kept").args(["archive", "no_archive"]).required(true)))]
pub(crate) struct DeprovisionOptions {
    #[command(flatten)]
    clients: Clients,
    /// A folder: each database is dumped into a file NAME.dump there before it is dropped
    #[arg(long, value_name = "FOLDER")]
    archive: Option<PathBuf>,
    /// Drop without an archive
    #[arg(long)]
    no_archive: bool,
    /// Replace dumps that are in the folder already
    #[arg(long, requires = "archive")]
    replace: bool,
}

pub(crate) fn deprovision(context: &Context, options: &DeprovisionOptions) -> Result<(), Failure> {
    let clients = options.clients.list()?;
    let found = options.check(&context.cluster, &clients)?;
    if !found.is_empty() {
        context.ask(&options.question(&found))?;
    }
    let progress = Progress::new(context, u64::try_from(clients.len()).ok());
    let mut report = DeprovisionReport::default();
    context.change("", |cluster| {
        report = match &options.archive {
            None => cluster.deprovision_without_archive(&clients),
            Some(folder) => cluster.deprovision(&clients, |client, there| {
                let place = clients.iter().position(|other| other == client).unwrap_or_default();
                progress.at(u64::try_from(place).unwrap_or_default(), &client.database);
                options.back_up(folder, client, there)
            }),
        }?;
        Ok(())
    })?;
    drop(progress);
    if context.is_planning() {
        return planned(context, &report.failed);
    }
    let DeprovisionReport { dropped, absent, failed: not_dropped, not_tried, .. } = &report;
    let words = [(dropped, "dropped"), (absent, "absent"), (not_tried, "not_tried")];
    let words = words.into_iter().flat_map(|(list, word)| list.iter().map(move |client| (client, Outcome::new(word))));
    let errors = not_dropped.iter().map(|(client, error)| (client, Outcome::of(error)));
    not_dropped.iter().for_each(|(client, error)| failed(context, client, error));
    print(context, &clients, &words.chain(errors).collect(), false)?;
    let all_gone = not_dropped.is_empty() && not_tried.is_empty();
    if all_gone { Ok(()) } else { Err(Failure::said(not_dropped.iter().map(|(_, error)| error))) }
}

impl DeprovisionOptions {
    /// What there is of the clients, each with its role, if all of it can be dropped.
    fn check(
        &self,
        cluster: &Cluster,
        clients: &[ClientDatabase],
    ) -> Result<Vec<(String, DatabaseDropPreview)>, Failure> {
        let mut found = Vec::new();
        for client in clients {
            let ClientDatabase { database: name, role, .. } = client;
            let Some(database) = cluster.databases().find(name.as_str())? else { continue };
            if database.owner != *role {
                let why = format!("it belongs to role {:?}, and not to role {role:?}", database.owner);
                return Err(Failure::invalid(format!("database {name:?} to deprovision"), why));
            }
            let preview = database.drop_preview()?;
            preview.check()?;
            found.push((role.clone(), preview));
            let Some(folder) = &self.archive else { continue };
            if !folder.is_dir() {
                return Err(Failure::invalid(format!("archive {folder:?}"), "it is not a folder"));
            }
            let file = folder.join(file_name(name));
            if !self.replace && file.symlink_metadata().is_ok() {
                return Err(Error::AlreadyExists { what: format!("file {file:?} (--replace writes a new one)") }.into());
            }
        }
        Ok(found)
    }

    /// Names what will go.
    fn question(&self, found: &[(String, DatabaseDropPreview)]) -> String {
        const MOST: usize = 50;
        let mut lines: Vec<String> = found.iter().take(MOST).map(line).collect();
        if found.len() > MOST {
            lines.push(format!("  and {} more", found.len() - MOST));
        }
        let size = readable(found.iter().filter_map(|(_, preview)| preview.size).sum());
        let what = format!("{} ({size}) and the roles", counted(found.len(), "database"));
        let how = match &self.archive {
            Some(folder) => format!("archive in {folder:?} and drop {what}?"),
            None => format!("drop {what} without an archive?"),
        };
        format!("{}\n{how}", lines.join("\n"))
    }

    fn back_up(&self, folder: &Path, client: &ClientDatabase, there: &Cluster) -> pgsteward::Result<()> {
        let mut backup = Backup::on_client(folder.join(file_name(&client.database)));
        backup.existing = if self.replace { Existing::Replace } else { Existing::Refuse };
        let ended = |_: &pgsteward::backup::Progress<'_>| match interrupt::is_passed_on() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        there.backup_with(&backup, &mut { ended }).map(drop)
    }
}

fn line((role, preview): &(String, DatabaseDropPreview)) -> String {
    let size = preview.size.map_or(String::new(), |size| format!(", {}", readable(size)));
    let sessions = match preview.sessions.len() {
        0 => String::new(),
        number => format!(", {} that will be ended", counted(number, "session")),
    };
    format!("  database {:?}, role {role:?}{size}{sessions}", preview.name)
}

/// The name of a file for a database, whatever that is called.
fn file_name(database: &str) -> String {
    database.replace('%', "%25").replace('/', "%2F") + ".dump"
}

#[cfg(test)]
mod tests {
    use super::file_name;

    #[test]
    fn an_archive_is_in_its_folder_whatever_the_database_is_called() {
        for (database, file) in
            [("shop", "shop.dump"), ("../x", "..%2Fx.dump"), ("a%2Fb", "a%252Fb.dump"), ("..", "...dump")]
        {
            assert_eq!(file_name(database), file);
        }
    }
}
