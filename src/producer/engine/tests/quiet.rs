//! Nothing runs hot, and nothing is left behind, while everything is broken for good.
//!
//! Each way of being broken lasts for many virtual seconds, with records waiting. In each of these
//! seconds the engine may do no more than its pauses allow, and when the records' time is over, it
//! must hold nothing any more (I-E).

use super::broker::{BatchFault, Cluster};
use super::history::{Invariant, violation};
use super::mutants::{Mutant, broken_by};
use super::world::{World, ms};
use crate::protocol::ErrorCode;
use std::collections::BTreeMap;
use std::time::Duration;

/// Requests and dials in one second: each of four links may dial twenty times and ask twice, as it
/// does when every handshake succeeds and nothing behind it.
const PER_SECOND_MAX: usize = 160;

const BROKEN_FOR: Duration = Duration::from_secs(20);

/// How a cluster can be broken for good.
type Fault = fn(&mut World);

const FAULTS: [(&str, Fault); 9] = [
    ("refuses connections", |world| {
        world.cluster.up.clear();
        lose_all(world);
    }),
    ("is silent", |world| world.cluster.mute = [1, 2, 3].into()),
    ("hangs up after the first word", |world| {
        world.cluster.unfriendly = [1, 2, 3].into();
        lose_all(world);
    }),
    ("breaks off its answers", |world| {
        world.cluster.broken = (1..=3).flat_map(|node| [(node, 0), (node, 3)]).collect();
    }),
    ("has no leaders", |world| {
        for partition in 0..3 {
            world.cluster.move_leader(partition, -1);
        }
    }),
    ("has no disk", |world| refuse_for_ever(world, ErrorCode::KAFKA_STORAGE_ERROR)),
    ("has no replicas", |world| refuse_for_ever(world, ErrorCode::NOT_ENOUGH_REPLICAS)),
    ("has forgotten us", |world| refuse_for_ever(world, ErrorCode::UNKNOWN_PRODUCER_ID)),
    ("has lost the topic", |world| world.cluster.delete("t")),
];

fn lose_all(world: &mut World) {
    for node in 1..=3 {
        world.lose_node(node);
    }
}

fn refuse_for_ever(world: &mut World, code: ErrorCode) {
    for partition in 0..3 {
        let faults = vec![BatchFault::Refuse(code); 5000];
        world.cluster.batch_faults.insert(partition, faults.into());
    }
}

/// The most requests and dials in one second of a broken cluster.
fn broken(fault: Fault, mutant: Mutant) -> usize {
    let mut cluster = Cluster::new(3);
    cluster.create("t", 3);
    let mut world = World::new(cluster, |config| {
        config.request_timeout = Duration::from_secs(2);
        config.delivery_timeout = BROKEN_FOR - Duration::from_secs(1);
    });
    world.engine.mutant = mutant;
    let greetings: Vec<_> = (0..3).map(|number| world.send(number, &format!("{number}"))).collect();
    world.all_delivered(&greetings);
    fault(&mut world);
    let broken_at = world.elapsed();
    for partition in 0..3 {
        world.send(partition, &format!("to {partition}"));
    }
    world.run(BROKEN_FOR);
    let sent = world.sent.iter().map(|sent| sent.at);
    let dialled = world.dials.iter().map(|(at, _)| *at);
    let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
    for at in sent.chain(dialled).filter(|at| *at > broken_at) {
        *seconds.entry((at - broken_at).as_secs()).or_default() += 1;
    }
    let busiest = seconds.into_values().max().unwrap_or(0);
    if busiest > PER_SECOND_MAX || world.budget.used() > 0 {
        let what = format!("{busiest} in one second, {} bytes left", world.budget.used());
        violation(&world, Invariant::Quiet, &what).raise();
    }
    busiest
}

#[test]
fn a_broken_cluster_is_not_hammered_and_leaves_nothing_behind() {
    for (how, fault) in FAULTS {
        println!("a cluster that {how}");
        println!("  {} requests and dials in the busiest second", broken(fault, Mutant::None));
    }
}

#[test]
fn an_engine_without_pauses_would_be_noticed() {
    let noticed = |(_, fault): &(&str, Fault)| {
        broken_by(|| {
            broken(*fault, Mutant::NoPause);
        }) == Some(Invariant::Quiet)
    };
    assert!(FAULTS.iter().any(noticed));
}

#[test]
fn a_second_close_can_only_shorten_the_first() {
    let mut world = World::one(|_| ());
    world.cluster.up.clear();
    let record = world.send(0, "a");
    world.close(Duration::from_secs(5));
    world.close(ms(100));
    world.run(ms(100));
    assert!(super::world::outcome(&record).is_some_and(|end| end.is_err()));
    assert!(world.engine.is_finished());
    assert_eq!(world.budget.used(), 0);
}
