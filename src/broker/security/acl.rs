//! Who may do what: access control lists (KIP-11, prefixes KIP-290), decided as Kafka's `StandardAuthorizer` does.

use std::collections::BTreeSet;

use crate::broker::storage::AclNote;

/// Any host, in a rule; any name, in a resource.
const ANY: &str = "*";
/// Every user, in a rule.
const EVERYBODY: &str = "User:*";
/// The name of the one cluster.
pub(crate) const CLUSTER_NAME: &str = "kafka-cluster";

/// A rule of who may do what with a resource, or may not: a denial goes before every permission.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acl {
    pub(crate) resource: AclResource,
    pub(crate) principal: String,
    pub(crate) host: String,
    pub(crate) operation: AclOperation,
    pub(crate) allows: bool,
}

impl Acl {
    /// Lets `principal`, such as `User:alice` or `User:*`, do this with the resource. READ, WRITE, DELETE and ALTER include DESCRIBE, and
    /// ALTER_CONFIGS includes DESCRIBE_CONFIGS.
    pub fn allow(
        principal: impl Into<String>,
        operation: AclOperation,
        resource: AclResource,
    ) -> Self {
        Self {
            resource,
            principal: principal.into(),
            host: ANY.to_owned(),
            operation,
            allows: true,
        }
    }

    /// Forbids it, and nothing that it includes.
    pub fn deny(
        principal: impl Into<String>,
        operation: AclOperation,
        resource: AclResource,
    ) -> Self {
        Self {
            allows: false,
            ..Self::allow(principal, operation, resource)
        }
    }

    /// Only from this address. Clients that connect in memory come from 127.0.0.1. Default: from any.
    #[must_use]
    pub fn from_host(self, host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            ..self
        }
    }

    /// As it is kept.
    pub(crate) fn note(&self) -> AclNote {
        AclNote {
            kind: self.resource.kind.code(),
            name: self.resource.name.clone(),
            prefixed: self.resource.prefixed,
            principal: self.principal.clone(),
            host: self.host.clone(),
            operation: self.operation.code(),
            allows: self.allows,
        }
    }

    /// As it was kept; none where it means nothing.
    pub(crate) fn of(note: AclNote) -> Option<Self> {
        Some(Self {
            resource: AclResource {
                kind: ResourceKind::from_code(note.kind)?,
                name: note.name,
                prefixed: note.prefixed,
            },
            principal: note.principal,
            host: note.host,
            operation: AclOperation::from_code(note.operation)?,
            allows: note.allows,
        })
    }

    fn concerns(&self, asker: &Asker<'_>) -> bool {
        (self.principal == EVERYBODY || self.principal == asker.principal)
            && (self.host == ANY || self.host == asker.host)
    }

    fn decides(&self, operation: AclOperation) -> bool {
        use AclOperation::{Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
        let includes = match operation {
            Describe => matches!(self.operation, Read | Write | Delete | Alter),
            DescribeConfigs => self.operation == AlterConfigs,
            _ => false,
        };
        self.operation == operation
            || self.operation == AclOperation::All
            || self.allows && includes
    }
}

/// What rules are about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AclResource {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
    pub(crate) prefixed: bool,
}

impl AclResource {
    pub(crate) fn new(kind: ResourceKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            prefixed: false,
        }
    }

    /// The topic of this name; `*` stands for all.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::new(ResourceKind::Topic, name)
    }

    /// The group of this id; `*` stands for all.
    pub fn group(id: impl Into<String>) -> Self {
        Self::new(ResourceKind::Group, id)
    }

    /// This transactional id; `*` stands for all.
    pub fn transactional_id(id: impl Into<String>) -> Self {
        Self::new(ResourceKind::TransactionalId, id)
    }

    /// The cluster itself.
    pub fn cluster() -> Self {
        Self::new(ResourceKind::Cluster, CLUSTER_NAME)
    }

    /// Everything of the kind whose name begins with this one.
    #[must_use]
    pub fn prefixed(self) -> Self {
        Self {
            prefixed: true,
            ..self
        }
    }

    fn is_all(&self) -> bool {
        !self.prefixed && self.name == ANY
    }

    pub(crate) fn covers(&self, kind: ResourceKind, name: &str) -> bool {
        let named = match self.prefixed {
            true => name.starts_with(&self.name),
            false => self.is_all() || self.name == name,
        };
        self.kind == kind && named
    }
}

/// A number of the protocol for each variant.
macro_rules! numbered {
    ($name:ident { $($variant:ident = $code:literal,)* }) => {
        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its number in the protocol.
            pub(crate) fn code(self) -> i8 {
                match self {
                    $(Self::$variant => $code,)*
                }
            }

            pub(crate) fn from_code(code: i8) -> Option<Self> {
                Self::ALL.iter().copied().find(|it| it.code() == code)
            }
        }
    };
}

/// What somebody does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AclOperation {
    /// All of the others.
    All,
    /// READ: fetch from a topic; join a group and commit in it.
    Read,
    /// WRITE: produce to a topic, or under a transactional id.
    Write,
    /// CREATE: a topic, or topics in the cluster.
    Create,
    /// DELETE.
    Delete,
    /// ALTER.
    Alter,
    /// DESCRIBE: see that it is there.
    Describe,
    /// CLUSTER_ACTION: what brokers do among themselves.
    ClusterAction,
    /// DESCRIBE_CONFIGS.
    DescribeConfigs,
    /// ALTER_CONFIGS.
    AlterConfigs,
    /// IDEMPOTENT_WRITE, on the cluster; since Kafka 3.0, WRITE on any topic is as good.
    IdempotentWrite,
}

numbered! { AclOperation {
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
} }

/// The kinds of resources that the broker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ResourceKind {
    Topic,
    Group,
    Cluster,
    TransactionalId,
}

numbered! { ResourceKind {
    Topic = 2,
    Group = 3,
    Cluster = 4,
    TransactionalId = 5,
} }

impl ResourceKind {
    /// What can be done with it.
    fn operations(self) -> &'static [AclOperation] {
        use AclOperation::*;
        match self {
            Self::Topic => &[
                Read,
                Write,
                Create,
                Delete,
                Alter,
                Describe,
                DescribeConfigs,
                AlterConfigs,
            ],
            Self::Group => &[Read, Delete, Describe],
            Self::Cluster => &[
                Create,
                Alter,
                Describe,
                ClusterAction,
                DescribeConfigs,
                AlterConfigs,
                IdempotentWrite,
            ],
            Self::TransactionalId => &[Write, Describe],
        }
    }
}

/// Who wants something.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker<'a> {
    pub(crate) principal: &'a str,
    pub(crate) host: &'a str,
}

/// All rules.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acls {
    pub(crate) rules: BTreeSet<Acl>,
    /// They may do everything.
    pub(crate) super_users: BTreeSet<String>,
    /// Kafka's `allow.everyone.if.no.acl.found`.
    pub(crate) everyone: bool,
}

impl Acls {
    pub(crate) fn allow(
        &self,
        asker: &Asker<'_>,
        operation: AclOperation,
        kind: ResourceKind,
        name: &str,
    ) -> bool {
        if self.super_users.contains(asker.principal) {
            return true;
        }
        let (mut any, mut allowed) = (false, false);
        for rule in self
            .rules
            .iter()
            .filter(|rule| rule.resource.covers(kind, name))
        {
            any = true;
            if rule.concerns(asker) && rule.decides(operation) {
                if !rule.allows {
                    return false;
                }
                allowed = true;
            }
        }
        allowed || self.everyone && !any
    }

    /// Whether this is allowed with any resource of the kind, whatever its name.
    pub(crate) fn allow_some(
        &self,
        asker: &Asker<'_>,
        operation: AclOperation,
        kind: ResourceKind,
    ) -> bool {
        // A name that nobody has rules for: super users, and everyone.
        if self.allow(asker, operation, kind, "hardcode") {
            return true;
        }
        let about = |rule: &&Acl| {
            rule.resource.kind == kind
                && rule.concerns(asker)
                && [operation, AclOperation::All].contains(&rule.operation)
        };
        let rules = || self.rules.iter().filter(about);
        let denied = |resource: &AclResource| {
            rules().any(|rule| {
                let deny = &rule.resource;
                let whole = deny.is_all() || deny.prefixed && resource.name.starts_with(&deny.name);
                !rule.allows && (whole || deny == resource)
            })
        };
        rules().any(|rule| rule.allows && !denied(&rule.resource))
    }

    /// What is allowed with a resource: a bit for each operation's number.
    pub(crate) fn operations(&self, asker: &Asker<'_>, kind: ResourceKind, name: &str) -> i32 {
        bits(kind, |operation| self.allow(asker, operation, kind, name))
    }
}

/// A bit for each operation that can be done with such a resource and fulfils this.
pub(crate) fn bits(kind: ResourceKind, allowed: impl Fn(AclOperation) -> bool) -> i32 {
    let operations = kind.operations().iter().copied();
    let allowed = operations.filter(|operation| allowed(*operation));
    allowed.fold(0, |bits, operation| bits | 1 << operation.code())
}

#[cfg(test)]
mod tests {
    use super::AclOperation::*;
    use super::*;

    const ALICE: Asker<'_> = Asker {
        principal: "User:alice",
        host: "10.0.0.1",
    };

    fn acls(rules: impl IntoIterator<Item = Acl>) -> Acls {
        Acls {
            rules: rules.into_iter().collect(),
            ..Acls::default()
        }
    }

    fn allow(acls: &Acls, operation: AclOperation, topic: &str) -> bool {
        acls.allow(&ALICE, operation, ResourceKind::Topic, topic)
    }

    #[test]
    fn names_prefixes_and_all_are_covered_as_they_say() {
        let rules = acls([
            Acl::allow("User:alice", Read, AclResource::topic("a")),
            Acl::allow("User:*", Write, AclResource::topic("b-").prefixed()),
            Acl::allow("User:alice", Alter, AclResource::topic("*")),
            Acl::allow("User:bob", Delete, AclResource::topic("*")),
            Acl::allow("User:alice", Delete, AclResource::group("a")),
        ]);
        assert!(allow(&rules, Read, "a") && !allow(&rules, Read, "ab"));
        assert!(
            allow(&rules, Write, "b-1") && allow(&rules, Write, "b-") && !allow(&rules, Write, "b")
        );
        assert!(allow(&rules, Alter, "anything"));
        assert!(!allow(&rules, Delete, "a"));
        // A prefix of `*` is a letter, not everything.
        let rules = acls([Acl::allow(
            "User:alice",
            Read,
            AclResource::topic("*").prefixed(),
        )]);
        assert!(!allow(&rules, Read, "a") && allow(&rules, Read, "*a"));
    }

    #[test]
    fn permissions_include_others_and_denials_do_not() {
        let topic = || AclResource::topic("t");
        for operation in [Read, Write, Delete, Alter, All, Describe] {
            let rules = acls([Acl::allow("User:alice", operation, topic())]);
            assert!(allow(&rules, Describe, "t"), "{operation:?}");
        }
        let rules = acls([Acl::allow("User:alice", Create, topic())]);
        assert!(!allow(&rules, Describe, "t"));
        let rules = acls([Acl::allow("User:alice", AlterConfigs, topic())]);
        assert!(allow(&rules, DescribeConfigs, "t"));
        let rules = acls([
            Acl::allow("User:alice", All, topic()),
            Acl::deny("User:alice", Read, topic()),
        ]);
        assert!(
            !allow(&rules, Read, "t") && allow(&rules, Describe, "t") && allow(&rules, Write, "t")
        );
    }

    #[test]
    fn a_denial_goes_before_every_permission_however_it_is_named() {
        let rules = acls([
            Acl::allow("User:alice", Read, AclResource::topic("t-1")),
            Acl::allow("User:alice", Read, AclResource::topic("*")),
            Acl::deny("User:*", All, AclResource::topic("t-").prefixed()).from_host("10.0.0.1"),
        ]);
        assert!(!allow(&rules, Read, "t-1") && allow(&rules, Read, "u"));
        let elsewhere = Asker {
            host: "10.0.0.2",
            ..ALICE
        };
        assert!(rules.allow(&elsewhere, Read, ResourceKind::Topic, "t-1"));
    }

    #[test]
    fn everyone_is_let_in_only_where_no_rule_is_about_the_resource() {
        let mut rules = acls([Acl::allow("User:bob", Read, AclResource::topic("t"))]);
        rules.super_users.insert("User:admin".to_owned());
        assert!(!allow(&rules, Read, "u"));
        rules.everyone = true;
        assert!(allow(&rules, Read, "u") && !allow(&rules, Read, "t"));
        let admin = Asker {
            principal: "User:admin",
            ..ALICE
        };
        assert!(rules.allow(&admin, ClusterAction, ResourceKind::Topic, "t"));
    }

    #[test]
    fn who_may_write_to_any_topic_is_found_out_without_its_name() {
        let some = |rules: Vec<Acl>| acls(rules).allow_some(&ALICE, Write, ResourceKind::Topic);
        let topic = AclResource::topic;
        let allow = |resource| Acl::allow("User:alice", Write, resource);
        let deny = |resource| Acl::deny("User:alice", Write, resource);
        assert!(some(vec![allow(topic("a"))]));
        assert!(some(vec![Acl::allow("User:alice", All, topic("a"))]));
        assert!(!some(vec![Acl::allow("User:alice", Read, topic("a"))]));
        assert!(!some(vec![allow(topic("a")), deny(topic("*"))]));
        assert!(!some(vec![allow(topic("ab")), deny(topic("a").prefixed())]));
        assert!(!some(vec![allow(topic("a")), deny(topic("a"))]));
        assert!(some(vec![allow(topic("a").prefixed()), deny(topic("a"))]));
        assert!(some(vec![
            allow(topic("a")),
            allow(topic("b")),
            deny(topic("a"))
        ]));
    }
}
