//! Engines with a mistake in them: the checker must see each one, or it proves nothing.
//!
//! Each mutant is a line at one point of the engine, and goes through the same simulation as the
//! engine itself, which passes all of it. What is checked is that the mistake comes out, and as the
//! broken promise that it is.

use super::super::Engine;
use super::super::partition::{Batch, Place};
use super::history::{Invariant, Violation};
use super::simulation::run;
use crate::producer::completion::{Acknowledged, Outcome};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Seeds within which a mutant must be caught. Most are by the tenth.
const SEEDS: u64 = 400;

/// A mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Mutant {
    None,
    /// The numbers of a batch that expired are given to the next, although it may be in the log.
    ReusedSequence,
    /// A batch that was sent and not answered is reported as not written when its time is over.
    DroppedOnTimeout,
    /// A batch that was sent and not answered is reported as written.
    TimeoutTakenForSuccess,
    /// A batch that has to be sent again is not, and forgotten.
    SkippedRetry,
    /// Batches are told twice that they failed.
    DoubleCompletion,
    /// A batch that may be in the log is sent again under another number.
    RestampedUnsure,
    /// A batch that has to be sent again lines up behind the later ones.
    LostOrderOnRetry,
    /// A batch that is sent again goes out beside others.
    RetryNotAlone,
    /// A partition's answer is taken for that of another.
    WrongPartitionsAnswer,
    /// The bytes of a batch that expired on its way are not given back.
    LeakedBudget,
    /// A batch that has to be sent again is sent at once.
    NoPause,
}

impl Mutant {
    /// The request's batch that an answer's next result is about.
    pub(in super::super) fn answered(self, answered: &[bool]) -> Option<usize> {
        let first = answered.iter().position(|answered| !answered);
        first.filter(|_| self == Self::WrongPartitionsAnswer)
    }

    /// Whether it is admitted that an overdue batch may be in the log.
    pub(in super::super) fn admits(self, may_be_written: bool) -> bool {
        may_be_written && self != Self::DroppedOnTimeout
    }

    /// A batch that expired, before its numbers are given back.
    pub(in super::super) fn expired(self, mut batch: Batch) -> Batch {
        batch.unsure &= self != Self::ReusedSequence;
        batch
    }

    /// A batch whose end was told, before its bytes are given back.
    pub(in super::super) fn dropped(self, mut batch: Batch) -> Batch {
        if self == Self::LeakedBudget {
            batch.reserved = 0;
        }
        batch
    }

    /// An end, before it is told.
    pub(in super::super) fn told(self, outcome: Outcome, mut tell: impl FnMut(Outcome)) -> Outcome {
        if self == Self::DoubleCompletion {
            tell(outcome.clone());
        }
        outcome
    }

    /// The promise that it breaks.
    const fn breaks(self) -> Invariant {
        match self {
            Self::None => unreachable!(),
            Self::ReusedSequence | Self::TimeoutTakenForSuccess | Self::RestampedUnsure => {
                Invariant::Stored
            }
            Self::LostOrderOnRetry | Self::RetryNotAlone => Invariant::Order,
            Self::DroppedOnTimeout => Invariant::Refused,
            Self::SkippedRetry | Self::DoubleCompletion => Invariant::Ended,
            Self::LeakedBudget | Self::NoPause => Invariant::Quiet,
            Self::WrongPartitionsAnswer => Invariant::Apart,
        }
    }
}

impl Engine {
    /// Whether a mutant does something else about a batch that has to be sent again.
    pub(in super::super) fn mutates_retry(&mut self, at: Place, unsure: bool) -> bool {
        let partition = &mut self.partitions[at.slot];
        let batch = &mut partition.batches[at.index];
        if batch.is_settled() {
            return false;
        }
        match self.mutant {
            Mutant::SkippedRetry => {
                let batch = partition.remove(at.index);
                self.budget.release(batch.reserved);
            }
            Mutant::TimeoutTakenForSuccess if unsure => {
                let topic = Arc::clone(&partition.queue.topic);
                let number = partition.queue.partition;
                let batch = partition.remove(at.index);
                let acknowledged = Acknowledged {
                    topic,
                    partition: number,
                    base_offset: None,
                    log_append_time: None,
                };
                self.let_go(batch, Ok(acknowledged));
            }
            Mutant::RestampedUnsure if unsure => {
                batch.stamp = None;
                return false;
            }
            Mutant::LostOrderOnRetry if !unsure => {
                let mut batch = partition.remove(at.index);
                batch.stamp = None;
                partition.batches.push_back(batch);
            }
            Mutant::RetryNotAlone => {
                batch.attempts = 0;
                return false;
            }
            Mutant::NoPause => {
                batch.unsure |= unsure;
            }
            _ => return false,
        }
        true
    }
}

/// What a seed brings to light.
fn found(seed: u64, mutant: Mutant) -> Option<Invariant> {
    broken_by(|| {
        run(seed, |chaos| chaos.world.engine.mutant = mutant);
    })
}

/// The promise that is broken in the course of it, if one is.
pub(super) fn broken_by(course: impl FnOnce()) -> Option<Invariant> {
    catch_unwind(AssertUnwindSafe(course)).err().map(|payload| {
        match payload.downcast::<Violation>() {
            Ok(violation) => violation.invariant,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

/// Every mistake but the last, which `quiet` is for.
const MUTANTS: [Mutant; 10] = [
    Mutant::ReusedSequence,
    Mutant::DroppedOnTimeout,
    Mutant::TimeoutTakenForSuccess,
    Mutant::SkippedRetry,
    Mutant::DoubleCompletion,
    Mutant::RestampedUnsure,
    Mutant::LostOrderOnRetry,
    Mutant::RetryNotAlone,
    Mutant::WrongPartitionsAnswer,
    Mutant::LeakedBudget,
];

/// F60
#[test]
fn every_mutant_is_caught_as_the_promise_that_it_breaks() {
    for mutant in MUTANTS {
        let mut others = Vec::new();
        let caught = (0..SEEDS).find(|seed| match found(*seed, mutant) {
            Some(invariant) if invariant == mutant.breaks() => true,
            other => {
                others.extend(other);
                false
            }
        });
        println!("{mutant:?} is caught by seed {caught:?}; before that, {others:?}");
        let seed = caught.unwrap_or_else(|| panic!("{mutant:?} is not caught"));
        assert_eq!(found(seed, Mutant::None), None, "the engine itself passes");
    }
}
