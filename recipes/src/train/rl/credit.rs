//! Credit: from the rewards of a step to what the loss is told of each token.

use anyhow::Result;
use engine::loss::Counts;
use evals::attempt::Graded;
use rand_philox::splitmix64;
use rewards::advantage::GroupRewards;
use rewards::dynamics::dynamics;
use rewards::weighting::{Scope, Select};
use rewards::{EntropyBonus, Importance, TokenWeights, WeightingConfig};
use rollout::Finish;

use super::Rl;
use crate::config::RlStage;
use crate::train::columns::TokenTable;
use crate::train::descend::parts;
use crate::train::pack::{Prompted, Sample, pack};

/// What credit assignment says about a step, and the entropy bonus that it chose.
#[derive(Debug, Default)]
pub(super) struct Credited {
    /// Factor of the entropy in this step's loss.
    pub(super) entropy_coefficient: f64,
    /// Metric keys and values.
    pub(super) said: Vec<(String, f64)>,
}

impl Rl<'_> {
    /// Fills in advantages, importance weights and token weights.
    pub(super) fn credit(
        &mut self,
        config: &RlStage,
        step: u64,
        groups: &[Graded],
        samples: &mut [Prompted],
    ) -> Result<Credited> {
        advantages(config, groups, samples);
        let mut credited = Credited::default();
        if config.overlong_filtering {
            credited.say("overlong/filtered", filter_overlong(groups, samples));
        }
        let seed = self.run.seed_of(step);
        let table = TokenTable::of(each(samples), seed);
        credited.say_all(importance(config, &table, samples));
        let mean_entropy = mean_entropy(config, &table)?;
        credited.entropy_coefficient = self.entropy_control.observe(mean_entropy);
        if config.entropy_bonus != (EntropyBonus::Off {}) {
            credited.say("actor/entropy_coefficient", credited.entropy_coefficient);
        }
        credited.say_all(self.weighting.observe(mean_entropy, &table.borrow()));
        for sample in each_mut(samples) {
            sample.without_gradient = !has_gradient(config, credited.entropy_coefficient, sample);
        }
        let statistics = self.weigh(config, samples, &table)?;
        credited.say_all(statistics);
        let weights: Vec<f64> =
            each(samples).flat_map(|sample| sample.weights.iter().copied()).collect();
        credited.said.extend(dynamics(&table.borrow(), &weights, share(&config.weighting)));
        Ok(credited)
    }

    /// Fills in token weights, ranked over the step or over each micro-batch.
    fn weigh(
        &self,
        config: &RlStage,
        samples: &mut [Prompted],
        table: &TokenTable,
    ) -> Result<Vec<(&'static str, f64)>> {
        if self.weighting.scope() == Scope::Batch {
            let weighed = self.weighting.weights(&table.borrow());
            hand_out(&weighed, each_mut(samples).filter(|sample| !sample.filtered));
            return Ok(weighed.statistics);
        }
        let mut found = Vec::new();
        for part in parts(samples, config.updates_per_step.get()) {
            for batch in
                pack(part, config.micro_batch_tokens.get(), |sample| !sample.without_gradient)?
            {
                // What is drawn for one micro-batch must not be drawn for all.
                let seed = splitmix64(table.seed ^ found.len() as u64);
                let table = TokenTable::of(batch.samples.iter().copied(), seed);
                found.push(self.weighting.weights(&table.borrow()));
            }
        }
        let mut active = each_mut(samples).filter(|sample| !sample.without_gradient);
        for weighed in &found {
            hand_out(weighed, active.by_ref());
        }
        drop(active);
        for sample in each_mut(samples).filter(|sample| sample.without_gradient && !sample.filtered)
        {
            sample.weights = vec![1.0; sample.completion.len()];
        }
        Ok(means(&found))
    }
}

impl Credited {
    fn say(&mut self, key: &str, value: f64) {
        self.said.push((key.to_owned(), value));
    }

    fn say_all(&mut self, all: impl IntoIterator<Item = (&'static str, f64)>) {
        self.said.extend(all.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
}

/// One advantage for each completion, over the whole step.
fn advantages(config: &RlStage, groups: &[Graded], samples: &mut [Prompted]) {
    let rewards: Vec<_> = groups.iter().map(Graded::rewards).collect();
    let lengths: Vec<Vec<usize>> = samples
        .iter()
        .map(|group| group.samples.iter().map(|sample| sample.completion.len()).collect())
        .collect();
    let step: Vec<_> = rewards
        .iter()
        .zip(&lengths)
        .map(|(rewards, lengths)| GroupRewards { rewards, lengths })
        .collect();
    let advantages = config.advantage.advantages(&step);
    for (sample, advantage) in each_mut(samples).zip(advantages.into_iter().flatten()) {
        sample.advantage = advantage;
    }
}

/// Takes completions that were cut off out of the loss; their rewards stay in the advantages.
/// Returns their share.
///
/// Source: overlong filtering, arXiv 2503.14476, section 3.4.
fn filter_overlong(groups: &[Graded], samples: &mut [Prompted]) -> f64 {
    let completions = groups.iter().flat_map(|group| &group.completions);
    let (mut all, mut filtered) = (0.0_f64, 0.0);
    for (one, sample) in completions.zip(each_mut(samples)) {
        sample.filtered = one.trajectory.finish == Finish::Length;
        if sample.filtered {
            sample.weights = vec![0.0; sample.completion.len()];
            filtered += 1.0;
        }
        all += 1.0;
    }
    filtered / all.max(1.0)
}

/// Fills in how much more likely each token is to the policy that trains than to the one that
/// sampled, where the recipe corrects for it.
fn importance(
    config: &RlStage,
    table: &TokenTable,
    samples: &mut [Prompted],
) -> Vec<(&'static str, f64)> {
    if config.importance == (Importance::Off {}) {
        return Vec::new();
    }
    let (old, rollout) = (table.old_log_probs(), &table.rollout_log_probs);
    let Some(found) = config.importance.weights(&old, rollout, &table.samples) else {
        return Vec::new();
    };
    let kept = each_mut(samples).filter(|sample| !sample.filtered);
    for (sample, range) in kept.zip(&table.samples) {
        sample.importance = found.weights[range.clone()].to_vec();
    }
    found.statistics
}

/// The mean entropy of a step's tokens, nats, as the loss aggregates them.
///
/// Source: STARE's reference code, which measures the gate's entropy by `agg_loss`.
fn mean_entropy(config: &RlStage, table: &TokenTable) -> Result<f64> {
    let lengths: Vec<_> = table.samples.iter().map(ExactSizeIterator::len).collect();
    let coefficients = config.loss.aggregation.coefficients(&lengths, Counts::of(&lengths))?;
    let entropies = table.entropies.iter().map(|&entropy| f64::from(entropy));
    Ok(coefficients.iter().zip(entropies).map(|(share, entropy)| share * entropy).sum())
}

/// Whether the loss has a gradient in a completion's tokens.
fn has_gradient(config: &RlStage, entropy_coefficient: f64, sample: &Sample) -> bool {
    let every = config.loss.kl != (engine::loss::Kl::Off {})
        || entropy_coefficient != 0.0
        || matches!(config.weighting, WeightingConfig::KlCov { .. });
    !sample.filtered && (every || sample.advantage != 0.0)
}

/// The share of tokens that the entropy views call high.
fn share(weighting: &WeightingConfig) -> f64 {
    const USUAL: f64 = 0.1;
    match weighting {
        WeightingConfig::Stare(stare) => match stare.select {
            Select::Quantile { share, .. } => share,
            Select::Probability { .. } => USUAL,
        },
        _ => USUAL,
    }
}

fn hand_out<'a>(weighed: &TokenWeights, samples: impl Iterator<Item = &'a mut Sample>) {
    let mut start = 0;
    let mut samples = samples;
    while start < weighed.weights.len() {
        let sample = samples.next().expect("as many tokens were weighed as the samples have");
        let range = start..start + sample.completion.len();
        sample.weights = weighed.weights[range.clone()].to_vec();
        if !weighed.penalties.is_empty() {
            sample.penalties = weighed.penalties[range.clone()].to_vec();
        }
        start = range.end;
    }
}

/// Statistics of micro-batches: their means, as the reference code logs them.
fn means(found: &[TokenWeights]) -> Vec<(&'static str, f64)> {
    let Some(first) = found.first() else { return Vec::new() };
    let mean = |key: &str| {
        let values = found.iter().flat_map(|one| &one.statistics).filter(|(name, _)| *name == key);
        let (count, sum) = values.fold((0.0, 0.0), |(n, sum), (_, value)| (n + 1.0, sum + value));
        sum / f64::max(count, 1.0)
    };
    first.statistics.iter().map(|&(key, _)| (key, mean(key))).collect()
}

fn each(samples: &[Prompted]) -> impl Iterator<Item = &Sample> {
    samples.iter().flat_map(|group| &group.samples).filter(|sample| !sample.filtered)
}

fn each_mut(samples: &mut [Prompted]) -> impl Iterator<Item = &mut Sample> {
    samples.iter_mut().flat_map(|group| &mut group.samples)
}
