//! The driver: cuts products into tasks for threads, and tasks into tiles for a microkernel.

use super::tile::{GROUP, Tile, Tiles, blocks};
use crate::output::Output;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Threads;

/// Multiplies tiles of two packed operands.
pub(super) trait Microkernel: Copy + Send {
    /// What a task holds while it uses the kernel.
    type Ready;
    /// A tile of results: as many rows as are multiplied at once.
    type Results: AsMut<[Row]>;
    /// Rows that nothing was written to.
    const RESULTS: Self::Results;
    /// Groups of sixteen columns of a tile of results, at most; no more than [`GROUPS`].
    const GROUPS: usize;

    fn ready(self) -> Self::Ready;

    /// Computes one tile of results. Results outside the operands' rows and columns are undefined.
    fn multiply<S: Simd>(
        ready: &Self::Ready,
        simd: S,
        operands: &Operands<'_>,
        results: &mut [Row],
    );
}

/// Groups of sixteen columns of a tile of results.
pub(super) const GROUPS: usize = 6;

/// Columns of a tile of results.
const COLUMNS: usize = GROUPS * GROUP;

/// A row of a tile of results.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Row([f32; COLUMNS]);

impl Row {
    pub(super) const ZERO: Self = Self([0.0; COLUMNS]);

    /// Sixteen columns.
    #[inline(always)]
    pub(super) fn group(&mut self, group: usize) -> &mut [f32; GROUP] {
        &mut self.0.as_chunks_mut().0[group]
    }
}

/// The operands of one tile of results: some rows, and some groups of sixteen columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operands<'a> {
    a: Tiles<'a>,
    b: Tiles<'a>,
    row: usize,
    group: usize,
    /// How many rows, at least one.
    pub(super) rows: usize,
    /// How many groups of columns, at least one.
    pub(super) groups: usize,
}

impl<'a> Operands<'a> {
    /// The group of rows that has row `i`, and the row's place in it.
    #[inline(always)]
    pub(super) fn rows(&self, i: usize) -> (&'a [Tile], usize) {
        let row = self.row + i;
        (self.a.group(row / GROUP), row % GROUP)
    }

    /// Pairs of terms in a block; those of padding alone are left out.
    #[inline(always)]
    pub(super) fn pairs(&self, block: usize) -> usize {
        (self.a.terms().div_ceil(2) - block * GROUP).min(GROUP)
    }

    /// One of the groups of columns.
    #[inline(always)]
    pub(super) fn columns(&self, group: usize) -> &'a [Tile] {
        self.b.group(self.group + group)
    }
}

/// What becomes of a sum before it goes to the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Epilogue<'a> {
    /// Factor of the sums.
    pub(super) scale: f32,
    /// Added to each row.
    pub(super) bias: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    /// Applied to results of the columns from `column` on.
    #[inline(always)]
    fn apply(&self, column: usize, results: &mut [f32]) {
        if self.scale.to_bits() != 1_f32.to_bits() {
            for i in 0..results.len() {
                results[i] *= self.scale;
            }
        }
        if let Some(bias) = self.bias {
            let bias = &bias[column..][..results.len()];
            for i in 0..results.len() {
                results[i] += bias[i];
            }
        }
    }
}

/// One product of packed operands.
pub(super) struct Product<'a> {
    a: Tiles<'a>,
    b: Tiles<'a>,
    epilogue: Epilogue<'a>,
    out: Output<'a>,
}

impl<'a> Product<'a> {
    /// # Panics
    ///
    /// Panics unless the operands have groups for all rows and columns of `out`, and equal terms.
    pub(super) fn new(a: Tiles<'a>, b: Tiles<'a>, epilogue: Epilogue<'a>, out: Output<'a>) -> Self {
        assert_eq!(a.groups(), out.rows().div_ceil(GROUP), "groups of rows");
        assert_eq!(b.groups(), out.columns().div_ceil(GROUP), "groups of columns");
        assert_eq!(a.terms(), b.terms(), "terms");
        Self { a, b, epilogue, out }
    }

    /// Appends the tasks, with those of equal columns next to each other.
    fn tasks<K: Microkernel>(self, kernel: K, threads: usize, tasks: &mut Vec<Task<'a, K>>) {
        let Self { a, b, epilogue, out } = self;
        let grid = Grid::new(a.groups(), b.groups(), blocks(a.terms()), K::GROUPS, threads);
        let first = tasks.len();
        let parts = out.blocks(grid.rows * GROUP, grid.columns * GROUP);
        tasks.extend(parts.map(|(row, column, out)| Task {
            kernel,
            a,
            b,
            epilogue,
            row,
            group: column / GROUP,
            out,
        }));
        tasks[first..].sort_by_key(|task| task.group);
    }
}

/// A rectangle of one product.
struct Task<'a, K> {
    kernel: K,
    a: Tiles<'a>,
    b: Tiles<'a>,
    epilogue: Epilogue<'a>,
    /// Where it begins in the product.
    row: usize,
    group: usize,
    out: Output<'a>,
}

impl<K: Microkernel> Kernel for Task<'_, K> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let ready = self.kernel.ready();
        let mut results = K::RESULTS;
        let results = results.as_mut();
        let (all_rows, all_columns) = (self.out.rows(), self.out.columns());
        for column in (0..all_columns).step_by(K::GROUPS * GROUP) {
            let columns = (all_columns - column).min(K::GROUPS * GROUP);
            for row in (0..all_rows).step_by(results.len()) {
                let rows = (all_rows - row).min(results.len());
                let operands = Operands {
                    a: self.a,
                    b: self.b,
                    row: self.row + row,
                    group: self.group + column / GROUP,
                    rows,
                    groups: columns.div_ceil(GROUP),
                };
                for i in 0..rows {
                    self.out.prefetch(simd, row + i, column, columns);
                }
                K::multiply(&ready, simd, &operands, results);
                for i in 0..rows {
                    let results = &mut results[i].0[..columns];
                    self.epilogue.apply(self.group * GROUP + column, results);
                    self.out.write(simd, row + i, column, results);
                }
            }
        }
    }
}

/// Computes products that do not depend on each other.
pub(super) fn multiply<'a, K: Microkernel>(
    kernel: K,
    threads: Threads<'_>,
    products: impl IntoIterator<Item = Product<'a>>,
) {
    let mut tasks = Vec::new();
    for product in products {
        product.tasks(kernel, threads.count(), &mut tasks);
    }
    threads.each_of(tasks, dispatch);
}

/// Groups of rows, and of columns, of a task at most.
const TASK: usize = 16;

/// Tiles of a task's rows at most: they stay in the second cache while the columns pass.
const TASK_TILES: usize = 512;

/// Minimum tile products per task; smaller ones cost more to dispatch than to compute.
const GRAIN: usize = 48;

/// Tasks for each thread, so that one that is delayed leaves its share to others.
const TASKS_PER_THREAD: usize = 4;

/// Groups of rows and of columns of one task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Grid {
    rows: usize,
    columns: usize,
}

impl Grid {
    /// Large tasks, halved while there are too few for the threads. `unit` groups of columns are
    /// multiplied at once.
    fn new(rows: usize, columns: usize, blocks: usize, unit: usize, threads: usize) -> Self {
        // One group of rows stays in the first cache whatever the number of columns.
        let widest = if rows == 1 && threads == 1 { columns } else { TASK.min(columns) };
        let highest = TASK.min(rows).min((TASK_TILES / blocks).max(2));
        let mut task = Self { rows: highest, columns: widest.next_multiple_of(unit) };
        let wanted = if threads > 1 { TASKS_PER_THREAD * threads } else { 1 };
        let tasks = |task: Self| rows.div_ceil(task.rows) * columns.div_ceil(task.columns);
        while tasks(task) < wanted && task.rows * task.columns * blocks / 2 >= GRAIN {
            if task.columns > unit {
                task.columns = (task.columns / unit).div_ceil(2) * unit;
            } else if task.rows > 2 {
                task.rows = task.rows.div_ceil(2).next_multiple_of(2);
            } else {
                break;
            }
        }
        task
    }
}
