//! The screen: rates at the left, lags at the right, latencies and errors below.

use pat_events::kafka::Latency;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::Line;
use ratatui::widgets::{Bar, BarChart, BarGroup, Block, Paragraph, Row, Sparkline, Table, Wrap};

use super::view::View;
use crate::table::grouped;

/// More messages than this behind is shown as worth a look.
const NOTICEABLE: i64 = 1_000;

pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let [head, middle, below] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(8),
        Constraint::Length(12),
    ])
    .areas(frame.area());
    let halves = Layout::horizontal([Constraint::Percentage(42), Constraint::Percentage(58)]);
    let [left, right] = halves.areas(middle);
    let [topics_at, curve_at] =
        Layout::vertical([Constraint::Min(4), Constraint::Length(7)]).areas(left);
    // The bars need the room.
    let [latencies_at, errors_at] =
        Layout::horizontal([Constraint::Percentage(50); 2]).areas(below);
    title(frame, head, view);
    topics(frame, topics_at, view);
    curve(frame, curve_at, view);
    groups(frame, right, view);
    latencies(frame, latencies_at, view);
    errors(frame, errors_at, view);
}

fn title(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let partitions: usize = view.topics.iter().map(|topic| topic.partitions).sum();
    let text = format!(
        " pat-events top   {} brokers   {} topics   {partitions} partitions   q: quit",
        view.brokers,
        view.topics.len(),
    );
    frame.render_widget(Line::from(text).reversed(), area);
}

fn topics(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.topics.iter().map(|topic| {
        Row::new([
            topic.name.clone(),
            format!("{:>5}", topic.partitions),
            format!("{:>10}", rate(topic.rate)),
            format!("{:>14}", grouped(topic.records.max(0) as u64)),
        ])
    });
    let widths = [
        Constraint::Min(12),
        Constraint::Length(5),
        Constraint::Length(10),
        Constraint::Length(14),
    ];
    let titles = ["topic", "parts", " records/s", "    end offset"];
    let table = Table::new(rows, widths)
        .header(Row::new(titles).bold())
        .block(Block::bordered().title(" rates "));
    frame.render_widget(table, area);
}

fn curve(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let newest = view.rates.back().copied().unwrap_or(0);
    let room = usize::from(area.width.saturating_sub(2));
    let shown = view
        .rates
        .iter()
        .skip(view.rates.len().saturating_sub(room));
    let curve = Sparkline::default()
        .data(shown.copied().collect::<Vec<_>>())
        .style(Style::new().fg(Color::Cyan))
        .block(Block::bordered().title(format!(" all topics: {} records/s ", grouped(newest))));
    frame.render_widget(curve, area);
}

fn groups(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let rows = view.groups.iter().map(|row| {
        let style = match row.lag {
            0 => Style::new().fg(Color::Green),
            NOTICEABLE.. => Style::new().fg(Color::Red),
            _ => Style::new(),
        };
        let until = row.seconds().map_or("-".to_owned(), duration);
        let cells = [
            row.group.clone(),
            row.partition.to_string(),
            format!("{:>12}", grouped(row.lag.max(0) as u64)),
            format!("{:>10}", rate(row.rate)),
            format!("{until:>9}"),
        ];
        Row::new(cells).style(style)
    });
    let widths = [
        Constraint::Min(10),
        Constraint::Min(14),
        Constraint::Length(12),
        Constraint::Length(10),
        Constraint::Length(9),
    ];
    let titles = [
        "group",
        "partition",
        "         lag",
        " records/s",
        "  done in",
    ];
    let table = Table::new(rows, widths)
        .header(Row::new(titles).bold())
        .block(Block::bordered().title(" lag by group and partition "));
    frame.render_widget(table, area);
}

fn latencies(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let names = Latency::BOUNDS.iter().map(|bound| below(*bound));
    let names = names.chain(std::iter::once("more".to_owned()));
    let bars = names.zip(&view.latencies);
    let bars: Vec<_> = bars
        .map(|(name, count)| Bar::default().value(*count).label(Line::from(name)))
        .collect();
    let title = format!(" our requests by milliseconds, mean {:.2} ", view.mean_ms);
    let chart = BarChart::default()
        .data(BarGroup::default().bars(&bars))
        .bar_width(3)
        .bar_gap(1)
        .bar_style(Style::new().fg(Color::Cyan))
        .value_style(Style::new().fg(Color::Black).bg(Color::Cyan))
        .block(Block::bordered().title(title));
    frame.render_widget(chart, area);
}

fn errors(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let leaderless = view.leaderless.iter();
    let leaderless = leaderless.map(|partition| format!("{partition} has no leader"));
    let told = view.errors.iter().map(|(error, times)| match times {
        1 => error.clone(),
        _ => format!("{error} ({times} times)"),
    });
    let lines: Vec<_> = leaderless.chain(told).map(Line::from).collect();
    let (title, style) = match lines.is_empty() {
        true => (" no errors ", Style::new().fg(Color::Green)),
        false => (" errors ", Style::new().fg(Color::Red)),
    };
    let text = Paragraph::new(lines)
        .wrap(Wrap { trim: true })
        .block(Block::bordered().title(title).border_style(style));
    frame.render_widget(text, area);
}

fn rate(rate: Option<f64>) -> String {
    rate.map_or("-".to_owned(), |rate| grouped(rate.round() as u64))
}

/// Milliseconds, in three characters.
fn below(seconds: f64) -> String {
    let text = format!("{}", (seconds * 1e4).round() / 10.0);
    match text.len() {
        ..=3 => text,
        // Seconds from then on.
        _ => format!("{}s", seconds.round()),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..60.0 => format!("{seconds:.0} s"),
        ..3_600.0 => format!("{:.0} min", seconds / 60.0),
        ..360_000.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => "never".to_owned(),
    }
}
