//! Hedged requests: several attempts at one thing, the first that succeeds wins: each has a head start over the next, so that one that hangs costs little, and
//! none is in vain while all is well.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::sleep;

use crate::kafka::{Error, Result};

/// Makes `attempts` in their order: the next one as soon as one failed, or beside the others when none has ended for `head_start`. The
/// others are dropped when one succeeds; fails with all failures when all have failed. Cancel safe where the attempts are.
pub(super) async fn first_success<T, F>(
    attempts: impl IntoIterator<Item = F>,
    head_start: Duration,
) -> Result<T, Vec<Error>>
where
    F: Future<Output = Result<T>>,
{
    let mut attempts = attempts.into_iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::new();
    let mut failures = Vec::new();
    let mut is_more = true;
    loop {
        match attempts.next() {
            Some(attempt) => running.push(Box::pin(attempt)),
            None => is_more = false,
        }
        if running.is_empty() {
            return Err(failures);
        }
        // The next one begins when an attempt has failed, or when none has ended for long.
        tokio::select! {
            biased;
            ended = next_end(&mut running) => match ended {
                Ok(success) => return Ok(success),
                Err(failure) => failures.push(failure),
            },
            () = sleep(head_start), if is_more => {}
        }
    }
}

/// The first of the running attempts to end, which then runs no more.
async fn next_end<T, F: Future<Output = Result<T>>>(running: &mut Vec<Pin<Box<F>>>) -> Result<T> {
    poll_fn(|context| {
        for index in 0..running.len() {
            if let Poll::Ready(ended) = running[index].as_mut().poll(context) {
                drop(running.remove(index));
                return Poll::Ready(ended);
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::ErrorKind;
    use tokio::time::Instant;

    const HEAD_START: Duration = Duration::from_millis(500);

    /// An attempt that takes so many milliseconds, and succeeds if its number is even.
    async fn attempt((number, takes_ms): (u32, u64)) -> Result<u32> {
        sleep(Duration::from_millis(takes_ms)).await;
        match number % 2 {
            0 => Ok(number),
            _ => Err(Error::new(ErrorKind::Connect, number.to_string())),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_success_wins_and_what_hangs_costs_a_head_start() {
        const FOR_EVER: u64 = 1_000_000;
        for (attempts, won, after_ms) in [
            (&[(2, 10), (4, 0)][..], Ok(2), 10),
            (&[(1, 10), (4, 5)], Ok(4), 15),
            (&[(2, FOR_EVER), (4, 0)], Ok(4), 500),
            (
                &[(2, FOR_EVER), (3, 100), (5, FOR_EVER), (6, 0)],
                Ok(6),
                1_100,
            ),
            (&[(2, 700), (4, 300)], Ok(2), 700),
            (&[(1, 10), (3, 20)], Err(2), 30),
            (&[], Err(0), 0),
        ] {
            let started = Instant::now();
            let result = first_success(attempts.iter().copied().map(attempt), HEAD_START).await;
            assert_eq!(
                result.map_err(|failures| failures.len()),
                won,
                "{attempts:?}"
            );
            let took = started.elapsed().as_millis() as u64;
            assert!(
                (after_ms..after_ms + 5).contains(&took),
                "{attempts:?}: {took}"
            );
        }
    }
}
