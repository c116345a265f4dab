//! What tables, views, materialized views and sequences have in common: they are relations.
use crate::kind::{Alter, Which, one_of};
use crate::name::Name;
use crate::sql::{Ident, Lit, Sql};
use crate::version::ServerVersion;
use std::collections::BTreeMap;

/// How long a table lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Persistence {
    /// Until it is dropped.
    Permanent,
    /// Until it is dropped; its rows until a crash.
    Unlogged,
    /// Until the session ends.
    Temporary,
}

impl Persistence {
    pub(crate) fn read(code: &str) -> Self {
        match code {
            "u" => Self::Unlogged,
            "t" => Self::Temporary,
            _ => Self::Permanent,
        }
    }
}

/// `name=value` texts, as the catalogues hold them, by name.
pub(crate) fn read_options(texts: Vec<String>) -> BTreeMap<String, String> {
    let pairs = texts.iter().filter_map(|text| text.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The name of an option as SQL writes it: `fillfactor`, `toast.autovacuum_enabled`.
pub(crate) fn option_name(name: &str) -> Sql {
    Sql::join(name.splitn(2, '.').map(|part| sql!("{}", Ident(part))), ".")
}

/// `(name = 'value', ...)`
pub(crate) fn option_list<'a>(options: impl IntoIterator<Item = (&'a String, &'a String)>) -> Sql {
    let pairs = options.into_iter().map(|(name, value)| sql!("{} = {}", option_name(name), Lit(value)));
    sql!("({})", Sql::join(pairs, ", "))
}

/// `SET (...)` for options that are new or changed, `RESET (...)` for those that are gone.
pub(crate) fn alter_options(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>, alter: &mut Alter) {
    let changed: Vec<_> = new.iter().filter(|(name, value)| old.get(*name) != Some(*value)).collect();
    if !changed.is_empty() {
        alter.clause("options", sql!("SET {}", option_list(changed)));
    }
    let gone: Vec<_> = old.keys().filter(|name| !new.contains_key(*name)).map(|name| option_name(name)).collect();
    if !gone.is_empty() {
        alter.clause("options", sql!("RESET ({})", Sql::join(gone, ", ")));
    }
}

/// The access method and the tablespace, where they differ; none is the server's default, and the database's own.
pub(crate) struct Place<'a> {
    pub(crate) access_method: &'a Option<String>,
    pub(crate) tablespace: &'a Option<String>,
}

impl Place<'_> {
    /// The clauses of `ALTER` that move a relation's rows from one place to another.
    pub(crate) fn alter(&self, wanted: &Self, alter: &mut Alter, server: &ServerVersion) {
        if self.access_method != wanted.access_method {
            alter.needs(15, "another access method", server);
            match wanted.access_method {
                Some(method) => alter.clause("access_method", sql!("SET ACCESS METHOD {}", Ident(method))),
                None => {
                    alter.needs(17, "going back to the default access method", server);
                    alter.clause("access_method", sql!("SET ACCESS METHOD DEFAULT"));
                }
            }
        }
        if self.tablespace != wanted.tablespace {
            // The name that stands for the database's own, unless that is another.
            let tablespace = wanted.tablespace.as_deref().unwrap_or("pg_default");
            alter.clause("tablespace", sql!("SET TABLESPACE {}", Ident(tablespace)));
        }
    }
}

/// The columns of a catalogue query that every relation has, over [`FROM`].
pub(crate) const COLUMNS: &str = "c.oid::text, n.nspname AS schema, c.relname AS name, \
    pg_catalog.pg_get_userbyid(c.relowner) AS owner, c.relpersistence::text, d.description AS comment";

/// The columns of those that have rows of their own, over [`FROM`] and [`FROM_PLACES`].
pub(crate) const COLUMNS_OF_PLACES: &str = "t.spcname AS tablespace, \
    CASE WHEN a.amname <> pg_catalog.current_setting('default_table_access_method') THEN a.amname END AS access_method, \
    (COALESCE(c.reloptions, ARRAY[]::text[]) || \
    ARRAY(SELECT 'toast.' || o FROM pg_catalog.unnest(toast.reloptions) o))::text AS options";

/// Relations, their schemas and their comments.
pub(crate) const FROM: &str = "pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    LEFT JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 \
    AND d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass";

/// Where relations with rows of their own keep them.
pub(crate) const FROM_PLACES: &str = "LEFT JOIN pg_catalog.pg_class toast ON toast.oid = c.reltoastrelid \
    LEFT JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam";

/// Narrows a query over `pg_class c` and `pg_namespace n` to what was asked for.
pub(crate) fn relation_filter(which: Which<'_, Name>) -> Sql {
    match which {
        Which::All => sql!("n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"),
        Which::WithSystem => sql!("true"),
        Which::Key(Name { schema, name }) => sql!("n.nspname = {} AND c.relname = {}", Lit(schema), Lit(name)),
        Which::Oids(oids) => one_of("c.oid", oids),
    }
}

/// What tables have that is no part of their definition yet, each by the OID of its table.
pub(crate) const UNCOVERED: &str = "SELECT i.inhrelid, 'inheritance' FROM pg_catalog.pg_inherits i \
    UNION ALL SELECT t.tgrelid, pg_catalog.concat('trigger ', t.tgname) FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal \
    UNION ALL SELECT p.polrelid, pg_catalog.concat('policy ', p.polname) FROM pg_catalog.pg_policy p \
    UNION ALL SELECT r.ev_class, pg_catalog.concat('rule ', r.rulename) FROM pg_catalog.pg_rewrite r WHERE r.rulename <> '_RETURN' \
    UNION ALL SELECT s.stxrelid, pg_catalog.concat('statistics ', s.stxname) FROM pg_catalog.pg_statistic_ext s \
    UNION ALL SELECT l.objoid, 'security label' FROM pg_catalog.pg_seclabel l \
    WHERE l.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass \
    UNION ALL SELECT b.prrelid, 'publication' FROM pg_catalog.pg_publication_rel b \
    UNION ALL SELECT d.objid, 'extension' FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
    AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
    UNION ALL SELECT x.indrelid, pg_catalog.concat('state of index ', i.relname) FROM pg_catalog.pg_index x \
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid WHERE x.indisclustered OR NOT x.indisvalid \
    UNION ALL SELECT x.indrelid, pg_catalog.concat('storage of constraint ', i.relname) FROM pg_catalog.pg_index x \
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid JOIN pg_catalog.pg_constraint k ON k.conindid = i.oid \
    AND k.contype IN ('p', 'u', 'x') WHERE i.reloptions IS NOT NULL OR i.reltablespace <> 0 \
    UNION ALL SELECT a.attrelid, pg_catalog.concat('settings of column ', a.attname) FROM pg_catalog.pg_attribute a \
    WHERE a.attnum > 0 AND NOT a.attisdropped AND (a.attacl IS NOT NULL OR a.attoptions IS NOT NULL OR a.attfdwoptions IS NOT NULL \
    OR COALESCE(a.attstattarget, -1) <> -1)";
