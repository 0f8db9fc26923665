//! Credit: from the rewards of a step to the columns that the loss reads.

use std::borrow::Cow;
use std::ops::Range;
use std::time::Instant;

use anyhow::Result;
use evals::attempt::GradedGroup;
use rand_philox::splitmix64;
use rewards::advantage::GroupRewards;
use rewards::dynamics::dynamics;
use rewards::weighting::{Scope, Select};
use rewards::{EntropyBonus, Importance, TokenColumns, TokenWeights, WeightingConfig};
use rollout::Finish;

use super::Rl;
use super::terms::{LossTokens, Terms};
use crate::config::RlStage;
use crate::train::pack::{pack, parts};
use crate::train::table::{Credit, Part, Table};

impl Rl<'_> {
    /// Advantages, importance weights, token weights, and the coefficient of the entropy.
    pub(super) fn credit(
        &mut self,
        step: u64,
        groups: &[GradedGroup],
        table: &Table,
    ) -> Result<Credit> {
        let began = Instant::now();
        let config = self.config;
        let mut credit = Credit::even(table, 0.0);
        let penalties = self.kl_penalties(table, &mut credit);
        credit.advantages = advantages(config, groups, &penalties);
        if config.overlong_filtering {
            filter_overlong(groups, table, &mut credit);
        }
        let kept = (0..table.samples.len()).filter(|&sample| !credit.filtered[sample]);
        let kept = table.part(kept.collect());
        let columns = WeightingInput::of(&kept, &credit.advantages, self.run.seed_of(step));
        importance(config, &kept, &mut credit);
        let mean_entropy = mean_entropy(&columns);
        credit.entropy_coefficient = self.entropy_control.observe(mean_entropy);
        if config.entropy_bonus != (EntropyBonus::Off {}) {
            credit.log("actor/entropy_coefficient", credit.entropy_coefficient);
        }
        let terms = terms(config, &kept, &credit)?;
        let observed = self.weighting.observe(mean_entropy, &columns.borrow(), &terms.borrow());
        credit.log_all(observed);
        credit.idle =
            (0..table.samples.len()).map(|sample| is_idle(config, &credit, sample)).collect();
        let statistics = self.token_weights(&kept, &columns, &mut credit)?;
        credit.log_all(statistics);
        let weights = kept.column(&credit.weights);
        let share = share(&config.weighting);
        let moved = dynamics(&columns.borrow(), &terms.borrow(), &weights, share);
        credit.statistics.extend(moved);
        credit.flag(&kept, &columns.borrow(), share);
        self.clock.add("timing_s/adv", began);
        Ok(credit)
    }

    /// The KL to the reference that is subtracted from the reward of each completion; 0 where the
    /// reward has none.
    fn kl_penalties(&mut self, table: &Table, credit: &mut Credit) -> Vec<f64> {
        let none = || vec![0.0; table.samples.len()];
        let (Some(old), Some(reference)) = (table.old(), &table.scores.reference) else {
            return none();
        };
        let entries = table.samples.iter().map(|sample| sample.entries.clone());
        let log_probs: Vec<(&[f32], &[f32])> =
            entries.map(|own| (&old.log_probs[own.clone()], &reference[own])).collect();
        let Some(found) = self.kl_control.observe(&log_probs) else { return none() };
        credit.log_all(found.statistics);
        found.penalties
    }

    /// Token weights, ranked over the samples that are `kept` or over each micro-batch. Returns
    /// their statistics.
    fn token_weights(
        &self,
        kept: &Part<'_>,
        columns: &WeightingInput<'_>,
        credit: &mut Credit,
    ) -> Result<Vec<(&'static str, f64)>> {
        if self.weighting.scope() == Scope::Batch {
            let weighed = self.weighting.weights(&columns.borrow());
            credit.set_weights(kept, &weighed);
            return Ok(weighed.statistics);
        }
        let (table, budget) = (kept.table, self.config.micro_batch_tokens.get());
        let mut found = Vec::new();
        for groups in parts(table.prompts.len(), self.config.updates_per_step.get()) {
            for batch in pack(table, groups, budget, |sample| !credit.idle[sample])? {
                // Each micro-batch has random numbers of its own.
                let seed = splitmix64(columns.seed ^ found.len() as u64);
                let columns = WeightingInput::of(&batch.part, &credit.advantages, seed);
                let weighed = self.weighting.weights(&columns.borrow());
                credit.set_weights(&batch.part, &weighed);
                found.push(weighed);
            }
        }
        Ok(means(&found))
    }
}

impl Credit {
    fn log(&mut self, key: &str, value: f64) {
        self.statistics.push((key.to_owned(), value));
    }

    fn log_all(&mut self, all: impl IntoIterator<Item = (&'static str, f64)>) {
        all.into_iter().for_each(|(key, value)| self.log(key, value));
    }

    /// Stores the weights and penalties of the tokens of `part`.
    fn set_weights(&mut self, part: &Part<'_>, weighed: &TokenWeights) {
        part.scatter(&weighed.weights, &mut self.weights);
        if !weighed.penalties.is_empty() {
            let none = || vec![0.0; part.table.num_learnt];
            part.scatter(&weighed.penalties, self.penalties.get_or_insert_with(none));
        }
    }
}

/// The columns of some samples that a weighting reads.
struct WeightingInput<'a> {
    surprisals: Vec<f32>,
    entropies: Cow<'a, [f32]>,
    phi_sums: Cow<'a, [f32]>,
    advantages: Vec<f64>,
    samples: Vec<Range<usize>>,
    seed: u64,
}

impl<'a> WeightingInput<'a> {
    /// `seed` is that of the weighting's random numbers.
    fn of(part: &Part<'a>, advantages: &[f64], seed: u64) -> Self {
        let old = part.table.old().expect("what was sampled has scores");
        Self {
            surprisals: part.column(&old.log_probs).iter().map(|log_prob| -log_prob).collect(),
            entropies: part.column(&old.entropies),
            phi_sums: part.column(&old.phi_sums),
            advantages: part.spread(advantages),
            samples: part.ranges(),
            seed,
        }
    }

    fn borrow(&self) -> TokenColumns<'_> {
        TokenColumns {
            surprisals: &self.surprisals,
            entropies: &self.entropies,
            phi_sums: &self.phi_sums,
            advantages: &self.advantages,
            samples: &self.samples,
            seed: self.seed,
        }
    }
}

/// The advantage of each completion of the step, from its reward minus its penalty.
fn advantages(config: &RlStage, groups: &[GradedGroup], penalties: &[f64]) -> Vec<f64> {
    let mut penalties = penalties.iter();
    let mut less = |rewards: Vec<f64>| -> Vec<f64> {
        rewards.into_iter().zip(penalties.by_ref()).map(|(reward, kl)| reward - kl).collect()
    };
    let rewards: Vec<_> = groups.iter().map(|group| less(group.rewards())).collect();
    let lengths: Vec<Vec<_>> = groups
        .iter()
        .map(|group| group.completions.iter().map(|one| one.trajectory.completion.len()).collect())
        .collect();
    let step: Vec<_> = rewards
        .iter()
        .zip(&lengths)
        .map(|(rewards, lengths)| GroupRewards { rewards, lengths })
        .collect();
    config.advantage.advantages(&step).into_iter().flatten().collect()
}

/// Removes truncated completions from the loss; their rewards still count in the advantages.
///
/// Source: overlong filtering, arXiv 2503.14476, section 3.4.
fn filter_overlong(groups: &[GradedGroup], table: &Table, credit: &mut Credit) {
    let completions = groups.iter().flat_map(|group| &group.completions);
    let mut filtered = 0.0;
    for ((one, sample), own) in completions.zip(&table.samples).zip(&mut credit.filtered) {
        *own = one.trajectory.finish == Finish::Length;
        if *own {
            credit.weights[sample.entries.clone()].fill(0.0);
            filtered += 1.0;
        }
    }
    credit.log("overlong/filtered", filtered / (table.samples.len() as f64).max(1.0));
}

/// Importance weights of the tokens, for the gap between rollout and training, where the recipe
/// sets them.
fn importance(config: &RlStage, kept: &Part<'_>, credit: &mut Credit) {
    let table = kept.table;
    let (Some(old), Some(rollout)) = (table.old(), &table.rollout) else { return };
    if config.importance == (Importance::Off {}) {
        return;
    }
    let (old, rollout) = (kept.column(&old.log_probs), kept.column(&rollout.log_probs));
    if let Some(found) = config.importance.weights(&old, &rollout, &kept.ranges()) {
        let mut importance = vec![1.0; table.num_learnt];
        kept.scatter(&found.weights, &mut importance);
        credit.importance = Some(importance);
        credit.outside = vec![false; table.num_learnt];
        kept.scatter(&found.outside, &mut credit.outside);
        credit.log_all(found.statistics);
    }
}

/// The factors with which the loss counts its tokens.
fn terms(config: &RlStage, kept: &Part<'_>, credit: &Credit) -> Result<Terms> {
    let table = kept.table;
    let lengths = |groups: Range<usize>| {
        let samples = kept.samples.iter().map(|&sample| &table.samples[sample]);
        let own = samples.filter(|sample| groups.contains(&sample.group));
        own.map(|sample| sample.entries.len()).collect()
    };
    let old = table.old().expect("what was sampled has scores");
    let importance = credit.importance.as_ref().map(|column| kept.column(column));
    let reference = table.scores.reference.as_ref().map(|column| kept.column(column));
    let counted = LossTokens {
        updates: parts(table.prompts.len(), config.updates_per_step.get()).map(lengths).collect(),
        importance: importance.as_deref(),
        old: &kept.column(&old.log_probs),
        reference: reference.as_deref(),
    };
    Ok(Terms::of(&config.loss, &counted)?)
}

/// The mean entropy of the tokens in the loss, nats. Targets are compared with it, whatever the
/// aggregation. NaN for no tokens, which changes no controller.
fn mean_entropy(columns: &WeightingInput<'_>) -> f64 {
    let sum: f64 = columns.entropies.iter().map(|&entropy| f64::from(entropy)).sum();
    sum / columns.entropies.len() as f64
}

/// Whether the loss has no gradient in a completion's tokens.
fn is_idle(config: &RlStage, credit: &Credit, sample: usize) -> bool {
    let every = config.loss.kl != (engine::loss::Kl::Off {})
        || credit.entropy_coefficient != 0.0
        || matches!(config.weighting, WeightingConfig::KlCov { .. });
    credit.filtered[sample] || !(every || credit.advantages[sample] != 0.0)
}

/// The share of tokens that the entropy views count as high.
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

/// The means of the statistics over micro-batches, as in the reference code.
fn means(found: &[TokenWeights]) -> Vec<(&'static str, f64)> {
    let Some(first) = found.first() else { return Vec::new() };
    let mean = |key: &str| {
        let values = found.iter().flat_map(|one| &one.statistics).filter(|(name, _)| *name == key);
        let (count, sum) = values.fold((0.0, 0.0), |(n, sum), (_, value)| (n + 1.0, sum + value));
        sum / f64::max(count, 1.0)
    };
    first.statistics.iter().map(|&(key, _)| (key, mean(key))).collect()
}
