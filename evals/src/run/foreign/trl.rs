//! TRL: `completions/completions_STEP.parquet`, the completions of the last batch of a step, and
//! the log of the trainer in `trainer_state.json`.
//!
//! Source: TRL 1.16.0, `trainer/grpo_trainer.py` (`log`, `log_completions`); names of metrics in
//! [`crate::metrics::TRL`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value};

use super::super::{Seen, entries, open_file};
use super::rows::{Rows, python};
use super::steps::bytes;
use super::told::Told;
use super::verl::outcome;
use super::{Absent, Origin, Problem, Reader};
use crate::metrics::our_name;
use crate::parquet;

const STATE: &str = "trainer_state.json";
/// Columns that are no rewards.
const OWN: [&str; 4] = ["step", "prompt", "completion", "advantage"];
/// Names that data sets have for the gold answer.
const GOLD: [&str; 4] = ["solution", "answer", "ground_truth", "target"];

/// The files of a run.
#[derive(Debug)]
pub(super) struct Trl {
    root: PathBuf,
    logged: Mutex<Logged>,
}

/// The log as it was read last: it is written whole, with all its steps, at each checkpoint.
#[derive(Debug, Default)]
struct Logged {
    seen: Option<Vec<Seen>>,
    rows: Rows,
    problems: Vec<Problem>,
}

impl Trl {
    /// The output directory at `root`.
    pub(super) fn find(root: &Path) -> Option<Self> {
        let own = Self { root: root.to_owned(), logged: Mutex::default() };
        let has_any = !own.tables().is_empty() || !own.logs().is_empty();
        has_any.then_some(own)
    }

    fn tables(&self) -> BTreeMap<u64, PathBuf> {
        let step =
            |name: &str| name.strip_prefix("completions_")?.strip_suffix(".parquet")?.parse().ok();
        let found = entries(&self.root.join("completions")).into_iter();
        found.filter_map(|(name, path)| Some((step(&name)?, path))).collect()
    }

    /// The verifiers that the log names; none where there is no log.
    fn verifiers(&self) -> BTreeSet<String> {
        let rows = self.rows(&mut Vec::new());
        let name = |key: &str| key.strip_prefix("reward/part/").map(str::to_owned);
        rows.keys().iter().filter_map(|key| name(key)).collect()
    }
}

/// A completion; `verifiers` are the columns with rewards, all that have numbers where it is empty.
fn told(row: &Map<String, Value>, verifiers: &BTreeSet<String>) -> Result<Told, String> {
    let get =
        |key: &str| row.get(key).ok_or_else(|| format!("expected a column `{key}`, got none"));
    let (prompt, completion) = (get("prompt")?, get("completion")?);
    let numbers = row.iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    let numbers = numbers.filter_map(|(key, value)| Some((key.clone(), value.as_f64()?)));
    let (parts, metrics): (BTreeMap<_, _>, BTreeMap<_, _>) =
        numbers.partition(|(key, _)| verifiers.is_empty() || verifiers.contains(key));
    let reward = parts.values().sum::<f64>();
    let gold = GOLD.iter().find_map(|key| row.get(*key)?.as_str()).unwrap_or_default();
    let asked = text(prompt);
    Ok(Told {
        group: asked.clone(),
        source: String::new(),
        problem: last(prompt).unwrap_or_else(|| asked.clone()),
        prompt: asked,
        gold: gold.to_owned(),
        text: last(completion).unwrap_or_default(),
        answer: None,
        outcome: outcome(reward > 0.0),
        reward,
        parts,
        metrics,
        advantage: row.get("advantage").and_then(Value::as_f64),
        kept: true,
        is_cut: false,
        tokens: None,
    })
}

/// A text, or all turns of a chat.
fn text(value: &Value) -> String {
    let Some(turns) = value.as_array() else { return content(value) };
    let turn = |turn: &Value| {
        let role = turn.get("role").and_then(Value::as_str).unwrap_or_default();
        format!("{role}\n{}\n", content(turn.get("content").unwrap_or(&Value::Null)))
    };
    turns.iter().map(turn).collect()
}

/// A text, or the only or last turn of a chat.
fn last(value: &Value) -> Option<String> {
    match value.as_array() {
        Some(turns)
            if turns.len() == 1 || turns.last().is_some_and(|one| one["role"] == "user") =>
        {
            turns.last()?.get("content").map(content)
        }
        Some(_) => Some(text(value)),
        None => Some(content(value)),
    }
}

/// What a turn says: its text, or the texts of its parts.
fn content(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part.get("text")?.as_str()).collect(),
        _ => String::new(),
    }
}

/// The values of these logs.
fn history(logs: &[PathBuf], problems: &mut Vec<Problem>) -> Rows {
    let mut rows = Rows::default();
    let act = "the completions are shown; TRL 1.16.0 on transformers' Trainer is known";
    for path in logs {
        let Some(bytes) = bytes(path, problems) else { continue };
        let state = python(&bytes).unwrap_or_else(|reason| {
            problems.push(Problem::of(path, format!("not JSON: {reason}"), act));
            Value::Object(Map::new())
        });
        let history = state.get("log_history").and_then(Value::as_array);
        if history.is_none() && !state.as_object().is_some_and(Map::is_empty) {
            problems.push(Problem::of(path, "expected a `log_history`, got none", act));
        }
        for line in history.into_iter().flatten().filter_map(Value::as_object) {
            let Some(step) = line.get("step").and_then(Value::as_u64) else { continue };
            rows.extend(step, line, |key| {
                (key != "step").then(|| our_name(key).unwrap_or_else(|| key.to_owned()))
            });
        }
    }
    rows
}

impl Reader for Trl {
    fn origin(&self) -> Origin {
        Origin::Trl
    }

    fn steps(&self) -> BTreeMap<u64, Vec<Seen>> {
        self.tables().into_iter().map(|(step, path)| (step, vec![Seen::of(&path)])).collect()
    }

    fn read(&self, _: u64, files: &[Seen], problems: &mut Vec<Problem>) -> Vec<Told> {
        let (mut all, verifiers) = (Vec::new(), self.verifiers());
        for Seen { path, .. } in files {
            // What is no file would be read for ever.
            if let Err(problem) = open_file(path) {
                problems.push(problem);
                continue;
            }
            let act = "this row is left out; TRL 1.16.0 is known";
            let read = parquet::read(path, &mut |number, row| {
                match row.as_object().ok_or_else(String::new).and_then(|row| told(row, &verifiers))
                {
                    Ok(told) => all.push(told),
                    Err(reason) => {
                        problems.push(Problem::of(path, format!("row {number}: {reason}"), act));
                    }
                }
                ControlFlow::Continue(())
            });
            if let Err(reason) = read {
                let act = "the other steps are shown; TRL writes the file again where the step is \
                           run again";
                problems.push(Problem::of(path, reason, act));
            }
        }
        all
    }

    /// The newest checkpoint's, and that of a run that has ended.
    fn logs(&self) -> Vec<PathBuf> {
        let step = |name: &str| name.strip_prefix("checkpoint-")?.parse::<u64>().ok();
        let folders = entries(&self.root).into_iter();
        let folders = folders.filter_map(|(name, path)| Some((step(&name)?, path.join(STATE))));
        let newest = folders.filter(|(_, path)| path.is_file()).max();
        let own = Some(self.root.join(STATE)).filter(|path| path.is_file());
        newest.map(|(_, path)| path).into_iter().chain(own).collect()
    }

    fn rows(&self, problems: &mut Vec<Problem>) -> Rows {
        let logs = self.logs();
        let seen: Vec<_> = logs.iter().map(|path| Seen::of(path)).collect();
        let mut known = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if known.seen.as_ref() != Some(&seen) {
            let mut problems = Vec::new();
            let rows = history(&logs, &mut problems);
            *known = Logged { seen: Some(seen), rows, problems };
        }
        problems.extend(known.problems.iter().cloned());
        known.rows.clone()
    }

    fn absent(&self) -> &'static [Absent] {
        &[
            Absent {
                name: "texts_alone",
                why: "TRL writes texts, rewards and advantages of the last batch of a step: there \
                      are no tokens, and so no surprisal, entropy, Φ, weight and credit of any",
                act: "read the tree as one of words, and lengths of groups as characters",
            },
            Absent {
                name: "outcome_by_reward",
                why: "TRL says neither what is correct nor what a reward weighs: the reward of a \
                      completion is the plain sum of its functions, and it counts as correct where \
                      that is above 0",
                act: "look at the single rewards of a completion where weights differ",
            },
        ]
    }
}
