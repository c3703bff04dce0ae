//! Records that give way: the oldest that nobody has taken make room for a new one.
//!
//! Decides which are the oldest (of all partitions' first batches, and of the records without a
//! partition), and that whoever sent them hears of it exactly once, when a [`Displaced`] is dropped.
//! When anything has to give way is the client's to know.

use super::super::completion::{BatchCompletion, DeliveryError};
use super::{Accumulator, Homeless, PartitionQueue, Topic, read, write};
use std::sync::Arc;
use std::time::Instant;

/// A batch, or a record without a partition, that was taken out of the accumulator for good. Its
/// senders are told when it is dropped, wherever that is.
#[derive(Debug)]
pub(in crate::producer) struct Displaced {
    /// Bytes that were set aside for it.
    pub(in crate::producer) reserved: usize,
    pub(in crate::producer) records: u32,
    topic: Arc<str>,
    completion: Arc<BatchCompletion>,
}

impl Drop for Displaced {
    fn drop(&mut self) {
        let error = DeliveryError::Displaced { topic: Arc::clone(&self.topic) };
        self.completion.settle(0..self.records, Err(error));
    }
}

/// Where the oldest records are.
enum Oldest {
    Batch(Arc<PartitionQueue>),
    Homeless(Arc<Topic>),
}

impl Accumulator {
    /// Takes out the oldest batch or record that nobody has taken; `None` if there is none.
    pub(in crate::producer) fn displace_oldest(&self) -> Option<Displaced> {
        loop {
            let (since, oldest) = self.oldest()?;
            // The driver, or another caller, may have been faster.
            let displaced = match oldest {
                Oldest::Batch(queue) => queue.displace(since),
                Oldest::Homeless(topic) => topic.displace(since),
            };
            if displaced.is_some() {
                return displaced;
            }
        }
    }

    fn oldest(&self) -> Option<(Instant, Oldest)> {
        let topics = read(&self.topics);
        let mut oldest = None;
        let mut consider = |since: Option<Instant>, found: &dyn Fn() -> Oldest| {
            if let Some(since) = since
                && oldest.as_ref().is_none_or(|(than, _)| since < *than)
            {
                oldest = Some((since, found()));
            }
        };
        for topic in topics.by_name.values() {
            let routes = read(&topic.routes);
            let homeless = routes.homeless.front().map(|waiting| waiting.now.instant);
            consider(homeless, &|| Oldest::Homeless(Arc::clone(topic)));
            for queue in &routes.partitions {
                let head = queue.head().map(|head| head.opened_at);
                consider(head, &|| Oldest::Batch(Arc::clone(queue)));
            }
        }
        oldest
    }
}

impl PartitionQueue {
    fn displace(&self, opened_at: Instant) -> Option<Displaced> {
        let batch = self.take_head_of(opened_at)?;
        let records = batch.builder.count();
        batch.completion.close(records);
        Some(Displaced {
            reserved: batch.reserved,
            records,
            topic: Arc::clone(&self.topic),
            completion: batch.completion,
        })
    }
}

impl Topic {
    fn displace(&self, since: Instant) -> Option<Displaced> {
        let mut routes = write(&self.routes);
        routes.homeless.front().filter(|waiting| waiting.now.instant <= since)?;
        let Homeless { reserved, completion, .. } = routes.homeless.pop_front()?;
        Some(Displaced { reserved, records: 1, topic: Arc::clone(&self.name), completion })
    }
}
