//! The events of the demo: what happens to many emails at once, and to their tenants. In: a number of events. Out: that many
//! events, all eight types, those of one email and of one tenant in a fixed order by which [`super::delivery_checker`] checks them.

use std::time::SystemTime;

use pat_events::events::email::*;
use pat_events::events::prost_types::Timestamp;

/// The most emails that are under way at once. The events of one email lie that many events apart: in different batches.
const MOST_EMAILS_AT_ONCE: u64 = 512;
/// The stages of an email, one event each.
pub const STAGES: u64 = 7;
const TENANTS: u64 = 40;
/// One event in eight is about a tenant.
const TENANT_EVERY: u64 = 8;
/// What the plugin of the demo is told.
const INPUT: &[u8] = br#"{"folder":"orders"}"#;

/// A generator of events.
#[derive(Debug)]
pub struct Workload {
    run: String,
    emails_at_once: u64,
    events: u64,
    created: u64,
}

impl Workload {
    /// A workload of that many events, created in the run of this name.
    pub fn new(run: &str, events: u64) -> Workload {
        let emails_at_once = (events / (STAGES + 1) / 2).clamp(1, MOST_EMAILS_AT_ONCE);
        Workload {
            run: run.to_owned(),
            emails_at_once,
            events,
            created: 0,
        }
    }

    /// An event before the first, by which the run learns that its consumer is ready: its revision is 0, which no other has.
    pub fn warm_up(run: &str) -> TenantEvent {
        TenantEvent {
            tenant_id: format!("{run}-warm-up"),
            meta: Some(EventMeta {
                event_id: run.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn email_event(&self, number: u64, now: Timestamp) -> EmailEvents {
        // Blocks of emails; within a block every email goes through the first stage before any goes through the second.
        let (block, within) = (
            number / (self.emails_at_once * STAGES),
            number % (self.emails_at_once * STAGES),
        );
        let email = block * self.emails_at_once + within % self.emails_at_once;
        let email = Email {
            number: email,
            email_id: format!("{}-email-{email}", self.run),
            tenant_id: self.tenant_id(email % TENANTS),
            now,
        };
        match within / self.emails_at_once {
            0 => email.received().into(),
            1 => email.validated().into(),
            2 => email.processed().into(),
            3 => email.triggered().into(),
            4 => email.required().into(),
            5 => email.completed().into(),
            _ => email.deleted().into(),
        }
    }

    fn tenant_event(&self, number: u64, now: Timestamp) -> EmailEvents {
        let tenant = number % TENANTS;
        let revision = number / TENANTS + 1;
        let settings = Some(TenantSettings {
            display_name: format!("Tenant {tenant}"),
            plan: "business".into(),
            domains: vec![format!("tenant-{tenant}.example")],
            limits: Some(TenantLimits {
                daily_emails: 10_000 + revision,
                ..Default::default()
            }),
            region: "eu-central".into(),
            ..Default::default()
        });
        let change = if revision == 1 {
            tenant_event::Change::Created(TenantCreated { settings })
        } else {
            tenant_event::Change::Updated(TenantUpdated {
                settings,
                changed_fields: vec!["limits.daily_emails".into()],
            })
        };
        EmailEvents::from(TenantEvent {
            tenant_id: self.tenant_id(tenant),
            meta: Some(EventMeta {
                event_id: format!("{}-tenant-{tenant}-{revision}", self.run),
                occurred_at: Some(now),
                actor_id: "demo".into(),
                revision,
                ..Default::default()
            }),
            change: Some(change),
        })
    }

    fn tenant_id(&self, tenant: u64) -> String {
        format!("{}-tenant-{tenant}", self.run)
    }
}

impl Iterator for Workload {
    type Item = EmailEvents;

    fn next(&mut self) -> Option<EmailEvents> {
        if self.created == self.events {
            return None;
        }
        let (turn, within) = (self.created / TENANT_EVERY, self.created % TENANT_EVERY);
        self.created += 1;
        let now = Timestamp::from(SystemTime::now());
        Some(match within {
            0 => self.tenant_event(turn, now),
            email => self.email_event(turn * (TENANT_EVERY - 1) + email - 1, now),
        })
    }
}

/// One email, at the moment that an event about it is created.
struct Email {
    number: u64,
    email_id: String,
    tenant_id: String,
    now: Timestamp,
}

impl Email {
    fn received(self) -> EmailReceived {
        let address = |user: &str| EmailAddress {
            address: format!("{user}@example.org"),
            display_name: user.to_owned(),
        };
        EmailReceived {
            message_id: format!("{}@mail.example.org", self.email_id),
            from_address: Some(address("ann")),
            to_addresses: vec![address("ben")],
            subject: format!("Your order {} has shipped", self.number),
            size_bytes: 2_000 + self.number % 50_000,
            meta: self.meta(1),
            ingest_protocol: IngestProtocol::Smtp.into(),
            session: Some(SmtpSession {
                remote_address: "192.0.2.25".into(),
                ..Default::default()
            }),
            email_id: self.email_id,
            tenant_id: self.tenant_id,
            ..Default::default()
        }
    }

    fn validated(self) -> EmailValidated {
        let passed = |check: ValidationCheck| ValidationResult {
            check: check.into(),
            outcome: ValidationOutcome::Pass.into(),
            ..Default::default()
        };
        EmailValidated {
            verdict: ValidationVerdict::Accepted.into(),
            results: [
                ValidationCheck::Spf,
                ValidationCheck::Dkim,
                ValidationCheck::Dmarc,
            ]
            .map(passed)
            .into(),
            meta: self.meta(2),
            policy_version: "7".into(),
            email_id: self.email_id,
            tenant_id: self.tenant_id,
            ..Default::default()
        }
    }

    fn processed(self) -> EmailProcessed {
        let step = |name: &str| ProcessingStep {
            name: name.to_owned(),
            status: ProcessingStatus::Succeeded.into(),
            duration_us: 400,
            failure: None,
        };
        EmailProcessed {
            status: ProcessingStatus::Succeeded.into(),
            meta: self.meta(3),
            steps: vec![step("parse_mime"), step("classify")],
            labels: vec!["orders".into()],
            language: "en".into(),
            attempt: 1,
            email_id: self.email_id,
            tenant_id: self.tenant_id,
            ..Default::default()
        }
    }

    fn triggered(self) -> WorkflowTriggered {
        WorkflowTriggered {
            workflow_id: "file-orders".into(),
            workflow_version: 3,
            run_id: self.run_id(),
            trigger: WorkflowTrigger::Rule.into(),
            rule_id: "label-orders".into(),
            meta: self.meta(4),
            email_id: self.email_id,
            tenant_id: self.tenant_id,
            ..Default::default()
        }
    }

    fn required(self) -> PluginExecutionRequired {
        PluginExecutionRequired {
            execution_id: format!("{}-1", self.run_id()),
            plugin_id: "order-filer".into(),
            run_id: self.run_id(),
            entry_point: "on_email_received".into(),
            input: Some(Payload {
                content_type: "application/json".into(),
                content: Some(payload::Content::Data(INPUT.to_vec())),
                size_bytes: INPUT.len() as u64,
                ..Default::default()
            }),
            meta: self.meta(5),
            attempt: 1,
            email_id: self.email_id,
            tenant_id: self.tenant_id,
            ..Default::default()
        }
    }

    fn completed(self) -> PluginExecutionCompleted {
        PluginExecutionCompleted {
            execution_id: format!("{}-1", self.run_id()),
            plugin_id: "order-filer".into(),
            run_id: self.run_id(),
            status: ExecutionStatus::Succeeded.into(),
            meta: self.meta(6),
            attempt: 1,
            email_id: self.email_id,
            tenant_id: self.tenant_id,
            ..Default::default()
        }
    }

    fn deleted(self) -> EmailDeleted {
        EmailDeleted {
            reason: DeletionReason::Retention.into(),
            meta: self.meta(7),
            permanent: true,
            retention_policy_id: "30-days".into(),
            email_id: self.email_id,
            tenant_id: self.tenant_id,
            ..Default::default()
        }
    }

    /// The event of this number about the email.
    fn meta(&self, revision: u64) -> Option<EventMeta> {
        Some(EventMeta {
            event_id: format!("{}-{revision}", self.email_id),
            occurred_at: Some(self.now),
            revision,
            ..Default::default()
        })
    }

    fn run_id(&self) -> String {
        format!("run-{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pat_events::events::{AnyEvent, EventSet};

    use super::*;

    #[test]
    fn a_story_has_as_many_events_as_asked_for_and_all_types() {
        for events in [100, 1_000, 20_000] {
            let types: Vec<_> = Workload::new("r", events)
                .map(|event| event.event_type())
                .collect();
            assert_eq!(types.len() as u64, events);
            assert_eq!(
                types.iter().collect::<BTreeSet<_>>().len(),
                EmailEvents::TYPES.len()
            );
        }
    }
}
