//! Passwords in a file
//! ([The Password File](https://www.postgresql.org/docs/current/libpq-pgpass.html)).
use std::fs;
use std::path::Path;

/// Whose password is asked for.
pub(crate) struct Login<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: &'a str,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

/// The password in a file, if it has one. As with libpq, a file that others may read is not
/// used, and a warning says so.
pub(crate) fn find(path: &Path, login: &Login<'_>) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    if !metadata.is_file() {
        log::warn!("the password file {path:?} is not used: it is not a plain file");
        return None;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if metadata.permissions().mode() & 0o077 != 0 {
            log::warn!("the password file {path:?} is not used: others may read it; chmod 0600 it");
            return None;
        }
    }
    let text =
        fs::read(path).inspect_err(|error| log::warn!("cannot read the password file {path:?}: {error}")).ok()?;
    lookup(&String::from_utf8_lossy(&text), login)
}

/// The password on the first line that matches.
fn lookup(text: &str, login: &Login<'_>) -> Option<String> {
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let Login { host, port, database, user } = *login;
    let found = lines
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| [host, port, database, user].into_iter().try_fold(line, after));
    found.map(unescaped).filter(|password| !password.is_empty())
}

/// What follows the first field of a text, if the field is this value or a star. A colon that belongs to the value may
/// stand there without its backslash, as libpq has it.
fn after<'t>(text: &'t str, value: &str) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix("*:") {
        return Some(rest);
    }
    let (mut field, mut wanted) = (text.chars(), value.chars());
    loop {
        match (field.next()?, wanted.next()) {
            (':', None) => return Some(field.as_str()),
            ('\\', wanted) if field.next() == wanted => {}
            (c, wanted) if c != '\\' && Some(c) == wanted => {}
            _ => return None,
        }
    }
}

/// The text up to a colon, without backslashes.
fn unescaped(text: &str) -> String {
    let mut field = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next().filter(|c| *c != ':') {
        field.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    field
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Login<'_> = Login { host: "db", port: "5432", database: "shop", user: "a:b" };

    #[test]
    fn the_first_line_that_matches_counts() {
        for (text, password) in [
            ("db:5432:shop:a\\:b:secret", Some("secret")),
            ("*:*:*:*:first\n*:*:*:*:second", Some("first")),
            ("#*:*:*:*:comment\r\n\r\ndb:*:shop:*:p\\:q\\\\r\r\n", Some("p:q\\r")),
            ("other:*:*:*:x\ndb:5432:shop:*:y:z", Some("y")),
            ("\\*:*:*:*:x", None),
            ("db:5432:shop:*", None),
            ("db:5432:shop:a:b:x", Some("x")),
            ("db:5432:shop:a:x", None),
            ("*:*:*:*:\n*:*:*:*:never", None),
            ("", None),
        ] {
            assert_eq!(lookup(text, &LOGIN).as_deref(), password, "{text:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("pgsteward-passwords-{}", std::process::id()));
        fs::write(&path, "*:*:*:*:secret").unwrap();
        for (mode, password) in [(0o600, Some("secret")), (0o400, Some("secret")), (0o640, None), (0o604, None)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(find(&path, &LOGIN).as_deref(), password, "{mode:o}");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(find(&path, &LOGIN), None);
    }
}
