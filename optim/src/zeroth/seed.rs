use rand_philox::splitmix64;

/// What a seed is for; with equal other arguments, different purposes are independent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The direction of a member of a step.
    Noise,
    /// The factor that directions of low rank share for some steps.
    Subspace,
    /// The elements that are perturbed for some steps.
    Mask,
    /// The order of data.
    Data,
    /// Tokens that members sample.
    Sampling,
}

/// The increment of `SplitMix64`: keeps zero from mapping to zero.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A seed as a function of the run's seed, a step and a member: the finaliser of `SplitMix64`,
/// chained over purpose, step and member. It never changes: logs hold no seeds.
pub fn mix64(run_seed: u64, step: u32, member: u64, purpose: Purpose) -> u64 {
    let purpose = match purpose {
        Purpose::Noise => 1,
        Purpose::Subspace => 2,
        Purpose::Mask => 3,
        Purpose::Data => 4,
        Purpose::Sampling => 5,
    };
    let start = splitmix64(run_seed.wrapping_add(GOLDEN));
    [purpose, u64::from(step), member]
        .into_iter()
        .fold(start, |hash, word| splitmix64(hash.wrapping_add(GOLDEN) ^ word))
}
