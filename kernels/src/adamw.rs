//! The update of `AdamW` on slices.

use crate::simd::{Kernel, Simd, dispatch};

/// The numbers of one update of one parameter: with the gradient `g`,
///
/// `h = clip g`, `m = beta1 m + (1 - beta1) h`, `v = beta2 v + (1 - beta2) h^2`,
/// `w = w - (rate m / (root sqrt(v) + eps) + decay w)`.
///
/// Decay joins the step before it meets the weight: `1 - decay` alone rounds to 1 in `f32` at small
/// rates.
///
/// Source: arXiv 1711.05101, algorithm 2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// What the gradient is multiplied by.
    pub clip: f64,
    /// Learning rate, divided by the bias correction of the first moment.
    pub rate: f64,
    /// One over the root of the bias correction of the second moment.
    pub root: f64,
    /// Learning rate times weight decay.
    pub decay: f64,
}

impl Update {
    /// Updates weights and both moments in place, in `f32`, with each operation rounded by itself:
    /// the same bits on every machine.
    ///
    /// Shapes: all four slices of one length.
    ///
    /// # Panics
    ///
    /// Panics on slices of different lengths.
    pub fn apply(
        &self,
        weight: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
    ) {
        let lengths = [first.len(), second.len(), gradient.len()];
        assert_eq!(lengths, [weight.len(); 3], "one moment and one gradient for each weight");
        dispatch(Slices { update: self, weight, first, second, gradient });
    }
}

struct Slices<'a> {
    update: &'a Update,
    weight: &'a mut [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    gradient: &'a [f32],
}

impl Kernel for Slices<'_> {
    type Output = ();
    /// The compiler vectorises the loop for the instructions that are enabled.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Update { beta1, beta2, eps, clip, rate, root, decay } = *self.update;
        let [beta1, beta2, eps, clip, rate, root, decay, rest1, rest2] =
            [beta1, beta2, eps, clip, rate, root, decay, 1.0 - beta1, 1.0 - beta2]
                .map(|number| number as f32);
        let moments = self.first.iter_mut().zip(self.second.iter_mut());
        for ((w, g), (m, v)) in self.weight.iter_mut().zip(self.gradient).zip(moments) {
            let h = clip * g;
            *m = beta1 * *m + rest1 * h;
            *v = beta2 * *v + rest2 * (h * h);
            *w -= rate * *m / (root * v.sqrt() + eps) + decay * *w;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{bits, noise, same_on_every_form};

    const UPDATE: Update = Update {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        clip: 0.37,
        rate: 3e-3,
        root: 1.7,
        decay: 1e-4,
    };

    /// Weight, first and second moment, gradient, of many magnitudes.
    fn slices(len: usize) -> [Vec<f32>; 4] {
        let wide = |seed| {
            let scales = (-4..3).cycle().map(|power| 10.0_f32.powi(power));
            noise(seed, len).into_iter().zip(scales).map(|(x, scale)| x * scale).collect()
        };
        let second = noise(3, len).into_iter().map(|x| x * x).collect();
        [wide(1), wide(2), second, wide(4)]
    }

    fn updated([mut w, mut m, mut v, g]: [Vec<f32>; 4]) -> [Vec<f32>; 3] {
        UPDATE.apply(&mut w, &mut m, &mut v, &g);
        [w, m, v]
    }

    #[test]
    fn an_update_equals_its_formula_in_double_precision() {
        let [w, m, v, g] = slices(1037);
        let got = updated([w.clone(), m.clone(), v.clone(), g.clone()]);
        for i in 0..w.len() {
            let [w, m, v, g] = [w[i], m[i], v[i], g[i]].map(f64::from);
            let u = &UPDATE;
            let h = u.clip * g;
            let (m, v) = (u.beta1 * m + 0.1 * h, u.beta2 * v + 0.001 * h * h);
            let step = u.rate * m / (u.root * v.sqrt() + u.eps) + u.decay * w;
            // A rounding of every term; the first moment's two terms may cancel.
            let term = 0.1 * h.abs() + m.abs();
            let scale = u.rate * term / (u.root * v.sqrt() + u.eps) + u.decay * w.abs();
            for (got, want, scale) in [
                (got[0][i], w - step, w.abs() + 4.0 * scale),
                (got[1][i], m, 2.0 * term),
                (got[2][i], v, 2.0 * v),
            ] {
                let off = (f64::from(got) - want).abs();
                assert!(off <= scale * f64::from(f32::EPSILON), "{i}: {got}, want {want}");
            }
        }
    }

    #[test]
    fn every_form_gives_the_same_bits() {
        same_on_every_form(|| updated(slices(1037)).map(|values| bits(&values)));
    }

    #[test]
    #[should_panic(expected = "one moment and one gradient for each weight")]
    fn slices_of_different_lengths_are_refused() {
        UPDATE.apply(&mut [0.0; 3], &mut [0.0; 3], &mut [0.0; 3], &[0.0; 2]);
    }
}
