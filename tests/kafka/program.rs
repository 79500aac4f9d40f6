//! The program against brokers: what it writes it reads again, in each of its forms, and its demo finds nothing wrong. In: the
//! program as built for this test. Out: what it prints, and its exit status.

#[path = "../support/commands.rs"]
mod commands;
mod demo;
mod dlq;
mod lines;
mod operating;
mod reading;
mod running;
mod signals;

use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use pat_events::broker::{Broker, Fault, FaultAction};
use pat_events::kafka::{
    ApiKey, Consumer, ConsumerConfig, Header, Producer, ProducerConfig, Record, StartOffset,
    TopicPartition,
};
use protocol::compression::{Compression, Compressor};
use protocol::records::{BatchBuilder, ControlRecord, SealOptions};

use demo::*;
use dlq::*;
use lines::*;
use operating::operators_see_and_change_a_cluster;
use reading::*;
use running::{Program, fails};
pub use running::{end_of, run};
use signals::*;

use crate::fleet::{Fleet, Target, block_on};
use crate::support::guarded::Guarded;
use crate::support::java::folder;

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let name = "embedded::the_demo_finds_each_event_once_and_in_order";
    let embedded = fleet.apart(name.to_owned(), || demo(&[]));
    let name = "embedded::the_demo_gives_options_to_those_that_know_them";
    let options_of_the_demo = fleet.apart(
        name.to_owned(),
        the_demo_gives_options_to_those_that_know_them,
    );
    let on_a_broker_of_their_own = [
        embedded_trial(
            fleet,
            "a_transaction_at_the_end_is_committed_to_its_end",
            a_transaction_at_the_end_is_committed_to_its_end,
        ),
        embedded_trial(
            fleet,
            "a_member_that_is_ended_by_a_signal_leaves_its_group",
            a_member_that_is_ended_by_a_signal_leaves_its_group,
        ),
        embedded_trial(
            fleet,
            "broker_and_demo_end_cleanly_by_either_signal",
            broker_and_demo_end_cleanly_by_either_signal,
        ),
        embedded_trial(
            fleet,
            "a_producer_that_is_ended_by_a_signal_writes_what_it_has_read",
            a_producer_that_is_ended_by_a_signal_writes_what_it_has_read,
        ),
        embedded_trial(
            fleet,
            "the_bench_needs_nothing_and_prints_a_table_or_lines",
            the_bench_needs_nothing_and_prints_a_table_or_lines,
        ),
    ];
    let both = [
        fleet.on_both(
            "any_record_comes_back_through_json_as_it_was",
            any_record_comes_back_through_json_as_it_was,
        ),
        fleet.on_both(
            "reading_from_an_offset_prints_what_is_there_and_says_what_is_not",
            reading_from_an_offset_prints_what_is_there_and_says_what_is_not,
        ),
        fleet.on_both(
            "dead_letters_are_listed_shown_replayed_and_purged",
            dead_letters_are_listed_shown_replayed_and_purged,
        ),
        fleet.on_both(
            "delimiters_are_written_with_escapes",
            delimiters_are_written_with_escapes,
        ),
        fleet.on_both(
            "a_line_that_is_refused_takes_no_other_with_it",
            a_line_that_is_refused_takes_no_other_with_it,
        ),
        fleet.on_both(
            "a_line_that_no_record_can_hold_ends_reading",
            a_line_that_no_record_can_hold_ends_reading,
        ),
        fleet.on_both(
            "a_first_line_creates_its_topic",
            a_first_line_creates_its_topic,
        ),
        fleet.on_both(
            "demos_share_a_topic_that_is_there_or_not",
            demos_share_a_topic_that_is_there_or_not,
        ),
        fleet.on_both(
            "latencies_are_those_of_this_run_whatever_the_topic_holds",
            latencies_are_those_of_this_run_whatever_the_topic_holds,
        ),
        fleet.on_both(
            "lines_come_back_as_they_were_written",
            lines_come_back_as_they_were_written,
        ),
        fleet.on_both(
            "events_as_json_come_back_typed",
            events_as_json_come_back_typed,
        ),
        fleet.on_both(
            "the_apis_are_listed_with_the_versions_of_both_sides",
            the_apis_are_listed_with_the_versions_of_both_sides,
        ),
        fleet.on_both(
            "a_record_that_is_lost_early_fails_the_program_and_names_its_line",
            a_record_that_is_lost_early_fails_the_program_and_names_its_line,
        ),
        fleet.on_both(
            "good_lines_before_a_bad_one_are_written",
            good_lines_before_a_bad_one_are_written,
        ),
        fleet.on_both(
            "a_group_goes_on_after_what_was_printed",
            a_group_goes_on_after_what_was_printed,
        ),
        fleet.on_both(
            "a_member_ends_at_the_ends_of_its_share",
            a_member_ends_at_the_ends_of_its_share,
        ),
        fleet.on_both(
            "reading_takes_the_options_of_consumers",
            reading_takes_the_options_of_consumers,
        ),
        fleet.on_both(
            "the_environment_chooses_the_codec_unless_the_command_line_does",
            the_environment_chooses_the_codec_unless_the_command_line_does,
        ),
        fleet.on_both(
            "the_demo_reports_when_its_consumer_is_put_out",
            the_demo_reports_when_its_consumer_is_put_out,
        ),
    ];
    let on_kafka = [
        fleet.on_one_alone("operators_see_and_change_a_cluster", |_, kafka| {
            operators_see_and_change_a_cluster(&kafka.bootstrap())
        }),
        fleet.on_one(
            "every_command_of_the_readme_does_what_it_says",
            |_, kafka| every_command_of_the_readme_does_what_it_says(&kafka.bootstrap()),
        ),
        fleet.on_one("the_demo_finds_each_event_once_and_in_order", |_, kafka| {
            demo(&["--brokers", &kafka.bootstrap()])
        }),
        fleet.on_three("the_demo_finds_each_event_once_and_in_order", |_, kafka| {
            demo(&["--brokers", &kafka.bootstrap()])
        }),
    ];
    both.into_iter()
        .flatten()
        .chain(on_kafka)
        .chain(on_a_broker_of_their_own)
        .chain([embedded, options_of_the_demo])
        .collect()
}

/// Those that the embedded broker does not do. The tables' other commands are run on that.
fn every_command_of_the_readme_does_what_it_says(brokers: &str) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut wrong = Vec::new();
    for row in commands::rows("Coming from Kafka's scripts") {
        for command in row.commands.iter().filter(|it| commands::needs_kafka(it)) {
            let stage = commands::Stage::new(brokers, command, "http://127.0.0.1:1", &runtime);
            let (status, said) = stage.try_out(command);
            // Nothing is on the move that could be called off.
            let is_needless = said.contains("NO_REASSIGNMENT_IN_PROGRESS");
            if status != Some(0) && !is_needless {
                let (left, right, command) = (&row.left, &row.right, command.join(" "));
                wrong.push(format!(
                    "{left} is {right}: {command} ends with {status:?}: {said}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A trial that brings its own broker.
fn embedded_trial<F: Future<Output = ()> + 'static>(
    fleet: &Arc<Fleet>,
    name: &str,
    case: fn() -> F,
) -> Trial {
    fleet.apart(format!("embedded::{name}"), move || block_on(case()))
}

async fn the_apis_are_listed_with_the_versions_of_both_sides(target: Target) {
    let table = run(&["api", "-b", &target.bootstrap], None);
    assert!(table.contains(&target.bootstrap), "{table}");
    let spoken = table.lines().find(|line| line.contains(" Metadata "));
    let spoken: Vec<_> = spoken.expect("a line").split_whitespace().collect();
    assert_eq!(spoken[..3], ["3", "Metadata", "0-13"]);
    let json = run(&["api", "-b", &target.bootstrap, "--json"], None);
    assert!(
        json.contains(r#""api":"Metadata","broker":["#) && json.contains(r#""chosen":13,"#),
        "{json}"
    );
}
