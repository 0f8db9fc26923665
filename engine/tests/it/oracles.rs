//! An independent implementation on the same random weights: candle-transformers' llama, qwen2 and
//! qwen3. They cannot be trained, but their forward passes are right.

use std::collections::HashMap;

use candle::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{llama, qwen2, qwen3};
use engine::{Biases, Family, Model, ModelConfig, Packed, RopeScaling, Target};
use serde_json::json;

use crate::support::{close, config, model, tokens, values, wide};

const ROWS: usize = 40;

fn weights(model: &Model) -> VarBuilder<'static> {
    let tensors: HashMap<String, Tensor> =
        model.parameters().iter().map(|p| (p.name.clone(), p.tensor.clone())).collect();
    VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)
}

fn sizes(config: &ModelConfig) -> serde_json::Value {
    json!({
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "vocab_size": config.vocab_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "attention_bias": config.biases == Biases::ATTENTION,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": config.rope_theta,
        "max_position_embeddings": config.context,
        "tie_word_embeddings": config.tie_embeddings,
        "sliding_window": config.context,
        "max_window_layers": config.num_layers,
        "use_sliding_window": false,
        "hidden_act": "silu",
    })
}

/// Log-softmax of the logits after every prefix, from the oracle, against our scores.
#[track_caller]
fn check_scores(model: &Model, oracle: &mut dyn FnMut(&Tensor) -> candle::Result<Tensor>) {
    let vocab = model.config().vocab_size;
    let ids = tokens(5, ROWS, vocab);
    let mut packed = Packed::default();
    packed.push(&ids, None).unwrap();
    for row in 0..ROWS {
        let prefix = Tensor::new(&ids[..=row], &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = oracle(&prefix).unwrap().flatten_all().unwrap();
        let want = values(&candle_nn::ops::log_softmax(&logits, 0).unwrap());
        let targets: Vec<Target> = (0..vocab as u32).map(|token| Target { row, token }).collect();
        let scores = model.score(&packed, &targets, 1.0).unwrap();
        close(&wide(&scores.log_probs), &want, 1e-4);
        let entropy = -want.iter().map(|l| l.exp() * l).sum::<f64>();
        close(&[f64::from(scores.entropies[0])], &[entropy], 1e-4);
        let phi: f64 = want.iter().map(|l| (2.0 * l).exp() * (l + entropy)).sum();
        close(&[f64::from(scores.phi_sums[0])], &[phi], 1e-4);
    }
}

#[track_caller]
fn check_hidden(model: &Model, oracle: &mut dyn FnMut(&Tensor) -> candle::Result<Tensor>) {
    let ids = tokens(5, ROWS, model.config().vocab_size);
    let mut packed = Packed::default();
    packed.push(&ids, None).unwrap();
    let want = oracle(&Tensor::new(ids, &Device::Cpu).unwrap().unsqueeze(0).unwrap()).unwrap();
    close(&values(&model.hidden(&packed).unwrap()), &values(&want), 1e-4);
}

#[track_caller]
fn check_llama(config: ModelConfig, scaling: Option<serde_json::Value>) {
    let mut sizes = sizes(&config);
    if let Some(scaling) = scaling {
        sizes["rope_scaling"] = scaling;
    }
    let model = model(config, DType::F32);
    let sizes: llama::LlamaConfig = serde_json::from_value(sizes).unwrap();
    let sizes = sizes.into_config(false);
    let oracle = llama::Llama::load(weights(&model), &sizes).unwrap();
    check_scores(&model, &mut |ids| {
        let mut cache = llama::Cache::new(false, DType::F32, &sizes, &Device::Cpu)?;
        oracle.forward(ids, 0, &mut cache)
    });
}

#[test]
fn llama_tied_and_untied() {
    check_llama(config(Family::Llama), None);
    check_llama(ModelConfig { tie_embeddings: false, ..config(Family::Llama) }, None);
}

#[test]
fn llama_3_rope_scaling() {
    let scaling = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 32,
    };
    let json = json!({
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
        "rope_type": "llama3",
    });
    let heads_of_eight = ModelConfig {
        rope_scaling: scaling,
        rope_theta: 500.0,
        hidden_size: 32,
        head_dim: 8,
        ..config(Family::Llama)
    };
    check_llama(heads_of_eight, Some(json));
}

#[test]
fn qwen2() {
    let model = model(config(Family::Qwen2), DType::F32);
    let sizes: qwen2::Config = serde_json::from_value(sizes(model.config())).unwrap();
    let mut oracle = qwen2::Model::new(&sizes, weights(&model)).unwrap();
    check_hidden(&model, &mut |ids| {
        oracle.clear_kv_cache();
        oracle.forward(ids, 0, None)
    });
    let mut oracle = qwen2::ModelForCausalLM::new(&sizes, weights(&model)).unwrap();
    check_scores(&model, &mut |ids| {
        oracle.clear_kv_cache();
        oracle.forward(ids, 0)
    });
}

#[test]
fn qwen3() {
    check_qwen3(config(Family::Qwen3));
}

#[test]
fn qwen3_with_a_bias_on_every_map_of_attention() {
    check_qwen3(ModelConfig { biases: Biases::ATTENTION, ..config(Family::Qwen3) });
}

#[track_caller]
fn check_qwen3(config: ModelConfig) {
    let model = model(config, DType::F32);
    let sizes: qwen3::Config = serde_json::from_value(sizes(model.config())).unwrap();
    check_hidden(&model, &mut |ids| qwen3::Model::new(&sizes, weights(&model))?.forward(ids, 0));
    let mut oracle = qwen3::ModelForCausalLM::new(&sizes, weights(&model)).unwrap();
    check_scores(&model, &mut |ids| {
        oracle.clear_kv_cache();
        oracle.forward(ids, 0)
    });
}
