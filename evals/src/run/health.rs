//! `health.jsonl`: warnings, as they came.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Lines, Problem};
use crate::{Metrics, Warning, key};

/// How much a warning asks for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something is wrong: what the run does is not what its recipe asks for, or teaches nothing.
    Alarm,
    /// Something could be better.
    Advice,
}

/// A line of `health.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthLine {
    /// The step after which it was given.
    pub step: u64,
    /// Name, as in the metric `health/NAME`.
    pub name: String,
    /// How much it asks for.
    pub level: Level,
    /// What was seen.
    pub cause: String,
    /// What to change.
    pub act: String,
    /// The key of the recipe to change, the first that `act` names; none where it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The metric that shows it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// The metric's value in this step, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// The value from which on the warning is given, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
}

impl HealthLine {
    /// The warning as it is written after `step`, whose values are `metrics`.
    pub(super) fn of(step: u64, warning: &Warning, metrics: Option<&Metrics>) -> Self {
        let metric = warning.metric(metrics);
        let value = metric.and_then(|key| metrics?.get(key)).filter(|value| value.is_finite());
        Self {
            step,
            name: warning.name.to_owned(),
            level: warning.level(),
            cause: warning.cause.clone(),
            act: warning.act.clone().into_owned(),
            key: key(&warning.act).map(str::to_owned),
            metric: metric.map(str::to_owned),
            value,
            limit: warning.limit,
        }
    }
}

/// The first key of a recipe among the words in code of a text.
fn key(text: &str) -> Option<&str> {
    const TABLES: [&str; 6] = ["model", "data", "prompt", "eval", "record", "stage"];
    let code = text.split('`').skip(1).step_by(2);
    let keys = code.map(|code| code.split(' ').next().unwrap_or_default());
    let mut keys = keys.filter(|key| key.split_once('.').is_some_and(|(a, _)| TABLES.contains(&a)));
    keys.next()
}

/// The warnings of a run; nothing where there is no file.
///
/// # Errors
///
/// Fails when the file cannot be read.
pub fn read_health(path: &Path) -> Result<Lines<HealthLine>, Problem> {
    Lines::read(path, Lines::<HealthLine>::SHORT)
}

impl Warning {
    /// The warning with the keys of the stage of this index, counted from 0, spelled as `--set`
    /// takes them in every recipe: more than one stage may be of the kind `rl`.
    #[must_use]
    pub fn in_stage(mut self, index: usize) -> Self {
        const ANY: &str = "`stage.rl.";
        if self.act.contains(ANY) {
            self.act = self.act.replace(ANY, &format!("`stage.{index}.")).into();
        }
        self
    }
    /// How much it asks for.
    pub fn level(&self) -> Level {
        match self.name {
            "reward_flat"
            | "grad_norm_spike"
            | "batch_not_full"
            | "gold_unparseable"
            | "held_out_unparseable"
            | "held_out_truncated" => Level::Advice,
            _ => Level::Alarm,
        }
    }

    /// The metric that shows it, where one does, in a step with these values.
    pub fn metric(&self, metrics: Option<&Metrics>) -> Option<&'static str> {
        // The rewards of all groups, as the warning takes them, where sampling left some out.
        let unfiltered = key!("unfiltered/rewards/mean");
        let has_unfiltered = metrics.is_some_and(|metrics| metrics.get(unfiltered).is_some());
        Some(match self.name {
            "reward_flat" if has_unfiltered => unfiltered,
            "all_truncated" | "end_token_never_sampled" => key!("response_length/clip_ratio"),
            "no_answer" => key!("reward/outcome/no-answer"),
            "no_spread" => key!("reward/group/zero_spread"),
            "gold_unparseable" | "verifier_failed" => key!("reward/group/dropped"),
            "entropy_collapse" | "entropy_explosion" => key!("actor/entropy"),
            "reward_flat" => key!("critic/rewards/mean"),
            "grad_norm_spike" => key!("actor/grad_norm"),
            "log_prob_gap" => key!("rollout_corr/log_prob_gap_max"),
            "batch_not_full" => key!("dynamic_sampling/kept"),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Log, spec};

    #[test]
    fn the_key_of_a_warning_is_the_first_one_that_it_advises_to_change() {
        for (act, expected) in [
            ("lower `stage.rl.schedule.lr`, or `stage.rl.batch`", Some("stage.rl.schedule.lr")),
            ("set the verifier's `marker`, or `prompt.suffix`", Some("prompt.suffix")),
            (
                "hold it with `stage.rl.weighting = { kind = \"stare\" }`",
                Some("stage.rl.weighting"),
            ),
            ("give it a longer `deadline_s`", None),
            ("repair these rows", None),
            ("an open `eval.x", Some("eval.x")),
        ] {
            assert_eq!(key(act), expected, "{act}");
        }
    }

    #[test]
    fn the_metric_of_a_warning_is_declared() {
        for name in [
            "all_truncated",
            "no_answer",
            "no_spread",
            "verifier_failed",
            "entropy_collapse",
            "reward_flat",
            "grad_norm_spike",
            "log_prob_gap",
            "batch_not_full",
        ] {
            let warning = Warning { name, cause: String::new(), act: "".into(), limit: None };
            let metric = warning.metric(None).unwrap();
            assert!(spec(metric).is_some(), "{metric}");
        }
    }

    #[test]
    fn a_flat_reward_is_shown_by_the_rewards_that_it_is_taken_from() {
        let warning =
            Warning { name: "reward_flat", cause: String::new(), act: "".into(), limit: None };
        let mut metrics = Metrics::new(Log::Metrics);
        metrics.set("critic/rewards/mean", 0.5).unwrap();
        let plain = HealthLine::of(1, &warning, Some(&metrics));
        assert_eq!(
            (plain.metric.as_deref(), plain.value),
            (Some("critic/rewards/mean"), Some(0.5))
        );
        metrics.set("unfiltered/rewards/mean", 0.25).unwrap();
        let all = HealthLine::of(1, &warning, Some(&metrics));
        assert_eq!(
            (all.metric.as_deref(), all.value),
            (Some("unfiltered/rewards/mean"), Some(0.25))
        );
    }
}
