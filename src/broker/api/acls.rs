//! CreateAcls, DescribeAcls, DeleteAcls: the rules of who may do what (KIP-140, KIP-290).

use protocol::ErrorCode;
use protocol::messages::create_acls_request::AclCreation;
use protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use protocol::messages::delete_acls_request::DeleteAclsFilter;
use protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsResponse,
};
use protocol::messages::describe_acls_response::{
    AclDescription, DescribeAclsResource, DescribeAclsResponse,
};
use protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};

use super::{Api, Context, Reply};
use crate::broker::security::{Acl, AclOperation, AclResource, Acls, CLUSTER_NAME, ResourceKind};
use crate::broker::storage::{Change, Key, flag_to_bytes};

/// In a filter: any kind, pattern, operation, permission.
const ANY: i8 = 1;
/// In a filter: patterns that cover the name.
const MATCH: i8 = 2;
const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

impl Context<'_> {
    /// Does something with the rules, if the client may do this to the cluster and there are rules at all.
    fn with_acls<T>(
        &self,
        operation: AclOperation,
        act: impl FnOnce(&mut Acls) -> T,
    ) -> Result<T, ErrorCode> {
        if !self.allows_cluster(operation) {
            return Err(ErrorCode::CLUSTER_AUTHORIZATION_FAILED);
        }
        let acls = self.cluster.security.acls();
        let mut acls = acls.ok_or(ErrorCode::SECURITY_DISABLED)?;
        Ok(act(&mut acls))
    }
}

impl Api for CreateAclsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<CreateAclsResponse> {
        let created = context.with_acls(AclOperation::Alter, |acls| {
            let create = |creation| {
                let created = rule(creation).ok_or(ErrorCode::INVALID_REQUEST);
                let created = created.and_then(|rule| {
                    context.cluster.keep(&[kept(&rule, true)])?;
                    acls.rules.insert(rule);
                    Ok(())
                });
                let error_code = created.err().unwrap_or(ErrorCode::NONE);
                AclCreationResult {
                    error_code,
                    ..Default::default()
                }
            };
            self.creations.iter().map(create).collect()
        });
        Reply::Message(match created {
            Ok(results) => CreateAclsResponse {
                results,
                ..Default::default()
            },
            Err(error) => self.refusal(context.version, error),
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> CreateAclsResponse {
        let refused = AclCreationResult {
            error_code: error,
            ..Default::default()
        };
        CreateAclsResponse {
            results: vec![refused; self.creations.len()],
            ..Default::default()
        }
    }
}

impl Api for DescribeAclsRequest {
    async fn handle(self, context: &Context<'_>) -> Reply<DescribeAclsResponse> {
        let filter = Filter {
            kind: self.resource_type_filter,
            name: self.resource_name_filter.as_deref(),
            pattern: self.pattern_type_filter,
            principal: self.principal_filter.as_deref(),
            host: self.host_filter.as_deref(),
            operation: self.operation,
            permission: self.permission_type,
        };
        let described = context.with_acls(AclOperation::Describe, |acls| {
            let mut resources: Vec<DescribeAclsResource> = Vec::new();
            let mut last = None;
            // They are sorted by their resource.
            for rule in acls.rules.iter().filter(|rule| filter.matches(rule)) {
                if last != Some(&rule.resource) {
                    resources.push(described(&rule.resource));
                    last = Some(&rule.resource);
                }
                let acls = resources.last_mut().map(|resource| &mut resource.acls);
                acls.into_iter().for_each(|acls| {
                    acls.push(AclDescription {
                        principal: rule.principal.clone(),
                        host: rule.host.clone(),
                        operation: rule.operation.code(),
                        permission_type: permission(rule),
                        ..Default::default()
                    });
                });
            }
            resources
        });
        Reply::Message(match described {
            Ok(resources) => DescribeAclsResponse {
                resources,
                ..Default::default()
            },
            Err(error) => self.refusal(context.version, error),
        })
    }
}

impl Api for DeleteAclsRequest {
    const USES_FILES: bool = true;

    async fn handle(self, context: &Context<'_>) -> Reply<DeleteAclsResponse> {
        let deleted = context.with_acls(AclOperation::Alter, |acls| {
            let delete = |asked: &DeleteAclsFilter| {
                let filter = Filter::of(asked);
                let matching = acls.rules.iter().filter(|rule| filter.matches(rule));
                let changes: Vec<_> = matching.map(|rule| kept(rule, false)).collect();
                if let Err(error_code) = context.cluster.keep(&changes) {
                    return DeleteAclsFilterResult {
                        error_code,
                        ..Default::default()
                    };
                }
                let matching = acls.rules.extract_if(.., |rule| filter.matches(rule));
                DeleteAclsFilterResult {
                    matching_acls: matching.map(deleted).collect(),
                    ..Default::default()
                }
            };
            self.filters.iter().map(delete).collect()
        });
        Reply::Message(match deleted {
            Ok(filter_results) => DeleteAclsResponse {
                filter_results,
                ..Default::default()
            },
            Err(error) => self.refusal(context.version, error),
        })
    }

    fn refusal(&self, _: i16, error: ErrorCode) -> DeleteAclsResponse {
        let refused = DeleteAclsFilterResult {
            error_code: error,
            ..Default::default()
        };
        DeleteAclsResponse {
            filter_results: vec![refused; self.filters.len()],
            ..Default::default()
        }
    }
}

/// That a rule is there, or is no more: one of the settings would be there again otherwise.
fn kept(rule: &Acl, is_there: bool) -> Change {
    Change::put(&Key::Acl(rule.note()), &flag_to_bytes(is_there))
}

/// The rule that is asked for, if there can be one of this kind.
fn rule(creation: &AclCreation) -> Option<Acl> {
    let kind = ResourceKind::from_code(creation.resource_type)?;
    let name = creation.resource_name.clone();
    let is_name = !name.is_empty() && (kind != ResourceKind::Cluster || name == CLUSTER_NAME);
    let known = [LITERAL, PREFIXED].contains(&creation.resource_pattern_type)
        && [ALLOW, DENY].contains(&creation.permission_type);
    if !is_name || !known {
        return None;
    }
    Some(Acl {
        resource: AclResource {
            kind,
            name,
            prefixed: creation.resource_pattern_type == PREFIXED,
        },
        principal: creation.principal.clone(),
        host: creation.host.clone(),
        operation: AclOperation::from_code(creation.operation)?,
        allows: creation.permission_type == ALLOW,
    })
}

/// Which rules are meant; what is not named is any.
struct Filter<'a> {
    kind: i8,
    name: Option<&'a str>,
    pattern: i8,
    principal: Option<&'a str>,
    host: Option<&'a str>,
    operation: i8,
    permission: i8,
}

impl<'a> Filter<'a> {
    fn of(asked: &'a DeleteAclsFilter) -> Self {
        Self {
            kind: asked.resource_type_filter,
            name: asked.resource_name_filter.as_deref(),
            pattern: asked.pattern_type_filter,
            principal: asked.principal_filter.as_deref(),
            host: asked.host_filter.as_deref(),
            operation: asked.operation,
            permission: asked.permission_type,
        }
    }

    fn matches(&self, rule: &Acl) -> bool {
        let is = |wanted: i8, it: i8| wanted == ANY || wanted == it;
        let named = |wanted: Option<&str>, it: &str| wanted.is_none_or(|wanted| wanted == it);
        let resource = &rule.resource;
        let covered = self.name.is_none_or(|name| match self.pattern {
            MATCH => resource.covers(resource.kind, name),
            _ => resource.name == name,
        });
        is(self.kind, resource.kind.code())
            && covered
            && (self.pattern == MATCH || is(self.pattern, pattern(resource)))
            && named(self.principal, &rule.principal)
            && named(self.host, &rule.host)
            && is(self.operation, rule.operation.code())
            && is(self.permission, permission(rule))
    }
}

fn pattern(resource: &AclResource) -> i8 {
    if resource.prefixed { PREFIXED } else { LITERAL }
}

fn permission(rule: &Acl) -> i8 {
    if rule.allows { ALLOW } else { DENY }
}

fn described(resource: &AclResource) -> DescribeAclsResource {
    DescribeAclsResource {
        resource_type: resource.kind.code(),
        resource_name: resource.name.clone(),
        pattern_type: pattern(resource),
        ..Default::default()
    }
}

fn deleted(rule: Acl) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        resource_type: rule.resource.kind.code(),
        pattern_type: pattern(&rule.resource),
        operation: rule.operation.code(),
        permission_type: permission(&rule),
        resource_name: rule.resource.name,
        principal: rule.principal,
        host: rule.host,
        ..Default::default()
    }
}
