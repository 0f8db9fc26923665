//! The parameters of a model as a zeroth-order method takes them.

use anyhow::Result;
use candle::{DType, Device, Tensor};
use engine::{Model, Parameter};
use optim::zeroth::{EstimatorConfig, TensorSpec, Tensors};

/// The trainable parameters of a model, in their order, each with the elements that the method
/// trains of it.
///
/// # Errors
///
/// Fails when the method's scope has none of them, and on values that are not numbers.
pub fn tensors(model: &Model, method: &EstimatorConfig) -> Result<Tensors> {
    let all: Vec<_> = model.trainable().collect();
    let specs = all.iter().map(|one| spec(one)).collect();
    Ok(method.tensors(specs, &mut |index| Ok(values(&all[index].tensor)?))?)
}

fn spec(one: &Parameter) -> TensorSpec {
    TensorSpec::new(&one.name, one.tensor.dims(), one.is_base_matrix())
}

/// The numbers of a tensor, row-major.
///
/// # Errors
///
/// Fails when they cannot be copied from their device.
pub fn values(tensor: &Tensor) -> candle::Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
}

/// A digest of each trainable parameter, as the header of a log has them.
///
/// # Errors
///
/// Fails where [`values`] does.
pub fn digests(model: &Model) -> Result<Vec<String>> {
    let digest = |one: &Parameter| Ok(spec(one).digest(&values(&one.tensor)?));
    model.trainable().map(digest).collect()
}
