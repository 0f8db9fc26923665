//! Operands of a product, and how they are packed: in panels of sixteen items, `[panel][term][16]`.

use crate::matrix::{MatMut, MatRef};
use crate::simd::{Kernel, LANES, Simd, dispatch};
use crate::threads::Threads;

/// The rows of a left matrix or the columns of a right one, called items; the product sums over
/// their terms. Term `t` of item `i` is at `i * item + t * term`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operand<'a> {
    pub(super) values: &'a [f32],
    pub(super) item: usize,
    pub(super) term: usize,
    pub(super) items: usize,
    pub(super) terms: usize,
}

impl<'a> Operand<'a> {
    pub(super) fn rows(matrix: MatRef<'a>) -> Self {
        Self {
            values: matrix.values(),
            item: matrix.row_stride(),
            term: matrix.column_stride(),
            items: matrix.rows(),
            terms: matrix.columns(),
        }
    }

    pub(super) fn columns(matrix: MatRef<'a>) -> Self {
        Self::rows(matrix.t())
    }

    /// The first items, and the others.
    pub(super) fn split_at(self, items: usize) -> (Self, Self) {
        let rest = self.values.get(items * self.item..).unwrap_or_default();
        (Self { items, ..self }, Self { values: rest, items: self.items - items, ..self })
    }

    /// From term `t` of item `i` on.
    #[inline(always)]
    fn at(&self, i: usize, t: usize) -> &'a [f32] {
        &self.values[i * self.item + t * self.term..]
    }
}

/// One term of the sixteen items of a panel.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [f32; LANES]);

impl Line {
    pub(super) const ZERO: Self = Self([0.0; LANES]);

    /// The numbers of all lines.
    #[inline(always)]
    pub(super) fn flatten(lines: &[Self]) -> &[f32] {
        // SAFETY: a line is sixteen numbers, without padding.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
    }
}

/// Lines below which one thread packs alone: handing over costs more.
const FEWEST_LINES: usize = 1 << 10;

/// Lines that a task packs, about 64 KiB.
const LINES_OF_TASK: usize = 1 << 10;

/// Packs `operand` in panels: (panels, terms). Every line is written; lanes without an item are 0.
pub(super) fn pack<'b>(
    threads: Threads<'_>,
    operand: Operand<'_>,
    buffer: &'b mut Vec<Line>,
) -> &'b [Line] {
    let Operand { items, terms, .. } = operand;
    let panels = items.div_ceil(LANES);
    let lines = panels * terms;
    if lines == 0 {
        return &[];
    }
    if buffer.len() < lines {
        // New lines need not be zero, but a vector's length covers initialised elements only.
        buffer.resize(lines, Line::ZERO);
    }
    let threads = if lines < FEWEST_LINES { Threads::One } else { threads };
    // Items that are neighbours in memory are read in ranges of terms: by panels, each line would
    // be read from another page.
    let (high, wide) = if operand.item == 1 {
        (panels, LINES_OF_TASK.div_ceil(panels))
    } else {
        (LINES_OF_TASK.div_ceil(terms), terms)
    };
    let blocks = MatMut::new(&mut buffer[..lines], panels, terms).blocks(high, wide);
    threads.each_of(blocks, |(panel, term, to)| dispatch(Pack { operand, panel, term, to }));
    &buffer[..lines]
}

/// A block of panels by terms, from `panel` and `term` on.
struct Pack<'a> {
    operand: Operand<'a>,
    panel: usize,
    term: usize,
    to: MatMut<'a, Line>,
}

impl Kernel for Pack<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        match self.operand {
            Operand { item: 1, .. } => self.copy_runs(simd),
            Operand { term: 1, .. } => self.transpose(simd),
            _ => (0..self.to.rows()).for_each(|panel| self.gather(panel, 0)),
        }
    }
}

impl Pack<'_> {
    /// The first item of a panel, and how many it has.
    #[inline(always)]
    fn items(&self, panel: usize) -> (usize, usize) {
        let first = (self.panel + panel) * LANES;
        (first, (self.operand.items - first).min(LANES))
    }

    /// Items that are neighbours in memory.
    #[inline(always)]
    fn copy_runs<S: Simd>(&mut self, simd: S) {
        for t in 0..self.to.columns() {
            for panel in 0..self.to.rows() {
                let (first, count) = self.items(panel);
                let run = simd.load_partial(&self.operand.at(first, self.term + t)[..count]);
                simd.store(&mut self.to.row(panel)[t].0, run);
            }
        }
    }

    /// Items whose terms are neighbours in memory.
    #[inline(always)]
    fn transpose<S: Simd>(&mut self, simd: S) {
        for panel in 0..self.to.rows() {
            let (first, count) = self.items(panel);
            let mut done = 0;
            if count == LANES {
                let (fours, _) = self.to.row(panel).as_chunks_mut::<4>();
                for (four, to) in fours.iter_mut().enumerate() {
                    let from = self.operand.at(first, self.term + 4 * four);
                    let columns = simd.transpose_16x4(from, self.operand.item);
                    for j in 0..4 {
                        simd.store(&mut to[j].0, columns[j]);
                    }
                }
                done = 4 * fours.len();
            }
            self.gather(panel, done);
        }
    }

    /// The terms of a panel from `done` on, one number at a time.
    #[inline(always)]
    fn gather(&mut self, panel: usize, done: usize) {
        let (first, count) = self.items(panel);
        let (operand, term) = (self.operand, self.term + done);
        let to = &mut self.to.row(panel)[done..];
        if to.is_empty() {
            return;
        }
        to.fill(Line::ZERO);
        for i in 0..count {
            let from = operand.at(first + i, term);
            to.iter_mut().enumerate().for_each(|(t, to)| to.0[i] = from[t * operand.term]);
        }
    }
}
