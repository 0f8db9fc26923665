//! The problems of a run: where they come from, which are set aside, and in which order they come.
//!
//! Reading order: this file; `data/files.rs` finds the files, `data/rows.rs` reads their rows in
//! any format, `data/columns.rs` makes problems of them.

mod answer;
mod chat;
mod columns;
mod csv;
mod files;
mod order;
mod parquet;
mod roles;
mod row;
mod rows;

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use anyhow::{Context as _, Result, bail};
use rewards::Problem;
use rewards::rows::brief;

use crate::config::{DataConfig, HeldOut, Recipe, Rows, Source, Stage, Train};
use crate::identity::Files;
use crate::places::Places;
use crate::random::{draws, shuffled};
use crate::tasks;
use columns::Mapping;
pub use order::Order;
use rows::Accept;

/// Problems to train on and problems to be judged by; no text is in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Trained on, in the order of their source.
    pub train: Vec<Problem>,
    /// Judged by.
    pub held_out: Vec<Problem>,
    /// Training problems left out because they are held out too.
    pub repeated: usize,
    /// The files that they were read from, as `data.train` and `data.held_out`; of several files
    /// with their names behind a slash.
    pub files: Files,
    /// How files were read where that is not plain from the recipe, one line each.
    pub notes: Vec<String>,
}

/// Reads or makes the problems of a run.
///
/// # Errors
///
/// Fails when a file is missing or has a broken row, when a row lacks the answer that a verifier
/// reads, when a task has fewer different problems than asked for, and when nothing is left to
/// train on.
pub fn problems(recipe: &Recipe, places: &Places) -> Result<Problems> {
    read_all(&recipe.data, recipe.seed, &Needs::of(recipe), places)
}

/// What a recipe's verifiers read of a row.
#[derive(Debug, Default)]
struct Needs {
    /// Who reads the answers of training problems.
    train_answers: Option<String>,
    /// Who reads the answers of held-out problems.
    held_out_answers: Option<String>,
    /// Whether any may read further columns.
    columns: bool,
}

impl Needs {
    fn of(recipe: &Recipe) -> Self {
        let stages = || {
            recipe.stages.iter().enumerate().filter_map(|(at, stage)| match stage {
                Stage::Rl(config) => Some((at, &config.rewards)),
                Stage::Sft(_) => None,
            })
        };
        let eval = &recipe.eval.rewards;
        Self {
            train_answers: stages().find_map(|(at, rewards)| {
                Some(format!("`{}` of stage.{at}.rewards", rewards.reads_answers()?))
            }),
            held_out_answers: eval.reads_answers().map(|kind| format!("`{kind}` of eval.rewards")),
            columns: eval.reads_columns() || stages().any(|(_, rewards)| rewards.reads_columns()),
        }
    }
}

fn read_all(config: &DataConfig, seed: u64, needs: &Needs, places: &Places) -> Result<Problems> {
    let seed = config.seed.unwrap_or(seed);
    let mut reading =
        Reading { places, keep: needs.columns, files: Files::default(), notes: Vec::new() };
    let mut train = reading.train(&config.train, needs.train_answers.as_deref(), seed)?;
    let answers = needs.held_out_answers.as_deref();
    let held_out = match &config.held_out {
        HeldOut::Jsonl(rows) => reading.read("data.held_out", rows, Accept::Lines, answers)?,
        HeldOut::File(rows) => reading.read("data.held_out", rows, Accept::Any, answers)?,
        HeldOut::Split { count } => set_aside(&mut train, count.get(), seed),
    };
    if let (HeldOut::Split { .. }, Some(by)) = (&config.held_out, answers)
        && let Some(problem) = held_out.iter().find(|problem| problem.answer.is_empty())
    {
        bail!("data.held_out: problem {}: {}", problem.id, no_answer(by));
    }
    let judged_by: HashSet<&str> = held_out.iter().map(|p| p.problem.as_str()).collect();
    let before = train.len();
    train.retain(|p| !judged_by.contains(p.problem.as_str()));
    let repeated = before - train.len();
    if train.is_empty() {
        bail!(
            "data: no problem is left to train on: {} are held out, {repeated} of the rest are \
             the same as those",
            held_out.len()
        );
    }
    has_all(&train, &config.train.weights())?;
    let Reading { files, notes, .. } = reading;
    Ok(Problems { train, held_out, repeated, files, notes })
}

/// Refuses problems among which a source that is drawn by weight has none.
pub(crate) fn has_all(problems: &[Problem], weights: &[(String, f64)]) -> Result<()> {
    let none = weights.iter().find(|(name, _)| problems.iter().all(|one| one.source != *name));
    match none {
        Some((name, _)) => bail!(
            "data.train: no problem of the source `{name}` is left to train on: raise its limits or \
             remove it"
        ),
        None => Ok(()),
    }
}

/// The files of problems that are nowhere to be found, as the recipe names them.
pub fn missing<'a>(config: &'a DataConfig, places: &Places) -> Vec<&'a str> {
    let train = config.train.sources().into_iter().filter_map(|(_, _, source)| source.rows());
    let paths = train.chain(config.held_out.rows()).map(|(rows, _)| rows.path.as_str());
    paths.filter(|path| !files::is_here(path, places)).collect()
}

/// Files of problems while they are read.
struct Reading<'a> {
    places: &'a Places,
    /// Whether further columns are kept.
    keep: bool,
    files: Files,
    notes: Vec<String>,
}

impl Reading<'_> {
    /// The problems of all sources, in their order.
    fn train(&mut self, train: &Train, answers: Option<&str>, seed: u64) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for (at, name, source) in train.sources() {
            let key = format!("data.train{at}");
            let mut own = match source {
                Source::Jsonl(rows) => self.read(&key, rows, Accept::Lines, answers)?,
                Source::File(rows) => self.read(&key, rows, Accept::Any, answers)?,
                Source::Arithmetic(task) => tasks::arithmetic(task, seed),
                Source::Countdown(task) => tasks::countdown(task, seed)?,
            };
            if let Some(name) = name {
                for problem in &mut own {
                    name.clone_into(&mut problem.source);
                }
            }
            problems.append(&mut own);
        }
        Ok(problems)
    }

    /// The problems in the files that the key `name` has; `answers` says who reads their answers.
    fn read(
        &mut self,
        name: &str,
        rows: &Rows,
        accept: Accept,
        answers: Option<&str>,
    ) -> Result<Vec<Problem>> {
        let found = files::find(&rows.path, self.places, accept == Accept::Lines)
            .with_context(|| name.to_owned())?;
        self.notes.extend(found.note.map(|note| format!("{name}: {note}")));
        let mut problems = Vec::new();
        let is_only_file = found.files.len() == 1;
        for path in &found.files {
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            let mut mapping = Mapping::new(rows, &file, is_only_file).keeping(self.keep);
            let limit = rows.limit.map_or(usize::MAX, NonZeroUsize::get);
            let mut seen = HashMap::new();
            let mut number = 0;
            let digest = rows::read(path, accept, &mut |at, row| {
                if problems.len() == limit {
                    return Ok(());
                }
                number += 1;
                let problem = mapping.problem(number, row)?;
                if let (true, Some(by)) = (problem.answer.is_empty(), answers) {
                    return Err(no_answer(by));
                }
                if let Some(earlier) = seen.insert(problem.id.clone(), at) {
                    let id = brief(&problem.id);
                    return Err(format!(
                        "id `{id}` stands on {earlier} too: ids are unique\nname another column by \
                         columns.id, or number the rows by `id = \"off\"`"
                    ));
                }
                problems.push(problem);
                Ok(())
            })
            .with_context(|| format!("{name}: reading {}", path.display()))?;
            let role = if is_only_file { name.to_owned() } else { format!("{name}/{file}") };
            self.files.0.insert(role, digest);
            self.notes.extend(mapping.report().map(|how| format!("{name}: {file}: {how}")));
        }
        Ok(problems)
    }
}

fn no_answer(by: &str) -> String {
    format!(
        "no answer, which {by} reads\nname its column by columns.answer, or set answer_from to how \
         the solution states it"
    )
}

/// Takes `count` problems out, the first row of each; rows with the same text are one problem.
fn set_aside(problems: &mut Vec<Problem>, count: usize, seed: u64) -> Vec<Problem> {
    let mut texts = HashSet::new();
    let different: Vec<usize> =
        (0..problems.len()).filter(|&row| texts.insert(problems[row].problem.as_str())).collect();
    let order = shuffled(different.len(), &mut draws(seed, "split"));
    let chosen: HashSet<usize> = order.into_iter().take(count).map(|i| different[i]).collect();
    let (mut aside, mut rest) = (Vec::new(), Vec::new());
    for (index, problem) in problems.drain(..).enumerate() {
        if chosen.contains(&index) { aside.push(problem) } else { rest.push(problem) }
    }
    *problems = rest;
    aside
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn made(config: &DataConfig, seed: u64, places: &Places) -> Problems {
        read_all(config, seed, &Needs::default(), places).unwrap()
    }

    #[test]
    fn held_out_problems_are_not_trained_on() {
        let text = r#"
            train = { kind = "arithmetic", count = 150, min_digits = 1, max_digits = 1,
                      operations = ["+", "-"] }
            held_out = { kind = "split", count = 40 }
        "#;
        let config: DataConfig = toml::from_str(text).unwrap();
        let places = Places::of_recipe(Path::new(""));
        let found = made(&config, 1, &places);
        assert_eq!((found.train.len(), found.held_out.len()), (110, 40));
        let judged_by: HashSet<_> = found.held_out.iter().map(|p| &p.problem).collect();
        assert!(found.train.iter().all(|p| !judged_by.contains(&p.problem)));
        assert_eq!(made(&config, 1, &places), found);
        let own = DataConfig { seed: Some(1), ..config };
        assert_eq!(made(&own, 2, &places), found, "its own seed counts");
    }

    #[test]
    fn the_same_problems_are_held_out_however_many_solutions_they_have() {
        let text = |solutions| {
            format!(
                "train = {{ kind = \"countdown\", count = 300, solutions = {solutions} }}
                 held_out = {{ kind = \"split\", count = 40 }}"
            )
        };
        let places = Places::of_recipe(Path::new(""));
        let of = |solutions| made(&toml::from_str(&text(solutions)).unwrap(), 1, &places);
        let (one, five) = (of(1), of(5));
        assert_eq!((one.train.len(), one.repeated), (260, 0));
        assert_eq!(one.held_out, five.held_out);
        assert_eq!(five.train.len() + five.repeated, 1500 - 40);
        let judged_by: HashSet<_> = five.held_out.iter().map(|p| &p.problem).collect();
        assert_eq!(judged_by.len(), 40);
        assert!(five.train.iter().all(|p| !judged_by.contains(&p.problem)));
    }
}
