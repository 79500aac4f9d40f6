//! What access rules say: of which resource, to whom, what; and filters of them. In: names. Out: rules.

use std::collections::BTreeSet;
use std::fmt;

use super::names::kafka_names;

/// Any host; any name.
const ANYTHING: &str = "*";
/// The name of the one cluster.
const CLUSTER_NAME: &str = "kafka-cluster";

/// What sort of thing a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AclResourceKind {
    /// A topic.
    Topic,
    /// A group of any kind.
    Group,
    /// The cluster.
    Cluster,
    /// A transactional id.
    TransactionalId,
    /// A delegation token, by its id (KIP-48).
    DelegationToken,
    /// A principal, such as `User:alice`, for whom tokens are created and described (KIP-373).
    User,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(AclResourceKind, "sort of resource", {
    Topic = 2 "TOPIC",
    Group = 3 "GROUP",
    Cluster = 4 "CLUSTER",
    TransactionalId = 5 "TRANSACTIONAL_ID",
    DelegationToken = 6 "DELEGATION_TOKEN",
    User = 7 "USER",
});

/// How a rule names its resources (KIP-290).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AclPattern {
    /// The one of this name; `*` stands for all.
    Literal,
    /// All whose names begin so.
    Prefixed,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(AclPattern, "sort of pattern", {
    Literal = 3 "LITERAL",
    Prefixed = 4 "PREFIXED",
});

/// Which patterns a filter means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AclPatternFilter {
    /// Of any sort, with exactly the filter's name.
    #[default]
    Any,
    /// All that concern a resource of the filter's name: literal ones, `*`, and prefixes of it.
    Match,
    /// Literal ones.
    Literal,
    /// Prefixes.
    Prefixed,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(AclPatternFilter, "sort of pattern", {
    Any = 1 "ANY",
    Match = 2 "MATCH",
    Literal = 3 "LITERAL",
    Prefixed = 4 "PREFIXED",
});

/// What may be done to a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AclOperation {
    /// Everything.
    All,
    /// Reading records, being a member of a group. Includes `Describe`.
    Read,
    /// Writing records. Includes `Describe`.
    Write,
    /// Creating.
    Create,
    /// Deleting. Includes `Describe`.
    Delete,
    /// Altering. Includes `Describe`.
    Alter,
    /// Describing.
    Describe,
    /// What brokers do among themselves.
    ClusterAction,
    /// Describing the configuration.
    DescribeConfigs,
    /// Altering the configuration. Includes `DescribeConfigs`.
    AlterConfigs,
    /// Producing with idempotence (before Kafka 3.0).
    IdempotentWrite,
    /// Creating delegation tokens for a principal (KIP-373).
    CreateTokens,
    /// Describing the delegation tokens of a principal (KIP-373).
    DescribeTokens,
    /// Preparing transactions that somebody else commits (KIP-939).
    TwoPhaseCommit,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(AclOperation, "operation", {
    All = 2 "ALL",
    Read = 3 "READ",
    Write = 4 "WRITE",
    Create = 5 "CREATE",
    Delete = 6 "DELETE",
    Alter = 7 "ALTER",
    Describe = 8 "DESCRIBE",
    ClusterAction = 9 "CLUSTER_ACTION",
    DescribeConfigs = 10 "DESCRIBE_CONFIGS",
    AlterConfigs = 11 "ALTER_CONFIGS",
    IdempotentWrite = 12 "IDEMPOTENT_WRITE",
    CreateTokens = 13 "CREATE_TOKENS",
    DescribeTokens = 14 "DESCRIBE_TOKENS",
    TwoPhaseCommit = 15 "TWO_PHASE_COMMIT",
});

/// Whether a rule allows or forbids; a rule that forbids goes before all that allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum AclPermission {
    /// It forbids.
    Deny,
    /// It allows.
    Allow,
    /// One that this version does not know, by Kafka's number.
    Other(i8),
}

kafka_names!(AclPermission, "permission", {
    Deny = 2 "DENY",
    Allow = 3 "ALLOW",
});

/// What a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct AclResource {
    /// What sort of thing.
    pub kind: AclResourceKind,
    /// How it is named.
    pub pattern: AclPattern,
    /// Its name, or how names begin; `*` stands for all.
    pub name: String,
}

impl AclResource {
    /// The thing of this sort and name; `*` stands for all.
    pub fn new(kind: AclResourceKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            pattern: AclPattern::Literal,
            name: name.into(),
        }
    }

    /// The topic of this name; `*` stands for all.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(AclResourceKind::Topic, name)
    }

    /// The group of this id; `*` stands for all.
    pub fn group(id: impl Into<String>) -> Self {
        Self::new(AclResourceKind::Group, id)
    }

    /// The cluster.
    pub fn cluster() -> Self {
        Self::new(AclResourceKind::Cluster, CLUSTER_NAME)
    }

    /// The transactional id; `*` stands for all.
    pub fn transactional_id(id: impl Into<String>) -> Self {
        Self::new(AclResourceKind::TransactionalId, id)
    }

    /// All whose names begin with the name.
    pub fn prefixed(mut self) -> Self {
        self.pattern = AclPattern::Prefixed;
        self
    }
}

/// Such as `LITERAL TOPIC orders`.
impl fmt::Display for AclResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            pattern,
            name,
        } = self;
        write!(f, "{pattern} {kind} {name}")
    }
}

/// A rule: who may do what to a resource, or may not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct AclBinding {
    /// What it is about.
    pub resource: AclResource,
    /// Who: such as `User:alice`, or `User:*` for everybody.
    pub principal: String,
    /// From which address; `*` stands for any.
    pub host: String,
    /// What.
    pub operation: AclOperation,
    /// Whether they may.
    pub permission: AclPermission,
}

impl AclBinding {
    /// `principal`, such as `User:alice` or `User:*`, may do this to the resource, from any host.
    pub fn allow(
        principal: impl Into<String>,
        operation: AclOperation,
        resource: AclResource,
    ) -> Self {
        Self {
            resource,
            principal: principal.into(),
            host: ANYTHING.to_owned(),
            operation,
            permission: AclPermission::Allow,
        }
    }

    /// `principal` may not do this to the resource, from any host.
    pub fn deny(
        principal: impl Into<String>,
        operation: AclOperation,
        resource: AclResource,
    ) -> Self {
        Self {
            permission: AclPermission::Deny,
            ..Self::allow(principal, operation, resource)
        }
    }

    /// Only from this address.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = host.into();
        self
    }
}

/// Such as `ALLOW User:alice READ LITERAL TOPIC orders from *`.
impl fmt::Display for AclBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            resource,
            principal,
            host,
            operation,
            permission,
        } = self;
        write!(
            f,
            "{permission} {principal} {operation} {resource} from {host}"
        )
    }
}

/// Which rules are meant: [`Default`] means all, each method fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct AclBindingFilter {
    /// About this sort of thing; of any sort where there is none.
    pub resource_kind: Option<AclResourceKind>,
    /// With this name of the resource; with any where there is none.
    pub resource_name: Option<String>,
    /// With this sort of pattern.
    pub pattern: AclPatternFilter,
    /// Of this principal; of any where there is none.
    pub principal: Option<String>,
    /// From this address; from any where there is none.
    pub host: Option<String>,
    /// About this operation; about any where there is none.
    pub operation: Option<AclOperation>,
    /// With this permission; with either where there is none.
    pub permission: Option<AclPermission>,
}

impl AclBindingFilter {
    /// Exactly this rule.
    pub fn exactly(rule: &AclBinding) -> Self {
        Self {
            principal: Some(rule.principal.clone()),
            host: Some(rule.host.clone()),
            operation: Some(rule.operation),
            permission: Some(rule.permission),
            ..Self::default().resource(&rule.resource)
        }
    }

    /// About exactly this resource, by this sort of pattern.
    pub fn resource(mut self, resource: &AclResource) -> Self {
        self.resource_kind = Some(resource.kind);
        self.resource_name = Some(resource.name.clone());
        self.pattern = AclPatternFilter::from_number(resource.pattern.number());
        self
    }

    /// About this sort of thing.
    pub fn resource_kind(mut self, kind: AclResourceKind) -> Self {
        self.resource_kind = Some(kind);
        self
    }

    /// With this name of the resource.
    pub fn resource_name(mut self, name: impl Into<String>) -> Self {
        self.resource_name = Some(name.into());
        self
    }

    /// With this sort of pattern.
    pub fn pattern(mut self, pattern: AclPatternFilter) -> Self {
        self.pattern = pattern;
        self
    }

    /// Of this principal, such as `User:alice`.
    pub fn principal(mut self, principal: impl Into<String>) -> Self {
        self.principal = Some(principal.into());
        self
    }

    /// From this address.
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// About this operation.
    pub fn operation(mut self, operation: AclOperation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// With this permission.
    pub fn permission(mut self, permission: AclPermission) -> Self {
        self.permission = Some(permission);
        self
    }
}

/// What a client may do, as a broker says it: a bit for each operation; `None` where it did not.
pub(super) fn authorized(bits: i32) -> Option<BTreeSet<AclOperation>> {
    let has = |number: &i8| bits & (1 << number) != 0;
    let operations = || (0..31).filter(has).map(AclOperation::from_number);
    (bits != i32::MIN).then(|| operations().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas_in_letters_of_either_case() {
        let parsed = "Describe-Configs".parse::<AclOperation>();
        assert_eq!(parsed.ok(), Some(AclOperation::DescribeConfigs));
        assert_eq!(AclOperation::from_number(15), AclOperation::TwoPhaseCommit);
        assert_eq!(AclOperation::Other(99).number(), 99);
        assert_eq!(AclOperation::Other(99).to_string(), "UNKNOWN");
        let error = "TOPICS".parse::<AclResourceKind>().expect_err("no such");
        assert!(error.to_string().contains("TRANSACTIONAL_ID"), "{error}");
    }

    #[test]
    fn what_a_client_may_do_is_a_bit_for_each_operation() {
        let some = BTreeSet::from([AclOperation::Create, AclOperation::Describe]);
        assert_eq!(authorized(1 << 5 | 1 << 8), Some(some));
        assert_eq!(authorized(0), Some(BTreeSet::new()));
        assert_eq!(authorized(i32::MIN), None);
    }

    #[test]
    fn a_filter_of_a_rule_means_it_alone() {
        let rule = AclBinding::deny(
            "User:eve",
            AclOperation::Read,
            AclResource::topic("orders-").prefixed(),
        );
        let filter = AclBindingFilter::exactly(&rule.clone().host("10.0.0.1"));
        assert_eq!(filter.pattern, AclPatternFilter::Prefixed);
        assert_eq!(filter.host.as_deref(), Some("10.0.0.1"));
        assert_eq!(
            rule.to_string(),
            "DENY User:eve READ PREFIXED TOPIC orders- from *"
        );
    }
}
