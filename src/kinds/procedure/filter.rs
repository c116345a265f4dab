//! Which routines are asked for, as a condition.
use crate::kind::{Which, one_of};
use crate::name::Name;
use crate::parts::DataType;
use crate::signature::{Signature, outside_quotes};
use crate::sql::{Lit, Sql};

/// Narrows a query over `pg_proc p` and `pg_namespace n` to what was asked for.
pub(super) fn filter(which: Which<'_, Signature>) -> Sql {
    let named = |name: &Name| sql!("n.nspname = {} AND p.proname = {}", Lit(&name.schema), Lit(&name.name));
    match which {
        Which::All => sql!(
            "n.nspname NOT IN ('pg_catalog', 'information_schema') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend i \
             WHERE i.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND i.objid = p.oid AND i.deptype = 'i')"
        ),
        Which::WithSystem => sql!("true"),
        Which::Oids(oids) => one_of("p.oid", oids),
        Which::Key(signature) => match signature.arguments() {
            None => named(signature.name()),
            Some(types) => {
                let types = [sql!("''")].into_iter().chain(types.iter().map(type_number));
                sql!(
                    "{} AND p.proargtypes::text = pg_catalog.btrim(pg_catalog.concat_ws(' ', {}))",
                    named(signature.name()),
                    Sql::join(types, ", ")
                )
            }
        },
    }
}

/// The OID of a type as a text, whatever its name; `-`, which no routine takes, if there is none.
fn type_number(data_type: &DataType) -> Sql {
    let text = data_type.to_string();
    let mut names = vec![sql!("pg_catalog.to_regtype({})::pg_catalog.oid::text", Lit(&text))];
    if !outside_quotes(&text).any(|(_, c)| matches!(c, '.' | ' ')) {
        names.push(sql!("pg_catalog.to_regtype({})::pg_catalog.oid::text", Lit(&format!("public.{text}"))));
    }
    sql!("COALESCE({}, '-')", Sql::join(names, ", "))
}
