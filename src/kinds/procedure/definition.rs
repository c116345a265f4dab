//! What a routine does: its text, and what goes with it.
use crate::error::{Error, Result};
use crate::kind::Definition;
use crate::parts::DataType;
use crate::row::Row;
use crate::sql::{Ident, Lit, Sql};
use crate::version::ServerVersion;
use std::collections::BTreeMap;

/// What a routine does, and how it is called.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ProcedureDefinition {
    /// The arguments as `CREATE FUNCTION` takes them, with modes, names and defaults:
    /// `a integer, b text DEFAULT 'x'::text`. Empty for a new routine: the types of its signature.
    /// Those of a routine that exists cannot be changed.
    pub arguments: Sql,
    /// What it returns: `integer`, `SETOF app.orders`, `TABLE(a integer)`; none for a procedure or an aggregate.
    pub returns: Option<Sql>,
    /// The language as the catalogue has it: `sql`, `plpgsql`, `c`; empty for an aggregate.
    pub language: String,
    /// The types that the language's transforms are used for.
    pub transforms: Vec<DataType>,
    /// What it does.
    pub body: Body,
}

/// What a routine does.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// A text in its language; of `internal` the name of the function in the server.
    Text(String),
    /// A function in a library of the server's.
    Library {
        /// The library: `$libdir/pgcrypto`.
        file: String,
        /// The function in it.
        symbol: String,
    },
    /// `RETURN expression` or `BEGIN ATOMIC ... END`, parsed when it is made. PostgreSQL 14.
    Standard(Sql),
    /// What stands in the last parentheses of `CREATE AGGREGATE`, but for `PARALLEL`: `SFUNC = int4pl, STYPE = integer`.
    Aggregate(Sql),
}

impl Default for Body {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

impl Body {
    /// The end of `CREATE FUNCTION`.
    pub(super) fn clause(&self) -> Sql {
        match self {
            Self::Text(text) => sql!("AS {}", dollar_quoted(text)),
            Self::Library { file, symbol } => sql!("AS {}, {}", Lit(file), Lit(symbol)),
            Self::Standard(body) | Self::Aggregate(body) => body.clone(),
        }
    }

    fn read(row: &Row) -> Result<Self> {
        let (aggregate, standard) = (row.optional("aggregate")?, row.optional("standard")?);
        let (file, source) = (row.optional("library")?, row.text("source")?);
        Ok(match (aggregate, standard, file) {
            (Some(options), ..) => Self::Aggregate(Sql::trusted(options)),
            (_, Some(body), _) => Self::Standard(Sql::trusted(body)),
            (_, _, Some(file)) => Self::Library { file, symbol: source },
            _ => Self::Text(source),
        })
    }
}

/// A text between `$body$` and `$body$`, readable as it is: with a tag that is not in it.
fn dollar_quoted(text: &str) -> Sql {
    // Without its last `$`: a text that ends in `$body` would end the quotes too early.
    let mut tag = String::from("$body");
    while text.contains(&tag) {
        tag.push('x');
    }
    Sql::trusted(format!("{tag}${text}{tag}$"))
}

impl ProcedureDefinition {
    /// `TRANSFORM FOR TYPE ...`
    pub(super) fn transform_clause(&self) -> Option<Sql> {
        let each = self.transforms.iter().map(|data_type| sql!("FOR TYPE {}", data_type));
        (!self.transforms.is_empty()).then(|| sql!("TRANSFORM {}", Sql::join(each, ", ")))
    }

    /// `LANGUAGE ...`
    pub(super) fn language_clause(&self) -> Sql {
        sql!("LANGUAGE {}", Ident(&self.language))
    }
}

/// The options of `CREATE AGGREGATE` that differ from its defaults, of the row `a` of `pg_aggregate`.
const AGGREGATE: &str = "pg_catalog.concat_ws(', ', \
    'SFUNC = ' || a.aggtransfn::pg_catalog.regproc::text, \
    'STYPE = ' || pg_catalog.format_type(a.aggtranstype, NULL), \
    CASE WHEN a.aggtransspace <> 0 THEN 'SSPACE = ' || a.aggtransspace END, \
    CASE WHEN a.aggfinalfn::pg_catalog.oid <> 0 THEN 'FINALFUNC = ' || a.aggfinalfn::pg_catalog.regproc::text END, \
    CASE WHEN a.aggfinalextra THEN 'FINALFUNC_EXTRA' END, \
    CASE WHEN a.aggfinalfn::pg_catalog.oid <> 0 THEN 'FINALFUNC_MODIFY = ' || CASE a.aggfinalmodify \
    WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END, \
    CASE WHEN a.aggcombinefn::pg_catalog.oid <> 0 THEN 'COMBINEFUNC = ' || a.aggcombinefn::pg_catalog.regproc::text END, \
    CASE WHEN a.aggserialfn::pg_catalog.oid <> 0 THEN 'SERIALFUNC = ' || a.aggserialfn::pg_catalog.regproc::text END, \
    CASE WHEN a.aggdeserialfn::pg_catalog.oid <> 0 THEN 'DESERIALFUNC = ' || a.aggdeserialfn::pg_catalog.regproc::text END, \
    'INITCOND = ' || pg_catalog.quote_literal(a.agginitval), \
    CASE WHEN a.aggmtransfn::pg_catalog.oid <> 0 THEN 'MSFUNC = ' || a.aggmtransfn::pg_catalog.regproc::text END, \
    CASE WHEN a.aggminvtransfn::pg_catalog.oid <> 0 THEN 'MINVFUNC = ' || a.aggminvtransfn::pg_catalog.regproc::text END, \
    CASE WHEN a.aggmtranstype <> 0 THEN 'MSTYPE = ' || pg_catalog.format_type(a.aggmtranstype, NULL) END, \
    CASE WHEN a.aggmtransspace <> 0 THEN 'MSSPACE = ' || a.aggmtransspace END, \
    CASE WHEN a.aggmfinalfn::pg_catalog.oid <> 0 THEN 'MFINALFUNC = ' || a.aggmfinalfn::pg_catalog.regproc::text END, \
    CASE WHEN a.aggmfinalextra THEN 'MFINALFUNC_EXTRA' END, \
    CASE WHEN a.aggmfinalfn::pg_catalog.oid <> 0 THEN 'MFINALFUNC_MODIFY = ' || CASE a.aggmfinalmodify \
    WHEN 'r' THEN 'READ_ONLY' WHEN 's' THEN 'SHAREABLE' ELSE 'READ_WRITE' END END, \
    'MINITCOND = ' || pg_catalog.quote_literal(a.aggminitval), \
    (SELECT pg_catalog.concat('SORTOP = OPERATOR(', pg_catalog.quote_ident(n.nspname), '.', o.oprname, ')') \
    FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace WHERE o.oid = a.aggsortop), \
    CASE WHEN a.aggkind = 'h' THEN 'HYPOTHETICAL' END)";

impl Definition for ProcedureDefinition {
    fn queries(routine: Option<u32>, server: &ServerVersion) -> Vec<Sql> {
        let only = match routine {
            Some(oid) => sql!("p.oid = {}", oid),
            None => sql!("true"),
        };
        let standard = if server.at_least(14) { "pg_catalog.pg_get_function_sqlbody(p.oid)" } else { "NULL::text" };
        vec![sql!(
            "SELECT p.oid::text AS object, pg_catalog.pg_get_function_arguments(p.oid) AS arguments, \
             CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_function_result(p.oid) END AS returns, \
             CASE WHEN p.prokind <> 'a' THEN l.lanname END AS language, p.prosrc AS source, \
             p.probin AS library, {} AS standard, \
             ARRAY(SELECT pg_catalog.format_type(t.type, NULL) FROM pg_catalog.unnest(p.protrftypes) \
             WITH ORDINALITY t(type, position) ORDER BY t.position)::text AS transforms, \
             CASE WHEN p.prokind = 'a' THEN {} END AS aggregate \
             FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang \
             LEFT JOIN pg_catalog.pg_aggregate a ON a.aggfnoid = p.oid WHERE {}",
            standard,
            AGGREGATE,
            only
        )]
    }

    fn read(answers: &[Vec<Row>]) -> Result<BTreeMap<u32, Self>> {
        let [rows] = answers else {
            return Err(Error::invalid("answer of the server", "it is not as many results as there were queries"));
        };
        let one = |row: &Row| {
            let definition = Self {
                arguments: Sql::trusted(row.optional("arguments")?.unwrap_or_default()),
                returns: row.optional("returns")?.map(Sql::trusted),
                language: row.optional("language")?.unwrap_or_default(),
                transforms: row.list("transforms")?.into_iter().map(DataType::from).collect(),
                body: Body::read(row)?,
            };
            Ok((row.number("object")?, definition))
        };
        rows.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_quotes() {
        for (text, quoted) in [
            ("SELECT 1", "$body$SELECT 1$body$"),
            ("it's $$ \\ $1", "$body$it's $$ \\ $1$body$"),
            ("$body$; DROP TABLE t; $body$", "$bodyx$$body$; DROP TABLE t; $body$$bodyx$"),
            ("x$body", "$bodyx$x$body$bodyx$"),
            ("$bodyx", "$bodyxx$$bodyx$bodyxx$"),
            ("x$", "$body$x$$body$"),
        ] {
            assert_eq!(dollar_quoted(text).to_string(), quoted);
        }
        assert!(dollar_quoted("\0").check().is_err());
    }
}
