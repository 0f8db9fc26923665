//! The gated activation of the feed-forward half.

use crate::exp::exp;
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// `gate * sigmoid(gate) * up`, into `gate`.
///
/// Shapes: the same number of values in both.
///
/// # Panics
///
/// Panics when they differ in length.
///
/// Source: arXiv 2002.05202, equation 6.
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    struct Forward<'a>(&'a mut [f32], &'a [f32]);
    impl Kernel for Forward<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let (gate, gate_tail) = self.0.as_chunks_mut::<LANES>();
            let (up, up_tail) = self.1.as_chunks::<LANES>();
            for (gate, up) in gate.iter_mut().zip(up) {
                s.store(gate, forward(s, s.load(gate), s.load(up)));
            }
            if !gate_tail.is_empty() {
                let y = forward(s, s.load_partial(gate_tail), s.load_partial(up_tail));
                s.store_partial(gate_tail, y);
            }
        }
    }
    assert_eq!(gate.len(), up.len(), "as many gates as values");
    dispatch(Forward(gate, up));
}

/// Replaces `gate` and `up` by the gradients of [`swiglu`] in them, given that of its result.
///
/// Shapes: the same number of values in all.
///
/// # Panics
///
/// Panics when they differ in length.
pub fn swiglu_backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    struct Backward<'a>(&'a mut [f32], &'a mut [f32], &'a [f32]);
    impl Kernel for Backward<'_> {
        type Output = ();
        #[inline(always)]
        fn run<S: Simd>(self, s: S) {
            let (gate, gate_tail) = self.0.as_chunks_mut::<LANES>();
            let (up, up_tail) = self.1.as_chunks_mut::<LANES>();
            let (dy, dy_tail) = self.2.as_chunks::<LANES>();
            for ((gate, up), dy) in gate.iter_mut().zip(up).zip(dy) {
                let (d_gate, d_up) = backward(s, s.load(gate), s.load(up), s.load(dy));
                s.store(gate, d_gate);
                s.store(up, d_up);
            }
            if !gate_tail.is_empty() {
                let [gate, up] = [s.load_partial(gate_tail), s.load_partial(up_tail)];
                let (d_gate, d_up) = backward(s, gate, up, s.load_partial(dy_tail));
                s.store_partial(gate_tail, d_gate);
                s.store_partial(up_tail, d_up);
            }
        }
    }
    assert!(gate.len() == up.len() && up.len() == dy.len(), "as many gates as values");
    dispatch(Backward(gate, up, dy));
}

#[inline(always)]
fn forward<S: Simd>(s: S, gate: S::V, up: S::V) -> S::V {
    let one = s.splat(1.0);
    let decay = exp(s, s.sub(s.splat(0.0), gate));
    s.mul(s.div(gate, s.add(one, decay)), up)
}

#[inline(always)]
fn backward<S: Simd>(s: S, gate: S::V, up: S::V, dy: S::V) -> (S::V, S::V) {
    let one = s.splat(1.0);
    let sigmoid = s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), gate))));
    let slope = s.mul(sigmoid, s.mul_add(gate, s.sub(one, sigmoid), one));
    (s.mul(s.mul(dy, up), slope), s.mul(s.mul(dy, gate), sigmoid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, noise, on_every_form, same_on_every_form, worst};

    #[test]
    fn gate_and_gradients_match_the_formulas() {
        on_every_form(|| {
            let [gate, up, dy] = [noise(4, 45), noise(5, 45), noise(6, 45)];
            let mut y = gate.clone();
            swiglu(&mut y, &up);
            let wide = |i: usize| [gate[i], up[i], dy[i]].map(f64::from);
            let want = (0..45).map(|i| {
                let [g, u, _] = wide(i);
                g / (1.0 + (-g).exp()) * u
            });
            assert!(worst(&y, want) < 1e-6);
            let (mut d_gate, mut d_up) = (gate.clone(), up.clone());
            swiglu_backward(&mut d_gate, &mut d_up, &dy);
            let sigmoid = |g: f64| 1.0 / (1.0 + (-g).exp());
            let want = (0..45).map(|i| {
                let [g, u, dy] = wide(i);
                dy * u * sigmoid(g) * (1.0 + g * (1.0 - sigmoid(g)))
            });
            assert!(worst(&d_gate, want) < 2e-6);
            let want = (0..45).map(|i| {
                let [g, _, dy] = wide(i);
                dy * g * sigmoid(g)
            });
            assert!(worst(&d_up, want) < 2e-6);
        });
    }

    #[test]
    fn a_value_has_the_same_bits_wherever_it_is_cut_and_in_every_form() {
        same_on_every_form(|| {
            let [gate, up] = [noise(4, 45), noise(5, 45)];
            let mut whole = gate.clone();
            swiglu(&mut whole, &up);
            for cut in [1, 7, 16, 44] {
                let mut parts = gate.clone();
                let (low, high) = parts.split_at_mut(cut);
                swiglu(low, &up[..cut]);
                swiglu(high, &up[cut..]);
                assert_eq!(bits(&parts), bits(&whole));
            }
            bits(&whole)
        });
    }
}
