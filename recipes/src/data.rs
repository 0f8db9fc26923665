//! The problems of a run: where they come from, which are set aside, and in which order they come.
//!
//! Reading order: this file; `data/reading.rs` reads the sources, `data/files.rs` finds their
//! files, `data/rows.rs` reads the rows in any format, `data/columns.rs` makes problems of them.

mod answer;
mod benchmark;
mod chat;
mod columns;
mod csv;
mod files;
mod gold;
mod located;
mod order;
mod parquet;
mod reading;
mod roles;
mod row;
mod rows;
mod same;

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};
use evals::evaluate::HELD_OUT;
use evals::run::Files;
use rewards::Problem;

use crate::config::{MOST_COMPLETIONS, Recipe, SetSettings, Source, Stage};
use crate::search_path::SearchPath;
use crate::verifiers::RewardsConfig;
pub use benchmark::{Located, chosen, normal, rows_sha256};
use gold::Reader;
pub use located::{DataFile, located, missing};
pub use order::Order;
use reading::Reading;
pub use same::{question, questions, repeats};

/// Problems to train on and problems to be judged by; none of the first is a copy of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Trained on, in the order of their source.
    pub train: Vec<Problem>,
    /// What stages train on that have data of their own; none of the others.
    pub stages: Vec<Option<Vec<Problem>>>,
    /// Judged by: those of `data.held_out`, where there is one.
    pub held_out: Option<Vec<Problem>>,
    /// Judged by, too: the problems of each of `eval.set`.
    pub sets: Vec<Vec<Problem>>,
    /// Training problems left out because they are held out too.
    pub repeated: usize,
    /// The files that they were read from, as `data.train` and `data.held_out`; of several files
    /// with their names behind a slash.
    pub files: Files,
    /// How files were read where that is not plain from the recipe, one line each.
    pub notes: Vec<String>,
}

impl Problems {
    /// The problems of each held-out set, in the order of [`Recipe::held_out_sets`].
    pub fn judged_by(&self) -> impl Iterator<Item = &Vec<Problem>> {
        self.held_out.iter().chain(&self.sets)
    }

    /// A line about rows that are not trained on since they are held out.
    pub fn left_out(&self) -> Option<String> {
        match self.repeated {
            0 => None,
            1 => Some("1 row is not trained on: it has the text of a held-out problem".to_owned()),
            rows => {
                Some(format!("{rows} rows are not trained on: they ask what held-out problems do"))
            }
        }
    }

    /// How many problems each stage trains on.
    pub fn trained_on(&self, recipe: &Recipe) -> Vec<usize> {
        (0..recipe.stages.len()).map(|index| self.of_stage(index).len()).collect()
    }

    /// What a stage trains on.
    pub fn of_stage(&self, index: usize) -> &[Problem] {
        self.stages.get(index).and_then(Option::as_ref).unwrap_or(&self.train)
    }
}

/// Reads or makes the problems of a run.
///
/// # Errors
///
/// Fails when a file is missing or has a broken row, when a row lacks the answer that a verifier
/// reads, when a task has fewer different problems than asked for, and when nothing is left to
/// train on.
pub fn problems(recipe: &Recipe, search_path: &SearchPath) -> Result<Problems> {
    let stages: Vec<_> = recipe.stages.iter().map(Stage::settings).collect();
    let reads_columns = |rewards: &RewardsConfig| rewards.reads_columns();
    let keep = recipe.held_out_sets().iter().any(|set| reads_columns(set.rewards))
        || stages.iter().filter_map(|stage| stage.rewards()).any(reads_columns);
    let learns = recipe.any_on_shared_data(|stage| stage.learns_solutions());
    let (files, notes) = Default::default();
    let mut reading = Reading { search_path, keep, learns, files, notes };
    // Who reads the answers of a stage's problems.
    let reader = |index: usize| {
        let rewards = stages[index].rewards();
        rewards.map_or(Reader::Nobody, |rewards| {
            Reader::of(rewards, &format!("stage.{index}.rewards"))
        })
    };
    let on_shared = (0..stages.len()).filter(|&index| stages[index].data().is_none());
    let readers =
        [Reader::first(on_shared.map(reader)), Reader::of(&recipe.eval.rewards, "eval.rewards")];
    let (mut train, held_out) = reading.shared(&recipe.data, recipe.seed, &readers)?;
    let seed = recipe.data.seed.unwrap_or(recipe.seed);
    let sets = recipe.eval.sets.iter().map(|set| reading.set(set, seed));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    let judged_by = questions(held_out.iter().chain(&sets).flatten());
    let mut repeated = without(&mut train, &judged_by, "data")?;
    has_all("data.train", &train, &recipe.data.train.weights())?;
    let mut own = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let Some(data) = stage.data() else {
            own.push(None);
            continue;
        };
        let key = format!("stage.{index}.data.train");
        let mut problems = reading.train(&key, &data.train, &reader(index), seed)?;
        repeated += without(&mut problems, &judged_by, &key)?;
        has_all(&key, &problems, &data.train.weights())?;
        own.push(Some(problems));
    }
    for (set, list) in recipe.held_out_sets().iter().zip(held_out.iter().chain(&sets)) {
        can_be_judged(set, list.len())?;
    }
    let Reading { files, notes, .. } = reading;
    Ok(Problems { train, stages: own, held_out, sets, repeated, files, notes })
}

/// Refuses an evaluation of so many problems that no memory holds it.
fn can_be_judged(set: &SetSettings<'_>, problems: usize) -> Result<()> {
    let (name, each) = (set.name, set.completions());
    let key = if name == HELD_OUT { "eval".to_owned() } else { format!("eval.set `{name}`") };
    ensure!(
        problems.saturating_mul(each) <= MOST_COMPLETIONS,
        "{key}.samples: expected at most {MOST_COMPLETIONS} completions in an evaluation, got \
         {problems} problems x {each}"
    );
    Ok(())
}

/// Takes the problems out that ask what the held-out ones do, and returns their number.
fn without(problems: &mut Vec<Problem>, judged_by: &HashSet<String>, key: &str) -> Result<usize> {
    let before = problems.len();
    if !judged_by.is_empty() {
        problems.retain(|problem| !judged_by.contains(&question(problem)));
    }
    let repeated = before - problems.len();
    if problems.is_empty() {
        bail!(
            "{key}: no problem is left to train on: {} are held out, {repeated} of the rest are \
             the same as those",
            judged_by.len()
        );
    }
    Ok(repeated)
}

/// Refuses to train on no problem, and on problems among which a source that is drawn by weight has
/// none.
pub(crate) fn has_all(key: &str, problems: &[Problem], weights: &[(String, f64)]) -> Result<()> {
    ensure!(!problems.is_empty(), "{key}: there is no problem to train on");
    let none = weights.iter().find(|(name, _)| problems.iter().all(|one| one.source != *name));
    match none {
        Some((name, _)) => bail!(
            "{key}: no problem of the source `{name}` is left to train on: raise its limits or remove \
             it"
        ),
        None => Ok(()),
    }
}

/// The problems of one source by itself, with all columns of their rows; what was read; and how,
/// where that is not plain. `name` is what messages call it, `answers` says who reads its answers.
///
/// # Errors
///
/// Fails where [`problems`] does on a source.
pub fn source(
    name: &str,
    source: &Source,
    search_path: &SearchPath,
    answers: Option<&str>,
    seed: u64,
) -> Result<(Vec<Problem>, Files, Vec<String>)> {
    let (files, notes) = (Files::default(), Vec::new());
    let mut reading = Reading { search_path, keep: true, learns: false, files, notes };
    let answers = answers.map_or(Reader::Nobody, |by| Reader::Own(by.to_owned()));
    let problems = reading.source(name, source, &answers, seed)?;
    Ok((problems, reading.files, reading.notes))
}

/// What to do where a row has no answer; the columns that it has, where they are known.
fn no_answer(by: &str, has: Option<&str>) -> String {
    let has = has.map_or_else(String::new, |has| format!(": {has}"));
    format!(
        "no answer, which {by} reads{has}\nname its column by columns.answer, or set answer_from to \
         how the solution states it; if the data has none, judge by a verifier of your own \
         (docs/verifiers.md), or leave data.held_out out if these problems are held out"
    )
}

/// Why a supervised stage refuses a problem.
pub(crate) const NO_SOLUTION: &str = "no solution to learn: a supervised stage learns the column \
     `solution`, or the assistant turn that ends a chat\nname the column by columns.solution, leave \
     the problem out, or remove the stage";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::DataConfig;

    fn made(config: &DataConfig, seed: u64, search_path: &SearchPath) -> Problems {
        let (files, notes) = Default::default();
        let mut reading = Reading { search_path, keep: false, learns: false, files, notes };
        let (mut train, held_out) =
            reading.shared(config, seed, &[Reader::Nobody, Reader::Nobody]).unwrap();
        let repeated = without(&mut train, &questions(held_out.iter().flatten()), "data").unwrap();
        let Reading { files, notes, .. } = reading;
        let (stages, sets) = Default::default();
        Problems { train, stages, held_out, sets, repeated, files, notes }
    }

    #[test]
    fn held_out_problems_are_not_trained_on() {
        let text = r#"
            train = { kind = "arithmetic", count = 150, min_digits = 1, max_digits = 1,
                      operations = ["+", "-"] }
            held_out = { kind = "split", count = 40 }
        "#;
        let config: DataConfig = toml::from_str(text).unwrap();
        let search_path = SearchPath::of_recipe(Path::new(""));
        let found = made(&config, 1, &search_path);
        let held_out = found.held_out.as_ref().unwrap();
        assert_eq!((found.train.len(), held_out.len()), (110, 40));
        let judged_by: HashSet<_> = held_out.iter().map(|p| &p.problem).collect();
        assert!(found.train.iter().all(|p| !judged_by.contains(&p.problem)));
        assert_eq!(made(&config, 1, &search_path), found);
        let none = DataConfig { held_out: None, ..config.clone() };
        let all = made(&none, 1, &search_path);
        assert_eq!((all.train.len(), all.held_out, all.repeated), (150, None, 0));
        let own = DataConfig { seed: Some(1), ..config };
        assert_eq!(made(&own, 2, &search_path), found, "its own seed counts");
    }

    #[test]
    fn the_same_problems_are_held_out_however_many_solutions_they_have() {
        let text = |solutions| {
            format!(
                "train = {{ kind = \"countdown\", count = 300, solutions = {solutions} }}
                 held_out = {{ kind = \"split\", count = 40 }}"
            )
        };
        let search_path = SearchPath::of_recipe(Path::new(""));
        let of = |solutions| made(&toml::from_str(&text(solutions)).unwrap(), 1, &search_path);
        let (one, five) = (of(1), of(5));
        assert_eq!((one.train.len(), one.repeated), (260, 0));
        assert_eq!(one.held_out, five.held_out);
        assert_eq!(five.train.len() + five.repeated, 1500 - 40);
        let judged_by: HashSet<_> = five.held_out.iter().flatten().map(|p| &p.problem).collect();
        assert_eq!(judged_by.len(), 40);
        assert!(five.train.iter().all(|p| !judged_by.contains(&p.problem)));
    }
}
