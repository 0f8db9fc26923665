//! Noise of low rank for matrices: `E = A^T B / sqrt(r)`, with factors whose elements are noise.
//!
//! Factors are stored one row a rank: `A` (rank, rows) and `B` (rank, columns), element `j` of row
//! `i` at `i * length + j` of its stream. Sums are those of [`crate::matmul`]: one chain of fused
//! multiply-adds over terms and ranks, which starts at 0. So the bits of an element depend neither
//! on the slice that it is computed in, nor on threads and vector instructions.
//!
//! Source: arXiv 2511.16652, section 4.

use super::{Kind, Part, Stream, check_numbers, fill, fill_scaled};
use crate::matmul::{self, F32Map};
use crate::matrix::{MatMut, MatRef};
use crate::output::Output;
use crate::threads::Threads;

/// A matrix that noise of low rank is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matrix {
    /// Number of the tensor.
    pub tensor: u32,
    /// Rows, or outputs of a linear map.
    pub rows: usize,
    /// Columns, or inputs of a linear map.
    pub columns: usize,
    /// Rank of the noise.
    pub rank: usize,
    /// Distribution of the elements of the factors.
    pub kind: Kind,
}

/// The noise of one direction, and what it is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// Seed of `A`.
    pub a: u64,
    /// Seed of `B`.
    pub b: u64,
    /// Factor of `E`.
    pub scale: f32,
}

impl Matrix {
    /// `A`, whole.
    ///
    /// Shapes: the result (rank, rows).
    pub fn a(&self, threads: Threads<'_>, seed: u64) -> Vec<f32> {
        self.factor(threads, seed, Part::A, self.rows)
    }

    /// `B`, whole.
    ///
    /// Shapes: the result (rank, columns).
    pub fn b(&self, threads: Threads<'_>, seed: u64) -> Vec<f32> {
        self.factor(threads, seed, Part::B, self.columns)
    }

    fn factor(&self, threads: Threads<'_>, seed: u64, part: Part, length: usize) -> Vec<f32> {
        let mut factor = vec![0.0; self.rank * length];
        fill(threads, self.kind, Stream { seed, tensor: self.tensor, part }, 0, &mut factor);
        factor
    }

    /// What `A` is multiplied by for noise times `scale`.
    fn scale(&self, scale: f32) -> f32 {
        scale / (self.rank as f32).sqrt()
    }

    /// `values += sum of scale E` over the terms, for elements `first..` of the matrix, row-major.
    /// The sum is rounded before it is added.
    ///
    /// # Panics
    ///
    /// Panics when an element is outside the matrix.
    pub fn add(&self, threads: Threads<'_>, terms: &[Term], first: u64, values: &mut [f32]) {
        self.check(first, values);
        if !values.is_empty() {
            self.prepared(threads, terms).add(threads, first, values);
        }
    }

    /// The same noise for several slices, with the factors `B` made once.
    pub fn prepared<'t>(&self, threads: Threads<'_>, terms: &'t [Term]) -> Prepared<'t> {
        let b = terms.iter().flat_map(|term| self.b(threads, term.b)).collect();
        Prepared { matrix: *self, terms, b }
    }

    fn check(&self, first: u64, values: &[f32]) {
        check_numbers(first, values.len());
        let end = first + values.len() as u64;
        let elements = self.rows as u64 * self.columns as u64;
        assert!(end <= elements, "elements {first}..{end} of a matrix of {elements}");
    }

    /// Rows `from..from + height` of every `A`, multiplied by its scale.
    ///
    /// Shapes: the result (terms * rank, height).
    fn stacked_a(
        &self,
        threads: Threads<'_>,
        terms: &[Term],
        from: usize,
        height: usize,
    ) -> Vec<f32> {
        let mut a = vec![0.0; terms.len() * self.rank * height];
        for (at, row) in a.chunks_exact_mut(height).enumerate() {
            let (term, rank) = (&terms[at / self.rank], at % self.rank);
            let stream = Stream { seed: term.a, tensor: self.tensor, part: Part::A };
            let first = (rank * self.rows + from) as u64;
            fill_scaled(threads, self.kind, stream, first, self.scale(term.scale), row);
        }
        a
    }

    /// `y += scale x E^T`: what noise in a weight (out, in) adds to its product, without the noise
    /// itself. Two products of few terms; equal to the product with `E` but for rounding.
    ///
    /// Shapes: `x` (rows, columns of the matrix), `a` (rank, rows of the matrix) and `b` (rank,
    /// columns of the matrix) as [`Self::a`] and [`Self::b`] give them, `y` (rows, rows of the
    /// matrix).
    ///
    /// # Panics
    ///
    /// Panics unless the shapes fit and the columns of `x` are neighbours.
    pub fn add_product(
        &self,
        threads: Threads<'_>,
        scale: f32,
        x: MatRef<'_>,
        [a, b]: [&[f32]; 2],
        y: MatMut<'_>,
    ) {
        assert_eq!(x.columns(), self.columns, "columns of x, and of the matrix");
        let (rows, rank) = (x.rows(), self.rank);
        let mut inner = vec![0.0; rows * rank];
        let to = Output::set(MatMut::new(&mut inner, rows, rank));
        matmul::forward(threads, x, [F32Map { weight: b, bias: None, y: to }]);
        let scale = self.scale(scale);
        for inner in &mut inner {
            *inner *= scale;
        }
        let (inner, a) = (MatRef::new(&inner, rows, rank), MatRef::new(a, rank, self.rows));
        matmul::product(threads, 1.0, inner, a, Output::add(y));
    }
}

/// Noise of some terms for slices of a matrix. It holds the factors `B` of all terms.
#[derive(Debug)]
pub struct Prepared<'t> {
    matrix: Matrix,
    terms: &'t [Term],
    /// (terms * rank, columns)
    b: Vec<f32>,
}

impl Prepared<'_> {
    /// [`Matrix::add`] of its terms: the same bits.
    ///
    /// # Panics
    ///
    /// As [`Matrix::add`].
    pub fn add(&self, threads: Threads<'_>, first: u64, values: &mut [f32]) {
        let Self { matrix, terms, b } = self;
        matrix.check(first, values);
        if terms.is_empty() || values.is_empty() {
            return;
        }
        let (end, columns) = (first + values.len() as u64, matrix.columns as u64);
        let rows = (first / columns) as usize..end.div_ceil(columns) as usize;
        let (from, height) = (rows.start, rows.len());
        let a = matrix.stacked_a(threads, terms, from, height);
        let depth = terms.len() * matrix.rank;
        let mut at = first;
        let mut rest = values;
        while !rest.is_empty() {
            let (row, column) = ((at / columns) as usize, (at % columns) as usize);
            // Whole rows at once, or what the slice has of one row.
            let (high, wide) = match rest.len() / matrix.columns {
                whole @ 1.. if column == 0 => (whole, matrix.columns),
                _ => (1, (matrix.columns - column).min(rest.len())),
            };
            let (now, later) = rest.split_at_mut(high * wide);
            let a = MatRef::strided(&a[row - from..], depth, high, height).t();
            let b = MatRef::strided(&b[column..], depth, wide, matrix.columns);
            matmul::product(threads, 1.0, a, b, Output::add(MatMut::new(now, high, wide)));
            at += (high * wide) as u64;
            rest = later;
        }
    }
}
