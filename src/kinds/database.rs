//! Databases.
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, DropBehavior, Kind, Nothing, Sealed, Which, check_connection_limit, one_of};
use crate::object::Object;
use crate::row::Row;
use crate::script::Script;
use crate::sql::{Ident, Lit, Sql};
use crate::version::ServerVersion;

mod connect_access;
mod copy;
mod drop_preview;
mod sessions;

pub use connect_access::{ConnectAccess, Grantee};
pub use copy::CopyOptions;
pub use drop_preview::DatabaseDropPreview;
pub use sessions::OpenSessions;

/// A database ([CREATE DATABASE](https://www.postgresql.org/docs/current/sql-createdatabase.html)).
///
/// The system's own are `template0` and `template1`. A script makes the database, not what is in it.
///
/// What is none in a new one is as in the template; what was read from a server is never none, but
/// for the template and the strategy, which no server remembers. The encoding and the fields of
/// the locale cannot be changed later.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Database {
    /// The name.
    pub name: String,
    /// The owner; empty for the role that creates it.
    pub owner: String,
    /// The database that a new one is a copy of. None is `template0` where an encoding or any of
    /// the locale is given, since no other can be copied into another encoding or locale, else `template1`.
    pub template: Option<String>,
    /// How the template is copied. PostgreSQL 15.
    pub strategy: Option<CreateStrategy>,
    /// The encoding: `UTF8`.
    pub encoding: Option<String>,
    /// Who compares texts. Other than [`Libc`](LocaleProvider::Libc): PostgreSQL 15.
    pub locale_provider: Option<LocaleProvider>,
    /// `LC_COLLATE`: how the operating system's library orders texts.
    pub collate: Option<String>,
    /// `LC_CTYPE`: what it takes for a letter, a digit, upper case.
    pub ctype: Option<String>,
    /// The locale of the provider, if that is not the operating system's library: `de-AT`, `C.UTF-8`.
    pub locale: Option<String>,
    /// Rules of one's own for ordering, added to those of an ICU locale. PostgreSQL 16.
    pub icu_rules: Option<String>,
    /// The tablespace. PostgreSQL moves a database by itself only: alter nothing else with it.
    pub tablespace: Option<String>,
    /// How many sessions it may have at once; -1 for no limit. -2 is a database that a `DROP DATABASE`
    /// left behind when it was interrupted; it can only be dropped.
    pub connection_limit: i32,
    /// Whether everybody with CREATEDB may copy it. It cannot be dropped then.
    pub is_template: bool,
    /// Whether new sessions may begin in it, a superuser's included.
    pub allow_connections: bool,
    /// Who may connect to it.
    pub connect_access: ConnectAccess,
    /// The comment.
    pub comment: Option<String>,
    oid: u32,
    /// Who may connect by a grant of somebody else than the owner.
    granted_by_others: Vec<Grantee>,
    uncovered: Vec<String>,
}

/// Who compares texts, and knows upper and lower case
/// ([Locale Providers](https://www.postgresql.org/docs/current/locale.html#LOCALE-PROVIDERS)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocaleProvider {
    /// The operating system's C library.
    Libc,
    /// The ICU library. PostgreSQL 15.
    Icu,
    /// PostgreSQL itself. PostgreSQL 17.
    Builtin,
}

/// How a template is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CreateStrategy {
    /// Block by block, through the write-ahead log.
    WalLog,
    /// File by file, with a checkpoint before and after.
    FileCopy,
}

impl LocaleProvider {
    fn read(code: &str) -> Self {
        match code {
            "i" => Self::Icu,
            "b" => Self::Builtin,
            _ => Self::Libc,
        }
    }
}

impl Database {
    /// A database as `CREATE DATABASE name` would make it.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            owner: String::new(),
            template: None,
            strategy: None,
            encoding: None,
            locale_provider: None,
            collate: None,
            ctype: None,
            locale: None,
            icu_rules: None,
            tablespace: None,
            connection_limit: -1,
            is_template: false,
            allow_connections: true,
            connect_access: ConnectAccess::default(),
            comment: None,
            oid: 0,
            granted_by_others: Vec::new(),
            uncovered: Vec::new(),
        }
    }

    /// The template, given or implied.
    fn copied_from(&self) -> Option<&str> {
        let Self { encoding, locale_provider, collate, ctype, locale, icu_rules, .. } = self;
        let texts = [encoding, collate, ctype, locale, icu_rules];
        let differs = locale_provider.is_some() || texts.iter().any(|text| text.is_some());
        self.template.as_deref().or(differs.then_some("template0"))
    }

    /// The words of `CREATE DATABASE` for the provider, which older servers do not know.
    fn provider_words(&self, alter: &mut Alter, server: &ServerVersion) -> Vec<Sql> {
        let mut words = Vec::new();
        match self.locale_provider {
            Some(LocaleProvider::Icu) => {
                alter.needs(15, "the locale provider ICU of a database", server);
                words.push(sql!("LOCALE_PROVIDER icu"));
                words.extend(self.locale.as_ref().map(|locale| sql!("ICU_LOCALE {}", Lit(locale))));
            }
            Some(LocaleProvider::Builtin) => {
                alter.needs(17, "the builtin locale provider of a database", server);
                words.push(sql!("LOCALE_PROVIDER builtin"));
                words.extend(self.locale.as_ref().map(|locale| sql!("BUILTIN_LOCALE {}", Lit(locale))));
            }
            other => {
                if other.is_some() && server.at_least(15) {
                    words.push(sql!("LOCALE_PROVIDER libc"));
                }
                if let Some(locale) = &self.locale {
                    alter.refuse(Error::invalid(
                        format!("locale {locale:?} of database {:?}", self.name),
                        "it is for the locale providers ICU and builtin; libc takes collate and ctype",
                    ));
                }
            }
        }
        if let Some(rules) = &self.icu_rules {
            alter.needs(16, "ICU rules of a database", server);
            words.push(sql!("ICU_RULES {}", Lit(rules)));
        }
        words
    }

    /// The options that can be given and changed alike, where they differ.
    fn options_unlike(&self, other: &Self) -> Vec<(&'static str, Sql)> {
        let mut options = Vec::new();
        if self.allow_connections != other.allow_connections {
            let allow = if self.allow_connections { "true" } else { "false" };
            options.push(("allow_connections", sql!("ALLOW_CONNECTIONS {}", allow)));
        }
        if self.connection_limit != other.connection_limit {
            options.push(("connection_limit", sql!("CONNECTION LIMIT {}", self.connection_limit)));
        }
        if self.is_template != other.is_template {
            let template = if self.is_template { "true" } else { "false" };
            options.push(("is_template", sql!("IS_TEMPLATE {}", template)));
        }
        options
    }

    /// What only a new database can have otherwise, where it differs.
    fn fixed_unlike(&self, other: &Self) -> Option<&'static str> {
        let Self { template, strategy, encoding, locale_provider, collate, ctype, locale, icu_rules, .. } = self;
        let fixed = [
            ("template", *template != other.template),
            ("strategy", *strategy != other.strategy),
            ("encoding", *encoding != other.encoding),
            ("locale provider", *locale_provider != other.locale_provider),
            ("collate", *collate != other.collate),
            ("ctype", *ctype != other.ctype),
            ("locale", *locale != other.locale),
            ("ICU rules", *icu_rules != other.icu_rules),
        ];
        fixed.iter().find(|(_, differs)| *differs).map(|(what, _)| *what)
    }
}

impl Cluster {
    /// The databases of the cluster.
    pub fn databases(&self) -> Collection<Database> {
        Collection::new(self)
    }
}

impl Object<Database> {
    /// Takes note that its texts are ordered as the operating system or ICU orders them now; what
    /// depends on the order (indexes) is to be rebuilt before. PostgreSQL 15
    /// ([ALTER DATABASE](https://www.postgresql.org/docs/current/sql-alterdatabase.html)).
    ///
    /// # Errors
    /// [`Error::Unsupported`] on an older server; as for [`alter`](Object::alter).
    pub fn refresh_collation_version(&mut self) -> Result<()> {
        let mut alter = Alter::new("ALTER DATABASE", Ident(&self.server().name), " ");
        alter.needs(15, "the collation version of a database", self.cluster().version());
        alter.single("collation version", sql!("REFRESH COLLATION VERSION"));
        self.perform("refresh the collation version of", alter.finish())
    }
}

/// The privileges in a list of a database that [`ConnectAccess`] does not hold.
fn other_privileges(list: &'static str) -> Sql {
    sql!(
        "SELECT g.grantor, g.grantee, g.privilege_type, g.is_grantable FROM pg_catalog.aclexplode({}) g \
         WHERE d.datacl IS NOT NULL AND NOT (g.privilege_type = 'CONNECT' AND g.grantee <> d.datdba \
         AND g.grantor = d.datdba AND NOT g.is_grantable)",
        list
    )
}

fields! { Database { name, owner, template, strategy, encoding, locale_provider, collate, ctype, locale, icu_rules, tablespace, connection_limit, is_template, allow_connections, connect_access, comment } but oid, granted_by_others, uncovered }
words! { LocaleProvider { Libc = "libc", Icu = "icu", Builtin = "builtin" } }
words! { CreateStrategy { WalLog = "wal_log", FileCopy = "file_copy" } }

impl Sealed for Database {}

impl Kind for Database {
    type Key = String;
    type Definition = Nothing;
    const KIND: &'static str = "database";
    const DRAGS_CONNECTIONS: bool = true;

    fn query(which: Which<'_, String>, server: &ServerVersion) -> Sql {
        let filter = match which {
            Which::All => sql!("d.datname NOT IN ('template0', 'template1')"),
            Which::WithSystem => sql!("true"),
            Which::Key(name) => sql!("d.datname = {}", Lit(name)),
            Which::Oids(oids) => one_of("d.oid", oids),
        };
        let (provider, locale, rules) = match server.major() {
            17.. => ("d.datlocprovider::text", "d.datlocale", "d.daticurules"),
            16 => ("d.datlocprovider::text", "d.daticulocale", "d.daticurules"),
            15 => ("d.datlocprovider::text", "d.daticulocale", "NULL::text"),
            _ => ("'c'::text", "NULL::text", "NULL::text"),
        };
        let connect = "FROM pg_catalog.aclexplode(COALESCE(d.datacl, pg_catalog.acldefault('d', d.datdba))) g \
            WHERE g.privilege_type = 'CONNECT'";
        let (has, new) = (other_privileges("d.datacl"), other_privileges("pg_catalog.acldefault('d', d.datdba)"));
        sql!(
            "SELECT d.oid::text, d.datname AS name, pg_catalog.pg_get_userbyid(d.datdba) AS owner, \
             pg_catalog.pg_encoding_to_char(d.encoding) AS encoding, {} AS locale_provider, \
             d.datcollate AS collate, d.datctype AS ctype, {} AS locale, {} AS icu_rules, \
             t.spcname AS tablespace, d.datconnlimit::text, d.datistemplate::text, d.datallowconn::text, \
             pg_catalog.shobj_description(d.oid, 'pg_database') AS comment, \
             (EXISTS (SELECT {} AND g.grantee = 0))::text AS connect_public, \
             ARRAY(SELECT pg_catalog.pg_get_userbyid(g.grantee) {} \
             AND g.grantee NOT IN (0, d.datdba))::text AS connect_roles, \
             ARRAY(SELECT CASE g.grantee WHEN 0 THEN '' ELSE pg_catalog.pg_get_userbyid(g.grantee) END {} \
             AND g.grantee <> d.datdba AND g.grantor <> d.datdba)::text AS granted_by_others, (ARRAY(\
             SELECT 'interrupted DROP DATABASE' WHERE d.datconnlimit = -2 \
             UNION SELECT 'privileges' WHERE EXISTS (({}) EXCEPT ({})) OR EXISTS (({}) EXCEPT ({})) \
             UNION SELECT 'settings' FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid \
             UNION SELECT 'security label' FROM pg_catalog.pg_shseclabel l WHERE l.objoid = d.oid \
             AND l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass))::text AS uncovered \
             FROM pg_catalog.pg_database d LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace WHERE {}",
            provider,
            locale,
            rules,
            connect,
            connect,
            connect,
            has,
            new,
            new,
            has,
            filter
        )
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            owner: row.text("owner")?,
            template: None,
            strategy: None,
            encoding: row.optional("encoding")?,
            locale_provider: Some(LocaleProvider::read(&row.text("locale_provider")?)),
            collate: row.optional("collate")?,
            ctype: row.optional("ctype")?,
            locale: row.optional("locale")?,
            icu_rules: row.optional("icu_rules")?,
            tablespace: row.optional("tablespace")?,
            connection_limit: row.number("datconnlimit")?,
            is_template: row.truth("datistemplate")?,
            allow_connections: row.truth("datallowconn")?,
            connect_access: ConnectAccess {
                public: row.truth("connect_public")?,
                roles: row.list("connect_roles")?.into_iter().collect(),
            },
            comment: row.optional("comment")?,
            oid: row.number("oid")?,
            granted_by_others: row.list("granted_by_others")?.into_iter().map(Grantee::read).collect(),
            uncovered: row.list("uncovered")?,
        })
    }

    fn key(&self) -> String {
        self.name.clone()
    }

    fn must_be_unused(&self) -> Option<(String, Sql)> {
        let template = self.copied_from().unwrap_or("template1");
        Some((format!("its template, database {template:?},"), Self::users_of(template)))
    }

    fn oid(&self) -> u32 {
        self.oid
    }

    fn is_system(&self) -> bool {
        ["template0", "template1"].contains(&self.name.as_str())
    }

    fn uncovered(&self) -> Vec<String> {
        self.uncovered.clone()
    }

    fn to_create(&self, server: &ServerVersion) -> Script {
        let Self {
            name,
            owner,
            strategy,
            encoding,
            collate,
            ctype,
            tablespace,
            connection_limit,
            connect_access,
            comment,
            // `copied_from`
            template: _,
            // `provider_words`
            locale_provider: _,
            locale: _,
            icu_rules: _,
            // `options_unlike`
            is_template: _,
            allow_connections: _,
            oid: _,
            granted_by_others: _,
            uncovered: _,
        } = self;
        let mut alter = Alter::new("ALTER DATABASE", Ident(name), " ");
        let mut words = vec![sql!("CREATE DATABASE {}", Ident(name))];
        if !owner.is_empty() {
            words.push(sql!("OWNER {}", Ident(owner)));
        }
        words.extend(self.copied_from().map(|template| sql!("TEMPLATE {}", Ident(template))));
        if let Some(strategy) = strategy {
            alter.needs(15, "the strategy for making a database", server);
            words.push(match strategy {
                CreateStrategy::WalLog => sql!("STRATEGY wal_log"),
                CreateStrategy::FileCopy => sql!("STRATEGY file_copy"),
            });
        }
        words.extend(encoding.as_ref().map(|encoding| sql!("ENCODING {}", Lit(encoding))));
        words.extend(self.provider_words(&mut alter, server));
        words.extend(collate.as_ref().map(|collate| sql!("LC_COLLATE {}", Lit(collate))));
        words.extend(ctype.as_ref().map(|ctype| sql!("LC_CTYPE {}", Lit(ctype))));
        words.extend(tablespace.as_ref().map(|tablespace| sql!("TABLESPACE {}", Ident(tablespace))));
        words.extend(self.options_unlike(&Self::new("")).into_iter().map(|(_, option)| option));
        if let Err(error) = check_connection_limit(*connection_limit) {
            alter.refuse(error);
        }
        alter.statement_alone("itself", Sql::join(words, " "));
        ConnectAccess::default().alter(connect_access, &mut alter);
        alter.comment("COMMENT ON DATABASE", &None, comment);
        alter.finish()
    }

    fn check_taken(&self, wanted: &Self, after: &Self) -> Result<()> {
        self.check_connect_taken(wanted, after)
    }

    fn to_alter(&self, wanted: &Self, _: &ServerVersion) -> Script {
        let Self {
            name,
            owner,
            tablespace,
            connection_limit,
            connect_access,
            comment,
            // `options_unlike`
            is_template: _,
            allow_connections: _,
            // `fixed_unlike`
            template: _,
            strategy: _,
            encoding: _,
            locale_provider: _,
            collate: _,
            ctype: _,
            locale: _,
            icu_rules: _,
            oid: _,
            granted_by_others: _,
            uncovered: _,
        } = wanted;
        let mut alter = Alter::new("ALTER DATABASE", Ident(&self.name), " ");
        let fixed =
            wanted.fixed_unlike(self).or((tablespace.is_none() && self.tablespace.is_some()).then_some("tablespace"));
        if let Some(what) = fixed {
            let what = format!("another {what} for database {:?}", self.name);
            alter.refuse(Error::unsupported(what, "a new database"));
        }
        for (field, option) in wanted.options_unlike(self) {
            alter.clause(field, option);
        }
        if *connection_limit != self.connection_limit {
            if let Err(error) = check_connection_limit(*connection_limit) {
                alter.refuse(error);
            }
        }
        alter.owner(&self.owner, owner);
        self.check_grantors(wanted, &mut alter);
        self.connect_access.alter(connect_access, &mut alter);
        alter.comment("COMMENT ON DATABASE", &self.comment, comment);
        if let Some(moved) = tablespace.as_ref().filter(|_| *tablespace != self.tablespace) {
            let statement = sql!("ALTER DATABASE {} SET TABLESPACE {}", alter.name(), Ident(moved));
            alter.statement_alone("tablespace", statement);
        }
        if *name != self.name {
            alter.single("name", sql!("RENAME TO {}", Ident(name)));
        }
        alter.finish()
    }

    fn to_drop(&self, _: DropBehavior, _: &ServerVersion) -> Script {
        let mut script = Script::new();
        script.add_alone(sql!("DROP DATABASE {}", Ident(&self.name)), Vec::new());
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ServerVersion {
        ServerVersion::parse(text).unwrap()
    }

    #[test]
    fn p030_every_version_gets_the_words_it_knows() {
        let icu = Database {
            owner: "o\"p".into(),
            strategy: Some(CreateStrategy::WalLog),
            encoding: Some("UTF8".into()),
            locale_provider: Some(LocaleProvider::Icu),
            locale: Some("de-AT".into()),
            icu_rules: Some("&a < g".into()),
            ..Database::new("shop")
        };
        assert_eq!(
            icu.to_create(&version("16.1")).to_string(),
            "CREATE DATABASE \"shop\" OWNER \"o\"\"p\" TEMPLATE \"template0\" STRATEGY wal_log ENCODING 'UTF8' \
             LOCALE_PROVIDER icu ICU_LOCALE 'de-AT' ICU_RULES '&a < g';\n"
        );
        assert!(matches!(icu.to_create(&version("15.3")).check(), Err(Error::Unsupported { .. })));
        let builtin = Database {
            locale_provider: Some(LocaleProvider::Builtin),
            locale: Some("C.UTF-8".into()),
            ..Database::new("shop")
        };
        assert!(builtin.to_create(&version("17.0")).to_string().contains("LOCALE_PROVIDER builtin BUILTIN_LOCALE"));
        assert!(matches!(builtin.to_create(&version("16.1")).check(), Err(Error::Unsupported { .. })));
        let libc = Database {
            locale_provider: Some(LocaleProvider::Libc),
            collate: Some("C".into()),
            connection_limit: 3,
            is_template: true,
            allow_connections: false,
            tablespace: Some("fast".into()),
            template: Some("mine".into()),
            comment: Some("it's".into()),
            ..Database::new("shop")
        };
        assert_eq!(
            libc.to_create(&version("12.22")).to_string(),
            "CREATE DATABASE \"shop\" TEMPLATE \"mine\" LC_COLLATE 'C' TABLESPACE \"fast\" ALLOW_CONNECTIONS false \
             CONNECTION LIMIT 3 IS_TEMPLATE true;\nCOMMENT ON DATABASE \"shop\" IS 'it''s';\n"
        );
        for major in ["15.0", "16.0", "17.0"] {
            let query = Database::query(Which::All, &version(major)).to_string();
            assert_eq!(query.contains("daticulocale"), major != "17.0");
        }
    }

    #[test]
    fn one_statement_for_the_options_and_the_name_last() {
        let old = Database::new("old");
        let new = Database { name: "new".into(), connection_limit: 5, is_template: true, ..old.clone() };
        assert_eq!(
            old.to_alter(&new, &version("15.3")).to_string(),
            "ALTER DATABASE \"old\" CONNECTION LIMIT 5 IS_TEMPLATE true;\nALTER DATABASE \"old\" RENAME TO \"new\";\n"
        );
    }

    #[test]
    fn what_is_fixed_is_refused() {
        let old = Database { encoding: Some("UTF8".into()), ..Database::new("d") };
        let new = Database { encoding: Some("LATIN1".into()), ..old.clone() };
        assert!(matches!(old.to_alter(&new, &version("15.3")).check(), Err(Error::Unsupported { .. })));
        let wrong = Database { locale: Some("de".into()), ..old.clone() };
        assert!(matches!(wrong.to_create(&version("15.3")).check(), Err(Error::Invalid { .. })));
        let wrong = Database { connection_limit: -5, ..old.clone() };
        assert!(matches!(wrong.to_create(&version("15.3")).check(), Err(Error::Invalid { .. })));
        assert!(matches!(old.to_alter(&wrong, &version("15.3")).check(), Err(Error::Invalid { .. })));
    }

    #[test]
    fn p030_a_forced_drop_on_every_version() {
        let database = Database::new("d");
        assert_eq!(database.to_drop_force(&version("13.0")).to_string(), "DROP DATABASE \"d\" WITH (FORCE);\n");
        let script = database.to_drop_force(&version("12.0")).to_string();
        assert!(script.starts_with("ALTER DATABASE \"d\" ALLOW_CONNECTIONS false;\nSELECT pg_catalog.pg_term"));
        assert!(script.ends_with("\nDROP DATABASE \"d\";\n"));
    }
}
