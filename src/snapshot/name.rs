//! What the schema of a snapshot is called.
use jiff::Timestamp;

/// How the name of every snapshot's schema begins. Such schemas are in no snapshot themselves.
pub(super) const PREFIX: &str = "pgsteward_snapshot_";

/// The longest name, in bytes.
const LONGEST: usize = 63;

/// The name for a moment and a label that none of the others has. A label that does not fit is cut; the moment never
/// is.
pub(super) fn schema_name(taken: Timestamp, label: &str, others: &[String]) -> String {
    let named = |count: u32| {
        let mut name = format!("{PREFIX}{}", taken.strftime("%Y%m%dT%H%M%SZ"));
        let end = if count > 1 { format!("_{count}") } else { String::new() };
        if !label.is_empty() {
            name.push('_');
            let room = LONGEST.saturating_sub(name.len() + end.len());
            name.push_str(start(label, room));
        }
        name + &end
    };
    (1..).map(named).find(|name| !others.contains(name)).unwrap_or_default()
}

/// As much of a text as fits into so many bytes.
fn start(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or_default();
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(label: &str, others: &[String]) -> String {
        schema_name("2026-11-21T12:00:00.987654Z".parse().unwrap(), label, others)
    }

    #[test]
    fn p083_a_long_label_is_cut_and_the_time_stays() {
        assert_eq!(named("before release", &[]), "pgsteward_snapshot_20261121T120000Z_before release");
        assert_eq!(named("", &[]), "pgsteward_snapshot_20261121T120000Z");
        for label in ["x".repeat(27), "x".repeat(28), "x".repeat(5000), "é".repeat(40), "\u{1F600}".repeat(40)] {
            let name = named(&label, &[]);
            assert!(name.len() <= 63 && name.len() > 59, "{name}");
            assert!(name.starts_with("pgsteward_snapshot_20261121T120000Z_"), "{name}");
            let second = named(&label, std::slice::from_ref(&name));
            assert!(second.len() <= 63 && second.ends_with("_2") && second != name, "{second}");
            assert!(second.starts_with("pgsteward_snapshot_20261121T120000Z_"), "{second}");
        }
    }

    #[test]
    fn snapshots_of_one_second_have_names_of_their_own() {
        let mut names = Vec::new();
        for _ in 0..12 {
            let name = named("a", &names);
            assert!(!names.contains(&name));
            names.push(name);
        }
        assert_eq!(names.last().unwrap(), "pgsteward_snapshot_20261121T120000Z_a_12");
    }
}
