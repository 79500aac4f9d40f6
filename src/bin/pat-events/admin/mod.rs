//! The commands of operators: what there is in a cluster, and what is to change. In: names. Out: a table or lines of JSON, and a failure for each
//! thing that failed.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `cluster` | brokers, controller, racks |
//! | `topics` | topics listed, created, altered, deleted, described |
//! | `groups` | groups and their lag, and where they go on |
//! | `offsets` | where logs begin and end, and what stands at a time |
//! | `configs` | configuration of topics, brokers, groups and client metrics |
//! | `delete_records` | records deleted from the front of partitions |
//! | `acls`, `users`, `quotas` | who may do what, and how much |
//! | `transactions` | transactions listed, described, ended |
//! | `replicas` | leaders elected, partitions moved, directories, features, the quorum |
//! | `partitions` | partitions as people name them |

pub mod acls;
pub mod cluster;
pub mod configs;
pub mod delete_records;
pub mod groups;
pub mod offsets;
mod partitions;
pub mod quotas;
pub mod replicas;
pub mod topics;
pub mod transactions;
pub mod users;

use clap::{Args, Subcommand};

use crate::cluster::Cluster;
use crate::listing::Form;

pub use partitions::{Named, TopicName, numbers, partitions};

// What is done to one kind of things in a cluster. What kind that is stands with the command's name: a text here would stand in its place.
#[derive(Args)]
pub struct Administered<A: Subcommand> {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    form: Form,
    #[command(subcommand)]
    action: A,
}
