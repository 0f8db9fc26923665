//! Confidence intervals of an evaluation's figures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A mean over problems with its confidence interval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
}

impl Estimate {
    /// The mean of one value a problem, each from 0 to `top`, with its 95 % interval.
    ///
    /// A problem is the unit because samples of one problem are not independent trials. The
    /// interval is mean +- 1.96 standard errors. Where every value is 0 or `top`, as with one
    /// sample a problem, problems are plain trials, and where all are equal there is no spread to
    /// measure: then it is Wilson's, which does not shrink to a point.
    ///
    /// Source: Miller, arXiv 2411.00640, for the problem as the unit.
    #[expect(clippy::float_cmp, reason = "values that were not rounded apart are equal to the bit")]
    pub fn over_problems(values: &[f64], top: f64) -> Self {
        let n = values.len() as f64;
        // Not `sum`, which is -0 of none.
        let mean = values.iter().fold(0.0, |sum, value| sum + value) / n.max(1.0);
        let trials = values.iter().all(|value| *value == 0.0 || *value == top);
        if trials || values.windows(2).all(|pair| pair[0] == pair[1]) {
            let (low, high) = wilson(mean / top, values.len());
            return Self { mean, low: low * top, high: high * top };
        }
        let half = Z * standard_error(values);
        Self { mean, low: (mean - half).max(0.0), high: (mean + half).min(top) }
    }
}

/// Standard error of the mean of one value a problem: the standard deviation over n - 1, divided by
/// the square root of n. Samples of one problem are a cluster, of which the value is the mean. 0
/// for fewer than two values.
///
/// Source: Miller, arXiv 2411.00640, equation 4 with one value a cluster.
pub fn standard_error(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (squares / (n - 1.0) / n).sqrt()
}

/// The standard normal quantile of 0.975.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// Wilson's 95 % interval of a share `p` seen in `n` independent trials; the whole of 0 to 1 for
/// none.
///
/// Source: Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212, with z = 1.959964.
pub fn wilson(p: f64, n: usize) -> (f64, f64) {
    if n == 0 {
        return (0.0, 1.0);
    }
    let n = n as f64;
    let z2 = Z * Z / n;
    let centre = (p + z2 / 2.0) / (1.0 + z2);
    let half = Z / (1.0 + z2) * (p * (1.0 - p) / n + z2 / (4.0 * n)).sqrt();
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use rand_philox::{Philox, u32_to_unit_f64};

    use super::*;

    #[track_caller]
    fn check(successes: usize, n: usize, low: f64, high: f64) {
        let (l, h) = wilson(successes as f64 / n as f64, n);
        assert!((l - low).abs() < 5e-5 && (h - high).abs() < 5e-5, "{l} {h}");
    }

    // From the closed formula, worked with 30 decimals outside this program.
    #[test]
    fn agrees_with_worked_values() {
        check(8, 10, 0.4902, 0.9433);
        check(0, 20, 0.0, 0.1611);
        check(20, 20, 0.8389, 1.0);
        check(50, 100, 0.4038, 0.5962);
    }

    #[test]
    fn problems_are_the_unit() {
        // Standard deviation 0.5 over 4 problems: a standard error of 0.25.
        let found = Estimate::over_problems(&[0.25, 0.25, 1.25, 1.25], 8.0);
        assert!((found.mean - 0.75).abs() < 1e-12);
        let half = Z * (4.0 * 0.25 / 3.0 / 4.0_f64).sqrt();
        assert!((found.low - (0.75 - half)).abs() < 1e-12, "{found:?}");
        assert!((found.high - (0.75 + half)).abs() < 1e-12, "{found:?}");
        let cut = Estimate::over_problems(&[0.25, 1.0], 1.0);
        assert_eq!((cut.low, cut.high), (0.0, 1.0));
    }

    #[test]
    fn trials_and_equal_values_have_wilsons_interval() {
        let (low, high) = wilson(0.5, 4);
        let found = Estimate::over_problems(&[0.0, 1.0, 1.0, 0.0], 1.0);
        assert_eq!(found, Estimate { mean: 0.5, low, high });
        let found = Estimate::over_problems(&[2.0; 4], 4.0);
        assert_eq!(found, Estimate { mean: 2.0, low: 4.0 * low, high: 4.0 * high });
        let none = Estimate::over_problems(&[], 4.0);
        assert_eq!(none, Estimate { mean: 0.0, low: 0.0, high: 4.0 });
        assert!(none.mean.is_sign_positive());
    }

    /// How often the interval holds the truth in 2,000 evaluations of problems drawn anew.
    fn coverage(problems: usize, samples: u32) -> f64 {
        const EVALUATIONS: u32 = 2000;
        let mut words = Philox::from_u64_seed_stream(31, u64::from(samples));
        let mut held = 0;
        for _ in 0..EVALUATIONS {
            let values: Vec<f64> = (0..problems)
                .map(|_| {
                    // A rate of its own for every problem, even over 0 to 1: the truth is 0.5.
                    let rate = u32_to_unit_f64(words.next_u32());
                    let draws = (0..samples).map(|_| u32_to_unit_f64(words.next_u32()));
                    let solved = draws.filter(|draw| *draw < rate).count();
                    solved as f64 / f64::from(samples)
                })
                .collect();
            let found = Estimate::over_problems(&values, 1.0);
            held += u32::from(found.low <= 0.5 && 0.5 <= found.high);
        }
        f64::from(held) / f64::from(EVALUATIONS)
    }

    #[test]
    fn the_interval_holds_the_truth_as_often_as_it_says() {
        for (problems, samples) in [(100, 4), (200, 1), (60, 32)] {
            let found = coverage(problems, samples);
            assert!((0.93..=0.97).contains(&found), "{problems} x {samples}: {found}");
        }
    }

    #[test]
    fn nothing_seen_is_nothing_known() {
        assert_eq!(wilson(0.0, 0), (0.0, 1.0));
    }
}
