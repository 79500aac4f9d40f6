//! The schemas of the events, and what changes of schemas break. In: `proto/`, and a table of changes. Out: each case.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `lint` | the rules of `buf lint`, over `proto/` |
//! | `keywords` | no field that is a keyword anywhere |
//! | `baseline` | what `proto/` may become after a release |
//! | `changes` | the table of changes and their verdicts |
//! | `program` | `pat-events schema`; with a registry that does what a test wants of it, `stand_in` |

mod baseline;
mod changes;
mod keywords;
// Rules and their breaches are read best a line each.
#[rustfmt::skip]
mod lint;
mod program;
#[path = "../registry/stand_in.rs"]
#[allow(dead_code)]
mod stand_in;

use libtest_mimic::Arguments;

fn main() {
    let trials = [
        lint::trials(),
        keywords::trials(),
        baseline::trials(),
        changes::trials(),
        program::trials(),
    ];
    let trials = trials.into_iter().flatten().collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
