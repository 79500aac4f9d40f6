//! `pat-events broker`: an in-memory Kafka for development. In: an address to listen on. Out: it runs until it is interrupted.

use std::io::{self, Write};

use clap::Args;
use pat_events::broker::Broker;

use crate::Outcome;
use crate::signals::Signals;

/// Run an in-memory Kafka broker until interrupted.
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
}

impl BrokerCommand {
    pub async fn run(&self) -> Outcome {
        let builder = Broker::builder()
            .nodes(self.nodes)
            .default_partitions(self.partitions)
            .retention_bytes(self.retention_bytes)
            .auto_create_topics(!self.no_auto_create);
        let mut signals = Signals::listen()?;
        let broker = builder.start_tcp(&self.listen).await?;
        writeln!(io::stdout(), "{}", broker.bootstrap_servers())?;
        signals.next().await;
        broker.shutdown().await;
        Ok(())
    }
}
