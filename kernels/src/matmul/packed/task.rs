//! A task of a packed product: some items of `a` by up to three panels of `b`.

use std::cell::RefCell;
use std::ops::Range;

use super::Epilogue;
use crate::matmul::microkernel::{Across, Broadcast, Half, PANELS, Sink, Sums, Tile, Whole};
use crate::matmul::pack::Line;
use crate::output::Output;
use crate::simd::{Kernel, LANES, Simd};

/// Terms of a block, so that the panels of a task stay in the second cache: three are 144 KiB.
pub(super) const TERMS: usize = 768;

/// Items of `a` whose sums are written at once: whole tiles of 8 and of 6, and whole sixteens.
pub(super) const GROUP: usize = 48;

thread_local! {
    /// The sums of a task, kept from task to task.
    static SUMS: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Some items of `a`, from `first` on, by up to three panels.
pub(super) struct Task<'a> {
    pub(super) tiles: Tiles<'a>,
    pub(super) first: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) output: Output<'a>,
    pub(super) epilogue: Epilogue,
}

/// The operands of a task's tiles.
#[derive(Clone, Copy)]
pub(super) struct Tiles<'a> {
    pub(super) a: Broadcast<'a>,
    pub(super) across: Across<'a>,
    pub(super) terms: usize,
}

/// Items of a task that are its tiles' at once: where they begin within the task, and how many.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    len: usize,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (items, lanes) = if self.epilogue.transposed {
            (self.output.columns(), self.output.rows())
        } else {
            (self.output.rows(), self.output.columns())
        };
        let blocks = self.tiles.terms.div_ceil(TERMS).max(1);
        if blocks == 1 && !self.epilogue.transposed {
            return self.straight(simd, items, lanes);
        }
        let mut sums = SUMS.take();
        // Sums are kept from block to block; with one block, those of a group go out at once.
        let kept = if blocks > 1 { items.next_multiple_of(GROUP) } else { GROUP };
        if sums.len() < kept * PANELS {
            sums.resize(kept * PANELS, Line::ZERO);
        }
        for block in 0..blocks {
            let terms = block * TERMS..self.tiles.terms.min((block + 1) * TERMS);
            for first in (0..items).step_by(GROUP) {
                let group = Group { first, len: GROUP.min(items - first) };
                let at = if blocks > 1 { first * PANELS } else { 0 };
                let sums = &mut sums[at..][..GROUP * PANELS];
                self.group(simd, group, lanes, terms.clone(), block + 1 == blocks, sums);
            }
        }
        SUMS.set(sums);
    }
}

impl Task<'_> {
    /// All sums in one block, a row of tiles after the other: each writes a run of the output.
    #[inline(always)]
    fn straight<S: Simd>(&mut self, simd: S, items: usize, lanes: usize) {
        let scale = self.epilogue.scale;
        let high = if S::REGISTERS == 32 { 8 } else { 6 };
        for row in (0..items).step_by(high) {
            for lane in (0..lanes).step_by(PANELS * LANES) {
                let output = &mut self.output;
                let (len, lanes) = (high.min(items - row), lanes.min(lane + PANELS * LANES) - lane);
                let mut sink = Direct { sums: &[], output, scale, row, column: lane, lanes };
                let tiles = Tiles { across: self.tiles.across.from(lane / LANES, 0), ..self.tiles };
                let first = self.first + row;
                tiles.all(simd, first, len, lanes, 0..self.tiles.terms, &mut sink);
            }
        }
    }

    /// The sums of a group over some terms, which are the last ones or not.
    #[inline(always)]
    fn group<S: Simd>(
        &mut self,
        simd: S,
        group: Group,
        lanes: usize,
        terms: Range<usize>,
        last: bool,
        sums: &mut [Line],
    ) {
        let first = self.first + group.first;
        if last && !self.epilogue.transposed {
            let scale = self.epilogue.scale;
            let output = &mut self.output;
            let mut sink = Direct { sums, output, scale, row: group.first, column: 0, lanes };
            return self.tiles.all(simd, first, group.len, lanes, terms, &mut sink);
        }
        self.tiles.all(simd, first, group.len, lanes, terms, &mut Sums(&mut *sums));
        if last {
            self.write_transposed(simd, group, lanes, sums);
        }
    }

    #[inline(always)]
    fn write_transposed<S: Simd>(&mut self, simd: S, group: Group, lanes: usize, sums: &[Line]) {
        let scale = simd.splat(self.epilogue.scale);
        for first in (0..group.len).step_by(LANES) {
            let count = LANES.min(group.len - first);
            let column = group.first + first;
            let bias =
                self.bias.map(|bias| simd.load_partial(&bias[self.first + column..][..count]));
            for row in (0..lanes).step_by(4) {
                let from = &Line::flatten(sums)[first * PANELS * LANES + row..];
                let rows = simd.transpose_16x4(from, PANELS * LANES);
                for j in 0..4.min(lanes - row) {
                    let mut value = simd.mul(scale, rows[j]);
                    if let Some(bias) = bias {
                        value = simd.add(value, bias);
                    }
                    self.output.write_lanes(simd, row + j, column, count, value);
                }
            }
        }
    }
}

impl Tiles<'_> {
    /// `len` items from `first` on by all lanes, over some terms.
    #[inline(always)]
    fn all<S: Simd>(
        &self,
        simd: S,
        first: usize,
        len: usize,
        lanes: usize,
        terms: Range<usize>,
        sink: &mut impl Sink,
    ) {
        // Two loops, so that each knows one stride of `a`.
        if self.a.term == 1 {
            self.items::<S, true>(simd, first, len, lanes, terms, sink);
        } else {
            self.items::<S, false>(simd, first, len, lanes, terms, sink);
        }
    }

    #[inline(always)]
    fn items<S: Simd, const ROWS: bool>(
        &self,
        simd: S,
        first: usize,
        len: usize,
        lanes: usize,
        terms: Range<usize>,
        sink: &mut impl Sink,
    ) {
        let mut i = 0;
        while i < len {
            let left = (len - i).min(self.a.neighbours(first + i));
            let a = self.a.from(first + i, terms.start);
            i += match left {
                8.. if S::REGISTERS == 32 => {
                    self.row::<S, 8, ROWS>(simd, a, i, lanes, &terms, sink)
                }
                6.. if S::REGISTERS < 32 => self.row::<S, 6, ROWS>(simd, a, i, lanes, &terms, sink),
                4.. => self.row::<S, 4, ROWS>(simd, a, i, lanes, &terms, sink),
                2.. => self.row::<S, 2, ROWS>(simd, a, i, lanes, &terms, sink),
                _ => self.row::<S, 1, ROWS>(simd, a, i, lanes, &terms, sink),
            };
        }
    }

    /// `M` items by all lanes; returns `M`.
    #[inline(always)]
    fn row<S: Simd, const M: usize, const ROWS: bool>(
        &self,
        simd: S,
        a: Broadcast<'_>,
        i: usize,
        lanes: usize,
        terms: &Range<usize>,
        sink: &mut impl Sink,
    ) -> usize {
        let whole = lanes.div_ceil(LANES / 2) / 2;
        match whole {
            3 if S::REGISTERS == 32 => {
                simd.call(Whole(self.tile::<_, M, 3, ROWS>(a, i, 0, terms, sink)));
            }
            2 if S::REGISTERS == 32 => {
                simd.call(Whole(self.tile::<_, M, 2, ROWS>(a, i, 0, terms, sink)));
            }
            _ => {
                for n in 0..whole {
                    simd.call(Whole(self.tile::<_, M, 1, ROWS>(a, i, n, terms, sink)));
                }
            }
        }
        if whole * LANES < lanes {
            simd.call(Half(self.tile::<_, M, 1, ROWS>(a, i, whole, terms, sink)));
        }
        M
    }

    #[inline(always)]
    fn tile<'s, K, const M: usize, const N: usize, const ROWS: bool>(
        &'s self,
        a: Broadcast<'s>,
        item: usize,
        panel: usize,
        terms: &Range<usize>,
        sink: &'s mut K,
    ) -> Tile<'s, K, M, N, ROWS> {
        let b = self.across.from(panel, terms.start);
        Tile { a, b, terms: terms.len(), add: terms.start > 0, item, panel, sink }
    }
}

/// Sums of earlier blocks are in lines, and complete ones go to the output.
struct Direct<'s, 'a> {
    sums: &'s [Line],
    output: &'s mut Output<'a>,
    scale: f32,
    row: usize,
    column: usize,
    lanes: usize,
}

impl Sink for Direct<'_, '_> {
    #[inline(always)]
    fn sums(&self, item: usize, panel: usize) -> &[Line] {
        &self.sums[PANELS * item + panel..]
    }

    #[inline(always)]
    fn put<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        item: usize,
        panel: usize,
        mut sums: [[S::V; N]; M],
    ) {
        let scale = simd.splat(self.scale);
        for i in 0..M {
            for n in 0..N {
                sums[i][n] = simd.mul(scale, sums[i][n]);
            }
        }
        let lane = panel * LANES;
        let count = (N * LANES).min(self.lanes - lane);
        self.output.write_tile(simd, (self.row + item, self.column + lane), count, sums);
    }
}
