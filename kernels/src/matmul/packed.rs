//! Products with one packed operand: all but those of a few rows.
//!
//! The numbers of one operand, `a`, are broadcast; those of the other, `b`, are packed in panels of
//! sixteen and fill the lanes. In a forward pass `a` is the weight, read in place, and the result
//! is transposed when it is stored; so a weight is never packed, and one kernel serves 5 rows as
//! well as 2,048.
//!
//! Every output is one chain of fused multiply-adds over ascending terms, which starts at 0.
//! Nothing else enters it: not the other rows, the blocks, the tasks, the threads or the form.

mod task;

use std::cell::RefCell;

use super::microkernel::{Across, Broadcast, PANELS};
use super::pack::{Line, Operand, pack};
use super::select;
use crate::matrix::MatRef;
use crate::output::Output;
use crate::simd::{LANES, dispatch};
use crate::threads::Threads;
use task::{GROUP, Operands, Task};

/// Bytes of a packed operand, at most, but for one task's share.
const PACKED_BYTES: usize = 16 << 20;

/// Items of `a` in a task, at most: the more, the less often `b` is read.
const ITEMS: usize = 384;

/// Items of `a` in a task of a product with few items of `b`, at most.
const ITEMS_OF_FEW: usize = 128;

/// `b` counts as small below this many tasks across it.
const FEW: usize = 3;

/// Part of `b` that a task rereads for each tile of `a`; stays in L2.
const RUN_BYTES: usize = 384 << 10;

/// Tasks for each thread, at least, where there are enough items.
const TASKS_PER_THREAD: usize = 4;

thread_local! {
    /// Packed operands, kept from product to product.
    static PACKED: RefCell<[Vec<Line>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// One of the products that share `b`.
pub(super) struct Product<'a> {
    pub(super) a: Operand<'a>,
    /// Added to each item of `a`, for a transposed output only.
    pub(super) bias: Option<&'a [f32]>,
    pub(super) output: Output<'a>,
}

/// How sums are written to the output.
#[derive(Clone, Copy)]
pub(super) struct Store {
    /// What they are multiplied by.
    pub(super) scale: f32,
    /// Whether the output's rows are the items of `b`, not those of `a`.
    pub(super) transposed: bool,
}

/// `scale * a b` for each product.
///
/// # Panics
///
/// Panics unless operands and outputs fit.
pub(super) fn multiply(
    threads: Threads<'_>,
    products: Vec<Product<'_>>,
    mut b: Operand<'_>,
    store: Store,
) {
    let most = chunk(b.terms);
    let [mut a_buffer, mut b_buffer] = PACKED.take();
    let mut rest = products;
    while b.items > 0 {
        let (now, later) = b.split_at(most.min(b.items));
        b = later;
        let split = |product| split_b(product, now.items, store.transposed);
        let (products, others): (Vec<_>, _) = rest.into_iter().map(split).unzip();
        rest = others;
        let items = products.iter().map(|product| product.a.items).sum();
        let across = if select::b_is_packed(now, items) {
            Across::packed(pack(threads, now, &mut b_buffer), now.terms)
        } else {
            Across { values: now.values, panel: LANES, line: now.term }
        };
        let (packed, in_place): (Vec<_>, Vec<_>) =
            products.into_iter().partition(|product| select::a_is_packed(product.a));
        let in_place =
            in_place.into_iter().map(|product| (Broadcast::in_place(product.a), product));
        run(threads, in_place.collect(), now, across, store);
        for mut product in packed {
            while product.a.items > 0 {
                let (piece, others) = split_a(product, most, store.transposed);
                product = others;
                let lines = pack(threads, piece.a, &mut a_buffer);
                let a = Broadcast::packed(lines, piece.a.terms);
                run(threads, vec![(a, piece)], now, across, store);
            }
        }
    }
    PACKED.set([a_buffer, b_buffer]);
}

/// Rows of `x` in a forward product, packed, for a weight that comes in tiles.
#[derive(Clone, Copy)]
pub(super) struct PackedRows<'a> {
    x: Operand<'a>,
    across: Across<'a>,
}

/// Packs the rows of `x`, as many at once as there is room for, and passes them on with their rows
/// of `y`.
pub(super) fn with_rows<'a>(
    threads: Threads<'_>,
    x: MatRef<'_>,
    mut y: Output<'a>,
    work: impl Fn(PackedRows<'_>, Output<'a>),
) {
    let (mut rest, most) = (Operand::rows(x), chunk(x.columns()));
    let [a_buffer, mut b_buffer] = PACKED.take();
    while rest.items > 0 {
        let (x, later) = rest.split_at(most.min(rest.items));
        let (now, others) = y.split_at_row(x.items);
        let across = Across::packed(pack(threads, x, &mut b_buffer), x.terms);
        work(PackedRows { x, across }, now);
        (rest, y) = (later, others);
    }
    PACKED.set([a_buffer, b_buffer]);
}

impl PackedRows<'_> {
    /// `y (+)= x W^T + b`, on one thread.
    ///
    /// Shapes: `weight` (out, in), `bias` (out), `y` (rows, out).
    pub(super) fn multiply(self, weight: &[f32], bias: Option<&[f32]>, y: Output<'_>) {
        let Self { x, across } = self;
        let a = Operand::rows(MatRef::new(weight, y.columns(), x.terms));
        let product = Product { a, bias, output: y };
        let store = Store { scale: 1.0, transposed: true };
        run(Threads::One, vec![(Broadcast::in_place(a), product)], x, across, store);
    }
}

/// Items that are packed at once, at most.
fn chunk(terms: usize) -> usize {
    let unit = PANELS * LANES;
    (PACKED_BYTES / (size_of::<f32>() * unit * terms.max(1))).max(1) * unit
}

/// The product with the first items of `b`, and that with the others.
fn split_b(product: Product<'_>, items: usize, transposed: bool) -> (Product<'_>, Product<'_>) {
    let Product { a, bias, output } = product;
    let (first, others) =
        if transposed { output.split_at_row(items) } else { output.split_at_column(items) };
    (Product { a, bias, output: first }, Product { a, bias, output: others })
}

/// The product with up to `most` items of `a`, and that with the others.
fn split_a(product: Product<'_>, most: usize, transposed: bool) -> (Product<'_>, Product<'_>) {
    let Product { a, bias, output } = product;
    let at = most.min(a.items);
    let (a, others) = a.split_at(at);
    let (bias, other_bias) = bias.map(|bias| bias.split_at(at)).unzip();
    let (first, rest) =
        if transposed { output.split_at_column(at) } else { output.split_at_row(at) };
    (Product { a, bias, output: first }, Product { a: others, bias: other_bias, output: rest })
}

/// The products, each with its `a` as the microkernel reads it.
fn run(
    threads: Threads<'_>,
    products: Vec<(Broadcast<'_>, Product<'_>)>,
    b: Operand<'_>,
    across: Across<'_>,
    store: Store,
) {
    let items = products.iter().map(|(_, product)| product.a.items).sum();
    let wide = task_lanes(b, items, store, threads.count());
    let high = task_items(items, b.items.div_ceil(wide), threads.count());
    let tasks = products.into_iter().flat_map(|(mut a, Product { bias, output, .. })| {
        a.prefetch = b.items <= PANELS * LANES;
        let (rows, columns) = if store.transposed { (wide, high) } else { (high, wide) };
        output.blocks(rows, columns).map(move |(row, column, output)| {
            let (first, lane) = if store.transposed { (column, row) } else { (row, column) };
            let across = across.from(lane / LANES, 0);
            let operands = Operands { a, across, terms: b.terms };
            Task { operands, first, bias, output, store }
        })
    });
    threads.each_of(tasks, dispatch);
}

/// Items of `b` in a task: those of one tile, or as many as the second cache holds where sums go
/// straight to the output, so that its rows are written in runs.
fn task_lanes(b: Operand<'_>, a_items: usize, store: Store, threads: usize) -> usize {
    let tile = PANELS * LANES;
    if store.transposed || b.terms > select::terms_of_block(a_items) {
        return tile;
    }
    let few = a_items <= select::ONE_PASS;
    if few && threads == 1 {
        // Nothing is read twice, so nothing need stay in a cache.
        return usize::MAX / 2 / tile * tile;
    }
    let tiles = RUN_BYTES / (size_of::<f32>() * tile * b.terms.max(1));
    tiles.max(if few { 2 } else { 1 }) * tile
}

/// Items of `a` in a task: as many as pay, and few enough for all threads.
fn task_items(a_items: usize, across: usize, threads: usize) -> usize {
    let most = if across < FEW { ITEMS_OF_FEW } else { ITEMS };
    if threads == 1 {
        return most;
    }
    let fair = (a_items * across).div_ceil(TASKS_PER_THREAD * threads);
    fair.clamp(1, most).next_multiple_of(GROUP)
}
