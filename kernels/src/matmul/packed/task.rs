//! A task of a packed product: some items of `a` by some panels of `b`.

use std::cell::RefCell;
use std::ops::Range;

use super::Store;
use crate::matmul::microkernel::{Across, Arguments, Broadcast, Half, PANELS, Sink, Sums, Whole};
use crate::matmul::pack::Line;
use crate::matmul::select;
use crate::output::Output;
use crate::simd::{Kernel, LANES, Simd};

/// Items per group: a multiple of the tile heights 8 and 6, and of 16.
pub(super) const GROUP: usize = 48;

thread_local! {
    /// The sums of a task, kept from task to task.
    static SUMS: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
}

/// Some items of `a`, from `first` on, by some panels: up to three, unless the sums of all terms go
/// straight to the output.
pub(super) struct Task<'a> {
    pub(super) operands: Operands<'a>,
    pub(super) first: usize,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) output: Output<'a>,
    pub(super) store: Store,
}

/// Both operands of a task.
#[derive(Clone, Copy)]
pub(super) struct Operands<'a> {
    pub(super) a: Broadcast<'a>,
    pub(super) across: Across<'a>,
    pub(super) terms: usize,
}

/// A group of items, finished before the next: offset and length.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    len: usize,
}

impl Kernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (items, lanes) = if self.store.transposed {
            (self.output.columns(), self.output.rows())
        } else {
            (self.output.rows(), self.output.columns())
        };
        let most = select::terms_of_block(items);
        let blocks = self.operands.terms.div_ceil(most).max(1);
        if blocks == 1 && !self.store.transposed {
            return self.straight(simd, items, lanes);
        }
        let mut sums = SUMS.take();
        // Sums are kept from block to block; with one block, those of a group go out at once.
        let kept = if blocks > 1 { items.next_multiple_of(GROUP) } else { GROUP };
        if sums.len() < kept * PANELS {
            sums.resize(kept * PANELS, Line::ZERO);
        }
        for block in 0..blocks {
            let last = block + 1 == blocks;
            let terms = block * most..if last { self.operands.terms } else { (block + 1) * most };
            for first in (0..items).step_by(GROUP) {
                let group = Group { first, len: GROUP.min(items - first) };
                let at = if blocks > 1 { first * PANELS } else { 0 };
                let sums = &mut sums[at..][..GROUP * PANELS];
                self.group(simd, group, lanes, terms.clone(), last, sums);
            }
        }
        SUMS.set(sums);
    }
}

impl Task<'_> {
    /// All sums in one block, a row of tiles after the other: each writes a run of the output.
    #[inline(always)]
    fn straight<S: Simd>(&mut self, simd: S, items: usize, lanes: usize) {
        let Self { operands, first, output, store, .. } = self;
        let mut sink = Direct { sums: &[], output, scale: store.scale, row: 0, column: 0, lanes };
        operands.multiply(simd, *first, items, lanes, 0..operands.terms, &mut sink);
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
        if last && !self.store.transposed {
            let scale = self.store.scale;
            let output = &mut self.output;
            let mut sink = Direct { sums, output, scale, row: group.first, column: 0, lanes };
            return self.operands.multiply(simd, first, group.len, lanes, terms, &mut sink);
        }
        self.operands.multiply(simd, first, group.len, lanes, terms, &mut Sums(&mut *sums));
        if last {
            self.write_transposed(simd, group, lanes, sums);
        }
    }

    #[inline(always)]
    fn write_transposed<S: Simd>(&mut self, simd: S, group: Group, lanes: usize, sums: &[Line]) {
        let scale = simd.splat(self.store.scale);
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

impl Operands<'_> {
    /// `len` items from `first` on by all lanes, over some terms.
    #[inline(always)]
    fn multiply<S: Simd>(
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
            let at = At { a, item: i, lanes, terms: &terms };
            // Rows are often few, and each pass reads all of `b`: any number takes one pass. Where
            // items are neighbours they are many, and tiles of 8 or 6 leave few of them.
            i += match left {
                8.. if S::REGISTERS == 32 => self.row::<S, _, 8, ROWS>(simd, at, sink),
                7 if S::REGISTERS == 32 && ROWS => self.row::<S, _, 7, ROWS>(simd, at, sink),
                6.. if S::REGISTERS < 32 || ROWS => self.row::<S, _, 6, ROWS>(simd, at, sink),
                5 if ROWS => self.row::<S, _, 5, ROWS>(simd, at, sink),
                4.. => self.row::<S, _, 4, ROWS>(simd, at, sink),
                3 if ROWS => self.row::<S, _, 3, ROWS>(simd, at, sink),
                2.. => self.row::<S, _, 2, ROWS>(simd, at, sink),
                _ => self.row::<S, _, 1, ROWS>(simd, at, sink),
            };
        }
    }

    /// `M` items by all lanes; returns `M`.
    #[inline(always)]
    fn row<S: Simd, K: Sink, const M: usize, const ROWS: bool>(
        &self,
        simd: S,
        at: At<'_>,
        sink: &mut K,
    ) -> usize {
        let whole = at.lanes.div_ceil(LANES / 2) / 2;
        let mut done = 0;
        if S::REGISTERS == 32 {
            if M <= 3 && K::WIDE {
                done += self.whole::<S, K, M, 6, ROWS>(simd, at, done, whole, sink);
            }
            done += self.whole::<S, K, M, 3, ROWS>(simd, at, done, whole, sink);
            done += self.whole::<S, K, M, 2, ROWS>(simd, at, done, whole, sink);
        }
        done += self.whole::<S, K, M, 1, ROWS>(simd, at, done, whole, sink);
        if done * LANES < at.lanes {
            simd.call(Half::<_, M, ROWS>(self.arguments(at, done, sink)));
        }
        M
    }

    /// `M` items by as many times `N` panels as there are between `done` and `whole`; returns the
    /// number of panels.
    #[inline(always)]
    fn whole<S: Simd, K: Sink, const M: usize, const N: usize, const ROWS: bool>(
        &self,
        simd: S,
        at: At<'_>,
        done: usize,
        whole: usize,
        sink: &mut K,
    ) -> usize {
        let tiles = (whole - done) / N;
        if tiles > 0 {
            simd.call(Whole::<_, M, N, ROWS> { arguments: self.arguments(at, done, sink), tiles });
        }
        tiles * N
    }

    #[inline(always)]
    fn arguments<'s, K>(&'s self, at: At<'s>, panel: usize, sink: &'s mut K) -> Arguments<'s, K> {
        let b = self.across.from(panel, at.terms.start);
        let (terms, add) = (at.terms.len(), at.terms.start > 0);
        Arguments { a: at.a, b, terms, add, item: at.item, panel, sink }
    }
}

/// Some items by all lanes, over some terms.
#[derive(Clone, Copy)]
struct At<'s> {
    /// From the first of the items and of the terms on.
    a: Broadcast<'s>,
    /// The first item, for the sink.
    item: usize,
    lanes: usize,
    terms: &'s Range<usize>,
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
    const WIDE: bool = true;
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
        // Where the terms are few, multiplying by 1 takes as long as a term.
        if self.scale.to_bits() != 1_f32.to_bits() {
            let scale = simd.splat(self.scale);
            for i in 0..M {
                for n in 0..N {
                    sums[i][n] = simd.mul(scale, sums[i][n]);
                }
            }
        }
        let lane = panel * LANES;
        let count = (N * LANES).min(self.lanes - lane);
        self.output.write_tile(simd, (self.row + item, self.column + lane), count, sums);
    }
}
