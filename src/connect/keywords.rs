//! Every keyword of libpq's connection parameters, with its variable of the environment, and what comes of it here
//! ([Parameter Key Words](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS)). Pure.
use super::conninfo::Parameters;
use super::tls_parameters::{text, word};
use crate::error::{Error, Result};

/// One of libpq's keywords.
pub(crate) struct Keyword {
    pub(crate) name: &'static str,
    /// The variable that is asked where the parameter was not given.
    pub(crate) variable: Option<&'static str>,
    pub(super) effect: Effect,
}

/// What comes of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// What libpq makes of it.
    Honoured,
    /// As [`Honoured`](Effect::Honoured), and its value is never shown.
    Secret,
    /// Some values are refused: [`check_values`].
    SomeValues,
    /// None: it is about a way of authentication that the driver refuses whenever a server asks for it, or libpq itself
    /// ignores it.
    None,
    /// As [`None`](Effect::None), and its value is never shown.
    NoneSecret,
    /// An error, which says what would do instead.
    Refused(&'static str),
}

const fn keyword(name: &'static str, variable: &'static str, effect: Effect) -> Keyword {
    let variable = if variable.is_empty() { None } else { Some(variable) };
    Keyword { name, variable, effect }
}

/// libpq's keywords, those of version 18.
pub(super) const KEYWORDS: [Keyword; 50] = {
    use Effect::{Honoured, NoneSecret, Refused, Secret, SomeValues};
    [
        keyword("service", "PGSERVICE", Honoured),
        keyword("user", "PGUSER", Honoured),
        keyword("password", "PGPASSWORD", Secret),
        keyword("passfile", "PGPASSFILE", Honoured),
        keyword("channel_binding", "PGCHANNELBINDING", Honoured),
        keyword("connect_timeout", "PGCONNECT_TIMEOUT", Honoured),
        keyword("dbname", "PGDATABASE", Honoured),
        keyword("host", "PGHOST", Honoured),
        keyword("hostaddr", "PGHOSTADDR", Honoured),
        keyword("port", "PGPORT", Honoured),
        keyword("client_encoding", "PGCLIENTENCODING", SomeValues),
        keyword("options", "PGOPTIONS", Honoured),
        keyword("application_name", "PGAPPNAME", Honoured),
        keyword("fallback_application_name", "", Honoured),
        keyword("keepalives", "", Honoured),
        keyword("keepalives_idle", "", Honoured),
        keyword("keepalives_interval", "", Honoured),
        keyword("keepalives_count", "", Honoured),
        keyword("tcp_user_timeout", "", Honoured),
        keyword("sslmode", "PGSSLMODE", Honoured),
        keyword("sslnegotiation", "PGSSLNEGOTIATION", Honoured),
        keyword("sslcompression", "PGSSLCOMPRESSION", Effect::None),
        keyword("sslcert", "PGSSLCERT", Honoured),
        keyword("sslkey", "PGSSLKEY", Honoured),
        keyword("sslpassword", "", Secret),
        keyword("sslcertmode", "PGSSLCERTMODE", Honoured),
        keyword("sslrootcert", "PGSSLROOTCERT", Honoured),
        keyword("sslcrl", "PGSSLCRL", Honoured),
        keyword("sslcrldir", "PGSSLCRLDIR", Honoured),
        keyword("sslsni", "PGSSLSNI", Honoured),
        keyword("sslkeylogfile", "", Refused("a debugger; the keys of connections are written nowhere")),
        keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Honoured),
        keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Honoured),
        keyword("min_protocol_version", "PGMINPROTOCOLVERSION", SomeValues),
        keyword("max_protocol_version", "PGMAXPROTOCOLVERSION", SomeValues),
        // Only of Unix sockets, where it is refused.
        keyword("requirepeer", "PGREQUIREPEER", SomeValues),
        keyword(
            "require_auth",
            "PGREQUIREAUTH",
            Refused("a driver that tells how it was authenticated; channel_binding=require lets SCRAM alone through"),
        ),
        keyword("gssencmode", "PGGSSENCMODE", SomeValues),
        keyword("krbsrvname", "PGKRBSRVNAME", Effect::None),
        keyword("gsslib", "PGGSSLIB", Effect::None),
        keyword("gssdelegation", "PGGSSDELEGATION", Effect::None),
        keyword("replication", "", SomeValues),
        keyword("target_session_attrs", "PGTARGETSESSIONATTRS", Honoured),
        keyword("load_balance_hosts", "PGLOADBALANCEHOSTS", Honoured),
        keyword("scram_client_key", "", Refused("password=... instead: the driver takes no keys")),
        keyword("scram_server_key", "", Refused("password=... instead: the driver takes no keys")),
        keyword("oauth_issuer", "", Effect::None),
        keyword("oauth_client_id", "", Effect::None),
        keyword("oauth_client_secret", "", NoneSecret),
        keyword("oauth_scope", "", Effect::None),
    ]
};

/// A keyword by its name.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}

/// The parameters that there are, each with its keyword.
pub(crate) fn of(parameters: &Parameters) -> impl Iterator<Item = (&'static Keyword, &str)> {
    KEYWORDS.iter().filter_map(|keyword| Some((keyword, parameters.get(keyword.name)?.as_str())))
}

/// Whether a parameter's value shows nowhere.
pub(super) fn is_secret(name: &str) -> bool {
    // A name that is not known is perhaps the end of a password.
    let effect = find(name).map_or(Effect::Secret, |keyword| keyword.effect);
    matches!(effect, Effect::Secret | Effect::NoneSecret) || name.starts_with("scram_")
}

/// Refuses parameters that cannot be honoured, by name. One that is empty says nothing, but for a key, which libpq refuses.
///
/// # Errors
/// [`Error::Unsupported`], and [`Error::Invalid`] for values that libpq refuses.
pub(super) fn check(parameters: &Parameters) -> Result<()> {
    for (name, _) in parameters.iter().filter(|(name, value)| !value.is_empty() || name.starts_with("scram_")) {
        if let Some(Keyword { effect: Effect::Refused(needs), .. }) = find(name) {
            return Err(Error::unsupported(format!("the connection parameter {name}"), *needs));
        }
    }
    check_values(parameters)
}

fn check_values(parameters: &Parameters) -> Result<()> {
    let refuse = |what: &str, needs: &str| Err(Error::unsupported(format!("the connection parameter {what}"), needs));
    if let Some(encoding) = text(parameters, "client_encoding") {
        let name: String = encoding.chars().filter(char::is_ascii_alphanumeric).collect();
        if !["auto", "utf8", "unicode"].contains(&name.to_ascii_lowercase().as_str()) {
            return refuse("client_encoding other than UTF8", "text in UTF-8, which is all that the driver reads");
        }
    }
    if text(parameters, "replication").is_some_and(|value| !is_false(value)) {
        return refuse(
            "replication",
            "a program for replication; objects are read by SQL, over an ordinary connection",
        );
    }
    if word(parameters, "gssencmode", false, &[("disable", false), ("prefer", false), ("require", true)])? {
        return refuse("gssencmode=require", "a driver with GSSAPI; sslmode=require encrypts too");
    }
    let versions = [("3.0", 30), ("3.2", 32), ("latest", 32)];
    let oldest = word(parameters, "min_protocol_version", 30, &versions)?;
    if word(parameters, "max_protocol_version", 32, &versions)? < oldest {
        return Err(Error::invalid("connection parameters", "max_protocol_version is below min_protocol_version"));
    }
    match oldest > 30 {
        true => refuse("min_protocol_version above 3.0", "a driver that speaks it; this one speaks 3.0"),
        false => Ok(()),
    }
}

/// What the server reads as false.
fn is_false(value: &str) -> bool {
    ["0", "f", "false", "n", "no", "of", "off"].contains(&value.to_ascii_lowercase().as_str())
}

/// The `sslmode` that `requiressl` stands for, a name of the oldest libpqs that the newest still takes.
pub(super) fn required_ssl(value: &str) -> &'static str {
    if value.starts_with('1') { "require" } else { "prefer" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn checked(name: &str, value: &str) -> Result<()> {
        check(&[(name.to_owned(), value.to_owned())].into())
    }

    #[test]
    fn every_keyword_is_there_once_and_in_the_document() {
        let document = include_str!("../../docs/connecting.md");
        let names: BTreeSet<_> = KEYWORDS.iter().map(|keyword| keyword.name).collect();
        assert_eq!(names.len(), KEYWORDS.len());
        for Keyword { name, variable, .. } in &KEYWORDS {
            assert!(document.contains(&format!("`{name}`")), "{name}");
            assert!(variable.is_none_or(|variable| document.contains(&format!("`{variable}`"))), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_honoured_is_refused_by_name() {
        for (name, value) in [
            ("require_auth", "scram-sha-256"),
            ("replication", "database"),
            ("replication", "1"),
            ("client_encoding", "latin1"),
            ("gssencmode", "require"),
            ("min_protocol_version", "3.2"),
            ("scram_client_key", "x"),
            ("sslkeylogfile", "/tmp/keys"),
        ] {
            let error = checked(name, value).unwrap_err();
            assert!(matches!(error, Error::Unsupported { .. }), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        for (name, value) in [
            ("require_auth", ""),
            ("replication", "off"),
            ("replication", "F"),
            ("client_encoding", "utf-8"),
            ("client_encoding", "auto"),
            ("gssencmode", "prefer"),
            ("max_protocol_version", "latest"),
            ("min_protocol_version", "3.0"),
            ("krbsrvname", "x"),
        ] {
            checked(name, value).unwrap();
        }
        for (name, value) in [("gssencmode", ""), ("gssencmode", "x"), ("max_protocol_version", "2.0")] {
            assert!(matches!(checked(name, value), Err(Error::Invalid { .. })), "{name}={value}");
        }
    }
}
