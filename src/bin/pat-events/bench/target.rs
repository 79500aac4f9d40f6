//! Where a run takes place. In: the flags. Out: brokers, and a topic for each mode.

use pat_events::broker::Broker;
use pat_events::kafka::{Admin, ClientConfig, NewTopic};
use tokio::runtime::Runtime;

use super::{Bench, Mode};
use crate::Outcome;
use crate::cluster::Options;
use crate::demo::exists_already;
use crate::unique::unique_name;
use crate::waiting::explained;

/// The brokers, and the topics that are to be deleted at the end.
pub struct Target {
    brokers: String,
    options: Options,
    /// A broker of our own, on threads of its own: the client has the other one to itself.
    embedded: Option<(Broker, Runtime)>,
    /// None where the topic must be there: nothing but what is measured is asked of the brokers.
    admin: Option<Admin>,
    /// What the names of new topics begin with.
    name: String,
    created: Vec<String>,
}

impl Target {
    pub async fn find(bench: &Bench) -> Outcome<Target> {
        let (named, options) = bench.options.brokers_or_own(bench.broker.as_deref())?;
        let is_named = named.is_some();
        let (brokers, embedded) = match named {
            Some(brokers) => (brokers, None),
            None => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()?;
                let builder = Broker::builder()
                    .max_message_bytes(bench.batch_bytes.max(1 << 20) + (64 << 10));
                let starting = runtime.spawn(builder.start_tcp("127.0.0.1:0"));
                let broker = starting.await??;
                (broker.bootstrap_servers(), Some((broker, runtime)))
            }
        };
        let mut target = Target {
            brokers,
            options,
            embedded,
            admin: None,
            name: unique_name("pat-events-bench"),
            created: Vec::new(),
        };
        let is_given = is_named && bench.topic.is_some() && bench.payload.is_some();
        if !is_given {
            let config: ClientConfig = target.options.config_beside(&target.brokers, &[])?;
            target.admin = Some(explained(&target.brokers, Admin::connect(config)).await?);
        }
        Ok(target)
    }

    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// What the client is told beyond the flags of the command.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Where it is, for people.
    pub fn place(&self) -> &str {
        match &self.embedded {
            Some(_) => "an embedded broker",
            None => &self.brokers,
        }
    }

    /// The topic for this mode, created where it has to be.
    pub async fn topic(&mut self, bench: &Bench, mode: Mode) -> Outcome<String> {
        let name = match &bench.topic {
            Some(topic) => topic.clone(),
            None => format!("{}-{mode:?}", self.name).to_lowercase(),
        };
        let Some(admin) = &self.admin else {
            return Ok(name);
        };
        match admin
            .create_topic(&NewTopic::new(&name, bench.partitions))
            .await
        {
            Err(error) if bench.topic.is_some() && exists_already(&error) => {}
            created => {
                created?;
                if bench.topic.is_none() {
                    self.created.push(name.clone());
                }
            }
        }
        Ok(name)
    }

    /// Takes away what was created.
    pub async fn end(self) -> Outcome {
        if let Some((broker, runtime)) = self.embedded {
            broker.shutdown().await;
            runtime.shutdown_background();
        } else if let Some(admin) = &self.admin {
            let created: Vec<&str> = self.created.iter().map(String::as_str).collect();
            if !created.is_empty() {
                for deleted in admin.delete_topics(&created).await?.into_values() {
                    deleted?;
                }
            }
        }
        Ok(())
    }
}
