//! A page of HTML about the runs, with everything it needs in it: plots as SVG, figures as a table. In: what was measured. Out: the page.

use std::fmt::Write;

use super::measure::{Measured, percentile};

/// The size of a plot, in pixels, and how much of it is left and below for the axes.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const BELOW: f64 = 40.0;
const ABOVE: f64 = 30.0;
/// Half of the longest name of a mark stands there.
const RIGHT: f64 = 34.0;

/// By day.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1340px;margin:2em auto;padding:0 1em;color:#1b1f24;background:#fff}\
table{border-collapse:collapse;margin:1em 0}td,th{padding:.25em .9em;text-align:right;border-bottom:1px solid #d0d7de}\
td:first-child,th:first-child{text-align:left}svg{margin:.5em 1em .5em 0}svg text{font:12px system-ui,sans-serif;fill:#424a53}\
svg .title{font-size:14px;fill:#1b1f24}svg .grid{stroke:#d8dee4}svg .line{fill:none;stroke:#0969da;stroke-width:1.8}svg .bar{fill:#0969da}";
/// And by night.
const DARK: &str = "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}td,th{border-color:#30363d}svg text{fill:#9198a1}svg .title{fill:#e6edf3}\
svg .grid{stroke:#21262d}svg .line{stroke:#4493f8}svg .bar{fill:#4493f8}}";

/// The page.
pub fn page(place: &str, settings: &str, runs: &[Measured]) -> String {
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>pat-events bench</title>\n<style>{STYLE}{DARK}</style>\n</head>\n\
         <body>\n<h1>pat-events {} bench</h1>\n<p>On {}, {}.</p>\n",
        env!("CARGO_PKG_VERSION"),
        escaped(place),
        escaped(settings),
    );
    page.push_str(&table(runs));
    for run in runs {
        // Writing to a string does not fail.
        let _ = writeln!(page, "<h2>{}</h2>", escaped(run.mode));
        let rates = rates(&run.done.timeline);
        if rates.len() > 1 {
            let seconds = rates.iter().map(|(second, _)| *second);
            let longest = seconds.fold(0.0, f64::max);
            let marks = marks(longest).into_iter().filter(|it| *it <= longest);
            let marks = marks.map(|it| (it, short(it)));
            let plot = Plot::new("Records a second", "seconds", (0.0, longest), marks);
            page.push_str(&plot.line(&rates));
        }
        let latencies = &run.done.latencies_ns;
        if rates.len() <= 1 && latencies.len() <= 1 {
            page.push_str("<p>Over before there was anything to plot.</p>\n");
        }
        if latencies.len() > 1 {
            // Each nine takes up as much room: 90 %, 99 %, 99.9 % …
            let most = (latencies.len() as f64).log10().clamp(1.0, 6.0);
            let names = [
                "0",
                "90 %",
                "99 %",
                "99.9 %",
                "99.99 %",
                "99.999 %",
                "99.9999 %",
            ];
            let marks = (0..=most as usize).map(|nines| (nines as f64, names[nines].to_owned()));
            let plot = Plot::new(
                "Latency by percentile, µs",
                "percentile",
                (0.0, most),
                marks,
            );
            page.push_str(&plot.line(&percentiles(latencies, most)));
            page.push_str(&histogram(latencies));
        }
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn table(runs: &[Measured]) -> String {
    let cells = |tag: &str, cells: &[String]| {
        let cells = cells
            .iter()
            .map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell)));
        format!("<tr>{}</tr>\n", cells.collect::<String>())
    };
    let titles = Measured::titles().map(str::to_owned);
    let rows = runs.iter().map(|run| cells("td", &run.cells()));
    format!(
        "<table>\n{}{}</table>\n",
        cells("th", &titles),
        rows.collect::<String>()
    )
}

/// Records a second between each two moments of a timeline: (when, how many).
fn rates(timeline: &[(f64, u64)]) -> Vec<(f64, f64)> {
    let steps = timeline.windows(2);
    let steps = steps.filter(|step| step[1].0 > step[0].0);
    let rate = |step: &[(f64, u64)]| {
        let records = step[1].1.saturating_sub(step[0].1) as f64;
        (step[1].0, records / (step[1].0 - step[0].0))
    };
    steps.map(rate).collect()
}

/// Points of the curve of percentiles, by how many nines each has, up to `most`; microseconds.
fn percentiles(sorted_ns: &[u64], most: f64) -> Vec<(f64, f64)> {
    const POINTS: u32 = 200;
    let point = |number: u32| {
        let nines = most * f64::from(number) / f64::from(POINTS);
        let part = 1.0 - 10f64.powf(-nines);
        (nines, percentile(sorted_ns, part) as f64 / 1e3)
    };
    (0..=POINTS).map(point).collect()
}

/// How many latencies there were of each size, on a logarithmic scale.
fn histogram(sorted_ns: &[u64]) -> String {
    const BARS: usize = 48;
    let of = |part| (percentile(sorted_ns, part).max(1) as f64 / 1e3).log10();
    // A few that took very long would press all others into one bar.
    let (least, most) = (of(0.0), of(0.9999).max(of(0.0) + 0.1));
    let mut counts = [0u64; BARS];
    for ns in sorted_ns {
        let place = ((*ns).max(1) as f64 / 1e3).log10();
        let bar = (place - least) / (most - least) * BARS as f64;
        counts[(bar.max(0.0) as usize).min(BARS - 1)] += 1;
    }
    let powers = (least.floor() as i32..=most.ceil() as i32).map(f64::from);
    let inside = powers.filter(|power| (least..=most).contains(power));
    let marks = inside.map(|power| (power, short(10f64.powf(power))));
    let plot = Plot::new("How often which latency", "µs", (least, most), marks);
    let step = (most - least) / BARS as f64;
    let bars = counts.iter().enumerate();
    let bars = bars.map(|(bar, count)| (least + step * bar as f64, *count as f64));
    plot.bars(&bars.collect::<Vec<_>>(), step)
}

/// A plot with its axis below; the one at the left follows from the values.
struct Plot {
    title: &'static str,
    below: &'static str,
    range: (f64, f64),
    marks: Vec<(f64, String)>,
}

impl Plot {
    fn new(
        title: &'static str,
        below: &'static str,
        range: (f64, f64),
        marks: impl Iterator<Item = (f64, String)>,
    ) -> Self {
        Self {
            title,
            below,
            range,
            marks: marks.collect(),
        }
    }

    fn x(&self, value: f64) -> f64 {
        let (from, to) = self.range;
        LEFT + (value - from) / (to - from).max(1e-9) * (WIDTH - LEFT - RIGHT)
    }

    fn line(&self, points: &[(f64, f64)]) -> String {
        self.draw(points, |y| {
            let points = points.iter();
            let points = points.map(|(at, value)| format!("{:.1},{:.1}", self.x(*at), y(*value)));
            let points = points.collect::<Vec<_>>().join(" ");
            format!("<polyline class=\"line\" points=\"{points}\"/>")
        })
    }

    fn bars(&self, bars: &[(f64, f64)], step: f64) -> String {
        let width = (self.x(self.range.0 + step) - self.x(self.range.0) - 1.0).max(0.5);
        self.draw(bars, |y| {
            let bars = bars.iter().filter(|(_, value)| *value > 0.0);
            let bars = bars.map(|(at, value)| {
                let (x, top) = (self.x(*at), y(*value));
                let height = y(0.0) - top;
                format!(
                    "<rect class=\"bar\" x=\"{x:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"/>"
                )
            });
            bars.collect()
        })
    }

    fn draw(&self, points: &[(f64, f64)], shape: impl Fn(&dyn Fn(f64) -> f64) -> String) -> String {
        let values = points.iter().map(|(_, value)| *value);
        let marks = marks(values.fold(0.0, f64::max));
        let highest = marks.last().copied().unwrap_or(1.0).max(1e-9);
        let room = HEIGHT - ABOVE - BELOW;
        let y = |value: f64| HEIGHT - BELOW - value / highest * room;
        let mut svg = format!(
            "<svg role=\"img\" aria-label=\"{0}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\">\
             <text class=\"title\" x=\"{LEFT}\" y=\"18\">{0}</text>",
            self.title
        );
        let right = WIDTH - RIGHT;
        for mark in marks {
            let (at, name) = (y(mark), short(mark));
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
                LEFT - 6.0,
                at + 4.0,
            );
        }
        let (top, bottom) = (ABOVE, HEIGHT - BELOW);
        for (value, name) in &self.marks {
            let at = self.x(*value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                escaped(name),
            );
        }
        let (middle, below) = ((LEFT + right) / 2.0, HEIGHT - 6.0);
        let _ = writeln!(
            svg,
            "{}<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text></svg>",
            shape(&y),
            self.below,
        );
        svg
    }
}

/// Round numbers from 0 to one that is not below `highest`; to 1 where nothing is above 0.
fn marks(highest: f64) -> Vec<f64> {
    let highest = if highest > 0.0 { highest } else { 1.0 };
    let rough = (highest / 5.0).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let step = steps
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let count = (highest / step).ceil().max(1.0) as u32;
    (0..=count).map(|number| f64::from(number) * step).collect()
}

/// A number as it stands on an axis: `1.5M`.
fn short(number: f64) -> String {
    let (number, unit) = match number.abs() {
        1e9.. => (number / 1e9, "G"),
        1e6.. => (number / 1e6, "M"),
        1e3.. => (number / 1e3, "k"),
        _ => (number, ""),
    };
    let text = format!("{number:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}{unit}")
}

pub fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::{Done, Window};

    fn run(mode: &'static str, latencies_ns: Vec<u64>) -> Measured {
        let done = Done {
            records: 1_000,
            bytes: 100_000,
            timeline: (0u32..20)
                .map(|at| (f64::from(at) / 10.0, u64::from(at) * 50))
                .collect(),
            latencies_ns,
            ..Done::default()
        };
        let window = Window::start().expect("a clock");
        window.end(mode, "zstd", done).expect("measured")
    }

    /// The elements of a page are closed in the order in which they are opened, and it needs nothing from elsewhere.
    fn check(page: &str) {
        let body = page.strip_prefix("<!doctype html>").expect("HTML");
        let mut open = Vec::new();
        for part in body.split('<').skip(1) {
            let (tag, _) = part.split_once('>').expect("a tag ends");
            let name = tag.split([' ', '/']).next().expect("a name");
            if let Some(closed) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(closed), "{part}");
            } else if name != "meta" && !tag.ends_with('/') {
                open.push(name);
            }
            assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        }
        assert_eq!(open, Vec::<&str>::new());
        for from_elsewhere in ["http", "src=", "href=", "url(", "@import", "NaN", "inf"] {
            assert!(!page.contains(from_elsewhere), "{from_elsewhere}");
        }
    }

    #[test]
    fn the_page_shows_each_run_and_needs_nothing_else() {
        let latencies = (1..=5_000).map(|number| number * number).collect();
        let runs = [run("produce", Vec::new()), run("latency", latencies)];
        let page = page("a <broker> & more", "3 partitions", &runs);
        check(&page);
        assert!(page.contains("a &lt;broker&gt; &amp; more, 3 partitions"));
        assert_eq!(
            page.matches("<svg").count(),
            4,
            "two rates, two of latencies"
        );
        assert!(page.contains("99.9 %") && page.contains("<td>produce</td>"));
    }

    /// Figures of a run, made up: rates that vary, and latencies of which a few are long.
    fn made_up() -> [Measured; 2] {
        let rates = (0u32..100).scan(0u64, |sum, at| {
            let wave = (f64::from(at) / 7.0).sin() + (f64::from(at) / 2.3).sin() / 3.0;
            let begin = f64::from(at.min(6)) / 6.0;
            *sum += ((820_000.0 + 60_000.0 * wave) * begin * 0.05) as u64;
            Some((f64::from(at) * 0.05, *sum))
        });
        let latency = |number: u32| {
            let part = f64::from(number) / 20_000.0;
            let tail = (1.0 - part).max(5e-5).powf(-0.55);
            ((280_000.0 + 450_000.0 * part) * tail) as u64
        };
        let mut produce = run("produce", Vec::new());
        produce.done.timeline = rates.collect();
        let mut latencies: Vec<u64> = (0..20_000).map(latency).collect();
        latencies.sort_unstable();
        [produce, run("latency", latencies)]
    }

    #[test]
    fn the_picture_of_a_page_has_its_plots() {
        let page = page("made up", "to be looked at", &made_up());
        let plots = page
            .split("<svg ")
            .skip(1)
            .filter_map(|rest| rest.split_once("</svg>"));
        let (mut picture, mut count) = (String::new(), 0);
        for (place, (plot, _)) in plots.enumerate() {
            let (x, y) = (place % 2 * 660, place / 2 * 270);
            let _ = writeln!(picture, "<svg x=\"{x}\" y=\"{y}\" {plot}</svg>");
            count += 1;
        }
        assert_eq!(count, 4);
        let picture = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 1310 540\">\n<style>{STYLE}</style>\n\
             <rect width=\"1310\" height=\"540\" fill=\"#fff\"/>\n{picture}</svg>\n"
        );
        crate::picture::check("report.svg", &picture);
    }

    #[test]
    fn runs_without_figures_have_a_table_and_no_plots() {
        let empty = Window::start().expect("a clock");
        let empty = empty
            .end("consume", "none", Done::default())
            .expect("measured");
        let page = page("here", "nothing", &[empty, run("pingpong", vec![7; 9])]);
        check(&page);
    }

    #[test]
    fn marks_are_round_and_reach_beyond_the_values() {
        assert_eq!(marks(9.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(marks(0.0).last(), Some(&1.0));
        for highest in [1e-3, 0.7, 3.0, 123.0, 1.7e6] {
            let marks = marks(highest);
            assert!(marks[marks.len() - 1] >= highest && (2..=7).contains(&marks.len()));
        }
        assert_eq!(
            [short(1_500_000.0), short(20.0), short(0.25)],
            ["1.5M", "20", "0.25"]
        );
    }

    #[test]
    fn rates_are_of_the_time_between_two_moments() {
        assert_eq!(
            rates(&[(0.0, 0), (0.5, 50), (0.5, 60), (1.0, 110)]),
            [(0.5, 100.0), (1.0, 100.0)]
        );
    }
}
