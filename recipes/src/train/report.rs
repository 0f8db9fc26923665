//! The metrics that every kind of stage logs.

use anyhow::Result;
use evals::{Log, Metrics, key};

use super::clock::Clock;
use super::learner::Learner;
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
