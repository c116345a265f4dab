//! Another connection like this one.
use super::Session;
use crate::connect;
use crate::error::{Error, Result};
use postgres::Client;

impl Session {
    /// Whether this connection can be made again.
    pub(crate) fn can_connect_again(&self) -> bool {
        self.config.is_some()
    }

    /// A new connection with the same parameters and role, within the same deadline.
    pub(crate) fn connect_again(&self) -> Result<Client> {
        let config = self
            .config
            .as_ref()
            .ok_or_else(|| Error::unsupported("another connection like one that was handed in", "Cluster::connect"))?;
        connect::open(config, self.role.as_deref()).map(|(client, _)| client)
    }
}
