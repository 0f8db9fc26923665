//! Reading the problems of sources.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use anyhow::{Context as _, Result, bail};
use evals::run::Files;
use rand_philox::splitmix64;
use rewards::Problem;
use rewards::rows::brief;

use super::benchmark::{Located, chosen};
use super::columns::Mapping;
use super::gold::{Reader, Unanswered};
use super::rows::{self, Accept};
use super::same::question;
use super::{NO_SOLUTION, files, no_answer};
use crate::config::{DataConfig, EvalSet, HeldOut, Rows, Source, Train};
use crate::random::{draws, shuffled};
use crate::search_path::SearchPath;
use crate::tasks;

/// Files of problems while they are read.
pub(super) struct Reading<'a> {
    pub(super) search_path: &'a SearchPath,
    /// Whether further columns are kept.
    pub(super) keep: bool,
    /// Whether a stage learns the solutions of the problems of the run.
    pub(super) learns: bool,
    pub(super) files: Files,
    pub(super) notes: Vec<String>,
}

impl Reading<'_> {
    /// The problems of the run: those to train on, and those held out, of which the first may have
    /// copies. `readers` read the answers of either.
    pub(super) fn shared(
        &mut self,
        config: &DataConfig,
        seed: u64,
        readers: &[Reader; 2],
    ) -> Result<(Vec<Problem>, Option<Vec<Problem>>)> {
        const KEY: &str = "data.held_out";
        let seed = config.seed.unwrap_or(seed);
        let [answers, judged] = readers;
        // Problems that are set aside come from the same rows.
        let is_split = matches!(config.held_out, Some(HeldOut::Split { .. }));
        let sets_aside = is_split && *judged == Reader::Outside;
        let handed = if sets_aside { Reader::Outside } else { Reader::Nobody };
        let of_train = Reader::first([answers.clone(), handed].into_iter());
        let mut train = self.train("data.train", &config.train, &of_train, seed)?;
        let held_out = match &config.held_out {
            Some(HeldOut::Jsonl(rows)) => Some(self.read(KEY, rows, Accept::Lines, judged)?),
            Some(HeldOut::File(rows)) => Some(self.read(KEY, rows, Accept::Any, judged)?),
            Some(HeldOut::Split { count }) => Some(set_aside(&mut train, count.get(), seed)),
            None => None,
        };
        // First, because such a chat has no answer either, and its solution is what is wanted.
        if let Some(problem) = train.iter().find(|one| self.learns && one.solution.is_none()) {
            bail!("data.train: problem {}: {NO_SOLUTION}", problem.id);
        }
        let all = held_out.as_deref().unwrap_or_default();
        if let (true, Some(by)) = (is_split, judged.own())
            && let Some(problem) = all.iter().find(|problem| problem.answer.is_empty())
        {
            bail!("{KEY}: problem {}: {}", problem.id, no_answer(by, None));
        }
        Ok((train, held_out))
    }

    /// The problems of all sources of the list that the key `list` has, in their order.
    pub(super) fn train(
        &mut self,
        list: &str,
        train: &Train,
        answers: &Reader,
        seed: u64,
    ) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        for (at, name, source) in train.sources() {
            let mut own = self.source(&format!("{list}{at}"), source, answers, seed)?;
            if let Some(name) = name {
                for problem in &mut own {
                    name.clone_into(&mut problem.source);
                }
            }
            problems.append(&mut own);
        }
        Ok(problems)
    }

    /// The problems of a held-out set. Those that are made are others than those trained on, and
    /// other sets have others.
    pub(super) fn set(&mut self, set: &EvalSet, seed: u64) -> Result<Vec<Problem>> {
        let answers = Reader::of(&set.rewards, "the set");
        let word = |word, byte: u8| splitmix64(word ^ u64::from(byte));
        let seed = set.name.bytes().fold(seed, word);
        let name = format!("eval.set `{}`", set.name);
        let benchmark = set.bench.as_deref().and_then(evals::benchmark::find);
        let located = benchmark.map(|one| Located::new(one, None)).transpose();
        let located = located.with_context(|| name.clone())?;
        let problems = match (&located, &set.data) {
            (Some(located), _) => {
                let problems = self.source(&name, &located.source, &answers, seed)?;
                located.check(&problems).with_context(|| name.clone())?;
                problems
            }
            (None, Some(source)) => self.source(&name, source, &answers, seed)?,
            (None, None) => bail!("{name}: expected `bench` or `data`, got neither"),
        };
        let chosen = chosen(problems.len(), set.limit);
        Ok(chosen.into_iter().map(|number| problems[number].clone()).collect())
    }

    /// The problems of the source that the key `name` has.
    pub(super) fn source(
        &mut self,
        name: &str,
        source: &Source,
        answers: &Reader,
        seed: u64,
    ) -> Result<Vec<Problem>> {
        match source {
            Source::Jsonl(rows) => self.read(name, rows, Accept::Lines, answers),
            Source::File(rows) => self.read(name, rows, Accept::Any, answers),
            Source::Arithmetic(task) => Ok(tasks::arithmetic(task, seed)),
            Source::Countdown(task) => tasks::countdown(task, seed),
        }
    }

    /// The problems in the files that the key `name` has; `answers` says who reads their answers.
    fn read(
        &mut self,
        name: &str,
        rows: &Rows,
        accept: Accept,
        answers: &Reader,
    ) -> Result<Vec<Problem>> {
        let found = files::find(&rows.path, self.search_path, accept == Accept::Lines)
            .with_context(|| name.to_owned())?;
        self.notes.extend(found.note.map(|note| format!("{name}: {note}")));
        let (mut problems, mut unanswered) = (Vec::new(), Unanswered::default());
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
                let is_empty = problem.answer.is_empty();
                match answers {
                    Reader::Own(by) if is_empty => return Err(mapping.lacks_answer(by, row)),
                    Reader::Outside => {
                        let empty = is_empty.then(|| (at.to_string(), row));
                        unanswered.count(&file, &mapping, empty);
                    }
                    _ => {}
                }
                if let Some(earlier) = seen.insert(problem.id.clone(), at) {
                    let id = brief(&problem.id);
                    return Err(format!(
                        "id `{id}` stands on {earlier} too: ids are unique\nname another column by \
                         columns.id, or number the rows by columns.id = \"off\""
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
        self.notes.extend(unanswered.note(name, &rows.columns));
        Ok(problems)
    }
}

/// Takes `count` problems out, the first row of each; rows that ask the same are one problem.
fn set_aside(problems: &mut Vec<Problem>, count: usize, seed: u64) -> Vec<Problem> {
    let mut texts = HashSet::new();
    let different: Vec<usize> =
        (0..problems.len()).filter(|&row| texts.insert(question(&problems[row]))).collect();
    let order = shuffled(different.len(), &mut draws(seed, "split"));
    let chosen: HashSet<usize> = order.into_iter().take(count).map(|i| different[i]).collect();
    let (mut aside, mut rest) = (Vec::new(), Vec::new());
    for (index, problem) in problems.drain(..).enumerate() {
        if chosen.contains(&index) { aside.push(problem) } else { rest.push(problem) }
    }
    *problems = rest;
    aside
}
