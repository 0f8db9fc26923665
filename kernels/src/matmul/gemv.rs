//! Products of up to four rows with weights in place. Each vector holds one term of 16 (or 8)
//! features, by 4x4 transposes, and is used for all rows before the next is loaded.
//!
//! Every output is one chain of fused multiply-adds over ascending terms, which starts at 0.

use crate::matrix::MatRef;
use crate::output::Output;
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::threads::Threads;

/// Rows, at most.
pub(super) const ROWS: usize = 4;

/// Half of the lanes.
const HALF: usize = LANES / 2;

/// Bytes of weight that one task reads, at least: below it, handing over costs more.
const TASK_BYTES: usize = 64 << 10;

/// `y (+)= x W^T + b`, one of the products that share `x`.
pub(super) struct Product<'a> {
    /// (out, width)
    pub(super) weight: &'a [f32],
    /// (out)
    pub(super) bias: Option<&'a [f32]>,
    /// (rows, out)
    pub(super) output: Output<'a>,
}

/// All products of `x` (rows, width), whose columns are neighbours.
///
/// # Panics
///
/// Panics unless operands and outputs fit.
pub(super) fn multiply(threads: Threads<'_>, x: MatRef<'_>, products: Vec<Product<'_>>) {
    let bytes = size_of::<f32>() * x.columns().max(1);
    let features = match threads.count() {
        1 => usize::MAX / 2,
        _ => (TASK_BYTES / bytes).next_multiple_of(LANES).max(LANES),
    };
    let tasks = products.into_iter().flat_map(|Product { weight, bias, output }| {
        let out = output.columns();
        let blocks = output.blocks(ROWS, features);
        blocks.map(move |(_, first, output)| Task { x, weight, bias, output, first, out })
    });
    threads.each_of(tasks, dispatch);
}

/// Some features of a product, from `first` on.
struct Task<'a> {
    x: MatRef<'a>,
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
    output: Output<'a>,
    first: usize,
    /// Features of the product.
    out: usize,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.x.rows() {
            1 => self.rows::<S, 1>(simd),
            2 => self.rows::<S, 2>(simd),
            3 => self.rows::<S, 3>(simd),
            _ => self.rows::<S, ROWS>(simd),
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn rows<S: Simd, const R: usize>(mut self, simd: S) {
        let width = self.x.columns();
        let mut rows = [&[] as &[f32]; R];
        for r in 0..R {
            rows[r] = &self.x.values()[r * self.x.row_stride()..][..width];
        }
        let mut column = 0;
        while column < self.output.columns() {
            let left = self.output.columns() - column;
            let lanes = match left {
                // Sums of four rows and sixteen features do not fit the registers of AVX2.
                9.. if self.out >= LANES && (R <= 2 || S::REGISTERS == 32) => LANES,
                _ => HALF,
            };
            // The last, partial group overlaps the one before, so that every load is full.
            let first = (self.first + column).min(self.out.saturating_sub(lanes));
            let (weight, skipped) = (&self.weight[first * width..], self.first + column - first);
            let sums = match lanes {
                LANES => simd.call(Sixteen { rows, weight }),
                _ if self.out < HALF => one_by_one(rows, weight),
                _ => eight(simd, rows, weight),
            };
            let count = left.min(lanes);
            self.write(simd, column, count, skipped, sums);
            column += count;
        }
    }

    /// Writes `count` of the sums of each row after the first `skipped`.
    #[inline(always)]
    fn write<S: Simd, const R: usize>(
        &mut self,
        simd: S,
        column: usize,
        count: usize,
        skipped: usize,
        sums: [[f32; LANES]; R],
    ) {
        for r in 0..R {
            // A masked load would wait until the sums have reached the cache.
            let mut value = match sums[r][skipped..][..count].as_array() {
                Some(whole) => simd.load(whole),
                None => simd.load_partial(&sums[r][skipped..][..count]),
            };
            if let Some(bias) = self.bias {
                let bias = simd.load_partial(&bias[self.first + column..][..count]);
                value = simd.add(value, bias);
            }
            self.output.write_lanes(simd, r, column, count, value);
        }
    }
}

/// The products of rows with the first sixteen features of a weight.
struct Sixteen<'a, const R: usize> {
    rows: [&'a [f32]; R],
    weight: &'a [f32],
}

impl<const R: usize> Kernel for Sixteen<'_, R> {
    type Output = [[f32; LANES]; R];
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Self::Output {
        let Self { rows, weight } = self;
        let width = rows[0].len();
        let mut totals = [simd.splat(0.0); R];
        let fours = fours(rows);
        for four in 0..width / 4 {
            let t = 4 * four;
            prefetch::<S, LANES>(simd, weight, width, t);
            let columns = simd.transpose_16x4(&weight[t..], width);
            for j in 0..4 {
                for r in 0..R {
                    totals[r] = simd.mul_add(simd.splat(fours[r][four][j]), columns[j], totals[r]);
                }
            }
        }
        let mut sums = [[0.0; LANES]; R];
        for r in 0..R {
            simd.store(&mut sums[r], totals[r]);
        }
        add_last_terms::<R, LANES>(rows, weight, &mut sums);
        sums
    }
}

/// The products of rows with the first eight features of `weight`.
#[inline(always)]
fn eight<S: Simd, const R: usize>(simd: S, rows: [&[f32]; R], weight: &[f32]) -> [[f32; LANES]; R] {
    let width = rows[0].len();
    let mut totals = [simd.half_splat(0.0); R];
    let fours = fours(rows);
    for four in 0..width / 4 {
        let t = 4 * four;
        prefetch::<S, HALF>(simd, weight, width, t);
        let columns = simd.transpose_8x4(&weight[t..], width);
        for j in 0..4 {
            for r in 0..R {
                let number = simd.half_splat(fours[r][four][j]);
                totals[r] = simd.half_mul_add(number, columns[j], totals[r]);
            }
        }
    }
    let mut sums = [[0.0; LANES]; R];
    for r in 0..R {
        simd.half_store(sums[r].first_chunk_mut().expect("eight of sixteen"), totals[r]);
    }
    add_last_terms::<R, HALF>(rows, weight, &mut sums);
    sums
}

/// The terms of each row by fours.
#[inline(always)]
fn fours<const R: usize>(rows: [&[f32]; R]) -> [&[[f32; 4]]; R] {
    let len = rows[0].len() / 4;
    let mut fours = [&[] as &[[f32; 4]]; R];
    for r in 0..R {
        // As long as the first, so that one check of an index is one for all.
        fours[r] = &rows[r].as_chunks().0[..len];
    }
    fours
}

/// Prefetches the same four terms of the next `FEATURES` features.
#[inline(always)]
fn prefetch<S: Simd, const FEATURES: usize>(simd: S, weight: &[f32], width: usize, t: usize) {
    let next = weight.as_ptr().wrapping_add(FEATURES * (width + t));
    for line in 0..FEATURES / 4 {
        simd.prefetch(next.wrapping_add(line * LANES));
    }
}

/// Adds the terms after the last four.
#[inline(always)]
fn add_last_terms<const R: usize, const FEATURES: usize>(
    rows: [&[f32]; R],
    weight: &[f32],
    sums: &mut [[f32; LANES]; R],
) {
    let width = rows[0].len();
    let done = width / 4 * 4;
    if done < width {
        for r in 0..R {
            for i in 0..FEATURES {
                sums[r][i] = chain(&rows[r][done..], &weight[i * width + done..], sums[r][i]);
            }
        }
    }
}

/// The products of rows with fewer than eight features.
#[inline(always)]
fn one_by_one<const R: usize>(rows: [&[f32]; R], weight: &[f32]) -> [[f32; LANES]; R] {
    let mut sums = [[0.0; LANES]; R];
    for r in 0..R {
        let features = weight.chunks_exact(rows[r].len().max(1));
        sums[r].iter_mut().zip(features).for_each(|(sum, w)| *sum = chain(rows[r], w, 0.0));
    }
    sums
}

/// `sum` with the products added in order.
#[inline(always)]
fn chain(x: &[f32], w: &[f32], sum: f32) -> f32 {
    x.iter().zip(w).fold(sum, |sum, (&x, &w)| x.mul_add(w, sum))
}
