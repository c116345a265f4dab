//! Files as `pg_hba_file_rules` reads them, and as we do.
use crate::hba_view::{Address, Row, Shown, rows};
use pgsteward::Cluster;
use pgsteward::hba::{Dialect, HbaFile};
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
        dialect.tls = Some(false);
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

mod generated {
    use super::*;

    pub type Bytes = BoxedStrategy<Vec<u8>>;

    pub fn one_of(words: &'static [&'static str]) -> Bytes {
        prop::sample::select(words).prop_map(|word| word.as_bytes().to_vec()).boxed()
    }

    fn join(parts: Vec<Vec<u8>>) -> Vec<u8> {
        parts.concat()
    }

    fn name() -> Bytes {
        prop_oneof![
            12 => one_of(&["all", "db", "app_rw", "sameuser", "samerole", "replication", "a-b.c"]),
            4 => one_of(&["\"all\"", "\"a b\"", "a\"b\"c", "\"a,b\"", "\"x\"\"y\"", "\"\"", "\"#\"", "\"\"all", "al\"l\"", "\"+g\"", "\"@f\""]),
            3 => one_of(&["+g", "+\"a b\"", "+", "/^a.*$", "/", "\"/^b{1,2}$\"", "/a|b", "+/x", "@", "\"/\\d\""]),
            2 => one_of(&["@w1", "@w2", "@\"w 3\"", "@empty"]),
            1 => one_of(&["@missing", "/(", "\"/[\"", "/a**", "\"open", "b\u{fc}ro", "*"]),
            1 => prop::collection::vec(any::<u8>(), 1..6).boxed(),
            2 => "[a-z_]{1,12}".prop_map(String::into_bytes).boxed(),
        ]
        .boxed()
    }

    fn names() -> Bytes {
        let comma = prop_oneof![10 => one_of(&[","]), 3 => one_of(&[", ", ",,", ",\t"]), 1 => one_of(&[" ,", " , "])];
        let more = prop::collection::vec((comma, name()).prop_map(|(comma, name)| join(vec![comma, name])), 0..3);
        (name(), prop_oneof![3 => Just(Vec::new()), 2 => more])
            .prop_map(|(first, more)| join(vec![first, join(more)]))
            .boxed()
    }

    fn address() -> Bytes {
        let bits = prop_oneof![6 => (0..33_u32).prop_map(|bits| bits.to_string()), 1 => "[-+ ]?[0-9]{0,3}"];
        let four = prop_oneof![
            6 => any::<[u8; 4]>().prop_map(|bytes| std::net::Ipv4Addr::from(bytes).to_string()),
            2 => "(0|1|12|012|0x1f|256|08|4294967295)(\\.(0|7|255|010|0xFF|65536)){0,4}",
        ];
        let six = prop_oneof![
            3 => any::<[u16; 8]>().prop_map(|words| std::net::Ipv6Addr::from(words).to_string()),
            3 => "[0-9a-f]{0,4}(:[0-9a-f]{0,4}){1,7}",
            2 => "(::|1:2::|::ffff:)(10.0.0.1|1|abcd)(%[0-9a-z]{0,2})?",
        ];
        let number = prop_oneof![3 => four, 2 => six].boxed();
        let slash = (number.clone(), bits).prop_map(|(address, bits)| match bits.contains(' ') {
            true => format!("\"{address}/{bits}\"").into_bytes(),
            false => format!("{address}/{bits}").into_bytes(),
        });
        let masks = prop_oneof![
            3 => one_of(&["255.255.0.0", "255.0.255.0", "255", "ffff::", "0xffffff00", "255.255"]),
            1 => number.clone().prop_map(String::into_bytes),
        ];
        let mask = (number, one_of(&[" ", "\t ", "  "]), masks)
            .prop_map(|(address, blank, mask)| join(vec![address.into_bytes(), blank, mask]));
        prop_oneof![
            4 => one_of(&["all", "samehost", "samenet", "\"all\"", "127.0.0.1/32", "::1/128"]),
            2 => one_of(&["db.example.com", ".example.com", "a_b", "*", "\"\"", "\"a b\"", "all,samehost", "host/8"]),
            6 => slash,
            3 => mask,
        ]
        .boxed()
    }

    const OPTIONS: &[&str] = &[
        "map=x",
        "map=\"a b\"",
        "\"map=y\"",
        "map=",
        "map",
        "clientcert=verify-full",
        "clientcert=verify-ca",
        "clientcert=1",
        "clientcert=0",
        "clientcert=no-verify",
        "clientname=DN",
        "clientname=CN",
        "pamservice=p",
        "pam_use_hostname=1",
        "ldapserver=l",
        "ldapbasedn=\"dc=x, dc=y\"",
        "ldapprefix=\"cn=\"",
        "ldapsuffix=s",
        "ldaptls=1",
        "ldaptls=true",
        "ldapport=389",
        "ldapport=x",
        "ldapbinddn=b",
        "ldapbindpasswd=p",
        "ldapsearchattribute=a",
        "ldapscheme=ldaps",
        "ldapsearchfilter=\"(a=$username)\"",
        "krb_realm=R",
        "include_realm=0",
        "include_realm=1",
        "compat_realm=1",
        "upn_username=1",
        "radiusservers=127.0.0.1",
        "radiusservers=\"127.0.0.1,::1\"",
        "radiussecrets=a",
        "radiussecrets=\"a,b\"",
        "radiusports=1812",
        "radiusports=\"1,2\"",
        "radiusports=x",
        "radiusidentifiers=\"i,j\"",
        "issuer=i",
        "scope=\"s t\"",
        "validator=x",
        "validator=y",
        "delegate_ident_mapping=1",
        "foo=bar",
        "=",
        "\"\"",
    ];

    fn method() -> Bytes {
        let plain = &[
            "trust",
            "reject",
            "md5",
            "password",
            "scram-sha-256",
            "peer",
            "ident",
            "cert",
            "\"trust\"",
            "gss",
            "pam",
        ];
        let with = |method: &'static str, options: &'static [&'static str]| {
            prop::collection::vec(prop::sample::select(options), 0..4).prop_map(move |options| {
                let options: String = options.iter().flat_map(|option| [" ", option]).collect();
                format!("{method}{options}").into_bytes()
            })
        };
        prop_oneof![
            10 => one_of(plain),
            1 => one_of(&["sspi", "bsd", "oauth", "radius", "ldap", "TRUST", "trust,md5", "krb5", "", "@w1", "@method"]),
            1 => with("ldap", &OPTIONS[14..26]),
            1 => with("ldap ldapserver=l ldapbasedn=x", &OPTIONS[18..27]),
            1 => with("radius radiusservers=127.0.0.1 radiussecrets=s", &OPTIONS[32..40]),
            1 => with("radius", &OPTIONS[32..40]),
            1 => with("gss", &OPTIONS[27..32]),
            1 => with("peer", &OPTIONS[..5]),
            1 => with("cert", &OPTIONS[..12]),
            1 => with("md5", &OPTIONS[5..12]),
            1 => with("oauth issuer=i scope=s", &OPTIONS[40..45]),
            1 => with("scram-sha-256", OPTIONS),
        ]
        .boxed()
    }

    fn blank() -> Bytes {
        prop_oneof![8 => one_of(&[" "]), 4 => one_of(&["\t", "   ", " \t", "\r "]), 1 => one_of(&[" \\\n", "\\\n ", " \\\r\n ", "\\\n"])].boxed()
    }

    fn rule() -> Bytes {
        let local = (names(), names(), method())
            .prop_map(|(databases, users, method)| vec![b"local".to_vec(), databases, users, method]);
        let host = prop_oneof![
            6 => one_of(&["host", "hostssl", "hostnossl"]),
            2 => one_of(&["hostgssenc", "hostnogssenc", "\"host\""]),
            1 => one_of(&["HOST", "hosts", "include", "host,host", "@type"]),
        ];
        let host = (host, names(), names(), address(), method())
            .prop_map(|(kind, databases, users, address, method)| vec![kind, databases, users, address, method]);
        let fields = prop_oneof![2 => local, 5 => host];
        let blanks = prop::collection::vec(blank(), 5);
        let tail = prop_oneof![6 => one_of(&[""]), 2 => one_of(&[" # note", "#x", " \t", " # \"open", " # \\"])];
        (one_of(&["", "", "", " ", "\t"]), fields, blanks, tail)
            .prop_map(|(indent, fields, blanks, tail)| {
                let words = fields.into_iter().zip(blanks).enumerate();
                let line = words.map(|(at, (word, blank))| if at == 0 { word } else { join(vec![blank, word]) });
                join(vec![indent, join(line.collect()), tail])
            })
            .boxed()
    }

    fn line() -> Bytes {
        let cut =
            (rule(), any::<prop::sample::Index>()).prop_map(|(rule, at)| rule[..at.index(rule.len() + 1)].to_vec());
        prop_oneof![
            16 => rule(),
            2 => one_of(&["", "# comment", "  # \"x", "\t"]),
            2 => one_of(&["include i1", "include_if_exists i2", "include_if_exists missing", "include_dir dir", "include \"i1\"", "include i1 # x"]),
            1 => one_of(&["include missing", "include_dir missing", "include i1 x", "include", "include i2,i1"]),
            1 => cut,
            1 => prop::collection::vec(any::<u8>(), 0..20).boxed(),
        ]
        .boxed()
    }

    fn lines(most: usize) -> Bytes {
        let end = || prop_oneof![12 => one_of(&["\n"]), 3 => one_of(&["\r\n"]), 1 => one_of(&["\n\n", " \n", "\\\n"])];
        let line = (line(), end()).prop_map(|(line, end)| join(vec![line, end]));
        (prop::collection::vec(line, 0..most), any::<bool>())
            .prop_map(|(lines, cut)| {
                let mut all = join(lines);
                if cut {
                    all.pop();
                }
                all
            })
            .boxed()
    }

    /// Words for an `@file`; no file names one before it.
    fn words(next: &'static str) -> Bytes {
        let word = prop_oneof![6 => one_of(&["a", "b", "\"c d\"", "all", "+r", "/x", "\"@\""]), 1 => Just(next.as_bytes().to_vec())];
        let end = one_of(&[" ", ",", "\n", ", ", "\r\n", " # x\n"]);
        prop::collection::vec((word, end).prop_map(|(word, end)| join(vec![word, end])), 0..5).prop_map(join).boxed()
    }

    /// pg_hba.conf, and files for it to name.
    pub fn files() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
        let words = (words("@w2"), words("@\"w 3\""), words("@empty"));
        (lines(12), words, lines(3), lines(3), lines(3)).prop_map(|(main, words, i1, i2, dir)| {
            // What a file includes by its own name would never end.
            let without = |bytes: Vec<u8>| {
                String::from_utf8(bytes.clone()).map_or(Vec::new(), |text| text.replace("include", "x").into_bytes())
            };
            vec![
                ("pg_hba.conf", main),
                ("w1", words.0),
                ("w2", words.1),
                ("w 3", words.2),
                ("empty", Vec::new()),
                ("type", b"local".to_vec()),
                ("method", b"md5".to_vec()),
                ("i1", without(i1)),
                ("i2", without(i2)),
                ("dir/a.conf", without(dir)),
                ("dir/b.conf", b"local dir_b all trust".to_vec()),
                ("dir/w1", b"in_dir".to_vec()),
            ]
        })
    }
}

/// Compares this many generated files. What fails is made as small as it can be, and its seed is kept.
fn campaign(cases: u32) {
    let lab = Lab::start(&[("oauth_validator_libraries", "x")][..usize::from(crate::support::major() >= 18)]);
    let seeds = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/hba_files.proptest-regressions");
    let persistence = proptest::test_runner::FileFailurePersistence::Direct(Box::leak(seeds.to_string_lossy().into()));
    let config = Config { cases, failure_persistence: Some(Box::new(persistence)), ..Config::default() };
    let (rules, faults) = (Cell::new(0), Cell::new(0));
    let run = TestRunner::new(config).run(&generated::files(), |files| {
        let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        lab.compare(&files).map_err(TestCaseError::fail)?;
        rules.set(rules.get() + lab.ours().len());
        faults.set(faults.get() + lab.ours().faults().len());
        Ok(())
    });
    run.unwrap();
    println!("{cases} files with {} rules and {} faults", rules.get(), faults.get());
    assert!(rules.get() > faults.get(), "the files are mostly wrong: {} rules, {} faults", rules.get(), faults.get());
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
