use std::num::NonZeroUsize;

use engine::loss::{Kl, PolicyLoss};
use rewards::Importance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Descent, SamplePlan, StageSettings, StepPlan, stage_settings};
use crate::config::{Algorithm, DynamicSampling, OldLogProbs, Probe, StageData};
use crate::memory::MemoryFactors;
use crate::verifiers::RewardsConfig;

/// Completions of a step, at most.
const MOST_COMPLETIONS: usize = 1 << 24;

stage_settings! {
    /// A stage of reinforcement learning. A step takes one batch of rollouts; the updates of a step
    /// share its groups.
    pub struct RlStage {
        /// Where the settings left out here come from; every algorithm's are in the documentation
        /// of its name. Left out: their own defaults, which are those of `grpo` with `token-mean`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub algorithm: Option<Algorithm>,
        /// Completions per problem.
        pub group_size: NonZeroUsize,
        /// Cache slots: completions decoded at a time. Does not change them on a CPU.
        #[serde(default = "super::default_slots")]
        pub slots: NonZeroUsize,
        /// How completions are sampled.
        #[serde(default)]
        pub rollout: rollout::Sampling,
        /// Whether problems are drawn until the batch is full of groups with spread; "off": the
        /// groups of a step are what was drawn.
        #[serde(default, with = "settings::off")]
        #[schemars(with = "settings::OrOff<DynamicSampling>")]
        pub dynamic_sampling: Option<DynamicSampling>,
        /// What a completion is worth.
        #[serde(default)]
        pub rewards: RewardsConfig,
        /// A KL to the weights at the stage's start that is taken from the reward, beside that of
        /// the loss. verl: `use_kl_in_reward`, `kl_penalty` and `kl_ctrl`.
        #[serde(default)]
        pub reward_kl: rewards::RewardKl,
        /// Whether completions that were cut at the limit are left out of the loss.
        #[serde(default)]
        pub overlong_filtering: bool,
        /// From the rewards of a group to advantages.
        #[serde(default)]
        pub advantage: rewards::AdvantageConfig,
        /// From advantages to the weight of each token.
        #[serde(default)]
        pub weighting: rewards::WeightingConfig,
        /// Where the log-probs that the loss compares with come from.
        #[serde(default)]
        pub old_log_probs: OldLogProbs,
        /// The correction for rollouts of another precision; needs `old_log_probs = "rescore"`.
        #[serde(default)]
        pub importance: Importance,
        /// The factor of the entropy in the loss.
        #[serde(default)]
        pub entropy_bonus: rewards::EntropyBonus,
        /// The loss.
        #[serde(default)]
        pub loss: engine::loss::LossConfig,
        /// Measures on fresh rollouts how far an update moves the entropy, or "off".
        #[serde(default, with = "settings::off")]
        #[schemars(with = "settings::OrOff<Probe>")]
        pub probe: Option<Probe>,
    }
}

impl RlStage {
    pub(super) const KIND: &str = "rl";
    /// Whether it samples: an evaluation does as the last stage that does.
    pub(super) const SAMPLES: bool = true;

    /// Whether it looks back at the weights at its start.
    pub fn has_reference(&self) -> bool {
        self.loss.kl != (Kl::Off {}) || !self.reward_kl.is_off()
    }

    /// Completions that dynamic sampling draws in a step that goes to the cap.
    fn most_drawn(&self) -> Option<u64> {
        let dynamic = self.dynamic_sampling?;
        let round = dynamic.gen_batch.unwrap_or(self.batch).get() * self.group_size.get();
        Some((dynamic.max_batches.get() * round) as u64)
    }

    fn memory_factors(&self, prompt: u64) -> MemoryFactors {
        let new = self.rollout.max_new_tokens.get() as u64;
        let completions = (self.batch.get() * self.group_size.get()) as u64;
        let slots = completions.min(self.slots.get() as u64);
        let groups = slots.div_ceil(self.group_size.get() as u64) + 1;
        let whole = self.batch.get() as u64 * prompt + completions * new;
        let update = whole / self.updates_per_step.get() as u64;
        let rows = self.micro_batch_tokens.get() as u64;
        MemoryFactors {
            rows: rows.min(update),
            alone: update <= rows,
            activations: self.activations.most(),
            cached: slots * new + groups * prompt,
            reference: self.has_reference(),
        }
    }
}

impl StageSettings for RlStage {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn steps(&self) -> u64 {
        self.steps.get()
    }

    fn batch(&self) -> usize {
        self.batch.get()
    }

    fn descent(&self) -> Descent<'_> {
        self.descent_settings()
    }

    fn data(&self) -> Option<&StageData> {
        self.data.as_ref()
    }

    fn plan(&self, prompt: u64) -> StepPlan {
        let sampled = SamplePlan {
            group_size: self.group_size.get() as u64,
            max_new_tokens: self.rollout.max_new_tokens.get() as u64,
            most_drawn: self.most_drawn(),
        };
        StepPlan { sampled: Some(sampled), memory: self.memory_factors(prompt) }
    }

    fn problems(&self) -> Vec<String> {
        let completions = self.batch.get().saturating_mul(self.group_size.get());
        let components = [
            ("loss", self.loss.problems()),
            ("rollout", self.rollout.problems()),
            ("rewards", self.rewards.problems()),
            ("reward_kl", self.reward_kl.problems(completions)),
            ("advantage", self.advantage.problems()),
            ("weighting", self.weighting.problems()),
            ("importance", self.importance.problems()),
            ("entropy_bonus", self.entropy_bonus.problems()),
        ];
        let mut found: Vec<_> = components
            .into_iter()
            .flat_map(|(key, own)| own.into_iter().map(move |one| format!("{key}: {one}")))
            .collect();
        let mut need = |holds: bool, problem: &str| {
            if !holds {
                found.push(problem.to_owned());
            }
        };
        need(
            completions <= MOST_COMPLETIONS,
            &format!(
                "group_size: expected batch * group_size of at most {MOST_COMPLETIONS} completions \
                 a step, got {} * {}",
                self.batch, self.group_size
            ),
        );
        need(
            !matches!(self.loss.policy_loss, PolicyLoss::NegativeLogLikelihood {}),
            "loss.policy_loss: `negative-log-likelihood` reads no reward; use it through a stage of kind \
             `sft`",
        );
        need(
            self.old_log_probs == OldLogProbs::Rescore || self.importance == (Importance::Off {}),
            "importance: the rollout's own log-probs differ from themselves by nothing; set \
             `old_log_probs = \"rescore\"`",
        );
        need(
            !matches!(self.loss.kl, Kl::K1 { .. }),
            "loss.kl: the gradient of `k1` in the loss has expectation 0, so it adds noise and does \
             not pull towards the reference; use `k3` or `k2` there, or `reward_kl`",
        );
        if self.group_size == NonZeroUsize::MIN {
            self.check_group_of_one(&mut need);
        }
        need(
            self.rollout.temperature > 0.0,
            "rollout.temperature: greedy siblings are all the same and teach nothing; use a \
             temperature above 0",
        );
        found
    }

    fn sampling(&self) -> Option<&rollout::Sampling> {
        Some(&self.rollout)
    }

    fn rewards(&self) -> Option<&RewardsConfig> {
        Some(&self.rewards)
    }
}

impl RlStage {
    /// A completion without siblings can be compared with the other problems of its step, by the
    /// advantages that do so.
    fn check_group_of_one(&self, need: &mut impl FnMut(bool, &str)) {
        need(
            self.advantage.compares_over_step(),
            "group_size: a group of one has no advantage over its siblings; use 2 or more, or \
             `algorithm = \"reinforce++\"`, which compares over the whole step",
        );
        need(
            self.batch > NonZeroUsize::MIN,
            "batch: one completion a step has nothing to be compared with; use 2 problems or more, \
             or a larger group_size",
        );
        need(
            self.dynamic_sampling.is_none(),
            "dynamic_sampling: it waits for groups whose completions differ, and a group of one \
             never does; set it to \"off\", or use a larger group_size",
        );
    }
}
