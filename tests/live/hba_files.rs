//! Files as `pg_hba_file_rules` reads them, and as we do.
use crate::hba_generated;
use crate::hba_view::{Address, Row, Shown, rows};
use pgsteward::Cluster;
use pgsteward::hba::{ConnectionType, Dialect, HbaDatabase, HbaFile, HbaMethod, HbaRule, HbaUser};
use pgsteward::testing::{TestServer, TestServerOptions};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// A server whose pg_hba.conf is written anew for each case; it is never reloaded.
struct Lab {
    server: TestServer,
    cluster: Cluster,
    dialect: Dialect,
}

impl Lab {
    fn start(settings: &[(&str, &str)]) -> Self {
        let mut options = TestServerOptions::new();
        options.settings = settings.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let server = TestServer::with(options).unwrap();
        let cluster = Cluster::connect(&server.dsn()).unwrap();
        let mut dialect = Dialect::new(cluster.version().clone());
        dialect.ssl = Some(false);
        let validators = settings.iter().filter(|(name, _)| *name == "oauth_validator_libraries");
        dialect.oauth_validators = Some(validators.flat_map(|(_, names)| names.split(',')).map(Into::into).collect());
        let mut lab = Self { server, cluster, dialect };
        let built = |method: &str| {
            lab.view(&[("pg_hba.conf", format!("host all all all {method}\n").as_bytes())])[0].rule.is_some()
        };
        let (gssapi, ldap) = (built("gss"), built("ldap ldapserver=l ldapbasedn=x"));
        let (pam, bsd, sspi) = (built("pam"), built("bsd"), built("sspi"));
        let dialect = &mut lab.dialect;
        (dialect.gssapi, dialect.ldap) = (Some(gssapi), Some(ldap));
        (dialect.pam, dialect.bsd, dialect.sspi) = (Some(pam), Some(bsd), Some(sspi));
        lab
    }

    fn data(&self) -> PathBuf {
        self.server.data_directory()
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.data().join(name);
        let owner = fs::metadata(self.data()).unwrap();
        let owner = (std::os::unix::fs::MetadataExt::uid(&owner), std::os::unix::fs::MetadataExt::gid(&owner));
        let directory = path.parent().unwrap();
        if !directory.exists() {
            fs::create_dir(directory).unwrap();
            chown(directory, Some(owner.0), Some(owner.1)).unwrap();
        }
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    /// What the server says about these files.
    fn view(&self, files: &[(&str, &[u8])]) -> Vec<Row> {
        files.iter().for_each(|(name, bytes)| self.write(name, bytes));
        let file = if self.cluster.version().at_least(16) { "file_name" } else { "NULL::text" };
        // In hexadecimal, because it may be no UTF-8; each word with a sign before it, because it may be empty.
        let list = |column: &str| {
            format!(
                "(SELECT string_agg('x' || encode(textsend(word), 'hex'), ',' ORDER BY place) FROM unnest({column}) WITH ORDINALITY AS words(word, place))"
            )
        };
        let query = format!(
            "SELECT {file}, line_number, type, {}, {}, encode(textsend(address), 'hex'), netmask, auth_method, {}, error IS NOT NULL \
             FROM pg_hba_file_rules",
            list("database"),
            list("user_name"),
            list("options")
        );
        let main = self.data().join("pg_hba.conf");
        let found = self.cluster.execute(&query, &[]).unwrap().into_iter().map(|row| {
            let words = |at: usize| texts(row.get::<_, Option<String>>(at).as_deref());
            let rule = row.get::<_, Option<String>>(2).map(|connection| Shown {
                connection,
                databases: words(3),
                users: words(4),
                address: row.get::<_, Option<String>>(5).map(|address| Address::read(&text(&address))),
                mask: row.get::<_, Option<String>>(6).map(|mask| Address::read(&mask)),
                method: row.get(7),
                options: words(8),
            });
            let warning = rule.is_some() && row.get(9);
            let line: i32 = row.get(1);
            let file = row.get::<_, Option<String>>(0).filter(|file| Path::new(file) != main);
            Row { file, line: line.try_into().unwrap(), rule, warning }
        });
        found.collect()
    }

    /// What we say about the files that are there.
    fn ours(&self) -> HbaFile {
        HbaFile::open(self.data().join("pg_hba.conf").to_str().unwrap(), self.dialect.clone()).unwrap()
    }

    /// Both, for comparison; the text of files that differ.
    fn compare(&self, files: &[(&str, &[u8])]) -> Result<(), String> {
        let mut theirs = sorted(self.view(files));
        let ours = self.ours();
        assert_eq!(ours.new_bytes(), ours.old_bytes());
        let mut own = rows(&ours);
        if !self.cluster.version().at_least(16) {
            own.iter_mut().for_each(|row| row.file = None);
        }
        // The view shows what a URL stands for.
        for (own, theirs) in
            own.iter_mut().filter_map(|row| row.rule.as_mut()).zip(theirs.iter().filter_map(|row| row.rule.as_ref()))
        {
            if own.options == ["ldapurl"] {
                own.options.clone_from(&theirs.options);
            }
        }
        // Whether a RADIUS server has an address shows only when it is looked up, on the server.
        let unknown: Vec<_> = own.iter().filter(|row| row.rule.as_ref().is_some_and(names_a_host)).cloned().collect();
        let known = |row: &Row| !unknown.iter().any(|other| (&other.file, other.line) == (&row.file, row.line));
        own.retain(known);
        theirs.retain(known);
        let taken = theirs.iter().all(|row| row.rule.is_some()) && !theirs.is_empty();
        if sorted(own.clone()) == theirs && (taken == ours.check().is_ok() || !unknown.is_empty()) {
            return Ok(());
        }
        let files: Vec<_> =
            files.iter().map(|(name, bytes)| format!("{name}: {:?}", String::from_utf8_lossy(bytes))).collect();
        let faults: Vec<_> = ours.faults().iter().map(ToString::to_string).collect();
        let (own, files, faults) = (sorted(own), files.join("\n"), faults.join("\n"));
        Err(format!("{files}\nours: {own:#?}\ntheirs: {theirs:#?}\n{faults}"))
    }
}

fn names_a_host(rule: &Shown) -> bool {
    let servers = rule.options.iter().filter_map(|option| option.strip_prefix("radiusservers="));
    servers.flat_map(|servers| servers.split(',')).any(|server| server.trim().parse::<std::net::IpAddr>().is_err())
}

fn text(hexadecimal: &str) -> String {
    let bytes = hexadecimal
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned()
}

fn texts(list: Option<&str>) -> Vec<String> {
    let words = list.into_iter().flat_map(|list| list.split(','));
    words.map(|word| text(&word[1..]).replace("samegroup", "samerole")).collect()
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| (row.file.clone(), row.line, row.rule.is_some()));
    rows
}

/// Each line is a file of its own.
const LINES: &str = include_str!("../data/hba_lines.txt");

#[test]
fn hba_files_of_one_line_are_read_as_by_the_server() {
    let plain = Lab::start(&[]);
    let oauth = plain.cluster.version().at_least(18).then(|| Lab::start(&[("oauth_validator_libraries", "x,y")]));
    let mut wrong = Vec::new();
    for line in LINES.lines() {
        for lab in [&plain].into_iter().chain(&oauth) {
            wrong.extend(lab.compare(&[("pg_hba.conf", line.as_bytes())]).err());
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Files that name one another, and other things that take more than one line.
const FILES: &[&[(&str, &[u8])]] = &[
    &[("pg_hba.conf", b"\xef\xbb\xbflocal all all trust\n")],
    &[("pg_hba.conf", b"local \"caf\xe9\" +\xff trust\r\n\r\nlocal all all\x0btrust\n")],
    &[("pg_hba.conf", b"local all all trust\0 garbage\nhost all all all reject\nlocal x x trust\n")],
    &[("pg_hba.conf", b"# c\0 garbage\n# x\nlocal x x trust\n\0")],
    &[("pg_hba.conf", b"host all \\\n all \\\r\n all tru\\\nst\n# \\\nlocal x y trust\nlocal a b trust\\")],
    &[
        ("pg_hba.conf", b"local @words all trust\nlocal a @words, peer\n"),
        ("words", b"a, b\n\"all\" +c @ \"@d\" # e\n\"f"),
    ],
    &[
        ("pg_hba.conf", b"local @w1,x @w1 trust\n"),
        ("w1", b"a @w2 b"),
        ("w2", b"@dir/w3"),
        ("dir/w3", b"c @w4"),
        ("dir/w4", b"d"),
    ],
    &[
        ("pg_hba.conf", b"local @nothing all trust\nlocal @missing all trust\nlocal x y trust"),
        ("nothing", b"# none\n"),
    ],
    &[("pg_hba.conf", b"local @nothing all all trust\nlocal @nothing, a all trust\nlocal @nothing"), ("nothing", b"")],
    &[("pg_hba.conf", b"local @w1 all trust\n"), ("w1", b"a\nb @missing\n")],
    &[("pg_hba.conf", b"local @w1 all trust\n"), ("w1", b"include w2\nlocal c\n"), ("w2", b"d e\nf g h")],
    &[
        ("pg_hba.conf", b"@type all all trust\nlocal all all @method @options\nhost all all @address trust\n"),
        ("type", b"local"),
        ("method", b"peer"),
        ("options", b"map=x"),
        ("address", b"10.0.0.0/8"),
    ],
    &[
        ("pg_hba.conf", b"include i1\nlocal a b trust\ninclude_if_exists missing\ninclude \"i 2\"\n"),
        ("i1", b"local i1 x trust # \\\nlocal y z trust\n"),
        ("i 2", b"# none\nlocal i2 x trust"),
    ],
    &[
        ("pg_hba.conf", b"include missing\ninclude i1, i2\ninclude,x i1\n\"include\" i1\ninclude \"\"\n@kind i1\n"),
        ("i1", b"local i1 x trust"),
        ("kind", b"include"),
    ],
    &[
        ("pg_hba.conf", b"include_dir dir\nlocal z z trust\ninclude_dir missing\ninclude_dir \" \"\n"),
        ("dir/b.conf", b"local b b trust"),
        ("dir/a.conf", b"local a @w3 trust"),
        ("dir/A.conf", b"local A A trust\nbad"),
        ("dir/.c.conf", b"bad"),
        ("dir/.conf", b"bad"),
        ("dir/c", b"bad"),
    ],
    &[
        ("pg_hba.conf", b"include dir/../i1\nlocal @dir/../words all trust\nlocal @./words all trust"),
        ("i1", b"local i1 x trust"),
        ("words", b"w"),
    ],
];

#[test]
fn hba_files_that_include_others_are_read_as_by_the_server() {
    let lab = Lab::start(&[]);
    let wrong: Vec<_> = FILES.iter().filter_map(|files| lab.compare(files).err()).collect();
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n\n"));
}

/// A file `0` names `1`, and so on, so many files deep.
fn chain(length: usize, line: &str, last: &str) -> Vec<(String, String)> {
    (0..length)
        .map(|at| (at.to_string(), if at + 1 < length { format!("{line}{}\n", at + 1) } else { last.into() }))
        .collect()
}

#[test]
fn hba_files_are_followed_as_deep_as_by_the_server() {
    let lab = Lab::start(&[]);
    for (main, line, last) in [("local @0 all trust\n", "@", "word"), ("include 0\n", "include ", "local a b trust\n")]
    {
        for length in [9, 10, 11] {
            let files = chain(length, line, last);
            let files = files.iter().map(|(name, text)| (name.as_str(), text.as_bytes()));
            lab.compare(&std::iter::once(("pg_hba.conf", main.as_bytes())).chain(files).collect::<Vec<_>>()).unwrap();
        }
    }
    // The server would die of the first of these before PostgreSQL 16.
    for (main, other) in [("local @0 all trust\n", "a @1\n"), ("local x x trust\ninclude 0\n", "include 1\n")] {
        lab.write("pg_hba.conf", main.as_bytes());
        lab.write("0", other.as_bytes());
        lab.write("1", other.replace('1', "0").as_bytes());
        let faults = lab.ours().faults();
        assert_eq!(faults.len(), 1, "{faults:?}");
        let circle = if lab.cluster.version().at_least(16) || main.contains('@') {
            "includes itself"
        } else {
            "needs PostgreSQL 16"
        };
        assert!(faults[0].problem.contains(circle), "{faults:?}");
    }
}

/// Compares this many generated files. What fails is made as small as it can be, and its seed is kept.
fn campaign(cases: u32) {
    let lab = Lab::start(&[("oauth_validator_libraries", "x")][..usize::from(crate::support::major() >= 18)]);
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/hba_files.proptest-regressions");
    let persistence = proptest::test_runner::FileFailurePersistence::Direct(Box::leak(seeds.to_string_lossy().into()));
    let config = Config { cases, failure_persistence: Some(Box::new(persistence)), ..Config::default() };
    let (rules, faults) = (Cell::new(0), Cell::new(0));
    let run = TestRunner::new(config).run(&hba_generated::files(), |files| {
        let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        lab.compare(&files).map_err(TestCaseError::fail)?;
        rules.set(rules.get() + lab.ours().len());
        faults.set(faults.get() + lab.ours().faults().len());
        Ok(())
    });
    run.unwrap();
    eprintln!("{cases} files with {} rules and {} faults", rules.get(), faults.get());
    assert!(
        3 * rules.get() > faults.get(),
        "the files are mostly wrong: {} rules, {} faults",
        rules.get(),
        faults.get()
    );
}

#[test]
fn hba_files_that_were_generated_are_read_as_by_the_server() {
    campaign(300);
}

#[test]
#[ignore = "takes minutes; scripts/soak runs it"]
fn hba_ten_thousand_generated_files_are_read_as_by_the_server() {
    campaign(10_000);
}

#[test]
fn hba_a_name_that_begins_with_a_slash_means_just_itself() {
    let lab = Lab::start(&[]);
    let name = "/a.b*c+d?(e)[f]{2}|^g$\\w\"#, -_/é@";
    let mut hba = lab.ours();
    let user = HbaUser::Name(name.into());
    hba.push(HbaRule::new(
        ConnectionType::Local,
        vec![HbaDatabase::Name(name.into())],
        vec![user],
        None,
        HbaMethod::Trust,
    ))
    .unwrap();
    lab.compare(&[("pg_hba.conf", &hba.new_bytes())]).unwrap();
    let pattern = match hba.get(hba.len() - 1).unwrap().users.as_slice() {
        [HbaUser::Regex(regex)] => regex.to_string(),
        [HbaUser::Name(literal)] => {
            assert!(!lab.cluster.version().at_least(16) && literal == name);
            return;
        }
        other => panic!("{other:?}"),
    };
    let others = [name, "x/a", "/aXb", &name[1..], &format!("{name}x"), &format!("x{name}"), &name.replace('.', "x")];
    let query =
        "SELECT name ~ ($2 COLLATE \"C\") FROM unnest($1::text[]) WITH ORDINALITY AS names(name, place) ORDER BY place";
    let rows = lab.cluster.execute(query, &[&others.as_slice(), &pattern]).unwrap();
    let matches: Vec<bool> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(matches, [true, false, false, false, false, false, false]);
}

/// Whether the server takes a regular expression.
const TAKES: &str = "CREATE FUNCTION pg_temp.takes(pattern text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM '' ~ (pattern COLLATE \"C\");
        RETURN true;
    EXCEPTION WHEN invalid_regular_expression THEN
        RETURN false;
    END $$";

#[test]
fn hba_regular_expressions_are_taken_as_by_the_server() {
    let cluster = crate::support::fresh();
    cluster.execute(TAKES, &[]).unwrap();
    const PARTS: &[&str] = &[
        "a",
        "b",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?<!",
        "(?#",
        "(?",
        "[",
        "]",
        "[^",
        "[[:",
        ":]]",
        "[:alpha:]",
        "[.a.]",
        "[=b=]",
        "[.",
        ".]",
        "-",
        "^",
        "$",
        "*",
        "+",
        "?",
        "{",
        "}",
        "{1}",
        "{1,",
        "2",
        ",",
        "{2,1}",
        "{256}",
        "|",
        ".",
        "\\",
        "\\d",
        "\\D",
        "\\w",
        "\\m",
        "\\y",
        "\\A",
        "\\1",
        "\\2",
        "\\10",
        "\\0",
        "\\x41",
        "\\u00e9",
        "\\U0001",
        "\\cA",
        "\\q",
        "\\e",
        "\\89",
        "\\400",
        " ",
        "#",
        "\n",
        "é",
        "***",
        "***=",
        "***:",
        "(?i)",
        "(?x)",
        "(?q)",
        "(?z)",
        "[a-z]",
        "[z-a]",
        "[[:<:]]",
    ];
    let pattern = prop::collection::vec(prop::sample::select(PARTS), 0..8).prop_map(|parts| parts.concat());
    let patterns = prop::collection::vec(pattern, 1000);
    // Of the two older sorts, all are taken here.
    let is_older = |pattern: &str| ["(?b", "(?e"].iter().any(|start| pattern.starts_with(start));
    // Before PostgreSQL 14 a class could not stand in brackets; but only from 16 on rules have regular expressions.
    let is_newer = |pattern: &str| !cluster.version().at_least(14) && pattern.contains("\\D");
    let mut dialect = Dialect::new(cluster.version().clone());
    dialect.version = pgsteward::ServerVersion::parse("16").unwrap();
    let (taken, refused) = (Cell::new(0), Cell::new(0));
    let mut runner =
        TestRunner::new(Config { cases: 5, failure_persistence: None, max_shrink_iters: 0, ..Config::default() });
    runner
        .run(&patterns, |patterns| {
            let rows = cluster.execute(
                "SELECT pg_temp.takes(p) FROM unnest($1::text[]) WITH ORDINALITY AS u(p, n) ORDER BY n",
                &[&patterns],
            );
            for (pattern, row) in patterns
                .iter()
                .zip(rows.unwrap())
                .filter(|(pattern, _)| !is_older(pattern) && !is_newer(pattern) && !pattern.contains('\n'))
            {
                let line = format!("local \"/{}\" all trust\n", pattern.replace('"', "\"\""));
                let ours = HbaFile::from_bytes("pg_hba.conf", line, dialect.clone()).len() == 1;
                let theirs: bool = row.get(0);
                prop_assert_eq!(ours, theirs, "{:?}", pattern);
                let count = if theirs { &taken } else { &refused };
                count.set(count.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(taken.get() > 500 && refused.get() > 500, "{} taken, {} refused", taken.get(), refused.get());
}
