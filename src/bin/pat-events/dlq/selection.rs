//! Which dead letters are meant. In: flags. Out: a filter.

use clap::Args;
use pat_events::events::{DeadLetterFilter, FailureClass};

use crate::times;

/// All dead letters for which all of this holds.
#[derive(Args)]
pub struct Selection {
    /// Events of this type (ce_type).
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Records with this key; with escapes, such as \xff.
    #[arg(long, value_parser = key)]
    key: Option<Key>,
    /// Events of this tenant (ce_tenantid).
    #[arg(long)]
    tenant: Option<String>,
    /// The class of the last error: transient (its retries were used up) or poison.
    #[arg(long)]
    class: Option<FailureClass>,
    /// What the type or the text of the last error contains.
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// The topic that the record was read from.
    #[arg(long, value_name = "TOPIC")]
    origin: Option<String>,
    /// The partition that it was read from.
    #[arg(long, value_name = "PARTITION")]
    origin_partition: Option<i32>,
    /// Its offset there.
    #[arg(long, value_name = "OFFSET")]
    origin_offset: Option<i64>,
    /// The group whose member gave it up.
    #[arg(long, value_name = "GROUP")]
    failed_for: Option<String>,
    /// It failed last then or later: a time as 2026-11-26T13:00:00Z, milliseconds since 1970, or as 7d, 12h, 30m ago.
    #[arg(long, value_name = "TIME", value_parser = times::read)]
    since: Option<i64>,
    /// It failed last before then, likewise.
    #[arg(long, value_name = "TIME", value_parser = times::read)]
    until: Option<i64>,
}

#[derive(Clone)]
struct Key(Vec<u8>);

fn key(text: &str) -> Result<Key, String> {
    crate::escapes::unescape(text).map(Key)
}

impl Selection {
    pub fn filter(&self) -> DeadLetterFilter {
        let mut filter = DeadLetterFilter::default();
        filter.event_type.clone_from(&self.event_type);
        filter.key = self.key.as_ref().map(|key| key.0.clone());
        filter.tenant.clone_from(&self.tenant);
        filter.class = self.class;
        filter.error.clone_from(&self.error);
        filter.topic.clone_from(&self.origin);
        (filter.partition, filter.offset) = (self.origin_partition, self.origin_offset);
        filter.group.clone_from(&self.failed_for);
        (filter.since_ms, filter.before_ms) = (self.since, self.until);
        filter
    }
}
