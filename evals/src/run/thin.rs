//! Which steps keep their samples, so that all of them stay within a budget.

use serde::{Deserialize, Serialize};

/// The steps whose samples are kept, and their sizes.
///
/// It goes by the sizes of what was written, not by what is on the disk, and is part of a
/// checkpoint: a run that goes on from before a thinning thins at the same step again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Kept", into = "Kept")]
pub struct Thinning {
    /// Steps from one recorded step to the next.
    stride: u64,
    /// The steps kept, ascending, each with its bytes. Only the newest may be no multiple of
    /// `stride`.
    steps: Vec<(u64, u64)>,
    /// Bytes of all of them.
    bytes: u64,
}

/// [`Thinning`] as a checkpoint has it.
#[derive(Serialize, Deserialize)]
struct Kept {
    stride: u64,
    steps: Vec<(u64, u64)>,
}

impl From<Kept> for Thinning {
    fn from(Kept { stride, steps }: Kept) -> Self {
        let bytes = steps.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        Self { stride, steps, bytes }
    }
}

impl From<Thinning> for Kept {
    fn from(Thinning { stride, steps, .. }: Thinning) -> Self {
        Self { stride, steps }
    }
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
        let mut gone = Vec::new();
        if self.stride > every {
            let stride = self.stride;
            // The newest before is one no more.
            let old = self.steps.pop_if(|(newest, _)| !newest.is_multiple_of(stride));
            self.let_go(old, &mut gone);
        } else {
            self.stride = every;
        }
        self.steps.push((step, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        while self.bytes > budget {
            self.stride = self.stride.saturating_mul(2);
            let stride = self.stride;
            let stays = |one: &(u64, u64)| one.0 == step || one.0.is_multiple_of(stride);
            let (kept, old) = std::mem::take(&mut self.steps).into_iter().partition(stays);
            self.steps = kept;
            self.let_go(old, &mut gone);
        }
        gone.sort_unstable();
        gone
    }

    fn let_go(&mut self, old: impl IntoIterator<Item = (u64, u64)>, gone: &mut Vec<u64>) {
        for (step, bytes) in old {
            self.bytes -= bytes;
            gone.push(step);
        }
    }

    /// The first step from `step` on that is due, where samples are every `every` steps; none where
    /// no number is so large.
    pub fn next_due(&self, step: u64, every: u64) -> Option<u64> {
        let stride = self.stride.max(every);
        let first = step.checked_next_multiple_of(stride)?;
        std::iter::successors(Some(first), |step| step.checked_add(stride))
            .find(|step| self.is_due(*step, every))
    }

    /// Bytes of all samples kept.
    pub const fn bytes(&self) -> u64 {
        self.bytes
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
                prop_assert_eq!(thinning.bytes(), thinning.steps.iter().map(|one| one.1).sum::<u64>());
                let next = thinning.next_due(step + 1, every).unwrap();
                prop_assert!(thinning.is_due(next, every));
                prop_assert!((step + 1..next).all(|between| !thinning.is_due(between, every)));
                let text = serde_json::to_string(&thinning).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Thinning>(&text).unwrap(), &thinning);
                let old = &kept[..kept.len() - 1];
                prop_assert!(old.iter().all(|step| step.is_multiple_of(thinning.stride())));
            }
        }
    }
}
