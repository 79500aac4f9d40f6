//! Consumers that are processes of their own: this program once more, started with a mark by a test that kills them, or looks on as they die. In:
//! the mark, the brokers, the topic, and the file in which the consumer notes what it does.

use std::fs::File;

use pat_events::events::ConsumerError;

/// Consumes, if this program was started with `mark` for that, until it dies or is killed.
pub fn be_one_if_asked<F>(mark: &str, consume: impl FnOnce(String, String, File) -> F)
where
    F: Future<Output = Result<(), ConsumerError>>,
{
    let arguments: Vec<String> = std::env::args().collect();
    let [_, what, bootstrap, topic, notes] = arguments.as_slice() else {
        return;
    };
    if what != mark {
        return;
    }
    let notes = File::options().append(true).open(notes).expect("a file");
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(2).enable_all().build();
    let consuming = consume(bootstrap.clone(), topic.clone(), notes);
    let ended = runtime.expect("a runtime").block_on(consuming);
    panic!("a consumer ended by itself: {ended:?}");
}
