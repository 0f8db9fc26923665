use std::collections::BTreeMap;

use candle::{Device, Tensor};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::gradients::accumulator_dtype;
use crate::slices::{self, CHUNK};
use crate::{Error, Gradients, Objective, Optimizer, Param, Result, StepReport};

/// Settings of [`AdamW`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay of the first moment, 0 to below 1.
    pub beta1: f64,
    /// Decay of the second moment, 0 to below 1.
    pub beta2: f64,
    /// Added to the root of the second moment, after bias correction.
    pub eps: f64,
    /// Decoupled weight decay, times the learning rate; norms and biases have none.
    pub weight_decay: f64,
    /// Norm that the whole gradient is scaled down to; 0 = no clipping.
    pub max_grad_norm: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01, max_grad_norm: 1.0 }
    }
}

impl AdamWConfig {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (key, value) in [("beta1", self.beta1), ("beta2", self.beta2)] {
            if !(0.0..1.0).contains(&value) {
                problems.push(format!("{key} is {value}, expected 0 to below 1"));
            }
        }
        if !(self.eps.is_finite() && self.eps > 0.0) {
            problems.push(format!("eps is {}, expected a positive number", self.eps));
        }
        for (key, value) in
            [("weight_decay", self.weight_decay), ("max_grad_norm", self.max_grad_norm)]
        {
            if !(value.is_finite() && value >= 0.0) {
                problems.push(format!("{key} is {value}, expected a number of at least 0"));
            }
        }
        problems
    }

    /// What a gradient of this norm is multiplied by, as `torch.nn.utils.clip_grad_norm_` has it.
    fn clip_scale(&self, norm: f64) -> f64 {
        if self.max_grad_norm == 0.0 { 1.0 } else { (self.max_grad_norm / (norm + 1e-6)).min(1.0) }
    }
}

/// Adam with decoupled weight decay and global norm clipping.
///
/// Moments are f32 whatever the parameter's type (f64 for f64 parameters). f32 parameters on the
/// CPU are moved by a fused pass, all others by Candle ops; the two agree to 1e-6 of the update
/// plus one rounding of the parameter.
///
/// Source: arXiv 1711.05101, algorithm 2, with the learning rate as the schedule multiplier of the
/// decay.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    gradients: Gradients,
    moments: Vec<Moments>,
    updates: u64,
}

#[derive(Debug)]
struct Moments {
    name: String,
    first: Tensor,
    second: Tensor,
}

/// The numbers of one update of one parameter: with `h = clip g`, `m = b1 m + (1 - b1) h`,
/// `v = b2 v + (1 - b2) h^2`, `w -= rate m / (root sqrt(v) + eps) + decay w`.
///
/// Decay joins the step before it meets the weight: `1 - lr * weight_decay` alone rounds to 1 in
/// f32 at small rates.
struct Update {
    beta1: f64,
    beta2: f64,
    eps: f64,
    clip: f64,
    rate: f64,
    root: f64,
    decay: f64,
}

const UPDATES: &str = "adamw.updates";

impl AdamW {
    /// No updates made, moments at zero.
    ///
    /// # Errors
    ///
    /// Fails on settings with [`problems`](AdamWConfig::problems), on no parameters and on two of
    /// one name.
    pub fn new(config: AdamWConfig, params: &[Param]) -> Result<Self> {
        let problems = config.problems();
        if !problems.is_empty() {
            return Err(Error::Config { problems });
        }
        let zeros = |param: &Param| {
            Tensor::zeros(param.var.shape(), accumulator_dtype(param), param.var.device())
        };
        let moments = params.iter().map(|param| {
            Ok(Moments { name: param.name.clone(), first: zeros(param)?, second: zeros(param)? })
        });
        let moments = moments.collect::<Result<_>>()?;
        Ok(Self { config, gradients: Gradients::new(params)?, moments, updates: 0 })
    }

    fn update(&self, param: &Param, clip: f64, lr: f64) -> Update {
        let AdamWConfig { beta1, beta2, eps, weight_decay, .. } = self.config;
        let count = (self.updates + 1) as f64;
        Update {
            beta1,
            beta2,
            eps,
            clip,
            rate: lr / (1.0 - beta1.powf(count)),
            root: 1.0 / (1.0 - beta2.powf(count)).sqrt(),
            decay: if param.decay { lr * weight_decay } else { 0.0 },
        }
    }
}

impl Optimizer for AdamW {
    fn step(
        &mut self,
        params: &[Param],
        objective: &mut dyn Objective,
        lr: f64,
    ) -> Result<StepReport> {
        if !(lr.is_finite() && lr >= 0.0) {
            return Err(Error::LearningRate { lr });
        }
        self.gradients.check(params)?;
        self.gradients.clear();
        let loss = objective.gradient(&mut self.gradients)?;
        if !loss.is_finite() {
            return Err(Error::NonFiniteLoss { loss });
        }
        let grad_norm = self.gradients.norm()?;
        let clip_scale = self.config.clip_scale(grad_norm);
        for (index, param) in params.iter().enumerate() {
            let update = self.update(param, clip_scale, lr);
            let gradient = self.gradients.get(index).expect("the norm saw every gradient");
            let moments = &mut self.moments[index];
            if slices::fits(&param.var) {
                update.fused(param, moments, gradient)?;
            } else {
                update.composed(param, moments, gradient)?;
            }
        }
        self.gradients.clear();
        self.updates += 1;
        Ok(StepReport { loss, grad_norm, clip_scale })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let updates = i64::try_from(self.updates).expect("no run makes 2^63 updates");
        let mut state = vec![(UPDATES.to_owned(), Tensor::new(&[updates], &Device::Cpu)?)];
        for moments in &self.moments {
            let [first, second] = moments.keys();
            state.push((first, moments.first.clone()));
            state.push((second, moments.second.clone()));
        }
        Ok(state)
    }

    fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        let expected = self.state()?;
        let mut problems: Vec<String> =
            expected.iter().filter_map(|(key, like)| mismatch(key, state.get(key), like)).collect();
        let unknown = state.keys().filter(|key| expected.iter().all(|(known, _)| known != *key));
        problems.extend(unknown.map(|key| format!("{key} is unknown")));
        if !problems.is_empty() {
            return Err(Error::State { problems });
        }
        let updates = state[UPDATES].to_vec1::<i64>()?[0];
        let updates = u64::try_from(updates).map_err(|_| Error::State {
            problems: vec![format!("{UPDATES} is {updates}, expected at least 0")],
        })?;
        let moments = self.moments.iter().map(|own| {
            let [first, second] = own.keys();
            // Copies: the fused form changes moments in place.
            let copy = |key: &str, like: &Tensor| state[key].to_device(like.device())?.copy();
            Ok(Moments {
                name: own.name.clone(),
                first: copy(&first, &own.first)?,
                second: copy(&second, &own.second)?,
            })
        });
        self.moments = moments.collect::<Result<_>>()?;
        self.updates = updates;
        Ok(())
    }
}

impl Moments {
    /// Names in a saved state.
    fn keys(&self) -> [String; 2] {
        [format!("adamw.first.{}", self.name), format!("adamw.second.{}", self.name)]
    }
}

fn mismatch(key: &str, got: Option<&Tensor>, like: &Tensor) -> Option<String> {
    let Some(got) = got else {
        return Some(format!("{key} is missing"));
    };
    let same = got.shape() == like.shape() && got.dtype() == like.dtype();
    (!same).then(|| {
        let (expected, found) = (like.shape(), got.shape());
        format!("{key} is {:?} {found:?}, expected {:?} {expected:?}", got.dtype(), like.dtype())
    })
}

impl Update {
    fn composed(
        &self,
        param: &Param,
        moments: &mut Moments,
        gradient: &Tensor,
    ) -> candle::Result<()> {
        let gradient = (gradient * self.clip)?;
        let first = ((&moments.first * self.beta1)? + (&gradient * (1.0 - self.beta1))?)?;
        let second = ((&moments.second * self.beta2)? + (gradient.sqr()? * (1.0 - self.beta2))?)?;
        let denominator = second.sqrt()?.affine(self.root, self.eps)?;
        let weight = param.var.as_detached_tensor().to_dtype(first.dtype())?;
        let step = (((&first * self.rate)? / denominator)? + (&weight * self.decay)?)?;
        param.var.set(&(weight - step)?.to_dtype(param.var.dtype())?)?;
        (moments.first, moments.second) = (first, second);
        Ok(())
    }

    /// One pass over weight, moments and gradient, all f32 on the CPU.
    fn fused(&self, param: &Param, moments: &mut Moments, gradient: &Tensor) -> candle::Result<()> {
        slices::write(&param.var, |weight| {
            slices::write(&moments.first, |first| {
                slices::write(&moments.second, |second| {
                    slices::read(gradient, |gradient| {
                        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
                        let data = weight.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
                        data.zip(moments).for_each(|((w, g), (m, v))| self.move_slice(w, m, v, g));
                    })
                })
            })
        })
    }

    fn move_slice(
        &self,
        weight: &mut [f32],
        first: &mut [f32],
        second: &mut [f32],
        gradient: &[f32],
    ) {
        let [beta1, beta2, eps, clip, rate, root, decay, rest1, rest2] = [
            self.beta1,
            self.beta2,
            self.eps,
            self.clip,
            self.rate,
            self.root,
            self.decay,
            1.0 - self.beta1,
            1.0 - self.beta2,
        ]
        .map(|number| number as f32);
        for (((w, m), v), g) in weight.iter_mut().zip(first).zip(second).zip(gradient) {
            let h = clip * g;
            *m = beta1 * *m + rest1 * h;
            *v = beta2 * *v + rest2 * (h * h);
            *w -= rate * *m / (root * v.sqrt() + eps) + decay * *w;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle::Var;

    use super::*;

    /// Numbers of many magnitudes, the same on every machine.
    fn numbers(len: usize, salt: f32) -> Vec<f32> {
        (0..len)
            .map(|i| ((i as f32 + salt) * 0.7).sin() * 10.0_f32.powf((i % 7) as f32 - 4.0))
            .collect()
    }

    fn fixture(len: usize) -> (Param, Moments, Tensor) {
        let tensor = |salt| Tensor::new(numbers(len, salt), &Device::Cpu).unwrap();
        let var = Var::from_tensor(&tensor(1.0)).unwrap();
        let (first, second) = (tensor(2.0), tensor(3.0).sqr().unwrap());
        let moments = Moments { name: "w".into(), first, second };
        (Param { name: "w".into(), var, decay: true }, moments, tensor(4.0))
    }

    /// The bound that [`AdamW`] states, over several chunks and a tail.
    #[test]
    fn fused_agrees_with_composed() {
        let update = Update {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            clip: 0.37,
            rate: 3e-3,
            root: 1.7,
            decay: 1e-4,
        };
        let (start, ..) = fixture(2 * CHUNK + 77);
        let (fused, mut fused_moments, gradient) = fixture(2 * CHUNK + 77);
        let (composed, mut composed_moments, _) = fixture(2 * CHUNK + 77);
        update.fused(&fused, &mut fused_moments, &gradient).unwrap();
        update.composed(&composed, &mut composed_moments, &gradient).unwrap();
        let values = |tensor: &Tensor| tensor.to_vec1::<f32>().unwrap();
        let moved =
            values(&fused.var).into_iter().zip(values(&composed.var)).zip(values(&start.var));
        for (i, ((fused, composed), start)) in moved.enumerate() {
            let bound = 1e-6 * (composed - start).abs() + f32::EPSILON * start.abs();
            assert!((fused - composed).abs() <= bound, "weight {i}: {fused} and {composed}");
        }
        for (fused, composed) in [
            (&fused_moments.first, &composed_moments.first),
            (&fused_moments.second, &composed_moments.second),
        ] {
            for (i, (a, b)) in values(fused).into_iter().zip(values(composed)).enumerate() {
                assert!((a - b).abs() <= 1e-6 * b.abs() + 1e-12, "moment {i}: {a} and {b}");
            }
        }
    }
}
