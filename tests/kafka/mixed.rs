//! Groups whose members are of several clients: ours, Java's and librdkafka's, by each strategy that they have in common and by the consumer protocol. On
//! any broker. Members of each join and leave: all agree on who has what, each partition is one's, every record is read, and the group is not rebalanced more
//! often than its members give cause to.

mod members;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Completion, Trial};
use pat_events::kafka::{NewTopic, Producer, Record};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::fleet::{Fleet, Ran, Target, block_on, not_here};
use crate::support::java::Jdk;
use crate::support::python::Python;
use members::{Client, Clients, Member};

const PARTITIONS: i32 = 12;
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(100);
/// A group in which nothing changes is not rebalanced.
const QUIET: Duration = Duration::from_secs(3);
const RECORDS: u64 = 300;

/// How members agree: the names of their settings differ.
#[derive(Clone, Copy, Debug)]
enum By {
    Strategy {
        name: &'static str,
        java: &'static str,
    },
    /// The consumer protocol, and the broker's assignor.
    Broker(&'static str),
}

const RANGE: By = By::Strategy {
    name: "range",
    java: "RangeAssignor",
};
const ROUND_ROBIN: By = By::Strategy {
    name: "roundrobin",
    java: "RoundRobinAssignor",
};
const STICKY: By = By::Strategy {
    name: "sticky",
    java: "StickyAssignor",
};
const COOPERATIVE: By = By::Strategy {
    name: "cooperative-sticky",
    java: "CooperativeStickyAssignor",
};
const JAVAS: [By; 6] = [
    RANGE,
    ROUND_ROBIN,
    STICKY,
    COOPERATIVE,
    By::Broker("uniform"),
    By::Broker("range"),
];
/// librdkafka has no `sticky` that revokes all.
const LIBRDKAFKAS: [By; 5] = [
    RANGE,
    ROUND_ROBIN,
    COOPERATIVE,
    By::Broker("uniform"),
    By::Broker("range"),
];

pub fn trials(fleet: &Arc<Fleet>) -> Vec<Trial> {
    let java = fleet.on_both_with_jdk(
        "mixed::javas_members_and_ours_share_a_group",
        |jdk, target| {
            let clients = Clients::start(&target, Some(jdk), None);
            block_on(all(clients, target, "java", &JAVAS, &[Client::Java]));
            Ok(Completion::Completed)
        },
    );
    let name = "mixed::members_of_librdkafka_and_java_and_ours_share_a_group";
    let three = fleet.on_both_with_jdk(name, with_librdkafka);
    java.into_iter().chain(three).collect()
}

fn with_librdkafka(jdk: &Jdk, target: Target) -> Ran {
    let python = match Python::with_librdkafka() {
        Ok(python) => python,
        Err(reason) => return not_here(format!("no members of librdkafka: {reason}")),
    };
    let clients = Clients::start(&target, Some(jdk), Some(&python));
    let others = [Client::Librdkafka, Client::Java];
    block_on(all(clients, target, "librdkafka", &LIBRDKAFKAS, &others));
    Ok(Completion::Completed)
}

/// Side by side: most of each is waiting for rebalances.
async fn all(clients: Clients, target: Target, case: &str, ways: &[By], others: &[Client]) {
    let clients = Arc::new(clients);
    let mut running = JoinSet::new();
    for by in ways {
        let group = match by {
            By::Strategy { name, .. } => format!("mixed-{case}-{name}"),
            By::Broker(assignor) => format!("mixed-{case}-consumer-{assignor}"),
        };
        let group = Group {
            clients: clients.clone(),
            target: target.clone(),
            name: group,
            by: *by,
            members: Vec::new(),
            left: Vec::new(),
            sent: 0,
            moves: 0,
        };
        running.spawn(group.run(others.to_vec()));
    }
    while let Some(group) = running.join_next().await {
        group.expect("no panic");
    }
}

struct Group {
    clients: Arc<Clients>,
    target: Target,
    /// Its topic has the same.
    name: String,
    by: By,
    members: Vec<Member>,
    left: Vec<Member>,
    sent: u64,
    moves: usize,
}

impl Group {
    async fn run(mut self, others: Vec<Client>) {
        let began = Instant::now();
        let topic = NewTopic::new(&self.name, PARTITIONS);
        let admin = self.target.admin().await;
        admin.create_topic(&topic).await.expect("created");
        let producer = self.target.producer(&[]).await;
        self.join(Client::Ours, &producer).await;
        for other in &others {
            self.join(*other, &producer).await;
        }
        self.join(Client::Ours, &producer).await;
        // The one that has assigned so far, where members do.
        self.leave(Client::Ours, &producer).await;
        for other in others {
            self.leave(other, &producer).await;
            self.join(other, &producer).await;
        }
        self.join(Client::Ours, &producer).await;
        self.leave(Client::Ours, &producer).await;
        let quiet = self.changes();
        sleep(QUIET).await;
        assert_eq!(self.changes(), quiet, "{}: nobody came or went", self.name);
        let generation = self.members.iter().find_map(Member::generation);
        let generation = generation.expect("one of ours is there") as usize;
        let moves = self.moves;
        // In the cooperative way a change takes two of them, by Kafka's own rules.
        assert!(
            generation <= 2 * moves + 2,
            "{}: {generation} generations of {moves} changes",
            self.name
        );
        let mut again = 0;
        let mut read = BTreeSet::new();
        for member in self.members.iter().chain(&self.left) {
            for place in member.notes().read {
                again += usize::from(!read.insert(place));
            }
        }
        println!(
            "{}: {moves} changes, {generation} generations, {} assigned or revoked, {} records, {again} read again, {} s",
            self.name,
            self.changes(),
            self.sent,
            began.elapsed().as_secs()
        );
        assert_eq!(again, 0, "{}: all left in order", self.name);
        while let Some(member) = self.members.pop() {
            self.end(member).await;
        }
    }

    async fn join(&mut self, client: Client, producer: &Producer) {
        let settings = settings(client, self.by);
        let name = format!("{}-{}", self.name, self.moves);
        let member = self
            .clients
            .join(client, &self.target, &self.name, &name, &settings);
        self.members.push(member.await);
        self.moved(producer).await;
    }

    /// The first member of this client leaves.
    async fn leave(&mut self, client: Client, producer: &Producer) {
        let first = self.members.iter().position(|it| it.client == client);
        let member = self.members.remove(first.expect("a member of this client"));
        self.end(member).await;
        self.moved(producer).await;
    }

    async fn end(&mut self, mut member: Member) {
        member.leave();
        let began = Instant::now();
        while !member.notes().closed {
            self.in_time(began, &format!("{:?} does not close", member.client));
            sleep(LOOK).await;
        }
        self.left.push(member);
    }

    /// Waits until every partition is one member's, and each has some; then until records that are sent now are read.
    async fn moved(&mut self, producer: &Producer) {
        self.moves += 1;
        let began = Instant::now();
        loop {
            let shares: Vec<_> = self.members.iter().map(|it| it.notes().assigned).collect();
            let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
            let sum: usize = shares.iter().map(BTreeSet::len).sum();
            let is_fair = shares.iter().all(|it| !it.is_empty());
            if all.len() == PARTITIONS as usize && sum == all.len() && is_fair {
                break;
            }
            self.in_time(began, &format!("it is not shared: {shares:?}"));
            sleep(LOOK).await;
        }
        for number in self.sent..self.sent + RECORDS {
            let bytes = number.to_be_bytes();
            let record = Record::new(&self.name).key(&bytes).value(&bytes);
            drop(producer.enqueue(record).await.expect("admitted"));
        }
        producer.flush().await.expect("all written");
        self.sent += RECORDS;
        loop {
            let members = self.members.iter().chain(&self.left);
            let read: BTreeSet<_> = members.flat_map(|it| it.notes().read).collect();
            if read.len() as u64 == self.sent {
                break;
            }
            self.in_time(began, &format!("{} of {} are read", read.len(), self.sent));
            sleep(LOOK).await;
        }
    }

    fn in_time(&self, began: Instant, what: &str) {
        if began.elapsed() > PATIENCE {
            let members = self.members.iter().map(|it| (it.client, it.notes().last));
            let members: Vec<_> = members.collect();
            panic!("{}, change {}: {what}: {members:?}", self.name, self.moves);
        }
    }

    /// How often partitions came or went.
    fn changes(&self) -> usize {
        let members = self.members.iter().chain(&self.left);
        members.map(|it| it.notes().changes).sum()
    }
}

/// The settings of a member of this client.
fn settings(client: Client, by: By) -> Vec<(&'static str, String)> {
    let mut settings = vec![
        ("auto.offset.reset", "earliest".to_owned()),
        ("enable.auto.commit", "true".to_owned()),
        ("auto.commit.interval.ms", "200".to_owned()),
    ];
    match by {
        By::Strategy { name, java } => {
            let strategy = match client {
                Client::Java => format!("org.apache.kafka.clients.consumer.{java}"),
                Client::Ours | Client::Librdkafka => name.to_owned(),
            };
            settings.extend([
                ("partition.assignment.strategy", strategy),
                ("session.timeout.ms", "20000".to_owned()),
                ("heartbeat.interval.ms", "300".to_owned()),
            ]);
        }
        By::Broker(assignor) => settings.extend([
            ("group.protocol", "consumer".to_owned()),
            ("group.remote.assignor", assignor.to_owned()),
        ]),
    }
    settings
}
