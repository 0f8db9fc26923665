//! Operations on each row alone.

use rayon::prelude::*;

use kernels::threads::Threads;
use kernels::{norm, rope, swiglu};

/// Number of values from which the work is split into tasks. A team starts tasks faster than a
/// pool.
fn min_values(threads: Threads<'_>) -> usize {
    match threads {
        Threads::One => usize::MAX,
        Threads::Team(_) => 1 << 12,
        Threads::Pool => 1 << 15,
    }
}

/// Number of values in a task, a multiple of `width`.
fn task_len(threads: Threads<'_>, width: usize, total: usize) -> usize {
    let min = min_values(threads);
    if total < min { total.max(1) } else { width * (min / 2 / width).max(1) }
}

/// `x / sqrt(mean(x^2) + eps) * weight` for each row.
///
/// Shapes: `x` (rows, width), `weight` (width); result as `x`.
///
/// Source: arXiv 1910.07467, equation 4.
pub fn rms_norm(threads: Threads<'_>, x: &[f32], weight: &[f32], eps: f64) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    let task = task_len(threads, weight.len(), x.len());
    let tasks = y.chunks_mut(task).zip(x.chunks(task));
    threads.each_of(tasks, |(y, x)| norm::rms_norm(x, weight, eps, y));
    y
}

/// Adds the gradient of [`rms_norm`] with respect to `x` to `dx`, given the gradient with respect
/// to its result. Returns the gradient with respect to `weight`.
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
    let task = task_len(Threads::Pool, width, x.len());
    // The partial sums of the tasks are added in order, so the result does not depend on timing.
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

/// Rotates the two halves of each head by the angles of its row, in place. The backward pass is the
/// same with negated sines.
///
/// Shapes: `x` (rows, heads, 2 half), `cos` and `sin` (rows, half).
///
/// Source: arXiv 2104.09864, equation 34, in the half-split layout of Hugging Face checkpoints.
pub fn rope(threads: Threads<'_>, x: &mut [f32], cos: &[f32], sin: &[f32], half: usize) {
    let rows = cos.len() / half;
    if rows == 0 {
        return;
    }
    let width = x.len() / rows;
    let task = task_len(threads, width, x.len()) / width;
    let angles = cos.chunks(task * half).zip(sin.chunks(task * half));
    threads.each_of(x.chunks_mut(task * width).zip(angles), |(x, (cos, sin))| {
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
pub fn swiglu(threads: Threads<'_>, gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut y = gate.to_vec();
    let task = task_len(threads, 1, y.len());
    threads.each_of(y.chunks_mut(task).zip(up.chunks(task)), |(y, up)| swiglu::swiglu(y, up));
    y
}

/// Replaces `gate` and `up` by the gradients of [`swiglu()`] with respect to them, given the
/// gradient with respect to its result.
///
/// Shapes: all (rows, inner).
pub fn swiglu_backward(gate: &mut [f32], up: &mut [f32], dy: &[f32]) {
    let task = task_len(Threads::Pool, 1, dy.len());
    gate.par_chunks_mut(task)
        .zip(up.par_chunks_mut(task))
        .zip(dy.par_chunks(task))
        .for_each(|((gate, up), dy)| swiglu::swiglu_backward(gate, up, dy));
}
