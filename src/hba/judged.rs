//! What a list of rules can be asked about: who may connect, what is wrong with it.
use super::alter_options::HbaProbe;
use super::connection::Connection;
use super::decide::Judge;
use super::decision::Decision;
use super::entry::HbaEntry;
use super::finding::{Finding, FindingKind, Place};
use super::list::{HbaFile, HbaRules};
use super::lockout::{LockOut, LockOutReason, lock_outs};
use super::matrix::AccessMatrix;
use super::name::HbaName;
use super::traps::traps;
use super::world::{PeerKind, World};
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

impl HbaFile {
    /// The rules, with all changes, ready to be asked about connections to a server like this one. Sends nothing.
    ///
    /// ```
    /// # fn main() -> pgsteward::Result<()> {
    /// use pgsteward::ServerVersion;
    /// use pgsteward::hba::{Connection, Dialect, HbaFile, World};
    ///
    /// let version = ServerVersion::parse("16.4")?;
    /// let text = "local all all peer\nhost shop /^app_ 10.0.0.0/8 scram-sha-256\n";
    /// let hba = HbaFile::from_bytes("pg_hba.conf", text, Dialect::new(version.clone()));
    /// let world = World::new(version);
    /// let decision = hba.judge(&world).decide(&Connection::tcp([10, 0, 0, 7], "shop", "app_rw"));
    /// assert_eq!(decision.to_string(), "the rule in pg_hba.conf line 2 decides: scram-sha-256");
    /// # Ok(())
    /// # }
    /// ```
    pub fn judge<'a>(&'a self, world: &'a World) -> Judge<'a> {
        Judge::new(self, world)
    }

    /// Says what is wrong with the rules and the files, with all changes, or may be; for a server like this one. What is
    /// about a line of a file comes in the order of the lines, what is about sessions last, the gravest first. Lines of
    /// the main file are counted as it would be with all changes. Sends nothing.
    pub fn lint_in(&self, world: &World) -> Vec<Finding> {
        let path = Arc::<str>::from(self.path());
        let mut findings = self.traps(&path);
        findings.extend(self.judge(world).lint());
        findings.extend(self.changed_authentication(world));
        findings.extend(self.faults().into_iter().map(|fault| Finding::of_fault(FindingKind::Fault, fault)));
        let never = findings.iter().filter(|finding| finding.kind == FindingKind::NeverMatches);
        let never: HashSet<Option<Place>> = never.map(|finding| finding.place.clone()).collect();
        let warnings = self.warnings().into_iter().map(|fault| Finding::of_fault(FindingKind::NeverMatches, fault));
        findings.extend(warnings.filter(|finding| !never.contains(&finding.place)));
        findings.sort_by_key(|finding| match &finding.place {
            Some(place) if !finding.kind.is_about_sessions() => (0, *place.file != *path, Some(place.clone()), None),
            _ => (1, true, None, Some(Reverse(finding.severity()))),
        });
        findings
    }

    /// An explanation, after a warning where the rules cannot be those of a server.
    fn explain_in(&self, world: &World, connection: &Connection) -> String {
        let warning =
            self.faults().into_iter().next().map(|fault| {
                format!("the server would not load these rules but go on with those that it has: {fault}\n")
            });
        warning.unwrap_or_default() + &self.judge(world).explain(connection)
    }

    /// The list without its changes.
    fn as_read(&self) -> Self {
        let mut file = self.clone();
        file.revert();
        file
    }

    /// The sessions of this program's, and the replicas, for which the changes mean another proof.
    fn changed_authentication(&self, world: &World) -> Vec<Finding> {
        if world.sessions.is_empty() || !self.is_changed() {
            return Vec::new();
        }
        let before = self.as_read();
        let dear = world.sessions.iter().filter(|peer| peer.kind != PeerKind::Other);
        let mut found = lock_outs(Some(&before.judge(world)), &self.judge(world), dear);
        found.retain(|lock_out| lock_out.reason != LockOutReason::Refused);
        let kind = FindingKind::ChangedAuthentication;
        found.iter().map(|lock_out| Finding::of_lock_out(kind, lock_out)).collect()
    }

    /// What is in the text of the file and of those that it includes.
    fn traps(&self, path: &Arc<str>) -> Vec<Finding> {
        let files = self.files();
        let mut findings = traps(path, &self.new_bytes(), files, self.dialect());
        let faults = self.faults();
        let with_rules = self.iter().map(HbaEntry::file).chain(faults.iter().map(|fault| fault.file.as_str()));
        let with_rules: HashSet<&str> = with_rules.collect();
        for included in files.paths().filter(|included| **included != **path) {
            let Some(bytes) = files.get(included).flatten() else { continue };
            let mut found = traps(&included.into(), &bytes, files, self.dialect());
            // Commas make no lists in files of words.
            found.retain(|finding| with_rules.contains(included) || !finding.kind.is_about_lists());
            findings.extend(found);
        }
        findings
    }
}

impl HbaRules {
    /// Says which rule would decide about a connection, if the rules were as they are in the list now
    /// ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)), and why those before it would not.
    ///
    /// What it depends on besides is asked of the server: one round trip, and one more where a regular expression is one
    /// that only the server understands. Names of hosts are looked up by this machine's resolver; for another, and to say
    /// which addresses the server has, see [`World`].
    ///
    /// # Errors
    /// [`Error::Connection`], [`Error::Server`].
    pub fn decide(&self, connection: &Connection) -> Result<Decision> {
        let world = self.world_for(std::slice::from_ref(connection))?;
        Ok(self.judge(&world).decide(connection))
    }

    /// Decides about many connections, with no more round trips than about one.
    ///
    /// # Errors
    /// As for [`decide`](HbaRules::decide).
    pub fn decide_all(&self, connections: &[Connection]) -> Result<Vec<Decision>> {
        let world = self.world_for(connections)?;
        let judge = self.judge(&world);
        Ok(connections.iter().map(|connection| judge.decide(connection)).collect())
    }

    /// Says in words which rule would decide about a connection, and of each rule before it why it would not; and what the
    /// server refuses it for even so: a role or database that does not exist, a role that cannot log in. Says first if the
    /// server would not load such a file at all. Asks the server as [`decide`](HbaRules::decide) does.
    ///
    /// # Errors
    /// As for [`decide`](HbaRules::decide).
    pub fn explain(&self, connection: &Connection) -> Result<String> {
        let world = self.world_for(std::slice::from_ref(connection))?;
        Ok(self.explain_in(&world, connection))
    }

    /// Says what is wrong with the rules as they are in the list now, or may be: rules that never decide, open doors,
    /// databases and roles that do not exist, traps of the format, and sessions that could not connect again, or only
    /// with another proof than by the rules as they were read. Asks the server as [`decide`](HbaRules::decide) does.
    ///
    /// # Errors
    /// As for [`decide`](HbaRules::decide).
    pub fn lint(&self) -> Result<Vec<Finding>> {
        Ok(self.lint_in(&self.world_of_sessions()?))
    }

    /// Says what each of these users would meet who connects to each of these databases: over a Unix-domain socket, and
    /// from each of these addresses, with and without TLS. It goes by the rules alone, also for a role or a database that
    /// does not exist. A database `replication` is the one of this name, not physical replication. Asks the server as
    /// [`decide`](HbaRules::decide) does.
    ///
    /// # Errors
    /// As for [`decide`](HbaRules::decide).
    pub fn access_matrix<U, D>(
        &self,
        users: impl IntoIterator<Item = U>,
        databases: impl IntoIterator<Item = D>,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Result<AccessMatrix>
    where
        U: Into<HbaName>,
        D: Into<HbaName>,
    {
        let users: Vec<HbaName> = users.into_iter().map(Into::into).collect();
        let databases: Vec<HbaName> = databases.into_iter().map(Into::into).collect();
        // Where only the server understands an expression, it is asked about each name.
        let pairs = users.iter().flat_map(|user| databases.iter().map(move |database| (user, database)));
        let connections: Vec<_> =
            pairs.map(|(user, database)| Connection::local(database.clone(), user.clone())).collect();
        let world = self.world_for(&connections)?;
        Ok(self.judge(&world).access_matrix(users, databases, addresses))
    }

    /// The sessions that the rules in the list would keep from connecting again, or may because they ask for another
    /// proof, and that the rules as they were read would not: this program's own, and those of replicas, as far as the
    /// current role may see them.
    ///
    /// # Errors
    /// As for [`decide`](HbaRules::decide).
    pub fn lock_outs(&self) -> Result<Vec<LockOut>> {
        locked_out(self.cluster(), self, self)
    }

    fn world_for(&self, connections: &[Connection]) -> Result<World> {
        let mut world = World::load(self.cluster())?;
        let questions = self.judge(&world).questions(connections);
        world.ask(self.cluster(), questions)?;
        Ok(world)
    }

    /// The world, with answers for all sessions in it.
    fn world_of_sessions(&self) -> Result<World> {
        let mut world = World::load(self.cluster())?;
        ask_about_sessions(&mut world, self.cluster(), &[&self.as_read(), self])?;
        Ok(world)
    }
}

/// Refuses rules under which a session of this program's, or a replica, could not connect again, or perhaps not, that
/// could under the rules as they were read. Whether this session can give another proof the new connection will show, if
/// one is made; it is one like this session, and shows nothing of those to other databases.
///
/// # Errors
/// [`Error::Invalid`] names the sessions and the rules.
pub(super) fn check_lock_outs(cluster: &Cluster, before: &HbaFile, after: &HbaFile, probe: HbaProbe) -> Result<()> {
    let mut found = locked_out(cluster, before, after)?;
    if probe == HbaProbe::Connect {
        let tried = cluster.session().facts().pid;
        found.retain(|lock_out| lock_out.peer.pid != tried || lock_out.reason == LockOutReason::Refused);
    }
    if found.is_empty() {
        return Ok(());
    }
    let sessions: Vec<_> = found.iter().map(LockOut::to_string).collect();
    let is_tried = probe == HbaProbe::Connect && found.iter().any(|lock_out| lock_out.peer.kind == PeerKind::Own);
    let skip = if is_tried { ", and probe to HbaProbe::Skip" } else { "" };
    let why = format!("{}; if that is meant, set lock_out to OnLockOut::Allow{skip}", sessions.join("; "));
    Err(Error::invalid(format!("rules for {}", after.path()), why))
}

/// Who is kept out by one list, with its changes, or perhaps, and was not by another as it was read.
fn locked_out(cluster: &Cluster, before: &HbaFile, after: &HbaFile) -> Result<Vec<LockOut>> {
    let before = before.as_read();
    let mut world = World::load(cluster)?;
    world.sessions.retain(|peer| peer.kind != PeerKind::Other);
    ask_about_sessions(&mut world, cluster, &[&before, after])?;
    Ok(lock_outs(Some(&before.judge(&world)), &after.judge(&world), &world.sessions))
}

/// Asks the server what it takes to judge all sessions by these lists.
fn ask_about_sessions(world: &mut World, cluster: &Cluster, files: &[&HbaFile]) -> Result<()> {
    let connections: Vec<_> = world.sessions.iter().map(|peer| peer.connection.clone()).collect();
    let questions = files.iter().flat_map(|file| file.judge(world).questions(&connections)).collect();
    world.ask(cluster, questions)
}

#[cfg(test)]
mod tests {
    use super::super::dialect::Dialect;
    use super::super::files::Files;
    use super::super::sample::world;
    use super::super::world::Peer;
    use super::*;

    #[test]
    fn another_proof_than_by_the_file_as_it_was_read_is_found() {
        let mut world = world(18);
        let mut file = HbaFile::from_bytes("pg_hba.conf", "local all all peer", Dialect::new(world.version.clone()));
        let peer = |pid, kind| Peer::new(pid, kind, Connection::local("db1", "bob"));
        world.sessions = vec![peer(1, PeerKind::Own), peer(2, PeerKind::Other)];
        let found = |file: &HbaFile| {
            let kinds = file.lint_in(&world).into_iter().map(|finding| finding.kind);
            kinds.filter(|kind| kind.is_about_sessions()).collect::<Vec<_>>()
        };
        assert_eq!(found(&file), []);
        file.insert(0, "local db1 bob scram-sha-256").unwrap();
        assert_eq!(found(&file), [FindingKind::ChangedAuthentication]);
        file.insert(0, "local db1 bob reject").unwrap();
        assert_eq!(found(&file), [FindingKind::LockOut, FindingKind::OtherLockOut]);
    }

    #[test]
    fn an_explanation_warns_of_rules_that_no_server_loads() {
        let world = world(18);
        let explained = |text: &str| {
            let file = HbaFile::from_bytes("pg_hba.conf", text, Dialect::new(world.version.clone()));
            file.explain_in(&world, &Connection::local("db1", "bob"))
        };
        let good = explained("local all all peer\n");
        assert!(good.starts_with("bob to database db1 over "), "{good}");
        let bad = explained("local all all peer\nlocal all all sham\n");
        let warning = "the server would not load these rules but go on with those that it has: pg_hba.conf, line 2,";
        assert!(bad.starts_with(warning) && bad.ends_with(&good), "{bad}");
    }

    #[test]
    fn findings_come_in_the_order_of_the_lines_and_sessions_last() {
        let mut files = Files::new();
        let main =
            "local @names,all all peer\nhostssl all all all cert\n# x \\\nlocal all all trust\ninclude more\nlocal\n";
        files.insert("/etc/pg_hba.conf", Some(main.into()));
        files.insert("/etc/names", Some(b"a ,b\n\"c\n".to_vec()));
        files.insert("/etc/more", Some(b"local a ,b all peer".to_vec()));
        let mut dialect = Dialect::new(world(18).version);
        dialect.ssl = Some(false);
        let file = HbaFile::with_files("/etc/pg_hba.conf", files, dialect);
        let mut world = world(18);
        world.ssl = Some(false);
        world.sessions = vec![Peer::new(7, PeerKind::Own, Connection::tcp([10, 0, 0, 1], "a", "b"))];
        let findings = file.lint_in(&world);
        let told: Vec<_> = findings
            .iter()
            .map(|found| {
                (
                    found.kind,
                    found.place.as_ref().map_or(String::new(), |place| format!("{} {}", place.file, place.line)),
                )
            })
            .collect();
        let at = |place: &str| format!("/etc/{place}");
        assert_eq!(
            told,
            [
                (FindingKind::NeverMatches, at("pg_hba.conf 2")),
                (FindingKind::ContinuedComment, at("pg_hba.conf 3")),
                (FindingKind::Fault, at("pg_hba.conf 6")),
                (FindingKind::BlankBeforeComma, at("more 1")),
                (FindingKind::Fault, at("more 1")),
                (FindingKind::OpenQuote, at("names 2")),
                (FindingKind::LockOut, String::new()),
            ]
        );
    }
}
