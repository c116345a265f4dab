//! A record as a rule, by the server's own rules
//! ([format](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
use super::address;
use super::dialect::Dialect;
use super::fault::Trouble;
use super::method::HbaMethod;
use super::name::HbaName;
use super::options;
use super::pattern;
use super::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaRule, HbaUser};
use super::secret;
use super::token::{Field, Record, Token};

/// A rule, and why it can never match, if so.
#[derive(Clone, Debug)]
pub(super) struct Parsed {
    pub(super) rule: HbaRule,
    pub(super) warning: Option<Trouble>,
}

/// The rule that a record is.
pub(super) fn rule(record: &Record, fields: &[Field], dialect: &Dialect) -> Result<Parsed, Trouble> {
    let parsed = match &record.trouble {
        Some(trouble) => Err(trouble.clone()),
        None => read(record, fields, dialect),
    };
    parsed.map_err(|trouble| {
        // The words behind a secret may be a part of it that lacks its quotes. Those of an `@file` share its column.
        let until = fields.iter().flatten().take_while(|token| token.column <= trouble.column);
        match secret::begins_in(until.map(|token| token.bytes.as_slice())) {
            true => Trouble::new(trouble.column, secret::without_words(&trouble.problem)),
            false => trouble,
        }
    })
}

fn read(record: &Record, fields: &[Field], dialect: &Dialect) -> Result<Parsed, Trouble> {
    let mut fields = Fields { fields, at: 0, end: record.end };
    let word = fields.single("a connection type: local, host, hostssl, hostnossl, hostgssenc or hostnogssenc")?;
    let connection = connection(word, dialect)?;
    let warning = cannot_match(connection, dialect).map(|problem| Trouble::new(word.column, problem.into()));
    let databases = each(fields.next("a database")?, |token| database(token, dialect))?;
    let users = each(fields.next("a user")?, |token| user(token, dialect))?;
    let address = match connection {
        ConnectionType::Local => None,
        _ => Some(fields.address()?),
    };
    let word = fields
        .single("an authentication method")
        .map_err(|trouble| Trouble::new(trouble.column, trouble.problem + advice(address.as_ref(), None)))?;
    let method = method(word, connection, address.as_ref(), dialect)?;
    let options = options::read(fields.rest(), options::Rule { method, connection, dialect, end: record.end })?;
    Ok(Parsed { rule: HbaRule { connection, databases, users, address, method, options }, warning })
}

/// The address that a record is, with its mask, and nothing else.
pub(super) fn address(record: &Record) -> Result<HbaAddress, Trouble> {
    if let Some(trouble) = &record.trouble {
        return Err(trouble.clone());
    }
    let mut fields = Fields { fields: &record.fields, at: 0, end: record.end };
    let address = fields.address()?;
    match fields.rest().iter().flatten().next() {
        None => Ok(address),
        Some(token) => {
            let problem = format!("the end was expected behind an address, but {} is there", shown(token));
            Err(Trouble::new(token.column, problem))
        }
    }
}

/// What each word of a list says. The list takes no more memory than it needs: there may be very many rules.
fn each<T>(field: &[Token], read: impl Fn(&Token) -> Result<T, Trouble>) -> Result<Vec<T>, Trouble> {
    let mut all = Vec::with_capacity(field.len());
    for token in field {
        all.push(read(token)?);
    }
    Ok(all)
}

/// The fields of a record that are still to be read.
struct Fields<'a> {
    fields: &'a [Field],
    at: usize,
    end: usize,
}

impl<'a> Fields<'a> {
    fn next(&mut self, what: &str) -> Result<&'a Field, Trouble> {
        let field = self.fields.get(self.at).filter(|field| !field.is_empty());
        self.at += 1;
        field.ok_or_else(|| Trouble::new(self.end, format!("the line ends where {what} was expected")))
    }

    fn single(&mut self, what: &str) -> Result<&'a Token, Trouble> {
        match self.next(what)?.as_slice() {
            [token] => Ok(token),
            [_, second, ..] => {
                Err(Trouble::new(second.column, format!("one word was expected here, {what}, but no list")))
            }
            [] => Err(Trouble::new(self.end, format!("{what} was expected"))),
        }
    }

    fn address(&mut self) -> Result<HbaAddress, Trouble> {
        let token = self.single("an address")?;
        for (keyword, address) in
            [("all", HbaAddress::All), ("samehost", HbaAddress::SameHost), ("samenet", HbaAddress::SameNet)]
        {
            if token.is(keyword) {
                return Ok(address);
            }
        }
        let wrong = |problem: &str| Err(Trouble::new(token.column, format!("{} {problem}", shown(token))));
        // What is in it stands in its place when a file is read.
        if token.file().is_some() {
            return Err(Trouble::new(token.column, format!("an address was expected, but {} is a file", shown(token))));
        }
        let (start, bits) = match token.bytes.iter().position(|byte| *byte == b'/') {
            Some(slash) => (token.bytes.get(..slash).unwrap_or_default(), token.bytes.get(slash + 1..)),
            None => (token.bytes.as_slice(), None),
        };
        match (address::numeric(start), bits) {
            (Some(address), Some(bits)) => match address::mask_of_bits(bits, &address) {
                Some(mask) => Ok(HbaAddress::Network { address, mask }),
                None => {
                    wrong("has no valid number of bits behind the slash: 0 to 32, or for IPv6 0 to 128, was expected")
                }
            },
            (Some(address), None) => self.mask(token, address),
            (None, Some(_)) => wrong("is no IP address, and a host name has no mask"),
            (None, None) if start.starts_with(b".") => Ok(HbaAddress::Domain(start.into())),
            (None, None) => Ok(HbaAddress::Host(start.into())),
        }
    }

    /// The mask that follows an address without one.
    fn mask(&mut self, written: &Token, address: std::net::IpAddr) -> Result<HbaAddress, Trouble> {
        let what = format!("the mask of {}, which has no /bits,", shown(written));
        let token = self.single(&what)?;
        match address::numeric(&token.bytes) {
            Some(mask) if mask.is_ipv4() == address.is_ipv4() => Ok(HbaAddress::Network { address, mask }),
            Some(_) => {
                let problem =
                    format!("the mask {} is of another family than the address {}", shown(token), shown(written));
                Err(Trouble::new(token.column, problem))
            }
            None => Err(Trouble::new(token.column, format!("{what} was expected, but {} is none", shown(token)))),
        }
    }

    fn rest(&self) -> &'a [Field] {
        self.fields.get(self.at..).unwrap_or_default()
    }
}

fn connection(token: &Token, dialect: &Dialect) -> Result<ConnectionType, Trouble> {
    let mut known = ConnectionType::ALL.into_iter().filter(|connection| {
        dialect.version.at_least(12) || !matches!(connection, ConnectionType::HostGssEnc | ConnectionType::HostNoGssEnc)
    });
    known.find(|connection| connection.as_str().as_bytes() == token.bytes).ok_or_else(|| {
        let verb =
            ["include", "include_if_exists", "include_dir"].into_iter().find(|verb| verb.as_bytes() == token.bytes);
        let problem = match verb {
            Some(verb) if dialect.has_patterns_and_includes() => {
                format!("{verb} takes one file, and nothing behind it")
            }
            Some(verb) => format!("{verb} needs PostgreSQL 16, and this is {}", dialect.version),
            // The word itself may be a secret: versions before 14 do not join lines.
            None => "the first word is no connection type: local, host, hostssl, hostnossl, hostgssenc or \
                     hostnogssenc was expected"
                .into(),
        };
        Trouble::new(token.column, problem)
    })
}

/// Why such a rule is taken by the server and yet can never match.
fn cannot_match(connection: ConnectionType, dialect: &Dialect) -> Option<&'static str> {
    match connection {
        ConnectionType::HostSsl if dialect.ssl == Some(false) => {
            Some("hostssl can never match, because TLS is off (the setting ssl)")
        }
        ConnectionType::HostGssEnc if dialect.gssapi == Some(false) => {
            Some("hostgssenc can never match, because the server was built without GSSAPI")
        }
        _ => None,
    }
}

fn database(token: &Token, dialect: &Dialect) -> Result<HbaDatabase, Trouble> {
    for (keyword, database) in [
        ("all", HbaDatabase::All),
        ("sameuser", HbaDatabase::SameUser),
        ("samerole", HbaDatabase::SameRole),
        ("samegroup", HbaDatabase::SameRole),
        ("replication", HbaDatabase::Replication),
    ] {
        if token.is(keyword) {
            return Ok(database);
        }
    }
    Ok(match (token.file(), regex(token, dialect)?) {
        (Some(file), _) => HbaDatabase::File(file.into()),
        (None, Some(regex)) => HbaDatabase::Regex(regex),
        (None, None) => HbaDatabase::Name(name(token)),
    })
}

fn user(token: &Token, dialect: &Dialect) -> Result<HbaUser, Trouble> {
    let group = token.bytes.strip_prefix(b"+").filter(|_| !token.quoted);
    Ok(match (token.file(), group, regex(token, dialect)?) {
        _ if token.is("all") => HbaUser::All,
        (Some(file), _, _) => HbaUser::File(file.into()),
        (None, Some(group), _) => HbaUser::Member(group.into()),
        (None, None, Some(regex)) => HbaUser::Regex(regex),
        (None, None, None) => HbaUser::Name(name(token)),
    })
}

/// The regular expression behind a `/`, quoted or not.
fn regex(token: &Token, dialect: &Dialect) -> Result<Option<HbaName>, Trouble> {
    match token.bytes.strip_prefix(b"/").filter(|_| dialect.has_patterns_and_includes()) {
        None => Ok(None),
        Some(regex) => match pattern::fault(regex) {
            None => Ok(Some(regex.into())),
            Some(why) => {
                Err(Trouble::new(token.column, format!("{} is no valid regular expression: {why}", shown(token))))
            }
        },
    }
}

fn name(token: &Token) -> HbaName {
    token.bytes.as_slice().into()
}

fn method(
    token: &Token,
    connection: ConnectionType,
    address: Option<&HbaAddress>,
    dialect: &Dialect,
) -> Result<HbaMethod, Trouble> {
    let wrong = |problem: String| Err(Trouble::new(token.column, format!("{} {problem}", shown(token))));
    let Some(method) = method_named(&token.bytes) else {
        return wrong(format!(
            "is no authentication method: trust, reject, scram-sha-256, peer, cert or another was expected{}",
            advice(address, Some(token))
        ));
    };
    if method == HbaMethod::Oauth && !dialect.version.at_least(18) {
        return wrong(format!("needs PostgreSQL 18, and this is {}", dialect.version));
    }
    let built = match method {
        HbaMethod::Gss => dialect.gssapi,
        HbaMethod::Sspi => dialect.sspi,
        HbaMethod::Pam => dialect.pam,
        HbaMethod::Bsd => dialect.bsd,
        HbaMethod::Ldap => dialect.ldap,
        _ => None,
    };
    if built == Some(false) {
        return wrong("is a method that the server was built without".into());
    }
    match (method, connection) {
        (HbaMethod::Ident, ConnectionType::Local) => Ok(HbaMethod::Peer),
        (HbaMethod::Gss, ConnectionType::Local) => wrong("does not work for local connections".into()),
        (HbaMethod::Peer, other) if other != ConnectionType::Local => wrong("works for local connections only".into()),
        (HbaMethod::Cert, other) if other != ConnectionType::HostSsl => {
            wrong("works for hostssl only: it is the TLS certificate that counts".into())
        }
        _ => Ok(method),
    }
}

fn method_named(name: &[u8]) -> Option<HbaMethod> {
    HbaMethod::ALL.into_iter().find(|method| method.as_str().as_bytes() == name)
}

/// What to say besides where there is no method, but another word in its place or none: an address that is one too
/// many, or missing.
fn advice(address: Option<&HbaAddress>, word: Option<&Token>) -> &'static str {
    match address {
        None if word.is_some_and(looks_like_address) => "; a local rule has no address: was host meant?",
        Some(HbaAddress::Host(name)) if method_named(name.as_bytes()).is_some() => {
            "; the word before it was taken for the address, which is missing"
        }
        _ => "",
    }
}

fn looks_like_address(token: &Token) -> bool {
    let start = token.bytes.split(|byte| *byte == b'/').next().unwrap_or_default();
    ["all", "samehost", "samenet"].into_iter().any(|keyword| token.is(keyword)) || address::numeric(start).is_some()
}

/// A word in messages: as text, in quotes, and not endless.
fn shown(token: &Token) -> String {
    quoted(&token.bytes)
}

/// The same for a part of one.
pub(super) fn quoted(bytes: &[u8]) -> String {
    const MOST: usize = 60;
    let text = String::from_utf8_lossy(bytes);
    let mut start: String = text.chars().take(MOST).collect();
    if start.len() < text.len() {
        start.push_str("...");
    }
    format!("{start:?}")
}
