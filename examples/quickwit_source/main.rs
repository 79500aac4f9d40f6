//! A source in the manner of Quickwit's: what is indexed and how far it was read are stored together, so that each record is indexed once, whoever
//! crashes and whatever moves meanwhile.
//!
//! `cargo run --example quickwit_source --features broker` runs two of them on an embedded broker, one of which crashes.

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
    timeout(
        Duration::from_secs(60),
        scenario::run(&brokers, "documents"),
    )
    .await?
}
