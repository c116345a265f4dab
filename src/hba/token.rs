//! The bytes of a file as records of fields of tokens, by the rules of PostgreSQL's own tokenizer
//! ([pg_hba.conf](https://www.postgresql.org/docs/current/auth-pg-hba-conf.html)). Any bytes are taken; there are no errors.
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

/// What stands between blanks; several tokens where there are commas.
pub(crate) type Field = Vec<Token>;

/// A line that says something, with those that continue it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    pub(crate) fields: Vec<Field>,
}

/// Lines of a file that belong together: one, and those that continue it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Piece {
    /// The number of the first line, from 1.
    pub(crate) line: usize,
    /// Its bytes in the file, with the ends of its lines.
    pub(crate) range: Range<usize>,
    /// None for blank lines and comments.
    pub(crate) record: Option<Record>,
}

/// How lines are put together; it differs between versions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Continuation {
    /// PostgreSQL 14 and newer: a backslash at the end continues a line.
    Backslash,
    /// Older ones: each line is by itself.
    None,
}

/// All of a file, in order; the ranges follow one another without a gap.
pub(crate) fn pieces(bytes: &[u8], continuation: Continuation) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut lines = bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    let (mut line, mut start) = (1, 0);
    while lines.peek().is_some() {
        let (text, count, length) = logical_line(&mut lines, continuation);
        let fields = fields(&text);
        let record = (!fields.is_empty()).then_some(Record { fields });
        pieces.push(Piece { line, range: start..start + length, record });
        (line, start) = (line + count, start + length);
    }
    pieces
}

/// The text of the next line and of those that continue it, how many they are, and their length in the file.
fn logical_line<'a>(lines: &mut impl Iterator<Item = &'a [u8]>, continuation: Continuation) -> (Vec<u8>, usize, usize) {
    let (mut text, mut count, mut length) = (Vec::new(), 0, 0);
    let mut continued_at = 0;
    for line in lines {
        count += 1;
        length += line.len();
        // The server reads text as C does: a NUL byte hides what follows, and with it the end of the line.
        let seen = line.split(|byte| *byte == 0).next().unwrap_or_default();
        text.extend_from_slice(seen);
        if seen.len() < line.len() && continuation == Continuation::Backslash {
            continue;
        }
        while text.last().is_some_and(|byte| matches!(byte, b'\r' | b'\n')) {
            text.pop();
        }
        if continuation == Continuation::None || text.len() <= continued_at || text.last() != Some(&b'\\') {
            break;
        }
        text.pop();
        continued_at = text.len();
    }
    (text, count, length)
}

/// The fields of a line; none for a blank one or a comment.
pub(crate) fn fields(line: &[u8]) -> Vec<Field> {
    let mut rest = Cursor { line, at: 0, column: 1 };
    let mut fields = Vec::new();
    while rest.at < line.len() {
        let mut field = Vec::new();
        while let Some((token, comma)) = rest.token() {
            field.push(token);
            if !comma {
                break;
            }
        }
        if !field.is_empty() {
            fields.push(field);
        }
    }
    fields
}

struct Cursor<'a> {
    line: &'a [u8],
    at: usize,
    column: usize,
}

impl Cursor<'_> {
    /// Characters are counted, not bytes: the place is for people.
    fn step(&mut self, byte: u8) {
        self.at += 1;
        self.column += usize::from(byte & 0xC0 != 0x80);
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// The next token, and whether a comma ends it; none at the end of the line.
    fn token(&mut self) -> Option<(Token, bool)> {
        while let Some(byte) = self.peek().filter(|byte| is_blank(*byte) || *byte == b',') {
            self.step(byte);
        }
        let column = self.column;
        let (mut bytes, mut quoted, mut any_quote) = (Vec::new(), false, false);
        let (mut inside, mut was_quote, mut comma) = (false, false, false);
        while let Some(byte) = self.peek() {
            match byte {
                _ if !inside && is_blank(byte) => break,
                b'#' if !inside => {
                    self.at = self.line.len();
                    break;
                }
                b',' if !inside => {
                    comma = true;
                    break;
                }
                b'"' => {
                    if was_quote {
                        bytes.push(byte);
                    }
                    // Two quotes inside quotes are one.
                    was_quote = inside && !was_quote;
                    inside = !inside;
                    any_quote = true;
                    quoted |= bytes.is_empty();
                }
                _ => {
                    bytes.push(byte);
                    was_quote = false;
                }
            }
            self.step(byte);
        }
        (any_quote || !bytes.is_empty()).then_some((Token { bytes, quoted, column }, comma))
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}
