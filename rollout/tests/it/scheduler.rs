//! Properties of the scheduler for any sizes and any order of endings.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rollout::scheduler::{Scheduler, SequenceId};

proptest! {
    #[test]
    fn every_sequence_runs_once_in_order_and_no_slot_waits(
        sizes in prop::collection::vec(0usize..6, 0..8),
        slots in 1usize..7,
        endings in prop::collection::vec(any::<prop::sample::Index>(), 64),
    ) {
        let all: Vec<SequenceId> = sizes
            .iter()
            .enumerate()
            .flat_map(|(group, &size)| (0..size).map(move |sibling| SequenceId { group, sibling }))
            .collect();
        let mut scheduler = Scheduler::new(sizes.clone(), slots);
        let mut running: BTreeMap<usize, SequenceId> = BTreeMap::new();
        let (mut begun, mut ended) = (Vec::new(), 0);
        for ending in endings {
            while let Some((slot, id)) = scheduler.admit() {
                prop_assert!(slot < slots);
                prop_assert!(running.insert(slot, id).is_none(), "slot {} twice", slot);
                begun.push(id);
            }
            let seen: Vec<(usize, SequenceId)> = scheduler.running().collect();
            prop_assert_eq!(&seen, &running.iter().map(|(&a, &b)| (a, b)).collect::<Vec<_>>());
            prop_assert_eq!(running.len(), slots.min(all.len() - ended), "a free slot waits");
            if running.is_empty() {
                break;
            }
            let slot = *running.keys().nth(ending.index(running.len())).unwrap();
            let (id, last) = scheduler.finish(slot);
            prop_assert_eq!(running.remove(&slot), Some(id));
            ended += 1;
            let waiting = all[begun.len()..].iter().any(|s| s.group == id.group);
            let left = waiting || running.values().any(|other| other.group == id.group);
            prop_assert_eq!(last, !left, "the group's end is told once, at its last sibling");
        }
        prop_assert_eq!(begun, all, "every sequence begins, in order");
    }
}
