//! The program that replaces a file on the server, and what it says. Pure: text in, text out.
//!
//! It runs in one shell, so that nothing comes between its comparison of the old file and the rename but that: it takes
//! the new content in base64 from its standard input, and the rest from its text.
use super::alter_options::HbaWrite;

/// What is to become of a file.
pub(super) struct Replace<'a> {
    /// Its path on the server, as the server knows it; symbolic links are followed.
    pub(super) path: &'a str,
    /// The hashes of the content that it must have, and of the one that it is to have.
    pub(super) old: &'a str,
    pub(super) new: &'a str,
    pub(super) write: HbaWrite,
    /// How many copies of older content to keep, with one of the present content; none makes no copy.
    pub(super) copies: Option<usize>,
    /// A directory of its own, which it makes, for what it has to say.
    pub(super) report: &'a str,
    /// 32 hexadecimal digits that nothing else has, for the names of its temporary files.
    pub(super) nonce: &'a str,
}

/// The names of what the program leaves in its directory.
pub(super) const REPORTS: [&str; 3] = ["copy", "note", "error"];

/// How the program ends when it does not succeed. The file is as it was, in all of them but one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Failure {
    /// Mode, owner or group of the file cannot be given to another one.
    Attributes,
    /// The file does not have the content that it must have.
    Changed,
    Full,
    ReadOnly,
    Denied,
    /// Something is mounted on the file.
    Mounted,
    Other,
    Interrupted,
    NoProgram,
    NoFile,
    /// Another one of these programs takes too long.
    Locked,
    /// The file has neither its old content nor the new one.
    Broken,
}

impl Failure {
    const ALL: [(i32, Self); 12] = [
        (80, Self::Attributes),
        (81, Self::Changed),
        (82, Self::Full),
        (83, Self::ReadOnly),
        (84, Self::Denied),
        (85, Self::Mounted),
        (86, Self::Other),
        (87, Self::Interrupted),
        (88, Self::NoProgram),
        (89, Self::NoFile),
        (90, Self::Locked),
        (91, Self::Broken),
    ];

    /// What the server's message about the end of a program means. It is translated; the exit code in it is not.
    pub(super) fn of_detail(detail: &str) -> Option<Self> {
        let digits = detail.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?;
        let code: i32 = digits.parse().ok()?;
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, failure)| *failure)
    }
}

/// A word for the shell.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// How many digits the count of copies of one second has. The text for the shell has as many.
pub(super) const COUNT_DIGITS: usize = 6;

/// The copies of which the names begin with `$b`, for the shell, the oldest first: their names end in when they were made,
/// a count of those of that second, and the start of their hash. Those without a count come first: nothing makes such
/// names any more.
pub(super) fn copies() -> String {
    let digits = |count| "[0-9]".repeat(count);
    let (time, hash) = (format!("{}T{}Z", digits(8), digits(6)), "[0-9a-f]".repeat(8));
    format!("\"$b\".{time}.{hash} \"$b\".{time}.{}.{hash}", digits(COUNT_DIGITS))
}

/// Functions that the steps use. What goes wrong is told by the exit code, and in words in the report: the server
/// does not pass on what a program prints.
const FUNCTIONS: &str = r#"
say() { printf %s "$2" 2>/dev/null >"$r/$1"; }
fail() { say error "$2"; cat >/dev/null; exit "$1"; }
why() {
case $1 in
*'No space'*|*[Qq]uota*) fail 82 "$1";;
*'ead-only file system'*) fail 83 "$1";;
*'ermission denied'*|*'not permitted'*) fail 84 "$1";;
*busy*) fail 85 "$1";;
*) fail 86 "$1";;
esac
}
try() { e=$("$@" 2>&1) || why "$e"; }
hash() { if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi | cut -c 1-64; }
unchanged() { [ "$(hash <"$f")" = "$h0" ] || fail 81 ''; }
look() { set -- $(ls -lnd "$1"); printf %s "$1 $3 $4"; }
own() { [ -f "$1" ] && ! [ -h "$1" ] && [ "$(hash <"$1" | cut -c 1-8)" = "${1##*.}" ]; }
number() { set -- "${1%Z}"; printf %s "${1%T*}${1#*T}"; }
"#;

/// Finds the file and the programs, and takes the lock that others of this kind take, where there is one. What was left
/// behind by one that was killed is removed under the lock alone: without it, it may be in use. For a file in a directory
/// that the server may not write to, the copies are in the data directory.
const PREPARE: &str = r#"
mkdir -p base/pgsql_tmp && mkdir "$r" || exit 86
for x in base64 cat cp cut date find ls mkdir mv readlink rm sync; do command -v "$x" >/dev/null || fail 88 "$x"; done
command -v sha256sum >/dev/null || command -v shasum >/dev/null || fail 88 sha256sum
f=$(readlink -f "$p") && [ -f "$f" ] || fail 89 "$p"
d=${f%/*}; d=${d:-/}; b=$f
[ -w "$d" ] || { d=$(pwd -P); b=$d/${f##*/}; }
t=$f.pgsteward-$w-new; c=$b.pgsteward-$w-copy; l=$b.pgsteward-$w-link; u=; m=
trap 'rm -f "$t" "$c" "$l" ${u:+"$u"}' EXIT
trap 'exit 87' HUP INT PIPE QUIT TERM
if [ -r "$d" ] && command -v flock >/dev/null; then
exec 9<"$d"; i=0
while :; do
flock -n 9 2>/dev/null
case $? in
0) find "$d" -maxdepth 1 -type f -name "*.pgsteward-$hex-*" -mmin +60 -exec rm -f {} + 2>/dev/null; break;;
1) i=$((i + 1)); [ "$i" -lt 300 ] || fail 90 ''; sleep 0.1 2>/dev/null || sleep 1;;
*) break;;
esac
done
fi
unchanged
"#;

/// Makes the new file beside the old one: it is given the old one's mode and owner before it has the new content.
const STAGE: &str = r#"
e=$( (set -C; : >"$t") 2>&1) || why "$e"
try cp -p "$f" "$t"
[ -w "$t" ] || { try chmod u+w "$t"; m=1; }
e=$( { base64 -d >"$t"; } 2>&1) || why "$e"
[ "$(hash <"$t")" = "$h1" ] || fail 86 'the new content did not arrive whole'
[ -z "$m" ] || try chmod u-w "$t"
[ "$(look "$f")" = "$(look "$t")" ] || fail 80 "$(ls -ld "$f")"
try sync "$t"
"#;

/// For a write in place: the new content and the old one where the server keeps its own temporary files.
const STAGE_ELSEWHERE: &str = r#"
t=$r/new; o=$r/old
[ -w "$f" ] || fail 84 'the server may not write to it'
e=$( { base64 -d >"$t"; } 2>&1) || why "$e"
[ "$(hash <"$t")" = "$h1" ] || fail 86 'the new content did not arrive whole'
try cp "$f" "$o"
"#;

/// Copies the old file. The copy is whole before it has its name, which comes after those of all other copies: also when
/// they were made in the same second, or the clock was put back. In a count, a 1 before its zeros keeps it decimal.
const COPY: &str = r#"
try cp -p "$f" "$c"
[ "$(hash <"$c")" = "$h0" ] || fail 81 ''
try sync "$c"
s=$(date -u +%Y%m%dT%H%M%SZ); n=000000
for x in @copies@; do
y=${x#"$b".}; z=${y%%.*}; y=${y#*.}
[ -f "$x" ] && [ "$(number "$z")" -ge "$(number "$s")" ] && own "$x" || continue
s=$z
case $y in
*.*) n=$((1${y%.*} + 1)); n=${n#1};;
*) n=000000;;
esac
done
k=$b.$s.$n.$(printf %.8s "$h0")
[ -e "$k" ] || u=$k
try mv -f "$c" "$k"
say copy "$k"
"#;

/// From this comparison on it is not interrupted, unless its connection was lost and another one has said so.
const COMPARE: &str = r#"
trap '' HUP INT PIPE QUIT TERM
[ ! -e "$r/stop" ] || exit 87
unchanged
"#;

/// A process that is killed leaves the old file or the new one.
const RENAME: &str = r#"
try mv -f "$t" "$f"
sync "$d" 2>/dev/null
u=
"#;

/// What cannot be undone is told with the path of the old content, which stays there.
const OVERWRITE: &str = r#"
e=$( { cat "$t" >"$f" && sync "$f"; } 2>&1) && [ "$(hash <"$f")" = "$h1" ] || {
{ cat "$o" >"$f"; sync "$f"; } 2>/dev/null
[ "$(hash <"$f")" = "$h0" ] && why "$e"
@keep@
}
u=
"#;

/// For a file that is neither whole: the copy of its old content is not removed.
const KEEP_COPY: &str = r#"u=; fail 91 "$k""#;
/// The same without a copy: the one beside the temporary files is all there is.
const KEEP_OLD: &str = r#"fail 91 "$PWD/$o""#;

/// Has `.bak` point at the newest copy, and removes the oldest ones. What others have put there under such names is left
/// alone: a `.bak` that is no link to a copy, a copy whose content is not what its name says.
const TIDY: &str = r#"
x=
[ -h "$b.bak" ] && x=$(readlink "$b.bak")
if [ -h "$b.bak" ] || [ ! -e "$b.bak" ]; then
case $x in
''|"${f##*/}".*Z.????????|"${f##*/}".*Z.??????.????????) ln -s "${k##*/}" "$l" 2>/dev/null && mv -f "$l" "$b.bak" 2>/dev/null || say note 'no symbolic link can be made there';;
*) say note 'it points elsewhere';;
esac
else say note 'it is no symbolic link'
fi
set -- @copies@
if [ $# -gt "$keep" ]; then
n=0
for x; do own "$x" && n=$((n + 1)); done
for x; do [ "$n" -gt "$keep" ] || break; [ "$x" != "$k" ] && own "$x" && rm -f "$x" && n=$((n - 1)); done
fi
"#;

impl Replace<'_> {
    /// The text for the server's shell.
    pub(super) fn program(&self) -> String {
        let mut text = format!(
            "LC_ALL=C; export LC_ALL; umask 077\np={}; r={}; h0={}; h1={}; w={}; hex={}; keep={}",
            quoted(self.path),
            quoted(self.report),
            quoted(self.old),
            quoted(self.new),
            quoted(self.nonce),
            quoted(&"[0-9a-f]".repeat(32)),
            self.copies.unwrap_or_default().max(1)
        );
        let (stage, write) = match self.write {
            HbaWrite::Replace => (STAGE, RENAME),
            HbaWrite::InPlace => (STAGE_ELSEWHERE, OVERWRITE),
        };
        [FUNCTIONS, PREPARE, stage].iter().for_each(|part| text.push_str(part));
        if self.copies.is_some() {
            text.push_str(&COPY.replace("@copies@", &copies()));
        }
        text.push_str(COMPARE);
        text.push_str(&write.replace("@keep@", if self.copies.is_some() { KEEP_COPY } else { KEEP_OLD }));
        if self.copies.is_some() {
            text.push_str(&TIDY.replace("@copies@", &copies()));
        }
        text.push_str("exit 0\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::os::unix::process::CommandExt;
    use std::path::{Path, PathBuf};
    use std::process::{Child, Command, Stdio};
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::{Duration, Instant};

    #[test]
    fn words_are_quoted_for_the_shell() {
        assert_eq!(quoted("a'b $c"), r"'a'\''b $c'");
    }

    #[test]
    fn exit_codes_are_found_in_any_language() {
        assert_eq!(Failure::of_detail("child process exited with exit code 81"), Some(Failure::Changed));
        assert_eq!(Failure::of_detail("Kindprozess hat mit Code 85 beendet"), Some(Failure::Mounted));
        assert_eq!(Failure::of_detail("child process was terminated by signal 9: Killed"), None);
        assert_eq!(Failure::of_detail(""), None);
    }

    /// A directory with a file, as the server would have it.
    struct Place {
        root: PathBuf,
        /// Programs that stand in for those of the system.
        programs: Option<PathBuf>,
    }

    impl Place {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let name = format!("pgsteward-replace-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let root = std::env::temp_dir().join(name);
            fs::create_dir_all(root.join("it's")).unwrap();
            let place = Self { root, programs: None };
            fs::write(place.file(), "old\n").unwrap();
            fs::set_permissions(place.file(), Permissions::from_mode(0o440)).unwrap();
            place
        }

        fn file(&self) -> PathBuf {
            self.root.join("it's/pg_hba.conf")
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.root.join("it's")).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }

        /// Has another program stand in for one of the system.
        fn stand_in(&mut self, name: &str, text: &str) {
            let programs = self.root.join("programs");
            fs::create_dir_all(&programs).unwrap();
            fs::write(programs.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(programs.join(name), Permissions::from_mode(0o755)).unwrap();
            self.programs = Some(programs);
        }

        /// Runs the program; returns its exit code.
        fn run(&self, path: &Path, old: &str, new: &str, write: HbaWrite, copies: Option<usize>) -> i32 {
            self.begin(path, old, new, write, copies).wait().unwrap().code().unwrap()
        }

        /// Begins to run the program, in a process group of its own.
        fn begin(&self, path: &Path, old: &str, new: &str, write: HbaWrite, copies: Option<usize>) -> Child {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let nonce = format!("{:032x}", NEXT.fetch_add(1, Ordering::Relaxed));
            let (report, path) = (format!("base/pgsql_tmp/{nonce}"), path.display().to_string());
            let hash = |text: &str| super::super::swap::hash(text.as_bytes());
            let (old, hash_of_new) = (hash(old), hash(new));
            let replace =
                Replace { path: &path, old: &old, new: &hash_of_new, write, copies, report: &report, nonce: &nonce };
            fs::write(self.root.join("sent"), new).unwrap();
            let encoded = Command::new("base64").arg(self.root.join("sent")).output().unwrap().stdout;
            fs::write(self.root.join("sent"), encoded).unwrap();
            let mut shell = Command::new("sh");
            shell.args(["-c", &replace.program()]).current_dir(&self.root).process_group(0);
            shell.stdin(File::open(self.root.join("sent")).unwrap()).stderr(Stdio::null());
            if let Some(programs) = &self.programs {
                shell.env("PATH", format!("{}:{}", programs.display(), std::env::var("PATH").unwrap()));
            }
            shell.spawn().unwrap()
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }

    #[test]
    fn p056_a_file_is_replaced_with_its_mode_and_a_copy_is_kept() {
        let place = Place::new();
        let link = place.root.join("link");
        symlink(place.file(), &link).unwrap();
        let before = fs::metadata(place.file()).unwrap();
        assert_eq!(place.run(&link, "old\n", "new\0\n", HbaWrite::Replace, Some(10)), 0);
        let after = fs::metadata(place.file()).unwrap();
        assert_eq!(fs::read(place.file()).unwrap(), b"new\0\n");
        assert_ne!(before.ino(), after.ino(), "it is another file");
        assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let names = place.names();
        assert_eq!(names.len(), 3, "{names:?}");
        assert!(names[1].starts_with("pg_hba.conf.2") && names[1].ends_with(&super::super::swap::hash(b"old\n")[..8]));
        assert_eq!(fs::read_link(place.root.join("it's/pg_hba.conf.bak")).unwrap(), Path::new(&names[1]));
        let copy = fs::metadata(place.root.join("it's").join(&names[1])).unwrap();
        assert_eq!(copy.mode(), before.mode());
    }

    #[test]
    fn p056_a_file_that_somebody_else_changed_is_left_alone() {
        for write in [HbaWrite::Replace, HbaWrite::InPlace] {
            for copies in [None, Some(10)] {
                let place = Place::new();
                assert_eq!(place.run(&place.file(), "older\n", "new\n", write, copies), 81);
                assert_eq!(fs::read(place.file()).unwrap(), b"old\n");
                assert_eq!(place.names(), ["pg_hba.conf"]);
            }
        }
    }

    #[test]
    fn p056_a_change_by_somebody_else_at_the_last_moment_is_seen() {
        for write in [HbaWrite::Replace, HbaWrite::InPlace] {
            let mut place = Place::new();
            // The program that is run last before the comparison makes a change of its own.
            place.stand_in("date", "echo theirs >>\"it's/pg_hba.conf\"\necho 20200101T000000Z");
            fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
            assert_eq!(place.run(&place.file(), "old\n", "new\n", write, Some(10)), 81);
            assert_eq!(fs::read(place.file()).unwrap(), b"old\ntheirs\n");
            assert_eq!(place.names(), ["pg_hba.conf"]);
        }
    }

    /// Sends a signal to the program, or to all that it runs too, while a stand-in waits; returns the exit code.
    fn interrupt(place: &Place, signal: &str, write: HbaWrite, to_all: bool) -> i32 {
        let mut shell = place.begin(&place.file(), "old\n", "new\n", write, Some(10));
        let started = Instant::now();
        while !place.root.join("waits").exists() {
            assert_eq!(shell.try_wait().unwrap(), None);
            assert!(started.elapsed() < Duration::from_secs(30), "the stand-in was not run");
            thread::sleep(Duration::from_millis(2));
        }
        let target = if to_all { format!("-{}", shell.id()) } else { shell.id().to_string() };
        assert!(Command::new("kill").args(["-s", signal, "--", &target]).status().unwrap().success());
        fs::write(place.root.join("go"), "").unwrap();
        shell.wait().unwrap().code().unwrap()
    }

    #[test]
    fn a_signal_before_the_last_comparison_leaves_the_old_file_and_one_after_it_the_new_one() {
        let wait = ": >waits; until [ -e go ]; do sleep 0.01; done";
        let copied = format!("case $2 in\n*-copy) /bin/mv \"$@\"; {wait}; exit;;\nesac\nexec /bin/mv \"$@\"");
        let renamed = format!("case $2 in\n*-new) {wait};;\nesac\nexec /bin/mv \"$@\"");
        let written = format!("case $1 in\n*/new) {wait};;\nesac\nexec /bin/cat \"$@\"");
        let moments = [
            ("date", format!("{wait}; exec /bin/date \"$@\""), HbaWrite::Replace, 87),
            ("date", format!("{wait}; exec /bin/date \"$@\""), HbaWrite::InPlace, 87),
            ("mv", copied, HbaWrite::Replace, 87),
            ("mv", renamed, HbaWrite::Replace, 0),
            ("cat", written, HbaWrite::InPlace, 0),
        ];
        for signal in ["HUP", "INT", "QUIT", "TERM"] {
            for (name, text, write, code) in &moments {
                for to_all in [false, true] {
                    let what = format!("{signal} at {name}, {write}, to all: {to_all}");
                    let mut place = Place::new();
                    fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
                    place.stand_in(name, text);
                    assert_eq!(interrupt(&place, signal, *write, to_all), *code, "{what}");
                    let expected = if *code == 0 { ("new\n", 3) } else { ("old\n", 1) };
                    let content = fs::read_to_string(place.file()).unwrap();
                    assert_eq!((content.as_str(), place.names().len()), expected, "{what}: {:?}", place.names());
                }
            }
        }
    }

    #[test]
    fn a_file_that_cannot_be_put_back_is_told_and_its_old_content_is_kept() {
        // The first program writes a half, the next ones do the same, or find room again.
        for (later, code, content) in [("exit 1", 91, ""), ("exec /bin/cat \"$@\"", 82, "old\n")] {
            for copies in [None, Some(10)] {
                let mut place = Place::new();
                let full = "echo \"cat: No space left on device\" >&2; exit 1";
                let text = format!("case $1 in\n*/new) {full};;\n*/old) {later};;\nesac\nexec /bin/cat \"$@\"");
                place.stand_in("cat", &text);
                fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
                assert_eq!(place.run(&place.file(), "old\n", "new\n", HbaWrite::InPlace, copies), code);
                assert_eq!(fs::read_to_string(place.file()).unwrap(), content);
                if code == 91 {
                    let report = fs::read_dir(place.root.join("base/pgsql_tmp")).unwrap().next().unwrap().unwrap();
                    let copy = fs::read_to_string(report.path().join("error")).unwrap();
                    assert_eq!(fs::read_to_string(copy).unwrap(), "old\n");
                }
                assert_eq!(place.names().len(), if code == 91 && copies.is_some() { 2 } else { 1 });
            }
        }
    }

    #[test]
    fn a_write_in_place_keeps_the_file_itself() {
        let place = Place::new();
        fs::set_permissions(place.file(), Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(place.file()).unwrap();
        assert_eq!(place.run(&place.file(), "old\n", "n\n", HbaWrite::InPlace, None), 0);
        let after = fs::metadata(place.file()).unwrap();
        assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()));
        assert_eq!((fs::read(place.file()).unwrap(), place.names()), (b"n\n".to_vec(), vec!["pg_hba.conf".into()]));
    }

    #[test]
    fn only_so_many_copies_are_kept_and_none_of_others() {
        let place = Place::new();
        let at = |name: &str| place.root.join("it's").join(name);
        let hash = super::super::swap::hash(b"ours");
        let ours = |day: u32| format!("pg_hba.conf.202001{day:02}T000000Z.{}", &hash[..8]);
        for day in 1..=4 {
            fs::write(at(&ours(day)), "ours").unwrap();
        }
        let theirs = ["pg_hba.conf.20190101T000000Z.00000000", "pg_hba.conf.20190101T000000Z.orig", "pg_hba.conf.old"];
        theirs.iter().for_each(|name| fs::write(at(name), "theirs").unwrap());
        fs::write(at("pg_hba.conf.bak"), "theirs").unwrap();
        assert_eq!(place.run(&place.file(), "old\n", "new\n", HbaWrite::Replace, Some(3)), 0);
        let names = place.names();
        assert!(theirs.iter().all(|name| names.iter().any(|left| left == name)), "{names:?}");
        assert!(!names.contains(&ours(2)) && names.contains(&ours(3)) && names.contains(&ours(4)), "{names:?}");
        assert_eq!(fs::read(at("pg_hba.conf.bak")).unwrap(), b"theirs");
        assert_eq!(names.len(), 8, "{names:?}");
    }

    #[test]
    fn copies_of_one_second_come_one_after_another() {
        let mut place = Place::new();
        place.stand_in("date", "echo 20200101T000000Z");
        let at = |name: &str| place.root.join("it's").join(name);
        let named =
            |end: &str, text: &str| format!("pg_hba.conf.{end}.{}", &super::super::swap::hash(text.as_bytes())[..8]);
        // A name without a count of the same second, and one of another content, which says nothing.
        let earlier = [named("20200101T000000Z", "ours"), "pg_hba.conf.99990101T000000Z.000000.00000000".to_owned()];
        earlier.iter().for_each(|name| fs::write(at(name), "ours").unwrap());
        let mut old = "old\n".to_owned();
        for round in 0..12 {
            let new = format!("new {round}\n");
            assert_eq!(place.run(&place.file(), &old, &new, HbaWrite::Replace, Some(2)), 0);
            let expected = named(&format!("20200101T000000Z.{round:06}"), &old);
            assert_eq!(fs::read_to_string(at(&expected)).unwrap(), old);
            assert_eq!(fs::read_link(at("pg_hba.conf.bak")).unwrap(), Path::new(&expected));
            old = new;
        }
        // The clock was put back since these.
        let later = named("20301231T235959Z.000007", "ours");
        fs::write(at(&later), "ours").unwrap();
        assert_eq!(place.run(&place.file(), &old, "last\n", HbaWrite::Replace, Some(2)), 0);
        let names = place.names();
        let last = named("20301231T235959Z.000008", &old);
        assert_eq!(names, ["pg_hba.conf", later.as_str(), &last, &earlier[1], "pg_hba.conf.bak"]);
    }

    #[test]
    fn what_a_killed_program_left_behind_is_removed_after_an_hour() {
        let place = Place::new();
        let at = |digit: char, end: &str| {
            place.root.join(format!("it's/pg_hba.conf.pgsteward-{}-{end}", digit.to_string().repeat(32)))
        };
        let files = [at('a', "new"), at('b', "copy"), at('c', "new"), at('x', "new")];
        files.iter().for_each(|file| fs::write(file, "").unwrap());
        for old in [0, 1, 3] {
            assert!(Command::new("touch").args(["-d", "2 hours ago"]).arg(&files[old]).status().unwrap().success());
        }
        assert_eq!(place.run(&place.file(), "old\n", "new\n", HbaWrite::Replace, None), 0);
        let left: Vec<bool> = files.iter().map(|file| file.exists()).collect();
        assert_eq!(left, [false, false, true, true]);
    }

    #[test]
    fn what_is_missing_is_told_by_the_exit_code() {
        let place = Place::new();
        let missing = place.root.join("none");
        assert_eq!(place.run(&missing, "old\n", "new\n", HbaWrite::Replace, None), 89);
        assert_eq!(place.run(&place.root.join("it's"), "old\n", "new\n", HbaWrite::Replace, None), 89);
    }
}
