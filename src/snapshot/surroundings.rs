//! What else there is on tables whose rows are replaced.
use super::index::Snapshot;
use super::moment::Moment;
use super::survey::{Sort, no_answer};
use crate::error::Result;
use crate::kind::one_of;
use crate::name::Name;
use crate::row::Row;
use crate::session::Session;
use crate::sql::{Ident, Lit, Sql};
use std::collections::BTreeSet;

/// What stands on the tables of a snapshot, or points at them.
pub(super) struct Surroundings {
    /// Triggers and rules that would fire.
    pub(super) switches: Vec<Switch>,
    pub(super) foreign_keys: Vec<ForeignKey>,
    /// Constraints that may wait until the end of the transaction.
    pub(super) deferrable: BTreeSet<Name>,
    /// Materialized views of their rows.
    pub(super) materialized_views: Vec<Name>,
    /// Tables and sequences that the snapshot's owner has no right to.
    pub(super) of_others: Vec<Name>,
}

/// A trigger or a rule.
pub(super) struct Switch {
    table: Name,
    what: &'static str,
    name: String,
    always: bool,
}

pub(super) struct ForeignKey {
    pub(super) name: String,
    pub(super) from: (u32, Name),
    pub(super) to: (u32, Name),
}

impl Switch {
    pub(super) fn off(&self) -> Sql {
        sql!("ALTER TABLE ONLY {} DISABLE {} {}", self.table, self.what, Ident(&self.name))
    }

    /// As it was before.
    pub(super) fn on(&self) -> Sql {
        let always = if self.always { "ALWAYS " } else { "" };
        sql!("ALTER TABLE ONLY {} ENABLE {}{} {}", self.table, always, self.what, Ident(&self.name))
    }

    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            table: name(row, "schema", "table_name")?,
            what: if row.truth("is_rule")? { "RULE" } else { "TRIGGER" },
            name: row.text("name")?,
            always: row.text("mode")? == "A",
        })
    }
}

impl Surroundings {
    pub(super) fn ask(session: &Session, action: &str, snapshot: &Snapshot, moment: &Moment) -> Result<Self> {
        let oids = moment.chosen.oids();
        let all: Vec<u32> =
            oids.iter().copied().chain(moment.chosen.sequences.iter().map(|sequence| sequence.oid)).collect();
        let questions = [
            switches(&oids),
            foreign_keys(&oids),
            deferrable(&oids),
            materialized_views(&oids),
            of_others(snapshot, &all),
        ];
        let answers = session.run(action, &questions)?;
        let [switches, foreign_keys, deferrable, views, of_others] = answers.as_slice() else {
            return Err(no_answer());
        };
        let names =
            |rows: &[Row]| -> Result<Vec<Name>> { rows.iter().map(|row| name(row, "schema", "name")).collect() };
        Ok(Self {
            switches: switches.iter().map(Switch::read).collect::<Result<_>>()?,
            foreign_keys: foreign_keys.iter().map(ForeignKey::read).collect::<Result<_>>()?,
            deferrable: names(deferrable)?.into_iter().collect(),
            materialized_views: names(views)?,
            of_others: names(of_others)?,
        })
    }

    /// Foreign keys from tables whose rows stay.
    pub(super) fn outside_keys(&self, moment: &Moment) -> Vec<&ForeignKey> {
        let inside: BTreeSet<u32> = moment.chosen.oids().into_iter().collect();
        // One from a partitioned table of which only the partitions were chosen is not truncated along either.
        let keys = self.foreign_keys.iter();
        keys.filter(|key| inside.contains(&key.to.0) && !inside.contains(&key.from.0)).collect()
    }

    /// The tables that foreign keys touch.
    pub(super) fn tied(&self) -> BTreeSet<u32> {
        self.foreign_keys.iter().flat_map(|key| [key.from.0, key.to.0]).collect()
    }
}

impl ForeignKey {
    fn read(row: &Row) -> Result<Self> {
        Ok(Self {
            name: row.text("name")?,
            from: (row.number("from_oid")?, name(row, "from_schema", "from_name")?),
            to: (row.number("to_oid")?, name(row, "to_schema", "to_name")?),
        })
    }
}

fn name(row: &Row, schema: &str, name: &str) -> Result<Name> {
    Ok(Name::new(row.text(schema)?, row.text(name)?))
}

/// All that fires unless the session is a replica's. Triggers of constraints other than the user's own are the
/// server's.
fn switches(oids: &[u32]) -> Sql {
    sql!(
        "SELECT n.nspname AS schema, c.relname AS table_name, s.is_rule::text, s.name, s.mode FROM (\
         SELECT t.tgrelid AS relation, false AS is_rule, t.tgname AS name, t.tgenabled::text AS mode \
         FROM pg_catalog.pg_trigger t WHERE t.tgconstraint = 0 OR EXISTS (SELECT FROM pg_catalog.pg_constraint k \
         WHERE k.oid = t.tgconstraint AND k.contype = 't') \
         UNION ALL SELECT r.ev_class, true, r.rulename, r.ev_enabled::text FROM pg_catalog.pg_rewrite r \
         WHERE r.ev_type IN ('2', '3', '4')) s JOIN pg_catalog.pg_class c ON c.oid = s.relation \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE s.mode IN ('O', 'A') AND {} \
         ORDER BY 1, 2, 3, 4",
        one_of("s.relation", oids)
    )
}

fn foreign_keys(oids: &[u32]) -> Sql {
    sql!(
        "SELECT k.conname AS name, f.oid::text AS from_oid, fn.nspname AS from_schema, f.relname AS from_name, \
         t.oid::text AS to_oid, tn.nspname AS to_schema, t.relname AS to_name FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_class f ON f.oid = k.conrelid JOIN pg_catalog.pg_namespace fn ON fn.oid = f.relnamespace \
         JOIN pg_catalog.pg_class t ON t.oid = k.confrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace \
         WHERE k.contype = 'f' AND ({} OR {}) ORDER BY 3, 4, 1",
        one_of("k.conrelid", oids),
        one_of("k.confrelid", oids)
    )
}

fn deferrable(oids: &[u32]) -> Sql {
    sql!(
        "SELECT n.nspname AS schema, k.conname AS name FROM pg_catalog.pg_constraint k \
         JOIN pg_catalog.pg_namespace n ON n.oid = k.connamespace WHERE k.condeferrable AND {}",
        one_of("k.conrelid", oids)
    )
}

/// Those that are made of the tables, or of views of them.
fn materialized_views(oids: &[u32]) -> Sql {
    sql!(
        "WITH RECURSIVE above(oid) AS (SELECT c.oid FROM pg_catalog.pg_class c WHERE {} \
         UNION SELECT r.ev_class FROM above JOIN pg_catalog.pg_depend d ON d.refclassid = {} AND d.refobjid = above.oid \
         AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid) \
         SELECT n.nspname AS schema, c.relname AS name FROM above JOIN pg_catalog.pg_class c ON c.oid = above.oid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'm' ORDER BY 1, 2",
        one_of("c.oid", oids),
        super::survey::PG_CLASS
    )
}

fn of_others(snapshot: &Snapshot, oids: &[u32]) -> Sql {
    sql!(
        "SELECT n.nspname AS schema, c.relname AS name FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE NOT pg_catalog.pg_has_role({}, c.relowner, 'USAGE') AND {} ORDER BY 1, 2",
        Lit(&snapshot.owner),
        one_of("c.oid", oids)
    )
}

/// What is emptied: partitioned tables with their partitions, others without what inherits from them.
pub(super) fn to_truncate(moment: &Moment) -> Sql {
    let tables = moment.chosen.relations.iter().map(|relation| match relation.sort {
        Sort::Partitioned => sql!("{}", relation.name),
        _ => sql!("ONLY {}", relation.name),
    });
    sql!("TRUNCATE TABLE {}", Sql::join(tables, ", "))
}
