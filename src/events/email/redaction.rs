//! Clears personal data out of events, by what the schemas say of each field. In: an event, and which classes of data. Out: the event
//! without them.
//!
//! The code for each message is written by the build, from the option `(api.events.v1.personal_data)`: a field that is added with that
//! option is cleared from then on, and nobody has to remember it here.

use super::*;

/// Messages that can be cleared of personal data: those of `api.events.v1`, and [`EmailEvents`].
///
/// A cleared field is as if it had never been set: an empty text, an empty list, `None`. Keys, tenants and ids of events stay, so that the
/// event stays one, and so do the URIs: what they lead to is erased where it is stored.
///
/// ```
/// use pat_events::events::email::{DataClasses, EmailReceived, PersonalData, Redact};
///
/// let mut event = EmailReceived {
///     email_id: "e-1".into(),
///     subject: "Dear Ann".into(),
///     ..Default::default()
/// };
/// // A subject is content.
/// assert_eq!(event.redact(DataClasses::only(&[PersonalData::Identity])), 0);
/// assert_eq!(event.redact(DataClasses::ALL), 1);
/// assert_eq!(event, EmailReceived { email_id: "e-1".into(), ..Default::default() });
/// ```
pub trait Redact {
    /// Clears every field that may hold data of `classes`, here and in all messages within. Returns how many values were cleared.
    fn redact(&mut self, classes: DataClasses) -> usize;
}

/// Which classes of personal data are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataClasses(u32);

impl DataClasses {
    /// Every class, those included that later versions of the schemas may bring.
    pub const ALL: DataClasses = DataClasses(u32::MAX);

    /// These, and no other.
    pub const fn only(classes: &[PersonalData]) -> DataClasses {
        let (mut bits, mut i) = (0, 0);
        while i < classes.len() {
            bits |= 1 << classes[i] as u32;
            i += 1;
        }
        DataClasses(bits)
    }

    /// Whether any of `classes` is meant.
    pub const fn holds_any(self, classes: &[PersonalData]) -> bool {
        self.0 & DataClasses::only(classes).0 != 0
    }
}

include!(concat!(env!("OUT_DIR"), "/redaction.rs"));

/// For each event of the set.
macro_rules! events {
    ($($Event:ident),*) => {
        impl Redact for EmailEvents {
            fn redact(&mut self, classes: DataClasses) -> usize {
                match self { $(EmailEvents::$Event(event) => event.redact(classes),)* }
            }
        }
    };
}

events!(
    EmailReceived,
    EmailProcessed,
    EmailValidated,
    WorkflowTriggered,
    PluginExecutionRequired,
    PluginExecutionCompleted,
    EmailDeleted,
    TenantEvent
);

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> EmailReceived {
        let ann = EmailAddress {
            address: "ann@example.org".into(),
            display_name: "Ann".into(),
        };
        EmailReceived {
            email_id: "e-1".into(),
            tenant_id: "t-1".into(),
            meta: Some(EventMeta {
                event_id: "01a2".into(),
                actor_id: "u-7".into(),
                ..Default::default()
            }),
            from_address: Some(ann.clone()),
            to_addresses: vec![ann.clone(), ann],
            subject: "Dear Ann".into(),
            headers: vec![EmailHeader {
                name: "Received".into(),
                value: "from mx1 [192.0.2.7]".into(),
            }],
            session: Some(SmtpSession {
                remote_address: "192.0.2.7".into(),
                local_port: 587,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn what_is_no_personal_data_stays() {
        let mut event = received();
        // Three addresses with two fields each, the subject, a header, an actor, a network address.
        assert_eq!(event.redact(DataClasses::ALL), 10);
        assert_eq!(event.email_id, "e-1");
        assert_eq!(event.meta.as_ref().expect("kept").event_id, "01a2");
        assert_eq!(event.headers[0].name, "Received");
        assert_eq!(event.to_addresses, vec![EmailAddress::default(); 2]);
        assert_eq!(event.session.as_ref().expect("kept").local_port, 587);
        let text = format!("{event:?}");
        for told in ["ann", "Ann", "192.0.2.7", "u-7"] {
            assert!(!text.contains(told), "{told} in {text}");
        }
        assert_eq!(event.redact(DataClasses::ALL), 0, "nothing is left");
    }

    #[test]
    fn a_class_that_is_not_meant_stays() {
        let mut event = received();
        // The header's value may hold an address of the network as well.
        assert_eq!(event.redact(DataClasses::only(&[PersonalData::Network])), 2);
        assert_eq!(event.subject, "Dear Ann");
        assert_eq!(event.to_addresses, received().to_addresses);
        assert_eq!(event.headers[0].value, "");
    }

    #[test]
    fn what_is_in_a_oneof_or_deep_below_is_cleared_too() {
        let mut event = EmailEvents::from(EmailProcessed {
            content: Some(MessageContent {
                parts: vec![
                    BodyPart {
                        content: Some(body_part::Content::Text("Hello".into())),
                        ..Default::default()
                    },
                    BodyPart {
                        content: Some(body_part::Content::Uri("s3://b/1".into())),
                        ..Default::default()
                    },
                ],
                codes: vec![OneTimeCode {
                    code: "493817".into(),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        });
        assert_eq!(event.redact(DataClasses::only(&[PersonalData::Secret])), 1);
        assert_eq!(event.redact(DataClasses::only(&[PersonalData::Content])), 1);
        let EmailEvents::EmailProcessed(event) = event else {
            panic!("another event");
        };
        let parts = event.content.expect("kept").parts;
        assert_eq!(parts[0].content, None);
        assert_eq!(
            parts[1].content,
            Some(body_part::Content::Uri("s3://b/1".into()))
        );
        let mut event = TenantEvent {
            change: Some(tenant_event::Change::Created(TenantCreated {
                settings: Some(TenantSettings {
                    display_name: "Ann's shop".into(),
                    plan: "business".into(),
                    ..Default::default()
                }),
            })),
            ..Default::default()
        };
        assert_eq!(event.redact(DataClasses::ALL), 1);
        assert!(format!("{event:?}").contains("business"), "{event:?}");
        let mut event = ValidationResult {
            findings: Some(validation_result::Findings::Spf(SpfFindings {
                client_address: "192.0.2.7".into(),
                ..Default::default()
            })),
            ..Default::default()
        };
        assert_eq!(event.redact(DataClasses::ALL), 1);
    }
}
