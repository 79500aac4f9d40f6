//! `pat-events topics`: lists, creates, deletes and describes topics. In: names. Out: a line for each topic or partition.

use std::io::{self, Write};

use clap::{Args, Subcommand};
use pat_events::kafka::{Admin, NewTopic, TopicDescription};

use crate::Outcome;
use crate::cluster::Cluster;

/// List, create, delete and describe topics.
#[derive(Args)]
pub struct Topics {
    #[command(flatten)]
    cluster: Cluster,
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Print the names of all topics.
    List {
        /// Those that the brokers keep for themselves, too.
        #[arg(long)]
        internal: bool,
    },
    /// Create a topic.
    Create {
        /// Its name.
        topic: String,
        /// The number of partitions; the brokers' default without it.
        #[arg(short, long)]
        partitions: Option<i32>,
        /// The number of replicas of each partition; the brokers' default without it.
        #[arg(short, long)]
        replicas: Option<i16>,
        /// An option of the topic, such as retention.ms=3600000; may be given several times.
        #[arg(short, long = "config", value_name = "NAME=VALUE", value_parser = crate::cluster::property)]
        configs: Vec<(String, String)>,
    },
    /// Delete topics and everything in them.
    Delete {
        /// Their names.
        #[arg(required = true)]
        topics: Vec<String>,
    },
    /// Print topics' partitions: number, leader, replicas, in-sync replicas.
    Describe {
        /// Their names.
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

impl Topics {
    pub async fn run(&self) -> Outcome {
        let admin = Admin::connect(self.cluster.config(&[])?);
        let admin = self.cluster.explained(admin).await?;
        let mut out = io::stdout();
        match &self.action {
            Action::List { internal } => {
                for topic in admin.list_topics().await?.into_values() {
                    match topic {
                        Ok(topic) if topic.is_internal && !*internal => {}
                        Ok(topic) => writeln!(out, "{}", topic.name)?,
                        Err(error) => eprintln!("{error}"),
                    }
                }
            }
            Action::Create {
                topic,
                partitions,
                replicas,
                configs,
            } => {
                let mut new = NewTopic::new(topic, 1);
                (new.partitions, new.replication_factor) = (*partitions, *replicas);
                new.configs.clone_from(configs);
                admin.create_topic(&new).await?;
            }
            Action::Delete { topics } => {
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                admin
                    .delete_topics(&topics)
                    .await?
                    .into_values()
                    .collect::<Result<(), _>>()?;
            }
            Action::Describe { topics } => {
                let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
                let mut described = admin.describe_topics(&topics).await?;
                // In the order of the command line.
                for topic in topics.into_iter().filter_map(|name| described.remove(name)) {
                    print(&topic?, &mut out)?;
                }
            }
        }
        Ok(())
    }
}

fn print(topic: &TopicDescription, out: &mut impl Write) -> io::Result<()> {
    let nodes = |nodes: &[i32]| {
        nodes
            .iter()
            .map(i32::to_string)
            .collect::<Vec<_>>()
            .join(",")
    };
    for partition in &topic.partitions {
        let leader = partition
            .leader
            .map_or("none".to_owned(), |leader| leader.to_string());
        let (replicas, in_sync) = (
            nodes(&partition.replicas),
            nodes(&partition.in_sync_replicas),
        );
        writeln!(
            out,
            "{} partition {} leader {leader} replicas {replicas} in-sync {in_sync}",
            topic.name, partition.partition
        )?;
    }
    Ok(())
}
