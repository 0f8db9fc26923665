//! What lies on disk, made small: vocabularies, texts, GGUF files.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use candle::quantized::gguf_file::{self, Value};
use candle::quantized::{GgmlDType, QTensor};
use candle::{DType, Device, Tensor};
use engine::text::tokenizers::Tokenizer;
use engine::text::tokenizers::models::wordlevel::WordLevel;
use engine::text::tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use engine::{Biases, Family, Model, ModelConfig, RopeScaling, Text};
use serde_json::Value as Json;

pub(crate) fn vectors() -> Json {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/text_vectors.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

pub(crate) fn strings(list: &Json) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|s| s.as_str().unwrap()).collect()
}

/// A text of exactly `size` words, the last two of which end a turn.
pub(crate) fn text(size: usize) -> Text {
    let vocab: HashMap<_, _> = (0..size).map(|i| (format!("w{i}"), i as u32)).collect();
    let model = WordLevel::builder()
        .vocab(vocab.into_iter().collect())
        .unk_token("w0".into())
        .build()
        .unwrap();
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(WhitespaceSplit));
    let template = "{% for m in messages %}{{ m.role }} {{ m.content }} {% endfor %}w1".to_owned();
    Text::new(tokenizer, Some(template), vec![size as u32 - 2, size as u32 - 1]).unwrap()
}

/// Widths are multiples of 256, so that every quantisation fits.
pub(crate) fn wide_config(family: Family, vocab_size: usize) -> ModelConfig {
    ModelConfig {
        family,
        vocab_size,
        hidden_size: 256,
        intermediate_size: 256,
        num_layers: 1,
        num_heads: 4,
        num_kv_heads: 2,
        head_dim: 64,
        context: 128,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: family == Family::Llama,
        biases: if family == Family::Qwen2 { Biases::QKV } else { Biases::NONE },
        qk_norm: family == Family::Qwen3,
    }
}

/// A GGUF file in the making.
pub(crate) struct GgufFile {
    pub(crate) metadata: Vec<(String, Value)>,
    pub(crate) tensors: Vec<(String, QTensor)>,
}

impl GgufFile {
    /// The file that llama.cpp's converter would write of `model`, matrices as `kind`, with one of
    /// the synthetic vocabularies.
    pub(crate) fn of(model: &Model, kind: GgmlDType, vocabulary: &Json) -> Self {
        let config = model.config();
        let mut file = Self { metadata: metadata(config), tensors: Vec::new() };
        file.set_tokenizer(vocabulary);
        for parameter in model.parameters() {
            let tensor = parameter.tensor.to_dtype(DType::F32).unwrap();
            let name = stored_name(&parameter.name);
            let heads = match (config.family, name.split('.').nth(2)) {
                (Family::Llama, Some("attn_q")) => Some(config.num_heads),
                (Family::Llama, Some("attn_k")) => Some(config.num_kv_heads),
                _ => None,
            };
            let tensor = heads.map_or_else(|| tensor.clone(), |heads| pairs(&tensor, heads));
            let kind = if tensor.rank() == 2 { kind } else { GgmlDType::F32 };
            file.tensors.push((name, QTensor::quantize(&tensor, kind).unwrap()));
        }
        file
    }

    pub(crate) fn set(&mut self, key: &str, value: Value) {
        self.metadata.retain(|(name, _)| name != key);
        self.metadata.push((key.to_owned(), value));
    }

    pub(crate) fn set_tokenizer(&mut self, vocabulary: &Json) {
        let text = |list: &Json| {
            Value::Array(strings(list).iter().map(|&s| Value::String(s.into())).collect())
        };
        let kinds = strings(&vocabulary["tokens"])
            .iter()
            .map(|&token| match token {
                t if t.starts_with("<|") => Value::I32(3),
                "<tool>" | "</tool>" => Value::I32(4),
                _ => Value::I32(1),
            })
            .collect();
        self.set("tokenizer.ggml.model", Value::String("gpt2".into()));
        let pre = vocabulary["pre"].as_str().unwrap().to_owned();
        self.set("tokenizer.ggml.pre", Value::String(pre));
        self.set("tokenizer.ggml.tokens", text(&vocabulary["tokens"]));
        self.set("tokenizer.ggml.merges", text(&vocabulary["merges"]));
        self.set("tokenizer.ggml.token_type", Value::Array(kinds));
        self.set("tokenizer.ggml.bos_token_id", Value::U32(0));
        self.set("tokenizer.ggml.eos_token_id", Value::U32(2));
        self.set("tokenizer.chat_template", Value::String(CHAT_TEMPLATE.into()));
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let metadata: Vec<_> = self.metadata.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let tensors: Vec<_> = self.tensors.iter().map(|(k, v)| (k.as_str(), v)).collect();
        let mut out = Cursor::new(Vec::new());
        gguf_file::write(&mut out, &metadata, &tensors).unwrap();
        out.into_inner()
    }

    pub(crate) fn write(&self, folder: &Path) -> PathBuf {
        let path = folder.join("model.gguf");
        std::fs::write(&path, self.bytes()).unwrap();
        path
    }
}

pub(crate) const CHAT_TEMPLATE: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' \
     + m.content + '<|im_end|>\\n' }}{% endfor %}{{ '<|im_start|>assistant\\n' }}";

fn metadata(config: &ModelConfig) -> Vec<(String, Value)> {
    let arch = config.family.model_type();
    let own = |key: &str, value: Value| (format!("{arch}.{key}"), value);
    let size = |size: usize| Value::U32(size as u32);
    vec![
        ("general.architecture".into(), Value::String(arch.into())),
        own("block_count", size(config.num_layers)),
        own("context_length", size(config.context)),
        own("embedding_length", size(config.hidden_size)),
        own("feed_forward_length", size(config.intermediate_size)),
        own("attention.head_count", size(config.num_heads)),
        own("attention.head_count_kv", size(config.num_kv_heads)),
        own("attention.key_length", size(config.head_dim)),
        own("rope.freq_base", Value::F32(config.rope_theta as f32)),
        own("attention.layer_norm_rms_epsilon", Value::F32(config.rms_norm_eps as f32)),
    ]
}

/// The name in a GGUF file, by replacing the parts of the Hugging Face one.
fn stored_name(name: &str) -> String {
    [
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("model.layers", "blk"),
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_norm", "attn_q_norm"),
        ("self_attn.k_norm", "attn_k_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// What the converter does to queries and keys: row 2 i of a head is i, row 2 i + 1 is i + half.
fn pairs(weight: &Tensor, heads: usize) -> Tensor {
    let rows = weight.dim(0).unwrap();
    let width = rows / heads;
    let order: Vec<u32> = (0..rows)
        .map(|row| {
            let (head, at) = (row / width, row % width);
            (head * width + at / 2 + (at % 2) * width / 2) as u32
        })
        .collect();
    weight.index_select(&Tensor::new(order, &Device::Cpu).unwrap(), 0).unwrap()
}

/// Largest difference between the weights of two models, by name.
#[track_caller]
pub(crate) fn assert_weights(got: &Model, want: &Model, tolerance: f64) {
    assert_eq!(got.parameters().len(), want.parameters().len());
    for (got, want) in got.parameters().iter().zip(want.parameters()) {
        assert_eq!(got.name, want.name);
        let difference = (&got.tensor - &want.tensor).unwrap();
        let largest = difference.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        let largest = f64::from(largest.to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap());
        assert!(largest <= tolerance, "{}: off by {largest}, allowed {tolerance}", got.name);
    }
}
