//! Packing: rounds an operand to bf16 and lays it out in tiles.

use super::round::round;
use super::tile::{GROUP, Layout, Line, Pair, TERMS, Tile, Tiles, blocks};
use crate::matmul::pack::Operand;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Threads;

#[cfg(target_arch = "x86_64")]
mod x86;

/// What is contiguous in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// The terms of an item.
    Along,
    /// The items of a term.
    Across,
}

/// Tiles that a task packs at least: below it, handing tasks over costs more.
const GRAIN: usize = 64;

/// Packs an operand. Its tiles are the first of `to`, which grows as needed.
///
/// Every line of every tile is written: what an earlier operand left in the padding may be NaN.
pub(super) fn pack<'t>(
    threads: Threads<'_>,
    operand: Operand<'_>,
    layout: Layout,
    to: &'t mut Vec<Tile>,
) -> Tiles<'t> {
    let (groups, blocks) = (operand.items.div_ceil(GROUP), blocks(operand.terms));
    if to.len() < groups * blocks {
        to.resize(groups * blocks, Tile::ZERO);
    }
    let to = &mut to[..groups * blocks];
    let share = groups.div_ceil(2 * threads.count()).max(GRAIN.div_ceil(blocks)).max(1);
    threads.each_of(to.chunks_mut(share * blocks).enumerate(), |(task, to)| {
        pack_groups(operand, layout, task * share, to);
    });
    Tiles::new(to, operand.terms)
}

impl Operand<'_> {
    /// What is contiguous, and the numbers from one run of it to the next.
    #[inline(always)]
    fn order(&self) -> (Order, usize) {
        if self.term == 1 { (Order::Along, self.item) } else { (Order::Across, self.term) }
    }

    /// Calls `convert` for each strip from group `first` on: its source, and its tiles (every
    /// [`blocks`]-th of the slice).
    #[inline(always)]
    fn each_strip(&self, first: usize, to: &mut [Tile], convert: impl Fn(Source<'_>, Strip<'_>)) {
        let blocks = blocks(self.terms);
        let groups = to.len() / blocks;
        let mut strip = |group: usize, block: usize, groups: usize| {
            let source = self.source((first + group) * GROUP, groups * GROUP, block * TERMS);
            let tiles = &mut to[group * blocks + block..];
            convert(source, Strip { tiles, blocks, groups });
        };
        match self.order().0 {
            Order::Along => (0..groups).for_each(|g| (0..blocks).for_each(|b| strip(g, b, 1))),
            Order::Across => {
                for b in 0..blocks {
                    (0..groups).step_by(STRIP).for_each(|g| strip(g, b, STRIP.min(groups - g)));
                }
            }
        }
    }

    #[inline(always)]
    fn source(&self, item: usize, items: usize, term: usize) -> Source<'_> {
        let (items, terms) = ((self.items - item).min(items), (self.terms - term).min(TERMS));
        let (order, stride) = self.order();
        let (at, lines, width) = match order {
            Order::Along => (item * stride + term, items, terms),
            Order::Across => (term * stride + item, terms, items),
        };
        let values = self.values.get(at..).unwrap_or_default();
        Source { values, stride, lines, width }
    }
}

/// Groups of a strip where items are contiguous: runs of 256 bytes are read. Rows are often a
/// multiple of 2 KiB apart, so that the first cache holds few of them: with runs of 64 bytes, which
/// share a cache line with the next where the operand is not aligned, lines were read twice.
const STRIP: usize = 4;

/// Tiles of a block of terms, of neighbouring groups.
struct Strip<'a> {
    tiles: &'a mut [Tile],
    blocks: usize,
    groups: usize,
}

impl Strip<'_> {
    #[inline(always)]
    fn tiles(&mut self) -> impl Iterator<Item = &mut Tile> {
        self.tiles.iter_mut().step_by(self.blocks).take(self.groups)
    }
}

/// What a strip is made from: `lines` runs of `width` numbers, a stride apart.
#[derive(Clone, Copy)]
struct Source<'a> {
    values: &'a [f32],
    stride: usize,
    lines: usize,
    width: usize,
}

impl<'a> Source<'a> {
    /// One of the lines, where there is such a line.
    #[inline(always)]
    fn line(&self, i: usize) -> Option<&'a [f32]> {
        let held = i < self.lines && self.width > 0;
        held.then(|| &self.values[i * self.stride..][..self.width])
    }
}

/// Packs the groups from `first` on.
pub(super) fn pack_groups(operand: Operand<'_>, layout: Layout, first: usize, to: &mut [Tile]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(proof) = super::avx512::Avx512Bf16::detect() {
        let (order, _) = operand.order();
        return operand.each_strip(first, to, |source, to| {
            x86::convert(proof, source, order, layout, to);
        });
    }
    dispatch(Portable { operand, layout, first, to });
}

/// [`pack_groups`] without intrinsics, compiled for whatever vectors the machine has.
struct Portable<'a> {
    operand: Operand<'a>,
    layout: Layout,
    first: usize,
    to: &'a mut [Tile],
}

impl Kernel for Portable<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let (order, _) = self.operand.order();
        self.operand.each_strip(self.first, self.to, |source, to| {
            convert(source, order, self.layout, to);
        });
    }
}

/// Makes the tiles of a strip.
#[inline(always)]
fn convert(source: Source<'_>, order: Order, layout: Layout, mut to: Strip<'_>) {
    let line = |i, group| {
        let line: &[f32] = source.line(i).unwrap_or_default();
        line.get(group * GROUP..).unwrap_or_default()
    };
    for (group, to) in to.tiles().enumerate() {
        for (i, to) in to.0.iter_mut().enumerate() {
            *to = match order {
                Order::Along => along(line(i, 0)),
                Order::Across => across(line(2 * i, group), line(2 * i + 1, group)),
            };
        }
        if transposes(order, layout) {
            to.0 = transpose(&to.0);
        }
    }
}

/// Whether a packed tile must be transposed to get `layout`.
#[inline(always)]
fn transposes(order: Order, layout: Layout) -> bool {
    (order == Order::Along) == (layout == Layout::Vnni)
}

/// The pairs of one item's terms.
#[inline(always)]
fn along(terms: &[f32]) -> Line {
    let full: [f32; TERMS] = padded(terms);
    std::array::from_fn(|i| pair(full[2 * i], full[2 * i + 1]))
}

/// A pair of terms of sixteen items.
#[inline(always)]
fn across(first: &[f32], second: &[f32]) -> Line {
    let first: [f32; GROUP] = padded(&first[..first.len().min(GROUP)]);
    let second: [f32; GROUP] = padded(&second[..second.len().min(GROUP)]);
    std::array::from_fn(|i| pair(first[i], second[i]))
}

#[inline(always)]
fn pair(first: f32, second: f32) -> Pair {
    Pair::from(round(first)) | Pair::from(round(second)) << 16
}

/// `a`, then zeros.
#[inline(always)]
fn padded<const N: usize>(a: &[f32]) -> [f32; N] {
    // A copy of known length is no call.
    if let Some(whole) = a.as_array() {
        return *whole;
    }
    let mut full = [0.0; N];
    full[..a.len()].copy_from_slice(a);
    full
}

#[inline(always)]
fn transpose(lines: &[Line; GROUP]) -> [Line; GROUP] {
    std::array::from_fn(|i| std::array::from_fn(|j| lines[j][i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::MatRef;
    use crate::testing::{noise, on_every_form};

    fn numbers(len: usize) -> Vec<f32> {
        let special = [f32::NAN, f32::INFINITY, -0.0, 1e-40, -1e-40, f32::MIN_POSITIVE, f32::MAX];
        let mut values = noise(1, len);
        for (i, value) in values.iter_mut().enumerate().filter(|(i, _)| i % 13 == 5) {
            *value = special[i / 13 % special.len()];
        }
        values
    }

    /// Both orders, in both layouts, into tiles that held other numbers, by every form of the code.
    #[test]
    fn every_number_is_in_its_place_and_the_padding_is_zero() {
        for (items, terms) in [(1, 1), (16, 32), (17, 33), (31, 15), (50, 70), (5, 0)] {
            for stride in [0, 3] {
                on_every_form(|| check(items, terms, stride));
            }
        }
    }

    fn check(items: usize, terms: usize, apart: usize) {
        let along = numbers(items * (terms + apart));
        let across = numbers(terms * (items + apart));
        let rows = MatRef::strided(&along, items, terms, terms + apart);
        let columns = MatRef::strided(&across, terms, items, items + apart);
        for operand in [Operand::rows(rows), Operand::columns(columns)] {
            for (layout, threads) in [(Layout::Rows, Threads::One), (Layout::Vnni, Threads::Pool)] {
                let mut to = vec![Tile([[u32::MAX; GROUP]; GROUP]); 200];
                let tiles = pack(threads, operand, layout, &mut to);
                assert_eq!(tiles.groups(), items.div_ceil(GROUP));
                for item in 0..tiles.groups() * GROUP {
                    for term in 0..blocks(terms) * TERMS {
                        let held = item < items && term < terms;
                        let want = if held { round(at(operand, item, term)) } else { 0 };
                        let tile = tiles.group(item / GROUP)[term / TERMS].0;
                        let (item, pair) = (item % GROUP, term % TERMS / 2);
                        let pair = match layout {
                            Layout::Rows => tile[item][pair],
                            Layout::Vnni => tile[pair][item],
                        };
                        let got = (pair >> (16 * (term % 2))) as u16;
                        assert_eq!(got, want, "{layout:?} of {operand:?}: ({item}, {term})");
                    }
                }
            }
        }
    }

    fn at(operand: Operand<'_>, item: usize, term: usize) -> f32 {
        operand.values[item * operand.item + term * operand.term]
    }
}
