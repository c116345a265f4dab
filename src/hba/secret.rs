//! Passwords in pg_hba.conf, which are never shown.
use super::options::is_option;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "********";
/// The options that are secrets; the last is the one of versions before 10, which servers refuse.
const NAMES: [&str; 3] = ["ldapbindpasswd", "radiussecrets", "radiussecret"];

/// Whether the value of this option is a secret.
pub(super) fn is_name(name: &[u8]) -> bool {
    NAMES.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

/// Whether there is one.
pub(super) fn is_in(bytes: &[u8]) -> bool {
    masked(bytes) != bytes
}

/// The text of a file with its secrets masked: also in comments, and in lines that the server refuses. Lines stay
/// lines.
pub(super) fn masked(bytes: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(line_length(rest));
        mask_line(line, &mut shown);
        rest = after;
    }
    shown
}

/// How long the first line is, with those that continue it in some versions.
fn line_length(bytes: &[u8]) -> usize {
    let mut length = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        length += line.len();
        if !line.trim_ascii_end().ends_with(b"\\") {
            break;
        }
    }
    length
}

/// A message, as it may be shown: the value of each secret in it is masked, as far as the quotes around a word of the
/// file, or the end of the message.
pub(super) fn in_message(message: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(message.len()), message);
    while let Some((before, value)) = find(rest.as_bytes()).and_then(|at| Some((rest.get(..at)?, rest.get(at..)?))) {
        shown.push_str(before);
        let mut escaped = false;
        let is_end = |c: char| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        };
        let (hidden, after) = value.split_at(value.find(is_end).unwrap_or(value.len()));
        shown.push_str(if hidden.is_empty() { "" } else { MASK });
        rest = after;
    }
    shown + rest
}

/// A message without the words of the file that it quotes: they may be the rest of a secret that lacks its quotes.
pub(super) fn without_words(message: &str) -> String {
    match (message.split_once('"'), message.rsplit_once('"')) {
        (Some((before, _)), Some((_, after))) => format!("{before}{MASK}{after}"),
        _ => message.to_owned(),
    }
}

fn mask_line(line: &[u8], shown: &mut Vec<u8>) {
    let (mut at, mut inside) = (0, false);
    while let Some(length) = find(line.get(at..).unwrap_or_default()) {
        let (before, rest) = line.get(at..).unwrap_or_default().split_at(length);
        inside ^= before.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        shown.extend_from_slice(before);
        let hidden = rest.get(..value(rest, inside)).unwrap_or_default();
        inside ^= hidden.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        mask(hidden, shown);
        at += length + hidden.len();
    }
    shown.extend_from_slice(line.get(at..).unwrap_or_default());
}

/// Where the value of the next secret begins; there may be quotes and blanks before the sign.
fn find(bytes: &[u8]) -> Option<usize> {
    let candidates = (0..bytes.len()).filter(|at| matches!(bytes.get(*at), Some(b'l' | b'L' | b'r' | b'R')));
    candidates.into_iter().find_map(|at| {
        let rest = bytes.get(at..)?;
        let is_start =
            |name: &&str| rest.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()));
        let name = NAMES.iter().find(|name| is_start(name))?.len();
        let sign = rest.get(name..)?.iter().position(|byte| !matches!(byte, b'"' | b' ' | b'\t'))? + name;
        (rest.get(sign) == Some(&b'=')).then_some(at + sign + 1)
    })
}

/// How long the value is that begins here, up to the next option, a comment or the end of the line: words that are
/// none may belong to a secret that lacks its quotes.
fn value(bytes: &[u8], mut inside: bool) -> usize {
    let (mut at, mut started, mut before) = (0, false, 0);
    while let Some(byte) = bytes.get(at).copied() {
        let blanks = if inside { 0 } else { blanks(bytes.get(at..).unwrap_or_default()) };
        match byte {
            b'\n' if before != b'\\' => return at,
            b'#' if !inside => return at,
            _ if blanks > 0 => {
                if started && ends_at(bytes.get(at + blanks..).unwrap_or_default()) {
                    return at;
                }
                at += blanks - 1;
            }
            _ => {
                inside ^= byte == b'"';
                started = true;
            }
        }
        if byte != b'\r' {
            before = byte;
        }
        at += 1;
    }
    bytes.len()
}

/// How many blanks and commas stand here.
fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b',')).count()
}

/// Whether this is no more of the secret before it.
fn ends_at(rest: &[u8]) -> bool {
    let word = rest.strip_prefix(b"\"").unwrap_or(rest);
    matches!(rest.first(), None | Some(b'\r' | b'\n' | b'#')) || is_option(word)
}

/// A mask in the place of a value, one on each of its lines.
fn mask(value: &[u8], shown: &mut Vec<u8>) {
    for line in value.split_inclusive(|byte| *byte == b'\n') {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        if !text.trim_ascii().is_empty() {
            shown.extend_from_slice(MASK.as_bytes());
        }
        shown.extend_from_slice(line.get(text.len()..).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        for (text, expected) in [
            ("a ldapbindpasswd=s3 map=x\nb", "a ldapbindpasswd=******** map=x\nb"),
            ("a radiussecrets=\"s 3,\"\"s\",\"map=b\"\n", "a radiussecrets=********,\"map=b\"\n"),
            ("a \"radiussecrets=s 3\" scope=b\n", "a \"radiussecrets=******** scope=b\n"),
            ("a \"radiussecrets\"=\"s 3\" # b", "a \"radiussecrets\"=******** # b"),
            ("# \"my radiussecrets=s 3\" b", "# \"my radiussecrets=********"),
            ("a ldapbindpasswd=my s3=x, y map=z", "a ldapbindpasswd=******** map=z"),
            ("# LDAPBINDPASSWD = s3 x\n", "# LDAPBINDPASSWD =********\n"),
            ("radiussecrets=a\\\nb\\\r\nc scope=d\ne", "radiussecrets=********\n********\n******** scope=d\ne"),
            ("radiussecret=s,radiussecrets=t#x", "radiussecret=********,radiussecrets=********#x"),
            ("radiussecrets=", "radiussecrets="),
            ("radiussecrets=\nlocal", "radiussecrets=\nlocal"),
            ("local all all ldap ldapserver=l", "local all all ldap ldapserver=l"),
        ] {
            assert_eq!(String::from_utf8_lossy(&masked(text.as_bytes())), expected, "{text:?}");
        }
    }

    #[test]
    fn secrets_are_masked_in_messages() {
        for (message, expected) in [
            ("\"ldapbindpasswd=s3\" is none", "\"ldapbindpasswd=********\" is none"),
            ("\"LDAPbindpasswd=s\\\" 3\", \"x\"", "\"LDAPbindpasswd=********\", \"x\""),
            ("role radiussecrets=s 3 is none", "role radiussecrets=********"),
            ("\"ldapbindpasswd=\" and \"radiussecret=é\" é", "\"ldapbindpasswd=\" and \"radiussecret=********\" é"),
            ("the option ldapbindpasswd needs ldap", "the option ldapbindpasswd needs ldap"),
        ] {
            assert_eq!(in_message(message), expected);
            assert_eq!(in_message(expected), expected);
        }
        assert_eq!(without_words("\"s\\\"3\" is none"), "******** is none");
    }
}
