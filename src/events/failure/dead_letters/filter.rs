//! Which dead letters are meant. In: one, and what it says. Out: whether it is.

use crate::events::cloudevents::TENANT_ID;
use crate::events::{DeadLetter, FailureClass};
use crate::kafka::RecordView;

/// Which dead letters are meant: those for which all holds that is said here. The default takes all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetterFilter {
    /// Events of this type (`ce_type`).
    pub event_type: Option<String>,
    /// Records with this key.
    pub key: Option<Vec<u8>>,
    /// Events of this tenant (`ce_tenantid`).
    pub tenant: Option<String>,
    /// The class of the last error.
    pub class: Option<FailureClass>,
    /// What the type or the text of the last error contains.
    pub error: Option<String>,
    /// The topic that the record was read from.
    pub topic: Option<String>,
    /// The partition that it was read from.
    pub partition: Option<i32>,
    /// Its offset there.
    pub offset: Option<i64>,
    /// The group whose member gave it up.
    pub group: Option<String>,
    /// It failed last at this time, in milliseconds since 1970, or later.
    pub since_ms: Option<i64>,
    /// It failed last before this time, likewise.
    pub before_ms: Option<i64>,
}

impl DeadLetterFilter {
    pub(super) fn takes(&self, record: &RecordView<'_>, letter: &DeadLetter) -> bool {
        let is = |wanted: &Option<String>, it: &str| wanted.as_ref().is_none_or(|one| one == it);
        let has = |name: &str, wanted: &Option<String>| {
            let has =
                |wanted: &String| record.headers.get(name).flatten() == Some(wanted.as_bytes());
            wanted.as_ref().is_none_or(has)
        };
        let says = |text: &String| {
            letter.error_type.contains(text.as_str()) || letter.message.contains(text.as_str())
        };
        is(&self.topic, &letter.topic)
            && is(&self.group, &letter.group)
            && self.partition.is_none_or(|it| it == letter.partition)
            && self.offset.is_none_or(|it| it == letter.offset)
            && self.class.is_none_or(|it| it == letter.class)
            && self.error.as_ref().is_none_or(says)
            && self.since_ms.is_none_or(|it| it <= letter.last_failure_ms)
            && self.before_ms.is_none_or(|it| letter.last_failure_ms < it)
            && (self.key.is_none() || self.key.as_deref() == record.key)
            && has("ce_type", &self.event_type)
            && has(TENANT_ID, &self.tenant)
    }
}
