//! What a row of logits says: the distribution at a temperature, and its sums.

use super::exp::exp;
use super::rows::largest;
use super::simd::{Kernel, LANES, Simd, dispatch};

/// The softmax of a row of logits at a temperature, in one pass after the maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distribution {
    /// Factor from logits to exponents: one over the temperature.
    scale: f64,
    /// Largest logit.
    max: f32,
    /// Logarithm of the sum of `exp((logit - max) / temperature)`.
    log_sum: f64,
    /// Entropy, in nats.
    pub entropy: f64,
    /// `sum p^2 (ln p + entropy)`, the sum behind the entropy sensitivity (arXiv 2606.19236,
    /// section 3).
    pub phi_sum: f64,
}

impl Distribution {
    /// Reads `logits` at `temperature`, which is above zero. A NaN or a positive infinity among the
    /// logits makes every result NaN.
    pub fn new(logits: &[f32], temperature: f64) -> Self {
        Self::read(logits, temperature, None)
    }

    /// [`Self::new`], and `exp((logit - max) / temperature)` for each logit into `weights`: they are
    /// proportional to the probabilities, and 1 for the likeliest.
    pub fn with_weights(logits: &[f32], temperature: f64, weights: &mut [f32]) -> Self {
        assert_eq!(logits.len(), weights.len(), "one weight for each logit");
        Self::read(logits, temperature, Some(weights))
    }

    /// With `d = (logit - max) / temperature`, `e = exp(d)`, `S = sum e`: the entropy is
    /// `H = ln S - sum(e d) / S`, and since `ln p = d - ln S`, the sum behind Phi is
    /// `sum(e^2 d) / S^2 + (H - ln S) sum(e^2) / S^2`.
    fn read(logits: &[f32], temperature: f64, weights: Option<&mut [f32]>) -> Self {
        let scale = 1.0 / temperature;
        let (max, [e, ed, ee, eed]) = dispatch(Sums { logits, scale: scale as f32, weights });
        let log_sum = e.ln();
        let entropy = log_sum - ed / e;
        let phi_sum = (eed + (entropy - log_sum) * ee) / (e * e);
        Self { scale, max, log_sum, entropy, phi_sum }
    }

    /// Log-probability, in nats, of a token with this logit.
    pub fn log_prob(&self, logit: f32) -> f64 {
        (f64::from(logit) - f64::from(self.max)) * self.scale - self.log_sum
    }

    /// Whether every logit was a number and none infinitely large.
    pub fn is_finite(&self) -> bool {
        self.log_sum.is_finite() && self.entropy.is_finite() && self.phi_sum.is_finite()
    }
}

/// Largest logit of a part of a row, and with `d = logit - max`, `e = exp(d)` the sums of `e`, `e d`,
/// `e^2`, `e^2 d` over the part.
pub fn sums(logits: &[f32]) -> (f32, [f64; 4]) {
    dispatch(Sums { logits, scale: 1.0, weights: None })
}

/// Lane sums are added up in double precision after this many steps of sixteen.
const STEPS: usize = 32;

/// Largest logit, then the sums of `e`, `e d`, `e^2`, `e^2 d`.
struct Sums<'a> {
    logits: &'a [f32],
    scale: f32,
    weights: Option<&'a mut [f32]>,
}

impl Kernel for Sums<'_> {
    type Output = (f32, [f64; 4]);
    #[inline(always)]
    fn run<L: Simd>(mut self, l: L) -> (f32, [f64; 4]) {
        let max = largest(l, self.logits);
        let (scale, top) = (l.splat(self.scale), l.splat(max));
        // Exponentials vanish below this; a bound keeps `0 * infinity` away. A NaN passes.
        let least = l.splat(-104.0);
        let mut total = [0.0; 4];
        for (i, block) in self.logits.chunks(STEPS * LANES).enumerate() {
            let mut sums = [l.splat(0.0); 4];
            let (chunks, tail) = block.as_chunks::<LANES>();
            for (k, chunk) in chunks.iter().enumerate() {
                let d = l.max(least, l.mul(l.sub(l.load(chunk), top), scale));
                let e = exp(l, d);
                add(l, &mut sums, d, e);
                if let Some(weights) = &mut self.weights {
                    let at = (i * STEPS + k) * LANES;
                    l.store_partial(&mut weights[at..at + LANES], e);
                }
            }
            if !tail.is_empty() {
                // Missing lanes are minus infinity, hence exactly zero.
                let mut full = [f32::NEG_INFINITY; LANES];
                full[..tail.len()].copy_from_slice(tail);
                let d = l.max(least, l.mul(l.sub(l.load(&full), top), scale));
                let e = exp(l, d);
                add(l, &mut sums, d, e);
                if let Some(weights) = &mut self.weights {
                    let at = (i * STEPS + chunks.len()) * LANES;
                    l.store_partial(&mut weights[at..], e);
                }
            }
            for (total, sum) in total.iter_mut().zip(l.sum4(sums)) {
                *total += f64::from(sum);
            }
        }
        (max, total)
    }
}

#[inline(always)]
fn add<L: Simd>(l: L, sums: &mut [L::V; 4], d: L::V, e: L::V) {
    let ee = l.mul(e, e);
    sums[0] = l.add(sums[0], e);
    sums[1] = l.mul_add(e, d, sums[1]);
    sums[2] = l.add(sums[2], ee);
    sums[3] = l.mul_add(ee, d, sums[3]);
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::testing::{noise, on_every_form};

    /// Log-probabilities, entropy and the sum behind Phi, in double precision.
    fn plain(logits: &[f32], temperature: f64) -> (Vec<f64>, f64, f64) {
        let z: Vec<f64> = logits.iter().map(|&l| f64::from(l) / temperature).collect();
        let max = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = z.iter().map(|z| (z - max).exp()).sum::<f64>().ln() + max;
        let log_probs: Vec<f64> = z.iter().map(|z| z - log_sum).collect();
        let entropy = -log_probs.iter().map(|l| l.exp() * l).sum::<f64>();
        let phi = log_probs.iter().map(|l| (2.0 * l).exp() * (l + entropy)).sum();
        (log_probs, entropy, phi)
    }

    #[test]
    fn matches_double_precision_on_wide_rows() {
        on_every_form(|| {
            for (size, spread, temperature) in [
                (7, 1.0, 1.0),
                (64, 3.0, 0.7),
                (1000, 5.0, 1.3),
                (49_152, 4.0, 1.0),
                (151_936, 12.0, 0.6),
            ] {
                let logits: Vec<f32> = noise(9, size).iter().map(|x| x * spread + 2.0).collect();
                let (log_probs, entropy, phi) = plain(&logits, temperature);
                let mut weights = vec![0.0; size];
                let got = Distribution::with_weights(&logits, temperature, &mut weights);
                assert_eq!(got, Distribution::new(&logits, temperature));
                assert!((got.entropy - entropy).abs() < 1e-5, "{size}: {} {entropy}", got.entropy);
                assert!((got.phi_sum - phi).abs() < 1e-6, "{size}: {} {phi}", got.phi_sum);
                let top = log_probs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                for ((&logit, &want), &weight) in logits.iter().zip(&log_probs).zip(&weights) {
                    assert!((got.log_prob(logit) - want).abs() < 1e-5);
                    assert!((f64::from(weight) - (want - top).exp()).abs() < 1e-5);
                }
            }
        });
    }

    #[test]
    fn certain_and_masked_and_broken_rows() {
        on_every_form(|| {
            let certain = Distribution::new(&[-300.0, 200.0, -300.0], 1.0);
            assert_eq!(
                (certain.log_prob(200.0), certain.entropy, certain.phi_sum),
                (0.0, 0.0, 0.0)
            );
            let mut weights = [0.0; 3];
            let masked =
                Distribution::with_weights(&[f32::NEG_INFINITY, 1.0, 1.0], 0.5, &mut weights);
            assert_eq!(weights, [0.0, 1.0, 1.0]);
            assert!((masked.entropy - std::f64::consts::LN_2).abs() < 1e-7);
            for broken in [f32::NAN, f32::INFINITY] {
                for at in [0, 3, 17, 39] {
                    let mut logits = noise(1, 40);
                    logits[at] = broken;
                    assert!(!Distribution::new(&logits, 1.0).is_finite(), "{broken} at {at}");
                }
            }
        });
    }
}
