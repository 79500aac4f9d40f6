//! FindCoordinator, and the life of classic groups: joining, syncing, heartbeats, commits, leaving, static members.

use bytes::Bytes;
use protocol::ErrorCode;
use protocol::messages::join_group_request::JoinGroupRequestProtocol;
use protocol::messages::leave_group_request::MemberIdentity;
use protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use protocol::messages::{
    FindCoordinatorRequest, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, SyncGroupRequest,
};

use super::Session;
use super::commits::commit;
use crate::raw::Raw;

pub async fn run(session: &mut Session) {
    coordinators(session).await;
    strangers(session).await;
    one_member(session).await;
    two_members(session).await;
    static_members(session).await;
}

async fn coordinators(session: &mut Session) {
    loop {
        let request = FindCoordinatorRequest {
            coordinator_keys: vec![session.name("g")],
            ..Default::default()
        };
        let response = session.ask(4, &request).await;
        if response.coordinators[0].error_code == ErrorCode::NONE {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    for (version, key, key_type) in [(0, "g", 0), (2, "", 0), (2, "g", 9), (3, "", 9)] {
        let request = FindCoordinatorRequest {
            key: key.into(),
            key_type,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        session.say(
            &format!("coordinator v{version} of {key:?} type {key_type}"),
            (response.error_code, response.node_id),
        );
    }
    for (version, key, key_type) in [(4, "", 0), (6, "g", 0), (4, "g", 9)] {
        let coordinator_keys = vec![key.into(), "other".into()];
        let request = FindCoordinatorRequest {
            coordinator_keys,
            key_type,
            ..Default::default()
        };
        let response = session.ask(version, &request).await;
        let answers: Vec<_> = response
            .coordinators
            .iter()
            .map(|c| (&c.key, c.error_code, c.node_id))
            .collect();
        session.say(
            &format!("coordinators v{version} of {key:?} type {key_type}"),
            answers,
        );
    }
}

pub fn join(
    group_id: String,
    member_id: &str,
    protocols: &[(&str, &'static str)],
) -> JoinGroupRequest {
    let protocol = |(name, metadata): &(&str, &'static str)| JoinGroupRequestProtocol {
        name: (*name).into(),
        metadata: Bytes::from_static(metadata.as_bytes()),
        ..Default::default()
    };
    JoinGroupRequest {
        group_id,
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: protocols.iter().map(protocol).collect(),
        ..Default::default()
    }
}

pub const RANGE: &[(&str, &str)] = &[("range", "topics")];

pub fn sync(
    group_id: String,
    generation_id: i32,
    member_id: &str,
    assignments: &[(&str, &'static str)],
) -> SyncGroupRequest {
    let assignment = |(member_id, assignment): &(&str, &'static str)| SyncGroupRequestAssignment {
        member_id: (*member_id).into(),
        assignment: Bytes::from_static(assignment.as_bytes()),
        ..Default::default()
    };
    SyncGroupRequest {
        group_id,
        generation_id,
        member_id: member_id.into(),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments: assignments.iter().map(assignment).collect(),
        ..Default::default()
    }
}

pub fn heartbeat(group_id: String, generation_id: i32, member_id: &str) -> HeartbeatRequest {
    HeartbeatRequest {
        group_id,
        generation_id,
        member_id: member_id.into(),
        ..Default::default()
    }
}

/// Everything but random ids: who leads is told by whether it is the one that joined.
fn joined(response: &JoinGroupResponse) -> impl std::fmt::Debug {
    let leads = !response.leader.is_empty() && response.leader == response.member_id;
    let members = response.members.iter();
    let mut members: Vec<_> = members
        .map(|m| (m.group_instance_id.clone(), m.metadata.clone()))
        .collect();
    members.sort_unstable();
    (
        response.error_code,
        response.generation_id,
        response.protocol_type.clone(),
        response.protocol_name.clone(),
        (
            leads,
            !response.leader.is_empty(),
            !response.member_id.is_empty(),
            response.skip_assignment,
        ),
        members,
    )
}

async fn strangers(session: &mut Session) {
    let group = session.name("strangers");
    let cases = [
        (
            "with an unknown member id",
            join(group.clone(), "nobody", RANGE),
        ),
        ("without a group id", join(String::new(), "", RANGE)),
        (
            "with a short session",
            JoinGroupRequest {
                session_timeout_ms: 10,
                ..join(group.clone(), "", RANGE)
            },
        ),
        (
            "with a long session",
            JoinGroupRequest {
                session_timeout_ms: i32::MAX,
                ..join(group.clone(), "", RANGE)
            },
        ),
        ("without protocols", join(group.clone(), "", &[])),
        (
            "without a protocol type",
            JoinGroupRequest {
                protocol_type: String::new(),
                ..join(group.clone(), "", RANGE)
            },
        ),
        ("for the first time", join(group.clone(), "", RANGE)),
    ];
    for (what, request) in cases {
        for version in [4, 6, 9] {
            let response = session.ask(version, &request).await;
            session.say(&format!("join v{version} {what}"), joined(&response));
        }
    }
    for group in [group.clone(), session.name("no group"), String::new()] {
        let what = if group.is_empty() { "no" } else { "a" };
        let response = session.ask(4, &heartbeat(group.clone(), 1, "nobody")).await;
        session.say(
            &format!("stranger's heartbeat with {what} group id"),
            response.error_code,
        );
        let response = session.ask(5, &sync(group.clone(), 1, "nobody", &[])).await;
        session.say(
            "stranger's sync",
            (response.error_code, response.protocol_name),
        );
        for version in [1, 3, 5] {
            let members = vec![MemberIdentity {
                member_id: "nobody".into(),
                ..Default::default()
            }];
            let request = LeaveGroupRequest {
                group_id: group.clone(),
                member_id: "nobody".into(),
                members,
                ..Default::default()
            };
            let request = if version < 3 {
                LeaveGroupRequest {
                    members: vec![],
                    ..request
                }
            } else {
                LeaveGroupRequest {
                    member_id: String::new(),
                    ..request
                }
            };
            let response = session.ask(version, &request).await;
            let errors: Vec<_> = response
                .members
                .iter()
                .map(|member| member.error_code)
                .collect();
            session.say(
                &format!("stranger leaves v{version}"),
                (response.error_code, errors),
            );
        }
    }
}

async fn one_member(session: &mut Session) {
    let group = session.name("single");
    let asked = session.ask(5, &join(group.clone(), "", RANGE)).await;
    session.say("first join", joined(&asked));
    let me = asked.member_id;
    let early = session.ask(4, &heartbeat(group.clone(), 0, &me)).await;
    session.say("heartbeat before joining", early.error_code);
    let response = session.ask(5, &join(group.clone(), &me, RANGE)).await;
    session.say("join with the id", joined(&response));
    let again = session.ask(5, &join(group.clone(), &me, RANGE)).await;
    session.say("join again before syncing", joined(&again));
    let generation = response.generation_id;
    let beat = session
        .ask(4, &heartbeat(group.clone(), generation, &me))
        .await;
    session.say("heartbeat before syncing", beat.error_code);
    let bad = [
        (
            "of an old generation",
            sync(group.clone(), generation - 1, &me, &[]),
        ),
        (
            "of a future generation",
            sync(group.clone(), generation + 1, &me, &[]),
        ),
        (
            "with another protocol",
            SyncGroupRequest {
                protocol_name: Some("sticky".into()),
                ..sync(group.clone(), generation, &me, &[])
            },
        ),
        (
            "with another type",
            SyncGroupRequest {
                protocol_type: Some("connect".into()),
                ..sync(group.clone(), generation, &me, &[])
            },
        ),
        (
            "without a protocol",
            SyncGroupRequest {
                protocol_name: None,
                ..sync(group.clone(), generation, &me, &[])
            },
        ),
        (
            "with an unknown instance",
            SyncGroupRequest {
                group_instance_id: Some("i".into()),
                ..sync(group.clone(), generation, &me, &[])
            },
        ),
    ];
    for (what, request) in bad {
        let response = session.ask(5, &request).await;
        session.say(
            &format!("sync {what}"),
            (
                response.error_code,
                response.protocol_type,
                response.protocol_name,
            ),
        );
    }
    let synced = session
        .ask(
            5,
            &sync(
                group.clone(),
                generation,
                &me,
                &[(&me, "mine"), ("other", "theirs")],
            ),
        )
        .await;
    session.say(
        "sync",
        (
            synced.error_code,
            synced.protocol_type,
            synced.protocol_name,
            synced.assignment,
        ),
    );
    let synced = session
        .ask(
            3,
            &SyncGroupRequest {
                protocol_type: None,
                protocol_name: None,
                ..sync(group.clone(), generation, &me, &[])
            },
        )
        .await;
    session.say(
        "sync again, old version",
        (synced.error_code, synced.assignment),
    );
    for (what, generation, member) in [
        ("", generation, me.as_str()),
        (" of an old generation", generation - 1, &me),
        (" of a stranger", generation, "nobody"),
    ] {
        let beat = session
            .ask(4, &heartbeat(group.clone(), generation, member))
            .await;
        session.say(&format!("heartbeat{what}"), beat.error_code);
    }
    let other_type = JoinGroupRequest {
        protocol_type: "connect".into(),
        ..join(group.clone(), "", RANGE)
    };
    let response = session.ask(5, &other_type).await;
    session.say("join with another type", joined(&response));
    let response = session
        .ask(5, &join(group.clone(), "", &[("sticky", "x")]))
        .await;
    session.say("join with an unknown assignor", joined(&response));
    let response = session.ask(9, &join(group.clone(), &me, RANGE)).await;
    session.say("the leader joins again", joined(&response));
    let leave = LeaveGroupRequest {
        group_id: group.clone(),
        member_id: me.clone(),
        ..Default::default()
    };
    let response = session.ask(2, &leave).await;
    session.say("leave", response.error_code);
    let response = session.ask(2, &leave).await;
    session.say("leave again", response.error_code);
    let response = session.ask(9, &join(group.clone(), &me, RANGE)).await;
    session.say("join after leaving", joined(&response));
    let response = session.ask(3, &join(group, "", RANGE)).await;
    session.say("join v3 is taken in at once", joined(&response));
}

/// Joins without the round trip for an id.
async fn join_v3(raw: &mut Raw, request: &JoinGroupRequest) {
    raw.send(3, request).await.expect("sent");
    // Long enough for the coordinator to have taken it in.
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
}

async fn two_members(session: &mut Session) {
    let (group, topic) = (session.name("pair"), session.name("described"));
    let protocols = &[("range", "r"), ("sticky", "s")];
    let first = session.ask(3, &join(group.clone(), "", protocols)).await;
    let a = first.member_id.clone();
    session.ask(3, &sync(group.clone(), 1, &a, &[]).v3()).await;
    let mut other = session.another().await;
    join_v3(&mut other, &join(group.clone(), "", &[("sticky", "s2")])).await;
    let beat = session.ask(4, &heartbeat(group.clone(), 1, &a)).await;
    session.say("heartbeat while another joins", beat.error_code);
    let synced = session.ask(3, &sync(group.clone(), 1, &a, &[]).v3()).await;
    session.say("sync while another joins", synced.error_code);
    let committed = session.ask(7, &commit(&group, 1, &a, None, &topic)).await;
    session.say(
        "commit while another joins",
        committed.topics[0].partitions[0].error_code,
    );
    let mine = session.ask(3, &join(group.clone(), &a, protocols)).await;
    let theirs = other
        .receive::<JoinGroupRequest>(3)
        .await
        .expect("an answer");
    let b = theirs.member_id.clone();
    session.say("leader joined", (joined(&mine), mine.leader == a));
    session.say("follower joined", (joined(&theirs), theirs.leader == a));
    let commit_early = session.ask(7, &commit(&group, 2, &a, None, &topic)).await;
    session.say(
        "commit before syncing",
        commit_early.topics[0].partitions[0].error_code,
    );
    other
        .send(3, &sync(group.clone(), 2, &b, &[]).v3())
        .await
        .expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let assignments = [(a.as_str(), "for a"), (b.as_str(), "for b")];
    let mine = session
        .ask(3, &sync(group.clone(), 2, &a, &assignments).v3())
        .await;
    let theirs = other
        .receive::<SyncGroupRequest>(3)
        .await
        .expect("an answer");
    session.say(
        "both synced",
        (
            mine.error_code,
            mine.assignment,
            theirs.error_code,
            theirs.assignment,
        ),
    );
    let again = other
        .call(5, &join(group.clone(), &b, &[("sticky", "s2")]))
        .await
        .expect("an answer");
    session.say("follower joins again unchanged", joined(&again));
    let again = other
        .call(3, &sync(group.clone(), 2, &b, &[]).v3())
        .await
        .expect("an answer");
    session.say("follower syncs again", (again.error_code, again.assignment));
    other
        .send(5, &join(group.clone(), &b, &[("sticky", "changed")]))
        .await
        .expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    let beat = session.ask(4, &heartbeat(group.clone(), 2, &a)).await;
    session.say("heartbeat after the follower changed", beat.error_code);
    let mine = session.ask(5, &join(group.clone(), &a, protocols)).await;
    let theirs = other
        .receive::<JoinGroupRequest>(5)
        .await
        .expect("an answer");
    session.say("third generation, leader", joined(&mine));
    session.say("third generation, follower", joined(&theirs));
    other
        .send(3, &sync(group.clone(), 3, &b, &[]).v3())
        .await
        .expect("sent");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let leave = LeaveGroupRequest {
        group_id: group.clone(),
        member_id: a.clone(),
        ..Default::default()
    };
    let left = session.ask(2, &leave).await;
    let theirs = other
        .receive::<SyncGroupRequest>(3)
        .await
        .expect("an answer");
    session.say(
        "the leader leaves before syncing",
        (left.error_code, theirs.error_code),
    );
    let alone = other
        .call(5, &join(group.clone(), &b, &[("sticky", "changed")]))
        .await
        .expect("an answer");
    session.say("the follower is alone", joined(&alone));
    let members = vec![
        MemberIdentity {
            member_id: b,
            reason: Some("done".into()),
            ..Default::default()
        },
        MemberIdentity {
            member_id: "nobody".into(),
            ..Default::default()
        },
    ];
    let left = session
        .ask(
            5,
            &LeaveGroupRequest {
                group_id: group,
                members,
                ..Default::default()
            },
        )
        .await;
    let errors: Vec<_> = left
        .members
        .iter()
        .map(|member| member.error_code)
        .collect();
    session.say("a member and a stranger leave", (left.error_code, errors));
}

pub trait V3 {
    fn v3(self) -> Self;
}

impl V3 for SyncGroupRequest {
    /// Without what version 5 added.
    fn v3(self) -> Self {
        SyncGroupRequest {
            protocol_type: None,
            protocol_name: None,
            ..self
        }
    }
}

async fn static_members(session: &mut Session) {
    let (group, topic) = (session.name("static"), session.name("described"));
    let named = |member_id: &str, instance: &str| JoinGroupRequest {
        group_instance_id: Some(instance.into()),
        ..join(group.clone(), member_id, RANGE)
    };
    let first = session.ask(5, &named("", "one")).await;
    session.say("a static member needs no id first", joined(&first));
    let old = first.member_id;
    session
        .ask(3, &sync(group.clone(), 1, &old, &[(&old, "kept")]).v3())
        .await;
    for version in [5, 9] {
        let restarted = session.ask(version, &named("", "one")).await;
        session.say(
            &format!("a restarted static leader v{version}"),
            (joined(&restarted), restarted.member_id != old),
        );
    }
    let now = session.ask(9, &named("", "one")).await.member_id;
    let with = |member_id: &str, instance: &str| HeartbeatRequest {
        group_instance_id: Some(instance.into()),
        ..heartbeat(group.clone(), 1, member_id)
    };
    for (what, request) in [
        ("its new self", with(&now, "one")),
        ("its old self", with(&old, "one")),
        (
            "its old self without the instance",
            heartbeat(group.clone(), 1, &old),
        ),
        ("another instance", with(&now, "two")),
        (
            "its new self without the instance",
            heartbeat(group.clone(), 1, &now),
        ),
    ] {
        let beat = session.ask(4, &request).await;
        session.say(&format!("heartbeat of {what}"), beat.error_code);
    }
    let fenced = session.ask(9, &named(&old, "one")).await;
    session.say("its old self joins", joined(&fenced));
    let synced = SyncGroupRequest {
        group_instance_id: Some("one".into()),
        ..sync(group.clone(), 1, &now, &[])
    };
    let synced = session.ask(5, &synced).await;
    session.say("its new self syncs", (synced.error_code, synced.assignment));
    let committed = session
        .ask(7, &commit(&group, 1, &old, Some("one"), &topic))
        .await;
    session.say(
        "its old self commits",
        committed.topics[0].partitions[0].error_code,
    );
    for (member_id, instance) in [
        (old.as_str(), Some("one")),
        ("", Some("two")),
        ("", None),
        ("", Some("one")),
        ("", Some("one")),
    ] {
        let members = vec![MemberIdentity {
            member_id: member_id.into(),
            group_instance_id: instance.map(Into::into),
            ..Default::default()
        }];
        let left = session
            .ask(
                5,
                &LeaveGroupRequest {
                    group_id: group.clone(),
                    members,
                    ..Default::default()
                },
            )
            .await;
        let errors: Vec<_> = left
            .members
            .iter()
            .map(|member| member.error_code)
            .collect();
        session.say(
            &format!(
                "leave as {} {instance:?}",
                if member_id.is_empty() {
                    "any"
                } else {
                    "old self"
                }
            ),
            (left.error_code, errors),
        );
    }
}
