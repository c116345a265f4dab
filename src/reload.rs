//! Reading the configuration anew.
use crate::cluster::Cluster;
use crate::error::Result;
use crate::row::Row;
use crate::script::Script;
use crate::sql::Sql;
use std::thread;
use std::time::{Duration, Instant};

/// How long the server gets to read its configuration.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long where its files are known to have faults: it may have given up reading them.
const PATIENCE_WITH_FAULTS: Duration = Duration::from_secs(1);

/// What became of [`Cluster::reload`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReloadOutcome {
    /// The configuration was read, and all of it was taken.
    Taken,
    /// The configuration has faults. Where a file cannot be read as a whole, nothing of it was taken.
    Faulty(Vec<ConfigurationFault>),
    /// The configuration was read; whether all of it was taken, the current role may not see.
    Unchecked,
    /// The server has not read it within five seconds, though no fault shows.
    NotRead,
    /// It was collected in a plan.
    Planned,
}

/// Something in a configuration file that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigurationFault {
    /// The file, where the server says.
    pub file: Option<String>,
    /// The line, where the server says.
    pub line: Option<u32>,
    /// The setting, if it is about one.
    pub setting: Option<String>,
    /// The server's words; a setting that needs a restart is `setting could not be applied`.
    pub error: String,
}

impl Cluster {
    /// Has the server read its configuration files anew, and says whether they were taken:
    /// `postgresql.conf` and what it includes, `pg_hba.conf`, and from PostgreSQL 15 on `pg_ident.conf`
    /// ([pg_reload_conf](https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SIGNAL)).
    /// In a plan it is collected.
    ///
    /// # Errors
    /// [`Error::Denied`](crate::Error::Denied) without `EXECUTE` on that function.
    pub fn reload(&self) -> Result<ReloadOutcome> {
        let (action, statement) = ("reload the configuration", sql!("SELECT pg_catalog.pg_reload_conf()"));
        if let Some(plan) = self.plan_in_progress()? {
            let mut script = Script::new();
            script.add_alone(statement, Vec::new());
            plan.record(script, |cluster| cluster.reload().map(drop));
            return Ok(ReloadOutcome::Planned);
        }
        let before = self.load_time()?;
        self.session().run(action, &[statement])?;
        let faults = self.configuration_faults()?;
        let patience = if faults.iter().flatten().next().is_some() { PATIENCE_WITH_FAULTS } else { PATIENCE };
        let (deadline, mut pause) = (Instant::now() + patience, Duration::from_millis(5));
        let mut read = self.load_time()? != before;
        while !read && Instant::now() < deadline {
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(100));
            read = self.load_time()? != before;
        }
        // Whether a setting could be applied shows only once the files were read.
        Ok(match self.configuration_faults()? {
            Some(faults) if !faults.is_empty() => ReloadOutcome::Faulty(faults),
            _ if !read => ReloadOutcome::NotRead,
            Some(_) => ReloadOutcome::Taken,
            None => ReloadOutcome::Unchecked,
        })
    }

    fn load_time(&self) -> Result<Option<String>> {
        let question = sql!("SELECT pg_catalog.pg_conf_load_time()::text AS time");
        let answers = self.session().run("read pg_conf_load_time", &[question])?;
        answers.iter().flatten().next().map_or(Ok(None), |row| row.optional("time"))
    }

    /// The faults of the configuration files as they are now; none where the current role may not see them.
    fn configuration_faults(&self) -> Result<Option<Vec<ConfigurationFault>>> {
        let action = "look for faults in the configuration files";
        let (settings, hba) = (may_read("pg_file_settings"), may_read("pg_hba_file_rules"));
        let answers = self.session().run(action, &[sql!("SELECT ({} AND {})::text AS may", hba, settings)])?;
        if !answers.iter().flatten().next().is_some_and(|row| row.truth("may").unwrap_or(false)) {
            return Ok(None);
        }
        let rows = self.session().run(action, &self.fault_queries())?;
        rows.iter().flatten().map(ConfigurationFault::read).collect::<Result<_>>().map(Some)
    }

    fn fault_queries(&self) -> Vec<Sql> {
        let file = if self.version().at_least(16) { "file_name" } else { "pg_catalog.current_setting('hba_file')" };
        // The server takes no rule at all from a file that has a row without a type; a row with a type and an error is a
        // warning. See also that a file without rules is not taken.
        let mut queries = vec![
            sql!(
                "SELECT sourcefile AS file, sourceline::text AS line, name AS setting, error \
                 FROM pg_catalog.pg_file_settings WHERE error IS NOT NULL"
            ),
            sql!(
                "SELECT {} AS file, line_number::text AS line, NULL::text AS setting, \
                 COALESCE(error, 'the line cannot be read') AS error \
                 FROM pg_catalog.pg_hba_file_rules WHERE type IS NULL",
                file
            ),
            sql!(
                "SELECT pg_catalog.current_setting('hba_file') AS file, NULL::text AS line, NULL::text AS setting, \
                 'the file has no rules' AS error \
                 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_hba_file_rules)"
            ),
        ];
        if self.version().at_least(15) {
            let file = if self.version().at_least(16) { file } else { "pg_catalog.current_setting('ident_file')" };
            queries.push(sql!(
                "SELECT {} AS file, line_number::text AS line, NULL::text AS setting, error \
                 FROM pg_catalog.pg_ident_file_mappings WHERE error IS NOT NULL",
                file
            ));
        }
        queries
    }
}

/// Whether the current role may read a view of the files, and run the function under it.
fn may_read(view: &'static str) -> Sql {
    let function = match view {
        "pg_file_settings" => "pg_show_all_file_settings",
        other => other,
    };
    sql!(
        "(pg_catalog.has_table_privilege('pg_catalog.{}', 'SELECT') \
         AND pg_catalog.has_function_privilege('pg_catalog.{}()', 'EXECUTE'))",
        view,
        function
    )
}

impl ConfigurationFault {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            file: row.optional("file")?,
            line: row.optional_number("line")?,
            setting: row.optional("setting")?,
            error: row.text("error")?,
        })
    }
}
