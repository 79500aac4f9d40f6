//! What an application is told when its partitions change.

use std::future::Future;

use super::{ConsumerHandle, PositionReset};
use crate::kafka::TopicPartition;
use crate::kafka::net::BoxFuture;

/// Told when partitions of the group come and go. All hooks run inside [`Consumer::poll`](crate::kafka::Consumer::poll) (and
/// [`close`](crate::kafka::Consumer::close)), between what it returned last and what it returns next: while one waits, no partition is read on. Only
/// [`on_revoking`](Self::on_revoking) runs beside polls that go on with the partitions that stay.
///
/// A poll that is dropped while a hook runs runs that hook again, from its start, when it is called the next time.
///
/// ```
/// use pat_events::kafka::{ConsumerHandle, RebalanceListener, TopicPartition};
///
/// struct CommitFirst;
///
/// impl RebalanceListener for CommitFirst {
///     async fn on_revoked(
///         &self,
///         consumer: &ConsumerHandle,
///         partitions: &[TopicPartition],
///     ) {
///         if let Err(error) = consumer.commit_sync().await {
///             eprintln!("{partitions:?}: {error}");
///         }
///     }
/// }
/// ```
pub trait RebalanceListener: Send + Sync + 'static {
    /// These partitions are this member's now. Their positions are the committed offsets, or what is sought here. Who asks for what is
    /// [`committed`](ConsumerHandle::committed) here has asked for the client as well.
    fn on_assigned(
        &self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (consumer, partitions);
        async {}
    }

    /// These partitions are to go to somebody else: the time to finish what is at work of them, while polls go on with what stays. Nothing more of
    /// these comes out of a poll. When this is done, what is finished is committed where `enable_auto_commit` says so, and
    /// [`on_revoked`](Self::on_revoked) is called.
    ///
    /// It goes on while a poll waits, and whenever one is called; a poll that is dropped does not end it. A poll waits for it as long as the
    /// application has just taken between two polls, so that who seldom polls does not keep the group waiting for the sake of what stays.
    /// It is dropped when the partitions are lost meanwhile. The group waits, at most until `max_poll_interval` has passed since the rebalance
    /// began. Partitions of eager strategies all go, so that nothing is read on.
    fn on_revoking(
        &self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (consumer, partitions);
        async {}
    }

    /// These partitions go to somebody else once this returns: the last time to commit. Nothing more of them comes out of a poll, and of others
    /// neither before this returns: what takes long belongs in [`on_revoking`](Self::on_revoking).
    ///
    /// The group waits, at most until `max_poll_interval` has passed since the last poll.
    fn on_revoked(
        &self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (consumer, partitions);
        async {}
    }

    /// These partitions were taken away already, because the coordinator did not hear from this member, or the application did not poll:
    /// nothing of them can be committed any more.
    fn on_lost(
        &self,
        consumer: &ConsumerHandle,
        partitions: &[TopicPartition],
    ) -> impl Future<Output = ()> + Send {
        let _ = (consumer, partitions);
        async {}
    }

    /// These positions were moved by the client itself: it says from where, to where, why, and how much was passed over. Called before
    /// anything is read at the new places, so that a seek here still decides.
    fn on_reset(
        &self,
        consumer: &ConsumerHandle,
        resets: &[PositionReset],
    ) -> impl Future<Output = ()> + Send {
        let _ = (consumer, resets);
        async {}
    }
}

/// A listener of any type.
pub(super) trait AnyListener: Send + Sync {
    fn assigned<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()>;

    /// They are to go: what is at work of them is to be finished.
    fn revoking<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()>;

    /// They go: with time to finish, or `lost` already.
    fn gone<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
        lost: bool,
    ) -> BoxFuture<'a, ()>;

    fn reset<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        resets: &'a [PositionReset],
    ) -> BoxFuture<'a, ()>;
}

impl<L: RebalanceListener> AnyListener for L {
    fn assigned<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.on_assigned(consumer, partitions))
    }

    fn revoking<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.on_revoking(consumer, partitions))
    }

    fn gone<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        partitions: &'a [TopicPartition],
        lost: bool,
    ) -> BoxFuture<'a, ()> {
        match lost {
            true => Box::pin(self.on_lost(consumer, partitions)),
            false => Box::pin(self.on_revoked(consumer, partitions)),
        }
    }

    fn reset<'a>(
        &'a self,
        consumer: &'a ConsumerHandle,
        resets: &'a [PositionReset],
    ) -> BoxFuture<'a, ()> {
        Box::pin(self.on_reset(consumer, resets))
    }
}
