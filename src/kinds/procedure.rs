//! Routines: functions, procedures, aggregates and window functions.
mod attributes;
mod definition;
mod filter;
mod variations;

pub use self::attributes::{Parallel, Routine, Security, Volatility};
pub use self::definition::{Body, ProcedureDefinition};
use self::filter::filter;
pub use self::variations::{Procedures, Variations};
use crate::cluster::Cluster;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::kind::{Alter, Defined, DropBehavior, Kind, Known, Sealed, Which, definitions, is_system_schema};
use crate::kinds::relation::read_options;
use crate::name::Name;
use crate::object::Object;
use crate::parts::DataType;
use crate::row::Row;
use crate::script::{Field, Script};
use crate::setting::set;
use crate::signature::Signature;
use crate::sql::{Ident, Sql};
use crate::version::ServerVersion;
use std::collections::BTreeMap;

/// A routine: a function
/// ([CREATE FUNCTION](https://www.postgresql.org/docs/current/sql-createfunction.html)), a procedure
/// ([CREATE PROCEDURE](https://www.postgresql.org/docs/current/sql-createprocedure.html)), an aggregate
/// ([CREATE AGGREGATE](https://www.postgresql.org/docs/current/sql-createaggregate.html)) or a window function.
///
/// Its name and the types of its arguments find it: [`Signature`]. The system's own are those in
/// `pg_catalog` and `information_schema`, and those that come with a type (of a range, say).
/// What it does is its [definition](ProcedureDefinition), read on demand. Its body is taken as it is, also with names
/// that are not there yet, as by `pg_dump`'s scripts: `check_function_bodies` is off.
///
/// Of a procedure only the security and the settings are its own to choose, of an aggregate only
/// the parallelism, and that when it is made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Procedure {
    /// The schema.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The owner; empty for the role that creates it.
    pub owner: String,
    /// What a call may do, and whether equal calls give equal results.
    pub volatility: Volatility,
    /// `STRICT`: it is not called where an argument is NULL; the result is NULL.
    pub strict: bool,
    /// `LEAKPROOF`: it tells nothing of its arguments but by its result.
    pub leakproof: bool,
    /// Whose rights it has.
    pub security: Security,
    /// Whether it may run in a parallel query.
    pub parallel: Parallel,
    /// The planner's estimate of a call, in units of `cpu_operator_cost`.
    pub cost: f32,
    /// The planner's estimate of the rows that a call returns; 0 for a function that returns no
    /// set, and for the default (1000) of a new one that does.
    pub rows: f32,
    /// The function that tells the planner more about it.
    pub support: Option<Name>,
    /// The settings that hold during a call, by name (`SET`). The value of one that is a list is
    /// the list: `"app, pg_temp"` for `search_path`.
    pub settings: BTreeMap<String, String>,
    /// The comment.
    pub comment: Option<String>,
    routine: Routine,
    arguments: Vec<DataType>,
    /// What tells it from its variations, in the server's words; none for one that is not on a server.
    identity: Option<Sql>,
    oid: u32,
    uncovered: Vec<String>,
    definition: Known<ProcedureDefinition>,
}

impl Procedure {
    /// A function as `CREATE FUNCTION` makes it by default. The language is named as in the
    /// catalogue (`sql`, `plpgsql`), the result as in SQL.
    ///
    /// ```
    /// use pgsteward::{Procedure, Volatility, sql};
    /// let mut add = Procedure::function("app.add(int, int)", sql!("integer"), "sql", "SELECT a + b");
    /// add.definition_mut().arguments = sql!("a integer, b integer DEFAULT 1");
    /// add.volatility = Volatility::Immutable;
    /// ```
    pub fn function(
        signature: impl Into<Signature>,
        returns: Sql,
        language: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        let returns = Some(returns);
        let (language, body) = (language.into(), Body::Text(body.into()));
        let definition = ProcedureDefinition { returns, language, body, ..ProcedureDefinition::default() };
        Self::made_of(signature.into(), Routine::Function, definition)
    }

    /// A window function as `CREATE FUNCTION ... WINDOW` makes it by default.
    pub fn window(
        signature: impl Into<Signature>,
        returns: Sql,
        language: impl Into<String>,
        body: impl Into<String>,
    ) -> Self {
        Self { routine: Routine::Window, ..Self::function(signature, returns, language, body) }
    }

    /// A procedure as `CREATE PROCEDURE` makes it by default.
    pub fn new(signature: impl Into<Signature>, language: impl Into<String>, body: impl Into<String>) -> Self {
        let (language, body) = (language.into(), Body::Text(body.into()));
        let definition = ProcedureDefinition { language, body, ..ProcedureDefinition::default() };
        Self::made_of(signature.into(), Routine::Procedure, definition)
    }

    /// An aggregate as `CREATE AGGREGATE name (types) (options)` makes it. One that is ordered
    /// (`ORDER BY`) needs its definition's `arguments` in full.
    ///
    /// ```
    /// use pgsteward::{Procedure, sql};
    /// let sum = Procedure::aggregate("app.sum(int)", sql!("SFUNC = int4pl, STYPE = integer, INITCOND = '0'"));
    /// ```
    pub fn aggregate(signature: impl Into<Signature>, options: Sql) -> Self {
        let definition = ProcedureDefinition { body: Body::Aggregate(options), ..ProcedureDefinition::default() };
        Self::made_of(signature.into(), Routine::Aggregate, definition)
    }

    fn made_of(signature: Signature, routine: Routine, definition: ProcedureDefinition) -> Self {
        let Name { schema, name } = signature.name().clone();
        let aggregate = routine == Routine::Aggregate;
        let cheap = aggregate || matches!(definition.language.as_str(), "c" | "internal");
        let known = Known::default();
        // A name alone is no signature, and would find other routines too.
        if signature.arguments().is_some() {
            known.set(definition.into(), None);
        }
        Self {
            schema,
            name,
            owner: String::new(),
            volatility: if aggregate { Volatility::Immutable } else { Volatility::Volatile },
            strict: false,
            leakproof: false,
            security: Security::Invoker,
            parallel: Parallel::Unsafe,
            cost: if cheap { 1.0 } else { 100.0 },
            rows: 0.0,
            support: None,
            settings: BTreeMap::new(),
            comment: None,
            routine,
            arguments: signature.arguments().unwrap_or_default().to_vec(),
            identity: None,
            oid: 0,
            uncovered: Vec::new(),
            definition: known,
        }
    }

    /// What sort of routine it is.
    pub fn routine(&self) -> Routine {
        self.routine
    }

    /// The types of the arguments that it takes.
    pub fn arguments(&self) -> &[DataType] {
        &self.arguments
    }

    /// What it does, if that was read.
    pub fn definition(&self) -> Option<&ProcedureDefinition> {
        self.definition.get().map(|definition| &**definition)
    }

    /// What a new routine is to do. For one on a server: [`Object::definition_mut`].
    pub fn definition_mut(&mut self) -> &mut ProcedureDefinition {
        self.definition.to_mut()
    }

    /// Its name in SQL, under which no other routine is found.
    fn called(&self, name: &Name) -> Sql {
        let types = || Sql::join(self.arguments.iter().map(|argument| sql!("{}", argument)), ", ");
        sql!("{}({})", name, self.or_star(self.identity.clone().unwrap_or_else(types)))
    }

    /// `*` for the arguments of an aggregate that takes none.
    fn or_star(&self, arguments: Sql) -> Sql {
        if self.routine == Routine::Aggregate && arguments.is_empty() { sql!("*") } else { arguments }
    }

    /// The statement that makes it; `create` is `CREATE` or `CREATE OR REPLACE`.
    fn made_by(&self, create: &'static str, name: &Name, definition: &ProcedureDefinition) -> Sql {
        let ProcedureDefinition { arguments, returns, language: _, transforms: _, body } = definition;
        let types = || Sql::join(self.arguments.iter().map(|argument| sql!("{}", argument)), ", ");
        let arguments = if arguments.is_empty() { types() } else { arguments.clone() };
        let what = self.routine.word();
        let mut words = vec![sql!("{} {} {}({})", create, what, name, self.or_star(arguments))];
        if self.routine == Routine::Aggregate {
            let parallel = (self.parallel != Parallel::Unsafe).then(|| sql!("PARALLEL = {}", self.parallel.word()));
            let options = Sql::join([body.clause()].into_iter().chain(parallel), ", ");
            return sql!("{} ({})", Sql::join(words, " "), options);
        }
        words.extend(returns.as_ref().map(|returns| sql!("RETURNS {}", returns)));
        words.push(definition.language_clause());
        words.extend(definition.transform_clause());
        if self.routine == Routine::Window {
            words.push(sql!("WINDOW"));
        }
        words.extend(self.attributes_unlike(&self.plain(definition)).into_iter().map(|(_, attribute)| attribute));
        words.push(body.clause());
        Sql::join(words, " ")
    }

    /// The same routine with every attribute at its default.
    fn plain(&self, definition: &ProcedureDefinition) -> Self {
        Self::made_of(self.key(), self.routine, definition.clone())
    }

    /// The attributes that differ from another routine's, each a field and its words in `CREATE` and `ALTER FUNCTION`.
    fn attributes_unlike(&self, other: &Self) -> Vec<(&'static str, Sql)> {
        let Self { volatility, strict, leakproof, security, parallel, cost, rows, support, settings, .. } = self;
        let mut attributes: Vec<(&'static str, Sql)> = Vec::new();
        let mut add = |differs: bool, field: &'static str, words: Sql| {
            if differs {
                attributes.push((field, words));
            }
        };
        add(*volatility != other.volatility, "volatility", sql!("{}", volatility.word()));
        let null = if *strict { "STRICT" } else { "CALLED ON NULL INPUT" };
        add(*strict != other.strict, "strict", sql!("{}", null));
        let leakproof_word = if *leakproof { "LEAKPROOF" } else { "NOT LEAKPROOF" };
        add(*leakproof != other.leakproof, "leakproof", sql!("{}", leakproof_word));
        add(*security != other.security, "security", sql!("SECURITY {}", security.word()));
        add(*parallel != other.parallel, "parallel", sql!("PARALLEL {}", parallel.word()));
        add(*cost != other.cost, "cost", sql!("COST {}", *cost));
        add(*rows != other.rows, "rows", sql!("ROWS {}", *rows));
        if let Some(support) = support.as_ref().filter(|_| *support != other.support) {
            add(true, "support", sql!("SUPPORT {}", support));
        }
        for (name, value) in settings.iter().filter(|(name, value)| other.settings.get(*name) != Some(*value)) {
            add(true, "settings", set(name, value));
        }
        for name in other.settings.keys().filter(|name| !settings.contains_key(*name)) {
            add(true, "settings", sql!("RESET {}", Ident(name)));
        }
        attributes
    }

    /// Refuses attributes that this sort of routine does not have.
    fn check_attributes(&self, attributes: &[(&'static str, Sql)], making: bool, alter: &mut Alter) {
        let own = |field: &str| match self.routine {
            Routine::Function | Routine::Window => true,
            Routine::Procedure => field == "security" || field == "settings",
            Routine::Aggregate => making && field == "parallel",
        };
        if let Some((field, _)) = attributes.iter().find(|(field, _)| !own(field)) {
            let what = format!("{field} of {} {}", self.routine.word().to_lowercase(), self.key());
            alter.refuse(Error::unsupported(what, "a function"));
        }
    }

    /// The statement that gives it another definition, if it is to have one. It sets every attribute anew.
    fn redefine(&self, wanted: &Self, alter: &mut Alter, server: &ServerVersion) -> bool {
        let Some((old, new)) = definitions(self, wanted).filter(|(old, new)| old != new) else { return false };
        if old.arguments != new.arguments {
            let what = format!("other arguments of {}", self.key());
            alter.refuse(Error::unsupported(what, "that it is dropped and made anew"));
        }
        needs(new, alter, server);
        let fields = REPLACED.map(Field::from).to_vec();
        alter.statement_about(fields, wanted.made_by("CREATE OR REPLACE", &self.qualified(), new));
        true
    }

    fn qualified(&self) -> Name {
        Name::new(&self.schema, &self.name)
    }
}

/// What is said of a routine that comes with its type, and goes with it.
const OF_A_TYPE: &str = "type";

/// What `CREATE OR REPLACE` sets anew, whether it is given or not.
const REPLACED: [&str; 10] =
    ["definition", "volatility", "strict", "leakproof", "security", "parallel", "cost", "rows", "support", "settings"];

/// Refuses a definition that the server is too old for.
fn needs(definition: &ProcedureDefinition, alter: &mut Alter, server: &ServerVersion) {
    if matches!(definition.body, Body::Standard(_)) {
        alter.needs(14, "a routine with a body in standard SQL", server);
    }
}

impl Cluster {
    /// The routines of the current database: functions, procedures, aggregates and window functions.
    pub fn procedures(&self) -> Procedures {
        Procedures(Collection::new(self))
    }
}

impl Object<Procedure> {
    /// Drops the routine and what depends on it.
    ///
    /// # Errors
    /// As for [`drop`](Object::drop).
    pub fn drop_cascade(self) -> Result<()> {
        self.drop_with(DropBehavior::Cascade)
    }
}

fields! { Procedure { schema, name, owner, volatility, strict, leakproof, security, parallel, cost, rows, support, settings, comment } but routine, arguments, identity, oid, uncovered, definition }

impl Sealed for Procedure {}
impl Defined for Procedure {}

impl Kind for Procedure {
    type Key = Signature;
    type Definition = ProcedureDefinition;
    const KIND: &'static str = "routine";

    fn query(which: Which<'_, Signature>, _: &ServerVersion) -> Sql {
        sql!(
            "SELECT p.oid::text, n.nspname AS schema, p.proname AS name, pg_catalog.pg_get_userbyid(p.proowner) AS owner, \
             p.provolatile::text, p.proisstrict::text, p.proleakproof::text, p.prosecdef::text, p.proparallel::text, \
             p.procost::text, p.prorows::text, sn.nspname AS support_schema, s.proname AS support, \
             p.proconfig::text AS settings, d.description AS comment, p.prokind::text, \
             ARRAY(SELECT pg_catalog.format_type(t.type, NULL) FROM pg_catalog.unnest(p.proargtypes) \
             WITH ORDINALITY t(type, position) ORDER BY t.position)::text AS arguments, \
             pg_catalog.pg_get_function_identity_arguments(p.oid) AS identity, (ARRAY(\
             SELECT 'privileges' WHERE p.proacl IS NOT NULL UNION ALL \
             SELECT CASE x.deptype WHEN 'e' THEN 'extension' WHEN 'x' THEN 'dependence on an extension' ELSE 'type' END \
             FROM pg_catalog.pg_depend x WHERE x.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass \
             AND x.objid = p.oid AND x.deptype IN ('e', 'x', 'i') UNION ALL \
             SELECT 'security label' FROM pg_catalog.pg_seclabel l WHERE l.objoid = p.oid \
             AND l.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass))::text AS uncovered \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             LEFT JOIN pg_catalog.pg_proc s ON s.oid = p.prosupport \
             LEFT JOIN pg_catalog.pg_namespace sn ON sn.oid = s.pronamespace \
             LEFT JOIN pg_catalog.pg_description d ON d.objoid = p.oid AND d.objsubid = 0 \
             AND d.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass WHERE {}",
            filter(which)
        )
    }

    fn read(row: &Row) -> Result<Self> {
        let support = row.optional("support_schema")?.zip(row.optional("support")?);
        Ok(Self {
            schema: row.text("schema")?,
            name: row.text("name")?,
            owner: row.text("owner")?,
            volatility: Volatility::read(&row.text("provolatile")?),
            strict: row.truth("proisstrict")?,
            leakproof: row.truth("proleakproof")?,
            security: if row.truth("prosecdef")? { Security::Definer } else { Security::Invoker },
            parallel: Parallel::read(&row.text("proparallel")?),
            cost: row.number("procost")?,
            rows: row.number("prorows")?,
            support: support.map(Name::from),
            settings: read_options(row.list("settings")?),
            comment: row.optional("comment")?,
            routine: Routine::read(&row.text("prokind")?),
            arguments: row.list("arguments")?.into_iter().map(DataType::from).collect(),
            identity: Some(Sql::trusted(row.optional("identity")?.unwrap_or_default())),
            oid: row.number("oid")?,
            uncovered: row.list("uncovered")?,
            definition: Known::default(),
        })
    }

    fn key(&self) -> Signature {
        Signature::new(self.qualified(), self.arguments.iter().map(ToString::to_string))
    }

    fn oid(&self) -> u32 {
        self.oid
    }

    fn is_system(&self) -> bool {
        is_system_schema(&self.schema) || self.uncovered.iter().any(|what| what == OF_A_TYPE)
    }

    fn uncovered(&self) -> Vec<String> {
        self.uncovered.clone()
    }

    fn definition_cell(&self) -> Option<&Known<ProcedureDefinition>> {
        Some(&self.definition)
    }

    fn definition_cell_mut(&mut self) -> Option<&mut Known<ProcedureDefinition>> {
        Some(&mut self.definition)
    }

    fn to_create(&self, server: &ServerVersion) -> Script {
        let mut alter = Alter::new(self.routine.alter(), self.called(&self.qualified()), " ");
        let Some(definition) = self.definition() else {
            alter.refuse(Error::invalid(
                format!("new routine {}", self.key()),
                "what it does is not known: name the types of its arguments, in parentheses; a copy of one \
                 on a server needs Object::definition to be called first",
            ));
            return alter.finish();
        };
        needs(definition, &mut alter, server);
        self.check_attributes(&self.attributes_unlike(&self.plain(definition)), true, &mut alter);
        alter.statement("itself", self.made_by("CREATE", &self.qualified(), definition));
        if !self.owner.is_empty() {
            alter.owner("", &self.owner);
        }
        alter.comment(self.routine.comment(), &None, &self.comment);
        alter.finish()
    }

    fn to_alter(&self, wanted: &Self, server: &ServerVersion) -> Script {
        let Self {
            schema,
            name,
            owner,
            support,
            comment,
            // `attributes_unlike`
            volatility: _,
            strict: _,
            leakproof: _,
            security: _,
            parallel: _,
            cost: _,
            rows: _,
            settings: _,
            // `redefine`
            definition: _,
            routine: _,
            arguments: _,
            identity: _,
            oid: _,
            uncovered: _,
        } = wanted;
        let mut alter = Alter::new(self.routine.alter(), self.called(&self.qualified()), " ");
        let redefined = self.redefine(wanted, &mut alter, server);
        let attributes = wanted.attributes_unlike(self);
        self.check_attributes(&attributes, redefined, &mut alter);
        if !redefined {
            attributes.into_iter().for_each(|(field, words)| alter.clause(field, words));
            if support.is_none() && self.support.is_some() {
                let what = format!("taking the support function from {}", self.key());
                alter.refuse(Error::unsupported(what, "another definition with it"));
            }
        }
        alter.owner(&self.owner, owner);
        alter.comment(self.routine.comment(), &self.comment, comment);
        if *schema != self.schema {
            alter.single("schema", sql!("SET SCHEMA {}", Ident(schema)));
        }
        if *name != self.name {
            let moved = self.called(&Name::new(schema, &self.name));
            alter.statement("name", sql!("{} {} RENAME TO {}", self.routine.alter(), moved, Ident(name)));
        }
        alter.finish()
    }

    fn to_drop(&self, behavior: DropBehavior, _: &ServerVersion) -> Script {
        sql!("DROP {} {}{}", self.routine.word(), self.called(&self.qualified()), behavior.clause()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> ServerVersion {
        ServerVersion::parse(text).unwrap()
    }

    fn create(routine: &Procedure) -> String {
        let script = routine.to_create(&version("15.3"));
        script.check().unwrap();
        script.to_string()
    }

    #[test]
    fn p041_every_sort_is_made_and_dropped_by_its_own_word() {
        let mut f = Procedure::function("app.f(int, \"My.Type\"[])", sql!("SETOF integer"), "sql", "SELECT '$body$'");
        f.volatility = Volatility::Stable;
        (f.strict, f.leakproof, f.security, f.parallel) = (true, true, Security::Definer, Parallel::Safe);
        (f.cost, f.rows, f.support) = (0.5, 7.0, Some("app.s".into()));
        f.settings =
            BTreeMap::from([("search_path".into(), "app, \"We,ird\", \"\"".into()), ("my.own".into(), "a, b".into())]);
        f.owner = "o".into();
        f.comment = Some("it's".into());
        assert_eq!(
            create(&f),
            "CREATE FUNCTION \"app\".\"f\"(integer, \"My.Type\"[]) RETURNS SETOF integer LANGUAGE \"sql\" STABLE STRICT LEAKPROOF \
             SECURITY DEFINER PARALLEL SAFE COST 0.5 ROWS 7 SUPPORT \"app\".\"s\" SET \"my.own\" TO 'a, b' \
             SET \"search_path\" TO 'app', 'We,ird', '' AS $bodyx$SELECT '$body$'$bodyx$;\n\
             ALTER FUNCTION \"app\".\"f\"(integer, \"My.Type\"[]) OWNER TO \"o\";\n\
             COMMENT ON FUNCTION \"app\".\"f\"(integer, \"My.Type\"[]) IS 'it''s';\n"
        );
        let p = Procedure::new("app.p()", "plpgsql", "BEGIN END");
        assert_eq!(create(&p), "CREATE PROCEDURE \"app\".\"p\"() LANGUAGE \"plpgsql\" AS $body$BEGIN END$body$;\n");
        let mut a = Procedure::aggregate("app.a(*)", sql!("SFUNC = int8inc, STYPE = bigint"));
        a.parallel = Parallel::Safe;
        assert_eq!(
            create(&a),
            "CREATE AGGREGATE \"app\".\"a\"(*) (SFUNC = int8inc, STYPE = bigint, PARALLEL = SAFE);\n"
        );
        let w = Procedure::window("app.w()", sql!("bigint"), "internal", "window_row_number");
        assert!(create(&w).contains("LANGUAGE \"internal\" WINDOW AS $body$window_row_number$body$"));
        let dropped = |routine: &Procedure| routine.to_drop(DropBehavior::Cascade, &version("15.3")).to_string();
        assert_eq!(dropped(&p), "DROP PROCEDURE \"app\".\"p\"() CASCADE;\n");
        assert_eq!(dropped(&a), "DROP AGGREGATE \"app\".\"a\"(*) CASCADE;\n");
        assert_eq!(dropped(&w), "DROP FUNCTION \"app\".\"w\"() CASCADE;\n");
    }

    #[test]
    fn p041_schema_and_name_change_and_the_arguments_stay() {
        let old = Procedure::function("app.f(int)", sql!("integer"), "sql", "SELECT 1");
        let mut new = old.clone();
        (new.schema, new.name, new.cost) = ("we.ird".into(), "g".into(), 5.0);
        new.settings.insert("work_mem".into(), "1MB".into());
        assert_eq!(
            old.to_alter(&new, &version("15.3")).to_string(),
            "ALTER FUNCTION \"app\".\"f\"(integer) COST 5 SET \"work_mem\" TO '1MB';\n\
             ALTER FUNCTION \"app\".\"f\"(integer) SET SCHEMA \"we.ird\";\n\
             ALTER FUNCTION \"we.ird\".\"f\"(integer) RENAME TO \"g\";\n"
        );
        assert_eq!(
            new.to_alter(&Procedure { settings: BTreeMap::new(), ..new.clone() }, &version("15.3")).to_string(),
            "ALTER FUNCTION \"we.ird\".\"g\"(integer) RESET \"work_mem\";\n"
        );
    }

    #[test]
    fn another_body_sets_all_that_the_statement_sets() {
        let mut old = Procedure::function("app.f()", sql!("integer"), "sql", "SELECT 1");
        old.strict = true;
        let mut new = old.clone();
        new.definition_mut().body = Body::Text("SELECT 2".into());
        new.volatility = Volatility::Stable;
        let script = old.to_alter(&new, &version("15.3"));
        assert_eq!(
            script.to_string(),
            "CREATE OR REPLACE FUNCTION \"app\".\"f\"() RETURNS integer LANGUAGE \"sql\" STABLE STRICT \
             AS $body$SELECT 2$body$;\n"
        );
        assert!(REPLACED.iter().all(|field| script.fields().any(|changed| changed == field)));
        new.definition_mut().arguments = sql!("a integer");
        assert!(matches!(old.to_alter(&new, &version("15.3")).check(), Err(Error::Unsupported { .. })));
    }

    #[test]
    fn what_a_routine_cannot_have_is_refused() {
        let refused = |routine: &Procedure| routine.to_create(&version("13.0")).check().is_err();
        let procedure = Procedure::new("p()", "sql", "");
        assert!(!refused(&procedure) && refused(&Procedure { strict: true, ..procedure.clone() }));
        assert!(!refused(&Procedure { security: Security::Definer, ..procedure.clone() }));
        let aggregate = Procedure::aggregate("a(int)", sql!("SFUNC = x, STYPE = y"));
        assert!(refused(&Procedure { cost: 3.0, ..aggregate.clone() }));
        let parallel = Procedure { parallel: Parallel::Safe, ..aggregate.clone() };
        assert!(!refused(&parallel) && aggregate.to_alter(&parallel, &version("15.3")).check().is_err());
        assert!(refused(&Procedure::new("p", "sql", "")));
        assert!(refused(&Procedure::new("p(int); DROP TABLE t", "sql", "")));
        assert!(refused(&Procedure::new("p(a b)", "sql", "")));
        let mut standard = Procedure::function("f()", sql!("integer"), "sql", "");
        standard.definition_mut().body = Body::Standard(sql!("RETURN 1"));
        assert!(refused(&standard) && standard.to_create(&version("14.1")).check().is_ok());
    }
}
