//! Matrix products of numbers rounded to bf16, summed in `f32`: twice the rate of `f32` products
//! where the machine has the instruction, and about their rate elsewhere.
//!
//! With the instruction, operands are rounded and laid out anew, sixteen rows (or columns) side by
//! side with pairs along the sum, then multiplied by tiles: every output is one sum in ascending
//! order, cut into the blocks of [`BLOCK`], whatever the other rows and however many threads.
//! Without it, they are rounded as they lie, for the product of `f32`.

use std::cell::RefCell;

use gemm::Parallelism;

use super::blocks::{Operand, Target, block, each, tasks};
use super::columns::Columns;
use super::product::{How, Into, View};
use super::simd::pairs::{self, PairKernel, Pairs, Sixteen, dispatch_pairs, has_instruction};
use super::simd::{Kernel, LANES, Simd, dispatch};

/// Terms of a sum that are laid out at once, at most: sixteen rows of them are 32 KiB.
const BLOCK: usize = 1024;

/// Groups of sixteen rows, and of sixteen columns, that one task multiplies: its rows stay in the
/// second cache while the columns pass.
const TASK: (usize, usize) = (16, 12);

/// Groups of sixteen columns that a tile has: with eight rows, 24 sums.
const TILE: usize = 3;

thread_local! {
    /// Both operands laid out, kept from product to product.
    static LAID_OUT: RefCell<[Vec<Sixteen>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
    /// Both operands rounded as they lie.
    static ROUNDED: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// As [`super::product::product`], of operands rounded to bf16.
pub(super) fn product(
    y: &Columns<'_>,
    shape: (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    if has_instruction() {
        return by_tiles(y, shape, lhs, rhs, how);
    }
    let (m, n, k) = shape;
    let [mut a, mut b] = ROUNDED.take();
    round_by(&lhs.values[..lhs.extent(m, k)], &mut a, how.threads);
    round_by(&rhs.values[..rhs.extent(k, n)], &mut b, how.threads);
    let (lhs, rhs) = (View { values: &a, ..lhs }, View { values: &b, ..rhs });
    super::product::of_f32(y, shape, lhs, rhs, how);
    ROUNDED.set([a, b]);
}

/// Numbers that one task rounds.
const ROUNDED_AT_ONCE: usize = 1 << 15;

/// `x` rounded to bf16, as `f32`.
pub(super) fn round(x: &[f32], to: &mut Vec<f32>) {
    to.resize(x.len(), 0.0);
    dispatch(Round { x, to });
}

fn round_by(x: &[f32], to: &mut Vec<f32>, threads: Parallelism) {
    to.resize(x.len(), 0.0);
    let tasks = to.chunks_mut(ROUNDED_AT_ONCE).zip(x.chunks(ROUNDED_AT_ONCE)).collect();
    each(tasks, threads, |(to, x): (&mut [f32], &[f32])| dispatch(Round { x, to }));
}

struct Round<'a> {
    x: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Round<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Simd>(self, _: L) {
        for (to, &x) in self.to.iter_mut().zip(self.x) {
            *to = f32::from_bits(pairs::rounded(x) << 16);
        }
    }
}

/// The product of operands laid out anew.
fn by_tiles(
    y: &Columns<'_>,
    (m, n, k): (usize, usize, usize),
    lhs: View<'_>,
    rhs: View<'_>,
    how: How,
) {
    let [mut a, mut b] = LAID_OUT.take();
    let mut target = Target { y, scale: how.scale, add: how.into == Into::Add };
    let step = block(k, BLOCK, 2);
    for from in (0..k.max(1)).step_by(step) {
        let terms = from..(from + step).min(k);
        let pairs = terms.len().div_ceil(2);
        lay_out(Operand::rows(lhs, m), terms.clone(), &mut a, how.threads);
        lay_out(Operand::columns(rhs, n), terms, &mut b, how.threads);
        let blocks = Blocks { a: &a, b: &b, pairs, target: &target };
        let groups = (m.div_ceil(LANES), n.div_ceil(LANES));
        each(tasks(groups, TASK), how.threads, |(rows, columns)| {
            dispatch_pairs(Task { blocks: &blocks, rows, columns });
        });
        target.add = true;
    }
    LAID_OUT.set([a, b]);
}

/// Groups of sixteen items: (groups, pairs, sixteen).
fn lay_out(
    operand: Operand<'_>,
    terms: std::ops::Range<usize>,
    to: &mut Vec<Sixteen>,
    threads: Parallelism,
) {
    let pairs = terms.len().div_ceil(2);
    let groups = operand.items.div_ceil(LANES);
    to.resize(groups * pairs, [0; LANES]);
    if pairs == 0 {
        return;
    }
    each(to.chunks_mut(pairs).enumerate().collect(), threads, |(group, to)| {
        let first = group * LANES;
        dispatch_pairs(LayOut { operand, first, terms: terms.clone(), to });
    });
}

/// One group.
struct LayOut<'a> {
    operand: Operand<'a>,
    first: usize,
    terms: std::ops::Range<usize>,
    to: &'a mut [Sixteen],
}

impl PairKernel for LayOut<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Simd, P: Pairs<L>>(self, _: L, p: P) {
        match (self.operand.item, self.operand.step) {
            (_, 1) => self.along::<L, P>(p),
            (1, _) => self.across::<L, P>(p),
            _ => self.anyhow::<L, P>(p),
        }
    }
}

impl LayOut<'_> {
    fn items(&self) -> usize {
        (self.operand.items - self.first).min(LANES)
    }

    /// Each item's numbers lie side by side.
    #[inline(always)]
    fn along<L: Simd, P: Pairs<L>>(self, p: P) {
        let items = self.items();
        for (block, to) in self.to.chunks_mut(LANES).enumerate() {
            let from = self.terms.start + 2 * LANES * block;
            let held = (self.terms.end - from).min(2 * LANES);
            let mut rows = [[0; LANES]; LANES];
            for (i, row) in rows[..items].iter_mut().enumerate() {
                let at = (self.first + i) * self.operand.item + from;
                let values = &self.operand.values[at..at + held];
                *row = p.neighbours(&padded(values));
            }
            to.copy_from_slice(&p.transpose(&rows)[..to.len()]);
        }
    }

    /// The items' numbers lie side by side.
    #[inline(always)]
    fn across<L: Simd, P: Pairs<L>>(self, p: P) {
        let items = self.items();
        let line = |term: usize| {
            if term >= self.terms.end {
                return [0.0; LANES];
            }
            let at = term * self.operand.step + self.first;
            padded(&self.operand.values[at..at + items])
        };
        for (pair, to) in self.to.iter_mut().enumerate() {
            let term = self.terms.start + 2 * pair;
            *to = p.zip(&line(term), &line(term + 1));
        }
    }

    #[inline(always)]
    fn anyhow<L: Simd, P: Pairs<L>>(self, p: P) {
        let items = self.items();
        let line = |term: usize| {
            let mut line = [0.0; LANES];
            if term < self.terms.end {
                for (i, x) in line[..items].iter_mut().enumerate() {
                    let Operand { values, item, step, .. } = self.operand;
                    *x = values[(self.first + i) * item + term * step];
                }
            }
            line
        };
        for (pair, to) in self.to.iter_mut().enumerate() {
            let term = self.terms.start + 2 * pair;
            *to = p.zip(&line(term), &line(term + 1));
        }
    }
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

/// Two operands laid out, and where their product goes.
struct Blocks<'a> {
    a: &'a [Sixteen],
    b: &'a [Sixteen],
    pairs: usize,
    target: &'a Target<'a>,
}

/// Some groups of rows by some groups of columns.
struct Task<'a> {
    blocks: &'a Blocks<'a>,
    rows: std::ops::Range<usize>,
    columns: std::ops::Range<usize>,
}

impl PairKernel for Task<'_> {
    type Output = ();
    #[inline(always)]
    fn run<L: Simd, P: Pairs<L>>(self, l: L, p: P) {
        for column in self.columns.clone().step_by(TILE) {
            for row in self.rows.clone() {
                match self.columns.end - column {
                    1 => self.group::<L, P, 1>(l, p, row, column),
                    2 => self.group::<L, P, 2>(l, p, row, column),
                    _ => self.group::<L, P, TILE>(l, p, row, column),
                }
            }
        }
    }
}

/// Rows of a tile.
const ROWS: usize = LANES / 2;

impl Task<'_> {
    /// Sixteen rows by `N` times sixteen columns.
    #[inline(always)]
    fn group<L: Simd, P: Pairs<L>, const N: usize>(&self, l: L, p: P, row: usize, column: usize) {
        let Blocks { a, b, pairs, target } = *self.blocks;
        let a = &a[row * pairs..][..pairs];
        let mut columns = [&[] as &[Sixteen]; N];
        for j in 0..N {
            columns[j] = &b[(column + j) * pairs..][..pairs];
        }
        for half in 0..2 {
            let first = row * LANES + half * ROWS;
            if first < target.y.rows() {
                let sums = tile::<L, P, N>(l, p, a, half, columns);
                // SAFETY: each task has its own rows and columns.
                unsafe { target.store(l, sums, first, column * LANES) }
            }
        }
    }
}

/// Sums of half a group of rows by `N` groups of columns.
#[inline(always)]
fn tile<L: Simd, P: Pairs<L>, const N: usize>(
    l: L,
    p: P,
    a: &[Sixteen],
    half: usize,
    b: [&[Sixteen]; N],
) -> [[L::V; N]; ROWS] {
    let mut sums = [[l.splat(0.0); N]; ROWS];
    for k in 0..a.len() {
        let mut columns = [p.load(l, &b[0][k]); N];
        for j in 1..N {
            columns[j] = p.load(l, &b[j][k]);
        }
        let rows = &a[k].as_chunks::<ROWS>().0[half];
        for i in 0..ROWS {
            let x = p.splat(l, rows[i]);
            for j in 0..N {
                sums[i][j] = p.dot(l, x, columns[j], sums[i][j]);
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Lies, Product, check_product, noise, on_every_form, product_keeps_nan};

    /// What the machine would choose, and the tiles, which every machine can run.
    const BOTH: [Product; 2] = [product, by_tiles];

    #[test]
    fn equals_the_product_of_rounded_numbers() {
        let rounded = |x: f32| half::bf16::from_f32(x).to_f64();
        on_every_form(|| {
            for product in BOTH {
                let check = |shape, lies, into| check_product(product, rounded, shape, lies, into);
                for shape in [(1, 1, 1), (3, 17, 5), (8, 48, 32), (16, 16, 33), (37, 100, 70)] {
                    for lhs in Lies::ALL {
                        for rhs in Lies::ALL {
                            check(shape, [lhs, rhs], Into::Set);
                        }
                    }
                }
                check((300, 250, 64), [Lies::Rows, Lies::Turned], Into::Add);
                check((9, 20, 2500), [Lies::Turned, Lies::Rows], Into::Add);
            }
        });
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (k, n) = (100, 70);
        let (a, b) = (noise(1, 40 * k), noise(2, k * n));
        let all = |m: usize, threads| {
            let mut out = vec![0.0; m * n];
            let how = How { threads, ..How::ALONE };
            let y = Columns::new(&mut out, m);
            by_tiles(&y, (m, n, k), View::rows(&a, k), View::rows(&b, n), how);
            out
        };
        let whole = all(40, Parallelism::Rayon(0));
        for m in [1, 7, 8, 9, 16, 39] {
            assert_eq!(all(m, Parallelism::None), whole[..m * n], "{m} rows");
        }
    }

    #[test]
    fn what_is_not_a_number_stays_so() {
        on_every_form(|| BOTH.into_iter().for_each(product_keeps_nan));
    }

    /// Rounding is to the nearest, ties to even, by every form.
    #[test]
    fn rounding_is_that_of_the_half_crate() {
        on_every_form(|| {
            let values: Vec<f32> = noise(5, 512)
                .into_iter()
                .chain([1.003_906_3, 1.011_718_8, -1.003_906_3, 0.0, -0.0, 3e38, 3.4e38])
                .collect();
            let want: Vec<f32> = values.iter().map(|&x| half::bf16::from_f32(x).to_f32()).collect();
            let (lhs, rhs) = (View::rows(&values, 1), View::rows(&[1.0], 1));
            for product in BOTH {
                let mut out = vec![0.0; values.len()];
                let y = Columns::new(&mut out, values.len());
                product(&y, (values.len(), 1, 1), lhs, rhs, How::ALONE);
                assert_eq!(out, want);
            }
        });
    }
}
