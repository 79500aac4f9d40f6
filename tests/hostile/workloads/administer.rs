//! An administrator under a tampering.

use std::collections::BTreeMap;

use pat_events::kafka::{Client, NewTopic, Result, Target};
use protocol::ErrorCode;
use protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest};
use tokio::time::{Instant, sleep};

use super::{PAUSE, connect};
use crate::harness::{GROUP, Harness, REQUEST_TIMEOUT, TOPIC, Violation};

pub(super) async fn administer(harness: &mut Harness) {
    let config = harness.client();
    let mut client = connect(harness, REQUEST_TIMEOUT, || Client::connect(config.clone())).await;
    let mut rounds = 0;
    while let Some(client) = &client {
        let is_done = administer_once(harness, client).await;
        harness.notes.is_done_under_tampering |= is_done;
        rounds += 1;
        // Once more, since something may be repeated.
        if !harness.goes_on() || (is_done && rounds > 1) || rounds > 6 {
            break;
        }
        sleep(PAUSE).await;
    }
    harness.heal();
    let healed_at = Instant::now();
    loop {
        if client.is_none() {
            client = connect(harness, REQUEST_TIMEOUT, || Client::connect(config.clone())).await;
        }
        if let Some(client) = &client
            && administer_once(harness, client).await
        {
            break;
        }
        if healed_at.elapsed() > harness.healing() {
            let last = harness.notes.errors.last();
            let why = format!("{:?}", last.map(|noted| noted.error.to_string()));
            harness.violation(Violation::NotHealed(why));
            break;
        }
        sleep(PAUSE).await;
    }
}

/// Whether everything that an administrator does once worked.
async fn administer_once(harness: &mut Harness, client: &Client) -> bool {
    let admin = client.admin();
    let mut failures = 0;
    let bound = REQUEST_TIMEOUT;
    let new = [NewTopic::new("new", 1), NewTopic::new("newer", 2)];
    let created = harness
        .call("create", bound, admin.create_topics(&new))
        .await;
    failures += note(
        harness,
        "create",
        created.map(flat),
        &[ErrorCode::TOPIC_ALREADY_EXISTS],
    );
    let names = [TOPIC, "new"];
    let described = harness
        .call("describe", bound, admin.describe_topics(&names))
        .await;
    if let Some(Ok(described)) = &described
        && !harness.is_tampering()
    {
        let wrong = described.iter().find(|(name, topic)| {
            topic.as_ref().is_ok_and(|topic| {
                topic.name != **name || (*name == TOPIC && topic.partitions.len() != 3)
            })
        });
        if let Some((name, topic)) = wrong {
            let text = format!("{name} is described as {topic:?}");
            harness.violation(Violation::Untrue(text));
        }
    }
    failures += note(harness, "describe", described.map(flat), &[]);
    let listed = harness.call("list", bound, admin.list_topics()).await;
    failures += note(
        harness,
        "list",
        listed.map(|listed| vec![listed.map(drop)]),
        &[],
    );
    let deleted = harness
        .call("delete", bound, admin.delete_topics(&["new", "newer"]))
        .await;
    let gone = [ErrorCode::UNKNOWN_TOPIC_OR_PARTITION];
    failures += note(harness, "delete", deleted.map(flat), &gone);
    let cluster = harness
        .call("cluster", bound, admin.describe_cluster())
        .await;
    failures += note(
        harness,
        "cluster",
        cluster.map(|cluster| vec![cluster.map(drop)]),
        &[],
    );
    let versions = harness.call("versions", bound, admin.api_versions(1)).await;
    failures += note(
        harness,
        "versions",
        versions.map(|versions| vec![versions.map(drop)]),
        &[],
    );
    failures += describe_group(harness, client).await;
    failures == 0
}

/// Asks for a consumer group that has a member: what the answers say is the caller's to read. Says how many requests came to nothing.
async fn describe_group(harness: &mut Harness, client: &Client) -> usize {
    let coordinator = Target::GroupCoordinator(GROUP);
    let joining = ConsumerGroupHeartbeatRequest {
        group_id: GROUP.to_owned(),
        member_id: "described".to_owned(),
        rebalance_timeout_ms: 60_000,
        subscribed_topic_names: Some(vec![TOPIC.to_owned()]),
        topic_partitions: Some(Vec::new()),
        ..Default::default()
    };
    let joined = client.request(coordinator, &joining);
    let joined = harness.call("join", REQUEST_TIMEOUT, joined).await;
    let asked = ConsumerGroupDescribeRequest {
        group_ids: vec![GROUP.to_owned()],
        ..Default::default()
    };
    let described = client.request(coordinator, &asked);
    let described = harness
        .call("describe group", REQUEST_TIMEOUT, described)
        .await;
    if let Some(Ok(described)) = &described
        && !harness.is_tampering()
    {
        let has_member = described.groups.iter().any(|group| {
            group.group_id == GROUP && group.members.iter().any(|it| it.member_id == "described")
        });
        if !has_member {
            let text = format!("the group is described as {described:?}");
            harness.violation(Violation::Untrue(text));
        }
    }
    let joined = joined.map(|joined| vec![joined.map(drop)]);
    let described = described.map(|described| vec![described.map(drop)]);
    note(harness, "join", joined, &[]) + note(harness, "describe group", described, &[])
}

fn flat<T>(results: Result<BTreeMap<String, Result<T>>>) -> Vec<Result<()>> {
    match results {
        Ok(results) => results
            .into_values()
            .map(|result| result.map(drop))
            .collect(),
        Err(error) => vec![Err(error)],
    }
}

/// Notes the errors; says how many there are but for those that a repetition may bring.
fn note(
    harness: &mut Harness,
    call: &'static str,
    results: Option<Vec<Result<()>>>,
    but: &[ErrorCode],
) -> usize {
    let Some(results) = results else { return 1 };
    let mut failures = 0;
    for error in results.into_iter().filter_map(Result::err) {
        let is_expected = |code: &ErrorCode| error.server_error() == Some(*code);
        if !but.iter().any(is_expected) {
            failures += 1;
            harness.error(call, &error);
        }
    }
    failures
}
