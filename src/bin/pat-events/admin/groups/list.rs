//! Groups listed. In: states and kinds. Out: a line for each group.

use clap::{Args, ValueEnum};
use pat_events::kafka::Admin;
use pat_events::kafka::admin::{GroupFilter, GroupKind, GroupState};
use serde_json::json;

use crate::Outcome;
use crate::listing::{Form, Listing};

const STATES: [GroupState; 8] = [
    GroupState::Stable,
    GroupState::Empty,
    GroupState::PreparingRebalance,
    GroupState::CompletingRebalance,
    GroupState::Assigning,
    GroupState::Reconciling,
    GroupState::NotReady,
    GroupState::Dead,
];

/// Print all groups that may be seen, of every kind.
#[derive(Args)]
pub struct List {
    /// Only groups in this state, such as Stable or Empty; may be given several times.
    #[arg(short, long = "state", value_name = "STATE", value_parser = state)]
    states: Vec<GroupState>,
    /// Only groups of this kind; may be given several times.
    #[arg(short, long = "kind", visible_alias = "type")]
    kinds: Vec<Kind>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Classic,
    Consumer,
    Share,
    Streams,
}

/// Reads Kafka's name of a state, in whatever case.
fn state(text: &str) -> Result<GroupState, String> {
    let found = STATES
        .iter()
        .find(|it| it.as_str().eq_ignore_ascii_case(text));
    found.cloned().ok_or_else(|| {
        let names: Vec<_> = STATES.iter().map(GroupState::as_str).collect();
        format!("there is no state {text:?}: there are {}", names.join(", "))
    })
}

impl List {
    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let kinds = self.kinds.iter().map(|kind| match kind {
            Kind::Classic => GroupKind::Classic,
            Kind::Consumer => GroupKind::Consumer,
            Kind::Share => GroupKind::Share,
            Kind::Streams => GroupKind::Streams,
        });
        let filter = GroupFilter::default()
            .states(self.states.clone())
            .kinds(kinds);
        let listed = admin.list_groups(&filter).await?;
        let columns = [
            ("GROUP", "group"),
            ("KIND", "kind"),
            ("PROTOCOL", "protocol_type"),
            ("STATE", "state"),
        ];
        let mut listing = Listing::new(form, &columns);
        for group in listed.groups.values() {
            listing.add(json!({
                "group": group.id,
                "kind": group.kind.as_ref().map(GroupKind::as_str),
                "protocol_type": group.protocol_type,
                "state": group.state.as_ref().map(GroupState::as_str),
            }));
        }
        for (broker, error) in &listed.failures {
            listing.failed(json!({"broker": broker}), error);
        }
        listing.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_kafkas_names_in_whatever_case() {
        assert_eq!(state("stable"), Ok(GroupState::Stable));
        assert_eq!(
            state("PreparingRebalance"),
            Ok(GroupState::PreparingRebalance)
        );
        assert!(state("well").is_err_and(|error| error.contains("Stable, Empty")));
    }
}
