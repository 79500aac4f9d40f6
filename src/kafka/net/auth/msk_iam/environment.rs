//! What the process was started with: variables and files. Tests bring their own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::profiles::{self, LONGEST_FILE, Profile};
use crate::kafka::config::read_bounded;

/// Variables of the environment, and what stands in every container.
pub(super) struct Environment {
    /// These variables, instead of the process's own.
    pub variables: Option<BTreeMap<String, String>>,
    /// Where containers' credentials are.
    pub container_base: String,
}

impl Default for Environment {
    fn default() -> Self {
        Self {
            variables: None,
            container_base: "http://169.254.170.2".to_string(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}

impl Environment {
    /// The variable called `name`, where it is set and not empty.
    pub fn variable(&self, name: &str) -> Option<String> {
        let value = match &self.variables {
            Some(variables) => variables.get(name).cloned(),
            None => std::env::var(name).ok(),
        };
        value.filter(|value| !value.is_empty())
    }

    /// The region that the environment names.
    pub fn region(&self) -> Option<String> {
        self.variable("AWS_REGION")
            .or_else(|| self.variable("AWS_DEFAULT_REGION"))
    }

    /// The profiles of `~/.aws/credentials` and `~/.aws/config`, or the files that variables name. Those that are not there, or cannot be
    /// read, have none.
    pub async fn profiles(&self) -> BTreeMap<String, Profile> {
        let home = self
            .variable("HOME")
            .or_else(|| self.variable("USERPROFILE"));
        let path = |variable, name: &str| match self.variable(variable) {
            Some(path) => Some(PathBuf::from(path)),
            None => home
                .as_ref()
                .map(|home| Path::new(home).join(".aws").join(name)),
        };
        let files = [
            (path("AWS_SHARED_CREDENTIALS_FILE", "credentials"), false),
            (path("AWS_CONFIG_FILE", "config"), true),
        ];
        let reading = tokio::task::spawn_blocking(move || {
            let mut all = BTreeMap::new();
            for (path, is_config) in files {
                let bytes = path.and_then(|path| read_bounded(&path, LONGEST_FILE).ok()?);
                let text = bytes.as_deref().and_then(|it| std::str::from_utf8(it).ok());
                profiles::read(text.unwrap_or_default(), is_config, &mut all);
            }
            all
        });
        reading.await.unwrap_or_default()
    }
}
