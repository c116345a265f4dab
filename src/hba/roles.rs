//! Who is a member of which role.
use super::name::HbaName;
use std::collections::{HashMap, HashSet};

/// The roles of a cluster and their memberships, as `+role` and `samerole` in pg_hba.conf go by them
/// ([role membership](https://www.postgresql.org/docs/current/role-membership.html)).
///
/// A role is a member of itself and of everything that its groups are members of. Whether it inherits, may SET ROLE, or is
/// a superuser makes no difference.
///
/// ```
/// use pgsteward::hba::Roles;
/// let mut roles = Roles::new();
/// roles.add("bob", &["ops"]);
/// roles.add("ops", &["staff"]);
/// assert!(roles.is_member("bob", "staff") && roles.contains("staff"));
/// assert!(!roles.is_member("nobody", "nobody"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roles {
    roles: HashMap<HbaName, Role>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Role {
    groups: Vec<HbaName>,
    attributes: Attributes,
}

/// What a role may do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Attributes {
    pub(super) login: bool,
    pub(super) replication: bool,
}

impl Default for Attributes {
    fn default() -> Self {
        Self { login: true, replication: false }
    }
}

impl Roles {
    /// No roles.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a role that can log in, and the roles of which it is a direct member. One that is there already keeps its
    /// memberships and gets these besides.
    pub fn add<G>(&mut self, role: impl Into<HbaName>, groups: &[G])
    where
        G: Clone + Into<HbaName>,
    {
        let groups = groups.iter().cloned().map(Into::into).collect();
        self.insert(role.into(), groups, Attributes::default());
    }

    pub(super) fn insert(&mut self, role: HbaName, groups: Vec<HbaName>, attributes: Attributes) {
        for group in &groups {
            self.roles.entry(group.clone()).or_default();
        }
        let role = self.roles.entry(role).or_default();
        role.groups.extend(groups);
        role.attributes = attributes;
    }

    /// Whether there is such a role.
    pub fn contains(&self, role: impl Into<HbaName>) -> bool {
        self.roles.contains_key(&role.into())
    }

    /// Whether a role is a member of another, directly or not; false if one of them does not exist.
    pub fn is_member(&self, role: impl Into<HbaName>, group: impl Into<HbaName>) -> bool {
        self.groups_of(&role.into()).contains(&group.into())
    }

    pub(super) fn has(&self, role: &HbaName) -> bool {
        self.roles.contains_key(role)
    }

    /// Whether it exists, and cannot log in.
    pub(super) fn is_nologin(&self, role: &HbaName) -> bool {
        self.roles.get(role).is_some_and(|role| !role.attributes.login)
    }

    /// Whether it has the attribute REPLICATION.
    pub(super) fn is_for_replication(&self, role: &HbaName) -> bool {
        self.roles.get(role).is_some_and(|role| role.attributes.replication)
    }

    /// All roles of which it is a member, itself among them; none for one that does not exist.
    pub(super) fn groups_of(&self, role: &HbaName) -> HashSet<&HbaName> {
        let mut found = HashSet::new();
        let mut open: Vec<&HbaName> = vec![role];
        while let Some(next) = open.pop() {
            if let Some((name, role)) = self.roles.get_key_value(next) {
                if found.insert(name) {
                    open.extend(&role.groups);
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn membership_is_transitive_and_a_circle_is_no_danger() {
        let mut roles = Roles::new();
        roles.add("a", &["b"]);
        roles.add("b", &["c"]);
        roles.add("c", &["a"]);
        assert!(roles.is_member("a", "c") && roles.is_member("c", "b") && roles.is_member("a", "a"));
        assert!(!roles.is_member("a", "gone") && !roles.is_member("gone", "gone"));
    }

    #[test]
    fn a_group_is_a_role_whether_it_is_added_before_its_members_or_after_or_not_at_all() {
        let mut roles = Roles::new();
        roles.add("bob", &["ops"]);
        assert!(roles.is_member("bob", "ops") && roles.is_member("ops", "ops") && roles.contains("ops"));
        roles.add("ops", &["staff"]);
        roles.add("bob", &["devs"]);
        roles.add("ops", &[] as &[&str]);
        assert!(["ops", "staff", "devs"].iter().all(|group| roles.is_member("bob", *group)), "{roles:?}");
    }

    #[test]
    fn what_is_said_of_a_group_of_others_counts() {
        let mut roles = Roles::new();
        roles.add("bob", &["staff"]);
        assert!(!roles.is_nologin(&"staff".into()));
        roles.insert("staff".into(), Vec::new(), Attributes { login: false, replication: true });
        assert!(roles.is_nologin(&"staff".into()) && roles.is_for_replication(&"staff".into()));
        roles.insert("alice".into(), vec!["staff".into()], Attributes::default());
        assert!(roles.is_nologin(&"staff".into()));
    }
}
