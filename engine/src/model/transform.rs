//! Changing the trainable parameters for good.

use candle::{DType, Device, Tensor, Var};

use crate::stream::{Transform, in_place};
use crate::{Model, Result};

impl Model {
    /// Applies a transform to every trainable parameter, in `f32`. Caches and prefixes made before
    /// are refused.
    ///
    /// # Errors
    ///
    /// Fails when the device does; parameters before that one have changed then.
    pub fn transform(&self, transform: &dyn Transform) -> Result<()> {
        self.update(|variables| {
            let mut all = variables.trainable().enumerate();
            all.try_for_each(|(index, (_, variable))| apply(transform, index, variable))
        })
    }
}

fn apply(transform: &dyn Transform, index: usize, variable: &Var) -> Result<()> {
    let is_plain = variable.device().is_cpu() && variable.dtype() == DType::F32;
    if is_plain && variable.is_contiguous() {
        return in_place::write(variable, |values| {
            transform.apply_in_place(index, 0, values);
            Ok(())
        });
    }
    let host = variable.as_detached_tensor().to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
    let mut values: Vec<f32> = host.flatten_all()?.to_vec1()?;
    transform.apply_in_place(index, 0, &mut values);
    let changed = Tensor::from_vec(values, variable.shape(), &Device::Cpu)?;
    Ok(variable.set(&changed.to_dtype(variable.dtype())?.to_device(variable.device())?)?)
}
