//! What is wrong with rules, or may be.
use super::decide::Judge;
use super::entry::HbaEntry;
use super::finding::{Finding, FindingKind, Place};
use super::lockout::lock_outs;
use super::method::HbaMethod;
use super::name::HbaName;
use super::network::{bits, is_loopback, prefix_length};
use super::roles::Roles;
use super::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaRule, HbaUser};
use super::shadow::shadowed;
use super::world::{Peer, PeerKind, World};
use std::collections::HashSet;

/// Options that are on for the value `1`, and off for any other.
const TRUTHS: [&str; 6] =
    ["ldaptls", "include_realm", "compat_realm", "upn_username", "pam_use_hostname", "delegate_ident_mapping"];

impl Judge<'_> {
    /// Says what is wrong with the rules, or may be, in their order; what is about sessions comes last. What is written
    /// in the files besides (comments, commas, quotes) it does not see.
    pub fn lint(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut hidden = shadowed(self).into_iter().peekable();
        let replicating = replicating(self);
        for (place, entry) in self.rules().iter().enumerate() {
            if let Some((_, by)) = hidden.next_if(|(shadowed, _)| *shadowed == place) {
                findings.extend(self.rules().get(by).map(|by| unreachable(entry, by)));
            }
            let mut rule = Rule { entry, rule: entry.effective(), world: self.world(), findings: &mut findings };
            rule.transport();
            rule.method();
            rule.address();
            rule.databases();
            rule.users(&replicating);
            rule.expressions();
            rule.options();
        }
        findings.extend(self.lint_sessions());
        findings
    }

    fn lint_sessions(&self) -> Vec<Finding> {
        let sessions = &self.world().sessions;
        let refused = lock_outs(None, self, sessions).into_iter().map(|lock_out| {
            let kind =
                if lock_out.peer.kind == PeerKind::Other { FindingKind::OtherLockOut } else { FindingKind::LockOut };
            Finding::of_lock_out(kind, &lock_out)
        });
        let doubtful = |peer: &Peer| {
            let outcome = self.outcome(&peer.connection);
            let message = format!("whether {} could connect again is not known: {outcome}", peer.connection);
            outcome.is_refused().is_none().then(|| Finding::new(FindingKind::PerhapsLockOut, None, &message))
        };
        let dear = sessions.iter().filter(|peer| peer.kind != PeerKind::Other);
        let mut findings: Vec<Finding> = refused.chain(dear.filter_map(doubtful)).collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity()));
        findings
    }
}

fn unreachable(entry: &HbaEntry, by: &HbaEntry) -> Finding {
    let (method, earlier) = (entry.effective().method, by.effective().method);
    let consequence = match method == earlier {
        true => "it can go".into(),
        false => format!("{earlier} holds there, and never {method}"),
    };
    let earlier = Place { file: by.file.clone(), line: by.line() };
    Finding::at(
        FindingKind::Unreachable,
        entry,
        format!("it never decides: the rule in {earlier} matches all that it matches; {consequence}"),
    )
}

/// The roles for which some rule speaks of physical replication, as far as it names them.
fn replicating<'a>(judge: &Judge<'a>) -> HashSet<&'a HbaUser> {
    let rules = judge.rules().iter().map(|entry| entry.effective());
    let rules = rules.filter(|rule| rule.databases.contains(&HbaDatabase::Replication));
    rules.flat_map(|rule| &rule.users).collect()
}

/// One rule, and what is found about it.
struct Rule<'l, 'a> {
    entry: &'a HbaEntry,
    rule: &'a HbaRule,
    world: &'a World,
    findings: &'l mut Vec<Finding>,
}

impl Rule<'_, '_> {
    fn say(&mut self, kind: FindingKind, message: impl Into<String>) {
        self.findings.push(Finding::at(kind, self.entry, message));
    }

    fn transport(&mut self) {
        if self.rule.connection == ConnectionType::HostSsl && self.world.ssl == Some(false) {
            self.say(FindingKind::NeverMatches, "no connection has TLS here: the setting ssl is off");
        }
    }

    /// Whether others than the server's own machine may come by it.
    fn is_from_elsewhere(&self) -> bool {
        match &self.rule.address {
            None | Some(HbaAddress::SameHost) => false,
            Some(HbaAddress::Network { address, mask }) => !is_loopback(*address, *mask),
            Some(_) => true,
        }
    }

    fn method(&mut self) {
        let method = self.rule.method;
        let certified = self.rule.options.iter().any(|option| option.name == "clientcert" && option.value != "0");
        let plain = !matches!(self.rule.connection, ConnectionType::HostSsl | ConnectionType::HostGssEnc);
        match (method, self.is_from_elsewhere(), plain) {
            (HbaMethod::Trust, true, _) if !certified => {
                self.say(
                    FindingKind::TrustFromElsewhere,
                    "trust lets in everybody from these addresses, without any proof",
                );
            }
            (
                HbaMethod::Password | HbaMethod::Ldap | HbaMethod::Radius | HbaMethod::Pam | HbaMethod::Bsd,
                true,
                true,
            ) => self.say(
                FindingKind::ClearTextPassword,
                format!("{method} sends the password in clear text where the connection is not encrypted; use hostssl"),
            ),
            (HbaMethod::Md5, true, true) => self.say(
                FindingKind::Md5WithoutTls,
                "md5 is weak where the connection is not encrypted; use hostssl, and scram-sha-256",
            ),
            (HbaMethod::Md5, _, _) => {
                self.say(FindingKind::Md5, "md5 is deprecated; use scram-sha-256 once all passwords are kept for it");
            }
            _ => {}
        }
    }

    fn address(&mut self) {
        match &self.rule.address {
            Some(HbaAddress::Network { address, mask }) => {
                if prefix_length(*mask).is_none() {
                    self.say(FindingKind::NonContiguousMask, format!("the mask {mask} has gaps"));
                } else if bits(*address) & !bits(*mask) & whole(*address) != 0 {
                    self.say(
                        FindingKind::HostBits,
                        format!("the address {address} says more than its mask {mask}; the rest does not count"),
                    );
                }
            }
            Some(HbaAddress::Host(name)) if is_keyword(name, &["all", "samehost", "samenet"]) => self.say(
                FindingKind::NotAKeyword,
                format!("{name} is the name of a host here: a keyword is in lower case and not quoted"),
            ),
            Some(HbaAddress::Host(_) | HbaAddress::Domain(_)) => self.say(
                FindingKind::HostName,
                "the server asks name servers while a client waits, and refuses it when they do not answer",
            ),
            _ => {}
        }
    }

    fn databases(&mut self) {
        let rule = self.rule;
        for database in &rule.databases {
            let HbaDatabase::Name(name) = database else { continue };
            let exists = self.world.databases.as_ref().map(|databases| databases.contains(name));
            match exists {
                Some(true) => {}
                _ if is_keyword(name, &["all", "sameuser", "samerole", "samegroup", "replication"]) => self.say(
                    FindingKind::NotAKeyword,
                    format!("{name} is the name of a database here: a keyword is in lower case and not quoted"),
                ),
                _ if self.is_impossible(name) => {}
                Some(false) => self.say(FindingKind::UnknownDatabase, format!("database {name} does not exist")),
                None => {}
            }
        }
    }

    fn users(&mut self, replicating: &HashSet<&HbaUser>) {
        let rule = self.rule;
        for user in &rule.users {
            let (HbaUser::Name(name) | HbaUser::Member(name)) = user else { continue };
            let roles = self.world.roles.as_ref();
            if let Some(roles) = roles.filter(|roles| roles.has(name)) {
                self.known_role(user, name, roles, replicating);
            } else if *user == HbaUser::Name(name.clone())
                && (is_keyword(name, &["all"]) || name.as_bytes().starts_with(b"+"))
            {
                self.say(
                    FindingKind::NotAKeyword,
                    format!(
                        "{name} is the name of a role here: a keyword is in lower case, and neither it nor + is quoted"
                    ),
                );
            } else if !self.is_impossible(name) && roles.is_some() {
                self.say(FindingKind::UnknownRole, format!("role {name} does not exist"));
            }
        }
    }

    fn known_role(&mut self, user: &HbaUser, name: &HbaName, roles: &Roles, replicating: &HashSet<&HbaUser>) {
        if *user != HbaUser::Name(name.clone()) {
            return;
        }
        if roles.is_nologin(name) {
            self.say(
                FindingKind::NoLogin,
                format!("role {name} cannot log in, and this rule is for it alone; its members are +{name}"),
            );
        }
        let spoken_of = |user: &HbaUser| replicating.contains(user);
        let covered = spoken_of(user)
            || spoken_of(&HbaUser::All)
            || roles.groups_of(name).into_iter().any(|group| spoken_of(&HbaUser::Member(group.clone())));
        if roles.is_for_replication(name) && !covered && self.rule.databases.contains(&HbaDatabase::All) {
            self.say(
                FindingKind::AllIsNotReplication,
                format!("role {name} is for replication, which the word all does not mean; add the word replication"),
            );
        }
    }

    /// Says so if it is no name that anything could have.
    fn is_impossible(&mut self, name: &HbaName) -> bool {
        let why = match name.as_bytes() {
            [] => "an empty name matches nothing",
            name if name.len() > 63 => "a name of more than 63 bytes matches nothing",
            _ => return false,
        };
        self.say(FindingKind::NeverMatches, why);
        true
    }

    fn expressions(&mut self) {
        let rule = self.rule;
        let databases = rule.databases.iter().map(|database| match database {
            HbaDatabase::Regex(expression) => Word::Expression(expression),
            HbaDatabase::Name(name) => Word::Name(name),
            _ => Word::Other,
        });
        self.words(databases.collect());
        let users = rule.users.iter().map(|user| match user {
            HbaUser::Regex(expression) => Word::Expression(expression),
            HbaUser::Name(name) => Word::Name(name),
            _ => Word::Other,
        });
        self.words(users.collect());
    }

    fn words(&mut self, words: Vec<Word<'_>>) {
        let mut after_expression = false;
        for word in words {
            match word {
                Word::Name(name) if after_expression && looks_cut(name) => self.say(
                    FindingKind::CutExpression,
                    format!(
                        "{name} looks like a part of the regular expression before it, which a comma ends; quote it"
                    ),
                ),
                Word::Name(name) if name.as_bytes().starts_with(b"/") && !self.world.version.at_least(16) => self.say(
                    FindingKind::OtherVersion,
                    format!("{name} is a name here; from PostgreSQL 16 on it is a regular expression"),
                ),
                Word::Expression(expression) if !is_anchored(expression.as_bytes()) => self.say(
                    FindingKind::Unanchored,
                    format!("/{expression} matches parts of names too, because it is not all between ^ and $"),
                ),
                _ => {}
            }
            after_expression = matches!(word, Word::Expression(_));
        }
    }

    fn options(&mut self) {
        let rule = self.rule;
        for option in &rule.options {
            if TRUTHS.contains(&option.name.as_str()) && option.value != "1" && option.value != "0" {
                let message = format!("{}={} means off: only 1 is on", option.name, option.value);
                self.say(FindingKind::NotTrue, message);
            }
        }
    }
}

/// A word of a list, as far as expressions are concerned.
enum Word<'a> {
    Expression(&'a HbaName),
    Name(&'a HbaName),
    Other,
}

/// All bits of an address of this family.
fn whole(address: std::net::IpAddr) -> u128 {
    if address.is_ipv4() { u32::MAX.into() } else { u128::MAX }
}

/// Whether it would be a keyword, if it were not quoted or were in lower case.
fn is_keyword(name: &HbaName, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| keyword.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
}

fn looks_cut(name: &HbaName) -> bool {
    name.as_bytes().iter().any(|byte| br"$^\[](){}|*+?".contains(byte))
}

/// Whether it begins with `^`, ends with `$`, and has no alternatives but in parentheses.
fn is_anchored(expression: &[u8]) -> bool {
    let expression = match expression {
        [b'(', b'?', rest @ ..] => match rest.iter().position(|byte| *byte == b')') {
            Some(end) if rest.iter().take(end).all(u8::is_ascii_alphabetic) => rest.get(end + 1..).unwrap_or_default(),
            _ => expression,
        },
        _ => expression,
    };
    let [b'^', inner @ .., b'$'] = expression else { return false };
    let (mut depth, mut bracket, mut escaped) = (0_usize, false, false);
    for byte in inner {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b']' => bracket = false,
            _ if bracket => {}
            b'[' => bracket = true,
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'|' if depth == 0 => return false,
            _ => {}
        }
    }
    !escaped
}

#[cfg(test)]
mod tests {
    use super::super::connection::Connection;
    use super::super::finding::Severity;
    use super::super::roles::Attributes;
    use super::super::sample::{entries, world};
    use super::*;

    fn kinds(text: &str, world: &World) -> Vec<FindingKind> {
        let rules = entries(text);
        Judge::new(&rules, world).lint().into_iter().map(|finding| finding.kind).collect()
    }

    fn known() -> World {
        let mut world = world(18);
        world.databases = Some(["db1", "replication"].map(HbaName::from).into());
        let attributes = Attributes { login: false, replication: false };
        let roles = world.roles.as_mut().unwrap();
        roles.insert("devs".into(), Vec::new(), attributes);
        roles.insert("standby".into(), Vec::new(), Attributes { login: true, replication: true });
        world
    }

    #[test]
    fn each_trap_is_found_and_what_is_well_is_not() {
        use FindingKind::*;
        for (text, expected) in [
            ("hostssl db1 alice 10.0.0.0/8 scram-sha-256", vec![]),
            ("local all all trust", vec![]),
            ("host all all 127.0.0.1/32 trust\nhost all all ::1/128 trust", vec![]),
            ("host all all samehost trust", vec![]),
            ("host all all samenet trust", vec![TrustFromElsewhere]),
            ("hostssl all all 10.0.0.0/8 trust", vec![TrustFromElsewhere]),
            ("hostssl all all 10.0.0.0/8 trust clientcert=verify-full", vec![]),
            ("host all all 126.0.0.0/7 trust", vec![TrustFromElsewhere]),
            ("host all all 10.0.0.0/8 password", vec![ClearTextPassword]),
            ("hostssl all all 10.0.0.0/8 password", vec![]),
            (
                "hostnossl all all 10.0.0.0/8 ldap ldapserver=l ldapprefix=cn ldaptls=true",
                vec![ClearTextPassword, NotTrue],
            ),
            ("host all all 10.0.0.0/8 gss include_realm=0 krb_realm=true", vec![]),
            ("host all all 10.0.0.0/8 md5", vec![Md5WithoutTls]),
            ("hostssl all all 10.0.0.0/8 md5", vec![Md5]),
            ("host all all 10.0.0.1/8 reject", vec![HostBits]),
            ("host all all app1.example.com reject", vec![HostName]),
            ("host all all \"samehost\" reject", vec![NotAKeyword]),
            ("local db2 all peer", vec![UnknownDatabase]),
            ("local \"all\",ALL,SameUser all peer", vec![NotAKeyword, NotAKeyword, NotAKeyword]),
            ("local \"replication\" all peer", vec![]),
            ("local all zoe peer", vec![UnknownRole]),
            ("local all +zoe peer", vec![UnknownRole]),
            ("local all \"+zoe\" peer", vec![NotAKeyword]),
            ("local all \"+devs\",\"all\" peer", vec![]),
            ("local all devs peer", vec![NoLogin]),
            ("local all +devs peer", vec![]),
            ("local \"\" all peer", vec![NeverMatches]),
            ("local all standby peer", vec![AllIsNotReplication]),
            ("local all standby peer\nlocal replication standby peer", vec![]),
            ("local all /^a peer", vec![Unanchored]),
            ("local / all peer", vec![Unanchored]),
            ("local all /^a|b$ peer", vec![Unanchored]),
            ("local all \"/^(a|b)$\",\"/(?i)^[a|b]$\" peer", vec![]),
            ("local all /^a$,b$ peer", vec![CutExpression, UnknownRole]),
            ("host all all all reject\nhost all all 10.0.0.0/8 reject", vec![Unreachable]),
        ] {
            let mut found = kinds(text, &known());
            found.sort();
            let mut expected = expected;
            expected.sort();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_reported() {
        let nothing = World::new(crate::version::ServerVersion::parse("15.1").unwrap());
        assert_eq!(kinds("local db2 zoe,+zoe,devs peer\nhostssl all all all cert", &nothing), []);
    }

    #[test]
    fn hostssl_matches_nothing_while_ssl_is_off() {
        let mut off = known();
        off.ssl = Some(false);
        assert_eq!(kinds("hostssl all all all cert", &off), [FindingKind::NeverMatches]);
    }

    #[test]
    fn masks_with_gaps_are_found() {
        let rules = entries("host all all 10.0.7.0 255.0.255.0 reject");
        let world = known();
        let findings = Judge::new(&rules, &world).lint();
        assert_eq!(findings[0].to_string(), "warning: pg_hba.conf line 1: the mask 255.0.255.0 has gaps");
    }

    #[test]
    fn sessions_that_could_not_connect_again_come_last_the_gravest_first() {
        let mut world = known();
        let peer = |pid, kind, user: &str| Peer::new(pid, kind, Connection::local("db1", user));
        world.sessions = vec![
            peer(1, PeerKind::Other, "bob"),
            peer(2, PeerKind::Own, "bob"),
            peer(3, PeerKind::Own, "alice"),
            peer(4, PeerKind::Replica, "carol"),
        ];
        let rules = entries("local all bob reject\nlocal db1 alice peer\nlocal all \"/(?=c)\" peer\n");
        let findings = Judge::new(&rules, &world).lint();
        let told: Vec<_> = findings.iter().filter(|finding| finding.message.contains("connect again")).collect();
        let kinds: Vec<_> = told.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [FindingKind::LockOut, FindingKind::OtherLockOut, FindingKind::PerhapsLockOut]);
        assert_eq!(told[0].severity(), Severity::Error);
        assert_eq!(
            told[0].to_string(),
            "error: pg_hba.conf line 1: this program's own session of bob to database db1 over a Unix-domain socket \
             (process 2) could not connect again: the rule in pg_hba.conf line 1 decides: \
             reject (\"local all bob reject\")"
        );
    }
}
