use candle::{DType, Shape, Tensor};
use rayon::prelude::*;

use crate::slices::{self, CHUNK};
use crate::{Error, Param, Result};

/// One gradient buffer per parameter, in parameter order.
///
/// f32 whatever the parameter's type (f64 for f64), on the parameter's device. The first gradient
/// becomes the buffer, and [`clear`](Self::clear) frees it, so that a backward pass can reuse the
/// memory.
#[derive(Debug)]
pub struct Gradients {
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct Slot {
    name: String,
    shape: Shape,
    dtype: DType,
    gradient: Option<Tensor>,
    /// Whether we own the storage, so that it may be changed in place.
    owned: bool,
}

/// The type of a parameter's gradient and moments.
pub(crate) fn accumulator_dtype(param: &Param) -> DType {
    if param.var.dtype() == DType::F64 { DType::F64 } else { DType::F32 }
}

impl Gradients {
    /// Empty buffers for these parameters.
    ///
    /// # Errors
    ///
    /// Fails when there are none, or two share a name.
    pub fn new(params: &[Param]) -> Result<Self> {
        let mut names: Vec<&str> = params.iter().map(|param| param.name.as_str()).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows().find(|[a, b]| a == b) {
            return Err(Error::Params(format!("two are named {name}")));
        }
        if params.is_empty() {
            return Err(Error::Params("there are none to train".into()));
        }
        let slots = params.iter().map(|param| Slot {
            name: param.name.clone(),
            shape: param.var.shape().clone(),
            dtype: accumulator_dtype(param),
            gradient: None,
            owned: false,
        });
        Ok(Self { slots: slots.collect() })
    }

    /// Adds to the gradient of parameter `index`. The first one is not copied: until
    /// [`clear`](Self::clear) nobody may write its storage, so it is not the parameter's own.
    ///
    /// # Errors
    ///
    /// Fails when there is no such parameter or its shape differs.
    pub fn add(&mut self, index: usize, gradient: Tensor) -> Result<()> {
        let count = self.slots.len();
        let slot = self.slots.get_mut(index).ok_or_else(|| Error::Gradient {
            name: format!("parameter {index}"),
            problem: format!("there are {count} parameters"),
        })?;
        if gradient.shape() != &slot.shape {
            return Err(Error::Gradient {
                name: slot.name.clone(),
                problem: format!("expected shape {:?}, got {:?}", slot.shape, gradient.shape()),
            });
        }
        slot.add(gradient)?;
        Ok(())
    }

    /// What has been added since the last [`clear`](Self::clear) to the gradient of parameter
    /// `index`.
    pub fn get(&self, index: usize) -> Option<&Tensor> {
        self.slots.get(index)?.gradient.as_ref()
    }

    /// Names of the parameters without gradient, in parameter order.
    pub fn missing(&self) -> Vec<String> {
        let missing = self.slots.iter().filter(|slot| slot.gradient.is_none());
        missing.map(|slot| slot.name.clone()).collect()
    }

    /// Frees the gradients.
    pub fn clear(&mut self) {
        for slot in &mut self.slots {
            slot.gradient = None;
        }
    }

    /// Replaces every gradient by what `reduce` returns for it, in parameter order, such as its sum
    /// over processes. An objective calls it once all its parts are added.
    ///
    /// # Errors
    ///
    /// Fails when `reduce` does, and when the result has another shape.
    pub fn reduce(
        &mut self,
        reduce: &mut dyn FnMut(&str, &Tensor) -> Result<Tensor>,
    ) -> Result<()> {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if let Some(own) = slot.gradient.take() {
                let reduced = reduce(&slot.name, &own)?;
                self.add(index, reduced)?;
            }
        }
        Ok(())
    }

    /// Euclidean norm over all parameters: squares summed in f64, in parameter order.
    ///
    /// # Errors
    ///
    /// Fails on a parameter without gradient, and names the first whose norm is not finite.
    pub fn norm(&self) -> Result<f64> {
        let names = self.missing();
        if !names.is_empty() {
            return Err(Error::NoGradient { names });
        }
        let mut sum = 0.0;
        for slot in &self.slots {
            let squares = slot.gradient.as_ref().map_or(Ok(0.0), sum_of_squares)?;
            if !squares.is_finite() {
                return Err(Error::NonFiniteNorm { name: slot.name.clone(), norm: squares.sqrt() });
            }
            sum += squares;
        }
        Ok(sum.sqrt())
    }

    /// Fails unless `params` are those that the buffers were made for.
    pub(crate) fn check(&self, params: &[Param]) -> Result<()> {
        if params.len() != self.slots.len() {
            let (expected, got) = (self.slots.len(), params.len());
            return Err(Error::Params(format!("built for {expected}, got {got}")));
        }
        let same = |(slot, param): (&Slot, &Param)| {
            slot.name == param.name
                && slot.shape == *param.var.shape()
                && slot.dtype == accumulator_dtype(param)
        };
        match self.slots.iter().zip(params).find(|&pair| !same(pair)) {
            None => Ok(()),
            Some((slot, param)) => Err(Error::Params(format!(
                "built for {} of shape {:?}, got {} of shape {:?} in its place",
                slot.name,
                slot.shape,
                param.name,
                param.var.shape()
            ))),
        }
    }
}

impl Slot {
    fn add(&mut self, gradient: Tensor) -> candle::Result<()> {
        let same = gradient.dtype() == self.dtype;
        let gradient = if same { gradient } else { gradient.to_dtype(self.dtype)? };
        let gradient = gradient.contiguous()?.detach();
        let Some(sum) = self.gradient.take() else {
            (self.gradient, self.owned) = (Some(gradient), false);
            return Ok(());
        };
        self.gradient = Some(if slices::fits(&sum) {
            // A copy, since the caller may have kept the first gradient.
            let sum = if self.owned { sum } else { sum.copy()? };
            accumulate(&sum, &gradient)?;
            sum
        } else {
            (sum + gradient)?
        });
        self.owned = true;
        Ok(())
    }
}

/// `sum += gradient`, in place.
fn accumulate(sum: &Tensor, gradient: &Tensor) -> candle::Result<()> {
    slices::write(sum, |sum| {
        slices::read(gradient, |part| {
            let chunks = sum.par_chunks_mut(CHUNK).zip(part.par_chunks(CHUNK));
            chunks.for_each(|(sum, part)| {
                sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
            });
        })
    })
}

fn sum_of_squares(gradient: &Tensor) -> candle::Result<f64> {
    if slices::fits(gradient) {
        return slices::read(gradient, slices::sum_of_squares);
    }
    gradient.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar()
}
