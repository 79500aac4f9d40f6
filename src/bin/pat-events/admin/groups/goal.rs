//! Which offset a group is to go on at. In: what was asked for, where the group goes on now, where the log begins and ends. Out: an offset of the log,
//! and what is to be said of it.

use pat_events::kafka::admin::OffsetSpec;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    Earliest,
    Latest,
    /// Where it is, within the log; at the end where it is nowhere.
    Current,
    Offset(i64),
    /// That many further, or back.
    Shift(i64),
    /// At the first record of this time (milliseconds since 1970) or later.
    Time(i64),
}

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Where the group goes on now.
    pub current: Option<i64>,
    pub begin: i64,
    pub end: i64,
    /// What stands at the time that was asked for.
    pub at_time: Option<i64>,
}

/// Where a group is to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Aim {
    pub offset: i64,
    /// Why it is another offset than was asked for.
    pub note: Option<String>,
}

impl Goal {
    /// What leaders are to be asked beside the ends of their logs.
    pub fn looks_for(self) -> Option<OffsetSpec> {
        match self {
            Goal::Time(ms) => Some(OffsetSpec::Timestamp(ms)),
            _ => None,
        }
    }

    /// The offset that is meant. Fails where there is none.
    pub fn aim(self, known: Known) -> Result<Aim, String> {
        let at = |offset| Aim { offset, note: None };
        let within = |offset: i64| {
            let inside = offset.clamp(known.begin, known.end.max(known.begin));
            let note = (inside != offset).then(|| {
                format!(
                    "{offset} is outside of the log: {} to {}",
                    known.begin, known.end
                )
            });
            Aim {
                offset: inside,
                note,
            }
        };
        Ok(match self {
            Goal::Earliest => at(known.begin),
            Goal::Latest => at(known.end),
            Goal::Offset(offset) => within(offset),
            Goal::Current => match known.current {
                Some(current) => within(current),
                None => Aim {
                    offset: known.end,
                    note: Some("it has committed nothing: the end".to_owned()),
                },
            },
            Goal::Shift(by) => match known.current {
                Some(current) => within(current.saturating_add(by)),
                None => return Err("it has committed nothing that could be shifted".to_owned()),
            },
            Goal::Time(_) => match known.at_time {
                Some(offset) => at(offset),
                None => Aim {
                    offset: known.end,
                    note: Some("nothing is as late as that: the end".to_owned()),
                },
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(current: Option<i64>) -> Known {
        Known {
            current,
            begin: 10,
            end: 100,
            at_time: None,
        }
    }

    fn offset(goal: Goal, known: Known) -> (i64, bool) {
        let aim = goal.aim(known).expect("an offset");
        (aim.offset, aim.note.is_some())
    }

    #[test]
    fn a_goal_within_the_log_is_reached_as_it_was_asked_for() {
        let it = known(Some(50));
        assert_eq!(offset(Goal::Earliest, it), (10, false));
        assert_eq!(offset(Goal::Latest, it), (100, false));
        assert_eq!(offset(Goal::Current, it), (50, false));
        assert_eq!(offset(Goal::Offset(70), it), (70, false));
        assert_eq!(offset(Goal::Shift(-5), it), (45, false));
        let found = Known {
            at_time: Some(33),
            ..it
        };
        assert_eq!(offset(Goal::Time(1), found), (33, false));
    }

    #[test]
    fn what_lies_outside_of_the_log_is_brought_inside_and_said() {
        assert_eq!(offset(Goal::Offset(7), known(None)), (10, true));
        assert_eq!(offset(Goal::Offset(101), known(None)), (100, true));
        assert_eq!(offset(Goal::Shift(i64::MAX), known(Some(50))), (100, true));
        assert_eq!(offset(Goal::Shift(i64::MIN), known(Some(50))), (10, true));
        assert_eq!(offset(Goal::Current, known(Some(3))), (10, true));
        assert_eq!(offset(Goal::Time(1), known(Some(50))), (100, true));
    }

    #[test]
    fn what_was_never_committed_cannot_be_shifted() {
        assert!(Goal::Shift(1).aim(known(None)).is_err());
        assert_eq!(offset(Goal::Current, known(None)), (100, true));
    }
}
