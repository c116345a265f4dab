//! The difference of two files, for people.
use similar::{ChangeTag, TextDiff};
use std::borrow::Cow;

/// The options whose values are nobody's business.
const SECRETS: [&str; 2] = ["ldapbindpasswd", "radiussecrets"];

/// A unified diff; what stands behind the name of a secret option in its line is `********`.
pub(super) fn unified(path: &str, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (shown(old), shown(new));
    TextDiff::from_lines(&old, &new).unified_diff().context_radius(3).header(path, path).to_string()
}

/// How many lines are new, and how many are gone.
pub(super) fn counts(old: &[u8], new: &[u8]) -> (usize, usize) {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let diff = TextDiff::from_lines(old.as_ref(), new.as_ref());
    let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    (count(ChangeTag::Insert), count(ChangeTag::Delete))
}

/// Whether a secret is in it.
pub(super) fn has_secrets(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    SECRETS.iter().any(|name| text.contains(name))
}

fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut continues = false;
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\r', '\n']);
        let end = line.strip_prefix(body).unwrap_or_default();
        let masked = match SECRETS.iter().filter_map(|name| Some(body.find(name)? + name.len())).min() {
            _ if continues => Cow::Borrowed("********"),
            Some(start) => Cow::Owned(format!("{}=********", body.split_at(start).0)),
            None => Cow::Borrowed(body),
        };
        // A list of secrets may go on in the next line.
        continues = masked.ends_with("********") && body.ends_with('\\');
        shown.push_str(&masked);
        shown.push_str(end);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_shows_no_secrets() {
        let old = b"host a all all radius radiussecrets=\"geheim\",\\\r\n\"geheim\"\r\nlocal all all trust\n";
        let new = b"local all all ldap ldapserver=x ldapbindpasswd=geheim\nlocal all all peer\n";
        let diff = unified("/f", old, new);
        assert!(!diff.contains("geheim"), "{diff}");
        assert!(diff.contains("+local all all ldap ldapserver=x ldapbindpasswd=********\n"), "{diff}");
        assert!(diff.contains("-local all all trust\n+") && diff.contains("+local all all peer\n"), "{diff}");
        assert_eq!(counts(old, new), (2, 3));
        assert!(has_secrets(old) && !has_secrets(b"local all all trust"));
    }
}
