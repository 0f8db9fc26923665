//! An adapter added to the weights of its base.

use std::collections::BTreeMap;

use candle::{DType, Device, Tensor};
use rayon::prelude::*;

use crate::weights::{BlockLora, Lora};
use crate::{Adapter, Result};

/// What an adapter adds to which weight, by the weight's name.
pub(super) fn by_weight(adapter: &Adapter) -> BTreeMap<&str, &Lora<Tensor>> {
    let blocks = adapter.specs().blocks.iter().zip(&adapter.blocks);
    let mut added = BTreeMap::new();
    for (specs, BlockLora(loras)) in blocks {
        for (map, lora) in specs.linears().into_iter().zip(loras) {
            added.extend(lora.as_ref().map(|lora| (map.weight.name.as_str(), lora)));
        }
    }
    added
}

/// `W + s B A`, a row at a time.
///
/// Shapes: `weight` and the result (out, in), f32 on the CPU.
///
/// # Errors
///
/// Fails when a device refuses a copy.
///
/// Source: `get_delta_weight` of PEFT's `Linear`.
pub(super) fn merged(weight: &Tensor, lora: &Lora<Tensor>) -> Result<Tensor> {
    let plain = |x: &Tensor| -> Result<Vec<f32>> {
        Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
    };
    let (width, rank) = (weight.dim(1)?, lora.a.dim(0)?);
    let (a, b, mut sum) = (plain(&lora.a)?, plain(&lora.b)?, plain(weight)?);
    let scale = lora.scale as f32;
    sum.par_chunks_mut(width).zip(b.par_chunks(rank)).for_each(|(row, b)| {
        let mut product = vec![0f32; width];
        for (&b, a) in b.iter().zip(a.chunks(width)) {
            product.iter_mut().zip(a).for_each(|(product, a)| *product += b * a);
        }
        row.iter_mut().zip(product).for_each(|(row, product)| *row += scale * product);
    });
    Ok(Tensor::from_vec(sum, weight.shape(), &Device::Cpu)?)
}
