//! A policy that knows nothing, with a token for each character.

use candle::{DType, Device};
use engine::text::Text;
use engine::text::tokenizers::Tokenizer;
use engine::{Biases, Family, Model, ModelConfig, RopeScaling};
use serde_json::{Map, json};

const CHARACTERS: &str = "0123456789+={}\\boxed ";
const END: &str = "<end>";

pub(crate) fn text() -> Text {
    with_special(&[], None)
}

/// With more special tokens and a chat template.
pub(crate) fn with_special(special: &[&str], template: Option<&str>) -> Text {
    let mut ids = Map::new();
    let special: Vec<_> = [END].iter().chain(special).map(|&token| token.to_owned()).collect();
    for token in CHARACTERS.chars().map(String::from).chain(special.clone()) {
        let id = ids.len();
        ids.entry(token).or_insert(json!(id));
    }
    let end = ids[END].as_u64().unwrap() as u32;
    let added = |token: &String| {
        json!({
            "id": ids[token], "content": token, "special": true,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": special.iter().map(added).collect::<Vec<_>>(),
        "pre_tokenizer": {
            "type": "Split", "pattern": { "Regex": "[\\s\\S]" },
            "behavior": "Isolated", "invert": false,
        },
        "post_processor": null,
        "decoder": { "type": "Fuse" },
        "model": { "type": "WordLevel", "vocab": ids, "unk_token": "<unknown>" },
    });
    let tokenizer = Tokenizer::from_bytes(tokenizer.to_string()).unwrap();
    Text::new(tokenizer, template.map(str::to_owned), vec![end]).unwrap()
}

pub(crate) fn model(text: &Text) -> Model {
    let config = ModelConfig {
        family: Family::Llama,
        vocab_size: text.vocab_size(),
        hidden_size: 32,
        intermediate_size: 32,
        num_layers: 1,
        num_heads: 2,
        num_kv_heads: 1,
        head_dim: 16,
        context: 64,
        rope_theta: 10_000.0,
        rope_scaling: RopeScaling::None,
        rms_norm_eps: 1e-5,
        tie_embeddings: true,
        biases: Biases::NONE,
        qk_norm: false,
    };
    Model::random(config, 7, DType::F32, &Device::Cpu).unwrap()
}
