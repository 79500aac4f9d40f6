//! `pat-events topics`: topics listed, created, altered, deleted and described. In: names, or patterns of them. Out: a line for each topic or partition,
//! whatever became of the others.
//!
//! | file | what lives there |
//! | --- | --- |
//! | `change` | created, altered, deleted |
//! | `describe` | listed and described |

mod change;
mod describe;

use clap::Subcommand;

use super::Administered;
use crate::Outcome;

use change::{Alter, Create, Delete};
use describe::{Describe, List};

#[derive(Subcommand)]
pub enum Action {
    List(List),
    Create(Create),
    Alter(Alter),
    Delete(Delete),
    Describe(Describe),
}

impl Administered<Action> {
    pub async fn run(&self) -> Outcome {
        // What is wrong with the command line is told before brokers are looked for.
        if let Action::Alter(alter) = &self.action {
            alter.check()?;
        }
        let admin = self.cluster.admin().await?;
        match &self.action {
            Action::List(list) => list.run(&admin, self.form).await,
            Action::Create(create) => create.run(&admin, self.form).await,
            Action::Alter(alter) => alter.run(&admin, self.form).await,
            Action::Delete(delete) => delete.run(&admin, self.form).await,
            Action::Describe(describe) => describe.run(&admin, self.form).await,
        }
    }
}
