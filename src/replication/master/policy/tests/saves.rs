//! Every request for a save is answered, and saves are counted as Redis counts them.

use super::*;

#[test]
fn nobody_waits_for_a_core_whose_log_has_failed() {
    for own in [true, false] {
        let mut world = World::new();
        world.policy.set_cores_capture(own);
        world.policy.node_up(world.now);
        [Event::Edit(0), Event::Edit(3), Event::Save, Event::Second].into_iter().for_each(|e| world.step(e));
        world.ended[usize::from(world.policy.placement.core_of(PartitionId(0)).0)] = true;
        world.step(Event::Second);
        let Some(Outcome::Failed(why)) = world.policy.outcome(world.tickets[0]) else { panic!("it waits") };
        assert!(why.contains("log of core"), "{why}");
        assert!(world.policy.pending_in(CoreId(0)).next().is_none() && world.policy.failing() == 1);
        let ticket = world.policy.request(world.observed()).unwrap();
        assert!(matches!(world.policy.outcome(ticket), Some(Outcome::Failed(_))), "at once");
    }
}

#[test]
fn a_save_is_counted_when_everything_that_had_changed_is_in_snapshots() {
    let mut world = World::new();
    world.policy.node_up(world.now);
    let edits = |world: &World| world.policy.replay_edits(&world.observed()).iter().sum::<u64>();
    [Event::Edit(0), Event::Edit(0), Event::Edit(3), Event::Save].into_iter().for_each(|e| world.step(e));
    assert_eq!((world.policy.saves(), edits(&world)), (0, 3));
    [Event::Second, Event::Execute, Event::Install].into_iter().for_each(|e| world.step(e));
    assert_eq!(world.policy.saves(), 0, "one of two");
    world.step(Event::Install);
    assert_eq!((world.policy.saves(), edits(&world)), (1, 0));
    world.step(Event::Save);
    assert_eq!(world.policy.saves(), 2, "there was nothing to do");
    world.step(Event::Edit(1));
    assert!(edits(&world) >= 1);
}
