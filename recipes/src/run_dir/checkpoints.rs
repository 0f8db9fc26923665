use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle::Tensor;
use evals::run::{Thinning, step_name, step_of_name};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::adapter_files::{adapter_sha256, open_adapter};
use super::planned::ends_stage;
use super::tensors::save_tensors;
use super::{Base, PartOf, Pending, RunDir, TensorFile, Unwritten, partial, read_json, write_json};
use crate::identity::digest;
use crate::printable::quoted;

/// Version of `trainer.json`.
const TRAINER_FORMAT: u32 = 2;

/// Where a stage stands: values by name. Which names there are is up to the kind of stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StageState(BTreeMap<String, Value>);

impl StageState {
    /// Keeps `value` under `name`.
    ///
    /// # Panics
    ///
    /// If the value has no JSON form.
    pub fn set(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).expect("state has a JSON form");
        self.0.insert(name.to_owned(), value);
    }

    /// The value under `name`.
    ///
    /// # Errors
    ///
    /// Fails when there is none, or one of another type.
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let value = self.0.get(name).with_context(|| format!("stage_state has no `{name}`"))?;
        T::deserialize(value).with_context(|| format!("stage_state.{name}"))
    }
}

/// Where training stands besides weights and optimizer: all that a resumed run needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Version of this file.
    pub format: u32,
    /// Steps done, over all stages.
    pub step: u64,
    /// Stage of the last step, counted from 0.
    pub stage: usize,
    /// Where that stage stands, by the names that its driver gives.
    pub stage_state: StageState,
    /// State of the health watch.
    pub watch: Value,
    /// What these weights are compared by with those of other checkpoints, where it was measured.
    pub score: Option<Score>,
    /// Which samples the record keeps.
    #[serde(default)]
    pub samples: Thinning,
    /// The base of the adapter that is trained; none where all weights are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// Digest of that adapter's files in the checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapter_sha256: Option<String>,
    /// Digest of the checkpoint's file with the state of the optimizer and the average; none in a
    /// checkpoint of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optimizer_sha256: Option<String>,
    /// Digest of the files that are kept of the adapter at the start of the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_sha256: Option<String>,
    /// What the last step has yet to do; nothing in a checkpoint between two steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// What the record lacks, since it could not be written.
    #[serde(default, skip_serializing_if = "Unwritten::is_empty")]
    pub unwritten: Unwritten,
}

impl TrainerState {
    /// What names this state in other files of its checkpoint.
    pub(super) fn part(&self) -> PartOf {
        PartOf { step: self.step, updates: self.stage_state.get("updates").ok() }
    }

    /// The state before the first step.
    pub fn start() -> Self {
        Self {
            format: TRAINER_FORMAT,
            step: 0,
            stage: 0,
            stage_state: StageState::default(),
            watch: Value::Null,
            score: None,
            samples: Thinning::default(),
            base: None,
            adapter_sha256: None,
            optimizer_sha256: None,
            reference_sha256: None,
            pending: None,
            unwritten: Unwritten::default(),
        }
    }
}

/// A figure of an evaluation, by which checkpoints are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The held-out set.
    pub set: String,
    /// The name of the figure.
    pub figure: String,
    /// Its value; larger is better.
    pub value: f64,
    /// Digest of what it depends on besides the weights: the rewards, sampling, samples, prompt and
    /// problems of the set. Empty where it is not known.
    #[serde(default)]
    pub measured: String,
}

impl Score {
    /// Whether it is better than all of `saved` that are the same figure, measured the same way.
    pub(crate) fn is_best(&self, saved: &[Saved]) -> bool {
        saved
            .iter()
            .filter_map(|saved| saved.state.score.as_ref())
            .all(|other| !self.is_like(other) || self.value > other.value)
    }

    fn is_like(&self, other: &Self) -> bool {
        (&self.set, &self.figure, &self.measured) == (&other.set, &other.figure, &other.measured)
    }
}

impl fmt::Display for Score {
    /// As in "held-out accuracy 41.7 %".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { set, figure, value, .. } = self;
        match figure.as_str() {
            "avg" => write!(f, "{set} accuracy {:.1} %", 100.0 * value),
            "reward" => write!(f, "{set} {figure} {value:.3}"),
            _ => write!(f, "{set} {figure} {:.1} %", 100.0 * value),
        }
    }
}

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Its folder: a model in Hugging Face layout, or an adapter as PEFT has it.
    pub path: PathBuf,
    /// Where training stood.
    pub state: TrainerState,
}

pub(super) const OPTIMIZER: &str = "optimizer.safetensors";
const TRAINER: &str = "trainer.json";

/// Whether a folder is the checkpoint of a run, whole or not.
pub fn is_checkpoint(folder: &Path) -> bool {
    folder.join(TRAINER).is_file()
}

impl Saved {
    /// Writes the changed `state` into the checkpoint, whose weights stay.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be written.
    pub fn amend(&self) -> Result<()> {
        write_json(&self.path.join(TRAINER), &self.state)
    }

    /// The optimizer's tensors, which stay in the file until they are asked for.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read, and when it belongs to another state.
    pub fn optimizer(&self) -> Result<TensorFile> {
        let path = self.path.join(OPTIMIZER);
        let (file, expected) = (TensorFile::open(&path)?, self.state.part());
        match file.part_of() {
            Some(got) if got != expected => bail!(
                "{}: expected the state after {expected}, got that after {got}: it belongs to \
                 another checkpoint",
                path.display()
            ),
            _ => Ok(file),
        }
    }

    /// What is wrong with its files, where one is missing, cut short or unreadable, or not the one
    /// that was saved, of those that have a digest.
    pub fn damage(&self) -> Option<String> {
        let policy = match self.state.base {
            Some(_) => open_adapter(&self.path),
            None => engine::Checkpoint::open(&self.path).map(drop).map_err(anyhow::Error::from),
        };
        let error = policy.err().or_else(|| self.check_adapter().err());
        let root = self.path.ancestors().nth(2).unwrap_or(Path::new(""));
        // The stage after it begins with an optimizer and a reference of its own.
        let ends_stage = ends_stage(root, self.state.stage, self.state.step);
        let of_stage = || self.check_optimizer().and_then(|()| self.check_reference()).err();
        let error = error.or_else(|| if ends_stage { None } else { of_stage() });
        error.map(|error| format!("{error:#}"))
    }
}

/// The base of the checkpoint in `folder`, if it has an adapter alone.
///
/// # Errors
///
/// Fails when its `trainer.json` cannot be read.
pub fn base_of(folder: &Path) -> Result<Option<Base>> {
    #[derive(Serialize, Deserialize)]
    struct Part {
        #[serde(default)]
        base: Option<Base>,
    }
    Ok(read_json::<Part>(&folder.join(TRAINER))?.base)
}

impl RunDir {
    /// Writes the checkpoint of `state`: `model` fills in the files of the policy. The digests of
    /// an adapter and of the optimizer's state are kept.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be written; no part of the checkpoint stays.
    pub fn save(
        &self,
        state: &TrainerState,
        optimizer: Vec<(String, Tensor)>,
        model: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Saved> {
        let name = format!("checkpoints/{}", step_name(state.step));
        let mut state = state.clone();
        self.write_folder(&name, |folder| {
            model(folder)?;
            let of_adapter = state.base.as_ref().map(|_| adapter_sha256(folder)).transpose();
            state.adapter_sha256 = of_adapter?;
            let path = folder.join(OPTIMIZER);
            save_tensors(&path, optimizer, &state.part())?;
            state.optimizer_sha256 = Some(digest(&path)?.sha256);
            write_json(&folder.join(TRAINER), &state)
        })?;
        Ok(Saved { path: self.root.join(name), state })
    }

    /// Removes checkpoints but the newest `keep` and, if asked, the one with the best score; of
    /// equal ones the earliest.
    ///
    /// # Errors
    ///
    /// Fails when a folder cannot be read or removed.
    pub fn prune(&self, keep: usize, best: bool) -> Result<()> {
        let saved = self.checkpoints()?;
        let best = if best { best_of(&saved).map(|best| best.state.step) } else { None };
        let old = saved.len().saturating_sub(keep);
        for saved in saved[..old].iter().filter(|saved| Some(saved.state.step) != best) {
            // Out of sight first: a removal cut short must not leave half a checkpoint by its name.
            let partial = partial(&saved.path);
            fs::rename(&saved.path, &partial)
                .and_then(|()| fs::remove_dir_all(&partial))
                .with_context(|| format!("removing {}", saved.path.display()))?;
        }
        Ok(())
    }
}

/// The checkpoint in `path`. An error about its state passes through `damaged`, unless the state is
/// of another version.
pub(super) fn read_saved(
    path: &Path,
    damaged: &dyn Fn(anyhow::Error) -> anyhow::Error,
) -> Result<Saved> {
    #[derive(Serialize, Deserialize)]
    struct Version {
        format: u32,
    }
    let trainer = path.join(TRAINER);
    let Version { format } = read_json(&trainer).map_err(damaged)?;
    if format != TRAINER_FORMAT {
        bail!(
            "{}: expected format {TRAINER_FORMAT}, got {format}: another version of stearin wrote \
             it\nresume with that version, or start a new run from the checkpoint: --set model.path={}",
            trainer.display(),
            quoted(&path.display().to_string())
        );
    }
    let state: TrainerState = read_json(&trainer).map_err(damaged)?;
    let (named, step) = (step_of_folder(path), state.step);
    if named != Some(step) {
        let named = named.map_or_else(|| "none".to_owned(), |step| step.to_string());
        return Err(damaged(anyhow!(
            "{}: expected step {named}, as its folder is named, got {step}: it belongs to another \
             checkpoint",
            trainer.display()
        )));
    }
    Ok(Saved { path: path.to_owned(), state })
}

/// The step that the name of a checkpoint's folder gives.
pub(super) fn step_of_folder(path: &Path) -> Option<u64> {
    path.file_name().and_then(|name| step_of_name(name.to_str()?))
}

/// The checkpoint with the best score, the earliest of equals. Where some were scored by another
/// figure than the newest, or one measured otherwise, those do not count.
pub(crate) fn best_of(saved: &[Saved]) -> Option<&Saved> {
    let score = |saved: &'_ Saved| saved.state.score.clone();
    let newest = saved.iter().rev().find_map(score)?;
    let like = saved.iter().filter(|saved| score(saved).is_some_and(|one| newest.is_like(&one)));
    let value = |saved: &Saved| saved.state.score.as_ref().map(|score| score.value);
    like.reduce(|best, saved| if value(saved) > value(best) { saved } else { best })
}

#[cfg(test)]
mod tests {
    use optim::SavedState as _;

    use super::*;
    use crate::run_dir::of_this_process;

    fn score(set: &str, value: f64) -> Score {
        Score { set: set.into(), figure: "avg".into(), value, measured: "a".into() }
    }

    #[test]
    fn scores_are_compared_with_their_like() {
        let saved = |step: u64, score| Saved {
            path: format!("step-{step}").into(),
            state: TrainerState { step, score, ..TrainerState::start() },
        };
        let a = |value| Some(score("a", value));
        let all = [saved(1, a(0.2)), saved(2, a(0.7)), saved(3, None), saved(4, a(0.7))];
        assert_eq!(best_of(&all).unwrap().state.step, 2);
        assert!(score("a", 0.71).is_best(&all));
        assert!(!score("a", 0.7).is_best(&all), "ties keep the earlier");
        assert!(score("b", 0.1).is_best(&all), "the first of its kind");
        let changed = [&all[..], &[saved(5, Some(score("b", 0.1)))]].concat();
        assert_eq!(best_of(&changed).unwrap().state.step, 5, "by the figure in force");
        let otherwise = Score { measured: "b".into(), ..score("a", 0.1) };
        assert!(otherwise.is_best(&all), "the first that was measured so");
        let changed = [&all[..], &[saved(5, Some(otherwise))]].concat();
        assert_eq!(best_of(&changed).unwrap().state.step, 5, "what was measured otherwise is old");
        assert_eq!(best_of(&all[2..3]), None);
        assert_eq!(score("a", 0.417).to_string(), "a accuracy 41.7 %");
    }

    fn steps(run: &RunDir) -> Vec<u64> {
        run.checkpoints().unwrap().iter().map(|saved| saved.state.step).collect()
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        let run = RunDir::create(&temp.path().join("a"), "", &of_this_process(1)).unwrap();
        for (step, value) in [(1, Some(0.5)), (2, Some(0.9)), (3, Some(0.9)), (4, None)] {
            let score = value.map(|value| score("held-out", value));
            let state = TrainerState { step, score, ..TrainerState::start() };
            let moment = Tensor::new(&[step as f32], &candle::Device::Cpu).unwrap();
            run.save(&state, vec![("m".into(), moment)], |_| Ok(())).unwrap();
            run.prune(2, true).unwrap();
        }
        assert_eq!(steps(&run), [2, 3, 4]);
        let newest = run.checkpoints().unwrap().pop().unwrap();
        let moment = newest.optimizer().unwrap().tensor("m").unwrap();
        assert_eq!(moment.to_vec1::<f32>().unwrap(), [4.0]);
        run.prune(1, false).unwrap();
        assert_eq!(steps(&run), [4]);
    }

    #[test]
    fn a_state_of_another_version_is_refused_with_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("checkpoints/step-000001");
        fs::create_dir_all(&folder).unwrap();
        let old = r#"{"format":1,"step":1,"stage":0,"updates":1,"drawn":8,"weighting":null}"#;
        fs::write(folder.join(TRAINER), old).unwrap();
        let error = crate::run_dir::checkpoints(temp.path()).unwrap_err().to_string();
        assert!(error.contains("trainer.json: expected format 2, got 1"), "{error}");
        assert!(error.contains("--set model.path="), "{error}");
    }

    #[test]
    fn a_value_that_is_missing_or_of_another_type_is_named() {
        let mut state = StageState::default();
        state.set("updates", 3_u64);
        assert_eq!(state.get::<u64>("updates").unwrap(), 3);
        let error = |error: anyhow::Error| format!("{error:#}");
        assert_eq!(error(state.get::<u64>("drawn").unwrap_err()), "stage_state has no `drawn`");
        let other = error(state.get::<String>("updates").unwrap_err());
        assert!(other.starts_with("stage_state.updates: invalid type"), "{other}");
    }

    #[test]
    fn the_base_of_a_checkpoint_is_read_from_its_state() {
        let temp = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(temp.path().join(TRAINER), text).unwrap();
        write(r#"{"format":2,"step":1}"#);
        assert_eq!(base_of(temp.path()).unwrap(), None);
        write(r#"{"format":2,"base":{"name":"m","bytes":3,"sha256":"ab"}}"#);
        let found = base_of(temp.path()).unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.bytes, found.sha256.as_str()), ("m", 3, "ab"));
        write(r#"{"base":{"name":"m","bytes":-3,"sha256":"ab"}}"#);
        let error = format!("{:#}", base_of(temp.path()).unwrap_err());
        assert!(error.contains("trainer.json"), "{error}");
    }
}
