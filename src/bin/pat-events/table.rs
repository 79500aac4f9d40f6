//! A table for people. In: titles, and lines of cells. Out: text, each column as wide as its widest cell, numbers at the right.

use std::fmt;

/// What stands between columns.
const BETWEEN: &str = "  ";

#[derive(Debug)]
pub struct Table {
    titles: Vec<String>,
    lines: Vec<Vec<String>>,
}

impl Table {
    pub fn new(titles: &[&str]) -> Table {
        Table {
            titles: titles.iter().map(|title| title.to_string()).collect(),
            lines: Vec::new(),
        }
    }

    /// Adds a line: a cell for each title.
    pub fn line(&mut self, cells: Vec<String>) {
        self.lines
            .push(cells.iter().map(|cell| printable(cell)).collect());
    }

    fn widths(&self) -> Vec<usize> {
        let width = |at: usize| {
            let lines = self.lines.iter().chain([&self.titles]);
            let cells = lines.filter_map(|line| line.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..self.titles.len()).map(width).collect()
    }

    /// Whether nothing but numbers, and what stands for none, is in a column.
    fn is_of_numbers(&self, at: usize) -> bool {
        let mut cells = self.lines.iter().filter_map(|line| line.get(at));
        cells.all(|cell| cell == "-" || is_number(cell))
    }
}

/// Nothing without lines.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.lines.is_empty() || self.titles.is_empty() {
            return Ok(());
        }
        let widths = self.widths();
        let at_right: Vec<bool> = (0..widths.len()).map(|at| self.is_of_numbers(at)).collect();
        for line in [&self.titles].into_iter().chain(&self.lines) {
            let cells = line.iter().zip(&widths).zip(&at_right);
            let cells = cells.map(|((cell, width), at_right)| match at_right {
                true => format!("{cell:>width$}"),
                false => format!("{cell:<width$}"),
            });
            let text = cells.collect::<Vec<_>>().join(BETWEEN);
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_part = |character: char| character.is_ascii_digit() || matches!(character, ',' | '.');
    digits.starts_with(|first: char| first.is_ascii_digit()) && digits.chars().all(is_part)
}

/// A number as people read it: 1,234,567.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// What brokers say may be anything: no sign that steers a terminal comes through.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_numbers_at_the_right() {
        let mut table = Table::new(&["TOPIC", "LAG", "LEADERS"]);
        for line in [["a", "7", "1"], ["longer", "1,000", "2,3"], ["é", "-", "x"]] {
            table.line(line.map(str::to_owned).to_vec());
        }
        let expected = "\
TOPIC     LAG  LEADERS
a           7  1
longer  1,000  2,3
é           -  x
";
        assert_eq!(table.to_string(), expected);
    }

    #[test]
    fn nothing_is_no_table() {
        assert_eq!(Table::new(&["TOPIC"]).to_string(), "");
    }

    #[test]
    fn digits_stand_in_groups_of_three() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (123_456, "123,456"),
            (u64::MAX, "18,446,744,073,709,551,615"),
        ] {
            assert_eq!(grouped(number), shown);
        }
    }

    #[test]
    fn what_steers_a_terminal_is_escaped() {
        assert_eq!(printable("a\x1b[31m\n"), "a\\u{1b}[31m\\n");
    }
}
