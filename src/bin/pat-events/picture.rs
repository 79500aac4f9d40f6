//! The pictures of the README, drawn by the program itself: the cells of screens, and the plots of a page, of made-up figures, as SVG.
//!
//! A change of what is drawn fails here. When it is meant: `RENEW=1 cargo test -p pat-events-cli --bin pat-events picture`, look at the pictures,
//! and commit them with it.

use std::fmt::Write;
use std::path::Path;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use crate::bench::escaped;

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

/// A terminal's cells as a picture: runs of characters of one style, and blocks as what they are.
pub fn svg_of(buffer: &Buffer) -> String {
    let (width, height) = (
        f64::from(buffer.area.width) * WIDTH,
        f64::from(buffer.area.height) * HEIGHT,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace\" \
         font-size=\"13.2\" shape-rendering=\"crispEdges\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"#0d1117\"/>\n"
    );
    for (line, cells) in buffer
        .content
        .chunks(usize::from(buffer.area.width))
        .enumerate()
    {
        let top = line as f64 * HEIGHT;
        let mut column = 0;
        for run in cells.chunk_by(|one, other| style_of(one) == style_of(other)) {
            let left = column as f64 * WIDTH;
            let (fore, back, is_bold) = style_of(&run[0]);
            let wide = run.len() as f64 * WIDTH;
            if back != BACKGROUND {
                let _ = writeln!(
                    svg,
                    "<rect x=\"{left}\" y=\"{top}\" width=\"{wide}\" height=\"{HEIGHT}\" fill=\"{back}\"/>"
                );
            }
            let mut x = left;
            for same in run.chunk_by(|one, other| one == other && one.symbol() != "│") {
                let wide = same.len() as f64 * WIDTH;
                if let Some(eighths) = eighths(&same[0]) {
                    let high = HEIGHT * f64::from(eighths) / 8.0;
                    let y = top + HEIGHT - high;
                    let _ = writeln!(
                        svg,
                        "<rect x=\"{x}\" y=\"{y}\" width=\"{wide}\" height=\"{high}\" fill=\"{fore}\"/>"
                    );
                } else if let Some(lines) = lines(&same[0], x, top, wide) {
                    let _ = writeln!(svg, "<path d=\"{lines}\" stroke=\"{fore}\"/>");
                }
                x += wide;
            }
            let bold = if is_bold { " font-weight=\"bold\"" } else { "" };
            // Word by word: not every viewer keeps the spaces between them.
            let is_drawn =
                |cell: &Cell| eighths(cell).is_some() || lines(cell, 0.0, 0.0, 0.0).is_some();
            let is_word = |cell: &Cell| !is_drawn(cell) && !cell.symbol().trim().is_empty();
            let mut place = 0;
            for word in run.chunk_by(|one, other| is_word(one) == is_word(other)) {
                if is_word(&word[0]) {
                    let text: String = word.iter().map(Cell::symbol).collect();
                    let (x, y) = (left + place as f64 * WIDTH, top + HEIGHT * 0.75);
                    let long = word.len() as f64 * WIDTH;
                    let _ = writeln!(
                        svg,
                        "<text x=\"{x}\" y=\"{y}\" textLength=\"{long}\" fill=\"{fore}\"{bold}>{}</text>",
                        escaped(&text)
                    );
                }
                place += word.len();
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
        Color::Black => BACKGROUND,
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

/// The lines of a cell of a frame, from its middle to its sides; of several alike beside each other, `wide` in all.
fn lines(cell: &Cell, x: f64, y: f64, wide: f64) -> Option<String> {
    let [up, right, down, left] = match cell.symbol() {
        "│" => [true, false, true, false],
        "─" => [false, true, false, true],
        "┌" => [false, true, true, false],
        "┐" => [false, false, true, true],
        "└" => [true, true, false, false],
        "┘" => [true, false, false, true],
        _ => return None,
    };
    let (middle_x, middle_y) = (x + WIDTH / 2.0, y + HEIGHT / 2.0);
    let ends = [
        (up, middle_x, y),
        (right, x + wide, middle_y),
        (down, middle_x, y + HEIGHT),
        (left, x, middle_y),
    ];
    let drawn = ends.into_iter().filter(|(is_drawn, ..)| *is_drawn);
    let drawn = drawn.map(|(_, to_x, to_y)| format!("M{middle_x} {middle_y}L{to_x} {to_y}"));
    Some(drawn.collect())
}
