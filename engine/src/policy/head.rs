//! The output head of a policy: as a whole, or by rows where it is streamed or perturbed.

use std::ops::Range;

use candle::Tensor;

use super::Policy;
use crate::backend::cpu::Lent;
use crate::weights::Value;
use crate::{Error, Result};

/// The output head, without a graph: (vocabulary, width).
#[derive(Debug)]
pub(crate) struct Head<'a> {
    policy: Policy<'a>,
    /// All of it as the source has it, unless it is streamed.
    whole: Option<Value>,
}

impl<'a> Head<'a> {
    pub(super) fn new(policy: Policy<'a>, whole: Option<Value>) -> Self {
        Self { policy, whole }
    }

    /// Vocabulary and width.
    pub(crate) fn shape(&self) -> [usize; 2] {
        let shape = &self.policy.specs.head().shape;
        [shape[0], shape[1]]
    }

    /// All of it, where it is at hand and computed with as it is.
    pub(crate) fn whole(&self) -> Option<&Value> {
        let perturbed = self.policy.perturbed.and(*self.policy.trainable.head());
        self.whole.as_ref().filter(|_| perturbed.is_none())
    }

    /// Lends rows of an `f32` head on a CPU to `f`. `scratch` is for those that are decoded.
    ///
    /// Shapes: `f` takes (rows, width).
    pub(crate) fn with_rows<R>(
        &self,
        rows: Range<usize>,
        scratch: &mut Vec<f32>,
        f: impl FnOnce(&[f32]) -> Result<R>,
    ) -> Result<R> {
        let first = rows.start;
        self.with_base_rows(rows, scratch, |base| self.policy.with_head_rows(first, base, f))
    }

    /// [`Self::with_rows`] of the rows as they are, for [`Policy::with_head_rows`].
    pub(crate) fn with_base_rows<R>(
        &self,
        rows: Range<usize>,
        scratch: &mut Vec<f32>,
        f: impl FnOnce(&[f32]) -> Result<R>,
    ) -> Result<R> {
        if let Some(whole) = &self.whole {
            return f(Lent::new(whole).rows(rows, scratch)?);
        }
        let part = self.streamed(rows)?;
        f(Lent::new(&part).rows(0..part.dims()[0], scratch)?)
    }

    /// Rows as a tensor, for the reference backend.
    ///
    /// Shapes: result (rows, width).
    pub(crate) fn rows(&self, rows: Range<usize>) -> Result<Tensor> {
        let Policy { dtype, device, .. } = self.policy;
        let first = rows.start;
        let base = match &self.whole {
            Some(whole) => whole.rows(rows, dtype, device)?,
            None => self.streamed(rows)?.tensor(dtype, device)?,
        };
        match (self.policy.perturbed, *self.policy.trainable.head()) {
            (Some(perturbed), Some(index)) => {
                perturbed.tensor_from(index, first * self.shape()[1], &base)
            }
            _ => Ok(base),
        }
    }

    fn streamed(&self, rows: Range<usize>) -> Result<Value> {
        let (len, spec) = (rows.len(), self.policy.specs.head());
        let part = self.policy.weights.head_rows(rows)?;
        if part.dims() == [len, spec.shape[1]] {
            return Ok(part);
        }
        Err(Error::Weight {
            name: spec.name.clone(),
            problem: format!(
                "expected {len} rows of {}, its source has {:?}",
                spec.shape[1],
                part.dims()
            ),
        })
    }
}

impl Policy<'_> {
    /// Lends rows of the head from `first` on to `f` as they are changed on their way to the pass,
    /// given those of the base.
    ///
    /// Shapes: `base` (rows, width); `f` takes the same.
    pub(crate) fn with_head_rows<R>(
        &self,
        first: usize,
        base: &[f32],
        f: impl FnOnce(&[f32]) -> Result<R>,
    ) -> Result<R> {
        match (self.perturbed, *self.trainable.head()) {
            (Some(perturbed), Some(index)) => {
                perturbed.with_values(index, first * self.specs.head().shape[1], base, f)
            }
            _ => f(base),
        }
    }
}
