//! A model as the source of its weights.

use std::borrow::Cow;
use std::sync::atomic::Ordering;

use candle::Tensor;

use super::Model;
use crate::Result;
use crate::weights::{BlockWeights, Value, Version, WeightSource};

/// The resident weights of the base.
impl WeightSource for Model {
    fn version(&self) -> Version {
        Version::of(self.version.load(Ordering::Acquire))
    }

    fn embed(&self) -> Result<Value> {
        Ok(self.weights.embed.clone())
    }

    fn block(&self, layer: usize) -> Result<Cow<'_, BlockWeights<Value>>> {
        Ok(Cow::Borrowed(&self.weights.blocks[layer]))
    }

    fn norm(&self) -> Result<Tensor> {
        self.weights.norm.tensor(self.dtype, &self.device)
    }

    fn head(&self) -> Result<Value> {
        Ok(self.weights.head().clone())
    }
}

impl Model {
    /// The values of a weight of the base.
    pub(crate) fn weight(&self, name: &str) -> Option<&Value> {
        let (mut names, mut values) = (Vec::new(), Vec::new());
        self.specs.visit(|spec| names.push(&spec.name));
        self.weights.visit(|value| values.push(value));
        let at = names.iter().position(|own| *own == name)?;
        values.get(at).copied()
    }
}
