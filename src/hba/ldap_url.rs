//! The option `ldapurl`, which stands for several others
//! ([LDAP](https://www.postgresql.org/docs/current/auth-ldap.html)).
use super::dialect::Dialect;

/// Which options a URL stands for, as far as others may not stand beside them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LdapUrl {
    pub(super) base: bool,
    pub(super) attribute: bool,
    pub(super) filter: bool,
}

impl LdapUrl {
    /// `ldap[s]://host[:port]/base[?attribute[?scope[?filter[?extensions]]]]`.
    pub(super) fn read(url: &[u8], dialect: &Dialect) -> Result<Self, String> {
        let parts = Self::parts(url).map_err(|why| format!("ldapurl is no LDAP URL: {why}"))?;
        if parts.filter && !dialect.version.at_least(11) {
            return Err(format!("a filter in ldapurl needs PostgreSQL 11, and this is {}", dialect.version));
        }
        Ok(parts)
    }

    pub(super) fn parts(url: &[u8]) -> Result<Self, &'static str> {
        let text = String::from_utf8_lossy(url);
        let text = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(&text);
        let text = strip_prefix_in_any_case(text, "url:").unwrap_or(text);
        let rest = strip_prefix_in_any_case(text, "ldap://").or_else(|| strip_prefix_in_any_case(text, "ldaps://"));
        let Some(rest) = rest else { return Err("it does not begin with ldap:// or ldaps://") };
        let mut fields = rest.split('?');
        let place = fields.next().unwrap_or_default();
        let (host, base) = place.split_once('/').map_or((place, None), |(host, base)| (host, Some(base)));
        let behind = host.rsplit_once(']').map_or(host, |(_, behind)| behind);
        if let Some((_, port)) = behind.rsplit_once(':') {
            if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err("its port is no number");
            }
        }
        let (attributes, scope) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        let (filter, extensions) = (fields.next().unwrap_or_default(), fields.next());
        const SCOPES: [&str; 8] = ["", "base", "one", "onelevel", "sub", "subtree", "children", "subordinate"];
        if !SCOPES.iter().any(|known| known.eq_ignore_ascii_case(scope)) {
            return Err("its scope is not base, one or sub");
        }
        if extensions == Some("") || fields.next().is_some() {
            return Err("it has a question mark too many");
        }
        Ok(Self { base: base.is_some(), attribute: !attributes.is_empty(), filter: !filter.is_empty() })
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self {
            base: self.base || other.base,
            attribute: self.attribute || other.attribute,
            filter: self.filter || other.filter,
        }
    }
}

fn strip_prefix_in_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let start = text.get(..prefix.len())?;
    if start.eq_ignore_ascii_case(prefix) { text.get(prefix.len()..) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_stands_for_a_base_an_attribute_and_a_filter() {
        for (url, base, attribute, filter) in [
            ("ldap://h/dc=x?uid?sub", true, true, false),
            ("ldaps://h:636/dc=x??one?(uid=$username)", true, false, true),
            ("LDAP://[::1]:3/", true, false, false),
            ("<URL:ldap://h>", false, false, false),
            ("ldap://h?x", false, true, false),
            ("ldap:///dc=x?u?SUBTREE?f?!e=1", true, true, true),
        ] {
            assert_eq!(LdapUrl::parts(url.as_bytes()), Ok(LdapUrl { base, attribute, filter }), "{url}");
        }
        for url in ["", "http://h/x", "ldapi://h/x", "ldap:/h/x", "ldap://h:/x", "ldap://h:a/x", "ldap://h/x?u?all"] {
            assert!(LdapUrl::parts(url.as_bytes()).is_err(), "{url}");
        }
        assert!(LdapUrl::parts(b"ldap://h/x?u?sub?f?").is_err());
        assert!(LdapUrl::parts(b"ldap://h/x?u?sub?f?a?b").is_err());
    }
}
