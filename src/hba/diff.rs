//! What changed in a file, as a unified diff.
use super::secret;
use similar::{Algorithm, ChangeTag, DiffOp, DiffTag, capture_diff_slices_deadline};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How many lines around a change are shown.
const CONTEXT: usize = 3;
/// How long the shortest difference is looked for; after that, a longer one does.
const PATIENCE: Duration = Duration::from_millis(500);

/// The lines that differ, with some around them; empty if none do. Secrets are masked, also in lines that did not
/// change.
pub(crate) fn unified(path: &str, old: &[u8], new: &[u8]) -> String {
    if old == new {
        return String::new();
    }
    let (shown_old, shown_new) = (secret::masked(old), secret::masked(new));
    let operations = operations(old, new);
    let shown = (lines(&shown_old), lines(&shown_new));
    // A file that is included in the place of a secret has its name.
    let path = secret::until_secret(path);
    let mut text = format!("--- {path}\n+++ {path}\n");
    for group in similar::group_diff_ops(operations, CONTEXT) {
        header(&group, &mut text);
        for change in group.iter().flat_map(|operation| operation.iter_changes(&shown.0, &shown.1)) {
            let sign = match change.tag() {
                ChangeTag::Equal => ' ',
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
            };
            text.push(sign);
            let line = String::from_utf8_lossy(change.value());
            text.push_str(&line);
            if !line.ends_with('\n') {
                text.push_str("\n\\ No newline at end of file\n");
            }
        }
    }
    text
}

/// How many lines are new, and how many are gone.
pub(crate) fn counts(old: &[u8], new: &[u8]) -> (usize, usize) {
    let operations = operations(old, new);
    let changed = || operations.iter().filter(|operation| operation.tag() != DiffTag::Equal);
    (
        changed().map(|operation| operation.new_range().len()).sum(),
        changed().map(|operation| operation.old_range().len()).sum(),
    )
}

fn operations(old: &[u8], new: &[u8]) -> Vec<DiffOp> {
    capture_diff_slices_deadline(Algorithm::Myers, &lines(old), &lines(new), Some(Instant::now() + PATIENCE))
}

fn header(group: &[DiffOp], text: &mut String) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else { return };
    let range = |start: usize, end: usize| match end - start {
        // Where there is no line, it is the one before that is named.
        0 => format!("{start},0"),
        1 => format!("{}", start + 1),
        count => format!("{},{count}", start + 1),
    };
    let old = range(first.old_range().start, last.old_range().end);
    let new = range(first.new_range().start, last.new_range().end);
    // Writing to a string cannot fail.
    let _ = writeln!(text, "@@ -{old} +{new} @@");
}

fn lines(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn a_changed_line_is_one_that_is_gone_and_one_that_is_new() {
        assert_eq!(counts(b"a\nb\nc\n", b"a\nx\nc\nd"), (2, 1));
        assert_eq!(counts(b"a\n", b"a\n"), (0, 0));
    }
}
