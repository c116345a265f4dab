//! pg_hba.conf: who may connect, read and changed as a list of rules
//! ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
mod backups;
mod change;
mod dialect;
mod entry;
mod feed;
mod in_place;
mod managed;
mod method;
mod name;
mod alter_options;
mod proof;
mod read;
mod replace;
mod rights;
mod rule;
mod swap;
mod token;

pub use self::entry::HbaEntry;
pub use self::method::HbaMethod;
pub use self::name::HbaName;
pub use self::alter_options::{HbaBackup, HbaLockOut, HbaOptions, HbaOutcome, HbaProbe, HbaWrite};
pub use self::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaOption, HbaRule, HbaUser};
