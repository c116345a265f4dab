//! What finds a routine: its name, and the types of its arguments.
use crate::error::{Error, Result};
use crate::kind::Key;
use crate::name::Name;
use crate::parts::{DataType, Spelling, spelling};
use std::fmt;

/// The name of a routine and the types of the arguments that it takes: `app.f(integer, text)`.
///
/// A text is parsed as SQL parses it, `"app.f(integer, text)"`, `app.count(*)`; types may go by any name
/// that the server knows, and those that are neither built in nor given with a schema are in `public`.
/// Arguments that only come out (`OUT`, `TABLE`) do not count; those after `ORDER BY` in an aggregate do.
///
/// A name alone, `"app.f"`, stands for all routines of that name, its variations.
///
/// ```
/// use pgsteward::Signature;
/// let signature = Signature::from("App.f(int, varchar(10)[])");
/// assert_eq!(signature.to_string(), "app.f(integer, character varying[])");
/// assert_eq!(signature, Signature::new(("app", "f"), ["integer", "character varying[]"]));
/// assert!(Signature::from("app.f").arguments().is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature {
    name: Name,
    arguments: Option<Vec<DataType>>,
}

impl Signature {
    /// The name, and the types in order.
    pub fn new<T: Into<String>>(name: impl Into<Name>, arguments: impl IntoIterator<Item = T>) -> Self {
        let types = arguments.into_iter().map(|argument| DataType::from(canonical(&argument.into())));
        Self { name: name.into(), arguments: Some(types.collect()) }
    }

    /// Parses a name, alone or with the types of the arguments in parentheses, as SQL does.
    ///
    /// # Errors
    /// [`Error::Invalid`]
    pub fn parse(text: &str) -> Result<Self> {
        let Some(open) = outside_quotes(text).find(|(_, c)| *c == '(').map(|(position, _)| position) else {
            return Name::parse(text).map(Self::from).map_err(|_| malformed(text));
        };
        let (name, arguments) = text.split_at(open);
        let inside = arguments.trim_end().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let inside = inside.ok_or_else(|| malformed(text))?;
        let signature = Self::new(Name::parse(name).map_err(|_| malformed(text))?, types(inside));
        signature.check()?;
        Ok(signature)
    }

    /// The name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The types of the arguments; none if all routines of the name are meant.
    pub fn arguments(&self) -> Option<&[DataType]> {
        self.arguments.as_deref()
    }
}

/// Why what stands between the parentheses is refused.
const NO_TYPE: &str = "it is not the name of a type as SQL writes it; only the types of the arguments find a routine, \
    f(integer, text): no modes (IN, OUT), no names of arguments, no defaults";

fn malformed(text: &str) -> Error {
    Error::invalid(
        format!("routine {text:?}"),
        "it is neither name nor name(types) as SQL writes them, with or without a schema: app.f(integer, text)",
    )
}

impl Key for Signature {
    fn check(&self) -> Result<()> {
        if self.name.schema.is_empty() && self.arguments.is_none() {
            // A text that is no signature was kept whole: see `From<&str>`.
            Self::parse(&self.name.name)?;
        }
        self.name.check()?;
        self.arguments().unwrap_or_default().iter().try_for_each(|argument| match sql!("{}", argument).check() {
            Ok(()) => Ok(()),
            Err(_) => Err(Error::invalid(format!("argument type {:?} of a routine", argument.to_string()), NO_TYPE)),
        })
    }

    fn finds(&self, other: &Self) -> bool {
        self.name == other.name && (self.arguments.is_none() || self.arguments == other.arguments)
    }

    fn is_loose(&self) -> bool {
        self.arguments.is_some()
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(arguments) = &self.arguments else { return self.name.fmt(f) };
        let arguments: Vec<_> = arguments.iter().map(ToString::to_string).collect();
        write!(f, "{}({})", self.name, arguments.join(", "))
    }
}

/// All variations of that name.
impl From<Name> for Signature {
    fn from(name: Name) -> Self {
        Self { name, arguments: None }
    }
}

/// All variations of that name, its two parts as they stand.
impl<S: Into<String>, N: Into<String>> From<(S, N)> for Signature {
    fn from(name: (S, N)) -> Self {
        Name::from(name).into()
    }
}

/// Parses the text; what is no signature is refused as [`Error::Invalid`] when it is first used.
impl From<&str> for Signature {
    fn from(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| Name::new("", text).into())
    }
}

/// Parses the text, as `From<&str>` does.
impl From<String> for Signature {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

/// Parses the text, as `From<&str>` does.
impl From<&String> for Signature {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<&Signature> for Signature {
    fn from(signature: &Signature) -> Self {
        signature.clone()
    }
}

/// The characters that are not part of a quoted identifier, and where they are.
pub(crate) fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut inside = false;
    text.char_indices().filter(move |(_, c)| {
        let quote = *c == '"';
        inside ^= quote;
        !inside && !quote
    })
}

/// The types between the parentheses of a signature.
fn types(inside: &str) -> Vec<&str> {
    const ORDER_BY: &str = "order by ";
    let inside = inside.trim();
    if inside.is_empty() || inside == "*" {
        return Vec::new();
    }
    let (mut types, mut start, mut depth) = (Vec::new(), 0, 0_i32);
    for (position, c) in outside_quotes(inside) {
        let rest = inside.get(position + 1..).unwrap_or_default();
        let ordered = c == ' ' && without(rest, ORDER_BY).is_some();
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' | ' ' if depth == 0 && (c == ',' || ordered) => {
                types.push(inside.get(start..position).unwrap_or_default());
                start = position + 1;
            }
            _ => {}
        }
    }
    types.push(inside.get(start..).unwrap_or_default());
    let bare = |text| without(text, ORDER_BY).unwrap_or(text);
    types.into_iter().map(|text| bare(text.trim())).map(|text| without(text, "variadic ").unwrap_or(text)).collect()
}

/// The text without a keyword before it.
fn without<'a>(text: &'a str, keyword: &str) -> Option<&'a str> {
    let start = text.get(..keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then(|| text.get(keyword.len()..).unwrap_or_default())
}

/// A type as the server prints that of an argument, as far as that can be told without it: without modifiers,
/// bounds as `[]`.
fn canonical(text: &str) -> String {
    match spelling(text) {
        Some(Spelling { base, bounds, .. }) => base + if bounds { "[]" } else { "" },
        // Not a type: left as it is, to be refused.
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p041_parses_as_sql_does() {
        for (text, printed) in [
            ("f", "public.f"),
            ("app.f()", "app.f()"),
            ("app.count(*)", "app.count()"),
            ("App.F ( INT , text)", "app.f(integer, text)"),
            (r#"app."f(int)"("My.Type"[], app."a,b")"#, r#"app."f(int)"("My.Type"[], app."a,b")"#),
            ("f(text, int)", "public.f(text, integer)"),
            ("f(numeric(10,2), timestamp(3) with time zone)", "public.f(numeric, timestamp with time zone)"),
            ("f(double precision, int[3][], \"char\")", "public.f(double precision, integer[], \"char\")"),
            ("pct(float8 ORDER BY float8)", "public.pct(double precision, double precision)"),
            ("mode(order by anyelement)", "public.mode(anyelement)"),
            ("f(VARIADIC \"any\")", "public.f(\"any\")"),
            ("f(timestamptz)", "public.f(timestamp with time zone)"),
        ] {
            let signature = Signature::parse(text).unwrap();
            assert_eq!(signature.to_string(), printed, "{text}");
            assert_eq!(Signature::parse(printed).unwrap(), signature);
        }
    }

    #[test]
    fn refuses_what_is_no_signature() {
        for text in
            ["", "(int)", "f(", "f)", "f(int", "f(int))", "f(int;)", "f(a b)", "f(,)", "f(int) x", "f(\"a)", "f(1+1)("]
        {
            assert!(Signature::parse(text).is_err(), "{text}");
            assert!(Signature::from(text).check().is_err(), "{text}");
        }
    }

    #[test]
    fn the_refusal_says_what_a_key_is_made_of() {
        for text in ["f(foo bar)", "app.f(int, IN a int)", "f(a int DEFAULT 1)", "f(OUT int)"] {
            let Err(parsed) = Signature::parse(text) else { panic!("{text}") };
            let used = Signature::from(text).check().unwrap_err().to_string();
            assert_eq!(parsed.to_string(), used);
            assert!(used.starts_with("invalid argument type ") && used.contains("no modes (IN, OUT)"), "{used}");
        }
        let made = Signature::new(("app", "f"), ["a int"]).check().unwrap_err().to_string();
        assert!(made.starts_with("invalid argument type \"a int\" of a routine: it is not"), "{made}");
        for text in ["", "f(int", "f(int) x", "a b", "a.b.c(int)"] {
            let used = Signature::from(text).check().unwrap_err().to_string();
            assert!(
                used.starts_with(&format!("invalid routine {text:?}: it is neither name nor name(types)")),
                "{used}"
            );
        }
    }

    #[test]
    fn argument_order_and_number_are_kept_apart() {
        let signatures = ["f", "f()", "f(int)", "f(int, text)", "f(text, int)", "f(\"int\")"].map(Signature::from);
        for (position, one) in signatures.iter().enumerate() {
            assert!(signatures.iter().skip(position + 1).all(|other| other != one));
        }
    }
}
