//! pg_hba.conf: who may connect, read and changed as a list of rules
//! ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).

mod connection;
mod decide;
mod decision;
mod dialect;
mod entry;
mod expression;
mod finding;
mod lint;
mod lockout;
mod matrix;
mod method;
mod name;
mod network;

mod resolver;
mod roles;
mod rule;
#[cfg(test)]
mod sample;
mod shadow;
mod survey;
mod token;
mod traps;
mod world;

pub use self::connection::{Connection, ConnectionKind, Replication};
pub use self::decide::Judge;
pub use self::decision::{Access, Decision, Doubt, Mismatch, Outcome, RulePlace, Unknown};
pub use self::entry::HbaEntry;
pub use self::finding::{Finding, FindingKind, Place, Severity};
pub use self::lockout::LockOut;
pub use self::matrix::{AccessCell, AccessMatrix};
pub use self::method::HbaMethod;
pub use self::name::HbaName;
pub use self::resolver::{Lookup, NoResolver, Resolver, SystemResolver};
pub use self::roles::Roles;
pub use self::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaOption, HbaRule, HbaUser};
pub use self::world::{Interfaces, Peer, PeerKind, World};
