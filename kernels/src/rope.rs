//! Rotary position embedding.

/// Rotates the two halves of each head by the angles of one position, in place; backward, with the
/// sines negated.
///
/// Shapes: `x` (heads, head width), `cos` and `sin` (head width / 2).
///
/// Source: arXiv 2104.09864, equation 34, in the half-split layout of Hugging Face checkpoints.
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let half = cos.len();
    for head in x.chunks_exact_mut(2 * half) {
        let (low, high) = head.split_at_mut(half);
        for (((a, b), c), s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
            // Products rounded before they are added, so that every caller gets the same bits.
            (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{noise, worst};

    #[test]
    fn rotation_matches_the_formula_and_the_negated_sines_undo_it() {
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
        let back: Vec<f32> = sin.iter().map(|sin| -sin).collect();
        rope(&mut y, &cos, &back);
        assert!(worst(&y, x.iter().map(|&x| f64::from(x))) < 1e-6);
    }
}
