//! Operations that treat each row by itself.

use rayon::prelude::*;

use kernels::{norm, rope, swiglu};

/// Fewer values than this in all are not worth the threads.
const PARALLEL_VALUES: usize = 1 << 15;

/// Values that one task treats, rounded to whole rows.
fn task_len(width: usize, total: usize) -> usize {
    if total < PARALLEL_VALUES {
        total.max(1)
    } else {
        width * (PARALLEL_VALUES / 2 / width).max(1)
    }
}

/// `x / sqrt(mean(x^2) + eps) * weight` for each row.
///
/// Shapes: `x` (rows, width), `weight` (width); result as `x`.
///
/// Source: arXiv 1910.07467, equation 4.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f64) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let task = task_len(weight.len(), x.len());
    y.par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .for_each(|(y, x)| norm::rms_norm(x, weight, eps, y));
    y
}

/// Adds the gradient of [`rms_norm`] in `x`, given that of its result, to `dx`; returns that in
/// `weight`.
///
/// Shapes: `x`, `dy` and `dx` (rows, width), `weight` (width); result (width).
pub fn rms_norm_backward(
    x: &[f32],
    weight: &[f32],
    eps: f64,
    dy: &[f32],
    dx: &mut [f32],
) -> Vec<f32> {
    let width = weight.len();
    let task = task_len(width, x.len());
    // The tasks' partial sums are added in order, so that the result does not depend on timing.
    let parts: Vec<Vec<f32>> = dx
        .par_chunks_mut(task)
        .zip(x.par_chunks(task))
        .zip(dy.par_chunks(task))
        .map(|((dx, x), dy)| {
            let mut dw = vec![0.0; width];
            norm::rms_norm_backward(x, weight, eps, dy, dx, &mut dw);
            dw
        })
        .collect();
    let mut dw = vec![0.0; width];
    for part in parts {
        for (sum, x) in dw.iter_mut().zip(part) {
            *sum += x;
        }
    }
    dw
}

/// Rotates the two halves of each head against one another by the row's angles, in place; backward
/// with the sines negated.
///
/// Shapes: `x` (rows, heads, 2 half), `cos` and `sin` (rows, half).
///
/// Source: arXiv 2104.09864, equation 34, in the half-split layout of Hugging Face checkpoints.
pub fn rope(x: &mut [f32], cos: &[f32], sin: &[f32], half: usize) {
    let rows = cos.len() / half;
    if rows == 0 {
        return;
    }
    let width = x.len() / rows;
    let task = task_len(width, x.len()) / width;
    x.par_chunks_mut(task.max(1) * width)
        .zip(cos.par_chunks(task.max(1) * half))
        .zip(sin.par_chunks(task.max(1) * half))
        .for_each(|((x, cos), sin)| {
            let angles = cos.chunks_exact(half).zip(sin.chunks_exact(half));
            for (x, (cos, sin)) in x.chunks_exact_mut(width).zip(angles) {
                rope::rope(x, cos, sin);
            }
        });
}

/// `gate * sigmoid(gate) * up`.
///
/// Shapes: all (rows, inner).
///
/// Source: arXiv 2002.05202, equation 6.
pub fn swiglu(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = gate.to_vec();
    let task = task_len(1, y.len());
    y.par_chunks_mut(task).zip(up.par_chunks(task)).for_each(|(y, up)| swiglu::swiglu(y, up));
    y
}

/// The gradients of [`swiglu()`] in `gate` and `up`, over the two, given that of its result.
///
/// Shapes: all (rows, inner).
pub fn swiglu_backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    let task = task_len(1, dy.len());
    gate.par_chunks_mut(task)
        .zip(up.par_chunks_mut(task))
        .zip(dy.par_chunks(task))
        .for_each(|((gate, up), dy)| swiglu::swiglu_backward(gate, up, dy));
}
