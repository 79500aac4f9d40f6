//! By which assignors a member is ready to have partitions assigned.

use std::str::FromStr;

use crate::kafka::config::values::Kind;
use crate::kafka::group::classic::assignor::{
    Assignor, CooperativeSticky, Range, RoundRobin, Sticky,
};
use crate::kafka::{Error, Result};

/// How the leader of a classic group assigns partitions. For the same members and topics each gives what Java's assignor of that name does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AssignmentStrategy {
    /// `range`: of each topic, a run of consecutive partitions; near the member's rack where that is known (KIP-881).
    Range,
    /// `roundrobin`: all partitions of all topics in turn.
    RoundRobin,
    /// `sticky`: members keep what they had as far as that is fair (KIP-54). All is revoked before each rebalance, and most of it comes back.
    Sticky,
    /// `cooperative-sticky`: as `sticky`, and members go on reading what stays theirs while the group rebalances (KIP-429): what goes to
    /// another is revoked first, and assigned in the rebalance after it.
    CooperativeSticky,
}

impl AssignmentStrategy {
    /// The name, as the members of a group agree on it.
    pub fn name(self) -> &'static str {
        self.assignor().name()
    }

    fn assignor(self) -> Box<dyn Assignor> {
        match self {
            Self::Range => Box::new(Range),
            Self::RoundRobin => Box::new(RoundRobin),
            Self::Sticky => Box::new(Sticky),
            Self::CooperativeSticky => Box::new(CooperativeSticky),
        }
    }
}

impl FromStr for AssignmentStrategy {
    type Err = Error;

    /// Reads a name, or the name of Java's class.
    fn from_str(text: &str) -> Result<Self> {
        let name = text.trim();
        let class = name.strip_prefix("org.apache.kafka.clients.consumer.");
        match class.unwrap_or(name) {
            "range" | "RangeAssignor" => Ok(Self::Range),
            "roundrobin" | "RoundRobinAssignor" => Ok(Self::RoundRobin),
            "sticky" | "StickyAssignor" => Ok(Self::Sticky),
            "cooperative-sticky" | "CooperativeStickyAssignor" => Ok(Self::CooperativeSticky),
            _ => Err(AssignmentStrategies::KIND.refusal("partition.assignment.strategy", text)),
        }
    }
}

/// What a member offers its group, the preferred one first; the group takes one that all members offer.
///
/// If all of them are cooperative, so is the member: it keeps its partitions while the group rebalances. A group goes over from one to the
/// other in two rounds of restarts, as with Java: first each member offers `cooperative-sticky` beside what it offered, then alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AssignmentStrategies(Vec<AssignmentStrategy>);

impl AssignmentStrategies {
    /// What `partition.assignment.strategy` takes.
    pub(super) const KIND: Kind<AssignmentStrategies> =
        Kind::any("range, roundrobin, sticky or cooperative-sticky, commas between several");

    /// `first`, then `others`; one that is named again counts once.
    pub fn new(
        first: AssignmentStrategy,
        others: impl IntoIterator<Item = AssignmentStrategy>,
    ) -> Self {
        let mut all = vec![first];
        for other in others {
            if !all.contains(&other) {
                all.push(other);
            }
        }
        Self(all)
    }

    /// The strategies, the preferred one first. Never empty.
    pub fn as_slice(&self) -> &[AssignmentStrategy] {
        &self.0
    }

    pub(crate) fn assignors(&self) -> Vec<Box<dyn Assignor>> {
        self.0.iter().map(|strategy| strategy.assignor()).collect()
    }
}

/// `range`, then `cooperative-sticky`, as Java has it.
impl Default for AssignmentStrategies {
    fn default() -> Self {
        Self::new(
            AssignmentStrategy::Range,
            [AssignmentStrategy::CooperativeSticky],
        )
    }
}

impl From<AssignmentStrategy> for AssignmentStrategies {
    fn from(only: AssignmentStrategy) -> Self {
        Self::new(only, [])
    }
}

impl FromStr for AssignmentStrategies {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all: Vec<AssignmentStrategy> =
            text.split(',').map(str::parse).collect::<Result<_>>()?;
        match all.split_first() {
            Some((first, others)) => Ok(Self::new(*first, others.iter().copied())),
            None => Err(Self::KIND.refusal("partition.assignment.strategy", text)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_javas_classes_are_read() {
        let read = |text: &str| {
            let read: AssignmentStrategies = text.parse().expect("strategies");
            let names = read.as_slice().iter().map(|it| it.name());
            names.collect::<Vec<_>>().join(",")
        };
        assert_eq!(read("sticky, range,sticky"), "sticky,range");
        assert_eq!(
            read("org.apache.kafka.clients.consumer.RoundRobinAssignor,CooperativeStickyAssignor"),
            "roundrobin,cooperative-sticky"
        );
        let error = "range,fair"
            .parse::<AssignmentStrategies>()
            .expect_err("unknown");
        assert!(error.to_string().contains("cooperative-sticky"), "{error}");
        assert!("".parse::<AssignmentStrategies>().is_err());
    }
}
