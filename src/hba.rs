//! pg_hba.conf: who may connect, read and changed as a list of rules
//! ([documentation](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)).
mod address;
mod assemble;
mod dialect;
mod diff;
mod disk;
mod document;
mod entry;
mod fault;
mod files;
mod given;
mod layout;
mod ldap_url;
mod list;
mod method;
mod name;
mod options;
mod parse;
mod pattern;
mod rule;
mod secret;
mod token;
mod write;

pub use self::dialect::Dialect;
pub use self::entry::HbaEntry;
pub use self::fault::HbaFault;
pub use self::given::ToHbaRule;
pub use self::list::{HbaFile, HbaIter, HbaRules};
pub use self::method::HbaMethod;
pub use self::name::HbaName;
pub use self::rule::{ConnectionType, HbaAddress, HbaDatabase, HbaOption, HbaRule, HbaUser};
