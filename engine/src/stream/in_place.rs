//! Writing the values of a tensor in place.

use std::cell::RefCell;

use candle::{CpuStorage, InplaceOp1, Layout, Tensor};

use crate::Result;

/// Calls `f` with the values of a contiguous `f32` tensor on a CPU, to be changed in place.
///
/// The tensor is locked meanwhile: `f` must not use it in another way.
pub(crate) fn write<R>(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<R>) -> Result<R> {
    let lend = Lend { f: RefCell::new(Some(f)), result: RefCell::new(None) };
    tensor.inplace_op1(&lend)?;
    lend.result.into_inner().expect("the operation ran")
}

struct Lend<F, R> {
    f: RefCell<Option<F>>,
    result: RefCell<Option<Result<R>>>,
}

impl<R, F: FnOnce(&mut [f32]) -> Result<R>> InplaceOp1 for Lend<F, R> {
    fn name(&self) -> &'static str {
        "lend"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> candle::Result<()> {
        let f = self.f.take().expect("an operation runs once");
        match (storage, layout.contiguous_offsets()) {
            (CpuStorage::F32(values), Some((start, end))) => {
                self.result.replace(Some(f(&mut values[start..end])));
                Ok(())
            }
            _ => candle::bail!("expected contiguous f32 values on a CPU, got {layout:?}"),
        }
    }
}
