//! `pat-events acls`: access rules. In: of what, to whom, what. Out: a line for each rule.

use clap::{Args, Subcommand};
use pat_events::kafka::admin::{
    AclBinding, AclBindingFilter, AclOperation, AclPermission, AclResource, AclResourceKind,
};
use serde_json::{Value, json};

use super::Administered;
use crate::Outcome;
use crate::listing::{Column, Listing};

const COLUMNS: [Column; 7] = [
    ("PERMISSION", "permission"),
    ("PRINCIPAL", "principal"),
    ("HOST", "host"),
    ("OPERATION", "operation"),
    ("KIND", "kind"),
    ("PATTERN", "pattern"),
    ("RESOURCE", "resource"),
];

#[derive(Subcommand)]
pub enum Action {
    /// Print the rules of which all that is said holds; all rules where nothing is.
    List(Rules),
    /// Allow or deny operations on a resource.
    Add(Rules),
    /// Remove the rules of which all that is said holds.
    Remove {
        #[command(flatten)]
        rules: Rules,
        /// Only print what would be removed.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Args)]
pub struct Rules {
    /// A topic.
    #[arg(long, group = "of")]
    topic: Option<String>,
    /// A group.
    #[arg(long, group = "of")]
    group: Option<String>,
    /// A transactional id.
    #[arg(long, group = "of")]
    transactional_id: Option<String>,
    /// The cluster.
    #[arg(long, group = "of")]
    cluster_wide: bool,
    /// Names that begin as was said, and not the one of this name.
    #[arg(long)]
    prefixed: bool,
    /// Whom it is about, such as User:ann; may be given several times to add rules.
    #[arg(long = "principal", value_name = "PRINCIPAL")]
    principals: Vec<String>,
    /// The address that it is about.
    #[arg(long)]
    host: Option<String>,
    /// An operation, such as read, write, describe-configs, all; may be given several times to add rules.
    #[arg(long = "operation", value_name = "OPERATION")]
    operations: Vec<AclOperation>,
    /// Rules that deny.
    #[arg(long, conflicts_with = "allow")]
    deny: bool,
    /// Rules that allow; what is added where nothing is said.
    #[arg(long)]
    allow: bool,
}

impl Rules {
    fn resource(&self) -> Option<AclResource> {
        let named = [
            (AclResourceKind::Topic, &self.topic),
            (AclResourceKind::Group, &self.group),
            (AclResourceKind::TransactionalId, &self.transactional_id),
        ];
        let named = named
            .into_iter()
            .find_map(|(kind, name)| Some(AclResource::new(kind, name.clone()?)));
        let resource = named.or(self.cluster_wide.then(AclResource::cluster));
        match self.prefixed {
            true => resource.map(AclResource::prefixed),
            false => resource,
        }
    }

    /// The rules to be added. Fails where something is not said.
    fn rules(&self) -> Outcome<Vec<AclBinding>> {
        let resource = self
            .resource()
            .ok_or("on what? Say --topic, --group, --transactional-id or --cluster-wide")?;
        if self.principals.is_empty() || self.operations.is_empty() {
            return Err(
                "whom, and to do what? Say --principal User:NAME and --operation NAME".into(),
            );
        }
        let mut rules = Vec::new();
        for principal in &self.principals {
            for operation in &self.operations {
                let rule = match self.deny {
                    true => AclBinding::deny(principal, *operation, resource.clone()),
                    false => AclBinding::allow(principal, *operation, resource.clone()),
                };
                rules.push(match &self.host {
                    Some(host) => rule.host(host),
                    None => rule,
                });
            }
        }
        Ok(rules)
    }

    fn filter(&self) -> Outcome<AclBindingFilter> {
        if self.principals.len() > 1 || self.operations.len() > 1 {
            return Err("one --principal and one --operation at a time".into());
        }
        let mut filter = AclBindingFilter::default();
        if let Some(resource) = self.resource() {
            filter = filter.resource(&resource);
        }
        filter.principal = self.principals.first().cloned();
        filter.host.clone_from(&self.host);
        filter.operation = self.operations.first().copied();
        filter.permission = match (self.allow, self.deny) {
            (true, _) => Some(AclPermission::Allow),
            (_, true) => Some(AclPermission::Deny),
            _ => None,
        };
        Ok(filter)
    }

    fn says_nothing(&self) -> bool {
        self.resource().is_none()
            && self.principals.is_empty()
            && self.operations.is_empty()
            && self.host.is_none()
    }
}

fn object(rule: &AclBinding) -> Value {
    json!({
        "permission": rule.permission.to_string(),
        "principal": rule.principal,
        "host": rule.host,
        "operation": rule.operation.to_string(),
        "kind": rule.resource.kind.to_string(),
        "pattern": rule.resource.pattern.to_string(),
        "resource": rule.resource.name,
    })
}

impl Administered<Action> {
    pub async fn run(&self) -> Outcome {
        match &self.action {
            Action::List(rules) => self.list(&rules.filter()?).await,
            Action::Add(rules) => {
                let rules = rules.rules()?;
                let admin = self.cluster.admin().await?;
                let mut listing = Listing::new(self.form, &[]);
                for (rule, result) in admin.create_acls(&rules).await? {
                    listing.result(object(&rule), result, format!("added: {rule}"));
                }
                listing.end()
            }
            Action::Remove { rules, dry_run } => {
                if rules.says_nothing() {
                    return Err("which rules? Say on what, whom, or what operation".into());
                }
                let filter = rules.filter()?;
                if *dry_run {
                    return self.list(&filter).await;
                }
                let admin = self.cluster.admin().await?;
                let mut listing = Listing::new(self.form, &[]);
                for removed in admin.delete_acls(&[filter]).await?.into_values() {
                    for (rule, result) in removed? {
                        listing.result(object(&rule), result, format!("removed: {rule}"));
                    }
                }
                listing.end()
            }
        }
    }

    async fn list(&self, filter: &AclBindingFilter) -> Outcome {
        let admin = self.cluster.admin().await?;
        let mut listing = Listing::new(self.form, &COLUMNS);
        for rule in admin.describe_acls(filter).await? {
            listing.add(object(&rule));
        }
        listing.end()
    }
}
