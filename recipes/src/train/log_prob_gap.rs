//! The difference between the log-probs of sampling and of training.

/// Sums over tokens of the difference of their log-probs, in nats.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogProbGap {
    tokens: f64,
    difference: f64,
    distance: f64,
    k3: f64,
    pub(crate) max: f64,
}

impl LogProbGap {
    /// Adds a token.
    pub(super) fn add(&mut self, rollout: f32, training: f32) {
        let ratio = f64::from(training) - f64::from(rollout);
        self.tokens += 1.0;
        self.difference -= ratio;
        self.distance += ratio.abs();
        self.k3 += ratio.exp() - ratio - 1.0;
        // In the total order a NaN is the largest, so it stays; `f64::max` would drop it.
        if ratio.abs().total_cmp(&self.max).is_gt() {
            self.max = ratio.abs();
        }
    }

    /// Whether any token was added.
    pub(crate) fn is_known(&self) -> bool {
        self.tokens > 0.0
    }

    /// Mean of rollout minus training log-prob.
    pub(super) fn kl(&self) -> f64 {
        self.difference / self.tokens
    }

    /// Its k3 estimate.
    pub(super) fn k3(&self) -> f64 {
        self.k3 / self.tokens
    }

    /// Mean absolute difference.
    pub(crate) fn mean(&self) -> f64 {
        self.distance / self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_log_probs_have_no_gap() {
        let mut gap = LogProbGap::default();
        assert!(!gap.is_known());
        gap.add(-1.0, -1.0);
        gap.add(-1.0, -1.5);
        assert_eq!((gap.kl(), gap.mean(), gap.max), (0.25, 0.25, 0.5));
        assert!((gap.k3() - (f64::exp(-0.5) + 0.5 - 1.0) / 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_log_prob_that_is_no_number_makes_the_largest_gap_none() {
        for (rollout, training) in [(f32::NAN, -1.0), (-1.0, f32::NAN), (-f32::NAN, -1.0)] {
            let mut gap = LogProbGap::default();
            gap.add(-1.0, -1.5);
            gap.add(rollout, training);
            gap.add(-1.0, -9.0);
            assert!(gap.max.is_nan() && gap.mean().is_nan(), "{gap:?}");
        }
    }
}
