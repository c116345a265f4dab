//! The file as bytes.
use super::backups;
use super::change::Change;
use super::options::{HbaBackup, HbaOptions, HbaOutcome};
use super::read::fetch_file;
use super::rights::Standing;
use crate::cluster::Cluster;
use crate::error::{Error, Result};

/// The file as bytes.
#[doc(hidden)]
pub struct HbaFile {
    cluster: Cluster,
    standing: Standing,
    path: String,
    content: Vec<u8>,
}

#[doc(hidden)]
impl HbaFile {
    pub fn read(cluster: &Cluster) -> Result<Self> {
        let standing = Standing::ask(cluster)?;
        let path = standing.path()?.to_owned();
        let content = fetch_file(cluster, &standing, &path)?.ok_or_else(|| Error::NotFound { what: path.clone() })?;
        Ok(Self { cluster: cluster.clone(), standing, path, content })
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn content(&self) -> &[u8] {
        &self.content
    }

    pub fn replace(&mut self, new: &[u8], options: &HbaOptions) -> Result<HbaOutcome> {
        let Self { cluster, standing, path, content } = self;
        let change = Change { cluster, standing, path, old: content, new, options };
        change.check()?;
        let outcome = change.make()?;
        self.content = new.to_vec();
        Ok(outcome)
    }

    pub fn backups(&self) -> Result<Vec<HbaBackup>> {
        backups::list(&self.cluster, &self.standing, &self.path)
    }

    pub fn restore(&mut self, backup: &HbaBackup, options: &HbaOptions) -> Result<HbaOutcome> {
        let content = fetch_file(&self.cluster, &self.standing, &backup.path)?
            .ok_or_else(|| Error::NotFound { what: format!("the file {:?} on the server", backup.path) })?;
        self.replace(&content, options)
    }
}
