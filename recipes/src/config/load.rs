use std::io::Read as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use rewards::rows::{Foreign, foreign};
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::de::DeTable;

use super::layers::Merged;
use super::place::Place;
use super::sources::{Mistake, Sources};
use super::told::Told;
use super::{Origins, Recipe, message, mistakes, trees};
use crate::identity;
use crate::verifiers::RewardsConfig;

/// A recipe or an overlay, read but not yet parsed.
#[derive(Debug, Clone)]
pub struct Layer {
    name: String,
    text: String,
    folder: PathBuf,
}

/// A recipe with the folder that its relative paths start from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The recipe, valid.
    pub recipe: Recipe,
    /// The first layer's folder.
    pub folder: PathBuf,
    /// Who set its keys.
    pub origins: Origins,
    /// What to know of how the layers were put together.
    pub notes: Vec<String>,
}

impl Layer {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read as text.
    pub fn file(path: &Path) -> Result<Self> {
        let text = text_of(path, "recipe")?;
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(Self { folder, ..Self::text(&path.display().to_string(), &text) })
    }

    /// Takes text, without the byte order mark that some editors put before it; its relative paths
    /// start from the working directory.
    pub fn text(name: &str, text: &str) -> Self {
        let text = text.trim_start_matches('\u{feff}').to_owned();
        Self { name: name.to_owned(), text, folder: PathBuf::new() }
    }

    fn stem(&self) -> String {
        let stem = Path::new(&self.name).file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

/// The text of a TOML file that holds a `what`.
fn text_of(path: &Path, what: &str) -> Result<String> {
    let expected = format!("a {what} in TOML");
    let named = || format!("reading the {what} {}", path.display());
    let mut bytes = Vec::new();
    identity::open(path, &expected)?.read_to_end(&mut bytes).with_context(named)?;
    if let Some(Foreign { what, .. }) = foreign(&bytes) {
        bail!("{} is {what}, expected {expected} as UTF-8 text", path.display());
    }
    String::from_utf8(bytes).map_err(|error| {
        let (at, bytes) = (error.utf8_error().valid_up_to(), error.as_bytes());
        let line = bytes[..at].split(|&byte| byte == b'\n').count();
        anyhow!("{}:{line}: expected UTF-8, got other bytes", path.display())
    })
}

/// Reads settings that are a TOML file of their own, with `kind` wherever it stands in a table.
/// `what` is what messages call them.
///
/// # Errors
///
/// Fails when the file cannot be read as TOML, and on an unknown key or a value of the wrong kind,
/// with its line, column and key.
pub fn read_settings<T>(path: &Path, what: &str) -> Result<T>
where
    T: Serialize + DeserializeOwned,
{
    let text = text_of(path, what)?;
    let mut sources = Sources::new();
    sources.push_file(&path.display().to_string(), text.trim_start_matches('\u{feff}'));
    let source = sources.0.last().expect("it was pushed");
    let wrong = |span: Range<usize>, key: Option<&str>, text: &str| {
        anyhow!(message::said(&sources, &span, key, &message::reword(text)))
    };
    let syntax = |error: toml::de::Error| {
        wrong(error.span().unwrap_or(source.here()), None, error.message())
    };
    let mut table = DeTable::parse(&source.padded).map_err(syntax)?.into_inner();
    trees::kinds_first(&mut table);
    mistakes::parse(&table, source.start).map_err(|Mistake { span, text }| {
        let key = Place::of(&table, &span).written();
        // The text names an unknown key, and a missing one is in no place.
        let named = ["unknown field ", "missing field "].iter().any(|it| text.starts_with(it));
        wrong(span, Some(&*key).filter(|key| !key.is_empty() && !named), &text)
    })
}

/// Reads a recipe: later layers override earlier ones, and `--set` overrides all.
///
/// Tables merge key by key; lists are replaced, except that `[stage.rl]`, `[stage.0]` and
/// `--set stage.rl.steps=3` reach into the stages that are there. A table whose `kind` changes
/// keeps the keys that the new kind also has.
///
/// # Errors
///
/// Fails on text that is not TOML, on unknown keys and values of the wrong kind (all at once, each
/// with its file, line and column, or its override), and on settings that contradict each other
/// (all at once).
pub fn load(layers: &[Layer], overrides: &[String]) -> Result<Loaded> {
    let Some(first) = layers.first() else { bail!("there is no recipe to load") };
    let (stem, folder) = (first.stem(), first.folder.clone());
    let mut sources = Sources::new();
    for layer in layers {
        sources.push_file(&layer.name, &layer.text);
    }
    for text in overrides {
        sources.push_override(text)?;
    }
    let Merged { mut root, mistakes: naming, replaced } = sources.merge()?;
    let lists = mistakes::single_tables(&mut root);
    // What is missing is missing in the first recipe.
    let mut reading = mistakes::read(root.clone(), lists, sources.0[1].start);
    for recipe in &mut reading.recipes {
        complete(recipe, &stem);
    }
    let mut told = Told::new(&sources, &root);
    told.naming(&naming);
    told.shapes(&reading.found);
    told.values(&reading);
    match (told.error(&stem, reading.is_cut), reading.recipes.into_iter().next()) {
        (None, Some(recipe)) => {
            let origins = Origins::of(&root, sources.0[1].start);
            let adapter = recipe.model.adapter.as_ref();
            let has_from = adapter.is_some_and(|adapter| adapter.from().is_some());
            let replaced = replaced.iter().filter(|_| has_from);
            let notes = replaced.map(|(key, span)| {
                format!(
                    "model.adapter.{key} of {} does not count: it comes from the adapter that \
                     model.adapter.from names",
                    sources.place(span)
                )
            });
            Ok(Loaded { recipe, folder, origins, notes: notes.collect() })
        }
        (error, _) => Err(error.unwrap_or_else(|| anyhow!("{stem} cannot be read"))),
    }
}

/// Fills in what the recipe leaves to others of its settings.
fn complete(recipe: &mut Recipe, stem: &str) {
    if recipe.name.is_empty() {
        stem.clone_into(&mut recipe.name);
    }
    recipe.model.complete();
    for set in recipe.eval.sets.iter_mut().filter(|set| set.name.is_empty()) {
        set.name = set.bench.clone().unwrap_or_default();
    }
    ask_for_answers(recipe);
}

/// Settles what prompts ask for where the recipe leaves it open. A builtin policy reads no words,
/// and a supervised one learns the form of its solutions.
fn ask_for_answers(recipe: &mut Recipe) {
    let judging = recipe.stages.iter().filter_map(|stage| stage.settings().rewards());
    let requests: Vec<_> = judging.map(RewardsConfig::request).collect();
    let asks = !recipe.model.path.starts_with("builtin:") && !requests.is_empty();
    // Stages that read answers in different forms share one prompt, which can ask for neither.
    let first = requests.first().filter(|first| requests.iter().all(|other| other == *first));
    let request = first.and_then(Option::as_deref).filter(|_| asks);
    recipe.prompt.ask_for_answer(request);
    for set in &mut recipe.eval.sets {
        let request = set.rewards.request().filter(|_| asks);
        set.prompt.ask_for_answer(request.as_deref());
    }
}
