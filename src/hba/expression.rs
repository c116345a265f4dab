//! Regular expressions of pg_hba.conf, as far as they can be matched without a server.
//!
//! PostgreSQL's advanced regular expressions
//! ([documentation](https://www.postgresql.org/docs/current/functions-matching.html#POSIX-SYNTAX-DETAILS)) are translated
//! where the crate `regex` has the same; nothing is guessed. The server compiles those of pg_hba.conf before it knows
//! of any database's encoding, in the collation "C": they match bytes, and only ASCII has letters.
use regex::bytes::{Regex, RegexBuilder};

/// A regular expression, ready to be matched.
#[derive(Debug)]
pub(super) enum Expression {
    /// It means the same here as on the server.
    Same(Regex),
    /// It is nothing but a text, which may have to be at the beginning or the end of a name.
    Text { text: Vec<u8>, start: bool, end: bool },
    /// Only a server knows what it matches.
    Foreign,
}

impl Expression {
    pub(super) fn new(expression: &[u8]) -> Self {
        // Such are most, and a rule set may have thousands: they are spared the memory of a compiled expression.
        let (start, inner) = expression.strip_prefix(b"^").map_or((false, expression), |rest| (true, rest));
        let (end, inner) = inner.strip_suffix(b"$").map_or((false, inner), |rest| (true, rest));
        if !inner.iter().any(|byte| br"$^\[](){}|*+?.".contains(byte)) {
            return Self::Text { text: inner.to_vec(), start, end };
        }
        let Some(text) = translate(expression) else { return Self::Foreign };
        let regex = RegexBuilder::new(&text).unicode(false).dot_matches_new_line(true).build();
        regex.map_or(Self::Foreign, Self::Same)
    }

    /// Whether it matches somewhere in a name; none where only a server knows.
    pub(super) fn matches(&self, name: &[u8]) -> Option<bool> {
        match self {
            Self::Same(regex) => Some(regex.is_match(name)),
            Self::Text { text, start: true, end: true } => Some(name == text),
            Self::Text { text, start: true, end: false } => Some(name.starts_with(text)),
            Self::Text { text, start: false, end: true } => Some(name.ends_with(text)),
            Self::Text { text, start: false, end: false } => {
                Some(text.is_empty() || name.windows(text.len()).any(|window| window == text))
            }
            Self::Foreign => None,
        }
    }
}

/// The expression in the syntax of the crate `regex`; none if it has something that means another thing there, or that
/// the server refuses.
fn translate(expression: &[u8]) -> Option<String> {
    let mut translation = Translation { rest: expression, out: String::new(), fold: false, depth: 0, atom: false };
    if let Some(rest) = translation.rest.strip_prefix(b"***") {
        match rest {
            [b'=', literal @ ..] => return Some(translation.literally(literal)),
            [b':', rest @ ..] => translation.rest = rest,
            _ => return None,
        }
    }
    if translation.options()? == Syntax::Literal {
        return Some(translation.literally(translation.rest));
    }
    while let Some((byte, rest)) = translation.rest.split_first() {
        translation.rest = rest;
        translation.step(*byte)?;
    }
    (translation.depth == 0).then_some(translation.out)
}

#[derive(PartialEq)]
enum Syntax {
    Advanced,
    Literal,
}

struct Translation<'a> {
    rest: &'a [u8],
    out: String,
    /// Whether upper and lower case are the same.
    fold: bool,
    /// How many parentheses are open.
    depth: usize,
    /// Whether the last thing can be repeated: nothing, an anchor and a quantifier cannot.
    atom: bool,
}

impl Translation<'_> {
    /// Takes the letters between `(?` and `)` at the beginning.
    fn options(&mut self) -> Option<Syntax> {
        let mut syntax = Syntax::Advanced;
        let Some(rest) = self.rest.strip_prefix(b"(?") else { return Some(syntax) };
        if !rest.first().is_some_and(u8::is_ascii_alphabetic) {
            return Some(syntax);
        }
        let end = rest.iter().position(|byte| *byte == b')')?;
        for letter in rest.get(..end)? {
            match letter {
                b'i' => self.fold = true,
                b'c' => self.fold = false,
                b'q' => syntax = Syntax::Literal,
                // What the expression has anyway: newlines are ordinary, blanks count.
                b's' | b't' => {}
                _ => return None,
            }
        }
        self.rest = rest.get(end + 1..)?;
        Some(syntax)
    }

    fn literally(&self, literal: &[u8]) -> String {
        literal.iter().map(|byte| single(*byte, self.fold)).collect()
    }

    fn step(&mut self, byte: u8) -> Option<()> {
        match byte {
            b'(' => self.open(),
            b')' => {
                self.depth = self.depth.checked_sub(1)?;
                self.push(")", true)
            }
            b'|' => self.push("|", false),
            b'^' => self.push("\\A", false),
            b'$' => self.push("\\z", false),
            b'.' => self.push(".", true),
            b'*' | b'+' | b'?' => self.quantifier(char::from(byte).to_string()),
            b'{' if self.rest.first().is_some_and(u8::is_ascii_digit) => self.bounds(),
            b'[' => self.bracket(),
            b'\\' => self.escape(),
            _ => self.push(&single(byte, self.fold), true),
        }
    }

    fn push(&mut self, text: &str, atom: bool) -> Option<()> {
        self.out.push_str(text);
        self.atom = atom;
        Some(())
    }

    fn open(&mut self) -> Option<()> {
        match self.rest {
            [b'?', b':', rest @ ..] => self.rest = rest,
            // Looking ahead and behind, and comments.
            [b'?', ..] => return None,
            _ => {}
        }
        self.depth += 1;
        self.push("(?:", false)
    }

    /// Quantifiers follow something that can be repeated. Greedy or not makes no difference to whether there is a match.
    fn quantifier(&mut self, text: String) -> Option<()> {
        if !self.atom {
            return None;
        }
        if let [b'?', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.push(&text, false)
    }

    /// `{m}`, `{m,}` and `{m,n}`; both at most 255.
    fn bounds(&mut self) -> Option<()> {
        let end = self.rest.iter().position(|byte| *byte == b'}')?;
        let text = std::str::from_utf8(self.rest.get(..end)?).ok()?;
        let number = |text: &str| -> Option<u16> {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|number| digits && *number <= 255)
        };
        let text = match text.split_once(',') {
            None => format!("{{{}}}", number(text)?),
            Some((least, "")) => format!("{{{},}}", number(least)?),
            Some((least, most)) => {
                let (least, most) = (number(least)?, number(most)?);
                (least <= most).then(|| format!("{{{least},{most}}}"))?
            }
        };
        self.rest = self.rest.get(end + 1..)?;
        self.quantifier(text)
    }

    fn escape(&mut self) -> Option<()> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        if let Some(set) = Set::shorthand(*byte) {
            return self.push(&set.text(), true);
        }
        match byte {
            b'A' => self.push("\\A", false),
            b'Z' => self.push("\\z", false),
            b'm' => self.push("\\b{start}", false),
            b'M' => self.push("\\b{end}", false),
            b'y' => self.push("\\b", false),
            b'Y' => self.push("\\B", false),
            _ => self.push(&single(plain_escape(*byte)?, self.fold), true),
        }
    }

    /// A list in brackets, whose first one was taken.
    fn bracket(&mut self) -> Option<()> {
        let negated = self.rest.first() == Some(&b'^');
        if negated {
            self.rest = self.rest.get(1..)?;
        }
        let mut set = Set::default();
        let mut first = true;
        loop {
            match self.rest {
                [b']', rest @ ..] if !first => {
                    self.rest = rest;
                    break;
                }
                [b'[', b':', ..] => set.add(&self.class()?),
                // Collating elements, and equivalence classes.
                [b'[', b'.' | b'=', ..] => return None,
                [b'\\', letter @ (b'd' | b's' | b'w'), rest @ ..] => {
                    self.rest = rest;
                    set.add(&Set::shorthand(*letter)?);
                }
                _ => self.range(&mut set, first)?,
            }
            first = false;
        }
        if self.fold {
            set.fold();
        }
        if negated {
            set.negate();
        }
        self.push(&set.text(), true)
    }

    /// `[:alpha:]` and its like; a range cannot begin with one.
    fn class(&mut self) -> Option<Set> {
        let rest = self.rest.get(2..)?;
        let end = rest.windows(2).position(|pair| pair == b":]")?;
        let set = Set::class(rest.get(..end)?)?;
        self.rest = rest.get(end + 2..)?;
        match self.rest {
            [b'-', next, ..] if *next != b']' => None,
            _ => Some(set),
        }
    }

    /// One character, or a range of them. A minus stands for itself at the beginning and at the end.
    fn range(&mut self, set: &mut Set, first: bool) -> Option<()> {
        let is_last = self.rest.get(1) == Some(&b']');
        if self.rest.first() == Some(&b'-') && !first && !is_last {
            return None;
        }
        let from = self.element()?;
        let to = match self.rest {
            [b'-', next, ..] if *next != b']' => {
                self.rest = self.rest.get(1..)?;
                self.element()?
            }
            _ => from,
        };
        (from <= to).then(|| set.add_range(from, to))
    }

    fn element(&mut self) -> Option<u8> {
        match self.rest {
            [b'\\', byte, rest @ ..] => {
                self.rest = rest;
                plain_escape(*byte)
            }
            [b'[', b':' | b'.' | b'=', ..] => None,
            [byte, rest @ ..] => {
                self.rest = rest;
                Some(*byte)
            }
            [] => None,
        }
    }
}

/// The byte that an escape stands for.
fn plain_escape(byte: u8) -> Option<u8> {
    match byte {
        b'a' => Some(7),
        b'b' => Some(8),
        b'B' => Some(b'\\'),
        b'e' => Some(27),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        b'v' => Some(11),
        _ if byte.is_ascii_alphanumeric() => None,
        other => Some(other),
    }
}

/// A set of bytes.
#[derive(Clone)]
struct Set([bool; 256]);

impl Default for Set {
    fn default() -> Self {
        Self([false; 256])
    }
}

impl Set {
    fn all(holds: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::default();
        set.0.iter_mut().zip(0..=u8::MAX).for_each(|(there, byte)| *there = holds(byte));
        set
    }

    fn shorthand(letter: u8) -> Option<Self> {
        let mut set = match letter.to_ascii_lowercase() {
            b'd' => Self::class(b"digit")?,
            b's' => Self::class(b"space")?,
            b'w' => Self::class(b"word")?,
            _ => return None,
        };
        if letter.is_ascii_uppercase() {
            set.negate();
        }
        Some(set)
    }

    fn class(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"alnum" => Self::all(|byte| byte.is_ascii_alphanumeric()),
            b"alpha" => Self::all(|byte| byte.is_ascii_alphabetic()),
            b"ascii" => Self::all(|byte| byte.is_ascii()),
            b"blank" => Self::all(|byte| matches!(byte, b' ' | b'\t')),
            b"cntrl" => Self::all(|byte| byte.is_ascii_control()),
            b"digit" => Self::all(|byte| byte.is_ascii_digit()),
            b"graph" => Self::all(|byte| byte.is_ascii_graphic()),
            b"lower" => Self::all(|byte| byte.is_ascii_lowercase()),
            b"print" => Self::all(|byte| byte.is_ascii_graphic() || byte == b' '),
            b"punct" => Self::all(|byte| byte.is_ascii_punctuation()),
            b"space" => Self::all(|byte| matches!(byte, b' ' | b'\t'..=b'\r')),
            b"upper" => Self::all(|byte| byte.is_ascii_uppercase()),
            b"word" => Self::all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            b"xdigit" => Self::all(|byte| byte.is_ascii_hexdigit()),
            _ => return None,
        })
    }

    fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).is_some_and(|there| *there)
    }

    fn add(&mut self, other: &Self) {
        *self = Self::all(|byte| self.has(byte) || other.has(byte));
    }

    fn add_range(&mut self, from: u8, to: u8) {
        *self = Self::all(|byte| self.has(byte) || (from..=to).contains(&byte));
    }

    fn fold(&mut self) {
        *self = Self::all(|byte| self.has(byte.to_ascii_lowercase()) || self.has(byte.to_ascii_uppercase()));
    }

    fn negate(&mut self) {
        self.0.iter_mut().for_each(|there| *there = !*there);
    }

    /// It, in the syntax of the crate `regex`.
    fn text(&self) -> String {
        let members: Vec<u8> = (0..=u8::MAX).filter(|byte| self.has(*byte)).collect();
        match members.as_slice() {
            [] => "[^\\x00-\\xFF]".into(),
            _ => {
                let runs = members.chunk_by(|a, b| a.checked_add(1) == Some(*b));
                let runs = runs.filter_map(|run| Some((*run.first()?, *run.last()?)));
                let runs = runs.map(|(from, to)| format!("{}-{}", hexadecimal(from), hexadecimal(to)));
                format!("[{}]", runs.collect::<String>())
            }
        }
    }
}

/// One byte, with both cases of a letter if they are the same.
fn single(byte: u8, fold: bool) -> String {
    match fold && byte.is_ascii_alphabetic() {
        true => format!("[{}{}]", hexadecimal(byte.to_ascii_lowercase()), hexadecimal(byte.to_ascii_uppercase())),
        false => hexadecimal(byte),
    }
}

fn hexadecimal(byte: u8) -> String {
    format!("\\x{byte:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(expression: &str, name: &str) -> Option<bool> {
        Expression::new(expression.as_bytes()).matches(name.as_bytes())
    }

    #[test]
    fn what_means_the_same_is_matched() {
        for (expression, yes, no) in [
            ("^al", "alice", "bal"),
            ("", "anything", "\0"),
            ("lic", "alice", "alce"),
            ("(?i)^AL", "alice", "bal"),
            ("^(alice|bob)$", "bob", "bobby"),
            (r"^db\d{1,2}$", "db12", "db123"),
            ("^/x$", "/x", "/xy"),
            ("^[^a-c]+$", "xyz", "xaz"),
            ("(?i)^[^a]$", "b", "A"),
            ("^[]x-]$", "-", "a"),
            ("^[[:alpha:]_]+$", "a_b", "a1"),
            ("^a{,2}$", "a{,2}", "aa"),
            ("***=a.b", "xa.bx", "axb"),
            ("(?q)a|b", "a|b", "a"),
            (r"\mabc\M", "x abc", "xabc"),
            (r"^\Bx$", "\\x", "x"),
            ("^a*?$", "aa", "ab"),
        ] {
            assert_eq!(matches(expression, yes), Some(true), "{expression} {yes}");
            assert_eq!(matches(expression, no), Some(no == "\0"), "{expression} {no}");
        }
    }

    #[test]
    fn bytes_are_matched_and_not_characters() {
        let pattern = Expression::new(b"^..$");
        assert_eq!(pattern.matches("é".as_bytes()), Some(true));
        assert_eq!(pattern.matches(b"\xE9"), Some(false));
        assert_eq!(Expression::new("(?i)^É$".as_bytes()).matches("é".as_bytes()), Some(false));
    }

    #[test]
    fn what_means_another_thing_or_is_refused_is_left_to_the_server() {
        for expression in [
            r"(a)\1", "a(?=b)", "a(?!b)", "(?x)a b", "(?n)a", "(?e)a", "***a", "***", "(?#c)a", r"\x41", r"\u0041",
            "[[.a.]]", "[[:<:]]a", "[a-c-e]", "a**", "*a", "^*", "(a", "a)", "[a", "a{2,1}", "a{256}", "a{1", "[b-a]",
            r"a\", r"[\D]",
        ] {
            assert_eq!(matches(expression, "a"), None, "{expression}");
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let deep = "(".repeat(100_000) + &")".repeat(100_000);
        assert_eq!(matches(&deep, "a"), None);
    }
}
