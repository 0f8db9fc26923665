use kernels::threads::Threads;

use super::{DecayTo, Direction, Draw, TensorSpec, Term};

/// The update of one step, which is applied whenever the weights are at hand: at once, when a block
/// is next uploaded, or from a log. It has the learning rate of its step.
///
/// For each element: weight decay first, as one rounded product (or, towards the start, a
/// difference, a product and a difference), then one term after the other. A coefficient of 0 adds
/// nothing; weights decay nevertheless.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The step that it ends.
    pub step: u32,
    /// Learning rate of the step.
    pub lr: f32,
    /// Weight decay, which the learning rate multiplies.
    pub decay: f32,
    /// What weights decay to.
    pub decay_to: DecayTo,
    /// The form of the directions.
    pub direction: Direction,
    /// What they have in common.
    pub draw: Draw,
    /// Directions and coefficients, which contain the learning rate, by ascending member.
    pub terms: Vec<Term>,
}

impl Update {
    /// The coefficients, in the order of the members.
    pub fn coefficients(&self) -> Vec<f32> {
        self.terms.iter().map(|term| term.scale).collect()
    }

    /// Whether [`Self::apply`] needs the weights of the start.
    pub fn needs_start(&self) -> bool {
        self.decay_to == DecayTo::Start && self.decay != 0.0 && self.lr != 0.0
    }

    /// Updates elements `first..` of a tensor in place. The same bits whatever the slices and the
    /// threads; of two updates, the earlier goes first.
    ///
    /// Shapes: `start` has the weights of the same elements at the start of the run where they are
    /// [needed](Self::needs_start), and may be empty otherwise.
    ///
    /// # Panics
    ///
    /// Panics on elements that the tensor does not have, and when weights of the start are needed
    /// and are not as many as there are values.
    pub fn apply(
        &self,
        threads: Threads<'_>,
        tensor: &TensorSpec,
        first: u64,
        values: &mut [f32],
        start: &[f32],
    ) {
        let (len, terms) = (values.len(), (self.draw, &self.terms[..]));
        self.with_decay(tensor, len, start, |decay| {
            self.direction.add(threads, tensor, terms, first, values, decay);
        });
    }

    /// [`Self::apply`] to some rows of a matrix, as of an embedding: the same bits, with factors of
    /// low rank made once for all of them.
    ///
    /// Shapes: `values` (rows, columns), and `start` where it is needed.
    ///
    /// # Panics
    ///
    /// As [`Self::apply`], and on slices that are not whole rows.
    pub fn apply_rows(
        &self,
        threads: Threads<'_>,
        tensor: &TensorSpec,
        rows: &[u32],
        values: &mut [f32],
        start: &[f32],
    ) {
        let (len, terms) = (values.len(), (self.draw, &self.terms[..]));
        self.with_decay(tensor, len, start, |decay| {
            self.direction.add_rows(threads, tensor, terms, rows, values, decay);
        });
    }

    /// Calls `f` with the decay of `len` elements: it takes where a slice of them begins, and the
    /// slice.
    fn with_decay(
        &self,
        tensor: &TensorSpec,
        len: usize,
        start: &[f32],
        f: impl FnOnce(&(dyn Fn(usize, &mut [f32]) + Sync)),
    ) {
        let product = f64::from(self.lr) * f64::from(self.decay);
        let decays = tensor.decay && product != 0.0;
        let to_start = decays && self.needs_start();
        if to_start {
            assert_eq!(start.len(), len, "a weight of the start for each value");
        }
        let (share, factor) = (product as f32, (1.0 - product) as f32);
        let decay = |at: usize, values: &mut [f32]| {
            if to_start {
                for (value, start) in values.iter_mut().zip(&start[at..]) {
                    *value -= share * (*value - start);
                }
            } else if decays {
                for value in values {
                    *value *= factor;
                }
            }
        };
        f(&decay);
    }
}
