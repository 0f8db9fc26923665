//! How two evaluations differ on the same problems.

use rand_philox::Philox;
use serde::{Deserialize, Serialize};

use crate::interval::{standard_error, wilson};
use crate::student;

/// A figure of two evaluations, paired by problem: what the first has more than the second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Problems that both have.
    pub problems: usize,
    /// Mean difference.
    pub mean: f64,
    /// Its standard error over problems; none for fewer than two problems.
    pub standard_error: Option<f64>,
    /// Its 95 % interval; none where nothing bounds it ([`Paired::of`]).
    pub interval: Option<[f64; 2]>,
    /// Problems where the first has more.
    pub higher: usize,
    /// Problems where it has less.
    pub lower: usize,
    /// Problems where both have the same.
    pub equal: usize,
    /// Two-sided p of the sign-flip permutation test: how often a difference of this size would
    /// come about if the evaluations were exchangeable within each problem.
    pub p: f64,
}

/// Most problems that differ for which every flip is tried.
pub const EXACT: usize = 16;
/// Flips that are drawn for more.
pub const FLIPS: u32 = 20_000;
/// Figures are shares of few parts: what differs by less than this is equal but for rounding.
const ROUNDING: f64 = 1e-12;
/// Key of those draws.
const KEY: u64 = 0x7374_6561_7269_6e21;

impl Paired {
    /// Compares by one difference per problem. No difference is larger than `most`; none if the
    /// figure has no bound.
    ///
    /// The interval of m problems is the mean +- t standard errors, with the quantile of Student's
    /// t with m - 1 degrees of freedom. If all differences are the same, there is no spread to
    /// measure. Other problems may still differ: a share of up to u, the upper end of Wilson's
    /// interval of 0 in m. With a mean of d, the interval is then d - u (most + d) to
    /// d + u (most - d). There is no interval for differences that are the same and have no bound.
    ///
    /// Source: Miller, arXiv 2411.00640, section 4, for the paired standard error. The p of drawn
    /// flips counts the observation itself, so that it is never 0 (Phipson and Smyth 2010).
    pub fn of(differences: &[f64], most: Option<f64>) -> Self {
        let problems = differences.len();
        let mean = differences.iter().sum::<f64>() / problems.max(1) as f64;
        let higher = differences.iter().filter(|d| **d > ROUNDING).count();
        let lower = differences.iter().filter(|d| **d < -ROUNDING).count();
        Self {
            problems,
            mean,
            standard_error: (problems > 1).then(|| standard_error(differences)),
            interval: interval(differences, mean, most),
            higher,
            lower,
            equal: problems - higher - lower,
            p: p(differences),
        }
    }
}

fn interval(differences: &[f64], mean: f64, most: Option<f64>) -> Option<[f64; 2]> {
    if let Some([low, high]) = student::interval(differences) {
        let most = most.unwrap_or(f64::INFINITY);
        return Some([low.max(-most), high.min(most)]);
    }
    let most = most.filter(|_| !differences.is_empty())?;
    let (_, unseen) = wilson(0.0, differences.len());
    Some([mean - unseen * (most + mean), mean + unseen * (most - mean)])
}

/// Two-sided p of the sum of the differences, if each could as well have the other sign.
fn p(differences: &[f64]) -> f64 {
    let differing: Vec<f64> = differences.iter().copied().filter(|d| d.abs() > ROUNDING).collect();
    let total: f64 = differing.iter().map(|d| d.abs()).sum();
    // Sums that are equal but for rounding count as equal.
    let observed = differing.iter().sum::<f64>().abs() - 1e-9 * total;
    if differing.len() <= EXACT {
        let flips = 1_u32 << differing.len();
        let sum = |flip: u32| -> f64 {
            let signed = differing.iter().enumerate();
            signed.map(|(at, d)| if flip >> at & 1 == 0 { *d } else { -d }).sum()
        };
        let extreme = (0..flips).filter(|flip| sum(*flip).abs() >= observed);
        return extreme.count() as f64 / f64::from(flips);
    }
    let mut words = Philox::from_u64_seed(KEY);
    let mut extreme = 0;
    for _ in 0..FLIPS {
        let mut sum = 0.0;
        for some in differing.chunks(32) {
            let word = words.next_u32();
            let signed = some.iter().enumerate();
            sum += signed.map(|(at, d)| if word >> at & 1 == 0 { *d } else { -d }).sum::<f64>();
        }
        extreme += u32::from(sum.abs() >= observed);
    }
    f64::from(extreme + 1) / f64::from(FLIPS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exact_test_is_the_sign_test_where_all_differences_have_one_size() {
        // Of 2^5 flips those with at least 4 or at most 1 plus signs: (1 + 5) * 2.
        let found = Paired::of(&[1.0, 1.0, 1.0, 1.0, -1.0, 0.0, 0.0], Some(1.0));
        assert!((found.p - 12.0 / 32.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.problems, found.higher, found.lower, found.equal), (7, 4, 1, 2));
        assert!((found.mean - 3.0 / 7.0).abs() < 1e-12);
        // Sizes that differ: only the flips of all signs are as extreme.
        assert!((Paired::of(&[4.0, 2.0, 1.0], Some(1.0)).p - 0.25).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_difference_has_p_1() {
        let none = Paired::of(&[0.0; 4], Some(1.0));
        assert_eq!((none.p, none.mean, none.equal), (1.0, 0.0, 4));
        // Wilson's upper end of 0 in 4.
        let [low, high] = none.interval.unwrap();
        assert!((high - 0.489_890_8).abs() < 1e-6 && (low + high).abs() < 1e-12, "{none:?}");
        let empty = Paired::of(&[], Some(1.0));
        assert_eq!((empty.p, empty.problems, empty.interval), (1.0, 0, None));
        let one = Paired::of(&[0.5], Some(1.0));
        assert_eq!((one.p, one.standard_error), (1.0, None));
        // Nothing is known of how far apart two lengths may be.
        assert_eq!(Paired::of(&[0.0; 4], None).interval, None);
    }

    #[test]
    fn equal_differences_are_no_certainty() {
        let unseen = wilson(0.0, 12).1;
        let [low, high] = Paired::of(&[1.0; 12], Some(1.0)).interval.unwrap();
        assert!((low - (1.0 - 2.0 * unseen)).abs() < 1e-12 && (high - 1.0).abs() < 1e-12);
        let [low, high] = Paired::of(&[-0.5; 12], Some(1.0)).interval.unwrap();
        assert!((low - (-0.5 - 0.5 * unseen)).abs() < 1e-12, "{low}");
        assert!((high - (-0.5 + 1.5 * unseen)).abs() < 1e-12, "{high}");
        // More equal problems say more.
        let wide = Paired::of(&[0.0; 12], Some(1.0)).interval.unwrap()[1];
        let narrow = Paired::of(&[0.0; 500], Some(1.0)).interval.unwrap()[1];
        assert!(narrow < 0.01 && wide > 0.2, "{narrow} {wide}");
    }

    #[test]
    fn few_problems_have_the_quantile_of_their_number() {
        // A standard error of 5, and t = 12.706205 with one degree of freedom.
        let found = Paired::of(&[0.0, 10.0], None).interval.unwrap();
        assert!((found[0] - (5.0 - 63.531_024)).abs() < 1e-5, "{found:?}");
        assert!((found[1] - (5.0 + 63.531_024)).abs() < 1e-5, "{found:?}");
        // A difference of shares is at most 1.
        assert_eq!(Paired::of(&[0.0, 1.0], Some(1.0)).interval, Some([-1.0, 1.0]));
    }

    #[test]
    fn rounding_makes_no_flip_less_extreme() {
        // 0.1 + 0.2 + 0.3 in another order is another number in the last place.
        let found = Paired::of(&[0.1, 0.2, 0.3, -0.6], Some(1.0));
        // Sums of 0 in all: no flip is less extreme than the observed 0.
        assert!((found.p - 1.0).abs() < 1e-12, "{found:?}");
        let other = Paired::of(&[0.3, 0.1, 0.2], Some(1.0));
        assert_eq!(other.p.to_bits(), Paired::of(&[0.2, 0.3, 0.1], Some(1.0)).p.to_bits());
    }

    #[test]
    fn a_difference_of_rounding_alone_is_none() {
        let third = 1.0 / 3.0;
        let sums = [third + third + third - 1.0, 0.1 + 0.2 - 0.3, 0.7 - (0.1 + 0.6)];
        assert!(sums.iter().any(|sum| *sum != 0.0));
        let found = Paired::of(&sums, Some(1.0));
        assert_eq!((found.higher, found.lower, found.equal, found.p), (0, 0, 3, 1.0));
    }

    #[test]
    fn drawn_flips_are_the_same_every_time_and_never_p_0() {
        let all = [1.0; 40];
        let found = Paired::of(&all, Some(1.0));
        assert!((found.p - 1.0 / f64::from(FLIPS + 1)).abs() < 1e-12, "{found:?}");
        assert_eq!(found, Paired::of(&all, Some(1.0)));
    }
}
