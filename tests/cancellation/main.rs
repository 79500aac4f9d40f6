//! Every future of the public API, dropped. In: a scene, a call in it, and what must hold after it. Out: the scene played anew for every n, with
//! the call dropped after its n-th poll — at once, or when it was woken for one more — until it is done before that. `select!` and `timeout`
//! do just this to their losers.
//!
//! After each drop: nothing is lost, nothing is doubled, nothing is out of order, and nothing is stuck: the same handle does its work as if
//! the call had never been made, or had been made whole.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `producing` | `Producer`, `Delivery` |
//! | `consuming` | `Consumer`, `ConsumerHandle`, `PendingCommit`, alone and in a group |
//! | `administering` | `Admin` |
//! | `events` | `EventProducer`, `EventConsumer` |
//! | `sharing` | `ShareConsumer`, `PendingAcknowledgements`, `EventQueue` |
//! | `transactions` | `TransactionalProducer`, `Transaction`, `exactly_once` |

// Some of it only other tests need.
#[allow(dead_code, unused_imports)]
#[path = "../consumer/harness.rs"]
mod consumers;
#[path = "../support/copying.rs"]
mod copying;
#[path = "../support/cut.rs"]
mod cut;
#[path = "../support/embedded.rs"]
mod embedded;
#[path = "../support/in_memory.rs"]
mod in_memory;
#[allow(dead_code, unused_imports)]
#[path = "../producer/harness.rs"]
mod producers;

mod administering;
mod consuming;
mod events;
mod producing;
mod sharing;
mod transactions;

use std::time::Duration;

use cut::Cut;
use tokio::time::timeout;

/// No scene takes so long, on the paused clock, unless something is stuck.
const STUCK: Duration = Duration::from_secs(600);
/// The most polls that a call may need; one that needs more is not tried to its end.
const MOST_POLLS: usize = 500;

/// Plays `scene` for each cut, until the call in it is done before it is dropped, which is what `scene` returns. Returns after how many
/// polls that is.
fn at_every_poll<F: Future<Output = bool>>(name: &str, scene: impl Fn(Cut) -> F) -> usize {
    let mut most = 0;
    for woken in [false, true] {
        let mut polls = 0;
        loop {
            let cut = Cut { polls, woken };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .expect("a runtime");
            let done = runtime.block_on(async {
                timeout(STUCK, scene(cut))
                    .await
                    .unwrap_or_else(|_| panic!("{name}, {cut}: stuck"))
            });
            if done {
                break;
            }
            polls += 1;
            assert!(
                polls <= MOST_POLLS,
                "{name} is not done after {polls} polls"
            );
        }
        most = most.max(polls);
    }
    println!("{name}: done after {most} polls");
    most
}
