//! Losses against golden vectors, restatements and finite differences.
//!
//! `stare_vectors.json` was made by the program beside it, in numpy f64.

use candle::{DType, Device, Tensor, Var};
use engine::loss::{
    Aggregation, ClippedSurrogate, Counts, Kl, LossColumns, LossConfig, LossSums, PolicyLoss,
};
use proptest::prelude::*;
use serde_json::{Value, from_value, json, to_value};

/// Owned columns of one micro-batch, the tokens of a sequence side by side.
#[derive(Debug, Clone, Default)]
pub(crate) struct Case {
    pub(crate) log_probs: Vec<f64>,
    pub(crate) entropies: Vec<f64>,
    pub(crate) old_log_probs: Vec<f32>,
    pub(crate) advantages: Vec<f64>,
    pub(crate) weights: Vec<f64>,
    pub(crate) ref_log_probs: Option<Vec<f32>>,
    pub(crate) importance: Option<Vec<f64>>,
    pub(crate) coefficients: Vec<f64>,
    pub(crate) penalties: Option<Vec<f64>>,
    /// One sequence where this is empty.
    pub(crate) lengths: Vec<usize>,
}

/// Loss, gradients in log-probs and entropies, sums.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    pub(crate) d_log_probs: Vec<f64>,
    pub(crate) d_entropies: Option<Vec<f64>>,
    pub(crate) sums: LossSums,
}

fn to_vec(tensor: &Tensor) -> Vec<f64> {
    tensor.to_vec1().unwrap()
}

impl Case {
    fn columns<'a>(&'a self, lengths: &'a [usize]) -> LossColumns<'a> {
        LossColumns {
            old_log_probs: &self.old_log_probs,
            advantages: &self.advantages,
            weights: &self.weights,
            ref_log_probs: self.ref_log_probs.as_deref(),
            importance: self.importance.as_deref(),
            penalties: self.penalties.as_deref(),
            lengths,
            coefficients: &self.coefficients,
        }
    }

    pub(crate) fn sequences(&self) -> Vec<usize> {
        if self.lengths.is_empty() { vec![self.log_probs.len()] } else { self.lengths.clone() }
    }

    pub(crate) fn run(&self, config: &LossConfig) -> Outcome {
        let var = |values: &[f64]| {
            let tensor = Tensor::new(values, &Device::Cpu).unwrap();
            Var::from_tensor(&tensor).unwrap()
        };
        let (log_probs, entropies) = (var(&self.log_probs), var(&self.entropies));
        let lengths = self.sequences();
        let (loss, sums) = config.loss(&log_probs, &entropies, &self.columns(&lengths)).unwrap();
        let store = loss.backward().unwrap();
        Outcome {
            loss: loss.to_scalar().unwrap(),
            d_log_probs: to_vec(store.get(&log_probs).unwrap()),
            d_entropies: store.get(&entropies).map(to_vec),
            sums,
        }
    }

    fn part(&self, range: std::ops::Range<usize>, lengths: &[usize]) -> Self {
        Self {
            log_probs: self.log_probs[range.clone()].to_vec(),
            entropies: self.entropies[range.clone()].to_vec(),
            old_log_probs: self.old_log_probs[range.clone()].to_vec(),
            advantages: self.advantages[range.clone()].to_vec(),
            weights: self.weights[range.clone()].to_vec(),
            ref_log_probs: self.ref_log_probs.as_ref().map(|x| x[range.clone()].to_vec()),
            importance: self.importance.as_ref().map(|x| x[range.clone()].to_vec()),
            penalties: self.penalties.as_ref().map(|x| x[range.clone()].to_vec()),
            lengths: lengths.to_vec(),
            coefficients: self.coefficients[range].to_vec(),
        }
    }
}

#[track_caller]
pub(crate) fn close(got: &[f64], expected: &[f64], bound: f64, what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let allowed = bound * (1.0 + expected.abs());
        assert!((got - expected).abs() <= allowed, "{what} [{i}]: {got}, expected {expected}");
    }
}

// Golden vectors -------------------------------------------------------------------------------

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../rewards/testdata/stare_vectors.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn rows(value: &Value) -> Vec<Vec<f64>> {
    from_value(value.clone()).unwrap()
}

/// The entries of `matrix` at `rows` where the mask is 1, row by row.
fn packed(matrix: &[Vec<f64>], mask: &[Vec<f64>], rows: &[usize]) -> Vec<f64> {
    let row = |&i: &usize| matrix[i].iter().zip(&mask[i]).filter(|(_, m)| **m > 0.0);
    rows.iter().flat_map(row).map(|(x, _)| *x).collect()
}

fn lengths(mask: &[Vec<f64>], rows: &[usize]) -> Vec<usize> {
    rows.iter().map(|&i| mask[i].iter().filter(|m| **m > 0.0).count()).collect()
}

/// The surrogate of a vector case, on the rows given.
fn surrogate_case(vector: &Value, weights: &Value, rows_used: &[usize]) -> Case {
    let mask = rows(&vector["mask"]);
    let pick = |value: &Value| packed(&rows(value), &mask, rows_used);
    let log_probs = pick(&vector["logp"]);
    // On-policy cases have no old column.
    let old = vector.get("old_logp").map_or_else(|| log_probs.clone(), &pick);
    let importance = vector.get("is_weights").filter(|value| !value.is_null());
    Case {
        entropies: vec![1.0; log_probs.len()],
        log_probs,
        old_log_probs: old.iter().map(|&x| x as f32).collect(),
        advantages: pick(&vector["advantage"]),
        weights: pick(weights),
        importance: importance.map(pick),
        ..Case::default()
    }
}

fn surrogate_config(clip: &Value) -> LossConfig {
    let number = |key: &str| clip[key].as_f64().unwrap();
    let surrogate = ClippedSurrogate {
        clip_low: number("low"),
        clip_high: number("high"),
        dual_clip: Some(number("c")),
    };
    LossConfig { policy_loss: PolicyLoss::ClippedSurrogate(surrogate), ..LossConfig::default() }
}

fn aggregation(vector: &Value) -> Aggregation {
    let name = vector["agg"].as_str().unwrap();
    let padded = rows(&vector["mask"])[0].len();
    let table = match name {
        "seq-mean-token-sum-norm" => json!({"kind": name, "scale": padded}),
        _ => json!({"kind": name}),
    };
    from_value(table).unwrap()
}

/// Of differences between sums in f64 in another order.
pub(crate) const BOUND: f64 = 1e-10;

#[test]
fn the_surrogate_equals_the_vectors() {
    for vector in vectors()["policy_loss"].as_array().unwrap() {
        let name = vector["name"].as_str().unwrap();
        let expect = &vector["expect"];
        let mask = rows(&vector["mask"]);
        let all: Vec<usize> = (0..mask.len()).collect();
        let mut case = surrogate_case(vector, &expect["weights"], &all);
        let mut counts = Counts::of(&lengths(&mask, &all));
        let mut scale = 1.0;
        if let Some(info) = vector["global_info"].as_object() {
            counts.tokens = from_value(info["batch_num_tokens"].clone()).unwrap();
            scale = info["dp_size"].as_f64().unwrap();
        }
        let coefficients = aggregation(vector).coefficients(&lengths(&mask, &all), counts).unwrap();
        case.coefficients = coefficients.iter().map(|c| c * scale).collect();
        let config = surrogate_config(&vector["clip"]);
        let got = case.run(&config);
        close(&[got.loss], &[expect["loss"].as_f64().unwrap()], BOUND, name);
        let gradient = packed(&rows(&expect["grad_logp"]), &mask, &all);
        close(&got.d_log_probs, &gradient, BOUND, name);
        assert!(got.d_entropies.is_none());
        // verl's masked mean has 1e-8 in its denominator.
        let count = got.sums.tokens as f64;
        let masked = |mean: f64| mean * count / (count + 1e-8);
        for (key, mean) in [
            ("pg_clipfrac", got.sums.pg_clipfrac()),
            ("pg_clipfrac_lower", got.sums.pg_clipfrac_lower()),
            ("ppo_kl", got.sums.ppo_kl()),
        ] {
            let expected = expect["metrics"][key].as_f64().unwrap();
            close(&[masked(mean)], &[expected], BOUND, &format!("{name}: {key}"));
        }
    }
}

/// Each token's own loss: a coefficient of 1 on it and 0 on the others.
#[test]
fn token_losses_equal_the_vectors() {
    for vector in vectors()["policy_loss"].as_array().unwrap() {
        let expect = &vector["expect"];
        let mask = rows(&vector["mask"]);
        let all: Vec<usize> = (0..mask.len()).collect();
        let mut case = surrogate_case(vector, &expect["weights"], &all);
        let expected = packed(&rows(&expect["token_loss"]), &mask, &all);
        let token = |i: usize| {
            case.coefficients = vec![0.0; expected.len()];
            case.coefficients[i] = 1.0;
            case.run(&surrogate_config(&vector["clip"])).loss
        };
        let got: Vec<f64> = (0..expected.len()).map(token).collect();
        close(&got, &expected, BOUND, vector["name"].as_str().unwrap());
    }
}

/// Global counts give the batch's loss from any split; counts of the micro-batch itself, each
/// scaled by its share of the sequences, give the reference code's.
#[test]
fn micro_batches_equal_the_vectors() {
    for vector in vectors()["micro_batching"].as_array().unwrap() {
        let mask = rows(&vector["mask"]);
        let parts: Vec<Vec<usize>> = from_value(vector["micro_batches"].clone()).unwrap();
        let all: Vec<usize> = (0..mask.len()).collect();
        let whole = Counts::of(&lengths(&mask, &all));
        let config = surrogate_config(&vector["clip"]);
        for (key, local) in [("expect_batch", false), ("expect_micro", true)] {
            let expect = &vector[key];
            let mut loss = 0.0;
            for part in &parts {
                let own = lengths(&mask, part);
                let counts = if local { Counts::of(&own) } else { whole };
                let share = if local { part.len() as f64 / all.len() as f64 } else { 1.0 };
                let mut case = surrogate_case(vector, &expect["weights"], part);
                let coefficients = config.aggregation.coefficients(&own, counts).unwrap();
                case.coefficients = coefficients.iter().map(|c| c * share).collect();
                let got = case.run(&config);
                loss += got.loss;
                let gradient = packed(&rows(&expect["grad_logp"]), &mask, part);
                close(&got.d_log_probs, &gradient, BOUND, vector["name"].as_str().unwrap());
            }
            close(&[loss], &[expect["loss"].as_f64().unwrap()], BOUND, key);
        }
    }
}

// Restatements ---------------------------------------------------------------------------------

/// One token's surrogate and its derivative, by cases instead of by maxima.
fn restated(config: &ClippedSurrogate, log_prob: f64, old: f64, advantage: f64) -> (f64, f64) {
    let d = (log_prob - old).clamp(-20.0, 20.0);
    let r = d.exp();
    let moves = if d.abs() < 20.0 { r } else { 0.0 };
    let (low, high) = (1.0 - config.clip_low, 1.0 + config.clip_high);
    if advantage >= 0.0 {
        return if r > high {
            (-advantage * high, 0.0)
        } else {
            (-advantage * r, -advantage * moves)
        };
    }
    match config.dual_clip {
        Some(limit) if r.max(low) > limit => (-advantage * limit, 0.0),
        _ if r < low => (-advantage * low, 0.0),
        _ => (-advantage * r, -advantage * moves),
    }
}

/// A function of log-prob less reference log-prob.
type Curve = fn(f64) -> f64;

fn surrogates() -> [ClippedSurrogate; 4] {
    let plain = ClippedSurrogate::default();
    [
        plain.clone(),
        ClippedSurrogate { clip_high: 0.28, dual_clip: Some(10.0), ..plain },
        ClippedSurrogate { clip_low: 0.9, clip_high: 4.0, dual_clip: Some(1.5) },
        ClippedSurrogate { dual_clip: None, clip_low: 0.1, clip_high: 0.3 },
    ]
}

pub(crate) fn with_policy(policy: PolicyLoss) -> LossConfig {
    LossConfig { policy_loss: policy, ..LossConfig::default() }
}

prop_compose! {
    fn token()(
        log_prob in -8.0..-0.01_f64,
        drift in prop_oneof![-1.5..1.5_f64, -25.0..25.0_f64],
        advantage in -2.0..2.0_f64,
        factors in (0.5..2.0_f64, 0.5..2.0_f64, 0.01..0.2_f64),
        shift in prop_oneof![-1.0..1.0_f64, -25.0..25.0_f64],
        entropy in 0.0..4.0_f64,
    ) -> [f64; 8] {
        let (weight, importance, coefficient) = factors;
        let (old, reference) = (log_prob - drift, log_prob - shift);
        [log_prob, old, advantage, weight, importance, coefficient, reference, entropy]
    }
}

fn case(tokens: &[[f64; 8]]) -> Case {
    let column = |i: usize| tokens.iter().map(move |token| token[i]);
    Case {
        log_probs: column(0).collect(),
        old_log_probs: column(1).map(|x| x as f32).collect(),
        advantages: column(2).collect(),
        weights: column(3).collect(),
        importance: Some(column(4).collect()),
        coefficients: column(5).collect(),
        ref_log_probs: Some(column(6).map(|x| x as f32).collect()),
        entropies: column(7).collect(),
        ..Case::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_surrogate_equals_its_restatement(tokens in prop::collection::vec(token(), 1..20)) {
        let case = case(&tokens);
        for surrogate in surrogates() {
            let config = with_policy(PolicyLoss::ClippedSurrogate(surrogate.clone()));
            let got = case.run(&config);
            let mut loss = 0.0;
            for (i, token) in tokens.iter().enumerate() {
                let [log_prob, _, advantage, weight, importance, coefficient, ..] = *token;
                let old = f64::from(case.old_log_probs[i]);
                let (value, slope) = restated(&surrogate, log_prob, old, advantage);
                let factor = weight * importance * coefficient;
                loss += factor * value;
                close(&[got.d_log_probs[i]], &[factor * slope], 1e-10, "gradient");
            }
            close(&[got.loss, got.sums.policy_loss], &[loss, loss], 1e-10, "loss");
        }
    }

    #[test]
    fn every_kl_equals_its_restatement(tokens in prop::collection::vec(token(), 1..20)) {
        let case = case(&tokens);
        let kinds: [(&str, Curve, Curve); 3] = [
            ("k1", |d| d, |_| 1.0),
            ("k2", |d| 0.5 * d * d, |d| d),
            (
                "k3",
                |d| ((-d.clamp(-20.0, 20.0)).exp_m1() + d.clamp(-20.0, 20.0)).min(10.0),
                |d| if d.abs() > 20.0 || (-d).exp_m1() + d > 10.0 { 0.0 } else { -(-d).exp_m1() },
            ),
        ];
        for (kind, value, slope) in kinds {
            let mut config = with_policy(PolicyLoss::NegativeLogLikelihood {});
            let policy = case.run(&config);
            config.kl = from_value(json!({"kind": kind, "coefficient": 0.3})).unwrap();
            let got = case.run(&config);
            let gaps = tokens.iter().zip(case.ref_log_probs.as_ref().unwrap());
            let gap = |(token, &reference): (&[f64; 8], &f32)| token[0] - f64::from(reference);
            let gaps: Vec<f64> = gaps.map(gap).collect();
            let pairs = || gaps.iter().zip(&case.coefficients);
            let penalty: f64 = pairs().map(|(&d, c)| value(d) * c).sum();
            close(&[got.sums.kl_loss], &[penalty], 1e-10, kind);
            close(&[got.sums.ref_kl], &[gaps.iter().map(|&d| value(d)).sum()], 1e-10, kind);
            close(&[got.loss - policy.loss], &[0.3 * penalty], 1e-10, kind);
            let both = got.d_log_probs.iter().zip(&policy.d_log_probs);
            let added: Vec<f64> = both.map(|(a, b)| a - b).collect();
            let expected: Vec<f64> = pairs().map(|(&d, c)| 0.3 * slope(d) * c).collect();
            close(&added, &expected, 1e-10, kind);
            let told: Vec<f64> = pairs().map(|(&d, c)| config.kl.slope(d, 0.0) * c).collect();
            close(&added, &told, 1e-10, kind);
        }
    }
}

#[test]
fn likelihood_and_entropy_are_linear() {
    let tokens =
        [[-1.5, 0.0, 0.0, 2.0, 0.5, 0.25, 0.0, 0.7], [-0.5, 0.0, 0.0, 1.0, 1.0, 0.75, 0.0, 1.3]];
    let mut case = case(&tokens);
    // Neither column is read.
    case.old_log_probs.clear();
    case.advantages.clear();
    let mut config = with_policy(PolicyLoss::NegativeLogLikelihood {});
    config.entropy_coefficient = 0.1;
    let got = case.run(&config);
    let (policy, entropy) = (1.5 * 0.25 + 0.5 * 0.75, 0.7 * 0.25 + 1.3 * 0.75);
    close(&[got.loss, got.sums.policy_loss], &[policy - 0.1 * entropy, policy], BOUND, "loss");
    close(&got.d_log_probs, &[-0.25, -0.75], BOUND, "log-probs");
    close(&got.d_entropies.unwrap(), &[-0.025, -0.075], BOUND, "entropies");
}

// Finite differences ---------------------------------------------------------------------------

fn every_loss() -> Vec<LossConfig> {
    let mut configs: Vec<LossConfig> =
        surrogates().map(|s| with_policy(PolicyLoss::ClippedSurrogate(s))).into();
    configs.push(with_policy(PolicyLoss::PolicyGradient {}));
    configs.push(with_policy(PolicyLoss::Sapo { tau_positive: 1.0, tau_negative: 1.05 }));
    let likelihood = with_policy(PolicyLoss::NegativeLogLikelihood {});
    configs.push(likelihood.clone());
    let (coefficient, base) = (0.4, likelihood);
    for kl in [Kl::K1 { coefficient }, Kl::K2 { coefficient }, Kl::K3 { coefficient }] {
        configs.push(LossConfig { kl, entropy_coefficient: 0.2, ..base.clone() });
    }
    configs
}

/// The losses whose gradient is not the slope of their value.
fn stopped() -> [LossConfig; 3] {
    [
        PolicyLoss::Gspo { clip_low: 0.1, clip_high: 0.2 },
        PolicyLoss::Gmpo { clip_low: 0.4, clip_high: 0.5 },
        PolicyLoss::Cispo { clip_low: 0.5, clip_high: 0.3 },
    ]
    .map(with_policy)
}

#[test]
fn gradients_equal_finite_differences() {
    let tokens: Vec<[f64; 8]> = (0..24_u32)
        .map(|i| {
            let wave = |k: f64| (f64::from(i) * k + k).sin();
            let log_prob = -2.0 + 1.5 * wave(0.7);
            let (old, reference) = (log_prob - 1.3 * wave(1.1), log_prob - 2.5 * wave(1.9));
            [log_prob, old, 2.0 * wave(2.3), 1.2 + wave(0.3), 1.5 + wave(0.9), 0.05, reference, 1.0]
        })
        .collect();
    let case = case(&tokens);
    let step = 1e-6;
    for config in every_loss() {
        let got = case.run(&config);
        let slope = |column: fn(&mut Case) -> &mut Vec<f64>, i: usize| {
            let at = |offset: f64| {
                let mut moved = case.clone();
                column(&mut moved)[i] += offset;
                moved.run(&config).loss
            };
            (at(step) - at(-step)) / (2.0 * step)
        };
        let numeric = |column| (0..tokens.len()).map(|i| slope(column, i)).collect::<Vec<f64>>();
        close(&got.d_log_probs, &numeric(|case| &mut case.log_probs), 1e-8, "log-probs");
        let entropies = got.d_entropies.unwrap_or_else(|| vec![0.0; tokens.len()]);
        close(&entropies, &numeric(|case| &mut case.entropies), 1e-8, "entropies");
    }
}

// Ties and edges -------------------------------------------------------------------------------

fn one(log_prob: f64, old: f32, advantage: f64) -> Case {
    Case {
        log_probs: vec![log_prob],
        entropies: vec![1.0],
        old_log_probs: vec![old],
        advantages: vec![advantage],
        weights: vec![1.0],
        coefficients: vec![1.0],
        ..Case::default()
    }
}

#[test]
fn on_policy_the_gradient_is_that_of_advantage_times_log_prob() {
    for surrogate in surrogates() {
        for advantage in [1.5, -0.5, 0.0] {
            let config = with_policy(PolicyLoss::ClippedSurrogate(surrogate.clone()));
            let got = one(-1.25, -1.25, advantage).run(&config);
            assert_eq!((got.loss, got.d_log_probs), (-advantage, vec![-advantage]));
            assert_eq!((got.sums.clipped, got.sums.clipped_lower), (0, 0));
        }
    }
}

/// A ratio exactly on a bound is not clipped: full gradient, not counted.
#[test]
fn a_ratio_on_its_bound_is_within_it() {
    let on_bound = |surrogate: ClippedSurrogate, log_prob: f64, advantage: f64| {
        let config = with_policy(PolicyLoss::ClippedSurrogate(surrogate));
        one(log_prob, 0.0, advantage).run(&config)
    };
    let off = None;
    // exp(ln x) need not be x to the last bit: the bound is taken from the ratio itself.
    let ratio = |log_prob: f64| {
        let tensor = Tensor::new(&[log_prob], &Device::Cpu).unwrap();
        tensor.exp().unwrap().to_vec1::<f64>().unwrap()[0]
    };
    let (up, down, twice) = (ratio(0.5_f64), ratio(-0.5), ratio(0.75));
    let high = ClippedSurrogate { clip_low: 0.2, clip_high: up - 1.0, dual_clip: off };
    assert!((1.0 + high.clip_high).to_bits() == up.to_bits());
    let got = on_bound(high, 0.5, 1.0);
    assert_eq!((got.d_log_probs[0].to_bits(), got.sums.clipped), ((-up).to_bits(), 0));
    let low = ClippedSurrogate { clip_low: 1.0 - down, clip_high: 0.2, dual_clip: off };
    assert!((1.0 - low.clip_low).to_bits() == down.to_bits());
    let got = on_bound(low, -0.5, -1.0);
    assert_eq!((got.d_log_probs[0].to_bits(), got.sums.clipped), (down.to_bits(), 0));
    let dual = ClippedSurrogate { dual_clip: Some(twice), ..ClippedSurrogate::default() };
    let got = on_bound(dual, 0.75, -1.0);
    assert_eq!((got.d_log_probs[0].to_bits(), got.sums.clipped_lower), (twice.to_bits(), 0));
    let open = ClippedSurrogate { clip_low: 0.2, clip_high: 1e9, dual_clip: off };
    let got = on_bound(open.clone(), 20.0, -1.0);
    close(&got.d_log_probs, &[20.0_f64.exp()], 1e-12, "a log-ratio of 20");
    assert_eq!(on_bound(open, 20.5, -1.0).d_log_probs, [0.0]);
}

#[test]
fn a_log_prob_that_is_not_a_number_reaches_the_loss() {
    for config in every_loss().into_iter().chain(stopped()) {
        let mut case = one(f64::NAN, -1.0, -1.0);
        case.ref_log_probs = Some(vec![-1.0]);
        assert!(case.run(&config).loss.is_nan());
    }
}

type Breaks = fn(&mut Case);

#[test]
fn columns_that_do_not_fit_are_named() {
    let config = LossConfig { kl: Kl::K3 { coefficient: 0.1 }, ..LossConfig::default() };
    let message = |case: &Case| {
        let column = |values: &[f64]| Tensor::new(values, &Device::Cpu).unwrap();
        let (log_probs, entropies) = (column(&case.log_probs), column(&case.entropies));
        config.loss(&log_probs, &entropies, &case.columns(&case.lengths)).unwrap_err().to_string()
    };
    let good = Case { ref_log_probs: Some(vec![-1.0]), lengths: vec![1], ..one(-1.0, -1.0, 1.0) };
    let broken: [(&str, Breaks); 8] = [
        ("2 entropies", |case| case.entropies.push(0.0)),
        ("old_log_probs", |case| case.old_log_probs.push(0.0)),
        ("advantages", |case| case.advantages.clear()),
        ("weights", |case| case.weights.clear()),
        ("coefficients", |case| case.coefficients.clear()),
        ("penalties", |case| case.penalties = Some(Vec::new())),
        ("tokens of `lengths`", |case| case.lengths = vec![1, 2]),
        ("ref_log_probs", |case| case.ref_log_probs.as_mut().unwrap().clear()),
    ];
    for (column, breaks) in broken {
        let mut case = good.clone();
        breaks(&mut case);
        let (name, error) = (column.trim_start_matches("2 "), message(&case));
        assert!(error.starts_with(&format!("loss: expected 1 {name}, one per target")), "{error}");
    }
    let missing = Case { ref_log_probs: None, ..good };
    assert_eq!(message(&missing), "loss: kl is on, but there are no reference log-probs");
}

#[test]
fn scores_in_another_type_than_f64_are_refused() {
    let case = one(-1.0, -1.0, 1.0);
    let wide = Tensor::new(&[-1.0_f64], &Device::Cpu).unwrap();
    for dtype in [DType::F32, DType::BF16] {
        let narrow = wide.to_dtype(dtype).unwrap();
        for (log_probs, entropies) in [(&narrow, &wide), (&wide, &narrow)] {
            let loss = LossConfig::default().loss(log_probs, entropies, &case.columns(&[1]));
            let error = loss.unwrap_err().to_string();
            assert!(error.starts_with("loss: expected scores in f64 on the CPU"), "{error}");
        }
    }
}

// Aggregation ----------------------------------------------------------------------------------

fn aggregations() -> [Aggregation; 4] {
    [
        Aggregation::TokenMean {},
        Aggregation::SeqMeanTokenSum {},
        Aggregation::SeqMeanTokenMean {},
        Aggregation::SeqMeanTokenSumNorm { scale: 7.0 },
    ]
}

#[test]
fn coefficients_are_what_the_modes_say() {
    let (lengths, counts) = ([2, 0, 1], Counts { tokens: 6, sequences: 4 });
    let expected = [[1.0 / 6.0; 3], [0.25; 3], [0.125, 0.125, 0.25], [1.0 / 7.0; 3]];
    for (aggregation, expected) in aggregations().iter().zip(expected) {
        let got = aggregation.coefficients(&lengths, counts).unwrap();
        close(&got, &expected, 1e-8, &format!("{aggregation:?}"));
        let short = Counts { tokens: 2, ..counts };
        let error = aggregation.coefficients(&lengths, short).unwrap_err().to_string();
        assert!(error.contains("3 tokens in 2 sequences, out of an update of 2 in 4"), "{error}");
    }
    assert_eq!(Counts::of(&lengths), Counts { tokens: 3, sequences: 2 });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn split_micro_batches_equal_one(
        sequences in prop::collection::vec(prop::collection::vec(token(), 0..6), 1..8),
        cut in 0..8_usize,
    ) {
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let tokens: Vec<[f64; 8]> = sequences.concat();
        prop_assume!(!tokens.is_empty());
        let cut = cut.min(sequences.len());
        let row = lengths[..cut].iter().sum();
        let counts = Counts::of(&lengths);
        for aggregation in aggregations() {
            for mut config in every_loss().into_iter().chain(stopped()) {
                let mut whole = Case { lengths: lengths.clone(), ..case(&tokens) };
                whole.penalties = Some(whole.entropies.clone());
                whole.coefficients = aggregation.coefficients(&lengths, counts).unwrap();
                config.aggregation = aggregation.clone();
                let expected = whole.run(&config);
                let (mut loss, mut gradient, mut sums) = (0.0, Vec::new(), LossSums::default());
                let (front, back) = lengths.split_at(cut);
                for (part, range) in [(front, 0..row), (back, row..tokens.len())] {
                    if range.is_empty() {
                        continue;
                    }
                    let mut piece = whole.part(range, part);
                    piece.coefficients = aggregation.coefficients(part, counts).unwrap();
                    let got = piece.run(&config);
                    loss += got.loss;
                    gradient.extend(got.d_log_probs);
                    sums += got.sums;
                }
                close(&[loss], &[expected.loss], 1e-12, "loss");
                close(&gradient, &expected.d_log_probs, 1e-12, "gradient");
                let flat = |s: &LossSums| [s.old_kl, s.ref_kl, s.policy_loss, s.kl_loss];
                close(&flat(&sums), &flat(&expected.sums), 1e-12, "sums");
                let counted = |s: &LossSums| [s.tokens, s.clipped, s.clipped_lower];
                prop_assert_eq!(counted(&sums), counted(&expected.sums));
            }
        }
    }
}

// Configuration --------------------------------------------------------------------------------

#[test]
fn a_recipe_writes_what_differs() {
    assert_eq!(from_value::<LossConfig>(json!({})).unwrap(), LossConfig::default());
    let written = json!({
        "policy_loss": {"kind": "clipped-surrogate", "clip_high": 0.28, "dual_clip": "off"},
        "aggregation": {"kind": "seq-mean-token-sum-norm", "scale": 64},
        "kl": {"kind": "k3"},
    });
    let config: LossConfig = from_value(written).unwrap();
    let surrogate = ClippedSurrogate { clip_low: 0.2, clip_high: 0.28, dual_clip: None };
    assert_eq!(config.policy_loss, PolicyLoss::ClippedSurrogate(surrogate));
    assert_eq!(config.aggregation, Aggregation::SeqMeanTokenSumNorm { scale: 64.0 });
    assert_eq!(config.kl, Kl::K3 { coefficient: 0.001 });
    for config in [config, LossConfig::default()] {
        let value = to_value(&config).unwrap();
        assert_eq!(from_value::<LossConfig>(value).unwrap(), config);
    }
}

#[test]
fn typing_errors_are_refused() {
    let error = |value: Value| from_value::<LossConfig>(value).unwrap_err().to_string();
    let cases = [
        (json!({"entropy_coef": 0.1}), "unknown field `entropy_coef`"),
        (json!({"policy_loss": {"kind": "ppo"}}), "unknown variant `ppo`"),
        (json!({"policy_loss": {"kind": "clipped-surrogate", "eps": 1}}), "unknown field `eps`"),
        (json!({"policy_loss": {"kind": "negative-log-likelihood", "x": 1}}), "unknown field `x`"),
        (json!({"kl": {"kind": "off", "coefficient": 0.1}}), "unknown field `coefficient`"),
        (json!({"aggregation": {"kind": "token-mean", "scale": 1}}), "unknown field `scale`"),
        (json!({"aggregation": {"kind": "seq-mean-token-sum-norm"}}), "missing field `scale`"),
        (
            json!({"policy_loss": {"kind": "clipped-surrogate", "dual_clip": "none"}}),
            "expected f64 or \"off\"",
        ),
    ];
    for (value, says) in cases {
        let error = error(value);
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let config = LossConfig {
        policy_loss: PolicyLoss::ClippedSurrogate(ClippedSurrogate {
            clip_low: 1.1,
            clip_high: -0.1,
            dual_clip: Some(1.0),
        }),
        aggregation: Aggregation::SeqMeanTokenSumNorm { scale: 0.0 },
        kl: Kl::K1 { coefficient: f64::NAN },
        entropy_coefficient: 0.0,
    };
    let keys = ["clip_low", "clip_high", "dual_clip", "aggregation.scale", "kl.coefficient"];
    let problems = config.problems();
    assert_eq!(problems.len(), keys.len());
    assert!(keys.iter().zip(&problems).all(|(key, problem)| problem.starts_with(key)));
    assert!(every_loss().iter().chain(&stopped()).all(|config| config.problems().is_empty()));
}
