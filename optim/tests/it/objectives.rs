//! Objectives that need no model.

use std::fmt::Debug;

use candle::{DType, Device, Tensor, Var};
use optim::{Error, Gradients, Objective, Param, Result};

/// A parameter that starts at `values`.
pub(crate) fn param(name: &str, values: &[f64], dtype: DType) -> Param {
    let tensor = Tensor::new(values, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    Param { name: name.into(), var: Var::from_tensor(&tensor).unwrap(), decay: true, lr_scale: 1.0 }
}

/// The bits of a tensor, in f64, which holds every other type exactly.
pub(crate) fn bits(tensor: &Tensor) -> Vec<u64> {
    values(tensor).into_iter().map(f64::to_bits).collect()
}

pub(crate) fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// A loss as a graph over the parameters; one gradient for each part that `losses` returns.
pub(crate) struct Graph<F> {
    pub(crate) params: Vec<Param>,
    pub(crate) losses: F,
}

impl<F: Fn(&[Param]) -> candle::Result<Vec<Tensor>>> Objective for Graph<F> {
    fn value(&mut self) -> Result<f64> {
        let mut sum = 0.0;
        for loss in (self.losses)(&self.params)? {
            sum += loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        }
        Ok(sum)
    }

    fn gradient(&mut self, into: &mut Gradients) -> Result<f64> {
        let mut sum = 0.0;
        for loss in (self.losses)(&self.params)? {
            let mut store = loss.backward()?;
            for (index, param) in self.params.iter().enumerate() {
                if let Some(gradient) = store.remove(&param.var) {
                    into.add(index, gradient)?;
                }
            }
            sum += loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        }
        Ok(sum)
    }
}

/// Returns what it was told, whatever the parameters.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) loss: f64,
    /// Index and gradient, in the order of addition.
    pub(crate) gradients: Vec<(usize, Tensor)>,
}

impl Objective for Told {
    fn value(&mut self) -> Result<f64> {
        Ok(self.loss)
    }

    fn gradient(&mut self, into: &mut Gradients) -> Result<f64> {
        for (index, gradient) in &self.gradients {
            into.add(*index, gradient.clone())?;
        }
        Ok(self.loss)
    }
}

/// Fails as an objective does whose data or model fails.
pub(crate) struct Broken;

impl Objective for Broken {
    fn value(&mut self) -> Result<f64> {
        Err(Error::Objective("the data ran out".into()))
    }

    fn gradient(&mut self, _: &mut Gradients) -> Result<f64> {
        self.value()
    }
}

/// `sum (w - 3)^2` over every parameter.
pub(crate) fn parabola(
    params: &[Param],
) -> Graph<impl Fn(&[Param]) -> candle::Result<Vec<Tensor>>> {
    let losses = |params: &[Param]| {
        let mut sum = Tensor::zeros((), DType::F64, &Device::Cpu)?;
        for param in params {
            let w = param.var.as_tensor().to_dtype(DType::F64)?;
            sum = (sum + (w - 3.0)?.sqr()?.sum_all()?)?;
        }
        Ok(vec![sum])
    };
    Graph { params: params.to_vec(), losses }
}

/// `(1 - x)^2 + 100 (y - x^2)^2`, its minimum 0 at (1, 1), for a parameter `x` and a parameter `y`.
pub(crate) fn rosenbrock(
    params: &[Param],
) -> Graph<impl Fn(&[Param]) -> candle::Result<Vec<Tensor>>> {
    let losses = |params: &[Param]| {
        let (x, y) = (params[0].var.as_tensor(), params[1].var.as_tensor());
        let valley = ((y - x.sqr()?)?.sqr()? * 100.0)?;
        Ok(vec![((x - 1.0)?.sqr()? + valley)?.sum_all()?])
    };
    Graph { params: params.to_vec(), losses }
}
