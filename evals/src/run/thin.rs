//! Which steps keep their samples, so that all of them stay within a budget.

use serde::{Deserialize, Serialize};

/// The steps whose samples are kept, and their sizes.
///
/// It goes by the sizes of what was written, not by what is on the disk, and is part of a
/// checkpoint: a run that goes on from before a thinning thins at the same step again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thinning {
    /// Steps from one recorded step to the next.
    stride: u64,
    /// The steps kept, ascending, each with its bytes.
    steps: Vec<(u64, u64)>,
}

impl Thinning {
    /// Whether the samples of `step` are to be recorded, where they are every `every` steps.
    pub fn is_due(&self, step: u64, every: u64) -> bool {
        step.is_multiple_of(self.stride.max(every)) && step.is_multiple_of(every)
    }

    /// Takes up the samples of `step`, of at most `budget` bytes, and returns the steps whose
    /// samples go: while all take more than `budget`, the stride doubles, and of the steps that are
    /// no multiple of it only the newest stays.
    ///
    /// # Panics
    ///
    /// Panics where the samples of the step take more than the budget by themselves.
    pub fn add(&mut self, step: u64, bytes: u64, every: u64, budget: u64) -> Vec<u64> {
        assert!(bytes <= budget, "the caller leaves out what does not fit");
        let before = self.steps.clone();
        self.steps.push((step, bytes));
        if self.stride > every {
            self.thin(step);
        } else {
            self.stride = every;
        }
        while self.bytes() > budget {
            self.stride = self.stride.saturating_mul(2);
            self.thin(step);
        }
        let gone = |one: &&(u64, u64)| !self.steps.contains(one);
        before.iter().filter(gone).map(|(step, _)| *step).collect()
    }

    fn thin(&mut self, newest: u64) {
        let stride = self.stride;
        self.steps.retain(|(step, _)| *step == newest || step.is_multiple_of(stride));
    }

    /// Bytes of all samples kept.
    pub fn bytes(&self) -> u64 {
        self.steps.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Steps from one recorded step to the next; 0 before the first.
    pub const fn stride(&self) -> u64 {
        self.stride
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_stride_doubles_and_the_newest_stays() {
        let mut thinning = Thinning::default();
        for step in [10, 20, 30] {
            assert!(thinning.is_due(step, 10) && !thinning.is_due(step + 1, 10));
            assert_eq!(thinning.add(step, 30, 10, 100), [0; 0]);
        }
        // 120 bytes: every twentieth stays.
        assert_eq!(thinning.add(40, 30, 10, 100), [10, 30]);
        assert!(!thinning.is_due(50, 10) && thinning.is_due(60, 10));
        assert_eq!((thinning.stride(), thinning.bytes()), (20, 60));
        assert_eq!(thinning.add(60, 30, 10, 100), [0; 0]);
        // 60 is no multiple of 40, and is not the newest any more.
        assert_eq!(thinning.add(80, 30, 10, 100), [20, 60]);
        assert_eq!(thinning.add(120, 100, 10, 100), [40, 80]);
        assert_eq!(thinning.steps, [(120, 100)]);
    }

    #[test]
    fn a_default_run_of_an_hour_or_a_week_stays_within_half_a_gibibyte() {
        // 8 siblings of 800 tokens, 16 groups: 3.2 MiB a step.
        let mut thinning = Thinning::default();
        let budget = 512 << 20;
        for step in (1..=5500).filter(|step| step % 10 == 0) {
            if thinning.is_due(step, 10) {
                thinning.add(step, (3.2 * f64::from(1 << 20)) as u64, 10, budget);
            }
        }
        assert_eq!((thinning.stride(), thinning.steps.len()), (40, 137));
    }

    proptest! {
        #[test]
        fn thinning_never_exceeds_the_budget_and_covers_evenly(
            sizes in prop::collection::vec(0_u64..60, 1..200),
            every in 1_u64..7,
            budget in 60_u64..400,
        ) {
            let mut thinning = Thinning::default();
            let mut there = Vec::new();
            for (step, bytes) in (1..).zip(sizes) {
                if !thinning.is_due(step, every) {
                    continue;
                }
                let gone = thinning.add(step, bytes, every, budget);
                there.push(step);
                there.retain(|step| !gone.contains(step));
                prop_assert!(thinning.bytes() <= budget);
                let kept: Vec<_> = thinning.steps.iter().map(|(step, _)| *step).collect();
                prop_assert_eq!(&there, &kept);
                prop_assert_eq!(kept.last(), Some(&step));
                let old = &kept[..kept.len() - 1];
                prop_assert!(old.iter().all(|step| step.is_multiple_of(thinning.stride())));
            }
        }
    }
}
