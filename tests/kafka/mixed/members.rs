//! Members of several clients, and what they note. In: settings. Out: a [`Member`] whose notes say what it was assigned and has read: lines of text, whoever
//! writes them.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pat_events::kafka::{Consumer, ConsumerHandle, RebalanceListener, TopicPartition};

use crate::fleet::Target;
use crate::support::guarded::Guarded;
use crate::support::java::{Jdk, folder};
use crate::support::python::Python;

const POLL: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    Ours,
    Java,
    Librdkafka,
}

/// The programs in which members of other clients run.
pub(super) struct Clients {
    folder: PathBuf,
    _programs: Vec<Guarded>,
}

impl Clients {
    /// Starts those that there are.
    pub fn start(target: &Target, jdk: Option<&Jdk>, python: Option<&Python>) -> Self {
        static RUNS: AtomicU32 = AtomicU32::new(0);
        let run = RUNS.fetch_add(1, Ordering::Relaxed);
        let folder = folder().join(format!("mixed-{}-{run}", std::process::id()));
        let place = |client: Client| {
            let place = folder.join(format!("{client:?}"));
            fs::create_dir_all(&place).expect("a folder");
            let log = place.join("log");
            (place.to_string_lossy().into_owned(), log)
        };
        let mut programs = Vec::new();
        if let Some(jdk) = jdk {
            let (place, log) = place(Client::Java);
            let arguments = [&*target.bootstrap, &place];
            let started = jdk.start("GroupMembers", &arguments, &log);
            programs.push(started.expect("Java starts"));
        }
        if let Some(python) = python {
            let (place, log) = place(Client::Librdkafka);
            let arguments = [&*target.bootstrap, &place];
            let started = python.start("group_members", &arguments, &log);
            programs.push(started.expect("Python starts"));
        }
        Self {
            folder,
            _programs: programs,
        }
    }

    pub async fn join(
        &self,
        client: Client,
        target: &Target,
        group: &str,
        name: &str,
        settings: &[(&str, String)],
    ) -> Member {
        let mut all = vec![("group.id", group)];
        all.extend(settings.iter().map(|(name, value)| (*name, &**value)));
        let running = match client {
            Client::Ours => ours(target, group, &all).await,
            _ => {
                let path = self.folder.join(format!("{client:?}")).join(name);
                all.push(("topic", group));
                let lines = all.iter().map(|(name, value)| format!("{name}={value}\n"));
                let whole = path.with_extension("part");
                fs::write(&whole, lines.collect::<String>()).expect("written");
                fs::rename(&whole, path.with_extension("member")).expect("renamed");
                Running::There(path)
            }
        };
        Member { client, running }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self._programs.clear();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

pub(super) struct Member {
    pub client: Client,
    running: Running,
}

enum Running {
    Here {
        notes: Arc<Mutex<String>>,
        handle: ConsumerHandle,
        leaves: Arc<AtomicBool>,
    },
    /// In another process, under this name.
    There(PathBuf),
}

/// What a member has noted so far.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub assigned: BTreeSet<i32>,
    /// How often partitions came or went.
    pub changes: usize,
    /// Partition and offset of each record.
    pub read: Vec<(i32, i64)>,
    pub closed: bool,
    pub last: String,
}

impl Member {
    pub fn leave(&mut self) {
        match &self.running {
            Running::Here { leaves, .. } => leaves.store(true, Ordering::Relaxed),
            Running::There(path) => fs::write(path.with_extension("stop"), "").expect("written"),
        }
    }

    /// The generation, or the member's epoch, where it is one of ours.
    pub fn generation(&self) -> Option<i32> {
        match &self.running {
            Running::Here { handle, .. } => handle.generation(),
            Running::There(_) => None,
        }
    }

    pub fn notes(&self) -> Notes {
        let text = match &self.running {
            Running::Here { notes, .. } => notes.lock().expect("no panic").clone(),
            Running::There(path) => {
                fs::read_to_string(path.with_extension("notes")).unwrap_or_default()
            }
        };
        let mut notes = Notes::default();
        // A line that is still being written is not looked at.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            let numbers = || rest.split(' ').filter(|it| !it.is_empty());
            let partitions = || numbers().map(|it| it.parse::<i32>().expect("a number"));
            match what {
                "assigned" => notes.assigned.extend(partitions()),
                "revoked" | "lost" => partitions().for_each(|it| {
                    notes.assigned.remove(&it);
                }),
                "read" => {
                    let mut numbers = numbers();
                    let mut next = || numbers.next().expect("a number");
                    let partition = next().parse().expect("a partition");
                    let offset = next().parse().expect("an offset");
                    notes.read.push((partition, offset));
                    continue;
                }
                "closed" => notes.closed = true,
                "error" => {}
                _ => panic!("{:?}: {line}", self.client),
            }
            notes.changes += usize::from(!rest.is_empty() && what != "error");
            notes.last = line.to_owned();
        }
        notes
    }
}

async fn ours(target: &Target, topic: &str, settings: &[(&str, &str)]) -> Running {
    let mut consumer = target.consumer(settings).await;
    let notes = Arc::new(Mutex::new(String::new()));
    let told = Told(notes.clone());
    let subscribed = consumer.subscribe_with(&[topic], told).await;
    subscribed.expect("subscribed");
    let leaves = Arc::new(AtomicBool::new(false));
    let handle = consumer.handle();
    tokio::spawn(run(consumer, notes.clone(), leaves.clone()));
    Running::Here {
        notes,
        handle,
        leaves,
    }
}

async fn run(mut consumer: Consumer, notes: Arc<Mutex<String>>, leaves: Arc<AtomicBool>) {
    let note = |text: &str| notes.lock().expect("no panic").push_str(text);
    while !leaves.load(Ordering::Relaxed) {
        match consumer.poll(POLL).await {
            Ok(records) => {
                let mut read = String::new();
                for record in &records {
                    let (partition, offset) = (record.partition, record.offset);
                    writeln!(read, "read {partition} {offset}").expect("text");
                }
                note(&read);
            }
            // A topic that is new is not known at once; who stays behind is noticed.
            Err(error) => note(&format!("error {error}\n")),
        }
    }
    match consumer.close().await {
        Ok(()) => note("closed\n"),
        Err(error) => note(&format!("failed {error}\n")),
    }
}

/// Notes what it is told.
struct Told(Arc<Mutex<String>>);

impl Told {
    fn note(&self, what: &str, partitions: &[TopicPartition]) {
        let numbers: String = partitions
            .iter()
            .map(|it| format!(" {}", it.partition))
            .collect();
        let line = format!("{what}{numbers}\n");
        self.0.lock().expect("no panic").push_str(&line);
    }
}

impl RebalanceListener for Told {
    async fn on_assigned(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("assigned", partitions);
    }

    async fn on_revoked(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("revoked", partitions);
    }

    async fn on_lost(&self, _: &ConsumerHandle, partitions: &[TopicPartition]) {
        self.note("lost", partitions);
    }
}
