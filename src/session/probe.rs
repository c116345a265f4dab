//! Another connection like this one.
use super::{Origin, Session};
use crate::connect::{self, ConnectionParameters, Reached};
use crate::error::{Error, Result};
use postgres::Client;
use std::sync::Arc;

impl Session {
    /// Whether this connection can be made again.
    pub(crate) fn can_connect_again(&self) -> bool {
        self.origin.is_some()
    }

    /// A session with the same parameters and role to a database, also to the same one.
    pub(crate) fn beside(&self, database: &str) -> Result<Arc<Self>> {
        self.open_beside(self.origin()?.to_database(database))
    }

    /// A session like this one, to the same database, for what is lost with its connection, as locks are: none is made
    /// anew in its place.
    #[cfg(feature = "migrate")]
    pub(crate) fn beside_once(&self) -> Result<Arc<Self>> {
        self.open_beside(Origin {
            renewal: super::Renewal::Never,
            ..self.origin()?.to_database(&self.facts().database)
        })
    }

    /// What leads to the server of this connection and to no other, with the driver's configuration for it; none of one that was handed in.
    pub(crate) fn how_to_connect(&self) -> Option<(ConnectionParameters, Reached)> {
        let reached = self.current().reached?;
        Some((self.origin.as_ref()?.parameters.only(&reached), reached))
    }

    /// The role that this connection became.
    pub(crate) fn role(&self) -> Option<&str> {
        self.origin.as_ref().and_then(|origin| origin.options.role.as_deref())
    }

    /// A new connection to the same server with the same parameters and role, within the same deadline.
    pub(crate) fn connect_again(&self) -> Result<Client> {
        let Origin { parameters, options, .. } = self.origin()?;
        connect::open(&self.here(parameters), options).map(|opened| opened.client)
    }

    fn origin(&self) -> Result<&Origin> {
        let origin = self.origin.as_ref();
        origin.ok_or_else(|| Error::unsupported("another connection like one that was handed in", "Cluster::connect"))
    }
}
