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

/// Problems that the estimate of the variance has in addition to those that were judged. Their
/// variance is the largest that the mean allows. The number is chosen by simulation
/// (docs/evaluation.md): without it, intervals are too narrow if few problems are solved at all.
const ADDED: f64 = 3.0;

impl Estimate {
    /// The mean of one value per problem, each from 0 to `top`, with its 95 % interval.
    ///
    /// A problem is the unit because samples of one problem are not independent trials. The
    /// interval is Wilson's with an effective number of trials n = m V / v over m problems. V =
    /// p (1 - p) is the largest variance that values from 0 to 1 with mean p can have, which is
    /// that of single trials. v = ((m - 1) s² + 3 V) / (m + 2) is the variance of the problems, s²
    /// that of the sample. n is at least m, and equals m if all values are 0 or `top`.
    ///
    /// Source: Korn and Graubard, Survey Methodology 24 (1998), for the effective number; Franco,
    /// Little, Louis and Slud, J. Survey Stat. Methodol. 7 (2019), for Wilson's interval with it;
    /// Miller, arXiv 2411.00640, for the problem as the unit. The 3 V is our own.
    pub fn over_problems(values: &[f64], top: f64) -> Self {
        let problems = values.len() as f64;
        // Not `sum`, which is -0 of none.
        let mean = values.iter().fold(0.0, |sum, value| sum + value) / problems.max(1.0);
        let p = mean / top;
        let largest = p * (1.0 - p);
        let squares: f64 = values.iter().map(|value| (value / top - p).powi(2)).sum();
        let variance = (squares + ADDED * largest) / (problems - 1.0 + ADDED);
        let trials =
            if largest > 0.0 { (problems * largest / variance).max(problems) } else { problems };
        let (low, high) = wilson_of(p, trials);
        Self { mean, low: low * top, high: high * top }
    }
}

/// Standard error of the mean of one value per problem: the standard deviation over n - 1, divided
/// by the square root of n. Samples of one problem are a cluster, of which the value is the mean. 0
/// for fewer than two values.
///
/// Source: Miller, arXiv 2411.00640, equation 4 with one value per cluster.
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
    wilson_of(p, n as f64)
}

/// [`wilson`] for a number of trials that need not be whole.
fn wilson_of(p: f64, n: f64) -> (f64, f64) {
    if n == 0.0 {
        return (0.0, 1.0);
    }
    let z2 = Z * Z / n;
    let centre = (p + z2 / 2.0) / (1.0 + z2);
    let half = Z / (1.0 + z2) * (p * (1.0 - p) / n + z2 / (4.0 * n)).sqrt();
    // Rounding may put an end beyond the share itself, where that is 0 or 1.
    ((centre - half).max(0.0).min(p), (centre + half).min(1.0).max(p))
}

#[cfg(test)]
mod tests {
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
        // V = 1/4, squares 4/16: v = (1/4 + 3/4) / 6 = 1/6, and 4 V / v = 6 trials.
        let found = Estimate::over_problems(&[2.0, 2.0, 6.0, 6.0], 8.0);
        let (low, high) = wilson(0.5, 6);
        assert!((found.mean - 4.0).abs() < 1e-12);
        assert!((found.low - 8.0 * low).abs() < 1e-12, "{found:?}");
        assert!((found.high - 8.0 * high).abs() < 1e-12, "{found:?}");
        // Values without spread: v = 3/4 / 6, and 8 trials.
        let found = Estimate::over_problems(&[2.0; 4], 4.0);
        let (low, high) = wilson(0.5, 8);
        assert!((found.low - 4.0 * low).abs() < 1e-12, "{found:?}");
        assert!((found.high - 4.0 * high).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn single_trials_have_wilsons_interval() {
        for (values, p) in [(&[0.0, 1.0, 1.0, 0.0], 0.5), (&[0.0; 4], 0.0), (&[1.0; 4], 1.0)] {
            let (low, high) = wilson(p, 4);
            assert_eq!(Estimate::over_problems(values, 1.0), Estimate { mean: p, low, high });
        }
        let none = Estimate::over_problems(&[], 4.0);
        assert_eq!(none, Estimate { mean: 0.0, low: 0.0, high: 4.0 });
        assert!(none.mean.is_sign_positive());
    }

    #[test]
    fn the_mean_is_within_its_interval() {
        let third = 1.0 / 3.0;
        for values in
            [&[third; 3][..], &[1.0 - third; 7], &[1e-300, 0.0], &[1.0 - 1e-16; 9], &[0.4]]
        {
            let found = Estimate::over_problems(values, 1.0);
            assert!(found.low <= found.mean && found.mean <= found.high, "{found:?}");
            assert!(found.low >= 0.0 && found.high <= 1.0, "{found:?}");
        }
        for problems in 1..2000 {
            let [none, all] = [0.0, 1.0].map(|p| wilson(p, problems));
            assert_eq!((none.0, all.1), (0.0, 1.0), "{problems}");
        }
    }

    #[test]
    fn nothing_seen_is_nothing_known() {
        assert_eq!(wilson(0.0, 0), (0.0, 1.0));
    }
}
