//! Text from elsewhere, made fit to be shown.

/// Text from a broker, fit to be shown: one line, of a length that one reads, without anything that a terminal or a log takes for its own.
pub(crate) fn sanitised(text: &str) -> String {
    const SHOWN: usize = 500;
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    for (place, letter) in text.chars().enumerate() {
        if place == SHOWN {
            shown.push_str(&format!("… ({} bytes)", text.len()));
            break;
        }
        match letter {
            '\n' | '\r' | '\t' => shown.push(' '),
            // Direction marks turn what follows around.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                shown.extend(letter.escape_unicode());
            }
            letter if letter.is_control() => shown.extend(letter.escape_unicode()),
            letter => shown.push(letter),
        }
    }
    shown
}
