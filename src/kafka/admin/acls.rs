//! Access control lists (KIP-11, KIP-140, KIP-290): rules created, described and deleted by filters. In: rules and filters. Out: a result for
//! each.

use std::collections::{BTreeMap, BTreeSet};

use protocol::messages::create_acls_request::AclCreation;
use protocol::messages::delete_acls_request::DeleteAclsFilter;
use protocol::messages::delete_acls_response::DeleteAclsMatchingAcl;
use protocol::messages::describe_acls_response::DescribeAclsResource;
use protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};

use super::Admin;
use super::acl_rules::{
    AclBinding, AclBindingFilter, AclOperation, AclPattern, AclPermission, AclResource,
    AclResourceKind,
};
use super::each::{Ask, Round, Route, checked};
use crate::kafka::Result;
use crate::kafka::cluster::Answer;

impl Admin {
    /// Creates rules: a result for each. One that is there already is no error.
    ///
    /// Errors by rule: `SECURITY_DISABLED` where brokers have no authorizer, `INVALID_REQUEST` for a rule that cannot be,
    /// `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`ALTER` on the cluster). Brokers other than the controller follow a little
    /// later. A call that is dropped may still be carried out; it can be repeated.
    pub async fn create_acls(
        &self,
        rules: &[AclBinding],
    ) -> Result<BTreeMap<AclBinding, Result<()>>> {
        let build = |round: &mut Round<AclBinding>| {
            Ok(CreateAclsRequest {
                creations: round.items.iter().map(creation).collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<CreateAclsRequest>, round: &Round<AclBinding>| {
            round.in_order(&answer.response.results, |it| {
                let message = it.error_message.as_deref();
                checked(answer, it.error_code, message, || ())
            })
        };
        let items = rules.iter().cloned().collect();
        let ask = Ask::new(Route::Controller, items, |rule: &AclBinding, error| {
            error.prefixed(&format!("rule {rule}"))
        });
        self.each(ask, build, read).await
    }

    /// The rules that a filter matches. Cancel safe: nothing is changed.
    ///
    /// Errors: `SECURITY_DISABLED` where brokers have no authorizer, `CLUSTER_AUTHORIZATION_FAILED` where the client may not (`DESCRIBE` on the
    /// cluster).
    pub async fn describe_acls(&self, filter: &AclBindingFilter) -> Result<BTreeSet<AclBinding>> {
        let build = |_: &mut Round<()>| {
            let DeleteAclsFilter {
                resource_type_filter,
                resource_name_filter,
                pattern_type_filter,
                principal_filter,
                host_filter,
                operation,
                permission_type,
                ..
            } = asked(filter);
            Ok(DescribeAclsRequest {
                resource_type_filter,
                resource_name_filter,
                pattern_type_filter,
                principal_filter,
                host_filter,
                operation,
                permission_type,
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DescribeAclsRequest>, round: &Round<()>| {
            let response = &answer.response;
            let message = response.error_message.as_deref();
            let described =
                || -> BTreeSet<_> { response.resources.iter().flat_map(rules).collect() };
            round.all(checked(answer, response.error_code, message, described))
        };
        self.one(Route::Any, build, read).await
    }

    /// Deletes the rules that filters match: for each filter the rules that it found, and what became of each. That it found none is no error.
    ///
    /// Errors by filter: as of [`create_acls`](Self::create_acls). A call that is dropped may still be carried out.
    pub async fn delete_acls(
        &self,
        filters: &[AclBindingFilter],
    ) -> Result<BTreeMap<AclBindingFilter, Result<BTreeMap<AclBinding, Result<()>>>>> {
        let build = |round: &mut Round<AclBindingFilter>| {
            Ok(DeleteAclsRequest {
                filters: round.items.iter().map(asked).collect(),
                ..Default::default()
            })
        };
        let read = |answer: &Answer<DeleteAclsRequest>, round: &Round<AclBindingFilter>| {
            round.in_order(&answer.response.filter_results, |it| {
                let message = it.error_message.as_deref();
                checked(answer, it.error_code, message, || {
                    let matching = it.matching_acls.iter();
                    let deleted = matching.map(|it| deleted(answer, it));
                    deleted.collect::<BTreeMap<_, _>>()
                })
            })
        };
        let items = filters.iter().cloned().collect();
        let ask = Ask::new(Route::Controller, items, |_: &AclBindingFilter, error| {
            error
        });
        self.each(ask, build, read).await
    }
}

/// Stands for any resource, operation or permission.
const ANY: i8 = 1;

fn creation(rule: &AclBinding) -> AclCreation {
    AclCreation {
        resource_type: rule.resource.kind.number(),
        resource_name: rule.resource.name.clone(),
        resource_pattern_type: rule.resource.pattern.number(),
        principal: rule.principal.clone(),
        host: rule.host.clone(),
        operation: rule.operation.number(),
        permission_type: rule.permission.number(),
        ..Default::default()
    }
}

fn asked(filter: &AclBindingFilter) -> DeleteAclsFilter {
    DeleteAclsFilter {
        resource_type_filter: filter.resource_kind.map_or(ANY, AclResourceKind::number),
        resource_name_filter: filter.resource_name.clone(),
        pattern_type_filter: filter.pattern.number(),
        principal_filter: filter.principal.clone(),
        host_filter: filter.host.clone(),
        operation: filter.operation.map_or(ANY, AclOperation::number),
        permission_type: filter.permission.map_or(ANY, AclPermission::number),
        ..Default::default()
    }
}

fn rules(resource: &DescribeAclsResource) -> impl Iterator<Item = AclBinding> {
    let rules = resource.acls.iter();
    rules.map(|it| AclBinding {
        resource: AclResource {
            kind: AclResourceKind::from_number(resource.resource_type),
            pattern: AclPattern::from_number(resource.pattern_type),
            name: resource.resource_name.clone(),
        },
        principal: it.principal.clone(),
        host: it.host.clone(),
        operation: AclOperation::from_number(it.operation),
        permission: AclPermission::from_number(it.permission_type),
    })
}

fn deleted(
    answer: &Answer<DeleteAclsRequest>,
    it: &DeleteAclsMatchingAcl,
) -> (AclBinding, Result<()>) {
    let rule = AclBinding {
        resource: AclResource {
            kind: AclResourceKind::from_number(it.resource_type),
            pattern: AclPattern::from_number(it.pattern_type),
            name: it.resource_name.clone(),
        },
        principal: it.principal.clone(),
        host: it.host.clone(),
        operation: AclOperation::from_number(it.operation),
        permission: AclPermission::from_number(it.permission_type),
    };
    let result = checked(answer, it.error_code, it.error_message.as_deref(), || ());
    let result = result.map_err(|error| error.prefixed(&format!("rule {rule}")));
    (rule, result)
}
