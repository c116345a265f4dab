//! What libpq takes from elsewhere when it is not given: from the service file and the environment; and, later, the
//! password from the password file.
use super::conninfo::Parameters;
use super::hosts::Place;
use super::keywords::{self, KEYWORDS};
use super::options::escaped;
use super::password_file::{self, Login};
use super::service_file;
use super::tls_parameters::text;
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A variable of the environment. An empty `HOME` is none: the files in it would be those of the current directory. One
/// that is not UTF-8 is not left out: what guards a connection is refused then, and a file is not found.
pub(super) fn variable(name: &str) -> Option<String> {
    let value = std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    value.filter(|value| name != "HOME" || !value.is_empty())
}

/// Variables that are settings of the session, and no parameters
/// ([Environment Variables](https://www.postgresql.org/docs/current/libpq-envars.html)).
const SETTINGS: [(&str, &str); 3] = [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")];

/// What was given counts before what the service has, and that before the environment. What was given empty is given.
///
/// # Errors
/// [`Error::Invalid`] for keywords that libpq does not know, and those of [`service_file::find`].
pub(super) fn complete(given: Parameters, variable: &dyn Fn(&str) -> Option<String>) -> Result<Parameters> {
    let mut parameters = known(given)?;
    if let Some(service) = parameters.get("service").cloned().or_else(|| variable("PGSERVICE")) {
        for (key, value) in service_file::find(&service, variable)? {
            parameters.entry(key).or_insert(value);
        }
    }
    for keyword in &KEYWORDS {
        if let Some(value) = keyword.variable.filter(|name| *name != "PGSERVICE").and_then(variable) {
            parameters.entry(keyword.name.to_owned()).or_insert(value);
        }
    }
    if let Some(required) = variable("PGREQUIRESSL").filter(|value| value.starts_with('1')) {
        parameters.entry("sslmode".into()).or_insert_with(|| keywords::required_ssl(&required).into());
    }
    let set = SETTINGS.iter().filter_map(|(name, setting)| Some((setting, variable(name)?)));
    for (setting, value) in set.filter(|(_, value)| !value.eq_ignore_ascii_case("default")) {
        let options = parameters.entry("options".into()).or_default();
        // The server counts them after the options.
        options.push_str(&format!(" -c {setting}={}", escaped(&value)));
    }
    Ok(parameters)
}

/// The parameters, if there are such ones. A name that is not known is not repeated: it may be a piece of a password.
fn known(given: Parameters) -> Result<Parameters> {
    let mut parameters = Parameters::new();
    let mut required = None;
    for (name, value) in given {
        match name.as_str() {
            "requiressl" => required = Some(keywords::required_ssl(&value).to_owned()),
            name if keywords::find(name).is_none() => {
                let why =
                    "one of the keywords is none of libpq's; blanks in values are quoted ('...'), in a URL written %20";
                return Err(Error::invalid("connection parameters", why));
            }
            _ => drop(parameters.insert(name, value)),
        }
    }
    if let Some(mode) = required {
        parameters.entry("sslmode".into()).or_insert(mode);
    }
    Ok(parameters)
}

/// The password for a place: the one that was given, or else that in the password file. Whether it is from the file.
pub(super) fn password(
    parameters: &Parameters,
    home: Option<&Path>,
    place: &Place,
    login: (&str, &str, u16),
) -> Option<Found> {
    if let Some(password) = text(parameters, "password") {
        return Some(Found { password: password.to_owned(), file: None });
    }
    let (user, database, port) = login;
    let named = text(parameters, "passfile").map(PathBuf::from);
    let path = named.or_else(|| home.map(|home| home.join(".pgpass")))?;
    let login = Login { host: place.for_password(), port: &port.to_string(), database, user };
    password_file::find(&path, &login).map(|password| Found { password, file: Some(path) })
}

/// A password, and the file that it is from.
pub(super) struct Found {
    pub(super) password: String,
    pub(super) file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::super::{conninfo, hosts};
    use super::*;
    use std::fs;

    /// A directory for the files of a test, gone at its end.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("pgsteward-home-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn private(&self, name: &str, text: &str) {
            fs::write(self.0.join(name), text).unwrap();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                fs::set_permissions(self.0.join(name), fs::Permissions::from_mode(0o600)).unwrap();
            }
        }

        fn parameters(&self, text: &str, variables: &[(&str, &str)]) -> Result<Parameters> {
            let home = self.0.to_str().unwrap();
            let variable = |name: &str| {
                let own = [("HOME", home), ("PGSYSCONFDIR", home)];
                let mut set = variables.iter().chain(&own);
                set.find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            complete(conninfo::parse(text)?, &variable)
        }

        /// What comes of a connection string here, with some variables set.
        fn complete(&self, text: &str, variables: &[(&str, &str)]) -> Result<String> {
            Ok(conninfo::print(&self.parameters(text, variables)?))
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn what_is_given_counts_before_the_service_and_that_before_the_environment() {
        let home = Home::new("order");
        home.private(".pg_service.conf", "[prod]\nhost=db\nport=7\ndbname=shop\n");
        home.private("pg_service.conf", "[prod]\nhost=never\n[system]\nhost=central\n");
        let environment = [("PGHOST", "nowhere"), ("PGUSER", "app"), ("PGPORT", "8"), ("PGDATABASE", "")];
        // What is given empty is given: the default counts, and not the environment.
        assert_eq!(
            home.complete("service=prod port=9 user=", &environment).unwrap(),
            "dbname='shop' host='db' port='9' service='prod' user=''"
        );
        assert_eq!(home.complete("", &environment).unwrap(), "dbname='' host='nowhere' port='8' user='app'");
        assert_eq!(home.complete("", &[("PGSERVICE", "system")]).unwrap(), "host='central'");
        assert!(home.complete("", &[("PGSERVICE", "")]).unwrap_err().is_not_found());
        // What guards a connection is not left out.
        let guards = [("PGREQUIREPEER", "postgres"), ("PGREQUIREAUTH", "scram-sha-256")];
        let guarded = home.complete("host=x", &guards).unwrap();
        assert_eq!(guarded, "host='x' require_auth='scram-sha-256' requirepeer='postgres'");
        let error = home.complete("service=lost", &[]).unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("\"lost\""), "{error}");
        assert_eq!(home.complete("requiressl=1", &[]).unwrap(), "sslmode='require'");
        assert_eq!(home.complete("", &[("PGREQUIRESSL", "1"), ("PGSSLMODE", "allow")]).unwrap(), "sslmode='allow'");
        assert_eq!(home.complete("", &[("PGREQUIRESSL", "1")]).unwrap(), "sslmode='require'");
        let settings = [("PGTZ", "a b"), ("PGDATESTYLE", "Default"), ("PGOPTIONS", "-c x=y")];
        assert_eq!(home.complete("", &settings).unwrap(), r"options='-c x=y -c timezone=a\\ b'");
        let named = [("PGSERVICEFILE", "/nowhere/at/all")];
        assert!(matches!(home.complete("service=system", &named), Err(Error::Io { .. })));
    }

    #[test]
    fn a_password_is_looked_up_for_the_place_it_is_for() {
        let home = Home::new("password");
        home.private(".pgpass", "db:7:shop:app:right\nlocalhost:*:*:app:local\n*:*:*:*:other\n");
        let password = |text: &str, number: usize| {
            let parameters = home.parameters(text, &[]).unwrap();
            let places = hosts::places(&parameters).unwrap();
            password(&parameters, Some(&home.0), &places[number], ("app", "shop", 7)).map(|found| found.password)
        };
        assert_eq!(password("host=db", 0).unwrap(), "right");
        assert_eq!(password("", 0).unwrap(), "local");
        assert_eq!(password("host=/elsewhere", 0).unwrap(), "other");
        assert_eq!(password("hostaddr=10.0.0.1", 0).unwrap(), "other");
        assert_eq!(password("host=x,db,localhost", 1).unwrap(), "right");
        assert_eq!(password("host=x,db,localhost", 2).unwrap(), "local");
        assert_eq!(password("host=db password=given", 0).unwrap(), "given");
        assert_eq!(password("host=db password=''", 0).unwrap(), "right");
        assert_eq!(password("user=app passfile=/nowhere", 0), None);
    }
}
