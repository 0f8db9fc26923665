//! The parameters of a model as a zeroth-order method takes them.

use std::fmt::Write as _;

use anyhow::Result;
use candle::{DType, Device, Tensor};
use engine::{Model, Parameter};
use optim::zeroth::{EstimatorConfig, TensorSpec, Tensors};
use sha2::{Digest as _, Sha256};

/// The trainable parameters of a model, in their order, each with the elements that the method
/// trains of it.
///
/// # Errors
///
/// Fails when the method's scope has none of them, and on values that are not numbers.
pub fn tensors(model: &Model, method: &EstimatorConfig) -> Result<Tensors> {
    let all: Vec<_> = model.trainable().collect();
    let spec =
        |one: &&Parameter| TensorSpec::new(&one.name, one.tensor.dims(), one.is_base_matrix());
    let specs = all.iter().map(spec).collect();
    Ok(method.tensors(specs, &mut |index| Ok(values(&all[index].tensor)?))?)
}

/// The numbers of a tensor, row-major.
///
/// # Errors
///
/// Fails when they cannot be copied from their device.
pub fn values(tensor: &Tensor) -> candle::Result<Vec<f32>> {
    tensor.to_dtype(DType::F32)?.to_device(&Device::Cpu)?.flatten_all()?.to_vec1()
}

/// A digest of each trainable parameter, as the header of a log has them: SHA-256 of its numbers as
/// little-endian `f32`, in hexadecimal digits.
///
/// # Errors
///
/// Fails where [`values`] does.
pub fn digests(model: &Model) -> Result<Vec<String>> {
    let digest = |one: &Parameter| {
        let mut digest = Sha256::new();
        let mut bytes = Vec::new();
        for part in values(&one.tensor)?.chunks(1 << 16) {
            bytes.clear();
            bytes.extend(part.iter().flat_map(|value| value.to_le_bytes()));
            digest.update(&bytes);
        }
        let mut digits = String::with_capacity(64);
        for byte in digest.finalize() {
            // Writing to a string does not fail.
            let _ = write!(digits, "{byte:02x}");
        }
        Ok(digits)
    };
    model.trainable().map(digest).collect()
}
