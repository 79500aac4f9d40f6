//! InitProducerId with a transactional id.

use super::{Producer, Session};

pub async fn run(session: &mut Session) {
    first_times(session).await;
    epochs(session).await;
    fencing(session).await;
}

async fn first_times(session: &mut Session) {
    for version in 0..=5 {
        let mut producer = new(session, &format!("first-{version}"));
        let first = producer.init(session, version, (-1, -1), 60_000).await;
        let second = producer.init(session, version, (-1, -1), 60_000).await;
        session.say(&format!("init a new id v{version}"), (first, second));
    }
    for (what, timeout_ms) in [
        ("no timeout", 0),
        ("a negative timeout", -1),
        ("15 minutes", 900_000),
        ("a millisecond more", 900_001),
    ] {
        let mut producer = new(session, "timeouts");
        let answer = producer.init(session, 4, (-1, -1), timeout_ms).await;
        session.say(&format!("init with {what}"), answer);
    }
    let mut producer = new(session, "named");
    let answer = producer.init(session, 4, (12_345_678, 3), 60_000).await;
    session.say("init a new id that somebody had", (answer.0, answer.2));
}

fn new(session: &Session, name: &str) -> Producer {
    Producer {
        transactional_id: session.name(name),
        id: -1,
        epoch: -1,
        sequence: 0,
    }
}

async fn epochs(session: &mut Session) {
    let mut producer = Producer::begun(session, "epochs").await;
    let id = producer.id;
    for (what, version, expected) in [
        ("its epoch", 4, (id, 0)),
        ("its epoch again", 4, (id, 0)),
        ("the next epoch", 4, (id, 1)),
        ("an epoch before", 4, (id, 0)),
        ("an epoch before", 3, (id, 0)),
        ("an epoch to come", 4, (id, 9)),
        ("another id", 4, (id + 1_000_000, 2)),
        ("another id", 3, (id + 1_000_000, 2)),
        ("nothing", 4, (-1, -1)),
        ("the epoch before", 4, (id, 2)),
        ("its epoch", 4, (id, 3)),
    ] {
        let answer = producer.init(session, version, expected, 60_000).await;
        session.say(&format!("init v{version} with {what}"), answer);
    }
}

/// Who comes while a transaction is under way.
async fn fencing(session: &mut Session) {
    for (what, with_epoch) in [("nothing", false), ("its epoch", true)] {
        let mut producer = Producer::begun(session, &format!("fencing-{with_epoch}")).await;
        let written = producer.produce(session, 12, 2).await.0;
        let mut other = new(session, &format!("fencing-{with_epoch}"));
        other.id = producer.id;
        let expected = match with_epoch {
            true => (producer.id, producer.epoch),
            false => (-1, -1),
        };
        let first = other.init(session, 4, expected, 60_000).await;
        let state = producer.settle(session).await;
        let second = other.init(session, 4, expected, 60_000).await;
        session.say(
            &format!("init in a transaction with {what}"),
            (written, first, state, second),
        );
        let late = producer.produce(session, 12, 2).await.0;
        session.say("produce v12 in the old epoch", late);
        let late = producer.produce(session, 11, 2).await.0;
        session.say("produce v11 in the old epoch", late);
        for version in [0, 1, 2, 3] {
            let added = producer.add(session, version, &[0], false).await;
            session.say(&format!("add v{version} in the old epoch"), added);
        }
        for version in [0, 1, 2, 4, 5] {
            let ended = producer.end(session, version, true).await;
            session.say(&format!("end v{version} in the old epoch"), ended);
        }
    }
}
