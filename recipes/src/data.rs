//! The problems of a run: where they come from, which are set aside, and in which order they come.

use std::collections::HashSet;
use std::io::BufReader;

use anyhow::{Context as _, Result, bail};
use rand_philox::splitmix64;
use rewards::Problem;

use crate::config::{DataConfig, HeldOut, JsonLines, Source};
use crate::identity::{Digesting, Files};
use crate::places::Places;
use crate::random::{draws, shuffled};
use crate::tasks;

/// Problems to train on and problems to be judged by; no text is in both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// Trained on, in the order of their source.
    pub train: Vec<Problem>,
    /// Judged by.
    pub held_out: Vec<Problem>,
    /// Training problems left out because they are held out too.
    pub repeated: usize,
    /// The files that they were read from, as `data.train` and `data.held_out`.
    pub files: Files,
}

/// Reads or makes the problems of a run; `seed` counts where the settings name none.
///
/// # Errors
///
/// Fails when a file is missing or has a broken line, when a task has fewer different problems than
/// asked for, and when nothing is left to train on.
pub fn problems(config: &DataConfig, seed: u64, places: &Places) -> Result<Problems> {
    let seed = config.seed.unwrap_or(seed);
    let mut files = Files::default();
    let mut train = match &config.train {
        Source::Jsonl(file) => read("data.train", file, places, &mut files)?,
        Source::Arithmetic(task) => tasks::arithmetic(task, seed),
        Source::Countdown(task) => tasks::countdown(task, seed)?,
    };
    let held_out = match &config.held_out {
        HeldOut::Jsonl(file) => read("data.held_out", file, places, &mut files)?,
        HeldOut::Split { count } => set_aside(&mut train, count.get(), seed),
    };
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
    Ok(Problems { train, held_out, repeated, files })
}

/// The files of problems that are nowhere to be found, as the recipe names them.
pub fn missing<'a>(config: &'a DataConfig, places: &Places) -> Vec<&'a str> {
    let train = if let Source::Jsonl(file) = &config.train { Some(file) } else { None };
    let held_out = if let HeldOut::Jsonl(file) = &config.held_out { Some(file) } else { None };
    let named = train.into_iter().chain(held_out).map(|file| file.path.as_str());
    named.filter(|path| places.find(path).is_none()).collect()
}

/// The problems in the file that the key `name` has, whose digest goes into `files`.
fn read(name: &str, file: &JsonLines, places: &Places, files: &mut Files) -> Result<Vec<Problem>> {
    let Some(path) = places.find(&file.path) else {
        bail!(
            "{name}: there is no file `{}` in {}; set STEARIN_DATA to the folder that has it",
            file.path,
            places.listed()
        );
    };
    let opened = Digesting::open(&path, "a file of JSON lines").with_context(|| name.to_owned())?;
    let mut rows = BufReader::new(opened);
    let mut problems = rewards::problem::read_problems(&mut rows)
        .with_context(|| format!("{name}: reading {}", path.display()))?;
    files.0.insert(name.to_owned(), rows.into_inner().digest());
    if let Some(limit) = file.limit {
        problems.truncate(limit.get());
    }
    Ok(problems)
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

/// The order in which problems are drawn: pass after pass, each complete.
#[derive(Debug)]
pub struct Order {
    seed: u64,
    len: usize,
    shuffle: bool,
    epoch: Option<u64>,
    permutation: Vec<usize>,
}

impl Order {
    /// The order of `len` problems.
    pub fn new(seed: u64, len: usize, shuffle: bool) -> Self {
        Self { seed, len, shuffle, epoch: None, permutation: Vec::new() }
    }

    /// Index of the problem that comes as number `draw`, counted from 0 over all passes: a function
    /// of the seed and the number alone.
    pub fn at(&mut self, draw: u64) -> usize {
        let (epoch, place) = (draw / self.len as u64, (draw % self.len as u64) as usize);
        if !self.shuffle {
            return place;
        }
        if self.epoch != Some(epoch) {
            let mut words = draws(splitmix64(self.seed ^ splitmix64(epoch)), "order");
            self.permutation = shuffled(self.len, &mut words);
            self.epoch = Some(epoch);
        }
        self.permutation[place]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_pass_is_complete_and_has_its_own_order() {
        let mut order = Order::new(5, 10, true);
        let passes: Vec<Vec<usize>> =
            (0..2).map(|pass| (0..10).map(|i| order.at(pass * 10 + i)).collect()).collect();
        for pass in &passes {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(passes[0], passes[1]);
        // From any number on: what a resumed run asks for.
        assert_eq!(Order::new(5, 10, true).at(17), passes[1][7]);
        assert_eq!(Order::new(5, 10, false).at(17), 7);
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
        let found = problems(&config, 1, &places).unwrap();
        assert_eq!((found.train.len(), found.held_out.len()), (110, 40));
        let judged_by: HashSet<_> = found.held_out.iter().map(|p| &p.problem).collect();
        assert!(found.train.iter().all(|p| !judged_by.contains(&p.problem)));
        assert_eq!(problems(&config, 1, &places).unwrap(), found);
        let own = DataConfig { seed: Some(1), ..config };
        assert_eq!(problems(&own, 2, &places).unwrap(), found, "its own seed counts");
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
        let of =
            |solutions| problems(&toml::from_str(&text(solutions)).unwrap(), 1, &places).unwrap();
        let (one, five) = (of(1), of(5));
        assert_eq!((one.train.len(), one.repeated), (260, 0));
        assert_eq!(one.held_out, five.held_out);
        assert_eq!(five.train.len() + five.repeated, 1500 - 40);
        let judged_by: HashSet<_> = five.held_out.iter().map(|p| &p.problem).collect();
        assert_eq!(judged_by.len(), 40);
        assert!(five.train.iter().all(|p| !judged_by.contains(&p.problem)));
    }
}
