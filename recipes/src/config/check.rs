//! What a recipe's settings must keep among themselves; everything wrong is said at once.

use super::{BaseChoice, DTypeChoice, DeviceChoice, HeldOut, Recipe, Source, StageSettings, Train};
use crate::tasks::Arithmetic;

/// All problems of a recipe, each with the key to change.
pub(super) fn problems(recipe: &Recipe) -> Vec<String> {
    let mut found = Problems(Vec::new());
    check_run(recipe, &mut found);
    check_data(recipe, &mut found);
    for (index, stage) in recipe.stages.iter().enumerate() {
        let (at, stage) = (format!("stage.{index}"), stage.settings());
        check_descent(&at, stage, &mut found);
        found.0.extend(stage.problems().into_iter().map(|problem| format!("{at}.{problem}")));
    }
    found.0
}

struct Problems(Vec<String>);

impl Problems {
    fn need(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    /// Problems that a component found in its own settings.
    fn all(&mut self, table: &str, problems: Vec<String>) {
        self.0.extend(problems.into_iter().map(|problem| format!("{table}: {problem}")));
    }
}

fn check_run(recipe: &Recipe, found: &mut Problems) {
    let name = &recipe.name;
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    found.need(!name.starts_with('.') && name.chars().all(plain), || {
        format!("name: `{name}` becomes a folder: expected letters, digits, `-`, `_` and `.` only")
    });
    found.need(!recipe.stages.is_empty(), || {
        "stage: there is none; add a `[[stage]]` with `kind = \"sft\"` or `\"rl\"`".into()
    });
    let model = &recipe.model;
    found.need(model.device == DeviceChoice::Cpu || cfg!(feature = "cuda"), || {
        "model.device: `cuda` needs a build with `--features cuda`; this one has the CPU only"
            .into()
    });
    let on_cuda = model.device == DeviceChoice::Cuda;
    found.need(!on_cuda || model.dtype != DTypeChoice::Bf16, || {
        "model.dtype: `bf16` on CUDA keeps the weights themselves in bf16, where most of an update \
         is rounded away; train with `f32`"
            .into()
    });
    check_adapter(recipe, found);
    found.all("prompt", recipe.prompt.problems());
    found.all("record.samples", recipe.record.samples.problems());
    found.0.extend(super::eval::problems(recipe));
}

/// What is trained in place of the weights, and the settings that need it.
fn check_adapter(recipe: &Recipe, found: &mut Problems) {
    let model = &recipe.model;
    let Some(adapter) = &model.adapter else {
        found.need(model.base.is_none(), || {
            "model.base: weights that are trained are f32; add [model.adapter], or remove `base`"
                .into()
        });
        for (index, stage) in recipe.stages.iter().enumerate() {
            let ratio = stage.settings().descent().optim.lr_ratio_b();
            found.need(ratio.is_none(), || {
                format!(
                    "stage.{index}.optim.lr_ratio_b: it is of the matrices of an adapter, and there \
                     is none; add [model.adapter], or remove `lr_ratio_b`"
                )
            });
        }
        return;
    };
    let problems = adapter.problems().into_iter();
    found.0.extend(problems.map(|problem| format!("model.adapter.{problem}")));
    found.need(model.device == DeviceChoice::Cpu || model.base() == BaseChoice::F32, || {
        "model.base: on CUDA the weights cannot stay as stored yet; write base = \"f32\"".into()
    });
}

fn check_data(recipe: &Recipe, found: &mut Problems) {
    let data = &recipe.data;
    check_train("data", &data.train, data.held_out.as_ref(), found);
    for (index, stage) in recipe.stages.iter().enumerate() {
        if let Some(own) = stage.settings().data() {
            check_train(&format!("stage.{index}.data"), &own.train, data.held_out.as_ref(), found);
        }
    }
    if let Some((rows, _)) = data.held_out.as_ref().and_then(HeldOut::rows) {
        found.0.extend(rows.problems("data.held_out"));
    }
    for (at, set) in recipe.eval.sets.iter().enumerate() {
        let data = set.data.iter();
        found.0.extend(data.flat_map(|it| source_problems(&format!("eval.set.{at}.data"), it)));
    }
    let made = data.train.sources().iter().map(|(_, _, source)| source.count()).sum::<Option<_>>();
    if let (Some(made), Some(HeldOut::Split { count })) = (made, &data.held_out) {
        found.need(count.get() < made, || {
            format!("data.held_out.count: {count} of {made} problems leave none to train on")
        });
    }
}

fn check_train(table: &str, train: &Train, held_out: Option<&HeldOut>, found: &mut Problems) {
    found.0.extend(train.problems().into_iter().map(|problem| format!("{table}.{problem}")));
    for (at, _, source) in train.sources() {
        let key = format!("{table}.train{at}");
        found.0.extend(source_problems(&key, source));
        if let (Some((train, _)), Some((held_out, _))) =
            (source.rows(), held_out.and_then(HeldOut::rows))
        {
            found.need(train.path != held_out.path, || {
                format!(
                    "data.held_out.path: `{}` is the file of {key}, too; use `kind = \"split\"` to set \
                     some of it aside",
                    held_out.path
                )
            });
        }
    }
}

/// Everything wrong with a source by itself.
pub(crate) fn source_problems(key: &str, source: &Source) -> Vec<String> {
    let mut found = Problems(Vec::new());
    match source {
        Source::Arithmetic(task) => check_arithmetic(key, task, &mut found),
        Source::Countdown(task) => found.all(key, task.problems()),
        Source::Jsonl(rows) | Source::File(rows) => found.0.extend(rows.problems(key)),
    }
    found.0
}

fn check_arithmetic(key: &str, task: &Arithmetic, found: &mut Problems) {
    let (low, high) = (task.min_digits, task.max_digits);
    found.need(low <= high, || format!("{key}.min_digits: {low} is more than max_digits = {high}"));
    found.need(high <= Arithmetic::MOST_DIGITS, || {
        format!("{key}.max_digits: {high} is more than {}", Arithmetic::MOST_DIGITS)
    });
    found.need((0.0..=1.0).contains(&task.slips), || {
        format!("{key}.slips: {} is a share, from 0 to 1", task.slips)
    });
    found.need(!task.operations.is_empty(), || {
        format!("{key}.operations: there is none; add \"+\" or \"-\"")
    });
    if low <= high && high <= Arithmetic::MOST_DIGITS && !task.operations.is_empty() {
        let distinct = task.distinct();
        found.need(task.count.get() as u64 <= distinct, || {
            format!("{key}.count: {} problems, but only {distinct} are different", task.count)
        });
    }
}

fn check_descent(at: &str, stage: &dyn StageSettings, found: &mut Problems) {
    found.all(&format!("{at}.optim"), stage.descent().optim.problems());
    found.all(&format!("{at}.schedule"), stage.descent().schedule.problems());
    let total = stage.total_updates();
    let warmup = stage.descent().schedule.warmup(total);
    found.need(warmup < total, || {
        format!(
            "{at}.schedule: a warm-up of {warmup} never ends in {total} updates: set \
             {at}.schedule.warmup to less, or warmup_ratio in its place"
        )
    });
    let (updates, batch) = (stage.descent().updates_per_step, stage.batch());
    found.need(updates <= batch, || {
        format!("{at}.updates_per_step: {updates} updates cannot share a batch of {batch}")
    });
}
