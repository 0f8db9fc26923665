use kernels::noise::low_rank::{self, Matrix};
use kernels::noise::{self, Part, Stream};
use kernels::threads::Threads;

use super::{Direction, Draw, TensorSpec, Term};

/// Weights that a score is taken at: those of the master, with directions added.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// The form of the directions.
    pub direction: Direction,
    /// What they have in common.
    pub draw: Draw,
    /// What is added; nothing for the weights as they are.
    pub terms: Vec<Term>,
}

impl Probe {
    /// Writes elements `first..` of a tensor to scratch: `from` of the master, with the terms
    /// added. The same bits whatever the slices and the threads.
    ///
    /// Shapes: `from` and `to` of one length.
    ///
    /// # Panics
    ///
    /// Panics on slices of different lengths and on elements that the tensor does not have.
    pub fn perturb(
        &self,
        threads: Threads<'_>,
        tensor: &TensorSpec,
        first: u64,
        from: &[f32],
        to: &mut [f32],
    ) {
        assert_eq!(from.len(), to.len(), "as many numbers to read as to write");
        if let (Some(kind), [term]) = (self.direction.is_plain(tensor), &self.terms[..])
            && term.scale != 0.0
        {
            let stream = Stream { seed: term.seed, tensor: tensor.id, part: Part::Dense };
            return noise::add(threads, kind, stream, first, term.scale, from, to);
        }
        to.copy_from_slice(from);
        let terms = (self.draw, &self.terms[..]);
        self.direction.add(threads, tensor, terms, first, to, |_, _| {});
    }

    /// [`Self::perturb`] of some rows of a matrix, as of an embedding: the same bits, with factors
    /// of low rank made once for all of them.
    ///
    /// Shapes: `from` and `to` (rows, columns).
    ///
    /// # Panics
    ///
    /// As [`Self::perturb`], and on slices that are not whole rows.
    pub fn perturb_rows(
        &self,
        threads: Threads<'_>,
        tensor: &TensorSpec,
        rows: &[u32],
        from: &[f32],
        to: &mut [f32],
    ) {
        assert_eq!(from.len(), to.len(), "as many numbers to read as to write");
        to.copy_from_slice(from);
        let terms = (self.draw, &self.terms[..]);
        self.direction.add_rows(threads, tensor, terms, rows, to, |_, _| {});
    }

    /// The noise of a matrix whose directions are of low rank, for products with it that do not
    /// make it ([`Matrix::add_product`]); nothing for other tensors, which are perturbed.
    pub fn low_rank(&self, tensor: &TensorSpec) -> Option<(Matrix, Vec<low_rank::Term>)> {
        self.direction.low_rank(tensor, self.draw, &self.terms)
    }
}
