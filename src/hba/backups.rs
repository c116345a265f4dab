//! The copies of older files.
use super::alter_options::HbaBackup;
use super::replace::{COUNT_DIGITS, copies, quoted};
use super::rights::{Right, Standing};
use super::swap::hash;
use crate::cluster::Cluster;
use crate::error::{Error, Result};
use crate::shell::OsCommand;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The copies, the newest first.
pub(super) fn list(cluster: &Cluster, standing: &Standing, path: &str) -> Result<Vec<HbaBackup>> {
    standing.need(&format!("list the copies of {path:?}"), &[Right::RunPrograms, Right::ReadFiles])?;
    let output = cluster.run_os_command(OsCommand::new(program(path)).checked())?;
    let mut backups: Vec<(Option<u32>, HbaBackup)> = output.stdout_text().lines().filter_map(read).collect();
    backups.sort_by(|(a, one), (b, other)| (other.time, b, &other.path).cmp(&(one.time, a, &one.path)));
    // Where names and directories coincide, they were found more than once.
    backups.dedup();
    Ok(backups.into_iter().map(|(_, backup)| backup).collect())
}

/// They are beside the file itself, or in the data directory where the server may not write to the file's. SQL alone does
/// not follow symbolic links: its copies are named after the path. Every copy is found by one spelling of its directory.
fn program(path: &str) -> String {
    let program = r#"p=@path@
f=$(readlink -f "$p") && d=$(cd -P "${p%/*}/" && pwd -P) || exit 1
o=$(pwd -P)
for b in "$f" "$o/${f##*/}" "${d%/}/${p##*/}" "$o/${p##*/}"; do
for x in @copies@; do
[ -f "$x" ] && ! [ -h "$x" ] && printf '%s %s\n' "$(wc -c <"$x")" "$x"
done
done
exit 0
"#;
    program.replace("@copies@", &copies()).replace("@path@", &quoted(path))
}

/// A line of the list: the size, and the path, whose end says when it was made, and after how many others of that second.
fn read(line: &str) -> Option<(Option<u32>, HbaBackup)> {
    let (size, path) = line.trim_start().split_once(' ')?;
    let mut parts = path.rsplit('.').skip(1);
    let part = parts.next()?;
    let (count, time) = match part.len() == COUNT_DIGITS {
        true => (Some(part.parse().ok()?), parts.next()?),
        false => (None, part),
    };
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", time).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    Some((count, HbaBackup { path: path.to_owned(), time, size: size.parse().ok()? }))
}

/// Refuses a copy whose content is not the one that its name tells: it was changed, or is not whole.
pub(super) fn check(path: &str, content: &[u8]) -> Result<()> {
    let told = path.rsplit('.').next().unwrap_or_default();
    match told.len() == 8 && hash(content).starts_with(told) {
        true => Ok(()),
        false => {
            Err(Error::invalid(format!("copy {path:?}"), "its content is not the one that the hash in its name tells"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process::Command;

    #[test]
    fn a_copy_whose_content_is_another_one_is_refused() {
        let path = format!("/pg_hba.conf.20261130T235959Z.{}", &hash(b"old")[..8]);
        assert!(check(&path, b"old").is_ok());
        assert!(check(&path, b"ol").is_err() && check("/pg_hba.conf", b"old").is_err() && check("/x.", b"").is_err());
    }

    #[test]
    fn copies_are_found_beside_the_file_and_the_path_and_in_the_data_directory() {
        let root =
            std::env::temp_dir().canonicalize().unwrap().join(format!("pgsteward-backups-{}", std::process::id()));
        let (data, files, links) = (root.join("da\\ta"), root.join("fi les"), root.join("it's *"));
        [&data, &files, &links].iter().for_each(|directory| fs::create_dir_all(directory).unwrap());
        fs::write(files.join("re al"), "").unwrap();
        symlink(files.join("re al"), links.join("li'nk")).unwrap();
        let end = "20261130T235959Z.000012.0123abcd";
        let copies = [files.join("re al"), data.join("re al"), links.join("li'nk"), data.join("li'nk")];
        let mut expected = copies.map(|copy| format!("{}.{end}", copy.display()));
        expected.iter().for_each(|copy| fs::write(copy, "four").unwrap());
        let others = [files.join("li'nk"), links.join("re al")];
        others.iter().for_each(|other| fs::write(format!("{}.{end}", other.display()), "").unwrap());
        for shell in [&["sh"][..], &["dash"], &["busybox", "sh"]] {
            let text = program(&format!("{}/../it's *//li'nk", links.display()));
            let ran = Command::new(shell[0]).args(&shell[1..]).args(["-c", &text]).current_dir(&data).output();
            // Not everybody has all of these shells.
            if let (Err(error), true) = (&ran, shell != ["sh"]) {
                println!("SKIPPED: {shell:?} ({error})");
                continue;
            }
            let output = String::from_utf8(ran.unwrap().stdout).unwrap();
            let mut found: Vec<_> = output.lines().map(|line| read(line).unwrap().1).collect();
            found.sort_by(|a, b| a.path.cmp(&b.path));
            expected.sort();
            assert_eq!(
                found.iter().map(|backup| &backup.path).collect::<Vec<_>>(),
                expected.iter().collect::<Vec<_>>()
            );
            assert!(found.iter().all(|backup| backup.size == 4));
        }
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn copies_tell_when_they_were_made() {
        for (end, expected) in [("20261130T235959Z", None), ("20261130T235959Z.000012", Some(12))] {
            let path = format!("/a b/pg_hba.conf.{end}.0123abcd");
            let (count, backup) = read(&format!("    4711 {path}")).unwrap();
            assert_eq!((count, backup.size, &backup.path), (expected, 4711, &path));
            assert_eq!(backup.time.to_string(), "2026-11-30T23:59:59Z");
        }
        for other in ["", "x", "1 /pg_hba.conf.20261399T235959Z.0123abcd", "1 /pg_hba.conf"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
