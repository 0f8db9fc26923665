//! What the steps of every kind of stage log.

use anyhow::Result;
use evals::{Log, Metrics};

use super::clock::Clock;
use super::descend::Descended;
use super::pack::{Prompted, Sample};
use super::stage::Draws;
use super::updates::Updates;
use crate::machine;

/// How far the stage is.
pub(super) fn progress(
    draws: &Draws<'_>,
    updates: &Updates<'_>,
    samples: &[Prompted],
) -> Result<Metrics> {
    let mut metrics = Metrics::new(Log::Metrics);
    let tokens: usize =
        samples.iter().flat_map(|group| &group.samples).map(Sample::num_learnt).sum();
    metrics.set("training/epoch", draws.epochs())?;
    metrics.set("training/updates", updates.done as f64)?;
    metrics.set("training/num_tokens", tokens as f64)?;
    Ok(metrics)
}

/// The timings of a step; `generated` tokens where it sampled.
pub(super) fn timings(
    mut clock: Clock,
    descended: &Descended,
    generated: Option<usize>,
) -> Result<Metrics> {
    if let Some(generated) = generated {
        let seconds = clock.seconds("timing_s/gen");
        clock.set("timing_per_token_ms/gen", 1e3 * seconds / generated.max(1) as f64);
        clock.set("perf/gen_throughput", generated as f64 / seconds);
    }
    let rows = descended.rows as f64;
    let seconds = clock.seconds("timing_s/update_actor");
    clock.set("timing_per_token_ms/update_actor", 1e3 * seconds / rows.max(1.0));
    clock.set("perf/total_num_tokens", rows);
    if let Some(peak) = machine::peak_rss_mib() {
        clock.set("perf/peak_rss_mib", peak);
    }
    let mut timings = clock.stop()?;
    if let Some(seconds) = timings.get("timing_s/step") {
        timings.set("perf/throughput", rows / seconds)?;
    }
    Ok(timings)
}
