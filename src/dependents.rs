//! What a drop with CASCADE takes along.
use crate::error::Result;
use crate::kind::Kind;
use crate::object::Object;

/// Kinds on whose objects others can depend, so that they have a `drop_cascade`.
pub trait Depended: Kind {
    /// The catalogue that they are in.
    #[doc(hidden)]
    const CATALOG: &'static str;
}

macro_rules! depended {
    ($($kind:ident in $catalog:literal),*) => { $(
        impl Depended for crate::$kind {
            const CATALOG: &'static str = $catalog;
        }
    )* };
}
depended!(
    MaterializedView in "'pg_catalog.pg_class'",
    Procedure in "'pg_catalog.pg_proc'",
    Schema in "'pg_catalog.pg_namespace'",
    Sequence in "'pg_catalog.pg_class'",
    Table in "'pg_catalog.pg_class'",
    View in "'pg_catalog.pg_class'"
);

impl<T: Depended> Object<T> {
    /// What `drop_cascade` would take along, in the server's words and with full names: `view app.totals`,
    /// `constraint lines_order_fkey on table app.lines`. Without it `drop` would be refused. What is a part of the object (its indexes,
    /// a sequence that a column owns) is not named
    /// ([Dependency Tracking](https://www.postgresql.org/docs/current/ddl-depend.html)).
    ///
    /// Reads the catalogue, and takes no lock on the object; what comes to depend on it later is not in it.
    ///
    /// # Errors
    /// [`Error::Server`](crate::Error::Server), [`Error::Connection`](crate::Error::Connection).
    pub fn dependents(&self) -> Result<Vec<String>> {
        // What goes with an object: what depends on it, and the whole of which it is a part: the view of a rule, the
        // foreign key whose constraint on a partition it is.
        // Of these the server names what depends on something by a use, and not as a part of what goes; a column
        // not if its table goes.
        let question = sql!(
            "WITH RECURSIVE edge AS (\
             SELECT d.refclassid AS on_class, d.refobjid AS on_object, d.refobjsubid AS on_part, \
             d.classid, d.objid, d.objsubid, d.deptype IN ('n', 'x') AS is_use \
             FROM pg_catalog.pg_depend d WHERE d.deptype <> 'p' \
             UNION ALL SELECT d.classid, d.objid, d.objsubid, d.refclassid, d.refobjid, d.refobjsubid, true \
             FROM pg_catalog.pg_depend d WHERE d.deptype = 'i'\
             ), going AS (\
             SELECT {}::pg_catalog.regclass::pg_catalog.oid AS classid, {}::pg_catalog.oid AS objid, 0 AS objsubid \
             UNION SELECT e.classid, e.objid, e.objsubid FROM going g JOIN edge e \
             ON e.on_class = g.classid AND e.on_object = g.objid AND (g.objsubid = 0 OR e.on_part = g.objsubid)\
             ), named AS (\
             SELECT e.classid, e.objid, e.objsubid FROM going g JOIN edge e \
             ON e.on_class = g.classid AND e.on_object = g.objid AND (g.objsubid = 0 OR e.on_part = g.objsubid) \
             GROUP BY 1, 2, 3 HAVING pg_catalog.bool_and(e.is_use)\
             ) SELECT pg_catalog.pg_describe_object(n.classid, n.objid, n.objsubid) AS object FROM named n \
             WHERE NOT (n.classid = {}::pg_catalog.regclass AND n.objid = {}) \
             AND (n.objsubid = 0 OR NOT EXISTS (SELECT FROM going g \
             WHERE g.classid = n.classid AND g.objid = n.objid AND g.objsubid = 0)) ORDER BY 1",
            T::CATALOG,
            self.oid(),
            T::CATALOG,
            self.oid()
        );
        let action = format!("look for what depends on {}", self.title());
        let answers = self.cluster().session().run(&action, &[question])?;
        answers.iter().flatten().map(|row| row.text("object")).collect()
    }
}
