//! Adapters: maps of low rank that are added to the linear maps of a frozen base, and trained in
//! its place.
//!
//! `adapter/peft.rs` reads and writes the folders of PEFT, `gguf/adapter.rs` the files of
//! llama.cpp. `adapter/names.rs` tells which maps the tensors of either adapt, `adapter/said.rs`
//! which ones the settings of a folder name, `adapter/norm.rs` how much an adapter adds.

pub(crate) mod names;
mod norm;
mod peft;
mod said;

use std::sync::atomic::{AtomicU64, Ordering};

use candle::{DType, Device, Tensor};
use settings::number;

use crate::model::check;
use crate::weights::{BlockLora, BlockWeights, Lora, Module, Spec, Version, Weights};
use crate::{Error, ModelConfig, Result, noise};
pub use peft::{CONFIG, TENSORS};

/// Sizes of an adapter, and what it adapts.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterConfig {
    /// Rows of every `A`.
    pub rank: usize,
    /// Numerator of the scale.
    pub alpha: f64,
    /// Denominator of the scale.
    pub scaling: Scaling,
    /// The linear maps that are adapted, in every block: ascending, none twice.
    pub targets: Vec<Module>,
}

/// What `alpha` is divided by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scaling {
    /// The rank (arXiv 2106.09685, section 4.1).
    #[default]
    Rank,
    /// The root of the rank (rsLoRA: arXiv 2312.03732, section 3).
    SqrtRank,
}

impl Scaling {
    /// Its name in recipes and records.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::SqrtRank => "sqrt-rank",
        }
    }
}

impl AdapterConfig {
    /// The factor of `B A`.
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        match self.scaling {
            Scaling::Rank => self.alpha / rank,
            Scaling::SqrtRank => self.alpha / rank.sqrt(),
        }
    }

    /// Whether a model can have such an adapter.
    ///
    /// # Errors
    ///
    /// Fails when the scale is not a positive finite number, when nothing is adapted or something
    /// twice, and when the rank is zero or above the smaller side of a linear map.
    pub fn validate(&self, model: &ModelConfig) -> Result<()> {
        let input = |problem: String| Err(Error::Input(format!("adapter: {problem}")));
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            let alpha = number(self.alpha);
            return input(format!("alpha is {alpha}, expected a positive number"));
        }
        if self.rank > 0 && !(self.scale() as f32).is_normal() {
            let (alpha, scale) = (number(self.alpha), number(self.scale()));
            return input(format!("alpha is {alpha}, and the scale {scale} is no number in f32"));
        }
        if self.targets.is_empty() {
            return input("no targets: name at least one linear map".into());
        }
        if !self.targets.is_sorted_by(|a, b| a < b) {
            return input("targets: expected each once, in the order of a block".into());
        }
        if self.rank == 0 {
            return input("rank is 0, expected at least 1".into());
        }
        // All blocks have the same shapes.
        let block = BlockWeights::of(model, 0);
        for target in &self.targets {
            let smaller = block.linear(*target).weight.shape.iter().copied().min().unwrap_or(0);
            if self.rank > smaller {
                return input(format!(
                    "rank is {}, expected at most {smaller}, the smaller side of {}",
                    self.rank,
                    target.name()
                ));
            }
        }
        Ok(())
    }

    /// Names and shapes of its parameters, by block.
    fn specs(&self, model: &Weights<Spec>) -> Vec<BlockLora<Spec>> {
        let of = |block: &BlockWeights<Spec>| {
            let lora = |target: Module| {
                let Spec { name, shape } = &block.linear(target).weight;
                let module = name.strip_suffix(".weight").unwrap_or(name);
                let spec = |half: &str, shape: [usize; 2]| {
                    Spec::new(format!("{module}.lora_{half}.weight"), &shape)
                };
                Lora {
                    a: spec("A", [self.rank, shape[1]]),
                    b: spec("B", [shape[0], self.rank]),
                    scale: self.scale(),
                }
            };
            BlockLora::new(|target| self.targets.contains(&target).then(|| lora(target)))
        };
        model.blocks.iter().map(of).collect()
    }
}

/// An adapter with its values. It is one of a model's ([`crate::Model::with_adapter`]), whose
/// parameters these then are, or one that a policy computes with
/// ([`crate::Policy::with_adapter`]).
#[derive(Debug)]
pub struct Adapter {
    config: AdapterConfig,
    /// Names and shapes of a model's weights with this adapter.
    specs: Weights<Spec>,
    pub(crate) blocks: Vec<BlockLora<Tensor>>,
    version: AtomicU64,
}

impl Adapter {
    /// Builds an adapter for a model, asking `get` for each parameter by name and shape, in
    /// checkpoint order: `A` and `B` of each adapted map, from the lowest block.
    ///
    /// # Errors
    ///
    /// Fails on a configuration that [`AdapterConfig::validate`] refuses, when `get` fails, and
    /// when a parameter has another shape than asked for or holds a value that is not finite.
    pub fn new(
        config: AdapterConfig,
        model: &ModelConfig,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate(model)?;
        let base = Weights::of(model);
        let specs = config.specs(&base);
        let mut build = |Spec { name, shape }: &Spec| -> Result<Tensor> {
            let stored = get(name, shape)?;
            let tensor = stored.to_dtype(dtype)?.to_device(device)?;
            check(name, &stored, &tensor, shape)?;
            Ok(tensor)
        };
        let blocks = specs.iter().map(|block| block.as_ref().try_map(&mut build));
        let blocks = blocks.collect::<Result<_>>()?;
        Ok(Self { config, specs: base.adapted(specs), blocks, version: unique() })
    }

    /// An adapter that changes nothing yet: every `B` is zero, every `A` uniform on
    /// `±1 / sqrt(in)`, a function of `seed` and of the map that it adapts.
    ///
    /// # Errors
    ///
    /// Fails on a configuration that [`AdapterConfig::validate`] refuses.
    ///
    /// Source: `reset_lora_parameters` of PEFT, Kaiming's uniform values with `a = sqrt(5)`.
    pub fn fresh(
        config: AdapterConfig,
        model: &ModelConfig,
        seed: u64,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let maps: Vec<String> = names::maps(model).collect();
        let mut get = |name: &str, shape: &[usize]| {
            let Some(map) = name.strip_suffix(".lora_A.weight") else {
                return Ok(Tensor::zeros(shape, dtype, device)?);
            };
            let place = maps.iter().position(|own| own == map).expect("the map is the model's");
            let bound = 1.0 / (shape[1] as f64).sqrt();
            let values = noise::uniform(seed, place as u64 + 1, shape.iter().product());
            let values: Vec<f32> = values.into_iter().map(|x| (x * bound) as f32).collect();
            Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
        };
        Self::new(config, model, &mut get, dtype, device)
    }

    /// Sizes, and what it adapts.
    pub fn config(&self) -> &AdapterConfig {
        &self.config
    }

    /// Names and shapes of a model's weights with this adapter.
    pub(crate) fn specs(&self) -> &Weights<Spec> {
        &self.specs
    }

    /// Whether it was made for a base of these shapes.
    pub(crate) fn fits(&self, base: &Weights<Spec>) -> Result<()> {
        let expected = base.clone().adapted(self.config.specs(base));
        let (mut own, mut needed) = (Vec::new(), Vec::new());
        self.specs.visit(|spec| own.push(spec));
        expected.visit(|spec| needed.push(spec));
        if own == needed {
            return Ok(());
        }
        let differing = needed.iter().zip(&own).find(|(needed, own)| needed != own);
        Err(Error::Input(match differing {
            Some((needed, own)) => format!(
                "the adapter was made for another base: there {} is {:?}, here {} is {:?}",
                own.name, own.shape, needed.name, needed.shape
            ),
            None => format!(
                "the adapter was made for another base: there are {} weights, here {}",
                own.len(),
                needed.len()
            ),
        }))
    }

    /// Identifies its values.
    pub(crate) fn version(&self) -> Version {
        Version::of(self.version.load(Ordering::Acquire))
    }

    /// Gives it a new version, since its values change.
    pub(crate) fn renew(&self) {
        self.version.store(Version::unique().weights, Ordering::Release);
    }

    /// The same adapter with other tensors of the same shapes.
    pub(crate) fn with_blocks(self, blocks: Vec<BlockLora<Tensor>>) -> Self {
        Self { blocks, ..self }
    }

    /// A copy of its values as they are now.
    ///
    /// # Errors
    ///
    /// Fails when the device refuses a copy.
    pub fn frozen(&self) -> Result<Self> {
        let copy = |tensor: &Tensor| -> Result<Tensor> { Ok(tensor.detach().copy()?) };
        let blocks = self.blocks.iter().map(|block| block.as_ref().try_map(copy));
        Ok(Self {
            config: self.config.clone(),
            specs: self.specs.clone(),
            blocks: blocks.collect::<Result<_>>()?,
            version: unique(),
        })
    }

    /// The adapter whose values are these, moved by `share` of the way to those of `other`. What it
    /// adds is not moved by that share: `B A` is a product.
    ///
    /// # Errors
    ///
    /// Fails when the two have other sizes or adapt other maps.
    pub fn moved(&self, other: &Self, share: f64) -> Result<Self> {
        let names = |adapter: &Self| -> Vec<_> {
            let all = adapter.parameters().into_iter();
            all.map(|(name, tensor)| (name.to_owned(), tensor.shape().clone())).collect()
        };
        if self.config != other.config || names(self) != names(other) {
            return Err(Error::Input("the adapters are of different sizes".into()));
        }
        let mut others = other.parameters().into_iter();
        let mut mix = |own: &Tensor| -> Result<Tensor> {
            let (_, other) = others.next().expect("both have the same parameters");
            Ok((own + ((other.detach() - own)? * share)?)?)
        };
        let blocks = self.blocks.iter().map(|block| block.as_ref().try_map(&mut mix));
        Ok(Self {
            config: self.config.clone(),
            specs: self.specs.clone(),
            blocks: blocks.collect::<Result<_>>()?,
            version: unique(),
        })
    }

    /// Whether it changes nothing: every `B` is zero, as in a fresh one.
    ///
    /// # Errors
    ///
    /// Fails when the device cannot compare the values.
    pub fn is_zero(&self) -> Result<bool> {
        for lora in self.blocks.iter().flat_map(|BlockLora(parts)| parts.iter().flatten()) {
            let largest = lora.b.detach().abs()?.flatten_all()?.max(0)?.to_dtype(DType::F32)?;
            if largest.to_scalar::<f32>()? != 0.0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Names and values of its parameters, in checkpoint order.
    pub fn parameters(&self) -> Vec<(&str, &Tensor)> {
        let mut names = Vec::new();
        for block in &self.specs.blocks {
            for lora in block.linears().into_iter().filter_map(|map| map.lora.as_ref()) {
                names.extend([lora.a.name.as_str(), lora.b.name.as_str()]);
            }
        }
        let values = self.blocks.iter().flat_map(|BlockLora(parts)| parts.iter().flatten());
        names.into_iter().zip(values.flat_map(|lora| [&lora.a, &lora.b])).collect()
    }
}

/// A version that nothing else has.
fn unique() -> AtomicU64 {
    AtomicU64::new(Version::unique().weights)
}
