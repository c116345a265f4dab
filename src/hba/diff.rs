//! What changed in a file, as a unified diff.
use super::secret;
use similar::{Algorithm, ChangeTag, DiffOp, capture_diff_slices_deadline};
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
    let (lines_old, lines_new) = (lines(old), lines(new));
    let operations =
        capture_diff_slices_deadline(Algorithm::Myers, &lines_old, &lines_new, Some(Instant::now() + PATIENCE));
    let shown = (lines(&shown_old), lines(&shown_new));
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
