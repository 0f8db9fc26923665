//! Arithmetic of matrices, entry by entry.

use dashu_ratio::RBig;

use super::{
    super::{
        super::tree::{Id, Node},
        arithmetic::whole,
    },
    Work,
};

/// Largest power of a matrix that is multiplied out.
const MAX_POWER: i64 = 8;

#[derive(Debug, Clone)]
struct Grid {
    rows: usize,
    entries: Vec<Id>,
}

impl Grid {
    fn columns(&self) -> usize {
        self.entries.len() / self.rows.max(1)
    }

    fn at(&self, row: usize, column: usize) -> Id {
        self.entries[row * self.columns() + column]
    }

    fn transposed(&self) -> Self {
        let columns = 0..self.columns();
        let entries = columns
            .flat_map(|column| (0..self.rows).map(move |row| (row, column)))
            .collect::<Vec<_>>();
        let entries = entries.into_iter().map(|(row, column)| self.at(row, column)).collect();
        Self { rows: self.columns(), entries }
    }
}

impl Work<'_> {
    fn grid(&self, id: Id) -> Option<Grid> {
        match self.tree.node(id) {
            Node::Matrix { rows, entries } => {
                Some(Grid { rows: *rows as usize, entries: entries.clone() })
            }
            _ => None,
        }
    }

    fn table(&mut self, grid: Grid) -> Option<Id> {
        self.push(Node::Matrix { rows: grid.rows as u32, entries: grid.entries })
    }

    /// What an operation on matrices comes to; `None` where a node is none, or where their sizes do
    /// not fit.
    pub(super) fn matrix(&mut self, node: &Node) -> Option<Id> {
        match node {
            Node::Sum(of) => {
                let grids = of.iter().map(|&id| self.grid(id)).collect::<Option<Vec<_>>>()?;
                let rows = grids[0].rows;
                let size = grids[0].entries.len();
                if grids.iter().any(|grid| grid.rows != rows || grid.entries.len() != size) {
                    return None;
                }
                let sums = (0..size).map(|at| {
                    let terms = grids.iter().map(|grid| grid.entries[at]).collect();
                    self.value(Node::Sum(terms))
                });
                let entries = sums.collect::<Option<_>>()?;
                self.table(Grid { rows, entries })
            }
            Node::Negated(of) => {
                let grid = self.grid(*of)?;
                self.entrywise(grid, Node::Negated)
            }
            Node::Quotient(above, below) if self.is_factor(*below) => {
                let grid = self.grid(*above)?;
                self.entrywise(grid, |entry| Node::Quotient(entry, *below))
            }
            Node::Product(of) => self.product_of_matrices(of),
            Node::Power(base, exponent) => self.power_of_matrix(*base, *exponent),
            _ => None,
        }
    }

    fn entrywise(&mut self, mut grid: Grid, with: impl Fn(Id) -> Node) -> Option<Id> {
        for entry in &mut grid.entries {
            *entry = self.value(with(*entry))?;
        }
        self.table(grid)
    }

    /// A node, or the rational number that it is.
    fn value(&mut self, node: Node) -> Option<Id> {
        let id = self.push(node)?;
        match self.rational(id) {
            Some(value) => self.number(value),
            None => Some(id),
        }
    }

    /// Whether a node is a value that may stand before a matrix.
    fn is_factor(&self, id: Id) -> bool {
        matches!(
            self.tree.node(id),
            Node::Number { .. }
                | Node::Constant(_)
                | Node::Symbol(_)
                | Node::Sum(_)
                | Node::Product(_)
                | Node::Quotient(..)
                | Node::Power(..)
                | Node::Negated(_)
                | Node::Root { .. }
                | Node::Apply(..)
                | Node::Log { .. }
                | Node::Determinant { .. }
        )
    }

    fn product_of_matrices(&mut self, of: &[Id]) -> Option<Id> {
        let (mut factors, mut result): (Vec<Id>, Option<Grid>) = (Vec::new(), None);
        let mut is_dot = false;
        for &id in of {
            match (self.grid(id), result.take()) {
                (Some(grid), None) => result = Some(grid),
                (Some(grid), Some(before)) => {
                    is_dot = before.rows == 1 && grid.columns() == 1;
                    result = Some(self.times(&before, &grid)?);
                }
                (None, before) if self.is_factor(id) => {
                    factors.push(id);
                    result = before;
                }
                (None, _) => return None,
            }
        }
        let mut grid = result?;
        if !factors.is_empty() {
            for entry in &mut grid.entries {
                let of = factors.iter().copied().chain([*entry]).collect();
                *entry = self.value(Node::Product(of))?;
            }
        }
        // a row times a column is a number
        match grid.entries[..] {
            [only] if is_dot => Some(only),
            _ => self.table(grid),
        }
    }

    fn times(&mut self, left: &Grid, right: &Grid) -> Option<Grid> {
        if left.columns() != right.rows {
            return None;
        }
        let mut entries = Vec::with_capacity(left.rows * right.columns());
        for row in 0..left.rows {
            for column in 0..right.columns() {
                let mut terms = Vec::with_capacity(right.rows);
                for at in 0..right.rows {
                    let of = vec![left.at(row, at), right.at(at, column)];
                    terms.push(self.value(Node::Product(of))?);
                }
                entries.push(match terms[..] {
                    [only] => only,
                    _ => self.value(Node::Sum(terms))?,
                });
            }
        }
        Some(Grid { rows: left.rows, entries })
    }

    fn power_of_matrix(&mut self, base: Id, exponent: Id) -> Option<Id> {
        if matches!(self.tree.node(exponent), Node::Symbol(name) if &**name == "T") {
            let grid = match self.tree.node(base) {
                // a vector that is written as a row of numbers
                Node::Tuple(of) => Grid { rows: 1, entries: of.clone() },
                &Node::Interval { low, high, low_closed: true, high_closed: true } => {
                    Grid { rows: 1, entries: vec![low, high] }
                }
                _ => self.grid(base)?,
            };
            return self.table(grid.transposed());
        }
        let grid = self.grid(base)?;
        if grid.columns() != grid.rows {
            return None;
        }
        match whole(&self.rational(exponent)?)? {
            -1 => self.inverse(&grid),
            times @ 1..=MAX_POWER => {
                let mut result = grid.clone();
                for _ in 1..times {
                    result = self.times(&result, &grid)?;
                }
                self.table(result)
            }
            _ => None,
        }
    }

    /// The inverse by minors, of two or three rows, where the determinant is known not to be zero.
    fn inverse(&mut self, grid: &Grid) -> Option<Id> {
        let size = grid.rows;
        if !(2..=3).contains(&size) {
            return None;
        }
        let whole = Node::Determinant { rows: size as u32, entries: grid.entries.clone() };
        let whole = self.value(whole)?;
        if self.rational(whole)?.is_zero() {
            return None;
        }
        let mut entries = Vec::with_capacity(size * size);
        for row in 0..size {
            for column in 0..size {
                // of the transposed matrix
                let others = (0..size * size).filter(|at| at / size != column && at % size != row);
                let minor: Vec<Id> = others.map(|at| grid.entries[at]).collect();
                let minor = match minor[..] {
                    [only] => only,
                    _ => self.value(Node::Determinant { rows: size as u32 - 1, entries: minor })?,
                };
                let sign = if (row + column) % 2 == 0 { RBig::ONE } else { RBig::NEG_ONE };
                let sign = self.number(sign)?;
                let above = self.value(Node::Product(vec![sign, minor]))?;
                entries.push(self.value(Node::Quotient(above, whole))?);
            }
        }
        self.table(Grid { rows: size, entries })
    }
}
