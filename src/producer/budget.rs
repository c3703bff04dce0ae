//! The bytes that the producer may hold, and the queue of those who wait for some.
//!
//! First come, first served: while someone waits, nobody passes. Freed bytes go to every waiter
//! that fits, from the front, so that a large record cannot be starved by small ones, and one
//! release can wake many. When little is left, whoever holds bytes should hurry. Deadlines are given
//! from outside; nothing here reads a clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// `used <= limit`
    used: usize,
    waiters: VecDeque<Arc<Waiter>>,
    closed: bool,
}

/// Bytes were set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reserved {
    /// Little was left by these: from now on the budget [is exhausted](Budget::is_exhausted).
    pub(super) exhausts: bool,
}

/// Why nobody gets bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// None are free, or others came first.
    Full,
    /// The producer is closed.
    Closed,
}

/// A place in the queue.
#[derive(Debug)]
struct Waiter {
    size: usize,
    deadline: Instant,
    turn: Mutex<Turn>,
}

#[derive(Debug)]
enum Turn {
    Waiting(Option<Waker>),
    Over(Result<(), NoRoom>),
}

impl Budget {
    pub(super) const fn new(limit: usize) -> Self {
        let state = State { used: 0, waiters: VecDeque::new(), closed: false };
        Self { limit, state: Mutex::new(state) }
    }

    /// Takes `size` bytes, if they are free and nobody waits.
    pub(super) fn try_reserve(&self, size: usize) -> Result<Reserved, NoRoom> {
        let mut state = self.lock();
        if state.closed {
            return Err(NoRoom::Closed);
        }
        if !state.waiters.is_empty() || self.limit - state.used < size {
            return Err(NoRoom::Full);
        }
        let was_scarce = self.is_scarce(&state);
        state.used += size;
        Ok(Reserved { exhausts: !was_scarce && self.is_scarce(&state) })
    }

    /// Queues up for `size` bytes, until `deadline`. The caller makes sure that [`expire`] is
    /// called then.
    ///
    /// [`expire`]: Self::expire
    pub(super) fn queue(self: &Arc<Self>, size: usize, deadline: Instant) -> Reservation {
        let waiter = Arc::new(Waiter { size, deadline, turn: Mutex::new(Turn::Waiting(None)) });
        let mut state = self.lock();
        if state.closed {
            drop(waiter.end(Err(NoRoom::Closed)));
        } else {
            state.waiters.push_back(Arc::clone(&waiter));
        }
        let wakers = self.grant(&mut state);
        drop(state);
        wake(wakers);
        Reservation { budget: Arc::clone(self), waiter, taken: false }
    }

    /// Gives `size` bytes back.
    pub(super) fn release(&self, size: usize) {
        self.give_back(size);
        self.serve();
    }

    /// Gives `size` bytes back to those who wait, once they are [served](Self::serve).
    pub(super) fn give_back(&self, size: usize) {
        let mut state = self.lock();
        debug_assert!(size <= state.used, "released more than was taken");
        state.used = state.used.saturating_sub(size);
    }

    /// Lets those who wait have what was given back: all of it at once, for each may be a thread
    /// that has to be woken.
    pub(super) fn serve(&self) {
        let mut state = self.lock();
        let wakers = self.grant(&mut state);
        drop(state);
        wake(wakers);
    }

    /// Ends the wait of those whose deadline has come.
    pub(super) fn expire(&self, now: Instant) {
        self.refuse(NoRoom::Full, |waiter| waiter.deadline <= now);
    }

    /// Refuses everyone, now and later.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.refuse(NoRoom::Closed, |_| true);
    }

    /// When the next wait ends without bytes.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lock().waiters.iter().map(|waiter| waiter.deadline).min()
    }

    /// Whether someone waits, or soon would: then no batch should linger.
    pub(super) fn is_exhausted(&self) -> bool {
        let state = self.lock();
        !state.waiters.is_empty() || self.is_scarce(&state)
    }

    /// Whether less than a quarter is left.
    const fn is_scarce(&self, state: &State) -> bool {
        self.limit - state.used < self.limit / 4
    }

    /// Bytes there are.
    pub(super) const fn limit(&self) -> usize {
        self.limit
    }

    /// Those who wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().waiters.len()
    }

    /// Bytes taken.
    pub(super) fn used(&self) -> usize {
        self.lock().used
    }

    fn refuse(&self, why: NoRoom, refused: impl Fn(&Waiter) -> bool) {
        let mut state = self.lock();
        let (out, stay) = state.waiters.drain(..).partition::<VecDeque<_>, _>(|w| refused(w));
        state.waiters = stay;
        let mut wakers: Vec<_> = out.iter().filter_map(|waiter| waiter.end(Err(why))).collect();
        // The one refused may have stood in front of others that fit.
        wakers.extend(self.grant(&mut state));
        drop(state);
        wake(wakers);
    }

    /// Serves the front of the queue as far as the free bytes go.
    fn grant(&self, state: &mut State) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some(next) = state.waiters.front()
            && next.size <= self.limit - state.used
        {
            state.used += next.size;
            wakers.extend(next.end(Ok(())));
            state.waiters.pop_front();
        }
        wakers
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(wakers: Vec<Waker>) {
    // Wakers run foreign code: never under a lock.
    wakers.into_iter().for_each(Waker::wake);
}

impl Waiter {
    fn end(&self, result: Result<(), NoRoom>) -> Option<Waker> {
        match std::mem::replace(&mut *self.turn(), Turn::Over(result)) {
            Turn::Waiting(waker) => waker,
            Turn::Over(_) => None,
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait for bytes. Dropping it leaves the queue, and gives back bytes that were not taken over.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<Budget>,
    waiter: Arc<Waiter>,
    taken: bool,
}

impl Reservation {
    /// Ready once the bytes belong to the caller, or never will.
    pub(super) fn poll(&mut self, context: &Context<'_>) -> Poll<Result<(), NoRoom>> {
        let mut turn = self.waiter.turn();
        match &mut *turn {
            Turn::Waiting(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            Turn::Over(result) => {
                self.taken = true;
                Poll::Ready(*result)
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        // Out of the queue first: whoever is in no queue has his answer.
        let gone = Arc::as_ptr(&self.waiter);
        self.budget.refuse(NoRoom::Full, |waiter| std::ptr::eq(waiter, gone));
        let granted = matches!(*self.waiter.turn(), Turn::Over(Ok(())));
        if granted {
            self.budget.release(self.waiter.size);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn poll(reservation: &mut Reservation) -> Poll<Result<(), NoRoom>> {
        reservation.poll(&Context::from_waker(Waker::noop()))
    }

    fn budget() -> (Arc<Budget>, Instant) {
        #[expect(clippy::disallowed_methods, reason = "a starting point; virtual from here on")]
        (Arc::new(Budget::new(100)), Instant::now())
    }

    #[test]
    fn nobody_passes_the_first_in_the_queue() {
        let (budget, now) = budget();
        budget.try_reserve(80).unwrap();
        let mut large = budget.queue(60, now);
        assert_eq!(budget.try_reserve(10), Err(NoRoom::Full), "10 are free, but 60 came first");
        let mut small = budget.queue(10, now);
        assert!(poll(&mut large).is_pending() && poll(&mut small).is_pending());
        budget.release(80);
        assert_eq!(poll(&mut large), Poll::Ready(Ok(())));
        assert_eq!(poll(&mut small), Poll::Ready(Ok(())), "one release serves all that fit");
        assert_eq!(budget.used(), 70);
    }

    #[test]
    fn a_wait_ends_at_its_deadline_and_those_behind_it_move_up() {
        let (budget, now) = budget();
        budget.try_reserve(80).unwrap();
        let mut first = budget.queue(60, now + Duration::from_secs(1));
        let mut second = budget.queue(20, now + Duration::from_secs(2));
        assert_eq!(budget.next_deadline(), Some(now + Duration::from_secs(1)));
        budget.expire(now + Duration::from_secs(1));
        assert_eq!(poll(&mut first), Poll::Ready(Err(NoRoom::Full)));
        assert_eq!(poll(&mut second), Poll::Ready(Ok(())));
    }

    #[test]
    fn a_dropped_wait_gives_back_what_it_was_granted_or_leaves_the_queue() {
        let (budget, now) = budget();
        budget.try_reserve(80).unwrap();
        let waiting = budget.queue(60, now);
        let granted = budget.queue(20, now);
        drop(waiting);
        assert_eq!(budget.used(), 100, "the second moved up");
        drop(granted);
        assert_eq!(budget.used(), 80);
        assert_eq!(budget.waiting(), 0);
    }

    #[test]
    fn the_reservation_that_leaves_little_says_so_once() {
        let (budget, _) = budget();
        assert_eq!(budget.try_reserve(75), Ok(Reserved { exhausts: false }));
        assert!(!budget.is_exhausted());
        assert_eq!(budget.try_reserve(1), Ok(Reserved { exhausts: true }));
        assert_eq!(budget.try_reserve(1), Ok(Reserved { exhausts: false }));
        assert!(budget.is_exhausted());
        budget.release(2);
        assert!(!budget.is_exhausted());
    }

    #[test]
    fn a_closed_budget_refuses_everyone() {
        let (budget, now) = budget();
        budget.try_reserve(100).unwrap();
        let mut waiting = budget.queue(1, now);
        budget.close();
        assert_eq!(poll(&mut waiting), Poll::Ready(Err(NoRoom::Closed)));
        assert_eq!(budget.try_reserve(1), Err(NoRoom::Closed));
        assert_eq!(poll(&mut budget.queue(1, now)), Poll::Ready(Err(NoRoom::Closed)));
    }
}
