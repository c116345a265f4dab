//! The rules of a cluster, read from its server and brought back to it.
use super::alter_options::{HbaAlterOptions, HbaBackup, HbaOutcome, OnLockOut};
use super::backups;
use super::change::Change;
use super::dialect::Dialect;
use super::diff;
use super::files::Files;
use super::judged::check_lock_outs;
use super::list::{HbaFile, HbaRules};
use super::managed::refuse_managed;
use super::read::{fetch_file, fetch_included, no_file};
use super::rights::Standing;
use super::swap::Swap;
use crate::cluster::Cluster;
use crate::error::Result;
use crate::script::Script;
use crate::sql::Sql;

impl Cluster {
    /// Reads the rules of pg_hba.conf, with the files that it includes, over the connection
    /// ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)). They are those in the file:
    /// the server goes by them from its next start or reload on. Works on a standby too, where it is the standby's file.
    ///
    /// ```no_run
    /// # fn main() -> pgsteward::Result<()> {
    /// # let cluster = pgsteward::Cluster::connect("")?;
    /// let mut hba = cluster.hba_rules()?;
    /// if !hba.contains("host shop app_rw 10.0.0.0/8 scram-sha-256")? {
    ///     hba.insert(0, "host shop app_rw 10.0.0.0/8 scram-sha-256")?;
    ///     print!("{}", hba.changes());
    ///     hba.alter()?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Denied`](crate::Error::Denied) without the rights of a superuser, or those of `pg_read_all_settings` and `EXECUTE` on
    /// `pg_read_binary_file`, and `pg_read_server_files` for files outside the data directory: it names all that are
    /// missing. [`Error::Unsupported`](crate::Error::Unsupported) on services that let nobody see the file.
    pub fn hba_rules(&self) -> Result<HbaRules> {
        let standing = Standing::ask(self)?;
        let path = standing.path()?.to_owned();
        let mut dialect = Dialect::new(self.version().clone());
        (dialect.ssl, dialect.oauth_validators) = (standing.ssl, standing.oauth_validators.clone());
        let content = fetch_file(self, &standing, &path)?.ok_or_else(|| no_file(&path))?;
        let files = fetch_included(self, &standing, &path, content, &dialect)?;
        Ok(HbaRules::new(self.clone(), path, files, dialect))
    }
}

impl HbaRules {
    /// Brings the changes to the server, with the safe [`HbaAlterOptions`].
    ///
    /// # Errors
    /// As for [`alter_with`](HbaRules::alter_with).
    pub fn alter(&mut self) -> Result<HbaOutcome> {
        self.alter_with(&HbaAlterOptions::new())
    }

    /// Brings the changes to the server, and has it go by them. Without changes nothing is sent.
    ///
    /// 1. Rules that the server would refuse, and rules that lock somebody out, are refused: under which this program's
    ///    session, or a replica that is now connected, could not connect again. A replica may be locked out, and that is
    ///    refused too, by an authentication method that asks for what it need not have had before (`trust` to
    ///    `scram-sha-256`). Whether this program has it, the new connection in step 4 shows; without one, it is refused.
    ///    [`OnLockOut::Allow`] lets all of them pass.
    /// 2. The server replaces the file by the new one, as a whole, if it is still the one that was read. A copy of the old
    ///    one stays beside it: `pg_hba.conf.`, the time (UTC), a count, and the first 8 digits of its hash (SHA-256);
    ///    `pg_hba.conf.bak` points at the newest. The new content shows neither in the server's log nor in
    ///    `pg_stat_activity`.
    /// 3. The server is asked what it makes of the file (`pg_hba_file_rules`), and told to load it (`pg_reload_conf`).
    /// 4. A new connection is made, which must be let in after the server has loaded the file.
    ///
    /// When a step fails, the old file is put back, and loaded if the new one may have been.
    ///
    /// Only the main file is written. Inside a transaction it is refused, because no rollback would undo it. In a plan it
    /// is collected, and prints as a comment with the differences: [`Plan::apply`](crate::Plan::apply) makes it, the
    /// printed script does not. The list keeps its changes then; [`refresh`](HbaRules::refresh) it when they are made.
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict), with the differences, when somebody else has changed the file since it was read, or one that
    /// it includes; nothing is written then. [`Error::Hba`](crate::Error::Hba) for what the server would not load. [`Error::Denied`](crate::Error::Denied) names the rights that are
    /// missing: those of a superuser suffice, or those to read it, the role `pg_execute_server_program`, `SELECT` on
    /// `pg_hba_file_rules`, and `EXECUTE` on `pg_hba_file_rules()` and `pg_reload_conf()`. [`Error::Unsupported`](crate::Error::Unsupported) for a
    /// file that Patroni or CloudNativePG writes. [`Error::Connection`](crate::Error::Connection) when the new connection was not let in.
    /// [`Error::OsCommand`](crate::Error::OsCommand) when the server could not write, on a full disk say.
    pub fn alter_with(&mut self, options: &HbaAlterOptions) -> Result<HbaOutcome> {
        if !self.is_changed() && self.before().old_bytes() == self.old_bytes() {
            return Ok(HbaOutcome::nothing());
        }
        let mut files = self.files().clone();
        files.insert(self.path(), Some(self.new_bytes()));
        // The text is what counts, not the list that it was made from.
        let after = HbaFile::with_files(self.path(), files, self.dialect().clone());
        self.bring(after, &new_rules(self.path()), options)
    }

    /// Brings a content, which errors call by a name, to the server, or into the plan.
    fn bring(&mut self, after: HbaFile, name: &str, options: &HbaAlterOptions) -> Result<HbaOutcome> {
        let (outcome, included) = bring(self.cluster(), self.before(), &after, name, options)?;
        if self.cluster().is_plan() {
            self.plan(after);
        } else {
            **self = match included {
                Some(files) => HbaFile::with_files(after.path(), files, after.dialect().clone()),
                None => after,
            };
        }
        Ok(outcome)
    }

    /// Reads the file again, and forgets all changes.
    ///
    /// # Errors
    /// As for [`Cluster::hba_rules`].
    pub fn refresh(&mut self) -> Result<()> {
        *self = self.cluster().hba_rules()?;
        Ok(())
    }

    /// The copies of older files that [`alter`](HbaRules::alter) has left, the newest first. They are beside the file; or
    /// in the data directory, if it was overwritten in place where the server may not write to its directory, or by SQL
    /// alone.
    ///
    /// # Errors
    /// [`Error::Denied`](crate::Error::Denied) without the rights of a superuser, or `pg_execute_server_program` and `EXECUTE` on
    /// `pg_read_binary_file`.
    pub fn backups(&self) -> Result<Vec<HbaBackup>> {
        backups::list(self.cluster(), &Standing::ask(self.cluster())?, self.path())
    }

    /// Brings an older file back, as a change of the present one: with the same checks, and with a copy of it. Changes
    /// of the list that were not saved are forgotten when it succeeds.
    ///
    /// # Errors
    /// As for [`alter_with`](HbaRules::alter_with); [`Error::NotFound`](crate::Error::NotFound) if the copy is gone;
    /// [`Error::Invalid`](crate::Error::Invalid) if its content is not the one that its name tells.
    pub fn restore(&mut self, backup: &HbaBackup) -> Result<HbaOutcome> {
        self.restore_with(backup, &HbaAlterOptions::new())
    }

    /// The same with other options.
    ///
    /// # Errors
    /// As for [`restore`](HbaRules::restore).
    pub fn restore_with(&mut self, backup: &HbaBackup, options: &HbaAlterOptions) -> Result<HbaOutcome> {
        let standing = Standing::ask(self.cluster())?;
        let content = fetch_file(self.cluster(), &standing, &backup.path)?.ok_or_else(|| no_file(&backup.path))?;
        backups::check(&backup.path, &content)?;
        self.bring_whole(content, &standing, &format!("the copy {:?}", backup.path), options)
    }

    /// Brings a whole file to the server in place of this one, as [`alter_with`](HbaRules::alter_with) brings changes.
    /// Changes of the list that were not saved are forgotten when it succeeds.
    ///
    /// # Errors
    /// As for [`alter_with`](HbaRules::alter_with).
    pub fn alter_to(&mut self, content: impl Into<Vec<u8>>, options: &HbaAlterOptions) -> Result<HbaOutcome> {
        let standing = Standing::ask(self.cluster())?;
        self.bring_whole(content.into(), &standing, &new_rules(self.path()), options)
    }

    /// The same with the files that it includes, which may be others than those of the list.
    fn bring_whole(
        &mut self,
        content: Vec<u8>,
        standing: &Standing,
        name: &str,
        options: &HbaAlterOptions,
    ) -> Result<HbaOutcome> {
        let files = fetch_included(self.cluster(), standing, self.path(), content, self.dialect())?;
        let after = HbaFile::with_files(self.path(), files, self.dialect().clone());
        self.bring(after, name, options)
    }
}

/// What errors call a content that is to become a file's.
fn new_rules(path: &str) -> String {
    format!("the new rules for {path:?}")
}

/// Brings another content of the main file to the server; returns also the files as they were read for it, if they were.
fn bring(
    cluster: &Cluster,
    before: &HbaFile,
    after: &HbaFile,
    name: &str,
    options: &HbaAlterOptions,
) -> Result<(HbaOutcome, Option<Files>)> {
    let (path, old, new) = (before.path(), before.old_bytes(), after.old_bytes());
    if old == new {
        return Ok((HbaOutcome { planned: cluster.is_plan(), ..HbaOutcome::nothing() }, None));
    }
    after.check_as(name)?;
    refuse_managed(path, old)?;
    if let Some(plan) = cluster.plan_in_progress()? {
        let (before, after, name, options) = (before.clone(), after.clone(), name.to_owned(), options.clone());
        let (script, counts) = (script(path, old, new), diff::counts(old, new));
        plan.record(script, move |cluster| bring(cluster, &before, &after, &name, &options).map(drop));
        return Ok((HbaOutcome::planned(counts), None));
    }
    let standing = Standing::ask(cluster)?;
    let swap =
        Swap { cluster, standing: &standing, path, old, new, write: options.write, copies: Some(options.backups) };
    let change = Change { swap, after, name, probe: options.probe };
    change.check()?;
    if options.lock_out == OnLockOut::Refuse {
        check_lock_outs(cluster, before, after, options.probe)?;
    }
    change.make().map(|(outcome, files)| (outcome, Some(files)))
}

/// What a plan prints: the differences, all as a comment, since no SQL that could be run by itself would be as safe.
fn script(path: &str, old: &[u8], new: &[u8]) -> Script {
    let comment = |line: &str| format!("-- {}\n", line.replace(['\r', '\0'], "\u{FFFD}"));
    let changes: String = diff::unified(path, old, new).lines().map(comment).collect();
    let mut script = Script::new();
    let statement = format!("-- a new {path:?} on the server, which only the plan itself can bring there:\n{changes}");
    script.add_alone(Sql::trusted(statement.trim_end()), Vec::new());
    script
}
