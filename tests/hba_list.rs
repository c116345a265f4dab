//! pg_hba.conf as a list, without a server.
use pgsteward::hba::{
    ConnectionType, Dialect, HbaAddress, HbaDatabase, HbaFile, HbaMethod, HbaName, HbaOption, HbaRule, HbaUser,
};
use pgsteward::{Error, ServerVersion};
use proptest::prelude::*;
use std::time::{Duration, Instant};

fn dialect(version: &str) -> Dialect {
    Dialect::new(ServerVersion::parse(version).unwrap())
}

fn read(text: &str) -> HbaFile {
    HbaFile::from_bytes("/data/pg_hba.conf", text, dialect("18"))
}

fn text(file: &HbaFile) -> String {
    String::from_utf8(file.new_bytes()).unwrap()
}

const INITDB: &str = "\
# TYPE  DATABASE        USER            ADDRESS                 METHOD

# \"local\" is for Unix domain socket connections only
local   all             all                                     trust
# IPv4 local connections:
host    all             all             127.0.0.1/32            trust
";

#[test]
fn p050_a_list_is_iterated_searched_and_changed() {
    let mut hba = read(INITDB);
    assert_eq!((hba.len(), hba.is_empty()), (2, false));
    let shown: Vec<_> = hba.iter().map(|rule| (rule.line(), rule.to_string())).collect();
    assert_eq!(shown, [(4, "local all all trust".into()), (6, "host all all 127.0.0.1/32 trust".into())]);
    hba.push("host shop app 10.0.0.0/8 scram-sha-256").unwrap();
    hba.insert(0, "local all postgres peer").unwrap();
    hba.insert_after("local all all trust", HbaRule::parse("local all x md5").unwrap()).unwrap();
    hba.insert_before("host all all 127.0.0.1 255.255.255.255 trust", String::from("host all y all reject")).unwrap();
    assert_eq!(hba.index("host all y all reject").unwrap(), Some(3));
    assert_eq!(hba.index("host all z all reject").unwrap(), None);
    assert_eq!(
        text(&hba),
        "\
# TYPE  DATABASE        USER            ADDRESS                 METHOD

local   all             postgres                                peer
# \"local\" is for Unix domain socket connections only
local   all             all                                     trust
local   all             x                                       md5
host    all             y               all                     reject
# IPv4 local connections:
host    all             all             127.0.0.1/32            trust
host    shop            app             10.0.0.0/8              scram-sha-256
"
    );
    let lines: Vec<_> = hba.iter().map(|rule| rule.line()).collect();
    assert_eq!(lines, [3, 5, 6, 7, 9, 10]);
    assert_eq!(hba.remove(1).unwrap(), HbaRule::parse("local all all trust").unwrap());
    hba.retain(|rule| rule.method != HbaMethod::Reject).unwrap();
    let copy = hba.get(0).unwrap().clone();
    assert!(hba.contains(&copy).unwrap());
    hba.extend([copy.clone(), copy]).unwrap();
    assert_eq!(hba.iter().rev().take(2).filter(|rule| rule.method == HbaMethod::Peer).count(), 2);
    hba.clear().unwrap();
    assert!(hba.is_empty() && text(&hba).starts_with("# TYPE") && text(&hba).lines().count() == 4);
    hba.revert();
    assert!(!hba.is_changed() && text(&hba) == INITDB && hba.changes().is_empty());
}

#[test]
fn p050_a_comment_right_above_a_rule_stays_with_it() {
    let (new, after) = ("local new new peer\n", "local a a peer\n");
    for before in [
        "# head\n\n|# one\n# more\n",
        "# head\n# TYPE  DATABASE  USER\n",
        "# head\n\n#type database\n|# one\n",
        "# head of the file\n",
        "# head\n\n",
        "\n|# one \\\n goes on\n \t# more\r\n",
        "local b b peer\n|# one\n",
        "local b b peer\n# other\n\n|# one\n",
        "local b b peer # other\n",
    ] {
        let (above, comment) = before.split_once('|').unwrap_or((before, ""));
        let mut hba = read(&format!("{above}{comment}{after}"));
        hba.insert_before("local a a peer", "local new new peer").unwrap();
        assert_eq!(text(&hba), format!("{above}{new}{comment}{after}"));
    }
    let mut hba = read("\n# one\nlocal a a peer\n# two\nlocal b b peer\n");
    hba.insert_after("local a a peer", "local new new peer").unwrap();
    assert_eq!(text(&hba), format!("\n# one\nlocal a a peer\n{new}# two\nlocal b b peer\n"));
}

#[test]
fn p050_places_that_there_are_not_are_errors() {
    let mut hba = read(INITDB);
    for error in [
        hba.insert(3, "local all all trust").unwrap_err(),
        hba.replace(2, "local all all trust").unwrap_err(),
        hba.remove(usize::MAX).map(drop).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Invalid { why, .. } if why == "it has 2 rules"), "{error}");
    }
    let error = hba.insert_before("local x x trust", "local y y trust").unwrap_err();
    assert_eq!(error.to_string(), "rule \"local x x trust\" in /data/pg_hba.conf does not exist");
    assert!(!hba.is_changed());
}

#[test]
fn p051_rules_are_equal_when_they_say_the_same() {
    let hba = read(
        "host  shop,\"app\"\tapp 10.0.0.0 255.0.0.0 md5 map = x # no\nhost\tshop, \"app\" \"app\" 10.0.0.0 255.0.0.0 \"md5\"\n",
    );
    assert_eq!((hba.len(), hba.faults().len()), (1, 1));
    assert!(hba.contains("host shop,app app 10.0.0.0/8 md5").unwrap());
    for other in
        ["host shop,app app 10.0.0.1/8 md5", "host app,shop app 10.0.0.0/8 md5", "host shop,app \"all\" 10.0.0.0/8 md5"]
    {
        assert!(!hba.contains(other).unwrap(), "{other}");
    }
    let (keyword, name) =
        (HbaRule::parse("local all all ident").unwrap(), HbaRule::parse("local \"all\" all peer").unwrap());
    assert_eq!(keyword, HbaRule::parse("local all all peer").unwrap());
    assert_ne!(keyword, name);
}

#[test]
fn p052_a_rule_has_fields() {
    let rule = HbaRule::parse(
        "hostssl \"my db\",all,samegroup +staff,\"+x\",/^a fe80::1 ffff:: cert map=\"a b\" clientname=DN",
    )
    .unwrap();
    assert_eq!(rule.connection, ConnectionType::HostSsl);
    assert_eq!(rule.databases, [HbaDatabase::Name("my db".into()), HbaDatabase::All, HbaDatabase::SameRole]);
    let users = [HbaUser::Member("staff".into()), HbaUser::Name("+x".into()), HbaUser::Regex("^a".into())];
    assert_eq!(rule.users, users);
    let (address, mask) = ("fe80::1".parse().unwrap(), "ffff::".parse().unwrap());
    assert_eq!(rule.address, Some(HbaAddress::Network { address, mask }));
    assert_eq!(rule.method, HbaMethod::Cert);
    assert_eq!(rule.options, [HbaOption::new("map", "a b"), HbaOption::new("clientname", "DN")]);
    let shown = "hostssl \"my db\",all,samerole +staff,\"+x\",/^a fe80::1/16 cert map=\"a b\" clientname=DN";
    assert_eq!(rule.to_string(), shown);
}

#[test]
fn p054_what_is_not_changed_keeps_its_bytes() {
    let bytes = b"\xef\xbb\xbf# caf\xe9\r\n\tlocal\tall\tall\tpeer\\\r\n\t# x \\d+\n\nhost \"/\\\\w+\" all all md5\\\\ \n\0x\nlocal a b trust";
    for version in ["12", "18"] {
        let mut hba = HbaFile::from_bytes("pg_hba.conf", bytes.as_slice(), dialect(version));
        assert_eq!(hba.new_bytes(), bytes);
        hba.push("local c d trust").unwrap();
        assert_eq!(hba.new_bytes(), [bytes.as_slice(), b"\nlocal c d trust"].concat());
        hba.remove(hba.len() - 1).unwrap();
        assert_eq!(hba.new_bytes(), bytes);
    }
}

#[test]
fn p055_one_text_is_one_rule() {
    let mut hba = read(INITDB);
    for (given, line, column, problem) in [
        ("local all all trust\nlocal all all md5", 2, 1, "second one"),
        ("", 1, 1, "a rule was expected"),
        ("# local all all trust", 1, 1, "a rule was expected"),
        ("# ours\nlocal all all trust", 1, 1, "a rule alone was expected"),
        ("local all all", 1, 14, "the line ends where an authentication method was expected"),
        ("local all all  sham", 1, 16, "\"sham\" is no authentication method"),
        ("host all all db.example.com", 1, 28, "the line ends where an authentication method was expected"),
        ("local all all 10.0.0.0/8 md5", 1, 15, "another was expected; a local rule has no address: was host meant?"),
        ("local all all ::1 md5", 1, 15, "a local rule has no address"),
        ("local all all samenet md5", 1, 15, "a local rule has no address"),
        (
            "host all all md5",
            1,
            17,
            "method was expected; the word before it was taken for the address, which is missing",
        ),
        ("host all all cert map=x", 1, 19, "another was expected; the word before it was taken for the address"),
        ("host all all 10.0.0.0/33 md5", 1, 14, "0 to 32"),
        ("include x", 1, 1, "a rule was expected; to include a file"),
        ("local all all trust # x \\\n y", 1, 20, "the comment behind a rule is one line"),
        ("local \"/[\" all trust", 1, 7, "no valid regular expression: a bracket [ is not closed"),
    ] {
        match hba.push(given).unwrap_err() {
            Error::Hba { file, line: l, column: c, problem: p } => {
                assert_eq!((file.as_str(), l, c), ("the rule", line, column), "{given:?}: {p}");
                assert!(p.contains(problem), "{given:?}: {p}");
            }
            other => panic!("{given:?}: {other}"),
        }
    }
    assert!(hba.extend(["local a b trust", "l"]).is_err());
    assert!(!hba.is_changed());
    hba.push("local a b \\\n trust # why\n").unwrap();
    assert!(text(&hba).ends_with("\nlocal   a               b                                       trust # why\n"));
}

#[test]
fn p058_what_a_server_refuses_is_told_before_anything_is_written() {
    let mut hba = read("local all all\nnonsense\nhost all all 10.0.0.0/8 md5 ldapport=1\n");
    let faults: Vec<_> = hba.faults().iter().map(ToString::to_string).collect();
    assert_eq!(faults.len(), 3);
    assert_eq!(
        faults[0],
        "/data/pg_hba.conf, line 1, column 14: the line ends where an authentication method was expected"
    );
    assert_eq!(
        faults[2],
        "/data/pg_hba.conf, line 3, column 29: the option ldapport goes with the method ldap, not with md5"
    );
    hba.push("local all all peer").unwrap();
    let error = hba.check().unwrap_err().to_string();
    assert_eq!(error, format!("cannot read {}", faults[0]));
    for empty in ["", "# nothing\n"] {
        let error = read(empty).check().unwrap_err().to_string();
        assert!(error.ends_with("there is no rule, and a server refuses a file without one"), "{error}");
    }
    let mut hba = read(INITDB);
    hba.clear().unwrap();
    assert!(hba.check().is_err());
}

#[test]
fn rules_that_can_never_match_are_warned_of() {
    let mut dialect = dialect("16");
    (dialect.ssl, dialect.gssapi) = (Some(false), Some(false));
    let text = "hostssl all all all md5\nhostgssenc all all all md5\nhost all all all md5\n";
    let hba = HbaFile::from_bytes("pg_hba.conf", text, dialect);
    let lines: Vec<_> = hba.warnings().iter().map(|warning| warning.line).collect();
    assert_eq!((lines.as_slice(), hba.check().is_ok()), ([1, 2].as_slice(), true));
}

#[test]
fn a_replaced_rule_keeps_its_comment_its_line_end_and_its_place() {
    let old = "local all all trust\r\nhost  all  all  all  md5   # office\r\nhost  all  all  ::1/128  md5\r\n";
    let mut hba = read(old);
    hba.replace(1, "host all all 10.0.0.0/8 scram-sha-256").unwrap();
    let new =
        "local all all trust\r\nhost  all  all  10.0.0.0/8  scram-sha-256 # office\r\nhost  all  all  ::1/128  md5\r\n";
    assert_eq!(text(&hba), new);
    hba.replace(1, "host all all all md5").unwrap();
    assert_eq!((text(&hba).as_str(), hba.is_changed()), (old, false));
    hba.replace(1, "host all all all trust # home").unwrap();
    hba.replace(1, "host all all all md5").unwrap();
    let new = "\r\nhost  all  all  all  md5   # home\r\n";
    assert!(text(&hba).contains(new), "{}", text(&hba));
    hba.revert();
    hba.replace(0, "local \"all\" all trust").unwrap();
    assert_eq!(hba.changes().lines().filter(|line| line.starts_with(['+', '-'])).count(), 4);
}

#[test]
fn a_rule_over_several_lines_is_replaced_and_removed_as_a_whole() {
    let old = "local x x trust\nhost all \\\n  all all \\\n  md5 # a \\\n b\nlocal y y trust\n";
    let mut hba = read(old);
    hba.replace(1, "host all all all reject").unwrap();
    assert_eq!(text(&hba), "local x x trust\nhost all all all reject # a \\\n b\nlocal y y trust\n");
    assert_eq!(hba.get(2).unwrap().line(), 4);
    hba.remove(1).unwrap();
    assert_eq!(text(&hba), "local x x trust\nlocal y y trust\n");
    hba.revert();
    assert_eq!(text(&hba), old);
}

#[test]
fn a_rule_behind_an_open_end_is_a_line_of_its_own() {
    for (old, new) in [
        ("local a a trust", "local a a trust\nlocal b b trust"),
        ("local a a trust # \\", "local a a trust # \\\n\nlocal b b trust"),
        ("local a a trust # \\\n", "local a a trust # \\\n\nlocal b b trust\n"),
        ("local a a trust\0\n", "local a a trust\0\n\nlocal b b trust\n"),
        ("", "local b b trust\n"),
        ("\r\n", "\r\nlocal b b trust\r\n"),
    ] {
        let mut hba = read(old);
        hba.push("local b b trust").unwrap();
        assert_eq!(text(&hba), new, "{old:?}");
        let again = read(new);
        assert_eq!(again.get(again.len() - 1).unwrap().line(), hba.get(hba.len() - 1).unwrap().line(), "{old:?}");
        hba.remove(hba.len() - 1).unwrap();
        assert_eq!(text(&hba), old);
    }
}

#[test]
fn rules_can_be_typed() {
    let mut hba = read("local all all trust\n");
    let mut rule = HbaRule::new(
        ConnectionType::Host,
        vec![HbaDatabase::Name("all".into()), HbaDatabase::Name("a \"b\"".into())],
        vec![HbaUser::Name("+x".into()), HbaUser::Name("/x".into()), HbaUser::Member("a b".into())],
        Some(HbaAddress::Host("samehost".into())),
        HbaMethod::ScramSha256,
    );
    hba.push(&rule).unwrap();
    let line = "host \"all\",\"a \"\"b\"\"\" \"+x\",\"/^\\/x$\",+\"a b\" \"samehost\" scram-sha-256\n";
    assert_eq!(text(&hba), format!("local all all trust\n{line}"));
    assert!(hba.contains(&rule).unwrap());
    let mut old = HbaFile::from_bytes("pg_hba.conf", "", dialect("15"));
    old.push(&rule).unwrap();
    assert!(text(&old).contains(",/x,"));
    rule.users = vec![HbaUser::Regex("x".into())];
    assert!(matches!(old.push(&rule), Err(Error::Unsupported { .. })));
    for spoil in [
        |rule: &mut HbaRule| rule.databases.clear(),
        |rule: &mut HbaRule| rule.users.clear(),
        |rule: &mut HbaRule| rule.users = vec![HbaUser::Name("a\nb".into())],
        |rule: &mut HbaRule| rule.users = vec![HbaUser::Name(HbaName::from(vec![b'a', 0]))],
        |rule: &mut HbaRule| rule.users = vec![HbaUser::File("".into())],
        |rule: &mut HbaRule| rule.users = vec![HbaUser::Regex("(".into())],
        |rule: &mut HbaRule| rule.address = None,
        |rule: &mut HbaRule| rule.address = Some(HbaAddress::Host("127.1".into())),
        |rule: &mut HbaRule| rule.address = Some(HbaAddress::Host("a/8".into())),
        |rule: &mut HbaRule| rule.address = Some(HbaAddress::Domain("a".into())),
        |rule: &mut HbaRule| rule.connection = ConnectionType::Local,
        |rule: &mut HbaRule| rule.method = HbaMethod::Cert,
        |rule: &mut HbaRule| rule.options.push(HbaOption::new("map", "x")),
        |rule: &mut HbaRule| rule.options.push(HbaOption::new("a b", "x")),
    ] {
        let mut wrong = rule.clone();
        spoil(&mut wrong);
        let error = hba.push(&wrong).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{wrong:?}: {error}");
    }
}

#[test]
fn a_backslash_at_the_end_of_a_rule_does_not_continue_it() {
    let mut hba = read("local all all peer\n");
    let mut rule = HbaRule::parse("local all all peer").unwrap();
    rule.options.push(HbaOption::new("map", "x\\"));
    hba.insert(0, &rule).unwrap();
    assert_eq!(text(&hba), "local all all peer map=\"x\\\"\nlocal all all peer\n");
    assert_eq!(read(&text(&hba)).len(), 2);
}

const SECRETS: &str = "\
local all all peer
# host all all all ldap ldapbindpasswd=GEHEIM1
host all all all ldap ldapserver=l ldapbasedn=b ldapbindpasswd=\"GEHEIM2 a\" ldapport=389
host all all all radius radiusservers=127.0.0.1 radiussecrets=GEHEIM3
host all all all ldap ldapbindpasswd = GEHEIM4
host all all all ldap ldapserver=l ldapbasedn=b ldapbindpasswd=my GEHEIM5=x
host all all all ldap ldapserver=l ldapbasedn=b ldapbindpasswd=GE\\
HEIM6 ldapport=x
";

#[test]
fn secrets_are_written_and_never_shown() {
    let mut hba = read(SECRETS);
    hba.replace(0, "local all all trust").unwrap();
    let radius = hba.get(2).unwrap().clone();
    hba.push(&radius).unwrap();
    assert!(text(&hba).ends_with("radius radiusservers=127.0.0.1 radiussecrets=GEHEIM3\n"));
    let shown = [
        hba.changes(),
        format!("{hba:?} {:?} {radius:?} {radius}", hba.faults()),
        format!("{:#?}", hba.iter().collect::<Vec<_>>()),
        hba.push("host all all all ldap ldapbindpasswd=GEHEIM7").unwrap_err().to_string(),
        hba.push("host all all all ldap ldapbindpasswd=a GEHEIM7 x").unwrap_err().to_string(),
        hba.insert_before("host all all all radius radiusservers=127.0.0.1 radiussecrets=GEHEIM8", "x")
            .unwrap_err()
            .to_string(),
    ];
    assert!(!shown.iter().any(|text| text.contains("GEHEIM") || text.contains("HEIM6")), "{shown:#?}");
    // What was shown is not what is meant.
    let error = hba.push(radius.to_string()).unwrap_err().to_string();
    assert!(error.contains("the mask that is shown"), "{error}");
}

/// A directory that is removed in the end.
struct Directory(std::path::PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn rules_of_included_files_are_listed_and_not_changed() {
    let directory = Directory(std::env::temp_dir().join(format!("pgsteward-hba-list-{}", std::process::id())));
    std::fs::create_dir_all(&directory.0).unwrap();
    let path = |name: &str| directory.0.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("more.conf"), "# two\nlocal b b trust\nlocal c c trust\n").unwrap();
    std::fs::write(path("users"), "x y").unwrap();
    std::fs::write(path("pg_hba.conf"), "local a a trust\ninclude more.conf\nlocal all @users peer\n").unwrap();
    let mut hba = HbaFile::open(&path("pg_hba.conf"), dialect("16")).unwrap();
    let places: Vec<_> = hba.iter().map(|rule| (rule.file().to_owned(), rule.line())).collect();
    let (main, more) = (path("pg_hba.conf"), path("more.conf"));
    assert_eq!(places, [(main.clone(), 1), (more.clone(), 2), (more.clone(), 3), (main, 3)]);
    let last = hba.get(3).unwrap();
    assert_eq!(last.users, [HbaUser::File("users".into())]);
    assert_eq!(last.effective().users, [HbaUser::Name("x".into()), HbaUser::Name("y".into())]);
    assert!(hba.contains("local all @users peer").unwrap() && hba.contains("local all x,y peer").unwrap());
    for error in [
        hba.remove(1).map(drop).unwrap_err(),
        hba.replace(2, "local x x trust").unwrap_err(),
        hba.insert(2, "local x x trust").unwrap_err(),
        hba.insert_after("local b b trust", "local x x trust").unwrap_err(),
        hba.clear().unwrap_err(),
        hba.retain(|rule| rule.line() == 1).unwrap_err(),
    ] {
        assert!(error.to_string().contains(&more), "{error}");
    }
    assert!(!hba.is_changed());
    hba.insert(1, "local d d trust").unwrap();
    hba.insert_after("local c c trust", "local e @users trust").unwrap();
    assert_eq!(
        text(&hba),
        "local a a trust\nlocal d d trust\ninclude more.conf\nlocal e @users trust\nlocal all @users peer\n"
    );
    assert_eq!(hba.get(4).unwrap().effective().users.len(), 2);
    let error = hba.push("local e @others trust").unwrap_err().to_string();
    assert!(error.contains(&path("others")), "{error}");
    assert!(HbaFile::open(&path("none"), dialect("16")).is_err());
}

#[test]
fn rules_around_what_is_included_are_numbered_as_they_are_read() {
    let directory = Directory(std::env::temp_dir().join(format!("pgsteward-hba-lines-{}", std::process::id())));
    std::fs::create_dir_all(&directory.0).unwrap();
    let path = directory.0.join("pg_hba.conf").to_str().unwrap().to_owned();
    std::fs::write(directory.0.join("more"), "nonsense\nlocal b b trust\nlocal c c trust\n").unwrap();
    std::fs::write(&path, "local a a trust\ninclude more\nlocal d d trust\ninclude more\nlocal @empty peer\n").unwrap();
    std::fs::write(directory.0.join("empty"), "").unwrap();
    let mut hba = HbaFile::open(&path, dialect("16")).unwrap();
    let changes: [&dyn Fn(&mut HbaFile); 11] = [
        &|hba| hba.replace(3, "local x x trust").unwrap(),
        &|hba| hba.insert(1, "local f f trust").unwrap(),
        &|hba| hba.replace(1, "local g g reject").unwrap(),
        &|hba| hba.insert(5, "local h h trust").unwrap(),
        &|hba| drop(hba.remove(0).unwrap()),
        &|hba| hba.push("local i i trust").unwrap(),
        &|hba| drop(hba.remove(3).unwrap()),
        &|hba| hba.retain(|rule| rule.file().ends_with("more") || rule.line() > 4).unwrap(),
        &|hba| hba.push("local j j trust").unwrap(),
        &|hba| hba.insert(0, "local k k trust").unwrap(),
        // The file has no word, and what is left is no rule.
        &|hba| hba.replace(0, "local k @empty trust").unwrap(),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        change(&mut hba);
        std::fs::write(&path, hba.new_bytes()).unwrap();
        let again = HbaFile::open(&path, dialect("16")).unwrap();
        assert_eq!(hba.iter().collect::<Vec<_>>(), again.iter().collect::<Vec<_>>(), "change {at}");
        assert_eq!(hba.faults(), again.faults(), "change {at}");
    }
}

#[test]
fn an_included_file_that_cannot_be_read_is_a_fault_of_the_line_that_names_it() {
    let directory = Directory(std::env::temp_dir().join(format!("pgsteward-hba-closed-{}", std::process::id())));
    std::fs::create_dir_all(directory.0.join("directory")).unwrap();
    std::fs::write(directory.0.join("names"), "one\n").unwrap();
    let path = directory.0.join("pg_hba.conf").to_str().unwrap().to_owned();
    for (line, reason) in [
        ("local @directory x reject", "directory\" is unreadable: "),
        ("include_if_exists names/below", "names/below\" is unreadable: "),
        ("include_dir names", "names\" is unreadable: "),
        ("include none", "none\" does not exist"),
    ] {
        std::fs::write(&path, format!("local all all peer\n{line}\nlocal b b peer\n")).unwrap();
        let hba = HbaFile::open(&path, dialect("16")).unwrap();
        let faults = hba.faults();
        assert!(hba.len() == 2 && faults.len() == 1 && faults[0].line == 2, "{faults:?}");
        assert!(faults[0].problem.contains(reason), "{faults:?}");
    }
}

#[test]
fn a_hundred_thousand_rules_take_linear_time() {
    let text = |count: usize| {
        let rules =
            (0..count).map(|n| format!("host db{n} user{n} 10.{}.{}.0/24 scram-sha-256\n", n / 250 % 250, n % 250));
        rules.collect::<String>()
    };
    let best = |count: usize| {
        let text = text(count);
        let run = |_| {
            let started = Instant::now();
            let mut hba = read(&text);
            assert_eq!(hba.len(), count);
            hba.replace(count / 2, "host shop app all reject").unwrap();
            hba.insert(10, "local all all peer").unwrap();
            assert_eq!(hba.changes().lines().filter(|line| line.starts_with(['+', '-'])).count(), 5);
            started.elapsed()
        };
        (0..3).map(run).min().unwrap()
    };
    let (small, large) = (best(10_000), best(100_000));
    assert!(large < small * 30 + Duration::from_millis(100), "{small:?} for 10,000 and {large:?} for 100,000");
    // The whole file is another one.
    let mut hba = read(&text(100_000));
    hba.clear().unwrap();
    let rules: Vec<_> = (0..1_000).map(|n| format!("local db{n} all reject")).collect();
    hba.extend(&rules).unwrap();
    assert!(hba.changes().lines().count() > 101_000);
}

const LINES: &[&str] = &[
    "local all all trust",
    "host\tall\tall\t10.0.0.0/8\tmd5 # note",
    "host    shop            app             127.0.0.1/32            scram-sha-256",
    "hostssl all \\\n all samenet \\\n cert map=x # a \\\n b",
    "# comment",
    "# comment \\",
    "",
    "nonsense here",
    "local \"a b\" +c peer map=\"x\"",
    "local a b trust\0hidden",
    "include more",
    "host all all .example.com reject\\",
];

const RULES: &[&str] = &[
    "local all all peer",
    "host a,b +c 10.0.0.0/8 md5",
    "hostssl all \"x y\" ::1/128 cert map=m # why",
    "host all /^a all reject",
    "host a_very_long_database_name_to_move_columns b 10.1.2.3/32 scram-sha-256",
];

fn document() -> impl Strategy<Value = Vec<u8>> {
    let end = prop::sample::select(&["\n", "\n", "\n", "\r\n", ""][..]);
    let line = prop_oneof![
        12 => prop::sample::select(LINES).prop_map(|line| line.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    let lines =
        prop::collection::vec((line, end).prop_map(|(line, end)| [line.as_slice(), end.as_bytes()].concat()), 0..10);
    lines.prop_map(|lines| lines.concat())
}

/// Whether the list is what its bytes say.
fn is_consistent(hba: &HbaFile) -> Result<(), TestCaseError> {
    let again = HbaFile::from_bytes(hba.path(), hba.new_bytes(), hba.dialect().clone());
    let places = |hba: &HbaFile| hba.iter().map(|rule| (rule.line(), rule.effective().clone())).collect::<Vec<_>>();
    prop_assert_eq!(places(&again), places(hba), "{}", String::from_utf8_lossy(&hba.new_bytes()));
    prop_assert_eq!(again.faults(), hba.faults());
    prop_assert_eq!(again.warnings(), hba.warnings());
    prop_assert_eq!(hba.is_changed(), !hba.changes().is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_and_written_back(bytes: Vec<u8>, version in 10..19_u32) {
        let hba = HbaFile::from_bytes("pg_hba.conf", bytes.clone(), dialect(&version.to_string()));
        prop_assert_eq!(hba.new_bytes(), bytes);
        let _ = (hba.faults(), hba.warnings(), format!("{hba:?}"));
    }

    #[test]
    fn a_rule_that_is_inserted_and_removed_leaves_the_same_bytes(
        bytes in document(), rule in prop::sample::select(RULES), at: prop::sample::Index, new: bool
    ) {
        let mut hba = HbaFile::from_bytes("pg_hba.conf", bytes.clone(), dialect(if new { "18" } else { "13" }));
        let at = at.index(hba.len() + 1);
        hba.insert(at, rule).unwrap();
        is_consistent(&hba)?;
        prop_assert!(hba.is_changed());
        hba.remove(at).unwrap();
        prop_assert_eq!(hba.new_bytes(), bytes);
    }

    #[test]
    fn a_list_after_any_changes_is_what_its_bytes_say(
        bytes in document(), new: bool,
        changes in prop::collection::vec((0..7, any::<prop::sample::Index>(), prop::sample::select(RULES)), 1..8)
    ) {
        let mut dialect = dialect(if new { "18" } else { "13" });
        // Then hostssl is warned of.
        dialect.ssl = Some(false);
        let mut hba = HbaFile::from_bytes("pg_hba.conf", bytes.clone(), dialect);
        let old: Vec<_> = hba.iter().map(|entry| HbaRule::clone(entry)).collect();
        let mut rules = old.clone();
        for (change, place, text) in changes {
            let (count, before) = (rules.len(), hba.new_bytes());
            let rule = HbaFile::from_bytes("", text, hba.dialect().clone()).get(0).map(|entry| HbaRule::clone(entry)).unwrap();
            match change {
                0 | 1 => {
                    let at = place.index(count + 1);
                    hba.insert(at, text).unwrap();
                    rules.insert(at, rule);
                }
                2 if count > 0 => {
                    let at = place.index(count);
                    prop_assert_eq!(hba.remove(at).unwrap(), rules.remove(at));
                }
                3 if count > 0 => {
                    let at = place.index(count);
                    let line = hba.get(at).unwrap().line();
                    let next = hba.get(at + 1).map(|next| next.line());
                    hba.replace(at, text).unwrap();
                    rules[at] = rule;
                    let (old, new) = (before, hba.new_bytes());
                    let lines = |bytes: &[u8]| bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
                    // NUL bytes make the server count otherwise.
                    if !old.contains(&0) {
                        let (old, new) = (lines(&old), lines(&new));
                        prop_assert_eq!(&old[..line - 1], &new[..line - 1]);
                        let rest = next.map_or(&[][..], |next| &old[next - 1..]);
                        prop_assert!(new.ends_with(rest));
                    }
                }
                4 => {
                    hba.push(text).unwrap();
                    rules.push(rule);
                }
                5 => {
                    hba.retain(|entry| entry.address == rule.address).unwrap();
                    rules.retain(|other| other.address == rule.address);
                }
                6 => {
                    hba.revert();
                    rules.clone_from(&old);
                }
                _ => {}
            }
            prop_assert_eq!(hba.iter().map(|entry| HbaRule::clone(entry)).collect::<Vec<_>>(), rules.clone());
            is_consistent(&hba)?;
        }
        hba.revert();
        prop_assert_eq!(hba.new_bytes(), bytes);
    }

    #[test]
    fn a_rule_is_what_was_written_of_it(
        names in prop::collection::vec(any::<Vec<u8>>(), 1..4), kind in 0..7, host in any::<Vec<u8>>(), value in any::<Vec<u8>>(),
        version in 12..19_u32, address: [u8; 4], mask: [u8; 4], six: bool
    ) {
        let clean = |bytes: &[u8]| HbaName::from(bytes.iter().copied().filter(|byte| !matches!(byte, 0 | b'\n' | b'\r')).collect::<Vec<_>>());
        let databases = names.iter().map(|name| match kind {
            0 => HbaDatabase::SameUser,
            1 => HbaDatabase::Replication,
            _ => HbaDatabase::Name(clean(name)),
        });
        let users = names.iter().map(|name| if kind > 3 { HbaUser::Member(clean(name)) } else { HbaUser::Name(clean(name)) });
        let place = match kind {
            0 => HbaAddress::All,
            1 => HbaAddress::SameNet,
            2 => HbaAddress::Host(clean(&host)),
            3 => HbaAddress::Domain(HbaName::from([b".", clean(&host).as_bytes()].concat())),
            _ if six => HbaAddress::Network {
                address: std::net::Ipv4Addr::from(address).to_ipv6_mapped().into(),
                mask: std::net::Ipv4Addr::from(mask).to_ipv6_compatible().into(),
            },
            _ => HbaAddress::Network { address: std::net::Ipv4Addr::from(address).into(), mask: std::net::Ipv4Addr::from(mask).into() },
        };
        let mut rule = HbaRule::new(ConnectionType::Host, databases.collect(), users.collect(), Some(place), HbaMethod::Ident);
        rule.options.push(HbaOption::new("map", clean(&value)));
        let mut hba = HbaFile::from_bytes("pg_hba.conf", "", dialect(&version.to_string()));
        match hba.push(&rule) {
            Ok(()) => {}
            // A host name that is a number or has a slash cannot be said.
            Err(Error::Invalid { why, .. }) => {
                prop_assert!(why.contains("host name"), "{}", why);
                return Ok(());
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        }
        is_consistent(&hba)?;
        let written = HbaRule::clone(hba.get(0).unwrap());
        let slash = names.iter().any(|name| clean(name).as_bytes().starts_with(b"/"));
        if matches!(&rule.address, Some(HbaAddress::Host(name)) if name.as_bytes().starts_with(b".")) || slash && version > 15 {
            return Ok(());
        }
        prop_assert_eq!(written, rule);
    }
}

#[test]
fn a_name_that_begins_with_a_slash_shows_as_its_server_reads_it() {
    let line = "local /x /y,/z trust\n";
    for (version, is_name) in [("12", true), ("15", true), ("16", false)] {
        let mut hba = HbaFile::from_bytes("/data/pg_hba.conf", line, dialect(version));
        let entry = hba.get(0).unwrap();
        assert_eq!(entry.users[0], if is_name { HbaUser::Name("/y".into()) } else { HbaUser::Regex("y".into()) });
        assert_eq!((entry.to_string(), entry.effective_text()), (line.trim().into(), line.trim().into()));
        // What is shown can be given again.
        let shown = entry.to_string();
        assert_eq!(hba.index(shown.as_str()).unwrap(), Some(0), "{version}");
        hba.remove(0).unwrap();
        hba.push(shown.as_str()).unwrap();
        assert_eq!(text(&hba), line, "{version}");
    }
    // Without a server a rule shows as the newest would read it.
    let hba = HbaFile::from_bytes("/data/pg_hba.conf", line, dialect("15"));
    assert_eq!(hba.get(0).unwrap().effective().to_string(), r#"local "/^\/x$" "/^\/y$","/^\/z$" trust"#);
}
