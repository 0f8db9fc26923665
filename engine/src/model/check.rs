//! Whether a weight is what was asked for.

use candle::{DType, Tensor};

use crate::weights::StoredMatrix;
use crate::{Error, Result};

/// Compares a weight with what was asked for: `stored` as it was read, `tensor` as it is used.
pub(crate) fn check(name: &str, stored: &Tensor, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    let wrong = |problem| Err(Error::Weight { name: name.to_owned(), problem });
    if tensor.dims() != shape {
        return wrong(format!("expected shape {shape:?}, got {:?}", tensor.dims()));
    }
    if all_finite(tensor)? {
        return Ok(());
    }
    if all_finite(stored)? {
        let dtype = tensor.dtype().as_str();
        return wrong(format!("holds a value too large for {dtype}: load the model as f32"));
    }
    wrong(NOT_FINITE.into())
}

/// Compares a matrix in the format of a file with what was asked for.
pub(super) fn check_stored(name: &str, matrix: &StoredMatrix, shape: &[usize]) -> Result<()> {
    let wrong = |problem| Err(Error::Weight { name: name.to_owned(), problem });
    if matrix.shape() != shape {
        return wrong(format!("expected shape {shape:?}, got {:?}", matrix.shape()));
    }
    if matrix.is_finite() { Ok(()) } else { wrong(NOT_FINITE.into()) }
}

const NOT_FINITE: &str =
    "holds values that are not finite: the file is damaged or was saved after a divergence";

/// Elements that [`all_finite`] looks at together.
const CHECKED: usize = 1 << 20;

/// Whether every element is finite. Exact in every dtype, where a sum of the elements may overflow.
fn all_finite(tensor: &Tensor) -> Result<bool> {
    let elements = tensor.flatten_all()?;
    for start in (0..elements.elem_count()).step_by(CHECKED) {
        let part = elements.narrow(0, start, CHECKED.min(elements.elem_count() - start))?;
        // 0 x is 0 for a finite x and NaN otherwise, and so is the sum.
        let sum = (part * 0.0)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if sum.is_nan() {
            return Ok(false);
        }
    }
    Ok(true)
}
