//! Products with weights rounded to bf16, on machines that cannot multiply pairs, laid out once so
//! that a number of each of sixteen features fills a vector; a number of a row of `x` is spread over
//! one. Every output is one sum in ascending order.

use std::ops;

use super::range::Range;
use crate::ops::kernels::lanes::pairs::rounded;
use crate::ops::kernels::lanes::{Lanes, WIDTH};

/// One number of each of sixteen features, in bf16.
pub(crate) type Features = [u16; WIDTH];

/// Rows whose sums are kept while a group of features passes.
const ROWS: usize = 64;

/// `w` (out, width) by groups of sixteen features, the last one filled up with zeros, and numbers:
/// (groups, width, sixteen).
pub(super) fn lay_out(w: &[f32], width: usize) -> Vec<Features> {
    let out = w.len() / width;
    let mut to = vec![[0; WIDTH]; out.div_ceil(WIDTH) * width];
    // Rounded by themselves first, which vector instructions do.
    let mut short = vec![0; width];
    for (to, w) in to.chunks_exact_mut(width).zip(w.chunks(WIDTH * width)) {
        for (lane, row) in w.chunks_exact(width).enumerate() {
            short.iter_mut().zip(row).for_each(|(short, &x)| *short = rounded(x) as u16);
            to.iter_mut().zip(&short).for_each(|(to, &short)| to[lane] = short);
        }
    }
    to
}

/// The columns of a range; `x` holds rounded rows.
#[inline(always)]
pub(super) fn range<L: Lanes>(l: L, range: &Range<'_>, x: &[f32], w: &[Features]) {
    let width = x.len() / range.rows;
    let mut sums = [[0.0; WIDTH]; ROWS];
    for group in range.groups() {
        let numbers = &w[group * width..][..width];
        let next = numbers.as_ptr().wrapping_add(width);
        for (chunk, x) in x.chunks(ROWS * width).enumerate() {
            let sums = &mut sums[..x.len() / width];
            sums.fill([0.0; WIDTH]);
            tiles(l, &Panel { numbers, x, width, next }, sums);
            range.store(group, chunk * ROWS, sums);
        }
    }
}

/// Numbers of sixteen features, with the rows that they are multiplied by.
struct Panel<'a> {
    numbers: &'a [Features],
    /// From the number of the first row that belongs to the panel's first; rows lie `width` apart.
    x: &'a [f32],
    width: usize,
    /// What to bring near meanwhile, as much as `numbers`.
    next: *const Features,
}

/// Adds a panel's products with every row to that row's sums.
#[inline(always)]
fn tiles<L: Lanes>(l: L, panel: &Panel<'_>, sums: &mut [[f32; WIDTH]]) {
    // Sums of a tile are what limits it: 32 registers of sixteen lanes, or 16 of eight.
    let parts = sums.len().div_ceil(if L::REGISTERS == 32 { 8 } else { 6 });
    let (rows, numbers) = (sums.len(), panel.numbers.len());
    for part in 0..parts {
        let row = part * rows / parts;
        let sums = &mut sums[row..(part + 1) * rows / parts];
        // The tiles share the asking for what follows, which comes in while they work.
        let fetch = part * numbers / parts..(part + 1) * numbers / parts;
        match sums.len() {
            1 => tile::<L, 1>(l, panel, row, fetch, sums),
            2 => tile::<L, 2>(l, panel, row, fetch, sums),
            3 => tile::<L, 3>(l, panel, row, fetch, sums),
            4 => tile::<L, 4>(l, panel, row, fetch, sums),
            5 => tile::<L, 5>(l, panel, row, fetch, sums),
            6 => tile::<L, 6>(l, panel, row, fetch, sums),
            7 => tile::<L, 7>(l, panel, row, fetch, sums),
            _ => tile::<L, 8>(l, panel, row, fetch, sums),
        }
    }
}

/// Adds a panel's products with `M` rows from `row` on.
#[inline(always)]
fn tile<L: Lanes, const M: usize>(
    l: L,
    panel: &Panel<'_>,
    row: usize,
    fetch: ops::Range<usize>,
    to: &mut [[f32; WIDTH]],
) {
    let mut sums = [l.splat(0.0); M];
    for i in 0..M {
        sums[i] = l.load(&to[i]);
    }
    let sums = add::<L, M, false>(l, panel, row, 0..fetch.start, sums);
    let sums = add::<L, M, true>(l, panel, row, fetch.clone(), sums);
    let sums = add::<L, M, false>(l, panel, row, fetch.end..panel.numbers.len(), sums);
    for i in 0..M {
        l.store(&mut to[i], sums[i]);
    }
}

/// Adds the products of some numbers of the rows; with `FETCH`, asks for what follows.
#[inline(always)]
fn add<L: Lanes, const M: usize, const FETCH: bool>(
    l: L,
    panel: &Panel<'_>,
    row: usize,
    numbers: ops::Range<usize>,
    // By value: behind a reference they would be written at every number.
    mut sums: [L::V; M],
) -> [L::V; M] {
    let weights = &panel.numbers[numbers.clone()];
    let mut x = [&[] as &[f32]; M];
    for i in 0..M {
        x[i] = &panel.x[(row + i) * panel.width..][numbers.clone()][..weights.len()];
    }
    for k in 0..weights.len() {
        let w = l.widen_features(&weights[k]);
        if FETCH {
            l.fetch(panel.next.wrapping_add(numbers.start + k).cast());
        }
        for i in 0..M {
            sums[i] = l.mul_add(l.splat(x[i][k]), w, sums[i]);
        }
    }
    sums
}
