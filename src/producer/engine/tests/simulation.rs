//! Thousands of unlucky runs, and none in which a promise is broken.
//!
//! Goal: no order of events breaks a promise of `history`. Method: `chaos` makes a run of each
//! seed. A failure prints its seed, the promise, the record and the last events; to see it again:
//!
//! ```text
//! OTTLA_SEED=17 cargo test --lib engine::tests::simulation -- --nocapture
//! OTTLA_SEEDS=10000 cargo test --lib engine::tests::simulation      (more seeds, from 0 on)
//! ```

use super::chaos::Chaos;
use std::collections::BTreeMap;
use std::ops::{AddAssign, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

const SEEDS: u64 = 500;

const THREADS: usize = 2;

/// What a run, or many, amounted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Summary {
    transcript: u64,
    records: usize,
    /// Records by how they ended.
    ends: BTreeMap<&'static str, usize>,
    faults: usize,
}

impl AddAssign for Summary {
    fn add_assign(&mut self, other: Self) {
        self.transcript ^= other.transcript;
        self.records += other.records;
        self.faults += other.faults;
        for (kind, count) in other.ends {
            *self.ends.entry(kind).or_default() += count;
        }
    }
}

/// Says how to see a failure again.
struct Replay(u64);

impl Drop for Replay {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "seed {seed} failed; replay with\n  \
                 OTTLA_SEED={seed} cargo test --lib engine::tests::simulation -- --nocapture"
            );
        }
    }
}

/// One run, whose promises are kept, or it panics.
pub(super) fn run(seed: u64, prepare: impl FnOnce(&mut Chaos)) -> Summary {
    let _replay = Replay(seed);
    let mut chaos = Chaos::new(seed);
    prepare(&mut chaos);
    if let Err(violation) = chaos.run() {
        violation.raise();
    }
    Summary {
        transcript: chaos.world.transcript(),
        records: chaos.world.history.len(),
        ends: chaos.world.history.ends(),
        faults: chaos.world.history.notes(),
    }
}

/// The seeds that the environment asks for.
fn seeds() -> Range<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match (number("OTTLA_SEED"), number("OTTLA_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, count) => 0..count.unwrap_or(SEEDS),
    }
}

#[test]
fn no_promise_is_broken_whatever_goes_wrong() {
    #[expect(clippy::disallowed_methods, reason = "for people, who want to know how long it took")]
    let started = Instant::now();
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let total = Mutex::new(Summary::default());
    let work = || {
        while let Some(seed) =
            Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end)
        {
            // Whoever fails ends it for all.
            let _stop = Stop(&next, seeds.end);
            let summary = run(seed, |_| ());
            *total.lock().unwrap() += summary;
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let Summary { records, ends, faults, .. } = total.into_inner().unwrap();
    let (count, time) = (seeds.end - seeds.start, started.elapsed());
    println!("{count} seeds, {records} records, {faults} faults, {:.1} s", time.as_secs_f64());
    println!("{ends:?}");
    let all = ["abandoned", "delivered", "expired", "rejected", "spoiled", "unknown"];
    assert!(count < SEEDS || ends.keys().eq(&all), "every end but the fatal one occurs");
}

struct Stop<'a>(&'a AtomicU64, u64);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(self.1, Ordering::Relaxed);
        }
    }
}

#[test]
fn the_same_seed_goes_the_same_way() {
    for seed in 0..10 {
        assert_eq!(run(seed, |_| ()), run(seed, |_| ()), "seed {seed}");
    }
    assert_ne!(run(1, |_| ()), run(2, |_| ()));
}

#[test]
fn numbers_that_wrap_break_no_promise() {
    for seed in 0..20 {
        for below_the_largest in [0, 3, 17] {
            run(seed, |chaos| {
                chaos.world.engine.sequencer.first_number = i32::MAX - below_the_largest;
            });
        }
    }
}
