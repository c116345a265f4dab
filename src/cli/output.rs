//! Results on standard output, as a table, as JSON or as CSV; messages on standard error.
use super::arguments::GlobalArguments;
use super::exit::Failure;
use clap::{ColorChoice, ValueEnum};
use pgsteward::FieldValue;
use serde_json::Value;
use std::io::{self, IsTerminal, Write};
use unicode_width::UnicodeWidthStr;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// An array of objects, or one object
    Json,
    /// With a header
    Csv,
}

pub(crate) struct Output {
    format: Format,
    quiet: bool,
    color: ColorChoice,
    verbose: bool,
}

/// Named values, in order.
pub(crate) type Record = Vec<(&'static str, Value)>;

impl Output {
    pub(crate) fn new(global: &GlobalArguments) -> Self {
        let GlobalArguments { format, quiet, verbose, color, .. } = *global;
        Self { format, quiet, color, verbose: verbose > 0 }
    }

    /// Prints records of the same names. In a table only the columns in `shown` are seen, where there are any.
    pub(crate) fn records(&self, names: &[&'static str], shown: &[&str], records: &[Record]) -> Result<(), Failure> {
        match self.format {
            Format::Json => {
                let objects: Vec<String> = records.iter().map(|record| format!("  {}", object(record))).collect();
                self.text(&if objects.is_empty() { "[]\n".into() } else { format!("[\n{}\n]\n", objects.join(",\n")) })
            }
            Format::Csv => {
                let header = names.iter().map(|name| (*name).to_owned()).collect();
                let lines = records.iter().map(|record| record.iter().map(|(_, value)| plain(value)).collect());
                self.text(&[header].into_iter().chain(lines).map(|line: Vec<String>| csv(&line)).collect::<String>())
            }
            Format::Table => {
                let names: Vec<&str> =
                    names.iter().copied().filter(|name| shown.is_empty() || shown.contains(name)).collect();
                let cells = |record: &Record| -> Vec<String> {
                    let seen = record.iter().filter(|(name, _)| names.contains(name));
                    seen.map(|(_, value)| on_one_line(&plain(value))).collect()
                };
                let header = names.iter().map(|name| (*name).to_owned()).collect();
                let lines: Vec<Vec<String>> = [header].into_iter().chain(records.iter().map(cells)).collect();
                self.text(&aligned(&lines, true))
            }
        }
    }

    /// Prints one record.
    pub(crate) fn record(&self, record: &Record) -> Result<(), Failure> {
        match self.format {
            Format::Json => self.text(&format!("{}\n", object(record))),
            Format::Csv => {
                let names: Vec<&'static str> = record.iter().map(|(name, _)| *name).collect();
                self.records(&names, &[], std::slice::from_ref(record))
            }
            Format::Table => {
                let lines: Vec<Vec<String>> =
                    record.iter().map(|(name, value)| vec![(*name).to_owned(), on_one_line(&plain(value))]).collect();
                self.text(&aligned(&lines, false))
            }
        }
    }

    /// Prints a text as it is: SQL, a difference, a file.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        print(bytes)
    }

    /// Says something on standard error, unless it is to be quiet.
    pub(crate) fn say(&self, message: &str) {
        if !self.quiet {
            tell(message);
        }
    }

    pub(crate) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Says on standard error what went wrong with one of many.
    pub(crate) fn complain(&self, message: &str) {
        complain(self.color, message);
    }

    /// Whether each step is told on a line of its own.
    pub(crate) fn is_verbose(&self) -> bool {
        self.verbose && !self.quiet
    }

    /// Whether anybody sees the steps of long work.
    pub(crate) fn tells_steps(&self) -> bool {
        !self.quiet && (self.verbose || io::stderr().is_terminal())
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }
}

/// Prints bytes on standard output.
pub(crate) fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::NobodyReads,
        _ => Failure::io("write the output", error),
    })
}

/// Says on standard error what went wrong.
pub(crate) fn complain(color: ColorChoice, message: &str) {
    let colored = match color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        // https://no-color.org
        ColorChoice::Auto => {
            io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        }
    };
    let (start, end) = if colored { ("\u{1b}[1;31m", "\u{1b}[0m") } else { ("", "") };
    tell(&format!("{start}error:{end} {message}"));
}

/// Prints a line on standard error. What is done is done, and counts, also when nobody reads that.
pub(crate) fn tell(line: &str) {
    pass_on(format!("{line}\n").as_bytes());
}

/// Passes on to standard error what a command said there.
pub(crate) fn pass_on(bytes: &[u8]) {
    let _ = io::stderr().write_all(bytes);
}

/// A field's value for the output.
pub(crate) fn value(field: FieldValue) -> Value {
    match field {
        FieldValue::Truth(truth) => truth.into(),
        FieldValue::Number(number) => number.into(),
        FieldValue::Text(text) => text.into(),
        FieldValue::List(list) => list.into(),
        FieldValue::Map(map) => Value::Object(map.into_iter().map(|(name, value)| (name, value.into())).collect()),
        _ => Value::Null,
    }
}

/// A JSON object with its keys in order.
fn object(record: &Record) -> String {
    let pairs: Vec<String> = record.iter().map(|(name, value)| format!("{}: {value}", Value::from(*name))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A value outside JSON: nothing for null, lists and maps as their elements.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(name, value)| format!("{name}={}", plain(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

/// A terminal must not do what a name says.
pub(crate) fn on_one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A line as RFC 4180 has it, but for the line end.
fn csv(cells: &[String]) -> String {
    let quoted = cells.iter().map(|cell| match cell.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.clone(),
    });
    quoted.collect::<Vec<_>>().join(",") + "\n"
}

/// Lines with their cells below each other; under a header there is a rule.
fn aligned(lines: &[Vec<String>], has_header: bool) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width_of = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.width()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width_of(column).unwrap_or_default()).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        let mut row = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            row.push_str(cell);
            row.push_str(&" ".repeat(width - cell.width().min(*width) + 2));
        }
        text.push_str(row.trim_end());
        text.push('\n');
        if has_header && number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push_str(&rules.join("  "));
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_it_must() {
        let cells = ["a", "b,c", "d\"e", "f\ng", ""].map(str::to_owned);
        assert_eq!(csv(&cells), "a,\"b,c\",\"d\"\"e\",\"f\ng\",\n");
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let lines = [["name", "n"], ["größe", "1"], ["日本", "22"]].map(|line| line.map(str::to_owned).to_vec());
        assert_eq!(aligned(&lines, true), "name   n\n-----  --\ngröße  1\n日本   22\n");
    }

    #[test]
    fn json_keeps_the_order_and_is_json() {
        let record: Record = vec![("z", "a\"b\n".into()), ("a", Value::Null), ("l", vec!["x"].into())];
        let text = object(&record);
        assert_eq!(text, r#"{"z": "a\"b\n", "a": null, "l": ["x"]}"#);
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }
}
