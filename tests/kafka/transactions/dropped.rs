//! Calls that are dropped after some polls: what was asked for goes on.

use super::numbered;
use crate::cut::Cut;
use crate::fleet::Target;

pub async fn what_was_asked_for_goes_on_when_the_call_is_dropped(target: Target) {
    let topic = target.topic("cut").await;
    let mut producer = target.transactional("cut", &[]).await;
    let (mut committed, mut next) = (Vec::new(), 0u64);
    for polls in 0..12 {
        let cut = Cut {
            polls,
            woken: false,
        };
        // A begin that is dropped has begun nothing.
        drop(cut.of(producer.begin()).await);
        for commits in [true, false] {
            next += 1;
            let transaction = producer.begin().await.expect("begun");
            let bytes = next.to_be_bytes();
            drop(cut.of(transaction.send(numbered(&topic, &bytes))).await);
            next += 1;
            let bytes = next.to_be_bytes();
            drop(
                transaction
                    .enqueue(numbered(&topic, &bytes))
                    .await
                    .expect("admitted"),
            );
            let done = match commits {
                true => cut.of(transaction.commit()).await,
                false => cut.of(transaction.abort()).await,
            };
            done.unwrap_or(Ok(())).expect("it ends as it was asked to");
            let is_committed = producer.settled().await.expect("settled");
            // Polled once it is asked for; before that, it is dropped with its transaction.
            assert_eq!(is_committed, Some(commits && polls > 0), "{polls} polls");
            if is_committed == Some(true) {
                committed.push(next);
            }
        }
    }
    let seen = target.visible(&topic, committed.len()).await;
    // What was sent by a call that was dropped is there or not.
    let seen: Vec<_> = seen.into_iter().filter(|n| n % 2 == 0).collect();
    assert_eq!(seen, committed);
}
