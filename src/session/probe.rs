//! Another connection like this one.
use super::Session;
use crate::connect;
use crate::error::{Error, Result};
use postgres::{Client, Config};
use std::sync::Arc;

impl Session {
    /// Whether this connection can be made again.
    pub(crate) fn can_connect_again(&self) -> bool {
        self.config.is_some()
    }

    /// A session with the same parameters and role to a database, also to the same one.
    pub(crate) fn beside(&self, database: &str) -> Result<Arc<Self>> {
        let mut config = self.config()?.clone();
        config.dbname(database);
        Self::open(config, self.role.clone(), self.family.clone())
    }

    /// The parameters and the role of this connection; none of one that was handed in.
    pub(crate) fn how_to_connect(&self) -> Option<(&Config, Option<&str>)> {
        self.config.as_ref().map(|config| (config, self.role.as_deref()))
    }

    /// A new connection with the same parameters and role, within the same deadline.
    pub(crate) fn connect_again(&self) -> Result<Client> {
        connect::open(self.config()?, self.role.as_deref()).map(|(client, _)| client)
    }

    fn config(&self) -> Result<&Config> {
        let config = self.config.as_ref();
        config.ok_or_else(|| Error::unsupported("another connection like one that was handed in", "Cluster::connect"))
    }
}
