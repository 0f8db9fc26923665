//! Random numbers as a function of the run's seed, the purpose, the step, and the token's position.

use rand_philox::{philox4x32_10, splitmix64};

/// The purpose of random numbers; with equal seeds and steps, different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Rollouts that are trained on.
    Train,
    /// Held-out evaluation.
    Eval,
    /// A user's prompt.
    Sample,
    /// Rollouts on which only the entropy is measured.
    Probe,
    /// Other continuations of a recorded completion.
    Fork,
}

/// The key that the random numbers of one batch of rollouts share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The run's seed.
    pub seed: u64,
    /// What the batch is for.
    pub purpose: Purpose,
    /// The step that the batch belongs to.
    pub step: u64,
}

/// The increment of `SplitMix64`: keeps zero from mapping to zero.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Key {
    /// A uniform number in (0, 1) for one token: 52 bits of the Philox block whose counter is
    /// (position in the completion, sibling, problem).
    ///
    /// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
    pub fn uniform(self, position: u32, sibling: u32, problem: u64) -> f64 {
        let key = self.mixed();
        let counter = [position, sibling, problem as u32, (problem >> 32) as u32];
        let words = philox4x32_10(counter, [key as u32, (key >> 32) as u32]);
        let bits = (u64::from(words[0]) << 20) | u64::from(words[1] >> 12);
        // A whole number and a half below 2^52: exact, and never 0 or 1.
        (bits as f64 + 0.5) / (1u64 << 52) as f64
    }

    fn mixed(self) -> u64 {
        let purpose = match self.purpose {
            Purpose::Train => 1,
            Purpose::Eval => 2,
            Purpose::Sample => 3,
            Purpose::Probe => 4,
            Purpose::Fork => 5,
        };
        [purpose, self.step].into_iter().fold(splitmix64(self.seed.wrapping_add(GOLDEN)), |h, x| {
            splitmix64(h.wrapping_add(GOLDEN) ^ x)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generators_give_their_known_answers() {
        // Random123's kat_vectors for philox4x32-10, and the first outputs of SplitMix64 seeded 0.
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([u32::MAX; 4], [u32::MAX; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
        assert_eq!(splitmix64(GOLDEN), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn a_draw_never_changes() {
        let key = Key { seed: 17, purpose: Purpose::Train, step: 3 };
        let draws = [key.uniform(0, 0, 0), key.uniform(5, 7, 1 << 40)];
        assert_eq!(draws.map(f64::to_bits), [4_602_417_349_241_912_746, 4_604_559_584_763_531_817]);
    }

    #[test]
    fn every_part_of_the_key_matters() {
        let base = Key { seed: 0, purpose: Purpose::Train, step: 0 };
        let draws = [
            base.uniform(0, 0, 0),
            base.uniform(1, 0, 0),
            base.uniform(0, 1, 0),
            base.uniform(0, 0, 1),
            base.uniform(0, 0, 1 << 32),
            Key { seed: 1, ..base }.uniform(0, 0, 0),
            Key { step: 1, ..base }.uniform(0, 0, 0),
            Key { purpose: Purpose::Eval, ..base }.uniform(0, 0, 0),
            Key { purpose: Purpose::Sample, ..base }.uniform(0, 0, 0),
            Key { purpose: Purpose::Probe, ..base }.uniform(0, 0, 0),
            Key { purpose: Purpose::Fork, ..base }.uniform(0, 0, 0),
        ];
        for (i, a) in draws.iter().enumerate() {
            assert!(*a > 0.0 && *a < 1.0);
            assert!(draws[..i].iter().all(|b| a.to_bits() != b.to_bits()));
        }
    }

    #[test]
    fn draws_are_uniform() {
        let key = Key { seed: 1, purpose: Purpose::Eval, step: 0 };
        let mut bins = [0u32; 20];
        for i in 0..20_000 {
            bins[(key.uniform(i % 100, i / 100, 9) * 20.0) as usize] += 1;
        }
        let chi_square: f64 = bins.iter().map(|&n| (f64::from(n) - 1000.0).powi(2) / 1000.0).sum();
        assert!(chi_square < 43.8, "19 degrees of freedom, p = 0.001: {chi_square}");
    }
}
