//! A log in files does what one in memory does, and is there again whatever happens to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use protocol::Uuid;
use protocol::compression::{Compression, Compressor};
use protocol::records::{BatchBuilder, RecordBatch, SealOptions};

use super::*;
use crate::broker::batch::stored;
use crate::broker::log::Log;
use crate::broker::storage::{LogSlice, NewBatch};

const ID: Uuid = Uuid::from_u128(77);

fn open(folder: &TestFolder) -> Arc<DataDir> {
    DataDir::open(folder.path(), FsyncPolicy::Never, "cluster").expect("a data directory")
}

async fn close(dir: &DataDir) {
    dir.close();
    dir.closed().await;
}

fn of(segment_bytes: u64) -> PartitionFolder {
    PartitionFolder {
        topic: "t".to_owned(),
        topic_id: ID,
        partition: 0,
        segment_bytes,
        retention_bytes: u64::MAX,
    }
}

fn batch(records: usize, size: usize, timestamp_ms: i64) -> NewBatch {
    let mut builder = BatchBuilder::new(Vec::new());
    for index in 0..records {
        let value = vec![index as u8; size];
        builder
            .append(timestamp_ms, None, Some(&value), [])
            .expect("room");
    }
    let sealed = builder.seal(
        &SealOptions::default(),
        &mut Compressor::new(Compression::NONE),
    );
    stored(&RecordBatch::read(sealed.into_bytes()).expect("a batch"))
}

fn new_log(dir: &Arc<DataDir>, segment_bytes: u64) -> Log {
    let mut log = Log::kept_in(Box::new(DirectoryStore::new(
        dir.clone(),
        &of(segment_bytes),
    )));
    log.begin_epoch(0);
    log
}

fn recovered(dir: &Arc<DataDir>, segment_bytes: u64, start_offset: i64) -> io::Result<Log> {
    let mut log = Log::default();
    let mut store = DirectoryStore::new(dir.clone(), &of(segment_bytes));
    let bounds = store.recover(start_offset, |batch| log.replay(batch))?;
    log.restored(Box::new(store), bounds);
    Ok(log)
}

fn files(folder: &TestFolder) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder.path().join("t-0")).expect("the folder");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "log"));
    files.sort();
    files
}

async fn all(log: &Log) -> Bytes {
    let slice = log.read(log.start_offset(), usize::MAX >> 1, true, log.end_offset());
    slice.loaded().await.expect("read").to_bytes()
}

#[tokio::test]
async fn batches_are_read_back_across_segments_and_restarts() {
    let folder = TestFolder::new();
    let dir = open(&folder);
    let (mut log, mut memory) = (new_log(&dir, 3_000), Log::default());
    for index in 0..40 {
        let new = batch(1 + index % 3, 200, index as i64);
        log.append(new.clone(), 0).expect("taken");
        memory.append(new, 0).expect("taken");
    }
    assert!(files(&folder).len() > 5);
    let whole = all(&memory).await;
    assert_eq!(all(&log).await, whole);
    for offset in 0..memory.end_offset() {
        let read = |log: &Log| log.read_whole(offset, 1_500, true).loaded();
        let (from_files, from_memory) = (read(&log).await, read(&memory).await);
        let (from_files, from_memory) = (from_files.expect("read"), from_memory.expect("read"));
        assert_eq!(from_files.bounds, from_memory.bounds);
        assert_eq!(from_files.to_bytes(), from_memory.to_bytes());
        let at = |log: &Log| log.max_timestamp_at(offset).expect("read");
        assert_eq!(at(&log), at(&memory));
    }
    for timestamp_ms in 0..41 {
        let since = |log: &Log| {
            log.first_batch_since(timestamp_ms)
                .expect("read")
                .map(|it| it.to_bytes())
        };
        assert_eq!(since(&log), since(&memory));
    }
    drop(log);
    let again = recovered(&dir, 3_000, 0).expect("all is well");
    assert_eq!(
        (again.end_offset(), all(&again).await),
        (memory.end_offset(), whole)
    );
    assert_eq!(again.size_bytes(), memory.size_bytes());
    close(&dir).await;
}

#[tokio::test]
async fn whereever_the_newest_file_ends_the_batches_before_are_there_and_appending_goes_on() {
    let folder = TestFolder::new();
    let dir = open(&folder);
    let mut log = new_log(&dir, 1_000);
    let mut ends = vec![(0, 0)];
    for index in 0..12 {
        log.append(batch(2, 60, index), 0).expect("taken");
        ends.push((log.size_bytes(), log.end_offset()));
    }
    let whole = all(&log).await;
    drop(log);
    let newest = files(&folder).pop().expect("files");
    let bytes = fs::read(&newest).expect("read");
    let before = whole.len() - bytes.len();
    for cut in (0..=bytes.len()).rev() {
        fs::write(&newest, &bytes[..cut]).expect("written");
        let mut log = recovered(&dir, 1_000, 0).expect("a torn end is no damage");
        let (size, end) = *ends
            .iter()
            .rfind(|(size, _)| *size <= (before + cut) as u64)
            .expect("the first is empty");
        assert_eq!(
            (log.size_bytes(), log.end_offset()),
            (size, end),
            "cut at {cut}"
        );
        assert_eq!(all(&log).await, whole[..size as usize], "cut at {cut}");
        assert_eq!(log.append(batch(1, 5, 0), 1).expect("taken"), end);
        drop(log);
        let log = recovered(&dir, 1_000, 0).expect("all is well");
        assert_eq!(log.end_offset(), end + 1, "cut at {cut}");
        for new in files(&folder).into_iter().filter(|path| *path > newest) {
            fs::remove_file(new).expect("removed");
        }
    }
    close(&dir).await;
}

#[tokio::test]
async fn a_byte_that_changes_costs_the_newest_batch_at_most_and_before_it_the_start_is_refused() {
    let folder = TestFolder::new();
    let dir = open(&folder);
    let mut log = new_log(&dir, 1 << 20);
    for index in 0..3 {
        log.append(batch(2, 40, index), 0).expect("taken");
    }
    let whole = all(&log).await;
    let size = whole.len() / 3;
    drop(log);
    let file = files(&folder).pop().expect("a file");
    for flipped in 0..whole.len() {
        let mut bytes = whole.to_vec();
        bytes[flipped] ^= 0x11;
        fs::write(&file, &bytes).expect("written");
        let log = recovered(&dir, 1 << 20, 0);
        let (index, at) = (flipped / size, flipped % size);
        match log {
            // The leader epoch has no checksum: it has to be one, and none may come after a later one.
            Ok(log) if (12..16).contains(&at) => assert!(log.end_offset() >= 2 * index as i64),
            Ok(log) => {
                assert_eq!((index, log.end_offset()), (2, 4), "byte {flipped}");
                assert_eq!(all(&log).await, whole[..2 * size], "byte {flipped}");
            }
            Err(error) => {
                assert!(index < 2, "byte {flipped}: {error}");
                let text = error.to_string();
                let place = format!("at byte {}, of offset {},", size * index, 2 * index);
                let place = if (12..16).contains(&at) {
                    "is damaged"
                } else {
                    &place
                };
                assert!(
                    text.contains(place) && text.contains("truncate -s"),
                    "byte {flipped}: {text}"
                );
                assert!(text.contains(&*file.to_string_lossy()), "{text}");
            }
        }
    }
    close(&dir).await;
}

#[tokio::test]
async fn a_file_that_is_missing_or_damaged_in_the_middle_of_a_log_is_told() {
    let folder = TestFolder::new();
    let dir = open(&folder);
    let mut log = new_log(&dir, 500);
    for index in 0..6 {
        log.append(batch(3, 100, index), 0).expect("taken");
    }
    drop(log);
    let files = files(&folder);
    let cut = fs::read(&files[1]).expect("read");
    fs::write(&files[1], &cut[..cut.len() - 1]).expect("written");
    let error = recovered(&dir, 500, 0).expect_err("damaged").to_string();
    assert!(error.contains("is damaged"), "{error}");
    fs::remove_file(&files[1]).expect("removed");
    let error = recovered(&dir, 500, 0).expect_err("missing").to_string();
    assert!(
        error.contains("the records from offset 3 to 5 are missing"),
        "{error}"
    );
    close(&dir).await;
}

#[tokio::test]
async fn whole_files_go_by_retention_and_on_demand_and_the_beginning_is_kept() {
    let folder = TestFolder::new();
    let dir = open(&folder);
    let mut log = new_log(&dir, 1_000);
    for index in 0..20 {
        log.append(batch(1, 300, index), 0).expect("taken");
    }
    let (size, count) = (log.size_bytes(), files(&folder).len());
    log.retain(size / 2);
    assert!(log.size_bytes() <= size / 2 && files(&folder).len() <= count / 2 + 1);
    let start = log.start_offset();
    assert!(start > 0);
    log.delete_before(start + 1);
    assert_eq!(log.start_offset(), start + 1);
    let first = log.first_batch_since(0).expect("read").expect("found");
    assert_eq!(first.base_offset, start + 1);
    log.note(3).expect("noted");
    drop(log);
    let notes: Vec<_> = dir.values().expect("read");
    let (key, note) = notes.first().expect("a note");
    assert_eq!(*key, Key::Partition(ID, 0));
    let note = PartitionNote::read(note).expect("a note");
    assert_eq!(
        note,
        PartitionNote {
            start_offset: start + 1,
            leader_epoch: 3
        }
    );
    let mut log = recovered(&dir, 1_000, note.start_offset).expect("all is well");
    assert_eq!((log.start_offset(), log.end_offset()), (start + 1, 20));
    log.delete_before(20);
    assert_eq!((files(&folder).len(), log.size_bytes()), (1, 0));
    assert_eq!(
        log.newest_batch().expect("read").map(|it| it.base_offset),
        None
    );
    drop(log);
    let mut log = recovered(&dir, 1_000, 0).expect("all is well");
    assert_eq!((log.start_offset(), log.end_offset()), (20, 20));
    assert_eq!(log.append(batch(1, 3, 0), 5).expect("taken"), 20);
    log.delete();
    assert!(!folder.path().join("t-0").exists());
    close(&dir).await;
}

#[tokio::test]
async fn a_directory_is_used_by_one_and_says_what_it_is() {
    let folder = TestFolder::new();
    let refused = |path: &Path| {
        let opened = DataDir::open(path, FsyncPolicy::Always, "other");
        opened.expect_err("refused").to_string()
    };
    let dir = open(&folder);
    assert!(refused(folder.path()).contains("another broker uses this directory"));
    close(&dir).await;
    let dir = DataDir::open(folder.path(), FsyncPolicy::Always, "other").expect("it is free");
    assert_eq!(dir.cluster_id(), "cluster");
    dir.write(&[]).expect("nothing to do");
    close(&dir).await;
    let error = dir
        .write(&[Change::remove(&Key::ProducerIds)])
        .expect_err("closed");
    assert!(error.to_string().contains("nothing more is taken"));
    let properties = folder.path().join("meta.properties");
    let text = fs::read_to_string(&properties).expect("read");
    fs::write(&properties, text.replace("version=1", "version=2")).expect("written");
    assert!(refused(folder.path()).contains("has version 2, and this program reads up to 1"));
    fs::write(&properties, "version=1\ncluster.id=x\n").expect("written");
    assert!(refused(folder.path()).contains("no data directory of this broker"));
    fs::remove_file(&properties).expect("removed");
    fs::write(folder.path().join("letter.txt"), "dear").expect("written");
    let error = refused(folder.path());
    assert!(error.contains("not empty ("), "{error}");
    assert!(refused(&folder.path().join("letter.txt")).contains("letter.txt"));
}

#[tokio::test]
async fn what_was_written_is_settled_once_it_is_flushed() {
    let folder = TestFolder::new();
    for policy in [
        FsyncPolicy::Always,
        FsyncPolicy::Interval(std::time::Duration::from_millis(1)),
    ] {
        let dir = DataDir::open(folder.path(), policy, "cluster").expect("a data directory");
        let mut log = new_log(&dir, 1_000);
        for index in 0..20 {
            log.append(batch(1, 300, index), 0).expect("taken");
            dir.settled().await.expect("flushed");
            dir.settle().expect("flushed");
        }
        log.delete();
        close(&dir).await;
        assert!(log.append(batch(1, 1, 0), 0).is_err(), "it is closed");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, usize, i64),
    Truncate(i64),
    DeleteBefore(i64),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..4usize, 0..400usize, 0..50i64).prop_map(|(records, size, at)| Step::Append(records, size, at)),
        1 => (0..60i64).prop_map(Step::Truncate),
        1 => (0..60i64).prop_map(Step::DeleteBefore),
        1 => Just(Step::Restart),
    ]
}

/// Of a batch at the end of a slice of which there is not even a header, a log in files says nothing.
fn agree(from_files: &LogSlice, from_memory: &LogSlice) {
    let (files, memory) = (from_files.to_bytes(), from_memory.to_bytes());
    assert!(
        memory.starts_with(&files) && memory.len() - files.len() < 61,
        "{} and {}",
        files.len(),
        memory.len()
    );
}

async fn the_same(steps: Vec<Step>, reads: Vec<(i64, usize, bool)>) {
    let folder = TestFolder::new();
    let dir = open(&folder);
    let (mut log, mut memory) = (new_log(&dir, 900), Log::default());
    memory.begin_epoch(0);
    for step in steps {
        match step {
            Step::Append(records, size, at) => {
                let new = batch(records, size, at);
                let offset = log.append(new.clone(), 0).expect("taken");
                assert_eq!(offset, memory.append(new, 0).expect("taken"));
            }
            // What is deleted is not cut off a second time.
            Step::Truncate(offset) if offset > memory.start_offset() + 3 => {
                log.truncate(offset).expect("cut");
                memory.truncate(offset).expect("cut");
            }
            Step::DeleteBefore(offset) if offset <= memory.end_offset() => {
                log.delete_before(offset);
                memory.delete_before(offset);
            }
            Step::Truncate(_) | Step::DeleteBefore(_) => {}
            Step::Restart => log = recovered(&dir, 900, log.start_offset()).expect("all is well"),
        }
        assert_eq!(log.end_offset(), memory.end_offset());
        assert_eq!(log.start_offset(), memory.start_offset());
        let newest = |log: &Log| log.newest_batch().expect("read").map(|it| it.base_offset);
        assert_eq!(newest(&log), newest(&memory));
    }
    let end = log.end_offset();
    for (offset, max_bytes, at_least_one) in reads {
        let offset = offset.clamp(log.start_offset(), end);
        for until in [end, end / 2] {
            let read = log.read(offset, max_bytes, at_least_one, until).loaded();
            agree(
                &read.await.expect("read"),
                &memory.read(offset, max_bytes, at_least_one, until),
            );
        }
        let whole = log
            .read_whole(offset, max_bytes, at_least_one)
            .loaded()
            .await
            .expect("read");
        let in_memory = memory.read_whole(offset, max_bytes, at_least_one);
        assert_eq!(
            (whole.bounds.clone(), whole.to_bytes()),
            (in_memory.bounds.clone(), in_memory.to_bytes())
        );
    }
    close(&dir).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_in_files_does_what_one_in_memory_does(
        steps in prop::collection::vec(step(), 1..40),
        reads in prop::collection::vec((0..60i64, 0..3_000usize, any::<bool>()), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(the_same(steps, reads));
    }
}
