//! All tables at one moment, and as they stay until the end of the transaction.
use super::index::{self, ISO, Making};
use super::name::PREFIX;
use super::selection::Chosen;
use super::survey::{Columns, Survey, columns_of, no_answer, read_columns};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::name::Name;
use crate::row::Row;
use crate::session::Session;
use crate::sql::{Lit, Sql};
use jiff::Timestamp;
use postgres::error::SqlState;
use std::collections::BTreeMap;

/// How often it is tried when tables are changed while their locks are waited for.
pub(super) const TRIES: u32 = 5;

/// What the tables are kept from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Hold {
    /// From other definitions, and from being emptied: ACCESS SHARE.
    Read,
    /// The same, and nothing but tables is read.
    Look,
    /// From everybody else: ACCESS EXCLUSIVE.
    Write,
}

/// What there is at the moment.
pub(super) struct Moment {
    pub(super) now: Timestamp,
    pub(super) chosen: Chosen,
    by_name: BTreeMap<Name, u32>,
    pub(super) survey: Survey,
    pub(super) columns: Columns,
    /// The names of schemas that a new snapshot cannot have.
    pub(super) taken_names: Vec<String>,
    /// Who would have rights in a new schema without being told so; empty for PUBLIC.
    pub(super) grantees: Vec<String>,
    /// How a new snapshot is to be made.
    pub(super) making: Making,
}

/// The transaction around.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Around {
    Nothing,
    /// Each statement sees what others have committed by then.
    Statements,
    /// All statements see what there was when it began.
    OneMoment,
}

impl Around {
    fn ask(session: &Session, action: &str) -> Result<Self> {
        if !session.is_inside(action)? {
            return Ok(Self::Nothing);
        }
        let question = sql!("SELECT pg_catalog.current_setting('transaction_isolation') AS level");
        let answers = session.run(action, &[question])?;
        match answers.iter().flatten().next().ok_or_else(no_answer)?.text("level")?.starts_with("read ") {
            true => Ok(Self::Statements),
            false => Ok(Self::OneMoment),
        }
    }
}

/// Chooses tables, locks them, and does something with them, all or nothing.
pub(super) fn at_one_moment<R>(
    cluster: &Cluster,
    action: &str,
    hold: Hold,
    choose: impl Fn(&Survey) -> Result<Chosen>,
    mut f: impl FnMut(&Moment) -> Result<R>,
) -> Result<R> {
    let session = cluster.session();
    let _turn = session.turn();
    let around = Around::ask(session, action)?;
    if around == Around::OneMoment && hold == Hold::Write {
        let why = "rows that others added after it began would be lost unseen; use READ COMMITTED, or no transaction";
        return Err(Error::invalid(format!("attempt to {action} in a REPEATABLE READ transaction"), why));
    }
    let mut tried = 0;
    loop {
        let before = choose(&Survey::ask(session, action)?)?;
        let (mut chosen_anew, mut locked) = (false, false);
        let result = session.atomically(action, |transaction| {
            let answers = transaction.send(&opening(&before, hold, around))?;
            locked = true;
            let moment = Moment::read(&answers, &choose)?;
            if moment.chosen != before {
                chosen_anew = true;
                return Err(changed(action));
            }
            let moment = moment.with_columns(session, action)?;
            let result = f(&moment)?;
            if around != Around::Nothing {
                session.run(action, &[bring_back(hold.settings())])?;
            }
            Ok(result)
        });
        tried += 1;
        match result {
            Err(error) if tried < TRIES && (chosen_anew || met_another(&error, locked)) => {}
            result => return result.map(|(result, _)| result),
        }
    }
}

/// As at a moment, without locks: for a plan.
pub(super) fn as_it_is(cluster: &Cluster, action: &str, choose: impl Fn(&Survey) -> Result<Chosen>) -> Result<Moment> {
    let session = cluster.session();
    let mut questions = Survey::queries().to_vec();
    questions.extend([clock(), other_names(), default_grantees(), Making::ask()]);
    let answers = session.run(action, &questions)?;
    Moment::read(&answers, &choose)?.with_columns(session, action)
}

impl Moment {
    /// From the last answers: they are those to the questions of [`opening`].
    fn read(answers: &[Vec<Row>], choose: &impl Fn(&Survey) -> Result<Chosen>) -> Result<Self> {
        let [.., relations, sequences, clock, names, grantees, making] = answers else { return Err(no_answer()) };
        let survey = Survey::read_both(relations, sequences)?;
        let texts = |rows: &[Row]| rows.iter().map(|row| row.text("name")).collect::<Result<_>>();
        let chosen = choose(&survey)?;
        Ok(Self {
            now: index::moment(clock.first().ok_or_else(no_answer)?, "now")?,
            by_name: chosen.tables().map(|table| (table.name.clone(), table.oid)).collect(),
            chosen,
            survey,
            columns: Columns::new(),
            taken_names: texts(names)?,
            grantees: texts(grantees)?,
            making: Making::read(making)?,
        })
    }

    /// The OID of a table that was chosen.
    pub(super) fn table(&self, name: &Name) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    fn with_columns(mut self, session: &Session, action: &str) -> Result<Self> {
        let answers = session.run(action, &[columns_of(&self.chosen.oids())])?;
        self.columns = read_columns(answers.first().ok_or_else(no_answer)?)?;
        Ok(self)
    }
}

/// Locks the tables before anything is looked at: what is seen is then of one moment, and TRUNCATE, which shows in
/// transactions that began before it, cannot come between.
fn opening(chosen: &Chosen, hold: Hold, around: Around) -> Vec<Sql> {
    let mut statements = Vec::new();
    if around == Around::Nothing && hold != Hold::Write {
        statements.push(sql!("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"));
    }
    let mode = match (hold, around) {
        (Hold::Write, _) => "ACCESS EXCLUSIVE",
        // Nobody writes until the end: so all statements see the same.
        (Hold::Read | Hold::Look, Around::Statements) => "SHARE",
        (Hold::Read | Hold::Look, _) => "ACCESS SHARE",
    };
    statements.extend(lock(chosen, mode));
    statements.push(put_away(hold.settings()));
    statements.extend(Survey::queries());
    statements.extend([clock(), other_names(), default_grantees(), Making::ask()]);
    statements
}

/// `LOCK TABLE`, in the order of the choice.
pub(super) fn lock(chosen: &Chosen, mode: &'static str) -> Option<Sql> {
    let names = chosen.relations.iter().map(|relation| sql!("ONLY {}", relation.name));
    let names = Sql::join(names, ", ");
    (!names.is_empty()).then(|| sql!("LOCK TABLE {} IN {} MODE", names, mode))
}

/// The server's time: the one that snapshots are dated by.
pub(super) fn clock() -> Sql {
    sql!("SELECT pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC', {}) AS now", ISO)
}

pub(super) fn other_names() -> Sql {
    sql!(
        "SELECT n.nspname AS name FROM pg_catalog.pg_namespace n WHERE pg_catalog.starts_with(n.nspname::text, {})",
        Lit(PREFIX)
    )
}

/// Default privileges on schemas: ALTER DEFAULT PRIVILEGES.
pub(super) fn default_grantees() -> Sql {
    sql!(
        "SELECT DISTINCT CASE WHEN e.grantee = 0 THEN '' ELSE pg_catalog.pg_get_userbyid(e.grantee)::text END AS name \
         FROM pg_catalog.pg_default_acl d, pg_catalog.aclexplode(d.defaclacl) e \
         WHERE d.defaclobjtype = 'n' AND d.defaclrole = (SELECT r.oid FROM pg_catalog.pg_roles r \
         WHERE r.rolname = current_user) AND e.grantee <> d.defaclrole"
    )
}

/// Settings of the server, and what they must be.
pub(super) type Settings = &'static [(&'static str, &'static str)];

/// While rows are copied no policy hides some of them without an error, and foreign keys are checked.
const COPYING: Settings = &[("row_security", "off"), ("session_replication_role", "origin")];

/// While others' tables are read nothing of theirs runs, also if a view takes a table's place meanwhile. Servers before
/// August 2024 do not have the second
/// ([Client Connection Defaults](https://www.postgresql.org/docs/current/runtime-config-client.html#GUC-RESTRICT-NONSYSTEM-RELATION-KIND)).
pub(super) const LOOKING: Settings =
    &[("row_security", "off"), ("restrict_nonsystem_relation_kind", "view, foreign-table")];

impl Hold {
    fn settings(self) -> Settings {
        match self {
            Self::Look => LOOKING,
            Self::Read | Self::Write => COPYING,
        }
    }
}

/// Sets what the server has of these until the end of the transaction.
pub(super) fn put_away(settings: Settings) -> Sql {
    let settings = settings.iter().map(|(name, value)| {
        let kept =
            sql!("pg_catalog.set_config('pgsteward.{}', pg_catalog.current_setting('{}', true), true)", *name, *name);
        sql!("{}, {}", kept, set(name, sql!("'{}'", *value)))
    });
    sql!("SELECT {}", Sql::join(settings, ", "))
}

/// In a transaction of the user's the settings outlive ours.
pub(super) fn bring_back(settings: Settings) -> Sql {
    let settings =
        settings.iter().map(|(name, _)| set(name, sql!("pg_catalog.current_setting('pgsteward.{}')", *name)));
    sql!("SELECT {}", Sql::join(settings, ", "))
}

/// Sets what differs: an ordinary role may not set `session_replication_role`, not even to what it is.
fn set(name: &'static str, value: Sql) -> Sql {
    sql!(
        "CASE WHEN pg_catalog.current_setting('{}', true) <> {} THEN pg_catalog.set_config('{}', {}, true) END",
        name,
        value,
        name,
        value
    )
}

fn changed(action: &str) -> Error {
    Error::Conflict {
        what: "the choice of tables".into(),
        mine: format!("to {action}"),
        theirs: "other tables each time that the locks were given".into(),
    }
}

/// Whether somebody dropped one of the tables before it was locked, or made a snapshot of the same name at the same
/// moment.
fn met_another(error: &Error, locked: bool) -> bool {
    let is = |code: SqlState| error.code() == Some(&code);
    // Names of indexes are not translated.
    let same_name = is(SqlState::DUPLICATE_SCHEMA) || error.to_string().contains("pg_namespace_nspname_index");
    same_name || !locked && is(SqlState::UNDEFINED_TABLE)
}
