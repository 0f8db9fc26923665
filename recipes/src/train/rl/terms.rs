//! The factors of the loss per token, apart from advantages and token weights.

use engine::loss::{Counts, LossConfig};
use rewards::LossTerms;

/// The tokens in the loss of a step, in order, at the policy that sampled them.
#[derive(Debug)]
pub(super) struct LossTokens<'a> {
    /// Tokens of each completion, update by update.
    pub(super) updates: Vec<Vec<usize>>,
    /// Importance weights, if the recipe sets them.
    pub(super) importance: Option<&'a [f64]>,
    /// Old log-probs, the denominator of the ratio.
    pub(super) old: &'a [f32],
    /// Log-probs by the reference, if there is one.
    pub(super) reference: Option<&'a [f32]>,
}

/// Columns with one entry for each token.
#[derive(Debug, Default)]
pub(super) struct Terms {
    factors: Vec<f64>,
    pulls: Vec<f64>,
}

impl Terms {
    /// The terms of these tokens, relative to a mean over the tokens of their update.
    ///
    /// The penalty of kl-cov has no gradient at the policy that sampled, so it has no column.
    pub(super) fn of(loss: &LossConfig, tokens: &LossTokens<'_>) -> engine::Result<Self> {
        let mut factors = Vec::with_capacity(tokens.old.len());
        for lengths in &tokens.updates {
            let counts = Counts::of(lengths);
            let coefficients = loss.aggregation.coefficients(lengths, counts)?;
            factors.extend(coefficients.into_iter().map(|one| one * counts.tokens as f64));
        }
        let mut pulls = Vec::new();
        if let Some(reference) = tokens.reference {
            let slopes = tokens.old.iter().zip(reference);
            let slopes = slopes.map(|(&old, &other)| loss.kl.slope(old.into(), other.into()));
            pulls.extend(slopes.zip(&factors).map(|(slope, factor)| slope * factor));
        }
        if let Some(importance) = tokens.importance {
            factors.iter_mut().zip(importance).for_each(|(factor, weight)| *factor *= weight);
        }
        Ok(Self { factors, pulls })
    }

    pub(super) fn borrow(&self) -> LossTerms<'_> {
        LossTerms { factors: &self.factors, pulls: &self.pulls }
    }
}

#[cfg(test)]
mod tests {
    use candle::{D, Device, Tensor, Var};
    use engine::loss::{Aggregation, Kl, LossColumns};
    use rewards::{TokenColumns, dynamics};
    use serde_json::{Value, json};

    use super::*;

    const VOCABULARY: usize = 5;

    /// Completions of the only update, and of each of two.
    const ONE_UPDATE: [&[usize]; 1] = [&[3, 7, 1, 4, 9, 2]];
    const TWO_UPDATES: [&[usize]; 2] = [&[3, 7], &[1, 4, 9, 2]];

    const TOKENS: usize = 26;

    /// A policy without shared parameters: the logits of each token, shape (tokens, vocabulary).
    fn logits() -> Var {
        let value = |at: usize| 2.5 * ((at * at + 3 * at) as f64 * 0.37).sin();
        let values = (0..TOKENS * VOCABULARY).map(value);
        let flat = Tensor::from_iter(values, &Device::Cpu).unwrap();
        Var::from_tensor(&flat.reshape((TOKENS, VOCABULARY)).unwrap()).unwrap()
    }

    fn log_probs(logits: &Tensor) -> Tensor {
        let total = logits.log_sum_exp(D::Minus1).unwrap().unsqueeze(1).unwrap();
        logits.broadcast_sub(&total).unwrap()
    }

    /// Entropy of each row.
    fn entropies(log_probs: &Tensor) -> Tensor {
        (log_probs.exp().unwrap() * log_probs).unwrap().sum(D::Minus1).unwrap().neg().unwrap()
    }

    /// What was sampled, with columns of all kinds.
    #[derive(Clone)]
    struct Step {
        updates: Vec<Vec<usize>>,
        tokens: Vec<u32>,
        old: Vec<f32>,
        reference: Vec<f32>,
        entropies: Vec<f32>,
        phi_sums: Vec<f32>,
        advantages: Vec<f64>,
        weights: Vec<f64>,
        importance: Option<Vec<f64>>,
        penalties: Vec<f64>,
    }

    impl Step {
        fn new(updates: &[&[usize]]) -> Self {
            let rows: Vec<Vec<f64>> = log_probs(logits().as_tensor()).to_vec2().unwrap();
            let tokens: Vec<u32> = (0..TOKENS).map(|at| (at * 2 % 5) as u32).collect();
            let picked = rows.iter().zip(&tokens);
            let old: Vec<f32> = picked.map(|(row, &token)| row[token as usize] as f32).collect();
            let entropy = |row: &Vec<f64>| -row.iter().map(|l| l.exp() * l).sum::<f64>();
            let phi_sum = |row: &Vec<f64>| -> f64 {
                row.iter().map(|l| (2.0 * l).exp() * (l + entropy(row))).sum()
            };
            let each = |values: &[f64]| (0..TOKENS).map(|at| values[at % values.len()]).collect();
            let lengths = updates.iter().flat_map(|lengths| *lengths);
            let advantages = lengths.zip([1.3, -0.6, 0.0, 0.8, -1.1, 0.4]);
            Self {
                updates: updates.iter().map(|lengths| lengths.to_vec()).collect(),
                reference: old.iter().map(|one| 0.7 * one - 0.1).collect(),
                entropies: rows.iter().map(|row| entropy(row) as f32).collect(),
                phi_sums: rows.iter().map(|row| phi_sum(row) as f32).collect(),
                advantages: advantages.flat_map(|(&n, a)| std::iter::repeat_n(a, n)).collect(),
                weights: each(&[1.0, 2.0, 0.5]),
                importance: Some(each(&[1.0, 0.0, 1.7, 0.6])),
                penalties: each(&[0.0, 1.0]),
                tokens,
                old,
            }
        }

        fn terms(&self, loss: &LossConfig) -> Terms {
            let counted = LossTokens {
                updates: self.updates.clone(),
                importance: self.importance.as_deref(),
                old: &self.old,
                reference: Some(&self.reference),
            };
            Terms::of(loss, &counted).unwrap()
        }

        fn predicted(&self, terms: &LossTerms<'_>) -> f64 {
            let surprisals: Vec<f32> = self.old.iter().map(|log_prob| -log_prob).collect();
            let tokens = TokenColumns {
                surprisals: &surprisals,
                entropies: &self.entropies,
                phi_sums: &self.phi_sums,
                advantages: &self.advantages,
                samples: &[],
                seed: 0,
            };
            let metrics = dynamics(&tokens, terms, &self.weights, 0.1);
            metrics.iter().find(|(key, _)| key == "entropy/predicted_delta").unwrap().1
        }

        /// Mean entropy after gradient descent on the logits by the loss of each update, its rate
        /// `by` times the update's tokens.
        fn entropy_after(&self, loss: &LossConfig, by: f64) -> f64 {
            let (logits, mut start) = (logits(), 0);
            let mut after = logits.as_tensor().clone();
            for lengths in &self.updates {
                let counts = Counts::of(lengths);
                let own = start..start + counts.tokens;
                let all = log_probs(logits.as_tensor()).narrow(0, start, counts.tokens).unwrap();
                let tokens = Tensor::new(&self.tokens[own.clone()], &Device::Cpu).unwrap();
                let picked = all.gather(&tokens.unsqueeze(1).unwrap(), 1).unwrap();
                let columns = LossColumns {
                    old_log_probs: &self.old[own.clone()],
                    advantages: &self.advantages[own.clone()],
                    weights: &self.weights[own.clone()],
                    ref_log_probs: Some(&self.reference[own.clone()]),
                    importance: self.importance.as_ref().map(|all| &all[own.clone()]),
                    penalties: Some(&self.penalties[own.clone()]),
                    lengths,
                    coefficients: &loss.aggregation.coefficients(lengths, counts).unwrap(),
                };
                // The sampled value to the bit: at any other value the penalty has a gradient.
                let picked = picked.squeeze(1).unwrap();
                let old = self.old[own.clone()].iter().map(|&one| f64::from(one));
                let old = Tensor::from_iter(old, &Device::Cpu).unwrap();
                let picked = (&picked + (old - picked.detach()).unwrap()).unwrap();
                let (value, _) = loss.loss(&picked, &entropies(&all), &columns).unwrap();
                let gradients = value.backward().unwrap();
                let step = (gradients.get(&logits).unwrap() * (by * counts.tokens as f64)).unwrap();
                after = (after - step).unwrap();
                start = own.end;
            }
            entropies(&log_probs(&after)).mean_all().unwrap().to_scalar().unwrap()
        }

        /// The derivative of the mean entropy by the rate, by central differences.
        fn slope(&self, loss: &LossConfig) -> f64 {
            let h = 1e-4;
            (self.entropy_after(loss, h) - self.entropy_after(loss, -h)) / (2.0 * h)
        }
    }

    fn loss(aggregation: &Value, policy: &str, kl: &str) -> LossConfig {
        let kl =
            if kl == "off" { json!({"kind": kl}) } else { json!({"kind": kl, "coefficient": 0.5}) };
        serde_json::from_value(
            json!({"policy_loss": {"kind": policy}, "aggregation": aggregation, "kl": kl}),
        )
        .unwrap()
    }

    fn aggregations() -> [Value; 4] {
        [
            json!({"kind": "token-mean"}),
            json!({"kind": "seq-mean-token-sum"}),
            json!({"kind": "seq-mean-token-mean"}),
            json!({"kind": "seq-mean-token-sum-norm", "scale": 30.0}),
        ]
    }

    #[test]
    fn the_predicted_change_of_the_entropy_is_that_of_a_tiny_step() {
        let (one, two) = (Step::new(&ONE_UPDATE), Step::new(&TWO_UPDATES));
        for aggregation in aggregations() {
            for policy in ["clipped-surrogate", "policy-gradient", "gspo", "gmpo", "cispo", "sapo"]
            {
                for (kl, step) in [("off", &one), ("k2", &one), ("k3", &one), ("k3", &two)] {
                    let loss = loss(&aggregation, policy, kl);
                    let slope = step.slope(&loss);
                    let predicted = step.predicted(&step.terms(&loss).borrow());
                    let case =
                        format!("{aggregation} {policy} {kl}: {slope}, predicted {predicted}");
                    // The columns are f32, and differences have an error of h squared.
                    assert!((slope - predicted).abs() < 1e-5 * slope.abs().max(1.0), "{case}");
                    assert!(slope.abs() > 1e-3, "there is something to predict: {case}");
                }
            }
        }
    }

    #[test]
    fn each_term_of_the_loss_is_needed_for_the_prediction() {
        let step = Step::new(&ONE_UPDATE);
        let whole = loss(&aggregations()[2], "clipped-surrogate", "k3");
        let slope = step.slope(&whole);
        let differs = |what: &str, predicted: f64| {
            assert!((slope - predicted).abs() > 1e-3, "{what}: {slope} {predicted}");
        };
        differs("no term", step.predicted(&LossTerms::default()));
        let other = LossConfig { aggregation: Aggregation::TokenMean {}, ..whole.clone() };
        differs("aggregation", step.predicted(&step.terms(&other).borrow()));
        let other = LossConfig { kl: Kl::Off {}, ..whole.clone() };
        differs("kl", step.predicted(&step.terms(&other).borrow()));
        let uncorrected = Step { importance: None, ..step.clone() };
        differs("importance", step.predicted(&uncorrected.terms(&whole).borrow()));
        let one = Step { updates: Step::new(&TWO_UPDATES).updates, ..step.clone() };
        differs("updates", step.predicted(&one.terms(&whole).borrow()));
    }
}
