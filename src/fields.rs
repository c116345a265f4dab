//! The fields of an object by their names, with values as text: for programs that learn both from a person.
use crate::error::{Error, Result};
use crate::kind::Kind;
use crate::name::identifiers;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;

/// Kinds whose fields can be read and set by name.
///
/// ```
/// use pgsteward::{Fields, FieldValue, Role};
/// let mut role = Role::new("app");
/// role.set_field("connection_limit", "20")?;
/// assert_eq!(role.connection_limit, 20);
/// assert!(role.fields().contains(&("connection_limit", FieldValue::Number(20))));
/// # Ok::<(), pgsteward::Error>(())
/// ```
pub trait Fields: Kind {
    /// The names of the fields, in the order of their declaration.
    const NAMES: &'static [&'static str];
    /// The fields with their values.
    fn fields(&self) -> Vec<(&'static str, FieldValue)>;
    /// Sets a field to what a text says: `true` and `false`; numbers; the words of an enum as SQL has them; nothing for
    /// none; `a=1, b=2` for a map, a single entry of which is `options.fillfactor`; `a, b` for a set.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a field that there is not, and for a text that is no value of it; it says what is.
    fn set_field(&mut self, name: &str, text: &str) -> Result<()>;
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FieldValue {
    /// None.
    None,
    /// True or false.
    Truth(bool),
    /// A number.
    Number(i64),
    /// A text, a word of an enum, a number with a fraction.
    Text(String),
    /// A set.
    List(Vec<String>),
    /// A map.
    Map(BTreeMap<String, String>),
}

/// A type that a field can have.
pub(crate) trait FieldType: Sized {
    fn to_value(&self) -> FieldValue;
    /// The value that a text says; or what was expected.
    fn of_text(text: &str) -> Result<Self, String>;
    /// Sets the part of that name, where it has parts.
    fn set_part(&mut self, part: &str, _text: &str) -> Result<(), String> {
        Err(format!("it has no part {part:?}"))
    }
}

/// Implements [`Fields`] for a struct, in the file that has it: a field that is forgotten does not compile.
macro_rules! fields {
    ($kind:ident { $($field:ident),* $(,)? } but $($rest:ident),* $(,)?) => {
        impl $crate::fields::Fields for $kind {
            const NAMES: &'static [&'static str] = &[$(stringify!($field)),*];

            fn fields(&self) -> Vec<(&'static str, $crate::fields::FieldValue)> {
                let Self { $($field,)* $($rest: _,)* } = self;
                vec![$((stringify!($field), $crate::fields::FieldType::to_value($field))),*]
            }

            fn set_field(&mut self, name: &str, text: &str) -> $crate::error::Result<()> {
                let (field, part) = name.split_once('.').map_or((name, None), |(field, part)| (field, Some(part)));
                match field {
                    $(stringify!($field) => $crate::fields::set(&mut self.$field, name, part, text),)*
                    _ => Err($crate::fields::unknown::<Self>(name)),
                }
            }
        }
    };
}

/// Gives the words of an enum without data: how they print, and how they are read.
macro_rules! words {
    ($kind:ident { $($variant:ident = $word:literal),* $(,)? }) => {
        /// As SQL has it, in small letters.
        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(match self { $(Self::$variant => $word),* })
            }
        }

        impl $crate::fields::FieldType for $kind {
            fn to_value(&self) -> $crate::fields::FieldValue {
                $crate::fields::FieldValue::Text(self.to_string())
            }

            fn of_text(text: &str) -> Result<Self, String> {
                match text.to_lowercase().as_str() {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(format!("one of {}", [$($word),*].join(", "))),
                }
            }
        }
    };
}

pub(crate) fn set<T: FieldType>(field: &mut T, name: &str, part: Option<&str>, text: &str) -> Result<()> {
    let done = match part {
        Some(part) => field.set_part(part, text),
        None => T::of_text(text).map(|value| *field = value).map_err(|expected| format!("{expected} was expected")),
    };
    done.map_err(|why| Error::invalid(format!("value {text:?} of field {name}"), why))
}

pub(crate) fn unknown<T: Fields>(name: &str) -> Error {
    Error::invalid(format!("field {name:?} of a {}", T::KIND), format!("its fields are {}", T::NAMES.join(", ")))
}

/// A text without the blanks around it, as what else prints so.
pub(crate) fn parsed<T: FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| expected.to_owned())
}

impl FieldType for String {
    fn to_value(&self) -> FieldValue {
        FieldValue::Text(self.clone())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl FieldType for bool {
    fn to_value(&self) -> FieldValue {
        FieldValue::Truth(*self)
    }

    fn of_text(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "true" | "on" | "yes" => Ok(true),
            "false" | "off" | "no" => Ok(false),
            _ => Err("true or false".into()),
        }
    }
}

macro_rules! whole_numbers {
    ($($number:ty)*) => { $(
        impl FieldType for $number {
            fn to_value(&self) -> FieldValue {
                FieldValue::Number((*self).into())
            }

            fn of_text(text: &str) -> Result<Self, String> {
                parsed(text, "a whole number")
            }
        }
    )* };
}
whole_numbers!(i32 i64);

impl FieldType for f32 {
    fn to_value(&self) -> FieldValue {
        FieldValue::Text(self.to_string())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        parsed(text, "a number")
    }
}

/// Nothing stands for none.
impl<T: FieldType> FieldType for Option<T> {
    fn to_value(&self) -> FieldValue {
        self.as_ref().map_or(FieldValue::None, FieldType::to_value)
    }

    fn of_text(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::of_text(text).map(Some) }
    }
}

impl FieldType for BTreeSet<String> {
    fn to_value(&self) -> FieldValue {
        FieldValue::List(self.iter().cloned().collect())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        Ok(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    }
}

impl FieldType for BTreeMap<String, String> {
    fn to_value(&self) -> FieldValue {
        FieldValue::Map(self.clone())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').ok_or_else(|| "name=value, name=value".to_owned())?;
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        };
        pairs.map(pair).collect()
    }

    /// An entry; an empty value takes it out.
    fn set_part(&mut self, part: &str, text: &str) -> Result<(), String> {
        match text {
            "" => drop(self.remove(part)),
            value => drop(self.insert(part.to_owned(), value.to_owned())),
        }
        Ok(())
    }
}

/// A type that prints as a text that it is read from.
macro_rules! printed {
    ($($kind:ty: $read:expr;)*) => { $(
        impl FieldType for $kind {
            fn to_value(&self) -> FieldValue {
                text_of(self)
            }

            fn of_text(text: &str) -> Result<Self, String> {
                $read(text)
            }
        }
    )* };
}

fn text_of(value: &impl Display) -> FieldValue {
    FieldValue::Text(value.to_string())
}

printed! {
    crate::Name: |text: &str| crate::Name::parse(text).map_err(|error| error.to_string());
    crate::ValidUntil: |text: &str| Ok::<_, String>(crate::ValidUntil::read(text.to_owned()));
    crate::OwningColumn: |text: &str| match identifiers(text).as_deref() {
        Some([schema, table, column]) => Ok(crate::OwningColumn::new((schema.as_str(), table.as_str()), column)),
        Some([table, column]) => Ok(crate::OwningColumn::new(("public", table.as_str()), column)),
        _ => Err("schema.table.column".to_owned()),
    };
    crate::ReplicaIdentity: |text: &str| match text.split_once(' ') {
        None if text == "default" => Ok(crate::ReplicaIdentity::Default),
        None if text == "full" => Ok(crate::ReplicaIdentity::Full),
        None if text == "nothing" => Ok(crate::ReplicaIdentity::Nothing),
        Some(("index", name)) => Ok(crate::ReplicaIdentity::Index(name.to_owned())),
        _ => Err("one of default, full, nothing, index NAME".to_owned()),
    };
    crate::SlotSort: |text: &str| match text.split_once(' ') {
        None if text == "physical" => Ok(crate::SlotSort::Physical),
        Some(("logical", plugin)) => Ok(crate::SlotSort::Logical { plugin: plugin.to_owned() }),
        _ => Err("one of physical, logical PLUGIN".to_owned()),
    };
}

/// `PUBLIC` and the names of roles, with double quotes around those that need them.
impl FieldType for crate::ConnectAccess {
    fn to_value(&self) -> FieldValue {
        let public = self.public.then(|| "PUBLIC".to_owned());
        let role = |name: &String| match crate::setting::quoted_elements(name).as_deref() {
            Some([(same, false)]) if same == name && name != "PUBLIC" => name.clone(),
            _ => format!("\"{}\"", name.replace('"', "\"\"")),
        };
        FieldValue::List(public.into_iter().chain(self.roles.iter().map(role)).collect())
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let names = crate::setting::quoted_elements(text);
        let mut names = names.ok_or_else(|| "PUBLIC, role, \"another role\"".to_owned())?;
        names.retain(|(name, _)| !name.is_empty());
        let (public, roles): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|(name, quoted)| name == "PUBLIC" && !quoted);
        Ok(Self { public: !public.is_empty(), roles: roles.into_iter().map(|(name, _)| name).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Database, Procedure, ReplicationSlot, Role, Sequence, Table};

    fn printed(value: &FieldValue) -> String {
        match value {
            FieldValue::None => String::new(),
            FieldValue::Truth(truth) => truth.to_string(),
            FieldValue::Number(number) => number.to_string(),
            FieldValue::Text(text) => text.clone(),
            FieldValue::List(list) => list.join(", "),
            FieldValue::Map(map) => map.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(", "),
        }
    }

    fn set_all<T: Fields>(start: &T, texts: &[(&str, &str)]) -> T {
        let mut value = start.clone();
        for (name, text) in texts {
            value.set_field(name, text).unwrap();
            let fields = value.fields();
            let (_, now) = fields.iter().find(|(field, _)| field == name).unwrap();
            assert_eq!(printed(now), *text, "{name}");
        }
        assert_eq!(value.fields().iter().map(|(name, _)| *name).collect::<Vec<_>>(), T::NAMES);
        value
    }

    #[test]
    fn what_a_field_is_set_to_is_read_back_in_the_same_words() {
        let role = set_all(
            &Role::new("a"),
            &[("login", "true"), ("connection_limit", "-1"), ("valid_until", "infinity"), ("comment", "it's")],
        );
        assert!(role.login && role.valid_until.is_some());
        let role = set_all(&role, &[("valid_until", ""), ("comment", ""), ("valid_until", "2030-01-01T00:00:00Z")]);
        assert_eq!(role.comment, None);
        set_all(
            &Sequence::new("s"),
            &[
                ("persistence", "unlogged"),
                ("data_type", "smallint"),
                ("cycle", "wrap"),
                ("owned_by", "app.t.c"),
                ("minimum", "-5"),
            ],
        );
        let table = set_all(
            &Table::new("t"),
            &[
                ("options", "autovacuum_enabled=false, fillfactor=70"),
                ("replica_identity", "index i"),
                ("schema", "we.ird"),
            ],
        );
        assert_eq!(table.options["fillfactor"], "70");
        let routine = Procedure::new("p", "sql", "");
        set_all(&routine, &[("volatility", "stable"), ("security", "definer"), ("parallel", "safe"), ("cost", "0.5")]);
        let slot = ReplicationSlot::physical("s");
        set_all(&slot, &[("sort", "logical pgoutput"), ("sort", "physical"), ("failover", "true")]);
        let database = set_all(
            &Database::new("d"),
            &[
                ("locale_provider", "icu"),
                ("strategy", "file_copy"),
                ("connect_access", "PUBLIC, \"PUBLIC\", \"a \"\"b, c\", d=e"),
                ("connect_access", ""),
            ],
        );
        assert!(!database.connect_access.public);
    }

    #[test]
    fn parts_of_maps_are_set_by_themselves() {
        let mut table = Table::new("t");
        table.set_field("options.fillfactor", "70").unwrap();
        table.set_field("options.toast.autovacuum_enabled", "off").unwrap();
        assert_eq!(table.options.keys().collect::<Vec<_>>(), ["fillfactor", "toast.autovacuum_enabled"]);
        table.set_field("options.fillfactor", "").unwrap();
        assert_eq!(table.options.len(), 1);
    }

    #[test]
    fn what_cannot_be_is_refused_with_what_can() {
        let mut role = Role::new("a");
        for (name, text, words) in [
            ("longin", "true", "connection_limit"),
            ("login", "perhaps", "true or false"),
            ("connection_limit", "many", "a whole number"),
            ("login.x", "true", "no part"),
            ("oid", "1", "its fields are"),
        ] {
            let error = role.set_field(name, text).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
        let error = Sequence::new("s").set_field("persistence", "for ever").unwrap_err().to_string();
        assert!(error.contains("permanent, unlogged, temporary"), "{error}");
        assert_eq!(role, Role::new("a"));
    }
}
