//! What the server lets the current role do with files, and what it would take.
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::row::Row;
use crate::sql::{Ident, Sql};

/// Something that takes a right of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Right {
    /// To see where the file is.
    ReadSettings,
    /// To read files.
    ReadFiles,
    /// To read files outside the data directory.
    ReadFilesAnywhere,
    /// To list directories.
    ListDirectories,
    /// To see what is a directory.
    TellDirectories,
    /// To see what the server makes of the file.
    SeeRules,
    /// To have the server read it.
    Reload,
    /// To run programs, which replace the file.
    RunPrograms,
    /// To write files.
    WriteFiles,
}

impl Right {
    const ALL: [Self; 9] = [
        Self::ReadSettings,
        Self::ReadFiles,
        Self::ReadFilesAnywhere,
        Self::ListDirectories,
        Self::TellDirectories,
        Self::SeeRules,
        Self::Reload,
        Self::RunPrograms,
        Self::WriteFiles,
    ];

    /// Where it comes from.
    fn source(self) -> Source {
        match self {
            Self::ReadSettings => Source::Role("pg_read_all_settings"),
            Self::ReadFiles => Source::Function("pg_read_binary_file(text, bigint, bigint, boolean)"),
            Self::ReadFilesAnywhere => Source::Role("pg_read_server_files"),
            Self::ListDirectories => Source::Function("pg_ls_dir(text, boolean, boolean)"),
            Self::TellDirectories => Source::Function("pg_stat_file(text, boolean)"),
            Self::SeeRules => Source::View("pg_hba_file_rules"),
            Self::Reload => Source::Function("pg_reload_conf()"),
            Self::RunPrograms => Source::Role("pg_execute_server_program"),
            Self::WriteFiles => Source::Role("pg_write_server_files"),
        }
    }

    /// A condition that is true for a role that has it.
    fn held(self) -> Sql {
        match self.source() {
            Source::Role(role) => sql!("pg_catalog.pg_has_role('{}', 'MEMBER')", role),
            Source::Function(function) => {
                sql!("pg_catalog.has_function_privilege('pg_catalog.{}', 'EXECUTE')", function)
            }
            Source::View(view) => sql!(
                "(pg_catalog.has_table_privilege('pg_catalog.{}', 'SELECT') \
                 AND pg_catalog.has_function_privilege('pg_catalog.{}()', 'EXECUTE'))",
                view,
                view
            ),
        }
    }

    /// Its name.
    fn name(self) -> String {
        match self.source() {
            Source::Role(role) => format!("the role {role}"),
            Source::Function(function) => format!("EXECUTE on the function {function}"),
            Source::View(view) => format!("SELECT on the view {view} and EXECUTE on the function {view}()"),
        }
    }

    /// The statements that give it.
    fn grants(self, to: &str) -> String {
        let to = sql!("{}", Ident(to));
        match self.source() {
            Source::Role(role) => format!("GRANT {role} TO {to}"),
            Source::Function(function) => format!("GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {to}"),
            Source::View(view) => format!(
                "GRANT SELECT ON pg_catalog.{view} TO {to}; GRANT EXECUTE ON FUNCTION pg_catalog.{view}() TO {to}"
            ),
        }
    }
}

enum Source {
    /// Membership in one of the server's own roles.
    Role(&'static str),
    Function(&'static str),
    View(&'static str),
}

/// A service that gives nobody the rights of a superuser.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Service {
    Rds,
    CloudSql,
    Azure,
}

impl Service {
    /// The role that is given out there instead of a superuser.
    const ROLES: [(&'static str, Self); 3] =
        [("rds_superuser", Self::Rds), ("cloudsqlsuperuser", Self::CloudSql), ("azure_pg_admin", Self::Azure)];

    fn error(self) -> Error {
        let (what, needs) = match self {
            Self::Rds => (
                "access to pg_hba.conf on Amazon RDS",
                "the service's own means: the security groups of the instance, and rds.force_ssl in its parameter group",
            ),
            Self::CloudSql => (
                "access to pg_hba.conf on Cloud SQL",
                "the service's own means: the authorized networks and the SSL mode of the instance",
            ),
            Self::Azure => (
                "access to pg_hba.conf on Azure Database for PostgreSQL",
                "the service's own means: the firewall rules of the server, and its parameter require_secure_transport",
            ),
        };
        Error::unsupported(what, needs)
    }
}

/// What the current role may do, and where.
#[derive(Debug)]
pub(crate) struct Standing {
    role: String,
    rights: Vec<Right>,
    service: Option<Service>,
    /// The setting `hba_file`, if the role may see it.
    path: Option<String>,
    /// The setting `data_directory`, if the role may see it.
    pub(super) data_directory: Option<String>,
    pub(super) superuser: bool,
    /// Whether a temporary table can be made.
    pub(super) temporary_tables: bool,
    /// Whether the server logs the parameters of statements.
    pub(super) logs_parameters: bool,
    /// Whether the role has `EXECUTE` on `lo_export`.
    may_export: bool,
    /// The setting `ssl`.
    pub(super) ssl: Option<bool>,
    /// The libraries in `oauth_validator_libraries`, if the role may see them and the server has it.
    pub(super) oauth_validators: Option<Vec<String>>,
}

impl Standing {
    pub(crate) fn ask(cluster: &Cluster) -> Result<Self> {
        let answers = cluster.session().run("see what the current role may do with pg_hba.conf", &[question()])?;
        match answers.iter().flatten().next() {
            Some(row) => Self::read(row),
            None => Err(Error::invalid("answer of the server", "it has no row")),
        }
    }

    fn read(row: &Row) -> Result<Self> {
        let held = row.list("rights")?;
        let service = row.optional("service")?;
        Ok(Self {
            role: row.text("role")?,
            rights: Right::ALL.iter().zip(held).filter(|(_, held)| held == "true").map(|(right, _)| *right).collect(),
            service: Service::ROLES.iter().find(|(role, _)| Some(*role) == service.as_deref()).map(|(_, it)| *it),
            path: row.optional("path")?,
            data_directory: row.optional("data_directory")?,
            superuser: row.truth("superuser")?,
            temporary_tables: row.truth("temporary_tables")?,
            logs_parameters: row.truth("logs_parameters")?,
            may_export: row.truth("may_export")?,
            ssl: row.optional("ssl")?.map(|ssl| ssl == "on"),
            oauth_validators: row.optional("oauth")?.map(|setting| libraries(&setting)),
        })
    }

    pub(crate) fn has(&self, right: Right) -> bool {
        self.rights.contains(&right)
    }

    /// Refuses what takes a right that the role lacks; the error names all that are missing, and how to get them.
    pub(crate) fn need(&self, action: &str, rights: &[Right]) -> Result<()> {
        let missing: Vec<Right> = rights.iter().filter(|right| !self.has(**right)).copied().collect();
        if missing.is_empty() {
            return Ok(());
        }
        if let Some(service) = self.service {
            return Err(service.error());
        }
        let names: Vec<String> = missing.iter().map(|right| right.name()).collect();
        let grants: Vec<String> = missing.iter().map(|right| right.grants(&self.role)).collect();
        Err(Error::Denied {
            action: action.into(),
            reason: format!("the current role {:?} lacks {}", self.role, names.join(", and ")),
            remedy: format!("connect as a superuser, or have one run: {}", grants.join("; ")),
        })
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> Result<&str> {
        self.need("find pg_hba.conf", &[Right::ReadSettings])?;
        self.path.as_deref().ok_or_else(|| Error::invalid("answer of the server", "the setting hba_file is empty"))
    }

    /// What reading a file takes: less inside the data directory.
    pub(crate) fn to_read(&self, path: &str) -> &'static [Right] {
        match self.is_inside(path) {
            true => &[Right::ReadFiles],
            false => &[Right::ReadFiles, Right::ReadFilesAnywhere],
        }
    }

    /// Whether a file is in the data directory, as far as its name says.
    pub(super) fn is_inside(&self, path: &str) -> bool {
        let Some(directory) = &self.data_directory else { return false };
        let inside = path.strip_prefix(directory.as_str()).is_some_and(|rest| rest.starts_with('/'));
        inside && !path.split('/').any(|part| part == "..")
    }

    /// Whether files can be written by way of large objects.
    pub(super) fn may_export_files(&self) -> bool {
        self.may_export && self.temporary_tables
    }

    /// Whether paths are as on a POSIX system, where there is a shell.
    pub(super) fn is_posix(&self) -> bool {
        self.path.as_deref().is_some_and(|path| path.starts_with('/'))
    }
}

/// The names in a setting that is a list of libraries: between commas, some in quotes.
fn libraries(setting: &str) -> Vec<String> {
    let names = setting.split(',').map(|name| name.trim().trim_matches('"').to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

fn question() -> Sql {
    let rights = Right::ALL.map(|right| sql!("{}::text", right.held()));
    let services = Service::ROLES.map(|(role, _)| sql!("'{}'", role));
    // Others may not even ask.
    let seen = |setting: &'static str| {
        sql!("CASE WHEN {} THEN pg_catalog.current_setting('{}', true) END", Right::ReadSettings.held(), setting)
    };
    sql!(
        "SELECT current_user::text AS role, ARRAY[{}]::text[] AS rights, \
         (SELECT pg_catalog.min(rolname::text) FROM pg_catalog.pg_roles WHERE rolname IN ({})) AS service, \
         {} AS path, {} AS data_directory, {} AS oauth, pg_catalog.current_setting('ssl') AS ssl, \
         (pg_catalog.current_setting('is_superuser') = 'on')::text AS superuser, \
         (NOT pg_catalog.pg_is_in_recovery() \
          AND pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'))::text AS temporary_tables, \
         (pg_catalog.current_setting('log_statement') = 'all' \
          OR pg_catalog.current_setting('log_min_duration_statement') <> '-1' \
          OR COALESCE(pg_catalog.current_setting('log_min_duration_sample', true), '-1') <> '-1' \
          OR pg_catalog.current_setting('log_transaction_sample_rate') <> '0')::text AS logs_parameters, \
         pg_catalog.has_function_privilege('pg_catalog.lo_export(oid, text)', 'EXECUTE')::text AS may_export",
        Sql::join(rights, ", "),
        Sql::join(services, ", "),
        seen("hba_file"),
        seen("data_directory"),
        seen("oauth_validator_libraries")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(rights: &[Right]) -> Standing {
        Standing {
            role: "a\"b".into(),
            rights: rights.to_vec(),
            service: None,
            path: Some("/data/pg_hba.conf".into()),
            data_directory: Some("/data".into()),
            superuser: false,
            temporary_tables: true,
            logs_parameters: false,
            may_export: false,
            ssl: None,
            oauth_validators: None,
        }
    }

    #[test]
    fn p057_missing_rights_are_all_named_with_the_statements_that_give_them() {
        let needed = [Right::ReadFiles, Right::RunPrograms, Right::SeeRules];
        assert!(standing(&needed).need("x", &needed).is_ok());
        let error = standing(&[Right::RunPrograms]).need("replace it", &needed).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot replace it: the current role \"a\\\"b\" lacks EXECUTE on the function \
             pg_read_binary_file(text, bigint, bigint, boolean), and SELECT on the view pg_hba_file_rules and EXECUTE on \
             the function pg_hba_file_rules() (42501). Hint: connect as a superuser, or have one run: GRANT EXECUTE ON \
             FUNCTION pg_catalog.pg_read_binary_file(text, bigint, bigint, boolean) TO \"a\"\"b\"; GRANT SELECT ON \
             pg_catalog.pg_hba_file_rules TO \"a\"\"b\"; GRANT EXECUTE ON FUNCTION pg_catalog.pg_hba_file_rules() TO \
             \"a\"\"b\""
        );
    }

    #[test]
    fn p057_a_service_without_files_says_where_the_change_is_made() {
        let mut standing = standing(&[]);
        standing.service = Some(Service::Rds);
        let error = standing.path().unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("security groups"), "{error}");
    }

    #[test]
    fn settings_that_are_lists_of_libraries_are_taken_apart() {
        assert!(libraries("").is_empty());
        assert_eq!(libraries("one, \"/a dir/two\",three"), ["one", "/a dir/two", "three"]);
    }

    #[test]
    fn a_file_outside_the_data_directory_takes_one_more_right() {
        let standing = standing(&[]);
        assert_eq!(standing.to_read("/data/pg_hba.conf"), [Right::ReadFiles]);
        for path in ["/etc/pg_hba.conf", "/database/pg_hba.conf", "/data/../x"] {
            assert_eq!(standing.to_read(path), [Right::ReadFiles, Right::ReadFilesAnywhere], "{path}");
        }
    }
}
