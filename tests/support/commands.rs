//! The commands of the tables in the program's README: each runs as it stands there. In: the README, a cluster. Out: what does not do what it says.
//!
//! A row's right cell has commands between backquotes, or says `no counterpart`, or what is done anyway. What stands in a command for something of a
//! cluster (`T`, `G`, `FILE` …) is made for each command anew: see [`Stage`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pat_events::kafka::{ProducerConfig, Record, TransactionalProducer};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
/// The longest that a command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A line of a table.
#[derive(Debug)]
pub struct Row {
    pub left: String,
    pub right: String,
    /// The words of each command.
    pub commands: Vec<Vec<String>>,
}

/// The rows of the table below this heading.
pub fn rows(heading: &str) -> Vec<Row> {
    let text = fs::read_to_string(README).expect("the README");
    let (_, section) = text
        .split_once(&format!("\n## {heading}\n"))
        .expect(heading);
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines = section.lines().filter(|line| line.starts_with("| "));
    // Titles and the line below them.
    let rows = lines.skip(2).map(|line| {
        let line = line.replace("\\|", "\u{1}");
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [left, right] = cells[..] else {
            panic!("{line} has not two cells");
        };
        let whole = |text: &str| text.replace('\u{1}', "|");
        let (left, right) = (whole(left), whole(right));
        let spans = right.split('`').skip(1).step_by(2);
        let commands = spans.map(words).filter(|words| is_command(words)).collect();
        Row {
            left,
            right,
            commands,
        }
    });
    rows.collect()
}

/// Whether a command is run on Kafka as well: the embedded broker does not do all that these are for.
pub fn needs_kafka(words: &[String]) -> bool {
    ["configs", "features", "quorum", "reassign", "topics"].contains(&words[0].as_str())
}

/// Whether these words begin with a command of the program, and not with an option of the one before.
fn is_command(words: &[String]) -> bool {
    let Some(first) = words.first() else {
        return false;
    };
    matches!(first.as_str(), "--version" | "--help")
        || first.len() > 1
            && first
                .bytes()
                .all(|it| it.is_ascii_lowercase() || it == b'-')
            && !first.starts_with('-')
            && first != "null"
}

/// The words of a line, where single quotes keep them together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut is_quoted) = (Vec::new(), None::<String>, false);
    for sign in line.chars() {
        match sign {
            '\'' => {
                is_quoted = !is_quoted;
                word.get_or_insert_default();
            }
            ' ' if !is_quoted => words.extend(word.take()),
            sign => word.get_or_insert_default().push(sign),
        }
    }
    words.extend(word);
    words
}

/// What the names in a command stand for, made on a cluster.
pub struct Stage {
    pub brokers: String,
    names: BTreeMap<&'static str, String>,
    folder: PathBuf,
}

/// What each name stands for is made only for commands that have it: of all the names that stand in them, the words of capitals.
impl Stage {
    /// `url` is that of a registry whose schema 1 is a string.
    pub fn new(brokers: &str, words: &[String], url: &str, runtime: &Runtime) -> Stage {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!(
            "pat-events-commands-{}-{number}",
            std::process::id()
        ));
        fs::create_dir_all(&folder).expect("a folder");
        let mut stage = Stage {
            brokers: brokers.to_owned(),
            names: BTreeMap::new(),
            folder,
        };
        let has = |name: &str| words.iter().any(|word| is_in(word, name));
        let topic = format!("topic{number}");
        let lines: String = (1..=10).map(|line| format!("{line}\n")).collect();
        stage.run(&["topics", "create", &topic, "-p", "3"], b"");
        stage.run(
            &["produce", "-t", &topic, "-p", "0", "-k", "key"],
            lines.as_bytes(),
        );
        if has("G") {
            let group = format!("group{number}");
            stage.run(&["consume", "-t", &topic, "-G", &group, "-c", "3"], b"");
            stage.names.insert("G", group);
        }
        if has("A") {
            let topic = format!("avro{number}");
            let value = br#"{"value": {"hex": "00000000010274"}}"#;
            stage.run(&["topics", "create", &topic, "-p", "1"], b"");
            stage.run(&["produce", "-t", &topic, "-J"], value);
            stage.names.insert("A", topic);
        }
        if has("ID") || has("PRODUCER") {
            let id = format!("transaction{number}");
            stage.open_transaction(&id, &topic, runtime);
            if has("PRODUCER") {
                let told = stage.run(&["transactions", "describe", &id, "--json"], b"");
                let told: Value = serde_json::from_str(&told).expect("JSON");
                stage
                    .names
                    .insert("PRODUCER", told["producer_id"].to_string());
                stage
                    .names
                    .insert("EPOCH", told["producer_epoch"].to_string());
            }
            stage.names.insert("ID", id);
        }
        for (name, text) in [
            ("FILE", "one\ntwo\n".to_owned()),
            ("CONFIG", "client.id=file\n".to_owned()),
            ("PROPERTIES", "retention.ms=60000\n".to_owned()),
            ("PASSWORD", "secret\n".to_owned()),
            ("PLAN", format!("{topic},0,1\n")),
            (
                "OFFSETS",
                format!(
                    r#"{{"partitions": [{{"topic": "{topic}", "partition": 0, "offset": 1}}], "version": 1}}"#
                ),
            ),
        ] {
            let path = stage.folder.join(name);
            fs::write(&path, text).expect("written");
            stage.names.insert(name, path.display().to_string());
        }
        stage.names.insert("NEW", format!("new{number}"));
        stage.names.insert("T", topic);
        stage.names.insert("BROKERS", brokers.to_owned());
        stage.names.insert("URL", url.to_owned());
        stage
    }

    /// Begins a transaction that stays open as long as the runtime is there.
    fn open_transaction(&self, id: &str, topic: &str, runtime: &Runtime) {
        let (brokers, id, topic) = (self.brokers.clone(), id.to_owned(), topic.to_owned());
        let (tell, begun) = oneshot::channel();
        runtime.spawn(async move {
            let config = ProducerConfig::new(&brokers);
            let connecting = TransactionalProducer::connect(config, &id);
            let mut producer = connecting.await.expect("a producer");
            let transaction = producer.begin().await.expect("begun");
            transaction
                .send(Record::new(&topic).value(b"open"))
                .await
                .expect("written");
            let _ = tell.send(());
            std::future::pending::<()>().await;
        });
        runtime.block_on(begun).expect("a transaction");
    }

    fn run(&self, words: &[&str], input: &[u8]) -> String {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let (status, output) = self.end_of(&words, input);
        assert_eq!(status, Some(0), "{words:?}: {output}");
        output
    }

    /// Runs a command of the tables to its end: its status, and what it said.
    pub fn try_out(&self, words: &[String]) -> (Option<i32>, String) {
        let filled: Vec<String> = words.iter().map(|word| self.fill(word)).collect();
        let is_json = words.iter().any(|word| word == "-J");
        let input = match is_json {
            true => "{\"value\": \"one\"}\n",
            false => "key:one;key:two\n",
        };
        self.end_of(&filled, input.as_bytes())
    }

    /// With what its names stand for.
    fn fill(&self, word: &str) -> String {
        if word.starts_with('-') {
            return word.to_owned();
        }
        let (mut filled, mut name) = (String::new(), String::new());
        for sign in word.chars().chain(['\0']) {
            if sign.is_ascii_alphanumeric() {
                name.push(sign);
                continue;
            }
            filled.push_str(self.names.get(name.as_str()).unwrap_or(&name));
            name.clear();
            filled.extend(Some(sign).filter(|it| *it != '\0'));
        }
        filled
    }

    fn end_of(&self, words: &[String], input: &[u8]) -> (Option<i32>, String) {
        let has = |option: &str| words.iter().any(|word| word == option);
        let is_of_cluster = !words[0].starts_with('-') && words[0] != "broker";
        let mut all: Vec<&str> = words.iter().map(String::as_str).collect();
        if is_of_cluster && !has("-b") {
            all.extend(["-F", "none", "-b", &self.brokers]);
        }
        let is_endless = words[0] == "broker"
            || words[0] == "consume"
                && !has("-e")
                && !has("-c")
                && !words.iter().any(|word| word.starts_with("e@"));
        let mut child = start_with(&all, input);
        let mut said = Vec::new();
        if is_endless {
            let mut first = [0; 64];
            let read = child.stdout.as_mut().expect("piped").read(&mut first);
            said.extend(&first[..read.unwrap_or(0)]);
            let signalled = Command::new("kill").arg(child.id().to_string()).status();
            assert!(
                signalled.is_ok_and(|it| it.success()),
                "{words:?} had ended"
            );
        }
        let begun = Instant::now();
        while child.try_wait().expect("a child").is_none() {
            if begun.elapsed() > PATIENCE {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().expect("it ended");
        said.extend(stdout);
        said.extend(stderr);
        (status.code(), String::from_utf8_lossy(&said).into_owned())
    }
}

/// Starts the program, and writes this to its standard input, which ends then.
pub fn start_with(words: &[&str], input: &[u8]) -> Child {
    let mut child = start(words);
    // What it does not read, it does not read.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child
}

/// Starts the program with pipes at its ends.
pub fn start(words: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pat-events"))
        .args(words)
        .env_remove("RUST_LOG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts")
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Whether a word has this name in it, not as a part of another.
fn is_in(word: &str, name: &str) -> bool {
    let mut parts = word.split(|sign: char| !sign.is_ascii_alphanumeric());
    !word.starts_with('-') && parts.any(|part| part == name)
}
