//! `pat-events users`: users that brokers know by SCRAM. In: names, passwords from files. Out: a line for each credential or change.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use pat_events::kafka::admin::{AlterScramCredential, ScramMechanism, ScramUpsertion};
use serde_json::json;

use super::Administered;
use crate::Outcome;
use crate::listing::Listing;

#[derive(Subcommand)]
pub enum Action {
    /// Print users with their mechanisms; never passwords, which brokers do not know.
    List {
        /// These users only.
        users: Vec<String>,
    },
    /// Add a user, or give one another password.
    Set {
        /// The user's name.
        user: String,
        /// The file with the password in its first line; - is the standard input. Command lines are seen by all on the machine.
        #[arg(long, value_name = "FILE")]
        password_file: PathBuf,
        /// SCRAM-SHA-256 or SCRAM-SHA-512.
        #[arg(long, default_value = "SCRAM-SHA-512")]
        mechanism: ScramMechanism,
        /// How often it is hashed: from 4096 to 16384.
        #[arg(long, default_value_t = 8_192)]
        iterations: u32,
    },
    /// Delete a user's credential.
    Delete {
        /// The user's name.
        user: String,
        /// SCRAM-SHA-256 or SCRAM-SHA-512.
        #[arg(long, default_value = "SCRAM-SHA-512")]
        mechanism: ScramMechanism,
    },
}

fn password(path: &Path) -> Outcome<String> {
    let text = match path == Path::new("-") {
        true => io::read_to_string(io::stdin()),
        false => fs::read_to_string(path),
    };
    let text = text.map_err(|error| format!("{}: {error}", path.display()))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!(
            "{}: its first line is empty, and no password",
            path.display()
        )
        .into()),
    }
}

impl Administered<Action> {
    pub async fn run(&self) -> Outcome {
        let (user, change, mechanism) = match &self.action {
            Action::List { users } => return self.list(users).await,
            Action::Set {
                user,
                password_file,
                mechanism,
                iterations,
            } => {
                let password = password(password_file)?;
                let new = ScramUpsertion::new(*mechanism, password).iterations(*iterations);
                (user, AlterScramCredential::Upsert(new), mechanism)
            }
            Action::Delete { user, mechanism } => {
                (user, AlterScramCredential::Delete(*mechanism), mechanism)
            }
        };
        let done = match change {
            AlterScramCredential::Upsert(_) => "set",
            _ => "deleted",
        };
        let admin = self.cluster.admin().await?;
        let changes = BTreeMap::from([(user.as_str(), change)]);
        let mut listing = Listing::new(self.form, &[]);
        for (user, result) in admin.alter_user_scram_credentials(&changes).await? {
            let thing = json!({"user": user, "mechanism": mechanism.to_string(), "change": done});
            listing.result(thing, result, format!("{done}: {user} ({mechanism})"));
        }
        listing.end()
    }

    async fn list(&self, users: &[String]) -> Outcome {
        let admin = self.cluster.admin().await?;
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let columns = [
            ("USER", "user"),
            ("MECHANISM", "mechanism"),
            ("ITERATIONS", "iterations"),
        ];
        let mut listing = Listing::new(self.form, &columns);
        for (user, credentials) in admin.describe_user_scram_credentials(&users).await? {
            match credentials {
                Ok(credentials) => {
                    for it in credentials {
                        let mechanism = it.mechanism.to_string();
                        listing.add(json!({"user": user, "mechanism": mechanism, "iterations": it.iterations}));
                    }
                }
                Err(error) => listing.failed(json!({"user": user}), &error),
            }
        }
        listing.end()
    }
}
