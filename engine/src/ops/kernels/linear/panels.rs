//! Products by panels: a number of each of sixteen features fills a vector, and a number of a row of
//! `x` is spread over one, so that no sum over lanes is needed. Every output is one sum in ascending
//! order.
//!
//! Weights of `f32` are read as they lie and turned on the way; those rounded to bf16 are laid out so
//! once, on machines that cannot multiply pairs.

use std::ops;

use super::Range;
use crate::ops::kernels::lanes::pairs::rounded;
use crate::ops::kernels::lanes::{Lanes, WIDTH};
use crate::ops::kernels::turn::turn;

/// One number of each of sixteen features, in bf16.
pub(crate) type Features = [u16; WIDTH];

/// Rows whose sums are kept while a group of features passes.
const ROWS: usize = 64;

/// Rows up to which weights are turned in registers: each number serves all rows there and then.
const FEW: usize = 4;

/// Numbers of each feature that are turned at once for more rows: 6 KiB, which with as much of `x`
/// stays in the first cache.
const BLOCK: usize = 96;

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

/// The columns of a range, of rounded weights; `x` holds rounded rows.
#[inline(always)]
pub(super) fn of_rounded<L: Lanes>(l: L, range: &Range<'_>, x: &[f32], w: &[Features]) {
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

/// The columns of a range, of weights as they lie.
#[inline(always)]
pub(super) fn of_rows<L: Lanes>(l: L, range: &Range<'_>, x: &[f32], w: &[f32]) {
    let width = x.len() / range.rows;
    let (mut sums, mut turned) = ([[0.0; WIDTH]; ROWS], [[0.0; WIDTH]; BLOCK]);
    for group in range.groups() {
        let strip = &w[group * WIDTH * width..];
        let strip = &strip[..strip.len().min(WIDTH * width)];
        for (chunk, x) in x.chunks(ROWS * width).enumerate() {
            let sums = &mut sums[..x.len() / width];
            let by_fours = strip.len() == WIDTH * width && width.is_multiple_of(4);
            match sums.len() {
                _ if !by_fours => by_blocks(l, x, strip, width, &mut turned, sums),
                1 => in_registers::<L, 1>(l, x, strip, sums),
                2 => in_registers::<L, 2>(l, x, strip, sums),
                3 => in_registers::<L, 3>(l, x, strip, sums),
                FEW => in_registers::<L, FEW>(l, x, strip, sums),
                _ => by_blocks(l, x, strip, width, &mut turned, sums),
            }
            range.store(group, chunk * ROWS, sums);
        }
    }
}

/// The products of a few rows, of whole fours, with sixteen features, a register of them after the other.
#[inline(always)]
fn in_registers<L: Lanes, const M: usize>(
    l: L,
    x: &[f32],
    strip: &[f32],
    sums: &mut [[f32; WIDTH]],
) {
    let width = strip.len() / WIDTH;
    let mut rows = [&[] as &[f32]; M];
    for i in 0..M {
        rows[i] = &x[i * width..][..width];
    }
    for (part, strip) in strip.chunks_exact(L::NARROW * width).enumerate() {
        let next = strip.as_ptr().wrapping_add(strip.len());
        let mut totals = [l.narrow_splat(0.0); M];
        for k in (0..width).step_by(4) {
            let columns = l.columns(&strip[k..], width);
            for line in 0..L::NARROW / 4 {
                l.fetch(next.wrapping_add(k * L::NARROW + line * WIDTH));
            }
            for j in 0..4 {
                for i in 0..M {
                    let x = l.narrow_splat(rows[i][k + j]);
                    totals[i] = l.narrow_mul_add(x, columns[j], totals[i]);
                }
            }
        }
        for i in 0..M {
            l.narrow_store(&mut sums[i][part * L::NARROW..][..L::NARROW], totals[i]);
        }
    }
}

/// The products of rows with up to sixteen features, `turned` block by block.
#[inline(always)]
fn by_blocks<L: Lanes>(
    l: L,
    x: &[f32],
    strip: &[f32],
    width: usize,
    turned: &mut [[f32; WIDTH]; BLOCK],
    sums: &mut [[f32; WIDTH]],
) {
    sums.fill([0.0; WIDTH]);
    for from in (0..width).step_by(BLOCK) {
        let numbers = &mut turned[..(width - from).min(BLOCK)];
        turn(l, &strip[from..], width, strip.len() / width, numbers);
        let next = strip.as_ptr().wrapping_add(strip.len() + from * WIDTH).cast();
        tiles(l, &Panel { numbers, x: &x[from..], width, next }, sums);
    }
}

/// What fills a vector: a number of each of sixteen features.
trait Number {
    fn widen<L: Lanes>(l: L, number: &Self) -> L::V;
}

impl Number for Features {
    #[inline(always)]
    fn widen<L: Lanes>(l: L, number: &Self) -> L::V {
        l.widen_features(number)
    }
}

impl Number for [f32; WIDTH] {
    #[inline(always)]
    fn widen<L: Lanes>(l: L, number: &Self) -> L::V {
        l.load(number)
    }
}

/// Numbers of sixteen features, with the rows that they are multiplied by.
struct Panel<'a, N> {
    numbers: &'a [N],
    /// From the number of the first row that belongs to the panel's first; rows lie `width` apart.
    x: &'a [f32],
    width: usize,
    /// What to bring near meanwhile, as much as `numbers`.
    next: *const N,
}

/// Adds a panel's products with every row to that row's sums.
#[inline(always)]
fn tiles<L: Lanes, N: Number>(l: L, panel: &Panel<'_, N>, sums: &mut [[f32; WIDTH]]) {
    // Sums of a tile are what limits it: 32 registers of sixteen lanes, or 16 of eight.
    let parts = sums.len().div_ceil(if L::REGISTERS == 32 { 8 } else { 6 });
    let (rows, numbers) = (sums.len(), panel.numbers.len());
    for part in 0..parts {
        let row = part * rows / parts;
        let sums = &mut sums[row..(part + 1) * rows / parts];
        // The tiles share the asking for what follows, which comes in while they work.
        let fetch = part * numbers / parts..(part + 1) * numbers / parts;
        match sums.len() {
            1 => tile::<L, N, 1>(l, panel, row, fetch, sums),
            2 => tile::<L, N, 2>(l, panel, row, fetch, sums),
            3 => tile::<L, N, 3>(l, panel, row, fetch, sums),
            4 => tile::<L, N, 4>(l, panel, row, fetch, sums),
            5 => tile::<L, N, 5>(l, panel, row, fetch, sums),
            6 => tile::<L, N, 6>(l, panel, row, fetch, sums),
            7 => tile::<L, N, 7>(l, panel, row, fetch, sums),
            _ => tile::<L, N, 8>(l, panel, row, fetch, sums),
        }
    }
}

/// Adds a panel's products with `M` rows from `row` on.
#[inline(always)]
fn tile<L: Lanes, N: Number, const M: usize>(
    l: L,
    panel: &Panel<'_, N>,
    row: usize,
    fetch: ops::Range<usize>,
    to: &mut [[f32; WIDTH]],
) {
    let mut sums = [l.splat(0.0); M];
    for i in 0..M {
        sums[i] = l.load(&to[i]);
    }
    let sums = add::<L, N, M, false>(l, panel, row, 0..fetch.start, sums);
    let sums = add::<L, N, M, true>(l, panel, row, fetch.clone(), sums);
    let sums = add::<L, N, M, false>(l, panel, row, fetch.end..panel.numbers.len(), sums);
    for i in 0..M {
        l.store(&mut to[i], sums[i]);
    }
}

/// Adds the products of some numbers of the rows; with `FETCH`, asks for what follows.
#[inline(always)]
fn add<L: Lanes, N: Number, const M: usize, const FETCH: bool>(
    l: L,
    panel: &Panel<'_, N>,
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
        let w = N::widen(l, &weights[k]);
        if FETCH {
            l.fetch(panel.next.wrapping_add(numbers.start + k).cast());
        }
        for i in 0..M {
            sums[i] = l.mul_add(l.splat(x[i][k]), w, sums[i]);
        }
    }
    sums
}

impl Range<'_> {
    /// Groups of sixteen features that the range has a part in.
    fn groups(&self) -> ops::Range<usize> {
        self.from / WIDTH..self.to.div_ceil(WIDTH)
    }

    /// Writes the sums of a group for consecutive rows from `row` on, as far as they are the range's.
    #[inline(always)]
    fn store(&self, group: usize, row: usize, sums: &[[f32; WIDTH]]) {
        let first = group * WIDTH;
        let (from, to) = (self.from.max(first), self.to.min(first + WIDTH));
        for (i, sums) in sums.iter().enumerate() {
            // SAFETY: `features` gives each task its own columns.
            let y = unsafe { self.y.part(row + i, from, to) };
            for (j, y) in y.iter_mut().enumerate() {
                let mut value = sums[from - first + j];
                if let Some(bias) = self.w.bias {
                    value += bias[from + j];
                }
                *y = if self.add { *y + value } else { value };
            }
        }
    }
}
