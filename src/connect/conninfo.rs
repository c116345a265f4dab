//! Connection strings, taken apart as libpq does
//! ([Connection Strings](https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING)). Pure.
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Parameters by name.
pub(crate) type Parameters = BTreeMap<String, String>;

/// The parameters in a connection string: `host=db user=postgres`, or a `postgresql://` URL. Of one that is given twice the last counts.
pub(crate) fn parse(text: &str) -> Result<Parameters> {
    match ["postgresql://", "postgres://"].iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) => url(rest),
        None => pairs(text),
    }
}

/// The error for parameters that cannot be read. Their text is not repeated: it may be a piece of a password.
fn unreadable(why: &str) -> Error {
    Error::invalid("connection parameters", why)
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| is_blank(*c)).is_some() {}
}

/// What `isspace` in C takes for a blank.
fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}

/// `key = value key='quoted value'`
fn pairs(text: &str) -> Result<Parameters> {
    let mut parameters = Parameters::new();
    let mut chars = text.chars().peekable();
    loop {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            return Ok(parameters);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !is_blank(*c)) {
            key.push(c);
        }
        skip_blanks(&mut chars);
        if chars.next() != Some('=') {
            return Err(unreadable(
                "they are neither key=value pairs nor a postgresql:// URL: a = is missing after a key",
            ));
        }
        skip_blanks(&mut chars);
        parameters.insert(key, value(&mut chars)?);
    }
}

fn value(chars: &mut Peekable<Chars<'_>>) -> Result<String> {
    let mut value = String::new();
    let quoted = chars.next_if_eq(&'\'').is_some();
    while let Some(c) = chars.next_if(|c| quoted || !is_blank(*c)) {
        match c {
            '\\' => value.extend(chars.next()),
            '\'' if quoted => return Ok(value),
            other => value.push(other),
        }
    }
    match quoted {
        true => Err(unreadable("the quote around a value is not closed")),
        false => Ok(value),
    }
}

/// `user:password@host:port,host/database?key=value`
fn url(mut rest: &str) -> Result<Parameters> {
    let mut parameters = Parameters::new();
    let mut give = |key: &str, value: &str| {
        if !value.is_empty() {
            parameters.insert(key.to_owned(), value.to_owned());
        }
    };
    // A slash or an @ in a user's name or password is %2F, %40.
    if let Some((login, after)) = rest.split_once('@').filter(|(login, _)| !login.contains('/')) {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        give("user", &decode(user)?);
        give("password", &decode(password)?);
        rest = after;
    }
    let (hosts, ports) = hosts(&mut rest)?;
    // Of several, each that is empty stands for the default, and the list is given.
    give("host", &hosts.join(","));
    give("port", &ports.join(","));
    if let Some(after) = rest.strip_prefix('/') {
        rest = after;
        give("dbname", &decode(take_until(&mut rest, &['?']))?);
    }
    let mut query = rest.strip_prefix('?').unwrap_or_default();
    while !query.is_empty() {
        let (pair, after) = query.split_once('&').unwrap_or((query, ""));
        query = after;
        let Some((key, value)) = pair.split_once('=') else {
            return Err(unreadable("a = is missing in what follows the ? of the URL"));
        };
        if value.contains('=') {
            return Err(unreadable("there is an = too many in what follows the ? of the URL; a value has it as %3D"));
        }
        match (decode(key)?.as_str(), decode(value)?.as_str()) {
            // As the drivers of Java write it.
            ("ssl", "true") => parameters.insert("sslmode".into(), "require".into()),
            (key, value) => parameters.insert(key.into(), value.into()),
        };
    }
    Ok(parameters)
}

/// Takes the text up to one of these signs, or all of it.
fn take_until<'t>(rest: &mut &'t str, ends: &[char]) -> &'t str {
    let (taken, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    *rest = after;
    taken
}

/// Takes `host:port,[::1]:port`: the hosts, and the ports.
fn hosts(rest: &mut &str) -> Result<(Vec<String>, Vec<String>)> {
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    loop {
        let host = match rest.strip_prefix('[') {
            Some(after) => {
                let (address, after) =
                    after.split_once(']').ok_or_else(|| unreadable("the ] behind an IPv6 address is missing"))?;
                if address.is_empty() || !(after.is_empty() || after.starts_with([':', '/', '?', ','])) {
                    return Err(unreadable(
                        "an IPv6 address stands between [ and ], and behind it a :, /, ?, comma or nothing",
                    ));
                }
                *rest = after;
                address
            }
            None => take_until(rest, &[':', '/', '?', ',']),
        };
        hosts.push(decode(host)?);
        let port = match rest.strip_prefix(':') {
            Some(after) => {
                *rest = after;
                take_until(rest, &['/', '?', ','])
            }
            None => "",
        };
        ports.push(decode(port)?);
        match rest.strip_prefix(',') {
            Some(after) => *rest = after,
            None => return Ok((hosts, ports)),
        }
    }
}

/// `%2F` is a slash. A blank is `%20`; blanks around a part are not of it.
fn decode(text: &str) -> Result<String> {
    let text = text.trim_matches(' ');
    if text.contains(' ') {
        return Err(unreadable("there is a blank in the URL; it is written %20"));
    }
    let wrong = || unreadable("a % in the URL is not followed by two hexadecimal digits other than 00");
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = match byte {
            b'%' => {
                let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
                let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
                u8::try_from(high * 16 + low).ok().filter(|byte| *byte != 0).ok_or_else(wrong)?
            }
            other => other,
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).map_err(|_| unreadable("the URL is not UTF-8 once its % are decoded"))
}

/// The same parameters as key=value pairs.
pub(crate) fn print(parameters: &Parameters) -> String {
    let pair =
        |(key, value): (&String, &String)| format!("{key}='{}'", value.replace('\\', "\\\\").replace('\'', "\\'"));
    parameters.iter().map(pair).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().collect()
    }

    fn is(text: &str, pairs: &[(&str, &str)]) {
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!(read(text), pairs, "{text}");
    }

    #[test]
    fn pairs_are_read_as_libpq_reads_them() {
        is("", &[]);
        is(" host = db\n user=x ", &[("host", "db"), ("user", "x")]);
        is(r"password='a b\'c\\d' user=a\ b", &[("password", r"a b'c\d"), ("user", "a b")]);
        is("host=a host=b", &[("host", "b")]);
        is("host='a'user=b", &[("host", "a"), ("user", "b")]);
        is("password=a'b user=''", &[("password", "a'b"), ("user", "")]);
        for wrong in ["host", "host=a user", "password='geheim", "='x' y"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn urls_are_read_as_libpq_reads_them() {
        is("postgresql://", &[]);
        is(
            "postgres://u:p%40%3a@h:1/d",
            &[("dbname", "d"), ("host", "h"), ("password", "p@:"), ("port", "1"), ("user", "u")],
        );
        is("postgresql:///d?host=%2Frun&port=7", &[("dbname", "d"), ("host", "/run"), ("port", "7")]);
        is("postgresql://[::1]:7,b/", &[("host", "::1,b"), ("port", "7,")]);
        is("postgresql://a,b", &[("host", "a,b"), ("port", ",")]);
        is("postgresql://,/", &[("host", ","), ("port", ",")]);
        is("postgresql://:/", &[]);
        is("postgresql://%2Frun%2Fpg/d?ssl=true", &[("dbname", "d"), ("host", "/run/pg"), ("sslmode", "require")]);
        is("postgresql://u@/d?user=v", &[("dbname", "d"), ("user", "v")]);
        is("postgresql://u@/d ?user= v%20w ", &[("dbname", "d"), ("user", "v w")]);
        for wrong in [
            "postgresql://h/%zz",
            "postgresql://h/%00",
            "postgresql://h?x",
            "postgresql://h?a=b=c",
            "postgresql://[::1/d",
            "postgresql://[::1]x/d",
            "postgresql://h/a b",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(parameters in proptest::collection::btree_map("[a-z_]{1,8}", "[^\0]{0,12}", 0..5)) {
            prop_assert_eq!(parse(&print(&parameters)).unwrap(), parameters);
        }
    }
}
