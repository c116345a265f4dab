//! A rule as words of pg_hba.conf
//! ([format](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
use super::address::{self, Written};
use super::dialect::Dialect;
use super::name::HbaName;
use super::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaOption, HbaRule, HbaUser};
use super::secret;
use crate::error::{Error, Result};

/// What a rule is to be written for.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// A server: secrets as they are; whether a `/` begins a regular expression there.
    Server { patterns: bool },
    /// A person: secrets masked.
    Person { patterns: bool },
}

impl Form {
    fn has_patterns(self) -> bool {
        let (Self::Server { patterns } | Self::Person { patterns }) = self;
        patterns
    }
}

/// The words of a rule for a server; an address and a mask of its own are one word with a blank between.
///
/// # Errors
/// [`Error::Invalid`] for what cannot be said in the file, [`Error::Unsupported`] for what the server is too old for.
pub(super) fn words(rule: &HbaRule, dialect: &Dialect) -> Result<Vec<Vec<u8>>> {
    refuse(rule, dialect)?;
    Ok(all(rule, Form::Server { patterns: dialect.has_patterns_and_includes() }))
}

/// A rule for people, with secrets masked; `patterns` is whether a `/` begins a regular expression on its server.
pub(super) fn text(rule: &HbaRule, patterns: bool) -> String {
    // A secret in the place of a name is none the less one.
    let shown = secret::masked_rule(&all(rule, Form::Person { patterns }).join(&b' '));
    String::from_utf8_lossy(&shown).into_owned()
}

fn all(rule: &HbaRule, form: Form) -> Vec<Vec<u8>> {
    let databases: Vec<_> = rule.databases.iter().map(|database| database_word(database, form)).collect();
    let users: Vec<_> = rule.users.iter().map(|user| user_word(user, form)).collect();
    let mut words = vec![rule.connection.as_str().into(), databases.join(&b','), users.join(&b',')];
    words.extend(rule.address.as_ref().map(address_word));
    words.push(rule.method.as_str().into());
    words.extend(rule.options.iter().map(|option| option_word(option, form)));
    words
}

fn database_word(database: &HbaDatabase, form: Form) -> Vec<u8> {
    match database {
        HbaDatabase::All => b"all".into(),
        HbaDatabase::SameUser => b"sameuser".into(),
        HbaDatabase::SameRole => b"samerole".into(),
        HbaDatabase::Replication => b"replication".into(),
        HbaDatabase::Name(name) => name_word(name, &["all", "sameuser", "samerole", "samegroup", "replication"], form),
        HbaDatabase::Regex(regex) => after(b'/', regex),
        HbaDatabase::File(file) => after(b'@', file),
    }
}

fn user_word(user: &HbaUser, form: Form) -> Vec<u8> {
    match user {
        HbaUser::All => b"all".into(),
        HbaUser::Member(role) => after(b'+', role),
        HbaUser::Name(name) => name_word(name, &["all"], form),
        HbaUser::Regex(regex) => after(b'/', regex),
        HbaUser::File(file) => after(b'@', file),
    }
}

/// A name that is meant to the letter.
fn name_word(name: &HbaName, keywords: &[&str], form: Form) -> Vec<u8> {
    let bytes = name.as_bytes();
    match bytes.first() {
        // It would be a regular expression, quoted or not: so it is one that means just this name.
        Some(b'/') if form.has_patterns() => in_quotes(&exactly(bytes)),
        Some(b'+' | b'@') => in_quotes(bytes),
        _ if keywords.iter().any(|keyword| keyword.as_bytes() == bytes) => in_quotes(bytes),
        _ => quoted_if_needed(bytes),
    }
}

/// A regular expression that matches this name and nothing else.
fn exactly(name: &[u8]) -> Vec<u8> {
    let mut regex = b"/^".to_vec();
    for byte in name {
        if byte.is_ascii() && !byte.is_ascii_alphanumeric() && *byte != b'_' {
            regex.push(b'\\');
        }
        regex.push(*byte);
    }
    regex.push(b'$');
    regex
}

/// A word with a sign that must stand before the quotes.
fn after(sign: u8, name: &HbaName) -> Vec<u8> {
    let mut word = vec![sign];
    word.extend(match name.as_bytes() {
        b"" => Vec::new(),
        bytes => quoted_if_needed(bytes),
    });
    word
}

fn address_word(address: &HbaAddress) -> Vec<u8> {
    match address {
        HbaAddress::All => b"all".into(),
        HbaAddress::SameHost => b"samehost".into(),
        HbaAddress::SameNet => b"samenet".into(),
        HbaAddress::Network { address, mask } => Written(address, mask).to_string().into(),
        HbaAddress::Host(name) if ["all", "samehost", "samenet"].iter().any(|word| name == word) => {
            in_quotes(name.as_bytes())
        }
        HbaAddress::Host(name) | HbaAddress::Domain(name) => match name.as_bytes().first() {
            Some(b'@') => in_quotes(name.as_bytes()),
            _ => quoted_if_needed(name.as_bytes()),
        },
    }
}

fn option_word(option: &HbaOption, form: Form) -> Vec<u8> {
    let mut word = option.name.clone().into_bytes();
    word.push(b'=');
    word.extend(match option.value.as_bytes() {
        b"" => Vec::new(),
        _ if matches!(form, Form::Person { .. }) && secret::is_hidden(&option.name) => secret::MASK.into(),
        bytes => quoted_if_needed(bytes),
    });
    word
}

/// A backslash counts, because at the end of a line it would continue it.
fn quoted_if_needed(bytes: &[u8]) -> Vec<u8> {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'#' | b'"' | b'\\') || !byte.is_ascii();
    if !bytes.is_empty() && bytes.iter().all(plain) { bytes.into() } else { in_quotes(bytes) }
}

fn in_quotes(bytes: &[u8]) -> Vec<u8> {
    let mut word = vec![b'"'];
    for byte in bytes {
        if *byte == b'"' {
            word.push(b'"');
        }
        word.push(*byte);
    }
    word.push(b'"');
    word
}

/// Refuses what cannot be said in the file, or would be read as something else.
fn refuse(rule: &HbaRule, dialect: &Dialect) -> Result<()> {
    let patterns = dialect.has_patterns_and_includes();
    let why = names_fault(rule).or_else(|| address_fault(rule)).or_else(|| options_fault(rule));
    if let Some(why) = why {
        return Err(Error::invalid(format!("rule \"{}\" of pg_hba.conf", text(rule, patterns)), why));
    }
    match has_expression(rule) && !patterns {
        true => Err(Error::unsupported(
            format!("the regular expression in the rule \"{}\"", text(rule, patterns)),
            "PostgreSQL 16",
        )),
        false => Ok(()),
    }
}

fn has_expression(rule: &HbaRule) -> bool {
    rule.databases.iter().any(|database| matches!(database, HbaDatabase::Regex(_)))
        || rule.users.iter().any(|user| matches!(user, HbaUser::Regex(_)))
}

/// What is wrong with the names in a rule.
fn names_fault(rule: &HbaRule) -> Option<&'static str> {
    let is_impossible = |name: &&HbaName| name.as_bytes().iter().any(|byte| matches!(byte, b'\n' | b'\r' | 0));
    let has_nameless_file = || {
        rule.databases.iter().any(|database| matches!(database, HbaDatabase::File(file) if file == ""))
            || rule.users.iter().any(|user| matches!(user, HbaUser::File(file) if file == ""))
    };
    if names(rule).iter().any(is_impossible) {
        return Some("a name in it has a line break or a NUL byte, which the file cannot hold");
    }
    if rule.databases.is_empty() || rule.users.is_empty() {
        return Some("it needs a database and a user: all, for every one of them");
    }
    has_nameless_file().then_some("an @file in it has no name")
}

/// What is wrong with the options of a rule.
fn options_fault(rule: &HbaRule) -> Option<&'static str> {
    let is_word =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let is_mask = |option: &HbaOption| secret::is_hidden(&option.name) && option.value == secret::MASK;
    if !rule.options.iter().all(|option| is_word(&option.name)) {
        return Some("an option in it has a name that is none");
    }
    rule.options.iter().any(is_mask).then_some("its secret is the mask that is shown in the place of one")
}

/// What is wrong with the address of a rule.
fn address_fault(rule: &HbaRule) -> Option<&'static str> {
    match (&rule.address, rule.connection) {
        (Some(_), ConnectionType::Local) => Some("local has no address"),
        (None, ConnectionType::Local) => None,
        (None, _) => Some("it needs an address: all, for every one"),
        (Some(HbaAddress::Network { address, mask }), _) if address.is_ipv4() != mask.is_ipv4() => {
            Some("its mask is of another family than its address")
        }
        (Some(HbaAddress::Domain(name)), _) if !name.as_bytes().starts_with(b".") => Some("a domain begins with a dot"),
        (Some(HbaAddress::Host(name) | HbaAddress::Domain(name)), _)
            if name.as_bytes().contains(&b'/') || address::numeric(name.as_bytes()).is_some() =>
        {
            Some("its host name would be read as a network")
        }
        _ => None,
    }
}

/// Every text in a rule that a user chose.
fn names(rule: &HbaRule) -> Vec<&HbaName> {
    let databases = rule.databases.iter().filter_map(|database| match database {
        HbaDatabase::All | HbaDatabase::SameUser | HbaDatabase::SameRole | HbaDatabase::Replication => None,
        HbaDatabase::Name(name) | HbaDatabase::Regex(name) | HbaDatabase::File(name) => Some(name),
    });
    let users = rule.users.iter().filter_map(|user| match user {
        HbaUser::All => None,
        HbaUser::Member(name) | HbaUser::Name(name) | HbaUser::Regex(name) | HbaUser::File(name) => Some(name),
    });
    let address = rule.address.iter().filter_map(|address| match address {
        HbaAddress::Host(name) | HbaAddress::Domain(name) => Some(name),
        HbaAddress::All | HbaAddress::SameHost | HbaAddress::SameNet | HbaAddress::Network { .. } => None,
    });
    databases.chain(users).chain(address).chain(rule.options.iter().map(|option| &option.value)).collect()
}
