//! Small models and comparisons shared by the tests.

use candle::{DType, Device, Tensor};
use engine::{
    Adapter, AdapterConfig, Biases, Family, Model, ModelConfig, Module, Packed, RopeScaling,
    Scaling, Target,
};

/// A two-block model of a family, with grouped heads.
pub(crate) fn config(family: Family) -> ModelConfig {
    ModelConfig {
        family,
        vocab_size: 37,
        hidden_size: 16,
        intermediate_size: 24,
        num_layers: 2,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 4,
        context: 64,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: family == Family::Llama,
        biases: if family == Family::Qwen2 { Biases::QKV } else { Biases::NONE },
        qk_norm: family == Family::Qwen3,
    }
}

/// A model of each family, and a llama whose every linear map has a bias.
pub(crate) fn configs() -> [ModelConfig; 4] {
    let [llama, qwen2, qwen3] = FAMILIES.map(config);
    let biases = Biases { mlp: true, ..Biases::ATTENTION };
    [llama.clone(), qwen2, qwen3, ModelConfig { biases, ..llama }]
}

pub(crate) const FAMILIES: [Family; 3] = [Family::Llama, Family::Qwen2, Family::Qwen3];

/// A random model whose every weight, norms and biases too, is away from its initial value.
pub(crate) fn model(config: ModelConfig, dtype: DType) -> Model {
    let mut draw = draws(7);
    let mut get = |name: &str, shape: &[usize]| {
        let base = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| base + 0.6 * draw()).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    };
    Model::new(config, &mut get, dtype, &Device::Cpu).unwrap()
}

/// An adapter whose every value is away from its initial one.
pub(crate) fn adapter(model: &Model, config: AdapterConfig, seed: u64) -> Adapter {
    let mut draw = draws(seed);
    let mut get = |_: &str, shape: &[usize]| {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| 0.6 * draw()).collect();
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    };
    Adapter::new(config, model.config(), &mut get, model.dtype(), &Device::Cpu).unwrap()
}

/// The same model with an adapter of all linear maps.
pub(crate) fn adapted(model: Model, rank: usize) -> Model {
    let targets = Module::ALL.to_vec();
    let config = AdapterConfig { rank, alpha: 3.0, scaling: Scaling::Rank, targets };
    let adapter = adapter(&model, config, 11);
    model.with_adapter(adapter).unwrap()
}

/// Writes a parameter's values.
pub(crate) fn set(model: &Model, name: &str, values: &Tensor) {
    model.update(|variables| {
        let (_, variable) = variables.all().find(|(own, _)| own.name == name).unwrap();
        variable.set(values).unwrap();
    });
}

/// Numbers in [-0.5, 0.5), the same on every machine.
pub(crate) fn draws(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed;
    move || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }
}

pub(crate) fn tokens(seed: u64, len: usize, vocab: usize) -> Vec<u32> {
    let mut draw = draws(seed);
    (0..len).map(|_| ((draw() + 0.5) * vocab as f64) as u32).collect()
}

/// Two prompts, each with completions of uneven length, one of a single token.
pub(crate) fn groups(vocab: usize) -> Vec<(Vec<u32>, Vec<Vec<u32>>)> {
    let group = |seed: u64, prompt: usize, lens: &[usize]| {
        let completions = lens
            .iter()
            .enumerate()
            .map(|(i, &len)| tokens(seed + i as u64 + 1, len, vocab))
            .collect();
        (tokens(seed, prompt, vocab), completions)
    };
    vec![group(100, 5, &[4, 1, 7]), group(200, 3, &[2, 6])]
}

/// All groups in one pack, and the targets of all completions in order.
pub(crate) fn pack(groups: &[(Vec<u32>, Vec<Vec<u32>>)]) -> (Packed, Vec<Target>) {
    let (mut packed, mut targets) = (Packed::default(), Vec::new());
    for (prompt, completions) in groups {
        let parent = packed.push(prompt, None).unwrap();
        for completion in completions {
            targets.extend(packed.push_completion(parent, completion).unwrap());
        }
    }
    (packed, targets)
}

#[track_caller]
pub(crate) fn close(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "lengths differ");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= tolerance * (1.0 + w.abs()),
            "at {i}: got {g}, want {w}, tolerance {tolerance}"
        );
    }
}

pub(crate) fn values(x: &Tensor) -> Vec<f64> {
    x.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
}

pub(crate) fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}
