//! Passwords in pg_hba.conf, which are never shown.
//!
//! The name of an option is looked for by its letters alone: the server leaves out quotes wherever they stand in a word,
//! and joins lines. Too much may be masked, too little never.
use super::options::{is_known, is_option};
use super::token::{Line, Reading, lines};
use std::ops::Range;

/// What stands in the place of a secret.
pub(super) const MASK: &str = "********";
/// How the options that are secrets begin: `ldapbindpasswd`, `radiussecrets`, `radiussecret` of versions before 10, and
/// what is written for them by mistake.
const NAMES: [&str; 2] = ["ldapbindpass", "radiussecret"];
/// How the versions read that join lines.
const JOINED: Reading = Reading { continues: true, longest_word: None, longest_line: None };

/// Whether the value of this option is not shown: a secret, or what may be one of an option that PostgreSQL does not
/// know.
pub(super) fn is_hidden(option: &str) -> bool {
    let is_start = |name: &&str| option.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    NAMES.iter().any(is_start) || !is_known(option)
}

/// Whether there is one.
pub(super) fn is_in(bytes: &[u8]) -> bool {
    masked(bytes) != bytes
}

/// Whether one begins in these words of a line.
pub(super) fn begins_in<'a>(words: impl Iterator<Item = &'a [u8]>) -> bool {
    find(&words.collect::<Vec<_>>().join(&b' ')).is_some()
}

/// The text of a file with its secrets masked: also in comments, and in lines that the server refuses. Lines stay
/// lines.
pub(super) fn masked(bytes: &[u8]) -> Vec<u8> {
    let (mut shown, mut rest, mut goes_on) = (Vec::with_capacity(bytes.len()), bytes, false);
    for line in lines(bytes, JOINED) {
        let (text, after) = rest.split_at(line.length.min(rest.len()));
        rest = after;
        let secrets = secrets_of_versions(&line, text);
        let has_secret = goes_on || !secrets.is_empty();
        match goes_on {
            // After a backslash and a blank: no server joins these lines, but they are meant to be one.
            true => mask(text, &mut shown),
            false => mask_all(text, secrets, &mut shown),
        }
        goes_on = has_secret && line.text.trim_ascii_end().ends_with(b"\\");
    }
    shown
}

/// One rule with its secrets masked.
pub(super) fn masked_rule(rule: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(rule.len());
    mask_all(rule, secrets(rule), &mut shown);
    shown
}

/// A word without its quotes, masked where a secret begins in it.
pub(super) fn masked_word(word: &[u8]) -> Vec<u8> {
    match find(word).and_then(|at| word.get(..at)) {
        Some(shown) if shown.len() < word.len() => [shown, MASK.as_bytes()].concat(),
        _ => word.to_vec(),
    }
}

/// Words that others than this crate have put together, the server say, or that are a path: up to a secret in them.
/// Their quotes do not tell where the secret ends, because it may have some itself.
pub(super) fn until_secret(words: &str) -> String {
    String::from_utf8_lossy(&masked_word(words.as_bytes())).into_owned()
}

/// A message of this crate's, which quotes the words of the file, as it may be shown: from a secret in it to the last
/// quote, which may be the one behind such a word, or to the end.
pub(super) fn in_message(message: &str) -> String {
    let Some((before, value)) = find(message.as_bytes()).and_then(|at| message.split_at_checked(at)) else {
        return message.to_owned();
    };
    match value.rsplit_once('"') {
        Some(("", after)) => format!("{before}\"{}", in_message(after)),
        Some((_, after)) => format!("{before}{MASK}\"{}", in_message(after)),
        None if value.is_empty() => before.to_owned(),
        None => format!("{before}{MASK}"),
    }
}

/// A message without the words of the file that it quotes: they may be the rest of a secret that lacks its quotes.
pub(super) fn without_words(message: &str) -> String {
    match (message.split_once('"'), message.rsplit_once('"')) {
        (Some((before, _)), Some((_, after))) => format!("{before}{MASK}{after}"),
        _ => message.to_owned(),
    }
}

/// What the server says before it comes to words of the file, which are not always in quotes: they may be a secret.
pub(super) fn before_words(message: &str) -> String {
    let is_said = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '\'');
    format!("{} {MASK}", message.chars().take_while(is_said).collect::<String>().trim_end())
}

/// Where secrets stand in a line, with those that continue it in some versions.
fn secrets_of_versions(line: &Line, text: &[u8]) -> Vec<Range<usize>> {
    let joined = secrets(&line.text).into_iter();
    let last = |end: usize| line.in_file(end.saturating_sub(1)) + 1;
    let mut all: Vec<_> = joined.map(|secret| line.in_file(secret.start)..last(secret.end)).collect();
    if line.text.len() < text.trim_ascii_end().len() {
        // The others take each line by itself, and a person sees also what a NUL byte hides from all of them.
        let mut start = 0;
        for single in text.split_inclusive(|byte| *byte == b'\n') {
            all.extend(secrets(single).into_iter().map(|secret| start + secret.start..start + secret.end));
            start += single.len();
        }
    }
    all
}

/// Where secrets stand in a line.
fn secrets(line: &[u8]) -> Vec<Range<usize>> {
    let (mut secrets, mut at, mut inside, mut comment) = (Vec::new(), 0, false, false);
    while let Some(length) = find(line.get(at..).unwrap_or_default()) {
        let (before, rest) = line.get(at..).unwrap_or_default().split_at(length);
        for byte in before {
            comment |= *byte == b'#' && !inside;
            inside ^= *byte == b'"';
        }
        // The quotes in a comment need not be those of a rule.
        let value = if comment { rest } else { rest.get(..value(rest, inside)).unwrap_or_default() };
        inside ^= value.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        at += length + value.len();
        if !value.trim_ascii().is_empty() {
            secrets.push(at - value.len()..at - (value.len() - value.trim_ascii_end().len()));
        }
    }
    secrets
}

/// Where the value of the next secret begins.
fn find(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..)?;
        at += rest.iter().position(|byte| matches!(byte, b'l' | b'L' | b'r' | b'R'))?;
        let rest = bytes.get(at..)?;
        match NAMES.iter().find_map(|name| behind(name, rest)) {
            // What is still to come of the name is letters.
            Some(length) => {
                let is_end = |byte: &u8| !is_between(*byte) && !byte.is_ascii_alphanumeric() && *byte != b'_';
                at += length + rest.get(length..)?.iter().position(is_end)? + 1;
                if bytes.get(at - 1) == Some(&b'=') {
                    return Some(at);
                }
            }
            None => at += 1,
        }
    }
}

/// How long this name is at the beginning of the text, with what stands between its letters.
fn behind(name: &str, text: &[u8]) -> Option<usize> {
    let mut letters = text.iter().enumerate().filter(|(_, byte)| !is_between(**byte));
    let mut length = 0;
    for expected in name.bytes() {
        let (at, _) = letters.next().filter(|(_, letter)| letter.eq_ignore_ascii_case(&expected))?;
        length = at + 1;
    }
    Some(length)
}

/// Whether it may stand between the letters of a name: quotes, what joins lines, signs of a comment, and what no name
/// has.
fn is_between(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | b'#' | b',') || !byte.is_ascii_graphic()
}

/// How long the value is that begins here, up to the next option, a comment or the end of the line: words that are
/// none may belong to a secret that lacks its quotes.
fn value(bytes: &[u8], mut inside: bool) -> usize {
    let (mut at, mut started, mut after_blank) = (0, false, false);
    while let Some(byte) = bytes.get(at).copied() {
        let blanks = if inside { 0 } else { blanks(bytes.get(at..).unwrap_or_default()) };
        match byte {
            // Behind a blank it begins a comment; else what follows may belong to a secret that lacks its quotes.
            b'#' if !inside => return if after_blank { at } else { bytes.len() },
            _ if blanks > 0 => {
                after_blank = true;
                if started && ends_at(bytes.get(at + blanks..).unwrap_or_default()) {
                    return at;
                }
                at += blanks;
            }
            _ => {
                inside ^= byte == b'"';
                (started, after_blank) = (true, false);
                at += 1;
            }
        }
    }
    bytes.len()
}

/// How many blanks and commas stand here.
fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b',')).count()
}

/// Whether this is no more of the secret before it.
fn ends_at(rest: &[u8]) -> bool {
    let word = rest.strip_prefix(b"\"").unwrap_or(rest);
    matches!(rest.first(), None | Some(b'\n' | b'#')) || is_option(word)
}

/// The text with a mask in the place of each secret, one on each of its lines.
fn mask_all(text: &[u8], mut secrets: Vec<Range<usize>>, shown: &mut Vec<u8>) {
    secrets.sort_unstable_by_key(|secret| secret.start);
    secrets.dedup_by(|next, secret| {
        let overlap = next.start <= secret.end;
        if overlap {
            secret.end = secret.end.max(next.end);
        }
        overlap
    });
    let mut at = 0;
    for secret in secrets {
        shown.extend_from_slice(text.get(at..secret.start).unwrap_or_default());
        mask(text.get(secret.clone()).unwrap_or_default(), shown);
        at = secret.end;
    }
    shown.extend_from_slice(text.get(at..).unwrap_or_default());
}

/// A mask in the place of a value.
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
    use super::super::connection::Connection;
    use super::super::dialect::Dialect;
    use super::super::list::HbaFile;
    use super::super::rule::HbaRule;
    use super::super::sample::world;
    use super::*;
    use proptest::prelude::*;

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
            ("radiussecret=s,radiussecrets=t#x", "radiussecret=********,radiussecrets=********"),
            ("ldapbindpasswd=s3#x y # b\n", "ldapbindpasswd=********\n"),
            ("ldapbindpasswd=s3 # b\n", "ldapbindpasswd=******** # b\n"),
            ("radiussecrets=", "radiussecrets="),
            ("radiussecrets=\nlocal", "radiussecrets=\nlocal"),
            ("local all all ldap ldapserver=l", "local all all ldap ldapserver=l"),
        ] {
            assert_eq!(String::from_utf8_lossy(&masked(text.as_bytes())), expected, "{text:?}");
        }
    }

    #[test]
    fn names_of_secrets_are_found_by_their_letters() {
        for (text, expected) in [
            ("ldapbind\"passwd\"=s3 map=x", "ldapbind\"passwd\"=******** map=x"),
            ("l\"dapbindpasswd=s3 map=x\" map=y", "l\"dapbindpasswd=******** map=y"),
            ("ldapbindpass\\\nwd=s3 \\\n map=x", "ldapbindpass\\\nwd=******** \\\n map=x"),
            ("radius\0 \"\nsecrets\0=\n=s3 map=x", "radius\0 \"\nsecrets\0=\n=******** map=x"),
            ("a\0 radiussecrets=s3\nlocal", "a\0 radiussecrets=********\nlocal"),
            ("# ldapbindpass\\\n# wd=\\\n# s3 map=x\nb", "# ldapbindpass\\\n# wd=\\\n********\nb"),
            ("# don\"t \\\na \"radiussecrets=s #3\" scope=x", "# don\"t \\\na \"radiussecrets=********"),
            ("ldapbindpasswd=\\ \n s3 \\ \ns4\nmap=x", "ldapbindpasswd=******** \n********\n********\nmap=x"),
            ("ldapbindpassword=s3", "ldapbindpassword=********"),
            ("ldapbindpass ldap.radiussecrets x=s3", "ldapbindpass ldap.radiussecrets x=********"),
        ] {
            assert_eq!(String::from_utf8_lossy(&masked(text.as_bytes())), expected, "{text:?}");
        }
    }

    #[test]
    fn secrets_are_masked_in_messages() {
        for (message, expected) in [
            ("\"ldapbindpasswd=s3\" is none", "\"ldapbindpasswd=********\" is none"),
            ("\"LDAPbindpasswd=s\\\" 3\", \"x\" is", "\"LDAPbindpasswd=********\" is"),
            ("role radiussecrets=s 3 is none", "role radiussecrets=********"),
            ("\"ldapbindpasswd=\" is é, é", "\"ldapbindpasswd=\" is é, é"),
            ("the option ldapbindpasswd needs ldap", "the option ldapbindpasswd needs ldap"),
        ] {
            assert_eq!(in_message(message), expected);
            assert_eq!(in_message(expected), expected);
        }
        assert_eq!(without_words("\"s\\\"3\" is none"), "******** is none");
    }

    #[test]
    fn words_of_others_end_where_a_secret_begins() {
        for (words, expected) in [
            ("option not in form: ldapbindpasswd=my \"hunter2 is odd", "option not in form: ldapbindpasswd=********"),
            ("no \"radiussecrets=hun\"ter2\", \"x\"", "no \"radiussecrets=********"),
            ("/etc/ldapbindpasswd=a\"hunter2", "/etc/ldapbindpasswd=********"),
            ("role \"é\" is odd", "role \"é\" is odd"),
        ] {
            assert_eq!(until_secret(words), expected);
        }
    }

    #[test]
    fn a_word_is_masked_to_its_end() {
        assert_eq!(masked_word(b"x ldapbindpasswd=a#b map=c"), b"x ldapbindpasswd=********");
        assert_eq!(masked_word(b"ldapbindpasswd="), b"ldapbindpasswd=");
    }

    /// All that a person may see of a file, and of a list that the text is put into.
    fn shown(text: &str, major: u32) -> String {
        let mut world = world(major);
        world.databases = Some(Default::default());
        let dialect = Dialect::new(world.version.clone());
        let read = |text: &str| HbaFile::from_bytes("pg_hba.conf", text, dialect.clone());
        let mut hba = read(&format!("local a a peer\n{text}\nlocal b b peer\n"));
        let mut shown = format!("{:?} {:?} {:?} {hba:?}\n", hba.check(), hba.faults(), hba.warnings());
        for finding in hba.lint_in(&world) {
            shown.push_str(&format!("{finding}\n"));
        }
        let decision = hba.judge(&world).decide(&Connection::local("b", "b"));
        shown.push_str(&format!("{decision} {decision:?}\n"));
        for entry in &hba {
            shown.push_str(&format!("{entry} {entry:?} {:?}\n", HbaRule::clone(entry)));
        }
        shown.push_str(&format!("{:?} {:?}", read("").push(text), read("").insert_before(text, text)));
        hba.remove(0).unwrap();
        shown.push_str(&hba.changes());
        hba.push("local c c peer").unwrap();
        shown + &hba.changes()
    }

    #[test]
    fn secrets_in_the_wrong_place_show_nowhere() {
        for text in [
            "local all all ldap ldapserver=x \\\nldapbindpasswd=hunter2\n",
            "host all all all ldapbindpasswd=hunter2",
            "host all ldap ldapserver=x ldapbindpasswd=hunter2",
            "host all ldap ldapbindpasswd=my hunter2",
            "host all ldap ldapbindpasswd=my \"hunter\"\"2\"",
            "host all all all ldap ldapserver=x ldapprefix=y ldapbindpasswd=my hunter2",
            "host all all all radius radiusservers=x radiussecret=hunter2",
            "host ldapbindpasswd=hunter2 \"RADIUSSECRETS = hunter2\" ldapbindpasswd=hunter2 md5 ldapbindpasswd=hunter2",
            "host ldapbindpasswd=hunter2 \"RADIUSSECRETS = hunter2\" ldapbindpasswd=hunter2 md5",
            "host /ldapbindpasswd=hunter2 /(radiussecrets=hunter2 all md5",
            "include ldapbindpasswd=hunter2",
            "local @ldapbindpasswd=hunter2 all peer",
            "local \"@ldapbindpasswd=a\"\"hunter2\" all peer",
            "local @\"ldapbindpasswd=a\"\"hunter2\" all peer",
            "host all ldap ldapbindpasswd= hunter2",
            "host all ldapbindpasswd = hunter2",
            "host \"ldapbindpasswd=x#hunter2\" \"/ldapbindpasswd=\"\"#hunter2\" all md5",
            "include \"ldapbindpasswd=a\"\"hunter2\"",
            "host all all all ldap ldapbindpassword=hunter2",
            "host all all all ldap ldapserver=x ldapbindpasswd=\\\nhunter2 all",
            "host all all all ldap ldapserver=x ldapbindpass\\\nwd=hunter2 all",
        ] {
            for major in [13, 18] {
                let shown = shown(text, major);
                assert!(!shown.contains("hunter"), "{text:?} on {major}: {shown}");
            }
        }
    }

    /// What a secret is made of: none of the lines around it has a Z.
    const CHARACTERS: [&str; 9] = ["Z", "Z", "Z", " ", "#", ",", "\"", "\\", " map="];
    const BEFORE: [&str; 9] = [
        "host a a all ldap ldapserver=x ldapbasedn=y ",
        "host a a all ldap ldapserver=x ",
        "host a a all radius \"radiusservers\"=x ",
        "host a all ldap ",
        "host a ",
        "local ",
        "",
        "include ",
        "# it\"s ",
    ];

    /// A word as it may be written: with quotes wherever they change nothing, and in several lines.
    fn written(word: &str, quotes: &[bool], seams: &[bool]) -> String {
        let is_special = |c: char| matches!(c, ' ' | '#' | ',' | '"');
        let (mut text, mut inside) = (String::new(), false);
        for ((c, quote), seam) in word.chars().zip(quotes.iter().cycle()).zip(seams.iter().cycle()) {
            let turns = if inside { *quote && !is_special(c) } else { *quote || is_special(c) };
            if turns {
                inside = !inside;
                text.push('"');
            }
            if *seam {
                text.push_str("\\\n");
            }
            text.push(c);
            if c == '"' {
                text.push(c);
            }
        }
        if inside { text + "\"" } else { text }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn secrets_show_nowhere_however_they_are_written(
            before in prop::sample::select(&BEFORE), name in prop::sample::select(&["ldapbindpasswd", "radiussecrets"]),
            value in prop::collection::vec(prop::sample::select(&CHARACTERS), 1..8),
            quotes in prop::collection::vec(any::<bool>(), 40), seams in prop::collection::vec(prop::bool::weighted(0.1), 40),
        ) {
            let value = value.concat();
            let text = format!("{before}{} # c", written(&format!("{name}={value}"), &quotes, &seams));
            if before == BEFORE[0] && name == "ldapbindpasswd" {
                let hba = HbaFile::from_bytes("pg_hba.conf", text.as_str(), Dialect::new(world(18).version));
                let option = hba.get(0).and_then(|rule| rule.options.last());
                prop_assert_eq!(option.map(|option| option.value.as_bytes()), Some(value.as_bytes()), "{}", text);
            }
            for major in [13, 18] {
                let shown = shown(&text, major);
                prop_assert!(!shown.contains('Z'), "{} on {}: {}", text, major, shown);
            }
        }
    }
}
