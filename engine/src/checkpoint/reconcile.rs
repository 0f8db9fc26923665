//! What is stored against what the configuration asks for.
//!
//! Every stored weight is used, or is proved to say nothing, or is named in a note as belonging to
//! another task; any other is an error, since the model would compute something else than the file
//! was made for.

use std::collections::BTreeSet;

use candle::DType;

use super::shards::Shards;
use super::stored::Stored;
use crate::rope::Rope;
use crate::{Error, Family, ModelConfig, Result, RopeScaling, Weights};

const EMBEDDING: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

/// Top-level modules that give something else than the next token's logits, as transformers, TRL
/// and other trainers name them.
const OTHER_HEADS: [&str; 13] = [
    "v_head",
    "value_head",
    "critic_head",
    "reward_head",
    "rm_head",
    "scalar_head",
    "regression_head",
    "ranking_head",
    "classification_head",
    "cls_head",
    "classifier",
    "score",
    "qa_outputs",
];
/// A head whose name is not known is left out if its outputs are this many times fewer than the
/// width.
const FEWER_OUTPUTS: usize = 8;

/// What was decided, besides the changes to the configuration.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// One line each, for the user.
    pub(super) notes: Vec<String>,
    /// Weights that the configuration asks for and that begin at zero.
    pub(super) zeros: BTreeSet<String>,
}

/// Makes `config` that of the stored weights.
///
/// # Errors
///
/// Fails on a weight that is left over and on an output head that is missing.
pub(super) fn reconcile(config: &mut ModelConfig, stored: &mut Stored) -> Result<Decided> {
    let mut decided = Decided::default();
    if let Stored::Folder(shards) = stored {
        head(config, shards, &mut decided.notes)?;
    }
    let names: BTreeSet<String> = stored.names().into_iter().collect();
    // Before a list of all weights is made, whose length a damaged number would decide.
    if config.num_layers > names.len() {
        return Err(Error::Config(format!(
            "num_hidden_layers is {}, but {} weights are stored\ntake configuration and weights from \
             the same checkpoint",
            config.num_layers,
            names.len()
        )));
    }
    let expected = expected(config);
    absent_biases(config, &names, &expected, &mut decided);
    left_over(config, stored, &names, &expected, &mut decided.notes)?;
    Ok(decided)
}

/// Names of all weights that the model asks for.
fn expected(config: &ModelConfig) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    Weights::of(config).visit(|spec| {
        names.insert(spec.name.clone());
    });
    names
}

/// Whether the head is the embedding, by what is stored.
///
/// Source: `PreTrainedModel.tie_weights` of transformers 5.
fn head(config: &mut ModelConfig, shards: &mut Shards, notes: &mut Vec<String>) -> Result<()> {
    match (shards.has(EMBEDDING), shards.has(HEAD), config.tie_embeddings) {
        (true, true, true) if !shards.equal(EMBEDDING, HEAD)? => {
            config.tie_embeddings = false;
            notes.push(format!(
                "config.json ties the output head to the embedding, but {HEAD} is stored with other \
                 values: the stored head is used, and the model is untied from here on"
            ));
        }
        (false, true, true) => {
            shards.rename(HEAD, EMBEDDING);
            notes.push(format!(
                "{EMBEDDING} is not stored: {HEAD}, to which config.json ties it, is used"
            ));
        }
        (true, false, false) => {
            return Err(Error::Weight {
                name: HEAD.into(),
                problem: "missing, and config.json does not tie it to the embedding\nfor a model \
                          whose head is the embedding, set tie_word_embeddings to true in its \
                          config.json; a base model without a head cannot be used"
                    .into(),
            });
        }
        _ => {}
    }
    Ok(())
}

/// A weight's name without its layer.
fn kind(name: &str) -> &str {
    let within = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
    within.map_or(name, |(_, kind)| kind)
}

fn is_bias(name: &str) -> bool {
    name.rsplit('.').next() == Some("bias")
}

/// Biases that the configuration asks for by a key and of which none is stored: transformers begins
/// with zeros, so the function is that without them.
fn absent_biases(
    config: &ModelConfig,
    names: &BTreeSet<String>,
    expected: &BTreeSet<String>,
    decided: &mut Decided,
) {
    let stored: BTreeSet<&str> = names.iter().map(|name| kind(name)).collect();
    let by_key = |name: &str| match config.family {
        Family::Qwen2 => false,
        Family::Llama | Family::Qwen3 => is_bias(name),
    };
    let absent = expected.iter().filter(|name| by_key(name) && !stored.contains(kind(name)));
    decided.zeros = absent.cloned().collect();
    let kinds: BTreeSet<&str> = decided.zeros.iter().map(|name| kind(name)).collect();
    if !kinds.is_empty() {
        decided.notes.push(format!(
            "config.json asks for {}, which no file has: they begin at zero, as in transformers",
            kinds.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
}

/// Whether a weight is certainly part of a head of another task: of a critic, a reward model, a
/// classifier.
///
/// An output head under another name must not pass for one, nor a layer before it: a known name is
/// not enough for a matrix of the output head's shape, and an unknown one needs few outputs.
fn is_other_head(config: &ModelConfig, name: &str, shape: &[usize]) -> bool {
    let module = name.split('.').next().unwrap_or(name);
    if module == "lm_head" || is_output_shaped(config, shape) {
        return false;
    }
    let few = |outputs: usize| outputs * FEWER_OUTPUTS <= config.hidden_size.min(config.vocab_size);
    let few_outputs = match *shape {
        [outputs] => few(outputs) && is_bias(name),
        [outputs, width] => few(outputs) && width == config.hidden_size,
        _ => false,
    };
    OTHER_HEADS.contains(&module) || module.ends_with("head") && few_outputs
}

/// Whether a matrix has the shape of the output head, either way round.
fn is_output_shaped(config: &ModelConfig, shape: &[usize]) -> bool {
    let (vocabulary, width) = (config.vocab_size, config.hidden_size);
    shape == [vocabulary, width] || shape == [width, vocabulary]
}

/// What a weight is that the model does not ask for.
enum Leftover {
    /// Proved to say nothing.
    Redundant,
    /// A bias, by its largest number.
    Bias(f64),
    /// The head of another task.
    OtherHead,
    /// Something that would change what the model computes.
    Unknown,
}

fn left_over(
    config: &ModelConfig,
    stored: &Stored,
    names: &BTreeSet<String>,
    expected: &BTreeSet<String>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let (mut heads, mut zeros, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    let mut bias = None;
    for name in names.difference(expected) {
        match judge(config, stored, name)? {
            Leftover::Redundant => {}
            Leftover::Bias(largest) if largest > 0.0 => bias = bias.or(Some((name, largest))),
            Leftover::Bias(_) => zeros.push(name.as_str()),
            Leftover::OtherHead => heads.push(name.as_str()),
            Leftover::Unknown => unknown.push(name.as_str()),
        }
    }
    if let [first, ..] = unknown[..] {
        // The most telling one first.
        let mut shaped = None;
        for name in &unknown {
            if shaped.is_none() && is_output_shaped(config, stored.shape(name)?) {
                shaped = Some(*name);
            }
        }
        let head = shaped.is_some();
        let first = stored.own_name(shaped.unwrap_or(first));
        return Err(unknown_weight(config, (first, head), unknown.len(), names, expected));
    }
    if let Some((name, largest)) = bias {
        return Err(bias_left_over(config, name, stored.own_name(name), largest));
    }
    if !heads.is_empty() {
        notes.push(format!(
            "{} left out: a head of another task, which the language model does not use and a saved \
             checkpoint will not have",
            heads.join(", ")
        ));
    }
    if let [first, ..] = zeros[..] {
        notes.push(format!("biases that are zero left out, {} of them: {first}", zeros.len()));
    }
    Ok(())
}

fn judge(config: &ModelConfig, stored: &Stored, name: &str) -> Result<Leftover> {
    if is_other_head(config, name, stored.shape(name)?) {
        return Ok(Leftover::OtherHead);
    }
    if name == HEAD {
        // Equal to the embedding, or the configuration would ask for it.
        return Ok(Leftover::Redundant);
    }
    if name.ends_with("rotary_emb.inv_freq") {
        let (values, dtype) = stored.values(name)?;
        return if are_frequencies(config, &values, dtype) {
            Ok(Leftover::Redundant)
        } else {
            Err(Error::Weight {
                name: name.to_owned(),
                problem: format!(
                    "differs from the rotary frequencies that config.json gives (rope_theta {})\n\
                     correct the rope settings in config.json, or take the tensor out",
                    config.rope_theta
                ),
            })
        };
    }
    if is_bias(name) {
        let values = stored.values(name)?.0;
        // `max` would pass over what is no number.
        let sizes = values.iter().map(|x| if x.is_nan() { f64::INFINITY } else { x.abs() });
        return Ok(Leftover::Bias(sizes.fold(0.0, f64::max)));
    }
    // Factors of llama.cpp's longrope, which divide frequencies.
    let factors = name.starts_with("rope_factors_");
    let neutral = factors && stored.values(name)?.0.iter().all(|&x| (x - 1.0).abs() < 1e-6);
    Ok(if neutral { Leftover::Redundant } else { Leftover::Unknown })
}

fn bias_left_over(config: &ModelConfig, name: &str, own: String, largest: f64) -> Error {
    let key = match (config.family, kind(name).split('.').next()) {
        (Family::Llama | Family::Qwen3, Some("self_attn")) => Some("attention_bias"),
        (Family::Llama, Some("mlp")) => Some("mlp_bias"),
        _ => None,
    };
    let act = key.map_or_else(String::new, |key| {
        format!("\nif the model was made with it, set {key} to true in its config.json")
    });
    Error::Weight {
        name: own,
        problem: format!(
            "is stored and not zero (largest {largest}), but {} as configured has no such bias{act}",
            config.family
        ),
    }
}

/// `head` says that the weight has the shape of the output head.
fn unknown_weight(
    config: &ModelConfig,
    (name, head): (String, bool),
    number: usize,
    names: &BTreeSet<String>,
    expected: &BTreeSet<String>,
) -> Error {
    let known = expected.iter().next().map_or("", String::as_str);
    let wrapped = names.iter().find_map(|name| name.strip_suffix(known)).filter(|p| !p.is_empty());
    let act = if names.iter().any(|name| name.contains("lora_")) {
        "it holds an adapter's weights: merge them into the model first".to_owned()
    } else if let Some(prefix) = wrapped {
        format!("names begin with \"{prefix}\": save the model itself, not what it is wrapped in")
    } else if head {
        format!(
            "it has the shape of the output head: if the model computes its logits with it, name it \
             {HEAD}; otherwise take it out"
        )
    } else {
        "the configuration and the weights are of different models".to_owned()
    };
    Error::Weight {
        name,
        problem: format!(
            "is in the checkpoint, but {} as configured has no such weight ({number} in all)\n{act}",
            config.family
        ),
    }
}

/// Whether stored numbers are the configuration's frequencies, within the rounding of their type.
///
/// Before it scaled frequencies, transformers scaled positions, and the frequencies were plain.
fn are_frequencies(config: &ModelConfig, values: &[f64], dtype: DType) -> bool {
    let (relative, absolute) = match dtype {
        DType::BF16 => (1.0 / 128.0, 0.0),
        DType::F16 => (1.0 / 1024.0, 1e-7),
        _ => (1e-5, 0.0),
    };
    let plain = ModelConfig { rope_scaling: RopeScaling::None, ..config.clone() };
    [config, &plain].into_iter().any(|config| {
        let rope = Rope::new(config);
        let wanted = rope.inverse_frequencies();
        let close = |(x, w): (&f64, &f64)| (x - w).abs() <= relative * w + absolute;
        values.len() == wanted.len() && values.iter().zip(wanted).all(close)
    })
}
