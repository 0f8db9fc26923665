//! The losses of the family against restatements in f64, with mutants that have to be caught.

use engine::loss::{Aggregation, Counts, Kl, LossConfig, PolicyLoss};
use proptest::prelude::*;
use serde_json::{Value, from_value, json, to_value};

use crate::loss::{BOUND, Case, close, with_policy};

/// A sequence as a restatement takes it; its tokens share the advantage.
#[derive(Debug, Clone)]
struct Sequence {
    log_probs: Vec<f64>,
    old: Vec<f64>,
    advantage: f64,
}

impl Sequence {
    fn ratio(&self, token: usize) -> f64 {
        (self.log_probs[token] - self.old[token]).exp()
    }

    /// Root of the product of the tokens' `f`.
    fn geometric_mean(&self, f: impl Fn(usize) -> f64) -> f64 {
        let n = self.log_probs.len();
        (0..n).map(f).product::<f64>().powf(1.0 / n as f64)
    }

    fn tokens(&self, f: impl Fn(usize) -> (f64, f64)) -> Vec<(f64, f64)> {
        (0..self.log_probs.len()).map(f).collect()
    }
}

/// Loss of each token and its derivative in the token's own log-prob.
type Restated = fn(&Sequence) -> Vec<(f64, f64)>;

const LOW: f64 = 0.25;
const HIGH: f64 = 0.35;
const TAUS: (f64, f64) = (0.8, 2.5);

/// The smaller of `ratio * advantage` and the same with the ratio between bounds, and whether it is
/// the second one strictly.
fn pessimistic(ratio: f64, advantage: f64, low: f64, high: f64) -> (f64, bool) {
    let (plain, bounded) = (ratio * advantage, ratio.clamp(low, high) * advantage);
    (plain.min(bounded), bounded < plain)
}

fn policy_gradient(x: &Sequence) -> Vec<(f64, f64)> {
    x.tokens(|t| (-x.advantage * x.log_probs[t], -x.advantage))
}

/// Equation 5 of GSPO with the ratio of equation 7.
fn gspo(x: &Sequence) -> Vec<(f64, f64)> {
    let ratio = x.geometric_mean(|t| x.ratio(t)).min(10_f64.exp());
    let (gain, clipped) = pessimistic(ratio, x.advantage, 1.0 - LOW, 1.0 + HIGH);
    x.tokens(|_| (-gain, if clipped { 0.0 } else { -gain }))
}

/// The objective of GMPO: the geometric mean of the tokens' gains without sign, and the sign.
fn gmpo(x: &Sequence) -> Vec<(f64, f64)> {
    let gain = |t| pessimistic(x.ratio(t), x.advantage, (-LOW).exp(), HIGH.exp());
    let mean = x.geometric_mean(|t| gain(t).0.abs()) * x.advantage.signum();
    x.tokens(|t| (-mean, if gain(t).1 { 0.0 } else { -mean }))
}

fn cispo(x: &Sequence) -> Vec<(f64, f64)> {
    let pull = |t| -x.ratio(t).clamp(1.0 - LOW, 1.0 + HIGH) * x.advantage;
    x.tokens(|t| (pull(t) * x.log_probs[t], pull(t)))
}

fn gate(x: &Sequence, tau: f64, t: usize) -> (f64, f64) {
    let ratio = x.ratio(t);
    let open = 1.0 / (1.0 + (-tau * (ratio - 1.0)).exp());
    (-x.advantage * 4.0 / tau * open, -x.advantage * 4.0 * open * (1.0 - open) * ratio)
}

fn sapo(x: &Sequence) -> Vec<(f64, f64)> {
    let tau = if x.advantage > 0.0 { TAUS.0 } else { TAUS.1 };
    x.tokens(|t| gate(x, tau, t))
}

/// Each loss of the family with its restatement.
fn family() -> [(&'static str, PolicyLoss, Restated); 5] {
    let (clip_low, clip_high) = (LOW, HIGH);
    [
        ("gpg", PolicyLoss::PolicyGradient {}, policy_gradient),
        ("gspo", PolicyLoss::Gspo { clip_low, clip_high }, gspo),
        ("gmpo", PolicyLoss::Gmpo { clip_low, clip_high }, gmpo),
        ("cispo", PolicyLoss::Cispo { clip_low, clip_high }, cispo),
        ("sapo", PolicyLoss::Sapo { tau_positive: TAUS.0, tau_negative: TAUS.1 }, sapo),
    ]
}

fn loss_of(name: &str) -> LossConfig {
    let found = family().into_iter().find(|(known, ..)| *known == name);
    with_policy(found.unwrap().1)
}

/// Columns of some sequences, every factor of a token its own.
fn case(sequences: &[Sequence]) -> Case {
    let tokens: usize = sequences.iter().map(|x| x.log_probs.len()).sum();
    let wave = |k: f64| (0..tokens).map(move |i| (i as f64 * k).sin());
    let repeated = |x: &Sequence| std::iter::repeat_n(x.advantage, x.log_probs.len());
    Case {
        log_probs: sequences.iter().flat_map(|x| x.log_probs.clone()).collect(),
        old_log_probs: sequences.iter().flat_map(|x| &x.old).map(|&old| old as f32).collect(),
        advantages: sequences.iter().flat_map(repeated).collect(),
        weights: wave(0.7).map(|x| 1.2 + x).collect(),
        importance: Some(wave(1.3).map(|x| 1.5 + x).collect()),
        coefficients: wave(2.1).map(|x| 0.1 + 0.05 * x).collect(),
        entropies: vec![1.0; tokens],
        lengths: sequences.iter().map(|x| x.log_probs.len()).collect(),
        ..Case::default()
    }
}

/// Loss and gradient by the restatement.
fn expected(case: &Case, sequences: &[Sequence], restated: Restated) -> (f64, Vec<f64>) {
    let factor =
        |i: usize| case.coefficients[i] * case.weights[i] * case.importance.as_ref().unwrap()[i];
    let tokens = sequences.iter().flat_map(restated).enumerate();
    let scaled: Vec<(f64, f64)> =
        tokens.map(|(i, (value, slope))| (factor(i) * value, factor(i) * slope)).collect();
    (scaled.iter().map(|x| x.0).sum(), scaled.iter().map(|x| x.1).collect())
}

/// Sequences of 3, 0, 5, 1, 4 and 6 tokens, some ratios out of bounds on either side.
fn usual() -> Vec<Sequence> {
    let lengths = [(3, 1.5), (0, 1.0), (5, -0.75), (1, -2.0), (4, 0.5), (6, -1.0), (2, 0.0)];
    let mut count = 0.0;
    let mut wave = |k: f64| {
        count += 1.0;
        f64::sin(count * k)
    };
    let sequences = lengths.iter().enumerate().map(|(i, &(length, advantage))| {
        let shift = [0.5, 0.0, -0.4, -0.6, 0.1, 0.45, 0.3][i];
        let log_probs: Vec<f64> = (0..length).map(|_| -1.5 + wave(1.1)).collect();
        let old = |x: &f64| f64::from((x - shift - 0.5 * wave(1.7)) as f32);
        Sequence { old: log_probs.iter().map(old).collect(), log_probs, advantage }
    });
    sequences.collect()
}

#[test]
fn one_step_equals_its_restatement() {
    let sequences = usual();
    let case = case(&sequences);
    for (name, policy, restated) in family() {
        let (loss, gradient) = expected(&case, &sequences, restated);
        let got = case.run(&with_policy(policy.clone()));
        close(&[got.loss, got.sums.policy_loss], &[loss, loss], BOUND, name);
        close(&got.d_log_probs, &gradient, BOUND, name);
        let drift =
            |x: &Sequence| -> f64 { x.old.iter().sum::<f64>() - x.log_probs.iter().sum::<f64>() };
        close(&[got.sums.old_kl], &[sequences.iter().map(drift).sum()], BOUND, name);
        assert_eq!((got.sums.tokens, got.sums.clipped_lower), (21, 0), "{name}");
    }
}

prop_compose! {
    fn sequence()(
        tokens in prop::collection::vec((-8.0..-0.01_f64, -1.5..1.5_f64), 0..6),
        advantage in prop_oneof![Just(0.0), -2.0..2.0_f64],
    ) -> Sequence {
        let (log_probs, drift): (Vec<f64>, Vec<f64>) = tokens.into_iter().unzip();
        let old = log_probs.iter().zip(drift).map(|(x, drift)| f64::from((x - drift) as f32));
        Sequence { old: old.collect(), log_probs, advantage }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_step_equals_its_restatement(sequences in prop::collection::vec(sequence(), 1..6)) {
        prop_assume!(sequences.iter().any(|x| !x.log_probs.is_empty()));
        let case = case(&sequences);
        for (name, policy, restated) in family() {
            let (loss, gradient) = expected(&case, &sequences, restated);
            let got = case.run(&with_policy(policy));
            close(&[got.loss], &[loss], 1e-10, name);
            close(&got.d_log_probs, &gradient, 1e-10, name);
        }
    }
}

// Mutants --------------------------------------------------------------------------------------

/// A loss, a plausible mistake, and what the restatement would be if the loss had it.
type Mutant = (&'static str, &'static str, Restated);

fn token_mutants() -> Vec<Mutant> {
    vec![
        ("gpg", "wrong sign", |x| x.tokens(|t| (x.advantage * x.log_probs[t], x.advantage))),
        ("gpg", "a ratio", |x| {
            x.tokens(|t| (-x.advantage * x.ratio(t), -x.advantage * x.ratio(t)))
        }),
        ("cispo", "wrong sign", |x| cispo(x).iter().map(|(a, b)| (-a, -b)).collect()),
        ("cispo", "gradient through the factor", |x| {
            x.tokens(|t| {
                let factor = x.ratio(t).clamp(1.0 - LOW, 1.0 + HIGH);
                let moves = if (factor - x.ratio(t)).abs() < 1e-12 { factor } else { 0.0 };
                let log_prob = x.log_probs[t];
                (-factor * x.advantage * log_prob, -x.advantage * (factor + moves * log_prob))
            })
        }),
        ("cispo", "clipped tokens without gradient", |x| {
            let each = cispo(x).into_iter().enumerate();
            let free = |t: usize| (1.0 - LOW..=1.0 + HIGH).contains(&x.ratio(t));
            each.map(|(t, (a, b))| (a, if free(t) { b } else { 0.0 })).collect()
        }),
        ("cispo", "no clip", |x| {
            let pull = |t| -x.ratio(t) * x.advantage;
            x.tokens(|t| (pull(t) * x.log_probs[t], pull(t)))
        }),
        ("sapo", "wrong sign", |x| sapo(x).iter().map(|(a, b)| (-a, -b)).collect()),
        ("sapo", "sharpness swapped", |x| {
            let tau = if x.advantage > 0.0 { TAUS.1 } else { TAUS.0 };
            x.tokens(|t| gate(x, tau, t))
        }),
        ("sapo", "without 4 / tau", |x| {
            let tau = if x.advantage > 0.0 { TAUS.0 } else { TAUS.1 };
            sapo(x).iter().map(|(a, b)| (a * tau / 4.0, b * tau / 4.0)).collect()
        }),
        ("sapo", "not centred on 1", |x| {
            let tau = if x.advantage > 0.0 { TAUS.0 } else { TAUS.1 };
            x.tokens(|t| {
                let open = 1.0 / (1.0 + (-tau * x.ratio(t)).exp());
                let slope = 4.0 * open * (1.0 - open) * x.ratio(t);
                (-x.advantage * 4.0 / tau * open, -x.advantage * slope)
            })
        }),
    ]
}

fn gspo_mutants() -> Vec<Mutant> {
    vec![
        ("gspo", "the token's ratio", |x| {
            x.tokens(|t| {
                let (gain, clipped) = pessimistic(x.ratio(t), x.advantage, 1.0 - LOW, 1.0 + HIGH);
                (-gain, if clipped { 0.0 } else { -gain })
            })
        }),
        ("gspo", "no root", |x| {
            let ratio: f64 = (0..x.old.len()).map(|t| x.ratio(t)).product();
            let (gain, clipped) = pessimistic(ratio, x.advantage, 1.0 - LOW, 1.0 + HIGH);
            x.tokens(|_| (-gain, if clipped { 0.0 } else { -gain }))
        }),
        ("gspo", "gradient through the mean instead of the token", |x| {
            let n = x.log_probs.len() as f64;
            gspo(x).iter().map(|(value, slope)| (*value, slope / n)).collect()
        }),
        ("gspo", "gradient through the mean as well", |x| {
            let n = x.log_probs.len() as f64;
            gspo(x).iter().map(|(value, slope)| (*value, slope * (1.0 + 1.0 / n))).collect()
        }),
        ("gspo", "wrong sign", |x| gspo(x).iter().map(|(a, b)| (-a, -b)).collect()),
        ("gspo", "bounds swapped", |x| {
            let ratio = x.geometric_mean(|t| x.ratio(t));
            let (gain, clipped) = pessimistic(ratio, x.advantage, 1.0 - HIGH, 1.0 + LOW);
            x.tokens(|_| (-gain, if clipped { 0.0 } else { -gain }))
        }),
    ]
}

fn gmpo_mutants() -> Vec<Mutant> {
    vec![
        ("gmpo", "wrong sign", |x| gmpo(x).iter().map(|(a, b)| (-a, -b)).collect()),
        ("gmpo", "the mean of the ratios", |x| {
            let gain = |t| pessimistic(x.ratio(t), x.advantage, (-LOW).exp(), HIGH.exp());
            let n = x.log_probs.len();
            let mean = (0..n).map(|t| gain(t).0).sum::<f64>() / n as f64;
            x.tokens(|t| (-mean, if gain(t).1 { 0.0 } else { -mean }))
        }),
        ("gmpo", "bounds that are not logarithms", |x| {
            let gain = |t| pessimistic(x.ratio(t), x.advantage, 1.0 - LOW, 1.0 + HIGH);
            let mean = x.geometric_mean(|t| gain(t).0.abs()) * x.advantage.signum();
            x.tokens(|t| (-mean, if gain(t).1 { 0.0 } else { -mean }))
        }),
        ("gmpo", "clipped on both sides", |x| {
            let bounded = |t| x.ratio(t).clamp((-LOW).exp(), HIGH.exp());
            let mean = x.geometric_mean(bounded) * x.advantage;
            let free = |t: usize| (bounded(t) - x.ratio(t)).abs() < 1e-12;
            x.tokens(|t| (-mean, if free(t) { -mean } else { 0.0 }))
        }),
        ("gmpo", "clipped after the mean", |x| {
            let mean = x.geometric_mean(|t| x.ratio(t));
            let (gain, clipped) = pessimistic(mean, x.advantage, (-LOW).exp(), HIGH.exp());
            x.tokens(|_| (-gain, if clipped { 0.0 } else { -gain }))
        }),
    ]
}

#[test]
fn every_mutant_is_caught() {
    let sequences = usual();
    let case = case(&sequences);
    let mutants = [token_mutants(), gspo_mutants(), gmpo_mutants()].concat();
    for (name, mistake, restated) in mutants {
        let (loss, gradient) = expected(&case, &sequences, restated);
        let got = case.run(&loss_of(name));
        let apart = got.d_log_probs.iter().zip(&gradient).map(|(a, b)| (a - b).abs());
        let apart = apart.fold((got.loss - loss).abs(), f64::max);
        assert!(apart > 1e-3, "{name}: {mistake} is {apart:e} away from the loss");
    }
}

// Sequences ------------------------------------------------------------------------------------

/// With equal weights, seq-mean-token-mean gives the papers' mean over sequences, in value and in
/// slope through the sequence's ratio.
#[test]
fn a_sequence_loss_is_the_papers_mean_over_sequences() {
    let sequences: Vec<Sequence> =
        usual().into_iter().filter(|x| !x.log_probs.is_empty()).collect();
    let lengths: Vec<usize> = sequences.iter().map(|x| x.log_probs.len()).collect();
    let mut case = case(&sequences);
    let aggregation = Aggregation::SeqMeanTokenMean {};
    case.coefficients = aggregation.coefficients(&lengths, Counts::of(&lengths)).unwrap();
    case.weights = vec![1.0; case.weights.len()];
    case.importance = None;
    for (name, restated) in [("gspo", gspo as Restated), ("gmpo", gmpo)] {
        let objective = |sequences: &[Sequence]| -> f64 {
            let values = sequences.iter().map(|x| restated(x)[0].0);
            values.sum::<f64>() / sequences.len() as f64
        };
        let got = case.run(&loss_of(name));
        close(&[got.loss], &[objective(&sequences)], 1e-7, name);
        let step = 1e-6;
        let mut numeric = Vec::new();
        for (i, length) in lengths.iter().enumerate() {
            for t in 0..*length {
                let at = |offset: f64| {
                    let mut moved = sequences.clone();
                    moved[i].log_probs[t] += offset;
                    objective(&moved)
                };
                numeric.push((at(step) - at(-step)) / (2.0 * step));
            }
        }
        close(&got.d_log_probs, &numeric, 1e-7, name);
    }
}

#[test]
fn on_policy_every_gradient_is_that_of_advantage_times_log_prob() {
    let mut sequences = usual();
    for x in &mut sequences {
        x.log_probs = x.old.clone();
    }
    let case = case(&sequences);
    let (_, gradient) = expected(&case, &sequences, policy_gradient);
    for (name, policy, _) in family() {
        let got = case.run(&with_policy(policy.clone()));
        close(&got.d_log_probs, &gradient, BOUND, name);
        assert_eq!((got.sums.clipped, got.sums.old_kl), (0, 0.0), "{name}");
    }
}

#[test]
fn clipped_tokens_are_counted() {
    let sequences = usual();
    let case = case(&sequences);
    let clipped = |name: &str| case.run(&loss_of(name)).sums.clipped;
    let still = |restated: Restated| {
        let still = |x: &Sequence| {
            restated(x).iter().filter(|(_, slope)| x.advantage != 0.0 && *slope == 0.0).count()
        };
        sequences.iter().map(still).sum::<usize>() as u64
    };
    assert!(still(gspo) > 0 && still(gmpo) > 0);
    assert_eq!((clipped("gspo"), clipped("gmpo")), (still(gspo), still(gmpo)));
    let outside = |x: &Sequence| {
        let bounds = 1.0 - LOW..=1.0 + HIGH;
        (0..x.log_probs.len()).filter(|&t| !bounds.contains(&x.ratio(t))).count()
    };
    assert_eq!(clipped("cispo"), sequences.iter().map(outside).sum::<usize>() as u64);
    assert_eq!((clipped("gpg"), clipped("sapo")), (0, 0));
}

/// Far from the old policy nothing overflows, and what is bounded has no gradient.
#[test]
fn distant_policies_have_finite_losses() {
    for drift in [-300.0, 300.0] {
        let far = |advantage| Sequence {
            log_probs: vec![-1.0; 2],
            old: vec![-1.0 - drift; 2],
            advantage,
        };
        let case = case(&[far(1.0), far(-1.0)]);
        for (name, policy, _) in family() {
            let got = case.run(&with_policy(policy.clone()));
            assert!(got.loss.is_finite(), "{name} {drift}: {}", got.loss);
            assert!(got.d_log_probs.iter().all(|x| x.is_finite()), "{name} {drift}");
        }
        let got = case.run(&loss_of("gspo"));
        if drift > 0.0 {
            assert_eq!(got.d_log_probs[2..], [0.0; 2], "beyond the bound of 10");
        }
    }
}

// Penalties ------------------------------------------------------------------------------------

#[test]
fn a_penalty_is_a_distance_that_the_weight_does_not_scale() {
    let one = |log_prob| Sequence { log_probs: vec![log_prob], old: vec![-1.0], advantage: 0.0 };
    let mut case = case(&[one(-0.75), one(-1.5), one(-1.0), one(-0.5)]);
    case.weights = vec![3.0, 0.0, 1.0, 1.0];
    case.importance = Some(vec![1.0, 2.0, 1.0, 0.5]);
    case.coefficients = vec![0.5, 1.0, 1.0, 1.0];
    case.penalties = Some(vec![2.0, 1.0, 5.0, 0.0]);
    for (_, policy, _) in family() {
        let got = case.run(&with_policy(policy.clone()));
        close(&[got.loss, got.sums.policy_loss], &[1.25, 1.25], BOUND, "loss");
        close(&got.d_log_probs, &[1.0, -2.0, 0.0, 0.0], BOUND, "gradient");
    }
}

// Configuration --------------------------------------------------------------------------------

#[test]
fn a_recipe_names_a_loss_and_what_differs() {
    let policy = |table: Value| from_value::<PolicyLoss>(table).unwrap();
    assert_eq!(policy(json!({"kind": "policy-gradient"})), PolicyLoss::PolicyGradient {});
    assert_eq!(
        policy(json!({"kind": "gspo"})),
        PolicyLoss::Gspo { clip_low: 3e-4, clip_high: 4e-4 }
    );
    assert_eq!(
        policy(json!({"kind": "gmpo", "clip_high": 0.5})),
        PolicyLoss::Gmpo { clip_low: 0.4, clip_high: 0.5 }
    );
    assert_eq!(
        policy(json!({"kind": "cispo"})),
        PolicyLoss::Cispo { clip_low: 10.0, clip_high: 0.2 }
    );
    assert_eq!(
        policy(json!({"kind": "sapo"})),
        PolicyLoss::Sapo { tau_positive: 1.0, tau_negative: 1.05 }
    );
    for (_, policy, _) in family() {
        assert_eq!(from_value::<PolicyLoss>(to_value(&policy).unwrap()).unwrap(), policy);
        assert!(with_policy(policy).problems().is_empty());
    }
    for kind in ["policy-gradient", "gspo", "gmpo", "cispo", "sapo"] {
        let error = from_value::<PolicyLoss>(json!({"kind": kind, "epsilon": 0.1})).unwrap_err();
        assert!(error.to_string().contains("unknown field `epsilon`"), "{error}");
    }
}

#[test]
fn bad_bounds_are_named_with_their_keys() {
    let problems = |policy| LossConfig { kl: Kl::Off {}, ..with_policy(policy) }.problems();
    let clips = ["clip_low", "clip_high"];
    let taus = ["tau_positive", "tau_negative"];
    let cases = [
        (PolicyLoss::Gspo { clip_low: 1.5, clip_high: -0.1 }, clips),
        (PolicyLoss::Gspo { clip_low: -0.1, clip_high: f64::INFINITY }, clips),
        (PolicyLoss::Gmpo { clip_low: -1.0, clip_high: f64::NAN }, clips),
        (PolicyLoss::Cispo { clip_low: f64::INFINITY, clip_high: -1.0 }, clips),
        (PolicyLoss::Sapo { tau_positive: 0.0, tau_negative: f64::NAN }, taus),
    ];
    for (policy, keys) in cases {
        let problems = problems(policy);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(keys.iter().zip(&problems).all(|(key, problem)| problem.starts_with(key)));
    }
    assert!(problems(PolicyLoss::Cispo { clip_low: 10.0, clip_high: 4.0 }).is_empty());
}
