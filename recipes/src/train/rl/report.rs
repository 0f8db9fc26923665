//! Summarize: the metrics of a step.

use std::collections::BTreeMap;

use anyhow::Result;
use engine::loss::Kl;
use evals::attempt::{Completion, GradedGroup};
use evals::{Metrics, key};
use rewards::dynamics::quantiles;
use rewards::{Outcome, Problem};
use rollout::Finish;

use super::Rl;
use super::gather::Rollouts;
use crate::config::RlStage;
use crate::train::log_prob_gap::LogProbGap;
use crate::train::table::Table;
use crate::train::update::UpdateReport;
use crate::train::{StepOutput, mean, report};

impl Rl<'_> {
    /// The results of a step: metrics, timings, warnings, groups and table.
    pub(super) fn summarize(
        &mut self,
        rollouts: Rollouts,
        table: Table,
        report: &UpdateReport,
        probe: Option<&Table>,
    ) -> Result<StepOutput> {
        let mut metrics = report::progress(&self.loader, &self.learner, &table)?;
        self.describe(&mut metrics, &rollouts, &table, report)?;
        let of_update = report::estimates(&mut metrics, report)?;
        for (key, value) in &table.credit.statistics {
            metrics.set(key.clone(), *value)?;
        }
        if let Some(probe) = probe {
            for (key, value) in self.probe_metrics(probe, &table)? {
                metrics.set(key, value)?;
            }
        }
        let entropy = metrics.get(key!("unfiltered/entropy"));
        if let (Some(now), Some(before)) = (entropy, self.entropy) {
            metrics.set("entropy/measured_delta", now - before)?;
        }
        self.entropy = entropy;
        let generated = completions(&rollouts).map(|one| one.trajectory.completion.len()).sum();
        let timings = report::timings(&self.clock, report, Some(generated))?;
        let Rollouts { groups, others, dropped, mut warnings, .. } = rollouts;
        warnings.extend(of_update);
        let most = self.run.recipe.record.samples.discarded;
        let discarded = others.into_iter().chain(dropped).take(most).collect();
        Ok(StepOutput { metrics, timings, warnings, groups, discarded, table })
    }

    fn describe(
        &self,
        metrics: &mut Metrics,
        rollouts: &Rollouts,
        table: &Table,
        report: &UpdateReport,
    ) -> Result<()> {
        let (config, groups) = (self.config, &rollouts.groups);
        critic(metrics, groups, table)?;
        lengths(metrics, groups)?;
        unfiltered(metrics, rollouts)?;
        outcomes(metrics, rollouts)?;
        parts(metrics, rollouts)?;
        sources(metrics, rollouts, self.run.problems)?;
        actor(metrics, config, groups, report)?;
        for (key, value) in ratios(table) {
            metrics.set(key, value)?;
        }
        corrections(metrics, &report.gap)?;
        if config.dynamic_sampling.is_some() {
            sampled(metrics, config, rollouts)?;
        }
        for warning in &rollouts.warnings {
            metrics.set(format!("health/{}", warning.name), 1.0)?;
        }
        Ok(())
    }
}

fn actor(
    metrics: &mut Metrics,
    config: &RlStage,
    groups: &[GradedGroup],
    report: &UpdateReport,
) -> Result<()> {
    let entropies = all(groups).flat_map(|one| &one.trajectory.entropies).copied();
    metrics.set("actor/entropy", mean(entropies.map(f64::from)))?;
    let updates = report.updates.max(1) as f64;
    let sums = &report.sums;
    metrics.set("actor/loss", report.loss)?;
    metrics.set("actor/pg_loss", sums.policy_loss / updates)?;
    // Completions without advantage are not in the sums; no clip acts on them.
    let tokens = report.tokens.max(1) as f64;
    metrics.set("actor/pg_clipfrac", sums.clipped as f64 / tokens)?;
    metrics.set("actor/pg_clipfrac_lower", sums.clipped_lower as f64 / tokens)?;
    metrics.set("actor/ppo_kl", sums.ppo_kl())?;
    if let Kl::K1 { coefficient } | Kl::K2 { coefficient } | Kl::K3 { coefficient } = config.loss.kl
    {
        metrics.set("actor/kl_loss", sums.kl_loss / updates)?;
        metrics.set("actor/kl_coef", coefficient)?;
    }
    if let Some(norm) = report.grad_norm {
        metrics.set("actor/grad_norm", norm)?;
    }
    Ok(metrics.set("actor/lr", report.lr)?)
}

/// Quantiles of the importance ratio: the probability of a token by the last update that computed
/// it over that by the policy before the updates. None after a single update, which computes it
/// before anything moved.
fn ratios(table: &Table) -> Vec<(String, f64)> {
    let old = table.old().map_or(&[][..], |old| &old.log_probs);
    let logs = table.new_log_probs.iter().zip(old).map(|(new, old)| new - old);
    let ratios: Vec<f32> = logs.filter(|log| !log.is_nan()).map(f32::exp).collect();
    let mut metrics = Vec::new();
    if !ratios.is_empty() {
        quantiles("actor/ratio", &ratios, &mut metrics);
    }
    metrics
}

fn critic(metrics: &mut Metrics, groups: &[GradedGroup], table: &Table) -> Result<()> {
    let scores: Vec<_> = all(groups).map(|one| share(is(one, Outcome::Correct))).collect();
    metrics.set_spread("critic/score", &scores)?;
    let rewards: Vec<_> = all(groups).map(|one| one.judged.reward).collect();
    metrics.set_spread("critic/rewards", &rewards)?;
    let advantages = table.part((0..table.samples.len()).collect());
    let advantages = advantages.spread(&table.credit.advantages);
    Ok(metrics.set_spread("critic/advantages", &advantages)?)
}

fn lengths(metrics: &mut Metrics, groups: &[GradedGroup]) -> Result<()> {
    let responses: Vec<_> = all(groups).map(|one| one.trajectory.completion.len() as f64).collect();
    metrics.set_spread("response_length", &responses)?;
    let cut = all(groups).map(|one| share(one.trajectory.finish == Finish::Length));
    metrics.set("response_length/clip_ratio", mean(cut))?;
    let prompts: Vec<_> = groups.iter().map(|group| group.prompt.len() as f64).collect();
    Ok(metrics.set_spread("prompt_length", &prompts)?)
}

/// Metrics of everything sampled, before dynamic sampling selects.
fn unfiltered(metrics: &mut Metrics, rollouts: &Rollouts) -> Result<()> {
    let scores = completions(rollouts).map(|one| share(is(one, Outcome::Correct)));
    metrics.set("unfiltered/score/mean", mean(scores))?;
    let rewards = completions(rollouts).map(|one| one.judged.reward);
    metrics.set("unfiltered/rewards/mean", mean(rewards))?;
    let entropies = completions(rollouts).flat_map(|one| &one.trajectory.entropies);
    metrics.set("unfiltered/entropy", mean(entropies.map(|&entropy| f64::from(entropy))))?;
    let lengths = completions(rollouts).map(|one| one.trajectory.completion.len() as f64);
    metrics.set("unfiltered/response_length/mean", mean(lengths))?;
    let cut = completions(rollouts).map(|one| share(one.trajectory.finish == Finish::Length));
    Ok(metrics.set("unfiltered/response_length/clip_ratio", mean(cut))?)
}

/// Metrics of dynamic sampling.
fn sampled(metrics: &mut Metrics, config: &RlStage, rollouts: &Rollouts) -> Result<()> {
    metrics.set("dynamic_sampling/batches", rollouts.rounds as f64)?;
    let judged = rollouts.all().count();
    metrics.set("dynamic_sampling/drawn", (judged + rollouts.dropped.len()) as f64)?;
    metrics.set("dynamic_sampling/kept", rollouts.groups.len() as f64)?;
    let full = config.batch.get() == rollouts.groups.len();
    let with_spread = rollouts.others.iter().filter(|group| full && group.has_spread()).count();
    Ok(metrics.set("dynamic_sampling/discarded", with_spread as f64)?)
}

fn outcomes(metrics: &mut Metrics, rollouts: &Rollouts) -> Result<()> {
    // Dropped groups included: some outcomes are the reason for dropping one.
    let judged = || all(&rollouts.dropped).chain(completions(rollouts));
    for outcome in Outcome::ALL {
        let with = mean(judged().map(|one| share(is(one, outcome))));
        if with > 0.0 {
            metrics.set(format!("reward/outcome/{outcome}"), with)?;
        }
    }
    let groups_with = |holds: &dyn Fn(&GradedGroup) -> bool| {
        mean(rollouts.all().map(|group| share(holds(group))))
    };
    metrics.set("reward/group/zero_spread", groups_with(&|group| !group.has_spread()))?;
    let all_correct = groups_with(&|group| group.num_correct() == group.completions.len());
    metrics.set("reward/group/all_correct", all_correct)?;
    metrics.set("reward/group/none_correct", groups_with(&|group| group.num_correct() == 0))?;
    let is_mixed =
        |group: &GradedGroup| (1..group.completions.len()).contains(&group.num_correct());
    metrics.set("reward/group/mixed", groups_with(&is_mixed))?;
    metrics.set("reward/group/dropped", rollouts.dropped.len() as f64)?;
    let size = rollouts.all().map(|group| group.completions.len()).min().unwrap_or(0);
    for k in evals::pass_sizes(size) {
        let each = rollouts.all().map(|g| evals::pass_at(g.completions.len(), g.num_correct(), k));
        metrics.set(format!("reward/pass@{k}"), mean(each))?;
    }
    let texts = completions(rollouts).map(|one| one.text.as_str());
    for (key, rate) in evals::reflection::rates(texts) {
        metrics.set(key, rate)?;
    }
    Ok(())
}

/// The mean reward of each verifier, and the means of its extra metrics; all completions of a step
/// have the same verifiers.
fn parts(metrics: &mut Metrics, rollouts: &Rollouts) -> Result<()> {
    let Some(first) = completions(rollouts).next() else { return Ok(()) };
    for (at, (name, _)) in first.judged.parts.iter().enumerate() {
        let own = mean(completions(rollouts).map(|one| one.judged.parts[at].1));
        metrics.set(format!("reward/part/{name}"), own)?;
    }
    let mut further: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (name, value) in completions(rollouts).flat_map(|one| &one.judged.metrics) {
        further.entry(name).or_default().push(*value);
    }
    for (name, values) in further {
        metrics.set(format!("reward/{name}"), mean(values.into_iter()))?;
    }
    Ok(())
}

/// Mean reward and accuracy by source, if the stage has more than one and not too many.
fn sources(metrics: &mut Metrics, rollouts: &Rollouts, problems: &[Problem]) -> Result<()> {
    let sources = problems.iter().map(|problem| problem.source.as_str());
    for (name, key) in evals::sources::told_apart(sources) {
        let own = || rollouts.all().filter(|group| group.problem.source == name);
        let count = own().count();
        metrics.set(format!("reward/source/{key}/count"), count as f64)?;
        if count > 0 {
            let completions = || own().flat_map(|group| &group.completions);
            let rewards = mean(completions().map(|one| one.judged.reward));
            metrics.set(format!("reward/source/{key}/mean"), rewards)?;
            let scores = mean(completions().map(|one| share(is(one, Outcome::Correct))));
            metrics.set(format!("reward/source/{key}/acc"), scores)?;
        }
    }
    Ok(())
}

fn corrections(metrics: &mut Metrics, gap: &LogProbGap) -> Result<()> {
    if gap.is_known() {
        metrics.set("rollout_corr/kl", gap.kl())?;
        metrics.set("rollout_corr/k3_kl", gap.k3())?;
        metrics.set("rollout_corr/log_prob_gap_mean", gap.mean())?;
        metrics.set("rollout_corr/log_prob_gap_max", gap.max)?;
    }
    Ok(())
}

fn completions(rollouts: &Rollouts) -> impl Iterator<Item = &Completion> {
    rollouts.all().flat_map(|group| &group.completions)
}

fn all(groups: &[GradedGroup]) -> impl Iterator<Item = &Completion> {
    groups.iter().flat_map(|group| &group.completions)
}

fn is(completion: &Completion, outcome: Outcome) -> bool {
    completion.judged.outcome == outcome
}

fn share(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

#[cfg(test)]
mod tests {
    use engine::Scores;

    use super::*;

    #[test]
    fn ratios_are_those_of_tokens_that_were_computed_again() {
        let old = [-1.0_f32, -2.0, -3.0, -0.5];
        let mut table = Table {
            rollout: Some(Scores { log_probs: old.to_vec(), ..Scores::default() }),
            ..Table::default()
        };
        assert_eq!(ratios(&table), [], "after a single update");
        let again = [0.5, 2.0, f32::NAN, 1.0_f32];
        table.new_log_probs = (0..4).map(|at| old[at] + again[at].ln()).collect();
        let found: Vec<_> = ratios(&table);
        // Of three values the first, the second and the third.
        for (name, expected) in [("p10", 0.5), ("p50", 1.0), ("p90", 2.0), ("p99", 2.0)] {
            let key = format!("actor/ratio/quantile/{name}");
            let (_, value) = found.iter().find(|(own, _)| *own == key).unwrap();
            assert!((value - expected).abs() < 1e-6, "{key}: {value}");
        }
        table.scores.old =
            Some(Scores { log_probs: table.new_log_probs.clone(), ..Scores::default() });
        let found = ratios(&table);
        assert!(
            !found.is_empty()
                && found.iter().all(|(_, value)| value.to_bits() == 1.0_f64.to_bits()),
            "{found:?}"
        );
    }
}
