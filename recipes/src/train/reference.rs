//! The policy that the KL terms of a stage look back at.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use engine::{Adapter, Model, Policy};

use super::average::Average;
use super::context::RunContext;
use crate::policy::Policies;
use crate::run_dir::BASE_NOTE;

/// What a stage looks back at. A policy of its start is saved once, so that a resumed stage has the
/// same one.
#[derive(Debug)]
pub(super) enum Reference<'a> {
    /// Other weights than the model's.
    Weights(Box<Model>),
    /// The model's base, without an adapter.
    Base,
    /// The model's base with other values of the adapter.
    Adapter(Box<Adapter>),
    /// The model's base with an adapter that a recipe names.
    Named(&'a Adapter),
    /// A moving average of the policy.
    Average(Average),
}

impl Reference<'_> {
    /// Saves the policy as it is now.
    pub(super) fn save(run: &RunContext<'_>, folder: &Path) -> Result<()> {
        match (run.model.adapter(), run.base) {
            (Some(adapter), Some(base)) if adapter.is_zero()? => {
                let text = serde_json::to_string_pretty(base)?;
                fs::write(folder.join(BASE_NOTE), text).context("writing the name of the base")
            }
            _ => run.save_policy(folder),
        }
    }

    /// Opens what [`Reference::save`] has saved.
    pub(super) fn open(model: &Model, policies: &Policies<'_>, folder: &Path) -> Result<Self> {
        if model.adapter().is_none() {
            return policies.kept(folder).map(Box::new).map(Self::Weights);
        }
        if folder.join(BASE_NOTE).is_file() {
            return Ok(Self::Base);
        }
        let (config, dtype, device) = (model.config(), model.dtype(), model.device());
        let adapter = Adapter::open(folder, config, dtype, device)?;
        Ok(Self::Adapter(Box::new(adapter)))
    }

    /// The average that it is, if it is one.
    pub(super) fn average(&mut self) -> Option<&mut Average> {
        match self {
            Self::Average(average) => Some(average),
            _ => None,
        }
    }

    /// The reference as a policy; `model` is the one that is trained.
    pub(super) fn policy<'a>(&'a self, model: &'a Model) -> engine::Result<Policy<'a>> {
        match self {
            Self::Weights(own) => Ok(own.policy()),
            Self::Base => model.policy().with_adapter(None),
            Self::Adapter(own) => model.policy().with_adapter(Some(own)),
            Self::Named(own) => model.policy().with_adapter(Some(own)),
            Self::Average(own) => own.policy(model),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle::{DType, Device, Tensor};
    use engine::{AdapterConfig, Module, Scaling};
    use evals::run::{Facts, Files};

    use super::*;
    use crate::builtin::Builtin;
    use crate::config::{Recipe, ReferenceChoice};
    use crate::console::Console;
    use crate::policy::NamedAdapters;
    use crate::run_dir::{Base, RunDir, of_this_process};
    use crate::search_path::SearchPath;
    use crate::signals::Stop;
    use crate::train::pack::score;
    use crate::train::stage::StageStart;
    use crate::train::table::Table;
    use crate::verifiers::{RetryPolicy, Verifiers};

    const RECIPE: &str = r#"
        model = { path = "builtin:atom" }
        [data]
        train = { kind = "arithmetic", count = 9, min_digits = 1, max_digits = 1, operations = ["+"] }
        [[stage]]
        kind = "sft"
        steps = 1
        batch = 1
        schedule = { kind = "constant", lr = 1e-3 }
    "#;

    /// The atom with an adapter whose every `B` has this value.
    fn adapted(b: f64) -> (Model, engine::Text) {
        let (model, text) =
            Builtin::find("atom").unwrap().make(1, DType::F32, &Device::Cpu).unwrap();
        let targets = vec![Module::Q, Module::Down];
        let config = AdapterConfig { rank: 2, alpha: 4.0, scaling: Scaling::Rank, targets };
        let fresh = Adapter::fresh(config, model.config(), 1, DType::F32, &Device::Cpu).unwrap();
        let model = model.with_adapter(fresh).unwrap();
        model.update(|variables| {
            for (parameter, variable) in variables.trainable() {
                if parameter.name.ends_with("lora_B.weight") {
                    variable.set(&(variable.zeros_like().unwrap() + b).unwrap()).unwrap();
                }
            }
        });
        (model, text)
    }

    fn choice(text: &str) -> ReferenceChoice {
        #[derive(serde::Deserialize)]
        struct At {
            at: ReferenceChoice,
        }
        toml::from_str::<At>(&format!("at = {text}")).unwrap().at
    }

    /// What a stage that begins with `model` looks back at: the files that it left, and the
    /// log-probs of that policy once `then` is done to it.
    fn looked_at(
        (model, text): &(Model, engine::Text),
        choice: &ReferenceChoice,
        adapters: &NamedAdapters,
        then: impl FnOnce(&mut Reference<'_>),
    ) -> (Vec<String>, Vec<f32>) {
        let temp = tempfile::tempdir().unwrap();
        let recipe = Recipe::parse("small", RECIPE).unwrap();
        let search_path = SearchPath::of_command();
        let policies = Policies::of(&recipe, &search_path, Console::silent()).unwrap();
        let base = Base::of("builtin:atom", None, Some(1), &Files::default());
        let (console, stop) = (Console::silent(), Stop::default());
        let retry_policy = RetryPolicy::new(console.clone(), stop.clone());
        let verifiers = Verifiers::start(&[], &retry_policy).unwrap();
        let run = RunContext {
            recipe: &recipe,
            model,
            text,
            base: model.adapter().map(|_| &base),
            adapters,
            problems: &[],
            train: recipe.train(0),
            console: &console,
            verifiers: &verifiers,
            stop: &stop,
        };
        let root = temp.path().join("run");
        let facts = Facts { seed: 1, ..of_this_process(1) };
        let run_dir = RunDir::create(&root, RECIPE, &facts).unwrap();
        let (policies, run_dir) = (&policies, &run_dir);
        let start = StageStart { run, index: 1, saved: None, run_dir, policies };
        let mut reference = start.reference(choice).unwrap();
        then(&mut reference);
        let log_probs = log_probs(reference.policy(model).unwrap());
        let entries = fs::read_dir(root.join("reference/stage-1")).into_iter().flatten();
        let mut names: Vec<_> =
            entries.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        (names, log_probs)
    }

    /// The same, with nothing done to it and no named adapters.
    fn referred(whole: &(Model, engine::Text), kind: &str) -> (Vec<String>, Vec<f32>) {
        looked_at(whole, &choice(kind), &NamedAdapters::new(), |_| {})
    }

    fn log_probs(policy: Policy<'_>) -> Vec<f32> {
        let mut table = Table::default();
        table.push_prompt(vec![1, 2]);
        table.push_completion(&[3, 4, 5]);
        score(policy, &table, 1.0, 100).unwrap().log_probs
    }

    /// Whether every log-prob is another one.
    fn all_differ(one: &[f32], other: &[f32]) -> bool {
        one.iter().zip(other).all(|(one, other)| one.to_bits() != other.to_bits())
    }

    #[test]
    fn a_fresh_adapter_is_compared_with_the_base_alone() {
        let whole = adapted(0.0);
        let (files, reference) = referred(&whole, "'start'");
        assert_eq!(files, [BASE_NOTE], "nothing is copied");
        assert_eq!(reference, log_probs(whole.0.policy()), "to the bit");
    }

    #[test]
    fn a_trained_adapter_is_compared_with_a_copy_of_it() {
        let whole = adapted(0.1);
        let (files, reference) = referred(&whole, "'start'");
        assert_eq!(files, [engine::adapter::CONFIG, engine::adapter::TENSORS]);
        let policy = whole.0.policy();
        assert_eq!(reference, log_probs(policy), "to the bit");
        let base = log_probs(policy.with_adapter(None).unwrap());
        assert!(all_differ(&reference, &base), "the base is another");
    }

    #[test]
    fn the_base_is_the_model_without_its_adapter() {
        let whole = adapted(0.1);
        let (files, reference) = referred(&whole, "'base'");
        assert_eq!(files, [""; 0], "nothing is kept");
        assert_eq!(reference, log_probs(whole.0.policy().with_adapter(None).unwrap()));
    }

    #[test]
    fn the_base_of_a_run_without_an_adapter_is_what_it_began_with() {
        let builtin = Builtin::find("atom").unwrap();
        let make = |seed| builtin.make(seed, DType::F32, &Device::Cpu).unwrap();
        // Of another seed, as weights that were trained since.
        let (files, reference) = referred(&make(2), "'base'");
        assert!(files.contains(&"model.safetensors".to_owned()), "{files:?}");
        assert_eq!(reference, log_probs(make(1).0.policy()));
    }

    #[test]
    fn a_named_adapter_is_itself_on_the_same_base() {
        let whole = adapted(0.1);
        let config = AdapterConfig {
            rank: 3,
            alpha: 6.0,
            scaling: Scaling::SqrtRank,
            targets: vec![Module::K, Module::Up],
        };
        let mut draw = 0.0;
        let mut get = |_: &str, shape: &[usize]| {
            draw += 0.01;
            Ok(Tensor::full(draw as f32, shape, &Device::Cpu)?)
        };
        let other = Adapter::new(config, whole.0.config(), &mut get, DType::F32, &Device::Cpu);
        let other = other.unwrap();
        let expected = log_probs(whole.0.policy().with_adapter(Some(&other)).unwrap());
        let adapters = NamedAdapters::from([("judge".to_owned(), other)]);
        let kind = choice("{ kind = 'adapter', name = 'judge' }");
        let (files, reference) = looked_at(&whole, &kind, &adapters, |_| {});
        assert_eq!(files, [""; 0], "nothing is kept");
        assert_eq!(reference, expected);
        assert!(all_differ(&reference, &log_probs(whole.0.policy())), "it is not the policy");
    }

    #[test]
    fn an_average_begins_as_the_policy_and_follows_it() {
        let full = Builtin::find("atom").unwrap().make(1, DType::F32, &Device::Cpu).unwrap();
        for whole in [adapted(0.1), full] {
            let policy = log_probs(whole.0.policy());
            let (files, reference) = referred(&whole, "'ema'");
            assert_eq!(files, [""; 0], "checkpoints have it");
            assert_eq!(reference, policy, "to the bit");
            let move_all = |by: f64| {
                whole.0.update(|variables| {
                    for (_, variable) in variables.trainable() {
                        variable.set(&(variable.as_tensor() + by).unwrap()).unwrap();
                    }
                });
            };
            let kind = choice("{ kind = 'ema', decay = 0.5 }");
            let (_, behind) = looked_at(&whole, &kind, &NamedAdapters::new(), |reference| {
                move_all(0.25);
                reference.average().unwrap().follow(&whole.0, 1).unwrap();
            });
            // Half of a power of two is exact.
            move_all(-0.125);
            let expected = log_probs(whole.0.policy());
            let gap = behind.iter().zip(&expected).map(|(one, other)| (one - other).abs());
            assert!(gap.fold(0.0, f32::max) < 1e-4, "{behind:?}, {expected:?}");
            assert!(all_differ(&behind, &policy));
        }
    }
}
