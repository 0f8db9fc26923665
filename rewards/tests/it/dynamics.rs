//! Phi against finite differences of the entropy, and what a step says about itself.

use rewards::weighting::{AutoReweight, Gate, Reweight, Stare, phi};
use rewards::{EntropyBonus, EntropyControl, LossTerms, dynamics};
use serde_json::{Value, json};

use crate::vectors::{TOLERANCE, floats, section};
use crate::weighting::{Columns, scores, stare, value};

fn entropy(logits: &[f64]) -> f64 {
    scores(logits).1
}

/// The derivative of the entropy along the update of an unclipped policy gradient with this credit,
/// by central differences.
fn entropy_slope(logits: &[f64], token: usize, credit: f64) -> f64 {
    let (log_probs, ..) = scores(logits);
    let moved = |by: f64| {
        let direction = |v: usize| f64::from(u8::from(v == token)) - log_probs[v].exp();
        let logits: Vec<f64> =
            (0..logits.len()).map(|v| logits[v] + by * credit * direction(v)).collect();
        entropy(&logits)
    };
    // fourth order: the error is in the round-off
    let h = 1e-3;
    (8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * h)
}

#[test]
fn phi_is_that_of_the_vectors_and_of_finite_differences() {
    for case in section("entropy_sensitivity") {
        let logits = floats(&case["logits"]);
        let (log_probs, entropy, sum) = scores(&logits);
        let number = |key: &str| case[key].as_f64().unwrap();
        assert!((entropy - number("entropy")).abs() < TOLERANCE);
        assert!((sum - number("s2")).abs() < TOLERANCE);
        let slopes = floats(&case["dH_deta_for_unit_advantage"]);
        let mut expectation = 0.0;
        for (token, expected) in floats(&case["phi"]).into_iter().enumerate() {
            let own = phi(-log_probs[token], entropy, sum);
            assert!((own - expected).abs() < TOLERANCE, "{own} {expected}");
            assert!((-own - slopes[token]).abs() < TOLERANCE);
            assert!((-own - entropy_slope(&logits, token, 1.0)).abs() < 1e-9);
            // f32 columns, as the rollout hands them on
            let mut columns = Columns::of(&[-log_probs[token] as f32], &[1.0]);
            (columns.entropies[0], columns.phi_sums[0]) = (entropy as f32, sum as f32);
            assert!((columns.borrow().sensitivity(0) - expected).abs() < 3e-5);
            expectation += log_probs[token].exp() * own;
        }
        assert!(expectation.abs() < TOLERANCE, "neutral on average (theorem 3.4)");
    }
}

#[test]
fn phi_changes_its_sign_at_the_critical_surprisal_alone() {
    for case in section("entropy_sensitivity") {
        let logits = floats(&case["logits"]);
        let (log_probs, entropy, sum) = scores(&logits);
        let own = |surprisal: f64| phi(surprisal, entropy, sum);
        let Some(critical) = case["critical_surprisal"].as_f64() else {
            // a uniform distribution, of maximum entropy: nothing changes it to first order
            assert!(log_probs.iter().all(|log_prob| own(-log_prob).abs() < TOLERANCE));
            continue;
        };
        let (mut low, mut high) = (0.0, entropy);
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if own(middle) > 0.0 { low = middle } else { high = middle }
        }
        assert!((low - critical).abs() < TOLERANCE, "{low} {critical}");
        assert!(((-low).exp() - case["critical_probability"].as_f64().unwrap()).abs() < TOLERANCE);
        let raising: Vec<usize> =
            (0..logits.len()).filter(|&token| own(-log_probs[token]) < 0.0).collect();
        assert_eq!(json!(raising), case["raises_entropy_when_reinforced"]);
        let above: Vec<usize> =
            (0..logits.len()).filter(|&token| -log_probs[token] > critical).collect();
        assert_eq!(raising, above);
    }
    assert_eq!(phi(f64::INFINITY, 1.0, 0.25), -0.25, "a probability of 0");
}

/// Positions of all vectors with logits, each with a token and an advantage.
fn positions() -> Vec<(Vec<f64>, usize, f64)> {
    let mut found = Vec::new();
    for case in section("end_to_end") {
        let advantages = floats(&case["expect"]["advantage"]);
        for (row, advantage) in advantages.into_iter().enumerate() {
            for (at, logits) in case["logits"][row].as_array().unwrap().iter().enumerate() {
                let token = case["tokens"][row][at].as_u64().unwrap() as usize;
                found.push((floats(logits), token, advantage));
            }
        }
    }
    found
}

fn columns(positions: &[(Vec<f64>, usize, f64)]) -> Columns {
    let mut columns = Columns::default();
    for (logits, token, advantage) in positions {
        let (log_probs, entropy, sum) = scores(logits);
        columns.surprisals.push(-log_probs[*token] as f32);
        columns.entropies.push(entropy as f32);
        columns.phi_sums.push(sum as f32);
        columns.advantages.push(*advantage);
    }
    columns.samples.push(0..positions.len());
    columns
}

fn get(said: &[(String, f64)], key: &str) -> f64 {
    said.iter().find(|(name, _)| name == key).unwrap_or_else(|| panic!("no {key}")).1
}

#[test]
fn the_predicted_change_is_the_slope_of_the_mean_entropy() {
    let positions = positions();
    let columns = columns(&positions);
    let n = positions.len() as f64;
    let settings = Stare { gate: Gate::Open, reweight_w: Reweight::Fixed(2.5), ..Stare::default() };
    let weights = stare(settings).weights(&columns.borrow()).weights;
    let slope = |weights: &[f64]| -> f64 {
        let each = positions.iter().zip(weights);
        each.map(|((logits, token, a), w)| entropy_slope(logits, *token, a * w)).sum::<f64>() / n
    };
    let said = dynamics(&columns.borrow(), &LossTerms::default(), &weights, 0.1);
    assert!((get(&said, "entropy/predicted_delta") - slope(&weights)).abs() < 1e-7);
    let ones = vec![1.0; positions.len()];
    assert!((-get(&said, "entropy/lambda") - slope(&ones)).abs() < 1e-7);
    // the weight that makes it vanish
    let critical = get(&said, "entropy/critical_weight");
    let settings = Stare { reweight_w: Reweight::Fixed(critical), ..settings };
    let weights = stare(settings).weights(&columns.borrow()).weights;
    assert!(critical > 0.0 && slope(&weights).abs() < 1e-7, "{critical} {}", slope(&weights));
}

/// Factors and pulls of all kinds: 0, above and below 1, of both signs.
fn unequal_terms(n: usize) -> (Vec<f64>, Vec<f64>) {
    let factors = (0..n).map(|token| [0.0, 0.4, 1.0, 2.5][token % 4]).collect();
    let pulls = (0..n).map(|token| [0.3, -0.2, 0.0][token % 3]).collect();
    (factors, pulls)
}

#[test]
fn tokens_count_in_the_prediction_as_in_the_loss() {
    let positions = positions();
    let columns = columns(&positions);
    let n = positions.len();
    let (factors, pulls) = unequal_terms(n);
    let terms = LossTerms { factors: &factors, pulls: &pulls };
    let weights: Vec<f64> = (0..n).map(|token| [1.0, 3.0][token % 2]).collect();
    let slope = |credit: &dyn Fn(usize) -> f64| -> f64 {
        let each = positions.iter().enumerate();
        let slopes = each.map(|(at, (logits, token, _))| entropy_slope(logits, *token, credit(at)));
        slopes.sum::<f64>() / n as f64
    };
    let advantage = |at: usize| positions[at].2;
    let said = dynamics(&columns.borrow(), &terms, &weights, 0.1);
    let credit = slope(&|at| factors[at] * weights[at] * advantage(at) - pulls[at]);
    assert!((get(&said, "entropy/predicted_delta") - credit).abs() < 1e-7);
    let plain = slope(&|at| factors[at] * advantage(at) - pulls[at]);
    assert!((get(&said, "entropy/lambda") + plain).abs() < 1e-7);
    let quadrants = ["u_plus", "l_plus", "u_minus", "l_minus"];
    let sum = |what: &str| -> f64 {
        quadrants.iter().map(|one| get(&said, &format!("quadrant/critical/{one}/{what}"))).sum()
    };
    assert!((sum("entropy") - slope(&|at| factors[at] * advantage(at))).abs() < 1e-7);
    let mean = (0..n).map(|at| factors[at] * advantage(at)).sum::<f64>() / n as f64;
    assert!((sum("advantage") - mean).abs() < 1e-12);
    // Counted as in a mean over tokens, they are of another loss.
    let other = dynamics(&columns.borrow(), &LossTerms::default(), &weights, 0.1);
    assert!((get(&other, "entropy/predicted_delta") - credit).abs() > 1e-3);
    // The weight at which the prediction is 0.
    let critical = get(&said, "entropy/critical_weight");
    let settings =
        Stare { gate: Gate::Open, reweight_w: Reweight::Fixed(critical), ..Stare::default() };
    let weights = stare(settings).weights(&columns.borrow()).weights;
    let said = dynamics(&columns.borrow(), &terms, &weights, 0.1);
    assert!(get(&said, "entropy/predicted_delta").abs() < 1e-9, "at {critical}");
}

#[test]
fn the_controller_measures_what_the_prediction_is_made_of() {
    let positions = positions();
    let columns = columns(&positions);
    let (factors, pulls) = unequal_terms(positions.len());
    let terms = LossTerms { factors: &factors, pulls: &pulls };
    let auto = AutoReweight { auto: 1.0, min: 0.0, max: 1e9, memory: 1.0 };
    let mut controller = stare(Stare { reweight_w: Reweight::Auto(auto), ..Stare::default() });
    let measured = controller.observe(0.1, &columns.borrow(), &terms);
    let said = dynamics(&columns.borrow(), &terms, &vec![1.0; positions.len()], 0.1);
    for (own, key) in [
        ("stare/lambda", "entropy/lambda"),
        ("stare/gamma", "entropy/gamma"),
        ("stare/critical_weight", "entropy/critical_weight"),
    ] {
        assert!((value(&measured, own) - get(&said, key)).abs() < 1e-12, "{own}");
    }
}

#[test]
fn quadrants_share_out_the_step() {
    let positions = positions();
    let columns = columns(&positions);
    let n = positions.len() as f64;
    let ones = vec![1.0; positions.len()];
    let said = dynamics(&columns.borrow(), &LossTerms::default(), &ones, 0.1);
    let quadrants = ["u_plus", "l_plus", "u_minus", "l_minus"];
    let split = |split: &str, what: &str| {
        quadrants.map(|quadrant| get(&said, &format!("quadrant/{split}/{quadrant}/{what}")))
    };
    let positive = columns.advantages.iter().filter(|a| **a > 0.0).count();
    let negative = columns.advantages.iter().filter(|a| **a < 0.0).count();
    let mean_advantage = columns.advantages.iter().sum::<f64>() / n;
    for kind in ["quantile", "critical"] {
        let [tokens, advantage, entropy] =
            ["tokens", "advantage", "entropy"].map(|what| split(kind, what));
        assert!((tokens[0] + tokens[1] - positive as f64 / n).abs() < 1e-12);
        assert!((tokens[2] + tokens[3] - negative as f64 / n).abs() < 1e-12);
        assert!((advantage.iter().sum::<f64>() - mean_advantage).abs() < 1e-12);
        assert!((entropy.iter().sum::<f64>() + get(&said, "entropy/lambda")).abs() < 1e-12);
        assert!(advantage[0] >= 0.0 && advantage[1] > 0.0 && advantage[3] < 0.0);
    }
    let high = |count: usize| rewards::weighting::budget(count, 0.1) as f64 / n;
    let tokens = split("quantile", "tokens");
    assert!(
        (tokens[1] - high(positive)).abs() < 1e-12 && (tokens[3] - high(negative)).abs() < 1e-12
    );
    assert!((split("quantile", "entropy")[1] - get(&said, "entropy/gamma")).abs() < 1e-12);
    // split at s*, each quadrant has one sign (proposition 3.2)
    let entropy = split("critical", "entropy");
    assert!(entropy[0] < 0.0 && entropy[1] > 0.0 && entropy[2] > 0.0 && entropy[3] < 0.0);
    assert!((0.0..=1.0).contains(&get(&said, "entropy/selected_raising")));
}

#[test]
fn what_is_worked_out_by_hand() {
    // p = 1/2 and 1/8 of the distribution 1/2, 1/4, 1/8, 1/8
    let ln2 = std::f64::consts::LN_2;
    let p = [0.5, 0.25, 0.125, 0.125_f64];
    let logits: Vec<f64> = p.iter().map(|p| p.ln()).collect();
    let positions = [
        (logits.clone(), 0, 1.0),
        (logits.clone(), 2, 1.0),
        (logits.clone(), 0, -1.0),
        (logits, 3, 0.0),
    ];
    let columns = columns(&positions);
    let entropy = 1.75 * ln2;
    let sum: f64 = p.iter().map(|p| p * p * (p.ln() + entropy)).sum();
    let phi = |p: f64| p * (p.ln() + entropy) - sum;
    let said = dynamics(&columns.borrow(), &LossTerms::default(), &[1.0, 2.0, 1.0, 1.0], 0.5);
    let near = |key: &str, expected: f64| {
        assert!((get(&said, key) - expected).abs() < 1e-6, "{key} {}", get(&said, key));
    };
    near("entropy/lambda", phi(0.125) / 4.0);
    near("entropy/gamma", -phi(0.125) / 4.0);
    near("entropy/critical_weight", 0.0);
    near("entropy/predicted_delta", -2.0 * phi(0.125) / 4.0);
    near("entropy/selected_raising", 1.0);
    near("quadrant/quantile/l_plus/tokens", 0.25);
    near("quadrant/quantile/u_minus/tokens", 0.0);
    near("quadrant/critical/u_minus/entropy", phi(0.5) / 4.0);
    near("quadrant/critical/u_minus/advantage", -0.25);
    near("surprisal/mean", 2.0 * ln2);
    for (quantile, surprisal) in
        [("p10", ln2), ("p50", ln2), ("p80", 3.0 * ln2), ("p99", 3.0 * ln2)]
    {
        near(&format!("surprisal/quantile/{quantile}"), surprisal);
        near(&format!("entropy/quantile/{quantile}"), entropy);
    }
    near("surprisal/histogram/0.5", 0.5);
    near("surprisal/histogram/2", 0.5);
    near("surprisal/histogram/0", 0.0);
    let keys: Vec<&String> = said.iter().map(|(key, _)| key).collect();
    assert_eq!(keys.len(), 24 + 5 + 1 + 12 + 8);
    let once: std::collections::BTreeSet<_> = keys.iter().collect();
    assert_eq!(once.len(), keys.len());
    assert!(dynamics(&Columns::of(&[], &[]).borrow(), &LossTerms::default(), &[], 0.1).is_empty());
    // losers alone: no winner to raise
    let said = dynamics(
        &Columns::of(&[1.0, -1e-7, 9.0], &[-1.0; 3]).borrow(),
        &LossTerms::default(),
        &[1.0; 3],
        0.1,
    );
    assert!(said.iter().all(|(key, value)| !key.contains("selected") && value.is_finite()));
    assert_eq!(get(&said, "entropy/gamma"), 0.0);
    assert!((get(&said, "surprisal/histogram/8") - 1.0 / 3.0).abs() < 1e-12);
    assert!((get(&said, "surprisal/histogram/0") - 1.0 / 3.0).abs() < 1e-12);
}

#[test]
fn quantiles_are_the_smallest_values_that_cover() {
    for n in [1usize, 2, 7, 10, 100, 333] {
        let surprisals: Vec<f32> = (0..n).map(|i| ((i * 101) % n) as f32).collect();
        let columns = Columns::of(&surprisals, &vec![1.0; n]);
        let said = dynamics(&columns.borrow(), &LossTerms::default(), &vec![1.0; n], 0.1);
        for (name, percent) in
            [("p10", 10), ("p50", 50), ("p80", 80), ("p90", 90), ("p95", 95), ("p99", 99)]
        {
            let mut sorted = surprisals.clone();
            sorted.sort_by(f32::total_cmp);
            let covers = |value: f32| {
                100 * surprisals.iter().filter(|other| **other <= value).count() >= percent * n
            };
            let expected = sorted.into_iter().find(|value| covers(*value)).unwrap();
            assert_eq!(get(&said, &format!("surprisal/quantile/{name}")), f64::from(expected));
        }
        let total: f64 =
            said.iter().filter(|(key, _)| key.contains("histogram")).map(|(_, share)| share).sum();
        assert!((total - 1.0).abs() < 1e-12);
    }
}

// The entropy bonus ----------------------------------------------------------------------------

fn adaptive() -> EntropyBonus {
    serde_json::from_value(json!({
        "kind": "adaptive", "target": 0.3, "step": 0.125, "start": 0.25, "max": 0.5,
    }))
    .unwrap()
}

#[test]
fn the_adaptive_bonus_moves_before_use_and_rests_above_the_target() {
    let mut control = EntropyControl::new(adaptive());
    // below, below, below (bounded), above, at the target, not a number, above down to 0, below
    let entropies = [0.2, 0.2, 0.2, 0.4, 0.3, f64::NAN, 0.9, 0.9, 0.9, 0.1];
    let applied = [0.375, 0.5, 0.5, 0.0, 0.25, 0.0, 0.0, 0.0, 0.0, 0.125];
    for (at, (entropy, expected)) in entropies.into_iter().zip(applied).enumerate() {
        assert_eq!(control.observe(entropy), expected, "{at}");
    }
    let mut fixed = EntropyControl::new(EntropyBonus::Fixed { coefficient: 0.01 });
    assert_eq!([fixed.observe(9.0), fixed.observe(f64::NAN)], [0.01, 0.01]);
    assert_eq!(EntropyControl::new(EntropyBonus::default()).observe(0.0), 0.0);
}

#[test]
fn a_restored_bonus_goes_on_bit_for_bit() {
    let config = EntropyBonus::Adaptive { target: 0.3, step: 0.1, start: 0.0, max: 0.7 };
    let mut whole = EntropyControl::new(config);
    for _ in 0..3 {
        whole.observe(0.1);
    }
    let text = whole.state().to_string();
    let mut other = EntropyControl::new(config);
    other.restore(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    // 0.1 + 0.1 + 0.1 is not 0.3
    assert_eq!(other.observe(0.1).to_bits(), whole.observe(0.1).to_bits());
    for foreign in [json!({"coefficient": 1.0}), json!(["0.5"])] {
        let error = other.restore(&foreign).unwrap_err().to_string();
        assert!(error.starts_with("state of `entropy bonus`: expected its coefficient"), "{error}");
    }
}

#[test]
fn a_bonus_that_a_resume_changed_holds() {
    let resumed = |then, now| {
        let mut before = EntropyControl::new(then);
        before.observe(0.1);
        let mut after = EntropyControl::new(now);
        after.restore(&before.state()).unwrap();
        after.observe(0.1)
    };
    let fixed = |coefficient| EntropyBonus::Fixed { coefficient };
    assert_eq!(resumed(fixed(0.25), fixed(0.5)), 0.5);
    let adaptive = |start| EntropyBonus::Adaptive { target: 0.3, step: 0.125, start, max: 1.0 };
    assert_eq!(resumed(adaptive(0.25), adaptive(0.5)), 0.625);
    assert_eq!(resumed(adaptive(0.25), adaptive(0.25)), 0.5, "what it has moved to is kept");
}

#[test]
fn bonuses_are_read_and_checked() {
    let read = |text: &str| serde_json::from_str::<EntropyBonus>(text);
    let defaults = EntropyBonus::Adaptive { target: 0.2, step: 1e-4, start: 0.0, max: 5e-3 };
    assert_eq!(read(r#"{"kind": "adaptive"}"#).unwrap(), defaults);
    assert!(defaults.problems().is_empty() && EntropyBonus::default().problems().is_empty());
    assert!(read(r#"{"kind": "off", "step": 1}"#).is_err());
    assert_eq!(
        EntropyBonus::Fixed { coefficient: -1.0 }.problems(),
        ["coefficient: expected 0 or more, got -1"]
    );
    let bad = EntropyBonus::Adaptive { target: 0.0, step: f64::NAN, start: 0.5, max: -1.0 };
    assert_eq!(
        bad.problems(),
        [
            "target: expected more than 0, got 0",
            "step: expected more than 0, got NaN",
            "max: expected more than 0, got -1",
            "start: expected at most max = -1, got 0.5",
        ]
    );
}
