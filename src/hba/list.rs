//! pg_hba.conf as a list of rules.
use super::dialect::Dialect;
use super::diff;
use super::document::{Document, Ready};
use super::entry::HbaEntry;
use super::fault::{HbaFault, Trouble};
use super::files::{Files, Wanted};
use super::given::{ToHbaRule, accept};
use super::rule::HbaRule;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A pg_hba.conf, with the files that it includes, as a list of rules in the order in which they are tried
/// ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
///
/// What is not changed keeps its exact bytes: comments, blank lines, tabs, line ends. A new or changed rule is written in
/// the columns of the rules around it, and the comment behind a changed one stays. Rules are never sorted.
///
/// Rules of included files are in the list where the server takes them, each with its [`file`](HbaEntry::file) and
/// [`line`](HbaEntry::line). Only those of the main file can be changed, and new ones go into it.
///
/// This is the list by itself, of a file at hand; [`HbaRules`] is that of a cluster.
///
/// ```
/// use pgsteward::ServerVersion;
/// use pgsteward::hba::{Dialect, HbaFile};
///
/// let text = "# ours\nlocal   all   all                 peer\nhost    all   all   10.0.0.0/8    md5 # old\n";
/// let mut hba = HbaFile::from_bytes("pg_hba.conf", text, Dialect::new(ServerVersion::parse("16")?));
/// assert!(hba.contains("local all all peer")?);
/// hba.replace(1, "host all all 10.0.0.0/8 scram-sha-256")?;
/// hba.push("host shop app all scram-sha-256")?;
/// assert_eq!(
///     hba.changes(),
///     "--- pg_hba.conf\n+++ pg_hba.conf\n@@ -1,3 +1,4 @@\n # ours\n local   all   all                 peer\n\
///      -host    all   all   10.0.0.0/8    md5 # old\n\
///      +host    all   all   10.0.0.0/8    scram-sha-256 # old\n\
///      +host    shop  app   all           scram-sha-256\n"
/// );
/// # Ok::<(), pgsteward::Error>(())
/// ```
#[derive(Clone)]
pub struct HbaFile {
    document: Document,
}

impl HbaFile {
    /// Reads the bytes of a file, whatever they are. What it includes is not known, and counts as absent;
    /// [`open`](HbaFile::open) follows it.
    pub fn from_bytes(path: &str, bytes: impl Into<Vec<u8>>, dialect: Dialect) -> Self {
        let mut files = Files::new();
        files.insert(path, Some(bytes.into()));
        Self::with_files(path, files, dialect)
    }

    pub(crate) fn with_files(path: &str, files: Files, dialect: Dialect) -> Self {
        Self { document: Document::new(path, files, &dialect) }
    }

    /// Reads a file, if `files` has all that it names; what else has to be read, if not.
    pub(super) fn whole(path: &str, files: &Files, dialect: &Dialect) -> Result<Self, Vec<Wanted>> {
        Ok(Self { document: Document::whole(path, files, dialect)? })
    }

    /// How many rules there are, those of included files counted.
    pub fn len(&self) -> usize {
        self.document.len()
    }

    /// Whether there is no rule. A server refuses such a file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The rule at a place, from 0; none behind the last.
    pub fn get(&self, index: usize) -> Option<&HbaEntry> {
        self.document.get(index)
    }

    /// All rules, in order.
    pub fn iter(&self) -> HbaIter<'_> {
        HbaIter { file: self, range: 0..self.len() }
    }

    /// Whether there is a rule that says the same.
    ///
    /// # Errors
    /// [`Error::Hba`], [`Error::Invalid`] and [`Error::Unsupported`] for what is no rule on this server.
    pub fn contains(&self, rule: impl ToHbaRule) -> Result<bool> {
        Ok(self.index(rule)?.is_some())
    }

    /// The place of the first rule that says the same, from 0; also of one that does so with the words of its `@file`s.
    ///
    /// # Errors
    /// As for [`contains`](HbaFile::contains).
    pub fn index(&self, rule: impl ToHbaRule) -> Result<Option<usize>> {
        let rule = accept(&rule, self.dialect())?.rule;
        Ok(self.iter().position(|entry| entry.rule == rule || *entry.effective() == rule))
    }

    /// Adds a rule at the end of the main file.
    ///
    /// # Errors
    /// [`Error::Hba`] for text that is not one rule, with the column and what was expected; [`Error::Invalid`] for what
    /// cannot be written, or has an `@file` that was not read with the list; [`Error::Unsupported`] for what the server
    /// is too old for. Nothing is changed then; so with all that follow.
    pub fn push(&mut self, rule: impl ToHbaRule) -> Result<()> {
        self.extend([rule])
    }

    /// Adds rules at the end of the main file: all or, on an error, none.
    ///
    /// # Errors
    /// As for [`push`](HbaFile::push).
    pub fn extend<R: ToHbaRule>(&mut self, rules: impl IntoIterator<Item = R>) -> Result<()> {
        let ready = rules.into_iter().map(|rule| self.ready(rule)).collect::<Result<Vec<_>>>()?;
        ready.into_iter().for_each(|ready| self.document.insert(self.document.end(), ready));
        Ok(())
    }

    /// Puts a rule before the one at a place, on the line before it; at the place behind the last, at the end of the
    /// main file. Comment lines right above a rule, without a blank line between, stay with it, and the new one goes
    /// above them; but not above the comment that the file begins with, nor the one that names the columns.
    ///
    /// # Errors
    /// As for [`push`](HbaFile::push); [`Error::Invalid`] for a place that there is not, or between two rules of an
    /// included file.
    pub fn insert(&mut self, index: usize, rule: impl ToHbaRule) -> Result<()> {
        if index > self.len() {
            return Err(self.no_such_place(index));
        }
        let at = self.document.place_before(index).ok_or_else(|| self.inside(index))?;
        self.insert_line(at, rule)
    }

    /// Puts a rule before the first that says the same as another one.
    ///
    /// # Errors
    /// As for [`insert`](HbaFile::insert); [`Error::NotFound`] if there is none that says the same.
    pub fn insert_before(&mut self, rule: impl ToHbaRule, new: impl ToHbaRule) -> Result<()> {
        let index = self.find(rule)?;
        self.insert(index, new)
    }

    /// Puts a rule behind the first that says the same as another one.
    ///
    /// # Errors
    /// As for [`insert_before`](HbaFile::insert_before).
    pub fn insert_after(&mut self, rule: impl ToHbaRule, new: impl ToHbaRule) -> Result<()> {
        let index = self.find(rule)?;
        let at = self.document.place_after(index).ok_or_else(|| self.inside(index + 1))?;
        self.insert_line(at, new)
    }

    /// Writes another rule in the place of one. The comment behind it stays, unless the new one brings its own; a rule
    /// that is put back has its old line again.
    ///
    /// # Errors
    /// As for [`push`](HbaFile::push); [`Error::Invalid`] for a place that there is not, and for a rule of an included
    /// file.
    pub fn replace(&mut self, index: usize, rule: impl ToHbaRule) -> Result<()> {
        self.own(index)?;
        let ready = self.ready(rule)?;
        self.document.replace(index, ready);
        Ok(())
    }

    /// Takes a rule away, with its line and the comment behind it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a place that there is not, and for a rule of an included file.
    pub fn remove(&mut self, index: usize) -> Result<HbaRule> {
        let rule = self.own(index)?.rule.clone();
        self.document.remove([index].into_iter());
        Ok(rule)
    }

    /// Takes away the rules for which the answer is no.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of them is in an included file; nothing is changed then.
    pub fn retain(&mut self, mut keep: impl FnMut(&HbaEntry) -> bool) -> Result<()> {
        let entries = self.iter().enumerate();
        let gone: Vec<_> = entries.filter(|(_, entry)| !keep(entry)).map(|(index, _)| index).collect();
        gone.iter().try_for_each(|index| self.own(*index).map(drop))?;
        self.document.remove(gone.into_iter());
        Ok(())
    }

    /// Takes all rules away; comments stay.
    ///
    /// # Errors
    /// [`Error::Invalid`] if one of them is in an included file; nothing is changed then.
    pub fn clear(&mut self) -> Result<()> {
        self.retain(|_| false)
    }

    /// Whether the main file would be another one.
    pub fn is_changed(&self) -> bool {
        self.new_bytes() != self.old_bytes()
    }

    /// The changes of the main file as a unified diff; empty if there is none. Secrets show as `********`, and what is no
    /// UTF-8 as U+FFFD.
    pub fn changes(&self) -> String {
        diff::unified(self.path(), self.old_bytes(), &self.new_bytes())
    }

    /// The difference to another content of the file, as [`changes`](HbaFile::changes) shows it.
    pub fn changes_to(&self, content: &[u8]) -> String {
        diff::unified(self.path(), self.old_bytes(), content)
    }

    /// Undoes all changes.
    pub fn revert(&mut self) {
        self.document = Document::new(self.path(), self.files().clone(), self.dialect());
    }

    /// What a server would refuse the file for, as it is now with its changes; the files that it includes are as they
    /// were read.
    pub fn faults(&self) -> Vec<HbaFault> {
        let mut faults: Vec<_> = self.document.faults().cloned().collect();
        if faults.is_empty() && self.is_empty() {
            let problem = "there is no rule, and a server refuses a file without one".into();
            faults.push(Trouble::new(1, problem).at(self.path(), 1));
        }
        faults
    }

    /// What a server takes, but can never match.
    pub fn warnings(&self) -> Vec<HbaFault> {
        self.document.warnings().cloned().collect()
    }

    /// Whether a server would take the file.
    ///
    /// # Errors
    /// [`Error::Hba`] with the first of the [`faults`](HbaFile::faults).
    pub fn check(&self) -> Result<()> {
        self.check_as(self.path())
    }

    /// The same for a main file that is not there yet: the error calls it by this name.
    pub(super) fn check_as(&self, name: &str) -> Result<()> {
        let Some(mut fault) = self.faults().into_iter().next() else { return Ok(()) };
        if fault.file == self.path() {
            fault.file = name.to_owned();
        }
        Err(fault.into())
    }

    /// The path of the main file.
    pub fn path(&self) -> &str {
        self.document.path()
    }

    /// The bytes of the main file as they were read.
    pub fn old_bytes(&self) -> &[u8] {
        self.document.old_bytes()
    }

    /// The bytes of the main file with all changes.
    pub fn new_bytes(&self) -> Vec<u8> {
        self.document.new_bytes()
    }

    /// The server that the file is read for.
    pub fn dialect(&self) -> &Dialect {
        self.document.dialect()
    }

    pub(crate) fn files(&self) -> &Files {
        self.document.files()
    }

    fn insert_line(&mut self, at: usize, rule: impl ToHbaRule) -> Result<()> {
        let ready = self.ready(rule)?;
        self.document.insert(at, ready);
        Ok(())
    }

    fn ready(&self, rule: impl ToHbaRule) -> Result<Ready> {
        self.document.ready(accept(&rule, self.dialect())?)
    }

    fn find(&self, rule: impl ToHbaRule) -> Result<usize> {
        let accepted = accept(&rule, self.dialect())?.rule;
        let what = || format!("rule \"{accepted}\" in {}", self.path());
        self.index(&accepted)?.ok_or_else(|| Error::NotFound { what: what() })
    }

    /// A rule that may be changed.
    fn own(&self, index: usize) -> Result<&HbaEntry> {
        let entry = self.get(index).ok_or_else(|| self.no_such_place(index))?;
        if self.document.is_own(entry) {
            return Ok(entry);
        }
        let what = format!("change of rule {index} of {}", self.path());
        let why = format!(
            "it stands in the included file {}, line {}, and can only be changed there",
            entry.file, entry.line
        );
        Err(Error::invalid(what, why))
    }

    fn inside(&self, index: usize) -> Error {
        let file = self.get(index).map_or(self.path(), HbaEntry::file);
        let why =
            format!("the rules around it stand in the included file {file}, and new ones go into the main file only");
        Error::invalid(format!("place {index} for a rule in {}", self.path()), why)
    }

    fn no_such_place(&self, index: usize) -> Error {
        Error::invalid(format!("place {index} in {}", self.path()), format!("it has {} rules", self.len()))
    }
}

impl fmt::Debug for HbaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HbaFile").field("path", &self.path()).field("rules", &self.iter().collect::<Vec<_>>()).finish()
    }
}

/// The rules of a list, in order: [`HbaFile::iter`].
#[derive(Clone, Debug)]
pub struct HbaIter<'a> {
    file: &'a HbaFile,
    range: std::ops::Range<usize>,
}

impl<'a> Iterator for HbaIter<'a> {
    type Item = &'a HbaEntry;

    fn next(&mut self) -> Option<Self::Item> {
        self.range.next().and_then(|index| self.file.get(index))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.range.size_hint()
    }
}

impl DoubleEndedIterator for HbaIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.range.next_back().and_then(|index| self.file.get(index))
    }
}

impl ExactSizeIterator for HbaIter<'_> {}

impl<'a> IntoIterator for &'a HbaFile {
    type Item = &'a HbaEntry;
    type IntoIter = HbaIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The rules of a cluster's pg_hba.conf. It derefs to [`HbaFile`], which has all that a list can do.
#[derive(Clone)]
pub struct HbaRules {
    cluster: Cluster,
    file: HbaFile,
    /// What the file will be by the plan that the cluster collects; the next change of it goes on from there.
    planned: Option<HbaFile>,
}

impl HbaRules {
    pub(crate) fn new(cluster: Cluster, main_path: String, files: Files, dialect: Dialect) -> Self {
        Self { cluster, file: HbaFile::with_files(&main_path, files, dialect), planned: None }
    }

    /// The file as the server has it, or will by the plan so far.
    pub(crate) fn before(&self) -> &HbaFile {
        self.planned.as_ref().unwrap_or(&self.file)
    }

    /// Notes what the file will be by the plan. The list itself keeps its changes, which nothing has made yet.
    pub(crate) fn plan(&mut self, after: HbaFile) {
        self.planned = Some(after);
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }
}

impl Deref for HbaRules {
    type Target = HbaFile;

    fn deref(&self) -> &HbaFile {
        &self.file
    }
}

impl DerefMut for HbaRules {
    fn deref_mut(&mut self) -> &mut HbaFile {
        &mut self.file
    }
}

impl<'a> IntoIterator for &'a HbaRules {
    type Item = &'a HbaEntry;
    type IntoIter = HbaIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for HbaRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}
