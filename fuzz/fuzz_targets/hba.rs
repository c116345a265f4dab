//! Any bytes as pg_hba.conf: read, written back, changed, and read again. `scripts/soak fuzz` runs it.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pgsteward::ServerVersion;
use pgsteward::hba::{Dialect, HbaFile, HbaRule};

fuzz_target!(|bytes: &[u8]| {
    let Some((version, bytes)) = bytes.split_first() else { return };
    let version = ServerVersion::parse(&(10 + version % 9).to_string()).expect("a version");
    let dialect = Dialect::new(version);
    let read = |bytes: &[u8]| HbaFile::from_bytes("/pg_hba.conf", bytes, dialect.clone());
    let mut hba = read(bytes);
    assert_eq!(hba.new_bytes(), bytes);
    assert!(hba.changes().is_empty());
    let rules: Vec<HbaRule> = hba.iter().map(|entry| HbaRule::clone(entry)).collect();
    let faults = hba.faults();

    // What can be written is read as it was.
    for (index, rule) in rules.iter().enumerate().take(4) {
        if hba.push(rule).is_ok() {
            let again = read(&hba.new_bytes());
            assert_eq!(again.len(), hba.len());
            assert_eq!(again.get(again.len() - 1), hba.get(hba.len() - 1));
            let _ = hba.changes();
            hba.remove(hba.len() - 1).expect("what was added");
            assert_eq!(hba.new_bytes(), bytes);
        }
        hba.replace(index, "local all all reject").expect("a rule of the main file");
        let again = read(&hba.new_bytes());
        assert_eq!(again.len(), rules.len());
        assert!(again.iter().zip(hba.iter()).all(|(again, now)| again == now));
        hba.revert();
    }
    assert_eq!(hba.faults(), faults);
});
