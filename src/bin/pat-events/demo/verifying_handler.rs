//! The handler of the demo: sees each event, notes it, and measures the time since it was created. In: events. Out: [`Findings`].

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use pat_events::events::email::*;
use pat_events::events::{Context, EventSet, HandlerError, RawRecord, Undecodable};

use super::delivery_checker::{Counts, DeliveryChecker};
use super::histogram::Histogram;
use super::progress::Seen;

/// Sees every event of one run. Clones see for each other.
#[derive(Clone, Debug)]
pub struct VerifyingHandler(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    run: String,
    ready: AtomicBool,
    findings: Mutex<Findings>,
    handled: AtomicU64,
    /// Of the event handled last, in microseconds.
    newest_lag_us: AtomicU64,
}

/// What the handler saw.
#[derive(Debug, Default)]
pub struct Findings {
    checker: DeliveryChecker,
    /// From the creation of an event to its handling.
    pub lag: Histogram,
    /// The same of the events that were sent at a steady pace, after the others.
    pub paced_lag: Histogram,
    is_paced: bool,
    /// In the order of [`EventSet::TYPES`].
    pub by_type: [u64; EmailEvents::TYPES.len()],
    /// Records that are no events of the set, or that could not be read, or whose key is not the event's.
    pub unreadable: u64,
}

impl VerifyingHandler {
    pub fn new(run: &str) -> VerifyingHandler {
        VerifyingHandler(Arc::new(Inner {
            run: run.to_owned(),
            ready: AtomicBool::new(false),
            findings: Mutex::default(),
            handled: AtomicU64::new(0),
            newest_lag_us: AtomicU64::new(0),
        }))
    }

    /// The run whose events are noted.
    pub fn run(&self) -> &str {
        &self.0.run
    }

    /// Whether the warm-up event has been handled.
    pub fn is_ready(&self) -> bool {
        self.0.ready.load(Ordering::Relaxed)
    }

    /// How many events were handled, those that came twice included, and the lag of the newest.
    pub fn seen(&self) -> Seen {
        Seen {
            handled: self.0.handled.load(Ordering::Relaxed),
            lag_us: self.0.newest_lag_us.load(Ordering::Relaxed),
        }
    }

    /// From here on events come at a steady pace.
    pub fn begin_pace(&self) {
        self.0
            .findings
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .is_paced = true;
    }

    /// Reads what was seen so far.
    pub fn read<T>(&self, read: impl FnOnce(&Findings) -> T) -> T {
        // Nothing between lock and unlock panics.
        read(&self.0.findings.lock().unwrap_or_else(|e| e.into_inner()))
    }

    /// Notes the event at this position among those of its key.
    fn note(
        &self,
        context: &Context<'_>,
        event_type: usize,
        key: &str,
        position: u64,
        meta: Option<&EventMeta>,
    ) -> Result<(), HandlerError> {
        if !key.starts_with(&self.0.run) {
            // Of an earlier run on the same topic.
            return Ok(());
        }
        let created = meta.and_then(|meta| SystemTime::try_from(meta.occurred_at?).ok());
        let lag = created.map_or(Duration::ZERO, |created| {
            created.elapsed().unwrap_or_default()
        });
        let mut findings = self.0.findings.lock().unwrap_or_else(|e| e.into_inner());
        let histogram = match findings.is_paced {
            true => &mut findings.paced_lag,
            false => &mut findings.lag,
        };
        let lag_us = lag.as_micros() as u64;
        histogram.record(lag_us);
        self.0.newest_lag_us.store(lag_us, Ordering::Relaxed);
        findings.by_type[event_type] += 1;
        findings.unreadable += u64::from(context.key() != Some(key.as_bytes()));
        findings.checker.note(key, position);
        self.0.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn unreadable(&self) -> Result<(), HandlerError> {
        self.0
            .findings
            .lock()
            .unwrap_or_else(|e| e.into_inner())
            .unreadable += 1;
        Ok(())
    }
}

impl Findings {
    pub fn counts(&self) -> Counts {
        self.checker.counts()
    }
}

/// The second argument is the index of the type in [`EmailEvents::TYPES`], the fourth the stage of the email as the workload defines it.
impl EmailEventHandler for VerifyingHandler {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        self.note(context, 0, &event.email_id, 0, event.meta.as_ref())
    }

    async fn handle_email_validated(
        &self,
        context: &Context<'_>,
        event: EmailValidated,
    ) -> Result<(), HandlerError> {
        self.note(context, 2, &event.email_id, 1, event.meta.as_ref())
    }

    async fn handle_email_processed(
        &self,
        context: &Context<'_>,
        event: EmailProcessed,
    ) -> Result<(), HandlerError> {
        self.note(context, 1, &event.email_id, 2, event.meta.as_ref())
    }

    async fn handle_workflow_triggered(
        &self,
        context: &Context<'_>,
        event: WorkflowTriggered,
    ) -> Result<(), HandlerError> {
        self.note(context, 3, &event.email_id, 3, event.meta.as_ref())
    }

    async fn handle_plugin_execution_required(
        &self,
        context: &Context<'_>,
        event: PluginExecutionRequired,
    ) -> Result<(), HandlerError> {
        self.note(context, 4, &event.email_id, 4, event.meta.as_ref())
    }

    async fn handle_plugin_execution_completed(
        &self,
        context: &Context<'_>,
        event: PluginExecutionCompleted,
    ) -> Result<(), HandlerError> {
        self.note(context, 5, &event.email_id, 5, event.meta.as_ref())
    }

    async fn handle_email_deleted(
        &self,
        context: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        self.note(context, 6, &event.email_id, 6, event.meta.as_ref())
    }

    async fn handle_tenant_event(
        &self,
        context: &Context<'_>,
        event: TenantEvent,
    ) -> Result<(), HandlerError> {
        let meta = event.meta.unwrap_or_default();
        let Some(position) = meta.revision.checked_sub(1) else {
            self.0
                .ready
                .fetch_or(meta.event_id == self.0.run, Ordering::Relaxed);
            return Ok(());
        };
        self.note(context, 7, &event.tenant_id, position, Some(&meta))
    }

    async fn handle_unknown(&self, _: &Context<'_>, _: RawRecord<'_>) -> Result<(), HandlerError> {
        self.unreadable()
    }

    async fn handle_undecodable(
        &self,
        _: &Context<'_>,
        _: RawRecord<'_>,
        _: Undecodable,
    ) -> Result<(), HandlerError> {
        self.unreadable()
    }
}
