mod adapter;
mod epochs;
mod golden;

use candle::DType;
use engine::Scores;
use optim::{Gradients, Objective as _};

use super::super::table::{Credit, Rescored};
use super::*;
use crate::train::params::params;

/// Completions of a prompt, each with its advantage.
type Group<'a> = (&'a [u32], &'a [(f64, &'a [u32])]);

/// A table of these groups, in which completions without advantage are idle.
fn table(groups: &[Group<'_>]) -> Table {
    let mut table = Table::default();
    let mut advantages = Vec::new();
    for (prompt, completions) in groups {
        table.push_prompt(prompt.to_vec());
        for (advantage, tokens) in *completions {
            table.push_completion(tokens);
            advantages.push(*advantage);
        }
    }
    let log_probs = vec![-4.5; table.num_learnt];
    table.scores =
        Rescored { old: Some(Scores { log_probs, ..Scores::default() }), ..Rescored::default() };
    let idle = advantages.iter().map(|&advantage| advantage == 0.0).collect();
    table.credit = Credit { advantages, idle, ..Credit::even(&table, 0.0) };
    table
}

/// A group with a gradient, and one with this advantage.
fn two_groups(advantage: f64) -> Table {
    let other: (f64, &[u32]) = (advantage, &[8, 9, 10]);
    table(&[ACTIVE, (&[2, 2, 2], &[other, other])])
}

const ACTIVE: Group<'_> = (&[1, 2], &[(1.0, &[3, 4]), (-1.0, &[5, 6, 7])]);

fn plan<'a>(model: &'a Model, loss: &'a LossConfig, schedule: &'a Schedule) -> UpdatePlan<'a> {
    UpdatePlan {
        model,
        loss,
        temperature: 1.0,
        activations: Activations::Keep,
        budget: 100,
        epochs: 1,
        updates_per_step: 1,
        seed: 0,
        schedule,
        total_updates: 1,
    }
}

fn model() -> Model {
    let builtin = crate::builtin::Builtin::find("atom").unwrap();
    builtin.make(1, DType::F32, &candle::Device::Cpu).unwrap().0
}

/// Parameters after one update on `groups`, and its report.
fn updated(groups: &Table) -> (Vec<Vec<f32>>, UpdateReport) {
    updated_of(&model(), groups)
}

fn updated_of(model: &Model, groups: &Table) -> (Vec<Vec<f32>>, UpdateReport) {
    let schedule = Schedule::Constant { lr: 1e-3, warmup: 0, warmup_ratio: 0.0 };
    let loss = LossConfig::default();
    let plan = plan(model, &loss, &schedule);
    let still = optim::AdamWConfig { weight_decay: 0.0, ..optim::AdamWConfig::default() };
    let still = optim::OptimConfig::AdamW(still);
    let mut optimizer = Gradient::new(&still, model).unwrap();
    let report = update(&plan, &mut optimizer, groups, 0, &mut |_, _| {}, &mut |_| Ok(())).unwrap();
    let values =
        |parameter: &engine::Parameter| parameter.tensor.flatten_all().unwrap().to_vec1().unwrap();
    (model.parameters().iter().map(values).collect(), report)
}

#[test]
fn an_update_moves_the_trainable_parameters_only() {
    let groups = two_groups(0.0);
    let mut model = model();
    let (before, _) = updated_of(&model, &Table::default());
    model.freeze(|name| !name.contains("norm")).unwrap();
    let (after, report) = updated_of(&model, &groups);
    assert!(report.grad_norm.unwrap() > 0.0);
    for ((parameter, before), after) in model.parameters().iter().zip(&before).zip(&after) {
        assert_eq!(before != after, parameter.trainable, "{}", parameter.name);
    }
}

#[test]
fn a_completion_without_advantage_costs_nothing_and_counts() {
    let with = |advantage| updated(&two_groups(advantage));
    let ((skipped, few), (computed, all)) = (with(0.0), with(1e-30));
    assert_eq!((few.rows, all.rows), (2 + 1 + 2, 2 + 1 + 2 + 3 + 2 + 2));
    assert_eq!((few.tokens, all.tokens), (11, 11));
    let (own, whole) = (few.grad_norm.unwrap(), all.grad_norm.unwrap());
    assert!((own - whole).abs() < 1e-6 * whole);
    // A tenth of the learning rate: Adam magnifies the rounding of gradients near its epsilon.
    for (skipped, computed) in skipped.iter().flatten().zip(computed.iter().flatten()) {
        assert!((skipped - computed).abs() < 1e-4, "{skipped} {computed}");
    }
}

#[test]
fn a_filtered_completion_is_in_no_count() {
    let mut filtered = two_groups(0.0);
    filtered.credit.filtered = vec![false, false, true, true];
    let (_, without) = updated(&filtered);
    let (_, alone) = updated(&table(&[ACTIVE]));
    assert_eq!(without.tokens, 5);
    assert_eq!((without.loss, without.grad_norm), (alone.loss, alone.grad_norm));
}

#[test]
fn a_step_without_any_gradient_costs_nothing_and_moves_nothing() {
    let (after, report) = updated(&table(&[(&[1, 2], &[(0.0, &[3, 4]), (0.0, &[3, 4])])]));
    assert_eq!((report.rows, report.tokens, report.updates), (0, 4, 1));
    assert_eq!((report.loss, report.grad_norm), (0.0, Some(0.0)));
    let (before, _) = updated(&Table::default());
    assert_eq!(after, before);
}

#[test]
fn the_loss_alone_is_the_loss_of_the_gradient() {
    let builtin = crate::builtin::Builtin::find("atom").unwrap();
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let (model, _) = builtin.make(1, dtype, &candle::Device::Cpu).unwrap();
        let loss = LossConfig { entropy_coefficient: 0.1, ..LossConfig::default() };
        let schedule = Schedule::Constant { lr: 1e-3, warmup: 0, warmup_ratio: 0.0 };
        let plan = plan(&model, &loss, &schedule);
        let groups = two_groups(0.5);
        let mut progress = |_, _| {};
        let mut update = UpdateLoss::new(&plan, &groups, &[0, 1], &mut progress).unwrap();
        let value = update.value().unwrap();
        let alone = update.stats;
        let gradients = model.update(|variables| Gradients::new(&params(variables, 1.0)));
        let gradient = update.gradient(&mut gradients.unwrap()).unwrap();
        assert_eq!(value.to_bits(), gradient.to_bits(), "{dtype:?}");
        assert_eq!(alone.sums, update.stats.sums, "{dtype:?}");
    }
}
