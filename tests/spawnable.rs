//! Every future of the client can be spawned: moved to another thread, in a function that borrows what it is given.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use pat_events::events::email::EmailEvents;
use pat_events::events::{
    DeadLetterFilter, DeadLetters, EventConsumer, EventProducer, PurgeUpTo, ReplayOptions,
};
use pat_events::kafka::{Admin, Consumer, NewTopic, Producer, Record, StartOffset, TopicPartition};

/// Compiles or does not.
fn spawnable<T>(_: impl Future<Output = T> + Send) {}

#[test]
fn the_futures_of_the_client_are_send() {
    fn admin<'a>(admin: &'a Admin, name: &'a str, new: &'a NewTopic) {
        spawnable(async move {
            admin.create_topic(new).await?;
            admin.create_topics(std::slice::from_ref(new)).await?;
            admin.describe_topics(&[name]).await?;
            admin.describe_cluster().await?;
            admin.list_topics().await?;
            admin.delete_records(&BTreeMap::new()).await?;
            admin.delete_topics(&[name]).await
        });
    }
    fn producer<'a>(producer: &'a Producer, record: Record<'a>) {
        spawnable(async move {
            producer.enqueue(record).await?.await?;
            producer.send(record).await?;
            producer.flush().await?;
            producer.close(Duration::ZERO).await
        });
    }
    fn consumer<'a>(
        mut consumer: Consumer,
        topic: &'a str,
        partitions: &'a [(TopicPartition, StartOffset)],
    ) {
        spawnable(async move {
            consumer.subscribe(&[topic]).await?;
            consumer.assign(partitions).await?;
            consumer.poll(Duration::ZERO).await?;
            consumer.commit_sync().await?;
            consumer.end_offsets(&[]).await?;
            consumer.close().await
        });
    }
    fn partitions(consumer: Consumer, drain: Duration) {
        spawnable(async move {
            let mut partitions = consumer.into_partitions(drain);
            partitions.next().await?.next().await?;
            partitions.close().await
        });
    }
    fn events<'a>(
        producer: &'a EventProducer,
        consumer: &'a EventConsumer<EmailEvents>,
        event: &'a EmailEvents,
    ) {
        spawnable(async move {
            producer.send(event).await.map(drop).map_err(drop)?;
            consumer.stop().await.map_err(drop)
        });
    }
    fn dead_letters<'a>(
        letters: &'a DeadLetters,
        options: &'a ReplayOptions,
        filter: &'a DeadLetterFilter,
    ) {
        spawnable(async move {
            let read = letters.read(filter, |_, _| ControlFlow::Continue(()));
            read.await?;
            letters.replay(options).await?;
            letters.purge(PurgeUpTo::All, true).await
        });
    }
    // Named, so that they are checked; there is nothing to run.
    let _ = (admin, producer, consumer, partitions, events, dead_letters);
}
