//! Says what is being waited for. In: the brokers of the command line, and something that needs them. Out: its result, and a line on the
//! standard error when it takes long.

use std::pin::pin;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::notes;

/// How long nothing may happen before that is explained.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long each address has to take a connection in before it is said not to.
const DIAL_WITHIN: Duration = Duration::from_millis(500);
/// The most addresses that are tried: the line is for people.
const MOST_TRIED: usize = 3;

/// Waits for what needs `brokers`; when it takes long, says once what these brokers do. Cancel safe as far as `work` is.
pub async fn explained<T>(brokers: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = sleep(PATIENCE) => {}
    }
    let explain = async {
        notes::note(format!("waiting for brokers: {}", states(brokers).await));
    };
    tokio::select! {
        biased;
        done = &mut work => return done,
        () = explain => {}
    }
    work.await
}

/// What comes of a connection to each of the first addresses.
async fn states(brokers: &str) -> String {
    let mut states = Vec::new();
    let addresses = brokers.split(',').map(str::trim);
    for address in addresses
        .filter(|address| !address.is_empty())
        .take(MOST_TRIED)
    {
        let state = match timeout(DIAL_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(_)) => "takes connections, no answer yet".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "takes no connection yet".to_owned(),
        };
        states.push(format!("{address}: {state}"));
    }
    states.join("; ")
}
