//! Work on single rows: the norm, the rotation, and the gated activation.

use super::exp::{exp, swiglu_lanes, swiglu_slopes};
use super::simd::{Kernel, LANES, Simd, dispatch};

/// `x / sqrt(mean(x^2) + eps) * weight` for each row of `x`, into `y`.
///
/// Shapes: `x` and `y` (rows, width), `weight` (width).
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f64, y: &mut [f32]) {
    y.copy_from_slice(x);
    rms_norm_in_place(y, weight, eps);
}

/// [`rms_norm`] over its input.
pub fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f64) {
    struct Norm<'a> {
        x: &'a mut [f32],
        weight: &'a [f32],
        eps: f64,
    }
    impl Kernel for Norm<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let width = self.weight.len();
            for x in self.x.chunks_exact_mut(width) {
                let mean = f64::from(dot(l, x, x)) / width as f64;
                let scale = (1.0 / (mean + self.eps).sqrt()) as f32;
                for (x, w) in x.iter_mut().zip(self.weight) {
                    *x = *x * scale * w;
                }
            }
        }
    }
    dispatch(Norm { x, weight, eps });
}

/// Adds the gradient of [`rms_norm`] in `x`, given that of its result, to `dx`, and that in `weight`
/// to `dw`.
///
/// Shapes: `x`, `dy` and `dx` (rows, width), `weight` and `dw` (width).
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f64,
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    struct Back<'a> {
        x: &'a [f32],
        weight: &'a [f32],
        eps: f64,
        dy: &'a [f32],
        dx: &'a mut [f32],
        dw: &'a mut [f32],
    }
    impl Kernel for Back<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let width = self.weight.len();
            let mut weighted = vec![0.0; width];
            let rows = self.x.chunks_exact(width).zip(self.dy.chunks_exact(width));
            for (dx, (x, dy)) in self.dx.chunks_exact_mut(width).zip(rows) {
                let mean = f64::from(dot(l, x, x)) / width as f64;
                let scale = (1.0 / (mean + self.eps).sqrt()) as f32;
                for ((g, dy), w) in weighted.iter_mut().zip(dy).zip(self.weight) {
                    *g = dy * w * scale;
                }
                let pull = dot(l, &weighted, x) * scale * scale / width as f32;
                for ((dx, g), x) in dx.iter_mut().zip(&weighted).zip(x) {
                    *dx += g - x * pull;
                }
                for ((dw, dy), x) in self.dw.iter_mut().zip(dy).zip(x) {
                    *dw += dy * x * scale;
                }
            }
        }
    }
    dispatch(Back { x, weight, eps, dy, dx, dw });
}

/// The softmax of a row, in place.
pub fn softmax(row: &mut [f32]) {
    struct Softmax<'a>(&'a mut [f32]);
    impl Kernel for Softmax<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let top = largest(l, self.0);
            let (top, mut sums) = (l.splat(top), l.splat(0.0));
            let (chunks, tail) = self.0.as_chunks_mut::<LANES>();
            for chunk in chunks {
                let e = exp(l, l.sub(l.load(chunk), top));
                sums = l.add(sums, e);
                l.store(chunk, e);
            }
            let mut sum = l.sum(sums);
            if !tail.is_empty() {
                let e = exp(l, l.sub(l.load_partial(tail), top));
                l.store_partial(tail, e);
                sum += tail.iter().sum::<f32>();
            }
            let scale = 1.0 / sum;
            for x in self.0 {
                *x *= scale;
            }
        }
    }
    dispatch(Softmax(row));
}

/// The gradient of [`softmax`] in its input, over `dp`, given its result `p` and the gradient `dp`
/// in that.
pub fn softmax_backward(p: &[f32], dp: &mut [f32]) {
    struct Back<'a>(&'a [f32], &'a mut [f32]);
    impl Kernel for Back<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let mean = dot(l, self.0, self.1);
            for (p, dp) in self.0.iter().zip(self.1) {
                *dp = p * (*dp - mean);
            }
        }
    }
    dispatch(Back(p, dp));
}

/// Sum of products.
#[inline(always)]
fn dot<L: Simd>(l: L, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    let mut sum = l.splat(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = l.mul_add(l.load(a), l.load(b), sum);
    }
    if !a_tail.is_empty() {
        sum = l.mul_add(l.load_partial(a_tail), l.load_partial(b_tail), sum);
    }
    l.sum(sum)
}

/// Largest number.
#[inline(always)]
pub(super) fn largest<L: Simd>(l: L, x: &[f32]) -> f32 {
    let (chunks, tail) = x.as_chunks::<LANES>();
    let mut max = l.splat(f32::NEG_INFINITY);
    for chunk in chunks {
        max = l.max(max, l.load(chunk));
    }
    tail.iter().copied().fold(l.max_lane(max), f32::max)
}

/// Rotates the halves of each head against one another, in place.
///
/// Shapes: `x` (heads, head width), `cos` and `sin` (head width / 2).
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in x.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

/// The gradients of [`swiglu`] in `gate` and `up`, over the two, given that of its result.
pub fn swiglu_backward(gate: &mut [f32], up: &mut [f32], grad: &[f32]) {
    struct Slopes<'a>(&'a mut [f32], &'a mut [f32], &'a [f32]);
    impl Kernel for Slopes<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let (gate, gate_tail) = self.0.as_chunks_mut::<LANES>();
            let (up, up_tail) = self.1.as_chunks_mut::<LANES>();
            let (grad, grad_tail) = self.2.as_chunks::<LANES>();
            for ((gate, up), grad) in gate.iter_mut().zip(up).zip(grad) {
                let (dg, du) = swiglu_slopes(l, l.load(gate), l.load(up), l.load(grad));
                l.store(gate, dg);
                l.store(up, du);
            }
            if !gate_tail.is_empty() {
                let [gate, up] = [l.load_partial(gate_tail), l.load_partial(up_tail)];
                let (dg, du) = swiglu_slopes(l, gate, up, l.load_partial(grad_tail));
                l.store_partial(gate_tail, dg);
                l.store_partial(up_tail, du);
            }
        }
    }
    dispatch(Slopes(gate, up, grad));
}

/// `gate * sigmoid(gate) * up`, into `gate`.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    struct SwiGlu<'a>(&'a mut [f32], &'a [f32]);
    impl Kernel for SwiGlu<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let (gate, gate_tail) = self.0.as_chunks_mut::<LANES>();
            let (up, up_tail) = self.1.as_chunks::<LANES>();
            for (gate, up) in gate.iter_mut().zip(up) {
                l.store(gate, swiglu_lanes(l, l.load(gate), l.load(up)));
            }
            if !gate_tail.is_empty() {
                let y = swiglu_lanes(l, l.load_partial(gate_tail), l.load_partial(up_tail));
                l.store_partial(gate_tail, y);
            }
        }
    }
    dispatch(SwiGlu(gate, up));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{noise, on_every_form, worst};

    #[test]
    fn norm_matches_the_formula() {
        on_every_form(|| {
            for width in [1, 6, 16, 37, 128] {
                let (x, w) = (noise(1, 3 * width), noise(2, width));
                let mut y = vec![0.0; 3 * width];
                rms_norm(&x, &w, 1e-5, &mut y);
                let want = x.chunks(width).flat_map(|x| {
                    let mean = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / width as f64;
                    let scale = 1.0 / (mean + 1e-5).sqrt();
                    x.iter()
                        .zip(&w)
                        .map(move |(&x, &w)| f64::from(x) * scale * f64::from(w))
                        .collect::<Vec<_>>()
                });
                assert!(worst(&y, want) < 1e-6);
            }
        });
    }

    #[test]
    fn rotation_and_gate_match_the_formulas() {
        on_every_form(|| {
            let x = noise(3, 24);
            let angles: Vec<f64> = (0..4).map(|i| f64::from(i) * 0.7 + 0.1).collect();
            let (cos, sin): (Vec<f32>, Vec<f32>) =
                angles.iter().map(|a| (a.cos() as f32, a.sin() as f32)).unzip();
            let mut y = x.clone();
            rope(&mut y, &cos, &sin);
            let want = (0..24).map(|i| {
                let (head, j) = (i / 8 * 8, i % 8);
                let (a, b) = (f64::from(x[head + j % 4]), f64::from(x[head + j % 4 + 4]));
                let (s, c) = angles[j % 4].sin_cos();
                if j < 4 { a * c - b * s } else { b * c + a * s }
            });
            assert!(worst(&y, want) < 1e-6);

            let (gate, up) = (noise(4, 45), noise(5, 45));
            let mut y = gate.clone();
            swiglu(&mut y, &up);
            let want = gate.iter().zip(&up).map(|(&g, &u)| {
                let g = f64::from(g);
                g / (1.0 + (-g).exp()) * f64::from(u)
            });
            assert!(worst(&y, want) < 1e-6);
        });
    }
}
