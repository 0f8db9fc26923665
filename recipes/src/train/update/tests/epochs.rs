//! Several passes over the groups of a step.

use proptest::prelude::*;

use super::*;
use crate::train::pack::score;

const OTHER: Group<'_> = (&[2, 2, 2], &[(0.5, &[8, 9, 10]), (-0.5, &[11, 12])]);

fn schedule(lr: f64) -> Schedule {
    Schedule::Linear { lr, warmup: 0, warmup_ratio: 0.0, min_ratio: 0.0 }
}

/// A table of these groups in which every column says which token it is about.
fn told_apart(groups: &[Group<'_>]) -> Table {
    let mut table = table(groups);
    let each = |value: fn(f64) -> f64| table.tokens.iter().map(move |&token| value(token.into()));
    let log_probs = each(|token| -4.0 - token / 100.0).map(|value| value as f32).collect();
    table.credit.weights = each(|token| 1.0 + token / 10.0).collect();
    table.scores.old = Some(Scores { log_probs, ..Scores::default() });
    table
}

fn values(model: &Model) -> Vec<Vec<f32>> {
    let own = |one: &engine::Parameter| one.tensor.flatten_all().unwrap().to_vec1().unwrap();
    model.parameters().iter().map(own).collect()
}

#[test]
fn two_epochs_are_two_updates_by_hand() {
    let (loss, schedule) = (LossConfig::default(), schedule(1e-2));
    let (one, other) = (model(), model());
    let twice =
        |seed| UpdatePlan { epochs: 2, total_updates: 2, seed, ..plan(&one, &loss, &schedule) };
    // With some seed the second epoch takes the groups the other way round.
    let turns = |plan: &UpdatePlan<'_>| plan.updates(2).eq([[0, 1], [1, 0]]);
    let twice = (0..64).map(twice).find(turns).unwrap();
    let mut adam = Gradient::new(&optim::OptimConfig::default(), &one).unwrap();
    let table = told_apart(&[ACTIVE, OTHER]);
    let seen = update(&twice, &mut adam, &table, 0, &mut |_, _| {}, &mut |_| Ok(())).unwrap();

    let once = UpdatePlan { model: &other, epochs: 1, ..twice };
    let mut adam = Gradient::new(&optim::OptimConfig::default(), &other).unwrap();
    let mut by_hand = |groups: &[Group<'_>], first| {
        update(&once, &mut adam, &told_apart(groups), first, &mut |_, _| {}, &mut |_| Ok(()))
            .unwrap()
    };
    let (first, second) = (by_hand(&[ACTIVE, OTHER], 0), by_hand(&[OTHER, ACTIVE], 1));
    assert_eq!(values(&one), values(&other));
    assert_eq!((seen.updates, seen.tokens, seen.rows), (2, 2 * first.tokens, 2 * first.rows));
    let mean = f64::midpoint(first.loss, second.loss);
    assert_eq!((seen.lr, seen.loss), (second.lr, mean));
    assert!(first.lr > second.lr);
}

#[test]
fn only_after_the_first_epoch_ratios_differ_from_1_and_clips_act() {
    let (loss, schedule) = (LossConfig::default(), schedule(1e-1));
    let seen = |epochs| {
        let model = model();
        let mut table = table(&[ACTIVE, OTHER]);
        let scores = score(model.policy(), &table, 1.0, 100).unwrap();
        table.scores.old = None;
        table.rollout = Some(scores);
        let plan = UpdatePlan { epochs, total_updates: 9, ..plan(&model, &loss, &schedule) };
        let mut adam = Gradient::new(&optim::OptimConfig::default(), &model).unwrap();
        update(&plan, &mut adam, &table, 0, &mut |_, _| {}, &mut |_| Ok(())).unwrap()
    };
    let (one, two) = (seen(1), seen(2));
    assert_eq!((one.sums.clipped, one.sums.ppo_kl()), (0, 0.0));
    assert!(two.sums.clipped > 0 && two.sums.ppo_kl() != 0.0, "{two:?}");
    // How far sampling is from training is a matter of the first update.
    assert_eq!((one.gap.max, two.gap.max), (0.0, 0.0));
}

proptest! {
    #[test]
    fn every_group_is_in_one_update_of_every_epoch(
        groups in 1_usize..40, epochs in 1_usize..5, updates in 1_usize..9, seed: u64,
    ) {
        let (loss, schedule) = (LossConfig::default(), schedule(1e-2));
        let model = model();
        let plan = plan(&model, &loss, &schedule);
        let plan = UpdatePlan { epochs, updates_per_step: updates, seed, ..plan };
        let all: Vec<Vec<usize>> = plan.updates(groups).collect();
        prop_assert_eq!(all.len(), epochs * updates.min(groups));
        let taken: Vec<usize> = all.concat();
        prop_assert_eq!(&taken[..groups], (0..groups).collect::<Vec<_>>());
        for epoch in taken.chunks(groups) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..groups).collect::<Vec<_>>());
        }
        if groups > 20 {
            let mut orders: Vec<_> = taken.chunks(groups).collect();
            orders.dedup();
            prop_assert_eq!(orders.len(), epochs, "each has an order of its own");
            let other = UpdatePlan { seed: seed ^ (1 << 40), ..plan };
            prop_assert!(epochs == 1 || other.updates(groups).ne(all), "and so has each step");
        }
    }
}
