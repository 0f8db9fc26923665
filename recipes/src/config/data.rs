use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use settings::off::OFF;

use super::AnswerFrom;
use crate::tasks::{Arithmetic, Countdown};

/// The largest weight of a source: sums of weights stay exact enough to draw by.
const MOST_WEIGHT: f64 = 1e9;

/// The problems of a run: those it trains on, and those it is only judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// What the run trains on: one source, or a list of sources. Each source of a list has a
    /// `name`, and a `weight` where they are to be mixed by weight.
    ///
    /// Names: verl `train_files`, TRL `dataset_name`, prime-rl `train.source`.
    pub train: Train,
    /// The problems that the run is judged by, as the set `held-out`. None of them is trained on.
    /// Left out: there is no such set, and the run is judged by those of `eval.set`, or not at all.
    ///
    /// Names: verl `val_files`, HF `eval_dataset`, prime-rl `eval.source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// Seed of generated problems and of the split, so that runs with different seeds can share
    /// them. Left out: the run's seed.
    ///
    /// Names: HF `data_seed`, verl `data.seed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Whether each pass over the training problems has an order of its own, drawn from the seed.
    /// With `false` every pass has the order of the files.
    ///
    /// Names: verl `data.shuffle`, TRL `shuffle_dataset`.
    #[serde(default = "default_true")]
    pub shuffle: bool,
    /// Longest prompt of a training problem, in tokens. Longer problems are dropped, and the run
    /// says which. Held-out problems are limited by the model's context only.
    ///
    /// Names: verl `max_prompt_length`.
    #[serde(default = "default_max_prompt_tokens")]
    pub max_prompt_tokens: NonZeroUsize,
    /// Longest solution that supervised stages learn, in tokens, the one that ends it included.
    /// Problems with longer ones are dropped, and so are those whose solution does not fit the
    /// model's context after its prompt; the run says which. `"off"`: none is dropped, and one that
    /// does not fit is an error.
    ///
    /// Names: verl `max_length`, TRL `max_length`.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<NonZeroUsize>")]
    pub max_solution_tokens: Option<NonZeroUsize>,
}

/// The problems of one stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StageData {
    /// What the stage trains on, in place of `data.train`.
    pub train: Train,
}

/// What a run or a stage trains on.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "TrainingData")]
pub enum Train {
    /// One source.
    One(Source),
    /// Several sources, each with a name, and with a weight where they are mixed by weight.
    Many(Vec<NamedSource>),
}

/// One of several sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NamedProblemSource")]
pub struct NamedSource {
    /// Name of the source. Metrics count its problems by it.
    ///
    /// Names: verl `data_source`.
    pub name: String,
    /// How often the source is drawn, relative to the weights of the others. All sources have a
    /// weight or none. Left out: the sources are one list, and a pass draws every problem once.
    ///
    /// Names: prime-rl `ratio`, datasets `probabilities`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<f64>,
    /// Where its problems come from.
    #[serde(flatten)]
    pub source: Source,
}

settings::by_shape! { Train: "a table with `kind` or a list of tables";
    table => Train::One,
    list => Train::Many,
}

impl Train {
    /// Its sources, each with its key in a recipe below `data.train` and its name.
    pub fn sources(&self) -> Vec<(String, Option<&str>, &Source)> {
        match self {
            Self::One(source) => vec![(String::new(), None, source)],
            Self::Many(sources) => (0..)
                .zip(sources)
                .map(|(at, one): (usize, _)| (format!(".{at}"), Some(&*one.name), &one.source))
                .collect(),
        }
    }

    /// The sources that are drawn by weight, by name; none where all problems are one list.
    pub fn weights(&self) -> Vec<(String, f64)> {
        let Self::Many(sources) = self else { return Vec::new() };
        let weights = sources.iter().map(|one| Some((one.name.clone(), one.weight?)));
        weights.collect::<Option<_>>().unwrap_or_default()
    }

    /// Everything wrong with it, each with its key from `train` on.
    pub(super) fn problems(&self) -> Vec<String> {
        let Self::Many(sources) = self else { return Vec::new() };
        let mut found = Vec::new();
        if sources.is_empty() {
            found.push("train: there is no source".to_owned());
        }
        let weighted = sources.iter().filter(|one| one.weight.is_some()).count();
        if weighted != 0 && weighted != sources.len() {
            found.push(format!(
                "train: {weighted} of {} sources have a weight: expected all or none",
                sources.len()
            ));
        }
        for (at, one) in sources.iter().enumerate() {
            let mut wrong = |problem: String| found.push(format!("train.{at}.{problem}"));
            if one.name.trim().is_empty() {
                wrong("name: expected a name, got nothing".into());
            }
            if sources[..at].iter().any(|other| other.name == one.name) {
                wrong(format!("name: `{}` is another source's name, too", one.name));
            }
            let is_weight = |weight: &f64| *weight > 0.0 && *weight <= MOST_WEIGHT;
            if let Some(weight) = one.weight.filter(|weight| !is_weight(weight)) {
                wrong(format!(
                    "weight: expected more than 0 and at most {MOST_WEIGHT}, got {weight}"
                ));
            }
            if one.source.rows().is_some_and(|(rows, _)| rows.columns.source.is_some()) {
                wrong(
                    "columns.source: its name is the source of all of its rows; remove one".into(),
                );
            }
        }
        found
    }
}

/// Where problems come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
#[schemars(rename = "ProblemSource")]
pub enum Source {
    /// A file with one JSON object a line.
    Jsonl(Rows),
    /// Files of any known format: JSON lines, JSON arrays, CSV, Parquet; a folder of them, or a
    /// data set on a hub. docs/data.md says more.
    File(Rows),
    /// Sums and differences with their worked columns, made on the spot.
    Arithmetic(Arithmetic),
    /// Numbers and a target to reach with them by steps of arithmetic, made on the spot.
    Countdown(Countdown),
}

settings::tagged!(Source);

/// Rows in files, and what their columns mean.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// The file. It is looked for beside the recipe, in the working directory and in
    /// `STEARIN_DATA`. With `kind = "file"` also a folder, a pattern such as
    /// `data/train-*.parquet`, or `hf://datasets/owner/name[@revision][/path]`.
    ///
    /// Names: verl `train_files`, TRL `dataset_name`.
    pub path: String,
    /// Number of rows that are taken, from the start: the rest is not read. Of sorted files it is
    /// no sample; shuffle these first. The `limit` of an `[[eval.set]]` draws its problems.
    /// `"off"`: all.
    ///
    /// Names: verl `train_max_samples`.
    #[serde(default, with = "settings::off")]
    #[schemars(with = "settings::OrOff<NonZeroUsize>")]
    pub limit: Option<NonZeroUsize>,
    /// Which columns hold the problem, the answer and so on. Left out: columns with known names
    /// (docs/data.md).
    #[serde(default, skip_serializing_if = "Columns::is_default")]
    pub columns: Columns,
    /// How the answer is taken from its column, or from the solution where there is no such column.
    /// `"text"` takes all of it, `"boxed"` the last `\boxed{...}`. Any other text is a marker that
    /// precedes the answer, such as `"####"`. Left out: what follows `####` if the text has
    /// one; else, of a solution, the last box, and of an answer, all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer_from: Option<AnswerFrom>,
}

/// Names of the columns that mean something, with dots between for nested values, such as
/// `reward_model.ground_truth`. One that is left out is found by its known names; `"off"` says that
/// there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(rename = "RowColumns")]
pub struct Columns {
    /// The question: text, or a chat as a list of turns. Several columns of text are joined with an
    /// empty line between them. Left out: a column with a known name.
    ///
    /// Names: verl `prompt_key`, TRL `prompt`, TRL `messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Names>,
    /// The gold answer: text, a number or a boolean. Left out: a column with a known name.
    ///
    /// Names: verl `ground_truth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// A worked solution, which supervised stages learn. Left out: a column with a known name.
    ///
    /// Names: TRL `completion`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub solution: Option<String>,
    /// The name of a row, unique in its file. Left out: a column with a known name, or the number
    /// of the row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where a row comes from. Metrics are counted by it. Left out: a column with a known name, or
    /// the name of the file.
    ///
    /// Names: verl `data_source`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Columns that are handed on to `process` and `http` verifiers. Left out: all that have no
    /// other use. `level` and `difficulty` are always kept, for evaluations.
    ///
    /// Names: verl `extra_info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<String>>,
}

impl Rows {
    /// Everything wrong with them, each with its key below `key`.
    pub(super) fn problems(&self, key: &str) -> Vec<String> {
        let problem = self.columns.problem.iter().flat_map(Names::all);
        let is_off = problem.filter(|name| *name == OFF).count() > 0;
        let said = || {
            format!(
                "{key}.columns.problem: got \"{OFF}\", but every row needs a problem: name its column, or \
                 leave the key out to find it by its known names"
            )
        };
        is_off.then(said).into_iter().collect()
    }
}

impl Columns {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The name of a column, or of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ColumnNames")]
pub enum Names {
    /// One.
    One(String),
    /// Several, in this order.
    Many(Vec<String>),
}

settings::by_shape! { Names: "the name of a column or a list of names";
    text => Names::One,
    list => Names::Many,
}

impl Names {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        let names = match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Many(names) => names,
        };
        names.iter().map(String::as_str)
    }
}

/// The problems that a run is judged by; never among those it trains on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
#[schemars(rename = "HeldOutData")]
pub enum HeldOut {
    /// Set aside from the training source, drawn by the seed.
    Split {
        /// Number of problems that are set aside.
        ///
        /// Names: datasets `test_size`.
        count: NonZeroUsize,
    },
    /// A file of JSON lines, as for training.
    Jsonl(Rows),
    /// Files of any known format, as for training.
    File(Rows),
}

settings::tagged!(HeldOut);

fn default_true() -> bool {
    true
}

fn default_max_prompt_tokens() -> NonZeroUsize {
    NonZeroUsize::new(512).expect("512 is not zero")
}

impl Source {
    /// Its files, if it has any, and whether they may be other than one of JSON lines.
    pub(crate) fn rows(&self) -> Option<(&Rows, bool)> {
        match self {
            Self::Jsonl(rows) => Some((rows, false)),
            Self::File(rows) => Some((rows, true)),
            Self::Arithmetic(_) | Self::Countdown(_) => None,
        }
    }

    /// How many problems it makes; `None` where only the file knows.
    pub(super) fn count(&self) -> Option<usize> {
        match self {
            Self::Jsonl(_) | Self::File(_) => None,
            Self::Arithmetic(task) => Some(task.count.get()),
            Self::Countdown(task) => Some(task.count.get()),
        }
    }
}

impl HeldOut {
    /// Its files, as [`Source::rows`].
    pub(crate) fn rows(&self) -> Option<(&Rows, bool)> {
        match self {
            Self::Jsonl(rows) => Some((rows, false)),
            Self::File(rows) => Some((rows, true)),
            Self::Split { .. } => None,
        }
    }
}
