//! The operations of the Admin API, each with something good and something bad in one call: on Kafka, and on the embedded broker what it
//! answers.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `access` | rules, users of SCRAM, quotas, delegation tokens |
//! | `cluster` | who is in the cluster, features, the quorum, directories |
//! | `configs` | configurations |
//! | `controllers` | controllers that are spoken with themselves |
//! | `groups` | groups of every kind |
//! | `java` | what Java's client reads of what we changed, and the reverse; the table of its operations |
//! | `moves` | partitions moved, leaders elected, brokers forgotten |
//! | `streams` | groups of Kafka Streams |
//! | `topics` | topics, partitions, offsets |
//! | `transactions` | transactions and producers |

mod access;
mod cluster;
mod configs;
mod controllers;
mod groups;
mod java;
mod moves;
mod streams;
mod topics;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::Trial;
use pat_events::kafka::{ErrorCode, Result, TopicPartition};

use crate::fleet::{Fleet, Target, block_on};
use crate::support::kafka::Kafka;

const POLL: Duration = Duration::from_millis(200);

type Case = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A case for a broker.
type CaseOf = fn(Target) -> Case;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let mut trials = Vec::new();
    trials.extend(fleet.on_both(
        "admin_lists_and_describes_groups_of_every_kind",
        groups::groups_are_listed_and_described,
    ));
    trials.extend(fleet.on_both(
        "admin_describes_and_alters_configs",
        configs::configs_are_described_and_altered,
    ));
    trials.extend(fleet.on_both(
        "admin_describes_the_quorum",
        cluster::the_quorum_is_described,
    ));
    trials.extend(fleet.on_both("admin_adds_partitions", topics::partitions_are_added));
    trials.extend(fleet.on_both(
        "admin_lists_alters_and_deletes_what_groups_committed",
        groups::group_offsets_are_altered,
    ));
    trials.extend(fleet.on_both(
        "admin_finds_offsets_by_place",
        topics::offsets_are_found_by_place,
    ));
    trials.extend(fleet.on_both(
        "admin_lists_describes_and_ends_transactions",
        transactions::transactions_are_listed_described_and_ended,
    ));
    let on_kafka: [(&str, CaseOf); 6] = [
        (
            "admin_validates_topics_and_says_what_they_would_be",
            |target| Box::pin(topics::topics_are_validated(target)),
        ),
        (
            "admin_describes_and_alters_configs_of_brokers_and_metrics",
            |target| Box::pin(configs::configs_of_kafka_alone(target)),
        ),
        (
            "admin_describes_streams_groups_and_what_they_committed",
            |target| Box::pin(streams::streams_groups_are_described(target)),
        ),
        (
            "admin_lists_alters_and_deletes_where_share_groups_go_on",
            |target| Box::pin(groups::share_group_offsets_are_altered(target)),
        ),
        (
            "admin_describes_the_cluster_its_features_quorum_and_directories",
            |target| Box::pin(cluster::a_cluster_is_described(target)),
        ),
        ("admin_moves_nothing_that_need_not_move", |target| {
            Box::pin(moves::what_need_not_move_is_said(target))
        }),
    ];
    for (name, case) in on_kafka {
        let trial = fleet.on_one_alone(name, move |_, kafka: &Kafka| {
            let bootstrap = kafka.bootstrap();
            block_on(case(Target { bootstrap }));
        });
        trials.push(trial);
    }
    trials.push(
        fleet.on_guarded("admin_alters_rules_users_quotas_and_tokens", |_, kafka| {
            block_on(access::access_is_altered(kafka))
        }),
    );
    trials.push(
        fleet.on_guarded("admin_and_javas_see_what_the_other_did", |jdk, kafka| {
            block_on(java::each_sees_what_the_other_did(jdk, kafka));
        }),
    );
    trials.push(fleet.on_three("admin_speaks_with_controllers", |_, kafka| {
        block_on(controllers::controllers_are_asked_themselves(kafka));
    }));
    trials.push(
        fleet.on_three("admin_moves_partitions_and_elects_leaders", |_, kafka| {
            block_on(moves::partitions_move_and_leaders_are_elected(kafka));
        }),
    );
    trials
}

fn code<T>(result: &Result<T>) -> Option<ErrorCode> {
    result.as_ref().err()?.server_error()
}

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}
