//! Failures that are known and not mended yet. A case that is listed does not fail the suite; one that is listed and passes must be taken
//! off, which the suite says.

/// Cases (with `*` for anything) and the kind of violation.
pub const KNOWN: &[(&str, &str)] = &[];
