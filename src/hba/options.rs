//! The options of authentication methods
//! ([methods](https://www.postgresql.org/docs/current/client-authentication.html)).
use super::dialect::Dialect;
use super::fault::Trouble;
use super::ldap_url::LdapUrl;
use super::method::HbaMethod::{self, Cert, Gss, Ident, Ldap, Oauth, Pam, Peer, Radius, Sspi};
use super::parse::quoted;
use super::rule::{ConnectionType, HbaOption};
use super::secret;
use super::token::{Field, Token};

/// The options, the version that brought each, and the methods that take it. `clientcert` and `clientname` go with
/// `hostssl`, whatever the method.
const OPTIONS: &[(&str, u32, &[HbaMethod])] = &[
    ("map", 0, &[Ident, Peer, Gss, Sspi, Cert, Oauth]),
    ("clientcert", 0, &HbaMethod::ALL),
    ("clientname", 14, &HbaMethod::ALL),
    ("pamservice", 0, &[Pam]),
    ("pam_use_hostname", 0, &[Pam]),
    ("ldapurl", 0, &[Ldap]),
    ("ldaptls", 0, &[Ldap]),
    ("ldapscheme", 11, &[Ldap]),
    ("ldapserver", 0, &[Ldap]),
    ("ldapport", 0, &[Ldap]),
    ("ldapbinddn", 0, &[Ldap]),
    ("ldapbindpasswd", 0, &[Ldap]),
    ("ldapsearchattribute", 0, &[Ldap]),
    ("ldapsearchfilter", 11, &[Ldap]),
    ("ldapbasedn", 0, &[Ldap]),
    ("ldapprefix", 0, &[Ldap]),
    ("ldapsuffix", 0, &[Ldap]),
    ("krb_realm", 0, &[Gss, Sspi]),
    ("include_realm", 0, &[Gss, Sspi]),
    ("compat_realm", 0, &[Sspi]),
    ("upn_username", 0, &[Sspi]),
    ("radiusservers", 0, &[Radius]),
    ("radiussecrets", 0, &[Radius]),
    ("radiusports", 0, &[Radius]),
    ("radiusidentifiers", 0, &[Radius]),
    ("issuer", 18, &[Oauth]),
    ("scope", 18, &[Oauth]),
    ("validator", 18, &[Oauth]),
    ("delegate_ident_mapping", 18, &[Oauth]),
];

/// Whether a text begins with an option.
pub(super) fn is_option(text: &[u8]) -> bool {
    OPTIONS.iter().any(|(name, ..)| text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"=")))
}

/// Whether there is such an option.
pub(super) fn is_known(option: &str) -> bool {
    OPTIONS.iter().any(|(name, ..)| *name == option)
}

/// What the options of a rule depend on.
#[derive(Clone, Copy)]
pub(super) struct Rule<'a> {
    pub(super) method: HbaMethod,
    pub(super) connection: ConnectionType,
    pub(super) dialect: &'a Dialect,
    /// The column behind the last word.
    pub(super) end: usize,
}

/// The options that these words are; each is one, with commas between them or not.
pub(super) fn read(fields: &[Field], rule: Rule<'_>) -> Result<Vec<HbaOption>, Trouble> {
    let mut options = Vec::new();
    for token in fields.iter().flatten() {
        // What follows a secret may be a part of it that lacks its quotes.
        let hidden = options.iter().any(|option: &HbaOption| secret::is_hidden(&option.name));
        let option = option(token, rule, hidden).map_err(|problem| Trouble::new(token.column, problem))?;
        options.push(option);
    }
    let complete = match rule.method {
        Ldap => ldap(&options),
        Radius => radius(&options),
        Oauth => oauth(&options, rule.dialect),
        _ => Ok(()),
    };
    complete.map_err(|problem| Trouble::new(rule.end, problem))?;
    Ok(options)
}

fn option(token: &Token, rule: Rule<'_>, hidden: bool) -> Result<HbaOption, String> {
    let Some(at) = token.bytes.iter().position(|byte| *byte == b'=') else {
        return Err("an option was expected, name=value in one word, but this one has no =".into());
    };
    let (name, rest) = token.bytes.split_at(at);
    let value = rest.get(1..).unwrap_or_default();
    let Some((name, since, methods)) = OPTIONS.iter().find(|(known, ..)| known.as_bytes() == name) else {
        let name = if hidden { "this".to_owned() } else { quoted(name) };
        return Err(format!("{name} is no option of an authentication method"));
    };
    let (method, connection, dialect) = (rule.method, rule.connection, rule.dialect);
    if !dialect.version.at_least(*since) {
        return Err(format!("the option {name} needs PostgreSQL {since}, and this is {}", dialect.version));
    }
    if !methods.contains(&method) {
        let known: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
        return Err(format!("the option {name} goes with the method {}, not with {method}", known.join(" or ")));
    }
    if matches!(*name, "clientcert" | "clientname") && connection != ConnectionType::HostSsl {
        return Err(format!("the option {name} goes with hostssl only, not with {connection}"));
    }
    check(name, value, rule)?;
    Ok(HbaOption::new(*name, value))
}

fn check(name: &str, value: &[u8], rule: Rule<'_>) -> Result<(), String> {
    match name {
        "clientcert" => client_certificate(value, rule),
        "clientname" if value != b"CN" && value != b"DN" => {
            Err(format!("clientname is CN or DN, not {}", quoted(value)))
        }
        "ldapport" if number(value) == 0 => Err(format!("ldapport is a number, not {}", quoted(value))),
        "ldapurl" => LdapUrl::read(value, rule.dialect).map(drop),
        "radiusservers" | "radiussecrets" | "radiusidentifiers" => match list(value) {
            Some(_) => Ok(()),
            None => Err(format!("{name} is no list: values with a comma or a blank need double quotes of their own")),
        },
        "radiusports" => match list(value) {
            Some(ports) if ports.iter().all(|port| number(port) != 0) => Ok(()),
            _ => Err(format!("radiusports is a list of numbers, not {}", quoted(value))),
        },
        _ => Ok(()),
    }
}

/// What PostgreSQL takes for `clientcert` changed with versions 12 and 14.
fn client_certificate(value: &[u8], rule: Rule<'_>) -> Result<(), String> {
    let required = rule.method == Cert;
    let (valid, full): (&[&str], &[&str]) = match rule.dialect.version.major() {
        ..12 => (&[], &["1"]),
        12..14 => (&["0", "no-verify", "1", "verify-ca", "verify-full"], &["1", "verify-ca", "verify-full"]),
        _ => (&["verify-ca", "verify-full"], &["verify-full"]),
    };
    let is_one_of = |values: &[&str]| values.iter().any(|one| one.as_bytes() == value);
    if !valid.is_empty() && !is_one_of(valid) {
        return Err(format!("clientcert is {}, not {}", valid.join(" or "), quoted(value)));
    }
    if required && !is_one_of(full) {
        return Err(format!("with the method cert, clientcert can only be {}", full.join(" or ")));
    }
    Ok(())
}

fn last<'a>(options: &'a [HbaOption], name: &str) -> Option<&'a [u8]> {
    options.iter().rfind(|option| option.name == name).map(|option| option.value.as_bytes())
}

/// Either the name is put between a prefix and a suffix, or it is searched for.
fn ldap(options: &[HbaOption]) -> Result<(), String> {
    let urls: Vec<_> = options.iter().filter(|option| option.name == "ldapurl").collect();
    let urls = urls.into_iter().filter_map(|option| LdapUrl::parts(option.value.as_bytes()).ok());
    let url = urls.fold(LdapUrl::default(), LdapUrl::or);
    let has = |name| last(options, name).is_some();
    let (base, filter) = (url.base || has("ldapbasedn"), url.filter || has("ldapsearchfilter"));
    let attribute = url.attribute || has("ldapsearchattribute");
    if has("ldapprefix") || has("ldapsuffix") {
        if base || filter || attribute || has("ldapbinddn") || has("ldapbindpasswd") {
            return Err("ldapprefix and ldapsuffix do not go with the options of a search: ldapurl, ldapbasedn, \
                        ldapbinddn, ldapbindpasswd, ldapsearchattribute, ldapsearchfilter"
                .into());
        }
    } else if !base {
        return Err("the method ldap needs ldapbasedn, ldapprefix or ldapsuffix".into());
    }
    if attribute && filter {
        return Err("ldapsearchattribute does not go with ldapsearchfilter".into());
    }
    Ok(())
}

/// Each list has as many values as there are servers, or one for all.
fn radius(options: &[HbaOption]) -> Result<(), String> {
    let count = |name| last(options, name).and_then(list).map_or(0, |values| values.len());
    let servers = count("radiusservers");
    if servers == 0 {
        return Err("the method radius needs radiusservers".into());
    }
    if count("radiussecrets") == 0 {
        return Err("the method radius needs radiussecrets".into());
    }
    for name in ["radiussecrets", "radiusports", "radiusidentifiers"] {
        let values = count(name);
        if values > 1 && values != servers {
            return Err(format!("{name} has {values} values for {servers} servers: one, or as many, were expected"));
        }
    }
    Ok(())
}

fn oauth(options: &[HbaOption], dialect: &Dialect) -> Result<(), String> {
    for name in ["scope", "issuer"] {
        if last(options, name).is_none() {
            return Err(format!("the method oauth needs {name}"));
        }
    }
    let validator = last(options, "validator");
    match (dialect.oauth_validators.as_deref(), validator) {
        (Some([]), _) => return Err("the method oauth needs a library in the setting oauth_validator_libraries".into()),
        (Some([_, _, ..]), None) => {
            return Err("the method oauth needs validator, because there are several oauth_validator_libraries".into());
        }
        (Some(known), Some(validator)) if !known.iter().any(|library| library.as_bytes() == validator) => {
            return Err(format!("the validator {} is not among the oauth_validator_libraries", quoted(validator)));
        }
        _ => {}
    }
    if last(options, "map").is_some() && last(options, "delegate_ident_mapping") == Some(b"1") {
        return Err("the option map does not go with delegate_ident_mapping=1".into());
    }
    Ok(())
}

/// A number as C reads it: what follows its digits does not count, and none is 0.
fn number(text: &[u8]) -> i32 {
    let blank = |byte: &u8| matches!(byte, b' ' | 9..=13);
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let text = text.get(start..).unwrap_or_default();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let value = digits.fold(0_i64, |sum, digit| sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    let value = if negative { -value } else { value };
    // The server keeps the low half of what C read.
    i32::from_ne_bytes((value as u64 as u32).to_ne_bytes())
}

/// A list in one value, with commas; none if it is not well-formed.
fn list(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b'\x0c');
    let mut rest = text.iter().copied().peekable();
    while rest.next_if(|byte| is_blank(*byte)).is_some() {}
    let mut values = Vec::new();
    if rest.peek().is_none() {
        return Some(values);
    }
    loop {
        let mut value = Vec::new();
        if rest.next_if_eq(&b'"').is_some() {
            loop {
                match rest.next()? {
                    b'"' if rest.next_if_eq(&b'"').is_none() => break,
                    byte => value.push(byte),
                }
            }
        } else {
            while let Some(byte) = rest.next_if(|byte| *byte != b',' && !is_blank(*byte)) {
                value.push(byte);
            }
            if value.is_empty() {
                return None;
            }
        }
        values.push(value);
        while rest.next_if(|byte| is_blank(*byte)).is_some() {}
        match rest.next() {
            None => return Some(values),
            Some(b',') => while rest.next_if(|byte| is_blank(*byte)).is_some() {},
            Some(_) => return None,
        }
    }
}
