//! `pat-events broker`: a Kafka for development. In: an address to listen on, and a directory if anything is to outlive it. Out: it runs until it is
//! interrupted.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pat_events::broker::{Broker, FsyncPolicy};

use crate::Outcome;
use crate::signals::Signals;

/// How often to look whether the disk takes everything.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Run a Kafka broker until interrupted: in memory, or with its data in a directory.
#[derive(Args)]
pub struct BrokerCommand {
    /// The address to listen on; further nodes listen on the ports that follow.
    #[arg(short, long, default_value = "127.0.0.1:9092")]
    listen: String,
    /// The number of nodes.
    #[arg(short, long, default_value_t = 1)]
    nodes: usize,
    /// The partitions of a topic whose creator does not say.
    #[arg(short, long, default_value_t = 6)]
    partitions: i32,
    /// The most bytes to keep of each partition; the oldest records go first.
    #[arg(short, long, default_value_t = 256 << 20)]
    retention_bytes: u64,
    /// Create no topic that somebody only asks for.
    #[arg(long)]
    no_auto_create: bool,
    /// Keep everything in this directory: a broker that is started with it later goes on where this one ended, even where it was killed. Default: in memory, for
    /// as long as it runs.
    #[arg(short, long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// When to wait for the disk: "always" (before anything is acknowledged: not even a loss of power loses it), each so many milliseconds (a loss of
    /// power loses those), or "never" (the operating system decides). A broker that is killed loses nothing in any case.
    #[arg(long, value_name = "always|never|MS", default_value = "always", value_parser = fsync_policy, requires = "data")]
    fsync: FsyncPolicy,
}

fn fsync_policy(text: &str) -> Result<FsyncPolicy, String> {
    match text {
        "always" => Ok(FsyncPolicy::Always),
        "never" => Ok(FsyncPolicy::Never),
        millis => match millis.parse() {
            Ok(millis @ 1..) => Ok(FsyncPolicy::Interval(Duration::from_millis(millis))),
            _ => Err("not always, never, or a number of milliseconds from 1 on".to_owned()),
        },
    }
}

impl BrokerCommand {
    pub async fn run(&self) -> Outcome {
        let mut builder = Broker::builder()
            .nodes(self.nodes)
            .default_partitions(self.partitions)
            .retention_bytes(self.retention_bytes)
            .auto_create_topics(!self.no_auto_create);
        if let Some(data) = &self.data {
            builder = builder.data(data).fsync(self.fsync);
        }
        let mut signals = Signals::listen()?;
        let broker = builder.start_tcp(&self.listen).await?;
        writeln!(io::stdout(), "{}", broker.bootstrap_servers())?;
        tokio::select! {
            biased;
            () = signals.next() => {}
            () = tell_problems(&broker), if self.data.is_some() => {}
        }
        broker.shutdown().await;
        Ok(())
    }
}

/// Says when the disk does not take something, and when it does again.
async fn tell_problems(broker: &Broker) {
    let mut told = None;
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let problem = broker.storage_problem();
        if problem == told {
            continue;
        }
        match &problem {
            Some(problem) => eprintln!("storage: {problem}; clients get KAFKA_STORAGE_ERROR"),
            None => eprintln!("storage: everything is taken again"),
        }
        told = problem;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_to_wait_for_the_disk_is_a_word_or_a_number() {
        assert_eq!(fsync_policy("always"), Ok(FsyncPolicy::Always));
        assert_eq!(fsync_policy("never"), Ok(FsyncPolicy::Never));
        let interval = FsyncPolicy::Interval(Duration::from_millis(250));
        assert_eq!(fsync_policy("250"), Ok(interval));
        for wrong in ["0", "-1", "1s", "Always", ""] {
            assert!(fsync_policy(wrong).is_err(), "{wrong}");
        }
    }
}
