//! Parameters under a name, in a file
//! ([The Connection Service File](https://www.postgresql.org/docs/current/libpq-pgservice.html)). Pure, but for the reading of files.
use super::conninfo::Parameters;
use super::keywords;
use crate::error::{Error, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The parameters of a service: from the user's file if it has them, else from the system's. A
/// user's file that was named (`PGSERVICEFILE`) must be there.
pub(crate) fn find(service: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<Parameters> {
    let named = variable("PGSERVICEFILE").map(PathBuf::from);
    let home = variable("HOME").map(|home| Path::new(&home).join(".pg_service.conf"));
    let users = named.clone().or(home);
    for (path, required) in users.map(|path| (path, named.is_some())).into_iter().chain(system_files(variable)) {
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == ErrorKind::NotFound && !required => continue,
            Err(error) => return Err(Error::io(format!("read the service file {path:?}"), error)),
        };
        if let Some(parameters) = parse(&text, service, &path)? {
            return Ok(parameters);
        }
    }
    Err(Error::NotFound {
        what: format!("service {service:?} in the service files (~/.pg_service.conf, PGSERVICEFILE)"),
    })
}

/// Where libpq looks after the user's: at a place that depends on how it was built.
fn system_files(variable: &dyn Fn(&str) -> Option<String>) -> Vec<(PathBuf, bool)> {
    let directories = match variable("PGSYSCONFDIR") {
        Some(directory) => vec![directory],
        None => ["/etc/postgresql-common", "/etc/sysconfig/pgsql", "/etc"].map(str::to_owned).to_vec(),
    };
    directories.into_iter().map(|directory| (Path::new(&directory).join("pg_service.conf"), false)).collect()
}

/// The parameters of a service; none if it is not in the file. There is no blank around the `=`, and
/// of a key that is given twice the first counts.
fn parse(text: &str, service: &str, path: &Path) -> Result<Option<Parameters>> {
    let mut found: Option<Parameters> = None;
    for (number, line) in text.lines().enumerate() {
        let wrong = |why: &str| Error::invalid(format!("service file {path:?}, line {}", number + 1), why);
        let line = line.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            // What follows the bracket is not looked at.
            if section.strip_prefix(service).is_some_and(|rest| rest.starts_with(']')) {
                found = Some(Parameters::new());
            }
        } else if let Some(parameters) = &mut found {
            let (key, value) = line.split_once('=').ok_or_else(|| wrong("there is no ="))?;
            if key == "service" {
                return Err(wrong("a service cannot refer to another one"));
            }
            if keywords::find(key).is_none() {
                return Err(wrong("what stands before the = is no parameter; no blank stands around it"));
            }
            parameters.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(text: &str, name: &str) -> Option<Vec<(String, String)>> {
        parse(text, name, Path::new("f")).unwrap().map(|found| found.into_iter().collect())
    }

    #[test]
    fn a_section_is_read_and_no_other() {
        let file = "# first\n[a]\nhost=x\n\n  port=1  \nhost=y\n[b]\nhost=z\npassword= a=b\n[a]\nuser=late\n";
        let a = [("host", "x"), ("port", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(service(file, "a").unwrap(), a);
        let b = [("host", "z"), ("password", " a=b")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(service(file, "b").unwrap(), b);
        assert_eq!(service(file, "c"), None);
        assert_eq!(service("[a b]\r\nhost=x\r\n", "a b").unwrap(), [("host".to_owned(), "x".to_owned())]);
        assert_eq!(service("[ab]\nhost=x\n", "a"), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, line) in
            [("[a]\nhost", 2), ("[a]\n\nhost = x", 3), ("[a]\nservice=b", 2), ("[a]\n=x", 2), ("[a]\nhots=x", 2)]
        {
            let error = parse(text, "a", Path::new("f")).unwrap_err().to_string();
            assert!(error.contains(&format!("line {line}")), "{error}");
        }
        // Elsewhere it does not matter.
        assert!(parse("[b]\nnonsense\n[a]\nhost=x", "a", Path::new("f")).unwrap().is_some());
    }
}
