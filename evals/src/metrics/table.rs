//! The rows, in the order in which a step computes them.

mod held_out;
mod timings;

use super::{Log, Spec};
use held_out::HELD_OUT;
use timings::TIMINGS;

/// Every metric.
pub const TABLE: &[Spec] = {
    const ALL: [Spec; LEN] = joined();
    &ALL
};

const PARTS: [&[Spec]; 4] = [STEP, HELD_OUT, HEALTH, TIMINGS];

const LEN: usize = STEP.len() + HELD_OUT.len() + HEALTH.len() + TIMINGS.len();

const fn joined() -> [Spec; LEN] {
    let mut all = [STEP[0]; LEN];
    let (mut part, mut row, mut at) = (0, 0, 0);
    while part < PARTS.len() {
        if row < PARTS[part].len() {
            all[at] = PARTS[part][row];
            (row, at) = (row + 1, at + 1);
        } else {
            (part, row) = (part + 1, 0);
        }
    }
    all
}

/// Of the steps of a stage.
const STEP: &[Spec] = &[
    m("training/global_step", "steps", "steps done, over all stages"),
    m("training/changed", "1", "1 in the first step with settings that a resume changed"),
    m("training/epoch", "epochs", "passes over the stage's problems, begun ones counted in part"),
    m("training/updates", "updates", "optimizer steps done in this stage"),
    m(
        "training/num_tokens",
        "tokens",
        "tokens in the loss of this step, without completions that overlong filtering left out",
    ),
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
    m("actor/pg_clipfrac", "1", "share of tokens in the loss where the upper or lower clip acts"),
    m("actor/pg_clipfrac_lower", "1", "share of tokens in the loss where the dual clip acts"),
    m(
        "actor/ratio/quantile/<quantile>",
        "1",
        "quantile over tokens of new over old probability, at the last of several updates of a step",
    ),
    m("actor/ppo_kl", "nats", "mean of old minus new log-probability, over tokens with a gradient"),
    m("actor/kl_loss", "nats", "mean estimated KL to the reference model"),
    m("actor/kl_coef", "1", "factor of the KL term in the loss"),
    m(
        "actor/reward_kl_penalty",
        "nats",
        "estimated KL in the reward: mean over completions of the mean over tokens",
    ),
    m("actor/reward_kl_penalty_coeff", "1", "factor of the KL in the reward in this step"),
    m("actor/grad_norm", "1", "gradient norm before clipping, mean over updates"),
    m(
        "zeroth/loss_deviation",
        "1",
        "population standard deviation of the losses of an update's probes, mean over updates",
    ),
    m(
        "zeroth/slope",
        "1",
        "root mean square of what the update moves along its directions by, mean over updates",
    ),
    m("zeroth/passes", "passes", "forward passes over the batch for the updates of the step"),
    m("zeroth/not_finite", "probes", "probes of the step whose loss is not finite"),
    m(
        "zeroth/skipped",
        "updates",
        "updates of the step that moved nothing, since losses are not finite",
    ),
    m("zeroth/log_bytes", "bytes", "length of the log of the stage's updates"),
    m("adapter/update_norm", "1", "Frobenius norm of what the adapter adds to all weights"),
    m("actor/lr", "1", "learning rate of the step's last update"),
    m("actor/entropy_coefficient", "1", "factor of the entropy bonus in the loss of this step"),
    m(
        "critic/score/mean",
        "1",
        "share of completions that the answer verifier finds correct; verl's key is the raw reward",
    ),
    m("critic/score/max", "1", "1 where a completion of the batch is correct, else 0"),
    m("critic/score/min", "1", "1 where every completion of the batch is correct, else 0"),
    m(
        "critic/rewards/mean",
        "1",
        "mean reward, all verifiers weighted, before a KL in the reward; verl's key is after it",
    ),
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
    m(
        "reward/outcome/<outcome>",
        "1",
        "share of completions with this outcome, of everything sampled, dropped groups included",
    ),
    m("reward/part/<verifier>", "1", "mean reward by this verifier, before its weight"),
    m("reward/source/<source>/count", "1", "groups of this source that were judged"),
    m(
        "reward/source/<source>/mean",
        "1",
        "mean reward of their completions, all verifiers weighted",
    ),
    m("reward/source/<source>/acc", "1", "share of their completions that are correct"),
    m("reward/group/zero_spread", "1", "share of groups whose rewards are all equal"),
    m(
        "reward/group/all_correct",
        "1",
        "share of all groups sampled with every completion correct: the full-solve ratio",
    ),
    m("reward/group/none_correct", "1", "share of groups with no completion correct"),
    m("reward/group/mixed", "1", "share of groups with some completions correct and some not"),
    m(
        "reward/group/dropped",
        "groups",
        "groups dropped because their gold cannot be parsed or a verifier failed on them",
    ),
    m(
        "reward/pass@<k>",
        "1",
        "chance that one of k completions is correct, unbiased, all groups sampled (arXiv 2107.03374)",
    ),
    m(
        "reward/<verifier>/<name>",
        "1",
        "mean of a further number of this verifier, over the completions that it gave it for",
    ),
    m(
        "unfiltered/score/mean",
        "1",
        "critic/score/mean over everything sampled, before groups and completions are discarded",
    ),
    m("unfiltered/rewards/mean", "1", "critic/rewards/mean over everything sampled"),
    m("unfiltered/entropy", "nats", "actor/entropy over everything sampled"),
    m("unfiltered/response_length/mean", "tokens", "response_length/mean over everything sampled"),
    m(
        "unfiltered/response_length/clip_ratio",
        "1",
        "response_length/clip_ratio over everything sampled",
    ),
    m(
        "dynamic_sampling/batches",
        "batches",
        "times that problems were drawn until the step was full",
    ),
    m("dynamic_sampling/drawn", "groups", "groups sampled for this step"),
    m("dynamic_sampling/kept", "groups", "groups learnt from"),
    m(
        "dynamic_sampling/discarded",
        "groups",
        "groups with spread that were more than the step needed",
    ),
    m(
        "overlong/filtered",
        "1",
        "share of completions left out of the loss because they were cut at the limit",
    ),
    m(
        "reflection/<class>",
        "1",
        "reflection words of this class in a completion, mean over everything sampled",
    ),
    m(
        "rollout_corr/kl",
        "nats",
        "mean of rollout minus training log-prob, tokens of the first update with a gradient",
    ),
    m("rollout_corr/k3_kl", "nats", "k3 estimate of the same divergence"),
    m("rollout_corr/log_prob_gap_mean", "nats", "mean distance of the two log-probabilities"),
    m("rollout_corr/log_prob_gap_max", "nats", "largest distance of the two log-probabilities"),
    m(
        "rollout_corr/rollout_is_mean",
        "1",
        "mean importance weight of old over rollout probability, after truncation or masking",
    ),
    m(
        "rollout_corr/rollout_is_max",
        "1",
        "largest importance weight, before truncation or masking",
    ),
    m(
        "rollout_corr/rollout_is_min",
        "1",
        "smallest importance weight, before truncation or masking",
    ),
    m(
        "rollout_corr/rollout_is_std",
        "1",
        "standard deviation of the importance weights, after truncation or masking",
    ),
    m(
        "rollout_corr/rollout_is_eff_sample_size",
        "1",
        "squared mean over mean square of the importance weights: 1 where all are equal",
    ),
    m(
        "rollout_corr/rollout_is_ratio_fraction_high",
        "1",
        "share of importance weights above the upper bound",
    ),
    m(
        "rollout_corr/rollout_is_ratio_fraction_low",
        "1",
        "share of importance weights below the lower bound",
    ),
    m(
        "rollout_corr/rollout_rs_masked_fraction",
        "1",
        "share of tokens masked because their importance weight is out of bounds",
    ),
    m("rollout_corr/rollout_rs_seq_masked_fraction", "1", "share of completions with such a token"),
    m(
        "stare/gate_on",
        "1",
        "share of the step for which the gate is open: entropy below its target",
    ),
    m("stare/target_entropy", "nats", "entropy below which the gate opens"),
    m("stare/reweight_w", "1", "weight of amplified tokens in this step"),
    m("stare/reweight_m", "1", "weight of attenuated tokens in this step"),
    m(
        "stare/batch_entropy",
        "nats",
        "mean entropy of the tokens in the loss, which the gate compares with its target; 0 before any",
    ),
    m(
        "stare/micro_batch_entropy",
        "nats",
        "mean entropy of a micro-batch, mean over micro-batches",
    ),
    m(
        "stare/critical_weight",
        "1",
        "critical weight 1 + (lambda - (1 - M) D) / gamma of the running means, where gamma is above 0",
    ),
    m("stare/lambda", "nats", "running mean of entropy/lambda"),
    m(
        "stare/gamma",
        "nats",
        "running mean of minus credit times Phi over amplified tokens, a token of the step",
    ),
    m("actor/stare/gate_on", "1", "share of the step for which the gate is open"),
    m("actor/stare/controller_entropy", "nats", "stare/batch_entropy again"),
    m("actor/stare/target_entropy", "nats", "entropy below which the gate opens"),
    m("actor/stare/top_ratio", "1", "share of a side's tokens that is selected"),
    m("actor/stare/positive_candidate_ratio", "1", "share of tokens with an advantage above 0"),
    m("actor/stare/negative_candidate_ratio", "1", "share of tokens with an advantage below 0"),
    m(
        "actor/stare/positive_reweight_ratio",
        "1",
        "share of tokens with an advantage above 0 that an open gate reweights, open or not",
    ),
    m(
        "actor/stare/negative_reweight_ratio",
        "1",
        "share of tokens with an advantage below 0 that an open gate reweights, open or not",
    ),
    m("actor/stare/mean_weight", "1", "mean weight of a token"),
    m("actor/stare/positive_weight", "1", "weight of amplified tokens while the gate is open"),
    m("actor/stare/negative_weight", "1", "weight of attenuated tokens while the gate is open"),
    m("actor/stare/variant_is_c2", "1", "1 for operation c2, else 0"),
    m("weighting/selected", "1", "share of tokens that the weighting selects"),
    m("weighting/mean_weight", "1", "mean weight of a token"),
    m(
        "quadrant/quantile/<quadrant>/tokens",
        "1",
        "share of tokens in this quadrant, high surprisal by the quantile of its advantage sign",
    ),
    m(
        "quadrant/quantile/<quadrant>/advantage",
        "1",
        "sum of advantages in this quadrant as the loss counts them, over all tokens",
    ),
    m(
        "quadrant/quantile/<quadrant>/entropy",
        "nats",
        "minus the sum of advantage times Phi in this quadrant as the loss counts them, over all tokens",
    ),
    m(
        "quadrant/critical/<quadrant>/tokens",
        "1",
        "share of tokens in this quadrant, high surprisal by Phi below 0",
    ),
    m(
        "quadrant/critical/<quadrant>/advantage",
        "1",
        "sum of advantages in this quadrant as the loss counts them, over all tokens",
    ),
    m(
        "quadrant/critical/<quadrant>/entropy",
        "nats",
        "minus the sum of advantage times Phi in this quadrant as the loss counts them, over all tokens",
    ),
    m(
        "entropy/lambda",
        "nats",
        "credit times Phi at weights of 1, mean over tokens: how fast plain updates lower the entropy",
    ),
    m(
        "entropy/gamma",
        "nats",
        "minus credit times Phi of selected winners' tokens, over all tokens: what a weight acts on",
    ),
    m("entropy/critical_weight", "1", "1 + lambda / gamma of this step, where gamma is above 0"),
    m(
        "entropy/predicted_delta",
        "nats",
        "entropy change a unit of step in the logits, first order: minus the mean of credit times Phi, an entropy bonus left out",
    ),
    m(
        "entropy/selected_raising",
        "1",
        "share of selected winners' tokens whose reinforcement raises the entropy: Phi below 0",
    ),
    m(
        "entropy/probe",
        "nats",
        "mean entropy of fresh completions of the probe problems, before the update",
    ),
    m(
        "entropy/probe_delta",
        "nats",
        "mean entropy over the tokens of the same completions after the update, minus entropy/probe",
    ),
    m(
        "entropy/batch_delta",
        "nats",
        "mean entropy of the step's own tokens after the update minus before, which is biased",
    ),
    m("entropy/measured_delta", "nats", "unfiltered/entropy of this step minus the last step's"),
    m("entropy/quantile/<quantile>", "nats", "quantile of the entropy over tokens"),
    m("surprisal/mean", "nats", "mean surprisal of a token"),
    m("surprisal/quantile/<quantile>", "nats", "quantile of the surprisal over tokens"),
    m(
        "surprisal/histogram/<from>",
        "1",
        "share of tokens with a surprisal from this many nats up to the next bin's",
    ),
];

const HEALTH: &[Spec] =
    &[m("health/<warning>", "1", "1 in a step that raised this warning; health.jsonl says why")];

const fn m(key: &'static str, unit: &'static str, meaning: &'static str) -> Spec {
    Spec { key, unit, log: Log::Metrics, meaning }
}

const fn t(key: &'static str, unit: &'static str, meaning: &'static str) -> Spec {
    Spec { key, unit, log: Log::Timings, meaning }
}
