//! The statements of a SQL file, found as psql finds them; pure, and never asks what a statement means beyond that.
//!
//! A file is cut into pieces that put together are the file again: statements, and gaps of blanks, comments and commands
//! of psql that say nothing to the server. [`next`] finds the first piece of a text, which may be the beginning of a
//! longer one; so a file need not be in memory as a whole.
pub(crate) mod pieces;
pub(crate) mod token;

use token::{Token, Unended, token};

/// What a text begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Blanks, comments, empty statements, `\restrict` and `\unrestrict`: so many bytes.
    Gap(usize),
    Statement(Statement),
    /// Only more of the text would tell.
    More,
    /// There is nothing left.
    End,
}

/// A statement at the beginning of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// How long it is, without its semicolon.
    pub(crate) length: usize,
    /// How long with all that belongs to it: the semicolon, and the rest of the line before data.
    pub(crate) whole: usize,
    pub(crate) sort: Sort,
}

/// What must be known of a statement by whoever sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// `COPY ... FROM STDIN`: data follow, see [`data`].
    Copy,
    /// It begins or ends a transaction or a savepoint.
    Transaction,
    /// It may change how text that is sent is read: `standard_conforming_strings`, `client_encoding`.
    Reading,
    Other,
}

/// What is wrong with a text, and in which of its lines, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) line: usize,
    pub(crate) problem: String,
}

/// The data of a `COPY` at the beginning of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// So many bytes are whole lines of data; more may follow.
    Lines(usize),
    /// So many bytes are data; so many are the line `\.` that ends them.
    Last(usize, usize),
    /// Only more of the text would tell.
    More,
}

/// How many bytes of a text are lines of data. `whole` says that nothing comes after the text.
pub(crate) fn data(text: &[u8], whole: bool) -> Result<Data, Fault> {
    let mut lines = 0;
    while let Some(length) = newline(text, lines) {
        let line = text.get(lines..length).unwrap_or_default();
        if matches!(line, b"\\.\n" | b"\\.\r\n") {
            return Ok(Data::Last(lines, line.len()));
        }
        lines = length;
    }
    match text.get(lines..).unwrap_or_default() {
        last @ (b"\\." | b"\\.\r") if whole => Ok(Data::Last(lines, last.len())),
        _ if whole => {
            let problem = "the data of COPY have no end: a line \\. is missing".into();
            Err(Fault { line: self::lines(text), problem })
        }
        _ if lines > 0 => Ok(Data::Lines(lines)),
        _ => Ok(Data::More),
    }
}

/// What comes after the next newline.
fn newline(text: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.iter().position(|byte| *byte == b'\n').map(|position| from + position + 1)
}

/// How many lines end in a text.
pub(crate) fn lines(text: &[u8]) -> usize {
    text.iter().filter(|byte| **byte == b'\n').count()
}

/// What a text begins with. `whole` says that nothing comes after it.
///
/// # Errors
/// A string or comment that is not closed, a command of psql, and what would have the server read strings otherwise.
pub(crate) fn next(text: &[u8], whole: bool) -> Result<Next, Fault> {
    let mut scan = Scan { text, whole, position: 0 };
    let gap = scan.gap()?;
    if gap > 0 {
        return Ok(Next::Gap(gap));
    }
    match scan.rest().first() {
        None if whole => Ok(Next::End),
        None => Ok(Next::More),
        Some(b'\\') => scan.command(),
        Some(_) => scan.statement(),
    }
}

/// How many statements a text has, up to what the server would not take either.
pub(crate) fn count(text: &str) -> usize {
    let (mut rest, mut count) = (text.as_bytes(), 0);
    loop {
        let length = match next(rest, true) {
            Ok(Next::Gap(length)) => length,
            Ok(Next::Statement(statement)) => {
                count += 1;
                statement.whole
            }
            Ok(Next::More | Next::End) | Err(_) => return count,
        };
        rest = rest.get(length..).unwrap_or_default();
    }
}

/// Whether one of the statements of a text has the server wait for data: `COPY ... FROM STDIN`.
pub(crate) fn waits_for_data(text: &str) -> bool {
    let mut rest = text.as_bytes();
    // Most have not even the word.
    if !rest.windows(5).any(|word| word.eq_ignore_ascii_case(b"STDIN")) {
        return false;
    }
    let mut shape = Shape::default();
    while let (false, Ok((token, length))) = (rest.is_empty(), token(rest, true)) {
        let (taken, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        match token {
            Token::Blank | Token::Comment => {}
            Token::Semicolon if shape.may_end() => shape = Shape::default(),
            _ => shape.take(token, taken),
        }
        if shape.is_copy_of_input() {
            return true;
        }
        rest = after;
    }
    false
}

struct Scan<'t> {
    text: &'t [u8],
    whole: bool,
    position: usize,
}

impl<'t> Scan<'t> {
    fn rest(&self) -> &'t [u8] {
        self.text.get(self.position..).unwrap_or_default()
    }

    fn is_at_end(&self) -> bool {
        self.position >= self.text.len()
    }

    fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault { line: lines(self.text.get(..self.position).unwrap_or_default()), problem: problem.into() }
    }

    /// The next token, without taking it; none if only more of the text would tell.
    fn look(&self) -> Result<Option<(Token, &'t [u8])>, Fault> {
        let rest = self.rest();
        match token(rest, self.whole) {
            Ok((token, length)) => Ok(Some((token, rest.get(..length).unwrap_or(rest)))),
            Err(Unended(_)) if !self.whole => Ok(None),
            Err(Unended(problem)) => Err(self.fault(problem)),
        }
    }

    /// Takes blanks, comments and lone semicolons; returns how many bytes.
    fn gap(&mut self) -> Result<usize, Fault> {
        let start = self.position;
        // What some editors write first in a file of UTF-8.
        if self.rest().starts_with("\u{feff}".as_bytes()) {
            self.position += 3;
        }
        while !self.is_at_end() {
            match self.look()? {
                Some((Token::Blank | Token::Comment | Token::Semicolon, taken)) => self.position += taken.len(),
                _ => break,
            }
        }
        Ok(self.position - start)
    }

    /// A command of psql: that of a dump which restricts others is taken, others are refused.
    fn command(&mut self) -> Result<Next, Fault> {
        let rest = self.rest();
        let end = match newline(rest, 0) {
            Some(end) => end,
            None if self.whole => rest.len(),
            None => return Ok(Next::More),
        };
        let line = rest.get(..end).unwrap_or(rest);
        let name = line.split(|byte| token::is_blank(*byte)).next().unwrap_or_default();
        match name {
            b"\\restrict" | b"\\unrestrict" => Ok(Next::Gap(end)),
            _ => Err(self.fault(refused(name))),
        }
    }

    fn statement(&mut self) -> Result<Next, Fault> {
        let mut shape = Shape::default();
        while !self.is_at_end() {
            let Some((token, taken)) = self.look()? else { return Ok(Next::More) };
            match token {
                Token::Semicolon if shape.may_end() => return self.end(&shape),
                Token::Backslash => {
                    let name = self.rest().split(|byte| token::is_blank(*byte)).next().unwrap_or_default();
                    // The name may go on in the part that is not there yet.
                    let cut = name.len() == self.rest().len() && !self.whole;
                    return if cut { Ok(Next::More) } else { Err(self.fault(refused(name))) };
                }
                Token::Blank | Token::Comment => {}
                _ => shape.take(token, taken),
            }
            self.position += taken.len();
        }
        if self.whole { self.end(&shape) } else { Ok(Next::More) }
    }

    /// The statement that ends here, before its semicolon or the end of the text.
    fn end(&mut self, shape: &Shape) -> Result<Next, Fault> {
        let length = self.position;
        let text = self.text.get(..length).unwrap_or_default();
        let sort = shape.sort(text);
        self.position = (length + 1).min(self.text.len());
        if shape.turns_strings_off(text) {
            return Err(Fault {
                line: 0,
                problem: "it turns standard_conforming_strings off, and strings would end elsewhere; write those with \
                          backslashes as E'...', and leave the setting on"
                    .into(),
            });
        }
        let whole = match sort {
            Sort::Copy => match self.rest_of_line()? {
                Some(rest) => self.position + rest,
                None => return Ok(Next::More),
            },
            _ => self.position,
        };
        Ok(Next::Statement(Statement { length, whole, sort }))
    }

    /// How much is left of a line before data; there may be blanks and a comment, and nothing else.
    fn rest_of_line(&self) -> Result<Option<usize>, Fault> {
        let rest = self.rest();
        let end = match newline(rest, 0) {
            Some(end) => end,
            None if self.whole => return Err(self.fault("the data of COPY are missing")),
            None => return Ok(None),
        };
        let line = rest.get(..end).unwrap_or(rest).trim_ascii();
        match line.is_empty() || line.starts_with(b"--") {
            true => Ok(Some(end)),
            false => {
                Err(self.fault("something stands behind COPY ... FROM stdin; in its line; data begin in the next"))
            }
        }
    }
}

fn refused(name: &[u8]) -> String {
    format!(
        "{} is a command of psql, which is not here; of those only \\restrict and \\unrestrict may stand in a file",
        String::from_utf8_lossy(name)
    )
}

/// What was seen of a statement so far.
#[derive(Default)]
pub(crate) struct Shape<'t> {
    /// The first words, as many as tell what it is.
    words: Vec<&'t [u8]>,
    /// The text of the last token.
    last: &'t [u8],
    parentheses: usize,
    /// How many `BEGIN ATOMIC` and `CASE` wait for their `END`.
    blocks: usize,
    reads_input: bool,
}

/// How many words tell what a statement is: `CREATE OR REPLACE FUNCTION`.
const TELLING: usize = 4;

impl<'t> Shape<'t> {
    pub(crate) fn take(&mut self, token: Token, text: &'t [u8]) {
        match token {
            Token::Open => self.parentheses += 1,
            Token::Close => self.parentheses = self.parentheses.saturating_sub(1),
            Token::Word => self.word(text),
            _ => {}
        }
        self.last = text;
    }

    fn word(&mut self, word: &'t [u8]) {
        if self.words.len() < TELLING {
            self.words.push(word);
        }
        let is = |other: &str| word.eq_ignore_ascii_case(other.as_bytes());
        // Behind these it is a name: t.end, AS end.
        if self.parentheses > 0 || self.follows(".") || self.follows("AS") {
            return;
        }
        match () {
            () if is("STDIN") && self.follows("FROM") => self.reads_input = true,
            () if is("ATOMIC") && self.follows("BEGIN") && self.is_routine() => self.blocks += 1,
            () if is("CASE") && self.blocks > 0 => self.blocks += 1,
            () if is("END") => self.blocks = self.blocks.saturating_sub(1),
            () => {}
        }
    }

    /// Whether this is the last that was taken.
    pub(crate) fn follows(&self, other: &str) -> bool {
        self.last.eq_ignore_ascii_case(other.as_bytes())
    }

    /// Whether the statement begins with these words.
    pub(crate) fn begins(&self, words: &[&str]) -> bool {
        self.words.len() >= words.len()
            && self.words.iter().zip(words).all(|(word, other)| word.eq_ignore_ascii_case(other.as_bytes()))
    }

    pub(crate) fn is_routine(&self) -> bool {
        let starts: [&[&str]; 4] = [
            &["CREATE", "FUNCTION"],
            &["CREATE", "PROCEDURE"],
            &["CREATE", "OR", "REPLACE", "FUNCTION"],
            &["CREATE", "OR", "REPLACE", "PROCEDURE"],
        ];
        starts.iter().any(|start| self.begins(start))
    }

    /// Whether a semicolon ends the statement here.
    pub(crate) fn may_end(&self) -> bool {
        self.parentheses == 0 && self.blocks == 0
    }

    fn is_copy_of_input(&self) -> bool {
        self.reads_input && self.begins(&["COPY"])
    }

    fn sort(&self, text: &[u8]) -> Sort {
        const ENDS: [&str; 8] = ["BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"];
        match () {
            () if self.is_copy_of_input() => Sort::Copy,
            () if self.begins(&["PREPARE", "TRANSACTION"]) => Sort::Transaction,
            () if ENDS.iter().any(|word| self.begins(&[word])) => Sort::Transaction,
            () if ["RESET", "DISCARD"].iter().any(|word| self.begins(&[word])) => Sort::Reading,
            () if self.begins(&["SET"]) && mentions_reading(text) => Sort::Reading,
            () => Sort::Other,
        }
    }

    /// `SET standard_conforming_strings = off`, in any of the ways to say it.
    fn turns_strings_off(&self, text: &[u8]) -> bool {
        if !self.begins(&["SET"]) {
            return false;
        }
        let text = String::from_utf8_lossy(text).to_ascii_lowercase();
        let Some((_, value)) = text.split_once("standard_conforming_strings") else { return false };
        let mut words = value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !["", "to"].contains(word));
        !matches!(words.next(), Some("on" | "true" | "yes" | "1"))
    }
}

/// Whether a statement that sets something may set how text is read: `SET NAMES` sets the encoding.
fn mentions_reading(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text).to_ascii_lowercase();
    ["standard_conforming_strings", "client_encoding", "names"].iter().any(|name| text.contains(name))
}

#[cfg(test)]
mod tests {
    use super::pieces::{Piece, merged, pieces_by};
    use super::*;
    use proptest::prelude::*;

    fn joined(pieces: &[Piece]) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Gap(text) | Piece::Statement(text, _) | Piece::Data(text) => text.clone(),
        };
        pieces.iter().map(text).collect()
    }

    fn statements(text: &str) -> Vec<String> {
        let found =
            pieces_by(text.as_bytes(), text.len().max(1)).unwrap().into_iter().filter_map(|piece| match piece {
                Piece::Statement(text, _) => Some(text),
                _ => None,
            });
        found.collect()
    }

    /// Each is one statement, whatever is in it.
    const WHOLE: [&str; 41] = [
        "SELECT 1;",
        "SELECT ';';",
        "SELECT 'it''s;';",
        r"SELECT '\';",
        r"SELECT E'\';', e'\\;';",
        "SELECT E'a'\n  -- on it goes\n '\\';';",
        "SELECT U&'\\0061;', B'1;', x'a;', N';';",
        "SELECT 1 AS \";\"\";\";",
        "SELECT U&\"d\\0061t;\";",
        "SELECT $$;$$;",
        "SELECT $a$ $b$ ; $$ $a$;",
        "SELECT $ä1$;$ä1$;",
        "SELECT a$b, c$$d FROM t;",
        "PREPARE p AS SELECT $1, $2;",
        "SELECT $1$$;$$;",
        "SELECT 1 -- one;\n;",
        "SELECT /* ; /* ; */ ; */ 1;",
        "SELECT 1 /* -- */;",
        "SELECT 1 -/**/- 2;",
        "SELECT 4 --1;\r;",
        "CREATE RULE r AS ON INSERT TO t DO (DELETE FROM a; DELETE FROM b);",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END;",
        "create or replace procedure p() begin /**/ atomic select case when a then 1 end; end;",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN CASE WHEN true THEN 1 END;",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT (CASE WHEN 1 = 1 THEN 2 END), t.end, 1 AS end FROM t; END;",
        "CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN true THEN CASE 1 WHEN 1 THEN 2 END END; END;",
        "CREATE FUNCTION \"begin\"() RETURNS int AS 'BEGIN; END' LANGUAGE plpgsql;",
        "CREATE FUNCTION begin(atomic int) RETURNS int AS 'x' LANGUAGE sql;",
        "CREATE TABLE atomic (begin int, \"end\" text);",
        "DO $$BEGIN PERFORM 1; END$$;",
        "INSERT INTO t VALUES ('a;', $$b;$$);",
        "SELECT (((';')));",
        "SELECT ');';",
        "SELECT 'a' ; ",
        "COPY (SELECT 1) TO STDOUT;",
        "COPY t FROM '/stdin';",
        "COPY t FROM PROGRAM 'stdin';",
        "SELECT a FROM stdin;",
        "SELECT 'Ä', \"ö;\" FROM ü;",
        "SELECT :'a;', :\"b;\", :c;",
        "SELECT 1::int, a[1:2], '{1,2}'::int[];",
    ];

    #[test]
    fn a_copy_that_waits_for_data_is_told_from_what_only_looks_like_it() {
        for waits in [
            "COPY t FROM STDIN",
            "copy /* a */ t (a)\nfrom stdin with csv",
            "SELECT ';' ; COPY {{tables.t}} FROM Stdin;",
        ] {
            assert!(waits_for_data(waits), "{waits}");
        }
        for other in [
            "COPY t TO STDOUT",
            "COPY t FROM '/dev/stdin'",
            "SELECT a FROM stdin",
            "SELECT 'COPY t FROM STDIN'",
            "-- COPY t FROM STDIN",
            "COPY (SELECT * FROM stdin) TO STDOUT",
            "DO $$ BEGIN COPY t FROM STDIN; END $$",
            "COPY t; SELECT a FROM stdin",
            "COPY t FROM STDI",
            "'COPY t FROM STDIN",
        ] {
            assert!(!waits_for_data(other), "{other}");
        }
    }

    #[test]
    fn a_statement_ends_where_psql_ends_it() {
        for text in WHOLE {
            assert_eq!(statements(text), [text.trim_end()], "{text}");
            let twice = format!("{text}{text}");
            assert_eq!(statements(&twice), [text.trim_end(), text.trim_end()], "{twice}");
        }
        assert_eq!(statements("BEGIN; SELECT 1; END;"), ["BEGIN;", "SELECT 1;", "END;"]);
        assert_eq!(statements("CREATE TABLE begin (a int); SELECT 2"), ["CREATE TABLE begin (a int);", "SELECT 2"]);
        assert_eq!(statements("\u{feff};;\n-- nothing\n/* */ SELECT 1 -- last"), ["SELECT 1 -- last"]);
        assert_eq!(statements("SELECT a $b;"), ["SELECT a $b;"]);
        assert!(statements(" -- \n").is_empty() && statements("").is_empty());
    }

    #[test]
    fn data_are_no_statements() {
        let text = "COPY t (a) FROM stdin; -- now\na;\t'\n\\.x\n\\.\nSELECT 1;\ncopy t from STDIN with (format csv);\r\n\\.\r\nSELECT 2";
        let copy = |text: &str| Piece::Statement(text.into(), Sort::Copy);
        assert_eq!(
            merged(pieces_by(text.as_bytes(), 1).unwrap()),
            [
                copy("COPY t (a) FROM stdin; -- now\n"),
                Piece::Data("a;\t'\n\\.x\n\\.\n".into()),
                Piece::Statement("SELECT 1;".into(), Sort::Other),
                Piece::Gap("\n".into()),
                copy("copy t from STDIN with (format csv);\r\n"),
                Piece::Data("\\.\r\n".into()),
                Piece::Statement("SELECT 2".into(), Sort::Other),
            ]
        );
        let ended = pieces_by(b"COPY t FROM stdin;\n\\.", 100).unwrap();
        assert_eq!(ended[1], Piece::Data("\\.".into()));
    }

    #[test]
    fn what_is_no_statement_is_refused_with_its_line() {
        for (text, line, problem) in [
            ("SELECT 1;\n\\connect other\n", 1, "\\connect is a command of psql"),
            ("\n\n\\i x.sql", 2, "\\i is a command"),
            ("\\set a 1\n", 0, "\\set is"),
            ("SELECT 1\n\\gexec\n", 1, "\\gexec is"),
            ("SELECT 1 \\; SELECT 2;", 0, "\\; is"),
            ("SELECT 1;\n\\.\n", 1, "\\. is"),
            ("SELECT 1;\nSELECT 'a\n;", 1, "a string is not closed"),
            ("SELECT \"a", 0, "in double quotes"),
            ("\nSELECT E'\\'", 1, "a string is not closed"),
            ("SELECT $a$ $b$", 0, "dollar quotes"),
            ("/* /* */", 0, "a comment is not closed"),
            ("COPY t FROM stdin;\n1\n2\n", 3, "have no end"),
            ("COPY t FROM stdin", 0, "data of COPY are missing"),
            ("\nCOPY t FROM stdin; SELECT 1;\n\\.\n", 1, "something stands behind"),
            ("SET standard_conforming_strings = off;", 0, "turns standard_conforming_strings off"),
            ("SET LOCAL Standard_Conforming_Strings TO 'False';", 0, "turns standard_conforming_strings off"),
        ] {
            for step in [1, 7, text.len()] {
                let fault = pieces_by(text.as_bytes(), step).expect_err(text);
                assert!(fault.problem.contains(problem), "{text}: {fault:?}");
                assert_eq!(fault.line, line, "{text}");
            }
        }
    }

    #[test]
    fn what_a_sender_must_know_is_known() {
        let sort = |text: &str| match pieces_by(text.as_bytes(), text.len()).unwrap().pop() {
            Some(Piece::Statement(_, sort)) => sort,
            other => panic!("{other:?}"),
        };
        for text in
            ["BEGIN", "start transaction", "Commit;", "END", "ROLLBACK TO a", "abort", "SAVEPOINT a", "release a"]
        {
            assert_eq!(sort(text), Sort::Transaction, "{text}");
        }
        assert_eq!(sort("PREPARE /* */ TRANSACTION 'x';"), Sort::Transaction);
        assert_eq!(sort("PREPARE transactions AS SELECT 1;"), Sort::Other);
        for text in
            ["SET client_encoding = 'UTF8'", "SET standard_conforming_strings = on", "SET NAMES 'a'", "RESET ALL"]
        {
            assert_eq!(sort(text), Sort::Reading, "{text}");
        }
        assert_eq!(sort("SET row_security = off"), Sort::Other);
        assert_eq!(sort("/* a */ COMMENT ON TABLE a IS 'COMMIT'"), Sort::Other);
    }

    /// Texts in which much is begun and little ended.
    fn fragments() -> impl Strategy<Value = String> {
        let parts = prop::sample::select(vec![
            "'",
            "\"",
            "$$",
            "$a$",
            "E'",
            "\\'",
            "--",
            "/*",
            "*/",
            "\n",
            "\r\n",
            ";",
            "(",
            ")",
            " ",
            "a",
            "1",
            "-",
            "/",
            "$",
            "BEGIN ",
            "ATOMIC ",
            "END ",
            "CASE ",
            "CREATE FUNCTION ",
            "COPY t FROM stdin;",
            "\n\\.\n",
            "é",
            ".",
        ]);
        prop::collection::vec(parts, 0..24).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn the_pieces_of_any_text_are_the_text(text in fragments()) {
            if let Ok(pieces) = pieces_by(text.as_bytes(), text.len().max(1)) {
                prop_assert_eq!(joined(&pieces), text);
            }
        }

        #[test]
        fn it_does_not_matter_how_much_of_a_text_is_seen_at_a_time(text in fragments(), step in 1_usize..9) {
            let at_once = pieces_by(text.as_bytes(), text.len().max(1)).map(merged).map_err(|fault| fault.problem);
            let by_and_by = pieces_by(text.as_bytes(), step).map(merged).map_err(|fault| fault.problem);
            prop_assert_eq!(at_once, by_and_by);
        }

        #[test]
        fn statements_put_together_are_found_again(chosen in prop::collection::vec(0_usize..WHOLE.len(), 1..12)) {
            let text: String = chosen.iter().map(|index| format!("{}\n-- ; '\n", WHOLE[*index])).collect();
            let expected: Vec<&str> = chosen.iter().map(|index| WHOLE[*index].trim_end()).collect();
            prop_assert_eq!(statements(&text), expected);
        }

        #[test]
        fn any_bytes_are_read_without_panic(text in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = pieces_by(&text, 3);
        }
    }
}
