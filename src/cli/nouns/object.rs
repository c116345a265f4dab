//! The verbs that every kind of object has.
use super::super::context::Context;
use super::super::exit::Failure;
use super::super::output::on_one_line;
use super::super::units::readable;
use super::kinds::{Noun, names, record};
use clap::{Args, Subcommand};
use pgsteward::{Cluster, Collection, Error, Fields, Object};
use regex::Regex;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// All of them, or those whose name matches
    List(ListOptions),
    /// One with all its fields
    Show { name: String },
    /// Make one
    Create(CreateOptions),
    /// Change fields
    Alter(AlterOptions),
    /// Drop one
    Drop {
        name: String,
        /// And what depends on it
        #[arg(long)]
        cascade: bool,
    },
    /// Print the statements that make it
    Script { name: String },
}

#[derive(Args)]
pub(crate) struct ListOptions {
    /// * stands for any text, ? for any character
    pattern: Option<String>,
    /// The system's own too
    #[arg(long)]
    system: bool,
}

#[derive(Args)]
pub(crate) struct CreateOptions {
    name: String,
    /// A field and its value; can be given many times
    #[arg(short, long, value_name = "FIELD=VALUE", value_parser = assignment)]
    set: Vec<(String, String)>,
    /// The query of a view
    #[arg(long)]
    query: Option<String>,
    /// A column of a table; can be given many times
    #[arg(long, value_name = "NAME TYPE")]
    column: Vec<String>,
}

#[derive(Args)]
pub(crate) struct AlterOptions {
    name: String,
    /// A field and its value, nothing for none; can be given many times
    #[arg(short, long, value_name = "FIELD=VALUE", required = true, value_parser = assignment)]
    set: Vec<(String, String)>,
}

/// `field=value`
pub(crate) fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) => Ok((field.trim().to_owned(), value.to_owned())),
        None => Err("a field, = and a value were expected".into()),
    }
}

pub(crate) fn run<T: Noun>(context: &Context, verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::List(options) => list::<T>(context, options),
        Verb::Show { name } => show::<T>(context, name),
        Verb::Create(options) => create::<T>(context, options),
        Verb::Alter(options) => alter::<T>(context, options),
        Verb::Drop { name, cascade } => drop_one::<T>(context, name, *cascade),
        Verb::Script { name } => script::<T>(context, name),
    }
}

/// A collection with the system's own objects, which can be shown and named as well as others.
fn all<T: Noun>(cluster: &Cluster) -> Collection<T> {
    T::all(cluster).with_system()
}

/// The one object that a text names.
pub(crate) fn find<T: Noun>(cluster: &Cluster, text: &str) -> pgsteward::Result<Object<T>> {
    all::<T>(cluster).get(T::key_of(text)?)
}

pub(crate) fn list<T: Noun>(context: &Context, options: &ListOptions) -> Result<(), Failure> {
    let collection = if options.system { all::<T>(&context.cluster) } else { T::all(&context.cluster) };
    let objects: Vec<_> = match &options.pattern {
        Some(pattern) => collection.matching(&glob(pattern)?)?,
        None => collection.iter()?.collect(),
    };
    let records: Vec<_> = objects.iter().map(record).collect();
    context.output.records(&names::<T>(), T::SHOWN, &records)
}

pub(crate) fn show<T: Noun>(context: &Context, name: &str) -> Result<(), Failure> {
    context.output.record(&record(&find::<T>(&context.cluster, name)?))
}

fn create<T: Noun>(context: &Context, options: &CreateOptions) -> Result<(), Failure> {
    let mut value = T::make(&options.name, options.query.as_deref(), &options.column)?;
    set(&mut value, &options.set)?;
    create_value(context, value)
}

pub(crate) fn create_value<T: Noun>(context: &Context, value: T) -> Result<(), Failure> {
    let done = format!("created {} {}", T::KIND, value.key());
    context.change(&done, |cluster| T::all(cluster).create(value).map(drop))
}

/// Sets fields of a value.
pub(crate) fn set<T: Fields>(value: &mut T, fields: &[(String, String)]) -> pgsteward::Result<()> {
    fields.iter().try_for_each(|(field, text)| value.set_field(field, text))
}

pub(crate) fn alter<T: Noun>(context: &Context, options: &AlterOptions) -> Result<(), Failure> {
    context.change(&format!("altered {} {}", T::KIND, options.name), |cluster| {
        let mut object = find::<T>(cluster, &options.name)?;
        set(&mut *object, &options.set)?;
        object.alter()
    })
}

fn drop_one<T: Noun>(context: &Context, name: &str, cascade: bool) -> Result<(), Failure> {
    let object = find::<T>(&context.cluster, name)?;
    let title = on_one_line(&format!("{} {}", T::KIND, object.key()));
    let along = listed(&T::dependents(&object)?);
    if !cascade && !along.is_empty() {
        return Err(Failure::Depended(format!(
            "cannot drop {title}: others depend on it, and --cascade would drop them with it:\n{}",
            along.trim_end()
        )));
    }
    if context.asks() {
        let intro = if along.is_empty() { "" } else { "what depends on it goes with it:\n" };
        let place = T::database(&object, context.cluster.current_database());
        let place = place.map_or(String::new(), |name| format!(" of database {name:?}"));
        let size = T::size(&object).map_or(String::new(), |size| format!(" ({})", readable(size)));
        context.ask(&format!("{intro}{along}drop {title}{place}{size}?"))?;
    }
    context.change(&format!("dropped {title}"), |cluster| {
        let object = find_again(cluster, name, &object)?;
        match cascade {
            false => object.drop(),
            true => T::drop_cascade(object),
        }
    })
}

/// The very one that was asked about, and no other that has its name by now.
pub(crate) fn find_again<T: Noun>(cluster: &Cluster, text: &str, asked: &Object<T>) -> pgsteward::Result<Object<T>> {
    let now = find::<T>(cluster, text)?;
    match now.oid() == asked.oid() {
        true => Ok(now),
        false => Err(Error::Conflict {
            what: format!("{} {}", T::KIND, asked.key()),
            mine: "to drop the one that was asked about".into(),
            theirs: "another one of that name".into(),
        }),
    }
}

/// One a line; of very many the first.
fn listed(dependents: &[String]) -> String {
    const MOST: usize = 50;
    let mut lines: Vec<String> =
        dependents.iter().take(MOST).map(|name| format!("  {}\n", on_one_line(name))).collect();
    if dependents.len() > MOST {
        lines.push(format!("  and {} more\n", dependents.len() - MOST));
    }
    lines.concat()
}

pub(crate) fn script<T: Noun>(context: &Context, name: &str) -> Result<(), Failure> {
    context.output.text(&find::<T>(&context.cluster, name)?.script()?.to_string())
}

/// A pattern as a regular expression for whole names.
pub(crate) fn glob(pattern: &str) -> Result<Regex, Failure> {
    let mut regex = String::from("(?s)^");
    for c in pattern.chars() {
        match c {
            '*' => regex.push_str(".*"),
            '?' => regex.push('.'),
            other => regex.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Regex::new(&(regex + "$")).map_err(|error| Failure::invalid(format!("pattern {pattern:?}"), error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_know_two_signs_and_no_others() {
        let matches = |pattern, name| glob(pattern).is_ok_and(|regex| regex.is_match(name));
        assert!(matches("client*_a", "client12_a") && matches("app.*", "app.orders") && matches("a?", "ab"));
        assert!(
            !matches("client_1", "clientx1") && !matches("a.b", "axb") && !matches("a", "ab") && !matches("[a]", "a")
        );
    }

    #[test]
    fn an_assignment_ends_at_the_first_equals_sign() {
        assert_eq!(assignment("comment=a=b").unwrap(), ("comment".into(), "a=b".into()));
        assert_eq!(assignment("comment=").unwrap(), ("comment".into(), String::new()));
        assert!(assignment("comment").is_err());
    }
}
