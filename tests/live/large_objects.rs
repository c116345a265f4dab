//! Large objects: their bytes.
use crate::support::{alone, connect, fresh, unique};
use pgsteward::{Cluster, Error, LargeObject, Object, Role, sql};
use std::io::{self, Read};

/// Bytes of every value, that do not repeat by the chunk.
fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8 ^ (at / 65_521) as u8).collect()
}

fn all(object: &Object<LargeObject>) -> Vec<u8> {
    let mut bytes = Vec::new();
    object.export(&mut bytes).unwrap();
    bytes
}

#[test]
fn p042_bytes_are_written_and_read_at_any_offset() {
    let cluster = fresh();
    let mut object = cluster.large_objects().create_empty().unwrap();
    assert!(object.key() > 0 && object.size().unwrap() == 0);
    assert_eq!(object.owner, "postgres");
    object.write_at(0, b"a\0b\\'\xff\xfe").unwrap();
    object.write_at(5000, b"far").unwrap();
    assert_eq!(object.size().unwrap(), 5003);
    assert_eq!(&object.read_at(0, 8).unwrap()[..], b"a\0b\\'\xff\xfe\0");
    assert_eq!(&object.read_at(4999, 100).unwrap()[..], b"\0far");
    assert!(object.read_at(5003, 1).unwrap().is_empty());
    assert!(object.read_at(1 << 40, 1).unwrap().is_empty());
    object.truncate(5001).unwrap();
    assert_eq!(object.size().unwrap(), 5001);
    object.truncate(5002).unwrap();
    assert_eq!(&object.read_at(4999, 100).unwrap()[..], b"\0f\0");
    // More than one chunk, at an offset that is no multiple of anything.
    let many = bytes(1_300_001);
    object.write_at(777, &many).unwrap();
    assert_eq!(object.read_at(777, 2_000_000).unwrap(), many);
    assert_eq!(object.read_at(600_777, 600_000).unwrap(), many[600_000..1_200_000]);
    assert!(matches!(object.read_at(u64::MAX, 1), Err(Error::Invalid { .. })));
    assert!(matches!(object.write_at(u64::MAX, b"x"), Err(Error::Invalid { .. })));
    let (oid, gone) = (object.key(), object.clone());
    assert!(cluster.large_objects().contains(oid).unwrap());
    object.drop().unwrap();
    assert!(!cluster.large_objects().contains(oid).unwrap());
    for error in [gone.size().unwrap_err(), gone.read_at(0, 1).unwrap_err(), gone.export(io::sink()).unwrap_err()] {
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
    }
}

#[test]
fn p042_files_come_in_and_go_out() {
    let cluster = fresh();
    let many = bytes(1_200_003);
    let object = cluster.large_objects().create_from(&many[..]).unwrap();
    assert_eq!(object.export(io::sink()).unwrap(), 1_200_003);
    assert_eq!(all(&object), many);
    let mut object = cluster.large_objects().get(object.key()).unwrap();
    assert_eq!(object.import(&b"short"[..]).unwrap(), 5);
    assert_eq!(all(&object), b"short");
}

#[test]
fn an_import_is_all_or_nothing() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(buffer.len()).ok_or(io::Error::other("broken"))?;
            Ok(buffer.len())
        }
    }
    let cluster = fresh();
    let mut object = cluster.large_objects().create_from(&b"before"[..]).unwrap();
    let error = object.import(Broken(2_000_000)).unwrap_err();
    assert!(matches!(&error, Error::Io { .. }) && error.to_string().contains("broken"), "{error}");
    assert_eq!(all(&object), b"before");
    assert!(cluster.large_objects().create_from(Broken(600_000)).is_err());
    assert_eq!(cluster.large_objects().names().unwrap(), [object.key()]);
}

#[test]
fn an_export_shows_one_moment() {
    struct Meddling<'a>(&'a mut Object<LargeObject>, Vec<u8>);
    impl io::Write for Meddling<'_> {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            self.1.extend_from_slice(data);
            self.0.truncate(1).unwrap();
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cluster = fresh();
    let many = bytes(1_200_000);
    let object = cluster.large_objects().create_from(&many[..]).unwrap();
    let other = connect(cluster.current_database(), "postgres");
    let mut theirs = other.large_objects().get(object.key()).unwrap();
    let mut writer = Meddling(&mut theirs, Vec::new());
    object.export(&mut writer).unwrap();
    assert!(writer.1 == many);
}

#[test]
fn a_script_of_one_with_contents_says_that_it_would_leave_them_out() {
    let cluster = fresh();
    let mut object = cluster.large_objects().create_empty().unwrap();
    object.comment = Some("kept".into());
    assert!(object.script().unwrap().to_string().contains("lo_create"));
    object.write_at(0, b"x").unwrap();
    assert_eq!(object.comment.as_deref(), Some("kept"));
    assert!(object.script().unwrap_err().to_string().contains("contents"));
    assert!(cluster.large_objects().get(object.key()).unwrap().script().is_err());
    object.truncate(0).unwrap();
    object.script().unwrap();
    let role = cluster.roles().create(Role::new(unique("reader"))).unwrap();
    let grant = sql!("GRANT SELECT ON LARGE OBJECT {} TO {}", object.key(), pgsteward::Ident(&role.name));
    cluster.execute(&grant.to_string(), &[]).unwrap();
    object.refresh().unwrap();
    assert!(object.script().unwrap_err().to_string().contains("privileges"));
}

#[test]
fn a_number_may_be_chosen_but_not_zero() {
    let cluster = fresh();
    let all = cluster.large_objects();
    assert_eq!(all.create(LargeObject::new(7_000_000)).unwrap().oid(), 7_000_000);
    let error = all.create(LargeObject::new(0)).unwrap_err();
    assert!(matches!(&error, Error::Invalid { .. }) && error.to_string().contains("create_empty"), "{error}");
}

#[test]
fn a_plan_collects_the_bytes_and_does_not_print_them_all() {
    let cluster = fresh();
    let many = bytes(600_000);
    let mut oid = 0;
    let plan = cluster
        .plan(|c| {
            let mut object = c.large_objects().create_empty()?;
            oid = object.key();
            object.script()?;
            object.write_at(0, b"\0a")?;
            object.import(&many[..])?;
            object.truncate(599_999)?;
            object.write_at(0, b"")?;
            assert!(object.script().unwrap_err().to_string().contains("contents"));
            Ok(())
        })
        .unwrap();
    assert!(cluster.large_objects().is_empty().unwrap());
    let text = plan.to_string();
    assert!(text.contains("decode('0061', 'hex')") && text.contains("(524288 bytes)"), "{text}");
    assert!(text.len() < 2000);
    plan.apply().unwrap();
    cluster.refresh();
    assert!(all(&cluster.large_objects().get(oid).unwrap()) == many[..599_999]);
}

#[test]
fn what_is_written_in_a_transaction_goes_with_it() {
    let cluster = fresh();
    let mut object = cluster.large_objects().create_from(&b"before"[..]).unwrap();
    let undone = cluster.transaction(|| {
        object.import(&b"after"[..])?;
        assert_eq!(all(&object), b"after");
        Err::<(), _>(Error::NotFound { what: "nothing".into() })
    });
    assert!(undone.is_err());
    assert_eq!(all(&object), b"before");
}

#[test]
fn a_role_without_rights_is_told_so() {
    let cluster = fresh();
    let object = cluster.large_objects().create_from(&b"secret"[..]).unwrap();
    let mut role = Role::new(unique("nobody"));
    role.login = true;
    let role = cluster.roles().create(role).unwrap();
    let other = connect(cluster.current_database(), &role.name);
    let mut theirs = other.large_objects().get(object.key()).unwrap();
    for error in [theirs.size().unwrap_err(), theirs.read_at(0, 1).unwrap_err(), theirs.import(&b"x"[..]).unwrap_err()]
    {
        assert!(matches!(error, Error::Denied { .. }), "{error}");
    }
    let mut mine = other.large_objects().create_empty().unwrap();
    mine.write_at(0, b"mine").unwrap();
    assert_eq!((mine.owner.as_str(), all(&mine)), (role.name.as_str(), b"mine".to_vec()));
}

/// By itself, and longer than the others:
/// `cargo test --release --all-features --test live -- --ignored --exact large_objects::two_gigabytes_in_little_memory`
#[cfg(target_os = "linux")]
#[test]
#[ignore = "writes 2 GB, and measures the memory of the whole process"]
fn two_gigabytes_in_little_memory() {
    let cluster = fresh();
    let size = 2 * 1024 * 1024 * 1024;
    let object = cluster.large_objects().create_from(io::repeat(0x5a).take(size)).unwrap();
    assert_eq!(object.size().unwrap(), size);
    assert_eq!(object.export(io::sink()).unwrap(), size);
    let peak = crate::support::peak();
    assert!(peak < 64 * 1024 * 1024, "{peak} bytes");
    object.drop().unwrap();
}

#[test]
fn streaming_takes_little_memory() {
    struct Counting(u64);
    impl io::Write for Counting {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            // What arrives at once is what is held at once.
            assert!(data.len() <= 1024 * 1024);
            self.0 += data.len() as u64;
            Ok(data.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let cluster = fresh();
    let size = 20 * 1024 * 1024;
    let object = cluster.large_objects().create_from(io::repeat(0x5a).take(size)).unwrap();
    let mut counting = Counting(0);
    assert_eq!(object.export(&mut counting).unwrap(), size);
    assert_eq!(counting.0, size);
}

#[test]
fn reads_work_on_a_standby() {
    let (primary, cluster) = alone();
    let object = cluster.large_objects().create_from(&b"streamed"[..]).unwrap();
    let standby = primary.standby().unwrap();
    let there = Cluster::connect(&standby.dsn()).unwrap();
    let mut there = there.large_objects().get(object.key()).unwrap();
    assert_eq!(all(&there), b"streamed");
    assert_eq!(&there.read_at(2, 3).unwrap()[..], b"rea");
    assert_eq!(there.size().unwrap(), 8);
    assert!(there.write_at(0, b"x").is_err());
}
