//! Files as live servers of versions 10 to 18 took them, in `tests/data/hba_cases.json`.
#[path = "live/hba_view.rs"]
mod hba_view;

use hba_view::{Address, Row, Shown};
use pgsteward::ServerVersion;
use pgsteward::hba::{Dialect, HbaFile};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory that is removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgsteward-hba-cases-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn cases() -> Vec<Value> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hba_cases.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all["parse_cases"].as_array().unwrap().clone()
}

/// The bytes of a case's file.
fn bytes(case: &Value) -> Vec<u8> {
    if let Some(text) = case["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(generated) = case["text_gen"].as_object() {
        let [prefix, join, suffix] = ["prefix", "join", "suffix"].map(|name| generated[name].as_str().unwrap());
        assert_eq!(generated["item_format"], "d%05d");
        let items: Vec<_> = (0..generated["count"].as_u64().unwrap()).map(|item| format!("d{item:05}")).collect();
        return format!("{prefix}{}{suffix}", items.join(join)).into_bytes();
    }
    assert_eq!(case["id"], "latin1-name");
    b"local \"caf\xe9\" all trust\n".to_vec()
}

fn texts(value: &Value) -> Vec<String> {
    let texts = value.as_array().into_iter().flatten();
    // The view shows an old name of a keyword as it is written.
    texts.map(|text| text.as_str().unwrap().replace("samegroup", "samerole")).collect()
}

fn expected(row: &Value) -> Row {
    let address = |name: &str| row[name].as_str().map(Address::read);
    let rule = row["type"].as_str().map(|connection| Shown {
        connection: connection.into(),
        databases: match row["database_bytes_hex"].is_array() {
            true => vec!["caf\u{fffd}".into()],
            false => texts(&row["database"]),
        },
        users: texts(&row["user_name"]),
        address: address("address"),
        mask: address("netmask"),
        method: row["auth_method"].as_str().unwrap().into(),
        options: texts(&row["options"]),
    });
    let status = row["status"].as_str().unwrap();
    assert_eq!(rule.is_none(), status == "fatal", "{row}");
    Row { file: None, line: row["line_number"].as_u64().unwrap() as usize, rule, warning: status == "warning" }
}

/// A server as the one that the case was seen on.
fn dialect(major: u64, case: &Value, expected: &Value) -> Dialect {
    let mut dialect = Dialect::new(ServerVersion::parse(&major.to_string()).unwrap());
    dialect.ssl = case["server_ssl"].as_bool();
    (dialect.sspi, dialect.bsd, dialect.oauth_validators) = (Some(false), Some(false), Some(Vec::new()));
    let has = expected["build_has_option"].as_bool();
    match case["build_option"].as_str() {
        None => {}
        Some("gssapi") => dialect.gssapi = has,
        Some("ldap") => dialect.ldap = has,
        Some("pam") => dialect.pam = has,
        Some(other) => panic!("unknown build option {other}"),
    }
    dialect
}

fn sorted(mut rows: Vec<Row>) -> Vec<Row> {
    rows.sort_by_key(|row| (row.line, row.rule.is_some()));
    rows
}

/// Whether the case is about what this crate reads otherwise, for versions that it does not work with.
fn is_out_of_scope(id: &str, major: u64) -> bool {
    // What is left of a line that is too long is a line of its own there; here it is one fault.
    major == 10 && id == "very-long-token"
}

#[test]
fn hba_cases_are_read_as_by_the_server() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for case in cases() {
        let id = case["id"].as_str().unwrap();
        let directory = Directory::new(id);
        directory.write("pg_hba.conf", &bytes(&case));
        for (name, text) in case["files"].as_object().into_iter().flatten() {
            directory.write(name, text.as_str().unwrap().as_bytes());
        }
        let path = directory.0.join("pg_hba.conf");
        for one in case["expect"].as_array().unwrap() {
            for major in one["pg_min"].as_u64().unwrap()..=one["pg_max"].as_u64().unwrap() {
                if is_out_of_scope(id, major) {
                    continue;
                }
                let file = HbaFile::open(path.to_str().unwrap(), dialect(major, &case, one)).unwrap();
                let mut rows = hba_view::rows(&file);
                rows.iter_mut().for_each(|row| row.file = None);
                let mut wanted: Vec<_> = one["rules"].as_array().unwrap().iter().map(expected).collect();
                for (row, wanted) in rows.iter_mut().zip(&mut wanted) {
                    // It has two thousand names.
                    if let (Some(rule), Some(wanted)) = (&mut row.rule, &mut wanted.rule) {
                        if id == "very-long-token" {
                            assert_eq!(rule.databases.len(), 2000);
                            rule.databases.clear();
                            wanted.databases.clear();
                        }
                    }
                }
                let taken = file.check().is_ok();
                if sorted(rows.clone()) != sorted(wanted.clone()) || taken != (one["reload"] == "accepted") {
                    wrong.push(format!("{id} {major}: {taken} {rows:#?}\nexpected {wanted:#?} {}", one["reload"]));
                }
                assert_eq!(file.new_bytes(), bytes(&case), "{id}");
                checked += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {checked} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(checked > 1_300, "only {checked}");
}
