//! A whole text in its pieces, however much of it is seen at a time: what tests and the fuzzer look at.
use super::{Data, Fault, Next, Sort, data, lines, next};

/// A piece of a text: a gap, a statement with its semicolon, or data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Gap(String),
    Statement(String, Sort),
    Data(String),
}

/// What a text that is there as a whole never asks for.
const MORE: &str = "the text goes on behind its end";

/// All pieces of a text that is seen a few bytes more at a time.
pub(crate) fn pieces_by(text: &[u8], step: usize) -> Result<Vec<Piece>, Fault> {
    let (mut pieces, mut position, mut seen, mut copies) = (Vec::new(), 0, step.min(text.len()), false);
    let string = |from: usize, length: usize| {
        String::from_utf8_lossy(text.get(from..from + length).unwrap_or_default()).into_owned()
    };
    loop {
        let (part, whole) = (text.get(position..seen).unwrap_or_default(), seen == text.len());
        let before = || lines(text.get(..position).unwrap_or_default());
        let absolute = |fault: Fault| Fault { line: before() + fault.line, ..fault };
        let found = match copies {
            true => match data(part, whole).map_err(absolute)? {
                Data::Lines(length) => Some((Piece::Data(string(position, length)), length)),
                Data::Last(length, end) => {
                    copies = false;
                    Some((Piece::Data(string(position, length + end)), length + end))
                }
                Data::More => None,
            },
            false => match next(part, whole).map_err(absolute)? {
                Next::Gap(length) => Some((Piece::Gap(string(position, length)), length)),
                Next::Statement(found) => {
                    copies = found.sort == Sort::Copy;
                    Some((Piece::Statement(string(position, found.whole), found.sort), found.whole))
                }
                Next::More => None,
                Next::End => return Ok(pieces),
            },
        };
        match found {
            Some((piece, length)) => {
                position += length;
                seen = seen.max(position);
                pieces.push(piece);
            }
            None if whole => return Err(Fault { line: before(), problem: MORE.into() }),
            None => seen = (seen + step.max(1)).min(text.len()),
        }
    }
}

/// Gaps and data side by side as one, which is what is left of how the text was seen.
pub(crate) fn merged(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut all: Vec<Piece> = Vec::new();
    for piece in pieces {
        match (all.last_mut(), piece) {
            (Some(Piece::Gap(before)), Piece::Gap(text)) => before.push_str(&text),
            (Some(Piece::Data(before)), Piece::Data(text)) => before.push_str(&text),
            (_, piece) => all.push(piece),
        }
    }
    all
}

/// For the fuzzer: the pieces with what they are, or what is wrong with the text.
#[doc(hidden)]
pub fn __pieces(text: &str, step: usize) -> Result<Vec<(&'static str, String)>, String> {
    let told = |piece| match piece {
        Piece::Gap(text) => ("gap", text),
        Piece::Statement(text, _) => ("statement", text),
        Piece::Data(text) => ("data", text),
    };
    match pieces_by(text.as_bytes(), step) {
        Ok(pieces) => Ok(merged(pieces).into_iter().map(told).collect()),
        Err(fault) => Err(fault.problem),
    }
}
