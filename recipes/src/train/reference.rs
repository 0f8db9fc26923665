//! The policy at a stage's start, which a KL divergence looks back at.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use engine::{Adapter, Model, Policy};

use super::context::RunContext;
use crate::policy::Policies;

/// The policy at a stage's start. It is saved once, so that a resumed stage has the same one.
#[derive(Debug)]
pub(super) enum Reference {
    /// Other weights than the model's.
    Weights(Box<Model>),
    /// The model's base, without an adapter.
    Base,
    /// The model's base with other values of the adapter.
    Adapter(Box<Adapter>),
}

/// Says in the place of an adapter that the base alone is the reference.
const BASE: &str = "base.json";

impl Reference {
    /// Saves the policy as it is now.
    pub(super) fn save(run: &RunContext<'_>, folder: &Path) -> Result<()> {
        match (run.model.adapter(), run.base) {
            (Some(adapter), Some(base)) if adapter.is_zero()? => {
                let text = serde_json::to_string_pretty(base)?;
                fs::write(folder.join(BASE), text).context("writing the name of the base")
            }
            _ => run.save_policy(folder),
        }
    }

    /// Opens what [`Reference::save`] has saved.
    pub(super) fn open(model: &Model, policies: &Policies<'_>, folder: &Path) -> Result<Self> {
        if model.adapter().is_none() {
            return policies.kept(folder).map(Box::new).map(Self::Weights);
        }
        if folder.join(BASE).is_file() {
            return Ok(Self::Base);
        }
        let (config, dtype, device) = (model.config(), model.dtype(), model.device());
        let adapter = Adapter::open(folder, config, dtype, device)?;
        Ok(Self::Adapter(Box::new(adapter)))
    }

    /// The reference as a policy; `model` is the one that is trained.
    pub(super) fn policy<'a>(&'a self, model: &'a Model) -> engine::Result<Policy<'a>> {
        match self {
            Self::Weights(own) => Ok(own.policy()),
            Self::Base => model.policy().with_adapter(None),
            Self::Adapter(own) => model.policy().with_adapter(Some(own)),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle::{DType, Device};
    use engine::{AdapterConfig, Module, Scaling};
    use evals::run::Files;

    use super::*;
    use crate::builtin::Builtin;
    use crate::config::Recipe;
    use crate::console::Console;
    use crate::run_dir::Base;
    use crate::search_path::SearchPath;
    use crate::signals::Stop;
    use crate::train::pack::score;
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

    /// What a reference that was saved of `model` is, by the files that it left, and the log-probs
    /// of its policy.
    fn referred(model: &Model, text: &engine::Text) -> (Vec<String>, Vec<f32>) {
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
            base: Some(&base),
            problems: &[],
            train: recipe.train(0),
            console: &console,
            verifiers: &verifiers,
            stop: &stop,
        };
        Reference::save(&run, temp.path()).unwrap();
        let reference = Reference::open(model, &policies, temp.path()).unwrap();
        let log_probs = log_probs(reference.policy(model).unwrap());
        let entries = fs::read_dir(temp.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|one| one.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        (names, log_probs)
    }

    fn log_probs(policy: Policy<'_>) -> Vec<f32> {
        let mut table = Table::default();
        table.push_prompt(vec![1, 2]);
        table.push_completion(&[3, 4, 5]);
        score(policy, &table, 1.0, 100).unwrap().log_probs
    }

    #[test]
    fn a_fresh_adapter_is_compared_with_the_base_alone() {
        let (model, text) = adapted(0.0);
        let (files, reference) = referred(&model, &text);
        assert_eq!(files, [BASE], "nothing is copied");
        assert_eq!(reference, log_probs(model.policy()), "to the bit");
    }

    #[test]
    fn a_trained_adapter_is_compared_with_a_copy_of_it() {
        let (model, text) = adapted(0.1);
        let (files, reference) = referred(&model, &text);
        assert_eq!(files, [engine::adapter::CONFIG, engine::adapter::TENSORS]);
        let policy = model.policy();
        assert_eq!(reference, log_probs(policy), "to the bit");
        let base = log_probs(policy.with_adapter(None).unwrap());
        let differs = |(own, base): (&f32, &f32)| own.to_bits() != base.to_bits();
        assert!(reference.iter().zip(&base).all(differs), "the base is another");
    }
}
