//! `pat-events dlq`: dead letters looked at, replayed and deleted. In: a topic of dead letters, and which of them are meant. Out: lines or JSON.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `selection` | which dead letters are meant |
//! | `show` | one dead letter, or a line for each |

mod selection;
mod show;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;

use clap::{Args, Subcommand};
use pat_events::events::{DeadLetterFilter, DeadLetters, PurgeUpTo, ReplayOptions};
use pat_events::kafka::{Client, ClientConfig};
use serde_json::json;

use crate::Outcome;
use crate::cluster::Cluster;
use crate::times;
use crate::typed::Schemas;
use selection::Selection;

/// Look at dead letters, replay them, delete them.
#[derive(Args)]
pub struct Dlq {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print a line for each dead letter: where it stands, when and why it failed, what it is of.
    List {
        /// The topic of the dead letters, such as emails.dlq.
        topic: String,
        #[command(flatten)]
        selection: Selection,
        /// The first so many only.
        #[arg(short = 'n', long)]
        limit: Option<u64>,
        /// A JSON object for each instead.
        #[arg(long)]
        json: bool,
    },
    /// Print all of one dead letter: where its record stood, why it failed, its headers and its value.
    Show {
        /// The topic of the dead letters.
        topic: String,
        /// The partition of the dead letter there.
        partition: i32,
        /// Its offset there.
        offset: i64,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Write the records of dead letters to the topics and partitions that they came from, in order per key, each once.
    ///
    /// What was replayed is committed as the group TOPIC.replay: another run goes on from there. Only one run at a time. A selection that leaves
    /// out some records of a key changes the order of that key, if the others are replayed later.
    Replay {
        /// The topic of the dead letters.
        topic: String,
        #[command(flatten)]
        selection: Selection,
        /// Write to this topic instead; the key says to which partition.
        #[arg(long, value_name = "TOPIC")]
        to: Option<String>,
        /// Keep what was replayed in another group.
        #[arg(short = 'G', long)]
        group: Option<String>,
        /// The first so many only.
        #[arg(short = 'n', long)]
        limit: Option<u64>,
        /// Only count what would be replayed.
        #[arg(long)]
        dry_run: bool,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Delete dead letters, from the oldest on.
    Purge {
        /// The topic of the dead letters.
        topic: String,
        #[command(flatten)]
        up_to: UpTo,
        /// The group in which what was replayed is kept, if it is another than TOPIC.replay.
        #[arg(short = 'G', long)]
        group: Option<String>,
        /// Only print what would be deleted.
        #[arg(long)]
        dry_run: bool,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct UpTo {
    /// Up to the first that was not replayed.
    #[arg(long)]
    replayed: bool,
    /// Up to the first that was written then or later: a time as 2026-11-26T13:00:00Z, milliseconds since 1970, or as 7d, 12h, 30m ago.
    #[arg(long, value_name = "TIME", value_parser = times::read)]
    before: Option<i64>,
    /// All that are there now.
    #[arg(long)]
    all: bool,
}

impl Dlq {
    pub async fn run(&self) -> Outcome {
        let config: ClientConfig = self.cluster.config(&[])?;
        let client = self.cluster.explained(Client::connect(config)).await?;
        let letters = |topic: &String, group: &Option<String>| {
            let letters = DeadLetters::on(&client, topic);
            match group {
                Some(group) => letters.group(group),
                None => letters,
            }
        };
        match &self.action {
            Action::List {
                topic,
                selection,
                limit,
                json,
            } => list(&letters(topic, &None), selection, *limit, *json).await,
            Action::Show {
                topic,
                partition,
                offset,
                json,
            } => show(&letters(topic, &None), *partition, *offset, *json).await,
            Action::Replay {
                topic,
                selection,
                to,
                group,
                limit,
                dry_run,
                json,
            } => {
                let mut options = ReplayOptions::default();
                options.filter = selection.filter();
                options.to.clone_from(to);
                (options.limit, options.dry_run) = (*limit, *dry_run);
                replay(&letters(topic, group), &options, *json).await
            }
            Action::Purge {
                topic,
                up_to,
                group,
                dry_run,
                json,
            } => {
                let up_to = match (up_to.before, up_to.replayed) {
                    (Some(time), _) => PurgeUpTo::Before(time),
                    (None, true) => PurgeUpTo::Replayed,
                    (None, false) => PurgeUpTo::All,
                };
                purge(&letters(topic, group), up_to, *dry_run, *json).await
            }
        }
    }
}

async fn list(
    letters: &DeadLetters,
    selection: &Selection,
    limit: Option<u64>,
    json: bool,
) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    if !json {
        show::heading(&mut out)?;
    }
    let (mut shown, mut written) = (0, Ok(()));
    let limit = limit.unwrap_or(u64::MAX);
    let filter = selection.filter();
    let read = letters.read(&filter, |record, letter| {
        if shown == limit {
            return ControlFlow::Break(());
        }
        shown += 1;
        written = match json {
            true => writeln!(out, "{}", show::to_json(record, letter, None)),
            false => show::line(record, letter, &mut out),
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    let counts = read.await?;
    written?;
    out.flush()?;
    if counts.others > 0 {
        eprintln!("{} records are no dead letters", counts.others);
    }
    Ok(())
}

async fn show(letters: &DeadLetters, partition: i32, offset: i64, json: bool) -> Outcome {
    let schemas = Schemas::load()?;
    let mut out = io::stdout();
    let mut written = None;
    let all = DeadLetterFilter::default();
    let read = letters.read(&all, |record, letter| {
        if (record.partition, record.offset) != (partition, offset) {
            return ControlFlow::Continue(());
        }
        written = Some(match json {
            true => writeln!(out, "{}", show::to_json(record, letter, Some(&schemas))),
            false => show::whole(record, letter, &schemas, &mut out),
        });
        ControlFlow::Break(())
    });
    read.await?;
    match written {
        Some(written) => Ok(written?),
        None => Err(
            format!("there is no dead letter in partition {partition} at offset {offset}").into(),
        ),
    }
}

async fn replay(letters: &DeadLetters, options: &ReplayOptions, json: bool) -> Outcome {
    let done = letters.replay(options).await?;
    let full: Vec<String> = done.full.iter().map(ToString::to_string).collect();
    if json {
        let done = json!({
            "dry_run": options.dry_run, "read": done.read, "selected": done.selected, "replayed": done.replayed,
            "replayed_before": done.before, "doubled": done.doubled, "forgotten": done.forgotten, "gone": done.gone,
            "no_dead_letters": done.others,
            "full": full,
        });
        println!("{done}");
        return Ok(());
    }
    let verb = if options.dry_run {
        "would be replayed"
    } else {
        "replayed"
    };
    println!("{} of {} records {verb}", done.replayed, done.read);
    for (count, what) in [
        (done.before, "replayed before"),
        (done.doubled, "there a second time, and replayed once"),
        (
            done.forgotten,
            "so long ago that a second one of the same record would have been replayed too",
        ),
        (
            done.gone,
            "not replayed: what is left out of them is not in their topic any more",
        ),
        (done.others, "no dead letters"),
    ] {
        if count > 0 {
            println!("{count} {what}");
        }
    }
    for partition in full {
        println!(
            "{partition} was not replayed to its end: no more can be marked; replay it without a selection, or purge, first"
        );
    }
    Ok(())
}

async fn purge(letters: &DeadLetters, up_to: PurgeUpTo, dry_run: bool, json: bool) -> Outcome {
    let purged = letters.purge(up_to, dry_run).await?;
    if json {
        let partitions = purged.into_iter().map(|(partition, purged)| {
            let range = json!({"from": purged.from, "to": purged.to});
            (partition.to_string(), range)
        });
        let partitions: BTreeMap<_, _> = partitions.collect();
        println!("{}", json!({"dry_run": dry_run, "purged": partitions}));
        return Ok(());
    }
    let verb = if dry_run {
        "would be deleted"
    } else {
        "deleted"
    };
    for (partition, purged) in &purged {
        println!(
            "{partition}: offsets {} to {} {verb}",
            purged.from,
            purged.to - 1
        );
    }
    if purged.is_empty() {
        println!("nothing to delete");
    }
    Ok(())
}
