//! verl: a line a completion in `<rollout_data_dir>/STEP.jsonl` and
//! `<validation_data_dir>/STEP.jsonl`, metrics of the logger `file`.
//!
//! Source: verl 0.9.1, `trainer/ppo/ray_trainer.py` (`_dump_generations`),
//! `trainer/ppo/v1/trainer_base.py`, `utils/tracking.py` (`FileLogger`).

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use rewards::Outcome;
use serde_json::{Map, Value};

use super::super::{Seen, entries, open_file};
use super::log::Log;
use super::rows::{Rows, python};
use super::steps::lines;
use super::told::Told;
use super::{Absent, Origin, Problem, Reader};

/// Bytes of the first line of a file by which it is known.
const FIRST: u64 = 1 << 24;
/// Keys that are no figures of the reward.
const OWN: [&str; 7] = ["input", "output", "gts", "score", "step", "uid", "request_id"];

/// The files of a run.
#[derive(Debug)]
pub(super) struct Verl {
    root: PathBuf,
    rollouts: Option<PathBuf>,
    validation: Option<PathBuf>,
    log: Log,
}

impl Verl {
    /// The run at `root`: a folder of rollouts, or one with a folder of rollouts and one of
    /// validations or a log beside it.
    pub(super) fn find(root: &Path) -> Option<Self> {
        let own = |rollouts, validation| Self {
            root: root.to_owned(),
            rollouts,
            validation,
            log: Log::default(),
        };
        if has_rollouts(root) {
            return Some(own(Some(root.to_owned()), None));
        }
        let folders = entries(root).into_iter().filter(|(_, path)| path.is_dir());
        let (mut validation, mut rollouts): (Vec<_>, Vec<_>) = folders
            .filter(|(_, path)| has_rollouts(path))
            .partition(|(name, _)| name.to_lowercase().contains("val"));
        if rollouts.len() > 1 || validation.len() > 1 {
            return None;
        }
        let path = |found: Option<(String, PathBuf)>| found.map(|(_, path)| path);
        let found = own(path(rollouts.pop()), path(validation.pop()));
        let is_one = match (&found.rollouts, &found.validation) {
            (Some(_), Some(_)) => true,
            // A lone folder of rollouts is a run itself, under its own name.
            (Some(_), None) => !found.logs().is_empty(),
            (None, _) => false,
        };
        is_one.then_some(found)
    }
}

/// The completion of a line.
fn told(object: &Map<String, Value>) -> Result<Told, String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let input = text("input").ok_or("expected an `input` that is text")?;
    let output = text("output").ok_or("expected an `output` that is text")?;
    let score = object.get("score").ok_or("expected a `score`")?;
    let reward = score.as_f64().unwrap_or(f64::NAN);
    let gold = match object.get("gts") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let figure = |value: &Value| {
        value.as_f64().or_else(|| value.as_bool().map(|own| f64::from(u8::from(own))))
    };
    let accuracy = object.get("acc").and_then(figure);
    let extras = object.iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    let metrics = extras.filter_map(|(key, value)| Some((key.clone(), figure(value)?)));
    Ok(Told {
        group: text("uid").map_or_else(|| input.to_owned(), |uid| format!("uid {}", sample(uid))),
        source: text("data_source").unwrap_or_default().to_owned(),
        problem: question(input).to_owned(),
        prompt: input.to_owned(),
        gold,
        text: output.to_owned(),
        answer: text("pred").map(str::to_owned),
        outcome: outcome(accuracy.map_or(reward > 0.0, |own| own > 0.5)),
        reward,
        parts: BTreeMap::from([("score".to_owned(), reward)]),
        metrics: metrics.collect(),
        advantage: None,
        kept: true,
        is_cut: false,
        tokens: None,
    })
}

/// Correct or not, which is all that is known.
pub(super) fn outcome(is_correct: bool) -> Outcome {
    if is_correct { Outcome::Correct } else { Outcome::Wrong }
}

/// The sample of a `uid` "{sample}_{rollout}_{output}"; other ones are of a sample as they are.
fn sample(uid: &str) -> &str {
    let parts: Vec<_> = uid.rsplitn(3, '_').collect();
    let is_number =
        |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() == 3 && parts[..2].iter().all(is_number) { parts[2] } else { uid }
}

/// The last turn of the user in a decoded prompt, where it is seen; else all of it. Special tokens
/// are left out, so that roles stand on lines of their own.
fn question(input: &str) -> &str {
    let Some((_, question)) = input.rsplit_once("user\n") else { return input };
    question.trim_end().strip_suffix("assistant").unwrap_or(question).trim()
}

fn step_of(name: &str) -> Option<u64> {
    name.strip_suffix(".jsonl")?.parse().ok()
}

fn steps_in(folder: &Path) -> BTreeMap<u64, PathBuf> {
    let entries = entries(folder).into_iter();
    entries.filter_map(|(name, path)| Some((step_of(&name)?, path))).collect()
}

fn has_rollouts(folder: &Path) -> bool {
    let first = steps_in(folder).into_values().next();
    let line = first.and_then(|path| first_line(&path));
    line.is_some_and(|line| ["input", "output", "score"].iter().all(|key| line.contains_key(*key)))
}

/// The first line of a file as an object.
fn first_line(path: &Path) -> Option<Map<String, Value>> {
    let mut line = Vec::new();
    let file = open_file(path).ok()??;
    BufReader::new(file.take(FIRST)).read_until(b'\n', &mut line).ok()?;
    match python(&line) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// Whether a file is one of the logger `file`.
fn is_log(path: &Path) -> bool {
    first_line(path).is_some_and(|line| {
        line.get("step").is_some_and(Value::is_u64)
            && line.get("data").is_some_and(Value::is_object)
    })
}

impl Reader for Verl {
    fn origin(&self) -> Origin {
        Origin::Verl
    }

    fn steps(&self) -> BTreeMap<u64, Vec<Seen>> {
        let found = self.rollouts.iter().flat_map(|folder| steps_in(folder));
        found.map(|(step, path)| (step, vec![Seen::of(&path)])).collect()
    }

    fn read(&self, _: u64, files: &[Seen], problems: &mut Vec<Problem>) -> Vec<Told> {
        let mut all = Vec::new();
        for Seen { path, .. } in files {
            for (number, value) in lines(path, problems) {
                match value.as_object().ok_or_else(String::new).and_then(told) {
                    Ok(told) => all.push(told),
                    Err(reason) => problems.push(Problem {
                        act: "this line is skipped; verl 0.9.1 is known".into(),
                        ..Problem::of_line(path, number, reason)
                    }),
                }
            }
        }
        all
    }

    fn logs(&self) -> Vec<PathBuf> {
        let here = entries(&self.root);
        let below = here.iter().filter(|(_, path)| path.is_dir());
        let below: Vec<_> = below.flat_map(|(_, path)| entries(path)).collect();
        let logs = here.into_iter().chain(below).filter(|(name, path)| {
            name.strip_suffix(".jsonl").is_some() && step_of(name).is_none() && is_log(path)
        });
        logs.map(|(_, path)| path).collect()
    }

    fn rows(&self, problems: &mut Vec<Problem>) -> Rows {
        self.log.read(&self.logs(), problems, &|path, number, line, rows| {
            let step = line.get("step").and_then(Value::as_u64);
            let values = line.get("data").and_then(Value::as_object);
            if let (Some(step), Some(values)) = (step, values) {
                rows.extend(step, values, |key| Some(key.to_owned()));
                return None;
            }
            Some(Problem {
                act: "this line is skipped; verl 0.9.1 is known".into(),
                ..Problem::of_line(path, number, "expected a `step` and `data`")
            })
        })
    }

    fn held_out(&self) -> BTreeMap<String, BTreeMap<u64, PathBuf>> {
        let found =
            self.validation.as_ref().map(|folder| ("validation".to_owned(), steps_in(folder)));
        found.into_iter().collect()
    }

    fn absent(&self) -> &'static [Absent] {
        &[
            Absent {
                name: "texts_alone",
                why: "verl writes texts and scores of its rollouts: there are no tokens, and so no \
                      surprisal, entropy, Φ, weight and credit of any",
                act: "read the tree as one of words, and lengths of groups as characters",
            },
            Absent {
                name: "outcome_by_score",
                why: "a completion counts as correct by `acc`, and where there is none by a score \
                      above 0",
                act: "add `acc` to what the reward function returns, to have it by that",
            },
        ]
    }
}
