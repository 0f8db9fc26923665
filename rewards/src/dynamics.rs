//! What a step does to the entropy, to first order, and how surprisal and entropy are distributed.

use crate::weighting::{Select, Ties, TokenColumns, side};

const QUANTILES: [(&str, usize); 6] =
    [("p10", 10), ("p50", 50), ("p80", 80), ("p90", 90), ("p95", 95), ("p99", 99)];

/// Lower ends of the bins of surprisal, in nats, as the metric keys have them.
const BINS: [(&str, f64); 8] = [
    ("0", 0.0),
    ("0.01", 0.01),
    ("0.1", 0.1),
    ("0.5", 0.5),
    ("1", 1.0),
    ("2", 2.0),
    ("4", 4.0),
    ("8", 8.0),
];

/// How the loss of a step counts its tokens, besides their advantages and weights.
///
/// A column is empty or has one entry for each token. Both are empty for a mean over the tokens of
/// the step, without a penalty.
#[derive(Debug, Clone, Copy, Default)]
pub struct LossTerms<'a> {
    /// N c i: the factor of the token's policy loss, relative to a mean over the N tokens of its
    /// update, with the coefficient c of the aggregation and the importance weight i. Empty: 1.
    pub factors: &'a [f64],
    /// N c times the derivative, by the token's log-prob, of the penalty on the KL to a reference.
    /// Empty: 0.
    pub pulls: &'a [f64],
}

impl LossTerms<'_> {
    /// The factor of a token's policy loss.
    pub fn factor(&self, token: usize) -> f64 {
        self.factors.get(token).copied().unwrap_or(1.0)
    }

    /// What the penalty takes from a token's credit.
    pub fn pull(&self, token: usize) -> f64 {
        self.pulls.get(token).copied().unwrap_or(0.0)
    }
}

/// Metric keys and values of a step; none without tokens.
///
/// `weights` has one factor of the advantage for each token. The credit of a token is f w A - d,
/// with the factor f and the pull d of `terms`, its weight w and its advantage A: minus the
/// derivative of the loss by its log-prob, at the policy that sampled, times the tokens of the
/// step. The prediction is the change of the mean entropy by gradient descent on the logits of each
/// token, in nats per unit of step: minus the mean of credit times Phi. A bonus on the entropy is
/// not in it. Lambda is the mean of (f A - d) Phi, Gamma minus that of f A Phi over the selected
/// tokens of A > 0.
///
/// A token is of high surprisal by the quantile where it is among the `share` of largest surprisals
/// of its advantage sign, and by s* where its Phi is below 0. The quadrants are u (low) and l (high
/// surprisal), by the sign of A; their advantage is the sum of f A over them, their entropy that of
/// -f A Phi, each per token of the step. A quantile is the smallest value that so many of the
/// tokens do not exceed.
///
/// Source: STARE, arXiv 2606.19236, theorem 3.1, propositions 3.2 and 3.5, corollary 3.6; there
/// with a mean over tokens.
pub fn dynamics(
    tokens: &TokenColumns<'_>,
    terms: &LossTerms<'_>,
    weights: &[f64],
    share: f64,
) -> Vec<(String, f64)> {
    if tokens.is_empty() {
        return Vec::new();
    }
    let step = Step::new(tokens, terms, share);
    let mut metrics = Vec::new();
    step.quadrants("quantile", |token| step.selected[token], &mut metrics);
    step.quadrants("critical", |token| step.phi[token] < 0.0, &mut metrics);
    step.entropy(weights, &mut metrics);
    let surprisals = tokens.surprisals.iter().map(|&surprisal| f64::from(surprisal));
    metrics.push(("surprisal/mean".into(), surprisals.sum::<f64>() / tokens.len() as f64));
    quantiles("surprisal", tokens.surprisals, &mut metrics);
    quantiles("entropy", tokens.entropies, &mut metrics);
    histogram(tokens.surprisals, &mut metrics);
    metrics
}

/// Metric keys and values of surprisals alone: their mean, their quantiles, their histogram; none
/// without tokens.
pub fn surprisals(values: &[f32]) -> Vec<(String, f64)> {
    let mut metrics = Vec::new();
    if !values.is_empty() {
        let sum = values.iter().map(|&surprisal| f64::from(surprisal)).sum::<f64>();
        metrics.push(("surprisal/mean".into(), sum / values.len() as f64));
        quantiles("surprisal", values, &mut metrics);
        histogram(values, &mut metrics);
    }
    metrics
}

/// Which tokens are among the `share` of largest surprisals of their advantage's sign; of equal
/// ones the lower index. A token whose advantage is 0 is in neither.
pub fn surprising(tokens: &TokenColumns<'_>, share: f64) -> Vec<bool> {
    let mut found = vec![false; tokens.len()];
    let select = Select::Quantile { share, ties: Ties::Exact };
    for sign in [1.0, -1.0] {
        for token in select.of(tokens, side(tokens, sign)) {
            found[token] = true;
        }
    }
    found
}

struct Step<'a> {
    tokens: &'a TokenColumns<'a>,
    terms: &'a LossTerms<'a>,
    phi: Vec<f64>,
    /// Whether the token is among the largest surprisals of its advantage sign.
    selected: Vec<bool>,
}

impl<'a> Step<'a> {
    fn new(tokens: &'a TokenColumns<'a>, terms: &'a LossTerms<'a>, share: f64) -> Self {
        let phi = (0..tokens.len()).map(|token| tokens.sensitivity(token)).collect();
        Self { tokens, terms, phi, selected: surprising(tokens, share) }
    }

    fn quadrants(
        &self,
        split: &str,
        is_high: impl Fn(usize) -> bool,
        metrics: &mut Vec<(String, f64)>,
    ) {
        let names = ["u_plus", "l_plus", "u_minus", "l_minus"];
        let mut sums = [[0.0; 3]; 4];
        for (token, &advantage) in self.tokens.advantages.iter().enumerate() {
            let first = match advantage {
                a if a > 0.0 => 0,
                a if a < 0.0 => 2,
                _ => continue,
            };
            let sums = &mut sums[first + usize::from(is_high(token))];
            let credit = self.terms.factor(token) * advantage;
            sums[0] += 1.0;
            sums[1] += credit;
            sums[2] -= credit * self.phi[token];
        }
        let n = self.tokens.len() as f64;
        for (name, sums) in names.iter().zip(sums) {
            for (what, sum) in ["tokens", "advantage", "entropy"].iter().zip(sums) {
                metrics.push((format!("quadrant/{split}/{name}/{what}"), sum / n));
            }
        }
    }

    fn entropy(&self, weights: &[f64], metrics: &mut Vec<(String, f64)>) {
        let n = self.tokens.len() as f64;
        let (mut lambda, mut gamma, mut predicted) = (0.0, 0.0, 0.0);
        let (mut winners, mut raising) = (0, 0);
        for (token, (&advantage, &phi)) in self.tokens.advantages.iter().zip(&self.phi).enumerate()
        {
            let effect = self.terms.factor(token) * advantage * phi;
            let pulled = self.terms.pull(token) * phi;
            lambda += effect - pulled;
            predicted -= weights[token] * effect - pulled;
            if self.selected[token] && advantage > 0.0 {
                gamma -= effect;
                winners += 1;
                raising += u32::from(phi < 0.0);
            }
        }
        let mut log = |key: &str, value: f64| metrics.push((format!("entropy/{key}"), value));
        log("lambda", lambda / n);
        log("gamma", gamma / n);
        if gamma > 0.0 {
            log("critical_weight", 1.0 + lambda / gamma);
        }
        log("predicted_delta", predicted / n);
        if winners > 0 {
            log("selected_raising", f64::from(raising) / f64::from(winners));
        }
    }
}

/// Adds metric keys and values of the quantiles of `values`, of which there is at least one.
pub fn quantiles(of: &str, values: &[f32], metrics: &mut Vec<(String, f64)>) {
    let mut values = values.to_vec();
    let mut from = 0;
    for (name, percent) in QUANTILES {
        let rank = (values.len() * percent).div_ceil(100).max(1) - 1;
        // the values before `from` are no larger than those after it, by the last selection
        let (_, value, _) = values[from..].select_nth_unstable_by(rank - from, f32::total_cmp);
        metrics.push((format!("{of}/quantile/{name}"), f64::from(*value)));
        from = rank;
    }
}

fn histogram(surprisals: &[f32], metrics: &mut Vec<(String, f64)>) {
    let mut counts = [0_usize; BINS.len()];
    for &surprisal in surprisals {
        let above = BINS.iter().filter(|(_, from)| f64::from(surprisal) >= *from).count();
        // rounding may leave a certain token a surprisal below 0
        counts[above.max(1) - 1] += 1;
    }
    for ((name, _), count) in BINS.iter().zip(counts) {
        let share = count as f64 / surprisals.len() as f64;
        metrics.push((format!("surprisal/histogram/{name}"), share));
    }
}
