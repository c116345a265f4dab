//! What is written in a file and means something else than it looks like: comments, commas, quotes, odd bytes.
use super::dialect::Dialect;
use super::files::{Files, resolve};
use super::finding::{Finding, FindingKind, Place};
use super::token::{Reading, Record, Token, pieces};
use std::collections::HashMap;
use std::sync::Arc;

/// The mark that some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Looks through the text of a file, as that server reads it. `@file`s are looked up in `files`.
pub(super) fn traps(file: &Arc<str>, bytes: &[u8], files: &Files, dialect: &Dialect) -> Vec<Finding> {
    let reading = dialect.reading();
    let mut traps = Traps { file, findings: Vec::new(), empty: HashMap::new() };
    if bytes.starts_with(BYTE_ORDER_MARK) {
        traps.say(FindingKind::ByteOrderMark, 1, "the file begins with a byte order mark, which spoils its first line");
    }
    for piece in pieces(bytes, reading) {
        let text = bytes.get(piece.range.clone()).unwrap_or_default();
        traps.odd_bytes(piece.line, text);
        traps.written(piece.line, text, reading);
        if let Some(record) = &piece.record {
            traps.address(piece.line, record);
            traps.empty_files(piece.line, record, files, dialect);
        }
    }
    traps.findings
}

struct Traps<'a> {
    file: &'a Arc<str>,
    findings: Vec<Finding>,
    /// Whether there are no words in a file; thousands of rules may name the same.
    empty: HashMap<String, bool>,
}

impl Traps<'_> {
    fn say(&mut self, kind: FindingKind, line: usize, message: impl Into<String>) {
        let finding = Finding::new(kind, Some(Place { file: self.file.clone(), line }), &message.into());
        if self.findings.last() != Some(&finding) {
            self.findings.push(finding);
        }
    }

    fn odd_bytes(&mut self, first: usize, text: &[u8]) {
        for (line, text) in (first..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            if text.contains(&0) {
                self.say(FindingKind::NulByte, line, "a NUL byte hides the rest of its line");
            }
            if without_end(text).contains(&b'\r') {
                self.say(
                    FindingKind::CarriageReturn,
                    line,
                    "a carriage return is a blank here, and ends no line: is the file from an old Macintosh?",
                );
            }
        }
    }

    /// Goes through a line and those that continue it, with the server's rules for quotes.
    fn written(&mut self, first: usize, text: &[u8], reading: Reading) {
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let last = first + lines.len().saturating_sub(1);
        let (mut inside, mut before) = (false, Before::Nothing);
        for (number, line) in (first..).zip(lines) {
            let mut line = without_end(line);
            if number < last {
                line = line.strip_suffix(b"\\").unwrap_or(line);
            }
            if !reading.continues && line.ends_with(b"\\") {
                let message = "from PostgreSQL 14 on, the backslash at the end takes the next line along with this one";
                self.say(FindingKind::OtherVersion, number, message);
            }
            for (at, byte) in line.iter().enumerate() {
                match byte {
                    b'"' => (inside, before) = (!inside, Before::Word),
                    _ if inside => {}
                    b'#' => {
                        let word = line.get(..at).filter(|_| before == Before::Word).unwrap_or_default();
                        return self.comment(number, number == last, word);
                    }
                    _ => before = self.between(number, before, *byte),
                }
            }
        }
        if inside {
            self.say(FindingKind::OpenQuote, last, "a quote is not closed, and takes the rest of the line");
        }
        if before == Before::Comma {
            self.say(FindingKind::BlankAfterComma, last, AFTER_COMMA);
        }
    }

    /// Takes a byte outside quotes; returns what then stands before the next one.
    fn between(&mut self, line: usize, before: Before, byte: u8) -> Before {
        match (byte, before) {
            (b',', Before::Blank) => self.say(FindingKind::BlankBeforeComma, line, BEFORE_COMMA),
            (b' ' | b'\t' | b'\r', Before::Comma) => self.say(FindingKind::BlankAfterComma, line, AFTER_COMMA),
            (b' ' | b'\t' | b'\r', Before::Nothing) => return Before::Nothing,
            _ => {}
        }
        match byte {
            b',' => Before::Comma,
            b' ' | b'\t' | b'\r' => Before::Blank,
            _ => Before::Word,
        }
    }

    /// Takes the beginning of a comment, and the text directly before it.
    fn comment(&mut self, line: usize, is_last: bool, text: &[u8]) {
        if !is_last {
            let message =
                "the comment ends in a backslash, and so goes on in the next line: what stands there is no rule";
            self.say(FindingKind::ContinuedComment, line, message);
        }
        let word = text.rsplit(|byte| matches!(byte, b' ' | b'\t' | b',')).next().unwrap_or_default();
        if word.starts_with(b"/") {
            let message = "a # begins a comment in the middle of a regular expression; quote the expression";
            self.say(FindingKind::CutExpression, line, message);
        }
    }

    /// Octal numbers, and fewer than four, which the server reads as C does.
    fn address(&mut self, line: usize, record: &Record) {
        let word = |field: usize| record.fields.get(field).and_then(|field| field.first()).map(|token| &*token.bytes);
        let Some(address) = word(3).filter(|_| word(0).is_some_and(|word| word.starts_with(b"host"))) else { return };
        let address = address.split(|byte| *byte == b'/').next().unwrap_or_default();
        let parts: Vec<&[u8]> = address.split(|byte| *byte == b'.').collect();
        let is_number = |part: &&[u8]| {
            let hexadecimal = part.strip_prefix(b"0x").or_else(|| part.strip_prefix(b"0X"));
            let digits = hexadecimal.unwrap_or(part);
            !digits.is_empty()
                && digits.iter().all(|byte| byte.is_ascii_digit() || hexadecimal.is_some() && byte.is_ascii_hexdigit())
        };
        let is_odd = |part: &&[u8]| part.len() > 1 && part.first() == Some(&b'0');
        if parts.iter().all(is_number) && (parts.len() != 4 || parts.iter().any(is_odd)) {
            let text = String::from_utf8_lossy(address);
            let message = format!("the server reads {text} as C does: 010 is octal, 8, and missing numbers are zero");
            self.say(FindingKind::AddressForm, line, message);
        }
    }

    /// A field of nothing but such files vanishes, and the next ones move up into its place.
    fn empty_files(&mut self, line: usize, record: &Record, files: &Files, dialect: &Dialect) {
        for name in record.fields.iter().flatten().filter_map(Token::file) {
            let Ok(path) = resolve(self.file, name, dialect) else { continue };
            let is_empty = |bytes: &[u8]| pieces(bytes, dialect.reading()).all(|piece| piece.record.is_none());
            let look = || files.get(&path).flatten().is_some_and(|bytes| is_empty(&bytes));
            if *self.empty.entry(path.clone()).or_insert_with(look) {
                let message =
                    format!("there are no words in {path}; a field of nothing else is none, and the next moves up");
                self.say(FindingKind::EmptyFile, line, message);
            }
        }
    }
}

/// A line without what ends it.
fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rev().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    line.get(..line.len() - end).unwrap_or_default()
}

const BEFORE_COMMA: &str = "a blank before the comma ends the list: what follows is the next field";
const AFTER_COMMA: &str = "a list goes on after a comma, also after a blank: what follows is part of it";

/// What stands before a byte.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    Nothing,
    Blank,
    Comma,
    Word,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::version::ServerVersion;

    fn found(bytes: &[u8], version: &str) -> Vec<(FindingKind, usize)> {
        let dialect = Dialect::new(ServerVersion::parse(version).unwrap());
        let mut files = Files::new();
        files.insert("/etc/empty", Some(b" # nothing\n".to_vec()));
        files.insert("/etc/words", Some(b"a".to_vec()));
        let findings = traps(&"/etc/f".into(), bytes, &files, &dialect);
        findings.into_iter().map(|finding| (finding.kind, finding.place.unwrap().line)).collect()
    }

    #[test]
    fn each_trap_is_found_where_it_is() {
        use FindingKind::*;
        for (text, expected) in [
            ("local all all trust # fine\r\n\"a b\",\"c , d\" \"#\"\n", vec![]),
            ("# keep \\\nhost all alice all reject\nhost all all all md5\n", vec![(ContinuedComment, 1)]),
            ("local all \\\n  all # x \\\nlocal all all reject\n", vec![(ContinuedComment, 2)]),
            ("local \"#\\\n\" all trust\n", vec![]),
            ("\nlocal db1 ,db2 u1 trust\n", vec![(BlankBeforeComma, 2)]),
            ("local db1, db2, db3 u1 trust\n", vec![(BlankAfterComma, 1)]),
            ("local db1,\n", vec![(BlankAfterComma, 1)]),
            ("local \"db all trust # x\n", vec![(OpenQuote, 1)]),
            ("local \"a\\\nb all trust", vec![(OpenQuote, 2)]),
            ("\u{feff}local all all trust\n", vec![(ByteOrderMark, 1)]),
            ("local all all trust\0 x\n", vec![(NulByte, 1)]),
            ("# a\rlocal all all trust\r", vec![(CarriageReturn, 1)]),
            ("host all all 010.0.0.1/32 trust\n", vec![(AddressForm, 1)]),
            ("host all all 127.1/8 trust\nhost all all 0x7f.0.0.1/8 trust", vec![(AddressForm, 1), (AddressForm, 2)]),
            ("host all all 10.0.0.1/32 trust\nhost all all 0.0.0.0/0 trust\nhost all all fe.ed md5", vec![]),
            ("local /^a#b$ all trust\n", vec![(CutExpression, 1)]),
            ("local @words,\"@empty\" all trust\n\nlocal @empty all all trust\n", vec![(EmptyFile, 3)]),
        ] {
            assert_eq!(found(text.as_bytes(), "18.1"), expected, "{text:?}");
        }
    }

    #[test]
    fn a_backslash_that_a_newer_server_reads_otherwise_is_found() {
        let text = b"# keep \\\nhost all alice all reject\n";
        assert_eq!(found(text, "13.1"), [(FindingKind::OtherVersion, 1)]);
    }
}
