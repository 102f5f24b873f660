//! A node that is connected but delivers no snapshots: the cores take over, the node is tried, and takes over again.

use super::*;

/// A world whose cores can take snapshots, with a node that has reported that it cannot write one.
fn with_a_node_that_fails() -> World {
    let mut world = World::new();
    world.policy.set_cores_capture(true);
    world.policy.node_up(world.now);
    [Event::Edit(0), Event::Edit(1), Event::Edit(3), Event::Save].into_iter().for_each(|e| world.step(e));
    [Event::Second, Event::Execute, Event::Fail].into_iter().for_each(|e| world.step(e));
    assert_eq!((world.policy.node_failure(), world.policy.failing()), (Some("no"), 1));
    world
}

#[test]
fn what_a_node_cannot_write_the_cores_take_and_whoever_waits_gets_it() {
    let mut world = with_a_node_that_fails();
    assert_eq!(world.policy.outcome(world.tickets[0]), None);
    for _ in 0..3 {
        [Event::Second, Event::OwnInstall, Event::OwnInstall].into_iter().for_each(|e| world.step(e));
    }
    assert_eq!(world.policy.outcome(world.tickets[0]), Some(Outcome::Done));
    assert_eq!((world.policy.failing(), world.policy.saves()), (0, 1));
    assert!(world.policy.node_failure().is_some(), "the cores have proven nothing about the node");
}

#[test]
fn a_node_that_fails_is_tried_with_one_snapshot_at_a_time_and_takes_over_when_one_is_installed() {
    let mut world = with_a_node_that_fails();
    world.step(Event::Press);
    world.requests.clear();
    let mut tried = Vec::new();
    for second in 0..40 {
        world.step(Event::Second);
        tried.extend(world.requests.iter().filter(|r| r.checkpoint).map(|_| second));
        [Event::Execute, Event::Fail, Event::OwnInstall].into_iter().for_each(|e| world.step(e));
        (0..4).for_each(|n| world.step(Event::Edit(n)));
    }
    assert!(tried.len() >= 3 && tried.windows(2).all(|w| w[1] - w[0] >= 10), "{tried:?}");
    assert!(!world.own.is_empty());
    for _ in 0..15 {
        [Event::Second, Event::Execute, Event::Install].into_iter().for_each(|e| world.step(e));
    }
    assert_eq!(world.policy.node_failure(), None);
    [Event::OwnInstall, Event::OwnInstall, Event::Edit(0), Event::Edit(3)].into_iter().for_each(|e| world.step(e));
    (0..10).for_each(|_| world.step(Event::Second));
    assert!(world.own.is_empty(), "it is the node's business again");
}

#[test]
fn a_node_that_is_silent_while_log_must_be_dropped_counts_as_none_soon() {
    let mut world = World::new();
    world.policy.set_cores_capture(true);
    world.policy.node_up(world.now);
    world.step(Event::Press);
    let mut seconds = 0;
    // Whether or not the node reaches the barriers, it delivers nothing.
    while world.own.is_empty() {
        (0..4).for_each(|n| world.step(Event::Edit(n)));
        [Event::Second, Event::Execute].into_iter().for_each(|e| world.step(e));
        seconds += 1;
        assert!(seconds < 20);
    }
    assert!(seconds >= 15, "it had its time: {seconds} s");
    // The partition with which the node is tried is captured by its core in the end: no partition holds the log for
    // ever.
    for _ in 0..100 {
        [Event::Second, Event::OwnInstall, Event::OwnInstall].into_iter().for_each(|e| world.step(e));
    }
    let kept = |(stream, record): (StreamId, StreamRecord)| record.first <= world.ends[usize::from(stream.core.0)];
    assert!(!world.manifest.kept_streams().any(kept), "{:?}", world.manifest.epochs);
}

#[test]
fn a_node_that_delivers_slowly_but_steadily_is_left_to_it() {
    let mut world = World::new();
    world.policy.set_cores_capture(true);
    world.policy.node_up(world.now);
    world.step(Event::Press);
    for second in 0..300 {
        (0..4).for_each(|n| world.step(Event::Edit(n)));
        [Event::Second, Event::Execute].into_iter().for_each(|e| world.step(e));
        if second % 10 == 0 {
            // One snapshot of each core.
            [Event::Install, Event::Install].into_iter().for_each(|e| world.step(e));
        }
        assert!(world.own.is_empty(), "second {second}: {:?}", world.policy.node_failure());
    }
}
