//! Warnings from more than one step.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Warning;
use crate::{Error, Metrics, Result, key};

/// Steps that a figure is smoothed over.
const SMOOTH: usize = 5;
/// Steps over which a reward has to rise.
const LONG: usize = 100;
/// Steps whose median is a usual gradient norm, and the fewest that have one.
const NORMS: usize = 50;
const FEWEST_NORMS: usize = 10;
/// Steps in a row without an end token.
const ENDLESS: u64 = 5;
/// Steps without its cause after which a warning counts as new.
const QUIET: u64 = 10;
/// Steps after which a lasting warning is repeated.
const AGAIN: u64 = 50;

/// How far rounding alone may move the log-probabilities of rollout and training apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agreement {
    /// Not at all: on a CPU both have one order of sums, in f32 and in bf16.
    Exact,
    /// As different orders of sums in f32 do, on other devices.
    Rounded,
}

impl Agreement {
    /// Bounds of the mean and of the largest distance of two log-probabilities, in nats.
    const fn gaps(self) -> (f64, f64) {
        match self {
            Self::Exact => (0.0, 0.0),
            Self::Rounded => (1e-4, 1e-3),
        }
    }
}

/// Checks the metrics of each step against those before. Its state is bounded and part of the
/// checkpoint, so that a resumed run has the warnings of an uninterrupted one.
#[derive(Debug, Clone)]
pub struct Watch {
    /// Entropy of a uniform policy, in nats.
    uniform: f64,
    agreement: Agreement,
    memory: Memory,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Memory {
    history: History,
    /// By name of the warning.
    said: BTreeMap<String, WarningTimes>,
}

/// The history of this stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct History {
    /// Entropies of the first steps.
    start: Vec<f64>,
    /// Entropies of the last steps.
    entropies: VecDeque<f64>,
    rewards: VecDeque<Rewards>,
    /// Gradient norms before clipping.
    norms: VecDeque<f64>,
    /// Steps in a row in which every completion was cut.
    endless: u64,
}

/// Rewards of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Rewards {
    mean: f64,
    min: f64,
    max: f64,
}

/// When a warning last occurred.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct WarningTimes {
    /// Step in which it was last reported.
    said: u64,
    /// Step in which its cause was last seen.
    seen: u64,
}

impl Watch {
    /// A watch for a policy with this vocabulary, without history.
    pub fn new(vocabulary: usize, agreement: Agreement) -> Self {
        Self { uniform: (vocabulary as f64).ln(), agreement, memory: Memory::default() }
    }

    /// Begins a stage: clears the history.
    pub fn begin_stage(&mut self) {
        self.memory.history = History::default();
    }

    /// Checks the metrics of a step, counted from 1. Returns the warnings to report now; a lasting
    /// warning is repeated every 50 steps.
    pub fn observe(&mut self, step: u64, metrics: &Metrics) -> Vec<Warning> {
        // Compared with the steps before this one.
        let spike = self.memory.history.grad_norm_spike(metrics);
        self.memory.history.take_in(metrics);
        let history = &self.memory.history;
        let found = [
            history.entropy_collapse(metrics),
            history.entropy_explosion(self.uniform),
            history.reward_flat(),
            history.end_token_never_sampled(),
            log_prob_gap(metrics, self.agreement),
            spike,
        ];
        let mut found: Vec<_> = found.into_iter().flatten().collect();
        found.retain(|warning| self.is_news(step, warning.name));
        found
    }

    /// Whether to report a warning whose cause is present in this step: it is new, or was last
    /// reported 50 steps ago.
    pub fn is_news(&mut self, step: u64, name: &str) -> bool {
        let Some(last) = self.memory.said.get_mut(name) else {
            self.memory.said.insert(name.to_owned(), WarningTimes { said: step, seen: step });
            return true;
        };
        let news = step > last.seen + QUIET || step >= last.said + AGAIN;
        last.seen = step;
        if news {
            last.said = step;
        }
        news
    }

    /// Its state, for a checkpoint.
    pub fn state(&self) -> Value {
        serde_json::to_value(&self.memory).expect("plain fields become JSON")
    }

    /// Restores a saved state; `null` is the initial state, as in checkpoints from before there was
    /// one.
    ///
    /// # Errors
    ///
    /// Fails when `state` is not one that [`Watch::state`] makes.
    pub fn restore(&mut self, state: &Value) -> Result<()> {
        self.memory = match state {
            Value::Null => Memory::default(),
            state => rewards::json::read(state).map_err(Error::Watch)?,
        };
        Ok(())
    }
}

impl History {
    fn take_in(&mut self, metrics: &Metrics) {
        if let Some(entropy) = finite(metrics, &[key!("unfiltered/entropy"), key!("actor/entropy")])
        {
            if self.start.len() < SMOOTH {
                self.start.push(entropy);
            }
            push(&mut self.entropies, entropy, 2 * SMOOTH);
        }
        let mean = finite(metrics, &[key!("unfiltered/rewards/mean"), key!("critic/rewards/mean")]);
        let min = finite(metrics, &[key!("critic/rewards/min")]);
        let max = finite(metrics, &[key!("critic/rewards/max")]);
        if let (Some(mean), Some(min), Some(max)) = (mean, min, max) {
            push(&mut self.rewards, Rewards { mean, min, max }, LONG);
        }
        // A norm of 0 means that no completion had an advantage; it says nothing of other norms.
        if let Some(norm) = finite(metrics, &[key!("actor/grad_norm")]).filter(|norm| *norm > 0.0) {
            push(&mut self.norms, norm, NORMS);
        }
        let cut =
            [key!("unfiltered/response_length/clip_ratio"), key!("response_length/clip_ratio")];
        if let Some(cut) = finite(metrics, &cut) {
            self.endless = if cut >= 1.0 { self.endless + 1 } else { 0 };
        }
    }

    /// Mean entropies at the start, of the last steps and of those before; from 10 steps on.
    fn entropy(&self) -> Option<(f64, f64, f64)> {
        (self.entropies.len() == 2 * SMOOTH).then(|| {
            let before = mean(self.entropies.range(..SMOOTH).copied());
            (
                mean(self.start.iter().copied()),
                mean(self.entropies.range(SMOOTH..).copied()),
                before,
            )
        })
    }

    /// Whether the reward is close to the best that any completion got.
    fn reward_is_high(&self) -> bool {
        let least = self.rewards.iter().map(|one| one.min).fold(f64::INFINITY, f64::min);
        let most = self.rewards.iter().map(|one| one.max).fold(f64::NEG_INFINITY, f64::max);
        let last = self.rewards.len().saturating_sub(SMOOTH);
        let now = mean(self.rewards.range(last..).map(|one| one.mean));
        !self.rewards.is_empty() && now >= least + 0.9 * (most - least)
    }

    fn entropy_collapse(&self, metrics: &Metrics) -> Option<Warning> {
        let (start, now, _) = self.entropy()?;
        // A policy that gets nearly everything right has nothing left to explore.
        if now >= start / 5.0 || self.reward_is_high() {
            return None;
        }
        Some(Warning {
            name: "entropy_collapse",
            cause: format!(
                "the entropy is {now:.3} nats, at the start it was {start:.3}: completions of a \
                 problem are nearly the same, so little is left to learn from"
            ),
            act: if metrics.get(key!("stare/gate_on")).is_some() {
                "raise `stage.rl.weighting.reweight_w`, or set \
                 `stage.rl.weighting.reweight_w = { auto = 1.5 }`; raise \
                 `stage.rl.weighting.target_entropy` so that the gate opens earlier"
            } else {
                "lower `stage.rl.schedule.lr`, or hold the entropy from the start of a stage with \
                 `stage.rl.weighting = { kind = \"stare\" }` or \
                 `stage.rl.entropy_bonus = { kind = \"adaptive\" }`"
            }
            .into(),
            limit: Some(start / 5.0),
        })
    }

    fn entropy_explosion(&self, uniform: f64) -> Option<Warning> {
        // Below half a nat even a tripled entropy leaves the policy sure of most tokens.
        const LEAST: f64 = 0.5;
        let (start, now, before) = self.entropy()?;
        let [thrice, most] = [(3.0 * start).max(LEAST), (0.9 * uniform).max(1.2 * start)];
        let tripled = now > thrice && now > before;
        let nearly_uniform = now > most;
        (tripled || nearly_uniform).then(|| Warning {
            name: "entropy_explosion",
            cause: format!(
                "the entropy is {now:.3} nats, at the start it was {start:.3}, and {uniform:.3} is that of \
                 drawing tokens blindly"
            ),
            act: "lower `stage.rl.schedule.lr`, `stage.rl.weighting.reweight_w` or the coefficient of \
                  `stage.rl.entropy_bonus`, or lower `stage.rl.weighting.target_entropy` so that the \
                  gate closes earlier".into(),
            limit: Some(if tripled { thrice } else { most }),
        })
    }

    fn reward_flat(&self) -> Option<Warning> {
        if self.rewards.len() < LONG || self.reward_is_high() {
            return None;
        }
        let means: Vec<_> = self.rewards.iter().map(|one| one.mean).collect();
        let (before, after) = means.split_at(LONG / 2);
        let (first, error) = mean_and_error(before);
        let (last, other) = mean_and_error(after);
        (last - first <= error.hypot(other)).then(|| Warning {
            name: "reward_flat",
            cause: format!(
                "the mean reward of the last {} steps is {last:.3}, of the {} before {first:.3}: no rise \
                 beyond its noise",
                after.len(),
                before.len()
            ),
            act: "if that is what the policy can reach, stop here; else raise `stage.rl.schedule.lr`, \
                  `stage.rl.batch` or `stage.rl.group_size`, or choose problems that it solves sometimes".into(),
            limit: None,
        })
    }

    fn end_token_never_sampled(&self) -> Option<Warning> {
        (self.endless >= ENDLESS).then(|| Warning {
            name: "end_token_never_sampled",
            cause: format!("in {} steps in a row no completion ended by itself", self.endless),
            act:
                "teach the end token in a supervised stage, give `prompt.stop` a text that ends an \
                  answer, or raise `stage.rl.rollout.max_new_tokens`"
                    .into(),
            limit: None,
        })
    }

    /// Over three steps, because a single norm of three times the median is harmless. Called before
    /// `metrics` are added.
    fn grad_norm_spike(&self, metrics: &Metrics) -> Option<Warning> {
        let norm = finite(metrics, &[key!("actor/grad_norm")])?;
        let count = self.norms.len();
        if count < FEWEST_NORMS {
            return None;
        }
        let now = (self.norms[count - 2] + self.norms[count - 1] + norm) / 3.0;
        let mut sorted: Vec<_> = self.norms.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let median = sorted[count / 2];
        (now > 3.0 * median).then(|| Warning {
            name: "grad_norm_spike",
            cause: format!(
                "the gradient norm of the last 3 steps is {now:.3}, its median over the {count} steps \
                 before {median:.3}: runs that break announce it so"
            ),
            act: "if it goes on, lower `stage.rl.schedule.lr`, `stage.rl.optim.max_grad_norm` or \
                  `stage.rl.optim.beta2`".into(),
            limit: Some(3.0 * median),
        })
    }
}

fn log_prob_gap(metrics: &Metrics, agreement: Agreement) -> Option<Warning> {
    let (mean_bound, max_bound) = agreement.gaps();
    let gap = metrics.get(key!("rollout_corr/log_prob_gap_mean"))?;
    let max = metrics.get(key!("rollout_corr/log_prob_gap_max"))?;
    // False for a NaN.
    let agrees = gap <= mean_bound && max <= max_bound;
    let found = format!(
        "log-probabilities of the rollout and of training are {gap:.1e} nats apart in the mean and \
         {max:.1e} at most"
    );
    let (expected, act) = match agreement {
        Agreement::Exact => (
            "on a CPU they are equal to the bit: the weights were written outside of an update, or \
             the two passes ran different kernels"
                .to_owned(),
            "this is a fault to report: keep the run directory; until it is explained, \
             `stage.rl.old_log_probs = \"rescore\"` compares training with itself",
        ),
        Agreement::Rounded => (
            format!("rounding explains {mean_bound:.0e} and {max_bound:.0e}"),
            "set `stage.rl.old_log_probs = \"rescore\"`, which compares training with itself; \
             `stage.rl.importance` can then weight tokens by the gap; without rollouts of another age \
             or precision this is a fault to report",
        ),
    };
    let (cause, limit) = (format!("{found}; {expected}"), Some(mean_bound));
    let act = act.into();
    (!agrees).then_some(Warning { name: "log_prob_gap", cause, act, limit })
}

/// The first of `keys` that the step has, if it is a number.
fn finite(metrics: &Metrics, keys: &[&str]) -> Option<f64> {
    keys.iter().find_map(|key| metrics.get(key)).filter(|value| value.is_finite())
}

fn push<T>(kept: &mut VecDeque<T>, value: T, most: usize) {
    kept.push_back(value);
    if kept.len() > most {
        kept.pop_front();
    }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

/// The mean of at least two values and its standard error.
fn mean_and_error(values: &[f64]) -> (f64, f64) {
    let (mean, n) = (mean(values.iter().copied()), values.len() as f64);
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0) / n).sqrt())
}

#[cfg(test)]
mod tests;
