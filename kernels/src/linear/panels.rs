//! Products of up to eight rows with weights rounded to bf16, on machines that cannot multiply pairs. The
//! weights are laid out once so that a number of each of sixteen features fills a vector; a number of a
//! row of `x` is spread over one. Every output is one sum in ascending order.

use super::range::Range;
use crate::simd::pairs::rounded;
use crate::simd::{LANES, Simd};

/// One number of each of sixteen features, in bf16.
pub type Features = [u16; LANES];

/// Rows, at most.
const ROWS: usize = 8;

/// Rows whose sums registers hold while a group of features passes.
const TILE: usize = 6;

/// Whether products of so many rows are taken here.
pub(super) fn suit(rows: usize) -> bool {
    rows <= ROWS
}

/// `w` (out, width) by groups of sixteen features, the last one filled up with zeros, and numbers:
/// (groups, width, sixteen).
pub(super) fn lay_out(w: &[f32], width: usize) -> Vec<Features> {
    let out = w.len() / width;
    let mut to = vec![[0; LANES]; out.div_ceil(LANES) * width];
    // Rounded by themselves first, which vector instructions do.
    let mut short = vec![0; width];
    for (to, w) in to.chunks_exact_mut(width).zip(w.chunks(LANES * width)) {
        for (lane, row) in w.chunks_exact(width).enumerate() {
            short.iter_mut().zip(row).for_each(|(short, &x)| *short = rounded(x) as u16);
            to.iter_mut().zip(&short).for_each(|(to, &short)| to[lane] = short);
        }
    }
    to
}

/// The columns of a range; `x` holds rounded rows.
#[inline(always)]
pub(super) fn range<L: Simd>(l: L, range: &Range<'_>, x: &[f32], w: &[Features]) {
    let width = x.len() / range.rows;
    let half = if range.rows > TILE { range.rows / 2 } else { range.rows };
    for group in range.groups() {
        let numbers = &w[group * width..][..width];
        let (first, second) = x.split_at(half * width);
        let mut sums = [[0.0; LANES]; ROWS];
        let (a, b) = sums[..range.rows].split_at_mut(half);
        rows(l, numbers, first, a);
        rows(l, numbers, second, b);
        range.store(group, 0, &sums[..range.rows]);
    }
}

/// The products of a group of features with up to [`TILE`] rows.
#[inline(always)]
fn rows<L: Simd>(l: L, numbers: &[Features], x: &[f32], to: &mut [[f32; LANES]]) {
    match to.len() {
        0 => {}
        1 => tile::<L, 1>(l, numbers, x, to),
        2 => tile::<L, 2>(l, numbers, x, to),
        3 => tile::<L, 3>(l, numbers, x, to),
        4 => tile::<L, 4>(l, numbers, x, to),
        5 => tile::<L, 5>(l, numbers, x, to),
        _ => tile::<L, TILE>(l, numbers, x, to),
    }
}

#[inline(always)]
fn tile<L: Simd, const M: usize>(l: L, numbers: &[Features], x: &[f32], to: &mut [[f32; LANES]]) {
    let next = numbers.as_ptr_range().end;
    let mut rows = [&[] as &[f32]; M];
    for i in 0..M {
        rows[i] = &x[i * numbers.len()..][..numbers.len()];
    }
    let mut sums = [l.splat(0.0); M];
    for k in 0..numbers.len() {
        let w = l.widen_features(&numbers[k]);
        l.prefetch(next.wrapping_add(k).cast());
        for i in 0..M {
            sums[i] = l.mul_add(l.splat(rows[i][k]), w, sums[i]);
        }
    }
    for i in 0..M {
        l.store(&mut to[i], sums[i]);
    }
}
