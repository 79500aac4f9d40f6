//! The pictures of the README, drawn by the program itself: the screen's cells, and the plots of a page, both of made-up figures, as SVG.
//!
//! A change of what is drawn fails here. When it is meant: `RENEW=1 cargo test -p pat-events-cli --bin pat-events picture`, look at the pictures,
//! and commit them with it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use pat_events::kafka::{Latency, TopicPartition};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use tokio::time::Instant;

use super::sample::Sample;
use super::screen;
use super::view::View;
use crate::bench::escaped;

const COLUMNS: u16 = 120;
const LINES: u16 = 32;
/// The size of a character, in pixels.
const WIDTH: f64 = 8.0;
const HEIGHT: f64 = 17.0;

/// Holds that the picture of this name is `drawn`, or writes it.
pub fn check(name: &str, drawn: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples/screenshots");
    let path = folder.join(name);
    if std::env::var_os("RENEW").is_some() {
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(&path, drawn).expect("written");
    }
    let kept = std::fs::read_to_string(&path).expect("a picture");
    // Not assert_eq: it would print both.
    assert!(kept == drawn, "{name} is not what is drawn now: see above");
}

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

/// A terminal's cells as a picture: runs of characters of one style, and blocks as what they are.
fn svg_of(buffer: &Buffer) -> String {
    let (width, height) = (
        f64::from(buffer.area.width) * WIDTH,
        f64::from(buffer.area.height) * HEIGHT,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" \
         font-size=\"13.2\" xml:space=\"preserve\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#0d1117\"/>\n"
    );
    for (line, cells) in buffer
        .content
        .chunks(usize::from(buffer.area.width))
        .enumerate()
    {
        let top = line as f64 * HEIGHT;
        let mut column = 0;
        for run in cells.chunk_by(|one, other| {
            style_of(one) == style_of(other) && eighths(one).is_some() == eighths(other).is_some()
        }) {
            let left = column as f64 * WIDTH;
            let (fore, back, is_bold) = style_of(&run[0]);
            let wide = run.len() as f64 * WIDTH;
            if back != BACKGROUND {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{HEIGHT}\" fill=\"{back}\"/>"
                );
            }
            let text: String = run.iter().map(Cell::symbol).collect();
            match eighths(&run[0]) {
                Some(_) => {
                    for (place, cell) in run.iter().enumerate() {
                        let high = HEIGHT * f64::from(eighths(cell).unwrap_or(0)) / 8.0;
                        let (x, y) = (left + place as f64 * WIDTH, top + HEIGHT - high);
                        let _ = writeln!(
                            svg,
                            "<rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{high}\" fill=\"{fore}\"/>"
                        );
                    }
                }
                None if text.trim().is_empty() => {}
                None => {
                    let bold = if is_bold { " font-weight=\"bold\"" } else { "" };
                    let (begin, text) = (text.len() - text.trim_start().len(), text.trim());
                    let (x, y) = (left + begin as f64 * WIDTH, top + HEIGHT * 0.75);
                    let long = text.chars().count() as f64 * WIDTH;
                    let _ = writeln!(
                        svg,
                        "<text x=\"{x}\" y=\"{y}\" textLength=\"{long}\" fill=\"{fore}\"{bold}>{}</text>",
                        escaped(text)
                    );
                }
            }
            column += run.len();
        }
    }
    svg + "</svg>\n"
}

const BACKGROUND: &str = "#0d1117";

fn style_of(cell: &Cell) -> (&'static str, &'static str, bool) {
    let of = |colour, otherwise| match colour {
        Color::Red => "#ff7b72",
        Color::Green => "#56d364",
        Color::Cyan => "#39c5cf",
        _ => otherwise,
    };
    let (fore, back) = (of(cell.fg, "#c9d1d9"), of(cell.bg, BACKGROUND));
    let is_bold = cell.modifier.contains(Modifier::BOLD);
    match cell.modifier.contains(Modifier::REVERSED) {
        true => (back, fore, is_bold),
        false => (fore, back, is_bold),
    }
}

/// How many eighths of the cell are full, where it is a block of a curve or a bar.
fn eighths(cell: &Cell) -> Option<u8> {
    let mut blocks = "▁▂▃▄▅▆▇█".chars();
    let block = blocks.position(|block| cell.symbol().starts_with(block))?;
    Some(block as u8 + 1)
}
