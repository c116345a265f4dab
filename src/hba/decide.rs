//! Which rule decides, as the server would find it.
use super::connection::{Connection, ConnectionKind, Replication};
use super::decision::{Decision, Doubt, Mismatch, Outcome, RulePlace, Unknown};
use super::entry::HbaEntry;
use super::expression::Expression;
use super::name::HbaName;
use super::network::{is_named, is_within};
use super::resolver::Lookup;
use super::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaRule, HbaUser};
use super::world::World;
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Rules, ready to be asked about many connections. No server is asked; a [`Resolver`](super::Resolver) may be, where a
/// rule names a host.
///
/// ```
/// # fn main() -> pgsteward::Result<()> {
/// # let server = pgsteward::testing::TestServer::start()?;
/// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
/// use pgsteward::hba::{Connection, Judge, World};
/// let world = World::load(&cluster)?;
/// let judge = Judge::new([], &world);
/// assert_eq!(judge.decide(&Connection::local("shop", "alice")).to_string(), "no rule matches: the connection is refused");
/// # Ok(())
/// # }
/// ```
pub struct Judge<'a> {
    rules: Vec<&'a HbaEntry>,
    /// One for each rule.
    gates: Vec<Gate>,
    world: &'a World,
    expressions: HashMap<&'a [u8], OnceLock<Expression>>,
    /// What was looked up: a name server is asked once about an address.
    hosts: Mutex<HashMap<IpAddr, Arc<Host>>>,
}

/// What of a rule excludes most connections. Side by side, those of very many rules are gone through much faster than
/// the rules themselves, which lie all over the memory.
struct Gate {
    connection: ConnectionType,
    /// An address and its mask, where the rule has them.
    network: Option<(IpAddr, IpAddr)>,
}

impl Gate {
    fn new(rule: &HbaRule) -> Self {
        let network = match rule.address {
            Some(HbaAddress::Network { address, mask }) => Some((address, mask)),
            _ => None,
        };
        Self { connection: rule.connection, network }
    }
}

/// The name of a client's address, and its addresses, looked up when they are needed.
struct Host {
    name: Lookup<HbaName>,
    addresses: OnceLock<Lookup<Vec<IpAddr>>>,
}

/// Whether one condition of a rule holds.
type Condition = Result<bool, Unknown>;

impl<'a> Judge<'a> {
    /// Takes the rules in the order of the file.
    pub fn new(rules: impl IntoIterator<Item = &'a HbaEntry>, world: &'a World) -> Self {
        let rules: Vec<_> = rules.into_iter().collect();
        let gates = rules.iter().map(|entry| Gate::new(entry.effective())).collect();
        let expressions = rules.iter().flat_map(|entry| expressions(entry.effective()));
        let expressions = expressions.map(|name| (name.as_bytes(), OnceLock::new())).collect();
        Self { rules, gates, world, expressions, hosts: Mutex::default() }
    }

    /// Says which rule decides about a connection, as the server does
    /// ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)): the first one that matches by the
    /// type of the connection, its address, database and user. There is no other after it, also if the client then cannot
    /// prove who he is.
    pub fn decide(&self, connection: &Connection) -> Decision {
        let mut mismatches = Vec::new();
        let outcome = self.look(connection, |mismatch| mismatches.push(mismatch));
        Decision::new(outcome, mismatches)
    }

    /// The same, without the reasons.
    pub(super) fn outcome(&self, connection: &Connection) -> Outcome {
        self.look(connection, drop)
    }

    /// Goes through the rules; says why those do not match that come before the first that does, or may.
    fn look(&self, connection: &Connection, mut passed: impl FnMut(Mismatch)) -> Outcome {
        let client = Client::new(self, connection);
        let (mut doubts, mut first) = (Vec::new(), None);
        for (index, (entry, gate)) in self.rules.iter().zip(&self.gates).enumerate() {
            let compared = match client.kept_out(gate) {
                Some(mismatch) => Ok(Some(mismatch)),
                None => client.compare(entry.effective()),
            };
            match compared {
                Ok(Some(mismatch)) if doubts.is_empty() => passed(mismatch),
                Ok(Some(_)) => {}
                Ok(None) => {
                    first = Some(RulePlace::new(index, entry));
                    break;
                }
                Err(unknown) => doubts.push(Doubt { rule: RulePlace::new(index, entry), unknown }),
            }
        }
        match (doubts.is_empty(), first) {
            (true, Some(rule)) => Outcome::Rule(rule),
            (true, None) => Outcome::ImplicitReject,
            (false, otherwise) => Outcome::Unknown { doubts, otherwise },
        }
    }

    /// Why the rules before the one that decides do not match, a line for each. Then, as far as the [`World`] knows it, what
    /// the server refuses the connection for though a rule lets it in: the role does not exist or cannot log in, or the
    /// database does not exist.
    pub fn explain(&self, connection: &Connection) -> String {
        let decision = self.decide(connection);
        let mut text = format!("{connection}: {decision}\n");
        for (index, (entry, mismatch)) in self.rules.iter().zip(decision.mismatches()).enumerate() {
            text.push_str(&format!("  {}: {mismatch}\n", RulePlace::new(index, entry)));
        }
        if decision.is_refused() != Some(true) {
            for obstacle in self.obstacles(connection) {
                text.push_str(&format!(
                    "  the server refuses it even so, after authentication at the latest: {obstacle}\n"
                ));
            }
        }
        text
    }

    /// What keeps a client out whom the rules let in.
    fn obstacles(&self, connection: &Connection) -> Vec<String> {
        let (user, database) = (connection.user_in_rules().into(), connection.database_in_rules().into());
        let role = self.world.roles.as_ref().and_then(|roles| match roles.has(&user) {
            true => roles.is_nologin(&user).then(|| format!("role {user} cannot log in")),
            false => Some(format!("role {user} does not exist")),
        });
        let databases = self.world.databases.as_ref().filter(|_| connection.replication != Replication::Physical);
        let no_database = databases.filter(|databases| !databases.contains(&database));
        role.into_iter().chain(no_database.map(|_| format!("database {database} does not exist"))).collect()
    }

    /// What would have to be asked of the server, to decide about these connections: expressions that it alone
    /// understands, each with a name that it may match.
    pub(super) fn questions(&self, connections: &[Connection]) -> Vec<(HbaName, HbaName)> {
        let mut questions = HashSet::new();
        for connection in connections {
            let client = Client::new(self, connection);
            for rule in self.rules.iter().map(|entry| entry.effective()) {
                for expression in expressions(rule) {
                    for name in [client.database, client.user.as_bytes()] {
                        if self.expression_matches(expression, name).is_err() {
                            questions.insert((expression.clone(), HbaName::from(name)));
                        }
                    }
                }
            }
        }
        questions.into_iter().collect()
    }

    pub(super) fn rules(&self) -> &[&'a HbaEntry] {
        &self.rules
    }

    pub(super) fn world(&self) -> &'a World {
        self.world
    }

    /// Whether an expression matches a name: by this crate's own lights, or by what the server said.
    pub(super) fn expression_matches(&self, expression: &HbaName, name: &[u8]) -> Condition {
        // Before regular expressions, this was how a name began.
        if !self.world.version.at_least(16) {
            return Ok(name.strip_prefix(b"/") == Some(expression.as_bytes()));
        }
        let compiled = self.expressions.get(expression.as_bytes());
        let known = compiled.and_then(|cell| {
            let compiled = cell.get_or_init(|| Expression::new(expression.as_bytes()));
            compiled.matches(name)
        });
        let told = || self.world.answers.get(&(expression.clone(), name.into())).copied();
        known.or_else(told).ok_or_else(|| Unknown::Expression(expression.clone()))
    }

    fn host(&self, address: IpAddr) -> Arc<Host> {
        let known = self.hosts.lock().unwrap_or_else(PoisonError::into_inner).get(&address).cloned();
        known.unwrap_or_else(|| {
            let host = Arc::new(Host { name: self.world.resolver.reverse(address), addresses: OnceLock::new() });
            let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
            hosts.entry(address).or_insert(host).clone()
        })
    }
}

/// The regular expressions in a rule.
fn expressions(rule: &HbaRule) -> impl Iterator<Item = &HbaName> {
    let databases = rule.databases.iter().filter_map(|database| match database {
        HbaDatabase::Regex(expression) => Some(expression),
        _ => None,
    });
    databases.chain(rule.users.iter().filter_map(|user| match user {
        HbaUser::Regex(expression) => Some(expression),
        _ => None,
    }))
}

/// A connection, and what was found out about it.
struct Client<'j, 'a> {
    judge: &'j Judge<'a>,
    connection: &'j Connection,
    database: &'j [u8],
    user: HbaName,
    groups: OnceCell<HashSet<&'a [u8]>>,
    host: OnceCell<Arc<Host>>,
}

impl<'j, 'a> Client<'j, 'a> {
    fn new(judge: &'j Judge<'a>, connection: &'j Connection) -> Self {
        Self {
            judge,
            connection,
            database: connection.database_in_rules(),
            user: connection.user_in_rules().into(),
            groups: OnceCell::new(),
            host: OnceCell::new(),
        }
    }

    /// The same mismatch as [`compare`](Self::compare) finds, if it is one of those that come first.
    fn kept_out(&self, gate: &Gate) -> Option<Mismatch> {
        self.transport(gate.connection).or_else(|| {
            let ((address, mask), client) = gate.network.zip(self.connection.address)?;
            (!is_within(client, address, mask)).then_some(Mismatch::Address)
        })
    }

    /// The first thing that does not match, in the server's order; none if all does.
    fn compare(&self, rule: &HbaRule) -> Result<Option<Mismatch>, Unknown> {
        if let Some(mismatch) = self.transport(rule.connection) {
            return Ok(Some(mismatch));
        }
        let named = matches!(rule.address, Some(HbaAddress::Host(_) | HbaAddress::Domain(_)));
        let address = || rule.address.as_ref().map_or(Ok(true), |address| self.address(address));
        let database = || any(&rule.databases, |database| self.database(database));
        let user = || any(&rule.users, |user| self.user(user));
        // Names of hosts come last: looking them up takes time, and makes no difference where something else excludes.
        let mut conditions: [(Mismatch, &dyn Fn() -> Condition); 3] =
            [(Mismatch::Address, &address), (Mismatch::Database, &database), (Mismatch::User, &user)];
        if named {
            conditions.rotate_left(1);
        }
        let mut unknown = None;
        for (mismatch, holds) in conditions {
            match holds() {
                Ok(true) => {}
                Ok(false) => return Ok(Some(mismatch)),
                Err(what) => unknown = unknown.or(Some(what)),
            }
        }
        unknown.map_or(Ok(None), Err)
    }

    fn transport(&self, wanted: ConnectionType) -> Option<Mismatch> {
        let Connection { kind, ssl, gss, .. } = self.connection;
        let (tls, gss) = (*ssl, *gss);
        match (wanted, kind) {
            (ConnectionType::Local, ConnectionKind::Local) => None,
            (ConnectionType::Local, ConnectionKind::Tcp) | (_, ConnectionKind::Local) => Some(Mismatch::ConnectionType),
            (ConnectionType::Host, _) => None,
            (ConnectionType::HostSsl, _) => (!tls).then_some(Mismatch::Tls),
            (ConnectionType::HostNoSsl, _) => tls.then_some(Mismatch::Tls),
            (ConnectionType::HostGssEnc, _) => (!gss).then_some(Mismatch::GssEncryption),
            (ConnectionType::HostNoGssEnc, _) => gss.then_some(Mismatch::GssEncryption),
        }
    }

    fn address(&self, wanted: &HbaAddress) -> Condition {
        let client = match (wanted, self.connection.address) {
            (HbaAddress::All, _) => return Ok(true),
            (_, None) => return Err(Unknown::ClientAddress),
            (_, Some(client)) => client,
        };
        let interfaces = &self.judge.world.interfaces;
        match wanted {
            HbaAddress::All => Ok(true),
            HbaAddress::SameHost => interfaces.has_address(client).ok_or(Unknown::Interfaces),
            HbaAddress::SameNet => interfaces.has_network_of(client).ok_or(Unknown::Interfaces),
            HbaAddress::Network { address, mask } => Ok(is_within(client, *address, *mask)),
            HbaAddress::Host(name) | HbaAddress::Domain(name) => self.host(client, name),
        }
    }

    /// The name of the client's address must be the rule's, and have the client's address among its own.
    fn host(&self, client: IpAddr, wanted: &HbaName) -> Condition {
        let resolver = &self.judge.world.resolver;
        let host = self.host.get_or_init(|| self.judge.host(client));
        match &host.name {
            Lookup::Nothing => Ok(false),
            Lookup::Found(name) if !is_named(name, wanted) => Ok(false),
            Lookup::Found(name) => match host.addresses.get_or_init(|| resolver.forward(name)) {
                Lookup::Found(addresses) => Ok(addresses.contains(&client)),
                Lookup::Nothing => Ok(false),
                Lookup::Unknown => Err(Unknown::HostName(client)),
            },
            // Where the rule's name has other addresses, whatever the client's name is does not help.
            Lookup::Unknown => match whole_name(wanted).map(|name| resolver.forward(name)) {
                Some(Lookup::Found(addresses)) if !addresses.contains(&client) => Ok(false),
                _ => Err(Unknown::HostName(client)),
            },
        }
    }

    fn database(&self, wanted: &HbaDatabase) -> Condition {
        if self.connection.replication == Replication::Physical {
            return Ok(*wanted == HbaDatabase::Replication);
        }
        match wanted {
            HbaDatabase::All => Ok(true),
            HbaDatabase::SameUser => Ok(self.database == self.user.as_bytes()),
            HbaDatabase::SameRole => self.is_member(self.database),
            HbaDatabase::Name(name) => Ok(self.database == name.as_bytes()),
            HbaDatabase::Regex(expression) => self.judge.expression_matches(expression, self.database),
            // The words of a file stand in its place by now.
            HbaDatabase::Replication | HbaDatabase::File(_) => Ok(false),
        }
    }

    fn user(&self, wanted: &HbaUser) -> Condition {
        match wanted {
            HbaUser::All => Ok(true),
            HbaUser::Member(group) => self.is_member(group.as_bytes()),
            HbaUser::Name(name) => Ok(self.user == *name),
            HbaUser::Regex(expression) => self.judge.expression_matches(expression, self.user.as_bytes()),
            HbaUser::File(_) => Ok(false),
        }
    }

    fn is_member(&self, group: &[u8]) -> Condition {
        let roles = self.judge.world.roles.as_ref().ok_or(Unknown::Roles)?;
        let groups = || roles.groups_of(&self.user).into_iter().map(HbaName::as_bytes).collect();
        Ok(self.groups.get_or_init(groups).contains(group))
    }
}

/// A name that is no mere end of names.
fn whole_name(name: &HbaName) -> Option<&HbaName> {
    (name.as_bytes().first() != Some(&b'.')).then_some(name)
}

/// One match is enough, whatever is unknown of the others.
fn any<T>(words: &[T], matches: impl Fn(&T) -> Condition) -> Condition {
    let mut unknown = None;
    for word in words {
        match matches(word) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(what) => unknown = unknown.or(Some(what)),
        }
    }
    unknown.map_or(Ok(false), Err)
}

#[cfg(test)]
mod tests {
    use super::super::decision::Access;
    use super::super::method::HbaMethod;
    use super::super::resolver::{NoResolver, Resolver};
    use super::super::roles::Attributes;
    use super::super::sample::{entries, world};
    use super::super::world::Interfaces;
    use super::*;

    fn from(address: &str) -> Connection {
        Connection::tcp(address.parse::<IpAddr>().unwrap(), "db1", "alice")
    }

    #[test]
    fn each_rule_before_the_one_that_decides_has_its_reason() {
        let rules = entries(
            "local all all trust\nhostssl db2 bob 192.168.0.0/16 cert\nhostgssenc all all all gss\nhost db2 bob 192.168.0.0/16 md5\n\
             host db2 all all md5\nhost all bob,+ops all md5\nhost sameuser,db1 +devs 10.0.0.0/8 scram-sha-256\n",
        );
        let world = world(18);
        let judge = Judge::new(&rules, &world);
        let decision = judge.decide(&from("10.1.2.3"));
        assert_eq!(decision.access(), Access::Method(HbaMethod::ScramSha256));
        assert_eq!(decision.rule().map(|rule| (rule.index, rule.line)), Some((6, 7)));
        assert_eq!(
            decision.mismatches(),
            [
                Mismatch::ConnectionType,
                Mismatch::Tls,
                Mismatch::GssEncryption,
                Mismatch::Address,
                Mismatch::Database,
                Mismatch::User
            ]
        );
        let text = judge.explain(&from("10.1.2.3"));
        assert!(text.starts_with(
            "alice to database db1 from 10.1.2.3: the rule in pg_hba.conf line 7 decides: scram-sha-256\n"
        ));
        assert!(text.ends_with("  the rule in pg_hba.conf line 6: it is for other users\n"), "{text}");
    }

    #[test]
    fn an_explanation_says_what_the_server_refuses_whatever_the_rules_say() {
        let (rules, closed) =
            (entries("local all all peer\nlocal replication all peer\n"), entries("local all all reject\n"));
        let mut known = world(18);
        known.databases = Some([HbaName::from("db1")].into());
        let group = Attributes { login: false, replication: false };
        known.roles.as_mut().unwrap().insert("staff".into(), Vec::new(), group);
        let judge = Judge::new(&rules, &known);
        let told = |judge: &Judge<'_>, connection: &Connection| {
            let text = judge.explain(connection);
            let lines = text.lines().filter_map(|line| Some(line.split_once("at the latest: ")?.1.to_owned()));
            lines.collect::<Vec<_>>()
        };
        let local = Connection::local;
        assert_eq!(told(&judge, &local("db1", "alice")), [""; 0]);
        assert_eq!(told(&judge, &local("db1", "staff")), ["role staff cannot log in"]);
        let both = ["role mallory does not exist", "database nowhere does not exist"];
        assert_eq!(told(&judge, &local("nowhere", "mallory")), both);
        assert_eq!(told(&judge, &local("", "alice")), ["database alice does not exist"]);
        let physical = Connection { replication: Replication::Physical, ..local("nowhere", "alice") };
        assert_eq!(told(&judge, &physical), [""; 0]);
        assert_eq!(told(&Judge::new(&closed, &known), &local("nowhere", "mallory")), [""; 0]);
        let unknown = World::new(known.version.clone());
        assert_eq!(told(&Judge::new(&rules, &unknown), &local("nowhere", "mallory")), [""; 0]);
    }

    #[test]
    fn what_is_unknown_leaves_open_only_what_hangs_on_it() {
        let rules =
            entries("host all all samehost md5\nhost all bob samenet md5\nhost all +devs .example.com reject\n");
        let mut unknown = world(18);
        unknown.interfaces = Interfaces::default();
        unknown.resolver = Arc::new(NoResolver);
        let judge = Judge::new(&rules, &unknown);
        let decision = judge.decide(&from("10.1.2.3"));
        let Outcome::Unknown { doubts, otherwise: None } = &decision.outcome else { panic!("{decision}") };
        let lines: Vec<_> = doubts.iter().map(|doubt| (doubt.rule.line, doubt.unknown.clone())).collect();
        assert_eq!(lines, [(1, Unknown::Interfaces), (3, Unknown::HostName("10.1.2.3".parse().unwrap()))]);
        assert_eq!(decision.is_refused(), None);
        assert_eq!(judge.decide(&from("127.0.0.1")).rule().map(|rule| rule.line), Some(1));
        let refused = entries("host all all .example.com reject\n");
        assert_eq!(Judge::new(&refused, &unknown).decide(&from("10.1.2.3")).is_refused(), Some(true));
    }

    #[test]
    fn a_name_whose_address_is_another_does_not_match() {
        struct Liar;
        impl Resolver for Liar {
            fn reverse(&self, _: IpAddr) -> Lookup<HbaName> {
                Lookup::Found("app1.example.com".into())
            }
            fn forward(&self, _: &HbaName) -> Lookup<Vec<IpAddr>> {
                Lookup::Found(vec!["10.1.2.3".parse().unwrap()])
            }
        }
        let rules = entries("host all all app1.example.com trust\n");
        let mut lying = world(18);
        lying.resolver = Arc::new(Liar);
        let judge = Judge::new(&rules, &lying);
        assert_eq!(judge.decide(&from("10.9.9.9")).outcome, Outcome::ImplicitReject);
        assert_eq!(judge.decide(&from("10.1.2.3")).access(), Access::Method(HbaMethod::Trust));
    }

    #[test]
    fn hosts_are_looked_up_once_and_only_where_nothing_else_excludes() {
        #[derive(Default)]
        struct Counting(Mutex<(usize, usize)>);
        impl Resolver for Counting {
            fn reverse(&self, _: IpAddr) -> Lookup<HbaName> {
                self.0.lock().unwrap().0 += 1;
                Lookup::Found("a.example.com".into())
            }
            fn forward(&self, _: &HbaName) -> Lookup<Vec<IpAddr>> {
                self.0.lock().unwrap().1 += 1;
                Lookup::Found(Vec::new())
            }
        }
        let rules = entries("host db2 all a.example.com md5\nhost all bob .example.com md5\n");
        let counting = Arc::new(Counting::default());
        let mut counted = world(18);
        counted.resolver = counting.clone();
        let judge = Judge::new(&rules, &counted);
        judge.decide(&from("10.1.2.3"));
        assert_eq!(*counting.0.lock().unwrap(), (0, 0));
        for _ in 0..3 {
            judge.decide(&Connection::tcp([10, 1, 2, 3], "db2", "bob"));
        }
        assert_eq!(*counting.0.lock().unwrap(), (1, 1));
    }

    #[test]
    fn an_expression_that_only_the_server_knows_is_asked_about() {
        let rules = entries("local \"/(?=d)\" all trust\n");
        let mut asked = world(18);
        let connection = Connection::local("db1", "alice");
        let judge = Judge::new(&rules, &asked);
        assert_eq!(judge.decide(&connection).access(), Access::Unknown);
        let questions = judge.questions(std::slice::from_ref(&connection));
        let pair = (HbaName::from("(?=d)"), HbaName::from("db1"));
        assert!(questions.contains(&pair), "{questions:?}");
        asked.answers.insert(pair, true);
        assert_eq!(Judge::new(&rules, &asked).decide(&connection).access(), Access::Method(HbaMethod::Trust));
    }

    #[test]
    fn without_roles_memberships_are_unknown() {
        let rules = entries("local all +devs trust\n");
        let mut nobody = world(18);
        nobody.roles = None;
        let decision = Judge::new(&rules, &nobody).decide(&Connection::local("db1", "alice"));
        assert!(matches!(decision.outcome, Outcome::Unknown { .. }));
        assert_eq!(
            decision.to_string(),
            "the rule in pg_hba.conf line 1 may decide (trust), the members of roles are not known; \
             otherwise no rule matches: the connection is refused"
        );
    }
}
