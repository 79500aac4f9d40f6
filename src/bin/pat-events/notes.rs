//! What a command says beside its output, on the standard error; nothing where -q asks for that.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};

static IS_QUIET: AtomicBool = AtomicBool::new(false);

const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// From now on, nothing is noted.
pub fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// Says something that is no failure.
pub fn note(text: impl Display) {
    if !IS_QUIET.load(Ordering::Relaxed) {
        eprintln!("{text}");
    }
}

/// Says why the command failed.
pub fn tell_failure(text: impl Display) {
    match has_colours(&io::stderr()) {
        true => eprintln!("{RED}error:{PLAIN} {text}"),
        false => eprintln!("error: {text}"),
    }
}

/// Whether colours are wanted there: on a terminal, unless the environment says otherwise (`NO_COLOR`).
pub fn has_colours(out: &impl IsTerminal) -> bool {
    out.is_terminal()
        && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty())
        && env::var_os("TERM").is_none_or(|it| it != "dumb")
}
