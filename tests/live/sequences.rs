//! Sequences.
use crate::support::{alone, connect, fresh, major, unique};
use pgsteward::{Cluster, Cycle, Error, Object, OwningColumn, Role, Sequence, SequenceType, SequenceValue};

fn number(cluster: &Cluster, sql: &str) -> i64 {
    cluster.execute(sql, &[]).unwrap()[0].get(0)
}

fn create(cluster: &Cluster, name: &str) -> Object<Sequence> {
    cluster.sequences().create(Sequence::new(name)).unwrap()
}

#[test]
fn p021_schema_name_and_owner_of_a_sequence_change_together() {
    let cluster = fresh();
    let owner = cluster.roles().create(Role::new(unique("owner"))).unwrap();
    cluster.execute("CREATE SCHEMA app", &[]).unwrap();
    let mut sequence = create(&cluster, "s");
    (sequence.schema, sequence.name, sequence.owner) = ("app".into(), "n".into(), owner.name.clone());
    sequence.alter().unwrap();
    assert!(!cluster.sequences().contains("s").unwrap());
    cluster.sequences().refresh();
    let again = cluster.sequences().get("app.n").unwrap();
    assert_eq!((&again.owner, again.changes().is_empty()), (&owner.name, true));
}

#[test]
fn p022_a_sequence_is_renamed_twice_then_dropped() {
    let cluster = fresh();
    let mut sequence = create(&cluster, "a");
    for name in ["b", "c"] {
        sequence.name = name.into();
        sequence.alter().unwrap();
    }
    sequence.drop().unwrap();
    assert!(cluster.sequences().is_empty().unwrap());
}

#[test]
fn p039_start_minimum_maximum_and_increment_in_one_alter() {
    let cluster = fresh();
    create(&cluster, "s");
    let mut sequence = cluster.sequences().get("s").unwrap();
    (sequence.start, sequence.minimum, sequence.maximum) = (Some(101), Some(-11), Some(202));
    sequence.increment = 2;
    assert_eq!(sequence.changes().len(), 1);
    sequence.alter().unwrap();
    assert_eq!((sequence.range(), sequence.first_value()), (-11..=202, 101));
    assert!(sequence.changes().is_empty());
    sequence.restart().unwrap();
    assert_eq!((sequence.nextval().unwrap(), sequence.nextval().unwrap()), (101, 103));
    (sequence.minimum, sequence.maximum, sequence.increment) = (None, None, 1);
    sequence.alter().unwrap();
    assert_eq!((sequence.minimum, sequence.maximum), (None, None));
    assert_eq!(number(&cluster, "SELECT seqmin FROM pg_sequence"), 1);
    assert_eq!(number(&cluster, "SELECT seqmax FROM pg_sequence"), i64::MAX);
}

#[test]
fn p039_a_range_that_single_steps_could_not_reach() {
    let cluster = fresh();
    for (minimum, maximum, start, kind) in [
        (Some(50), None, Some(60), SequenceType::BigInt),
        (Some(50), None, None, SequenceType::SmallInt),
        (Some(-90), Some(-50), Some(-60), SequenceType::Integer),
        (Some(3_000_000_000), Some(3_000_000_009), None, SequenceType::BigInt),
    ] {
        let mut sequence = create(&cluster, "s");
        (sequence.minimum, sequence.maximum, sequence.start, sequence.data_type) = (minimum, maximum, start, kind);
        sequence.alter().unwrap();
        assert!(sequence.changes().is_empty());
        assert_eq!((sequence.minimum, sequence.data_type), (minimum, kind));
        assert_eq!(sequence.nextval().unwrap(), start.or(minimum).unwrap());
        // And back, from where it stands.
        let first = sequence.first_value();
        (sequence.minimum, sequence.maximum, sequence.start) = (Some(first - 5), Some(first + 9), None);
        sequence.alter().unwrap();
        assert_eq!(sequence.nextval().unwrap(), first + 1);
        sequence.drop().unwrap();
    }
}

#[test]
fn a_used_sequence_does_not_move_and_a_failure_moves_none() {
    let cluster = fresh();
    let mut sequence = create(&cluster, "s");
    sequence.setval(SequenceValue::Used(70)).unwrap();
    (sequence.minimum, sequence.start) = (Some(50), Some(60));
    sequence.alter().unwrap();
    assert_eq!(sequence.nextval().unwrap(), 71);
    (sequence.minimum, sequence.start) = (Some(80), None);
    let error = sequence.alter().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "22023", "{error}");
    assert_eq!(sequence.nextval().unwrap(), 72);
    sequence.drop().unwrap();

    let mut sequence = create(&cluster, "s");
    (sequence.minimum, sequence.start, sequence.owner) = (Some(50), Some(60), "nobody knows".into());
    assert!(sequence.alter().unwrap_err().is_not_found());
    assert!(sequence.is_changed());
    assert_eq!(number(&cluster, "SELECT last_value FROM public.s"), 1);
    assert_eq!(number(&cluster, "SELECT seqmin FROM pg_sequence"), 1);
}

#[test]
fn types_and_directions_change_with_their_limits() {
    let cluster = fresh();
    let mut sequence = create(&cluster, "s");
    for kind in [SequenceType::SmallInt, SequenceType::Integer, SequenceType::BigInt, SequenceType::SmallInt] {
        sequence.data_type = kind;
        sequence.alter().unwrap();
        assert_eq!((sequence.data_type, sequence.maximum), (kind, None));
    }
    sequence.increment = -1;
    sequence.alter().unwrap();
    assert_eq!((sequence.minimum, sequence.maximum, sequence.start), (None, None, None));
    assert_eq!((sequence.nextval().unwrap(), sequence.nextval().unwrap()), (-1, -2));
    (sequence.minimum, sequence.cycle) = (Some(-2), Cycle::Wrap);
    sequence.alter().unwrap();
    assert_eq!(sequence.nextval().unwrap(), -1);
    // Limits that are the old type's own stay what was asked for.
    (sequence.data_type, sequence.maximum, sequence.minimum) = (SequenceType::Integer, Some(32767), Some(-32768));
    sequence.alter().unwrap();
    assert_eq!(sequence.range(), -32768..=32767);
}

#[test]
fn p040_values_are_taken_set_and_read() {
    let cluster = fresh();
    let mut sequence = create(&cluster, "\"we\"\"ird s\"");
    assert_eq!(sequence.last_value().unwrap(), None);
    let error = sequence.currval().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "55000");
    assert_eq!(sequence.nextval().unwrap(), 1);
    assert_eq!((sequence.currval().unwrap(), sequence.last_value().unwrap()), (1, Some(1)));
    sequence.setval(SequenceValue::Used(40)).unwrap();
    assert_eq!((sequence.last_value().unwrap(), sequence.nextval().unwrap()), (Some(40), 41));
    sequence.setval(SequenceValue::Next(40)).unwrap();
    assert_eq!(sequence.last_value().unwrap(), None);
    assert_eq!(sequence.nextval().unwrap(), 40);
    sequence.restart_with(0).unwrap_err();
    sequence.restart_with(9).unwrap();
    assert_eq!(sequence.nextval().unwrap(), 9);
    sequence.restart().unwrap();
    assert_eq!(sequence.nextval().unwrap(), 1);
    // What the server alone moves is no change and no conflict.
    assert!(!sequence.is_changed());
    sequence.comment = Some("moved".into());
    sequence.alter().unwrap();
    sequence.drop().unwrap();
}

#[test]
fn values_follow_the_sequence_not_its_name() {
    let cluster = fresh();
    let mut sequence = create(&cluster, "a");
    cluster.execute("ALTER SEQUENCE public.a RENAME TO b; CREATE SEQUENCE public.a START 100", &[]).unwrap();
    assert_eq!(sequence.nextval().unwrap(), 1);
    assert!(sequence.setval(SequenceValue::Used(5)).unwrap_err().is_conflict());
    assert!(sequence.restart().unwrap_err().is_conflict());
    assert_eq!(number(&cluster, "SELECT last_value FROM public.a"), 100);
    cluster.execute("DROP SEQUENCE public.b", &[]).unwrap();
    assert!(matches!(sequence.nextval(), Err(Error::NotFound { .. })));
    assert!(matches!(sequence.last_value(), Err(Error::NotFound { .. })));
}

#[test]
fn a_plan_collects_what_moves_a_sequence() {
    let cluster = fresh();
    create(&cluster, "s");
    let plan = cluster
        .plan(|c| {
            let mut sequence = c.sequences().get("s")?;
            assert!(matches!(sequence.nextval(), Err(Error::Invalid { .. })));
            sequence.restart_with(5)?;
            sequence.setval(SequenceValue::Used(8))
        })
        .unwrap();
    assert_eq!(
        plan.to_string(),
        "ALTER SEQUENCE \"public\".\"s\" RESTART WITH 5;\n\
         SELECT pg_catalog.setval('\"public\".\"s\"'::pg_catalog.regclass, 8, true);\n"
    );
    assert_eq!(number(&cluster, "SELECT last_value FROM public.s"), 1);
    plan.apply().unwrap();
    assert_eq!(number(&cluster, "SELECT nextval('public.s')"), 9);
}

#[test]
fn who_may_not_look_is_told_so_and_lists_all_the_same() {
    let cluster = fresh();
    let role = unique("reader");
    cluster.execute(&format!("CREATE ROLE {role} LOGIN"), &[]).unwrap();
    create(&cluster, "s");
    let reader = connect(cluster.current_database(), &role);
    let mut sequence = reader.sequences().get("s").unwrap();
    assert_eq!(reader.sequences().len().unwrap(), 1);
    assert!(matches!(sequence.last_value(), Err(Error::Denied { .. })));
    assert!(matches!(sequence.nextval(), Err(Error::Denied { .. })));
    cluster.execute(&format!("GRANT USAGE ON SEQUENCE public.s TO {role}"), &[]).unwrap();
    assert_eq!(sequence.last_value().unwrap(), None);
    assert_eq!(sequence.nextval().unwrap(), 1);
    assert_eq!(sequence.last_value().unwrap(), Some(1));
    let error = cluster.sequences().get("s").unwrap().script().unwrap_err();
    assert!(error.to_string().contains("privileges"), "{error}");
}

#[test]
fn owned_sequences_and_identity_columns() {
    let cluster = fresh();
    let owner = cluster.roles().create(Role::new(unique("owner"))).unwrap();
    cluster
        .execute(
            &format!(
                "CREATE SCHEMA app; CREATE TABLE public.t (a serial, b int GENERATED ALWAYS AS IDENTITY); \
                 CREATE TABLE app.u (c int); ALTER TABLE app.u OWNER TO {}",
                owner.name
            ),
            &[],
        )
        .unwrap();
    assert_eq!(cluster.sequences().len().unwrap(), 1);
    assert!(!cluster.sequences().contains("t_b_seq").unwrap());
    cluster.refresh();
    assert!(!cluster.sequences().contains("t_b_seq").unwrap());
    assert!(cluster.sequences().with_system().contains("t_b_seq").unwrap());
    let mut identity = cluster.sequences().with_system().get("t_b_seq").unwrap();
    identity.increment = 5;
    identity.alter().unwrap();
    assert_eq!((identity.nextval().unwrap(), identity.nextval().unwrap()), (1, 6));
    assert_eq!(identity.owned_by, Some(OwningColumn::new("t", "b")));
    assert!(identity.script().unwrap_err().to_string().contains("identity column"));
    assert!(identity.drop().is_err());

    let mut sequence = cluster.sequences().get("t_a_seq").unwrap();
    assert_eq!((&sequence.owned_by, sequence.data_type), (&Some(OwningColumn::new("t", "a")), SequenceType::Integer));
    sequence.schema = "app".into();
    assert!(sequence.alter().is_err());
    sequence.owner = owner.name.clone();
    sequence.owned_by = Some(OwningColumn::new("app.u", "c"));
    sequence.alter().unwrap();
    assert_eq!(sequence.owned_by, Some(OwningColumn::new("app.u", "c")));
    let script = sequence.script().unwrap();
    assert!(sequence.clone().drop().is_err());
    sequence.drop_cascade().unwrap();
    cluster.run(&script).unwrap();
    cluster.sequences().refresh();
    let mut sequence = cluster.sequences().get("app.t_a_seq").unwrap();
    sequence.owned_by = None;
    sequence.alter().unwrap();
    assert_eq!(sequence.owned_by, None);
    assert_eq!(sequence.name, "t_a_seq");
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_sent() {
    let cluster = fresh();
    let mut sequence = create(&cluster, "s");
    sequence.increment = 0;
    assert!(matches!(sequence.alter(), Err(Error::Invalid { .. })));
    sequence.revert();
    (sequence.minimum, sequence.maximum) = (Some(9), Some(8));
    assert!(matches!(sequence.alter(), Err(Error::Invalid { .. })));
    sequence.revert();
    assert!(!sequence.is_changed());
    let long = Sequence::new(("public", "x".repeat(64).as_str()));
    assert!(matches!(cluster.sequences().create(long), Err(Error::Invalid { .. })));
}

#[test]
fn many_sequences_change_their_owner_at_once() {
    let cluster = fresh();
    let owner = cluster.roles().create(Role::new(unique("owner"))).unwrap();
    let mut sequences = [create(&cluster, "a"), create(&cluster, "b")];
    cluster.reassign_owner(sequences.iter_mut(), &owner.name).unwrap();
    assert!(sequences.iter().all(|sequence| sequence.owner == owner.name && !sequence.is_changed()));
}
#[test]
fn an_unlogged_sequence_stands_nowhere_on_a_standby() {
    if major() < 15 {
        return;
    }
    let (server, primary) = alone();
    primary.execute("CREATE UNLOGGED SEQUENCE u; CREATE SEQUENCE s; SELECT nextval('u'), nextval('s')", &[]).unwrap();
    let standby = server.standby().unwrap();
    let there = Cluster::connect(&standby.dsn()).unwrap();
    let error = there.sequences().get("u").unwrap().last_value().unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }) && error.to_string().contains("primary"), "{error}");
    assert_eq!(there.sequences().get("s").unwrap().last_value().unwrap(), Some(1));
    assert_eq!(primary.sequences().get("u").unwrap().last_value().unwrap(), Some(1));
}
