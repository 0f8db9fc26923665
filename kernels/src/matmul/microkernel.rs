//! The inner loop: a tile of sums that stay in registers while the terms pass.

use super::pack::{Line, Operand};
use crate::simd::{Kernel, LANES, Simd};

/// Panels of the largest tile.
pub(super) const PANELS: usize = 3;

/// Terms between two prefetches: a cache line of a row.
const AHEAD: usize = LANES;

/// The broadcast operand: groups of 16 items start `sixteen` elements apart. Term `t` of item `i`
/// of a group is at `i * item + t * term`. One of the two strides is 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Broadcast<'a> {
    values: &'a [f32],
    sixteen: usize,
    item: usize,
    pub(super) term: usize,
    /// Whether to prefetch the items that follow those of a tile.
    pub(super) prefetch: bool,
}

impl<'a> Broadcast<'a> {
    pub(super) fn in_place(operand: Operand<'a>) -> Self {
        let Operand { values, item, term, .. } = operand;
        Self { values, sixteen: LANES * item, item, term, prefetch: false }
    }

    pub(super) fn packed(lines: &'a [Line], terms: usize) -> Self {
        let values = Line::flatten(lines);
        Self { values, sixteen: LANES * terms, item: 1, term: LANES, prefetch: false }
    }

    /// The items from `item` on, over the terms from `term` on.
    #[inline(always)]
    pub(super) fn from(&self, item: usize, term: usize) -> Self {
        let at = item / LANES * self.sixteen + item % LANES * self.item + term * self.term;
        Self { values: self.values.get(at..).unwrap_or_default(), ..*self }
    }

    /// How many items from `item` on are `item` numbers apart.
    #[inline(always)]
    pub(super) fn neighbours(&self, item: usize) -> usize {
        if self.sixteen == LANES * self.item { usize::MAX } else { LANES - item % LANES }
    }

    /// The strides of items and terms, of which the compiler knows one.
    #[inline(always)]
    fn strides<const ROWS: bool>(&self) -> (usize, usize) {
        if ROWS { (self.item, 1) } else { (1, self.term) }
    }

    /// # Panics
    ///
    /// Panics unless the slice has all terms of `items` items.
    #[inline(always)]
    fn check<const ROWS: bool>(&self, items: usize, terms: usize) {
        let (item, term) = self.strides::<ROWS>();
        assert!((items - 1) * item + (terms - 1) * term < self.values.len(), "inside the slice");
    }

    #[inline(always)]
    fn prefetch<S: Simd, const ROWS: bool>(&self, simd: S, items: usize, term: usize) {
        if ROWS && self.prefetch {
            for i in 0..items {
                simd.prefetch(self.values.as_ptr().wrapping_add((items + i) * self.item + term));
            }
        }
    }

    /// # Safety
    ///
    /// [`Self::check`] has passed for more items and terms.
    #[inline(always)]
    unsafe fn get<const ROWS: bool>(&self, i: usize, t: usize) -> f32 {
        let (item, term) = self.strides::<ROWS>();
        // SAFETY: the caller's promise.
        unsafe { *self.values.get_unchecked(i * item + t * term) }
    }
}

/// The items that fill the lanes: panels of sixteen begin every `panel` numbers, and the lines of a
/// panel, one for each term, every `line`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Across<'a> {
    pub(super) values: &'a [f32],
    pub(super) panel: usize,
    pub(super) line: usize,
}

impl<'a> Across<'a> {
    pub(super) fn packed(lines: &'a [Line], terms: usize) -> Self {
        Self { values: Line::flatten(lines), panel: LANES * terms, line: LANES }
    }

    /// The panels from `panel` on, over the terms from `term` on.
    #[inline(always)]
    pub(super) fn from(&self, panel: usize, term: usize) -> Self {
        let at = panel * self.panel + term * self.line;
        Self { values: self.values.get(at..).unwrap_or_default(), ..*self }
    }
}

impl Across<'_> {
    /// # Panics
    ///
    /// Panics unless the slice has `width` numbers of every term of `panels` panels.
    #[inline(always)]
    fn check(&self, panels: usize, terms: usize, width: usize) {
        let reach = (panels - 1) * self.panel + (terms - 1) * self.line + width;
        assert!(reach <= self.values.len(), "lines inside the slice");
    }

    /// # Safety
    ///
    /// [`Self::check`] has passed for more panels and terms, and `N` numbers.
    #[inline(always)]
    unsafe fn get<const N: usize>(&self, panel: usize, t: usize) -> &[f32; N] {
        let at = panel * self.panel + t * self.line;
        // SAFETY: the caller's promise.
        unsafe { &*self.values.as_ptr().add(at).cast() }
    }
}

/// Where the sums of a tile come from and go to.
pub(super) trait Sink {
    /// Whether tiles of the first block may be wider than [`PANELS`].
    const WIDE: bool;
    /// Accumulators from `item` and `panel` on; that of item `i`, panel `n` is line
    /// `PANELS * i + n`.
    fn sums(&self, item: usize, panel: usize) -> &[Line];
    /// Takes the sums of items by panels, from `item` and `panel` on.
    fn put<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        item: usize,
        panel: usize,
        sums: [[S::V; N]; M],
    );
}

/// Sums that stay where they are.
pub(super) struct Sums<'a>(pub(super) &'a mut [Line]);

impl Sink for Sums<'_> {
    const WIDE: bool = false;
    #[inline(always)]
    fn sums(&self, item: usize, panel: usize) -> &[Line] {
        &self.0[PANELS * item + panel..]
    }

    #[inline(always)]
    fn put<S: Simd, const M: usize, const N: usize>(
        &mut self,
        simd: S,
        item: usize,
        panel: usize,
        sums: [[S::V; N]; M],
    ) {
        let lines = &mut self.0[PANELS * item + panel..][..PANELS * (M - 1) + N];
        for i in 0..M {
            for n in 0..N {
                simd.store(&mut lines[PANELS * i + n].0, sums[i][n]);
            }
        }
    }
}

/// What both microkernels take: some items and some panels, whose products are added to the sums so
/// far or to 0. Each sum is one chain of fused multiply-adds in the order of the terms.
pub(super) struct Arguments<'s, K> {
    pub(super) a: Broadcast<'s>,
    pub(super) b: Across<'s>,
    pub(super) terms: usize,
    /// Whether there are sums so far.
    pub(super) add: bool,
    /// The first item, for the sink.
    pub(super) item: usize,
    /// The first panel, for the sink.
    pub(super) panel: usize,
    pub(super) sink: &'s mut K,
}

/// The products of `M` items with `tiles` times `N` whole panels. All tiles are computed within one
/// call: where the terms are few, a call for each took longer than the products.
///
/// # Panics
///
/// Running it panics when an operand has fewer items, panels or terms.
pub(super) struct Whole<'s, K, const M: usize, const N: usize, const ROWS: bool> {
    pub(super) arguments: Arguments<'s, K>,
    pub(super) tiles: usize,
}

impl<K: Sink, const M: usize, const N: usize, const ROWS: bool> Kernel
    for Whole<'_, K, M, N, ROWS>
{
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { arguments: Arguments { a, b, terms, add, item, panel, sink }, tiles } = self;
        if tiles == 0 {
            return;
        }
        if terms > 0 {
            a.check::<ROWS>(M, terms);
            b.check(tiles * N, terms, LANES);
        }
        for tile in 0..tiles {
            let b = b.from(tile * N, 0);
            let panel = panel + tile * N;
            let mut totals = [[simd.splat(0.0); N]; M];
            if add {
                let sums = sink.sums(item, panel);
                for i in 0..M {
                    for n in 0..N {
                        totals[i][n] = simd.load(&sums[PANELS * i + n].0);
                    }
                }
            }
            let mut from = 0;
            while from < terms {
                a.prefetch::<S, ROWS>(simd, M, from);
                let to = terms.min(from + AHEAD);
                for t in from..to {
                    let mut across = [simd.splat(0.0); N];
                    for n in 0..N {
                        // SAFETY: checked above.
                        across[n] = simd.load(unsafe { b.get(n, t) });
                    }
                    for i in 0..M {
                        // SAFETY: checked above.
                        let number = simd.splat(unsafe { a.get::<ROWS>(i, t) });
                        for n in 0..N {
                            totals[i][n] = simd.mul_add(number, across[n], totals[i][n]);
                        }
                    }
                }
                from = to;
            }
            sink.put(simd, item, panel, totals);
        }
    }
}

/// The products of `M` items with the first eight lanes of one panel.
///
/// # Panics
///
/// Running it panics when an operand has fewer items or terms.
pub(super) struct Half<'s, K, const M: usize, const ROWS: bool>(pub(super) Arguments<'s, K>);

impl<K: Sink, const M: usize, const ROWS: bool> Kernel for Half<'_, K, M, ROWS> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        const HALF: usize = LANES / 2;
        let Arguments { a, b, terms, add, item, panel, sink } = self.0;
        if terms > 0 {
            a.check::<ROWS>(M, terms);
            b.check(1, terms, HALF);
        }
        let mut totals = [simd.half_splat(0.0); M];
        if add {
            let sums = sink.sums(item, panel);
            for i in 0..M {
                let sum = sums[PANELS * i].0.first_chunk().expect("eight of sixteen");
                totals[i] = simd.half_load(sum);
            }
        }
        let mut from = 0;
        while from < terms {
            a.prefetch::<S, ROWS>(simd, M, from);
            let to = terms.min(from + AHEAD);
            for t in from..to {
                // SAFETY: checked above.
                let across = simd.half_load(unsafe { b.get(0, t) });
                for i in 0..M {
                    // SAFETY: checked above.
                    let number = simd.half_splat(unsafe { a.get::<ROWS>(i, t) });
                    totals[i] = simd.half_mul_add(number, across, totals[i]);
                }
            }
            from = to;
        }
        let mut sums = [[simd.splat(0.0)]; M];
        for i in 0..M {
            let mut sum = [0.0; LANES];
            simd.half_store(sum.first_chunk_mut().expect("eight of sixteen"), totals[i]);
            sums[i] = [simd.load(&sum)];
        }
        sink.put(simd, item, panel, sums);
    }
}
