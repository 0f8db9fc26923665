//! Policies made on the spot: small, random by the seed, with a tokenizer of their own.

use anyhow::{Context as _, Result, bail};
use candle::{DType, Device};
use engine::text::Text;
use engine::text::tokenizers::Tokenizer;
use engine::{Biases, Family, Model, ModelConfig, RopeScaling};
use serde_json::{Map, json};

use crate::names::nearest;

/// A builtin policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Builtin {
    /// Its name, after `builtin:`.
    pub name: &'static str,
    /// One line on it.
    pub about: &'static str,
    width: usize,
    layers: usize,
    tokens: Tokens,
}

/// All builtin policies.
pub const ALL: [Builtin; 3] = [
    Builtin {
        name: "tiny",
        about: "0.9 million parameters, 4 blocks of width 128, one token a character",
        width: 128,
        layers: 4,
        tokens: Tokens::Characters,
    },
    Builtin {
        name: "atom",
        about: "27 thousand parameters, 2 blocks of width 32, for tests of everything around it",
        width: 32,
        layers: 2,
        tokens: Tokens::Characters,
    },
    Builtin {
        name: "numbers",
        about: "0.9 million parameters as tiny, one token a number from 0 to 99",
        width: 128,
        layers: 4,
        tokens: Tokens::Numbers,
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
            vocab_size: self.tokens.vocabulary().len(),
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
            biases: Biases::NONE,
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
        model.update(|variables| {
            for (parameter, variable) in variables.all() {
                if let &[_, inputs] = parameter.tensor.dims() {
                    // 0.02 suits a thousand inputs; with a hundred, layers hand on next to nothing
                    // and the first stage takes twice as long.
                    let spread = 1.0 / (inputs as f64).sqrt() / RANDOM_SPREAD;
                    variable.set(&(parameter.tensor.copy()? * spread)?)?;
                }
            }
            anyhow::Ok(())
        })?;
        Ok((model, self.tokens.text()?))
    }
}

/// What the parts of its text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tokens {
    /// The characters that can be typed, and one token for what opens a boxed answer.
    Characters,
    /// The numbers from 0 to 99, each with a space before it, and the signs of `countdown`.
    Numbers,
}

impl Tokens {
    /// All tokens by their id; the last ends a turn.
    fn vocabulary(self) -> Vec<String> {
        let mut tokens: Vec<String> = match self {
            Self::Characters => {
                let characters = std::iter::once('\n').chain(' '..='~').map(String::from);
                characters.chain([BOXED.to_owned()]).collect()
            }
            Self::Numbers => {
                let numbers = (0..100).map(|number| format!(" {number}"));
                numbers.chain("+-*/>:R".chars().map(String::from)).collect()
            }
        };
        tokens.push(END.to_owned());
        tokens
    }

    /// What text is cut into before the vocabulary is asked.
    fn pattern(self) -> &'static str {
        match self {
            Self::Characters => r"[\s\S]",
            Self::Numbers => r" [0-9]+|[\s\S]",
        }
    }

    /// How a message becomes a prompt.
    fn template(self) -> &'static str {
        match self {
            // Every message on a line of its own.
            Self::Characters => {
                "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
            }
            // `3 5 7> 12` begins with a number too, which needs its space.
            Self::Numbers => "{% for message in messages %} {{ message['content'] }}:{% endfor %}",
        }
    }

    /// The tokenizer: what it has no token for is an error, not a gap.
    fn text(self) -> Result<Text> {
        let vocabulary = self.vocabulary();
        let ids: Map<_, _> =
            vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        let added = |token: &str, special: bool| {
            json!({
                "id": ids[token], "content": token, "special": special,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        };
        let added = match self {
            Self::Characters => vec![added(BOXED, false), added(END, true)],
            Self::Numbers => vec![added(END, true)],
        };
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": {
                "type": "Split", "pattern": { "Regex": self.pattern() },
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
        Ok(Text::new(tokenizer, Some(self.template().to_owned()), vec![end])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_to_tokens_and_back() {
        let text = Tokens::Characters.text().unwrap();
        let words = "57+86\n7+6=13 5+8+1=14 \\boxed{143}";
        let tokens = text.encode(&format!("{words}{END}")).unwrap();
        assert_eq!(tokens.len(), words.len() - BOXED.len() + 2);
        assert_eq!(text.stop_tokens(), &tokens[tokens.len() - 1..]);
        assert_eq!(text.decode(&tokens).unwrap(), words);
        assert_eq!(text.vocab_size(), Tokens::Characters.vocabulary().len());
        assert_eq!(text.render(None, "1+1").unwrap(), "1+1\n");
        let error = text.encode("5€ and more").unwrap_err().to_string();
        assert!(error.contains("no token for what ends \"5€\""), "{error}");
    }

    #[test]
    fn a_number_is_a_token() {
        let text = Tokens::Numbers.text().unwrap();
        let words = " 3* 5 15 15- 7 8R 99/ 9 11 0+ 10 10";
        let tokens = text.encode(&format!("{words}{END}")).unwrap();
        assert_eq!(tokens.len(), 4 * 4 + 2);
        assert_eq!(text.stop_tokens(), &tokens[tokens.len() - 1..]);
        assert_eq!(text.decode(&tokens).unwrap(), words);
        let prompt = text.render(None, "3 5 7> 12").unwrap();
        assert_eq!(prompt, " 3 5 7> 12:");
        assert_eq!(text.encode(&prompt).unwrap().len(), 6);
        for unknown in ["3", " 100", " 07", "3 5", "  5", "=", "r", "\n"] {
            assert!(text.encode(unknown).is_err(), "`{unknown}` is refused");
        }
    }

    #[test]
    fn builtins_have_the_parameters_they_say() {
        let count = |name: &str| {
            let (model, text) =
                Builtin::find(name).unwrap().make(1, DType::F32, &Device::Cpu).unwrap();
            text.check_vocabulary(model.config().vocab_size).unwrap();
            model.parameters().iter().map(|one| one.tensor.elem_count()).sum::<usize>()
        };
        assert_eq!((count("tiny"), count("numbers")), (865_664, 866_944));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest() {
        let error = Builtin::find("tinny").unwrap_err().to_string();
        assert_eq!(
            error,
            "there is no model `builtin:tinny`; there are: tiny, atom, numbers\ndid you mean `builtin:tiny`?"
        );
    }
}
