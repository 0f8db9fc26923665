//! Models for other programs: as a folder in Hugging Face layout or a GGUF file, an adapter merged
//! in or by itself.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use engine::gguf::Gguf;
use engine::{Adapter, ModelConfig, WeightType, Written};

pub use crate::causes::Failed;
use crate::console::Console;
use crate::policy::{Compute, ModelRef, Unloaded};
use crate::printable::quoted;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A folder in Hugging Face layout.
    Hf,
    /// A GGUF file.
    Gguf,
    /// The adapter as a folder of PEFT.
    Peft,
    /// The adapter as a GGUF file.
    GgufAdapter,
}

impl Format {
    /// Whether it holds an adapter and no model.
    pub fn is_adapter(self) -> bool {
        matches!(self, Self::Peft | Self::GgufAdapter)
    }

    /// Whether it is one file.
    pub fn is_file(self) -> bool {
        matches!(self, Self::Gguf | Self::GgufAdapter)
    }
}

/// What is to be exported.
#[derive(Debug)]
pub struct Job<'a> {
    /// The model, with its adapter where it has one.
    pub model: &'a ModelRef,
    /// What the command calls it.
    pub name: &'a str,
    /// What is written.
    pub format: Format,
    /// Whether the adapter is added to the weights.
    pub merge: bool,
    /// The type of the weights.
    pub kind: WeightType,
    /// Where.
    pub output: &'a Path,
}

impl Job<'_> {
    /// Writes it. Gives what was written, and which programs open it. Notes go to `console`.
    ///
    /// # Errors
    ///
    /// Fails when the settings do not fit the model, and when it cannot be read; with [`Failed`]
    /// when the output cannot be written. Then nothing is left behind.
    pub fn run(&self, compute: &Compute, console: &Console) -> Result<String> {
        self.check()?;
        let model = Unloaded::open(self.model, compute)?;
        match model.adapter() {
            Some(adapter) if self.format.is_adapter() => self.adapter(adapter, model.config()),
            _ => self.whole(&model, console),
        }
    }

    /// Refuses what contradicts itself.
    fn check(&self) -> Result<()> {
        let name = self.name;
        match (self.model.adapter().is_some(), self.format.is_adapter(), self.merge) {
            (false, true, _) => bail!(
                "{name} has no adapter: all of its weights are its own\n\
                 export the model, by --format hf or gguf, or name an adapter by --adapter"
            ),
            (false, false, true) => bail!("--merge: {name} has no adapter to merge; leave it out"),
            (true, false, false) => bail!(
                "{name} has an adapter, which a model for other programs holds merged in\n\
                 add --merge, or export the adapter by itself, by --format peft or gguf-adapter"
            ),
            (true, true, true) => {
                bail!("--merge: the format is an adapter's; leave it out, or take hf or gguf")
            }
            _ => Ok(()),
        }
    }

    fn adapter(&self, adapter: &Adapter, model: &ModelConfig) -> Result<String> {
        let (output, base) = (self.output, self.model.public_name());
        if self.format == Format::Peft {
            self.written(adapter.save(output, &base))?;
        } else {
            self.written(adapter.save_gguf(output, model, &stem(output)))?;
        }
        let (path, config) = (output.display(), adapter.config());
        let targets: Vec<_> = config.targets.iter().map(|target| target.name()).collect();
        Ok(format!(
            "{} in {path}: an adapter of rank {} on {} of {base}\nopened by: {}\n",
            shown(size(output)),
            config.rank,
            targets.join(", "),
            self.adapter_openers(),
        ))
    }

    /// Which programs open the adapter, each with the base in the form that it needs.
    fn adapter_openers(&self) -> String {
        let path = quoted(&self.output.display().to_string());
        let vllm = format!("PEFT, vLLM (--enable-lora --lora-modules NAME={path})");
        let stearin = format!("stearin (--adapter {path})");
        let (name, is_file) = match self.model.base() {
            ModelRef::Builtin(builtin) => {
                let base = format!("builtin:{}", builtin.name);
                return format!(
                    "stearin (--model {base} --adapter {path})\nother programs do not have the base \
                     {base}: --format hf --merge writes it with the adapter as one model"
                );
            }
            ModelRef::Path(path) => (quoted(&path.display().to_string()), path.is_file()),
            ModelRef::Hub(address) => (quoted(address), false),
            ModelRef::Adapted(_) => unreachable!("a base has no adapter"),
        };
        match (self.format, is_file) {
            (Format::Peft, false) => format!("{vllm}, {stearin}"),
            (Format::Peft, true) => format!(
                "{vllm}, with the base as a Hugging Face folder; {stearin}\nthe base {name} is a GGUF \
                 file; `stearin export {name} --format hf -o BASE` writes such a folder of its weights"
            ),
            (_, true) => format!("llama.cpp (llama-server -m {name} --lora {path}), {stearin}"),
            (_, false) => format!(
                "llama.cpp (llama-server -m BASE.gguf --lora {path}), with the base as a GGUF file; \
                 {stearin}\n`stearin export {name} --format gguf -o BASE.gguf` writes such a file of \
                 the base"
            ),
        }
    }

    fn whole(&self, model: &Unloaded, console: &Console) -> Result<String> {
        let mut export = model.export();
        if let Some(adapter) = model.adapter() {
            export = export.merged(adapter)?;
        }
        let (output, kind, is_file) = (self.output, self.kind, self.format.is_file());
        let began_with = if is_file { self.began_with(console) } else { None };
        if let Some(gguf) = &began_with {
            export = export.like(gguf)?;
        }
        let Written { weights, bytes, notes } = if is_file {
            self.written(export.save_gguf(output, kind, &stem(output)))?
        } else {
            self.written(export.save(output, kind))?
        };
        for note in notes {
            console.print(&format!("note: {note}"));
        }
        let path = output.display();
        let small =
            if is_file && kind != WeightType::F32 { ", norms and biases in f32" } else { "" };
        let merged = if model.adapter().is_some() { ", the adapter merged in" } else { "" };
        let opened = if is_file {
            format!("llama.cpp (llama-server -m {path})")
        } else {
            "transformers, vLLM".to_owned()
        };
        Ok(format!(
            "{} in {path}: {weights} weights in {kind}{small}{merged}\nopened by: {opened}, stearin \
             (--model {path})\n",
            shown(bytes),
        ))
    }

    /// The GGUF file that the run began with whose checkpoint this is, if it is still there.
    fn began_with(&self, console: &Console) -> Option<Gguf> {
        let path = self.model.began_with()?;
        let tell = |error: &engine::Error| {
            console
                .print(&format!("note: the metadata of {} are not taken: {error}", path.display()));
        };
        Gguf::open(&path).inspect_err(tell).ok()
    }

    /// The result of writing: a disk that refuses is a failure on the way.
    fn written<T>(&self, result: engine::Result<T>) -> Result<T> {
        result.map_err(|error| match error {
            engine::Error::Io { .. } => anyhow!(Failed(format!(
                "{error}\nnothing was left in {}: make room, or name another place",
                self.output.display()
            ))),
            other => other.into(),
        })
    }
}

/// The name of a file without its ending.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Bytes of a file, or of the files in a folder.
fn size(path: &Path) -> u64 {
    let len = |path: &Path| std::fs::metadata(path).map_or(0, |facts| facts.len());
    if path.is_file() {
        return len(path);
    }
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| len(&entry.path())).sum()
}

fn shown(bytes: u64) -> String {
    let bytes = bytes as f64;
    if bytes < 1e6 { format!("{:.0} kB", bytes / 1e3) } else { format!("{:.1} MB", bytes / 1e6) }
}
