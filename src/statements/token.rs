//! The tokens of SQL, as far as they tell where a statement ends
//! ([Lexical Structure](https://www.postgresql.org/docs/current/sql-syntax-lexical.html)).

/// What a token is. Strings are read with `standard_conforming_strings` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Blank,
    Comment,
    /// A keyword or a name without quotes.
    Word,
    /// A string, or a name in quotes.
    Quoted,
    Open,
    Close,
    Semicolon,
    Backslash,
    /// A byte of anything else: of a number, an operator, a comma.
    Other,
}

/// Why there is no token: the text ends within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unended(pub(crate) &'static str);

const STRING: Unended = Unended("a string is not closed");
const NAME: Unended = Unended("a name in double quotes is not closed");
const COMMENT: Unended = Unended("a comment is not closed");
const DOLLARS: Unended = Unended("a string in dollar quotes is not closed");
/// There may be more of it, in the part of the text that is not there yet.
const MORE: Unended = Unended("the text is not whole");

/// The token at the beginning of a text, which is not empty, and its length. `whole` says that nothing comes after
/// the text; if something may, a token that ends where the text does is not known yet.
pub(crate) fn token(text: &[u8], whole: bool) -> Result<(Token, usize), Unended> {
    let next = |position: usize| text.get(position).copied();
    match (next(0).unwrap_or_default(), next(1)) {
        (b'-' | b'/', None) if !whole => Err(MORE),
        (b'-', Some(b'-')) => Ok((Token::Comment, end_of_line(text, whole)?)),
        (b'/', Some(b'*')) => Ok((Token::Comment, end_of_comment(text)?)),
        (b'\'', _) => Ok((Token::Quoted, end_of_quoted(text, b'\'').ok_or(STRING)?)),
        (b'"', _) => Ok((Token::Quoted, end_of_quoted(text, b'"').ok_or(NAME)?)),
        (b'e' | b'E', Some(b'\'')) => Ok((Token::Quoted, end_of_escaped(text, whole)?)),
        (b'$', _) => dollars(text, whole),
        (b'(', _) => Ok((Token::Open, 1)),
        (b')', _) => Ok((Token::Close, 1)),
        (b';', _) => Ok((Token::Semicolon, 1)),
        (b'\\', _) => Ok((Token::Backslash, 1)),
        (byte, _) if is_blank(byte) => Ok((Token::Blank, run(text, is_blank))),
        (byte, _) if begins_word(byte) => {
            let length = run(text, continues_word);
            if length == text.len() && !whole { Err(MORE) } else { Ok((Token::Word, length)) }
        }
        _ => Ok((Token::Other, 1)),
    }
}

pub(crate) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

pub(crate) fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

pub(crate) fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// How many bytes from the beginning are such.
fn run(text: &[u8], is: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !is(*byte)).unwrap_or(text.len())
}

fn find(text: &[u8], from: usize, byte: u8) -> Option<usize> {
    text.get(from..)?.iter().position(|each| *each == byte).map(|position| from + position)
}

/// Where the line ends: before its newline.
fn end_of_line(text: &[u8], whole: bool) -> Result<usize, Unended> {
    let end = run(text, |byte| byte != b'\n' && byte != b'\r');
    if end == text.len() && !whole { Err(MORE) } else { Ok(end) }
}

/// A quote within is written twice: that reads as two strings side by side, with the same end.
fn end_of_quoted(text: &[u8], quote: u8) -> Option<usize> {
    find(text, 1, quote).map(|position| position + 1)
}

/// Comments nest.
fn end_of_comment(text: &[u8]) -> Result<usize, Unended> {
    let (mut depth, mut position) = (0_usize, 0);
    while let Some(pair) = text.get(position..position + 2) {
        let (by, length) = match pair {
            b"/*" => (1, 2),
            b"*/" => (-1, 2),
            _ => (0, 1),
        };
        depth = depth.saturating_add_signed(by);
        position += length;
        if depth == 0 {
            return Ok(position);
        }
    }
    Err(COMMENT)
}

/// Where a string ends in which a backslash escapes: `E'...'`. It goes on in another pair of quotes, if there is nothing
/// but blanks, comments and at least one newline between.
fn end_of_escaped(text: &[u8], whole: bool) -> Result<usize, Unended> {
    let mut position = 2;
    loop {
        match text.get(position).ok_or(STRING)? {
            b'\\' => position += 2,
            b'\'' => match continued(text, position + 1, whole)? {
                Some(within) => position = within,
                None => return Ok(position + 1),
            },
            _ => position += 1,
        }
    }
}

/// Where a string goes on that was closed here, if it does.
fn continued(text: &[u8], closed: usize, whole: bool) -> Result<Option<usize>, Unended> {
    let (mut position, mut newline) = (closed, false);
    loop {
        let rest = text.get(position..).unwrap_or_default();
        match (rest.first(), rest.get(1)) {
            (None, _) | (Some(b'-'), None) => return if whole { Ok(None) } else { Err(MORE) },
            (Some(b'\''), _) if newline || position == closed => return Ok(Some(position + 1)),
            (Some(byte), _) if is_blank(*byte) => {
                newline |= matches!(byte, b'\n' | b'\r');
                position += 1;
            }
            (Some(b'-'), Some(b'-')) => position += end_of_line(rest, whole)?,
            _ => return Ok(None),
        }
    }
}

/// `$tag$ ... $tag$`, or a lone dollar sign, as in `$1`.
fn dollars(text: &[u8], whole: bool) -> Result<(Token, usize), Unended> {
    let rest = text.get(1..).unwrap_or_default();
    let tag = run(rest, |byte| continues_word(byte) && byte != b'$');
    match rest.get(tag) {
        None if !whole => return Err(MORE),
        Some(b'$') if !rest.first().is_some_and(u8::is_ascii_digit) => {}
        _ => return Ok((Token::Other, 1)),
    }
    let (delimiter, body) = text.split_at_checked(tag + 2).ok_or(DOLLARS)?;
    let mut from = 0;
    while let Some(position) = find(body, from, b'$') {
        if body.get(position..).is_some_and(|rest| rest.starts_with(delimiter)) {
            return Ok((Token::Quoted, position + 2 * delimiter.len()));
        }
        from = position + 1;
    }
    Err(DOLLARS)
}
