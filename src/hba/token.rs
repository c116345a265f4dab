//! The bytes of a file as records of fields of tokens, by the rules of PostgreSQL's own tokenizer
//! ([pg_hba.conf](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)). Any bytes are taken.
use super::fault::Trouble;
use std::ops::Range;

/// A word, without its quotes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token {
    pub(crate) bytes: Vec<u8>,
    /// Whether a quote came before its first character: then it is no keyword.
    pub(crate) quoted: bool,
    /// Where it stands in its line, in characters from 1; in a line that is continued, in all of it.
    pub(crate) column: usize,
}

impl Token {
    /// Whether it is this keyword: quoted, it is none.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.bytes == keyword.as_bytes()
    }

    /// The file whose words stand for it, where it is an `@file`.
    pub(crate) fn file(&self) -> Option<&[u8]> {
        self.bytes.strip_prefix(b"@").filter(|name| !self.quoted && !name.is_empty())
    }
}

/// What stands between blanks; several tokens where there are commas.
pub(crate) type Field = Vec<Token>;

/// A line that says something, with those that continue it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Record {
    pub(crate) fields: Vec<Field>,
    /// The column behind the last token.
    pub(crate) end: usize,
    /// Why the server cannot take the line into words.
    pub(crate) trouble: Option<Trouble>,
}

/// Lines of a file that belong together: one, and those that continue it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// The number of the first line, from 1, as the server counts.
    pub(crate) line: usize,
    /// How many lines it is, as the server counts.
    pub(crate) lines: usize,
    /// Its bytes in the file, with the ends of its lines.
    pub(crate) range: Range<usize>,
    /// None for blank lines and comments.
    pub(crate) record: Option<Record>,
}

/// How a file is taken into lines and words; it differs between versions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Reading {
    /// Whether a backslash at the end continues a line.
    pub(crate) continues: bool,
    /// The most bytes in a word.
    pub(crate) longest_word: Option<usize>,
    /// The bytes that are read at once: a line of as many, its end included, is too long.
    pub(crate) longest_line: Option<usize>,
}

/// One line and those that continue it, put together.
pub(crate) struct Line {
    pub(crate) text: Vec<u8>,
    /// How many lines of the file it is, as the server counts, and how many bytes.
    count: usize,
    pub(crate) length: usize,
    /// Where each further line of the file begins: in `text`, and in the file.
    seams: Vec<(usize, usize)>,
    too_long: bool,
}

/// All of a file, in order; the ranges follow one another without a gap.
pub(crate) fn pieces(bytes: &[u8], reading: Reading) -> impl Iterator<Item = Piece> {
    let (mut line, mut start) = (1, 0);
    lines(bytes, reading).map(move |next| {
        let range = start..start + next.length;
        let piece = Piece { line, lines: next.count, range, record: next.record(reading) };
        (line, start) = (line + piece.lines, piece.range.end);
        piece
    })
}

/// The lines of a file, each with those that continue it.
pub(crate) fn lines(bytes: &[u8], reading: Reading) -> impl Iterator<Item = Line> {
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n');
    std::iter::from_fn(move || next_line(&mut lines, reading))
}

/// How many lines the server takes these bytes for.
pub(crate) fn count_lines(bytes: &[u8], reading: Reading) -> usize {
    lines(bytes, reading).map(|line| line.count).sum()
}

/// Whether text behind these bytes would still belong to their last line: it has no end, or is continued.
pub(crate) fn is_open(bytes: &[u8], reading: Reading) -> bool {
    let longer = [bytes, b"x\n"].concat();
    pieces(&longer, reading).last().is_some_and(|piece| piece.range.start < bytes.len())
}

/// Where the comment begins that ends the line.
pub(crate) fn comment(piece: &[u8], reading: Reading) -> Option<usize> {
    let line = lines(piece, reading).next()?;
    let mut cursor = Cursor::new(&line.text, reading);
    while let Ok(Some(_)) = cursor.token() {}
    Some(line.in_file(cursor.comment?))
}

/// Where the fields of a line begin and end, with their quotes.
pub(crate) fn spans(line: &[u8], reading: Reading) -> Vec<Range<usize>> {
    let (mut cursor, mut spans, mut open) = (Cursor::new(line, reading), Vec::<Range<usize>>::new(), false);
    while let Ok(Some((_, comma))) = cursor.token() {
        match spans.last_mut().filter(|_| open) {
            Some(span) => span.end = cursor.at,
            None => spans.push(cursor.start..cursor.at),
        }
        open = comma;
    }
    spans
}

fn next_line<'a>(lines: &mut impl Iterator<Item = &'a [u8]>, reading: Reading) -> Option<Line> {
    let mut joined = Line { text: Vec::new(), count: 0, length: 0, seams: Vec::new(), too_long: false };
    let (mut continued_at, mut hidden) = (0, false);
    for line in lines {
        if joined.length > 0 {
            joined.seams.push((joined.text.len(), joined.length));
        }
        joined.count += usize::from(!hidden);
        joined.length += line.len();
        // The server reads text as C does: a NUL byte hides what follows, and with it the end of the line.
        let seen = line.split(|byte| *byte == 0).next().unwrap_or_default();
        joined.text.extend_from_slice(seen);
        hidden = seen.len() < line.len() && reading.continues;
        if hidden {
            continue;
        }
        if let Some(longest) = reading.longest_line.filter(|longest| line.len() >= *longest) {
            // The server takes what is left for further lines.
            joined.count += (line.len() - 1) / longest;
            joined.too_long = seen.len() >= longest;
        }
        while joined.text.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            joined.text.pop();
        }
        let continues = joined.text.len() > continued_at && joined.text.last() == Some(&b'\\');
        if !reading.continues || !continues {
            break;
        }
        joined.text.pop();
        continued_at = joined.text.len();
    }
    (joined.length > 0).then_some(joined)
}

impl Line {
    /// Where a byte of the text stands in the file, from the beginning of the line.
    pub(crate) fn in_file(&self, at: usize) -> usize {
        let seam = self.seams.iter().rev().find(|(in_text, _)| *in_text <= at);
        seam.map_or(at, |(in_text, in_file)| at - in_text + in_file)
    }

    fn record(&self, reading: Reading) -> Option<Record> {
        if self.too_long {
            let trouble = Trouble::new(1, "the line is longer than this version of the server can read".into());
            return Some(Record { trouble: Some(trouble), ..Record::default() });
        }
        let mut cursor = Cursor::new(&self.text, reading);
        let (mut fields, mut end, mut open) = (Vec::<Field>::new(), 1, false);
        loop {
            match cursor.token() {
                Ok(None) => break,
                Ok(Some((token, comma))) => {
                    match fields.last_mut().filter(|_| open) {
                        Some(field) => field.push(token),
                        None => fields.push(vec![token]),
                    }
                    (end, open) = (cursor.column, comma);
                }
                Err(trouble) => return Some(Record { fields, end, trouble: Some(trouble) }),
            }
        }
        (!fields.is_empty()).then_some(Record { fields, end, trouble: None })
    }
}

struct Cursor<'a> {
    line: &'a [u8],
    reading: Reading,
    at: usize,
    column: usize,
    /// Where the last token began.
    start: usize,
    /// Where the comment begins, once it was reached.
    comment: Option<usize>,
}

impl<'a> Cursor<'a> {
    fn new(line: &'a [u8], reading: Reading) -> Self {
        Self { line, reading, at: 0, column: 1, start: 0, comment: None }
    }

    /// Characters are counted, not bytes: the place is for people.
    fn step(&mut self, bytes: &[u8]) {
        self.at += bytes.len();
        self.column += bytes.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
    }

    /// The bytes from here on that mean nothing but themselves.
    fn plain(&self, inside: bool) -> &'a [u8] {
        let rest = self.line.get(self.at..).unwrap_or_default();
        let means_more = |byte: &u8| *byte == b'"' || !inside && (is_blank(*byte) || matches!(*byte, b'#' | b','));
        rest.get(..rest.iter().position(means_more).unwrap_or(rest.len())).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// The next token, and whether a comma ends it; none at the end of the line.
    fn token(&mut self) -> Result<Option<(Token, bool)>, Trouble> {
        while let Some(byte) = self.peek().filter(|byte| is_blank(*byte) || *byte == b',') {
            self.step(&[byte]);
        }
        self.start = self.at;
        let column = self.column;
        let (mut bytes, mut quoted, mut any_quote) = (Vec::new(), false, false);
        let (mut inside, mut was_quote, mut comma) = (false, false, false);
        while let Some(byte) = self.peek() {
            if !inside && is_blank(byte) {
                break;
            }
            if !inside && byte == b'#' {
                self.comment = self.comment.or(Some(self.at));
                break;
            }
            let plain = self.plain(inside);
            if self.reading.longest_word.is_some_and(|longest| bytes.len() + plain.len().max(1) > longest) {
                return Err(Trouble::new(column, "the word is longer than this version of the server can read".into()));
            }
            match (byte, plain) {
                (b',', []) => {
                    comma = true;
                    break;
                }
                (_, []) => {
                    if was_quote {
                        bytes.push(byte);
                    }
                    // Two quotes inside quotes are one.
                    was_quote = inside && !was_quote;
                    inside = !inside;
                    any_quote = true;
                    quoted |= bytes.is_empty();
                    self.step(&[byte]);
                }
                (_, plain) => {
                    bytes.extend_from_slice(plain);
                    was_quote = false;
                    self.step(plain);
                }
            }
        }
        Ok((any_quote || !bytes.is_empty()).then_some((Token { bytes, quoted, column }, comma)))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Reading = Reading { continues: true, longest_word: None, longest_line: None };
    const OLD: Reading = Reading { continues: false, longest_word: Some(10_239), longest_line: Some(20_479) };

    /// The words of each record: `|` between fields, `,` between tokens, quoted ones in `<>`.
    fn said(bytes: &[u8], reading: Reading) -> Vec<(usize, String)> {
        let shown = |token: &Token| {
            let text = String::from_utf8_lossy(&token.bytes).into_owned();
            if token.quoted { format!("<{text}>") } else { text }
        };
        let field = |field: &Field| field.iter().map(shown).collect::<Vec<_>>().join(",");
        let record = |record: Record| record.fields.iter().map(field).collect::<Vec<_>>().join("|");
        pieces(bytes, reading).filter_map(|piece| Some((piece.line, record(piece.record?)))).collect()
    }

    fn one(line: &str) -> String {
        let all = said(line.as_bytes(), NEW);
        assert!(all.len() <= 1, "{all:?}");
        all.into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn blanks_commas_and_comments_separate_words() {
        for (line, expected) in [
            ("local all all trust", "local|all|all|trust"),
            (" \t local\tall  all\rtrust \t", "local|all|all|trust"),
            ("a, b c", "a,b|c"),
            ("a ,b c", "a|b|c"),
            ("a,,b , c", "a,b|c"),
            ("a, b", "a,b"),
            ("a,", "a"),
            (", ,a", "a"),
            ("a#b c", "a"),
            ("a,#b", "a"),
            ("# a", ""),
            (",", ""),
            ("a\u{b}b c\u{a0}d", "a\u{b}b|c\u{a0}d"),
        ] {
            assert_eq!(one(line), expected, "{line:?}");
        }
    }

    #[test]
    fn quotes_keep_what_is_in_them_and_mark_only_words_that_begin_with_them() {
        for (line, expected) in [
            (r#""a b" "c,d" "e#f""#, "<a b>|<c,d>|<e#f>"),
            (r#"a"ll" "a"ll ""all"#, "all|<all>|<all>"),
            (r#""" x"#, "<>|x"),
            (r#""a""b" """" "a""""b""#, r#"<a"b>|<">|<a""b>"#),
            (r#"map="my map","x""#, "map=my map,<x>"),
            (r#""open # all, the rest"#, "<open # all, the rest>"),
            (r#"a"b c"d e"#, "ab cd|e"),
        ] {
            assert_eq!(one(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_backslash_continues_a_line_from_version_14_on() {
        let rule = b"host all \\\n  all \\\r\n  all tru\\\nst\nlocal x x y\\";
        assert_eq!(said(rule, NEW), [(1, "host|all|all|all|trust".into()), (5, "local|x|x|y".into())]);
        let old = said(rule, OLD);
        assert_eq!(old.len(), 5);
        assert_eq!((old[0].0, old[0].1.as_str()), (1, "host|all|\\"));
        assert_eq!((old[4].0, old[4].1.as_str()), (5, "local|x|x|y\\"));
        assert_eq!(said(b"# comment \\\na b\nc", NEW), [(3, "c".into())]);
        assert_eq!(said(b"\"a \\\nb\" c\n", NEW), [(1, "<a b>|c".into())]);
        assert_eq!(said(b"a\\ \nb", NEW), [(1, "a\\".into()), (2, "b".into())]);
        assert_eq!(said(b"a\\\\\nb", NEW), [(1, "a\\b".into())]);
        // A line that is nothing but a backslash does not continue what is continued already.
        assert_eq!(said(b"a\\\n\\\nb", NEW), [(1, "ab".into())]);
        assert_eq!(said(b"a\\\n\nb", NEW), [(1, "a".into()), (3, "b".into())]);
    }

    #[test]
    fn a_nul_byte_hides_the_rest_of_its_line_and_from_version_14_on_its_end() {
        let bytes = b"local a\0 garbage\nb c\nd\n";
        assert_eq!(said(bytes, NEW), [(1, "local|ab|c".into()), (2, "d".into())]);
        assert_eq!(said(bytes, OLD), [(1, "local|a".into()), (2, "b|c".into()), (3, "d".into())]);
    }

    #[test]
    fn words_and_lines_can_be_too_long() {
        let word = |length| format!("local {} all trust", "d".repeat(length));
        let troubled = |text: String| pieces(text.as_bytes(), OLD).next().unwrap().record.unwrap().trouble.is_some();
        assert!(!troubled(word(10_239)));
        assert!(troubled(word(10_240)));
        assert!(troubled(format!("{}, a trust", &word(10_239)[..10_245])));
        let line = |length: usize| format!("local {}\nx y\n", "d ".repeat(length)[6..length].to_owned());
        assert!(!troubled(line(20_477)));
        assert!(troubled(line(20_478)));
        assert_eq!(pieces(line(20_478).as_bytes(), OLD).nth(1).unwrap().line, 2);
        assert_eq!(pieces(line(20_479).as_bytes(), OLD).nth(1).unwrap().line, 3);
    }

    #[test]
    fn places_are_columns_of_characters() {
        let record = pieces("local \"bü\",x  y".as_bytes(), NEW).next().unwrap().record.unwrap();
        let columns: Vec<_> = record.fields.iter().flatten().map(|token| token.column).collect();
        assert_eq!((columns.as_slice(), record.end), ([1, 7, 12, 15].as_slice(), 16));
    }

    #[test]
    fn comments_are_found_behind_quotes_and_continued_lines() {
        for (line, expected) in [
            ("a b # c", Some("# c")),
            ("a \"#\" b#c#d", Some("#c#d")),
            ("a \\\n b # c\\\n d\n", Some("# c\\\n d\n")),
            ("a \"b # c", None),
            ("a b", None),
        ] {
            assert_eq!(comment(line.as_bytes(), NEW).map(|at| &line[at..]), expected, "{line:?}");
        }
    }

    #[test]
    fn the_spans_of_fields_have_their_quotes() {
        let line = b"  a, \"b c\"  d# x";
        let spans: Vec<_> = spans(line, NEW).into_iter().map(|span| &line[span]).collect();
        assert_eq!(spans, [b"a, \"b c\"".as_slice(), b"d"]);
    }
}
