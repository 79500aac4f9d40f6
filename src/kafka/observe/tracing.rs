//! Events as log lines, through `tracing`. In: events. Out: one line for each, of the level of its severity, with fields; of one kind about
//! one place no more than one in a second, and the next one says how many there were in between.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Level;

use super::{ClientEvent, Observer, Severity};
use crate::kafka::runtime::Mutex;

/// The least time between two lines of one kind about one place.
const INTERVAL: Duration = Duration::from_secs(1);

/// The most places that are told apart; beyond that, events of a kind share one.
const PLACES: usize = 4_096;

/// Writes what happens to the log, through `tracing`, with the target `pat_events::kafka`: batches at `trace`, what a client does on purpose
/// at `debug`, what an operator may want to know at `info`, failures that the client makes up for at `warn`, and what is lost at `error`.
#[derive(Debug, Default)]
pub struct Tracing {
    limit: Mutex<Limit>,
}

impl Observer for Tracing {
    fn on_event(&self, event: &ClientEvent<'_>) {
        macro_rules! line {
            ($level:expr) => {
                // A line that nobody reads must not use up the second of one that somebody does.
                if tracing::enabled!(target: "pat_events::kafka", $level)
                    && let Some(left_out) = self.admit(event)
                {
                    let broker = event.broker();
                    tracing::event!(
                        target: "pat_events::kafka",
                        $level,
                        kind = event.kind(),
                        broker = broker.map(|(id, _)| id),
                        address = broker.map(|(_, address)| tracing::field::display(address)),
                        partition = event.partition().map(tracing::field::display),
                        group = event.group(),
                        left_out = (left_out > 0).then_some(left_out),
                        "{event}"
                    )
                }
            };
        }
        match event.severity() {
            Severity::Trace => line!(Level::TRACE),
            Severity::Debug => line!(Level::DEBUG),
            Severity::Info => line!(Level::INFO),
            Severity::Warn => line!(Level::WARN),
            Severity::Error => line!(Level::ERROR),
        }
    }
}

impl Tracing {
    fn admit(&self, event: &ClientEvent<'_>) -> Option<u64> {
        let mut limit = self.limit.lock();
        limit.admit(event.kind(), place(event), Instant::now())
    }
}

/// What an event is about.
fn place(event: &ClientEvent<'_>) -> String {
    // Not the partition: a broker that stops moves the leaders of thousands.
    if let Some(partition) = event.partition() {
        return partition.topic.to_string();
    }
    if let Some((broker, address)) = event.broker() {
        return format!("{broker} {address}");
    }
    event.group().unwrap_or_default().to_string()
}

/// Who may write a line now.
#[derive(Debug, Default)]
struct Limit {
    lines: HashMap<(&'static str, String), Line>,
}

#[derive(Debug)]
struct Line {
    last: Instant,
    left_out: u64,
}

impl Limit {
    /// How many events were left out since the last line, if there may be another one.
    fn admit(&mut self, kind: &'static str, mut place: String, now: Instant) -> Option<u64> {
        if self.lines.len() >= PLACES {
            // What has something to tell stays, as long as that does not fill the table.
            self.lines
                .retain(|_, line| line.left_out > 0 || now < line.last + INTERVAL);
            if self.lines.len() >= PLACES {
                place = String::new();
            }
        }
        let Some(line) = self.lines.get_mut(&(kind, place.clone())) else {
            let line = Line {
                last: now,
                left_out: 0,
            };
            self.lines.insert((kind, place), line);
            return Some(0);
        };
        if now < line.last + INTERVAL {
            line.left_out += 1;
            return None;
        }
        line.last = now;
        Some(std::mem::take(&mut line.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn of_one_kind_about_one_place_there_is_a_line_a_second_which_says_how_many_it_stands_for()
     {
        let mut limit = Limit::default();
        let start = Instant::now();
        let mut at = |kind, place: &str, ms| {
            limit.admit(kind, place.to_string(), start + Duration::from_millis(ms))
        };
        assert_eq!(at("retry", "t-0", 0), Some(0));
        assert_eq!(at("retry", "t-0", 1), None);
        assert_eq!(at("retry", "t-0", 999), None);
        // Others are not held back by it.
        assert_eq!(at("retry", "t-1", 2), Some(0));
        assert_eq!(at("throttled", "t-0", 3), Some(0));
        assert_eq!(at("retry", "t-0", 1_000), Some(2));
        assert_eq!(at("retry", "t-0", 2_000), Some(0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_of_places_stays_small_and_one_line_a_second_is_left_for_what_it_has_no_room_for()
     {
        let mut limit = Limit::default();
        let now = Instant::now();
        let lines = (0..10 * PLACES).filter_map(|n| limit.admit("retry", n.to_string(), now));
        assert_eq!(lines.count(), PLACES + 1);
        assert!(limit.lines.len() <= PLACES + 1);
        let later = now + INTERVAL;
        assert_eq!(limit.admit("retry", "new".to_string(), later), Some(0));
        assert!(limit.lines.len() < PLACES);
    }
}
