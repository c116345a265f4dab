//! Settings that a database, a role or a routine brings along, as SQL.
use crate::sql::{Ident, Lit, Sql};

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
pub(crate) fn set(name: &str, value: &str) -> Sql {
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
pub(crate) fn elements(list: &str) -> Option<Vec<String>> {
    Some(quoted_elements(list)?.into_iter().map(|(element, _)| element).collect())
}

/// As [`elements`], each with whether it stands in quotes.
pub(crate) fn quoted_elements(list: &str) -> Option<Vec<(String, bool)>> {
    let mut elements = Vec::new();
    let mut chars = list.trim().chars().peekable();
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        let mut element = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        if quoted {
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
        elements.push((element, quoted));
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
