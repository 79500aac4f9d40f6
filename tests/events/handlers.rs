//! The handlers of the tests, and what they have seen together.

use super::*;

/// What all handlers of a test have seen together.
#[derive(Default)]
pub struct Seen {
    pub by_key: Mutex<BTreeMap<String, Vec<u32>>>,
    pub types: Mutex<BTreeMap<String, usize>>,
    pub handled: AtomicUsize,
    pub unknown: Mutex<Vec<String>>,
}

impl Seen {
    pub fn note(&self, context: &Context<'_>) {
        let name = context
            .event_type()
            .ok()
            .flatten()
            .unwrap_or_default()
            .to_string();
        *self.types.lock().expect("lock").entry(name).or_default() += 1;
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    pub async fn until(&self, count: usize) {
        let reached = async {
            while self.handled.load(Ordering::Relaxed) < count {
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap_or_else(|_| {
            panic!(
                "{} of {count} handled",
                self.handled.load(Ordering::Relaxed)
            )
        });
    }

    /// Every key has seen 0, 1, 2 … up to `each`, in this order.
    pub fn assert_once_and_in_order(&self, keys: usize, each: u32) {
        let by_key = self.by_key.lock().expect("lock");
        assert_eq!(by_key.len(), keys);
        for (key, numbers) in by_key.iter() {
            assert_eq!(*numbers, (0..each).collect::<Vec<_>>(), "{key}");
        }
    }
}

/// Notes what it sees; fails, panics or takes its time as a test asks for.
#[derive(Clone, Default)]
pub struct Handler {
    pub seen: Arc<Seen>,
    pub work: Duration,
    /// Events of this key take so long.
    pub slow_key: Option<(&'static str, Duration)>,
    /// Events of this key are handled never.
    pub stuck_key: Option<&'static str>,
    pub fail_at: Option<u32>,
    pub broken: Arc<AtomicBool>,
}

impl Handler {
    pub fn of(seen: &Arc<Seen>) -> Self {
        Self {
            seen: seen.clone(),
            ..Self::default()
        }
    }
}

impl EmailEventHandler for Handler {
    async fn handle_email_received(
        &self,
        context: &Context<'_>,
        event: EmailReceived,
    ) -> Result<(), HandlerError> {
        let number: u32 = event.subject.parse()?;
        if !self.work.is_zero() {
            sleep(self.work).await;
        }
        if let Some((key, work)) = self.slow_key
            && key == event.email_id
        {
            sleep(work).await;
        }
        if self.stuck_key == Some(event.email_id.as_str()) {
            std::future::pending::<()>().await;
        }
        if self.fail_at == Some(number) && self.broken.load(Ordering::Relaxed) {
            return Err(HandlerError::new("no room left"));
        }
        self.seen
            .by_key
            .lock()
            .expect("lock")
            .entry(event.email_id)
            .or_default()
            .push(number);
        self.seen.note(context);
        Ok(())
    }

    async fn handle_email_processed(
        &self,
        context: &Context<'_>,
        _: EmailProcessed,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_email_validated(
        &self,
        context: &Context<'_>,
        _: EmailValidated,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_workflow_triggered(
        &self,
        context: &Context<'_>,
        _: WorkflowTriggered,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_plugin_execution_required(
        &self,
        context: &Context<'_>,
        _: PluginExecutionRequired,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_plugin_execution_completed(
        &self,
        context: &Context<'_>,
        _: PluginExecutionCompleted,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_email_deleted(
        &self,
        _: &Context<'_>,
        event: EmailDeleted,
    ) -> Result<(), HandlerError> {
        panic!("{} was never there", event.email_id);
    }

    async fn handle_tenant_event(
        &self,
        context: &Context<'_>,
        _: TenantEvent,
    ) -> Result<(), HandlerError> {
        self.seen.note(context);
        Ok(())
    }

    async fn handle_unknown(
        &self,
        context: &Context<'_>,
        record: RawRecord<'_>,
    ) -> Result<(), HandlerError> {
        let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
        self.seen.unknown.lock().expect("lock").push(value);
        self.seen.note(context);
        Ok(())
    }

    async fn handle_undecodable(
        &self,
        context: &Context<'_>,
        _: RawRecord<'_>,
        error: Undecodable,
    ) -> Result<(), HandlerError> {
        self.seen
            .unknown
            .lock()
            .expect("lock")
            .push(error.to_string());
        self.seen.note(context);
        Ok(())
    }
}
