//! Whether the files that pg_hba.conf includes are still those that were judged.
use super::diff;
use super::files::{Files, Wanted};
use super::list::HbaFile;
use super::read::fetch_included;
use super::rights::Standing;
use super::secret;
use crate::cluster::Cluster;
use crate::error::{Error, Result};

/// Reads the files again that a content of the main file includes, which has them as they were when it was judged.
///
/// # Errors
/// [`Error::Conflict`] with the differences, if there are any.
pub(super) fn confirm(cluster: &Cluster, standing: &Standing, judged: &HbaFile) -> Result<Files> {
    let (path, main) = (judged.path(), judged.old_bytes().to_vec());
    let now = fetch_included(cluster, standing, path, main, judged.dialect())?;
    let differences = differences(judged.files(), &now);
    if differences.is_empty() {
        return Ok(now);
    }
    Err(Error::Conflict {
        what: format!("a file that {path:?} includes"),
        mine: "for the files as they were read".into(),
        theirs: format!(
            "others by now. What others have changed:\n{}\nRefresh the rules, and make the change again",
            differences.trim_end()
        ),
    })
}

/// What differs in the files and directories that are read now; those that only were read before no longer matter.
fn differences(judged: &Files, now: &Files) -> String {
    let mut differences = String::new();
    for wanted in now.all() {
        let (Wanted::File(path) | Wanted::Directory(path)) = &wanted;
        let (old, new) = (judged.state(&wanted), now.state(&wanted));
        if old == new {
            continue;
        }
        for (state, when) in [(&old, "was"), (&new, "is now")] {
            if let Err(words) = state {
                differences.push_str(&secret::until_secret(&format!("{path} {when} {words}")));
                differences.push('\n');
            }
        }
        differences.push_str(&diff::unified(path, &old.unwrap_or_default(), &new.unwrap_or_default()));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_directories_that_changed_are_shown() {
        let files = |names: &str, directory: Option<&str>| {
            let mut files = Files::new();
            files.insert("/names", Some(names.into()));
            files.insert_directory("/d", directory.map(|name| vec!["x.conf".into(), name.into()]));
            files
        };
        let old = files("one\n", Some("a.conf"));
        assert_eq!(differences(&old, &old), "");
        // Only the files that the server takes count, in any order.
        assert_eq!(differences(&old, &files("one\n", Some("a.conf"))), "");
        let shown = differences(&old, &files("two\n", Some("b.conf")));
        assert!(shown.contains("-one\n+two\n") && shown.contains("-/d/a.conf\n+/d/b.conf\n"), "{shown}");
        assert_eq!(differences(&files("", None), &Files::new()), "");
        let shown = differences(&old, &files("one\n", None));
        assert!(shown.contains("/d is now absent\n") && shown.contains("-/d/x.conf\n"), "{shown}");
    }

    #[test]
    fn a_file_that_cannot_be_read_any_more_has_changed() {
        let (mut old, mut new) = (Files::new(), Files::new());
        old.insert("/names", None);
        new.insert_unreadable(Wanted::File("/names".into()), "permission denied");
        assert_eq!(differences(&old, &new), "/names was absent\n/names is now unreadable: permission denied\n");
        assert_eq!(differences(&new, &new), "");

        let wanted = Wanted::File("/ldapbindpasswd=a\"hunter2".into());
        (old, new) = (Files::new(), Files::new());
        old.insert("/ldapbindpasswd=a\"hunter2", Some(b"x\n".to_vec()));
        new.insert_unreadable(wanted, "no file \"/ldapbindpasswd=a\"hunter2\"");
        let shown = differences(&old, &new);
        assert!(shown.contains("+++ /ldapbindpasswd=********\n") && !shown.contains("hunter"), "{shown}");
    }
}
