//! Whether what a client did under a tampering was right. In: a case and its notes. Out: what was wrong, but for what nobody can be blamed for,
//! which the table of exceptions names with its reason.

use std::time::Duration;

use pat_events::kafka::ErrorKind;

use crate::case::Case;
use crate::harness::{Harness, Noted, REQUEST_TIMEOUT, Violation};
use crate::tampering::What;
use crate::workloads::Workload;

/// The most requests of one API, or dials, per second, over two seconds.
const PER_SECOND: usize = 50;
/// The most that client, broker and tamperer together may take.
const PEAK_BYTES: u64 = 16 << 20;
/// By when somebody has to be an error: a request may take its timeout, and may be tried for as long again.
const REPORTED_BY: Duration = Duration::from_secs(2 * REQUEST_TIMEOUT.as_secs() + 1);

/// Everything that was wrong.
pub fn check(
    case: &Case,
    harness: &Harness,
    panics: Vec<String>,
    peak_bytes: u64,
) -> Vec<Violation> {
    let notes = &harness.notes;
    let mut violations = notes.violations.clone();
    violations.extend(panics.into_iter().map(Violation::Panicked));
    if peak_bytes > PEAK_BYTES {
        violations.push(Violation::TooMuchMemory(peak_bytes));
    }
    for (what, count) in harness.proxy.counts() {
        if count.worst_per_second > PER_SECOND {
            violations.push(Violation::HotLoop(what, count.worst_per_second));
        }
    }
    if harness.proxy.met() == 0 {
        violations.push(Violation::NeverApplied);
    }
    let is_applied = harness.proxy.times_applied() > 0;
    let under_tampering: Vec<&Noted> = notes
        .errors
        .iter()
        .filter(|noted| noted.under_tampering)
        .collect();
    if case.tampering.times.is_for_ever() && !notes.is_done_under_tampering && is_applied {
        let applied_at = harness
            .proxy
            .first_applied()
            .map_or(Duration::ZERO, |first| {
                harness.now() - first.elapsed().min(harness.now())
            });
        match under_tampering.iter().find(|noted| noted.at >= applied_at) {
            None => violations.push(Violation::Silent("nothing".to_owned())),
            Some(first) if first.at > applied_at + patience(case) => {
                let text = format!(
                    "{:?} after the first tampering: {}",
                    first.at - applied_at,
                    first.error
                );
                violations.push(Violation::Silent(text));
            }
            Some(_) => {}
        }
        if !under_tampering.is_empty() && !under_tampering.iter().any(|noted| is_named(case, noted))
        {
            let last = under_tampering.last().expect("not empty");
            violations.push(Violation::Unnamed(format!("{}: {}", last.call, last.error)));
        }
    }
    if must_be_settled(case)
        // Nothing is sent to a broker that asked for a pause.
        && !harness.proxy.has_throttled()
        && let Some(noted) = notes.errors.iter().find(|noted| noted.call == "delivery")
    {
        violations.push(Violation::GivenUp(noted.error.to_string()));
    }
    for noted in &notes.errors {
        let text = noted.error.to_string();
        if text.chars().any(char::is_control) {
            violations.push(Violation::Unnamed(format!(
                "control characters in {text:?}"
            )));
            break;
        }
    }
    violations.retain(|violation| {
        let is_over = matches!(violation, Violation::Ended(_)) && was_confirmed(case, harness);
        !is_over && excused(case, violation).is_none()
    });
    violations
}

/// Whether what ended a consumer of typed events was refused for ever, and for the request timeout before it ended: codes that may not heal
/// end one then.
fn was_confirmed(case: &Case, harness: &Harness) -> bool {
    let is_code = matches!(case.tampering.what, What::Code(..));
    let mut ends = harness.notes.errors.iter();
    let first = ends.find(|noted| noted.call == "wait");
    let lasted = |noted: &Noted| {
        let applied_at = harness
            .proxy
            .first_applied()
            .map_or(Duration::ZERO, |first| {
                harness.now().saturating_sub(first.elapsed())
            });
        noted.under_tampering && noted.at >= applied_at + REQUEST_TIMEOUT
    };
    is_code && case.tampering.times.is_for_ever() && first.is_some_and(lasted)
}

/// How long nobody needs to see an error.
fn patience(case: &Case) -> Duration {
    match case.workload {
        // A record's own time is longer.
        Workload::Producer | Workload::Plain => REPORTED_BY + Duration::from_secs(4),
        // Each attempt may wait for records as well, and what was said of some is said again when their locks are over.
        Workload::Share => REPORTED_BY + Duration::from_secs(2),
        _ => REPORTED_BY,
    }
}

/// Whether the error says what was wrong: the API, or the code, or at least more than that there was no time left.
fn is_named(case: &Case, noted: &Noted) -> bool {
    let text = noted.error.to_string();
    let names_code = match &case.tampering.what {
        What::Code(_, code) if code.name() == "UNKNOWN_ERROR_CODE" => {
            text.contains(&code.0.to_string())
        }
        What::Code(_, code) => text.contains(code.name()),
        _ => false,
    };
    let is_more = noted.error.kind() != ErrorKind::Timeout || text.contains("broker ");
    names_code || text.contains(case.tampering.api.name()) || is_more
}

/// Whether a producer has to get every record through: what is over, and told by codes that say that it will be, or by a frame that says
/// nothing.
fn must_be_settled(case: &Case) -> bool {
    let is_over = !case.tampering.times.is_for_ever();
    is_over
        && case.workload == Workload::Producer
        && match &case.tampering.what {
            What::Code(_, code) => code.is_retriable(),
            What::Frame(_) | What::Replayed | What::UnknownTag => true,
            _ => false,
        }
}

/// What the violation of this case has to be forgiven for, and why.
pub fn excused(case: &Case, violation: &Violation) -> Option<&'static str> {
    let name = case.to_string();
    let kind = violation.kind();
    EXCEPTIONS
        .iter()
        .find(|(pattern, kinds, _)| {
            matches(pattern, &name) && kinds.split('|').any(|other| other == kind)
        })
        .map(|(_, _, reason)| *reason)
}

/// Cases (with `*` for anything), the violations that are none there, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "ListOffsets/topics.partitions.offset:*",
        "Lost|Silent",
        "where a log begins and ends is the leader's to say: what it says is gone is not looked for",
    ),
    (
        "Fetch/responses.partitions.error_code=OFFSET_OUT_OF_RANGE/*",
        "Doubled",
        "whoever is told that a position is outside of the log goes where the policy says",
    ),
    (
        "Fetch/responses.partitions.diverging_epoch.*/for-ever*/typed",
        "Ended",
        "what a policy of none asks of the application ends a consumer of typed events",
    ),
    (
        "Fetch/frame:Garbled*/for-ever/typed",
        "Ended",
        "what cannot be read ends a consumer of typed events: only the application can say what to do without it",
    ),
    (
        "JoinGroup/members:Doubled/*",
        "NotHealed|Silent",
        "the leader assigns to whom the coordinator names; what is assigned to a member that is not there is read when it is missed",
    ),
    (
        "JoinGroup/subscription:*",
        "NotHealed|Silent",
        "a member that subscribes to nothing, as far as its leader knows, is assigned nothing until the next rebalance",
    ),
    (
        "SyncGroup/assignment:Nothing/*",
        "NotHealed|Silent",
        "to be assigned nothing is what members beyond the number of partitions are used to",
    ),
    (
        "ConsumerGroupHeartbeat/assignment.topic_partitions*:Empty/*",
        "NotHealed|Silent",
        "to be assigned nothing is what members beyond the number of partitions are used to",
    ),
    (
        "ConsumerGroupHeartbeat/assignment.topic_partitions*:WithoutFirst/*",
        "NotHealed|Silent",
        "what else there is may be another member's",
    ),
    (
        "JoinGroup/frame:*ilent/for-ever/*",
        "Silent",
        "a join waits for other members for as long as the coordinator says, on another connection, that it is one",
    ),
    (
        "Produce/responses.partition_responses.error_code=*/for-ever-first/*",
        "Untrue|Doubled|Lost",
        "the broker has written what it says that it refused, and knows its sequences: no client can tell",
    ),
    (
        "Metadata/topics:Empty/*/pattern",
        "Silent",
        "a pattern may match none of the topics there are",
    ),
    (
        "Metadata/topics:WithoutFirst/*/pattern",
        "Silent",
        "a pattern may match none of the topics there are",
    ),
    (
        "Metadata/topics.name:*/pattern",
        "Silent",
        "a topic of another name is none that the pattern is about",
    ),
    (
        "Metadata/topics.error_code=UNKNOWN_TOPIC_OR_PARTITION/*/pattern",
        "Silent",
        "a topic that is not there, though it is listed, is about to be deleted",
    ),
    (
        "Metadata/topics.is_internal:*/pattern",
        "Silent",
        "a pattern is not about the broker's own topics",
    ),
    (
        "ApiVersions/frame:Garbled*/for-ever*",
        "Ended",
        "what a broker does not speak, by its own words and for ever, cannot be asked of it",
    ),
    (
        "ApiVersions/api_keys*/for-ever*",
        "Ended",
        "what a broker does not speak, by its own words and for ever, cannot be asked of it",
    ),
    (
        "Fetch/batch:BaseOffset(*",
        "Silent",
        "records with offsets that the broker gave them are handed out",
    ),
    (
        "Fetch/batch:LastOffsetDelta(*",
        "Silent",
        "how many offsets a batch takes up is the broker's to say, and those behind it are read",
    ),
    (
        "Fetch/batch:WithoutRecords*",
        "Silent",
        "compaction leaves batches without records",
    ),
    (
        "Fetch/batch:*/typed",
        "Ended",
        "what cannot be read ends a consumer of typed events: only the application can say what to do without it",
    ),
    (
        "Fetch/responses.partitions.records:*/typed",
        "Ended",
        "what cannot be read ends a consumer of typed events: only the application can say what to do without it",
    ),
    (
        "Fetch/batch:Attributes(*",
        "Silent",
        "a batch that says that it is a transaction's marker is none to hand out",
    ),
    (
        "Fetch/responses.partitions.records:Earlier/*",
        "Silent",
        "another partition's batches are handed out as this one's",
    ),
    (
        "*/replayed/*",
        "NeverApplied",
        "what is asked for once has no answer that was given before",
    ),
    (
        "*/frame:Swapped/*",
        "NeverApplied",
        "what is asked for once has no answer that was given before",
    ),
    (
        "Fetch/batch:*",
        "Lost|Doubled|Untrue",
        "no checksum covers a batch's base offset, and what it covers, the tamperer computes anew",
    ),
    (
        "Fetch/responses.partitions.records:*",
        "Lost|Doubled|Untrue",
        "whole batches of another partition, or none, cannot be told from the right ones",
    ),
    (
        "Fetch/frame:Garbled*",
        "Lost|Doubled|Untrue",
        "no checksum covers a batch's base offset",
    ),
    (
        "ShareGroupHeartbeat/assignment.topic_partitions*:Empty/*",
        "NotHealed|Silent",
        "to be assigned nothing is what members beyond what there is to do are used to",
    ),
    (
        "ShareGroupHeartbeat/assignment.topic_partitions*:WithoutFirst/*",
        "NotHealed|Silent",
        "what else there is may be another member's",
    ),
    (
        "ShareFetch/responses:Empty/*",
        "Silent",
        "who says nothing has nothing",
    ),
    (
        "ShareFetch/responses.partitions:Empty/*",
        "Silent",
        "who says nothing has nothing",
    ),
    (
        "ShareFetch/responses:WithoutFirst/*",
        "Silent",
        "who says nothing has nothing",
    ),
    (
        "ShareFetch/responses.partitions:WithoutFirst/*",
        "Silent",
        "who says nothing has nothing",
    ),
    (
        "ShareFetch/responses.partitions.records:Earlier/*",
        "Silent",
        "another partition's batches are handed out as this one's",
    ),
    (
        "ShareFetch/responses.partitions.partition_index:*",
        "Untrue|NotHealed",
        "whole batches of another partition cannot be told from the right ones",
    ),
    (
        "ShareFetch/responses.partitions.records:*",
        "Untrue|NotHealed",
        "whole batches of another partition, or none, cannot be told from the right ones",
    ),
    (
        "ShareFetch/replayed/*",
        "Silent",
        "an earlier answer is a good one: who says that there is nothing is believed",
    ),
    (
        "ShareFetch/frame:Swapped/*",
        "Silent",
        "an earlier answer is a good one: who says that there is nothing is believed",
    ),
    (
        "ShareFetch/responses.partitions.acquired_records.first_offset:Zero/*",
        "NotHealed|Silent",
        "what was acquired, by the broker's own words, and is no record is acknowledged as a gap, and not delivered again",
    ),
    (
        "ShareFetch/responses.partitions.acquired_records.first_offset:Earlier/*",
        "NotHealed|Silent",
        "what was acquired, by the broker's own words, and is no record is acknowledged as a gap, and not delivered again",
    ),
    (
        "Fetch/replayed/*",
        "Lost|Doubled|Untrue",
        "an earlier answer is a good one",
    ),
    (
        "Fetch/frame:Swapped/*",
        "Lost|Doubled|Untrue",
        "an earlier answer is a good one",
    ),
];

/// Whether `name` is of the form of `pattern`, where `*` stands for anything.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
        last = Some(piece);
    }
    match last {
        // What stands after the last star must be the end.
        Some(piece) => rest.is_empty() || piece.is_empty() || name.ends_with(piece),
        None => rest.is_empty(),
    }
}
