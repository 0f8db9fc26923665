//! What a recipe's settings must keep among themselves; everything wrong is said at once.

use std::collections::BTreeMap;

use super::{
    BaseChoice, DTypeChoice, DeviceChoice, HeldOut, NamedAdapter, Recipe, Source, Stage,
    StageSettings, Train,
};
use crate::names::nearest;
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
    check_named(recipe, found);
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

/// The adapters that references name.
fn check_named(recipe: &Recipe, found: &mut Problems) {
    let adapters = &recipe.model.adapters;
    found.need(adapters.is_empty() || recipe.model.adapter.is_some(), || {
        "model.adapters: they are added to weights that do not change, and here all weights are \
         trained; add [model.adapter], or remove `adapters`"
            .into()
    });
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    for (name, adapter) in adapters {
        found.need(!name.is_empty() && name.chars().all(plain), || {
            format!(
                "model.adapters: `{name}` is no name of an adapter: expected letters, digits, `-` and \
                 `_` only"
            )
        });
        found.need(!adapter.from.is_empty(), || {
            format!(
                "model.adapters.{name}.from: expected a folder, a .gguf file or a run, got nothing"
            )
        });
    }
    for (index, stage) in recipe.stages.iter().enumerate() {
        let Stage::Rl(stage) = stage else { continue };
        let named = stage.reference.adapter().filter(|name| !adapters.contains_key(*name));
        found.0.extend(named.map(|name| unknown_adapter(index, name, adapters)));
    }
}

/// That a stage refers to an adapter that is not there.
fn unknown_adapter(stage: usize, name: &str, adapters: &BTreeMap<String, NamedAdapter>) -> String {
    let key = format!("stage.{stage}.reference.name");
    if adapters.is_empty() {
        return format!(
            "{key}: there are no [model.adapters]; add `[model.adapters.{name}]` with `from`, or use \
             another kind of reference"
        );
    }
    let names = || adapters.keys().map(String::as_str);
    let meant = nearest(name, names()).map(|meant| format!("\ndid you mean `{meant}`?"));
    let names: Vec<_> = names().collect();
    format!(
        "{key}: there is no adapter `{name}` in [model.adapters]; there are: {}{}",
        names.join(", "),
        meant.unwrap_or_default()
    )
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
