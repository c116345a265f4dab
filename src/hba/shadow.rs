//! Rules that never decide, because an earlier one matches all that they match.
//!
//! A rule is compared with single earlier rules, not with what several match together. To stay close to linear for long
//! files, it is compared with those that are found by their words: by a database, a user and an address that cover one of
//! its own. What is left out for that (very long lists, many masks with gaps, many expressions) may hide a rule that never
//! decides; none is reported that does.
use super::decide::Judge;
use super::name::HbaName;
use super::network::bits;
use super::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaRule, HbaUser};
use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// How many pairs of a database and a user in one rule are found.
const PAIRS_OF_A_RULE: usize = 1024;
/// How many of them in all rules together.
const PAIRS: usize = 4_000_000;
/// How many rules with the same words are looked at.
const SAME_WORDS: usize = 16;
/// How many masks are looked at: more than there are without gaps.
const MASKS: usize = 256;
/// How many regular expressions are tried on a name.
const EXPRESSIONS: usize = 32;

/// Each rule that never decides, with the first that is found to match all that it matches; by their places, in order.
pub(super) fn shadowed(judge: &Judge<'_>) -> Vec<(usize, usize)> {
    let mut earlier = Earlier::new(judge);
    let mut found = Vec::new();
    for (place, entry) in judge.rules().iter().enumerate() {
        let rule = entry.effective();
        match earlier.covering(rule) {
            Some(by) => found.push((place, by)),
            // What a rule covers that is covered itself, the one that covers it covers too.
            None => earlier.add(place, rule),
        }
    }
    found
}

/// Addresses, with those that say the same alike.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Span {
    Local,
    All,
    SameHost,
    SameNet,
    Network {
        v6: bool,
        mask: u128,
        bits: u128,
    },
    /// In lower case; the end of names, if it begins with a dot.
    Name(Vec<u8>),
}

/// Numbers for words, so that combinations of them are cheap.
struct Numbers<K>(HashMap<K, u32>);

impl<K: Hash + Eq> Numbers<K> {
    fn add(&mut self, word: K) -> u32 {
        let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        *self.0.entry(word).or_insert(next)
    }

    fn find<W: Hash + Eq + ?Sized>(&self, word: &W) -> Option<u32>
    where
        K: Borrow<W>,
    {
        self.0.get(word).copied()
    }
}

/// The rules so far, found by their words.
struct Earlier<'j, 'a> {
    judge: &'j Judge<'a>,
    databases: Numbers<&'a HbaDatabase>,
    users: Numbers<&'a HbaUser>,
    spans: Numbers<Span>,
    masks: Vec<(bool, u128)>,
    database_expressions: Vec<(&'a HbaName, u32)>,
    user_expressions: Vec<(&'a HbaName, u32)>,
    rules: HashMap<(u32, u32, u32), Vec<usize>>,
    pairs: usize,
}

impl<'j, 'a> Earlier<'j, 'a> {
    fn new(judge: &'j Judge<'a>) -> Self {
        Self {
            judge,
            databases: Numbers(HashMap::new()),
            users: Numbers(HashMap::new()),
            spans: Numbers(HashMap::new()),
            masks: Vec::new(),
            database_expressions: Vec::new(),
            user_expressions: Vec::new(),
            rules: HashMap::new(),
            pairs: 0,
        }
    }

    fn add(&mut self, place: usize, rule: &'a HbaRule) {
        let pairs = rule.databases.len().saturating_mul(rule.users.len());
        if pairs > PAIRS_OF_A_RULE || self.pairs > PAIRS {
            return;
        }
        self.pairs += pairs;
        let span = span(rule);
        if let Span::Network { v6, mask, .. } = span {
            if !self.masks.contains(&(v6, mask)) && self.masks.len() < MASKS {
                self.masks.push((v6, mask));
            }
        }
        let span = self.spans.add(span);
        let users: Vec<_> = rule.users.iter().map(|user| self.add_user(user)).collect();
        for database in &rule.databases {
            let database = self.add_database(database);
            for user in &users {
                let same = self.rules.entry((database, *user, span)).or_default();
                if same.len() < SAME_WORDS {
                    same.push(place);
                }
            }
        }
    }

    fn add_database(&mut self, database: &'a HbaDatabase) -> u32 {
        let known = self.databases.find(database);
        let number = self.databases.add(database);
        match database {
            HbaDatabase::Regex(expression) if known.is_none() && self.database_expressions.len() < EXPRESSIONS => {
                self.database_expressions.push((expression, number));
            }
            _ => {}
        }
        number
    }

    fn add_user(&mut self, user: &'a HbaUser) -> u32 {
        let known = self.users.find(user);
        let number = self.users.add(user);
        match user {
            HbaUser::Regex(expression) if known.is_none() && self.user_expressions.len() < EXPRESSIONS => {
                self.user_expressions.push((expression, number));
            }
            _ => {}
        }
        number
    }

    /// The first rule that is found to match all that this one matches.
    fn covering(&self, rule: &HbaRule) -> Option<usize> {
        let (Some(database), Some(user)) = (rule.databases.first(), rule.users.first()) else { return None };
        let (databases, users, spans) = (self.databases_over(database), self.users_over(user), self.spans_over(rule));
        let mut first = None;
        for database in &databases {
            for user in &users {
                for span in &spans {
                    let places = self.rules.get(&(*database, *user, *span)).into_iter().flatten();
                    first = places.chain(&first).copied().filter(|place| self.covers(*place, rule)).min();
                }
            }
        }
        first
    }

    fn databases_over(&self, database: &HbaDatabase) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.databases.find(database).into_iter().collect();
        if !matches!(database, HbaDatabase::Replication | HbaDatabase::All) {
            numbers.extend(self.databases.find(&HbaDatabase::All));
        }
        if let HbaDatabase::Name(name) = database {
            numbers.extend(self.matching(&self.database_expressions, name));
        }
        numbers
    }

    fn users_over(&self, user: &HbaUser) -> Vec<u32> {
        let mut numbers: Vec<u32> = self.users.find(user).into_iter().collect();
        if *user != HbaUser::All {
            numbers.extend(self.users.find(&HbaUser::All));
        }
        if let HbaUser::Name(role) | HbaUser::Member(role) = user {
            let groups = self.judge.world().roles.iter().flat_map(|roles| roles.groups_of(role));
            numbers.extend(groups.filter_map(|group| self.users.find(&HbaUser::Member(group.clone()))));
        }
        if let HbaUser::Name(name) = user {
            numbers.extend(self.matching(&self.user_expressions, name));
        }
        numbers
    }

    fn matching(&self, expressions: &[(&HbaName, u32)], name: &HbaName) -> Vec<u32> {
        let matches = |expression| self.judge.expression_matches(expression, name.as_bytes()) == Ok(true);
        expressions.iter().filter(|(expression, _)| matches(expression)).map(|(_, number)| *number).collect()
    }

    fn spans_over(&self, rule: &HbaRule) -> Vec<u32> {
        let own = span(rule);
        let mut wider = vec![Span::All];
        match &own {
            Span::Local => wider.clear(),
            Span::All | Span::SameNet => {}
            Span::SameHost => wider.push(Span::SameNet),
            Span::Network { v6, mask, bits } => {
                let masks =
                    self.masks.iter().filter(|(v6_too, wide)| v6_too == v6 && wide & mask == *wide && wide != mask);
                wider.extend(masks.map(|(_, wide)| Span::Network { v6: *v6, mask: *wide, bits: bits & wide }));
            }
            Span::Name(name) => {
                let ends = (1..name.len()).filter_map(|start| name.get(start..)).filter(|end| end.starts_with(b"."));
                wider.extend(ends.map(|end| Span::Name(end.to_vec())));
            }
        }
        wider.push(own);
        wider.dedup();
        wider.iter().filter_map(|span| self.spans.find(span)).collect()
    }

    /// Whether the rule at a place, whose address covers that of another, covers it in all else too.
    fn covers(&self, place: usize, rule: &HbaRule) -> bool {
        let Some(wide) = self.judge.rules().get(place).map(|entry| entry.effective()) else { return false };
        covers_type(wide.connection, rule.connection)
            && rule
                .databases
                .iter()
                .all(|database| wide.databases.iter().any(|wide| self.covers_database(wide, database)))
            && rule.users.iter().all(|user| wide.users.iter().any(|wide| self.covers_user(wide, user)))
    }

    fn covers_database(&self, wide: &HbaDatabase, database: &HbaDatabase) -> bool {
        match (wide, database) {
            (HbaDatabase::All, HbaDatabase::Replication) => false,
            (HbaDatabase::All, _) => true,
            (HbaDatabase::Regex(expression), HbaDatabase::Name(name)) => {
                self.judge.expression_matches(expression, name.as_bytes()) == Ok(true)
            }
            _ => wide == database,
        }
    }

    fn covers_user(&self, wide: &HbaUser, user: &HbaUser) -> bool {
        match (wide, user) {
            (HbaUser::All, _) => true,
            (HbaUser::Member(group), HbaUser::Name(role) | HbaUser::Member(role)) => {
                let roles = self.judge.world().roles.as_ref();
                wide == user || roles.is_some_and(|roles| roles.groups_of(role).contains(group))
            }
            (HbaUser::Regex(expression), HbaUser::Name(name)) => {
                self.judge.expression_matches(expression, name.as_bytes()) == Ok(true)
            }
            _ => wide == user,
        }
    }
}

/// No connection has both TLS and GSSAPI encryption.
fn covers_type(wide: ConnectionType, narrow: ConnectionType) -> bool {
    match (wide, narrow) {
        (ConnectionType::Host, narrow) => narrow != ConnectionType::Local,
        (ConnectionType::HostNoSsl, ConnectionType::HostGssEnc) => true,
        (ConnectionType::HostNoGssEnc, ConnectionType::HostSsl) => true,
        _ => wide == narrow,
    }
}

fn span(rule: &HbaRule) -> Span {
    match &rule.address {
        None => Span::Local,
        Some(HbaAddress::All) => Span::All,
        Some(HbaAddress::SameHost) => Span::SameHost,
        Some(HbaAddress::SameNet) => Span::SameNet,
        Some(HbaAddress::Network { address, mask }) => {
            let mask = bits(*mask);
            Span::Network { v6: matches!(address, IpAddr::V6(_)), mask, bits: bits(*address) & mask }
        }
        Some(HbaAddress::Host(name) | HbaAddress::Domain(name)) => Span::Name(name.as_bytes().to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection::Connection;
    use super::super::sample::{entries, world};
    use super::*;

    fn found(text: &str) -> Vec<(usize, usize)> {
        let (rules, world) = (entries(text), world(18));
        let lines = |place: usize| rules[place].line();
        let judge = Judge::new(&rules, &world);
        shadowed(&judge).into_iter().map(|(place, by)| (lines(place), lines(by))).collect()
    }

    #[test]
    fn a_rule_that_never_decides_is_found() {
        for (earlier, later) in [
            ("host all all all md5", "hostssl db1 alice 10.0.0.0/8 trust"),
            ("host all all 10.0.0.0/8 md5", "host db1 all 10.1.0.0/16 md5"),
            ("host db1,db2 bob,alice all md5", "host db2 alice all md5"),
            ("host all +devs all md5", "host all alice,carol all md5"),
            ("host all +staff all md5", "host all +ops all md5"),
            ("host all /^al all md5", "host /^d alice all md5"),
            ("host /^db[0-9]$ all all md5", "host db1 all all md5"),
            ("host all all .example.com md5", "host all all app1.EXAMPLE.com md5"),
            ("host all all .com md5", "host all all .example.com md5"),
            ("host all all samenet md5", "host all all samehost md5"),
            ("hostnossl all all all md5", "hostgssenc all all all md5"),
            ("hostnogssenc all all all md5", "hostssl all all all md5"),
            ("local all all peer", "local sameuser alice peer"),
            ("local replication,all all peer", "local replication all peer"),
            ("host all all ::/0 md5", "host all all 2001:db8::/32 md5"),
        ] {
            assert_eq!(found(&format!("{earlier}\n{later}\n")), [(2, 1)], "{earlier} / {later}");
        }
    }

    #[test]
    fn a_rule_that_may_decide_is_not_reported() {
        for (earlier, later) in [
            ("local all all peer", "host all all all md5"),
            ("hostssl all all all md5", "host all all all md5"),
            ("host all all 10.1.0.0/16 md5", "host all all 10.0.0.0/8 md5"),
            ("host all all 0.0.0.0/0 md5", "host all all ::1/128 md5"),
            ("host all all all md5", "host replication all all md5"),
            ("host all all all md5", "host db1,replication all all md5"),
            ("host all bob,alice all md5", "host all bob,carol all md5"),
            ("host all devs all md5", "host all alice all md5"),
            ("host all +ops all md5", "host all +staff all md5"),
            ("host all all example.com md5", "host all all .example.com md5"),
            ("host all /^al$ all md5", "host all /^a all md5"),
            ("host samerole all all md5", "host sameuser all all md5"),
            ("hostnogssenc all all all md5", "hostnossl all all all md5"),
        ] {
            assert_eq!(found(&format!("{earlier}\n{later}\n")), [], "{earlier} / {later}");
        }
    }

    /// Random rules over few words: what is reported never decides, and nothing that one earlier rule covers is missed.
    #[test]
    fn what_is_found_is_what_comparing_all_with_all_finds() {
        let mut seed = 7_u64;
        let mut pick = |from: &[&str]| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            from[usize::try_from(seed >> 33).unwrap() % from.len()].to_owned()
        };
        let types = ["host", "host", "hostssl", "hostnossl", "local"];
        let databases = ["all", "db1", "db2,db1", "sameuser", "replication", "/^db", "samerole"];
        let users = ["all", "alice", "bob,alice", "+devs", "+ops,+staff", "/^al"];
        let addresses = ["all", "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "samenet", "samehost", "0.0.0.0/0", ".com"];
        let world = world(18);
        for _ in 0..60 {
            let mut text = String::new();
            for _ in 0..12 {
                let (kind, database, user) = (pick(&types), pick(&databases), pick(&users));
                let address = if kind == "local" { String::new() } else { pick(&addresses) };
                text.push_str(&format!("{kind} {database} {user} {address} md5\n"));
            }
            let rules = entries(&text);
            let judge = Judge::new(&rules, &world);
            let reported: Vec<usize> = shadowed(&judge).into_iter().map(|(place, _)| place).collect();
            let mut all = Earlier::new(&judge);
            let mut expected = Vec::new();
            for (place, entry) in rules.iter().enumerate() {
                all.add(place, entry.effective());
                let spans = all.spans_over(entry.effective());
                let covered = |by: &usize| {
                    let span = all.spans.find(&span(rules[*by].effective()));
                    span.is_some_and(|span| spans.contains(&span)) && all.covers(*by, entry.effective())
                };
                expected.extend((0..place).any(|by| covered(&by)).then_some(place));
            }
            assert_eq!(reported, expected, "{text}");
            for user in ["alice", "bob", "carol"] {
                for database in ["db1", "db3", "alice", "ops"] {
                    for address in ["10.1.2.3", "10.20.30.1", "127.0.0.1", "172.16.5.4"] {
                        let mut connection = Connection::tcp(address.parse::<IpAddr>().unwrap(), database, user);
                        connection.ssl = pick(&["yes", "no"]) == "yes";
                        let decided = judge.decide(&connection).rule().map(|rule| rule.index);
                        assert!(decided.is_none_or(|rule| !reported.contains(&rule)), "{text}{connection}");
                    }
                }
            }
        }
    }

    #[test]
    fn many_rules_take_little_longer_than_few() {
        let mut text = String::new();
        for number in 0..30_000 {
            let (a, b) = (number / 250 % 250, number % 250);
            text.push_str(&format!(
                "host db{} u{number},v{number} 10.{a}.{b}.0/{} md5\n",
                number % 100,
                16 + number % 17
            ));
        }
        text.push_str("host db7 u7 10.0.7.0/32 md5\n");
        let (rules, world) = (entries(&text), world(18));
        let started = std::time::Instant::now();
        assert_eq!(shadowed(&Judge::new(&rules, &world)), [(30_000, 7)]);
        assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
    }
}
