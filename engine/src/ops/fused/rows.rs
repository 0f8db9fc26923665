//! Operations that treat each row by itself.

use candle::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{slice, with};
use crate::ops::kernels::rows;

/// Fewer values than this in all are not worth the threads.
const PARALLEL_VALUES: usize = 1 << 15;

/// Values that one task treats, rounded to whole rows.
fn task_len(width: usize, total: usize) -> usize {
    if total < PARALLEL_VALUES {
        total.max(1)
    } else {
        width * (PARALLEL_VALUES / 2 / width).max(1)
    }
}

/// See [`crate::ops::rms_norm`].
#[derive(Debug)]
pub(in crate::ops) struct RmsNorm {
    pub(in crate::ops) eps: f64,
}

impl RmsNorm {
    fn scale(&self, row: &[f32]) -> f32 {
        let sum: f32 = row.iter().map(|x| x * x).sum();
        1.0 / (sum / row.len() as f32 + self.eps as f32).sqrt()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (values, weight) = (slice(x, x_layout)?, slice(weight, weight_layout)?);
        let width = weight.len();
        let mut out = vec![0.0; values.len()];
        let task = task_len(width, values.len());
        out.par_chunks_mut(task)
            .zip(values.par_chunks(task))
            .for_each(|(out, values)| rows::rms_norm(values, weight, self.eps, out));
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, dw) = with([x, weight, grad], |[values, weight, grad]| {
            Ok(rms_norm_backward(self, values, weight, grad))
        })?;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        let dw = Tensor::from_vec(dw, weight.shape(), x.device())?;
        Ok((Some(dx), Some(dw)))
    }
}

fn rms_norm_backward(
    op: &RmsNorm,
    values: &[f32],
    weight: &[f32],
    grad: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let mut dx = vec![0.0; values.len()];
    let task = task_len(width, values.len());
    // The tasks' partial sums are added in order, so that the result does not depend on timing.
    let partial: Vec<Vec<f32>> = dx
        .par_chunks_mut(task)
        .zip(values.par_chunks(task))
        .zip(grad.par_chunks(task))
        .map(|((dx, values), grad)| {
            let mut dw = vec![0.0; width];
            let rows = values.chunks_exact(width).zip(grad.chunks_exact(width));
            for (dx, (row, grad)) in dx.chunks_exact_mut(width).zip(rows) {
                let scale = op.scale(row);
                let mut dot = 0.0;
                for i in 0..width {
                    dot += grad[i] * weight[i] * row[i];
                    dw[i] += grad[i] * row[i] * scale;
                }
                let pull = dot * scale * scale * scale / width as f32;
                for i in 0..width {
                    dx[i] = grad[i] * weight[i] * scale - row[i] * pull;
                }
            }
            dw
        })
        .collect();
    let mut dw = vec![0.0; width];
    for part in partial {
        for (sum, x) in dw.iter_mut().zip(part) {
            *sum += x;
        }
    }
    (dx, dw)
}

/// See [`crate::ops::rope`].
#[derive(Debug)]
pub(in crate::ops) struct Rope {
    pub(in crate::ops) cos: Tensor,
    pub(in crate::ops) sin: Tensor,
    pub(in crate::ops) inverse: bool,
}

impl CustomOp1 for Rope {
    fn name(&self) -> &'static str {
        "rope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let values = slice(x, layout)?;
        let (_, heads, width) = layout.shape().dims3()?;
        let out = with([&self.cos, &self.sin], |[cos, sin]| {
            let half = width / 2;
            let sign = if self.inverse { -1.0 } else { 1.0 };
            let sin: Vec<f32> = sin.iter().map(|x| sign * x).collect();
            let mut out = values.to_vec();
            for (row, out) in out.chunks_exact_mut(heads * width).enumerate() {
                rows::rope(out, &cos[row * half..][..half], &sin[row * half..][..half]);
            }
            Ok(out)
        })?;
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let back = Self { cos: self.cos.clone(), sin: self.sin.clone(), inverse: !self.inverse };
        Ok(Some(grad.contiguous()?.apply_op1(back)?))
    }
}

/// See [`crate::ops::swiglu`].
#[derive(Debug)]
pub(in crate::ops) struct SwiGlu;

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(
        &self,
        gate: &CpuStorage,
        layout: &Layout,
        up: &CpuStorage,
        up_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (slice(gate, layout)?, slice(up, up_layout)?);
        let mut out = gate.to_vec();
        let task = task_len(1, gate.len());
        out.par_chunks_mut(task)
            .zip(up.par_chunks(task))
            .for_each(|(out, up)| rows::swiglu(out, up));
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (dg, du) = with([gate, up, grad], |[gate, up, grad]| {
            let (mut dg, mut du) = (gate.to_vec(), up.to_vec());
            let task = task_len(1, gate.len());
            dg.par_chunks_mut(task)
                .zip(du.par_chunks_mut(task))
                .zip(grad.par_chunks(task))
                .for_each(|((dg, du), grad)| rows::swiglu_backward(dg, du, grad));
            Ok((dg, du))
        })?;
        let dg = Tensor::from_vec(dg, gate.shape(), gate.device())?;
        let du = Tensor::from_vec(du, gate.shape(), gate.device())?;
        Ok((Some(dg), Some(du)))
    }
}
