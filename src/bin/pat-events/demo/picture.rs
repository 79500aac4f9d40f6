//! The picture of a run, of made-up figures: how it was told while it ran, and what it came to.

use ratatui::buffer::Buffer;

use super::progress::Look;
use super::report;
use crate::picture::{check, svg_of};

#[tokio::test(start_paused = true)]
async fn the_picture_of_a_run_is_what_it_prints() {
    let look = Look::made_up;
    let told = look(400, 191_000, 131_000, 158_400).after(&look(200, 95_700, 58_000, 81_000));
    let bar = format!("{}{}", "█".repeat(17), "░".repeat(9));
    let text = format!(
        "\n$ pat-events demo\nfull speed     {bar} 131,000/200,000  {told}  0s\n\n{}",
        report::made_up()
    );
    let lines = text.lines().chain([""]).map(|line| format!(" {line} "));
    let lines: Vec<String> = lines.collect();
    check("demo.svg", &svg_of(&Buffer::with_lines(lines)));
}
