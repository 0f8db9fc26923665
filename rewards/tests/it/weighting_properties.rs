//! What holds for the weights of any step.

use proptest::prelude::*;

use rewards::weighting::{
    Action, AdaptiveReweight, AutoReweight, ClipCov, Gate, KlCov, NamedOperation, Operation,
    Reweight, Select, Stare, Table, Ties, TopEntropy, budget,
};
use rewards::{LossTerms, Scope, TokenWeighting, WeightingConfig};
use serde_json::{Value, json};

use crate::weighting::{Columns, scores, stare, value};

/// Samples of tokens, each drawn from a distribution of its own; all surprisals differ.
fn step() -> impl Strategy<Value = Columns> {
    let sample = (prop_oneof![Just(0.0), -2.0..2.0f64], 1usize..9);
    (prop::collection::vec(sample, 0..12), any::<u64>())
        .prop_map(|(samples, seed)| drawn(&samples, seed))
}

/// Tokens with an advantage and a length for each sample, as a policy would draw them.
fn drawn(samples: &[(f64, usize)], seed: u64) -> Columns {
    let mut words = rand_philox::Philox::from_u64_seed(seed);
    let mut unit = || rand_philox::u32_to_unit_f64(words.next_u32());
    let mut columns = Columns { seed, ..Columns::default() };
    for &(advantage, length) in samples {
        let start = columns.advantages.len();
        for _ in 0..length {
            let logits: Vec<f64> = (0..6).map(|_| 6.0 * unit()).collect();
            let (log_probs, entropy, sum) = scores(&logits);
            let mut left = unit();
            let token = log_probs
                .iter()
                .position(|log_prob| {
                    left -= log_prob.exp();
                    left < 0.0
                })
                .unwrap_or(5);
            columns.surprisals.push(-log_probs[token] as f32);
            columns.entropies.push(entropy as f32);
            columns.phi_sums.push(sum as f32);
            columns.advantages.push(advantage);
        }
        columns.samples.push(start..columns.advantages.len());
    }
    columns
}

fn action() -> impl Strategy<Value = Action> {
    prop::sample::select(vec![Action::Amplify, Action::Attenuate, Action::Keep])
}

fn settings() -> impl Strategy<Value = Stare> {
    let table = (action(), action(), action(), action()).prop_map(
        |(positive_high, positive_low, negative_high, negative_low)| {
            Operation::Table(Table { positive_high, positive_low, negative_high, negative_low })
        },
    );
    let name = prop::sample::select(vec![
        NamedOperation::O1,
        NamedOperation::C2,
        NamedOperation::O4,
        NamedOperation::C1,
    ]);
    let operation = prop_oneof![table, name.prop_map(Operation::Named)];
    let ties = prop::sample::select(vec![Ties::Exact, Ties::Keep]);
    let select = prop_oneof![
        3 => (0.0..1.0f64, ties).prop_map(|(share, ties)| Select::Quantile { share, ties }),
        1 => (0.0..1.0f64).prop_map(|below| Select::Probability { below }),
    ];
    let auto = (0.5..2.0f64, 1.0..30.0f64).prop_map(|(auto, memory)| {
        Reweight::Auto(AutoReweight { auto, min: 1.0, max: 6.0, memory })
    });
    let weight = prop_oneof![(0.0..3.0f64).prop_map(Reweight::Fixed), auto];
    let gate = prop::sample::select(vec![Gate::Batch, Gate::Sample, Gate::Token, Gate::Open]);
    let adaptive = prop::option::of(Just(AdaptiveReweight::default()));
    (operation, select, weight, 0.0..1.0f64, gate, adaptive, 0.1..2.0f64).prop_map(
        |(operation, select, weight, reweight_m, gate, adaptive, target_entropy)| Stare {
            operation,
            select,
            reweight_w: weight,
            reweight_m,
            target_entropy,
            gate,
            adaptive: adaptive.filter(|_| matches!(weight, Reweight::Fixed(_))),
            scope: Scope::Batch,
        },
    )
}

fn weightings() -> impl Strategy<Value = WeightingConfig> {
    let share = 0.001..1.0f64;
    prop_oneof![
        4 => settings().prop_map(WeightingConfig::Stare),
        1 => share.clone().prop_map(|share| {
            WeightingConfig::TopEntropy(TopEntropy { share, scope: Scope::Batch })
        }),
        1 => share.clone().prop_map(|share| {
            WeightingConfig::KlCov(KlCov { share, ..KlCov::default() })
        }),
    ]
}

/// The weighting's state as a checkpoint has it: written to text and read again.
fn saved(weighting: &dyn TokenWeighting) -> Value {
    serde_json::from_str(&serde_json::to_string_pretty(&weighting.state()).unwrap()).unwrap()
}

/// Mean entropy of a step, token by token.
fn mean_entropy(columns: &Columns) -> f64 {
    let sum: f64 = columns.entropies.iter().map(|&entropy| f64::from(entropy)).sum();
    sum / columns.entropies.len().max(1) as f64
}

fn permuted(columns: &Columns, order: &[usize]) -> Columns {
    let mut other = Columns { seed: columns.seed, ..Columns::default() };
    for &sample in order {
        let range = columns.samples[sample].clone();
        let start = other.advantages.len();
        other.surprisals.extend(&columns.surprisals[range.clone()]);
        other.entropies.extend(&columns.entropies[range.clone()]);
        other.phi_sums.extend(&columns.phi_sums[range.clone()]);
        other.advantages.extend(&columns.advantages[range.clone()]);
        other.samples.push(start..start + range.len());
    }
    other
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn exactly_k_are_selected_and_they_are_the_largest(
        columns in step(), share in 0.0..1.0f64, coarse: bool,
    ) {
        let mut columns = columns;
        if coarse {
            // ties
            columns.surprisals.iter_mut().for_each(|surprisal| *surprisal = surprisal.round());
        }
        let settings = Stare {
            operation: Operation::Named(NamedOperation::C2),
            select: Select::Quantile { share, ties: Ties::Exact },
            reweight_w: Reweight::Fixed(2.0),
            reweight_m: 0.5,
            gate: Gate::Open,
            ..Stare::default()
        };
        let weights = stare(settings).weights(&columns.borrow()).weights;
        for (sign, factor) in [(1.0, 2.0), (-1.0, 0.5)] {
            let mut side: Vec<usize> =
                (0..weights.len()).filter(|&t| columns.advantages[t] * sign > 0.0).collect();
            let k = budget(side.len(), share);
            prop_assert_eq!(weights.iter().filter(|&&weight| weight == factor).count(), k);
            let surprisal = |token: usize| columns.surprisals[token];
            side.sort_by(|&a, &b| surprisal(b).total_cmp(&surprisal(a)).then(a.cmp(&b)));
            prop_assert!(side[..k].iter().all(|&token| weights[token] == factor));
        }
        let idle = weights.iter().zip(&columns.advantages).filter(|(_, a)| **a == 0.0);
        prop_assert!(idle.into_iter().all(|(weight, _)| *weight == 1.0));
    }

    #[test]
    fn permuting_a_step_permutes_its_weights(
        columns in step(), config in weightings(), keys in prop::collection::vec(any::<u32>(), 12),
    ) {
        let mut order: Vec<usize> = (0..columns.samples.len()).collect();
        order.sort_by_key(|&sample| keys[sample]);
        let other = permuted(&columns, &order);
        // what is summed in another order may differ in the last place; auto weights are apart
        let fixed = match config {
            WeightingConfig::Stare(stare) if matches!(stare.reweight_w, Reweight::Auto(_)) => {
                WeightingConfig::Stare(Stare { reweight_w: Reweight::Fixed(1.7), ..stare })
            }
            other => other,
        };
        let weighed = |columns: &Columns| {
            let mut weighting = fixed.build();
            weighting.observe(0.5, &columns.borrow(), &LossTerms::default());
            weighting.weights(&columns.borrow())
        };
        let (one, two) = (weighed(&columns), weighed(&other));
        let mut at = 0;
        for &sample in &order {
            for token in columns.samples[sample].clone() {
                prop_assert_eq!(one.weights[token], two.weights[at]);
                at += 1;
            }
        }
        for ((key, one), (_, two)) in one.statistics.iter().zip(&two.statistics) {
            prop_assert!((one - two).abs() < 1e-12, "{key}");
        }
    }

    #[test]
    fn a_closed_gate_is_the_identity(columns in step(), settings in settings()) {
        let settings = Stare { gate: Gate::Batch, ..settings };
        let mut weighting = stare(settings);
        weighting.observe(settings.target_entropy, &columns.borrow(), &LossTerms::default());
        let weighed = weighting.weights(&columns.borrow());
        prop_assert!(weighed.weights.iter().all(|weight| weight.to_bits() == 1f64.to_bits()));
        prop_assert_eq!(weighed.weights.len(), columns.advantages.len());
        prop_assert!(weighed.penalties.is_empty());
        // what would be selected is said all the same
        weighting.observe(settings.target_entropy / 2.0, &columns.borrow(), &LossTerms::default());
        let open = weighting.weights(&columns.borrow());
        for key in ["actor/stare/positive_reweight_ratio", "actor/stare/negative_reweight_ratio"] {
            prop_assert_eq!(value(&weighed.statistics, key), value(&open.statistics, key));
        }
    }

    #[test]
    fn the_mean_weight_follows_from_the_shares(columns in step(), settings in settings()) {
        let operation = Operation::Named(NamedOperation::C2);
        let settings = Stare { operation, gate: Gate::Open, ..settings };
        let mut weighting = stare(settings);
        weighting.observe(mean_entropy(&columns), &columns.borrow(), &LossTerms::default());
        let weighed = weighting.weights(&columns.borrow());
        let said = |key: &str| value(&weighed.statistics, &format!("actor/stare/{key}"));
        let expected = 1.0
            + (said("positive_weight") - 1.0) * said("positive_reweight_ratio")
            + (said("negative_weight") - 1.0) * said("negative_reweight_ratio");
        let expected = if columns.advantages.is_empty() { 0.0 } else { expected };
        prop_assert!((said("mean_weight") - expected).abs() < 1e-12);
    }

    #[test]
    fn a_restored_weighting_goes_on_bit_for_bit(
        steps in prop::collection::vec((step(), 0.0..1.0f64), 2..8), config in weightings(),
        cut in 0usize..8,
    ) {
        let mut whole = config.build();
        let mut halves = config.build();
        for (at, (columns, entropy)) in steps.iter().enumerate() {
            if at == cut % steps.len() {
                let state = saved(halves.as_ref());
                halves = config.build();
                halves.restore(&state).unwrap();
                prop_assert_eq!(saved(halves.as_ref()), state);
            }
            let said = whole.observe(*entropy, &columns.borrow(), &LossTerms::default());
            prop_assert_eq!(said, halves.observe(*entropy, &columns.borrow(), &LossTerms::default()));
            let weighed = whole.weights(&columns.borrow());
            prop_assert!(weighed.weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0));
            prop_assert_eq!(weighed, halves.weights(&columns.borrow()));
        }
        prop_assert_eq!(saved(whole.as_ref()), saved(halves.as_ref()));
    }

    #[test]
    fn an_entropy_that_is_not_finite_moves_nothing(
        columns in step(), settings in settings(), entropy in 0.0..2.0f64,
    ) {
        let mut weighting = stare(settings);
        weighting.observe(entropy, &columns.borrow(), &LossTerms::default());
        let state = saved(weighting.as_ref());
        for broken in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let said = weighting.observe(broken, &columns.borrow(), &LossTerms::default());
            prop_assert!(said.iter().all(|(_, value)| value.is_finite()));
            prop_assert_eq!(saved(weighting.as_ref()), state.clone());
        }
    }

    #[test]
    fn auto_stays_in_its_bounds(steps in prop::collection::vec(step(), 1..12), settings in settings()) {
        let auto = AutoReweight { auto: 1.5, min: 1.25, max: 4.0, memory: 5.0 };
        let mut weighting = stare(Stare { reweight_w: Reweight::Auto(auto), adaptive: None, ..settings });
        for columns in steps {
            let said = weighting.observe(0.3, &columns.borrow(), &LossTerms::default());
            prop_assert!((1.25..=4.0).contains(&value(&said, "stare/reweight_w")));
        }
    }

    #[test]
    fn clip_cov_leaves_out_as_many_as_it_may(columns in step(), share in 0.001..1.0f64) {
        let config = ClipCov { share, low: 0.1, high: 0.9, scope: Scope::Batch };
        let weights = WeightingConfig::ClipCov(config).build().weights(&columns.borrow()).weights;
        let everything = ClipCov { share: 1.0, ..config };
        let most = WeightingConfig::ClipCov(everything).build().weights(&columns.borrow()).weights;
        let left_out = |weights: &[f64]| weights.iter().filter(|&&weight| weight == 0.0).count();
        let count = ((weights.len() as f64 * share) as usize).max(1);
        prop_assert_eq!(left_out(&weights), count.min(left_out(&most)));
        prop_assert!(weights.iter().zip(&most).all(|(weight, least)| weight >= least));
    }
}

/// Winners' rare tokens raise the entropy, and their common ones lower it more: what training
/// meets.
fn stationary(step: u64) -> Columns {
    let samples: Vec<(f64, usize)> =
        (0..48).map(|sample| (if sample % 3 == 0 { 1.4 } else { -0.7 }, 8)).collect();
    let mut columns = drawn(&samples, 1000 + step);
    // training puts the advantage where the policy is sure: winners lose their rare tokens
    for token in 0..columns.advantages.len() {
        if columns.surprisals[token] > 2.5 && columns.advantages[token] > 0.0 && token % 2 == 0 {
            columns.advantages[token] = 0.0;
        }
    }
    columns
}

/// Lambda, Gamma and D of a step, per token, written down again.
fn sums(columns: &Columns, share: f64) -> [f64; 3] {
    let tokens = columns.borrow();
    let high = |sign: f64| -> Vec<usize> {
        let mut side: Vec<usize> =
            (0..tokens.len()).filter(|&t| columns.advantages[t] * sign > 0.0).collect();
        side.sort_by(|&a, &b| columns.surprisals[b].total_cmp(&columns.surprisals[a]));
        side.truncate(budget(side.len(), share));
        side
    };
    let effect = |tokens_of: &mut dyn Iterator<Item = usize>| {
        let sum: f64 = tokens_of.map(|t| columns.advantages[t] * tokens.sensitivity(t)).sum();
        sum / tokens.len() as f64
    };
    [
        effect(&mut (0..tokens.len())),
        -effect(&mut high(1.0).into_iter()),
        effect(&mut high(-1.0).into_iter()),
    ]
}

fn automatic(operation: NamedOperation, memory: f64) -> Stare {
    Stare {
        operation: Operation::Named(operation),
        reweight_w: Reweight::Auto(AutoReweight { auto: 1.5, min: 1.0, max: 10.0, memory }),
        reweight_m: 0.8,
        ..Stare::default()
    }
}

#[test]
fn auto_finds_the_weight_of_a_stationary_step() {
    for operation in [NamedOperation::O1, NamedOperation::C2] {
        let mut weighting = stare(automatic(operation, 100.0));
        let steps = 500;
        let (mut totals, mut found) = ([0.0; 3], Vec::new());
        for step in 0..steps {
            let columns = stationary(step);
            let said = weighting.observe(0.2, &columns.borrow(), &LossTerms::default());
            for (total, sum) in totals.iter_mut().zip(sums(&columns, 0.1)) {
                *total += sum;
            }
            found.push(value(&said, "stare/reweight_w"));
        }
        let [lambda, gamma, lowered] = totals;
        let lowered = if operation == NamedOperation::C2 { 0.2 * lowered } else { 0.0 };
        let expected = 1.5 * (1.0 + (lambda - lowered) / gamma);
        assert!(gamma > 0.0 && (1.6..9.0).contains(&expected), "{expected}");
        for weight in &found[100..] {
            assert!((weight / expected - 1.0).abs() < 0.15, "{weight} {expected}");
        }
    }
}

#[test]
fn running_means_have_no_bias_towards_the_start() {
    // the same step over and over: the mean is its value from the first time on
    let columns = stationary(1);
    let [lambda, gamma, _] = sums(&columns, 0.1);
    let mut weighting = stare(automatic(NamedOperation::O1, 20.0));
    for _ in 0..30 {
        let said = weighting.observe(0.2, &columns.borrow(), &LossTerms::default());
        assert!((value(&said, "stare/lambda") - lambda).abs() < 1e-12);
        assert!((value(&said, "stare/gamma") - gamma).abs() < 1e-12);
        let critical = 1.0 + lambda / gamma;
        assert!((value(&said, "stare/critical_weight") - critical).abs() < 1e-9);
        let expected = (1.5 * critical).clamp(1.0, 10.0);
        assert!((value(&said, "stare/reweight_w") - expected).abs() < 1e-9);
    }
    // and of two steps with memory m the last counts as 1 to 1 - 1/m
    let mut weighting = stare(automatic(NamedOperation::O1, 4.0));
    weighting.observe(0.2, &columns.borrow(), &LossTerms::default());
    let other = stationary(2);
    let said = weighting.observe(0.2, &other.borrow(), &LossTerms::default());
    let expected = (0.75 * lambda + sums(&other, 0.1)[0]) / 1.75;
    assert!((value(&said, "stare/lambda") - expected).abs() < 1e-12);
}

#[test]
fn without_a_measure_the_weight_is_held() {
    let mut weighting = stare(automatic(NamedOperation::O1, 1.0));
    // certain tokens alone: reinforcing the winners' lowers the entropy, so that Gamma is below 0
    let mut certain = stationary(3);
    certain.surprisals.fill(0.01);
    certain.entropies.fill(0.5);
    certain.phi_sums.fill(0.1);
    let said = weighting.observe(0.2, &certain.borrow(), &LossTerms::default());
    assert_eq!(value(&said, "stare/reweight_w"), 10.0);
    assert!(said.iter().all(|(key, _)| *key != "stare/critical_weight"));
    let said = weighting.observe(0.2, &stationary(1).borrow(), &LossTerms::default());
    let measured = value(&said, "stare/reweight_w");
    assert!(measured < 10.0, "{measured}");
    let said = weighting.observe(0.2, &certain.borrow(), &LossTerms::default());
    assert_eq!(value(&said, "stare/reweight_w"), measured);
    // a column that is not finite is not taken in
    let mut broken = stationary(4);
    broken.phi_sums[0] = f32::NAN;
    let before = saved(weighting.as_ref());
    weighting.observe(0.2, &broken.borrow(), &LossTerms::default());
    assert_eq!(saved(weighting.as_ref())["means"], before["means"]);
}

#[test]
fn weights_that_a_resume_changed_hold() {
    let resumed = |then: Stare, now: Stare| {
        let (tokens, terms) = (stationary(4), LossTerms::default());
        let mut before = stare(then);
        before.observe(0.2, &tokens.borrow(), &terms);
        let mut after = stare(now);
        after.restore(&before.state()).unwrap();
        let said = after.observe(0.2, &tokens.borrow(), &terms);
        [value(&said, "stare/reweight_w"), value(&said, "stare/reweight_m")]
    };
    let fixed = |w, m| Stare { reweight_w: Reweight::Fixed(w), reweight_m: m, ..Stare::default() };
    assert_eq!(resumed(fixed(1.25, 0.75), fixed(1.5, 0.5)), [1.5, 0.5]);
    let adaptive = Some(AdaptiveReweight { step: 0.125, w_max: 4.0, m_min: 0.0 });
    let moving = |w, m| Stare { adaptive, ..fixed(w, m) };
    assert_eq!(resumed(moving(1.25, 0.75), moving(1.5, 0.75)), [1.625, 0.5], "M goes on");
    assert_eq!(resumed(moving(1.25, 0.75), fixed(1.25, 0.75)), [1.25, 0.75]);
}

#[test]
fn a_foreign_state_is_refused() {
    let mut weighting = stare(Stare::default());
    let mut state = weighting.state();
    state["weight"] = json!("much");
    let listed: Value = weighting.state().as_object().unwrap().values().cloned().collect();
    for foreign in [json!(null), json!({}), json!({"gate": true}), state, listed] {
        let error = weighting.restore(&foreign).unwrap_err().to_string();
        assert!(error.starts_with("state of `stare`: expected its gate"), "{error}");
    }
    for config in [
        WeightingConfig::TopEntropy(TopEntropy::default()),
        WeightingConfig::ClipCov(ClipCov::default()),
        WeightingConfig::KlCov(KlCov::default()),
    ] {
        assert!(config.build().restore(&json!({})).is_err());
    }
}
