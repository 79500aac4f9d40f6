//! The process is asked to end.

/// Ready when the process gets SIGINT or SIGTERM (elsewhere than on Unix: Ctrl-C), from its first poll on: then these signals do no longer end
/// the process by themselves.
///
/// With [`EventConsumer::run_until`](super::EventConsumer::run_until) a graceful stop is one line:
///
/// ```no_run
/// # use pat_events::events::email::EmailEvents;
/// # use pat_events::events::{ConsumerConfig, ConsumerError, EventConsumer, each, shutdown_signal};
/// # async fn example(consumer: EventConsumer<EmailEvents>) -> Result<(), ConsumerError> {
/// let handler = each(|_: EmailEvents| async { Ok(()) });
/// consumer.run_until(handler, shutdown_signal()).await?;
/// # Ok(()) }
/// ```
pub async fn shutdown_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
