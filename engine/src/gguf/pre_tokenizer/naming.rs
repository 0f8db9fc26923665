//! The name of a pipeline: [`Pipeline::named`] the other way.

use serde_json::Value;

use super::Pipeline;

/// A name for each pipeline, that of the best known model first where several have the same one.
const NAMES: [&str; 36] = [
    "llama-bpe",
    "qwen2",
    "smollm",
    "gpt-2",
    "starcoder",
    "smaug-bpe",
    "stablelm2",
    "megrez",
    "qwen35",
    "olmo",
    "command-r",
    "tekken",
    "gpt-4o",
    "granite-embed-multi-97m",
    "deepseek-v3",
    "deepseek-llm",
    "deepseek-coder",
    "falcon",
    "falcon3",
    "minerva-7b",
    "seed-coder",
    "ufakzeka",
    "jais-2",
    "exaone-moe",
    "kimi-k2",
    "bloom",
    "spark2_5",
    "youtu",
    "viking",
    "laguna",
    "minicpm5",
    "superbpe",
    "tiny_aya",
    "afmoe",
    "chameleon",
    "default",
];

impl Pipeline {
    /// The pipeline of a `tokenizer.json`, and its name.
    ///
    /// # Errors
    ///
    /// Says which part has no name.
    pub(crate) fn of(json: &Value) -> Result<(&'static str, Self), String> {
        if json["decoder"]["type"] != "ByteLevel" {
            return Err(format!("its decoder is {}, expected ByteLevel", shown(&json["decoder"])));
        }
        let compose = match parts(&json["normalizer"], "normalizers").as_slice() {
            [] => false,
            [only] if only["type"] == "NFC" => true,
            _ => {
                let other = shown(&json["normalizer"]);
                return Err(format!("its normalizer is {other}, expected NFC or none"));
            }
        };
        let whole_words = json["model"]["ignore_merges"] == true;
        let steps = steps(&json["pre_tokenizer"]);
        let mut found = Vec::new();
        for name in NAMES {
            let one = Self::named(name)?;
            let own = serde_json::to_value(one.pre_tokenizer()?).map_err(|e| e.to_string())?;
            if self::steps(&own) == steps {
                found.push((name, one));
            }
        }
        if found.is_empty() {
            return Err(format!(
                "no name is known for its pre-tokenizer, {}",
                shown(&json["pre_tokenizer"])
            ));
        }
        found.retain(|(_, one)| one.compose == compose && one.whole_words == whole_words);
        found.first().copied().ok_or_else(|| {
            format!(
                "no name is known for its pre-tokenizer with ignore_merges = {whole_words} and {} \
                 NFC",
                if compose { "with" } else { "without" }
            )
        })
    }
}

/// The parts of a `Sequence`, in any depth; one part by itself, none of null.
fn parts<'a>(part: &'a Value, inner: &str) -> Vec<&'a Value> {
    match part[inner].as_array() {
        Some(list) if part["type"] == "Sequence" => {
            list.iter().flat_map(|part| parts(part, inner)).collect()
        }
        _ if part.is_null() => Vec::new(),
        _ => vec![part],
    }
}

/// What decides about the words. Where a piece begins in its text does not.
fn steps(pre_tokenizer: &Value) -> Vec<Value> {
    let plain = |part: &Value| {
        let mut part = part.clone();
        if let Some(keys) = part.as_object_mut().filter(|keys| keys["type"] == "ByteLevel") {
            keys.remove("trim_offsets");
            keys.entry("use_regex").or_insert(true.into());
        }
        part
    };
    parts(pre_tokenizer, "pretokenizers").into_iter().map(plain).collect()
}

fn shown(part: &Value) -> String {
    const MOST: usize = 300;
    let text = part.to_string();
    let cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() { format!("{cut}...") } else { text }
}
