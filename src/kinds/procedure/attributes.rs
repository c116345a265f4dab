//! What a routine may be like, in the catalogue's letters and in SQL's words.
use crate::sql::{Ident, Lit, Sql};

/// What sort of routine it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routine {
    /// One that is called in an expression.
    Function,
    /// One that is called by `CALL`.
    Procedure,
    /// One that makes one value of many rows.
    Aggregate,
    /// One that looks at the rows around, `OVER` a window.
    Window,
}

/// What a call may do, and whether equal calls give equal results
/// ([Function Volatility Categories](https://www.postgresql.org/docs/current/xfunc-volatility.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatility {
    /// It changes nothing, and gives the same for ever.
    Immutable,
    /// It changes nothing, and gives the same within a statement.
    Stable,
    /// It may do anything.
    Volatile,
}

/// Whose rights a routine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Those of the role that calls it.
    Invoker,
    /// Those of its owner.
    Definer,
}

/// Whether a function may run in a parallel query
/// ([Parallel Safety](https://www.postgresql.org/docs/current/parallel-safety.html)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parallel {
    /// A query with it is not parallel.
    Unsafe,
    /// In the leader only.
    Restricted,
    /// Anywhere.
    Safe,
}

impl Routine {
    pub(super) fn read(code: &str) -> Self {
        match code {
            "p" => Self::Procedure,
            "a" => Self::Aggregate,
            "w" => Self::Window,
            _ => Self::Function,
        }
    }

    /// What SQL calls it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Function | Self::Window => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::Aggregate => "AGGREGATE",
        }
    }

    pub(super) fn alter(self) -> &'static str {
        match self {
            Self::Function | Self::Window => "ALTER FUNCTION",
            Self::Procedure => "ALTER PROCEDURE",
            Self::Aggregate => "ALTER AGGREGATE",
        }
    }

    pub(super) fn comment(self) -> &'static str {
        match self {
            Self::Function | Self::Window => "COMMENT ON FUNCTION",
            Self::Procedure => "COMMENT ON PROCEDURE",
            Self::Aggregate => "COMMENT ON AGGREGATE",
        }
    }
}

impl Volatility {
    pub(super) fn read(code: &str) -> Self {
        match code {
            "i" => Self::Immutable,
            "s" => Self::Stable,
            _ => Self::Volatile,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Immutable => "IMMUTABLE",
            Self::Stable => "STABLE",
            Self::Volatile => "VOLATILE",
        }
    }
}

impl Security {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Invoker => "INVOKER",
            Self::Definer => "DEFINER",
        }
    }
}

impl Parallel {
    pub(super) fn read(code: &str) -> Self {
        match code {
            "s" => Self::Safe,
            "r" => Self::Restricted,
            _ => Self::Unsafe,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unsafe => "UNSAFE",
            Self::Restricted => "RESTRICTED",
            Self::Safe => "SAFE",
        }
    }
}

/// The settings whose values are lists of names; each stands by itself in SQL
/// (`GUC_LIST_QUOTE` in the server's sources, `variable_is_guc_list_quote` in pg_dump's).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// `SET name TO value`
pub(super) fn set(name: &str, value: &str) -> Sql {
    let elements = match LISTS.contains(&name.to_lowercase().as_str()) {
        true => elements(value),
        false => Some(vec![value.to_owned()]),
    };
    let Some(elements) = elements else {
        let mut refused = sql!("");
        refused.refuse(format!("value {value:?} of setting {name}"), "it is no list of names with commas between");
        return refused;
    };
    let values = Sql::join(elements.iter().map(|element| sql!("{}", Lit(element))), ", ");
    sql!("SET {} TO {}", Ident(name), values)
}

/// The elements of a list of names, with quotes around some, as the server keeps it in one text.
/// An empty list is one empty name, as in `SET search_path TO ''`.
fn elements(list: &str) -> Option<Vec<String>> {
    let mut elements = Vec::new();
    let mut chars = list.trim().chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        let mut element = String::new();
        if chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next()? {
                    '"' if chars.next_if_eq(&'"').is_none() => break,
                    other => element.push(other),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|c| !matches!(c, ',' | '"') && !c.is_ascii_whitespace()) {
                element.push(c);
            }
            if element.is_empty() && !list.trim().is_empty() {
                return None;
            }
        }
        elements.push(element);
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        match chars.next() {
            None => return Some(elements),
            Some(',') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::elements;

    #[test]
    fn lists_are_taken_apart_as_the_server_does() {
        for (text, parts) in [
            ("", vec![""]),
            ("\"\"", vec![""]),
            ("a", vec!["a"]),
            ("\"$user\", public", vec!["$user", "public"]),
            ("a ,\"b\"\"c, d\"", vec!["a", "b\"c, d"]),
        ] {
            assert_eq!(elements(text).unwrap(), parts, "{text}");
        }
        for broken in ["a b", "a,", ",a", "\"a", "\"a\"b"] {
            assert_eq!(elements(broken), None, "{broken}");
        }
    }
}
