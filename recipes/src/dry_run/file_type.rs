//! What the weights of a GGUF file take that is not here, by the type that its name ends with.
//!
//! Source: `llama_tensor_get_type` in `llama-quant.cpp` of llama.cpp, without an importance matrix.

use std::collections::BTreeMap;

use engine::{ModelConfig, Spec, Weights};

/// A type of tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Type {
    pub(super) name: &'static str,
    /// Numbers of a block.
    numbers: u64,
    /// Bytes of a block.
    bytes: u64,
}

const F32: Type = Type { name: "f32", numbers: 1, bytes: 4 };
const F16: Type = Type { name: "f16", numbers: 1, bytes: 2 };
const Q4_0: Type = Type { name: "q4_0", numbers: 32, bytes: 18 };
const Q5_0: Type = Type { name: "q5_0", numbers: 32, bytes: 22 };
const Q5_1: Type = Type { name: "q5_1", numbers: 32, bytes: 24 };
const Q8_0: Type = Type { name: "q8_0", numbers: 32, bytes: 34 };
const Q4_K: Type = Type { name: "q4_k", numbers: 256, bytes: 144 };
const Q5_K: Type = Type { name: "q5_k", numbers: 256, bytes: 176 };
const Q6_K: Type = Type { name: "q6_k", numbers: 256, bytes: 210 };

/// Types that names of files end with; sizes are those of ggml.
const TYPES: [Type; 13] = [
    F32,
    F16,
    Type { name: "bf16", numbers: 1, bytes: 2 },
    Q4_0,
    Type { name: "q4_1", numbers: 32, bytes: 20 },
    Q5_0,
    Q5_1,
    Q8_0,
    Type { name: "q2_k", numbers: 256, bytes: 84 },
    Type { name: "q3_k", numbers: 256, bytes: 110 },
    Q4_K,
    Q5_K,
    Q6_K,
];

impl Type {
    fn bytes_of(self, numbers: u64) -> u64 {
        numbers / self.numbers * self.bytes
    }

    /// The type of rows of this width: where they are no whole blocks, one of smaller blocks.
    fn of_width(self, width: u64) -> Self {
        if width.is_multiple_of(self.numbers) {
            return self;
        }
        let smaller = match self {
            Q4_K => Q5_0,
            Q5_K => Q5_1,
            Q6_K => Q8_0,
            // Of two and three bits: one of four, with the size of this.
            Self { numbers: 256, .. } => Q4_0,
            _ => F16,
        };
        smaller.of_width(width)
    }
}

/// The type of a file: that of most of its tensors, and whether a mixture has some larger ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FileType {
    pub(super) kind: Type,
    is_mixture: bool,
}

impl FileType {
    /// Bytes of a model's weights by type.
    pub(super) fn bytes(self, model: &ModelConfig) -> BTreeMap<&'static str, u64> {
        let mut types = BTreeMap::new();
        Weights::of(model).visit(|spec| {
            let kind = self.of_tensor(spec, model);
            *types.entry(kind.name).or_default() += kind.bytes_of(spec.elem_count() as u64);
        });
        types
    }

    fn of_tensor(self, Spec { name, shape }: &Spec, model: &ModelConfig) -> Type {
        let [_, width] = shape[..] else { return F32 };
        let is_head = match name.as_str() {
            "lm_head.weight" => true,
            "model.embed_tokens.weight" => model.tie_embeddings,
            _ => false,
        };
        let is_raised = is_head && self.kind.numbers > 1 && self.kind != Q8_0;
        let kind =
            if is_raised || self.has_more_bits(name, model.num_layers) { Q6_K } else { self.kind };
        kind.of_width(width as u64)
    }

    /// Whether a mixture has a tensor in more bits: values and the down-projection of the first and
    /// the last blocks, and of every third between.
    fn has_more_bits(self, name: &str, layers: usize) -> bool {
        let of_block = name.strip_prefix("model.layers.").and_then(|rest| rest.split_once('.'));
        let Some((layer, module)) = of_block.filter(|_| self.is_mixture) else { return false };
        let Ok(layer) = layer.parse::<usize>() else { return false };
        let is_of_kind = matches!(module, "self_attn.v_proj.weight" | "mlp.down_proj.weight");
        let eighth = layers / 8;
        let is_raised = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
        is_of_kind && is_raised
    }
}

/// The name of a model's file without the type that it ends with, and the type, where it has one.
pub(super) fn split_type(name: &str) -> (&str, Option<FileType>) {
    let stem = name.strip_suffix(".gguf").unwrap_or(name);
    let Some((model, last)) = stem.rsplit_once(['-', '.']) else { return (stem, None) };
    let last = last.to_ascii_lowercase();
    let kind = last.trim_end_matches("_s").trim_end_matches("_m").trim_end_matches("_l");
    match TYPES.iter().find(|one| one.name == kind) {
        Some(&kind) => {
            let is_mixture = matches!(kind, Q4_K | Q5_K) && last.ends_with("_m");
            (model, Some(FileType { kind, is_mixture }))
        }
        None => (stem, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin::Builtin;

    #[test]
    fn a_file_is_named_after_its_type() {
        for (name, model, kind) in [
            ("qwen2.5-1.5b-instruct-q4_k_m.gguf", "qwen2.5-1.5b-instruct", Some("q4_k")),
            ("SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct", Some("q4_1")),
            ("a-Q8_0", "a", Some("q8_0")),
            ("a-bf16.gguf", "a", Some("bf16")),
            ("smollm2-135m-instruct.gguf", "smollm2-135m-instruct", None),
            ("qwen2.5-1.5b", "qwen2.5-1.5b", None),
            ("q4_k", "q4_k", None),
        ] {
            let (found, found_kind) = split_type(name);
            assert_eq!((found, found_kind.map(|one| one.kind.name)), (model, kind), "{name}");
        }
    }

    fn bytes(name: &str, model: &ModelConfig) -> BTreeMap<&'static str, u64> {
        split_type(name).1.unwrap().bytes(model)
    }

    #[test]
    fn a_mixture_has_some_tensors_in_more_bits() {
        let atom = Builtin::find("atom").unwrap().config();
        let model = ModelConfig {
            vocab_size: 1024,
            hidden_size: 256,
            intermediate_size: 512,
            num_layers: 8,
            num_heads: 4,
            num_kv_heads: 4,
            head_dim: 64,
            tie_embeddings: true,
            ..atom
        };
        let (pure, mixed) = (bytes("a-q4_k_s", &model), bytes("a-q4_k_m", &model));
        // Blocks 0, 3, 6 and 7; v_proj and down_proj of each in blocks of 256 numbers.
        let blocks = 4 * (256 + 512);
        assert_eq!(mixed["q6_k"] - pure["q6_k"], blocks * 210);
        assert_eq!(pure["q4_k"] - mixed["q4_k"], blocks * 144);
        assert_eq!(pure["q6_k"], 1024 * 210, "the head, which is the embedding");
        assert_eq!(pure["f32"], 4 * (8 * 2 + 1) * 256, "norms");
        let untied = ModelConfig { tie_embeddings: false, ..model.clone() };
        let untied = bytes("a-q4_k_s", &untied);
        assert_eq!(untied["q6_k"], pure["q6_k"], "the head alone");
        assert_eq!(untied["q4_k"], pure["q4_k"] + 1024 * 144);
        assert_eq!(bytes("a-q8_0", &model).keys().copied().collect::<Vec<_>>(), ["f32", "q8_0"]);
    }

    #[test]
    fn rows_of_no_whole_blocks_are_in_smaller_ones() {
        let atom = Builtin::find("atom").unwrap().config();
        assert_eq!((atom.hidden_size, atom.intermediate_size), (32, 96));
        for (name, others) in [
            ("a-q4_k_s", ["f32", "q5_0", "q8_0"]),
            ("a-q5_k_s", ["f32", "q5_1", "q8_0"]),
            ("a-q3_k_m", ["f32", "q4_0", "q8_0"]),
            ("a-q4_1", ["f32", "q4_1", "q8_0"]),
        ] {
            assert_eq!(bytes(name, &atom).into_keys().collect::<Vec<_>>(), others, "{name}");
        }
    }
}
