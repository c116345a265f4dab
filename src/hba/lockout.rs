//! Who could not connect again, or perhaps not.
use super::decide::Judge;
use super::decision::Outcome;
use super::entry::HbaEntry;
use super::method::HbaMethod;
use super::rule::{ConnectionType, HbaRule};
use super::world::{Peer, PeerKind};
use std::fmt;

/// A session that there is now, and that the rules would not let connect again, or perhaps not. `Display` is one sentence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LockOut {
    /// The session.
    pub peer: Peer,
    /// What keeps it from connecting again, or may.
    pub reason: LockOutReason,
    /// What the rules decide about it.
    pub outcome: Outcome,
    /// The reason in words, with the rules themselves: their lines may be those of a file that nobody has written yet.
    words: String,
}

/// What keeps a session from connecting again, or may.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LockOutReason {
    /// It is refused, whatever it can prove.
    Refused,
    /// It is asked for a proof that it did not need before: by another method
    /// ([methods](https://www.postgresql.org/docs/current/client-authentication.html)), or by other options of the same.
    /// Nobody but its client knows whether it can give it.
    ChangedAuthentication {
        /// What the old rules decide about it.
        before: Outcome,
    },
}

impl fmt::Display for LockOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = match self.peer.kind {
            PeerKind::Own => "this program's own session",
            PeerKind::Replica => "the replica, subscription or backup",
            PeerKind::Other => "the session",
        };
        write!(f, "{whose} of {} (process {}) {}", self.peer.connection, self.peer.pid, self.words)
    }
}

/// The sessions that could not connect again under these rules, or perhaps not, and could under the old ones. Without
/// old ones, all that are refused.
pub(super) fn lock_outs<'s>(
    old: Option<&Judge<'_>>,
    new: &Judge<'_>,
    sessions: impl IntoIterator<Item = &'s Peer>,
) -> Vec<LockOut> {
    let mut found = Vec::new();
    for peer in sessions {
        let before = old.map(|old| (old, old.outcome(&peer.connection)));
        let outcome = new.outcome(&peer.connection);
        let found_here = match before {
            Some((_, before)) if before.is_refused() == Some(true) => None,
            _ if outcome.is_refused() == Some(true) => {
                Some((LockOutReason::Refused, format!("could not connect again: {}", in_words(new, &outcome))))
            }
            Some((old, before)) if asks_for_more(&admitting(old, &before), &admitting(new, &outcome)) => {
                let options = if before.access() == outcome.access() { "with other options, " } else { "" };
                let (was, is) = (in_words(old, &before), in_words(new, &outcome));
                let words = format!("may not be able to connect again: before, {was}; now, {options}{is}");
                Some((LockOutReason::ChangedAuthentication { before }, words))
            }
            _ => None,
        };
        found.extend(found_here.map(|(reason, words)| LockOut { peer: peer.clone(), reason, outcome, words }));
    }
    found
}

/// An outcome, and the text of the rules that it names.
fn in_words(judge: &Judge<'_>, outcome: &Outcome) -> String {
    let rules: Vec<_> = entries(judge, outcome).iter().map(|entry| format!("\"{entry}\"")).collect();
    if rules.is_empty() { outcome.to_string() } else { format!("{outcome} ({})", rules.join(", ")) }
}

/// The rules that decide or may decide.
fn entries<'a>(judge: &Judge<'a>, outcome: &Outcome) -> Vec<&'a HbaEntry> {
    let places = match outcome {
        Outcome::Rule(rule) => vec![rule],
        Outcome::ImplicitReject => Vec::new(),
        Outcome::Unknown { doubts, otherwise } => doubts.iter().map(|doubt| &doubt.rule).chain(otherwise).collect(),
    };
    places.into_iter().filter_map(|place| judge.rules().get(place.index).copied()).collect()
}

/// The same, but for those that refuse.
fn admitting<'a>(judge: &Judge<'a>, outcome: &Outcome) -> Vec<&'a HbaRule> {
    let rules = entries(judge, outcome).into_iter().map(HbaEntry::effective);
    rules.filter(|rule| rule.method != HbaMethod::Reject).collect()
}

/// Whether one of these rules asks for what none of the old ones asks for.
fn asks_for_more(old: &[&HbaRule], new: &[&HbaRule]) -> bool {
    new.iter().any(|new| !old.iter().any(|old| suffices(old, new)))
}

/// Whether a client that passes one rule surely passes another one, with what it has.
fn suffices(old: &HbaRule, new: &HbaRule) -> bool {
    // With these methods, options only ask for a certificate besides.
    let options_ask_for_more =
        matches!(new.method, HbaMethod::Trust | HbaMethod::Md5 | HbaMethod::Password | HbaMethod::ScramSha256);
    let no_more_options = old.options == new.options || options_ask_for_more && new.options.is_empty();
    // On a Unix-domain socket, ident is another word for peer.
    let method = |rule: &HbaRule| match (rule.connection, rule.method) {
        (ConnectionType::Local, HbaMethod::Ident) => HbaMethod::Peer,
        (_, method) => method,
    };
    method(old).suffices_for(method(new)) && no_more_options
}

#[cfg(test)]
mod tests {
    use super::super::connection::{Connection, Replication};
    use super::super::sample::{entries, world};
    use super::*;

    fn replica(pid: i32) -> Peer {
        let mut replica = Connection::tcp([10, 1, 2, 3], "", "bob");
        (replica.replication, replica.ssl) = (Replication::Physical, true);
        Peer::new(pid, PeerKind::Replica, replica)
    }

    #[test]
    fn who_was_refused_before_is_not_locked_out_now() {
        let sessions = [
            Peer::new(1, PeerKind::Own, Connection::tcp([10, 1, 2, 3], "db1", "alice")),
            replica(2),
            Peer::new(3, PeerKind::Other, Connection::local("db1", "carol")),
        ];
        let old = entries("host all all all md5\nhost replication all all md5\n");
        let new = entries("host all all all md5\n");
        let world = world(18);
        let (old, new) = (Judge::new(&old, &world), Judge::new(&new, &world));
        let pids = |found: Vec<LockOut>| found.into_iter().map(|lock_out| lock_out.peer.pid).collect::<Vec<_>>();
        assert_eq!(pids(lock_outs(Some(&old), &new, &sessions)), [2]);
        assert_eq!(pids(lock_outs(None, &new, &sessions)), [2, 3]);
        assert!(lock_outs(Some(&new), &old, &sessions).is_empty());
    }

    #[test]
    fn who_is_asked_for_what_he_need_not_have_may_be_locked_out() {
        // `/(?=b)` is an expression that only a server understands: whether its rule decides is not known.
        for (old, new, expected) in [
            ("host replication all all trust", "host replication all all scram-sha-256", true),
            ("host replication all all trust", "host all all all md5\nhost replication all all trust", false),
            ("host replication all all md5", "host replication all all scram-sha-256", true),
            ("host replication all all scram-sha-256", "host replication all all md5", false),
            ("hostssl replication all all cert", "hostssl replication all all trust", false),
            ("hostssl replication all all md5", "hostssl replication all all cert", true),
            ("hostssl replication all all trust", "hostssl replication all all trust clientcert=verify-full", true),
            ("hostssl replication all all md5 clientcert=verify-ca", "host replication all all md5", false),
            ("hostssl replication all all cert map=a", "hostssl replication all all cert", true),
            ("host replication all all reject", "host replication all all md5", false),
            (
                "host replication \"/(?=b)\" all trust\nhost replication all all md5",
                "host replication all samehost reject\n\
                 host replication \"/(?=b)\" all trust\nhost replication all all md5",
                false,
            ),
            (
                "host replication \"/(?=b)\" all trust\nhost replication all all md5",
                "host replication \"/(?=b)\" all scram-sha-256\nhost replication all all md5",
                true,
            ),
        ] {
            let world = world(18);
            let (before, after) = (entries(old), entries(new));
            let found = lock_outs(Some(&Judge::new(&before, &world)), &Judge::new(&after, &world), &[replica(1)]);
            let changed = |lock_out: &LockOut| matches!(lock_out.reason, LockOutReason::ChangedAuthentication { .. });
            assert_eq!(found.iter().map(changed).collect::<Vec<_>>(), vec![true; expected.into()], "{old}\n{new}");
        }
    }

    #[test]
    fn both_rules_are_named() {
        let told = |old, new| {
            let world = world(18);
            let (old, new) = (entries(old), entries(new));
            lock_outs(Some(&Judge::new(&old, &world)), &Judge::new(&new, &world), &[replica(7)])[0].to_string()
        };
        assert_eq!(
            told("host replication all all trust", "local all all peer\nhost replication all all scram-sha-256"),
            "the replica, subscription or backup of bob for physical replication from 10.1.2.3 with TLS (process 7) \
             may not be able to connect again: before, the rule in pg_hba.conf line 1 decides: trust \
             (\"host replication all all trust\"); now, the rule in pg_hba.conf line 2 decides: scram-sha-256 \
             (\"host replication all all scram-sha-256\")"
        );
        let other = told("hostssl replication all all cert map=a", "hostssl replication all all cert map=b");
        assert!(other.contains("; now, with other options, the rule in pg_hba.conf line 1 decides: cert ("), "{other}");
        let secret = told(
            "host replication all all trust",
            "host replication all all ldap ldapserver=x ldapbasedn=y ldapbindpasswd=\"a\"\"hunter2\"",
        );
        assert!(secret.ends_with(" ldapbasedn=y ldapbindpasswd=********\")"), "{secret}");
        let unknown =
            told("host replication all all trust", "host replication \"/(?=b)\" all md5\nhost all all all md5");
        assert!(unknown.ends_with(" is refused (\"host replication /(?=b) all md5\")"), "{unknown}");
    }
}
