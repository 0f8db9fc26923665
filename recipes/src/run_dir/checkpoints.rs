use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle::{Device, Tensor};
use evals::record::{step_name, step_of_name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FORMAT, RunDir, entries, partial, read_json, write_json};

/// Where training stands besides weights and optimizer: all that a resumed run needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Version of this file.
    pub format: u32,
    /// Steps done, over all stages.
    pub step: u64,
    /// Stage of the last step, counted from 0.
    pub stage: usize,
    /// Optimizer updates done in that stage.
    pub updates: u64,
    /// Problems drawn in that stage.
    pub drawn: u64,
    /// State of the token weighting.
    pub weighting: Value,
    /// State of the entropy bonus.
    #[serde(default)]
    pub entropy_control: Value,
    /// Mean entropy of what the last step sampled, nats a token; none at a stage's start.
    #[serde(default)]
    pub entropy: Option<f64>,
    /// State of the health watch; null in checkpoints from before there was one.
    #[serde(default)]
    pub watch: Value,
    /// Held-out accuracy of these weights, where it was measured.
    pub accuracy: Option<f64>,
}

impl TrainerState {
    /// The state before the first step.
    pub fn start() -> Self {
        Self {
            format: FORMAT,
            step: 0,
            stage: 0,
            updates: 0,
            drawn: 0,
            weighting: Value::Null,
            entropy_control: Value::Null,
            entropy: None,
            watch: Value::Null,
            accuracy: None,
        }
    }
}

/// A complete checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// Its folder; opens as a model in Hugging Face layout.
    pub path: PathBuf,
    /// Where training stood.
    pub state: TrainerState,
}

const OPTIMIZER: &str = "optimizer.safetensors";
const TRAINER: &str = "trainer.json";

impl Saved {
    /// The optimizer's tensors by name.
    ///
    /// # Errors
    ///
    /// Fails when the file cannot be read.
    pub fn optimizer(&self, device: &Device) -> Result<BTreeMap<String, Tensor>> {
        let path = self.path.join(OPTIMIZER);
        let tensors = candle::safetensors::load(&path, device)
            .with_context(|| format!("reading {}", path.display()))?;
        Ok(tensors.into_iter().collect())
    }
}

impl RunDir {
    /// Writes the checkpoint of `state`: `model` fills in the files of the policy.
    ///
    /// # Errors
    ///
    /// Fails when a file cannot be written; no part of the checkpoint stays.
    pub fn save(
        &self,
        state: &TrainerState,
        optimizer: Vec<(String, Tensor)>,
        model: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let name = format!("checkpoints/{}", step_name(state.step));
        self.write_folder(&name, |folder| {
            model(folder)?;
            let tensors: HashMap<_, _> = optimizer.into_iter().collect();
            candle::safetensors::save(&tensors, folder.join(OPTIMIZER))?;
            write_json(&folder.join(TRAINER), state)
        })?;
        Ok(self.root.join(name))
    }

    /// The complete checkpoints, oldest first.
    ///
    /// # Errors
    ///
    /// Fails when one cannot be read.
    pub fn checkpoints(&self) -> Result<Vec<Saved>> {
        checkpoints(&self.root)
    }

    /// Removes checkpoints but the newest `keep` and, if asked, the one with the best held-out
    /// accuracy; of equal ones the earliest.
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

/// The complete checkpoints of the run at `root`, oldest first.
///
/// # Errors
///
/// Fails when one cannot be read.
pub fn checkpoints(root: &Path) -> Result<Vec<Saved>> {
    let folder = root.join("checkpoints");
    let paths = entries(&folder).with_context(|| format!("reading {}", folder.display()))?;
    let is_checkpoint =
        |path: &PathBuf| path.file_name().and_then(|name| step_of_name(name.to_str()?)).is_some();
    let mut saved = paths
        .into_iter()
        .filter(is_checkpoint)
        .map(|path| Ok(Saved { state: read_json(&path.join(TRAINER))?, path }))
        .collect::<Result<Vec<_>>>()?;
    saved.sort_by_key(|saved| saved.state.step);
    Ok(saved)
}

/// The checkpoint with the best held-out accuracy, the earliest of equals.
pub(crate) fn best_of(saved: &[Saved]) -> Option<&Saved> {
    saved
        .iter()
        .filter(|saved| saved.state.accuracy.is_some())
        .reduce(|best, saved| if saved.state.accuracy > best.state.accuracy { saved } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::Environment;

    fn steps(run: &RunDir) -> Vec<u64> {
        run.checkpoints().unwrap().iter().map(|saved| saved.state.step).collect()
    }

    #[test]
    fn the_newest_and_the_best_are_kept() {
        let temp = tempfile::tempdir().unwrap();
        let environment = Environment::of_this_process(1);
        let run = RunDir::create(&temp.path().join("a"), "", &environment).unwrap();
        for (step, accuracy) in [(1, Some(0.5)), (2, Some(0.9)), (3, Some(0.9)), (4, None)] {
            let state = TrainerState { step, accuracy, ..TrainerState::start() };
            let moment = Tensor::new(&[step as f32], &Device::Cpu).unwrap();
            run.save(&state, vec![("m".into(), moment)], |_| Ok(())).unwrap();
            run.prune(2, true).unwrap();
        }
        assert_eq!(steps(&run), [2, 3, 4]);
        let newest = run.checkpoints().unwrap().pop().unwrap();
        let moment = &newest.optimizer(&Device::Cpu).unwrap()["m"];
        assert_eq!(moment.to_vec1::<f32>().unwrap(), [4.0]);
        run.prune(1, false).unwrap();
        assert_eq!(steps(&run), [4]);
    }
}
