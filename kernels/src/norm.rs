//! RMS norm, one row at a time.

use crate::simd::{Kernel, LANES, Simd, dispatch};

/// `x / sqrt(mean(x^2) + eps) * weight` for each row of `x`, into `y`.
///
/// Shapes: `x` and `y` (rows, width), `weight` (width).
///
/// # Panics
///
/// Panics when `x` and `y` differ in length.
///
/// A row whose squares overflow `f32` becomes NaN, as one with a NaN does: zeros would hide that
/// the model has diverged.
///
/// Source: arXiv 1910.07467, equation 4.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f64, y: &mut [f32]) {
    y.copy_from_slice(x);
    rms_norm_in_place(y, weight, eps);
}

/// [`rms_norm`] over its input.
fn rms_norm_in_place(x: &mut [f32], weight: &[f32], eps: f64) {
    struct Norm<'a> {
        x: &'a mut [f32],
        weight: &'a [f32],
        eps: f64,
    }
    impl Kernel for Norm<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            for x in self.x.chunks_exact_mut(self.weight.len()) {
                let scale = scale(s, x, self.eps);
                for (x, w) in x.iter_mut().zip(self.weight) {
                    *x = *x * scale * w;
                }
            }
        }
    }
    dispatch(Norm { x, weight, eps });
}

/// Adds the gradient of [`rms_norm`] in `x`, given that of its result, to `dx`, and that in
/// `weight` to `dw`.
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
    struct Backward<'a> {
        x: &'a [f32],
        weight: &'a [f32],
        eps: f64,
        dy: &'a [f32],
        dx: &'a mut [f32],
        dw: &'a mut [f32],
    }
    impl Kernel for Backward<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let width = self.weight.len();
            let mut weighted = vec![0.0; width];
            let rows = self.x.chunks_exact(width).zip(self.dy.chunks_exact(width));
            for (dx, (x, dy)) in self.dx.chunks_exact_mut(width).zip(rows) {
                let scale = scale(s, x, self.eps);
                for ((g, dy), w) in weighted.iter_mut().zip(dy).zip(self.weight) {
                    *g = dy * w * scale;
                }
                let pull = dot(s, &weighted, x) * scale * scale / width as f32;
                for ((dx, g), x) in dx.iter_mut().zip(&weighted).zip(x) {
                    *dx += g - x * pull;
                }
                for ((dw, dy), x) in self.dw.iter_mut().zip(dy).zip(x) {
                    *dw += dy * x * scale;
                }
            }
        }
    }
    dispatch(Backward { x, weight, eps, dy, dx, dw });
}

/// `1 / sqrt(mean(x^2) + eps)` of a row; NaN where the sum overflows.
#[inline(always)]
fn scale<S: Simd>(s: S, x: &[f32], eps: f64) -> f32 {
    let mean = f64::from(dot(s, x, x)) / x.len() as f64;
    if mean == f64::INFINITY { f32::NAN } else { (1.0 / (mean + eps).sqrt()) as f32 }
}

/// Sum of products: sixteen lane sums in ascending order, then [`Simd::sum`].
#[inline(always)]
pub(crate) fn dot<S: Simd>(s: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, a_tail) = a.as_chunks::<LANES>();
    let (b, b_tail) = b.as_chunks::<LANES>();
    let mut sum = s.splat(0.0);
    for (a, b) in a.iter().zip(b) {
        sum = s.mul_add(s.load(a), s.load(b), sum);
    }
    if !a_tail.is_empty() {
        sum = s.mul_add(s.load_partial(a_tail), s.load_partial(b_tail), sum);
    }
    s.sum(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, noise, on_every_form, same_on_every_form, worst};

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
    fn the_gradient_is_the_slope_of_the_norm() {
        on_every_form(|| {
            for width in [1, 6, 37] {
                let [x, dy] = [noise(1, 2 * width), noise(3, 2 * width)];
                let w = noise(2, width);
                let (mut dx, mut dw) = (vec![1.0; 2 * width], vec![2.0; width]);
                rms_norm_backward(&x, &w, 1e-5, &dy, &mut dx, &mut dw);
                let loss = |x: &[f64], w: &[f64]| -> f64 {
                    let rows = x.chunks(width).zip(dy.chunks(width));
                    let row = |(x, dy): (&[f64], &[f32])| {
                        let mean = x.iter().map(|x| x * x).sum::<f64>() / width as f64;
                        let scale = 1.0 / (mean + 1e-5).sqrt();
                        let terms = x.iter().zip(w).zip(dy);
                        terms.map(|((x, w), &dy)| x * scale * w * f64::from(dy)).sum::<f64>()
                    };
                    rows.map(row).sum()
                };
                let [x, w] = [&x, &w].map(|v| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>());
                let slope = |f: &dyn Fn(f64) -> f64| (f(1e-4) - f(-1e-4)) / 2e-4;
                let moved = |v: &[f64], i: usize, h: f64| {
                    let mut v = v.to_vec();
                    v[i] += h;
                    v
                };
                let want = (0..x.len()).map(|i| 1.0 + slope(&|h| loss(&moved(&x, i, h), &w)));
                assert!(worst(&dx, want) < 1e-5);
                let want = (0..width).map(|i| 2.0 + slope(&|h| loss(&x, &moved(&w, i, h))));
                assert!(worst(&dw, want) < 1e-5);
            }
        });
    }

    #[test]
    fn a_row_whose_squares_overflow_is_no_number() {
        on_every_form(|| {
            let (mut x, w) = (noise(1, 2 * 37), noise(2, 37));
            x[40] = 2e19;
            let mut y = vec![0.0; x.len()];
            rms_norm(&x, &w, 1e-5, &mut y);
            assert!(y[..37].iter().all(|y| y.is_finite()) && y[37..].iter().all(|y| y.is_nan()));
            let (mut dx, mut dw) = (vec![0.0; x.len()], vec![0.0; 37]);
            rms_norm_backward(&x, &w, 1e-5, &noise(3, 2 * 37), &mut dx, &mut dw);
            assert!(dx[37..].iter().chain(&dw).all(|d| d.is_nan()));
        });
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_among_others_and_in_every_form() {
        same_on_every_form(|| {
            let (x, w) = (noise(1, 5 * 37), noise(2, 37));
            let mut y = vec![0.0; x.len()];
            rms_norm(&x, &w, 1e-5, &mut y);
            for (x, y) in x.chunks(37).zip(y.chunks(37)) {
                let mut alone = x.to_vec();
                rms_norm_in_place(&mut alone, &w, 1e-5);
                assert_eq!(bits(&alone), bits(y));
            }
            bits(&y)
        });
    }
}
