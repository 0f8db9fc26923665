//! From logits to a token.

use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use engine::{Distribution, Likeliest};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How tokens are drawn. The filters apply in this order: top-k, top-p, min-p.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// What logits are divided by, from 1e-6 to 1e6. 0 takes the most likely token, and among
    /// equals the one with the lowest id. Log-probs are those at this temperature.
    ///
    /// Names: verl `temperature`, TRL `temperature`, vLLM `temperature`, prime-rl `temperature`.
    pub temperature: f64,
    /// Number of most likely tokens that are kept. `"off"` keeps all.
    ///
    /// Names: verl `top_k`, TRL `top_k`, vLLM `top_k`, prime-rl `top_k`.
    #[serde(with = "settings::off::zero")]
    #[schemars(with = "settings::OrOff<NonZeroUsize>")]
    pub top_k: usize,
    /// Keeps the fewest most likely tokens whose share of what top-k left is at least this. 1 keeps
    /// all (arXiv 1904.09751).
    ///
    /// Names: verl `top_p`, TRL `top_p`, vLLM `top_p`, prime-rl `top_p`.
    pub top_p: f64,
    /// Keeps tokens that are at least this likely relative to the most likely one. `"off"` keeps
    /// all (arXiv 2407.01082).
    ///
    /// Names: TRL `min_p`, vLLM `min_p`, prime-rl `min_p`.
    #[serde(with = "settings::off::zero")]
    #[schemars(with = "settings::OrOff<f64>")]
    pub min_p: f64,
    /// Most tokens of a completion. One that reaches the limit is cut off.
    ///
    /// Names: verl `max_response_length`, TRL `max_completion_length`, vLLM `max_tokens`, prime-rl
    /// `max_completion_tokens`.
    pub max_new_tokens: NonZeroUsize,
    /// Fewest tokens of a completion. Before them no stop token is drawn, and no stop string ends
    /// the completion.
    ///
    /// Names: vLLM `min_tokens`, HF `min_new_tokens`.
    pub min_new_tokens: usize,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            max_new_tokens: NonZeroUsize::new(256).expect("256 is not zero"),
            min_new_tokens: 0,
        }
    }
}

/// Within these bounds scaled logits and their differences stay finite in f32.
const TEMPERATURES: RangeInclusive<f64> = 1e-6..=1e6;

impl Sampling {
    /// Everything wrong with the settings, one sentence per key.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.temperature != 0.0 && !TEMPERATURES.contains(&self.temperature) {
            let got = self.temperature;
            let has_many_digits = got.is_finite() && !(1e-9..1e9).contains(&got.abs());
            let got = if has_many_digits { format!("{got:e}") } else { got.to_string() };
            problems.push(format!(
                "temperature is {got}, expected 0 (greedy), or {} to {}",
                TEMPERATURES.start(),
                TEMPERATURES.end()
            ));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            problems.push(format!("top_p is {}, expected above 0 and at most 1", self.top_p));
        }
        if !(0.0..=1.0).contains(&self.min_p) {
            problems.push(format!("min_p is {}, expected 0 to 1", self.min_p));
        }
        if self.min_new_tokens > self.max_new_tokens.get() {
            problems.push(format!(
                "min_new_tokens is {}, expected at most max_new_tokens, which is {}",
                self.min_new_tokens, self.max_new_tokens
            ));
        }
        problems
    }

    fn filters(&self) -> bool {
        self.top_k > 0 || self.top_p < 1.0 || self.min_p > 0.0
    }
}

/// A sampled token with its scores from the full distribution, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampled {
    pub(crate) token: u32,
    pub(crate) log_prob: f64,
    pub(crate) entropy: f64,
    pub(crate) phi_sum: f64,
}

/// Samples tokens. Holds buffers for reuse.
#[derive(Debug, Default)]
pub(crate) struct TokenSampler {
    /// Proportional to the probabilities.
    weights: Vec<f32>,
    /// Logits without the suppressed tokens.
    masked: Vec<f32>,
    /// Weights of blocks of tokens.
    blocks: Vec<f64>,
    /// What the filters keep.
    kept: Vec<(f32, u32)>,
    /// Those of the last draw.
    likeliest: Likeliest,
    /// These, with log-probs.
    alternatives: Vec<(u32, f32)>,
}

/// Tokens in a block, whose weights are summed first when one is picked.
const BLOCK: usize = 512;

impl TokenSampler {
    /// Samples a token with a uniform number in (0, 1), never one of `suppressed`, which must leave
    /// at least one. `None` if the logits are not finite.
    pub(crate) fn draw(
        &mut self,
        sampling: &Sampling,
        logits: &[f32],
        suppressed: &[u32],
        uniform: f64,
    ) -> Option<Sampled> {
        let greedy = sampling.temperature == 0.0;
        let temperature = if greedy { 1.0 } else { sampling.temperature };
        self.weights.resize(logits.len(), 0.0);
        let full = Distribution::with_weights(logits, temperature, &mut self.weights);
        if !full.is_finite() {
            return None;
        }
        self.likeliest.clear();
        self.likeliest.read(0, logits);
        self.alternatives.clear();
        let found = self.likeliest.found().iter();
        self.alternatives.extend(found.map(|&(id, logit)| (id, full.log_prob(logit) as f32)));
        let token = if greedy {
            self.likeliest(logits, suppressed)
        } else {
            self.suppress(temperature, logits, suppressed);
            if sampling.filters() {
                self.filter(sampling);
                self.pick_kept(uniform)
            } else {
                self.pick(uniform)
            }
        };
        Some(Sampled {
            token: token as u32,
            log_prob: full.log_prob(logits[token]),
            entropy: full.entropy,
            phi_sum: full.phi_sum,
        })
    }

    /// Keeps so many of the likeliest tokens with every draw.
    pub(crate) fn set_alternatives(&mut self, count: usize) {
        self.likeliest = Likeliest::new(count);
    }

    /// The likeliest tokens of the last draw, before any filter, each with its log-prob: the
    /// likeliest first, the lowest id first among equals.
    pub(crate) fn alternatives(&self) -> &[(u32, f32)] {
        &self.alternatives
    }

    /// The likeliest token that is not suppressed, the lowest id among equals.
    fn likeliest(&mut self, logits: &[f32], suppressed: &[u32]) -> usize {
        let first = largest(logits);
        if !suppressed.contains(&(first as u32)) {
            return first;
        }
        self.mask(logits, suppressed);
        largest(&self.masked)
    }

    /// Removes the weights of the suppressed tokens.
    fn suppress(&mut self, temperature: f64, logits: &[f32], suppressed: &[u32]) {
        // The likeliest token has weight 1. Where that one is suppressed, all other weights may
        // have underflowed, so they are computed again without it.
        if suppressed
            .iter()
            .any(|&token| self.weights.get(token as usize).is_some_and(|&w| w > 0.5))
        {
            self.mask(logits, suppressed);
            Distribution::with_weights(&self.masked, temperature, &mut self.weights);
            return;
        }
        for &token in suppressed {
            if let Some(weight) = self.weights.get_mut(token as usize) {
                *weight = 0.0;
            }
        }
    }

    /// Sets `masked` to the logits without the suppressed tokens.
    fn mask(&mut self, logits: &[f32], suppressed: &[u32]) {
        self.masked.clear();
        self.masked.extend_from_slice(logits);
        for &token in suppressed {
            if let Some(logit) = self.masked.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
    }

    /// The token at which the running sum of weights, in order of ids, passes its share.
    fn pick(&mut self, uniform: f64) -> usize {
        self.blocks.clear();
        self.blocks.extend(self.weights.chunks(BLOCK).map(block_sum));
        let mut left = uniform * self.blocks.iter().sum::<f64>();
        let mut block = 0;
        while block + 1 < self.blocks.len() && left >= self.blocks[block] {
            left -= self.blocks[block];
            block += 1;
        }
        // Rounding may pass the end; then use the last nonzero weight.
        let mut last = None;
        for (i, &weight) in self.weights.iter().enumerate().skip(block * BLOCK) {
            if weight > 0.0 {
                left -= f64::from(weight);
                last = Some(i);
                if left < 0.0 {
                    break;
                }
            }
        }
        last.unwrap_or_else(|| largest(&self.weights))
    }

    /// As [`Self::pick`], among what the filters keep.
    fn pick_kept(&mut self, uniform: f64) -> usize {
        self.kept.sort_unstable_by_key(|&(_, token)| token);
        let mut left = uniform * self.kept.iter().map(|&(w, _)| f64::from(w)).sum::<f64>();
        let passed = self.kept.iter().find(|&&(weight, _)| {
            left -= f64::from(weight);
            left < 0.0
        });
        let (_, token) = passed.or(self.kept.last()).expect("the likeliest token is always kept");
        *token as usize
    }

    /// Sets `kept` to what the filters keep, likeliest first, the lower id first among equals.
    fn filter(&mut self, sampling: &Sampling) {
        let total: f64 = self.weights.chunks(BLOCK).map(block_sum).sum();
        let most = match sampling.top_k {
            0 => usize::MAX,
            k => k,
        };
        // The likeliest tokens are usually few: sorting the vocabulary is a last resort.
        for least in [1.0 / 64.0, 1.0 / 4096.0, 1.0 / 262_144.0, 0.0] {
            self.kept.clear();
            let tokens = self.weights.iter().zip(0..);
            self.kept.extend(tokens.filter(|&(&w, _)| w > least).map(|(&w, token)| (w, token)));
            self.kept.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let all = least == 0.0;
            let top_k_complete = all || self.kept.len() >= most;
            self.kept.truncate(most);
            if most < usize::MAX && !top_k_complete {
                continue;
            }
            let base = if most < usize::MAX {
                self.kept.iter().map(|&(w, _)| f64::from(w)).sum()
            } else {
                total
            };
            let nucleus = self.nucleus(sampling.top_p * base).filter(|_| sampling.top_p < 1.0);
            if let Some(nucleus) = nucleus {
                self.kept.truncate(nucleus);
            }
            let likeliest = self.kept.first().map_or(0.0, |&(w, _)| f64::from(w));
            let bound = sampling.min_p * likeliest;
            if all || top_k_complete || nucleus.is_some() || bound > f64::from(least) {
                self.kept.retain(|&(w, _)| f64::from(w) >= bound);
                return;
            }
        }
    }

    /// How many of the kept tokens it takes to reach a sum.
    fn nucleus(&self, sum: f64) -> Option<usize> {
        let mut running = 0.0;
        let reached = self.kept.iter().position(|&(w, _)| {
            running += f64::from(w);
            running >= sum
        });
        reached.map(|index| index + 1)
    }
}

/// Index of the largest number, the lowest among equals.
fn largest(x: &[f32]) -> usize {
    let mut best = 0;
    for (i, &value) in x.iter().enumerate() {
        if value > x[best] {
            best = i;
        }
    }
    best
}

/// Sum in double precision, by eight lanes.
fn block_sum(weights: &[f32]) -> f64 {
    let (chunks, tail) = weights.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for (sum, &weight) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(weight);
        }
    }
    sums.iter().sum::<f64>() + tail.iter().map(|&w| f64::from(w)).sum::<f64>()
}

#[cfg(test)]
mod tests;
