//! The picture of the screen, of made-up figures.

use std::collections::BTreeMap;
use std::time::Duration;

use pat_events::kafka::{Latency, TopicPartition};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use tokio::time::Instant;

use super::sample::Sample;
use super::screen;
use super::view::View;
use crate::picture::{check, svg_of};

const COLUMNS: u16 = 120;
const LINES: u16 = 32;

/// A cluster of three brokers under load, after so many looks.
fn sample(begun: Instant, look: u32) -> Sample {
    let seconds = f64::from(look);
    // Two topics in waves, one that is still.
    let wave =
        |base: f64, period: f64| base * seconds + base * 0.6 * period * (seconds / period).sin();
    let (emails, orders) = (wave(41_000.0, 9.0) as i64, wave(6_200.0, 4.0) as i64);
    let mut ends = BTreeMap::new();
    let mut committed = BTreeMap::<String, BTreeMap<_, _>>::new();
    for partition in 0..6 {
        let name = TopicPartition::new("emails", partition);
        let end = 2_000_000 + emails / 6 + i64::from(partition) * 1_733;
        ends.insert(name.clone(), end);
        let lag = if partition == 4 {
            180_000 - i64::from(look) * 1_900
        } else {
            210 * i64::from(partition)
        };
        committed
            .entry("indexer".into())
            .or_default()
            .insert(name.clone(), end - lag);
        committed
            .entry("audit".into())
            .or_default()
            .insert(name, end - i64::from(partition % 2) * 37);
    }
    for partition in 0..3 {
        let name = TopicPartition::new("orders", partition);
        let end = 90_000 + orders / 3;
        ends.insert(name.clone(), end);
        committed
            .entry("billing".into())
            .or_default()
            .insert(name, end);
    }
    ends.insert(TopicPartition::new("emails.dlq", 0), 17);
    let mut latency = Latency::default();
    latency.count = u64::from(look) * 40;
    latency.sum = Duration::from_micros(u64::from(look) * 40 * 1_450);
    for (bucket, count) in latency.buckets.iter_mut().zip([0, 1, 9, 14, 8, 5, 2, 1]) {
        *bucket = count * u64::from(look);
    }
    Sample {
        at: begun + Duration::from_secs(u64::from(look)),
        brokers: vec![1, 2, 3],
        ends,
        leaderless: vec![TopicPartition::new("emails.dlq", 2)],
        committed,
        latency,
        errors: Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_picture_of_the_screen_is_what_it_draws() {
    let (begun, mut view) = (Instant::now(), View::default());
    for look in 1..=60 {
        view.update(sample(begun, look));
    }
    let mut terminal = Terminal::new(TestBackend::new(COLUMNS, LINES)).expect("a terminal");
    let drawn = terminal
        .draw(|frame| screen::draw(frame, &view))
        .expect("drawn");
    check("top.svg", &svg_of(drawn.buffer));
}
