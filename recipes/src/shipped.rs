//! The recipes that the binary carries with it.

use std::path::Path;

use anyhow::{Result, bail};

use crate::config::Layer;
use crate::names::nearest;

/// A recipe inside the binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shipped {
    /// Its name: the file's, without `.toml`.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

/// All shipped recipes, the first to try first.
pub const ALL: &[Shipped] = &[
    Shipped { name: "quickstart", text: include_str!("../quickstart.toml") },
    Shipped { name: "smollm2-arithmetic", text: include_str!("../smollm2-arithmetic.toml") },
    Shipped { name: "smollm2-gsm8k", text: include_str!("../smollm2-gsm8k.toml") },
    Shipped { name: "lora-smollm2-sums", text: include_str!("../lora-smollm2-sums.toml") },
    Shipped { name: "lora-smollm2-gguf", text: include_str!("../lora-smollm2-gguf.toml") },
    Shipped {
        name: "lora-qwen2.5-1.5b-gguf",
        text: include_str!("../lora-qwen2.5-1.5b-gguf.toml"),
    },
    Shipped { name: "spsa-sums", text: include_str!("../spsa-sums.toml") },
    Shipped { name: "spsa-smollm2-gguf", text: include_str!("../spsa-smollm2-gguf.toml") },
    Shipped { name: "stare-r1-distill-1.5b", text: include_str!("../stare-r1-distill-1.5b.toml") },
    Shipped { name: "stare-qwen2.5-math-7b", text: include_str!("../stare-qwen2.5-math-7b.toml") },
    Shipped { name: "dapo-qwen2.5-32b", text: include_str!("../dapo-qwen2.5-32b.toml") },
];

/// The shipped recipe that an argument names. A folder that has its name does not hide it, a file
/// does.
pub fn named(argument: &str) -> Option<&'static Shipped> {
    ALL.iter().find(|shipped| shipped.name == argument && !Path::new(argument).is_file())
}

/// The recipe or overlay that an argument means: a file, or else the name of a shipped recipe.
///
/// # Errors
///
/// Fails when it is neither, naming the nearest shipped one, and when the file cannot be read.
pub fn layer(argument: &str) -> Result<Layer> {
    if let Some(shipped) = named(argument) {
        return Ok(Layer::text(&format!("{}.toml", shipped.name), shipped.text));
    }
    let path = Path::new(argument);
    if path.exists() {
        return Layer::file(path);
    }
    let names = ALL.iter().map(|shipped| shipped.name);
    let listed = names.clone().collect::<Vec<_>>().join(", ");
    let stem = Path::new(argument).file_stem().unwrap_or_default().to_string_lossy();
    let hint =
        nearest(&stem, names).map_or_else(String::new, |name| format!("\ndid you mean `{name}`?"));
    let looked = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    bail!(
        "there is no recipe {argument}: looked for in {}, and the shipped ones are {listed}{hint}",
        looked.display()
    )
}
