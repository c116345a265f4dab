//! Whether a server's certificate is for the host that was named
//! ([SSL Server Certificates](https://www.postgresql.org/docs/current/libpq-ssl.html#LIBPQ-SSL-SERVER-CERT-VERIFY)). Pure,
//! but for what takes the names out of a certificate.
use openssl::nid::Nid;
use openssl::x509::X509Ref;
use std::net::IpAddr;

/// The names in a certificate.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// The host names among the alternative names of its subject.
    hosts: Vec<String>,
    /// The addresses among them.
    addresses: Vec<IpAddr>,
    /// The first common name of its subject.
    common_name: Option<String>,
}

impl Names {
    pub(super) fn of(certificate: &X509Ref) -> Self {
        let mut names = Self::default();
        for name in certificate.subject_alt_names().iter().flatten() {
            names.hosts.extend(name.dnsname().map(str::to_owned));
            names.addresses.extend(name.ipaddress().and_then(address));
        }
        let common_name = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next();
        names.common_name = common_name.and_then(|entry| String::from_utf8(entry.data().as_slice().to_vec()).ok());
        names
    }

    /// Whether the certificate is for the host; if not, why, as the end of a sentence.
    ///
    /// The common name counts only where there is no alternative name of the host's own sort: a name, or an address.
    pub(super) fn fit(&self, host: &str) -> Result<(), String> {
        let address: Option<IpAddr> = host.parse().ok();
        let any = self.hosts.iter().chain(&self.common_name).find(|name| name.contains('\0'));
        if any.is_some() {
            return Err("a name in the server's certificate has a zero byte in it".into());
        }
        let common_name_counts = match address {
            Some(_) => self.addresses.is_empty(),
            None => self.hosts.is_empty(),
        };
        let common_name = self.common_name.iter().filter(|_| common_name_counts);
        let fits = self.hosts.iter().chain(common_name.clone()).any(|name| is_for(name, host))
            || address.is_some_and(|address| self.addresses.contains(&address));
        if fits {
            return Ok(());
        }
        let names = self.hosts.iter().chain(common_name).map(|name| format!("{name:?}"));
        let names: Vec<_> = names.chain(self.addresses.iter().map(ToString::to_string)).collect();
        Err(match names.is_empty() {
            true => format!("the server's certificate names no host, so it is not for {host:?}"),
            false => format!("the server's certificate is for {}, not for {host:?}", names.join(", ")),
        })
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Whether a name in a certificate is the host's. A `*.` at its beginning stands for one label, with at least one character;
/// nowhere else is a star special.
fn is_for(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(domain) = name.strip_prefix("*.") else { return false };
    match host.split_once('.') {
        Some((label, rest)) => !label.is_empty() && !domain.is_empty() && rest.eq_ignore_ascii_case(domain),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(hosts: &[&str], addresses: &[&str], common_name: &str) -> Names {
        Names {
            hosts: hosts.iter().map(ToString::to_string).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            common_name: Some(common_name.to_owned()),
        }
    }

    #[test]
    fn a_star_stands_for_one_label_at_the_beginning() {
        for (name, host, fits) in [
            ("db.example.com", "DB.Example.com", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "*.example.com", true),
            ("d*.example.com", "db.example.com", false),
            ("db.*.com", "db.example.com", false),
            ("*", "db", false),
            ("*.", "db.", false),
            ("*.com", "example.com", true),
            ("example.com", "example.com.", false),
            ("", "", true),
        ] {
            assert_eq!(is_for(name, host), fits, "{name} {host}");
        }
    }

    #[test]
    fn the_common_name_counts_where_no_alternative_name_is_of_the_hosts_sort() {
        let fit = |names: &Names, host: &str| names.fit(host).is_ok();
        assert!(fit(&names(&[], &[], "db"), "db"));
        assert!(!fit(&names(&["other"], &[], "db"), "db"));
        assert!(fit(&names(&[], &["10.0.0.1"], "db"), "db"));
        assert!(fit(&names(&["other"], &[], "10.0.0.1"), "10.0.0.1"));
        assert!(!fit(&names(&["other"], &["10.0.0.2"], "10.0.0.1"), "10.0.0.1"));
        assert!(fit(&names(&["10.0.0.1"], &["10.0.0.2"], "x"), "10.0.0.1"));
        assert!(fit(&names(&[], &["::1"], "x"), "0:0::1"));
        assert!(!fit(&names(&[], &[], "x"), ""));
    }

    #[test]
    fn a_refusal_says_whom_the_certificate_is_for() {
        let why = names(&["a", "b"], &["::1"], "c").fit("db").unwrap_err();
        assert_eq!(why, r#"the server's certificate is for "a", "b", ::1, not for "db""#);
        assert!(names(&["db\0.evil"], &[], "db").fit("db").unwrap_err().contains("zero byte"));
    }
}
