//! Weights rounded to bf16 for machines that cannot multiply pairs: sixteen features side by side, so
//! that they widen into the lanes of one vector, and no sum over lanes is needed.

use super::Range;
use crate::ops::kernels::lanes::pairs::rounded;
use crate::ops::kernels::lanes::{Lanes, WIDTH};

/// One number of each of sixteen features.
pub(crate) type Features = [u16; WIDTH];

/// Rows of a tile, at most: two registers of sums each where sixteen lanes are two.
const ROWS: usize = 6;

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
    for group in range.from / WIDTH..range.to.div_ceil(WIDTH) {
        let panel = &w[group * width..][..width];
        let parts = range.rows.div_ceil(ROWS);
        for part in 0..parts {
            let row = part * ROWS;
            let rows = (range.rows - row).min(ROWS);
            let tile = Tile { range, x: &x[row * width..][..rows * width], panel, group, row };
            // The parts share the asking for the next panel, which comes in while they work.
            let bound = |part| part * width / parts;
            let fetch = bound(part)..bound(part + 1);
            match rows {
                1 => tile.run::<L, 1>(l, fetch),
                2 => tile.run::<L, 2>(l, fetch),
                3 => tile.run::<L, 3>(l, fetch),
                4 => tile.run::<L, 4>(l, fetch),
                5 => tile.run::<L, 5>(l, fetch),
                _ => tile.run::<L, ROWS>(l, fetch),
            }
        }
    }
}

/// Some rows by sixteen features.
struct Tile<'a> {
    range: &'a Range<'a>,
    x: &'a [f32],
    panel: &'a [Features],
    group: usize,
    row: usize,
}

impl Tile<'_> {
    #[inline(always)]
    fn run<L: Lanes, const M: usize>(&self, l: L, fetch: std::ops::Range<usize>) {
        let sums = self.add::<L, M, false>(l, 0..fetch.start, [l.splat(0.0); M]);
        let sums = self.add::<L, M, true>(l, fetch.clone(), sums);
        let sums = self.add::<L, M, false>(l, fetch.end..self.panel.len(), sums);
        for i in 0..M {
            self.store(l, sums[i], self.row + i);
        }
    }

    /// Adds the products of some numbers of the rows; with `FETCH`, asks for those of the next panel.
    #[inline(always)]
    fn add<L: Lanes, const M: usize, const FETCH: bool>(
        &self,
        l: L,
        numbers: std::ops::Range<usize>,
        // By value: behind a reference they would be written at every number.
        mut sums: [L::V; M],
    ) -> [L::V; M] {
        let width = self.panel.len();
        let panel = &self.panel[numbers.clone()];
        let mut x = [&[] as &[f32]; M];
        for i in 0..M {
            x[i] = &self.x[i * width..][..width][numbers.clone()][..panel.len()];
        }
        for k in 0..panel.len() {
            let w = l.widen_features(&panel[k]);
            if FETCH {
                l.fetch(panel[k].as_ptr().wrapping_add(width * WIDTH).cast());
            }
            for i in 0..M {
                sums[i] = l.mul_add(l.splat(x[i][k]), w, sums[i]);
            }
        }
        sums
    }

    #[inline(always)]
    fn store<L: Lanes>(&self, l: L, sum: L::V, row: usize) {
        let (range, first) = (self.range, self.group * WIDTH);
        let (from, to) = (range.from.max(first), range.to.min(first + WIDTH));
        let mut values = [0.0; WIDTH];
        l.store(&mut values, sum);
        // SAFETY: `features` gives each task its own columns.
        let y = unsafe { range.y.part(row, from, to) };
        for (j, y) in y.iter_mut().enumerate() {
            let mut value = values[from - first + j];
            if let Some(bias) = range.w.bias {
                value += bias[from + j];
            }
            *y = if range.add { *y + value } else { value };
        }
    }
}
