//! Student's t distribution.

use std::f64::consts::{FRAC_2_PI, FRAC_PI_2};

use crate::interval::{Z, standard_error};

/// Most degrees of freedom for which the distribution function is summed.
const SUMMED: usize = 1000;

/// Values that differ by less than this, relatively, are equal but for rounding.
const ROUNDING: f64 = 1e-12;

/// The mean of one value per problem +- t standard errors, with the 0.975 quantile of Student's t
/// with m - 1 degrees of freedom: the 95 % interval of a figure without bounds. None for fewer than
/// two values, and where all are the same but for rounding: there is no spread to measure.
pub fn interval(values: &[f64]) -> Option<[f64; 2]> {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if values.iter().all(|value| (value - mean).abs() <= ROUNDING * mean.abs().max(1.0)) {
        return None;
    }
    let half = t_quantile(values.len() - 1) * standard_error(values);
    Some([mean - half, mean + half])
}

/// The 0.975 quantile of Student's t with `df` degrees of freedom; infinite without any.
///
/// Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4 for up to
/// 1,000 degrees, and the expansion 26.7.5 for more.
pub fn t_quantile(df: usize) -> f64 {
    if df == 0 {
        return f64::INFINITY;
    }
    let n = df as f64;
    if df > SUMMED {
        let z2 = Z * Z;
        let first = Z * (z2 + 1.0) / 4.0;
        let second = Z * (5.0 * z2 * z2 + 16.0 * z2 + 3.0) / 96.0;
        let third = Z * (3.0 * z2.powi(3) + 19.0 * z2 * z2 + 17.0 * z2 - 15.0) / 384.0;
        return Z + (first + (second + third / n) / n) / n;
    }
    let (mut low, mut high) = (0.0, FRAC_PI_2);
    // As many halvings as f64 has digits.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if within(middle, df) < 0.95 { low = middle } else { high = middle }
    }
    n.sqrt() * low.tan()
}

/// The chance that |t| is at most `sqrt(df) * tan(angle)`.
fn within(angle: f64, df: usize) -> f64 {
    let (sin, cos) = angle.sin_cos();
    let is_odd = df % 2 == 1;
    let odd = f64::from(u8::from(is_odd));
    let mut term = if is_odd { cos } else { 1.0 };
    let mut sum = 0.0;
    for at in 1..=df / 2 {
        sum += term;
        let twice = 2.0 * at as f64 + odd;
        term *= (twice - 1.0) / twice * cos * cos;
    }
    if is_odd { FRAC_2_PI * (angle + sin * sum) } else { sin * sum }
}
