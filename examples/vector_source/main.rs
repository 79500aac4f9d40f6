//! A source in the manner of Vector's: records of a group go to a sink that acknowledges them in any order; committed is what is acknowledged
//! without a gap, and what is beyond a gap survives a restart in the commit's metadata.
//!
//! `cargo run --example vector_source --features broker` runs two of them on an embedded broker until everything is acknowledged.

mod scenario;
mod source;

use std::error::Error;
use std::time::Duration;

use pat_events::broker::Broker;
use tokio::time::timeout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().start_tcp("127.0.0.1:0").await?;
    let brokers = broker.bootstrap_servers();
    timeout(Duration::from_secs(60), scenario::run(&brokers, "logs")).await?
}
