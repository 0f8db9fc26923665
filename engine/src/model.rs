//! The model: its parameters in checkpoint order, and the passes over them.

mod check;
mod parameter;
mod places;
mod renewed;
mod source;
mod transform;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use candle::{DType, Device, Tensor, Var};
use serde_json::{Map, Value as Json};

use crate::adapter::Adapter;
use crate::backend::Backend;
use crate::rope::Rope;
use crate::weights::{Spec, Value, Version, WeightSource, Weights};
use crate::{
    Cache, Error, MatmulPrecision, ModelConfig, Packed, Policy, Prefix, Result, Scores, Target,
    noise,
};
pub(crate) use check::check;
pub use parameter::Parameter;
use parameter::parameter;
use places::places;
use renewed::Renewed;

/// A decoder with its weights.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    rope: Rope,
    /// Of the base.
    specs: Weights<Spec>,
    /// Of the base and of the adapter.
    parameters: Vec<Parameter>,
    /// The variables of `parameters`, in the same order.
    variables: Vec<Var>,
    /// Of the base: variables, and matrices in the format of a file. Tied weights are one.
    weights: Weights<Value>,
    /// Its tensors are variables too.
    adapter: Option<Adapter>,
    version: AtomicU64,
    /// The place of each weight among the trainable parameters.
    trainable: Weights<Option<usize>>,
    backend: Backend,
    device: Device,
    dtype: DType,
    /// What the `config.json` said that it was read with.
    config_keys: Map<String, Json>,
}

impl Model {
    /// Builds a model, asking `get` for each parameter by name and shape, in checkpoint order. All
    /// are trainable.
    ///
    /// # Errors
    ///
    /// Fails on a configuration that [`ModelConfig::validate`] refuses, when `get` fails, and when
    /// a weight has another shape than asked for, holds a value that is not finite, or one too
    /// large for `dtype`.
    pub fn new(
        config: ModelConfig,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        Self::of_values(config, &mut |name, shape| Ok(get(name, shape)?.into()), dtype, device)
    }

    /// [`Self::new`] of tensors and of matrices in the format of a file. The latter are no
    /// parameters. A model that has some is frozen: it is sampled from, or trained by an adapter.
    /// It computes what the model of their numbers does, to the bit.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn of_values(
        config: ModelConfig,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Value>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let (specs, mut parameters, mut variables) = (Weights::of(&config), Vec::new(), Vec::new());
        let weights = specs.as_ref().try_map(|Spec { name, shape }| -> Result<Value> {
            let stored = match get(name, shape)? {
                Value::Tensor(stored) => stored,
                Value::Stored(matrix) => {
                    check::check_stored(name, &matrix, shape)?;
                    return Ok(Value::Stored(matrix));
                }
            };
            let tensor = stored.to_dtype(dtype)?.to_device(device)?;
            check(name, &stored, &tensor, shape)?;
            let (parameter, variable) = parameter(name, &tensor)?;
            let shared = variable.as_tensor().clone();
            parameters.push(parameter);
            variables.push(variable);
            Ok(Value::Tensor(shared))
        })?;
        if is_stored(&weights) {
            for parameter in &mut parameters {
                parameter.trainable = false;
            }
        }
        Ok(Self {
            rope: Rope::new(&config),
            trainable: places(&specs, &parameters),
            config,
            specs,
            parameters,
            variables,
            weights,
            adapter: None,
            version: AtomicU64::new(Version::unique().weights),
            backend: Backend::of(dtype, device),
            device: device.clone(),
            dtype,
            config_keys: Map::new(),
        })
    }

    /// The same model with the keys of the `config.json` that it was read with, which
    /// [`crate::save`] keeps.
    pub(crate) fn with_config_keys(self, config_keys: Map<String, Json>) -> Self {
        Self { config_keys, ..self }
    }

    /// What the `config.json` said that it was read with; empty where there was none.
    pub(crate) fn config_keys(&self) -> &Map<String, Json> {
        &self.config_keys
    }

    /// A model with normal weights of standard deviation 0.02 and norms of one, a function of
    /// `seed` alone.
    ///
    /// # Errors
    ///
    /// Fails when the device refuses a tensor.
    pub fn random(config: ModelConfig, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let mut index = 0;
        Self::new(
            config,
            &mut |name, shape| {
                index += 1;
                if name.ends_with("norm.weight") {
                    return Ok(Tensor::ones(shape, dtype, device)?);
                }
                if name.ends_with("_proj.bias") {
                    return Ok(Tensor::zeros(shape, dtype, device)?);
                }
                let values = noise::normal(seed, index, shape.iter().product());
                Ok((Tensor::from_vec(values, shape, &Device::Cpu)? * 0.02)?)
            },
            dtype,
            device,
        )
    }

    /// The same model with an adapter, whose parameters are trained. All others are frozen.
    ///
    /// # Errors
    ///
    /// Fails when the model has an adapter already, and when the adapter was made for a model of
    /// other sizes.
    pub fn with_adapter(mut self, adapter: Adapter) -> Result<Self> {
        if self.adapter.is_some() {
            return Err(Error::Input("the model has an adapter already".into()));
        }
        adapter.fits(&self.specs)?;
        let base = std::mem::take(&mut self.parameters).into_iter();
        let mut base = base.zip(std::mem::take(&mut self.variables)).peekable();
        let base = self.specs.as_ref().map(|spec| {
            let (own, variable) = base.next_if(|(own, _)| own.name == spec.name)?;
            Some((Parameter { trainable: false, ..own }, variable))
        });
        let mut own = adapter.parameters().into_iter();
        let mut named = |_: &Tensor| {
            let (name, tensor) = own.next().expect("the parameters are those of the blocks");
            parameter(name, tensor)
        };
        let blocks = adapter.blocks.iter().map(|block| block.as_ref().try_map(&mut named));
        let blocks = blocks.collect::<Result<Vec<_>>>()?;
        let shared = |(_, variable): &(Parameter, Var)| variable.as_tensor().clone();
        let tensors = blocks.iter().map(|block| block.as_ref().map(shared)).collect();
        let blocks = blocks.into_iter().map(|block| block.map(Some)).collect();
        for (own, variable) in base.adapted(blocks).into_values().into_iter().flatten() {
            self.parameters.push(own);
            self.variables.push(variable);
        }
        let adapter = adapter.with_blocks(tensors);
        self.trainable = places(adapter.specs(), &self.parameters);
        self.adapter = Some(adapter);
        Ok(self)
    }

    /// The adapter that it is trained by, with the values as they are.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapter.as_ref()
    }

    /// The same model with another precision of its matrix products. The weights are not converted;
    /// caches made before are refused.
    ///
    /// # Errors
    ///
    /// Fails when the model's backend has no products of that precision.
    pub fn with_precision(self, precision: MatmulPrecision) -> Result<Self> {
        let backend = self.backend.with_precision(precision)?;
        // A cache may hold copies of the weights in the precision it was made with.
        self.update(|_| ());
        Ok(Self { backend, ..self })
    }

    /// Whether some of its matrices are in the format of a file ([`Self::of_values`]).
    pub fn is_stored(&self) -> bool {
        is_stored(&self.weights)
    }

    /// The precision of its matrix products.
    pub fn precision(&self) -> MatmulPrecision {
        self.backend.precision()
    }

    /// Sizes and switches.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the weights are.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Type of the weights.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// All parameters, in checkpoint order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameters that are trained, in checkpoint order. The gradients of
    /// [`crate::backward`](crate::backward()) are numbered in this order.
    pub fn trainable(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter().filter(|parameter| parameter.trainable)
    }

    /// Freezes the parameters whose name `frozen` picks, and makes all others trainable. No
    /// gradient of a frozen parameter is computed.
    ///
    /// # Errors
    ///
    /// Fails, and changes nothing, when every parameter would be frozen, and for a model with an
    /// adapter or with matrices in the format of a file, whose base is frozen.
    pub fn freeze(&mut self, frozen: impl Fn(&str) -> bool) -> Result<()> {
        if self.adapter.is_some() || self.is_stored() {
            return Err(Error::Input(
                "the base of an adapter, and a model whose matrices are in the format of a file, are \
                 frozen as a whole"
                    .into(),
            ));
        }
        if self.parameters.iter().all(|parameter| frozen(&parameter.name)) {
            return Err(Error::Input(format!(
                "all {} parameters would be frozen: leave at least one to train",
                self.parameters.len()
            )));
        }
        for parameter in &mut self.parameters {
            parameter.trainable = !frozen(&parameter.name);
        }
        self.trainable = places(&self.specs, &self.parameters);
        Ok(())
    }

    /// Lends the variables to `write`, which may change their values. Caches and prefixes made
    /// before are refused from the start of `write`, those made during it from its end, also when
    /// it panics.
    ///
    /// There is no other way to a variable, and they cannot leave `write`:
    ///
    /// ```compile_fail
    /// # use candle::Var;
    /// fn escape(model: &engine::Model) -> &Var {
    ///     model.update(|variables| variables.all().next().unwrap().1)
    /// }
    /// ```
    ///
    /// Do not keep clones of them: a value that is written later would leave old caches valid.
    pub fn update<R>(&self, write: impl FnOnce(Variables<'_>) -> R) -> R {
        let _renewed = Renewed::new(self);
        write(Variables(self))
    }

    /// The policy with the model's own weights, and its adapter where it has one.
    pub fn policy(&self) -> Policy<'_> {
        self.policy_with(self)
    }

    /// The policy with weights of another source; its adapter is the model's.
    pub fn policy_with<'a>(&'a self, weights: &'a dyn WeightSource) -> Policy<'a> {
        Policy {
            config: &self.config,
            rope: &self.rope,
            specs: &self.specs,
            weights,
            adapter: self.adapter.as_ref(),
            trainable: &self.trainable,
            perturbed: None,
            backend: self.backend,
            dtype: self.dtype,
            device: &self.device,
        }
    }

    /// [`Policy::hidden`] of the model's own weights.
    pub fn hidden(&self, packed: &Packed) -> Result<Tensor> {
        self.policy().hidden(packed)
    }

    /// [`Policy::score`] of the model's own weights.
    pub fn score(&self, packed: &Packed, targets: &[Target], temperature: f64) -> Result<Scores> {
        self.policy().score(packed, targets, temperature)
    }

    /// [`Policy::prefill`] with the model's own weights.
    pub fn prefill(&self, prompt: &[u32]) -> Result<Arc<Prefix>> {
        self.policy().prefill(prompt)
    }

    /// [`Policy::cache`] for the model's own weights.
    pub fn cache(&self, slots: usize, new_tokens: usize) -> Result<Cache> {
        self.policy().cache(slots, new_tokens)
    }

    /// [`Policy::decode`] with the model's own weights.
    pub fn decode(
        &self,
        cache: &mut Cache,
        feed: &[(usize, u32)],
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        self.policy().decode(cache, feed, logits)
    }
}

/// The variables of a model while they may be written.
#[derive(Debug, Clone, Copy)]
pub struct Variables<'a>(&'a Model);

impl<'a> Variables<'a> {
    /// Every parameter with its variable, in checkpoint order.
    pub fn all(self) -> impl Iterator<Item = (&'a Parameter, &'a Var)> {
        self.0.parameters.iter().zip(&self.0.variables)
    }

    /// Those of the parameters that are trained.
    pub fn trainable(self) -> impl Iterator<Item = (&'a Parameter, &'a Var)> {
        self.all().filter(|(parameter, _)| parameter.trainable)
    }
}

impl<'a> From<&'a Model> for Policy<'a> {
    fn from(model: &'a Model) -> Self {
        model.policy()
    }
}

/// Whether some are in the format of a file.
fn is_stored(weights: &Weights<Value>) -> bool {
    let mut any = false;
    weights.visit(|value| any |= matches!(value, Value::Stored(_)));
    any
}
