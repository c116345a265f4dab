//! Names by a pattern: `client{1..50}_inventory`.
use crate::error::{Error, Result};

/// More names than this are a mistake.
const MOST: usize = 100_000;

/// A range in a pattern.
struct Range<'p> {
    before: &'p str,
    first: u64,
    last: u64,
    /// How many digits each number has at least.
    width: usize,
    after: &'p str,
}

/// The names that a pattern stands for; the last range runs fastest.
pub(super) fn expand(pattern: &str) -> Result<Vec<String>> {
    let refuse = |why: String| Error::invalid(format!("pattern {pattern:?}"), why);
    let mut names = vec![String::new()];
    let mut rest = pattern;
    while let Some(range) = next_range(rest).map_err(refuse)? {
        let count = usize::try_from(range.last - range.first).unwrap_or(MOST).saturating_add(1);
        if count.saturating_mul(names.len()) > MOST {
            return Err(refuse(format!("it stands for more than {MOST} names")));
        }
        let numbers = |name: String| {
            let (before, width) = (range.before, range.width);
            (range.first..=range.last).map(move |number| format!("{name}{before}{number:0width$}"))
        };
        names = names.into_iter().flat_map(numbers).collect();
        rest = range.after;
    }
    names.iter_mut().for_each(|name| name.push_str(rest));
    Ok(names)
}

fn next_range(text: &str) -> Result<Option<Range<'_>>, String> {
    let Some((before, inside)) = text.split_once('{') else {
        return if text.contains('}') { Err("a } has no {".into()) } else { Ok(None) };
    };
    if before.contains('}') {
        return Err("a } has no {".into());
    }
    let (range, after) = inside.split_once('}').ok_or("a { has no }")?;
    let (first, last) = range.split_once("..").ok_or_else(|| not_a_range(range))?;
    let number = |digits: &str| match digits.bytes().all(|byte| byte.is_ascii_digit()) {
        true => digits.parse::<u64>().map_err(|_| not_a_range(range)),
        false => Err(not_a_range(range)),
    };
    let padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
    let width = if padded(first) || padded(last) { first.len().max(last.len()) } else { 0 };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("{{{range}}} runs backwards"));
    }
    Ok(Some(Range { before, first, last, width, after }))
}

fn not_a_range(range: &str) -> String {
    format!("{{{range}}} is no range of numbers such as {{1..50}}; give names with braces as a list")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p080_a_pattern_stands_for_names() {
        let names = |pattern: &str| expand(pattern).unwrap();
        assert_eq!(names("shop"), ["shop"]);
        assert_eq!(names("client{1..3}_inventory"), ["client1_inventory", "client2_inventory", "client3_inventory"]);
        assert_eq!(names("c{08..11}"), ["c08", "c09", "c10", "c11"]);
        assert_eq!(names("c{001..2}"), ["c001", "c002"]);
        assert_eq!(names("c{9..010}"), ["c009", "c010"]);
        assert_eq!(names("{9..10}-{0..1}"), ["9-0", "9-1", "10-0", "10-1"]);
        assert_eq!(names("c{0..1}").len(), 2);
        assert_eq!(names("{1..100000}").len(), MOST);
    }

    #[test]
    fn p080_what_is_no_pattern_is_refused() {
        for (pattern, why) in [
            ("c{1..", "has no }"),
            ("c1}", "has no {"),
            ("}{1..2}", "has no {"),
            ("c{a..b}", "no range"),
            ("c{1,2}", "no range"),
            ("c{..2}", "no range"),
            ("c{-1..2}", "no range"),
            ("c{1..99999999999999999999}", "no range"),
            ("c{5..1}", "backwards"),
            ("{1..100001}", "more than"),
            ("{1..1000}{1..1000}", "more than"),
            ("{0..18446744073709551615}", "more than"),
        ] {
            let error = expand(pattern).expect_err(pattern).to_string();
            assert!(error.contains(why), "{pattern}: {error}");
        }
    }
}
