//! The metrics that every kind of stage logs.

use anyhow::Result;
use evals::{Log, Metrics, Warning, key};

use super::clock::Clock;
use super::learner::Learner;
use super::mean;
use super::stage::DataLoader;
use super::table::Table;
use super::update::UpdateReport;
use crate::machine;

/// The progress of the stage.
pub(super) fn progress(
    loader: &DataLoader<'_>,
    learner: &Learner<'_>,
    table: &Table,
) -> Result<Metrics> {
    let mut metrics = Metrics::new(Log::Metrics);
    metrics.set("training/epoch", loader.epochs())?;
    metrics.set("training/updates", learner.done as f64)?;
    let samples = table.samples.iter().zip(&table.credit.filtered);
    let lengths = samples.filter(|(_, filtered)| !**filtered).map(|(one, _)| one.entries.len());
    metrics.set("training/num_tokens", lengths.sum::<usize>() as f64)?;
    if let Some(adapter) = learner.model.adapter() {
        metrics.set("adapter/update_norm", adapter.update_norm()?)?;
    }
    Ok(metrics)
}

/// What the probes of a stage without gradients say; nothing of other stages.
pub(super) fn estimates(metrics: &mut Metrics, report: &UpdateReport) -> Result<Vec<Warning>> {
    let all = &report.estimated;
    let Some(last) = all.last() else { return Ok(Vec::new()) };
    metrics.set("zeroth/loss_deviation", mean(all.iter().map(|one| one.deviation)))?;
    metrics.set("zeroth/slope", mean(all.iter().map(|one| one.slope)))?;
    metrics.set("zeroth/passes", all.iter().map(|one| one.passes).sum::<usize>() as f64)?;
    metrics.set("zeroth/not_finite", all.iter().map(|one| one.not_finite).sum::<usize>() as f64)?;
    metrics.set("zeroth/log_bytes", last.log_bytes as f64)?;
    let skipped: Vec<_> = all.iter().filter_map(|one| one.skipped.as_ref()).collect();
    metrics.set("zeroth/skipped", skipped.len() as f64)?;
    let warning = skipped.first().map(|reason| Warning {
        name: "update_skipped",
        cause: format!("{} of {} updates moved nothing: {reason}", skipped.len(), all.len()),
        act: "lower stage.rl.schedule.lr or stage.rl.optim.epsilon, or go back to an earlier \
              checkpoint"
            .into(),
        limit: None,
    });
    let warnings: Vec<_> = warning.into_iter().collect();
    for warning in &warnings {
        metrics.set(format!("health/{}", warning.name), 1.0)?;
    }
    Ok(warnings)
}

/// The timings of a step; `generated` counts the sampled tokens, `None` if it did not sample.
pub(super) fn timings(
    clock: &Clock,
    report: &UpdateReport,
    generated: Option<usize>,
) -> Result<Metrics> {
    let mut timings = clock.timings()?;
    if let (Some(generated), Some(seconds)) = (generated, timings.get(key!("timing_s/gen"))) {
        timings.set("timing_per_token_ms/gen", 1e3 * seconds / generated.max(1) as f64)?;
        timings.set("perf/gen_throughput", generated as f64 / seconds)?;
    }
    let rows = report.rows as f64;
    let seconds = timings.get(key!("timing_s/update_actor")).unwrap_or_default();
    timings.set("timing_per_token_ms/update_actor", 1e3 * seconds / rows.max(1.0))?;
    timings.set("perf/total_num_tokens", rows)?;
    if let Some(peak) = machine::peak_rss_mib() {
        timings.set("perf/peak_rss_mib", peak)?;
    }
    if let Some(seconds) = timings.get(key!("timing_s/step")) {
        timings.set("perf/throughput", rows / seconds)?;
    }
    Ok(timings)
}
