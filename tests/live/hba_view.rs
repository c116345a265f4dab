//! Rules as `pg_hba_file_rules` shows them.
use pgsteward::hba::{
    ConnectionType, Dialect, HbaAddress, HbaDatabase, HbaEntry, HbaFile, HbaMethod, HbaRule, HbaUser,
};
use std::net::IpAddr;

/// A row of the view, or of the cases; texts that are no UTF-8 with U+FFFD.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Row {
    /// None where it is not told (in the view before PostgreSQL 16), or is the main file.
    pub file: Option<String>,
    pub line: usize,
    /// None for what the server refuses.
    pub rule: Option<Shown>,
    pub warning: bool,
}

#[derive(Clone, Debug, PartialEq, Default)]
pub struct Shown {
    pub connection: String,
    pub databases: Vec<String>,
    pub users: Vec<String>,
    pub address: Option<Address>,
    pub mask: Option<Address>,
    pub method: String,
    pub options: Vec<String>,
}

/// Addresses have several spellings.
#[derive(Clone, Debug, PartialEq)]
pub enum Address {
    Numbers(IpAddr),
    Text(String),
}

impl Address {
    pub fn read(text: &str) -> Self {
        // The zone of an address does not count.
        let address = text.split('%').next().and_then(|start| start.parse().ok());
        address.map_or_else(|| Self::Text(text.into()), Self::Numbers)
    }
}

/// All rows of a file, in the order of its lines within each file.
pub fn rows(file: &HbaFile) -> Vec<Row> {
    let other = |name: &str| (name != file.path()).then(|| name.to_owned());
    let warnings = file.warnings();
    // The server forgets its warning where it looks for the validator of oauth.
    let forgets = |entry: &HbaEntry| entry.effective().method == HbaMethod::Oauth;
    let warned =
        |entry: &HbaEntry| !forgets(entry) && warnings.iter().any(|w| w.file == entry.file() && w.line == entry.line());
    let rules = file.iter().map(|entry| Row {
        file: other(entry.file()),
        line: entry.line(),
        rule: Some(shown(entry.effective(), file.dialect())),
        warning: warned(entry),
    });
    let mut rows: Vec<_> = rules.collect();
    let none = file.is_empty();
    for fault in file.faults() {
        // That a file has no rules at all is in no row.
        if !(none && fault.problem.contains("a server refuses a file without one")) {
            rows.push(Row { file: other(&fault.file), line: fault.line, rule: None, warning: false });
        }
    }
    rows
}

fn shown(rule: &HbaRule, dialect: &Dialect) -> Shown {
    let databases = rule.databases.iter().map(|database| match database {
        HbaDatabase::All => "all".into(),
        HbaDatabase::SameUser => "sameuser".into(),
        HbaDatabase::SameRole => "samerole".into(),
        HbaDatabase::Replication => "replication".into(),
        HbaDatabase::Name(name) => name.to_string(),
        HbaDatabase::Regex(regex) => format!("/{regex}"),
        HbaDatabase::File(file) => format!("@{file} was not followed"),
    });
    let users = rule.users.iter().map(|user| match user {
        HbaUser::All => "all".into(),
        HbaUser::Member(role) => format!("+{role}"),
        HbaUser::Name(name) => name.to_string(),
        HbaUser::Regex(regex) => format!("/{regex}"),
        HbaUser::File(file) => format!("@{file} was not followed"),
    });
    let (address, mask) = match &rule.address {
        None => (None, None),
        Some(HbaAddress::All) => (Some(Address::Text("all".into())), None),
        Some(HbaAddress::SameHost) => (Some(Address::Text("samehost".into())), None),
        Some(HbaAddress::SameNet) => (Some(Address::Text("samenet".into())), None),
        Some(HbaAddress::Network { address, mask }) => {
            (Some(Address::Numbers(*address)), Some(Address::Numbers(*mask)))
        }
        Some(HbaAddress::Host(name) | HbaAddress::Domain(name)) => (Some(Address::read(&name.to_string())), None),
    };
    Shown {
        connection: rule.connection.to_string(),
        databases: databases.collect(),
        users: users.collect(),
        address,
        mask,
        method: rule.method.to_string(),
        options: options(rule, dialect),
    }
}

/// The options as the view has them: the effective ones, in its order, and not all.
fn options(rule: &HbaRule, dialect: &Dialect) -> Vec<String> {
    let last = |name: &str| rule.options.iter().rfind(|option| option.name == name).map(|o| o.value.to_string());
    if last("ldapurl").is_some() {
        return vec!["ldapurl".into()];
    }
    let mut shown = Vec::new();
    let mut value = |name: &str| shown.extend(last(name).map(|value| format!("{name}={value}")));
    match rule.method {
        HbaMethod::Gss | HbaMethod::Sspi => {
            if last("include_realm").is_none_or(|value| value == "1") {
                shown.push("include_realm=true".into());
            }
            shown.extend(last("krb_realm").map(|value| format!("krb_realm={value}")));
            shown.extend(last("map").map(|value| format!("map={value}")));
        }
        _ => value("map"),
    }
    shown.extend(client_certificate(rule, last("clientcert").as_deref(), dialect));
    let mut value = |name: &str| shown.extend(last(name).map(|value| format!("{name}={value}")));
    value("pamservice");
    if rule.method == HbaMethod::Ldap {
        value("ldapserver");
        if let Some(port) = last("ldapport") {
            let port = port.trim();
            let end = port.find(|c: char| !c.is_ascii_digit() && c != '-').unwrap_or(port.len());
            // The server keeps the low half.
            shown.push(format!("ldapport={}", port[..end].parse::<i64>().unwrap_or(i64::MAX) as i32));
        }
        shown.extend(last("ldapscheme").map(|value| format!("ldapscheme={value}")));
        if last("ldaptls").is_some_and(|value| value == "1") {
            shown.push("ldaptls=true".into());
        }
        let names = ["prefix", "suffix", "basedn", "binddn", "bindpasswd", "searchattribute", "searchfilter"];
        for name in names.map(|name| format!("ldap{name}")) {
            shown.extend(last(&name).map(|value| format!("{name}={value}")));
        }
        shown.push("ldapscope=2".into());
    }
    let rest = ["radiusservers", "radiussecrets", "radiusidentifiers", "radiusports", "issuer", "scope", "validator"];
    for name in rest {
        shown.extend(last(name).map(|value| format!("{name}={value}")));
    }
    if let (HbaMethod::Oauth, None, Some([only])) =
        (rule.method, last("validator"), dialect.oauth_validators.as_deref())
    {
        shown.push(format!("validator={only}"));
    }
    if last("delegate_ident_mapping").is_some_and(|value| value == "1") {
        shown.push("delegate_ident_mapping=true".into());
    }
    shown
}

fn client_certificate(rule: &HbaRule, value: Option<&str>, dialect: &Dialect) -> Option<String> {
    if rule.connection != ConnectionType::HostSsl {
        return None;
    }
    let shown = match (dialect.version.major(), rule.method, value) {
        (..12, HbaMethod::Cert, _) | (..12, _, Some("1")) => "true",
        (..12, ..) => return None,
        (_, HbaMethod::Cert, _) | (_, _, Some("verify-full")) => "verify-full",
        (_, _, Some("1" | "verify-ca")) => "verify-ca",
        _ => return None,
    };
    Some(format!("clientcert={shown}"))
}
