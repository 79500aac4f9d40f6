//! `pat-events groups`: groups of every kind, their members and their lag, and where they go on. In: ids. Out: a line for each group, member or partition.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `list` | groups listed |
//! | `describe` | members, states, lag |
//! | `lag` | what a group has yet to read |
//! | `streams` | groups of Kafka Streams, by the partitions that their tasks read |
//! | `reset_offsets` | where a group goes on, shown or set |
//! | `goal` | which offset is meant |
//! | `plan_file` | offsets as lines of a file, Kafka's way |
//! | `delete` | groups, their offsets, and members |

mod delete;
mod describe;
mod goal;
mod lag;
mod list;
mod plan_file;
mod reset_offsets;
mod streams;

use clap::Subcommand;

use super::Administered;
use crate::Outcome;

use delete::{Delete, DeleteOffsets, RemoveMembers};
use describe::Describe;
use list::List;
use reset_offsets::ResetOffsets;

#[derive(Subcommand)]
pub enum Action {
    List(List),
    Describe(Describe),
    ResetOffsets(ResetOffsets),
    Delete(Delete),
    DeleteOffsets(DeleteOffsets),
    RemoveMembers(RemoveMembers),
}

impl Administered<Action> {
    pub async fn run(&self) -> Outcome {
        // What is wrong with the command line is told before brokers are looked for.
        if let Action::ResetOffsets(reset) = &self.action {
            reset.check()?;
        }
        let admin = self.cluster.admin().await?;
        match &self.action {
            Action::List(list) => list.run(&admin, self.form).await,
            Action::Describe(describe) => describe.run(&admin, self.form).await,
            Action::ResetOffsets(reset) => reset.run(&admin, self.form).await,
            Action::Delete(delete) => delete.run(&admin, self.form).await,
            Action::DeleteOffsets(delete) => delete.run(&admin, self.form).await,
            Action::RemoveMembers(remove) => remove.run(&admin, self.form).await,
        }
    }
}
