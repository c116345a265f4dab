//! Replication slots, and those who use them.
use crate::support::{alone, connect, fresh, major, server, unique};
use pgsteward::testing::{TestServer, TestServerOptions};
use pgsteward::{Cluster, Error, Lit, PgLsn, ReplicationSlot, SlotSort, WalStatus, sql};
use std::time::{Duration, Instant};

#[test]
fn p043_logical_and_physical_slots_are_told_apart() {
    let cluster = fresh();
    let slots = cluster.replication_slots();
    let physical = slots.create(ReplicationSlot::physical(unique("slot"))).unwrap();
    assert_eq!(physical.sort, SlotSort::Physical);
    assert_eq!((physical.database(), physical.restart_lsn(), physical.is_active()), (None, None, false));
    let logical = slots.create(ReplicationSlot::logical(unique("slot"), "test_decoding")).unwrap();
    assert_eq!(logical.sort, SlotSort::Logical { plugin: "test_decoding".into() });
    assert_eq!(logical.database(), Some(cluster.current_database()));
    assert!(logical.restart_lsn().is_some() && logical.confirmed_flush_lsn().is_some());
    assert_eq!(logical.wal_status(), (major() >= 13).then_some(WalStatus::Reserved));
    assert_eq!(logical.invalidation_reason(), None);
    physical.drop().unwrap();
    logical.drop().unwrap();
}

#[test]
fn p043_a_temporary_slot_goes_with_its_session() {
    let cluster = fresh();
    let mut slot = ReplicationSlot::logical(unique("slot"), "test_decoding");
    slot.temporary = true;
    let other = connect(cluster.current_database(), "postgres");
    let slot = other.replication_slots().create(slot).unwrap();
    assert!(slot.temporary && slot.is_active());
    assert!(cluster.replication_slots().contains(&*slot.name).unwrap());
    let theirs = cluster.replication_slots().get(&*slot.name).unwrap();
    theirs.drop_after_disconnect(Duration::MAX).unwrap();
    assert!(!cluster.replication_slots().contains(&*slot.name).unwrap());
}

#[test]
fn p043_a_logical_slot_is_dropped_from_another_database() {
    let (cluster, other) = (fresh(), fresh());
    let slot = cluster.replication_slots().create(ReplicationSlot::logical(unique("slot"), "test_decoding")).unwrap();
    let there = other.replication_slots().get(&*slot.name).unwrap();
    assert_eq!(there.database(), Some(cluster.current_database()));
    there.drop().unwrap();
    cluster.refresh();
    assert!(!cluster.replication_slots().contains(&*slot.name).unwrap());
    assert!(slot.drop().unwrap_err().is_conflict());
}

#[test]
fn p043_to_disconnect_an_idle_slot_does_nothing() {
    let cluster = fresh();
    let mut slot = cluster.replication_slots().create(ReplicationSlot::physical(unique("slot"))).unwrap();
    slot.disconnect().unwrap();
    slot.refresh().unwrap();
    slot.drop().unwrap();
}

#[test]
fn p043_an_active_slot_is_disconnected_and_only_then_dropped() {
    let (primary, cluster) = alone();
    let slot = cluster.replication_slots().create(ReplicationSlot::physical(unique("slot"))).unwrap();
    let standby = primary.standby().unwrap();
    use_slot(&standby, &slot.name);
    let mut slot = wait_until_active(&cluster, &slot.name);
    let error = slot.clone().drop().unwrap_err();
    assert_eq!(error.code().map(|code| code.code().to_owned()), Some("55006".into()), "{error}");
    // The standby would come back for it, after five seconds.
    let pid = slot.active_pid();
    slot.disconnect().unwrap();
    slot.refresh().unwrap();
    assert_ne!(slot.active_pid(), pid);
    slot.drop_after_disconnect(Duration::from_secs(20)).unwrap();
}

#[test]
fn p043_a_slot_is_dropped_while_a_subscriber_keeps_reconnecting() {
    let (publisher, subscriber) = (fresh(), Other::start());
    let slot = unique("slot");
    publisher.execute("CREATE TABLE t (a int PRIMARY KEY)", &[]).unwrap();
    publisher.execute("CREATE PUBLICATION p FOR TABLE t", &[]).unwrap();
    publisher.replication_slots().create(ReplicationSlot::logical(slot.as_str(), "pgoutput")).unwrap();
    subscriber.cluster.execute("CREATE TABLE t (a int PRIMARY KEY)", &[]).unwrap();
    let dsn = server().dsn_for(publisher.current_database(), "postgres");
    let subscribe = sql!(
        "CREATE SUBSCRIPTION s CONNECTION {} PUBLICATION p WITH (create_slot = false, slot_name = {})",
        Lit(&dsn),
        Lit(&slot)
    );
    subscriber.cluster.execute(&subscribe.to_string(), &[]).unwrap();
    let active = wait_until_active(&publisher, &slot);
    let kept = active.clone();
    active.drop_after_disconnect(Duration::from_secs(30)).unwrap();
    publisher.refresh();
    assert!(!publisher.replication_slots().contains(&*slot).unwrap());
    let error = kept.drop_after_disconnect(Duration::ZERO).unwrap_err();
    assert!(error.is_conflict(), "{error}");
}

#[test]
fn a_slot_that_nobody_lets_go_of_is_reported_within_the_time() {
    let cluster = fresh();
    let mut slot = ReplicationSlot::physical(unique("slot"));
    slot.temporary = true;
    let other = connect(cluster.current_database(), "postgres");
    let slot = other.replication_slots().create(slot).unwrap();
    let pid = slot.active_pid().unwrap();
    let signal = |signal: &str| {
        let sent = std::process::Command::new("kill").args([signal, &pid.to_string()]).status();
        assert!(sent.unwrap().success());
    };
    let theirs = cluster.replication_slots().get(&*slot.name).unwrap();
    signal("-STOP");
    let dropped = theirs.drop_after_disconnect(Duration::from_millis(300));
    signal("-CONT");
    let error = dropped.unwrap_err();
    assert!(error.is_conflict() && error.to_string().contains(&pid.to_string()), "{error}");
}

#[test]
fn a_slot_of_this_session_is_dropped_and_the_session_stays() {
    let cluster = fresh();
    let mut slot = ReplicationSlot::physical(unique("slot"));
    slot.temporary = true;
    let mut slot = cluster.replication_slots().create(slot).unwrap();
    slot.disconnect().unwrap();
    slot.drop_after_disconnect(Duration::ZERO).unwrap();
}

#[test]
fn p043_two_phase_and_failover_need_servers_that_have_them() {
    let cluster = fresh();
    let slots = cluster.replication_slots();
    let mut slot = ReplicationSlot::logical(unique("slot"), "test_decoding");
    slot.two_phase = true;
    match slots.create(slot.clone()) {
        Ok(made) => {
            assert!(major() >= 14 && made.two_phase && !made.failover);
            made.drop().unwrap();
        }
        Err(error) => assert!(major() < 14 && matches!(error, Error::Unsupported { .. }), "{error}"),
    }
    (slot.two_phase, slot.failover) = (false, true);
    match slots.create(slot) {
        Ok(mut made) => {
            assert!(major() >= 17 && made.failover && !made.two_phase);
            made.failover = false;
            assert!(matches!(made.alter(), Err(Error::Unsupported { .. })));
            made.revert();
            made.drop().unwrap();
        }
        Err(error) => assert!(major() < 17 && matches!(error, Error::Unsupported { .. }), "{error}"),
    }
}

#[test]
fn a_slot_moves_forward() {
    let cluster = fresh();
    let slots = cluster.replication_slots();
    let mut slot = slots.create(ReplicationSlot::logical(unique("slot"), "test_decoding")).unwrap();
    let before = slot.confirmed_flush_lsn().unwrap();
    cluster.execute("CREATE TABLE t ()", &[]).unwrap();
    let now = &cluster.execute("SELECT pg_current_wal_lsn()", &[]).unwrap()[0];
    slot.advance(now.get::<_, PgLsn>(0)).unwrap();
    assert!(!slot.is_changed());
    slot.refresh().unwrap();
    assert!(slot.confirmed_flush_lsn().unwrap() > before);
    assert!(slot.advance(PgLsn::from(1)).is_err());
    slot.drop().unwrap();
}

#[test]
fn another_slot_under_the_same_name_is_not_dropped() {
    let cluster = fresh();
    let slots = cluster.replication_slots();
    let stale = slots.create(ReplicationSlot::physical(unique("slot"))).unwrap();
    let theirs = connect(cluster.current_database(), "postgres").replication_slots();
    theirs.get(&*stale.name).unwrap().drop().unwrap();
    let other = theirs.create(ReplicationSlot::logical(stale.name.as_str(), "test_decoding")).unwrap();
    assert!(stale.clone().drop().unwrap_err().is_conflict());
    assert!(stale.drop_after_disconnect(Duration::from_secs(1)).unwrap_err().is_conflict());
    other.drop().unwrap();
}

#[test]
fn names_that_no_slot_can_have_are_refused() {
    let cluster = fresh();
    let slots = cluster.replication_slots();
    for name in ["Upper", "a-b", "", "ä", "a b", "x';--"] {
        assert!(matches!(slots.get(name), Err(Error::Invalid { .. })), "{name}");
        assert!(matches!(slots.create(ReplicationSlot::physical(name)), Err(Error::Invalid { .. })), "{name}");
    }
}

#[test]
fn a_plan_collects_slots() {
    let cluster = fresh();
    let name = unique("slot");
    let plan = cluster
        .plan(|c| {
            let slot = c.replication_slots().create(ReplicationSlot::logical(name.as_str(), "test_decoding"))?;
            slot.drop_after_disconnect(Duration::from_secs(1))
        })
        .unwrap();
    assert!(!cluster.replication_slots().contains(&*name).unwrap());
    assert_eq!(plan.script().len(), 3, "{plan}");
    plan.apply().unwrap();
    assert!(!cluster.replication_slots().contains(&*name).unwrap());
}

/// A second server, to subscribe: one and the same server cannot subscribe to itself as easily.
struct Other {
    cluster: Cluster,
    _server: TestServer,
}

impl Other {
    fn start() -> Self {
        let mut options = TestServerOptions::new();
        // Come back as soon as can be.
        options.settings.push(("wal_retrieve_retry_interval".into(), "1ms".into()));
        let server = TestServer::with(options).unwrap();
        Self { cluster: Cluster::connect(&server.dsn()).unwrap(), _server: server }
    }
}

/// Has a standby stream through a slot from now on.
fn use_slot(standby: &TestServer, slot: &str) {
    let there = Cluster::connect(&standby.dsn()).unwrap();
    there.execute(&sql!("ALTER SYSTEM SET primary_slot_name = {}", Lit(slot)).to_string(), &[]).unwrap();
    // A reload does from PostgreSQL 13 on.
    standby.restart().unwrap();
}

fn wait_until_active(cluster: &Cluster, name: &str) -> pgsteward::Object<ReplicationSlot> {
    let started = Instant::now();
    loop {
        cluster.refresh();
        let slot = cluster.replication_slots().get(name).unwrap();
        if slot.is_active() {
            return slot;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "nobody came for the slot");
        std::thread::sleep(Duration::from_millis(20));
    }
}
