//! Whether the coordinator's responses fit what was asked. What does not is named in an error; the member ignores it and rejoins.

use std::collections::BTreeSet;

use protocol::ApiKey;
use protocol::messages::{JoinGroupResponse, SyncGroupResponse};

use crate::kafka::{Error, ErrorKind, Result, TopicPartition};

/// The most of a peer's text that an error quotes, in characters.
const QUOTED: usize = 64;

/// The group that a member asks to be in.
pub(super) struct Wanted<'a> {
    pub protocol_type: &'a str,
    /// Any of these.
    pub protocol_names: Vec<&'a str>,
}

/// Checks the response to a join.
pub(super) fn check_join(response: &JoinGroupResponse, wanted: &Wanted<'_>) -> Result<()> {
    let wrong = |what: String| Err(answered(ApiKey::JOIN_GROUP, what));
    if response.generation_id < 0 {
        return wrong(format!("generation {}", response.generation_id));
    }
    if response.member_id.is_empty() {
        return wrong("an empty member id".to_string());
    }
    let (kind, name) = (&response.protocol_type, &response.protocol_name);
    check_protocol(
        ApiKey::JOIN_GROUP,
        kind.as_deref(),
        Some(name.as_deref().unwrap_or_default()),
        wanted,
    )?;
    // Nobody leads where the broker assigns: the group has members of the consumer protocol.
    let leads = response.leader == response.member_id;
    let is_listed = response
        .members
        .iter()
        .any(|member| member.member_id == response.member_id);
    if leads && !is_listed {
        return wrong("a group that its leader, this member, is not in".to_string());
    }
    Ok(())
}

/// Checks the response to a sync.
pub(super) fn check_sync(response: &SyncGroupResponse, wanted: &Wanted<'_>) -> Result<()> {
    let (kind, name) = (&response.protocol_type, &response.protocol_name);
    check_protocol(ApiKey::SYNC_GROUP, kind.as_deref(), name.as_deref(), wanted)?;
    if response.assignment.is_empty() {
        let what = "no assignment at all, not even an empty one: the group's leader has left this member out";
        return Err(answered(ApiKey::SYNC_GROUP, what.to_string()));
    }
    Ok(())
}

/// Checks an assignment: every partition once, of a topic that was subscribed to. `count_of` returns how many partitions a topic has, if
/// that is known for certain.
pub(super) fn check_assignment(
    assigned: &[TopicPartition],
    topics: &[String],
    count_of: impl Fn(&str) -> Option<usize>,
) -> Result<()> {
    let topics: BTreeSet<&str> = topics.iter().map(String::as_str).collect();
    let mut seen = BTreeSet::new();
    for partition in assigned {
        let wrong = |what: &str| {
            let named = format!("{}-{}", quoted(&partition.topic), partition.partition);
            let what = format!("an assignment with {named}, {what}");
            Err(answered(ApiKey::SYNC_GROUP, what))
        };
        if !topics.contains(&*partition.topic) {
            return wrong("whose topic this member has not subscribed to");
        }
        if is_beyond(partition, &count_of) {
            return wrong("which the topic does not have");
        }
        if !seen.insert(partition) {
            return wrong("which is in it twice");
        }
    }
    Ok(())
}

/// Whether the topic has no such partition.
pub(crate) fn is_beyond(
    partition: &TopicPartition,
    count_of: impl Fn(&str) -> Option<usize>,
) -> bool {
    match usize::try_from(partition.partition) {
        Ok(index) => count_of(&partition.topic).is_some_and(|count| index >= count),
        Err(_) => true,
    }
}

/// Brokers of old versions name no type, and SyncGroup no protocol either.
fn check_protocol(
    api: ApiKey,
    kind: Option<&str>,
    name: Option<&str>,
    wanted: &Wanted<'_>,
) -> Result<()> {
    for (what, given, wanted) in [
        ("protocol type", kind, &[wanted.protocol_type][..]),
        ("protocol", name, &wanted.protocol_names),
    ] {
        if let Some(given) = given.filter(|given| !wanted.contains(given)) {
            let wanted: Vec<_> = wanted.iter().map(|it| format!("{it:?}")).collect();
            let what = format!(
                "the {what} {}, where this member offered {}",
                quoted(given),
                wanted.join(", ")
            );
            return Err(answered(api, what));
        }
    }
    Ok(())
}

fn answered(api: ApiKey, what: String) -> Error {
    let message = format!("the coordinator answered with {what}: the member joins again");
    Error::new(ErrorKind::Protocol, message).api(api)
}

/// A peer's text, escaped and cut.
fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(QUOTED).collect();
    format!("{cut:?}")
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::messages::join_group_response::JoinGroupResponseMember;

    use super::*;

    fn wanted() -> Wanted<'static> {
        Wanted {
            protocol_type: "consumer",
            protocol_names: vec!["roundrobin", "range"],
        }
    }

    fn join() -> JoinGroupResponse {
        JoinGroupResponse {
            generation_id: 1,
            protocol_type: Some("consumer".to_string()),
            protocol_name: Some("range".to_string()),
            leader: "a".to_string(),
            member_id: "a".to_string(),
            members: vec![JoinGroupResponseMember {
                member_id: "a".to_string(),
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    #[test]
    fn each_answer_to_a_join_that_does_not_fit_is_named() {
        check_join(&join(), &wanted()).expect("fits");
        let old = JoinGroupResponse {
            protocol_type: None,
            ..join()
        };
        check_join(&old, &wanted()).expect("before version 7");
        let led_by_nobody = JoinGroupResponse {
            leader: String::new(),
            members: Vec::new(),
            ..join()
        };
        check_join(&led_by_nobody, &wanted()).expect("the broker assigns");
        type Change = fn(&mut JoinGroupResponse);
        let changes: [(Change, &str); 6] = [
            (|it| it.generation_id = -1, "generation -1"),
            (|it| it.member_id.clear(), "empty member id"),
            (|it| it.members.clear(), "is not in"),
            (|it| it.protocol_name = Some("sticky".into()), "\"sticky\""),
            (|it| it.protocol_name = None, "\"range\""),
            (
                |it| it.protocol_type = Some("con\nnect".into()),
                "\"con\\nnect\"",
            ),
        ];
        for (change, named) in changes {
            let mut response = join();
            change(&mut response);
            let error = check_join(&response, &wanted()).expect_err(named);
            assert_eq!(error.kind(), ErrorKind::Protocol);
            let text = error.to_string();
            assert!(
                text.starts_with("JoinGroup") && text.contains(named),
                "{text}"
            );
        }
    }

    #[test]
    fn each_answer_to_a_sync_that_does_not_fit_is_named() {
        let sync = |name: Option<&str>, assignment: &'static [u8]| SyncGroupResponse {
            protocol_name: name.map(str::to_string),
            assignment: Bytes::from_static(assignment),
            ..Default::default()
        };
        check_sync(&sync(None, b"..."), &wanted()).expect("before version 5");
        check_sync(&sync(Some("range"), b"..."), &wanted()).expect("fits");
        for (response, named) in [
            (sync(Some("sticky"), b"..."), "\"sticky\""),
            (sync(Some("range"), b""), "no assignment at all"),
        ] {
            let error = check_sync(&response, &wanted()).expect_err(named);
            let text = error.to_string();
            assert!(
                text.starts_with("SyncGroup") && text.contains(named),
                "{text}"
            );
        }
    }

    #[test]
    fn an_assignment_holds_each_partition_once_and_only_what_there_is_of_what_was_asked_for() {
        let topics = ["t".to_string(), "new".to_string()];
        let count_of = |topic: &str| (topic == "t").then_some(3);
        let of = |names: &[(&str, i32)]| {
            let assigned: Vec<_> = names
                .iter()
                .map(|(topic, partition)| TopicPartition::new(*topic, *partition))
                .collect();
            check_assignment(&assigned, &topics, count_of)
        };
        of(&[]).expect("an empty assignment is one");
        of(&[("t", 0), ("t", 2), ("new", 7)]).expect("the count is not known");
        for (names, named) in [
            (&[("t", 0), ("other", 0)][..], "\"other\"-0"),
            (&[("t", 3)], "\"t\"-3"),
            (&[("new", -1)], "\"new\"--1"),
            (&[("t", 0), ("t", 0)], "twice"),
        ] {
            let error = of(names).expect_err(named);
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}
