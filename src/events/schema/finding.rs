//! What is found: rules, findings, modes, the report.

use std::fmt;

/// Who has to be able to read whose records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Readers with the new schema read records of the old one: for topics whose consumers are deployed first.
    Backward,
    /// Readers with the old schema read records of the new one: for topics whose producers are deployed first.
    Forward,
    /// Both.
    Full,
}

/// One difference between two schemas.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// The rule, in upper snake case: `FIELD_REMOVED`.
    pub rule: &'static str,
    /// Where: the message and the field, the enum and the value, or the path within the schema.
    pub place: String,
    /// What is different, and what comes of it.
    pub what: String,
    /// What to do instead; empty where nothing is wrong.
    pub fix: String,
    /// Whether readers with the new schema misread records of the old one, or lose what is in them.
    pub breaks_backward: bool,
    /// Whether readers with the old schema misread records of the new one, or lose what is in them.
    pub breaks_forward: bool,
}

impl Finding {
    /// Whether the difference breaks what `mode` asks for.
    pub fn breaks(&self, mode: Mode) -> bool {
        match mode {
            Mode::Backward => self.breaks_backward,
            Mode::Forward => self.breaks_forward,
            Mode::Full => self.breaks_backward || self.breaks_forward,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let breaks = match (self.breaks_backward, self.breaks_forward) {
            (true, true) => "breaks both ways",
            (true, false) => "breaks backward",
            (false, true) => "breaks forward",
            (false, false) => "compatible",
        };
        let Finding {
            rule, place, what, ..
        } = self;
        write!(f, "{place}: {what} [{rule}, {breaks}]")?;
        match self.fix.is_empty() {
            true => Ok(()),
            false => write!(f, "\n    {}", self.fix),
        }
    }
}

/// All differences between two schemas, by place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The differences, those included that break nothing.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing breaks what `mode` asks for.
    pub fn is_compatible(&self, mode: Mode) -> bool {
        self.breaking(mode).next().is_none()
    }

    /// What breaks `mode`.
    pub fn breaking(&self, mode: Mode) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(move |it| it.breaks(mode))
    }
}

/// Which directions a rule breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breaks {
    pub(super) backward: bool,
    pub(super) forward: bool,
}

pub(super) const NOTHING: Breaks = Breaks {
    backward: false,
    forward: false,
};
pub(super) const BACKWARD: Breaks = Breaks {
    backward: true,
    forward: false,
};
pub(super) const FORWARD: Breaks = Breaks {
    backward: false,
    forward: true,
};
pub(super) const BOTH: Breaks = Breaks {
    backward: true,
    forward: true,
};

/// Collects findings.
#[derive(Debug, Default)]
pub(super) struct Findings(pub(super) Vec<Finding>);

/// What breaks readers of old data, and what breaks old readers, from the same question asked both ways: each found as
/// [breaking backward](BACKWARD). The same rule at the same place is one finding that breaks both.
pub(super) fn both_ways(backward: Vec<Finding>, forward: Vec<Finding>) -> Vec<Finding> {
    let mut findings = backward;
    for finding in forward {
        let same = findings
            .iter_mut()
            .find(|it| it.rule == finding.rule && it.place == finding.place);
        match same {
            Some(same) => same.breaks_forward = true,
            None => findings.push(Finding {
                breaks_backward: false,
                breaks_forward: true,
                ..finding
            }),
        }
    }
    findings
}

impl Findings {
    pub(super) fn add(
        &mut self,
        rule: &'static str,
        breaks: Breaks,
        place: impl Into<String>,
        what: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.0.push(Finding {
            rule,
            place: place.into(),
            what: what.into(),
            fix: fix.into(),
            breaks_backward: breaks.backward,
            breaks_forward: breaks.forward,
        });
    }
}
