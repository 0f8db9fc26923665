//! What the weights of a model take in the types of its files, and what its adapter takes.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use candle::{DType, Device};
use engine::{Adapter, AdapterConfig, Checkpoint, ModelConfig, Weights};

use super::file_type::split_type;
use crate::config::{BaseChoice, Recipe, ReferenceChoice};
use crate::memory::{F32, Trained, decoding_bytes};
use crate::policy::{Adapted, FROM, KnownFiles, ModelRef, locate, locate_adapter, taken};
use crate::run_dir::base_of;
use crate::search_path::SearchPath;

/// Bytes of the weights in the types of their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Types with their bytes, the largest part first.
    pub types: Vec<(&'static str, u64)>,
    /// Where that is from; empty where it is the files.
    pub guess: &'static str,
}

impl Stored {
    /// Of a checkpoint.
    ///
    /// # Errors
    ///
    /// Fails when one of its weights is missing.
    pub(super) fn of(checkpoint: &Checkpoint) -> engine::Result<Self> {
        let types = checkpoint.bytes_by_type()?.into_iter().collect();
        Ok(Self::sorted(types, ""))
    }

    /// Of weights in f32.
    pub(super) fn f32(parameters: u64) -> Self {
        Self::sorted(vec![("f32", parameters * F32)], "")
    }

    /// Of a model that is not here: by the type that its name ends with, else as f32.
    pub(super) fn of_name(name: &str, model: &ModelConfig, parameters: u64) -> Self {
        let Some(kind) = split_type(name).1 else {
            return Self {
                guess: "taken as f32, as the files are not here",
                ..Self::f32(parameters)
            };
        };
        let types = kind.bytes(model).into_iter().collect();
        Self::sorted(types, "by the name of the file, which is not here")
    }

    fn sorted(mut types: Vec<(&'static str, u64)>, guess: &'static str) -> Self {
        types.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        Self { types, guess }
    }

    /// All of it.
    pub fn bytes(&self) -> u64 {
        self.types.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes into which parts are decoded, where some are not in f32.
    fn decoding(&self, model: &ModelConfig, threads: usize) -> u64 {
        let is_decoded = self.types.iter().any(|(name, _)| *name != "f32");
        if is_decoded { decoding_bytes(model, threads) } else { 0 }
    }
}

/// The size of an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct AdapterSize {
    /// Its configuration.
    pub config: AdapterConfig,
    /// Number of its parameters.
    pub parameters: u64,
    /// Whether it changes nothing at the start of the run.
    pub is_fresh: bool,
    /// The adapters that references look back at, by name.
    pub named: Vec<Named>,
}

/// An adapter that does not change.
#[derive(Debug, Clone, PartialEq)]
pub struct Named {
    /// Its name in the recipe.
    pub name: String,
    /// Where the recipe has it from.
    pub from: String,
    /// Rows of each `A`.
    pub rank: usize,
    /// Number of its parameters.
    pub parameters: u64,
}

impl AdapterSize {
    /// The size of the adapter of a recipe for a model of these sizes, and what there is to know of
    /// it and of the named ones; `None` where there is none. A run that goes on has its adapter in
    /// the checkpoint `own`.
    ///
    /// # Errors
    ///
    /// Fails when the model can have no such adapter, and when the one to start from cannot be read
    /// or is another model's.
    pub(super) fn of(
        recipe: &Recipe,
        model: &ModelConfig,
        search_path: &SearchPath,
        own: Option<&Path>,
    ) -> Result<Option<(Self, Vec<String>)>> {
        let Some(choice) = &recipe.model.adapter else { return Ok(None) };
        let found = Located::new(recipe, search_path, own)?;
        let (mut named, mut notes) = (Vec::new(), Vec::new());
        for (name, from) in recipe.referred_adapters() {
            let key = format!("model.adapters.{name}.from");
            let (path, said) = found.adapter(from, &key)?;
            notes.extend(said);
            let size = Self::of_file(&path, model).context(key)?;
            let (name, from) = (name.to_owned(), from.to_owned());
            named.push(Named { name, from, rank: size.config.rank, parameters: size.parameters });
        }
        let misfits = choice.misfits(model);
        if !misfits.is_empty() {
            bail!("recipe {}: {}", recipe.name, misfits.join("\n"));
        }
        let size = match (choice.from(), own) {
            (None, _) => {
                let config = choice.config();
                let parameters = parameters(&config, model);
                Self { config, parameters, is_fresh: true, named: Vec::new() }
            }
            (Some(_), Some(own)) => Self::of_file(own, model)?,
            (Some(from), None) => {
                let (path, said) = found.adapter(from, FROM)?;
                notes.extend(said);
                Self::of_file(&path, model).context(FROM)?
            }
        };
        Ok(Some((Self { named, ..size }, notes)))
    }

    fn of_file(path: &Path, model: &ModelConfig) -> Result<Self> {
        let adapter = Adapter::open(path, model, DType::F32, &Device::Cpu)?;
        let sizes = adapter.parameters().into_iter().map(|(_, tensor)| tensor.elem_count() as u64);
        let (config, parameters) = (adapter.config().clone(), sizes.sum());
        Ok(Self { config, parameters, is_fresh: adapter.is_zero()?, named: Vec::new() })
    }

    /// What a stage trains, by its number, beside weights in this format. The named adapters are in
    /// memory as long as the run.
    pub(super) fn trained(
        &self,
        model: &ModelConfig,
        base: Base<'_>,
        threads: usize,
        (stage, reference): (usize, Option<&ReferenceChoice>),
    ) -> Trained {
        let (weights, decoding) = match base.choice {
            BaseChoice::AsStored => (base.stored.bytes(), base.stored.decoding(model, threads)),
            BaseChoice::F32 => (base.parameters * F32, 0),
        };
        let parameters = self.parameters;
        let is_average = reference.is_some_and(ReferenceChoice::is_average);
        let has_own = is_average || self.keeps(stage, reference);
        let named = self.named.iter().map(|one| one.parameters).sum::<u64>();
        let references = named + if has_own { parameters } else { 0 };
        Trained::Adapter { parameters, weights, decoding, references }
    }

    /// Whether a copy is kept for a stage to look back at: of what changes nothing there is none.
    pub(super) fn keeps(&self, stage: usize, reference: Option<&ReferenceChoice>) -> bool {
        reference == Some(&ReferenceChoice::Start {}) && (stage > 0 || !self.is_fresh)
    }
}

/// Where the adapters of a recipe are.
struct Located<'a> {
    /// The model, where it is here.
    base: Option<ModelRef>,
    base_files: KnownFiles,
    /// What the weights of a builtin model are drawn by.
    seed: u64,
    search_path: &'a SearchPath,
}

impl<'a> Located<'a> {
    /// For a recipe. A run that goes on from the checkpoint `own` keeps the base that it began
    /// with.
    fn new(recipe: &Recipe, search_path: &'a SearchPath, own: Option<&Path>) -> Result<Self> {
        let first_seed = own.map(base_of).transpose()?.flatten().and_then(|base| base.seed);
        let base = locate(&recipe.model.path, search_path).ok();
        let (base_files, seed) = (KnownFiles::default(), first_seed.unwrap_or(recipe.seed));
        Ok(Self { base, base_files, seed, search_path })
    }

    /// The adapter `from`, as the setting `key` says, with notes: which checkpoint of a run it is,
    /// and that it was trained on another base.
    fn adapter(&self, from: &str, key: &str) -> Result<(PathBuf, Vec<String>)> {
        let with_key = |taken: &str| format!("{key}: {taken}");
        let Some(base) = self.base.clone() else {
            // A model that is not here has the sizes of its name.
            let path = locate_adapter(from, self.search_path).with_context(|| key.to_owned())?;
            let said = taken(from, &path).map(|taken| with_key(&taken));
            return Ok((path, said.into_iter().collect()));
        };
        let adapted =
            Adapted::of_name(base, from, self.search_path, key)?.sharing(&self.base_files);
        let said = adapted.taken().map(with_key).into_iter().chain(adapted.note(self.seed)?);
        Ok((adapted.path().to_owned(), said.collect()))
    }
}

/// The weights beside an adapter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Base<'a> {
    pub(super) choice: BaseChoice,
    pub(super) stored: &'a Stored,
    /// Number of all weights.
    pub(super) parameters: u64,
}

/// Parameters of an adapter of this configuration.
fn parameters(config: &AdapterConfig, model: &ModelConfig) -> u64 {
    let weights = Weights::of(model);
    let maps = weights
        .blocks
        .iter()
        .flat_map(|block| engine::Module::ALL.into_iter().zip(block.linears()));
    let sides = maps.filter(|(module, _)| config.targets.contains(module));
    let sides = sides.map(|(_, map)| map.weight.shape.iter().sum::<usize>() as u64);
    sides.sum::<u64>() * config.rank as u64
}

#[cfg(test)]
mod tests {
    use engine::{Module, Scaling};

    use super::*;
    use crate::builtin::Builtin;

    /// With the sizes of SmolLM2-135M that count here.
    fn wide() -> ModelConfig {
        let model = Builtin::find("atom").unwrap().config();
        ModelConfig { vocab_size: 49_152, hidden_size: 576, intermediate_size: 1536, ..model }
    }

    #[test]
    fn only_what_is_not_in_f32_is_decoded() {
        let model = Builtin::find("atom").unwrap().config();
        let config = AdapterConfig {
            rank: 4,
            alpha: 8.0,
            scaling: Scaling::Rank,
            targets: Module::ALL.to_vec(),
        };
        let numbers = parameters(&config, &model);
        let named = Vec::new();
        let size = AdapterSize { parameters: numbers, config, is_fresh: true, named };
        let start = ReferenceChoice::default();
        let blocks = Stored::sorted(vec![("f32", 400), ("q8_0", 34_000)], "");
        assert_eq!((blocks.types[0].0, blocks.bytes()), ("q8_0", 34_400), "the largest first");
        let trained = |stored: &Stored, choice, stage| {
            let base = Base { choice, stored, parameters: 32_100 };
            size.trained(&model, base, 3, (stage, Some(&start)))
        };
        let adapter = |weights, decoding, references| Trained::Adapter {
            parameters: 5120,
            weights,
            decoding,
            references,
        };
        // A small model: tiles of the least size, and the whole head.
        let decoding = 4 * (96 * 256 + 3 * 32_768 + model.vocab_size as u64 * 32);
        let stored = trained(&blocks, BaseChoice::AsStored, 0);
        assert_eq!(stored, adapter(34_400, decoding, 0));
        assert_eq!(trained(&blocks, BaseChoice::F32, 1), adapter(128_400, 0, 5120));
        let (smollm2, threads) = (decoding_bytes(&wide(), 2), 2);
        assert_eq!(smollm2, 4 * (1536 * 256 + threads * 32_768 + 2048 * 576));
        let plain = trained(&Stored::f32(32_100), BaseChoice::AsStored, 0);
        assert_eq!(plain, adapter(128_400, 0, 0));
    }

    #[test]
    fn an_adapter_has_the_parameters_that_the_engine_gives_it() {
        let builtin = Builtin::find("atom").unwrap();
        let model = builtin.config();
        for targets in [Module::ALL.to_vec(), vec![Module::K, Module::Down]] {
            let config = AdapterConfig { rank: 3, alpha: 4.0, scaling: Scaling::Rank, targets };
            let adapter =
                Adapter::fresh(config.clone(), &model, 1, DType::F32, &Device::Cpu).unwrap();
            let sizes = adapter.parameters().into_iter().map(|(_, one)| one.elem_count() as u64);
            assert_eq!(parameters(&config, &model), sizes.sum::<u64>());
        }
    }
}
