use std::num::{NonZeroU64, NonZeroUsize};

use evals::evaluate::{HELD_OUT, greedy};
use evals::{PromptStyle, benchmark};
use rollout::Sampling;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::stage::{default_one, default_slots};
use super::{MOST_COMPLETIONS, Recipe, Source, best};
use crate::names::nearest;
use crate::verifiers::RewardsConfig;

/// Bytes of a set's name: file systems have 255 for that of a file, of which some are for what ends
/// it.
pub const LONGEST_SET_NAME: usize = 200;

/// Held-out evaluation: before the first step, every `every` steps, and at the end of each stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Steps between evaluations. `"off"`: only before the first step and at the end of each stage.
    ///
    /// Names: verl `test_freq`, HF `eval_steps`, prime-rl `eval.interval`.
    #[serde(with = "settings::off")]
    #[schemars(with = "settings::OrOff<NonZeroU64>")]
    pub every: Option<NonZeroU64>,
    /// Whether there is an evaluation before the first step.
    ///
    /// Names: verl `val_before_train`, HF `eval_on_start`.
    pub at_start: bool,
    /// Whether there is one at the end of each stage.
    pub at_end: bool,
    /// Completions per held-out problem. Accuracy is the mean over all of them (avg@k). With
    /// several there is pass@k for k = 1, 2, 4 and so on up to their number.
    ///
    /// Names: verl `val_kwargs.n`, TRL `num_generations_eval`, prime-rl `eval.group_size`.
    pub samples: NonZeroUsize,
    /// Whether the most likely completion of each problem is judged as well, as a set of its own:
    /// `held-out-greedy`.
    ///
    /// Names: verl `val_kwargs.do_sample = false`.
    pub greedy: bool,
    /// Texts of completions that an evaluation writes down of each problem, the first so many, or
    /// `"off"`. `"all"`: every one. The most likely completion is written down in addition.
    pub texts: Texts,
    /// Problems of each set, the first so many, of whose completions an evaluation writes down the
    /// token columns, in `NAME.safetensors`, or `"off"`.
    #[serde(with = "settings::off")]
    #[schemars(with = "settings::OrOff<NonZeroUsize>")]
    pub tokens: Option<NonZeroUsize>,
    /// Completions that are decoded at a time. On a CPU their number changes memory and speed, not
    /// the completions.
    ///
    /// Names: vLLM `max_num_seqs`.
    pub slots: NonZeroUsize,
    /// How completions are sampled. A temperature of 0 is greedy. Left out, as a whole or a single
    /// key: as in `rollout` of the last stage that samples.
    ///
    /// Names: verl `val_kwargs`, prime-rl `eval.sampling`.
    pub sampling: Sampling,
    /// The verifiers that judge the completions. Left out: the `rewards` of the last stage that has
    /// some.
    pub rewards: RewardsConfig,
    /// Further held-out sets, next to `data.held_out`. Left out: there are none.
    #[serde(rename = "set", skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<EvalSet>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            every: None,
            at_start: true,
            at_end: true,
            samples: default_one(),
            greedy: false,
            texts: Texts::default(),
            tokens: None,
            slots: default_slots(),
            sampling: Sampling::default(),
            rewards: RewardsConfig::default(),
            sets: Vec::new(),
        }
    }
}

/// How many texts of each problem an evaluation writes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"all\", \"off\" or a number of texts")]
pub enum Texts {
    /// So many.
    Count(NonZeroUsize),
    /// By a word.
    Rule(TextsRule),
}

/// A rule for the number of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TextsRule {
    /// Every one.
    All,
    /// None.
    Off,
}

impl Default for Texts {
    fn default() -> Self {
        Self::Count(NonZeroUsize::new(4).expect("4 is not zero"))
    }
}

/// A held-out set by name: a benchmark, or `data`. None of its problems is trained on. What it
/// leaves out is as in `[eval]`, and its prompt as in `[prompt]`; of `sampling` and `prompt` it may
/// set single keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvalSet {
    /// Name of the set. It is part of metric keys and of file names. Left out: that of `bench`.
    #[serde(default)]
    pub name: String,
    /// A benchmark by its name in `stearin eval --list`, such as `"aime24"`. Its problems come from
    /// the folder in `STEARIN_DATA`, or from the hub at a pinned revision. Left out: `data` has the
    /// problems.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bench: Option<String>,
    /// The problems of the set, where it is no benchmark. Left out: those of `bench`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Source>,
    /// Number of problems, drawn with a fixed key, so that a smaller number takes some of those of
    /// a larger one. `"off"`: all.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<NonZeroUsize>")]
    pub limit: Option<NonZeroUsize>,
    /// Steps between evaluations on the set, which need not be a multiple of those of other sets,
    /// or `"off"`. Left out: as in `[eval]`.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<NonZeroU64>")]
    pub every: Option<NonZeroU64>,
    /// Completions per problem. Left out: as in `[eval]`.
    #[serde(default = "default_one")]
    pub samples: NonZeroUsize,
    /// Whether the most likely completion of each problem is judged as well, as the set
    /// `NAME-greedy`. Left out: as in `[eval]`.
    #[serde(default)]
    pub greedy: bool,
    /// How completions are sampled. Left out, as a whole or a single key: as in `[eval.sampling]`.
    #[serde(default)]
    pub sampling: Sampling,
    /// The verifiers that judge the completions. Left out: as in `[eval]`.
    #[serde(default)]
    pub rewards: RewardsConfig,
    /// How problems become prompts. Left out, as a whole or a single key: as in `[prompt]`.
    #[serde(default)]
    pub prompt: PromptStyle,
}

/// A held-out set as it is judged, whether from `data.held_out` or by name.
#[derive(Debug, Clone, Copy)]
pub struct SetSettings<'a> {
    /// Its name.
    pub name: &'a str,
    /// Steps between evaluations, if there are others than at the start and at the end of stages.
    pub every: Option<NonZeroU64>,
    /// Completions per problem.
    pub samples: usize,
    /// Whether the likeliest completion is judged besides.
    pub greedy: bool,
    /// How completions are sampled.
    pub sampling: &'a Sampling,
    /// What judges them.
    pub rewards: &'a RewardsConfig,
    /// How its problems become prompts.
    pub prompt: &'a PromptStyle,
}

impl SetSettings<'_> {
    /// Completions of a problem in one evaluation.
    pub fn completions(&self) -> usize {
        self.samples.saturating_add(usize::from(self.greedy))
    }

    /// Whether the evaluation `name` is that of its likeliest completions.
    pub fn is_greedily(&self, name: &str) -> bool {
        self.greedy && greedy(self.name) == name
    }
}

impl Recipe {
    /// The held-out sets: `data.held_out` where there is one, then those by name.
    pub fn held_out_sets(&self) -> Vec<SetSettings<'_>> {
        let EvalConfig { every, samples, greedy, sampling, rewards, sets, .. } = &self.eval;
        let own = SetSettings {
            name: HELD_OUT,
            every: *every,
            samples: samples.get(),
            greedy: *greedy,
            sampling,
            rewards,
            prompt: &self.prompt,
        };
        let named = sets.iter().map(|set| SetSettings {
            name: &set.name,
            every: set.every,
            samples: set.samples.get(),
            greedy: set.greedy,
            sampling: &set.sampling,
            rewards: &set.rewards,
            prompt: &set.prompt,
        });
        self.data.held_out.iter().map(|_| own).chain(named).collect()
    }

    /// Whether the policy is evaluated on the set after so many steps of the run.
    pub fn is_evaluated(&self, set: &SetSettings<'_>, step: u64) -> bool {
        if step == 0 {
            return self.eval.at_start;
        }
        let is_end = || self.stage_ends().any(|end| end == step);
        set.every.is_some_and(|every| step.is_multiple_of(every.get()))
            || self.eval.at_end && is_end()
    }

    /// How often the policy is evaluated on the set.
    pub fn evaluations(&self, set: &SetSettings<'_>) -> u64 {
        let every = set.every.map_or(u64::MAX, u64::from);
        let ends = self.stage_ends().filter(|end| self.eval.at_end && !end.is_multiple_of(every));
        u64::from(self.eval.at_start) + self.total_steps() / every + ends.count() as u64
    }

    /// Problems of each set whose tokens an evaluation writes down, at most. Without samples of the
    /// steps there are none.
    pub fn evaluated_tokens(&self) -> usize {
        let asked = self.eval.tokens.filter(|_| !self.record.samples.is_off());
        asked.map_or(0, NonZeroUsize::get)
    }

    /// Texts of each problem that an evaluation writes down, at most. Without samples of the steps
    /// there are none.
    pub fn texts(&self) -> usize {
        match self.eval.texts {
            _ if self.record.samples.is_off() => 0,
            Texts::Rule(TextsRule::Off) => 0,
            Texts::Rule(TextsRule::All) => usize::MAX,
            Texts::Count(count) => count.get(),
        }
    }
}

/// Why a set of this name has no files.
fn name_problem(name: &str) -> Option<String> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
        return Some(format!(
            "`{name}` becomes a file: expected letters, digits, `-`, `_` and `.`"
        ));
    }
    let got = name.len();
    (got > LONGEST_SET_NAME).then(|| {
        format!(
            "expected at most {LONGEST_SET_NAME} bytes, since results are stored under it, got {got}"
        )
    })
}

/// Everything wrong with the held-out sets among themselves, each with its key.
pub(super) fn problems(recipe: &Recipe) -> Vec<String> {
    let mut found = Vec::new();
    let mut taken = Vec::new();
    if recipe.data.held_out.is_some() {
        taken.push(HELD_OUT.to_owned());
        taken.extend(recipe.eval.greedy.then(|| greedy(HELD_OUT)));
    }
    for (at, set) in recipe.eval.sets.iter().enumerate() {
        let key = format!("eval.set.{at}");
        let name = &set.name;
        found.extend(origin_problem(set).map(|problem| format!("{key}{problem}")));
        found.extend(name_problem(name).map(|problem| format!("{key}.name: {problem}")));
        for name in [Some(name.clone()), set.greedy.then(|| greedy(name))].into_iter().flatten() {
            if taken.contains(&name) {
                found.push(format!("{key}.name: `{name}` is another set's name, too"));
            }
            taken.push(name);
        }
        let within = |part: &str, own: Vec<String>| {
            own.into_iter().map(|problem| format!("{key}.{part}: {problem}")).collect::<Vec<_>>()
        };
        if set.prompt != recipe.prompt {
            found.extend(within("prompt", set.prompt.problems()));
        }
        if set.rewards != recipe.eval.rewards {
            found.extend(within("rewards", set.rewards.problems()));
        }
    }
    // What is inherited from a stage is said to be wrong there.
    let stages = || recipe.stages.iter().map(super::Stage::settings);
    if !stages().any(|stage| stage.rewards() == Some(&recipe.eval.rewards)) {
        let own = recipe.eval.rewards.problems();
        found.extend(own.into_iter().map(|problem| format!("eval.rewards: {problem}")));
    }
    let own = recipe.data.held_out.iter().map(|_| "eval".to_owned());
    let keys = own.chain((0..recipe.eval.sets.len()).map(|at| format!("eval.set.{at}")));
    for (key, set) in keys.zip(recipe.held_out_sets()) {
        if !stages().any(|stage| stage.sampling() == Some(set.sampling)) {
            let own = set.sampling.problems();
            found.extend(own.into_iter().map(|problem| format!("{key}.sampling: {problem}")));
        }
        greedy_problems(&key, &set, &mut found);
        if set.samples > MOST_COMPLETIONS {
            found.push(format!(
                "{key}.samples: expected at most {MOST_COMPLETIONS} completions, got {}",
                set.samples
            ));
        }
    }
    no_such_set(recipe, &taken, &mut found);
    found.extend(best::figure_problem(recipe));
    found
}

/// What is wrong with where the problems of a set come from.
fn origin_problem(set: &EvalSet) -> Option<String> {
    match (&set.bench, &set.data) {
        (Some(name), None) => {
            let all = benchmark::all().iter().map(|one| one.name.as_str());
            let known = benchmark::find(name).is_some();
            (!known).then(|| {
                let hint = nearest(name, all.clone())
                    .map_or_else(String::new, |name| format!("\ndid you mean `{name}`?"));
                let all: Vec<_> = all.collect();
                format!(
                    ".bench: there is no benchmark `{name}`; there are {}{hint}",
                    all.join(", ")
                )
            })
        }
        (None, Some(_)) => None,
        (Some(_), Some(_)) => Some(": expected `bench` or `data`, got both".to_owned()),
        (None, None) => Some(": expected `bench` or `data`, got neither".to_owned()),
    }
}

/// What is asked of sets that there are not; `taken` are the names of those that there are.
fn no_such_set(recipe: &Recipe, taken: &[String], found: &mut Vec<String>) {
    const NONE: &str = "add `data.held_out` or an `[[eval.set]]`";
    if let Some(by) = &recipe.checkpoint.best
        && !taken.contains(&by.set)
        && by.set != HELD_OUT
    {
        let sets =
            if taken.is_empty() { NONE.into() } else { format!("there are {}", taken.join(", ")) };
        found.push(format!("checkpoint.best.set: there is no set `{}`; {sets}", by.set));
    } else if let Some(by) = &recipe.checkpoint.best
        && by.set != HELD_OUT
        && recipe.best_by().is_none()
    {
        found.push(format!(
            "checkpoint.best.set: the set `{}` is evaluated after no step: give it an `every`, or set \
             `eval.at_end = true`",
            by.set
        ));
    }
    if let (true, Some(every)) = (taken.is_empty(), recipe.eval.every) {
        found.push(format!("eval.every: there is nothing to evaluate every {every} steps; {NONE}"));
    }
}

/// What says greedy twice.
fn greedy_problems(key: &str, set: &SetSettings<'_>, found: &mut Vec<String>) {
    if set.sampling.temperature > 0.0 {
        return;
    }
    if set.samples > 1 {
        found.push(format!(
            "{key}.samples: {} greedy completions ({key}.sampling.temperature = 0) are all the \
             same; set `samples = 1` or a temperature",
            set.samples
        ));
    }
    if set.greedy {
        found.push(format!(
            "{key}.greedy: {key}.sampling.temperature = 0 is greedy already; remove `greedy` or \
             set a temperature"
        ));
    }
}
