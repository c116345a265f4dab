//! What tells whether a migration is the one that was applied: our checksum, and those of others.
use crate::sql::hex;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};

/// SHA-256 of the text, in hexadecimal digits. How lines end, what is blank before and behind it, and the mark that some
/// editors write first make no difference. pgdbm makes the same, of texts that it can run.
pub(super) fn own(text: &str) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    hex(&Sha256::digest(lines.trim()))
}

/// As refinery makes it, whose versions have 32 bits or (newer ones, when they are built so) 64.
pub(super) fn refinery(title: &str, version: u64, text: &str) -> [String; 2] {
    let with = |version: &dyn Fn(&mut SipHasher13)| {
        let mut hasher = SipHasher13::new();
        title.hash(&mut hasher);
        version(&mut hasher);
        text.hash(&mut hasher);
        hasher.finish().to_string()
    };
    [
        with(&|hasher| i32::try_from(version).unwrap_or(i32::MAX).hash(hasher)),
        with(&|hasher| i64::try_from(version).unwrap_or(i64::MAX).hash(hasher)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p124_line_ends_and_outer_blanks_make_no_difference_and_all_else_does() {
        let text = "CREATE TABLE a ();\nSELECT 1;";
        for same in ["CREATE TABLE a ();\r\nSELECT 1;\r\n", "\n\n  CREATE TABLE a ();\rSELECT 1;\t\n\n"] {
            assert_eq!(own(same), own(text));
        }
        assert_eq!(own(&format!("\u{feff}{text}")), own(text));
        for other in
            ["CREATE TABLE a ();\n\nSELECT 1;", "CREATE TABLE a (); SELECT 1;", "create table a ();\nSELECT 1;"]
        {
            assert_ne!(own(other), own(text));
        }
        assert_eq!(own("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn p124_refinery_makes_the_same() {
        // What refinery 0.8 recorded for these files.
        let made = refinery("initial", 1, "CREATE TABLE persons (id int);\n");
        assert_eq!(made[0], "1091441964215326441");
        assert_eq!(refinery("büro_x", 12, "SELECT 'é';\r\n")[0], "2219037538230265446");
        assert_ne!(made[0], made[1]);
    }
}
