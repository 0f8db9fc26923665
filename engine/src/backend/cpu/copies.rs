//! Copies of the weights in bf16, which decoding packs once and multiplies by at every step.

use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::values;
use crate::weights::{BlockWeights, Spec, Value, Weights};
use crate::{Policy, Result};
use kernels::matmul::bf16::PackedBf16;
use kernels::matrix::MatRef;
use kernels::threads::Threads;

/// Whether a parameter is multiplied by, rather than added or multiplied elementwise.
pub(super) fn is_matrix(spec: &Spec) -> bool {
    spec.shape.len() == 2
}

/// Copies of all matrices but an adapter's in bf16; of the embedding only where it is the head.
/// Those of a matrix in the format of a file take the time of rounding from every step.
pub(super) fn bf16_copies(policy: Policy<'_>) -> Result<Weights<Option<PackedBf16>>> {
    let specs = policy.specs();
    let copy = |spec: &Spec, value: &Value| -> Result<Option<PackedBf16>> {
        let tensor = match value {
            Value::Stored(matrix) => return Ok(Some(matrix.matrix().rounded(Threads::Pool))),
            Value::Tensor(tensor) => tensor,
        };
        let guard = tensor.storage_and_layout();
        let values = values(&guard)?;
        Ok(is_matrix(spec).then(|| {
            let matrix = MatRef::new(values, spec.shape[0], spec.shape[1]);
            PackedBf16::new(Threads::Pool, matrix)
        }))
    };
    let block = |(layer, specs): (usize, &BlockWeights<Spec>)| {
        let weights = policy.block(layer)?;
        let (specs, weights) = (specs.as_ref().split().0, (*weights).as_ref().split().0);
        let mut pairs = Vec::new();
        specs.clone().zip(weights)?.visit(|&pair| pairs.push(pair));
        let copies: Result<Vec<_>> = pairs.into_par_iter().map(|(s, t)| copy(s, t)).collect();
        let mut copies = copies?.into_iter();
        Ok(specs.map(|_| copies.next().expect("one copy for each parameter")))
    };
    let (head, blocks) = rayon::join(
        || {
            let head = policy.head()?;
            copy(specs.head(), head.whole().expect("weights that are not perturbed"))
        },
        || specs.blocks.iter().enumerate().map(block).collect::<Result<_>>(),
    );
    let (head, blocks) = (head?, blocks?);
    Ok(match specs.head {
        None => Weights { embed: head, blocks, norm: None, head: None },
        Some(_) => Weights { embed: None, blocks, norm: None, head: Some(head) },
    })
}
