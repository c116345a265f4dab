//! A line of pg_hba.conf in the columns of the lines around it.
use super::rule::{HbaAddress, HbaRule};
use super::token::{Reading, spans};

/// The width of a tab.
const TAB: usize = 8;
/// The columns of a rule: type, database, user, address, method. Options follow the method without a column.
const COLUMNS: usize = 5;
const ADDRESS: usize = 3;
const METHOD: usize = 4;

/// What stands between the words of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gaps {
    /// As many blanks or tabs between any two.
    Same { byte: u8, count: usize },
    /// As many blanks as it takes to reach a column, or tabs first.
    Columns { tabs: bool },
}

/// How a line is laid out.
struct Sample {
    gaps: Gaps,
    /// Where the words of each column begin, from 0, as an editor shows it.
    starts: [Option<usize>; COLUMNS],
}

/// A line of these words (those of a rule, options included), laid out as most of the lines given; the nearest first.
pub(super) fn line<'a>(
    words: &[Vec<u8>],
    around: impl Iterator<Item = (&'a [u8], &'a HbaRule)>,
    reading: Reading,
) -> Vec<u8> {
    let samples: Vec<_> = around.filter_map(|(line, rule)| sample(line, rule, reading)).collect();
    let gaps = most_common(samples.iter().map(|sample| sample.gaps)).unwrap_or(Gaps::Same { byte: b' ', count: 1 });
    let has_address = words.first().is_none_or(|word| word != b"local");
    let mut line = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let column = if index >= ADDRESS && !has_address { index + 1 } else { index };
        let start = samples.iter().filter_map(|sample| sample.starts.get(column).copied().flatten());
        separate(&mut line, gaps, most_common(start), index == 0);
        line.extend_from_slice(word);
    }
    line
}

/// The line with the comment behind it, in the column where it was.
pub(super) fn with_comment(line: &mut Vec<u8>, comment: &[u8], before: &[u8]) {
    let tabs = before.ends_with(b"\t");
    let column = width(before, 0);
    separate(line, Gaps::Columns { tabs }, Some(column), false);
    line.extend_from_slice(comment);
}

fn separate(line: &mut Vec<u8>, gaps: Gaps, start: Option<usize>, first: bool) {
    let (one, count, start) = match gaps {
        Gaps::Same { byte, count } => (byte, count, if first { start } else { None }),
        Gaps::Columns { tabs: true } => (b'\t', 1, start),
        Gaps::Columns { tabs: false } => (b' ', 1, start),
    };
    let mut at = width(line, 0);
    if !first && start.is_none_or(|start| at >= start) {
        line.extend(std::iter::repeat_n(one, count));
        return;
    }
    let start = start.unwrap_or_default();
    while one == b'\t' && next_tab(at) <= start {
        line.push(b'\t');
        at = next_tab(at);
    }
    line.extend(std::iter::repeat_n(b' ', start.saturating_sub(at)));
}

fn next_tab(at: usize) -> usize {
    (at / TAB + 1) * TAB
}

/// The column behind these bytes, which begin at a column.
fn width(bytes: &[u8], from: usize) -> usize {
    bytes.iter().fold(from, |at, byte| match byte {
        b'\t' => next_tab(at),
        // Characters are counted, not bytes.
        byte => at + usize::from(byte & 0xC0 != 0x80),
    })
}

fn sample(line: &[u8], rule: &HbaRule, reading: Reading) -> Option<Sample> {
    let spans = spans(line, reading);
    let address = rule.address.as_ref().and_then(|_| spans.get(ADDRESS)).and_then(|span| line.get(span.clone()));
    let has_mask = matches!(&rule.address, Some(HbaAddress::Network { .. }))
        && address.is_some_and(|address| !address.contains(&b'/'));
    let method = ADDRESS + usize::from(address.is_some()) + usize::from(has_mask);
    let start = |index: usize| spans.get(index).and_then(|span| line.get(..span.start)).map(|bytes| width(bytes, 0));
    let mut starts = [start(0), start(1), start(2), None, None];
    if let Some(slot) = starts.get_mut(ADDRESS).filter(|_| address.is_some()) {
        *slot = start(ADDRESS);
    }
    if let Some(slot) = starts.get_mut(METHOD) {
        *slot = start(method);
    }
    let ends = spans.iter().take(method).map(|span| span.end);
    let gaps: Vec<_> = ends.zip(spans.iter().skip(1)).filter_map(|(end, next)| line.get(end..next.start)).collect();
    let one = *gaps.first()?;
    let byte = *one.first()?;
    let is_same =
        matches!(byte, b' ' | b'\t') && one.iter().all(|other| *other == byte) && gaps.iter().all(|gap| *gap == one);
    let gaps = match is_same {
        true => Gaps::Same { byte, count: one.len() },
        false => Gaps::Columns { tabs: gaps.iter().any(|gap| gap.contains(&b'\t')) },
    };
    Some(Sample { gaps, starts })
}

/// What most of them are; of several, the one that came first.
fn most_common<T: PartialEq + Copy>(values: impl Iterator<Item = T>) -> Option<T> {
    let mut counts: Vec<(T, usize)> = Vec::new();
    for value in values {
        match counts.iter_mut().find(|(known, _)| *known == value) {
            Some((_, count)) => *count += 1,
            None => counts.push((value, 1)),
        }
    }
    let most = counts.iter().map(|(_, count)| *count).max()?;
    counts.iter().find(|(_, count)| *count == most).map(|(value, _)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hba::dialect::Dialect;
    use crate::version::ServerVersion;

    fn laid_out(rule: &str, around: &[&str]) -> String {
        let words: Vec<Vec<u8>> = rule.split(' ').map(Into::into).collect();
        let rules: Vec<_> = around.iter().map(|line| HbaRule::parse(line).unwrap()).collect();
        let around = around.iter().map(|line| line.as_bytes()).zip(&rules);
        let reading = Dialect::new(ServerVersion::newest()).reading();
        String::from_utf8(line(&words, around, reading)).unwrap()
    }

    const LOCAL: &str = "local   all             all                                     trust";
    const HOST: &str = "host    all             all             127.0.0.1/32            trust";

    #[test]
    fn words_stand_in_the_columns_of_the_lines_around() {
        let host = "host    shop            app             10.0.0.0/8              md5 map=x";
        assert_eq!(laid_out("host shop app 10.0.0.0/8 md5 map=x", &[LOCAL, HOST]), host);
        let local = "local   shop            app                                     md5";
        assert_eq!(laid_out("local shop app md5", &[HOST]), local);
        let long = "host    a_database_with_a_long_name app 10.0.0.0/8              md5";
        assert_eq!(laid_out("host a_database_with_a_long_name app 10.0.0.0/8 md5", &[HOST]), long);
        let mask = "host    all             all             10.0.0.0 255.0.255.0    md5";
        assert_eq!(laid_out("host all all 10.0.0.0;255.0.255.0 md5", &[HOST]).replace(';', " "), mask);
        assert_eq!(
            laid_out("host shop app all md5", &[LOCAL]),
            "host    shop            app all                                 md5"
        );
    }

    #[test]
    fn single_blanks_and_tabs_are_kept() {
        assert_eq!(laid_out("host shop app all md5", &[]), "host shop app all md5");
        assert_eq!(laid_out("host shop app all md5", &["local all all trust", LOCAL]), "host shop app all md5");
        assert_eq!(laid_out("host s a all md5", &["local  all  all  trust"]), "host  s  a  all  md5");
        assert_eq!(laid_out("host s a all md5", &["  host\tall\tall\tall\ttrust"]), "  host\ts\ta\tall\tmd5");
        let tabs = "host\tall\t\tall\t\t127.0.0.1/32\ttrust";
        assert_eq!(laid_out("host shop application all md5", &[tabs]), "host\tshop\t\tapplication\tall\t\tmd5");
    }

    #[test]
    fn a_comment_stays_in_its_column() {
        for (line, before, expected) in [
            ("a b", "a bcd   ", "a b     # c"),
            ("a bcdefgh", "a bcd   ", "a bcdefgh # c"),
            ("a b", "a bcd\t\t", "a b\t\t# c"),
        ] {
            let mut line = line.as_bytes().to_vec();
            with_comment(&mut line, b"# c", before.as_bytes());
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
}
