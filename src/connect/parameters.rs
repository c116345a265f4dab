//! What is given, and what libpq takes from elsewhere when it is not: service file, environment, password file.
use super::conninfo::{self, Parameters};
use super::password_file::{self, Login};
use super::service_file;
use crate::error::{Error, Result};
use postgres::Config;
use std::path::{Path, PathBuf};

/// The variables of the environment, each with the parameter that it stands for
/// ([Environment Variables](https://www.postgresql.org/docs/current/libpq-envars.html)).
const VARIABLES: [(&str, &str); 15] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGREQUIREAUTH", "require_auth"),
    ("PGREQUIREPEER", "requirepeer"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
];

/// A connection string as the driver's configuration, completed from this process's surroundings.
pub(crate) fn resolve(text: &str) -> Result<Config> {
    let parameters = complete(conninfo::parse(text)?, &variable)?;
    conninfo::print(&parameters).parse().map_err(|error| super::unreadable(&error))
}

/// A variable of the environment. An empty `HOME` is none: the files in it would be those of the current directory.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| name != "HOME" || !value.is_empty())
}

/// What was given counts before what the service has, and that before the environment.
fn complete(given: Parameters, variable: &dyn Fn(&str) -> Option<String>) -> Result<Parameters> {
    // An empty value stands for none.
    let mut parameters: Parameters = given.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    let service = parameters.remove("service").or_else(|| variable("PGSERVICE").filter(|name| !name.is_empty()));
    if let Some(service) = service {
        for (key, value) in service_file::find(&service, variable)? {
            parameters.entry(key).or_insert(value);
        }
    }
    for (name, key) in VARIABLES {
        if let Some(value) = variable(name).filter(|value| !value.is_empty()) {
            parameters.entry(key.to_owned()).or_insert(value);
        }
    }
    if !parameters.contains_key("host") && !parameters.contains_key("hostaddr") {
        parameters.insert("host".into(), socket_directory().into());
    }
    let home = variable("HOME").map(|home| Path::new(&home).join(".pgpass"));
    let passwords = parameters.remove("passfile").map(PathBuf::from).or(home);
    if let (Some(path), false) = (passwords, parameters.contains_key("password")) {
        if let Some(password) = password(&parameters, &path)? {
            parameters.insert("password".into(), password);
        }
    }
    Ok(parameters)
}

/// Where libpq looks for the server's socket: at a place that depends on how it was built.
fn socket_directory() -> &'static str {
    match Path::new("/var/run/postgresql").is_dir() {
        true => "/var/run/postgresql",
        false => "/tmp",
    }
}

/// The password for the host, or for all of the hosts: the driver takes one.
fn password(parameters: &Parameters, path: &Path) -> Result<Option<String>> {
    let get = |key: &str| parameters.get(key).map(String::as_str).unwrap_or_default();
    let user = match get("user") {
        "" => whoami::username().unwrap_or_default(),
        user => user.to_owned(),
    };
    let database = if get("dbname").is_empty() { &user } else { get("dbname") };
    let (hosts, addresses, ports) = (get("host"), get("hostaddr"), get("port"));
    let count = hosts.split(',').count().max(addresses.split(',').count());
    let mut found = Vec::new();
    for place in 0..count {
        let port = if ports.contains(',') { ports.split(',').nth(place) } else { Some(ports) };
        let named = hosts.split(',').nth(place).filter(|host| !host.is_empty());
        let host = named.or(addresses.split(',').nth(place)).unwrap_or_default();
        let host = if host.is_empty() || host == socket_directory() { "localhost" } else { host };
        let port = port.filter(|port| !port.is_empty()).unwrap_or("5432");
        found.push(password_file::find(path, &Login { host, port, database, user: &user }));
    }
    let first = found.first().cloned().flatten();
    match found.iter().all(|password| *password == first) {
        true => Ok(first),
        false => Err(Error::unsupported("a password file with another password for each host", "one host")),
    }
}

#[cfg(test)]
mod tests {
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

        /// What comes of a connection string here, with some variables set.
        fn complete(&self, text: &str, variables: &[(&str, &str)]) -> Result<String> {
            let home = self.0.to_str().unwrap();
            let variable = |name: &str| {
                let own = [("HOME", home), ("PGSYSCONFDIR", home)];
                let mut set = variables.iter().chain(&own);
                set.find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            Ok(conninfo::print(&complete(conninfo::parse(text)?, &variable)?))
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
        assert_eq!(
            home.complete("service=prod port=9 user=", &environment).unwrap(),
            "dbname='shop' host='db' port='9' user='app'"
        );
        assert_eq!(home.complete("", &environment).unwrap(), "host='nowhere' port='8' user='app'");
        assert_eq!(home.complete("", &[("PGSERVICE", "system")]).unwrap(), "host='central'");
        // What guards a connection is not left out.
        let guards = [("PGREQUIREPEER", "postgres"), ("PGREQUIREAUTH", "scram-sha-256")];
        let guarded = home.complete("host=x", &guards).unwrap();
        assert_eq!(guarded, "host='x' require_auth='scram-sha-256' requirepeer='postgres'");
        let error = home.complete("service=lost", &[]).unwrap_err();
        assert!(error.is_not_found() && error.to_string().contains("\"lost\""), "{error}");
        let named = [("PGSERVICEFILE", "/nowhere/at/all")];
        assert!(matches!(home.complete("service=system", &named), Err(Error::Io { .. })));
    }

    #[test]
    fn a_password_is_looked_up_for_the_place_it_is_for() {
        let home = Home::new("password");
        home.private(".pgpass", "db:7:shop:app:right\nlocalhost:*:*:app:local\n*:*:*:*:other\n");
        let password = |text: &str, variables: &[(&str, &str)]| {
            let all = conninfo::parse(&home.complete(text, variables).unwrap()).unwrap();
            all.get("password").cloned()
        };
        assert_eq!(password("host=db port=7 dbname=shop user=app", &[]).unwrap(), "right");
        assert_eq!(password("user=app", &[]).unwrap(), "local");
        assert_eq!(password("host=/elsewhere user=app", &[]).unwrap(), "other");
        assert_eq!(password("hostaddr=10.0.0.1 user=app dbname=x", &[]).unwrap(), "other");
        assert_eq!(password("host=db port=7 dbname=shop user=app password=given", &[]).unwrap(), "given");
        assert_eq!(password("user=app", &[("PGPASSWORD", "set")]).unwrap(), "set");
        assert_eq!(password("user=app passfile=/nowhere", &[]), None);
        assert!(matches!(home.complete("host=db,x port=7 dbname=shop user=app", &[]), Err(Error::Unsupported { .. })));
    }
}
