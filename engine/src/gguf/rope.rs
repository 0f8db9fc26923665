//! Rope scaling in a GGUF file.
//!
//! Llama 3's rule is not written down there: `rope_freqs.weight` holds what each frequency is
//! divided by. The rule's parameters are found from those numbers, so that the model can be saved
//! as a Hugging Face checkpoint.

use std::f64::consts::TAU;

use super::{Gguf, as_number};
use crate::{Result, RopeScaling};

pub(super) const FREQUENCIES: &str = "rope_freqs.weight";

impl Gguf {
    pub(super) fn rope_scaling(&self, head_dim: usize, theta: f64) -> Result<RopeScaling> {
        let factor = self.key("rope.scaling.factor").and_then(as_number);
        let architecture = self.string("general.architecture").unwrap_or_default();
        let kind = self.string(&format!("{architecture}.rope.scaling.type"));
        let named = match (kind, factor) {
            (None | Some("none"), _) => RopeScaling::None,
            (Some("linear"), Some(factor)) => RopeScaling::Linear { factor },
            (Some(other), _) => {
                return Err(self.problem(format!(
                    "rope.scaling.type is {other}, supported: none, linear with its factor, and \
                     Llama 3's {FREQUENCIES}"
                )));
            }
        };
        if !self.header.tensors.contains_key(FREQUENCIES) {
            return Ok(named);
        }
        let divisors = self.dequantise(FREQUENCIES)?.flatten_all()?.to_vec1::<f32>()?;
        if named != RopeScaling::None || divisors.len() != head_dim / 2 {
            return Err(self.problem(format!(
                "{FREQUENCIES} has {} numbers for heads of width {head_dim}, and rope.scaling.type \
                 is {}",
                divisors.len(),
                kind.unwrap_or("none")
            )));
        }
        fit(&divisors, theta)
            .ok_or_else(|| self.problem(format!("{FREQUENCIES} does not follow Llama 3's rule")))
    }
}

/// The parameters of Llama 3's rule that give `divisors`.
///
/// A frequency is divided by 1 / ((1 - s) / factor + s) where the smoothness s, clamped to 0..1, is
/// (original / wavelength - low) / (high - low). On the ramp, s is a line over 1 / wavelength; the
/// rule only depends on ratios, so `low` is 1 and the line gives `high` and `original`.
fn fit(divisors: &[f32], theta: f64) -> Option<RopeScaling> {
    let largest = f64::from(divisors.iter().copied().fold(0.0, f32::max));
    if divisors.iter().all(|&d| (d - 1.0).abs() < 1e-6) {
        return Some(RopeScaling::None);
    }
    if divisors.iter().all(|&d| (f64::from(d) - largest).abs() < 1e-5 * largest) {
        return Some(RopeScaling::Linear { factor: largest });
    }
    let per_length = |i: usize| theta.powf(-(i as f64) / divisors.len() as f64) / TAU;
    let ramp: Vec<(f64, f64)> = (0..divisors.len())
        .map(|i| {
            let divisor = f64::from(divisors[i]);
            (per_length(i), (1.0 / divisor - 1.0 / largest) / (1.0 - 1.0 / largest))
        })
        .filter(|(_, s)| (1e-4..1.0 - 1e-4).contains(s))
        .collect();
    // Too small a head has no two frequencies on the ramp; then the published models' numbers may
    // still be the ones.
    let (high, original) =
        line(&ramp).map_or((4.0, 8192.0), |(slope, offset)| (1.0 - 1.0 / offset, -slope / offset));
    if !(high > 1.0 && original >= 1.0) {
        return None;
    }
    let high = nearest(high);
    let original = original.round();
    let follows = divisors.iter().enumerate().all(|(i, &divisor)| {
        let s = ((original * per_length(i) - 1.0) / (high - 1.0)).clamp(0.0, 1.0);
        let expected = 1.0 / ((1.0 - s) / largest + s);
        (f64::from(divisor) - expected).abs() < 1e-3 * expected
    });
    follows.then_some(RopeScaling::Llama3 {
        factor: largest,
        low_freq_factor: 1.0,
        high_freq_factor: high,
        original_context: original as usize,
    })
}

/// Slope and offset of the least-squares line.
fn line(points: &[(f64, f64)]) -> Option<(f64, f64)> {
    if points.len() < 2 {
        return None;
    }
    let n = points.len() as f64;
    let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let spread: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    let slope = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum::<f64>() / spread;
    Some((slope, y - slope * x))
}

/// A whole number where one is close, since f32 blurs the fifth digit.
fn nearest(x: f64) -> f64 {
    if (x - x.round()).abs() < 1e-3 * x { x.round() } else { x }
}
