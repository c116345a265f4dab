//! Whether PostgreSQL takes a regular expression: the syntax of its advanced ones
//! ([regular expressions](https://www.postgresql.org/docs/current/functions-matching.html#POSIX-SYNTAX-DETAILS)).
//!
//! Only the syntax is looked at. Of the two older sorts, which a prefix can ask for, all are taken, and so are names of
//! collating elements.

/// The largest number in `{}`.
const MOST_REPEATS: u32 = 255;
/// The largest code of a character.
const LAST_CODE: u32 = 0x7fff_fffe;
const CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

const BRACKETS: &str = "a bracket [ is not closed";
const PARENTHESES: &str = "parentheses () are not balanced";
const RANGE: &str = "a range in [] is none";
const ESCAPE: &str = "a backslash stands before what it has no meaning for";
const BOUNDS: &str = "the numbers in {} are not two from 0 to 255 in order";
const QUANTIFIER: &str = "a quantifier stands where there is nothing to repeat";
const REFERENCE: &str = "a back reference is to no group that is closed";

type Outcome<T = ()> = Result<T, &'static str>;

/// What is wrong with a regular expression; none if nothing is.
pub(super) fn fault(regex: &[u8]) -> Option<&'static str> {
    let text: Vec<char> = String::from_utf8_lossy(regex).chars().collect();
    let mut checker =
        Checker { text: &text, at: 0, expanded: false, groups: Vec::new(), looks: 0, opened: 0, closed: Vec::new() };
    checker.all().err()
}

struct Checker<'a> {
    text: &'a [char],
    at: usize,
    /// Whether blanks and comments do not count.
    expanded: bool,
    /// The groups that are open.
    groups: Vec<Group>,
    /// How many of them look ahead or back.
    looks: usize,
    /// How many groups were opened that can be referred to, and which of them are closed.
    opened: usize,
    closed: Vec<bool>,
}

#[derive(Clone, Copy)]
enum Group {
    /// It can be referred to by its number.
    Capturing(usize),
    Plain,
    /// It looks ahead or back, and there is nothing to repeat in it.
    Look,
}

/// What an escape stands for.
enum Escape {
    Character(u32),
    Class,
    Constraint,
    Reference(usize),
}

impl Checker<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    /// Goes on behind a text, if it is what comes next.
    fn eat(&mut self, text: &str) -> bool {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let found = text.chars().enumerate().all(|(index, c)| rest.get(index) == Some(&c));
        self.at += if found { text.chars().count() } else { 0 };
        found
    }

    fn all(&mut self) -> Outcome {
        if !self.prefix()? {
            return Ok(());
        }
        // Whether there is something that a quantifier can repeat.
        let mut atom = false;
        loop {
            self.skip();
            let Some(c) = self.next() else { break };
            atom = match c {
                '*' | '+' | '?' => self.quantifier(atom)?,
                '{' if self.bound_follows() => {
                    self.bound()?;
                    self.quantifier(atom)?
                }
                '|' => false,
                '(' => match self.open()? {
                    true => false,
                    false => atom,
                },
                ')' => self.close()?,
                '^' | '$' => false,
                '[' if self.eat("[:<:]]") || self.eat("[:>:]]") => false,
                '[' => self.brackets().map(|()| true)?,
                '\\' => match self.escape()? {
                    Escape::Constraint => false,
                    Escape::Character(_) | Escape::Class => true,
                    Escape::Reference(number) => self.reference(number)?,
                },
                _ => true,
            };
        }
        if self.groups.is_empty() { Ok(()) } else { Err(PARENTHESES) }
    }

    /// What the beginning says about the sort; whether the rest is an advanced expression.
    fn prefix(&mut self) -> Outcome<bool> {
        if self.eat("***=") {
            return Ok(false);
        }
        let _ = self.eat("***:");
        if self.text.get(self.at + 2).is_none_or(|c| !c.is_ascii_alphabetic()) || !self.eat("(?") {
            return Ok(true);
        }
        let mut advanced = true;
        while let Some(c) = self.peek().filter(char::is_ascii_alphabetic) {
            match c {
                'b' | 'e' | 'q' => advanced = false,
                'x' => self.expanded = true,
                't' => self.expanded = false,
                'c' | 'i' | 'm' | 'n' | 'p' | 's' | 'w' => {}
                _ => return Err("the options at its beginning are unknown"),
            }
            self.at += 1;
        }
        if self.eat(")") { Ok(advanced) } else { Err("the options at its beginning are unknown") }
    }

    fn skip(&mut self) {
        while self.expanded {
            match self.peek() {
                Some(c) if c.is_ascii_whitespace() || c == '\u{b}' => self.at += 1,
                Some('#') => while self.next().is_some_and(|c| c != '\n') {},
                _ => break,
            }
        }
    }

    /// A quantifier was read: there is nothing to repeat behind it.
    fn quantifier(&mut self, atom: bool) -> Outcome<bool> {
        if !atom {
            return Err(QUANTIFIER);
        }
        let _ = self.eat("?");
        Ok(false)
    }

    fn bound_follows(&mut self) -> bool {
        self.skip();
        self.peek().is_some_and(|c| c.is_ascii_digit())
    }

    /// What stands in `{}`, and the closing brace.
    fn bound(&mut self) -> Outcome {
        let least = self.count()?;
        self.skip();
        if self.eat(",") {
            self.skip();
            let open = self.peek() == Some('}');
            if !open && self.count()? < least {
                return Err(BOUNDS);
            }
        }
        self.skip();
        if self.eat("}") { Ok(()) } else { Err(BOUNDS) }
    }

    fn count(&mut self) -> Outcome<u32> {
        let (mut count, mut digits) = (0, 0);
        loop {
            self.skip();
            let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) else { break };
            if count >= MOST_REPEATS {
                return Err(BOUNDS);
            }
            count = count * 10 + digit;
            digits += 1;
            self.at += 1;
        }
        if digits > 0 && count <= MOST_REPEATS { Ok(count) } else { Err(BOUNDS) }
    }

    /// What follows `(`; whether it opens a group, and is no comment.
    fn open(&mut self) -> Outcome<bool> {
        let group = if !self.eat("?") {
            if self.looks > 0 {
                Group::Plain
            } else {
                self.opened += 1;
                self.closed.push(false);
                Group::Capturing(self.opened)
            }
        } else if self.eat(":") {
            Group::Plain
        } else if self.eat("#") {
            while self.next().is_some_and(|c| c != ')') {}
            return Ok(false);
        } else if ["=", "!", "<=", "<!"].iter().any(|sign| self.eat(sign)) {
            self.looks += 1;
            Group::Look
        } else {
            return Err(QUANTIFIER);
        };
        self.groups.push(group);
        Ok(true)
    }

    /// Whether what was closed can be repeated.
    fn close(&mut self) -> Outcome<bool> {
        match self.groups.pop() {
            None => Err(PARENTHESES),
            Some(Group::Look) => {
                self.looks -= 1;
                Ok(false)
            }
            Some(Group::Plain) => Ok(true),
            Some(Group::Capturing(number)) => {
                if let Some(closed) = self.closed.get_mut(number - 1) {
                    *closed = true;
                }
                Ok(true)
            }
        }
    }

    fn reference(&self, number: usize) -> Outcome<bool> {
        let closed = number.checked_sub(1).and_then(|index| self.closed.get(index));
        if closed == Some(&true) && self.looks == 0 { Ok(true) } else { Err(REFERENCE) }
    }

    /// What follows a backslash.
    fn escape(&mut self) -> Outcome<Escape> {
        let Some(c) = self.next() else { return Err(ESCAPE) };
        Ok(match c {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => Escape::Class,
            'A' | 'm' | 'M' | 'y' | 'Y' | 'Z' => Escape::Constraint,
            'a' => Escape::Character(7),
            'b' => Escape::Character(8),
            't' => Escape::Character(9),
            'n' => Escape::Character(10),
            'v' => Escape::Character(11),
            'f' => Escape::Character(12),
            'r' => Escape::Character(13),
            'e' => Escape::Character(27),
            'B' => Escape::Character(92),
            'c' => match self.next() {
                Some(c) => Escape::Character(u32::from(c) & 0x1f),
                None => return Err(ESCAPE),
            },
            'u' => Escape::Character(self.digits(16, 4, 4)?),
            'U' => Escape::Character(self.digits(16, 8, 8)?),
            'x' => Escape::Character(self.digits(16, 1, usize::MAX)?),
            '0'..='9' => self.number(c)?,
            c if c.is_ascii_alphabetic() => return Err(ESCAPE),
            c => Escape::Character(c.into()),
        })
    }

    /// A back reference, or else a character by its octal number.
    fn number(&mut self, first: char) -> Outcome<Escape> {
        let start = self.at - 1;
        if first != '0' {
            self.at = start;
            let number = usize::try_from(self.digits(10, 1, usize::MAX)?).unwrap_or(usize::MAX);
            if self.at == start + 1 || (1..=self.opened).contains(&number) {
                return Ok(Escape::Reference(number));
            }
        }
        self.at = start;
        let mut code = self.digits(8, 1, 3)?;
        if code > 0xff {
            code >>= 3;
            self.at -= 1;
        }
        Ok(Escape::Character(code))
    }

    fn digits(&mut self, radix: u32, least: usize, most: usize) -> Outcome<u32> {
        let (mut code, mut count) = (0_u32, 0);
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)).filter(|_| count < most) {
            code = code.wrapping_mul(radix).wrapping_add(digit);
            count += 1;
            self.at += 1;
        }
        if count >= least && code <= LAST_CODE { Ok(code) } else { Err(ESCAPE) }
    }

    /// What follows `[`.
    fn brackets(&mut self) -> Outcome {
        let _ = self.eat("^");
        let mut first = true;
        loop {
            let c = self.next().ok_or(BRACKETS)?;
            if c == ']' && !first {
                return Ok(());
            }
            let hyphen = c == '-' && !first && self.peek() != Some(']');
            first = false;
            let start = match c {
                '-' if hyphen => return Err(RANGE),
                '[' => self.named()?,
                '\\' => self.escaped()?,
                c => Some(c.into()),
            };
            let Some(start) = start else { continue };
            // A hyphen at the end is a character.
            if self.peek() == Some('-') && self.text.get(self.at + 1) != Some(&']') {
                self.at += 1;
                if self.range_end()? < start {
                    return Err(RANGE);
                }
            }
        }
    }

    fn range_end(&mut self) -> Outcome<u32> {
        let end = match self.next().ok_or(BRACKETS)? {
            '[' => self.named()?,
            '\\' => self.escaped()?,
            c => Some(c.into()),
        };
        end.ok_or(RANGE)
    }

    /// A character in `[]` by an escape; none for a class.
    fn escaped(&mut self) -> Outcome<Option<u32>> {
        match self.escape()? {
            Escape::Character(code) => Ok(Some(code)),
            Escape::Class => Ok(None),
            Escape::Constraint | Escape::Reference(_) => Err(ESCAPE),
        }
    }

    /// What follows a `[` in `[]`: `:class:]`, `.element.]`, `=element=]`, or nothing of that sort.
    fn named(&mut self) -> Outcome<Option<u32>> {
        let sign = match self.peek() {
            None => return Err(BRACKETS),
            Some(sign @ (':' | '.' | '=')) => sign,
            Some(_) => return Ok(Some('['.into())),
        };
        self.at += 1;
        let mut name = String::new();
        loop {
            match self.next().ok_or(BRACKETS)? {
                c if c == sign && self.eat("]") => break,
                c => name.push(c),
            }
        }
        let mut characters = name.chars();
        let only = characters.next().filter(|_| characters.next().is_none()).map(u32::from);
        match sign {
            ':' if CLASSES.contains(&name.as_str()) => Ok(None),
            ':' => Err("a class in [] is unknown"),
            _ if name.is_empty() => Err("a collating element in [] has no name"),
            '=' => Ok(None),
            // What a longer name stands for is not known here; the lowest code makes no range wrong.
            _ => Ok(Some(only.unwrap_or(0))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_expressions_are_taken() {
        for regex in [
            "",
            "a",
            "^app_(rw|ro)$",
            "a||b",
            "()",
            "a{1,3}",
            "a{2}?",
            "a{3,}",
            "a{",
            "a{x}",
            "a*?",
            "[]a]",
            "[^]a]",
            "[a-]",
            "[-a]",
            "[a-z0-9_]",
            "[[:alpha:]_]",
            "[[.a.]-c]",
            "[[=a=]]",
            r"\d\w\s\D",
            r"[\d\n]",
            r"(a)\1",
            r"\m\M\y\A\Z",
            r"\x41\u0041\U00000041\0\101",
            r"\-\.\/",
            "(?:a)*",
            "(?=a)b",
            "(?<!a)b",
            "(?#c)a",
            "a(?#c)*",
            "***=a(",
            "***:a",
            "(?i)a",
            "(?x) a # (\n b",
            "(?q)a(",
            "[[:<:]]a[[:>:]]",
            "a{255}",
            "(a(b)\\2)",
            "]",
            "}",
            "[a-a]",
            r"(a)\10",
            "x(?=(a))",
        ] {
            assert_eq!(fault(regex.as_bytes()), None, "{regex}");
        }
    }

    #[test]
    fn bad_expressions_are_refused() {
        for (regex, why) in [
            ("[", BRACKETS),
            ("[a", BRACKETS),
            ("[[:alpha:]", BRACKETS),
            ("a(", PARENTHESES),
            ("a)", PARENTHESES),
            ("*", QUANTIFIER),
            ("a**", QUANTIFIER),
            ("a|*", QUANTIFIER),
            ("^*", QUANTIFIER),
            ("(?=a)*", QUANTIFIER),
            ("(?a)", "the options at its beginning are unknown"),
            ("a(?b)", QUANTIFIER),
            ("***a", QUANTIFIER),
            ("a{2,1}", BOUNDS),
            ("a{256}", BOUNDS),
            ("a{1", BOUNDS),
            ("a{1,x}", BOUNDS),
            ("[z-a]", RANGE),
            ("[a-c-e]", RANGE),
            ("[a-[:digit:]]", RANGE),
            ("[[:foo:]]", "a class in [] is unknown"),
            ("[[..]]", "a collating element in [] has no name"),
            ("\\", ESCAPE),
            (r"\q", ESCAPE),
            (r"\u12", ESCAPE),
            (r"[\m]", ESCAPE),
            (r"\1", REFERENCE),
            (r"(\1)", REFERENCE),
            (r"(a)(?=\1)", REFERENCE),
            (r"(a)\2", REFERENCE),
        ] {
            assert_eq!(fault(regex.as_bytes()), Some(why), "{regex}");
        }
    }

    #[test]
    fn deep_nesting_takes_no_deep_stack() {
        let deep = [b"(".repeat(1_000_000), b")".repeat(1_000_000)].concat();
        assert_eq!(fault(&deep), None);
    }
}
