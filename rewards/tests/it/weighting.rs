//! Token weightings against the golden vectors, broken variants that the vectors must catch, and
//! what the vectors do not cover: the rest of the table, the gates, the selections, the other
//! weightings.

use rewards::weighting::{
    Action, AdaptiveReweight, ClipCov, Gate, KlCov, NamedOperation, Operation, Reweight, Select,
    Stare, Table, Ties, TopEntropy, budget,
};
use rewards::{LossTerms, Scope, TokenColumns, TokenWeighting, TokenWeights, WeightingConfig};
use serde_json::{Value, json};

use crate::vectors::{TOLERANCE, floats, section};

/// Columns of a step, to be filled and borrowed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Columns {
    pub(crate) surprisals: Vec<f32>,
    pub(crate) entropies: Vec<f32>,
    pub(crate) phi_sums: Vec<f32>,
    pub(crate) advantages: Vec<f64>,
    pub(crate) samples: Vec<std::ops::Range<usize>>,
    pub(crate) seed: u64,
}

impl Columns {
    pub(crate) fn borrow(&self) -> TokenColumns<'_> {
        TokenColumns {
            surprisals: &self.surprisals,
            entropies: &self.entropies,
            phi_sums: &self.phi_sums,
            advantages: &self.advantages,
            samples: &self.samples,
            seed: self.seed,
        }
    }

    /// Tokens of one sample, with nothing but surprisals and advantages.
    pub(crate) fn of(surprisals: &[f32], advantages: &[f64]) -> Self {
        let n = surprisals.len();
        Self {
            surprisals: surprisals.to_vec(),
            entropies: vec![0.0; n],
            phi_sums: vec![0.0; n],
            advantages: advantages.to_vec(),
            samples: std::iter::once(0..n).collect(),
            seed: 0,
        }
    }
}

pub(crate) fn value(said: &[(&'static str, f64)], key: &str) -> f64 {
    said.iter().find(|(name, _)| *name == key).unwrap_or_else(|| panic!("no {key}")).1
}

pub(crate) fn stare(stare: Stare) -> Box<dyn TokenWeighting> {
    WeightingConfig::Stare(stare).build()
}

// Golden vectors -------------------------------------------------------------------------------

fn matrix(value: &Value) -> Vec<Vec<f64>> {
    value.as_array().unwrap().iter().map(floats).collect()
}

/// The tokens of some rows of a case, and where they stand in it, row after row.
fn tokens(case: &Value, rows: &[usize]) -> (Columns, Vec<usize>) {
    let [log_probs, advantages, mask] = ["logp", "advantage", "mask"].map(|key| matrix(&case[key]));
    let (mut columns, mut places) = (Columns::default(), Vec::new());
    for &row in rows {
        let start = places.len();
        for (at, _) in mask[row].iter().enumerate().filter(|(_, mask)| **mask > 0.0) {
            columns.surprisals.push(-log_probs[row][at] as f32);
            columns.advantages.push(advantages[row][at]);
            places.push(row * mask[row].len() + at);
        }
        columns.samples.push(start..places.len());
    }
    columns.entropies = vec![0.0; places.len()];
    columns.phi_sums = vec![0.0; places.len()];
    (columns, places)
}

/// The case with every place a token.
fn unmasked(case: &Value) -> Value {
    let mut case = case.clone();
    for row in case["mask"].as_array_mut().unwrap() {
        row.as_array_mut().unwrap().iter_mut().for_each(|mask| *mask = json!(1));
    }
    case
}

fn settings(case: &Value) -> Stare {
    let config = &case["config"];
    let number = |key: &str| config[key].as_f64().unwrap();
    let operation = match config["variant"].as_str().unwrap().to_uppercase().as_str() {
        "O1" => NamedOperation::O1,
        "C2" => NamedOperation::C2,
        other => panic!("{other}"),
    };
    Stare {
        operation: Operation::Named(operation),
        select: Select::Quantile { share: number("top_p_ratio"), ties: Ties::Exact },
        reweight_w: Reweight::Fixed(number("reweight_w")),
        reweight_m: number("reweight_m"),
        target_entropy: number("target_entropy"),
        ..Stare::default()
    }
}

/// The weighting of a case, in the state that its controller is in.
fn weighting(case: &Value) -> Box<dyn TokenWeighting> {
    if case["config"]["enabled"] == json!(false) {
        return WeightingConfig::Uniform {}.build();
    }
    let (mut settings, controller) = (settings(case), &case["controller"]);
    if controller.is_null() {
        return stare(settings);
    }
    settings.target_entropy = controller["target_entropy"].as_f64().unwrap();
    settings.reweight_w = Reweight::Fixed(controller["reweight_w"].as_f64().unwrap());
    settings.reweight_m = controller["reweight_m"].as_f64().unwrap();
    let mut weighting = stare(settings);
    let mut state = weighting.state();
    state["gate"] = controller["gate_on"].clone();
    state["entropy"] = controller["current_ent"].as_f64().unwrap_or(f64::NAN).to_string().into();
    weighting.restore(&state).unwrap();
    weighting
}

/// Where a weighting that is always open raises (or lowers) tokens.
fn selected(case: &Value, ties: Ties) -> [Vec<usize>; 2] {
    let mut settings = settings(case);
    settings.gate = Gate::Open;
    (settings.reweight_w, settings.reweight_m) = (Reweight::Fixed(2.0), 0.5);
    if let Select::Quantile { share, .. } = settings.select {
        settings.select = Select::Quantile { share, ties };
    }
    let (columns, places) = tokens(case, &rows(case));
    let weights = stare(settings).weights(&columns.borrow()).weights;
    [2.0, 0.5].map(|factor| {
        let found = places.iter().zip(&weights).filter(|(_, weight)| **weight == factor);
        found.map(|(&place, _)| place).collect()
    })
}

fn rows(case: &Value) -> Vec<usize> {
    (0..case["mask"].as_array().unwrap().len()).collect()
}

/// The weights of a case as its matrix, row after row, and the statistics of its parts.
fn weights(
    case: &Value,
    weighting: &dyn TokenWeighting,
    parts: &[Vec<usize>],
    tokens: impl Fn(&Value, &[usize]) -> (Columns, Vec<usize>),
) -> (Vec<f64>, Vec<TokenWeights>) {
    let mut all = vec![1.0; matrix(&case["mask"]).concat().len()];
    let mut said = Vec::new();
    for part in parts {
        let (columns, places) = tokens(case, part);
        let weighed = weighting.weights(&columns.borrow());
        for (place, weight) in places.into_iter().zip(&weighed.weights) {
            all[place] = *weight;
        }
        said.push(weighed);
    }
    (all, said)
}

/// The largest distance of effective advantages from the expected ones, over all cases and sections
/// that have some, in both precisions.
fn effect_error(tokens: impl Fn(&Value, &[usize]) -> (Columns, Vec<usize>)) -> f64 {
    let mut worst: f64 = 0.0;
    let mut check = |case: &Value, parts: &[Vec<usize>], expected: &Value| {
        let (own, _) = weights(case, weighting(case).as_ref(), parts, &tokens);
        let expected = matrix(expected).concat();
        let advantages = matrix(&case["advantage"]).concat();
        assert_eq!(own.len(), expected.len());
        for ((own, expected), advantage) in own.into_iter().zip(expected).zip(advantages) {
            worst = worst.max((own - expected).abs());
            worst = worst.max((own * advantage - expected * advantage).abs());
            let single = f64::from(own as f32 * advantage as f32);
            let bound = 3e-5 * (1.0 + (expected * advantage).abs());
            assert!(
                (own - expected).abs() > TOLERANCE || (single - expected * advantage).abs() < bound
            );
        }
    };
    for name in ["weights", "ties", "policy_loss"] {
        for case in section(name) {
            check(&case, &[rows(&case)], &case["expect"]["weights"]);
        }
    }
    for case in section("micro_batching") {
        let parts: Vec<Vec<usize>> = serde_json::from_value(case["micro_batches"].clone()).unwrap();
        check(&case, &parts, &case["expect_micro"]["weights"]);
        check(&case, &[rows(&case)], &case["expect_batch"]["weights"]);
    }
    worst
}

#[test]
fn weights_are_those_of_the_reference() {
    assert!(effect_error(tokens) < TOLERANCE);
    for case in section("weights").iter().chain(&section("ties")) {
        let (own, _) = weights(case, weighting(case).as_ref(), &[rows(case)], tokens);
        let effective = own.iter().zip(matrix(&case["advantage"]).concat()).map(|(w, a)| w * a);
        for (own, expected) in
            effective.zip(matrix(&case["expect"]["effective_advantage"]).concat())
        {
            assert!((own - expected).abs() < TOLERANCE, "{}: {own} {expected}", case["name"]);
        }
    }
}

#[test]
fn the_vectors_catch_broken_weights() {
    let lowest = |case: &Value, rows: &[usize]| {
        let (mut columns, places) = tokens(case, rows);
        columns.surprisals.iter_mut().for_each(|surprisal| *surprisal = -*surprisal);
        (columns, places)
    };
    assert!(effect_error(lowest) > 0.05, "the lowest surprisal");
    let unmasked = |case: &Value, rows: &[usize]| tokens(&unmasked(case), rows);
    assert!(statistics_error(unmasked) > 0.05, "the mask ignored");
    // the vectors' advantages are 0 where the mask is, unlike those of a sample with tool output
    let spread = |case: &Value, rows: &[usize]| {
        let mut case = case.clone();
        for row in case["advantage"].as_array_mut().unwrap() {
            let first = row[0].clone();
            row.as_array_mut().unwrap().iter_mut().for_each(|advantage| *advantage = first.clone());
        }
        unmasked(&case, rows)
    };
    assert!(effect_error(spread) > 0.05, "the mask ignored, each sample with its advantage");
    let swapped = |case: &Value, rows: &[usize]| {
        let (mut columns, places) = tokens(case, rows);
        columns.advantages.iter_mut().for_each(|advantage| *advantage = -*advantage);
        (columns, places)
    };
    assert!(effect_error(swapped) > 0.05, "one sign for the other");
    let shifted = |case: &Value, rows: &[usize]| {
        let (mut columns, places) = tokens(case, rows);
        columns.advantages.iter_mut().for_each(|advantage| *advantage += 1e-3);
        (columns, places)
    };
    assert!(effect_error(shifted) > 0.05, "an advantage of 0 on a side");
}

/// By rank within each row instead of over all of them.
#[test]
fn the_vectors_catch_the_other_scope() {
    let mut differs = 0;
    for case in section("weights") {
        let each: Vec<_> = rows(&case).into_iter().map(|row| vec![row]).collect();
        let (own, _) = weights(&case, weighting(&case).as_ref(), &each, tokens);
        differs += u32::from(own != matrix(&case["expect"]["weights"]).concat());
    }
    assert!(differs > 5, "{differs}");
    for case in section("micro_batching") {
        let micro = matrix(&case["expect_micro"]["weights"]);
        let single = case["micro_batches"].as_array().unwrap().len() == 1;
        assert_eq!(micro == matrix(&case["expect_batch"]["weights"]), single);
    }
}

#[test]
fn selections_are_those_of_the_reference() {
    for name in ["weights", "ties", "policy_loss", "micro_batching"] {
        for case in section(name) {
            if case["config"]["enabled"] == json!(false) {
                continue;
            }
            let expected = case.get("expect").unwrap_or(&case["expect_batch"]);
            let places = |key: &str| -> Vec<usize> {
                serde_json::from_value(expected[key].clone()).unwrap()
            };
            let own = selected(&case, Ties::Exact);
            assert_eq!(own, [places("l_plus"), places("l_minus")], "{name} {}", case["name"]);
        }
    }
    for case in section("ties") {
        let reading = &case["paper_threshold_reading"];
        let [plus, _] = selected(&case, Ties::Keep);
        assert_eq!(json!(plus), reading["l_plus"]);
        let log_probs = matrix(&case["logp"]).concat();
        let [plus, _] = selected(&case, Ties::Exact);
        let mut chosen: Vec<f64> = plus.iter().map(|&place| -log_probs[place]).collect();
        chosen.sort_by(|a, b| b.total_cmp(a));
        assert_eq!(chosen, floats(&case["expect"]["chosen_surprisal_sorted"]));
    }
}

/// The largest distance of statistics from the expected ones, over all cases.
fn statistics_error(tokens: impl Fn(&Value, &[usize]) -> (Columns, Vec<usize>)) -> f64 {
    let mut worst: f64 = 0.0;
    for case in section("weights").iter().chain(&section("ties")) {
        let (_, said) = weights(case, weighting(case).as_ref(), &[rows(case)], &tokens);
        let expected = case["expect"]["stats"].as_object().unwrap();
        assert_eq!(said[0].statistics.len(), expected.len(), "{}", case["name"]);
        for (key, expected) in expected {
            let own = value(&said[0].statistics, &format!("actor/stare/{key}"));
            worst = worst.max((own - expected.as_f64().unwrap()).abs());
        }
    }
    worst
}

#[test]
fn statistics_are_those_of_the_reference() {
    assert!(statistics_error(tokens) < TOLERANCE);
}

/// How many counts differ from the expected ones.
fn wrong_counts(count: impl Fn(usize, f64) -> usize) -> usize {
    let wrong = |case: &&Value| {
        let (n, share) = (case["n"].as_u64().unwrap(), case["ratio"].as_f64().unwrap());
        count(n as usize, share) as u64 != case["k"].as_u64().unwrap()
    };
    section("k_count").iter().filter(wrong).count()
}

#[test]
fn counts_are_those_of_the_reference() {
    assert_eq!(wrong_counts(budget), 0);
    let count = |n: usize, raw: f64| if n == 0 { 0 } else { (raw as usize).clamp(1, n) };
    let some = |n, share: f64, raw| if share > 0.0 { count(n, raw) } else { 0 };
    assert_eq!(wrong_counts(|n, share| some(n, share, n as f64 * share + 0.999_999)), 0);
    assert!(wrong_counts(|n, share| some(n, share, n as f64 * share)) > 0, "rounded down");
    assert!(wrong_counts(|n, share| some(n, share, (n as f64 * share).ceil())) > 0, "plain ceil");
    assert!(wrong_counts(|n, share| some(n, share, (n as f64 * share).round())) > 0, "rounded");
    let single =
        |n: usize, share: f64| some(n, share, f64::from(n as f32 * share as f32 + 0.999_999));
    assert!(wrong_counts(single) > 0, "in single precision");
    assert!(wrong_counts(|n, share| count(n, n as f64 * share + 0.999_999)) > 0, "one of none");
    assert_eq!([budget(7, -0.5), budget(7, f64::NAN), budget(7, 3.0)], [0, 0, 7]);
}

// The controller -------------------------------------------------------------------------------

fn controlled(args: &Value) -> Stare {
    let number = |key: &str, or: f64| args.get(key).map_or(or, |number| number.as_f64().unwrap());
    let adaptive = AdaptiveReweight {
        step: number("alpha", 0.0),
        w_max: number("w_max", 1.5),
        m_min: number("m_min", 0.5),
    };
    Stare {
        target_entropy: number("target_entropy", 0.3),
        reweight_w: Reweight::Fixed(number("reweight_w", 1.1)),
        reweight_m: number("reweight_m", 0.9),
        adaptive: (args["adaptive"] == json!(true)).then_some(adaptive),
        operation: Operation::Named(NamedOperation::C2),
        select: Select::Quantile { share: 1.0, ties: Ties::Exact },
        ..Stare::default()
    }
}

/// Gate, W, M and entropy, as a step of the loss meets them: by the weights of two tokens.
fn used(weighting: &dyn TokenWeighting) -> [f64; 4] {
    let weighed = weighting.weights(&Columns::of(&[1.0, 1.0], &[1.0, -1.0]).borrow());
    let keys = ["gate_on", "positive_weight", "negative_weight", "controller_entropy"];
    let [gate, up, down, entropy] =
        keys.map(|key| value(&weighed.statistics, &format!("actor/stare/{key}")));
    let expected = if gate == 1.0 { [up, down] } else { [1.0, 1.0] };
    assert_eq!(weighed.weights, expected);
    [gate, up, down, entropy]
}

/// How many states of all trajectories differ from the expected ones; `late` looks at each before
/// its own entropy is taken in.
fn wrong_states(change: impl Fn(Stare) -> Stare, late: bool) -> usize {
    let mut wrong = 0;
    for case in section("controller") {
        let mut weighting = stare(change(controlled(&case["args"])));
        let states = case["states"].as_array().unwrap();
        let mut entropies = vec![None];
        entropies.extend(case["entropy"].as_array().unwrap().iter().map(Some));
        assert_eq!(states.len(), entropies.len());
        for (state, entropy) in states.iter().zip(entropies) {
            let before = used(weighting.as_ref());
            if let Some(entropy) = entropy {
                let infinite = entropy == &json!("inf");
                let nan = entropy.as_f64().unwrap_or(f64::NAN);
                let entropy = if infinite { f64::INFINITY } else { nan };
                let said = weighting.observe(
                    entropy,
                    &Columns::of(&[], &[]).borrow(),
                    &LossTerms::default(),
                );
                let keys = ["gate_on", "reweight_w", "reweight_m", "batch_entropy"];
                let keys = keys.map(|key| value(&said, &format!("stare/{key}")));
                assert_eq!(keys, used(weighting.as_ref()));
            }
            let number = |key: &str| state[key].as_f64().unwrap_or(0.0);
            let expected = [
                f64::from(u8::from(state["gate_on"] == json!(true))),
                number("reweight_w"),
                number("reweight_m"),
                number("current_ent"),
            ];
            let own = if late { before } else { used(weighting.as_ref()) };
            let near = own.iter().zip(expected).all(|(own, other)| (own - other).abs() < 1e-12);
            wrong += usize::from(!near);
        }
    }
    wrong
}

#[test]
fn the_controller_is_that_of_the_reference() {
    assert_eq!(wrong_states(|stare| stare, false), 0);
    // H <= target, by a target that is the next number
    let closes_late =
        |stare: Stare| Stare { target_entropy: stare.target_entropy.next_up(), ..stare };
    assert!(wrong_states(closes_late, false) > 0, "gate <=");
    assert!(wrong_states(|stare| stare, true) > 0, "moved after use");
    let backwards = |mut stare: Stare| {
        stare.adaptive = stare.adaptive.map(|a| AdaptiveReweight { step: -a.step, ..a });
        stare
    };
    assert!(wrong_states(backwards, false) > 0, "moved the wrong way");
    let still = |stare: Stare| Stare { adaptive: None, ..stare };
    assert!(wrong_states(still, false) > 0, "not moved");
    // a step of 0 means fixed weights: the bounds of moving ones do not hold for them
    let adaptive = Some(AdaptiveReweight { step: 0.0, ..AdaptiveReweight::default() });
    let weight = Reweight::Fixed(3.0);
    let mut fixed =
        stare(Stare { adaptive, reweight_w: weight, reweight_m: 0.25, ..Stare::default() });
    fixed.observe(0.1, &Columns::of(&[], &[]).borrow(), &LossTerms::default());
    let said = fixed.weights(&Columns::of(&[], &[]).borrow()).statistics;
    let keys = ["actor/stare/positive_weight", "actor/stare/negative_weight"];
    assert_eq!(keys.map(|key| value(&said, key)), [3.0, 0.25]);
}

// From logits on -------------------------------------------------------------------------------

/// Log-probabilities, entropy and the sum behind Phi of some logits.
pub(crate) fn scores(logits: &[f64]) -> (Vec<f64>, f64, f64) {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = top + logits.iter().map(|logit| (logit - top).exp()).sum::<f64>().ln();
    let log_probs: Vec<f64> = logits.iter().map(|logit| logit - total).collect();
    let entropy = -log_probs.iter().map(|log_prob| log_prob.exp() * log_prob).sum::<f64>();
    let sum = log_probs.iter().map(|l| (2.0 * l).exp() * (l + entropy)).sum();
    (log_probs, entropy, sum)
}

#[test]
fn from_logits_to_weights_end_to_end() {
    for case in section("end_to_end") {
        let (mask, temperature) = (matrix(&case["mask"]), case["temperature"].as_f64().unwrap());
        let token_ids: Vec<Vec<usize>> = serde_json::from_value(case["tokens"].clone()).unwrap();
        let advantages = floats(&case["expect"]["advantage"]);
        let (mut columns, mut places) = (Columns::default(), Vec::new());
        let mut entropy_sum = 0.0;
        for (row, logits) in case["logits"].as_array().unwrap().iter().enumerate() {
            let start = places.len();
            for (at, logits) in matrix(logits).iter().enumerate() {
                if mask[row][at] == 0.0 {
                    continue;
                }
                let scaled: Vec<f64> = logits.iter().map(|logit| logit / temperature).collect();
                let (log_probs, entropy, sum) = scores(&scaled);
                let log_prob = log_probs[token_ids[row][at]];
                let expected = case["expect"]["logp"][row][at].as_f64().unwrap();
                assert!((log_prob - expected).abs() < TOLERANCE);
                entropy_sum += entropy;
                columns.surprisals.push(-log_prob as f32);
                columns.entropies.push(entropy as f32);
                columns.phi_sums.push(sum as f32);
                columns.advantages.push(advantages[row]);
                places.push(row * mask[row].len() + at);
            }
            columns.samples.push(start..places.len());
        }
        let mean_entropy = entropy_sum / places.len() as f64;
        let expected = &case["expect"];
        assert!((mean_entropy - expected["batch_entropy"].as_f64().unwrap()).abs() < TOLERANCE);
        let mut weighting = stare(settings(&case));
        let said = weighting.observe(mean_entropy, &columns.borrow(), &LossTerms::default());
        assert_eq!(json!(value(&said, "stare/gate_on") == 1.0), expected["gate_on"]);
        let mut own = vec![1.0; mask.concat().len()];
        for (&place, weight) in places.iter().zip(weighting.weights(&columns.borrow()).weights) {
            own[place] = weight;
        }
        for (own, expected) in own.iter().zip(matrix(&expected["weights"]).concat()) {
            assert!((own - expected).abs() < TOLERANCE, "{}", case["name"]);
        }
        let raised: Vec<usize> = (0..own.len()).filter(|&place| own[place] > 1.0).collect();
        let none = Vec::<usize>::new();
        let open = expected["gate_on"] == json!(true);
        assert_eq!(
            if open { json!(raised) } else { expected["l_plus"].clone() },
            expected["l_plus"]
        );
        assert!(open || raised == none);
    }
}

// What the vectors do not cover ----------------------------------------------------------------

/// Surprisals 1 to 5 of winners, then of losers, then of tokens without advantage.
fn three_kinds() -> Columns {
    let surprisals = [3.0, 1.0, 5.0, 2.0, 4.0].repeat(3);
    let advantages: Vec<f64> = [0.5, -0.5, 0.0].iter().flat_map(|&a| [a; 5]).collect();
    let mut columns = Columns::of(&surprisals, &advantages);
    columns.samples = vec![0..5, 5..10, 10..15];
    columns
}

fn open(operation: Operation, share: f64) -> Stare {
    Stare {
        operation,
        select: Select::Quantile { share, ties: Ties::Exact },
        reweight_w: Reweight::Fixed(1.5),
        reweight_m: 0.5,
        gate: Gate::Open,
        ..Stare::default()
    }
}

#[test]
fn every_side_of_the_table_is_reached() {
    // two of five are high: 5 and 4
    let weights = |operation| stare(open(operation, 0.4)).weights(&three_kinds().borrow()).weights;
    let (k, up, down) = (1.0, 1.5, 0.5);
    let by_side =
        |[ph, pl, nh, nl]: [f64; 4]| [pl, pl, ph, pl, ph, nl, nl, nh, nl, nh, k, k, k, k, k];
    let named = |name| weights(Operation::Named(name));
    assert_eq!(named(NamedOperation::O1), by_side([up, k, k, k]));
    assert_eq!(named(NamedOperation::C2), by_side([up, k, down, k]));
    assert_eq!(named(NamedOperation::O4), by_side([k, k, down, k]));
    assert_eq!(named(NamedOperation::C1), by_side([up, k, k, up]));
    let actions = [(Action::Amplify, up), (Action::Attenuate, down), (Action::Keep, k)];
    for (positive_high, ph) in actions {
        for (positive_low, pl) in actions {
            for (negative_high, nh) in actions {
                for (negative_low, nl) in actions {
                    let table = Table { positive_high, positive_low, negative_high, negative_low };
                    assert_eq!(weights(Operation::Table(table)), by_side([ph, pl, nh, nl]));
                }
            }
        }
    }
}

#[test]
fn gates_compare_what_they_say() {
    let mut columns = three_kinds();
    columns.entropies = vec![
        0.1, 0.1, 0.9, 0.1, 0.2, // mean 0.28
        0.3, 0.3, 0.3, 0.3, 0.3, // the target
        0.0, 0.0, 0.0, 0.0, 0.0,
    ];
    columns.entropies[5..10].fill(0.25);
    let table = Table {
        positive_high: Action::Amplify,
        positive_low: Action::Amplify,
        negative_high: Action::Attenuate,
        negative_low: Action::Attenuate,
    };
    let weights = |gate, mean_entropy: f64| {
        let settings = Stare { gate, target_entropy: 0.25, ..open(Operation::Table(table), 0.4) };
        let mut weighting = stare(settings);
        let said = weighting.observe(mean_entropy, &columns.borrow(), &LossTerms::default());
        let weighed = weighting.weights(&columns.borrow());
        let share = value(&said, "stare/gate_on");
        assert_eq!(share, value(&weighed.statistics, "actor/stare/gate_on"));
        (weighed.weights, share)
    };
    let ones = [1.0; 15];
    let all = [[1.5; 5], [0.5; 5], [1.0; 5]].concat();
    assert_eq!(weights(Gate::Batch, 0.25), (ones.to_vec(), 0.0));
    assert_eq!(weights(Gate::Batch, 0.249), (all.clone(), 1.0));
    assert_eq!(weights(Gate::Open, 9.0), (all, 1.0));
    // the third sample is open, and has no advantage
    assert_eq!(weights(Gate::Sample, 0.0), (ones.to_vec(), 1.0 / 3.0));
    let tokens = [vec![1.5, 1.5, 1.0, 1.5, 1.5], vec![1.0; 10]].concat();
    assert_eq!(weights(Gate::Token, 9.0), (tokens, 9.0 / 15.0));
}

#[test]
fn a_micro_batch_says_its_own_entropy() {
    let mut columns = three_kinds();
    columns.entropies = vec![0.5; 15];
    columns.entropies[0] = 2.0;
    let key = "stare/micro_batch_entropy";
    let settings = Stare { scope: Scope::MicroBatch, ..Stare::default() };
    let said = stare(settings).weights(&columns.borrow()).statistics;
    assert!((value(&said, key) - 0.6).abs() < 1e-12);
    let said = stare(Stare::default()).weights(&columns.borrow()).statistics;
    assert!(said.iter().all(|(name, _)| *name != key));
}

#[test]
fn a_fixed_probability_selects_however_many() {
    // p = 0.1 at 2.302585 nats
    let columns = Columns::of(&[0.1, 2.302, 2.303, 9.0, 2.4], &[1.0, 1.0, 1.0, 1.0, -1.0]);
    let settings = Stare {
        select: Select::Probability { below: 0.1 },
        ..open(Operation::Named(NamedOperation::C2), 0.1)
    };
    let weighed = stare(settings).weights(&columns.borrow());
    assert_eq!(weighed.weights, [1.0, 1.0, 1.5, 1.5, 0.5]);
    assert!(weighed.statistics.iter().all(|(key, _)| *key != "actor/stare/top_ratio"));
    assert_eq!(value(&weighed.statistics, "actor/stare/positive_reweight_ratio"), 0.4);
}

#[test]
fn a_surprisal_of_minus_zero_is_no_smaller_than_zero() {
    let columns = Columns::of(&[-0.0, 0.0, -0.0], &[1.0; 3]);
    let weights = stare(open(Operation::Named(NamedOperation::O1), 0.3)).weights(&columns.borrow());
    assert_eq!(weights.weights, [1.5, 1.0, 1.0]);
}

#[test]
fn the_80_20_rule_learns_from_the_top_entropies_alone() {
    let mut columns = three_kinds();
    columns.entropies = (0..15).map(|token| ((token * 7) % 15) as f32).collect();
    columns.entropies[3] = 14.0; // twice: the lower index first
    let config = WeightingConfig::TopEntropy(TopEntropy { share: 0.1, scope: Scope::MicroBatch });
    let mut weighting = config.build();
    assert_eq!(weighting.scope(), Scope::MicroBatch);
    assert!(weighting.observe(1.0, &columns.borrow(), &LossTerms::default()).is_empty());
    let weighed = weighting.weights(&columns.borrow());
    let kept: Vec<usize> = (0..15).filter(|&token| weighed.weights[token] == 1.0).collect();
    assert_eq!(kept, [2, 3]);
    assert_eq!(weighed.weights.iter().sum::<f64>(), 2.0);
    assert_eq!(value(&weighed.statistics, "weighting/selected"), 2.0 / 15.0);
    assert_eq!(value(&weighed.statistics, "weighting/mean_weight"), 2.0 / 15.0);
    weighting.restore(&weighting.state()).unwrap();
}

/// The covariance as the reference writes it, over log-probs.
fn covariances(columns: &Columns) -> Vec<f64> {
    let log_probs: Vec<f64> = columns.surprisals.iter().map(|&s| -f64::from(s)).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let means = [mean(&columns.advantages), mean(&log_probs)];
    columns.advantages.iter().zip(log_probs).map(|(a, l)| (a - means[0]) * (l - means[1])).collect()
}

fn spread(n: usize) -> Columns {
    let surprisals: Vec<f32> = (0..n).map(|i| ((i * 37) % n) as f32 * 8.0 / n as f32).collect();
    let advantages: Vec<f64> = (0..n).map(|i| if (i / 3) % 2 == 0 { 1.0 } else { -1.0 }).collect();
    Columns { seed: 5, ..Columns::of(&surprisals, &advantages) }
}

#[test]
fn clip_cov_draws_among_tokens_of_high_covariance() {
    let columns = spread(1000);
    let covariances = covariances(&columns);
    let candidate = |token: usize| covariances[token] > 1.0 && covariances[token] < 2.0;
    let candidates = (0..1000).filter(|&token| candidate(token)).count();
    assert!(candidates > 100 && candidates < 900, "{candidates}");
    let left_out = |share: f64, seed: u64| -> Vec<usize> {
        let config = ClipCov { share, low: 1.0, high: 2.0, ..ClipCov::default() };
        let columns = Columns { seed, ..columns.clone() };
        let weighed = WeightingConfig::ClipCov(config).build().weights(&columns.borrow());
        let tokens: Vec<usize> = (0..1000).filter(|&token| weighed.weights[token] == 0.0).collect();
        let share = tokens.len() as f64 / 1000.0;
        assert_eq!(value(&weighed.statistics, "weighting/selected"), share);
        assert!(weighed.weights.iter().all(|&weight| weight == 0.0 || weight == 1.0));
        assert!(weighed.penalties.is_empty());
        tokens
    };
    // floor(0.0209 N), and at least one
    assert_eq!(left_out(0.0209, 5).len(), 20);
    assert_eq!(left_out(1e-6, 5).len(), 1);
    assert!(left_out(0.0209, 5).iter().all(|&token| candidate(token)));
    assert_eq!(left_out(0.0209, 5), left_out(0.0209, 5));
    assert_ne!(left_out(0.0209, 5), left_out(0.0209, 6));
    // more than there are
    assert_eq!(left_out(1.0, 5).len(), candidates);
    // every candidate has its turn
    let mut drawn = vec![0_u32; 1000];
    for seed in 0..2000 {
        for token in left_out(0.02, seed) {
            drawn[token] += 1;
        }
    }
    let mean = 2000.0 * 20.0 / candidates as f64;
    for token in (0..1000).filter(|&token| candidate(token)) {
        assert!((f64::from(drawn[token]) - mean).abs() < 6.0 * mean.sqrt(), "{}", drawn[token]);
    }
}

#[test]
fn kl_cov_penalises_the_largest_covariances() {
    let columns = spread(500);
    let covariances = covariances(&columns);
    let config = KlCov { share: 0.0139, coefficient: 0.7, ..KlCov::default() };
    let weighed = WeightingConfig::KlCov(config).build().weights(&columns.borrow());
    assert_eq!(weighed.weights, [1.0; 500]);
    let mut ranked: Vec<usize> = (0..500).collect();
    ranked.sort_by(|&a, &b| covariances[b].total_cmp(&covariances[a]).then(a.cmp(&b)));
    let mut expected = vec![0.0; 500];
    ranked[..6].iter().for_each(|&token| expected[token] = 0.7);
    assert_eq!(weighed.penalties, expected);
    assert_eq!(value(&weighed.statistics, "weighting/selected"), 6.0 / 500.0);
    let one = WeightingConfig::KlCov(KlCov::default()).build().weights(&spread(10).borrow());
    assert_eq!(one.penalties.iter().sum::<f64>(), 1.0);
}

#[test]
fn no_tokens_are_no_trouble() {
    let none = Columns::of(&[], &[]);
    let auto = "{\"kind\":\"stare\",\"reweight_w\":{\"auto\":1.5}}";
    let configs = [
        serde_json::from_str(auto).unwrap(),
        WeightingConfig::Stare(Stare { gate: Gate::Sample, ..Stare::default() }),
        WeightingConfig::TopEntropy(TopEntropy::default()),
        WeightingConfig::ClipCov(ClipCov::default()),
        WeightingConfig::KlCov(KlCov::default()),
    ];
    for config in configs {
        let mut weighting = config.build();
        let said = weighting.observe(0.1, &none.borrow(), &LossTerms::default());
        let weighed = weighting.weights(&none.borrow());
        assert!(weighed.weights.is_empty() && weighed.penalties.is_empty());
        assert!(said.iter().chain(&weighed.statistics).all(|(_, value)| value.is_finite()));
    }
}

// Settings -------------------------------------------------------------------------------------

fn parse(text: &str) -> Result<WeightingConfig, String> {
    #[derive(serde::Deserialize)]
    struct Recipe {
        weighting: WeightingConfig,
    }
    toml::from_str::<Recipe>(&format!("weighting = {text}"))
        .map(|recipe| recipe.weighting)
        .map_err(|error| error.message().to_owned())
}

#[test]
fn recipes_can_say_all_of_it() {
    let own = |text: &str| match parse(text).unwrap() {
        WeightingConfig::Stare(stare) => stare,
        other => panic!("{other:?}"),
    };
    assert_eq!(own("{ kind = \"stare\" }"), Stare::default());
    let full = own(r#"{
        kind = "stare", operation = { positive_high = "amplify", negative_low = "attenuate" },
        select = { kind = "quantile", share = 0.05, ties = "keep" },
        reweight_w = { auto = 1.5, memory = 50 }, reweight_m = 0.95, target_entropy = 1,
        gate = "token", scope = "micro-batch"
    }"#);
    let Reweight::Auto(auto) = full.reweight_w else { panic!("{full:?}") };
    assert_eq!((auto.auto, auto.min, auto.max, auto.memory), (1.5, 1.0, 10.0, 50.0));
    assert_eq!(full.gate, Gate::Token);
    assert_eq!(stare(full).scope(), Scope::MicroBatch);
    let other = own(r#"{ kind = "stare", operation = "c1", select = { kind = "probability" },
        reweight_w = 2, adaptive = {} }"#);
    assert_eq!(other.reweight_w, Reweight::Fixed(2.0));
    assert_eq!(other.adaptive, Some(AdaptiveReweight { step: 0.01, w_max: 1.5, m_min: 0.5 }));
    assert_eq!(other.select, Select::Probability { below: 0.1 });
    for (text, config) in [
        ("{ kind = \"top-entropy\" }", WeightingConfig::TopEntropy(TopEntropy::default())),
        ("{ kind = \"clip-cov\" }", WeightingConfig::ClipCov(ClipCov::default())),
        ("{ kind = \"kl-cov\" }", WeightingConfig::KlCov(KlCov::default())),
    ] {
        assert_eq!(parse(text), Ok(config));
    }
    for config in [WeightingConfig::Stare(full), WeightingConfig::Stare(other)] {
        assert!(config.problems().is_empty());
        let table = toml::Table::try_from(&config).unwrap();
        assert_eq!(table.try_into::<WeightingConfig>().unwrap(), config);
    }
}

#[test]
fn a_schema_has_both_forms_of_a_key() {
    let schema = schemars::schema_for!(WeightingConfig).to_value();
    let stare = &schema["$defs"];
    let forms = |name: &str| stare[name]["anyOf"].as_array().map_or(0, Vec::len);
    assert_eq!((forms("StareReweight"), forms("StareOperation")), (2, 2), "{schema}");
    let text = schema.to_string();
    for key in ["auto", "positive_high", "amplify", "micro-batch", "probability", "w_max"] {
        assert!(text.contains(&format!("\"{key}\"")), "{key}");
    }
}

#[test]
fn what_is_misspelt_is_named() {
    let refused = |text: &str, message: &str| {
        let error = parse(text).unwrap_err();
        assert!(error.contains(message), "{error}");
    };
    refused("{ kind = \"stare\", operation = \"o2\" }", "unknown variant `o2`");
    refused(
        "{ kind = \"stare\", operation = { positive = \"keep\" } }",
        "unknown field `positive`",
    );
    refused("{ kind = \"stare\", operation = 3 }", "expected the name of an operation");
    refused("{ kind = \"stare\", reweight_w = { auto = 1, most = 2 } }", "unknown field `most`");
    refused(
        "{ kind = \"stare\", reweight_w = \"auto\" }",
        "expected a number, or a table with the key",
    );
    refused("{ kind = \"stare\", entropy = 1 }", "unknown field `entropy`");
    refused("{ kind = \"top-entropy\", ratio = 1 }", "unknown field `ratio`");
}

#[test]
fn bad_values_are_refused_together() {
    let problems = |text: &str| parse(text).unwrap().problems();
    let bad = r#"{ kind = "stare", select = { kind = "quantile", share = 1.5 }, reweight_w = -0.1,
        reweight_m = 2, target_entropy = 0,
        adaptive = { step = nan, w_max = 0.5, m_min = -1 } }"#;
    assert_eq!(
        problems(bad),
        [
            "select.share: expected 0 to 1, got 1.5",
            "reweight_w: expected 0 or more, got -0.1",
            "reweight_m: expected 0 to 1, got 2",
            "target_entropy: expected more than 0, got 0",
            "adaptive.step: expected 0 or more, got NaN",
            "adaptive.w_max: expected 1 or more, got 0.5",
            "adaptive.m_min: expected 0 to 1, got -1",
        ]
    );
    let bad = r#"{ kind = "stare", operation = "o4", select = { kind = "probability", below = -1 },
        reweight_w = { auto = 0, min = 2, max = 1, memory = 0.5 }, adaptive = {} }"#;
    assert_eq!(
        problems(bad),
        [
            "select.below: expected 0 to 1, got -1",
            "reweight_w.auto: expected more than 0, got 0",
            "reweight_w.max: expected at least reweight_w.min = 2, got 1",
            "reweight_w.memory: expected 1 or more, got 0.5",
            "adaptive: expected none beside reweight_w.auto: both set W",
            "reweight_w.auto: expected an operation that amplifies some side; set a number",
        ]
    );
    assert_eq!(
        problems("{ kind = \"clip-cov\", share = 0, low = 5, high = inf }"),
        ["share: expected more than 0, got 0", "high: expected a finite number, got inf"]
    );
    assert_eq!(
        problems("{ kind = \"clip-cov\", low = 5, high = 5 }"),
        ["high: expected more than low = 5, got 5"]
    );
    assert_eq!(
        problems("{ kind = \"kl-cov\", share = 2, coefficient = -1 }"),
        ["share: expected 0 to 1, got 2", "coefficient: expected 0 or more, got -1"]
    );
    assert_eq!(
        problems("{ kind = \"stare\", operation = {} }"),
        ["operation: expected a side to amplify or to attenuate, got none"]
    );
    assert_eq!(
        problems("{ kind = \"top-entropy\", share = 1.1 }"),
        ["share: expected 0 to 1, got 1.1"]
    );
}
