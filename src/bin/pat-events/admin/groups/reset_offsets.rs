//! Where groups go on, shown or set. In: groups, partitions, and a goal. Out: for each partition the offset now and the one to come; nothing is changed
//! unless that was asked for.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use pat_events::kafka::admin::{GroupKind, OffsetSpec};
use pat_events::kafka::{Admin, ErrorCode, OffsetAndMetadata, TopicPartition};
use serde_json::json;

use super::goal::{Goal, Known};
use super::lag::{Described, committed, described, of_share_group};
use super::plan_file::{self, Plan};
use crate::Outcome;
use crate::admin::offsets::listed;
use crate::admin::partitions::{Named, partitions, place, with};
use crate::listing::{Column, Form, Listing};
use crate::notes::note;
use crate::times;

const COLUMNS: [Column; 6] = [
    ("GROUP", "group"),
    ("TOPIC", "topic"),
    ("PARTITION", "partition"),
    ("OFFSET", "offset"),
    ("NEW OFFSET", "new_offset"),
    ("NOTE", "note"),
];

/// Set where groups go on, once they have no members; without --execute it only prints what would be set.
#[derive(Args)]
pub struct ResetOffsets {
    /// Their ids.
    #[arg(required = true)]
    groups: Vec<String>,
    /// A topic, some of its partitions, or a pattern: orders, orders:0,3-5, ^orders\. (a regular expression); may be given several times. Without it and
    /// --all-topics, what the file says.
    #[arg(short, long = "topic", value_name = "TOPIC")]
    topics: Vec<Named>,
    /// All topics of which the group has committed something.
    #[arg(long, conflicts_with = "topics")]
    all_topics: bool,
    #[command(flatten)]
    to: To,
    /// Do it; without it, nothing is changed.
    #[arg(short = 'x', long, conflicts_with = "dry_run")]
    execute: bool,
    /// Change nothing: what happens without --execute, too.
    #[arg(long)]
    dry_run: bool,
    /// Print the new offsets as lines that --from-file reads.
    #[arg(long, conflicts_with = "json")]
    export: bool,
}

/// Where they are to go on.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct To {
    /// Where the log begins.
    #[arg(long)]
    to_earliest: bool,
    /// Where the log ends.
    #[arg(long)]
    to_latest: bool,
    /// Where they are now, within the log.
    #[arg(long)]
    to_current: bool,
    /// At this offset.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// That many offsets further; back with -N.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift_by: Option<i64>,
    /// At the first record of this time or later: 2026-11-26T13:00:00Z, milliseconds since 1970, or as 7d, 12h, 1h30m ago.
    #[arg(long, visible_alias = "to-time", value_name = "TIME", allow_hyphen_values = true, value_parser = times::read)]
    to_datetime: Option<i64>,
    /// At the first record that is no older than this: 7d, 12h, 1h30m, P1DT2H.
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true, value_parser = times::ago)]
    by_duration: Option<i64>,
    /// At the offsets of this file: lines topic,partition,offset, with the group before where there are several.
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

impl To {
    /// `None` for a file.
    fn goal(&self) -> Option<Goal> {
        let plain = [
            (self.to_earliest, Goal::Earliest),
            (self.to_latest, Goal::Latest),
            (self.to_current, Goal::Current),
        ];
        let plain = plain.into_iter().find(|(is_said, _)| *is_said);
        let time = self.to_datetime.or(self.by_duration);
        plain
            .map(|(_, goal)| goal)
            .or(self.to_offset.map(Goal::Offset))
            .or(self.shift_by.map(Goal::Shift))
            .or(time.map(Goal::Time))
    }
}

impl ResetOffsets {
    /// Fails when it does not say which partitions are meant.
    pub fn check(&self) -> Outcome {
        let is_said = self.all_topics || !self.topics.is_empty();
        match (&self.to.from_file, is_said) {
            (None, false) => {
                Err("which partitions? Say --topic TOPIC[:PARTITIONS], or --all-topics".into())
            }
            (Some(_), true) => {
                Err("the file says which partitions: leave out --topic and --all-topics".into())
            }
            (Some(_), false) => self.of_file().map(drop),
            (None, true) => Ok(()),
        }
    }

    /// What the file says, if there is one.
    fn of_file(&self) -> Outcome<Option<Plan>> {
        let Some(path) = &self.to.from_file else {
            return Ok(None);
        };
        let text = fs::read_to_string(path).map_err(|error| error.to_string());
        let plan = text.and_then(|text| plan_file::read(&text, &self.groups));
        Ok(Some(
            plan.map_err(|error| format!("{}: {error}", path.display()))?,
        ))
    }

    pub async fn run(&self, admin: &Admin, form: Form) -> Outcome {
        let columns = if self.export { &[][..] } else { &COLUMNS };
        let mut listing = Listing::new(form, columns);
        let of_file = self.of_file()?;
        let ids: Vec<&str> = self.groups.iter().map(String::as_str).collect();
        let mut exported = Plan::new();
        for (id, group) in described(admin, &ids).await? {
            let kind = match &group {
                Ok(group) => group.kind.clone(),
                // Offsets make a group.
                Err(error) if error.server_error() == Some(ErrorCode::GROUP_ID_NOT_FOUND) => {
                    GroupKind::Classic
                }
                Err(error) => {
                    listing.failed(json!({"group": id}), error);
                    continue;
                }
            };
            if let Ok(group) = &group
                && !self.has_none(&id, group, &mut listing)
            {
                continue;
            }
            let plan = of_file
                .as_ref()
                .map(|plan| plan.get(&id).cloned().unwrap_or_default());
            let set = self.one(admin, &id, &kind, plan, &mut listing).await?;
            exported.insert(id, set);
        }
        if self.export {
            io::stdout().write_all(plan_file::write(&exported).as_bytes())?;
        }
        let changes = exported.values().any(|offsets| !offsets.is_empty());
        if changes && !self.execute {
            note("nothing was changed: --execute sets these offsets");
        }
        listing.end()
    }

    /// Whether the group has no members, which would go on where they are and commit that.
    fn has_none(&self, id: &str, group: &Described, listing: &mut Listing) -> bool {
        let members = group.members.len();
        if members == 0 {
            return true;
        }
        let text = format!("group {id} has {members} members: end them first");
        match self.execute {
            true => {
                listing.wrong(json!({"group": id}), text);
                false
            }
            false => {
                note(format!("warning: {text}"));
                true
            }
        }
    }

    /// Shows or sets the offsets of one group, and returns them.
    async fn one(
        &self,
        admin: &Admin,
        id: &str,
        kind: &GroupKind,
        plan: Option<BTreeMap<TopicPartition, i64>>,
        listing: &mut Listing,
    ) -> Outcome<BTreeMap<TopicPartition, i64>> {
        let about = |at: &TopicPartition| with(place(at), json!({"group": id}));
        let (current, failures) = match kind {
            GroupKind::Share => of_share_group(admin, id).await?,
            _ => committed(admin, id).await?,
        };
        for (at, error) in &failures {
            listing.failed(about(at), error);
        }
        let meant: Vec<TopicPartition> = match &plan {
            Some(plan) => plan.keys().cloned().collect(),
            None if self.all_topics => current.keys().cloned().collect(),
            None => partitions(admin, &self.topics, true, listing).await?,
        };
        let goal = self.to.goal();
        let looked_for = goal.and_then(Goal::looks_for).unwrap_or(OffsetSpec::Latest);
        let (mut begin, mut end, mut at_time) = tokio::try_join!(
            listed(admin, &meant, OffsetSpec::Earliest, false),
            listed(admin, &meant, OffsetSpec::Latest, false),
            listed(admin, &meant, looked_for, false),
        )?;
        let mut aims = BTreeMap::new();
        for at in meant {
            let found = [&mut begin, &mut end, &mut at_time].map(|all| all.remove(&at).transpose());
            let [begin, end, at_time] = match found {
                [Ok(begin), Ok(end), Ok(at_time)] => {
                    [begin, end, at_time].map(|it| it.and_then(|it| it.offset))
                }
                found => {
                    let error = found.into_iter().find_map(Result::err);
                    if let Some(error) = error {
                        listing.failed(about(&at), &error);
                    }
                    continue;
                }
            };
            let known = Known {
                current: current.get(&at).and_then(|it| it.next),
                begin: begin.unwrap_or(0),
                end: end.unwrap_or(0),
                at_time,
            };
            let goal = match &plan {
                Some(plan) => Goal::Offset(plan[&at]),
                None => goal.unwrap_or(Goal::Current),
            };
            match goal.aim(known) {
                Ok(aim) => drop(aims.insert(at, (known.current, aim))),
                Err(why) => listing.wrong(about(&at), format!("{at}: {why}")),
            }
        }
        let offsets: BTreeMap<_, _> = aims
            .iter()
            .map(|(at, (_, aim))| (at.clone(), aim.offset))
            .collect();
        let mut results = match self.execute && !offsets.is_empty() {
            true => set(admin, id, kind, &offsets).await?,
            false => BTreeMap::new(),
        };
        let mut done = BTreeMap::new();
        for (at, (now, aim)) in aims {
            if let Some(Err(error)) = results.remove(&at) {
                listing.failed(about(&at), &error);
                continue;
            }
            done.insert(at.clone(), aim.offset);
            let thing = json!({
                "offset": now,
                "new_offset": aim.offset,
                "note": aim.note,
                "executed": self.execute,
            });
            listing.add(with(about(&at), thing));
        }
        Ok(done)
    }
}

async fn set(
    admin: &Admin,
    id: &str,
    kind: &GroupKind,
    offsets: &BTreeMap<TopicPartition, i64>,
) -> pat_events::kafka::Result<BTreeMap<TopicPartition, pat_events::kafka::Result<()>>> {
    if *kind == GroupKind::Share {
        return admin.alter_share_group_offsets(id, offsets).await;
    }
    let offsets = offsets.iter();
    let offsets = offsets.map(|(at, offset)| (at.clone(), OffsetAndMetadata::new(*offset)));
    admin.alter_group_offsets(id, &offsets.collect()).await
}
