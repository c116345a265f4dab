//! pg_hba.conf: who may connect, read and changed as a list of rules
//! ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
mod dialect;
mod entry;
mod method;
mod name;
mod rule;
mod token;

pub use self::entry::HbaEntry;
pub use self::method::HbaMethod;
pub use self::name::HbaName;
pub use self::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaOption, HbaRule, HbaUser};
