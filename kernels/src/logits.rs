//! Statistics of logits: the distribution at a temperature, its entropy, and the sum behind Phi.
//!
//! A row is read in chunks of [`CHUNK`] logits in ascending order. The sampler holds whole rows and
//! the chunked head holds one chunk at a time; both use this code, so both get the same bits.

use crate::exp::exp;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// Logits in a chunk of the vocabulary.
pub const CHUNK: usize = 2048;

/// Lane sums are added up in double precision after this many vectors.
const VECTORS: usize = 32;

/// Sums over the part of a row that has been read. With `z = logit / temperature` and
/// `d = z - max`:
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitStats {
    /// Largest `z`.
    pub max: f64,
    /// `sum e^d`
    pub exp: f64,
    /// `sum e^d d`
    pub weighted: f64,
    /// `sum e^(2 d)`
    pub square: f64,
    /// `sum e^(2 d) d`
    pub square_weighted: f64,
}

impl LogitStats {
    /// Of no logits.
    pub const EMPTY: Self =
        Self { max: f64::NEG_INFINITY, exp: 0.0, weighted: 0.0, square: 0.0, square_weighted: 0.0 };

    /// Of one chunk. A NaN or a positive infinity among the logits makes the sums NaN.
    ///
    /// `scale` is that of [`scale`].
    ///
    /// # Panics
    ///
    /// Panics when there are more than [`CHUNK`] logits.
    pub fn of_chunk(logits: &[f32], scale: f32) -> Self {
        assert!(logits.len() <= CHUNK, "at most one chunk of {CHUNK} logits");
        let max = dispatch(Largest(logits));
        Self::read(logits, scale, max, None)
    }

    /// Of one chunk whose largest logit is known.
    fn read(logits: &[f32], scale: f32, largest: f32, weights: Option<ExpOutput<'_>>) -> Self {
        // Rounding keeps the order, so the largest logit has the largest product.
        let max = largest * scale;
        let [exp, weighted, square, square_weighted] =
            dispatch(Chunk { logits, scale, max, weights });
        Self { max: f64::from(max), exp, weighted, square, square_weighted }
    }

    /// Of this part and the next one. Rounding depends on the order: merge chunks in ascending
    /// order.
    #[must_use]
    pub fn merged(self, next: Self) -> Self {
        let max = self.max.max(next.max);
        let (a, b) = (self.relative_to(max), next.relative_to(max));
        Self {
            max,
            exp: a.exp + b.exp,
            weighted: a.weighted + b.weighted,
            square: a.square + b.square,
            square_weighted: a.square_weighted + b.square_weighted,
        }
    }

    /// The same sums relative to a maximum that is at least as large.
    fn relative_to(self, max: f64) -> Self {
        if self.exp == 0.0 {
            return Self { max, ..Self::EMPTY };
        }
        let shift = self.max - max;
        if shift == 0.0 {
            return self;
        }
        let (scale, scale_square) = (shift.exp(), (2.0 * shift).exp());
        Self {
            max,
            exp: scale * self.exp,
            weighted: scale * (self.weighted + shift * self.exp),
            square: scale_square * self.square,
            square_weighted: scale_square * (self.square_weighted + shift * self.square),
        }
    }

    /// The distribution whose logits have been read with this `scale`.
    ///
    /// With `S = sum e^d`, the entropy is `H = ln S - sum(e^d d) / S`; since `ln p = d - ln S`, the
    /// sum behind Phi is `sum(e^(2 d) d) / S^2 + (H - ln S) sum(e^(2 d)) / S^2`.
    pub fn finish(self, scale: f32) -> Distribution {
        let log_exp = self.exp.ln();
        let entropy = log_exp - self.weighted / self.exp;
        let total = self.exp * self.exp;
        let phi_sum = (self.square_weighted + (entropy - log_exp) * self.square) / total;
        Distribution { scale, log_sum: self.max + log_exp, entropy, phi_sum }
    }
}

/// The factor from logits to exponents: one over the temperature, which is above zero.
///
/// Every reader multiplies a logit by this number in single precision before anything else.
pub fn scale(temperature: f64) -> f32 {
    (1.0 / temperature) as f32
}

/// The softmax of a row of logits at a temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distribution {
    scale: f32,
    /// Logarithm of the sum of `exp(logit / temperature)`.
    pub log_sum: f64,
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
        let scale = scale(temperature);
        let chunks = logits.chunks(CHUNK).map(|chunk| LogitStats::of_chunk(chunk, scale));
        chunks.fold(LogitStats::EMPTY, LogitStats::merged).finish(scale)
    }

    /// [`Self::new`], and `exp((logit - max) / temperature)` for each logit into `weights`: they
    /// are proportional to the probabilities, and 1 for the likeliest.
    ///
    /// # Panics
    ///
    /// Panics when `weights` and `logits` differ in length.
    pub fn with_weights(logits: &[f32], temperature: f64, weights: &mut [f32]) -> Self {
        assert_eq!(logits.len(), weights.len(), "one weight for each logit");
        let scale = scale(temperature);
        // Finds the global maximum first; rescaling each chunk afterwards takes a fifth longer.
        let tops: Vec<f32> = logits.chunks(CHUNK).map(|chunk| dispatch(Largest(chunk))).collect();
        let top = f64::from(tops.iter().copied().fold(f32::NEG_INFINITY, f32::max) * scale);
        let mut stats = LogitStats::EMPTY;
        let chunks = logits.chunks(CHUNK).zip(weights.chunks_mut(CHUNK)).zip(tops);
        for ((logits, out), largest) in chunks {
            let own = f64::from(largest * scale);
            let factor = if own < top { (own - top).exp() as f32 } else { 1.0 };
            let weights = Some(ExpOutput { out, factor });
            stats = stats.merged(LogitStats::read(logits, scale, largest, weights));
        }
        stats.finish(scale)
    }

    /// Log-probability, in nats, of a token with this logit.
    pub fn log_prob(&self, logit: f32) -> f64 {
        f64::from(logit * self.scale) - self.log_sum
    }

    /// Whether every logit was a number and none infinitely large.
    pub fn is_finite(&self) -> bool {
        self.log_sum.is_finite() && self.entropy.is_finite() && self.phi_sum.is_finite()
    }
}

/// The sums of `e`, `e d`, `e^2`, `e^2 d`.
struct Chunk<'a> {
    logits: &'a [f32],
    scale: f32,
    /// The largest scaled logit.
    max: f32,
    weights: Option<ExpOutput<'a>>,
}

/// Where `factor * e` goes.
struct ExpOutput<'a> {
    out: &'a mut [f32],
    factor: f32,
}

impl Kernel for Chunk<'_> {
    type Output = [f64; 4];
    #[inline(always)]
    fn run<S: Simd>(mut self, s: S) -> [f64; 4] {
        // Without a number above minus infinity all exponentials must vanish; a NaN must stay.
        let top = s.splat(if self.max == f32::NEG_INFINITY { 0.0 } else { self.max });
        let scale = s.splat(self.scale);
        let mut total = [0.0; 4];
        for (i, block) in self.logits.chunks(VECTORS * LANES).enumerate() {
            let mut sums = [s.splat(0.0); 4];
            let (chunks, tail) = block.as_chunks::<LANES>();
            // Indices and functions that are always inlined: an iterator or a closure that is not
            // would be compiled without the instructions.
            if let Some(ExpOutput { out, factor }) = &mut self.weights {
                let factor = s.splat(*factor);
                let out = &mut out[i * VECTORS * LANES..][..block.len()];
                let (out, out_tail) = out.as_chunks_mut::<LANES>();
                for k in 0..chunks.len() {
                    let e = add(s, s.load(&chunks[k]), scale, top, &mut sums);
                    s.store(&mut out[k], s.mul(e, factor));
                }
                if !tail.is_empty() {
                    let e = add(s, s.load(&padded(tail)), scale, top, &mut sums);
                    s.store_partial(out_tail, s.mul(e, factor));
                }
            } else {
                for k in 0..chunks.len() {
                    add(s, s.load(&chunks[k]), scale, top, &mut sums);
                }
                if !tail.is_empty() {
                    add(s, s.load(&padded(tail)), scale, top, &mut sums);
                }
            }
            let sums = s.sum4(sums);
            for i in 0..4 {
                total[i] += f64::from(sums[i]);
            }
        }
        total
    }
}

/// Adds sixteen logits to the sums; yields their exponentials.
#[inline(always)]
fn add<S: Simd>(s: S, logits: S::V, scale: S::V, top: S::V, sums: &mut [S::V; 4]) -> S::V {
    // Exponentials vanish below this; a bound avoids `0 * infinity`. A NaN passes.
    let least = s.splat(-104.0);
    let d = s.max(least, s.sub(s.mul(logits, scale), top));
    let e = exp(s, d);
    let square = s.mul(e, e);
    sums[0] = s.add(sums[0], e);
    sums[1] = s.mul_add(e, d, sums[1]);
    sums[2] = s.add(sums[2], square);
    sums[3] = s.mul_add(square, d, sums[3]);
    e
}

/// The tail of a chunk; what is missing is minus infinity, whose exponential is exactly zero.
#[inline(always)]
fn padded(tail: &[f32]) -> [f32; LANES] {
    let mut full = [f32::NEG_INFINITY; LANES];
    full[..tail.len()].copy_from_slice(tail);
    full
}

/// The largest number; NaNs are left out.
struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        largest(s, self.0)
    }
}

#[inline(always)]
fn largest<S: Simd>(s: S, x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let (fours, rest) = chunks.as_chunks::<4>();
    // Four chains, since one would wait for its own result at every step. New numbers first, so
    // that a NaN is lost.
    let mut max = [s.splat(f32::NEG_INFINITY); 4];
    for four in fours {
        for i in 0..4 {
            max[i] = s.max(s.load(&four[i]), max[i]);
        }
    }
    for x in rest {
        max[0] = s.max(s.load(x), max[0]);
    }
    let max = s.max(s.max(max[0], max[1]), s.max(max[2], max[3]));
    tail.iter().copied().fold(s.max_lane(max), f32::max)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::testing::{noise, on_every_form, same_on_every_form};

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

    const SHAPES: [(usize, f32, f64); 8] = [
        (1, 1.0, 1.0),
        (7, 1.0, 1.0),
        (64, 3.0, 0.7),
        (1000, 5.0, 1.3),
        (2047, 5.0, 1.0),
        (2049, 5.0, 0.6),
        (49_152, 4.0, 1.0),
        (151_936, 12.0, 0.6),
    ];

    #[test]
    fn matches_double_precision_on_wide_rows() {
        on_every_form(|| {
            for (size, spread, temperature) in SHAPES {
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
                assert_eq!(weights.iter().copied().fold(0.0, f32::max), 1.0);
            }
        });
    }

    /// As the chunked head reads them: many rows, one chunk of each at a time.
    #[test]
    fn a_row_read_chunk_by_chunk_among_others_has_the_bits_of_one_read_whole() {
        same_on_every_form(|| {
            let mut seen = Vec::new();
            for (size, spread, temperature) in SHAPES {
                let scale = scale(temperature);
                let rows: Vec<Vec<f32>> = (0..3)
                    .map(|row| noise(row, size).iter().map(|x| x * spread).collect())
                    .collect();
                let mut stats = [LogitStats::EMPTY; 3];
                for start in (0..size).step_by(CHUNK) {
                    let end = size.min(start + CHUNK);
                    for (stats, row) in stats.iter_mut().zip(&rows) {
                        *stats = stats.merged(LogitStats::of_chunk(&row[start..end], scale));
                    }
                }
                for (stats, row) in stats.iter().zip(&rows) {
                    let whole = Distribution::new(row, temperature);
                    assert_eq!(stats.finish(scale), whole);
                    seen.push([whole.log_sum, whole.entropy, whole.phi_sum].map(f64::to_bits));
                }
            }
            seen
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
                for at in [0, 3, 17, 39, 2047, 2048, 3000] {
                    let mut logits = noise(1, 3001);
                    logits[at] = broken;
                    assert!(!Distribution::new(&logits, 1.0).is_finite(), "{broken} at {at}");
                }
            }
            assert!(!Distribution::new(&[f32::NEG_INFINITY; 5], 1.0).is_finite());
            assert!(!Distribution::new(&[f32::NAN; 5], 1.0).is_finite());
        });
    }

    #[test]
    fn a_chunk_without_a_possible_token_changes_nothing() {
        on_every_form(|| {
            let logits = noise(4, 100);
            let alone = Distribution::new(&logits, 0.9);
            for masked in [CHUNK, 2 * CHUNK] {
                let mut row = vec![f32::NEG_INFINITY; masked];
                row.extend_from_slice(&logits);
                let mut weights = vec![7.0; row.len()];
                assert_eq!(Distribution::with_weights(&row, 0.9, &mut weights), alone);
                assert!(weights[..masked].iter().all(|&w| w == 0.0));
                // A NaN in such a chunk is not lost.
                row[5] = f32::NAN;
                assert!(!Distribution::new(&row, 0.9).is_finite());
            }
        });
    }
}
