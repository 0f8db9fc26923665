//! Attention of one new row over cached keys and values, one key head at a time.
//!
//! Keys lie in blocks of sixteen positions, transposed, so that sixteen scores come out of one
//! multiply-add; values lie as rows. Sums run over positions in order, whoever else is decoding.

use super::exp::exp;
use super::simd::{Kernel, LANES, Simd, dispatch};

/// Positions in a block: as many as there are lanes.
pub const POSITIONS: usize = LANES;

/// Keys and values of one head at up to sixteen consecutive positions.
#[derive(Debug, Clone, Copy)]
pub struct Block<'a> {
    /// (head width, 16)
    pub keys: &'a [f32],
    /// (16, head width rounded up to sixteen)
    pub values: &'a [f32],
    /// Positions that hold something, at least one.
    pub len: usize,
}

/// `softmax(q k^T / sqrt(head width)) v` for the query heads that share a key head, into `out`.
///
/// Shapes: `queries` and `out` (heads, head width). `scores` is scratch. `block(i)` for `i` below
/// `blocks` yields the cached positions in order.
pub fn attend<'a>(
    queries: &[f32],
    head_dim: usize,
    blocks: usize,
    block: impl Fn(usize) -> Block<'a>,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    scores.resize(4 * blocks * POSITIONS, 0.0);
    for (q, out) in queries.chunks(4 * head_dim).zip(out.chunks_mut(4 * head_dim)) {
        dispatch(Attend { q, head_dim, blocks, block: &block, scores, out });
    }
}

/// Up to four query heads over one key head.
struct Attend<'s, F> {
    q: &'s [f32],
    head_dim: usize,
    blocks: usize,
    block: F,
    scores: &'s mut [f32],
    out: &'s mut [f32],
}

impl<'a, F: Fn(usize) -> Block<'a>> Kernel for Attend<'_, F> {
    type Output = ();
    #[inline(always)]
    fn run<L: Simd>(mut self, l: L) {
        match self.q.len() / self.head_dim {
            1 => self.heads::<L, 1>(l),
            2 => self.heads::<L, 2>(l),
            3 => self.heads::<L, 3>(l),
            _ => self.heads::<L, 4>(l),
        }
    }
}

impl<'a, F: Fn(usize) -> Block<'a>> Attend<'_, F> {
    #[inline(always)]
    fn heads<L: Simd, const G: usize>(&mut self, l: L) {
        let scales = self.scores::<L, G>(l);
        let padded = self.head_dim.next_multiple_of(LANES);
        let mut at = 0;
        while at + 4 * LANES <= padded {
            match G {
                1 => self.mix::<L, G, 4, 2>(l, at, scales),
                _ => self.mix::<L, G, 4, 1>(l, at, scales),
            }
            at += 4 * LANES;
        }
        if at + 2 * LANES <= padded {
            self.mix::<L, G, 2, 2>(l, at, scales);
            at += 2 * LANES;
        }
        if at < padded {
            self.mix::<L, G, 1, 4>(l, at, scales);
        }
    }

    /// Exponentials of the scores less their maximum, and one over each head's sum of them.
    #[inline(always)]
    fn scores<L: Simd, const G: usize>(&mut self, l: L) -> [f32; G] {
        let (hd, scale) = (self.head_dim, 1.0 / (self.head_dim as f32).sqrt());
        let mut max = [l.splat(f32::NEG_INFINITY); G];
        for i in 0..self.blocks {
            let block = (self.block)(i);
            let (keys, _) = block.keys[..hd * LANES].as_chunks::<LANES>();
            let sums = dots::<L, G>(l, self.q, keys);
            for g in 0..G {
                let to = &mut self.scores[(g * self.blocks + i) * LANES..][..LANES];
                l.store_partial(to, l.mul(sums[g], l.splat(scale)));
                to[block.len..].fill(f32::NEG_INFINITY);
                max[g] = l.max(max[g], l.load_partial(to));
            }
        }
        let mut scales = [0.0; G];
        for g in 0..G {
            let top = l.splat(l.max_lane(max[g]));
            let row = &mut self.scores[g * self.blocks * LANES..][..self.blocks * LANES];
            let mut sum = l.splat(0.0);
            for chunk in row.as_chunks_mut::<LANES>().0 {
                let e = exp(l, l.sub(l.load(chunk), top));
                sum = l.add(sum, e);
                l.store(chunk, e);
            }
            scales[g] = 1.0 / l.sum(sum);
        }
        scales
    }

    /// Weighted sums of the values' columns from `at`, `C` times sixteen of them, in `S` parts by
    /// position, so that one sum need not wait for another.
    #[inline(always)]
    fn mix<L: Simd, const G: usize, const C: usize, const S: usize>(
        &mut self,
        l: L,
        at: usize,
        scales: [f32; G],
    ) {
        let padded = self.head_dim.next_multiple_of(LANES);
        let mut sums = [[[l.splat(0.0); C]; G]; S];
        for i in 0..self.blocks {
            let block = (self.block)(i);
            let mut weights = [&[] as &[f32]; G];
            for g in 0..G {
                weights[g] = &self.scores[(g * self.blocks + i) * LANES..][..LANES];
            }
            let mut p = 0;
            while p + S <= block.len {
                for s in 0..S {
                    add::<L, G, C>(l, &mut sums[s], block.values, padded, at, p + s, weights);
                }
                p += S;
            }
            while p < block.len {
                add::<L, G, C>(l, &mut sums[0], block.values, padded, at, p, weights);
                p += 1;
            }
        }
        for g in 0..G {
            for c in 0..C {
                let mut sum = sums[0][g][c];
                for s in 1..S {
                    sum = l.add(sum, sums[s][g][c]);
                }
                let from = at + c * LANES;
                let to = (from + LANES).min(self.head_dim);
                let out = &mut self.out[g * self.head_dim..][from..to];
                l.store_partial(out, l.mul(sum, l.splat(scales[g])));
            }
        }
    }
}

/// Scores of sixteen positions for each head, in parts by component of the head, so that one sum
/// need not wait for another.
#[inline(always)]
fn dots<L: Simd, const G: usize>(l: L, q: &[f32], keys: &[[f32; LANES]]) -> [L::V; G] {
    let hd = keys.len();
    let mut sums = [[l.splat(0.0); 4]; G];
    let (chunks, tail) = keys.as_chunks::<4>();
    let mut heads = [&[] as &[f32]; G];
    for g in 0..G {
        heads[g] = &q[g * hd..][..hd];
    }
    for (i, chunk) in chunks.iter().enumerate() {
        for (s, key) in chunk.iter().enumerate() {
            let key = l.load(key);
            for g in 0..G {
                sums[g][s] = l.mul_add(l.splat(heads[g][4 * i + s]), key, sums[g][s]);
            }
        }
    }
    for (i, key) in tail.iter().enumerate() {
        for g in 0..G {
            sums[g][i] = l.mul_add(l.splat(heads[g][hd - tail.len() + i]), l.load(key), sums[g][i]);
        }
    }
    let mut out = [l.splat(0.0); G];
    for g in 0..G {
        out[g] = l.add(l.add(sums[g][0], sums[g][1]), l.add(sums[g][2], sums[g][3]));
    }
    out
}

/// Adds one position's values, weighted, to each head's sums.
#[inline(always)]
fn add<L: Simd, const G: usize, const C: usize>(
    l: L,
    sums: &mut [[L::V; C]; G],
    values: &[f32],
    padded: usize,
    at: usize,
    p: usize,
    weights: [&[f32]; G],
) {
    let (row, _) = values[p * padded + at..][..C * LANES].as_chunks::<LANES>();
    for g in 0..G {
        let weight = l.splat(weights[g][p]);
        for c in 0..C {
            sums[g][c] = l.mul_add(weight, l.load(&row[c]), sums[g][c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{noise, on_every_form, worst};

    /// Positions come in two runs, each from the start of a block, as prompt and completion do.
    fn check(heads: usize, hd: usize, runs: [usize; 2]) {
        let total = runs[0] + runs[1];
        let (q, k, v) = (noise(1, heads * hd), noise(2, total * hd), noise(3, total * hd));
        let padded = hd.next_multiple_of(16);
        let mut blocks = Vec::new();
        for (start, len) in [(0, runs[0]), (runs[0], runs[1])] {
            for from in (0..len).step_by(16) {
                let held = (len - from).min(16);
                // What lies beyond the held positions must not matter.
                let (mut keys, mut values) = (vec![f32::NAN; hd * 16], vec![f32::NAN; 16 * padded]);
                for p in 0..held {
                    for d in 0..hd {
                        keys[d * 16 + p] = k[(start + from + p) * hd + d];
                        values[p * padded + d] = v[(start + from + p) * hd + d];
                    }
                }
                blocks.push((keys, values, held));
            }
        }
        let block = |i: usize| {
            let (keys, values, len) = &blocks[i];
            Block { keys, values, len: *len }
        };
        let mut out = vec![0.0; heads * hd];
        attend(&q, hd, blocks.len(), block, &mut Vec::new(), &mut out);
        let want = (0..heads).flat_map(|h| {
            let dot = |p: usize| -> f64 {
                (0..hd).map(|d| f64::from(q[h * hd + d]) * f64::from(k[p * hd + d])).sum()
            };
            let e: Vec<f64> = (0..total).map(|p| (dot(p) / (hd as f64).sqrt()).exp()).collect();
            let sum: f64 = e.iter().sum();
            let v = &v;
            (0..hd)
                .map(move |d| (0..total).map(|p| e[p] / sum * f64::from(v[p * hd + d])).sum())
                .collect::<Vec<f64>>()
        });
        assert!(worst(&out, want) < 3e-6, "{heads} heads of {hd} over {runs:?}");
    }

    #[test]
    fn matches_loops_in_double_precision() {
        on_every_form(|| {
            for hd in [1, 5, 8, 16, 32, 48, 64, 80, 128] {
                for heads in [1, 2, 3, 4, 7] {
                    check(heads, hd, [13, 5]);
                }
            }
            check(3, 64, [0, 1]);
            check(3, 64, [32, 17]);
            check(3, 64, [300, 700]);
        });
    }
}
