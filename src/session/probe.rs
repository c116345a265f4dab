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

    /// A session like this one, to the same database, for what is lost with its connection, as locks are: none is made
    /// anew in its place.
    #[cfg(feature = "migrate")]
    pub(crate) fn beside_once(&self) -> Result<Arc<Self>> {
        let mut config = self.config()?.clone();
        config.dbname(&self.facts().database);
        let (client, facts) = connect::open(&config, self.role.as_deref())?;
        Ok(Self::new(None, self.role.clone(), client, facts, self.family.clone()))
    }

    /// The role that this session becomes on connecting, if it is told one.
    #[cfg(feature = "migrate")]
    pub(crate) fn role(&self) -> Option<&str> {
        self.role.as_deref()
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
