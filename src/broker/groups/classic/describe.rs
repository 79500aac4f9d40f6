//! What is said of a classic group to those who ask about it.

use protocol::ErrorCode;
use protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};

use super::group::{ClassicGroup, State};

/// The first version in which a group that is not described is an error (KIP-1043); before, such a group is a dead one.
const ERRORS_FROM: i16 = 6;

impl ClassicGroup {
    pub(crate) fn describe(&self, group_id: &str) -> DescribedGroup {
        // While the members join, nobody knows what will come of it.
        let protocol = self.protocol.as_ref();
        let protocol = protocol.filter(|_| self.state == State::Stable);
        let members = self.members.iter().map(|(id, member)| {
            let mut protocols = member.protocols.iter();
            let metadata = protocols.find(|(name, _)| Some(name) == protocol);
            DescribedGroupMember {
                member_id: id.clone(),
                group_instance_id: member.instance_id.clone(),
                client_id: member.client_id.clone(),
                client_host: member.client_host.clone(),
                member_metadata: metadata.map(|(_, it)| it.clone()).unwrap_or_default(),
                member_assignment: member.assignment.clone(),
                ..Default::default()
            }
        });
        DescribedGroup {
            group_id: group_id.to_owned(),
            group_state: format!("{:?}", self.state),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol_data: protocol.cloned().unwrap_or_default(),
            members: members.collect(),
            ..Default::default()
        }
    }
}

/// What is said of a group that is no classic one, or not there.
pub(crate) fn not_described(group_id: &str, is_there: bool, version: i16) -> DescribedGroup {
    let described = DescribedGroup {
        group_id: group_id.to_owned(),
        group_state: "Dead".to_owned(),
        ..Default::default()
    };
    if version < ERRORS_FROM {
        return described;
    }
    DescribedGroup {
        error_code: ErrorCode::GROUP_ID_NOT_FOUND,
        error_message: Some(match is_there {
            true => format!("Group {group_id} is not a classic group."),
            false => format!("Group {group_id} not found."),
        }),
        ..described
    }
}
