//! What client programs say on standard error, as objects with their messages.
use std::fmt;

/// What sort of message it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageKind {
    /// A step that is being done, or a notice.
    Step,
    /// A warning.
    Warning,
    /// An error.
    Error,
}

/// A message of pg_dump, pg_restore, pg_dumpall or psql. `Display` prints one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProgramMessage {
    /// What sort of message it is.
    pub kind: MessageKind,
    /// The object that it is about, as pg_restore names it: its kind, its name, its owner. With several jobs it is none
    /// where their messages are mixed.
    pub object: Option<String>,
    /// The line of the script that it is about, from 1, as psql tells it.
    pub line: Option<u64>,
    /// The message. Of the server's own, in the server's language.
    pub text: String,
    /// More about it.
    pub detail: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The statement that failed, its first 4 kB.
    pub statement: Option<String>,
}

impl fmt::Display for ProgramMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        f.write_str(&self.text)?;
        for (name, more) in [("Detail", &self.detail), ("Hint", &self.hint)] {
            if let Some(more) = more {
                write!(f, ". {name}: {}", more.replace('\n', " "))?;
            }
        }
        Ok(())
    }
}

/// How much of what follows a message is kept, in bytes.
const MOST: usize = 4096;

/// Lines on the way to become messages.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// The entry that pg_restore has said it is at. It says so once, before the first error of an entry.
    entry: Option<String>,
    /// Whether an error has come since.
    used: bool,
    /// How many errors belong to nobody knows which entry: several jobs have each told one.
    mixed: usize,
    /// An error or warning that more lines may belong to, and which part of it they continue.
    open: Option<(ProgramMessage, Part)>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Detail,
    Hint,
    Statement,
}

impl Reader {
    /// Takes a line; returns the messages that are whole now. A step is whole at once.
    pub(super) fn line(&mut self, line: &str) -> Vec<ProgramMessage> {
        let mut whole = Vec::new();
        match said(line) {
            Some(Said::More(part, text)) => self.append(part, text),
            Some(Said::Entry(entry)) => {
                whole.extend(self.finish());
                if self.entry.is_some() && !self.used {
                    self.mixed = if self.mixed == 0 { 2 } else { self.mixed + 1 };
                }
                (self.entry, self.used) = (Some(entry.to_owned()), false);
            }
            Some(Said::Message(message)) => {
                whole.extend(self.finish());
                match message.kind {
                    MessageKind::Step => whole.push(message),
                    MessageKind::Warning => self.open = Some((message, Part::Detail)),
                    MessageKind::Error => {
                        let object = if self.mixed == 0 { self.entry.clone() } else { None };
                        (self.mixed, self.used) = (self.mixed.saturating_sub(1), true);
                        self.open = Some((ProgramMessage { object, ..message }, Part::Detail));
                    }
                }
            }
            None => match self.open {
                Some((_, part)) => self.append(part, line),
                None if line.trim().is_empty() => {}
                None => whole.push(step(line)),
            },
        }
        whole
    }

    /// The message that was waiting for more.
    pub(super) fn finish(&mut self) -> Option<ProgramMessage> {
        self.open.take().map(|(mut message, _)| {
            for part in [&mut message.detail, &mut message.hint, &mut message.statement].into_iter().flatten() {
                part.truncate(part.trim_end().len());
            }
            message
        })
    }

    fn append(&mut self, part: Part, text: &str) {
        let Some((message, open)) = &mut self.open else { return };
        *open = part;
        let kept = match part {
            Part::Detail => &mut message.detail,
            Part::Hint => &mut message.hint,
            Part::Statement => &mut message.statement,
        };
        match kept {
            None => *kept = Some(text.to_owned()),
            Some(kept) if kept.len() < MOST => kept.extend(["\n", text]),
            Some(_) => {}
        }
    }
}

/// What a line is.
enum Said<'a> {
    Message(ProgramMessage),
    /// More of the message before it.
    More(Part, &'a str),
    /// The entry of the list of contents that the next message is about.
    Entry(&'a str),
}

fn step(text: &str) -> ProgramMessage {
    let text = text.to_owned();
    ProgramMessage {
        kind: MessageKind::Step,
        object: None,
        line: None,
        text,
        detail: None,
        hint: None,
        statement: None,
    }
}

/// Reads a line, if it is the start of something. The programs run with messages in English.
fn said(line: &str) -> Option<Said<'_>> {
    let server = [("DETAIL:  ", Part::Detail), ("HINT:  ", Part::Hint), ("Command was: ", Part::Statement)];
    if let Some((start, part)) = server.iter().find(|(start, _)| line.starts_with(start)) {
        return Some(Said::More(*part, line.strip_prefix(start)?));
    }
    if let Some(script) = line.strip_prefix("psql:<stdin>:") {
        return of_a_script(script);
    }
    let own =
        ["pg_dump: ", "pg_restore: ", "pg_dumpall: ", "psql: "].iter().find_map(|name| line.strip_prefix(name))?;
    if let Some(entry) = own.strip_prefix("from TOC entry ") {
        // The number in the list, the OIDs of catalogue and object, then words.
        return Some(Said::Entry(entry.splitn(4, ' ').nth(3)?));
    }
    if own.starts_with("while ") && own.ends_with(':') {
        return Some(Said::Message(step(own)));
    }
    let kinds = [("error: ", MessageKind::Error), ("warning: ", MessageKind::Warning), ("", MessageKind::Step)];
    let parts = [
        ("detail: Query was: ", Part::Statement),
        ("error: query was: ", Part::Statement),
        ("detail: ", Part::Detail),
        ("hint: ", Part::Hint),
    ];
    if let Some((part, more)) = parts.iter().find_map(|(start, part)| Some((*part, own.strip_prefix(start)?))) {
        return Some(Said::More(part, more));
    }
    let (kind, text) = kinds.iter().find_map(|(start, kind)| Some((*kind, own.strip_prefix(start)?)))?;
    Some(Said::Message(ProgramMessage { kind, ..step(text) }))
}

/// What psql says of a line of its script: `12: ERROR:  there is no ...`.
fn of_a_script(text: &str) -> Option<Said<'_>> {
    let (line, text) = text.split_once(": ")?;
    let (severity, text) = text.split_once(":  ").unwrap_or(("ERROR", text));
    let kind = match severity {
        "NOTICE" | "INFO" | "LOG" | "DEBUG" => MessageKind::Step,
        "WARNING" => MessageKind::Warning,
        // Also a severity in another language: better an error too many.
        _ => MessageKind::Error,
    };
    Some(Said::Message(ProgramMessage { kind, line: line.parse().ok(), ..step(text) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<ProgramMessage> {
        let mut reader = Reader::default();
        let mut messages: Vec<_> = text.lines().flat_map(|line| reader.line(line)).collect();
        messages.extend(reader.finish());
        messages
    }

    #[test]
    fn an_error_of_a_restore_has_its_object_detail_and_statement() {
        let messages = read(
            "pg_restore: creating TABLE \"public.a\"\npg_restore: while PROCESSING TOC:\n\
             pg_restore: from TOC entry 215; 1259 16385 TABLE a b postgres\n\
             pg_restore: error: could not execute query: ERROR:  no\nDETAIL:  because\nof that\nHINT:  give up\n\
             Command was: CREATE TABLE public.a (\n    i integer\n);\n\n\n\
             pg_restore: warning: errors ignored on restore: 1\n",
        );
        let kinds: Vec<_> = messages.iter().map(|message| message.kind).collect();
        assert_eq!(kinds, [MessageKind::Step, MessageKind::Step, MessageKind::Error, MessageKind::Warning]);
        let error = &messages[2];
        assert_eq!(error.object.as_deref(), Some("TABLE a b postgres"));
        assert_eq!(error.statement.as_deref(), Some("CREATE TABLE public.a (\n    i integer\n);"));
        let line = "TABLE a b postgres: could not execute query: ERROR:  no. Detail: because of that. Hint: give up";
        assert_eq!(error.to_string(), line);
        assert_eq!(messages[3].object, None);
    }

    #[test]
    fn errors_of_one_entry_have_it_and_those_of_several_jobs_at_once_have_none() {
        let objects = |text: &str| read(text).into_iter().map(|error| error.object).collect::<Vec<_>>();
        let (a, b) = ("pg_restore: from TOC entry 1; 1 2 TABLE a o\n", "pg_restore: from TOC entry 2; 1 3 TABLE b o\n");
        let error = "pg_restore: error: no\n";
        let [of_a, of_b] = ["a", "b"].map(|name| Some(format!("TABLE {name} o")));
        assert_eq!(objects(&[a, error, error, b, error].concat()), [of_a.clone(), of_a.clone(), of_b.clone()]);
        assert_eq!(objects(&[a, b, error, error, a, error].concat()), [None, None, of_a]);
    }

    #[test]
    fn pg_dump_and_psql_have_their_own_forms() {
        let messages = read("pg_dump: error: query failed: ERROR:  no\npg_dump: detail: Query was: LOCK TABLE a\n");
        assert_eq!(messages.len(), 1);
        assert_eq!(messages[0].statement.as_deref(), Some("LOCK TABLE a"));
        let messages = read("pg_dump: error: query failed: ERROR:  no\npg_dump: error: query was: LOCK TABLE a\n");
        assert_eq!(messages[0].statement.as_deref(), Some("LOCK TABLE a"));
        let messages =
            read("psql:<stdin>:12: ERROR:  no such: thing\nLINE 1: x\n        ^\npsql:<stdin>:13: NOTICE:  a\n");
        assert_eq!((messages[0].line, messages[0].text.as_str()), (Some(12), "no such: thing"));
        assert_eq!(messages[0].detail.as_deref(), Some("LINE 1: x\n        ^"));
        assert_eq!(messages[1].kind, MessageKind::Step);
        assert_eq!(read("upload: 10 %\n\n"), [step("upload: 10 %")]);
    }
}
