//! The policy: variables in checkpoint order, and the forward passes over them.

use candle::{DType, Device, Tensor, Var};
use serde_json::{Map, Value};

use crate::backend::{Backend, cpu, reference};
use crate::layout::Layout;
use crate::rope::Rope;
use crate::score::{self, Scores};
use crate::{Error, ModelConfig, Packed, Products, Result, Target, Weights, noise, weights};

/// A trainable tensor and its name in the checkpoint.
#[derive(Debug, Clone)]
pub struct Parameter {
    /// Hugging Face name.
    pub name: String,
    /// The values; every view of the model shares this storage.
    pub var: Var,
}

/// A decoder with its weights.
#[derive(Debug)]
pub struct Model {
    config: ModelConfig,
    rope: Rope,
    parameters: Vec<Parameter>,
    tracked: Weights,
    live: Weights,
    device: Device,
    dtype: DType,
    backend: Backend,
    /// What the `config.json` said that it was read with.
    config_keys: Map<String, Value>,
}

impl Model {
    /// Builds a model, asking `get` for each parameter by name and shape, in checkpoint order.
    ///
    /// # Errors
    ///
    /// Fails on a configuration that [`ModelConfig::validate`] refuses, when `get` fails, and when a
    /// weight has another shape than asked for, holds a value that is not finite, or one too large
    /// for `dtype`.
    pub fn new(
        config: ModelConfig,
        get: &mut dyn FnMut(&str, &[usize]) -> Result<Tensor>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        config.validate()?;
        let mut parameters = Vec::new();
        let tracked = Weights::build(&config, &mut |name, shape| {
            let stored = get(name, shape)?;
            let tensor = stored.to_dtype(dtype)?.to_device(device)?;
            check(name, &stored, &tensor, shape)?;
            let var = Var::from_tensor(&tensor)?;
            let shared = var.as_tensor().clone();
            parameters.push(Parameter { name: name.to_owned(), var });
            Ok(shared)
        })?;
        let mut views = parameters.iter();
        let live = Weights::build(&config, &mut |_, _| {
            let parameter = views.next().expect("both trees ask for the same parameters");
            Ok(parameter.var.as_detached_tensor())
        })?;
        let (rope, device) = (Rope::new(&config), device.clone());
        let (backend, config_keys) = (Backend::of(dtype, &device), Map::new());
        Ok(Self { config, rope, parameters, tracked, live, device, dtype, backend, config_keys })
    }

    /// The same model with the keys of the `config.json` that it was read with, which
    /// [`crate::save`] keeps.
    pub(crate) fn with_config_keys(self, config_keys: Map<String, Value>) -> Self {
        Self { config_keys, ..self }
    }

    /// What the `config.json` said that it was read with; empty where there was none.
    pub(crate) fn config_keys(&self) -> &Map<String, Value> {
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

    /// The same model with its products taken otherwise; its weights stay what they are.
    #[must_use]
    pub fn with_products(self, products: Products) -> Self {
        let (tracked, live) =
            (self.tracked.multiplied_by(products), self.live.multiplied_by(products));
        Self { tracked, live, ..self }
    }

    /// In what precision its products are taken.
    pub fn products(&self) -> Products {
        self.live.products
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

    /// The form in which it computes.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The trainable tensors, in checkpoint order.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The rotary frequencies.
    pub fn rope(&self) -> &Rope {
        &self.rope
    }

    /// The weights without a graph: always the current values.
    pub fn live(&self) -> &Weights {
        &self.live
    }

    /// The weights as variables.
    pub(crate) fn tracked(&self) -> &Weights {
        &self.tracked
    }

    /// Hidden states after the final norm, without a graph.
    ///
    /// Shapes: result (rows, width).
    ///
    /// # Errors
    ///
    /// Fails when a token is outside the vocabulary or a position outside the context.
    pub fn hidden(&self, packed: &Packed) -> Result<Tensor> {
        let layout = self.layout(packed)?;
        let mut x = self.embed(packed)?;
        if self.backend == Backend::Cpu {
            let rows = cpu::block::Rows::new(&layout)?;
            let mut x: Vec<f32> = x.flatten_all()?.to_vec1()?;
            for weights in &self.live.blocks {
                let forward = |block: &cpu::block::Block<'_>| block.forward(&x).0;
                x = cpu::block::with(&self.config, weights, &rows, forward)?;
            }
            return self.normed(&x);
        }
        for weights in &self.live.blocks {
            x = reference::block::block(&self.config, weights, &x, &layout)?;
        }
        reference::ops::rms_norm(&x, &self.live.norm, self.config.rms_norm_eps)
    }

    /// Hidden states after the final norm, of plain ones before it.
    pub(crate) fn normed(&self, x: &[f32]) -> Result<Tensor> {
        let shape = (x.len() / self.config.hidden_size, self.config.hidden_size);
        let norm = |norm: &[f32]| cpu::rms_norm(x, norm, self.config.rms_norm_eps);
        let normed = cpu::with([&self.live.norm], |[weight]| Ok(norm(weight)))?;
        Ok(Tensor::from_vec(normed, shape, &self.device)?)
    }

    /// Log-probabilities and entropies of the targets, without a graph.
    ///
    /// # Errors
    ///
    /// As [`Self::hidden`], and when a target's row or token does not exist.
    pub fn score(&self, packed: &Packed, targets: &[Target], temperature: f64) -> Result<Scores> {
        let hidden = self.hidden(packed)?;
        let (head, products) = (&self.live.head, self.products());
        let pass = score::forward(self.backend, &hidden, head, products, targets, temperature)?;
        Ok(pass.scores())
    }

    /// The layout of a pack that fits this model.
    pub(crate) fn layout(&self, packed: &Packed) -> Result<Layout> {
        if let Some(&token) =
            packed.tokens().iter().find(|&&token| token as usize >= self.config.vocab_size)
        {
            return Err(Error::Input(format!(
                "token {token} is outside the vocabulary of {} tokens",
                self.config.vocab_size
            )));
        }
        let longest = packed.positions().iter().max().map_or(0, |&p| p as usize + 1);
        if longest > self.config.context {
            return Err(Error::Input(format!(
                "a sequence of {longest} tokens does not fit the model's context of {} tokens",
                self.config.context
            )));
        }
        Layout::new(packed, &self.rope, self.dtype, &self.device)
    }

    /// Embeddings of the rows, without a graph: (rows, width).
    pub(crate) fn embed(&self, packed: &Packed) -> Result<Tensor> {
        let tokens = Tensor::new(packed.tokens(), &self.device)?;
        Ok(self.live.embed.index_select(&tokens, 0)?)
    }

    /// The parameters of a block, or of the final norm that follows the last.
    pub(crate) fn parameters_of(&self, stage: usize) -> std::ops::Range<usize> {
        let each = weights::per_block(&self.config);
        let start = 1 + stage * each;
        if stage < self.config.num_layers { start..start + each } else { start..start + 1 }
    }
}

/// Compares a weight with what was asked for: `stored` as it was read, `tensor` as it is used.
fn check(name: &str, stored: &Tensor, tensor: &Tensor, shape: &[usize]) -> Result<()> {
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
    wrong(
        "holds values that are not finite: the file is damaged or was saved after a divergence"
            .into(),
    )
}

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
