//! `tokens/step-*.jsonl`: the tokens of a step as text, a group a line, where a recipe asks for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::attempt::{Completion, GradedGroup};

/// What credit assignment made of one completion.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Credit<'a> {
    /// Advantage of the completion.
    pub advantage: f64,
    /// Weight of each of its tokens.
    pub weights: &'a [f64],
}

/// A group of `tokens/step-*.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TokensLine {
    /// The problem.
    pub id: String,
    /// Ids of its prompt.
    pub prompt: Vec<u32>,
    /// Its completions.
    pub completions: Vec<Columns>,
}

/// Columns of one completion; scores in single precision, as they were made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Columns {
    /// Advantage of the completion.
    pub advantage: f64,
    /// Ids.
    pub tokens: Vec<u32>,
    /// Log-probs by the rollout, nats.
    pub log_probs: Vec<f32>,
    /// Entropies, nats.
    pub entropies: Vec<f32>,
    /// Sums over the vocabulary of p² (ln p + H).
    pub phi_sums: Vec<f32>,
    /// Token weights.
    pub weights: Vec<f64>,
}

impl TokensLine {
    /// A group; `credits` has one for each of its completions.
    pub(super) fn of<'a>(
        group: &GradedGroup,
        credits: &mut impl Iterator<Item = &'a Credit<'a>>,
    ) -> Self {
        let completions = group.completions.iter().zip(credits);
        Self {
            id: group.problem.id.clone(),
            prompt: group.prompt.clone(),
            completions: completions.map(|(one, credit)| Columns::of(one, credit)).collect(),
        }
    }
}

impl Columns {
    fn of(completion: &Completion, credit: &Credit<'_>) -> Self {
        let trajectory = &completion.trajectory;
        Self {
            advantage: credit.advantage,
            tokens: trajectory.completion.clone(),
            log_probs: trajectory.log_probs.clone(),
            entropies: trajectory.entropies.clone(),
            phi_sums: trajectory.phi_sums.clone(),
            weights: credit.weights.to_vec(),
        }
    }
}
