//! Policies made on the spot: small, random by the seed, with a tokenizer of their own.

use anyhow::{Context as _, Result, bail};
use candle::{DType, Device};
use engine::text::Text;
use engine::text::tokenizers::Tokenizer;
use engine::{Family, Model, ModelConfig, RopeScaling};
use serde_json::{Map, json};

use crate::config::nearest;

/// A builtin policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// Its name, after `builtin:`.
    pub name: &'static str,
    /// One line on it.
    pub about: &'static str,
    width: usize,
    layers: usize,
}

/// All builtin policies.
pub const ALL: [Builtin; 2] = [
    Builtin {
        name: "tiny",
        about: "0.9 million parameters, 4 blocks of width 128, one token a character",
        width: 128,
        layers: 4,
    },
    Builtin {
        name: "atom",
        about: "27 thousand parameters, 2 blocks of width 32, for tests of everything around it",
        width: 32,
        layers: 2,
    },
];

const END: &str = "<|end|>";
/// One token for what opens every answer.
const BOXED: &str = "\\boxed{";
const HEAD_WIDTH: usize = 32;
const CONTEXT: usize = 512;
/// Standard deviation of the weights that [`Model::random`] draws.
const RANDOM_SPREAD: f64 = 0.02;

impl Builtin {
    /// The policy of that name.
    ///
    /// # Errors
    ///
    /// Fails when there is none, naming those there are.
    pub fn find(name: &str) -> Result<Self> {
        if let Some(builtin) = ALL.into_iter().find(|builtin| builtin.name == name) {
            return Ok(builtin);
        }
        let names = ALL.map(|builtin| builtin.name);
        let hint = nearest(name, names.into_iter())
            .map_or_else(String::new, |name| format!("\ndid you mean `builtin:{name}`?"));
        bail!("there is no model `builtin:{name}`; there are: {}{hint}", names.join(", "))
    }

    /// Its sizes: a llama with its embedding as head.
    pub fn config(&self) -> ModelConfig {
        ModelConfig {
            family: Family::Llama,
            vocab_size: vocabulary().len(),
            hidden_size: self.width,
            intermediate_size: self.width * 3,
            num_layers: self.layers,
            num_heads: self.width / HEAD_WIDTH,
            num_kv_heads: self.width / HEAD_WIDTH,
            head_dim: HEAD_WIDTH,
            context: CONTEXT,
            rope_theta: 10_000.0,
            rope_scaling: RopeScaling::None,
            rms_norm_eps: 1e-5,
            tie_embeddings: true,
            qkv_bias: false,
            qk_norm: false,
        }
    }

    /// Its weights, drawn by `seed`, and its text.
    ///
    /// # Errors
    ///
    /// Fails when the device refuses a tensor.
    pub fn make(&self, seed: u64, dtype: DType, device: &Device) -> Result<(Model, Text)> {
        let model = Model::random(self.config(), seed, dtype, device)?;
        for parameter in model.parameters() {
            if let &[_, inputs] = parameter.var.dims() {
                // 0.02 suits a thousand inputs; with a hundred, layers hand on next to nothing and
                // the first stage takes twice as long.
                let spread = 1.0 / (inputs as f64).sqrt() / RANDOM_SPREAD;
                parameter.var.set(&(parameter.var.as_tensor().copy()? * spread)?)?;
            }
        }
        Ok((model, text()?))
    }
}

/// The characters that can be typed, the token that opens an answer, and the one that ends a turn.
fn vocabulary() -> Vec<String> {
    let characters = std::iter::once('\n').chain(' '..='~').map(String::from);
    characters.chain([BOXED, END].map(str::to_owned)).collect()
}

/// The tokenizer: one token a character; a character it does not have is an error, not a gap.
fn text() -> Result<Text> {
    let vocabulary = vocabulary();
    let ids: Map<_, _> =
        vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
    let added = |token: &str, special: bool| {
        json!({
            "id": ids[token], "content": token, "special": special,
            "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
        })
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(BOXED, false), added(END, true)],
        "normalizer": null,
        "pre_tokenizer": {
            "type": "Split", "pattern": { "Regex": "[\\s\\S]" },
            "behavior": "Isolated", "invert": false,
        },
        "post_processor": null,
        "decoder": { "type": "Fuse" },
        // The unknown token is not in the vocabulary on purpose.
        "model": { "type": "WordLevel", "vocab": ids, "unk_token": "<|unknown|>" },
    });
    let tokenizer = Tokenizer::from_bytes(tokenizer.to_string())
        .map_err(anyhow::Error::from_boxed)
        .context("the builtin tokenizer")?;
    let end = (vocabulary.len() - 1) as u32;
    Ok(Text::new(tokenizer, Some(TEMPLATE.to_owned()), vec![end])?)
}

/// Every message on a line of its own.
const TEMPLATE: &str = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_to_tokens_and_back() {
        let text = text().unwrap();
        let words = "57+86\n7+6=13 5+8+1=14 \\boxed{143}";
        let tokens = text.encode(&format!("{words}{END}")).unwrap();
        assert_eq!(tokens.len(), words.len() - BOXED.len() + 2);
        assert_eq!(text.stop_tokens(), &tokens[tokens.len() - 1..]);
        assert_eq!(text.decode(&tokens).unwrap(), words);
        assert_eq!(text.vocab_size(), vocabulary().len());
        assert_eq!(text.render(None, "1+1").unwrap(), "1+1\n");
        assert!(text.encode("5€").is_err(), "an unknown character is refused");
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let error = Builtin::find("tinny").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no model `builtin:tinny`; there are: tiny, atom\ndid you mean `builtin:tiny`?"
        );
    }
}
