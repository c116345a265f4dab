//! Databases.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::Record;
use super::super::units::{counted, readable};
use super::object::{self, AlterOptions, ListOptions, assignment, set};
use super::provision::{self, DeprovisionOptions, ProvisionOptions};
use clap::{Args, Subcommand, ValueEnum};
use pgsteward::{Cluster, CopyOptions, Database, DatabaseDropPreview, Error, Grantee, OpenSessions};

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// All of them, or those whose name matches
    List(ListOptions),
    /// One with all its fields
    Show { name: String },
    /// Make one
    Create(CreateOptions),
    /// Drop one
    Drop {
        name: String,
        /// End the sessions in it
        #[arg(long)]
        terminate: bool,
    },
    /// Give one another name
    Rename { name: String, new_name: String },
    /// Change fields
    Alter(AlterOptions),
    /// Who may connect
    #[command(subcommand)]
    ConnectAccess(AccessVerb),
    /// Make a database for each client, with a role of its own that alone can connect
    Provision(Box<ProvisionOptions>),
    /// Archive the databases of clients, and drop them and their roles
    Deprovision(DeprovisionOptions),
    /// Print the statements that make it, without what is in it
    Script { name: String },
}

#[derive(Args)]
pub(crate) struct CreateOptions {
    name: String,
    /// The database to copy
    #[arg(long)]
    template: Option<String>,
    /// End the sessions in the template
    #[arg(long, requires = "template")]
    terminate_template: bool,
    /// What to copy that PostgreSQL leaves behind
    #[arg(long, requires = "template", value_delimiter = ',', value_name = "WHAT")]
    copy: Vec<Copied>,
    /// The owner
    #[arg(long)]
    owner: Option<String>,
    /// The encoding
    #[arg(long)]
    encoding: Option<String>,
    /// A field and its value; can be given many times
    #[arg(short, long, value_name = "FIELD=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
}

/// What PostgreSQL does not copy with a template.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Copied {
    All,
    Owner,
    Privileges,
    Settings,
    ConnectionLimit,
    Comment,
}

#[derive(Subcommand)]
pub(crate) enum AccessVerb {
    /// Who may connect, besides the owner and superusers
    Show { name: String },
    /// Let roles connect
    Grant(AccessOptions),
    /// Let roles connect no longer
    Revoke(AccessOptions),
}

#[derive(Args)]
pub(crate) struct AccessOptions {
    name: String,
    /// The roles
    #[arg(required_unless_present = "public")]
    roles: Vec<String>,
    /// Every role: what PostgreSQL calls PUBLIC
    #[arg(long)]
    public: bool,
}

impl AccessOptions {
    /// Whom it is about. There must be such roles: a word that was mistyped must not pass for a right that is gone.
    fn grantees(&self, cluster: &Cluster) -> Result<Vec<Grantee>, Failure> {
        let roles = cluster.roles().with_system();
        let public = self.public.then_some(Grantee::Public);
        let mut grantees: Vec<Grantee> = public.into_iter().collect();
        for role in &self.roles {
            match roles.contains(role.as_str())? {
                true => grantees.push(role.into()),
                false if role.eq_ignore_ascii_case("public") => {
                    return Err(Failure::invalid(format!("role {role:?}"), "there is none; --public is every role"));
                }
                false => return Err(Error::NotFound { what: format!("role {role:?}") }.into()),
            }
        }
        Ok(grantees)
    }

    /// For messages.
    fn who(&self) -> String {
        let public = self.public.then_some("PUBLIC");
        public.into_iter().chain(self.roles.iter().map(String::as_str)).collect::<Vec<_>>().join(", ")
    }
}

pub(crate) fn run(context: &Context, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::List(options) => object::list::<Database>(context, options),
        Verb::Show { name } => object::show::<Database>(context, name),
        Verb::Create(options) => create(context, options),
        Verb::Drop { name, terminate } => drop_one(context, name, *terminate),
        Verb::Rename { name, new_name } => {
            context.change(&format!("renamed database {name} to {new_name}"), |cluster| {
                let mut database = object::find::<Database>(cluster, name)?;
                database.name.clone_from(new_name);
                database.alter()
            })
        }
        Verb::Alter(options) => object::alter::<Database>(context, options),
        Verb::ConnectAccess(verb) => connect_access(context, verb),
        Verb::Provision(options) => provision::provision(context, options),
        Verb::Deprovision(options) => provision::deprovision(context, options),
        Verb::Script { name } => object::script::<Database>(context, name),
    }
}

fn create(context: &Context, options: &CreateOptions) -> Result<(), Failure> {
    let mut value = Database::new(&options.name);
    value.owner = options.owner.clone().unwrap_or_default();
    value.encoding.clone_from(&options.encoding);
    set(&mut value, &options.set)?;
    let Some(template) = &options.template else { return object::create_value(context, value) };
    let mut copy = if options.copy.contains(&Copied::All) { CopyOptions::everything() } else { CopyOptions::new() };
    copy.owner |= options.copy.contains(&Copied::Owner);
    copy.privileges |= options.copy.contains(&Copied::Privileges);
    copy.settings |= options.copy.contains(&Copied::Settings);
    copy.connection_limit |= options.copy.contains(&Copied::ConnectionLimit);
    copy.comment |= options.copy.contains(&Copied::Comment);
    if options.terminate_template {
        let sessions = object::find::<Database>(&context.cluster, template)?.drop_preview()?.sessions;
        if !sessions.is_empty() {
            let who: Vec<_> = sessions.iter().map(ToString::to_string).collect();
            context.ask(&format!(
                "end {} of database {template:?} ({})?",
                counted(who.len(), "session"),
                who.join("; ")
            ))?;
        }
        copy.sessions = OpenSessions::Terminate;
    }
    let made = context.change(&format!("created database {} as a copy of {template}", options.name), |cluster| {
        object::find::<Database>(cluster, template)?.copy(value, &copy).map(drop)
    });
    match made {
        Err(Failure::Error(Error::InUse { action, what, by })) if !options.terminate_template => {
            Err(Error::InUse { action, what, by: by + " (--terminate-template ends sessions)" }.into())
        }
        made => made,
    }
}

fn drop_one(context: &Context, name: &str, terminate: bool) -> Result<(), Failure> {
    let asked = object::find::<Database>(&context.cluster, name)?;
    let preview = asked.drop_preview()?;
    preview.check()?;
    if !terminate && !preview.sessions.is_empty() {
        let by: Vec<_> = preview.sessions.iter().map(ToString::to_string).collect();
        let what = format!("database {name:?}");
        return Err(Error::InUse {
            action: format!("drop {what}"),
            what,
            by: by.join("; ") + " (--terminate ends them)",
        }
        .into());
    }
    context.ask(&question(&preview))?;
    context.change(&format!("dropped database {name}"), |cluster| {
        let database = object::find_again(cluster, name, &asked)?;
        if terminate { database.drop_force() } else { database.drop() }
    })
}

/// Names what will go.
fn question(preview: &DatabaseDropPreview) -> String {
    let mut along = Vec::new();
    along.extend(preview.size.map(readable));
    if !preview.sessions.is_empty() {
        let who: Vec<_> = preview.sessions.iter().map(ToString::to_string).collect();
        along.push(format!("{} that will be ended: {}", counted(who.len(), "session"), who.join("; ")));
    }
    if !preview.replication_slots.is_empty() {
        along.push(format!("replication slots {}", preview.replication_slots.join(", ")));
    }
    let along = if along.is_empty() { String::new() } else { format!(" ({})", along.join("; ")) };
    format!("drop database {:?}{along}?", preview.name)
}

fn connect_access(context: &Context, verb: &AccessVerb) -> Result<(), Failure> {
    match verb {
        AccessVerb::Show { name } => {
            let database = object::find::<Database>(&context.cluster, name)?;
            let access = &database.connect_access;
            let names = ["grantee", "kind"];
            let public = access.public.then(|| ("PUBLIC".to_owned(), "public"));
            let owner = Some((database.owner.clone(), "owner"));
            let roles = access.roles.iter().map(|role| (role.clone(), "role"));
            let record = |(grantee, kind): (String, &str)| -> Record {
                vec![("grantee", grantee.into()), ("kind", kind.into())]
            };
            let records: Vec<Record> = owner.into_iter().chain(public).chain(roles).map(record).collect();
            context.output.records(&names, &[], &records)
        }
        AccessVerb::Grant(options) => {
            let grantees = options.grantees(&context.cluster)?;
            let AccessOptions { name, .. } = options;
            context.change(&format!("granted CONNECT on database {name} to {}", options.who()), |cluster| {
                object::find::<Database>(cluster, name)?.grant_connect(grantees)
            })
        }
        AccessVerb::Revoke(options) => {
            let grantees = options.grantees(&context.cluster)?;
            let AccessOptions { name, .. } = options;
            let mut by_public = false;
            context.change(&format!("revoked CONNECT on database {name} from {}", options.who()), |cluster| {
                let mut database = object::find::<Database>(cluster, name)?;
                database.revoke_connect(grantees)?;
                by_public = database.connect_access.public;
                Ok(())
            })?;
            if by_public {
                context.output.say("every role still may connect, by the grant to PUBLIC, which --public revokes");
            }
            Ok(())
        }
    }
}
