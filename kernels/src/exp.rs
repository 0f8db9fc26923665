//! The exponential.

use super::simd::{Kernel, LANES, SHIFT, Simd, dispatch};

/// Replaces each number by its exponential.
///
/// Relative error below 1.5e-7 (two units in the last place) where the result is a normal number;
/// below -104 the result is 0, above 88.73 infinite, and a NaN stays.
pub fn exp_in_place(x: &mut [f32]) {
    struct Exp<'a>(&'a mut [f32]);
    impl Kernel for Exp<'_> {
        type Output = ();
        #[inline(always)]
        fn run<L: Simd>(self, l: L) {
            let (chunks, tail) = self.0.as_chunks_mut::<LANES>();
            for chunk in chunks {
                l.store(chunk, exp(l, l.load(chunk)));
            }
            if !tail.is_empty() {
                let y = exp(l, l.load_partial(tail));
                l.store_partial(tail, y);
            }
        }
    }
    dispatch(Exp(x));
}

/// The exponential of each lane.
///
/// `e^x = 2^n e^r` with `n` whole and `|r| <= ln 2 / 2`; `e^r` is `1 + r + r^2 q(r)`, with `q` of
/// degree four least in its largest relative error (3.1e-9), found by the Remez exchange.
#[inline(always)]
pub(super) fn exp<L: Simd>(l: L, x: L::V) -> L::V {
    // `x` second, so that a NaN passes.
    let x = l.min(l.splat(89.0), l.max(l.splat(-104.0), x));
    let shifted = l.mul_add(x, l.splat(std::f32::consts::LOG2_E), l.splat(SHIFT));
    let n = l.sub(shifted, l.splat(SHIFT));
    // ln 2 in two parts; the first has so few bits that its product with `n` is exact.
    let r = l.mul_add(n, l.splat(-0.693_359_4), x);
    let r = l.mul_add(n, l.splat(2.121_944_4e-4), r);
    let mut q = l.splat(Q[4]);
    q = l.mul_add(q, r, l.splat(Q[3]));
    q = l.mul_add(q, r, l.splat(Q[2]));
    q = l.mul_add(q, r, l.splat(Q[1]));
    q = l.mul_add(q, r, l.splat(Q[0]));
    let y = l.add(l.mul_add(l.mul(r, r), q, r), l.splat(1.0));
    // Two factors, because 2^n alone leaves the range of `f32` at both ends.
    let [a, b] = l.power_of_two(shifted);
    l.mul(l.mul(y, a), b)
}

const Q: [f32; 5] = [0.499_999_93, 0.166_665_2, 0.041_668_4, 0.008_368_851, 0.001_381_433];

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these values are exact")]
mod tests {
    use super::*;
    use crate::testing::on_every_form;

    #[test]
    fn exp_is_within_its_bound() {
        on_every_form(|| {
            let inputs: Vec<f32> = (0..400_000).map(|i| -87.3 + i as f32 * 4.4e-4).collect();
            let mut outputs = inputs.clone();
            exp_in_place(&mut outputs);
            let worst = inputs
                .iter()
                .zip(&outputs)
                .map(|(&x, &y)| {
                    let want = f64::from(x).exp();
                    ((f64::from(y) - want) / want).abs()
                })
                .max_by(f64::total_cmp)
                .unwrap();
            assert!(worst < 1.5e-7, "worst relative error {worst:e}");
        });
    }

    #[test]
    fn exp_keeps_the_edges() {
        on_every_form(|| {
            let mut x =
                [f32::NEG_INFINITY, -1e30, -104.0, -95.0, 0.0, 88.7, 89.5, f32::INFINITY, f32::NAN];
            exp_in_place(&mut x);
            assert_eq!(x[..3], [0.0; 3]);
            assert!((f64::from(x[3]) / (-95.0f64).exp() - 1.0).abs() < 1e-3, "{}", x[3]);
            assert_eq!(x[4], 1.0);
            assert!((f64::from(x[5]) / f64::from(88.7f32).exp() - 1.0).abs() < 2e-7);
            assert_eq!(x[6..8], [f32::INFINITY; 2]);
            assert!(x[8].is_nan());
        });
    }
}
