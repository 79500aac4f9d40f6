//! What is committed, and who may commit over it.

use super::*;

#[test]
fn a_commit_lower_than_an_earlier_one_is_found() {
    let two = [committing(7, 2), committed(7, 2)];
    let one = [committing(7, 1), committed(7, 1)];
    assert_eq!(judged([one, two].concat()), []);
    let fell = Violation::CommitFell {
        reader: 7,
        partition: 0,
        next: 1,
    };
    assert_eq!(judged([two, one].concat()), [fell]);
    let next = [owns(8), committing(8, 1), committed(8, 1)];
    let fell = Violation::CommitFell {
        reader: 8,
        partition: 0,
        next: 1,
    };
    assert_eq!(judged(two.into_iter().chain(next)), [fell]);
}

#[test]
fn a_commit_that_the_coordinator_does_not_have_is_found() {
    let not_stored = Violation::NotStored {
        reader: 7,
        partition: 0,
        next: 2,
    };
    let begin = || {
        let written = [written(0, 0), written(1, 1)].concat();
        written
            .into_iter()
            .chain([owns(7), read(7, 0), read(7, 1), committing(7, 2)])
    };
    let log = &[(0, 0), (1, 1)];
    let events = begin().chain([committed(7, 2)]);
    assert_eq!(check(&history(events, log), NOTHING, &[]), [not_stored]);
    // Nobody knows what the coordinator had of a topic that is gone.
    let created = Event::Created {
        incarnation: 1,
        partitions: 1,
    };
    let events = begin().chain([created, committed(7, 2)]);
    assert_eq!(check(&history(events, log), NOTHING, &[]), []);
}

/// Of a topic that was created anew, one may have the new partition while another, who knows it by its name, still has it.
#[test]
fn a_commit_is_overtaken_only_by_one_who_has_the_partition_by_its_name() {
    // By `Mixed`: of the classic protocol, and of the consumer protocol.
    let (by_name, by_id, too) = (2_100, 2_200, 2_500);
    let mixed = Guarantees {
        protocols: Protocols::Mixed,
        ..NOTHING
    };
    let created = Event::Created {
        incarnation: 1,
        partitions: 1,
    };
    let polling = |next| stored(Group::Polling, next);
    let judged = |guarantees, events: &[Event]| {
        let history = history(events.iter().copied(), &[]);
        let mut found = Vec::new();
        crate::checker::committing::stored(&history, &Log::new(&history), guarantees, &mut found);
        found
    };
    let both = [owns(by_name), created, owns(by_id)];
    let rest = [committing(by_name, 2), committing(by_id, 1), polling(1)];
    for who in [(by_name, 2), (by_id, 1)] {
        let events = [&both[..], &rest, &[committed(who.0, who.1)]].concat();
        assert_eq!(judged(mixed, &events), []);
    }
    // The other way round.
    let rest = [committing(by_id, 2), committing(by_name, 0), polling(0)];
    let events = [&both[..], &rest, &[committed(by_id, 2)]].concat();
    assert_eq!(judged(mixed, &events), []);

    let not_stored = |reader| {
        [Violation::NotStored {
            reader,
            partition: 0,
            next: 2,
        }]
    };
    // In a group of one protocol, and where both have it by their ids.
    assert_eq!(judged(NOTHING, &events), not_stored(by_id));
    let ids = [owns(too), created, owns(by_id)];
    let rest_of_ids = [committing(by_id, 2), committing(too, 0), polling(0)];
    let by_ids = [&ids[..], &rest_of_ids, &[committed(by_id, 2)]].concat();
    assert_eq!(judged(mixed, &by_ids), not_stored(by_id));
    // The first was told already, in the new topic; or there was never another one.
    let told = [created, owns(by_name), owns(by_id)];
    let events = [&told[..], &rest, &[committed(by_id, 2)]].concat();
    assert_eq!(judged(mixed, &events), not_stored(by_id));
    // The coordinator has what nobody has committed, what was acknowledged before, or nothing.
    let other = [committing(by_id, 2), committing(by_name, 1), polling(0)];
    let events = [&both[..], &other, &[committed(by_id, 2)]].concat();
    assert_eq!(judged(mixed, &events), not_stored(by_id));
    let before = [committing(by_name, 0), polling(0), committed(by_name, 0)];
    let lost = [committing(by_id, 2), committed(by_id, 2)];
    let events = [&both[..], &before, &lost].concat();
    assert_eq!(judged(mixed, &events), not_stored(by_id));
    let events = [&both[..], &rest[..2], &[committed(by_id, 2)]].concat();
    assert_eq!(judged(mixed, &events), not_stored(by_id));
}

#[test]
fn a_stored_commit_that_passes_the_unfinished_or_falls_is_found() {
    let begins = |offset| Event::Begins {
        reader: 4_000,
        partition: 0,
        offset,
        id: id(offset as u32),
    };
    let ends = |offset| Event::Ends {
        reader: 4_000,
        partition: 0,
        offset,
        id: id(offset as u32),
    };
    let unfinished = |next| Violation::StoredUnfinished {
        group: Group::Typed,
        partition: 0,
        next,
    };
    let well = Guarantees {
        all_is_well: true,
        epochs_rise: true,
        ..NOTHING
    };
    let judged = |events: &[Event]| {
        let written = [written(0, 0), written(1, 1)].concat();
        let events = written.into_iter().chain(events.iter().copied());
        check(&history(events, &[(0, 0), (1, 1)]), well, &[])
    };
    let typed = |next| stored(Group::Typed, next);
    let first = [begins(0), ends(0), begins(1)];
    assert_eq!(
        judged(&[&first[..], &[typed(1), ends(1), typed(2)]].concat()),
        []
    );
    assert_eq!(judged(&[&first[..], &[typed(2)]].concat()), [unfinished(2)]);
    // What was read and handled of a topic is nothing of the next one.
    let created = Event::Created {
        incarnation: 1,
        partitions: 1,
    };
    let events = [
        &written(0, 0)[..],
        &written(1, 1),
        &[begins(0), ends(0), typed(1), created, typed(1)],
    ]
    .concat();
    let mut carried = history(events, &[(0, 0)]);
    carried.log.push((1, 0, 0, id(1)));
    assert_eq!(
        check(
            &carried,
            Guarantees {
                all_is_well: false,
                ..well
            },
            &[]
        )
        .into_iter()
        .filter(|violation| !matches!(violation, Violation::Lost(_)))
        .collect::<Vec<_>>(),
        [unfinished(1)]
    );
    let fell = Violation::StoredFell {
        group: Group::Typed,
        partition: 0,
        next: 1,
    };
    let both = [&first[..], &[ends(1), typed(2), typed(1)]].concat();
    assert_eq!(judged(&both), [fell]);
}

#[test]
fn a_member_that_begins_before_the_commit_is_found() {
    let two = [committing(7, 2), committed(7, 2)];
    let low = || Violation::BeganTooLow {
        reader: 8,
        partition: 0,
        offset: 1,
    };
    let next = || [owns(8), read(8, 1)];
    assert_eq!(judged(two.into_iter().chain(next())), [low()]);
    // A commit of unknown fate may come to nothing, or may come last.
    assert_eq!(judged([committing(7, 2)].into_iter().chain(next())), []);
    let late = [committing(7, 1)].into_iter().chain(two).chain(next());
    assert_eq!(judged(late), []);
    let again = [committing(7, 1), owns(7)];
    let late = again.into_iter().chain(two).chain(next());
    assert_eq!(judged(late), []);
    // One that was begun in a generation that is over is refused.
    let fenced = two.into_iter().chain([owns(8), committing(7, 1), owns(7)]);
    assert_eq!(judged(fenced.clone().chain(next())), [low()]);
    assert_eq!(judged_by(false, fenced.chain(next())), []);
    let unheard = [committing(7, 2), owns(8), committed(7, 2), read(8, 1)];
    assert_eq!(judged(unheard), []);
}
