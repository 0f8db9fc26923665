//! The one table of metric keys: what is measured, in which unit, and in which log it stands.
//!
//! Keys are verl's where verl logs the same thing. A part in angle brackets stands for any name.

use std::fmt;

use crate::{Error, Result};

/// Where a metric is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// `metrics.jsonl`: the same bytes for equal runs.
    Metrics,
    /// `timings.jsonl`: seconds, rates and memory, which differ from run to run.
    Timings,
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metrics => "metrics.jsonl",
            Self::Timings => "timings.jsonl",
        })
    }
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// The key; a part in angle brackets stands for any name.
    pub key: &'static str,
    /// Unit of the value; `1` for a pure number.
    pub unit: &'static str,
    /// The log it belongs to.
    pub log: Log,
    /// What the value is, in a sentence.
    pub meaning: &'static str,
}

const fn m(key: &'static str, unit: &'static str, meaning: &'static str) -> Spec {
    Spec { key, unit, log: Log::Metrics, meaning }
}

const fn t(key: &'static str, unit: &'static str, meaning: &'static str) -> Spec {
    Spec { key, unit, log: Log::Timings, meaning }
}

/// Every metric there is.
pub const TABLE: &[Spec] = &[
    m("training/global_step", "steps", "steps done, over all stages"),
    m("training/epoch", "epochs", "passes over the stage's problems, begun ones counted in part"),
    m("training/updates", "updates", "optimizer steps done in this stage"),
    m("training/num_tokens", "tokens", "tokens in the loss of this step"),
    m("train/loss", "nats", "negative log-likelihood of a token, supervised stages"),
    m(
        "train/grad_norm",
        "1",
        "gradient norm before clipping, mean over updates, supervised stages",
    ),
    m("train/lr", "1", "learning rate of the step's last update, supervised stages"),
    m("actor/entropy", "nats", "mean entropy of the policy over generated tokens, by the rollout"),
    m("actor/loss", "1", "what the optimizer minimised, mean over updates"),
    m("actor/pg_loss", "1", "policy-gradient part of the loss, mean over updates"),
    m("actor/pg_clipfrac", "1", "share of tokens where the upper or lower clip acts"),
    m("actor/pg_clipfrac_lower", "1", "share of tokens where the dual clip acts"),
    m("actor/ppo_kl", "nats", "mean of old minus new log-probability, over tokens with a gradient"),
    m("actor/kl_loss", "nats", "mean estimated KL to the reference model"),
    m("actor/kl_coef", "1", "factor of the KL term in the loss"),
    m("actor/grad_norm", "1", "gradient norm before clipping, mean over updates"),
    m("actor/lr", "1", "learning rate of the step's last update"),
    m("critic/score/mean", "1", "mean of the answer verifier's verdict: 1 correct, else 0"),
    m("critic/score/max", "1", "largest score in the batch"),
    m("critic/score/min", "1", "smallest score in the batch"),
    m("critic/rewards/mean", "1", "mean reward, all verifiers weighted"),
    m("critic/rewards/max", "1", "largest reward in the batch"),
    m("critic/rewards/min", "1", "smallest reward in the batch"),
    m("critic/advantages/mean", "1", "mean advantage over tokens"),
    m("critic/advantages/max", "1", "largest advantage in the batch"),
    m("critic/advantages/min", "1", "smallest advantage in the batch"),
    m("response_length/mean", "tokens", "mean length of completions, stop token included"),
    m("response_length/max", "tokens", "longest completion"),
    m("response_length/min", "tokens", "shortest completion"),
    m("response_length/clip_ratio", "1", "share of completions cut at the limit"),
    m("prompt_length/mean", "tokens", "mean length of prompts"),
    m("prompt_length/max", "tokens", "longest prompt"),
    m("prompt_length/min", "tokens", "shortest prompt"),
    m("reward/outcome/<outcome>", "1", "share of completions with this outcome"),
    m("reward/part/<verifier>", "1", "mean reward by this verifier, before its weight"),
    m("reward/group/zero_spread", "1", "share of groups whose rewards are all equal"),
    m("reward/group/all_correct", "1", "share of groups with every completion correct"),
    m("reward/group/none_correct", "1", "share of groups with no completion correct"),
    m("reward/group/dropped", "groups", "groups dropped because their gold cannot be parsed"),
    m(
        "rollout_corr/kl",
        "nats",
        "mean of rollout minus training log-prob, tokens of the first update with a gradient",
    ),
    m("rollout_corr/k3_kl", "nats", "k3 estimate of the same divergence"),
    m("rollout_corr/log_prob_gap_mean", "nats", "mean distance of the two log-probabilities"),
    m("rollout_corr/log_prob_gap_max", "nats", "largest distance of the two log-probabilities"),
    m(
        "val-core/<set>/acc/mean@<samples>",
        "1",
        "held-out accuracy, mean over samples and problems",
    ),
    m("val-aux/<set>/acc/low", "1", "lower end of the accuracy's 95 % interval (Wilson)"),
    m("val-aux/<set>/acc/high", "1", "upper end of the accuracy's 95 % interval (Wilson)"),
    m("val-aux/<set>/reward/mean", "1", "mean held-out reward, all verifiers weighted"),
    m("val-aux/<set>/response_length/mean", "tokens", "mean length of held-out completions"),
    m("val-aux/<set>/response_length/clip_ratio", "1", "share of them cut at the limit"),
    m("val-aux/<set>/outcome/<outcome>", "1", "share of held-out completions with this outcome"),
    m("health/<warning>", "1", "1 in a step that raised this warning; health.jsonl says why"),
    t("timing_s/gen", "s", "sampling completions"),
    t("timing_s/reward", "s", "decoding and judging them"),
    t("timing_s/old_log_prob", "s", "scoring completions again with the policy"),
    t("timing_s/ref", "s", "scoring completions with the reference model"),
    t("timing_s/adv", "s", "advantages and token weights"),
    t("timing_s/update_actor", "s", "forward, backward and optimizer"),
    t("timing_s/testing", "s", "held-out evaluation"),
    t("timing_s/save_checkpoint", "s", "writing the last checkpoint before this step"),
    t("timing_s/step", "s", "the whole step"),
    t("timing_per_token_ms/gen", "ms", "sampling time of a generated token"),
    t("timing_per_token_ms/update_actor", "ms", "update time of a token in the pack"),
    t("perf/total_num_tokens", "tokens", "rows through the update, prompts counted once a pack"),
    t("perf/throughput", "tokens/s", "those rows over the time of the whole step"),
    t("perf/gen_throughput", "tokens/s", "generated tokens over the sampling time"),
    t("perf/peak_rss_mib", "MiB", "largest resident memory of the process so far"),
];

/// The table's line for `key`.
pub fn spec(key: &str) -> Option<&'static Spec> {
    TABLE.iter().find(|spec| matches(spec.key, key))
}

/// Whether `key` is `pattern` with a name in place of each part in angle brackets.
fn matches(pattern: &str, key: &str) -> bool {
    let (patterns, parts) = (pattern.split('/'), key.split('/'));
    patterns.clone().count() == parts.clone().count()
        && patterns.zip(parts).all(|(pattern, part)| match pattern.find('<') {
            None => pattern == part,
            Some(at) => part.len() > at && part.starts_with(&pattern[..at]),
        })
}

/// Values of one step for one log, in the order in which they were set.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrics {
    log: Log,
    entries: Vec<(String, f64)>,
}

impl Metrics {
    /// No values yet.
    pub const fn new(log: Log) -> Self {
        Self { log, entries: Vec::new() }
    }

    /// Adds one value.
    ///
    /// # Errors
    ///
    /// Fails when the table does not declare `key` for this log.
    pub fn set(&mut self, key: impl Into<String>, value: f64) -> Result<()> {
        let key = key.into();
        match spec(&key) {
            Some(spec) if spec.log == self.log => {
                self.entries.push((key, value));
                Ok(())
            }
            found => {
                let hint = found.map(|spec| format!("; it belongs to {}", spec.log));
                Err(Error::Undeclared { key, log: self.log, hint })
            }
        }
    }

    /// Adds `prefix/mean`, `prefix/max` and `prefix/min`; nothing for no values.
    ///
    /// # Errors
    ///
    /// Fails when the table does not declare the three keys for this log.
    pub fn set_spread(&mut self, prefix: &str, values: &[f64]) -> Result<()> {
        if values.is_empty() {
            return Ok(());
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        self.set(format!("{prefix}/mean"), mean)?;
        self.set(format!("{prefix}/max"), max)?;
        self.set(format!("{prefix}/min"), min)
    }

    /// Adds all of `other`'s values.
    pub fn extend(&mut self, other: Self) {
        debug_assert_eq!(self.log, other.log, "values move between metrics of one log");
        self.entries.extend(other.entries);
    }

    /// The log these values are for.
    pub const fn log(&self) -> Log {
        self.log
    }

    /// Keys and values, in the order in which they were set.
    pub fn entries(&self) -> &[(String, f64)] {
        &self.entries
    }

    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<f64> {
        self.entries.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undeclared_key_is_refused() {
        let mut metrics = Metrics::new(Log::Metrics);
        let error = metrics.set("actor/entropie", 1.0).unwrap_err();
        assert_eq!(error.to_string(), "metric `actor/entropie` is not declared for metrics.jsonl");
        let error = metrics.set("timing_s/gen", 1.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "metric `timing_s/gen` is not declared for metrics.jsonl; it belongs to timings.jsonl"
        );
        assert!(metrics.entries().is_empty());
    }

    #[test]
    fn a_bracketed_part_stands_for_any_name() {
        for key in ["reward/outcome/wrong", "val-core/heldout/acc/mean@8", "health/no_spread"] {
            assert!(spec(key).is_some(), "{key}");
        }
        for key in ["reward/outcome/", "reward/outcome", "val-core/a/b/acc/mean@1", "health/a/b"] {
            assert!(spec(key).is_none(), "{key}");
        }
    }

    #[test]
    fn every_key_is_declared_once_and_explained() {
        for (at, spec) in TABLE.iter().enumerate() {
            assert!(TABLE[..at].iter().all(|other| other.key != spec.key), "{}", spec.key);
            assert!(!spec.unit.is_empty() && !spec.meaning.is_empty(), "{}", spec.key);
        }
    }
}
