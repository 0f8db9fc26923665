//! Whether one evaluation is better than another on the same problems.

use rand_philox::Philox;
use serde::{Deserialize, Serialize};

use crate::interval::{Z, standard_error};

/// A figure of two evaluations, paired by problem: what the first has more than the second.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Paired {
    /// Problems that both have.
    pub problems: usize,
    /// Mean difference.
    pub mean: f64,
    /// Its standard error over problems; none for fewer than two problems.
    pub standard_error: Option<f64>,
    /// Its 95 % interval, 1.96 standard errors to either side; none for fewer than two problems.
    pub interval: Option<[f64; 2]>,
    /// Problems where the first is better.
    pub better: usize,
    /// Problems where it is worse.
    pub worse: usize,
    /// Problems where both are equal.
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
    /// Compares by one difference a problem.
    ///
    /// Source: Miller, arXiv 2411.00640, section 4, for the paired standard error. The p of drawn
    /// flips counts the observation itself, so that it is never 0 (Phipson and Smyth 2010).
    pub fn of(differences: &[f64]) -> Self {
        let problems = differences.len();
        let mean = differences.iter().sum::<f64>() / problems.max(1) as f64;
        let standard_error = (problems > 1).then(|| standard_error(differences));
        let better = differences.iter().filter(|d| **d > ROUNDING).count();
        let worse = differences.iter().filter(|d| **d < -ROUNDING).count();
        Self {
            problems,
            mean,
            standard_error,
            interval: standard_error.map(|error| [mean - Z * error, mean + Z * error]),
            better,
            worse,
            equal: problems - better - worse,
            p: p(differences),
        }
    }
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
        let found = Paired::of(&[1.0, 1.0, 1.0, 1.0, -1.0, 0.0, 0.0]);
        assert!((found.p - 12.0 / 32.0).abs() < 1e-12, "{found:?}");
        assert_eq!((found.problems, found.better, found.worse, found.equal), (7, 4, 1, 2));
        assert!((found.mean - 3.0 / 7.0).abs() < 1e-12);
        // Sizes that differ: only the flips of all signs are as extreme.
        assert!((Paired::of(&[4.0, 2.0, 1.0]).p - 0.25).abs() < 1e-12);
    }

    #[test]
    fn what_has_no_difference_has_p_1() {
        let none = Paired::of(&[0.0; 4]);
        assert_eq!((none.p, none.mean, none.equal), (1.0, 0.0, 4));
        assert_eq!(none.interval, Some([0.0, 0.0]));
        let empty = Paired::of(&[]);
        assert_eq!((empty.p, empty.problems, empty.interval), (1.0, 0, None));
        let one = Paired::of(&[0.5]);
        assert_eq!((one.p, one.interval), (1.0, None));
    }

    #[test]
    fn rounding_makes_no_flip_less_extreme() {
        // 0.1 + 0.2 + 0.3 in another order is another number in the last place.
        let found = Paired::of(&[0.1, 0.2, 0.3, -0.6]);
        // Sums of 0 in all: no flip is less extreme than the observed 0.
        assert!((found.p - 1.0).abs() < 1e-12, "{found:?}");
        let other = Paired::of(&[0.3, 0.1, 0.2]);
        assert_eq!(other.p.to_bits(), Paired::of(&[0.2, 0.3, 0.1]).p.to_bits());
    }

    #[test]
    fn a_difference_of_rounding_alone_is_none() {
        let third = 1.0 / 3.0;
        let sums = [third + third + third - 1.0, 0.1 + 0.2 - 0.3, 0.7 - (0.1 + 0.6)];
        assert!(sums.iter().any(|sum| *sum != 0.0));
        let found = Paired::of(&sums);
        assert_eq!((found.better, found.worse, found.equal, found.p), (0, 0, 3, 1.0));
    }

    #[test]
    fn drawn_flips_are_the_same_every_time_and_never_p_0() {
        let all = [1.0; 40];
        let found = Paired::of(&all);
        assert!((found.p - 1.0 / f64::from(FLIPS + 1)).abs() < 1e-12, "{found:?}");
        assert_eq!(found, Paired::of(&all));
    }
}
