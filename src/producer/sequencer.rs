//! Idempotent sequencing: who we are, and which number a partition's next record has.
//!
//! A broker drops what it has seen and refuses gaps, by (producer id, epoch, partition, sequence).
//! Numbers are given when a batch is first sent and kept for its retries. A new epoch starts every
//! partition at zero, but a partition adopts it only when none of its batches carries the old one:
//! a batch that may be in the log must keep its stamp, or it could be written twice.
//!
//! ```text
//! Anonymous                                 acks or settings without idempotence
//! Needed --InitProducerId sent--> Asked --answer--> Known --epoch used up, id unknown--> Needed
//! ```
//!
//! Sources: KIP-98, KIP-360 (epochs bumped by the client), Kafka's `TransactionManager`.

use crate::protocol::record_batch::ProducerStamp;

/// A producer id and its epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) producer_id: i64,
    pub(super) epoch: i16,
}

/// Where the producer stands with its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not idempotent.
    Anonymous,
    Needed,
    Asked,
    Known(Identity),
}

#[derive(Debug)]
pub(super) struct Sequencer {
    standing: Standing,
    /// Where a producer id begins to count: tests cannot send 2^31 records to see the wrap.
    #[cfg(test)]
    pub(super) first_number: i32,
}

impl Sequencer {
    pub(super) const fn new(idempotent: bool) -> Self {
        Self {
            standing: if idempotent { Standing::Needed } else { Standing::Anonymous },
            #[cfg(test)]
            first_number: 0,
        }
    }

    /// Whether an identity has to be asked for.
    pub(super) fn is_identity_needed(&self) -> bool {
        self.standing == Standing::Needed
    }

    /// Whether batches can be stamped.
    pub(super) const fn is_ready(&self) -> bool {
        matches!(self.standing, Standing::Anonymous | Standing::Known(_))
    }

    pub(super) const fn is_idempotent(&self) -> bool {
        !matches!(self.standing, Standing::Anonymous)
    }

    /// The request for an identity was sent.
    pub(super) fn on_asked(&mut self) {
        if self.standing == Standing::Needed {
            self.standing = Standing::Asked;
        }
    }

    /// The request failed and has to be sent again.
    pub(super) fn on_refused(&mut self) {
        if self.standing == Standing::Asked {
            self.standing = Standing::Needed;
        }
    }

    /// The broker gave an identity.
    pub(super) fn adopt(&mut self, identity: Identity) {
        if self.standing == Standing::Asked {
            self.standing = Standing::Known(identity);
        }
    }

    /// Makes `used` an identity of the past: the next epoch, or, if there is none or the id itself
    /// is refused, another id. Does nothing if that has happened already.
    pub(super) fn leave(&mut self, used: Identity, keep_id: bool) {
        if self.standing != Standing::Known(used) {
            return;
        }
        self.standing = match used.epoch.checked_add(1) {
            Some(epoch) if keep_id => Standing::Known(Identity { epoch, ..used }),
            _ => Standing::Needed,
        };
    }

    /// Numbers a batch of `count` records as the partition's next; `None` while there is no
    /// identity. `holds_stamps` tells whether batches of the partition carry its present one.
    pub(super) fn reserve(
        &self,
        partition: &mut PartitionSequence,
        count: u32,
        holds_stamps: bool,
    ) -> Option<ProducerStamp> {
        let identity = match self.standing {
            Standing::Anonymous => return Some(ProducerStamp::NONE),
            Standing::Known(identity) => identity,
            Standing::Needed | Standing::Asked => return None,
        };
        if partition.identity != Some(identity) {
            if holds_stamps {
                return None;
            }
            let next = self.first_of(identity);
            *partition = PartitionSequence { identity: Some(identity), next, confirmed: false };
        }
        let base = partition.next;
        partition.next = base.advance(count);
        Some(ProducerStamp {
            producer_id: identity.producer_id,
            epoch: identity.epoch,
            base_sequence: base.0,
        })
    }
}

impl Sequencer {
    #[cfg(not(test))]
    const fn first_of(&self, _: Identity) -> Sequence {
        Sequence(0)
    }

    /// A broker that knows the id wants zero from every later epoch.
    #[cfg(test)]
    const fn first_of(&self, identity: Identity) -> Sequence {
        Sequence(if identity.epoch == 0 { self.first_number } else { 0 })
    }
}

/// The numbering of one partition.
#[derive(Debug, Clone, Default)]
pub(super) struct PartitionSequence {
    /// Under which `next` counts; `None` before the first batch.
    identity: Option<Identity>,
    next: Sequence,
    /// Whether a broker has confirmed a batch of this identity. Until then only one is in flight:
    /// a broker that knows nothing of us takes any first number.
    confirmed: bool,
}

impl PartitionSequence {
    pub(super) const fn is_confirmed(&self) -> bool {
        self.confirmed
    }

    /// A batch with this stamp is in the log.
    pub(super) fn on_acked(&mut self, stamp: ProducerStamp) {
        self.confirmed |= self.is_present(stamp);
    }

    /// A batch with this stamp is not in the log and will not be sent again. If it was the last
    /// one numbered, its numbers are free again; else the next batch will be refused, and then all
    /// are numbered anew.
    pub(super) fn on_rejected(&mut self, stamp: ProducerStamp, count: u32) {
        let base = Sequence(stamp.base_sequence);
        if self.is_present(stamp) && base.advance(count) == self.next {
            self.next = base;
        }
    }

    /// The broker may know nothing of the identity any more.
    pub(super) const fn doubt(&mut self) {
        self.confirmed = false;
    }

    /// Forgets the identity, so that the next batch starts a new one.
    pub(super) fn restart(&mut self) {
        *self = Self::default();
    }

    fn is_present(&self, stamp: ProducerStamp) -> bool {
        self.identity == Some(Identity { producer_id: stamp.producer_id, epoch: stamp.epoch })
    }
}

/// The stamp of what follows `count` records of a batch with this one.
pub(super) fn stamp_after(stamp: ProducerStamp, count: u32) -> ProducerStamp {
    if stamp == ProducerStamp::NONE {
        return stamp;
    }
    ProducerStamp { base_sequence: Sequence(stamp.base_sequence).advance(count).0, ..stamp }
}

/// A sequence number: 31 bits, and zero follows the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Sequence(i32);

impl Sequence {
    fn advance(self, count: u32) -> Self {
        let next = (self.0.cast_unsigned().wrapping_add(count)) & 0x7fff_ffff;
        Self(next.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Identity = Identity { producer_id: 9, epoch: 0 };

    fn known() -> Sequencer {
        let mut sequencer = Sequencer::new(true);
        sequencer.on_asked();
        sequencer.adopt(FIRST);
        sequencer
    }

    fn base(sequencer: &Sequencer, partition: &mut PartitionSequence, count: u32) -> i32 {
        sequencer.reserve(partition, count, false).unwrap().base_sequence
    }

    #[test]
    fn nothing_is_stamped_before_there_is_an_identity() {
        let mut sequencer = Sequencer::new(true);
        let mut partition = PartitionSequence::default();
        assert!(sequencer.is_identity_needed());
        assert_eq!(sequencer.reserve(&mut partition, 1, false), None);
        sequencer.on_asked();
        sequencer.on_refused();
        assert!(sequencer.is_identity_needed());
        let anonymous = Sequencer::new(false);
        assert_eq!(anonymous.reserve(&mut partition, 1, false), Some(ProducerStamp::NONE));
    }

    #[test]
    fn numbers_are_contiguous_and_wrap_to_zero() {
        let sequencer = known();
        let mut partition = PartitionSequence::default();
        assert_eq!(base(&sequencer, &mut partition, 5), 0);
        assert_eq!(base(&sequencer, &mut partition, 1), 5);
        partition.next = Sequence(i32::MAX - 1);
        assert_eq!(base(&sequencer, &mut partition, 5), i32::MAX - 1);
        assert_eq!(base(&sequencer, &mut partition, 1), 3, "MAX-1, MAX, 0, 1, 2 are taken");
    }

    #[test]
    fn the_last_batchs_numbers_are_free_again_when_it_is_rejected_but_no_others() {
        let sequencer = known();
        let mut partition = PartitionSequence::default();
        let first = sequencer.reserve(&mut partition, 5, false).unwrap();
        let second = sequencer.reserve(&mut partition, 3, false).unwrap();
        partition.on_rejected(first, 5);
        assert_eq!(partition.next, Sequence(8), "a gap that only a new epoch closes");
        partition.on_rejected(second, 3);
        assert_eq!(partition.next, Sequence(5));
    }

    #[test]
    fn a_partition_changes_its_identity_only_when_no_batch_carries_the_old_one() {
        let mut sequencer = known();
        let mut partition = PartitionSequence::default();
        base(&sequencer, &mut partition, 5);
        sequencer.leave(FIRST, true);
        assert_eq!(sequencer.reserve(&mut partition, 1, true), None);
        let stamp = sequencer.reserve(&mut partition, 1, false).unwrap();
        assert_eq!((stamp.epoch, stamp.base_sequence), (1, 0));
        sequencer.leave(FIRST, true);
        assert_eq!(sequencer.reserve(&mut partition, 1, true).unwrap().epoch, 1, "left once");
    }

    #[test]
    fn a_new_id_is_asked_for_when_the_epochs_are_used_up_or_the_id_is_refused() {
        for (epoch, keep_id) in [(i16::MAX, true), (3, false)] {
            let mut sequencer = Sequencer::new(true);
            sequencer.on_asked();
            let identity = Identity { producer_id: 9, epoch };
            sequencer.adopt(identity);
            sequencer.leave(identity, keep_id);
            assert!(sequencer.is_identity_needed());
        }
    }
}
