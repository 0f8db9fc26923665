use std::num::NonZeroUsize;

use engine::loss::{Kl, PolicyLoss};
use evals::run::SamplesConfig;
use rewards::Importance;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Descent, ReferenceChoice, SamplePlan, StageSettings, StepPlan, stage_settings};
use crate::config::{Algorithm, DynamicSampling, MOST_COMPLETIONS, OldLogProbs, Probe, StageData};
use crate::memory::MemoryFactors;
use crate::verifiers::RewardsConfig;

stage_settings! {
    /// A stage of reinforcement learning. A step takes one batch of rollouts; the updates of a step
    /// share its groups.
    pub struct RlStage {
        /// A published algorithm, which sets several of the keys below. What the stage sets itself
        /// takes precedence. Left out: every key has its own default, which together are those of
        /// `grpo` with the aggregation `token-mean`.
        ///
        /// Names: verl `adv_estimator`, TRL `loss_type`, prime-rl `algo.type`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub algorithm: Option<Algorithm>,
        /// Completions per problem. They are compared with each other, so a group of one needs an
        /// advantage that compares over the whole step.
        ///
        /// Names: verl `rollout.n`, TRL `num_generations`, prime-rl `group_size`.
        pub group_size: NonZeroUsize,
        /// Completions that are decoded at a time. On a CPU their number changes memory and speed,
        /// not the completions.
        ///
        /// Names: vLLM `max_num_seqs`, verl `max_num_seqs`, prime-rl `concurrency.max_inflight`.
        #[serde(default = "super::default_slots")]
        pub slots: NonZeroUsize,
        /// How completions are sampled.
        ///
        /// Names: verl `actor_rollout_ref.rollout`, prime-rl `train.sampling`.
        #[serde(default)]
        pub rollout: rollout::Sampling,
        /// Whether problems are drawn until the batch is full of groups with spread; "off": the
        /// groups of a step are what was drawn.
        #[serde(default, with = "settings::off")]
        #[schemars(with = "settings::OrOff<DynamicSampling>")]
        pub dynamic_sampling: Option<DynamicSampling>,
        /// The verifiers that say what a completion is worth. Their weighted rewards are added up.
        ///
        /// Names: verl `reward_manager`, TRL `reward_funcs`.
        #[serde(default)]
        pub rewards: RewardsConfig,
        /// What `loss.kl` and `reward_kl` look back at.
        ///
        /// Names: verl `actor_rollout_ref.ref`.
        #[serde(default)]
        pub reference: ReferenceChoice,
        /// A KL to the reference that is taken from the reward, in addition to that of the loss.
        ///
        /// Names: verl `use_kl_in_reward`.
        #[serde(default)]
        pub reward_kl: rewards::RewardKl,
        /// Whether completions that were cut off at the token limit are left out of the loss.
        ///
        /// Names: TRL `mask_truncated_completions`.
        #[serde(default)]
        pub overlong_filtering: bool,
        /// How the rewards of a group become advantages.
        ///
        /// Names: verl `adv_estimator`.
        #[serde(default)]
        pub advantage: rewards::AdvantageConfig,
        /// How much each token counts: a factor of its advantage.
        #[serde(default)]
        pub weighting: rewards::WeightingConfig,
        /// Where the log-probs of the policy before the step's updates come from, which the loss
        /// compares the new ones with.
        ///
        /// Names: verl `rollout_correction.bypass_mode`.
        #[serde(default)]
        pub old_log_probs: OldLogProbs,
        /// A correction for rollouts whose log-probs differ from those of training. It needs
        /// `old_log_probs = "rescore"`.
        ///
        /// Names: verl `rollout_correction`, TRL `vllm_importance_sampling_correction`.
        #[serde(default)]
        pub importance: Importance,
        /// A bonus for the entropy of the policy, in the loss.
        ///
        /// Names: verl `entropy_coeff`, TRL `entropy_coef`.
        #[serde(default)]
        pub entropy_bonus: rewards::EntropyBonus,
        /// The loss: of a token, how tokens are averaged, and the KL to the reference.
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

    /// Whether a KL term of it looks back at a reference.
    pub fn has_reference(&self) -> bool {
        self.loss.kl != (Kl::Off {}) || !self.reward_kl.is_off()
    }

    /// What it looks back at, if it does.
    pub fn looks_back_at(&self) -> Option<&ReferenceChoice> {
        self.has_reference().then_some(&self.reference)
    }

    /// Groups that the record keeps of a step, at most, besides those that were not learnt from.
    pub fn recorded_groups(&self, samples: &SamplesConfig) -> usize {
        let limit = self.rollout.max_new_tokens.get();
        samples.groups_of(self.group_size.get(), limit).min(self.batch.get())
    }

    /// Completions that dynamic sampling draws in a step that goes to the cap.
    fn most_drawn(&self) -> Option<u64> {
        let dynamic = self.dynamic_sampling?;
        let round = dynamic.gen_batch.unwrap_or(self.batch).get();
        let round = round.saturating_mul(self.group_size.get());
        Some(dynamic.max_batches.get().saturating_mul(round) as u64)
    }

    fn memory_factors(&self, prompt: u64) -> MemoryFactors {
        let new = self.rollout.max_new_tokens.get() as u64;
        let completions = (self.batch.get() * self.group_size.get()) as u64;
        let slots = completions.min(self.slots.get() as u64);
        let groups = slots.div_ceil(self.group_size.get() as u64) + 1;
        let prompts = |count: u64| count.saturating_mul(prompt);
        let whole =
            prompts(self.batch.get() as u64).saturating_add(completions.saturating_mul(new));
        let update = whole / self.updates_per_step.get() as u64;
        let rows = self.micro_batch_tokens.get() as u64;
        MemoryFactors {
            rows: rows.min(update),
            alone: update <= rows,
            activations: self.activations.most(),
            cached: slots.saturating_mul(new).saturating_add(prompts(groups)),
            reference: self.has_reference(),
            gradients: self.optim.estimator().is_none(),
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
            ("reference", self.reference.problems()),
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
        for (key, [problems, group_size]) in self.groups() {
            need(
                problems.get().saturating_mul(group_size.get()) <= MOST_COMPLETIONS,
                &format!(
                    "{key} of at most {MOST_COMPLETIONS} completions a step, got {problems} * \
                     {group_size}"
                ),
            );
        }
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
            self.rollout.temperature != 0.0,
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
    /// What is sampled together, each as a number of problems and of completions of each, with the
    /// start of a sentence about it.
    fn groups(&self) -> Vec<(&'static str, [NonZeroUsize; 2])> {
        let mut groups =
            vec![("group_size: expected batch * group_size", [self.batch, self.group_size])];
        if let Some(gen_batch) = self.dynamic_sampling.and_then(|dynamic| dynamic.gen_batch) {
            let key = "dynamic_sampling.gen_batch: expected gen_batch * group_size";
            groups.push((key, [gen_batch, self.group_size]));
        }
        if let Some(probe) = self.probe {
            let key = "probe.group_size: expected problems * group_size";
            groups.push((key, [probe.problems, probe.group_size]));
        }
        groups
    }

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
