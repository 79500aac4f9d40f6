//! Groups of every kind listed and deleted, and members removed from them. In: filters and ids. Out: listings, a result for each id.

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::{DeleteGroupsRequest, LeaveGroupRequest, ListGroupsRequest};
use protocol::{ApiKey, ErrorCode};

use super::Admin;
use super::each::{Ask, Round, Route, checked};
use super::names::kafka_words;
use crate::kafka::cluster::Answer;
use crate::kafka::{Error, ErrorKind, Result};

/// By which protocol a group works.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GroupKind {
    /// Its members share out partitions among themselves.
    Classic,
    /// Brokers share out partitions (KIP-848).
    Consumer,
    /// Brokers share out records (KIP-932).
    Share,
    /// Kafka Streams (KIP-1071).
    Streams,
    /// One that this version does not know, or none that a broker said.
    Other(String),
}

kafka_words!(GroupKind, {
    Classic = "classic",
    Consumer = "consumer",
    Share = "share",
    Streams = "streams",
});

/// What a group is doing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum GroupState {
    /// Members have what they were assigned.
    Stable,
    /// There are no members.
    Empty,
    /// A classic group waits for its members to join again.
    PreparingRebalance,
    /// A classic group waits for the assignment of its leader.
    CompletingRebalance,
    /// A new assignment is being found (KIP-848).
    Assigning,
    /// Members are on their way to what they were assigned (KIP-848).
    Reconciling,
    /// A streams group waits for topics (KIP-1071).
    NotReady,
    /// It does not exist, or is about to end.
    Dead,
    /// One that this version does not know, or none that a broker said.
    Other(String),
}

kafka_words!(GroupState, {
    Stable = "Stable",
    Empty = "Empty",
    PreparingRebalance = "PreparingRebalance",
    CompletingRebalance = "CompletingRebalance",
    Assigning = "Assigning",
    Reconciling = "Reconciling",
    NotReady = "NotReady",
    Dead = "Dead",
});

/// Which groups are listed: [`Default`] lists all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupFilter {
    /// Those in one of these states (KIP-518; brokers from Kafka 2.6 on); all where there is none.
    pub states: Vec<GroupState>,
    /// Those of one of these kinds (KIP-848; brokers from Kafka 3.8 on); all where there is none.
    pub kinds: Vec<GroupKind>,
}

impl GroupFilter {
    /// Those in one of these states.
    pub fn states(mut self, states: impl IntoIterator<Item = GroupState>) -> Self {
        self.states.extend(states);
        self
    }

    /// Those of one of these kinds.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = GroupKind>) -> Self {
        self.kinds.extend(kinds);
        self
    }
}

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupListing {
    /// Its id.
    pub id: String,
    /// What its members speak among themselves: `consumer` for consumers, empty for a group without members that only holds offsets.
    pub protocol_type: String,
    /// What it is doing; `None` from brokers before Kafka 2.6.
    pub state: Option<GroupState>,
    /// By which protocol it works; `None` from brokers before Kafka 3.8.
    pub kind: Option<GroupKind>,
}

/// What each broker listed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct GroupListings {
    /// The groups, by id.
    pub groups: BTreeMap<String, GroupListing>,
    /// The brokers that did not answer, by id, and why: the groups that they coordinate are missing.
    pub failures: BTreeMap<i32, Error>,
}

/// A member that is to leave its group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MemberToRemove {
    /// The static member of this instance id (`group.instance.id`).
    Instance(String),
    /// The member of this id.
    Member(String),
}

impl Admin {
    /// All groups that this client may see, of every kind: each broker lists those that it coordinates. Fails only when none answers.
    ///
    /// A broker that is too old for the filter is a failure of its own.
    pub async fn list_groups(&self, filter: &GroupFilter) -> Result<GroupListings> {
        let brokers = self.brokers().await?;
        let route = Route::Broker(Box::new(|broker: &i32| *broker));
        let ask = Ask::new(route, brokers, |_, error| error);
        let build = |round: &mut Round<i32>| {
            let asked_for_what_is_new = (round.version < 4 && !filter.states.is_empty())
                || (round.version < 5 && !filter.kinds.is_empty());
            if asked_for_what_is_new {
                let message = "this broker is too old to list groups by state (Kafka 2.6) or by kind (Kafka 3.8)";
                return Err(Error::new(ErrorKind::UnsupportedVersion, message));
            }
            let states = filter.states.iter();
            let kinds = filter.kinds.iter();
            Ok(ListGroupsRequest {
                states_filter: states.map(|it| it.to_string()).collect(),
                types_filter: kinds.map(|it| it.to_string()).collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<ListGroupsRequest>, round: &Round<i32>| {
            let response = &answer.response;
            let listed = || {
                let groups = response.groups.iter();
                let listing = |it: &_| listing(it, answer.version);
                groups.map(listing).collect::<Vec<_>>()
            };
            round.all(checked(answer, response.error_code, None, listed))
        };
        let mut listings = GroupListings::default();
        let mut has_answer = false;
        for (broker, listed) in self.each(ask, build, read).await? {
            match listed {
                Ok(groups) => {
                    has_answer = true;
                    let by_id = groups.into_iter().map(|it| (it.id.clone(), it));
                    listings.groups.extend(by_id);
                }
                Err(error) => drop(listings.failures.insert(broker, error)),
            }
        }
        match listings.failures.pop_first() {
            Some((_, error)) if !has_answer => Err(error),
            Some((broker, error)) => {
                listings.failures.insert(broker, error);
                Ok(listings)
            }
            None => Ok(listings),
        }
    }

    /// Deletes groups and what they have committed, whatever their kind: a result for each id (KIP-229).
    ///
    /// Errors by group: `NON_EMPTY_GROUP` while it has members, `GROUP_ID_NOT_FOUND`, an authorization error where the client may not
    /// (`DELETE` on the group).
    pub async fn delete_groups(&self, ids: &[&str]) -> Result<BTreeMap<String, Result<()>>> {
        let build = |round: &mut Round<String>| {
            Ok(DeleteGroupsRequest {
                groups_names: round.items.iter().cloned().collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DeleteGroupsRequest>, _: &Round<String>| {
            let results = answer.response.results.iter();
            results
                .map(|it| {
                    let message = it.error_message.as_deref();
                    let result = checked(answer, it.error_code, message, || ());
                    (it.group_id.clone(), result)
                })
                .collect()
        };
        self.each(of_groups(ids), build, read).await
    }

    /// Removes members from a classic group, or static members from a group of brokers' protocol (KIP-345): a result for each. `reason` is
    /// what brokers log (KIP-800). Partitions go to others at once, without waiting for the session's timeout.
    ///
    /// Errors by member: `UNKNOWN_MEMBER_ID`. Brokers before Kafka 2.4 remove members by id alone.
    pub async fn remove_members_from_group(
        &self,
        group: &str,
        members: &[MemberToRemove],
        reason: Option<&str>,
    ) -> Result<BTreeMap<MemberToRemove, Result<()>>> {
        let id = group.to_string();
        let members = members.iter().cloned().collect();
        let ask = Ask::new(
            Route::group(move |_: &MemberToRemove| id.clone()),
            members,
            about_group(group),
        );
        let build = |round: &mut Round<MemberToRemove>| {
            if round.version >= LeaveGroupRequest::MEMBERS_FROM {
                let members = round.items.iter();
                return Ok(LeaveGroupRequest {
                    group_id: group.to_string(),
                    members: members.map(|it| identity(it, reason)).collect(),
                    ..Default::default()
                });
            }
            round.refuse(|member| match member {
                MemberToRemove::Member(_) => None,
                MemberToRemove::Instance(_) => {
                    let message = "this broker is older than Kafka 2.4 and has no static members";
                    Some(Error::new(ErrorKind::UnsupportedVersion, message))
                }
            });
            let member_id = match round.only_first() {
                Some(MemberToRemove::Member(id)) => id,
                _ => String::new(),
            };
            Ok(LeaveGroupRequest {
                group_id: group.to_string(),
                member_id,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<LeaveGroupRequest>, round: &Round<MemberToRemove>| {
            let response = &answer.response;
            if response.error_code != ErrorCode::NONE
                || answer.version < LeaveGroupRequest::MEMBERS_FROM
            {
                return round.all(checked(answer, response.error_code, None, || ()));
            }
            let items = round.items.iter();
            items
                .filter_map(|item| {
                    let mut members = response.members.iter();
                    let said = members.find(|it| match item {
                        MemberToRemove::Instance(id) => it.group_instance_id.as_ref() == Some(id),
                        MemberToRemove::Member(id) => it.member_id == *id,
                    })?;
                    let result = checked(answer, said.error_code, None, || ());
                    Some((item.clone(), result))
                })
                .collect()
        };
        self.each(ask, build, read).await
    }

    /// The ids of the live brokers.
    pub(super) async fn brokers(&self) -> Result<BTreeSet<i32>> {
        let metadata = self.cluster.refreshed(self.deadline()).await?;
        Ok(metadata.brokers.keys().copied().collect())
    }
}

/// The coordinators of groups, about these.
pub(super) fn of_groups(ids: &[&str]) -> Ask<String> {
    let ids = ids.iter().map(|id| id.to_string()).collect();
    Ask::new(Route::group(|id: &String| id.clone()), ids, |id, error| {
        error.prefixed(&format!("group {id}"))
    })
}

/// Names the group in an error about something in it.
pub(super) fn about_group<K>(group: &str) -> impl Fn(&K, Error) -> Error + Send + Sync + 'static {
    let about = format!("group {group}");
    move |_, error| error.prefixed(&about)
}

fn listing(
    group: &protocol::messages::list_groups_response::ListedGroup,
    version: i16,
) -> GroupListing {
    GroupListing {
        id: group.group_id.clone(),
        protocol_type: group.protocol_type.clone(),
        state: (version >= 4).then(|| GroupState::named(&group.group_state)),
        kind: (version >= 5).then(|| GroupKind::named(&group.group_type)),
    }
}

fn identity(member: &MemberToRemove, reason: Option<&str>) -> MemberIdentity {
    let (member_id, group_instance_id) = match member {
        MemberToRemove::Instance(id) => (String::new(), Some(id.clone())),
        MemberToRemove::Member(id) => (id.clone(), None),
    };
    MemberIdentity {
        member_id,
        group_instance_id,
        reason: reason.map(str::to_string),
        ..Default::default()
    }
}

/// Whether the group is of another protocol than the one asked for, or there is none.
pub(super) fn is_of_another_kind(error: &Error) -> bool {
    error.server_error() == Some(ErrorCode::GROUP_ID_NOT_FOUND)
        || error.kind() == ErrorKind::UnsupportedVersion
            && error.api_key() == Some(ApiKey::CONSUMER_GROUP_DESCRIBE)
}
