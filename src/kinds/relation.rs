//! What tables, views, materialized views and sequences have in common: they are relations.
use crate::error::Error;
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

words! { Persistence { Permanent = "permanent", Unlogged = "unlogged", Temporary = "temporary" } }

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
    /// The database's own; none while the server was not asked.
    pub(crate) database_tablespace: Option<&'a str>,
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
            if let Some(tablespace) = destination(wanted.tablespace.as_deref(), self.database_tablespace, alter) {
                alter.clause("tablespace", sql!("SET TABLESPACE {}", Ident(tablespace)));
            }
        }
    }
}

/// Where `SET TABLESPACE` is to move something; no word of SQL stands for the database's own.
pub(crate) fn destination<'a>(
    wanted: Option<&'a str>,
    database: Option<&'a str>,
    alter: &mut Alter,
) -> Option<&'a str> {
    let destination = wanted.or(database);
    if destination.is_none() {
        alter.refuse(Error::invalid(
            "move to the database's own tablespace of what is not on the server yet",
            "its name was not read; apply the plan first",
        ));
    }
    destination
}

/// The name of the database's own tablespace.
pub(crate) const DATABASE_TABLESPACE: &str = "(SELECT t.spcname FROM pg_catalog.pg_database b \
    JOIN pg_catalog.pg_tablespace t ON t.oid = b.dattablespace WHERE b.datname = pg_catalog.current_database())";

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
        Which::All => sql!(
            "n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') \
             AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_temp_') \
             AND NOT pg_catalog.starts_with(n.nspname::text, 'pg_toast_temp_')"
        ),
        Which::WithSystem => sql!("true"),
        Which::Key(Name { schema, name }) => sql!("n.nspname = {} AND c.relname = {}", Lit(schema), Lit(name)),
        Which::Oids(oids) => one_of("c.oid", oids),
    }
}

/// What tables have that is no part of their definition yet, each by the OID of its table.
///
/// The options of an index's columns are part of its text from 13 on. The sequence of an identity column keeps its
/// name when the table gets another, so that only one which no server would have chosen is told; before 15 it is
/// lasting where the table is unlogged.
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
    OR COALESCE(a.attstattarget, -1) <> -1) \
    UNION ALL SELECT x.indrelid, pg_catalog.concat('settings of index ', i.relname) FROM pg_catalog.pg_index x \
    JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid WHERE EXISTS (SELECT FROM pg_catalog.pg_attribute a \
    WHERE a.attrelid = i.oid AND (COALESCE(a.attstattarget, -1) <> -1 OR a.attoptions IS NOT NULL \
    AND pg_catalog.current_setting('server_version_num')::int < 130000)) \
    UNION ALL SELECT k.conrelid, pg_catalog.concat('comment on the index of constraint ', k.conname) \
    FROM pg_catalog.pg_constraint k WHERE k.contype IN ('p', 'u', 'x') \
    AND pg_catalog.obj_description(k.conindid, 'pg_class') IS NOT NULL \
    UNION ALL SELECT k.conrelid, pg_catalog.concat('not null of column ', a.attname) FROM pg_catalog.pg_constraint k \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND ARRAY[a.attnum] = k.conkey WHERE k.contype = 'n' \
    AND (k.connoinherit OR NOT k.convalidated OR pg_catalog.obj_description(k.oid, 'pg_constraint') IS NOT NULL) \
    UNION ALL SELECT a.attrelid, pg_catalog.concat('settings of identity column ', a.attname) FROM pg_catalog.pg_depend e \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = e.refobjid AND a.attnum = e.refobjsubid \
    JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_class s ON s.oid = e.objid \
    JOIN pg_catalog.pg_sequence q ON q.seqrelid = s.oid WHERE e.deptype = 'i' \
    AND e.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND e.refclassid = e.classid \
    AND ((q.seqstart, q.seqincrement, q.seqmin, q.seqcache, q.seqcycle) <> (1, 1, 1, 1, false) \
    OR q.seqmax <> CASE q.seqtypid WHEN 'pg_catalog.int2'::pg_catalog.regtype THEN 32767 \
    WHEN 'pg_catalog.int4'::pg_catalog.regtype THEN 2147483647 ELSE 9223372036854775807 END OR q.seqtypid <> a.atttypid \
    OR s.relname !~ '_seq[0-9]*$' OR s.relnamespace <> c.relnamespace \
    OR s.relpersistence <> c.relpersistence AND pg_catalog.current_setting('server_version_num')::int >= 150000 \
    OR s.relacl IS NOT NULL OR pg_catalog.obj_description(s.oid, 'pg_class') IS NOT NULL)";

/// The functions of [`Kind`](crate::Kind) that are the same for all relations with a definition, by
/// their fields `oid`, `schema`, `uncovered` and `definition`.
macro_rules! defined_relation {
    () => {
        fn key(&self) -> Name {
            self.qualified()
        }

        fn oid(&self) -> u32 {
            self.oid
        }

        fn is_system(&self) -> bool {
            $crate::kind::is_system_schema(&self.schema)
        }

        fn uncovered(&self) -> Vec<String> {
            let definition = self.definition().map(|definition| definition.uncovered.as_slice());
            [&self.uncovered, definition.unwrap_or_default()].concat()
        }

        fn definition_cell(&self) -> Option<&Known<Self::Definition>> {
            Some(&self.definition)
        }

        fn definition_cell_mut(&mut self) -> Option<&mut Known<Self::Definition>> {
            Some(&mut self.definition)
        }
    };
}
pub(crate) use defined_relation;
