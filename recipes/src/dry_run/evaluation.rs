//! What evaluations write.

use evals::pass_sizes;
use evals::run::StepTokens;
use rewards::Problem;
use serde_json::json;

use super::{COMPLETION, SAMPLED_STEP, TEXT_OF_TOKEN};
use crate::config::{Recipe, SetSettings};

/// Bytes of the line of a problem besides its texts and its completions: names of fields.
const LINE: u64 = 448;
/// Bytes of `NAME.json` besides what grows with the set.
const FIGURES: u64 = 3072;
/// Bytes there of a figure with its interval.
const FIGURE: u64 = 128;
/// Parts of a set, by source and by level, that have an accuracy there, at most.
const PARTS: usize = 64;
/// Bytes of each.
const PART: u64 = 192;
/// Completions that are shown there.
const SHOWN: usize = 8;

/// The problems of a held-out set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Their number.
    pub problems: usize,
    /// Bytes of their texts in the record.
    pub bytes: u64,
}

impl Judged {
    /// Of these problems.
    pub fn of(problems: &[Problem]) -> Self {
        let bytes = |one: &Problem| {
            let Problem { id, source, problem, answer, .. } = one;
            json!([id, source, problem, answer]).to_string().len() as u64
        };
        Self { problems: problems.len(), bytes: problems.iter().map(bytes).sum() }
    }
}

/// How often each held-out set is evaluated.
pub(super) fn counts(recipe: &Recipe) -> Vec<u64> {
    recipe.held_out_sets().iter().map(|set| recipe.evaluations(set)).collect()
}

/// Bytes of all evaluations, on sets with these problems.
pub(super) fn bytes(recipe: &Recipe, held_out: &[Judged]) -> u64 {
    let sets = recipe.held_out_sets();
    let all = sets.iter().zip(held_out).map(|(set, judged)| {
        let drawn = once(recipe, set, set.samples, *judged);
        let likeliest = if set.greedy { once(recipe, set, 1, *judged) } else { 0.0 };
        recipe.evaluations(set) as f64 * (drawn + likeliest)
    });
    all.sum::<f64>() as u64
}

/// Bytes of one evaluation with so many completions of each problem.
fn once(recipe: &Recipe, set: &SetSettings<'_>, samples: usize, judged: Judged) -> f64 {
    let Judged { problems, bytes } = judged;
    let texts = samples.min(recipe.texts());
    let text = (set.sampling.max_new_tokens.get() as u64).saturating_mul(TEXT_OF_TOKEN) as f64;
    let verdicts = (samples as u64 + u64::from(set.greedy)).saturating_mul(COMPLETION) as f64;
    let lines = problems as f64 * (LINE as f64 + verdicts + texts as f64 * text) + bytes as f64;
    let sizes = 2 * pass_sizes(samples).count() as u64;
    let parts = problems.min(PARTS) as u64;
    let figures = (FIGURES + sizes * FIGURE + parts * PART) as f64;
    let shown = if texts == 0 { 0 } else { problems.min(SHOWN) };
    let share = shown as f64 / problems.max(1) as f64;
    let columns = tokens(recipe, set, samples, judged);
    // Those that are shown may be the longest: twice the mean.
    lines
        + figures
        + shown as f64 * (text + COMPLETION as f64)
        + (2.0 * share).min(1.0) * bytes as f64
        + columns
}

/// Bytes of the token columns of the first problems, of which prompts have a token for each byte of
/// their text at most, and as many as a template may add.
fn tokens(recipe: &Recipe, set: &SetSettings<'_>, samples: usize, judged: Judged) -> f64 {
    /// Tokens that a prompt has besides the problem.
    const TEMPLATE: u64 = 256;
    let kept = recipe.evaluated_tokens().min(judged.problems);
    if kept == 0 {
        return 0.0;
    }
    let limit = set.sampling.max_new_tokens.get() as f64;
    let completion =
        limit * StepTokens::token_bytes(0, 0) as f64 + StepTokens::COMPLETION_BYTES as f64;
    let group = StepTokens::GROUP_BYTES + TEMPLATE * StepTokens::PROMPT_BYTES;
    let prompts = judged.bytes * StepTokens::PROMPT_BYTES;
    SAMPLED_STEP as f64
        + prompts as f64
        + kept as f64 * (samples as f64 * completion + group as f64)
}
