use proptest::prelude::*;
use tokio::time::{Duration, timeout};

use super::*;

async fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    timeout(Duration::from_secs(1), future).await.ok()
}

/// Asks for `bytes` in a task of its own, which is in the queue when this returns.
async fn asks(budget: &Arc<Budget>, bytes: usize) -> tokio::task::JoinHandle<Option<Reservation>> {
    let budget = budget.clone();
    let task = tokio::spawn(async move { budget.acquire(bytes).await });
    tokio::task::yield_now().await;
    task
}

fn two_of(total: usize) -> (Arc<Budget>, [Arc<Budget>; 2]) {
    let common = Budget::new(total, None);
    let users = [(); 2].map(|()| Budget::new(1_000, Some(common.clone())));
    (common, users)
}

#[tokio::test(start_paused = true)]
async fn admission_is_in_the_order_of_asking_and_nobody_overtakes() {
    let budget = Budget::new(100, None);
    assert!(budget.try_charge(90));
    let first = asks(&budget, 60).await;
    let second = asks(&budget, 5).await;
    // Ten are free, but the first in the queue needs more: neither the second nor a newcomer may take them.
    assert!(budget.is_short() && !second.is_finished());
    assert!(!budget.try_charge(5));
    budget.release(90);
    let both = (first.await.unwrap(), second.await.unwrap());
    assert_eq!(budget.used(), 65);
    drop(both);
    assert_eq!(budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn giving_up_the_wait_gives_up_the_place() {
    let (common, [one, other]) = two_of(100);
    for budget in [&Budget::new(100, None), &one] {
        assert!(budget.try_charge(100));
        assert!(at_once(budget.acquire(50)).await.is_none());
        assert!(!budget.is_short());
        assert_eq!(budget.used(), 100);
        budget.release(100);
        assert!(budget.try_charge(100));
    }
    assert_eq!((common.used(), other.used()), (100, 0));
}

#[tokio::test(start_paused = true)]
async fn what_one_user_has_the_others_have_not_until_it_is_gone() {
    let (common, [one, other]) = two_of(100);
    assert!(one.try_charge(60) && other.try_charge(40) && !other.try_charge(1));
    assert!(other.left() == 0 && at_once(other.acquire(1)).await.is_none());
    assert_eq!(other.used(), 40);
    assert!(std::ptr::eq(
        other.short_of(1).expect("the common one"),
        &*common
    ));
    assert!(other.short_of(1_000).is_none());
    one.release(10);
    let mut reserved = at_once(other.acquire(10))
        .await
        .expect("at once")
        .expect("room");
    assert!(reserved.spend(4) && !reserved.spend(7));
    assert!(!one.try_charge(1));
    drop(reserved);
    assert!(one.try_charge(6) && !one.try_charge(1));
    // Nothing was released of what it had.
    drop(one);
    assert!(other.try_charge(56) && !other.try_charge(1));
    drop(other);
    assert_eq!(common.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn closing_a_budget_ends_its_waiting_and_nobody_elses() {
    let (_, [one, other]) = two_of(100);
    assert!(one.try_charge(100));
    let waiting = asks(&one, 10).await;
    let others = asks(&other, 10).await;
    assert!(other.is_short());
    one.close();
    assert!(waiting.await.expect("no panic").is_none());
    assert!(one.acquire(1).await.is_none());
    assert!(!others.is_finished());
    one.release(10);
    let reserved = at_once(others).await.expect("at once");
    assert!(reserved.expect("no panic").is_some() && !other.is_short());
}

#[tokio::test(start_paused = true)]
async fn all_who_have_a_budget_in_common_are_told_that_one_of_them_waits() {
    let (_, [one, other]) = two_of(100);
    assert!(one.try_charge(100));
    let (told, mine) = (one.becomes_short(), Budget::new(1, None));
    let _waiting = asks(&other, 10).await;
    assert!(at_once(told).await.is_some() && one.is_short());
    // No common budget, nobody to make room for.
    assert!(mine.try_charge(1));
    let told = mine.becomes_short();
    let _waiting = asks(&mine, 1).await;
    assert!(at_once(told).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_room_hears_of_what_comes_back_also_to_another() {
    let (_, [one, other]) = two_of(100);
    let mut reservation = one.reserve(120);
    assert_eq!((one.left(), other.left()), (0, 0));
    let mut freed = std::pin::pin!(other.freed());
    assert!(!freed.as_mut().enable());
    reservation.adjust(10);
    assert!(freed.as_mut().enable());
    assert_eq!((one.left(), other.left()), (90, 90));
    drop(reservation);
    assert_eq!(other.left(), 100);
}

#[test]
fn members_come_and_go() {
    let (_, [one, other]) = two_of(100);
    assert_eq!(one.fair_limit(), 50);
    drop(other);
    assert_eq!(one.fair_limit(), 100);
    assert_eq!(Budget::new(30, None).fair_limit(), 30);
}

proptest! {
    /// Each takes all that it fairly may, in any order, and returns any part of it.
    #[test]
    fn whatever_some_hold_on_to_something_is_left_for_all(
        steps in prop::collection::vec((0usize..8, any::<bool>(), 0usize..=100), 1..200),
    ) {
        const TOTAL: usize = 1 << 20;
        let common = Budget::new(TOTAL, None);
        let users = [(); 8].map(|()| Budget::new(TOTAL, Some(common.clone())));
        let mut held = [(); 8].map(|()| Vec::new());
        for (user, takes, part) in steps {
            if takes {
                held[user].push(users[user].reserve(users[user].fairly_left()));
            } else {
                let keep = held[user].len() * part / 100;
                held[user].truncate(keep);
            }
            let sum: usize = users.iter().map(|user| user.used()).sum();
            prop_assert_eq!(sum, common.used());
            prop_assert!(sum <= TOTAL);
            for user in &users {
                prop_assert!(user.used() + user.fairly_left() >= TOTAL / 4 / 8);
            }
        }
    }

    /// The same where each of the users has readers, who take from what it has.
    #[test]
    fn whatever_some_readers_hold_on_to_something_is_left_for_all(
        steps in prop::collection::vec((0usize..4, 0usize..3, any::<bool>(), 0usize..=100), 1..200),
    ) {
        const TOTAL: usize = 1 << 20;
        let common = Budget::new(TOTAL, None);
        let users = [(); 4].map(|()| Budget::new(TOTAL, Some(common.clone())));
        let readers = users.each_ref().map(|user| [(); 3].map(|()| Budget::new(TOTAL, Some(user.clone()))));
        let mut held = [(); 4].map(|()| [(); 3].map(|()| Vec::new()));
        for (user, reader, takes, part) in steps {
            let held = &mut held[user][reader];
            if takes {
                let reader = &readers[user][reader];
                held.push(reader.reserve(reader.fairly_left() * part / 100));
            } else {
                let keep = held.len() * part / 100;
                held.truncate(keep);
            }
            let sum: usize = readers.iter().flatten().map(|reader| reader.used()).sum();
            prop_assert_eq!(sum, common.used());
            prop_assert!(sum <= TOTAL);
            for reader in readers.iter().flatten() {
                prop_assert!(reader.used() + reader.fairly_left() >= TOTAL / 4 / 4 / 4 / 3);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_takes_more_than_is_left_in_the_order_of_asking() {
    let (_, [one, other]) = two_of(100);
    let reader = Budget::new(100, Some(other.clone()));
    let first = one.try_excess().expect("nobody has it");
    assert!(reader.try_excess().is_none());
    let waits = tokio::spawn(reader.excess());
    tokio::task::yield_now().await;
    let gives_up = tokio::spawn(other.excess());
    tokio::task::yield_now().await;
    let last = tokio::spawn(one.excess());
    tokio::task::yield_now().await;
    drop(first);
    assert!(one.try_excess().is_none(), "another was waiting for it");
    let second = at_once(waits).await.expect("at once").expect("no panic");
    gives_up.abort();
    tokio::task::yield_now().await;
    assert!(!last.is_finished());
    drop(second);
    assert!(at_once(last).await.expect("at once").is_ok());
    assert!(other.try_excess().is_some());
}
