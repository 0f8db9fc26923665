use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attempt, Unavailable, Verdict, Verifier};

/// What length earns most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "LengthAim")]
pub enum Aim {
    /// The shorter, the better: the share of the allowed tokens that was used, negated.
    Short,
    /// As near as possible to this many tokens: the relative distance, negated.
    ///
    /// Source: L1-Exact, arXiv 2503.04697, section 3, with the distance relative to the target.
    Target(NonZeroUsize),
}

/// Earns from -1, for a length as far off as it may count, to 0.
#[derive(Debug, Clone, Copy)]
pub struct Length {
    /// What length earns most.
    pub aim: Aim,
}

impl Length {
    fn reward(self, num_tokens: usize, max_tokens: usize) -> f64 {
        let off = match self.aim {
            Aim::Short => num_tokens as f64 / max_tokens.max(1) as f64,
            Aim::Target(target) => num_tokens.abs_diff(target.get()) as f64 / target.get() as f64,
        };
        // a difference, since a negated zero would be recorded as -0
        0.0 - off.min(1.0)
    }
}

impl Verifier for Length {
    fn name(&self) -> &'static str {
        "length"
    }

    fn verify(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Verdict>, Unavailable> {
        let reward = |attempt: &Attempt<'_>| self.reward(attempt.num_tokens, attempt.max_tokens);
        Ok(attempts.iter().map(|attempt| Verdict::form(reward(attempt))).collect())
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these rewards are exact in binary")]
mod tests {
    use super::*;

    #[test]
    fn rewards_fall_with_the_distance_and_stay_in_range() {
        let short = |tokens| Length { aim: Aim::Short }.reward(tokens, 8);
        assert_eq!([short(0), short(2), short(8), short(9)], [0.0, -0.25, -1.0, -1.0]);
        let target = Length { aim: Aim::Target(NonZeroUsize::new(4).unwrap()) };
        let target = |tokens| target.reward(tokens, 8);
        assert_eq!([target(4), target(3), target(6), target(40)], [0.0, -0.25, -0.5, -1.0]);
        assert!(target(4).is_sign_positive());
    }
}
