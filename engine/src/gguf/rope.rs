//! Rope scaling in a GGUF file.
//!
//! Llama 3's rule is not written down there: `rope_freqs.weight` holds what each frequency is
//! divided by. The rule's parameters are found from those numbers, so that the model can be saved
//! as a Hugging Face checkpoint.

use std::f64::consts::TAU;

use super::Gguf;
use super::header::Value;
use crate::{Result, RopeScaling};

pub(super) const FREQUENCIES: &str = "rope_freqs.weight";

/// Keys under `rope.` that are read, or that do nothing without `YaRN` and without windows.
const KNOWN: [&str; 9] = [
    "dimension_count",
    "freq_base",
    "freq_base_swa",
    "scale_linear",
    "scaling.type",
    "scaling.factor",
    "scaling.original_context_length",
    "scaling.yarn_beta_fast",
    "scaling.yarn_beta_slow",
];

/// Keys under `rope.` that do nothing at these values.
const NEUTRAL: [(&str, &[f64]); 5] = [
    ("scaling.attn_factor", &[0.0, 1.0]),
    ("scaling.alpha", &[0.0, 1.0]),
    ("scaling.yarn_ext_factor", &[0.0, -1.0]),
    ("scaling.yarn_attn_factor", &[1.0]),
    ("scaling.yarn_log_multiplier", &[0.0]),
];

impl Gguf {
    /// Source: `llama_model_base::load_hparams` of llama.cpp. A factor without a type is linear,
    /// zero is no factor, and `rope.scale_linear` is the older name.
    pub(super) fn rope_scaling(&self, head_dim: usize, theta: f64) -> Result<RopeScaling> {
        self.refuse_other_rope_keys()?;
        let kind = match self.key("rope.scaling.type") {
            None => None,
            Some(Value::String(kind)) => Some(kind.as_str()),
            Some(other) => {
                return Err(
                    self.problem(format!("rope.scaling.type is {other}, expected a string"))
                );
            }
        };
        let factor = match self.number("rope.scaling.factor")? {
            Some(factor) => Some(factor),
            None => self.number("rope.scale_linear")?,
        };
        let factor = factor.filter(|&factor| factor != 0.0);
        let named = match (kind, factor) {
            (Some("none"), _) | (None | Some("linear"), None) => RopeScaling::None,
            (None | Some("linear"), Some(factor)) => RopeScaling::Linear { factor },
            (Some(other), _) => {
                return Err(self.problem(format!(
                    "rope.scaling.type is {other}, supported: none, linear, and Llama 3's \
                     {FREQUENCIES}"
                )));
            }
        };
        if !self.header.tensors.contains_key(FREQUENCIES) {
            return Ok(named);
        }
        let divisors = self.dequantise(FREQUENCIES)?.flatten_all()?.to_vec1::<f32>()?;
        if divisors.len() != head_dim / 2 {
            return Err(self.problem(format!(
                "{FREQUENCIES} has {} numbers for heads of width {head_dim}",
                divisors.len()
            )));
        }
        let fitted = fit(&divisors, theta)
            .ok_or_else(|| self.problem(format!("{FREQUENCIES} does not follow Llama 3's rule")))?;
        match (named, fitted) {
            (RopeScaling::None, scaling) | (scaling, RopeScaling::None) => Ok(scaling),
            (RopeScaling::Linear { factor }, scaling) if is_one(factor) => Ok(scaling),
            _ => Err(self.problem(format!(
                "has {FREQUENCIES} and a rope.scaling.factor besides, only one of them is supported"
            ))),
        }
    }

    /// Refuses every key of the rope that is not read, unless it does nothing at its value.
    fn refuse_other_rope_keys(&self) -> Result<()> {
        let prefix = format!("{}.rope.", self.string("general.architecture").unwrap_or_default());
        for (name, value) in &self.header.metadata {
            let Some(key) = name.strip_prefix(&prefix) else { continue };
            let number = match value {
                Value::Int(number) => Some(*number as f64),
                Value::Float(number) => Some(*number),
                _ => None,
            };
            let neutral = match key {
                // Says how the model came about.
                "scaling.finetuned" => matches!(value, Value::Bool(_)),
                // One section for each axis of a picture; text has none.
                "dimension_sections" => {
                    matches!(value, Value::Numbers(sections) if sections.iter().all(|&n| n == 0))
                }
                _ => NEUTRAL.iter().any(|(name, values)| {
                    *name == key && number.is_some_and(|number| values.contains(&number))
                }),
            };
            if !neutral && !KNOWN.contains(&key) {
                return Err(self.problem(format!(
                    "rope.{key} is {value}, which changes the rotary positions and is not \
                     supported"
                )));
            }
        }
        Ok(())
    }
}

fn is_one(x: f64) -> bool {
    (x - 1.0).abs() < 1e-9
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
