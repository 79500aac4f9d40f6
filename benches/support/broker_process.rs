//! An embedded broker in a process of its own, this program once more, so that what it uses is not counted as the client's.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use pat_events::broker::{Broker, BrokerBuilder};

/// Tells the child what it is, and what its log is to be.
const VARIABLE: &str = "PAT_EVENTS_BENCH_BROKER";

/// The child.
pub struct BrokerProcess {
    child: Child,
    pub address: String,
}

impl BrokerProcess {
    /// Starts it; `what` is for [`serves`].
    pub fn start(what: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .env(VARIABLE, what)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs once more");
        let out = child.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(out)
            .read_line(&mut line)
            .expect("an address");
        let address = line.trim().to_string();
        Self { child, address }
    }
}

/// It ends with its input.
impl Drop for BrokerProcess {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What this process is to serve, if it is the child.
pub fn serves() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

/// In the child: a broker until its input ends.
pub fn serve(broker: BrokerBuilder, fill: impl FnOnce(&Broker)) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let broker = runtime.block_on(broker.start_tcp("127.0.0.1:0"));
    let broker = broker.expect("a port");
    fill(&broker);
    println!("{}", broker.bootstrap_servers());
    let mut rest = String::new();
    while std::io::stdin()
        .read_line(&mut rest)
        .is_ok_and(|read| read > 0)
    {}
}
