//! Who may connect to a database.
use super::Database;
use crate::error::{Error, Result};
use crate::kind::Alter;
use crate::object::Object;
use crate::script::Field;
use crate::sql::{Ident, Sql};
use std::collections::BTreeSet;

/// Who may connect to a database: the privilege `CONNECT`
/// ([Privileges](https://www.postgresql.org/docs/current/ddl-priv.html)). What pg_hba.conf says comes on top of it.
///
/// Superusers may always, and so may the owner: neither is in it. The sessions that a role has when it
/// loses the privilege go on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectAccess {
    /// Whether every role may, as in a new database: `PUBLIC`.
    pub public: bool,
    /// The roles that may by a grant of their own. A member of one of them may too, and is not in it.
    pub roles: BTreeSet<String>,
}

/// As in a new database: every role may.
impl Default for ConnectAccess {
    fn default() -> Self {
        Self { public: true, roles: BTreeSet::new() }
    }
}

/// Whom a privilege is granted to. A text is the name of a role, whatever it says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Grantee {
    /// Every role.
    Public,
    /// One role.
    Role(String),
}

impl From<&str> for Grantee {
    fn from(role: &str) -> Self {
        Self::Role(role.into())
    }
}

impl From<String> for Grantee {
    fn from(role: String) -> Self {
        Self::Role(role)
    }
}

impl From<&String> for Grantee {
    fn from(role: &String) -> Self {
        Self::Role(role.clone())
    }
}

impl Grantee {
    /// As the catalogue query has it: nothing for `PUBLIC`.
    pub(super) fn read(name: String) -> Self {
        if name.is_empty() { Self::Public } else { Self::Role(name) }
    }

    pub(super) fn to_sql(&self) -> Sql {
        match self {
            Self::Public => sql!("PUBLIC"),
            Self::Role(name) => {
                let mut sql = sql!("{}", Ident(name));
                // PostgreSQL takes them for keywords even in quotes.
                if ["public", "none"].contains(&name.as_str()) {
                    sql.refuse(format!("role {name:?}"), "no role can have this name; every role is Grantee::Public");
                }
                sql
            }
        }
    }

    fn field(&self) -> Field {
        match self {
            Self::Public => "connect_access of PUBLIC".into(),
            Self::Role(name) => format!("connect_access of role {name:?}").into(),
        }
    }
}

impl ConnectAccess {
    /// Those who may here and may not there.
    fn lost_in(&self, other: &Self) -> Vec<Grantee> {
        let public = (self.public && !other.public).then_some(Grantee::Public);
        let roles = self.roles.difference(&other.roles).cloned().map(Grantee::Role);
        public.into_iter().chain(roles).collect()
    }

    /// The statements that make it into `wanted`: one to revoke, one to grant.
    pub(super) fn alter(&self, wanted: &Self, alter: &mut Alter) {
        for (verb, preposition, grantees) in
            [("REVOKE", "FROM", self.lost_in(wanted)), ("GRANT", "TO", wanted.lost_in(self))]
        {
            if grantees.is_empty() {
                continue;
            }
            let list = Sql::join(grantees.iter().map(Grantee::to_sql), ", ");
            let statement = sql!("{} CONNECT ON DATABASE {} {} {}", verb, alter.name(), preposition, list);
            alter.statement_about(grantees.iter().map(Grantee::field).collect(), statement);
        }
    }
}

impl Database {
    /// Refuses to revoke what somebody else than the owner granted: PostgreSQL would leave it without a word.
    pub(super) fn check_grantors(&self, wanted: &Self, alter: &mut Alter) {
        let lost = self.connect_access.lost_in(&wanted.connect_access);
        let other = lost.iter().find(|grantee| self.granted_by_others.contains(*grantee));
        if let Some(grantee) = other {
            alter.refuse(Error::invalid(
                format!("revocation of CONNECT on database {:?} from {}", self.name, grantee.to_sql()),
                "a role with the grant option granted it; connect as that role, or revoke it from that role with CASCADE",
            ));
        }
    }

    /// Refuses what PostgreSQL only warns of: a role that may connect but not grant is told that nothing was granted or
    /// revoked, and no error.
    pub(super) fn check_connect_taken(&self, wanted: &Self, after: &Self) -> Result<()> {
        let left = |grantee: &Grantee, access: &ConnectAccess| match grantee {
            Grantee::Public => access.public,
            Grantee::Role(name) => access.roles.contains(name),
        };
        let (had, want, have) = (&self.connect_access, &wanted.connect_access, &after.connect_access);
        let kept = had.lost_in(want).into_iter().find(|grantee| left(grantee, have));
        // An owner has the right, and is not in it.
        let is_owner = |grantee: &Grantee| matches!(grantee, Grantee::Role(name) if *name == after.owner);
        let missing = want.lost_in(had).into_iter().find(|grantee| !left(grantee, have) && !is_owner(grantee));
        let (verb, grantee) = match (kept, missing) {
            (Some(grantee), _) => ("revoke CONNECT from", grantee),
            (None, Some(grantee)) => ("grant CONNECT to", grantee),
            (None, None) => return Ok(()),
        };
        Err(Error::Denied {
            action: format!("{verb} {} on database {:?}", grantee.to_sql(), self.name),
            reason: "the current role may not say who connects".into(),
            remedy: "connect or become (SET ROLE) the owner, a member of the owner, or a superuser".into(),
        })
    }
}

impl Object<Database> {
    /// Lets roles, or every role, connect. Sends `GRANT CONNECT` for those that may not yet, and other changes not sent yet with it:
    /// all of it, or nothing.
    ///
    /// # Errors
    /// [`Error::Denied`] for a role that may not grant it, which PostgreSQL only warns; as for [`alter`](Object::alter).
    pub fn grant_connect(&mut self, grantees: impl IntoIterator<Item = impl Into<Grantee>>) -> Result<()> {
        for grantee in grantees {
            match grantee.into() {
                Grantee::Public => self.connect_access.public = true,
                Grantee::Role(name) => drop(self.connect_access.roles.insert(name)),
            }
        }
        self.alter()
    }

    /// Lets roles, or `PUBLIC`, connect no longer. Sends `REVOKE CONNECT` for those that may, and other changes not
    /// sent yet with it: all of it, or nothing. Whoever may for another reason (`PUBLIC`, a role that it
    /// is a member of) still may. A role that there is not may not, and is no error.
    ///
    /// # Errors
    /// [`Error::Invalid`] for what no role can be called; for the owner, who keeps the right, and for what a role with the grant option
    /// granted; [`Error::Denied`] for a role that may not revoke it, which PostgreSQL only warns; as for [`alter`](Object::alter).
    pub fn revoke_connect(&mut self, grantees: impl IntoIterator<Item = impl Into<Grantee>>) -> Result<()> {
        for grantee in grantees {
            let grantee = grantee.into();
            grantee.to_sql().check()?;
            match grantee {
                Grantee::Public => self.connect_access.public = false,
                Grantee::Role(name) if name == self.owner => {
                    let what = format!("revocation of CONNECT from the owner of {}", self.title());
                    return Err(Error::invalid(what, "the owner keeps it; give the database another owner"));
                }
                Grantee::Role(name) => drop(self.connect_access.roles.remove(&name)),
            }
        }
        self.alter()
    }
}
