//! What an application is told when its partitions change.

use super::{ConsumerHandle, PositionReset};
use crate::kafka::TopicPartition;
use crate::kafka::net::BoxFuture;

/// Told when partitions of the group come and go. All hooks run inside [`Consumer::poll`](crate::kafka::Consumer::poll) (and
/// [`close`](crate::kafka::Consumer::close)), between what it returned last and what it returns next.
///
/// A poll that is dropped while a hook runs runs that hook again, from its start, when it is called the next time.
pub trait RebalanceListener: Send + Sync + 'static {
    /// These partitions are this member's now. Their positions are the committed offsets, or what is sought here.
    fn on_assigned<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        let _ = (consumer, partitions);
        Box::pin(async {})
    }

    /// These partitions go to somebody else once this returns: the time to finish and to commit. Nothing more of them comes out of a poll.
    ///
    /// The group waits, at most until `max_poll_interval` has passed since the last poll.
    fn on_revoked<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        let _ = (consumer, partitions);
        Box::pin(async {})
    }

    /// These partitions were taken away already, because the coordinator did not hear from this member, or the application did not poll:
    /// nothing of them can be committed any more.
    fn on_lost<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        let _ = (consumer, partitions);
        Box::pin(async {})
    }

    /// These positions were moved by the client itself: it says from where, to where, why, and how much was passed over. Called before
    /// anything is read at the new places, so that a seek here still decides.
    fn on_reset<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        resets: &'a [PositionReset],
    ) -> BoxFuture<'a, ()> {
        let _ = (consumer, resets);
        Box::pin(async {})
    }
}
