use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the losses of an update's tokens become one number.
///
/// Source: the four modes of verl's `agg_loss`, with counts of the whole update in place of a
/// micro-batch's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(remote = "Self", rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(tag = "kind", transform = settings::by_name)]
pub enum Aggregation {
    /// The mean over all tokens (DAPO).
    ///
    /// Names: verl `token-mean`, TRL `loss_type = "dapo"`.
    TokenMean {},
    /// The mean over sequences of each one's sum.
    ///
    /// Names: verl `seq-mean-token-sum`.
    SeqMeanTokenSum {},
    /// The mean over sequences of each one's mean (GRPO).
    ///
    /// Names: verl `seq-mean-token-mean`, TRL `loss_type = "grpo"`.
    SeqMeanTokenMean {},
    /// The sum over all tokens, divided by a constant (Dr. GRPO).
    ///
    /// Names: verl `seq-mean-token-sum-norm`, TRL `loss_type = "dr_grpo"`.
    SeqMeanTokenSumNorm {
        /// The constant. verl takes the longest response that the rollout allows, in tokens,
        /// whatever the number of sequences.
        ///
        /// Names: verl `loss_scale_factor`.
        scale: f64,
    },
}

settings::tagged!(Aggregation);

impl Default for Aggregation {
    fn default() -> Self {
        Self::TokenMean {}
    }
}

/// How much there is in an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Trained tokens.
    pub tokens: usize,
    /// Sequences with at least one of them.
    pub sequences: usize,
}

impl Counts {
    /// Counts of sequences with these numbers of trained tokens.
    pub fn of(lengths: &[usize]) -> Self {
        Self {
            tokens: lengths.iter().sum(),
            sequences: lengths.iter().filter(|&&length| length > 0).count(),
        }
    }
}

impl Aggregation {
    /// What each token of a micro-batch counts, sequence by sequence; the update's loss is the sum
    /// over its tokens of coefficient times loss.
    ///
    /// `lengths` are the trained tokens of each sequence of the micro-batch, `counts` those of the
    /// whole update.
    ///
    /// # Errors
    ///
    /// Fails where the micro-batch has more than the whole update.
    pub fn coefficients(&self, lengths: &[usize], counts: Counts) -> Result<Vec<f64>> {
        let own = Counts::of(lengths);
        if own.tokens > counts.tokens || own.sequences > counts.sequences {
            return Err(Error::Input(format!(
                "loss: a micro-batch of {} tokens in {} sequences, out of an update of {} in {}",
                own.tokens, own.sequences, counts.tokens, counts.sequences
            )));
        }
        let sequences = counts.sequences as f64;
        let each = |length: usize| match self {
            Self::TokenMean {} => 1.0 / counts.tokens as f64,
            Self::SeqMeanTokenSum {} => 1.0 / sequences,
            Self::SeqMeanTokenMean {} => 1.0 / (length as f64 + 1e-8) / sequences,
            Self::SeqMeanTokenSumNorm { scale } => 1.0 / scale,
        };
        let repeat = |&length: &usize| std::iter::repeat_n(each(length), length);
        Ok(lengths.iter().flat_map(repeat).collect())
    }

    pub(super) fn problems(&self) -> Vec<String> {
        match self {
            Self::SeqMeanTokenSumNorm { scale } if !(scale.is_finite() && *scale > 0.0) => {
                vec![format!("aggregation.scale is {scale}, expected a positive number")]
            }
            _ => Vec::new(),
        }
    }
}
