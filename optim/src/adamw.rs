use candle::Tensor;
use kernels::adamw::Update;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::first_order::{FirstOrder, Rule, Step};
use crate::gradients::accumulator_dtype;
use crate::slices::{self, CHUNK};
use crate::{Error, Param, Result, SavedState};

/// Settings of [`AdamW`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay of the first moment, from 0 to below 1.
    ///
    /// Names: verl `betas`, HF `adam_beta1`, prime-rl `betas1`.
    pub beta1: f64,
    /// Decay of the second moment, from 0 to below 1.
    ///
    /// Names: verl `betas`, HF `adam_beta2`, prime-rl `betas2`.
    pub beta2: f64,
    /// What is added to the root of the second moment, after bias correction.
    ///
    /// Names: HF `adam_epsilon`.
    pub eps: f64,
    /// Decoupled weight decay, multiplied by the learning rate. Norms, biases and
    /// adapters have none.
    ///
    /// Names: verl `weight_decay`, HF `weight_decay`, prime-rl `weight_decay`.
    pub weight_decay: f64,
    /// Norm that a longer gradient is scaled down to, over all parameters together, or `"off"`.
    ///
    /// Names: verl `clip_grad`, HF `max_grad_norm`, prime-rl `max_norm`.
    #[serde(with = "settings::off::zero")]
    #[schemars(with = "settings::OrOff<f64>")]
    pub max_grad_norm: f64,
    /// The learning rate of the matrices `B` of an adapter over that of the matrices `A` (`LoRA+`,
    /// arXiv 2402.12354); only with an adapter. Left out: 1.
    ///
    /// Names: PEFT `loraplus_lr_ratio`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr_ratio_b: Option<f64>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            lr_ratio_b: None,
        }
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
        let ratio = self.lr_ratio_b.map(|ratio| ("lr_ratio_b", ratio));
        for (key, value) in [("eps", self.eps)].into_iter().chain(ratio) {
            if !(value.is_finite() && value > 0.0) {
                problems.push(format!("{key} is {value}, expected a positive number"));
            }
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
}

/// Adam with decoupled weight decay and global norm clipping.
///
/// Moments are f32 whatever the parameter's type (f64 for f64 parameters). f32 parameters on the
/// CPU are moved by a fused pass, all others by Candle ops; the two agree to 1e-6 of the update
/// plus one rounding of the parameter.
///
/// Source: arXiv 1711.05101, algorithm 2, with the learning rate as the schedule multiplier of the
/// decay.
///
/// ```
/// use candle::{Device, Tensor, Var};
/// use optim::{AdamW, AdamWConfig, Gradients, Objective, Optimizer, Param, Result};
///
/// /// `(w - 3)^2`, summed.
/// struct Parabola(Var);
///
/// impl Objective for Parabola {
///     fn value(&mut self) -> Result<f64> {
///         Ok(f64::from((self.0.as_tensor() - 3.0)?.sqr()?.sum_all()?.to_scalar::<f32>()?))
///     }
///     fn gradient(&mut self, into: &mut Gradients) -> Result<f64> {
///         into.add(0, ((self.0.as_tensor() - 3.0)? * 2.0)?.detach())?;
///         self.value()
///     }
/// }
///
/// let var = Var::from_tensor(&Tensor::zeros(2, candle::DType::F32, &Device::Cpu)?)?;
/// let params = [Param { name: "w".into(), var: var.clone(), decay: false, lr_scale: 1.0 }];
/// let mut adamw = AdamW::new(AdamWConfig::default(), &params)?;
/// for _ in 0..300 {
///     adamw.step(&params, &mut Parabola(var.clone()), 0.05)?;
/// }
/// assert!(Parabola(var).value()? < 1e-3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type AdamW = FirstOrder<AdamWRule>;

/// The rule of [`AdamW`].
#[derive(Debug)]
pub struct AdamWRule {
    config: AdamWConfig,
    moments: Vec<Moments>,
}

#[derive(Debug)]
struct Moments {
    name: String,
    first: Tensor,
    second: Tensor,
}

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
        Self::with_rule(AdamWRule { config, moments }, params)
    }
}

impl Rule for AdamWRule {
    const NAME: &str = "adamw";

    fn max_grad_norm(&self) -> f64 {
        self.config.max_grad_norm
    }

    fn apply(&mut self, index: usize, param: &Param, step: Step<'_>) -> Result<()> {
        let AdamWConfig { beta1, beta2, eps, weight_decay, .. } = self.config;
        let count = step.update as f64;
        let update = Update {
            beta1,
            beta2,
            eps,
            clip: step.clip_scale,
            rate: step.lr / (1.0 - beta1.powf(count)),
            root: 1.0 / (1.0 - beta2.powf(count)).sqrt(),
            decay: if param.decay { step.lr * weight_decay } else { 0.0 },
        };
        let moments = &mut self.moments[index];
        if slices::fits(&param.var) {
            fused(&update, param, moments, step.gradient)?;
        } else {
            composed(&update, param, moments, step.gradient)?;
        }
        Ok(())
    }

    fn state(&self) -> Vec<(String, Tensor)> {
        let both = |moments: &Moments| {
            let [first, second] = moments.keys();
            [(first, moments.first.clone()), (second, moments.second.clone())]
        };
        self.moments.iter().flat_map(both).collect()
    }

    fn restore(&mut self, state: &dyn SavedState) -> Result<()> {
        for own in &mut self.moments {
            let [first, second] = own.keys();
            for (key, moment) in [(first, &mut own.first), (second, &mut own.second)] {
                // At once in its place: two states together would be the peak of the run's memory.
                *moment = state.tensor(&key)?.to_device(moment.device())?;
            }
        }
        Ok(())
    }
}

impl Moments {
    /// Names in a saved state.
    fn keys(&self) -> [String; 2] {
        [format!("adamw.first.{}", self.name), format!("adamw.second.{}", self.name)]
    }
}

/// The update by Candle ops: any device and type.
fn composed(
    update: &Update,
    param: &Param,
    moments: &mut Moments,
    gradient: &Tensor,
) -> candle::Result<()> {
    let &Update { beta1, beta2, eps, clip, rate, root, decay } = update;
    let gradient = (gradient * clip)?;
    let first = ((&moments.first * beta1)? + (&gradient * (1.0 - beta1))?)?;
    let second = ((&moments.second * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
    let denominator = second.sqrt()?.affine(root, eps)?;
    let weight = param.var.as_detached_tensor().to_dtype(first.dtype())?;
    let step = (((&first * rate)? / denominator)? + (&weight * decay)?)?;
    param.var.set(&(weight - step)?.to_dtype(param.var.dtype())?)?;
    (moments.first, moments.second) = (first, second);
    Ok(())
}

/// One pass over weight, moments and gradient, all f32 on the CPU.
fn fused(
    update: &Update,
    param: &Param,
    moments: &mut Moments,
    gradient: &Tensor,
) -> candle::Result<()> {
    slices::write(&param.var, |weight| {
        slices::write(&moments.first, |first| {
            slices::write(&moments.second, |second| {
                slices::read(gradient, |gradient| {
                    let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
                    let data = weight.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
                    data.zip(moments).for_each(|((w, g), (m, v))| update.apply(w, m, v, g));
                })
            })
        })
    })
}

#[cfg(test)]
mod tests {
    use candle::{Device, Var};

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
        (Param { name: "w".into(), var, decay: true, lr_scale: 1.0 }, moments, tensor(4.0))
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
        super::fused(&update, &fused, &mut fused_moments, &gradient).unwrap();
        super::composed(&update, &composed, &mut composed_moments, &gradient).unwrap();
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
